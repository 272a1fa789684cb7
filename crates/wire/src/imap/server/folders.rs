//! Answers to commands about mailboxes: LIST, STATUS, CREATE and the like (RFC 9051 6.3).

use std::collections::VecDeque;

use super::io::Io;
use super::job::{After, Job};
use super::list::List;
use super::mailbox::Mailbox;
use super::status::StatusItems;
use super::table::Verb;
use crate::imap::ask::{self, Ask, Refusal, Status};

impl Mailbox {
    pub(super) fn listed(
        &mut self,
        io: &mut Io,
        tag: Box<str>,
        list: List,
        result: Result<Vec<ask::Mailbox>, Refusal>,
    ) {
        let mailboxes = match result {
            Ok(mailboxes) => mailboxes,
            Err(refusal) => return self.refused(io, &tag, refusal, false),
        };
        if list.costs_too_much(&mailboxes) {
            return self.refused(io, &tag, Refusal::Limit, false);
        }
        let names = list.tell(&mut io.output, &mailboxes, self.names());
        let verb = list.verb();
        match list.status {
            Some(items) => self.next_status(io, tag, items, names.into()),
            None => self.finish(io, format!("{tag} OK {} completed\r\n", verb.name()), true),
        }
    }

    fn next_status(
        &mut self,
        io: &mut Io,
        tag: Box<str>,
        items: StatusItems,
        mut left: VecDeque<String>,
    ) {
        match left.pop_front() {
            Some(current) => {
                let ask = Ask::Status {
                    mailbox: current.clone(),
                    deleted_size: items.deleted_size(),
                };
                self.put(
                    ask,
                    Job::ListStatus {
                        tag,
                        items,
                        current,
                        left,
                    },
                );
            }
            None => self.finish(io, format!("{tag} OK LIST completed\r\n"), true),
        }
    }

    pub(super) fn list_status(
        &mut self,
        io: &mut Io,
        tag: Box<str>,
        items: StatusItems,
        (current, left): (&str, VecDeque<String>),
        result: Result<Status, Refusal>,
    ) {
        match result {
            Ok(status) => self.tell_status(io, &items, current, &status),
            Err(Refusal::Gone) => return self.refused(io, &tag, Refusal::Gone, false),
            // RFC 5819 2: what cannot be told of one mailbox is left out.
            Err(_) => {}
        }
        self.next_status(io, tag, items, left);
    }

    pub(super) fn status_told(
        &mut self,
        io: &mut Io,
        tag: &str,
        items: &StatusItems,
        mailbox: &str,
        result: Result<Status, Refusal>,
    ) {
        match result {
            Ok(status) => {
                self.tell_status(io, items, mailbox, &status);
                self.finish(io, format!("{tag} OK STATUS completed\r\n"), true);
            }
            Err(refusal) => self.refused(io, tag, refusal, false),
        }
    }

    fn tell_status(&self, io: &mut Io, items: &StatusItems, mailbox: &str, status: &Status) {
        items.tell(
            &mut io.output,
            mailbox,
            status,
            self.names(),
            io.config.append_limit,
        );
    }

    /// The mailbox is made: its id belongs into the reply (RFC 8474 4.1), so it is asked for.
    pub(super) fn created(
        &mut self,
        io: &mut Io,
        tag: Box<str>,
        mailbox: String,
        result: Result<(), Refusal>,
    ) {
        match result {
            Ok(()) => {
                self.own_name(&mailbox);
                let ask = Ask::Status {
                    mailbox,
                    deleted_size: false,
                };
                self.put(ask, Job::Created { tag });
            }
            Err(refusal) => self.refused(io, &tag, refusal, false),
        }
    }

    /// Another session may have deleted it already: then there is no id to tell.
    pub(super) fn created_id(&mut self, io: &mut Io, tag: &str, status: Option<Status>) {
        let code = status.map(|it| format!("[MAILBOXID ({})] ", it.mailbox_id));
        let code = code.unwrap_or_default();
        self.finish(io, format!("{tag} OK {code}CREATE completed\r\n"), true);
    }

    pub(super) fn checked(
        &mut self,
        io: &mut Io,
        tag: &str,
        verb: Verb,
        result: Result<(), Refusal>,
    ) {
        match result {
            // Whether it was the selected one tells the backend: under which name it was opened says little after a RENAME.
            Ok(()) if verb == Verb::Delete && self.view.is_some() => {
                io.news &= self.is_muted();
                self.fetch_changes(After::Deleted(tag.into()));
            }
            Ok(()) => self.finish(io, format!("{tag} OK {} completed\r\n", verb.name()), true),
            Err(refusal) => self.refused(io, tag, refusal, false),
        }
    }
}
