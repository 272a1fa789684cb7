//! A password and a name, planted wherever a mail session or a log can hold one, and the forms in which they could come out again.
//!
//! Whoever reads such a session may tell that there was a password; what it tells must hold none of [`forms`].

use std::fmt::Write as _;

use gatepost_wire::sasl::encode_base64;

/// The password, also used as token and as challenge.
pub const SECRET: &str = "Zq7hunter2horseK9";
/// Whose it is.
pub const NAME: &str = "annabelle-the-user";

/// A session with the secret in it, as [`crate::capture::Capture::play`] takes it.
#[derive(Debug, Clone)]
pub struct Dialogue {
    /// The server's port.
    pub port: u16,
    /// What is said.
    pub text: String,
    /// The secret stands where a name belongs: to whoever listens it is one.
    pub is_name: bool,
}

fn base64(text: &str) -> String {
    encode_base64(text.as_bytes())
}

/// Logins of all mechanisms, in one line: what follows `AUTH` or `AUTHENTICATE`.
fn logins() -> Vec<String> {
    let (name, secret) = (NAME, SECRET);
    let encoded = [
        ("PLAIN", format!("\0{name}\0{secret}")),
        ("PLAIN", format!("{name}\0{name}\0{secret}")),
        ("PLAIN", secret.to_owned()),
        (
            "XOAUTH2",
            format!("user={name}\x01auth=Bearer {secret}\x01\x01"),
        ),
        (
            "OAUTHBEARER",
            format!("n,a={name},\x01auth=Bearer {secret}\x01\x01"),
        ),
        ("LOGIN", secret.to_owned()),
        ("CRAM-MD5", format!("{name} {secret}")),
        (
            "DIGEST-MD5",
            format!("username=\"{name}\",nonce=\"{secret}\",response={secret}"),
        ),
        ("NTLM", format!("NTLMSSP\0\x03\0\0\0{secret}")),
        ("SCRAM-SHA-256", format!("n,,n={name},r={secret}")),
        ("EXTERNAL", format!("{name}\0{secret}")),
        ("X-OWN", secret.to_owned()),
    ];
    let encoded = encoded.map(|(mechanism, text)| format!("{mechanism} {}", base64(&text)));
    let raw = [format!("PLAIN {secret}"), format!("{secret} {secret}")];
    encoded.into_iter().chain(raw).collect()
}

/// Sessions with the secret in every place it can stand.
pub fn dialogues() -> Vec<Dialogue> {
    let mut all = Vec::new();
    for login in logins() {
        all.extend(with_sasl(&login));
    }
    all.extend(in_smtp());
    all.extend(in_pop3());
    all.extend(in_imap());
    all.extend(in_sieve());
    all.extend(elsewhere());
    let is_name = |text: &str| {
        (text.contains("LOGIN\n") || text.contains("LOGIN\"\n")) && !text.contains(&base64(NAME))
            || text.contains(&format!("LOGIN {}", base64(SECRET)))
            || text.contains(&format!("\"LOGIN\" \"{}", base64(SECRET)))
            || text.contains("\"LOGIN\" {")
    };
    all.into_iter()
        .map(|(port, text)| Dialogue {
            port,
            is_name: is_name(&text),
            text,
        })
        .collect()
}

type Said = (u16, String);

fn with_sasl(login: &str) -> Vec<Said> {
    let (mechanism, initial) = login.split_once(' ').unwrap_or((login, ""));
    let ehlo = "S: 220 m\nC: EHLO c\nS: 250 m";
    vec![
        (587, format!("{ehlo}\nC: AUTH {login}\nS: 235 ok\nC: QUIT")),
        (587, format!("{ehlo}\nC: AUTH {login}\nS: 535 no\nC: QUIT")),
        (
            587,
            format!("{ehlo}\nC: AUTH {mechanism}\nS: 334\nC: {initial}\nS: 535 no"),
        ),
        (110, format!("S: +OK\nC: AUTH {login}\nS: -ERR {SECRET}")),
        (
            110,
            format!("S: +OK\nC: AUTH {mechanism}\nS: +\nC: {initial}\nS: +OK"),
        ),
        (
            143,
            format!("S: * OK\nC: a AUTHENTICATE {login}\nS: a NO {SECRET}"),
        ),
        (
            143,
            format!("S: * OK\nC: a AUTHENTICATE {mechanism}\nS: +\nC: {initial}\nS: a OK"),
        ),
        (
            4190,
            format!("{SIEVE}\nC: AUTHENTICATE \"{mechanism}\" \"{initial}\"\nS: NO \"{SECRET}\""),
        ),
        (
            4190,
            format!(
                "{SIEVE}\nC: AUTHENTICATE \"{mechanism}\" {{{}+}}\n+ {initial}\nS: OK \"{SECRET}\"",
                initial.len()
            ),
        ),
        (
            4190,
            format!(
                "{SIEVE}\nC: AUTHENTICATE \"{mechanism}\"\nS: \"\"\nC: \"{initial}\"\nS: OK (SASL \"{SECRET}\")"
            ),
        ),
        (
            4190,
            format!(
                "{SIEVE}\nC: AUTHENTICATE \"{mechanism}\"\nS: {{0}}\n+\nC: {{{}+}}\n+ {initial}\nS: BYE",
                initial.len()
            ),
        ),
        // What no server takes leaks all the same.
        (
            4190,
            format!("{SIEVE}\nC: AUTHENTICATE {mechanism} {initial}\nS: NO\nC: {initial}\nS: NO"),
        ),
    ]
}

