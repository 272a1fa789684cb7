//! SMTP: commands, replies, content, and the server's session (RFC 5321 and the extensions named in [`server`]).
//!
//! | module | holds | standards |
//! |---|---|---|
//! | [`server`] | the session: configuration, states, limits | RFC 5321, 3207, 6409 |
//! | [`client`] | the client's session, also for LMTP | RFC 5321, 3207, 4954, 2920, 3030, 2033 |
//! | [`ask`] | what the session asks of the backend behind it | |
//! | [`table`] | every verb, where it may stand and what it needs | RFC 5321 4.1.1, RFC 2920 3.1 |
//! | [`command`] | the command line, from octets to meaning | RFC 5321 4.1.1 |
//! | [`path`] | reverse-path and forward-path | RFC 5321 4.1.2, RFC 6531 3.3 |
//! | [`reply`] | replies with their enhanced status codes | RFC 5321 4.2, RFC 2034, RFC 3463 |
//! | [`dsn`] | what a sender asks to be told of a message's fate | RFC 3461 4, RFC 6533 3 |
//! | [`data`] | where the data ends, dot-stuffing undone | RFC 5321 4.1.1.4, 4.5.2 |
//! | [`content`] | what is refused in content | RFC 5321 2.3.8, 4.5.3.1.6, 6.3 |
//! | [`header`] | what a message's header has, read as it streams by | RFC 5322 3.6 |
//! | [`received`] | the `Received:` field | RFC 5321 4.4, RFC 3848, RFC 8314 4.3 |
//! | [`relay`] | the words of a gate to the server behind it | Postfix `XCLIENT_README` |
//! | [`xclient`] | what a server in front says of its client | Postfix `XCLIENT_README` |

pub mod ask;
pub mod client;
pub mod command;
pub mod content;
pub mod data;
pub mod dsn;
pub mod header;
pub mod path;
pub mod received;
pub mod relay;
pub mod reply;
pub mod server;
pub mod table;
pub mod xclient;
