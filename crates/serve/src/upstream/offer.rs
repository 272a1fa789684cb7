//! What an upstream offers, what of it is passed on, and why the rest is held back [GW-01].

use gatepost_wire::imap::relay as imap_relay;
use gatepost_wire::pop3::relay as pop3_relay;
use gatepost_wire::sasl::Mechanism;
use gatepost_wire::{imap, pop3, smtp};

/// What an upstream said it can do, asked inside its TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Offered {
    /// EHLO.
    Smtp(Box<smtp::client::Capabilities>),
    /// CAPABILITY.
    Imap(Box<imap::client::Capabilities>),
    /// CAPA.
    Pop3(Box<pop3::client::Capabilities>),
}

/// One capability, and what becomes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explained {
    /// As the upstream wrote it.
    pub word: String,
    /// Whether clients are told of it.
    pub passed: bool,
    /// Why, or why not.
    pub why: &'static str,
}

impl Offered {
    /// Whether a name and password can be passed on, in some form the upstream takes.
    pub fn takes_passwords(&self) -> bool {
        let has = |list: &[Mechanism]| {
            list.contains(&Mechanism::Plain) || list.contains(&Mechanism::Login)
        };
        match self {
            Self::Smtp(it) => has(&it.mechanisms),
            // The protocols' own commands.
            Self::Imap(it) => has(&it.mechanisms) || !it.has("LOGINDISABLED"),
            Self::Pop3(it) => has(&it.mechanisms) || !it.known || it.has("USER"),
        }
    }

    fn mechanisms(&self) -> &[Mechanism] {
        match self {
            Self::Smtp(it) => &it.mechanisms,
            Self::Imap(it) => &it.mechanisms,
            Self::Pop3(it) => &it.mechanisms,
        }
    }

    /// Whether it takes a certificate as a login.
    pub fn takes_certificates(&self) -> bool {
        self.mechanisms().contains(&Mechanism::External)
    }

    /// Whether access tokens can be passed on.
    pub fn takes_tokens(&self) -> bool {
        let list = self.mechanisms();
        list.contains(&Mechanism::OAuthBearer) || list.contains(&Mechanism::XOAuth2)
    }

    /// Whether anybody can log in through a gate. Nobody needs to where mail is only brought.
    pub fn has_a_way_in(&self) -> bool {
        matches!(self, Self::Smtp(_))
            || self.takes_passwords()
            || self.takes_tokens()
            || self.takes_certificates()
    }

    /// The words clients see before login, in IMAP. LITERAL+ allows more than this session takes before login.
    pub fn imap_words(&self) -> Vec<String> {
        let Self::Imap(it) = self else {
            return Vec::new();
        };
        let carried = it.words.iter().filter(|word| imap_relay::is_carried(word));
        carried.map(|word| imap_spelling(word)).collect()
    }

    /// The lines clients see before login, in POP3.
    pub fn pop3_lines(&self) -> Vec<String> {
        let Self::Pop3(it) = self else {
            return Vec::new();
        };
        let carried = it.lines.iter().filter(|line| pop3_relay::is_carried(line));
        carried.map(ToString::to_string).collect()
    }

    /// Every capability, and what becomes of it.
    pub fn explain(&self) -> Vec<Explained> {
        match self {
            Self::Smtp(it) => it
                .keywords
                .iter()
                .map(|line| smtp_keyword(line, it.chunking))
                .collect(),
            Self::Imap(it) => it
                .words
                .iter()
                .map(|word| explained(word, imap_relay::is_carried(word)))
                .collect(),
            Self::Pop3(it) => it
                .lines
                .iter()
                .map(|line| explained(line, pop3_relay::is_carried(line)))
                .collect(),
        }
    }
}

/// The client's session gives words in upper case; those of the protocol's name are written otherwise.
fn imap_spelling(word: &str) -> String {
    match word {
        "IMAP4REV1" => "IMAP4rev1".to_owned(),
        "IMAP4REV2" => "IMAP4rev2".to_owned(),
        "LITERAL+" => "LITERAL-".to_owned(),
        word => word.to_owned(),
    }
}

