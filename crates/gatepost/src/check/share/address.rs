//! Where the database is, and whether the way to it must be encrypted.
//!
//! - A loopback address or a socket file is this machine: no TLS, unless `sslmode=require` is said.
//! - Anything else: TLS with a verified server, whatever `sslmode` says. Names of the machines' targets are no secret, but who can write into
//!   the database writes our results.
//! - A password in the URL is taken, and never told again.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use clap::ArgMatches;
use gatepost_trust::verify::Roots;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

use super::password;
use crate::client::settings::Settings;
use crate::client::terms;
use crate::exit::Failure;

/// A network that swallows everything is noticed after this.
const SILENCE: Duration = Duration::from_secs(30);

/// Where the database is and how to get in.
#[derive(Clone)]
pub(super) struct Address {
    pub(super) config: Config,
    pub(super) roots: Arc<Roots>,
    /// For messages: host, port and database; no user's password.
    pub(super) shown: String,
}

impl Address {
    pub(super) fn read(given: &ArgMatches, settings: &Settings) -> Result<Self, Failure> {
        let url = given.get_one::<String>("share").map_or("", String::as_str);
        let mut config = parse(url)?;
        protect(&mut config)?;
        if config.get_password().is_none()
            && let Some(secret) = password::find(&config)?
        {
            config.password(secret.expose());
        }
        let needs_roots = config.get_ssl_mode() == SslMode::Require;
        let roots = if needs_roots {
            terms::roots(settings)?
        } else {
            Roots::none()
        };
        if config.get_application_name().is_none() {
            config.application_name("gatepost check");
        }
        config
            .connect_timeout(settings.timeout.unwrap_or(SILENCE))
            .tcp_user_timeout(SILENCE)
            .keepalives_idle(SILENCE);
        Ok(Self {
            shown: shown(&config),
            config,
            roots: Arc::new(roots),
        })
    }
}

/// Reads the URL. Nothing of it is repeated in the message: it may hold a password, in a wrong place too.
fn parse(url: &str) -> Result<Config, Failure> {
    let wrong = || {
        Failure::usage(
            "--share wants a URL: postgres://USER@HOST[:PORT]/DATABASE, or postgres://USER@/DATABASE?host=/var/run/postgresql for a socket; \
             marks such as / ? # @ : in a name or password are written in percent (%2F)",
        )
    };
    if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
        return Err(wrong());
    }
    let (url, mode) = without_mode(url)?;
    let mut config: Config = url.parse().map_err(|_| wrong())?;
    if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
        return Err(wrong());
    }
    config.ssl_mode(mode);
    Ok(config)
}

/// Takes `sslmode` and its kin out of the URL: here is verified always, so all words that ask for TLS ask for the same.
fn without_mode(url: &str) -> Result<(String, SslMode), Failure> {
    let Some((base, query)) = url.split_once('?') else {
        return Ok((url.to_owned(), SslMode::Prefer));
    };
    let (mut mode, mut rest) = (SslMode::Prefer, Vec::new());
    for field in query.split('&') {
        match field.split_once('=') {
            Some(("sslmode", "require" | "verify-ca" | "verify-full")) => mode = SslMode::Require,
            Some(("sslmode", "disable")) => mode = SslMode::Disable,
            Some(("sslmode", "prefer" | "allow")) => mode = SslMode::Prefer,
            Some(("sslrootcert" | "sslcert" | "sslkey" | "sslcrl" | "sslnegotiation", _)) => {
                return Err(Failure::usage(
                    "--share: whom to trust is said by --ca and --no-system-ca; the URL takes of TLS sslmode alone",
                ));
            }
            _ => rest.push(field),
        }
    }
    let rest = rest.join("&");
    let url = if rest.is_empty() {
        base.to_owned()
    } else {
        format!("{base}?{rest}")
    };
    Ok((url, mode))
}

