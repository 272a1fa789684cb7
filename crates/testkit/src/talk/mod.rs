//! Dialogues: what a client says and what the session must answer, as text.
//!
//! | line | meaning |
//! |---|---|
//! | `# text` | a comment |
//! | `C: text` | the client sends the line, with CRLF |
//! | `C< text` | the client sends exactly this; `\r \n \t \0 \\ \xNN` are escapes |
//! | `S: text` | the session writes exactly this line, with CRLF |
//! | `S~ text` | the session writes a line like this; `*` stands for anything, `\*` for itself |
//! | `S< text` | the session writes exactly this; escapes as in `C<` |
//! | `<tls>` | the session asks for the upgrade with nothing left over; it goes on inside TLS |
//! | `<tls text>` | the same with exactly this left over for the TLS engine (escapes as in `C<`) |
//! | `<tls1.2>` | the same with nothing left over, and the session goes on inside TLS 1.2 |
//! | `<upgrade-refused>` | the session asks for the upgrade, and what is left over is not TLS; nothing may follow |
//! | `<close label>` | the session closes, for the reason with this label |
//! | `<wait 90s>` | the clock goes forward (`ms`, `s`, `m`, `h`) |
//! | `<news>` `<shutdown>` `<eof>` `<broken>` | told to the session: news, end of service, end of input (orderly or not) |
//!
//! Lines of the client that stand together are handed over together before the session takes a step. Everything the session
//! writes must be expected: output left over at the next line of the client, at any `<…>` or at the end is a failure, and
//! so is a session that closes or upgrades where the dialogue does not say so.
//!
//! The runner also holds a session to the rules of [`gatepost_wire::session`]: no output left behind when it wants to
//! read, no deadline that has passed, an end to its steps.

mod drive;
mod run;
mod script;

pub use drive::{End, Outcome, outcome, transcript};
pub use run::{Mismatch, run, run_cut, try_run, try_run_cut};

#[cfg(test)]
mod tests;
