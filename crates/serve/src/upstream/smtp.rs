//! The backend of an SMTP session at the gate: each question is put to the upstream, and its answer is the answer.
//!
//! ```text
//!   Mail ──▶ (open the upstream) ──▶ MAIL ─▶ reply   Recipient ──▶ RCPT ─▶ reply      Group ──▶ several of these ─▶ their replies
//!   Begin ──▶ DATA ─▶ 354        Content ──▶ octets, dots doubled      Commit ──▶ the lone dot ─▶ reply
//!   Begin (binary)               Content ──▶ BDAT n ─▶ reply           Commit ──▶ BDAT 0 LAST ─▶ reply
//! ```
//!
//! - The session in front parses; nothing of the client's is copied into a command. Content has been freed of framing, bare line
//!   ends and NUL before it comes here, and is framed anew: the upstream sees one end of the message, ours [SMTP-CHUNK-04].
//!   Binary content (BINARYMIME) is the exception: any octets, counted on both sides, and never sent by DATA [SMTP-CHUNK-03].
//! - Nothing is acknowledged before the upstream has done so. If its answer to the end of a message does not come, the client is
//!   told to try again: a message may then come twice, but none is lost.
//! - A message that is given up half way ends the connection to the upstream, without a closing alert: there is no other way to
//!   tell it that this was not the end.
//! - While the upstream does not take what it was given, no more is read from the client.

use std::sync::Arc;
use std::time::{Duration, Instant};

use gatepost_net::client::{Leg, LegFailure};
use gatepost_net::driver::{Answering, Backend, Event};
use gatepost_wire::sasl::{AccountAnswer, AccountAsk};
use gatepost_wire::seam::TlsFacts;
use gatepost_wire::session::Machine;
use gatepost_wire::smtp::ask::{Answer, Ask, Body, Envelope, Group, MailFrom, RcptTo, Refusal};
use gatepost_wire::smtp::client::{Capabilities, Encoder, LineEnds, Reply};
use gatepost_wire::smtp::relay::{Passed, Unsayable, mail_command, recipient_command, take_reply};
use gatepost_wire::smtp::xclient::Introduced;

use super::egress::Egress;
use super::identity::Client;
use super::member::Busy;
use super::open::{self, SmtpOpen};
use super::pool::Pool;
use super::trouble::Trouble;
use super::{Gate, Login};
use crate::mailbox::smtp::new_id;
use crate::mailbox::{Recorded, Summary, date};
use crate::server::front::Front;

/// RFC 5321 4.5.3.2.
const COMMAND: Duration = Duration::from_secs(5 * 60);
const DATA: Duration = Duration::from_secs(2 * 60);
const VERDICT: Duration = Duration::from_secs(10 * 60);
/// For the upstream to take each 64 KiB.
const WRITE: Duration = Duration::from_secs(60);

/// The backend of one session.
pub struct SmtpGate {
    gate: Arc<Gate>,
    pool: Arc<Pool>,
    client: Client,
    summary: Summary,
    upstream: Option<Box<Upstream>>,
    /// For devices: whom they may be, and the login they do not know.
    egress: Option<Arc<Egress>>,
    /// Somebody has logged in: the upstream of a login cannot be opened again without the password, which is not kept.
    bound: bool,
    /// The server in front, if this is one that names its clients.
    front: Option<Box<Front>>,
}

/// An open upstream.
struct Upstream {
    leg: Leg,
    capabilities: Box<Capabilities>,
    busy: Busy,
    stage: Stage,
}

/// What the upstream knows of a transaction.
enum Stage {
    /// Nothing.
    Idle,
    /// A sender, perhaps recipients.
    Begun,
    /// Part of the content.
    Content(Encoder),
    /// Binary content, between two chunks; what is held goes before the next one.
    Chunks(Vec<u8>),
}

impl<M: Machine<Ask = Ask, Answer = Answer>> Backend<M> for SmtpGate {
    fn handle(&mut self, ask: Ask) -> Answering<'_, Answer> {
        Box::pin(self.answer(ask))
    }

    fn upgraded(&mut self) {
        // [SMTP-STARTTLS-21] what was said in clear has no consequence on the other leg either.
        self.forget();
        if let Some(front) = &mut self.front {
            self.client = self.client.replaced(front.forgets(&mut self.summary));
        }
    }

    fn secured(&mut self, facts: &TlsFacts) {
        let mut facts = Box::new(facts.clone());
        facts.bindings = None;
        self.client.tls = Some(facts);
    }

    fn event(&mut self, event: Event) {
        self.summary.note(event);
    }
}

