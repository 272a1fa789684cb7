use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::Mutex;
use std::task::{Context, Waker};
use std::time::Duration;

use super::*;
use crate::dns::{Bogus, Data};
use crate::tlsa::Tlsa;

const BOGUS: Status = Status::Bogus(Bogus::SignatureInvalid);

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn run<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => done,
        Poll::Pending => panic!("a table does not wait"),
    }
}

/// Answers by name and type, and what was asked for.
#[derive(Default)]
struct Zone {
    answers: HashMap<(Name, Rtype), Answer<Data>>,
    asked: Mutex<Vec<String>>,
}

impl Lookup for Zone {
    async fn lookup(&self, asked: &Name, rtype: Rtype, _: SystemTime) -> Answer<Data> {
        self.asked
            .lock()
            .unwrap()
            .push(format!("{asked} {}", rtype.0));
        let found = self.answers.get(&(asked.clone(), rtype)).cloned();
        found.unwrap_or_else(|| Answer {
            denial: Some(Denial::NoData),
            ..answer(Status::Secure, Vec::new(), &[])
        })
    }
}

fn answer(status: Status, records: Vec<Data>, aliases: &[&str]) -> Answer<Data> {
    Answer {
        status,
        records,
        denial: None,
        aliases: aliases.iter().map(|alias| name(alias)).collect(),
        ttl: Duration::from_secs(60),
    }
}

impl Zone {
    fn with(mut self, owner: &str, rtype: Rtype, answer: Answer<Data>) -> Self {
        self.answers.insert((name(owner), rtype), answer);
        self
    }

    fn host(self, owner: &str, status: Status, aliases: &[&str]) -> Self {
        let address = Data::A(Ipv4Addr::LOCALHOST);
        self.with(owner, Rtype::A, answer(status, vec![address], aliases))
    }

    fn tlsa(self, owner: &str, status: Status, record: &str) -> Self {
        let record = Data::Tlsa(record.parse().unwrap());
        self.with(owner, Rtype::TLSA, answer(status, vec![record], &[]))
    }

    fn mx(self, status: Status, hosts: &[(u16, &str)]) -> Self {
        let record = |(preference, host): &(u16, &str)| {
            Data::Mx(Mx {
                preference: *preference,
                exchange: name(host),
            })
        };
        let records = hosts.iter().map(record).collect();
        self.with("example", Rtype::MX, answer(status, records, &[]))
    }

    fn route(&self) -> Route {
        run(find_route(
            self,
            &name("example"),
            SystemTime::UNIX_EPOCH,
            1,
        ))
    }

    fn find(&self, host: &str) -> Host {
        let Route::Hosts(route) = self.route() else {
            panic!("no hosts");
        };
        self.asked.lock().unwrap().clear();
        run(find_host(
            self,
            &route,
            &name(host),
            25,
            SystemTime::UNIX_EPOCH,
        ))
    }

    fn tlsa_asked(&self) -> Vec<String> {
        let asked = self.asked.lock().unwrap();
        asked
            .iter()
            .filter(|question| question.ends_with(" 52"))
            .cloned()
            .collect()
    }
}

const EE: &str = "3 1 1 0000000000000000000000000000000000000000000000000000000000000000";

fn good() -> Zone {
    Zone::default()
        .mx(Status::Secure, &[(10, "mx.example")])
        .host("mx.example", Status::Secure, &[])
        .tlsa("_25._tcp.mx.example", Status::Secure, EE)
}

fn usable(host: &Host) -> &Records {
    match &host.dane {
        Dane::Usable(records) => records,
        other => panic!("{other:?}"),
    }
}

// [DANE-02] [DANE-03] [DANE-09] [DANE-11] addresses first, then TLSA at the port's name; names of the base and the domain
#[test]
fn a_secure_host_with_records_is_known_by_them() {
    let zone = good();
    let host = zone.find("mx.example");
    let records = usable(&host);
    assert_eq!(records.base, name("mx.example"));
    assert_eq!(records.set.usable(), [EE.parse::<Tlsa>().unwrap()]);
    assert_eq!(records.references, [name("mx.example"), name("example")]);
    let asked = zone.asked.lock().unwrap().clone();
    assert_eq!(
        asked,
        ["mx.example 28", "mx.example 1", "_25._tcp.mx.example 52"]
    );
}

