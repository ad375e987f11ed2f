//! What a query does not give of a station's answers, and how that is told.
//!
//! Invariant: counts alone, no patient data.

/// What was not given of a station's answers.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Withheld {
    /// Of another issuer than the caller's patient ID.
    pub(super) issuer: u64,
    /// Of no patient ID, of several, or of another than the caller gave.
    pub(super) id: u64,
    /// Of another patient than the study stands for.
    pub(super) conflict: u64,
    /// Not to be written for the caller.
    pub(super) unwritable: u64,
}

impl Withheld {
    /// In words, one for each kind that there is.
    pub(super) fn remarks(self) -> impl Iterator<Item = String> {
        let remarks = [
            (self.issuer, "withheld: patients of another issuer"),
            (
                self.id,
                "withheld: another patient ID than asked for, several, or none",
            ),
            (self.conflict, "withheld: the study stands for another patient"),
            (
                self.unwritable,
                "lost: not to be written in the caller's transfer syntax",
            ),
        ];
        let any = remarks.into_iter().filter(|(count, _)| *count > 0);
        any.map(|(count, what)| format!("{count} {what}"))
    }
}
