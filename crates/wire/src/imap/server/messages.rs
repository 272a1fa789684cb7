//! Commands about messages of the selected mailbox: FETCH, STORE, SEARCH, COPY, MOVE, EXPUNGE (RFC 9051 6.4).

use super::Step;
use super::arguments::Bad;
use super::fetch::{Fetch, Plan, Step as FetchStep};
use super::io::{Command, Io};
use super::mailbox::{Job, Mailbox, may_expunge};
use super::reply;
use super::search::{self, Return, Telling};
use super::table::Verb;
use super::view::Set;
use crate::imap::ask::{
    Ask, Changed, Copied, Criterion, Found, ModSeq, Refusal, Rows, StoreOutcome, Uid,
};
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
        changed_since: Option<ModSeq>,
    ) -> Result<(), Bad> {
        let by_uid = command.verb.by_uid();
        let uids = self.resolve(set, by_uid)?;
        self.condstore |= plan.modseq();
        if uids.is_empty() {
            self.done(io, command);
            return Ok(());
        }
        let tag = command.tag.clone();
        match changed_since {
            // Only what changed is fetched at all: bodies of the others are not even read (RFC 7162 3.1.4.1).
            Some(since) => {
                let criteria = Criterion::ModSeq(since.saturating_add(1));
                self.put(
                    Ask::Search {
                        criteria,
                        among: uids.into(),
                    },
                    Job::Narrow { tag, by_uid, plan },
                );
            }
            None => self.begin_fetch(tag, by_uid, uids, plan),
        }
        Ok(())
    }

    fn begin_fetch(&mut self, tag: Box<str>, by_uid: bool, uids: Vec<Uid>, plan: Plan) {
        let read_only = self.view.as_ref().is_none_or(|view| view.read_only);
        let fetch = Fetch::new(uids, plan, self.condstore, read_only);
        self.job = Some(Box::new(Job::Fetch { tag, by_uid, fetch }));
    }

    pub(super) fn narrowed(
        &mut self,
        io: &mut Io,
        tag: Box<str>,
        by_uid: bool,
        plan: Plan,
        result: Result<Found, Refusal>,
    ) {
        match result {
            Ok(found) => self.begin_fetch(tag, by_uid, found.uids, plan),
            Err(refusal) => self.refused(io, &tag, refusal, false),
        }
    }

    /// Goes on with a FETCH.
    pub(super) fn fetch_on(&mut self, io: &mut Io) -> Step {
        let (Some(Job::Fetch { tag, by_uid, fetch }), Some(view)) =
            (self.job.as_deref_mut(), &mut self.view)
        else {
            return Step::Again;
        };
        match fetch.step(&mut io.output, view) {
            FetchStep::Ask(ask) => Step::Ask(ask),
            FetchStep::Write => Step::Write,
            FetchStep::Done => {
                let name = if *by_uid { "UID FETCH" } else { "FETCH" };
                let reply = if fetch.unknown_encoding {
                    format!("{tag} NO [UNKNOWN-CTE] A part cannot be decoded\r\n")
                } else if fetch.missing && !*by_uid {
                    // RFC 2180 4.1.2: the client asked for messages it has not been told are gone.
                    format!("{tag} NO [EXPUNGEISSUED] Some of the messages are gone\r\n")
                } else {
                    format!("{tag} OK {name} completed\r\n")
                };
                let by_uid = *by_uid;
                self.finish(io, reply, by_uid);
                Step::Again
            }
        }
    }

    pub(super) fn rows(
        &mut self,
        io: &mut Io,
        tag: Box<str>,
        by_uid: bool,
        mut fetch: Fetch,
        result: Result<Rows, Refusal>,
    ) {
        match result {
            Ok(rows) => match fetch.rows(rows) {
                Ok(()) => self.job = Some(Box::new(Job::Fetch { tag, by_uid, fetch })),
                Err(_) => Self::fault(io),
            },
            Err(refusal) => self.refused(io, &tag, refusal, false),
        }
    }

    pub(super) fn octets(
        &mut self,
        io: &mut Io,
        tag: Box<str>,
        by_uid: bool,
        mut fetch: Fetch,
        result: Result<Vec<u8>, Refusal>,
    ) {
        let taken = result.is_ok_and(|octets| fetch.octets(&octets, &mut io.output).is_ok());
        if taken {
            self.job = Some(Box::new(Job::Fetch { tag, by_uid, fetch }));
        } else {
            // In the middle of a literal nothing can be said, not even BYE: it would be taken for the message.
            io.leave(Why::Fault);
        }
    }

    pub(super) fn search(&mut self, command: &Command) -> Result<(), Bad> {
        let view = self.view.as_mut().ok_or(Bad::Syntax)?;
        let mut cursor = command.arguments();
        let want = search::parse_return(&mut cursor)?;
        let search = match search::parse(cursor, want, view) {
            Err(bad @ (Bad::Charset | Bad::Limit)) if want.save => {
                // A search that fails with NO empties `$` (RFC 5182 2.1).
                view.save(Vec::new());
                return Err(bad);
            }
            other => other?,
        };
        self.condstore |= search.modseq;
        let (tag, by_uid) = (command.tag.clone(), command.verb.by_uid());
        let among = view.uids().into();
        let job = Job::Search { tag, by_uid, want };
        let criteria = search.criteria;
        self.put(Ask::Search { criteria, among }, job);
        Ok(())
    }

    pub(super) fn found(
        &mut self,
        io: &mut Io,
        tag: &str,
        verb_by_uid: bool,
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
            by_uid: verb_by_uid,
            extended: want.extended || self.rev2,
        };
        search::tell(&mut io.output, &telling, want, &found, view);
        if want.save {
            view.save(want.saved(&found.uids));
        }
        let verb = if verb_by_uid {
            Verb::UidSearch
        } else {
            Verb::Search
        };
        self.finish(
            io,
            format!("{tag} OK {} completed\r\n", verb.name()),
            verb_by_uid,
        );
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
        for it in &outcome.changed {
            view.own_change(it.modseq);
            if let Some(number) = view.number(it.uid) {
                quiet.tell(&mut io.output, number, it, self.condstore);
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
        super::changes::tell_vanished(&mut io.output, view);
        self.finish(io, format!("{tag} OK {} completed\r\n", verb.name()), true);
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
                super::changes::tell_vanished(&mut io.output, view);
                self.finish(io, format!("{tag} OK {} completed\r\n", verb.name()), true);
            }
            Err(refusal) => self.refused(io, tag, refusal, false),
        }
    }
}

