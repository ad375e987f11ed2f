//! `rule add`, `rule set` and `rule remove`: one rule, known by its name.

use clap_complete::ArgValueCompleter;

use super::fields::Fields;
use crate::cli::change::{self, ChangeArgs};
use crate::cli::complete;
use crate::cli::error::{ExitStatus, Problem};
use crate::cli::output::Ui;
use crate::cli::value;
use crate::model::{PrefetchRule, RuleName};

/// The order of a new rule: after the shipped ones, which end at 90.
const ORDER_OF_NEW: u16 = 100;

/// Add a rule.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    impaxlink rule add spine --for-body-part SPINE --body-part same --modality CT,MR --max-age 5y --max-number 2\n  \
    impaxlink rule add reported-neuro --for-specialty NEURORADIOLOGY --specialty same --status APPROVED --order 25\n  \
    impaxlink rule add dental --modality PX,IO --max-number 1 --if-not-exists --dry-run")]
pub struct AddArgs {
    /// What it is called
    #[arg(value_parser = value::parsed::<RuleName>)]
    name: RuleName,
    /// Succeed and change nothing where there is a rule of this name already
    #[arg(long)]
    if_not_exists: bool,
    #[command(flatten)]
    fields: Fields,
    #[command(flatten)]
    change: ChangeArgs,
}

/// Change a rule: only what is named.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    impaxlink rule set same-body-part --max-age 3y --reason CHG1201\n  \
    impaxlink rule set mammography --max-number 4 --verified\n  \
    impaxlink rule set same-modality --max-age any --order 5 --dry-run")]
pub struct SetArgs {
    /// The rule
    #[arg(value_parser = value::parsed::<RuleName>, add = ArgValueCompleter::new(complete::rule_names))]
    name: RuleName,
    #[command(flatten)]
    fields: Fields,
    #[command(flatten)]
    change: ChangeArgs,
}

/// Remove a rule.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    impaxlink rule remove trunk --reason CHG1201\n  \
    impaxlink rule remove dental --if-exists\n\n\
    'impaxlink generation rollback' brings it back.")]
pub struct RemoveArgs {
    /// The rule
    #[arg(value_parser = value::parsed::<RuleName>, add = ArgValueCompleter::new(complete::rule_names))]
    name: RuleName,
    /// Succeed and change nothing where there is no such rule
    #[arg(long)]
    if_exists: bool,
    #[command(flatten)]
    change: ChangeArgs,
}

/// Runs `rule add`.
pub fn add(ui: &mut Ui, args: AddArgs) -> anyhow::Result<ExitStatus> {
    let mut rule = PrefetchRule::new(args.name, ORDER_OF_NEW);
    args.fields.apply(&mut rule);
    let name = rule.name.clone();
    change::save(ui, &args.change, &[format!("rule {name}")], |configuration| {
        let rules = configuration.prefetch_rules_in_force();
        match rules.rule(&name) {
            Some(known) if args.if_not_exists || *known == rule => {}
            Some(_) => {
                let problem = Problem::new(ExitStatus::Failed, format!("there is a rule {name} already"));
                let hint =
                    format!("'impaxlink rule set {name}' changes it; --if-not-exists makes this no error");
                return Err(problem.hint(hint).into());
            }
            None => configuration.prefetch_rules = Some(rules.with(rule)?),
        }
        Ok(())
    })
}

/// Runs `rule set`.
pub fn set(ui: &mut Ui, args: SetArgs) -> anyhow::Result<ExitStatus> {
    let subject = format!("rule {}", args.name);
    change::save(ui, &args.change, &[subject], |configuration| {
        let rules = configuration.prefetch_rules_in_force();
        let known = rules.rule(&args.name).ok_or_else(|| not_found(&args.name))?;
        let mut rule = known.clone();
        args.fields.apply(&mut rule);
        if rule != *known {
            configuration.prefetch_rules = Some(rules.with(rule)?);
        }
        Ok(())
    })
}

/// Runs `rule remove`.
pub fn remove(ui: &mut Ui, args: RemoveArgs) -> anyhow::Result<ExitStatus> {
    let subject = format!("rule {}", args.name);
    change::save(ui, &args.change, &[subject], |configuration| {
        let rules = configuration.prefetch_rules_in_force();
        match rules.rule(&args.name) {
            None if args.if_exists => {}
            None => return Err(not_found(&args.name).into()),
            Some(_) => {
                let last_one = |_| {
                    let problem = Problem::new(ExitStatus::Failed, "the last rule can't be removed");
                    problem.hint("'impaxlink rule reset' goes back to the shipped rules")
                };
                configuration.prefetch_rules = Some(rules.without(&args.name).map_err(last_one)?);
            }
        }
        Ok(())
    })
}

fn not_found(name: &RuleName) -> Problem {
    let problem = Problem::new(ExitStatus::NotFound, format!("no rule {name}"));
    problem.hint("'impaxlink rule list' shows them all")
}
