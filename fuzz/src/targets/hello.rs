//! The ClientHello reader: any cut gives the same hello.

use gatepost_wire::tls::{HelloReader, Progress};

use crate::Target;
use crate::behaviour;
use crate::input::Input;

/// A ClientHello in segments.
pub const READER: Target = Target {
    name: "hello",
    run: reader,
    seeds,
    words: &["\x16\x03\x01", "\x00\x00", "\x00\x2b", "\x01\x00"],
};

/// Reads a ClientHello, cut and whole.
///
/// # Panics
/// When the cut changes what is read, or bytes are lost.
pub fn reader(data: &[u8]) {
    let input = Input::parse(data);
    let (whole, _) = read(&[input.clear]);
    let (cut, kept) = read(&input.segments(input.clear));
    // Cut, the reader stops at the first segment that decides; whole, it may decide differently only about later bytes.
    match (&whole, &cut) {
        (Progress::Hello(one), Progress::Hello(other)) => {
            assert_eq!(one, other, "the cut changes the hello");
        }
        (Progress::NeedMore, other) => {
            assert_eq!(*other, Progress::NeedMore, "the cut changes the verdict");
        }
        (Progress::NotTls, other) => {
            assert_eq!(*other, Progress::NotTls, "the cut changes the verdict");
        }
        _ => {}
    }
    assert!(
        input.clear.starts_with(&kept),
        "the reader does not keep what it was given"
    );
    behaviour::note(std::mem::discriminant(&whole));
    if let Progress::Hello(hello) = whole {
        behaviour::note(format!("{hello:?}").len() / 8);
    }
}

fn read(segments: &[&[u8]]) -> (Progress, Vec<u8>) {
    let mut reader = HelloReader::default();
    let mut progress = Progress::NeedMore;
    for segment in segments {
        progress = reader.push(segment);
        if progress != Progress::NeedMore {
            break;
        }
    }
    (progress, reader.into_bytes())
}

fn seeds() -> Vec<Vec<u8>> {
    let hello = hello();
    let mut two_records = vec![0x16, 3, 1, 0, 20];
    two_records.extend_from_slice(&hello[5..25]);
    two_records.extend([0x16, 3, 3]);
    two_records.extend(
        u16::try_from(hello.len() - 25)
            .unwrap_or_default()
            .to_be_bytes(),
    );
    two_records.extend_from_slice(&hello[25..]);
    vec![
        Input::build(0, &[], &hello),
        Input::build(0, &[1], &hello),
        Input::build(0, &[100, 2], &two_records),
        Input::build(0, &[], b"EHLO client.test\r\n"),
    ]
}

/// A small ClientHello: SNI, ALPN, supported versions, groups.
fn hello() -> Vec<u8> {
    let extensions: &[u8] = &[
        0, 0, 0, 14, 0, 12, 0, 0, 9, b'l', b'o', b'c', b'a', b'l', b'h', b'o', b's',
        b't', // server_name
        0, 16, 0, 7, 0, 5, 4, b'i', b'm', b'a', b'p', // ALPN
        0, 43, 0, 5, 4, 3, 4, 3, 3, // supported_versions
        0, 10, 0, 6, 0, 4, 0x11, 0xec, 0, 29, // supported_groups
        0, 23, 0, 0, // extended_master_secret
    ];
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.extend([0, 0, 4, 0x13, 1, 0x13, 2, 1, 0]);
    body.extend(
        u16::try_from(extensions.len())
            .unwrap_or_default()
            .to_be_bytes(),
    );
    body.extend_from_slice(extensions);
    let mut record = vec![0x16, 3, 1];
    record.extend(
        u16::try_from(body.len() + 4)
            .unwrap_or_default()
            .to_be_bytes(),
    );
    record.extend([1, 0]);
    record.extend(u16::try_from(body.len()).unwrap_or_default().to_be_bytes());
    record.extend(body);
    record
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seed_is_a_client_hello() {
        let (progress, _) = read(&[&hello()]);
        assert!(matches!(progress, Progress::Hello(_)), "{progress:?}");
    }
}
