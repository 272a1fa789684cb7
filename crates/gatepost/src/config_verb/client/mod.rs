//! `gatepost config client`: a mail program's file, or the exact settings to type in.
//!
//! [AUTOC-02] [MOBC-01] Host, port and way into TLS are always written, implicit TLS first; verification is switched on where a program
//! leaves it off; no file holds a password.

mod autoconfig;
mod fetchers;
mod mobile;
mod text;

use clap::builder::PathBufValueParser;
use clap::{Arg, ArgAction, ArgMatches, Command};

use super::words;
use crate::exit::Failure;

/// One server as a client is told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Door {
    /// Its name.
    pub(crate) host: String,
    /// Its port.
    pub(crate) port: u16,
    /// TLS from the first octet; else STARTTLS, required.
    pub(crate) implicit: bool,
}

impl Door {
    /// `SSL` or `STARTTLS`, as autoconfig says it.
    fn socket_type(&self) -> &'static str {
        if self.implicit { "SSL" } else { "STARTTLS" }
    }

    /// In words for people.
    fn mode(&self) -> &'static str {
        if self.implicit {
            "TLS from the first octet (also called SSL/TLS)"
        } else {
            "STARTTLS, required (never \"if available\")"
        }
    }
}

/// What a file is made from.
#[derive(Debug, Clone)]
pub(crate) struct Account {
    /// The mail address.
    pub(crate) address: String,
    /// Its domain.
    pub(crate) domain: String,
    /// The login name.
    pub(crate) user: String,
    /// POP3 instead of IMAP.
    pub(crate) pop3: bool,
    /// Where mail is fetched; the preferred door first.
    pub(crate) incoming: Vec<Door>,
    /// Where mail is handed in; the preferred door first.
    pub(crate) outgoing: Vec<Door>,
    /// A file with the authority to trust; none: the system's.
    pub(crate) ca: Option<String>,
    /// The command that prints the password.
    pub(crate) password_command: String,
}

impl Account {
    fn incoming(&self) -> &Door {
        &self.incoming[0]
    }

    fn outgoing(&self) -> &Door {
        &self.outgoing[0]
    }

    fn protocol(&self) -> &'static str {
        if self.pop3 { "pop3" } else { "imap" }
    }

    /// The system's authorities, where a program wants a file.
    fn ca_file(&self) -> &str {
        self.ca
            .as_deref()
            .unwrap_or("/etc/ssl/certs/ca-certificates.crt")
    }
}

type Maker = fn(&Account) -> Result<String, Failure>;

/// Programs, and what makes their files. The last ones are the formats by their own names.
const PROGRAMS: &[(&str, Maker)] = &[
    ("thunderbird", |it| Ok(autoconfig::clients(it))),
    ("apple", |it| Ok(mobile::profile(it))),
    ("outlook", |it| Ok(text::outlook(it))),
    ("gmail-app", |it| Ok(text::gmail(it))),
    ("k9", |it| Ok(text::k9(it))),
    ("mutt", |it| Ok(fetchers::mutt(it))),
    ("msmtp", |it| Ok(fetchers::msmtp(it))),
    ("mbsync", fetchers::mbsync),
    ("fetchmail", |it| Ok(fetchers::fetchmail(it))),
    ("getmail", fetchers::getmail),
    ("offlineimap", fetchers::offlineimap),
    ("aerc", |it| Ok(fetchers::aerc(it))),
    ("himalaya", |it| Ok(fetchers::himalaya(it))),
    ("autoconfig", |it| Ok(autoconfig::clients(it))),
    ("mobileconfig", |it| Ok(mobile::profile(it))),
    ("autodiscover", |it| Ok(autoconfig::autodiscover(it))),
];

/// The verb on the command line.
pub(crate) fn command() -> Command {
    let text = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help)
    };
    let port = |name: &'static str, help: &'static str| {
        text(name, "PORT", help).value_parser(clap::value_parser!(u16))
    };
    let switch = |name: &'static str, help: &'static str| {
        Arg::new(name)
            .long(name)
            .action(ArgAction::SetTrue)
            .help(help)
    };
    let programs: Vec<&str> = PROGRAMS.iter().map(|(word, _)| *word).collect();
    Command::new("client")
        .about("Print a mail program's file, or the exact settings to type in")
        .after_help(
            "Examples:\n  gatepost config client anna@example.org --for msmtp --host mail.example.org >> ~/.msmtprc\n  \
             gatepost config client anna@example.org --for apple > anna.mobileconfig\n  \
             gatepost config client anna@example.org --for k9 --pop3\n\n\
             thunderbird and autoconfig print the file to serve at https://autoconfig.DOMAIN/mail/config-v1.1.xml, autodiscover the answer of \
             https://autodiscover.DOMAIN/autodiscover/autodiscover.xml. No file holds a password.",
        )
        .arg(Arg::new("address").value_name("ADDRESS").required(true).help("The mail address"))
        .arg(text("for", "PROGRAM", "The program, or autoconfig, mobileconfig, autodiscover").value_parser(programs).required(true))
        .arg(text("host", "H", "The server [default: mail.DOMAIN]"))
        .arg(text("smtp-host", "H", "The server for handing in mail, if it is another one"))
        .arg(port("port", "The port for fetching, if it is another one"))
        .arg(port("smtp-port", "The port for handing in, if it is another one"))
        .arg(switch("starttls", "The server has no implicit TLS: write 143, 110 and 587 with STARTTLS required"))
        .arg(switch("pop3", "POP3 instead of IMAP"))
        .arg(text("user", "NAME", "The login name [default: the address]"))
        .arg(text("ca", "FILE", "A file with the authority to trust [default: the system's]").value_parser(PathBufValueParser::new()))
        .arg(text("password-command", "COMMAND", "What prints the password when the program asks [default: pass show mail/ADDRESS]"))
}

