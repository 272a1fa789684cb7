//! What is wrong with a chain, as its operator would put it on a server.

use std::fmt;
use std::time::{Duration, SystemTime};

use rustls_pki_types::CertificateDer;

use crate::der::{self, Reader, Signed};
use crate::profile::provider;
use crate::verify::{Reference, Roots, SignatureKind};
use crate::x509::Certificate;

const DAY: Duration = Duration::from_secs(24 * 3600);
/// Warn when less than this part of a certificate's life is left [CERT-02].
const LAST_PART: u32 = 3;

/// The longest life of a server's certificate by the day it begins, seconds since 1970 and days (Baseline Requirements 6.3.2).
const LIVES: [(u64, u32); 4] = [
    (1_868_227_200, 47),  // 2029-03-15
    (1_805_068_800, 100), // 2027-03-15
    (1_773_532_800, 200), // 2026-03-15
    (1_598_918_400, 398), // 2020-09-01
];

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Will hurt some, or later.
    Warn,
    /// Clients refuse it.
    Fail,
}

impl Severity {
    /// A word for tables and JSON.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

/// What is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// A certificate cannot be read.
    Unreadable,
    /// The first certificate is not the server's.
    NotFirst,
    /// A certificate is not followed by that of its issuer.
    Order,
    /// A certificate is signed by another key than that of the next one.
    BadSignature,
    /// A certificate does not belong to the chain.
    Extra,
    /// The root is sent along.
    Root,
    /// The certificate of an authority between is left out.
    Missing,
    /// It has ended.
    Expired,
    /// It begins in the future.
    NotYetValid,
    /// Little of its life is left.
    EndsSoon,
    /// It lives longer than public authorities may make them live.
    Life,
    /// Its key is too small, or of a kind that is not taken.
    Key,
    /// Its signature rests on a broken hash function.
    Signature,
    /// It has no subject alternative names.
    NoNames,
    /// The common name is not among the names.
    CommonName,
    /// It does not cover the host.
    Host,
    /// It covers by a wildcard.
    Wildcard,
    /// It is not for TLS servers.
    Purpose,
    /// Its key is not for what it is used for.
    KeyUsage,
    /// The server's certificate is that of an authority.
    Authority,
    /// It must come with an OCSP answer.
    MustStaple,
    /// It says nowhere how to learn that it has been revoked.
    NoStatus,
}

impl Rule {
    /// A stable name.
    pub const fn id(self) -> &'static str {
        match self {
            Self::Unreadable => "CERT-READ",
            Self::NotFirst => "CERT-CHAIN-FIRST",
            Self::Order => "CERT-CHAIN-ORDER",
            Self::BadSignature => "CERT-CHAIN-BROKEN",
            Self::Extra => "CERT-CHAIN-EXTRA",
            Self::Root => "CERT-CHAIN-ROOT",
            Self::Missing => "CERT-CHAIN-MISSING",
            Self::Expired => "CERT-DATE-EXPIRED",
            Self::NotYetValid => "CERT-DATE-NOT-YET",
            Self::EndsSoon => "CERT-DATE-SOON",
            Self::Life => "CERT-LIFE",
            Self::Key => "CERT-KEY",
            Self::Signature => "CERT-SIG",
            Self::NoNames => "CERT-NAME-NONE",
            Self::CommonName => "CERT-NAME-CN",
            Self::Host => "CERT-NAME",
            Self::Wildcard => "CERT-WILD",
            Self::Purpose => "CERT-EKU",
            Self::KeyUsage => "CERT-KU",
            Self::Authority => "CERT-CA",
            Self::MustStaple => "CERT-REV-STAPLE",
            Self::NoStatus => "CERT-REV-NONE",
        }
    }

    /// What to do about it.
    pub const fn fix(self) -> &'static str {
        match self {
            Self::Unreadable => "write the file again from what the authority sent",
            Self::NotFirst => "put the server's own certificate first",
            Self::Order => "put each certificate directly before that of its issuer",
            Self::BadSignature => "get the certificate of the authority that signed it",
            Self::Extra => "leave it out",
            Self::Root => "leave it out, unless a TLSA record of usage 2 names it",
            Self::Missing => {
                "append the certificates between yours and the root; the authority has them"
            }
            Self::Expired | Self::EndsSoon => "renew it",
            Self::NotYetValid => "wait, or set the clock right",
            Self::Life => "ask for a shorter life",
            Self::Key => "make a new key: ECDSA on P-256, or RSA of 2048 bits or more",
            Self::Signature => "have it issued again, signed with SHA-256 or better",
            Self::NoNames | Self::Host => {
                "have it issued again with the host's name as subject alternative name"
            }
            Self::CommonName => "add the name to the subject alternative names if it is to count",
            Self::Wildcard => "name hosts where you can: whoever has the key is all of them",
            Self::Purpose => "have it issued again for server authentication",
            Self::KeyUsage => "have it issued again with the key usage digitalSignature",
            Self::Authority => "issue a certificate for the server with this one, and use that",
            Self::MustStaple => {
                "make sure the server staples OCSP answers, or have it issued again without the demand"
            }
            Self::NoStatus => "nothing, if it is from an authority of your own",
        }
    }
}

