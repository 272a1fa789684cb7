//! From a mail address to servers: SRV records, the provider's file, a guess. What is found is shown for approval and kept.
//!
//! 1. SRV (RFC 6186, RFC 8314 section 5.1) [SRV-01]: implicit TLS before STARTTLS whatever the priorities say [SRV-02]; a target of `.` means
//!    that a service is not offered.
//! 2. The provider's file (autoconfig), by HTTPS only [AUTOC-03].
//! 3. A guess at names, for which a server with a good certificate must answer; implicit TLS before STARTTLS.
//!
//! No password is part of it [MUA-05]. A host outside of the domain that insecure DNS names, or that a guess found, is the user's only by the
//! user's word: everything found is shown, and used after it was approved [SRV-03] [ID-02]. From then on it is configuration, and DNS is not asked
//! again [SRV-04].

pub(crate) mod accounts;
mod autoconfig;

use std::io::{IsTerminal, Write};
use std::time::{Duration, SystemTime};

use clap::ArgMatches;
use gatepost_net::http::Limits;
use gatepost_trust::dns::Lookup as _;
use gatepost_trust::dns::srv::{Candidates, Least, Purpose, Service, Trust, candidates};

use super::settings::{Door, Settings, Tls, exception};
use super::text::plain;
use super::url::{Host, Protocol, Url};
use super::{lookup, network, reach};
use crate::exit::Failure;
use accounts::Account;

/// How long each place of the provider's file has to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// A server that may be the one looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Candidate {
    /// What it speaks.
    pub(crate) protocol: Protocol,
    /// Whether with TLS from the first byte.
    pub(crate) implicit: bool,
    /// Its name.
    pub(crate) host: String,
    /// Its port.
    pub(crate) port: u16,
    /// The login name, where one is known.
    pub(crate) user: Option<String>,
}

impl Candidate {
    /// The URL that means it.
    pub(crate) fn url(&self) -> String {
        let scheme = match (self.protocol, self.implicit) {
            (Protocol::Imap, true) => "imaps",
            (Protocol::Imap, false) => "imap",
            (Protocol::Pop3, true) => "pop3s",
            (Protocol::Pop3, false) => "pop3",
            (_, true) => "submissions",
            (_, false) => "submission",
        };
        format!("{scheme}://{}:{}", self.host, self.port)
    }
}

/// What was found, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Found {
    candidate: Candidate,
    /// `srv`, `autoconfig` or `guess`.
    how: &'static str,
    /// What vouches for the way from the address to the host, in words.
    vouched: &'static str,
    /// Whether nothing does: only somebody who has seen the name can say that it is right [SRV-03] [ID-02].
    unvouched: bool,
}

/// The server for an address: the one kept for it, else one that is found and approved now. Sets the login name where only the
/// account knows it.
pub(crate) fn server_of(
    address: &str,
    protocol: Protocol,
    given: &ArgMatches,
    settings: &mut Settings,
) -> Result<Url, Failure> {
    let Some((_, domain)) = address.rsplit_once('@') else {
        return Err(Failure::usage(format!(
            "{address:?} is no mail address; write one such as anna@example.org"
        )));
    };
    if let Some(account) = accounts::find(address)? {
        return kept(&account, protocol, settings);
    }
    let Ok(Host::Name(domain)) = Host::parse(domain) else {
        return Err(Failure::usage(format!("{domain:?} is no mail domain")));
    };
    let found = reach::block_on(find(address, &domain, protocol, settings))?;
    approve(address, &found, given.get_flag("yes"))?;
    let account = account_of(address, &found);
    let path = accounts::keep(account.clone())?;
    eprintln!("gatepost: kept in {}", path.display());
    kept(&account, protocol, settings)
}

/// What is kept for an address, for one protocol. IMAP is never replaced by POP3, nor the other way round [SRV-04].
fn kept(account: &Account, protocol: Protocol, settings: &mut Settings) -> Result<Url, Failure> {
    let url = match protocol {
        Protocol::Imap => account.imap.as_ref().or(account.pop3.as_ref()),
        Protocol::Pop3 => account.pop3.as_ref(),
        _ => account.submission.as_ref(),
    };
    let Some(url) = url else {
        return Err(Failure::usage(format!(
            "no server for {} is kept for {}; give a URL, or write one into {}",
            protocol.label(),
            account.address,
            super::home::path(accounts::NAME)?.display()
        )));
    };
    if settings.user.is_none() {
        let user = account.user.clone();
        settings.user = user.or_else(|| Some(account.address.clone()));
    }
    if settings.exception.is_none() {
        let exception = exception(account.exception.as_deref());
        settings.exception = exception
            .map_err(|failure| Failure::usage(format!("{}: {failure}", accounts::NAME)))?;
    }
    Url::parse(url).map_err(Failure::usage)
}

