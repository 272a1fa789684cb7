//! SMTP.

pub mod ask;
pub mod path;
pub mod received;
