//! A message from its parts: header fields, text, attachments.
//!
//! What is made is 7-bit, whatever goes in: text beyond ASCII becomes quoted-printable, files become base64 as they are read. So it
//! passes every server, and its length is known before the first octet is sent. Only an address with a local part beyond ASCII
//! needs more (SMTPUTF8). The Message-ID names the sender's domain and nothing of this machine.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::address::Address;
use super::ready::{self, Needs};
use super::{date, encode};
use crate::exit::Failure;

/// What a message is made of.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    /// Who it is from; the first is the sender.
    pub(crate) from: Option<Address>,
    /// Who it is for.
    pub(crate) to: Vec<Address>,
    /// Who gets a copy.
    pub(crate) cc: Vec<Address>,
    /// The subject.
    pub(crate) subject: Option<String>,
    /// More fields, each `Name: value`.
    pub(crate) headers: Vec<String>,
    /// Files to go with it.
    pub(crate) attachments: Vec<PathBuf>,
    /// The text, as it was given.
    pub(crate) text: Vec<u8>,
}

/// A piece of a message.
#[derive(Debug)]
enum Piece {
    Octets(Vec<u8>),
    /// A file, in base64.
    File(PathBuf, u64),
}

/// A message to send.
#[derive(Debug)]
pub(crate) struct Message {
    pieces: Vec<Piece>,
    /// What the server must be able to carry.
    pub(crate) needs: Needs,
}

/// Fields that have a flag of their own, or are made here.
const OURS: &[(&str, &str)] = &[
    ("from", "--from"),
    ("to", "--to"),
    ("cc", "--cc"),
    ("bcc", "--bcc"),
    ("subject", "--subject"),
    ("mime-version", "--raw and a ready message"),
    ("content-type", "--raw and a ready message"),
    ("content-transfer-encoding", "--raw and a ready message"),
];

impl Message {
    /// A ready message. Says whether a Bcc field was taken out.
    pub(crate) fn ready(text: &[u8]) -> (Self, bool) {
        let (octets, bcc) = ready::without_bcc(ready::normalise(text));
        let needs = ready::needs(&octets);
        let message = Self {
            pieces: vec![Piece::Octets(octets)],
            needs,
        };
        (message, bcc)
    }

    /// How many octets it has on the wire, before dots are doubled.
    pub(crate) fn length(&self) -> u64 {
        let length = |piece: &Piece| match piece {
            Piece::Octets(octets) => octets.len() as u64,
            Piece::File(_, length) => encode::base64_length(*length),
        };
        self.pieces.iter().map(length).sum()
    }

    /// Its content from the beginning.
    pub(crate) fn content(&self) -> Content<'_> {
        Content {
            pieces: self.pieces.iter(),
            octets: &[],
            file: None,
        }
    }
}

/// A message being read, piece by piece.
pub(crate) struct Content<'a> {
    pieces: std::slice::Iter<'a, Piece>,
    octets: &'a [u8],
    file: Option<OpenFile<'a>>,
}

struct OpenFile<'a> {
    file: File,
    path: &'a Path,
    left: u64,
}

/// The most octets handed out at a time.
const CHUNK: usize = 64 * 1024;

impl Content<'_> {
    /// The next octets; none at the end.
    pub(crate) fn next_chunk(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        loop {
            if !self.octets.is_empty() {
                let (chunk, rest) = self.octets.split_at(self.octets.len().min(CHUNK));
                self.octets = rest;
                return Ok(Some(chunk.to_vec()));
            }
            if let Some(mut open) = self.file.take() {
                let chunk = open.next_chunk()?;
                if !chunk.is_empty() {
                    self.file = Some(open);
                    return Ok(Some(chunk));
                }
            }
            match self.pieces.next() {
                None => return Ok(None),
                Some(Piece::Octets(octets)) => self.octets = octets,
                Some(Piece::File(path, length)) => {
                    let file = File::open(path).map_err(|error| unreadable(path, &error))?;
                    self.file = Some(OpenFile {
                        file,
                        path,
                        left: encode::base64_length(*length),
                    });
                }
            }
        }
    }
}

