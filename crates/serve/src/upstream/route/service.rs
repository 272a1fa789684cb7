//! Services that say where a user goes: socketmap (netstrings, as Sendmail and Postfix ask), and the headers of nginx's `auth_http`.
//!
//! They are asked in clear, so they are on this machine or behind a Unix socket. A password is never told to them: whether a login is right is
//! the upstream's to say. From nginx's service only `Auth-Status`, `Auth-Server` and `Auth-Port` are taken; the place they name must be
//! that of a configured upstream.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use crate::services::Protocol;

/// For the whole of a question.
const PATIENCE: Duration = Duration::from_secs(5);
/// The most octets of an answer.
const MOST: usize = 16 * 1024;

/// Where a service is and what it speaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A socketmap at an address, with the map's name.
    Socketmap(SocketAddr, String),
    /// The same at a Unix socket.
    SocketmapAt(PathBuf, String),
    /// A service as nginx asks one: address, host, path.
    Http(SocketAddr, String, String),
}

impl Place {
    /// Reads `socketmap:127.0.0.1:PORT:MAP`, `socketmap:unix:PATH:MAP` or `http://127.0.0.1:PORT/PATH`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let help = || {
            format!(
                "gate.route {text:?}: write hash, table:FILE, socketmap:127.0.0.1:PORT:MAP, socketmap:unix:PATH:MAP or http://127.0.0.1:PORT/PATH"
            )
        };
        let local = |address: &str| {
            let address: SocketAddr = address.parse().map_err(|_| help())?;
            if address.ip().to_canonical().is_loopback() {
                Ok(address)
            } else {
                Err(format!(
                    "gate.route {text:?}: the service is asked in clear, so it must be on this machine (127.0.0.1 or ::1)"
                ))
            }
        };
        if let Some(rest) = text.strip_prefix("socketmap:unix:") {
            let (path, map) = rest.rsplit_once(':').ok_or_else(help)?;
            return Ok(Self::SocketmapAt(path.into(), map.to_owned()));
        }
        if let Some(rest) = text.strip_prefix("socketmap:") {
            let (address, map) = rest.rsplit_once(':').ok_or_else(help)?;
            return Ok(Self::Socketmap(local(address)?, map.to_owned()));
        }
        let rest = text.strip_prefix("http://").ok_or_else(help)?;
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let is_sound = path.bytes().all(|it| it.is_ascii_graphic());
        if !is_sound {
            return Err(help());
        }
        let address = if host
            .rsplit_once(':')
            .is_some_and(|(_, port)| port.parse::<u16>().is_ok())
        {
            local(host)?
        } else {
            local(&format!("{host}:80"))?
        };
        Ok(Self::Http(address, host.to_owned(), format!("/{path}")))
    }
}

/// What is known of a session.
#[derive(Debug, Clone, Copy)]
pub(super) struct Question<'a> {
    pub(super) user: Option<&'a str>,
    pub(super) server_name: Option<&'a str>,
    pub(super) client: SocketAddr,
    pub(super) protocol: Protocol,
}

/// A service that is asked.
#[derive(Debug)]
pub(in crate::upstream) struct Service {
    place: Place,
    patience: Duration,
}

impl Service {
    pub(super) fn new(place: Place) -> Self {
        Self {
            place,
            patience: PATIENCE,
        }
    }

    /// The group, or host and port, of an upstream; or why there is none.
    pub(super) async fn ask(&self, question: &Question<'_>) -> Result<Box<str>, String> {
        let asked = timeout(self.patience, self.try_ask(question)).await;
        asked.unwrap_or_else(|_| Err("the route's service did not answer in time".to_owned()))
    }

    async fn try_ask(&self, question: &Question<'_>) -> Result<Box<str>, String> {
        let cannot =
            |error: std::io::Error| format!("the route's service cannot be asked: {error}");
        match &self.place {
            Place::Socketmap(address, map) => {
                let stream = TcpStream::connect(address).await.map_err(cannot)?;
                socketmap(stream, map, question).await
            }
            Place::SocketmapAt(path, map) => {
                let stream = UnixStream::connect(path).await.map_err(cannot)?;
                socketmap(stream, map, question).await
            }
            Place::Http(address, host, path) => {
                let stream = TcpStream::connect(address).await.map_err(cannot)?;
                http(stream, host, path, question).await
            }
        }
    }
}

/// One question and answer of socketmap: `length:map key,` and `length:OK value,` (`socketmap_table(5)`).
async fn socketmap(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    map: &str,
    question: &Question<'_>,
) -> Result<Box<str>, String> {
    let key = match (question.user, question.server_name) {
        (Some(user), _) => user.to_owned(),
        (None, Some(name)) => format!("sni:{name}"),
        (None, None) => "*".to_owned(),
    };
    if key.chars().any(char::is_control) {
        return Err("the user's name holds what no map has".to_owned());
    }
    let words = format!("{map} {key}");
    let line = format!("{}:{words},", words.len());
    let broken = |error: std::io::Error| format!("the route's service broke off: {error}");
    stream.write_all(line.as_bytes()).await.map_err(broken)?;
    let mut answer = Vec::new();
    loop {
        if let Some(words) = netstring(&answer)? {
            return socketmap_answer(words);
        }
        if answer.len() > MOST || stream.read_buf(&mut answer).await.map_err(broken)? == 0 {
            return Err("the route's service answered with half a netstring".to_owned());
        }
    }
}

