//! An interface, live: packet sockets of Linux with filters in the kernel. Privileges are given up as soon as they are open.
//!
//! Each worker has a socket, a thread and an engine of its own, and by its filter its share of the connections; it copies a packet once and judges it.
//! What they have to tell goes to the thread that prints. What the kernel had to drop is counted by the kernel, for each socket, and told.
//! Between making a socket and binding it nothing of other interfaces can come in: until then its filter lets nothing pass.

use std::io::IoSliceMut;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;
use std::time::SystemTime;

use clap::ArgMatches;
use gatepost_audit::watch::Watcher;
use gatepost_audit::watch::event::Event;
use gatepost_audit::watch::file::Packet;
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType,
    SockaddrLike as _, bind, recvmsg, setsockopt, socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike as _};
use nix::unistd::{Group, User, geteuid, setgid, setgroups, setuid};

use super::filter::{self, Filter};
use super::output::Output;
use super::packets::{AT_A_TIME, Packets};
use super::stop::Stop;
use crate::exit::Failure;

/// Octets the kernel may keep for us, in all.
const ROOM: usize = 32 << 20;
/// The longest packet: offloading cards put several into one.
const LONGEST: usize = 1 << 17;
/// The link types by their numbers in the kernel and in capture files: anything else is read as Ethernet.
const NO_LINK_LAYER: u16 = 65_534;
/// Batches of events that may wait to be printed; then a worker waits, and the kernel counts what it has to drop.
const MOST_BATCHES: usize = 256;
/// Workers, unless said otherwise, where there are so many processors.
const MOST_BY_ITSELF: usize = 4;

/// Watches until it is asked to stop. When an interface fails on the way, what was seen until then is told all the same.
pub(super) fn watch(
    interface: &str,
    given: &ArgMatches,
    stop: &Stop,
    packets: &mut Packets,
    output: &mut Output,
    troubles: &mut Vec<Failure>,
) -> Result<(), Failure> {
    let workers = workers(given);
    let (sockets, link) = open(interface, given, workers)?;
    give_up_privileges()?;
    packets
        .watcher
        .begin_file(output.add_file(interface.to_owned()));
    eprintln!("gatepost: watching {interface}");
    let workers: Vec<Worker> = (0..)
        .zip(sockets)
        .map(|(number, socket)| Worker {
            watcher: packets.watcher.split(number, workers),
            socket,
            link,
        })
        .collect();
    let (sender, receiver) = sync_channel(MOST_BATCHES);
    thread::scope(|scope| {
        let running: Vec<_> = workers
            .into_iter()
            .map(|worker| {
                let sender = sender.clone();
                scope.spawn(move || worker.run(stop, &sender))
            })
            .collect();
        drop(sender);
        let mut printed = Ok(());
        for events in receiver {
            if printed.is_ok() {
                printed = output.tell(&events);
            }
            if printed.is_err() {
                stop.ask();
            }
        }
        for worker in running {
            let Ok((watcher, end)) = worker.join() else {
                return Err(Failure::local("a worker failed"));
            };
            packets.watcher.join(&watcher);
            troubles.extend(
                end.err()
                    .map(|error| Failure::local(format!("cannot read from {interface}: {error}"))),
            );
        }
        printed
    })
}

/// How many: as said, else one for each processor, up to four.
fn workers(given: &ArgMatches) -> u32 {
    given.get_one("workers").copied().unwrap_or_else(|| {
        let processors = thread::available_parallelism().map_or(1, usize::from);
        u32::try_from(processors.min(MOST_BY_ITSELF)).unwrap_or(1)
    })
}

/// One of those who read.
struct Worker {
    watcher: Watcher,
    socket: OwnedFd,
    link: u32,
}

impl Worker {
    /// Reads until the end, for whatever reason; what is open then is told.
    fn run(mut self, stop: &Stop, sender: &SyncSender<Vec<Event>>) -> (Watcher, Result<(), Errno>) {
        // Without this one the others would tell a part and call it all.
        let stop_all = StopAtEnd(stop);
        let end = self.read(stop, sender);
        drop(stop_all);
        while self.watcher.finish_some(AT_A_TIME) {
            self.tell(sender);
        }
        (self.watcher, end)
    }

    fn read(&mut self, stop: &Stop, sender: &SyncSender<Vec<Event>>) -> Result<(), Errno> {
        let mut buffer = vec![0; LONGEST];
        let mut control = nix::cmsg_space!(u32);
        while !stop.is_asked() {
            let mut slices = [IoSliceMut::new(&mut buffer)];
            let received = recvmsg::<()>(
                self.socket.as_raw_fd(),
                &mut slices,
                Some(&mut control),
                MsgFlags::empty(),
            );
            let message = match received {
                Ok(message) => message,
                // Nothing came for a while: time to look whether to stop.
                Err(Errno::EAGAIN | Errno::EINTR) => continue,
                Err(error) => return Err(error),
            };
            let dropped = message
                .cmsgs()
                .ok()
                .into_iter()
                .flatten()
                .find_map(|it| match it {
                    ControlMessageOwned::RxqOvfl(count) => Some(u64::from(count)),
                    _ => None,
                });
            let length = message.bytes;
            if let Some(dropped) = dropped {
                self.watcher.count_dropped(dropped);
            }
            let octets = buffer.get(..length).unwrap_or_default();
            self.watcher.packet(&Packet {
                link: self.link,
                time: now(),
                octets,
                length,
            });
            self.tell(sender);
        }
        Ok(())
    }

