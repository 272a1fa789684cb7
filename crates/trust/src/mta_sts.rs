//! MTA-STS (RFC 8461): what a domain says over HTTPS about the hosts that take its mail.
//!
//! 1. The TXT record at `_mta-sts.DOMAIN` says that there is a policy, and by its `id` which one.
//! 2. The policy is fetched from `https://mta-sts.DOMAIN/.well-known/mta-sts.txt`, through [`Fetch`]: HTTPS belongs to `net`.
//! 3. It is kept in a [`Cache`] until its `max_age` is over. Neither a record that went away nor a fetch that failed drops it: that
//!    is what an attacker would do [STS-04].
//!
//! The domain is the one mail is sent to, never a parent of it [STS-05]; mail to a smart host has the smart host's domain.

mod cache;
mod policy;

use std::fmt;
use std::future::Future;
use std::time::{Duration, SystemTime};

pub use cache::{Cache, CacheError};
pub use policy::{Id, Mode, Pattern, Policy, PolicyError, RecordError, find_record};

use crate::dns::{Lookup, Name, Status};
use crate::policy::StsFact;

/// The longest a fetch may take [STS-02].
pub const FETCH_TIME: Duration = Duration::from_secs(60);
/// The most octets of a policy [STS-02].
pub const MAX_POLICY: usize = 64 * 1024;
/// Where the policy stands on its host.
pub const PATH: &str = "/.well-known/mta-sts.txt";

/// How long after a failed fetch the same policy is not asked for again [STS-09].
const BACK_OFF: Duration = Duration::from_secs(300);
/// A policy in use is fetched anew after this time, so that it does not run out [STS-09].
const REFRESH: Duration = Duration::from_secs(86_400);

/// Gets policies over HTTPS [STS-02].
pub trait Fetch: Sync {
    /// The body at `https://HOST/.well-known/mta-sts.txt`. The certificate is verified by PKIX for `host`, not expired; only status
    /// 200 is a success; no redirect is followed and no cache of HTTP asked; it ends after [`FETCH_TIME`], or with more than
    /// [`MAX_POLICY`] octets.
    fn fetch(&self, host: &Name) -> impl Future<Output = Result<Vec<u8>, FetchError>> + Send;
}

/// Why a policy could not be fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FetchError {
    /// No connection, or it broke off.
    Unreachable,
    /// It took too long.
    TimedOut,
    /// The certificate of the policy host is not good.
    Certificate,
    /// A status other than 200; redirects are not followed.
    Status(u16),
    /// The answer is not HTTP, or not text.
    NotText,
    /// More than 64 KiB.
    TooLarge,
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable => f.write_str("the policy host cannot be reached"),
            Self::TimedOut => f.write_str("the policy host did not answer within a minute"),
            Self::Certificate => f.write_str("the certificate of the policy host is not good"),
            Self::Status(code) => write!(f, "the policy host answered {code}; only 200 counts"),
            Self::NotText => f.write_str("the policy host sent no text"),
            Self::TooLarge => f.write_str("the policy is longer than 64 KiB"),
        }
    }
}

/// What went wrong while the policy was looked for. Mail may go on all the same: with the policy that is kept, or without one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Problem {
    /// The TXT record could not be looked up.
    Lookup(Status),
    /// There is a record, but it is no good.
    Record(RecordError),
    /// The policy could not be fetched. TLS-RPT: `sts-policy-fetch-error`, for the certificate `sts-webpki-invalid`.
    Fetch(FetchError),
    /// The policy is no good. TLS-RPT: `sts-policy-invalid`.
    Policy(PolicyError),
    /// The last fetch of this policy failed less than five minutes ago.
    BackedOff,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lookup(status) => write!(f, "the record _mta-sts: {status}"),
            Self::Record(error) => write!(f, "the record _mta-sts: {error}"),
            Self::Fetch(error) => write!(f, "{error}"),
            Self::Policy(error) => write!(f, "the policy: {error}"),
            Self::BackedOff => f.write_str("the policy could not be fetched a short time ago"),
        }
    }
}

