//! The SMTP server session, from outside.

mod boundaries;
mod client;
mod dialogues;
mod endings;
mod introductions;
mod matrix;
mod offers;
mod pipelining;
mod properties;
mod secrets;
mod smuggling;
mod support;
mod traces;
mod upgrade;
