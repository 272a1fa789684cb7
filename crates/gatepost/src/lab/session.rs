//! One connection to a wrong server: plays its part and notes how far the client went.
//!
//! Nothing is ever taken in: recipients get 451, logins 454, so mail stays in the sender's queue. What a login would show is not read.

use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::wrong::Kind;

/// A client that says nothing for so long is gone.
const PATIENCE: Duration = Duration::from_secs(60);
/// The longest line.
const LONGEST: u64 = 4096;
/// Lines of a client at most.
const MOST_LINES: usize = 200;

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
    say(clear.get_mut(), &format!("220 {host} ESMTP laboratory"))?;
    loop {
        match dialogue(&mut clear, kind, host, false)? {
            Part::Over(None) => return Ok(Went::Left),
            Part::Over(Some(with)) => {
                let encrypted = false;
                return Ok(Went::Continued { encrypted, with });
            }
            Part::StartTls => {}
        }
        match kind {
            Kind::Refuses => say(clear.get_mut(), "454 4.7.0 TLS is not available")?,
            Kind::ClearAfter220 => say(clear.get_mut(), "220 2.0.0 go ahead")?,
            _ => break,
        }
    }
    let injected = if kind == Kind::Injects {
        "\r\n250 2.0.0 put in by somebody"
    } else {
        ""
    };
    say(clear.get_mut(), &format!("220 2.0.0 go ahead{injected}"))?;
    encrypted(kind, host, tls, clear)
}

fn encrypted(
    kind: Kind,
    host: &str,
    tls: &Arc<ServerConfig>,
    clear: BufReader<TcpStream>,
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
    match dialogue(&mut inside, kind, host, true) {
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

fn say(out: &mut impl Write, text: &str) -> io::Result<()> {
    out.write_all(text.as_bytes())?;
    out.write_all(b"\r\n")?;
    out.flush()
}

/// Until STARTTLS or the end, and whether mail or a login came.
fn dialogue<S: Read + Write>(
    stream: &mut BufReader<S>,
    kind: Kind,
    host: &str,
    inside: bool,
) -> io::Result<Part> {
    let mut went_on = None;
    for _ in 0..MOST_LINES {
        let mut line = Vec::new();
        if stream.by_ref().take(LONGEST).read_until(b'\n', &mut line)? == 0 {
            break;
        }
        let verb: String = line
            .iter()
            .take_while(|it| it.is_ascii_alphabetic())
            .take(10)
            .map(|it| char::from(it.to_ascii_uppercase()))
            .collect();
        let out = stream.get_mut();
        match verb.as_str() {
            "EHLO" => hello(out, kind, host, inside)?,
            "HELO" => say(out, &format!("250 {host}"))?,
            "STARTTLS" if !inside && kind.offers() => return Ok(Part::StartTls),
            "MAIL" => {
                went_on = went_on.or(Some("MAIL"));
                say(out, "250 2.1.0 ok")?;
            }
            "RCPT" | "DATA" | "BDAT" => {
                say(out, "451 4.7.1 this is a laboratory: nothing is taken in")?;
            }
            "AUTH" => {
                let _ = say(out, "454 4.7.0 this is a laboratory: nobody is let in");
                return Ok(Part::Over(Some("AUTH")));
            }
            "QUIT" => {
                // Who quits may be gone already.
                let _ = say(out, "221 2.0.0 bye");
                break;
            }
            "RSET" | "NOOP" => say(out, "250 2.0.0 ok")?,
            _ => say(out, "502 5.5.1 not here")?,
        }
    }
    Ok(Part::Over(went_on))
}

fn hello(out: &mut impl Write, kind: Kind, host: &str, inside: bool) -> io::Result<()> {
    let offer = match (inside, kind) {
        (true, _) | (_, Kind::NoStartTls) => "250-AUTH PLAIN LOGIN\r\n",
        (_, Kind::Masked) => "250-XXXXXXXA\r\n250-AUTH PLAIN LOGIN\r\n",
        _ => "250-STARTTLS\r\n",
    };
    say(
        out,
        &format!("250-{host}\r\n{offer}250 ENHANCEDSTATUSCODES"),
    )
}
