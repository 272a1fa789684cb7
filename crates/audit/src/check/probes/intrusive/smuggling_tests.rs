//! Scripted servers that see the end of a mail where they should, and where they should not.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::*;
use crate::check::probes::lab;
use crate::check::target::{Protocol, Start};

const WAIT: Duration = Duration::from_millis(150);
const TRUE_END: &[u8] = b"\r\n.\r\n";

/// How a server treats a mail.
#[derive(Clone, Copy, Default)]
struct Manner {
    /// What ends a mail besides the true end.
    end: Option<&'static [u8]>,
    /// Mail that loops is stored.
    stores: bool,
    /// A bare LF is refused at once, and the connection closed.
    closes: bool,
    /// A mail with a bare LF in it is refused with a word at its end.
    refuses: bool,
    /// The answer to a mail takes so long, but for the control's.
    delay: Duration,
    /// The answer to RCPT where it is none of the usual.
    recipient: Option<&'static str>,
}

struct Server {
    port: u16,
    connections: Arc<AtomicUsize>,
    stored: Arc<AtomicUsize>,
    said: Arc<Mutex<Vec<String>>>,
}

fn server(manner: Manner) -> Server {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let made = Server {
        port: listener.local_addr().unwrap().port(),
        connections: Arc::default(),
        stored: Arc::default(),
        said: Arc::default(),
    };
    let (connections, stored) = (Arc::clone(&made.connections), Arc::clone(&made.stored));
    let said = Arc::clone(&made.said);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let number = connections.fetch_add(1, Ordering::SeqCst);
            let (stored, said) = (Arc::clone(&stored), Arc::clone(&said));
            std::thread::spawn(move || {
                let _ = stream.set_read_timeout(Some(Duration::from_secs(20)));
                serve(&mut stream, manner, number, &stored, &said)
            });
        }
    });
    made
}

fn serve(
    stream: &mut TcpStream,
    manner: Manner,
    number: usize,
    stored: &AtomicUsize,
    said: &Mutex<Vec<String>>,
) -> Option<()> {
    stream.write_all(b"220 mail.example.test ESMTP\r\n").ok()?;
    let mut input = Vec::new();
    loop {
        let line = line(stream, &mut input)?;
        said.lock().unwrap().push(line.clone());
        let answer = match line.as_str() {
            "DATA" => {
                stream.write_all(b"354 go on\r\n").ok()?;
                mail(stream, &mut input, manner, number, stored)?
            }
            "QUIT" => {
                stream.write_all(b"221 bye\r\n").ok()?;
                return None;
            }
            "" | "." => "500 5.5.2 what".to_owned(),
            it if it.starts_with("RCPT") => manner.recipient.unwrap_or("250 ok").to_owned(),
            _ => "250 ok".to_owned(),
        };
        stream.write_all(format!("{answer}\r\n").as_bytes()).ok()?;
    }
}

fn read(stream: &mut TcpStream, input: &mut Vec<u8>) -> Option<()> {
    let mut octets = [0; 4096];
    let length = stream.read(&mut octets).ok().filter(|it| *it > 0)?;
    input.extend_from_slice(&octets[..length]);
    Some(())
}

fn line(stream: &mut TcpStream, input: &mut Vec<u8>) -> Option<String> {
    loop {
        if let Some(at) = input.iter().position(|it| *it == b'\n') {
            let line: Vec<u8> = input.drain(..=at).collect();
            return Some(String::from_utf8_lossy(&line).trim_end().to_owned());
        }
        read(stream, input)?;
    }
}

/// Hears a mail out, and answers it.
fn mail(
    stream: &mut TcpStream,
    input: &mut Vec<u8>,
    manner: Manner,
    number: usize,
    stored: &AtomicUsize,
) -> Option<String> {
    let find = |input: &[u8], what: &[u8]| input.windows(what.len()).position(|it| it == what);
    let ends = || manner.end.into_iter().chain([TRUE_END]);
    let end = loop {
        let found = ends().filter_map(|it| Some((find(input, it)?, it.len())));
        if let Some((at, length)) = found.min() {
            break at + length;
        }
        let is_bare = |at: usize| input[at] == b'\n' && at > 0 && input[at - 1] != b'\r';
        if manner.closes && (0..input.len()).any(is_bare) {
            stream.write_all(b"521 5.5.2 bare LF\r\n").ok()?;
            return None;
        }
        read(stream, input)?;
    };
    let text: Vec<u8> = input.drain(..end).collect();
    let hops = text
        .split(|it| *it == b'\n')
        .filter(|it| it.starts_with(b"Received:"));
    let loops = hops.count() > 100;
    if number > 0 {
        std::thread::sleep(manner.delay);
    }
    let is_bare = |at: usize| text[at] == b'\n' && at > 0 && text[at - 1] != b'\r';
    if manner.refuses && (0..text.len()).any(is_bare) {
        return Some("550 5.5.2 bare LF".to_owned());
    }
    if loops && !manner.stores {
        return Some("554 5.4.0 too many hops".to_owned());
    }
    stored.fetch_add(1, Ordering::SeqCst);
    Some("250 2.0.0 queued".to_owned())
}

async fn ask(manner: Manner) -> (Seen<Provocation>, Server) {
    let server = server(manner);
    let mut errand = lab::errand(server.port, Protocol::Smtp, Start::StartTls);
    errand.mailbox = Some("anna@example.test".to_owned());
    (run(&errand, false, WAIT).await, server)
}

