//! A web page for those who test their programs with this server: the mail that came, how it came, its source; and the same as JSON.
//!
//! | module | holds |
//! |---|---|
//! | `token` | the secret whoever may read the data folder may have |
//! | `guard` | who is answered at all |
//! | `api` | the JSON |
//! | `message` | a message taken apart for showing |
//! | `page` | the page itself |
//!
//! - It listens on loopback addresses only, in clear: nothing of it crosses a wire.
//! - Every answer with mail in it wants the token, as `Authorization: Bearer`. There are no cookies, which browsers would also send
//!   to other ports of this machine, so no other page can ask in the user's name.
//! - A request for another host than this machine is refused: a name in somebody's DNS may point here (DNS rebinding).
//! - HTML of messages is shown in a frame without scripts, forms, images, or any way to the network.

mod api;
mod guard;
mod message;
mod page;
mod token;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use gatepost_store::Store;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

pub use token::{Token, TokenError};

/// Connections at the same time: a browser takes six, and a stream of news stays.
const CONNECTIONS: usize = 64;
/// How long a request's header may take.
const HEADER_WAIT: Duration = Duration::from_secs(10);
/// The largest header of a request, in octets.
const HEADER_LIMIT: usize = 16 * 1024;

/// What the page shows, and to whom.
#[derive(Debug)]
pub struct Web {
    store: Store,
    token: Token,
    address: SocketAddr,
}

impl Web {
    /// A page for this store at this address.
    pub fn new(store: Store, token: Token, address: SocketAddr) -> Arc<Self> {
        Arc::new(Self {
            store,
            token,
            address,
        })
    }

    /// What to open in a browser. The token stands behind `#`: browsers do not send that part.
    pub fn url(&self) -> String {
        format!("http://{}/#{}", self.address, self.token.expose())
    }

    /// Serves until the task is dropped.
    pub async fn serve(self: Arc<Self>, listener: TcpListener) {
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            let Ok(place) = Arc::clone(&places).acquire_owned().await else {
                return;
            };
            let web = Arc::clone(&self);
            tokio::spawn(async move {
                let _place = place;
                let service = service_fn(move |request| api::answer(Arc::clone(&web), request));
                // Whatever a browser does to its connection is its own affair.
                let _ = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(HEADER_WAIT)
                    .max_buf_size(HEADER_LIMIT)
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    }
}
