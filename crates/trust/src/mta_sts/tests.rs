use std::collections::HashMap;
use std::pin::pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Waker};

use super::*;
use crate::dns::{Answer, Data, Denial, Indeterminate, Rtype};

const DAY: Duration = Duration::from_secs(86_400);
const GOOD: &str =
    "version: STSv1\nmode: enforce\nmx: mx.example\nmx: *.mail.example\nmax_age: 604800\n";

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + 20_000 * DAY
}

/// Nothing here ever waits.
fn run<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => done,
        Poll::Pending => panic!("a table does not wait"),
    }
}

/// DNS and HTTPS as the test says.
struct World {
    txt: Mutex<Option<Vec<String>>>,
    body: Mutex<Result<String, FetchError>>,
    fetches: AtomicU32,
}

impl World {
    fn new(id: &str, body: &str) -> Self {
        Self {
            txt: Mutex::new(Some(vec![format!("v=STSv1; id={id};")])),
            body: Mutex::new(Ok(body.into())),
            fetches: AtomicU32::new(0),
        }
    }

    fn find(&self, cache: &Cache, now: SystemTime) -> Found {
        run(find(self, self, cache, &name("example"), now))
    }

    fn set_txt(&self, txt: Option<&str>) {
        *self.txt.lock().unwrap() = txt.map(|txt| vec![txt.into()]);
    }

    fn set_body(&self, body: Result<&str, FetchError>) {
        *self.body.lock().unwrap() = body.map(Into::into);
    }

    fn fetches(&self) -> u32 {
        self.fetches.load(Ordering::Relaxed)
    }
}

impl Lookup for World {
    async fn lookup(&self, asked: &Name, rtype: Rtype, _: SystemTime) -> Answer<Data> {
        assert_eq!(rtype, Rtype::TXT);
        let texts = if *asked == name("_mta-sts.example") {
            self.txt.lock().unwrap().clone()
        } else {
            Some(Vec::new())
        };
        let Some(texts) = texts else {
            return Answer::unknown(Status::Indeterminate(Indeterminate::Unreachable));
        };
        let texts: Vec<_> = texts
            .into_iter()
            .map(|text| Data::Txt(vec![text.into_bytes()]))
            .collect();
        Answer {
            status: Status::Insecure,
            denial: texts.is_empty().then_some(Denial::NoData),
            records: texts,
            aliases: Vec::new(),
            ttl: DAY,
        }
    }
}

impl Fetch for World {
    async fn fetch(&self, host: &Name) -> Result<Vec<u8>, FetchError> {
        assert_eq!(*host, name("mta-sts.example"));
        self.fetches.fetch_add(1, Ordering::Relaxed);
        self.body.lock().unwrap().clone().map(String::into_bytes)
    }
}

/// The texts at `_mta-sts`, and what they say.
type Case = (&'static [&'static str], Result<Option<Id>, RecordError>);

// [STS-01] the corpus of records
#[test]
fn records_are_read_as_the_grammar_says() {
    let id = |text: &str| Ok(Some(Id::new(text).unwrap()));
    let cases: &[Case] = &[
        (&["v=STSv1; id=20160831085700Z;"], id("20160831085700Z")),
        (&["v=STSv1;id=1"], id("1")),
        (&["v=STSv1 ; \t id=1 ; x=y ; "], id("1")),
        (&["v=spf1 -all", "v=STSv1; id=1"], id("1")),
        (&["v=STSv1; future=a b; id=1"], id("1")),
        (&[], Ok(None)),
        (&["v=STSv2; id=1"], Ok(None)),
        (&["v=STSv1"], Ok(None)),
        (&[" v=STSv1; id=1"], Ok(None)),
        (&["V=STSV1; id=1"], Ok(None)),
        (&["id=1; v=STSv1;"], Ok(None)),
        (
            &["v=STSv1; id=1", "v=STSv1; id=1"],
            Err(RecordError::Several),
        ),
        (&["v=STSv1;"], Err(RecordError::Id)),
        (&["v=STSv1; id="], Err(RecordError::Id)),
        (&["v=STSv1; id=a-b"], Err(RecordError::Id)),
        (
            &["v=STSv1; id=012345678901234567890123456789012"],
            Err(RecordError::Id),
        ),
        (&["v=STSv1; id=1; id=2"], Err(RecordError::Id)),
        (&["v=STSv1; nonsense"], Err(RecordError::Syntax)),
        (&["v=STSv1; =1; id=1"], Err(RecordError::Syntax)),
    ];
    for (texts, expected) in cases {
        let octets: Vec<_> = texts.iter().map(|text| text.as_bytes().to_vec()).collect();
        assert_eq!(find_record(&octets), *expected, "{texts:?}");
    }
}

