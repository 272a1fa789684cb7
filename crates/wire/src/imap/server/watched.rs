//! What a client that said NOTIFY has been told of all its mailboxes, and the differences to how they are now (RFC 5465 5).

use std::collections::{BTreeMap, BTreeSet};

use super::arguments::Names;
use super::enabled::Enabled;
use super::notify::{Events, Notify};
use super::reply;
use crate::imap::ask::{self, Status};

/// What is known of one mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Known {
    exists: bool,
    subscribed: bool,
    id: Box<str>,
    uidnext: u32,
    messages: u32,
    modseq: u64,
}

/// What is known of all.
#[derive(Debug, Default)]
pub(super) struct Watched {
    known: BTreeMap<Box<str>, Known>,
    /// Names the client has changed itself since.
    own: BTreeSet<Box<str>>,
}

impl Watched {
    pub(super) fn new(overview: &[(ask::Mailbox, Option<Status>)]) -> Self {
        let known = |(mailbox, status): &(ask::Mailbox, Option<Status>)| {
            let known = Known {
                exists: mailbox.exists,
                subscribed: mailbox.subscribed,
                id: status
                    .as_ref()
                    .map(|it| it.mailbox_id.clone())
                    .unwrap_or_default(),
                uidnext: status.as_ref().map_or(0, |it| it.uidnext),
                messages: status.as_ref().map_or(0, |it| it.messages),
                modseq: status.as_ref().map_or(0, |it| it.highest_modseq),
            };
            (mailbox.name.as_str().into(), known)
        };
        Self {
            known: overview.iter().map(known).collect(),
            own: BTreeSet::new(),
        }
    }

    /// Notes that the client itself changes this name.
    pub(super) fn own(&mut self, name: &str) {
        self.own.insert(name.into());
    }

    /// Writes what is different now, and gives what is known then.
    pub(super) fn tell(
        self,
        out: &mut Vec<u8>,
        overview: &[(ask::Mailbox, Option<Status>)],
        (notify, enabled, selected): (&Notify, Enabled, Option<&str>),
    ) -> Self {
        let now = Self::new(overview);
        for (mailbox, status) in overview {
            let name = mailbox.name.as_str();
            let events = notify.events(mailbox);
            let before = self.known.get(name);
            if !self.own.contains(name) {
                self.tell_name(out, mailbox, (&now, events, enabled.names()));
            }
            let (Some(status), true) = (status, selected != Some(name)) else {
                continue;
            };
            if before.is_some_and(|it| is_told(it, status, events)) {
                tell_status(out, name, status, (events, enabled));
            }
        }
        self.tell_gone(out, &now, (notify, enabled.names()));
        now
    }

    /// A name that is new, or has another id, or another subscription.
    fn tell_name(
        &self,
        out: &mut Vec<u8>,
        mailbox: &ask::Mailbox,
        (now, events, names): (&Self, Events, Names),
    ) {
        let name = mailbox.name.as_str();
        let Some(is) = now.known.get(name) else {
            return;
        };
        let was = self.known.get(name);
        let new = is.exists && !was.is_some_and(|it| it.exists && it.id == is.id);
        let subscription = was.is_some_and(|it| it.subscribed) != is.subscribed;
        if (new && events.mailbox_name) || (subscription && events.subscription) {
            // Renamed: the id was there under another name, and that is no longer its.
            let old = self.known.iter().find(|(old, it)| {
                let moved = now.known.get(*old).is_none_or(|it| it.id != is.id);
                new && it.exists && it.id == is.id && moved
            });
            begin_list(out, mailbox.exists, is.subscribed);
            names.encode(out, name);
            if let Some((old, _)) = old {
                out.extend_from_slice(b" (\"OLDNAME\" (");
                names.encode(out, old);
                out.extend_from_slice(b"))");
            }
            out.extend_from_slice(b"\r\n");
        }
    }

    /// Names that are there no more and have not only moved.
    fn tell_gone(&self, out: &mut Vec<u8>, now: &Self, (notify, names): (&Notify, Names)) {
        for (name, was) in self.known.iter().filter(|(_, was)| was.exists) {
            let is = now.known.get(name);
            let moved = now.known.values().any(|it| it.exists && it.id == was.id);
            if is.is_some_and(|it| it.exists) || moved || self.own.contains(name) {
                continue;
            }
            let mailbox = ask::Mailbox {
                name: name.to_string(),
                subscribed: was.subscribed,
                exists: false,
                special_use: None,
            };
            if notify.events(&mailbox).mailbox_name {
                begin_list(out, false, is.is_some_and(|it| it.subscribed));
                names.encode(out, name);
                out.extend_from_slice(b"\r\n");
            }
        }
    }
}

fn begin_list(out: &mut Vec<u8>, exists: bool, subscribed: bool) {
    let attributes = match (exists, subscribed) {
        (true, true) => "\\Subscribed",
        (true, false) => "",
        (false, true) => "\\NonExistent \\Subscribed",
        (false, false) => "\\NonExistent",
    };
    reply::put(out, format_args!("* LIST ({attributes}) \"/\" "));
}

/// Whether these events are about what is different.
fn is_told(was: &Known, is: &Status, events: Events) -> bool {
    if was.id != is.mailbox_id {
        return events.about_messages();
    }
    let came = is.uidnext != was.uidnext;
    let went = is.messages
        != was
            .messages
            .saturating_add(is.uidnext.saturating_sub(was.uidnext));
    let flags = is.highest_modseq != was.modseq && !came && !went;
    (came && events.message_new)
        || (went && events.message_expunge)
        || (flags && events.flag_change)
}

/// What RFC 5465 5.1 to 5.3 want told of a mailbox that is not selected.
pub(super) fn tell_status(
    out: &mut Vec<u8>,
    name: &str,
    status: &Status,
    (events, enabled): (Events, Enabled),
) {
    out.extend_from_slice(b"* STATUS ");
    enabled.names().encode(out, name);
    reply::put(
        out,
        format_args!(
            " (MESSAGES {} UIDNEXT {} UIDVALIDITY {}",
            status.messages, status.uidnext, status.uidvalidity
        ),
    );
    if events.flag_change {
        reply::put(out, format_args!(" UNSEEN {}", status.unseen));
    }
    if enabled.condstore {
        reply::put(
            out,
            format_args!(" HIGHESTMODSEQ {}", status.highest_modseq),
        );
    }
    out.extend_from_slice(b")\r\n");
}
