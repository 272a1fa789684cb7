//! The one thread that writes.
//!
//! Whoever wants a change sends a job and goes on; the thread takes all that wait and makes them durable together:
//!
//! 1. begin a transaction;
//! 2. run each job inside a savepoint of its own, so that one that is refused takes nothing with it; bodies are appended to
//!    the segment as they come;
//! 3. sync the segment (one `fdatasync` for all);
//! 4. commit (one more, of the database's log);
//! 5. answer every job, then tell the listeners of every mailbox that changed.
//!
//! Nothing is answered before 4, so an answer is a promise [SMTP-BASE-15]. When a sync fails, what the disk holds is not known: the thread
//! is *poisoned*, rolls back and refuses every job from then on, because trying again can succeed without the data being
//! there. When nothing waits, dead segments are removed and the log is moved into the database.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rusqlite::Connection;

use crate::db::{Hold, Turn, now};
use crate::listen::{Listeners, Place};
use crate::ops::{self, Work};
use crate::rows::MailboxRow;
use crate::search::keeper::Bell;
use crate::segments::{Bodies, Segments};
use crate::{AccountId, Error, Fault, MailboxId, Options};

/// The most jobs in one transaction: bounds how long the first of them waits for the last.
const BATCH: usize = 512;
/// The most octets of messages in one transaction.
const BATCH_OCTETS: u64 = 16 << 20;
/// How long nothing must come before the thread tidies up.
const PAUSE: Duration = Duration::from_millis(200);
/// How often it looks after that: an account command of another process leaves work, and news for listeners.
const ROUND: Duration = Duration::from_secs(5);
/// Under load it tidies up after so many transactions.
const BUSY_ROUND: u32 = 2_000;

