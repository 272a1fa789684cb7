//! A message taken apart for showing. What it is made of is somebody else's text: it leaves here as JSON strings and as octets,
//! never as markup.

use gatepost_store::{Message as Row, Store};
use mail_parser::{
    Address, Header, HeaderName, Message, MessageParser, MessagePart, MimeHeaders as _, PartType,
};
use serde_json::{Value, json};

use crate::mailbox::mime::field::cut_field;

/// Above this a message is not taken apart, which takes memory several times its size: its source can be had.
pub(super) const TAKEN_APART: u64 = 32 * 1024 * 1024;
/// Of a message in the list only so much is read: the header fields shown there stand at its beginning.
const LISTED: u32 = 32 * 1024;
/// The longest text or HTML shown, in octets.
const SHOWN: usize = 2 * 1024 * 1024;

/// A line of the list.
pub(super) fn listed(store: &Store, row: &Row) -> Value {
    let octets = store.read(&row.body, 0, LISTED).unwrap_or_default();
    let octets = whole_fields(octets, row.size);
    let header = MessageParser::default().parse_headers(octets.as_slice());
    let header = header.as_ref();
    json!({
        "uid": row.uid,
        "received": row.date.unix,
        "size": row.size,
        "seen": row.flags.seen,
        "from": header.and_then(Message::from).map(addresses),
        "to": header.and_then(Message::to).map(addresses),
        "subject": header.and_then(Message::subject),
        "arrival": header.map(arrival),
    })
}

/// The beginning of a message of `size` octets, without a field that it cuts: of an address that was cut another would be shown.
fn whole_fields(mut beginning: Vec<u8>, size: u64) -> Vec<u8> {
    let is_all = beginning.len() as u64 >= size;
    if !is_all && memchr::memmem::find(&beginning, b"\r\n\r\n").is_none() {
        cut_field(&mut beginning);
    }
    beginning
}

/// The whole message.
pub(super) fn shown(row: &Row, octets: &[u8]) -> Option<Value> {
    let message = MessageParser::default().parse(octets)?;
    let text = |ids: &[u32], html: bool| {
        ids.iter()
            .filter_map(|id| message.part(*id))
            .find_map(|part| match &part.body {
                PartType::Html(text) if html => Some(cut(text)),
                PartType::Text(text) if !html => Some(cut(text)),
                _ => None,
            })
    };
    let attachments: Vec<Value> = message
        .attachments
        .iter()
        .filter_map(|id| Some(attachment(*id, message.part(*id)?)))
        .collect();
    Some(json!({
        "uid": row.uid,
        "received": row.date.unix,
        "size": row.size,
        "from": message.from().map(addresses),
        "to": message.to().map(addresses),
        "cc": message.cc().map(addresses),
        "subject": message.subject(),
        "date": message.date().map(mail_parser::DateTime::to_rfc3339),
        "arrival": arrival(&message),
        "headers": headers(&message, octets),
        "text": text(&message.text_body, false),
        "html": text(&message.html_body, true),
        "attachments": attachments,
    }))
}

/// A part's octets, decoded.
pub(super) fn part(octets: &[u8], number: u32) -> Option<Vec<u8>> {
    let message = MessageParser::default().parse(octets)?;
    message.part(number).map(|part| part.contents().to_vec())
}

fn cut(text: &str) -> String {
    let mut end = text.len().min(SHOWN);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default().to_owned()
}

fn attachment(number: u32, part: &MessagePart<'_>) -> Value {
    let kind = part.content_type().map(|kind| {
        let subtype = kind.subtype().unwrap_or("octet-stream");
        format!("{}/{subtype}", kind.ctype())
    });
    json!({
        "number": number,
        "name": part.attachment_name(),
        "type": kind,
        "size": part.len(),
    })
}

fn addresses(list: &Address<'_>) -> Vec<Value> {
    list.iter()
        .map(|it| json!({ "name": it.name, "address": it.address }))
        .collect()
}

/// The fields as they stand, unfolded.
fn headers(message: &Message<'_>, octets: &[u8]) -> Vec<[String; 2]> {
    let fields = message.headers().iter();
    fields
        .map(|field| {
            let value = value(octets, field).trim().to_owned();
            [field.name.as_str().to_owned(), value]
        })
        .collect()
}

/// A field's value as it stands, unfolded.
fn value(octets: &[u8], field: &Header<'_>) -> String {
    let (from, to) = (field.offset_start as usize, field.offset_end as usize);
    let raw = octets.get(from..to).unwrap_or_default();
    String::from_utf8_lossy(raw).replace(['\r', '\n'], "")
}

/// How the message came here, as the topmost Received field says, which this server wrote if the message came by SMTP; none for
/// messages stored by IMAP. The words are those of the log.
fn arrival(message: &Message<'_>) -> Value {
    let mut fields = message.headers().iter();
    let top = fields.find(|field| field.name == HeaderName::Received);
    let raw = top.map(|field| value(message.raw_message(), field));
    let raw = raw.unwrap_or_default();
    let words: Vec<&str> = raw.split_whitespace().collect();
    let behind = |clause: &str| {
        let place = words.iter().position(|word| *word == clause)?;
        words.get(place + 1).map(|word| word.trim_end_matches(';'))
    };
    let Some(protocol) = behind("with") else {
        return Value::Null;
    };
    let encrypted = protocol.trim_end_matches('A').ends_with('S');
    json!({
        "channel": if encrypted { "Encrypted" } else { "Clear" },
        "protocol": protocol,
        "suite": behind("tls"),
        "group": behind("group"),
        "from": behind("from"),
        "login": protocol.ends_with('A'),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_a_message_came_is_read_from_our_own_field() {
        let parse = |text: &str| {
            let message = MessageParser::default().parse(text.as_bytes()).unwrap();
            arrival(&message)
        };
        let tls = parse(
            "Received: from client.test ([127.0.0.1])\r\n by mail.gatepost.test with ESMTPSA id 1\r\n for <a@b.test>\r\n \
             tls TLS_AES_128_GCM_SHA256 group x25519; Thu, 26 Nov 2026 19:00:00 +0000\r\nReceived: with SMTP; old\r\n\r\n",
        );
        assert_eq!(tls["channel"], "Encrypted");
        assert_eq!(tls["suite"], "TLS_AES_128_GCM_SHA256");
        assert_eq!(tls["group"], "x25519");
        assert_eq!(tls["login"], true);
        for clear in ["SMTP", "ESMTP", "ESMTPA", "UTF8SMTP"] {
            let told = parse(&format!(
                "Received: from a by b with {clear} id 1; now\r\n\r\n"
            ));
            assert_eq!(told["channel"], "Clear", "{clear}");
        }
        assert_eq!(parse("Subject: x\r\n\r\n"), Value::Null);
    }

    #[test]
    fn a_field_cut_by_the_list_is_not_shown() {
        let fields = |beginning: &str, size| whole_fields(beginning.as_bytes().to_vec(), size);
        let cut = "Subject: x\r\nTo: anna@example.or";
        assert_eq!(fields(cut, 99), b"Subject: x\r\n");
        assert_eq!(fields(cut, cut.len() as u64), cut.as_bytes());
        let body = "Subject: x\r\n\r\nTo: anna@example.or";
        assert_eq!(fields(body, 99), body.as_bytes());
    }

    #[test]
    fn long_text_is_cut_between_characters() {
        let text = "ä".repeat(SHOWN);
        assert_eq!(cut(&text).len(), SHOWN);
        assert_eq!(cut(&format!("x{text}")).len(), SHOWN - 1);
    }
}
