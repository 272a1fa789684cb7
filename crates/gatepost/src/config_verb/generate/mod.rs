//! `gatepost config generate`: right settings for a server, complete, commented, for one version and one profile.
//!
//! [SVC-01] [SVC-02] Whatever is asked: port 25 offers TLS, 587 requires it, 465, 993 and 995 speak it from the first octet, no login is taken before
//! TLS, and no name is written that the version asked for does not know or has deprecated. The tests hold every file against our own
//! rules, and the real servers start with them (`tests/interop/configs.py`).

mod courier;
mod cyrus;
mod dovecot;
mod exim;
mod gatepost;
mod nginx;
mod opensmtpd;
mod postfix;
pub(crate) mod profile;

use std::path::{Path, PathBuf};

use clap::builder::PathBufValueParser;
use clap::{Arg, ArgMatches, Command};
use gatepost_audit::config::Version;

use super::drift;
use super::words;
use crate::exit::Failure;
use profile::Profile;

/// What a file is to be made for.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    /// The server's version.
    pub(crate) version: Version,
    /// The profile.
    pub(crate) profile: Profile,
    /// The mail domain.
    pub(crate) domain: String,
    /// The server's own name.
    pub(crate) host: String,
    /// The file with the certificate and its chain.
    pub(crate) chain: String,
    /// The file with the key.
    pub(crate) key: String,
}

/// A file that was made.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Made {
    /// Its name, without a folder.
    pub(crate) name: &'static str,
    /// Where it belongs, for the reader.
    pub(crate) place: &'static str,
    /// Its text.
    pub(crate) text: String,
}

/// A server that files are made for.
struct Server {
    word: &'static str,
    /// Oldest and newest version that is known.
    versions: (Version, Version),
    /// The version that is meant when none is said.
    usual: Version,
    make: fn(&Wanted) -> Vec<Made>,
}

const SERVERS: &[Server] = &[
    server("postfix", (3, 4), (3, 11), (3, 7), postfix::make),
    server("dovecot", (2, 3), (2, 4), (2, 3), dovecot::make),
    server("exim", (4, 94), (4, 99), (4, 96), exim::make),
    server("courier", (5, 0), (5, 2), (5, 0), courier::make),
    server("cyrus", (3, 0), (3, 12), (3, 6), cyrus::make),
    server("opensmtpd", (6, 6), (7, 8), (6, 8), opensmtpd::make),
    server("nginx-mail", (1, 18), (1, 31), (1, 22), nginx::make),
    server("gatepost", (0, 1), (0, 1), (0, 1), gatepost::make),
];

const fn server(
    word: &'static str,
    oldest: (u16, u16),
    newest: (u16, u16),
    usual: (u16, u16),
    make: fn(&Wanted) -> Vec<Made>,
) -> Server {
    Server {
        word,
        versions: (Version(oldest.0, oldest.1), Version(newest.0, newest.1)),
        usual: Version(usual.0, usual.1),
        make,
    }
}

/// The verb on the command line.
pub(crate) fn command() -> Command {
    let text = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help)
    };
    let servers: Vec<&str> = SERVERS.iter().map(|it| it.word).collect();
    Command::new("generate")
        .about("Print right settings for a server: TLS offered on 25, required for every login")
        .after_help(
            "Examples:\n  gatepost config generate --for postfix --version 3.7 --domain example.org --host mail.example.org\n  \
             gatepost config generate --for dovecot --version 2.4 --profile ncsc-2025 --domain example.org --host mail.example.org\n  \
             gatepost config generate --for nginx-mail --domain example.org --host mail.example.org --output etc\n\n\
             Profiles: mozilla-6-intermediate (the usual), ncsc-2025 (Dutch guidelines of 2025), strict (TLS 1.3 alone for logins).",
        )
        .arg(text("for", "SERVER", "The server").value_parser(servers).required(true))
        .arg(text("version", "V", "Its version, such as 3.7 [default: that of Debian 12]"))
        .arg(text("profile", "NAME", "mozilla-6-intermediate, ncsc-2025 or strict").value_parser(Profile::WORDS).default_value("mozilla-6-intermediate"))
        .arg(text("domain", "D", "The mail domain").required(true))
        .arg(text("host", "H", "The server's own name, which its certificate covers").required(true))
        .arg(text("chain", "FILE", "The file with the certificate and its chain, as the server will see it [default: /etc/ssl/mail/chain.pem]"))
        .arg(text("key", "FILE", "The file with the key [default: /etc/ssl/mail/key.pem]"))
        .arg(text("output", "DIR", "Write the files into this folder instead of printing them").value_parser(PathBufValueParser::new()))
        .arg(text("state", "FILE", "Note in this file what was made, for gatepost config drift").value_parser(PathBufValueParser::new()))
}

