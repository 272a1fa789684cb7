//! The mailbox beside Dovecot's, with Maildir and with sdbox, on one disk in one run: opening, flags, bodies, search, moving, durable
//! APPEND and delivery, and what it all takes on the disk.
//!
//! Every server gets the same letters ([`letters`]), one large mailbox and one of a tenth. What one client does is timed from the
//! first octet of the command to the last of the answer, with the answer read and forgotten; a count that is not what was put in
//! withdraws the figure.

mod letters;
mod session;
mod subject;
mod writing;

use std::sync::Arc;

use rustls::ClientConfig;

use self::letters::{
    FREQUENT, FREQUENT_EVERY, FREQUENT_SUBJECT, Maildir, RARE, RARE_LETTERS, RARE_SUBJECT,
    message_id,
};
use self::session::Session;
use self::subject::Subject;
use crate::Bench;
use crate::fault::Fault;
use crate::load::count;
use crate::peer::dovecot_store::Format;
use crate::process;
use crate::report::{Figure, Goal, Report};
use crate::sample::Sample;
use crate::tls::{self, Group};

/// The large mailbox.
const LARGE: &str = "Large";
/// The small one, a tenth of it.
const SMALL: &str = "Small";
/// Goals in milliseconds: SELECT with everything in memory, and after a start with nothing.
const WARM_MILLIS: f64 = 10.0;
const COLD_MILLIS: f64 = 50.0;
/// Goal in milliseconds: MOVE of the small mailbox.
const MOVE_MILLIS: f64 = 1000.0;
/// Goals beside Dovecot.
const TIMES_BODIES: f64 = 4.0;
/// Goal of the disk, beside the mail's own size.
const DISK: f64 = 1.15;
/// The small mailbox is fetched so often in one run that its CPU can be read.
const FETCHES: u32 = 5;

/// Measures all servers, interleaved run by run.
pub(crate) fn measure(bench: &Bench<'_>, report: &mut Report) {
    let large = bench.plan.messages;
    report.section(
        "mailbox",
        &format!("{large} messages of 10 KiB, IMAP over implicit TLS"),
    );
    if let Err(fault) = compare(bench, report) {
        report.skip("mailbox", &fault.to_string());
    }
}

fn compare(bench: &Bench<'_>, report: &mut Report) -> Result<(), Fault> {
    let letters = bench.work.join("letters");
    let large = Maildir::make(&letters.join(LARGE), bench.plan.messages)?;
    let small = Maildir::make(&letters.join(SMALL), (bench.plan.messages / 10).max(1))?;
    let mail = [(LARGE, &large), (SMALL, &small)];
    let mut subjects = Vec::new();
    for (name, subject) in [
        ("gatepost", Subject::gatepost(bench, &mail)),
        (
            "dovecot, Maildir",
            Subject::dovecot(bench, Format::Maildir, &mail),
        ),
        (
            "dovecot, sdbox",
            Subject::dovecot(bench, Format::Sdbox, &mail),
        ),
    ] {
        match subject {
            Ok(subject) => subjects.push(subject),
            Err(fault) => report.skip(name, &fault.to_string()),
        }
    }
    bench.discard("letters");
    let client = tls::load_client(&bench.identity, tls::provider(Group::X25519))?;
    let mut all = Comparison {
        bench,
        report,
        subjects,
        client,
        large,
        small,
    };
    all.brought();
    all.select();
    all.flags();
    all.bodies();
    all.search();
    all.moving();
    writing::measure(&mut all);
    Ok(())
}

/// Everything a measurement takes.
struct Comparison<'a, 'b> {
    bench: &'a Bench<'b>,
    report: &'a mut Report,
    subjects: Vec<Subject>,
    client: Arc<ClientConfig>,
    large: Maildir,
    small: Maildir,
}