pub(crate) fn run(given: &ArgMatches) -> Result<(), Failure> {
    let account = account(given)?;
    let word = given.get_one::<String>("for").map_or("", String::as_str);
    let make = PROGRAMS
        .iter()
        .find(|(it, _)| *it == word)
        .map(|(_, make)| make);
    let make = make.ok_or_else(|| Failure::usage(format!("there is no program {word}")))?;
    if given.get_one::<String>("host").is_none() {
        eprintln!(
            "gatepost: without --host, {} is written",
            account.incoming().host
        );
    }
    print!("{}", make(&account)?);
    Ok(())
}

fn account(given: &ArgMatches) -> Result<Account, Failure> {
    let text = |name: &str| given.get_one::<String>(name).map(String::as_str);
    let (local, domain) = words::address(text("address").unwrap_or_default())?;
    let address = format!("{local}@{domain}");
    let host = match text("host") {
        Some(host) => words::host(host, "--host")?,
        None => format!("mail.{domain}"),
    };
    let smtp_host = match text("smtp-host") {
        Some(host) => words::host(host, "--smtp-host")?,
        None => host.clone(),
    };
    let pop3 = given.get_flag("pop3");
    let (implicit, starttls) = if pop3 { (995, 110) } else { (993, 143) };
    let only_starttls = given.get_flag("starttls");
    let ca = match given.get_one::<std::path::PathBuf>("ca") {
        Some(path) => Some(words::path(&path.display().to_string(), "--ca")?),
        None => None,
    };
    let default = format!("pass show mail/{address}");
    Ok(Account {
        user: words::user(text("user").unwrap_or(&address))?,
        password_command: words::command(text("password-command").unwrap_or(&default))?,
        incoming: doors(
            &host,
            (implicit, starttls),
            only_starttls,
            given.get_one("port").copied(),
        ),
        outgoing: doors(
            &smtp_host,
            (465, 587),
            only_starttls,
            given.get_one("smtp-port").copied(),
        ),
        address,
        domain,
        pop3,
        ca,
    })
}

/// Implicit TLS before STARTTLS; a port that was given stands alone.
fn doors(
    host: &str,
    (implicit, starttls): (u16, u16),
    only_starttls: bool,
    given: Option<u16>,
) -> Vec<Door> {
    let door = |port, implicit| Door {
        host: host.to_owned(),
        port,
        implicit,
    };
    match (given, only_starttls) {
        (Some(port), _) => vec![door(port, !only_starttls)],
        (None, true) => vec![door(starttls, false)],
        (None, false) => vec![door(implicit, true), door(starttls, false)],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(words: &[&str]) -> Result<String, Failure> {
        let mut all = vec!["client", "anna@example.org"];
        all.extend(words);
        let given = command().get_matches_from(all);
        let account = account(&given)?;
        let word = given.get_one::<String>("for").unwrap();
        PROGRAMS.iter().find(|(it, _)| it == word).unwrap().1(&account)
    }

    // [AUTOC-02] [MOBC-01] [AUTOD-01]
    #[test]
    fn every_file_names_port_and_mode_and_no_password() {
        for (word, _) in PROGRAMS {
            let text = made(&["--for", word]).map_err(|it| it.to_string()).unwrap();
            let sends = text.contains("465");
            let fetches = text.contains("993");
            assert!(sends || fetches, "{word}: {text}");
            assert!(text.contains("mail.example.org"), "{word}");
            let lower = text.to_lowercase();
            assert!(
                !lower.contains("opportunistic") && !lower.contains("<sockettype>plain"),
                "{word}"
            );
            assert!(!lower.contains(" 25\n") && !text.contains(":25"), "{word}");
        }
    }

    #[test]
    fn implicit_tls_comes_first_and_starttls_only_when_asked() {
        let xml = made(&["--for", "thunderbird"])
            .map_err(|it| it.to_string())
            .unwrap();
        let document = roxmltree::Document::parse(&xml).unwrap();
        let types: Vec<&str> = document
            .descendants()
            .filter(|it| it.has_tag_name("socketType"))
            .filter_map(|it| it.text())
            .collect();
        assert_eq!(types, ["SSL", "STARTTLS", "SSL", "STARTTLS"]);
        let msmtp = made(&["--for", "msmtp", "--starttls"])
            .map_err(|it| it.to_string())
            .unwrap();
        assert!(msmtp.contains("tls_starttls on") && msmtp.contains("port 587"));
    }

    #[test]
    fn what_a_program_cannot_do_is_said() {
        assert!(made(&["--for", "getmail", "--starttls"]).is_err());
        assert!(made(&["--for", "mbsync", "--pop3"]).is_err());
        assert!(made(&["--for", "msmtp", "--user", "a b"]).is_err());
    }
}
