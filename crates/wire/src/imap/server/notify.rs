//! NOTIFY (RFC 5465): what the client wants to be told unasked, of the selected mailbox and of others.
//!
//! Of the selected mailbox changes are told as always, only also between commands. Of the others the session keeps what it knew
//! last (`watched.rs`); whenever anything changes in the account it asks for an overview and tells the differences.

use super::arguments::{Bad, Names};
use super::cursor::Cursor;
use super::decode;
use super::enabled::Enabled;
use super::fetch::Plan;
use super::io::{Command, Io};
use super::job::{After, Job};
use super::mailbox::Mailbox;
use super::table::Verb;
use super::view::{Set, View};
use super::watched::Watched;
use crate::imap::ask::{self, Ask, Refusal, Status};

/// How many mailboxes may be watched. Each costs some 200 octets of the session, and time at each change.
const MAILBOXES: usize = 1_000;
/// How many groups one command may have, and names in them.
const GROUPS: usize = 100;

/// What is to be told of a mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is one independent event of the standard"
)]
pub(super) struct Events {
    pub(super) message_new: bool,
    pub(super) message_expunge: bool,
    pub(super) flag_change: bool,
    pub(super) mailbox_name: bool,
    pub(super) subscription: bool,
}

impl Events {
    /// Whether anything about messages is wanted.
    pub(super) fn about_messages(self) -> bool {
        self.message_new || self.message_expunge || self.flag_change
    }
}

/// Which mailboxes a group is about.
#[derive(Debug, PartialEq, Eq)]
enum Filter {
    /// INBOXES: where mail is delivered to.
    Inboxes,
    /// PERSONAL: all.
    Personal,
    Subscribed,
    /// SUBTREE: these and what is below them.
    Subtree(Vec<String>),
    Mailboxes(Vec<String>),
}

impl Filter {
    fn holds(&self, mailbox: &ask::Mailbox) -> bool {
        let name = mailbox.name.as_str();
        let below = |top: &str| {
            name.strip_prefix(top)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        match self {
            Self::Inboxes => name == "INBOX",
            Self::Personal => true,
            Self::Subscribed => mailbox.subscribed,
            Self::Subtree(tops) => tops.iter().any(|top| below(top)),
            Self::Mailboxes(names) => names.iter().any(|it| it == name),
        }
    }
}

/// What is wanted of the selected mailbox.
#[derive(Debug)]
struct Selected {
    events: Events,
    /// SELECTED-DELAYED: that messages are gone is told only where a command ends.
    delayed: bool,
    /// What is to be fetched of new messages.
    plan: Option<Plan>,
}

/// What the client wants to be told.
#[derive(Debug, Default)]
pub(super) struct Notify {
    selected: Option<Selected>,
    groups: Vec<(Filter, Events)>,
    /// STATUS: tell how things stand at the beginning.
    status: bool,
    watched: Watched,
}

impl Notify {
    /// What is to be told of a mailbox: the first group that is about it says so.
    pub(super) fn events(&self, mailbox: &ask::Mailbox) -> Events {
        let group = self.groups.iter().find(|(filter, _)| filter.holds(mailbox));
        group.map_or_else(Events::default, |(_, events)| *events)
    }

    /// `NONE`, or `SET [STATUS] (…) (…)`.
    fn parse(mut cursor: Cursor<'_>, enabled: Enabled) -> Result<Option<Self>, Bad> {
        cursor.space()?;
        if cursor.eat_word("NONE") {
            cursor.end()?;
            return Ok(None);
        }
        if !cursor.eat_word("SET") {
            return Err(Bad::Syntax);
        }
        cursor.space()?;
        let mut notify = Self::default();
        if cursor.eat_word("STATUS") {
            notify.status = true;
            cursor.space()?;
        }
        loop {
            notify.group(&mut cursor, enabled)?;
            if !cursor.eat(b' ') {
                cursor.end()?;
                return Ok(Some(notify));
            }
        }
    }