impl Comparison<'_, '_> {
    /// One quantity of every server, `runs` times, interleaved; a server that fails is skipped. The first figure is gatepost's when
    /// it is there.
    fn each(
        &mut self,
        (what, unit): (&str, &'static str),
        runs: u32,
        mut once: impl FnMut(&Bench<'_>, &mut Subject, &Arc<ClientConfig>) -> Result<f64, Fault>,
    ) -> Vec<Figure> {
        let mut values: Vec<Result<Vec<f64>, Fault>> =
            self.subjects.iter().map(|_| Ok(Vec::new())).collect();
        for _ in 0..runs {
            for (subject, values) in self.subjects.iter_mut().zip(&mut values) {
                if let Ok(list) = values {
                    match once(self.bench, subject, &self.client) {
                        Ok(value) => list.push(value),
                        Err(fault) => *values = Err(fault),
                    }
                }
            }
        }
        let mut figures = Vec::new();
        for (subject, values) in self.subjects.iter().zip(values) {
            match values.and_then(|values| Sample::new(values).ok_or(Fault::Late(subject.name))) {
                Ok(sample) => figures.push(self.report.figure(subject.name, what, unit, &sample)),
                Err(fault) => self
                    .report
                    .skip(&format!("{}, {what}", subject.name), &fault.to_string()),
            }
        }
        figures
    }

    /// gatepost's figure beside each of the others'.
    fn beside(&mut self, figures: &[Figure], goal: Goal) {
        if let [ours, theirs @ ..] = figures
            && ours.is_of("gatepost")
        {
            for theirs in theirs {
                self.report.ratio(ours, theirs, goal);
            }
        }
    }

    /// gatepost's figure beside a limit.
    fn within(&mut self, figures: &[Figure], limit: f64) {
        if let Some(ours) = figures.iter().find(|figure| figure.is_of("gatepost")) {
            self.report.ratio_to_limit(ours, limit);
        }
    }

    /// How fast the letters came in, and what they take.
    fn brought(&mut self) {
        let of_mail = count(self.large.octets + self.small.octets);
        self.report.note(&format!(
            "a letter has {:.0} octets on average, all text",
            self.large.mean()
        ));
        self.each(
            ("import or copy of both mailboxes", "/s"),
            1,
            |_, subject, _| Ok(subject.filled),
        );
        self.each(("until all is done behind it", "s"), 1, |_, subject, _| {
            Ok(subject.settled.as_secs_f64())
        });
        let disk = self.each(("disk, times the mail's size", "x"), 1, |_, subject, _| {
            Ok(count(subject.disk()?) / of_mail)
        });
        self.within(&disk, DISK);
    }

    fn select(&mut self) {
        let letters = u64::from(self.large.letters);
        let select = move |subject: &Subject, client: &_| {
            let mut session = Session::open(subject.imaps, client)?;
            let answer = session.command(&format!("SELECT {LARGE}"))?;
            let status = session.command("FETCH * (UID)")?;
            // The last message there is answered for: the mailbox was not empty.
            exactly(letters.min(1), status.lines)?;
            Ok(answer.millis())
        };
        let mut forgotten = true;
        let runs = self.bench.plan.runs;
        let cold = self.each(("SELECT, cold", "ms"), runs, |bench, subject, client| {
            forgotten &= subject.restart_cold(bench)?;
            select(subject, client)
        });
        if !forgotten {
            self.report
                .note("cold is after a start only: the kernel did not let its cache be dropped");
        }
        self.within(&cold, COLD_MILLIS);
        // One that does not count, and then every session anew, as clients come.
        self.each(
            ("SELECT, the first after", "ms"),
            1,
            |_, subject, client| select(subject, client),
        );
        let warm = self.each(
            ("SELECT, warm", "ms"),
            runs.saturating_mul(3),
            |_, subject, client| select(subject, client),
        );
        self.within(&warm, WARM_MILLIS);
        self.beside(&warm, Goal::None);
    }

    fn flags(&mut self) {
        let letters = u64::from(self.large.letters);
        let runs = self.bench.plan.runs;
        let flags = self.each(
            ("FETCH of all flags, messages", "/s"),
            runs,
            |_, subject, client| {
                let mut session = Session::open(subject.imaps, client)?;
                session.command(&format!("EXAMINE {LARGE}"))?;
                let answer = session.command("FETCH 1:* (UID FLAGS)")?;
                exactly(letters, answer.lines)?;
                Ok(count(letters) / answer.elapsed.as_secs_f64())
            },
        );
        self.beside(&flags, Goal::AtLeast(1.0));
    }

    fn bodies(&mut self) {
        let (octets, runs) = (self.small.octets, self.bench.plan.runs);
        let mut cpu = Vec::new();
        let rate = self.each(
            ("FETCH of all bodies of a tenth", "MB/s"),
            runs,
            |_, subject, client| {
                let mut session = Session::open(subject.imaps, client)?;
                session.command(&format!("EXAMINE {SMALL}"))?;
                let (before, mut elapsed) = (process::cpu(subject.pid()), 0.0);
                for _ in 0..FETCHES {
                    let answer = session.command("FETCH 1:* (UID BODY.PEEK[])")?;
                    exactly(octets, answer.octets)?;
                    elapsed += answer.elapsed.as_secs_f64();
                }
                let megabytes = count(octets * u64::from(FETCHES)) / 1e6;
                let spent = process::cpu(subject.pid()).saturating_sub(before);
                cpu.push((subject.name, megabytes / spent.as_secs_f64()));
                Ok(megabytes / elapsed)
            },
        );
        self.beside(&rate, Goal::AtLeast(TIMES_BODIES));
        let of_cpu = self.each(
            ("the same for a second of its CPU", "MB"),
            1,
            |_, subject, _| {
                let runs = cpu.iter().filter(|(name, _)| *name == subject.name);
                let runs = runs.map(|(_, value)| *value).collect();
                Ok(Sample::new(runs).ok_or(Fault::Late("bodies"))?.median())
            },
        );
        self.beside(&of_cpu, Goal::AtLeast(TIMES_BODIES));
    }

    fn search(&mut self) {
        let (rare, frequent) = (
            u64::from(RARE_LETTERS),
            u64::from(self.large.letters / FREQUENT_EVERY),
        );
        let number = self.large.letters / 2;
        let questions = [
            ("SEARCH BODY, rare", format!("BODY {RARE}"), rare),
            (
                "SEARCH BODY, one in ten",
                format!("BODY {FREQUENT}"),
                frequent,
            ),
            ("SEARCH TEXT, rare", format!("TEXT {RARE}"), rare),
            (
                "SEARCH TEXT, one in ten",
                format!("TEXT {FREQUENT}"),
                frequent,
            ),
            (
                "SEARCH SUBJECT, rare",
                format!("SUBJECT {RARE_SUBJECT}"),
                rare,
            ),
            (
                "SEARCH SUBJECT, one in ten",
                format!("SUBJECT {FREQUENT_SUBJECT}"),
                frequent,
            ),
            (
                "SEARCH HEADER Message-ID",
                format!("HEADER Message-ID {}", message_id(number)),
                1,
            ),
        ];
        for (what, question, wanted) in questions {
            // Reading a gigabyte takes Dovecot a minute: once is enough for an order of magnitude.
            let figures = self.each((what, "ms"), 1, |_, subject, client| {
                let mut session = Session::open(subject.imaps, client)?;
                session.command(&format!("EXAMINE {LARGE}"))?;
                let answer = session.command(&format!("SEARCH {question}"))?;
                exactly(wanted, answer.found)?;
                Ok(answer.millis())
            });
            self.beside(&figures, Goal::None);
        }
    }

    fn moving(&mut self) {
        let (letters, runs) = (u64::from(self.small.letters), self.bench.plan.runs);
        let moved = self.each(("MOVE of a tenth", "ms"), runs, |_, subject, client| {
            let mut session = Session::open(subject.imaps, client)?;
            session.command("CREATE Elsewhere")?;
            session.command(&format!("SELECT {SMALL}"))?;
            let answer = session.command("MOVE 1:* Elsewhere")?;
            session.command("SELECT Elsewhere")?;
            let there = session.command("FETCH 1:* (UID)")?;
            exactly(letters, there.lines)?;
            session.command(&format!("MOVE 1:* {SMALL}"))?;
            session.command("UNSELECT")?;
            session.command("DELETE Elsewhere")?;
            Ok(answer.millis())
        });
        self.within(&moved, MOVE_MILLIS);
        self.beside(&moved, Goal::None);
    }
}

/// A count that is not what was put in withdraws the figure.
fn exactly(wanted: u64, found: u64) -> Result<(), Fault> {
    if wanted == found {
        Ok(())
    } else {
        Err(Fault::Lost {
            acknowledged: wanted,
            found,
        })
    }
}
