//! A whole STARTTLS session as a server sees it: connect, greeting, EHLO, STARTTLS, full handshake, EHLO, QUIT.
//!
//! All servers are started first and their runs interleaved, so that a busy minute of the machine falls on all of them. The figure that
//! counts is the server's CPU per session, user and kernel, which holds even when the load generator is the slower end.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::ClientConfig;

use crate::Bench;
use crate::fault::Fault;
use crate::handshake::Floors;
use crate::load;
use crate::peer::{self, Running, gatepost::accounts};
use crate::report::{Figure, Goal, Report};
use crate::sample::Sample;
use crate::talk::{self, Talk};
use crate::tls::{self, Group};

/// Sessions at once under load: few; and many, so that a server which lets its clients wait is busy none the less.
const AT_ONCE: [u32; 2] = [8, 64];
/// Load nobody counts: lazy initialisation, first pages, processes a server starts on demand.
const WARM_UP: Duration = Duration::from_millis(500);
/// Lone sessions per run, at most; a server that stalls is given up on after `LONE_TIME`.
const LONE: usize = 300;
/// Longest run of lone sessions.
const LONE_TIME: Duration = Duration::from_secs(3);
/// design.md: server CPU of a whole session against that of the handshake in memory.
const TIMES_THE_FLOOR: f64 = 3.0;

/// A server that was asked to start, and the key exchanges to measure it with.
struct Server {
    name: &'static str,
    groups: &'static [Group],
    started: Result<(Running, u16), Fault>,
}

/// A server in the race with one key exchange, and its values, one per run.
struct Contender {
    name: &'static str,
    group: Group,
    server: u32,
    port: u16,
    client: Arc<ClientConfig>,
    loads: [Load; 2],
    lone_median: Vec<f64>,
    lone_p99: Vec<f64>,
}

/// Values under one load, one per run.
#[derive(Default)]
struct Load {
    cpu: Vec<f64>,
    rate: Vec<f64>,
    busy: Vec<f64>,
}

/// A contender's CPU figures, one per load, kept for ratios.
struct Judged {
    name: &'static str,
    group: Group,
    cpu: Vec<Figure>,
}

/// Measures gatepost, the bare loop and the peers.
pub(crate) fn measure(bench: &Bench<'_>, report: &mut Report, floors: &Floors) {
    report.section(
        "starttls",
        "whole session on the STARTTLS port, full TLS 1.3 handshake",
    );
    let servers = start_all(bench);
    let mut contenders = Vec::new();
    for (server, group) in servers
        .iter()
        .flat_map(|server| server.groups.iter().map(move |group| (server, *group)))
    {
        match Contender::new(bench, server, group) {
            Ok(contender) => contenders.push(contender),
            Err(why) => report.skip(&format!("{}, {}", server.name, group.name()), &why),
        }
    }
    for _ in 0..bench.plan.runs {
        contenders.retain_mut(|contender| {
            match contender.run(Duration::from_secs(bench.plan.seconds)) {
                Ok(()) => true,
                Err(fault) => {
                    report.skip(&contender.label(), &fault.to_string());
                    false
                }
            }
        });
    }
    let judged: Vec<Judged> = contenders
        .iter()
        .filter_map(|contender| contender.report(report))
        .collect();
    ratios(report, floors, &judged);
}

/// Starts everybody. OpenSSL 3.0 has no X25519MLKEM768, so the peers from Debian only meet X25519.
fn start_all(bench: &Bench<'_>) -> Vec<Server> {
    const CLASSIC: &[Group] = &[Group::X25519];
    let gatepost = peer::gatepost::start(bench, "starttls")
        .map(|gatepost| (gatepost.running, gatepost.ports.smtp));
    let postfix = peer::postfix::start(bench, "postfix-starttls", &accounts());
    let postfix = postfix.map(|postfix| (postfix.running, postfix.smtp));
    vec![
        Server {
            name: "gatepost",
            groups: &Group::ALL,
            started: gatepost,
        },
        Server {
            name: "bare loop",
            groups: &Group::ALL,
            started: peer::bare::start(bench),
        },
        Server {
            name: "nginx mail",
            groups: CLASSIC,
            started: peer::nginx::start(bench),
        },
        Server {
            name: "stunnel",
            groups: CLASSIC,
            started: peer::stunnel::start(bench),
        },
        Server {
            name: "postfix",
            groups: CLASSIC,
            started: postfix,
        },
    ]
}

