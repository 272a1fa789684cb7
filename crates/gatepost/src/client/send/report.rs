//! What became of a message, for people and as JSON (schema `gatepost-send-1`).

use gatepost_wire::smtp::client::{Delivery, Outcome, Reply, Unsent};
use serde_json::{Value, json};

use super::text::plain;

/// What became of the message for one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fate {
    /// The recipient.
    pub(crate) address: String,
    /// `taken`, `refused` or `unsent`.
    pub(crate) outcome: &'static str,
    /// Whether trying again later makes sense.
    pub(crate) temporary: bool,
    /// The reply's code.
    pub(crate) code: Option<u16>,
    /// Its words, or why nothing was said.
    pub(crate) text: String,
}

impl Fate {
    /// For the recipient at a place of a transaction.
    pub(crate) fn of(outcome: &Outcome, index: usize, address: &str) -> Self {
        let (word, reply, why) = match outcome.delivery(index) {
            Delivery::Taken(reply) => ("taken", Some(reply), None),
            Delivery::Refused(reply) => ("refused", Some(reply), None),
            Delivery::Unsent(why) => ("unsent", None, why),
        };
        Self {
            address: address.to_owned(),
            outcome: word,
            temporary: reply.is_some_and(Reply::is_temporary),
            code: reply.map(|reply| reply.code),
            text: match (reply, why) {
                (Some(reply), _) => words(reply),
                (None, Some(why)) => reason(why).to_owned(),
                (None, None) => "not sent".to_owned(),
            },
        }
    }

    /// When the session ended before there was an answer.
    pub(crate) fn unsent(address: &str, text: &str) -> Self {
        Self {
            address: address.to_owned(),
            outcome: "unsent",
            temporary: true,
            code: None,
            text: text.to_owned(),
        }
    }

    /// Whether the server has taken the message.
    pub(crate) fn is_taken(&self) -> bool {
        self.outcome == "taken"
    }

    /// As JSON.
    pub(crate) fn as_json(&self) -> Value {
        json!({
            "address": self.address,
            "outcome": self.outcome,
            "temporary": self.temporary,
            "code": self.code,
            "reply": self.text,
        })
    }

    /// As a line.
    pub(crate) fn line(&self) -> String {
        let code = self.code.map_or(String::new(), |code| format!("{code} "));
        let later = if self.temporary && !self.is_taken() {
            "  (try again later)"
        } else {
            ""
        };
        format!(
            "{:<8} {}  {code}{}{later}",
            self.outcome, self.address, self.text
        )
    }
}

fn words(reply: &Reply) -> String {
    let lines: Vec<String> = reply
        .lines
        .iter()
        .map(|line| plain(&String::from_utf8_lossy(line)))
        .collect();
    lines.join(" / ")
}

const fn reason(why: Unsent) -> &'static str {
    match why {
        Unsent::TooLarge => "the message is larger than the server takes; nothing was sent",
        Unsent::EightBit => {
            "the message is 8-bit and the server does not offer 8BITMIME; encode it in quoted-printable or base64, nothing was sent"
        }
        Unsent::Utf8 => {
            "an address or header beyond ASCII needs SMTPUTF8, which the server does not offer; nothing was sent"
        }
        Unsent::TooManyRecipients => {
            "more recipients than the server takes at once; nothing was sent"
        }
        Unsent::TooManyTransactions => {
            "the server takes no more messages in this session; nothing was sent"
        }
    }
}

/// The exit code of all fates together: 0 all taken, 1 a refusal for good, 3 otherwise.
pub(crate) fn exit_code(fates: &[Fate]) -> u8 {
    if fates.iter().all(Fate::is_taken) {
        0
    } else if fates.iter().any(|fate| !fate.is_taken() && !fate.temporary) {
        1
    } else {
        3
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_code_is_that_of_the_worst() {
        let fate = |outcome, temporary| Fate {
            address: "a@b.test".into(),
            outcome,
            temporary,
            code: None,
            text: String::new(),
        };
        let (taken, later, never) = (
            fate("taken", false),
            fate("refused", true),
            fate("refused", false),
        );
        assert_eq!(exit_code(&[taken.clone(), taken.clone()]), 0);
        assert_eq!(exit_code(&[taken.clone(), later.clone()]), 3);
        assert_eq!(exit_code(&[taken, later, never]), 1);
        assert_eq!(exit_code(&[Fate::unsent("a@b.test", "closed")]), 3);
        assert_eq!(exit_code(&[fate("unsent", false)]), 1);
    }
}
