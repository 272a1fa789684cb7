//! How much one lookup may cost (`KeyTrap`, CVE-2023-50387 and CVE-2023-50868): numbers no honest zone comes near.

use std::sync::Arc;

use super::signature::Known;
use super::status::{Indeterminate, Status};

/// The most queries sent for one lookup: each zone of a deep name, and each CNAME, wants a few.
const QUERIES: u32 = 80;
/// The most signatures looked at.
const SIGNATURES: u32 = 100;
/// The most signatures found wrong.
const FAILURES: u32 = 8;

/// What a lookup may still do.
#[derive(Debug)]
pub(crate) struct Work {
    queries: u32,
    signatures: u32,
    failures: u32,
    /// What other lookups found good costs nothing here; it counts all the same.
    pub(crate) known: Arc<Known>,
}

/// The allowance is spent.
pub(crate) const SPENT: Status = Status::Indeterminate(Indeterminate::TooMuchWork);

impl Work {
    pub(crate) fn new(known: Arc<Known>) -> Self {
        Self {
            queries: QUERIES,
            signatures: SIGNATURES,
            failures: FAILURES,
            known,
        }
    }

    pub(crate) fn query(&mut self) -> Result<(), Status> {
        take(&mut self.queries)
    }

    pub(crate) fn signature(&mut self) -> Result<(), Status> {
        take(&mut self.signatures)
    }

    pub(crate) fn failure(&mut self) -> Result<(), Status> {
        take(&mut self.failures)
    }
}

fn take(left: &mut u32) -> Result<(), Status> {
    *left = left.checked_sub(1).ok_or(SPENT)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_allowance_ends() {
        let mut work = Work::new(Arc::new(Known::new(1)));
        let spent =
            |mut take: Box<dyn FnMut() -> bool + '_>| (0..1000).take_while(|_| take()).count();
        assert_eq!(spent(Box::new(|| work.failure().is_ok())), 8);
        assert_eq!(spent(Box::new(|| work.signature().is_ok())), 100);
        assert_eq!(spent(Box::new(|| work.query().is_ok())), 80);
        assert_eq!(work.query(), Err(SPENT));
    }
}
