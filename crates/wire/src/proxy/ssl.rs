//! What TLS was with the client, as a piece of a header of version 2.

use super::Tlv;
use super::v2::{TooLong, append, take};

/// The client was connected over TLS.
const OVER_TLS: u8 = 0x01;
/// It showed a certificate on this connection.
const CERTIFICATE: u8 = 0x02;
const VERSION: u8 = 0x21;
const COMMON_NAME: u8 = 0x22;
const CIPHER: u8 = 0x23;
const GROUP: u8 = 0x26;
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
    /// The common name of the client's certificate. Some: it showed one.
    pub common_name: Option<Box<str>>,
    /// [`VERIFIED`], or another number when the client's certificate is not good.
    pub verify: u32,
}

impl Ssl {
    /// As a piece of a header.
    pub fn encode(&self) -> Result<Tlv, TooLong> {
        let client = match self.common_name {
            None => OVER_TLS,
            Some(_) => OVER_TLS | CERTIFICATE,
        };
        let mut out = vec![client];
        out.extend(self.verify.to_be_bytes());
        for (kind, value) in [
            (VERSION, &self.version),
            (COMMON_NAME, &self.common_name),
            (CIPHER, &self.cipher),
            (GROUP, &self.group),
        ] {
            if let Some(value) = value {
                append(&mut out, kind, value.as_bytes())?;
            }
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
        while let Some(((kind, value), behind)) = take(rest).ok()? {
            let text = || std::str::from_utf8(value).ok().map(Into::into);
            match kind {
                VERSION => ssl.version = Some(text()?),
                COMMON_NAME => ssl.common_name = Some(text()?),
                CIPHER => ssl.cipher = Some(text()?),
                GROUP => ssl.group = Some(text()?),
                _ => {}
            }
            rest = behind;
        }
        Some(ssl)
    }
}
