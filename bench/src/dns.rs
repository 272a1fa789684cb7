//! DNSSEC and DANE: what it costs to be sure.
//!
//! - A full chain, from the root's keys to a TLSA record, verified anew each time from replies in memory: the limit is 1 ms.
//! - DANE decisions (MX, addresses, TLSA) for many domains of a signed zone on this machine, with the keys known after the first.
//!   Beside it stands `unbound-host`, which validates too, asked the same three questions by a process each.
//!
//! The zones are those of the test kit, on NSD and Unbound; where these are missing only the first figure is measured.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use gatepost_net::dns::Network;
use gatepost_testkit::dns_lab::{DnsLab, NoLab, Zone};
use gatepost_trust::dane::{Dane, Route, find_host, find_route};
use gatepost_trust::dns::{
    Anchors, Exchanged, Lookup, Name, Query, Resolver, Rtype, Status, Transport, Unanswered,
    Validation,
};
use tokio::runtime::Runtime;

use crate::Bench;
use crate::fault::Fault;
use crate::report::{Goal, Report};
use crate::sample::Sample;

/// Domains a DANE decision is made for.
const DOMAINS: usize = 10_000;
/// Decisions that wait for replies at the same time.
const AT_ONCE: usize = 32;
/// Chains verified in a run.
const CHAINS: usize = 1_000;
/// Domains `unbound-host` is asked about.
const PEER_DOMAINS: usize = 100;
/// The limit for a full chain, in microseconds.
const LIMIT: f64 = 1_000.0;

/// Measures all of it.
pub(crate) fn measure(bench: &Bench<'_>, report: &mut Report) {
    report.section(
        "dns",
        "DNSSEC validation and DANE decisions, zones on this machine",
    );
    if let Err(fault) = try_measure(bench, report) {
        report.skip("dns", &fault.to_string());
    }
}

fn try_measure(bench: &Bench<'_>, report: &mut Report) -> Result<(), Fault> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(Fault::at("starting the runtime"))?;
    let lab = match DnsLab::start(&zones()) {
        Ok(lab) => lab,
        Err(NoLab::Missing { program, .. }) => return Err(Fault::Missing(program.into())),
        Err(NoLab::Failed(_)) => return Err(Fault::Late("the name servers")),
    };
    chains(bench, report, &runtime, &lab)?;
    decisions(bench, report, &runtime, &lab)
}

/// The root and a zone full of mail domains.
fn zones() -> Vec<Zone> {
    let mut records = String::new();
    for number in 0..DOMAINS {
        let _ = writeln!(
            records,
            "d{number} MX 10 mx.d{number}\nmx.d{number} A 127.0.0.1\n_25._tcp.mx.d{number} TLSA 3 1 1 {number:064x}"
        );
    }
    vec![Zone::root(), Zone::signed("bench.", records)]
}

/// Replies that came once are there at once from then on.
struct Remembered {
    inner: Network,
    replies: Mutex<HashMap<Query, Exchanged>>,
}

impl Transport for &Remembered {
    async fn exchange(&self, query: &Query) -> Result<Exchanged, Unanswered> {
        let known = self.lock().get(query).cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let exchanged = self.inner.exchange(query).await?;
        self.lock().insert(query.clone(), exchanged.clone());
        Ok(exchanged)
    }
}

