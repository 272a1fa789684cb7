//! imap.

pub mod ask;
