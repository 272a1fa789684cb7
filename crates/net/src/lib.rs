//! Moves the bytes: the one driver that runs a session over TCP and TLS with its deadlines and limits, and accepting.
//!
//! | module | holds |
//! |---|---|
//! | [`dns`] | the way to a recursive resolver |
//! | [`driver`] | runs any [`gatepost_wire::session::Machine`] on a connection |
//! | [`listen`] | listening sockets, the accept loop and its limits |
//! | [`network`] | IP networks |
//! | [`policy_host`] | policies of MTA-STS over HTTPS |
//! | [`systemd`] | readiness notification |

pub mod client;
mod connection;
pub mod dns;
pub mod driver;
mod engine;
mod failure;
mod handshake;
pub mod http;
pub mod listen;
pub mod network;
mod plaintext;
pub mod policy_host;
pub mod systemd;