/// A change to make, and whom to tell.
pub(crate) trait Job: Send {
    /// Octets it brings, to bound a batch.
    fn octets(&self) -> u64;
    /// Makes the change.
    fn run(&mut self, work: &mut Work<'_>) -> Result<(), Error>;
    /// Answers; `failed` when the change could not be made or kept.
    fn finish(self: Box<Self>, failed: Option<Error>);
}

struct Typed<T, R, D> {
    octets: u64,
    run: Option<R>,
    result: Option<T>,
    done: D,
}

impl<T, R, D> Job for Typed<T, R, D>
where
    T: Send,
    R: FnOnce(&mut Work<'_>) -> Result<T, Error> + Send,
    D: FnOnce(Result<T, Error>) + Send,
{
    fn octets(&self) -> u64 {
        self.octets
    }

    fn run(&mut self, work: &mut Work<'_>) -> Result<(), Error> {
        let run = self.run.take().ok_or(Error::Fault(Fault::Closed))?;
        self.result = Some(run(work)?);
        Ok(())
    }

    fn finish(self: Box<Self>, failed: Option<Error>) {
        let Self { result, done, .. } = *self;
        let result = match (failed, result) {
            (None, Some(result)) => Ok(result),
            (Some(error), _) => Err(error),
            (None, None) => Err(Error::Fault(Fault::Closed)),
        };
        // What the caller does with the answer must not stop the store.
        let _ = catch_unwind(AssertUnwindSafe(|| done(result)));
    }
}

/// A job of a function that makes the change and one that takes the answer.
pub(crate) fn job<T: Send + 'static>(
    octets: u64,
    run: impl FnOnce(&mut Work<'_>) -> Result<T, Error> + Send + 'static,
    done: impl FnOnce(Result<T, Error>) + Send + 'static,
) -> Box<dyn Job> {
    Box::new(Typed {
        octets,
        run: Some(run),
        result: None,
        done,
    })
}

/// Where jobs are sent. Clones send to the same thread, which ends when the last one is dropped.
#[derive(Clone)]
pub(crate) struct Jobs(Sender<Box<dyn Job>>);

impl Jobs {
    pub(crate) fn send(&self, job: Box<dyn Job>) {
        if let Err(refused) = self.0.send(job) {
            refused.0.finish(Some(Error::Fault(Fault::Closed)));
        }
    }
}

/// What the thread has.
pub(crate) struct Writer {
    pub(crate) db: Connection,
    pub(crate) segments: Segments,
    pub(crate) bodies: Arc<Bodies>,
    pub(crate) listeners: Arc<Listeners>,
    /// Whoever marks new mail for the search is woken by it.
    pub(crate) bell: Arc<Bell>,
    pub(crate) options: Options,
    pub(crate) dir: PathBuf,
    pub(crate) turn: Turn,
    /// Held as long as the thread lives.
    pub(crate) lock: Arc<File>,
}

/// Starts the thread.
pub(crate) fn start(writer: Writer) -> Result<(Jobs, JoinHandle<()>), Error> {
    let (sender, receiver) = channel();
    let seen_version = data_version(&writer.db)?;
    let state = State {
        writer,
        poisoned: false,
        since_tidy: 0,
        seen_version,
    };
    let thread = thread::Builder::new()
        .name("store-writer".into())
        .spawn(move || state.serve(&receiver))?;
    Ok((Jobs(sender), thread))
}

struct State {
    writer: Writer,
    poisoned: bool,
    since_tidy: u32,
    /// The database's data version when listeners were last told of changes from outside.
    seen_version: i64,
}

/// How far a batch came.
enum Failure {
    /// Nothing of it is there; the next one may do better.
    RolledBack(Error),
    /// What of it is there cannot be known.
    Unknown(Error),
}

impl State {
    fn serve(mut self, jobs: &Receiver<Box<dyn Job>>) {
        let mut pause = PAUSE;
        loop {
            match jobs.recv_timeout(pause) {
                Ok(first) => {
                    self.batch(gather(first, jobs));
                    pause = PAUSE;
                }
                // Without a pause while there is something to remove.
                Err(RecvTimeoutError::Timeout) if self.reap() => pause = Duration::ZERO,
                Err(RecvTimeoutError::Timeout) => {
                    self.tidy();
                    pause = ROUND;
                }
                Err(RecvTimeoutError::Disconnected) => break,
            }
            // Also when it never rests: else what is deleted could grow faster than it is removed.
            if pause == PAUSE && self.reap() {
                pause = Duration::ZERO;
            }
            if self.since_tidy > BUSY_ROUND {
                self.tidy();
            }
        }
        self.tidy();
        drop(self.writer.lock);
    }

    fn batch(&mut self, mut jobs: Vec<Box<dyn Job>>) {
        self.since_tidy += 1;
        if self.poisoned {
            return finish(jobs, &[], Some(Error::Fault(Fault::Poisoned)));
        }
        self.writer.turn.give_way();
        match self.attempt(&mut jobs) {
            Ok((changed, refused)) => {
                finish(jobs, &refused, None);
                // A listener that panics must not stop the store.
                let _ = catch_unwind(AssertUnwindSafe(|| self.writer.listeners.tell(&changed)));
                if !changed.is_empty() {
                    self.writer.bell.ring();
                }
            }
            Err(failure) => {
                let error = self.roll_back(&failure);
                finish(jobs, &[], Some(error));
            }
        }
    }

    /// Runs and commits a batch. Returns the places it changed, and the error of each job that was refused.
    fn attempt(
        &mut self,
        jobs: &mut [Box<dyn Job>],
    ) -> Result<(Vec<Place>, Vec<Option<Error>>), Failure> {
        let Writer {
            db,
            segments,
            listeners,
            options,
            dir,
            ..
        } = &mut self.writer;
        run(db, "BEGIN IMMEDIATE").map_err(Failure::RolledBack)?;
        segments.begin(db).map_err(Failure::RolledBack)?;
        let mut work = Work {
            db,
            segments,
            options,
            dir,
            now: now(),
            changed: Vec::new(),
            accounts: Vec::new(),
        };
        let mut refused = Vec::with_capacity(jobs.len());
        for job in jobs {
            refused.push(attempt_one(&mut work, job).map_err(Failure::RolledBack)?);
        }
        let (mut changed, accounts) = (work.changed, work.accounts);
        segments.sync(db).map_err(Failure::Unknown)?;
        run(db, "COMMIT").map_err(|error| match error {
            // The log could not grow: SQLite wrote nothing that counts.
            Error::DiskFull => Failure::RolledBack(error),
            _ => Failure::Unknown(error),
        })?;
        segments.committed();
        changed.sort_unstable();
        changed.dedup();
        let places = places(db, &changed, accounts, listeners.has_watchers());
        Ok((places, refused))
    }

    fn roll_back(&mut self, failure: &Failure) -> Error {
        let (Failure::RolledBack(error) | Failure::Unknown(error)) = failure;
        self.poisoned = matches!(failure, Failure::Unknown(_));
        // A failed COMMIT may have rolled back already.
        if !self.writer.db.is_autocommit() && run(&self.writer.db, "ROLLBACK").is_err() {
            self.poisoned = true;
        }
        self.writer.segments.rolled_back();
        *error
    }

    /// Removes a piece of what deleted mailboxes left; says whether there may be more.
    fn reap(&mut self) -> bool {
        let waiting = || -> Result<bool, Error> {
            let mut query = self.writer.db.prepare_cached("SELECT 1 FROM doomed")?;
            Ok(query.exists([])?)
        };
        if self.poisoned || !waiting().unwrap_or(false) {
            return false;
        }
        let (sender, answer) = channel();
        let done = move |result| {
            let _ = sender.send(result);
        };
        self.batch(vec![job(0, |work| ops::reap(work.db), done)]);
        matches!(answer.try_recv(), Ok(Ok(true)))
    }

    /// What can wait until nothing else does. Failing is no harm: the next round tries again.
    fn tidy(&mut self) {
        self.since_tidy = 0;
        if self.poisoned {
            return;
        }
        let Writer {
            db,
            segments,
            bodies,
            listeners,
            bell,
            dir,
            ..
        } = &mut self.writer;
        // Read before sweeping: whoever is told finds the files of what was removed gone.
        let version = data_version(db).unwrap_or(self.seen_version);
        // Not while another process copies the segments.
        let may_remove = Hold::remover(dir);
        if may_remove.is_some()
            && let Ok(dead) = segments.sweep(db)
            && !dead.is_empty()
        {
            segments.delete(&dead);
            bodies.forget(&dead);
        }
        // Moves what is in the log into the database, as far as no reader needs it.
        let _ = db.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
        if version != self.seen_version {
            self.seen_version = version;
            let _ = catch_unwind(AssertUnwindSafe(|| listeners.tell_all()));
            bell.ring();
        }
    }
}

/// Changes whenever another connection has committed.
fn data_version(db: &Connection) -> Result<i64, Error> {
    Ok(db.pragma_query_value(None, "data_version", |row| row.get(0))?)
}

/// The mailboxes and, if anybody listens to any, the accounts that changed.
fn places(
    db: &Connection,
    changed: &[MailboxId],
    mut accounts: Vec<AccountId>,
    watched: bool,
) -> Vec<Place> {
    let mut places: Vec<Place> = changed.iter().copied().map(Place::Mailbox).collect();
    if watched {
        // One that cannot be read has been deleted, and its account is among them already.
        let owner = |id: &MailboxId| MailboxRow::by_id(db, *id).map(|row| row.account).ok();
        accounts.extend(changed.iter().filter_map(owner));
        accounts.sort_unstable();
        accounts.dedup();
        places.extend(accounts.into_iter().map(Place::Account));
    }
    places
}

/// One statement without parameters.
fn run(db: &Connection, statement: &str) -> Result<(), Error> {
    db.prepare_cached(statement)?.execute([])?;
    Ok(())
}

/// The first job and those that wait behind it.
fn gather(first: Box<dyn Job>, jobs: &Receiver<Box<dyn Job>>) -> Vec<Box<dyn Job>> {
    let mut octets = first.octets();
    let mut batch = vec![first];
    while batch.len() < BATCH && octets < BATCH_OCTETS {
        let Ok(job) = jobs.try_recv() else { break };
        octets += job.octets();
        batch.push(job);
    }
    batch
}

/// Runs a job in a savepoint. `Ok(Some(_))`: it was refused, and the batch goes on without it.
fn attempt_one(work: &mut Work<'_>, job: &mut Box<dyn Job>) -> Result<Option<Error>, Error> {
    let mark = (
        work.segments.mark(),
        work.changed.len(),
        work.accounts.len(),
    );
    run(work.db, "SAVEPOINT job")?;
    let result = job.run(work);
    if result.is_err() {
        work.segments.back_to(mark.0);
        work.changed.truncate(mark.1);
        work.accounts.truncate(mark.2);
        // SQLite ends the whole transaction by itself on some faults (a full disk): then there is nothing to go back to.
        if work.db.is_autocommit() {
            return result.map(|()| None);
        }
        run(work.db, "ROLLBACK TO job")?;
    }
    run(work.db, "RELEASE job")?;
    Ok(result.err())
}

fn finish(jobs: Vec<Box<dyn Job>>, refused: &[Option<Error>], failed: Option<Error>) {
    for (index, job) in jobs.into_iter().enumerate() {
        job.finish(failed.or_else(|| refused.get(index).copied().flatten()));
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::mpsc::channel;

    use super::{Jobs, Writer, job, start};
    use crate::db::{Turn, open_writer};
    use crate::segments::{Bodies, Segments};
    use crate::{Error, Fault, Options};

    /// A writer alone, and the switch that breaks its disk.
    fn writer(dir: &std::path::Path) -> (Jobs, std::thread::JoinHandle<()>, Arc<AtomicBool>) {
        let db = open_writer(dir).unwrap();
        let segments = Segments::open(dir, &db, 1 << 20).unwrap();
        let broken = Arc::clone(&segments.break_sync);
        let (jobs, thread) = start(Writer {
            db,
            segments,
            bodies: Arc::new(Bodies::new(dir)),
            listeners: Arc::default(),
            bell: Arc::default(),
            options: Options {
                min_free: 0,
                ..Options::default()
            },
            dir: dir.to_path_buf(),
            turn: Turn::open(dir).unwrap(),
            lock: Arc::new(File::create(dir.join("lock")).unwrap()),
        })
        .unwrap();
        (jobs, thread, broken)
    }

    fn note(jobs: &Jobs, word: &'static str) -> Result<(), Error> {
        let (sender, answer) = channel();
        let run = move |work: &mut crate::ops::Work<'_>| {
            work.db
                .execute("INSERT INTO meta (key, value) VALUES (?1, x'00')", [word])?;
            Ok(())
        };
        jobs.send(job(0, run, move |result| sender.send(result).unwrap()));
        answer.recv().unwrap()
    }

    #[test]
    fn after_a_failed_sync_nothing_is_written_until_the_next_start() {
        let dir = tempfile::tempdir().unwrap();
        let (jobs, thread, broken) = writer(dir.path());
        note(&jobs, "before").unwrap();
        broken.store(true, Ordering::SeqCst);
        assert_eq!(
            note(&jobs, "lost"),
            Err(Error::Fault(Fault::Io(std::io::ErrorKind::Other)))
        );
        broken.store(false, Ordering::SeqCst);
        // The disk works again, but what it holds of the failed write is not known.
        assert_eq!(note(&jobs, "refused"), Err(Error::Fault(Fault::Poisoned)));
        drop(jobs);
        assert!(thread.join().is_ok());
        let (jobs, _, _) = writer(dir.path());
        note(&jobs, "lost").unwrap();
        assert_eq!(
            note(&jobs, "before"),
            Err(Error::Fault(Fault::Database(1555))),
            "it was kept: its key is taken"
        );
    }

    #[test]
    fn a_writer_that_is_gone_answers() {
        let (sender, receiver) = channel();
        drop(receiver);
        assert_eq!(note(&Jobs(sender), "x"), Err(Error::Fault(Fault::Closed)));
    }
}
