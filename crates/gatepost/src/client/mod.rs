//! The verbs that speak to servers: `send`, `fetch`, `connect`, and the small tools `pin`, `tlsa`, `cert`.
//!
//! What was said becomes what it means in three steps, none of which touches the network: `url.rs` reads where to go, `flags.rs` holds
//! every flag once, `settings.rs` refuses contradictions.

mod date;
mod fetch;
mod flags;
mod secret;
mod send;
mod settings;
mod url;
