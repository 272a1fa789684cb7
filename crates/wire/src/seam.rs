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

use std::fmt;

/// The content type of a TLS handshake record (RFC 9846 5.1).
pub const TLS_HANDSHAKE_RECORD: u8 = 0x16;

/// Bytes that had been read from the clear connection, but not understood, when the upgrade was accepted.
///
/// A client may send its `ClientHello` directly behind STARTTLS; nothing else may stand here.
#[must_use = "leftover bytes belong to the TLS handshake, or the connection must be closed"]
pub struct Leftover(Vec<u8>);

/// Clear-text bytes stood behind STARTTLS that are not the start of a TLS handshake: somebody tried to inject commands.
/// The connection must be closed without a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Injection {
    /// How many bytes there were. Never what they said.
    pub octets: usize,
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
            }),
        }
    }
}

impl fmt::Debug for Leftover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Leftover({} octets)", self.0.len())
    }
}

/// The version of TLS negotiated. Older ones are never spoken [TLS-VER-01].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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
    /// The cipher suite by its IANA name, such as `TLS_AES_128_GCM_SHA256`.
    pub suite: &'static str,
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
            .finish_non_exhaustive()
    }
}

/// Proof that TLS is up. Made only from the facts of a completed handshake.
#[derive(Debug, Clone)]
pub struct Encrypted(Box<TlsFacts>);

impl Encrypted {
    /// Only [`crate::session::Fresh::secured`] calls this.
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
    /// Leave to read credentials, if there is any.
    pub fn may_read_credentials(&self) -> Option<MayReadCredentials<'_>> {
        match self {
            Self::Clear(exception) => exception.map(MayReadCredentials::Clear),
            Self::Encrypted(proof) => Some(MayReadCredentials::Encrypted(proof)),
        }
    }

    /// The proof that TLS is up, if it is.
    pub fn encrypted(&self) -> Option<&Encrypted> {
        match self {
            Self::Clear(_) => None,
            Self::Encrypted(proof) => Some(proof),
        }
    }

    /// Whether TLS is up.
    pub fn is_encrypted(&self) -> bool {
        self.encrypted().is_some()
    }
}

impl MayReadCredentials<'_> {
    /// Values for channel binding; none in clear.
    pub fn bindings(&self) -> Option<&ChannelBindings> {
        match self {
            Self::Encrypted(proof) => proof.facts().bindings.as_deref(),
            Self::Clear(_) => None,
        }
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
            Err(Injection { octets: 6 })
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
}