    /// `(SELECTED (MessageNew …))`, `(SUBTREE (a b) NONE)`
    fn group(&mut self, cursor: &mut Cursor<'_>, enabled: Enabled) -> Result<(), Bad> {
        cursor.expect(b'(')?;
        let name = cursor.atom()?.to_ascii_uppercase();
        cursor.space()?;
        let filter = match name.as_str() {
            "SELECTED" | "SELECTED-DELAYED" => {
                let (events, plan) = events(cursor, Some(enabled))?;
                cursor.expect(b')')?;
                if self.selected.is_some() || events.mailbox_name || events.subscription {
                    return Err(Bad::Syntax);
                }
                self.selected = Some(Selected {
                    events,
                    delayed: name == "SELECTED-DELAYED",
                    plan,
                });
                return Ok(());
            }
            "INBOXES" => Filter::Inboxes,
            "PERSONAL" => Filter::Personal,
            "SUBSCRIBED" => Filter::Subscribed,
            "SUBTREE" => Filter::Subtree(names(cursor, enabled.names())?),
            "MAILBOXES" => Filter::Mailboxes(names(cursor, enabled.names())?),
            _ => return Err(Bad::Syntax),
        };
        let (events, _) = events(cursor, None)?;
        cursor.expect(b')')?;
        if self.groups.len() >= GROUPS {
            return Err(Bad::Limit);
        }
        self.groups.push((filter, events));
        Ok(())
    }
}

/// One name or a list of them, with the space behind.
fn names(cursor: &mut Cursor<'_>, names: Names) -> Result<Vec<String>, Bad> {
    let mut found = Vec::new();
    if cursor.eat(b'(') {
        loop {
            found.push(names.mailbox(cursor)?);
            if found.len() > GROUPS {
                return Err(Bad::Limit);
            }
            if cursor.eat(b')') {
                break;
            }
            cursor.space()?;
        }
    } else {
        found.push(names.mailbox(cursor)?);
    }
    cursor.space()?;
    Ok(found)
}

/// `NONE` or `(MessageNew (UID) MessageExpunge …)`. Items to fetch may stand only where `selected` is given.
fn events(
    cursor: &mut Cursor<'_>,
    selected: Option<Enabled>,
) -> Result<(Events, Option<Plan>), Bad> {
    let (mut events, mut plan, mut unknown) = (Events::default(), None, false);
    if cursor.eat_word("NONE") {
        return Ok((events, plan));
    }
    cursor.expect(b'(')?;
    loop {
        match cursor.atom()?.to_ascii_uppercase().as_str() {
            "MESSAGENEW" => {
                events.message_new = true;
                let mut ahead = *cursor;
                if let (Some(enabled), true) =
                    (selected, ahead.eat(b' ') && ahead.peek() == Some(b'('))
                {
                    *cursor = ahead;
                    plan = Some(items(cursor, enabled)?);
                }
            }
            "MESSAGEEXPUNGE" => events.message_expunge = true,
            "FLAGCHANGE" => events.flag_change = true,
            "MAILBOXNAME" => events.mailbox_name = true,
            "SUBSCRIPTIONCHANGE" => events.subscription = true,
            // RFC 5465 5: AnnotationChange, MailboxMetadataChange, ServerMetadataChange, and what may be to come.
            _ => unknown = true,
        }
        if cursor.eat(b')') {
            break;
        }
        cursor.space()?;
    }
    if unknown {
        return Err(Bad::Event);
    }
    // RFC 5465 5: new and gone go together, and flags with both.
    let pair = events.message_new == events.message_expunge;
    if pair && (events.message_new || !events.flag_change) {
        Ok((events, plan))
    } else {
        Err(Bad::Syntax)
    }
}

/// A list of FETCH's items in parentheses, which the codec reads.
fn items(cursor: &mut Cursor<'_>, enabled: Enabled) -> Result<Plan, Bad> {
    let rest = cursor.rest();
    let mut depth = 0_u32;
    let mut end = 0;
    for (at, byte) in rest.iter().enumerate() {
        match byte {
            b'(' => depth = depth.saturating_add(1),
            b')' => depth = depth.saturating_sub(1),
            // A header field's name that needs quotes is none.
            b'"' | b'{' | b'\r' => return Err(Bad::Syntax),
            _ => {}
        }
        if depth == 0 {
            end = at + 1;
            break;
        }
    }
    let list = rest.get(..end).ok_or(Bad::Syntax)?;
    *cursor = Cursor::new(rest.get(end..).unwrap_or_default());
    let command = [b"n UID FETCH 1 ", list, b"\r\n"].concat();
    match decode::decode(&command, Verb::UidFetch, enabled)? {
        decode::Request::Fetch {
            set: Set::Ranges(_),
            plan,
            modifiers,
        } if modifiers == super::extras::Modifiers::default() => Ok(plan.peeking()),
        _ => Err(Bad::Syntax),
    }
}

impl Mailbox {
    /// NOTIFY.
    pub(super) fn set_notify(&mut self, _io: &mut Io, command: &Command) -> Result<(), Bad> {
        let notify = Notify::parse(command.arguments(), self.enabled)?.map(Box::new);
        let on = notify.as_ref().is_some_and(|it| !it.groups.is_empty());
        let tag = command.tag.clone();
        self.put(Ask::Watch { on }, Job::Watch { tag, notify });
        Ok(())
    }

