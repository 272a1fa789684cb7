//! The half of the session after login: one command at a time, one question at a time.
//!
//! A command becomes a [`Job`] while an answer is awaited; the job says what to do with it. A command ends in
//! [`Mailbox::finish`], which first fetches what other sessions changed, so untagged EXISTS, FETCH and EXPUNGE responses stand
//! before the tagged one (RFC 9051 7). EXPUNGE is left out at the end of FETCH, STORE and SEARCH by number, where the client
//! may be counting (RFC 9051 7.5.1).

use std::collections::VecDeque;

use super::Step;
use super::append::Append;
use super::arguments::{Bad, Names, new_name, special_use};
use super::cursor::Cursor;
use super::decode::{Request, decode};
use super::fetch::{Fetch, Plan};
use super::front::{any_state, capabilities_after_login};
use super::io::{Command, Input, Io};
use super::list::{List, Listing};
use super::messages::Quiet;
use super::search::Return;
use super::status::StatusItems;
use super::table::{Phase, Verb};
use super::view::View;
use crate::imap::ask::{Answer, Ask, Refusal};
use crate::session::Why;

/// The half after login.
#[derive(Debug, Default)]
pub(super) struct Mailbox {
    /// The selected mailbox.
    pub(super) view: Option<Box<View>>,
    /// ENABLE IMAP4rev2 was said.
    pub(super) rev2: bool,
    /// The client knows modification sequences (RFC 7162 3.1).
    pub(super) condstore: bool,
    pub(super) job: Option<Box<Job>>,
    ask: Option<Box<Ask>>,
}

/// What a command is waiting for.
#[derive(Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "a job lives in a box of its own, for one command"
)]
pub(super) enum Job {
    /// The mailbox selected before is being left; then the new one is opened.
    Reselect {
        tag: Box<str>,
        mailbox: String,
        read_only: bool,
    },
    Select {
        tag: Box<str>,
        mailbox: String,
    },
    /// CLOSE is removing what is marked.
    Close {
        tag: Box<str>,
    },
    Unselect {
        tag: Box<str>,
        verb: Verb,
    },
    /// The changes to be told before the tagged reply.
    Changes {
        reply: Vec<u8>,
        expunge: bool,
    },
    Idle {
        tag: Box<str>,
    },
    /// Changes to be told while idle.
    IdleChanges {
        tag: Box<str>,
    },
    /// FETCH CHANGEDSINCE is looking for the messages it is about.
    Narrow {
        tag: Box<str>,
        by_uid: bool,
        plan: Plan,
    },
    Fetch {
        tag: Box<str>,
        by_uid: bool,
        fetch: Fetch,
    },
    Search {
        tag: Box<str>,
        by_uid: bool,
        want: Return,
    },
    Store {
        tag: Box<str>,
        quiet: Quiet,
    },
    /// COPY and MOVE.
    Copy {
        tag: Box<str>,
        verb: Verb,
    },
    Expunge {
        tag: Box<str>,
        verb: Verb,
    },
    List {
        tag: Box<str>,
        list: List,
    },
    /// LIST RETURN (STATUS …), one mailbox after the other.
    ListStatus {
        tag: Box<str>,
        items: StatusItems,
        current: String,
        left: VecDeque<String>,
    },
    Status {
        tag: Box<str>,
        items: StatusItems,
        mailbox: String,
    },
    Create {
        tag: Box<str>,
        mailbox: String,
    },
    /// The mailbox is made; its id is asked for.
    Created {
        tag: Box<str>,
    },
    /// DELETE, RENAME, SUBSCRIBE, UNSUBSCRIBE.
    Change {
        tag: Box<str>,
        verb: Verb,
    },
    Append(Append),
}

impl Mailbox {
    /// Whether a message is being received.
    pub(super) fn is_appending(&self) -> bool {
        matches!(self.job.as_deref(), Some(Job::Append(_)))
    }

