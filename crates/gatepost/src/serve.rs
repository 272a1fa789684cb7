//! `gatepost serve`: from flags and file to a running server.

use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::ArgMatches;
use gatepost_net::network::Network;
use gatepost_serve::server::successor::takes_over;
use gatepost_serve::server::{Server, StartError};
use gatepost_serve::services::SERVICES;
use gatepost_serve::settings::{LogFormat, Settings, StrictNames};
use gatepost_serve::upstream::egress;
use gatepost_serve::upstream::route::Route;
use gatepost_serve::upstream::url::{self, Spec};
use gatepost_store::Accounts;
use gatepost_wire::sasl::Mechanism;
use gatepost_wire::seam::TlsVersion;

use crate::config::Values;
use crate::directives::DIRECTIVES;
use crate::exit::Failure;
use crate::intro::{self, Shown};
use crate::reload::Source;
use crate::upgrade::{self, Told};
use crate::{account, password};

/// The account of a server nobody has told anything.
const DEFAULT_ACCOUNT: &str = "me@gatepost.test";

pub(crate) fn run(given: &ArgMatches) -> Result<(), Failure> {
    let (source, settings) = Source::open(given)?;
    // Before it can be replaced.
    let program = upgrade::program();
    // The process before this one is ready still.
    if !takes_over() {
        forget_readiness(settings.ready_file.as_deref())?;
    }
    make_folder(&settings.data)?;
    let wanted = wanted_accounts(given)?;
    let mut server = Server::open(settings).map_err(start_failure)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::local(format!("cannot start the runtime: {error}")))?;
    let by_default = given.get_one::<PathBuf>("config").is_none();
    runtime.block_on(async {
        // Before the accounts: a password that is shown once must not be lost to a port that is taken.
        server.bind().map_err(start_failure)?;
        let shown = ensure_accounts(&server, &wanted, by_default)?;
        server.look().await;
        let running = server.start().map_err(start_failure)?;
        // Whoever waits for readiness may send a signal at once.
        let told = Told::listen()?;
        running.announce_ready().map_err(start_failure)?;
        intro::print(&running, shown.as_ref());
        upgrade::until_told(told, running, source, &program).await
    })?;
    // What is still on the blocking pool has had its time.
    runtime.shutdown_timeout(Duration::from_secs(1));
    Ok(())
}

/// A ready file that an earlier server left behind when it was killed would tell of a server that is not there. One that cannot
/// be written is found now, before an account is made whose password is shown only once the server is ready.
fn forget_readiness(file: Option<&Path>) -> Result<(), Failure> {
    let Some(file) = file else { return Ok(()) };
    match std::fs::remove_file(file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(Failure::usage(format!(
                "cannot remove the old ready file: {error}; give another path with --ready-file"
            )));
        }
        _ => {}
    }
    // Not under its own name: whoever waits for the file must not see it yet.
    let mut beside = file.as_os_str().to_owned();
    beside.push(".new");
    std::fs::write(&beside, "")
        .and_then(|()| std::fs::remove_file(&beside))
        .map_err(|error| {
            Failure::local(format!(
                "cannot write the ready file {}: {error}; give another path with --ready-file",
                file.display()
            ))
        })
}

pub(crate) fn lay_flags(values: &mut Values, given: &ArgMatches) -> Result<(), Failure> {
    for directive in DIRECTIVES
        .iter()
        .filter(|directive| directive.flag.is_some())
    {
        if let Some(texts) = given.get_many::<String>(directive.name) {
            let texts: Vec<String> = texts.cloned().collect();
            values.set_flag(directive, &texts).map_err(Failure::usage)?;
        }
    }
    Ok(())
}

