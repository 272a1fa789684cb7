//! A message from our client to our server, over sockets and TLS: by every mode, whole, and in the round trips it takes.

mod support;

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use gatepost_net::client::dial::{Dialer, Target};
use gatepost_net::client::{Channel, Failure, Options, Session, Start, open};
use gatepost_net::driver::{self, Answering, Backend, Context, Event, Limits};
use gatepost_net::listen;
use gatepost_testkit::delay::Delay;
use gatepost_trust::certificates::{Options as TlsOptions, ServiceTls};
use gatepost_trust::profile::{Mode as TlsMode, Service};
use gatepost_trust::verify::ClientTls;
use gatepost_wire::client::{Mode, Seed};
use gatepost_wire::seam::VerifiedBy;
use gatepost_wire::smtp::ask as server;
use gatepost_wire::smtp::client::{Answer, Ask, Client, Config, Fresh, Transaction};
use gatepost_wire::smtp::path::{ForwardPath, ReversePath};
use gatepost_wire::smtp::server as smtp;
use support::caller::terms;
use support::pki;
use tokio::sync::{Semaphore, watch};

/// Messages the server took.
type Kept = Arc<Mutex<Vec<Vec<u8>>>>;

/// Takes everything.
struct Keeper {
    message: Vec<u8>,
    kept: Kept,
}

impl Backend<smtp::Server> for Keeper {
    fn handle(&mut self, ask: server::Ask) -> Answering<'_, server::Answer> {
        let answer = match ask {
            server::Ask::Content(piece) => {
                self.message.extend(piece);
                server::Answer::Verdict(Ok(()))
            }
            server::Ask::Commit => {
                let message = std::mem::take(&mut self.message);
                self.kept.lock().unwrap().push(message);
                server::Answer::Stored(Ok("one".into()))
            }
            _ => server::Answer::Verdict(Ok(())),
        };
        Box::pin(std::future::ready(answer))
    }

    fn upgraded(&mut self) {}

    fn event(&mut self, event: Event) {
        panic!("{event:?}");
    }
}

/// A server for as long as the runtime lives.
fn serve(mode: Mode) -> (SocketAddr, Kept) {
    let listener = listen::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    let tls_mode = match mode {
        Mode::Implicit => TlsMode::Implicit,
        _ => TlsMode::StartTls,
    };
    let options = TlsOptions::default_for(Service::Smtp, tls_mode);
    let tls = Arc::new(ServiceTls::new(options, &[pki::shared().identity.clone()]).unwrap());
    let kept = Kept::default();
    let keeper = Arc::clone(&kept);
    tokio::spawn(async move {
        let (_stop, shutdown) = watch::channel(false);
        let context = Context {
            shutdown,
            limits: Limits::default(),
            handshakes: Arc::new(Semaphore::new(1)),
        };
        let config = Arc::new(smtp::Config::mx("mail.example".to_owned()));
        let peer = smtp::Peer {
            address: IpAddr::from([127, 0, 0, 1]),
            introduces: false,
            clear_login: None,
        };
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let start = match mode {
                Mode::Implicit => {
                    driver::Start::Implicit(smtp::Fresh::implicit(Arc::clone(&config), peer))
                }
                _ => driver::Start::Clear(smtp::Server::clear(
                    Arc::clone(&config),
                    peer,
                    Instant::now(),
                )),
            };
            let mut backend = Keeper {
                message: Vec::new(),
                kept: Arc::clone(&keeper),
            };
            driver::run(stream, start, Arc::clone(&tls), &mut backend, &context).await;
        }
    });
    (address, kept)
}

fn begin(mode: Mode) -> Start<Client> {
    let config = Arc::new(Config::new(mode, "client.example"));
    let seed = Seed::new([7; 32]);
    match mode {
        Mode::Implicit => Start::Implicit(Fresh::implicit(config, seed)),
        _ => Start::Clear(Client::clear(config, seed)),
    }
}

/// Sends one message in portions, and says whether the server took it.
async fn send(session: &mut Session<Client>, message: &[u8]) -> Result<bool, Failure> {
    let mut portions = message.chunks(64 * 1024).peekable();
    let mut delivered = false;
    while let Some(ask) = session.next().await? {
        session.answer(match ask {
            Ask::Ready(_) => {
                let sender = ReversePath::parse("<a@client.example>").unwrap();
                let recipient = ForwardPath::parse("<b@mail.example>").unwrap();
                Answer::Transaction(Box::new(Transaction::new(1, sender, vec![recipient])))
            }
            Ask::Content(_) => Answer::Content {
                portion: portions.next().unwrap_or_default().to_vec(),
                last: portions.peek().is_none(),
            },
            Ask::Sent(outcome) => {
                delivered = outcome.is_delivered();
                Answer::Quit
            }
            _ => Answer::Wait,
        });
    }
    Ok(delivered)
}

async fn deliver(address: SocketAddr, mode: Mode, message: &[u8]) -> Session<Client> {
    let tls = ClientTls::new(terms());
    let (dialer, target) = (Dialer::default(), Target::from(address));
    let options = Arc::new(Options::default());
    let mut session = open(&dialer, &target, &tls, &options, || begin(mode))
        .await
        .unwrap();
    assert_eq!(send(&mut session, message).await, Ok(true));
    session
}

#[tokio::test]
async fn what_is_sent_arrives_octet_by_octet() {
    let lines = ".dot\r\n..\r\n.\r\nwords and more words\r\n".repeat(60_000);
    let message = format!("Subject: x\r\n\r\n{lines}");
    for (mode, channel) in [
        (Mode::StartTls, Channel::Verified(VerifiedBy::Pkix)),
        (Mode::Implicit, Channel::Verified(VerifiedBy::Pkix)),
        (Mode::Opportunistic, Channel::Verified(VerifiedBy::Pkix)),
        (Mode::Off, Channel::Clear),
    ] {
        let (address, kept) = serve(mode);
        let session = deliver(address, mode, message.as_bytes()).await;
        assert_eq!(session.channel(), channel);
        let kept = kept.lock().unwrap().pop().unwrap();
        // The server puts its trace before it.
        assert!(kept.ends_with(message.as_bytes()), "{mode:?}");
    }
}

/// Round trips from the connection to the end of the session, that of TCP not counted.
async fn trips(mode: Mode) -> f64 {
    const ONE_WAY: Duration = Duration::from_millis(50);
    let (server, _kept) = serve(mode);
    let mut best = f64::MAX;
    // A busy machine makes trips longer, never shorter.
    for _ in 0..3 {
        let delay = Delay::start(server, ONE_WAY);
        let begun = Instant::now();
        deliver(delay.address, mode, b"Subject: x\r\n\r\nwords\r\n").await;
        best = best.min(begun.elapsed().as_secs_f64() / (2.0 * ONE_WAY.as_secs_f64()));
    }
    println!("{mode:?}: {best:.2} round trips");
    best
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_takes_the_round_trips_it_must() {
    // Half for the greeting; EHLO, STARTTLS, hello, EHLO with our Finished, envelope, content, QUIT.
    let starttls = trips(Mode::StartTls).await;
    assert!((7.0..8.4).contains(&starttls), "{starttls}");
    // Hello, greeting for our Finished, EHLO, envelope, content, QUIT.
    let implicit = trips(Mode::Implicit).await;
    assert!((5.5..6.9).contains(&implicit), "{implicit}");
}
