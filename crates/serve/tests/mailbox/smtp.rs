use std::sync::Arc;

use gatepost_serve::mailbox::Recorded as _;
use gatepost_serve::mailbox::smtp::{Role, SmtpBackend};
use gatepost_store::Options;
use gatepost_testkit::talk;
use gatepost_wire::session::Fresh as _;
use gatepost_wire::smtp::ask::{Answer, Ask, Body, Envelope, MailFrom, Refusal};
use gatepost_wire::smtp::dsn::OfMail;
use gatepost_wire::smtp::path::{ForwardPath, Mailbox, ReversePath};
use gatepost_wire::smtp::received::{Protocol, Trace};

use gatepost_wire::smtp::server::{Config, Fresh, Peer};

use crate::world::{ANN, BOB, CLIENT, PASSWORD, Wish, World};

fn mailbox(address: &str) -> Mailbox {
    let (local, domain) = address.rsplit_once('@').unwrap_or((address, ""));
    Mailbox {
        local: local.into(),
        domain: domain.into(),
    }
}

fn from(address: &str) -> MailFrom {
    let reverse_path = if address.is_empty() {
        ReversePath::Null
    } else {
        ReversePath::Mailbox(mailbox(address))
    };
    MailFrom {
        reverse_path,
        size: None,
        body: Body::SevenBit,
        smtputf8: false,
        dsn: OfMail::default(),
    }
}

fn trace() -> Trace {
    let protocol = Protocol {
        extended: true,
        encrypted: true,
        authenticated: false,
        smtputf8: false,
    };
    Trace {
        helo: "client.test".into(),
        client: CLIENT,
        hide_client: false,
        protocol,
        tls: None,
        only_recipient: None,
    }
}

async fn verdict(backend: &mut SmtpBackend, ask: Ask) -> Result<(), Refusal> {
    match backend.answer(ask).await {
        Answer::Verdict(verdict) => verdict,
        other => panic!("{other:?}"),
    }
}

async fn begin(
    backend: &mut SmtpBackend,
    sender: &str,
    recipients: &[&str],
) -> Result<(), Refusal> {
    let mail = from(sender);
    verdict(backend, Ask::Mail(mail.clone())).await?;
    let recipients: Vec<_> = recipients
        .iter()
        .map(|address| ForwardPath(mailbox(address)))
        .collect();
    for path in &recipients {
        verdict(backend, Ask::Recipient(path.clone().into())).await?;
    }
    verdict(
        backend,
        Ask::Begin(Box::new(Envelope {
            mail,
            recipients,
            trace: trace(),
        })),
    )
    .await
}

async fn commit(backend: &mut SmtpBackend) -> Result<Box<str>, Refusal> {
    match backend.answer(Ask::Commit).await {
        Answer::Stored(stored) => stored,
        other => panic!("{other:?}"),
    }
}

async fn send(
    backend: &mut SmtpBackend,
    sender: &str,
    recipients: &[&str],
    pieces: &[&str],
) -> Result<Box<str>, Refusal> {
    begin(backend, sender, recipients).await?;
    for piece in pieces {
        verdict(backend, Ask::Content(piece.as_bytes().to_vec())).await?;
    }
    commit(backend).await
}

/// [SMTP-BASE-15] answered for when it is stored, with the fields of RFC 5321 4.4 before it.
#[tokio::test]
async fn a_message_arrives_with_its_trace() {
    let world = World::new();
    let mut backend = world.smtp(Role::Mx, None).await;
    let text = "Subject: x\r\n\r\nbody\r\n";
    let id = send(&mut backend, "sender@far.test", &[ANN], &[text])
        .await
        .unwrap();
    let stored = world.texts(ANN, "INBOX").pop().unwrap();
    let added = stored.strip_suffix(text).unwrap();
    assert!(
        added.starts_with(
            "Return-Path: <sender@far.test>\r\nReceived: from client.test ([192.0.2.1])"
        ),
        "{added}"
    );
    let received = added.replace("\r\n", "");
    assert!(
        received.contains("by mail.example.org with ESMTPS")
            && received.contains(&format!("id {id}")),
        "{added}"
    );
    assert!(added.ends_with(" +0000\r\n"), "{added}");
    assert_eq!(backend.summary().messages_in, 1);
    let other = send(&mut backend, "", &[ANN], &[text]).await.unwrap();
    assert_ne!(id, other);
    assert!(
        world
            .texts(ANN, "INBOX")
            .pop()
            .unwrap()
            .starts_with("Return-Path: <>\r\n")
    );
}

