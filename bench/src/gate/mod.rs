//! The gate beside nginx, stunnel, haproxy and Dovecot's proxy: memory of an idle session, new logins, the greeting, a large FETCH, and
//! submissions, all before one mail system that costs nothing ([`backend`]).
//!
//! Each gate is started for memory and again for the rest, and ended before the next. What a gate does not have is named as skipped.

mod backend;
mod front;

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustls::ClientConfig;

use self::backend::{Backend, MESSAGE};
use self::front::{Front, Who};
use crate::Bench;
use crate::fault::Fault;
use crate::load::{self, count};
use crate::peer::gatepost::{PASSWORD, account};
use crate::process;
use crate::report::{Figure, Goal, Report};
use crate::sample::Sample;
use crate::talk::{self, Talk};
use crate::tls::{self, Group};
use crate::{idle, submission};

/// The longest run of one measurement: five gates with five measurements must fit into minutes.
const LONGEST: u64 = 3;
/// Logins at once.
const AT_ONCE: u32 = 16;
/// Large messages fetched at once.
const FETCHES: u32 = 4;
/// Submitting connections.
const SENDERS: u32 = 8;
/// Lone sessions to time, and no longer than this.
const LONE: usize = 200;
const LONE_TIME: Duration = Duration::from_secs(2);
/// Limits of the figures: octets of memory, milliseconds of a login beside idle sessions.
const MEMORY: f64 = 6.0 * 1024.0;
const LOGIN: f64 = 50.0;

/// One of a gate's figures.
type Part = fn(&Judged) -> Option<&Figure>;

/// One gate's figures, for ratios.
struct Judged {
    who: Who,
    memory: Option<Figure>,
    logins: Option<Figure>,
    greeting: Option<Figure>,
    fetch: Option<Figure>,
    submissions: Option<Figure>,
}

/// Measures all of them.
pub(crate) fn measure(bench: &Bench<'_>, report: &mut Report) {
    report.section("gate", "in front of another mail system, in clear behind");
    let ready = Backend::start().and_then(|backend| {
        let client = tls::load_client(&bench.identity, tls::provider(Group::X25519))?;
        Ok((backend, client))
    });
    let (backend, client) = match ready {
        Ok(ready) => ready,
        Err(fault) => return report.skip("gate", &fault.to_string()),
    };
    let mut all = Vec::new();
    for who in Who::ALL {
        // Memory is measured on a gate that has done nothing yet, and speed on one that need not clear away thousands of sessions.
        let begin = || {
            let front = who.start(bench, backend)?;
            let client = &client;
            Ok::<_, Fault>(Race {
                bench,
                who,
                front,
                client,
            })
        };
        let memory = begin().map(|race| race.told(report, "idle", Race::idle));
        match memory.and_then(|memory| Ok((memory, begin()?))) {
            Ok((memory, race)) => all.push(race.run(report, memory)),
            Err(fault) => report.skip(who.label(), &fault.to_string()),
        }
    }
    ratios(report, &all);
}

/// Ours against each of the others.
fn ratios(report: &mut Report, all: &[Judged]) {
    let Some(ours) = all.iter().find(|one| one.who == Who::Gatepost) else {
        return;
    };
    let figures: [(Part, Goal); 5] = [
        (|one| one.memory.as_ref(), Goal::AtMost(1.0)),
        (|one| one.logins.as_ref(), Goal::AtLeast(1.5)),
        (|one| one.greeting.as_ref(), Goal::AtMost(1.0)),
        (|one| one.fetch.as_ref(), Goal::AtLeast(1.0)),
        (|one| one.submissions.as_ref(), Goal::AtLeast(1.0)),
    ];
    for (figure, goal) in figures {
        for other in all.iter().filter(|one| one.who != Who::Gatepost) {
            if let (Some(ours), Some(theirs)) = (figure(ours), figure(other)) {
                report.ratio(ours, theirs, goal);
            }
        }
    }
}

/// One gate being measured.
struct Race<'a> {
    bench: &'a Bench<'a>,
    who: Who,
    front: Front,
    client: &'a Arc<ClientConfig>,
}

