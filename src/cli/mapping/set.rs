//! `mapping set` and `mapping remove`: one rule, known by its target and conditions.

use super::conditions::ConditionArgs;
use crate::cli::change::{self, ChangeArgs};
use crate::cli::error::{ExitStatus, Problem};
use crate::cli::output::Ui;
use crate::cli::value;
use crate::model::{MappedValue, MappingRule, MappingTarget};

/// The order of a new rule: before the shipped ones, which begin at 100.
const ORDER_OF_NEW: u32 = 50;

/// Add a rule, or change the one with the same conditions.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    impaxlink mapping set body-part CHEST --description '*cage thoracique*' --reason CHG1201\n  \
    impaxlink mapping set specialty NEURORADIOLOGY --body-part HEAD --modality MR\n  \
    impaxlink mapping set body-part HEART --procedure-code CTCOR --order 10 --dry-run")]
pub struct SetArgs {
    /// What the rule gives: specialty or body-part
    #[arg(value_name = "TARGET", value_parser = value::parsed::<MappingTarget>)]
    target: MappingTarget,
    /// The value it gives
    #[arg(value_parser = value::parsed::<MappedValue>)]
    value: MappedValue,
    /// Its place, 0 to 9999: lower is tried first [default: 50 for a new rule, before the shipped ones]
    #[arg(long, value_name = "N")]
    order: Option<u32>,
    #[command(flatten)]
    conditions: ConditionArgs,
    #[command(flatten)]
    change: ChangeArgs,
}

/// Remove a rule.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    impaxlink mapping remove body-part --description '*cage thoracique*'\n  \
    impaxlink mapping remove specialty --modality XA --if-exists\n\n\
    The rule is the one with these conditions and no others. 'impaxlink generation rollback' brings it back.")]
pub struct RemoveArgs {
    /// What the rule gives: specialty or body-part
    #[arg(value_name = "TARGET", value_parser = value::parsed::<MappingTarget>)]
    target: MappingTarget,
    /// Succeed and change nothing where there is no such rule
    #[arg(long)]
    if_exists: bool,
    #[command(flatten)]
    conditions: ConditionArgs,
    #[command(flatten)]
    change: ChangeArgs,
}

/// Runs `mapping set`.
pub fn run(ui: &mut Ui, args: SetArgs) -> anyhow::Result<ExitStatus> {
    let order = args.order.unwrap_or(ORDER_OF_NEW);
    let rule = MappingRule::new(args.target, order, args.value, args.conditions.into())?;
    let subject = format!("mapping rule {}", rule.key());
    change::save(ui, &args.change, &[subject], |configuration| {
        let tables = configuration.mapping_in_force();
        let known = tables.same_conditions(&rule);
        let rule = match known.filter(|_| args.order.is_none()) {
            Some(known) => rule.at(known.order())?,
            None => rule,
        };
        if known != Some(&rule) {
            configuration.mapping = Some(tables.with(rule)?);
        }
        Ok(())
    })
}

/// Runs `mapping remove`.
pub fn remove(ui: &mut Ui, args: RemoveArgs) -> anyhow::Result<ExitStatus> {
    let any_value: MappedValue = "ANY".parse()?;
    let rule = MappingRule::new(args.target, ORDER_OF_NEW, any_value, args.conditions.into())?;
    let key = rule.key();
    let subject = format!("mapping rule {key}");
    change::save(ui, &args.change, &[subject], |configuration| {
        let tables = configuration.mapping_in_force();
        match tables.same_conditions(&rule) {
            None if args.if_exists => {}
            None => {
                let problem = Problem::new(ExitStatus::NotFound, format!("no mapping rule {key}"));
                return Err(problem.hint("'impaxlink mapping list' shows them all").into());
            }
            Some(_) => {
                let rest = tables.without(&rule);
                let last_one = |_| {
                    let problem = Problem::new(ExitStatus::Failed, "the last mapping rule can't be removed");
                    problem.hint("'impaxlink mapping reset' goes back to the shipped tables")
                };
                configuration.mapping = Some(rest.map_err(last_one)?);
            }
        }
        Ok(())
    })
}
