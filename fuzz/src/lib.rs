//! Fuzz targets, and what the runner needs.
//!
//! A target is a function of some bytes that must return whatever they are; it panics when the code under it does, or breaks
//! one of the rules the target checks. The targets build with the stable compiler; the binary of this crate runs them with
//! a simple mutator. CONTRIBUTING.md says how to run one under a coverage-guided fuzzer.

pub mod behaviour;
pub mod client;
pub mod corpus;
pub mod input;
pub mod mutate;
pub mod session;
pub mod targets;

/// A fuzz target.
#[derive(Clone, Copy)]
pub struct Target {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it does with an input.
    pub run: fn(&[u8]),
    /// Inputs that lead somewhere.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Words that mean something to it.
    pub words: &'static [&'static str],
}

/// Every target.
pub const TARGETS: &[Target] = &[
    targets::smtp::SESSION,
    targets::imap::SESSION,
    targets::pop3::SESSION,
    targets::smtp::COMMAND,
    targets::clients::SMTP,
    targets::clients::IMAP,
    targets::clients::IMAP_RESPONSES,
    targets::clients::POP3,
    targets::clients::SIEVE,
    targets::sasl::EXCHANGE,
    targets::hello::READER,
    targets::tls::STREAM,
    targets::inbox::LINES,
    targets::peer::JUDGE,
    targets::proxy::HEADER,
    targets::dns::REPLIES,
    targets::policy::TEXTS,
    targets::domain::SPF,
    targets::domain::AUTOCONFIG,
    targets::ntlm::NTLM,
    targets::watch::FILE,
    targets::watch::DIALOGUE,
    targets::config::POSTFIX,
    targets::config::DOVECOT,
    targets::config::EXIM,
    targets::config::COURIER,
];
