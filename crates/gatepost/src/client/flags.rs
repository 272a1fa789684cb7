//! The one table of what can be said about a connection. `send`, `fetch`, `connect`, `pin`, `tlsa` and `cert` take their flags from it,
//! so that a flag means the same with each of them; `settings.rs` makes of what was said what it means.

use clap::{Arg, ArgAction, Command};

/// What a flag is about: the heading it stands under in the help, and which verbs have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Topic {
    /// How TLS is started and which versions are good enough.
    Tls,
    /// How the server is known to be the one meant.
    Trust,
    /// Who the user is.
    Login,
    /// The way to the server.
    Network,
    /// What is printed.
    Output,
}

impl Topic {
    /// For verbs that log in.
    pub(crate) const ALL: [Self; 5] = [
        Self::Tls,
        Self::Trust,
        Self::Login,
        Self::Network,
        Self::Output,
    ];

    const fn heading(self) -> &'static str {
        match self {
            Self::Tls => "TLS",
            Self::Trust => "Who the server is",
            Self::Login => "Login",
            Self::Network => "Network",
            Self::Output => "Output",
        }
    }
}

/// How a flag takes values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Takes {
    /// None.
    Nothing,
    /// One.
    One(&'static str),
    /// One each time it is given.
    Many(&'static str),
}

struct Flag {
    topic: Topic,
    name: &'static str,
    takes: Takes,
    short: &'static str,
    long: &'static str,
}

const fn flag(
    topic: Topic,
    name: &'static str,
    takes: Takes,
    short: &'static str,
    long: &'static str,
) -> Flag {
    Flag {
        topic,
        name,
        takes,
        short,
        long,
    }
}

use Takes::{Many, Nothing, One};

/// The table.
const FLAGS: &[Flag] = &[
    flag(
        Topic::Tls,
        "tls",
        One("MODE"),
        "implicit, starttls, auto, opportunistic or off [default: auto]",
        "auto: implicit TLS where the protocol has a port for it, else STARTTLS, and never anything less. The ports are fixed before the \
         first is tried, and the second is tried only when nothing listens on the first.\n\
         opportunistic: STARTTLS if it is offered, else in clear; somebody on the path decides which. Passwords are sent only to a \
         verified server.\noff: no TLS; for servers on this machine and for looking around.",
    ),
    flag(
        Topic::Tls,
        "tls-min",
        One("VERSION"),
        "The oldest version of TLS that is good enough: 1.2 or 1.3 [default: 1.2]",
        "Older versions than 1.2 are never spoken (RFC 8996).",
    ),
    flag(
        Topic::Tls,
        "client-cert",
        One("FILE"),
        "A certificate to show when the server asks for one (PEM)",
        "Shown only when it is asked for. With --mechanism EXTERNAL the login is by this certificate and needs no password.",
    ),
    flag(
        Topic::Tls,
        "client-key",
        One("FILE"),
        "The key of --client-cert (PEM) [default: the same file]",
        "",
    ),
    flag(
        Topic::Trust,
        "verify",
        One("WAYS"),
        "ca, dane, sts, pin, combinations such as ca+dane, or none [default: ca]",
        "ca: a trusted authority vouches for the server's name. dane: TLSA records under DNSSEC do. sts: ca, and the policy of the \
         --domain names the host. pin: the key is one you have pinned. With + all of them must agree; with a comma one of them \
         suffices. none: encrypt, and report what was found; no password is sent.",
    ),
    flag(
        Topic::Trust,
        "tls-name",
        One("NAME"),
        "The name the certificate must be for [default: the host as you wrote it]",
        "For servers reached by an address or through a tunnel. Names that DNS answers with (CNAME, MX, SRV) are never taken \
         instead.",
    ),
    flag(
        Topic::Trust,
        "domain",
        One("DOMAIN"),
        "The mail domain whose policy (MTA-STS) must name the host, for --verify sts",
        "",
    ),
    flag(
        Topic::Trust,
        "ca",
        Many("FILE"),
        "Trust the certificates in this PEM file as well; repeatable",
        "Authorities, or a server's own self-signed certificate.",
    ),
    flag(
        Topic::Trust,
        "no-system-ca",
        Nothing,
        "Do not trust the system's authorities",
        "",
    ),
    flag(
        Topic::Trust,
        "pin",
        Many("PIN"),
        "Require this key: sha256-spki:HEX, or certificate: sha256-cert:HEX; repeatable, one match suffices",
        "A condition on top of --verify, not instead of it. gatepost pin show HOST prints the pins a server has now. Give a second one, of a \
         key kept aside, as backup. Pins of every run are kept with gatepost pin add.",
    ),
    flag(
        Topic::Trust,
        "trust-exception",
        One("HASH"),
        "Take this one certificate without an authority: sha256-cert:HEX; never counts as verified",
        "For a server whose certificate nobody vouches for, after you compared its hash with its operator. The connection is reported as \
         Encrypted, not as Verified. gatepost pin show HOST prints the hash.",
    ),
    flag(
        Topic::Trust,
        "crl",
        Many("FILE"),
        "A list of revoked certificates (PEM or DER); repeatable",
        "",
    ),
    flag(
        Topic::Trust,
        "revocation",
        One("MODE"),
        "soft, hard or off [default: soft]",
        "soft: a revoked certificate is refused, one of unknown status is not. hard: that too is refused. off: lists are not asked for; \
         a status the server sends along is judged all the same.",
    ),
    flag(
        Topic::Login,
        "user",
        One("NAME"),
        "The login name; without one there is no login",
        "",
    ),
    flag(
        Topic::Login,
        "password-file",
        One("FILE"),
        "The password is this file's first line (- for standard input)",
        "Without any of these, the environment variable GATEPOST_PASSWORD is used, else it is asked for. Never an argument: arguments are \
         seen by everyone on the machine.",
    ),
    flag(
        Topic::Login,
        "password-command",
        One("COMMAND"),
        "The password is the first line this command prints (run by sh)",
        "For password managers: --password-command 'pass show mail/anna'.",
    ),
    flag(
        Topic::Login,
        "password-fd",
        One("N"),
        "The password is the first line read from this file descriptor",
        "",
    ),
    flag(
        Topic::Login,
        "token-file",
        One("FILE"),
        "An OAuth2 access token instead of a password: this file's first line (- for standard input)",
        "Used with OAUTHBEARER or XOAUTH2. The environment variable GATEPOST_TOKEN does the same.",
    ),
    flag(
        Topic::Login,
        "mechanism",
        One("NAME"),
        "The weakest login mechanism that is good enough [default: any the server offers]",
        "From strong to weak: SCRAM-SHA-256-PLUS, SCRAM-SHA-256, PLAIN, LOGIN; with a token OAUTHBEARER, XOAUTH2; with a certificate EXTERNAL. \
         The strongest that is offered is taken, and only one is tried. SCRAM-SHA-1-PLUS and SCRAM-SHA-1, for old servers, only if one of them is named here.",
    ),
    flag(
        Topic::Login,
        "danger-clear-login",
        Nothing,
        "With --tls off: send the password unencrypted to a host that is not this machine",
        "Everybody on the path can read it.",
    ),
    flag(
        Topic::Login,
        "danger-unverified-login",
        Nothing,
        "With --verify none or a --trust-exception: send the password to a server nobody vouches for",
        "",
    ),
    flag(
        Topic::Network,
        "resolve",
        Many("HOST:PORT:ADDR"),
        "Connect to this address for the host and port; repeatable",
        "The certificate must still be for the host.",
    ),
    flag(
        Topic::Network,
        "socks5",
        One("HOST[:PORT]"),
        "Connect through this SOCKS5 proxy, which also resolves the name [default port: 1080]",
        "",
    ),
    flag(
        Topic::Network,
        "source",
        One("ADDR"),
        "Connect from this local address",
        "",
    ),
    flag(
        Topic::Network,
        "proxy-header",
        One("VERSION"),
        "Begin with a PROXY header: v1 or v2",
        "For servers that sit behind a load balancer and expect one.",
    ),
    flag(
        Topic::Network,
        "dns",
        One("ADDR[:PORT]"),
        "Ask this resolver [default: those of /etc/resolv.conf]",
        "DNSSEC is validated here in any case; the resolver need not be trusted.",
    ),
    flag(
        Topic::Network,
        "timeout",
        One("SECONDS"),
        "The longest wait for an answer of the server [default: what the protocol's standard says; for `check` 20, in a list 10]",
        "",
    ),
    flag(
        Topic::Output,
        "json",
        Nothing,
        "Print one JSON document, whose schema has a name and version",
        "",
    ),
    flag(
        Topic::Output,
        "verbose",
        Nothing,
        "Say on standard error what is being done; passwords are left out",
        "",
    ),
];

/// A flag of a verb's own that takes a value.
pub(crate) fn one(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name(value).help(help)
}

/// Adds the flags of these topics to a verb.
pub(crate) fn add(command: Command, topics: &[Topic]) -> Command {
    FLAGS
        .iter()
        .filter(|flag| topics.contains(&flag.topic))
        .fold(command, |command, flag| command.arg(flag.arg()))
}

impl Flag {
    fn arg(&self) -> Arg {
        let arg = Arg::new(self.name)
            .long(self.name)
            .help_heading(self.topic.heading())
            .help(self.short)
            .long_help(if self.long.is_empty() {
                self.short.to_owned()
            } else {
                format!("{}.\n{}", self.short, self.long)
            });
        let arg = if self.name == "verbose" {
            arg.short('v')
        } else {
            arg
        };
        match self.takes {
            Nothing => arg.action(ArgAction::SetTrue),
            One(value) => arg.value_name(value).action(ArgAction::Set),
            Many(value) => arg.value_name(value).action(ArgAction::Append),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_flag_stands_twice_and_none_takes_a_password() {
        for (at, flag) in FLAGS.iter().enumerate() {
            assert!(
                FLAGS
                    .iter()
                    .skip(at + 1)
                    .all(|other| other.name != flag.name),
                "{}",
                flag.name
            );
            assert!(flag.name != "password" && flag.name != "token");
            assert!(!flag.short.ends_with('.'), "{}", flag.name);
        }
    }
}
