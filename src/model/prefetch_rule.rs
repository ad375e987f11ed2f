//! The prefetch rules: which priors of a study are relevant, as this cluster sees it.
//!
//! Invariants: a set has at least one rule; no two rules have the same name, whatever its case; rules stand in their
//! order. Whose set is in force is `Configuration`'s; how a set is applied to studies is `priors::relevance`'s.

mod rule;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub use rule::{COLUMNS as PREFETCH_COLUMNS, MaxAge, Patterns, PrefetchRule, Selection, least_availability};

use super::csv_lines::{BadLine, CsvShape};
use super::{Invalid, RuleName};

/// The rules, in their order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<PrefetchRule>", into = "Vec<PrefetchRule>")]
pub struct PrefetchRules(Vec<PrefetchRule>);

static SHIPPED: LazyLock<PrefetchRules> =
    LazyLock::new(
        || match read_prefetch_csv(include_str!("prefetch_rule/shipped.csv")) {
            Ok(rules) => rules,
            Err(bad) => unreachable!("{bad:?}"),
        },
    );

const SHAPE: CsvShape<PrefetchRule, { PREFETCH_COLUMNS.len() }> = CsvShape {
    columns: PREFETCH_COLUMNS,
    required: 2,
    subject: "rule",
    key_is: "name",
    rule: PrefetchRule::from_cells,
    key: PrefetchRule::key,
};

/// Reads a set of rules, comma- or semicolon-separated, with a heading. Of the columns only name and order must be there.
///
/// # Errors
/// All bad lines, in order.
pub fn read_prefetch_csv(text: &str) -> Result<PrefetchRules, Vec<BadLine>> {
    PrefetchRules::new(SHAPE.read(text)?).map_err(|why| vec![BadLine { line: 1, why }])
}

/// The set as CSV: a heading, then the rules in their order; lines end with LF.
pub fn prefetch_csv(rules: &PrefetchRules) -> Vec<u8> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let heading = std::iter::once(PREFETCH_COLUMNS.map(str::to_owned));
    for cells in heading.chain(rules.rules().iter().map(PrefetchRule::cells)) {
        if let Err(error) = writer.write_record(cells) {
            unreachable!("writing to memory, with equal numbers of cells: {error}");
        }
    }
    writer.into_inner().unwrap_or_default()
}

impl PrefetchRules {
    /// Puts the rules in order: by `order`, then by name.
    ///
    /// # Errors
    /// Where there are none, or two of the same name.
    pub fn new(mut rules: Vec<PrefetchRule>) -> Result<Self, Invalid> {
        if rules.is_empty() {
            let rule = "it needs a rule at least; without a set of its own a cluster has the shipped one";
            return Err(Invalid::new("set of prefetch rules", "", rule));
        }
        rules.sort_by_cached_key(|rule| (rule.order, rule.key()));
        let mut keys = BTreeSet::new();
        match rules.iter().find(|rule| !keys.insert(rule.key())) {
            Some(twice) => Err(Invalid::new("rule", twice.name.as_str(), "it is there twice")),
            None => Ok(PrefetchRules(rules)),
        }
    }

    /// The set that comes with the program, in force where a cluster has none of its own.
    pub fn shipped() -> &'static PrefetchRules {
        &SHIPPED
    }

    /// The rules, in their order.
    pub fn rules(&self) -> &[PrefetchRule] {
        &self.0
    }

    /// The rule of that name, whatever its case.
    pub fn rule(&self, name: &RuleName) -> Option<&PrefetchRule> {
        self.0.iter().find(|rule| rule.is_called(name))
    }

    /// The set with `rule`, in place of the one of the same name.
    pub fn with(&self, rule: PrefetchRule) -> Result<Self, Invalid> {
        let mut rules = self.all_but(&rule.name);
        rules.push(rule);
        PrefetchRules::new(rules)
    }

    /// The set without the rule of that name.
    pub fn without(&self, name: &RuleName) -> Result<Self, Invalid> {
        PrefetchRules::new(self.all_but(name))
    }

    fn all_but(&self, name: &RuleName) -> Vec<PrefetchRule> {
        let others = self.0.iter().filter(|rule| !rule.is_called(name));
        others.cloned().collect()
    }

    /// PrefetchRuleDigest of the linked syntax: SHA-256, lowercase hex, of [`prefetch_csv`]. Two clusters with the same
    /// digest choose the same priors.
    pub fn digest(&self) -> String {
        let hash = Sha256::digest(prefetch_csv(self));
        hash.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl TryFrom<Vec<PrefetchRule>> for PrefetchRules {
    type Error = Invalid;

    fn try_from(rules: Vec<PrefetchRule>) -> Result<Self, Invalid> {
        PrefetchRules::new(rules)
    }
}

impl From<PrefetchRules> for Vec<PrefetchRule> {
    fn from(rules: PrefetchRules) -> Self {
        rules.0
    }
}