impl Remembered {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Query, Exchanged>> {
        self.replies.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn anchors(lab: &DnsLab) -> Result<Anchors, Fault> {
    Anchors::parse(&lab.anchor).map_err(|_| Fault::Late("the trust anchor"))
}

fn chains(
    bench: &Bench<'_>,
    report: &mut Report,
    runtime: &Runtime,
    lab: &DnsLab,
) -> Result<(), Fault> {
    let remembered = Remembered {
        inner: Network::new(vec![lab.plain]),
        replies: Mutex::default(),
    };
    let name: Name = "_25._tcp.mx.d7.bench"
        .parse()
        .map_err(|_| Fault::Late("a name"))?;
    let now = SystemTime::now();
    let mut runs = Vec::new();
    for _ in 0..bench.plan.runs {
        let mut times = Vec::with_capacity(CHAINS);
        for _ in 0..CHAINS {
            let validation = Validation::Own(anchors(lab)?);
            let resolver = Resolver::new(&remembered, validation, 100);
            let start = Instant::now();
            let answer = runtime.block_on(resolver.lookup(&name, Rtype::TLSA, now));
            times.push(start.elapsed().as_secs_f64() * 1e6);
            if answer.status != Status::Secure {
                return Err(Fault::Late("a secure answer"));
            }
        }
        runs.extend(Sample::new(times).map(|times| times.median()));
    }
    if let Some(sample) = Sample::new(runs) {
        let what = "root to TLSA, P-256, 4 signatures, replies in memory";
        let figure = report.figure("gatepost", what, "us", &sample);
        report.ratio_to_limit(&figure, LIMIT);
    }
    Ok(())
}

fn decisions(
    bench: &Bench<'_>,
    report: &mut Report,
    runtime: &Runtime,
    lab: &DnsLab,
) -> Result<(), Fault> {
    let mut ours = Vec::new();
    for _ in 0..bench.plan.runs {
        ours.push(all_domains(runtime, lab)?);
    }
    let theirs = unbound_host(lab);
    let ours = Sample::new(ours).ok_or(Fault::Late("DANE decisions"))?;
    let what = format!("DANE decisions, {DOMAINS} domains, {AT_ONCE} at once");
    let ours = report.figure("gatepost", &what, "1/s", &ours);
    match theirs.and_then(|rate| Sample::new(vec![rate])) {
        Some(theirs) => {
            let what = "the same questions, a process each, one at a time";
            let theirs = report.figure("unbound-host", what, "1/s", &theirs);
            report.ratio(&ours, &theirs, Goal::None);
        }
        None => report.skip("unbound-host", "not installed, or it failed"),
    }
    Ok(())
}

/// Domains a second, none of them known before.
fn all_domains(runtime: &Runtime, lab: &DnsLab) -> Result<f64, Fault> {
    let network = Network::new(vec![lab.plain]);
    let resolver = Arc::new(Resolver::new(
        network,
        Validation::Own(anchors(lab)?),
        200_000,
    ));
    let start = Instant::now();
    let workers: Vec<_> = (0..AT_ONCE)
        .map(|worker| runtime.spawn(some_domains(Arc::clone(&resolver), worker)))
        .collect();
    let mut decided = 0;
    for worker in workers {
        decided += runtime
            .block_on(worker)
            .map_err(|_| Fault::Late("DANE decisions"))?;
    }
    let time = start.elapsed();
    if decided == DOMAINS {
        Ok(per_second(DOMAINS, time))
    } else {
        Err(Fault::Late("usable TLSA records for every domain"))
    }
}

async fn some_domains(resolver: Arc<Resolver<Network>>, worker: usize) -> usize {
    let now = SystemTime::now();
    let mut decided = 0;
    for number in (worker..DOMAINS).step_by(AT_ONCE) {
        let Ok(domain) = format!("d{number}.bench").parse::<Name>() else {
            continue;
        };
        let Route::Hosts(route) = find_route(&*resolver, &domain, now, 0).await else {
            continue;
        };
        let Some(mx) = route.hosts.first() else {
            continue;
        };
        let host = find_host(&*resolver, &route, &mx.exchange, 25, now).await;
        decided += usize::from(matches!(host.dane, Dane::Usable(_)));
    }
    decided
}

fn unbound_host(lab: &DnsLab) -> Option<f64> {
    let resolver = format!("{}@{}", lab.plain.ip(), lab.plain.port());
    let folder = tempfile::tempdir().ok()?;
    let configuration = folder.path().join("forward.conf");
    let text = format!(
        "server:\n do-not-query-localhost: no\n trust-anchor: \"{}\"\nforward-zone:\n name: \".\"\n forward-addr: {resolver}\n",
        lab.anchor
    );
    std::fs::write(&configuration, text).ok()?;
    let start = Instant::now();
    for number in 0..PEER_DOMAINS {
        for (rtype, name) in [
            ("MX", format!("d{number}.bench")),
            ("A", format!("mx.d{number}.bench")),
            ("TLSA", format!("_25._tcp.mx.d{number}.bench")),
        ] {
            let output = Command::new("unbound-host")
                .arg("-C")
                .arg(&configuration)
                .args(["-v", "-t", rtype, &name])
                .stdin(Stdio::null())
                .output()
                .ok()?;
            String::from_utf8_lossy(&output.stdout)
                .contains("(secure)")
                .then_some(())?;
        }
    }
    Some(per_second(PEER_DOMAINS, start.elapsed()))
}

fn per_second(count: usize, time: Duration) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX)) / time.as_secs_f64()
}
