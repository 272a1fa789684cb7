//! Moves the bytes: runs sessions over TCP and TLS with their deadlines and limits; accepting, and dialling.
//!
//! | module | holds |
//! |---|---|
//! | [`descriptors`] | how many connections the system allows |
//! | [`dns`] | the way to a recursive resolver |
//! | [`driver`] | runs a server's [`gatepost_wire::session::Machine`] on a connection |
//! | [`client`] | dials, and drives a client's session, out of which its owner pulls questions |
//! | [`http`] | fetches policies, configurations and lists of revoked certificates |
//! | [`listen`] | listening sockets, the accept loop and its limits |
//! | [`network`] | IP networks |
//! | [`policy_host`] | policies of MTA-STS over HTTPS |
//! | [`systemd`] | readiness notification |

pub mod client;
mod connection;
pub mod descriptors;
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
mod splice;
pub mod systemd;
