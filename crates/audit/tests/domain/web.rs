//! The web hosts of all domains: one HTTPS server that answers by name and path.

use std::net::SocketAddr;

use gatepost_testkit::pki::Issued;
use gatepost_testkit::web::{self, NOT_FOUND, Request};

use super::zones;

/// Starts it.
pub(crate) fn serve(leaf: &Issued) -> SocketAddr {
    web::serve(leaf, answer)
}

fn answer(Request { host, path }: &Request) -> Option<String> {
    match zones::file(host, path) {
        // A connection that ends before the answer: nothing is told by it.
        Some(body) if body.is_empty() => None,
        Some(body) if path.contains("config") => Some(web::ok("text/xml", &body)),
        Some(body) => Some(web::ok("text/plain", &body)),
        None => Some(NOT_FOUND.to_owned()),
    }
}
