//! The PROXY header: any prefix of a header needs more, and what was read is read again from what is written of it.

use gatepost_wire::proxy::{Header, Progress, Shown, Ssl, Tlv, encode_v1, encode_v2, parse};

use crate::Target;
use crate::behaviour;
use crate::input::Input;

/// A header and what stands behind it.
pub const HEADER: Target = Target {
    name: "proxy",
    run: header,
    seeds,
    words: &[
        "PROXY TCP4 192.0.2.7 198.51.100.1 40000 25\r\n",
        "PROXY TCP6 2001:db8::7 ::1 1 65535\r\n",
        "PROXY UNKNOWN\r\n",
        "\r\n\r\n\0\r\nQUIT\n",
        "\x21\x11\x00\x0c",
        "\x20\x00\x00\x00",
        "\x04\x00\x01",
    ],
};

/// Reads a header, whole and growing.
///
/// # Panics
/// When a prefix is judged otherwise than the whole, or what was read is not what is written of it.
pub fn header(data: &[u8]) {
    let input = Input::parse(data);
    let bytes = input.clear;
    let whole = parse(bytes);
    behaviour::note(std::mem::discriminant(&whole));
    let Progress::Complete(header, length) = whole else {
        return;
    };
    // Quadratic in the length, which is bounded by what is worth it.
    for cut in (0..length).rev().take(200) {
        assert_eq!(parse(&bytes[..cut]), Progress::NeedMore, "cut at {cut}");
    }
    behaviour::note(header.tlvs.len());
    if let Some(ssl) = header.tlv(Tlv::SSL).and_then(Ssl::parse) {
        behaviour::note(ssl.client.is_some());
        ssl_again(ssl);
    }
    again(&header);
}

/// What was read is told on as it was, but for a certificate that is very long.
fn ssl_again(mut ssl: Ssl) {
    let Ok(told) = ssl.encode() else { return };
    let read = Ssl::parse(&told.value).expect("what we write can be read");
    let has_one = |ssl: &Ssl| {
        ssl.client
            .as_ref()
            .is_some_and(|it| it.certificate.is_some())
    };
    if let Some(shown) = ssl.client.as_mut().filter(|_| !has_one(&read)) {
        shown.certificate = None;
    }
    assert_eq!(read, ssl);
}

fn again(header: &Header) {
    if header.endpoints.is_none() {
        return;
    }
    if let Ok(written) = encode_v2(header) {
        let read = Progress::Complete(header.clone(), written.len());
        assert_eq!(parse(&written), read, "version 2");
    }
    let plain = Header {
        endpoints: header.endpoints,
        tlvs: Vec::new(),
    };
    let written = encode_v1(&plain);
    let read = Progress::Complete(plain, written.len());
    assert_eq!(parse(&written), read, "version 1");
}

fn seeds() -> Vec<Vec<u8>> {
    let mut header = Header::of(
        ([192, 0, 2, 7], 40000).into(),
        ([198, 51, 100, 1], 25).into(),
    );
    header.tlvs = vec![Tlv::new(Tlv::AUTHORITY, *b"mx.example")];
    let ssl = Ssl {
        client: Some(Shown {
            certificate: Some(Box::new([0x30, 0])),
            ..Shown::default()
        }),
        signature: Some("ed25519".into()),
        ..Ssl::default()
    };
    header.tlvs.extend(ssl.encode());
    let six = Header::of(([1; 8], 1).into(), ([2; 8], 2).into());
    let headers = [header, six, Header::local()];
    let both = |header: &Header| [encode_v1(header), encode_v2(header).unwrap_or_default()];
    headers
        .iter()
        .flat_map(both)
        .map(|bytes| Input::build(0, &[3], &bytes))
        .collect()
}
