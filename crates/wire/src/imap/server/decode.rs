//! Commands the codec reads, made into what they mean.
//!
//! The codec is strict and complete for these. What it does not know is taken off first: `$` in place of a sequence set
//! (RFC 5182), and items and modifiers of FETCH (`extras.rs`).

use imap_codec::CommandCodec;
use imap_codec::decode::Decoder;
use imap_types::command::{CommandBody, SelectParameter, StoreModifier};
use imap_types::extensions::enable::CapabilityEnable;
use imap_types::fetch::MessageDataItemName;
use imap_types::flag::{StoreResponse, StoreType};
use imap_types::sequence::SequenceSet;

use super::arguments::{Bad, flags, new_name};
use super::changes::Resync;
use super::enabled::Enabled;
use super::extras::{self, Extras, Modifiers};
use super::fetch::Plan;
use super::messages::Quiet;
use super::table::Verb;
use super::view::Set;
use crate::imap::ask::{FlagChange, ModSeq};

/// A command of the authenticated or selected state.
#[derive(Debug)]
pub(super) enum Request {
    Enable(Enabled),
    Select {
        mailbox: String,
        read_only: bool,
        condstore: bool,
        resync: Option<Resync>,
    },
    Delete(String),
    Rename {
        from: String,
        to: String,
    },
    Subscribe {
        mailbox: String,
        subscribed: bool,
    },
    Namespace,
    Idle,
    Check,
    Close,
    Unselect,
    Expunge(Option<Set>),
    Fetch {
        set: Set,
        plan: Plan,
        modifiers: Modifiers,
    },
    Store {
        set: Set,
        change: FlagChange,
        quiet: Quiet,
        unchanged_since: Option<ModSeq>,
    },
    Copy {
        set: Set,
        to: String,
        remove: bool,
    },
}

/// Reads a whole command, tag and CRLF included.
pub(super) fn decode(text: &[u8], verb: Verb, enabled: Enabled) -> Result<Request, Bad> {
    let (text, saved) = without_saved(text, verb);
    let (text, modifiers, extras) = if matches!(verb, Verb::Fetch | Verb::UidFetch) {
        let (text, modifiers) = extras::without_modifiers(&text, verb)?;
        let (text, extras) = extras::without_items(&text)?;
        (text, modifiers, extras)
    } else {
        (text, Modifiers::default(), Extras::default())
    };
    let (rest, command) = CommandCodec::new().decode(&text).map_err(|_| Bad::Syntax)?;
    if !rest.is_empty() {
        return Err(Bad::Syntax);
    }
    let context = Context {
        enabled,
        saved,
        by_uid: verb.by_uid(),
    };
    if let CommandBody::Fetch { .. } = &command.body {
        return fetch(&command.body, context, modifiers, extras);
    }
    request(&command.body, context)
}

#[derive(Clone, Copy)]
struct Context {
    enabled: Enabled,
    saved: bool,
    by_uid: bool,
}

impl Context {
    fn set(self, set: &SequenceSet) -> Set {
        if self.saved {
            Set::Saved
        } else {
            Set::from(set)
        }
    }
}

fn request(body: &CommandBody<'_>, context: Context) -> Result<Request, Bad> {
    let names = context.enabled.names();
    Ok(match body {
        CommandBody::Enable { capabilities } => enable(capabilities.as_ref()),
        CommandBody::Select {
            mailbox,
            parameters,
        } => select(names.decoded(mailbox)?, parameters, false)?,
        CommandBody::Examine {
            mailbox,
            parameters,
        } => select(names.decoded(mailbox)?, parameters, true)?,
        CommandBody::Delete { mailbox } => Request::Delete(names.decoded(mailbox)?),
        CommandBody::Rename { from, to } => Request::Rename {
            from: names.decoded(from)?,
            to: new_name(names.decoded(to)?)?,
        },
        CommandBody::Subscribe { mailbox } => Request::Subscribe {
            mailbox: names.decoded(mailbox)?,
            subscribed: true,
        },
        CommandBody::Unsubscribe { mailbox } => Request::Subscribe {
            mailbox: names.decoded(mailbox)?,
            subscribed: false,
        },
        CommandBody::Namespace => Request::Namespace,
        CommandBody::Idle => Request::Idle,
        CommandBody::Check => Request::Check,
        CommandBody::Close => Request::Close,
        CommandBody::Unselect => Request::Unselect,
        CommandBody::Expunge => Request::Expunge(None),
        CommandBody::ExpungeUid { sequence_set } => {
            Request::Expunge(Some(context.set(sequence_set)))
        }
        CommandBody::Copy {
            sequence_set,
            mailbox,
            ..
        } => Request::Copy {
            set: context.set(sequence_set),
            to: names.decoded(mailbox)?,
            remove: false,
        },
        CommandBody::Move {
            sequence_set,
            mailbox,
            ..
        } => Request::Copy {
            set: context.set(sequence_set),
            to: names.decoded(mailbox)?,
            remove: true,
        },
        CommandBody::Store { .. } => store(body, context)?,
        _ => return Err(Bad::Syntax),
    })
}

