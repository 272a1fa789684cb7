//! A message as JSON: schema `gatepost-message-1`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::date;
use super::store::{Facts, Origin};

/// The document of one message. The header fields are unfolded and otherwise as they came; what is not UTF-8 in them is
/// replaced, and stands in `content` as it was.
pub(crate) fn message(origin: &Origin, facts: &Facts, content: &[u8]) -> Value {
    json!({
        "schema": "gatepost-message-1",
        "source": origin.source,
        "id": facts.id,
        "flags": facts.flags,
        "date": facts.date.map(date::rfc3339),
        "octets": content.len(),
        "header": header(content),
        "content": STANDARD.encode(content),
    })
}

fn header(content: &[u8]) -> Vec<Value> {
    let mut fields: Vec<(String, String)> = Vec::new();
    for line in content.split(|octet| *octet == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            break;
        }
        let text = String::from_utf8_lossy(line);
        if text.starts_with([' ', '\t']) {
            if let Some((_, value)) = fields.last_mut() {
                value.push_str(&text);
            }
        } else if let Some((name, value)) = text.split_once(':') {
            fields.push((name.to_owned(), value.trim_start().to_owned()));
        }
    }
    fields
        .into_iter()
        .map(|(name, value)| json!({"name": name, "value": value}))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_unfolded_and_the_content_is_whole() {
        let content = b"Subject: a\r\n b\r\nX: y\r\n\r\nNot: a field\xff\r\n";
        let origin = Origin {
            source: "s".into(),
            stem: "t".into(),
        };
        let facts = Facts {
            id: "1".into(),
            flags: vec![],
            date: None,
        };
        let document = message(&origin, &facts, content);
        assert_eq!(
            document["header"],
            json!([{"name": "Subject", "value": "a b"}, {"name": "X", "value": "y"}])
        );
        assert_eq!(
            STANDARD
                .decode(document["content"].as_str().unwrap())
                .unwrap(),
            content
        );
    }
}
