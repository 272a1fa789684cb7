//! What all sessions come to: how many came out how, which TLS was spoken, and who would be left outside if clear text were switched off.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};

use super::event::{Finding, Outcome, SCHEMA, Session};
use super::notes::Protocol;
use super::tls::version_label;
use super::{Counters, address};
use crate::finding::Severity;
use gatepost_wire::tls::names;

/// The most clients that are listed.
const MOST_LISTED: usize = 10_000;

/// Who used clear text: client, server and its port, protocol [SUBM-07].
type Pair = (u128, u128, u16, Protocol);

/// What a client did in clear.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct InClear {
    sessions: u64,
    logins: u64,
    sent: u64,
    read: u64,
}

/// The summary.
#[derive(Debug, Default)]
pub struct Summary {
    sessions: BTreeMap<(Protocol, Outcome), u64>,
    versions: BTreeMap<u16, u64>,
    suites: BTreeMap<String, u64>,
    /// [PQ-03] By which groups keys were exchanged, hybrid ones among them.
    groups: BTreeMap<u16, u64>,
    findings: BTreeMap<&'static str, u64>,
    clear: BTreeMap<Pair, InClear>,
    unlisted: u64,
    worst: Option<Severity>,
}

impl Summary {
    /// Counts a finding.
    pub fn add_finding(&mut self, finding: &Finding) {
        *self.findings.entry(finding.id).or_default() += 1;
        self.worst = self.worst.max(Some(finding.severity));
    }

    /// Counts a session.
    pub fn add_session(&mut self, session: &Session) {
        *self
            .sessions
            .entry((session.protocol, session.outcome))
            .or_default() += 1;
        if let Some(tls) = session.tls.as_ref().filter(|it| it.is_established) {
            if let Some(version) = tls.version {
                *self.versions.entry(version).or_default() += 1;
            }
            if let Some(group) = tls.group {
                *self.groups.entry(group).or_default() += 1;
            }
            let suite = tls.suite.map(names::suite_label);
            let suite = suite.or_else(|| tls.suite_name.as_deref().map(Into::into));
            if let Some(suite) = suite {
                match self.suites.get_mut(&*suite) {
                    Some(count) => *count += 1,
                    None => *self.suites.entry(suite.into_owned()).or_default() += 1,
                }
            }
        }
        if !matches!(session.outcome, Outcome::Clear | Outcome::Stripped) {
            return;
        }
        let (client, server) = (session.ends.client, session.ends.server);
        let pair = (client.0, server.0, server.1, session.protocol);
        if self.clear.len() >= MOST_LISTED && !self.clear.contains_key(&pair) {
            self.unlisted += 1;
            return;
        }
        let [logins, sent, read] = session.in_clear.map(u64::from);
        let entry = self.clear.entry(pair).or_default();
        entry.sessions += 1;
        entry.logins += logins;
        entry.sent += sent;
        entry.read += read;
    }

    /// The worst severity found.
    #[must_use]
    pub fn worst(&self) -> Option<Severity> {
        self.worst
    }

    /// As JSON.
    #[must_use]
    pub fn as_json(&self, counters: &Counters) -> Value {
        let mut sessions: BTreeMap<&str, BTreeMap<&str, u64>> = BTreeMap::new();
        for ((protocol, outcome), count) in &self.sessions {
            sessions
                .entry(protocol.word())
                .or_default()
                .insert(outcome.word(), *count);
        }
        let versions: BTreeMap<_, _> = self
            .versions
            .iter()
            .map(|it| (version_label(*it.0), it.1))
            .collect();
        let groups: BTreeMap<_, _> = self
            .groups
            .iter()
            .map(|it| (names::group_label(*it.0), it.1))
            .collect();
        let clear: Vec<Value> = self
            .clear
            .iter()
            .map(|((client, server, port, protocol), it)| {
                json!({
                    "client": address(*client).to_string(), "server": address(*server).to_string(), "port": port,
                    "protocol": protocol.word(), "sessions": it.sessions, "logins": it.logins, "sent": it.sent,
                    "read": it.read,
                })
            })
            .collect();
        let links: BTreeMap<String, u64> = counters
            .unknown_links
            .iter()
            .map(|it| (it.0.to_string(), *it.1))
            .collect();
        json!({
            "kind": "summary", "schema": SCHEMA,
            "sessions": sessions, "tls_versions": versions, "tls_suites": self.suites, "tls_groups": groups,
            "findings": self.findings,
            "clear_clients": clear, "clear_clients_unlisted": self.unlisted,
            "worst": self.worst.map(Severity::word),
            "packets": counters.packets, "octets": counters.octets, "flows": counters.flows,
            "not_mail": counters.not_mail, "cut_packets": counters.cut, "other_packets": counters.other,
            "given_up": counters.given_up, "dropped": counters.dropped, "unknown_links": links,
        })
    }

