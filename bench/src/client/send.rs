//! Sending: the client library, driven as a relay would, beside smtp-source.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use gatepost_net::client::dial::{Dialer, Target};
use gatepost_net::client::{Channel, Options, Session, Start, open};
use gatepost_trust::verify::{ClientTls, Reference, Roots, Terms};
use gatepost_wire::client::{Mode, Seed};
use gatepost_wire::smtp::client::{Answer, Ask, Client, Config, Fresh, Transaction};
use gatepost_wire::smtp::path::{ForwardPath, ReversePath};

use super::{MESSAGES, Spent, spend};
use crate::Bench;
use crate::fault::Fault;
use crate::peer::{Running, folder, free_port, installed, write};
use crate::process;
use crate::report::{Figure, Goal, Report};
use crate::sample::Sample;

/// Size of a message with its header, in octets.
const SIZE: usize = 10 * 1024;
/// Sessions of the two figures.
const SESSIONS: [u32; 2] = [1, 50];

/// Measures ours and smtp-source, with TLS and in clear, interleaved run by run.
pub(super) fn measure(bench: &Bench<'_>, report: &mut Report) {
    report.section(
        "client: send",
        "10,000 messages of 10 KiB to smtp-sink, one login-free session or fifty",
    );
    for sessions in SESSIONS {
        for tls in [true, false] {
            if let Err(fault) = compare(bench, report, sessions, tls) {
                report.skip(&label("send", sessions, tls), &fault.to_string());
            }
        }
    }
}

fn label(who: &str, sessions: u32, tls: bool) -> String {
    let way = if tls { "TLS" } else { "clear" };
    format!("{who}, {way}, {sessions}")
}

fn compare(bench: &Bench<'_>, report: &mut Report, sessions: u32, tls: bool) -> Result<(), Fault> {
    let way = Way::open(bench, tls)?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..bench.plan.runs {
        ours.push(library(bench, &way, sessions)?);
        theirs.push(smtp_source(bench, &way, sessions)?);
    }
    let ours = tell(report, &label("gatepost", sessions, tls), &ours)?;
    let theirs = tell(report, &label("smtp-source", sessions, tls), &theirs)?;
    report.ratio(&ours.0, &theirs.0, Goal::AtLeast(1.0));
    report.ratio(&ours.1, &theirs.1, Goal::None);
    Ok(())
}

fn tell(report: &mut Report, subject: &str, runs: &[Spent]) -> Result<(Figure, Figure), Fault> {
    let sample = |value: fn(&Spent) -> f64| {
        Sample::new(runs.iter().map(value).collect()).ok_or(Fault::Late("the client"))
    };
    Ok((
        report.figure(subject, "messages taken", "/s", &sample(Spent::rate)?),
        report.figure(
            subject,
            "client CPU per message",
            "us",
            &sample(Spent::micros)?,
        ),
    ))
}

/// Where messages go: the sink and, with TLS, what stands before it and what stands before smtp-source.
struct Way {
    /// Where our client connects.
    port: u16,
    /// Where smtp-source connects.
    source_port: u16,
    /// stunnel at smtp-source's side: its CPU is smtp-source's.
    wrapper: Option<Running>,
    tls: bool,
    _others: Vec<Running>,
}

impl Way {
    fn open(bench: &Bench<'_>, tls: bool) -> Result<Self, Fault> {
        let dir = folder(&bench.work.join("send"))?;
        let sink_port = free_port()?;
        let mut command = bench.machine.server_command(installed("smtp-sink")?);
        // As root it insists on a user to become.
        command.args(["-u", "nobody"]);
        command.arg(format!("127.0.0.1:{sink_port}")).arg("1000");
        let mut sink = Running::start("smtp-sink", &mut command, &dir.join("sink.log"))?;
        sink.wait_for_port(sink_port)?;
        let clear = Self {
            port: sink_port,
            source_port: sink_port,
            wrapper: None,
            tls,
            _others: Vec::new(),
        };
        if !tls {
            return Ok(Self {
                _others: vec![sink],
                ..clear
            });
        }
        let (front, port) = front(bench, &dir, sink_port)?;
        let (wrapper, source_port) = wrapper(bench, &dir, port)?;
        Ok(Self {
            port,
            source_port,
            wrapper: Some(wrapper),
            _others: vec![sink, front],
            ..clear
        })
    }
}

