//! How good a suite of TLS 1.2 and before is, in three ranks. They are those of NCSC-NL's guidelines for TLS (2025), appendix B, as internet.nl
//! judges by them; the best rank is also what RFC 9325 4.2 recommends. Suites of TLS 1.3 have no rank here: they are never offered beside
//! older ones that a server could prefer to them.

use gatepost_wire::tls::suites::{self, Suite};

/// A rank, the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rank {
    /// Forward secrecy by elliptic curves, and AES or `ChaCha20` with authentication.
    Sound,
    /// Forward secrecy, but in finite fields, in CBC mode with SHA-2, or by Camellia or ARIA: to be phased out.
    PhaseOut,
    /// Everything else.
    Insufficient,
}

impl Rank {
    /// The rank of a suite.
    pub(crate) fn of(suite: &Suite) -> Self {
        let is_common = suite.cipher.starts_with("AES_") || suite.cipher.starts_with("CHACHA20");
        let is_known =
            is_common || suite.cipher.starts_with("CAMELLIA_") || suite.cipher.starts_with("ARIA_");
        let has_sha2 = suite.is_aead() || matches!(suite.mac, "SHA256" | "SHA384");
        let is_signed = !suite.is_anonymous() && suite.has_forward_secrecy();
        if !is_signed || !is_known || !has_sha2 || suite.is_ccm8() {
            Self::Insufficient
        } else if is_common && suite.exchange == "ECDHE" && suite.is_aead() {
            Self::Sound
        } else {
            Self::PhaseOut
        }
    }

    /// The rank of a suite by its number; none for one of TLS 1.3, and for a number that is no suite.
    pub(crate) fn of_number(number: u16) -> Option<Self> {
        let suite = suites::suite(number).filter(|it| !it.is_tls13());
        suite.map(Self::of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_those_of_the_guidelines() {
        let of = |rank| {
            let certified = suites::all().iter().filter(|it| {
                it.is_for_certificates() && !it.is_tls13() && it.authentication != "DSS"
            });
            certified.filter(|it| Rank::of(it) == rank).count()
        };
        assert_eq!(of(Rank::Sound), 8);
        for (number, rank) in [
            (0xc02b, Rank::Sound),
            (0xcca8, Rank::Sound),
            (0xc0ac, Rank::Sound),
            (0xc023, Rank::PhaseOut),
            (0xc028, Rank::PhaseOut),
            (0x009e, Rank::PhaseOut),
            (0x006b, Rank::PhaseOut),
            (0xc05c, Rank::PhaseOut),
            (0xc013, Rank::Insufficient),
            (0x0033, Rank::Insufficient),
            (0x009c, Rank::Insufficient),
            (0xc0ae, Rank::Insufficient),
            (0xc012, Rank::Insufficient),
            (0x00a6, Rank::Insufficient),
        ] {
            assert_eq!(Rank::of_number(number), Some(rank), "{number:04x}");
        }
        assert_eq!(Rank::of_number(0x1301), None);
    }
}
