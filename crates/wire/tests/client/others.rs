//! IMAP, POP3 and `ManageSieve`: what our own servers never do.

use std::sync::Arc;

use gatepost_testkit::verified_facts;
use gatepost_wire::client::{Credentials, Mode, Seed};
use gatepost_wire::session::Fresh as _;
use gatepost_wire::{imap, pop3, sieve};

use super::script::{Outcome, run};

fn seed() -> Seed {
    Seed::new([1; 32])
}

fn imap(credentials: &Credentials, command: &imap::client::Command, replies: &[&str]) -> Outcome {
    use imap::client::{Answer, Ask, Config, Fresh};
    let config = Arc::new(Config::new(Mode::Implicit));
    run(
        || Fresh::implicit(Arc::clone(&config), seed()).secured(verified_facts()),
        || {
            |ask| match ask {
                Ask::Ready {
                    logged_in: false, ..
                } => Answer::Login(Box::new(credentials.clone())),
                Ask::Ready { .. } | Ask::LoggedIn(_) => Answer::Command(command.clone()),
                Ask::LoginFailed(_) | Ask::Done(_) => Answer::Quit,
                Ask::Content => Answer::Content(b"x".to_vec()),
                _ => Answer::Wait,
            }
        },
        replies,
    )
}

fn user() -> Credentials {
    Credentials::password("user", "pen\"cil")
}

#[test]
fn imap_login_only_where_it_is_allowed() {
    // [IMAP-TLS-10] [IMAP-TLS-01]
    let disabled = "* OK [CAPABILITY IMAP4rev1 LOGINDISABLED] hi\r\n";
    let outcome = imap(
        &user(),
        &imap::client::Command::Noop,
        &[disabled, "{tag} OK\r\n"],
    );
    assert!(
        outcome.told[1].contains("LoginDisabled"),
        "{:?}",
        outcome.told
    );
    assert!(outcome.said[1].ends_with(" LOGOUT\r\n"));
    let plain = "* OK [CAPABILITY IMAP4rev1] hi\r\n";
    let outcome = imap(
        &user(),
        &imap::client::Command::Noop,
        &[plain, "{tag} NO no\r\n", "{tag} OK\r\n"],
    );
    assert!(
        outcome.said[1].ends_with(" LOGIN \"user\" \"pen\\\"cil\"\r\n"),
        "{:?}",
        outcome.said
    );
}

#[test]
fn imap_initial_response_only_where_it_is_understood() {
    // [IMAP-AUTH-02]
    for (words, along) in [("SASL-IR", true), ("IMAP4rev2", true), ("IDLE", false)] {
        let greeting = format!("* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN {words}] hi\r\n");
        let replies: &[&str] = if along {
            &["{tag} OK [CAPABILITY IMAP4rev1] in\r\n"]
        } else {
            &["+ \r\n", "{tag} OK [CAPABILITY IMAP4rev1] in\r\n"]
        };
        let replies = [&[&*greeting], replies].concat();
        let outcome = imap(&user(), &imap::client::Command::Noop, &replies);
        assert_eq!(
            outcome.said[1].ends_with(" AUTHENTICATE PLAIN\r\n"),
            !along,
            "{words}"
        );
        assert!(outcome.said[1].contains(" AUTHENTICATE PLAIN"));
    }
}

#[test]
fn imap_tags_are_random_and_replies_must_carry_them() {
    let greeting = "* OK [CAPABILITY IMAP4rev1] hi\r\n";
    for reply in ["A1 OK in\r\n", "{tag}a OK in\r\n", "+ go\r\n", "* BYE\r\n"] {
        let outcome = imap(&user(), &imap::client::Command::Noop, &[greeting, reply]);
        assert!(
            ["E-PROTOCOL", "E-SERVER-CLOSING"].contains(&outcome.end),
            "{reply} {outcome:?}"
        );
    }
}

#[test]
fn imap_messages_are_spoken_of_only_while_a_mailbox_is_selected() {
    // [IMAP-TLS-12]
    let greeting = "* PREAUTH [CAPABILITY IMAP4rev1] hi\r\n";
    let data =
        "* 3 EXISTS\r\n* 1 EXPUNGE\r\n* 1 FETCH (FLAGS ())\r\n* LIST () \"/\" a\r\n{tag} OK\r\n";
    let outcome = imap(
        &user(),
        &imap::client::Command::Noop,
        &[greeting, data, "{tag} OK\r\n"],
    );
    let told = outcome.told.join("\n");
    assert!(
        told.contains("Listed") && !told.contains("Exists") && !told.contains("Fetched"),
        "{told}"
    );
}