impl OpenFile<'_> {
    fn next_chunk(&mut self) -> Result<Vec<u8>, Failure> {
        let chunk =
            encode::base64_piece(&mut self.file).map_err(|error| unreadable(self.path, &error))?;
        // The length was announced: a file that changes under us must not become a damaged attachment.
        let length = chunk.len() as u64;
        if length > self.left || (chunk.is_empty() && self.left > 0) {
            return Err(Failure::local(format!(
                "{} changed while it was being sent; the message was not finished, and will not be delivered",
                self.path.display()
            )));
        }
        self.left -= length;
        Ok(chunk)
    }
}

fn unreadable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::usage(format!("cannot read {}: {error}", path.display()))
}

impl Draft {
    /// Makes the message.
    pub(crate) fn compose(&self, now: SystemTime) -> Result<Message, Failure> {
        let mut head = self.fields(now)?;
        let text = ready::normalise(&self.text);
        let part = text_part(&text)?;
        let mut pieces = Vec::new();
        if self.attachments.is_empty() {
            head.push_str("MIME-Version: 1.0\r\n");
            pieces.push(Piece::Octets([head.as_bytes(), &part].concat()));
        } else {
            let boundary = format!("=_{}", random_name()?);
            head.push_str(&format!(
                "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"{boundary}\"\r\n\r\n--{boundary}\r\n"
            ));
            pieces.push(Piece::Octets([head.as_bytes(), &part].concat()));
            for path in &self.attachments {
                let (heading, length) = attachment(path)?;
                let opening = format!("\r\n--{boundary}\r\n{heading}");
                pieces.push(Piece::Octets(opening.into_bytes()));
                pieces.push(Piece::File(path.clone(), length));
            }
            pieces.push(Piece::Octets(
                format!("\r\n--{boundary}--\r\n").into_bytes(),
            ));
        }
        let needs = Needs {
            utf8_header: self.everybody().any(Address::needs_utf8),
            ..Needs::default()
        };
        Ok(Message { pieces, needs })
    }

    fn everybody(&self) -> impl Iterator<Item = &Address> {
        self.from.iter().chain(&self.to).chain(&self.cc)
    }

    fn fields(&self, now: SystemTime) -> Result<String, Failure> {
        let mut head = String::new();
        let extra = self.extra_fields()?;
        let given = |name: &str| extra.iter().any(|(it, _)| it.eq_ignore_ascii_case(name));
        if !given("date") {
            head.push_str(&encode::field("Date", &date::field(now)));
        }
        if let Some(from) = &self.from {
            head.push_str(&encode::field("From", &from.in_header()));
        }
        for (name, list) in [("To", &self.to), ("Cc", &self.cc)] {
            if !list.is_empty() {
                let all: Vec<String> = list.iter().map(Address::in_header).collect();
                head.push_str(&encode::field(name, &all.join(", ")));
            }
        }
        // Everyone in Bcc: the standard wants a destination or none at all, and some filters want one.
        if self.to.is_empty() && self.cc.is_empty() {
            head.push_str("To: undisclosed-recipients:;\r\n");
        }
        if let Some(subject) = &self.subject {
            refuse_controls("--subject", subject)?;
            head.push_str(&encode::field("Subject", &encode::unstructured(subject)));
        }
        if !given("message-id") {
            let domain = self
                .from
                .as_ref()
                .map_or("localhost", |from| from.mailbox.domain.as_str());
            let domain = domain.trim_matches(['[', ']']);
            head.push_str(&format!("Message-ID: <{}@{domain}>\r\n", random_name()?));
        }
        for (name, value) in &extra {
            head.push_str(&encode::field(name, &encode::unstructured(value)));
        }
        Ok(head)
    }

    fn extra_fields(&self) -> Result<Vec<(&str, &str)>, Failure> {
        let read = |text: &str| -> Result<(), Failure> {
            refuse_controls("--header", text)?;
            let Some(name) = ready::field_name(text.as_bytes()) else {
                return Err(Failure::usage(format!(
                    "--header {text:?}: write a field such as \"X-Mailer: mine\""
                )));
            };
            match OURS.iter().find(|(ours, _)| *ours == name) {
                Some((_, instead)) => Err(Failure::usage(format!(
                    "--header {name}: use {instead} for it"
                ))),
                None => Ok(()),
            }
        };
        self.headers
            .iter()
            .map(|text| {
                read(text)?;
                let (name, value) = text.split_once(':').unwrap_or((text, ""));
                Ok((name, value.trim()))
            })
            .collect()
    }
}

