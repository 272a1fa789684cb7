//! What a server answers in clear: ServerHello and `HelloRetryRequest` (RFC 9846 4.1.3, 4.1.4), and the `ServerKeyExchange` of TLS 1.2 and before
//! (RFC 5246 7.4.3, RFC 8422 5.4).

use super::bytes::Bytes;
use super::hello::TLS12;
use super::suites::suite;

/// The random of a `HelloRetryRequest`: the SHA-256 of its name (RFC 9846 4.1.3).
const RETRY_RANDOM: [u8; 32] = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91,
    0xc2, 0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];

/// A ServerHello or `HelloRetryRequest`, taken apart.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is one extension, present or not"
)]
pub struct ServerHello {
    /// `legacy_version`.
    pub legacy_version: u16,
    /// The server's random.
    pub random: [u8; 32],
    /// The length of the session id: 0 when a server of TLS 1.2 does not resume by id.
    pub session_id_len: usize,
    /// The suite chosen.
    pub suite: u16,
    /// The compression method chosen; 0 is none.
    pub compression: u8,
    /// `supported_versions`: the version chosen, in TLS 1.3.
    pub selected_version: Option<u16>,
    /// The group of the key share, or the group a `HelloRetryRequest` asks for.
    pub group: Option<u16>,
    /// The application protocol chosen, in TLS 1.2.
    pub alpn: Option<Vec<u8>>,
    /// `extended_master_secret` (RFC 7627).
    pub has_ems: bool,
    /// `renegotiation_info` (RFC 5746).
    pub has_renegotiation_info: bool,
    /// It says that this is not the first handshake of the connection (RFC 5746 3.4: something stands in it), or is malformed.
    pub is_renegotiation: bool,
    /// A ticket will come (RFC 5077), in TLS 1.2.
    pub has_ticket: bool,
    /// `status_request`: a stapled OCSP response will come, in TLS 1.2.
    pub has_status: bool,
    /// `encrypt_then_mac` (RFC 7366).
    pub has_encrypt_then_mac: bool,
    /// `heartbeat` (RFC 6520).
    pub has_heartbeat: bool,
    /// All extension types, in order.
    pub extensions: Vec<u16>,
}

impl ServerHello {
    /// The version agreed on.
    pub fn version(&self) -> u16 {
        self.selected_version.unwrap_or(self.legacy_version)
    }

    /// Whether this is a `HelloRetryRequest`.
    pub fn is_retry(&self) -> bool {
        self.random == RETRY_RANDOM
    }

    /// Whether the random says that the server could do better than it was asked (RFC 9846 4.1.3).
    pub fn has_downgrade_mark(&self) -> bool {
        let end = self.random.get(24..).unwrap_or_default();
        end.starts_with(b"DOWNGRD") && matches!(end.last(), Some(0 | 1))
    }

    /// Reads the body of the message. None when a length does not fit or an extension comes twice.
    pub(super) fn parse(body: &[u8]) -> Option<Self> {
        let mut body = Bytes(body);
        let mut hello = Self {
            legacy_version: body.u16()?,
            random: body.take(32)?.try_into().ok()?,
            ..Self::default()
        };
        hello.session_id_len = body.vec8()?.len();
        hello.suite = body.u16()?;
        hello.compression = body.u8()?;
        if !body.is_empty() {
            hello.read_extensions(body.vec16()?)?;
        }
        (body.is_empty() && hello.session_id_len <= 32).then_some(hello)
    }

    fn read_extensions(&mut self, mut all: Bytes<'_>) -> Option<()> {
        while !all.is_empty() {
            let kind = all.u16()?;
            let data = all.vec16()?;
            if self.extensions.contains(&kind) || self.extensions.len() > 64 {
                return None;
            }
            self.extensions.push(kind);
            self.read_extension(kind, data)?;
        }
        Some(())
    }

    fn read_extension(&mut self, kind: u16, mut data: Bytes<'_>) -> Option<()> {
        match kind {
            5 => self.has_status = true,
            15 => self.has_heartbeat = true,
            16 => {
                let mut list = data.only_vec16()?;
                self.alpn = Some(list.vec8()?.0.to_vec());
            }
            22 => self.has_encrypt_then_mac = true,
            23 => self.has_ems = true,
            35 => self.has_ticket = true,
            43 => self.selected_version = Some(data.u16()?),
            51 => self.group = Some(data.u16()?),
            0xff01 => {
                self.has_renegotiation_info = true;
                self.is_renegotiation = data.0 != [0];
            }
            _ => {}
        }
        Some(())
    }
}

