//! Commands about messages of the selected mailbox: FETCH, STORE, SEARCH, COPY, MOVE, EXPUNGE (RFC 9051 6.4).

use super::Step;
use super::arguments::Bad;
use super::enabled::Enabled;
use super::extras::Modifiers;
use super::fetch::{Fetch, Plan, Step as FetchStep};
use super::io::{Command, Io};
use super::job::{FetchEnd, Job, Narrowing};
use super::mailbox::{Mailbox, may_expunge};
use super::reply;
use super::search::{self, Return, Telling};
use super::table::Verb;
use super::view::Set;
use crate::imap::ask::{Ask, Changed, Copied, Criterion, Found, Refusal, Rows, StoreOutcome, Uid};
use crate::session::Why;

/// How many messages one COPY or MOVE may name.
const COPIES: usize = 100_000;

impl Mailbox {
    pub(super) fn resolve(&self, set: &Set, by_uid: bool) -> Result<Vec<Uid>, Bad> {
        let view = self.view.as_ref().ok_or(Bad::Syntax)?;
        Ok(view.resolve(set, by_uid)?)
    }

    /// The messages COPY and MOVE name. They succeed or fail as one (RFC 9051 6.4.7), so they cannot be done in pieces.
    pub(super) fn resolve_copy(&self, set: &Set, by_uid: bool) -> Result<Vec<Uid>, Bad> {
        let uids = self.resolve(set, by_uid)?;
        if uids.len() > COPIES {
            Err(Bad::Limit)
        } else {
            Ok(uids)
        }
    }

    /// Puts a question that changes the mailbox: not when it was opened read-only, and not about nothing.
    pub(super) fn change(
        &mut self,
        io: &mut Io,
        command: &Command,
        uids: Vec<Uid>,
        ask: impl FnOnce(Vec<Uid>) -> Ask,
        job: Job,
    ) {
        if self.view.as_ref().is_none_or(|view| view.read_only) {
            let reply = format!("{} NO [NOPERM] The mailbox is read-only\r\n", command.tag);
            self.finish(io, reply, may_expunge(command.verb));
        } else if uids.is_empty() {
            self.done(io, command);
        } else {
            self.put(ask(uids), job);
        }
    }

    pub(super) fn fetch(
        &mut self,
        io: &mut Io,
        command: &Command,
        set: &Set,
        plan: Plan,
        modifiers: Modifiers,
    ) -> Result<(), Bad> {
        let by_uid = command.verb.by_uid();
        let mut uids = self.resolve(set, by_uid)?;
        self.enabled.condstore |= plan.modseq();
        let tag = command.tag.clone();
        let Some(since) = modifiers.changed_since else {
            if let Some(window) = modifiers.partial {
                uids = window.of(&uids).to_vec();
            }
            if uids.is_empty() {
                self.done(io, command);
            } else {
                self.begin_fetch(FetchEnd::Tagged { tag, by_uid }, uids, plan);
            }
            return Ok(());
        };
        let mut narrowing = Narrowing {
            tag,
            by_uid,
            plan,
            uids,
            since,
            ranges: Vec::new(),
            partial: modifiers.partial,
        };
        if modifiers.vanished {
            let view = self.view.as_ref().ok_or(Bad::Syntax)?;
            narrowing.ranges = view.uid_ranges(set, true)?;
            self.put(Ask::Changes { since }, Job::Vanished(narrowing));
        } else if narrowing.uids.is_empty() {
            self.done(io, command);
        } else {
            self.narrow(narrowing);
        }
        Ok(())
    }

    /// Only what changed is fetched at all: bodies of the others are not even read (RFC 7162 3.1.4.1).
    pub(super) fn narrow(&mut self, mut narrowing: Narrowing) {
        let among = std::mem::take(&mut narrowing.uids).into();
        let criteria = Criterion::ModSeq(narrowing.since.saturating_add(1));
        self.put(Ask::Search { criteria, among }, Job::Narrow(narrowing));
    }

    pub(super) fn begin_fetch(&mut self, end: FetchEnd, uids: Vec<Uid>, plan: Plan) {
        let read_only = self.view.as_ref().is_none_or(|view| view.read_only);
        let fetch = Fetch::new(uids, plan, self.enabled, read_only);
        self.job = Some(Box::new(Job::Fetch { end, fetch }));
    }

    pub(super) fn narrowed(
        &mut self,
        io: &mut Io,
        narrowing: Narrowing,
        result: Result<Found, Refusal>,
    ) {
        let Narrowing {
            tag,
            by_uid,
            plan,
            partial,
            ..
        } = narrowing;
        match result {
            Ok(mut found) => {
                if let Some(window) = partial {
                    found.uids = window.of(&found.uids).to_vec();
                }
                self.begin_fetch(FetchEnd::Tagged { tag, by_uid }, found.uids, plan);
            }
            Err(refusal) => self.refused(io, &tag, refusal, false),
        }
    }

