//! The same connection in every link layer that is known.

use gatepost_audit::watch::file::Packet;
use gatepost_testkit::capture::Capture;

use super::support::{Told, connection, watcher};
use gatepost_audit::watch::Watcher;
use gatepost_audit::watch::event::Event;

const DIALOGUE: &str = "
    S: 220 mx.example.org ESMTP
    C: EHLO client.example.net
    S: 250-mx.example.org
    + 250 AUTH PLAIN
    C: AUTH PLAIN AGFubmEAcGVuY2ls
    S: 235 ok
    C: QUIT
    S: 221 bye";

/// Feeds packets made by wrapping the IP datagram of each packet.
fn feed(watcher: &mut Watcher, capture: &Capture, link: u32, wrap: &dyn Fn(&[u8]) -> Vec<Vec<u8>>) {
    for packet in &capture.packets {
        for octets in wrap(&packet.octets[14..]) {
            watcher.packet(&Packet {
                link,
                time: packet.time * 1000,
                octets: &octets,
                length: octets.len(),
            });
        }
    }
}

fn told(mut watcher: Watcher) -> Told {
    watcher.finish();
    let mut told = Told::default();
    for event in watcher.take_events() {
        match event {
            Event::Finding(it) => told.findings.push(*it),
            Event::Session(it) => told.sessions.push(*it),
        }
    }
    told
}

fn wrapped(link: u32, wrap: &dyn Fn(&[u8]) -> Vec<Vec<u8>>) -> Vec<&'static str> {
    let mut watcher = watcher();
    feed(&mut watcher, &connection(587, DIALOGUE), link, wrap);
    told(watcher).ids()
}

fn behind(header: &[u8]) -> impl Fn(&[u8]) -> Vec<Vec<u8>> {
    let header = header.to_vec();
    move |ip| vec![[&header, ip].concat()]
}

const FOUND: [&str; 2] = ["W101", "W312"];

#[test]
fn every_link_layer() {
    let frame = |kinds: &[u8]| [&[0; 12], kinds].concat();
    for (link, header) in [
        (1, frame(&[8, 0])),
        (1, frame(&[0x81, 0, 0, 5, 8, 0])),
        (
            1,
            frame(&[0x88, 0xa8, 0, 9, 0x81, 0, 0, 5, 0x81, 0, 0, 7, 8, 0]),
        ),
        (1, frame(&[0x88, 0x47, 0, 1, 0x10, 64, 0, 2, 0x21, 64])),
        (1, frame(&[0x88, 0x64, 0x11, 0, 0, 1, 0, 9, 0, 0x21])),
        (0, vec![2, 0, 0, 0]),
        (0, vec![0, 0, 0, 2]),
        (108, vec![0, 0, 0, 2]),
        (12, Vec::new()),
        (101, Vec::new()),
        (228, Vec::new()),
        (9, vec![0xff, 3, 0, 0x21]),
        (50, vec![0x21]),
        (51, vec![0x11, 0, 0, 1, 0, 9, 0, 0x21]),
        (104, vec![0x0f, 0, 8, 0]),
        (113, [&[0; 14][..], &[8, 0]].concat()),
        (276, [&[8, 0][..], &[0; 18]].concat()),
    ] {
        assert_eq!(
            wrapped(link, &behind(&header)),
            FOUND,
            "link type {link}, {header:02x?}"
        );
    }
    let log = |ip: &[u8]| {
        let length = u16::try_from(ip.len() + 4).unwrap().to_le_bytes();
        vec![
            [
                &[
                    2, 0, 0, 0, 8, 0, 1, 0, 0, 0, 0, 0, length[0], length[1], 9, 0,
                ],
                ip,
            ]
            .concat(),
        ]
    };
    assert_eq!(wrapped(239, &log), FOUND);
}

#[test]
fn an_unknown_link_layer_is_told_once() {
    assert_eq!(wrapped(147, &behind(&[])), ["W907"]);
}

/// The datagram in an IPv6 datagram of the same segment.
fn version6(ip: &[u8], extension: &[u8], next: u8) -> Vec<u8> {
    let segment = &ip[20..];
    let length = u16::try_from(extension.len() + segment.len())
        .unwrap()
        .to_be_bytes();
    let mut datagram = vec![0x60, 0, 0, 0, length[0], length[1], next, 64];
    for address in [&ip[12..16], &ip[16..20]] {
        datagram.extend([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0]);
        datagram.extend(address);
    }
    datagram.extend(extension);
    datagram.extend(segment);
    datagram
}

