//! One structured line per session end, and a few lines about the server itself.
//!
//! Lines go to standard error from a thread of their own: a slow terminal holds no session back. When the thread falls
//! behind, or the disk is full, lines are dropped and counted, and the count is written as soon as there is room. No line ever holds a password,
//! a token or a message's content; see `docs/logs-and-metrics.md` for the fields.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, SystemTime};

use gatepost_wire::seam::TlsFacts;
use gatepost_wire::session::Why;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::settings::LogFormat;

/// What the line about a session says; what was negotiated is always in it [SVC-04].
#[derive(Debug)]
pub struct SessionLine {
    /// The service.
    pub service: &'static str,
    /// The client.
    pub client: SocketAddr,
    /// What was negotiated; none: the session was in clear to its end.
    pub tls: Option<TlsFacts>,
    /// The account and the mechanism of a login.
    pub login: Option<(Box<str>, &'static str)>,
    /// At a gate: the upstream, and how words travelled to it (`Clear`, `Encrypted`, `Verified(by)`).
    pub upstream: Option<Box<(String, String)>>,
    /// Logins refused [IMAP-TLS-17].
    pub login_failures: u32,
    /// Messages taken in and given out.
    pub messages: (u64, u64),
    /// Octets received and sent, with all that TLS adds.
    pub octets: (u64, u64),
    /// How long it lasted.
    pub lasted: Duration,
    /// Why it ended.
    pub why: Why,
    /// More about why a handshake failed: a stable label.
    pub detail: Option<&'static str>,
}

impl SessionLine {
    /// `Clear` or `Encrypted`: what was negotiated, and no more than that.
    pub fn channel(&self) -> &'static str {
        if self.tls.is_some() {
            "Encrypted"
        } else {
            "Clear"
        }
    }

    fn json(&self) -> Value {
        let tls = self.tls.as_ref();
        json!({
            "kind": "session",
            "service": self.service,
            "client": self.client.ip().to_canonical(),
            "port": self.client.port(),
            "channel": self.channel(),
            "tls": tls.map(|facts| json!({
                "version": facts.version.label(),
                "suite": facts.suite,
                "group": facts.group,
                "sni": facts.sni,
                "alpn": facts.alpn,
                "resumed": facts.resumed,
            })),
            "account": self.login.as_ref().map(|(account, _)| account),
            "mechanism": self.login.as_ref().map(|(_, mechanism)| mechanism),
            "upstream": self.upstream.as_deref().map(|(server, channel)| json!({
                "server": server,
                "channel": channel,
            })),
            "login_failures": self.login_failures,
            "messages_in": self.messages.0,
            "messages_out": self.messages.1,
            "octets_in": self.octets.0,
            "octets_out": self.octets.1,
            "seconds": self.lasted.as_secs_f64(),
            "end": self.why.label(),
            "detail": self.detail,
        })
    }

    fn human(&self) -> String {
        let mut line = format!("{} {} {}", self.service, self.client, self.channel());
        if let Some(facts) = &self.tls {
            line.push_str(&format!(" {} {}", facts.version.label(), facts.suite));
            line.push_str(&format!(" {}", facts.group.unwrap_or("-")));
            if let Some(sni) = &facts.sni {
                line.push_str(&format!(" sni={}", sni.escape_default()));
            }
            if let Some(alpn) = &facts.alpn {
                line.push_str(&format!(" alpn={}", alpn.escape_default()));
            }
            if facts.resumed {
                line.push_str(" resumed");
            }
        }
        if let Some((account, mechanism)) = &self.login {
            line.push_str(&format!(" {account} {mechanism}"));
        }
        if let Some((server, channel)) = self.upstream.as_deref() {
            line.push_str(&format!(" upstream={server} {channel}"));
        }
        if self.login_failures > 0 {
            line.push_str(&format!(" login_failures={}", self.login_failures));
        }
        line.push_str(&format!(
            " messages={}/{} octets={}/{} {:.3}s {}",
            self.messages.0,
            self.messages.1,
            self.octets.0,
            self.octets.1,
            self.lasted.as_secs_f64(),
            self.why.label()
        ));
        if let Some(detail) = self.detail {
            line.push_str(&format!(" ({detail})"));
        }
        line
    }
}

/// Lines wait this long for others to be written with them: at thousands of sessions a second a write, and waking the thread
/// that writes, for each line would be a tenth of all work.
const GATHER: Duration = Duration::from_millis(5);

