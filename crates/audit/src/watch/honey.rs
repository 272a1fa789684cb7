//! A decoy: the login of nobody, shown in clear where nobody should listen. Who uses it has listened.
//!
//! Its name is random, so that it is not met by guessing. In captures it is found where it is used in clear. Inside TLS only the server sees
//! it, and so it is looked for in lines of logs of every kind, also of formats that are not read otherwise: where a login is named, and not where
//! a mail is for that address.

use std::net::IpAddr;

use memchr::memmem;

use super::login::Login;
use super::privacy::Privacy;

/// What stands before the name of a login in the logs of mail servers. Exim names the authenticator in between.
const MARKS: [&[u8]; 9] = [
    b"user=<",
    b"user=",
    b"user <",
    b"username=",
    b"set_id=",
    b"authcid=",
    b"\"account\":\"",
    b"\"user\":\"",
    b"\"login\":\"",
];

/// A decoy, as `gatepost canary honey` makes it.
#[derive(Debug, Clone)]
pub struct Honey {
    /// In lower case.
    name: String,
    /// The name as captures show it.
    hash: String,
    /// From where it is shown.
    own: Vec<IpAddr>,
}

/// A use of a decoy in a log.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Use {
    /// From where, if the line says so.
    pub(super) client: Option<IpAddr>,
}

impl Honey {
    /// The shortest name that does not stand in a log by chance.
    pub const SHORTEST: usize = 8;

    /// A decoy of this name that is shown from these addresses; names are hidden in this way. None if the name is shorter than
    /// [`Honey::SHORTEST`] or has other characters than those of a plain address.
    #[must_use]
    pub fn new(name: &str, own: &[IpAddr], privacy: &Privacy) -> Option<Self> {
        let fits = name.len() >= Self::SHORTEST && name.bytes().all(is_of_name);
        let name = fits.then(|| name.to_ascii_lowercase())?;
        let hash = privacy.hide(name.as_bytes())?.hash;
        let own = own.iter().map(IpAddr::to_canonical).collect();
        Some(Self { name, hash, own })
    }

    /// Whether a login in clear from there was a use of the decoy.
    pub(super) fn is_used(&self, login: &Login, client: IpAddr) -> bool {
        let user = login.user.as_ref();
        user.is_some_and(|it| it.hash == self.hash) && !self.is_own(client)
    }

    /// A use of the decoy in a line of a log.
    pub(super) fn find(&self, line: &[u8]) -> Option<Use> {
        let at =
            memmem::find_iter(line, self.name.as_bytes()).find(|at| self.is_login(line, *at))?;
        let behind = line.get(at + self.name.len()..).unwrap_or_default();
        let client = client(line, behind);
        let is_foreign = client.is_none_or(|it| !self.is_own(it));
        is_foreign.then_some(Use { client })
    }

    /// Whether the name that stands here is that of a login.
    fn is_login(&self, line: &[u8], at: usize) -> bool {
        let before = line.get(..at).unwrap_or_default();
        let behind = line.get(at + self.name.len()..).unwrap_or_default();
        // The name ends here: what is longer is another one.
        if behind.first().is_some_and(|it| is_of_name(*it)) {
            return false;
        }
        // Dovecot: passwd-file(NAME,192.0.2.7,<session>)
        let in_parentheses = before.ends_with(b"(") && behind.starts_with(b",");
        let word = before.rsplit(|it| *it == b' ').next().unwrap_or_default();
        // Exim: A=plain_login:NAME
        let by_authenticator = word.starts_with(b"A=") && word.ends_with(b":");
        in_parentheses || by_authenticator || MARKS.iter().any(|it| before.ends_with(it))
    }

    fn is_own(&self, client: IpAddr) -> bool {
        self.own.contains(&client.to_canonical())
    }
}

fn is_of_name(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || matches!(octet, b'@' | b'.' | b'-' | b'_' | b'+')
}

/// From where: `rip=` of Dovecot, `"client":` of Gatepost, behind the name in parentheses, `name[192.0.2.7]` of Postfix and Exim.
fn client(line: &[u8], behind: &[u8]) -> Option<IpAddr> {
    let marked = [&b"rip="[..], b"\"client\":\""].iter().find_map(|mark| {
        let at = memmem::find(line, mark)?;
        address(line.get(at + mark.len()..)?)
    });
    let listed = || address(behind.strip_prefix(b",")?);
    let in_brackets =
        || memchr::memchr_iter(b'[', line).find_map(|at| address(line.get(at + 1..)?));
    marked.or_else(listed).or_else(in_brackets)
}

