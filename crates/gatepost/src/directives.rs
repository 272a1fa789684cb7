//! The one table of configuration directives.
//!
//! From it come the parser (`config.rs`), the flags of `gatepost serve` and their help, the annotated sample file
//! (`gatepost config sample`) and the reference page (`gatepost config reference`). A directive stands here once, with its
//! type, default and words; a value given on the command line wins over the file, the file over the default.

/// What a directive's value looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `true` or `false`.
    Switch,
    /// A whole number between the two bounds, both included.
    Count(u64, u64),
    /// Octets, at least so many: a whole number, or text with `KiB`, `MiB`, `GiB`.
    Size(u64),
    /// Seconds: a whole number, or text with `s`, `min`, `h`, `d`.
    Duration,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// Text.
    Text,
    /// A file or folder, relative to the working directory.
    Path,
    /// A list of texts.
    Texts,
    /// A list of SASL mechanisms.
    Mechanisms,
    /// A list of IP addresses.
    Addresses,
    /// A list of networks in CIDR form.
    Networks,
    /// `ADDRESS:PORT`, or empty for none.
    Socket,
}

impl Kind {
    /// The word for the value in `--help`.
    pub(crate) const fn placeholder(self) -> &'static str {
        match self {
            Self::Switch => "BOOL",
            Self::Count(..) => "N",
            Self::Size(_) => "SIZE",
            Self::Duration => "TIME",
            Self::Choice(_) => "WORD",
            Self::Text => "NAME",
            Self::Path => "DIR",
            Self::Texts | Self::Mechanisms => "VALUE",
            Self::Addresses => "IP",
            Self::Networks => "NETWORK",
            Self::Socket => "IP:PORT",
        }
    }

    /// What to write, in words for an error message.
    pub(crate) fn expected(self) -> String {
        match self {
            Self::Switch => "true or false".into(),
            Self::Count(low, high) => format!("a whole number from {low} to {high}"),
            Self::Size(0) => "a size such as 52428800 or \"50 MiB\"".into(),
            Self::Size(least) => {
                format!("a size of at least {least}, such as 52428800 or \"50 MiB\"")
            }
            Self::Duration => "a time such as 30, \"30 s\", \"5 min\" or \"12 h\"".into(),
            Self::Choice(words) => {
                format!(
                    "one of {}",
                    words
                        .iter()
                        .map(|word| format!("{word:?}"))
                        .collect::<Vec<_>>()
                        .join(", ")
                )
            }
            Self::Text => "text in quotes".into(),
            Self::Path => "a path in quotes".into(),
            Self::Texts => "a list of texts such as [\"example.org\"]".into(),
            Self::Mechanisms => {
                "a list of \"SCRAM-SHA-256-PLUS\", \"SCRAM-SHA-256\", \"PLAIN\", \"LOGIN\", and for old programs \"SCRAM-SHA-1-PLUS\", \"SCRAM-SHA-1\"".into()
            }
            Self::Addresses => "a list of IP addresses such as [\"127.0.0.1\", \"::1\"]".into(),
            Self::Networks => "a list of networks such as [\"192.0.2.0/24\"]".into(),
            Self::Socket => {
                "an address and port such as \"127.0.0.1:9925\", or \"\" for none".into()
            }
        }
    }

    /// The same behind a flag, where nothing is quoted and a list is the flag given several times.
    pub(crate) fn expected_of_flag(self) -> String {
        match self {
            Self::Text => "a name".into(),
            Self::Path => "a path".into(),
            Self::Texts => "a name such as example.org; give the flag again for each".into(),
            Self::Mechanisms => {
                "SCRAM-SHA-256-PLUS, SCRAM-SHA-256, PLAIN or LOGIN, or for old programs SCRAM-SHA-1-PLUS or SCRAM-SHA-1; give the flag again for each"
                    .into()
            }
            Self::Addresses => {
                "an IP address such as 127.0.0.1 or ::1; give the flag again for each".into()
            }
            Self::Networks => "a network such as 192.0.2.0/24; give the flag again for each".into(),
            Self::Socket => "an address and port such as 127.0.0.1:9925".into(),
            plain => plain.expected().replace('"', ""),
        }
    }
}

/// One directive.
#[derive(Debug)]
pub(crate) struct Directive {
    /// `section.name` as it stands in the file.
    pub(crate) name: &'static str,
    /// What its value looks like.
    pub(crate) kind: Kind,
    /// The default, as it would be written in the file.
    pub(crate) default: &'static str,
    /// The flag of `gatepost serve` that sets it, without the dashes.
    pub(crate) flag: Option<&'static str>,
    /// One line.
    pub(crate) short: &'static str,
    /// Why one would change it, and what happens then; may be empty.
    pub(crate) long: &'static str,
}

