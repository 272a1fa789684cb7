//! Opening and leaving a mailbox, and telling what other sessions did to it (RFC 9051 6.3.2, 6.3.13, 6.4.1, 6.4.2,
//! 7.4, 7.5; RFC 7162 3.2).

use super::Step;
use super::arguments::Names;
use super::enabled::Enabled;
use super::io::Io;
use super::job::{After, FetchEnd, Job, Narrowing, Selecting};
use super::mailbox::Mailbox;
use super::reply;
use super::table::Verb;
use super::view::{Set, View};
use crate::imap::ask::{Ask, Changed, Changes, Flags, ModSeq, Refusal, Selected, Uid};

/// What SELECT (QRESYNC …) says the client knows (RFC 7162 3.2.5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Resync {
    pub(super) uidvalidity: u32,
    pub(super) since: ModSeq,
    /// The UIDs it knows; none: all that may have been.
    pub(super) known: Option<Set>,
}

impl Mailbox {
    /// SELECT and EXAMINE. The mailbox selected before is left first, whatever comes of the new one.
    pub(super) fn select(&mut self, io: &mut Io, selecting: Selecting) {
        if self.view.take().is_some() {
            self.put(Ask::Unselect, Job::Reselect(selecting));
        } else {
            io.news = false;
            let ask = Ask::Select {
                mailbox: selecting.mailbox.clone(),
                read_only: selecting.read_only,
            };
            self.put(ask, Job::Select(selecting));
        }
    }

    pub(super) fn reselect(&mut self, io: &mut Io, selecting: Selecting) {
        io.line(format_args!(
            "* OK [CLOSED] The mailbox selected before is closed"
        ));
        self.select(io, selecting);
    }

    pub(super) fn selected(
        &mut self,
        io: &mut Io,
        selecting: Selecting,
        result: Result<Selected, Refusal>,
    ) {
        let Selecting {
            tag,
            mailbox,
            resync,
            ..
        } = selecting;
        let selected = match result {
            Ok(selected) => selected,
            Err(refusal) => return self.refused(io, &tag, refusal, false),
        };
        let read_only = selected.read_only;
        self.tell_selected(&mut io.output, &mailbox, &selected);
        let uidvalidity = selected.uidvalidity;
        let mut view = View::new(selected.uids, selected.highest_modseq, read_only);
        view.name = mailbox.into();
        self.view = Some(Box::new(view));
        // RFC 7162 3.2.5: of another UIDVALIDITY what the client knows is nothing.
        match resync.filter(|resync| resync.uidvalidity == uidvalidity) {
            Some(resync) => {
                let since = resync.since;
                self.put(Ask::Changes { since }, Job::Resync { tag, resync });
            }
            None => self.end_select(io, &tag),
        }
    }

    fn end_select(&mut self, io: &mut Io, tag: &str) {
        let read_only = self.view.as_ref().is_some_and(|view| view.read_only);
        let mode = if read_only { "READ-ONLY" } else { "READ-WRITE" };
        self.finish(io, format!("{tag} OK [{mode}] Selected\r\n"), false);
    }

    /// Tells what happened since the client was last here: VANISHED (EARLIER) and new flags. What happened after the mailbox was
    /// opened is told with the changes that follow.
    pub(super) fn resynced(
        &mut self,
        io: &mut Io,
        tag: &str,
        resync: &Resync,
        result: Result<Changes, Refusal>,
    ) {
        let Some(view) = &self.view else {
            return Self::fault(io);
        };
        let changes = match result {
            Ok(changes) => changes,
            Err(refusal) => return self.refused(io, tag, refusal, false),
        };
        let known = resync.known.as_ref().map(|set| set.bounds(u32::MAX));
        let is_known = |uid: Uid| known.as_ref().is_none_or(|known| holds(known, uid));
        let gone = changes.vanished.iter().copied();
        let gone = gone.filter(|uid| is_known(*uid) && !view.knows(*uid));
        tell_earlier(&mut io.output, gone);
        for it in changes.changed.iter().filter(|it| is_known(it.uid)) {
            if let Some(number) = view.number(it.uid) {
                tell_flags(&mut io.output, number, it, self.enabled);
            }
        }
        self.end_select(io, tag);
    }

    /// Tells what is gone of the messages UID FETCH (CHANGEDSINCE … VANISHED) asks for (RFC 7162 3.2.6).
    pub(super) fn vanished(
        &mut self,
        io: &mut Io,
        narrowing: Narrowing,
        result: Result<Changes, Refusal>,
    ) {
        let Some(view) = &self.view else {
            return Self::fault(io);
        };
        let changes = match result {
            Ok(changes) => changes,
            Err(refusal) => return self.refused(io, &narrowing.tag, refusal, false),
        };
        let gone = changes.vanished.iter().copied();
        let gone = gone.filter(|uid| holds(&narrowing.ranges, *uid) && !view.knows(*uid));
        tell_earlier(&mut io.output, gone);
        self.narrow(narrowing);
    }