/// What the values mean together; contradictions between them are errors.
pub(crate) fn settings(values: &Values, ready_file: Option<PathBuf>) -> Result<Settings, Failure> {
    let (chains, keys) = (values.list("tls.chains"), values.list("tls.keys"));
    if chains.len() != keys.len() {
        return Err(Failure::usage(format!(
            "{} certificate chains (tls.chains) but {} keys (tls.keys): give one key for each chain, in the same order",
            chains.len(),
            keys.len()
        )));
    }
    let host = host_name(values.text("server.host"))?;
    let upstreams = upstreams(values)?;
    if !upstreams.is_empty() && !values.text("web.listen").is_empty() {
        return Err(Failure::usage(
            "the web page (web.listen, --web) shows the mailboxes kept here, and with upstreams there are none: leave one of them out",
        ));
    }
    Ok(Settings {
        upstreams,
        route: route(values)?,
        egress: egress(values)?,
        proxies: networks(values, "proxy.networks"),
        introducers: networks(values, "proxy.xclient_networks"),
        proxied_services: service_names(values, "proxy.services")?,
        data: PathBuf::from(values.text("server.data")),
        host,
        domains: values
            .list("server.domains")
            .iter()
            .map(|domain| domain.to_lowercase())
            .collect(),
        bind: values
            .list("server.bind")
            .iter()
            .filter_map(|text| text.parse().ok())
            .collect(),
        port_offset: u16::try_from(values.number("server.port_offset")).unwrap_or(0),
        hide_client: values.switch("smtp.hide_client"),
        postmaster: Some(values.text("server.postmaster").to_owned())
            .filter(|text| !text.is_empty()),
        certificates: chains
            .iter()
            .map(PathBuf::from)
            .zip(keys.iter().map(PathBuf::from))
            .collect(),
        strict_names: match values.text("tls.strict_names") {
            "always" => StrictNames::Always,
            "never" => StrictNames::Never,
            _ => StrictNames::Implicit,
        },
        floor: match values.text("tls.floor") {
            "1.3" => TlsVersion::Tls13,
            _ => TlsVersion::Tls12,
        },
        floor_services: floor_services(values)?,
        own_from_only: values.text("submission.from") == "login",
        web: values.text("web.listen").parse().ok(),
        mx_requires_tls: values.text("smtp.tls") == "require",
        message_size: values.number("smtp.message_size"),
        quota: values.number("mailbox.quota"),
        disk_floor: values.number("mailbox.disk_floor"),
        connections: count(values, "limits.connections"),
        connections_per_address: count(values, "limits.connections_per_address"),
        unlimited: networks(values, "limits.unlimited_networks"),
        handshakes: count(values, "limits.handshakes"),
        handshake_time: Duration::from_secs(values.number("limits.handshake_time")),
        clear_login: networks(values, "login.clear_networks"),
        client_ca: path(values, "login.client_ca"),
        client_crl: client_crl(values)?,
        mechanisms: mechanisms(values)?,
        log: if values.text("log.format") == "json" {
            LogFormat::Json
        } else {
            LogFormat::Human
        },
        metrics: values.text("metrics.listen").parse().ok(),
        ready_file,
    })
}

fn path(values: &Values, name: &str) -> Option<PathBuf> {
    Some(PathBuf::from(values.text(name))).filter(|path| !path.as_os_str().is_empty())
}

/// [SASL-SCRAM-03] -PLUS with every hash function or with none: a client that could bind, and saw no -PLUS of its own, says so, and
/// where there is any that is the mark of an attack (RFC 5802 6).
fn mechanisms(values: &Values) -> Result<Vec<Mechanism>, Failure> {
    let named: Vec<Mechanism> = values
        .list("login.mechanisms")
        .iter()
        .filter_map(|text| Mechanism::from_name(text.as_bytes()))
        .collect();
    let binds = named.iter().any(|it| it.is_bound());
    let alone = [
        (Mechanism::ScramSha256, Mechanism::ScramSha256Plus),
        (Mechanism::ScramSha1, Mechanism::ScramSha1Plus),
    ]
    .into_iter()
    .find(|(plain, plus)| binds && named.contains(plain) && !named.contains(plus));
    match alone {
        Some((plain, plus)) => Err(Failure::usage(format!(
            "login.mechanisms names {} without {}, and another -PLUS: clients that can bind to TLS would be taken for ones under attack. Name {} too, or no -PLUS at all",
            plain.name(),
            plus.name(),
            plus.name(),
        ))),
        None => Ok(named),
    }
}

/// What was revoked; only where somebody vouches for clients.
fn client_crl(values: &Values) -> Result<Option<PathBuf>, Failure> {
    let revoked = path(values, "login.client_crl");
    if revoked.is_some() && path(values, "login.client_ca").is_none() {
        return Err(Failure::usage(
            "login.client_crl names what authorities have revoked, and there are none: set login.client_ca, too",
        ));
    }
    Ok(revoked)
}