impl Recorded for SmtpGate {
    fn summary(&self) -> &Summary {
        &self.summary
    }
}

impl Drop for SmtpGate {
    fn drop(&mut self) {
        self.close();
    }
}

impl SmtpGate {
    /// A backend for a session with this client.
    pub fn new(gate: Arc<Gate>, pool: Arc<Pool>, client: Client) -> Self {
        Self {
            gate,
            pool,
            client,
            summary: Summary::default(),
            upstream: None,
            egress: None,
            bound: false,
            front: None,
        }
    }

    /// The same for a session with a server in front, if there is one.
    #[must_use]
    pub fn behind(mut self, front: Option<Front>) -> Self {
        self.front = front.map(Box::new);
        self
    }

    /// The same for a device: the upstream is logged in to with the operator's credentials, and only listed senders go on.
    pub fn for_device(egress: Arc<Egress>, client: Client) -> Self {
        let (gate, pool) = (Arc::clone(&egress.gate), Arc::clone(&egress.pool));
        let mut backend = Self::new(gate, pool, client);
        backend.egress = Some(egress);
        backend
    }

    /// Nothing that was said has a consequence any more.
    fn forget(&mut self) {
        self.close();
        self.summary.login = None;
        self.summary.passed_login = None;
        self.bound = false;
    }

    /// [XCL-02] The next upstream is told of this client.
    fn introduced(&mut self, said: &Introduced) -> Result<(), Refusal> {
        self.forget();
        // Asked in a session with a server in front only.
        let front = self.front.as_mut().ok_or(Refusal::Fault)?;
        let visit = front.introduces(said, &mut self.summary)?;
        self.client = self.client.replaced(visit);
        Ok(())
    }

    async fn answer(&mut self, ask: Ask) -> Answer {
        let passed = match ask {
            Ask::Account(ask) => return Answer::Account(self.account(ask).await),
            Ask::Mail(mail) => self.group(Some(&mail), &[]).await.pop().ok_or(Ended::Fault),
            Ask::Recipient(rcpt) => self.group(None, &[rcpt]).await.pop().ok_or(Ended::Fault),
            Ask::Group(group) => {
                let Group { mail, recipients } = *group;
                return Answer::Group(self.group(mail.as_ref(), &recipients).await);
            }
            Ask::Introduced(said) => return Answer::Verdict(self.introduced(&said)),
            Ask::Begin(envelope) => self.begin(&envelope).await,
            Ask::Content(octets) => match self.content(&octets).await {
                Ok(()) => return Answer::Verdict(Ok(())),
                Err(ended) => Err(ended),
            },
            Ask::Commit => self.commit().await,
            Ask::Abort => {
                self.abort().await;
                return Answer::Verdict(Ok(()));
            }
        };
        match passed {
            Err(Ended::Fault) => Answer::Verdict(Err(Refusal::Fault)),
            Ok(reply) => Answer::Passed(Box::new(reply)),
            Err(ended) => Answer::Passed(Box::new(self.ended(ended))),
        }
    }

    /// What is said where there is no reply of the upstream to pass on.
    fn ended(&mut self, ended: Ended) -> Passed {
        match ended {
            Ended::Reply(reply) => reply,
            Ended::Refused(reply) => {
                self.upstream = None;
                reply
            }
            Ended::Lost(trouble) => {
                self.lost(&trouble);
                self.lost_reply(&trouble)
            }
            Ended::Fault => Passed::own(451, "4.3.0 A fault of this server, try again later"),
        }
    }

    /// The reply when the upstream is gone: where somebody has logged in, the session is over too.
    fn lost_reply(&self, trouble: &Trouble) -> Passed {
        if self.bound {
            return Passed::own(
                421,
                "4.4.2 The server behind this one is gone, try again later",
            );
        }
        trouble.reply()
    }

    fn lost(&mut self, trouble: &Trouble) {
        if let Some(upstream) = self.upstream.take() {
            self.gate.report(upstream.busy.member(), trouble);
        }
    }

    async fn account(&mut self, ask: AccountAsk) -> AccountAnswer {
        let gate = Arc::clone(&self.gate);
        let (pool, client) = (Arc::clone(&self.pool), self.client.clone());
        let attempt = match ask {
            AccountAsk::Login(attempt) => attempt,
            keys @ AccountAsk::ScramKeys { .. } => return gate.keys(&pool, keys, &client).await,
        };
        self.close();
        let login = gate
            .log_in(&pool, &client, attempt, &mut self.summary, |member, credentials| {
                let (gate, client) = (Arc::clone(&gate), client.clone());
                async move { open::smtp(&member, gate.host(), &client, Some(credentials)).await }
            })
            .await;
        match login {
            Login::Granted {
                account,
                opened,
                busy,
            } => {
                self.summary.upstream = Some(Box::new(busy.route(opened.leg.channel())));
                self.upstream = Some(Box::new(Upstream::new(opened, busy)));
                self.bound = true;
                AccountAnswer::Granted { account }
            }
            Login::Denied => AccountAnswer::Denied,
            Login::Unavailable => AccountAnswer::Unavailable,
        }
    }

