//! What a server offers, held against what it offered before, or to somebody who asked from elsewhere.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::Trouble;
use crate::finding::Severity;

/// What was seen of a server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// Capabilities in clear, in capitals; empty where nothing was asked in clear.
    pub before: BTreeSet<String>,
    /// Capabilities inside TLS.
    pub inside: BTreeSet<String>,
    /// Whether TLS was up.
    pub is_encrypted: bool,
    /// Whether the server was verified.
    pub is_verified: bool,
    /// The version of TLS.
    pub version: Option<String>,
    /// SHA-256 of the certificate, in hexadecimal digits.
    pub certificate: Option<String>,
    /// Why TLS did not come up, as a label.
    pub failed: Option<String>,
}

/// What differs.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// What should not be.
    pub troubles: Vec<Trouble>,
    /// What may be, and is told.
    pub changes: Vec<String>,
}

impl Seen {
    /// As JSON.
    #[must_use]
    pub fn as_json(&self) -> Value {
        json!({
            "before": self.before, "inside": self.inside, "encrypted": self.is_encrypted, "verified": self.is_verified,
            "version": self.version, "certificate": self.certificate, "failed": self.failed,
        })
    }

    /// From JSON; none where it is something else.
    #[must_use]
    pub fn from_json(value: &Value) -> Option<Self> {
        let words = |key: &str| -> Option<BTreeSet<String>> {
            let list = value.get(key)?.as_array()?;
            list.iter()
                .map(|it| it.as_str().map(str::to_owned))
                .collect()
        };
        let word = |key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
        Some(Self {
            before: words("before")?,
            inside: words("inside")?,
            is_encrypted: value.get("encrypted")?.as_bool()?,
            is_verified: value.get("verified")?.as_bool()?,
            version: word("version"),
            certificate: word("certificate"),
            failed: word("failed"),
        })
    }

    /// What there is now, held against what was seen before, or elsewhere.
    #[must_use]
    pub fn against(&self, known: &Self) -> Difference {
        let mut found = Difference::default();
        self.tls(known, &mut found);
        self.offers(known, &mut found);
        let words = |it: &BTreeSet<String>, other: &BTreeSet<String>| -> Vec<String> {
            it.difference(other).cloned().collect()
        };
        for (place, now, then) in [
            ("in clear", &self.before, &known.before),
            ("inside TLS", &self.inside, &known.inside),
        ] {
            if now.is_empty() || then.is_empty() {
                continue;
            }
            for word in words(then, now) {
                found
                    .changes
                    .push(format!("{word} is not offered {place} any more"));
            }
            for word in words(now, then) {
                found.changes.push(format!("{word} is offered {place}"));
            }
        }
        found
    }

    fn tls(&self, known: &Self, found: &mut Difference) {
        if known.is_encrypted && !self.is_encrypted {
            let why = self.failed.as_deref().unwrap_or("it was not offered");
            found.troubles.push(Trouble::new(
                "W303",
                format!("TLS came up before, and does not now: {why}"),
            ));
        }
        if known.is_verified && self.is_encrypted && !self.is_verified {
            found.troubles.push(Trouble::new(
                "W505",
                "the server was verified before, and is not now".to_owned(),
            ));
        }
        if self.certificate != known.certificate
            && self.certificate.is_some()
            && known.certificate.is_some()
        {
            found.changes.push("the certificate is another".to_owned());
        }
        if self.version != known.version && self.version.is_some() && known.version.is_some() {
            let word = |it: &Option<String>| it.clone().unwrap_or_default();
            found.changes.push(format!(
                "{} instead of {}",
                word(&self.version),
                word(&known.version)
            ));
        }
    }