/// How an upstream is chosen; only where there are several to choose from.
fn route(values: &Values) -> Result<Route, Failure> {
    let route = Route::parse(values.text("gate.route")).map_err(Failure::usage)?;
    if route != Route::Any && values.list("gate.upstreams").is_empty() {
        return Err(Failure::usage(
            "gate.route chooses among gate.upstreams, and there are none",
        ));
    }
    Ok(route)
}

fn upstreams(values: &Values) -> Result<Vec<Spec>, Failure> {
    let urls = values.list("gate.upstreams").iter();
    urls.map(|url| Spec::parse(url).map_err(Failure::usage))
        .collect()
}

/// The way out for devices. What would make it a way out for everybody is an error.
fn egress(values: &Values) -> Result<Option<egress::Settings>, Failure> {
    let listen = values.list("egress.listen");
    if listen.is_empty() {
        return Ok(None);
    }
    let need = |name: &str, why: &str| Failure::usage(format!("egress.listen needs {name}: {why}"));
    let parse = |text: &String| {
        let wrong = || {
            need(
                "addresses with ports",
                &format!("{text:?} is none; write \"192.0.2.1:25\""),
            )
        };
        text.parse().map_err(|_| wrong())
    };
    let listen = listen.iter().map(parse).collect::<Result<_, _>>()?;
    let networks = networks(values, "egress.networks");
    let senders = values.list("egress.senders").to_vec();
    if networks.is_empty() {
        return Err(need("egress.networks", "else everybody could send"));
    }
    if senders.is_empty() || senders.iter().any(|it| !it.contains('@')) {
        return Err(need(
            "egress.senders",
            "addresses such as \"printer@example.org\", or \"@example.org\"",
        ));
    }
    let upstream = Spec::parse(values.text("egress.upstream")).map_err(Failure::usage)?;
    if matches!(upstream.tls, url::Tls::May) || upstream.level == url::Level::Encrypt {
        return Err(need(
            "a verified egress.upstream",
            "leave out tls=may or tls=encrypt",
        ));
    }
    let user = values.text("egress.user");
    let login = if user.is_empty() {
        None
    } else {
        let file = PathBuf::from(values.text("egress.password_file"));
        Some((user.to_owned(), password::from_file(&file)?))
    };
    Ok(Some(egress::Settings {
        listen,
        networks,
        upstream,
        login,
        senders,
    }))
}

/// Whom the floor holds for. Where clear text is served, refusing old TLS would drive senders out of TLS.
fn floor_services(values: &Values) -> Result<Vec<String>, Failure> {
    let names = service_names(values, "tls.floor_services")?;
    let with_smtp = names.iter().any(|it| it == "smtp");
    if with_smtp && values.text("smtp.tls") != "require" {
        return Err(Failure::usage(
            "tls.floor_services names smtp, where mail is taken in clear too: senders with TLS 1.2 were refused and those without TLS served; set smtp.tls = \"require\", or leave smtp out",
        ));
    }
    Ok(names)
}

fn service_names(values: &Values, name: &str) -> Result<Vec<String>, Failure> {
    let names = values.list(name);
    let known = |name: &String| SERVICES.iter().any(|it| it.name == name);
    if let Some(wrong) = names.iter().find(|name| !known(name)) {
        let all: Vec<&str> = SERVICES.iter().map(|it| it.name).collect();
        return Err(Failure::usage(format!(
            "{name}: there is no service {wrong:?}; there are {}",
            all.join(", ")
        )));
    }
    Ok(names.to_vec())
}

fn count(values: &Values, name: &str) -> usize {
    usize::try_from(values.number(name)).unwrap_or(usize::MAX)
}

fn networks(values: &Values, name: &str) -> Vec<Network> {
    values
        .list(name)
        .iter()
        .filter_map(|text| Network::parse(text))
        .collect()
}

/// The server's name goes into greetings and headers: only what a host name may hold gets there.
fn host_name(text: &str) -> Result<String, Failure> {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if text.len() <= 253 && text.split('.').all(label) {
        return Ok(text.to_lowercase());
    }
    Err(Failure::usage(format!(
        "server.host is {text:?}, which is no host name; write one such as \"mail.example.org\" (an IDN in its xn-- form)"
    )))
}

