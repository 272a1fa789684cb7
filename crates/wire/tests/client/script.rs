//! A scripted server: what the client says, turn by turn, and what it makes of the replies.

use gatepost_wire::client::Session;
use gatepost_wire::session::Next;
use std::fmt::Debug;
use std::time::Instant;

/// What came of a script.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// What the client said between the replies: one entry a wait.
    pub(crate) said: Vec<String>,
    /// What it told its owner.
    pub(crate) told: Vec<String>,
    /// The label of the failure; empty for none.
    pub(crate) end: &'static str,
}

/// Runs a client that is inside TLS already (or in clear for good) against replies, one each time it waits; when they are used up, the
/// server closes. Also cut byte by byte, which must come to the same.
pub(crate) fn run<M: Session, O: FnMut(M::Ask) -> M::Answer>(
    make: impl Fn() -> M,
    owner: impl Fn() -> O,
    replies: &[&str],
) -> Outcome
where
    M::Ask: Debug,
{
    let whole = once(make(), owner(), replies, usize::MAX);
    let cut = once(make(), owner(), replies, 1);
    assert_eq!(
        (&whole.said, &whole.told, whole.end),
        (&cut.said, &cut.told, cut.end)
    );
    whole
}

fn once<M: Session>(
    mut client: M,
    mut owner: impl FnMut(M::Ask) -> M::Answer,
    replies: &[&str],
    segment: usize,
) -> Outcome
where
    M::Ask: Debug,
{
    let now = Instant::now();
    let mut outcome = Outcome {
        said: vec![String::new()],
        told: Vec::new(),
        end: "",
    };
    let mut replies = replies.iter();
    let mut pieces: Vec<Vec<u8>> = Vec::new();
    loop {
        match client.next(now) {
            Next::Ask(ask) => {
                outcome.told.push(format!("{ask:?}"));
                client.answer(owner(ask));
            }
            Next::Write => {
                let said = String::from_utf8_lossy(client.output()).into_owned();
                outcome.said.last_mut().unwrap().push_str(&said);
                client.output().clear();
            }
            Next::Read { .. } => {
                if pieces.is_empty() {
                    let Some(reply) = replies.next() else {
                        client.peer_closed(true);
                        continue;
                    };
                    let tag = tag(outcome.said.last().unwrap());
                    let reply = reply.replace("{tag}", &tag);
                    pieces = reply
                        .as_bytes()
                        .chunks(segment)
                        .map(<[u8]>::to_vec)
                        .collect();
                    pieces.reverse();
                    outcome.said.push(String::new());
                }
                if let Some(piece) = pieces.pop() {
                    client.receive(&piece);
                }
            }
            Next::Upgrade => panic!("no TLS here"),
            Next::Close(_) => {
                outcome.end = client.failure().map_or("", |it| it.label());
                return outcome;
            }
        }
    }
}

fn tag(said: &str) -> String {
    said.split(' ').next().unwrap_or_default().to_owned()
}
