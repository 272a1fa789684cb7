//! Opening and leaving a mailbox, and telling what other sessions did to it (RFC 9051 6.3.2, 6.3.13, 6.4.1, 6.4.2, 7.4, 7.5).

use super::Step;
use super::arguments::Names;
use super::io::Io;
use super::mailbox::{Job, Mailbox};
use super::reply;
use super::table::Verb;
use super::view::View;
use crate::imap::ask::{Ask, Changes, Flags, Refusal, Selected, Uid};

/// Writes EXPUNGE for every message that is gone.
pub(super) fn tell_vanished(out: &mut Vec<u8>, view: &mut View) {
    for number in view.take_vanished() {
        reply::line(out, format_args!("* {number} EXPUNGE"));
    }
}

impl Mailbox {
    /// SELECT and EXAMINE. The mailbox selected before is left first, whatever comes of the new one.
    pub(super) fn select(&mut self, io: &mut Io, tag: Box<str>, mailbox: String, read_only: bool) {
        if self.view.take().is_some() {
            self.put(
                Ask::Unselect,
                Job::Reselect {
                    tag,
                    mailbox,
                    read_only,
                },
            );
        } else {
            io.news = false;
            let ask = Ask::Select {
                mailbox: mailbox.clone(),
                read_only,
            };
            self.put(ask, Job::Select { tag, mailbox });
        }
    }

    pub(super) fn reselect(
        &mut self,
        io: &mut Io,
        tag: Box<str>,
        mailbox: String,
        read_only: bool,
    ) {
        io.line(format_args!(
            "* OK [CLOSED] The mailbox selected before is closed"
        ));
        self.select(io, tag, mailbox, read_only);
    }

    pub(super) fn selected(
        &mut self,
        io: &mut Io,
        tag: &str,
        mailbox: &str,
        result: Result<Selected, Refusal>,
    ) {
        let selected = match result {
            Ok(selected) => selected,
            Err(refusal) => return self.refused(io, tag, refusal, false),
        };
        let read_only = selected.read_only;
        self.tell_selected(&mut io.output, mailbox, &selected);
        let view = View::new(selected.uids, selected.highest_modseq, read_only);
        self.view = Some(Box::new(view));
        let mode = if read_only { "READ-ONLY" } else { "READ-WRITE" };
        self.finish(io, format!("{tag} OK [{mode}] Selected\r\n"), false);
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
        if !self.rev2 {
            reply::line(out, format_args!("* 0 RECENT"));
            let unseen = selected
                .first_unseen
                .and_then(|uid| selected.uids.binary_search(&uid).ok());
            if let Some(index) = unseen {
                reply::line(
                    out,
                    format_args!("* OK [UNSEEN {}] First unseen", index + 1),
                );
            }
        }
        tell_kept(out, &all, selected);
        if self.rev2 {
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

    /// Asks for changes; the reply follows them. Only with a mailbox selected.
    pub(super) fn fetch_changes(&mut self, reply: String, expunge: bool) {
        let since = self.view.as_ref().map_or(0, |view| view.known);
        self.put(
            Ask::Changes { since },
            Job::Changes {
                reply: reply.into_bytes(),
                expunge,
            },
        );
    }

    pub(super) fn changed(
        &mut self,
        io: &mut Io,
        reply: &[u8],
        expunge: bool,
        result: Result<Changes, Refusal>,
    ) {
        match result {
            Ok(changes) => self.tell_changes(io, &changes, expunge),
            Err(Refusal::Gone) => return self.refused(io, "*", Refusal::Gone, false),
            // The command itself is done; what is new will be told another time.
            Err(_) => io.news = true,
        }
        io.output.extend_from_slice(reply);
    }

    fn tell_changes(&mut self, io: &mut Io, changes: &Changes, expunge: bool) {
        let Some(view) = &mut self.view else { return };
        let out = &mut io.output;
        view.vanish(changes.vanished.iter().copied());
        if expunge {
            tell_vanished(out, view);
        }
        let newest = view.uids().last().copied().unwrap_or(0);
        let gone = |uid: Uid| changes.vanished.binary_search(&uid).is_ok();
        if view.extend(
            changes
                .changed
                .iter()
                .map(|it| it.uid)
                .filter(|uid| !gone(*uid)),
        ) {
            reply::line(out, format_args!("* {} EXISTS", view.count()));
            if !self.rev2 {
                reply::line(out, format_args!("* 0 RECENT"));
            }
        }
        for it in changes.changed.iter().filter(|it| it.uid <= newest) {
            let Some(number) = view.number(it.uid) else {
                continue;
            };
            reply::put(out, format_args!("* {number} FETCH (UID {} FLAGS ", it.uid));
            reply::flags(out, &it.flags);
            if self.condstore {
                reply::put(out, format_args!(" MODSEQ ({})", it.modseq));
            }
            out.extend_from_slice(b")\r\n");
        }
        view.known = view.known.max(changes.highest_modseq);
    }

    /// While idle: news at once, otherwise wait for DONE (RFC 9051 6.3.13).
    pub(super) fn idle(&mut self, io: &mut Io) -> Step {
        let Some(Job::Idle { tag }) = self.job.as_deref() else {
            return Step::Again;
        };
        let tag = tag.clone();
        if let (true, Some(view)) = (std::mem::take(&mut io.news), &self.view) {
            let since = view.known;
            self.put(Ask::Changes { since }, Job::IdleChanges { tag });
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

    pub(super) fn idle_changed(
        &mut self,
        io: &mut Io,
        tag: Box<str>,
        result: Result<Changes, Refusal>,
    ) {
        match result {
            Ok(changes) => self.tell_changes(io, &changes, true),
            Err(Refusal::Gone) => return self.refused(io, "*", Refusal::Gone, false),
            Err(_) => {}
        }
        self.job = Some(Box::new(Job::Idle { tag }));
    }
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
