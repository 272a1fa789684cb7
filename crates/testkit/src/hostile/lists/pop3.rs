//! Attacks on POP3.

use super::super::{Attack, Turn};
use super::{attack, say, then, troubles};

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
        ("* PREAUTH INJECTED\r\n", "E-OTHER-PROTOCOL"),
        ("220 INJECTED\r\n", "E-OTHER-PROTOCOL"),
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