// [STS-03] the corpus of policies
#[test]
fn policies_are_read_as_the_grammar_says() {
    let policy = Policy::parse(GOOD.as_bytes()).unwrap();
    assert_eq!(policy.mode, Mode::Enforce);
    assert_eq!(policy.max_age, 7 * DAY);
    assert_eq!(policy.mx.len(), 2);
    let crlf = GOOD.replace('\n', "\r\n");
    assert_eq!(Policy::parse(crlf.as_bytes()), Ok(policy.clone()));
    let more = format!("{GOOD}mode: none\nmax_age: 1\nx-new: thing: other\n\n");
    assert_eq!(
        Policy::parse(more.as_bytes()),
        Ok(policy),
        "the first of duplicates wins"
    );
    let none = "version:STSv1\nmode :none\nmax_age:  31557600";
    assert_eq!(
        Policy::parse(none.as_bytes()).map(|it| it.mode),
        Ok(Mode::None)
    );

    let wrong = [
        ("version: STSv1", "version: STSv2", PolicyError::Version),
        ("version: STSv1\n", "", PolicyError::Version),
        ("enforce", "Enforce", PolicyError::Mode),
        ("mode: enforce\n", "", PolicyError::Mode),
        ("max_age: 604800\n", "", PolicyError::MaxAge),
        ("604800", "31557601", PolicyError::MaxAge),
        ("604800", "-1", PolicyError::MaxAge),
        ("604800", "1e3", PolicyError::MaxAge),
        ("mx: mx.example\nmx: *.mail.example\n", "", PolicyError::Mx),
        ("*.mail", "*.*.mail", PolicyError::Mx),
        ("*.mail", "m*.mail", PolicyError::Mx),
        ("mx.example", "", PolicyError::Mx),
        ("mx.example", "mx..example", PolicyError::Mx),
        ("mode: enforce", "mode enforce", PolicyError::Syntax),
        (
            "version: STSv1",
            "<html>\nversion: STSv1",
            PolicyError::Syntax,
        ),
    ];
    for (from, to, error) in wrong {
        assert_eq!(
            Policy::parse(GOOD.replacen(from, to, 1).as_bytes()),
            Err(error),
            "{from} {to}"
        );
    }
    assert_eq!(
        Policy::parse(b"version: STSv1\xff"),
        Err(PolicyError::Syntax)
    );
}

// [STS-06] a star stands for exactly one label
#[test]
fn hosts_fit_patterns_label_by_label() {
    let policy = Policy::parse(GOOD.as_bytes()).unwrap();
    for listed in ["mx.example", "MX.Example.", "a.mail.example"] {
        assert!(policy.lists(&name(listed)), "{listed}");
    }
    for other in [
        "mail.example",
        "a.b.mail.example",
        "amail.example",
        "mx.example.com",
        "example",
    ] {
        assert!(!policy.lists(&name(other)), "{other}");
    }
}

// [STS-04] kept until max_age, whatever the record says; a new id fetches anew
#[test]
fn a_policy_stays_until_it_runs_out() {
    let (world, cache) = (World::new("1", GOOD), Cache::new(10));
    let enforced = world.find(&cache, now());
    assert_eq!(
        enforced.fact(&name("mx.example")),
        StsFact::Enforce { listed: true }
    );
    assert_eq!(
        enforced.fact(&name("evil.example")),
        StsFact::Enforce { listed: false }
    );
    assert_eq!(world.find(&cache, now()), enforced);
    assert_eq!(world.fetches(), 1, "the same id is not fetched twice");

    world.set_body(Err(FetchError::Unreachable));
    *world.txt.lock().unwrap() = Some(Vec::new());
    assert_eq!(
        world.find(&cache, now() + 6 * DAY),
        enforced,
        "the record is gone"
    );
    world.set_txt(None);
    let unknown = world.find(&cache, now() + 6 * DAY);
    assert_eq!(unknown.policy, enforced.policy, "DNS fails");
    assert!(matches!(unknown.problem, Some(Problem::Lookup(_))));
    world.set_txt(Some("v=STSv1; id=2"));
    let failed = world.find(&cache, now() + 6 * DAY);
    assert_eq!(
        failed.policy, enforced.policy,
        "the new policy cannot be fetched"
    );
    assert_eq!(
        failed.problem,
        Some(Problem::Fetch(FetchError::Unreachable))
    );

    world.set_body(Ok("version: STSv1\nmode: none\nmax_age: 86400\n"));
    let later = now() + 6 * DAY + Duration::from_secs(301);
    assert_eq!(
        world.find(&cache, later).fact(&name("mx.example")),
        StsFact::Absent
    );
    *world.txt.lock().unwrap() = Some(Vec::new());
    assert_eq!(world.find(&cache, later + DAY).policy, None, "it ran out");
}

