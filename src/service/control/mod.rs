//! The control socket: how a command on this machine speaks to the running service.
//!
//! One JSON object a line, each way, each with the version of this protocol. A connection may carry several requests,
//! one after the other. Invariant: no line is read beyond its limit, and nothing waits without a deadline.

mod address;
mod client;
mod message;
mod server;

pub use address::socket_path;
pub use client::{
    AfterSave, ControlError, ping, reload, reload_after_save, send_updates, status, take_cross_reference,
};
pub use message::{LinkTry, RefusedReload, ReloadReport, ServiceStatus};

pub(super) use message::{Answer, Failure, Request};
pub(super) use server::ControlSocket;