/// What was found for a domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The policy in force, if there is one.
    pub policy: Option<Policy>,
    /// What went wrong, for the log and the report.
    pub problem: Option<Problem>,
}

impl Found {
    /// What this says about a host.
    pub fn fact(&self, host: &Name) -> StsFact {
        let Some(policy) = &self.policy else {
            return StsFact::Absent;
        };
        let listed = policy.lists(host);
        match policy.mode {
            Mode::None => StsFact::Absent,
            Mode::Testing => StsFact::Testing { listed },
            Mode::Enforce => StsFact::Enforce { listed },
        }
    }
}

/// The policy host of a domain.
pub fn policy_host(domain: &Name) -> Option<Name> {
    domain.below("mta-sts").ok()
}

/// Finds the policy of a domain, and keeps it.
pub async fn find(
    lookup: &impl Lookup,
    fetch: &impl Fetch,
    cache: &Cache,
    domain: &Name,
    now: SystemTime,
) -> Found {
    let kept = cache.policy(domain, now);
    let id = match find_id(lookup, domain, now).await {
        Ok(Some(id)) => id,
        // [STS-04] what is kept stays in force when the record is gone, or cannot be read
        Ok(None) => {
            return Found {
                policy: kept,
                problem: None,
            };
        }
        Err(problem) => {
            return Found {
                policy: kept,
                problem: Some(problem),
            };
        }
    };
    if !cache.is_due(domain, &id, now, REFRESH) {
        return Found {
            policy: kept,
            problem: None,
        };
    }
    renew(fetch, cache, domain, id, now).await
}

/// Fetches the policies in use that were not fetched for a day [STS-09]. To be called now and then. Returns what failed, with how
/// often in a row: worth an alert if it happens again and again.
pub async fn refresh(
    lookup: &impl Lookup,
    fetch: &impl Fetch,
    cache: &Cache,
    now: SystemTime,
) -> Vec<(Name, Problem, u32)> {
    let mut failed = Vec::new();
    for domain in cache.due(now, REFRESH) {
        if let Some(problem) = find(lookup, fetch, cache, &domain, now).await.problem {
            let times = cache.failures(&domain);
            failed.push((domain, problem, times));
        }
    }
    failed
}

async fn find_id(
    lookup: &impl Lookup,
    domain: &Name,
    now: SystemTime,
) -> Result<Option<Id>, Problem> {
    let Ok(owner) = domain.below("_mta-sts") else {
        return Ok(None);
    };
    let answer = lookup.txt(&owner, now).await;
    if !answer.status.is_known() {
        return Err(Problem::Lookup(answer.status));
    }
    find_record(&answer.records).map_err(Problem::Record)
}

async fn renew(fetch: &impl Fetch, cache: &Cache, domain: &Name, id: Id, now: SystemTime) -> Found {
    let kept = cache.policy(domain, now);
    let fail = |problem| Found {
        policy: kept.clone(),
        problem: Some(problem),
    };
    if cache.is_backed_off(domain, &id, now, BACK_OFF) {
        return fail(Problem::BackedOff);
    }
    let Some(host) = policy_host(domain) else {
        return fail(Problem::Fetch(FetchError::Unreachable));
    };
    let policy = match fetch.fetch(&host).await {
        Ok(body) if body.len() > MAX_POLICY => Err(Problem::Fetch(FetchError::TooLarge)),
        Ok(body) => Policy::parse(&body).map_err(Problem::Policy),
        Err(error) => Err(Problem::Fetch(error)),
    };
    match policy {
        Ok(policy) => {
            cache.keep(domain, id, policy.clone(), now);
            Found {
                policy: Some(policy),
                problem: None,
            }
        }
        Err(problem) => {
            cache.note_failure(domain, id, now);
            fail(problem)
        }
    }
}

#[cfg(test)]
mod tests;