    pub(super) fn names(&self) -> Names {
        if self.rev2 {
            Names::Utf8
        } else {
            Names::ModifiedUtf7
        }
    }

    fn phase(&self) -> Phase {
        if self.view.is_some() {
            Phase::Selected
        } else {
            Phase::Authenticated
        }
    }

    /// Goes one step on.
    pub(super) fn step(&mut self, io: &mut Io) -> Step {
        if let Some(ask) = self.ask.take() {
            return Step::Ask(*ask);
        }
        match self.job.as_deref() {
            None => match io.input(self.phase()) {
                Input::Command(command) => self.command(io, &command),
                Input::Append(command, announced) => self.begin_append(io, &command, announced),
                Input::Step(step) => step,
            },
            Some(Job::Idle { .. }) => self.idle(io),
            Some(Job::Fetch { .. }) => self.fetch_on(io),
            Some(Job::Append(_)) => self.append_on(io),
            Some(_) => Step::Input,
        }
    }

    /// Puts a question and notes what the answer is for.
    pub(super) fn put(&mut self, ask: Ask, job: Job) {
        self.ask = Some(Box::new(ask));
        self.job = Some(Box::new(job));
    }

    fn command(&mut self, io: &mut Io, command: &Command) -> Step {
        let result = match command.verb {
            Verb::Capability | Verb::Id | Verb::Logout => {
                return any_state(io, command, capabilities_after_login);
            }
            Verb::Noop => self.noop(io, command),
            Verb::Create => self.create(command),
            Verb::List => self.list(io, command),
            Verb::Lsub => self.lsub(command),
            Verb::Status => self.status(command),
            Verb::Search | Verb::UidSearch => self.search(command),
            // A literal never came.
            Verb::Append => Err(Bad::Syntax),
            verb => decode(&command.text, verb, self.names())
                .and_then(|request| self.request(io, command, request)),
        };
        match result {
            Ok(()) => Step::Again,
            Err(bad) => self.refuse(io, &command.tag, bad),
        }
    }

    fn request(&mut self, io: &mut Io, command: &Command, request: Request) -> Result<(), Bad> {
        let tag = command.tag.clone();
        let verb = command.verb;
        match request {
            Request::Enable { rev2, condstore } => self.enable(io, command, rev2, condstore),
            Request::Select {
                mailbox,
                read_only,
                condstore,
            } => {
                self.condstore |= condstore;
                self.select(io, tag, mailbox, read_only);
            }
            Request::Delete(mailbox) => {
                self.put(Ask::Delete { mailbox }, Job::Change { tag, verb });
            }
            Request::Rename { from, to } => {
                self.put(Ask::Rename { from, to }, Job::Change { tag, verb });
            }
            Request::Subscribe {
                mailbox,
                subscribed,
            } => {
                self.put(
                    Ask::Subscribe {
                        mailbox,
                        subscribed,
                    },
                    Job::Change { tag, verb },
                );
            }
            Request::Namespace => {
                io.line(format_args!("* NAMESPACE ((\"\" \"/\")) NIL NIL"));
                self.done(io, command);
            }
            Request::Idle => {
                io.line(format_args!("+ idling"));
                self.job = Some(Box::new(Job::Idle { tag }));
            }
            Request::Check => self.fetch_changes(format!("{tag} OK CHECK completed\r\n"), true),
            Request::Close => self.close(tag),
            Request::Unselect => self.put(Ask::Unselect, Job::Unselect { tag, verb }),
            other => self.request_messages(io, command, other)?,
        }
        Ok(())
    }

