//! What TLS was with the client, as a piece of a header of version 2.

use super::Tlv;
use super::v2::{TooLong, append, take};

/// The client was connected over TLS.
const OVER_TLS: u8 = 0x01;
/// It showed a certificate on this connection.
const SHOWN_NOW: u8 = 0x02;
/// It has shown one in the TLS session that this connection goes on with.
const SHOWN: u8 = 0x04;
const VERSION: u8 = 0x21;
const COMMON_NAME: u8 = 0x22;
const CIPHER: u8 = 0x23;
const GROUP: u8 = 0x26;
const SIG_SCHEME: u8 = 0x27;
const CLIENT_CERT: u8 = 0x28;
/// The longest certificate that is told: twice what one has with a large RSA key.
const LONGEST_CERTIFICATE: usize = 8 * 1024;
/// What stands in `verify` when the client's certificate is good, or there is none.
pub const VERIFIED: u32 = 0;

/// What TLS was with the client. [PROXY-05]
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Ssl {
    /// The version, such as `TLSv1.3`.
    pub version: Option<Box<str>>,
    /// The cipher suite.
    pub cipher: Option<Box<str>>,
    /// The key exchange group.
    pub group: Option<Box<str>>,
    /// The scheme by which the server signed; none when the session was resumed.
    pub signature: Option<Box<str>>,
    /// The client's certificate, if it showed one.
    pub client: Option<Shown>,
    /// [`VERIFIED`], or another number when the client's certificate is not good.
    pub verify: u32,
}

/// A certificate that a client showed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Shown {
    /// Whether it was on this connection, and not in an earlier one of the same TLS session.
    pub now: bool,
    /// The common name.
    pub common_name: Option<Box<str>>,
    /// The certificate itself (DER). One that is very long is left out.
    pub certificate: Option<Box<[u8]>>,
}

impl Ssl {
    /// As a piece of a header.
    pub fn encode(&self) -> Result<Tlv, TooLong> {
        let shown = self.client.as_ref();
        let bits = match shown {
            None => OVER_TLS,
            Some(it) if it.now => OVER_TLS | SHOWN_NOW | SHOWN,
            Some(_) => OVER_TLS | SHOWN,
        };
        let mut out = vec![bits];
        out.extend(self.verify.to_be_bytes());
        for (kind, value) in [
            (VERSION, &self.version),
            (COMMON_NAME, shown.map_or(&None, |it| &it.common_name)),
            (CIPHER, &self.cipher),
            (GROUP, &self.group),
            (SIG_SCHEME, &self.signature),
        ] {
            if let Some(value) = value {
                append(&mut out, kind, value.as_bytes())?;
            }
        }
        let certificate = shown.and_then(|it| it.certificate.as_deref());
        if let Some(certificate) = certificate.filter(|it| it.len() <= LONGEST_CERTIFICATE) {
            append(&mut out, CLIENT_CERT, certificate)?;
        }
        Ok(Tlv::new(Tlv::SSL, out))
    }

    /// Reads the value of a piece of type [`Tlv::SSL`]. None when it is damaged, or the client was not connected over TLS.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let (client, rest) = value.split_first()?;
        let (verify, mut rest) = rest.split_first_chunk()?;
        if client & OVER_TLS == 0 {
            return None;
        }
        let mut ssl = Self {
            verify: u32::from_be_bytes(*verify),
            ..Self::default()
        };
        let mut shown = Shown {
            now: client & SHOWN_NOW != 0,
            ..Shown::default()
        };
        while let Some(((kind, value), behind)) = take(rest).ok()? {
            let text = || std::str::from_utf8(value).ok().map(Into::into);
            match kind {
                VERSION => ssl.version = Some(text()?),
                COMMON_NAME => shown.common_name = Some(text()?),
                CIPHER => ssl.cipher = Some(text()?),
                GROUP => ssl.group = Some(text()?),
                SIG_SCHEME => ssl.signature = Some(text()?),
                CLIENT_CERT => shown.certificate = Some(value.into()),
                _ => {}
            }
            rest = behind;
        }
        ssl.client = (client & (SHOWN_NOW | SHOWN) != 0).then_some(shown);
        Some(ssl)
    }
}
