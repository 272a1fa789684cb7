//! The half of the session after login: one command at a time, one question at a time.
//!
//! A command becomes a [`Job`] while an answer is awaited; the job says what to do with it. A command ends in
//! [`Mailbox::finish`], which first fetches what other sessions changed, so untagged EXISTS, FETCH and EXPUNGE responses stand
//! before the tagged one (RFC 9051 7). EXPUNGE is left out at the end of FETCH, STORE and SEARCH by number, where the client
//! may be counting (RFC 9051 7.5.1).

use super::Step;
use super::arguments::{Bad, Names, new_name, special_use};
use super::cursor::Cursor;
use super::decode::{Request, decode};
use super::enabled::Enabled;
use super::front::{any_state, capabilities_after_login};
use super::io::{Command, Input, Io};
use super::job::{After, Ending, Job, Selecting};
use super::list::{List, Listing};
use super::notify::Notify;
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
    /// What the client has enabled.
    pub(super) enabled: Enabled,
    /// What it wants to be told unasked (RFC 5465).
    pub(super) notify: Option<Box<Notify>>,
    pub(super) job: Option<Box<Job>>,
    ask: Option<Box<Ask>>,
}

impl Mailbox {
    /// Whether a message is being received.
    pub(super) fn is_appending(&self) -> bool {
        matches!(self.job.as_deref(), Some(Job::Append(_)))
    }

