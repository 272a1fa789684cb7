//! Results on standard output that nobody takes: a closed pipe, a full disk.
//!
//! Printing has no other way to tell of it than a panic. So the program ends there, in the words and with the code of any other failure.

use std::io::Write as _;
use std::sync::OnceLock;

/// What was done already, and the code to end with.
static DONE: OnceLock<(&'static str, u8)> = OnceLock::new();
/// How the panic of a failed print begins.
const FAILED: &str = "failed printing to std";

/// To be called before anything is printed.
pub(crate) fn end_when_output_fails() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let payload = panic.payload();
        let text = payload.downcast_ref::<String>().map_or("", String::as_str);
        let Some(cause) = text.strip_prefix(FAILED) else {
            return before(panic);
        };
        let cause = cause.split_once(": ").map_or(cause, |(_, cause)| cause);
        let (done, code) = DONE.get().copied().unwrap_or(("", 3));
        // Standard error may be what cannot be written to.
        let _ = writeln!(
            std::io::stderr(),
            "gatepost: {done}the results could not be written: {cause}"
        );
        std::process::exit(code.into());
    }));
}

/// The work cannot be undone, whether its results are read or not: the program ends with this code even when they cannot be written. `words` say
/// what was done, up to a colon and a space.
pub(crate) fn done(words: &'static str, code: u8) {
    // The first word stands.
    let _ = DONE.set((words, code));
}
