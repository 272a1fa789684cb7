//! The validator against real signed zones, with Unbound as the second opinion. Needs `nsd`, `unbound` and `ldnsutils`; without
//! them the tests say so and pass over it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use gatepost_net::dns::Network;
use gatepost_testkit::dns_lab::{DnsLab, NoLab, standard};
use gatepost_trust::dns::{
    Anchors, Data, Exchanged, Indeterminate, Lookup, Name, Query, Resolver, Rtype, Status,
    Transport, Unanswered, Validation,
};

fn lab() -> Option<DnsLab> {
    match DnsLab::start(&standard()) {
        Ok(lab) => Some(lab),
        Err(NoLab::Missing { program, package }) => {
            eprintln!("skipped: {program} is not installed (Debian: {package})");
            None
        }
        Err(NoLab::Failed(why)) => panic!("{why}"),
    }
}

fn own(lab: &DnsLab, resolver: SocketAddr) -> Resolver<Network> {
    let anchors = Anchors::parse(&lab.anchor).unwrap();
    Resolver::new(
        Network::new(vec![resolver]),
        Validation::Own(anchors),
        10_000,
    )
}

/// Unbound's verdict: its AD bit, or SERVFAIL.
fn unbound(lab: &DnsLab) -> Resolver<Network> {
    let anchors = Anchors::parse(&lab.anchor).unwrap();
    Resolver::new(
        Network::new(vec![lab.validating]),
        Validation::Loopback(anchors),
        10_000,
    )
}

/// What is asked for in every zone.
const QUESTIONS: &[(&str, Rtype)] = &[
    ("", Rtype::MX),
    ("", Rtype::TXT),
    ("", Rtype::TLSA),
    ("mx", Rtype::A),
    ("mx", Rtype::AAAA),
    ("mx", Rtype::MX),
    ("www", Rtype::AAAA),
    ("_25._tcp.mx", Rtype::TLSA),
    ("_24._tcp.mx", Rtype::TLSA),
    ("_tcp.mx", Rtype::TLSA),
    ("_25._tcp.www", Rtype::TLSA),
    ("alias", Rtype::A),
    ("alias", Rtype::CNAME),
    ("alias", Rtype::TLSA),
    ("twice", Rtype::A),
    ("out", Rtype::A),
    ("out", Rtype::CNAME),
    ("broken", Rtype::A),
    ("nowhere", Rtype::A),
    ("some.wild", Rtype::A),
    ("some.wild", Rtype::AAAA),
    ("so.me.wild", Rtype::TXT),
    ("*.wild", Rtype::A),
    ("some.wildalias", Rtype::A),
    ("some.tree", Rtype::A),
    ("deep.in.the", Rtype::A),
    ("in.the", Rtype::A),
    ("nothing.in.the", Rtype::A),
    ("missing", Rtype::A),
    ("missing", Rtype::TLSA),
    ("far.away.missing", Rtype::MX),
    ("zzz", Rtype::A),
    ("000", Rtype::A),
    ("_imaps._tcp", Rtype::SRV),
    ("_pop3s._tcp", Rtype::SRV),
    ("_imap._tcp", Rtype::SRV),
    ("long", Rtype::TXT),
];

fn ask_name(label: &str, zone: &str) -> Name {
    let zone = if zone == "." { "" } else { zone };
    let text = format!("{label}.{zone}");
    let text = text.trim_start_matches('.');
    if text.is_empty() {
        Name::root()
    } else {
        text.parse().unwrap()
    }
}

/// Bogus is what Unbound answers with SERVFAIL; indeterminate stays itself.
fn word(status: Status) -> &'static str {
    match status {
        Status::Indeterminate(_) => "bogus",
        other => other.word(),
    }
}

// [DNSSEC-02] [DNSSEC-03] secure, insecure and bogus are told apart, for records, chains and denials
#[tokio::test]
async fn verdicts_agree_with_unbound() {
    let Some(lab) = lab() else { return };
    let (ours, theirs) = (own(&lab, lab.plain), unbound(&lab));
    let now = SystemTime::now();
    let mut table: BTreeMap<(&str, &str, &str), u32> = BTreeMap::new();
    let mut differences = Vec::new();
    for zone in standard() {
        for (label, rtype) in QUESTIONS {
            let name = ask_name(label, zone.name);
            let our = ours.lookup(&name, *rtype, now).await;
            let their = theirs.lookup(&name, *rtype, now).await;
            *table
                .entry((zone.name, word(our.status), word(their.status)))
                .or_default() += 1;
            let same = word(our.status) == word(their.status)
                && (!our.status.is_known()
                    || our.denial == their.denial && same_records(&our.records, &their.records));
            if !same {
                differences.push(format!("{name} {}: {our:?}, Unbound: {their:?}", rtype.0));
            }
        }
    }
    println!("zone, our verdict, Unbound's, questions");
    for ((zone, our, their), count) in &table {
        println!("{zone:16} {our:10} {their:10} {count:3}");
    }
    assert!(
        differences.is_empty(),
        "{}\n{}",
        differences.len(),
        differences.join("\n")
    );
    for word in ["secure", "insecure", "bogus"] {
        let count: u32 = table
            .iter()
            .filter(|((_, our, _), _)| *our == word)
            .map(|(_, count)| count)
            .sum();
        println!("{word}: {count}");
        assert!(count > 100, "{word}: {count}");
    }
}