#[test]
fn the_port_is_part_of_the_name() {
    let zone = good();
    let Route::Hosts(route) = zone.route() else {
        panic!("no hosts");
    };
    let host = run(find_host(
        &zone,
        &route,
        &name("mx.example"),
        2525,
        SystemTime::UNIX_EPOCH,
    ));
    assert_eq!(zone.tlsa_asked(), ["_2525._tcp.mx.example 52"]);
    assert_eq!(host.dane, Dane::Absent);
}

// [DANE-02] an insecure address: TLSA is not asked for
#[test]
fn tlsa_of_an_insecure_host_is_not_asked_for() {
    let zone = good().host("mx.example", Status::Insecure, &[]);
    assert_eq!(zone.find("mx.example").dane, Dane::Absent);
    assert_eq!(zone.tlsa_asked(), [""; 0]);
}

// [DANE-02] the end of a secure chain first, then its beginning, never the middle
#[test]
fn tlsa_is_asked_for_at_both_ends_of_a_chain() {
    let zone = good().host(
        "mx.example",
        Status::Secure,
        &["middle.example", "end.example"],
    );
    let host = zone.find("mx.example");
    assert_eq!(
        zone.tlsa_asked(),
        ["_25._tcp.end.example 52", "_25._tcp.mx.example 52"]
    );
    assert_eq!(usable(&host).base, name("mx.example"));
    let zone = zone.tlsa("_25._tcp.end.example", Status::Secure, EE);
    let host = zone.find("mx.example");
    assert_eq!(zone.tlsa_asked(), ["_25._tcp.end.example 52"]);
    let references = [name("end.example"), name("mx.example"), name("example")];
    assert_eq!(usable(&host).references, references);
}

// [DANE-02] a chain that leaves the signed zones: only the name itself, if its own CNAME is signed
#[test]
fn a_chain_into_the_unsigned_leaves_the_first_name() {
    let cname = vec![Data::Cname(name("end.test"))];
    let base = || good().host("mx.example", Status::Insecure, &["end.test"]);
    let zone = base().with(
        "mx.example",
        Rtype::CNAME,
        answer(Status::Secure, cname.clone(), &[]),
    );
    assert_eq!(usable(&zone.find("mx.example")).base, name("mx.example"));
    assert_eq!(zone.tlsa_asked(), ["_25._tcp.mx.example 52"]);
    let zone = base().with(
        "mx.example",
        Rtype::CNAME,
        answer(Status::Insecure, cname, &[]),
    );
    assert_eq!(zone.find("mx.example").dane, Dane::Absent);
    assert_eq!(zone.tlsa_asked(), [""; 0]);
    let zone = base().with("mx.example", Rtype::CNAME, Answer::unknown(BOGUS));
    assert_eq!(zone.find("mx.example").dane, Dane::Broken(BOGUS));
}

// [DANE-01] an error for TLSA: the host is not used, and nothing else is tried
#[test]
fn broken_tlsa_is_not_absent_tlsa() {
    let zone = good().with("_25._tcp.mx.example", Rtype::TLSA, Answer::unknown(BOGUS));
    assert_eq!(zone.find("mx.example").dane, Dane::Broken(BOGUS));
    let zone = good()
        .host("mx.example", Status::Secure, &["end.example"])
        .with("_25._tcp.end.example", Rtype::TLSA, Answer::unknown(BOGUS));
    assert_eq!(zone.find("mx.example").dane, Dane::Broken(BOGUS));
    assert_eq!(zone.tlsa_asked(), ["_25._tcp.end.example 52"]);
}

// [DANE-01] an error for the addresses: the host is skipped
#[test]
fn a_host_without_known_addresses_is_not_reachable() {
    let zone = good().with("mx.example", Rtype::A, Answer::unknown(BOGUS));
    let host = zone.find("mx.example");
    assert!(!host.is_reachable() && host.status == BOGUS);
    assert_eq!(zone.tlsa_asked(), [""; 0]);
    let zone = good().with("mx.example", Rtype::AAAA, Answer::unknown(BOGUS));
    let host = zone.find("mx.example");
    assert!(
        host.is_reachable() && host.status == Status::Secure,
        "one family is enough"
    );
    usable(&host);
}

// [DANE-04] records, none usable, is not "no records"; insecure records are none
#[test]
fn unusable_and_insecure_records_are_told_apart() {
    for record in ["1 1 1 00", "3 1 1 00", "9 9 9 00"] {
        let zone = good().tlsa("_25._tcp.mx.example", Status::Secure, record);
        let base = name("mx.example");
        assert_eq!(
            zone.find("mx.example").dane,
            Dane::Unusable { base },
            "{record}"
        );
    }
    let zone = good().tlsa("_25._tcp.mx.example", Status::Insecure, EE);
    assert_eq!(zone.find("mx.example").dane, Dane::Absent);
}

