//! The task between the examination and the database. The examination never waits for the database: what is done is kept until it is back, and
//! no more lines are claimed meanwhile.

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use gatepost_audit::check::list::share::{Desk, Habits, Step};
use gatepost_audit::check::list::summary::Summary;
use gatepost_audit::check::list::{Ended, Finished, Ledger, Line};
use tokio::sync::mpsc::{self, error::TryRecvError};
use tokio::time::{sleep, timeout};

use super::address::Address;
use super::database::Database;
use super::trouble::Trouble;

/// An answer that takes longer will not come.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long to wait before the database is tried again: at first, and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(15));

/// The examination's side.
pub(super) struct Shared {
    lines: mpsc::UnboundedReceiver<Vec<Line>>,
    finished: mpsc::UnboundedSender<Finished>,
    machines: Arc<AtomicU32>,
    /// What this machine did, for the line of progress.
    here: Summary,
    shown: Instant,
}

impl Ledger for Shared {
    async fn more(&mut self) -> Result<Option<Vec<Line>>, Ended> {
        Ok(self.lines.recv().await)
    }

    fn done(&mut self, done: Finished) -> Result<(), Ended> {
        self.here.merge(&done.summary);
        if self.shown.elapsed() >= Duration::from_secs(1) && std::io::stderr().is_terminal() {
            self.shown = Instant::now();
            eprint!("\r{} lines done here\u{1b}[K", self.here.lines);
        }
        // If the keeper is gone its own error says more.
        let sent = self.finished.send(done);
        sent.map_err(|_| Ended::Share("the database was given up".to_owned()))
    }

    fn machines(&self) -> u32 {
        self.machines.load(Ordering::Relaxed)
    }
}

/// The database's side. Both channels hold no more than the desk does, which is bounded.
pub(super) struct Keeper {
    address: Address,
    list: i64,
    machine: String,
    habits: Habits,
    desk: Desk,
    database: Option<Database>,
    lines: mpsc::UnboundedSender<Vec<Line>>,
    finished: mpsc::UnboundedReceiver<Finished>,
    machines: Arc<AtomicU32>,
    is_closing: bool,
}

impl Keeper {
    pub(super) fn new(
        address: Address,
        list: i64,
        machine: String,
        habits: Habits,
    ) -> (Self, Shared) {
        let (lines, lines_there) = mpsc::unbounded_channel();
        let (finished_there, finished) = mpsc::unbounded_channel();
        let machines = Arc::new(AtomicU32::new(1));
        let shared = Shared {
            lines: lines_there,
            finished: finished_there,
            machines: Arc::clone(&machines),
            here: Summary::default(),
            shown: Instant::now(),
        };
        let keeper = Self {
            address,
            list,
            machine,
            habits,
            desk: Desk::new(habits, Instant::now()),
            database: None,
            lines,
            finished,
            machines,
            is_closing: false,
        };
        (keeper, shared)
    }

    /// Does what the desk says until the end.
    pub(super) async fn keep(mut self) -> Result<(), Trouble> {
        // Who else is there is to be known before the first line.
        self.take(Step::Renew(Vec::new())).await?;
        loop {
            self.hear();
            match self.desk.next(Instant::now()) {
                Step::End => return Ok(()),
                Step::Wait(time) => self.wait(time).await,
                step => self.take(step).await?,
            }
        }
    }

    /// What was done meanwhile, and whether the run is ending: nothing more is claimed then.
    fn hear(&mut self) {
        loop {
            match self.finished.try_recv() {
                Ok(done) => self.desk.finished(done, Instant::now()),
                Err(TryRecvError::Empty) => return,
                Err(TryRecvError::Disconnected) => return self.close(),
            }
        }
    }