fn same_records(left: &[Data], right: &[Data]) -> bool {
    let words = |records: &[Data]| {
        let mut words: Vec<String> = records.iter().map(|record| format!("{record:?}")).collect();
        words.sort();
        words
    };
    words(left) == words(right)
}

/// A transport that lies: what it makes of each reply, for questions of one type.
struct Liar<F> {
    inner: Network,
    about: Rtype,
    lie: F,
    loopback: bool,
    asked: AtomicU32,
}

impl<F: Fn(&mut Vec<u8>) + Send + Sync> Transport for Liar<F> {
    async fn exchange(&self, query: &Query) -> Result<Exchanged, Unanswered> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let mut exchanged = self.inner.exchange(query).await?;
        if query.rtype == self.about {
            (self.lie)(&mut exchanged.reply);
        }
        exchanged.loopback = self.loopback;
        Ok(exchanged)
    }
}

/// Keeps the question and sets counts of the sections to nothing; the AD bit is forged, too.
fn strip(reply: &mut Vec<u8>, rcode: u8) {
    let behind = 12 + reply[12..].iter().position(|octet| *octet == 0).unwrap() + 5;
    reply.truncate(behind);
    reply[3] = 0xa0 | rcode;
    reply[6..12].fill(0);
}

fn replace(reply: &mut [u8], from: &[u8], to: &[u8]) {
    let at = reply.windows(from.len()).position(|window| window == from);
    if let Some(at) = at {
        reply[at..at + to.len()].copy_from_slice(to);
    }
}

/// The SOA of the zone without signature, as a liar adds it to be believed.
fn deny_unsigned(reply: &mut Vec<u8>, rcode: u8) {
    strip(reply, rcode);
    let at = u8::try_from(12 + 9).unwrap(); // behind `_25` and `_tcp`: mx.ec.
    reply.extend([0xc0, at, 0, 6, 0, 1, 0, 0, 0, 60, 0, 24, 0xc0, at, 0xc0, at]);
    reply.extend([0; 20]);
    reply[9] = 1;
}

async fn lie_about(
    lab: &DnsLab,
    (about, name): (Rtype, &str),
    validation: impl Fn(Anchors) -> Validation,
    loopback: bool,
    lie: impl Fn(&mut Vec<u8>) + Send + Sync,
) -> Status {
    let liar = Liar {
        inner: Network::new(vec![lab.plain]),
        about,
        lie,
        loopback,
        asked: AtomicU32::new(0),
    };
    let anchors = Anchors::parse(&lab.anchor).unwrap();
    let resolver = Resolver::new(liar, validation(anchors), 100);
    let answer = resolver
        .lookup(&name.parse().unwrap(), about, SystemTime::now())
        .await;
    assert!(answer.status.is_known() || answer.records.is_empty());
    answer.status
}

/// What is done to a reply.
type Lie = fn(&mut Vec<u8>);

const TLSA: (Rtype, &str) = (Rtype::TLSA, "_25._tcp.mx.ec.");

// [DNSSEC-02] a resolver that lies is found out: TLSA stripped in four ways, forged, and a forged AD bit beside
#[tokio::test]
async fn a_lying_resolver_is_found_out() {
    let Some(lab) = lab() else { return };
    let bogus = |status| matches!(status, Status::Bogus(_));
    let lies: [(&str, Lie); 6] = [
        ("empty, with AD", |reply| strip(reply, 0)),
        ("NXDOMAIN, with AD", |reply| strip(reply, 3)),
        ("empty, unsigned SOA", |reply| deny_unsigned(reply, 0)),
        ("NXDOMAIN, unsigned SOA", |reply| deny_unsigned(reply, 3)),
        ("forged data", |reply| {
            replace(reply, &[0, 1, 2, 3, 4, 5], &[6, 6, 6, 6, 6, 6]);
        }),
        ("forged data and AD", |reply| {
            replace(reply, &[0, 1, 2, 3, 4, 5], &[6, 6, 6, 6, 6, 6]);
            reply[3] |= 0x20;
        }),
    ];
    for (what, lie) in lies {
        let status = lie_about(&lab, TLSA, Validation::Own, true, lie).await;
        println!("{what}: {status}");
        assert!(bogus(status), "{what}: {status}");
    }
    let honest = lie_about(&lab, TLSA, Validation::Own, true, |_| ()).await;
    assert_eq!(honest, Status::Secure);
    // Keys and delegations can be taken away or changed as little as records can.
    for about in [Rtype::DS, Rtype::DNSKEY] {
        let liar = Liar {
            inner: Network::new(vec![lab.plain]),
            about,
            lie: |reply: &mut Vec<u8>| strip(reply, 0),
            loopback: true,
            asked: AtomicU32::new(0),
        };
        let anchors = Anchors::parse(&lab.anchor).unwrap();
        let resolver = Resolver::new(liar, Validation::Own(anchors), 100);
        let answer = resolver
            .lookup(&TLSA.1.parse().unwrap(), TLSA.0, SystemTime::now())
            .await;
        assert!(bogus(answer.status), "{about:?}: {}", answer.status);
    }
}