    /// Commands about messages of the selected mailbox.
    fn request_messages(
        &mut self,
        io: &mut Io,
        command: &Command,
        request: Request,
    ) -> Result<(), Bad> {
        let tag = command.tag.clone();
        let verb = command.verb;
        let by_uid = verb.by_uid();
        match request {
            Request::Expunge(set) => self.expunge(io, command, set.as_ref())?,
            Request::Fetch {
                set,
                plan,
                changed_since,
            } => self.fetch(io, command, &set, plan, changed_since)?,
            Request::Store {
                set,
                change,
                quiet,
                unchanged_since,
            } => {
                let uids = self.resolve(&set, by_uid)?;
                self.condstore |= quiet.conditional;
                let ask = |uids| Ask::Store {
                    uids,
                    change,
                    unchanged_since,
                };
                self.change(io, command, uids, ask, Job::Store { tag, quiet });
            }
            Request::Copy {
                set,
                to,
                remove: true,
            } => {
                let uids = self.resolve_copy(&set, by_uid)?;
                let ask = |uids| Ask::Copy {
                    uids,
                    to,
                    remove: true,
                };
                self.change(io, command, uids, ask, Job::Copy { tag, verb });
            }
            Request::Copy { set, to, remove } => {
                let uids = self.resolve_copy(&set, by_uid)?;
                if uids.is_empty() {
                    self.done(io, command);
                } else {
                    self.put(Ask::Copy { uids, to, remove }, Job::Copy { tag, verb });
                }
            }
            _ => return Err(Bad::Syntax),
        }
        Ok(())
    }

    fn enable(&mut self, io: &mut Io, command: &Command, rev2: bool, condstore: bool) {
        let rev2 = rev2 && !self.rev2;
        let condstore = condstore && !self.condstore;
        self.rev2 |= rev2;
        self.condstore |= condstore;
        let named = [(rev2, " IMAP4rev2"), (condstore, " CONDSTORE")];
        let list: String = named
            .iter()
            .filter(|(newly, _)| *newly)
            .map(|(_, name)| *name)
            .collect();
        io.line(format_args!("* ENABLED{list}"));
        self.done(io, command);
    }

    fn noop(&mut self, io: &mut Io, command: &Command) -> Result<(), Bad> {
        command.arguments().end()?;
        if self.view.is_some() {
            self.fetch_changes(format!("{} OK NOOP completed\r\n", command.tag), true);
        } else {
            self.done(io, command);
        }
        Ok(())
    }

    fn create(&mut self, command: &Command) -> Result<(), Bad> {
        let mut cursor = command.arguments();
        cursor.space()?;
        let mailbox = new_name(self.names().mailbox(&mut cursor)?)?;
        let special_use = if cursor.eat(b' ') {
            create_use(&mut cursor)?
        } else {
            None
        };
        cursor.end()?;
        let job = Job::Create {
            tag: command.tag.clone(),
            mailbox: mailbox.clone(),
        };
        self.put(
            Ask::Create {
                mailbox,
                special_use,
            },
            job,
        );
        Ok(())
    }

    fn list(&mut self, io: &mut Io, command: &Command) -> Result<(), Bad> {
        match List::parse(command.arguments(), self.names())? {
            Listing::Separator => {
                io.line(format_args!("* LIST (\\Noselect) \"/\" \"\""));
                self.done(io, command);
            }
            Listing::Mailboxes(list) => {
                self.condstore |= list.status.as_ref().is_some_and(StatusItems::modseq);
                self.put(
                    Ask::List,
                    Job::List {
                        tag: command.tag.clone(),
                        list,
                    },
                );
            }
        }
        Ok(())
    }

    fn lsub(&mut self, command: &Command) -> Result<(), Bad> {
        let list = List::parse_lsub(command.arguments(), self.names())?;
        self.put(
            Ask::List,
            Job::List {
                tag: command.tag.clone(),
                list,
            },
        );
        Ok(())
    }

    fn status(&mut self, command: &Command) -> Result<(), Bad> {
        let mut cursor = command.arguments();
        cursor.space()?;
        let mailbox = self.names().mailbox(&mut cursor)?;
        cursor.space()?;
        let items = StatusItems::parse(&mut cursor)?;
        cursor.end()?;
        self.condstore |= items.modseq();
        let job = Job::Status {
            tag: command.tag.clone(),
            items,
            mailbox: mailbox.clone(),
        };
        self.put(Ask::Status { mailbox }, job);
        Ok(())
    }

