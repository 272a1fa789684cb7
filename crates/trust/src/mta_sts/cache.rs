//! Policies that were fetched, by domain, until they run out; and fetches that failed [STS-04] [STS-09].
//!
//! The cache is worth keeping over a restart: without it, an attacker needs only to wait for one. Its text form has one policy a
//! line: `DOMAIN ID FETCHED MODE MAX-AGE PATTERN…`, the time in seconds since 1970.

use std::collections::HashMap;
use std::fmt::{self, Write as _};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use super::policy::{Id, Mode, Pattern, Policy, seconds};
use crate::dns::Name;

/// The policies kept.
#[derive(Debug)]
pub struct Cache {
    bound: usize,
    entries: Mutex<HashMap<Name, Entry>>,
}

#[derive(Debug, Default)]
struct Entry {
    kept: Option<Kept>,
    failed: Option<Failed>,
}

#[derive(Debug)]
struct Kept {
    id: Id,
    policy: Policy,
    fetched: SystemTime,
}

#[derive(Debug)]
struct Failed {
    id: Id,
    at: SystemTime,
    times: u32,
}

/// A line of a saved cache that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheError {
    /// Its number, from 1.
    pub line: usize,
}

impl fmt::Display for CacheError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "line {} of the saved MTA-STS policies cannot be read",
            self.line
        )
    }
}

impl std::error::Error for CacheError {}

impl Cache {
    /// An empty cache for at most `bound` domains.
    pub fn new(bound: usize) -> Self {
        Self {
            bound: bound.max(1),
            entries: Mutex::new(HashMap::new()),
        }
    }

    /// The policy in force for a domain.
    pub fn policy(&self, domain: &Name, now: SystemTime) -> Option<Policy> {
        let entries = self.lock();
        let kept = entries.get(domain)?.kept.as_ref()?;
        kept.is_in_force(now).then(|| kept.policy.clone())
    }

    /// How often in a row the policy of a domain could not be fetched.
    pub fn failures(&self, domain: &Name) -> u32 {
        let entries = self.lock();
        let failed = entries.get(domain).and_then(|entry| entry.failed.as_ref());
        failed.map_or(0, |failed| failed.times)
    }

    pub(super) fn is_due(
        &self,
        domain: &Name,
        id: &Id,
        now: SystemTime,
        refresh: Duration,
    ) -> bool {
        let entries = self.lock();
        let kept = entries.get(domain).and_then(|entry| entry.kept.as_ref());
        kept.is_none_or(|kept| {
            !kept.is_in_force(now) || kept.id != *id || kept.is_older(now, refresh)
        })
    }

    pub(super) fn is_backed_off(
        &self,
        domain: &Name,
        id: &Id,
        now: SystemTime,
        wait: Duration,
    ) -> bool {
        let entries = self.lock();
        let failed = entries.get(domain).and_then(|entry| entry.failed.as_ref());
        failed.is_some_and(|failed| {
            let since = now.duration_since(failed.at);
            failed.id == *id && since.is_ok_and(|since| since < wait)
        })
    }

    /// Domains whose policy is in force, wants something, and was fetched long ago.
    pub(super) fn due(&self, now: SystemTime, refresh: Duration) -> Vec<Name> {
        let entries = self.lock();
        let due = entries.iter().filter(|(_, entry)| {
            entry.kept.as_ref().is_some_and(|kept| {
                kept.is_in_force(now)
                    && kept.is_older(now, refresh)
                    && kept.policy.mode != Mode::None
            })
        });
        due.map(|(domain, _)| domain.clone()).collect()
    }

    pub(super) fn keep(&self, domain: &Name, id: Id, policy: Policy, now: SystemTime) {
        let kept = Kept {
            id,
            policy,
            fetched: now,
        };
        self.insert(domain, now, |entry| {
            *entry = Entry {
                kept: Some(kept),
                failed: None,
            };
        });
    }

