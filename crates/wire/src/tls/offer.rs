//! `ClientHellos` as an examiner writes them (RFC 9846 4.1.2, RFC 5246 7.4.1.2, RFC 6101 5.6.1.2): any version from SSL 3 on, any suites, groups
//! and schemes, key shares or none. No keys are made here: a key share is whatever octets the caller gives.
//!
//! What is written is exactly what was asked, in the order of the lists, so that an answer says something about the server. Two things
//! are never written: an address as a server name, and a server name with a dot at its end (RFC 6066 3).

use super::bytes::{put_u16s, put_vec};
use super::hello::{SSL3, TLS10, TLS12, TLS13, host_name};

/// What to offer. Lists that are empty leave their extension out.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is one extension, present or not"
)]
pub struct Offer {
    /// The version in the record's header.
    pub record_version: u16,
    /// `legacy_version`.
    pub legacy_version: u16,
    /// The client's random.
    pub random: [u8; 32],
    /// `legacy_session_id`, at most 32 octets.
    pub session_id: Vec<u8>,
    /// Cipher suites, and signals such as `TLS_FALLBACK_SCSV` (0x5600).
    pub suites: Vec<u16>,
    /// Compression methods; 0 is none, 1 is DEFLATE.
    pub compression: Vec<u8>,
    /// `supported_versions`.
    pub versions: Vec<u16>,
    /// The server name.
    pub server_name: Option<String>,
    /// Application protocols.
    pub alpn: Vec<Vec<u8>>,
    /// `supported_groups`.
    pub groups: Vec<u16>,
    /// Key shares; `Some` of none asks for a `HelloRetryRequest`, which names the server's group without any cryptography.
    pub key_shares: Option<Vec<(u16, Vec<u8>)>>,
    /// `signature_algorithms`.
    pub signature_schemes: Vec<u16>,
    /// `extended_master_secret`.
    pub has_ems: bool,
    /// `renegotiation_info`, empty.
    pub has_renegotiation_info: bool,
    /// `session_ticket`, empty.
    pub has_ticket: bool,
    /// `status_request` for OCSP.
    pub has_status_request: bool,
    /// `encrypt_then_mac`.
    pub has_encrypt_then_mac: bool,
    /// GREASE in suites, groups, versions and extensions (RFC 8701); the low four bits choose which.
    pub grease: Option<u8>,
    /// Extensions of any other kind, written last but for the padding.
    pub others: Vec<(u16, Vec<u8>)>,
    /// The message is padded to at least this many octets (RFC 7685).
    pub at_least: usize,
}

impl Offer {
    /// A hello of at most this version: everything a client of that version says, but no suites yet. For TLS 1.3 the key shares are
    /// empty and lower versions are not offered.
    pub fn new(version: u16, random: [u8; 32]) -> Self {
        let has_extensions = version > SSL3;
        Self {
            record_version: version.min(TLS10),
            legacy_version: version.min(TLS12),
            random,
            session_id: Vec::new(),
            suites: Vec::new(),
            compression: vec![0],
            versions: if version >= TLS13 {
                vec![version]
            } else {
                Vec::new()
            },
            server_name: None,
            alpn: Vec::new(),
            groups: if has_extensions {
                COMMON_GROUPS.to_vec()
            } else {
                Vec::new()
            },
            key_shares: (version >= TLS13).then(Vec::new),
            signature_schemes: if version >= TLS12 {
                ALL_SCHEMES.to_vec()
            } else {
                Vec::new()
            },
            has_ems: has_extensions,
            has_renegotiation_info: has_extensions,
            has_ticket: has_extensions && version < TLS13,
            has_status_request: false,
            has_encrypt_then_mac: false,
            grease: None,
            others: Vec::new(),
            at_least: 0,
        }
    }

    /// The handshake message, with its header.
    pub fn message(&self) -> Vec<u8> {
        let mut body = self.body(0);
        // Header 4, the padding's own header 4.
        let missing = self.at_least.saturating_sub(body.len() + 4);
        if missing > 0 {
            body = self.body(missing.max(5));
        }
        let mut message = vec![1];
        put_vec(&mut message, 3, &body);
        message
    }

    /// The records, each with at most `fragment` octets of payload.
    pub fn records(&self, fragment: usize) -> Vec<u8> {
        let mut out = Vec::new();
        for piece in self.message().chunks(fragment.clamp(1, 1 << 14)) {
            out.push(22);
            out.extend(self.record_version.to_be_bytes());
            put_vec(&mut out, 2, piece);
        }
        out
    }

