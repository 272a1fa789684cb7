//! LANG (RFC 6856 3): the language of the texts behind `+OK` and `-ERR`. There is one, English; to the client that names it, or what
//! includes it, that is confirmed.

use super::super::reply::{self, Refusal};
use super::Server;

/// Tags and what they are called. The first is what `*` means.
const LANGUAGES: [(&str, &str); 2] = [
    ("i-default", "Default language (English)"),
    ("en", "English"),
];

impl Server {
    /// Lists the languages, or takes one.
    pub(super) fn on_language(&mut self, wanted: Option<&str>) -> Result<(), Refusal> {
        let Some(wanted) = wanted else {
            reply::ok(&mut self.output, format_args!("languages follow"));
            for (tag, name) in LANGUAGES {
                reply::line(&mut self.output, format_args!("{tag} {name}"));
            }
            reply::line(&mut self.output, format_args!("."));
            return Ok(());
        };
        let tag = choose(wanted.trim_end_matches(' ')).ok_or(Refusal::UnknownLanguage)?;
        reply::ok(
            &mut self.output,
            format_args!("{tag} replies are in English"),
        );
        Ok(())
    }
}

/// The language for a range, by lookup (RFC 4647 3.4): `en-GB` is served with `en`.
fn choose(wanted: &str) -> Option<&'static str> {
    let mut range = wanted;
    if range == "*" {
        return LANGUAGES.first().map(|(tag, _)| *tag);
    }
    loop {
        let found = LANGUAGES
            .iter()
            .find(|(tag, _)| tag.eq_ignore_ascii_case(range));
        if let Some((tag, _)) = found {
            return Some(tag);
        }
        range = range.rsplit_once('-')?.0;
    }
}

#[cfg(test)]
mod tests {
    use super::choose;

    #[test]
    fn languages_by_lookup() {
        for (range, tag) in [
            ("*", Some("i-default")),
            ("en", Some("en")),
            ("EN-gb", Some("en")),
            ("en-Latn-GB", Some("en")),
            ("i-DEFAULT", Some("i-default")),
            ("de", None),
            ("eng", None),
            ("i", None),
            ("", None),
            ("-", None),
        ] {
            assert_eq!(choose(range), tag, "{range}");
        }
    }
}