/// TLS before the sink, on the server's core.
fn front(bench: &Bench<'_>, dir: &Path, sink: u16) -> Result<(Running, u16), Fault> {
    let text = format!(
        "connect = 127.0.0.1:{sink}\ncert = {}\nkey = {}\n",
        bench.identity.certificate_file.display(),
        bench.identity.key_file.display(),
    );
    let command = bench.machine.server_command(installed("stunnel4")?);
    stunnel(command, &dir.join("front.conf"), &text)
}

/// TLS for smtp-source, on the load's core, verifying what our client verifies.
fn wrapper(bench: &Bench<'_>, dir: &Path, server: u16) -> Result<(Running, u16), Fault> {
    let authority = bench.identity.certificate_file.with_file_name("ca.pem");
    let text = format!(
        "client = yes\nconnect = 127.0.0.1:{server}\nCAfile = {}\nverifyChain = yes\n\
         checkHost = localhost\nsni = localhost\n",
        authority.display(),
    );
    let command = Command::new(installed("stunnel4")?);
    stunnel(command, &dir.join("wrapper.conf"), &text)
}

fn stunnel(mut command: Command, file: &Path, text: &str) -> Result<(Running, u16), Fault> {
    let port = free_port()?;
    write(
        file,
        &format!("foreground = yes\npid =\nsyslog = no\n[way]\naccept = 127.0.0.1:{port}\n{text}"),
    )?;
    let log = file.with_extension("log");
    let mut running = Running::start("stunnel", command.arg(file), &log)?;
    running.wait_for_port(port)?;
    Ok((running, port))
}

fn smtp_source(bench: &Bench<'_>, way: &Way, sessions: u32) -> Result<Spent, Fault> {
    let mut command = Command::new(installed("smtp-source")?);
    command
        .args(["-d", "-s", &sessions.to_string()])
        .args(["-m", &MESSAGES.to_string(), "-l", &SIZE.to_string()])
        .args(["-f", "a@gatepost.test", "-t", "b@gatepost.test"])
        .args(["-M", "client.gatepost.test"])
        .arg(format!("127.0.0.1:{}", way.source_port));
    let wrapper = || {
        way.wrapper
            .as_ref()
            .map_or_else(Default::default, |it| process::cpu(it.pid()))
    };
    let before = wrapper();
    let mut spent = spend("smtp-source", &mut command, &bench.work.join("source.log"))?;
    spent.cpu += wrapper().saturating_sub(before);
    Ok(spent)
}

/// Our client: sessions as tasks of one thread, each pipelining the next transaction behind the content of the last.
fn library(bench: &Bench<'_>, way: &Way, sessions: u32) -> Result<Spent, Fault> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Fault::at("starting a runtime"))?;
    let mut roots = Roots::none();
    roots
        .add(bench.identity.authority.clone())
        .ok_or(Fault::NoCertificate)?;
    let host = Reference::host("localhost").map_err(|_| Fault::NoCertificate)?;
    let tls = ClientTls::new(Terms::for_host(host, Arc::new(roots)));
    let next = Arc::new(AtomicU32::new(0));
    let message: Arc<[u8]> = message().into();
    let (before, begun) = (process::own_cpu(), Instant::now());
    let taken = runtime.block_on(async {
        let tasks: Vec<_> = (0..sessions)
            .map(|_| {
                let (next, message, tls) = (Arc::clone(&next), Arc::clone(&message), tls.clone());
                let (port, verified) = (way.port, way.tls);
                tokio::spawn(async move { one(port, verified, &tls, &next, &message).await })
            })
            .collect();
        let mut taken = 0;
        for task in tasks {
            taken += task.await.map_err(|_| Fault::Late("a sending task"))??;
        }
        Ok::<_, Fault>(taken)
    })?;
    let spent = Spent {
        elapsed: begun.elapsed(),
        cpu: process::own_cpu().saturating_sub(before),
    };
    if taken == MESSAGES {
        Ok(spent)
    } else {
        Err(Fault::Lost {
            acknowledged: u64::from(taken),
            found: u64::from(MESSAGES),
        })
    }
}

