//! What a ClientHello says (RFC 9846 4.1.2, RFC 5246 7.4.1.2).

use std::net::IpAddr;

use super::bytes::{Bytes, u16_list};

/// SSL 3.0 on the wire.
pub const SSL3: u16 = 0x0300;
/// TLS 1.0 on the wire.
pub const TLS10: u16 = 0x0301;
/// TLS 1.1 on the wire.
pub const TLS11: u16 = 0x0302;
/// TLS 1.2 on the wire.
pub const TLS12: u16 = 0x0303;
/// TLS 1.3 on the wire.
pub const TLS13: u16 = 0x0304;

/// `TLS_EMPTY_RENEGOTIATION_INFO_SCSV` (RFC 5746 3.3).
const RENEGOTIATION_SCSV: u16 = 0x00ff;

/// A ClientHello, taken apart. Lists are in the client's order; values that are not known are kept as they are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is one extension, present or not"
)]
pub struct ClientHello {
    /// `legacy_version`, such as 0x0303.
    pub legacy_version: u16,
    /// The client's random.
    pub random: [u8; 32],
    /// The length of `legacy_session_id`, 0 to 32.
    pub session_id_len: usize,
    /// Cipher suites offered.
    pub cipher_suites: Vec<u16>,
    /// Compression methods offered.
    pub compression_methods: Vec<u8>,
    /// `supported_versions`; empty when the extension is absent.
    pub supported_versions: Vec<u16>,
    /// The host name asked for, in lower case, without a dot at the end. None when the extension is absent or holds something
    /// that cannot be a DNS name (such as an address literal, which RFC 6066 3 does not allow).
    pub sni: Option<String>,
    /// Application protocols offered (RFC 7301); empty when the extension is absent.
    pub alpn: Vec<Vec<u8>>,
    /// `supported_groups`.
    pub groups: Vec<u16>,
    /// The groups for which key shares were sent.
    pub key_shares: Vec<u16>,
    /// `signature_algorithms`.
    pub signature_schemes: Vec<u16>,
    /// `signature_algorithms_cert`: the same for the signatures of certificates; empty when the extension is absent, and the list above
    /// holds for them, too [TLS-MTI-01].
    pub certificate_schemes: Vec<u16>,
    /// Whether `extended_master_secret` was offered (RFC 7627).
    pub has_ems: bool,
    /// Whether early data was announced.
    pub has_early_data: bool,
    /// Whether a TLS 1.3 pre-shared key was offered.
    pub has_psk: bool,
    /// Whether secure renegotiation was signalled, by extension or by suite (RFC 5746).
    pub has_renegotiation_info: bool,
    /// All extension types, in order.
    pub extensions: Vec<u16>,
}

impl ClientHello {
    /// Whether the client offers this version, such as [`TLS13`].
    pub fn offers(&self, version: u16) -> bool {
        if self.supported_versions.is_empty() {
            return version <= self.legacy_version && version < TLS13;
        }
        self.supported_versions.contains(&version)
    }

    /// Whether it offers TLS 1.3 without an extension that must be in such a hello (RFC 9846 9.2) [TLS-MTI-01]: groups and key shares
    /// come together, and where there is no pre-shared key, they and the signature schemes are there.
    pub fn misses_extension(&self) -> bool {
        let [groups, schemes, shares] = [10, 13, 51].map(|kind| self.extensions.contains(&kind));
        let full = self.has_psk || (groups && schemes);
        self.offers(TLS13) && (groups != shares || !full)
    }

    /// Reads the body of the message, without its four octets of header. None when a length does not fit, an extension comes
    /// twice, or the pre-shared key is not the last extension (RFC 9846 4.2.11).
    pub(super) fn parse(body: &[u8]) -> Option<Self> {
        let mut body = Bytes(body);
        let mut hello = Self {
            legacy_version: body.u16()?,
            random: body.take(32)?.try_into().ok()?,
            ..Self::default()
        };
        hello.session_id_len = body.vec8()?.len();
        hello.cipher_suites = u16_list(body.vec16()?)?;
        hello.compression_methods = body.vec8()?.0.to_vec();
        let empty_lists = hello.cipher_suites.is_empty() || hello.compression_methods.is_empty();
        if empty_lists || hello.session_id_len > 32 {
            return None;
        }
        hello.has_renegotiation_info = hello.cipher_suites.contains(&RENEGOTIATION_SCSV);
        if !body.is_empty() {
            hello.read_extensions(body.vec16()?)?;
        }
        body.is_empty().then_some(hello)
    }

