//! The seam: what becomes of bytes already read when the upgrade to TLS is accepted, and the proof that TLS is up.
//!
//! RFC 3207 4.2, RFC 9051 6.2.1 and RFC 2595 4 want everything said before TLS forgotten. Where a program keeps socket,
//! buffer and peer state as three fields and upgrades by swapping one of them, bytes injected by someone on the path before
//! the handshake are taken for the peer's words after it (CVE-2011-0411, CVE-2021-33515, and many since). Here that cannot
//! be written:
//!
//! ```text
//!   Session ──upgrade(self)──▶ Fresh      configuration and counters ──secured(facts)──▶ Session
//!                         └──▶ Leftover   bytes read but not understood ──into_handshake()──▶ TLS engine, or the end
//! ```
//!
//! - `upgrade` consumes the session: its buffer, the peer's name, transaction and capabilities go with it.
//! - A [`Leftover`] has one way on: into the handshake. Bytes that are not TLS end the connection [CONF-03].
//! - [`Encrypted`] is made only from [`TlsFacts`]; code that reads credentials asks for it, or for the named exception
//!   [`ClearLogin`] from the configuration.
//!
//! A client's session is given up in the same way, with two differences. Nothing at all may be left over, not even what looks
//! like TLS, for in TLS the server never speaks first: [`Leftover::into_client_handshake`]. And to write a credential takes
//! more than encryption: [`MaySendCredentials`] wants to know by what the peer was verified, or a named exception.

use std::borrow::Cow;
use std::fmt;

use sha2::{Digest as _, Sha256};

/// The content type of a TLS handshake record (RFC 9846 5.1).
pub const TLS_HANDSHAKE_RECORD: u8 = 0x16;

/// Bytes that had been read from the clear connection, but not understood, when the upgrade was accepted.
///
/// A client may send its `ClientHello` directly behind STARTTLS; nothing else may stand here.
#[must_use = "leftover bytes belong to the TLS handshake, or the connection must be closed"]
pub struct Leftover(Vec<u8>);

/// Clear-text bytes stood where only a TLS handshake may: behind STARTTLS (commands injected into a server), or behind the
/// reply to it (replies injected into a client). The connection must be closed without a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Injection {
    /// How many bytes there were. Never what they said.
    pub octets: usize,
    /// Their SHA-256, so that two reports can be compared. Only a client keeps it: what a server was sent may be a password,
    /// and short passwords can be guessed from their hash.
    pub sha256: Option<[u8; 32]>,
}

impl Leftover {
    /// Wraps what a session had buffered. Only for implementations of [`crate::session::Machine::upgrade`].
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// The only way on: the bytes for the TLS engine. They may be none.
    ///
    /// [SMTP-STARTTLS-19] [IMAP-TLS-05] [POP-TLS-05]: nothing said in clear survives the upgrade.
    ///
    /// # Errors
    /// [`Injection`] when the first byte is not that of a TLS handshake record.
    pub fn into_handshake(self) -> Result<Vec<u8>, Injection> {
        match self.0.first() {
            None | Some(&TLS_HANDSHAKE_RECORD) => Ok(self.0),
            Some(_) => Err(Injection {
                octets: self.0.len(),
                sha256: None,
            }),
        }
    }

    /// The only way on for a client: there must be nothing.
    ///
    /// [SMTP-STARTTLS-20] [IMAP-TLS-07] [POP-TLS-03]: what stands behind the reply to STARTTLS was put there by someone on the
    /// path, for the server is waiting for our `ClientHello`.
    ///
    /// # Errors
    /// [`Injection`] when there is a single byte, even that of a TLS record.
    pub fn into_client_handshake(self) -> Result<(), Injection> {
        if self.0.is_empty() {
            return Ok(());
        }
        Err(Injection {
            octets: self.0.len(),
            sha256: Some(Sha256::digest(&self.0).into()),
        })
    }
}

impl fmt::Debug for Leftover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Leftover({} octets)", self.0.len())
    }
}

/// The version of TLS negotiated. Older ones are never spoken [TLS-VER-01].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TlsVersion {
    /// TLS 1.2 (RFC 5246).
    Tls12,
    /// TLS 1.3 (RFC 9846).
    Tls13,
}

impl TlsVersion {
    /// `TLSv1.2` or `TLSv1.3`.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Tls12 => "TLSv1.2",
            Self::Tls13 => "TLSv1.3",
        }
    }
}

