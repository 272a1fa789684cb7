//! Whole IMAP sessions.

use std::sync::Arc;

use gatepost_wire::imap::ask::{
    Answer, Ask, Changed, Changes, Copied, Datum, Flags, Found, InternalDate, Item, Mailbox, Quota,
    Refusal, Row, Rows, SectionText, Selected, SpecialUse, Status, StoreOutcome, Threaded, Uid,
};
use gatepost_wire::imap::server::{Config, Fresh, Limits, Server};
use imap_types::body::{BasicFields, Body, BodyStructure, SpecificFields};
use imap_types::core::{IString, NString};
use imap_types::envelope::Envelope;

use super::{account, piece};
use crate::Target;
use crate::behaviour;
use crate::corpus;
use crate::input::Input;
use crate::session::{self, Backend, Begin};

/// Whole sessions, with upgrade.
pub const SESSION: Target = Target {
    name: "imap",
    run: session,
    seeds,
    words: &[
        "a CAPABILITY\r\n",
        "a STARTTLS\r\n",
        "<tls>",
        "a LOGIN user pencil\r\n",
        "a LOGIN {4}\r\nuser {6+}\r\npencil\r\n",
        "a AUTHENTICATE PLAIN AHVzZXIAcGVuY2ls\r\n",
        "a AUTHENTICATE SCRAM-SHA-256 ",
        "*\r\n",
        "=\r\n",
        "a SELECT INBOX\r\n",
        "a EXAMINE INBOX\r\n",
        "a FETCH 1:* (FLAGS UID BODY.PEEK[] ENVELOPE BODYSTRUCTURE)\r\n",
        "a UID FETCH 1,5 BODY[1.MIME]<0.10>\r\n",
        "a SEARCH ",
        "CHARSET UTF-8 ",
        "OR ",
        "NOT ",
        "HEADER Subject x",
        "1:*",
        "*:4294967295",
        "a STORE 1 +FLAGS.SILENT (\\Seen key)\r\n",
        "a UID EXPUNGE 1:5\r\n",
        "a MOVE 1 Sent\r\n",
        "a UID COPY 1:* Sent\r\n",
        "a APPEND INBOX (\\Draft) {5}\r\n",
        "hello\r\n",
        "{5+}\r\n",
        "{99999999999}\r\n",
        "a IDLE\r\n",
        "DONE\r\n",
        "a NOOP\r\n",
        "a ID NIL\r\n",
        "a ENABLE IMAP4rev2 CONDSTORE\r\n",
        "a NAMESPACE\r\n",
        "a LIST (SUBSCRIBED) \"\" (\"*\" \"%\") RETURN (STATUS (MESSAGES) SPECIAL-USE)\r\n",
        "a STATUS INBOX (MESSAGES UIDNEXT SIZE)\r\n",
        "a UNSELECT\r\n",
        "a CLOSE\r\n",
        "a LOGOUT\r\n",
        "a CREATE x\r\n",
        "a RENAME INBOX y\r\n",
        "a DELETE x\r\n",
        "a SUBSCRIBE x\r\n",
        "&Jjo-",
        "((((((((",
        "\"",
        "\\",
        "BINARY[1]",
        "BODY[HEADER.FIELDS (From)]",
        "~{3}\r\n",
    ],
};

/// Runs a session: port 143 or 993, by the flags.
///
/// # Panics
/// When the cut changes the outcome, or the session asks what it must not.
pub fn session(data: &[u8]) {
    let input = Input::parse(data);
    let config = Arc::new(Config {
        host: "mail.gatepost.test".into(),
        starttls: input.flags & 4 == 0,
        least: gatepost_wire::seam::TlsVersion::Tls12,
        mechanisms: gatepost_wire::sasl::Mechanism::FOR_ACCOUNTS.to_vec(),
        append_limit: 10_000,
        offer: None,
        limits: Limits::default(),
    });
    let begin = |now| match input.flags & 2 {
        0 => Begin::Clear(Server::clear(Arc::clone(&config), None, now)),
        _ => Begin::Implicit(Fresh::implicit(Arc::clone(&config))),
    };
    let outcome = session::run(&input, begin, Keeper::default);
    for text in [&outcome.clear, &outcome.inside] {
        assert!(
            text.is_empty() || text.ends_with(b"\r\n"),
            "half a line: {}",
            text.escape_ascii()
        );
        for line in text.split(|byte| *byte == b'\n') {
            behaviour::note(&line[..line.len().min(9)]);
        }
    }
}

/// The mailbox behind the session: three messages that never change.
#[derive(Default)]
struct Keeper {
    selected: bool,
}

const UIDS: [Uid; 3] = [1, 2, 5];
const MESSAGE: &[u8] = b"From: a@b.test\r\nSubject: x\r\n\r\nhello\r\n";
const UIDVALIDITY: u32 = 7;
const MODSEQ: u64 = 3;

