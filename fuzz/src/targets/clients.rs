//! Whole client sessions, and the reading of IMAP's responses.

use std::sync::Arc;

use gatepost_testkit::hostile::{self, Attack, Turn};
use gatepost_testkit::verified_facts;
use gatepost_wire::client::{Credentials, Mode, Seed};
use gatepost_wire::session::Fresh as _;
use gatepost_wire::smtp::path::{ForwardPath, ReversePath};
use gatepost_wire::{imap, pop3, sieve, smtp};

use crate::Target;
use crate::client::{run, run_silent};
use crate::input::{Input, TLS_MARK};

/// SMTP and LMTP.
pub const SMTP: Target = Target {
    name: "smtp-client",
    run: smtp_session,
    seeds: smtp_seeds,
    words: &[
        "220 ",
        "250-",
        "250 ",
        "354 ",
        "334 ",
        "235 ",
        "421 ",
        "550 5.1.1 ",
        "452 ",
        "\r\n",
        "{tag}",
        "<tls>",
        "PIPELINING\r\n",
        "CHUNKING\r\n",
        "SIZE 100\r\n",
        "AUTH PLAIN SCRAM-SHA-256\r\n",
        "STARTTLS\r\n",
        "LIMITS RCPTMAX=1\r\n",
        "8BITMIME\r\n",
        "SMTPUTF8\r\n",
        "250 ok\r\n250 ok\r\n354 go\r\n",
    ],
};

/// IMAP.
pub const IMAP: Target = Target {
    name: "imap-client",
    run: imap_session,
    seeds: imap_seeds,
    words: IMAP_WORDS,
};

/// The reading of IMAP's responses.
pub const IMAP_RESPONSES: Target = Target {
    name: "imap-responses",
    run: imap_responses,
    seeds: response_seeds,
    words: IMAP_WORDS,
};

const IMAP_WORDS: &[&str] = &[
    "* ",
    "{tag} OK ",
    "{tag} NO ",
    "+ ",
    "\r\n",
    "{5}\r\n",
    "{65540}\r\n",
    "~{3}\r\n",
    "<tls>",
    "* PREAUTH ",
    "* BYE ",
    "[CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR LITERAL+]",
    "FETCH (",
    "BODY[] ",
    "BODY[HEADER.FIELDS (TO)]<0> ",
    "UID 7 ",
    "FLAGS (\\Seen)",
    ")",
    "(",
    "\"",
    "\\",
    "NIL",
    "EXISTS",
    "EXPUNGE",
    "SEARCH ",
    "ESEARCH (TAG \"a\") UID ALL ",
    "1:4294967295",
    "LIST () \"/\" ",
    "STATUS ",
    "VANISHED (EARLIER) 1:2",
    "RFC822.SIZE 4",
];

/// POP3.
pub const POP3: Target = Target {
    name: "pop3-client",
    run: pop3_session,
    seeds: pop3_seeds,
    words: &[
        "+OK ",
        "-ERR ",
        "+ ",
        "\r\n",
        ".\r\n",
        "..\r\n",
        "<tls>",
        "SASL PLAIN\r\n",
        "USER\r\n",
        "PIPELINING\r\n",
        "STLS\r\n",
        "[SYS/TEMP]",
        "1 100\r\n",
        "4294967295 1",
        "+OK 2 200\r\n",
    ],
};

/// `ManageSieve`.
pub const SIEVE: Target = Target {
    name: "sieve-client",
    run: sieve_session,
    seeds: sieve_seeds,
    words: &[
        "OK",
        "NO ",
        "BYE ",
        "\r\n",
        "\"",
        "{3}\r\n",
        "(",
        ")",
        "\"SASL\" \"PLAIN\"\r\n",
        "\"STARTTLS\"\r\n",
        "<tls>",
        "(SASL \"dj0=\")",
        " ACTIVE",
    ],
};

fn seed() -> Seed {
    Seed::new([7; 32])
}

fn credentials() -> Credentials {
    Credentials::password("user", "pencil")
}

