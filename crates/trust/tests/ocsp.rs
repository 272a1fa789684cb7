//! Stapled OCSP answers, made by the `openssl` command, at the time the machine has: the command dates its answers itself.

mod support;

use std::time::{Duration, SystemTime};

use gatepost_testkit::pki::{Authority, DAY, Issued, must_staple};
use gatepost_trust::verify::{
    Evidence, Kind, Reason, RevocationMode, Shares, StapleProblem, Status, Terms, Verdict, judge,
};
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose};
use rustls::AlertDescription;
use support::openssl::OpenSsl;
use support::{Server, connect_at, terms};

const HOST: &str = "mail.example.org";
const LONG: Duration = Duration::from_secs(50 * 365 * 24 * 3600);

fn long_lived(params: &mut CertificateParams) {
    let begin = SystemTime::UNIX_EPOCH + LONG / 2;
    params.not_before = begin.into();
    params.not_after = (begin + 2 * LONG).into();
}

/// An authority and what it says of its certificates.
struct Lab {
    openssl: OpenSsl,
    root: Authority,
    leaf: Issued,
}

impl Lab {
    fn new(change: impl FnOnce(&mut CertificateParams)) -> Option<Self> {
        let openssl = OpenSsl::find()?;
        let root = Authority::root_with("Root", long_lived);
        let leaf = root.issue_with(&[HOST], |it| {
            long_lived(it);
            change(it);
        });
        openssl.write_certificates("root.pem", std::slice::from_ref(&root.certificate));
        openssl.write_certificates("leaf.pem", std::slice::from_ref(&leaf.certificate));
        openssl.write("root.key", root.key_pem());
        Some(Self {
            openssl,
            root,
            leaf,
        })
    }

    /// An answer about the leaf. `state` is `V` or `R`, or nothing for a leaf the authority does not know.
    fn answer(&self, state: &str, signer: &str, options: &str) -> Vec<u8> {
        self.openssl.must(&format!(
            "ocsp -no_nonce {}-issuer root.pem -cert leaf.pem -reqout request.der",
            if options.contains("sha256") {
                "-sha256 "
            } else {
                ""
            }
        ));
        let serial = hexadecimal(self.leaf.serial.as_ref());
        let line = match state {
            "V" => format!("V\t991231235959Z\t\t{serial}\tunknown\t/CN=x\n"),
            "R" => format!("R\t991231235959Z\t260101000000Z\t{serial}\tunknown\t/CN=x\n"),
            _ => String::new(),
        };
        self.openssl.write("index.txt", line);
        let options = options.replace("sha256", "");
        self.openssl.must(
            format!(
                "ocsp -index index.txt -CA root.pem -rsigner {signer}.pem -rkey {signer}.key \
                 -reqin request.der -respout answer.der -ndays 7 {options}"
            )
            .trim(),
        );
        std::fs::read(self.openssl.path("answer.der")).unwrap()
    }

    fn judged(&self, staple: &[u8], now: SystemTime) -> Verdict {
        let evidence = Evidence {
            chain: vec![self.leaf.certificate.clone()],
            staple: staple.to_vec(),
        };
        let terms = Terms {
            revocation: RevocationMode::Hard,
            ..terms(HOST, &self.root)
        };
        judge(&evidence, &terms, now)
    }

    fn problem(&self, staple: &[u8], now: SystemTime) -> StapleProblem {
        let verdict = self.judged(staple, now);
        match verdict.status(Kind::Staple) {
            Some(Status::Fail(Reason::Staple(problem))) => {
                assert_eq!(verdict.verified(), None);
                *problem
            }
            other => panic!("{other:?}"),
        }
    }

    /// A signer with a key of its own.
    fn write_signer(&self, name: &str, signer: &Issued) {
        self.openssl.write_certificates(
            &format!("{name}.pem"),
            std::slice::from_ref(&signer.certificate),
        );
        self.openssl
            .write(&format!("{name}.key"), signer.key.serialize_pem());
    }
}

fn hexadecimal(octets: &[u8]) -> String {
    let digits: Vec<String> = octets.iter().map(|it| format!("{it:02X}")).collect();
    digits.concat()
}

#[test]
fn a_good_answer_settles_the_status() {
    // [REV-03] [REV-06]
    let Some(lab) = Lab::new(|it| it.custom_extensions.push(must_staple())) else {
        return;
    };
    let now = SystemTime::now();
    for options in ["", "-resp_key_id", "sha256"] {
        let verdict = lab.judged(&lab.answer("V", "root", options), now);
        assert!(verdict.verified().is_some(), "{options}: {verdict:?}");
        assert_eq!(verdict.status(Kind::Staple), Some(&Status::Pass));
        assert_eq!(verdict.status(Kind::MustStaple), Some(&Status::Pass));
        assert_eq!(verdict.status(Kind::Revocation), Some(&Status::Pass));
    }
}