    /// RFC 5465 5: which events there are.
    pub(super) fn refuse_event(&mut self, io: &mut Io, tag: &str) -> super::Step {
        let known = "MessageNew MessageExpunge FlagChange MailboxName SubscriptionChange";
        let reply = format!("{tag} NO [BADEVENT ({known})] Unknown event\r\n");
        self.finish(io, reply, true);
        super::Step::Again
    }

    pub(super) fn watching(&mut self, io: &mut Io, tag: Box<str>, notify: Option<Box<Notify>>) {
        match notify {
            Some(notify) if !notify.groups.is_empty() => {
                self.put(Ask::Overview, Job::FirstOverview { tag, notify });
            }
            notify => self.end_notify(io, &tag, notify),
        }
    }

    /// What is there at the beginning is what later differences are to; told if STATUS was said.
    pub(super) fn first_overview(
        &mut self,
        io: &mut Io,
        tag: &str,
        mut notify: Box<Notify>,
        result: Result<Vec<(ask::Mailbox, Option<Status>)>, Refusal>,
    ) {
        let overview = match result {
            Ok(overview) if overview.len() > MAILBOXES => {
                let reply = format!("{tag} NO [NOTIFICATIONOVERFLOW] Too many mailboxes\r\n");
                return self.finish(io, reply, true);
            }
            Ok(overview) => overview,
            Err(refusal) => return self.refused(io, tag, refusal, false),
        };
        notify.watched = Watched::new(&overview);
        if notify.status {
            for (mailbox, status) in &overview {
                let events = notify.events(mailbox);
                let selected = self.is_selected(&mailbox.name);
                if let (Some(status), true, false) = (status, events.about_messages(), selected) {
                    super::watched::tell_status(
                        &mut io.output,
                        &mailbox.name,
                        status,
                        (events, self.enabled),
                    );
                }
            }
        }
        self.end_notify(io, tag, Some(notify));
    }

    /// It counts as NOOP for the selected mailbox (RFC 5465 3.1).
    fn end_notify(&mut self, io: &mut Io, tag: &str, notify: Option<Box<Notify>>) {
        self.notify = notify;
        io.overview_due = false;
        io.news = true;
        self.finish(io, format!("{tag} OK NOTIFY completed\r\n"), true);
    }

    pub(super) fn is_selected(&self, name: &str) -> bool {
        self.view.as_ref().is_some_and(|view| &*view.name == name)
    }

    /// Whether nothing of the selected mailbox is to be told: NOTIFY is set without SELECTED (RFC 5465 3.1).
    pub(super) fn is_muted(&self) -> bool {
        let about = |it: &Selected| it.events.about_messages();
        let muted = |it: &Notify| !it.selected.as_ref().is_some_and(about);
        self.notify.as_deref().is_some_and(muted)
    }

    /// Whether changed flags of the selected mailbox are told.
    pub(super) fn tells_flags(&self) -> bool {
        let selected = self.notify.as_ref().and_then(|it| it.selected.as_ref());
        selected.is_none_or(|it| it.events.flag_change)
    }

    /// What is to be told of new messages of the selected mailbox.
    pub(super) fn plan_for_new(&self) -> Option<Plan> {
        self.notify.as_ref()?.selected.as_ref()?.plan.clone()
    }

    /// Whether between commands EXPUNGE may be told.
    pub(super) fn expunges_at_once(&self) -> bool {
        let selected = self.notify.as_ref().and_then(|it| it.selected.as_ref());
        selected.is_some_and(|it| !it.delayed)
    }

    /// Whether there is something to be told though no command is under way.
    pub(super) fn has_unasked(&self, io: &Io) -> bool {
        self.notify.is_some()
            && (self.has_news_here(io) || self.has_overview_due(io))
            && io.is_between_commands()
            && io.leaving.is_none()
    }