pub(crate) fn run(given: &ArgMatches) -> Result<(), Failure> {
    let text = |name: &str| given.get_one::<String>(name).map(String::as_str);
    let word = text("for").unwrap_or_default();
    let server = SERVERS
        .iter()
        .find(|it| it.word == word)
        .ok_or_else(|| Failure::usage(format!("there is no server {word}")))?;
    let wanted = Wanted {
        version: version(server, text("version"))?,
        profile: Profile::parse(text("profile").unwrap_or_default())
            .ok_or_else(|| Failure::usage("there is no such profile"))?,
        domain: words::host(text("domain").unwrap_or_default(), "--domain")?,
        host: words::host(text("host").unwrap_or_default(), "--host")?,
        chain: words::path(
            text("chain").unwrap_or("/etc/ssl/mail/chain.pem"),
            "--chain",
        )?,
        key: words::path(text("key").unwrap_or("/etc/ssl/mail/key.pem"), "--key")?,
    };
    let made = (server.make)(&wanted);
    match given.get_one::<PathBuf>("output") {
        Some(folder) => write(folder, &made)?,
        None => print!("{}", shown(&made)),
    }
    if let Some(state) = given.get_one::<PathBuf>("state") {
        drift::note_generated(
            state,
            word,
            &wanted,
            &made,
            given.get_one::<PathBuf>("output"),
        )?;
    }
    Ok(())
}

fn version(server: &Server, text: Option<&str>) -> Result<Version, Failure> {
    let Some(text) = text else {
        return Ok(server.usual);
    };
    let (oldest, newest) = server.versions;
    Version::parse(text)
        .filter(|version| (oldest..=newest).contains(version))
        .ok_or_else(|| {
            Failure::usage(format!(
                "--version {text}: {} is known here from {oldest} to {newest}",
                server.word
            ))
        })
}

/// One file as it is, several each under its name.
fn shown(made: &[Made]) -> String {
    match made {
        [only] => only.text.clone(),
        several => several.iter().fold(String::new(), |text, it| {
            text + &format!("# ======== {} ({})\n{}\n", it.name, it.place, it.text)
        }),
    }
}

fn write(folder: &Path, made: &[Made]) -> Result<(), Failure> {
    std::fs::create_dir_all(folder)
        .map_err(|error| Failure::local(format!("cannot make {}: {error}", folder.display())))?;
    for it in made {
        let path = folder.join(it.name);
        std::fs::write(&path, &it.text)
            .map_err(|error| Failure::local(format!("cannot write {}: {error}", path.display())))?;
        println!("wrote {} (belongs to {})", path.display(), it.place);
    }
    Ok(())
}

/// The head of every file: what it was made for.
fn head(server: &str, wanted: &Wanted, also: &str) -> String {
    let mut text = format!(
        "# {server} {} for {} ({}), profile {}. Made by gatepost config generate.\n",
        wanted.version,
        wanted.host,
        wanted.domain,
        wanted.profile.word()
    );
    for line in also.lines() {
        text.push_str(&format!("# {line}\n"));
    }
    text.push('\n');
    text
}

