//! Tickets: how long they hold, whether they allow early data (RFC 9846 4.6.1), and whether one is taken on another connection.

use std::io::Write as _;
use std::time::Instant;

use gatepost_trust::verify::Versions;
use gatepost_wire::tls::SessionTicket;
use rustls::HandshakeKind;

use super::Why;
use super::engine::{Shaken, Way, next_record, output, shake, take};
use crate::check::facts::{Seen, Ticket};
use crate::check::probes::Errand;
use crate::check::target::Start;

/// What TLS 1.3's tickets say; none when there are none. They come before the first words of the server inside TLS: so those are
/// waited for, and asked for where the server does not speak first.
pub(crate) async fn of_tls13(errand: &Errand) -> Result<Option<Ticket>, Why> {
    let way = Way::new(errand, Versions::Only13)?;
    let mut opened = shake(errand, &way).await?.open()?;
    if errand.target.start == Start::StartTls {
        let question = opened.talk.spell("NOOP").0;
        let record = opened.seal(23, &question);
        let record = record.ok_or_else(|| Why::Unknown("no keys".to_owned()))?;
        let written = opened.talk.probe.write(&record, errand.patience).await;
        written.map_err(|_| Why::Unknown("closed behind the handshake".to_owned()))?;
    }
    let until = Instant::now() + errand.patience;
    let mut messages = Vec::new();
    let is_whole = loop {
        match opened.next(until).await {
            Ok((22, content)) => messages.extend(content),
            Ok((23, _)) => break true,
            // Closed, silent, an alert: there may have been one to come.
            Ok((21, _)) | Err(_) => break false,
            Ok(_) => {}
        }
    };
    let tickets = SessionTicket::all(&messages);
    let longest = tickets.iter().map(|it| it.lifetime).max();
    match longest {
        Some(lifetime) => Ok(Some(Ticket {
            lifetime,
            early_data: tickets.iter().filter_map(|it| it.early_data).max(),
        })),
        None if is_whole => Ok(None),
        None => Err(Why::Unknown(
            "the connection was closed or silent behind the handshake".to_owned(),
        )),
    }
}

/// Whether a session is taken up again on another connection, whatever the version.
pub(crate) async fn resumed(errand: &Errand) -> Seen<bool> {
    let attempt = async {
        let way = Way::new(errand, Versions::Both)?;
        let first = shake(errand, &way).await?;
        hear(errand, first).await?;
        let second = shake(errand, &way).await?;
        let kind = second.tls.handshake_kind();
        hear(errand, second).await?;
        Ok::<_, Why>(kind == Some(HandshakeKind::Resumed))
    };
    match attempt.await {
        Ok(resumed) => Seen::Known(resumed),
        Err(why) => Seen::unknown(why.text()),
    }
}

/// Hears until the server's first words inside TLS, so that the engine has every ticket that came before them; then leaves.
async fn hear(errand: &Errand, shaken: Shaken) -> Result<(), Why> {
    let Shaken {
        mut talk,
        mut tls,
        mut rest,
        ..
    } = shaken;
    if errand.target.start == Start::StartTls {
        let question = talk.spell("NOOP").0;
        // Into memory.
        let _ = tls.writer().write_all(&question);
    }
    let closed = || Why::Unknown("closed or silent behind the handshake".to_owned());
    let until = Instant::now() + errand.patience;
    loop {
        let out = output(&mut tls);
        if !out.is_empty() {
            let written = talk.probe.write(&out, errand.patience).await;
            written.map_err(|_| closed())?;
        }
        let record = next_record(&mut talk, &mut rest, until).await;
        take(&mut tls, &record.map_err(|_| closed())?).map_err(|_| closed())?;
        let state = tls.process_new_packets().map_err(|_| closed())?;
        if state.plaintext_bytes_to_read() > 0 {
            break;
        }
    }
    tls.send_close_notify();
    let farewell = output(&mut tls);
    talk.probe.finish(&farewell).await;
    Ok(())
}
