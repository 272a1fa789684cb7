//! Whether the domain and its mail hosts are signed, and rightly (RFC 4035). Validated here; a resolver's word is not taken.

use super::Case;
use super::tally::Tally;
use crate::check::document::Check;
use crate::check::domain::facts::{DomainFacts, Standing, Told};
use crate::finding::Severity;

pub(super) fn judge(case: &Case<'_>) -> Vec<Check> {
    let mut domain = Tally::new("DNSSEC-001");
    own(case.facts, &mut domain);
    let mut hosts = Tally::new("DNSSEC-002");
    for host in case.facts.exchanges() {
        if let Some(known) = case.facts.host(&host) {
            standing(&host, &known.a, &mut hosts);
            standing(&host, &known.aaaa, &mut hosts);
        }
    }
    if case.facts.exchanges().is_empty() {
        match case.facts.takes_no_mail() {
            true => hosts.moot("the domain takes no mail"),
            false if hosts.stuck("the MX records", &case.facts.mx) => (),
            false => hosts.moot("there are no mail hosts"),
        }
    }
    [domain.finish(), hosts.finish()]
        .into_iter()
        .flatten()
        .collect()
}

fn own(facts: &DomainFacts, tally: &mut Tally) {
    standing(&facts.domain, &facts.mx, tally);
    let mut texts: Vec<(String, &Told<String>)> = vec![
        (format!("_mta-sts.{}", facts.domain), &facts.sts.record),
        (
            format!("_smtp._tls.{}", facts.domain),
            &facts.reports.record,
        ),
    ];
    texts.extend(facts.spf.first().map(|it| (facts.domain.clone(), &it.told)));
    texts.extend(
        facts
            .dmarc
            .first()
            .map(|it| (format!("_dmarc.{}", facts.domain), &it.told)),
    );
    for (name, told) in texts {
        // An answer that did not come is told by the check that wanted it.
        if told.bogus().is_some() {
            standing(&name, told, tally);
        }
    }
    for service in &facts.services {
        if service.told.bogus().is_some() {
            standing(
                &format!("_{}._tcp.{}", service.service, facts.domain),
                &service.told,
                tally,
            );
        }
    }
}

fn standing<T>(name: &str, told: &Told<T>, tally: &mut Tally) {
    match &told.standing {
        Standing::Secure => tally.pass(format!("{name} is signed")),
        Standing::Insecure => tally.warn(
            Severity::Medium,
            format!("{name} is not signed: whoever is on the path to the resolver can send mail elsewhere"),
            format!("sign the zone of {name} (most name servers do it with one setting) and give its DS record to the registrar"),
        ),
        Standing::Bogus(why) => tally.fail(
            Severity::Critical,
            format!("{name}: bogus: {why}. Whoever validates gets no answer"),
            format!("sign the zone of {name} anew, and compare the DS record at the parent with its keys; until then nobody who validates reaches it"),
        ),
        Standing::Unknown(why) => tally.unknown(format!("{name}: {why}")),
        Standing::Unasked => tally.unknown(format!("{name}: nobody asked")),
    }
}
