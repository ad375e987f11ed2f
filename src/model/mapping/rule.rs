//! One line of the mapping tables: what a study must be like, and the specialty or body part it then has.
//!
//! Invariants (checked by `MappingRule::new`): there is at least one condition, so that no slip of the hand maps every
//! study; only the specialty's rules look at the body part that was computed before.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::pattern::{DescriptionPattern, FoldedDescription};
use crate::model::{Invalid, MappedValue, ProcedureCode};

/// What a rule gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MappingTarget {
    /// LinkedBodyPart; computed first.
    BodyPart,
    /// Specialty.
    Specialty,
}

impl MappingTarget {
    /// The word for it: `body_part` or `specialty`.
    pub fn as_str(self) -> &'static str {
        match self {
            MappingTarget::BodyPart => "body_part",
            MappingTarget::Specialty => "specialty",
        }
    }
}

impl FromStr for MappingTarget {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        match text {
            "body_part" | "body-part" => Ok(MappingTarget::BodyPart),
            "specialty" => Ok(MappingTarget::Specialty),
            _ => Err(Invalid::new("target", text, "it is 'specialty' or 'body_part'")),
        }
    }
}

/// A value of VR CS: capital letters, digits, space and underscore, at most 16 (PS3.5 6.2). Read in any case.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CodeString(String);

impl CodeString {
    /// The value.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether one of the values that a peer gave is this one. Some peers write them in lower case.
    fn is_among(&self, values: &[String]) -> bool {
        values
            .iter()
            .any(|value| value.trim().eq_ignore_ascii_case(&self.0))
    }
}

impl FromStr for CodeString {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let value = text.trim().to_ascii_uppercase();
        let is_allowed = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == ' ' || c == '_';
        if value.is_empty() || value.len() > 16 || !value.chars().all(is_allowed) {
            let rule = "it is 1 to 16 letters, digits, spaces and underscores (PS3.5 6.2, CS)";
            return Err(Invalid::new("code", text, rule));
        }
        Ok(CodeString(value))
    }
}

impl TryFrom<String> for CodeString {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        text.parse()
    }
}

impl From<CodeString> for String {
    fn from(code: CodeString) -> String {
        code.0
    }
}

/// What is known of a study when its specialty and body part are computed.
#[derive(Debug, Clone, Copy, Default)]
pub struct StudyFacts<'a> {
    /// Code Values of Procedure Code Sequence (0008,1032).
    pub procedure_codes: &'a [String],
    /// Study Description.
    pub description: Option<&'a str>,
    /// Modalities in Study.
    pub modalities: &'a [String],
    /// Body Part Examined of its series.
    pub body_parts_examined: &'a [String],
}

/// What a study must be like; all that are named must hold.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Conditions {
    /// One of its procedure codes is this one, to the letter.
    pub procedure_code: Option<ProcedureCode>,
    /// Its description matches.
    pub description: Option<DescriptionPattern>,
    /// One of its modalities is this one.
    pub modality: Option<CodeString>,
    /// Body Part Examined of one of its series is this one.
    pub body_part_examined: Option<CodeString>,
    /// The body part that was computed before is this one.
    pub body_part: Option<MappedValue>,
}

/// What the conditions are compared with: the facts, with what is made of them once for all rules.
pub(super) struct Candidate<'a> {
    pub(super) facts: &'a StudyFacts<'a>,
    pub(super) description: Option<FoldedDescription>,
    pub(super) body_part: Option<&'a MappedValue>,
}

impl Conditions {
    /// How many are named.
    pub fn count(&self) -> usize {
        [
            self.procedure_code.is_some(),
            self.description.is_some(),
            self.modality.is_some(),
            self.body_part_examined.is_some(),
            self.body_part.is_some(),
        ]
        .into_iter()
        .filter(|named| *named)
        .count()
    }

