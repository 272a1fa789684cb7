//! Logins, as one who listens sees them: which mechanism, whose, what of it was in clear, and how it ended.
//!
//! Here is the only place that looks at passwords and tokens, and it keeps none: what leaves is the mechanism, the hashed name, whether
//! there was a password and how long it was, in three classes. Decoded octets are wiped.

use gatepost_wire::sasl::decode_base64;
use zeroize::{Zeroize, Zeroizing};

use super::notes::{At, Note, Notes, Protocol};
use super::privacy::{Privacy, User};
use crate::finding::Severity;

/// How a login was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mechanism {
    /// SASL PLAIN.
    Plain,
    /// SASL LOGIN.
    Login,
    /// The LOGIN command of IMAP.
    LoginCommand,
    /// USER and PASS of POP3.
    UserPass,
    /// APOP of POP3.
    Apop,
    /// XOAUTH2.
    Xoauth2,
    /// OAUTHBEARER.
    OauthBearer,
    /// CRAM-MD5.
    CramMd5,
    /// DIGEST-MD5.
    DigestMd5,
    /// NTLM, also inside GSS-SPNEGO.
    Ntlm,
    /// SCRAM, with any hash.
    Scram,
    /// EXTERNAL.
    External,
    /// ANONYMOUS.
    Anonymous,
    /// GSSAPI and Kerberos.
    Kerberos,
    /// One that is not known here.
    Other,
}

impl Mechanism {
    /// By its name in any case.
    #[must_use]
    pub fn find(name: &[u8]) -> Self {
        let name = name.to_ascii_uppercase();
        match name.as_slice() {
            b"PLAIN" | b"PLAIN-CLIENTTOKEN" => Self::Plain,
            b"LOGIN" => Self::Login,
            b"XOAUTH2" => Self::Xoauth2,
            b"OAUTHBEARER" => Self::OauthBearer,
            b"CRAM-MD5" => Self::CramMd5,
            b"DIGEST-MD5" => Self::DigestMd5,
            b"NTLM" | b"GSS-SPNEGO" | b"MSN" => Self::Ntlm,
            b"EXTERNAL" => Self::External,
            b"ANONYMOUS" => Self::Anonymous,
            b"GSSAPI" | b"KERBEROS_V4" | b"GS2-KRB5" | b"GS2-KRB5-PLUS" => Self::Kerberos,
            other if other.starts_with(b"SCRAM-") => Self::Scram,
            _ => Self::Other,
        }
    }

    /// The word in reports.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::Login => "LOGIN",
            Self::LoginCommand => "LOGIN command",
            Self::UserPass => "USER and PASS",
            Self::Apop => "APOP",
            Self::Xoauth2 => "XOAUTH2",
            Self::OauthBearer => "OAUTHBEARER",
            Self::CramMd5 => "CRAM-MD5",
            Self::DigestMd5 => "DIGEST-MD5",
            Self::Ntlm => "NTLM",
            Self::Scram => "SCRAM",
            Self::External => "EXTERNAL",
            Self::Anonymous => "ANONYMOUS",
            Self::Kerberos => "Kerberos",
            Self::Other => "another mechanism",
        }
    }
}

/// The worst of what was in clear.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Shown {
    /// Nothing of worth.
    Nothing,
    /// A name.
    Name,
    /// A challenge and its answer, from which a password can be guessed.
    Challenge,
    /// A bearer token.
    Token,
    /// A password.
    Password,
}

/// How a login ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ending {
    /// The server took it.
    Accepted,
    /// The server refused it.
    Rejected,
    /// The client gave up.
    Aborted,
    /// That was not seen.
    Unknown,
}

impl Ending {
    /// The word in reports.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Rejected => "rejected",
            Self::Aborted => "aborted",
            Self::Unknown => "unknown",
        }
    }
}

