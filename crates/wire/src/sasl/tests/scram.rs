//! SCRAM, with a client that does it as RFC 5802 writes it.

use proptest::prelude::*;

use ScramHash::{Sha1, Sha256};

use super::*;

/// The client's side.
struct Client<'a> {
    gs2: &'a str,
    data: &'a [u8],
    name: &'a str,
    password: &'a str,
}

impl Client<'_> {
    fn bare(&self) -> String {
        format!("n={},r=fyko+d2lbbFgONRv9qkxdawL", self.name)
    }

    fn first(&self) -> Vec<u8> {
        format!("{}{}", self.gs2, self.bare()).into_bytes()
    }

    /// The final message to this server-first, and the server's proof expected.
    fn last(&self, hash: ScramHash, server_first: &[u8]) -> (String, Vec<u8>) {
        let server_first = std::str::from_utf8(server_first).unwrap();
        let (nonce, rest) = server_first
            .strip_prefix("r=")
            .unwrap()
            .split_once(",s=")
            .unwrap();
        let (salt, iterations) = rest.split_once(",i=").unwrap();
        let password = prepare_password(self.password).unwrap();
        let salt = decode_base64(salt.as_bytes()).unwrap();
        let salted = hash.salted_password(&password, &salt, iterations.parse().unwrap());
        let salted = salted.expose();
        let binding = [self.gs2.as_bytes(), self.data].concat();
        let without_proof = format!("c={},r={nonce}", encode_base64(&binding));
        let signed = format!("{},{server_first},{without_proof}", self.bare());
        let mut proof = hash.keyed_hash(salted, &[b"Client Key"]);
        let signature = hash.keyed_hash(&hash.hash(&proof), &[signed.as_bytes()]);
        proof
            .iter_mut()
            .zip(signature)
            .for_each(|(octet, other)| *octet ^= other);
        let server_key = hash.keyed_hash(salted, &[b"Server Key"]);
        let server_final = format!(
            "v={}",
            encode_base64(&hash.keyed_hash(&server_key, &[signed.as_bytes()]))
        );
        (
            format!("{without_proof},p={}", encode_base64(&proof)),
            server_final.into_bytes(),
        )
    }
}

/// Runs an exchange to the keeper's question about the proof.
fn run_scram(exchange: &mut Exchange, client: &Client<'_>, password: &str) -> (Step, Vec<u8>) {
    let step = exchange.start(Some(&client.first()));
    let hash = exchange.mechanism().hash().unwrap();
    assert!(
        matches!(step, Step::Ask(AccountAsk::ScramKeys { hash: asked, .. }) if asked == hash),
        "{step:?}"
    );
    let keys = AccountAnswer::ScramKeys(keys_with(hash, password));
    let Step::Challenge(server_first) = exchange.answer(keys) else {
        panic!()
    };
    let (last, server_final) = client.last(hash, &server_first);
    (exchange.response(last.as_bytes()), server_final)
}

