//! `check`: is a server, a domain, a list of domains set up right? Asked from outside, as any client could.
//!
//! ```text
//!   target ──examine──▶ facts ──judge(profile)──▶ checks ──▶ report
//!              │           └── kept, and judged again without a connection
//!              └── a budget of connections; stops at the first refusal and says so
//! ```
//!
//! 1. [`facts`] say what was seen and nothing else; what was not seen is [`facts::Seen::Unknown`] with the reason, or
//!    [`facts::Seen::Unasked`]. They are data: kept as JSON, judged again with another profile.
//! 2. Judging is pure: same facts, same profile, same checks. A probe that failed or was throttled is never a pass and never "not
//!    offered": it is `inconclusive`, and says how many connections are missing.
//! 3. Nothing is ever sent that logs in or mails: no credential, no content; a recipient elsewhere only with consent, and taken back at once; content
//!    only to a mailbox that the owner of the servers names, and made to be refused.
//! 4. Ids of checks are stable and never used again for something else; their words stand in `rules/check.tsv`.

mod budget;
mod der;
pub mod diff;
pub mod document;
pub mod domain;
#[cfg(test)]
mod endless_tests;
pub mod examine;
pub mod facts;
pub mod fixes;
pub mod judge;
pub mod kept;
pub mod life;
pub mod list;
pub mod news;
pub mod ntlm;
mod probes;
pub mod profile;
mod questions;
mod rank;
mod reply;
#[cfg(test)]
pub(crate) mod samples;
#[cfg(test)]
mod schema_tests;
pub mod score;
mod talk;
pub mod target;