    /// One step, and what the desk learns by it.
    async fn take(&mut self, step: Step) -> Result<(), Trouble> {
        match self.insist(&step).await? {
            Answer::Stored { lines, lost } => {
                if lost > 0 {
                    eprintln!(
                        "gatepost: {lost} lines were given to other machines, as their lease had ended here; a longer --lease leaves more time"
                    );
                }
                self.desk.stored(&lines);
            }
            Answer::Renewed { machines, asked } => {
                self.machines.store(machines, Ordering::Relaxed);
                self.desk.renewed(asked);
            }
            Answer::Claimed { rows, any_open } => {
                self.desk.claimed(&rows, any_open, Instant::now());
                if !rows.is_empty() {
                    // If nobody listens any more the run is ending, which is heard of by the other channel.
                    let _ = self.lines.send(rows);
                }
            }
            Answer::GaveBack => self.desk.gave_back(),
        }
        Ok(())
    }

    /// Waits for so long, or until a line is done.
    async fn wait(&mut self, time: Duration) {
        tokio::select! {
            done = self.finished.recv(), if !self.is_closing => match done {
                Some(done) => self.desk.finished(done, Instant::now()),
                None => self.close(),
            },
            () = sleep(time) => {}
        }
    }

    fn close(&mut self) {
        self.is_closing = true;
        self.desk.close();
    }

    /// Asks until there is an answer; gives up only over what waiting does not mend.
    async fn insist(&mut self, step: &Step) -> Result<Answer, Trouble> {
        let (mut pause, longest) = PAUSES;
        let mut is_told = false;
        loop {
            let trouble = match self.once(step).await {
                Ok(answer) => {
                    if is_told {
                        eprintln!("gatepost: {} is back", self.address.shown);
                    }
                    return Ok(answer);
                }
                Err(Trouble::Away(why)) => why,
                Err(trouble) => return Err(trouble),
            };
            self.database = None;
            if !is_told {
                eprintln!("gatepost: {trouble}; it is tried again");
                is_told = true;
            }
            self.rest(pause).await;
            pause = (pause * 2).min(longest);
        }
    }

    /// A pause in which lines may be done.
    async fn rest(&mut self, pause: Duration) {
        let end = Instant::now() + pause;
        while let Some(left) = end.checked_duration_since(Instant::now()) {
            self.wait(left).await;
        }
    }

    async fn once(&mut self, step: &Step) -> Result<Answer, Trouble> {
        let who = (self.list, self.machine.as_str());
        let asked = timeout(PATIENCE, async {
            let database = match &mut self.database {
                Some(database) => database,
                none => none.insert(Database::connect(&self.address).await?),
            };
            ask(database, who, step, self.habits.lease).await
        });
        asked.await.unwrap_or_else(|_| {
            Err(Trouble::Away(format!(
                "{} does not answer",
                self.address.shown
            )))
        })
    }
}

/// What the database answers to a step.
enum Answer {
    Stored { lines: Vec<u64>, lost: usize },
    Renewed { machines: u32, asked: Instant },
    Claimed { rows: Vec<Line>, any_open: bool },
    GaveBack,
}

async fn ask(
    database: &mut Database,
    who: (i64, &str),
    step: &Step,
    lease: Duration,
) -> Result<Answer, Trouble> {
    match step {
        Step::Store(batch) => {
            let stored = database.store(who, batch).await?;
            Ok(Answer::Stored {
                lines: batch.iter().map(|it| it.line).collect(),
                lost: batch.len().saturating_sub(stored),
            })
        }
        Step::Renew(lines) => {
            let asked = Instant::now();
            let machines = database.renew(who, lines, lease).await?;
            Ok(Answer::Renewed { machines, asked })
        }
        Step::Claim(most) => {
            let (rows, any_open) = database.claim(who, *most, lease).await?;
            Ok(Answer::Claimed { rows, any_open })
        }
        Step::GiveBack(lines) => {
            database.give_back(who, lines).await?;
            Ok(Answer::GaveBack)
        }
        // Nothing to ask.
        Step::Wait(_) | Step::End => Ok(Answer::GaveBack),
    }
}
