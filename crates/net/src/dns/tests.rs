use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use gatepost_trust::dns::Rtype;
use tokio::net::TcpListener;

use super::*;

fn query() -> Query {
    Query {
        name: "mx.example".parse().unwrap(),
        rtype: Rtype::A,
        checking_disabled: false,
    }
}

/// A reply to a question as it came, with these bits in the third and fourth octet.
fn reply_to(question: &[u8], third: u8, fourth: u8) -> Vec<u8> {
    let mut reply = question.to_vec();
    reply[2] = third;
    reply[3] = fourth;
    reply
}

/// A resolver on UDP that answers each question with what `answers` makes of it.
async fn resolver(
    answers: impl Fn(&[u8]) -> Vec<Vec<u8>> + Send + 'static,
) -> (SocketAddr, Arc<AtomicU32>) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let asked = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&asked);
    tokio::spawn(async move {
        let mut datagram = [0; 4096];
        while let Ok((length, peer)) = socket.recv_from(&mut datagram).await {
            counter.fetch_add(1, Ordering::Relaxed);
            for answer in answers(&datagram[..length]) {
                socket.send_to(&answer, peer).await.unwrap();
            }
        }
    });
    (address, asked)
}

#[tokio::test]
async fn what_does_not_answer_the_question_is_waited_past() {
    let (address, _) = resolver(|question| {
        let right = reply_to(question, 0x81, 0x80);
        let mut wrong_id = right.clone();
        wrong_id[0] ^= 1;
        let mut wrong_name = right.clone();
        wrong_name[13] = b'x';
        let mut question = right.clone();
        question[2] = 0x01;
        vec![wrong_id, wrong_name, question, vec![1], right]
    })
    .await;
    let exchanged = Network::new(vec![address])
        .exchange(&query())
        .await
        .unwrap();
    assert!(exchanged.loopback);
    assert_eq!(exchanged.reply[13], b'm');
    assert_eq!(exchanged.reply[2], 0x81);
}

#[tokio::test]
async fn a_truncated_reply_is_asked_for_over_tcp() {
    let (address, _) = resolver(|question| vec![reply_to(question, 0x83, 0x80)]).await;
    let listener = TcpListener::bind(address).await.unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let length = stream.read_u16().await.unwrap();
        let mut question = vec![0; usize::from(length)];
        stream.read_exact(&mut question).await.unwrap();
        let reply = reply_to(&question, 0x81, 0xa0);
        stream.write_u16(length).await.unwrap();
        stream.write_all(&reply).await.unwrap();
    });
    let exchanged = Network::new(vec![address])
        .exchange(&query())
        .await
        .unwrap();
    assert_eq!(exchanged.reply[3], 0xa0);
}

#[tokio::test]
async fn a_resolver_that_fails_gives_way_to_another() {
    let (failing, failed) = resolver(|question| vec![reply_to(question, 0x81, 0x82)]).await;
    let (good, _) = resolver(|question| vec![reply_to(question, 0x81, 0x80)]).await;
    let exchanged = Network::new(vec![failing, good])
        .exchange(&query())
        .await
        .unwrap();
    assert_eq!(exchanged.reply[3], 0x80);
    assert_eq!(failed.load(Ordering::Relaxed), 1);
    let exchanged = Network::new(vec![failing])
        .exchange(&query())
        .await
        .unwrap();
    assert_eq!(
        exchanged.reply[3], 0x82,
        "its word stands if nobody says better"
    );
}

#[tokio::test]
async fn silent_resolvers_are_asked_twice_and_given_up() {
    let (first, first_asked) = resolver(|_| Vec::new()).await;
    let (second, second_asked) = resolver(|_| Vec::new()).await;
    let network = Network::new(vec![first, second]).with_patience([Duration::from_millis(300); 2]);
    assert_eq!(network.exchange(&query()).await, Err(Unanswered));
    assert_eq!(first_asked.load(Ordering::Relaxed), 2);
    assert_eq!(second_asked.load(Ordering::Relaxed), 2);
}

#[test]
fn ids_differ() {
    let ids: std::collections::HashSet<u16> = (0..64).map(|_| draw_id().unwrap()).collect();
    assert!(ids.len() > 32);
}

/// A resolver that has room for so many questions, needs a while for each, and drops what is beyond without a word.
async fn small_resolver(room: usize, needs: Duration) -> SocketAddr {
    let socket = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let places = Arc::new(tokio::sync::Semaphore::new(room));
        let mut datagram = [0; 4096];
        while let Ok((length, peer)) = socket.recv_from(&mut datagram).await {
            let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                continue;
            };
            let (socket, reply) = (
                Arc::clone(&socket),
                reply_to(&datagram[..length], 0x81, 0x80),
            );
            tokio::spawn(async move {
                tokio::time::sleep(needs).await;
                drop(place);
                socket.send_to(&reply, peer).await.unwrap();
            });
        }
    });
    address
}

#[tokio::test]
async fn a_resolver_is_asked_no_more_than_it_can_hold() {
    let address = small_resolver(40, Duration::from_millis(5)).await;
    let network = Network::new(vec![address]).with_patience([Duration::from_millis(500); 2]);
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..4_000 {
        let network = network.clone();
        asking.spawn(async move { network.exchange(&query()).await.is_ok() });
    }
    let answered = asking.join_all().await.into_iter().filter(|it| *it).count();
    // All at once it would answer 40, and 40 of those that ask again.
    assert!(answered > 3_800, "{answered} of 4000");
}