/// Creates the data folder with mode 0700; one that is there already must not be open to others.
fn make_folder(folder: &Path) -> Result<(), Failure> {
    let fail = |error: std::io::Error| {
        Failure::local(format!(
            "cannot make the data folder {}: {error}",
            folder.display()
        ))
    };
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(fail)?;
    let mode = std::fs::metadata(folder)
        .map_err(fail)?
        .permissions()
        .mode();
    if mode & 0o077 != 0 {
        return Err(Failure::usage(format!(
            "others can look into the data folder {dir} (mode {:03o}); it holds mail and keys: chmod 700 {dir}",
            mode & 0o777,
            dir = folder.display()
        )));
    }
    Ok(())
}

type Wanted = Vec<(String, gatepost_wire::secret::Secret<String>)>;

fn wanted_accounts(given: &ArgMatches) -> Result<Wanted, Failure> {
    let addresses: Vec<&String> = given.get_many("account").into_iter().flatten().collect();
    let files: Vec<&PathBuf> = given
        .get_many("password-file")
        .into_iter()
        .flatten()
        .collect();
    if addresses.len() != files.len() {
        return Err(Failure::usage(format!(
            "{} times --account but {} times --password-file: give one file for each account",
            addresses.len(),
            files.len()
        )));
    }
    addresses
        .into_iter()
        .zip(files)
        .map(|(address, file)| Ok((address.clone(), password::from_file(file)?)))
        .collect()
}

/// [CONF-07] Whose password was set before SCRAM-SHA-1 was named cannot log in by it, and would be told nothing but "wrong password".
fn tell_without_sha1(accounts: &Accounts) {
    if !matches!(accounts.keeps_sha1(), Ok(true)) {
        return;
    }
    if let Ok(count @ 1..) = accounts.without_sha1() {
        eprintln!(
            "gatepost: SCRAM-SHA-1 works for passwords set since login.mechanisms names it. Accounts with older ones: {count}; set those again with: gatepost account password ADDRESS"
        );
    }
}

/// Makes the accounts asked for. On a first start without any and without a configuration file, the default one with a random
/// password; whoever writes a configuration names the accounts, and a password does not belong into a service's journal.
fn ensure_accounts(
    server: &Server,
    wanted: &Wanted,
    by_default: bool,
) -> Result<Option<Shown>, Failure> {
    let Some(accounts) = server.accounts() else {
        if wanted.is_empty() {
            return Ok(None);
        }
        return Err(Failure::usage(
            "with --upstream the accounts are the upstream's, unless it is logged in to with tokens (oauth); leave out --account, or --upstream",
        ));
    };
    for (address, secret) in wanted {
        account::ensure(accounts, address, secret, server.quota())?;
    }
    tell_without_sha1(accounts);
    if let Some(known) = account::list(accounts)?.into_iter().next() {
        return Ok(Some(Shown {
            address: known.address.clone(),
            password: None,
        }));
    }
    if !by_default || server.is_gate() {
        eprintln!(
            "gatepost: there are no accounts yet: add one with: gatepost account add ADDRESS --data DIR"
        );
        return Ok(None);
    }
    let secret = account::random_password()?;
    account::ensure(accounts, DEFAULT_ACCOUNT, &secret, server.quota())?;
    Ok(Some(Shown {
        address: DEFAULT_ACCOUNT.to_owned(),
        password: Some(secret),
    }))
}

fn start_failure(error: StartError) -> Failure {
    if error.is_configuration() {
        Failure::usage(error)
    } else {
        Failure::local(error)
    }
}

#[cfg(test)]
mod tests {
    use super::{forget_readiness, host_name, settings};
    use crate::config::Values;
    use crate::directives;

