//! The hellos of every tier but the lightest, in rounds: what is asked next depends on what was answered, and connections are few.
//!
//! Each line of questions has one that is open. A round asks those of all lines at once, first of the lines that tell most, until the
//! connections are used up. So the same server is asked the same, however fast its answers come. What tells least is asked when nothing else is
//! open.

use gatepost_trust::dns::together;
use gatepost_wire::tls::Offer;
use gatepost_wire::tls::suites::{self, Suite};

use super::examine::class_of;
use super::facts::{HelloAnswer, Seen};
use super::probes::control::{Ground, Reached};
use super::probes::{Errand, hello};
use super::rank::Rank;

/// A hello's name in the facts, and its answer.
pub(super) type Answered = (String, Seen<HelloAnswer>);

/// Asks, with so many connections at most.
pub(super) async fn run(errand: &Errand, ground: Ground, most: u32) -> Vec<Answered> {
    let mut asking = Asking {
        errand,
        left: most,
        keeps_one: false,
        has_handshake: ground.reached >= Reached::Handshake,
        found: Vec::new(),
    };
    asking
        .follow(vec![
            Box::new(Modern::default()),
            Box::new(Old::default()),
            Box::new(Class::new("weak", hello::is_weak)),
            Box::new(Ssl2::default()),
            Box::new(Class::new("legacy", hello::is_legacy)),
        ])
        .await;
    let last = asking.last(ground);
    asking.follow(last).await;
    asking.found
}

/// What is open.
struct Question {
    name: String,
    hello: Hello,
}

enum Hello {
    Tls(Box<Offer>),
    Ssl2,
}

/// Questions one after the other.
trait Line: Send + Sync {
    /// The one that is open, if there is one.
    fn open(&self, errand: &Errand) -> Option<Question>;
    /// Its answer. What is found is put down, and another question may be open.
    fn take(&mut self, answered: Answered, found: &mut Vec<Answered>);
}

struct Asking<'a> {
    errand: &'a Errand,
    left: u32,
    /// Whether a connection was closed without a word: one is kept to see whether others still get an answer.
    keeps_one: bool,
    has_handshake: bool,
    found: Vec<Answered>,
}

impl Asking<'_> {
    /// Rounds until nothing is open.
    async fn follow(&mut self, mut lines: Vec<Box<dyn Line>>) {
        loop {
            let errand = self.errand;
            let open = lines.iter_mut().filter_map(|line| {
                let question = line.open(errand)?;
                Some((line, question))
            });
            let mut asked: Vec<_> = open.collect();
            if asked.is_empty() {
                return;
            }
            let kept = u32::from(self.keeps_one && self.has_handshake);
            let most = self.left.saturating_sub(kept);
            let unasked = asked.split_off(asked.len().min(most as usize));
            self.left -= u32::try_from(asked.len()).unwrap_or(u32::MAX);
            let answers = together(asked.iter().map(|(_, it)| ask(errand, &it.hello))).await;
            for ((line, question), answer) in asked.into_iter().zip(answers) {
                self.keeps_one |= answer.known().is_some_and(|it| it.closed);
                line.take((question.name, answer), &mut self.found);
            }
            for (line, question) in unasked {
                let answer = Seen::unknown(errand.budget.used_up());
                line.take((question.name, answer), &mut self.found);
            }
        }
    }

    /// What tells least.
    fn last(&self, ground: Ground) -> Vec<Box<dyn Line>> {
        let (target, random) = (&self.errand.target, hello::random(&self.errand.nonce));
        let mut once = Vec::new();
        if ground.reached < Reached::Hybrid {
            once.push(("pq", hello::retry(target, random, &hello::HYBRID_GROUPS)));
        }
        once.push(("weak-signatures", hello::weak_signatures(target, random)));
        if let Some(suite) = self.suite("tls1.2") {
            let is_ecdsa = suite.authentication == "ECDSA";
            let other = hello::other_certificate(target, random, is_ecdsa);
            once.push(("other-certificate", other));
        }
        once.push(("scsv", hello::fallback(target, random)));
        let line = |(name, offer)| Box::new(Once(Some((name, offer)))) as Box<dyn Line>;
        once.into_iter().map(line).collect()
    }

    /// The suite that was taken from this hello.
    fn suite(&self, name: &str) -> Option<&'static Suite> {
        let (_, answer) = self.found.iter().find(|(it, _)| it == name)?;
        suites::suite(answer.known()?.suite?)
    }
}

async fn ask(errand: &Errand, hello: &Hello) -> Seen<HelloAnswer> {
    let _place = errand.crowd.enter().await;
    match hello {
        Hello::Tls(offer) => hello::ask(errand, offer).await,
        Hello::Ssl2 => hello::ask_ssl2(errand).await,
    }
}

