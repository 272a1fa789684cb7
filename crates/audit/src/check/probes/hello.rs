//! Hellos that no TLS library would send, and what they are answered with. One connection each; nothing here needs a key.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use gatepost_wire::tls::suites::{self, Suite};
use gatepost_wire::tls::{
    ALL_SCHEMES, KeyExchange, Offer, Piece, SSL3, ServerHello, TLS10, TLS11, TLS12, TLS13,
    TlsStream, ssl2,
};
use sha2::{Digest, Sha256};

use super::Errand;
use crate::check::facts::{HelloAnswer, Seen};
use crate::check::rank::Rank;
use crate::check::talk::Talk;
use crate::check::target::{Protocol, Target};

/// The most suites in one hello: some servers take no more (RFC 9325 says nothing of it; it is seen).
const MOST_SUITES: usize = 64;
/// The most octets of an answer: the longest chain of certificates that is read, and as much again.
const MOST_OCTETS: usize = 512 * 1024;
/// Groups of TLS 1.3 with a part no quantum computer is known to open (RFC 10024).
pub(crate) const HYBRID_GROUPS: [u16; 3] = [0x11ec, 0x11eb, 0x11ed];

/// Octets for a random that look like ones, from the run's nonce.
pub(crate) fn random(nonce: &str) -> [u8; 32] {
    Sha256::digest(nonce).into()
}

/// A hello in preparation.
fn offer(target: &Target, version: u16, random: [u8; 32]) -> Offer {
    let mut offer = Offer::new(version, random);
    offer.server_name = (version > SSL3)
        .then(|| target.server_name().map(str::to_owned))
        .flatten();
    offer
}

fn of(wanted: impl Fn(&Suite) -> bool) -> Vec<u16> {
    let usable = suites::all().iter().filter(|it| it.is_for_certificates());
    usable.filter(|it| wanted(it)).map(|it| it.number).collect()
}

/// Whether a suite has forward secrecy and AEAD: what TLS 1.2 should be spoken with (RFC 9325 4.2).
pub(crate) fn is_modern(suite: &Suite) -> bool {
    suite.exchange == "ECDHE" && suite.is_aead() && !suite.is_ccm8() && !suite.is_anonymous()
}

/// Whether a suite must not be used at all.
pub(crate) fn is_weak(suite: &Suite) -> bool {
    suite.is_null()
        || suite.is_anonymous()
        || suite.is_low()
        || suite.is_rc4()
        || suite.is_triple_des()
}

/// TLS 1.2 as it should be, with everything an answer can tell: compression offered, ticket, EMS.
pub(crate) fn modern(target: &Target, random: [u8; 32]) -> Offer {
    let mut hello = offer(target, TLS12, random);
    hello.suites = of(is_modern);
    hello.has_encrypt_then_mac = true;
    hello.others = vec![(15, vec![1])];
    hello
}

/// The same as [`modern`], with worse suites before the good ones: who takes a good one has an order of its own (RFC 9325 4.2.1).
pub(crate) fn worst_first(target: &Target, random: [u8; 32]) -> Offer {
    let mut hello = modern(target, random);
    hello.suites = of(|it| is_modern(it) || (!it.is_tls13() && is_usual(it) && is_plausible(it)));
    sort_worst_first(&mut hello.suites);
    hello
}

/// Whether servers that speak TLS 1.2 have it, should nobody have told them better.
fn is_usual(suite: &Suite) -> bool {
    let cipher = suite.cipher;
    let is_old = cipher == "3DES_EDE_CBC" || (cipher == "RC4_128" && suite.mac == "SHA");
    // Who offers suites without a certificate wants none, and Postfix puts them first for its own kind on purpose: that is CIPH-ANON's.
    !suite.is_anonymous() && (cipher.starts_with("AES_") || is_old)
}

/// So that a server that follows the client's order shows it.
fn sort_worst_first(list: &mut [u16]) {
    list.sort_by_key(|it| std::cmp::Reverse(Rank::of_number(*it)));
}

