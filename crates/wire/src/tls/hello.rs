//! What a ClientHello says (RFC 9846 4.1.2).

/// A ClientHello, taken apart. Lists are in the client's order; values that are not known are kept as they are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClientHello {
    /// `legacy_version`, such as 0x0303.
    pub legacy_version: u16,
    /// The client's random.
    pub random: [u8; 32],
    /// The length of `legacy_session_id`, 0 to 32.
    pub session_id_len: u8,
    /// Cipher suites offered.
    pub cipher_suites: Vec<u16>,
    /// Compression methods offered.
    pub compression_methods: Vec<u8>,
    /// `supported_versions`; empty when the extension is absent.
    pub supported_versions: Vec<u16>,
    /// The host name asked for, in lower case, without a dot at the end. Not present when the extension is absent or holds
    /// something that cannot be a DNS name (an address literal, RFC 6066 3).
    pub sni: Option<String>,
    /// Application protocols offered (RFC 7301); empty when the extension is absent.
    pub alpn: Vec<Vec<u8>>,
    /// `supported_groups`.
    pub groups: Vec<u16>,
    /// The groups for which key shares were sent.
    pub key_shares: Vec<u16>,
    /// `signature_algorithms`.
    pub signature_schemes: Vec<u16>,
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
    /// Whether the client offers this version.
    pub fn offers(&self, version: u16) -> bool {
        if self.supported_versions.is_empty() {
            return version <= self.legacy_version && version < 0x0304;
        }
        self.supported_versions.contains(&version)
    }
}