    /// Opens the upstream, if it is not open.
    async fn open(&mut self) -> Result<(), Ended> {
        if self.upstream.is_some() {
            return Ok(());
        }
        if self.bound {
            return Err(Ended::Reply(Passed::own(
                421,
                "4.4.2 The server behind this one is gone, try again later",
            )));
        }
        let (gate, client) = (Arc::clone(&self.gate), self.client.clone());
        let egress = self.egress.as_deref();
        let credentials = egress.and_then(|it| it.credentials.clone());
        let opened = match gate.choose(None, &client, &self.pool).await {
            Ok(choice) => {
                gate.open(&self.pool, &choice, |member| {
                    let (gate, client) = (Arc::clone(&gate), client.clone());
                    let credentials = credentials.clone();
                    async move { open::smtp(&member, gate.host(), &client, credentials).await }
                })
                .await
            }
            Err(trouble) => Err(trouble),
        };
        match opened {
            Ok((opened, busy)) => {
                self.summary.upstream = Some(Box::new(busy.route(opened.leg.channel())));
                self.upstream = Some(Box::new(Upstream::new(opened, busy)));
                Ok(())
            }
            Err(trouble) => {
                self.gate.note(&trouble);
                Err(Ended::Reply(trouble.reply()))
            }
        }
    }

    /// Opens the upstream for a transaction; the line with MAIL.
    async fn prepare(&mut self, mail: &MailFrom) -> Result<String, Ended> {
        let egress = self.egress.as_deref();
        if egress.is_some_and(|it| !it.may_send_as(&mail.reverse_path)) {
            self.summary.limit("egress_sender_refused");
            return Err(Ended::Reply(Passed::own(
                550,
                "5.7.1 This sender address is not allowed here",
            )));
        }
        self.open().await?;
        let upstream = self.upstream.as_mut().ok_or(Ended::Fault)?;
        let line = mail_command(mail, &upstream.capabilities)
            .map_err(|unsayable| Ended::Reply(refuse(unsayable)))?;
        if !matches!(upstream.stage, Stage::Idle) {
            let reset = upstream.say("RSET", COMMAND).await?;
            if !reset.is_positive() {
                return Err(Ended::Lost(Trouble::Lost(LegFailure::Broken)));
            }
            upstream.stage = Stage::Idle;
        }
        Ok(line)
    }

    /// MAIL, RCPT, or several of them; their replies. What came in one go goes on in one go, where the upstream takes it so: one round
    /// trip for all [SMTP-PIPE-01].
    async fn group(&mut self, mail: Option<&MailFrom>, recipients: &[RcptTo]) -> Vec<Passed> {
        let mut lines = Vec::with_capacity(recipients.len() + 1);
        if let Some(mail) = mail {
            match self.prepare(mail).await {
                Ok(line) => lines.push(Ok(line)),
                Err(ended) => return vec![self.ended(ended)],
            }
        }
        let Some(upstream) = &mut self.upstream else {
            let lost = Trouble::Lost(LegFailure::Closed);
            return vec![self.lost_reply(&lost); recipients.len()];
        };
        let command = |it| recipient_command(it, &upstream.capabilities).map_err(refuse);
        lines.extend(recipients.iter().map(command));
        let all = lines.len();
        let mut replies = Vec::with_capacity(all);
        let said = upstream.say_all(lines, mail.is_some(), &mut replies).await;
        if let Err(ended) = said {
            let last = self.ended(ended);
            replies.resize(all, last);
        }
        replies
    }

    async fn begin(&mut self, envelope: &Envelope) -> Result<Passed, Ended> {
        let lost = Ended::Lost(Trouble::Lost(LegFailure::Closed));
        let upstream = self.upstream.as_mut().ok_or(lost)?;
        // [GW-04]
        let field = upstream.busy.member().spec().received.then(|| {
            let now = date::rfc5322(date::now());
            envelope.trace.render(self.gate.host(), &new_id(), &now)
        });
        if envelope.mail.body == Body::BinaryMime {
            upstream.stage = Stage::Chunks(field.unwrap_or_default());
            return Ok(Passed::own(250, "2.0.0 Go on"));
        }
        let reply = upstream.say("DATA", DATA).await?;
        if reply.code != 354 {
            // The transaction is open there still; the next MAIL clears it away.
            return Ok(refusal_of(&reply));
        }
        upstream.stage = Stage::Content(Encoder::for_data(LineEnds::Refuse));
        if let Some(field) = field {
            upstream.content(&field).await?;
        }
        Ok(Passed::own(250, "2.0.0 Go on"))
    }