    pub(super) fn hold_for(&self, study: &Candidate<'_>) -> bool {
        let facts = study.facts;
        let has_code = |code: &ProcedureCode| facts.procedure_codes.iter().any(|c| c.trim() == code.as_str());
        self.modality
            .as_ref()
            .is_none_or(|m| m.is_among(facts.modalities))
            && self
                .body_part_examined
                .as_ref()
                .is_none_or(|part| part.is_among(facts.body_parts_examined))
            && self.procedure_code.as_ref().is_none_or(has_code)
            && self
                .body_part
                .as_ref()
                .is_none_or(|part| study.body_part == Some(part))
            && self
                .description
                .as_ref()
                .is_none_or(|pattern| pattern.matches(study.description.as_ref()))
    }
}

impl fmt::Display for Conditions {
    /// `description '* hip *', modality CT`; descriptions as they are compared, so that equal conditions read equal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        let named = [
            (
                "procedure code",
                self.procedure_code.as_ref().map(|code| code.as_str()),
            ),
            (
                "description",
                self.description.as_ref().map(|pattern| pattern.folded()),
            ),
            ("modality", self.modality.as_ref().map(|code| code.as_str())),
            (
                "BodyPartExamined",
                self.body_part_examined.as_ref().map(|code| code.as_str()),
            ),
            ("body part", self.body_part.as_ref().map(|part| part.as_str())),
        ];
        for (name, value) in named {
            if let Some(value) = value {
                write!(f, "{separator}{name} '{value}'")?;
                separator = ", ";
            }
        }
        Ok(())
    }
}

/// One line of the mapping tables.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "RuleDocument", into = "RuleDocument")]
pub struct MappingRule {
    target: MappingTarget,
    order: u32,
    value: MappedValue,
    conditions: Conditions,
}

/// The greatest order of a rule.
const LAST_ORDER: u32 = 9999;

impl MappingRule {
    /// A rule that gives `value` for studies that meet all conditions, after those of lower `order`.
    pub fn new(
        target: MappingTarget,
        order: u32,
        value: MappedValue,
        conditions: Conditions,
    ) -> Result<Self, Invalid> {
        if order > LAST_ORDER {
            let rule = "it is a whole number from 0 to 9999; lower comes first";
            return Err(Invalid::new("order", &order.to_string(), rule));
        }
        if conditions.count() == 0 {
            let rule = "it needs a condition; description '*' matches every study";
            return Err(Invalid::new("mapping rule", value.as_str(), rule));
        }
        if let (MappingTarget::BodyPart, Some(part)) = (target, &conditions.body_part) {
            let rule = "only specialty's rules look at the computed body part; here it is body_part_examined";
            return Err(Invalid::new("body_part", part.as_str(), rule));
        }
        Ok(MappingRule {
            target,
            order,
            value,
            conditions,
        })
    }

    /// The same rule at another place.
    pub fn at(&self, order: u32) -> Result<Self, Invalid> {
        MappingRule::new(self.target, order, self.value.clone(), self.conditions.clone())
    }

    /// What it gives.
    pub fn target(&self) -> MappingTarget {
        self.target
    }

    /// Its place: lower comes first.
    pub fn order(&self) -> u32 {
        self.order
    }

    /// The value it gives.
    pub fn value(&self) -> &MappedValue {
        &self.value
    }

    /// What a study must be like.
    pub fn conditions(&self) -> &Conditions {
        &self.conditions
    }

    /// What it is known by: two rules with the same target and conditions would contradict each other.
    pub fn key(&self) -> String {
        format!("{}: {}", self.target.as_str(), self.conditions)
    }
}

/// A rule's document: the columns of the CSV in their order.
#[derive(Debug, Serialize, Deserialize)]
struct RuleDocument {
    target: MappingTarget,
    order: u32,
    value: MappedValue,
    #[serde(flatten)]
    conditions: Conditions,
}

impl TryFrom<RuleDocument> for MappingRule {
    type Error = Invalid;

    fn try_from(document: RuleDocument) -> Result<Self, Invalid> {
        MappingRule::new(
            document.target,
            document.order,
            document.value,
            document.conditions,
        )
    }
}

impl From<MappingRule> for RuleDocument {
    fn from(rule: MappingRule) -> Self {
        RuleDocument {
            target: rule.target,
            order: rule.order,
            value: rule.value,
            conditions: rule.conditions,
        }
    }
}
