//! What to write where, by server program: data in `rules/fixes.tsv`. A row is an id, or the beginning of ids followed by `*`; a row
//! of the id itself wins. Settings stand there as `name = value`, and every name is one that program knows: a test compares them with the
//! tables of the config lint.

use std::sync::LazyLock;

use super::document::Judged;
use super::facts::Facts;
use crate::rules::{self, Rule};

/// A program that serves mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Server {
    /// Postfix.
    Postfix,
    /// Dovecot.
    Dovecot,
    /// Exim.
    Exim,
    /// Gatepost.
    Gatepost,
    /// Microsoft Exchange Server.
    Exchange,
}

impl Server {
    /// All of them, in the order they are told.
    pub const ALL: [Self; 5] = [
        Self::Postfix,
        Self::Dovecot,
        Self::Exim,
        Self::Gatepost,
        Self::Exchange,
    ];

    /// Its name.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Postfix => "Postfix",
            Self::Dovecot => "Dovecot",
            Self::Exim => "Exim",
            Self::Gatepost => "Gatepost",
            Self::Exchange => "Exchange",
        }
    }

    fn parse(word: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|it| it.label().eq_ignore_ascii_case(word))
    }

    /// The program a greeting names, if it names one.
    #[must_use]
    pub fn guess(greeting: &str) -> Option<Self> {
        if greeting.contains("Microsoft ESMTP") || greeting.contains("Microsoft Exchange") {
            return Some(Self::Exchange);
        }
        Self::ALL
            .into_iter()
            .find(|it| greeting.contains(it.label()))
    }

    /// The program behind these facts, by what it says in clear.
    #[must_use]
    pub fn of(facts: &Facts) -> Option<Self> {
        facts.greeting.known().and_then(|it| Self::guess(&it.text))
    }
}

/// One row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Row {
    id: &'static str,
    server: Server,
    text: &'static str,
}

impl Row {
    fn fits(&self, id: &str) -> bool {
        match self.id.strip_suffix('*') {
            Some(start) => id.starts_with(start),
            None => self.id == id,
        }
    }
}

static TABLE: LazyLock<Vec<Row>> = LazyLock::new(|| {
    include_str!("../rules/fixes.tsv")
        .lines()
        .filter_map(row)
        .collect()
});

fn row(line: &'static str) -> Option<Row> {
    if line.starts_with('#') {
        return None;
    }
    let mut cells = line.split('\t');
    let (id, server, text) = (cells.next()?, Server::parse(cells.next()?)?, cells.next()?);
    Some(Row { id, server, text })
}

/// What to do about this rule on this program, if there is something of its own to say.
#[must_use]
pub fn fix(id: &str, server: Server) -> Option<&'static str> {
    let fitting = TABLE.iter().filter(|it| it.server == server && it.fits(id));
    // The longest beginning is the nearest; a whole id is longer than any beginning of it.
    fitting
        .max_by_key(|it| it.id.len() + usize::from(!it.id.ends_with('*')))
        .map(|it| it.text)
}

/// The same for every program.
#[must_use]
pub fn all(id: &str) -> Vec<(Server, &'static str)> {
    Server::ALL
        .into_iter()
        .filter_map(|it| fix(id, it).map(|text| (it, text)))
        .collect()
}

/// Puts a fix beside every finding that has none of its own: that of the program, where the facts name it, else one line each.
pub fn advise(judged: &mut Judged, facts: &Facts) {
    let known = Server::of(facts);
    for check in judged.checks.iter_mut().filter(|it| it.is_finding()) {
        let id = check.rule.id;
        if let Some(text) = known.and_then(|it| fix(id, it)) {
            let server = known.map_or("", Server::label);
            let general = check
                .fix
                .take()
                .map(|it| format!("{it}\n"))
                .unwrap_or_default();
            check.fix = Some(format!("{general}{server}: {text}"));
        } else if check.fix.is_none() {
            let lines: Vec<String> = all(id)
                .iter()
                .map(|(it, text)| format!("{}: {text}", it.label()))
                .collect();
            check.fix = (!lines.is_empty()).then(|| lines.join("\n"));
        }
    }
}

/// What a rule means, where that is written, and what to do, for a terminal. None when there is no such rule.
#[must_use]
pub fn explain(id: &str) -> Option<String> {
    let same = |rule: &&Rule| rule.id.eq_ignore_ascii_case(id);
    rules::all().iter().find(same).map(told)
}