/// The content of a whole netstring; none: more is needed.
fn netstring(octets: &[u8]) -> Result<Option<&str>, String> {
    let wrong = || Err("the route's service does not answer with a netstring".to_owned());
    let Some(colon) = octets.iter().position(|it| *it == b':') else {
        return if octets.len() > 6 || !octets.iter().all(u8::is_ascii_digit) {
            wrong()
        } else {
            Ok(None)
        };
    };
    let length = std::str::from_utf8(octets.get(..colon).unwrap_or_default());
    let Some(length) = length
        .ok()
        .and_then(|it| it.parse::<usize>().ok())
        .filter(|it| *it <= MOST)
    else {
        return wrong();
    };
    let begin = colon + 1;
    match octets.get(begin + length) {
        None => Ok(None),
        Some(b',') => {
            let content =
                std::str::from_utf8(octets.get(begin..begin + length).unwrap_or_default());
            content.map_or_else(|_| wrong(), |it| Ok(Some(it)))
        }
        Some(_) => wrong(),
    }
}

fn socketmap_answer(words: &str) -> Result<Box<str>, String> {
    let (status, rest) = words.split_once(' ').unwrap_or((words, ""));
    match status {
        "OK" if !rest.trim().is_empty() => Ok(rest.trim().into()),
        "NOTFOUND" => Err("the route's service does not know it".to_owned()),
        other => Err(format!("the route's service says {other:?}")),
    }
}

/// One question in the headers of nginx's mail `auth_http`, without the password.
async fn http(
    stream: TcpStream,
    host: &str,
    path: &str,
    question: &Question<'_>,
) -> Result<Box<str>, String> {
    let broken = |error: hyper::Error| format!("the route's service: {error}");
    let protocol = match question.protocol {
        Protocol::Smtp | Protocol::Submission => "smtp",
        Protocol::Imap => "imap",
        Protocol::Pop3 => "pop3",
    };
    // As nginx does: what is not plain in a name is percent-encoded.
    let user: String =
        form_urlencoded::byte_serialize(question.user.unwrap_or("").as_bytes()).collect();
    let request = hyper::Request::get(path)
        .header("Host", host)
        .header(
            "Auth-Method",
            if question.user.is_some() {
                "plain"
            } else {
                "none"
            },
        )
        .header("Auth-User", user.replace('+', "%20").replace("%40", "@"))
        .header("Auth-Protocol", protocol)
        .header("Auth-Login-Attempt", "1")
        .header("Client-IP", question.client.ip().to_canonical().to_string())
        .header(
            "Auth-SSL",
            if question.server_name.is_some() {
                "on"
            } else {
                "off"
            },
        )
        .header("Auth-SSL-Server-Name", question.server_name.unwrap_or(""))
        .body(http_body_util::Empty::<hyper::body::Bytes>::new())
        .map_err(|error| format!("the route's service cannot be asked: {error}"))?;
    let io = hyper_util::rt::TokioIo::new(stream);
    let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
        .max_buf_size(MOST)
        .handshake(io)
        .await
        .map_err(broken)?;
    // It ends with the sender.
    let driving = tokio::spawn(connection);
    let response = sender.send_request(request).await.map_err(broken);
    driving.abort();
    nginx_answer(response?.headers())
}

