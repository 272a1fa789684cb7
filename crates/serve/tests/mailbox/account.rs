use std::time::{Duration, Instant};

use gatepost_serve::mailbox::account::{ITERATIONS, RecordError, record};
use gatepost_wire::sasl::{
    AccountAnswer, AccountAsk, Attempt, Mechanism, Preparation, ScramHash, ScramKeys,
};

use crate::world::{ANN, BOB, CLIENT, PASSWORD, World, credential, granted, login};

async fn judge(world: &World, ask: AccountAsk) -> AccountAnswer {
    world.keeper.answer(ask, CLIENT).await.answer
}

async fn keys(world: &World, user: &str) -> ScramKeys {
    keys_with(world, user, ScramHash::Sha256).await
}

async fn keys_with(world: &World, user: &str, hash: ScramHash) -> ScramKeys {
    let user = user.into();
    match judge(world, AccountAsk::ScramKeys { user, hash }).await {
        AccountAnswer::ScramKeys(keys) => keys,
        other => panic!("{other:?}"),
    }
}

fn proof(user: &str, proven: bool) -> AccountAsk {
    AccountAsk::Login(Attempt::Scram {
        user: user.into(),
        proven,
        mechanism: Mechanism::ScramSha256,
    })
}

/// [SMTP-AUTH-13] one answer for all that is wrong
#[tokio::test]
async fn passwords_are_judged() {
    let world = World::new();
    assert_eq!(judge(&world, login(ANN, PASSWORD)).await, granted(ANN));
    assert_eq!(
        judge(&world, login("ANN@Example.org", PASSWORD)).await,
        granted(ANN)
    );
    assert_eq!(
        judge(&world, login(ANN, "correct horsE")).await,
        AccountAnswer::Denied
    );
    assert_eq!(
        judge(&world, login("nobody@example.org", PASSWORD)).await,
        AccountAnswer::Denied
    );
    assert_eq!(
        judge(&world, login("ann", PASSWORD)).await,
        AccountAnswer::Denied
    );
    let judged = world.keeper.answer(login(ANN, PASSWORD), CLIENT).await;
    let login = judged.login.unwrap();
    assert_eq!(
        (login.account, &*login.address, login.mechanism),
        (world.account(ANN), ANN, Mechanism::Plain)
    );
}

#[tokio::test]
async fn proofs_are_judged() {
    let world = World::new();
    assert_eq!(judge(&world, proof(ANN, true)).await, granted(ANN));
    assert_eq!(
        judge(&world, proof(ANN, false)).await,
        AccountAnswer::Denied
    );
    assert_eq!(
        judge(&world, proof("nobody@example.org", false)).await,
        AccountAnswer::Denied
    );
    assert_eq!(
        judge(&world, proof("nobody@example.org", true)).await,
        AccountAnswer::Denied,
        "there is nobody to log in"
    );
}

/// [SASL-SCRAM-02] unknown users
#[tokio::test]
async fn keys_of_unknown_users_look_real_and_stay_the_same() {
    let world = World::new();
    let (first, again) = (
        keys(&world, "nobody@example.org").await,
        keys(&world, "Nobody@Example.org").await,
    );
    assert_eq!(
        (&first.salt, first.iterations, &first.stored_key),
        (&again.salt, again.iterations, &again.stored_key)
    );
    assert_ne!(first.nonce, again.nonce);
    assert!(
        first.nonce.len() >= 18
            && first
                .nonce
                .bytes()
                .all(|byte| byte.is_ascii_graphic() && byte != b',')
    );
    assert_ne!(first.salt, keys(&world, "other@example.org").await.salt);
    // An account has one salt however its domain is written; so has a name without account.
    assert_eq!(
        keys(&world, "nobody@b\u{fc}cher.test").await.salt,
        keys(&world, "nobody@xn--bcher-kva.test").await.salt
    );
    world
        .store
        .accounts()
        .add("new@example.org", &record("x", false).unwrap(), None)
        .unwrap();
    let real = keys(&world, "new@example.org").await;
    assert_eq!(
        (first.salt.len(), first.iterations),
        (real.salt.len(), real.iterations)
    );
}

/// [CONF-07] [SASL-SCRAM-02] an account without keys of SHA-1 cannot be told from one that is not there, nor from one that has them
#[tokio::test]
async fn who_has_no_keys_of_sha_1_is_answered_like_nobody() {
    let world = World::new();
    let accounts = world.store.accounts();
    accounts
        .add("old@example.org", &record("x", true).unwrap(), None)
        .unwrap();
    let shape = |keys: &ScramKeys| {
        let lengths = [&keys.stored_key, &keys.server_key].map(|it| it.expose().len());
        (keys.salt.len(), keys.iterations, lengths)
    };
    let mut shapes = Vec::new();
    for user in ["nobody@example.org", ANN, "old@example.org"] {
        let first = keys_with(&world, user, ScramHash::Sha1).await;
        let again = keys_with(&world, &user.to_uppercase(), ScramHash::Sha1).await;
        assert_eq!(
            (&first.salt, &first.stored_key),
            (&again.salt, &again.stored_key),
            "{user}"
        );
        let other = keys(&world, user).await;
        assert_ne!(first.salt, other.salt, "{user}: a salt of its own");
        assert_ne!(
            first.stored_key.expose()[..],
            other.stored_key.expose()[..20]
        );
        shapes.push(shape(&first));
    }
    assert_eq!(shapes, [(16, ITERATIONS, [20, 20]); 3]);
    let sha1 = accounts
        .find("old@example.org")
        .unwrap()
        .unwrap()
        .credential
        .sha1
        .unwrap();
    let given = keys_with(&world, "old@example.org", ScramHash::Sha1).await;
    assert_eq!((sha1.salt, sha1.stored_key), (given.salt, given.stored_key));
}

