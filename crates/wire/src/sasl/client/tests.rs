//! Known answers, and pairs with the server's side.

use super::super::{AccountAnswer, AccountAsk, Attempt, ScramKeys, ScramRecord, Step};
use super::*;
use crate::sasl::Exchange as ServerExchange;
use crate::seam::{Channel, Encrypted, TlsFacts, TlsVersion, UnverifiedLogin, VerifiedBy};

fn channel(bindings: bool) -> Channel {
    Channel::Encrypted(Encrypted::new(TlsFacts {
        client: None,
        signature: None,
        version: TlsVersion::Tls13,
        suite: "TLS_AES_128_GCM_SHA256".into(),
        group: None,
        sni: None,
        alpn: None,
        resumed: false,
        bindings: bindings.then(|| {
            Box::new(ChannelBindings {
                exporter: [7; 32],
                server_end_point: Box::new([9; 32]),
            })
        }),
        verified: Some(VerifiedBy::Pkix),
    }))
}

fn may(channel: &Channel) -> MaySendCredentials<'_> {
    MaySendCredentials::on(channel, None).unwrap()
}

fn begin(mechanism: Mechanism, offered: &[Mechanism], bindings: bool) -> Exchange {
    let channel = channel(bindings);
    let credentials = Credentials::password("user", "pencil");
    let nonce = "rOprNGfwEbeRWgbNEkqO".to_owned();
    Exchange::begin(mechanism, offered, &credentials, may(&channel), nonce).unwrap()
}

const SERVER_FIRST: &[u8] =
    b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";