// [DNSSEC-01] the AD bit counts when asked for, from this machine, and nowhere else
#[tokio::test]
async fn the_ad_bit_is_believed_from_loopback_only() {
    let Some(lab) = lab() else { return };
    let forge = |reply: &mut Vec<u8>| {
        replace(reply, &[0, 1, 2, 3, 4, 5], &[6, 6, 6, 6, 6, 6]);
        reply[3] |= 0x20;
    };
    let near = lie_about(&lab, TLSA, Validation::Loopback, true, forge).await;
    assert_eq!(near, Status::Secure, "its word was to be taken");
    let far = lie_about(&lab, TLSA, Validation::Loopback, false, forge).await;
    assert!(matches!(far, Status::Bogus(_)), "{far}");
    let own = lie_about(&lab, TLSA, Validation::Own, true, forge).await;
    assert!(matches!(own, Status::Bogus(_)), "{own}");
    let off = lie_about(&lab, TLSA, |_| Validation::Off, true, forge).await;
    assert_eq!(off, Status::Insecure, "nobody validates: nothing is secure");
}

// What the resolver itself rejects arrives as SERVFAIL; with checking disabled we learn why.
#[tokio::test]
async fn reasons_are_told() {
    use gatepost_trust::dns::Bogus;
    let Some(lab) = lab() else { return };
    let behind_validator = own(&lab, lab.validating);
    let explaining = own(&lab, lab.validating).danger_checking_disabled();
    let now = SystemTime::now();
    let cases = [
        ("mx.expired.", Rtype::A, Bogus::SignatureExpired),
        ("mx.future.", Rtype::A, Bogus::SignatureNotYetValid),
        (
            "_25._tcp.mx.unsigned.",
            Rtype::TLSA,
            Bogus::SignatureMissing,
        ),
        ("mx.changed.", Rtype::A, Bogus::SignatureInvalid),
        ("mx.otherkey.", Rtype::AAAA, Bogus::KeyMissing),
        ("mx.wrongds.", Rtype::A, Bogus::KeyUnproven),
        ("missing.nodenial.", Rtype::A, Bogus::DenialUnproven),
    ];
    for (name, rtype, why) in cases {
        let name: Name = name.parse().unwrap();
        let status = behind_validator.lookup(&name, rtype, now).await.status;
        let refused = Status::Indeterminate(Indeterminate::Refused {
            rcode: 2,
            extended_error: None,
        });
        assert_eq!(status, refused, "{name}");
        let status = explaining.lookup(&name, rtype, now).await.status;
        assert_eq!(status, Status::Bogus(why), "{name}");
    }
}

// [DNSSEC-04] answers are kept by their TTL, and no longer than their signatures
#[tokio::test]
async fn answers_are_kept_by_their_time() {
    let Some(lab) = lab() else { return };
    let liar = Liar {
        inner: Network::new(vec![lab.plain]),
        about: Rtype::A,
        lie: |_: &mut Vec<u8>| (),
        loopback: true,
        asked: AtomicU32::new(0),
    };
    let counted = std::sync::Arc::new(liar);
    let anchors = Anchors::parse(&lab.anchor).unwrap();
    let resolver = Resolver::new(Shared(counted.clone()), Validation::Own(anchors), 100);
    let name = "mx.ec.".parse().unwrap();
    // An hour before the signatures end (2037-01-01), and after.
    let end = SystemTime::UNIX_EPOCH + Duration::from_secs(2_114_380_800);
    let first = resolver
        .lookup(&name, Rtype::A, end - Duration::from_secs(3600))
        .await;
    assert_eq!(first.status, Status::Secure);
    assert!(first.ttl <= Duration::from_secs(300), "{:?}", first.ttl);
    let asked = counted.asked.load(Ordering::Relaxed);
    assert!(asked <= 4, "answer, root's keys, DS, keys: {asked}");
    let again = resolver
        .lookup(&name, Rtype::A, end - Duration::from_secs(3590))
        .await;
    assert_eq!(again.ttl + Duration::from_secs(10), first.ttl);
    assert_eq!(counted.asked.load(Ordering::Relaxed), asked);
    let late = resolver
        .lookup(&name, Rtype::A, end - Duration::from_secs(7))
        .await;
    assert_eq!(
        late.ttl,
        Duration::from_secs(7),
        "the signature ends before the TTL"
    );
    assert!(counted.asked.load(Ordering::Relaxed) > asked);
    let over = resolver
        .lookup(&name, Rtype::A, end + Duration::from_secs(1))
        .await;
    assert!(matches!(over.status, Status::Bogus(_)), "{}", over.status);
}