/// Nothing that could begin another field or command.
pub(crate) fn refuse_controls(flag: &str, text: &str) -> Result<(), Failure> {
    if text.chars().any(|sign| sign.is_control() && sign != '\t') {
        return Err(Failure::usage(format!(
            "{flag} has a line end or another control character in it, with which header fields could be smuggled in; nothing was sent"
        )));
    }
    Ok(())
}

/// The text with its own heading and an empty line before it.
fn text_part(text: &[u8]) -> Result<Vec<u8>, Failure> {
    if encode::is_plain(text) {
        let heading = b"Content-Type: text/plain; charset=us-ascii\r\nContent-Transfer-Encoding: 7bit\r\n\r\n";
        return Ok([heading.as_slice(), text].concat());
    }
    if std::str::from_utf8(text).is_err() || text.contains(&0) {
        return Err(Failure::usage(
            "the text is not UTF-8; convert it first (iconv -t utf-8), or send it as a file with --attach",
        ));
    }
    let heading = b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n";
    Ok([heading.as_slice(), &encode::quoted_printable(text)].concat())
}

/// The heading of an attachment, and the file's length.
fn attachment(path: &Path) -> Result<(String, u64), Failure> {
    let facts = std::fs::metadata(path).map_err(|error| unreadable(path, &error))?;
    if !facts.is_file() {
        return Err(Failure::usage(format!(
            "{} is not a file; attach files one by one, or an archive of them",
            path.display()
        )));
    }
    let name = path
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    let extension = name.rsplit_once('.').map(|(_, extension)| extension);
    let kind = media_type(extension.unwrap_or_default());
    let disposition = encode::field(
        "Content-Disposition",
        &format!("attachment; {}", encode::parameter("filename", &name)),
    );
    let heading =
        format!("Content-Type: {kind}\r\n{disposition}Content-Transfer-Encoding: base64\r\n\r\n");
    Ok((heading, facts.len()))
}

fn media_type(extension: &str) -> &'static str {
    match extension.to_ascii_lowercase().as_str() {
        "txt" | "log" | "md" => "text/plain; charset=utf-8",
        "html" | "htm" => "text/html; charset=utf-8",
        "csv" => "text/csv; charset=utf-8",
        "pdf" => "application/pdf",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "svg" => "image/svg+xml",
        "zip" => "application/zip",
        "gz" | "tgz" => "application/gzip",
        "json" => "application/json",
        "xml" => "application/xml",
        "ics" => "text/calendar; charset=utf-8",
        _ => "application/octet-stream",
    }
}

