//! Domains judged by what real name servers and a real web host say: signed zones, broken ones, an HTTPS host with policies.
//!
//! The services are facts made by hand here; the program's own tests look at live ones. `cases` holds, for every id, a case that
//! passes, one with a finding and one that could not be told.

mod cases;
mod web;
mod zones;

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use gatepost_audit::check::domain::{self, DomainFacts, Means, examine};
use gatepost_net::client::dial::Dialer;
use gatepost_net::dns::Network;
use gatepost_testkit::dns_lab::{DnsLab, NoLab};
use gatepost_testkit::pki::{Authority, Issued};
use gatepost_trust::dns::Anchors;
use gatepost_trust::verify::Roots;

/// Names with this in them get SERVFAIL.
const LOST: &[u8] = b"lost";

/// What the tests stand on.
pub(crate) struct World {
    pub(crate) leaf: Issued,
    pub(crate) other: Issued,
    means: Means,
    _lab: DnsLab,
}

impl World {
    /// None, said by name, where the name servers are not installed.
    fn new() -> Option<Self> {
        let root = Authority::root_with("Root", zones::good_until_2040);
        let leaf = root.issue_with(&zones::mail_hosts(), zones::good_until_2040);
        let other = root.issue_with(&zones::mail_hosts(), zones::good_until_2040);
        let lab = match DnsLab::start(&zones::all(&leaf)) {
            Ok(lab) => lab,
            Err(NoLab::Missing { program, package }) => {
                eprintln!("skipped: {program} is not installed (Debian: {package})");
                return None;
            }
            Err(NoLab::Failed(why)) => panic!("{why}"),
        };
        let web = root.issue_with(&zones::web_hosts(), zones::good_until_2040);
        let address = web::serve(&web);
        let mut means = self::means(&lab, forward(lab.plain));
        let mut roots = Roots::none();
        roots.add(root.certificate.clone()).unwrap();
        means.roots = Arc::new(roots);
        means.https_port = address.port();
        Some(Self {
            leaf,
            other,
            means,
            _lab: lab,
        })
    }

    pub(crate) async fn examine(&self, domain: &str) -> DomainFacts {
        let mut means = self.means.clone();
        if domain.starts_with("keys.") {
            means.selectors = vec!["long".into(), "short".into()];
        }
        examine(domain, &means).await
    }
}

fn means(lab: &DnsLab, resolver: SocketAddr) -> Means {
    let anchors = Anchors::parse(&lab.anchor).unwrap();
    let network = Network::new(vec![resolver]);
    let mut means = Means::new(network, anchors, Dialer::default(), Arc::new(Roots::none()));
    means.patience = Duration::from_secs(20);
    means
}

/// A resolver between: it hands on what the lab says, and fails for some names.
fn forward(to: SocketAddr) -> SocketAddr {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = socket.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut datagram = [0; 4096];
        while let Ok((length, from)) = socket.recv_from(&mut datagram) {
            let mut question = datagram[..length].to_vec();
            let back = socket.try_clone().unwrap();
            if question.windows(LOST.len()).any(|part| part == LOST) {
                // A reply, SERVFAIL, nothing but the question.
                question[2] |= 0x80;
                question[3] = question[3] & 0xf0 | 2;
                question[11] = 0;
                let end = question.len() - 11;
                let _ = back.send_to(&question[..end], from);
                continue;
            }
            std::thread::spawn(move || {
                let way = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
                way.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
                let mut reply = [0; 4096];
                let _ = way.send_to(&question, to);
                if let Ok(length) = way.recv(&mut reply) {
                    let _ = back.send_to(&reply[..length], from);
                }
            });
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_id_has_a_case_that_passes_one_with_a_finding_and_one_that_cannot_be_told() {
    let Some(world) = World::new() else { return };
    cases::run(&world).await;
}

/// Nobody answers at all: bounded, and nothing is taken for absent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silence_is_never_absence() {
    let silent = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let network = Network::new(vec![silent.local_addr().unwrap()])
        .with_patience([Duration::from_millis(50), Duration::from_millis(50)]);
    let mut means = Means::new(
        network,
        Anchors::root(),
        Dialer::default(),
        Arc::new(Roots::none()),
    );
    means.patience = Duration::from_millis(400);
    let facts = examine("example.org", &means).await;
    for check in domain::judge(&facts, &[], facts.at) {
        assert!(
            !check.is_finding() && check.status != gatepost_audit::finding::Status::Pass,
            "{}: {:?}: {}",
            check.rule.id,
            check.status,
            check.evidence
        );
    }
    assert_eq!(domain::targets(&facts), []);
}