fn told(rule: &Rule) -> String {
    let axis = super::score::Axis::of(rule.id);
    let mut text = format!(
        "{}\n\n{}\n\nSeverity: {} where it fails\nCounts for: {} (the score {})\nSource: {}\n",
        rule.id,
        rule.text,
        rule.severity.word(),
        axis.question(),
        axis.label(),
        rule.source
    );
    if let Some(fix) = rule.fix {
        text.push_str(&format!("\nWhat to do: {fix}\n"));
    }
    let fixes = all(rule.id);
    if !fixes.is_empty() {
        text.push_str("\nWhat to write:\n");
    }
    for (server, fix) in fixes {
        text.push_str(&format!("  {:<9} {fix}\n", format!("{}:", server.label())));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::samples;

    #[test]
    fn every_row_is_a_fix_and_stands_once() {
        let lines = include_str!("../rules/fixes.tsv").lines();
        let rows = lines
            .filter(|it| !it.starts_with('#') && !it.is_empty())
            .count();
        assert_eq!(TABLE.len(), rows);
        let mut seen = std::collections::HashSet::new();
        for it in TABLE.iter() {
            assert!(
                seen.insert((it.id, it.server)),
                "{} twice for {}",
                it.id,
                it.server.label()
            );
            assert!(!it.text.is_empty(), "{}", it.id);
        }
    }

    #[test]
    fn every_id_is_a_rule() {
        for it in TABLE.iter() {
            assert!(
                rules::all().iter().any(|rule| it.fits(rule.id)),
                "{} is no rule",
                it.id
            );
        }
    }

    #[test]
    fn every_setting_is_one_its_program_knows() {
        let first = |table: &'static str| {
            table
                .lines()
                .filter(|it| !it.starts_with('#'))
                .filter_map(|it| it.split('\t').next())
                .collect::<Vec<_>>()
        };
        let tables = [
            (
                Server::Postfix,
                first(include_str!("../config/postfix/parameters.tsv")),
            ),
            (
                Server::Dovecot,
                first(include_str!("../config/dovecot/settings.tsv")),
            ),
            (
                Server::Exim,
                first(include_str!("../config/exim/options.tsv")),
            ),
        ];
        let mut looked = 0;
        for (server, names) in tables {
            for it in TABLE.iter().filter(|it| it.server == server) {
                for name in settings(it.text) {
                    assert!(
                        names.contains(&name),
                        "{} knows no {name} ({})",
                        server.label(),
                        it.id
                    );
                    looked += 1;
                }
            }
        }
        assert!(looked > 40, "{looked}");
    }

    /// Words before `=`.
    fn settings(text: &str) -> Vec<&str> {
        let is_name = |it: char| it.is_ascii_alphanumeric() || it == '_';
        text.match_indices(" = ")
            .filter_map(|(at, _)| text[..at].rsplit(|it| !is_name(it)).next())
            .filter(|it| !it.is_empty())
            .collect()
    }

    #[test]
    fn a_row_of_the_id_wins_over_a_beginning() {
        let of = |id| fix(id, Server::Postfix).unwrap();
        assert!(of("CIPH-DHE").ends_with("= kDHE"), "{}", of("CIPH-DHE"));
        assert!(of("CIPH-RC4").contains("RC4"), "{}", of("CIPH-RC4"));
        assert_eq!(fix("NO-SUCH", Server::Postfix), None);
    }

    #[test]
    fn the_program_that_names_itself_gets_its_own_fix() {
        let mut report = samples::report();
        let facts = samples::facts().remove(0);
        let judged = &mut report.targets[0];
        judged.checks[0].fix = None;
        advise(judged, &facts);
        let fix = judged.checks[0].fix.clone().unwrap();
        assert!(
            fix.starts_with("Postfix: ") && !fix.contains("Exim"),
            "{fix}"
        );
        assert_eq!(judged.checks[1].fix, None, "what passed needs no fix");
    }

    #[test]
    fn who_does_not_name_itself_gets_all() {
        let mut report = samples::report();
        let mut facts = samples::facts().remove(0);
        facts.greeting = crate::check::facts::Seen::Unasked;
        report.targets[0].checks[0].fix = None;
        advise(&mut report.targets[0], &facts);
        let fix = report.targets[0].checks[0].fix.clone().unwrap();
        assert!(
            fix.contains("Postfix: ") && fix.contains("\nExim: "),
            "{fix}"
        );
    }

    #[test]
    fn greetings_name_programs() {
        for (greeting, server) in [
            ("220 mx ESMTP Postfix (Debian/GNU)", Some(Server::Postfix)),
            ("220 mx ESMTP Exim 4.96", Some(Server::Exim)),
            (
                "* OK [CAPABILITY IMAP4rev1] Dovecot (Debian) ready.",
                Some(Server::Dovecot),
            ),
            (
                "220 ex1 Microsoft ESMTP MAIL Service ready",
                Some(Server::Exchange),
            ),
            ("220 mx ESMTP", None),
        ] {
            assert_eq!(Server::guess(greeting), server, "{greeting}");
        }
    }

    #[test]
    fn an_explanation_has_text_source_and_fixes() {
        let text = told(samples::rule("STLS-001", crate::finding::Severity::High));
        for words in [
            "Severity: high where it fails",
            "Counts for: Safe from somebody who listens (the score passive)",
            "Source: RFC 3207",
            "Postfix:",
            "smtpd_tls_security_level = may",
        ] {
            assert!(text.contains(words), "{words} is not in {text}");
        }
        assert_eq!(explain("NO-SUCH"), None);
        // The case of the id does not matter.
        assert!(explain("pf-level-may").is_some());
    }
}
