//! Is the peer whom policy says, and who are we to it: TLS profiles, certificates, names and dates. Decisions only; files are
//! read where a caller names them, nothing is fetched.
//!
//! | module | holds | standards |
//! |---|---|---|
//! | [`profile`] | versions, suites, groups, ALPN, tickets: what every TLS connection of ours is allowed to be | RFC 9325 |
//! | [`identity`] | a certificate with its key, loaded and judged | RFC 5280, RFC 9525 |
//! | [`certificates`] | which certificate answers a ClientHello | RFC 6066 3 |
//! | [`client_ca`] | who vouches for clients, and whose a certificate is | RFC 4422 A |
//! | [`local_ca`] | a private authority for a server without certificates | |
//! | [`dns`] | names and records, validated by DNSSEC | RFC 4033 to 4035 |
//! | [`verify`] | is the peer whom policy says: names, chain, dates, revocation, pins, DANE | RFC 9525, RFC 5280 |
//! | [`dane`] | what DNS says about a host's certificate | RFC 7672, RFC 7673 |
//! | [`mta_sts`] | what a domain says about its mail hosts over HTTPS | RFC 8461 |
//! | [`policy`] | from all this to what a connection must be | RFC 7435 |
//! | [`tlsa`] | the TLSA record | RFC 6698 2 |
//! | [`pin`] | keys the user has said the peer has | RFC 7469 in spirit |
//! | [`cert`] | a certificate described, a chain looked over | RFC 5280, SC-081v3 |
//! | [`exporter`] | the value for `tls-exporter` channel bindings | RFC 9266 |

#![warn(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)
)]

pub mod cert;
pub mod certificates;
pub mod client_ca;
pub mod dane;
mod der;
pub mod dns;
pub mod exporter;
pub mod identity;
pub mod local_ca;
pub mod mta_sts;
pub mod pin;
pub mod policy;
pub mod profile;
pub mod tlsa;
pub mod verify;
mod x509;