/// The address at the beginning.
fn address(octets: &[u8]) -> Option<IpAddr> {
    let octets = octets.strip_prefix(b"IPv6:").unwrap_or(octets);
    let is_of_address = |it: &u8| it.is_ascii_hexdigit() || matches!(it, b'.' | b':');
    let length = octets.iter().take_while(|it| is_of_address(it)).count();
    std::str::from_utf8(octets.get(..length)?)
        .ok()?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn honey() -> Honey {
        let own = ["192.0.2.1".parse().unwrap()];
        let privacy = Privacy::new([3; 32], false);
        Honey::new("Decoy77@example.org", &own, &privacy).unwrap()
    }

    #[test]
    fn logins_in_logs_of_every_kind() {
        let lines = [
            "dovecot: imap-login: Login: user=<decoy77@example.org>, method=PLAIN, rip=203.0.113.9, lip=192.0.2.1, TLS, session=<a>",
            "dovecot: imap-login: Disconnected: (auth failed, 1 attempts in 2 secs): user=<decoy77@example.org>, method=PLAIN, rip=203.0.113.9, TLS",
            "dovecot: auth: passwd-file(decoy77@example.org,203.0.113.9,<a>): unknown user",
            "postfix/smtps/smtpd[1]: 4XY: client=x.example[203.0.113.9], sasl_method=PLAIN, sasl_username=decoy77@example.org",
            "postfix/smtpd[1]: warning: unknown[203.0.113.9]: SASL LOGIN authentication failed: UGFz, sasl_username=decoy77@example.org",
            "2026-11-26 10:00:00 login authenticator failed for (x) [203.0.113.9]: 535 Incorrect authentication data (set_id=decoy77@example.org)",
            "2026-11-26 10:00:00 1abc <= a@b H=(x) [203.0.113.9] P=esmtpsa A=plain_login:decoy77@example.org S=1",
            "{\"kind\":\"session\",\"client\":\"203.0.113.9\",\"account\":\"decoy77@example.org\"}",
            "mailserver[5]: 203.0.113.9 user=decoy77@example.org [203.0.113.9]",
        ];
        let client = "203.0.113.9".parse().ok();
        for line in lines {
            assert_eq!(
                honey().find(line.as_bytes()),
                Some(Use { client }),
                "{line}"
            );
        }
        // From where is not said: a use all the same.
        let line = b"popd: login failed, user=decoy77@example.org";
        assert_eq!(honey().find(line), Some(Use { client: None }));
        let six = b"x: user=<decoy77@example.org>, rip=2001:db8::7, TLS";
        let client = "2001:db8::7".parse().ok();
        assert_eq!(honey().find(six), Some(Use { client }));
    }

    #[test]
    fn what_is_no_use() {
        let lines = [
            // Ours, also where it is told as an address of IPv6.
            "dovecot: imap-login: Login: user=<decoy77@example.org>, rip=192.0.2.1, lip=192.0.2.2, TLS",
            "dovecot: imap-login: Login: user=<decoy77@example.org>, rip=::ffff:192.0.2.1, TLS",
            // Mail for it.
            "postfix/smtp[1]: 4XY: to=<decoy77@example.org>, relay=mx[203.0.113.9]:25, status=sent",
            "postfix/qmgr[1]: 4XY: from=<decoy77@example.org>, size=1",
            // Others.
            "dovecot: imap-login: Login: user=<decoy77@example.organ>, rip=203.0.113.9, TLS",
            "dovecot: imap-login: Login: user=<adecoy77@example.org>, rip=203.0.113.9, TLS",
            "",
        ];
        for line in lines {
            assert_eq!(honey().find(line.as_bytes()), None, "{line}");
        }
    }

    #[test]
    fn names_that_could_stand_anywhere_are_not_taken() {
        let privacy = Privacy::new([3; 32], false);
        for name in ["", "decoy", "decoy 77@example.org", "decoy\"77@example.org"] {
            assert!(Honey::new(name, &[], &privacy).is_none(), "{name}");
        }
    }
}
