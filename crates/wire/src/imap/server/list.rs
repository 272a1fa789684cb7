//! LIST and LSUB: patterns, selection and return options (RFC 9051 6.3.9; RFC 3501 6.3.9; RFC 6154).

use std::collections::BTreeSet;

use super::arguments::{Bad, Names};
use super::cursor::Cursor;
use super::reply;
use super::status::StatusItems;
use super::table::Verb;
use crate::imap::ask::Mailbox;

/// The greatest length of all patterns of a command together, in octets.
const PATTERN_LIMIT: usize = 1000;

/// How many pairs of a pattern's and a name's octets one command may look at.
const WORK_LIMIT: u64 = 64_000_000;

/// A LIST or LSUB command.
#[derive(Debug, PartialEq, Eq, Default)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is one independent option of the standard"
)]
pub(super) struct List {
    /// Reference and pattern put together, decoded.
    patterns: Vec<String>,
    /// The length of all patterns as they were given.
    pattern_octets: usize,
    /// LSUB.
    lsub: bool,
    /// Selection options or return options were given, or several patterns.
    extended: bool,
    only_subscribed: bool,
    recursive: bool,
    only_special_use: bool,
    return_subscribed: bool,
    /// RETURN (STATUS (…)).
    pub(super) status: Option<StatusItems>,
}

/// `LIST "" ""`, answered without looking at any mailbox, or a real one.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Listing {
    /// The client asks for the hierarchy separator.
    Separator,
    /// Mailboxes.
    Mailboxes(List),
}

impl List {
    /// The arguments of LIST.
    pub(super) fn parse(mut cursor: Cursor<'_>, names: Names) -> Result<Listing, Bad> {
        let mut list = Self::default();
        cursor.space()?;
        if cursor.peek() == Some(b'(') {
            list.extended = true;
            list.selection(&mut cursor)?;
            cursor.space()?;
        }
        let reference = names.mailbox(&mut cursor)?;
        cursor.space()?;
        if cursor.eat(b'(') {
            list.extended = true;
            loop {
                list.pattern(&mut cursor, &reference, names)?;
                if cursor.eat(b')') {
                    break;
                }
                cursor.space()?;
            }
        } else if list.pattern(&mut cursor, &reference, names)?
            && !list.extended
            && cursor.peek() == Some(b'\r')
        {
            cursor.end()?;
            return Ok(Listing::Separator);
        }
        if cursor.eat(b' ') {
            list.extended = true;
            list.returns(&mut cursor)?;
        }
        cursor.end()?;
        Ok(Listing::Mailboxes(list))
    }

    /// The arguments of LSUB.
    pub(super) fn parse_lsub(mut cursor: Cursor<'_>, names: Names) -> Result<Self, Bad> {
        let mut list = Self {
            lsub: true,
            ..Self::default()
        };
        cursor.space()?;
        let reference = names.mailbox(&mut cursor)?;
        cursor.space()?;
        list.pattern(&mut cursor, &reference, names)?;
        cursor.end()?;
        Ok(list)
    }

    /// Takes a pattern and says whether it is empty.
    fn pattern(
        &mut self,
        cursor: &mut Cursor<'_>,
        reference: &str,
        names: Names,
    ) -> Result<bool, Bad> {
        let octets = cursor.list_mailbox()?;
        let pattern = names.decode(&octets)?;
        let whole = format!("{reference}{pattern}");
        // Matching takes time by the length of the patterns. An empty one costs too: it is a pattern all the same.
        self.pattern_octets = self.pattern_octets.saturating_add(whole.len().max(1));
        if self.pattern_octets > PATTERN_LIMIT {
            return Err(Bad::Limit);
        }
        self.patterns.push(collapse(&whole));
        Ok(pattern.is_empty())
    }