impl Backend<Server> for Keeper {
    fn answer(&mut self, ask: Ask, encrypted: bool) -> Answer {
        match ask {
            Ask::Account(ask) => {
                assert!(encrypted, "credentials were read in clear");
                Answer::Account(account(ask))
            }
            Ask::Select { mailbox, read_only } => {
                self.selected = mailbox == "INBOX";
                Answer::Selected(if self.selected {
                    Ok(selected(read_only))
                } else {
                    Err(Refusal::NoSuchMailbox)
                })
            }
            Ask::Unselect => {
                self.selected = false;
                Answer::Done
            }
            Ask::AppendBegin(append) => {
                assert!(append.size <= 10_000, "an APPEND over the limit");
                Answer::Checked(if append.mailbox == "x" {
                    Err(Refusal::NoSuchMailbox)
                } else {
                    Ok(())
                })
            }
            Ask::AppendContent(piece) => {
                assert!(piece.len() <= 64 << 10, "a piece of {} octets", piece.len());
                Answer::Checked(Ok(()))
            }
            Ask::AppendCommit => Answer::Appended(Ok((UIDVALIDITY, vec![6]))),
            Ask::AppendAbort | Ask::Watch { .. } => Answer::Done,
            Ask::List => Answer::Mailboxes(Ok(mailboxes())),
            Ask::Status { mailbox, .. } => Answer::Status(if mailbox == "INBOX" {
                Ok(status())
            } else {
                Err(Refusal::NoSuchMailbox)
            }),
            Ask::Create { .. } | Ask::Subscribe { .. } => Answer::Checked(Ok(())),
            Ask::Delete { .. } => Answer::Checked(Err(Refusal::NoSuchMailbox)),
            Ask::Rename { .. } => Answer::Checked(Err(Refusal::AlreadyExists)),
            Ask::Quota { .. } => Answer::Quota(Ok(Quota {
                used: 3 * 1024,
                limit: Some(1 << 20),
            })),
            Ask::Overview => Answer::Overview(Ok(mailboxes()
                .into_iter()
                .map(|it| (it, Some(status())))
                .collect())),
            other => {
                assert!(self.selected, "no mailbox is selected: {other:?}");
                of_messages(other)
            }
        }
    }
}

/// Questions about messages of the selected mailbox.
fn of_messages(ask: Ask) -> Answer {
    match ask {
        Ask::Fetch {
            uids,
            items,
            mark_seen,
        } => Answer::Rows(Ok(fetch(&uids, &items, mark_seen))),
        Ask::Read {
            uid,
            offset,
            length,
        } => {
            check_known(&[uid]);
            assert!(length <= 64 << 10, "{length} octets at once");
            Answer::Octets(Ok(piece(MESSAGE, offset, length)))
        }
        Ask::Thread { among, .. } => Answer::Threads(Ok(among
            .iter()
            .zip(0..)
            .map(|(uid, depth)| Threaded {
                uid: Some(*uid),
                depth,
            })
            .collect())),
        Ask::Sort { among, .. } => Answer::Found(Ok(Found {
            uids: among.iter().rev().copied().collect(),
            modseq: None,
        })),
        Ask::Search { among, .. } => Answer::Found(Ok(Found {
            uids: among.iter().copied().step_by(2).collect(),
            modseq: None,
        })),
        Ask::Store { uids, .. } => {
            check_known(&uids);
            Answer::Stored(Ok(StoreOutcome {
                changed: uids.iter().map(|uid| changed(*uid)).collect(),
                modified: Vec::new(),
                made: Vec::new(),
            }))
        }
        Ask::Copy { uids, to, .. } => {
            check_known(&uids);
            let copied = Copied {
                uidvalidity: UIDVALIDITY,
                uids: uids.iter().map(|uid| (*uid, uid + 100)).collect(),
            };
            Answer::Copied(if to == "x" {
                Err(Refusal::NoSuchMailbox)
            } else {
                Ok(copied)
            })
        }
        Ask::Expunge { .. } => Answer::Expunged(Ok(Vec::new())),
        Ask::Changes { .. } => Answer::Changes(Ok(Changes {
            highest_modseq: MODSEQ,
            ..Changes::default()
        })),
        other => unreachable!("answered before: {other:?}"),
    }
}

fn check_known(uids: &[Uid]) {
    assert!(
        uids.iter().all(|uid| UIDS.contains(uid)),
        "messages the session was not told of: {uids:?}"
    );
}

fn selected(read_only: bool) -> Selected {
    Selected {
        uids: UIDS.to_vec(),
        uidvalidity: UIDVALIDITY,
        uidnext: 6,
        highest_modseq: MODSEQ,
        first_unseen: Some(2),
        keywords: ["key".into()].into(),
        mailbox_id: "F1".into(),
        read_only,
    }
}

fn changed(uid: Uid) -> Changed {
    Changed {
        uid,
        flags: Flags::default(),
        modseq: MODSEQ,
    }
}

