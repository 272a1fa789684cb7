//! Bytes to meaning and back, for mail: SMTP, IMAP, POP3, the SASL exchanges they carry, and the upgrade to TLS.
//!
//! Everything here is *sans-IO*: a session takes bytes and the current instant, and says what to do next. There is no
//! socket, no clock, no task and no TLS engine in this crate, so every rule of the protocols can be tested, fuzzed and
//! replayed in memory, with any cut of the input into segments.
//!
//! Start with [`session`] (how a session is driven) and [`seam`] (what survives the upgrade to TLS: nothing).
//!
//! | module | holds | standards |
//! |---|---|---|
//! | [`session`] | the [`session::Machine`] trait, what a driver does with it, why sessions end | |
//! | [`seam`] | the hand-over from clear text to TLS, TLS facts, the proof of encryption | RFC 3207 4.2, RFC 9051 6.2.1, RFC 2595 4 |
//! | [`inbox`] | received bytes and the lines in them | RFC 5321 2.3.8 |
//! | [`calendar`] | days and dates | |
//! | [`client`] | what the client sessions share: modes of TLS, failures by blame, credentials | RFC 8314 |
//! | [`secret`] | values that never print | |
//! | [`sasl`] | PLAIN, LOGIN, SCRAM-SHA-256 and its channel-bound form, SCRAM-SHA-1 for who asks for it; the client's side also OAUTHBEARER, XOAUTH2, EXTERNAL | RFC 4422, 4616, 5802, 7628, 7677, 9266 |
//! | [`tls`] | the ClientHello, read before a TLS engine sees it | RFC 9846 4.1.2, RFC 6066 3, RFC 7301 |
//! | [`smtp`], [`imap`], [`pop3`] | commands, replies and the sessions of each protocol, server and client | RFC 5321, RFC 9051, RFC 1939 |
//! | [`sieve`] | the client of `ManageSieve` | RFC 5804 |
//! | [`passage`] | bytes of a logged-in session that pass through a gate | |
//! | [`proxy`] | the PROXY header: for whom a connection is made | haproxy's `proxy-protocol.txt` |

#![warn(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)
)]

pub mod calendar;
pub mod client;
pub mod imap;
pub mod inbox;
pub mod passage;
pub mod pop3;
pub mod proxy;
pub mod sasl;
pub mod seam;
pub mod secret;
pub mod session;
pub mod sieve;
pub mod smtp;
pub mod tls;