    pub(super) fn names(&self) -> Names {
        self.enabled.names()
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
            None if self.has_unasked(io) => {
                self.tell_unasked(io);
                Step::Again
            }
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
        if self.enabled.uid_only && command.verb.by_number() {
            return self.refuse(io, &command.tag, Bad::UidRequired);
        }
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
            Verb::Sort | Verb::UidSort => self.sort(command),
            Verb::Thread | Verb::UidThread => self.thread(command),
            Verb::GetQuota | Verb::GetQuotaRoot => self.quota(io, command),
            Verb::Notify => self.set_notify(io, command),
            Verb::Compress => return self.compress(io, command),
            // A literal never came.
            Verb::Append | Verb::Replace | Verb::UidReplace => Err(Bad::Syntax),
            verb => decode(&command.text, verb, self.enabled)
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
            Request::Enable(asked) => {
                let newly = self.enabled.add(asked);
                io.line(format_args!("* ENABLED{newly}"));
                self.done(io, command);
            }
            Request::Select {
                mailbox,
                read_only,
                condstore,
                resync,
            } => {
                // RFC 7162 3.2.5: not before ENABLE QRESYNC.
                if resync.is_some() && !self.enabled.qresync {
                    return Err(Bad::Syntax);
                }
                self.enabled.condstore |= condstore;
                let selecting = Selecting {
                    tag,
                    mailbox,
                    read_only,
                    resync,
                };
                self.select(io, selecting);
            }
            Request::Delete(mailbox) => {
                self.own_name(&mailbox);
                self.put(Ask::Delete { mailbox }, Job::Change { tag, verb });
            }
            Request::Rename { from, to } => {
                self.own_name(&from);
                self.own_name(&to);
                self.put(Ask::Rename { from, to }, Job::Change { tag, verb });
            }
            Request::Subscribe {
                mailbox,
                subscribed,
            } => {
                self.own_name(&mailbox);
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
            Request::Check => self.look(io, format!("{tag} OK CHECK completed\r\n")),
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
                modifiers,
            } => self.fetch(io, command, &set, plan, modifiers)?,
            Request::Store {
                set,
                change,
                quiet,
                unchanged_since,
            } => {
                let uids = self.resolve(&set, by_uid)?;
                self.enabled.condstore |= quiet.conditional;
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

    fn noop(&mut self, io: &mut Io, command: &Command) -> Result<(), Bad> {
        command.arguments().end()?;
        if self.view.is_some() {
            self.look(io, format!("{} OK NOOP completed\r\n", command.tag));
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
                self.enabled.condstore |= list.status.as_ref().is_some_and(StatusItems::modseq);
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
        self.enabled.condstore |= items.modseq();
        let ask = Ask::Status {
            mailbox: mailbox.clone(),
            deleted_size: items.deleted_size(),
        };
        let job = Job::Status {
            tag: command.tag.clone(),
            items,
            mailbox,
        };
        self.put(ask, job);
        Ok(())
    }

    /// Ends a command that has nothing more to say.
    pub(super) fn done(&mut self, io: &mut Io, command: &Command) {
        let reply = format!("{} OK {} completed\r\n", command.tag, command.verb.name());
        self.finish(io, reply, may_expunge(command.verb));
    }

    /// NOOP and CHECK: looks for changes even if there is no news of any.
    fn look(&mut self, io: &mut Io, reply: String) {
        io.news = true;
        self.finish(io, reply, true);
    }

    /// Ends a command: tells what others changed, then the tagged reply.
    pub(super) fn finish(&mut self, io: &mut Io, reply: String, expunge: bool) {
        let ending = Ending {
            tail: reply,
            expunge,
            ..Ending::default()
        };
        self.end(io, ending);
    }

    /// Ends a command that removed messages: a client that knows modification sequences is told the highest one, when it has been
    /// told everything up to it (RFC 7162 3.2.7).
    pub(super) fn finish_removal(&mut self, io: &mut Io, tag: &str, verb: Verb) {
        let highest = self.enabled.condstore && !self.is_muted();
        // Asked for in any case, so that the number includes this very removal.
        io.news |= highest;
        let ending = Ending {
            head: format!("{tag} OK "),
            tail: format!("{} completed\r\n", verb.name()),
            highest,
            expunge: true,
        };
        self.end(io, ending);
    }

    fn end(&mut self, io: &mut Io, ending: Ending) {
        self.job = None;
        let muted = self.is_muted();
        match &mut self.view {
            Some(_) if io.news && !muted => {
                io.news = false;
                self.fetch_changes(After::Reply(ending));
            }
            Some(view) => {
                if ending.expunge && !muted {
                    self.enabled.tell_vanished(&mut io.output, view);
                }
                self.write_end(io, &ending);
            }
            None => self.write_end(io, &ending),
        }
    }

    /// Writes the tagged reply.
    pub(super) fn write_end(&self, io: &mut Io, ending: &Ending) {
        io.forgive_bad();
        io.output.extend_from_slice(ending.head.as_bytes());
        if let (true, Some(view)) = (ending.highest, &self.view) {
            super::reply::put(
                &mut io.output,
                format_args!("[HIGHESTMODSEQ {}] ", view.known),
            );
        }
        io.output.extend_from_slice(ending.tail.as_bytes());
    }

    /// Says why arguments are refused.
    pub(super) fn refuse(&mut self, io: &mut Io, tag: &str, bad: Bad) -> Step {
        let text = match bad {
            Bad::Syntax => return io.bad(Some(tag), "Wrong arguments"),
            // Not counted: the command is well-formed, and another session may have removed the message.
            Bad::Number => return io.mistaken(tag, "No such message number"),
            Bad::UidRequired => return io.mistaken(tag, "[UIDREQUIRED] UIDONLY is enabled"),
            Bad::Event => {
                return self.refuse_event(io, tag);
            }
            Bad::ReadOnly => "[NOPERM] The mailbox is read-only",
            Bad::Name => "[CANNOT] A mailbox cannot have this name",
            Bad::Charset => "[BADCHARSET (US-ASCII UTF-8)] Unknown charset",
            Bad::Flag => "[CANNOT] This flag cannot be set",
            Bad::SpecialUse => "[USEATTR] Unknown special use",
            Bad::Limit => "[LIMIT] The command asks for too much at once",
        };
        self.finish(io, format!("{tag} NO {text}\r\n"), false);
        Step::Again
    }

    /// Ends a command the backend refused. `to` says that the mailbox in question is a destination. `tag` is `*` where no command
    /// waits for a reply; one that does gets it before the end (RFC 9051 2.2.2).
    pub(super) fn refused(&mut self, io: &mut Io, tag: &str, refusal: Refusal, to: bool) {
        if refusal == Refusal::Gone {
            self.job = None;
            if tag != "*" {
                io.line(format_args!("{tag} NO {}", refusal_text(refusal, to)));
            }
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
            (Job::Reselect(it), Answer::Done) => self.reselect(io, it),
            (Job::Select(selecting), Answer::Selected(it)) => self.selected(io, selecting, it),
            (Job::Resync { tag, resync }, Answer::Changes(it)) => {
                self.resynced(io, &tag, &resync, it);
            }
            (Job::Close { tag }, Answer::Expunged(it)) => self.closed(io, tag, &it),
            (Job::Unselect { tag, verb }, Answer::Done) => self.unselected(io, &tag, verb),
            (Job::Changes(after), Answer::Changes(it)) => self.changed(io, after, it),
            (Job::Vanished(narrowing), Answer::Changes(it)) => self.vanished(io, narrowing, it),
            (Job::Narrow(narrowing), Answer::Found(it)) => self.narrowed(io, narrowing, it),
            (Job::Fetch { end, fetch }, Answer::Rows(it)) => self.rows(io, end, fetch, it),
            (Job::Fetch { end, fetch }, Answer::Octets(it)) => self.octets(io, end, fetch, it),
            (Job::Search { tag, verb, want }, Answer::Found(it)) => {
                self.found(io, &tag, verb, want, it);
            }
            (Job::Sort { tag, verb }, Answer::Found(it)) => self.sorted(io, &tag, verb, it),
            (Job::Thread { tag, verb }, Answer::Threads(it)) => self.threaded(io, &tag, verb, it),
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
            (Job::Quota { tag, verb, mailbox }, Answer::Quota(it)) => {
                self.quota_told(io, &tag, verb, mailbox.as_deref(), it);
            }
            (Job::Create { tag, mailbox }, Answer::Checked(it)) => {
                self.created(io, tag, mailbox, it);
            }
            (Job::Created { tag }, Answer::Status(it)) => self.created_id(io, &tag, it.ok()),
            (Job::Change { tag, verb }, Answer::Checked(it)) => self.checked(io, &tag, verb, it),
            (Job::Append(append), answer) => self.append_answer(io, append, answer),
            (Job::Watch { tag, notify }, Answer::Done) => self.watching(io, tag, notify),
            (Job::FirstOverview { tag, notify }, Answer::Overview(it)) => {
                self.first_overview(io, &tag, notify, it);
            }
            (Job::Overview { idle }, Answer::Overview(it)) => self.overview(io, idle, it),
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
        Refusal::Expunged => "[EXPUNGEISSUED] The message is gone",
        Refusal::UseAttr => "[USEATTR] The special use is taken or not possible",
        Refusal::Gone => "[NONEXISTENT] The mailbox or the account is gone",
        Refusal::Unavailable => "[UNAVAILABLE] Try again later",
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
    !matches!(
        verb,
        Verb::Fetch | Verb::Store | Verb::Search | Verb::Sort | Verb::Thread
    )
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
