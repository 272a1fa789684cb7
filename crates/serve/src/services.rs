//! The services and their ports.

/// A protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// Between servers.
    Smtp,
    /// From users.
    Submission,
    /// Mailbox access.
    Imap,
    /// Mailbox retrieval.
    Pop3,
}

/// The way out for devices ([`crate::upstream::egress`]): on addresses and ports of its own, and only where it is asked for.
pub const EGRESS: Service = Service {
    name: "egress",
    port: 25,
    protocol: Protocol::Smtp,
    implicit_tls: false,
};

impl Protocol {
    /// Its name.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Smtp => "smtp",
            Self::Submission => "submission",
            Self::Imap => "imap",
            Self::Pop3 => "pop3",
        }
    }
}

/// A service: a protocol on a port in a TLS mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Service {
    /// Its name in logs, metrics and the ready file.
    pub name: &'static str,
    /// The standard port.
    pub port: u16,
    /// What is spoken.
    pub protocol: Protocol,
    /// Whether TLS comes first; otherwise it comes by STARTTLS.
    pub implicit_tls: bool,
}

/// All services, in the order they are shown. Submission has ports of its own, one in each mode [SUBM-05] [SUBM-06]
/// [CONF-11].
/// Ports: RFC 5321 (25), RFC 6409 (587), RFC 8314 (465, 993, 995), RFC 9051 (143), RFC 1939 (110).
pub const SERVICES: [Service; 7] = [
    Service {
        name: "smtp",
        port: 25,
        protocol: Protocol::Smtp,
        implicit_tls: false,
    },
    Service {
        name: "submission",
        port: 587,
        protocol: Protocol::Submission,
        implicit_tls: false,
    },
    Service {
        name: "submissions",
        port: 465,
        protocol: Protocol::Submission,
        implicit_tls: true,
    },
    Service {
        name: "imap",
        port: 143,
        protocol: Protocol::Imap,
        implicit_tls: false,
    },
    Service {
        name: "imaps",
        port: 993,
        protocol: Protocol::Imap,
        implicit_tls: true,
    },
    Service {
        name: "pop3",
        port: 110,
        protocol: Protocol::Pop3,
        implicit_tls: false,
    },
    Service {
        name: "pop3s",
        port: 995,
        protocol: Protocol::Pop3,
        implicit_tls: true,
    },
];

impl Service {
    /// The TLS mode and policy in a few words.
    pub const fn tls_words(self, mx_requires_tls: bool, clear_logins: bool) -> &'static str {
        match (self.implicit_tls, self.protocol) {
            (true, _) => "implicit TLS",
            (false, Protocol::Smtp) if !mx_requires_tls => "STARTTLS offered",
            (false, Protocol::Smtp) => "STARTTLS required for mail",
            (false, _) if clear_logins => {
                "STARTTLS required before login, but for login.clear_networks"
            }
            (false, _) => "STARTTLS required before login",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_that_of_the_standards() {
        // [SUBM-05] [SUBM-06] [CONF-11] [SVC-02] both modes for users; port 25 has none but STARTTLS, and is not submission.
        let ports = |protocol, implicit| -> Vec<u16> {
            let wanted = |it: &&Service| it.protocol == protocol && it.implicit_tls == implicit;
            SERVICES.iter().filter(wanted).map(|it| it.port).collect()
        };
        assert_eq!(ports(Protocol::Submission, false), [587]);
        assert_eq!(ports(Protocol::Submission, true), [465]);
        assert_eq!(ports(Protocol::Smtp, false), [25]);
        assert_eq!(ports(Protocol::Smtp, true), [0_u16; 0]);
        assert_eq!(
            (ports(Protocol::Imap, false), ports(Protocol::Imap, true)),
            (vec![143], vec![993])
        );
        assert_eq!(
            (ports(Protocol::Pop3, false), ports(Protocol::Pop3, true)),
            (vec![110], vec![995])
        );
    }
}