fn proof(seen: &Seen<Provocation>) -> &str {
    match seen {
        Seen::Known(Provocation::Worked { proof }) => proof,
        other => panic!("{other:?}"),
    }
}

fn is_refused(seen: &Seen<Provocation>) -> bool {
    matches!(seen, Seen::Known(Provocation::Refused { .. }))
}

// [SMTP-SMUG-05]
#[tokio::test]
async fn a_server_that_knows_one_end_alone_is_sound_and_stores_nothing() {
    let (seen, server) = ask(Manner::default()).await;
    let Seen::Known(Provocation::Refused { how }) = &seen else {
        panic!("{seen:?}");
    };
    assert!(
        SEQUENCES.iter().all(|(name, _)| how.contains(name)),
        "{how}"
    );
    assert_eq!(server.stored.load(Ordering::SeqCst), 0);
    assert_eq!(server.connections.load(Ordering::SeqCst), 10);
}

// [SMTP-SMUG-05]
#[tokio::test]
async fn each_sequence_that_ends_a_mail_is_found_by_itself_and_stores_nothing() {
    for (at, (name, sequence)) in SEQUENCES.into_iter().enumerate() {
        let (seen, server) = ask(Manner {
            end: Some(sequence),
            ..Manner::default()
        })
        .await;
        let proof = proof(&seen);
        let (ended, text) = proof.split_once("; taken as text: ").unwrap();
        let told = format!("{name} (554 5.4.0 too many hops)");
        assert!(ended.contains(&told), "{name}: {proof}");
        // These stand in no other.
        if [0, 2, 7, 8].contains(&at) {
            assert_eq!(text.split(", ").count(), 8, "{proof}");
        }
        assert_eq!(server.stored.load(Ordering::SeqCst), 0, "{name}");
    }
}

#[tokio::test]
async fn an_end_that_is_told_late_is_an_end() {
    let manner = Manner {
        end: Some(b"\n.\n"),
        delay: WAIT * 5,
        ..Manner::default()
    };
    let (seen, server) = ask(manner).await;
    assert!(
        proof(&seen).contains("end of a mail: <LF>.<LF> (554"),
        "{seen:?}"
    );
    assert_eq!(server.stored.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_bare_lf_that_is_refused_is_no_end() {
    for (closes, refuses) in [(true, false), (false, true)] {
        let manner = Manner {
            closes,
            refuses,
            ..Manner::default()
        };
        let (seen, server) = ask(manner).await;
        assert!(is_refused(&seen), "{seen:?}");
        assert_eq!(server.stored.load(Ordering::SeqCst), 0);
    }
}

#[tokio::test]
async fn where_mail_that_loops_is_stored_there_is_one_for_the_control_and_one_for_each_end() {
    let stores = Manner {
        stores: true,
        ..Manner::default()
    };
    let (seen, server) = ask(stores).await;
    assert!(is_refused(&seen), "{seen:?}");
    assert_eq!(server.stored.load(Ordering::SeqCst), 1);
    let manner = Manner {
        end: Some(b"\n.\n"),
        ..stores
    };
    let (seen, server) = ask(manner).await;
    let proof = proof(&seen);
    assert!(proof.contains("<LF>.<LF> (250 2.0.0 queued)"), "{proof}");
    assert!(proof.contains("test mails are in the mailbox"), "{proof}");
    assert_eq!(server.stored.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn who_refuses_the_mailbox_is_not_asked_and_who_puts_off_cannot_be_told() {
    let with = |recipient| Manner {
        recipient: Some(recipient),
        ..Manner::default()
    };
    let (seen, server) = ask(with("530 5.7.0 log in first")).await;
    assert!(
        matches!(seen, Seen::Known(Provocation::Absent { .. })),
        "{seen:?}"
    );
    let said = server.said.lock().unwrap().clone();
    assert!(!said.iter().any(|it| it == "DATA"), "{said:?}");
    let (seen, _) = ask(with("450 4.2.0 later")).await;
    assert!(matches!(seen, Seen::Unknown { .. }), "{seen:?}");
}

#[tokio::test]
async fn without_a_mailbox_nobody_is_asked() {
    let server = server(Manner::default());
    let errand = lab::errand(server.port, Protocol::Smtp, Start::StartTls);
    let seen = run(&errand, false, WAIT).await;
    assert!(
        matches!(seen, Seen::Known(Provocation::Absent { .. })),
        "{seen:?}"
    );
    assert_eq!(server.connections.load(Ordering::SeqCst), 0);
}

#[test]
fn what_is_not_told_of_one_sequence_is_not_told_of_the_whole() {
    let text = || ("<LF>.<CR>", Ok(Outcome::Text));
    let open = || ("<LF>.<LF>", Err("421 later".to_owned()));
    let seen = sum(&[text(), open()], false);
    assert!(matches!(seen, Seen::Unknown { missing: 1, .. }), "{seen:?}");
    let ended = ("<CR>.<CR>", Ok(Outcome::Ended("554".to_owned())));
    let seen = sum(&[text(), open(), ended], false);
    assert!(proof(&seen).contains("not told: <LF>.<LF> (421 later)"));
}

#[test]
fn dates_are_those_of_mail() {
    let at = UNIX_EPOCH + Duration::from_secs(1_795_802_400);
    assert_eq!(date(at), "27 Nov 2026 18:00:00 +0000");
}