/// One thing found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What.
    pub rule: Rule,
    /// How bad it is.
    pub severity: Severity,
    /// Which certificate of the file: 0 is the first.
    pub position: usize,
    /// In one sentence.
    pub text: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (severity, id) = (self.severity.label(), self.rule.id());
        write!(
            f,
            "{severity} {id} certificate {}: {}",
            self.position + 1,
            self.text
        )
    }
}

/// What a chain is held against.
#[derive(Debug, Clone, Copy)]
pub struct LintTerms<'a> {
    /// The host it is to be used for, if that is known.
    pub host: Option<&'a Reference>,
    /// Authorities clients are thought to trust; none are needed.
    pub roots: Option<&'a Roots>,
    /// The time.
    pub now: SystemTime,
}

/// Looks a chain over. The findings stand in the order of the certificates, then of the rules.
pub fn lint(chain: &[CertificateDer<'_>], terms: &LintTerms<'_>) -> Vec<Finding> {
    let mut notes = Notes(Vec::new());
    let mut read = Vec::new();
    for (position, der) in chain.iter().enumerate() {
        match Certificate::read(der) {
            Ok(certificate) => read.push((position, certificate)),
            Err(_) => notes.fail(position, Rule::Unreadable, "it cannot be read"),
        }
    }
    order(&read, terms, &mut notes);
    for (position, certificate) in &read {
        each(*position, certificate, terms, &mut notes);
    }
    if let Some((position, leaf)) = read.first() {
        names(*position, leaf, terms, &mut notes);
        server(*position, leaf, &mut notes);
    }
    notes.0.sort_by_key(|it| (it.position, it.rule));
    notes.0
}

struct Notes(Vec<Finding>);

impl Notes {
    fn add(&mut self, severity: Severity, position: usize, rule: Rule, text: impl Into<String>) {
        self.0.push(Finding {
            rule,
            severity,
            position,
            text: text.into(),
        });
    }

    fn fail(&mut self, position: usize, rule: Rule, text: impl Into<String>) {
        self.add(Severity::Fail, position, rule, text);
    }

    fn warn(&mut self, position: usize, rule: Rule, text: impl Into<String>) {
        self.add(Severity::Warn, position, rule, text);
    }

    fn info(&mut self, position: usize, rule: Rule, text: impl Into<String>) {
        self.add(Severity::Info, position, rule, text);
    }
}

/// [CERT-01] leaf first, each certifies the one before, the root is of no use.
fn order(read: &[(usize, Certificate)], terms: &LintTerms<'_>, notes: &mut Notes) {
    if let [(position, first), .., _] = read
        && first.is_ca
        && read.iter().any(|(_, it)| !it.is_ca)
    {
        notes.fail(
            *position,
            Rule::NotFirst,
            "it is an authority's, and it stands first",
        );
    }
    for pair in read.windows(2) {
        let [(position, certificate), (next_position, next)] = pair else {
            continue;
        };
        if certificate.issuer_der != next.subject_der {
            let issuer_is_there = read
                .iter()
                .any(|(_, it)| it.subject_der == certificate.issuer_der);
            if issuer_is_there && !certificate.is_self_issued() {
                let text = format!("its issuer \"{}\" does not stand next", certificate.issuer);
                notes.warn(*position, Rule::Order, text);
            } else {
                let text = format!("\"{}\" has issued nothing here", next.subject);
                notes.info(*next_position, Rule::Extra, text);
            }
        } else if !is_signed_by(certificate, next) {
            let text = format!("it is not signed by the key of \"{}\" here", next.subject);
            notes.fail(*position, Rule::BadSignature, text);
        }
    }
    if let Some((position, last)) = read.last() {
        end(*position, last, read.len(), terms, notes);
    }
}

/// The end of the chain: the root, or what is signed by it.
fn end(
    position: usize,
    last: &Certificate,
    count: usize,
    terms: &LintTerms<'_>,
    notes: &mut Notes,
) {
    if last.is_self_issued() {
        if count > 1 {
            notes.info(
                position,
                Rule::Root,
                "it is the root's, which clients have or do not trust",
            );
        }
        return;
    }
    let known = terms
        .roots
        .map(|roots| roots.knows_subject(&last.issuer_der));
    match known {
        Some(false) => {
            let text = format!(
                "its issuer \"{}\" is no root clients trust, and is not here",
                last.issuer
            );
            notes.fail(position, Rule::Missing, text);
        }
        // Without roots to look at: a server's certificate is hardly ever issued by a root.
        None if count == 1 => {
            let text = format!("it stands alone, and is issued by \"{}\"", last.issuer);
            notes.warn(position, Rule::Missing, text);
        }
        Some(true) | None => {}
    }
}

fn is_signed_by(certificate: &Certificate, issuer: &Certificate) -> bool {
    let signed = Reader::new(&certificate.der)
        .take(der::SEQUENCE)
        .and_then(|content| Signed::take(&mut Reader::new(content)));
    let algorithms = provider().signature_verification_algorithms.all;
    // A signature nobody checks any more is another finding.
    certificate.signature != SignatureKind::Strong
        || signed.is_some_and(|it| it.is_by(&issuer.spki, algorithms))
}

/// What holds for every certificate.
fn each(position: usize, certificate: &Certificate, terms: &LintTerms<'_>, notes: &mut Notes) {
    let now = terms.now;
    let left = certificate.not_after.duration_since(now);
    if now < certificate.not_before {
        notes.fail(position, Rule::NotYetValid, "it begins in the future");
    } else if left.is_err() {
        notes.fail(position, Rule::Expired, "it has ended");
    } else if left.is_ok_and(|left| left < certificate.life() / LAST_PART) && position == 0 {
        notes.warn(
            position,
            Rule::EndsSoon,
            "less than a third of its life is left",
        );
    }
    if crate::verify::is_weak(certificate.key) {
        let text = format!("its key ({}) is too weak", certificate.key);
        notes.fail(position, Rule::Key, text);
    }
    let signature = certificate.signature;
    // Nobody looks at the signature a root makes on itself.
    if signature != SignatureKind::Strong && !certificate.is_self_issued() {
        notes.fail(
            position,
            Rule::Signature,
            format!("it is signed with {signature}"),
        );
    }
    if position > 0 && certificate.key_usage.is_some_and(|it| !it.cert_sign) {
        notes.fail(
            position,
            Rule::KeyUsage,
            "its key may not sign certificates",
        );
    }
}

/// [CONF-04]
fn names(position: usize, leaf: &Certificate, terms: &LintTerms<'_>, notes: &mut Notes) {
    let names = leaf.names.to_list();
    if names.is_empty() {
        let text = match leaf.common_names.first() {
            Some(name) => format!("it has a common name (\"{name}\") only, which does not count"),
            None => "it has no names".to_owned(),
        };
        notes.fail(position, Rule::NoNames, text);
    } else if let Some(host) = terms.host.filter(|it| !it.is_presented(&leaf.names, true)) {
        let text = format!("it does not cover {host}; it is for {}", names.join(", "));
        notes.fail(position, Rule::Host, text);
    }
    let looks_like_host = |it: &&String| it.contains('.') && !it.contains(' ');
    let hidden = leaf
        .common_names
        .iter()
        .filter(looks_like_host)
        .find(|it| !names.contains(&it.to_ascii_lowercase()));
    if let Some(hidden) = hidden.filter(|_| !names.is_empty()) {
        let text = format!("its common name \"{hidden}\" is not among its names");
        notes.info(position, Rule::CommonName, text);
    }
    if let Some(wildcard) = names.iter().find(|it| it.starts_with("*.")) {
        let text = format!("it is for all hosts of {wildcard}");
        notes.info(position, Rule::Wildcard, text);
    }
}

/// What holds for a server's certificate.
fn server(position: usize, leaf: &Certificate, notes: &mut Notes) {
    if leaf.is_ca {
        let severity = if leaf.is_self_issued() {
            Severity::Warn
        } else {
            Severity::Fail
        };
        notes.add(
            severity,
            position,
            Rule::Authority,
            "it is that of an authority",
        );
    }
    if leaf.purposes.is_some_and(|it| !it.server) {
        notes.fail(position, Rule::Purpose, "it is not for TLS servers");
    }
    if leaf.key_usage.is_some_and(|it| !it.digital_signature) {
        notes.fail(
            position,
            Rule::KeyUsage,
            "its key may not sign, which TLS asks of it",
        );
    }
    if leaf.must_staple {
        let text = "clients refuse it without an OCSP answer";
        notes.warn(position, Rule::MustStaple, text);
    }
    if leaf.is_self_issued() {
        return;
    }
    let longest = longest_life(leaf.not_before);
    if let Some(days) = longest.filter(|days| leaf.life() > *days * DAY) {
        let text = format!("it lives longer than the {days} days public authorities may give it");
        notes.info(position, Rule::Life, text);
    }
    let silent = leaf.crl_urls.is_empty() && leaf.ocsp_urls.is_empty();
    if silent && leaf.life() > 10 * DAY {
        let text = "nobody can learn whether it has been revoked";
        notes.info(position, Rule::NoStatus, text);
    }
}

/// The longest life, in days, of a certificate that begins then; none from before there was a limit.
fn longest_life(begin: SystemTime) -> Option<u32> {
    let seconds = begin
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    let limit = LIVES.iter().find(|(from, _)| seconds >= *from);
    limit.map(|(_, days)| *days)
}
