//! Which upstream a session goes to, where they do not all stand in for one another.
//!
//! | route | chosen by |
//! |---|---|
//! | none | the fewest sessions for its weight |
//! | `hash` | the user's name, always the same while the upstreams are (rendezvous hashing) |
//! | `table:FILE` | a file of users, domains and server names ([`table`]) |
//! | `socketmap:…`, `http://…` | a service that is asked ([`service`]) |
//!
//! A lookup chooses among the configured upstreams, by their `group` or their host and port; it cannot name others, so how they are
//! reached and verified stays the operator's word. One that fails, is slow, or answers with something else than an upstream of ours
//! fails closed: the client may try again, nobody's credential goes anywhere, and never to somebody else's server.

pub(super) mod hash;
pub mod service;
pub mod table;

use std::sync::Arc;

use super::identity::Client;
use super::member::Member;
use super::pool::Pool;
use super::trouble::Trouble;
use crate::log::Log;
use crate::services::Protocol;
use service::Service;
use table::Table;

/// How an upstream is chosen.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Route {
    /// Any of them.
    #[default]
    Any,
    /// By the user's name.
    Hash,
    /// By a file.
    Table(std::path::PathBuf),
    /// By a service.
    Service(service::Place),
}

impl Route {
    /// Reads a route.
    ///
    /// # Errors
    /// What is wrong, and what to write instead.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text {
            "" => return Ok(Self::Any),
            "hash" => return Ok(Self::Hash),
            _ => {}
        }
        if let Some(file) = text.strip_prefix("table:").filter(|it| !it.is_empty()) {
            return Ok(Self::Table(file.into()));
        }
        service::Place::parse(text).map(Self::Service)
    }
}

/// A route at work.
#[derive(Debug)]
pub(super) enum Router {
    Any,
    Hash,
    Table(Table),
    Service(Service),
}

/// What a route says about one session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Choice {
    /// Any upstream.
    Any,
    /// One after the other in the order of this name's hash.
    Hashed(Box<str>),
    /// Those with this group, or this host and port.
    Named(Box<str>),
}

impl Router {
    /// # Errors
    /// What is wrong with a file it needs, in words for the operator.
    pub(super) fn new(route: &Route, log: &Log) -> Result<Self, String> {
        Ok(match route {
            Route::Any => Self::Any,
            Route::Hash => Self::Hash,
            Route::Table(file) => Self::Table(Table::open(file.clone(), log.clone())?),
            Route::Service(place) => Self::Service(Service::new(place.clone())),
        })
    }

    /// What to do with a session; `user` is none where nobody has logged in.
    pub(super) async fn choose(
        &self,
        user: Option<&str>,
        client: &Client,
        protocol: Protocol,
    ) -> Result<Choice, Trouble> {
        let server_name = client.tls.as_ref().and_then(|it| it.sni.as_deref());
        match self {
            Self::Any => Ok(Choice::Any),
            Self::Hash => Ok(user.map_or(Choice::Any, |it| Choice::Hashed(canonical(it)))),
            Self::Table(table) => table
                .find(user.map(canonical).as_deref(), server_name)
                .map(Choice::Named)
                .ok_or(Trouble::Unrouted("the table has no line for it".to_owned())),
            Self::Service(service) => {
                let user = user.map(canonical);
                let question = service::Question {
                    user: user.as_deref(),
                    server_name,
                    client: client.address,
                    protocol,
                };
                let answer = service.ask(&question).await;
                answer.map(Choice::Named).map_err(Trouble::Unrouted)
            }
        }
    }
}

/// A user's name without the differences that mean nothing: one user is never two.
fn canonical(user: &str) -> Box<str> {
    user.trim().to_lowercase().into()
}