/// A login that was seen.
#[derive(Debug, Clone)]
pub struct Login {
    /// How.
    pub mechanism: Mechanism,
    /// Whose.
    pub user: Option<User>,
    /// What was in clear.
    pub shown: Shown,
    /// How long the password was: none where there was none.
    pub password: Option<&'static str>,
    /// How it ended.
    pub ending: Ending,
}

/// A login that is under way.
#[derive(Debug)]
pub struct Exchange {
    login: Login,
    at: At,
    steps: u8,
    /// Whether the client's octets of it were seen.
    is_visible: bool,
}

impl Exchange {
    /// The client asks for a mechanism.
    #[must_use]
    pub fn begin(mechanism: Mechanism, at: At) -> Self {
        Self {
            login: Login {
                mechanism,
                user: None,
                shown: Shown::Nothing,
                password: None,
                ending: Ending::Unknown,
            },
            at,
            steps: 0,
            is_visible: true,
        }
    }

    /// By which mechanism.
    #[must_use]
    pub fn mechanism(&self) -> Mechanism {
        self.login.mechanism
    }

    /// Whether a password, a token or an answer was seen.
    #[must_use]
    pub fn has_shown(&self, shown: Shown) -> bool {
        self.login.shown >= shown
    }

    /// The client's answer in Base64, or `*`, or `=` for an empty one.
    pub fn respond(&mut self, line: &[u8], privacy: &Privacy) {
        let line = line.trim_ascii();
        if line == b"*" {
            self.login.ending = Ending::Aborted;
            return;
        }
        self.steps = self.steps.saturating_add(1);
        if line.is_empty() || line == b"=" {
            return;
        }
        // What is no Base64 is looked at as it stands: it leaked all the same.
        let octets = Zeroizing::new(decode_base64(line).unwrap_or_else(|_| line.to_vec()));
        match self.login.mechanism {
            Mechanism::Plain => self.plain(&octets, privacy),
            Mechanism::Login if self.steps == 1 => self.name(&octets, privacy),
            Mechanism::Login => self.password(&octets),
            Mechanism::Xoauth2 | Mechanism::OauthBearer => self.token(&octets, privacy),
            Mechanism::CramMd5 => {
                let end = octets.iter().rposition(|it| *it == b' ');
                self.name(
                    end.and_then(|at| octets.get(..at)).unwrap_or_default(),
                    privacy,
                );
                self.show(Shown::Challenge);
            }
            Mechanism::DigestMd5 => {
                if let Some(name) = field(&octets, b"username=\"", b'"') {
                    self.name(name, privacy);
                    self.show(Shown::Challenge);
                }
            }
            Mechanism::Scram => {
                if let Some(name) = field(&octets, b"n=", b',').filter(|_| self.steps == 1) {
                    self.name(name, privacy);
                }
                if field(&octets, b"p=", b',').is_some() && self.steps > 1 {
                    self.show(Shown::Challenge);
                }
            }
            Mechanism::Ntlm => self.ntlm(&octets, privacy),
            Mechanism::External => self.name(&octets, privacy),
            _ => {}
        }
    }

    /// A name and a password given as they are.
    pub fn name(&mut self, name: &[u8], privacy: &Privacy) {
        if let Some(user) = privacy.hide(name) {
            self.login.user = Some(user);
            self.show(Shown::Name);
        }
    }

    /// A password, of which only the length is kept, in classes.
    pub fn password(&mut self, password: &[u8]) {
        if password.is_empty() {
            return;
        }
        self.login.password = Some(match password.len() {
            0..8 => "under 8 octets",
            8..16 => "8 to 15 octets",
            _ => "16 octets or more",
        });
        self.show(Shown::Password);
    }

    /// An answer to a challenge.
    pub fn show(&mut self, shown: Shown) {
        self.login.shown = self.login.shown.max(shown);
    }

