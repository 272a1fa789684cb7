//! An interface, live: a packet socket of Linux with a filter in the kernel. Privileges are given up as soon as it is open.
//!
//! One thread reads, copies once and judges; what the kernel had to drop is counted by the kernel and told. Between making the socket and binding it
//! nothing of other interfaces can come in: until then the filter lets nothing pass.

use std::io::IoSliceMut;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::SystemTime;

use clap::ArgMatches;
use gatepost_audit::watch::file::Packet;
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType,
    SockaddrLike as _, bind, recvmsg, setsockopt, socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike as _};
use nix::unistd::{Group, User, geteuid, setgid, setgroups, setuid};

use super::filter;
use super::output::Output;
use super::packets::Packets;
use super::stop::Stop;
use crate::exit::Failure;

/// Octets the kernel may keep for us.
const ROOM: usize = 32 << 20;
/// The longest packet: offloading cards put several into one.
const LONGEST: usize = 1 << 17;
/// The link types by their numbers in the kernel and in capture files: anything else is read as Ethernet.
const NO_LINK_LAYER: u16 = 65_534;

pub(super) fn watch(
    interface: &str,
    given: &ArgMatches,
    stop: &Stop,
    packets: &mut Packets,
    output: &mut Output,
) -> Result<(), Failure> {
    let (socket, link) = open(interface, given)?;
    give_up_privileges()?;
    packets
        .watcher
        .begin_file(output.add_file(interface.to_owned()));
    eprintln!("gatepost: watching {interface}");
    let mut buffer = vec![0; LONGEST];
    let mut control = nix::cmsg_space!(u32);
    while !stop.is_asked() {
        let mut slices = [IoSliceMut::new(&mut buffer)];
        let received = recvmsg::<()>(
            socket.as_raw_fd(),
            &mut slices,
            Some(&mut control),
            MsgFlags::empty(),
        );
        let message = match received {
            Ok(message) => message,
            // The time is up: a good moment to print.
            Err(Errno::EAGAIN | Errno::EINTR) => {
                packets.tell(output)?;
                continue;
            }
            Err(error) => {
                return Err(Failure::local(format!(
                    "cannot read from {interface}: {error}"
                )));
            }
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
            packets.watcher.count_dropped(dropped);
        }
        let octets = buffer.get(..length).unwrap_or_default();
        packets.watcher.packet(&Packet {
            link,
            time: now(),
            octets,
            length,
        });
        packets.tell(output)?;
    }
    Ok(())
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    u64::try_from(since.unwrap_or_default().as_nanos()).unwrap_or(u64::MAX)
}

fn open(interface: &str, given: &ArgMatches) -> Result<(OwnedFd, u32), Failure> {
    let cannot = |what: &str, error: Errno| {
        let hint = if error == Errno::EPERM {
            "; it takes CAP_NET_RAW"
        } else {
            ""
        };
        Failure::local(format!("cannot {what} {interface}: {error}{hint}"))
    };
    let address = address(interface)?;
    let raw = socket(
        AddressFamily::Packet,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::EthAll,
    )
    .map_err(|error| cannot("watch", error))?;
    let raw = filter::attach(raw, &filter::nothing())
        .map_err(|error| Failure::local(format!("no filter: {error}")))?;
    bind(raw.as_raw_fd(), &address).map_err(|error| cannot("bind to", error))?;
    drain(&raw);
    setsockopt(&raw, sockopt::RxqOvfl, &1).map_err(|error| cannot("count drops of", error))?;
    // More than the limit takes a privilege that may be missing; then the limit does.
    let _ = setsockopt(&raw, sockopt::RcvBufForce, &ROOM)
        .or_else(|_| setsockopt(&raw, sockopt::RcvBuf, &ROOM));
    setsockopt(&raw, sockopt::ReceiveTimeout, &TimeVal::milliseconds(250))
        .map_err(|error| cannot("watch", error))?;
    let has_link_layer = address.hatype() != NO_LINK_LAYER;
    let ports: Vec<u16> = given
        .get_many("port")
        .into_iter()
        .flatten()
        .copied()
        .collect();
    let program = if given.get_flag("all-ports") || !has_link_layer {
        filter::everything()
    } else if ports.is_empty() {
        filter::ports(filter::PORTS)
    } else {
        filter::ports(&ports)
    };
    let raw = filter::attach(raw, &program)
        .map_err(|error| Failure::local(format!("no filter: {error}")))?;
    Ok((raw, if has_link_layer { 1 } else { 101 }))
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
