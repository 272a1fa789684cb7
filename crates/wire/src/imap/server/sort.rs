//! SORT and THREAD (RFC 5256): their arguments and results. What they search by is SEARCH's.

use std::sync::Arc;

use super::arguments::Bad;
use super::cursor::Cursor;
use super::io::{Command, Io};
use super::job::Job;
use super::mailbox::Mailbox;
use super::reply;
use super::search::{self, Return};
use super::table::Verb;
use super::view::View;
use crate::imap::ask::{Ask, Found, Refusal, SortBy, SortKey, Threaded, Threading};

/// How many keys one SORT may have: there are only seven to choose from.
const KEYS: usize = 32;

impl Mailbox {
    pub(super) fn sort(&mut self, command: &Command) -> Result<(), Bad> {
        let view = self.view.as_ref().ok_or(Bad::Syntax)?;
        let mut cursor = command.arguments();
        cursor.space()?;
        let by = keys(&mut cursor)?.into();
        let cursor = behind_charset(cursor)?;
        let search = search::parse_keys(cursor, Return::default(), view, self.enabled)?;
        self.enabled.condstore |= search.modseq;
        let ask = Ask::Sort {
            by,
            criteria: search.criteria,
            among: Arc::from(view.uids()),
        };
        let (tag, verb) = (command.tag.clone(), command.verb);
        self.put(ask, Job::Sort { tag, verb });
        Ok(())
    }

    pub(super) fn thread(&mut self, command: &Command) -> Result<(), Bad> {
        let view = self.view.as_ref().ok_or(Bad::Syntax)?;
        let mut cursor = command.arguments();
        cursor.space()?;
        let by = match cursor.atom()?.to_ascii_uppercase().as_str() {
            "ORDEREDSUBJECT" => Threading::OrderedSubject,
            "REFERENCES" => Threading::References,
            _ => return Err(Bad::Syntax),
        };
        let cursor = behind_charset(cursor)?;
        let search = search::parse_keys(cursor, Return::default(), view, self.enabled)?;
        self.enabled.condstore |= search.modseq;
        let ask = Ask::Thread {
            by,
            criteria: search.criteria,
            among: Arc::from(view.uids()),
        };
        let (tag, verb) = (command.tag.clone(), command.verb);
        self.put(ask, Job::Thread { tag, verb });
        Ok(())
    }

    pub(super) fn sorted(
        &mut self,
        io: &mut Io,
        tag: &str,
        verb: Verb,
        result: Result<Found, Refusal>,
    ) {
        let Some(view) = &self.view else {
            return Self::fault(io);
        };
        let found = match result {
            Ok(found) => found,
            Err(refusal) => return self.refused(io, tag, refusal, false),
        };
        let out = &mut io.output;
        reply::put(out, format_args!("* SORT"));
        let mut any = false;
        for uid in &found.uids {
            let number = if verb.by_uid() {
                Some(*uid)
            } else {
                view.number(*uid)
            };
            if let Some(number) = number {
                any = true;
                reply::put(out, format_args!(" {number}"));
            }
        }
        if let (Some(modseq), true) = (found.modseq, any) {
            reply::put(out, format_args!(" (MODSEQ {modseq})"));
        }
        out.extend_from_slice(b"\r\n");
        let reply = format!("{tag} OK {} completed\r\n", verb.name());
        self.finish(io, reply, verb.by_uid());
    }

    pub(super) fn threaded(
        &mut self,
        io: &mut Io,
        tag: &str,
        verb: Verb,
        result: Result<Vec<Threaded>, Refusal>,
    ) {
        let Some(view) = &self.view else {
            return Self::fault(io);
        };
        let threads = match result {
            Ok(threads) => threads,
            Err(refusal) => return self.refused(io, tag, refusal, false),
        };
        reply::put(&mut io.output, format_args!("* THREAD"));
        if !threads.is_empty() {
            io.output.push(b' ');
        }
        tell_threads(&mut io.output, &threads, verb, view);
        io.output.extend_from_slice(b"\r\n");
        let reply = format!("{tag} OK {} completed\r\n", verb.name());
        self.finish(io, reply, verb.by_uid());
    }
}