    /// Ends a command that has nothing more to say.
    pub(super) fn done(&mut self, io: &mut Io, command: &Command) {
        let reply = format!("{} OK {} completed\r\n", command.tag, command.verb.name());
        self.finish(io, reply, may_expunge(command.verb));
    }

    /// Ends a command: tells what others changed, then the tagged reply.
    pub(super) fn finish(&mut self, io: &mut Io, reply: String, expunge: bool) {
        self.job = None;
        match &mut self.view {
            Some(_) if io.news => {
                io.news = false;
                self.fetch_changes(reply, expunge);
            }
            Some(view) => {
                if expunge {
                    super::changes::tell_vanished(&mut io.output, view);
                }
                io.output.extend_from_slice(reply.as_bytes());
            }
            None => io.output.extend_from_slice(reply.as_bytes()),
        }
    }

    /// Says why arguments are refused.
    pub(super) fn refuse(&mut self, io: &mut Io, tag: &str, bad: Bad) -> Step {
        let text = match bad {
            Bad::Syntax => return io.bad(Some(tag), "Wrong arguments"),
            Bad::Number => return io.bad(Some(tag), "No such message number"),
            Bad::Name => "[CANNOT] A mailbox cannot have this name",
            Bad::Charset => "[BADCHARSET (US-ASCII UTF-8)] Unknown charset",
            Bad::Flag => "[CANNOT] This flag cannot be set",
            Bad::SpecialUse => "[USEATTR] Unknown special use",
            Bad::Limit => "[LIMIT] The command asks for too much at once",
        };
        self.finish(io, format!("{tag} NO {text}\r\n"), false);
        Step::Again
    }

    /// Ends a command the backend refused. `to` says that the mailbox in question is a destination.
    pub(super) fn refused(&mut self, io: &mut Io, tag: &str, refusal: Refusal, to: bool) {
        if refusal == Refusal::Gone {
            self.job = None;
            io.bye(Why::Gone, "The mailbox or the account is gone");
            return;
        }
        let text = refusal_text(refusal, to);
        self.finish(io, format!("{tag} NO {text}\r\n"), false);
    }

    /// Takes an answer.
    pub(super) fn answer(&mut self, io: &mut Io, answer: Answer) {
        let Some(job) = self.job.take() else {
            return Self::fault(io);
        };
        match (*job, answer) {
            (
                Job::Reselect {
                    tag,
                    mailbox,
                    read_only,
                },
                Answer::Done,
            ) => self.reselect(io, tag, mailbox, read_only),
            (Job::Select { tag, mailbox }, Answer::Selected(it)) => {
                self.selected(io, &tag, &mailbox, it);
            }
            (Job::Close { tag }, Answer::Expunged(it)) => self.closed(io, tag, &it),
            (Job::Unselect { tag, verb }, Answer::Done) => self.unselected(io, &tag, verb),
            (Job::Changes { reply, expunge }, Answer::Changes(it)) => {
                self.changed(io, &reply, expunge, it);
            }
            (Job::IdleChanges { tag }, Answer::Changes(it)) => self.idle_changed(io, tag, it),
            (Job::Narrow { tag, by_uid, plan }, Answer::Found(it)) => {
                self.narrowed(io, tag, by_uid, plan, it);
            }
            (Job::Fetch { tag, by_uid, fetch }, Answer::Rows(it)) => {
                self.rows(io, tag, by_uid, fetch, it);
            }
            (Job::Fetch { tag, by_uid, fetch }, Answer::Octets(it)) => {
                self.octets(io, tag, by_uid, fetch, it);
            }
            (Job::Search { tag, by_uid, want }, Answer::Found(it)) => {
                self.found(io, &tag, by_uid, want, it);
            }
            (Job::Store { tag, quiet }, Answer::Stored(it)) => self.stored(io, &tag, quiet, it),
            (Job::Copy { tag, verb }, Answer::Copied(it)) => self.copied(io, &tag, verb, it),
            (Job::Expunge { tag, verb }, Answer::Expunged(it)) => self.expunged(io, &tag, verb, it),
            (Job::List { tag, list }, Answer::Mailboxes(it)) => self.listed(io, tag, list, it),
            (
                Job::ListStatus {
                    tag,
                    items,
                    current,
                    left,
                },
                Answer::Status(it),
            ) => {
                self.list_status(io, tag, items, (&current, left), it);
            }
            (
                Job::Status {
                    tag,
                    items,
                    mailbox,
                },
                Answer::Status(it),
            ) => self.status_told(io, &tag, &items, &mailbox, it),
            (Job::Create { tag, mailbox }, Answer::Checked(it)) => {
                self.created(io, tag, mailbox, it);
            }
            (Job::Created { tag }, Answer::Status(it)) => self.created_id(io, &tag, it.ok()),
            (Job::Change { tag, verb }, Answer::Checked(it)) => self.checked(io, &tag, verb, it),
            (Job::Append(append), answer) => self.append_answer(io, append, answer),
            _ => Self::fault(io),
        }
    }