    async fn content(&mut self, octets: &[u8]) -> Result<(), Ended> {
        let upstream = self.upstream.as_mut().ok_or(Ended::Fault)?;
        match upstream.stage {
            Stage::Chunks(_) => upstream.chunk(octets).await,
            _ => upstream.content(octets).await,
        }
    }

    /// [SMTP-BASE-15] the upstream's word, or none.
    async fn commit(&mut self) -> Result<Passed, Ended> {
        let upstream = self.upstream.as_mut().ok_or(Ended::Fault)?;
        upstream.check_silent().await?;
        let mut end = Vec::new();
        match std::mem::replace(&mut upstream.stage, Stage::Idle) {
            Stage::Content(encoder) if encoder.finish(&mut end).is_ok() => {}
            Stage::Chunks(held) => end = chunk_of(&[&held], true),
            _ => {
                self.upstream = None;
                return Err(Ended::Fault);
            }
        }
        upstream.leg.write(&mut end, WRITE).await.map_err(lost)?;
        let reply = upstream.reply(VERDICT).await?;
        let passed = Passed::new(&reply);
        self.summary.messages_in += u32::from(passed.is_positive());
        Ok(passed)
    }

    /// The client has given up a transaction.
    async fn abort(&mut self) {
        let Some(upstream) = &mut self.upstream else {
            return;
        };
        if let Stage::Content(_) = upstream.stage {
            self.upstream = None;
            return;
        }
        match upstream.say("RSET", COMMAND).await {
            Ok(reply) if reply.is_positive() => upstream.stage = Stage::Idle,
            _ => self.upstream = None,
        }
    }

    /// Ends the upstream's session: with QUIT where nothing is half done, by cutting it off otherwise.
    fn close(&mut self) {
        let Some(upstream) = self.upstream.take() else {
            return;
        };
        if matches!(upstream.stage, Stage::Content(_)) {
            return;
        }
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                let Upstream { leg, busy, .. } = *upstream;
                leg.finish(b"QUIT\r\n").await;
                drop(busy);
            });
        }
    }
}

/// Why there is no reply of the upstream to pass on.
enum Ended {
    /// This is said instead.
    Reply(Passed),
    /// The same, and the upstream is left in the middle of a message.
    Refused(Passed),
    /// The upstream is gone.
    Lost(Trouble),
    /// A question out of order: our own mistake.
    Fault,
}

fn lost(failure: LegFailure) -> Ended {
    Ended::Lost(Trouble::Lost(failure))
}

fn refuse(unsayable: Unsayable) -> Passed {
    match unsayable {
        Unsayable::Malformed => Passed::own(501, "5.1.3 Bad address"),
        // It was offered, so another upstream has it, or had it a while ago.
        Unsayable::EightBit => Passed::own(451, "4.6.3 8BITMIME is not to be had now"),
        Unsayable::Utf8 => Passed::own(451, "4.6.7 SMTPUTF8 is not to be had now"),
        Unsayable::Binary => Passed::own(451, "4.6.1 BINARYMIME is not to be had now"),
        Unsayable::Notifications => Passed::own(451, "4.3.3 DSN is not to be had now"),
    }
}

/// A reply that does not let content come.
fn refusal_of(reply: &Reply) -> Passed {
    let passed = Passed::new(reply);
    if passed.is_positive() {
        return Passed::own(
            451,
            "4.3.0 The server behind this one gave an unknown answer",
        );
    }
    passed
}

/// A chunk of these parts, with its command.
fn chunk_of(parts: &[&[u8]], last: bool) -> Vec<u8> {
    let octets: usize = parts.iter().map(|it| it.len()).sum();
    let end = if last { " LAST" } else { "" };
    let mut output = format!("BDAT {octets}{end}\r\n").into_bytes();
    output.reserve(octets);
    for part in parts {
        output.extend_from_slice(part);
    }
    output
}

impl Upstream {
    fn new(opened: SmtpOpen, busy: Busy) -> Self {
        Self {
            leg: opened.leg,
            capabilities: opened.capabilities,
            busy,
            stage: Stage::Idle,
        }
    }