#[test]
fn the_example_of_rfc_7677() {
    // [SASL-SCRAM-01] RFC 7677 3
    let mut exchange = begin(Mechanism::ScramSha256, &[Mechanism::ScramSha256], false);
    let first = exchange.initial().unwrap();
    assert_eq!(first.expose(), b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
    let last = exchange.respond(SERVER_FIRST).unwrap();
    assert_eq!(
        String::from_utf8(last.expose().clone()).unwrap(),
        "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
         p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
    );
    let signature = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";
    assert!(exchange.respond(signature).unwrap().expose().is_empty());
    assert_eq!(exchange.finish(None), Ok(()));
}

#[test]
fn the_example_of_rfc_5802() {
    // [CONF-07] RFC 5802 5
    let only = [Mechanism::ScramSha1];
    let channel = channel(false);
    let credentials = Credentials::password("user", "pencil").allow(only);
    let nonce = "fyko+d2lbbFgONRv9qkxdawL".to_owned();
    let mut exchange = Exchange::begin(only[0], &only, &credentials, may(&channel), nonce).unwrap();
    let first = exchange.initial().unwrap();
    assert_eq!(first.expose(), b"n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL");
    let last = exchange
        .respond(b"r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096")
        .unwrap();
    let expected: &[u8] =
        b"c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=";
    assert_eq!(last.expose(), expected);
    let signature = b"v=rmF9pqV8S7suAoZWja4dJRkFsKQ=";
    assert!(exchange.respond(signature).unwrap().expose().is_empty());
    assert_eq!(exchange.finish(None), Ok(()));
}

#[test]
fn sha_1_is_used_by_who_asks_for_it() {
    // [CONF-07] [SASL-SCRAM-04]
    use Mechanism::{Plain, ScramSha1, ScramSha1Plus, ScramSha256, ScramSha256Plus};
    let channel = channel(true);
    let old = [ScramSha1Plus, ScramSha1, Plain];
    let by_default = Credentials::password("u", "p");
    assert_eq!(choose(&old, &by_default, may(&channel)), Some(Plain));
    let asked = Credentials::password("u", "p").allow([
        ScramSha256Plus,
        ScramSha256,
        ScramSha1Plus,
        ScramSha1,
    ]);
    let cases: [(&[Mechanism], Mechanism, &[u8]); 4] = [
        (&old, ScramSha1Plus, b"p=tls-exporter,,"),
        (&[Plain, ScramSha1], ScramSha1, b"y,,"),
        // The server can bind, and we do not deny it.
        (
            &[ScramSha1, ScramSha256Plus],
            ScramSha256Plus,
            b"p=tls-exporter,,",
        ),
        (&[ScramSha1Plus, ScramSha256], ScramSha256, b"n,,"),
    ];
    for (offered, expected, header) in cases {
        assert_eq!(choose(offered, &asked, may(&channel)), Some(expected));
        let exchange = Exchange::begin(expected, offered, &asked, may(&channel), "x".into());
        let first = exchange.unwrap().initial().unwrap();
        assert!(first.expose().starts_with(header), "{offered:?}");
    }
}

#[test]
fn a_server_that_does_not_prove_itself_is_refused() {
    // [SASL-SCRAM-01]
    let proven = || {
        let mut exchange = begin(Mechanism::ScramSha256, &[Mechanism::ScramSha256], false);
        let _ = exchange.initial();
        exchange.respond(SERVER_FIRST).unwrap();
        exchange
    };
    assert_eq!(proven().finish(None), Err(Failure::ServerNotProven));
    for wrong in [&b"v="[..], b"v=AAAA", b"e=other-error", b"", b"\xff"] {
        assert!(proven().respond(wrong).is_err(), "{wrong:?}");
        assert!(proven().finish(Some(wrong)).is_err(), "{wrong:?}");
    }
    // success before the exchange was complete
    let mut early = begin(Mechanism::ScramSha256, &[Mechanism::ScramSha256], false);
    let _ = early.initial();
    assert_eq!(early.finish(None), Err(Failure::ServerNotProven));
}

#[test]
fn a_first_message_that_breaks_a_rule_is_refused() {
    // [SASL-SCRAM-01] [SASL-SCRAM-02]
    let nonce = "r=rOprNGfwEbeRWgbNEkqOabc";
    let wrong = [
        "r=rOprNGfwEbeRWgbNEkqO,s=AAAA,i=4096".to_owned(),
        "r=otherabc,s=AAAA,i=4096".to_owned(),
        format!("{nonce},s=AAAA,i=4095"),
        format!("{nonce},s=AAAA,i=1"),
        format!("{nonce},s=AAAA,i=+5000"),
        format!("{nonce},s=AAAA,i=2000001"),
        format!("{nonce},s=AAAA,i=99999999999"),
        format!("{nonce},s=,i=4096"),
        format!("{nonce},s=AA,i=4096"),
        format!("{nonce},i=4096,s=AAAA"),
        format!("m=x,{nonce},s=AAAA,i=4096"),
        format!("{nonce},s=AAAA,i=4096,m=x"),
        String::new(),
    ];
    for text in wrong {
        let mut exchange = begin(Mechanism::ScramSha256, &[Mechanism::ScramSha256], false);
        let _ = exchange.initial();
        let result = exchange.respond(text.as_bytes());
        assert_eq!(result, Err(Failure::ServerNotProven), "{text}");
    }
}

#[test]
fn the_matrix_of_the_binding_flag() {
    // [SASL-SCRAM-04]
    use Mechanism::{ScramSha256, ScramSha256Plus};
    let both = [ScramSha256Plus, ScramSha256];
    let cases: [(&[Mechanism], bool, &[u8]); 5] = [
        (&both, true, b"p=tls-exporter,,"),
        (&both, false, b"n,,"),
        (&[ScramSha256], true, b"y,,"),
        (&[ScramSha256], false, b"n,,"),
        (&[ScramSha256Plus], true, b"p=tls-exporter,,"),
    ];
    for (offered, bindings, expected) in cases {
        let channel = channel(bindings);
        let credentials = Credentials::password("user", "pencil");
        let mechanism = choose(offered, &credentials, may(&channel)).unwrap();
        let first = begin(mechanism, offered, bindings).initial().unwrap();
        assert!(first.expose().starts_with(expected), "{offered:?}");
    }
    // PLUS is offered, and the user does not allow it: we do not say that it was not offered
    let credentials = Credentials::password("user", "pencil").allow([ScramSha256]);
    let channel = channel(true);
    let exchange = Exchange::begin(ScramSha256, &both, &credentials, may(&channel), "x".into());
    let first = exchange.unwrap().initial().unwrap();
    assert!(first.expose().starts_with(b"n,,"));
}

#[test]
fn the_strongest_allowed_is_chosen() {
    // [MUA-09] a certificate leads to EXTERNAL
    use Mechanism::{External, Login, OAuthBearer, Plain, ScramSha256, ScramSha256Plus, XOAuth2};
    let channel = channel(true);
    let all = Mechanism::FOR_CLIENTS;
    let password = Credentials::password("u", "p");
    let token = Credentials::token("u", "t");
    let certificate = Credentials::certificate("");
    let cases: [(&[Mechanism], &Credentials, Option<Mechanism>); 9] = [
        (&all, &password, Some(ScramSha256Plus)),
        (&[Login, Plain, ScramSha256], &password, Some(ScramSha256)),
        (&[Login, Plain], &password, Some(Plain)),
        (&[Login], &password, Some(Login)),
        (&[External, OAuthBearer], &password, None),
        (&all, &token, Some(OAuthBearer)),
        (&[XOAuth2, Plain], &token, Some(XOAuth2)),
        (&all, &certificate, Some(External)),
        (&[Plain], &certificate, None),
    ];
    for (offered, credentials, expected) in cases {
        assert_eq!(choose(offered, credentials, may(&channel)), expected);
    }
    let floor = password.allow([ScramSha256Plus]);
    assert_eq!(
        choose(&[Login, Plain, ScramSha256], &floor, may(&channel)),
        None
    );
}

#[test]
fn tokens_and_their_errors() {
    // [SASL-OAUTH-01] [SASL-OAUTH-02]
    let channel = channel(false);
    let credentials = Credentials::token("user@example.com", "vF9dft4qmT");
    let begin = |mechanism| {
        Exchange::begin(
            mechanism,
            &[mechanism],
            &credentials,
            may(&channel),
            String::new(),
        )
        .unwrap()
    };
    let mut exchange = begin(Mechanism::OAuthBearer);
    assert_eq!(
        exchange.initial().unwrap().expose(),
        b"n,a=user@example.com,\x01auth=Bearer vF9dft4qmT\x01\x01"
    );
    let error = br#"{"status":"invalid_token"}"#;
    assert_eq!(exchange.respond(error).unwrap().expose(), b"\x01");
    assert_eq!(exchange.error(), Some(&error[..]));
    assert!(exchange.respond(error).is_err(), "one error is enough");
    let mut exchange = begin(Mechanism::OAuthBearer);
    let _ = exchange.initial();
    let _ = exchange.respond(error);
    assert!(
        exchange.finish(None).is_err(),
        "an error cannot become success"
    );

    let mut exchange = begin(Mechanism::XOAuth2);
    assert_eq!(
        exchange.initial().unwrap().expose(),
        b"user=user@example.com\x01auth=Bearer vF9dft4qmT\x01\x01"
    );
    assert!(exchange.respond(error).unwrap().expose().is_empty());
}

#[test]
fn what_cannot_be_sent_is_not_sent() {
    // [SMTP-AUTH-12]
    let channel = channel(true);
    let refused = [
        (Mechanism::Plain, Credentials::password("user", "")),
        (Mechanism::Plain, Credentials::password("us\0er", "x")),
        (Mechanism::Login, Credentials::password("", "x")),
        (Mechanism::ScramSha256, Credentials::password("u", "\u{ad}")),
        (Mechanism::OAuthBearer, Credentials::token("u", "a\u{1}b")),
        (Mechanism::XOAuth2, Credentials::token("u\u{1}x", "t")),
        (Mechanism::OAuthBearer, Credentials::token("u", "")),
        (Mechanism::Plain, Credentials::token("u", "t")),
        (Mechanism::External, Credentials::certificate("a\0b")),
    ];
    for (mechanism, credentials) in refused {
        let result = Exchange::begin(
            mechanism,
            &[mechanism],
            &credentials,
            may(&channel),
            "n".into(),
        );
        assert!(
            matches!(result, Err(Failure::UnusableCredentials)),
            "{mechanism:?} {credentials:?}"
        );
    }
}

#[test]
fn nothing_is_begun_with_a_peer_nobody_verified() {
    // [MUA-02] there is no way to make the leave that `begin` wants
    assert!(MaySendCredentials::on(&Channel::Clear(None), None).is_none());
    let exception = Some(UnverifiedLogin::danger_in_clear());
    assert!(MaySendCredentials::on(&Channel::Clear(None), exception).is_some());
}

/// A server's exchange that answers for the account `user`, `pencil`.
fn serve(exchange: &mut ServerExchange, mut step: Step) -> Step {
    let keys = |hash| {
        let record = ScramRecord::derive_with(hash, "pencil", vec![5; 16], 4096).unwrap();
        AccountAnswer::ScramKeys(ScramKeys {
            salt: record.salt,
            iterations: record.iterations,
            stored_key: record.stored_key,
            server_key: record.server_key,
            nonce: "0123456789abcdefghij".into(),
        })
    };
    while let Step::Ask(ask) = step {
        let granted = |good: bool| {
            if good {
                AccountAnswer::Granted {
                    account: "user".into(),
                }
            } else {
                AccountAnswer::Denied
            }
        };
        step = exchange.answer(match ask {
            AccountAsk::ScramKeys { hash, .. } => keys(hash),
            AccountAsk::Login(Attempt::Password { password, .. }) => {
                granted(password.expose() == "pencil")
            }
            AccountAsk::Login(Attempt::Token { .. } | Attempt::Certificate { .. }) => {
                AccountAnswer::Denied
            }
            AccountAsk::Login(Attempt::Scram { proven, .. }) => granted(proven),
        });
    }
    step
}

fn pair(
    mechanism: Mechanism,
    password: &str,
    bound: bool,
    binding: Binding,
) -> Result<(), Failure> {
    let channel = channel(bound);
    let offered = crate::sasl::offered(&channel, &Mechanism::SPOKEN);
    let all: Vec<_> = Mechanism::FOR_CLIENTS
        .into_iter()
        .chain(Mechanism::OPT_IN)
        .collect();
    let mut credentials = Credentials::password("user", password).allow(all);
    credentials.binding = binding;
    let nonce = "clientnonceclientnonce".into();
    let mut client = Exchange::begin(mechanism, &offered, &credentials, may(&channel), nonce)?;
    let mut server = ServerExchange::begin(mechanism, channel.may_read_credentials().unwrap());
    let initial = client.initial();
    let step = server.start(initial.as_ref().map(|it| it.expose().as_slice()));
    let mut step = serve(&mut server, step);
    loop {
        match step {
            Step::Challenge(octets) => {
                let response = client.respond(&octets)?;
                let next = server.response(response.expose());
                step = serve(&mut server, next);
            }
            Step::Granted { .. } => return client.finish(None),
            _ => return Err(Failure::LoginDisabled),
        }
    }
}

#[test]
fn our_client_and_our_server_agree() {
    // [SASL-SCRAM-01] [SASL-CB-01] [SASL-PLAIN-01]
    for mechanism in [
        Mechanism::ScramSha256Plus,
        Mechanism::ScramSha256,
        Mechanism::ScramSha1Plus,
        Mechanism::ScramSha1,
        Mechanism::Plain,
        Mechanism::Login,
    ] {
        let bound = mechanism.is_bound();
        for binding in [Binding::Exporter, Binding::ServerEndPoint] {
            let good = pair(mechanism, "pencil", bound, binding);
            assert_eq!(good, Ok(()), "{mechanism:?}");
            assert!(pair(mechanism, "pencils", bound, binding).is_err());
        }
    }
}
