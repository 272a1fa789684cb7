//! Lists of revoked certificates, fetched and kept for a while [REV-02].
//!
//! A list is signed by its authority and judged by `gatepost_trust::verify`: where it came from proves nothing, so it is fetched
//! in clear, and a stale or forged one does no more than a missing one.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use gatepost_trust::verify::{CrlUrl, Crls};
use tokio::task::JoinSet;

use super::folder::Folder;
use super::url::Url;
use super::{Access, Limits, get};
use crate::client::dial::Dialer;
use crate::client::{CrlSource, Fetching, Options};

/// The largest list that is fetched: the largest in use have a few MiB.
const LARGEST: usize = 16 * 1024 * 1024;
/// For one list: a little less than a session waits for all of them.
const PATIENCE: Duration = Duration::from_secs(8);
/// How long a list is kept. It says itself how long it is good.
const KEPT: Duration = Duration::from_secs(3600);
/// How long it is kept in mind that one could not be had.
const MISSED: Duration = Duration::from_secs(60);
/// The most places kept in mind.
const MOST: usize = 256;
/// The most lists fetched for one chain.
const PER_CHAIN: usize = 8;

/// Fetches lists of revoked certificates.
#[derive(Clone)]
pub struct CrlFetcher {
    dialer: Dialer,
    kept: Arc<Mutex<HashMap<String, Kept>>>,
    folder: Option<Arc<Folder>>,
}

struct Kept {
    since: Instant,
    list: Result<Crls, Missing>,
}

/// The list could not be had.
#[derive(Debug, Clone, Copy)]
struct Missing;

impl fmt::Debug for CrlFetcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CrlFetcher").finish_non_exhaustive()
    }
}

impl CrlFetcher {
    /// Fetches by this dialer.
    pub fn new(dialer: Dialer) -> Self {
        Self {
            dialer,
            kept: Arc::default(),
            folder: None,
        }
    }

    /// Keeps lists in this folder too, for an hour, so that programs that run briefly do not fetch them each time. It is made when
    /// there is something to keep; what cannot be read or written there is fetched again.
    #[must_use]
    pub fn with_folder(mut self, folder: PathBuf) -> Self {
        self.folder = Some(Arc::new(Folder::new(folder)));
        self
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known of a place, if anything.
    fn known(&self, url: &str) -> Option<Result<Crls, Missing>> {
        let kept = self.lock();
        let found = kept.get(url)?;
        let life = if found.list.is_ok() { KEPT } else { MISSED };
        (found.since.elapsed() < life).then(|| found.list.clone())
    }

    fn keep(&self, url: String, list: Result<Crls, Missing>) {
        let mut kept = self.lock();
        if kept.len() >= MOST {
            kept.retain(|_, it| it.since.elapsed() < MISSED);
            if kept.len() >= MOST {
                kept.clear();
            }
        }
        let since = Instant::now();
        kept.insert(url, Kept { since, list });
    }

    async fn fetch_one(self, text: String) -> Result<Crls, Missing> {
        if let Some(known) = self.known(&text) {
            return known;
        }
        let list = match self.read_kept(&text) {
            Some(list) => Ok(list),
            None => self.download(&text).await.ok_or(Missing),
        };
        self.keep(text, list.clone());
        list
    }

    fn read_kept(&self, url: &str) -> Option<Crls> {
        let octets = self.folder.as_ref()?.read(url, KEPT, LARGEST)?;
        let mut list = Crls::none();
        list.add(&octets).ok()?;
        Some(list)
    }

    async fn download(&self, text: &str) -> Option<Crls> {
        let url: Url = text.parse().ok()?;
        let limits = Limits {
            body: LARGEST,
            time: PATIENCE,
        };
        let options = Arc::new(Options::default());
        let response = get(&url, Access::Plain, &self.dialer, &options, limits).await;
        let body = response.ok()?.body;
        let mut list = Crls::none();
        list.add(&body).ok()?;
        if let Some(folder) = &self.folder {
            folder.write(text, &body);
        }
        Some(list)
    }
}

impl CrlSource for CrlFetcher {
    fn fetch<'a>(&'a self, urls: &'a [CrlUrl]) -> Fetching<'a> {
        Box::pin(async move {
            let mut running = JoinSet::new();
            for url in urls.iter().take(PER_CHAIN) {
                // Boxed for the fetch has a session of its own inside the session that wants it.
                running.spawn(Box::pin(self.clone().fetch_one(url.url.clone())));
            }
            let mut all = Crls::none();
            while let Some(fetched) = running.join_next().await {
                if let Ok(Ok(list)) = fetched {
                    all.extend(&list);
                }
            }
            all
        })
    }
}