const SIEVE: &str = "S: \"IMPLEMENTATION\" \"x\"\n+ \"SASL\" \"PLAIN\"\n+ OK";

fn in_sieve() -> Vec<Said> {
    let (name, secret) = (base64(NAME), base64(SECRET));
    let length = SECRET.len();
    vec![
        (
            4190,
            format!(
                "{SIEVE}\nC: AUTHENTICATE \"LOGIN\"\nS: \"\"\nC: \"{name}\"\nS: \"\"\nC: \"{secret}\"\nS: OK"
            ),
        ),
        (
            4190,
            format!(
                "{SIEVE}\nC: PUTSCRIPT \"{SECRET}\" {{{length}+}}\n+ {SECRET}\nS: NO \"{SECRET}\"\nC: GETSCRIPT \"{SECRET}\"\nS: {{{length}}}\n+ {SECRET}\n+ OK\nC: {SECRET}\nS: BYE (REFERRAL \"sieve://{SECRET}\") \"{SECRET}\""
            ),
        ),
        (
            4190,
            format!(
                "S: \"IMPLEMENTATION\" \"{SECRET}\"\n+ \"STARTTLS\"\n+ OK\nC: STARTTLS\n+ AUTHENTICATE \"PLAIN\" \"{secret}\"\nS: OK\n+ \"{SECRET}\""
            ),
        ),
    ]
}

fn in_smtp() -> Vec<Said> {
    let (name, secret) = (base64(NAME), base64(SECRET));
    let plain = base64(&format!("\0{NAME}\0{SECRET}"));
    vec![
        (
            587,
            format!(
                "S: 220 m\nC: EHLO c\nS: 250 m\nC: AUTH LOGIN\nS: 334 x\nC: {name}\nS: 334 y\nC: {secret}\nS: 235"
            ),
        ),
        (
            587,
            format!(
                "S: 220 m\nC: EHLO {SECRET}\nS: 250 {SECRET}\nC: {SECRET}\nS: 500 {SECRET}\nC: AUTH {SECRET}"
            ),
        ),
        (
            587,
            format!(
                "S: 220 {SECRET}\nC: EHLO c\nS: 250 m\nC: MAIL FROM:<{SECRET}@{SECRET}>\nS: 250\nC: DATA\nS: 354\nC: {SECRET}\n+ .\nS: 250"
            ),
        ),
        (
            25,
            format!(
                "S: 220 m\nC: EHLO c\nS: 250 STARTTLS\nC: STARTTLS\n+ AUTH PLAIN {plain}\nS: 220 go\n+ 250 {SECRET}"
            ),
        ),
    ]
}

fn in_pop3() -> Vec<Said> {
    vec![
        (
            110,
            format!(
                "S: +OK <{SECRET}@x>\nC: USER {NAME}\nS: +OK\nC: PASS {SECRET}\nS: +OK {SECRET}"
            ),
        ),
        (
            110,
            format!("S: +OK\nC: PASS {SECRET}\nS: -ERR\nC: APOP {NAME} {SECRET}\nS: -ERR"),
        ),
        (
            110,
            format!("S: +OK\nC: STLS\n+ PASS {SECRET}\nS: +OK\n+ {SECRET}"),
        ),
    ]
}

