//! One session: login, and the message, in as many transactions as the server's limits make of the recipients.

use gatepost_wire::smtp::client::{Answer, Ask, Client, Outcome, Transaction};
use gatepost_wire::smtp::path::ForwardPath;

use super::super::login;
use super::super::progress::Progress;
use super::super::reach::{self, Open, Reached};
use super::super::settings::Settings;
use super::super::trouble::Trouble;
use super::super::url::Url;
use super::compose::Content;
use super::plan::Plan;
use super::report::Fate;
use crate::exit::Failure;

/// The schema of the result.
pub(crate) const SCHEMA: &str = "gatepost-send-1";

/// Hands the message in and says what became of it.
pub(crate) async fn deliver(
    settings: &Settings,
    url: &Url,
    plan: &Plan,
) -> Result<(Reached, Vec<Fate>), Failure> {
    let mut open: Open<Client> = reach::open(settings, url, &plan.hello, SCHEMA).await?;
    let mut delivery = Delivery {
        settings,
        url,
        plan,
        groups: Vec::new(),
        next: 0,
        content: None,
        progress: Progress::new("sent", plan.message.length()),
        fates: Vec::new(),
        mechanism: None,
    };
    let ended = delivery.run(&mut open).await;
    let ended = ended.map_err(|trouble| doubted(trouble, &open));
    let mut reached = open.reached();
    reached.mechanism = delivery.mechanism;
    match ended {
        Ok(()) => Ok((reached, delivery.fates)),
        // What the server has said about some recipients is not lost with the connection.
        Err(trouble) if !delivery.fates.is_empty() => {
            let mut fates = delivery.fates;
            let told: Vec<String> = fates.iter().map(|it| it.address.clone()).collect();
            for path in &plan.recipients {
                let address = text(path);
                if !told.contains(&address) {
                    fates.push(Fate::unsent(&address, &trouble.text));
                }
            }
            Ok((reached, fates))
        }
        Err(trouble) => {
            if settings.json {
                println!("{}", reached.failed(SCHEMA, &trouble));
            }
            Err(trouble.into_failure(&open.place))
        }
    }
}

/// Says so when the message was sent whole and only the verdict on it did not come: whoever sends it again may have it delivered
/// twice (RFC 5321 section 4.5.4.2).
fn doubted(mut trouble: Trouble, open: &Open<Client>) -> Trouble {
    let client = open.session.machine();
    if client.is_some_and(|it| it.unfinished().any(|(_, is_whole)| is_whole)) {
        "the message was sent whole, and the session ended before the server said whether it took it"
            .clone_into(&mut trouble.text);
        "look whether it has arrived before you send it again: it may be delivered twice"
            .clone_into(&mut trouble.advice);
    }
    trouble
}

struct Delivery<'a> {
    settings: &'a Settings,
    url: &'a Url,
    plan: &'a Plan,
    /// The recipients, as many at a time as the server takes.
    groups: Vec<Vec<ForwardPath>>,
    next: usize,
    content: Option<Content<'a>>,
    progress: Progress,
    fates: Vec<Fate>,
    mechanism: Option<&'static str>,
}

impl Delivery<'_> {
    async fn run(&mut self, open: &mut Open<Client>) -> Result<(), Trouble> {
        loop {
            let asked = open.session.next().await;
            let Some(ask) = asked.map_err(|failure| Trouble::of(&failure))? else {
                return Ok(());
            };
            let answer = self.answer(ask, open)?;
            open.session.answer(answer);
        }
    }

    fn answer(&mut self, ask: Ask, open: &Open<Client>) -> Result<Answer, Trouble> {
        match ask {
            Ask::Ready(capabilities) => {
                self.groups = capabilities.limits.divide(self.plan.recipients.clone());
                open.warn(capabilities.starttls);
                let channel = open.session.channel();
                open.note(&format!("TLS is settled: {channel}"));
                match login::credentials(self.settings, self.url, open)? {
                    Some(credentials) => Ok(Answer::Login(Box::new(credentials))),
                    None => Ok(self.next_transaction()),
                }
            }
            Ask::LoggedIn(mechanism) => {
                self.mechanism = Some(mechanism.name());
                open.note(&format!("logged in by {}", mechanism.name()));
                Ok(self.next_transaction())
            }
            Ask::LoginFailed(failure) => Err(Trouble::of_session(&failure)),
            Ask::Content(_) => self.portion(),
            Ask::More | Ask::Reply(_) => Ok(Answer::Wait),
            Ask::Sent(outcome) => {
                self.note(&outcome);
                Ok(self.next_transaction())
            }
            Ask::Idle => Ok(Answer::Quit),
        }
    }

    fn next_transaction(&mut self) -> Answer {
        let Some(recipients) = self.groups.get(self.next).cloned() else {
            return Answer::Quit;
        };
        let mut transaction =
            Transaction::new(self.next as u64, self.plan.reverse_path.clone(), recipients);
        let needs = self.plan.message.needs;
        transaction.size = Some(self.plan.message.length());
        transaction.eight_bit = Some(needs.eight_bit);
        transaction.utf8 = needs.utf8_header;
        self.next += 1;
        self.content = None;
        Answer::Transaction(Box::new(transaction))
    }

    fn portion(&mut self) -> Result<Answer, Trouble> {
        let plan = self.plan;
        let content = self.content.get_or_insert_with(|| plan.message.content());
        match content.next_chunk() {
            Ok(Some(portion)) => {
                self.progress.add(portion.len() as u64);
                Ok(Answer::Content {
                    portion,
                    last: false,
                })
            }
            Ok(None) => Ok(Answer::Content {
                portion: Vec::new(),
                last: true,
            }),
            // The connection is cut, so that no part of it counts.
            Err(failure) => Err(Trouble::ours("E-INPUT", &failure)),
        }
    }

    fn note(&mut self, outcome: &Outcome) {
        let group = self.groups.get(self.next.saturating_sub(1));
        for (index, path) in group.into_iter().flatten().enumerate() {
            self.fates.push(Fate::of(outcome, index, &text(path)));
        }
    }
}

/// A recipient as it is printed.
fn text(path: &ForwardPath) -> String {
    format!("{}@{}", path.0.local, path.0.domain)
}