/// 128 bits nobody can guess, in letters and digits.
fn random_name() -> Result<String, Failure> {
    let mut octets = [0_u8; 16];
    aws_lc_rs::rand::fill(&mut octets)
        .map_err(|_| Failure::local("the system gives no randomness"))?;
    let mut name = String::new();
    for octet in octets {
        name.push_str(&format!("{octet:02x}"));
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use base64::Engine as _;

    use super::*;

    fn whole(message: &Message) -> String {
        let mut content = message.content();
        let mut all = Vec::new();
        while let Some(chunk) = content.next_chunk().unwrap() {
            assert!(chunk.len() <= 80_000);
            all.extend(chunk);
        }
        assert_eq!(all.len() as u64, message.length());
        String::from_utf8(all).unwrap()
    }

    fn draft(text: &str) -> Draft {
        Draft {
            from: Some(Address::parse("Änna <anna@example.org>").unwrap()),
            to: vec![Address::parse("ben@example.net").unwrap()],
            subject: Some("Grüße".into()),
            text: text.as_bytes().to_vec(),
            ..Draft::default()
        }
    }

    #[test]
    fn a_message_has_what_the_standard_wants() {
        let message = whole(&draft("Hello.\n").compose(UNIX_EPOCH).unwrap());
        for line in [
            "Date: Thu, 1 Jan 1970 00:00:00 +0000",
            "From: =?utf-8?B?w4RubmE=?= <anna@example.org>",
            "To: ben@example.net",
            "Subject: =?utf-8?B?R3LDvMOfZQ==?=",
            "MIME-Version: 1.0",
        ] {
            assert!(
                message.contains(&format!("{line}\r\n")),
                "{line}\n{message}"
            );
        }
        // Nothing of this machine.
        let id = message
            .lines()
            .find(|line| line.starts_with("Message-ID: <"))
            .unwrap();
        assert!(id.ends_with("@example.org>"));
        assert!(message.ends_with("\r\n\r\nHello.\r\n"));
        assert!(!message.contains("Bcc"));
    }

    #[test]
    fn text_beyond_ascii_is_sent_in_seven_bits() {
        let made = draft("Grüße\n").compose(UNIX_EPOCH).unwrap();
        assert_eq!(made.needs, Needs::default());
        let message = whole(&made);
        assert!(message.is_ascii() && message.contains("quoted-printable"));
        assert!(
            Draft {
                text: vec![0xff],
                ..draft("")
            }
            .compose(UNIX_EPOCH)
            .is_err()
        );
    }

    #[test]
    fn attachments_are_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bild ü.png");
        let octets: Vec<u8> = (0..200_000_u32).map(|it| it.to_le_bytes()[0]).collect();
        std::fs::write(&path, &octets).unwrap();
        let made = Draft {
            attachments: vec![path],
            ..draft("Look.")
        }
        .compose(UNIX_EPOCH)
        .unwrap();
        let message = whole(&made);
        assert!(message.contains("Content-Type: image/png\r\n"));
        assert!(message.contains("filename*=utf-8''bild%20%C3%BC.png"));
        let (_, after) = message.split_once("base64\r\n\r\n").unwrap();
        let (encoded, _) = after.split_once("\r\n\r\n--").unwrap();
        let decoded = base64::engine::general_purpose::STANDARD.decode(encoded.replace("\r\n", ""));
        assert_eq!(decoded.unwrap(), octets);
    }

    #[test]
    fn a_file_that_changes_is_not_half_sent() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.bin");
        for after in [10, 300] {
            std::fs::write(&path, [1; 100]).unwrap();
            let made = Draft {
                attachments: vec![path.clone()],
                ..draft("x")
            }
            .compose(UNIX_EPOCH)
            .unwrap();
            std::fs::write(&path, vec![1; after]).unwrap();
            let mut content = made.content();
            let outcome = loop {
                match content.next_chunk() {
                    Ok(Some(_)) => {}
                    other => break other,
                }
            };
            assert!(outcome.is_err(), "{after}");
        }
    }

    #[test]
    fn no_field_is_smuggled_in() {
        let subject = |text: &str| {
            Draft {
                subject: Some(text.into()),
                ..draft("")
            }
            .compose(UNIX_EPOCH)
        };
        assert!(subject("x\r\nBcc: c@d.test").is_err());
        assert!(subject("x\rBcc: c@d.test").is_err());
        let header = |text: &str| {
            Draft {
                headers: vec![text.into()],
                ..draft("")
            }
            .compose(UNIX_EPOCH)
        };
        for bad in [
            "X: y\nBcc: c@d.test",
            "no colon",
            "X Y: z",
            "Bcc: c@d.test",
            "From: x@y.test",
            "content-type: text/html",
        ] {
            assert!(header(bad).is_err(), "{bad}");
        }
        let made = whole(&header("X-Note: Grüße").unwrap());
        assert!(made.contains("X-Note: =?utf-8?B?"));
        let dated = whole(&header("Date: Mon, 1 Jan 2024 00:00:00 +0000").unwrap());
        assert_eq!(dated.matches("Date:").count(), 1);
    }

    #[test]
    fn whoever_is_only_in_bcc_is_nowhere_in_the_message() {
        let made = whole(
            &Draft {
                to: vec![],
                ..draft("")
            }
            .compose(UNIX_EPOCH)
            .unwrap(),
        );
        assert!(made.contains("To: undisclosed-recipients:;\r\n"));
    }
}
