//! The mail system behind the gates, in the load generator's process and on its core, so that only the gate's own CPU is counted: an IMAP server
//! with one large message, an SMTP server that takes everything, and the HTTP service nginx must ask about every login. All in clear, on one thread.
//!
//! They answer what a proxy says, not what it should say: these are no servers to test a proxy's grammar with.

use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::thread;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::fault::Fault;

/// What a FETCH brings, in octets.
pub(super) const MESSAGE: usize = 8 * 1024 * 1024;
/// Capabilities, before and after the login.
const OFFER: &str = "IMAP4rev1 LITERAL+ SASL-IR ID IDLE AUTH=PLAIN AUTH=LOGIN";

/// Where the three listen.
#[derive(Debug, Clone, Copy)]
pub(super) struct Backend {
    pub(super) imap: u16,
    pub(super) smtp: u16,
    pub(super) auth_http: u16,
}

impl Backend {
    /// Starts all three, for as long as this process lives.
    pub(super) fn start() -> Result<Self, Fault> {
        let open = || -> io::Result<(std::net::TcpListener, u16)> {
            let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
            listener.set_nonblocking(true)?;
            let port = listener.local_addr()?.port();
            Ok((listener, port))
        };
        let all = || Ok((open()?, open()?, open()?));
        let ((imap, imap_port), (smtp, smtp_port), (http, http_port)) =
            all().map_err(Fault::at("binding the mail system behind the gates"))?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()
            .map_err(Fault::at("starting a runtime"))?;
        let ports = Self {
            imap: imap_port,
            smtp: smtp_port,
            auth_http: http_port,
        };
        let serve = async move {
            let message: Arc<[u8]> = message().into();
            let imap = accept(imap, move |client| {
                drop(tokio::spawn(converse(
                    client,
                    Imap::new(Arc::clone(&message)),
                )));
            });
            let smtp = accept(smtp, |client| {
                drop(tokio::spawn(converse(client, Smtp::default())));
            });
            let http = accept(http, move |client| {
                drop(tokio::spawn(converse(client, Http::new(ports))));
            });
            tokio::try_join!(imap, smtp, http).map(drop)
        };
        thread::spawn(move || {
            if let Err(error) = runtime.block_on(serve) {
                eprintln!("warning: the mail system behind the gates ended: {error}");
            }
        });
        Ok(ports)
    }
}

async fn accept(listener: std::net::TcpListener, take: impl Fn(TcpStream)) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    loop {
        take(listener.accept().await?.0);
    }
}

/// One of the three protocols: takes what has come, gives what to say.
trait Play {
    /// What is said first.
    fn greet(&self) -> &'static str;
    /// Uses up whole lines of `heard`; false ends the connection behind what is said.
    fn hear(&mut self, heard: &mut Vec<u8>, say: &mut Vec<u8>) -> bool;
}

/// A connection that breaks off is noticed by the load's client, not here.
async fn converse(mut client: TcpStream, mut play: impl Play) -> Option<()> {
    client.set_nodelay(true).ok()?;
    let (mut heard, mut say) = (Vec::new(), play.greet().as_bytes().to_vec());
    let mut going = true;
    loop {
        client.write_all(&say).await.ok()?;
        if !going {
            return Some(());
        }
        // An idle session keeps nothing: there are thousands.
        say = Vec::new();
        if heard.is_empty() {
            heard = Vec::new();
        }
        client.readable().await.ok()?;
        if client.read_buf(&mut heard).await.ok()? == 0 {
            return None;
        }
        going = play.hear(&mut heard, &mut say);
    }
}

/// Takes the first whole line out of `heard`, without its end.
fn line(heard: &mut Vec<u8>) -> Option<String> {
    let end = heard.iter().position(|octet| *octet == b'\n')?;
    let line: Vec<u8> = heard.drain(..=end).collect();
    Some(String::from_utf8_lossy(&line).trim_end().to_owned())
}

