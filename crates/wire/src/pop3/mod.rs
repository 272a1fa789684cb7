//! pop3.

pub mod ask;
