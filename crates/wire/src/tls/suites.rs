//! What cipher suites are made of: a table (`suites.tsv`) with the facts of IANA's registry "TLS Cipher Suites", and the few
//! questions an examiner asks about one.

use std::sync::LazyLock;

/// One cipher suite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Suite {
    /// The two octets on the wire.
    pub number: u16,
    /// The name in the registry.
    pub name: &'static str,
    /// How keys are agreed: `RSA`, `DHE`, `ECDHE`, `DH`, `ECDH`, `PSK` and rarer ones; `any` for TLS 1.3.
    pub exchange: &'static str,
    /// How the server is authenticated: `RSA`, `ECDSA`, `DSS`, `anon` and rarer ones; `any` for TLS 1.3.
    pub authentication: &'static str,
    /// The cipher with its mode, such as `AES_128_GCM` or `3DES_EDE_CBC`.
    pub cipher: &'static str,
    /// The hash of the MAC, or `AEAD`.
    pub mac: &'static str,
}

static TABLE: LazyLock<Vec<Suite>> = LazyLock::new(|| {
    let mut rows: Vec<_> = include_str!("suites.tsv").lines().filter_map(row).collect();
    rows.sort_unstable_by_key(|suite| suite.number);
    rows
});

fn row(line: &'static str) -> Option<Suite> {
    let mut cells = line.split('\t');
    Some(Suite {
        number: u16::from_str_radix(cells.next()?, 16).ok()?,
        name: cells.next()?,
        exchange: cells.next()?,
        authentication: cells.next()?,
        cipher: cells.next()?,
        mac: cells.next()?,
    })
}

/// All suites, by number.
pub fn all() -> &'static [Suite] {
    &TABLE
}

/// The suite with this number.
pub fn suite(number: u16) -> Option<&'static Suite> {
    let at = TABLE.binary_search_by_key(&number, |suite| suite.number);
    at.ok().and_then(|at| TABLE.get(at))
}

impl Suite {
    /// Whether this suite is one of TLS 1.3.
    pub fn is_tls13(&self) -> bool {
        self.exchange == "any"
    }

    /// Whether nothing is encrypted.
    pub fn is_null(&self) -> bool {
        self.cipher == "NULL"
    }

    /// Whether the server is not authenticated.
    pub fn is_anonymous(&self) -> bool {
        self.authentication == "anon"
    }

    /// Whether this is one of the suites made weak for export.
    pub fn is_export(&self) -> bool {
        self.name.contains("_EXPORT")
    }

    /// Whether the key has less than 112 bits, export suites included (RFC 9325 4.1).
    pub fn is_low(&self) -> bool {
        self.is_export()
            || ["DES_", "DES40", "RC2_", "RC4_40", "RC4_56"]
                .iter()
                .any(|it| self.cipher.starts_with(it))
    }

    /// Whether the cipher is RC4 (RFC 7465).
    pub fn is_rc4(&self) -> bool {
        self.cipher.starts_with("RC4")
    }

    /// Whether blocks have 64 bits and the key 112 or more: 3DES, IDEA.
    pub fn is_triple_des(&self) -> bool {
        self.cipher.starts_with("3DES") || self.cipher.starts_with("IDEA")
    }

    /// Whether the mode is CBC, with a MAC beside it.
    pub fn is_cbc(&self) -> bool {
        self.cipher.contains("CBC")
    }

    /// Whether encryption and authentication are one.
    pub fn is_aead(&self) -> bool {
        self.mac == "AEAD" && !self.is_null()
    }

    /// Whether the tag is cut to eight octets.
    pub fn is_ccm8(&self) -> bool {
        self.cipher.ends_with("CCM_8")
    }

    /// Whether recorded traffic stays closed when the server's key becomes known.
    pub fn has_forward_secrecy(&self) -> bool {
        self.is_tls13() || matches!(self.exchange, "DHE" | "ECDHE")
    }

    /// Whether a `ServerKeyExchange` comes.
    pub fn has_server_key_exchange(&self) -> bool {
        matches!(self.exchange, "DHE" | "ECDHE" | "SRP") || self.is_export()
    }

    /// Whether a client without a shared secret or a ticket office can use it in mail.
    pub fn is_for_certificates(&self) -> bool {
        matches!(
            self.authentication,
            "RSA" | "ECDSA" | "DSS" | "anon" | "any"
        ) && !matches!(self.exchange, "PSK" | "SRP")
            && !self.name.contains("_PSK_")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_a_suite_and_each_number_stands_once() {
        let rows = include_str!("suites.tsv").lines().count() - 1;
        assert_eq!(all().len(), rows);
        assert!(all().is_sorted_by(|a, b| a.number < b.number));
    }

    #[test]
    fn known_answers() {
        let get = |number| *suite(number).unwrap();
        assert!(
            get(0x1301).is_tls13() && get(0x1301).is_aead() && get(0x1301).has_forward_secrecy()
        );
        assert!(get(0x0003).is_export() && get(0x0003).is_low() && get(0x0003).is_rc4());
        assert!(get(0x0009).is_low() && !get(0x0009).is_export());
        assert!(get(0x000a).is_triple_des() && !get(0x000a).is_low());
        assert!(get(0x0018).is_anonymous() && get(0xc018).is_anonymous());
        assert!(get(0x003b).is_null() && !get(0x003b).has_forward_secrecy());
        assert!(get(0xc013).is_cbc() && get(0xc013).has_server_key_exchange());
        assert!(get(0xc0a0).is_ccm8() && get(0xc0a0).is_aead());
        assert!(!get(0x008c).is_for_certificates() && get(0xc02f).is_for_certificates());
        assert_eq!(
            (get(0xc02b).exchange, get(0xc02b).authentication),
            ("ECDHE", "ECDSA")
        );
        assert!(suite(0x0a0a).is_none());
    }
}