const fn directive(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    short: &'static str,
    long: &'static str,
) -> Directive {
    Directive {
        name,
        kind,
        default,
        flag: None,
        short,
        long,
    }
}

impl Directive {
    const fn flag(mut self, flag: &'static str) -> Self {
        self.flag = Some(flag);
        self
    }
}

/// All directives, in the order of the sample file.
pub(crate) static DIRECTIVES: &[Directive] = &[
    directive("server.data", Kind::Path, "\"gatepost-data\"", "The folder that holds everything: mail, accounts, local CA",
        "Created with mode 0700 when it is missing. One server at a time may use it.").flag("data"),
    directive("server.host", Kind::Text, "\"mail.gatepost.test\"", "The server's own name: in greetings, EHLO replies and Received fields",
        "Without certificates of your own, the local CA also signs this name. With them, they must cover it.").flag("host"),
    directive("server.domains", Kind::Texts, "[]", "Mail domains served here, besides those of the accounts",
        "Mail to any other domain is refused: 550 5.7.1.").flag("domain"),
    directive("server.bind", Kind::Addresses, "[\"127.0.0.1\"]", "Addresses to listen on, IPv4 and IPv6",
        "[\"0.0.0.0\", \"::\"] makes the server reachable from everywhere.").flag("bind"),
    directive("server.port_offset", Kind::Count(0, 60_000), "10000", "Added to every standard port",
        "0 means the real ports 25, 587, 465, 143, 993, 110 and 995; ports under 1024 need a right that systemd can grant (see contrib/systemd).").flag("port-offset"),
    directive("server.postmaster", Kind::Text, "\"\"", "The account that gets mail for postmaster; empty: the first account",
        "RFC 5321 4.5.1 wants postmaster to be reachable."),
    directive("tls.chains", Kind::Texts, "[]", "PEM files with a certificate and its intermediates, leaf first; empty: the local CA",
        "Several are chosen from by the name the client asks for, and by key type (ECDSA before RSA). The first one is the default. Files are read again on SIGHUP and when they change.").flag("tls-chain"),
    directive("tls.keys", Kind::Texts, "[]", "PEM files with the private keys, in the order of tls.chains", "").flag("tls-key"),
    directive("tls.strict_names", Kind::Choice(&["implicit", "always", "never"]), "\"implicit\"", "Where a client that asks for a server name without a certificate here is refused",
        "\"implicit\": on the ports for implicit TLS, while STARTTLS answers with the default certificate. Clients that send no name, and port 25 always, get the default certificate."),
    directive("tls.floor", Kind::Choice(&["1.2", "1.3"]), "\"1.2\"", "The oldest version of TLS that is worked with",
        "With \"1.3\" a TLS 1.2 handshake is still taken, so that the client can be told: SMTP answers 554 5.7.0 to everything but QUIT (RFC 3207 section 4.1), IMAP NO [PRIVACYREQUIRED] and BYE, POP3 -ERR [SYS/PERM]; no login and no mail is taken in it. Counted as tls_too_weak.").flag("tls-floor"),
    directive("tls.floor_services", Kind::Texts, "[]", "Services tls.floor holds for, by name; empty: all but smtp (port 25)",
        "smtp can be named only with smtp.tls = \"require\": else senders with TLS 1.2 were refused where those without TLS are served."),
    directive("smtp.tls", Kind::Choice(&["may", "require"]), "\"may\"", "TLS on port 25: offered, or required before MAIL",
        "RFC 3207 section 4 asks public mail servers not to require it: senders without TLS are then refused with 530 5.7.0.").flag("smtp-tls"),
    directive(
        "smtp.hide_client",
        Kind::Switch,
        "false",
        "Leave the client's name and address out of Received fields of submitted mail",
        "Recipients then cannot see from where your users send.",
    ),
    directive("smtp.message_size", Kind::Size(64 * 1024), "\"50 MiB\"", "The largest message accepted, by SMTP and by IMAP APPEND", ""),
    directive("submission.from", Kind::Choice(&["any", "login"]), "\"any\"", "Whose address the From field of a submitted message may hold",
        "The envelope's sender must always be the login's own address. With \"login\" the From field must be too, so that nobody's mail shows a colleague's name: 550 5.7.1 otherwise."),
    directive("mailbox.quota", Kind::Size(0), "\"10 GiB\"", "The most a new account may keep; gatepost account quota changes it",
        "Beyond it delivery is put off with 452 4.2.2 and APPEND refused with NO [OVERQUOTA]."),
    directive("mailbox.disk_floor", Kind::Size(0), "\"100 MiB\"", "Refuse new mail when less than this is free on the disk",
        "Delivery is put off with 452 4.3.1 before the disk is full, so that what was accepted can still be worked with."),
    directive("limits.connections", Kind::Count(1, 1_000_000), "10000", "Connections at the same time, all services together",
        "Each needs a file descriptor; the process's limit on them is raised as far as the system allows."),
    directive("limits.connections_per_address", Kind::Count(1, 1_000_000), "200", "Connections at the same time from one client address",
        "An IPv6 client counts by its /64. Keeps one client from taking all places."),
    directive("limits.handshakes", Kind::Count(1, 100_000), "64", "TLS handshakes at the same time",
        "Handshakes are the dearest thing a stranger can ask for; more than this wait their turn within the deadline."),
    directive("limits.handshake_time", Kind::Duration, "\"30 s\"", "How long a TLS handshake may take", ""),
    directive("limits.unlimited_networks", Kind::Networks, "[]", "Networks whose clients are not counted per address", ""),
    directive(
        "login.mechanisms",
        Kind::Mechanisms,
        "[\"SCRAM-SHA-256-PLUS\", \"SCRAM-SHA-256\", \"PLAIN\", \"LOGIN\"]",
        "SASL mechanisms offered for logins, always inside TLS",
        "Without PLAIN, IMAP's LOGIN and POP3's USER are refused too. Take SCRAM-SHA-256-PLUS out for clients that choose it and then cannot bind to TLS 1.3, such as NeoMutt 2022. For old programs that know no other SCRAM, and for them only, add SCRAM-SHA-1-PLUS and SCRAM-SHA-1: they work for passwords that are set from then on, see gatepost account password.",
    ),
    directive("login.client_ca", Kind::Path, "\"\"", "PEM file of the authorities that vouch for clients' certificates; empty: nobody is asked for one",
        "A client that shows one is logged in by EXTERNAL as the mail address in it, without a password, on the ports for users. One that does not verify ends the connection. Name a private authority: those of the web vouch for no users. At a gate the upstream must take EXTERNAL from the gate's own client-cert."),
    directive("login.client_crl", Kind::Path, "\"\"", "File of what those authorities have revoked (CRLs, PEM or DER); empty: nothing is looked at",
        "Each authority of a client's chain must have a list here that is in force: who is on it, or on none, gets no connection. Read again when it changes, and on SIGHUP; a file that cannot be read leaves the previous lists in force. Connections that are up go on."),
    directive("login.clear_networks", Kind::Networks, "[]", "DANGER: networks whose clients may log in without TLS",
        "Passwords then travel readable for everyone on the path. For machines on a wire of your own that cannot do TLS."),
    directive("gate.upstreams", Kind::Texts, "[]", "Servers to pass sessions on to, as URLs; empty: the mailboxes are here",
        "smtp://, submission://, imap:// and pop3:// are in clear, for servers on this machine only (or with ?tls=none); with +starttls, and as smtps://, submissions://, imaps:// and pop3s://, the server is verified. Only services with an upstream are opened; submission goes to the smtp:// one unless there is one for it. Parameters: tls, dns, ca, name, pin, client-cert, oauth, proxy=v1|v2, xclient, received, timeout, weight, group (see docs/gate.md).").flag("upstream"),
    directive("gate.route", Kind::Text, "\"\"", "Which upstream a session goes to: hash, table:FILE, socketmap:… or http://…; empty: any",
        "hash: by the user's name. table:FILE: lines with a user, @domain, sni:NAME or *, and the group or host:port of an upstream. socketmap:127.0.0.1:PORT:MAP and http://127.0.0.1:PORT/PATH (the headers of nginx's auth_http, without the password) ask a service. They choose among gate.upstreams; what they cannot tell goes nowhere: 451, NO [UNAVAILABLE], -ERR [SYS/TEMP].").flag("route"),
    directive("egress.listen", Kind::Texts, "[]", "Addresses and ports at which devices hand in mail that leaves through egress.upstream; empty: none",
        "For printers, scanners and old programs that cannot do TLS: give the address of a network they are alone in, such as \"192.0.2.1:25\". What they send travels readable to here, and verified from here on."),
    directive("egress.networks", Kind::Networks, "[]", "Networks of those devices; others are not answered", ""),
    directive("egress.upstream", Kind::Text, "\"\"", "Where their mail goes: a URL as in gate.upstreams, with TLS",
        "Such as submissions://mail.example.org."),
    directive("egress.user", Kind::Text, "\"\"", "The name to log in there with; empty: without a login", ""),
    directive("egress.password_file", Kind::Path, "\"\"", "The file whose first line is its password", ""),
    directive("egress.senders", Kind::Texts, "[]", "Sender addresses the devices may use, or @domain; all others are refused: 550 5.7.1", ""),
    directive("proxy.networks", Kind::Networks, "[]", "Networks of proxies: their connections must begin with a PROXY header, version 1 or 2",
        "The client is then the one the header names, for logs, limits and logins. From other networks no header is looked for. List nobody you do not trust to say who your clients are.").flag("proxy-from"),
    directive("proxy.services", Kind::Texts, "[]", "Services those proxies connect to, by name; empty: all", ""),
    directive("proxy.xclient_networks", Kind::Networks, "[]", "Networks of SMTP servers in front that may name their clients by XCLIENT",
        "Such as a mail proxy that speaks XCLIENT but no PROXY protocol. It may say ADDR, PORT, DESTADDR, DESTPORT, NAME, HELO and PROTO between two transactions, and where TLS is required only inside TLS; a login is never taken from it. For others XCLIENT is no command. The proxy's own address says nothing any more: list nobody you do not trust to say who your clients are.").flag("xclient-from"),
    directive("log.format", Kind::Choice(&["human", "json"]), "\"human\"", "One line per session end, for people or for machines", "").flag("log"),
    directive("web.listen", Kind::Socket, "\"\"", "Show the mail on a web page, and as JSON, at http://ADDRESS:PORT; empty: off",
        "For those who test their programs. Loopback addresses only; the page wants the token in the data folder, and serve prints its whole address.").flag("web"),
    directive("metrics.listen", Kind::Socket, "\"\"", "Serve OpenMetrics at http://ADDRESS:PORT/metrics; empty: off",
        "Clear text and without a password: keep it on loopback or a network of your own.").flag("metrics"),
];

