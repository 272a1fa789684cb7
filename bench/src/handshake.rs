//! The floor: a full TLS 1.3 handshake in memory, server side only, on one core.
//!
//! Both ends run in one thread; the clock runs only while the server's code does. Within a run the median handshake is
//! taken, so that being scheduled away does not count. Beside it stand the primitives no server can do without (one P-256
//! signature, one key exchange) and the same handshake in the TLS library's own default order of suites.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::crypto::{SupportedKxGroup, aws_lc_rs as engine};
use rustls::sign::Signer;
use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection, SignatureScheme};
use rustls_pki_types::ServerName;

use crate::Bench;
use crate::fault::Fault;
use crate::report::{Figure, Goal, Report};
use crate::sample::Sample;
use crate::tls::{self, Group};

/// Handshakes per run.
const PER_RUN: usize = 1_000;

/// The server's cost of one handshake, by key exchange.
#[derive(Debug, Default)]
pub(crate) struct Floors(Vec<(Group, Figure)>);

impl Floors {
    /// The floor of handshakes with this key exchange.
    pub(crate) fn of(&self, group: Group) -> Option<&Figure> {
        self.0
            .iter()
            .find(|(floor, _)| *floor == group)
            .map(|(_, figure)| figure)
    }
}

/// Measures the floor for each key exchange.
pub(crate) fn measure(bench: &Bench<'_>, report: &mut Report) -> Result<Floors, Fault> {
    report.section(
        "handshake",
        "full TLS 1.3 handshake in memory, P-256 certificate, server side, one core",
    );
    let mut floors = Floors::default();
    for group in Group::ALL {
        let server = tls::gatepost_server(&bench.identity)?;
        let client = tls::load_client(&bench.identity, tls::provider(group))?;
        let what = format!("AES-128-GCM, {}, one ticket", group.name());
        let floor = figure(bench, report, "rustls in memory", &what, || {
            one_handshake(&server, &client)
        })?;

        let what = format!("P-256 signature and {}", group.name());
        let parts = Primitives::new(bench, group)?;
        let primitives = figure(bench, report, "primitives", &what, || parts.once())?;

        let server = tls::library_server(&bench.identity, group)?;
        let client = tls::load_client(&bench.identity, tls::library_provider(group))?;
        let what = format!("library's own order, {}, one ticket", group.name());
        let default = figure(bench, report, "rustls in memory", &what, || {
            one_handshake(&server, &client)
        })?;
        report.ratio(&floor, &primitives, Goal::None);
        report.ratio(&default, &floor, Goal::None);
        floors.0.push((group, floor));
    }
    Ok(floors)
}

fn figure(
    bench: &Bench<'_>,
    report: &mut Report,
    subject: &str,
    what: &str,
    mut once: impl FnMut() -> Result<Duration, Fault>,
) -> Result<Figure, Fault> {
    let mut runs = Vec::new();
    for _ in 0..bench.plan.runs {
        let times = (0..PER_RUN)
            .map(|_| once().map(micros))
            .collect::<Result<Vec<_>, _>>()?;
        runs.extend(Sample::new(times).map(|times| times.median()));
    }
    let sample = Sample::new(runs).ok_or(Fault::Late("the handshake"))?;
    Ok(report.figure(subject, what, "us", &sample))
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// A signature with the server's key and a key exchange: what no server can do without.
struct Primitives {
    signer: Box<dyn Signer>,
    group: &'static dyn SupportedKxGroup,
    /// A client's public share.
    share: Vec<u8>,
}

impl Primitives {
    fn new(bench: &Bench<'_>, group: Group) -> Result<Self, Fault> {
        let key = engine::sign::any_ecdsa_type(&bench.identity.key())?;
        let scheme = [SignatureScheme::ECDSA_NISTP256_SHA256];
        let signer = key
            .choose_scheme(&scheme)
            .ok_or(rustls::Error::General("not a P-256 key".to_owned()))?;
        let group = group.engine();
        Ok(Self {
            signer,
            group,
            share: group.start()?.pub_key().to_vec(),
        })
    }

    fn once(&self) -> Result<Duration, Fault> {
        // As long as what CertificateVerify signs (RFC 8446 4.4.3).
        let message = [0x20_u8; 130];
        let begun = Instant::now();
        black_box(self.signer.sign(black_box(&message))?);
        black_box(self.group.start_and_complete(black_box(&self.share))?);
        Ok(begun.elapsed())
    }
}

/// One handshake; the time spent in the server's code.
fn one_handshake(
    server: &Arc<ServerConfig>,
    client: &Arc<ClientConfig>,
) -> Result<Duration, Fault> {
    let name =
        ServerName::try_from("localhost").map_err(|_| rustls::Error::General("name".to_owned()))?;
    let mut client = ClientConnection::new(Arc::clone(client), name)?;
    let mut spent = Duration::ZERO;
    let begun = Instant::now();
    let mut server = ServerConnection::new(Arc::clone(server))?;
    spent += begun.elapsed();
    let mut wire = Vec::with_capacity(8192);
    while client.is_handshaking() || server.is_handshaking() || server.wants_write() {
        wire.clear();
        drain(|to| client.write_tls(to), &mut wire)?;
        let begun = Instant::now();
        feed(&wire, |from| server.read_tls(from))?;
        server.process_new_packets()?;
        let mut answer = Vec::with_capacity(4096);
        drain(|to| server.write_tls(to), &mut answer)?;
        spent += begun.elapsed();
        feed(&answer, |from| client.read_tls(from))?;
        client.process_new_packets()?;
    }
    Ok(spent)
}

fn drain(
    mut write: impl FnMut(&mut dyn std::io::Write) -> std::io::Result<usize>,
    to: &mut Vec<u8>,
) -> Result<(), Fault> {
    while write(to).map_err(Fault::at("writing TLS to memory"))? > 0 {}
    Ok(())
}

fn feed(
    mut from: &[u8],
    mut read: impl FnMut(&mut dyn std::io::Read) -> std::io::Result<usize>,
) -> Result<(), Fault> {
    while !from.is_empty() {
        read(&mut from).map_err(Fault::at("reading TLS from memory"))?;
    }
    Ok(())
}
