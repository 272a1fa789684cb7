//! Attacks on SMTP.

use super::super::{Attack, Turn};
use super::{attack, say, then, troubles};

const SMTP_HELLO: &str = "250-mx.gatepost.test\r\n250-STARTTLS\r\n250 AUTH PLAIN\r\n";

fn smtp_inside() -> Vec<Turn> {
    vec![
        say("250-mx.gatepost.test\r\n250 AUTH PLAIN\r\n"),
        say("235 2.7.0 welcome\r\n"),
        say("221 bye\r\n"),
    ]
}

fn greeting() -> Turn {
    say("220 mx.gatepost.test ESMTP\r\n")
}

fn upgrade(reply: &str) -> Vec<Turn> {
    vec![greeting(), say(SMTP_HELLO), say(reply)]
}

/// Attacks on SMTP.
pub fn smtp() -> Vec<Attack> {
    let inside = smtp_inside();
    let honest = then(upgrade("220 go\r\n"), &inside);
    let mut attacks = vec![attack("honest", honest.clone(), &[""])];
    attacks.extend(buffering(&inside));
    attacks.extend(refusals(&inside));
    attacks.extend(greetings());
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

fn buffering(inside: &[Turn]) -> Vec<Attack> {
    let mut attacks = Vec::new();
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
        let turns = then(upgrade(&format!("220 go\r\n{injected}")), inside);
        let name = format!("buffering {}", injected.escape_debug());
        attacks.push(attack(name, turns, &["E-INJECT", "E-NOT-TLS"]));
    }
    attacks
}

fn refusals(inside: &[Turn]) -> Vec<Attack> {
    let mut attacks = Vec::new();
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
        let turns = then(upgrade(&format!("{reply}\r\n")), inside);
        attacks.push(attack(
            format!("STARTTLS answered {reply:?}"),
            turns,
            &["E-PROTOCOL"],
        ));
    }
    attacks
}

fn greetings() -> Vec<Attack> {
    let mut attacks = Vec::new();
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
        ("* OK INJECTED\r\n", "E-OTHER-PROTOCOL"),
        ("+OK INJECTED\r\n", "E-OTHER-PROTOCOL"),
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
    attacks
}
