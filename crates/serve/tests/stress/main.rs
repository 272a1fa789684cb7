//! Many clients at random on the same mailboxes, each reply held against a model: the manner of Dovecot's imaptest.
//!
//! 1. IMAP clients of three kinds (plain, CONDSTORE, QRESYNC) and a POP3 client run on threads of their own against the
//!    real session, backend and store; only sockets and TLS are left out.
//! 2. Each holds what it is told against its own view (sequence numbers, UIDs, modification sequences, where EXPUNGE may
//!    come) and against what all know together ([`ledger::Ledger`]): nothing acknowledged may be missing, nothing removed may
//!    come back, no two may see different flags at the same modification sequence.
//! 3. Now and then all stop. Then every view must be the store's, message for message and flag for flag.
//!
//! `GATEPOST_STRESS_SECONDS` says how long (10 of themselves), `GATEPOST_STRESS_SEED` which choices; the seed is printed. How the
//! threads fall in between one another is the machine's, so a seed makes a fault likely again, not certain.

#![allow(clippy::unwrap_used)] // a test may fail by panicking

mod acts;
mod chance;
mod client;
mod ledger;
mod link;
mod maildrop;
mod reply;
mod view;
#[path = "../mailbox/world.rs"]
#[allow(dead_code, reason = "shared with the backends' tests")]
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Barrier, Mutex};
use std::time::{Duration, Instant, SystemTime};

use tokio::runtime::Runtime;

use crate::chance::Chance;
use crate::client::Client;
use crate::ledger::{Ledger, Place};
use crate::reply::Flags;
use crate::world::{ANN, Wish, World};

/// The mailboxes they all use.
pub(crate) const BOXES: [&str; 2] = ["INBOX", "Archive"];
const CLIENTS: usize = 9;
/// Between two checkpoints.
const ROUND: Duration = Duration::from_millis(1500);

/// What a client has been told of the mailbox it is in.
type State = (usize, Place, Vec<(u32, Flags)>);

/// What all threads share.
struct Field<'a> {
    world: &'a World,
    runtime: &'a Runtime,
    ledger: Mutex<Ledger>,
    seed: u64,
    barrier: Barrier,
    until: Instant,
    over: AtomicBool,
    /// The next checkpoint.
    stop_at: Mutex<Instant>,
    states: Mutex<Vec<State>>,
    faults: Mutex<Vec<String>>,
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

#[test]
fn many_clients_at_random_agree_with_the_model() {
    let seconds = number("GATEPOST_STRESS_SECONDS").unwrap_or(10);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let seed = number("GATEPOST_STRESS_SEED").unwrap_or(now.unwrap().as_secs());
    println!("GATEPOST_STRESS_SEED={seed}");
    let runtime = Runtime::new().unwrap();
    let world = World::with(Wish {
        in_memory: true,
        ..Wish::default()
    });
    let field = Field {
        world: &world,
        runtime: &runtime,
        ledger: Mutex::default(),
        seed,
        barrier: Barrier::new(CLIENTS + 1),
        until: Instant::now() + Duration::from_secs(seconds),
        over: AtomicBool::new(false),
        stop_at: Mutex::new(Instant::now() + ROUND),
        states: Mutex::default(),
        faults: Mutex::default(),
    };
    std::thread::scope(|scope| {
        for number in 0..CLIENTS {
            let field = &field;
            scope.spawn(move || imap_client(field, number));
        }
        scope.spawn(|| pop3_client(&field));
    });
    let faults = field.faults.into_inner().unwrap();
    assert!(
        faults.is_empty(),
        "GATEPOST_STRESS_SEED={seed}\n{}",
        faults.join("\n")
    );
    let counts = field.ledger.into_inner().unwrap().counts;
    println!("{counts:?}");
    assert!(counts.values().sum::<u64>() > 200, "no stress: {counts:?}");
}

