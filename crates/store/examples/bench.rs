//! Durable deliveries per second of 10 KiB messages, beside what the disk can do at all.
//!
//! `cargo run --release -p gatepost-store --example bench [DIR]`

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use gatepost_store::{AccountId, Credential, Delivery, Options, Store};
use gatepost_wire::imap::ask::{Flags, InternalDate};
use gatepost_wire::sasl::{ScramHash, ScramRecord};
use gatepost_wire::secret::Secret;

const TIME: Duration = Duration::from_secs(3);

fn main() {
    let base = std::env::args_os()
        .nth(1)
        .map_or_else(|| PathBuf::from("."), PathBuf::from);
    let dir = base.join(format!("store-bench-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("a folder that can be written to");
    println!(
        "fdatasync of an appended 512 octets: {:.0}/s",
        raw_sync(&dir)
    );
    let store = Store::open(&dir.join("data"), Options::default()).expect("open");
    let credential = Credential {
        record: ScramRecord {
            hash: ScramHash::Sha256,
            salt: vec![0; 16],
            iterations: 4096,
            stored_key: Secret::new(vec![0; 32]),
            server_key: Secret::new(vec![0; 32]),
        },
        sha1: None,
    };
    let accounts: Vec<AccountId> = (0..50)
        .map(|n| {
            store
                .accounts()
                .add(&format!("user{n}@bench.test"), &credential, None)
                .expect("account")
        })
        .collect();
    for waiting in [1, 8, 50] {
        println!(
            "{waiting:>2} waiting: {:.0} durable deliveries/s",
            deliveries(&store, &accounts, waiting)
        );
    }
    drop(store);
    std::fs::remove_dir_all(&dir).expect("clean up");
}

fn raw_sync(dir: &Path) -> f64 {
    let file = File::create(dir.join("raw")).expect("file");
    let begin = Instant::now();
    let mut count = 0_u32;
    while begin.elapsed() < TIME / 3 {
        file.write_all_at(&[1; 512], u64::from(count) * 512)
            .expect("write");
        file.sync_data().expect("sync");
        count += 1;
    }
    f64::from(count) / begin.elapsed().as_secs_f64()
}

/// So many messages wait at any time; each answer sends the next one.
fn deliveries(store: &Store, accounts: &[AccountId], waiting: u32) -> f64 {
    let body = vec![b'x'; 10 << 10];
    let (sender, receiver) = channel();
    let send = |n: u32| {
        let mut incoming = store.incoming().expect("incoming");
        incoming.write(&body).expect("write");
        let delivery = Delivery {
            account: accounts[n as usize % accounts.len()],
            mailbox: "INBOX".into(),
            flags: Flags::default(),
            date: InternalDate {
                unix: 1_700_000_000,
                offset_minutes: 0,
            },
        };
        let sender = sender.clone();
        store.deliver(incoming, vec![delivery], move |result| {
            sender.send(result.is_ok()).expect("waiting");
        });
    };
    let begin = Instant::now();
    let mut asked = 0;
    while asked < waiting {
        send(asked);
        asked += 1;
    }
    let mut count = 0_u32;
    while count < asked {
        assert!(receiver.recv().expect("answer"));
        count += 1;
        if begin.elapsed() < TIME {
            send(asked);
            asked += 1;
        }
    }
    f64::from(count) / begin.elapsed().as_secs_f64()
}
