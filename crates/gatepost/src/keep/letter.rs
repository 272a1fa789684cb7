//! A message on its way between a file and the store: octets, flags, date.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use gatepost_wire::imap::ask::{Flags, InternalDate};

/// A message as a source gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Letter {
    /// The mailbox it belongs to, as the source calls it; empty: the source's first.
    pub(crate) folder: String,
    /// What tells it from others in this folder, beside its content.
    pub(crate) name: String,
    /// Its octets, lines ended by CRLF.
    pub(crate) octets: Vec<u8>,
    /// Its flags.
    pub(crate) flags: Flags,
    /// When it came.
    pub(crate) date: InternalDate,
}

/// Lines as mail ends them: a bare LF becomes CRLF, everything else stays.
pub(crate) fn to_crlf(octets: Vec<u8>) -> Vec<u8> {
    let bare = |at: usize| octets[at] == b'\n' && (at == 0 || octets[at - 1] != b'\r');
    let missing = (0..octets.len()).filter(|at| bare(*at)).count();
    if missing == 0 {
        return octets;
    }
    let mut out = Vec::with_capacity(octets.len() + missing);
    for (at, octet) in octets.iter().enumerate() {
        if bare(at) {
            out.push(b'\r');
        }
        out.push(*octet);
    }
    out
}

/// Lines as files end them.
pub(crate) fn to_lf(octets: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(octets.len());
    for (at, octet) in octets.iter().enumerate() {
        if *octet != b'\r' || octets.get(at + 1) != Some(&b'\n') {
            out.push(*octet);
        }
    }
    out
}

/// A time as the store keeps it.
pub(crate) fn internal_date(time: SystemTime) -> InternalDate {
    let unix = time.duration_since(UNIX_EPOCH).map_or(0, |since| {
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    });
    InternalDate {
        unix,
        offset_minutes: 0,
    }
}

/// A date as the system keeps it.
pub(crate) fn system_time(date: InternalDate) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(u64::try_from(date.unix).unwrap_or_default())
}

/// Sets a flag by its IMAP name. What is neither a system flag nor can be a keyword is left out.
pub(crate) fn set_flag(flags: &mut Flags, name: &str) {
    match name.to_ascii_lowercase().as_str() {
        "\\seen" => flags.seen = true,
        "\\answered" => flags.answered = true,
        "\\flagged" => flags.flagged = true,
        "\\deleted" => flags.deleted = true,
        "\\draft" => flags.draft = true,
        _ if is_keyword(name) => {
            let mut known = flags.keywords.iter();
            if !known.any(|other| other.eq_ignore_ascii_case(name)) {
                flags.keywords.insert(name.into());
            }
        }
        _ => {}
    }
}

fn is_keyword(name: &str) -> bool {
    let special = |c: u8| !c.is_ascii_graphic() || b"(){%*\"\\]".contains(&c);
    (1..=200).contains(&name.len()) && !name.bytes().any(special)
}

/// Flags by their IMAP names.
pub(crate) fn flag_names(flags: &Flags) -> Vec<String> {
    let system = [
        (flags.seen, "\\Seen"),
        (flags.answered, "\\Answered"),
        (flags.flagged, "\\Flagged"),
        (flags.deleted, "\\Deleted"),
        (flags.draft, "\\Draft"),
    ];
    let set = system.into_iter().filter(|(set, _)| *set);
    let mut names: Vec<String> = set.map(|(_, name)| name.to_owned()).collect();
    names.extend(flags.keywords.iter().map(ToString::to_string));
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_ends() {
        assert_eq!(to_crlf(b"a\nb\r\nc\rd\n".to_vec()), b"a\r\nb\r\nc\rd\r\n");
        assert_eq!(to_lf(b"a\r\nb\r\r\nc\rd\r"), b"a\nb\r\nc\rd\r");
        assert_eq!(to_crlf(b"\n\n".to_vec()), b"\r\n\r\n");
    }

    #[test]
    fn flags_by_name() {
        let mut flags = Flags::default();
        for name in ["\\SEEN", "$Junk", "$junk", "no good", "\\Recent", "a]b", ""] {
            set_flag(&mut flags, name);
        }
        assert_eq!(flag_names(&flags), ["\\Seen", "$Junk"]);
    }
}
