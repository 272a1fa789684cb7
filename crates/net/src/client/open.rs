//! Dialling and beginning a session in one, with the second try that some servers need.

use std::sync::Arc;
use std::time::Instant;

use gatepost_trust::verify::{ClientTls, Shares};

use super::dial::{Dialed, Dialer, Target};
use super::failure::Failure;
use super::session::{Options, Session};
use super::{Dialogue, Start};

/// Connects, and runs the session to its first question: TLS is up by then, if it is to be.
///
/// [PQ-01] When the server does not answer our first hello, which has a key share for X25519MLKEM768 and is large, it is tried
/// once more on a new connection with the classic share alone; the hybrid is still listed. Where that helps, it is remembered.
/// Nothing else is ever tried a second time, and `begin` makes the same session both times: mode, host and port stay what they are.
///
/// [TLS-VER-04] The versions offered are those of the terms, both times: a handshake that fails leads to no older one.
pub async fn open<M: Dialogue>(
    dialer: &Dialer,
    target: &Target,
    tls: &ClientTls,
    options: &Arc<Options>,
    begin: impl Fn() -> Start<M>,
) -> Result<Session<M>, Failure> {
    let connection = dialer.dial(target).await?;
    let server = connection.server.clone();
    let shares = options.hellos.shares(&server, Instant::now());
    let start = |connection: Dialed, shares| {
        let session = Session::new(connection.stream, begin(), tls.clone(), Arc::clone(options));
        session.with_shares(shares)
    };
    let mut again = target.clone();
    if dialer.socks.is_none() {
        again.addresses = vec![connection.address.ip()];
    }
    let mut session = start(connection, shares);
    let failure = match session.ready().await {
        Ok(()) => return Ok(session),
        Err(failure) => failure,
    };
    if shares == Shares::Classic || session.answered() != Some(false) {
        return Err(failure);
    }
    let Ok(connection) = dialer.dial(&again).await else {
        return Err(failure);
    };
    let mut session = start(connection, Shares::Classic);
    let result = session.ready().await;
    match session.answered() {
        Some(true) => options.hellos.remember(server, Instant::now()),
        // It was not the size.
        Some(false) => return Err(failure),
        None => {}
    }
    result.map(|()| session)
}
