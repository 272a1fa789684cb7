//! Profiles: which versions, suites and groups. Mozilla's guidelines 6.0 (April 2026) [NAT-MOZ-01], NCSC-NL's of 2025-05, and one of ours for servers
//! whose users all have TLS 1.3.

/// A profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    /// Mozilla 6.0 intermediate.
    Mozilla,
    /// NCSC-NL 2025-05: what is good before what is sufficient.
    Ncsc,
    /// TLS 1.3 alone where users log in; port 25 as in the others, because the rest of the world sends there.
    Strict,
}

/// Groups every `OpenSSL` since 1.1.1 knows, good in each profile. `X25519MLKEM768` comes from the library's own default (3.5).
pub(crate) const GROUPS: [&str; 3] = ["X25519", "prime256v1", "secp384r1"];

impl Profile {
    pub(crate) const WORDS: [&'static str; 3] = ["mozilla-6-intermediate", "ncsc-2025", "strict"];
    #[cfg(test)]
    pub(crate) const ALL: [Self; 3] = [Self::Mozilla, Self::Ncsc, Self::Strict];

    pub(crate) fn parse(word: &str) -> Option<Self> {
        match word {
            "mozilla-6-intermediate" => Some(Self::Mozilla),
            "ncsc-2025" => Some(Self::Ncsc),
            "strict" => Some(Self::Strict),
            _ => None,
        }
    }

    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Mozilla => "mozilla-6-intermediate",
            Self::Ncsc => "ncsc-2025",
            Self::Strict => "strict",
        }
    }

    /// TLS 1.2 is out where users log in.
    pub(crate) const fn is_strict(self) -> bool {
        matches!(self, Self::Strict)
    }

    /// The server's order counts.
    pub(crate) const fn prefers_own_order(self) -> bool {
        matches!(self, Self::Ncsc)
    }

    /// The suites of TLS 1.2 in OpenSSL's words: ECDHE with AEAD, nothing else [CONF-05].
    pub(crate) const fn suites_12(self) -> &'static str {
        match self {
            Self::Mozilla | Self::Strict => {
                "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:\
                 ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
            }
            Self::Ncsc => {
                "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:\
                 ECDHE-RSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256"
            }
        }
    }

    /// The suites of TLS 1.3.
    pub(crate) const fn suites_13(self) -> &'static str {
        match self {
            Self::Mozilla | Self::Strict => {
                "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
            }
            Self::Ncsc => {
                "TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256"
            }
        }
    }

    /// The same wish in `GnuTLS`'s words, for port 25 too: TLS 1.2 stays.
    pub(crate) const fn gnutls(self) -> &'static str {
        match self {
            Self::Mozilla | Self::Strict => {
                "NONE:+VERS-TLS1.3:+VERS-TLS1.2:+AES-128-GCM:+AES-256-GCM:+CHACHA20-POLY1305:+ECDHE-ECDSA:+ECDHE-RSA:+AEAD:+SIGN-ALL:-SIGN-RSA-SHA1:-SIGN-ECDSA-SHA1:+COMP-NULL:+GROUP-X25519:+GROUP-SECP256R1:+GROUP-SECP384R1:+CTYPE-X509"
            }
            Self::Ncsc => {
                "NONE:+VERS-TLS1.3:+VERS-TLS1.2:+AES-256-GCM:+CHACHA20-POLY1305:+AES-128-GCM:+ECDHE-ECDSA:+ECDHE-RSA:+AEAD:+SIGN-ALL:-SIGN-RSA-SHA1:-SIGN-ECDSA-SHA1:+COMP-NULL:+GROUP-X25519:+GROUP-SECP256R1:+GROUP-SECP384R1:+CTYPE-X509:%SERVER_PRECEDENCE"
            }
        }
    }
}
