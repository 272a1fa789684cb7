//! Every command in every state, as a snapshot: `tests/snapshots/smtp_matrix.txt`. Set `UPDATE_SNAPSHOTS` to write it anew.
//!
//! [SMTP-BASE-05] one reply for one command; [SMTP-ESC-01] each with its enhanced status code.

use std::fmt::Write as _;
use std::path::PathBuf;

use gatepost_wire::smtp::server::Server;
use gatepost_wire::smtp::table::TABLE;

use super::support::{EHLO, LOGIN, Pause, Talk, clear, codes, implicit, lint, mx, submission};

const MAIL: &str = "MAIL FROM:<me@gatepost.test>\r\n";
const RCPT: &str = "RCPT TO:<me@gatepost.test>\r\n";

fn argument(word: &str) -> &'static str {
    match word {
        "EHLO" | "HELO" => " client.example",
        "MAIL" => " FROM:<me@gatepost.test>",
        "RCPT" => " TO:<me@gatepost.test>",
        "BDAT" => " 0",
        "VRFY" | "EXPN" => " me",
        "AUTH" => " PLAIN AG1lQGdhdGVwb3N0LnRlc3QAcGVuY2ls",
        "ETRN" | "ATRN" => " example.org",
        _ => "",
    }
}

struct Service {
    name: &'static str,
    make: fn() -> Server,
    /// What comes between EHLO and MAIL.
    login: &'static str,
}

const SERVICES: [Service; 5] = [
    Service {
        name: "mx, clear",
        make: || clear(mx()),
        login: "",
    },
    Service {
        name: "mx, encrypted",
        make: || implicit(mx()),
        login: "",
    },
    Service {
        name: "submission, clear",
        make: || clear(submission()),
        login: "",
    },
    Service {
        name: "submission, encrypted",
        make: || implicit(submission()),
        login: "",
    },
    Service {
        name: "submission, logged in",
        make: || implicit(submission()),
        login: LOGIN,
    },
];

fn phases(login: &str) -> [(&'static str, String); 6] {
    let mail = format!("{EHLO}{login}{MAIL}");
    [
        ("start", String::new()),
        ("ready", format!("{EHLO}{login}")),
        ("mail", mail.clone()),
        ("recipients", format!("{mail}{RCPT}")),
        ("chunks", format!("{mail}{RCPT}BDAT 2\r\n\r\n")),
        ("failed", format!("{mail}{RCPT}BDAT 1\r\n\n")),
    ]
}

/// What the command gets there, checked to be one reply.
fn cell(service: &Service, before: &str, command: &str) -> String {
    let mut talk = Talk::new((service.make)());
    talk.say(before);
    let output = talk.say(command);
    let codes = codes(&output);
    assert_eq!(
        codes.len(),
        1,
        "{}: {command:?} after {before:?}: {output}",
        service.name
    );
    lint(output.split_terminator("\r\n"));
    let what = match talk.pause {
        Pause::Upgrade => "tls",
        Pause::Closed(_) => "bye",
        Pause::Reading => "",
    };
    format!("{}{what}", codes[0])
}

fn matrix() -> String {
    let mut text = String::from(
        "# Reply codes by state and command. tls: the upgrade follows; bye: the session ends.\n",
    );
    for service in &SERVICES {
        let phases: Vec<_> = phases(service.login)
            .into_iter()
            .take(reachable(service))
            .collect();
        let _ = write!(text, "\n{:<24}", service.name);
        for (name, _) in &phases {
            let _ = write!(text, "{name:<11}");
        }
        for row in TABLE {
            let command = format!("{}{}\r\n", row.word, argument(row.word));
            let _ = write!(text, "\n  {:<22}", row.word);
            for (_, before) in &phases {
                let _ = write!(text, "{:<11}", cell(service, before, &command));
            }
        }
        text.push('\n');
    }
    text.lines()
        .map(|line| line.trim_end().to_owned() + "\n")
        .collect()
}

/// Without TLS or login, where they are required, no transaction begins.
fn reachable(service: &Service) -> usize {
    if service.name.starts_with("submission") && service.login.is_empty() {
        2
    } else {
        6
    }
}

#[test]
fn every_command_in_every_state() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots/smtp_matrix.txt");
    let matrix = matrix();
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        std::fs::write(&path, &matrix).expect("written");
    }
    let golden = std::fs::read_to_string(&path).expect("the snapshot");
    assert_eq!(matrix, golden);
}

// [SMTP-BASE-06] no keyword is listed whose command would get 500 or 502.
#[test]
fn keywords_are_kept() {
    for service in &SERVICES {
        let mut talk = Talk::new((service.make)());
        let keywords = talk.say(EHLO);
        for (keyword, command) in [
            ("STARTTLS", "STARTTLS\r\n"),
            ("AUTH", "AUTH PLAIN !\r\n"),
            ("CHUNKING", "BDAT 0\r\n"),
            ("SIZE", "MAIL FROM:<me@gatepost.test> SIZE=1\r\n"),
            ("8BITMIME", "MAIL FROM:<me@gatepost.test> BODY=8BITMIME\r\n"),
            ("SMTPUTF8", "MAIL FROM:<me@gatepost.test> SMTPUTF8\r\n"),
            ("ETRN", "ETRN example.org\r\n"),
            ("EXPN", "EXPN me\r\n"),
            ("HELP", "HELP\r\n"),
        ] {
            let listed = keywords
                .lines()
                .any(|line| line[4..].split(' ').next() == Some(keyword));
            let mut talk = Talk::new((service.make)());
            talk.say(EHLO);
            let code = codes(&talk.say(command))[0];
            assert!(
                !listed || ![500, 502, 555].contains(&code),
                "{}: {keyword} got {code}",
                service.name
            );
        }
    }
}
