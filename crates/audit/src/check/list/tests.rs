use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;

use super::local::{Local, Sink};
use super::state::Progress;
use super::*;
use crate::check::document::Judged;
use crate::check::facts::Reach;
use crate::check::samples;
use crate::finding::Status;

/// A world in which a line is `HOST` or `HOST HOST …`, `nobody` does not exist, and every examination is counted.
#[derive(Clone, Default)]
struct Small {
    examined: Arc<Mutex<Vec<String>>>,
    looked_up: Arc<AtomicU64>,
    /// Lines that are being looked up, and the most there were.
    looking: Arc<AtomicU64>,
    most: Arc<AtomicU64>,
}

impl World for Small {
    type Looked = Vec<String>;

    async fn look_up(&self, line: &str) -> Result<Vec<String>, String> {
        self.looked_up.fetch_add(1, Ordering::SeqCst);
        let now = self.looking.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        tokio::task::yield_now().await;
        self.looking.fetch_sub(1, Ordering::SeqCst);
        assert_ne!(line, "bomb");
        if line == "nobody" {
            return Err("nobody has no address".to_owned());
        }
        Ok(line.split(' ').map(str::to_owned).collect())
    }

    fn targets(&self, looked: &Vec<String>) -> Vec<Target> {
        let here = |host: &String| Target {
            address: "127.0.0.1".parse().unwrap(),
            ..samples::target(host, 25)
        };
        looked.iter().map(here).collect()
    }

    fn weight(&self, _: &Vec<String>) -> usize {
        100
    }

    async fn examine(&self, target: &Target) -> Facts {
        self.examined.lock().unwrap().push(target.host.clone());
        tokio::task::yield_now().await;
        let mut facts = Facts::new(target.clone(), 1, Reach::Connected { milliseconds: 1 });
        facts.connections = 1;
        facts
    }

    fn blank(&self) -> Report {
        Report {
            domains: Vec::new(),
            targets: Vec::new(),
            ..samples::report()
        }
    }

    fn report(&self, _: &Vec<String>, services: &[Arc<Facts>]) -> Report {
        let judge = |facts: &Arc<Facts>| Judged {
            target: facts.target.clone(),
            connections: facts.connections,
            checks: vec![samples::check("STLS-001", Status::Pass, Severity::High, "")],
        };
        Report {
            domains: Vec::new(),
            targets: services.iter().map(judge).collect(),
            ..samples::report()
        }
    }
}

#[derive(Default)]
struct Kept(Vec<Value>);

impl Sink for Kept {
    fn done(&mut self, document: &Value, _: &Progress) -> io::Result<()> {
        self.0.push(document.clone());
        Ok(())
    }
}

async fn work(
    world: &Small,
    text: &str,
    progress: &mut Progress,
) -> (Result<(), Ended>, Vec<Value>) {
    let plan = Plan {
        lines: 3,
        ..Plan::default()
    };
    work_as(plan, world, text, progress).await
}

async fn work_as(
    plan: Plan,
    world: &Small,
    text: &str,
    progress: &mut Progress,
) -> (Result<(), Ended>, Vec<Value>) {
    let (sender, lines) = mpsc::channel(4);
    let text = text.to_owned();
    let feeding = tokio::spawn(async move {
        for line in text.lines() {
            if sender.send(Ok(line.to_owned())).await.is_err() {
                return;
            }
        }
    });
    let mut kept = Kept::default();
    let ended = tokio::time::timeout(
        Duration::from_secs(60),
        run(
            world.clone(),
            plan,
            &mut Local::new(lines, progress, &mut kept),
        ),
    )
    .await
    .unwrap();
    feeding.await.unwrap();
    kept.0.sort_by_key(|it| it["line"].as_u64());
    (ended, kept.0)
}

#[tokio::test]
async fn every_line_is_a_document_and_nobody_is_asked_twice() {
    let (world, mut progress) = (Small::default(), Progress::new());
    let (ended, documents) =
        work(&world, "a\n# words\n\nb a\nnobody\na\nc b\n", &mut progress).await;
    ended.unwrap();
    let lines: Vec<(u64, &str)> = documents
        .iter()
        .map(|it| (it["line"].as_u64().unwrap(), it["input"].as_str().unwrap()))
        .collect();
    assert_eq!(
        lines,
        [(1, "a"), (4, "b a"), (5, "nobody"), (6, "a"), (7, "c b")]
    );
    let mut examined = world.examined.lock().unwrap().clone();
    examined.sort();
    assert_eq!(examined, ["a", "b", "c"]);
    assert_eq!(world.looked_up.load(Ordering::SeqCst), 4);
    assert_eq!(documents[2]["trouble"], "nobody has no address");
    assert_eq!(
        (documents[2]["exit"].as_u64(), documents[0]["exit"].as_u64()),
        (Some(3), Some(0))
    );
    // In the order of the targets.
    assert_eq!(documents[1]["targets"][0]["host"], "b");
    let summary = &progress.summary;
    assert_eq!(
        (
            summary.lines,
            summary.good,
            summary.unclear,
            summary.connections,
            summary.services
        ),
        (5, 4, 1, 3, 6)
    );
    assert_eq!(
        (progress.read, progress.done, progress.beyond.len()),
        (7, 7, 0)
    );
}

