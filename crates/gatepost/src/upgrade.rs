//! A running server, until it is told to stop, or has given its ports to another process.
//!
//! SIGUSR2 starts the program anew from where it was started, with the same arguments: a new binary there takes over when it is ready.
//! If it does not get so far, nothing has changed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use gatepost_serve::server::Running;
use gatepost_serve::server::successor::Successor;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::exit::Failure;
use crate::reload::{self, Source};

/// How long sessions get to finish after SIGTERM; together with the rest of the way out less than the 10 s promised.
const FAREWELL: Duration = Duration::from_secs(7);

/// How long sessions may go on by themselves after another process has taken over. Mail that is being sent has an end by then; who
/// only waits for news is asked to come again.
const DRAIN: Duration = Duration::from_secs(5 * 60);

/// The signals a server listens for, from when this is made: then none of them ends the program by itself.
pub(crate) struct Told {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    upgrade: Signal,
}

impl Told {
    /// Within a runtime.
    pub(crate) fn listen() -> Result<Self, Failure> {
        let listen = |kind| {
            signal(kind)
                .map_err(|error| Failure::local(format!("cannot listen for signals: {error}")))
        };
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hangup: listen(SignalKind::hangup())?,
            upgrade: listen(SignalKind::user_defined2())?,
        })
    }

    /// Waits until the server is to end.
    async fn stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Runs a server to its end.
pub(crate) async fn until_told(
    mut told: Told,
    mut running: Running,
    mut source: Source,
    program: &Path,
) -> Result<(), Failure> {
    let mut successor: Option<Successor> = None;
    loop {
        tokio::select! {
            _ = told.terminate.recv() => break,
            _ = told.interrupt.recv() => break,
            _ = told.hangup.recv() => {
                running.reload();
                source.reload(&running);
            }
            _ = told.upgrade.recv(), if successor.is_none() => {
                successor = running.start_successor(program);
            }
            outcome = readiness(&mut successor) => match outcome {
                Ok(ready) => {
                    let patience = async {
                        tokio::select! {
                            () = told.stop() => {}
                            () = tokio::time::sleep(DRAIN) => {}
                        }
                    };
                    running.hand_over(&ready, patience).await;
                    break;
                }
                Err(why) => running.keep_ports(&why),
            },
            () = tokio::time::sleep(reload::LOOK) => {
                if source.has_changed() {
                    source.reload(&running);
                }
            }
        }
    }
    if let Some(successor) = successor {
        successor.abandon();
    }
    running.stop(FAREWELL).await;
    Ok(())
}

/// Waits for a process that is to take over, and takes it out when it is ready, or will not be. Without one it waits for ever.
async fn readiness(successor: &mut Option<Successor>) -> Result<Successor, String> {
    let Some(starting) = successor else {
        return std::future::pending().await;
    };
    let outcome = starting.ready().await;
    let taken = successor.take();
    outcome?;
    taken.ok_or_else(|| "it is gone".to_owned())
}

/// The program, as it was started: a link to another version leads there.
pub(crate) fn program() -> PathBuf {
    let said = std::env::args_os().next().map(PathBuf::from);
    let by_path = said.as_deref().and_then(|it| {
        if it.components().count() > 1 {
            return std::path::absolute(it).ok();
        }
        let folders = std::env::var_os("PATH")?;
        let mut places = std::env::split_paths(&folders).map(|folder| folder.join(it));
        places.find(|place| place.is_file())
    });
    by_path
        .or_else(|| std::env::current_exe().ok())
        .or(said)
        .unwrap_or_default()
}