    fn offers(&self, known: &Self, found: &mut Difference) {
        let upgrade = |it: &BTreeSet<String>| it.contains("STARTTLS") || it.contains("STLS");
        if upgrade(&known.before) && !upgrade(&self.before) && !self.before.is_empty() {
            found.troubles.push(Trouble::new(
                "W307",
                "STARTTLS was offered before, and is not now".to_owned(),
            ));
        }
        let inside = |it: &Self| it.inside.contains("REQUIRETLS");
        if inside(known) && !inside(self) && !self.inside.is_empty() {
            found.troubles.push(Trouble {
                severity: Severity::Medium,
                ..Trouble::new(
                    "W307",
                    "REQUIRETLS was offered before, and is not now".to_owned(),
                )
            });
        }
        if lets_in(&self.before) && !lets_in(&known.before) && !known.before.is_empty() {
            found.troubles.push(Trouble::new(
                "W312",
                "logins are offered before TLS, and were not".to_owned(),
            ));
        }
    }
}

/// Whether logins are offered: SMTP's and IMAP's `AUTH`, IMAP without LOGINDISABLED, POP3's `USER` and `SASL`.
fn lets_in(words: &BTreeSet<String>) -> bool {
    let has = |word: &str| words.contains(word);
    let is_imap = has("IMAP4REV1") || has("IMAP4REV2");
    words.iter().any(|it| it.starts_with("AUTH"))
        || has("USER")
        || has("SASL")
        || (is_imap && !has("LOGINDISABLED"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(before: &[&str], inside: &[&str]) -> Seen {
        let words = |it: &[&str]| it.iter().map(ToString::to_string).collect();
        Seen {
            before: words(before),
            inside: words(inside),
            is_encrypted: true,
            is_verified: true,
            version: Some("TLSv1.3".to_owned()),
            certificate: Some("aa".to_owned()),
            failed: None,
        }
    }

    fn ids(now: &Seen, then: &Seen) -> Vec<&'static str> {
        now.against(then).troubles.iter().map(|it| it.id).collect()
    }

    #[test]
    fn what_is_lost_is_told_and_what_is_won_is_not() {
        let then = seen(&["STARTTLS", "SIZE"], &["REQUIRETLS", "AUTH"]);
        assert_eq!(then.against(&then), Difference::default());
        assert_eq!(ids(&seen(&["SIZE"], &["REQUIRETLS"]), &then), ["W307"]);
        assert_eq!(ids(&seen(&["STARTTLS"], &["AUTH"]), &then), ["W307"]);
        assert_eq!(
            ids(&seen(&["STARTTLS", "AUTH"], &["REQUIRETLS"]), &then),
            ["W312"]
        );
        assert_eq!(ids(&then, &seen(&["SIZE"], &[])), [""; 0]);
        // Nothing was asked in clear: nothing is known to be lost.
        assert_eq!(ids(&seen(&[], &["REQUIRETLS"]), &then), [""; 0]);
    }

    #[test]
    fn imap_and_pop3_let_in_by_other_words() {
        let closed = seen(&["IMAP4REV1", "STARTTLS", "LOGINDISABLED"], &[]);
        assert_eq!(
            ids(&seen(&["IMAP4REV1", "STARTTLS"], &[]), &closed),
            ["W312"]
        );
        let closed = seen(&["STLS", "TOP"], &[]);
        assert_eq!(ids(&seen(&["STLS", "USER"], &[]), &closed), ["W312"]);
    }

    #[test]
    fn tls_that_is_gone_or_by_somebody_else() {
        let then = seen(&["STARTTLS"], &["SIZE"]);
        let gone = Seen {
            is_encrypted: false,
            is_verified: false,
            failed: Some("E-TLS".to_owned()),
            ..then.clone()
        };
        assert_eq!(ids(&gone, &then), ["W303"]);
        let other = Seen {
            is_verified: false,
            certificate: Some("bb".to_owned()),
            ..then.clone()
        };
        assert_eq!(ids(&other, &then), ["W505"]);
        assert_eq!(other.against(&then).changes, ["the certificate is another"]);
    }

    #[test]
    fn what_is_kept_is_read_again() {
        let it = seen(&["STARTTLS"], &["SIZE"]);
        assert_eq!(Seen::from_json(&it.as_json()), Some(it));
        assert_eq!(Seen::from_json(&json!({})), None);
    }
}
