//! OCSP answers (RFC 6960) made by code, with whatever a test wants different.

use std::time::SystemTime;

use aws_lc_rs::digest;
use rcgen::{KeyPair, PublicKeyData, SigningKey};
use rustls_pki_types::CertificateDer;

use crate::pki::{Authority, DAY, now};

/// What the answer says of the certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Good.
    Good,
    /// Revoked.
    Revoked,
    /// The responder does not know it.
    Unknown,
}

/// An answer about to be made.
pub struct Answer<'a> {
    issuer: &'a Authority,
    serial: Vec<u8>,
    /// What it says.
    pub state: State,
    /// Its first moment.
    pub this_update: SystemTime,
    /// Its end.
    pub next_update: Option<SystemTime>,
    /// A critical extension of the answer that nobody knows.
    pub critical: bool,
    /// A critical extension of what is said of the certificate that nobody knows.
    pub critical_single: bool,
    /// Something behind all there should be.
    pub trailing: bool,
    /// Who signs instead of the issuer: certificate and key.
    pub signer: Option<(&'a CertificateDer<'static>, &'a KeyPair)>,
    /// Whose key the answer names as its responder's, where it is not the signer's.
    pub responder: Option<&'a KeyPair>,
}

impl<'a> Answer<'a> {
    /// An answer by the issuer itself: good, made a day ago and good for a week.
    pub fn new(issuer: &'a Authority, serial: &rcgen::SerialNumber) -> Self {
        Self {
            issuer,
            serial: serial.as_ref().to_vec(),
            state: State::Good,
            this_update: now() - DAY,
            next_update: Some(now() + 6 * DAY),
            critical: false,
            critical_single: false,
            trailing: false,
            signer: None,
            responder: None,
        }
    }

    /// The answer in DER.
    ///
    /// # Panics
    /// When the key cannot sign.
    pub fn to_der(&self) -> Vec<u8> {
        let key = self.signer.map_or(self.issuer.key(), |(_, key)| key);
        let certificates = self
            .signer
            .map(|(certificate, _)| tlv(0xa0, &tlv(0x30, certificate)));
        let data = tlv(0x30, &self.data(key));
        let signature = key.sign(&data).unwrap();
        // ecdsa-with-SHA256, for all keys of the fixtures are on P-256.
        let algorithm = tlv(0x30, &tlv(6, &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2]));
        let bits = tlv(3, &[&[0][..], &signature].concat());
        let mut basic = [data, algorithm, bits, certificates.unwrap_or_default()].concat();
        if self.trailing {
            basic.extend([5, 0]);
        }
        let kind = tlv(6, &[0x2b, 6, 1, 5, 5, 7, 0x30, 1, 1]);
        let bytes = [kind, tlv(4, &tlv(0x30, &basic))].concat();
        let response = [vec![0x0a, 1, 0], tlv(0xa0, &tlv(0x30, &bytes))].concat();
        tlv(0x30, &response)
    }

    fn data(&self, key: &KeyPair) -> Vec<u8> {
        let named = self.responder.unwrap_or(key);
        let responder = tlv(0xa2, &tlv(4, &sha1(named.der_bytes())));
        let mut data = [responder, time(self.this_update), tlv(0x30, &self.single())].concat();
        if self.critical {
            data.extend(tlv(0xa1, &unknown_extension()));
        }
        data
    }

    fn single(&self) -> Vec<u8> {
        let sha1_id = tlv(0x30, &tlv(6, &[0x2b, 0x0e, 3, 2, 0x1a]));
        let name = tlv(4, &sha1(&self.issuer.subject()));
        let key = tlv(4, &sha1(self.issuer.key().der_bytes()));
        let id = tlv(0x30, &[sha1_id, name, key, tlv(2, &self.serial)].concat());
        let state = match self.state {
            State::Good => vec![0x80, 0],
            State::Revoked => tlv(0xa1, &time(self.this_update)),
            State::Unknown => vec![0x82, 0],
        };
        let end = self.next_update.map(|it| tlv(0xa0, &time(it)));
        let mut single = [id, state, time(self.this_update), end.unwrap_or_default()].concat();
        if self.critical_single {
            single.extend(tlv(0xa1, &unknown_extension()));
        }
        tlv(0x30, &single)
    }
}

fn unknown_extension() -> Vec<u8> {
    let extension = [tlv(6, &[0x2a, 3, 4]), tlv(1, &[0xff]), tlv(4, &[5, 0])].concat();
    tlv(0x30, &tlv(0x30, &extension))
}

fn sha1(bytes: &[u8]) -> Vec<u8> {
    let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, bytes);
    hash.as_ref().to_vec()
}

/// A `GeneralizedTime`.
fn time(moment: SystemTime) -> Vec<u8> {
    let moment = time::OffsetDateTime::from(moment);
    let (year, month, day) = moment.to_calendar_date();
    let (hour, minute, second) = moment.to_hms();
    let month = u8::from(month);
    let text = format!("{year:04}{month:02}{day:02}{hour:02}{minute:02}{second:02}Z");
    tlv(0x18, text.as_bytes())
}

/// A value in DER.
fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let mut out = vec![tag];
    match u8::try_from(length) {
        Ok(short) if short < 0x80 => out.push(short),
        Ok(long) => out.extend([0x81, long]),
        Err(_) => {
            out.push(0x82);
            out.extend(u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes());
        }
    }
    out.extend(content);
    out
}