/// The same as [`modern`], with compression and from somebody who claims to have been turned back from TLS 1.3 (RFC 7507).
pub(crate) fn fallback(target: &Target, random: [u8; 32]) -> Offer {
    let mut hello = modern(target, random);
    hello.suites.push(0x5600);
    hello
}

/// Versions up to this one, with every suite they have.
pub(crate) fn old(target: &Target, version: u16, random: [u8; 32]) -> Offer {
    let mut hello = offer(target, version, random);
    let mut list = of(|it| {
        !it.is_tls13() && !it.is_aead() && !is_weak(it) && it.mac != "SHA256" && it.mac != "SHA384"
    });
    list.truncate(MOST_SUITES - 8);
    // What servers that speak nothing newer may have, and nothing else.
    list.extend(of(|it| it.is_triple_des() && it.authentication != "anon"));
    list.extend([0x0005, 0x0004]);
    list.truncate(MOST_SUITES);
    hello.suites = list;
    hello.compression = vec![1, 0];
    hello
}

/// Whether anybody has a certificate for it: fixed Diffie-Hellman keys and DSS died out long ago. What is rarer is asked for suite by
/// suite in the deep tier.
fn is_plausible(suite: &Suite) -> bool {
    !matches!(suite.exchange, "DH" | "ECDH") && suite.authentication != "DSS"
}

/// Whether a suite has Diffie-Hellman over finite fields: a server without parameters for it may end connections on which it is offered.
pub(crate) fn is_finite_field(number: u16) -> bool {
    suites::suite(number).is_some_and(|it| matches!(it.exchange, "DHE" | "DH"))
}

/// Suites of these, without those of the classes seen already: few enough for one hello.
pub(crate) fn of_class(
    target: &Target,
    random: [u8; 32],
    wanted: fn(&Suite) -> bool,
    without: &[u16],
) -> Option<Offer> {
    let mut hello = offer(target, TLS12, random);
    let mut list =
        of(|it| wanted(it) && is_plausible(it) && !it.is_tls13() && !without.contains(&it.number));
    sort_worst_first(&mut list);
    hello.suites = list;
    (!hello.suites.is_empty()).then_some(hello)
}

/// Every suite before TLS 1.3 whose turn it is in one of several lanes.
pub(crate) fn lane(number: usize, lanes: usize) -> Vec<u16> {
    let all = of(|it| !it.is_tls13());
    let mut list: Vec<u16> = all.into_iter().skip(number).step_by(lanes).collect();
    sort_worst_first(&mut list);
    list
}

/// Exactly these suites.
pub(crate) fn exactly(target: &Target, random: [u8; 32], suites: &[u16]) -> Offer {
    let mut hello = offer(target, TLS12, random);
    hello.suites = suites.to_vec();
    hello
}

/// Suites that are neither modern nor forbidden: no forward secrecy, finite fields, CBC.
pub(crate) fn is_legacy(suite: &Suite) -> bool {
    !is_modern(suite) && !is_weak(suite)
}

/// TLS 1.3 with an empty list of key shares: the server names the group it wants.
pub(crate) fn retry(target: &Target, random: [u8; 32], groups: &[u16]) -> Offer {
    let mut hello = offer(target, TLS13, random);
    hello.suites = vec![0x1301, 0x1302, 0x1303];
    hello.groups = groups.to_vec();
    hello
}

/// Exactly these suites of TLS 1.3, with every group in use and no share of any: the retry the server asks for names the suite.
pub(crate) fn exactly_tls13(target: &Target, random: [u8; 32], suites: &[u16]) -> Offer {
    let mut hello = offer(target, TLS13, random);
    hello.suites = suites.to_vec();
    hello.groups = [&HYBRID_GROUPS, hello.groups.as_slice()].concat();
    hello
}

