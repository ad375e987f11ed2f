//! The shapes of `priors`: a table for people, and JSON on which scripts depend.
//!
//! Invariant: what a study is in JSON and CSV is what it is in a query.

use serde::Serialize;

use crate::cli::Format;
use crate::cli::output::Ui;
use crate::cli::query::rows::{HEADING, cells};
use crate::cli::query::table::{best, identity, or_dash};
use crate::cli::query::view::{EndLine, EntryView, LedgerLine, StudyView};
use crate::cli::table::Columns;
use crate::cli::view::Document;
use crate::link::merge::{Presence, Source};
use crate::model::QueryLedger;
use crate::priors::find::{JudgedPrior, PriorsFound};
use crate::priors::relevance::{LeftOut, Verdict};

/// `priors --json`.
#[derive(Debug, Serialize)]
struct PriorsDocument<'a> {
    id: String,
    /// The study at hand; null where a patient was named.
    study: Option<StudyView<'a>>,
    complete: bool,
    items: Vec<PriorView<'a>>,
    ledger: Vec<EntryView<'a>>,
}

/// One study with its verdict.
#[derive(Debug, Serialize)]
struct PriorView<'a> {
    #[serde(flatten)]
    telling: Telling<'a>,
    #[serde(flatten)]
    study: StudyView<'a>,
}

/// A line of ndjson.
#[derive(Debug, Serialize)]
struct PriorLine<'a> {
    r#type: &'static str,
    #[serde(flatten)]
    prior: PriorView<'a>,
}

/// The verdict.
#[derive(Debug, Serialize)]
struct Telling<'a> {
    /// From 1; null where it is left out.
    rank: Option<usize>,
    /// `chosen` or `left_out`.
    verdict: &'static str,
    /// The rule that took it, or that it came nearest to.
    rule: Option<&'a str>,
    reason: String,
    /// How much of it the local cluster has: `whole`, `part`, `none`.
    here: &'static str,
}

impl<'a> PriorView<'a> {
    fn of(place: usize, prior: &'a JudgedPrior, sources: &'a [Source]) -> Self {
        PriorView {
            telling: Telling::of(place, prior, sources),
            study: StudyView::of(&prior.study, sources),
        }
    }
}

impl<'a> Telling<'a> {
    /// The chosen ones come first, so that their places are their ranks.
    fn of(place: usize, prior: &'a JudgedPrior, sources: &[Source]) -> Self {
        let (rank, verdict, rule, reason) = match &prior.verdict {
            Verdict::Chosen(chosen) => (
                Some(place + 1),
                "chosen",
                Some(&chosen.rule),
                chosen.reason.clone(),
            ),
            Verdict::LeftOut(why) => {
                let rule = match why {
                    LeftOut::FallsShort { rule, .. } => Some(rule),
                    _ => None,
                };
                (None, "left_out", rule, why.to_string())
            }
        };
        Telling {
            rank,
            verdict,
            rule: rule.map(|rule| rule.as_str()),
            reason,
            here: prior.study.presence(sources).as_str(),
        }
    }

    fn cells(&self) -> [String; 5] {
        [
            self.rank.map(|rank| rank.to_string()).unwrap_or_default(),
            self.verdict.to_owned(),
            self.rule.unwrap_or_default().to_owned(),
            self.reason.clone(),
            self.here.to_owned(),
        ]
    }
}

/// Writes what is listed in the format asked for.
pub fn write(
    ui: &mut Ui,
    found: &PriorsFound,
    listed: &[&JudgedPrior],
    ledger: &QueryLedger,
) -> anyhow::Result<()> {
    let sources = &found.sources[..];
    let priors = listed.iter().enumerate();
    let mut views = priors
        .clone()
        .map(|(place, prior)| PriorView::of(place, prior, sources));
    let (id, complete) = (ledger.id.to_string(), ledger.complete);
    match ui.format() {
        Format::Json => ui.json(&Document::new(PriorsDocument {
            id,
            study: found.current.as_ref().map(|study| StudyView::of(study, sources)),
            complete,
            items: views.collect(),
            ledger: ledger.entries.iter().map(EntryView::of).collect(),
        })),
        Format::Ndjson => {
            views.try_for_each(|prior| {
                ui.ndjson(&PriorLine {
                    r#type: "prior",
                    prior,
                })
            })?;
            for entry in &ledger.entries {
                ui.ndjson(&LedgerLine::new(entry))?;
            }
            ui.ndjson(&EndLine::new(id, complete))
        }
        Format::Csv => {
            let heading = ["rank", "verdict", "rule", "reason", "here"];
            let rows = priors.map(|(place, prior)| {
                let telling = Telling::of(place, prior, sources).cells();
                telling.into_iter().chain(cells(&prior.study, sources))
            });
            ui.csv(&[&heading[..], &HEADING[..]].concat(), rows)
        }
        Format::DicomJson => Err(ui.refuse_format()),
        Format::Table => table(ui, listed, sources),
    }
}

fn table(ui: &mut Ui, listed: &[&JudgedPrior], sources: &[Source]) -> anyhow::Result<()> {
    if listed.is_empty() {
        return Ok(());
    }
    let heading = [
        "RANK>",
        "DATE",
        "MOD",
        "STUDY",
        "BODY PART",
        "ID (ISSUER)",
        "IMAGES>",
        "BEST",
        "HERE",
        "RULE",
        "WHY",
    ];
    let mut table = Columns::new(&heading);
    for (place, prior) in listed.iter().enumerate() {
        let study = &prior.study.study;
        let telling = Telling::of(place, prior, sources);
        table.row([
            or_dash(telling.rank),
            or_dash(study.study_date),
            or_dash((!study.modalities.is_empty()).then(|| study.modalities.join(","))),
            or_dash(study.study_description.as_ref()),
            or_dash(study.body_part.as_ref()),
            identity(&study.patient_id),
            or_dash(study.instances),
            best(&prior.study, sources),
            match prior.study.presence(sources) {
                Presence::Whole => "yes",
                Presence::Unknown => "unknown",
                Presence::Part => "part",
                Presence::None => "no",
            }
            .to_owned(),
            or_dash(telling.rule),
            telling.reason,
        ]);
    }
    Ok(ui.table(table)?)
}
