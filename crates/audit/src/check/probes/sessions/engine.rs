//! A handshake by the engine, octet by octet, and its keys afterwards.
//!
//! Records are given to the engine one at a time, so that nothing behind the handshake is swallowed by it. Of the handshake in clear the messages
//! are noted: a second handshake has to prove that it knows the first one's end (RFC 5746 3.5).

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime};

use gatepost_net::client::LegFailure;
use gatepost_trust::verify::{ClientTls, Shares, Versions};
use gatepost_wire::tls::{Piece, TlsStream};
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::cipher::{
    AeadKey, InboundOpaqueMessage, Iv, MessageDecrypter, MessageEncrypter, OutboundChunks,
    OutboundPlainMessage,
};
use rustls::{
    AlertDescription, ClientConfig, ClientConnection, ConnectionTrafficSecrets, ContentType,
    DigitallySignedStruct, Error, KeyLog, ProtocolVersion, SignatureScheme, SupportedCipherSuite,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::{Why, cbc};
use crate::check::probes::Errand;
use crate::check::talk::{Talk, is_tls};

/// The most octets of one record with its header.
const LONGEST: usize = 5 + (1 << 14) + 2048;
/// The label under which the engine tells the master secret of TLS 1.2 (the key log's words).
const MASTER: &str = "CLIENT_RANDOM";

/// How to shake hands.
#[derive(Clone)]
pub(in crate::check::probes) struct Way {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    secret: Arc<Secret>,
}

/// Keeps the master secret of the one handshake it is for.
#[derive(Default)]
struct Secret(Mutex<Vec<u8>>);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl KeyLog for Secret {
    fn log(&self, label: &str, _: &[u8], secret: &[u8]) {
        if label == MASTER {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = secret.to_vec();
        }
    }

    fn will_log(&self, label: &str) -> bool {
        label == MASTER
    }
}

impl Way {
    /// For these versions. Nothing is demanded of the server. Tickets are asked for, and kept as long as this lives.
    pub(in crate::check::probes) fn new(errand: &Errand, versions: Versions) -> Result<Self, Why> {
        let mut terms = errand.terms();
        terms.versions = versions;
        let attempt = ClientTls::new(terms).attempt(SystemTime::now(), Shares::Classic);
        let attempt =
            attempt.map_err(|_| Why::Unknown("the engine cannot be set up".to_owned()))?;
        Ok(Self::of(ClientConfig::clone(&attempt.config), attempt.name))
    }

    /// For TLS 1.2 with the suites of [`cbc`] alone.
    pub(in crate::check::probes) fn with_cbc(errand: &Errand) -> Result<Self, Why> {
        let Self { config, name, .. } = Self::new(errand, Versions::Only12)?;
        let mut alone = ClientConfig::builder_with_provider(cbc::provider())
            .with_protocol_versions(&[&rustls::version::TLS12])
            .map_err(|error| Why::Unknown(error.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody))
            .with_no_client_auth();
        alone.alpn_protocols.clone_from(&config.alpn_protocols);
        alone.enable_sni = config.enable_sni;
        Ok(Self::of(alone, name))
    }

    fn of(mut config: ClientConfig, name: ServerName<'static>) -> Self {
        let secret = Arc::new(Secret::default());
        // Whether that is there is another check's.
        config.require_ems = false;
        config.enable_secret_extraction = true;
        config.key_log = Arc::clone(&secret) as Arc<dyn KeyLog>;
        config.resumption = Resumption::in_memory_sessions(4);
        Self {
            config: Arc::new(config),
            name,
            secret,
        }
    }
}

/// Takes whatever certificate is shown: who it is, is another check's, and nothing is confided to the connection.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        cbc::provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// A connection whose handshake is done.
pub(in crate::check::probes) struct Shaken {
    pub(in crate::check::probes) talk: Talk,
    pub(in crate::check::probes) tls: ClientConnection,
    /// Octets behind the handshake that the engine has not seen.
    pub(in crate::check::probes) rest: Vec<u8>,
    /// Messages of the handshake in clear, of both sides, up to our change of keys.
    pub(in crate::check::probes) messages: Vec<u8>,
    /// The lifetime of a ticket that came in clear (TLS 1.2).
    pub(in crate::check::probes) lifetime: Option<u32>,
    master: Vec<u8>,
}

/// What is noted of the handshake.
struct Notes {
    stream: TlsStream,
    messages: Vec<u8>,
    has_changed: bool,
    lifetime: Option<u32>,
}

impl Notes {
    fn sent(&mut self, mut octets: &[u8]) {
        while let Some((record, rest)) = split(octets) {
            self.note(record);
            octets = rest;
        }
    }

    fn heard(&mut self, record: &[u8]) {
        if !self.has_changed {
            self.note(record);
        }
        self.stream.push(record);
        while let Some(piece) = self.stream.next() {
            if let Piece::Ticket { lifetime } = piece {
                self.lifetime = Some(lifetime);
            }
        }
    }

    fn note(&mut self, record: &[u8]) {
        match record.first() {
            Some(20) => self.has_changed = true,
            Some(22) if !self.has_changed => {
                self.messages
                    .extend_from_slice(record.get(5..).unwrap_or_default());
            }
            _ => {}
        }
    }
}

/// The first record, and what stands behind it. None when it is not whole.
fn split(octets: &[u8]) -> Option<(&[u8], &[u8])> {
    let &[_, _, _, high, low] = octets.first_chunk::<5>()?;
    octets.split_at_checked(5 + usize::from(u16::from_be_bytes([high, low])))
}

/// Takes the next record out of `rest`, reading more as it must.
pub(in crate::check::probes) async fn next_record(
    talk: &mut Talk,
    rest: &mut Vec<u8>,
    until: Instant,
) -> Result<Vec<u8>, LegFailure> {
    loop {
        if let Some((record, _)) = split(rest) {
            let length = record.len();
            return Ok(rest.drain(..length).collect());
        }
        if rest.len() > LONGEST || (!rest.is_empty() && !is_tls(rest) && rest.len() > 1) {
            return Err(LegFailure::Broken);
        }
        talk.probe.read(until).await?;
        rest.append(talk.probe.received());
    }
}

/// Shakes hands on a new connection.
pub(in crate::check::probes) async fn shake(errand: &Errand, way: &Way) -> Result<Shaken, Why> {
    let mut talk = errand.begin_tls().await?;
    let mut tls = ClientConnection::new(Arc::clone(&way.config), way.name.clone())
        .map_err(|error| Why::Unknown(error.to_string()))?;
    let mut notes = Notes {
        stream: TlsStream::default(),
        messages: Vec::new(),
        has_changed: false,
        lifetime: None,
    };
    let mut rest = Vec::new();
    let until = Instant::now() + errand.patience;
    loop {
        let out = output(&mut tls);
        notes.sent(&out);
        if !out.is_empty() && talk.probe.write(&out, errand.patience).await.is_err() {
            return Err(Why::Unknown("closed in the handshake".to_owned()));
        }
        if !tls.is_handshaking() {
            break;
        }
        let record = next_record(&mut talk, &mut rest, until)
            .await
            .map_err(|_| Why::Unknown("closed or silent in the handshake".to_owned()))?;
        notes.heard(&record);
        take(&mut tls, &record).map_err(|error| why(&error))?;
    }
    let master = std::mem::take(&mut *way.secret.0.lock().unwrap_or_else(PoisonError::into_inner));
    Ok(Shaken {
        talk,
        tls,
        rest,
        messages: notes.messages,
        lifetime: notes.lifetime,
        master,
    })
}

/// What the engine has to say.
pub(in crate::check::probes) fn output(tls: &mut ClientConnection) -> Vec<u8> {
    let mut out = Vec::new();
    // Writing to a Vec cannot fail; zero octets are the end.
    while tls.wants_write() && tls.write_tls(&mut out).is_ok_and(|it| it > 0) {}
    out
}

/// Gives the engine one record.
pub(in crate::check::probes) fn take(
    tls: &mut ClientConnection,
    mut record: &[u8],
) -> Result<(), Error> {
    while !record.is_empty() {
        if tls.read_tls(&mut record).is_err() {
            return Err(Error::General("too much at once".to_owned()));
        }
        tls.process_new_packets()?;
    }
    Ok(())
}

fn why(error: &Error) -> Why {
    match error {
        // No common version: said by the server, or seen in its hello.
        Error::AlertReceived(AlertDescription::ProtocolVersion) | Error::PeerIncompatible(_) => {
            Why::NotSpoken(error.to_string())
        }
        Error::AlertReceived(AlertDescription::HandshakeFailure) => Why::Refused(error.to_string()),
        other => Why::Unknown(other.to_string()),
    }
}

/// The keys of a connection, and whose turn it is.
pub(in crate::check::probes) struct Keys {
    sealer: Box<dyn MessageEncrypter>,
    opener: Box<dyn MessageDecrypter>,
    sent: u64,
    heard: u64,
}

/// A connection that is read and written record by record.
pub(in crate::check::probes) struct Opened {
    pub(in crate::check::probes) talk: Talk,
    keys: Keys,
    rest: Vec<u8>,
}

impl Shaken {
    /// What our Finished said (RFC 5246 7.4.9): what a second handshake must repeat. None in TLS 1.3.
    pub(in crate::check::probes) fn finished(&self) -> Option<[u8; 12]> {
        let Some(SupportedCipherSuite::Tls12(suite)) = self.tls.negotiated_cipher_suite() else {
            return None;
        };
        let hash = suite.common.hash_provider.hash(&self.messages);
        let mut out = [0; 12];
        let label = b"client finished";
        suite
            .prf_provider
            .for_secret(&mut out, &self.master, label, hash.as_ref());
        Some(out)
    }

    /// So many octets of the block keys are cut from (RFC 5246 6.3). None in TLS 1.3.
    pub(in crate::check::probes) fn key_block(&self, length: usize) -> Option<Vec<u8>> {
        let Some(SupportedCipherSuite::Tls12(suite)) = self.tls.negotiated_cipher_suite() else {
            return None;
        };
        // Type, length and version stand before the random of either hello.
        let client = self.messages.get(6..38)?;
        let &[_, a, b, c] = self.messages.first_chunk::<4>()?;
        let hello = usize::try_from(u32::from_be_bytes([0, a, b, c])).ok()?;
        let server = self.messages.get(4 + hello..)?.get(6..38)?;
        let seed = [server, client].concat();
        let mut block = vec![0; length];
        let label = b"key expansion";
        suite
            .prf_provider
            .for_secret(&mut block, &self.master, label, &seed);
        Some(block)
    }

    /// Takes the keys out of the engine.
    pub(in crate::check::probes) fn open(self) -> Result<Opened, Why> {
        let suite = self.tls.negotiated_cipher_suite();
        let secrets = self.tls.dangerous_extract_secrets();
        let none = || Why::Unknown("the engine keeps its keys".to_owned());
        let (Some(suite), Ok(secrets)) = (suite, secrets) else {
            return Err(none());
        };
        let (sent, tx) = secrets.tx;
        let (heard, rx) = secrets.rx;
        let (to_seal, to_open) = (pair(tx).ok_or_else(none)?, pair(rx).ok_or_else(none)?);
        let (sealer, opener) = match suite {
            SupportedCipherSuite::Tls13(suite) => (
                suite.aead_alg.encrypter(to_seal.0, to_seal.1),
                suite.aead_alg.decrypter(to_open.0, to_open.1),
            ),
            SupportedCipherSuite::Tls12(suite) => {
                let fixed = suite.aead_alg.key_block_shape().fixed_iv_len;
                let cut = |iv: &Iv| {
                    let (fixed, extra) = iv.as_ref().split_at_checked(fixed)?;
                    Some((fixed.to_vec(), extra.to_vec()))
                };
                let (seal, extra) = cut(&to_seal.1).ok_or_else(none)?;
                let (open, _) = cut(&to_open.1).ok_or_else(none)?;
                (
                    suite.aead_alg.encrypter(to_seal.0, &seal, &extra),
                    suite.aead_alg.decrypter(to_open.0, &open),
                )
            }
        };
        Ok(Opened {
            talk: self.talk,
            keys: Keys {
                sealer,
                opener,
                sent,
                heard,
            },
            rest: self.rest,
        })
    }
}

fn pair(secrets: ConnectionTrafficSecrets) -> Option<(AeadKey, Iv)> {
    match secrets {
        ConnectionTrafficSecrets::Aes128Gcm { key, iv }
        | ConnectionTrafficSecrets::Aes256Gcm { key, iv }
        | ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => Some((key, iv)),
        _ => None,
    }
}

impl Opened {
    /// A record of ours, encrypted. None when the engine does not want to any more.
    pub(in crate::check::probes) fn seal(&mut self, kind: u8, payload: &[u8]) -> Option<Vec<u8>> {
        let message = OutboundPlainMessage {
            typ: ContentType::from(kind),
            version: ProtocolVersion::TLSv1_2,
            payload: OutboundChunks::Single(payload),
        };
        let sealed = self.keys.sealer.encrypt(message, self.keys.sent).ok()?;
        self.keys.sent += 1;
        Some(sealed.encode())
    }

    /// The next record of the server, decrypted: its kind and content.
    pub(in crate::check::probes) async fn next(
        &mut self,
        until: Instant,
    ) -> Result<(u8, Vec<u8>), LegFailure> {
        loop {
            let mut record = next_record(&mut self.talk, &mut self.rest, until).await?;
            let kind = record.first().copied().unwrap_or_default();
            let payload = record.get_mut(5..).unwrap_or_default();
            // The change of keys of TLS 1.3, which means nothing.
            if kind == 20 {
                continue;
            }
            let message = InboundOpaqueMessage::new(
                ContentType::from(kind),
                ProtocolVersion::TLSv1_2,
                payload,
            );
            let plain = self.keys.opener.decrypt(message, self.keys.heard);
            let plain = plain.map_err(|_| LegFailure::Broken)?;
            self.keys.heard += 1;
            return Ok((u8::from(plain.typ), plain.payload.to_vec()));
        }
    }
}
