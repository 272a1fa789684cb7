//! Seeds from the dialogue files: what their clients say.

use std::path::Path;

use crate::input::{Input, TLS_MARK};

/// Inputs from every dialogue file whose path holds `word`, each whole and cut into small segments.
pub fn dialogues(word: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/wire/tests");
    let mut texts = Vec::new();
    collect(&folder, word, &mut texts);
    texts
        .iter()
        .flat_map(|text| {
            [
                Input::build(0, &[], text),
                Input::build(1, &[7, 1, 30], text),
            ]
        })
        .collect()
}

fn collect(folder: &Path, word: &str, texts: &mut Vec<Vec<u8>>) {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return;
    };
    let mut paths: Vec<_> = entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            collect(&path, word, texts);
        } else if path.extension().is_some_and(|ending| ending == "talk")
            && path.to_string_lossy().contains(word)
        {
            texts.extend(
                std::fs::read_to_string(&path)
                    .ok()
                    .map(|script| said(&script)),
            );
        }
    }
}

/// What the client of a dialogue says, with the mark where TLS begins.
fn said(script: &str) -> Vec<u8> {
    let mut text = Vec::new();
    for line in script.lines() {
        if let Some(words) = line.strip_prefix("C: ") {
            text.extend_from_slice(words.as_bytes());
            text.extend_from_slice(b"\r\n");
        } else if let Some(words) = line.strip_prefix("C< ") {
            text.extend(unescape(words));
        } else if line.starts_with("<tls") {
            text.extend_from_slice(TLS_MARK);
        }
    }
    text
}

fn unescape(words: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = words.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let (byte, used) = match (first, after) {
            (b'\\', [b'r', ..]) => (b'\r', 1),
            (b'\\', [b'n', ..]) => (b'\n', 1),
            (b'\\', [b't', ..]) => (b'\t', 1),
            (b'\\', [b'0', ..]) => (0, 1),
            (b'\\', [b'\\', ..]) => (b'\\', 1),
            (b'\\', [b'x', high, low, ..]) => (hex(*high) << 4 | hex(*low), 3),
            _ => (*first, 0),
        };
        bytes.push(byte);
        rest = &after[used..];
    }
    bytes
}

fn hex(digit: u8) -> u8 {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_side_of_a_dialogue_is_taken() {
        let script = "# c\nS: 220 x\nC: EHLO a\nC< \\x41\\r\\n\\\\\n<tls>\nC: QUIT\n";
        assert_eq!(said(script), b"EHLO a\r\nA\r\n\\<tls>QUIT\r\n");
    }
}
