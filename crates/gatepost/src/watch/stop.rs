//! When to stop what goes on until it is stopped: at SIGINT or SIGTERM, or after a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Asked now and then by whatever goes on.
#[derive(Debug, Clone)]
pub(super) struct Stop {
    asked: Arc<AtomicBool>,
    until: Option<Instant>,
}

impl Stop {
    /// After so many seconds, if there is a limit. Signals are listened for only where something `lasts`: a program that reads files ends as others do.
    pub(super) fn after(seconds: Option<u64>, lasts: bool) -> Self {
        let asked = Arc::new(AtomicBool::new(false));
        if lasts {
            let asked = Arc::clone(&asked);
            std::thread::spawn(move || {
                listen();
                asked.store(true, Ordering::Relaxed);
            });
        }
        Self {
            asked,
            until: seconds.map(|it| Instant::now() + Duration::from_secs(it)),
        }
    }

    /// Asks, for all who have a copy.
    pub(super) fn ask(&self) {
        self.asked.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed) || self.until.is_some_and(|it| Instant::now() >= it)
    }
}

fn listen() {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    else {
        return;
    };
    runtime.block_on(async {
        use tokio::signal::unix::{SignalKind, signal};
        let Ok(mut terminated) = signal(SignalKind::terminate()) else {
            return;
        };
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminated.recv() => {}
        }
    });
}
