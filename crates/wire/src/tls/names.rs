//! IANA names of cipher suites and groups (registries "TLS Cipher Suites" and "TLS Supported Groups").

use std::borrow::Cow;

use super::suites;

/// The name of a cipher suite, if it is in IANA's registry.
pub fn suite(number: u16) -> Option<&'static str> {
    suites::suite(number)
        .map(|suite| suite.name)
        .or_else(|| find(SIGNALS, number))
}

/// The name of a key exchange group.
pub fn group(number: u16) -> Option<&'static str> {
    find(GROUPS, number)
}

/// The name of a cipher suite, or its number as `0xHHHH`.
pub fn suite_label(number: u16) -> Cow<'static, str> {
    label(suite(number), number)
}

/// The name of a group, or its number as `0xHHHH`.
pub fn group_label(number: u16) -> Cow<'static, str> {
    label(group(number), number)
}

fn label(name: Option<&'static str>, number: u16) -> Cow<'static, str> {
    name.map_or_else(|| Cow::Owned(format!("0x{number:04X}")), Cow::Borrowed)
}

fn find(table: &[(u16, &'static str)], number: u16) -> Option<&'static str> {
    let at = table.binary_search_by_key(&number, |row| row.0).ok()?;
    table.get(at).map(|row| row.1)
}

/// What stands in the list of suites and is none.
const SIGNALS: &[(u16, &str)] = &[
    (0x00ff, "TLS_EMPTY_RENEGOTIATION_INFO_SCSV"),
    (0x5600, "TLS_FALLBACK_SCSV"),
];

const GROUPS: &[(u16, &str)] = &[
    (0x0001, "sect163k1"),
    (0x0003, "sect163r2"),
    (0x0006, "sect233k1"),
    (0x0007, "sect233r1"),
    (0x0009, "sect283k1"),
    (0x000a, "sect283r1"),
    (0x000b, "sect409k1"),
    (0x000c, "sect409r1"),
    (0x000d, "sect571k1"),
    (0x000e, "sect571r1"),
    (0x0013, "secp192r1"),
    (0x0015, "secp224r1"),
    (0x0016, "secp256k1"),
    (0x0017, "secp256r1"),
    (0x0018, "secp384r1"),
    (0x0019, "secp521r1"),
    (0x001a, "brainpoolP256r1"),
    (0x001b, "brainpoolP384r1"),
    (0x001c, "brainpoolP512r1"),
    (0x001d, "x25519"),
    (0x001e, "x448"),
    (0x001f, "brainpoolP256r1tls13"),
    (0x0020, "brainpoolP384r1tls13"),
    (0x0021, "brainpoolP512r1tls13"),
    (0x0100, "ffdhe2048"),
    (0x0101, "ffdhe3072"),
    (0x0102, "ffdhe4096"),
    (0x0103, "ffdhe6144"),
    (0x0104, "ffdhe8192"),
    (0x0200, "MLKEM512"),
    (0x0201, "MLKEM768"),
    (0x0202, "MLKEM1024"),
    (0x11eb, "SecP256r1MLKEM768"),
    (0x11ec, "X25519MLKEM768"),
    (0x11ed, "SecP384r1MLKEM1024"),
    (0x6399, "X25519Kyber768Draft00"),
];

/// The name of a signature scheme (registry "TLS `SignatureScheme`"), or its number as `0xHHHH`.
pub fn scheme_label(number: u16) -> Cow<'static, str> {
    label(find(SCHEMES, number), number)
}

const SCHEMES: &[(u16, &str)] = &[
    (0x0101, "rsa_pkcs1_md5"),
    (0x0201, "rsa_pkcs1_sha1"),
    (0x0202, "dsa_sha1"),
    (0x0203, "ecdsa_sha1"),
    (0x0301, "rsa_pkcs1_sha224"),
    (0x0302, "dsa_sha224"),
    (0x0303, "ecdsa_sha224"),
    (0x0401, "rsa_pkcs1_sha256"),
    (0x0402, "dsa_sha256"),
    (0x0403, "ecdsa_secp256r1_sha256"),
    (0x0501, "rsa_pkcs1_sha384"),
    (0x0503, "ecdsa_secp384r1_sha384"),
    (0x0601, "rsa_pkcs1_sha512"),
    (0x0603, "ecdsa_secp521r1_sha512"),
    (0x0804, "rsa_pss_rsae_sha256"),
    (0x0805, "rsa_pss_rsae_sha384"),
    (0x0806, "rsa_pss_rsae_sha512"),
    (0x0807, "ed25519"),
    (0x0808, "ed448"),
    (0x0809, "rsa_pss_pss_sha256"),
    (0x080a, "rsa_pss_pss_sha384"),
    (0x080b, "rsa_pss_pss_sha512"),
    (0x0904, "mldsa44"),
    (0x0905, "mldsa65"),
    (0x0906, "mldsa87"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_sorted() {
        assert!(SIGNALS.is_sorted_by(|a, b| a.0 < b.0));
        assert!(GROUPS.is_sorted_by(|a, b| a.0 < b.0));
        assert!(SCHEMES.is_sorted_by(|a, b| a.0 < b.0));
    }

    #[test]
    fn known_and_unknown() {
        assert_eq!(suite_label(0x1301), "TLS_AES_128_GCM_SHA256");
        assert_eq!(group_label(0x11ec), "X25519MLKEM768");
        assert_eq!(suite_label(0x0abc), "0x0ABC");
        assert_eq!(group(0x0a0a), None);
    }
}