/// How the outcome of a STORE is told.
#[derive(Debug, Clone, Copy)]
pub(super) struct Quiet {
    /// UID STORE.
    pub(super) by_uid: bool,
    /// `.SILENT`
    pub(super) silent: bool,
    /// UNCHANGEDSINCE was given.
    pub(super) conditional: bool,
}

impl Quiet {
    /// Writes the FETCH response for a message whose flags were stored, if there is anything to tell.
    fn tell(self, out: &mut Vec<u8>, number: u32, stored: &Changed, condstore: bool) {
        // RFC 7162 3.1.3: the new MODSEQ is told even where flags are not wanted.
        let modseq = condstore || self.conditional;
        if self.silent && !modseq {
            return;
        }
        let mut parts: Vec<Vec<u8>> = Vec::new();
        if self.by_uid {
            parts.push(format!("UID {}", stored.uid).into_bytes());
        }
        if modseq {
            parts.push(format!("MODSEQ ({})", stored.modseq).into_bytes());
        }
        if !self.silent {
            let mut flags = b"FLAGS ".to_vec();
            reply::flags(&mut flags, &stored.flags);
            parts.push(flags);
        }
        reply::put(out, format_args!("* {number} FETCH ("));
        out.extend_from_slice(&parts.join(&b' '));
        out.extend_from_slice(b")\r\n");
    }
}