async fn find(
    address: &str,
    domain: &str,
    protocol: Protocol,
    settings: &Settings,
) -> Result<Vec<Found>, Failure> {
    let mut found = by_srv(domain, settings).await?;
    if !found.iter().any(|it| it.candidate.protocol == protocol) {
        found = by_autoconfig(address, domain, settings).await;
    }
    if !found.iter().any(|it| it.candidate.protocol == protocol) {
        found = by_guess(domain, protocol, settings).await?;
    }
    if found.iter().any(|it| it.candidate.protocol == protocol) {
        return Ok(found);
    }
    Err(Failure::local(format!(
        "no {} server with a verified certificate was found for {domain}: no SRV records, no autoconfig file, and no usual name answers\n  at fault: \
         nobody; not every provider publishes them\n  next: give the server by its URL, as the provider names it",
        protocol.label()
    )))
}

const PURPOSES: [(Purpose, Protocol); 3] = [
    (Purpose::Submit, Protocol::Submission),
    (Purpose::Imap, Protocol::Imap),
    (Purpose::Pop3, Protocol::Pop3),
];

async fn by_srv(domain: &str, settings: &Settings) -> Result<Vec<Found>, Failure> {
    let resolver = lookup::resolver(settings)?;
    let asked = lookup::name(domain)?;
    let least = match settings.tls {
        Some(Tls::Implicit) => Least::Implicit,
        _ => Least::Tls,
    };
    let mut found = Vec::new();
    for (purpose, protocol) in PURPOSES {
        let mut answers = Vec::new();
        for service in purpose.services() {
            let owner = service
                .owner(&asked)
                .map_err(|_| Failure::usage(format!("{domain:?} is too long")))?;
            answers.push((*service, resolver.srv(&owner, SystemTime::now()).await));
        }
        let Candidates {
            servers, unknown, ..
        } = candidates(answers, least, draw()?);
        // What DNSSEC says is forged is not passed over in silence: another way would be what the forger wants.
        if let Some((service, status)) = unknown.iter().find(|(_, status)| status.word() == "bogus")
        {
            return Err(match lookup::stripped(&resolver, domain).await {
                Some(failure) => failure,
                None => bogus(domain, *service, &status.to_string()),
            });
        }
        found.extend(servers.into_iter().map(|server| Found {
            unvouched: server.trust(&asked) == Trust::DomainUnlessConfirmed,
            vouched: match server.trust(&asked) {
                Trust::Host if server.status.word() == "secure" => "DNSSEC vouches for it",
                Trust::Host => "it is within the domain",
                Trust::DomainUnlessConfirmed => {
                    "OUTSIDE of the domain, and nothing vouches for it: compare with what the provider says"
                }
            },
            candidate: Candidate {
                protocol,
                implicit: server.service.is_implicit(),
                host: server.host.to_string().trim_end_matches('.').to_owned(),
                port: server.port,
                user: None,
            },
            how: "srv",
        }));
    }
    Ok(found)
}

fn bogus(domain: &str, service: Service, status: &str) -> Failure {
    Failure::finding(format!(
        "E-DNSSEC-BOGUS: {domain}: the records that name its {} server are not what the domain signed: {status}\n  at fault: the resolver, the domain's \
         signatures, or someone on the path\n  next: try another resolver with --dns, or give the server by its URL",
        service.label()
    ))
}

fn draw() -> Result<u64, Failure> {
    let mut octets = [0_u8; 8];
    aws_lc_rs::rand::fill(&mut octets)
        .map_err(|_| Failure::local("the system gives no randomness"))?;
    Ok(u64::from_ne_bytes(octets))
}

async fn by_autoconfig(address: &str, domain: &str, settings: &Settings) -> Vec<Found> {
    for (host, path) in autoconfig::places(domain) {
        let limits = Limits {
            time: PATIENCE,
            ..Limits::default()
        };
        let Ok(response) = network::get(settings, &host, path, limits).await else {
            continue;
        };
        let text = String::from_utf8_lossy(&response.body);
        if let Ok(candidates) = autoconfig::read(&text, address) {
            let found = candidates.into_iter().map(|candidate| Found {
                candidate,
                how: "autoconfig",
                vouched: "the domain's own file names it, fetched by verified HTTPS",
                unvouched: false,
            });
            return found.collect();
        }
    }
    Vec::new()
}