#[test]
fn scram_known_answer() {
    // [SASL-SCRAM-01] RFC 7677 3
    let mut exchange = begin(Mechanism::ScramSha256, &encrypted(None));
    assert_eq!(exchange.start(None), Step::Challenge(vec![]));
    let step = exchange.response(b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
    assert_eq!(
        step,
        Step::Ask(AccountAsk::ScramKeys {
            user: "user".into(),
            hash: Sha256
        })
    );
    let step = exchange.answer(AccountAnswer::ScramKeys(keys("pencil")));
    let server_first = format!("r=rOprNGfwEbeRWgbNEkqO{NONCE},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096");
    assert_eq!(step, Step::Challenge(server_first.into()));
    let client_final = format!(
        "c=biws,r=rOprNGfwEbeRWgbNEkqO{NONCE},p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
    );
    assert_eq!(
        exchange.response(client_final.as_bytes()),
        scram_step("user", true, Mechanism::ScramSha256)
    );
    let server_final = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";
    assert_eq!(
        exchange.answer(granted()),
        Step::Challenge(server_final.to_vec())
    );
    assert_eq!(
        exchange.response(b""),
        Step::Granted {
            account: "user@example.org".into()
        }
    );
}

#[test]
fn scram_sha_1_known_answer() {
    // [CONF-07] RFC 5802 5
    let mut exchange = begin(Mechanism::ScramSha1, &encrypted(None));
    assert_eq!(
        exchange.start(Some(b"n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL")),
        Step::Ask(AccountAsk::ScramKeys {
            user: "user".into(),
            hash: Sha1
        })
    );
    let salt = decode_base64(b"QSXCR+Q6sek8bf92").unwrap();
    let record = ScramRecord::derive_with(Sha1, "pencil", salt, 4096).unwrap();
    let keys = ScramKeys {
        salt: record.salt,
        iterations: record.iterations,
        stored_key: record.stored_key,
        server_key: record.server_key,
        nonce: "3rfcNHYJY1ZVvWVs7j".into(),
    };
    let server_first = "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096";
    assert_eq!(
        exchange.answer(AccountAnswer::ScramKeys(keys)),
        Step::Challenge(server_first.into())
    );
    let client_final =
        b"c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=";
    assert_eq!(
        exchange.response(client_final),
        scram_step("user", true, Mechanism::ScramSha1)
    );
    assert_eq!(
        exchange.answer(granted()),
        Step::Challenge(b"v=rmF9pqV8S7suAoZWja4dJRkFsKQ=".to_vec())
    );
    assert_eq!(
        exchange.response(b""),
        Step::Granted {
            account: "user@example.org".into()
        }
    );
}

#[test]
fn keys_of_one_hash_function_prove_nothing_with_the_other() {
    // [CONF-07] whoever stole the weaker keys has nothing for the stronger mechanism, and the other way round
    for (mechanism, other) in [
        (Mechanism::ScramSha1, Sha256),
        (Mechanism::ScramSha256, Sha1),
    ] {
        let mut exchange = begin(mechanism, &encrypted(None));
        let _ = exchange.start(Some(b"n,,n=user,r=abc"));
        assert_eq!(
            exchange.answer(AccountAnswer::ScramKeys(keys_with(other, "pencil"))),
            Step::Failed(Failure::Unavailable)
        );
        // A proof as long as the other's
        let mut exchange = begin(mechanism, &encrypted(None));
        let _ = exchange.start(Some(b"n,,n=user,r=abc"));
        let own = keys_with(mechanism.hash().unwrap(), "pencil");
        let Step::Challenge(_) = exchange.answer(AccountAnswer::ScramKeys(own)) else {
            panic!()
        };
        let proof = encode_base64(&vec![0; other.length()]);
        let last = format!("c=biws,r=abc{NONCE},p={proof}");
        assert_eq!(
            exchange.response(last.as_bytes()),
            Step::Failed(Failure::Malformed)
        );
    }
}

#[test]
fn scram_binds_to_the_channel() {
    // [SASL-CB-01] and RFC 5929 4
    let values = bindings();
    let kinds = [
        ("p=tls-exporter,,", &values.exporter[..]),
        ("p=tls-server-end-point,,", &values.server_end_point),
    ];
    for (mechanism, (gs2, data)) in [Mechanism::ScramSha256Plus, Mechanism::ScramSha1Plus]
        .into_iter()
        .flat_map(|it| kinds.map(|kind| (it, kind)))
    {
        let mut exchange = begin(mechanism, &encrypted(Some(bindings())));
        let client = Client {
            gs2,
            data,
            name: "user",
            password: "pencil",
        };
        let (step, server_final) = run_scram(&mut exchange, &client, "pencil");
        assert_eq!(step, scram_step("user", true, mechanism));
        assert_eq!(exchange.answer(granted()), Step::Challenge(server_final));
        assert_eq!(
            exchange.response(b"x"),
            Step::Failed(Failure::Malformed),
            "nothing is left to say"
        );
        assert_eq!(exchange.response(b""), Step::Failed(Failure::Malformed));
    }
}

#[test]
fn scram_refuses_another_binding() {
    // [SASL-SCRAM-03] someone between client and server has other values
    let mut other = bindings();
    other.exporter[31] ^= 1;
    let mut exchange = begin(Mechanism::ScramSha256Plus, &encrypted(Some(bindings())));
    let client = Client {
        gs2: "p=tls-exporter,,",
        data: &other.exporter,
        name: "user",
        password: "pencil",
    };
    let (step, _) = run_scram(&mut exchange, &client, "pencil");
    assert_eq!(step, scram_step("user", false, Mechanism::ScramSha256Plus));
    assert_eq!(
        exchange.answer(granted()),
        Step::Failed(Failure::WrongCredentials),
        "a grant does not help"
    );

    // [SASL-SCRAM-03] `c=` is checked without PLUS too
    let mut exchange = begin(Mechanism::ScramSha256, &encrypted(None));
    let client = Client {
        gs2: "n,,",
        data: b"x",
        name: "user",
        password: "pencil",
    };
    assert_eq!(
        run_scram(&mut exchange, &client, "pencil").0,
        scram_step("user", false, Mechanism::ScramSha256)
    );
}

#[test]
fn scram_downgrades_fail() {
    // [SASL-SCRAM-03] [CONF-07] with either hash function
    let cases = [
        (
            Mechanism::ScramSha1,
            Some(bindings()),
            "y,,",
            Failure::WrongCredentials,
        ),
        (
            Mechanism::ScramSha1Plus,
            Some(bindings()),
            "p=tls-unique,,",
            Failure::WrongCredentials,
        ),
        (
            Mechanism::ScramSha1Plus,
            Some(bindings()),
            "n,,",
            Failure::Malformed,
        ),
        (
            Mechanism::ScramSha1Plus,
            None,
            "p=tls-exporter,,",
            Failure::WrongCredentials,
        ),
        (
            Mechanism::ScramSha256,
            Some(bindings()),
            "y,,",
            Failure::WrongCredentials,
        ),
        (
            Mechanism::ScramSha256Plus,
            Some(bindings()),
            "p=tls-unique,,",
            Failure::WrongCredentials,
        ),
        (
            Mechanism::ScramSha256Plus,
            Some(bindings()),
            "p=,,",
            Failure::WrongCredentials,
        ),
        (
            Mechanism::ScramSha256Plus,
            Some(bindings()),
            "n,,",
            Failure::Malformed,
        ),
        (
            Mechanism::ScramSha256Plus,
            Some(bindings()),
            "y,,",
            Failure::Malformed,
        ),
        (
            Mechanism::ScramSha256Plus,
            None,
            "p=tls-exporter,,",
            Failure::WrongCredentials,
        ),
        (
            Mechanism::ScramSha256,
            Some(bindings()),
            "p=tls-exporter,,",
            Failure::Malformed,
        ),
        (Mechanism::ScramSha256, None, "x,,", Failure::Malformed),
        (Mechanism::ScramSha256, None, "N,,", Failure::Malformed),
    ];
    for (mechanism, values, gs2, failure) in cases {
        let step = begin(mechanism, &encrypted(values))
            .start(Some(format!("{gs2}n=user,r=abc").as_bytes()));
        assert_eq!(step, Step::Failed(failure), "{mechanism:?} {gs2}");
    }
    let unhashed = ChannelBindings {
        server_end_point: Box::new([]),
        ..bindings()
    };
    let step = begin(Mechanism::ScramSha256Plus, &encrypted(Some(unhashed)))
        .start(Some(b"p=tls-server-end-point,,n=u,r=a"));
    assert_eq!(
        step,
        Step::Failed(Failure::WrongCredentials),
        "no hash is no binding"
    );
    let fine = begin(Mechanism::ScramSha256, &encrypted(None)).start(Some(b"y,,n=user,r=abc"));
    assert_eq!(
        fine,
        Step::Ask(AccountAsk::ScramKeys {
            user: "user".into(),
            hash: Sha256
        })
    );
}

#[test]
fn scram_first_message_grammar() {
    // [SASL-SCRAM-01]
    let malformed = [
        "",
        "n",
        "n,",
        "n,,",
        "n,,n=user",
        "n,,n=user,",
        "n,,n=user,r=",
        "n,,r=abc,n=user",
        "n,,m=x,n=user,r=abc",
        "n,,n=user,r=abc,m=x",
        "n,,n=user,r=a c",
        "n,,n=user,r=abc,",
        "n,,n=user,r=abc,zz=1",
        "n,,n=user,r=abc,z=",
        "n,,n=user,r=abc,r=def",
        "n,,n=,r=abc",
        "n,,n=us=2cer,r=abc",
        "n,,n=us=er,r=abc",
        "n,,n=user=,r=abc",
        "n,,n=user\0,r=abc",
        "n,user,n=user,r=abc",
        "n,,n=user,r=\u{e9}",
    ];
    for message in malformed {
        let step = begin_clear(Mechanism::ScramSha256).start(Some(message.as_bytes()));
        assert_eq!(step, Step::Failed(Failure::Malformed), "{message:?}");
    }
    let long = format!("n,,n={},r=abc", "x".repeat(256));
    assert_eq!(
        begin_clear(Mechanism::ScramSha256).start(Some(long.as_bytes())),
        Step::Failed(Failure::Malformed)
    );
    let padded = format!("n,,n=user,r=abc,x={}", "x".repeat(2048));
    assert_eq!(
        begin_clear(Mechanism::ScramSha256).start(Some(padded.as_bytes())),
        Step::Failed(Failure::Malformed)
    );
    for (message, name) in [
        ("n,,n=a=2Cb=3Dc,r=abc", "a,b=c"),
        ("n,a=user,n=user,r=abc", "user"),
        ("n,a=USER,n=user,r=abc", "user"),
        ("n,,n=user,r=abc,x=a=b,y=2", "user"),
        ("n,,n=I\u{ad}X,r=abc", "IX"),
    ] {
        let step = begin_clear(Mechanism::ScramSha256).start(Some(message.as_bytes()));
        assert_eq!(
            step,
            Step::Ask(AccountAsk::ScramKeys {
                user: name.into(),
                hash: Sha256
            }),
            "{message:?}"
        );
    }
    for message in [
        "n,a=other,n=user,r=abc",
        "n,,n=\u{ad},r=abc",
        "n,,n=a\u{7},r=abc",
    ] {
        let step = begin_clear(Mechanism::ScramSha256).start(Some(message.as_bytes()));
        assert_eq!(step, Step::Failed(Failure::WrongCredentials), "{message:?}");
    }
}

#[test]
fn scram_wrong_password_and_wrong_nonce_are_counted() {
    let mut exchange = begin_clear(Mechanism::ScramSha256);
    let client = Client {
        gs2: "n,,",
        data: b"",
        name: "user",
        password: "wrong",
    };
    assert_eq!(
        run_scram(&mut exchange, &client, "pencil").0,
        scram_step("user", false, Mechanism::ScramSha256)
    );
    assert_eq!(
        exchange.answer(AccountAnswer::Denied),
        Step::Failed(Failure::WrongCredentials)
    );

    // [SASL-SCRAM-01] a right proof over another nonce: one replayed, one cut short
    let client = Client {
        gs2: "n,,",
        data: b"",
        name: "user",
        password: "pencil",
    };
    for nonce in [
        "fyko+d2lbbFgONRv9qkxdawL",
        "fyko+d2lbbFgONRv9qkxdawLreplayedReplayedReplayed",
    ] {
        let mut exchange = begin_clear(Mechanism::ScramSha256);
        let _ = exchange.start(Some(&client.first()));
        let Step::Challenge(server_first) =
            exchange.answer(AccountAnswer::ScramKeys(keys("pencil")))
        else {
            panic!()
        };
        let server_first = String::from_utf8(server_first).unwrap();
        let first = format!("n=user,r=fyko+d2lbbFgONRv9qkxdawL,{server_first}");
        let without_proof = format!("c=biws,r={nonce}");
        let salted_keys = keys("pencil");
        let password = Secret::new("pencil".to_owned());
        let salted = Sha256.salted_password(&password, &salted_keys.salt, 4096);
        let mut proof = Sha256.keyed_hash(salted.expose(), &[b"Client Key"]);
        let signature = Sha256.keyed_hash(
            salted_keys.stored_key.expose(),
            &[first.as_bytes(), b",", without_proof.as_bytes()],
        );
        proof
            .iter_mut()
            .zip(signature)
            .for_each(|(octet, other)| *octet ^= other);
        let last = format!("{without_proof},p={}", encode_base64(&proof));
        assert_eq!(
            exchange.response(last.as_bytes()),
            scram_step("user", false, Mechanism::ScramSha256),
            "{nonce}"
        );
    }
}

#[test]
fn scram_weak_keys_are_our_fault() {
    // [SASL-SCRAM-02]
    let spoilt: [fn(&mut ScramKeys); 6] = [
        // Keys of another hash function
        |it| it.stored_key = Secret::new(vec![1; 20]),
        |it| it.server_key = Secret::new(Vec::new()),
        |it| it.iterations = 4095,
        |it| it.salt.clear(),
        |it| it.nonce = "short".into(),
        |it| it.nonce = "a,bcdefghijklmnopqrst".into(),
    ];
    for spoil in spoilt {
        let mut exchange = begin_clear(Mechanism::ScramSha256);
        let _ = exchange.start(Some(b"n,,n=user,r=abc"));
        let mut bad = keys("pencil");
        spoil(&mut bad);
        assert_eq!(
            exchange.answer(AccountAnswer::ScramKeys(bad)),
            Step::Failed(Failure::Unavailable)
        );
    }
}

#[test]
fn every_truncation_is_refused() {
    let client = Client {
        gs2: "n,,",
        data: b"",
        name: "user",
        password: "pencil",
    };
    let keys = keys("pencil");
    let after_first = || {
        let mut exchange = begin_clear(Mechanism::ScramSha256);
        let _ = exchange.start(Some(&client.first()));
        let Step::Challenge(server_first) = exchange.answer(AccountAnswer::ScramKeys(keys.clone()))
        else {
            panic!()
        };
        (exchange, server_first)
    };
    let (last, _) = client.last(Sha256, &after_first().1);
    for cut in 0..last.len() {
        let step = after_first().0.response(&last.as_bytes()[..cut]);
        assert_eq!(step, Step::Failed(Failure::Malformed), "cut at {cut}");
    }
    // The nonce may be cut (it is the client's own to choose); all before it may not.
    let first = client.first();
    let nonce_at = first.len() - "fyko+d2lbbFgONRv9qkxdawL".len();
    for cut in 0..=nonce_at {
        let step = begin_clear(Mechanism::ScramSha256).start(Some(&first[..cut]));
        assert_eq!(step, Step::Failed(Failure::Malformed), "cut at {cut}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn scram_round_trip(old in any::<bool>(), password in "[ -~\u{e0}-\u{ff}]{1,40}", name in "[a-z@.]{1,40}") {
        let mechanism = if old { Mechanism::ScramSha1 } else { Mechanism::ScramSha256 };
        let mut exchange = begin_clear(mechanism);
        let client = Client { gs2: "n,,", data: b"", name: &name, password: &password };
        let (step, server_final) = run_scram(&mut exchange, &client, &password);
        prop_assert_eq!(step, scram_step(&name, true, mechanism));
        prop_assert_eq!(exchange.answer(granted()), Step::Challenge(server_final));
        prop_assert_eq!(exchange.response(b""), Step::Granted { account: "user@example.org".into() });
    }
}
