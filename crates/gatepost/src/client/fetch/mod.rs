//! `gatepost fetch`: messages from a mailbox into files.

mod json;
mod state;
mod store;

use super::date;
