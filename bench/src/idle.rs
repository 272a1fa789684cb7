//! Memory of an idle session: IMAP over implicit TLS, logged in, INBOX selected, waiting in IDLE.
//!
//! Some sessions come first and stay, so that what a server sets up once is not counted. Then the rest are opened, the
//! server is left to settle, and the growth is divided by their number. Sessions come from many loopback addresses.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustls::ClientConfig;

use crate::Bench;
use crate::fault::Fault;
use crate::load::count;
use crate::peer::dovecot::Sharing;
use crate::peer::gatepost::{PASSWORD, account};
use crate::peer::{self, Running};
use crate::process::{self, Memory};
use crate::report::{Figure, Goal, Report};
use crate::sample::Sample;
use crate::talk::{self, Talk};
use crate::tls::{self, Group};

/// Sessions opened before anything is counted.
pub(crate) const WARM_UP: u32 = 50;
/// Sessions being opened at the same time.
const OPENERS: usize = 8;
/// Time for a server to give back what opening a session took.
pub(crate) const SETTLE: Duration = Duration::from_secs(3);
/// Open files a process needs beside its sessions.
pub(crate) const SPARE_FILES: u64 = 200;
/// design.md: at most this for a session of the embedded mailbox, in bytes.
const LIMIT: f64 = 8.0 * 1024.0;

/// Growth per session, in bytes.
struct Growth {
    resident: f64,
    anonymous: f64,
    proportional: f64,
}

/// Measures gatepost and Dovecot.
pub(crate) fn measure(bench: &Bench<'_>, report: &mut Report) {
    report.section(
        "idle",
        "memory per IMAP session in IDLE over TLS: growth of the process tree / sessions",
    );
    let sessions = bench.plan.sessions;
    let gatepost = repeat(bench, sessions, |run| {
        let gatepost = peer::gatepost::start(bench, &format!("idle-{run}"))?;
        Ok((gatepost.running, gatepost.ports.imaps))
    });
    let gatepost = tell(report, "gatepost", sessions, gatepost);
    if let Some((resident, _)) = &gatepost {
        report.ratio_to_limit(resident, LIMIT);
    }
    for (name, sharing) in [
        ("dovecot (Debian)", Sharing::PerSession),
        ("dovecot (shared)", Sharing::Shared),
    ] {
        let sessions = bench.plan.peer_sessions;
        let started = |run| peer::dovecot::start(bench, run, sharing);
        let dovecot = tell(report, name, sessions, repeat(bench, sessions, started));
        if let (Some((_, ours)), Some((_, theirs))) = (&gatepost, &dovecot) {
            report.ratio(ours, theirs, Goal::AtMost(1.0));
        }
    }
}

/// One fresh server per run, so that no run inherits another's free memory.
fn repeat(
    bench: &Bench<'_>,
    sessions: u32,
    start: impl Fn(u32) -> Result<(Running, u16), Fault>,
) -> Result<Vec<Growth>, Fault> {
    let needed = u64::from(sessions) + u64::from(WARM_UP) + SPARE_FILES;
    let allowed = process::open_files().soft;
    if needed > allowed {
        return Err(Fault::Files { needed, allowed });
    }
    let client = tls::load_client(&bench.identity, tls::provider(Group::X25519))?;
    let one = |run| {
        let (running, port) = start(run)?;
        grow(bench, running.pid(), port, sessions, &client)
    };
    (0..bench.plan.runs).map(one).collect()
}

fn grow(
    bench: &Bench<'_>,
    server: u32,
    port: u16,
    sessions: u32,
    client: &Arc<ClientConfig>,
) -> Result<Growth, Fault> {
    let opener = |number| {
        open(
            talk::source(number / bench.plan.per_address),
            port,
            number,
            client,
        )
    };
    let mut held = open_all(0..WARM_UP, opener)?;
    thread::sleep(SETTLE);
    let before = process::memory(server);
    held.extend(open_all(WARM_UP..WARM_UP + sessions, opener)?);
    thread::sleep(SETTLE);
    let after = process::memory(server);
    // A session that was closed meanwhile would make the rest look cheap.
    for talk in &mut held {
        talk.send(b"DONE\r\n")?;
        talk.imap("c OK")?;
    }
    let per = |value: fn(&Memory) -> u64| {
        count(value(&after).saturating_sub(value(&before))) / f64::from(sessions)
    };
    Ok(Growth {
        resident: per(|memory| memory.resident),
        anonymous: per(|memory| memory.anonymous),
        proportional: per(|memory| memory.proportional),
    })
}

/// Opens the sessions with these numbers, a few at a time.
pub(crate) fn open_all(
    numbers: std::ops::Range<u32>,
    open: impl Fn(u32) -> Result<Talk, Fault> + Sync,
) -> Result<Vec<Talk>, Fault> {
    let open = &open;
    thread::scope(|scope| {
        let open_share = |first| {
            let mine = numbers.clone().skip(first).step_by(OPENERS);
            scope.spawn(move || mine.map(open).collect::<Result<Vec<_>, _>>())
        };
        let threads: Vec<_> = (0..OPENERS).map(open_share).collect();
        let mut all = Vec::new();
        for thread in threads {
            all.extend(
                thread
                    .join()
                    .map_err(|_| Fault::Late("an opening thread"))??,
            );
        }
        Ok(all)
    })
}

/// One session in IDLE.
pub(crate) fn open(
    source: Ipv4Addr,
    port: u16,
    number: u32,
    client: &Arc<ClientConfig>,
) -> Result<Talk, Fault> {
    let mut talk = Talk::encrypted(source, port, client)?;
    talk.imap("* OK")?;
    talk.imap_command(
        &format!("a LOGIN {} {PASSWORD}\r\n", account(number)),
        "a OK",
    )?;
    talk.imap_command("b SELECT INBOX\r\n", "b OK")?;
    talk.imap_command("c IDLE\r\n", "+ ")?;
    Ok(talk)
}

/// Resident and proportional growth.
fn tell(
    report: &mut Report,
    name: &str,
    sessions: u32,
    growth: Result<Vec<Growth>, Fault>,
) -> Option<(Figure, Figure)> {
    let growth = growth
        .map_err(|fault| report.skip(name, &fault.to_string()))
        .ok()?;
    let sample = |value: fn(&Growth) -> f64| Sample::new(growth.iter().map(value).collect());
    let what = |kind: &str| format!("{kind} per session, {sessions} sessions");
    let resident = report.figure(
        name,
        &what("resident"),
        "bytes",
        &sample(|growth| growth.resident)?,
    );
    report.figure(
        name,
        &what("heap and stacks"),
        "bytes",
        &sample(|growth| growth.anonymous)?,
    );
    let proportional = report.figure(
        name,
        &what("proportional"),
        "bytes",
        &sample(|growth| growth.proportional)?,
    );
    Some((resident, proportional))
}