#[test]
fn imap_a_body_that_is_cut_off_is_not_a_message() {
    // [SMTP-STARTTLS-25] the same for what is read
    let greeting = "* PREAUTH [CAPABILITY IMAP4rev1] hi\r\n";
    let select = imap::client::Command::Raw(b"SELECT INBOX"[..].into());
    let outcome = imap(
        &user(),
        &select,
        &[greeting, "* 1 FETCH (BODY[] {10}\r\n12345"],
    );
    assert_eq!(outcome.end, "E-CLOSED");
    assert!(
        !outcome
            .told
            .iter()
            .any(|it| it.contains("Portion") || it.contains("Fetched"))
    );
}

#[test]
fn imap_append_waits_for_leave_and_is_not_good_before_its_end() {
    let greeting = "* PREAUTH [CAPABILITY IMAP4rev1] hi\r\n";
    let append = imap::client::Command::Append {
        mailbox: "a".into(),
        flags: String::new(),
        date: None,
        octets: 3,
    };
    let replies = [greeting, "+ go\r\n", "* 1 EXISTS\r\n{tag} OK\r\n"];
    let outcome = imap(&user(), &append, &replies[..2]);
    assert_eq!(outcome.said[2], "xxx\r\n");
    let outcome = imap(&user(), &append, &[greeting, "{tag} OK done\r\n"]);
    assert_eq!(outcome.end, "E-PROTOCOL");
    let outcome = imap(
        &user(),
        &append,
        &[greeting, "{tag} NO [OVERQUOTA] no\r\n", "{tag} OK\r\n"],
    );
    assert!(outcome.told[1].contains("OVERQUOTA") && outcome.end.is_empty());
}

fn pop3(
    credentials: &Credentials,
    commands: &[pop3::client::Command],
    replies: &[&str],
) -> Outcome {
    use pop3::client::{Answer, Ask, Config, Fresh};
    let config = Arc::new(Config::new(Mode::Implicit));
    run(
        || Fresh::implicit(Arc::clone(&config), seed()).secured(verified_facts()),
        || {
            let mut left = commands.len();
            move |ask| match ask {
                Ask::Ready(_) => Answer::Login(Box::new(credentials.clone())),
                Ask::LoggedIn(_) => Answer::Commands(commands.to_vec()),
                Ask::LoginFailed(_) => Answer::Quit,
                Ask::Done(_) => {
                    left = left.saturating_sub(1);
                    if left == 0 {
                        Answer::Quit
                    } else {
                        Answer::Wait
                    }
                }
                _ => Answer::Wait,
            }
        },
        replies,
    )
}

#[test]
fn pop3_initial_response_only_where_it_fits() {
    // [POP-AUTH-03]
    let capa = "+OK\r\nSASL PLAIN OAUTHBEARER\r\n.\r\n";
    let outcome = pop3(
        &Credentials::password("user", "pencil"),
        &[],
        &["+OK\r\n", capa, "-ERR\r\n"],
    );
    assert_eq!(outcome.said[2], "AUTH PLAIN AHVzZXIAcGVuY2ls\r\n");
    let token = Credentials::token("user", "t".repeat(300));
    let outcome = pop3(&token, &[], &["+OK\r\n", capa, "+ \r\n", "-ERR\r\n"]);
    assert_eq!(outcome.said[2], "AUTH OAUTHBEARER\r\n");
    // no SASL in the list: no AUTH at all
    let outcome = pop3(
        &Credentials::password("user", "pencil"),
        &[],
        &[
            "+OK\r\n",
            "+OK\r\nUSER\r\n.\r\n",
            "+OK\r\n",
            "+OK\r\n",
            "+OK\r\n",
        ],
    );
    assert_eq!(outcome.said[2..4], ["USER user\r\n", "PASS pencil\r\n"]);
    let outcome = pop3(
        &Credentials::password("user", "pencil"),
        &[],
        &["+OK\r\n", "+OK\r\n.\r\n", "+OK\r\n"],
    );
    assert!(
        outcome.told[1].contains("NoMechanism"),
        "USER is not listed: {:?}",
        outcome.told
    );
}

