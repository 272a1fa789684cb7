//! The thread that marks what waits, and then keeps the lists of large mailboxes fresh.
//!
//! It sleeps until the writer rings, lets what is going on come to rest, and marks some bodies at a time in one of the writer's
//! transactions. While mail keeps coming in it works a quarter of the time. When it cannot go on (the disk is full), it tries again
//! later: until then searches read what is not marked.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle, Thread};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::grams::{Bits, Grams};
use super::shelf::{self, Marked};
use crate::ops::Work;
use crate::read::Readers;
use crate::rows::unsigned;
use crate::segments::Bodies;
use crate::writer::{Jobs, job};
use crate::{BodyRef, Error, Fault, MailboxId, lists};

/// Bodies marked at a time.
const CHUNK: i64 = 128;
/// Octets of bodies marked at a time, about.
const CHUNK_OCTETS: u64 = 4 << 20;
/// How long it waits after the bell, so that a message is not marked in a transaction of its own among others.
const LINGER: Duration = Duration::from_millis(300);
/// How many times as long as it worked it rests while mail comes in.
const REST: u32 = 3;
/// How long it waits when it could not go on.
const LATER: Duration = Duration::from_secs(30);

/// Reads the texts of a message: from its octets (position, length) into its grams.
pub(crate) type Reader = dyn Fn(u64, &Octets<'_>, &mut Grams) -> Result<(), Error> + Send;

/// Octets of a message from a position on, at most so many.
pub type Octets<'a> = dyn Fn(u64, u32) -> Result<Vec<u8>, Error> + 'a;

/// Wakes the thread.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    rung: AtomicBool,
    ended: AtomicBool,
    thread: OnceLock<Thread>,
}

impl Bell {
    /// Mail came.
    pub(crate) fn ring(&self) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            self.wake();
        }
    }

    /// Ends the thread.
    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::Release);
        self.wake();
    }

    fn wake(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Waits until it is rung, or for so long.
    fn wait(&self, limit: Option<Duration>) {
        let begin = Instant::now();
        while !self.has_ended() && !self.rung.swap(false, Ordering::AcqRel) {
            match limit.map(|limit| limit.saturating_sub(begin.elapsed())) {
                Some(Duration::ZERO) => return,
                Some(left) => thread::park_timeout(left),
                None => thread::park(),
            }
        }
    }

    /// Rests for so long, whatever happens but the end.
    fn rest(&self, length: Duration) {
        let begin = Instant::now();
        while let Some(left) = length
            .checked_sub(begin.elapsed())
            .filter(|left| !left.is_zero())
            && !self.has_ended()
        {
            thread::park_timeout(left);
        }
    }
}

/// What the thread has.
pub(crate) struct Keeper {
    pub(crate) readers: Arc<Readers>,
    pub(crate) bodies: Arc<Bodies>,
    pub(crate) jobs: Jobs,
    pub(crate) bell: Arc<Bell>,
    pub(crate) reader: Box<Reader>,
}

impl fmt::Debug for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keeper")
    }
}

/// Starts the thread.
pub(crate) fn start(keeper: Keeper) -> Result<JoinHandle<()>, Error> {
    let bell = Arc::clone(&keeper.bell);
    let thread = thread::Builder::new()
        .name("store-marker".into())
        .spawn(move || keeper.run())?;
    let _ = bell.thread.set(thread.thread().clone());
    // What waited before there was anybody to wake.
    bell.ring();
    bell.wake();
    Ok(thread)
}

/// A body that waits.
struct Waiting {
    id: i64,
    email_id: i64,
    body: BodyRef,
}

impl Keeper {
    fn run(self) {
        // Of this thread alone, on Linux. Where it cannot be, the rests must do.
        let _ = rustix::process::setpriority_process(None, 10);
        let mut grams = Grams::new();
        let mut limit = None;
        loop {
            self.bell.wait(limit);
            self.bell.rest(LINGER);
            if self.bell.has_ended() {
                return;
            }
            let all = self.mark_all(&mut grams).and_then(|()| self.write_lists());
            limit = all.err().map(|_| LATER);
        }
    }

    /// Writes the lists of large mailboxes that are missing or old. One each transaction: other changes come in between.
    fn write_lists(&self) -> Result<(), Error> {
        let mut after = MailboxId(0);
        while !self.bell.has_ended()
            && let Some(mailbox) = self.readers.ask(|db| lists::overdue(db, after))?
        {
            after = mailbox;
            match self.readers.ask(|db| lists::current(db, mailbox)) {
                Ok(list) => self.change(move |work| lists::write(work.db, &list))?,
                // Deleted meanwhile.
                Err(Error::Gone) => (),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Marks what waits, until nothing does.
    fn mark_all(&self, grams: &mut Grams) -> Result<(), Error> {
        while !self.bell.has_ended() {
            let begin = Instant::now();
            let waiting = self.readers.ask(waiting)?;
            if waiting.is_empty() {
                // What was in a block that is taken apart waits again.
                if !self.thin()? {
                    return Ok(());
                }
                continue;
            }
            let marked: Vec<_> = waiting.iter().map(|one| self.mark(one, grams)).collect();
            self.change(move |work| shelf::keep(work, &marked))?;
            if self.bell.rung.load(Ordering::Acquire) {
                self.bell.rest(begin.elapsed() * REST);
            }
        }
        Ok(())
    }

    fn mark(&self, waiting: &Waiting, grams: &mut Grams) -> Marked {
        grams.clear();
        let octets = |offset, length| self.bodies.read(&waiting.body, offset, length);
        let read = || (self.reader)(waiting.body.size, &octets, grams);
        let mark = match catch_unwind(AssertUnwindSafe(read)) {
            Ok(Ok(())) => grams.mark(),
            // A search that comes to it says what is wrong.
            Ok(Err(_)) | Err(_) => Bits::full(),
        };
        Marked {
            body: waiting.id,
            email_id: waiting.email_id,
            mark,
        }
    }

    /// Takes a block apart of which little is left, if there is one.
    fn thin(&self) -> Result<bool, Error> {
        // Asked first: a change costs a sync even if it changes nothing.
        Ok(self.readers.ask(shelf::has_thin)? && self.change(|work| shelf::thin(work.db))?)
    }

    /// Has the writer make a change, and waits for it.
    fn change<T: Send + 'static>(
        &self,
        change: impl FnOnce(&mut Work<'_>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (sender, answer) = channel();
        let done = move |result| drop(sender.send(result));
        self.jobs.send(job(0, change, done));
        answer.recv().unwrap_or(Err(Error::Fault(Fault::Closed)))
    }
}

/// The next bodies that wait.
fn waiting(db: &Connection) -> Result<Vec<Waiting>, Error> {
    let mut query = db.prepare_cached(
        "SELECT b.id, b.email_id, b.segment, b.position, b.size FROM unmarked u CROSS JOIN bodies b ON b.id = u.body
         ORDER BY u.body LIMIT ?1",
    )?;
    let mut rows = query.query([CHUNK])?;
    let (mut waiting, mut octets) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        let size = unsigned(row, 4)?;
        waiting.push(Waiting {
            id: row.get(0)?,
            email_id: row.get(1)?,
            body: BodyRef {
                segment: row.get(2)?,
                position: unsigned(row, 3)?,
                size,
            },
        });
        octets += size;
        if octets > CHUNK_OCTETS {
            break;
        }
    }
    Ok(waiting)
}
