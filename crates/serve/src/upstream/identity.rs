//! Telling the upstream who the client is, where it takes that.
//!
//! | how | when | what |
//! |---|---|---|
//! | PROXY header | first of all, before TLS | both endpoints; version 2 also what TLS was with the client [PROXY-05] |
//! | XCLIENT (SMTP, POP3), ID (IMAP) | behind the upstream's TLS, before the login [XCL-01] [XCL-03] | both endpoints, the session's name, how many gates are still allowed |
//!
//! What clients say of themselves is coded or quoted, so that none of it can be read as more than a value.
//!
//! Gates could be made to stand in a circle. Version 2 of the header says how many a session has come through, and beyond
//! five this one refuses; other upstreams are told in their own words how many are still allowed. Mail that runs in a circle
//! through other servers is found by its `Received:` fields [SMTP-BASE-14], in the session in front.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};

use gatepost_net::client::dial::Announce;
use gatepost_wire::proxy::{Header, Shown, Ssl, Tlv, gates};
use gatepost_wire::seam::TlsFacts;
use gatepost_wire::tls::names::scheme_label;

use super::url::{ProxyVersion, Spec};
use crate::server::front::Visit;

/// How many gates may stand in a row.
const GATES: u8 = 5;

/// The client of a session.
#[derive(Debug, Clone)]
pub struct Client {
    /// Its address, as the one who connected or a trusted proxy says.
    pub address: SocketAddr,
    /// Where it connected to.
    pub local: Option<SocketAddr>,
    /// A name for the session in the logs of both sides.
    pub session: Box<str>,
    /// What TLS is with it.
    pub tls: Option<Box<TlsFacts>>,
    /// How many gates it has come through before this one.
    pub gates: u8,
}

impl Client {
    /// A client of a connection just made.
    pub fn new(address: SocketAddr, local: Option<SocketAddr>) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        Self {
            address: canonical(address),
            local: local.map(canonical),
            session: format!("gp{:x}-{number:x}", std::process::id()).into(),
            tls: None,
            gates: 0,
        }
    }

    /// A client that has come through so many gates.
    pub fn behind(address: SocketAddr, local: Option<SocketAddr>, gates: u8) -> Self {
        Self {
            gates,
            ..Self::new(address, local)
        }
    }

    /// Another client, for whom a server in front speaks, or that server itself again: the session stays. What TLS was is known of the
    /// server in front alone, and not told of its client.
    pub(super) fn replaced(&self, visit: Visit) -> Self {
        Self {
            address: visit.client,
            local: visit.local,
            tls: None,
            ..self.clone()
        }
    }

    /// Whether it has come through as many gates as may stand in a row.
    pub(super) fn circles(&self) -> bool {
        self.gates >= GATES
    }

    /// How many more gates may follow.
    fn left(&self) -> u8 {
        GATES.saturating_sub(self.gates)
    }

    /// The PROXY header for an upstream, if it is to have one.
    pub(super) fn announce(&self, spec: &Spec) -> Option<Announce> {
        let version = spec.proxy?;
        let known = self
            .local
            .filter(|it| it.is_ipv4() == self.address.is_ipv4());
        let unspecified: IpAddr = if self.address.is_ipv4() {
            Ipv4Addr::UNSPECIFIED.into()
        } else {
            Ipv6Addr::UNSPECIFIED.into()
        };
        let local = known.unwrap_or(SocketAddr::new(unspecified, 0));
        let mut header = Header::of(self.address, local);
        if version == ProxyVersion::V2 {
            header.tlvs = self.tlvs();
        }
        Some(Announce {
            text: version == ProxyVersion::V1,
            header: Some(header),
        })
    }

    /// [PROXY-05]
    fn tlvs(&self) -> Vec<Tlv> {
        let mut tlvs = vec![
            Tlv::new(Tlv::UNIQUE_ID, self.session.as_bytes()),
            gates(self.gates.saturating_add(1)),
        ];
        let Some(facts) = &self.tls else {
            return tlvs;
        };
        if let Some(alpn) = &facts.alpn {
            tlvs.push(Tlv::new(Tlv::ALPN, alpn.as_bytes()));
        }
        if let Some(sni) = &facts.sni {
            tlvs.push(Tlv::new(Tlv::AUTHORITY, sni.as_bytes()));
        }
        let ssl = Ssl {
            version: Some(facts.version.label().into()),
            cipher: Some(facts.suite.as_ref().into()),
            group: facts.group.map(Into::into),
            signature: facts.signature.map(|it| scheme_label(it).into()),
            client: facts.client.as_ref().map(|it| Shown {
                now: !facts.resumed,
                common_name: it.common_name.clone(),
                certificate: Some(it.der.clone()),
            }),
            ..Ssl::default()
        };
        // Too long to be told is no reason to be refused.
        tlvs.extend(ssl.encode());
        tlvs
    }

    /// The ID command for an IMAP upstream, for servers that know these names (Dovecot) [XCL-03].
    pub(super) fn imap_id(&self) -> String {
        let mut pairs = vec![
            ("x-session-id", self.session.to_string()),
            ("x-originating-ip", self.address.ip().to_string()),
            ("x-originating-port", self.address.port().to_string()),
            ("x-proxy-ttl", self.left().to_string()),
        ];
        if let Some(local) = self.local {
            pairs.push(("x-connected-ip", local.ip().to_string()));
            pairs.push(("x-connected-port", local.port().to_string()));
        }
        // Addresses, numbers and a name of our own: nothing in them needs quoting.
        let words: Vec<String> = pairs
            .iter()
            .map(|(name, value)| format!("\"{name}\" \"{value}\""))
            .collect();
        format!("ID ({})", words.join(" "))
    }

    /// The XCLIENT command for a POP3 upstream (Dovecot) [XCL-03].
    pub(super) fn pop3_xclient(&self) -> String {
        format!(
            "XCLIENT ADDR={} PORT={} SESSION={} TTL={}",
            self.address.ip(),
            self.address.port(),
            self.session,
            self.left()
        )
    }

    /// Who the client is, for XCLIENT in SMTP.
    pub(super) fn introduction(
        &self,
        helo: Option<&str>,
    ) -> gatepost_wire::smtp::relay::Introduction {
        gatepost_wire::smtp::relay::Introduction {
            address: self.address.ip(),
            port: self.address.port(),
            destination: self.local.map(|it| (it.ip(), it.port())),
            helo: helo.map(str::to_owned),
            extended: true,
            login: None,
        }
    }
}