    fn tell(&mut self, sender: &SyncSender<Vec<Event>>) {
        if self.watcher.has_events() {
            // Who prints listens until all workers have ended.
            let _ = sender.send(self.watcher.take_events());
        }
    }
}

/// Stops the others when it is dropped, whatever the reason.
struct StopAtEnd<'a>(&'a Stop);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.ask();
    }
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    u64::try_from(since.unwrap_or_default().as_nanos()).unwrap_or(u64::MAX)
}

/// A socket for each worker, and the link type.
fn open(interface: &str, given: &ArgMatches, workers: u32) -> Result<(Vec<OwnedFd>, u32), Failure> {
    let address = address(interface)?;
    let has_link_layer = address.hatype() != NO_LINK_LAYER;
    let ports: Vec<u16> = given
        .get_many("port")
        .into_iter()
        .flatten()
        .copied()
        .collect();
    let ports = match ports.as_slice() {
        _ if given.get_flag("all-ports") => &[],
        [] => filter::PORTS,
        ports => ports,
    };
    let mut sockets = Vec::new();
    for _ in 0..workers {
        sockets.push(open_one(interface, &address, workers)?);
    }
    let filtered = (0..).zip(sockets).map(|(worker, socket)| {
        let filter = Filter {
            has_link_layer,
            ports,
            worker,
            workers,
        };
        filter::attach(socket, &filter.program())
    });
    let sockets = filtered
        .collect::<Result<_, _>>()
        .map_err(|error| Failure::local(format!("no filter: {error}")))?;
    Ok((sockets, if has_link_layer { 1 } else { 101 }))
}

/// A socket that lets nothing pass yet.
fn open_one(interface: &str, address: &LinkAddr, workers: u32) -> Result<OwnedFd, Failure> {
    let cannot = |what: &str, error: Errno| {
        let hint = if error == Errno::EPERM {
            "; it takes CAP_NET_RAW"
        } else {
            ""
        };
        Failure::local(format!("cannot {what} {interface}: {error}{hint}"))
    };
    let raw = socket(
        AddressFamily::Packet,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::EthAll,
    )
    .map_err(|error| cannot("watch", error))?;
    let raw = filter::attach(raw, &filter::nothing())
        .map_err(|error| Failure::local(format!("no filter: {error}")))?;
    bind(raw.as_raw_fd(), address).map_err(|error| cannot("bind to", error))?;
    drain(&raw);
    setsockopt(&raw, sockopt::RxqOvfl, &1).map_err(|error| cannot("count drops of", error))?;
    let room = ROOM / usize::try_from(workers).unwrap_or(1);
    // More than the limit takes a privilege that may be missing; then the limit does.
    let _ = setsockopt(&raw, sockopt::RcvBufForce, &room)
        .or_else(|_| setsockopt(&raw, sockopt::RcvBuf, &room));
    setsockopt(&raw, sockopt::ReceiveTimeout, &TimeVal::milliseconds(250))
        .map_err(|error| cannot("watch", error))?;
    Ok(raw)
}

/// Lets go what came in before the filter stood.
fn drain(raw: &OwnedFd) {
    let mut octet = [0];
    while nix::sys::socket::recv(raw.as_raw_fd(), &mut octet, MsgFlags::MSG_DONTWAIT).is_ok() {}
}

/// The address of an interface as a packet socket takes it. Its protocol is 0, so the socket's own stands.
fn address(interface: &str) -> Result<LinkAddr, Failure> {
    let all = nix::ifaddrs::getifaddrs()
        .map_err(|error| Failure::local(format!("cannot list the interfaces: {error}")))?;
    let mut names = Vec::new();
    for it in all {
        let link = it.address.and_then(|it| it.as_link_addr().copied());
        if let Some(link) = link.filter(|it| it.family() == Some(AddressFamily::Packet)) {
            if it.interface_name == interface {
                return Ok(link);
            }
            names.push(it.interface_name);
        }
    }
    Err(Failure::usage(format!(
        "there is no interface {interface}; there are {}",
        names.join(", ")
    )))
}

/// Root becomes nobody. A program started with the capability alone has nothing to give up.
fn give_up_privileges() -> Result<(), Failure> {
    if !geteuid().is_root() {
        return Ok(());
    }
    let cannot = |error: Errno| Failure::local(format!("cannot give up privileges: {error}"));
    let Some(user) = User::from_name("nobody").map_err(cannot)? else {
        return Err(Failure::local("there is no user nobody to become"));
    };
    let group = Group::from_gid(user.gid)
        .map_err(cannot)?
        .map_or(user.gid, |it| it.gid);
    setgroups(&[]).map_err(cannot)?;
    setgid(group).map_err(cannot)?;
    setuid(user.uid).map_err(cannot)
}
