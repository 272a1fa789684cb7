//! TLS reporting: who is told when mail does not come for lack of TLS (RFC 8460 3).

use super::Case;
use super::tally::Tally;
use crate::check::document::Check;
use crate::check::domain::examine::report_place;
use crate::check::domain::facts::DomainFacts;
use crate::check::domain::tags;
use crate::finding::Severity;

pub(super) fn judge(case: &Case<'_>) -> Vec<Check> {
    let mut record = Tally::new("RPT-001");
    let mut places = Tally::new("RPT-002");
    if case.facts.takes_no_mail() {
        record.moot("the domain takes no mail");
    } else {
        the_record(case.facts, &mut record);
        the_places(case.facts, &mut places);
    }
    places.otherwise("no reports are asked for");
    [record, places]
        .into_iter()
        .filter_map(Tally::finish)
        .collect()
}

fn the_record(facts: &DomainFacts, tally: &mut Tally) {
    let owner = format!("_smtp._tls.{}", facts.domain);
    if tally.stuck(&owner, &facts.reports.record) {
        return;
    }
    let publish = format!(
        "{owner}. TXT \"v=TLSRPTv1; rua=mailto:tlsrpt@{}\"",
        facts.domain
    );
    let texts = &facts.reports.record.records;
    let records: Vec<&String> = texts.iter().filter(|it| is_record(it)).collect();
    match records.as_slice() {
        [] if texts
            .iter()
            .any(|it| it.to_ascii_lowercase().contains("tlsrpt")) =>
        {
            tally.fail(
                Severity::Low,
                format!("{owner}: the record does not begin with \"v=TLSRPTv1;\": nobody reports"),
                publish,
            );
        }
        [] => tally.warn(
            Severity::Low,
            "nobody is told when mail does not come for lack of TLS",
            publish,
        ),
        [record] => match complaint(record) {
            None => tally.pass((*record).clone()),
            Some(why) => tally.fail(Severity::Low, format!("{owner}: {why}"), publish),
        },
        more => tally.fail(
            Severity::Low,
            format!(
                "{owner}: {} records; with more than one nobody reports",
                more.len()
            ),
            format!("one record: {publish}"),
        ),
    }
}

/// `v=TLSRPTv1`, then `;`.
fn is_record(text: &str) -> bool {
    let rest = text.strip_prefix("v=TLSRPTv1");
    rest.is_some_and(|rest| rest.trim_start().starts_with(';'))
}

fn complaint(record: &str) -> Option<String> {
    let Some(tags) = tags::read(record) else {
        return Some("it is not fields of name=value with semicolons between".into());
    };
    let Some(rua) = tags::value(&tags, "rua") else {
        return Some("it names no place for reports (rua)".into());
    };
    let bad = rua
        .split(',')
        .map(str::trim)
        .find(|uri| report_place(uri).is_none());
    bad.map(|uri| format!("{uri:?} is neither mailto:ADDRESS nor https://HOST/…"))
}

fn the_places(facts: &DomainFacts, tally: &mut Tally) {
    if !facts.reports.record.is_known() {
        tally.stuck(
            &format!("_smtp._tls.{}", facts.domain),
            &facts.reports.record,
        );
        return;
    }
    for (place, told) in &facts.reports.places {
        if tally.stuck(place, told) {
            continue;
        }
        let takes_none = matches!(told.records.as_slice(), [only] if only == ".");
        if told.is_absent() || takes_none {
            tally.warn(
                Severity::Info,
                format!("{place}: reports cannot get there: it has no mail host and no address"),
                format!("an address that is read, in _smtp._tls.{}", facts.domain),
            );
        } else {
            tally.pass(format!(
                "{place} takes reports at {}",
                told.records.join(", ")
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read_as_senders_read_them() {
        assert!(is_record("v=TLSRPTv1; rua=mailto:a@b.test"));
        assert!(is_record("v=TLSRPTv1 ;rua=mailto:a@b.test"));
        assert!(!is_record("v=TLSRPTv1"));
        assert!(!is_record("V=TLSRPTv1;"));
        for (record, hint) in [
            ("v=TLSRPTv1;rua=mailto:a@b.test,https://c.test/x", None),
            ("v=TLSRPTv1;rua=a@b.test", Some("neither")),
            (
                "v=TLSRPTv1;rua=mailto:a@b.test,http://c.test/",
                Some("neither"),
            ),
            ("v=TLSRPTv1;ruf=mailto:a@b.test", Some("no place")),
            ("v=TLSRPTv1;rua", Some("name=value")),
        ] {
            let said = complaint(record);
            assert_eq!(said.is_none(), hint.is_none(), "{record}: {said:?}");
            assert!(said.unwrap_or_default().contains(hint.unwrap_or_default()));
        }
    }
}