    /// Goes on with a FETCH.
    pub(super) fn fetch_on(&mut self, io: &mut Io) -> Step {
        let (Some(Job::Fetch { fetch, .. }), Some(view)) =
            (self.job.as_deref_mut(), &mut self.view)
        else {
            return Step::Again;
        };
        match fetch.step(&mut io.output, view) {
            FetchStep::Ask(ask) => Step::Ask(ask),
            FetchStep::Write => Step::Write,
            FetchStep::Done => {
                if let Some(Job::Fetch { end, fetch }) = self.job.take().map(|job| *job) {
                    self.fetched(io, end, &fetch);
                }
                Step::Again
            }
        }
    }

    fn fetched(&mut self, io: &mut Io, end: FetchEnd, fetch: &Fetch) {
        let (tag, by_uid) = match end {
            FetchEnd::Tagged { tag, by_uid } => (tag, by_uid),
            FetchEnd::Pushed(after) => return self.go_on(io, after),
        };
        let name = if by_uid { "UID FETCH" } else { "FETCH" };
        let reply = if fetch.unknown_encoding {
            format!("{tag} NO [UNKNOWN-CTE] A part cannot be decoded\r\n")
        } else if fetch.missing && !by_uid {
            // RFC 2180 4.1.2: the client asked for messages it has not been told are gone.
            format!("{tag} NO [EXPUNGEISSUED] Some of the messages are gone\r\n")
        } else {
            format!("{tag} OK {name} completed\r\n")
        };
        self.finish(io, reply, by_uid);
    }

    pub(super) fn rows(
        &mut self,
        io: &mut Io,
        end: FetchEnd,
        mut fetch: Fetch,
        result: Result<Rows, Refusal>,
    ) {
        match (result, end) {
            (Ok(rows), end) => match fetch.rows(rows) {
                Ok(()) => self.job = Some(Box::new(Job::Fetch { end, fetch })),
                Err(_) => Self::fault(io),
            },
            (Err(refusal), FetchEnd::Tagged { tag, .. }) => {
                self.refused(io, &tag, refusal, false);
            }
            (Err(Refusal::Gone), FetchEnd::Pushed(after)) => self.gone(io, after),
            // Nobody asked: the client has been told that there are new messages, and can ask.
            (Err(_), FetchEnd::Pushed(after)) => self.go_on(io, after),
        }
    }

    pub(super) fn octets(
        &mut self,
        io: &mut Io,
        end: FetchEnd,
        mut fetch: Fetch,
        result: Result<Vec<u8>, Refusal>,
    ) {
        let taken = result.is_ok_and(|octets| fetch.octets(&octets, &mut io.output).is_ok());
        if taken {
            self.job = Some(Box::new(Job::Fetch { end, fetch }));
        } else {
            // In the middle of a literal nothing can be said, not even BYE: it would be taken for the message.
            io.leave(Why::Fault);
        }
    }

    pub(super) fn search(&mut self, command: &Command) -> Result<(), Bad> {
        let view = self.view.as_mut().ok_or(Bad::Syntax)?;
        let mut cursor = command.arguments();
        let want = search::parse_return(&mut cursor)?;
        let search = match search::parse(cursor, want, view, self.enabled) {
            Err(bad @ (Bad::Charset | Bad::Limit)) if want.save => {
                // A search that fails with NO empties `$` (RFC 5182 2.1).
                view.save(Vec::new());
                return Err(bad);
            }
            other => other?,
        };
        self.enabled.condstore |= search.modseq;
        let (tag, verb) = (command.tag.clone(), command.verb);
        let among = view.uids().into();
        let job = Job::Search { tag, verb, want };
        let criteria = search.criteria;
        self.put(Ask::Search { criteria, among }, job);
        Ok(())
    }

    pub(super) fn found(
        &mut self,
        io: &mut Io,
        tag: &str,
        verb: Verb,
        want: Return,
        result: Result<Found, Refusal>,
    ) {
        let Some(view) = &mut self.view else {
            return Self::fault(io);
        };
        let found = match result {
            Ok(found) => found,
            Err(refusal) => {
                if want.save {
                    view.save(Vec::new());
                }
                return self.refused(io, tag, refusal, false);
            }
        };
        let telling = Telling {
            tag,
            by_uid: verb.by_uid(),
            extended: want.extended || self.enabled.rev2,
        };
        search::tell(&mut io.output, &telling, want, &found, view);
        if want.save {
            view.save(want.saved(&found.uids));
        }
        let reply = format!("{tag} OK {} completed\r\n", verb.name());
        self.finish(io, reply, verb.by_uid());
    }

