//! What FETCH may ask for that the codec does not know, taken off the command before the codec reads it: the items EMAILID,
//! THREADID (RFC 8474), SAVEDATE (RFC 8514) and PREVIEW (RFC 8970), and all modifiers behind the items (RFC 7162, RFC 9394).

use super::arguments::Bad;
use super::cursor::Cursor;
use super::table::Verb;
use super::window::Window;
use crate::imap::ask::ModSeq;

/// Items found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is one independent item of the standards"
)]
pub(super) struct Extras {
    pub(super) email_id: bool,
    pub(super) thread_id: bool,
    pub(super) save_date: bool,
    pub(super) preview: bool,
}

/// Notes that an item was found.
type Note = fn(&mut Extras);

/// The items by their names. LAZY lets a server answer NIL rather than work; we work, and answer.
const ITEMS: [(&str, Note); 5] = [
    ("EMAILID", |it| it.email_id = true),
    ("THREADID", |it| it.thread_id = true),
    ("SAVEDATE", |it| it.save_date = true),
    ("PREVIEW (LAZY)", |it| it.preview = true),
    ("PREVIEW", |it| it.preview = true),
];

/// Modifiers found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Modifiers {
    /// CHANGEDSINCE (RFC 7162 3.1.4.1)
    pub(super) changed_since: Option<ModSeq>,
    /// VANISHED (RFC 7162 3.2.6)
    pub(super) vanished: bool,
    /// PARTIAL (RFC 9394 3.3)
    pub(super) partial: Option<Window>,
}

/// Takes the items out, and says which stood there.
pub(super) fn without_items(text: &[u8]) -> Result<(Vec<u8>, Extras), Bad> {
    let mut kept = Vec::with_capacity(text.len());
    let mut found = Extras::default();
    let mut depth = 0_u8;
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        let starts = depth == 0 && matches!(kept.last(), Some(b' ' | b'('));
        let item = ITEMS
            .iter()
            .find(|(name, _)| starts && is_word(rest, name.as_bytes()));
        if let Some((name, note)) = item {
            note(&mut found);
            // The list must not become empty; UID is ours to give and costs the backend nothing.
            kept.extend_from_slice(b"UID");
            rest = rest.get(name.len()..).unwrap_or_default();
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

fn is_word(text: &[u8], word: &[u8]) -> bool {
    let ends = matches!(text.get(word.len()), Some(b' ' | b')' | b'\r'));
    ends && text
        .get(..word.len())
        .is_some_and(|it| it.eq_ignore_ascii_case(word))
}

/// Takes the modifiers off the end, if there are any.
pub(super) fn without_modifiers(text: &[u8], verb: Verb) -> Result<(Vec<u8>, Modifiers), Bad> {
    let none = || Ok((text.to_vec(), Modifiers::default()));
    let Some(inner) = text.strip_suffix(b")\r\n") else {
        return none();
    };
    let Some(at) = memchr::memrchr(b'(', inner) else {
        return none();
    };
    let list = inner.get(at + 1..).unwrap_or_default();
    let known = ["CHANGEDSINCE", "VANISHED", "PARTIAL"]
        .iter()
        .any(|name| starts_with_word(list, name.as_bytes()));
    // None of these is an item, and a header field of such a name stands before `)]`.
    if !known || list.iter().any(|byte| b")[]\r\n\"".contains(byte)) {
        return none();
    }
    let mut kept = inner
        .get(..at)
        .and_then(|before| before.strip_suffix(b" "))
        .ok_or(Bad::Syntax)?
        .to_vec();
    kept.extend_from_slice(b"\r\n");
    Ok((kept, read_modifiers(Cursor::new(list), verb)?))
}

fn starts_with_word(list: &[u8], word: &[u8]) -> bool {
    matches!(list.get(word.len()), None | Some(b' '))
        && list
            .get(..word.len())
            .is_some_and(|it| it.eq_ignore_ascii_case(word))
}

fn read_modifiers(mut cursor: Cursor<'_>, verb: Verb) -> Result<Modifiers, Bad> {
    let mut found = Modifiers::default();
    loop {
        let name = cursor.atom()?.to_ascii_uppercase();
        match name.as_str() {
            "CHANGEDSINCE" if found.changed_since.is_none() => {
                cursor.space()?;
                let since = cursor.number()?;
                // mod-sequence-value is not zero (RFC 7162 7).
                if since == 0 {
                    return Err(Bad::Syntax);
                }
                found.changed_since = Some(since);
            }
            "VANISHED" if !found.vanished => found.vanished = true,
            "PARTIAL" if found.partial.is_none() => {
                cursor.space()?;
                found.partial = Some(Window::parse(&mut cursor)?);
            }
            _ => return Err(Bad::Syntax),
        }
        if cursor.peek().is_none() {
            break;
        }
        cursor.space()?;
    }
    // VANISHED and PARTIAL are for UIDs; VANISHED says nothing without CHANGEDSINCE (RFC 7162 3.2.6, RFC 9394 3.3).
    let for_uids = found.vanished || found.partial.is_some();
    if (for_uids && !verb.by_uid()) || (found.vanished && found.changed_since.is_none()) {
        return Err(Bad::Syntax);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(text: &str) -> (String, Extras) {
        let (kept, found) = without_items(text.as_bytes()).unwrap();
        (String::from_utf8(kept).unwrap(), found)
    }

    #[test]
    fn items_are_taken_out_where_they_are_items() {
        let (kept, found) = items("a FETCH 1 (FLAGS emailid PREVIEW (LAZY) SAVEDATE)\r\n");
        assert_eq!(kept, "a FETCH 1 (FLAGS UID UID UID)\r\n");
        assert!(found.email_id && found.preview && found.save_date && !found.thread_id);
        let header = "a FETCH 1 (BODY[HEADER.FIELDS (PREVIEW SAVEDATE)])\r\n";
        assert_eq!(items(header), (header.to_owned(), Extras::default()));
    }

    #[test]
    fn modifiers_are_taken_off_the_end() {
        let read = |text: &str| without_modifiers(text.as_bytes(), Verb::UidFetch);
        let (kept, found) =
            read("a UID FETCH 1:* (FLAGS) (VANISHED CHANGEDSINCE 12 PARTIAL -1:-30)\r\n").unwrap();
        assert_eq!(kept, b"a UID FETCH 1:* (FLAGS)\r\n");
        assert!(found.vanished && found.changed_since == Some(12) && found.partial.is_some());
        for same in [
            "a UID FETCH 1 (FLAGS)\r\n",
            "a UID FETCH 1 (BODY[HEADER.FIELDS (PARTIAL)])\r\n",
            "a UID FETCH 1 FLAGS\r\n",
        ] {
            assert_eq!(read(same).unwrap().0, same.as_bytes());
        }
        for bad in [
            "a UID FETCH 1 FLAGS (CHANGEDSINCE)\r\n",
            "a UID FETCH 1 FLAGS (CHANGEDSINCE 0)\r\n",
            "a UID FETCH 1 FLAGS (VANISHED)\r\n",
            "a UID FETCH 1 FLAGS (PARTIAL 0:1)\r\n",
            "a UID FETCH 1 FLAGS (PARTIAL 1:2 PARTIAL 1:2)\r\n",
        ] {
            assert_eq!(read(bad), Err(Bad::Syntax), "{bad}");
        }
    }
}