/// The header of a check of health: we speak for ourselves [PROXY-06]. In version 1 that is a line with our own address, for not
/// every server takes UNKNOWN.
pub(super) fn announce_check(spec: &Spec) -> Option<Announce> {
    spec.proxy.map(|version| match version {
        ProxyVersion::V1 => Announce {
            text: true,
            header: None,
        },
        ProxyVersion::V2 => Announce {
            text: false,
            header: Some(Header::local()),
        },
    })
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use super::*;
    use gatepost_wire::proxy::{Progress, encode_v1, encode_v2, parse};
    use gatepost_wire::seam::{ClientCertificate, TlsVersion};

    fn client() -> Client {
        let mut client = Client::new(
            "[::ffff:192.0.2.7]:4711".parse().unwrap(),
            Some("198.51.100.1:993".parse().unwrap()),
        );
        client.tls = Some(Box::new(TlsFacts {
            client: None,
            signature: None,
            version: TlsVersion::Tls13,
            suite: "TLS_AES_128_GCM_SHA256".into(),
            group: Some("X25519"),
            sni: Some("mail.example".into()),
            alpn: Some("imap".into()),
            resumed: false,
            bindings: None,
            verified: None,
        }));
        client
    }

    // [PROXY-05]
    #[test]
    fn version_2_tells_of_tls() {
        let spec = Spec::parse("imap://127.0.0.1?proxy=v2").unwrap();
        let header = client().announce(&spec).unwrap().header.unwrap();
        let bytes = encode_v2(&header).unwrap();
        let Progress::Complete(read, length) = parse(&bytes) else {
            panic!("no header");
        };
        assert_eq!(length, bytes.len());
        let endpoints = read.endpoints.unwrap();
        assert_eq!(endpoints.source.to_string(), "192.0.2.7:4711");
        assert_eq!(endpoints.destination.to_string(), "198.51.100.1:993");
        assert_eq!(read.tlv(Tlv::AUTHORITY), Some(&b"mail.example"[..]));
        assert_eq!(read.tlv(Tlv::ALPN), Some(&b"imap"[..]));
        assert!(read.tlv(Tlv::UNIQUE_ID).is_some());
        let ssl = Ssl::parse(read.tlv(Tlv::SSL).unwrap()).unwrap();
        assert_eq!(ssl.version.as_deref(), Some("TLSv1.3"));
        assert_eq!(ssl.cipher.as_deref(), Some("TLS_AES_128_GCM_SHA256"));
        assert_eq!(ssl.group.as_deref(), Some("X25519"));
        assert_eq!((ssl.signature, ssl.client), (None, None));
        // What a client shows, and whether it was now.
        let mut client = client();
        let facts = client.tls.as_mut().unwrap();
        facts.signature = Some(0x0403);
        facts.client = Some(Box::new(ClientCertificate {
            user: None,
            common_name: Some("Anna".into()),
            der: Box::new([0x30, 0]),
        }));
        for resumed in [false, true] {
            client.tls.as_mut().unwrap().resumed = resumed;
            let header = client.announce(&spec).unwrap().header.unwrap();
            let ssl = Ssl::parse(header.tlv(Tlv::SSL).unwrap()).unwrap();
            assert_eq!(ssl.signature.as_deref(), Some("ecdsa_secp256r1_sha256"));
            let shown = ssl.client.unwrap();
            assert_eq!(shown.now, !resumed);
            assert_eq!(shown.common_name.as_deref(), Some("Anna"));
            assert_eq!(shown.certificate.as_deref(), Some(&[0x30, 0][..]));
        }
        // For a client that a server in front has named, what that one showed is not told; how many gates there were is.
        client.gates = 2;
        let visit = Visit {
            client: "192.0.2.8:1".parse().unwrap(),
            local: None,
        };
        let named = client.replaced(visit);
        let header = named.announce(&spec).unwrap().header.unwrap();
        assert_eq!(header.endpoints.unwrap().source, visit.client);
        assert!(header.tlv(Tlv::SSL).is_none() && header.tlv(Tlv::AUTHORITY).is_none());
        assert_eq!(header.gates(), 3);
        // A certificate that is very long is left out, and everything else is told.
        let der = vec![0; 9000].into_boxed_slice();
        client.tls.as_mut().unwrap().client.as_mut().unwrap().der = der;
        let header = client.announce(&spec).unwrap().header.unwrap();
        let ssl = Ssl::parse(header.tlv(Tlv::SSL).unwrap()).unwrap();
        assert_eq!(ssl.client.unwrap().certificate, None);
    }

    // [PROXY-06]
    #[test]
    fn version_1_is_a_line_and_a_check_speaks_for_itself() {
        let spec = Spec::parse("imap://127.0.0.1?proxy=v1").unwrap();
        let header = client().announce(&spec).unwrap().header.unwrap();
        assert_eq!(
            encode_v1(&header),
            b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 993\r\n"
        );
        assert_eq!(announce_check(&spec).unwrap().header, None);
        let second = Spec::parse("imap://127.0.0.1?proxy=v2").unwrap();
        let header = announce_check(&second).unwrap().header;
        assert_eq!(header, Some(Header::local()));
        let none = Spec::parse("imap://127.0.0.1").unwrap();
        assert!(client().announce(&none).is_none() && announce_check(&none).is_none());
    }

    #[test]
    fn gates_are_counted_and_a_circle_ends() {
        let spec = Spec::parse("imap://127.0.0.1?proxy=v2").unwrap();
        let mut client = client();
        for before in 0..GATES {
            assert!(!client.circles(), "{before}");
            let header = client.announce(&spec).unwrap().header.unwrap();
            let Progress::Complete(read, _) = parse(&encode_v2(&header).unwrap()) else {
                panic!("no header");
            };
            assert_eq!(read.gates(), before + 1);
            client = Client::behind(client.address, client.local, read.gates());
        }
        assert!(client.circles());
        assert!(client.pop3_xclient().ends_with("TTL=0"));
        // Somebody else's information of this type is no number of gates.
        let mut header = Header::local();
        header.tlvs = vec![Tlv::new(Tlv::GATES, *b"xx\x09")];
        assert_eq!(header.gates(), 0);
    }

    // [XCL-03]
    #[test]
    fn ids_name_the_client_and_how_far_it_may_go() {
        let id = client().imap_id();
        assert!(id.starts_with("ID (\"x-session-id\" \"gp"));
        assert!(id.contains("\"x-originating-ip\" \"192.0.2.7\" \"x-originating-port\" \"4711\" \"x-proxy-ttl\" \"5\""));
        let line = client().pop3_xclient();
        assert!(
            line.starts_with("XCLIENT ADDR=192.0.2.7 PORT=4711 SESSION=gp")
                && line.ends_with("TTL=5")
        );
    }
}
