//! Words from the command line that are put into configurations: only what means the same in all of them is let through, so that
//! nothing given here can end a line, a string or a command of somebody's file.

use aws_lc_rs::digest::{SHA256, digest};

use crate::client::url::Host;
use crate::exit::Failure;

/// A host name or domain, international names as A-labels.
pub(crate) fn host(text: &str, flag: &str) -> Result<String, Failure> {
    match Host::parse(text) {
        Ok(Host::Name(name)) => Ok(name),
        Ok(Host::Ip(_)) => Err(Failure::usage(format!(
            "{flag} {text}: give a name, not an address"
        ))),
        Err(problem) => Err(Failure::usage(format!("{flag} {text:?}: {problem}"))),
    }
}

/// An absolute path of letters that no configuration language gives a meaning to.
pub(crate) fn path(text: &str, flag: &str) -> Result<String, Failure> {
    let plain = |it: char| it.is_ascii_alphanumeric() || "/._-+@~".contains(it);
    if text.starts_with('/') && text.chars().all(plain) {
        return Ok(text.to_owned());
    }
    Err(Failure::usage(format!(
        "{flag} {text:?}: give an absolute path of letters, digits and /._-+@~"
    )))
}

/// A mail address: its local part as it is written, its domain as A-labels.
pub(crate) fn address(text: &str) -> Result<(String, String), Failure> {
    let wrong = || {
        Failure::usage(format!(
            "{text:?} is no mail address; write one such as anna@example.org"
        ))
    };
    let (local, domain) = text.rsplit_once('@').ok_or_else(wrong)?;
    let atom = |it: char| {
        it.is_ascii_alphanumeric() || "!#%&'*+-/=?^_{|}~.".contains(it) || !it.is_ascii()
    };
    let dotted = !local.is_empty() && local.split('.').all(|part| !part.is_empty());
    if !dotted || !local.chars().all(atom) || local.chars().any(char::is_control) {
        return Err(wrong());
    }
    let domain = host(domain, "the address's domain")?;
    Ok((local.to_owned(), domain))
}

/// A login name: no white space, quotes or control characters.
pub(crate) fn user(text: &str) -> Result<String, Failure> {
    if text.is_empty()
        || text
            .chars()
            .any(|it| it.is_control() || it.is_whitespace() || "\"'`\\$;".contains(it))
    {
        return Err(Failure::usage(format!(
            "--user {text:?}: a login name without spaces, quotes, $ and ;"
        )));
    }
    Ok(text.to_owned())
}

/// The command that prints the password: it goes into files that have it run later, so it is the user's own word, on one line.
pub(crate) fn command(text: &str) -> Result<String, Failure> {
    if text.trim().is_empty()
        || text
            .chars()
            .any(|it| it.is_control() || "\"`\\".contains(it))
    {
        return Err(Failure::usage(format!(
            "--password-command {text:?}: one line without double quotes, backquotes and backslashes"
        )));
    }
    Ok(text.to_owned())
}

/// Text for XML.
pub(crate) fn xml(text: &str) -> String {
    let mut out = String::new();
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            it => out.push(it),
        }
    }
    out
}

/// A login name inside a URL (RFC 3986).
pub(crate) fn percent(text: &str) -> String {
    let mut out = String::new();
    for octet in text.bytes() {
        if octet.is_ascii_alphanumeric() || b"-._~".contains(&octet) {
            out.push(char::from(octet));
        } else {
            out.push_str(&format!("%{octet:02X}"));
        }
    }
    out
}

/// SHA-256 in hexadecimal digits.
pub(crate) fn hash(text: &str) -> String {
    let hash = digest(&SHA256, text.as_bytes());
    let octets = hash.as_ref().iter();
    octets.fold(String::new(), |hex, octet| hex + &format!("{octet:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_means_something_elsewhere_is_let_through() {
        for bad in [
            "x", "/a b", "/a\"b", "/a;b", "/a\nb", "/a{b", "/a#b", "/a$b",
        ] {
            assert!(path(bad, "--key").is_err(), "{bad}");
        }
        assert!(host("a.example\nx", "--host").is_err() && host("192.0.2.1", "--host").is_err());
        assert_eq!(
            host("bücher.example", "--host").unwrap(),
            "xn--bcher-kva.example"
        );
        assert!(
            address("anna").is_err()
                && address("a b@example.org").is_err()
                && address("\"x\"@example.org").is_err()
        );
        assert_eq!(address("anna+x@example.org").unwrap().0, "anna+x");
        assert!(user("a b").is_err() && user("$(x)").is_err() && command("a\nb").is_err());
        assert_eq!(xml("a&<\"'>"), "a&amp;&lt;&quot;&apos;&gt;");
        assert_eq!(percent("a@b"), "a%40b");
    }
}
