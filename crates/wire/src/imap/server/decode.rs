//! Commands the codec reads, made into what they mean.
//!
//! The codec is strict and complete for these. What it does not know is taken off first: `$` in place of a sequence set, and
//! EMAILID and THREADID among the items of FETCH (RFC 5182, RFC 8474).

use imap_codec::CommandCodec;
use imap_codec::decode::Decoder;
use imap_types::command::{CommandBody, FetchModifier, SelectParameter, StoreModifier};
use imap_types::extensions::enable::CapabilityEnable;
use imap_types::fetch::MessageDataItemName;
use imap_types::flag::{StoreResponse, StoreType};
use imap_types::sequence::SequenceSet;

use super::arguments::{Bad, Names, flags, new_name};
use super::fetch::Plan;
use super::messages::Quiet;
use super::table::Verb;
use super::view::Set;
use crate::imap::ask::{FlagChange, ModSeq};

/// A command of the authenticated or selected state.
#[derive(Debug)]
pub(super) enum Request {
    Enable {
        rev2: bool,
        condstore: bool,
    },
    Select {
        mailbox: String,
        read_only: bool,
        condstore: bool,
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
        changed_since: Option<ModSeq>,
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
pub(super) fn decode(text: &[u8], verb: Verb, names: Names) -> Result<Request, Bad> {
    let (text, saved) = without_saved(text, verb);
    let (text, object_ids) = if matches!(verb, Verb::Fetch | Verb::UidFetch) {
        without_object_ids(&text)?
    } else {
        (text, ObjectIds::default())
    };
    let (rest, command) = CommandCodec::new().decode(&text).map_err(|_| Bad::Syntax)?;
    if !rest.is_empty() {
        return Err(Bad::Syntax);
    }
    request(
        &command.body,
        Context {
            names,
            saved,
            object_ids,
            by_uid: verb.by_uid(),
        },
    )
}

#[derive(Clone, Copy)]
struct Context {
    names: Names,
    saved: bool,
    object_ids: ObjectIds,
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
    let names = context.names;
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
        CommandBody::Fetch { .. } => fetch(body, context)?,
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
    Request::Enable {
        rev2: named("IMAP4rev2"),
        condstore: named("CONDSTORE"),
    }
}

fn select(
    mailbox: String,
    parameters: &[SelectParameter],
    read_only: bool,
) -> Result<Request, Bad> {
    // QRESYNC is not offered.
    if parameters
        .iter()
        .any(|parameter| *parameter != SelectParameter::CondStore)
    {
        return Err(Bad::Syntax);
    }
    Ok(Request::Select {
        mailbox,
        read_only,
        condstore: !parameters.is_empty(),
    })
}

fn fetch(body: &CommandBody<'_>, context: Context) -> Result<Request, Bad> {
    let CommandBody::Fetch {
        sequence_set,
        macro_or_item_names,
        modifiers,
        ..
    } = body
    else {
        return Err(Bad::Syntax);
    };
    let changed_since = match modifiers.as_slice() {
        [] => None,
        [FetchModifier::ChangedSince(since)] => Some(since.get()),
        // VANISHED belongs to QRESYNC, which is not offered.
        _ => return Err(Bad::Syntax),
    };
    let mut plan = Plan::new(macro_or_item_names, context.by_uid)?;
    if context.object_ids.email {
        plan.add_email_id();
    }
    if context.object_ids.thread {
        plan.add_thread_id();
    }
    if changed_since.is_some() {
        plan.add_modseq();
    }
    Ok(Request::Fetch {
        set: context.set(sequence_set),
        plan: plan.checked()?,
        changed_since,
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

/// The items of OBJECTID (RFC 8474) found in a FETCH.
#[derive(Debug, Clone, Copy, Default)]
struct ObjectIds {
    email: bool,
    thread: bool,
}

/// Takes EMAILID and THREADID out of the items of FETCH, and says which stood there.
fn without_object_ids(text: &[u8]) -> Result<(Vec<u8>, ObjectIds), Bad> {
    let mut kept = Vec::with_capacity(text.len());
    let mut found = ObjectIds::default();
    let mut depth = 0_u8;
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        let starts = depth == 0 && matches!(kept.last(), Some(b' ' | b'('));
        let item = |item: &[u8]| {
            let ends = matches!(rest.get(item.len()), Some(b' ' | b')' | b'\r'));
            let same = |word: &[u8]| word.eq_ignore_ascii_case(item);
            starts && ends && rest.get(..item.len()).is_some_and(same)
        };
        let (email, thread) = (item(b"EMAILID"), item(b"THREADID"));
        if email || thread {
            found.email |= email;
            found.thread |= thread;
            // The list must not become empty; UID is ours to give and costs the backend nothing.
            kept.extend_from_slice(b"UID");
            rest = rest.get(if email { 7 } else { 8 }..).unwrap_or_default();
            continue;
        }
        match byte {
            // Inside a section a word is a header field's name; literals and quoted strings stand only there.
            b'[' => depth = depth.checked_add(1).ok_or(Bad::Syntax)?,
            b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        kept.push(byte);
        rest = after;
    }
    Ok((kept, found))
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
