//! The watcher on any octets: as a capture file, and as what two sides say.

use gatepost_audit::watch::Watcher;
use gatepost_audit::watch::certificates::Judge;
use gatepost_audit::watch::event::Event;
use gatepost_audit::watch::file::{Reader, Step};
use gatepost_audit::watch::privacy::Privacy;
use gatepost_testkit::capture::{Capture, Speaker};

use crate::Target;
use crate::behaviour;

/// A capture file, damaged.
pub const FILE: Target = Target {
    name: "watch-file",
    run: file,
    seeds: || {
        vec![dialogue(
            b"\0\x19220 mx\r\n\xffEHLO c\r\n\xff250 STARTTLS\r\n\xffMAIL FROM:<a@b>\r\n",
        )]
    },
    words: &["\u{8100}", "\x08\x00\x45"],
};

/// What two sides say in turn, on a port.
pub const DIALOGUE: Target = Target {
    name: "watch-dialogue",
    run: |data| {
        file(&dialogue(data));
    },
    seeds: || {
        [
            &b"\0\x19220 mx ESMTP\r\n\xffEHLO c\r\n\xff250-mx\r\n250-STARTTLS\r\n250 AUTH PLAIN\r\n\xffAUTH PLAIN AGEAYg==\r\n\xff235 ok\r\n\xffSTARTTLS\r\n"[..],
            b"\0\x6e+OK\r\n\xffUSER a\r\n\xff+OK\r\n\xffPASS b\r\n\xff+OK\r\n\xffRETR 1\r\n\xff+OK\r\nx\r\n.\r\n",
            b"\0\x8f* OK [CAPABILITY IMAP4rev1]\r\n\xffa LOGIN {1+}\r\na \"b\"\r\n\xffa OK\r\n\xffb FETCH 1 BODY[]\r\n\xff* 1 FETCH (BODY[] {1}\r\nx)\r\n",
            b"\x04\x38\xff\x05\x01\0\xff\x05\0\xff\x05\x01\0\x01\0\0\0\0\0\x19\xff\x05\0\0\x01\0\0\0\0\0\0\xff220 mx\r\n",
        ]
        .map(<[u8]>::to_vec)
        .to_vec()
    },
    words: &[
        "STARTTLS\r\n",
        "220 ",
        "250-",
        "354 ",
        "334 ",
        "235 ",
        "AUTH ",
        "LOGIN ",
        "XOAUTH2",
        "+OK",
        "-ERR",
        "* ",
        "{3+}\r\n",
        "\x16\x03\x01",
        "MAIL FROM:<",
        "DATA\r\n",
        "\r\n.\r\n",
        "BDAT 5\r\n",
    ],
};

/// Two octets of port, then what is said, sides changing at each octet 255.
fn dialogue(data: &[u8]) -> Vec<u8> {
    let (port, said) = data.split_at(data.len().min(2));
    let port = port
        .iter()
        .fold(0_u16, |port, it| port << 8 | u16::from(*it));
    let mut capture = Capture::new();
    let mut call = capture.call(port);
    for (at, part) in said.split(|it| *it == 255).enumerate() {
        let speaker = if at % 2 == 0 {
            Speaker::Server
        } else {
            Speaker::Client
        };
        for segment in part.chunks(1400) {
            capture.say(&mut call, speaker, segment);
        }
    }
    capture.close(&mut call);
    capture.to_pcap()
}

/// Reads a file to its end, or to where it is damaged.
///
/// # Panics
/// When a session that was encrypted is said to have been in clear, or a file gives packets without end.
pub fn file(data: &[u8]) {
    let mut watcher = Watcher::new(Privacy::new([1; 32], false), Judge::new(None));
    let mut reader = Reader::new();
    let mut rest = data;
    let mut packets = 0;
    while let Ok(step) = reader.next() {
        match step {
            Step::Packet(packet) => {
                packets += 1;
                assert!(packets <= data.len(), "more packets than octets");
                watcher.packet(&packet);
            }
            Step::NeedMore => {
                let space = reader.space();
                let count = space.len().min(rest.len());
                space[..count].copy_from_slice(&rest[..count]);
                reader.filled(count);
                rest = &rest[count..];
                if count == 0 {
                    reader.end();
                }
            }
            Step::End { .. } => break,
        }
    }
    watcher.finish();
    for event in watcher.take_events() {
        match event {
            Event::Finding(it) => {
                assert!(!it.text().is_empty(), "{} is no rule", it.id);
                behaviour::note(it.id);
            }
            Event::Session(it) => behaviour::note((it.outcome, it.upgrade)),
        }
    }
}