/// Modern suites, and no signature but by SHA-1 and MD5 (RFC 9155).
pub(crate) fn weak_signatures(target: &Target, random: [u8; 32]) -> Offer {
    let mut hello = modern(target, random);
    hello.suites = of(|it| it.exchange == "ECDHE" && !is_weak(it));
    hello.suites.truncate(MOST_SUITES);
    hello.signature_schemes = vec![0x0203, 0x0201, 0x0202, 0x0101];
    hello
}

/// Modern suites of the other kind of certificate than this suite's.
pub(crate) fn other_certificate(target: &Target, random: [u8; 32], is_ecdsa: bool) -> Offer {
    let mut hello = modern(target, random);
    let wanted = if is_ecdsa { "RSA" } else { "ECDSA" };
    hello.suites = of(|it| is_modern(it) && it.authentication == wanted);
    hello.signature_schemes = ALL_SCHEMES
        .iter()
        .copied()
        .filter(|scheme| is_ecdsa_scheme(*scheme) != is_ecdsa)
        .collect();
    hello
}

fn is_ecdsa_scheme(scheme: u16) -> bool {
    matches!(
        scheme,
        0x0203 | 0x0303 | 0x0403 | 0x0503 | 0x0603 | 0x0807 | 0x0808
    )
}

/// Whatever a server before TLS 1.3 may have, the good suites first: for questions about what comes behind the hello.
pub(crate) fn widest(target: &Target, random: [u8; 32]) -> Offer {
    let mut hello = offer(target, TLS12, random);
    hello.suites = of(|it| is_modern(it) && is_plausible(it));
    hello
        .suites
        .extend(of(|it| is_legacy(it) && is_plausible(it)));
    hello.suites.truncate(MOST_SUITES - 4);
    // What servers that speak nothing newer may have, and nothing else.
    hello.suites.extend([0x002f, 0x0035, 0x000a, 0x0005]);
    hello
}

/// A foreign application protocol, which must be refused or passed over (RFC 7301 3.2).
pub(crate) fn foreign_protocol(target: &Target, random: [u8; 32]) -> Offer {
    let mut hello = modern(target, random);
    let foreign: &[u8] = match target.protocol {
        Protocol::Imap => b"pop3",
        _ => b"imap",
    };
    hello.alpn = vec![foreign.to_vec()];
    hello
}

/// Says a hello on a new connection and reads the answer.
pub(crate) async fn ask(errand: &Errand, hello: &Offer) -> Seen<HelloAnswer> {
    let mut talk = match errand.begin_tls().await {
        Ok(talk) => talk,
        Err(why) => return Seen::unknown(why),
    };
    if talk
        .probe
        .write(&hello.record(), errand.patience)
        .await
        .is_err()
    {
        return Seen::Known(closed());
    }
    answer(&mut talk, errand.patience).await
}

/// Reads the answer to a hello.
pub(super) async fn answer(talk: &mut Talk, patience: Duration) -> Seen<HelloAnswer> {
    hear(talk, &mut TlsStream::default(), patience).await
}

/// The same, for whom the conversation goes on: what was not read stays in the stream.
pub(super) async fn hear(
    talk: &mut Talk,
    stream: &mut TlsStream,
    patience: Duration,
) -> Seen<HelloAnswer> {
    let deadline = Instant::now() + patience;
    let mut answer = HelloAnswer::default();
    let mut length = 0;
    loop {
        match talk.probe.read(deadline).await {
            Ok(()) => {
                let octets = std::mem::take(talk.probe.received());
                length += octets.len();
                if length > MOST_OCTETS {
                    return Seen::unknown("the answer to the hello does not end");
                }
                stream.push(&octets);
            }
            Err(gatepost_net::client::LegFailure::TooSlow) if answer.is_taken() => {
                return Seen::Known(answer);
            }
            Err(gatepost_net::client::LegFailure::TooSlow) => {
                return Seen::unknown("no answer to the hello in time");
            }
            Err(_) => {
                answer.closed = !answer.is_taken();
                return Seen::Known(answer);
            }
        }
        while let Some(piece) = stream.next() {
            match note(&mut answer, piece) {
                Told::More => {}
                Told::All => return Seen::Known(answer),
                Told::Nothing(why) => return Seen::unknown(why),
            }
        }
    }
}

