//! Judges: what a rule says, where it was broken, how that is told. Nothing is ever run from what is read; only [`check`] opens
//! connections, by `net`.
//!
//! | module | holds |
//! |---|---|
//! | [`finding`] | severity, status, place, finding: the words every report uses |
//! | [`rules`] | the rule table, which is data (`rules/*.tsv`) |
//! | [`report`] | findings as text, as JSON and as SARIF |
//! | [`config`] | configurations of mail servers: reading, judging, correcting |
//! | [`shown`] | text of strangers, made harmless for terminals, pages and reports |
//! | [`canary`] | which hops of a mail were encrypted |
//! | [`check`] | servers and domains, asked from outside |
//! | [`watch`] | captured packets: from octets to what leaked |

#![warn(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)
)]

pub mod canary;
pub mod check;
pub mod config;
pub mod finding;
pub mod report;
pub mod rules;
pub mod shown;
pub mod watch;
