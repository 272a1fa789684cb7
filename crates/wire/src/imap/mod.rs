//! IMAP4rev1 and IMAP4rev2 (RFC 3501, RFC 9051): the server session and what it asks of the mailbox behind it.
//!
//! | module | holds |
//! |---|---|
//! | [`ask`] | the questions a session asks, and their answers |
//! | [`server`] | the session: greeting, upgrade, login; then mailboxes and messages |

pub mod ask;
mod mutf7;
pub mod server;