#[test]
fn version_6_with_headers_between() {
    assert_eq!(wrapped(101, &|ip| vec![version6(ip, &[], 6)]), FOUND);
    let options = [
        60, 0, 1, 4, 0, 0, 0, 0, 6, 1, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    ];
    assert_eq!(wrapped(101, &|ip| vec![version6(ip, &options, 0)]), FOUND);
    // A fragment that is the whole.
    assert_eq!(
        wrapped(101, &|ip| vec![version6(ip, &[6, 0, 0, 0, 0, 0, 0, 9], 44)]),
        FOUND
    );
}

/// An IPv4 datagram in fragments of so many octets.
fn fragments(ip: &[u8], size: usize) -> Vec<Vec<u8>> {
    let (header, body) = ip.split_at(20);
    let number = u16::from_be_bytes([ip[24], ip[25]])
        ^ u16::from_be_bytes([ip[26], ip[27]])
        ^ u16::try_from(body.len()).unwrap();
    let parts: Vec<&[u8]> = body.chunks(size).collect();
    let count = parts.len();
    let mut all = Vec::new();
    for (at, part) in parts.into_iter().enumerate() {
        let mut datagram = header.to_vec();
        datagram[2..4].copy_from_slice(&u16::try_from(20 + part.len()).unwrap().to_be_bytes());
        datagram[4..6].copy_from_slice(&number.to_be_bytes());
        let more = if at + 1 < count { 0x2000 } else { 0 };
        let field = u16::try_from(at * size / 8).unwrap() | more;
        datagram[6..8].copy_from_slice(&field.to_be_bytes());
        datagram.extend(part);
        all.push(datagram);
    }
    all
}

#[test]
fn fragments_in_any_order() {
    assert_eq!(wrapped(101, &|ip| fragments(ip, 8)), FOUND);
    let backwards = |ip: &[u8]| {
        let mut all = fragments(ip, 16);
        all.reverse();
        all
    };
    assert_eq!(wrapped(101, &backwards), FOUND);
}

#[test]
fn fragments_that_overlap_are_dropped() {
    let overlapping = |ip: &[u8]| {
        let mut all = fragments(ip, 16);
        if let Some(second) = all.get(1).cloned() {
            let mut forged = second;
            forged[6..8].copy_from_slice(&0x2001_u16.to_be_bytes());
            all.insert(1, forged);
        }
        all
    };
    assert!(wrapped(101, &overlapping).is_empty());
}

#[test]
fn networks_are_kept_apart_unless_asked_otherwise() {
    // Each side tagged with a number of its own.
    let tagged = |ip: &[u8]| {
        let number = if ip[20..22] == 587_u16.to_be_bytes() {
            5
        } else {
            6
        };
        vec![[&[0; 12], &[0x81, 0, 0, number, 8, 0][..], ip].concat()]
    };
    let capture = connection(587, DIALOGUE);
    let mut joined = watcher();
    joined.ignore_vlan();
    feed(&mut joined, &capture, 1, &tagged);
    assert_eq!(told(joined).ids(), FOUND);
    let mut apart = watcher();
    feed(&mut apart, &capture, 1, &tagged);
    assert!(told(apart).ids().contains(&"W904"));
}

#[test]
fn tunnels_of_packets() {
    let generic = |ip: &[u8]| {
        let mut outer = vec![
            0x45, 0, 0, 0, 0, 0, 0, 0, 64, 47, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2,
        ];
        outer.extend([0, 0, 8, 0]);
        outer.extend(ip);
        let length = u16::try_from(outer.len()).unwrap().to_be_bytes();
        outer[2..4].copy_from_slice(&length);
        vec![outer]
    };
    assert_eq!(wrapped(101, &generic), FOUND);
    let extensible = |ip: &[u8]| {
        let mut outer = vec![
            0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2,
        ];
        outer.extend([0x12, 0x34, 0x12, 0xb5, 0, 0, 0, 0]);
        outer.extend([8, 0, 0, 0, 0, 0, 1, 0]);
        outer.extend([0; 12]);
        outer.extend([8, 0]);
        outer.extend(ip);
        let length = u16::try_from(outer.len()).unwrap().to_be_bytes();
        outer[2..4].copy_from_slice(&length);
        vec![outer]
    };
    assert_eq!(wrapped(101, &extensible), FOUND);
}
