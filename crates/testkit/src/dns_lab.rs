//! Real signed zones on real servers, on loopback: NSD serves what `ldns-signzone` signed, and two Unbound resolve it, one that
//! validates and one that hands on what it finds.
//!
//! ```text
//!  zones (text) ── ldns-signzone ── NSD ──┬── Unbound, no validation   [DnsLab::plain]
//!                                         └── Unbound, validating      [DnsLab::validating]
//! ```
//!
//! [`DnsLab::start`] says which program is missing, for tests to skip by name. Everything runs as the user of the test, in a folder of
//! its own, on free ports, and ends with the [`DnsLab`].

mod signing;
mod zones;

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

pub use zones::{Denial, Ds, Fault, Signing, Zone, standard};

/// How long a server has to answer its first question.
const START: Duration = Duration::from_secs(30);

/// The zone of the names of loopback addresses, which resolvers answer for themselves where nothing is said.
const LOOPBACK_NAMES: &str = "127.in-addr.arpa.";

/// The programs needed, with the Debian package of each.
const PROGRAMS: &[(&str, &str)] = &[
    ("ldns-keygen", "ldnsutils"),
    ("ldns-signzone", "ldnsutils"),
    ("nsd", "nsd"),
    ("unbound", "unbound"),
];

/// Why there is no lab.
#[derive(Debug)]
pub enum NoLab {
    /// A program is not installed.
    Missing {
        /// The program.
        program: &'static str,
        /// Debian's package that has it.
        package: &'static str,
    },
    /// Something failed.
    Failed(String),
}

