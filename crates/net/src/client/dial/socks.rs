//! Through a SOCKS proxy, version 5 (RFC 1928), with a name and password if it wants them (RFC 1929).
//!
//! Names are resolved at the proxy. Exactly the proxy's own octets are read: what stands behind them is the server's.

use std::fmt;
use std::io;
use std::net::IpAddr;

use gatepost_wire::client::Blame;
use gatepost_wire::secret::Secret;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const VERSION: u8 = 5;
const NO_LOGIN: u8 = 0;
const PASSWORD: u8 = 2;
const CONNECT: u8 = 1;
const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;

/// A SOCKS proxy.
#[derive(Debug, Clone)]
pub struct Socks {
    /// Its name or address.
    pub host: String,
    /// Its port; 1080 by custom.
    pub port: u16,
    /// Name and password for it, each of at most 255 octets.
    pub login: Option<(String, Secret<String>)>,
}

/// Why the proxy does not lead on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SocksFailure {
    /// It broke the protocol, or closed.
    Protocol,
    /// It did not answer in time.
    Timeout,
    /// It wants another kind of login than we have.
    NoMethod,
    /// It refuses the login.
    Login,
    /// It refuses, with this code (RFC 1928 6).
    Refused(u8),
    /// The name of the server, or name or password for the proxy, is longer than 255 octets.
    TooLong,
}

impl SocksFailure {
    /// A stable label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Protocol => "E-SOCKS-PROTOCOL",
            Self::Timeout => "E-SOCKS-TIMEOUT",
            Self::NoMethod | Self::Login => "E-SOCKS-AUTH",
            Self::Refused(_) => "E-SOCKS-REFUSED",
            Self::TooLong => "E-SOCKS-TOO-LONG",
        }
    }

    pub(super) const fn blame(self) -> Blame {
        match self {
            Self::NoMethod | Self::Login | Self::TooLong => Blame::Misuse,
            Self::Protocol | Self::Timeout | Self::Refused(_) => Blame::Network,
        }
    }
}

impl fmt::Display for SocksFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the SOCKS proxy ")?;
        match self {
            Self::Protocol => f.write_str("closed, or does not speak SOCKS 5"),
            Self::Timeout => f.write_str("did not answer in time"),
            Self::NoMethod => f.write_str("wants a login we do not have"),
            Self::Login => f.write_str("refuses the login"),
            Self::Refused(code) => {
                let reason = match code {
                    2 => "its rules do not allow it",
                    3 => "the network cannot be reached",
                    4 => "the host cannot be reached",
                    5 => "the connection was refused",
                    6 => "it took too long",
                    _ => "a fault of its own",
                };
                write!(f, "does not lead there: {reason}")
            }
            Self::TooLong => f.write_str("cannot be told: longer than 255 octets"),
        }
    }
}

impl From<io::Error> for SocksFailure {
    fn from(_: io::Error) -> Self {
        Self::Protocol
    }
}

impl Socks {
    /// Asks for a connection to an address, or else a name.
    pub(super) async fn ask(
        &self,
        stream: &mut TcpStream,
        destination: (Option<IpAddr>, &str, u16),
    ) -> Result<(), SocksFailure> {
        // Both requests are made first: nothing is said when one of them cannot be.
        let login = self.login.as_ref().map(login_request).transpose()?;
        let request = connect_request(destination)?;
        let methods: &[u8] = match login {
            None => &[VERSION, 1, NO_LOGIN],
            Some(_) => &[VERSION, 2, NO_LOGIN, PASSWORD],
        };
        stream.write_all(methods).await?;
        match (read(stream).await?, login) {
            ([VERSION, NO_LOGIN], _) => {}
            ([VERSION, PASSWORD], Some(login)) => {
                stream.write_all(login.expose()).await?;
                let [version, status] = read(stream).await?;
                if version != 1 {
                    return Err(SocksFailure::Protocol);
                }
                if status != 0 {
                    return Err(SocksFailure::Login);
                }
            }
            ([VERSION, 0xff], _) => return Err(SocksFailure::NoMethod),
            _ => return Err(SocksFailure::Protocol),
        }
        stream.write_all(&request).await?;
        read_reply(stream).await
    }
}

async fn read<const LENGTH: usize>(stream: &mut TcpStream) -> Result<[u8; LENGTH], SocksFailure> {
    let mut octets = [0; LENGTH];
    stream.read_exact(&mut octets).await?;
    Ok(octets)
}

async fn read_reply(stream: &mut TcpStream) -> Result<(), SocksFailure> {
    let [version, code, _, kind] = read(stream).await?;
    if version != VERSION {
        return Err(SocksFailure::Protocol);
    }
    if code != 0 {
        return Err(SocksFailure::Refused(code));
    }
    // Where the proxy connects from, of no use to us.
    match kind {
        IPV4 => drop(read::<6>(stream).await?),
        IPV6 => drop(read::<18>(stream).await?),
        NAME => {
            let [length] = read(stream).await?;
            let mut rest = vec![0; usize::from(length) + 2];
            stream.read_exact(&mut rest).await?;
        }
        _ => return Err(SocksFailure::Protocol),
    }
    Ok(())
}

/// RFC 1929 2.
fn login_request(login: &(String, Secret<String>)) -> Result<Secret<Vec<u8>>, SocksFailure> {
    let (name, password) = (login.0.as_bytes(), login.1.expose().as_bytes());
    let (name_length, password_length) = (short(name)?, short(password)?);
    let request = [&[1, name_length], name, &[password_length], password].concat();
    Ok(Secret::new(request))
}

/// RFC 1928 4.
fn connect_request(
    (address, name, port): (Option<IpAddr>, &str, u16),
) -> Result<Vec<u8>, SocksFailure> {
    let mut request = vec![VERSION, CONNECT, 0];
    match address {
        Some(IpAddr::V4(address)) => {
            request.push(IPV4);
            request.extend(address.octets());
        }
        Some(IpAddr::V6(address)) => {
            request.push(IPV6);
            request.extend(address.octets());
        }
        None => {
            request.extend([NAME, short(name.as_bytes())?]);
            request.extend(name.as_bytes());
        }
    }
    request.extend(port.to_be_bytes());
    Ok(request)
}

fn short(octets: &[u8]) -> Result<u8, SocksFailure> {
    u8::try_from(octets.len()).map_err(|_| SocksFailure::TooLong)
}