/// ` charset ` between keys and criteria; it is not optional here (RFC 5256 5).
fn behind_charset(mut cursor: Cursor<'_>) -> Result<Cursor<'_>, Bad> {
    cursor.space()?;
    search::charset(&mut cursor)?;
    cursor.space()?;
    Ok(cursor)
}

/// `(REVERSE DATE SUBJECT)`
fn keys(cursor: &mut Cursor<'_>) -> Result<Vec<SortKey>, Bad> {
    cursor.expect(b'(')?;
    let mut keys = Vec::new();
    loop {
        let reverse = cursor.eat_word("REVERSE");
        if reverse {
            cursor.space()?;
        }
        let by = match cursor.atom()?.to_ascii_uppercase().as_str() {
            "ARRIVAL" => SortBy::Arrival,
            "CC" => SortBy::Cc,
            "DATE" => SortBy::Date,
            "FROM" => SortBy::From,
            "SIZE" => SortBy::Size,
            "SUBJECT" => SortBy::Subject,
            "TO" => SortBy::To,
            _ => return Err(Bad::Syntax),
        };
        keys.push(SortKey { by, reverse });
        if keys.len() > KEYS {
            return Err(Bad::Limit);
        }
        if cursor.eat(b')') {
            return Ok(keys);
        }
        cursor.space()?;
    }
}

/// Writes threads as nested lists: `(3 6 (4 23)(44 7 96))`. A chain stands in one list; where it divides, every branch has a
/// list of its own. A parent that is not there is left out, its children then stand each in a list.
fn tell_threads(out: &mut Vec<u8>, threads: &[Threaded], verb: Verb, view: &View) {
    // The depths at which a list was opened and is to be closed.
    let mut open: Vec<u32> = Vec::new();
    let mut after_number = false;
    for (it, branch) in threads.iter().zip(branches(threads)) {
        while open.last().is_some_and(|depth| *depth >= it.depth) {
            out.push(b')');
            open.pop();
            after_number = false;
        }
        if it.depth == 0 || branch {
            if after_number {
                out.push(b' ');
            }
            out.push(b'(');
            open.push(it.depth);
            after_number = false;
        }
        let number = match (it.uid, verb.by_uid()) {
            (Some(uid), true) => Some(uid),
            (Some(uid), false) => view.number(uid),
            (None, _) => None,
        };
        if let Some(number) = number {
            let space = if after_number { " " } else { "" };
            reply::put(out, format_args!("{space}{number}"));
            after_number = true;
        }
    }
    for _ in open {
        out.push(b')');
    }
}

/// Which messages have brothers: those begin lists of their own.
fn branches(threads: &[Threaded]) -> Vec<bool> {
    // Where the last message of each depth stands: the parent of what comes one deeper.
    let mut path: Vec<usize> = Vec::new();
    let mut parents: Vec<Option<usize>> = Vec::with_capacity(threads.len());
    let mut children = vec![0_u32; threads.len()];
    for (at, it) in threads.iter().enumerate() {
        path.truncate(usize::try_from(it.depth).unwrap_or(usize::MAX));
        let parent = path.last().copied();
        path.push(at);
        parents.push(parent);
        if let Some(count) = parent.and_then(|parent| children.get_mut(parent)) {
            *count += 1;
        }
    }
    let brothers = |parent: Option<usize>| parent.and_then(|it| children.get(it)).copied();
    parents
        .into_iter()
        .map(|parent| brothers(parent).is_some_and(|count| count > 1))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(threads: &[(u32, u32)]) -> String {
        let threads: Vec<Threaded> = threads
            .iter()
            .map(|(uid, depth)| Threaded {
                uid: Some(*uid).filter(|uid| *uid > 0),
                depth: *depth,
            })
            .collect();
        let mut out = Vec::new();
        tell_threads(&mut out, &threads, Verb::UidThread, &View::default());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_examples_of_rfc_5256() {
        // 2; and 3, whose reply 6 has two: 4 with 23, and 44 with 7 and 96.
        let threads = [
            (2, 0),
            (3, 0),
            (6, 1),
            (4, 2),
            (23, 3),
            (44, 2),
            (7, 3),
            (96, 4),
        ];
        assert_eq!(told(&threads), "(2)(3 6 (4 23)(44 7 96))");
        // Two messages whose parent is not there.
        assert_eq!(told(&[(0, 0), (3, 1), (5, 1)]), "((3)(5))");
        assert_eq!(told(&[(166, 0), (167, 0)]), "(166)(167)");
    }

    #[test]
    fn keys_are_read_from_the_table() {
        let read = |text: &str| keys(&mut Cursor::new(text.as_bytes()));
        let reverse_date = SortKey {
            by: SortBy::Date,
            reverse: true,
        };
        let subject = SortKey {
            by: SortBy::Subject,
            reverse: false,
        };
        assert_eq!(
            read("(REVERSE DATE subject)"),
            Ok(vec![reverse_date, subject])
        );
        for bad in ["()", "(REVERSE)", "(FROB)", "DATE", "(DATE  TO)", "(DATE"] {
            assert_eq!(read(bad), Err(Bad::Syntax), "{bad}");
        }
        let many = format!("({})", ["DATE"; 33].join(" "));
        assert_eq!(read(&many), Err(Bad::Limit));
    }
}
