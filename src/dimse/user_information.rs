//! The user information of A-ASSOCIATE PDUs, ours and the peer's (PS3.7 annex D.3.3, PS3.8 annex D).
//!
//! Invariant: what came from a peer holds no control characters. Extended negotiations but for those of roles and of asynchronous operations
//! are passed over.

use dicom_ul::pdu::{RequestorRoles, UserVariableItem};

use super::associate_accept::for_each_item;
use super::uids;

/// What one side says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct UserInformation {
    /// The longest P-DATA-TF that it takes, in bytes; 0 is no limit.
    pub(super) max_pdu_length: u32,
    pub(super) implementation_class_uid: String,
    pub(super) implementation_version_name: String,
    /// SCP/SCU Role Selection (PS3.7 D.3.3.4): the roles of the requestor for a SOP class, as proposed or accepted.
    pub(super) roles: Vec<(String, RequestorRoles)>,
    /// Asynchronous Operations Window (PS3.7 D.3.3.3): how many operations the requestor may have unanswered, as proposed
    /// or accepted; 0 is no limit.
    pub(super) window: Option<u16>,
}

/// How many operations we have unanswered at once, and let a peer have.
pub const WINDOW: u16 = 128;
const WINDOW_ITEM: u8 = 0x53;

impl UserInformation {
    /// Reads the content of a user information item; `None` where lengths do not fit.
    pub(super) fn read(content: &[u8]) -> Option<Self> {
        let mut information = UserInformation::default();
        for_each_item(content, |kind, content| {
            let text = || printable(&String::from_utf8_lossy(content));
            match kind {
                0x51 => information.max_pdu_length = u32::from_be_bytes(*content.first_chunk()?),
                0x52 => information.implementation_class_uid = text(),
                WINDOW_ITEM => information.window = Some(u16::from_be_bytes(*content.first_chunk()?)),
                0x54 => information.roles.push(role_selection(content)?),
                0x55 => information.implementation_version_name = text(),
                _ => {}
            }
            Some(())
        })?;
        Some(information)
    }

    /// The same from the items that dicom-ul has read.
    pub(super) fn of_items(items: &[UserVariableItem]) -> Self {
        let mut information = UserInformation::default();
        for item in items {
            match item {
                UserVariableItem::MaxLength(length) => information.max_pdu_length = *length,
                UserVariableItem::ImplementationClassUID(uid) => {
                    information.implementation_class_uid = printable(uid);
                }
                UserVariableItem::ImplementationVersionName(name) => {
                    information.implementation_version_name = printable(name);
                }
                UserVariableItem::ScuScpRoleSelectionSubItem(uid, roles) => {
                    information.roles.push((printable(uid), *roles));
                }
                UserVariableItem::Unknown(WINDOW_ITEM, content) => {
                    information.window = content.first_chunk().copied().map(u16::from_be_bytes);
                }
                _ => {}
            }
        }
        information
    }
}

fn role_selection(content: &[u8]) -> Option<(String, RequestorRoles)> {
    let (length, rest) = content.split_first_chunk::<2>()?;
    let (uid, roles) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
    let &[scu, scp] = roles.first_chunk()?;
    let roles = RequestorRoles {
        scu: scu != 0,
        scp: scp != 0,
    };
    Some((printable(&String::from_utf8_lossy(uid)), roles))
}

/// What we say of ourselves, asking or answering.
pub(super) fn our_items(max_pdu_length: u32) -> Vec<UserVariableItem> {
    vec![
        UserVariableItem::MaxLength(max_pdu_length),
        UserVariableItem::ImplementationClassUID(uids::IMPLEMENTATION_CLASS_UID.to_owned()),
        UserVariableItem::ImplementationVersionName(uids::IMPLEMENTATION_VERSION_NAME.to_owned()),
    ]
}

/// So many operations of the requestor's unanswered at once, and one of the acceptor's.
pub(super) fn window_item(window: u16) -> UserVariableItem {
    let [high, low] = window.to_be_bytes();
    UserVariableItem::Unknown(WINDOW_ITEM, vec![high, low, 0, 1])
}

/// The window that both sides agree to, of one that is proposed or accepted.
pub(super) fn agreed_window(window: u16) -> u16 {
    if window == 0 { WINDOW } else { window.min(WINDOW) }
}

/// Text from a peer, fit for a terminal.
fn printable(text: &str) -> String {
    let text: String = text.chars().filter(|c| !c.is_control()).collect();
    text.trim().to_owned()
}