#[tokio::test]
async fn only_local_recipients() {
    let world = World::new();
    let mut backend = world.smtp(Role::Mx, None).await;
    verdict(&mut backend, Ask::Mail(from("a@far.test")))
        .await
        .unwrap();
    let mut recipient = async |address: &str| {
        verdict(
            &mut backend,
            Ask::Recipient(ForwardPath(mailbox(address)).into()),
        )
        .await
    };
    for address in [
        ANN,
        "ANN@Example.ORG",
        "ann+tag@example.org",
        "\"ann\"@example.org",
        "\"a\\nn\"@example.org",
    ] {
        assert_eq!(recipient(address).await, Ok(()), "{address}");
    }
    // [SMTP-BASE-20]
    for address in [
        "postmaster",
        "Postmaster@example.org",
        "postmaster@example.net",
        "POSTMASTER@mail.example.org",
    ] {
        assert_eq!(recipient(address).await, Ok(()), "{address}");
    }
    for address in [
        "nobody@example.org",
        "ann@example.net",
        "+tag@example.org",
        "ann.@example.org",
    ] {
        assert_eq!(
            recipient(address).await,
            Err(Refusal::NoSuchMailbox),
            "{address}"
        );
    }
    for address in [
        "ann@far.test",
        "ann%far.test@far.test",
        "ann@[192.0.2.1]",
        "ann@sub.example.org",
        "ann",
        "postmaster@far.test",
    ] {
        assert_eq!(recipient(address).await, Err(Refusal::NoRelay), "{address}");
    }
}

#[tokio::test]
async fn percent_and_bang_are_no_relay() {
    let world = World::new();
    let mut backend = world.smtp(Role::Mx, None).await;
    verdict(&mut backend, Ask::Mail(from("a@far.test")))
        .await
        .unwrap();
    for address in [
        "ann%far.test@example.org",
        "far.test!ann@example.org",
        "\"ann@far.test\"@example.org",
    ] {
        let path = ForwardPath(mailbox(address));
        assert_eq!(
            verdict(&mut backend, Ask::Recipient(path.into())).await,
            Err(Refusal::NoSuchMailbox),
            "{address}"
        );
    }
}

#[tokio::test]
async fn postmaster_as_configured() {
    let world = World::with(Wish {
        postmaster: Some(BOB.to_uppercase()),
        ..Wish::default()
    });
    let mut backend = world.smtp(Role::Mx, None).await;
    send(&mut backend, "", &["postmaster"], &["x: y\r\n\r\n"])
        .await
        .unwrap();
    assert_eq!(
        (
            world.texts(ANN, "INBOX").len(),
            world.texts(BOB, "INBOX").len()
        ),
        (0, 1)
    );
}

#[tokio::test]
async fn one_entry_for_each_account() {
    let world = World::new();
    let mut backend = world.smtp(Role::Mx, None).await;
    send(
        &mut backend,
        "",
        &[ANN, BOB, "ann+x@example.org"],
        &["x: y\r\n\r\n"],
    )
    .await
    .unwrap();
    assert_eq!(
        (
            world.texts(ANN, "INBOX").len(),
            world.texts(BOB, "INBOX").len()
        ),
        (1, 1)
    );
}