impl From<io::Error> for NoLab {
    fn from(error: io::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

/// Running servers.
#[derive(Debug)]
pub struct DnsLab {
    folder: PathBuf,
    servers: Vec<Child>,
    /// The server of all zones.
    pub authority: SocketAddr,
    /// A resolver that does not validate.
    pub plain: SocketAddr,
    /// A resolver that validates.
    pub validating: SocketAddr,
    /// The trust anchor of the root, as a line of a zone file.
    pub anchor: String,
}

impl DnsLab {
    /// Signs the zones and starts the servers.
    pub fn start(zones: &[Zone]) -> Result<Self, NoLab> {
        // A port found free may be taken by somebody else before its server has it.
        for _ in 0..2 {
            match Self::start_at(zones, free_port()?) {
                Err(NoLab::Failed(why)) => eprintln!("once more: {why}"),
                done => return done,
            }
        }
        Self::start_at(zones, free_port()?)
    }

    /// The same with the validating resolver at a given address: port 53, for programs that can be told no other.
    pub fn start_at(zones: &[Zone], validating: SocketAddr) -> Result<Self, NoLab> {
        // One at a time: two that start at once would find the same free ports.
        static STARTING: Mutex<()> = Mutex::new(());
        let _one = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
        for (program, package) in PROGRAMS {
            if find(program).is_none() {
                return Err(NoLab::Missing { program, package });
            }
        }
        let folder = new_folder()?;
        let anchor = signing::sign_all(&folder, zones)?;
        let mut lab = Self {
            folder,
            servers: Vec::new(),
            authority: free_port()?,
            plain: free_port()?,
            validating,
            anchor,
        };
        let file = lab.write("nsd.conf", &nsd_conf(&lab, zones))?;
        lab.run("nsd", &["-d", "-c", &file])?;
        wait_for(lab.authority)?;
        for (name, address, validates) in [
            ("plain.conf", lab.plain, false),
            ("validating.conf", lab.validating, true),
        ] {
            let text = unbound_conf(&lab, zones, address, validates);
            let file = lab.write(name, &text)?;
            lab.run("unbound", &["-d", "-c", &file])?;
            wait_for(address)?;
        }
        Ok(lab)
    }

    fn write(&self, name: &str, text: &str) -> io::Result<String> {
        let file = self.folder.join(name);
        fs::write(&file, text)?;
        Ok(file.display().to_string())
    }

    fn run(&mut self, program: &str, arguments: &[&str]) -> Result<(), NoLab> {
        let path = find(program).ok_or_else(|| NoLab::Failed(program.into()))?;
        let log = fs::File::create(self.folder.join(format!("{program}.log")))?;
        let child = Command::new(path)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        self.servers.push(child);
        Ok(())
    }
}

impl Drop for DnsLab {
    fn drop(&mut self) {
        for server in &mut self.servers {
            let id = server.id().to_string();
            // NSD has children, which a signal to end makes it end, too.
            let _ = Command::new("kill").arg(&id).status();
            let until = Instant::now() + Duration::from_secs(5);
            while matches!(server.try_wait(), Ok(None)) && Instant::now() < until {
                std::thread::sleep(Duration::from_millis(10));
            }
            let _ = server.kill();
            let _ = server.wait();
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// The address of a forwarder that asks `resolver` for no signatures, as old ones in routers do.
///
/// # Panics
/// When there is no port.
pub fn without_signatures(resolver: SocketAddr) -> SocketAddr {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let address = socket.local_addr().expect("its address");
    std::thread::spawn(move || {
        let mut question = [0; 4096];
        while let Ok((length, from)) = socket.recv_from(&mut question) {
            let mut question = question[..length].to_vec();
            // The DO bit, in the last record (RFC 6891 6.1.3).
            if let Some(octet) = question.iter_mut().nth_back(3) {
                *octet &= 0x7f;
            }
            let _ = forward(&socket, &question, resolver, from);
        }
    });
    address
}

fn forward(
    socket: &UdpSocket,
    question: &[u8],
    resolver: SocketAddr,
    from: SocketAddr,
) -> io::Result<()> {
    let way = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    way.set_read_timeout(Some(Duration::from_secs(5)))?;
    way.send_to(question, resolver)?;
    let mut reply = [0; 4096];
    let length = way.recv(&mut reply)?;
    socket.send_to(&reply[..length], from)?;
    Ok(())
}

fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}

fn new_folder() -> io::Result<PathBuf> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let folder = std::env::temp_dir().join(format!("gatepost-dns-{}-{number}", std::process::id()));
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// A port that is free for UDP and TCP.
fn free_port() -> Result<SocketAddr, NoLab> {
    for _ in 0..100 {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = socket.local_addr()?;
        if TcpListener::bind(address).is_ok() {
            return Ok(address);
        }
    }
    Err(NoLab::Failed("no free port".into()))
}

/// Waits until a server answers for the root's SOA.
fn wait_for(address: SocketAddr) -> Result<(), NoLab> {
    const QUESTION: &[u8] = &[0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 6, 0, 1];
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.connect(address)?;
    socket.set_read_timeout(Some(Duration::from_millis(200)))?;
    let until = Instant::now() + START;
    let mut reply = [0; 512];
    while Instant::now() < until {
        let _ = socket.send(QUESTION);
        match socket.recv(&mut reply) {
            Ok(length) if length > 3 && reply[3].trailing_zeros() >= 4 => return Ok(()),
            // Nobody listens yet.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                std::thread::sleep(Duration::from_millis(20));
            }
            _ => (),
        }
    }
    Err(NoLab::Failed(format!("no answer from {address}")))
}

fn nsd_conf(lab: &DnsLab, zones: &[Zone]) -> String {
    let folder = lab.folder.display();
    let address = lab.authority;
    let mut text = format!(
        "server:\n ip-address: {}@{}\n username: \"\"\n chroot: \"\"\n zonesdir: \"{folder}\"\n database: \"\"\n \
         pidfile: \"\"\n xfrdfile: \"{folder}/xfrd\"\n zonelistfile: \"{folder}/zonelist\"\n xfrdir: \"{folder}\"\n \
         server-count: 1\n tcp-count: 50\n rrl-ratelimit: 0\nremote-control:\n control-enable: no\n",
        address.ip(),
        address.port()
    );
    for zone in zones {
        let file = signing::zone_file(Path::new(""), zone.name);
        let _ = writeln!(
            text,
            "zone:\n name: \"{}\"\n zonefile: \"{}\"",
            zone.name,
            file.display()
        );
    }
    text
}

fn unbound_conf(lab: &DnsLab, zones: &[Zone], address: SocketAddr, validates: bool) -> String {
    let folder = lab.folder.display();
    let modules = if validates {
        "validator iterator"
    } else {
        "iterator"
    };
    let mut text = format!(
        "server:\n interface: {}@{}\n username: \"\"\n chroot: \"\"\n directory: \"{folder}\"\n pidfile: \"\"\n \
         use-syslog: no\n do-ip6: no\n do-daemonize: no\n num-threads: 1\n do-not-query-localhost: no\n \
         access-control: 127.0.0.0/8 allow\n module-config: \"{modules}\"\n qname-minimisation: no\n \
         trust-anchor-signaling: no\n root-key-sentinel: no\n val-log-level: 2\n unblock-lan-zones: yes\n \
         edns-buffer-size: 1232\n minimal-responses: yes\n",
        address.ip(),
        address.port()
    );
    if validates {
        let _ = writeln!(text, " trust-anchor: \"{}\"", lab.anchor);
    }
    // Loopback addresses have no names but in the lab's own zone.
    if zones.iter().any(|zone| zone.name == LOOPBACK_NAMES) {
        let _ = writeln!(text, " local-zone: \"{LOOPBACK_NAMES}\" nodefault");
    }
    text.push_str("remote-control:\n control-enable: no\n");
    for zone in zones {
        let _ = writeln!(
            text,
            "stub-zone:\n name: \"{}\"\n stub-addr: {}@{}",
            zone.name,
            lab.authority.ip(),
            lab.authority.port()
        );
    }
    text
}
