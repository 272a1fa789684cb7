//! POP3 (RFC 1939), both sides, with CAPA (RFC 2449), STLS (RFC 2595), SASL (RFC 5034) and the response codes of
//! RFC 2449 8 and RFC 3206.
//!
//! | module | holds |
//! |---|---|
//! | [`ask`] | what a session asks of the mailbox behind it |
//! | [`client`] | the client's session |
//! | [`server`] | the session and its configuration |
//!
//! With UTF8 and LANG (RFC 6856). A message with UTF-8 in its header is given as it is kept also to clients that have not said UTF8: RFC 6856 5
//! would have it refused or rewritten. Hardly any client says it, so that a refusal would keep letters from their readers, and rewriting
//! changes sizes and breaks signatures.
//!
//! Left out on purpose: APOP (MD5) [POP-TLS-08]; LOGIN-DELAY.

pub mod ask;
pub mod client;
mod command;
mod encode;
pub mod relay;
mod reply;
pub mod server;
mod transaction;

pub use command::split_line;
