//! Known answers and properties of [`super::HelloReader`].

use proptest::prelude::*;

use super::*;

/// A ClientHello body made of parts: suites and extensions, everything else fixed.
fn body(extensions: &[(u16, Vec<u8>)]) -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.extend([0, 0, 4, 0x13, 0x01, 0xc0, 0x2b, 1, 0]);
    let mut all = Vec::new();
    for (kind, data) in extensions {
        all.extend(kind.to_be_bytes());
        all.extend(vec16(data));
    }
    body.extend(vec16(&all));
    body
}

fn vec16(data: &[u8]) -> Vec<u8> {
    let mut out = u16::try_from(data.len()).unwrap().to_be_bytes().to_vec();
    out.extend(data);
    out
}

fn message(body: &[u8]) -> Vec<u8> {
    let mut out = u32::try_from(body.len()).unwrap().to_be_bytes().to_vec();
    out[0] = 1;
    out.extend(body);
    out
}

/// Cuts a message into records of at most `size` octets with the record version given.
fn records(message: &[u8], size: usize, version: u8) -> Vec<u8> {
    let mut out = Vec::new();
    for piece in message.chunks(size) {
        out.extend([22, 3, version]);
        out.extend(vec16(piece));
    }
    out
}

fn usual() -> Vec<(u16, Vec<u8>)> {
    let mut name = vec![0];
    name.extend(vec16(b"Mail.Example.org"));
    let mut share = vec![0, 29];
    share.extend(vec16(&[9; 32]));
    vec![
        (0, vec16(&name)),
        (10, vec16(&[0x11, 0xec, 0, 29, 0, 23])),
        (13, vec16(&[4, 3, 8, 4])),
        (16, vec16(b"\x04imap\x04pop3")),
        (23, vec![]),
        (43, vec![4, 3, 4, 3, 3]),
        (51, vec16(&share)),
        (0xff01, vec![0]),
        (0x5a5a, vec![1, 2, 3]),
    ]
}

fn one_push(bytes: &[u8]) -> Progress {
    HelloReader::default().push(bytes)
}

fn usual_bytes() -> Vec<u8> {
    records(&message(&body(&usual())), 16384, 1)
}

#[test]
fn reads_every_field() {
    let Progress::Hello(hello) = one_push(&usual_bytes()) else {
        panic!("not read")
    };
    let expected = ClientHello {
        legacy_version: 0x0303,
        random: [7; 32],
        cipher_suites: vec![0x1301, 0xc02b],
        compression_methods: vec![0],
        supported_versions: vec![0x0304, 0x0303],
        sni: Some("mail.example.org".into()),
        alpn: vec![b"imap".to_vec(), b"pop3".to_vec()],
        groups: vec![0x11ec, 29, 23],
        key_shares: vec![29],
        signature_schemes: vec![0x0403, 0x0804],
        has_ems: true,
        has_renegotiation_info: true,
        extensions: vec![0, 10, 13, 16, 23, 43, 51, 0xff01, 0x5a5a],
        ..ClientHello::default()
    };
    assert_eq!(*hello, expected);
    assert!(hello.offers(0x0304) && hello.offers(0x0303) && !hello.offers(0x0302));
}

#[test]
fn what_tls_1_3_must_have_is_looked_for() {
    // [TLS-MTI-01] RFC 9846 9.2
    let read = |extensions: &[(u16, Vec<u8>)]| match one_push(&records(
        &message(&body(extensions)),
        16384,
        1,
    )) {
        Progress::Hello(hello) => hello,
        other => panic!("{other:?}"),
    };
    let without = |absent: &[u16]| {
        let mut extensions = usual();
        extensions.retain(|(kind, _)| !absent.contains(kind));
        extensions
    };
    for (absent, missed) in [
        (&[][..], false),
        (&[0], false),
        (&[10], true),
        (&[13], true),
        (&[51], true),
        (&[10, 51], true),
        // TLS 1.2 has no such rule.
        (&[10, 43], false),
        (&[13, 43, 51], false),
    ] {
        let hello = read(&without(absent));
        assert_eq!(hello.misses_extension(), missed, "{absent:?}");
    }
    // With a pre-shared key nobody need sign.
    let mut resumes = without(&[10, 13, 51]);
    resumes.push((41, vec![0]));
    assert!(!read(&resumes).misses_extension());
    resumes.insert(0, (51, vec16(&[])));
    assert!(read(&resumes).misses_extension());

    let mut more = usual();
    more.push((50, vec16(&[4, 1])));
    assert_eq!(read(&more).certificate_schemes, [0x0401]);
    for broken in [&[][..], &[0, 1, 4], &[0, 2, 4, 1, 0]] {
        let mut more = usual();
        more.push((50, broken.to_vec()));
        let bytes = records(&message(&body(&more)), 16384, 1);
        assert_eq!(one_push(&bytes), Progress::Malformed, "{broken:?}");
    }
}

#[test]
fn any_record_version_is_taken() {
    // [TLS-VER-03]
    for version in 0..=255 {
        let bytes = records(&message(&body(&usual())), 16384, version);
        assert!(matches!(one_push(&bytes), Progress::Hello(_)), "{version}");
    }
}