/// Usual names, at which a server must answer and verify. Implicit TLS first. [CONF-11]
async fn by_guess(
    domain: &str,
    protocol: Protocol,
    settings: &Settings,
) -> Result<Vec<Found>, Failure> {
    let first = match protocol {
        Protocol::Imap => "imap",
        Protocol::Pop3 => "pop3",
        _ => "smtp",
    };
    for implicit in [true, false] {
        for host in [
            format!("{first}.{domain}"),
            format!("mail.{domain}"),
            domain.to_owned(),
        ] {
            let port = match protocol.implicit_port() {
                Some(port) if implicit => port,
                _ => protocol.clear_port(),
            };
            let candidate = Candidate {
                protocol,
                implicit,
                host,
                port,
                user: None,
            };
            let url = Url::parse(&candidate.url()).map_err(Failure::usage)?;
            let tls = if implicit {
                Tls::Implicit
            } else {
                Tls::StartTls
            };
            if reach::answers_verified(settings, &url, Door { port, tls }).await {
                return Ok(vec![Found {
                    candidate,
                    how: "guess",
                    vouched: "it answers, and its certificate is verified",
                    unvouched: false,
                }]);
            }
        }
    }
    Ok(Vec::new())
}

/// Shows what was found and wants a yes: on a terminal, or said beforehand. [SRV-03] [AUTOC-03]
fn approve(address: &str, found: &[Found], yes: bool) -> Result<(), Failure> {
    eprintln!("Servers found for {address}:");
    for it in found {
        eprintln!(
            "  {}  ({}: {})",
            plain(&it.candidate.url()),
            it.how,
            it.vouched
        );
    }
    let unvouched = found.iter().any(|it| it.unvouched);
    if yes && !unvouched {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() && unvouched {
        return Err(Failure::usage(
            "a server outside of the domain that nothing vouches for may be whoever answers DNS queries here, and --yes does not speak for it: compare \
             the list above with what the provider says, and give the server by its URL, or approve it in a terminal",
        ));
    }
    if !std::io::stdin().is_terminal() {
        return Err(Failure::usage(
            "servers that were found need your approval: look at the list above and say --yes, or give the server by its URL",
        ));
    }
    eprint!("Use the first of each kind from now on? [y/N] ");
    let _ = std::io::stderr().flush();
    let mut line = String::new();
    std::io::stdin()
        .read_line(&mut line)
        .map_err(|error| Failure::local(format!("cannot read the answer: {error}")))?;
    if matches!(line.trim(), "y" | "Y" | "yes") {
        return Ok(());
    }
    Err(Failure::usage(
        "not approved; nothing was sent and nothing kept",
    ))
}

/// The first server of each kind.
fn account_of(address: &str, found: &[Found]) -> Account {
    let first = |protocol| found.iter().find(|it| it.candidate.protocol == protocol);
    let url = |protocol| first(protocol).map(|it| it.candidate.url());
    Account {
        address: address.to_owned(),
        submission: url(Protocol::Submission),
        imap: url(Protocol::Imap),
        pop3: url(Protocol::Pop3),
        // [SRV-05] the whole address first; a provider's file may know better.
        user: found.iter().find_map(|it| it.candidate.user.clone()),
        found: found
            .first()
            .map(|it| it.how.to_owned())
            .unwrap_or_default(),
        exception: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(protocol: Protocol, implicit: bool, port: u16) -> Found {
        Found {
            candidate: Candidate {
                protocol,
                implicit,
                host: "mail.e.test".into(),
                port,
                user: None,
            },
            how: "srv",
            vouched: "",
            unvouched: false,
        }
    }

    #[test]
    fn the_first_of_each_kind_is_kept_and_imap_is_not_pop3() {
        let all = [
            found(Protocol::Submission, true, 465),
            found(Protocol::Submission, false, 587),
            found(Protocol::Pop3, true, 995),
        ];
        let account = account_of("anna@e.test", &all);
        assert_eq!(
            account.submission.as_deref(),
            Some("submissions://mail.e.test:465")
        );
        assert_eq!(
            (account.imap.as_deref(), account.pop3.as_deref()),
            (None, Some("pop3s://mail.e.test:995"))
        );
    }

    #[test]
    fn nothing_found_is_used_unasked() {
        // [SRV-03] tests have no terminal.
        if !std::io::stdin().is_terminal() {
            assert!(approve("anna@e.test", &[found(Protocol::Imap, true, 993)], false).is_err());
        }
        assert!(approve("anna@e.test", &[found(Protocol::Imap, true, 993)], true).is_ok());
        // [SRV-03] [ID-02] said before it was seen, a yes is none for what nothing vouches for.
        let stranger = Found {
            unvouched: true,
            ..found(Protocol::Imap, true, 993)
        };
        if !std::io::stdin().is_terminal() {
            assert!(approve("anna@e.test", &[stranger], true).is_err());
        }
    }
}
