//! THREAD (RFC 5256 3): messages put together by what they refer to, or by their subjects.
//!
//! The steps of REFERENCES carry the numbers of the standard. Nothing here recurses: threads may be as deep as a mailbox is long.

use std::collections::HashMap;
use std::time::Instant;

use gatepost_store::{Error, MailboxId, Store};
use gatepost_wire::imap::ask::{Threaded, Threading, Uid};

use super::mime::field::first;
use super::order::each_header;
use super::search::sent_time;
use super::subject::{Subject, subject};

/// How many references of one message are followed: the last ones, which are the nearest.
const REFERENCES: usize = 50;

/// What of a message is compared.
#[derive(Debug)]
struct Facts {
    uid: Uid,
    sent: i64,
    subject: Subject,
    id: Option<Box<[u8]>>,
    references: Vec<Box<[u8]>>,
}

/// Puts messages into threads.
///
/// # Errors
/// When the mailbox is gone, a message cannot be read, or `until` has come: [`Error::Limit`].
pub fn thread(
    store: &Store,
    mailbox: MailboxId,
    uids: &[Uid],
    by: Threading,
    until: Instant,
) -> Result<Vec<Threaded>, Error> {
    let mut all = Vec::with_capacity(uids.len());
    each_header(store, (mailbox, uids), true, until, |message, header| {
        all.push(Facts {
            uid: message.uid,
            sent: sent_time(header).unwrap_or(message.date.unix),
            subject: subject(header),
            id: message_id(header),
            references: references(header),
        });
    })?;
    match by {
        Threading::OrderedSubject => Ok(by_subject(all)),
        Threading::References => Forest::new(all, until)?.threads(until),
    }
}

fn message_id(header: &[u8]) -> Option<Box<[u8]>> {
    ids(&first(header, "Message-ID")?.unfolded())
        .into_iter()
        .next()
}

/// References, or the one message of In-Reply-To.
fn references(header: &[u8]) -> Vec<Box<[u8]>> {
    let of = |name| first(header, name).map(|field| ids(&field.unfolded()));
    let mut found = of("References").unwrap_or_default();
    if found.is_empty() {
        found = of("In-Reply-To").unwrap_or_default();
        found.truncate(1);
    }
    let surplus = found.len().saturating_sub(REFERENCES);
    found.drain(..surplus);
    found
}

/// `<id>` each, without the brackets.
fn ids(text: &[u8]) -> Vec<Box<[u8]>> {
    let parts = text.split(|byte| *byte == b'<').skip(1);
    let ids = parts.filter_map(|part| {
        let end = part.iter().position(|byte| *byte == b'>')?;
        let id: Vec<u8> = part[..end]
            .iter()
            .copied()
            .filter(|byte| !byte.is_ascii_whitespace() && *byte != b'"')
            .collect();
        (!id.is_empty()).then(|| id.into())
    });
    ids.collect()
}

/// ORDEREDSUBJECT: the first of each subject, the others as its replies.
fn by_subject(mut all: Vec<Facts>) -> Vec<Threaded> {
    all.sort_by(|one, other| {
        let one = (&one.subject.base, one.sent, one.uid);
        one.cmp(&(&other.subject.base, other.sent, other.uid))
    });
    let mut threads: Vec<&[Facts]> = all
        .chunk_by(|one, other| one.subject.base == other.subject.base)
        .collect();
    threads.sort_by_key(|thread| thread.first().map(|it| (it.sent, it.uid)));
    let told = threads.iter().flat_map(|thread| {
        thread.iter().enumerate().map(|(at, it)| Threaded {
            uid: Some(it.uid),
            depth: u32::from(at > 0),
        })
    });
    told.collect()
}

/// A message, or one that others refer to.
#[derive(Debug, Default)]
struct Node {
    facts: Option<Facts>,
    parent: Option<usize>,
    children: Vec<usize>,
}

#[derive(Debug)]
struct Forest {
    nodes: Vec<Node>,
    roots: Vec<usize>,
}

impl Forest {
    /// Step 1: who replies to whom.
    fn new(all: Vec<Facts>, until: Instant) -> Result<Self, Error> {
        let mut forest = Self {
            nodes: Vec::with_capacity(all.len()),
            roots: Vec::new(),
        };
        let mut by_id: HashMap<Box<[u8]>, usize> = HashMap::new();
        for mut facts in all {
            if Instant::now() >= until {
                return Err(Error::Limit);
            }
            let references = std::mem::take(&mut facts.references);
            let known = facts.id.as_ref().and_then(|id| by_id.get(id)).copied();
            // An id that is missing or there twice is nobody's: the message stands for itself.
            let at = match known.filter(|at| forest.nodes[*at].facts.is_none()) {
                Some(at) => at,
                None => forest.add(),
            };
            if let (Some(id), None) = (&facts.id, known) {
                by_id.insert(id.clone(), at);
            }
            forest.nodes[at].facts = Some(facts);
            let mut above: Option<usize> = None;
            for id in references {
                let next = *by_id.entry(id).or_insert_with(|| forest.add());
                if let Some(parent) = above
                    && forest.nodes[next].parent.is_none()
                {
                    forest.link(next, parent);
                }
                above = Some(next);
            }
            if let Some(parent) = above {
                // Its own word counts more than what others say of it.
                forest.nodes[at].parent = None;
                forest.link(at, parent);
            }
        }
        Ok(forest)
    }

