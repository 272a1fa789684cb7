//! The answers: the page's files to everybody here, mail to who has the token.
//!
//! | request | answer |
//! |---|---|
//! | `GET /api/v1/accounts` | addresses |
//! | `GET /api/v1/mailboxes?account=A` | names |
//! | `GET /api/v1/messages?account=A&mailbox=M[&before=UID][&limit=N]` | the list, newest first |
//! | `GET /api/v1/message?account=A&mailbox=M&uid=U` | one message taken apart |
//! | `GET /api/v1/source?…` | its octets as they are stored |
//! | `GET /api/v1/part?…&number=N` | an attachment |
//! | `DELETE /api/v1/message?…` | removes it |
//! | `GET /api/v1/events?account=A&mailbox=M` | server-sent events: a line whenever the mailbox changed |

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use gatepost_store::{Error, MailboxId, Message, Store};
use http_body_util::channel::{Channel, Sender};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{
    CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue,
    REFERRER_POLICY, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Method, Request, Response, StatusCode};
use serde_json::{Value, json};
use tokio::sync::{Notify, oneshot};

use super::{Web, guard, message, page};

/// Lines of the list in one answer: as asked, at most.
const PAGE: usize = 200;
/// Octets of a source read at a time.
const PIECE: u32 = 256 * 1024;
/// A stream of news says something this often, so that a browser that is gone is noticed.
const HEARTBEAT: Duration = Duration::from_secs(20);

type Body = BoxBody<Bytes, io::Error>;
type Reply = Response<Body>;