impl Field<'_> {
    /// Carries this out; what goes wrong is written down, and ends the test at the next checkpoint.
    fn attempt(&self, work: impl FnOnce() -> Result<(), String>) {
        let done = catch_unwind(AssertUnwindSafe(work));
        let done = done.unwrap_or_else(|_| Err("a panic, told above".to_owned()));
        if let Err(fault) = done {
            self.faults.lock().unwrap().push(fault);
        }
    }

    fn has_failed(&self) -> bool {
        !self.faults.lock().unwrap().is_empty()
    }

    /// Whether all should come to the checkpoint.
    fn is_due(&self) -> bool {
        self.has_failed() || Instant::now() >= *self.stop_at.lock().unwrap()
    }
}

fn imap_client(field: &Field<'_>, number: usize) {
    let handle = field.runtime.handle();
    let mut client = Client::new(number, field.seed, handle, field.world, &field.ledger);
    field.attempt(|| client.reconnect());
    while !field.over.load(Ordering::SeqCst) {
        field.attempt(|| {
            while !field.is_due() {
                client.act()?;
            }
            Ok(())
        });
        field.barrier.wait();
        if !field.has_failed() {
            field.attempt(|| {
                let (place, state) = client.checkpoint()?;
                field.states.lock().unwrap().push((number, place, state));
                Ok(())
            });
        }
        if field.barrier.wait().is_leader() {
            field.attempt(|| judge(field));
            begin_anew(field);
        }
        field.barrier.wait();
    }
}

fn pop3_client(field: &Field<'_>) {
    let mut chance = Chance::new(field.seed ^ 0xB0B);
    while !field.over.load(Ordering::SeqCst) {
        field.attempt(|| {
            while !field.is_due() {
                maildrop::visit(
                    &mut chance,
                    field.runtime.handle(),
                    field.world,
                    &field.ledger,
                )?;
            }
            Ok(())
        });
        field.barrier.wait();
        if field.barrier.wait().is_leader() {
            field.attempt(|| judge(field));
            begin_anew(field);
        }
        field.barrier.wait();
    }
}

fn begin_anew(field: &Field<'_>) {
    field.ledger.lock().unwrap().tidy();
    field.states.lock().unwrap().clear();
    *field.stop_at.lock().unwrap() = Instant::now() + ROUND;
    let over = field.has_failed() || Instant::now() >= field.until;
    field.over.store(over, Ordering::SeqCst);
}

/// Every view is what the store holds.
fn judge(field: &Field<'_>) -> Result<(), String> {
    if field.has_failed() {
        return Ok(());
    }
    field.ledger.lock().unwrap().count("checkpoint");
    let truths = BOXES.map(|name| truth(field.world, name));
    for (client, place, state) in field.states.lock().unwrap().iter() {
        if *state != truths[*place] {
            return Err(format!(
                "checkpoint: client {client} has {state:?} in {}, the store has {:?}",
                BOXES[*place], truths[*place]
            ));
        }
    }
    let mut ledger = field.ledger.lock().unwrap();
    for (place, truth) in truths.iter().enumerate() {
        let seen = truth.iter().map(|(uid, _)| *uid).collect();
        let known = ledger.known(place);
        ledger.compare(place, &known, &seen)?;
    }
    ledger.count("checkpoint passed");
    Ok(())
}

fn truth(world: &World, name: &str) -> Vec<(u32, Flags)> {
    let (mailbox, _) = world.store.select(world.account(ANN), name).unwrap();
    let named = |message: gatepost_store::Message| {
        let flags = message.flags;
        let system = [
            (flags.seen, "\\Seen"),
            (flags.answered, "\\Answered"),
            (flags.flagged, "\\Flagged"),
            (flags.deleted, "\\Deleted"),
            (flags.draft, "\\Draft"),
        ];
        let system = system.into_iter().filter(|(set, _)| *set);
        let keywords = flags.keywords.iter().map(ToString::to_string);
        let all = system.map(|(_, name)| name.to_owned()).chain(keywords);
        (message.uid, all.collect())
    };
    let all = world.store.all(mailbox).unwrap();
    all.into_iter().map(named).collect()
}