fn mode(flags: u8) -> Mode {
    match flags & 3 {
        0 => Mode::StartTls,
        1 => Mode::Implicit,
        2 => Mode::Opportunistic,
        _ => Mode::Off,
    }
}

fn smtp_session(data: &[u8]) {
    use smtp::client::{
        Answer, Ask, Client, Config, Framing, Fresh, LineEnds, Protocol, Transaction,
    };
    let input = Input::parse(data);
    let mut config = Config::new(mode(input.flags), "me.test");
    if input.flags & 4 != 0 {
        config.protocol = Protocol::Lmtp;
    }
    let logs_in = input.flags & 8 == 0;
    let framing = if input.flags & 16 == 0 {
        Framing::Data
    } else {
        Framing::Chunks
    };
    let config = Arc::new(config);
    let make = || match config.mode {
        Mode::Implicit => Fresh::implicit(Arc::clone(&config), seed()).secured(verified_facts()),
        _ => Client::clear(Arc::clone(&config), seed()),
    };
    let owner = || {
        let (mut left, mut under_way) = (5_u64, 0_u32);
        move |ask| {
            match ask {
                Ask::Ready(_) if logs_in => return Answer::Login(Box::new(credentials())),
                Ask::Content(id) => {
                    let portion = b".\r\n..x\rb\n".to_vec();
                    return Answer::Content {
                        portion,
                        last: id % 2 == 0 || left == 0,
                    };
                }
                Ask::Sent(_) => {
                    under_way = under_way
                        .checked_sub(1)
                        .expect("more outcomes than messages");
                }
                _ => {}
            }
            left = left.saturating_sub(1);
            if left == 0 {
                return if under_way == 0 {
                    Answer::Quit
                } else {
                    Answer::Wait
                };
            }
            under_way += 1;
            let recipient = ForwardPath::parse("<a@b.test>").expect("a path");
            let mut transaction = Transaction::new(
                2 * left,
                ReversePath::Null,
                vec![recipient.clone(), recipient],
            );
            (transaction.framing, transaction.line_ends) = (framing, LineEnds::Normalise);
            Answer::Transaction(Box::new(transaction))
        }
    };
    let mut clear = vec![
        "EHLO me.test",
        "LHLO me.test",
        "HELO me.test",
        "STARTTLS",
        "QUIT",
    ];
    if matches!(config.mode, Mode::Opportunistic | Mode::Off) {
        // A relay speaks in clear where it may; a login it never says.
        clear.push(crate::client::ANYTHING);
    }
    let _ = run(&input, make, owner, &clear);
}

fn imap_session(data: &[u8]) {
    use imap::client::{Answer, Ask, Client, Command, Config, Fresh};
    let input = Input::parse(data);
    let config = Arc::new(Config::new(mode(input.flags)));
    let make = || match config.mode {
        Mode::Implicit => Fresh::implicit(Arc::clone(&config), seed()).secured(verified_facts()),
        _ => Client::clear(Arc::clone(&config), seed()),
    };
    let owner = || {
        let mut left = vec![
            Command::Idle,
            Command::Append {
                mailbox: "x".into(),
                flags: String::new(),
                date: None,
                octets: 6,
            },
            Command::Fetch {
                uids: "1:*".into(),
                items: "(UID BODY[])".into(),
            },
            Command::Search {
                criteria: "ALL".into(),
            },
            Command::Select {
                mailbox: "INBOX".into(),
                read_only: true,
            },
        ];
        move |ask| match ask {
            Ask::Ready {
                logged_in: false, ..
            } => Answer::Login(Box::new(credentials())),
            Ask::Ready { .. } | Ask::LoggedIn(_) | Ask::Done(_) => {
                left.pop().map_or(Answer::Quit, Answer::Command)
            }
            Ask::LoginFailed(_) => Answer::Quit,
            Ask::Content => Answer::Content(b"abc".to_vec()),
            Ask::Idling => Answer::Done,
            Ask::Data(_) | Ask::Portion(_) | Ask::Continue(_) | Ask::Idle => Answer::Wait,
        }
    };
    // In mode Off a PREAUTH is taken at its word: commands, but no login, in clear.
    let mut clear = vec!["STARTTLS", "CAPABILITY", "LOGOUT"];
    if config.mode == Mode::Off {
        clear.push(crate::client::ANYTHING);
    }
    let _ = run(&input, make, owner, &clear);
}

