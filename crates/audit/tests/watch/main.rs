//! The watcher on captures made by code: every detection with a case that has it and one that has not, every fault of a capture, and no secret
//! in anything that is told.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod dialogues;
mod every;
mod faults;
mod layers;
mod secrets;
mod support;
mod tls;
