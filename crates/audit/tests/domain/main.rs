//! Domains judged by what real name servers and a real web host say: signed zones, broken ones, an HTTPS host with policies.
//!
//! The services are facts made by hand here; the program's own tests look at live ones. `cases` holds, for every id, a case that
//! passes, one with a finding and one that could not be told.

mod cases;
mod web;
mod zones;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use gatepost_audit::check::domain::{self, DomainFacts, Means, examine};
use gatepost_audit::check::facts::Seen;
use gatepost_audit::finding::Status;
use gatepost_net::client::dial::{Dialer, Socks};
use gatepost_net::dns::Network;
use gatepost_testkit::dns_lab::{DnsLab, NoLab, without_signatures};
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
    lab: DnsLab,
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
        let mut means = self::means(&lab, forward(lab.plain, |_| ()));
        let mut roots = Roots::none();
        roots.add(root.certificate.clone()).unwrap();
        means.roots = Arc::new(roots);
        means.https_port = address.port();
        means.name_servers = Some(name_server());
        Some(Self {
            leaf,
            other,
            means,
            lab,
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

/// The port of a name server that answers by IPv6 on this machine.
fn name_server() -> u16 {
    let socket = UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).unwrap();
    let port = socket.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let mut datagram = [0; 4096];
        while let Ok((length, from)) = socket.recv_from(&mut datagram) {
            // A reply: nothing but the question.
            datagram[2] |= 0x80;
            let _ = socket.send_to(&datagram[..length], from);
        }
    });
    port
}

/// A resolver between: it hands on what the lab says, and fails for some names. `pass` sees every question, and may change it.
fn forward(to: SocketAddr, mut pass: impl FnMut(&mut [u8]) + Send + 'static) -> SocketAddr {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = socket.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut datagram = [0; 4096];
        while let Ok((length, from)) = socket.recv_from(&mut datagram) {
            let mut question = datagram[..length].to_vec();
            let back = socket.try_clone().unwrap();
            pass(&mut question);
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

/// The wait for a turn comes on top of what an answer may take.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_for_a_turn_is_waited_for() {
    let Some(world) = World::new() else { return };
    let mut means = world.means.clone();
    means.patience = Duration::ZERO;
    assert!(!examine("good.example", &means).await.mx.is_known());
    let mut means = self::means(&world.lab, world.lab.plain);
    means.patience = Duration::ZERO;
    means.turn = Duration::from_secs(20);
    assert!(examine("good.example", &means).await.mx.is_known());
}

/// A resolver that takes DNSSEC out is at fault itself, and no zone is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_takes_dnssec_out_makes_nothing_bogus() {
    let Some(world) = World::new() else { return };
    let means = means(&world.lab, without_signatures(world.lab.plain));
    let facts = examine("good.example", &means).await;
    for check in domain::judge(&facts, &[], facts.at) {
        let id = check.rule.id;
        assert!(
            !check.evidence.contains("bogus"),
            "{id}: {}",
            check.evidence
        );
        if id == "DNSSEC-001" || id == "MX-001" {
            assert_eq!(check.status, Status::Inconclusive, "{id}");
            assert!(check.evidence.contains("hands on no DNSSEC"), "{id}");
        }
    }
}

/// Most usual names do not exist: each costs one question, and none below it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn below_usual_names_that_are_not_there_nothing_is_asked() {
    let Some(world) = World::new() else { return };
    let (asked, questions) = std::sync::mpsc::channel();
    let note = move |question: &mut [u8]| asked.send(question.to_vec()).unwrap();
    let means = means(&world.lab, forward(world.lab.plain, note));
    // One of them has an address, and only an IPv6 one.
    let facts = examine("typing.example", &means).await;
    assert_eq!(facts.guesses, ["pop.typing.example"]);
    assert!(facts.hosts["pop.typing.example"].tlsa.contains_key(&995));
    let questions: Vec<Vec<u8>> = questions.try_iter().collect();
    let count = |name: &[u8]| {
        let with = |it: &&Vec<u8>| it.windows(name.len()).any(|part| part == name);
        questions.iter().filter(with).count()
    };
    assert_eq!(count(b"\x03pop\x06typing"), 4, "A, AAAA and two ports");
    for absent in ["mail", "smtp", "imap", "pop3"] {
        let mut name = vec![u8::try_from(absent.len()).unwrap()];
        name.extend_from_slice(absent.as_bytes());
        name.extend_from_slice(b"\x06typing");
        assert_eq!(count(&name), 1, "{absent}");
    }
}

/// [NAT-NL-01] What is asked of name servers themselves, and what is not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn name_servers_are_asked_by_ipv6_where_there_is_a_way_and_where_they_may_be() {
    let Some(world) = World::new() else { return };
    let local = IpAddr::V6(Ipv6Addr::LOCALHOST);
    let ask = async |change: &dyn Fn(&mut Means), domain: &str| {
        let mut means = world.means.clone();
        change(&mut means);
        examine(domain, &means).await
    };
    let answer = async |change: &dyn Fn(&mut Means)| {
        let facts = ask(change, "good.example").await;
        facts.servers.answers.get(&local).cloned()
    };
    assert_eq!(answer(&|_| ()).await, Some(Seen::Known(true)));
    // It listens at another port: silence, and the patience for it is bounded.
    let deaf = UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).unwrap();
    let port = deaf.local_addr().unwrap().port();
    let silent = answer(&move |it| it.name_servers = Some(port)).await;
    assert_eq!(silent, Some(Seen::Known(false)));
    let mut datagram = [0; 512];
    let (length, _) = deaf.recv_from(&mut datagram).unwrap();
    assert!(datagram[..length].windows(8).any(|it| it == b"\x07example"));
    // Not in the lightest tier, not beside a proxy, not with addresses of ours that are all IPv4.
    assert_eq!(answer(&|it| it.name_servers = None).await, None);
    let proxy = answer(&|it| {
        it.dialer.socks = Some(Socks {
            host: "127.0.0.1".into(),
            port: 9,
            login: None,
        });
    });
    assert!(matches!(proxy.await, Some(Seen::Unknown { .. })));
    let four = answer(&|it| it.dialer.sources = vec![Ipv4Addr::LOCALHOST.into()]);
    assert!(matches!(four.await, Some(Seen::Unknown { .. })));
    // Hosts in another zone bring their name servers; hosts in the same zone do not.
    let outside = ask(&|_| (), "outside.example").await;
    let zones: Vec<&str> = outside
        .exchange_servers
        .iter()
        .map(|it| it.zone.as_str())
        .collect();
    assert_eq!(
        (outside.servers.zone.as_str(), &zones[..]),
        ("example", &["expired"][..])
    );
    assert_eq!(ask(&|_| (), "good.example").await.exchange_servers, []);
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
