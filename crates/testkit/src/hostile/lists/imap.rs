//! Attacks on IMAP.

use super::super::{Attack, Turn};
use super::{attack, say, then, troubles};

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
    for text in ["go {20}", "[ALERT {20}", "{20}", "go {99999999}"] {
        let injected = "* INJECTED abcdefgh\r\n";
        let turns = then(
            upgrade(&format!("{{tag}} OK {text}\r\n{injected}")),
            &inside,
        );
        let ends = ["E-INJECT", "E-NOT-TLS", "E-PROTOCOL"];
        attacks.push(attack(
            format!("a literal that is none: {text}"),
            turns,
            &ends,
        ));
    }
    attacks.extend(greetings());
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
    let literal = [b"* X {60000}\r\n".to_vec(), vec![b'x'; 60_000]].concat();
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
            say("* OK ready {5}\r\n"),
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

fn greetings() -> Vec<Attack> {
    let mut attacks = Vec::new();
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
        ("220 INJECTED", "E-OTHER-PROTOCOL"),
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
    attacks
}
