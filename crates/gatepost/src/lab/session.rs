//! One connection to a wrong server: plays its part and notes how far the client went.
//!
//! Inside TLS it tells who asks what both said in clear ([`VIEW`]): the client's side is held against it by `gatepost canary compare`.
//!
//! Nothing is ever taken in: recipients get 451, logins 454, so mail stays in the sender's queue. What a login would show is not read.

use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use gatepost_wire::client::Quote;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::wrong::Kind;

/// A client that says nothing for so long is gone.
const PATIENCE: Duration = Duration::from_secs(60);
/// The longest line.
const LONGEST: u64 = 4096;
/// Lines of a client at most.
const MOST_LINES: usize = 200;

/// The command that asks for the view, inside TLS: a line for each that was said in clear, `C` or `S` before it.
pub(crate) const VIEW: &str = "XVIEW";

/// What was said in clear, by either side.
#[derive(Debug, Default)]
struct View(Vec<String>);

impl View {
    fn note(&mut self, side: char, words: &[u8]) {
        for line in words.split(|it| *it == b'\n') {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            // As the client's own record writes it, so that the two can be compared.
            self.0
                .push(format!("{side} {}", Quote::new(line, false).text()));
        }
    }
}

/// How far a client went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Went {
    /// It ended the handshake.
    Refused(String),
    /// It left without sending mail or a login.
    Left,
    /// It went on with mail or a login.
    Continued {
        /// Whether TLS was up.
        encrypted: bool,
        /// `MAIL` or `AUTH`.
        with: &'static str,
    },
}

/// What happened in a part of the dialogue.
enum Part {
    StartTls,
    Over(Option<&'static str>),
}

/// Plays a server's part to the end.
pub(super) fn play(
    kind: Kind,
    host: &str,
    tls: &Arc<ServerConfig>,
    stream: TcpStream,
) -> io::Result<Went> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut clear = BufReader::new(stream);
    let mut view = View::default();
    let greeting = format!("220 {host} ESMTP laboratory");
    tell(clear.get_mut(), &mut view, &greeting)?;
    loop {
        match dialogue(&mut clear, kind, host, Channel::Clear(&mut view))? {
            Part::Over(None) => return Ok(Went::Left),
            Part::Over(Some(with)) => {
                let encrypted = false;
                return Ok(Went::Continued { encrypted, with });
            }
            Part::StartTls => {}
        }
        match kind {
            Kind::Refuses => tell(clear.get_mut(), &mut view, "454 4.7.0 TLS is not available")?,
            Kind::ClearAfter220 => tell(clear.get_mut(), &mut view, "220 2.0.0 go ahead")?,
            _ => break,
        }
    }
    let injected = if kind == Kind::Injects {
        "\r\n250 2.0.0 put in by somebody"
    } else {
        ""
    };
    let answer = format!("220 2.0.0 go ahead{injected}");
    tell(clear.get_mut(), &mut view, &answer)?;
    encrypted(kind, host, tls, clear, &view)
}

fn encrypted(
    kind: Kind,
    host: &str,
    tls: &Arc<ServerConfig>,
    clear: BufReader<TcpStream>,
    view: &View,
) -> io::Result<Went> {
    // What the client sent ahead belongs to the handshake.
    let early = clear.buffer().to_vec();
    let mut connection = ServerConnection::new(Arc::clone(tls)).map_err(io::Error::other)?;
    let mut stream = clear.into_inner();
    let mut source = early.as_slice().chain(&mut stream);
    while connection.is_handshaking() {
        while connection.wants_write() {
            let (_, socket) = source.get_mut();
            connection.write_tls(socket)?;
        }
        if !connection.is_handshaking() {
            break;
        }
        if connection.read_tls(&mut source)? == 0 {
            return Ok(Went::Refused(
                "closed the connection inside the handshake".to_owned(),
            ));
        }
        if let Err(error) = connection.process_new_packets() {
            return Ok(Went::Refused(error.to_string()));
        }
    }
    let mut inside = BufReader::new(StreamOwned::new(connection, stream));
    match dialogue(&mut inside, kind, host, Channel::Encrypted(view)) {
        Ok(Part::Over(Some(with))) => {
            let encrypted = true;
            Ok(Went::Continued { encrypted, with })
        }
        // In TLS 1.3 the client's alert comes after the server thinks all is well.
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            Ok(Went::Refused(error.to_string()))
        }
        _ => Ok(Went::Left),
    }
}

