//! The search index: which messages may hold a text, so that a search need not read the others.
//!
//! IMAP looks for a text anywhere, also within words, and in any language. So what is indexed is not words but *grams*: the runs
//! of three octets in a message's texts, in lower case. A message's [`Grams`] are hashed into a row of bits, its *mark*, about
//! two and a half times as wide as it has grams. A message that holds a text has every bit set that the text's grams hash to;
//! one that does not mostly lacks one. Whatever the index names is then judged by the search itself, and what the index does not
//! know yet is judged too: it only narrows.
//!
//! ```text
//!   shelf (account, width)      slot 0 1 2 3 … 2047 │ 2048 …
//!                        bit 0       0 1 0 0        │         a block that was full once is kept by bits: a search reads one
//!                        bit 1       1 1 0 1        │         slice of 256 octets per gram and 2,048 messages
//!                        …                          │
//!                        bit w-1     0 0 1 0        │         the newest block is kept by messages, in `loose`
//! ```
//!
//! Why not the database's own full-text index: measured on 3,000 messages of 10 KB (headers with signatures, plain text and HTML,
//! 2,500 different grams each), its smallest form (no positions, no content, no sizes) took 27 % of the mail's size with all the
//! grams, and 18 to 21 % with grams hashed to 4,096 or 8,192 terms, for it spends an octet on each gram of each message at least.
//! Marks take 7 to 8 % and tell messages apart as well as the latter. And marking a message takes some 500 µs there, 50 here.
//!
//! - New bodies wait in `unmarked` (a trigger puts them there, so nobody can forget to) until [`keeper`], a thread with little
//!   priority, has read them. A delivery pays one short row.
//! - Marks and their absence from `unmarked` commit together, so a crash at any point leaves a body known or waiting.
//! - A mark goes with its body. A block of which little is left is thinned: its bodies wait again and get new slots.
//! - What cannot be read, or has more grams than the widest mark can hold, is always a candidate.

mod find;
mod grams;
pub(crate) mod keeper;
mod shelf;

pub(crate) use find::candidates;
pub use grams::{Grams, Hint};
pub(crate) use shelf::{forget_all, verify};

/// Slots in a block. The schema's triggers and ids know this number too.
const BLOCK: i64 = 2_048;
/// Octets of a slice: one bit for each slot of a block.
const SLICE: usize = 256;