fn closed() -> HelloAnswer {
    HelloAnswer {
        closed: true,
        ..HelloAnswer::default()
    }
}

enum Told {
    More,
    All,
    Nothing(&'static str),
}

/// Notes a piece of the answer.
fn note(answer: &mut HelloAnswer, piece: Piece) -> Told {
    match piece {
        Piece::ServerHello(hello) => {
            note_hello(answer, &hello);
            if hello.version() >= TLS13 {
                Told::All
            } else {
                Told::More
            }
        }
        Piece::HelloRetryRequest(hello) => {
            note_hello(answer, &hello);
            Told::All
        }
        Piece::Certificate(chain) => {
            answer.chain = chain.iter().map(|it| BASE64.encode(it)).collect();
            Told::More
        }
        Piece::CertificateRequest => {
            answer.asks_certificate = true;
            Told::More
        }
        Piece::KeyExchange(exchange) => {
            note_exchange(answer, &exchange);
            Told::More
        }
        // A warning, and the handshake goes on; but for the word that nothing more comes (RFC 5246 7.2.1).
        Piece::Alert {
            level: 1,
            description: 1..,
        }
        | Piece::Message(_)
        | Piece::Status(_)
        | Piece::Heartbeat { .. }
        | Piece::ClientHello(_)
        | Piece::Ticket { .. } => Told::More,
        Piece::Alert { description, .. } => {
            answer.alert = Some(description);
            Told::All
        }
        Piece::ServerHelloDone | Piece::ChangeCipherSpec | Piece::Encrypted { .. } => Told::All,
        Piece::NotTls => Told::Nothing("the hello was answered with words in clear"),
        Piece::Malformed | Piece::TooLarge => Told::Nothing("the answer to the hello is no TLS"),
    }
}

fn note_hello(answer: &mut HelloAnswer, hello: &ServerHello) {
    answer.version = Some(hello.version());
    answer.suite = Some(hello.suite);
    answer.group = hello.group;
    answer.compression = Some(hello.compression);
    answer.downgraded = hello.has_downgrade_mark();
    answer.extensions.clone_from(&hello.extensions);
}

fn note_exchange(answer: &mut HelloAnswer, exchange: &KeyExchange) {
    match exchange {
        KeyExchange::Ec { group, scheme } => {
            answer.group = Some(*group);
            answer.scheme = *scheme;
        }
        KeyExchange::Dh { prime, scheme, .. } => {
            answer.scheme = *scheme;
            answer.dh_bits = exchange.prime_bits().and_then(|it| it.try_into().ok());
            let hash = Sha256::digest(prime);
            answer.dh_prime = Some(hex(&hash));
        }
        KeyExchange::RsaExport { .. } | KeyExchange::ExplicitCurve | KeyExchange::Other => {}
    }
}

/// In hexadecimal.
pub(crate) fn hex(octets: &[u8]) -> String {
    use std::fmt::Write as _;
    octets.iter().fold(String::new(), |mut text, octet| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{octet:02x}");
        text
    })
}