    fn add(&mut self) -> usize {
        self.nodes.push(Node::default());
        self.nodes.len() - 1
    }

    /// Notes a parent, unless that would close a circle.
    fn link(&mut self, child: usize, parent: usize) {
        let mut above = Some(parent);
        while let Some(at) = above {
            if at == child {
                return;
            }
            above = self.nodes[at].parent;
        }
        self.nodes[child].parent = Some(parent);
    }

    fn threads(mut self, until: Instant) -> Result<Vec<Threaded>, Error> {
        self.settle(until)?;
        self.sort_roots();
        self.join_subjects();
        self.sort_roots();
        Ok(self.tell())
    }

    /// Steps 2 and 3: each message gets the nearest message above it as its parent; where there is none, the topmost of those
    /// that are not there, if that holds more than one together.
    fn settle(&mut self, until: Instant) -> Result<(), Error> {
        let mut parents = Vec::with_capacity(self.nodes.len());
        for node in &self.nodes {
            if Instant::now() >= until {
                return Err(Error::Limit);
            }
            let mut above = node.parent;
            while let Some(at) = above {
                let parent = &self.nodes[at];
                if parent.facts.is_some() || parent.parent.is_none() {
                    break;
                }
                above = parent.parent;
            }
            parents.push(above.filter(|_| node.facts.is_some()));
        }
        for (at, parent) in parents.into_iter().enumerate() {
            self.nodes[at].parent = parent;
            if let Some(parent) = parent {
                self.nodes[parent].children.push(at);
            }
        }
        for at in 0..self.nodes.len() {
            let node = &self.nodes[at];
            match (node.facts.is_some(), node.parent, node.children.as_slice()) {
                (true, None, _) | (false, _, [_, _, ..]) => self.roots.push(at),
                (false, _, &[only]) => {
                    self.nodes[only].parent = None;
                    self.roots.push(only);
                    self.nodes[at].children.clear();
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// When a message was sent; of one that is not there, when its first child was.
    fn sent(&self, at: usize) -> (i64, Uid) {
        let of = |node: &Node| node.facts.as_ref().map(|it| (it.sent, it.uid));
        let node = &self.nodes[at];
        let children = || node.children.iter().filter_map(|at| of(&self.nodes[*at]));
        of(node).or_else(|| children().min()).unwrap_or_default()
    }

    /// Steps 4 and 6.
    fn sort_roots(&mut self) {
        let mut roots = std::mem::take(&mut self.roots);
        roots.sort_by_key(|at| self.sent(*at));
        self.roots = roots;
        for at in 0..self.nodes.len() {
            let mut children = std::mem::take(&mut self.nodes[at].children);
            children.sort_by_key(|child| self.sent(*child));
            self.nodes[at].children = children;
        }
    }

    fn subject(&self, at: usize) -> Subject {
        let node = &self.nodes[at];
        let first = || {
            let child = *node.children.first()?;
            self.nodes[child].facts.as_ref()
        };
        let facts = node.facts.as_ref().or_else(first);
        facts.map(|it| it.subject.clone()).unwrap_or_default()
    }

    /// Step 5: threads of one subject become one.
    fn join_subjects(&mut self) {
        let mut table: HashMap<String, usize> = HashMap::new();
        for at in self.roots.clone() {
            let subject = self.subject(at);
            if subject.base.is_empty() {
                continue;
            }
            let there = table.get(&subject.base).copied();
            let better = there.is_none_or(|there| {
                let dummy = self.nodes[at].facts.is_none() && self.nodes[there].facts.is_some();
                dummy || (self.subject(there).is_reply && !subject.is_reply)
            });
            if better {
                table.insert(subject.base, at);
            }
        }
        for at in std::mem::take(&mut self.roots) {
            let subject = self.subject(at);
            match table.get(&subject.base).copied() {
                Some(there) if there != at => self.join(at, there, &subject, &mut table),
                _ => self.roots.push(at),
            }
        }
        // What was joined under a new node is no root any more.
        let nodes = &self.nodes;
        self.roots.retain(|at| nodes[*at].parent.is_none());
    }

    fn join(
        &mut self,
        at: usize,
        there: usize,
        subject: &Subject,
        table: &mut HashMap<String, usize>,
    ) {
        let dummies = (
            self.nodes[at].facts.is_none(),
            self.nodes[there].facts.is_none(),
        );
        match dummies {
            (true, true) => {
                let children = std::mem::take(&mut self.nodes[at].children);
                for child in children {
                    self.put_under(child, there);
                }
            }
            (false, true) => self.put_under(at, there),
            _ if subject.is_reply && !self.subject(there).is_reply => self.put_under(at, there),
            _ => {
                let both = self.add();
                self.put_under(there, both);
                self.put_under(at, both);
                self.roots.push(both);
                table.insert(subject.base.clone(), both);
            }
        }
    }

    fn put_under(&mut self, child: usize, parent: usize) {
        self.nodes[child].parent = Some(parent);
        self.nodes[parent].children.push(child);
    }

    /// Each message before its replies.
    fn tell(&self) -> Vec<Threaded> {
        let mut told = Vec::with_capacity(self.nodes.len());
        let mut open: Vec<(usize, u32)> = self.roots.iter().rev().map(|at| (*at, 0)).collect();
        while let Some((at, depth)) = open.pop() {
            let node = &self.nodes[at];
            let uid = node.facts.as_ref().map(|it| it.uid);
            told.push(Threaded { uid, depth });
            let children = node.children.iter().rev();
            open.extend(children.map(|child| (*child, depth.saturating_add(1))));
        }
        told
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn facts(uid: Uid, subject: &str, id: &str, references: &[&str]) -> Facts {
        Facts {
            uid,
            sent: i64::from(uid),
            subject: super::super::subject::base(subject),
            id: (!id.is_empty()).then(|| id.as_bytes().into()),
            references: references.iter().map(|it| it.as_bytes().into()).collect(),
        }
    }

    fn threads(all: Vec<Facts>) -> Vec<(Uid, u32)> {
        let until = Instant::now() + Duration::from_secs(60);
        let told = Forest::new(all, until).unwrap().threads(until).unwrap();
        told.iter()
            .map(|it| (it.uid.unwrap_or(0), it.depth))
            .collect()
    }

    #[test]
    fn replies_stand_under_what_they_reply_to() {
        let all = vec![
            facts(1, "a", "a", &[]),
            facts(2, "Re: a", "b", &["a"]),
            facts(3, "Re: a", "c", &["a", "b"]),
            facts(4, "other", "d", &[]),
            facts(5, "Re: a", "e", &["a"]),
        ];
        assert_eq!(threads(all), [(1, 0), (2, 1), (3, 2), (5, 1), (4, 0)]);
    }

    #[test]
    fn a_missing_parent_holds_its_children_together() {
        let all = vec![facts(1, "x", "a", &["gone"]), facts(2, "y", "b", &["gone"])];
        assert_eq!(threads(all), [(0, 0), (1, 1), (2, 1)]);
        let alone = vec![facts(1, "x", "a", &["gone", "gone2"])];
        assert_eq!(threads(alone), [(1, 0)], "one child takes its place");
        // What is missing between two messages is left out.
        let between = vec![facts(1, "x", "a", &[]), facts(2, "x", "c", &["a", "gone"])];
        assert_eq!(threads(between), [(1, 0), (2, 1)]);
    }

    #[test]
    fn circles_and_doubles_do_no_harm() {
        let all = vec![
            facts(1, "x", "a", &["b"]),
            facts(2, "y", "b", &["a"]),
            facts(3, "z", "a", &["a"]),
            facts(4, "w", "", &[]),
        ];
        let told = threads(all);
        let mut uids: Vec<Uid> = told.iter().map(|it| it.0).filter(|uid| *uid > 0).collect();
        uids.sort_unstable();
        assert_eq!(uids, [1, 2, 3, 4], "each once: {told:?}");
    }

    #[test]
    fn subjects_join_what_no_reference_does() {
        let reply = vec![facts(1, "a", "a", &[]), facts(2, "Re: a", "b", &[])];
        assert_eq!(threads(reply), [(1, 0), (2, 1)]);
        let same = vec![facts(1, "a", "a", &[]), facts(2, "a", "b", &[])];
        assert_eq!(threads(same), [(0, 0), (1, 1), (2, 1)]);
        let three = vec![
            facts(1, "a", "a", &[]),
            facts(2, "a", "b", &[]),
            facts(3, "Re: a", "c", &[]),
        ];
        assert_eq!(threads(three), [(0, 0), (1, 1), (2, 1), (3, 1)]);
    }

    #[test]
    fn a_deep_thread_needs_no_deep_stack() {
        let all = (1..=20_000).map(|uid: Uid| {
            let above = (uid - 1).to_string();
            facts(uid, "x", &uid.to_string(), &[&above])
        });
        let told = threads(all.collect());
        assert_eq!(told.last(), Some(&(20_000, 19_999)));
    }

    #[test]
    fn by_subject_alone() {
        let all = vec![
            facts(1, "b", "", &[]),
            facts(2, "a", "", &[]),
            facts(3, "Re: b", "", &[]),
        ];
        let told: Vec<_> = by_subject(all)
            .iter()
            .map(|it| (it.uid, it.depth))
            .collect();
        assert_eq!(told, [(Some(1), 0), (Some(3), 1), (Some(2), 0)]);
    }
}