impl Contender {
    /// Checks the certificate and what is negotiated with one verified session, then warms the server up.
    fn new(bench: &Bench<'_>, server: &Server, group: Group) -> Result<Self, String> {
        let (running, port) = server.started.as_ref().map_err(ToString::to_string)?;
        let contender = Self {
            name: server.name,
            group,
            server: running.pid(),
            port: *port,
            client: tls::load_client(&bench.identity, tls::provider(group))
                .map_err(|fault| fault.to_string())?,
            loads: Default::default(),
            lone_median: Vec::new(),
            lone_p99: Vec::new(),
        };
        contender.prove(bench).map_err(|fault| fault.to_string())?;
        contender
            .under_load(AT_ONCE[1], WARM_UP)
            .map_err(|fault| fault.to_string())?;
        Ok(contender)
    }

    fn prove(&self, bench: &Bench<'_>) -> Result<(), Fault> {
        let negotiated = session(
            Ipv4Addr::LOCALHOST,
            self.port,
            &tls::verifying_client(&bench.identity, self.group)?,
        )?;
        if negotiated.contains("TLSv1_3") && negotiated.contains("TLS13_AES_128_GCM_SHA256") {
            Ok(())
        } else {
            Err(Fault::Negotiated(negotiated))
        }
    }

    fn under_load(&self, at_once: u32, time: Duration) -> Result<load::Outcome, Fault> {
        // An address for each client, so that a limit by address is not what is measured.
        let step = |source: &mut Ipv4Addr| session(*source, self.port, &self.client).map(drop);
        load::run(
            self.server,
            time,
            at_once,
            |number| Ok(talk::source(number)),
            step,
        )
    }

    fn run(&mut self, time: Duration) -> Result<(), Fault> {
        for (index, at_once) in AT_ONCE.into_iter().enumerate() {
            let outcome = self.under_load(at_once, time)?;
            self.loads[index].cpu.push(outcome.server_micros());
            self.loads[index].rate.push(outcome.rate());
            self.loads[index].busy.push(outcome.load_busy());
        }
        let begun = Instant::now();
        let mut times = Vec::new();
        while times.len() < LONE && begun.elapsed() < LONE_TIME {
            let begun = Instant::now();
            session(Ipv4Addr::LOCALHOST, self.port, &self.client)?;
            times.push(begun.elapsed().as_secs_f64() * 1e3);
        }
        let times = Sample::new(times).ok_or(Fault::Late("a lone session"))?;
        self.lone_median.push(times.median());
        self.lone_p99.push(times.percentile(99));
        Ok(())
    }

    fn label(&self) -> String {
        format!("{}, {}", self.name, self.group.name())
    }

    /// Hands over its figures.
    fn report(&self, report: &mut Report) -> Option<Judged> {
        let label = self.label();
        let mut cpu = Vec::new();
        for (load, at_once) in self.loads.iter().zip(AT_ONCE) {
            let what = |what: &str| format!("{what}, {at_once} at once");
            cpu.push(report.figure(
                &label,
                &what("server CPU per session"),
                "us",
                &Sample::new(load.cpu.clone())?,
            ));
            report.figure(
                &label,
                &what("sessions"),
                "/s",
                &Sample::new(load.rate.clone())?,
            );
            let busy = Sample::new(load.busy.clone())?;
            report.figure(
                &label,
                &what("load generator's share of its core"),
                "",
                &busy,
            );
            if busy.median() > load::SATURATED {
                report.note(&format!("{label}, {at_once} at once: load saturated; the rate is its limit, CPU per session stands"));
            }
        }
        report.figure(
            &label,
            "lone session, median",
            "ms",
            &Sample::new(self.lone_median.clone())?,
        );
        report.figure(
            &label,
            "lone session, 99th percentile",
            "ms",
            &Sample::new(self.lone_p99.clone())?,
        );
        Some(Judged {
            name: self.name,
            group: self.group,
            cpu,
        })
    }
}

