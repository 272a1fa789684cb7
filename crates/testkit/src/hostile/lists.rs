//! The attacks, by protocol.
//!
//! Each list opens with the honest server, so that a client that refuses everything is noticed.

use super::{Attack, Turn};

fn say(text: impl AsRef<[u8]>) -> Turn {
    Turn::Say(text.as_ref().to_vec())
}

fn attack(name: impl Into<String>, turns: Vec<Turn>, ends: &[&'static str]) -> Attack {
    Attack {
        name: name.into(),
        turns,
        ends: ends.to_vec(),
    }
}

/// Turns, then the honest rest inside TLS.
fn then(mut turns: Vec<Turn>, inside: &[Turn]) -> Vec<Turn> {
    turns.push(Turn::Tls);
    turns.extend_from_slice(inside);
    turns
}

/// The same words stalled, cut off and flooded at each turn: what every protocol must stand.
fn troubles(name: &str, turns: &[Turn], floods: &[&[u8]]) -> Vec<Attack> {
    let mut attacks = Vec::new();
    for at in 0..turns.len() {
        if turns[at] == Turn::Tls {
            continue;
        }
        let before = || turns[..at].to_vec();
        let with = |turn: Turn| {
            let mut turns = before();
            turns.push(turn);
            turns
        };
        let stalled = ["E-TIMEOUT", "E-NO-GREETING"];
        attacks.push(attack(
            format!("{name}: silence at turn {at}"),
            with(Turn::Silence),
            &stalled,
        ));
        attacks.push(attack(
            format!("{name}: closed at turn {at}"),
            with(Turn::End(true)),
            &["E-CLOSED"],
        ));
        attacks.push(attack(
            format!("{name}: cut at turn {at}"),
            with(Turn::End(false)),
            &["E-TRUNCATED"],
        ));
        if let Turn::Say(text) = &turns[at] {
            let half = Turn::Say(text[..text.len() - 1].to_vec());
            let mut turns = with(half.clone());
            turns.push(Turn::Silence);
            attacks.push(attack(
                format!("{name}: half a line at turn {at}"),
                turns,
                &stalled,
            ));
            let mut turns = with(half);
            turns.push(Turn::End(false));
            attacks.push(attack(
                format!("{name}: cut within turn {at}"),
                turns,
                &["E-TRUNCATED"],
            ));
        }
        for flood in floods {
            let name = format!("{name}: flood of {} octets at turn {at}", flood.len());
            attacks.push(attack(
                name,
                with(say(flood)),
                &["E-TOO-MUCH", "E-PROTOCOL"],
            ));
        }
    }
    attacks
}

const SMTP_HELLO: &str = "250-mx.gatepost.test\r\n250-STARTTLS\r\n250 AUTH PLAIN\r\n";

fn smtp_inside() -> Vec<Turn> {
    vec![
        say("250-mx.gatepost.test\r\n250 AUTH PLAIN\r\n"),
        say("235 2.7.0 welcome\r\n"),
        say("221 bye\r\n"),
    ]
}

/// Attacks on SMTP.
pub fn smtp() -> Vec<Attack> {
    let greeting = || say("220 mx.gatepost.test ESMTP\r\n");
    let inside = smtp_inside();
    let upgrade = |reply: &str| vec![greeting(), say(SMTP_HELLO), say(reply)];
    let honest = then(upgrade("220 go\r\n"), &inside);
    let mut attacks = vec![attack("honest", honest.clone(), &[""])];
    // Buffering: words behind the reply.
    for injected in [
        "250-INJECTED\r\n250 AUTH PLAIN\r\n",
        "250 INJECTED\r\n",
        "220 INJECTED\r\n",
        "x",
        "\x16\x03\x01",
        "\r\n",
        "235 INJECTED\r\n250 INJECTED\r\n354 INJECTED\r\n",
    ] {
        let turns = then(upgrade(&format!("220 go\r\n{injected}")), &inside);
        let name = format!("buffering {}", injected.escape_debug());
        attacks.push(attack(name, turns, &["E-INJECT", "E-NOT-TLS"]));
    }
    // Hidden or refused.
    for (name, hello, end) in [
        (
            "hidden",
            "250-mx\r\n250 AUTH PLAIN\r\n",
            "E-STARTTLS-MISSING",
        ),
        (
            "masked",
            "250-mx\r\n250-XXXXXXXA\r\n250 AUTH PLAIN\r\n",
            "E-STARTTLS-MISSING",
        ),
        ("in the name", "250 STARTTLS\r\n", "E-STARTTLS-MISSING"),
        ("offered", SMTP_HELLO, "E-STARTTLS-REFUSED"),
    ] {
        for refusal in [
            "502 INJECTED",
            "454 4.7.0 INJECTED",
            "500 INJECTED",
            "421 INJECTED",
            "530 INJECTED",
        ] {
            let turns = vec![greeting(), say(hello), say(format!("{refusal}\r\n"))];
            attacks.push(attack(format!("{name}, {refusal}"), turns, &[end]));
        }
    }
    for reply in [
        "250 INJECTED",
        "221 INJECTED",
        "235 INJECTED",
        "354 INJECTED",
        "334 INJECTED",
        "222 x",
        "xyz",
        "220-a\r\n250 b",
        "2200 x",
        "220x",
    ] {
        let turns = then(upgrade(&format!("{reply}\r\n")), &inside);
        attacks.push(attack(
            format!("STARTTLS answered {reply:?}"),
            turns,
            &["E-PROTOCOL"],
        ));
    }
    // No EHLO, and no fall back to HELO.
    for refusal in [
        "500 INJECTED",
        "502 INJECTED",
        "421 INJECTED",
        "550 INJECTED",
        "450 INJECTED",
    ] {
        let turns = vec![
            greeting(),
            say(format!("{refusal}\r\n")),
            say("250 INJECTED\r\n"),
        ];
        attacks.push(attack(
            format!("no EHLO, {refusal}"),
            turns,
            &["E-HELLO-REFUSED"],
        ));
    }
    for (text, end) in [
        ("554 INJECTED\r\n", "E-GREETING-REFUSED"),
        ("421 INJECTED\r\n", "E-GREETING-REFUSED"),
        ("250 INJECTED\r\n", "E-PROTOCOL"),
        ("354 INJECTED\r\n", "E-PROTOCOL"),
        ("* OK INJECTED\r\n", "E-PROTOCOL"),
        ("+OK INJECTED\r\n", "E-PROTOCOL"),
        ("HTTP/1.1 400 INJECTED\r\n", "E-PROTOCOL"),
        ("220-a\r\n554 INJECTED\r\n", "E-PROTOCOL"),
        ("\x16\x03\x01\x00", "E-TLS-ON-CLEAR-PORT"),
    ] {
        attacks.push(attack(
            format!("greeting {text:?}"),
            vec![say(text)],
            &[end],
        ));
    }
    // Ahead of time: what is answered before it is asked.
    let ahead = format!("220 mx\r\n{SMTP_HELLO}220 go\r\n250 INJECTED\r\n");
    attacks.push(attack(
        "everything ahead",
        vec![say(ahead)],
        &["E-PROTOCOL", "E-INJECT", "E-NOT-TLS"],
    ));
    let ahead = vec![greeting(), say(format!("{SMTP_HELLO}220 go\r\n"))];
    attacks.push(attack(
        "go-ahead ahead",
        ahead,
        &["E-PROTOCOL", "E-NOT-TLS"],
    ));
    attacks.push(attack(
        "no TLS behind it",
        upgrade("220 go\r\n"),
        &["E-NOT-TLS"],
    ));
    // Inside TLS the server speaks, and may be bad as well; the credential is out then, but nothing is believed that is not so.
    let tls = |rest: Vec<Turn>| then(upgrade("220 go\r\n"), &rest);
    let refused = tls(vec![
        inside[0].clone(),
        say("535 5.7.8 no\r\n"),
        say("221 bye\r\n"),
    ]);
    attacks.push(Attack {
        ends: vec![],
        ..attack("login refused", refused, &[])
    });
    attacks.pop();
    attacks.push(attack(
        "EHLO refused inside",
        tls(vec![say("502 no\r\n")]),
        &["E-HELLO-REFUSED"],
    ));
    let lines = b"250-x\r\n".repeat(300);
    let long = [b"220 ".to_vec(), vec![b'x'; 20_000]].concat();
    attacks.extend(troubles("SMTP", &honest[..5], &[&lines, &long]));
    attacks
}

fn imap_inside() -> Vec<Turn> {
    vec![
        say("* CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN\r\n{tag} OK done\r\n"),
        say("{tag} OK [CAPABILITY IMAP4rev1] welcome\r\n"),
        say("* BYE\r\n{tag} OK bye\r\n"),
    ]
}

/// Attacks on IMAP.
pub fn imap() -> Vec<Attack> {
    let greeting = || say("* OK ready\r\n");
    let inside = imap_inside();
    let upgrade = |reply: &str| vec![greeting(), say(reply)];
    let honest = then(upgrade("{tag} OK go\r\n"), &inside);
    let mut attacks = vec![attack("honest", honest.clone(), &[""])];
    for injected in [
        "* CAPABILITY INJECTED AUTH=PLAIN\r\n",
        "* OK [CAPABILITY INJECTED] x\r\n",
        "* PREAUTH INJECTED\r\n",
        "{tag} OK INJECTED\r\n",
        "* 1 EXISTS\r\n* 1 FETCH (BODY[] {8}\r\nINJECTED)\r\n",
        "\x16",
        " ",
    ] {
        let turns = then(upgrade(&format!("{{tag}} OK go\r\n{injected}")), &inside);
        let name = format!("buffering {}", injected.escape_debug());
        attacks.push(attack(name, turns, &["E-INJECT", "E-NOT-TLS"]));
    }
    for greeting in [
        "* OK [CAPABILITY IMAP4 AUTH=PLAIN INJECTED] x\r\n",
        "* OK [CAPABILITY IMAP4rev1 STARTTLS INJECTED] x\r\n",
        "* OK ready\r\n",
    ] {
        for refusal in [
            "BAD INJECTED",
            "NO INJECTED",
            "NO [ALERT] INJECTED",
            "NO [REFERRAL imap://INJECTED/] x",
            "BAD [BADCHARSET (INJECTED)] x",
        ] {
            let turns = vec![say(greeting), say(format!("{{tag}} {refusal}\r\n"))];
            attacks.push(attack(
                format!("{greeting:?}, {refusal}"),
                turns,
                &["E-STARTTLS-REFUSED"],
            ));
        }
    }
    for (reply, end) in [
        ("+ INJECTED\r\n", "E-PROTOCOL"),
        ("+\r\n", "E-PROTOCOL"),
        ("* BYE INJECTED\r\n", "E-SERVER-CLOSING"),
        ("* PREAUTH INJECTED\r\n", "E-PROTOCOL"),
        ("A1 OK INJECTED\r\n", "E-PROTOCOL"),
        ("{tag}x OK INJECTED\r\n", "E-PROTOCOL"),
        ("{tag} PREAUTH INJECTED\r\n", "E-PROTOCOL"),
        ("{tag} BYE INJECTED\r\n", "E-PROTOCOL"),
        ("{tag}\r\n", "E-PROTOCOL"),
        ("{tag} OKAY INJECTED\r\n", "E-PROTOCOL"),
        ("OK INJECTED\r\n", "E-PROTOCOL"),
        ("* X \"INJECTED\r\n", "E-PROTOCOL"),
    ] {
        attacks.push(attack(
            format!("STARTTLS answered {reply:?}"),
            then(upgrade(reply), &inside),
            &[end],
        ));
    }
    for text in [
        "* PREAUTH INJECTED",
        "* PREAUTH [CAPABILITY IMAP4rev1 STARTTLS INJECTED] x",
        "* PREAUTH [ALERT] INJECTED",
        "* preauth INJECTED",
        "* PREAUTH",
        "* PREAUTH [REFERRAL imap://INJECTED/] x",
    ] {
        attacks.push(attack(
            text,
            vec![say(format!("{text}\r\n"))],
            &["E-PREAUTH"],
        ));
    }
    for (text, end) in [
        ("* BYE INJECTED", "E-GREETING-REFUSED"),
        ("* BYE [REFERRAL imap://INJECTED/] x", "E-GREETING-REFUSED"),
        ("* NO INJECTED", "E-PROTOCOL"),
        ("* BAD [BADCHARSET (INJECTED)] x", "E-PROTOCOL"),
        ("A1 OK INJECTED", "E-PROTOCOL"),
        ("+ INJECTED", "E-PROTOCOL"),
        ("220 INJECTED", "E-PROTOCOL"),
        ("* 1 EXISTS", "E-PROTOCOL"),
        ("* CAPABILITY INJECTED", "E-PROTOCOL"),
        ("\x16\x03\x01", "E-TLS-ON-CLEAR-PORT"),
    ] {
        attacks.push(attack(
            format!("greeting {text:?}"),
            vec![say(format!("{text}\r\n"))],
            &[end],
        ));
    }
    attacks.extend(imap_untagged(&inside));
    attacks.extend(imap_texts(&inside));
    attacks.push(attack(
        "no TLS behind it",
        upgrade("{tag} OK go\r\n"),
        &["E-NOT-TLS"],
    ));
    let early = "* OK ready\r\nA1 OK INJECTED\r\n001 OK INJECTED\r\na OK INJECTED\r\n";
    attacks.push(attack(
        "early tagged reply",
        vec![say(early)],
        &["E-PROTOCOL"],
    ));
    let lines = b"* OK x\r\n".repeat(10_000);
    let long = [b"* OK ".to_vec(), vec![b'x'; 70_000]].concat();
    let literal = [b"* OK {60000}\r\n".to_vec(), vec![b'x'; 60_000]].concat();
    // Inside TLS status lines without end are no attack that a budget could tell from a slow server.
    attacks.extend(troubles("IMAP", &honest[..2], &[&lines, &long, &literal]));
    attacks.extend(troubles("IMAP inside", &honest[..5], &[&long, &literal]));
    attacks
}

/// Untagged data after the greeting and before the reply to STARTTLS.
fn imap_untagged(inside: &[Turn]) -> Vec<Attack> {
    let kinds = [
        "* FLAGS (INJECTED)",
        "* 1 EXISTS",
        "* 1 RECENT",
        "* 1 EXPUNGE",
        "* 1 FETCH (FLAGS (INJECTED) BODY[] {8}\r\nINJECTED)",
        "* LIST () \"/\" INJECTED",
        "* LSUB () \"/\" INJECTED",
        "* SEARCH 1 2",
        "* STATUS INJECTED (MESSAGES 1)",
        "* CAPABILITY IMAP4rev1 LOGINDISABLED INJECTED",
        "* OK [ALERT] INJECTED",
        "* NO INJECTED",
        "* BAD INJECTED",
        "* NAMESPACE ((\"INJECTED\" \"/\")) NIL NIL",
        "* ID (\"name\" \"INJECTED\")",
        "* ENABLED INJECTED",
        "* VANISHED 1:5",
        "* OK [REFERRAL imap://INJECTED/] x",
        "* OK [CAPABILITY INJECTED] x",
    ];
    let mut attacks = Vec::new();
    for kind in kinds {
        let turns = vec![
            say(format!("* OK ready\r\n{kind}\r\n")),
            say("{tag} OK go\r\n"),
        ];
        let name = format!("after the greeting {kind}");
        attacks.push(attack(name, then(turns, inside), &["E-PROTOCOL", ""]));
        let turns = vec![
            say("* OK ready\r\n"),
            say(format!("{kind}\r\n{{tag}} OK go\r\n")),
        ];
        attacks.push(attack(
            format!("before STARTTLS {kind}"),
            then(turns, inside),
            &[""],
        ));
    }
    attacks
}

/// Texts for people, and referrals, in the greeting and in the reply to STARTTLS.
fn imap_texts(inside: &[Turn]) -> Vec<Attack> {
    let mut attacks = Vec::new();
    for code in [
        "ALERT",
        "PARSE",
        "BADCHARSET (INJECTED)",
        "REFERRAL imap://INJECTED/",
        "TRYCREATE",
        "CAPABILITY IMAP4rev1 INJECTED",
        "X-INJECTED y",
    ] {
        let turns = vec![
            say(format!("* OK [{code}] INJECTED\r\n")),
            say("{tag} OK go\r\n"),
        ];
        attacks.push(attack(
            format!("greeting [{code}]"),
            then(turns, inside),
            &[""],
        ));
        let turns = vec![
            say("* OK ready\r\n"),
            say(format!("{{tag}} OK [{code}] INJECTED\r\n")),
        ];
        attacks.push(attack(
            format!("go-ahead [{code}]"),
            then(turns, inside),
            &[""],
        ));
    }
    attacks
}

fn pop3_inside() -> Vec<Turn> {
    vec![
        say("+OK\r\nSASL PLAIN\r\nUSER\r\n.\r\n"),
        say("+OK welcome\r\n"),
        say("+OK bye\r\n"),
    ]
}

/// Attacks on POP3.
pub fn pop3() -> Vec<Attack> {
    let greeting = || say("+OK ready <1896.697170952@INJECTED>\r\n");
    let inside = pop3_inside();
    let upgrade = |reply: &str| vec![greeting(), say(reply)];
    let honest = then(upgrade("+OK go\r\n"), &inside);
    let mut attacks = vec![attack("honest", honest.clone(), &[""])];
    for injected in [
        "+OK INJECTED\r\nUSER\r\n.\r\n",
        "-ERR INJECTED\r\n",
        "\x16",
        "+OK INJECTED\r\n+OK INJECTED\r\n",
        "\n",
    ] {
        let turns = then(upgrade(&format!("+OK go\r\n{injected}")), &inside);
        let name = format!("buffering {}", injected.escape_debug());
        attacks.push(attack(name, turns, &["E-INJECT", "E-NOT-TLS"]));
    }
    for (reply, end) in [
        ("-ERR INJECTED\r\n", "E-STARTTLS-REFUSED"),
        ("-ERR [SYS/TEMP] INJECTED\r\n", "E-STARTTLS-REFUSED"),
        ("-ERR\r\n", "E-STARTTLS-REFUSED"),
        ("+ INJECTED\r\n", "E-PROTOCOL"),
        ("+OKAY INJECTED\r\n", "E-PROTOCOL"),
        ("+ok INJECTED\r\n", "E-PROTOCOL"),
        ("OK INJECTED\r\n", "E-PROTOCOL"),
        ("220 INJECTED\r\n", "E-PROTOCOL"),
        ("* OK INJECTED\r\n", "E-PROTOCOL"),
        ("\r\n", "E-PROTOCOL"),
    ] {
        attacks.push(attack(
            format!("STLS answered {reply:?}"),
            then(upgrade(reply), &inside),
            &[end],
        ));
    }
    for (text, end) in [
        ("-ERR INJECTED\r\n", "E-GREETING-REFUSED"),
        ("-ERR [SYS/TEMP] INJECTED\r\n", "E-GREETING-REFUSED"),
        ("* PREAUTH INJECTED\r\n", "E-PROTOCOL"),
        ("220 INJECTED\r\n", "E-PROTOCOL"),
        ("+ok INJECTED\r\n", "E-PROTOCOL"),
        ("\x16\x03\x01", "E-TLS-ON-CLEAR-PORT"),
    ] {
        attacks.push(attack(
            format!("greeting {text:?}"),
            vec![say(text)],
            &[end],
        ));
    }
    let ahead = "+OK ready\r\n+OK go\r\n+OK INJECTED\r\nUSER\r\n.\r\n";
    attacks.push(attack(
        "everything ahead",
        vec![say(ahead)],
        &["E-PROTOCOL", "E-INJECT", "E-NOT-TLS"],
    ));
    attacks.push(attack(
        "no TLS behind it",
        upgrade("+OK go\r\n"),
        &["E-NOT-TLS"],
    ));
    let long = [b"+OK ".to_vec(), vec![b'x'; 20_000]].concat();
    attacks.extend(troubles("POP3", &honest[..5], &[&long]));
    let lines = [b"+OK\r\n".to_vec(), b"SASL PLAIN\r\n".repeat(2000)].concat();
    let turns = then(upgrade("+OK go\r\n"), &[say(lines)]);
    attacks.push(attack("capabilities without end", turns, &["E-TOO-MUCH"]));
    attacks
}

fn sieve_inside() -> Vec<Turn> {
    vec![
        say("\"IMPLEMENTATION\" \"x\"\r\n\"SASL\" \"PLAIN\"\r\nOK\r\n"),
        say("OK \"welcome\"\r\n"),
        say("OK \"bye\"\r\n"),
    ]
}

/// Attacks on ManageSieve.
pub fn sieve() -> Vec<Attack> {
    let listed = "\"IMPLEMENTATION\" \"INJECTED\"\r\n\"STARTTLS\"\r\n\"SASL\" \"PLAIN\"\r\nOK\r\n";
    let hidden = "\"IMPLEMENTATION\" \"INJECTED\"\r\n\"SASL\" \"PLAIN\"\r\nOK\r\n";
    let inside = sieve_inside();
    let upgrade = |reply: &str| vec![say(listed), say(reply)];
    let honest = then(upgrade("OK \"go\"\r\n"), &inside);
    let mut attacks = vec![attack("honest", honest.clone(), &[""])];
    for injected in [
        "\"SASL\" \"INJECTED\"\r\nOK\r\n",
        "OK \"INJECTED\"\r\n",
        "\x16",
        "NO \"INJECTED\"\r\n",
    ] {
        let turns = then(upgrade(&format!("OK \"go\"\r\n{injected}")), &inside);
        let name = format!("buffering {}", injected.escape_debug());
        attacks.push(attack(name, turns, &["E-INJECT", "E-NOT-TLS"]));
    }
    for reply in ["NO \"INJECTED\"", "NO (TRYLATER) \"INJECTED\"", "NO"] {
        let turns = vec![say(listed), say(format!("{reply}\r\n"))];
        attacks.push(attack(
            format!("refused {reply}"),
            turns,
            &["E-STARTTLS-REFUSED"],
        ));
        let turns = vec![say(hidden), say(format!("{reply}\r\n"))];
        attacks.push(attack(
            format!("hidden, {reply}"),
            turns,
            &["E-STARTTLS-MISSING"],
        ));
    }
    for (reply, end) in [
        ("BYE \"INJECTED\"\r\n", "E-SERVER-CLOSING"),
        (
            "BYE (REFERRAL \"sieve://INJECTED\") \"x\"\r\n",
            "E-SERVER-CLOSING",
        ),
        ("\"INJECTED\"\r\n", "E-PROTOCOL"),
        ("220 INJECTED\r\n", "E-PROTOCOL"),
        ("(\r\n", "E-PROTOCOL"),
    ] {
        attacks.push(attack(
            format!("STARTTLS answered {reply:?}"),
            then(upgrade(reply), &inside),
            &[end],
        ));
    }
    for (text, end) in [
        ("NO \"INJECTED\"\r\n", "E-GREETING-REFUSED"),
        (
            "BYE (REFERRAL \"sieve://INJECTED\") \"x\"\r\n",
            "E-GREETING-REFUSED",
        ),
        ("(\"INJECTED\")\r\nOK\r\n", "E-PROTOCOL"),
        ("\x16\x03\x01", "E-TLS-ON-CLEAR-PORT"),
    ] {
        attacks.push(attack(
            format!("greeting {text:?}"),
            vec![say(text)],
            &[end],
        ));
    }
    let ahead = format!("{listed}OK \"go\"\r\nOK \"INJECTED\"\r\n");
    attacks.push(attack(
        "everything ahead",
        vec![say(ahead)],
        &["E-PROTOCOL", "E-INJECT", "E-NOT-TLS"],
    ));
    attacks.push(attack(
        "no TLS behind it",
        upgrade("OK\r\n"),
        &["E-NOT-TLS"],
    ));
    let long = [b"OK \"".to_vec(), vec![b'x'; 70_000]].concat();
    let literal = b"OK {60000}\r\n".to_vec();
    attacks.extend(troubles("ManageSieve", &honest[..5], &[&long, &literal]));
    attacks
}