struct Shared<T>(std::sync::Arc<T>);

impl<T: Transport> Transport for Shared<T> {
    async fn exchange(&self, query: &Query) -> Result<Exchanged, Unanswered> {
        self.0.exchange(query).await
    }
}

// [DANE-02] [DANE-04] the procedure over the network: from a domain to the records its hosts are known by
#[tokio::test]
async fn dane_is_found_where_it_is_secure() {
    use gatepost_trust::dane::{Dane, Route, find_host, find_route};
    let Some(lab) = lab() else { return };
    let resolver = own(&lab, lab.plain);
    let now = SystemTime::now();
    for (domain, expected) in [
        ("ec.", "usable"),
        ("rsa.", "usable"),
        ("plain.", "absent"),
        ("island.", "absent"),
        ("unsigned.", "unreachable"),
        ("expired.", "later"),
    ] {
        let domain: Name = domain.parse().unwrap();
        let found = match find_route(&resolver, &domain, now, 0).await {
            Route::Hosts(route) => {
                let host = route.hosts[0].exchange.clone();
                assert_eq!(host, domain.below("mx").unwrap());
                let host = find_host(&resolver, &route, &host, 25, now).await;
                match host.dane {
                    Dane::Usable(_) => "usable",
                    // The address of family 4 has no signature, that of family 6 has one, the TLSA record has none.
                    Dane::Broken(_) => "unreachable",
                    Dane::Absent => "absent",
                    Dane::Unusable { .. } => "unusable",
                }
            }
            Route::Later(_) => "later",
            other => panic!("{other:?}"),
        };
        assert_eq!(found, expected, "{domain}");
    }
}

/// Writes what a resolver said to some questions, for tests without servers. Run with `GATEPOST_RECORD=FILE`.
#[tokio::test]
async fn replies_are_recorded_when_asked_for() {
    let Some(file) = std::env::var_os("GATEPOST_RECORD") else {
        return;
    };
    let Some(lab) = lab() else { return };
    let recorder = Recorder {
        inner: Network::new(vec![lab.plain]),
        lines: std::sync::Mutex::default(),
    };
    let recorder = std::sync::Arc::new(recorder);
    let resolver = Resolver::new(
        Shared(recorder.clone()),
        Validation::Own(Anchors::parse(&lab.anchor).unwrap()),
        1000,
    );
    let mut text = format!("anchor {}\n", lab.anchor.replace('\t', " "));
    for zone in [
        "rsa.",
        "ec.",
        "ed.",
        "optout.",
        "costly.",
        "plain.",
        "plain.ec.",
        "child.ec.",
        "newalg.",
        "expired.",
        "future.",
        "changed.",
        "unsigned.",
        "otherkey.",
        "nodenial.",
        "wrongds.",
    ] {
        for (label, rtype) in [
            ("_25._tcp.mx", Rtype::TLSA),
            ("_24._tcp.mx", Rtype::TLSA),
            ("twice", Rtype::A),
            ("out", Rtype::A),
            ("some.wild", Rtype::A),
            ("missing", Rtype::MX),
        ] {
            let name = ask_name(label, zone);
            let answer = resolver.lookup(&name, rtype, SystemTime::now()).await;
            text += &format!("verdict {name} {} {:?}\n", rtype.0, answer.status);
        }
    }
    for line in recorder.lines.lock().unwrap().iter() {
        text += line;
    }
    std::fs::write(file, text).unwrap();
}

struct Recorder {
    inner: Network,
    lines: std::sync::Mutex<std::collections::BTreeSet<String>>,
}

impl Transport for Recorder {
    async fn exchange(&self, query: &Query) -> Result<Exchanged, Unanswered> {
        let exchanged = self.inner.exchange(query).await?;
        let mut line = format!("reply {} {} ", query.name, query.rtype.0);
        for octet in &exchanged.reply[2..] {
            line += &format!("{octet:02x}");
        }
        self.lines.lock().unwrap().insert(line + "\n");
        Ok(exchanged)
    }
}
