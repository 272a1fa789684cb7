//! A mail that was sent to oneself, come back: which of its hops were encrypted, as the `Received:` fields say (RFC 5321 4.4, RFC 3848).
//!
//! [RECV-04] What a field says is what the host said that wrote it: a hint, not a proof. Fields below the first one that is not one's own can be forged; a chain that looks
//! good proves nothing about hosts one does not trust, a chain that looks bad is worth a look.
//!
//! | module | holds |
//! |---|---|
//! | this one | the hops of a mail |
//! | [`baseline`] | what a server offers, held against what it offered before |
//! | [`ends`] | both ends' view of what was said before TLS |

pub mod baseline;
pub mod ends;

use crate::finding::Severity;
use crate::rules;

/// What should not be, by a rule of `watch`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// The rule.
    pub id: &'static str,
    /// How bad it is here.
    pub severity: Severity,
    /// What was seen. May hold words of strangers.
    pub evidence: String,
}

impl Trouble {
    /// By a rule, as bad as the rule says.
    #[must_use]
    pub fn new(id: &'static str, evidence: String) -> Self {
        Self {
            id,
            severity: rules::find(id).map_or(Severity::High, |it| it.severity),
            evidence,
        }
    }

    /// What the rule says.
    #[must_use]
    pub fn text(&self) -> &'static str {
        rules::find(self.id).map_or("", |it| it.text)
    }
}

/// How a hop went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Channel {
    /// TLS.
    Encrypted,
    /// Within one machine.
    Local,
    /// The field does not tell.
    Unknown,
    /// In clear.
    Clear,
}

impl Channel {
    /// The word in reports.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Encrypted => "Encrypted",
            Self::Local => "local",
            Self::Unknown => "unknown",
            Self::Clear => "Clear",
        }
    }
}

/// One hop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hop {
    /// Who gave it, as who took it says.
    pub from: Option<String>,
    /// Who took it.
    pub by: Option<String>,
    /// The protocol behind `with`.
    pub with: Option<String>,
    /// How it went.
    pub channel: Channel,
}

/// The most fields looked at.
const MOST: usize = 100;

/// The hops of a message, in the order it went them.
#[must_use]
pub fn hops(message: &[u8]) -> Vec<Hop> {
    let mut fields: Vec<String> = Vec::new();
    for line in message.split(|it| *it == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            break;
        }
        let text = String::from_utf8_lossy(line);
        if text.starts_with([' ', '\t']) {
            if let Some(field) = fields.last_mut() {
                field.push(' ');
                field.push_str(text.trim());
            }
        } else {
            fields.push(text.into_owned());
        }
    }
    let received = fields.iter().filter_map(|it| {
        let (name, value) = it.split_once(':')?;
        name.trim()
            .eq_ignore_ascii_case("received")
            .then(|| hop(value))
    });
    let mut hops: Vec<Hop> = received.take(MOST).collect();
    hops.reverse();
    hops
}

fn hop(value: &str) -> Hop {
    // The date stands behind the last semicolon.
    let value = value.rsplit_once(';').map_or(value, |it| it.0);
    let (plain, comments) = apart(value);
    let word = |key: &str| {
        let mut words = plain.split_whitespace();
        words.find(|it| it.eq_ignore_ascii_case(key))?;
        words.next().map(shown)
    };
    let (from, by, with) = (word("from"), word("by"), word("with"));
    let channel = channel(from.as_deref(), by.as_deref(), with.as_deref(), &comments);
    Hop {
        from,
        by,
        with,
        channel,
    }
}