fn tls(
    errand: &Errand,
    name: impl Into<String>,
    offer: fn(&super::target::Target, [u8; 32]) -> Offer,
) -> Question {
    Question {
        name: name.into(),
        hello: Hello::Tls(Box::new(offer(
            &errand.target,
            hello::random(&errand.nonce),
        ))),
    }
}

/// TLS 1.2 as it should be, with worse suites before the good ones; where a worse one is taken, without them.
#[derive(Default)]
enum Modern {
    #[default]
    Order,
    Good,
    Over,
}

impl Line for Modern {
    fn open(&self, errand: &Errand) -> Option<Question> {
        match self {
            Self::Order => Some(tls(errand, "order", hello::worst_first)),
            Self::Good => Some(tls(errand, "tls1.2", hello::modern)),
            Self::Over => None,
        }
    }

    fn take(&mut self, (name, mut answer): Answered, found: &mut Vec<Answered>) {
        let is_order = matches!(self, Self::Order);
        *self = if is_order && !is_settled(&answer) {
            Self::Good
        } else {
            Self::Over
        };
        if is_order && matches!(self, Self::Over) {
            found.push(("tls1.2".to_owned(), answer.clone()));
            // The answer stands twice, its certificates once.
            if let Seen::Known(answer) = &mut answer {
                answer.chain.clear();
            }
        }
        found.push((name, answer));
    }
}

/// Whether good suites alone would be answered as good and worse ones were: one of the good ones, or "no version of yours".
fn is_settled(answer: &Seen<HelloAnswer>) -> bool {
    answer.known().is_some_and(|it| {
        let rank = it.suite.and_then(Rank::of_number);
        rank == Some(Rank::Sound) || it.alert == Some(70)
    })
}

/// The newest old version; older ones by themselves only where that was taken, or refused in another way: a server that refuses TLS 1.1 by its
/// version (alert 70) refuses what is older.
#[derive(Default)]
struct Old(usize);

impl Line for Old {
    fn open(&self, errand: &Errand) -> Option<Question> {
        let (name, version) = *hello::OLD.get(self.0)?;
        let offer = hello::old(&errand.target, version, hello::random(&errand.nonce));
        Some(Question {
            name: name.to_owned(),
            hello: Hello::Tls(Box::new(offer)),
        })
    }

    fn take(&mut self, answered: Answered, found: &mut Vec<Answered>) {
        let by_version = answered.1.known().is_some_and(|it| it.alert == Some(70));
        self.0 = if by_version {
            hello::OLD.len()
        } else {
            self.0 + 1
        };
        found.push(answered);
    }
}

/// A class of suites, again and again without what was chosen, until it is refused.
struct Class {
    name: &'static str,
    wanted: fn(&Suite) -> bool,
    without: Vec<u16>,
    round: u32,
    is_over: bool,
}

impl Class {
    fn new(name: &'static str, wanted: fn(&Suite) -> bool) -> Self {
        Self {
            name,
            wanted,
            without: Vec::new(),
            round: 1,
            is_over: false,
        }
    }

    fn leave_out(&mut self, is_out: impl Fn(&Suite) -> bool) {
        let out = suites::all().iter().filter(|it| is_out(it));
        self.without.extend(out.map(|it| it.number));
    }
}

impl Line for Class {
    fn open(&self, errand: &Errand) -> Option<Question> {
        if self.is_over {
            return None;
        }
        let random = hello::random(&errand.nonce);
        let offer = hello::of_class(&errand.target, random, self.wanted, &self.without)?;
        let name = match self.round {
            1 => self.name.to_owned(),
            round => format!("{}-{round}", self.name),
        };
        Some(Question {
            name,
            hello: Hello::Tls(Box::new(offer)),
        })
    }

    fn take(&mut self, answered: Answered, found: &mut Vec<Answered>) {
        let answer = answered.1.known();
        let chosen = answer.and_then(|it| suites::suite(it.suite?));
        let may_be_parameters = answer.is_some_and(|it| it.closed)
            && !self.without.iter().any(|it| hello::is_finite_field(*it));
        match chosen {
            // All that is faulty in the way this one is, is known to be there.
            Some(suite) => self.leave_out(|it| is_as_bad(it, suite)),
            None if may_be_parameters => self.leave_out(|it| hello::is_finite_field(it.number)),
            None => self.is_over = true,
        }
        self.round += 1;
        found.push(answered);
    }
}

/// Whether what is to be told of one suite is told with another.
fn is_as_bad(suite: &Suite, known: &Suite) -> bool {
    let (class, known_class) = (class_of(suite), class_of(known));
    class == known_class || (class == "CBC" && is_cbc(known))
}

/// Whether a suite that is neither good nor forbidden has CBC, whatever else is to be said of it.
pub(super) fn is_cbc(suite: &Suite) -> bool {
    suite.is_cbc() && matches!(class_of(suite), "kRSA" | "DHE" | "CBC")
}