#[tokio::test]
async fn fewer_lines_are_looked_up_at_once_than_are_under_way() {
    let (world, mut progress) = (Small::default(), Progress::new());
    let plan = Plan {
        lines: 40,
        look_ups: 2,
        ..Plan::default()
    };
    let names: Vec<String> = (0..200).map(|it| format!("h{it}")).collect();
    let (ended, documents) = work_as(plan, &world, &names.join("\n"), &mut progress).await;
    ended.unwrap();
    assert_eq!(documents.len(), 200);
    assert_eq!(world.most.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn an_examination_that_broke_off_is_told_and_hides_no_line() {
    let (world, mut progress) = (Small::default(), Progress::new());
    let (ended, documents) = work(&world, "a\nbomb\nb\n", &mut progress).await;
    ended.unwrap();
    assert_eq!(documents.len(), 3);
    assert_eq!(documents[1]["input"], "bomb");
    assert!(documents[1]["trouble"].as_str().unwrap().contains("fault"));
    assert_eq!((progress.done, progress.summary.unclear), (3, 1));
}

#[tokio::test]
async fn what_is_done_is_not_done_again() {
    let (world, mut progress) = (Small::default(), Progress::new());
    work(&world, "a\nb\nc\n", &mut progress).await.0.unwrap();
    let mut back = Progress::read_back(&progress.to_json()).unwrap();
    // As if the run had ended while line 2 was under way.
    back.done = 1;
    back.beyond.insert(3);
    let again = Small::default();
    let (ended, documents) = work(&again, "a\nb\nc\nd\n", &mut back).await;
    ended.unwrap();
    let lines: Vec<u64> = documents
        .iter()
        .filter_map(|it| it["line"].as_u64())
        .collect();
    assert_eq!(lines, [2, 4]);
    assert_eq!(back.done, 4);
}

#[tokio::test]
async fn a_list_that_changed_is_refused_before_anything_is_asked() {
    let (world, mut progress) = (Small::default(), Progress::new());
    work(&world, "a\nb\nc\n", &mut progress).await.0.unwrap();
    progress.done = 1;
    for text in ["a\nx\nc\n", "a\nb\n"] {
        let again = Small::default();
        let (ended, documents) = work(&again, text, &mut progress.clone()).await;
        assert!(
            matches!(ended, Err(Ended::State(Unusable::OtherList))),
            "{text}"
        );
        assert!(
            documents.is_empty() && again.examined.lock().unwrap().is_empty(),
            "{text}"
        );
    }
}

#[tokio::test]
async fn a_list_that_cannot_be_read_ends_it() {
    let (sender, lines) = mpsc::channel(4);
    sender.send(Err(io::Error::other("disk"))).await.unwrap();
    let ended = run(
        Small::default(),
        Plan::default(),
        &mut Local::new(lines, &mut Progress::new(), &mut Kept::default()),
    )
    .await;
    assert!(matches!(ended, Err(Ended::Reading(_))));
}

/// What this process holds in memory, in octets. None where the system does not say.
fn resident() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|it| it.strip_prefix("VmRSS:"))?;
    let kilobytes: usize = line.trim().split(' ').next()?.parse().ok()?;
    Some(kilobytes * 1024)
}

/// A world whose services have much to say.
#[derive(Clone, Default)]
struct Wordy(Small);

impl World for Wordy {
    type Looked = Vec<String>;

    async fn look_up(&self, line: &str) -> Result<Vec<String>, String> {
        Ok(vec![line.to_owned()])
    }

    fn targets(&self, looked: &Vec<String>) -> Vec<Target> {
        self.0.targets(looked)
    }

    fn weight(&self, looked: &Vec<String>) -> usize {
        self.0.weight(looked)
    }

    async fn examine(&self, target: &Target) -> Facts {
        let mut facts = Facts::new(target.clone(), 1, Reach::Connected { milliseconds: 1 });
        facts.transcript = vec!["S: 250 whatever a server says".repeat(4); 40];
        facts.connections = 1;
        let answer = crate::check::facts::HelloAnswer {
            chain: vec!["QUJD".repeat(1500)],
            ..crate::check::facts::HelloAnswer::default()
        };
        facts.hellos.insert(
            "tls1.2".to_owned(),
            crate::check::facts::Seen::Known(answer),
        );
        facts
    }

    fn blank(&self) -> Report {
        self.0.blank()
    }

    fn report(&self, _: &Vec<String>, _: &[Arc<Facts>]) -> Report {
        self.0.blank()
    }
}

/// Takes note of memory when so many lines are done.
struct Scales {
    first: u64,
    begin: Option<usize>,
}

impl Sink for Scales {
    fn done(&mut self, _: &Value, progress: &Progress) -> io::Result<()> {
        if progress.summary.lines == self.first {
            self.begin = resident();
        }
        Ok(())
    }
}

#[tokio::test]
async fn memory_does_not_grow_with_the_list() {
    let (sender, lines) = mpsc::channel(64);
    tokio::spawn(async move {
        for number in 0..20_000 {
            let line = Ok(format!("host{number}.example.test"));
            if sender.send(line).await.is_err() {
                return;
            }
        }
    });
    let mut scales = Scales {
        first: 4_000,
        begin: None,
    };
    let mut progress = Progress::new();
    let plan = Plan {
        lines: 64,
        ..Plan::default()
    };
    let mut ledger = Local::new(lines, &mut progress, &mut scales);
    run(Wordy::default(), plan, &mut ledger).await.unwrap();
    assert_eq!(progress.summary.lines, 20_000);
    let (Some(begin), Some(end)) = (scales.begin, resident()) else {
        eprintln!("skipped: the system does not say how much memory this takes");
        return;
    };
    // Kept whole, sixteen thousand services would take 160 MiB; other tests of this program take some meanwhile.
    let grown = end.saturating_sub(begin) >> 20;
    assert!(
        grown < 48,
        "{grown} MiB more after 20,000 lines than after 4,000"
    );
}