/// What was negotiated, as the TLS engine reported it when the handshake was complete.
#[derive(Clone, PartialEq, Eq)]
pub struct TlsFacts {
    /// The protocol version.
    pub version: TlsVersion,
    /// The cipher suite by its IANA name, such as `TLS_AES_128_GCM_SHA256`; one without a name as `0xHHHH`.
    pub suite: Cow<'static, str>,
    /// The key exchange group by its IANA name, such as `X25519MLKEM768`; none when a TLS 1.2 session was resumed.
    pub group: Option<&'static str>,
    /// The server name the client asked for (RFC 6066 3), in lower case.
    pub sni: Option<Box<str>>,
    /// The application protocol negotiated (RFC 7301).
    pub alpn: Option<Box<str>>,
    /// Whether the session was resumed.
    pub resumed: bool,
    /// Values for SASL channel binding, where the service offers mechanisms that use them.
    pub bindings: Option<Box<ChannelBindings>>,
    /// By what the peer is known to be who it should be. None: encrypted, but to whom is not known. A server's sessions have
    /// none unless they verified a client certificate.
    pub verified: Option<VerifiedBy>,
    /// In a server's session: the verified certificate of the client.
    pub client: Option<Box<ClientCertificate>>,
    /// In a server's session: the number of the scheme by which the server signed (IANA `SignatureScheme`); none when resumed.
    pub signature: Option<u16>,
}

/// A client's certificate, verified.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct ClientCertificate {
    /// The name it gives to its user, if it gives one [SASL-EXT-01].
    pub user: Option<Box<str>>,
    /// Its common name: told on, never judged by.
    pub common_name: Option<Box<str>>,
    /// The certificate (DER).
    pub der: Box<[u8]>,
}

/// What proved that the peer is the one meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum VerifiedBy {
    /// A chain to a trusted authority and a name that matches (RFC 5280, RFC 9525).
    Pkix,
    /// A TLSA record signed by DNSSEC (RFC 6698, RFC 7672, RFC 7673).
    Dane,
    /// [`VerifiedBy::Pkix`], for an MX host that the domain's policy lists (RFC 8461).
    MtaSts,
    /// A pin the user set.
    Pin,
}

impl VerifiedBy {
    /// A stable word in lower case for logs, metrics and reports.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Pkix => "pkix",
            Self::Dane => "dane",
            Self::MtaSts => "mta-sts",
            Self::Pin => "pin",
        }
    }
}

/// Values that tie a SASL exchange to this TLS connection (RFC 5056).
#[derive(Clone, PartialEq, Eq)]
pub struct ChannelBindings {
    /// `tls-exporter` (RFC 9266): 32 octets, label `EXPORTER-Channel-Binding`, empty context [SASL-CB-01].
    pub exporter: [u8; 32],
    /// `tls-server-end-point` (RFC 5929 4): the hash of the server's certificate.
    pub server_end_point: Box<[u8]>,
}

impl fmt::Debug for TlsFacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The channel bindings are left out: they help to impersonate the connection.
        f.debug_struct("TlsFacts")
            .field("version", &self.version)
            .field("suite", &self.suite)
            .field("group", &self.group)
            .field("sni", &self.sni)
            .field("alpn", &self.alpn)
            .field("resumed", &self.resumed)
            .field("verified", &self.verified)
            .finish_non_exhaustive()
    }
}

/// Proof that TLS is up. Made only from the facts of a completed handshake.
#[derive(Debug, Clone)]
pub struct Encrypted(Box<TlsFacts>);

impl Encrypted {
    /// Only [`crate::session::Fresh::secured`] calls this, and [`Channel::handed_on`] for a channel that was made so.
    pub(crate) fn new(facts: TlsFacts) -> Self {
        Self(Box::new(facts))
    }

    /// What was negotiated.
    pub fn facts(&self) -> &TlsFacts {
        &self.0
    }
}

/// The named exception: the configuration allows logins in clear on this connection (loopback, or a listed network).
///
/// The default configuration never makes one. [SMTP-AUTH-01]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClearLogin {
    _made_by_name: (),
}

impl ClearLogin {
    /// Weakens the session: credentials may be read without TLS. The caller has checked that the configuration says so for
    /// exactly this client address.
    pub const fn danger_allowed_by_configuration() -> Self {
        Self { _made_by_name: () }
    }
}

/// How the session's words travel.
#[derive(Debug, Clone)]
pub enum Channel {
    /// In clear. Credentials are read only with the exception.
    Clear(Option<ClearLogin>),
    /// Inside TLS.
    Encrypted(Encrypted),
    /// Inside TLS older than this side works with: encrypted, and good for a farewell only [SMTP-STARTTLS-14]. There is never
    /// leave to read credentials, nor to send any, whatever else the configuration allows.
    BelowFloor(Encrypted),
}