    fn read_extensions(&mut self, mut all: Bytes<'_>) -> Option<()> {
        while !all.is_empty() {
            if self.has_psk {
                return None;
            }
            let kind = all.u16()?;
            let data = all.vec16()?;
            self.extensions.push(kind);
            self.read_extension(kind, data)?;
        }
        let mut kinds = self.extensions.clone();
        kinds.sort_unstable();
        kinds.dedup();
        (kinds.len() == self.extensions.len()).then_some(())
    }

    fn read_extension(&mut self, kind: u16, mut data: Bytes<'_>) -> Option<()> {
        match kind {
            0 => self.sni = server_name(data)?,
            10 => self.groups = u16_list(data.only_vec16()?)?,
            13 => self.signature_schemes = u16_list(data.only_vec16()?)?,
            16 => self.alpn = protocol_names(data.only_vec16()?)?,
            23 => self.has_ems = data.must_be_empty()?,
            41 => self.has_psk = true,
            42 => self.has_early_data = data.must_be_empty()?,
            43 => {
                self.supported_versions = u16_list(data.vec8()?)?;
                if self.supported_versions.is_empty() || !data.is_empty() {
                    return None;
                }
            }
            50 => self.certificate_schemes = u16_list(data.only_vec16()?)?,
            // May be empty: the client asks for a HelloRetryRequest (RFC 9846 4.2.8).
            51 => {
                self.key_shares = key_share_groups(data.vec16()?)?;
                data.must_be_empty()?;
            }
            0xff01 => self.has_renegotiation_info = true,
            _ => {}
        }
        Some(())
    }
}

/// RFC 6066 3: a list with one `host_name`. The outer None is a list that does not add up.
#[expect(
    clippy::option_option,
    reason = "malformed, and absent, are two different things here"
)]
fn server_name(mut data: Bytes<'_>) -> Option<Option<String>> {
    let mut list = data.only_vec16()?;
    let kind = list.u8()?;
    let name = list.vec16()?;
    if kind != 0 || name.is_empty() || !list.is_empty() {
        return None;
    }
    Some(host_name(name.0))
}

/// The name in lower case without its last dot, if it can be one in the DNS.
pub(super) fn host_name(octets: &[u8]) -> Option<String> {
    let name = std::str::from_utf8(octets).ok()?.to_ascii_lowercase();
    let name = name.strip_suffix('.').unwrap_or(&name);
    let label_fits = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    let fits = name.len() <= 253 && name.split('.').all(label_fits);
    (fits && name.parse::<IpAddr>().is_err()).then(|| name.to_owned())
}

fn protocol_names(mut list: Bytes<'_>) -> Option<Vec<Vec<u8>>> {
    let mut names = Vec::new();
    while !list.is_empty() {
        let name = list.vec8()?;
        if name.is_empty() {
            return None;
        }
        names.push(name.0.to_vec());
    }
    (!names.is_empty()).then_some(names)
}

fn key_share_groups(mut list: Bytes<'_>) -> Option<Vec<u16>> {
    let mut groups = Vec::new();
    while !list.is_empty() {
        groups.push(list.u16()?);
        if list.vec16()?.is_empty() {
            return None;
        }
    }
    Some(groups)
}

#[cfg(test)]
mod tests {
    use super::host_name;

    #[test]
    fn a_name_is_lower_case_and_without_its_last_dot() {
        assert_eq!(
            host_name(b"Mail.Example.ORG."),
            Some("mail.example.org".into())
        );
    }

    #[test]
    fn what_cannot_be_a_dns_name_is_none() {
        for name in [
            &b"192.0.2.1"[..],
            b"::1",
            b"a..b",
            b"",
            b".",
            b"a b",
            b"a\0b",
            b"\xff",
        ] {
            assert_eq!(host_name(name), None, "{name:?}");
        }
        assert_eq!(host_name(&[b'a'; 64]), None);
        let long = vec!["a".repeat(60); 5].join(".");
        assert_eq!(host_name(long.as_bytes()), None);
    }
}