/// What a `ServerKeyExchange` says. The signature is not checked here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyExchange {
    /// A named curve.
    Ec {
        /// The group.
        group: u16,
        /// The signature scheme; none before TLS 1.2 and for anonymous suites.
        scheme: Option<u16>,
    },
    /// A curve spelled out, which RFC 8422 forbids.
    ExplicitCurve,
    /// Finite field Diffie-Hellman.
    Dh {
        /// The prime, without leading zeros.
        prime: Vec<u8>,
        /// The generator, without leading zeros.
        generator: Vec<u8>,
        /// The signature scheme; none before TLS 1.2 and for anonymous suites.
        scheme: Option<u16>,
    },
    /// A short-lived RSA key of an export suite.
    RsaExport {
        /// The length of its modulus in bits.
        bits: usize,
    },
    /// Of a key exchange not known here.
    Other,
}

impl KeyExchange {
    /// Reads the body of the message, which says itself neither what it is about nor how long its signature is: the suite and the version
    /// tell. None when a length does not fit.
    pub(super) fn parse(body: &[u8], number: u16, version: u16) -> Option<Self> {
        let Some(suite) = suite(number) else {
            return Some(Self::Other);
        };
        let mut body = Bytes(body);
        let has_scheme = version >= TLS12 && !suite.is_anonymous();
        match suite.exchange {
            "ECDHE" => ec(&mut body, has_scheme),
            "DHE" => {
                let prime = unsigned(&body.vec16()?);
                let generator = unsigned(&body.vec16()?);
                body.vec16()?;
                let scheme = scheme(&mut body, has_scheme)?;
                Some(Self::Dh {
                    prime,
                    generator,
                    scheme,
                })
            }
            "RSA" if suite.is_export() => {
                let modulus = unsigned(&body.vec16()?);
                body.vec16()?;
                Some(Self::RsaExport {
                    bits: bits(&modulus),
                })
            }
            _ => Some(Self::Other),
        }
    }

    /// The length of the Diffie-Hellman prime in bits, if there is one.
    pub fn prime_bits(&self) -> Option<usize> {
        match self {
            Self::Dh { prime, .. } => Some(bits(prime)),
            _ => None,
        }
    }
}

fn ec(body: &mut Bytes<'_>, has_scheme: bool) -> Option<KeyExchange> {
    if body.u8()? != 3 {
        return Some(KeyExchange::ExplicitCurve);
    }
    let group = body.u16()?;
    body.vec8()?;
    let scheme = scheme(body, has_scheme)?;
    Some(KeyExchange::Ec { group, scheme })
}

#[expect(
    clippy::option_option,
    reason = "malformed, and absent, are two different things here"
)]
fn scheme(body: &mut Bytes<'_>, is_there: bool) -> Option<Option<u16>> {
    if is_there {
        body.u16().map(Some)
    } else {
        Some(None)
    }
}

fn unsigned(number: &Bytes<'_>) -> Vec<u8> {
    let zeros = number.0.iter().take_while(|octet| **octet == 0).count();
    number.0.get(zeros..).unwrap_or_default().to_vec()
}

fn bits(number: &[u8]) -> usize {
    let top = number.first().map_or(0, |octet| octet.leading_zeros());
    (number.len() * 8).saturating_sub(top as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prime_is_measured_without_its_leading_zeros() {
        let mut body = vec![0, 4, 0, 0x40, 0, 1, 0, 1, 2, 0, 1, 9];
        let dh = KeyExchange::parse(&body, 0x0034, 0x0303).unwrap();
        assert_eq!(dh.prime_bits(), Some(23));
        body.extend([8, 4]);
        let signed = KeyExchange::parse(&body, 0x0033, 0x0303).unwrap();
        assert!(matches!(
            signed,
            KeyExchange::Dh {
                scheme: Some(0x0804),
                ..
            }
        ));
        assert_eq!(KeyExchange::parse(&body[..11], 0x0033, 0x0303), None);
    }

    #[test]
    fn an_export_key_is_told_by_its_length() {
        let mut body = vec![0, 64];
        body.extend([0xff; 64]);
        body.extend([0, 1, 3]);
        assert_eq!(
            KeyExchange::parse(&body, 0x0003, 0x0301),
            Some(KeyExchange::RsaExport { bits: 512 })
        );
    }

    #[test]
    fn the_mark_against_downgrades_is_seen() {
        let mut hello = ServerHello::default();
        assert!(!hello.has_downgrade_mark());
        hello.random[24..].copy_from_slice(b"DOWNGRD\x01");
        assert!(hello.has_downgrade_mark());
    }
}