/// The directive of that name.
pub(crate) fn find(name: &str) -> Option<&'static Directive> {
    DIRECTIVES.iter().find(|directive| directive.name == name)
}

/// The directive whose name is nearest to a misspelt one, if any is near.
pub(crate) fn nearest(name: &str) -> Option<&'static Directive> {
    let leaf = |text: &str| text.rsplit('.').next().unwrap_or_default().to_owned();
    DIRECTIVES
        .iter()
        .map(|directive| {
            let whole = distance(name, directive.name);
            (
                whole.min(distance(&leaf(name), &leaf(directive.name))),
                whole,
                directive,
            )
        })
        .min_by_key(|(near, whole, _)| (*near, *whole))
        .filter(|(near, _, _)| *near <= 3)
        .map(|(_, _, directive)| directive)
}

/// Edits (insert, remove, replace) between two texts.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, l) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, r) in right.iter().enumerate() {
            let replaced = diagonal + usize::from(l != *r);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[right.len()]
}

/// The annotated sample file: every directive with its default, commented out.
pub(crate) fn sample() -> String {
    let mut text = String::from(
        "# Gatepost configuration. Every directive is shown with its default; remove the leading \"#\" to change one.\n\
         # Use it with: gatepost serve --config FILE\n",
    );
    let mut section = "";
    for directive in DIRECTIVES {
        let (own, name) = directive
            .name
            .split_once('.')
            .unwrap_or(("", directive.name));
        if own != section {
            section = own;
            text.push_str(&format!("\n[{section}]\n"));
        }
        text.push_str(&format!("\n# {}.\n", directive.short));
        if !directive.long.is_empty() {
            text.push_str(&format!("# {}\n", directive.long));
        }
        text.push_str(&format!(
            "# Takes {}.\n#{name} = {}\n",
            directive.kind.expected(),
            directive.default
        ));
    }
    text
}

