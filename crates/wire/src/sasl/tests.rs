//! Exchanges driven from the client's side.

use proptest::prelude::*;

use super::*;
use crate::seam::{ChannelBindings, ClearLogin, Encrypted, TlsFacts, TlsVersion};

mod scram;

const NONCE: &str = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";

fn encrypted(bindings: Option<ChannelBindings>) -> Channel {
    Channel::Encrypted(Encrypted::new(TlsFacts {
        client: None,
        signature: None,
        version: TlsVersion::Tls13,
        suite: "TLS_AES_128_GCM_SHA256".into(),
        group: Some("X25519"),
        sni: None,
        alpn: None,
        resumed: false,
        bindings: bindings.map(Box::new),
        verified: None,
    }))
}

fn bindings() -> ChannelBindings {
    ChannelBindings {
        exporter: [7; 32],
        server_end_point: Box::new([9; 48]),
    }
}

fn begin(mechanism: Mechanism, channel: &Channel) -> Exchange {
    Exchange::begin(mechanism, channel.may_read_credentials().unwrap())
}

fn begin_clear(mechanism: Mechanism) -> Exchange {
    begin(
        mechanism,
        &Channel::Clear(Some(ClearLogin::danger_allowed_by_configuration())),
    )
}

fn keys(password: &str) -> ScramKeys {
    keys_with(ScramHash::Sha256, password)
}

