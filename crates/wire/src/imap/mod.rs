//! IMAP4rev1 and IMAP4rev2 (RFC 3501, RFC 9051): the sessions, and what the server's asks of the mailbox behind it.
//!
//! | module | holds |
//! |---|---|
//! | [`ask`] | the questions a session asks, and their answers |
//! | [`client`] | the client's session |
//! | [`server`] | the session: greeting, upgrade, login; then mailboxes and messages |

pub mod ask;
pub mod client;
pub mod mutf7;
pub mod relay;
pub mod server;