/// The reference page in Markdown.
pub(crate) fn reference() -> String {
    let mut text = String::from(
        "# Configuration reference\n\nMade by `gatepost config reference` from the table the parser uses.\n\n\
         | directive | flag of `serve` | default | takes | meaning |\n|---|---|---|---|---|\n",
    );
    for directive in DIRECTIVES {
        let flag = directive
            .flag
            .map(|flag| format!("`--{flag}`"))
            .unwrap_or_default();
        text.push_str(&format!(
            "| `{}` | {flag} | `{}` | {} | {}. {} |\n",
            directive.name,
            directive.default,
            directive.kind.expected(),
            directive.short,
            directive.long
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_grouped_by_section() {
        let mut seen = std::collections::HashSet::new();
        let mut sections: Vec<&str> = Vec::new();
        for directive in DIRECTIVES {
            assert!(
                seen.insert(directive.name),
                "{} stands twice",
                directive.name
            );
            let section = directive.name.split('.').next().unwrap();
            if sections.last() != Some(&section) {
                assert!(
                    !sections.contains(&section),
                    "[{section}] would open twice in the sample"
                );
                sections.push(section);
            }
        }
    }

    #[test]
    fn a_misspelt_name_finds_the_nearest() {
        assert_eq!(nearest("server.dat").unwrap().name, "server.data");
        assert_eq!(
            nearest("limits.conections").unwrap().name,
            "limits.connections"
        );
        assert_eq!(
            nearest("server.message_size").unwrap().name,
            "smtp.message_size"
        );
        assert!(nearest("entirely.different_thing").is_none());
    }
}
