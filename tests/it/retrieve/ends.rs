//! How a retrieve ends.