fn keys_with(hash: ScramHash, password: &str) -> ScramKeys {
    let salt = decode_base64(b"W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
    let record = ScramRecord::derive_with(hash, password, salt, 4096).unwrap();
    ScramKeys {
        salt: record.salt,
        iterations: record.iterations,
        stored_key: record.stored_key,
        server_key: record.server_key,
        nonce: NONCE.into(),
    }
}

fn granted() -> AccountAnswer {
    AccountAnswer::Granted {
        account: "user@example.org".into(),
    }
}

fn password_step(user: &str, password: &str, mechanism: Mechanism) -> Step {
    let password = Secret::new(password.to_owned());
    Step::Ask(AccountAsk::Login(Attempt::Password {
        user: user.into(),
        password,
        mechanism,
    }))
}

fn scram_step(user: &str, proven: bool, mechanism: Mechanism) -> Step {
    Step::Ask(AccountAsk::Login(Attempt::Scram {
        user: user.into(),
        proven,
        mechanism,
    }))
}

#[test]
fn mechanisms_are_offered_where_credentials_may_be_read() {
    use Mechanism::{Login, Plain, ScramSha256, ScramSha256Plus};
    // [SASL-PLAIN-01] [SMTP-AUTH-01] [CONF-07]
    assert_eq!(offered(&Channel::Clear(None), &Mechanism::FOR_ACCOUNTS), []);
    let exception = Channel::Clear(Some(ClearLogin::danger_allowed_by_configuration()));
    assert_eq!(
        offered(&exception, &Mechanism::FOR_ACCOUNTS),
        [ScramSha256, Plain, Login]
    );
    assert_eq!(
        offered(&encrypted(None), &Mechanism::FOR_ACCOUNTS),
        [ScramSha256, Plain, Login]
    );
    // [SASL-SCRAM-03] PLUS never without the plain form
    assert_eq!(
        offered(&encrypted(Some(bindings())), &Mechanism::FOR_ACCOUNTS),
        [ScramSha256Plus, ScramSha256, Plain, Login]
    );
}

#[test]
fn the_configuration_can_take_mechanisms_away() {
    use Mechanism::{Login, Plain, ScramSha256};
    // [SASL-LOGIN-01] LOGIN can be switched off
    let channel = encrypted(None);
    assert_eq!(
        offered(&channel, &[ScramSha256, Plain]),
        [ScramSha256, Plain]
    );
    assert!(password_commands_offered(&channel, &[Plain]));
    assert!(!password_commands_offered(&channel, &[ScramSha256, Login]));
    assert!(!password_commands_offered(&Channel::Clear(None), &[Plain]));
}

#[test]
fn sha1_is_offered_to_who_names_it() {
    use Mechanism::{Plain, ScramSha1, ScramSha1Plus, ScramSha256, ScramSha256Plus};
    // [CONF-07] not by itself, and behind what is stronger
    assert!(
        Mechanism::OPT_IN
            .iter()
            .all(|it| !Mechanism::FOR_ACCOUNTS.contains(it))
    );
    let asked = [
        Plain,
        ScramSha1,
        ScramSha1Plus,
        ScramSha256Plus,
        ScramSha256,
    ];
    assert_eq!(
        offered(&encrypted(Some(bindings())), &asked),
        [
            ScramSha256Plus,
            ScramSha256,
            ScramSha1Plus,
            ScramSha1,
            Plain
        ]
    );
    // [SASL-SCRAM-03] PLUS where there is something to bind to
    assert_eq!(
        offered(&encrypted(None), &asked),
        [ScramSha256, ScramSha1, Plain]
    );
    assert_eq!(offered(&Channel::Clear(None), &asked), []);
}

#[test]
fn mechanisms_are_found_by_name_in_any_case() {
    for mechanism in Mechanism::SPOKEN {
        assert_eq!(
            Mechanism::from_name(mechanism.name().to_ascii_lowercase().as_bytes()),
            Some(mechanism)
        );
    }
    // [SASL-SEC-01]
    for name in [
        "CRAM-MD5",
        "DIGEST-MD5",
        "NTLM",
        "ANONYMOUS",
        "SCRAM-SHA-512",
        "SCRAM-SHA1",
        "GSSAPI",
        "",
        "PLAIN ",
    ] {
        assert_eq!(Mechanism::from_name(name.as_bytes()), None, "{name}");
    }
}

#[test]
fn plain_with_and_without_initial_response() {
    let mut exchange = begin_clear(Mechanism::Plain);
    assert_eq!(
        exchange.start(Some(b"\0tim\0tanstaaftanstaaf")),
        password_step("tim", "tanstaaftanstaaf", Mechanism::Plain)
    );
    assert_eq!(
        exchange.answer(granted()),
        Step::Granted {
            account: "user@example.org".into()
        }
    );

    let mut exchange = begin_clear(Mechanism::Plain);
    assert_eq!(exchange.start(None), Step::Challenge(vec![]));
    assert_eq!(
        exchange.response(b"tim\0tim\0x"),
        password_step("tim", "x", Mechanism::Plain)
    );
    assert_eq!(
        exchange.answer(AccountAnswer::Denied),
        Step::Failed(Failure::WrongCredentials)
    );
    assert_eq!(
        exchange.answer(granted()),
        Step::Failed(Failure::Unavailable),
        "over is over"
    );
}

#[test]
fn plain_grammar() {
    // [SASL-PLAIN-02] 255 octets each; exactly two NULs; UTF-8
    let long = "x".repeat(255);
    let mut exchange = begin_clear(Mechanism::Plain);
    assert_eq!(
        exchange.start(Some(format!("{long}\0{long}\0{long}").as_bytes())),
        password_step(&long, &long, Mechanism::Plain)
    );
    let malformed: [Vec<u8>; 11] = [
        format!("\0{long}x\0p").into(),
        format!("\0u\0{long}x").into(),
        format!("{long}x\0u\0p").into(),
        b"".to_vec(),
        b"u".to_vec(),
        b"\0u".to_vec(),
        b"\0u\0p\0".to_vec(),
        b"\0u\0p\0q".to_vec(),
        b"\0\0p".to_vec(),
        b"\0u\0".to_vec(),
        b"\0u\0\xff".to_vec(),
    ];
    for message in malformed {
        assert_eq!(
            begin_clear(Mechanism::Plain).start(Some(&message)),
            Step::Failed(Failure::Malformed),
            "{message:?}"
        );
    }
}

#[test]
fn plain_is_prepared_and_takes_no_other_identity() {
    // [SASL-PLAIN-03] [SMTP-AUTH-12]
    let mut exchange = begin_clear(Mechanism::Plain);
    assert_eq!(
        exchange.start(Some("\0I\u{ad}X\0a\u{aa}".as_bytes())),
        password_step("IX", "aa", Mechanism::Plain)
    );
    assert_eq!(
        begin_clear(Mechanism::Plain).start(Some(
            "v@xn--bcher-kva.test\0v@b\u{fc}cher.test\0p".as_bytes()
        )),
        password_step("v@b\u{fc}cher.test", "p", Mechanism::Plain)
    );
    for message in ["A@X.test\0a@x.test\0p", "a@\u{ad}x.test\0a@x.test\0p"] {
        assert_eq!(
            begin_clear(Mechanism::Plain).start(Some(message.as_bytes())),
            password_step("a@x.test", "p", Mechanism::Plain),
            "the same user, written otherwise"
        );
    }
    for message in [
        "other\0u\0p",
        "\0\u{ad}\0p",
        "\0u\0\u{ad}",
        "\0u\u{7}\0p",
        "\u{ad}\0u\0p",
    ] {
        let step = begin_clear(Mechanism::Plain).start(Some(message.as_bytes()));
        assert_eq!(step, Step::Failed(Failure::WrongCredentials), "{message:?}");
    }
}

#[test]
fn login_asks_twice() {
    // [SASL-LOGIN-01]
    let mut exchange = begin_clear(Mechanism::Login);
    assert_eq!(exchange.start(None), Step::Challenge(b"Username:".to_vec()));
    assert_eq!(
        exchange.response(b"tim"),
        Step::Challenge(b"Password:".to_vec())
    );
    assert_eq!(
        exchange.response(b"pw"),
        password_step("tim", "pw", Mechanism::Login)
    );
    assert_eq!(
        exchange.answer(AccountAnswer::Unavailable),
        Step::Failed(Failure::Unavailable)
    );
}

#[test]
fn login_takes_the_name_with_the_command_but_not_nothing() {
    // [SASL-LOGIN-01]
    let mut exchange = begin_clear(Mechanism::Login);
    assert_eq!(
        exchange.start(Some(b"tim")),
        Step::Challenge(b"Password:".to_vec())
    );
    assert_eq!(
        exchange.response(b"pw"),
        password_step("tim", "pw", Mechanism::Login)
    );
    assert_eq!(
        begin_clear(Mechanism::Login).start(Some(b"")),
        Step::Failed(Failure::InitialResponseNotAllowed)
    );
    let long = vec![b'x'; 256];
    assert_eq!(
        begin_clear(Mechanism::Login).start(Some(&long)),
        Step::Failed(Failure::Malformed)
    );
    assert_eq!(
        exchange.response(b"again"),
        Step::Failed(Failure::Malformed)
    );
}

#[test]
fn answers_that_do_not_fit_are_no_login() {
    let mut exchange = begin_clear(Mechanism::ScramSha256);
    let _ = exchange.start(Some(b"n,,n=user,r=abc"));
    assert_eq!(
        exchange.answer(granted()),
        Step::Failed(Failure::Unavailable)
    );
    let mut exchange = begin_clear(Mechanism::Plain);
    assert_eq!(
        exchange.answer(granted()),
        Step::Failed(Failure::Unavailable)
    );
    let mut exchange = begin_clear(Mechanism::Plain);
    let _ = exchange.start(Some(b"\0u\0p"));
    assert_eq!(
        exchange.answer(AccountAnswer::ScramKeys(keys("p"))),
        Step::Failed(Failure::Unavailable)
    );
    assert_eq!(
        exchange.start(Some(b"\0u\0p")),
        Step::Failed(Failure::Malformed),
        "one exchange, one start"
    );
}

#[test]
fn nothing_secret_prints() {
    let mut exchange = begin(Mechanism::ScramSha256Plus, &encrypted(Some(bindings())));
    assert!(format!("{exchange:?}").contains("Bindings(..)"));
    let _ = exchange.start(Some(b"n,,n=user,r=abc"));
    assert!(
        format!(
            "{:?}",
            begin_clear(Mechanism::Plain).start(Some(b"\0u\0hunter2"))
        )
        .contains("Secret(..)")
    );
}

#[test]
fn an_exchange_is_small() {
    assert!(size_of::<Exchange>() <= 96, "{}", size_of::<Exchange>());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_octets_end_in_a_step(messages in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..80), 0..4)) {
        for mechanism in Mechanism::FOR_ACCOUNTS.into_iter().chain(Mechanism::OPT_IN) {
            let mut exchange = begin(mechanism, &encrypted(Some(bindings())));
            let mut step = exchange.start(None);
            for message in &messages {
                let is_challenge = matches!(step, Step::Challenge(_));
                step = exchange.response(message);
                prop_assert!(is_challenge || matches!(step, Step::Failed(_)));
            }
        }
    }
}

#[test]
fn every_truncation_of_plain_is_refused() {
    let plain = b"\0user\0";
    for cut in 0..=plain.len() {
        assert_eq!(
            begin_clear(Mechanism::Plain).start(Some(&plain[..cut])),
            Step::Failed(Failure::Malformed),
            "cut at {cut}"
        );
    }
}

/// [SASL-OAUTH-01] The exception for logins in clear is for passwords.
#[test]
fn a_token_is_never_taken_in_clear() {
    let all = Mechanism::SPOKEN;
    let clear = Channel::Clear(Some(ClearLogin::danger_allowed_by_configuration()));
    let there = offered(&clear, &all);
    assert!(there.contains(&Mechanism::Plain));
    assert!(!there.iter().any(|it| it.is_token()), "{there:?}");
    let inside = offered(&encrypted(None), &all);
    assert_eq!(inside.iter().filter(|it| it.is_token()).count(), 2);
}
