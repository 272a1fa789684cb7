//! Without file descriptors the accept loop rests and goes on. Alone in its process, for the limit is the process's.

use std::fs::File;
use std::net::TcpStream;
use std::process::Command;
use std::sync::mpsc::channel;
use std::time::Duration;

use gatepost_net::listen::{Door, DoorLimits, Farewell, Refused, accept, bind};
use tokio::sync::watch;

fn limit_files(soft: &str) -> bool {
    let pid = std::process::id().to_string();
    let status = Command::new("prlimit")
        .args(["--pid", &pid, &format!("--nofile={soft}:")])
        .status();
    status.is_ok_and(|status| status.success())
}

#[test]
fn the_loop_survives_the_lack_of_files() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let inside = runtime.enter();
    let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    let (_stop, shutdown) = watch::channel(false);
    let ((enter, places), (refuse, refused)) = (channel(), channel());
    let door = Door::new(DoorLimits {
        total: 99,
        per_address: 99,
        exempt: Vec::new(),
    });
    runtime.spawn(async move {
        let serve = move |stream, _, place| enter.send((stream, place)).unwrap();
        let refuse = move |_, why| refuse.send(why).unwrap();
        accept(listener, door, Farewell::Smtp, shutdown, serve, refuse).await;
    });
    drop(inside);
    if !limit_files("64") {
        println!("skipped: prlimit is not there");
        return;
    }
    // Take all there are; the client's socket takes the last.
    let mut taken: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
    taken.pop();
    let client = TcpStream::connect(address).unwrap();
    let second = Duration::from_secs(5);
    assert_eq!(refused.recv_timeout(second), Ok(Refused::NoFiles));
    assert!(places.try_recv().is_err());
    // Descriptors come back, and the one who waited is served.
    drop(taken);
    assert!(places.recv_timeout(second).is_ok());
    drop(client);
}
