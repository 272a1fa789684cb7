//! The embedded mailbox.

pub mod mime;