#[tokio::test]
async fn a_forgotten_transaction_leaves_nothing() {
    let world = World::new();
    let mut backend = world.smtp(Role::Mx, None).await;
    begin(&mut backend, "", &[ANN]).await.unwrap();
    verdict(&mut backend, Ask::Content(b"x".to_vec()))
        .await
        .unwrap();
    verdict(&mut backend, Ask::Abort).await.unwrap();
    assert_eq!(commit(&mut backend).await, Err(Refusal::Fault));
    begin(&mut backend, "", &[ANN]).await.unwrap();
    verdict(&mut backend, Ask::Mail(from(""))).await.unwrap();
    assert_eq!(commit(&mut backend).await, Err(Refusal::Fault));
    assert!(world.texts(ANN, "INBOX").is_empty());
}

/// [SUBM-04] who may send as whom; [SUBM-03] the null path
#[tokio::test]
async fn a_login_sends_as_itself() {
    let world = World::new();
    let mut backend = world.smtp(Role::Submission, Some("Ann@example.org")).await;
    for sender in [
        "",
        ANN,
        "ANN@EXAMPLE.ORG",
        "ann+tag@example.org",
        "\"ann\"@example.org",
    ] {
        assert_eq!(
            verdict(&mut backend, Ask::Mail(from(sender))).await,
            Ok(()),
            "{sender}"
        );
    }
    for sender in [
        BOB,
        "ann@far.test",
        "ann@example.net",
        "ann",
        "annx@example.org",
        "x+ann@example.org",
    ] {
        let verdict = verdict(&mut backend, Ask::Mail(from(sender))).await;
        assert_eq!(verdict, Err(Refusal::SenderNotAuthorized), "{sender}");
    }
}

/// RFC 5890 2.3.2.4: a domain is the same in A-labels and in U-labels, for who gets mail, who logs in, and who sends.
#[tokio::test]
async fn an_international_domain_is_one_in_both_its_forms() {
    let world = World::new();
    let ways = ["v@b\u{fc}cher.test", "v@xn--bcher-kva.test"];
    let credential = crate::world::credential(PASSWORD);
    world
        .store
        .accounts()
        .add(ways[1], &credential, None)
        .unwrap();
    let mut mx = world.smtp(Role::Mx, None).await;
    for way in ways {
        begin(&mut mx, "", &[way]).await.unwrap();
        let nobody = way.replacen('v', "nobody", 1);
        assert_eq!(
            begin(&mut mx, "", &[&nobody]).await,
            Err(Refusal::NoSuchMailbox),
            "a domain of ours"
        );
        let mut backend = SmtpBackend::new(Arc::clone(&world.shared), CLIENT, Role::Submission);
        let ask = Ask::Account(crate::world::login(way, PASSWORD));
        let answer = backend.answer(ask).await;
        assert_eq!(answer, Answer::Account(crate::world::granted(ways[0])));
        for sender in ways {
            let verdict = verdict(&mut backend, Ask::Mail(from(sender))).await;
            assert_eq!(verdict, Ok(()), "{way} sends as {sender}");
        }
    }
}

/// [SUBM-01] also when a session should let it through
#[tokio::test]
async fn submission_takes_nothing_without_a_login() {
    let world = World::new();
    let mut backend = world.smtp(Role::Submission, None).await;
    for sender in ["", ANN] {
        assert_eq!(
            verdict(&mut backend, Ask::Mail(from(sender))).await,
            Err(Refusal::SenderNotAuthorized)
        );
    }
}

#[tokio::test]
async fn submission_does_not_relay() {
    let world = World::new();
    let mut backend = world.smtp(Role::Submission, Some(ANN)).await;
    assert_eq!(
        begin(&mut backend, ANN, &["x@far.test"]).await,
        Err(Refusal::NoRelay)
    );
}

