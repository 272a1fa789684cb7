//! [PROXY-02] [PROXY-03] [PROXY-04] [PROXY-05] [PROXY-06]

use super::*;

fn four() -> Header {
    Header::of(
        "192.0.2.7:40000".parse().unwrap(),
        "198.51.100.1:25".parse().unwrap(),
    )
}

fn six() -> Header {
    Header::of(
        "[2001:db8::7]:40000".parse().unwrap(),
        "[2001:db8::1]:993".parse().unwrap(),
    )
}

fn fault(bytes: &[u8]) -> Option<Fault> {
    match parse(bytes) {
        Progress::Invalid(fault) => Some(fault),
        _ => None,
    }
}

/// Every cut of a header needs more, and the whole of it is complete, whatever stands behind.
fn assert_reads(bytes: &[u8], header: &Header) {
    for cut in 0..bytes.len() {
        assert_eq!(parse(&bytes[..cut]), Progress::NeedMore, "cut at {cut}");
    }
    let behind = [bytes, b"EHLO x\r\n"].concat();
    assert_eq!(
        parse(&behind),
        Progress::Complete(header.clone(), bytes.len())
    );
}

#[test]
fn version_1_there_and_back() {
    let text = encode_v1(&four());
    assert_eq!(text, b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 25\r\n");
    assert_reads(&text, &four());
    let text = encode_v1(&six());
    assert_eq!(text, b"PROXY TCP6 2001:db8::7 2001:db8::1 40000 993\r\n");
    assert_reads(&text, &six());
    assert_reads(&encode_v1(&Header::local()), &Header::local());
    let longest = b"PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n";
    assert_reads(longest, &Header::local());
    let mixed = Header::of(
        "192.0.2.7:1".parse().unwrap(),
        "[2001:db8::1]:2".parse().unwrap(),
    );
    assert_eq!(encode_v1(&mixed), b"PROXY UNKNOWN\r\n");
}

#[test]
fn version_1_is_strict() {
    for line in [
        "PROXY TCP4 192.0.2.7 198.51.100.1 040000 25",
        "PROXY TCP4 192.0.2.7 198.51.100.1 40000 65536",
        "PROXY TCP4 192.0.2.7 198.51.100.1 +400 25",
        "PROXY TCP4 192.0.2.07 198.51.100.1 40000 25",
        "PROXY TCP4 192.0.2 198.51.100.1 40000 25",
        "PROXY TCP4 2001:db8::7 2001:db8::1 40000 25",
        "PROXY TCP6 192.0.2.7 198.51.100.1 40000 25",
        "PROXY TCP6 2001:db8::7 198.51.100.1 40000 25",
        "PROXY TCP6 2001:db8::7%eth0 2001:db8::1 40000 25",
        "PROXY TCP4  192.0.2.7 198.51.100.1 40000 25",
        "PROXY TCP4 192.0.2.7 198.51.100.1 40000 25 ",
        "PROXY TCP4 192.0.2.7 198.51.100.1 40000",
        "PROXY TCP4",
        "PROXY UDP4 192.0.2.7 198.51.100.1 40000 25",
        "PROXY tcp4 192.0.2.7 198.51.100.1 40000 25",
        "PROXY ",
        "PROXY UNKNOWN\nx",
        "PROXY UNKNOWN\rx",
    ] {
        let line = format!("{line}\r\n");
        assert_eq!(fault(line.as_bytes()), Some(Fault::Line), "{line:?}");
    }
    assert_eq!(fault(b"PROXY TCP4 1\n"), Some(Fault::Line));
    // 107 octets are the most.
    let fits = format!("PROXY UNKNOWN {}\r\n", "x".repeat(107 - 16));
    assert!(matches!(parse(fits.as_bytes()), Progress::Complete(_, 107)));
    let longer = format!("PROXY UNKNOWN {}\r\n", "x".repeat(107 - 15));
    assert_eq!(fault(longer.as_bytes()), Some(Fault::Line));
    assert_eq!(
        fault(&[b"PROXY ", &[b'x'; 101][..]].concat()),
        Some(Fault::Line)
    );
    assert_eq!(
        parse(&[b"PROXY ", &[b'x'; 100][..]].concat()),
        Progress::NeedMore
    );
}

#[test]
fn nothing_else_is_a_header() {
    for bytes in [
        &b"EHLO x\r\n"[..],
        b"\x16\x03\x01",
        b"proxy ",
        b"\r\n\r\nX",
        b"PROXX",
    ] {
        assert_eq!(fault(bytes), Some(Fault::NoHeader), "{bytes:?}");
    }
    assert_eq!(parse(b""), Progress::NeedMore);
}

#[test]
fn version_2_there_and_back() {
    let ssl = Ssl {
        version: Some("TLSv1.3".into()),
        cipher: Some("TLS_AES_128_GCM_SHA256".into()),
        group: Some("X25519MLKEM768".into()),
        signature: Some("ecdsa_secp256r1_sha256".into()),
        client: Some(Shown {
            now: true,
            common_name: Some("Anna".into()),
            certificate: Some(Box::new([0x30, 3, 2, 1, 7])),
        }),
        verify: VERIFIED,
    };
    for mut header in [four(), six()] {
        assert_reads(&encode_v2(&header).unwrap(), &header);
        header.tlvs = vec![
            Tlv::new(Tlv::ALPN, *b"imap"),
            Tlv::new(Tlv::AUTHORITY, *b"mail.example"),
            Tlv::new(Tlv::UNIQUE_ID, [7; 16]),
            ssl.encode().unwrap(),
            Tlv::new(0xee, []),
        ];
        let bytes = encode_v2(&header).unwrap();
        assert_reads(&bytes, &header);
        assert_eq!(Ssl::parse(header.tlv(Tlv::SSL).unwrap()), Some(ssl.clone()));
    }
    // [PROXY-06] LOCAL
    let local = encode_v2(&Header::local()).unwrap();
    assert_eq!(local[12], 0x20);
    assert_reads(&local, &Header::local());
    // Different families are told as IPv6.
    let mixed = Header::of(
        "192.0.2.7:1".parse().unwrap(),
        "[2001:db8::1]:2".parse().unwrap(),
    );
    let Progress::Complete(read, _) = parse(&encode_v2(&mixed).unwrap()) else {
        panic!()
    };
    let source = read.endpoints.unwrap().source;
    assert_eq!(source.ip().to_canonical().to_string(), "192.0.2.7");
    let much = Header {
        tlvs: vec![
            Tlv::new(0xee, vec![0; 65_000]),
            Tlv::new(0xee, vec![0; 1000]),
        ],
        ..four()
    };
    assert_eq!(encode_v2(&much), Err(TooLong));
}

#[test]
fn known_octets() {
    // The example of proxy-protocol.txt 2.2 without information: family, length, addresses.
    let mut bytes = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c".to_vec();
    bytes.extend([192, 0, 2, 7, 198, 51, 100, 1, 0x9c, 0x40, 0, 25]);
    assert_reads(&bytes, &four());
}

#[test]
fn every_flipped_bit_of_a_header_is_noticed() {
    // [PROXY-04]
    let bytes = encode_v2(&four()).unwrap();
    // Without the checksum's own type there is no checksum.
    let kind = bytes.len() - 7;
    for place in (0..bytes.len()).filter(|place| *place != kind) {
        for bit in 0..8 {
            let mut flipped = bytes.clone();
            flipped[place] ^= 1 << bit;
            match parse(&flipped) {
                // A length that grew waits for what never comes; LOCAL and UNSPEC skip what stands there.
                Progress::Invalid(_) | Progress::NeedMore => {}
                Progress::Complete(header, _) => {
                    assert_ne!(header, four(), "octet {place}, bit {bit}");
                    assert_eq!(header.endpoints, None, "octet {place}, bit {bit}");
                }
            }
        }
    }
}

#[test]
fn version_2_is_strict() {
    let head = |command: u8, family: u8, body: &[u8]| {
        let length = u16::try_from(body.len()).unwrap().to_be_bytes();
        [
            &b"\r\n\r\n\0\r\nQUIT\n"[..],
            &[command, family],
            &length,
            body,
        ]
        .concat()
    };
    let addresses = [0; 12];
    for (command, family, body, expected) in [
        (0x22, 0x11, &addresses[..], Fault::Command),
        (0x11, 0x11, &addresses, Fault::Command),
        (0x21, 0x41, &addresses, Fault::Family),
        (0x21, 0x13, &addresses, Fault::Family),
        (0x21, 0x11, &addresses[..11], Fault::Length),
        (0x21, 0x21, &addresses, Fault::Length),
        (0x21, 0x31, &addresses, Fault::Length),
        (
            0x21,
            0x11,
            &[&addresses[..], &[4, 0]].concat(),
            Fault::Length,
        ),
        (
            0x21,
            0x11,
            &[&addresses[..], &[4, 0, 2, 0]].concat(),
            Fault::Length,
        ),
        (
            0x21,
            0x11,
            &[&addresses[..], &[3, 0, 1, 0]].concat(),
            Fault::Length,
        ),
    ] {
        assert_eq!(fault(&head(command, family, body)), Some(expected));
    }
    // The command is refused before all of it is there.
    assert_eq!(fault(b"\r\n\r\n\0\r\nQUIT\n\x31"), Some(Fault::Command));
    // [PROXY-03] LOCAL, UNSPEC and Unix addresses: the length is honoured, the connection's own endpoints count.
    for (command, family, body) in [
        (0x20, 0x11, vec![9; 3]),
        (0x20, 0x00, vec![9; 300]),
        (0x21, 0x00, vec![9; 5]),
        (0x21, 0x31, vec![0; 216]),
    ] {
        assert_reads(&head(command, family, &body), &Header::local());
    }
}
