//! Names to addresses.

use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;

/// Why a name has no addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ResolveFailure {
    /// There is no such name, or it has no address.
    NoName,
    /// It could not be told.
    Temporary,
}

/// Addresses, on their way.
pub type Resolving<'a> =
    Pin<Box<dyn Future<Output = Result<Vec<IpAddr>, ResolveFailure>> + Send + 'a>>;

/// Whoever knows the addresses of names.
pub trait Resolve: Send + Sync {
    /// The addresses of a name, of both families.
    fn resolve<'a>(&'a self, host: &'a str) -> Resolving<'a>;
}

/// The system's resolver, with its hosts file.
#[derive(Debug, Clone, Copy)]
pub struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve<'a>(&'a self, host: &'a str) -> Resolving<'a> {
        Box::pin(async move {
            match tokio::net::lookup_host((host, 0)).await {
                Ok(found) => Ok(found.map(|it| it.ip()).collect()),
                Err(error) if is_lasting(&error) => Err(ResolveFailure::NoName),
                Err(_) => Err(ResolveFailure::Temporary),
            }
        })
    }
}

/// The system tells only in words which errors will pass.
fn is_lasting(error: &io::Error) -> bool {
    let words = error.to_string();
    !words.contains("emporary")
}
