//! Moves the bytes: the one driver that runs a session over TCP and TLS with its deadlines and limits, and accepting.
//!
//! | module | holds |
//! |---|---|
//! | [`driver`] | runs any [`gatepost_wire::session::Machine`] on a connection |
//! | [`engine`] | the TLS engine behind a type of our own |
//! | [`listen`] | listening sockets, the accept loop and its limits |
//! | [`systemd`] | readiness notification |

pub mod driver;
pub mod engine;
pub mod listen;
pub mod systemd;