    pub(super) fn stored(
        &mut self,
        io: &mut Io,
        tag: &str,
        quiet: Quiet,
        result: Result<StoreOutcome, Refusal>,
    ) {
        let Some(view) = &mut self.view else {
            return Self::fault(io);
        };
        let outcome = match result {
            Ok(outcome) => outcome,
            Err(refusal) => return self.refused(io, tag, refusal, false),
        };
        for modseq in &outcome.made {
            view.own_change(*modseq);
        }
        for it in &outcome.changed {
            if let Some(number) = view.number(it.uid) {
                quiet.tell(&mut io.output, number, it, self.enabled);
            }
        }
        let by_uid = quiet.by_uid;
        let verb = if by_uid { Verb::UidStore } else { Verb::Store };
        let modified: Vec<u32> = if by_uid {
            outcome.modified
        } else {
            outcome
                .modified
                .iter()
                .filter_map(|uid| view.number(*uid))
                .collect()
        };
        let reply = if modified.is_empty() {
            format!("{tag} OK {} completed\r\n", verb.name())
        } else {
            let set = reply::set(modified.into_iter());
            format!("{tag} OK [MODIFIED {set}] Some had changed\r\n")
        };
        self.finish(io, reply, by_uid);
    }

    pub(super) fn copied(
        &mut self,
        io: &mut Io,
        tag: &str,
        verb: Verb,
        result: Result<Copied, Refusal>,
    ) {
        let Some(view) = &mut self.view else {
            return Self::fault(io);
        };
        let copied = match result {
            Ok(copied) => copied,
            Err(refusal) => return self.refused(io, tag, refusal, true),
        };
        // The destination may be the selected mailbox.
        io.news = true;
        let remove = matches!(verb, Verb::Move | Verb::UidMove);
        let from = reply::set(copied.uids.iter().map(|pair| pair.0));
        let to = reply::set(copied.uids.iter().map(|pair| pair.1));
        let code = if copied.uids.is_empty() {
            String::new()
        } else {
            format!("[COPYUID {} {from} {to}] ", copied.uidvalidity)
        };
        if !remove {
            return self.finish(
                io,
                format!("{tag} OK {code}{} completed\r\n", verb.name()),
                true,
            );
        }
        // RFC 6851 4.3: the code stands before the EXPUNGE responses.
        if !code.is_empty() {
            io.line(format_args!("* OK {code}Moved"));
        }
        view.vanish(copied.uids.iter().map(|pair| pair.0));
        self.enabled.tell_vanished(&mut io.output, view);
        self.finish_removal(io, tag, verb);
    }

    pub(super) fn expunge(
        &mut self,
        io: &mut Io,
        command: &Command,
        set: Option<&Set>,
    ) -> Result<(), Bad> {
        let only = set.map(|set| self.resolve(set, true)).transpose()?;
        let job = Job::Expunge {
            tag: command.tag.clone(),
            verb: command.verb,
        };
        if self.view.as_ref().is_none_or(|view| view.read_only) {
            let reply = format!("{} NO [NOPERM] The mailbox is read-only\r\n", command.tag);
            self.finish(io, reply, true);
        } else if only.as_ref().is_some_and(Vec::is_empty) {
            self.done(io, command);
        } else {
            self.put(Ask::Expunge { only }, job);
        }
        Ok(())
    }

    pub(super) fn expunged(
        &mut self,
        io: &mut Io,
        tag: &str,
        verb: Verb,
        result: Result<Vec<Uid>, Refusal>,
    ) {
        let Some(view) = &mut self.view else {
            return Self::fault(io);
        };
        match result {
            Ok(uids) => {
                view.vanish(uids);
                self.enabled.tell_vanished(&mut io.output, view);
                self.finish_removal(io, tag, verb);
            }
            Err(refusal) => self.refused(io, tag, refusal, false),
        }
    }
}

/// How the outcome of a STORE is told.
#[derive(Debug, Clone, Copy)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is one independent wish of the client"
)]
pub(super) struct Quiet {
    /// UID STORE.
    pub(super) by_uid: bool,
    /// Whether the UID is told.
    pub(super) tell_uid: bool,
    /// `.SILENT`
    pub(super) silent: bool,
    /// UNCHANGEDSINCE was given.
    pub(super) conditional: bool,
}

impl Quiet {
    /// Writes the FETCH response for a message whose flags were stored, if there is anything to tell.
    fn tell(self, out: &mut Vec<u8>, number: u32, stored: &Changed, enabled: Enabled) {
        // RFC 7162 3.1.3: the new MODSEQ is told even where flags are not wanted.
        let modseq = enabled.condstore || self.conditional;
        if self.silent && !modseq {
            return;
        }
        enabled.begin_fetch(out, number, stored.uid, self.tell_uid);
        if modseq {
            reply::put(out, format_args!("MODSEQ ({})", stored.modseq));
        }
        if !self.silent {
            out.extend_from_slice(if modseq { b" FLAGS " } else { b"FLAGS " });
            reply::flags(out, &stored.flags);
        }
        out.extend_from_slice(b")\r\n");
    }
}