#[test]
fn a_revoked_or_unknown_certificate_is_refused() {
    // [REV-03]
    let Some(lab) = Lab::new(|_| {}) else {
        return;
    };
    let now = SystemTime::now();
    let verdict = lab.judged(&lab.answer("R", "root", ""), now);
    assert!(
        matches!(verdict.reason(), Some(Reason::Revoked(_))),
        "{verdict:?}"
    );
    assert_eq!(
        lab.problem(&lab.answer("", "root", ""), now),
        StapleProblem::UnknownToResponder
    );
}

#[test]
fn an_answer_counts_between_its_dates() {
    // [REV-03]
    let Some(lab) = Lab::new(|_| {}) else {
        return;
    };
    let answer = lab.answer("V", "root", "");
    let now = SystemTime::now();
    assert!(lab.judged(&answer, now + 6 * DAY).verified().is_some());
    assert_eq!(lab.problem(&answer, now + 8 * DAY), StapleProblem::Outdated);
    assert_eq!(lab.problem(&answer, now - DAY), StapleProblem::NotYetValid);
}

#[test]
fn an_answer_is_signed_by_the_issuer_or_whom_it_named() {
    // [REV-03]
    let Some(lab) = Lab::new(|_| {}) else {
        return;
    };
    let now = SystemTime::now();
    let for_ocsp = |it: &mut CertificateParams| {
        long_lived(it);
        it.extended_key_usages = vec![ExtendedKeyUsagePurpose::OcspSigning];
    };
    lab.write_signer("named", &lab.root.issue_with(&[], for_ocsp));
    for options in ["", "-resp_key_id"] {
        let verdict = lab.judged(&lab.answer("V", "named", options), now);
        assert!(verdict.verified().is_some(), "{options}: {verdict:?}");
    }
    let refused = |signer: &Issued| {
        lab.write_signer("signer", signer);
        lab.problem(&lab.answer("V", "signer", ""), now)
    };
    // Certified for servers, not for this; by somebody else; under another name; no longer.
    let not_authorised = [
        lab.root.issue_with(&[], long_lived),
        Authority::root_with("Root", long_lived).issue_with(&[], for_ocsp),
        lab.root
            .under_another_name("Other")
            .issue_with(&[], for_ocsp),
        lab.root.issue_with(&[], |it| {
            for_ocsp(it);
            it.not_after = (now - DAY).into();
        }),
    ];
    for signer in not_authorised {
        assert_eq!(refused(&signer), StapleProblem::NotAuthorised);
    }
    // Without its certificate nobody can tell who signed.
    let bare = lab.answer("V", "named", "-resp_no_certs");
    assert_eq!(lab.problem(&bare, now), StapleProblem::NotAuthorised);
}

#[test]
fn an_answer_about_another_certificate_is_none_about_this() {
    // [REV-03]
    let Some(lab) = Lab::new(|_| {}) else {
        return;
    };
    let answer = lab.answer("V", "root", "");
    let mut other = lab;
    other.leaf = other.root.issue_with(&[HOST], long_lived);
    let problem = other.problem(&answer, SystemTime::now());
    assert_eq!(problem, StapleProblem::OtherCertificate);
}

#[test]
fn a_changed_answer_is_refused_wherever_it_is_changed() {
    // [REV-03]
    let Some(lab) = Lab::new(|_| {}) else {
        return;
    };
    let answer = lab.answer("V", "root", "-resp_no_certs");
    let now = SystemTime::now();
    assert!(lab.judged(&answer, now).verified().is_some());
    for place in 0..answer.len() {
        let mut changed = answer.clone();
        changed[place] ^= 1;
        let verdict = lab.judged(&changed, now);
        assert_eq!(verdict.verified(), None, "octet {place}");
        let cut = lab.judged(&answer[..place], now);
        assert_eq!(cut.verified(), None, "cut at {place}");
    }
    let longer = [&answer[..], &[0]].concat();
    assert_eq!(lab.problem(&longer, now), StapleProblem::Malformed);
}

#[test]
fn the_handshake_ends_with_the_alert_for_bad_answers() {
    // [REV-03]
    let Some(lab) = Lab::new(|_| {}) else {
        return;
    };
    let now = SystemTime::now();
    let run = |staple: Vec<u8>, now: SystemTime| {
        let server = Server::new(&lab.leaf).staple(staple);
        connect_at(terms(HOST, &lab.root), &server, Shares::Hybrid, now)
    };
    let good = run(lab.answer("V", "root", ""), now);
    assert_eq!(good.error, None);
    assert_eq!(
        good.verdict.unwrap().status(Kind::Staple),
        Some(&Status::Pass)
    );
    let outdated = run(lab.answer("V", "root", ""), now + 8 * DAY);
    assert_eq!(
        outdated.alert,
        Some(AlertDescription::BadCertificateStatusResponse)
    );
    let revoked = run(lab.answer("R", "root", ""), now);
    assert_eq!(revoked.alert, Some(AlertDescription::CertificateRevoked));
}