impl Choice {
    /// The upstreams of a pool this leaves, the first to be tried first.
    pub(super) fn of(&self, pool: &Pool) -> Result<Vec<Arc<Member>>, Trouble> {
        let mut members = pool.candidates();
        match self {
            Self::Any => {}
            Self::Hashed(name) => {
                let score =
                    |it: &Arc<Member>| hash::score(name, &it.spec().place(), it.spec().weight);
                members.sort_by(|a, b| score(b).total_cmp(&score(a)));
            }
            Self::Named(name) => {
                members.retain(|it| {
                    it.spec().group.as_deref() == Some(name) || it.spec().place() == **name
                });
                if members.is_empty() {
                    // Its own upstream may be resting: then there is no other.
                    members = resting(pool, name);
                }
                if members.is_empty() {
                    return Err(Trouble::Unrouted(format!(
                        "{name:?} is neither a group nor a place of an upstream here"
                    )));
                }
            }
        }
        Ok(members)
    }
}

fn resting(pool: &Pool, name: &str) -> Vec<Arc<Member>> {
    let all = pool.members().iter();
    let named =
        all.filter(|it| it.spec().group.as_deref() == Some(name) || it.spec().place() == name);
    named.map(Arc::clone).collect()
}

#[cfg(test)]
mod tests {
    use super::super::url::Spec;
    use super::*;

    fn pool(urls: &[&str]) -> Pool {
        let member = |url: &&str| Arc::new(Member::new(Spec::parse(url).unwrap()).unwrap());
        Pool::new(Protocol::Imap, urls.iter().map(member).collect())
    }

    fn ports(choice: &Choice, pool: &Pool) -> Vec<u16> {
        let members = choice.of(pool).unwrap_or_default();
        members.iter().map(|it| it.spec().port).collect()
    }

    fn named(name: &str) -> Choice {
        Choice::Named(name.into())
    }

    #[test]
    fn a_name_leaves_its_own_upstreams_and_no_others() {
        let pool = pool(&[
            "imap://127.0.0.1:1?group=a",
            "imap://127.0.0.1:2?group=b",
            "imap://127.0.0.1:3?group=b",
        ]);
        assert_eq!(ports(&named("a"), &pool), [1]);
        assert_eq!(ports(&named("b"), &pool), [2, 3]);
        assert_eq!(ports(&named("127.0.0.1:3"), &pool), [3]);
        assert!(named("c").of(&pool).is_err());
        assert!(named("127.0.0.1:4").of(&pool).is_err());
        // One that rests is tried all the same: there is no other for this user.
        pool.members()[0].failed();
        assert_eq!(ports(&named("a"), &pool), [1]);
        pool.members()[1].failed();
        assert_eq!(ports(&named("b"), &pool), [3]);
    }

    #[test]
    fn a_user_comes_to_the_same_upstream_and_moves_only_when_that_is_gone() {
        let urls = [
            "imap://127.0.0.1:1",
            "imap://127.0.0.1:2",
            "imap://127.0.0.1:3",
        ];
        let all = pool(&urls);
        let less = pool(&urls[..2]);
        let mut moved = 0;
        for number in 0..300 {
            let choice = Choice::Hashed(format!("user{number}").into());
            let home = ports(&choice, &all);
            assert_eq!(home.len(), 3);
            let after = ports(&choice, &less);
            if home[0] == 3 {
                moved += 1;
            } else {
                assert_eq!(after[0], home[0]);
            }
        }
        assert!((60..140).contains(&moved), "{moved}");
    }

    #[test]
    fn routes_are_read() {
        assert_eq!(Route::parse(""), Ok(Route::Any));
        assert_eq!(Route::parse("hash"), Ok(Route::Hash));
        assert_eq!(
            Route::parse("table:/etc/routes"),
            Ok(Route::Table("/etc/routes".into()))
        );
        assert!(matches!(
            Route::parse("socketmap:127.0.0.1:9000:users"),
            Ok(Route::Service(_))
        ));
        for bad in [
            "table:",
            "users",
            "https://x/",
            "socketmap:x",
            "http://192.0.2.1/auth",
        ] {
            assert!(Route::parse(bad).is_err(), "{bad}");
        }
    }
}