    #[test]
    fn only_host_names_get_into_greetings() {
        assert_eq!(host_name("Mail.Example.org").unwrap(), "mail.example.org");
        for bad in [
            "",
            "a..b",
            "-a",
            "a-",
            "a b",
            "a\r\nb",
            "a_b",
            "ü.de",
            &"a".repeat(64),
        ] {
            assert!(host_name(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_ready_file_that_cannot_be_written_is_found_before_anything_is_made() {
        let folder = std::env::temp_dir().join(format!("gatepost-ready.{}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        let file = folder.join("ready.json");
        std::fs::write(&file, "{}").unwrap();
        assert!(forget_readiness(Some(&file)).is_ok());
        assert!(!file.exists());
        assert!(forget_readiness(Some(&folder.join("missing/ready.json"))).is_err());
        std::fs::remove_dir(&folder).unwrap();
    }

    // [CONF-07] [SASL-SCRAM-03]
    #[test]
    fn sha_1_is_for_who_names_it_and_plus_for_both_hash_functions_or_none() {
        use gatepost_wire::sasl::Mechanism;
        let with = |names: &[&str]| {
            let mut values = Values::defaults();
            let directive = directives::find("login.mechanisms").unwrap();
            let names: Vec<String> = names.iter().map(ToString::to_string).collect();
            values.set_flag(directive, &names).unwrap();
            settings(&values, None)
        };
        let by_default = settings(&Values::defaults(), None).unwrap();
        assert_eq!(by_default.mechanisms, Mechanism::FOR_ACCOUNTS);
        assert!(!by_default.keeps_sha1());
        let all = [
            "SCRAM-SHA-256-PLUS",
            "SCRAM-SHA-256",
            "scram-sha-1-plus",
            "scram-sha-1",
        ];
        for names in [&all[..], &["PLAIN", "SCRAM-SHA-1"], &all[2..]] {
            let settings = with(names).unwrap();
            assert_eq!(settings.mechanisms.len(), names.len());
            assert!(settings.keeps_sha1(), "{names:?}");
        }
        // What carries no password is offered where it can be judged, and not because it is named.
        for name in ["EXTERNAL", "OAUTHBEARER", "XOAUTH2", "CRAM-MD5"] {
            let directive = directives::find("login.mechanisms").unwrap();
            let set = Values::defaults().set_flag(directive, &[name.to_owned()]);
            assert!(set.is_err(), "{name}");
        }
        for names in [
            &["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "SCRAM-SHA-1"][..],
            &["SCRAM-SHA-1-PLUS", "SCRAM-SHA-1", "SCRAM-SHA-256"],
        ] {
            let refused = with(names).unwrap_err().to_string();
            assert!(refused.contains("login.mechanisms names"), "{refused}");
        }
    }

    // [SMTP-STARTTLS-12] [CONF-01]
    #[test]
    fn a_floor_never_makes_clear_text_the_better_choice() {
        use gatepost_serve::services::SERVICES;
        use gatepost_wire::seam::TlsVersion::{Tls12, Tls13};
        let with = |set: &[(&str, &str)]| {
            let mut values = Values::defaults();
            for (name, value) in set {
                let directive = directives::find(name).unwrap();
                values.set_flag(directive, &[(*value).to_owned()]).unwrap();
            }
            settings(&values, None)
        };
        let floors = |set: &[(&str, &str)]| {
            let settings = with(set).unwrap();
            SERVICES.map(|service| settings.least_tls(service))
        };
        assert_eq!(floors(&[]), [Tls12; 7]);
        let users = [Tls12, Tls13, Tls13, Tls13, Tls13, Tls13, Tls13];
        assert_eq!(floors(&[("tls.floor", "1.3")]), users);
        let one = [("tls.floor", "1.3"), ("tls.floor_services", "imaps")];
        assert_eq!(
            floors(&one),
            [Tls12, Tls12, Tls12, Tls12, Tls13, Tls12, Tls12]
        );
        let smtp = [("tls.floor", "1.3"), ("tls.floor_services", "smtp")];
        let error = with(&smtp).unwrap_err().to_string();
        assert!(error.contains("smtp.tls"), "{error}");
        let required = [smtp[0], smtp[1], ("smtp.tls", "require")];
        assert_eq!(floors(&required)[0], Tls13);
        let floor = directives::find("tls.floor").unwrap();
        let lower = Values::defaults().set_flag(floor, &["1.1".into()]);
        assert!(lower.is_err(), "TLS 1.1 is never spoken");
        assert!(with(&[("tls.floor_services", "smtps")]).is_err());
    }

    #[test]
    fn a_route_needs_upstreams_to_choose_among() {
        let mut values = Values::defaults();
        let route = directives::find("gate.route").unwrap();
        values.set_flag(route, &["hash".into()]).unwrap();
        let error = settings(&values, None).unwrap_err().to_string();
        assert!(error.contains("there are none"), "{error}");
        let upstreams = directives::find("gate.upstreams").unwrap();
        values
            .set_flag(upstreams, &["imap://127.0.0.1".into()])
            .unwrap();
        assert!(settings(&values, None).is_ok());
    }
}