struct Imap {
    message: Arc<[u8]>,
    /// The tag of an IDLE or AUTHENTICATE that waits for its end.
    waits: Option<String>,
    /// A command whose literal is still to come.
    begun: String,
}

impl Imap {
    fn new(message: Arc<[u8]>) -> Self {
        Self {
            message,
            waits: None,
            begun: String::new(),
        }
    }

    fn command(&mut self, line: &str, say: &mut Vec<u8>) -> bool {
        let mut words = line.split(' ');
        let tag = words.next().unwrap_or_default();
        let verb = words.next().unwrap_or_default().to_ascii_uppercase();
        let ok = |before: &str| format!("{before}{tag} OK done\r\n");
        let text = match verb.as_str() {
            "CAPABILITY" => ok(&format!("* CAPABILITY {OFFER}\r\n")),
            "ID" => ok("* ID NIL\r\n"),
            "LOGIN" => format!("{tag} OK [CAPABILITY {OFFER}] done\r\n"),
            "AUTHENTICATE" if line.split(' ').count() > 3 => ok(""),
            "AUTHENTICATE" => {
                self.waits = Some(tag.to_owned());
                "+ \r\n".to_owned()
            }
            "IDLE" => {
                self.waits = Some(tag.to_owned());
                "+ idling\r\n".to_owned()
            }
            "SELECT" => ok("* FLAGS ()\r\n* 1 EXISTS\r\n* OK [UIDVALIDITY 1]\r\n"),
            "FETCH" => {
                let size = self.message.len();
                say.extend_from_slice(format!("* 1 FETCH (BODY[] {{{size}}}\r\n").as_bytes());
                say.extend_from_slice(&self.message);
                ok(")\r\n")
            }
            "LOGOUT" => ok("* BYE\r\n"),
            _ => ok(""),
        };
        say.extend_from_slice(text.as_bytes());
        verb != "LOGOUT"
    }
}

impl Play for Imap {
    fn greet(&self) -> &'static str {
        "* OK [CAPABILITY IMAP4rev1 LITERAL+ SASL-IR ID IDLE AUTH=PLAIN AUTH=LOGIN] ready\r\n"
    }

    fn hear(&mut self, heard: &mut Vec<u8>, say: &mut Vec<u8>) -> bool {
        while let Some(line) = line(heard) {
            if let Some(tag) = self.waits.take() {
                say.extend_from_slice(format!("{tag} OK done\r\n").as_bytes());
                continue;
            }
            self.begun.push_str(&line);
            if line.ends_with('}') {
                if !line.ends_with("+}") {
                    say.extend_from_slice(b"+ go on\r\n");
                }
                continue;
            }
            let command = std::mem::take(&mut self.begun);
            if !self.command(&command, say) {
                return false;
            }
        }
        true
    }
}

#[derive(Default)]
struct Smtp {
    /// Behind a 354.
    content: bool,
    /// A login's next line is to come.
    login: bool,
}

impl Play for Smtp {
    fn greet(&self) -> &'static str {
        "220 sink.gatepost.test ESMTP\r\n"
    }

    fn hear(&mut self, heard: &mut Vec<u8>, say: &mut Vec<u8>) -> bool {
        loop {
            if self.content {
                let Some(end) = content_end(heard) else {
                    return true;
                };
                heard.drain(..end);
                self.content = false;
                say.extend_from_slice(b"250 2.0.0 taken\r\n");
            }
            let Some(line) = line(heard) else {
                return true;
            };
            let verb = line
                .split(' ')
                .next()
                .unwrap_or_default()
                .to_ascii_uppercase();
            let text = match verb.as_str() {
                _ if std::mem::take(&mut self.login) => "235 2.7.0 in\r\n",
                "EHLO" => {
                    "250-sink.gatepost.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SIZE\r\n250-ENHANCEDSTATUSCODES\r\n250 AUTH PLAIN\r\n"
                }
                "AUTH" if line.split(' ').count() > 2 => "235 2.7.0 in\r\n",
                "AUTH" => {
                    self.login = true;
                    "334 \r\n"
                }
                "DATA" => {
                    self.content = true;
                    "354 go on\r\n"
                }
                "QUIT" => "221 2.0.0 bye\r\n",
                _ => "250 2.0.0 ok\r\n",
            };
            say.extend_from_slice(text.as_bytes());
            if verb == "QUIT" {
                return false;
            }
        }
    }
}