    /// As one record, or as few as there can be.
    pub fn record(&self) -> Vec<u8> {
        self.records(1 << 14)
    }

    fn body(&self, padding: usize) -> Vec<u8> {
        let mut body = self.legacy_version.to_be_bytes().to_vec();
        body.extend(self.random);
        put_vec(
            &mut body,
            1,
            self.session_id.get(..32).unwrap_or(&self.session_id),
        );
        put_vec(&mut body, 2, &put_u16s(&self.greased(&self.suites)));
        put_vec(&mut body, 1, &self.compression);
        let extensions = self.extensions(padding);
        if !extensions.is_empty() {
            put_vec(&mut body, 2, &extensions);
        }
        body
    }

    fn grease_value(&self) -> Option<u16> {
        self.grease
            .map(|seed| 0x0a0a + 0x1010 * u16::from(seed & 0xf))
    }

    fn greased(&self, values: &[u16]) -> Vec<u16> {
        self.grease_value()
            .into_iter()
            .chain(values.iter().copied())
            .collect()
    }

    fn extensions(&self, padding: usize) -> Vec<u8> {
        let mut out = Vec::new();
        let mut put = |kind: u16, data: &[u8]| {
            out.extend(kind.to_be_bytes());
            put_vec(&mut out, 2, data);
        };
        if let Some(kind) = self.grease_value() {
            put(kind, &[]);
        }
        if let Some(name) = self
            .server_name
            .as_deref()
            .and_then(|it| host_name(it.as_bytes()))
        {
            put(0, &server_name(&name));
        }
        if self.has_status_request {
            put(5, &[1, 0, 0, 0, 0]);
        }
        if !self.groups.is_empty() {
            put(10, &list16(&put_u16s(&self.greased(&self.groups))));
            put(11, &[1, 0]);
        }
        if !self.signature_schemes.is_empty() {
            put(13, &list16(&put_u16s(&self.signature_schemes)));
        }
        if !self.alpn.is_empty() {
            put(16, &protocols(&self.alpn));
        }
        let flags = [
            (self.has_encrypt_then_mac, 22, &[][..]),
            (self.has_ems, 23, &[]),
            (self.has_ticket, 35, &[]),
            (self.has_renegotiation_info, 0xff01, &[0]),
        ];
        for (_, kind, data) in flags.iter().filter(|(set, ..)| *set) {
            put(*kind, data);
        }
        if !self.versions.is_empty() {
            let mut list = Vec::new();
            put_vec(&mut list, 1, &put_u16s(&self.greased(&self.versions)));
            put(43, &list);
        }
        if let Some(shares) = &self.key_shares {
            put(51, &list16(&key_shares(shares)));
        }
        for (kind, data) in &self.others {
            put(*kind, data);
        }
        if padding > 4 {
            put(21, &vec![0; padding - 4]);
        }
        out
    }
}

fn list16(data: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(data.len() + 2);
    put_vec(&mut out, 2, data);
    out
}

fn server_name(name: &str) -> Vec<u8> {
    let mut entry = vec![0];
    put_vec(&mut entry, 2, name.as_bytes());
    list16(&entry)
}

fn protocols(names: &[Vec<u8>]) -> Vec<u8> {
    let mut list = Vec::new();
    for name in names {
        put_vec(&mut list, 1, name);
    }
    list16(&list)
}

fn key_shares(shares: &[(u16, Vec<u8>)]) -> Vec<u8> {
    let mut list = Vec::new();
    for (group, share) in shares {
        list.extend(group.to_be_bytes());
        put_vec(&mut list, 2, share);
    }
    list
}

/// The groups nearly every server of TLS 1.0 to 1.2 has one of.
pub const COMMON_GROUPS: &[u16] = &[
    0x001d, 0x0017, 0x0018, 0x0019, 0x001e, 0x0100, 0x0101, 0x0102,
];

/// Every signature scheme in use, the old ones last.
pub const ALL_SCHEMES: &[u16] = &[
    0x0403, 0x0503, 0x0603, 0x0807, 0x0808, 0x0804, 0x0805, 0x0806, 0x0809, 0x080a, 0x080b, 0x0401,
    0x0501, 0x0601, 0x0402, 0x0303, 0x0301, 0x0302, 0x0203, 0x0201, 0x0202,
];

#[cfg(test)]
#[path = "offer_tests.rs"]
mod tests;
