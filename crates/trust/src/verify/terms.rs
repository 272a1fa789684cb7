//! Everything that is decided about a connection before it is made [ID-01].

use std::sync::Arc;

use rustls::sign::CertifiedKey;

use super::crl::Crls;
use super::reference::{HostName, Reference};
use super::roots::Roots;
use super::verdict::VerifiedBy;
use crate::pin::{PinSet, TrustException};
use crate::tlsa::TlsaSet;

/// What the handshake must bring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Demand {
    /// A verified peer, or the handshake fails.
    Verified,
    /// Encryption; the verdict is noted and may be bad (RFC 7435).
    Encrypted,
}

/// One way to know the peer.
#[derive(Debug, Clone)]
pub enum Way {
    /// A trusted authority vouches for one of the references.
    Pkix,
    /// The same, where the domain's policy (RFC 8461) has named the host.
    MtaSts,
    /// TLSA records, secure in DNS.
    Dane(Arc<TlsaSet>),
    /// Pins alone: the user knows the key and asks nobody else.
    Pin(PinSet),
}

impl Way {
    /// What the peer is verified by, if this way succeeds.
    pub const fn by(&self) -> VerifiedBy {
        match self {
            Self::Pkix => VerifiedBy::Pkix,
            Self::MtaSts => VerifiedBy::MtaSts,
            Self::Dane(_) => VerifiedBy::Dane,
            Self::Pin(_) => VerifiedBy::Pin,
        }
    }
}

/// Which ways suffice.
#[derive(Debug, Clone)]
pub enum Ways {
    /// Each alone; they are tried in this order.
    Any(Vec<Way>),
    /// All together; the first gives its name to the outcome.
    All(Vec<Way>),
}

/// How much the status of revocation counts [REV-02].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RevocationMode {
    /// Lists are not looked at. What the server staples is judged all the same.
    Off,
    /// A revoked certificate is refused; one of unknown status is taken.
    Soft,
    /// A certificate of unknown status is refused too.
    Hard,
}

impl RevocationMode {
    /// A stable word for reports [REV-01].
    pub const fn label(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Soft => "soft",
            Self::Hard => "hard",
        }
    }

    /// What it does, in a few words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Off => "lists are not looked at, a stapled answer is",
            Self::Soft => "lists and the stapled answer; unknown is taken",
            Self::Hard => "lists and the stapled answer; unknown is refused",
        }
    }
}

/// Versions of TLS that may be spoken. No other is offered, so none can be negotiated [SMTP-STARTTLS-12].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Versions {
    /// TLS 1.3 and 1.2.
    Both,
    /// TLS 1.3 only.
    Only13,
    /// TLS 1.2 only.
    Only12,
}

/// The application protocol named in the handshake [TLS-ALPN-02].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Alpn {
    /// None: SMTP, for which no name is registered.
    None,
    /// `imap`.
    Imap,
    /// `pop3`.
    Pop3,
    /// `managesieve`.
    ManageSieve,
    /// `http/1.1`.
    Http,
}

impl Alpn {
    pub(crate) const fn id(self) -> Option<&'static [u8]> {
        match self {
            Self::None => None,
            Self::Imap => Some(b"imap"),
            Self::Pop3 => Some(b"pop3"),
            Self::ManageSieve => Some(b"managesieve"),
            Self::Http => Some(b"http/1.1"),
        }
    }
}

/// Everything decided before connecting.
#[derive(Debug, Clone)]
pub struct Terms {
    /// The names the peer may have; one suffices.
    pub references: Vec<Reference>,
    /// The name sent as SNI; none sends none [TLS-SNI-01].
    pub sni: Option<HostName>,
    /// What the handshake must bring.
    pub demand: Demand,
    /// How the peer may be known.
    pub ways: Ways,
    /// Trusted authorities, for [`Way::Pkix`] and [`Way::MtaSts`].
    pub roots: Arc<Roots>,
    /// Pins that must match besides [PIN-02] [CONF-12].
    pub pins: Option<PinSet>,
    /// The user's exception for one certificate: lets the connection go on, never verifies [PIN-01] [CONF-12].
    pub exception: Option<TrustException>,
    /// How much revocation counts.
    pub revocation: RevocationMode,
    /// Lists of revoked certificates at hand.
    pub crls: Crls,
    /// Versions that may be spoken.
    pub versions: Versions,
    /// The application protocol.
    pub alpn: Alpn,
    /// A certificate of our own, shown when the peer asks for one.
    pub client: Option<Arc<CertifiedKey>>,
}

impl Terms {
    /// The terms for a host the user named: verified by a trusted authority under exactly this name.
    pub fn for_host(host: Reference, roots: Arc<Roots>) -> Self {
        let sni = match &host {
            Reference::Dns(name) | Reference::Srv { domain: name, .. } => Some(name.clone()),
            Reference::Ip(_) => None,
        };
        Self {
            references: vec![host],
            sni,
            demand: Demand::Verified,
            ways: Ways::Any(vec![Way::Pkix]),
            roots,
            pins: None,
            exception: None,
            revocation: RevocationMode::Soft,
            crls: Crls::none(),
            versions: Versions::Both,
            alpn: Alpn::None,
            client: None,
        }
    }
}
