//! `gatepost send`: hand in a message.

mod address;
mod compose;
mod encode;
mod ready;

use super::date;