/// [SASL-SCRAM-02] salts and iterations of new records
#[test]
fn records_are_salted_and_slow() {
    let (one, other) = (
        record("secret", false).unwrap(),
        record("secret", false).unwrap(),
    );
    assert_eq!(one.sha1, None, "nobody has asked for it");
    let both = record("secret", true).unwrap();
    let sha1 = both.sha1.unwrap();
    assert!(sha1.hash == ScramHash::Sha1 && sha1.verifies("secret"));
    assert_ne!(sha1.salt, both.record.salt);
    for one in [&one.record, &both.record, &sha1] {
        assert_ne!(one.salt, other.record.salt);
        assert!(one.salt.len() >= 16 && one.iterations >= 15_000);
        assert_eq!(one.iterations, ITERATIONS);
    }
    assert_eq!(
        record("", false),
        Err(RecordError::Password(Preparation::Empty))
    );
}

#[tokio::test]
async fn a_changed_password_counts_at_once() {
    let world = World::new();
    assert_eq!(judge(&world, login(ANN, PASSWORD)).await, granted(ANN));
    assert_eq!(
        judge(&world, login(ANN, PASSWORD)).await,
        granted(ANN),
        "remembered"
    );
    world
        .store
        .accounts()
        .set_credential(ANN, &credential("another"))
        .unwrap();
    assert_eq!(
        judge(&world, login(ANN, PASSWORD)).await,
        AccountAnswer::Denied
    );
    assert_eq!(judge(&world, login(ANN, "another")).await, granted(ANN));
    world.store.accounts().remove(ANN).unwrap();
    assert_eq!(
        judge(&world, login(ANN, "another")).await,
        AccountAnswer::Denied
    );
}

#[tokio::test]
async fn a_password_that_was_right_is_quick() {
    let world = World::new();
    world
        .store
        .accounts()
        .set_credential(ANN, &record(PASSWORD, false).unwrap())
        .unwrap();
    let mut times = Vec::new();
    for _ in 0..4 {
        let begun = Instant::now();
        assert_eq!(judge(&world, login(ANN, PASSWORD)).await, granted(ANN));
        times.push(begun.elapsed());
    }
    times[1..].sort();
    assert!(times[1] * 2 < times[0], "{times:?}");
}

/// [SASL-RATE-01]
#[tokio::test]
async fn failures_make_an_address_wait() {
    let world = World::new();
    for user in ["a@example.org", "b@example.org", BOB, ANN] {
        assert_eq!(
            judge(&world, proof(user, false)).await,
            AccountAnswer::Denied
        );
    }
    let begun = Instant::now();
    assert_eq!(judge(&world, proof(ANN, true)).await, granted(ANN));
    assert!(
        begun.elapsed() >= Duration::from_millis(450),
        "{:?}",
        begun.elapsed()
    );
    let begun = Instant::now();
    assert_eq!(
        judge(&world, proof(BOB, true)).await,
        granted(BOB),
        "the good login cleared the address"
    );
    assert!(
        begun.elapsed() < Duration::from_millis(450),
        "{:?}",
        begun.elapsed()
    );
}

/// [SMTP-AUTH-13] similar timing. The quickest of each, since a busy machine only adds; measured
/// from an address each, so that nothing is throttled.
#[tokio::test]
async fn unknown_users_take_as_long_as_wrong_passwords() {
    let world = World::new();
    world
        .store
        .accounts()
        .set_credential(ANN, &record(PASSWORD, false).unwrap())
        .unwrap();
    let (mut wrong, mut unknown) = (Vec::new(), Vec::new());
    for round in 0..6_u8 {
        for (user, times) in [
            (ANN.to_owned(), &mut wrong),
            (format!("no{round}@example.org"), &mut unknown),
        ] {
            // The account is known to each address, so that its failures elsewhere cost nothing.
            let client = std::net::IpAddr::from([203, 0, 113, round]);
            assert!(
                world
                    .keeper
                    .answer(proof(ANN, true), client)
                    .await
                    .login
                    .is_some()
            );
            let begun = Instant::now();
            assert!(
                world
                    .keeper
                    .answer(login(&user, "wrong"), client)
                    .await
                    .failed
            );
            times.push(begun.elapsed());
        }
    }
    let (wrong, unknown) = (
        wrong.into_iter().min().unwrap(),
        unknown.into_iter().min().unwrap(),
    );
    assert!(
        unknown < wrong * 3 && wrong < unknown * 3,
        "wrong {wrong:?}, unknown {unknown:?}"
    );
}