    pub(super) fn note_failure(&self, domain: &Name, id: Id, now: SystemTime) {
        self.insert(domain, now, |entry| {
            let times = entry.failed.as_ref().map_or(0, |failed| failed.times);
            entry.failed = Some(Failed {
                id,
                at: now,
                times: times.saturating_add(1),
            });
        });
    }

    fn insert(&self, domain: &Name, now: SystemTime, change: impl FnOnce(&mut Entry)) {
        let mut entries = self.lock();
        if entries.len() >= self.bound && !entries.contains_key(domain) {
            make_room(&mut entries, now);
        }
        change(entries.entry(domain.clone()).or_default());
    }

    /// The policies in force, as text.
    pub fn save(&self, now: SystemTime) -> String {
        let entries = self.lock();
        let mut lines: Vec<String> = entries
            .iter()
            .filter_map(|(domain, entry)| {
                let kept = entry.kept.as_ref().filter(|kept| kept.is_in_force(now))?;
                kept.line(domain)
            })
            .collect();
        lines.sort();
        lines.concat()
    }

    /// Reads what [`Cache::save`] wrote. Policies that ran out meanwhile are left out.
    pub fn load(text: &str, bound: usize, now: SystemTime) -> Result<Self, CacheError> {
        let cache = Self::new(bound);
        for (number, line) in text.lines().enumerate() {
            let error = CacheError { line: number + 1 };
            let (domain, kept) = Kept::parse(line).ok_or(error)?;
            if kept.is_in_force(now) {
                cache.insert(&domain, now, |entry| entry.kept = Some(kept));
            }
        }
        Ok(cache)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Name, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Forgets what ran out or never was; if all are in force, the one that runs out first.
fn make_room(entries: &mut HashMap<Name, Entry>, now: SystemTime) {
    let before = entries.len();
    entries.retain(|_, entry| {
        entry
            .kept
            .as_ref()
            .is_some_and(|kept| kept.is_in_force(now))
    });
    if entries.len() < before {
        return;
    }
    let first = entries
        .iter()
        .min_by_key(|(_, entry)| {
            entry
                .kept
                .as_ref()
                .map(|kept| kept.fetched + kept.policy.max_age)
        })
        .map(|(domain, _)| domain.clone());
    if let Some(first) = first {
        entries.remove(&first);
    }
}

impl Kept {
    /// A clock that was set back does not end a policy: that would be a way around it.
    fn is_in_force(&self, now: SystemTime) -> bool {
        let age = now.duration_since(self.fetched).unwrap_or(Duration::ZERO);
        age < self.policy.max_age
    }

    fn is_older(&self, now: SystemTime, age: Duration) -> bool {
        now.duration_since(self.fetched).is_ok_and(|own| own >= age)
    }

    fn line(&self, domain: &Name) -> Option<String> {
        let fetched = self.fetched.duration_since(SystemTime::UNIX_EPOCH).ok()?;
        let mut line = format!(
            "{domain} {} {} {} {}",
            self.id.as_str(),
            fetched.as_secs(),
            self.policy.mode.word(),
            self.policy.max_age.as_secs()
        );
        for pattern in &self.policy.mx {
            write!(line, " {pattern}").ok()?;
        }
        line.push('\n');
        Some(line)
    }

    fn parse(line: &str) -> Option<(Name, Self)> {
        let mut fields = line.split(' ');
        let domain = fields.next()?.parse().ok()?;
        let id = Id::new(fields.next()?)?;
        let fetched: u64 = fields.next()?.parse().ok()?;
        let mode = Mode::from_word(fields.next()?)?;
        let max_age = seconds(fields.next()?)?;
        let mx: Option<Vec<Pattern>> = fields.map(Pattern::parse).collect();
        let kept = Self {
            id,
            policy: Policy {
                mode,
                max_age,
                mx: mx?,
            },
            fetched: SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(fetched))?,
        };
        Some((domain, kept))
    }
}
