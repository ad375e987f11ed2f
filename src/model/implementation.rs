//! Who we are to other implementations, in associations and in the files that we write.
//!
//! Invariant: both fit their fields.

/// Our implementation class UID (PS3.7 D.3.3.2): a peer that announces it is an impaxlink.
pub const IMPLEMENTATION_CLASS_UID: &str = "2.25.219200885937194992440977078926863598600";

/// Our implementation version name (PS3.7 D.3.3.2), at most 16 characters.
pub const IMPLEMENTATION_VERSION_NAME: &str = concat!(
    "IMPAXLINK_",
    env!("CARGO_PKG_VERSION_MAJOR"),
    "_",
    env!("CARGO_PKG_VERSION_MINOR")
);

#[cfg(test)]
mod tests {
    #[test]
    fn the_version_name_fits_its_field() {
        assert!((1..=16).contains(&super::IMPLEMENTATION_VERSION_NAME.len()));
    }
}
