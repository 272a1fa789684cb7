//! The resolver: asks a recursive resolver, and believes only what it has verified.
//!
//! Every question goes out with DO set and CD clear, so the limits of the resolver we ask protect us, too; its verdict (the AD bit)
//! is not taken [DNSSEC-01]. What comes back is verified from a trust anchor down:
//!
//! 1. The reply is followed from the name asked for along CNAME and DNAME. Each link is verified by itself; the weakest decides.
//! 2. Signed records are verified with the keys of the zone that signed them; a wildcard's with the proof that it may answer.
//! 3. Unsigned records, and denials, want to know how the name stands: [`Chain`] walks from the anchor down, label by label, and
//!    finds either a signed zone or the proof that the zone is not signed.
//!
//! All this for a bounded number of queries and signatures ([`Work`]), with the time as an argument.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, SystemTime};

use super::anchor::Anchors;
use super::cache::Cache;
use super::chain::{Chain, Standing};
use super::denial::Proof;
use super::lookup::Lookup;
use super::message::{Query, Record, Reply, Rtype};
use super::name::Name;
use super::record::Data;
use super::signature::Known;
use super::status::{Answer, Bogus, Denial, Indeterminate, Status};
use super::work::Work;
use super::zone::{Rrset, denial_sets};

/// The most CNAME records followed.
const MAX_ALIASES: usize = 11;
/// The longest time an answer is kept.
const MAX_TTL: Duration = Duration::from_secs(86_400);
/// The longest time a denial is kept (RFC 2308 5).
const MAX_DENIAL_TTL: Duration = Duration::from_secs(3 * 3600);
/// How long a failure is kept: long enough to spare a resolver the same question again and again (RFC 9520 3.2).
const FAILURE_TTL: Duration = Duration::from_secs(5);

/// A way to a recursive resolver. `net` has one over UDP and TCP.
pub trait Transport: Send + Sync {
    /// Sends a question and waits for the reply to it ([`Query::is_answered_by`]), asking again, over TCP if the reply was
    /// truncated, and other resolvers, as it sees fit. It ends in bounded time.
    fn exchange(&self, query: &Query)
    -> impl Future<Output = Result<Exchanged, Unanswered>> + Send;
}

/// A reply that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchanged {
    /// The message.
    pub reply: Vec<u8>,
    /// Whether it came from this machine itself (a loopback address): nobody on the way can have changed its AD bit.
    pub loopback: bool,
}

/// No reply came in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unanswered;

/// Who decides whether an answer is secure [DNSSEC-01].
#[derive(Debug, Clone)]
pub enum Validation {
    /// We do, from these anchors.
    Own(Anchors),
    /// The resolver does, by its AD bit, if it stands on a loopback address; else we do, from these anchors.
    Loopback(Anchors),
    /// Nobody: everything is insecure.
    Off,
}

/// A validating stub resolver with a cache.
#[derive(Debug)]
pub struct Resolver<T> {
    transport: T,
    validation: Validation,
    checking_disabled: bool,
    answers: Cache<(Name, Rtype), Arc<Answer<Data>>>,
    chain: Chain,
    known: Arc<Known>,
}

/// A piece of an answer.
enum Part {
    Records(Vec<Data>),
    Alias(Name),
    Denial(Denial),
}

/// A piece with what is known about it.
struct Found {
    part: Part,
    status: Status,
    ttl: Duration,
}

/// A reply, with the verdict of a resolver whose word is taken.
struct Told {
    reply: Reply,
    vouched: Option<Status>,
}

/// A reply, and whether it came from this machine itself.
type Heard = (Reply, bool);

/// The time, and what the lookup may still cost.
pub(crate) struct Run {
    pub(crate) now: SystemTime,
    pub(crate) work: Work,
    ahead: Vec<(Name, Rtype, Result<Heard, Status>)>,
}

impl Run {
    fn new(now: SystemTime, known: Arc<Known>) -> Self {
        Self {
            now,
            work: Work::new(known),
            ahead: Vec::new(),
        }
    }

    /// The reply to a question asked ahead, still to be asked for.
    pub(crate) fn peek(&self, name: &Name, rtype: Rtype) -> Option<&Reply> {
        let asked = |(of, kind, _): &&(Name, Rtype, _)| *of == *name && *kind == rtype;
        let (_, _, told) = self.ahead.iter().find(asked)?;
        told.as_ref().ok().map(|(reply, _)| reply)
    }

    /// Forgets what was asked ahead and not needed.
    pub(crate) fn forget_ahead(&mut self) {
        self.ahead = Vec::new();
    }