    /// Whether there is something to be told of the selected mailbox.
    fn has_news_here(&self, io: &Io) -> bool {
        let gone = |view: &View| self.expunges_at_once() && view.has_vanished();
        let view = self.view.as_deref().filter(|_| !self.is_muted());
        view.is_some_and(|view| io.news || gone(view))
    }

    /// Tells it.
    pub(super) fn tell_unasked(&mut self, io: &mut Io) {
        if self.has_news_here(io) {
            io.news = false;
            self.fetch_changes(After::Nothing);
        } else {
            self.ask_overview(io, None);
        }
    }

    /// Whether other mailboxes may have changed.
    pub(super) fn has_overview_due(&self, io: &Io) -> bool {
        let watches = |it: &Notify| !it.groups.is_empty();
        io.overview_due && self.notify.as_deref().is_some_and(watches)
    }

    pub(super) fn ask_overview(&mut self, io: &mut Io, idle: Option<Box<str>>) {
        io.overview_due = false;
        self.put(Ask::Overview, Job::Overview { idle });
    }

    /// Tells what is different, of all mailboxes but the selected one.
    pub(super) fn overview(
        &mut self,
        io: &mut Io,
        idle: Option<Box<str>>,
        result: Result<Vec<(ask::Mailbox, Option<Status>)>, Refusal>,
    ) {
        match result {
            Ok(overview) if overview.len() > MAILBOXES => {
                // RFC 5465 5.8: from now on as if NOTIFY NONE had been said.
                io.line(format_args!(
                    "* OK [NOTIFICATIONOVERFLOW] Too many mailboxes"
                ));
                self.notify = None;
                io.news = true;
            }
            Ok(overview) => self.tell_differences(io, &overview),
            Err(Refusal::Gone) => return self.refused(io, "*", Refusal::Gone, false),
            // There will be other news.
            Err(_) => {}
        }
        if let Some(tag) = idle {
            self.job = Some(Box::new(Job::Idle { tag }));
        }
    }

    fn tell_differences(&mut self, io: &mut Io, overview: &[(ask::Mailbox, Option<Status>)]) {
        let Some(mut notify) = self.notify.take() else {
            return;
        };
        let before = std::mem::take(&mut notify.watched);
        let selected = self.view.as_ref().map(|view| &*view.name);
        notify.watched = before.tell(&mut io.output, overview, (&notify, self.enabled, selected));
        self.notify = Some(notify);
    }

    /// A name this client has changed itself: it is not told of it (RFC 5465 3).
    pub(super) fn own_name(&mut self, name: &str) {
        if let Some(notify) = &mut self.notify {
            notify.watched.own(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Option<Notify>, Bad> {
        let text = format!("{text}\r\n");
        Notify::parse(Cursor::new(text.as_bytes()), Enabled::default())
    }

    #[test]
    fn the_examples_of_rfc_5465_with_their_errata() {
        assert!(parse(" NONE").unwrap().is_none());
        let it = parse(" SET STATUS (selected (MessageNew (uid body.peek[header.fields (from to subject)]) MessageExpunge)) (subtree Lists (MessageNew MessageExpunge))").unwrap().unwrap();
        assert!(it.status && it.selected.as_ref().is_some_and(|it| it.plan.is_some()));
        let mailbox = |name: &str| ask::Mailbox {
            name: name.into(),
            subscribed: false,
            exists: true,
            special_use: None,
        };
        assert!(it.events(&mailbox("Lists")).message_new);
        assert!(it.events(&mailbox("Lists/a")).message_new);
        assert!(!it.events(&mailbox("Listserv")).message_new);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for bad in [
            "",
            " SET",
            " SET ",
            " SET STATUS",
            " SET STATUS ()",
            " SET (frob (MessageNew MessageExpunge))",
            " SET (personal MessageNew)",
            " SET (personal (MessageNew))",
            " SET (personal (FlagChange))",
            " SET (personal (MessageNew (UID) MessageExpunge))",
            " SET (selected (MailboxName))",
            " SET (selected NONE) (selected-delayed NONE)",
            " SET (personal (MailboxName)) ",
            " NONE ",
        ] {
            assert!(matches!(parse(bad), Err(Bad::Syntax)), "{bad}");
        }
        let event = parse(" SET (personal (AnnotationChange))");
        assert!(matches!(event, Err(Bad::Event)));
    }
}