/// Every response to a client that only listens.
fn imap_responses(data: &[u8]) {
    use imap::client::{Answer, Ask, Command, Config, Fresh};
    let input = Input::parse(data);
    let text = [b"* PREAUTH [CAPABILITY IMAP4rev1] x\r\n\xff", input.clear].concat();
    let mut listened = input.clone();
    listened.inside = &text;
    let config = Arc::new(Config::new(Mode::Implicit));
    let make = || Fresh::implicit(Arc::clone(&config), seed()).secured(verified_facts());
    let owner = || {
        |ask| match ask {
            Ask::Ready { .. } => Answer::Command(Command::Raw(b"SELECT x"[..].into())),
            _ => Answer::Wait,
        }
    };
    run_silent(&listened, make, owner);
}

fn pop3_session(data: &[u8]) {
    use pop3::client::{Answer, Ask, Client, Command, Config, Fresh};
    let input = Input::parse(data);
    let config = Arc::new(Config::new(mode(input.flags)));
    let make = || match config.mode {
        Mode::Implicit => Fresh::implicit(Arc::clone(&config), seed()).secured(verified_facts()),
        _ => Client::clear(Arc::clone(&config), seed()),
    };
    let owner = || {
        |ask| match ask {
            Ask::Ready(_) => Answer::Login(Box::new(credentials())),
            Ask::LoggedIn(_) => Answer::Commands(vec![
                Command::Stat,
                Command::List,
                Command::Uidl,
                Command::Retrieve(1),
                Command::Top(2, 1),
                Command::Delete(1),
                Command::Quit,
            ]),
            Ask::LoginFailed(_) => Answer::Quit,
            Ask::Portion(..) | Ask::Done(_) | Ask::Idle => Answer::Wait,
        }
    };
    let _ = run(&input, make, owner, &["CAPA", "STLS", "QUIT"]);
}

fn sieve_session(data: &[u8]) {
    use sieve::client::{Answer, Ask, Client, Config, Fresh};
    let input = Input::parse(data);
    let config = Arc::new(Config::new(mode(input.flags)));
    let make = || match config.mode {
        Mode::Implicit => Fresh::implicit(Arc::clone(&config), seed()).secured(verified_facts()),
        _ => Client::clear(Arc::clone(&config), seed()),
    };
    let owner = || {
        let mut turn = 0;
        move |ask| match ask {
            Ask::Ready(_) => Answer::Login(Box::new(credentials())),
            Ask::LoggedIn(_) => Answer::List,
            Ask::Done(..) if turn == 0 => {
                turn += 1;
                Answer::Get("x".into())
            }
            _ => Answer::Quit,
        }
    };
    let _ = run(&input, make, owner, &["STARTTLS", "LOGOUT"]);
}

/// The attacks as inputs, whole and cut.
fn inputs(attacks: &[Attack]) -> Vec<Vec<u8>> {
    let mut inputs = Vec::new();
    for attack in attacks {
        let mut text = Vec::new();
        for turn in &attack.turns {
            match turn {
                Turn::Say(said) if said.len() < 4096 => {
                    text.extend_from_slice(said);
                    text.push(0xff);
                }
                Turn::Tls => text.extend_from_slice(TLS_MARK),
                _ => {}
            }
        }
        inputs.push(Input::build(0, &[], &text));
        inputs.push(Input::build(2, &[3, 1], &text));
        inputs.push(Input::build(3, &[], &text));
    }
    inputs
}