fn enable(capabilities: &[CapabilityEnable<'_>]) -> Request {
    let named = |name: &str| {
        capabilities
            .iter()
            .any(|it| it.to_string().eq_ignore_ascii_case(name))
    };
    Request::Enable(Enabled {
        rev2: named("IMAP4rev2"),
        utf8: named("UTF8=ACCEPT"),
        condstore: named("CONDSTORE"),
        qresync: named("QRESYNC"),
        uid_only: named("UIDONLY"),
    })
}

fn select(
    mailbox: String,
    parameters: &[SelectParameter],
    read_only: bool,
) -> Result<Request, Bad> {
    let mut resync = None;
    for parameter in parameters {
        if let SelectParameter::QResync {
            uid_validity,
            mod_sequence_value,
            known_uids,
            seq_match_data,
        } = parameter
        {
            // What the client matches numbers to UIDs with is of use to a server that forgets what vanished; we do not.
            let _ = seq_match_data;
            if resync.is_some() {
                return Err(Bad::Syntax);
            }
            resync = Some(Resync {
                uidvalidity: uid_validity.get(),
                since: mod_sequence_value.get(),
                known: known_uids.as_ref().map(Set::from),
            });
        }
    }
    Ok(Request::Select {
        mailbox,
        read_only,
        condstore: !parameters.is_empty(),
        resync,
    })
}

fn fetch(
    body: &CommandBody<'_>,
    context: Context,
    modifiers: Modifiers,
    extras: Extras,
) -> Result<Request, Bad> {
    let CommandBody::Fetch {
        sequence_set,
        macro_or_item_names,
        modifiers: unread,
        ..
    } = body
    else {
        return Err(Bad::Syntax);
    };
    // Ours have been taken off: what is left is none we know.
    if !unread.is_empty() || (modifiers.vanished && !context.enabled.qresync) {
        return Err(Bad::Syntax);
    }
    let tell_uid = context.by_uid && !context.enabled.uid_only;
    let mut plan = Plan::new(macro_or_item_names, tell_uid)?;
    plan.add_extras(extras);
    if modifiers.changed_since.is_some() {
        plan.add_modseq();
    }
    Ok(Request::Fetch {
        set: context.set(sequence_set),
        plan: plan.checked()?,
        modifiers,
    })
}

fn store(body: &CommandBody<'_>, context: Context) -> Result<Request, Bad> {
    let CommandBody::Store {
        sequence_set,
        kind,
        response,
        flags: list,
        modifiers,
        ..
    } = body
    else {
        return Err(Bad::Syntax);
    };
    let unchanged_since = match modifiers.as_slice() {
        [] => None,
        [StoreModifier::UnchangedSince(since)] => Some(*since),
        _ => return Err(Bad::Syntax),
    };
    let flags = flags(list)?;
    let change = match kind {
        StoreType::Replace => FlagChange::Replace(flags),
        StoreType::Add => FlagChange::Add(flags),
        StoreType::Remove => FlagChange::Remove(flags),
    };
    let quiet = Quiet {
        by_uid: context.by_uid,
        // RFC 7162 3.2.4: with QRESYNC every FETCH response about flags has the UID.
        tell_uid: context.by_uid || context.enabled.qresync,
        silent: *response == StoreResponse::Silent,
        conditional: unchanged_since.is_some(),
    };
    let set = context.set(sequence_set);
    Ok(Request::Store {
        set,
        change,
        quiet,
        unchanged_since,
    })
}

/// Puts a plain set in the place of `$`, and says whether it stood there.
fn without_saved(text: &[u8], verb: Verb) -> (Vec<u8>, bool) {
    use Verb::{Copy, Fetch, Move, Store, UidCopy, UidExpunge, UidFetch, UidMove, UidStore};
    let sets = [
        Fetch, Store, Copy, Move, UidFetch, UidStore, UidCopy, UidMove, UidExpunge,
    ];
    if !sets.contains(&verb) {
        return (text.to_vec(), false);
    }
    let words = if verb.by_uid() { 3 } else { 2 };
    let spaces = text
        .iter()
        .enumerate()
        .filter(|(_, byte)| **byte == b' ')
        .map(|(at, _)| at);
    let at = spaces.take(words).last().unwrap_or(0) + 1;
    let mut text = text.to_vec();
    let alone = matches!(text.get(at + 1), Some(b' ' | b'\r'));
    match text.get_mut(at) {
        Some(byte @ b'$') if alone => {
            *byte = b'1';
            (text, true)
        }
        _ => (text, false),
    }
}

/// Names of items FETCH's plan is made from, macros taken apart.
pub(super) fn item_names<'a>(
    items: &'a imap_types::fetch::MacroOrMessageDataItemNames<'_>,
) -> Vec<MessageDataItemName<'a>> {
    use imap_types::fetch::MacroOrMessageDataItemNames::{Macro, MessageDataItemNames};
    match items {
        Macro(it) => it.expand(),
        MessageDataItemNames(names) => names.clone(),
    }
}