/// [SUBM-04] the From field, for those who want it held to the login
#[tokio::test]
async fn the_from_field_can_be_held_to_the_login() {
    let world = World::with(Wish {
        own_from_only: true,
        ..Wish::default()
    });
    let mut backend = world.smtp(Role::Submission, Some(ANN)).await;
    let long = format!("X: {}\r\n", "y".repeat(70_000));
    for (pieces, good) in [
        (&["From: Ann <ann@example.org>\r\n\r\n"][..], true),
        (&["Fr", "om: ann@example.org\r", "\n\r\nbody"], true),
        (&["from : ann+tag@EXAMPLE.org\r\n"], true),
        (&["From: bob@example.org\r\n\r\n"], false),
        (&["From: ann@example.org, bob@example.org\r\n\r\n"], false),
        (
            &["From: ann@example.org\r\nFROM: bob@example.org\r\n\r\n"],
            false,
        ),
        (
            &["From: \"ann@example.org\" <bob@example.org>\r\n\r\n"],
            false,
        ),
        (
            &["From: team: ann@example.org, bob@example.org;\r\n\r\n"],
            false,
        ),
        (
            &["From: team: ann@example.org, Ann <ann@example.org>;\r\n\r\n"],
            true,
        ),
        (
            &["From: \"bob@example.org\": ann@example.org;\r\n\r\n"],
            true,
        ),
        // RFC 5322 3.4: without quotes this is no name of a group, and some programs show Bob.
        (&["From: bob@example.org:ann@example.org;\r\n\r\n"], false),
        (
            &["From: bob @ example.org : ann@example.org;\r\n\r\n"],
            false,
        ),
        (&["From: <bob@example.org>:ann@example.org;\r\n\r\n"], false),
        (&["From: Ann\r\n\r\n"], false),
        (&["Subject: none\r\n\r\n"], false),
        (&["Subject: none\r\n\r\nFrom: ann@example.org\r\n"], false),
        (
            &[
                "From: ann@example.org\r\n",
                &long,
                "From: bob@example.org\r\n\r\n",
            ],
            false,
        ),
    ] {
        let sent = send(&mut backend, ANN, &[BOB], pieces).await;
        let expected = (!good).then_some(Refusal::SenderNotAuthorized);
        assert_eq!(sent.err(), expected, "{pieces:?}");
    }
    assert_eq!(world.texts(BOB, "INBOX").len(), 5);
}

/// [SUBM-02] what is touched names whole domains; what is not is passed on as it is.
#[tokio::test]
async fn submission_wants_whole_domains_where_it_touches_the_header() {
    let world = World::new();
    let mut backend = world.smtp(Role::Submission, Some(ANN)).await;
    let whole = "Date: Mon, 23 Nov 2026 12:00:00 +0000\r\nMessage-ID: <a@b>\r\n";
    let from = "From: ann@example.org\r\n";
    for (header, good) in [
        ("To: bob@example.org\r\n", true),
        (
            "To: Bob <bob@[192.0.2.1]>, undisclosed-recipients:;\r\n",
            true,
        ),
        ("Cc: bob@mail\r\n", false),
        ("To: root\r\n", false),
        ("Reply-To: Bob <bob@localhost>\r\n", false),
        ("Sender: team: bob@example.org, eve;\r\n", false),
        ("Subject: root@localhost\r\n", true),
    ] {
        for (added, touched) in [("", true), (whole, false)] {
            let message = format!("{from}{header}{added}\r\nbody");
            let sent = send(&mut backend, ANN, &[BOB], &[&message]).await;
            let expected = (touched && !good).then_some(Refusal::HeaderNotQualified);
            assert_eq!(sent.err(), expected, "{message}");
        }
    }
    // Whose From is looked at is touched too.
    let world = World::with(Wish {
        own_from_only: true,
        ..Wish::default()
    });
    let mut backend = world.smtp(Role::Submission, Some(ANN)).await;
    let message = format!("{from}To: root\r\n{whole}\r\nbody");
    assert_eq!(
        send(&mut backend, ANN, &[BOB], &[&message]).await,
        Err(Refusal::HeaderNotQualified)
    );
    // Another server's mail is not ours to judge.
    let mut mx = world.smtp(Role::Mx, None).await;
    assert!(
        send(&mut mx, ANN, &[BOB], &["To: root\r\n\r\n"])
            .await
            .is_ok()
    );
}

