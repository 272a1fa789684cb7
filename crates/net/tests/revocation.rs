//! Lists of revoked certificates, fetched between the handshake and the first word. [REV-02]

mod support;

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use gatepost_net::client::dial::Dialer;
use gatepost_net::client::{Channel, Failure, Options, Session};
use gatepost_net::http::CrlFetcher;
use gatepost_testkit::pki::{Authority, Issued, now};
use gatepost_trust::verify::{ClientTls, Reference, RevocationMode, Roots, Terms};
use gatepost_wire::seam::VerifiedBy;
use rcgen::CrlDistributionPoint;
use rustls::ServerConfig;
use support::caller::{self, Caller};
use support::scripted::{self, hear, say, start};

/// A web server for one list, if there is one by then.
fn web(list: Arc<OnceLock<Vec<u8>>>) -> SocketAddr {
    start(move |mut stream, _| {
        while hear(&mut stream) != "\r\n" {}
        let Some(list) = list.get() else {
            return say(
                &mut stream,
                "HTTP/1.1 404 None\r\nContent-Length: 0\r\n\r\n",
            );
        };
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", list.len());
        say(&mut stream, &head);
        stream.write_all(list).unwrap();
    })
}

/// A server of the toy protocol that names the list in its certificate.
fn server(root: &Authority, list: SocketAddr) -> (SocketAddr, Issued) {
    let issued = root.issue_with(&["mail.example"], |params| {
        params.crl_distribution_points = vec![CrlDistributionPoint {
            uris: vec![format!("http://{list}/list.crl")],
        }];
    });
    let config = ServerConfig::builder_with_provider(gatepost_trust::profile::provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![issued.certificate.clone()], issued.private_key())
        .unwrap();
    let config = Arc::new(config);
    let address = start(move |stream, _| {
        if let Some(mut tls) = scripted::tls_with(stream, &config) {
            let _ = tls.write_all(b"220 inside\r\n");
            let _ = tls.flush();
            scripted::wait_for_end(tls.sock);
        }
    });
    (address, issued)
}

struct World {
    root: Authority,
    list: Arc<OnceLock<Vec<u8>>>,
    server: SocketAddr,
    issued: Issued,
}

fn world() -> World {
    let root = Authority::root("Root");
    let list = Arc::default();
    let (server, issued) = server(&root, web(Arc::clone(&list)));
    World {
        root,
        list,
        server,
        issued,
    }
}

async fn connect(
    world: &World,
    mode: RevocationMode,
) -> (Session<Caller>, Result<Option<String>, Failure>) {
    let mut roots = Roots::none();
    roots.add(world.root.certificate.clone()).unwrap();
    let host = Reference::host("mail.example").unwrap();
    let terms = Terms {
        revocation: mode,
        ..Terms::for_host(host, Arc::new(roots))
    };
    let options = Options {
        clock: now,
        crls: Some(Arc::new(CrlFetcher::new(Dialer::default()))),
        ..Options::default()
    };
    let tls = ClientTls::new(terms);
    let mut session = caller::session_with(world.server, caller::implicit(), tls, options).await;
    let first = session.next().await;
    (session, first)
}

#[tokio::test]
async fn a_list_without_the_certificate_verifies_even_in_hard_mode() {
    let world = world();
    world.list.set(world.root.crl(&[])).unwrap();
    let (session, first) = connect(&world, RevocationMode::Hard).await;
    assert_eq!(first.unwrap().unwrap(), "220 inside");
    assert_eq!(session.channel(), Channel::Verified(VerifiedBy::Pkix));
}

#[tokio::test]
async fn a_revoked_certificate_is_refused_before_a_word_is_said() {
    for mode in [RevocationMode::Hard, RevocationMode::Soft] {
        let world = world();
        let revoked = world.root.crl(&[&world.issued.serial]);
        world.list.set(revoked).unwrap();
        let (session, first) = connect(&world, mode).await;
        assert_eq!(first.unwrap_err().label(), "E-CERT-REVOKED", "{mode:?}");
        assert_eq!(session.channel(), Channel::Clear);
    }
}

#[tokio::test]
async fn a_list_that_cannot_be_had_matters_in_hard_mode_only() {
    let world = world();
    let (_, first) = connect(&world, RevocationMode::Hard).await;
    assert_eq!(first.unwrap_err().label(), "E-CERT-STATUS-UNKNOWN");
    let (session, first) = connect(&world, RevocationMode::Soft).await;
    assert_eq!(first.unwrap().unwrap(), "220 inside");
    assert_eq!(session.channel(), Channel::Verified(VerifiedBy::Pkix));
}
