//! Whether clients are to show a certificate of theirs. No fault: who runs a service for partners alone wants it so.

use super::Bench;
use crate::check::facts::{ClientCertificate, Seen};

const ID: &str = "CAUTH-001";

pub(super) fn judge(bench: &mut Bench<'_>) {
    let facts = bench.facts;
    let in_clear = facts.hellos.values().filter_map(Seen::known);
    let is_asked_in_clear = in_clear.clone().any(|it| it.asks_certificate);
    // A server that is too old for a handshake has said it in clear, or not.
    if let Seen::Unknown { .. } = facts.client_certificate {
        let went_so_far = in_clear.clone().any(|it| !it.chain.is_empty());
        if is_asked_in_clear {
            bench.info(ID, "a client certificate is asked for");
            return;
        } else if went_so_far {
            bench.pass(ID, "no client certificate is asked for");
            return;
        }
    }
    match bench.answer(ID, &facts.client_certificate) {
        Some(ClientCertificate::Demanded { how }) => {
            let words = format!("a client certificate is demanded; without one: {how}");
            bench.info(ID, words);
        }
        Some(ClientCertificate::Asked) => {
            bench.info(
                ID,
                "a client certificate is asked for; it goes on without one",
            );
        }
        Some(ClientCertificate::NotAsked) if is_asked_in_clear => {
            bench.info(ID, "a client certificate is asked for in some versions");
        }
        Some(ClientCertificate::NotAsked) => bench.pass(ID, "no client certificate is asked for"),
        None => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::document::Check;
    use crate::check::facts::{Facts, HelloAnswer, Reach};
    use crate::check::profile::{DEFAULT, Profile};
    use crate::check::samples;
    use crate::finding::Status;

    fn service(seen: Seen<ClientCertificate>) -> Facts {
        let reach = Reach::Connected { milliseconds: 1 };
        let mut facts = Facts::new(samples::target("mail.example.org", 25), 1, reach);
        facts.client_certificate = seen;
        facts
    }

    fn check(facts: &Facts) -> Option<Check> {
        let judged = super::super::judge(facts, &Profile::find(DEFAULT).unwrap());
        judged.checks.into_iter().find(|it| it.rule.id == ID)
    }

    fn hello(asks_certificate: bool) -> Seen<HelloAnswer> {
        Seen::Known(HelloAnswer {
            version: Some(0x0301),
            chain: vec!["AAAA".to_owned()],
            asks_certificate,
            ..HelloAnswer::default()
        })
    }

    #[test]
    fn asked_demanded_and_unknown_are_three_things_and_none_is_a_fault() {
        let how = "alert 116".to_owned();
        let demanded = Seen::Known(ClientCertificate::Demanded { how });
        for (seen, status, words) in [
            (
                Seen::Known(ClientCertificate::NotAsked),
                Status::Pass,
                "no client certificate",
            ),
            (
                Seen::Known(ClientCertificate::Asked),
                Status::Info,
                "goes on without",
            ),
            (demanded, Status::Info, "without one: alert 116"),
            (Seen::unknown("421"), Status::Inconclusive, "421"),
        ] {
            let told = check(&service(seen)).unwrap();
            assert_eq!(told.status, status, "{words}");
            assert!(told.evidence.contains(words), "{}", told.evidence);
        }
        assert!(check(&service(Seen::Unasked)).is_none(), "there is no TLS");
    }

    #[test]
    fn an_old_server_has_said_it_in_clear() {
        for (asks, status) in [(true, Status::Info), (false, Status::Pass)] {
            let mut facts = service(Seen::unknown("no common version"));
            facts.hellos.insert("tls1.0".to_owned(), hello(asks));
            assert_eq!(check(&facts).unwrap().status, status);
        }
        let mut facts = service(Seen::Known(ClientCertificate::NotAsked));
        facts.hellos.insert("tls1.0".to_owned(), hello(true));
        assert_eq!(check(&facts).unwrap().status, Status::Info);
    }
}
