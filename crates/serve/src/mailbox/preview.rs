//! PREVIEW (RFC 8970): the beginning of a message's text, at most 200 characters on one line.

use std::io;

use super::mime::section::decode;
use super::mime::transfer::Decoder;
use super::mime::{Kind, Part, Source};
use super::texts::decode_charset;

/// The longest preview, in characters (RFC 8970 3.1 allows 256 octets of a US-ASCII text and 200 characters of any).
const CHARACTERS: usize = 200;
/// How much of a part is looked at, in octets: an HTML text may begin with much that is not seen.
const LOOKED_AT: usize = 16 * 1024;

/// The preview of a message; empty when it has no text.
///
/// # Errors
/// When the message cannot be read.
pub fn preview(root: &Part, source: &mut dyn Source) -> io::Result<String> {
    // Plain text wherever it stands comes before HTML.
    for html in [false, true] {
        if let Some(part) = find(root, html) {
            let text = text_of(part, source)?;
            let seen = if html { visible(&text) } else { text };
            let found = shorten(&seen);
            if !found.is_empty() {
                return Ok(found);
            }
        }
    }
    Ok(String::new())
}

/// The first part of that kind.
fn find(part: &Part, html: bool) -> Option<&Part> {
    let mut open = vec![part];
    while let Some(part) = open.pop() {
        match &part.kind {
            Kind::Multipart(children) => open.extend(children.iter().rev()),
            Kind::Message(inner) => open.push(inner),
            Kind::Leaf => {
                let media = part.content.media.as_ref();
                let fits = match media {
                    None => !html,
                    Some(media) => {
                        let subtype: &[u8] = if html { b"html" } else { b"plain" };
                        media.is("text") && media.subtype.eq_ignore_ascii_case(subtype)
                    }
                };
                if fits {
                    return Some(part);
                }
            }
        }
    }
    None
}

fn text_of(part: &Part, source: &mut dyn Source) -> io::Result<String> {
    let Some(decoder) = Decoder::new(part.content.transfer()) else {
        return Ok(String::new());
    };
    let media = part.content.media.as_ref();
    let charset = media
        .and_then(|media| media.parameter("charset"))
        .unwrap_or_default();
    let mut octets = Vec::new();
    decode(source, part.body.clone(), decoder, |_, piece| {
        octets.extend_from_slice(piece);
        octets.len() < LOOKED_AT
    })?;
    octets.truncate(LOOKED_AT);
    Ok(decode_charset(charset, &octets).into_owned())
}

/// White space becomes one space, what cannot be seen goes; lines that quote another message are left out.
fn shorten(text: &str) -> String {
    let lines = text.lines().filter(|line| !line.starts_with('>'));
    let words = lines.flat_map(str::split_whitespace);
    let mut found = String::new();
    for word in words {
        if found.chars().count() >= CHARACTERS {
            break;
        }
        if !found.is_empty() {
            found.push(' ');
        }
        found.extend(word.chars().filter(|it| !it.is_control()));
    }
    found.chars().take(CHARACTERS).collect()
}

/// What of an HTML text is seen: no tags, nothing inside style, script, head and title, the commonest entities undone.
fn visible(html: &str) -> String {
    let mut seen = String::new();
    let mut rest = html;
    while let Some(at) = rest.find('<') {
        let (before, tag) = rest.split_at(at);
        seen.push_str(before);
        let lower: String = tag.chars().take(8).collect::<String>().to_ascii_lowercase();
        let hidden = ["style", "script", "head", "title", "!--"]
            .into_iter()
            .find(|name| lower.get(1..).is_some_and(|it| it.starts_with(name)));
        let end = match hidden {
            Some("!--") => "-->".to_owned(),
            // HTML's own header, and not a heading.
            Some("head") if lower.get(5..6) == Some("e") => ">".to_owned(),
            Some(name) => format!("</{name}"),
            None => ">".to_owned(),
        };
        let folded = tag.to_ascii_lowercase();
        let Some(close) = folded.find(&end) else {
            rest = "";
            break;
        };
        let after = tag.get(close..).unwrap_or_default();
        rest = after
            .find('>')
            .and_then(|at| after.get(at + 1..))
            .unwrap_or_default();
        seen.push(' ');
    }
    seen.push_str(rest);
    for (entity, text) in [
        ("&nbsp;", " "),
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&#39;", "'"),
        ("&amp;", "&"),
    ] {
        seen = seen.replace(entity, text);
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::super::mime::scan::scan;
    use super::*;

    fn of(message: &str) -> String {
        let mut source = message.as_bytes();
        let root = scan(&mut source).unwrap();
        preview(&root, &mut source).unwrap()
    }

    #[test]
    fn plain_text_on_one_line() {
        let quoted = "Subject: x\r\n\r\nHello,\r\n> he said\r\n  this is\tthe text.\r\n";
        assert_eq!(of(quoted), "Hello, this is the text.");
        let long = format!("\r\n{}", "word ".repeat(100));
        assert_eq!(of(&long).chars().count(), 200);
        assert_eq!(of("Subject: x\r\n\r\n"), "");
    }

    #[test]
    fn plain_before_html_and_html_without_its_tags() {
        let both = "Content-Type: multipart/alternative; boundary=b\r\n\r\n--b\r\nContent-Type: text/html\r\n\r\n<p>html\r\n--b\r\n\
            Content-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nGr=FC=DFe\r\n--b--\r\n";
        assert_eq!(of(both), "Grüße");
        let html = "Content-Type: text/html\r\n\r\n<html><head><title>No</title><style>p {}</style></head><body><!-- no --><p>Hello&nbsp;<b>you</b> &amp; me</p></body>";
        assert_eq!(of(html), "Hello you & me");
    }
}
