//! MTA-STS with a real HTTPS policy host on loopback, made wrong in every way that counts.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use gatepost_net::client::dial::{Dialer, Override};
use gatepost_net::policy_host::PolicyHosts;
use gatepost_testkit::pki::{Authority, Issued};
use gatepost_testkit::web;
use gatepost_trust::dns::{Answer, Data, Lookup, Name, Rtype, Status};
use gatepost_trust::mta_sts::{Cache, FetchError, Found, Problem, find};
use gatepost_trust::policy::StsFact;
use gatepost_trust::verify::Roots;

const POLICY: &str = "version: STSv1\r\nmode: enforce\r\nmx: mx.example\r\nmax_age: 604800\r\n";

fn good_until_2040(params: &mut rcgen::CertificateParams) {
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2040, 1, 1);
}

/// The record of the domain, and nothing else.
struct Zone;

impl Lookup for Zone {
    async fn lookup(&self, _: &Name, rtype: Rtype, _: SystemTime) -> Answer<Data> {
        assert_eq!(rtype, Rtype::TXT);
        Answer {
            status: Status::Insecure,
            records: vec![Data::Txt(vec![b"v=STSv1; ".to_vec(), b"id=1;".to_vec()])],
            denial: None,
            aliases: Vec::new(),
            ttl: Duration::from_secs(60),
        }
    }
}

async fn found(root: &Authority, leaf: &Issued, answer: String) -> Found {
    let address = web::serve(leaf, move |request| {
        assert_eq!(request.path, "/.well-known/mta-sts.txt");
        Some(answer.clone())
    });
    let mut dialer = Dialer::default();
    dialer.overrides.push(Override {
        host: "mta-sts.mail.example".to_owned(),
        port: None,
        addresses: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
    });
    let mut roots = Roots::none();
    roots.add(root.certificate.clone()).unwrap();
    let hosts = PolicyHosts::new(dialer, Arc::new(roots)).with_port(address.port());
    let domain: Name = "mail.example".parse().unwrap();
    find(&Zone, &hosts, &Cache::new(10), &domain, SystemTime::now()).await
}

fn ok(body: &str) -> String {
    web::ok("text/plain", body)
}

// [STS-02] a policy counts from its own host, verified, with status 200, in time and in size
#[tokio::test(flavor = "multi_thread")]
async fn policies_come_from_a_verified_host_or_not_at_all() {
    let root = Authority::root_with("Root", good_until_2040);
    let leaf = root.issue_with(&["mta-sts.mail.example"], good_until_2040);
    let good = found(&root, &leaf, ok(POLICY)).await;
    assert_eq!(good.problem, None);
    assert_eq!(
        good.fact(&"mx.example".parse().unwrap()),
        StsFact::Enforce { listed: true }
    );
    let wildcard = root.issue_with(&["*.mail.example"], good_until_2040);
    assert_eq!(
        found(&root, &wildcard, ok(POLICY)).await,
        good,
        "a wildcard will do"
    );

    let certificate = Problem::Fetch(FetchError::Certificate);
    let expired = root.issue_with(&["mta-sts.mail.example"], |params| {
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    });
    let other = root.issue_with(&["mail.example"], good_until_2040);
    let stranger = Authority::root_with("Stranger", good_until_2040);
    let strange = stranger.issue_with(&["mta-sts.mail.example"], good_until_2040);
    for leaf in [&expired, &other, &strange] {
        let found = found(&root, leaf, ok(POLICY)).await;
        assert_eq!((found.policy, found.problem), (None, Some(certificate)));
    }
    let redirect =
        "HTTP/1.1 301 Moved\r\nLocation: https://mta-sts.example/x\r\nContent-Length: 0\r\n\r\n";
    let large = ok(&format!("{POLICY}x: {}\r\n", "y".repeat(64 * 1024)));
    for (answer, error) in [
        (redirect.to_owned(), FetchError::Status(301)),
        (web::NOT_FOUND.to_owned(), FetchError::Status(404)),
        (large, FetchError::TooLarge),
        ("220 mx ESMTP\r\n\r\n".to_owned(), FetchError::NotText),
    ] {
        let found = found(&root, &leaf, answer).await;
        assert_eq!(
            (found.policy, found.problem),
            (None, Some(Problem::Fetch(error)))
        );
    }
}