/// [SUBM-04] Date and Message-ID
#[tokio::test]
async fn submission_adds_what_is_missing() {
    let world = World::new();
    let mut backend = world.smtp(Role::Submission, Some(ANN)).await;
    let cases: [(&[&str], bool, bool); 6] = [
        (&["Subject: x\r\n\r\nDate: in the body\r\n"], true, true),
        (
            &["Da", "te: now\r\nSubject: x\r\n", "\r", "\nbody"],
            false,
            true,
        ),
        (&["message-id: <a@b>\r\n", "\r\n"], true, false),
        (
            &["Date: now\r\nMessage-ID: <a@b>\r\n\r\nbody"],
            false,
            false,
        ),
        (&["\r\nonly a body\r\n"], true, true),
        (&["Subject: no end"], true, true),
    ];
    for (pieces, date, message_id) in cases {
        let id = send(&mut backend, ANN, &[BOB], pieces).await.unwrap();
        let stored = world.texts(BOB, "INBOX").pop().unwrap();
        let added = stored.strip_suffix(&pieces.concat()).unwrap();
        assert_eq!(added.contains("\r\nDate: "), date, "{stored}");
        assert_eq!(
            added.contains(&format!("\r\nMessage-ID: <{id}@mail.example.org>\r\n")),
            message_id,
            "{stored}"
        );
    }
    let mut mx = world.smtp(Role::Mx, None).await;
    send(&mut mx, "", &[BOB], &["Subject: x\r\n\r\n"])
        .await
        .unwrap();
    let stored = world.texts(BOB, "INBOX").pop().unwrap();
    assert!(
        !stored.contains("\r\nDate:") && !stored.contains("Message-ID"),
        "{stored}"
    );
}

#[tokio::test]
async fn a_header_that_does_not_end_is_not_held_in_memory() {
    let world = World::new();
    let mut backend = world.smtp(Role::Submission, Some(ANN)).await;
    let line = format!("X: {}\r\n", "y".repeat(60_000));
    send(
        &mut backend,
        ANN,
        &[BOB],
        &[&line, &line, "Date: late\r\n\r\n"],
    )
    .await
    .unwrap();
    let stored = world.texts(BOB, "INBOX").pop().unwrap();
    assert!(stored.ends_with(&format!("{line}{line}Date: late\r\n\r\n")));
    assert_eq!(stored.matches("\r\nDate: ").count(), 1);
}

#[tokio::test]
async fn large_messages_arrive_whole() {
    let world = World::new();
    let mut backend = world.smtp(Role::Submission, Some(ANN)).await;
    let line = format!("{}\r\n", "0123456789".repeat(100));
    let piece = line.repeat(60);
    let mut pieces = vec!["Subject: large\r\n\r\n"];
    pieces.extend(std::iter::repeat_n(piece.as_str(), 14));
    send(&mut backend, ANN, &[BOB], &pieces).await.unwrap();
    assert!(
        world
            .texts(BOB, "INBOX")
            .pop()
            .unwrap()
            .ends_with(&pieces.concat())
    );
}

/// [SMTP-SIZE-01]
#[tokio::test]
async fn size_limits() {
    let world = World::with(Wish {
        message_size: 1_000,
        ..Wish::default()
    });
    let mut backend = world.smtp(Role::Mx, None).await;
    let declared = |size| {
        Ask::Mail(MailFrom {
            size: Some(size),
            ..from("")
        })
    };
    assert_eq!(verdict(&mut backend, declared(1_000)).await, Ok(()));
    assert_eq!(
        verdict(&mut backend, declared(1_001)).await,
        Err(Refusal::TooLarge)
    );
    let text = "x".repeat(500);
    assert!(
        send(&mut backend, "", &[ANN], &[&text, &text])
            .await
            .is_ok()
    );
    assert_eq!(
        send(&mut backend, "", &[ANN], &[&text, &text, "x"]).await,
        Err(Refusal::TooLarge)
    );
    assert_eq!(commit(&mut backend).await, Err(Refusal::Fault));
    assert_eq!(world.texts(ANN, "INBOX").len(), 1);
}