fn in_imap() -> Vec<Said> {
    let (name, secret) = (NAME.len(), SECRET.len());
    let logins = [
        format!("{NAME} {SECRET}"),
        format!("\"{NAME}\" \"{SECRET}\""),
        format!("{NAME} {{{secret}}}\nS: + go\nC: {SECRET}"),
        format!("{{{name}+}}\n+ {NAME} {{{secret}+}}\n+ {SECRET}"),
        format!("{NAME} \"{SECRET}"),
    ];
    let mut all = Vec::new();
    for login in logins {
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
    all
}

fn elsewhere() -> Vec<Said> {
    let plain = base64(&format!("\0{NAME}\0{SECRET}"));
    vec![
        (25, format!("C: {SECRET} / HTTP/1.1\n+\nS: {SECRET}")),
        (
            1080,
            format!(
                "C: CONNECT {SECRET}:25 HTTP/1.1\n+ Proxy-Authorization: Basic {plain}\n+\nS: HTTP/1.1 200\n+\nS: 220 m"
            ),
        ),
    ]
}

/// Logs with the secret in them: as a name, as an answer somebody repeats, as nonsense.
pub fn log() -> String {
    let encoded = base64(&format!("\0{NAME}\0{SECRET}"));
    let date = "Nov 26 18:00:00 mx";
    let lines = [
        format!("{date} postfix/smtpd[11]: connect from {SECRET}[192.0.2.7]"),
        format!(
            "{date} postfix/smtpd[11]: warning: {SECRET}[192.0.2.7]: SASL PLAIN authentication failed: {encoded}, sasl_username={NAME}"
        ),
        format!(
            "{date} postfix/smtpd[11]: 4AB: client={SECRET}[192.0.2.7], sasl_method=PLAIN, sasl_username={NAME}"
        ),
        format!(
            "{date} postfix/smtpd[11]: warning: non-SMTP command from {SECRET}[192.0.2.7]: {SECRET} {encoded}"
        ),
        format!(
            "{date} postfix/smtpd[11]: disconnect from {SECRET}[192.0.2.7] ehlo=1 auth=1 mail=1 quit=1 commands=4"
        ),
        format!(
            "{date} postfix/smtp[12]: Untrusted TLS connection established to {SECRET}[192.0.2.9]:25: TLSv1 with cipher {SECRET} (256/256 bits)"
        ),
        format!(
            "{date} postfix/smtp[12]: 4AC: to=<{SECRET}@x>, relay={SECRET}[192.0.2.9]:25, delays=1/1/1/1, tls=may:{SECRET}, dsn=2.0.0, status=sent (250 {SECRET})"
        ),
        format!(
            "{date} dovecot: imap-login: Login: user=<{NAME}>, method=PLAIN, rip=192.0.2.7, lip=198.51.100.1, mpid=5, session=<{SECRET}>"
        ),
        format!(
            "{date} dovecot: imap-login: Disconnected: {SECRET} (auth failed, 1 attempts): user=<{NAME}>, method={SECRET}, rip=192.0.2.7, lip=198.51.100.1, TLS handshaking: {SECRET}, session=<a>"
        ),
        format!(
            "2026-11-26 18:00:00 1abc-00-0 <= {NAME}@x H=({SECRET}) [192.0.2.7] P=esmtpa A=plain:{NAME} S=1 id={SECRET}"
        ),
        format!("2026-11-26 18:00:00 TLS error on connection from {SECRET} [192.0.2.7]: {SECRET}"),
        format!(
            "{{\"kind\":\"session\",\"service\":\"imap\",\"client\":\"192.0.2.7\",\"tls\":null,\"account\":\"{NAME}\",\"mechanism\":\"PLAIN\",\"messages_out\":1,\"end\":\"{SECRET}\"}}"
        ),
        format!("{SECRET} {encoded}"),
    ];
    lines.join("\n") + "\n"
}

/// Forms in which a text could be found: as it is, backwards, in hexadecimal, and in Base64 at each of the three places it can have in a group.
pub fn forms(secret: &str) -> Vec<String> {
    let backwards = |text: &str| text.chars().rev().collect::<String>();
    let mut forms = vec![secret.to_owned(), backwards(secret)];
    for before in ["", "x", "xy"] {
        let text = base64(&format!("{before}{secret}"));
        // The groups at both ends hold octets of whatever stands beside it.
        let inner = text.get(4..text.len().saturating_sub(4));
        let inner = inner.unwrap_or_default();
        forms.push(inner.to_owned());
        forms.push(backwards(inner));
        let text = base64(&format!("{before}{}", backwards(secret)));
        forms.push(
            text.get(4..text.len().saturating_sub(4))
                .unwrap_or_default()
                .to_owned(),
        );
    }
    let hexadecimal = secret.bytes().fold(String::new(), |mut text, it| {
        let _ = write!(text, "{it:02x}");
        text
    });
    forms.push(hexadecimal);
    forms
}
