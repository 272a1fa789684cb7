//! What went wrong with a connection, for people and for scripts: a stable label, what was expected and what came, who is at
//! fault, what to do next, and the exit code.

use gatepost_net::client::Failure as NetFailure;
use gatepost_wire::client::{self as wire, Blame, ExitClass};
use serde_json::{Value, json};

use super::text::plain;
use crate::exit::Failure;

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trouble {
    /// A stable name, such as `E-STARTTLS-MISSING`.
    pub(crate) label: String,
    /// Expected and came, in a sentence.
    pub(crate) text: String,
    /// Who can do something about it.
    pub(crate) blame: &'static str,
    /// What to do next.
    pub(crate) advice: String,
    /// The exit code.
    pub(crate) code: u8,
}

/// Whether a login was neither taken nor refused: the server says that it cannot tell now (RFC 4954 6, RFC 5530 3, RFC 3206 4).
fn is_put_off(failure: &NetFailure) -> bool {
    let NetFailure::Session(wire::Failure::LoginRefused(refused)) = failure else {
        return false;
    };
    refused.temporary
}

/// The server is right to refuse a wrong password.
const LOGIN_REFUSED: &str = "E-LOGIN-REFUSED";

impl Trouble {
    /// A session's failure.
    pub(crate) fn of_session(failure: &wire::Failure) -> Self {
        Self::of(&NetFailure::Session(failure.clone()))
    }

    /// A connection's failure.
    pub(crate) fn of(failure: &NetFailure) -> Self {
        Self {
            label: failure.label().to_owned(),
            text: plain(&failure.to_string()),
            blame: match failure.blame() {
                _ if is_put_off(failure) => "the server, which cannot judge logins now",
                _ if failure.label() == LOGIN_REFUSED => {
                    "the name or the password given here, or the account at the server"
                }
                Blame::Network if failure.label() == "E-REFUSED" => {
                    "the server, where nobody listens, or a firewall in its name"
                }
                Blame::Network if failure.label() == "E-NO-NAME" => "the name, or the resolver",
                Blame::Peer => "the server, or someone on the path to it",
                Blame::Mismatch => "neither side: they cannot agree",
                Blame::Policy => "neither side: more is asked for here than the server proves",
                Blame::Network => "the network, or a slow server",
                Blame::Misuse => "what was asked for here",
            },
            advice: if is_put_off(failure) {
                "try again later".to_owned()
            } else {
                failure.advice().to_owned()
            },
            code: match failure.exit_class() {
                ExitClass::Finding => 1,
                ExitClass::Usage => 2,
                ExitClass::Undecided => 3,
            },
        }
    }

    /// A fault on this side, in the words of its failure.
    pub(crate) fn ours(label: &str, failure: &Failure) -> Self {
        Self {
            label: label.to_owned(),
            text: failure.to_string(),
            blame: "this machine, or what was asked for here",
            advice: "see the words above".to_owned(),
            code: failure.code(),
        }
    }

    /// The server refused something, in its words.
    pub(crate) fn refused(what: &str, words: &str) -> Self {
        Self {
            label: "E-DENIED".to_owned(),
            text: format!(
                "expected the server {what}, and it answered {}",
                plain(words)
            ),
            blame: "the server, or what was asked for here",
            advice: "read what the server says; see what there is with gatepost connect".to_owned(),
            code: 1,
        }
    }

    /// The server wants a login, and there is no name.
    pub(crate) fn needs_user() -> Self {
        Self {
            label: "E-NO-USER".to_owned(),
            text: "the server wants a login, and no name was given".to_owned(),
            blame: "what was asked for here",
            advice: "give --user NAME".to_owned(),
            code: 2,
        }
    }

    /// As JSON.
    pub(crate) fn as_json(&self) -> Value {
        json!({
            "label": self.label,
            "text": self.text,
            "at_fault": self.blame,
            "next": self.advice,
        })
    }

    /// As the end of the program, at this place.
    pub(crate) fn into_failure(self, place: &str) -> Failure {
        let text = format!(
            "{}: {place}: {}\n  at fault: {}\n  next: {}",
            self.label, self.text, self.blame, self.advice
        );
        match self.code {
            1 => Failure::finding(text),
            2 => Failure::usage(text),
            _ => Failure::local(text),
        }
    }
}
