//! Judges: what a rule says, where it was broken, how that is told. No sockets, and nothing is ever run from what is read.
//!
//! | module | holds |
//! |---|---|
//! | [`finding`] | severity, status, place, finding: the words every report uses |
//! | [`rules`] | the rule table, which is data (`rules/*.tsv`) |
//! | [`report`] | findings as text and as JSON |
//! | [`postfix`] | main.cf: reading and judging |
//! | [`canary`] | which hops of a mail were encrypted |
//! | [`watch`] | captured packets: from octets to what leaked |

#![warn(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)
)]

pub mod canary;
pub mod finding;
pub mod postfix;
pub mod report;
pub mod rules;
pub mod watch;
