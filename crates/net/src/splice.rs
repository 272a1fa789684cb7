//! Two connections tied together: what one says the other hears, through a [`Passage`] that looks at it.
//!
//! - Nothing is read from a side while the other has not taken what was read before: memory is bounded by one read for each
//!   direction, and an idle pair holds no buffer.
//! - Both directions go on at the same time; one that stands still does not hold the other.
//! - A side that says it is done (inside TLS: with its closing alert) is told on as that, and the other may still answer. A side
//!   that breaks, or is cut off without the alert, is told on as broken: the other connection ends without an alert too, so what
//!   was under way does not look complete [TLS-CLOSE-01].
//! - Deadlines: for a side to take what waits for it, for the answer behind an orderly end, and for both being silent.

use std::future::{Future, poll_fn};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use gatepost_wire::passage::Passage;
use gatepost_wire::session::Why;
use tokio::sync::watch;
use tokio::time::sleep_until;

use crate::connection::{Broken, Connection, Read};

/// Steps before others get a turn.
const TURNS: u32 = 32;
/// How long the upstream may still answer a client that says no more.
const LAST_ANSWERS: Duration = Duration::from_secs(30);

/// How long the sides may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// For a side to take what waits for it.
    pub(crate) write: Duration,
    /// For both to be silent.
    pub(crate) idle: Duration,
}

/// One direction.
#[derive(Default)]
struct Way {
    /// What was read and is not taken.
    queue: Vec<u8>,
    /// Whether something waits to be taken, here or sealed in the connection.
    waits: bool,
    /// The reader's side has said that it is done; whether the other knows.
    ended: bool,
    told: bool,
}

/// What a step brought.
enum Step {
    Moved,
    Still,
}

struct Splice<'a> {
    client: &'a mut Connection,
    upstream: &'a mut Connection,
    passage: &'a mut dyn Passage,
    forth: Way,
    back: Way,
    /// When something moved last.
    moved: Instant,
    /// Which deadlines held when the timer was set.
    timed: (bool, bool, bool),
    patience: Patience,
}

/// Ties them until one ends. `words` are what the client has said already, `answers` what the upstream has.
pub(crate) fn run<'a>(
    client: &'a mut Connection,
    upstream: &'a mut Connection,
    passage: &'a mut dyn Passage,
    begun: &mut (Vec<u8>, Vec<u8>),
    patience: Patience,
    shutdown: Option<&'a mut watch::Receiver<bool>>,
) -> impl Future<Output = Why> + Send + use<'a> {
    let mut splice = Splice {
        client,
        upstream,
        passage,
        forth: Way::default(),
        back: Way::default(),
        moved: Instant::now(),
        timed: (false, false, false),
        patience,
    };
    // An idle pair holds no buffer.
    let begun = std::mem::take(begun);
    let taken = splice.take(&begun.0, &begun.1);
    drop(begun);
    // A block, for what an async function is given stays in its future beside what it makes of it.
    async move {
        if let Err(why) = taken {
            return why;
        }
        let stopping = stopped(shutdown);
        tokio::pin!(stopping);
        loop {
            splice.timed = splice.stalls();
            let until = splice.deadline();
            tokio::select! {
                biased;
                turned = poll_fn(|cx| splice.poll(cx)) => {
                    if let Some(why) = turned {
                        return why;
                    }
                }
                () = &mut stopping => return splice.stop(),
                () = sleep_until(until.into()) => {
                    if splice.deadline() <= Instant::now() {
                        return Why::Timeout;
                    }
                }
            }
        }
    }
}

/// Waits until the server is to stop; for ever, when nobody is left who could say so.
async fn stopped(shutdown: Option<&mut watch::Receiver<bool>>) {
    let told = match shutdown {
        Some(shutdown) => shutdown.wait_for(|stop| *stop).await.is_ok(),
        None => false,
    };
    if !told {
        std::future::pending::<()>().await;
    }
}

