//! The identifier of a request: whole, sound, and no larger than one may be.
//!
//! Invariants: what is refused is answered, and the association goes on. What passes is so small that reading it, and
//! the work that its keys make at every station, is done in little time.

use dicom_core::{Tag, VR};

use super::final_response;
use crate::dimse::element::dictionary_vr;
use crate::dimse::{Association, Context, DataSet, Element, Error, FindEnd, Message, Status, trim_padding};

/// The most elements of an identifier, those in items counted. Viewers ask for fewer than 60 attributes; each is looked
/// at for each station and each row.
const MAX_KEYS: usize = 500;
/// The most UIDs in a list. An identifier in Explicit VR has room for 1,000 of usual length.
const MAX_UIDS: usize = 10_000;
/// The most values of any other key. A linked query takes 64 combinations at most.
const MAX_VALUES: usize = 1000;
/// The longest value of a key, in bytes: that of VR LT (PS3.5 6.2).
const MAX_VALUE: usize = 10_240;

/// The identifier of a request. One that has none, a malformed one or one that is too large is answered, and gives none.
pub(super) async fn take_identifier(
    association: &mut Association,
    context: &Context,
    message: &mut Message,
) -> Result<Option<DataSet>, Error> {
    match read_identifier(context, message) {
        Ok(identifier) => Ok(Some(identifier)),
        Err(end) => {
            let response = final_response(&message.command, end);
            association.send(context.id, &response, None).await?;
            Ok(None)
        }
    }
}

fn read_identifier(context: &Context, message: &mut Message) -> Result<DataSet, FindEnd> {
    let end = |status, comment: String, tag: Option<Tag>| FindEnd {
        status,
        comment: Some(comment),
        offending_elements: tag.into_iter().collect(),
    };
    if let Some(refusal) = message.refusal {
        return Err(end(Status::OUT_OF_RESOURCES, refusal.to_string(), None));
    }
    let bytes = message.data_set.take();
    let identifier = bytes.and_then(|bytes| DataSet::parse(bytes, context.transfer_syntax).ok());
    let identifier = identifier.ok_or_else(|| {
        let why = "no identifier, or a malformed one".to_owned();
        end(Status::DOES_NOT_MATCH_SOP_CLASS, why, None)
    })?;
    match limit_exceeded(&identifier) {
        Some((why, tag)) => Err(end(Status::OUT_OF_RESOURCES, why, tag)),
        None => Ok(identifier),
    }
}

/// Which limit the identifier exceeds, if it does, and the key that does so.
fn limit_exceeded(identifier: &DataSet) -> Option<(String, Option<Tag>)> {
    if identifier.headers() > MAX_KEYS {
        return Some((format!("more than {MAX_KEYS} keys"), None));
    }
    identifier.elements().find_map(|element| {
        let why = limit_of_key_exceeded(&element)?;
        Some((why, Some(element.tag)))
    })
}

fn limit_of_key_exceeded(element: &Element<'_>) -> Option<String> {
    let vr = element.vr().unwrap_or_else(|| dictionary_vr(element.tag));
    if vr == VR::SQ {
        return element
            .items()
            .flatten()
            .find_map(|element| limit_of_key_exceeded(&element));
    }
    let most = if vr == VR::UI { MAX_UIDS } else { MAX_VALUES };
    let mut values = trim_padding(element.value).split(|byte| *byte == b'\\');
    if values.by_ref().take(most).any(|value| value.len() > MAX_VALUE) {
        return Some(format!("a value of more than {MAX_VALUE} bytes"));
    }
    let what = if vr == VR::UI { "UIDs" } else { "values" };
    values.next().map(|_| format!("more than {most} {what} in a key"))
}

#[cfg(test)]
mod tests {
    use dicom_dictionary_std::tags;

    use super::*;
    use crate::dimse::{DataSetBuilder, TransferSyntax};

    fn exceeded(builder: &DataSetBuilder) -> Option<(String, Option<Tag>)> {
        let identifier = builder.encode(TransferSyntax::ImplicitVrLittleEndian).unwrap();
        limit_exceeded(&identifier)
    }

    fn list(value: &str, count: usize) -> String {
        vec![value; count].join("\\")
    }

    /// Case: an identifier with tens of thousands of keys
    #[test]
    fn usual_identifiers_pass_and_the_limit_that_another_exceeds_is_named() {
        let uids =
            |count| DataSetBuilder::new().put(tags::STUDY_INSTANCE_UID, VR::UI, list("1.2.3.4.5.6", count));
        let values = |count| DataSetBuilder::new().put(tags::MODALITIES_IN_STUDY, VR::CS, list("CT", count));
        assert_eq!(exceeded(&uids(MAX_UIDS)), None);
        assert_eq!(exceeded(&values(MAX_VALUES)), None);
        let (why, tag) = exceeded(&uids(MAX_UIDS + 1)).unwrap();
        assert_eq!(
            (why.as_str(), tag),
            ("more than 10000 UIDs in a key", Some(tags::STUDY_INSTANCE_UID))
        );
        assert!(exceeded(&values(MAX_VALUES + 1)).is_some());
        let long = DataSetBuilder::new().put(tags::PATIENT_NAME, VR::PN, "x".repeat(MAX_VALUE + 2));
        assert!(exceeded(&long).is_some());
        let in_item =
            DataSetBuilder::new().put_items(tags::REFERENCED_STUDY_SEQUENCE, vec![uids(MAX_UIDS + 1)]);
        assert!(exceeded(&in_item).is_some());
        let keys = |count| {
            (0..count).fold(DataSetBuilder::new(), |builder, number| {
                builder.put_empty(Tag(0x0009, 0x1000 + number), VR::LO)
            })
        };
        assert_eq!(exceeded(&keys(500)), None);
        assert!(exceeded(&keys(501)).is_some());
    }
}