#[test]
fn pop3_commands_go_ahead_and_messages_come_whole() {
    use pop3::client::Command::{Delete, Retrieve, Stat, Uidl};
    let commands = [Stat, Uidl, Retrieve(1), Delete(1)];
    let login = Credentials::password("user", "pencil");
    let capa = "+OK\r\nSASL PLAIN\r\nPIPELINING\r\n.\r\n";
    let replies = [
        "+OK\r\n",
        capa,
        "+OK in\r\n",
        "+OK 1 9\r\n+OK\r\n1 abc\r\n.\r\n+OK\r\n..a\r\nb\r\n.\r\n+OK\r\n",
        "+OK bye\r\n",
    ];
    let outcome = pop3(&login, &commands, &replies);
    assert_eq!(outcome.said[3], "STAT\r\nUIDL\r\nRETR 1\r\nDELE 1\r\n");
    let told = outcome.told.join("\n");
    assert!(
        told.contains("Extent(1, 9)") && told.contains("(1, \"abc\")"),
        "{told}"
    );
    assert!(
        told.contains(&format!("Portion(1, {:?})", b".a\r\nb\r\n")),
        "{told}"
    );
    assert_eq!(outcome.end, "");
    // cut off before the final dot: not a message; and QUIT's answer matters once something is marked
    let outcome = pop3(
        &login,
        &[Retrieve(1)],
        &["+OK\r\n", capa, "+OK\r\n", "+OK\r\na\r\n"],
    );
    assert_eq!(outcome.end, "E-CLOSED");
    let outcome = pop3(
        &login,
        &[Delete(1)],
        &["+OK\r\n", capa, "+OK\r\n", "+OK\r\n"],
    );
    assert_eq!(outcome.end, "E-CLOSED");
}

#[test]
fn sieve_scripts_are_listed_and_read() {
    // [SIEVE-TLS-01]
    use sieve::client::{Answer, Ask, Config, Fresh};
    let config = Arc::new(Config::new(Mode::Implicit));
    let outcome = run(
        || Fresh::implicit(Arc::clone(&config), seed()).secured(verified_facts()),
        || {
            let mut turn = 0;
            move |ask| match ask {
                Ask::Ready(_) => Answer::Login(Box::new(Credentials::password("user", "pencil"))),
                Ask::LoggedIn(_) => Answer::List,
                Ask::Done(..) if turn == 0 => {
                    turn += 1;
                    Answer::Get("a\"b".into())
                }
                Ask::Done(..) | Ask::LoginFailed(_) => Answer::Quit,
                Ask::Idle => Answer::Wait,
            }
        },
        &[
            "\"SASL\" \"PLAIN\"\r\n\"VERSION\" \"1.0\"\r\nOK\r\n",
            "OK \"in\"\r\n",
            "\"a\\\"b\" ACTIVE\r\n{3}\r\nold\r\nOK\r\n",
            "{13}\r\nkeep;\r\nOK x\r\n\r\nOK \"done\"\r\n",
            "OK\r\n",
        ],
    );
    assert_eq!(
        outcome.said[1..],
        [
            "AUTHENTICATE \"PLAIN\" \"AHVzZXIAcGVuY2ls\"\r\n",
            "LISTSCRIPTS\r\n",
            "GETSCRIPT \"a\\\"b\"\r\n",
            "LOGOUT\r\n",
            ""
        ]
    );
    let told = outcome.told.join("\n");
    assert!(
        told.contains("active: true") && told.contains("\"old\", active: false"),
        "{told}"
    );
    assert!(
        told.contains(&format!("Script({:?})", b"keep;\r\nOK x\r\n")),
        "{told}"
    );
    assert_eq!(outcome.end, "");
}

#[test]
fn spaces_do_not_hide_a_credential_that_is_typed() {
    // [POP-TLS-07] in clear none is said, however it is written
    for line in [
        "PASS pencil",
        " PASS pencil",
        "pass\tpencil",
        "\tUSER anna",
        " AUTH PLAIN",
        " STLS",
    ] {
        use pop3::client::{Answer, Ask, Client, Command, Config};
        let config = Arc::new(Config::new(Mode::Off));
        let outcome = run(
            || Client::clear(Arc::clone(&config), seed()),
            || {
                |ask| match ask {
                    Ask::Ready(_) => {
                        Answer::Commands(vec![Command::Raw(line.as_bytes().into(), false)])
                    }
                    _ => Answer::Wait,
                }
            },
            &["+OK x\r\n", "-ERR\r\n", "+OK\r\n"],
        );
        assert_eq!(outcome.end, "E-MISUSE", "{line:?}");
        assert!(
            !outcome.said.concat().contains("encil"),
            "{:?}",
            outcome.said
        );
    }
    for line in [
        "AUTHENTICATE\t\"PLAIN\" \"x\"",
        " AUTHENTICATE \"PLAIN\"",
        "\tSTARTTLS",
    ] {
        use sieve::client::{Answer, Ask, Client, Config};
        let config = Arc::new(Config::new(Mode::Off));
        let outcome = run(
            || Client::clear(Arc::clone(&config), seed()),
            || {
                |ask| match ask {
                    Ask::Ready(_) => Answer::Raw(line.as_bytes().into()),
                    _ => Answer::Wait,
                }
            },
            &["OK\r\n", "OK\r\n"],
        );
        assert_eq!(outcome.end, "E-MISUSE", "{line:?}");
        assert_eq!(outcome.said.concat(), "");
    }
}
