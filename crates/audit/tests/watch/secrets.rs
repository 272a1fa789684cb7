//! No secret leaves the parser: planted in every position of every mechanism, found in nothing that is told.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use gatepost_audit::watch::Watcher;
use gatepost_audit::watch::certificates::Judge;
use gatepost_audit::watch::privacy::Privacy;
use gatepost_audit::watch::summary::Summary;

use super::support::{connection, watch_file};

const SECRET: &str = "Zq7hunter2horseK9";
const NAME: &str = "annabelle-the-user";

fn base64(text: &str) -> String {
    STANDARD.encode(text)
}

/// Dialogues with the secret in every place it can stand.
fn dialogues() -> Vec<(u16, String)> {
    let plain = base64(&format!("\0{NAME}\0{SECRET}"));
    let odd = base64(SECRET);
    let (name, secret) = (base64(NAME), base64(SECRET));
    let token = base64(&format!("user={NAME}\x01auth=Bearer {SECRET}\x01\x01"));
    let bearer = base64(&format!("n,a={NAME},\x01auth=Bearer {SECRET}\x01\x01"));
    let responses = [
        format!("PLAIN {plain}"),
        format!("PLAIN {odd}"),
        format!("PLAIN {SECRET}"),
        format!("XOAUTH2 {token}"),
        format!("OAUTHBEARER {bearer}"),
        format!("LOGIN {secret}"),
        format!("{SECRET} {SECRET}"),
        format!("X-OWN {secret}"),
    ];
    let mut all = Vec::new();
    for response in &responses {
        for reply in ["235 ok", "535 no"] {
            all.push((
                587,
                format!("S: 220 m\nC: EHLO c\nS: 250 m\nC: AUTH {response}\nS: {reply}\nC: QUIT"),
            ));
        }
        all.push((110, format!("S: +OK\nC: AUTH {response}\nS: -ERR {SECRET}")));
        all.push((
            143,
            format!("S: * OK\nC: a AUTHENTICATE {response}\nS: a NO {SECRET}"),
        ));
        let (mechanism, initial) = response.split_once(' ').unwrap();
        all.push((587, format!("S: 220 m\nC: EHLO c\nS: 250 m\nC: AUTH {mechanism}\nS: 334\nC: {initial}\nS: 535 no")));
        all.push((
            110,
            format!("S: +OK\nC: AUTH {mechanism}\nS: +\nC: {initial}\nS: +OK"),
        ));
        all.push((
            143,
            format!("S: * OK\nC: a AUTHENTICATE {mechanism}\nS: +\nC: {initial}\nS: a OK"),
        ));
    }
    all.push((587, format!("S: 220 m\nC: EHLO c\nS: 250 m\nC: AUTH LOGIN\nS: 334 x\nC: {name}\nS: 334 y\nC: {secret}\nS: 235")));
    all.push((587, format!("S: 220 m\nC: EHLO {SECRET}\nS: 250 {SECRET}\nC: {SECRET}\nS: 500 {SECRET}\nC: AUTH {SECRET}")));
    all.push((587, format!("S: 220 {SECRET}\nC: EHLO c\nS: 250 m\nC: MAIL FROM:<{SECRET}@{SECRET}>\nS: 250\nC: DATA\nS: 354\nC: {SECRET}\n+ .\nS: 250")));
    all.push((25, format!("S: 220 m\nC: EHLO c\nS: 250 STARTTLS\nC: STARTTLS\n+ AUTH PLAIN {plain}\nS: 220 go\n+ 250 {SECRET}")));
    all.push((
        110,
        format!("S: +OK <{SECRET}@x>\nC: USER {NAME}\nS: +OK\nC: PASS {SECRET}\nS: +OK {SECRET}"),
    ));
    all.push((
        110,
        format!("S: +OK\nC: PASS {SECRET}\nS: -ERR\nC: APOP {NAME} {SECRET}\nS: -ERR"),
    ));
    all.push((
        110,
        format!("S: +OK\nC: STLS\n+ PASS {SECRET}\nS: +OK\n+ {SECRET}"),
    ));
    for login in [
        format!("{NAME} {SECRET}"),
        format!("\"{NAME}\" \"{SECRET}\""),
        format!("{NAME} {{{}}}\nS: + go\nC: {SECRET}", SECRET.len()),
        format!(
            "{{{}+}}\n+ {NAME} {{{}+}}\n+ {SECRET}",
            NAME.len(),
            SECRET.len()
        ),
        format!("{NAME} \"{SECRET}"),
    ] {
        all.push((
            143,
            format!("S: * OK\nC: a LOGIN {login}\nS: a OK {SECRET}"),
        ));
        all.push((143, format!("S: * OK\nC: a LOGIN {login}")));
    }
    all.push((
        143,
        format!("S: * OK [{SECRET}]\nC: {SECRET} {SECRET} {SECRET}\nS: {SECRET} BAD {SECRET}"),
    ));
    all.push((25, format!("C: {SECRET} / HTTP/1.1\n+\nS: {SECRET}")));
    all.push((1080, format!("C: CONNECT {SECRET}:25 HTTP/1.1\n+ Proxy-Authorization: Basic {plain}\n+\nS: HTTP/1.1 200\n+\nS: 220 m")));
    all
}

/// Forms in which it could be found.
fn forms(secret: &str) -> Vec<String> {
    let reversed: String = secret.chars().rev().collect();
    let mut forms = vec![secret.to_owned(), reversed];
    // In Base64 at each of the three places it can have in a group.
    for before in ["", "x", "xy"] {
        let text = STANDARD.encode(format!("{before}{secret}"));
        let inner = &text[4..text.len() - 4];
        forms.push(inner.to_owned());
        forms.push(inner.chars().rev().collect());
    }
    let hexadecimal = secret.bytes().fold(String::new(), |mut text, it| {
        let _ = write!(text, "{it:02x}");
        text
    });
    forms.push(hexadecimal);
    forms
}

fn told(port: u16, dialogue: &str, reveal: bool) -> String {
    let watcher = Watcher::new(Privacy::new([9; 32], reveal), Judge::new(None));
    let told = watch_file(&connection(port, dialogue).to_pcap(), watcher);
    let mut summary = Summary::default();
    told.findings.iter().for_each(|it| summary.add_finding(it));
    told.sessions.iter().for_each(|it| summary.add_session(it));
    let counters = gatepost_audit::watch::Counters::default();
    format!(
        "{}\n{}\n{}\n{:?}",
        told.printed(),
        summary.as_json(&counters),
        summary.text(&counters),
        told
    )
}

#[test]
fn no_secret_is_told() {
    for (port, dialogue) in dialogues() {
        let text = told(port, &dialogue, false).to_ascii_lowercase();
        for form in forms(SECRET).iter().chain(&forms(NAME)) {
            assert!(
                !text.contains(&form.to_ascii_lowercase()),
                "{form} of\n{dialogue}\nin\n{text}"
            );
        }
    }
}

#[test]
fn names_are_told_where_asked_for_and_passwords_never() {
    let mut named = 0;
    for (port, dialogue) in dialogues() {
        let text = told(port, &dialogue, true);
        named += usize::from(text.contains(NAME));
        let is_name = dialogue.contains("LOGIN\n") && !dialogue.contains(&base64(NAME))
            || dialogue.contains(&format!("LOGIN {}", base64(SECRET)));
        for form in forms(SECRET) {
            // A password given where the name belongs is a name to whoever looks.
            assert!(
                is_name || !text.contains(&form),
                "{form} of\n{dialogue}\nin\n{text}"
            );
        }
    }
    assert!(named > 10, "{named}");
}