    fn selection(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Bad> {
        options(cursor, |option, _| {
            match option {
                "SUBSCRIBED" => self.only_subscribed = true,
                "RECURSIVEMATCH" => self.recursive = true,
                "SPECIAL-USE" => self.only_special_use = true,
                // There are no remote mailboxes.
                "REMOTE" => {}
                _ => return Err(Bad::Syntax),
            }
            Ok(())
        })?;
        self.return_subscribed |= self.only_subscribed;
        // RECURSIVEMATCH says how another option is applied; alone it means nothing (RFC 9051 6.3.9.1).
        if self.recursive && !self.only_subscribed && !self.only_special_use {
            Err(Bad::Syntax)
        } else {
            Ok(())
        }
    }

    fn returns(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Bad> {
        if !cursor.eat_word("RETURN") {
            return Err(Bad::Syntax);
        }
        cursor.space()?;
        options(cursor, |option, cursor| {
            match option {
                "SUBSCRIBED" => self.return_subscribed = true,
                // Always given.
                "CHILDREN" | "SPECIAL-USE" => {}
                "STATUS" => {
                    cursor.space()?;
                    self.status = Some(StatusItems::parse(cursor)?);
                }
                _ => return Err(Bad::Syntax),
            }
            Ok(())
        })
    }

    /// Which of the two commands this is.
    pub(super) fn verb(&self) -> Verb {
        if self.lsub { Verb::Lsub } else { Verb::List }
    }

    /// Whether it would take too long to tell these mailboxes. Names are counted by their octets, times the weight of the
    /// patterns; LSUB matches every level above a name too.
    pub(super) fn costs_too_much(&self, mailboxes: &[Mailbox]) -> bool {
        let weight = self
            .patterns
            .iter()
            .fold(0, |sum: u64, it| sum.saturating_add(weight(it)));
        let mut work = 0_u64;
        for mailbox in mailboxes {
            let levels = 1 + mailbox.name.matches('/').map(length).sum::<u64>();
            let times = if self.lsub {
                levels.saturating_mul(weight)
            } else {
                levels.saturating_add(weight)
            };
            work = work.saturating_add(times.saturating_mul(length(&mailbox.name)));
        }
        work > WORK_LIMIT
    }

    fn matches(&self, name: &str) -> bool {
        self.patterns
            .iter()
            .any(|pattern| matches_pattern(pattern, name))
    }

    /// Whether `%` takes this level in the place of names below it.
    fn hides_below(&self, level: &str) -> bool {
        self.patterns
            .iter()
            .any(|pattern| pattern.contains('%') && matches_pattern(pattern, level))
    }

    fn selected(&self, mailbox: &Mailbox) -> bool {
        (!self.only_subscribed || mailbox.subscribed)
            && (!self.only_special_use || mailbox.special_use.is_some())
    }

    /// Writes the responses, and gives the names that STATUS is wanted of.
    pub(super) fn tell(
        &self,
        out: &mut Vec<u8>,
        mailboxes: &[Mailbox],
        names: Names,
    ) -> Vec<String> {
        if self.lsub {
            self.tell_lsub(out, mailboxes, names);
            return Vec::new();
        }
        let tree = Tree::new(mailboxes, |mailbox| {
            self.selected(mailbox) && !self.matches(&mailbox.name)
        });
        let mut wanted = Vec::new();
        for mailbox in mailboxes
            .iter()
            .filter(|mailbox| self.matches(&mailbox.name))
        {
            let children = tree.parents.contains(mailbox.name.as_str());
            let below = self.recursive && tree.above_selected.contains(mailbox.name.as_str());
            let there = mailbox.exists || children || self.only_subscribed;
            if (self.selected(mailbox) && there) || below {
                self.tell_one(out, mailbox, children, below, names);
                if mailbox.exists {
                    wanted.push(mailbox.name.clone());
                }
            }
        }
        wanted
    }

    fn tell_one(
        &self,
        out: &mut Vec<u8>,
        mailbox: &Mailbox,
        children: bool,
        below: bool,
        names: Names,
    ) {
        reply::put(out, format_args!("* LIST ("));
        out.extend_from_slice(if children {
            b"\\HasChildren"
        } else {
            b"\\HasNoChildren"
        });
        if !mailbox.exists {
            // IMAP4rev1 has no \NonExistent; \Noselect is what it understands.
            let rev2 = self.extended || names == Names::Utf8;
            out.extend_from_slice(if rev2 {
                b" \\NonExistent"
            } else {
                b" \\Noselect"
            });
        }
        if self.return_subscribed && mailbox.subscribed {
            out.extend_from_slice(b" \\Subscribed");
        }
        if let Some(special_use) = mailbox.special_use {
            reply::put(out, format_args!(" {}", reply::special_use(special_use)));
        }
        out.extend_from_slice(b") \"/\" ");
        names.encode(out, &mailbox.name);
        if below {
            let options: &[u8] = match (self.only_subscribed, self.only_special_use) {
                (true, true) => b"\"SUBSCRIBED\" \"SPECIAL-USE\"",
                (true, false) => b"\"SUBSCRIBED\"",
                (false, _) => b"\"SPECIAL-USE\"",
            };
            out.extend_from_slice(b" (\"CHILDINFO\" (");
            out.extend_from_slice(options);
            out.extend_from_slice(b"))");
        }
        out.extend_from_slice(b"\r\n");
    }

    /// Subscribed names; where `%` hides a subscribed name below a level, that level is told (RFC 3501 6.3.9).
    fn tell_lsub(&self, out: &mut Vec<u8>, mailboxes: &[Mailbox], names: Names) {
        let subscribed: BTreeSet<&str> = mailboxes
            .iter()
            .filter(|mailbox| mailbox.subscribed)
            .map(|mailbox| mailbox.name.as_str())
            .collect();
        let mut told: BTreeSet<&str> = BTreeSet::new();
        for name in &subscribed {
            if self.matches(name) {
                told.insert(name);
            } else {
                told.extend(parents(name).filter(|parent| self.hides_below(parent)));
            }
        }
        for name in told {
            let attributes = if subscribed.contains(name) {
                ""
            } else {
                "\\Noselect"
            };
            reply::put(out, format_args!("* LSUB ({attributes}) \"/\" "));
            names.encode(out, name);
            out.extend_from_slice(b"\r\n");
        }
    }
}

/// Reads `(OPTION …)`, or `()`.
pub(super) fn options<'a>(
    cursor: &mut Cursor<'a>,
    mut each: impl FnMut(&str, &mut Cursor<'a>) -> Result<(), Bad>,
) -> Result<(), Bad> {
    cursor.expect(b'(')?;
    if cursor.eat(b')') {
        return Ok(());
    }
    loop {
        let option = cursor.atom()?.to_ascii_uppercase();
        each(&option, cursor)?;
        if cursor.eat(b')') {
            return Ok(());
        }
        cursor.space()?;
    }
}

/// Which names have names below them.
struct Tree<'a> {
    parents: BTreeSet<&'a str>,
    above_selected: BTreeSet<&'a str>,
}

impl<'a> Tree<'a> {
    fn new(mailboxes: &'a [Mailbox], selected: impl Fn(&Mailbox) -> bool) -> Self {
        let mut tree = Self {
            parents: BTreeSet::new(),
            above_selected: BTreeSet::new(),
        };
        for mailbox in mailboxes {
            if mailbox.exists {
                tree.parents.extend(parents(&mailbox.name));
            }
            if selected(mailbox) {
                tree.above_selected.extend(parents(&mailbox.name));
            }
        }
        tree
    }
}

/// `a`, `a/b` for `a/b/c`.
fn parents(name: &str) -> impl Iterator<Item = &str> {
    name.match_indices('/').filter_map(|(at, _)| name.get(..at))
}

/// Takes wildcards together that mean the same as one: in a row, `*` swallows everything beside it.
fn collapse(pattern: &str) -> String {
    let mut collapsed = String::with_capacity(pattern.len());
    for wanted in pattern.chars() {
        match (collapsed.chars().next_back(), wanted) {
            (Some('*'), '*' | '%') | (Some('%'), '%') => {}
            (Some('%'), '*') => {
                collapsed.pop();
                collapsed.push('*');
            }
            _ => collapsed.push(wanted),
        }
    }
    collapsed
}

/// How often each character of a name may have to be looked at to match it.
fn weight(pattern: &str) -> u64 {
    if pattern == "*" || !pattern.contains(['*', '%']) {
        1
    } else {
        length(pattern)
    }
}

fn length(text: &str) -> u64 {
    u64::try_from(text.len()).unwrap_or(u64::MAX)
}

/// Whether a name matches a pattern: `*` stands for anything, `%` for anything within a level; INBOX matches without regard
/// to case (RFC 9051 6.3.9). Takes time proportional to the product of the lengths, whatever the pattern.
fn matches_pattern(pattern: &str, name: &str) -> bool {
    pattern == "*" || compare(pattern, name).0
}

/// Whether they match, and how many pairs of characters had to be looked at.
fn compare(pattern: &str, name: &str) -> (bool, usize) {
    let inbox = name
        .strip_prefix("INBOX")
        .is_some_and(|below| below.is_empty() || below.starts_with('/'));
    if !pattern.contains(['*', '%']) {
        let mut pairs = pattern.chars().zip(name.chars()).enumerate();
        let equal = pattern.len() == name.len()
            && pairs.all(|(at, (wanted, is))| same(is, wanted, inbox && at < 5));
        return (equal, name.len());
    }
    let name: Vec<char> = name.chars().collect();
    let mut steps = 0;
    // reached[i]: the pattern so far matches the first i characters.
    let mut reached = vec![false; name.len() + 1];
    if let Some(start) = reached.first_mut() {
        *start = true;
    }
    for wanted in pattern.chars() {
        let mut next = vec![false; reached.len()];
        let mut running = false;
        let mut any = false;
        for (at, (before, now)) in reached.iter().zip(&mut next).enumerate() {
            let last = at.checked_sub(1).and_then(|at| name.get(at));
            match wanted {
                '*' => running |= *before,
                '%' => running = (running && last != Some(&'/')) || *before,
                _ => {
                    running = last.is_some_and(|last| same(*last, wanted, inbox && at <= 5))
                        && carried(&reached, at);
                }
            }
            *now = running;
            any |= running;
        }
        steps += reached.len();
        reached = next;
        if !any {
            break;
        }
    }
    (reached.last() == Some(&true), steps)
}

fn carried(reached: &[bool], at: usize) -> bool {
    at.checked_sub(1).and_then(|at| reached.get(at)) == Some(&true)
}

fn same(one: char, other: char, fold: bool) -> bool {
    if fold {
        one.eq_ignore_ascii_case(&other)
    } else {
        one == other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mailbox(name: &str, subscribed: bool, exists: bool) -> Mailbox {
        Mailbox {
            name: name.into(),
            subscribed,
            exists,
            special_use: None,
        }
    }

    #[test]
    fn patterns() {
        for (pattern, name, expected) in [
            ("*", "a/b/c", true),
            ("%", "a", true),
            ("%", "a/b", false),
            ("a/%", "a/b", true),
            ("a/%", "a/b/c", false),
            ("a%c", "abc", true),
            ("a%c", "a/c", false),
            ("a*c", "a/c", true),
            ("inbox", "INBOX", true),
            ("iNb%", "INBOX", true),
            ("inbox/x", "INBOX/x", true),
            ("inbox/X", "INBOX/x", false),
            ("A", "a", false),
            ("", "a", false),
            ("a", "", false),
            ("*%*", "", true),
            ("%/%", "a/b", true),
        ] {
            assert_eq!(matches_pattern(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn a_comparison_ends_when_nothing_is_reachable() {
        let name = "a".repeat(1000);
        let (found, steps) = compare(&format!("b{}", "*a".repeat(400)), &name);
        assert!(!found && steps == 1001, "{steps}");
        assert_eq!(compare(&format!("{name}b"), &name), (false, 1000));
    }

    #[test]
    fn wildcards_in_a_row_are_one() {
        for (given, collapsed) in [
            ("****", "*"),
            ("%%%", "%"),
            ("%*%", "*"),
            ("a*%b%%c", "a*b%c"),
            ("a", "a"),
        ] {
            assert_eq!(collapse(given), collapsed, "{given}");
        }
        let text = format!(" \"\" {}\r\n", "*".repeat(900));
        let Ok(Listing::Mailboxes(list)) = List::parse(Cursor::new(text.as_bytes()), Names::Utf8)
        else {
            panic!()
        };
        assert_eq!(list.patterns, ["*"]);
    }

    #[test]
    fn long_patterns_are_refused() {
        let parse = |text: String| List::parse(Cursor::new(text.as_bytes()), Names::Utf8);
        assert!(parse(format!(" \"\" {}\r\n", "a".repeat(1000))).is_ok());
        for long in [
            format!(" \"\" {}\r\n", "a".repeat(1001)),
            format!(" \"\" ({} b)\r\n", "a".repeat(1000)),
            format!(" {} b\r\n", "a".repeat(1000)),
            format!(" \"\" ({}\"\")\r\n", "\"\" ".repeat(1000)),
        ] {
            assert_eq!(parse(long), Err(Bad::Limit));
        }
    }

    #[test]
    fn the_work_of_a_list_is_limited() {
        let mailboxes: Vec<Mailbox> = (0..10_000)
            .map(|at| mailbox(&format!("{at:0>200}"), true, true))
            .collect();
        let costs = |pattern: &str| {
            let text = format!(" \"\" {pattern}\r\n");
            let Ok(Listing::Mailboxes(list)) =
                List::parse(Cursor::new(text.as_bytes()), Names::Utf8)
            else {
                panic!()
            };
            list.costs_too_much(&mailboxes)
        };
        assert!(!costs("*") && !costs("%") && !costs(&"a".repeat(999)));
        // 2,000,000 octets of names, times 31 and the tree once more, then times 32.
        assert!(!costs(&format!("{}b", "*a".repeat(15))));
        assert!(costs(&"*a".repeat(16)));
    }

    #[test]
    fn lsub_counts_every_level() {
        let deep: Vec<Mailbox> = (0..1000)
            .map(|at| mailbox(&format!("{}{at}", "a/".repeat(100)), true, true))
            .collect();
        let lsub = |pattern: &str| {
            let text = format!(" \"\" {pattern}\r\n");
            List::parse_lsub(Cursor::new(text.as_bytes()), Names::Utf8).unwrap()
        };
        assert!(!lsub("*").costs_too_much(&deep));
        assert!(lsub("*a*b").costs_too_much(&deep));
    }

    fn list(text: &str, mailboxes: &[Mailbox]) -> String {
        let text = format!("{text}\r\n");
        let Ok(Listing::Mailboxes(list)) = List::parse(Cursor::new(text.as_bytes()), Names::Utf8)
        else {
            panic!("{text}")
        };
        let mut out = Vec::new();
        list.tell(&mut out, mailboxes, Names::Utf8);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_examples_of_rfc_9051() {
        // RFC 9051 6.3.9.7, examples 3, 4 and 8 to 10, adapted.
        let mailboxes = [
            mailbox("Fruit", true, true),
            mailbox("Fruit/Apple", false, true),
            mailbox("Fruit/Peach", true, false),
            mailbox("INBOX", true, true),
            mailbox("Vegetable/Corn", true, true),
            mailbox("Vegetable", false, false),
        ];
        let subscribed = list(" (SUBSCRIBED) \"\" *", &mailboxes);
        assert!(subscribed.contains(
            "* LIST (\\HasNoChildren \\NonExistent \\Subscribed) \"/\" \"Fruit/Peach\"\r\n"
        ));
        assert!(!subscribed.contains("Apple") && !subscribed.contains("\"Vegetable\""));
        let recursive = list(" (SUBSCRIBED RECURSIVEMATCH) \"\" %", &mailboxes);
        assert!(recursive.contains(
            "(\\HasChildren \\NonExistent) \"/\" \"Vegetable\" (\"CHILDINFO\" (\"SUBSCRIBED\"))"
        ));
        assert!(!recursive.contains("Corn"));
        assert_eq!(
            list(" \"\" Fruit/%", &mailboxes),
            "* LIST (\\HasNoChildren) \"/\" \"Fruit/Apple\"\r\n"
        );
    }

    #[test]
    fn lsub_tells_levels_that_hide_subscribed_names() {
        let mailboxes = [mailbox("foo", false, true), mailbox("foo/bar", true, true)];
        let mut out = Vec::new();
        let list = List::parse_lsub(Cursor::new(b" \"\" %\r\n"), Names::ModifiedUtf7).unwrap();
        list.tell(&mut out, &mailboxes, Names::ModifiedUtf7);
        assert_eq!(out, b"* LSUB (\\Noselect) \"/\" \"foo\"\r\n");
    }

    /// Without `%` a name that is not subscribed is not told, whatever there is below it.
    #[test]
    fn lsub_of_a_name_tells_no_level_above() {
        let mailboxes = [mailbox("foo/bar", true, true)];
        for (pattern, expected) in [
            ("foo", ""),
            ("f*o", ""),
            ("foo/bar", "* LSUB () \"/\" \"foo/bar\"\r\n"),
            ("f%", "* LSUB (\\Noselect) \"/\" \"foo\"\r\n"),
        ] {
            let mut out = Vec::new();
            let line = format!(" \"\" {pattern}\r\n");
            let list = List::parse_lsub(Cursor::new(line.as_bytes()), Names::ModifiedUtf7).unwrap();
            list.tell(&mut out, &mailboxes, Names::ModifiedUtf7);
            assert_eq!(String::from_utf8(out).unwrap(), expected, "{pattern}");
        }
    }

    #[test]
    fn bad_lists_are_refused() {
        for bad in [
            "",
            " \"\"",
            " (FROB) \"\" *",
            " (RECURSIVEMATCH) \"\" *",
            " \"\" () ",
            " \"\" * RETURN (FROB)",
            " \"\" * x",
        ] {
            let text = format!("{bad}\r\n");
            assert!(
                List::parse(Cursor::new(text.as_bytes()), Names::Utf8).is_err(),
                "{bad}"
            );
        }
        assert_eq!(
            List::parse(Cursor::new(b" \"\" \"\"\r\n"), Names::Utf8),
            Ok(Listing::Separator)
        );
    }
}