/// Leave to read credentials: a proof of TLS, or the exception. Functions that parse passwords take one.
#[derive(Debug, Clone, Copy)]
pub enum MayReadCredentials<'a> {
    /// TLS is up.
    Encrypted(&'a Encrypted),
    /// The configuration's exception.
    Clear(ClearLogin),
}

impl Channel {
    /// The channel of a completed handshake, held against the oldest version this side works with [SMTP-STARTTLS-12].
    pub(crate) fn secured(facts: TlsFacts, least: TlsVersion) -> Self {
        let suffices = facts.version >= least;
        let proof = Encrypted::new(facts);
        if suffices {
            Self::Encrypted(proof)
        } else {
            Self::BelowFloor(proof)
        }
    }

    /// Leave to read credentials, if there is any.
    pub fn may_read_credentials(&self) -> Option<MayReadCredentials<'_>> {
        match self {
            Self::Clear(exception) => exception.map(MayReadCredentials::Clear),
            Self::Encrypted(proof) => Some(MayReadCredentials::Encrypted(proof)),
            Self::BelowFloor(_) => None,
        }
    }

    /// The proof that TLS is up, if it is.
    pub fn encrypted(&self) -> Option<&Encrypted> {
        match self {
            Self::Clear(_) => None,
            Self::Encrypted(proof) | Self::BelowFloor(proof) => Some(proof),
        }
    }

    /// The same channel for somebody else than who opened it, for whom a server in front speaks from now on [XCL-02]. Encrypted it
    /// still is. What was proved, asked for or allowed by who opened it is theirs: the exception for logins in clear, a certificate, the
    /// server name, and what a login could be bound to.
    pub(crate) fn handed_on(self) -> Self {
        let stripped = |proof: Encrypted| {
            Encrypted::new(TlsFacts {
                client: None,
                verified: None,
                sni: None,
                bindings: None,
                ..*proof.0
            })
        };
        match self {
            Self::Clear(_) => Self::Clear(None),
            Self::Encrypted(proof) => Self::Encrypted(stripped(proof)),
            Self::BelowFloor(proof) => Self::BelowFloor(stripped(proof)),
        }
    }

    /// Whether TLS is up, and not good enough.
    pub fn is_below_floor(&self) -> bool {
        matches!(self, Self::BelowFloor(_))
    }

    /// Whether TLS is up.
    pub fn is_encrypted(&self) -> bool {
        self.encrypted().is_some()
    }
}

impl MayReadCredentials<'_> {
    /// Whether TLS is around them.
    pub fn is_encrypted(&self) -> bool {
        matches!(self, Self::Encrypted(_))
    }

    /// The server name that the client asked for; none in clear, or where it asked for none.
    pub fn sni(&self) -> Option<&str> {
        match self {
            Self::Encrypted(proof) => proof.facts().sni.as_deref(),
            Self::Clear(_) => None,
        }
    }

    /// The name that a verified client certificate gives to its user; none in clear.
    pub fn client(&self) -> Option<&str> {
        match self {
            Self::Encrypted(proof) => proof.facts().client.as_ref()?.user.as_deref(),
            Self::Clear(_) => None,
        }
    }

    /// Values for channel binding; none in clear.
    pub fn bindings(&self) -> Option<&ChannelBindings> {
        match self {
            Self::Encrypted(proof) => proof.facts().bindings.as_deref(),
            Self::Clear(_) => None,
        }
    }
}

/// The named exceptions for a client: credentials may go to a peer that nothing verified. Never made by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnverifiedLogin {
    in_clear: bool,
}

impl UnverifiedLogin {
    /// Weakens the session: credentials may be sent inside TLS to a peer that is not verified. For a user who asked for exactly
    /// that.
    pub const fn danger_unverified_peer() -> Self {
        Self { in_clear: false }
    }

    /// Weakens the session: credentials may be sent without TLS. For a loopback address or a Unix socket, or a user who asked
    /// for exactly that.
    pub const fn danger_in_clear() -> Self {
        Self { in_clear: true }
    }
}

/// Leave to write credentials. Functions that put a password or a token on the wire take one.
///
/// [MUA-02] [MUA-05] [SMTP-AUTH-11] [IMAP-TLS-10] [IMAP-TLS-15] [POP-TLS-07]: to a verified peer inside TLS, or by a named exception.
#[derive(Debug, Clone, Copy)]
pub struct MaySendCredentials<'a> {
    channel: &'a Channel,
}