/// gatepost against the floor, the bare loop and each peer; the bare loop against the floor, to show what the kernel takes.
fn ratios(report: &mut Report, floors: &Floors, judged: &[Judged]) {
    for one in judged
        .iter()
        .filter(|one| matches!(one.name, "gatepost" | "bare loop"))
    {
        let goal = if one.name == "gatepost" {
            Goal::AtMost(TIMES_THE_FLOOR)
        } else {
            Goal::None
        };
        if let Some(floor) = floors.of(one.group) {
            one.cpu
                .iter()
                .for_each(|cpu| report.ratio(cpu, floor, goal));
        }
    }
    for gatepost in judged.iter().filter(|one| one.name == "gatepost") {
        for peer in judged
            .iter()
            .filter(|one| one.name != "gatepost" && one.group == gatepost.group)
        {
            for (ours, theirs) in gatepost.cpu.iter().zip(&peer.cpu) {
                report.ratio(ours, theirs, Goal::AtMost(1.0));
            }
        }
    }
}

/// One session; what TLS negotiated.
fn session(source: Ipv4Addr, port: u16, client: &Arc<ClientConfig>) -> Result<String, Fault> {
    let mut talk = Talk::clear(source, port)?;
    talk.smtp("220")?;
    talk.smtp_command("EHLO client.gatepost.test\r\n", "250")?;
    talk.smtp_command("STARTTLS\r\n", "220")?;
    let mut talk = talk.upgrade(client)?;
    talk.smtp_command("EHLO client.gatepost.test\r\n", "250")?;
    talk.smtp_command("QUIT\r\n", "221")?;
    Ok(talk.negotiated())
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpStream};
    use std::path::Path;
    use std::thread;
    use std::time::Duration;

    use super::session;
    use crate::fault::Fault;
    use crate::identity::Identity;
    use crate::tls::{self, Group};
    use crate::{bare, peer};

    /// A bare loop in a thread that ends with the test program.
    fn bare_loop(folder: &Path) -> (Identity, u16) {
        let identity = Identity::make(folder).expect("identity");
        let port = peer::free_port().expect("port");
        let options = bare::Options::new(&identity, port);
        thread::spawn(move || bare::run(&options));
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            thread::sleep(Duration::from_millis(1));
        }
        (identity, port)
    }

    #[test]
    fn a_whole_session_runs_with_each_key_exchange_and_everything_verified() {
        let folder = tempfile::tempdir().expect("folder");
        let (identity, port) = bare_loop(folder.path());
        for group in Group::ALL {
            let client = tls::verifying_client(&identity, group).expect("client");
            let negotiated = session(Ipv4Addr::LOCALHOST, port, &client).expect("session");
            assert!(negotiated.contains(group.name()), "{negotiated}");
            assert!(
                negotiated.contains("TLS13_AES_128_GCM_SHA256"),
                "{negotiated}"
            );
        }
    }

    #[test]
    fn the_load_refuses_another_certificate_than_the_expected() {
        let (folder, other) = (
            tempfile::tempdir().expect("folder"),
            tempfile::tempdir().expect("folder"),
        );
        let (identity, port) = bare_loop(folder.path());
        let same = tls::load_client(&identity, tls::provider(Group::X25519)).expect("client");
        assert!(session(Ipv4Addr::LOCALHOST, port, &same).is_ok());
        let foreign = Identity::make(other.path()).expect("identity");
        let foreign = tls::load_client(&foreign, tls::provider(Group::X25519)).expect("client");
        assert!(matches!(
            session(Ipv4Addr::LOCALHOST, port, &foreign),
            Err(Fault::Local(..))
        ));
    }
}
