//! A server that does not say that this is its connection's first handshake [TLS-RENEG-01] (RFC 5746 3.4, RFC 9325 3.5).

mod support;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;

use gatepost_net::client::{Channel, Failure};
use gatepost_net::driver::TlsFailure;
use gatepost_trust::verify::{ClientTls, Terms, Versions};
use support::caller::{self, terms};

/// What is done to `renegotiation_info` on the way.
#[derive(Debug, Clone, Copy)]
enum Change {
    Nothing,
    /// It is taken out.
    Gone,
    /// It speaks of an earlier handshake: 12 octets of its Finished.
    Earlier,
}

/// Stands before a server and changes its hello. What the client sends behind its own hello is told.
fn before(server: SocketAddr, change: Change) -> (SocketAddr, mpsc::Receiver<u64>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        let mut server = TcpStream::connect(server).unwrap();
        server.write_all(&record(&mut client).unwrap()).unwrap();
        let hello = changed(record(&mut server).unwrap(), change);
        client.write_all(&hello).unwrap();
        let (mut back, mut to) = (server.try_clone().unwrap(), client.try_clone().unwrap());
        std::thread::spawn(move || {
            let _ = std::io::copy(&mut back, &mut to);
        });
        let _ = tell.send(std::io::copy(&mut client, &mut server).unwrap_or(0));
    });
    (address, told)
}

/// One TLS record with its header.
fn record(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut record = vec![0; 5];
    stream.read_exact(&mut record)?;
    let length = usize::from(u16::from_be_bytes([record[3], record[4]]));
    record.resize(5 + length, 0);
    stream.read_exact(&mut record[5..])?;
    Ok(record)
}

/// The record with another ServerHello. It may hold other messages behind it.
fn changed(record: Vec<u8>, change: Change) -> Vec<u8> {
    let put = match change {
        Change::Nothing => return record,
        Change::Gone => Vec::new(),
        Change::Earlier => [&[0xff, 1, 0, 13, 12][..], &[7; 12]].concat(),
    };
    let message = &record[5..];
    assert_eq!(message[0], 2, "the server's hello comes first");
    let length = usize::from(u16::from_be_bytes([message[2], message[3]]));
    let (hello, others) = message[4..].split_at(length);
    // Version, random, session id, suite, compression; then the extensions.
    let fixed = 2 + 32 + 1 + usize::from(hello[34]) + 2 + 1;
    let (fixed, extensions) = (&hello[..fixed], &hello[fixed + 2..]);
    let at = extensions
        .windows(5)
        .position(|it| it == [0xff, 1, 0, 1, 0])
        .expect("our server has renegotiation_info");
    let extensions = [&extensions[..at], &put, &extensions[at + 5..]].concat();
    let two = |length: usize| u16::try_from(length).unwrap().to_be_bytes();
    let hello = [fixed, &two(extensions.len()), &extensions].concat();
    let message = [&[2, 0][..], &two(hello.len()), &hello, others].concat();
    [&record[..3], &two(message.len()), &message].concat()
}

#[tokio::test]
async fn a_first_handshake_is_insisted_on() {
    for change in [Change::Nothing, Change::Gone, Change::Earlier] {
        let server = support::implicit();
        let (address, told) = before(server.address, change);
        let tls = ClientTls::new(Terms {
            versions: Versions::Only12,
            ..terms()
        });
        let mut session = caller::session(address, caller::implicit(), tls).await;
        let said = session.next().await;
        if matches!(change, Change::Nothing) {
            assert_eq!(said.unwrap().unwrap(), "220 inside");
            assert!(matches!(session.channel(), Channel::Verified(_)));
            continue;
        }
        let failure = said.unwrap_err();
        let expected = Failure::Handshake(TlsFailure::NoSecureRenegotiation);
        assert_eq!(failure.label(), expected.label(), "{change:?}: {failure}");
        assert_eq!(failure.label(), "E-TLS-RENEGOTIATION");
        assert_eq!(session.channel(), Channel::Clear);
        drop(session);
        // The client gives up at the hello: neither a key nor a certificate of its own goes out.
        assert_eq!(told.recv().unwrap(), 0, "{change:?}");
    }
}
