//! The server: listeners, the backends behind sessions, limits, logs and metrics.
//!
//! | module | holds |
//! |---|---|
//! | [`settings`] | what a server is told, with every choice made |
//! | [`server`] | open, start, run, stop |
//! | [`services`] | the services and their ports |
//! | [`mailbox`] | the backends that put sessions onto the embedded store |
//! | [`upstream`] | the backends that pass sessions on to another server |
//! | [`log`] | one structured line per session end |
//! | [`metrics`] | counters and their page |
//! | [`web`] | a page for those who test their programs |

pub mod log;
pub mod mailbox;
pub mod metrics;
pub mod server;
pub mod services;
pub mod settings;
pub mod upstream;
pub mod web;
