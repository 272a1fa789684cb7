//! The door, as those who stand before it see it.

use std::io::Read;
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use gatepost_net::listen::{Door, DoorLimits, Farewell, Place, Refused, accept, bind};
use tokio::runtime::Runtime;
use tokio::sync::watch;

struct Listening {
    address: SocketAddr,
    /// Connections that got in, held until taken from here.
    places: Receiver<(tokio::net::TcpStream, Place)>,
    refused: Receiver<Refused>,
    stop: watch::Sender<bool>,
    done: Receiver<()>,
    _runtime: Runtime,
}

fn listen(limits: DoorLimits, farewell: Farewell, address: &str) -> Listening {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let inside = runtime.enter();
    let listener = bind(address.parse().unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, shutdown) = watch::channel(false);
    let ((enter, places), (refuse, refused), (end, done)) = (channel(), channel(), channel());
    runtime.spawn(async move {
        let serve = move |stream, _, place| enter.send((stream, place)).unwrap();
        let refuse = move |_, why| refuse.send(why).unwrap();
        accept(
            listener,
            Door::new(limits),
            farewell,
            shutdown,
            serve,
            refuse,
        )
        .await;
        end.send(()).unwrap();
    });
    drop(inside);
    Listening {
        address,
        places,
        refused,
        stop,
        done,
        _runtime: runtime,
    }
}

const SECOND: Duration = Duration::from_secs(5);

fn hear(address: SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(SECOND)).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn the_refused_are_told_so_in_the_words_of_their_protocol() {
    for (farewell, words) in [
        (Farewell::Smtp, "421 4.7.0 "),
        (Farewell::Imap, "* BYE "),
        (Farewell::Pop3, "-ERR [SYS/TEMP] "),
    ] {
        let listening = listen(
            DoorLimits {
                total: 9,
                per_address: 1,
                exempt: Vec::new(),
            },
            farewell,
            "127.0.0.1:0",
        );
        let _first = TcpStream::connect(listening.address).unwrap();
        let place = listening.places.recv_timeout(SECOND).unwrap();
        let heard = hear(listening.address);
        assert!(
            heard.starts_with(words) && heard.ends_with("\r\n"),
            "{heard:?}"
        );
        assert_eq!(
            listening.refused.recv_timeout(SECOND),
            Ok(Refused::PerAddress)
        );
        // A place given back is free again.
        drop(place);
        let _next = TcpStream::connect(listening.address).unwrap();
        assert!(listening.places.recv_timeout(SECOND).is_ok());
    }
}

#[test]
fn on_a_port_for_implicit_tls_not_a_word_is_said() {
    // [IMPL-01]
    let listening = listen(
        DoorLimits {
            total: 0,
            per_address: 1,
            exempt: Vec::new(),
        },
        Farewell::Silent,
        "[::1]:0",
    );
    assert_eq!(hear(listening.address), "");
    assert_eq!(listening.refused.recv_timeout(SECOND), Ok(Refused::Total));
}

#[test]
fn it_stops_when_told() {
    let listening = listen(
        DoorLimits {
            total: 1,
            per_address: 1,
            exempt: Vec::new(),
        },
        Farewell::Smtp,
        "127.0.0.1:0",
    );
    listening.stop.send(true).unwrap();
    listening.done.recv_timeout(SECOND).unwrap();
    assert!(TcpStream::connect(listening.address).is_err());
}

#[test]
fn the_families_do_not_share_a_socket() {
    let listening = listen(
        DoorLimits {
            total: 1,
            per_address: 1,
            exempt: Vec::new(),
        },
        Farewell::Smtp,
        "[::]:0",
    );
    let port = listening.address.port();
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
    assert!(TcpStream::connect(("::1", port)).is_ok());
}