/// What stands outside of parentheses, and what inside.
fn apart(value: &str) -> (String, String) {
    let (mut plain, mut comments, mut depth) = (String::new(), String::new(), 0_u32);
    for it in value.chars() {
        match it {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        let to = if depth > 0 || it == ')' {
            &mut comments
        } else {
            &mut plain
        };
        to.push(it);
        if it == ')' {
            plain.push(' ');
        }
    }
    (plain, comments)
}

/// A name fit to be printed.
fn shown(word: &str) -> String {
    word.chars()
        .filter(char::is_ascii_graphic)
        .take(255)
        .collect()
}

fn channel(from: Option<&str>, by: Option<&str>, with: Option<&str>, comments: &str) -> Channel {
    let with = with.unwrap_or_default().to_ascii_uppercase();
    let comments = comments.to_ascii_uppercase();
    // RFC 3848, RFC 6531 4.3: S for TLS, A for a login.
    let says_so = matches!(
        with.trim_end_matches('A'),
        "ESMTPS" | "LMTPS" | "UTF8SMTPS" | "UTF8LMTPS" | "SMTPS" | "HTTPS"
    );
    if says_so
        || ["TLSV1", "TLS1_", "VERSION=TLS", "USING TLS", "CIPHER="]
            .iter()
            .any(|it| comments.contains(it))
    {
        return Channel::Encrypted;
    }
    let is_local = |it: Option<&str>| {
        it.is_some_and(|it| it.eq_ignore_ascii_case("localhost") || it.starts_with("localhost."))
    };
    let is_own = from.is_some() && from == by;
    let from_itself = comments.contains("[127.0.0.1]")
        || comments.contains("[::1]")
        || comments.contains("[IPV6:::1]");
    if from.is_none() || is_local(from) || is_own || from_itself || with == "LOCAL" {
        return Channel::Local;
    }
    match with.trim_end_matches('A') {
        "SMTP" | "ESMTP" | "UTF8SMTP" | "HTTP" => Channel::Clear,
        // LMTP has no S here, so it was in clear; but most of it stays on one machine, and not every server writes an address.
        _ => Channel::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chain_is_read_from_the_sender_on() {
        let message = b"Received: from mx.example.org (mx.example.org [198.51.100.1])\r\n\tby box.example.org (Postfix) with ESMTP id 1\r\n\tfor <a@example.org>; Thu, 26 Nov 2026 18:00:02 +0000\r\n\
            Received: from out.example.net (out.example.net [192.0.2.2])\r\n\t(using TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits))\r\n\tby mx.example.org (Postfix) with ESMTPS id 2; x\r\n\
            Received: by out.example.net (Postfix, from userid 1000) id 3; x\r\nSubject: Received: no\r\n\r\nReceived: from a by b with SMTP; x\r\n";
        let chain = hops(message);
        let words: Vec<_> = chain.iter().map(|it| it.channel.word()).collect();
        assert_eq!(words, ["local", "Encrypted", "Clear"]);
        assert_eq!(chain[2].from.as_deref(), Some("mx.example.org"));
        assert_eq!(chain[2].by.as_deref(), Some("box.example.org"));
    }

    // [RECV-04]
    #[test]
    fn every_form_of_with() {
        for (value, expected) in [
            ("from a by b with ESMTPSA id 1", Channel::Encrypted),
            ("from a by b with UTF8SMTPS id 1", Channel::Encrypted),
            (
                "from a by b with Microsoft SMTP Server (version=TLS1_2, cipher=TLS_ECDHE) id 1",
                Channel::Encrypted,
            ),
            ("from a by b with smtp (Exim 4.9)", Channel::Clear),
            ("from a by b with ESMTPA id 1", Channel::Clear),
            (
                "from localhost (localhost [127.0.0.1]) by b with ESMTP id 1",
                Channel::Local,
            ),
            (
                "from a (x [127.0.0.1]) by b with ESMTP id 1",
                Channel::Local,
            ),
            ("by b with LMTP id 1", Channel::Local),
            ("from mx.example by box with LMTP id 1", Channel::Unknown),
            ("from mx.example by box with LMTPS id 1", Channel::Encrypted),
            ("from a by b with pigeons id 1", Channel::Unknown),
            ("", Channel::Local),
        ] {
            assert_eq!(hop(value).channel, expected, "{value}");
        }
    }
}
