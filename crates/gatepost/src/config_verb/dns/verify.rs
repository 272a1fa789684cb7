//! Whether DNS says what it should. Answers are validated here; what could not be found out is no pass.

use std::time::SystemTime;

use clap::ArgMatches;
use gatepost_net::dns::Network;
use gatepost_trust::dns::{Answer, Data, Lookup as _, Resolver, Rtype, Status};
use serde_json::json;

use super::Wanted;
use super::records::{self, Record};
use crate::client::lookup;
use crate::client::reach::block_on;
use crate::client::settings::Settings;
use crate::exit::Failure;

/// CAA (RFC 8659), which nothing else here asks for.
const CAA: Rtype = Rtype(257);

/// How a record was found.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Found {
    /// As it should be; the zone is signed or not.
    Right { signed: bool },
    /// Something else is there.
    Other(Vec<String>),
    /// Nothing is there.
    Missing,
    /// It is there, but in a zone that is not signed, where it counts for nothing.
    Unsigned,
    /// It could not be found out.
    Unknown(String),
}

impl Found {
    const fn word(&self) -> &'static str {
        match self {
            Self::Right { .. } => "right",
            Self::Other(_) => "other",
            Self::Missing => "missing",
            Self::Unsigned => "unsigned",
            Self::Unknown(_) => "unknown",
        }
    }
}

pub(super) fn run(wanted: &Wanted, given: &ArgMatches) -> Result<(), Failure> {
    let settings = Settings::read(given)?;
    let records: Vec<Record> = records::groups(wanted)
        .into_iter()
        .flat_map(|it| it.records)
        .collect();
    let found = block_on(async {
        let resolver = lookup::resolver(&settings)?;
        let mut found = Vec::new();
        for record in records {
            let how = look(&resolver, &record).await?;
            found.push((record, how));
        }
        Ok(found)
    })?;
    report(&found, given.get_flag("json"));
    let unknown = found
        .iter()
        .any(|(_, how)| matches!(how, Found::Unknown(_)));
    let wrong = found
        .iter()
        .filter(|(_, how)| matches!(how, Found::Other(_) | Found::Missing | Found::Unsigned))
        .count();
    if wrong > 0 {
        return Err(Failure::finding(format!(
            "{wrong} records of {} are missing or not as they should be",
            wanted.domain
        )));
    }
    if unknown {
        return Err(Failure::local(format!(
            "not every record of {} could be found out",
            wanted.domain
        )));
    }
    Ok(())
}

fn report(found: &[(Record, Found)], as_json: bool) {
    if as_json {
        let records: Vec<_> = found
            .iter()
            .map(|(record, how)| {
                let other = match how {
                    Found::Other(other) => json!(other),
                    Found::Unknown(why) => json!(why),
                    _ => json!(null),
                };
                json!({"owner": record.owner, "type": record.rtype, "data": record.data, "found": how.word(), "instead": other})
            })
            .collect();
        println!(
            "{:#}",
            json!({"schema": "gatepost-config-dns-1", "records": records})
        );
        return;
    }
    for (record, how) in found {
        println!(
            "{:<8} {} {} {}",
            how.word(),
            record.owner,
            record.rtype,
            record.data
        );
        match how {
            Found::Other(other) => other
                .iter()
                .for_each(|it| println!("         instead: {}", it.escape_debug())),
            Found::Unknown(why) => println!("         {why}"),
            Found::Unsigned => {
                println!("         the zone is not signed: DANE counts for nothing there");
            }
            // [SVC-10] MX and SRV had better be signed; [DANE-14] TLSA must be.
            Found::Right { signed: false } if matches!(record.rtype, "MX" | "SRV") => {
                println!("         the zone is not signed: whoever is on the path can change it");
            }
            Found::Right { .. } | Found::Missing => {}
        }
    }
}

async fn look(resolver: &Resolver<Network>, record: &Record) -> Result<Found, Failure> {
    let owner = lookup::name(record.owner.trim_end_matches('.'))?;
    let rtype = match record.rtype {
        "A" => Rtype::A,
        "AAAA" => Rtype::AAAA,
        "MX" => Rtype::MX,
        "TLSA" => Rtype::TLSA,
        "SRV" => Rtype::SRV,
        "TXT" => Rtype::TXT,
        "CNAME" => Rtype::CNAME,
        _ => CAA,
    };
    let answer = resolver.lookup(&owner, rtype, SystemTime::now()).await;
    Ok(judge(record, &answer))
}

fn judge(record: &Record, answer: &Answer<Data>) -> Found {
    if !answer.status.is_known() {
        return Found::Unknown(answer.status.to_string());
    }
    let there: Vec<String> = answer.records.iter().map(written).collect();
    let signed = answer.status == Status::Secure;
    // A name that has the same addresses without being an alias serves as well.
    if there.iter().any(|it| same(it, &record.data)) {
        if record.rtype == "TLSA" && !signed {
            return Found::Unsigned;
        }
        return Found::Right { signed };
    }
    if there.is_empty() {
        Found::Missing
    } else {
        Found::Other(there)
    }
}

fn same(one: &str, other: &str) -> bool {
    one.eq_ignore_ascii_case(other)
}

/// A record's data as zone files write it.
fn written(data: &Data) -> String {
    match data {
        Data::A(address) => address.to_string(),
        Data::Aaaa(address) => address.to_string(),
        Data::Mx(mx) => format!("{} {}", mx.preference, absolute(&mx.exchange.to_string())),
        Data::Tlsa(tlsa) => tlsa.to_string(),
        Data::Srv(srv) => format!(
            "{} {} {} {}",
            srv.priority,
            srv.weight,
            srv.port,
            absolute(&srv.target.to_string())
        ),
        Data::Txt(texts) => format!(
            "\"{}\"",
            texts
                .iter()
                .map(|it| String::from_utf8_lossy(it))
                .collect::<String>()
        ),
        Data::Cname(name) => absolute(&name.to_string()),
        Data::Other(octets) => caa(octets).unwrap_or_else(|| format!("{} octets", octets.len())),
    }
}

fn absolute(name: &str) -> String {
    if name.ends_with('.') {
        name.to_owned()
    } else {
        format!("{name}.")
    }
}

/// RFC 8659 section 4.1: flags, length of the tag, tag, value.
fn caa(octets: &[u8]) -> Option<String> {
    let [flags, length, rest @ ..] = octets else {
        return None;
    };
    let (tag, value) = rest.split_at_checked(usize::from(*length))?;
    Some(format!(
        "{flags} {} \"{}\"",
        std::str::from_utf8(tag).ok()?,
        std::str::from_utf8(value).ok()?
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caa_is_read() {
        assert_eq!(
            caa(b"\x00\x05issueletsencrypt.org").unwrap(),
            "0 issue \"letsencrypt.org\""
        );
        assert_eq!(caa(b"\x00\xffissue"), None);
    }
}
