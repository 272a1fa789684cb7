//! IMAP with a server that is not the one meant, or with less than was asked for [IMAP-TLS-15] (RFC 9051 11.1): the client checks what
//! became of STARTTLS and of the handshake, by name and by strength, before it says who the user is.

mod support;

use std::io::{Read, Write};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};

use gatepost_net::client::dial::{Dialer, Target};
use gatepost_net::client::{Channel, Failure, Options, Start, open};
use gatepost_trust::verify::{ClientTls, Demand, Reference, Terms};
use gatepost_wire::client::{Credentials, Mode, Seed};
use gatepost_wire::imap::client::{Answer, Ask, Client, Config, Fresh};
use gatepost_wire::seam::VerifiedBy;
use support::caller;
use support::scripted::{hear, say, start, tls};

const MODES: [Mode; 2] = [Mode::Implicit, Mode::StartTls];

/// What the client is to be for this name.
fn terms(name: &str, demand: Demand) -> Terms {
    Terms {
        references: vec![Reference::host(name).unwrap()],
        demand,
        ..caller::terms()
    }
}

/// A line; none when the client has gone, in whatever way.
fn line(stream: &mut impl Read) -> Option<String> {
    let mut line = Vec::new();
    while !line.ends_with(b"\n") {
        let mut octet = [0];
        if stream.read(&mut octet).ok()? == 0 {
            return None;
        }
        line.extend(octet);
    }
    String::from_utf8(line).ok()
}

/// Answers commands, and tells each, until the client has gone or is to have TLS: then true.
fn converse(stream: &mut (impl Read + Write), heard: &Mutex<Vec<String>>) -> bool {
    while let Some(line) = line(stream) {
        let (tag, verb) = line.trim_end().split_once(' ').unwrap();
        let verb = verb.split(' ').next().unwrap();
        heard.lock().unwrap().push(verb.to_owned());
        if verb == "CAPABILITY" {
            say(stream, "* CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN\r\n");
        }
        say(stream, &format!("{tag} OK done\r\n"));
        if verb == "STARTTLS" {
            return true;
        }
    }
    false
}

/// A server, and the commands it hears inside TLS; it tells when a connection has ended.
fn server(mode: Mode) -> (std::net::SocketAddr, Arc<Mutex<Vec<String>>>, Receiver<()>) {
    let heard = Arc::<Mutex<Vec<String>>>::default();
    let kept = Arc::clone(&heard);
    let (tell, told) = channel();
    let address = start(move |mut stream, _| {
        let clear = Mutex::default();
        let begun = mode == Mode::Implicit || {
            say(
                &mut stream,
                "* OK [CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED] mail\r\n",
            );
            converse(&mut stream, &clear)
        };
        assert!(
            clear
                .lock()
                .unwrap()
                .iter()
                .all(|it| it == "STARTTLS" || it == "CAPABILITY")
        );
        if let Some(mut tls) = begun.then(|| tls(stream)).flatten() {
            if mode == Mode::Implicit {
                say(
                    &mut tls,
                    "* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] mail\r\n",
                );
            }
            converse(&mut tls, &kept);
        }
        tell.send(()).unwrap();
    });
    (address, heard, told)
}

/// Connects and logs in; by which channel, and whether the login was good.
async fn log_in(
    address: std::net::SocketAddr,
    mode: Mode,
    terms: Terms,
) -> Result<(Channel, bool), Failure> {
    let tls = ClientTls::new(terms);
    let options = Arc::new(Options::default());
    let begin = || {
        let (config, seed) = (Arc::new(Config::new(mode)), Seed::new([7; 32]));
        match mode {
            Mode::Implicit => Start::Implicit(Fresh::implicit(config, seed)),
            _ => Start::Clear(Client::clear(config, seed)),
        }
    };
    let target = Target::from(address);
    let mut session = open(&Dialer::default(), &target, &tls, &options, begin).await?;
    while let Some(ask) = session.next().await? {
        match ask {
            Ask::Ready { .. } => {
                let me = Credentials::password("me", "sesame");
                session.answer(Answer::Login(Box::new(me)));
            }
            Ask::LoggedIn(_) => return Ok((session.channel(), true)),
            Ask::LoginFailed(_) => return Ok((session.channel(), false)),
            other => panic!("{other:?}"),
        }
    }
    panic!("the session ended without an answer")
}

#[tokio::test]
async fn the_server_of_another_name_hears_nothing_inside_tls() {
    // [IMAP-TLS-15] the certificate is good, and for mail.example
    for mode in MODES {
        let (address, heard, ended) = server(mode);
        let meant = log_in(address, mode, terms("mail.example", Demand::Verified)).await;
        assert_eq!(meant.unwrap(), (Channel::Verified(VerifiedBy::Pkix), true));
        ended.recv().unwrap();
        assert!(heard.lock().unwrap().iter().any(|it| it == "AUTHENTICATE"));
        heard.lock().unwrap().clear();

        let other = terms("stranger.example", Demand::Verified);
        let failure = log_in(address, mode, other).await.unwrap_err();
        assert_eq!(failure.label(), "E-CERT-NAME", "{mode:?}: {failure}");
        ended.recv().unwrap();
        assert!(heard.lock().unwrap().is_empty(), "{mode:?}");
    }
}

#[tokio::test]
async fn where_encryption_is_enough_nobody_is_logged_in_all_the_same() {
    // [IMAP-TLS-15] the result of the negotiation is looked at once more before a credential is said
    for mode in MODES {
        let (address, heard, ended) = server(mode);
        let other = terms("stranger.example", Demand::Encrypted);
        let begun = log_in(address, mode, other).await;
        assert_eq!(begun.unwrap(), (Channel::Encrypted, false));
        ended.recv().unwrap();
        let heard = heard.lock().unwrap().clone();
        assert!(
            !heard.iter().any(|it| it == "AUTHENTICATE" || it == "LOGIN"),
            "{heard:?}"
        );
    }
}

#[tokio::test]
async fn starttls_refused_is_the_end() {
    // [IMAP-TLS-15] RFC 9051 11.1: the result of STARTTLS itself
    for (answer, label) in [
        ("NO not now", "E-STARTTLS-REFUSED"),
        ("BAD what?", "E-STARTTLS-REFUSED"),
        ("OK go\r\n* OK words in between", "E-INJECT"),
    ] {
        let (tell, told) = channel();
        let address = start(move |mut stream, _| {
            say(
                &mut stream,
                "* OK [CAPABILITY IMAP4rev1 STARTTLS AUTH=PLAIN] mail\r\n",
            );
            let line = hear(&mut stream);
            let (tag, verb) = line.trim_end().split_once(' ').unwrap();
            assert_eq!(verb, "STARTTLS");
            say(&mut stream, &format!("{tag} {answer}\r\n"));
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest);
            tell.send(rest).unwrap();
        });
        let begun = log_in(
            address,
            Mode::StartTls,
            terms("mail.example", Demand::Verified),
        )
        .await;
        let failure = begun.unwrap_err();
        let rest = told.recv().unwrap();
        assert_eq!(failure.label(), label, "{answer}: {failure}");
        let text = String::from_utf8_lossy(&rest).into_owned();
        assert!(
            !text.contains("AUTHENTICATE") && !text.contains("LOGIN "),
            "{failure}: {text}"
        );
    }
}