/// Answers for the first two messages only, so that the session has to ask again.
fn fetch(uids: &[Uid], items: &[Item], newly_seen: bool) -> Rows {
    check_known(uids);
    let row = |uid: &Uid| Row {
        uid: *uid,
        flags: Flags {
            seen: newly_seen,
            ..Flags::default()
        },
        modseq: MODSEQ,
        newly_seen,
        data: items.iter().map(datum).collect(),
    };
    let rows: Vec<Row> = uids.iter().take(2).map(row).collect();
    Rows {
        answered: rows.len(),
        rows,
    }
}

fn datum(item: &Item) -> Datum {
    match item {
        Item::Flags | Item::ModSeq => Datum::InRow,
        Item::InternalDate | Item::SaveDate => Datum::Date(InternalDate {
            unix: 1_790_000_000,
            offset_minutes: -90,
        }),
        Item::Size | Item::BinarySize { .. } => Datum::Number(MESSAGE.len() as u64),
        Item::Envelope => Datum::Envelope(Box::new(envelope())),
        Item::BodyStructure { .. } => Datum::BodyStructure(Box::new(structure())),
        Item::EmailId => Datum::ObjectId("M1".into()),
        Item::Preview => Datum::Bytes(b"hello".to_vec()),
        Item::Binary { part, .. } if part.len() > 1 => Datum::UnknownEncoding,
        Item::Binary { .. } => Datum::Bytes(b"a\0b".to_vec()),
        Item::Section(section) if !section.part.is_empty() => Datum::Nil,
        Item::Section(section) if section.text == SectionText::All && section.partial.is_none() => {
            Datum::Stored {
                offset: 0,
                length: MESSAGE.len() as u64,
            }
        }
        Item::Section(_) => Datum::Bytes(b"Subject: x\r\n\r\n".to_vec()),
    }
}

fn envelope() -> Envelope<'static> {
    let none = || NString(None);
    Envelope {
        date: none(),
        subject: none(),
        from: Vec::new(),
        sender: Vec::new(),
        reply_to: Vec::new(),
        to: Vec::new(),
        cc: Vec::new(),
        bcc: Vec::new(),
        in_reply_to: none(),
        message_id: none(),
    }
}

fn structure() -> BodyStructure<'static> {
    let word = |text: &'static str| IString::try_from(text).expect("a word is a string");
    let basic = BasicFields {
        parameter_list: Vec::new(),
        id: NString(None),
        description: NString(None),
        content_transfer_encoding: word("7bit"),
        size: 7,
    };
    let specific = SpecificFields::Text {
        subtype: word("plain"),
        number_of_lines: 1,
    };
    BodyStructure::Single {
        body: Body { basic, specific },
        extension_data: None,
    }
}

fn mailboxes() -> Vec<Mailbox> {
    let mailbox = |name: &str, special_use: Option<SpecialUse>| Mailbox {
        name: name.into(),
        subscribed: special_use.is_none(),
        exists: name != "a",
        special_use,
    };
    vec![
        mailbox("INBOX", None),
        mailbox("Sent", Some(SpecialUse::Sent)),
        mailbox("a", None),
        mailbox("a/\u{fc}", None),
    ]
}

fn status() -> Status {
    Status {
        messages: 3,
        unseen: 2,
        deleted: 0,
        deleted_size: Some(0),
        size: 3 * MESSAGE.len() as u64,
        uidnext: 6,
        uidvalidity: UIDVALIDITY,
        highest_modseq: MODSEQ,
        mailbox_id: "F1".into(),
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let login = "a LOGIN user pencil\r\nb SELECT INBOX\r\n";
    let read = "c FETCH 1:* (FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODYSTRUCTURE BODY.PEEK[])\r\nd UID SEARCH OR FROM a NOT SEEN\r\n\
                e STORE 1:2 +FLAGS (\\Seen)\r\nf UID MOVE 5 Sent\r\ng EXPUNGE\r\nh IDLE\r\nDONE\r\ni LOGOUT\r\n";
    let keep = "c APPEND INBOX (\\Seen) {5}\r\nhello\r\nd APPEND Sent {3+}\r\nabc\r\ne LIST \"\" *\r\nf STATUS INBOX (MESSAGES)\r\ng LOGOUT\r\n";
    let mut seeds = vec![
        Input::build(0, &[], format!("a CAPABILITY\r\nb STARTTLS\r\n<tls>{login}{read}").as_bytes()),
        Input::build(2, &[11, 1], format!("<tls>{login}{keep}").as_bytes()),
        Input::build(2, &[], b"<tls>a AUTHENTICATE PLAIN\r\nAHVzZXIAcGVuY2ls\r\nb ENABLE IMAP4rev2\r\nc SELECT INBOX\r\nd UID FETCH 1 BINARY[1]\r\n"),
        Input::build(2, &[3], b"<tls>a LOGIN {4}\r\nuser {6}\r\npencil\r\nb NAMESPACE\r\nc ID (\"name\" \"x\")\r\nd LOGOUT\r\n"),
        Input::build(0, &[], b"a LOGIN user pencil\r\nb STARTTLS\r\nc NOOP\r\n"),
    ];
    seeds.extend(corpus::dialogues("imap"));
    seeds
}
