//! SASL exchanges, fed with lines: the mechanism, then one response a line (octets, not base64).

use gatepost_wire::sasl::{
    Exchange, Mechanism, Step, decode_base64, encode_base64, prepare_name, prepare_password,
};
use gatepost_wire::seam::{ClearLogin, MayReadCredentials};

use super::account;
use crate::Target;
use crate::behaviour;

/// One exchange.
pub const EXCHANGE: Target = Target {
    name: "sasl",
    run: exchange,
    seeds,
    words: &[
        "\0",
        "n,,",
        "y,,",
        "p=tls-exporter,,",
        "n=user",
        "r=",
        "c=biws",
        "p=",
        "=2C",
        "=3D",
        "m=",
        "\u{ad}",
        "pencil",
        "user",
        "a=other,",
    ],
};

/// Runs an exchange to its end.
///
/// # Panics
/// When a failed exchange goes on, or base64 does not come back as it went in.
pub fn exchange(data: &[u8]) {
    let mut lines = data.split(|byte| *byte == b'\n');
    helpers(data);
    let Some(mechanism) = lines.next().and_then(Mechanism::from_name) else {
        return;
    };
    let may = MayReadCredentials::Clear(ClearLogin::danger_allowed_by_configuration());
    let mut exchange = Exchange::begin(mechanism, may);
    let initial = lines.next().filter(|line| *line != b"-");
    let mut step = exchange.start(initial);
    loop {
        behaviour::note(std::mem::discriminant(&step));
        step = match step {
            Step::Ask(ask) => exchange.answer(account(ask)),
            Step::Challenge(_) => match lines.next() {
                Some(line) => exchange.response(line),
                None => return,
            },
            Step::Granted { account } => {
                assert!(
                    !account.is_empty() && !account.starts_with(['x', 'u']),
                    "{account} was let in"
                );
                return;
            }
            Step::Failed(failure) => {
                behaviour::note(failure as u8);
                assert!(
                    matches!(exchange.response(b""), Step::Failed(_)),
                    "a failed exchange goes on"
                );
                return;
            }
        };
    }
}

fn helpers(data: &[u8]) {
    assert_eq!(
        decode_base64(encode_base64(data).as_bytes()).as_deref(),
        Ok(data),
        "base64 does not come back"
    );
    if let Ok(decoded) = decode_base64(data) {
        assert_eq!(
            encode_base64(&decoded).as_bytes(),
            data,
            "two texts for the same octets"
        );
    }
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = prepare_password(text);
        if let Ok(prepared) = prepare_name(text) {
            assert_eq!(
                prepare_name(&prepared).as_ref(),
                Ok(&prepared),
                "a prepared name changes when prepared again"
            );
        }
    }
}

fn seeds() -> Vec<Vec<u8>> {
    [
        &b"PLAIN\n\0user\0pencil"[..],
        b"PLAIN\n-\n\0user\0wrong",
        b"PLAIN\nuser\0user\0pencil",
        b"LOGIN\n-\nuser\npencil",
        b"SCRAM-SHA-256\nn,,n=user,r=rOprNGfwEbeRWgbNEkqO\nc=biws,r=rOprNGfwEbeRWgbNEkqOservernonceservernonce,p=AAAA",
        b"SCRAM-SHA-1\nn,,n=user,r=fyko+d2lbbFgONRv9qkxdawL\nc=biws,r=fyko+d2lbbFgONRv9qkxdawLservernonceservernonce,p=AAAA",
        b"SCRAM-SHA-256-PLUS\np=tls-exporter,,n=user,r=abc\nc=cD10bHMtZXhwb3J0ZXIsLA==,r=abc,p=AAAA",
    ]
    .map(<[u8]>::to_vec)
    .to_vec()
}
