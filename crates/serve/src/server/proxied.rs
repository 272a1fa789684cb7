//! PROXY headers in front of a connection: from listed networks one must come, from others none is looked for [PROXY-01].
//!
//! It is read before a greeting and before TLS, octet by octet where its length is not known, so that nothing behind it is taken.
//! What is not exactly a header, or does not come in time, ends the connection without a word.

use std::net::SocketAddr;
use std::time::Duration;

use gatepost_wire::proxy::{Header, Progress, parse};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long the header may take. The document asks for 3 s at least.
pub(super) const DEADLINE: Duration = Duration::from_secs(5);
/// The longest header of version 1.
const LONGEST_LINE: usize = 107;
/// The longest header of version 2 that is read: a client's certificate may be in it.
const LONGEST: usize = 16 * 1024;
/// The fixed part of a header of version 2.
const FIXED: usize = 16;

/// Why there is no header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoHeader {
    /// It did not come in time, or the connection ended.
    Missing,
    /// What came is none.
    Bad,
}

impl NoHeader {
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Missing => "proxy_header_missing",
            Self::Bad => "proxy_header_bad",
        }
    }
}

/// For whom the connection is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Origin {
    /// The client; none: the one who connected speaks for itself.
    pub(super) client: Option<SocketAddr>,
    /// Where it connected to.
    pub(super) local: Option<SocketAddr>,
    /// How many gates it has come through.
    pub(super) gates: u8,
}

/// Reads the header that must come.
pub(super) async fn read(stream: &mut TcpStream) -> Result<Origin, NoHeader> {
    let header = timeout(DEADLINE, read_header(stream)).await;
    let header = header.unwrap_or(Err(NoHeader::Missing))?;
    Ok(Origin {
        gates: header.gates(),
        client: header.endpoints.map(|it| it.source),
        local: header.endpoints.map(|it| it.destination),
    })
}

async fn read_header(stream: &mut TcpStream) -> Result<Header, NoHeader> {
    let missing = |_| NoHeader::Missing;
    let mut bytes = vec![0; 1];
    stream.read_exact(&mut bytes).await.map_err(missing)?;
    if bytes == b"P" {
        // A line: its end decides where it ends.
        while !bytes.ends_with(b"\n") {
            if bytes.len() >= LONGEST_LINE {
                return Err(NoHeader::Bad);
            }
            bytes.push(stream.read_u8().await.map_err(missing)?);
        }
    } else {
        bytes.resize(FIXED, 0);
        stream.read_exact(&mut bytes[1..]).await.map_err(missing)?;
        let length = FIXED + usize::from(u16::from_be_bytes([bytes[14], bytes[15]]));
        // Judged before its length is believed.
        if matches!(parse(&bytes), Progress::Invalid(_)) || length > LONGEST {
            return Err(NoHeader::Bad);
        }
        bytes.resize(length, 0);
        stream
            .read_exact(&mut bytes[FIXED..])
            .await
            .map_err(missing)?;
    }
    match parse(&bytes) {
        Progress::Complete(header, length) if length == bytes.len() => Ok(header),
        _ => Err(NoHeader::Bad),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gatepost_wire::proxy::{encode_v1, encode_v2};
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpListener;

    /// What is read of these words, and what is left behind the header.
    async fn said(words: &[u8]) -> (Result<Origin, NoHeader>, Vec<u8>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut peer = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let (mut stream, _) = listener.accept().await.unwrap();
        peer.write_all(words).await.unwrap();
        peer.shutdown().await.unwrap();
        let origin = read(&mut stream).await;
        let mut rest = Vec::new();
        // After a refusal the peer may have been reset already.
        let _ = stream.read_to_end(&mut rest).await;
        (origin, rest)
    }

    fn header() -> Header {
        Header::of(
            "192.0.2.7:4711".parse().unwrap(),
            "198.51.100.1:993".parse().unwrap(),
        )
    }

    // [PROXY-01] [PROXY-02] [PROXY-03]
    #[tokio::test]
    async fn a_header_is_read_and_nothing_behind_it() {
        for bytes in [encode_v1(&header()), encode_v2(&header()).unwrap()] {
            let (origin, rest) = said(&[&bytes[..], b"\x16\x03\x01"].concat()).await;
            let origin = origin.unwrap();
            assert_eq!(origin.client, Some("192.0.2.7:4711".parse().unwrap()));
            assert_eq!(origin.local, Some("198.51.100.1:993".parse().unwrap()));
            assert_eq!(rest, b"\x16\x03\x01");
        }
        for bytes in [
            b"PROXY UNKNOWN\r\n".to_vec(),
            encode_v2(&Header::local()).unwrap(),
        ] {
            assert_eq!(said(&bytes).await.0.unwrap().client, None);
        }
    }

    // [PROXY-01] [PROXY-04]
    #[tokio::test]
    async fn what_is_no_header_ends_it() {
        let mut flipped = encode_v2(&header()).unwrap();
        flipped[20] ^= 1;
        for bytes in [
            b"EHLO client.example\r\nNOOP\r\n".to_vec(),
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03aaaaaaaaaa".to_vec(),
            b"PROXY TCP4 192.0.2.7 198.51.100.1 04711 993\r\n".to_vec(),
            [&b"PROXY TCP4 "[..], &[b'1'; 200]].concat(),
            flipped,
        ] {
            assert_eq!(said(&bytes).await.0, Err(NoHeader::Bad), "{bytes:?}");
        }
        for bytes in [&b""[..], b"PROXY TCP4 192.0.2.7", b"\r\n\r\n\0\r\nQUIT\n!"] {
            assert_eq!(said(bytes).await.0, Err(NoHeader::Missing), "{bytes:?}");
        }
    }
}