fn nginx_answer(headers: &hyper::HeaderMap) -> Result<Box<str>, String> {
    let of = |name: &str| {
        headers
            .get(name)
            .and_then(|it| it.to_str().ok())
            .map(str::trim)
    };
    match of("Auth-Status") {
        Some("OK") => {}
        Some(other) => return Err(format!("the route's service says {other:?}")),
        None => return Err("the route's service sent no Auth-Status".to_owned()),
    }
    let (Some(server), Some(port)) = (of("Auth-Server"), of("Auth-Port")) else {
        return Err("the route's service sent no Auth-Server and Auth-Port".to_owned());
    };
    let (Ok(server), Ok(port)) = (server.parse::<IpAddr>(), port.parse::<u16>()) else {
        return Err("Auth-Server is no address, or Auth-Port no port".to_owned());
    };
    Ok(SocketAddr::new(server, port).to_string().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    fn question(user: &str) -> Question<'_> {
        Question {
            user: Some(user),
            server_name: Some("mail.example.test"),
            client: SocketAddr::from(([192, 0, 2, 7], 4711)),
            protocol: Protocol::Imap,
        }
    }

    /// A service that answers so, and gives back what it was asked.
    async fn asked(scheme: &str, answer: &'static [u8]) -> (Result<Box<str>, String>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut heard = vec![0; 4096];
            let count = stream.read(&mut heard).await.unwrap();
            heard.truncate(count);
            stream.write_all(answer).await.unwrap();
            stream.shutdown().await.unwrap();
            String::from_utf8(heard).unwrap()
        });
        let place = match scheme {
            "http" => format!("http://{address}/auth"),
            _ => format!("socketmap:{address}:users"),
        };
        let service = Service::new(Place::parse(&place).unwrap());
        let answer = service.ask(&question("anna@example.test")).await;
        (answer, serving.await.unwrap())
    }

    #[tokio::test]
    async fn a_socketmap_is_asked_and_heard() {
        let (answer, heard) = asked("socketmap", b"6:OK new,").await;
        assert_eq!(answer.as_deref(), Ok("new"));
        assert_eq!(heard, "23:users anna@example.test,");
        let wrong: [&[u8]; 8] = [
            b"9:NOTFOUND ,",
            b"5:TEMP ,",
            b"3:OK ,",
            b"6:OK new;",
            b"6:OK n",
            b"garbage",
            b"99999999:OK",
            b"",
        ];
        for words in wrong {
            let (answer, _) = asked("socketmap", words).await;
            assert!(answer.is_err(), "{}", String::from_utf8_lossy(words));
        }
    }

    #[tokio::test]
    async fn a_service_of_nginx_is_asked_without_the_password() {
        let good = b"HTTP/1.0 200 OK\r\nAuth-Status: OK\r\nAuth-Server: 127.0.0.1\r\nAuth-Port: 143\r\n\r\n";
        let (answer, heard) = asked("http", good).await;
        assert_eq!(answer.as_deref(), Ok("127.0.0.1:143"));
        let heard = heard.to_lowercase();
        for header in [
            "auth-user: anna@example.test",
            "auth-protocol: imap",
            "client-ip: 192.0.2.7",
            "auth-ssl-server-name: mail.example.test",
        ] {
            assert!(heard.contains(header), "{header} in {heard}");
        }
        assert!(!heard.contains("auth-pass"));
        let wrong: [&[u8]; 6] = [
            b"HTTP/1.0 200 OK\r\nAuth-Status: Invalid login or password\r\n\r\n",
            b"HTTP/1.0 200 OK\r\n\r\n",
            b"HTTP/1.0 200 OK\r\nAuth-Status: OK\r\n\r\n",
            b"HTTP/1.0 200 OK\r\nAuth-Status: OK\r\nAuth-Server: example\r\nAuth-Port: 143\r\n\r\n",
            b"what?\r\n\r\n",
            b"",
        ];
        for words in wrong {
            let (answer, _) = asked("http", words).await;
            assert!(answer.is_err(), "{}", String::from_utf8_lossy(words));
        }
    }

    #[tokio::test]
    async fn one_that_is_silent_is_not_waited_for() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let place = format!("socketmap:{}:users", listener.local_addr().unwrap());
        let mut service = Service::new(Place::parse(&place).unwrap());
        service.patience = Duration::from_millis(50);
        let answer = service.ask(&question("anna")).await;
        assert!(answer.unwrap_err().contains("in time"));
    }

    /// What a service at this kind of place hears of a user, until the gate has gone away.
    async fn told(scheme: &str, user: &str) -> (Result<Box<str>, String>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut heard = Vec::new();
            // One who is refused says nothing and goes; an HTTP client waits for an answer.
            while stream.read_buf(&mut heard).await.unwrap() > 0 && !heard.ends_with(b"\r\n\r\n") {}
            String::from_utf8(heard).unwrap()
        });
        let place = match scheme {
            "http" => format!("http://{address}/auth"),
            _ => format!("socketmap:{address}:users"),
        };
        let service = Service::new(Place::parse(&place).unwrap());
        let answer = service.ask(&question(user)).await;
        (answer, serving.await.unwrap())
    }

    #[tokio::test]
    async fn a_name_with_control_characters_is_not_asked_for() {
        for user in [
            "anna\n7:OK evil,",
            "anna\0",
            "anna\r\nx",
            "an\u{85}na",
            "\u{7f}",
        ] {
            let (answer, heard) = told("socketmap", user).await;
            assert!(answer.unwrap_err().contains("user's name"), "{user:?}");
            assert_eq!(heard, "", "{user:?}");
        }
    }

    #[tokio::test]
    async fn a_name_cannot_add_a_header() {
        for user in [
            "anna\r\nAuth-Method: none\r\nX-Evil: 1",
            "anna\nX-Evil: 1",
            "anna\0X-Evil: 1",
            "änna X-Evil: 1",
        ] {
            let (_, heard) = told("http", user).await;
            let lines: Vec<&str> = heard.lines().collect();
            assert!(!heard.to_lowercase().contains("\nx-evil"), "{heard}");
            let of = |name: &str| {
                let it = lines
                    .iter()
                    .filter(|it| it.to_lowercase().starts_with(name));
                it.copied().collect::<Vec<_>>()
            };
            assert_eq!(of("auth-method:"), ["auth-method: plain"], "{heard}");
            assert_eq!(of("auth-user:").len(), 1, "{heard}");
            assert!(
                heard
                    .bytes()
                    .all(|it| it.is_ascii_graphic() || b" \r\n".contains(&it))
            );
        }
    }
}
