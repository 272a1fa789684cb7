//! When to stop what goes on until it is stopped: at SIGINT or SIGTERM, or after a time.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};

/// Asked now and then by whatever goes on.
#[derive(Debug, Clone)]
pub(super) struct Stop {
    asked: Arc<AtomicBool>,
    until: Option<Instant>,
}

impl Stop {
    /// After so many seconds, if there is a limit. Signals are listened for only where something `lasts`: a program that reads files ends as others do.
    /// When this returns they are: whoever ends the program at its first line of output gets the summary all the same.
    /// Where the system gives no way to listen, SIGINT and SIGTERM end the program as they would any other.
    pub(super) fn after(seconds: Option<u64>, lasts: bool) -> Self {
        let stop = Self {
            asked: Arc::new(AtomicBool::new(false)),
            until: seconds.map(|it| Instant::now() + Duration::from_secs(it)),
        };
        if lasts {
            let (listening, is_listening) = mpsc::channel();
            let stop = stop.clone();
            std::thread::spawn(move || {
                if wait_for_a_signal(&listening).is_ok() {
                    stop.ask();
                }
            });
            // An error is a thread that gave up: there is nothing to wait for then.
            let _ = is_listening.recv();
        }
        stop
    }

    /// Asks, for all who have a copy.
    pub(super) fn ask(&self) {
        self.asked.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed) || self.until.is_some_and(|it| Instant::now() >= it)
    }
}

/// Until SIGINT or SIGTERM; tells when both are listened for.
fn wait_for_a_signal(listening: &mpsc::Sender<()>) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut interrupted = signal(SignalKind::interrupt())?;
        let mut terminated = signal(SignalKind::terminate())?;
        let _ = listening.send(());
        tokio::select! {
            _ = interrupted.recv() => {}
            _ = terminated.recv() => {}
        }
        Ok(())
    })
}
