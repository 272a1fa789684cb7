//! The suites of TLS 1.2 with CBC, which the engine does not have (RFC 5246 6.2.3.2: MAC, then padding, then encryption): to talk to servers
//! that still take them, and to seal records wrongly on purpose.
//!
//! The engine cuts its keys off one block, first those it calls keys, then those it calls nonces. With CBC the block holds the two MAC keys
//! first and then the two of the cipher (RFC 5246 6.3), so what the engine hands over as key is the MAC's, and as nonce the cipher's.

use std::sync::{Arc, LazyLock};

use aws_lc_rs::cipher::{
    AES_128, AES_256, Algorithm, DecryptingKey, DecryptionContext, EncryptingKey,
    EncryptionContext, UnboundCipherKey,
};
use aws_lc_rs::hmac;
use aws_lc_rs::iv::FixedLength;
use rustls::crypto::cipher::{
    AeadKey, InboundOpaqueMessage, InboundPlainMessage, KeyBlockShape, MessageDecrypter,
    MessageEncrypter, OutboundOpaqueMessage, OutboundPlainMessage, PrefixedPayload,
    Tls12AeadAlgorithm, UnsupportedOperationError,
};
use rustls::crypto::{CryptoProvider, aws_lc_rs as engine};
use rustls::{
    CipherSuite, CipherSuiteCommon, ConnectionTrafficSecrets, Error, SupportedCipherSuite,
    Tls12CipherSuite,
};

/// The block of AES, in octets.
pub(in crate::check::probes) const BLOCK: usize = 16;

/// A cipher with a MAC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::check::probes) struct Kind {
    /// Octets of the MAC and of its key: HMAC with SHA-1 or SHA-256.
    mac: usize,
    /// Octets of the cipher's key.
    key: usize,
}

const AES_128_SHA: Kind = Kind { mac: 20, key: 16 };
const AES_256_SHA: Kind = Kind { mac: 20, key: 32 };
const AES_128_SHA256: Kind = Kind { mac: 32, key: 16 };

/// The suites, and the kind of each.
const SUITES: [(CipherSuite, &Kind); 6] = [
    (
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA,
        &AES_128_SHA,
    ),
    (
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA,
        &AES_128_SHA,
    ),
    (
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA,
        &AES_256_SHA,
    ),
    (
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA,
        &AES_256_SHA,
    ),
    (
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256,
        &AES_128_SHA256,
    ),
    (
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256,
        &AES_128_SHA256,
    ),
];

/// The engine with these suites and no other. They are made once.
pub(in crate::check::probes) fn provider() -> Arc<CryptoProvider> {
    static MADE: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| {
        Arc::new(CryptoProvider {
            cipher_suites: suites(&SUITES.map(|(suite, kind)| (suite, kind as &'static _))),
            ..engine::default_provider()
        })
    });
    Arc::clone(&MADE)
}

/// Suites of the engine's own key exchange with these ciphers.
pub(in crate::check::probes) fn suites(
    wanted: &[(CipherSuite, &'static dyn Tls12AeadAlgorithm)],
) -> Vec<SupportedCipherSuite> {
    let made = wanted.iter().filter_map(|(suite, cipher)| {
        let name = format!("{suite:?}");
        let like = if name.contains("_ECDSA_") {
            engine::cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
        } else {
            engine::cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
        };
        let SupportedCipherSuite::Tls12(like) = like else {
            return None;
        };
        // Made once, and as long here as the program.
        let suite: &'static Tls12CipherSuite = Box::leak(Box::new(Tls12CipherSuite {
            common: CipherSuiteCommon {
                suite: *suite,
                hash_provider: like.common.hash_provider,
                confidentiality_limit: u64::MAX,
            },
            prf_provider: like.prf_provider,
            kx: like.kx,
            sign: like.sign,
            aead_alg: *cipher,
        }));
        Some(SupportedCipherSuite::Tls12(suite))
    });
    made.collect()
}

impl Kind {
    /// Of a suite that was agreed on.
    pub(in crate::check::probes) fn of(suite: CipherSuite) -> Option<Self> {
        let found = SUITES.iter().find(|(it, _)| *it == suite);
        found.map(|(_, kind)| **kind)
    }

    /// The length of the block the client's keys are cut from.
    pub(in crate::check::probes) fn block(self) -> usize {
        2 * (self.mac + self.key)
    }

    /// The client's half of that block.
    pub(in crate::check::probes) fn client(self, block: &[u8]) -> Option<Sealer> {
        let (mac, rest) = block.split_at_checked(self.mac)?;
        let key = rest.get(self.mac..)?.get(..self.key)?;
        Some(Sealer {
            kind: self,
            mac: self.mac_key(mac),
            key: key.to_vec(),
        })
    }

    fn mac_key(self, octets: &[u8]) -> hmac::Key {
        let algorithm = if self.mac == AES_128_SHA256.mac {
            hmac::HMAC_SHA256
        } else {
            hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY
        };
        hmac::Key::new(algorithm, octets)
    }

    fn cipher(self) -> &'static Algorithm {
        if self.key == AES_256_SHA.key {
            &AES_256
        } else {
            &AES_128
        }
    }
}

/// One direction's keys.
#[derive(Debug)]
pub(in crate::check::probes) struct Sealer {
    kind: Kind,
    mac: hmac::Key,
    key: Vec<u8>,
}

impl Sealer {
    /// Octets of the MAC.
    pub(in crate::check::probes) fn mac_length(&self) -> usize {
        self.kind.mac
    }

