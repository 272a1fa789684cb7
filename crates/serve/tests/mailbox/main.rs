//! The backends on a real store in a temporary folder, asked as sessions ask them.

#![allow(clippy::unwrap_used)] // a test may fail by panicking

mod account;
mod imap;
mod pop3;
mod smtp;
mod upgrade;
mod world;
