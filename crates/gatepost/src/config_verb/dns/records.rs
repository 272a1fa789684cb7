//! The records, in the order to publish them.

use super::Wanted;
use crate::config_verb::words;

/// One record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    /// Its owner, absolute, with the last dot.
    pub(super) owner: String,
    /// Its type.
    pub(super) rtype: &'static str,
    /// Its data as zone files write it.
    pub(super) data: String,
}

impl Record {
    /// As a zone file has it.
    fn line(&self) -> String {
        format!("{} IN {} {}\n", self.owner, self.rtype, self.data)
    }
}

/// Records that are published together, and why then.
#[derive(Debug)]
pub(super) struct Group {
    /// What and why, as comment lines.
    pub(super) words: String,
    /// The records.
    pub(super) records: Vec<Record>,
    /// Records that must not be published yet.
    pub(super) held: Vec<Record>,
}

impl Group {
    fn new(words: impl Into<String>, records: Vec<Record>) -> Self {
        Self {
            words: words.into(),
            records,
            held: Vec::new(),
        }
    }
}

fn record(owner: &str, rtype: &'static str, data: impl Into<String>) -> Record {
    Record {
        owner: format!("{owner}."),
        rtype,
        data: data.into(),
    }
}

/// The file for <https://mta-sts.DOMAIN/.well-known/mta-sts.txt> (RFC 8461 section 3.2), with CRLF as the format wants it.
pub(super) fn policy(wanted: &Wanted) -> String {
    let hosts = hosts(wanted).fold(String::new(), |text, host| {
        text + &format!("mx: {host}\r\n")
    });
    let age = if wanted.mode == "testing" {
        86_400
    } else {
        1_209_600
    };
    format!(
        "version: STSv1\r\nmode: {}\r\n{hosts}max_age: {age}\r\n",
        wanted.mode
    )
}

fn hosts(wanted: &Wanted) -> impl Iterator<Item = &String> {
    std::iter::once(&wanted.host).chain(&wanted.more)
}

/// It changes with the policy, and only then.
fn policy_id(wanted: &Wanted) -> String {
    let mut id = words::hash(&policy(wanted));
    id.truncate(16);
    id
}

/// Every group, in order.
pub(super) fn groups(wanted: &Wanted) -> Vec<Group> {
    let domain = wanted.domain.as_str();
    let mut groups = vec![addresses(wanted), authority(wanted), exchanges(wanted)];
    groups.push(Group::new(
        "4. Reports about TLS failures (RFC 8460). Before anything that can fail.",
        vec![record(
            &format!("_smtp._tls.{domain}"),
            "TXT",
            format!("\"v=TLSRPTv1; rua=mailto:{}\"", wanted.reports),
        )],
    ));
    groups.push(sts(wanted));
    groups.push(dane(wanted));
    groups.push(services(wanted));
    groups
}

fn addresses(wanted: &Wanted) -> Group {
    let records = wanted.addresses.iter().map(|address| {
        let rtype = if address.is_ipv4() { "A" } else { "AAAA" };
        record(&wanted.host, rtype, address.to_string())
    });
    let records: Vec<Record> = records.collect();
    let words = if records.is_empty() {
        format!(
            "1. The addresses of {}: A and AAAA (name them with --address).",
            wanted.host
        )
    } else {
        "1. The server's addresses.".to_owned()
    };
    Group::new(words, records)
}

fn authority(wanted: &Wanted) -> Group {
    Group::new(
        "2. Which authority may issue certificates (RFC 8659). Before the certificate is ordered.",
        vec![
            record(
                &wanted.domain,
                "CAA",
                format!("0 issue \"{}\"", wanted.issuer),
            ),
            record(&wanted.domain, "CAA", "0 issuewild \";\""),
            record(
                &wanted.domain,
                "CAA",
                format!("0 iodef \"mailto:{}\"", wanted.reports),
            ),
        ],
    )
}

fn exchanges(wanted: &Wanted) -> Group {
    let records = hosts(wanted).zip(1_u32..);
    Group::new(
        "3. Where mail for the domain goes. Once the server offers STARTTLS on port 25.",
        records
            .map(|(host, place)| record(&wanted.domain, "MX", format!("{} {host}.", place * 10)))
            .collect(),
    )
}

