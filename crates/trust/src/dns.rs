//! DNS for mail, with DNSSEC validation of our own.
//!
//! A [`Resolver`] asks a recursive resolver through a [`Transport`] and verifies every answer from a trust anchor down: [`Status`]
//! tells secure, insecure, bogus and indeterminate apart, for records, for CNAME chains and for denials [DNSSEC-02]. No socket, no
//! clock and no runtime is in here.
//!
//! | part | holds | standards |
//! |---|---|---|
//! | `name`, `message`, `record` | names, questions and replies, the records mail needs | RFC 1035, 6891, 2782, 6698 |
//! | `signature` | keys and signatures | RFC 4034, 3110, 5702, 6605, 8080 |
//! | `denial` | NSEC and NSEC3 | RFC 4035 5.4, 5155 8, 6840 4, 9276 |
//! | `zone`, `chain` | a zone's keys, and the way to them from an anchor | RFC 4035 5 |
//! | `resolver`, `cache`, `work` | the procedure, what is kept, what one answer may cost | RFC 2308, 9520 |
//! | [`srv`] | the choice among the services of a domain | RFC 2782, 6186, 8314 5.1 |
//!
//! Why not a validator that exists: those for Rust bring a second cryptographic library or a runtime with them, read the clock
//! themselves, or lose the status of a denial, which is what DANE stands on.

mod anchor;
mod cache;
mod chain;
mod denial;
mod lookup;
mod message;
mod name;
mod record;
mod resolver;
mod signature;
pub mod srv;
mod status;
mod work;
mod zone;

pub use anchor::{AnchorError, Anchors};
pub use lookup::Lookup;
pub use message::{Query, Rtype, is_truncated};
pub use name::{Name, NameError};
pub use record::{Data, Mx, Srv};
pub use resolver::{Exchanged, Resolver, Transport, Unanswered, Validation, together};
pub use status::{Answer, Bogus, Denial, Indeterminate, Status};

#[cfg(test)]
mod tests;