/// In one write: some clients take what comes behind the first segment of a reply for TLS.
fn say(out: &mut impl Write, text: &str) -> io::Result<()> {
    out.write_all(format!("{text}\r\n").as_bytes())?;
    out.flush()
}

/// The same in clear, and noted.
fn tell(out: &mut impl Write, view: &mut View, text: &str) -> io::Result<()> {
    view.note('S', text.as_bytes());
    say(out, text)
}

/// Where a dialogue is led.
enum Channel<'a> {
    /// What is said is noted.
    Clear(&'a mut View),
    /// What was noted is told.
    Encrypted(&'a View),
}

impl Channel<'_> {
    fn say(&mut self, out: &mut impl Write, text: &str) -> io::Result<()> {
        match self {
            Self::Clear(view) => tell(out, view, text),
            Self::Encrypted(_) => say(out, text),
        }
    }

    fn view(&self) -> Option<String> {
        match self {
            Self::Clear(_) => None,
            Self::Encrypted(view) => {
                let lines = view.0.iter().map(|it| format!("250-{it}\r\n"));
                Some(lines.collect::<String>() + "250 end")
            }
        }
    }
}

/// Until STARTTLS or the end, and whether mail or a login came.
fn dialogue<S: Read + Write>(
    stream: &mut BufReader<S>,
    kind: Kind,
    host: &str,
    mut channel: Channel<'_>,
) -> io::Result<Part> {
    let inside = matches!(channel, Channel::Encrypted(_));
    let mut went_on = None;
    for _ in 0..MOST_LINES {
        let mut line = Vec::new();
        if stream.by_ref().take(LONGEST).read_until(b'\n', &mut line)? == 0 {
            break;
        }
        if let Channel::Clear(view) = &mut channel {
            view.note('C', line.strip_suffix(b"\n").unwrap_or(&line));
        }
        let verb: String = line
            .iter()
            .take_while(|it| it.is_ascii_alphabetic())
            .take(10)
            .map(|it| char::from(it.to_ascii_uppercase()))
            .collect();
        let out = stream.get_mut();
        match verb.as_str() {
            "EHLO" => channel.say(out, &hello(kind, host, inside))?,
            "HELO" => channel.say(out, &format!("250 {host}"))?,
            "STARTTLS" if !inside && kind.offers() => return Ok(Part::StartTls),
            "MAIL" => {
                went_on = went_on.or(Some("MAIL"));
                channel.say(out, "250 2.1.0 ok")?;
            }
            "RCPT" | "DATA" | "BDAT" => {
                channel.say(out, "451 4.7.1 this is a laboratory: nothing is taken in")?;
            }
            "AUTH" => {
                let _ = channel.say(out, "454 4.7.0 this is a laboratory: nobody is let in");
                return Ok(Part::Over(Some("AUTH")));
            }
            "QUIT" => {
                // Who quits may be gone already.
                let _ = channel.say(out, "221 2.0.0 bye");
                break;
            }
            "RSET" | "NOOP" => channel.say(out, "250 2.0.0 ok")?,
            VIEW => {
                let view = channel.view();
                channel.say(out, view.as_deref().unwrap_or("502 5.5.1 not here"))?;
            }
            _ => channel.say(out, "502 5.5.1 not here")?,
        }
    }
    Ok(Part::Over(went_on))
}

/// The answer to EHLO.
fn hello(kind: Kind, host: &str, inside: bool) -> String {
    let offer = match (inside, kind) {
        (true, _) | (_, Kind::NoStartTls) => "250-AUTH PLAIN LOGIN\r\n",
        (_, Kind::Masked) => "250-XXXXXXXA\r\n250-AUTH PLAIN LOGIN\r\n",
        _ => "250-STARTTLS\r\n",
    };
    format!("250-{host}\r\n{offer}250 ENHANCEDSTATUSCODES")
}
