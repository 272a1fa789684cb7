//! What servers offered before: one that used to offer STARTTLS and suddenly does not is one between which and the client somebody may stand (W307).
//!
//! A baseline counts only after a quorum of sessions, and for so long; what is kept is the address, the port and two counts, so that it can be carried
//! from run to run in a small file.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::{Value, json};

use super::address;
use super::notes::Protocol;

/// Sessions that must have offered STARTTLS before its absence is told.
const QUORUM: u32 = 3;
/// For how long an offer counts, in nanoseconds: 90 days.
const GOOD_FOR: u64 = 90 * 86_400 * 1_000_000_000;
/// Servers that are remembered.
const MOST: usize = 100_000;
/// Goes up when the file's form changes.
const SCHEMA: &str = "gatepost-watch-state-1";

/// One server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Known {
    offered: u32,
    last: u64,
}

/// What is remembered.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct History {
    servers: BTreeMap<(u128, u16, Protocol), Known>,
}

/// Why a file holds no history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadHistory;

impl History {
    /// A session in which the server's capabilities were seen. True when it used to offer STARTTLS and does not any more.
    pub fn note(
        &mut self,
        server: (u128, u16),
        protocol: Protocol,
        offers: bool,
        time: u64,
    ) -> bool {
        let key = (server.0, server.1, protocol);
        if !offers {
            return self.servers.get(&key).is_some_and(|it| {
                it.offered >= QUORUM && time.saturating_sub(it.last) <= GOOD_FOR
            });
        }
        if self.servers.len() >= MOST && !self.servers.contains_key(&key) {
            self.servers.pop_first();
        }
        let known = self.servers.entry(key).or_default();
        known.offered = known.offered.saturating_add(1);
        known.last = known.last.max(time);
        false
    }

    /// As JSON.
    #[must_use]
    pub fn as_json(&self) -> Value {
        let servers: Vec<Value> = self
            .servers
            .iter()
            .map(|((number, port, protocol), it)| {
                json!({
                    "address": address(*number).to_string(), "port": port, "protocol": protocol.word(),
                    "offered": it.offered, "last": it.last,
                })
            })
            .collect();
        json!({ "schema": SCHEMA, "servers": servers })
    }

    /// Reads it back.
    pub fn from_json(value: &Value) -> Result<Self, BadHistory> {
        if value.get("schema").and_then(Value::as_str) != Some(SCHEMA) {
            return Err(BadHistory);
        }
        let rows = value
            .get("servers")
            .and_then(Value::as_array)
            .ok_or(BadHistory)?;
        let servers = rows.iter().take(MOST).map(row).collect::<Option<_>>();
        Ok(Self {
            servers: servers.ok_or(BadHistory)?,
        })
    }
}

fn row(value: &Value) -> Option<((u128, u16, Protocol), Known)> {
    let address: IpAddr = value.get("address")?.as_str()?.parse().ok()?;
    let number = match address {
        IpAddr::V4(it) => u128::from(it.to_ipv6_mapped()),
        IpAddr::V6(it) => u128::from(it),
    };
    let protocol = match value.get("protocol")?.as_str()? {
        "smtp" => Protocol::Smtp,
        "imap" => Protocol::Imap,
        "pop3" => Protocol::Pop3,
        "managesieve" => Protocol::Sieve,
        _ => return None,
    };
    let port = u16::try_from(value.get("port")?.as_u64()?).ok()?;
    let known = Known {
        offered: u32::try_from(value.get("offered")?.as_u64()?).ok()?,
        last: value.get("last")?.as_u64()?,
    };
    Some(((number, port, protocol), known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offer_is_missed_after_a_quorum_and_for_a_while() {
        let mut history = History::default();
        let server = (7, 25);
        for _ in 0..2 {
            assert!(!history.note(server, Protocol::Smtp, true, 1000));
        }
        assert!(!history.note(server, Protocol::Smtp, false, 2000));
        history.note(server, Protocol::Smtp, true, 3000);
        let mut kept = History::from_json(&history.as_json()).unwrap();
        assert_eq!(kept, history);
        assert!(kept.note(server, Protocol::Smtp, false, 4000));
        assert!(!kept.note((8, 25), Protocol::Smtp, false, 4000));
        assert!(!kept.note(server, Protocol::Smtp, false, GOOD_FOR + 3001));
    }

    #[test]
    fn what_is_no_history_is_refused() {
        for text in [
            "{}",
            r#"{"schema":"x","servers":[]}"#,
            r#"{"schema":"gatepost-watch-state-1","servers":[{}]}"#,
        ] {
            let value: Value = serde_json::from_str(text).unwrap();
            assert_eq!(History::from_json(&value), Err(BadHistory));
        }
    }
}
