//! How a name stands: in a signed zone, in one that is proven not to be signed, or neither.
//!
//! From the trust anchor down, for each label, the DS is asked for, and the zone above answers with its signature:
//!
//! ```text
//!  a DS we understand       a signed zone begins here: its keys, by the DS
//!  a DS we do not           unsigned (RFC 4035 5.2)
//!  NS, but no DS            unsigned
//!  no NS, or no such name   no zone begins here: the zone above goes on
//!  an alias                 likewise: a name with a CNAME is no zone
//!  nothing proven           broken
//! ```

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::anchor::Anchors;
use super::cache::Cache;
use super::denial::Cut;
use super::message::{Reply, Rtype};
use super::name::Name;
use super::resolver::{Resolver, Run, Transport};
use super::status::{Bogus, Indeterminate, Status};
use super::zone::{Rrset, Zone, usable_ds};

/// The longest time a step is kept.
const MAX_KEPT: Duration = Duration::from_secs(86_400);
/// How long a step that failed is kept (RFC 9520 3.2).
const BROKEN_KEPT: Duration = Duration::from_secs(5);

/// How many labels are asked for at the same time. Mail's names are seldom deeper; a reverse name is, and most of its questions
/// would be in vain.
const AHEAD: usize = 4;

/// How a name stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Standing {
    /// In this zone, whose keys are verified.
    Signed(Arc<Zone>),
    /// Below a delegation that is proven not to be signed.
    Unsigned,
    /// The chain is broken, or could not be followed.
    Broken(Status),
}

/// The steps known.
#[derive(Debug)]
pub(crate) struct Chain {
    steps: Cache<Name, Standing>,
}

impl Chain {
    pub(crate) fn new(kept: usize) -> Self {
        Self {
            steps: Cache::new(kept),
        }
    }

    /// How `name` stands.
    pub(crate) async fn standing<T: Transport>(
        &self,
        resolver: &Resolver<T>,
        anchors: &Anchors,
        name: &Name,
        run: &mut Run,
    ) -> Standing {
        let Some(top) = anchors.above(name) else {
            return Standing::Broken(Status::Indeterminate(Indeterminate::NoTrustAnchor));
        };
        let known = self.deepest(name, top, run.now);
        let mut asked = match &known {
            None => {
                let asked = name.depth().min(top.depth() + AHEAD);
                ask_ahead(resolver, name, (top.depth(), asked), Some(top), run).await;
                asked
            }
            Some((depth, ..)) => *depth,
        };
        let (mut depth, mut standing, mut left) = if let Some(known) = known {
            known
        } else {
            let (standing, ttl) = begin(resolver, anchors, top, run).await;
            self.keep(top, &standing, ttl, run.now);
            (top.depth(), standing, ttl)
        };
        while depth < name.depth() {
            let Standing::Signed(zone) = &standing else {
                break;
            };
            if depth == asked {
                asked = name.depth().min(depth + AHEAD);
                ask_ahead(resolver, name, (depth, asked), None, run).await;
            }
            depth += 1;
            let child = name.last(depth);
            let (next, ttl) = descend(resolver, zone, &child, run).await;
            // A step never outlives the one it stands on.
            left = left.min(ttl);
            self.keep(&child, &next, left, run.now);
            standing = next;
        }
        run.forget_ahead();
        standing
    }

    fn deepest(
        &self,
        name: &Name,
        top: &Name,
        now: SystemTime,
    ) -> Option<(usize, Standing, Duration)> {
        (top.depth()..=name.depth()).rev().find_map(|depth| {
            let (standing, left) = self.steps.find(&name.last(depth), now)?;
            Some((depth, standing, left))
        })
    }

    fn keep(&self, name: &Name, standing: &Standing, ttl: Duration, now: SystemTime) {
        self.steps
            .keep(name.clone(), standing.clone(), now, ttl.min(MAX_KEPT));
    }
}

fn broken(status: Status) -> (Standing, Duration) {
    (Standing::Broken(status), BROKEN_KEPT)
}

