//! The upstreams of one protocol: who is next, what they have in common, how they are.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::member::{Busy, Member};
use super::offer::Offered;
use crate::services::Protocol;

/// The upstreams of one protocol.
#[derive(Debug)]
pub struct Pool {
    protocol: Protocol,
    members: Vec<Arc<Member>>,
    /// Counts changes of what is offered.
    changes: AtomicU64,
}

impl Pool {
    /// Upstreams that can stand in for one another; at least one.
    pub fn new(protocol: Protocol, members: Vec<Arc<Member>>) -> Self {
        Self {
            protocol,
            members,
            changes: AtomicU64::new(0),
        }
    }

    /// What they speak.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// All of them.
    pub fn members(&self) -> &[Arc<Member>] {
        &self.members
    }

    /// Whether logins are made with tokens, by the consent of accounts here.
    pub fn is_bridged(&self) -> bool {
        self.members.iter().any(|it| it.spec().oauth)
    }

    /// Changes when what is offered does.
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    pub(super) fn note_change(&self) {
        self.changes.fetch_add(1, Ordering::Release);
    }

    /// The upstreams to try, in this order: those that are well and have the fewest sessions for their weight first. Those that
    /// rest are tried only when there is no other.
    pub(super) fn candidates(&self) -> Vec<Arc<Member>> {
        let mut well: Vec<&Arc<Member>> = self.members.iter().filter(|it| it.is_well()).collect();
        if well.is_empty() {
            well = self.members.iter().collect();
        }
        // The load in thousandths; the order of the configuration decides between equals.
        well.sort_by_key(|it| (u64::from(it.active()) + 1) * 1000 / u64::from(it.spec().weight));
        well.into_iter().map(Arc::clone).collect()
    }

    /// A use of a member.
    pub(super) fn begin(member: &Arc<Member>) -> Busy {
        member.begin()
    }

    /// What is known of those that have said what they offer.
    pub(super) fn offered(&self) -> Vec<Offered> {
        self.members.iter().filter_map(|it| it.offered()).collect()
    }

    /// Words that every upstream offers, in the first one's order [GW-01]: a session may come to any of them.
    pub(super) fn common(&self, words: impl Fn(&Offered) -> Vec<String>) -> Option<Vec<String>> {
        let mut lists = self.offered().into_iter().map(|it| words(&it));
        let mut common = lists.next()?;
        for list in lists {
            common.retain(|word| list.contains(word));
        }
        Some(common)
    }

    /// Whether access tokens can be passed on.
    pub fn takes_tokens(&self) -> bool {
        let entrusted = self.members.iter().filter(|it| it.may_have_passwords());
        let mut offered = entrusted.filter_map(|it| it.offered());
        offered.any(|it| it.takes_tokens())
    }

    /// Whether users that a certificate has shown can be passed on: every upstream takes the gate's own certificate, and its word
    /// for whom it speaks.
    pub fn takes_certificates(&self) -> bool {
        let shows = |it: &Arc<Member>| it.spec().client_cert.is_some() && it.may_have_passwords();
        let takes = |it: &Arc<Member>| it.offered().is_some_and(|it| it.takes_certificates());
        !self.members.is_empty() && self.members.iter().all(|it| shows(it) && takes(it))
    }

    /// Whether names and passwords can be passed on. While nobody has said what it takes, they are asked for: the client then
    /// learns that it may try again, not that there are no logins here.
    pub fn takes_passwords(&self) -> bool {
        let entrusted: Vec<&Arc<Member>> = self
            .members
            .iter()
            .filter(|it| it.may_have_passwords())
            .collect();
        let offered: Vec<Offered> = entrusted.iter().filter_map(|it| it.offered()).collect();
        let unknown = offered.is_empty() && !entrusted.is_empty();
        unknown || offered.iter().any(Offered::takes_passwords)
    }
}

#[cfg(test)]
mod tests {
    use super::super::url::Spec;
    use super::*;

    fn pool(urls: &[&str]) -> Pool {
        let member = |url: &&str| Arc::new(Member::new(Spec::parse(url).unwrap()).unwrap());
        Pool::new(Protocol::Imap, urls.iter().map(member).collect())
    }

    fn first(pool: &Pool) -> u16 {
        pool.candidates().first().unwrap().spec().port
    }

    #[test]
    fn the_one_with_the_fewest_sessions_is_next() {
        let pool = pool(&["imap://127.0.0.1:1", "imap://127.0.0.1:2?weight=3"]);
        let mut uses = Vec::new();
        let mut counts = [0, 0];
        for _ in 0..40 {
            let next = pool.candidates().remove(0);
            counts[usize::from(next.spec().port - 1)] += 1;
            uses.push(Pool::begin(&next));
        }
        assert_eq!(counts, [10, 30]);
    }

    #[test]
    fn one_that_failed_is_left_alone_unless_there_is_no_other() {
        let pool = pool(&["imap://127.0.0.1:1", "imap://127.0.0.1:2"]);
        pool.members()[0].failed();
        assert_eq!(first(&pool), 2);
        assert_eq!(pool.candidates().len(), 1);
        pool.members()[1].failed();
        assert_eq!(pool.candidates().len(), 2);
        pool.members()[0].works(None);
        assert_eq!(first(&pool), 1);
    }

    // [GW-01]
    #[test]
    fn only_what_all_offer_is_passed_on() {
        let pool = pool(&["imap://127.0.0.1:1", "imap://127.0.0.1:2"]);
        assert_eq!(pool.common(Offered::imap_words), None);
        let offer = |words: &[&str]| {
            Some(Offered::Imap(Box::new(
                gatepost_wire::imap::client::Capabilities {
                    words: words.iter().map(|it| (*it).into()).collect(),
                    mechanisms: Vec::new(),
                },
            )))
        };
        pool.members()[0].works(offer(&["IMAP4REV1", "IDLE", "MOVE"]));
        pool.members()[1].works(offer(&["IMAP4REV1", "MOVE", "QRESYNC"]));
        assert_eq!(
            pool.common(Offered::imap_words).unwrap(),
            ["IMAP4rev1", "MOVE"]
        );
    }
}
