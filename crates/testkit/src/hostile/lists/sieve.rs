//! Attacks on `ManageSieve`.

use super::super::{Attack, Turn};
use super::{attack, say, then, troubles};

fn sieve_inside() -> Vec<Turn> {
    vec![
        say("\"IMPLEMENTATION\" \"x\"\r\n\"SASL\" \"PLAIN\"\r\nOK\r\n"),
        say("OK \"welcome\"\r\n"),
        say("OK \"bye\"\r\n"),
    ]
}

/// Attacks on `ManageSieve`.
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