    /// As OpenMetrics text.
    #[must_use]
    pub fn metrics(&self, counters: &Counters) -> String {
        let mut text = String::from(
            "# TYPE gatepost_watch_sessions counter\n# HELP gatepost_watch_sessions Mail sessions by outcome.\n",
        );
        for ((protocol, outcome), count) in &self.sessions {
            let (protocol, outcome) = (protocol.word(), outcome.word());
            let _ = writeln!(
                text,
                "gatepost_watch_sessions_total{{protocol=\"{protocol}\",outcome=\"{outcome}\"}} {count}"
            );
        }
        text.push_str("# TYPE gatepost_watch_findings counter\n# HELP gatepost_watch_findings Findings by rule.\n");
        for (id, count) in &self.findings {
            let severity = crate::rules::find(id).map_or("info", |it| it.severity.word());
            let _ = writeln!(
                text,
                "gatepost_watch_findings_total{{id=\"{id}\",severity=\"{severity}\"}} {count}"
            );
        }
        text.push_str("# TYPE gatepost_watch_tls_versions counter\n# HELP gatepost_watch_tls_versions TLS sessions by version.\n");
        for (version, count) in &self.versions {
            let _ = writeln!(
                text,
                "gatepost_watch_tls_versions_total{{version=\"{}\"}} {count}",
                version_label(*version)
            );
        }
        text.push_str("# TYPE gatepost_watch_tls_groups counter\n# HELP gatepost_watch_tls_groups TLS sessions by the group of their key exchange.\n");
        for (group, count) in &self.groups {
            let group = names::group_label(*group);
            let _ = writeln!(
                text,
                "gatepost_watch_tls_groups_total{{group=\"{group}\"}} {count}"
            );
        }
        for (name, help, count) in [
            ("packets", "Packets read.", counters.packets),
            ("octets", "Octets of packets read.", counters.octets),
            ("connections", "Connections seen.", counters.flows),
            (
                "connections_not_mail",
                "Connections that are not mail.",
                counters.not_mail,
            ),
            (
                "connections_given_up",
                "Connections given up for want of memory.",
                counters.given_up,
            ),
            ("packets_cut", "Packets cut short.", counters.cut),
            (
                "packets_dropped",
                "Packets the kernel dropped.",
                counters.dropped,
            ),
        ] {
            let _ = writeln!(
                text,
                "# TYPE gatepost_watch_{name} counter\n# HELP gatepost_watch_{name} {help}\ngatepost_watch_{name}_total {count}"
            );
        }
        text.push_str("# EOF\n");
        text
    }

    /// As text for people.
    #[must_use]
    pub fn text(&self, counters: &Counters) -> String {
        let mut text = String::from("Sessions\n");
        if self.sessions.is_empty() {
            text.push_str("  none of mail\n");
        }
        for ((protocol, outcome), count) in &self.sessions {
            let _ = writeln!(
                text,
                "  {:<5} {:<10} {count}",
                protocol.word(),
                outcome.word()
            );
        }
        if !self.versions.is_empty() {
            text.push_str("TLS\n");
            for (version, count) in &self.versions {
                let _ = writeln!(text, "  {:<40} {count}", version_label(*version));
            }
            for (suite, count) in &self.suites {
                let _ = writeln!(text, "  {suite:<40} {count}");
            }
            for (group, count) in &self.groups {
                let _ = writeln!(text, "  {:<40} {count}", names::group_label(*group));
            }
        }
        if !self.clear.is_empty() {
            text.push_str("Who would be left outside if clear text were switched off\n");
            for ((client, server, port, protocol), it) in &self.clear {
                let _ = writeln!(
                    text,
                    "  {} to {} {} ({} sessions: {} logins, {} mails sent, {} read)",
                    address(*client),
                    std::net::SocketAddr::new(address(*server), *port),
                    protocol.word(),
                    it.sessions,
                    it.logins,
                    it.sent,
                    it.read
                );
            }
        }
        if self.unlisted > 0 {
            let _ = writeln!(text, "  and {} sessions more", self.unlisted);
        }
        if !self.findings.is_empty() {
            text.push_str("Findings\n");
            for (id, count) in &self.findings {
                let rule = crate::rules::find(id);
                let severity = rule.map_or("", |it| it.severity.word());
                let _ = writeln!(
                    text,
                    "  {id} {severity:<8} {count:>6}  {}",
                    rule.map_or("", |it| it.text)
                );
            }
        }
        let _ = writeln!(
            text,
            "Read {} packets of {} connections, {} of them not mail",
            counters.packets, counters.flows, counters.not_mail
        );
        if counters.cut > 0 {
            let _ = writeln!(text, "{} packets were cut short", counters.cut);
        }
        if counters.dropped > 0 {
            let _ = writeln!(
                text,
                "{} packets were dropped by the kernel",
                counters.dropped
            );
        }
        if counters.given_up > 0 {
            let _ = writeln!(
                text,
                "{} connections were given up for want of memory",
                counters.given_up
            );
        }
        text
    }
}