#[tokio::test]
async fn a_full_mailbox_and_a_full_disk() {
    let world = World::with(Wish {
        quota: Some(2_000),
        ..Wish::default()
    });
    let mut backend = world.smtp(Role::Mx, None).await;
    let text = "x".repeat(1_000);
    assert!(send(&mut backend, "", &[ANN], &[&text]).await.is_ok());
    assert_eq!(
        send(&mut backend, "", &[ANN], &[&text]).await,
        Err(Refusal::MailboxFull)
    );
    assert_eq!(backend.summary().limits(), ["mailbox_full"]);
    assert_eq!(world.texts(ANN, "INBOX").len(), 1);
    let options = Options {
        min_free: u64::MAX,
        ..Options::default()
    };
    let world = World::with(Wish {
        options,
        ..Wish::default()
    });
    let mut backend = world.smtp(Role::Mx, None).await;
    assert_eq!(
        begin(&mut backend, "", &[ANN]).await,
        Err(Refusal::DiskFull)
    );
    assert_eq!(backend.summary().limits(), ["disk_full"]);
}

#[tokio::test]
async fn an_account_removed_meanwhile() {
    let world = World::new();
    let mut backend = world.smtp(Role::Mx, None).await;
    begin(&mut backend, "", &[ANN]).await.unwrap();
    world.store.accounts().remove(ANN).unwrap();
    assert_eq!(commit(&mut backend).await, Err(Refusal::NoSuchMailbox));
}

/// Through the real session, with a login, a refused recipient and two messages.
#[test]
fn a_session_from_end_to_end() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let world = World::new();
    let config = Arc::new(Config::submission("mail.example.org".into()));
    let session = Fresh::implicit(
        config,
        Peer {
            address: CLIENT,
            introduces: false,
            clear_login: None,
        },
    )
    .secured(gatepost_testkit::facts());
    let mut backend = SmtpBackend::new(Arc::clone(&world.shared), CLIENT, Role::Submission);
    let plain = gatepost_wire::sasl::encode_base64(format!("\0{ANN}\0{PASSWORD}").as_bytes());
    let mail = format!("MAIL FROM:<{ANN}>\r\nRCPT TO:<{BOB}>\r\nRCPT TO:<x@far.test>\r\nDATA\r\n");
    let segments = [
        "EHLO [192.0.2.1]\r\n".to_owned(),
        format!("AUTH PLAIN {plain}\r\n"),
        mail,
        "Subject: x\r\n\r\n..dot\r\n.\r\n".to_owned(),
        format!("MAIL FROM:<{BOB}>\r\n"),
        "QUIT\r\n".to_owned(),
    ];
    let segments: Vec<&[u8]> = segments.iter().map(String::as_bytes).collect();
    let output = talk::transcript(session, &segments, |ask| {
        runtime.block_on(backend.answer(ask))
    });
    let output = String::from_utf8(output).unwrap();
    let codes: Vec<&str> = output
        .lines()
        .filter(|line| line.get(3..4) != Some("-"))
        .filter_map(|line| line.get(..3))
        .collect();
    // [SUBM-04] somebody else's address
    assert_eq!(
        codes,
        [
            "220", "250", "235", "250", "250", "550", "354", "250", "550", "221"
        ],
        "{output}"
    );
    let stored = world.texts(BOB, "INBOX").pop().unwrap();
    assert!(
        stored.ends_with("\r\nSubject: x\r\n\r\n.dot\r\n"),
        "{stored}"
    );
    // [RECV-03] the one recipient that was accepted
    assert!(
        stored.contains("with ESMTPSA") && stored.contains("for <bob@example.org>"),
        "{stored}"
    );
}