impl Splice<'_> {
    fn take(&mut self, words: &[u8], answers: &[u8]) -> Result<(), Why> {
        self.passage.back(answers, &mut self.back.queue)?;
        self.passage.forth(words, &mut self.forth.queue)
    }

    /// The soonest of the deadlines that hold.
    fn deadline(&self) -> Instant {
        let patience = self.patience;
        let mut limit = patience.idle;
        if self.forth.waits || self.back.waits {
            limit = limit.min(patience.write);
        }
        if self.forth.ended {
            limit = limit.min(LAST_ANSWERS);
        }
        self.moved + limit
    }

    /// What decides which deadline is the soonest.
    fn stalls(&self) -> (bool, bool, bool) {
        (self.forth.waits, self.back.waits, self.forth.ended)
    }

    /// The server stops: a farewell where it can stand.
    fn stop(&mut self) -> Why {
        if !self.back.waits {
            let mut farewell = self.passage.farewell().to_vec();
            // What the socket does not take now is lost: nobody waits for it.
            let _ = self.client.push(&mut farewell);
        }
        Why::Shutdown
    }

    /// Ready with the end, or with nothing when the timer must be set anew.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Why>> {
        for _ in 0..TURNS {
            match self.turn(cx) {
                Ok(Step::Moved) => self.moved = Instant::now(),
                Ok(Step::Still) if self.stalls() != self.timed => return Poll::Ready(None),
                Ok(Step::Still) => return Poll::Pending,
                Err(why) => return Poll::Ready(Some(why)),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// The upstream has said all it had to say.
    fn orderly_end(&self) -> Why {
        if self.passage.is_leaving() {
            Why::Quit
        } else if self.forth.ended {
            Why::PeerClosed
        } else {
            Why::UpstreamClosed
        }
    }

    /// One step in each direction.
    fn turn(&mut self, cx: &mut Context<'_>) -> Result<Step, Why> {
        let passage = &mut *self.passage;
        let forth = step(
            cx,
            (&mut *self.client, Why::Broken),
            (&mut *self.upstream, Why::UpstreamBroken),
            &mut self.forth,
            &mut |bytes, out| passage.forth(bytes, out),
        )?;
        let back = step(
            cx,
            (&mut *self.upstream, Why::UpstreamBroken),
            (&mut *self.client, Why::Broken),
            &mut self.back,
            &mut |bytes, out| passage.back(bytes, out),
        )
        // Not every server says goodbye to TLS behind its goodbye.
        .map_err(|why| match why {
            Why::UpstreamBroken if passage.is_leaving() => Why::Quit,
            why => why,
        })?;
        if self.back.ended && self.back.queue.is_empty() && !self.back.waits {
            return Err(self.orderly_end());
        }
        Ok(match (forth, back) {
            (Step::Still, Step::Still) => Step::Still,
            _ => Step::Moved,
        })
    }
}

type Side<'a> = (&'a mut Connection, Why);
type Pass<'a> = &'a mut dyn FnMut(&[u8], &mut Vec<u8>) -> Result<(), Why>;

/// Moves what can be moved from one side to the other.
fn step(
    cx: &mut Context<'_>,
    (from, from_broke): Side<'_>,
    (to, to_broke): Side<'_>,
    way: &mut Way,
    pass: Pass<'_>,
) -> Result<Step, Why> {
    if way.waits || !way.queue.is_empty() {
        let before = to.bytes_out;
        let flushed = flush(cx, to, &mut way.queue).map_err(|_| to_broke)?;
        way.waits = !flushed;
        if !flushed {
            return Ok(if to.bytes_out > before {
                Step::Moved
            } else {
                Step::Still
            });
        }
    }
    if way.ended {
        // The end of the upstream's words is for the caller to tell on, with the rest of the farewell.
        if way.told || to_broke == Why::Broken {
            return Ok(Step::Still);
        }
        way.told = true;
        to.end_speech();
        return Ok(Step::Moved);
    }
    let mut failed = None;
    let queue = &mut way.queue;
    let heard = from.poll_hear(cx, &mut |bytes| {
        if failed.is_none() {
            failed = pass(bytes, queue).err();
        }
    });
    if let Some(why) = failed {
        return Err(why);
    }
    match heard {
        Poll::Pending => Ok(Step::Still),
        Poll::Ready(Ok(Some(Read::Some))) => Ok(Step::Moved),
        Poll::Ready(Ok(Some(Read::End { clean: true }))) => {
            way.ended = true;
            Ok(Step::Moved)
        }
        Poll::Ready(Ok(Some(Read::End { clean: false })) | Err(_)) => Err(from_broke),
        // TLS itself has something to say that the socket does not take.
        Poll::Ready(Ok(None)) => {
            flush(cx, from, &mut Vec::new()).map_err(|_| from_broke)?;
            Ok(Step::Still)
        }
    }
}

/// Writes what the socket takes; where it does not take all, asks to be woken when it does.
fn flush(cx: &mut Context<'_>, to: &mut Connection, queue: &mut Vec<u8>) -> Result<bool, Broken> {
    loop {
        if to.push(queue)? {
            return Ok(true);
        }
        if to.poll_can_write(cx)?.is_pending() {
            return Ok(false);
        }
        // Through the runtime, so that it learns when the socket takes nothing any more.
        if !to.flush_ready()? && to.poll_can_write(cx)?.is_pending() {
            return Ok(false);
        }
    }
}