    fn tell_selected(&self, out: &mut Vec<u8>, mailbox: &str, selected: &Selected) {
        let all = Flags {
            seen: true,
            answered: true,
            flagged: true,
            deleted: true,
            draft: true,
            keywords: selected.keywords.clone(),
        };
        out.extend_from_slice(b"* FLAGS ");
        reply::flags(out, &all);
        reply::line(out, format_args!("\r\n* {} EXISTS", selected.uids.len()));
        if !self.enabled.rev2 {
            reply::line(out, format_args!("* 0 RECENT"));
            let unseen = selected
                .first_unseen
                .filter(|_| !self.enabled.uid_only)
                .and_then(|uid| selected.uids.binary_search(&uid).ok());
            if let Some(index) = unseen {
                reply::line(
                    out,
                    format_args!("* OK [UNSEEN {}] First unseen", index + 1),
                );
            }
        }
        tell_kept(out, &all, selected);
        if self.enabled.rev2 {
            out.extend_from_slice(b"* LIST () \"/\" ");
            Names::Utf8.encode(out, mailbox);
            out.extend_from_slice(b"\r\n");
        }
    }

    /// CLOSE removes what is marked and says nothing of it; a mailbox opened read-only is only left.
    pub(super) fn close(&mut self, tag: Box<str>) {
        if self.view.as_ref().is_some_and(|view| view.read_only) {
            self.put(
                Ask::Unselect,
                Job::Unselect {
                    tag,
                    verb: Verb::Close,
                },
            );
        } else {
            self.put(Ask::Expunge { only: None }, Job::Close { tag });
        }
    }

    pub(super) fn closed(
        &mut self,
        io: &mut Io,
        tag: Box<str>,
        result: &Result<Vec<Uid>, Refusal>,
    ) {
        match result {
            Ok(_) => self.put(
                Ask::Unselect,
                Job::Unselect {
                    tag,
                    verb: Verb::Close,
                },
            ),
            Err(refusal) => self.refused(io, &tag, *refusal, false),
        }
    }

    pub(super) fn unselected(&mut self, io: &mut Io, tag: &str, verb: Verb) {
        self.view = None;
        io.news = false;
        self.finish(io, format!("{tag} OK {} completed\r\n", verb.name()), false);
    }

    /// Asks for changes; what is to come after follows them. Only with a mailbox selected.
    pub(super) fn fetch_changes(&mut self, after: After) {
        let since = self.view.as_ref().map_or(0, |view| view.known);
        self.put(Ask::Changes { since }, Job::Changes(after));
    }

    pub(super) fn changed(&mut self, io: &mut Io, after: After, result: Result<Changes, Refusal>) {
        let expunge = match &after {
            After::Reply(ending) => ending.expunge,
            After::Idle(_) | After::Deleted(_) => true,
            After::Nothing => self.expunges_at_once(),
        };
        let new = match result {
            // Asked whatever NOTIFY wants to hear: what it does not, is not told.
            Ok(_) if self.is_muted() => Vec::new(),
            Ok(changes) => self.tell_changes(io, &changes, expunge),
            Err(Refusal::Gone) => return self.gone(io, after),
            // What is new will be told another time; a command itself is done.
            Err(_) => {
                io.news |= matches!(after, After::Reply(_) | After::Deleted(_));
                Vec::new()
            }
        };
        match self.plan_for_new() {
            Some(plan) if !new.is_empty() => self.begin_fetch(FetchEnd::Pushed(after), new, plan),
            _ => self.go_on(io, after),
        }
    }

    /// The mailbox selected is not there any more. Whoever deleted it goes on without one (RFC 9051 6.3.5 asks for OK); every
    /// other session ends, once the command it waits for is answered (RFC 9051 2.2.2).
    pub(super) fn gone(&mut self, io: &mut Io, after: After) {
        if let After::Deleted(tag) = after {
            io.line(format_args!(
                "* OK [CLOSED] The mailbox that was selected is deleted"
            ));
            let verb = Verb::Delete;
            return self.put(Ask::Unselect, Job::Unselect { tag, verb });
        }
        if let After::Reply(ending) = after {
            self.write_end(io, &ending);
        }
        self.refused(io, "*", Refusal::Gone, false);
    }

