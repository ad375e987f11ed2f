//! The mapping tables: which specialty and body part a study has, as this cluster sees it.
//!
//! Invariants: a table has at least one rule; no two rules have the same target and conditions; rules stand in the order
//! in which they are tried. Whose table is in force is `Configuration`'s.

mod csv_file;
mod pattern;
mod rule;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub use csv_file::{COLUMNS as MAPPING_COLUMNS, columns as mapping_columns, read as read_mapping_csv};
pub use pattern::DescriptionPattern;
use pattern::FoldedDescription;
use rule::Candidate;
pub use rule::{CodeString, Conditions, MappingRule, MappingTarget, StudyFacts};

use super::Invalid;

/// The rules that give specialty and body part, in the order in which they are tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<MappingRule>", into = "Vec<MappingRule>")]
pub struct MappingTable {
    rules: Vec<MappingRule>,
}

/// The rules that decided for a study; `None` where none matched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mapped<'a> {
    /// Gives the specialty.
    pub specialty: Option<&'a MappingRule>,
    /// Gives the body part.
    pub body_part: Option<&'a MappingRule>,
}

impl Mapped<'_> {
    /// The specialty.
    pub fn specialty(&self) -> Option<&str> {
        self.specialty.map(|rule| rule.value().as_str())
    }

    /// The body part.
    pub fn body_part(&self) -> Option<&str> {
        self.body_part.map(|rule| rule.value().as_str())
    }
}

static SHIPPED: LazyLock<MappingTable> =
    LazyLock::new(|| match read_mapping_csv(include_str!("mapping/shipped.csv")) {
        Ok(table) => table,
        Err(bad) => unreachable!("{bad:?}"),
    });

impl MappingTable {
    /// Puts the rules in order: by target, `order`, more conditions first, then as their conditions read.
    ///
    /// # Errors
    /// Where there are none, or two with the same target and conditions.
    pub fn new(mut rules: Vec<MappingRule>) -> Result<Self, Invalid> {
        if rules.is_empty() {
            let rule = "it needs a rule at least; without tables of its own a cluster has the shipped ones";
            return Err(Invalid::new("mapping table", "", rule));
        }
        rules.sort_by_cached_key(|rule| {
            let fewest_last = std::cmp::Reverse(rule.conditions().count());
            (rule.target(), rule.order(), fewest_last, rule.key())
        });
        let mut keys = BTreeSet::new();
        for rule in &rules {
            if !keys.insert(rule.key()) {
                return Err(Invalid::new("mapping rule", &rule.key(), "it is there twice"));
            }
        }
        Ok(MappingTable { rules })
    }

    /// The tables that come with the program, in force where a cluster has none of its own.
    pub fn shipped() -> &'static MappingTable {
        &SHIPPED
    }

    /// The rules, in the order in which they are tried.
    pub fn rules(&self) -> &[MappingRule] {
        &self.rules
    }

    /// The rule with the same target and conditions as `rule`.
    pub fn same_conditions(&self, rule: &MappingRule) -> Option<&MappingRule> {
        let key = rule.key();
        self.rules.iter().find(|known| known.key() == key)
    }

    /// The table with `rule`, in place of the one with the same target and conditions.
    pub fn with(&self, rule: MappingRule) -> Result<Self, Invalid> {
        let mut rules = self.all_but(&rule);
        rules.push(rule);
        MappingTable::new(rules)
    }

    /// The table without the rule that has the target and conditions of `rule`.
    pub fn without(&self, rule: &MappingRule) -> Result<Self, Invalid> {
        MappingTable::new(self.all_but(rule))
    }

    fn all_but(&self, rule: &MappingRule) -> Vec<MappingRule> {
        let key = rule.key();
        let others = self.rules.iter().filter(|known| known.key() != key);
        others.cloned().collect()
    }

    /// Specialty and body part of a study, each by the first rule that matches. The body part comes first: the rules for
    /// the specialty may build on it.
    pub fn compute(&self, facts: &StudyFacts<'_>) -> Mapped<'_> {
        let mut study = Candidate {
            facts,
            description: facts.description.map(FoldedDescription::new),
            body_part: None,
        };
        let body_part = self.first_match(MappingTarget::BodyPart, &study);
        study.body_part = body_part.map(MappingRule::value);
        Mapped {
            specialty: self.first_match(MappingTarget::Specialty, &study),
            body_part,
        }
    }

    fn first_match(&self, target: MappingTarget, study: &Candidate<'_>) -> Option<&MappingRule> {
        let mut rules = self.rules.iter().filter(|rule| rule.target() == target);
        rules.find(|rule| rule.conditions().hold_for(study))
    }

    /// VocabularyDigest of the linked syntax: SHA-256, lowercase hex, of the sorted distinct values that the rules can
    /// give, each followed by LF. Two clusters with the same digest call things by the same names, whatever their rules.
    pub fn vocabulary_digest(&self) -> String {
        let values: BTreeSet<&str> = self.rules.iter().map(|rule| rule.value().as_str()).collect();
        let mut hash = Sha256::new();
        for value in values {
            hash.update(value);
            hash.update("\n");
        }
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl TryFrom<Vec<MappingRule>> for MappingTable {
    type Error = Invalid;

    fn try_from(rules: Vec<MappingRule>) -> Result<Self, Invalid> {
        MappingTable::new(rules)
    }
}

impl From<MappingTable> for Vec<MappingRule> {
    fn from(table: MappingTable) -> Self {
        table.rules
    }
}