#[test]
fn without_extensions_it_is_still_a_hello() {
    let whole = body(&[]);
    let Progress::Hello(hello) = one_push(&records(&message(&whole[..whole.len() - 2]), 99, 0))
    else {
        panic!("not read")
    };
    assert!(hello.offers(0x0301) && !hello.offers(0x0304));
}

#[test]
fn clear_text_is_told_from_the_first_octet() {
    for text in [
        &b"E"[..],
        b"a LOGIN x y\r\n",
        b"\x80\x2e\x01\x03\x01",
        b"\x15\x03",
        b"\x16\x02",
    ] {
        assert_eq!(one_push(text), Progress::NotTls, "{text:?}");
    }
}

#[test]
fn contradictions_are_refused() {
    let twice = [(23, vec![]), (23, vec![])];
    let psk_first = [(41, vec![0, 0]), (23, vec![])];
    let ems_with_data = [(23, vec![0])];
    let empty_alpn_name = [(16, vec16(b"\x00"))];
    let odd_groups = [(10, vec16(&[0, 29, 0]))];
    let two_names = [(0, vec16(b"\x00\x00\x01a\x00\x00\x01b"))];
    let lists: [&[(u16, Vec<u8>)]; 6] = [
        &twice,
        &psk_first,
        &ems_with_data,
        &empty_alpn_name,
        &odd_groups,
        &two_names,
    ];
    for extensions in lists {
        let bytes = records(&message(&body(extensions)), 16384, 1);
        assert_eq!(one_push(&bytes), Progress::Malformed, "{extensions:?}");
    }
}

#[test]
fn other_messages_and_bad_lengths_are_refused() {
    assert_eq!(one_push(&[22, 3, 1, 0, 4, 2, 0, 0, 0]), Progress::Malformed);
    assert_eq!(one_push(&[22, 3, 1, 0, 0]), Progress::Malformed);
    assert_eq!(one_push(&[22, 3, 1, 0xff, 0xff]), Progress::Malformed);
    let mut two = message(&body(&usual()));
    two.extend(message(&body(&usual())));
    assert_eq!(one_push(&records(&two, 16384, 1)), Progress::Malformed);
    // A record of another kind in the middle of the message.
    let mut broken = records(&message(&body(&usual()))[..20], 20, 1);
    broken.extend([23, 3, 3]);
    assert_eq!(one_push(&broken), Progress::Malformed);
}

#[test]
fn memory_is_bounded() {
    // [PQ-02] announced too large, and simply never complete.
    assert_eq!(
        one_push(&[22, 3, 1, 0, 4, 1, 0xff, 0, 0]),
        Progress::TooLarge
    );
    let mut reader = HelloReader::default();
    let endless = records(&message(&vec![0; MAX_HELLO]), 1, 1);
    let mut pushed = 0;
    let progress = loop {
        let progress = reader.push(&endless[pushed..=pushed]);
        pushed += 1;
        if progress != Progress::NeedMore {
            break progress;
        }
    };
    assert_eq!((progress, pushed), (Progress::TooLarge, MAX_HELLO));
}

#[test]
fn bytes_behind_the_hello_are_kept_for_the_engine() {
    let mut bytes = usual_bytes();
    bytes.extend([23, 3, 3, 0, 1, 0]);
    let mut reader = HelloReader::default();
    assert!(matches!(reader.push(&bytes), Progress::Hello(_)));
    assert_eq!(reader.into_bytes(), bytes);
}

proptest! {
    /// [PQ-02] however it is cut into records and segments, it is the same hello.
    #[test]
    fn any_segmentation_is_the_same(record in 1_usize..400, segment in 1_usize..50) {
        let whole = one_push(&usual_bytes());
        let bytes = records(&message(&body(&usual())), record, 3);
        let mut reader = HelloReader::default();
        let mut last = Progress::NeedMore;
        for piece in bytes.chunks(segment) {
            prop_assert_eq!(&last, &Progress::NeedMore);
            last = reader.push(piece);
        }
        prop_assert_eq!(last, whole);
        prop_assert_eq!(reader.into_bytes(), bytes);
    }

    /// A hello cut short anywhere is never taken for a whole one.
    #[test]
    fn a_truncated_hello_is_incomplete(cut in 0_usize..1000) {
        let bytes = usual_bytes();
        let cut = cut % bytes.len();
        prop_assert_eq!(one_push(&bytes[..cut]), Progress::NeedMore);
    }

    /// A body cut short inside a message of the right length is refused.
    #[test]
    fn a_shortened_body_is_malformed(cut in 0_usize..1000) {
        let whole = body(&usual());
        let cut = cut % whole.len();
        // Exactly before the extensions it is a hello without any.
        prop_assume!(cut != 2 + 32 + 9);
        prop_assert_eq!(one_push(&records(&message(&whole[..cut]), 16384, 1)), Progress::Malformed);
    }

    /// Changed octets and noise never panic.
    #[test]
    fn noise_never_panics(at in 0_usize..300, to: u8, noise in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut bytes = usual_bytes();
        let at = at % bytes.len();
        bytes[at] = to;
        let _ = one_push(&bytes);
        let _ = one_push(&noise);
        let _ = one_push(&records(&message(&noise), 16384, 1));
    }
}
