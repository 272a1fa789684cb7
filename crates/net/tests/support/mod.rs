//! A toy protocol, a server for it, and a blocking client with real TLS. [`caller`] speaks the toy
//! protocol as a session of our own client.
//!
//! The toy greets, echoes every line as `250 line`, upgrades on `STARTTLS`, says what TLS is on `FACTS`, writes on `BIG n`, asks
//! its backend on `ASK`, and leaves on `QUIT`.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "shared by test binaries, each of which uses a part of it"
)]

pub mod caller;
pub mod client;
pub mod pki;
pub mod scripted;
pub mod toy;

use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gatepost_net::driver::{Answering, Backend, Context, Ended, Event, Limits, Start, run};
use gatepost_net::listen;
use gatepost_trust::certificates::{Options, ServiceTls};
use gatepost_trust::client_ca::ClientCa;
use gatepost_trust::identity::Identity;
use gatepost_trust::profile::{Mode, Service};
use gatepost_wire::session::Machine;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::{Notify, Semaphore, watch};

use toy::{Toy, ToyFresh};

/// A server of the toy protocol on a port of its own.
pub struct Server {
    pub address: SocketAddr,
    pub tls: Arc<ServiceTls>,
    pub ended: Receiver<Ended>,
    pub news: Arc<Notify>,
    events: Arc<Mutex<Vec<Event>>>,
    stop: watch::Sender<bool>,
    runtime: Option<Runtime>,
}

/// What a server can be told.
pub struct Setup {
    pub options: Options,
    pub identities: Vec<Arc<Identity>>,
    /// Who vouches for clients; none: they are not asked.
    pub clients: Option<ClientCa>,
    pub limits: Limits,
    pub patience: Duration,
}

impl Setup {
    pub fn new(service: Service, mode: Mode) -> Self {
        Self {
            options: Options::default_for(service, mode),
            identities: vec![pki::shared().identity.clone()],
            clients: None,
            limits: Limits {
                linger: Duration::from_millis(300),
                ..Limits::default()
            },
            patience: Duration::from_secs(20),
        }
    }

    pub fn start(self) -> Server {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let inside = runtime.enter();
        let listener = listen::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let tls = ServiceTls::asking(self.options, &self.identities, self.clients);
        let tls = Arc::new(tls.unwrap());
        let (stop, shutdown) = watch::channel(false);
        let context = Context {
            shutdown,
            limits: self.limits,
            handshakes: Arc::new(Semaphore::new(1)),
        };
        let events = Arc::default();
        let news = Arc::new(Notify::new());
        let (sender, ended) = channel();
        let accepting = Accepting {
            tls: Arc::clone(&tls),
            context,
            events: Arc::clone(&events),
            news: Arc::clone(&news),
            patience: self.patience,
            ended: sender,
        };
        let implicit = self.options.mode == Mode::Implicit;
        runtime.spawn(accepting.serve(listener, implicit));
        drop(inside);
        Server {
            address,
            tls,
            ended,
            news,
            events,
            stop,
            runtime: Some(runtime),
        }
    }
}

pub fn starttls() -> Server {
    Setup::new(Service::Submission, Mode::StartTls).start()
}

pub fn implicit() -> Server {
    Setup::new(Service::Imap, Mode::Implicit).start()
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Not waited for: the test may run inside a runtime of its own.
            runtime.shutdown_background();
        }
    }
}

impl Server {
    /// How the (next) connection ended.
    pub fn end(&self) -> Ended {
        self.ended
            .recv_timeout(Duration::from_secs(10))
            .expect("the connection goes on")
    }

    pub fn events(&self) -> Vec<Event> {
        self.events.lock().unwrap().clone()
    }

    pub fn stop(&self) {
        self.stop.send(true).unwrap();
    }
}

struct Accepting {
    tls: Arc<ServiceTls>,
    context: Context,
    events: Arc<Mutex<Vec<Event>>>,
    news: Arc<Notify>,
    patience: Duration,
    ended: Sender<Ended>,
}

impl Accepting {
    async fn serve(self, listener: TcpListener, implicit: bool) {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let start = if implicit {
                Start::Implicit(ToyFresh {
                    patience: self.patience,
                    greets: true,
                })
            } else {
                Start::Clear(Toy::clear(self.patience))
            };
            let mut backend = ToyBackend {
                events: Arc::clone(&self.events),
                news: Arc::clone(&self.news),
            };
            let (tls, context) = (Arc::clone(&self.tls), self.context.clone());
            let ended = self.ended.clone();
            tokio::spawn(async move {
                let _ = ended.send(run(stream, start, tls, &mut backend, &context).await);
            });
        }
    }
}

pub struct ToyBackend {
    pub events: Arc<Mutex<Vec<Event>>>,
    pub news: Arc<Notify>,
}

impl Backend<Toy> for ToyBackend {
    fn upgraded(&mut self) {}

    fn handle(&mut self, ask: String) -> Answering<'_, <Toy as Machine>::Answer> {
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(20)).await;
            ask.to_uppercase()
        })
    }

    fn news(&self) -> Option<Arc<Notify>> {
        Some(Arc::clone(&self.news))
    }

    fn event(&mut self, event: Event) {
        self.events.lock().unwrap().push(event);
    }
}
