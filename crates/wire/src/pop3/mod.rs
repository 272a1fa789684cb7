//! POP3 (RFC 1939), both sides, with CAPA (RFC 2449), STLS (RFC 2595), SASL (RFC 5034) and the response codes of
//! RFC 2449 8 and RFC 3206.
//!
//! | module | holds |
//! |---|---|
//! | [`ask`] | what a session asks of the mailbox behind it |
//! | [`client`] | the client's session |
//! | [`server`] | the session and its configuration |
//!
//! Left out on purpose: APOP (MD5) [POP-TLS-08]; UTF8 and LANG (RFC 6856), so headers are given as they are kept, and
//! names and passwords may hold UTF-8 without being announced; LOGIN-DELAY.

pub mod ask;
pub mod client;
mod command;
mod encode;
pub mod relay;
mod reply;
pub mod server;
mod transaction;

pub use command::split_line;