/// Where lines go. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Log {
    format: LogFormat,
    entries: SyncSender<Entry>,
    dropped: Arc<AtomicU64>,
}

#[derive(Debug)]
enum Entry {
    Line(String),
    /// Everything before this has been written: say so.
    Flush(SyncSender<()>),
}

impl Log {
    /// Lines for standard error.
    pub fn to_stderr(format: LogFormat) -> Self {
        Self::to(format, std::io::stderr())
    }

    /// Lines for any writer.
    pub fn to(format: LogFormat, out: impl Write + Send + 'static) -> Self {
        // About a second of lines of a busy server.
        let (entries, waiting) = sync_channel(8192);
        let dropped = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&dropped);
        std::thread::spawn(move || write_lines(&waiting, &counter, out));
        Self {
            format,
            entries,
            dropped,
        }
    }

    /// Waits until everything logged so far is written. For the way out.
    pub fn flush(&self) {
        let (done, written) = sync_channel(1);
        if self.entries.send(Entry::Flush(done)).is_ok() {
            // An error means that the writer is gone: then there is nothing to wait for.
            let _ = written.recv_timeout(Duration::from_secs(1));
        }
    }

    /// Writes the line about a session's end.
    pub fn session(&self, line: &SessionLine) {
        match self.format {
            LogFormat::Human => self.push(format!("{} {}", timestamp(), line.human())),
            LogFormat::Json => self.push(stamped(line.json()).to_string()),
        }
    }

    /// Writes a line about the server itself: a stable word and a sentence.
    pub fn notice(&self, event: &'static str, text: &str) {
        match self.format {
            LogFormat::Human => self.push(format!("{} {event}: {text}", timestamp())),
            LogFormat::Json => self
                .push(stamped(json!({"kind": "notice", "event": event, "text": text})).to_string()),
        }
    }

    fn push(&self, mut line: String) {
        line.push('\n');
        if let Err(TrySendError::Full(_)) = self.entries.try_send(Entry::Line(line)) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The writing thread: the first line wakes it, what comes within [`GATHER`] is written with it.
fn write_lines(waiting: &Receiver<Entry>, dropped: &AtomicU64, out: impl Write) {
    let mut text = String::new();
    let mut out = Out {
        to: out,
        lost: 0,
        torn: false,
    };
    while let Ok(first) = waiting.recv() {
        let mut flushed = take(first, &mut text);
        if flushed.is_none() {
            std::thread::sleep(GATHER);
        }
        while let (None, Ok(entry)) = (&flushed, waiting.try_recv()) {
            flushed = take(entry, &mut text);
        }
        let lost = dropped.swap(0, Ordering::Relaxed);
        if lost > 0 {
            text.push_str(&format!(
                "{lost} log lines were dropped: the log's reader is too slow\n"
            ));
        }
        out.write(&text);
        text.clear();
        if let Some(done) = flushed {
            let _ = done.send(());
        }
    }
}

/// Where lines go in the end. A file on a full disk takes some or none: what it did not take is gone, for there may never be room
/// and memory must not grow meanwhile, but it is counted.
struct Out<W> {
    to: W,
    lost: usize,
    /// The last line there has no end.
    torn: bool,
}

impl<W: Write> Out<W> {
    /// Writes whole lines, behind a word about those that could not be written before.
    fn write(&mut self, text: &str) {
        let mut whole = String::new();
        if self.torn {
            whole.push('\n');
        }
        if self.lost > 0 {
            whole.push_str(&format!(
                "{} log lines were lost: they could not be written\n",
                self.lost
            ));
        }
        let added = whole.len();
        whole.push_str(text);
        let octets = whole.as_bytes();
        let mut written = 0;
        while let Some(rest) = octets.get(written..).filter(|rest| !rest.is_empty()) {
            match self.to.write(rest) {
                Ok(0) => break,
                Ok(count) => written += count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        if written >= added {
            self.lost = 0;
        }
        let rest = octets.get(written.max(added)..).unwrap_or_default();
        self.lost += memchr::memchr_iter(b'\n', rest).count();
        if written > 0 {
            self.torn = octets.get(written - 1) != Some(&b'\n');
        }
    }
}

/// Adds an entry to the text; gives back whom to tell when it is written.
fn take(entry: Entry, text: &mut String) -> Option<SyncSender<()>> {
    match entry {
        Entry::Line(line) => {
            text.push_str(&line);
            None
        }
        Entry::Flush(done) => Some(done),
    }
}

fn stamped(mut value: Value) -> Value {
    if let Some(object) = value.as_object_mut() {
        object.insert("time".into(), timestamp().into());
    }
    value
}

fn timestamp() -> String {
    let now = SystemTime::now();
    OffsetDateTime::from(now)
        .replace_millisecond(0)
        .ok()
        .and_then(|time| time.format(&Rfc3339).ok())
        .unwrap_or_else(|| "-".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use gatepost_wire::seam::TlsVersion;

    fn line() -> SessionLine {
        SessionLine {
            service: "imaps",
            client: "127.0.0.1:4711".parse().unwrap(),
            tls: Some(TlsFacts {
                client: None,
                signature: None,
                version: TlsVersion::Tls13,
                suite: "TLS_AES_128_GCM_SHA256".into(),
                group: Some("X25519MLKEM768"),
                sni: Some("mail\n.example".into()),
                alpn: Some("imap".into()),
                resumed: false,
                bindings: None,
                verified: None,
            }),
            login: Some(("me@gatepost.test".into(), "SCRAM-SHA-256")),
            upstream: None,
            login_failures: 0,
            messages: (0, 2),
            octets: (100, 2000),
            lasted: Duration::from_millis(1500),
            why: Why::Quit,
            detail: None,
        }
    }

    #[test]
    fn the_human_line_holds_every_fact_on_one_line() {
        assert_eq!(
            line().human(),
            "imaps 127.0.0.1:4711 Encrypted TLSv1.3 TLS_AES_128_GCM_SHA256 X25519MLKEM768 sni=mail\\n.example alpn=imap \
             me@gatepost.test SCRAM-SHA-256 messages=0/2 octets=100/2000 1.500s quit"
        );
    }

    #[test]
    fn without_tls_the_word_is_clear() {
        let line = SessionLine {
            tls: None,
            login: None,
            ..line()
        };
        assert_eq!(line.json()["channel"], "Clear");
        assert!(
            line.human()
                .starts_with("imaps 127.0.0.1:4711 Clear messages=")
        );
    }

    /// Hands on what is written.
    struct Sink(std::sync::mpsc::Sender<Vec<u8>>);
    impl Write for Sink {
        fn write(&mut self, octets: &[u8]) -> std::io::Result<usize> {
            self.0.send(octets.to_vec()).unwrap();
            Ok(octets.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_are_written_in_order_and_none_is_lost_on_the_way_out() {
        let (sender, written) = std::sync::mpsc::channel();
        let log = Log::to(LogFormat::Human, Sink(sender));
        for number in 0..1000 {
            log.notice("test", &format!("line {number}."));
        }
        log.flush();
        let text = String::from_utf8(written.try_iter().flatten().collect()).unwrap();
        assert_eq!(text.lines().count(), 1000);
        for (number, line) in text.lines().enumerate() {
            assert!(line.ends_with(&format!("test: line {number}.")), "{line}");
        }
    }

    /// Takes so many octets, then says that the disk is full.
    struct Full {
        room: usize,
        has: Vec<u8>,
    }
    impl Write for Full {
        fn write(&mut self, octets: &[u8]) -> std::io::Result<usize> {
            let taken = octets.len().min(self.room);
            if taken == 0 {
                return Err(std::io::ErrorKind::StorageFull.into());
            }
            self.room -= taken;
            self.has.extend_from_slice(&octets[..taken]);
            Ok(taken)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_a_full_disk_did_not_take_are_counted_and_the_next_one_stands_alone() {
        let full = Full {
            room: 14,
            has: Vec::new(),
        };
        let mut out = Out {
            to: full,
            lost: 0,
            torn: false,
        };
        out.write("first one\nsecond one\nthird one\n");
        out.write("fourth one\n");
        // Not even the word about what was lost has room.
        out.to.room = 5;
        out.write("fifth one\n");
        out.to.room = 1000;
        out.write("sixth one\n");
        out.write("seventh one\n");
        assert_eq!(
            String::from_utf8(out.to.has).unwrap(),
            "first one\nseco\n3 lo\n4 log lines were lost: they could not be written\nsixth one\nseventh one\n"
        );
    }

    #[test]
    fn json_lines_are_json() {
        let value = line().json();
        assert_eq!(value["tls"]["group"], "X25519MLKEM768");
        assert_eq!(value["end"], "quit");
    }
}