/// Answers one request.
pub(super) async fn answer(web: Arc<Web>, request: Request<Incoming>) -> Result<Reply, Infallible> {
    let mut reply = route(&web, &request).await.unwrap_or_else(refuse);
    let headers = reply.headers_mut();
    for (name, value) in [
        (CONTENT_SECURITY_POLICY, page::POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (CACHE_CONTROL, "no-store"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    Ok(reply)
}

async fn route(web: &Web, request: &Request<Incoming>) -> Result<Reply, StatusCode> {
    guard::host(request.headers(), web.address)?;
    let path = request.uri().path();
    if let Some((kind, text)) = page::file(path) {
        return match *request.method() {
            Method::GET => Ok(full(kind, text.into())),
            _ => Err(StatusCode::METHOD_NOT_ALLOWED),
        };
    }
    guard::bearer(request.headers(), &web.token)?;
    let asked = Asked::read(request.uri().query().unwrap_or_default());
    let store = web.store.clone();
    match (request.method().as_str(), path) {
        ("GET", "/api/v1/accounts") => told(move || accounts(&store)).await,
        ("GET", "/api/v1/mailboxes") => told(move || mailboxes(&store, &asked)).await,
        ("GET", "/api/v1/messages") => told(move || messages(&store, &asked)).await,
        ("GET", "/api/v1/message") => told(move || one(&store, &asked)).await,
        ("GET", "/api/v1/source") => source(store, asked).await,
        ("GET", "/api/v1/part") => block(move || part(&store, &asked))
            .await
            .map(|octets| attachment(full("application/octet-stream", octets))),
        ("DELETE", "/api/v1/message") => remove(store, asked).await,
        ("GET", "/api/v1/events") => events(store, asked).await,
        _ => Err(StatusCode::NOT_FOUND),
    }
}

/// What a query names.
#[derive(Debug, Default)]
struct Asked {
    account: String,
    mailbox: String,
    uid: u32,
    before: Option<u32>,
    limit: Option<usize>,
    number: u32,
}

impl Asked {
    fn read(query: &str) -> Self {
        let mut asked = Self {
            mailbox: "INBOX".to_owned(),
            ..Self::default()
        };
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match name.as_ref() {
                "account" => asked.account = value.to_lowercase(),
                "mailbox" => asked.mailbox = value.into_owned(),
                "uid" => asked.uid = value.parse().unwrap_or_default(),
                "before" => asked.before = value.parse().ok(),
                "limit" => asked.limit = value.parse().ok(),
                "number" => asked.number = value.parse().unwrap_or(u32::MAX),
                _ => {}
            }
        }
        asked
    }

    fn mailbox(&self, store: &Store) -> Result<(MailboxId, Vec<u32>), Error> {
        let account = store.accounts().find(&self.account)?;
        let account = account.ok_or(Error::NoSuchAccount)?;
        let (mailbox, selected) = store.select(account.id, &self.mailbox)?;
        Ok((mailbox, selected.uids))
    }

    fn message(&self, store: &Store) -> Result<(MailboxId, Message), Error> {
        let (mailbox, _) = self.mailbox(store)?;
        let found = store.messages(mailbox, &[self.uid])?;
        let message = found.into_iter().next().ok_or(Error::Gone)?;
        Ok((mailbox, message))
    }
}

fn accounts(store: &Store) -> Result<Value, Error> {
    let list = store.accounts().list()?.into_iter();
    Ok(list
        .map(|it| json!({ "address": it.address, "messages": it.messages, "used": it.used }))
        .collect())
}

fn mailboxes(store: &Store, asked: &Asked) -> Result<Value, Error> {
    let account = store.accounts().find(&asked.account)?;
    let account = account.ok_or(Error::NoSuchAccount)?;
    let mut list = store.list(account.id)?;
    list.sort_by_key(|it| it.name != "INBOX");
    Ok(list
        .into_iter()
        .filter(|it| it.exists)
        .map(|it| Value::String(it.name))
        .collect())
}

fn messages(store: &Store, asked: &Asked) -> Result<Value, Error> {
    let (mailbox, uids) = asked.mailbox(store)?;
    let limit = asked.limit.unwrap_or(50).clamp(1, PAGE);
    let end = match asked.before {
        Some(before) => uids.partition_point(|uid| *uid < before),
        None => uids.len(),
    };
    let page = uids.get(end.saturating_sub(limit)..end).unwrap_or_default();
    let rows = store.messages(mailbox, page)?;
    let list: Vec<Value> = rows
        .iter()
        .rev()
        .map(|row| message::listed(store, row))
        .collect();
    Ok(json!({ "total": uids.len(), "messages": list, "more": end > limit }))
}

fn one(store: &Store, asked: &Asked) -> Result<Value, Error> {
    let (_, row) = asked.message(store)?;
    if row.size > message::TAKEN_APART {
        return Err(Error::TooBig);
    }
    message::shown(&row, &whole(store, &row)?).ok_or(Error::Gone)
}

fn part(store: &Store, asked: &Asked) -> Result<Vec<u8>, Error> {
    let (_, row) = asked.message(store)?;
    if row.size > message::TAKEN_APART {
        return Err(Error::TooBig);
    }
    message::part(&whole(store, &row)?, asked.number).ok_or(Error::Gone)
}

fn whole(store: &Store, row: &Message) -> Result<Vec<u8>, Error> {
    store.read(&row.body, 0, u32::try_from(row.size).unwrap_or(u32::MAX))
}

/// The stored octets, piece by piece: a large message does not stand in memory.
async fn source(store: Store, asked: Asked) -> Result<Reply, StatusCode> {
    let from = store.clone();
    let (_, row) = block(move || asked.message(&from)).await?;
    let (sender, body) = Channel::new(1);
    tokio::spawn(pour(store, row, sender));
    Ok(attachment(reply("message/rfc822", body.boxed())))
}

async fn pour(store: Store, row: Message, mut sender: Sender<Bytes, io::Error>) {
    let mut offset = 0;
    while offset < row.size {
        let (store, body) = (store.clone(), row.body);
        let Ok(piece) = block(move || store.read(&body, offset, PIECE)).await else {
            // The answer ends short of what was there: better than one that looks whole.
            return sender.abort(io::ErrorKind::BrokenPipe.into());
        };
        offset += piece.len() as u64;
        if piece.is_empty() || sender.send_data(piece.into()).await.is_err() {
            return;
        }
    }
}

async fn remove(store: Store, asked: Asked) -> Result<Reply, StatusCode> {
    let (from, uid) = (store.clone(), asked.uid);
    let (mailbox, _) = block(move || asked.message(&from)).await?;
    let (done, answer) = oneshot::channel();
    store.remove(mailbox, vec![uid], move |removed| {
        // Nobody waits any more: it is removed all the same.
        let _ = done.send(removed);
    });
    let removed = answer
        .await
        .map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    removed.map_err(status)?;
    told(move || Ok(json!({ "removed": uid }))).await
}

async fn events(store: Store, asked: Asked) -> Result<Reply, StatusCode> {
    let from = store.clone();
    let (mailbox, _) = block(move || asked.mailbox(&from)).await?;
    let (mut sender, body) = Channel::new(1);
    tokio::spawn(async move {
        let news = Arc::new(Notify::new());
        let bell = Arc::clone(&news);
        let _subscription = store.subscribe(mailbox, Arc::new(move || bell.notify_one()));
        loop {
            let heard = tokio::time::timeout(HEARTBEAT, news.notified()).await;
            let line = if heard.is_ok() {
                "data: changed\n\n"
            } else {
                ": still here\n\n"
            };
            if sender
                .send_data(Bytes::from_static(line.as_bytes()))
                .await
                .is_err()
            {
                return;
            }
        }
    });
    Ok(reply("text/event-stream", body.boxed()))
}

/// JSON made by a read of the store.
async fn told(
    read: impl FnOnce() -> Result<Value, Error> + Send + 'static,
) -> Result<Reply, StatusCode> {
    let value = block(read).await?;
    Ok(full("application/json", value.to_string().into_bytes()))
}

/// Reads of the store block.
async fn block<T: Send + 'static>(
    read: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, StatusCode> {
    let read = tokio::task::spawn_blocking(read).await;
    read.map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?
        .map_err(status)
}

fn status(error: Error) -> StatusCode {
    match error {
        Error::NoSuchAccount | Error::NoSuchMailbox | Error::Gone => StatusCode::NOT_FOUND,
        Error::TooBig => StatusCode::PAYLOAD_TOO_LARGE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn full(kind: &'static str, octets: Vec<u8>) -> Reply {
    reply(
        kind,
        Full::new(octets.into())
            .map_err(|never| match never {})
            .boxed(),
    )
}

fn reply(kind: &'static str, body: Body) -> Reply {
    let mut reply = Response::new(body);
    reply
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    reply
}

/// Never shown by a browser in this page's place: what a message brings is saved, not run.
fn attachment(mut reply: Reply) -> Reply {
    reply
        .headers_mut()
        .insert(CONTENT_DISPOSITION, HeaderValue::from_static("attachment"));
    reply
}

fn refuse(status: StatusCode) -> Reply {
    let text = match status {
        StatusCode::UNAUTHORIZED => {
            "the token is missing or wrong: open the address that serve printed, or read web-token in the data folder"
        }
        StatusCode::MISDIRECTED_REQUEST => {
            "this page is for this machine, by the name localhost or its address"
        }
        StatusCode::NOT_FOUND => "there is no such account, mailbox, message or path",
        StatusCode::PAYLOAD_TOO_LARGE => "too large to be taken apart; its source can be had",
        StatusCode::METHOD_NOT_ALLOWED | StatusCode::BAD_REQUEST => {
            "not a request this page answers"
        }
        _ => "a fault of the server; its log says more",
    };
    let mut reply = full(
        "application/json",
        json!({ "error": text }).to_string().into(),
    );
    *reply.status_mut() = status;
    if status == StatusCode::UNAUTHORIZED {
        reply
            .headers_mut()
            .insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    reply
}
