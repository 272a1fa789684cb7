use clap::Command;

use super::super::flags::{self, Topic};
use super::*;

fn read(words: &str) -> Result<Settings, Failure> {
    let command = flags::add(Command::new("test").no_binary_name(true), &Topic::ALL);
    let given = command.try_get_matches_from(words.split_whitespace());
    Settings::read(&given.unwrap_or_else(|error| panic!("{words}: {error}")))
}

fn doors(words: &str, url: &str) -> Option<Vec<(u16, Tls)>> {
    let doors = read(words).unwrap().doors(&Url::parse(url).unwrap());
    doors
        .ok()
        .map(|doors| doors.iter().map(|door| (door.port, door.tls)).collect())
}

#[test]
fn auto_is_implicit_first_then_starttls_and_never_clear() {
    use Tls::{Implicit, Off, Opportunistic, StartTls};
    // [MUA-01] [CONF-11] [IMAP-TLS-13]
    let table = [
        (
            "",
            "submission://h.test",
            vec![(465, Implicit), (587, StartTls)],
        ),
        ("", "imap://h.test", vec![(993, Implicit), (143, StartTls)]),
        ("", "pop3://h.test", vec![(995, Implicit), (110, StartTls)]),
        ("", "smtp://h.test", vec![(25, StartTls)]),
        ("", "lmtp://h.test", vec![(24, StartTls)]),
        ("", "sieve://h.test", vec![(4190, StartTls)]),
        ("", "imaps://h.test:10993", vec![(10993, Implicit)]),
        ("--tls auto", "imap://h.test:10143", vec![(10143, StartTls)]),
        ("", "smtp://h.test:465", vec![(465, Implicit)]),
        ("--tls implicit", "imap://h.test", vec![(993, Implicit)]),
        (
            "--tls implicit",
            "smtp://h.test:2465",
            vec![(2465, Implicit)],
        ),
        ("--tls starttls", "imap://h.test", vec![(143, StartTls)]),
        ("--tls starttls", "smtp://h.test:465", vec![(465, StartTls)]),
        (
            "--tls opportunistic",
            "smtp://h.test",
            vec![(25, Opportunistic)],
        ),
        ("--tls off", "pop3://h.test", vec![(110, Off)]),
    ];
    for (words, url, expected) in table {
        assert_eq!(doors(words, url), Some(expected), "{words} {url}");
    }
    assert_eq!(doors("--tls starttls", "imaps://h.test"), None);
    assert_eq!(doors("--tls off", "submissions://h.test"), None);
    assert_eq!(doors("--tls implicit", "smtp://h.test"), None);
}

#[test]
fn contradictions_say_what_to_write() {
    let table = [
        ("--tls off --ca x", "leave one of them out"),
        ("--tls off --verify ca", "leave one of them out"),
        ("--no-system-ca", "--ca FILE"),
        ("--verify none --pin sha256-spki:P", "--verify pin"),
        ("--verify sts", "--domain"),
        ("--verify ca+none", "none alone"),
        ("--verify ca+dane,pin", "not both"),
        ("--verify ca+ca", "twice"),
        ("--crl x --revocation off", "leave out --revocation off"),
        ("--client-key x", "give both"),
        ("--mechanism external", "--client-cert"),
        ("--tls ssl", "starttls"),
        ("--tls-min 1.1", "1.2 or 1.3"),
        ("--mechanism cram-md5", "SCRAM-SHA-256-PLUS"),
        ("--danger-clear-login", "--tls off"),
        ("--danger-unverified-login", "--verify none"),
        ("--trust-exception sha256-spki:P", "sha256-cert:"),
        ("--pin abc", "64 hexadecimal digits"),
        ("--resolve h.test:25", "HOST:PORT:ADDRESS"),
        ("--timeout 0", "whole seconds"),
        ("--password-file a --token-file b", "one of them"),
    ];
    let hash = "0".repeat(64);
    for (words, hint) in table {
        let words = words.replace(":P", &format!(":{hash}"));
        match read(&words) {
            Err(failure) => assert!(failure.to_string().contains(hint), "{words}: {failure}"),
            Ok(_) => panic!("{words} was taken"),
        }
    }
}

#[test]
fn combinations_of_ways() {
    let ways = |words: &str| read(words).unwrap().verify;
    assert_eq!(ways("").ways, [Way::Ca]);
    assert!(ways("--verify none").is_none());
    let both = ways("--verify ca+dane");
    assert!(both.all && both.ways == [Way::Ca, Way::Dane]);
    let either = ways("--verify dane,ca");
    assert!(!either.all && either.ways == [Way::Dane, Way::Ca]);
}

#[test]
fn values_of_all_kinds() {
    let settings = read(
        "--resolve mail.test:993:[::1] --resolve [::1]:25:127.0.0.1 --socks5 [::1]:9050 --dns ::1 --source 127.0.0.2 --timeout 5 \
         --proxy-header v2 --mechanism scram-sha-256",
    )
    .unwrap();
    assert_eq!(settings.resolve[0].address.to_string(), "::1");
    assert_eq!(settings.resolve[1].host, "::1");
    assert_eq!(settings.socks5.unwrap().1, 9050);
    assert_eq!(settings.dns.unwrap().to_string(), "[::1]:53");
    assert_eq!(
        read("--dns 127.0.0.1:5353").unwrap().dns.unwrap().port(),
        5353
    );
    assert_eq!(settings.mechanism.as_deref(), Some("SCRAM-SHA-256"));
}

#[test]
fn passwords_do_not_go_where_nobody_vouches() {
    // [MUA-05] [MUA-04]
    let table = [
        ("--user a --tls off", "imap://mail.test", false),
        ("--user a --tls off", "imap://127.0.0.1", true),
        ("--user a --tls off", "imap://localhost", true),
        ("--tls off", "imap://a@mail.test", false),
        (
            "--user a --tls off --danger-clear-login",
            "imap://mail.test",
            true,
        ),
        ("--user a --verify none", "imap://mail.test", false),
        (
            "--user a --verify none --danger-unverified-login",
            "imap://mail.test",
            true,
        ),
        ("--verify none", "imap://mail.test", true),
        ("--user a", "imap://mail.test", true),
    ];
    for (words, url, allowed) in table {
        let url = Url::parse(url).unwrap();
        let outcome = read(words).unwrap().refuse_hopeless_login(&url);
        assert_eq!(outcome.is_ok(), allowed, "{words} {}", url.host);
    }
}