/// One session, for as long as there are messages; gives how many the sink took.
async fn one(
    port: u16,
    tls: bool,
    terms: &ClientTls,
    next: &AtomicU32,
    message: &[u8],
) -> Result<u32, Fault> {
    let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
    let mode = if tls { Mode::Implicit } else { Mode::Off };
    let begin = || {
        let config = Arc::new(Config::new(mode, "client.gatepost.test"));
        let seed = Seed::new([7; 32]);
        if tls {
            Start::Implicit(Fresh::implicit(config, seed))
        } else {
            Start::Clear(Client::clear(config, seed))
        }
    };
    let (dialer, target, options) = (
        Dialer::default(),
        Target::from(address),
        Arc::new(Options::default()),
    );
    let failed = |failure: gatepost_net::client::Failure| Fault::Reply {
        wanted: "a session",
        got: failure.to_string(),
    };
    let mut session = open(&dialer, &target, terms, &options, begin)
        .await
        .map_err(failed)?;
    let taken = converse(&mut session, next, message)
        .await
        .map_err(failed)?;
    // A session that never got a message because the others were faster was a session all the same.
    match (tls, session.channel()) {
        (true, Channel::Verified(_)) | (false, Channel::Clear) => Ok(taken),
        _ => Err(Fault::Negotiated("a channel of another kind".to_owned())),
    }
}

async fn converse(
    session: &mut Session<Client>,
    next: &AtomicU32,
    message: &[u8],
) -> Result<u32, gatepost_net::client::Failure> {
    let another = || {
        let number = next.fetch_add(1, Ordering::Relaxed);
        (number < MESSAGES)
            .then(|| transaction(u64::from(number)))
            .flatten()
    };
    let (mut taken, mut under_way) = (0, 0);
    while let Some(ask) = session.next().await? {
        let answer = match ask {
            Ask::Content(_) => Answer::Content {
                portion: message.to_vec(),
                last: true,
            },
            Ask::Sent(outcome) => {
                under_way -= 1;
                taken += u32::from(outcome.is_delivered());
                if under_way > 0 {
                    Answer::Wait
                } else {
                    another().map_or(Answer::Quit, |it| {
                        under_way += 1;
                        Answer::Transaction(it)
                    })
                }
            }
            Ask::Ready(_) | Ask::More | Ask::Idle => match another() {
                Some(it) => {
                    under_way += 1;
                    Answer::Transaction(it)
                }
                None if under_way == 0 => Answer::Quit,
                None => Answer::Wait,
            },
            _ => Answer::Wait,
        };
        session.answer(answer);
    }
    Ok(taken)
}

fn transaction(id: u64) -> Option<Box<Transaction>> {
    let sender = ReversePath::parse("<a@gatepost.test>").ok()?;
    let recipient = ForwardPath::parse("<b@gatepost.test>").ok()?;
    Some(Box::new(Transaction::new(id, sender, vec![recipient])))
}

/// Lines of text behind a header, `SIZE` octets in all.
fn message() -> Vec<u8> {
    let mut text =
        b"From: <a@gatepost.test>\r\nTo: <b@gatepost.test>\r\nSubject: benchmark\r\n\r\n".to_vec();
    let line = b"The quick brown fox jumps over the lazy dog, and the gatepost keeps it dry.\r\n";
    while text.len() + line.len() < SIZE {
        text.extend_from_slice(line);
    }
    text.resize(SIZE - 2, b'x');
    text.extend_from_slice(b"\r\n");
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_message_has_its_size() {
        let text = super::message();
        assert_eq!(text.len(), super::SIZE);
        assert!(text.ends_with(b"\r\n"));
    }
}