    /// The MAC of a record (RFC 5246 6.2.3.1).
    pub(in crate::check::probes) fn mac(&self, number: u64, kind: u8, content: &[u8]) -> Vec<u8> {
        let length = u16::try_from(content.len()).unwrap_or(u16::MAX);
        let mut signing = hmac::Context::with_key(&self.mac);
        signing.update(&number.to_be_bytes());
        signing.update(&[kind, 3, 3]);
        signing.update(&length.to_be_bytes());
        signing.update(content);
        signing.sign().as_ref().to_vec()
    }

    /// The payload of a record with these octets, whatever they are: a first vector, and whole blocks behind it. None when they are no whole
    /// blocks.
    pub(in crate::check::probes) fn encrypt(&self, mut octets: Vec<u8>) -> Option<Vec<u8>> {
        let key = UnboundCipherKey::new(self.kind.cipher(), &self.key).ok()?;
        let mut first = [0; BLOCK];
        aws_lc_rs::rand::fill(&mut first).ok()?;
        let context = EncryptionContext::Iv128(FixedLength::from(first));
        let key = EncryptingKey::cbc(key).ok()?;
        key.less_safe_encrypt(&mut octets, context).ok()?;
        Some([&first[..], &octets].concat())
    }

    /// The octets of a record's payload, and how many of them are padding by its last octet, which may be too many.
    pub(in crate::check::probes) fn decrypt(&self, payload: &[u8]) -> Option<(Vec<u8>, usize)> {
        let (first, rest) = payload.split_first_chunk::<BLOCK>()?;
        let mut octets = rest.to_vec();
        let key = UnboundCipherKey::new(self.kind.cipher(), &self.key).ok()?;
        let context = DecryptionContext::Iv128(FixedLength::from(first));
        let key = DecryptingKey::cbc(key).ok()?;
        key.decrypt(&mut octets, context).ok()?;
        let padding = usize::from(*octets.last()?) + 1;
        Some((octets, padding))
    }
}

/// Padding that fills the last block (RFC 5246 6.2.3.2), with one block more where it would have fewer octets than `least`.
pub(in crate::check::probes) fn padding(length: usize, least: usize) -> Vec<u8> {
    let mut count = BLOCK - length % BLOCK;
    if count < least {
        count += BLOCK;
    }
    vec![u8::try_from(count - 1).unwrap_or_default(); count]
}

impl Tls12AeadAlgorithm for Kind {
    fn encrypter(&self, key: AeadKey, iv: &[u8], _: &[u8]) -> Box<dyn MessageEncrypter> {
        Box::new(self.sealer(&key, iv))
    }

    fn decrypter(&self, key: AeadKey, iv: &[u8]) -> Box<dyn MessageDecrypter> {
        Box::new(self.sealer(&key, iv))
    }

    fn key_block_shape(&self) -> KeyBlockShape {
        KeyBlockShape {
            enc_key_len: self.mac,
            fixed_iv_len: self.key,
            explicit_nonce_len: 0,
        }
    }

    fn extract_keys(
        &self,
        _: AeadKey,
        _: &[u8],
        _: &[u8],
    ) -> Result<ConnectionTrafficSecrets, UnsupportedOperationError> {
        Err(UnsupportedOperationError)
    }
}

impl Kind {
    pub(in crate::check::probes) fn sealer(self, mac: &AeadKey, key: &[u8]) -> Sealer {
        Sealer {
            kind: self,
            mac: self.mac_key(mac.as_ref()),
            key: key.to_vec(),
        }
    }
}

impl MessageEncrypter for Sealer {
    fn encrypt(
        &mut self,
        message: OutboundPlainMessage<'_>,
        number: u64,
    ) -> Result<OutboundOpaqueMessage, Error> {
        let mut content = message.payload.to_vec();
        let mac = self.mac(number, message.typ.into(), &content);
        content.extend(mac);
        content.extend(padding(content.len(), 1));
        let sealed = Sealer::encrypt(self, content).ok_or(Error::EncryptError)?;
        let mut payload = PrefixedPayload::with_capacity(sealed.len());
        payload.extend_from_slice(&sealed);
        Ok(OutboundOpaqueMessage::new(
            message.typ,
            message.version,
            payload,
        ))
    }

    fn encrypted_payload_len(&self, length: usize) -> usize {
        let inside = length + self.kind.mac;
        BLOCK + inside + padding(inside, 1).len()
    }
}

/// As a sound end does it: whatever is wrong is one and the same fault.
impl MessageDecrypter for Sealer {
    fn decrypt<'a>(
        &mut self,
        mut message: InboundOpaqueMessage<'a>,
        number: u64,
    ) -> Result<InboundPlainMessage<'a>, Error> {
        let (octets, padding) =
            Sealer::decrypt(self, &message.payload).ok_or(Error::DecryptError)?;
        let content = octets.len().checked_sub(padding + self.kind.mac);
        let content = content.ok_or(Error::DecryptError)?;
        let (content, rest) = octets.split_at(content);
        let (mac, filling) = rest.split_at(self.kind.mac);
        let is_padded = filling.iter().all(|it| usize::from(*it) + 1 == padding);
        if !is_padded || mac != self.mac(number, message.typ.into(), content) {
            return Err(Error::DecryptError);
        }
        let length = content.len();
        let place = message
            .payload
            .get_mut(..length)
            .ok_or(Error::DecryptError)?;
        place.copy_from_slice(content);
        message.payload.truncate(length);
        Ok(message.into_plain_message())
    }
}