/// Asks for the DS of the next labels at the same time, with the keys of the trust anchor's zone if they are not known, and then for the keys of those that have one: two round trips for a chain,
/// not two for each of its zones. Nothing is concluded here; a label that turns out to stand in no signed zone cost a question.
async fn ask_ahead<T: Transport>(
    resolver: &Resolver<T>,
    name: &Name,
    (from, to): (usize, usize),
    top: Option<&Name>,
    run: &mut Run,
) {
    let children: Vec<Name> = (from + 1..=to).map(|depth| name.last(depth)).collect();
    let top = top.map(|top| (top.clone(), Rtype::DNSKEY));
    let questions = children.iter().map(|child| (child.clone(), Rtype::DS));
    resolver
        .ask_ahead(top.into_iter().chain(questions).collect(), run)
        .await;
    let delegated = children.into_iter().filter(|child| {
        let reply = run.peek(child, Rtype::DS);
        reply.is_some_and(|reply| Rrset::find(&reply.answer, child, Rtype::DS).is_some())
    });
    let questions: Vec<_> = delegated.map(|child| (child, Rtype::DNSKEY)).collect();
    resolver.ask_ahead(questions, run).await;
}

async fn begin<T: Transport>(
    resolver: &Resolver<T>,
    anchors: &Anchors,
    top: &Name,
    run: &mut Run,
) -> (Standing, Duration) {
    let reply = match resolver.ask(top, Rtype::DNSKEY, run).await {
        Ok((reply, _)) => reply,
        Err(status) => return broken(status),
    };
    let seconds = run.seconds();
    match Zone::at_anchor(top, &reply, anchors, seconds, &mut run.work) {
        Ok((zone, ttl)) => (Standing::Signed(Arc::new(zone)), ttl),
        Err(status) => broken(status),
    }
}

/// One label down.
async fn descend<T: Transport>(
    resolver: &Resolver<T>,
    zone: &Arc<Zone>,
    child: &Name,
    run: &mut Run,
) -> (Standing, Duration) {
    let reply = match resolver.ask(child, Rtype::DS, run).await {
        Ok((reply, _)) => reply,
        Err(status) => return broken(status),
    };
    match cross(resolver, zone, child, &reply, run).await {
        Ok(step) => step,
        Err(status) => broken(status),
    }
}

async fn cross<T: Transport>(
    resolver: &Resolver<T>,
    zone: &Arc<Zone>,
    child: &Name,
    reply: &Reply,
    run: &mut Run,
) -> Result<(Standing, Duration), Status> {
    let seconds = run.seconds();
    let Some(set) = Rrset::find(&reply.answer, child, Rtype::DS) else {
        return without_ds(zone, child, reply, run);
    };
    let verified = zone.verify(&set, seconds, &mut run.work)?;
    let hashes = usable_ds(&set);
    if hashes.is_empty() {
        return Ok((Standing::Unsigned, verified.ttl));
    }
    let (keys, _) = resolver.ask(child, Rtype::DNSKEY, run).await?;
    let (zone, ttl) = Zone::from_reply(
        child,
        &keys,
        |key| hashes.iter().any(|ds| ds.fits(child, key)),
        seconds,
        &mut run.work,
    )?;
    Ok((Standing::Signed(Arc::new(zone)), ttl.min(verified.ttl)))
}

fn without_ds(
    zone: &Arc<Zone>,
    child: &Name,
    reply: &Reply,
    run: &mut Run,
) -> Result<(Standing, Duration), Status> {
    let seconds = run.seconds();
    let dname = reply.answer.iter().find(|record| {
        record.rtype == Rtype::DNAME && child.is_within(&record.owner) && *child != record.owner
    });
    let alias = match dname {
        Some(dname) => Rrset::find(&reply.answer, &dname.owner, Rtype::DNAME),
        None => Rrset::find(&reply.answer, child, Rtype::CNAME),
    };
    let same = || Standing::Signed(Arc::clone(zone));
    if let Some(alias) = alias {
        let verified = zone.verify(&alias, seconds, &mut run.work)?;
        if let Some(labels) = verified.expanded {
            zone.check_wildcard(reply, child, labels, seconds, &mut run.work)?;
        }
        return Ok((same(), verified.ttl));
    }
    let (denials, ttl) = zone.denials(reply, seconds, &mut run.work)?;
    match denials.cut(child) {
        Cut::None => Ok((same(), ttl)),
        Cut::Unsigned => Ok((Standing::Unsigned, ttl)),
        Cut::Unproven => Err(Status::Bogus(Bogus::DenialUnproven)),
    }
}