    /// The backend answered something else than was asked: nothing that follows could be trusted.
    pub(super) fn fault(io: &mut Io) {
        io.bye(Why::Fault, "Internal fault");
    }
}

/// Response code and text of a refusal (RFC 5530, RFC 9051 7.1).
pub(super) fn refusal_text(refusal: Refusal, to: bool) -> &'static str {
    match refusal {
        Refusal::NoSuchMailbox if to => "[TRYCREATE] No such mailbox",
        Refusal::NoSuchMailbox => "[NONEXISTENT] No such mailbox",
        Refusal::AlreadyExists => "[ALREADYEXISTS] The mailbox exists",
        Refusal::Cannot => "[CANNOT] This cannot be done",
        Refusal::HasChildren => "[HASCHILDREN] The mailbox has mailboxes below it",
        Refusal::OverQuota => "[OVERQUOTA] The quota is used up",
        Refusal::TooBig => "[TOOBIG] The message is too big",
        Refusal::Limit => "[LIMIT] A limit is reached",
        Refusal::UseAttr => "[USEATTR] The special use is taken or not possible",
        Refusal::Unavailable | Refusal::Gone => "[UNAVAILABLE] Try again later",
    }
}

/// ` (USE (\Drafts))` of CREATE (RFC 6154 3).
fn create_use(cursor: &mut Cursor<'_>) -> Result<Option<crate::imap::ask::SpecialUse>, Bad> {
    cursor.expect(b'(')?;
    if !cursor.eat_word("USE") {
        return Err(Bad::Syntax);
    }
    cursor.space()?;
    cursor.expect(b'(')?;
    let mut uses = Vec::new();
    while !cursor.eat(b')') {
        if !uses.is_empty() {
            cursor.space()?;
        }
        cursor.expect(b'\\')?;
        uses.push(special_use(cursor.atom()?).ok_or(Bad::SpecialUse)?);
    }
    cursor.expect(b')')?;
    // A mailbox has one use here (RFC 6154 3 allows the refusal).
    if uses.len() > 1 {
        Err(Bad::SpecialUse)
    } else {
        Ok(uses.pop())
    }
}

/// Whether EXPUNGE responses may stand at the end of a command (RFC 9051 7.5.1).
pub(super) fn may_expunge(verb: Verb) -> bool {
    !matches!(verb, Verb::Fetch | Verb::Store | Verb::Search)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_session_is_small() {
        // Box, view and job: what a session in IDLE holds besides four octets per message and its TLS facts.
        let size = size_of::<super::super::Server>() + size_of::<View>() + size_of::<Job>();
        assert!(size <= 1024, "{size}");
    }
}
