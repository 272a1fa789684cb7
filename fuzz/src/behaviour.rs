//! What an input made the code do, boiled down to a number.
//!
//! The stable compiler gives no coverage to a fuzzer, so the targets say what happened (a kind of question, a reply's code) and
//! the runner keeps inputs that led to something new.

use std::cell::Cell;
use std::hash::{DefaultHasher, Hash, Hasher};

thread_local! {
    static SIGNATURE: Cell<u64> = const { Cell::new(0) };
}

/// Notes that something happened. The order of what happened matters.
pub fn note(what: impl Hash) {
    let mut hasher = DefaultHasher::new();
    SIGNATURE.get().hash(&mut hasher);
    what.hash(&mut hasher);
    SIGNATURE.set(hasher.finish());
}

/// The number for everything noted since the last call.
pub fn take() -> u64 {
    SIGNATURE.replace(0)
}