/// Decides about TLS.
fn protect(config: &mut Config) -> Result<(), Failure> {
    let mode = match (config.get_ssl_mode(), is_here(config)) {
        (SslMode::Require, _) | (SslMode::Prefer, false) => SslMode::Require,
        (_, true) => SslMode::Disable,
        (_, false) => {
            return Err(Failure::usage(
                "--share: sslmode=disable is for this machine alone: over a network whoever is on the path could read and write the results",
            ));
        }
    };
    config.ssl_mode(mode);
    Ok(())
}

/// Whether everything it may connect to is on this machine.
fn is_here(config: &Config) -> bool {
    let host = |host: &Host| match host {
        Host::Unix(_) => true,
        // RFC 6761 6.3: this name is never another machine.
        Host::Tcp(name) if name.eq_ignore_ascii_case("localhost") => true,
        Host::Tcp(name) => name.parse().is_ok_and(|it: IpAddr| it.is_loopback()),
    };
    let addresses = config.get_hostaddrs();
    if addresses.is_empty() {
        config.get_hosts().iter().all(host)
    } else {
        addresses.iter().all(IpAddr::is_loopback)
    }
}

fn shown(config: &Config) -> String {
    let hosts = config.get_hosts().iter().map(|it| match it {
        Host::Tcp(name) => name.clone(),
        Host::Unix(path) => path.display().to_string(),
    });
    let mut hosts: Vec<String> = hosts.collect();
    if hosts.is_empty() {
        hosts = config
            .get_hostaddrs()
            .iter()
            .map(ToString::to_string)
            .collect();
    }
    let port = config.get_ports().first().copied().unwrap_or(5432);
    let text = format!("the database at {} (port {port})", hosts.join(", "));
    gatepost_audit::shown::shown(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(url: &str) -> Option<SslMode> {
        let mut config = parse(url).ok()?;
        protect(&mut config).ok()?;
        Some(config.get_ssl_mode())
    }

    #[test]
    fn tls_is_needed_for_every_other_machine() {
        for (url, want) in [
            ("postgres://u@127.0.0.1/d", Some(SslMode::Disable)),
            ("postgres://u@localhost:5433/d", Some(SslMode::Disable)),
            ("postgresql://u@/d?host=/run/pg", Some(SslMode::Disable)),
            (
                "postgres://u@[::1]/d?sslmode=require",
                Some(SslMode::Require),
            ),
            ("postgres://u@db.example/d", Some(SslMode::Require)),
            (
                "postgres://u@192.0.2.1/d?sslmode=prefer",
                Some(SslMode::Require),
            ),
            (
                "postgres://u@db.example/d?sslmode=verify-full&connect_timeout=5",
                Some(SslMode::Require),
            ),
            ("postgres://u@db.example/d?sslmode=disable", None),
            // One of two is elsewhere.
            ("postgres://u@127.0.0.1,db.example/d?sslmode=disable", None),
            (
                "postgres://u@localhost/d?hostaddr=192.0.2.1",
                Some(SslMode::Require),
            ),
            ("postgres://u@db.example/d?sslrootcert=ca.pem", None),
            ("host=127.0.0.1", None),
            ("postgres://u@/d", None),
        ] {
            assert_eq!(mode(url), want, "{url}");
        }
    }

    #[test]
    fn a_password_is_never_repeated() {
        for url in [
            "postgres://u:hunter2@h/d?hunter2",
            "postgres://u:hun/ter2@h/d?x=hunter2",
            "mysql://u:hunter2@h/d",
            "postgres://u:hunter2@h/d?sslcert=hunter2",
            "postgres://u:hunter2@h:hunter2/d",
        ] {
            let failure = parse(url).err().map(|it| it.to_string());
            assert!(failure.is_some_and(|it| !it.contains("ter2")), "{url}");
        }
        let config = parse("postgres://u:hunter2@db.example:6000/d").unwrap();
        assert_eq!(shown(&config), "the database at db.example (port 6000)");
    }
}
