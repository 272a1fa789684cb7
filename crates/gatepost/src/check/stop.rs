//! An end that is asked for: SIGINT (Ctrl-C) or SIGTERM (a service manager, `kill`).

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::exit::Failure;

/// From when it is made, no such signal ends the program by itself: make it before there is something to leave in order.
pub(super) struct Stop {
    interrupted: Signal,
    terminated: Signal,
}

impl Stop {
    /// Within a runtime.
    pub(super) fn listen() -> Result<Self, Failure> {
        let listen = |kind| {
            signal(kind).map_err(|error| {
                Failure::local(format!("the system gives no word of signals: {error}"))
            })
        };
        Ok(Self {
            interrupted: listen(SignalKind::interrupt())?,
            terminated: listen(SignalKind::terminate())?,
        })
    }

    /// Waits for one.
    pub(super) async fn asked(&mut self) {
        tokio::select! {
            _ = self.interrupted.recv() => {}
            _ = self.terminated.recv() => {}
        }
    }
}