fn smtp_seeds() -> Vec<Vec<u8>> {
    let mut seeds = inputs(&hostile::smtp());
    let hello = "<tls>220 x\r\n\u{0}250-x\r\n250-PIPELINING\r\n250-CHUNKING\r\n250 8BITMIME\r\n\u{0}250 a\r\n250 b\r\n550 c\r\n354 d\r\n\u{0}250 x\r\n250 a\r\n250 b\r\n250 c\r\n354 d\r\n\u{0}";
    for flags in [9, 25, 13, 29] {
        let text: Vec<u8> = hello
            .bytes()
            .map(|it| if it == 0 { 0xff } else { it })
            .collect();
        seeds.push(Input::build(flags, &[], &text));
    }
    seeds
}

fn imap_seeds() -> Vec<Vec<u8>> {
    let mut seeds = inputs(&hostile::imap());
    let text = "<tls>* PREAUTH [CAPABILITY IMAP4rev1 IDLE] x\r\n\u{0}* 1 EXISTS\r\n{tag} OK [READ-WRITE] x\r\n\u{0}* SEARCH 1\r\n{tag} OK x\r\n\u{0}* 1 FETCH (UID 1 BODY[] {5}\r\nabcde)\r\n{tag} OK x\r\n\u{0}+ go\r\n\u{0}{tag} OK x\r\n\u{0}+ idling\r\n\u{0}{tag} OK x\r\n";
    let text: Vec<u8> = text
        .bytes()
        .map(|it| if it == 0 { 0xff } else { it })
        .collect();
    seeds.push(Input::build(1, &[], &text));
    seeds
}

fn response_seeds() -> Vec<Vec<u8>> {
    [
        "* 3 EXISTS\r\n* 1 FETCH (UID 9 FLAGS (\\Seen) BODY[] {5}\r\nabcde RFC822.SIZE 5)\r\n",
        "* LIST (\\HasNoChildren) \"/\" {3}\r\nabc\r\n* SEARCH 1 2 3\r\n* ESEARCH (TAG \"a\") UID ALL 1:3,5\r\n",
        "* STATUS INBOX (MESSAGES 3)\r\n* FLAGS (\\Seen)\r\n* OK [UIDVALIDITY 7] x\r\n* VANISHED 1:3\r\n* 2 EXPUNGE\r\n",
        "* 1 FETCH (ENVELOPE (\"date\" NIL ((NIL NIL \"a\" \"b\"))) BODY[HEADER.FIELDS (TO)]<0> \"x\" BODY[1] NIL)\r\n",
    ]
    .map(|text| Input::build(0, &[5, 1, 9], text.as_bytes()))
    .to_vec()
}

fn pop3_seeds() -> Vec<Vec<u8>> {
    let mut seeds = inputs(&hostile::pop3());
    let text = "<tls>+OK x\r\n\u{0}+OK\r\nSASL PLAIN\r\nPIPELINING\r\n.\r\n\u{0}+OK in\r\n\u{0}+OK 2 20\r\n+OK\r\n1 10\r\n2 10\r\n.\r\n+OK\r\n1 a\r\n.\r\n+OK\r\n..x\r\n.\r\n-ERR no\r\n+OK\r\n+OK bye\r\n";
    let text: Vec<u8> = text
        .bytes()
        .map(|it| if it == 0 { 0xff } else { it })
        .collect();
    seeds.push(Input::build(1, &[], &text));
    seeds
}

fn sieve_seeds() -> Vec<Vec<u8>> {
    let mut seeds = inputs(&hostile::sieve());
    let text = "<tls>\"SASL\" \"PLAIN\"\r\nOK\r\n\u{0}OK\r\n\u{0}\"a\" ACTIVE\r\n{1}\r\nb\r\nOK\r\n\u{0}{5}\r\nkeep;\r\nOK\r\n\u{0}OK\r\n";
    let text: Vec<u8> = text
        .bytes()
        .map(|it| if it == 0 { 0xff } else { it })
        .collect();
    seeds.push(Input::build(1, &[], &text));
    seeds
}