    /// The time as signatures count it.
    pub(crate) fn seconds(&self) -> u32 {
        let since = self.now.duration_since(SystemTime::UNIX_EPOCH);
        let seconds = since.unwrap_or_default().as_secs() & u64::from(u32::MAX);
        u32::try_from(seconds).unwrap_or(0)
    }
}

/// Waits for all at the same time, without a runtime; the outcomes in their order.
pub async fn together<F: Future>(futures: impl IntoIterator<Item = F>) -> Vec<F::Output> {
    let mut futures: Vec<Pin<Box<F>>> = futures.into_iter().map(Box::pin).collect();
    let mut done: Vec<Option<F::Output>> = futures.iter().map(|_| None).collect();
    poll_fn(|context| {
        let mut waiting = false;
        for (future, done) in futures.iter_mut().zip(&mut done) {
            if done.is_none() {
                match future.as_mut().poll(context) {
                    Poll::Ready(outcome) => *done = Some(outcome),
                    Poll::Pending => waiting = true,
                }
            }
        }
        if waiting {
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    })
    .await;
    done.into_iter().flatten().collect()
}

impl<T: Transport> Resolver<T> {
    /// A resolver that keeps at most `kept` answers.
    pub fn new(transport: T, validation: Validation, kept: usize) -> Self {
        Self {
            transport,
            validation,
            checking_disabled: false,
            answers: Cache::new(kept),
            chain: Chain::new(kept),
            known: Arc::new(Known::new(kept)),
        }
    }

    /// Asks with CD set: to learn why something is bogus from a resolver that would only say SERVFAIL. For tools that explain, not
    /// for work: the limits of the resolver do not protect us then.
    #[must_use]
    pub fn danger_checking_disabled(mut self) -> Self {
        self.checking_disabled = true;
        self
    }

    /// The way to the recursive resolver.
    pub fn transport(&self) -> &T {
        &self.transport
    }

    /// Whether signatures come through at all: those of the root's keys, which every zone that is signed stands on (RFC 4035 5). Where they do not, the
    /// resolver takes DNSSEC out, or whoever stands before it, and a bogus answer is not its zone's fault. Silence takes nothing out.
    pub async fn hands_on_signatures(&self, now: SystemTime) -> bool {
        let answer = Box::pin(self.lookup(&Name::root(), Rtype::DNSKEY, now)).await;
        !matches!(answer.status, Status::Bogus(_))
    }

    pub(crate) async fn ask(
        &self,
        name: &Name,
        rtype: Rtype,
        run: &mut Run,
    ) -> Result<Heard, Status> {
        let asked = run
            .ahead
            .iter()
            .position(|(of, kind, _)| of == name && *kind == rtype);
        if let Some(place) = asked {
            return run.ahead.swap_remove(place).2;
        }
        run.work.query()?;
        self.exchange(name, rtype).await
    }

    /// Asks several questions at the same time, for [`Self::ask`] to find their replies: a round trip, not one for each.
    pub(crate) async fn ask_ahead(&self, questions: Vec<(Name, Rtype)>, run: &mut Run) {
        let allowed = |_: &(Name, Rtype)| run.work.query().is_ok();
        let questions: Vec<_> = questions.into_iter().take_while(allowed).collect();
        let ask = |(name, rtype): &(Name, Rtype)| {
            let (name, rtype) = (name.clone(), *rtype);
            async move { self.exchange(&name, rtype).await }
        };
        let told = together(questions.iter().map(ask)).await;
        let told = questions.into_iter().zip(told);
        run.ahead
            .extend(told.map(|((name, rtype), told)| (name, rtype, told)));
    }

    async fn exchange(&self, name: &Name, rtype: Rtype) -> Result<Heard, Status> {
        let query = Query {
            name: name.clone(),
            rtype,
            checking_disabled: self.checking_disabled,
        };
        let exchanged = self
            .transport
            .exchange(&query)
            .await
            .map_err(|Unanswered| Status::Indeterminate(Indeterminate::Unreachable))?;
        let reply = Reply::read(&exchanged.reply)
            .map_err(|_| Status::Indeterminate(Indeterminate::Malformed))?;
        match reply.rcode {
            0 | 3 => Ok((reply, exchanged.loopback)),
            rcode => Err(Status::Indeterminate(Indeterminate::Refused {
                rcode,
                extended_error: reply.extended_error,
            })),
        }
    }

    async fn tell(&self, name: &Name, rtype: Rtype, run: &mut Run) -> Result<Told, Status> {
        let (reply, loopback) = self.ask(name, rtype, run).await?;
        let vouched = match &self.validation {
            // [DNSSEC-01] the AD bit of a resolver elsewhere may be anybody's
            Validation::Loopback(_) if loopback && reply.authentic => Some(Status::Secure),
            Validation::Loopback(_) if loopback => Some(Status::Insecure),
            Validation::Own(_) | Validation::Loopback(_) => None,
            Validation::Off => Some(Status::Insecure),
        };
        Ok(Told { reply, vouched })
    }

    async fn resolve(
        &self,
        name: &Name,
        rtype: Rtype,
        run: &mut Run,
    ) -> Result<Answer<Data>, Status> {
        let mut told = self.tell(name, rtype, run).await?;
        let mut answer = Answer {
            status: Status::Secure,
            records: Vec::new(),
            denial: None,
            aliases: Vec::new(),
            ttl: MAX_TTL,
        };
        let mut current = name.clone();
        loop {
            let found = self.part(&told, &current, rtype, run).await?;
            // [DNSSEC-03] an insecure link makes the rest insecure
            answer.status = answer.status.and(found.status);
            answer.ttl = answer.ttl.min(found.ttl);
            let target = match found.part {
                Part::Records(records) => {
                    answer.records = records;
                    return Ok(answer);
                }
                Part::Denial(denial) => {
                    answer.denial = Some(denial);
                    answer.ttl = answer.ttl.min(MAX_DENIAL_TTL);
                    return Ok(answer);
                }
                Part::Alias(target) => target,
            };
            if answer.aliases.len() == MAX_ALIASES
                || target == *name
                || answer.aliases.contains(&target)
            {
                return Err(Status::Indeterminate(Indeterminate::TooManyAliases));
            }
            if !leads_on(&told.reply, &target, rtype) {
                told = self.tell(&target, rtype, run).await?;
            }
            answer.aliases.push(target.clone());
            current = target;
        }
    }

    /// What a reply says about one name.
    async fn part(
        &self,
        told: &Told,
        name: &Name,
        rtype: Rtype,
        run: &mut Run,
    ) -> Result<Found, Status> {
        let reply = &told.reply;
        if let Some(set) = Rrset::find(&reply.answer, name, rtype) {
            let (status, ttl) = self.judge(told, &set, run).await?;
            let records = read_all(&set).ok_or(Status::Indeterminate(Indeterminate::Malformed))?;
            return Ok(Found {
                part: Part::Records(records),
                status,
                ttl,
            });
        }
        let dname = reply.answer.iter().find(|record| {
            record.rtype == Rtype::DNAME && name.is_within(&record.owner) && *name != record.owner
        });
        if let Some(dname) = dname {
            let set = Rrset::find(&reply.answer, &dname.owner, Rtype::DNAME);
            let set = set.ok_or(Status::Indeterminate(Indeterminate::Malformed))?;
            let (status, ttl) = self.judge(told, &set, run).await?;
            let target =
                substitute(name, dname).ok_or(Status::Indeterminate(Indeterminate::Malformed))?;
            return Ok(Found {
                part: Part::Alias(target),
                status,
                ttl,
            });
        }
        if let Some(set) = Rrset::find(&reply.answer, name, Rtype::CNAME) {
            let (status, ttl) = self.judge(told, &set, run).await?;
            // A name has one CNAME or none (RFC 2181 10.1).
            let data = read_all(&set).unwrap_or_default();
            let [Data::Cname(target)] = data.as_slice() else {
                return Err(Status::Indeterminate(Indeterminate::Malformed));
            };
            return Ok(Found {
                part: Part::Alias(target.clone()),
                status,
                ttl,
            });
        }
        self.deny(told, name, rtype, run).await
    }

    /// What is known about records that are there.
    async fn judge(
        &self,
        told: &Told,
        set: &Rrset<'_>,
        run: &mut Run,
    ) -> Result<(Status, Duration), Status> {
        if let Some(status) = told.vouched {
            return Ok((status, set.ttl()));
        }
        let zone = set.signer().unwrap_or(set.owner);
        match self.standing(zone, run).await {
            Standing::Signed(zone) => {
                let seconds = run.seconds();
                let verified = zone.verify(set, seconds, &mut run.work)?;
                let Some(labels) = verified.expanded else {
                    return Ok((Status::Secure, verified.ttl));
                };
                let (status, ttl) =
                    zone.check_wildcard(&told.reply, set.owner, labels, seconds, &mut run.work)?;
                Ok((status, ttl.min(verified.ttl)))
            }
            Standing::Unsigned => Ok((Status::Insecure, set.ttl())),
            Standing::Broken(status) => Err(status),
        }
    }

    /// What is known about records that are not there.
    async fn deny(
        &self,
        told: &Told,
        name: &Name,
        rtype: Rtype,
        run: &mut Run,
    ) -> Result<Found, Status> {
        let reply = &told.reply;
        let said = if reply.rcode == 3 {
            Denial::NoName
        } else {
            Denial::NoData
        };
        let found = |denial, status, ttl| Found {
            part: Part::Denial(denial),
            status,
            ttl,
        };
        let unsigned_ttl = negative_ttl(reply);
        if let Some(status) = told.vouched {
            return Ok(found(said, status, unsigned_ttl));
        }
        let sets = denial_sets(reply);
        let signer = sets
            .iter()
            .filter_map(Rrset::signer)
            .filter(|signer| name.is_within(signer))
            .max_by_key(|signer| signer.depth());
        match self.standing(signer.unwrap_or(name), run).await {
            Standing::Unsigned => Ok(found(said, Status::Insecure, unsigned_ttl)),
            Standing::Broken(status) => Err(status),
            Standing::Signed(zone) => {
                let seconds = run.seconds();
                let (denials, ttl) = zone.denials(reply, seconds, &mut run.work)?;
                let ttl = ttl.min(unsigned_ttl);
                let no_data = denials.no_data(name, rtype);
                let proof = match (said, no_data) {
                    // Some servers say NXDOMAIN for a name that has only names below it: the proof decides.
                    (Denial::NoName, Proof::Missing) => denials.no_name(name),
                    _ => no_data,
                };
                match proof {
                    Proof::Proven => Ok(found(said, Status::Secure, ttl)),
                    Proof::Unsigned => Ok(found(said, Status::Insecure, ttl)),
                    Proof::Missing => Err(Status::Bogus(Bogus::DenialUnproven)),
                }
            }
        }
    }

    async fn standing(&self, name: &Name, run: &mut Run) -> Standing {
        match &self.validation {
            Validation::Own(anchors) | Validation::Loopback(anchors) => {
                self.chain.standing(self, anchors, name, run).await
            }
            Validation::Off => Standing::Unsigned,
        }
    }
}

impl<T: Transport> Lookup for Resolver<T> {
    async fn lookup(&self, name: &Name, rtype: Rtype, now: SystemTime) -> Answer<Data> {
        let key = (name.clone(), rtype);
        if let Some((kept, left)) = self.answers.find(&key, now) {
            return Answer {
                ttl: left,
                ..Answer::clone(&kept)
            };
        }
        let mut run = Run::new(now, Arc::clone(&self.known));
        let answer = self
            .resolve(name, rtype, &mut run)
            .await
            .unwrap_or_else(Answer::unknown);
        let ttl = if answer.status.is_known() {
            answer.ttl
        } else {
            FAILURE_TTL
        };
        self.answers.keep(key, Arc::new(answer.clone()), now, ttl);
        answer
    }
}

fn read_all(set: &Rrset<'_>) -> Option<Vec<Data>> {
    set.records
        .iter()
        .map(|record| Data::read(set.rtype, &record.rdata))
        .collect()
}

/// Whether a reply says anything about the target of an alias; if not, it has to be asked for.
fn leads_on(reply: &Reply, target: &Name, rtype: Rtype) -> bool {
    reply.answer.iter().any(|record| {
        let owned =
            record.owner == *target && (record.rtype == rtype || record.rtype == Rtype::CNAME);
        let below = record.rtype == Rtype::DNAME
            && target.is_within(&record.owner)
            && *target != record.owner;
        owned || below
    })
}

/// The name a DNAME leads to (RFC 6672 2.2).
fn substitute(name: &Name, dname: &Record) -> Option<Name> {
    let Some(Data::Cname(target)) = Data::read(Rtype::CNAME, &dname.rdata) else {
        return None;
    };
    let kept = name.depth() - dname.owner.depth();
    let labels = name.labels();
    Name::from_labels(labels.into_iter().take(kept).chain(target.labels())).ok()
}

/// How long a denial may be kept by the SOA beside it (RFC 2308 5); a little while without one.
fn negative_ttl(reply: &Reply) -> Duration {
    const WITHOUT_SOA: u32 = 30;
    let seconds = reply
        .authority
        .iter()
        .filter(|record| record.rtype == Rtype::SOA)
        .filter_map(|record| {
            let minimum = u32::from_be_bytes(*record.rdata.last_chunk::<4>()?);
            Some(minimum.min(record.ttl))
        })
        .min();
    Duration::from_secs(seconds.unwrap_or(WITHOUT_SOA).into())
}