/// What a server with one setting for all ports makes of the strict profile.
fn one_for_all(wanted: &Wanted) -> &'static str {
    if wanted.profile.is_strict() {
        "# One setting for all ports: TLS 1.2 stays on, because port 25 is for the rest of the world too.\n"
    } else {
        ""
    }
}

#[cfg(test)]
mod tests {
    use gatepost_audit::config::{Document, Kind, NoFiles, Outcome, lint};
    use gatepost_audit::finding::Severity;

    use super::*;

    fn wanted(version: Version, profile: Profile) -> Wanted {
        Wanted {
            version,
            profile,
            domain: "example.org".into(),
            host: "mail.example.org".into(),
            chain: "/etc/ssl/mail/chain.pem".into(),
            key: "/etc/ssl/mail/key.pem".into(),
        }
    }

    fn judge(word: &str, wanted: &Wanted, made: &[Made]) -> Option<Outcome> {
        let documents = made
            .iter()
            .map(|it| Document::new(it.name, &it.text))
            .collect();
        if word == "gatepost" {
            return Some(super::super::own::lint(documents));
        }
        let kind = Kind::parse(word)?;
        Some(lint(kind, documents, Some(wanted.version), &mut NoFiles))
    }

    // [CFG-PF-01] [CFG-DC-01] [CFG-EX-01] [NAT-MOZ-01]
    #[test]
    fn our_own_rules_find_nothing_in_what_is_made() {
        for server in SERVERS {
            let (oldest, newest) = server.versions;
            for minor in oldest.1..=newest.1 {
                for profile in Profile::ALL {
                    let wanted = wanted(
                        Version(
                            oldest.0.max(if server.word == "opensmtpd" && minor < 6 {
                                7
                            } else {
                                oldest.0
                            }),
                            minor,
                        ),
                        profile,
                    );
                    let made = (server.make)(&wanted);
                    let Some(outcome) = judge(server.word, &wanted, &made) else {
                        continue;
                    };
                    for finding in &outcome.findings {
                        assert_eq!(
                            finding.rule.severity,
                            Severity::Info,
                            "{} {}: {finding:?}",
                            server.word,
                            wanted.version
                        );
                        assert!(!finding.rule.id.ends_with("UNDECIDED"), "{finding:?}");
                    }
                }
            }
        }
    }

    // [SVC-01] [SVC-02]
    #[test]
    fn every_service_for_logins_demands_tls() {
        for profile in Profile::ALL {
            let of = |word: &str| {
                let server = SERVERS.iter().find(|it| it.word == word).unwrap();
                shown(&(server.make)(&wanted(server.usual, profile)))
            };
            let postfix = of("postfix");
            assert!(
                postfix.contains("-o smtpd_tls_security_level=encrypt")
                    && postfix.contains("-o smtpd_tls_wrappermode=yes")
            );
            assert!(!postfix.contains("smtpd_use_tls") && !postfix.contains("imap_"));
            assert!(
                of("dovecot").contains("ssl = required")
                    && of("dovecot").contains("disable_plaintext_auth = yes")
            );
            assert!(of("exim").contains("auth_advertise_hosts = ${if eq{$tls_in_cipher}{}{}{*}}"));
            assert!(
                of("courier").contains("IMAP_TLS_REQUIRED=1")
                    && of("courier").contains("POP3_TLS_REQUIRED=1")
            );
            assert!(
                of("cyrus").contains("allowplaintext: no")
                    && of("cyrus").contains("tls_required: yes")
            );
            assert!(of("opensmtpd").contains("tls-require") && of("opensmtpd").contains("smtps"));
            assert_eq!(of("nginx-mail").matches("starttls only;").count(), 3);
        }
    }

    #[test]
    fn versions_that_are_not_known_are_refused() {
        assert!(version(&SERVERS[0], Some("2.11")).is_err());
        assert!(version(&SERVERS[0], Some("3.12")).is_err());
        assert_eq!(version(&SERVERS[0], Some("3.9.1")).unwrap(), Version(3, 9));
    }
}
