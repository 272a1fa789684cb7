//! A list of domains, each with an MX host of its own behind a round trip, found by a resolver on this machine.
//!
//! ```text
//!   check ──▶ Unbound ──▶ NSD: a signed and an unsigned zone of many domains
//!         ──▶ port 25 of every loopback address ──▶ 50 ms ──▶ gatepost serve
//! ```
//!
//! Every other domain is signed and has the TLSA record of the server's key. No domain comes twice, so nothing of a run comes from a cache but
//! the chain of trust down to the zone. The address is another for each domain, and nobody is paced, as on loopback.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::Command;

use gatepost_testkit::delay::Delay;
use gatepost_testkit::dns_lab::{DnsLab, NoLab, Zone};
use gatepost_trust::tlsa::Tlsa;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use super::list::{Runs, server, work};
use super::{FEW, ONE_WAY};
use crate::Bench;
use crate::fault::Fault;
use crate::peer::{folder, write};
use crate::report::Report;

pub(super) const FOLDER: &str = "check-domains";
/// Domains of the long list.
const MANY: u32 = 10_000;
/// Added to the ports of the server behind the delay.
const OFFSET: u16 = 24_000;

/// Lists of two lengths, new domains in each run.
pub(super) fn measure(bench: &Bench<'_>, report: &mut Report) -> Result<(), Fault> {
    let folder = folder(&bench.work.join(FOLDER))?;
    let port = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 25));
    let port = port.map_err(Fault::at("listening on port 25"))?;
    let _server = server(bench, &folder, "127.0.0.1", OFFSET)?;
    let behind = SocketAddr::from((Ipv4Addr::LOCALHOST, OFFSET + 25));
    let _delay = Delay::on(port, behind, ONE_WAY);
    let certificate = CertificateDer::from_pem_file(folder.join("data/cert.pem"))?;
    let tlsa = Tlsa::for_certificate(&certificate, 3, 1, 1).ok_or(Fault::NoCertificate)?;
    let lab = DnsLab::start(&zones(bench.plan.runs * (FEW + MANY), &tlsa));
    let lab = lab.map_err(|it| match it {
        NoLab::Missing { program, .. } => Fault::Missing(program.into()),
        NoLab::Failed(_) => Fault::Late("the name servers"),
    })?;
    let anchor = folder.join("anchor");
    write(&anchor, &lab.anchor)?;
    let ask_the_lab = |command: &mut Command| {
        command.args(["--dns", &lab.plain.to_string()]);
        command.env("GATEPOST_TRUST_ANCHORS", &anchor);
    };
    let mut next = 0..;
    let mut runs = Runs::default();
    for _ in 0..bench.plan.runs {
        let mut list = |count| {
            let lines: Vec<String> = next.by_ref().take(count).map(domain).collect();
            work(bench, &folder, &lines, ask_the_lab)
        };
        runs.push(list(FEW as usize)?, list(MANY as usize)?);
    }
    runs.tell(report, "domains")
}

/// The domain with this number: odd ones are signed.
fn domain(number: u32) -> String {
    let zone = if number.is_multiple_of(2) {
        "plain"
    } else {
        "secure"
    };
    format!("d{number}.{zone}")
}

/// The root, two zones with so many domains together, and the names of the addresses.
fn zones(domains: u32, tlsa: &Tlsa) -> Vec<Zone> {
    let [mut plain, mut secure, mut names] = [String::new(), String::new(), String::new()];
    for number in 0..domains {
        let [_, second, third, fourth] = number.to_be_bytes();
        let address = Ipv4Addr::new(127, second + 1, third, fourth);
        let signed = !number.is_multiple_of(2);
        let zone = if signed { &mut secure } else { &mut plain };
        let _ = writeln!(
            zone,
            "d{number} MX 10 mx.d{number}\nd{number} TXT \"v=spf1 mx -all\"\n_dmarc.d{number} TXT \"v=DMARC1; p=reject\"\nmx.d{number} A {address}"
        );
        let host = domain(number);
        let _ = writeln!(names, "{fourth}.{third}.{} PTR mx.{host}.", second + 1);
        if signed {
            let _ = writeln!(zone, "_25._tcp.mx.d{number} TLSA {tlsa}");
        }
    }
    vec![
        Zone::root(),
        Zone::unsigned("plain.", plain),
        Zone::signed("secure.", secure),
        Zone::unsigned("127.in-addr.arpa.", names),
    ]
}
