//! Version 1: a line of text.

use std::net::{IpAddr, SocketAddr};

use super::{Endpoints, Fault, Header, Progress};

pub(super) const MARK: &[u8] = b"PROXY ";
/// The longest line, with its CRLF.
const LONGEST: usize = 107;

/// Writes a header of version 1; further information has no place in it. Endpoints of different families are not told.
pub fn encode(header: &Header) -> Vec<u8> {
    let Some(Endpoints {
        source,
        destination,
    }) = header.endpoints
    else {
        return b"PROXY UNKNOWN\r\n".to_vec();
    };
    let family = match (source, destination) {
        (SocketAddr::V4(_), SocketAddr::V4(_)) => "TCP4",
        (SocketAddr::V6(_), SocketAddr::V6(_)) => "TCP6",
        _ => return b"PROXY UNKNOWN\r\n".to_vec(),
    };
    let (from, to) = (source.ip(), destination.ip());
    let (from_port, to_port) = (source.port(), destination.port());
    format!("PROXY {family} {from} {to} {from_port} {to_port}\r\n").into_bytes()
}

/// [PROXY-02] At most 107 octets, exactly by the grammar.
pub(super) fn parse(bytes: &[u8]) -> Progress {
    let window = bytes.get(..LONGEST).unwrap_or(bytes);
    let Some(end) = window.iter().position(|it| matches!(it, b'\r' | b'\n')) else {
        return if bytes.len() >= LONGEST {
            Progress::Invalid(Fault::Line)
        } else {
            Progress::NeedMore
        };
    };
    match window.get(end..).unwrap_or_default() {
        [b'\r', b'\n', ..] => {}
        [b'\r'] if bytes.len() < LONGEST => return Progress::NeedMore,
        _ => return Progress::Invalid(Fault::Line),
    }
    let line = window.get(MARK.len()..end).unwrap_or_default();
    match read_line(line) {
        Some(header) => Progress::Complete(header, end + 2),
        None => Progress::Invalid(Fault::Line),
    }
}

fn read_line(line: &[u8]) -> Option<Header> {
    let line = std::str::from_utf8(line).ok()?;
    let mut words = line.split(' ');
    let family = words.next()?;
    if family == "UNKNOWN" {
        // What else stands there is not looked at.
        return Some(Header::local());
    }
    let mut next = || words.next();
    let (source, destination) = (next()?.parse().ok()?, next()?.parse().ok()?);
    let (from_port, to_port) = (port(next()?)?, port(next()?)?);
    let fits = match (source, destination) {
        (IpAddr::V4(_), IpAddr::V4(_)) => family == "TCP4",
        (IpAddr::V6(_), IpAddr::V6(_)) => family == "TCP6",
        _ => false,
    };
    if !fits || next().is_some() {
        return None;
    }
    Some(Header::of(
        SocketAddr::new(source, from_port),
        SocketAddr::new(destination, to_port),
    ))
}

/// Digits only, no leading zero, at most 65535.
fn port(text: &str) -> Option<u16> {
    let plain =
        text == "0" || (!text.starts_with('0') && text.bytes().all(|it| it.is_ascii_digit()));
    plain.then(|| text.parse().ok()).flatten()
}
