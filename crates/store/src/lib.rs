//! gatepost-store
mod accounts;
mod error;
mod incoming;
mod listen;
mod store;
mod types;

pub use accounts::Accounts;
pub use error::{Blame, Error, Fault};
pub use incoming::Incoming;
pub use listen::Subscription;
pub use store::Store;
pub use types::{
    Account, AccountId, AccountInfo, BodyRef, Credential, Delivery, EmailId, MailboxId, Message,
    Options, Placed,
};