/// Just behind the dot that ends a message. Only the end is looked at: a client waits there.
fn content_end(heard: &[u8]) -> Option<usize> {
    const END: &[u8] = b"\r\n.\r\n";
    heard.ends_with(END).then_some(heard.len()).or_else(|| {
        // Something was sent behind the dot at once.
        let at = heard.windows(END.len()).rposition(|window| window == END);
        at.map(|at| at + END.len())
    })
}

/// nginx's `auth_http`: every login is good, and this is where it goes.
struct Http {
    ports: Backend,
    smtp: bool,
}

impl Http {
    fn new(ports: Backend) -> Self {
        Self { ports, smtp: false }
    }
}

impl Play for Http {
    fn greet(&self) -> &'static str {
        ""
    }

    fn hear(&mut self, heard: &mut Vec<u8>, say: &mut Vec<u8>) -> bool {
        while let Some(line) = line(heard) {
            if line.eq_ignore_ascii_case("auth-protocol: smtp") {
                self.smtp = true;
            }
            if line.is_empty() {
                let port = if self.smtp {
                    self.ports.smtp
                } else {
                    self.ports.imap
                };
                let answer = format!(
                    "HTTP/1.0 200 OK\r\nAuth-Status: OK\r\nAuth-Server: 127.0.0.1\r\nAuth-Port: {port}\r\n\r\n"
                );
                say.extend_from_slice(answer.as_bytes());
                return false;
            }
        }
        true
    }
}

/// Lines of text, `MESSAGE` octets.
fn message() -> Vec<u8> {
    let line = b"The quick brown fox jumps over the lazy dog, and the gatepost keeps it dry.\r\n";
    let mut text = line.repeat(MESSAGE / line.len() + 1);
    text.truncate(MESSAGE - 2);
    text.extend_from_slice(b"\r\n");
    text
}

#[cfg(test)]
mod tests {
    use super::{Imap, MESSAGE, Play, Smtp, content_end, message};

    #[test]
    fn a_message_has_its_size() {
        assert_eq!(message().len(), MESSAGE);
    }

    #[test]
    fn literals_are_put_together() {
        let mut imap = Imap::new(Vec::new().into());
        let (mut heard, mut say) = (
            b"a LOGIN {1}\r\nu {1+}\r\np\r\nb NOOP\r\n".to_vec(),
            Vec::new(),
        );
        assert!(imap.hear(&mut heard, &mut say));
        let said = String::from_utf8(say).expect("text");
        assert!(said.starts_with("+ go on\r\na OK "), "{said}");
        assert!(said.ends_with("b OK done\r\n"), "{said}");
    }

    #[test]
    fn a_pipelined_message_is_taken_once() {
        let mut smtp = Smtp::default();
        let (mut heard, mut say) = (
            b"MAIL FROM:<a@b>\r\nRCPT TO:<a@b>\r\nDATA\r\n".to_vec(),
            Vec::new(),
        );
        assert!(smtp.hear(&mut heard, &mut say));
        heard.extend_from_slice(b"x\r\n.\r\nRSET\r\n");
        assert_eq!(content_end(&heard), Some(6));
        assert!(smtp.hear(&mut heard, &mut say));
        let said = String::from_utf8(say).expect("text");
        assert_eq!(said.lines().count(), 5, "{said}");
    }
}