    /// Says a command and waits for its reply.
    async fn say(&mut self, line: &str, limit: Duration) -> Result<Reply, Ended> {
        self.write_lines(&[line]).await?;
        self.reply(limit).await
    }

    async fn write_lines(&mut self, lines: &[&str]) -> Result<(), Ended> {
        self.check_quiet()?;
        let mut output = Vec::with_capacity(lines.iter().map(|it| it.len() + 2).sum());
        for line in lines {
            output.extend_from_slice(line.as_bytes());
            output.extend_from_slice(b"\r\n");
        }
        self.leg.write(&mut output, WRITE).await.map_err(lost)
    }

    /// Says MAIL and RCPT, or RCPT alone, and gathers the replies; a line that cannot be said is answered here. All are written before
    /// the first reply is awaited, if the upstream takes that (RFC 2920 3.1); if not, none is said behind a refused MAIL.
    async fn say_all(
        &mut self,
        lines: Vec<Result<String, Passed>>,
        begins: bool,
        replies: &mut Vec<Passed>,
    ) -> Result<(), Ended> {
        let at_once = self.capabilities.pipelining;
        if at_once {
            let said: Vec<&str> = lines.iter().flatten().map(String::as_str).collect();
            self.write_lines(&said).await?;
        }
        for line in lines {
            let passed = match line {
                Err(own) => own,
                Ok(line) => {
                    if !at_once {
                        self.write_lines(&[&line]).await?;
                    }
                    let reply = self.reply(COMMAND).await?;
                    // Also if MAIL was refused: whoever takes a recipient all the same has something to forget.
                    if reply.is_positive() {
                        self.stage = Stage::Begun;
                    }
                    Passed::new(&reply)
                }
            };
            let over = begins && replies.is_empty() && !passed.is_positive() && !at_once;
            replies.push(passed);
            if over {
                break;
            }
        }
        Ok(())
    }

    async fn reply(&mut self, limit: Duration) -> Result<Reply, Ended> {
        let until = Instant::now() + limit;
        loop {
            match take_reply(self.leg.received()) {
                Ok(Some(reply)) => return Ok(reply),
                Ok(None) => self.leg.read(until).await.map_err(lost)?,
                Err(_) => return Err(lost(LegFailure::Broken)),
            }
        }
    }

    /// Words that came unasked would be taken for the answer: a farewell is passed on, anything else ends the connection.
    fn check_quiet(&mut self) -> Result<(), Ended> {
        if self.leg.received().is_empty() {
            return Ok(());
        }
        match take_reply(self.leg.received()) {
            Ok(Some(reply)) if reply.code == 421 => Err(Ended::Reply(Passed::new(&reply))),
            _ => Err(lost(LegFailure::Broken)),
        }
    }

    /// Sends content on, dots doubled. An upstream that answers before the end has given up on it.
    async fn content(&mut self, octets: &[u8]) -> Result<(), Ended> {
        let Stage::Content(encoder) = &mut self.stage else {
            return Err(Ended::Fault);
        };
        let mut output = Vec::with_capacity(octets.len() + octets.len() / 64 + 16);
        if encoder.encode(octets, &mut output).is_err() {
            return Err(Ended::Fault);
        }
        self.leg.write(&mut output, WRITE).await.map_err(lost)?;
        self.check_silent().await
    }

    /// Sends a piece of binary content on. A chunk that is refused ends the transaction, not the connection: the next MAIL clears it
    /// away [SMTP-CHUNK-02].
    async fn chunk(&mut self, octets: &[u8]) -> Result<(), Ended> {
        self.check_silent().await?;
        let Stage::Chunks(held) = std::mem::replace(&mut self.stage, Stage::Begun) else {
            return Err(Ended::Fault);
        };
        let mut output = chunk_of(&[&held, octets], false);
        self.leg.write(&mut output, WRITE).await.map_err(lost)?;
        let reply = self.reply(VERDICT).await?;
        if reply.code != 250 {
            return Err(Ended::Reply(refusal_of(&reply)));
        }
        self.stage = Stage::Chunks(Vec::new());
        Ok(())
    }

    /// An upstream that answers before the end of a message has given up on it. A refusal is passed on; a grant of half a message is
    /// none. The connection is of no use any more in both cases.
    async fn check_silent(&mut self) -> Result<(), Ended> {
        if self.leg.received().is_empty() {
            return Ok(());
        }
        let reply = self.reply(COMMAND).await?;
        if reply.is_negative() && reply.code != 421 {
            return Err(Ended::Refused(Passed::new(&reply)));
        }
        Err(lost(LegFailure::Closed))
    }
}
