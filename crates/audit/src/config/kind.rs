//! Whose configuration a text is. Each server's table is asked how many of the names it knows; the most hits win.

use std::collections::HashSet;

use super::{Document, courier, dovecot, exim, postfix};

/// The servers whose configurations are read here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// main.cf, master.cf.
    Postfix,
    /// dovecot.conf.
    Dovecot,
    /// exim4.conf.
    Exim,
    /// imapd-ssl and its kin.
    Courier,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Postfix, Self::Dovecot, Self::Exim, Self::Courier];

    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Postfix => "postfix",
            Self::Dovecot => "dovecot",
            Self::Exim => "exim",
            Self::Courier => "courier",
        }
    }

    /// Reads the word back.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.word() == word)
    }

    /// Whose a text is, if it is anybody's here. Its file name decides where names are not enough.
    #[must_use]
    pub fn of(document: &Document) -> Option<Self> {
        let by_name = match document.leaf() {
            "main.cf" | "master.cf" => Some(Self::Postfix),
            "dovecot.conf" => Some(Self::Dovecot),
            "exim.conf" | "exim4.conf" | "exim4.conf.template" => Some(Self::Exim),
            "imapd" | "imapd-ssl" | "pop3d" | "pop3d-ssl" | "esmtpd" | "esmtpd-ssl" => {
                Some(Self::Courier)
            }
            _ => None,
        };
        by_name.or_else(|| Self::by_text(document))
    }

    fn by_text(document: &Document) -> Option<Self> {
        if postfix::is_master(document) {
            return Some(Self::Postfix);
        }
        let mut hits = [0_usize; 4];
        let mut seen = HashSet::new();
        // So many lines are enough to tell, and a hostile text ends somewhere.
        for line in document.text.lines().take(20_000) {
            let line = line.trim();
            if line.starts_with('#') || !seen.insert(line) {
                continue;
            }
            let shell = line.find('=').and_then(|at| line.get(..at));
            let name = shell.unwrap_or(line).trim();
            hits[0] += usize::from(
                postfix::table::find(name).is_some()
                    || name.starts_with("imap_tls_")
                    || name.starts_with("pop3_tls_"),
            );
            hits[1] += usize::from(
                (shell.is_some() && dovecot::table::find(name).is_some())
                    || line.starts_with("!include")
                    || (line.ends_with('{')
                        && [
                            "protocol ",
                            "service ",
                            "passdb",
                            "userdb",
                            "namespace",
                            "plugin",
                        ]
                        .iter()
                        .any(|it| line.starts_with(it))),
            );
            let own = name
                .strip_prefix("hide ")
                .or_else(|| name.strip_prefix("no_"))
                .unwrap_or(name);
            hits[2] += usize::from(
                exim::table::find(own).is_some_and(|it| shell.is_some() || it.switch)
                    || line.starts_with("begin "),
            );
            hits[3] += usize::from(shell.is_some_and(|it| courier::NAMES.contains(&it)));
        }
        let most = hits.iter().copied().max().filter(|most| *most > 0)?;
        // The first of equals: a name that several know is most often Postfix's.
        let at = hits.iter().position(|it| *it == most)?;
        Self::ALL.get(at).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Option<Kind> {
        Kind::of(&Document::new("x", text))
    }

    #[test]
    fn each_server_is_known_by_its_names() {
        assert_eq!(of("smtpd_tls_security_level = may\n"), Some(Kind::Postfix));
        assert_eq!(of("imap_tls_cert_file = x\n"), Some(Kind::Postfix));
        assert_eq!(of("smtp inet n - y - - smtpd\n"), Some(Kind::Postfix));
        assert_eq!(
            of("ssl = required\nprotocol imap {\n}\n"),
            Some(Kind::Dovecot)
        );
        // Names of Exim begin like those of Postfix.
        assert_eq!(
            of("smtp_accept_max = 20\nsmtp_banner = x\ntls_advertise_hosts = *\n"),
            Some(Kind::Exim)
        );
        assert_eq!(of("IMAP_TLS_REQUIRED=0\n"), Some(Kind::Courier));
        assert_eq!(of("hello\n[x]\na = 1\n"), None);
    }
}