/// [STS-11] The file first, then the id; taken back by mode none and a wait. [STS-12] The policy host has a certificate of its own name.
fn sts(wanted: &Wanted) -> Group {
    let domain = wanted.domain.as_str();
    let file = policy(wanted)
        .lines()
        .fold(String::new(), |text, line| text + "\n     " + line);
    let next = match wanted.mode.as_str() {
        "testing" => {
            "Mode testing for some weeks; when the reports are clean, --sts-mode enforce: file first, then this id."
        }
        "enforce" => {
            "Mode enforce: senders that know MTA-STS deliver by verified TLS or not at all."
        }
        _ => "Mode none: this takes the policy back; leave it for as long as the old max_age was.",
    };
    Group::new(
        format!(
            "5. MTA-STS (RFC 8461). {next}\n   First serve this at https://mta-sts.{domain}/.well-known/mta-sts.txt, line ends CRLF:{file}\n   \
             Its certificate must name mta-sts.{domain}, whoever serves it. The id changes with the file, and only then."
        ),
        vec![
            record(
                &format!("mta-sts.{domain}"),
                "CNAME",
                format!("{}.", wanted.host),
            ),
            record(
                &format!("_mta-sts.{domain}"),
                "TXT",
                format!("\"v=STSv1; id={}\"", policy_id(wanted)),
            ),
        ],
    )
}

/// [DANE-12] [DANE-13] [DANE-15] One record 3 1 1 for the key in use and one for the next; the new record before the new key. [DANE-14] In signed
/// zones only, and where TLS works at every address; what was tried and failed is held back.
fn dane(wanted: &Wanted) -> Group {
    let mut words = String::from(
        "6. DANE (RFC 7672): only if this zone and that of the host are signed (DNSSEC). Records are for keys, not for certificates.\n   \
         Roll-over: 1. put the next key's record beside this one (--next FILE); 2. wait two TTLs; 3. change key and certificate;\n   \
         4. gatepost tlsa check; 5. take the old record out. Renewing with the same key changes nothing.",
    );
    if wanted.tlsa.is_empty() {
        words.push_str(
            "\n   No certificate was given: --chain FILE, or --live for the one the server shows.",
        );
    }
    let tried = wanted.tried.as_ref();
    match tried {
        Some(tried) => tried
            .lines()
            .iter()
            .for_each(|line| words.push_str(&format!("\n   {line}"))),
        None if wanted.tlsa.is_empty() => {}
        None => words.push_str(
            "\n   Only if TLS works at every address of the host, always: nobody who knows DANE delivers without it. --probe tries it.",
        ),
    }
    let (held, free): (Vec<u16>, Vec<u16>) = wanted
        .tlsa_ports
        .iter()
        .partition(|port| tried.is_some_and(|it| it.holds_back(**port)));
    Group {
        words,
        records: tlsa(wanted, &free),
        held: tlsa(wanted, &held),
    }
}

fn tlsa(wanted: &Wanted, ports: &[u16]) -> Vec<Record> {
    let records = ports.iter().flat_map(|port| {
        let owner = format!("_{port}._tcp.{}", wanted.host);
        let datas = wanted.tlsa.iter().map(ToString::to_string);
        datas.map(move |data| record(&owner, "TLSA", data))
    });
    records.collect()
}

fn services(wanted: &Wanted) -> Group {
    let domain = wanted.domain.as_str();
    let here = |service: &str, priority: u16, port: u16| {
        record(
            &format!("_{service}._tcp.{domain}"),
            "SRV",
            format!("{priority} 0 {port} {}.", wanted.host),
        )
    };
    let none = |service: &str| record(&format!("_{service}._tcp.{domain}"), "SRV", "0 0 0 .");
    let mut records = vec![
        // [SRV-02] [SRV-07] implicit TLS before STARTTLS, and nothing without TLS.
        here("submissions", 0, 465),
        here("submission", 10, 587),
        here("imaps", 0, 993),
        here("imap", 10, 143),
    ];
    if wanted.pop3 {
        records.extend([here("pop3s", 20, 995), here("pop3", 30, 110)]);
    } else {
        records.extend([none("pop3s"), none("pop3")]);
    }
    records.push(here("autodiscover", 0, 443));
    for name in ["autoconfig", "autodiscover"] {
        records.push(record(
            &format!("{name}.{domain}"),
            "CNAME",
            format!("{}.", wanted.host),
        ));
    }
    Group::new(
        "7. Where mail programs find the servers (RFC 6186, RFC 8314 section 5.1), implicit TLS first; \"0 0 0 .\" is: not here.\n   \
                The files for autoconfig and autodiscover: gatepost config client ADDRESS --for autoconfig",
        records,
    )
}

