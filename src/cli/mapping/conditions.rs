//! The conditions of a rule as options: what `mapping set` and `mapping remove` know a rule by.

use crate::cli::value;
use crate::model::{CodeString, Conditions, DescriptionPattern, MappedValue, ProcedureCode};

/// The conditions of a rule; all that are named must hold.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Conditions")]
pub struct ConditionArgs {
    /// A Code Value of the study's procedure, to the letter
    #[arg(long, value_name = "CODE", value_parser = value::parsed::<ProcedureCode>)]
    procedure_code: Option<ProcedureCode>,
    /// A pattern for the study description, with * and ?
    #[arg(long, value_name = "PATTERN", value_parser = value::parsed::<DescriptionPattern>)]
    description: Option<DescriptionPattern>,
    /// One of the study's modalities
    #[arg(long, value_name = "CODE", value_parser = value::parsed::<CodeString>)]
    modality: Option<CodeString>,
    /// The Body Part Examined of one of its series
    #[arg(long, value_name = "CODE", value_parser = value::parsed::<CodeString>)]
    body_part_examined: Option<CodeString>,
    /// The body part as computed before; for the specialty alone
    #[arg(long, value_name = "VALUE", value_parser = value::parsed::<MappedValue>)]
    body_part: Option<MappedValue>,
}

impl From<ConditionArgs> for Conditions {
    fn from(args: ConditionArgs) -> Self {
        Conditions {
            procedure_code: args.procedure_code,
            description: args.description,
            modality: args.modality,
            body_part_examined: args.body_part_examined,
            body_part: args.body_part,
        }
    }
}