impl<'a> MaySendCredentials<'a> {
    /// Leave to send credentials on this channel, if there is any.
    pub fn on(channel: &'a Channel, exception: Option<UnverifiedLogin>) -> Option<Self> {
        let granted = match channel {
            Channel::Clear(_) => exception.is_some_and(|it| it.in_clear),
            Channel::Encrypted(proof) => proof.facts().verified.is_some() || exception.is_some(),
            Channel::BelowFloor(_) => false,
        };
        granted.then_some(Self { channel })
    }

    /// Values for channel binding; none in clear.
    pub fn bindings(&self) -> Option<&'a ChannelBindings> {
        self.channel
            .encrypted()
            .and_then(|proof| proof.facts().bindings.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_handshake_record_goes_on() {
        assert_eq!(Leftover::new(vec![]).into_handshake(), Ok(vec![]));
        assert_eq!(
            Leftover::new(vec![0x16, 3]).into_handshake(),
            Ok(vec![0x16, 3])
        );
        assert_eq!(
            Leftover::new(b"NOOP\r\n".to_vec()).into_handshake(),
            Err(Injection {
                octets: 6,
                sha256: None
            })
        );
        for first in (0..=255).filter(|byte| *byte != TLS_HANDSHAKE_RECORD) {
            assert!(Leftover::new(vec![first]).into_handshake().is_err());
        }
    }

    #[test]
    fn leftover_never_prints_its_bytes() {
        assert_eq!(
            format!("{:?}", Leftover::new(b"PASS x\r\n".to_vec())),
            "Leftover(8 octets)"
        );
    }

    #[test]
    fn a_client_goes_on_only_with_nothing() {
        // [SMTP-STARTTLS-20]
        assert_eq!(Leftover::new(vec![]).into_client_handshake(), Ok(()));
        for first in 0..=255 {
            let injection = Leftover::new(vec![first]).into_client_handshake();
            assert!(
                injection.is_err_and(|it| it.octets == 1 && it.sha256.is_some()),
                "{first}"
            );
        }
    }

    // [SMTP-STARTTLS-12] [SMTP-STARTTLS-14]
    #[test]
    fn below_the_floor_no_credentials_travel_in_either_direction() {
        for (version, least, suffices) in [
            (TlsVersion::Tls12, TlsVersion::Tls12, true),
            (TlsVersion::Tls13, TlsVersion::Tls12, true),
            (TlsVersion::Tls13, TlsVersion::Tls13, true),
            (TlsVersion::Tls12, TlsVersion::Tls13, false),
        ] {
            let channel = Channel::secured(facts(version, Some(VerifiedBy::Pkix)), least);
            assert_eq!(channel.is_below_floor(), !suffices, "{channel:?}");
            assert_eq!(channel.may_read_credentials().is_some(), suffices);
            for exception in [
                None,
                Some(UnverifiedLogin::danger_unverified_peer()),
                Some(UnverifiedLogin::danger_in_clear()),
            ] {
                let leave = MaySendCredentials::on(&channel, exception);
                assert_eq!(leave.is_some(), suffices, "{exception:?}");
            }
            // It is TLS all the same: STARTTLS is over, and the log tells what it was.
            assert!(channel.is_encrypted());
        }
    }

    fn encrypted(verified: Option<VerifiedBy>) -> Channel {
        Channel::Encrypted(Encrypted::new(facts(TlsVersion::Tls13, verified)))
    }

    fn facts(version: TlsVersion, verified: Option<VerifiedBy>) -> TlsFacts {
        TlsFacts {
            client: None,
            signature: None,
            version,
            suite: "TLS_AES_128_GCM_SHA256".into(),
            group: None,
            sni: None,
            alpn: None,
            resumed: false,
            bindings: None,
            verified,
        }
    }

    #[test]
    fn credentials_go_to_a_verified_peer_or_by_a_named_exception() {
        // [MUA-02] [MUA-05]
        let peer = UnverifiedLogin::danger_unverified_peer();
        let clear = UnverifiedLogin::danger_in_clear();
        let cases = [
            (Channel::Clear(None), None, false),
            (Channel::Clear(None), Some(peer), false),
            (Channel::Clear(None), Some(clear), true),
            (
                Channel::Clear(Some(ClearLogin::danger_allowed_by_configuration())),
                None,
                false,
            ),
            (encrypted(None), None, false),
            (encrypted(None), Some(peer), true),
            (encrypted(Some(VerifiedBy::Dane)), None, true),
        ];
        for (channel, exception, granted) in cases {
            assert_eq!(
                MaySendCredentials::on(&channel, exception).is_some(),
                granted,
                "{channel:?} {exception:?}"
            );
        }
    }
}