// [DANE-01] the MX itself
#[test]
fn without_a_known_mx_all_mail_waits() {
    let zone = Zone::default().with("example", Rtype::MX, Answer::unknown(BOGUS));
    assert_eq!(zone.route(), Route::Later(BOGUS));
}

// [DANE-05] [DANE-09] behind an insecure MX a host may be protected, but the domain's names count for nothing
#[test]
fn an_insecure_mx_vouches_for_no_name() {
    let zone = good().mx(Status::Insecure, &[(10, "mx.example")]);
    assert_eq!(
        usable(&zone.find("mx.example")).references,
        [name("mx.example")]
    );
    assert!(matches!(zone.route(), Route::Hosts(route) if route.status == Status::Insecure));
}

// [DANE-06] preference orders hosts, whatever protects them; equals are drawn
#[test]
fn preference_outranks_protection() {
    let hosts = [(20, "c.example"), (10, "a.example"), (10, "b.example")];
    let zone =
        Zone::default()
            .mx(Status::Secure, &hosts)
            .tlsa("_25._tcp.c.example", Status::Secure, EE);
    let mut firsts = HashMap::new();
    for draw in 0..100 {
        let route = run(find_route(
            &zone,
            &name("example"),
            SystemTime::UNIX_EPOCH,
            draw,
        ));
        let Route::Hosts(route) = route else {
            panic!("no hosts");
        };
        assert_eq!(route.hosts[2].exchange, name("c.example"));
        *firsts.entry(route.hosts[0].exchange.clone()).or_insert(0) += 1;
    }
    assert!(
        firsts.len() == 2 && firsts.values().all(|times| *times > 20),
        "{firsts:?}"
    );
}

#[test]
fn domains_without_mail_are_told_apart() {
    let zone = Zone::default().mx(Status::Secure, &[(0, ".")]);
    assert_eq!(zone.route(), Route::NullMx(Status::Secure));
    let zone = Zone::default().mx(Status::Secure, &[(0, "."), (1, "mx.example")]);
    assert!(matches!(zone.route(), Route::Hosts(route) if route.hosts.len() == 1));
    let none = Answer {
        denial: Some(Denial::NoName),
        ..answer(Status::Insecure, Vec::new(), &[])
    };
    let zone = Zone::default().with("example", Rtype::MX, none);
    assert_eq!(zone.route(), Route::NoSuchDomain(Status::Insecure));
    let Route::Hosts(implicit) = Zone::default().route() else {
        panic!("no hosts");
    };
    assert!(implicit.implicit);
    assert_eq!(implicit.hosts[0].exchange, name("example"));
}

// [SRV-06] a service record that is broken leads nowhere; one that is insecure leads to a host without TLSA
#[test]
fn tlsa_of_a_service_wants_a_secure_way_to_it() {
    let zone = Zone::default()
        .host("imap.example", Status::Secure, &[])
        .tlsa(
            "_993._tcp.imap.example",
            Status::Secure,
            "1 1 1 0000000000000000000000000000000000000000000000000000000000000000",
        );
    let find = |status| {
        let domain = name("example");
        let target = name("imap.example");
        run(find_service(
            &zone,
            Some((&domain, status)),
            &target,
            993,
            SystemTime::UNIX_EPOCH,
        ))
    };
    let host = find(Status::Secure);
    assert_eq!(
        usable(&host).references,
        [name("imap.example"), name("example")]
    );
    assert_eq!(find(Status::Insecure).dane, Dane::Absent);
    assert!(find(Status::Insecure).is_reachable());
    let broken = find(BOGUS);
    assert!(!broken.is_reachable() && broken.dane == Dane::Broken(BOGUS));
}

// Both families are asked for before either has answered.
#[test]
fn both_families_are_waited_for_at_once() {
    let gate = std::cell::Cell::new(0);
    let wait = |number: u32| {
        let gate = &gate;
        let mut arrived = false;
        poll_fn(move |_| {
            if !arrived {
                arrived = true;
                gate.set(gate.get() + 1);
            }
            if gate.get() == 2 {
                Poll::Ready(number)
            } else {
                Poll::Pending
            }
        })
    };
    let mut waiting = pin!(both(wait(1), wait(2)));
    let mut context = Context::from_waker(Waker::noop());
    assert_eq!(waiting.as_mut().poll(&mut context), Poll::Pending);
    assert_eq!(waiting.as_mut().poll(&mut context), Poll::Ready((1, 2)));
}