impl Race<'_> {
    fn run(&self, report: &mut Report, memory: Option<Figure>) -> Judged {
        Judged {
            who: self.who,
            greeting: self.told(report, "greeting", Self::greeting),
            memory,
            logins: match self.front.imap {
                Some(_) => self.told(report, "logins", Self::logins),
                None => self.lacks(report, "STARTTLS"),
            },
            fetch: self.told(report, "fetch", Self::fetch),
            submissions: match self.front.submissions {
                Some(_) => self.told(report, "submissions", Self::submissions),
                None => self.lacks(report, "submission"),
            },
        }
    }

    fn lacks(&self, report: &mut Report, what: &str) -> Option<Figure> {
        report.skip(self.who.label(), &format!("it has no {what} here"));
        None
    }

    /// A measurement's figure, or its reason.
    fn told(
        &self,
        report: &mut Report,
        what: &str,
        measure: impl Fn(&Self, &mut Report) -> Result<Figure, Fault>,
    ) -> Option<Figure> {
        let name = format!("{}, {what}", self.who.label());
        measure(self, report)
            .map_err(|fault| report.skip(&name, &fault.to_string()))
            .ok()
    }

    fn time(&self) -> Duration {
        Duration::from_secs(self.bench.plan.seconds.min(LONGEST))
    }

    fn figure(
        &self,
        report: &mut Report,
        what: &str,
        unit: &'static str,
        values: Vec<f64>,
    ) -> Result<Figure, Fault> {
        let sample = Sample::new(values).ok_or(Fault::Late("a gate"))?;
        Ok(report.figure(self.who.label(), what, unit, &sample))
    }

    /// From connecting to the greeting over implicit TLS, a session at a time.
    fn greeting(&self, report: &mut Report) -> Result<Figure, Fault> {
        let (begun, mut times) = (Instant::now(), Vec::new());
        while times.len() < LONE && begun.elapsed() < LONE_TIME {
            let one = Instant::now();
            Talk::encrypted(Ipv4Addr::LOCALHOST, self.front.imaps, self.client)?.imap("* OK")?;
            times.push(one.elapsed().as_secs_f64() * 1e3);
        }
        self.figure(report, "connecting to greeting, implicit TLS", "ms", times)
    }

    /// Growth of the resident memory by session; gatepost with as many as both ends have descriptors for, two each.
    fn idle(&self, report: &mut Report) -> Result<Figure, Fault> {
        let plan = self.bench.plan;
        let wanted = match self.who {
            Who::Gatepost => plan.sessions.saturating_mul(2),
            Who::Dovecot => plan.peer_sessions,
            _ => plan.peer_sessions.saturating_mul(5),
        };
        let spare = u64::from(idle::WARM_UP) + idle::SPARE_FILES;
        let allowed = (process::open_files().soft / 2).saturating_sub(spare);
        let sessions = wanted
            .min(u32::try_from(allowed).unwrap_or(u32::MAX))
            .max(1);
        let open = |number| {
            let source = talk::source(number / plan.per_address);
            idle::open(source, self.front.imaps, number, self.client)
        };
        let mut held = idle::open_all(0..idle::WARM_UP, open)?;
        thread::sleep(idle::SETTLE);
        let pid = self.front.running.pid();
        let before = process::memory(pid);
        held.extend(idle::open_all(
            idle::WARM_UP..idle::WARM_UP + sessions,
            open,
        )?);
        thread::sleep(idle::SETTLE);
        let after = process::memory(pid);
        let beside = self.lone_logins();
        for talk in &mut held {
            talk.send(b"DONE\r\n")?;
            talk.imap("c OK")?;
        }
        let what = |kind: &str| format!("{kind} per idle proxied session, {sessions} sessions");
        let per =
            |after: u64, before: u64| count(after.saturating_sub(before)) / f64::from(sessions);
        self.figure(
            report,
            &what("heap and stacks"),
            "bytes",
            vec![per(after.anonymous, before.anonymous)],
        )?;
        let resident = vec![per(after.resident, before.resident)];
        let resident = self.figure(report, &what("resident"), "bytes", resident)?;
        let what = format!("a login beside {sessions} idle sessions");
        let login = self.figure(report, &what, "ms", beside?)?;
        if self.who == Who::Gatepost {
            report.ratio_to_limit(&resident, MEMORY);
            report.ratio_to_limit(&login, LOGIN);
        }
        Ok(resident)
    }

    fn lone_logins(&self) -> Result<Vec<f64>, Fault> {
        let (begun, mut times) = (Instant::now(), Vec::new());
        while times.len() < LONE && begun.elapsed() < LONE_TIME {
            let one = Instant::now();
            let mut talk = Talk::encrypted(Ipv4Addr::LOCALHOST, self.front.imaps, self.client)?;
            talk.imap("* OK")?;
            login(&mut talk, 0)?;
            times.push(one.elapsed().as_secs_f64() * 1e3);
        }
        Ok(times)
    }

    /// STARTTLS sessions, each logged in and out.
    fn logins(&self, report: &mut Report) -> Result<Figure, Fault> {
        let port = self.front.imap.ok_or(Fault::Late("STARTTLS"))?;
        let step = |source: &mut Ipv4Addr| {
            let mut talk = Talk::clear(*source, port)?;
            talk.imap("* OK")?;
            talk.imap_command("s STARTTLS\r\n", "s OK")?;
            let mut talk = talk.upgrade(self.client)?;
            login(&mut talk, 0)?;
            talk.imap_command("z LOGOUT\r\n", "z OK").map(drop)
        };
        let (mut rates, mut costs) = (Vec::new(), Vec::new());
        for _ in 0..self.bench.plan.runs {
            let pid = self.front.running.pid();
            let source = |number| Ok(talk::source(number));
            let outcome = load::run(pid, self.time(), AT_ONCE, source, step)?;
            rates.push(outcome.rate());
            costs.push(outcome.server_micros());
        }
        self.figure(report, "server CPU per STARTTLS login", "us", costs)?;
        self.figure(report, "new STARTTLS logins", "/s", rates)
    }

    /// One large message, over and over.
    fn fetch(&self, report: &mut Report) -> Result<Figure, Fault> {
        let (mut rates, mut costs) = (Vec::new(), Vec::new());
        let ready = |number| {
            let source = talk::source(number);
            let mut talk = Talk::encrypted(source, self.front.imaps, self.client)?;
            talk.imap("* OK")?;
            login(&mut talk, number)?;
            talk.imap_command("b SELECT INBOX\r\n", "b OK")?;
            Ok(talk)
        };
        let step = |talk: &mut Talk| {
            talk.send(b"c FETCH 1 BODY[]\r\n")?;
            talk.imap("* 1 FETCH")?;
            talk.skip(u64::try_from(MESSAGE).unwrap_or(u64::MAX))?;
            talk.line()?;
            talk.imap("c OK").map(drop)
        };
        let megabytes = f64::from(u32::try_from(MESSAGE).unwrap_or(u32::MAX)) / 1e6;
        for _ in 0..self.bench.plan.runs {
            let pid = self.front.running.pid();
            let outcome = load::run(pid, self.time(), FETCHES, ready, step)?;
            rates.push(outcome.rate() * megabytes);
            costs.push(megabytes * 1e6 / outcome.server_micros());
        }
        self.figure(
            report,
            "FETCH, as the load core could take it",
            "MB/s",
            rates,
        )?;
        self.figure(report, "FETCH in a second of server CPU", "MB", costs)
    }

    /// Messages of 10 KiB over implicit TLS to a sink.
    fn submissions(&self, report: &mut Report) -> Result<Figure, Fault> {
        let port = self.front.submissions;
        let port = port.ok_or(Fault::Late("submission"))?;
        let (mut rates, mut costs) = (Vec::new(), Vec::new());
        for _ in 0..self.bench.plan.runs {
            let pid = self.front.running.pid();
            let outcome = submission::submit(self.bench, pid, port, SENDERS, self.time())?;
            rates.push(outcome.rate());
            costs.push(1e6 / outcome.server_micros());
        }
        let what = format!("submissions over {SENDERS} connections");
        self.figure(report, &what, "/s", rates)?;
        let what = format!("{what} in a second of server CPU");
        let figure = self.figure(report, &what, "", costs)?;
        if self.who == Who::Gatepost {
            report.ratio_to_least(&figure, 10_000.0);
        }
        Ok(figure)
    }
}

fn login(talk: &mut Talk, number: u32) -> Result<(), Fault> {
    let command = format!("a LOGIN {} {PASSWORD}\r\n", account(number));
    talk.imap_command(&command, "a OK").map(drop)
}
