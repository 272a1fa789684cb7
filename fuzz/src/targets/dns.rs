//! Replies of a resolver: whatever comes, nothing is secure that nobody signed.

use std::future::Future;
use std::pin::pin;
use std::sync::Mutex;
use std::task::{Context, Poll, Waker};
use std::time::SystemTime;

use gatepost_trust::dns::{
    Anchors, Exchanged, Lookup, Name, Query, Resolver, Rtype, Status, Transport, Unanswered,
    Validation,
};

use crate::Target;
use crate::behaviour;
use crate::input::Input;

/// Replies to the questions of a lookup, one segment each.
pub const REPLIES: Target = Target {
    name: "dns",
    run: replies,
    seeds,
    words: &[
        "\x02mx\x07example\x00",
        "\u{c}\x00\x01",
        "\x00\x05\x00\x01",
        "\x00\x2e\x00\x01",
        "\x00\x34\x00\x01",
    ],
};

/// A transport that has its replies ready. Id, question and flags fit, as a transport sees to it.
struct Ready(Mutex<Vec<Vec<u8>>>);

impl Transport for Ready {
    async fn exchange(&self, query: &Query) -> Result<Exchanged, Unanswered> {
        let body = self
            .0
            .lock()
            .map_or(None, |mut replies| replies.pop())
            .ok_or(Unanswered)?;
        let mut reply = query.encode(7);
        let question = reply.len() - 11;
        reply.truncate(question);
        let (counts, rest) = body.split_at_checked(3).ok_or(Unanswered)?;
        reply[2] = 0x81;
        reply[3] = counts[0];
        for (at, count) in [7, 9, 11]
            .into_iter()
            .zip([counts[1], counts[2] & 0x0f, counts[2] >> 4])
        {
            reply[at] = count & 0x3f;
        }
        reply.extend_from_slice(rest);
        if !query.is_answered_by(7, &reply) {
            return Err(Unanswered);
        }
        Ok(Exchanged {
            reply,
            loopback: false,
        })
    }
}

fn run<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => Some(done),
        Poll::Pending => None,
    }
}

/// Looks names up with these replies, validating and not.
///
/// # Panics
/// When something is secure, or an unknown answer has records.
pub fn replies(data: &[u8]) {
    let input = Input::parse(data);
    let name: Name = "mx.example".parse().expect("a name");
    for rtype in [
        Rtype::A,
        Rtype::MX,
        Rtype::TLSA,
        Rtype::SRV,
        Rtype::TXT,
        Rtype::CNAME,
    ] {
        for validation in [Validation::Off, Validation::Loopback(Anchors::root())] {
            let replies = input
                .segments(input.clear)
                .iter()
                .rev()
                .map(|it| it.to_vec())
                .collect();
            let resolver = Resolver::new(Ready(Mutex::new(replies)), validation, 10);
            let answer =
                run(resolver.lookup(&name, rtype, SystemTime::UNIX_EPOCH)).expect("nothing waits");
            assert_ne!(answer.status, Status::Secure, "nobody signed this");
            assert!(answer.status.is_known() || answer.records.is_empty());
            behaviour::note((answer.status, answer.records.len(), answer.aliases.len()));
        }
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let record = |rtype: u8, rdata: &[u8]| {
        let mut record = vec![0xc0, 12, 0, rtype, 0, 1, 0, 0, 0, 60, 0];
        record.push(u8::try_from(rdata.len()).unwrap_or(0));
        record.extend_from_slice(rdata);
        record
    };
    let reply =
        |answers: u8, records: &[Vec<u8>]| [vec![0x80, answers, 0], records.concat()].concat();
    let address = reply(1, &[record(1, &[127, 0, 0, 1])]);
    let mail = reply(1, &[record(15, b"\x00\x0a\xc0\x0c")]);
    let tlsa = reply(1, &[record(52, &[3, 1, 1, 7, 7])]);
    let alias = reply(1, &[record(5, b"\x01a\xc0\x0c")]);
    let service = reply(1, &[record(33, b"\x00\x00\x00\x00\x03\xe1\xc0\x0c")]);
    let text = reply(1, &[record(16, b"\x02ab\x01c")]);
    let signature = record(
        46,
        b"\x00\x01\x08\x02\x00\x00\x00\x3c\x7f\xff\xff\xff\x00\x00\x00\x00\x00\x07\x00sig",
    );
    let signed = reply(2, &[record(1, &[127, 0, 0, 1]), signature]);
    let nothing = vec![0x83, 0, 0];
    let one = |reply: &[u8]| Input::build(0, &[], reply);
    let mut seeds: Vec<Vec<u8>> = [&address, &mail, &tlsa, &service, &text, &signed, &nothing]
        .into_iter()
        .map(|reply| one(reply))
        .collect();
    let cut = u16::try_from(alias.len()).unwrap_or(0);
    seeds.push(Input::build(0, &[cut], &[alias, nothing].concat()));
    seeds
}