/// SSL 2 (RFC 6176).
#[derive(Default)]
struct Ssl2 {
    is_over: bool,
}

impl Line for Ssl2 {
    fn open(&self, _: &Errand) -> Option<Question> {
        (!self.is_over).then(|| Question {
            name: "ssl2".to_owned(),
            hello: Hello::Ssl2,
        })
    }

    fn take(&mut self, answered: Answered, found: &mut Vec<Answered>) {
        self.is_over = true;
        found.push(answered);
    }
}

/// One question.
struct Once(Option<(&'static str, Offer)>);

impl Line for Once {
    fn open(&self, _: &Errand) -> Option<Question> {
        let (name, offer) = self.0.clone()?;
        Some(Question {
            name: name.to_owned(),
            hello: Hello::Tls(Box::new(offer)),
        })
    }

    fn take(&mut self, answered: Answered, found: &mut Vec<Answered>) {
        self.0 = None;
        found.push(answered);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(change: impl FnOnce(&mut HelloAnswer)) -> Seen<HelloAnswer> {
        let mut answer = HelloAnswer::default();
        change(&mut answer);
        Seen::Known(answer)
    }

    fn errand() -> Errand {
        use crate::check::probes::lab;
        use crate::check::target::{Protocol, Start};
        lab::errand(1, Protocol::Smtp, Start::Implicit)
    }

    /// The names a line asks for where these are the answers.
    fn names(mut line: impl Line, answers: Vec<Seen<HelloAnswer>>) -> Vec<String> {
        let (errand, mut found) = (errand(), Vec::new());
        for answer in answers {
            let Some(question) = line.open(&errand) else {
                break;
            };
            line.take((question.name, answer), &mut found);
        }
        let over = line.open(&errand).map_or("over".to_owned(), |it| it.name);
        let names = found.into_iter().map(|(name, _)| name);
        names.chain([over]).collect()
    }

    #[test]
    fn a_class_is_asked_until_it_is_refused() {
        let legacy = || Class::new("legacy", hello::is_legacy);
        let took = |suite| answer(|it| (it.version, it.suite) = (Some(0x0303), Some(suite)));
        let refused = || answer(|it| it.alert = Some(40));
        let asked = names(legacy(), vec![took(0x002f), refused()]);
        assert_eq!(asked, ["legacy", "legacy-2", "over"]);
        let closed = || answer(|it| it.closed = true);
        // Once more without finite fields, and that is enough.
        let asked = names(legacy(), vec![closed(), closed(), refused()]);
        assert_eq!(asked, ["legacy", "legacy-2", "over"]);
    }

    #[test]
    fn cbc_without_forward_secrecy_tells_both() {
        let suite = |number| suites::suite(number).unwrap();
        let (rsa_cbc, ecdhe_cbc, rsa_gcm) = (suite(0x002f), suite(0xc013), suite(0x009c));
        assert!(is_as_bad(ecdhe_cbc, rsa_cbc) && is_as_bad(rsa_gcm, rsa_cbc));
        assert!(!is_as_bad(ecdhe_cbc, rsa_gcm) && !is_as_bad(rsa_cbc, ecdhe_cbc));
        assert!(is_cbc(rsa_cbc) && is_cbc(ecdhe_cbc) && !is_cbc(rsa_gcm));
    }

    #[test]
    fn older_versions_are_asked_for_unless_they_are_refused_as_such() {
        let by_version = || answer(|it| it.alert = Some(70));
        let otherwise = || answer(|it| it.alert = Some(40));
        assert_eq!(
            names(Old::default(), vec![by_version()]),
            ["tls1.1", "over"]
        );
        let all = names(Old::default(), vec![otherwise(), otherwise(), otherwise()]);
        assert_eq!(all, ["tls1.1", "tls1.0", "ssl3", "over"]);
    }

    #[tokio::test]
    async fn what_tells_least_is_left_unasked_first() {
        let errand = errand();
        let ground = Ground {
            reached: Reached::Tls,
            has_ntlm: false,
            wait: std::time::Duration::ZERO,
        };
        let unasked = |found: &[Answered]| {
            let open = found.iter().filter(
                |(_, it)| matches!(it, Seen::Unknown { why, .. } if why.contains("used up")),
            );
            open.map(|(name, _)| name.clone()).collect::<Vec<_>>()
        };
        // Nobody listens there: the first connection ends it, and what is beyond the budget is not even tried.
        let found = run(&errand, ground, 3).await;
        let open = unasked(&found);
        assert!(
            open.starts_with(&["ssl2".to_owned(), "legacy".to_owned()]),
            "{open:?}"
        );
        assert!(
            open.ends_with(&[
                "pq".to_owned(),
                "weak-signatures".to_owned(),
                "scsv".to_owned()
            ]),
            "{open:?}"
        );
        assert!(errand.budget.made() <= 3);
    }
}