    /// Changes are told: what comes then.
    pub(super) fn go_on(&mut self, io: &mut Io, after: After) {
        match after {
            After::Deleted(tag) => {
                let reply = format!("{tag} OK {} completed\r\n", Verb::Delete.name());
                self.finish(io, reply, true);
            }
            After::Reply(ending) => self.write_end(io, &ending),
            After::Idle(tag) => self.job = Some(Box::new(Job::Idle { tag })),
            After::Nothing => {}
        }
    }

    /// Tells what changed, and gives the new messages.
    fn tell_changes(&mut self, io: &mut Io, changes: &Changes, expunge: bool) -> Vec<Uid> {
        let (enabled, flags_too) = (self.enabled, self.tells_flags());
        let Some(view) = &mut self.view else {
            return Vec::new();
        };
        let out = &mut io.output;
        view.vanish(changes.vanished.iter().copied());
        if expunge {
            enabled.tell_vanished(out, view);
        }
        let newest = view.uids().last().copied().unwrap_or(0);
        let gone = |uid: Uid| changes.vanished.binary_search(&uid).is_ok();
        let before = view.count();
        if view.extend(
            changes
                .changed
                .iter()
                .map(|it| it.uid)
                .filter(|uid| !gone(*uid)),
        ) {
            reply::line(out, format_args!("* {} EXISTS", view.count()));
            if !enabled.rev2 {
                reply::line(out, format_args!("* 0 RECENT"));
            }
        }
        for it in changes.changed.iter().filter(|it| it.uid <= newest) {
            if let (Some(number), true) = (view.number(it.uid), flags_too) {
                tell_flags(out, number, it, enabled);
            }
        }
        view.known = view.known.max(changes.highest_modseq);
        view.uids().get(before..).unwrap_or_default().to_vec()
    }

    /// While idle: news at once, otherwise wait for DONE (RFC 9051 6.3.13).
    pub(super) fn idle(&mut self, io: &mut Io) -> Step {
        let Some(Job::Idle { tag }) = self.job.as_deref() else {
            return Step::Again;
        };
        let tag = tag.clone();
        let muted = self.is_muted();
        if std::mem::take(&mut io.news) && self.view.is_some() && !muted {
            self.fetch_changes(After::Idle(tag));
            return Step::Again;
        }
        if self.has_overview_due(io) {
            self.ask_overview(io, Some(tag));
            return Step::Again;
        }
        match io.plain_line() {
            Ok(line) if line.eq_ignore_ascii_case(b"DONE") => {
                self.finish(io, format!("{tag} OK IDLE completed\r\n"), true);
                Step::Again
            }
            Ok(_) => {
                self.job = None;
                io.bad(Some(&tag), "DONE was expected")
            }
            Err(step) => step,
        }
    }
}

/// Whether ascending, disjoint ranges hold a UID.
fn holds(ranges: &[(Uid, Uid)], uid: Uid) -> bool {
    let next = ranges.partition_point(|(low, _)| *low <= uid);
    next.checked_sub(1)
        .and_then(|at| ranges.get(at))
        .is_some_and(|(_, high)| uid <= *high)
}

/// `* VANISHED (EARLIER) 41,43:116`: of these the client is to forget what it knows; no numbers change.
fn tell_earlier(out: &mut Vec<u8>, gone: impl Iterator<Item = Uid>) {
    let set = reply::set(gone);
    if !set.is_empty() {
        reply::line(out, format_args!("* VANISHED (EARLIER) {set}"));
    }
}

/// The flags of a message as they are now.
fn tell_flags(out: &mut Vec<u8>, number: u32, it: &Changed, enabled: Enabled) {
    enabled.begin_fetch(out, number, it.uid, true);
    out.extend_from_slice(b"FLAGS ");
    reply::flags(out, &it.flags);
    if enabled.condstore {
        reply::put(out, format_args!(" MODSEQ ({})", it.modseq));
    }
    out.extend_from_slice(b")\r\n");
}

/// Writes what SELECT tells in response codes.
fn tell_kept(out: &mut Vec<u8>, all: &Flags, selected: &Selected) {
    out.extend_from_slice(b"* OK [PERMANENTFLAGS ");
    if selected.read_only {
        out.extend_from_slice(b"()");
    } else {
        reply::flags(out, all);
        // Any keyword may be made up.
        out.pop();
        out.extend_from_slice(b" \\*)");
    }
    reply::line(out, format_args!("] Kept flags"));
    reply::line(
        out,
        format_args!("* OK [UIDVALIDITY {}] Valid", selected.uidvalidity),
    );
    reply::line(
        out,
        format_args!("* OK [UIDNEXT {}] Next", selected.uidnext),
    );
    reply::line(
        out,
        format_args!("* OK [HIGHESTMODSEQ {}] Highest", selected.highest_modseq),
    );
    reply::line(
        out,
        format_args!("* OK [MAILBOXID ({})] Id", selected.mailbox_id),
    );
}