/// The zone text.
pub(super) fn zone(wanted: &Wanted) -> String {
    let mut text = format!(
        "; Mail for {}, by {}. Made by gatepost config dns; publish from top to bottom.\n$ORIGIN {}.\n$TTL 3600\n",
        wanted.domain, wanted.host, wanted.domain
    );
    for group in groups(wanted) {
        text.push('\n');
        for line in group.words.lines() {
            text.push_str(&format!("; {line}\n"));
        }
        for it in group.held {
            text.push_str(&format!("; not yet: {}", it.line()));
        }
        for it in group.records {
            let line = it.line();
            if is_within(&it.owner, &wanted.domain) {
                text.push_str(&line);
            } else {
                text.push_str(&format!(
                    "; in the zone of {}: {line}",
                    it.owner.trim_end_matches('.')
                ));
            }
        }
    }
    text
}

/// Whether a name lies in the domain's zone.
fn is_within(owner: &str, domain: &str) -> bool {
    let owner = owner.trim_end_matches('.');
    owner == domain || owner.ends_with(&format!(".{domain}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted() -> Wanted {
        Wanted {
            domain: "example.org".into(),
            host: "mail.example.org".into(),
            more: vec!["mx2.example.net".into()],
            addresses: vec!["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()],
            tlsa: ["ab", "cd"]
                .map(|it| format!("3 1 1 {}", it.repeat(32)).parse().unwrap())
                .into(),
            tlsa_ports: vec![25],
            issuer: "letsencrypt.org".into(),
            mode: "testing".into(),
            reports: "tlsrpt@example.org".into(),
            pop3: false,
            tried: None,
        }
    }

    // [SRVREC-01] [SRV-02] [SRV-07] [DANE-12] [DANE-13] [DANE-15] [STS-11] [STS-12]
    #[test]
    fn everything_is_there_in_the_order_to_publish() {
        let zone = zone(&wanted());
        let place = |text: &str| {
            zone.find(text)
                .unwrap_or_else(|| panic!("{text} is not in\n{zone}"))
        };
        let order = [
            " IN A ",
            " IN AAAA ",
            " CAA ",
            " MX 10 ",
            "MX 20 mx2.example.net.",
            "_smtp._tls",
            "_mta-sts.",
            " TLSA 3 1 1",
            "_submissions._tcp",
            "_submission._tcp",
            "_imaps._tcp",
            "_imap._tcp",
            "_pop3._tcp.example.org. IN SRV 0 0 0 .",
            "autoconfig.",
        ];
        let places: Vec<usize> = order.iter().map(|it| place(it)).collect();
        assert!(places.is_sorted(), "{places:?}\n{zone}");
        for words in [
            "First serve this",
            "must name mta-sts.example.org",
            "the next key's record",
            "only if this zone",
        ] {
            assert!(zone.contains(words), "{words}");
        }
    }

    #[test]
    fn the_id_changes_with_the_policy_alone() {
        let one = wanted();
        let mut two = wanted();
        two.addresses.clear();
        assert_eq!(policy_id(&one), policy_id(&two));
        two.mode = "enforce".into();
        assert_ne!(policy_id(&one), policy_id(&two));
        assert!(policy(&two).contains("mx: mx2.example.net\r\n"));
    }

    #[test]
    fn records_of_another_zone_are_comments() {
        let mut other = wanted();
        other.host = "mail.example.net".into();
        let zone = zone(&other);
        assert!(zone.contains("; in the zone of _25._tcp.mail.example.net: "));
        assert!(
            !zone
                .lines()
                .any(|line| line.starts_with("mail.example.net"))
        );
    }
}
