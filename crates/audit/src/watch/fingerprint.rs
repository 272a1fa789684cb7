//! The fingerprint of a client's hello: JA4 (`FoxIO`, BSD 3-Clause), as its description says.
//!
//! `t`, version, `d` or `i` for a name asked for or not, numbers of suites and extensions, first and last letter of the first
//! application protocol; then hashes of the sorted suites and of the sorted extensions with the signature schemes. GREASE does not count.

use std::fmt::Write as _;

use gatepost_wire::tls::{ClientHello, SSL3, TLS10, TLS11, TLS12, TLS13};
use sha2::{Digest, Sha256};

/// The fingerprint.
#[must_use]
pub fn ja4(hello: &ClientHello) -> String {
    let real = |values: &[u16]| -> Vec<u16> {
        values
            .iter()
            .copied()
            .filter(|it| !is_grease(*it))
            .collect()
    };
    let mut suites = real(&hello.cipher_suites);
    let mut extensions = real(&hello.extensions);
    let version = real(&hello.supported_versions)
        .into_iter()
        .max()
        .unwrap_or(hello.legacy_version);
    let version = match version {
        TLS13 => "13",
        TLS12 => "12",
        TLS11 => "11",
        TLS10 => "10",
        SSL3 => "s3",
        0x0002 => "s2",
        _ => "00",
    };
    let name = if extensions.contains(&0) { 'd' } else { 'i' };
    let mut text = format!(
        "t{version}{name}{:02}{:02}{}",
        suites.len().min(99),
        extensions.len().min(99),
        protocol(hello.alpn.first().map(Vec::as_slice))
    );
    suites.sort_unstable();
    extensions.retain(|it| !matches!(it, 0 | 16));
    extensions.sort_unstable();
    let mut second = list(&extensions);
    let schemes = list(&real(&hello.signature_schemes));
    if !schemes.is_empty() {
        second.push('_');
        second.push_str(&schemes);
    }
    let _ = write!(
        text,
        "_{}_{}",
        short_hash(&list(&suites)),
        short_hash(&second)
    );
    text
}

/// RFC 8701.
fn is_grease(value: u16) -> bool {
    let [high, low] = value.to_be_bytes();
    high == low && high & 0x0f == 0x0a
}

fn list(values: &[u16]) -> String {
    let words: Vec<String> = values.iter().map(|it| format!("{it:04x}")).collect();
    words.join(",")
}

fn protocol(first: Option<&[u8]>) -> String {
    let Some((first, last)) = first.and_then(|it| Some((*it.first()?, *it.last()?))) else {
        return "00".to_owned();
    };
    if first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric() {
        return [first, last].map(char::from).iter().collect();
    }
    format!("{:x}{:x}", first >> 4, last & 15)
}

fn short_hash(text: &str) -> String {
    if text.is_empty() {
        return "000000000000".to_owned();
    }
    let digest = Sha256::digest(text.as_bytes());
    super::hexadecimal(digest.iter().take(6))
}