    fn plain(&mut self, octets: &[u8], privacy: &Privacy) {
        let mut parts = octets.splitn(3, |it| *it == 0);
        let authorised = parts.next().unwrap_or_default();
        let name = parts
            .next()
            .filter(|it| !it.is_empty())
            .unwrap_or(authorised);
        let password = parts.next();
        match password {
            Some(password) => {
                self.name(name, privacy);
                self.password(password);
            }
            // Not what RFC 4616 asks for; who listens can still read it, so it counts as a password and as no name.
            None => self.password(octets),
        }
    }

    fn token(&mut self, octets: &[u8], privacy: &Privacy) {
        let mut name = None;
        for part in octets.split(|it| *it == 1) {
            let user = part
                .strip_prefix(b"user=")
                .or_else(|| field(part, b"a=", b','));
            name = name.or(user);
            let bearer = part
                .get(..5)
                .is_some_and(|it| it.eq_ignore_ascii_case(b"auth="));
            if bearer {
                self.show(Shown::Token);
            }
        }
        if let Some(name) = name {
            self.name(name, privacy);
        }
    }

    /// The third message of NTLM has the name, in one or two octets a character.
    fn ntlm(&mut self, octets: &[u8], privacy: &Privacy) {
        let Some(at) = memchr::memmem::find(octets, b"NTLMSSP\0") else {
            return;
        };
        let message = octets.get(at..).unwrap_or_default();
        let number = |at: usize| {
            let octets = message.get(at..)?.first_chunk()?;
            usize::try_from(u32::from_le_bytes(*octets)).ok()
        };
        if number(8) != Some(3) {
            return;
        }
        self.show(Shown::Challenge);
        let length = number(36).map(|it| it & 0xffff);
        let name = number(40)
            .zip(length)
            .and_then(|(at, length)| message.get(at..at.checked_add(length)?));
        if let Some(name) = name {
            let mut name: Vec<u8> = name.iter().copied().filter(|it| *it != 0).collect();
            self.name(&name, privacy);
            name.zeroize();
        }
    }

    /// Writes down how it ended, if anything was in clear.
    pub fn end(mut self, ending: Ending, protocol: Protocol, notes: &mut Notes<'_>) {
        if self.login.ending != Ending::Aborted {
            self.login.ending = ending;
        }
        let accepted_unseen =
            ending == Ending::Accepted && !self.is_visible && self.login.shown == Shown::Nothing;
        let (id, severity) = match self.login.shown {
            _ if accepted_unseen => ("W106", None),
            Shown::Nothing => return,
            Shown::Name => ("W107", None),
            Shown::Challenge if self.login.mechanism == Mechanism::Scram => {
                ("W105", Some(Severity::Low))
            }
            Shown::Challenge => ("W105", None),
            Shown::Token => ("W104", None),
            Shown::Password => match protocol {
                Protocol::Smtp => ("W101", None),
                Protocol::Imap => ("W102", None),
                Protocol::Pop3 => ("W103", None),
                Protocol::Sieve => ("W108", None),
            },
        };
        notes.facts.logins += 1;
        let evidence = format!(
            "{} before TLS, {}",
            self.login.mechanism.word(),
            self.login.ending.word()
        );
        notes.found.push(Note {
            id,
            severity,
            at: self.at,
            evidence: evidence.into(),
            login: Some(Box::new(self.login)),
        });
    }

    /// A login of which the server's consent is all that was seen.
    #[must_use]
    pub fn unseen(at: At) -> Self {
        let mut this = Self::begin(Mechanism::Other, at);
        this.is_visible = false;
        this
    }
}

/// What stands between a key at the beginning or behind a comma, and an end.
fn field<'a>(octets: &'a [u8], key: &[u8], end: u8) -> Option<&'a [u8]> {
    let at = memchr::memmem::find_iter(octets, key)
        .find(|at| *at == 0 || matches!(octets.get(at - 1), Some(b',' | b' ')))?;
    let value = octets.get(at + key.len()..)?;
    let end = memchr::memchr(end, value).unwrap_or(value.len());
    value.get(..end)
}
