//! The integration tests: one binary, one module a subject. What they share is in `support`.

mod support;

mod fake_peer;
mod peers;