/// Asks for SSL 2 (RFC 6176).
pub(crate) async fn ask_ssl2(errand: &Errand) -> Seen<HelloAnswer> {
    let mut talk = match errand.begin_tls().await {
        Ok(talk) => talk,
        Err(why) => return Seen::unknown(why),
    };
    let challenge = random(&errand.nonce);
    let challenge = challenge.first_chunk::<16>().copied().unwrap_or_default();
    let hello = ssl2::client_hello(challenge);
    if talk.probe.write(&hello, errand.patience).await.is_err() {
        return Seen::Known(closed());
    }
    let deadline = Instant::now() + errand.patience;
    loop {
        match talk.probe.read(deadline).await {
            Ok(()) => {}
            Err(gatepost_net::client::LegFailure::TooSlow) => {
                return Seen::unknown("no answer to the hello in time");
            }
            Err(_) => return Seen::Known(closed()),
        }
        match ssl2::read(talk.probe.received()) {
            ssl2::Progress::NeedMore => {}
            ssl2::Progress::Hello(hello) => {
                return Seen::Known(HelloAnswer {
                    version: Some(0x0002),
                    chain: vec![BASE64.encode(&hello.certificate)],
                    ..HelloAnswer::default()
                });
            }
            ssl2::Progress::Other => return not_ssl2(talk.probe.received()),
        }
    }
}

/// An answer of another kind: an alert of a newer version, or no TLS at all.
fn not_ssl2(octets: &[u8]) -> Seen<HelloAnswer> {
    match octets {
        // A warning goes on (RFC 5246 7.2.2), and nobody hears where.
        [21, 3, _, _, _, 1, description, ..] if *description != 0 => {
            Seen::unknown("a warning, and no answer behind it")
        }
        [21, 3, _, _, _, _, description, ..] => Seen::Known(HelloAnswer {
            alert: Some(*description),
            ..HelloAnswer::default()
        }),
        [20..=23, 3, ..] => Seen::Known(closed()),
        _ => Seen::unknown("the hello was answered with words in clear"),
    }
}

/// Every version below this that is to be asked for by itself, newest first.
pub(crate) const OLD: [(&str, u16); 3] = [("tls1.1", TLS11), ("tls1.0", TLS10), ("ssl3", SSL3)];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alert_that_is_no_mere_warning_is_the_answer() {
        for (level, description, ends) in [(2, 40, true), (1, 0, true), (1, 112, false)] {
            let mut answer = HelloAnswer::default();
            let told = note(&mut answer, Piece::Alert { level, description });
            assert_eq!(matches!(told, Told::All), ends, "{level} {description}");
            assert_eq!(answer.alert, ends.then_some(description));
        }
    }

    #[test]
    fn worse_suites_stand_before_every_good_one() {
        let target = crate::check::samples::target("mx.test", 25);
        let list = worst_first(&target, [0; 32]).suites;
        let ranks: Vec<_> = list.iter().map(|it| Rank::of_number(*it)).collect();
        assert!(ranks.is_sorted_by(|a, b| a >= b), "{ranks:?}");
        assert!(list.len() <= MOST_SUITES, "{}", list.len());
        // What is refused here would be refused without the worse ones, too.
        assert!(of(is_modern).iter().all(|it| list.contains(it)));
        assert!(
            !list.contains(&0x0034),
            "no certificate is not worse, but another wish"
        );
        for common in [0x002f, 0x000a, 0xc013, 0xc028, 0x009e] {
            assert!(list.contains(&common), "{common:04x}");
        }
        let legacy = of_class(&target, [0; 32], is_legacy, &[]).unwrap().suites;
        let lane = lane(0, 8);
        for list in [legacy, lane] {
            let ranks = list.iter().map(|it| Rank::of_number(*it));
            assert!(ranks.is_sorted_by(|a, b| a >= b));
        }
    }

    #[test]
    fn a_class_fits_one_hello_and_lanes_hold_every_suite_once() {
        for class in [is_weak, is_legacy, is_modern] {
            let plausible = of(|it| class(it) && is_plausible(it) && !it.is_tls13());
            assert!(
                (1..=MOST_SUITES).contains(&plausible.len()),
                "{}",
                plausible.len()
            );
        }
        let mut all: Vec<u16> = (0..8).flat_map(|it| lane(it, 8)).collect();
        all.sort_unstable();
        assert_eq!(all, of(|it| !it.is_tls13()));
        assert!((0..8).all(|it| lane(it, 8).len() <= MOST_SUITES));
    }
}