// [STS-09] after a failure the same id is left alone for five minutes; another is fetched
#[test]
fn a_failed_fetch_is_not_repeated_at_once() {
    let (world, cache) = (World::new("1", "nonsense"), Cache::new(10));
    assert_eq!(
        world.find(&cache, now()).problem,
        Some(Problem::Policy(PolicyError::Syntax))
    );
    let soon = now() + Duration::from_secs(299);
    assert_eq!(world.find(&cache, soon).problem, Some(Problem::BackedOff));
    assert_eq!(world.fetches(), 1);
    world.set_txt(Some("v=STSv1; id=2"));
    assert!(world.find(&cache, soon).problem.is_some());
    assert_eq!((world.fetches(), cache.failures(&name("example"))), (2, 2));
    world.set_body(Ok(GOOD));
    assert!(
        world
            .find(&cache, soon + Duration::from_secs(300))
            .policy
            .is_some()
    );
    assert_eq!(cache.failures(&name("example")), 0);
}

// [STS-09] what is in use is fetched anew every day, and failures are told with their number; mode none is left alone
#[test]
fn policies_are_refreshed_daily() {
    let (world, cache) = (World::new("1", GOOD), Cache::new(10));
    world.find(&cache, now());
    assert_eq!(run(refresh(&world, &world, &cache, now() + DAY / 2)), []);
    assert_eq!(world.fetches(), 1);
    assert_eq!(run(refresh(&world, &world, &cache, now() + DAY)), []);
    assert_eq!(world.fetches(), 2);
    world.set_body(Err(FetchError::Status(404)));
    let problem = Problem::Fetch(FetchError::Status(404));
    for times in 1..=2 {
        let failed = run(refresh(&world, &world, &cache, now() + (times + 1) * DAY));
        assert_eq!(failed, [(name("example"), problem, times)]);
    }
    world.set_body(Ok("version: STSv1\nmode: none\nmax_age: 604800\n"));
    world.find(&cache, now() + 4 * DAY);
    assert_eq!(run(refresh(&world, &world, &cache, now() + 6 * DAY)), []);
    assert_eq!(world.fetches(), 5);
}

// [STS-02] more than the limit is no policy, even if the fetcher let it through
#[test]
fn a_policy_that_is_too_long_is_refused() {
    let long = format!("{GOOD}x: {}\n", "y".repeat(MAX_POLICY));
    let found = World::new("1", &long).find(&Cache::new(10), now());
    assert_eq!(found.problem, Some(Problem::Fetch(FetchError::TooLarge)));
    assert_eq!(found.policy, None);
}

// [STS-08] testing and none
#[test]
fn modes_are_told_apart() {
    let testing = GOOD.replace("enforce", "testing");
    let found = World::new("1", &testing).find(&Cache::new(10), now());
    assert_eq!(
        found.fact(&name("mx.example")),
        StsFact::Testing { listed: true }
    );
    assert_eq!(
        found.fact(&name("evil.example")),
        StsFact::Testing { listed: false }
    );
    let none = GOOD.replace("enforce", "none");
    let found = World::new("1", &none).find(&Cache::new(10), now());
    assert_eq!(found.fact(&name("evil.example")), StsFact::Absent);
}

#[test]
fn the_cache_survives_a_restart() {
    let (world, cache) = (World::new("1", GOOD), Cache::new(10));
    let found = world.find(&cache, now());
    let text = cache.save(now());
    assert_eq!(text.lines().count(), 1);
    let loaded = Cache::load(&text, 10, now()).unwrap();
    assert_eq!(loaded.policy(&name("example"), now()), found.policy);
    assert_eq!(loaded.save(now()), text);
    let late = Cache::load(&text, 10, now() + 8 * DAY).unwrap();
    assert_eq!(late.policy(&name("example"), now()), None);
    assert_eq!(
        Cache::load("x", 10, now()).err(),
        Some(CacheError { line: 1 })
    );
}

#[test]
fn the_cache_holds_its_bound() {
    let cache = Cache::new(3);
    let policy = Policy::parse(GOOD.as_bytes()).unwrap();
    let mut kept = HashMap::new();
    for number in 0..10u32 {
        let domain = name(&format!("d{number}.example"));
        let fetched = now() + number * Duration::from_secs(1);
        cache.keep(&domain, Id::new("1").unwrap(), policy.clone(), fetched);
        cache.note_failure(&name("failing.example"), Id::new("1").unwrap(), fetched);
        kept.insert(domain, fetched);
    }
    let late = now() + DAY;
    let left = kept
        .keys()
        .filter(|domain| cache.policy(domain, late).is_some())
        .count();
    assert_eq!(left, 3.min(left));
    assert!(cache.policy(&name("d9.example"), late).is_some());
}

// [STS-05] the policy of a parent says nothing about a domain below it
#[test]
fn policies_are_not_inherited() {
    let (world, cache) = (World::new("1", GOOD), Cache::new(10));
    assert!(world.find(&cache, now()).policy.is_some());
    let below = run(find(&world, &world, &cache, &name("sub.example"), now()));
    assert_eq!(
        (below.policy, below.problem, world.fetches()),
        (None, None, 1)
    );
}