fn explained(text: &str, passed: bool) -> Explained {
    let word = text.split([' ', '=']).next().unwrap_or_default();
    let why = match (passed, word) {
        (true, "LITERAL+") => "carried; before login as LITERAL-",
        (true, _) => "carried",
        (false, "STARTTLS" | "STLS") => "the gate's own TLS decides",
        (false, "LOGINDISABLED" | "USER" | "SASL" | "AUTH" | "SASL-IR" | "APOP") => {
            "the gate reads logins itself, inside its own TLS"
        }
        (false, "COMPRESS") => "the gate could not follow what is compressed",
        (false, "XCLIENT" | "XFORWARD") => "only a proxy may say for whom it speaks",
        (false, "IMPLEMENTATION") => "what runs behind is nobody's business",
        (false, "LOGIN-REFERRALS") => "clients are not sent elsewhere",
        (false, _) => "not carried",
    };
    Explained {
        word: printable(text),
        passed,
        why,
    }
}

fn smtp_keyword(line: &[u8], has_chunking: bool) -> Explained {
    let text = String::from_utf8_lossy(line).to_ascii_uppercase();
    let word = text.split([' ', '=']).next().unwrap_or_default();
    let (passed, why) = match word {
        "SIZE" | "LIMITS" => (true, "the smaller of both limits"),
        "8BITMIME" | "SMTPUTF8" | "ENHANCEDSTATUSCODES" => (true, "carried"),
        // [SMTP-DSN-01]
        "DSN" => (
            true,
            "carried: RET, ENVID, NOTIFY and ORCPT go on as they came",
        ),
        "BINARYMIME" if has_chunking => (true, "carried, by BDAT"),
        "BINARYMIME" => (false, "binary content needs CHUNKING, which is not offered"),
        "PIPELINING" | "CHUNKING" => (
            true,
            "the gate does it itself, whatever the upstream offers",
        ),
        "STARTTLS" => (false, "the gate's own TLS decides"),
        "AUTH" => (
            false,
            "the gate reads logins itself; PLAIN and LOGIN are offered where the upstream has one of them",
        ),
        "XCLIENT" | "XFORWARD" => (false, "only a proxy may say for whom it speaks"),
        "VRFY" | "EXPN" | "ETRN" | "HELP" => (false, "not served at the gate"),
        _ => (false, "not carried"),
    };
    Explained {
        word: printable(&String::from_utf8_lossy(line)),
        passed,
        why,
    }
}

fn printable(text: &str) -> String {
    text.chars()
        .take(200)
        .map(|it| if it.is_control() { '?' } else { it })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn imap(words: &[&str], mechanisms: &[Mechanism]) -> Offered {
        Offered::Imap(Box::new(imap::client::Capabilities {
            words: words.iter().map(|it| (*it).into()).collect(),
            mechanisms: mechanisms.to_vec(),
        }))
    }

    // [GW-01] [SASL-CB-03]
    #[test]
    fn imap_words_lose_what_is_not_for_the_client() {
        let offered = imap(
            &[
                "IMAP4REV1",
                "STARTTLS",
                "LOGINDISABLED",
                "AUTH=PLAIN",
                "AUTH=SCRAM-SHA-256-PLUS",
                "LITERAL+",
                "IDLE",
                "COMPRESS=DEFLATE",
            ],
            &[Mechanism::Plain],
        );
        assert_eq!(offered.imap_words(), ["IMAP4rev1", "LITERAL-", "IDLE"]);
        assert!(offered.takes_passwords());
        let shut = imap(&["LOGINDISABLED"], &[Mechanism::ScramSha256]);
        assert!(!shut.takes_passwords() && !shut.has_a_way_in());
        assert!(imap(&["LOGINDISABLED"], &[Mechanism::XOAuth2]).has_a_way_in());
        let explained = offered.explain();
        assert_eq!(explained.len(), 8);
        assert!(
            explained
                .iter()
                .filter(|it| !it.passed)
                .all(|it| it.why != "not carried")
        );
    }

    #[test]
    fn smtp_keywords_are_explained() {
        let mut capabilities = smtp::client::Capabilities::default();
        for line in [
            "SIZE 1000",
            "STARTTLS",
            "DSN",
            "AUTH PLAIN",
            "X-UNKNOWN \u{1b}",
        ] {
            capabilities.keywords.push(line.as_bytes().to_vec());
        }
        let explained = Offered::Smtp(Box::new(capabilities)).explain();
        let passed: Vec<bool> = explained.iter().map(|it| it.passed).collect();
        assert_eq!(passed, [true, false, true, false, false]);
        assert!(explained.last().unwrap().word.ends_with('?'));
    }
}
