//! `gatepost oauth`: consents by which a gate logs in to upstreams that take no passwords.

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use clap::builder::PathBufValueParser;
use clap::{Arg, ArgMatches, Command};
use gatepost_serve::upstream::oauth::consent::{Application, Consent, Tokens};
use gatepost_serve::upstream::oauth::exchange::{Begun, Polled, TokenError, TokenServers};
use gatepost_serve::upstream::oauth::provider::{self, PROVIDERS};
use gatepost_serve::upstream::oauth::vault::{Vault, VaultError};
use gatepost_trust::verify::Roots;
use gatepost_wire::secret::Secret;
use serde_json::json;

use crate::exit::Failure;
use crate::password;

const EXAMPLES: &str = "Examples:
  gatepost oauth providers
  gatepost account add anna@example.org
  gatepost oauth login anna@example.org --provider microsoft365 --client-id 1b2c… --data /var/lib/gatepost
  gatepost oauth import anna@example.org --provider gmail --client-id ID --client-secret-file S --refresh-token-file T
  gatepost oauth list
  gatepost serve --upstream 'imaps://outlook.office365.com?oauth'

The account is one of the gate's own, with a password of its own. Consents are kept in the data folder, sealed with the key beside
them, and renewed by the gate.";

/// The verb on the command line.
pub(crate) fn command() -> Command {
    Command::new("oauth")
        .about(
            "Let accounts of a gate log in to upstreams that take OAuth 2.0 tokens, not passwords",
        )
        .after_help(EXAMPLES)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .arg(
            path("data", "DIR", "The server's data folder")
                .default_value("gatepost-data")
                .global(true),
        )
        .subcommand(Command::new("providers").about("List the providers known"))
        .subcommand(of_account(
            "login",
            "Ask the user for consent: they open an address and type a code in",
        ))
        .subcommand(
            of_account(
                "import",
                "Take a consent that was given elsewhere, as its refresh token",
            )
            .arg(
                path(
                    "refresh-token-file",
                    "FILE",
                    "The file whose first line is the refresh token",
                )
                .required(true),
            ),
        )
        .subcommand(
            Command::new("list").about("List the consents").arg(
                Arg::new("json")
                    .long("json")
                    .action(clap::ArgAction::SetTrue)
                    .help("As JSON"),
            ),
        )
        .subcommand(
            Command::new("remove")
                .about("Forget a consent")
                .arg(address()),
        )
}

fn of_account(name: &'static str, about: &'static str) -> Command {
    let text = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help)
    };
    Command::new(name)
        .about(about)
        .arg(address())
        .arg(text(
            "provider",
            "NAME",
            "One of gatepost oauth providers; or give the addresses",
        ))
        .arg(
            text(
                "client-id",
                "ID",
                "The application registered with the provider",
            )
            .required(true),
        )
        .arg(path(
            "client-secret-file",
            "FILE",
            "The file whose first line is the application's secret, if it has one",
        ))
        .arg(text(
            "user",
            "NAME",
            "The name to log in there with, if it is not the account's",
        ))
        .arg(text(
            "device-url",
            "URL",
            "Where consent begins, instead of the provider's",
        ))
        .arg(text(
            "token-url",
            "URL",
            "Where tokens are given, instead of the provider's",
        ))
        .arg(text(
            "scope",
            "WORDS",
            "What is asked for, instead of the provider's",
        ))
}

fn address() -> Arg {
    Arg::new("account")
        .value_name("ACCOUNT")
        .required(true)
        .help("The gate's account")
}

fn path(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .value_name(value)
        .value_parser(PathBufValueParser::new())
        .help(help)
}

pub(crate) fn run(given: &ArgMatches) -> Result<(), Failure> {
    let (verb, own) = given
        .subcommand()
        .ok_or_else(|| Failure::usage("no such verb; see gatepost oauth --help"))?;
    match verb {
        "providers" => {
            providers();
            Ok(())
        }
        "login" => login(own),
        "import" => import(own),
        "list" => list(own),
        _ => remove(own),
    }
}

fn providers() {
    for provider in PROVIDERS {
        println!("{}\n  {}", provider.name, provider.note);
        for upstream in provider.upstreams {
            println!("  --upstream '{upstream}'");
        }
    }
}

/// What was said about a consent to come.
struct Wanted {
    consent: Consent,
    device_url: String,
    scope: String,
}

impl Wanted {
    fn of(given: &ArgMatches) -> Result<Self, Failure> {
        let text = |name: &str| given.get_one::<String>(name).cloned();
        let word = text("provider");
        let preset = word.as_deref().map(|name| {
            provider::find(name).ok_or_else(|| {
                let all: Vec<&str> = PROVIDERS.iter().map(|it| it.name).collect();
                Failure::usage(format!(
                    "there is no provider {name:?}; there are {}; for others give --device-url, --token-url and --scope",
                    all.join(", ")
                ))
            })
        });
        let preset = preset.transpose()?;
        let need = |name: &str, of_preset: Option<&str>| {
            text(name)
                .or_else(|| of_preset.map(str::to_owned))
                .ok_or_else(|| Failure::usage(format!("give --provider NAME, or --{name}")))
        };
        let account = text("account").unwrap_or_default().to_lowercase();
        let secret = given.get_one::<PathBuf>("client-secret-file");
        let secret = secret.map(|file| password::from_file(file)).transpose()?;
        Ok(Self {
            device_url: need("device-url", preset.map(|it| it.device))?,
            scope: need("scope", preset.map(|it| it.scope))?,
            consent: Consent {
                user: text("user").unwrap_or_else(|| account.clone()),
                account,
                provider: word.unwrap_or_else(|| "-".to_owned()),
                token_url: need("token-url", preset.map(|it| it.token))?,
                application: Application {
                    id: text("client-id").unwrap_or_default(),
                    secret,
                },
                refresh: Secret::new(String::new()),
                access: None,
            },
        })
    }
}

fn login(given: &ArgMatches) -> Result<(), Failure> {
    // Found out first: a consent that cannot be kept is not asked for.
    let vault = vault(given)?;
    let wanted = Wanted::of(given)?;
    let tokens = block_on(ask_user(&wanted))??;
    let mut consent = wanted.consent;
    if tokens.refresh.is_none() {
        return Err(Failure::finding(
            "the token server gave nothing to renew with: ask for it by --scope (often offline_access)",
        ));
    }
    consent.take(tokens, SystemTime::now());
    vault.write(&consent).map_err(failure)?;
    println!(
        "{} is logged in to {} as {} from now on.",
        consent.account, consent.provider, consent.user
    );
    Ok(())
}

async fn ask_user(wanted: &Wanted) -> Result<Tokens, Failure> {
    let servers = servers()?;
    let application = &wanted.consent.application;
    let begun = servers
        .begin(&wanted.device_url, application, &wanted.scope)
        .await;
    let begun = begun.map_err(token_failure)?;
    println!("Open {}\nand type in: {}", begun.address, begun.user_code);
    // Whoever waits for these lines in a pipe must see them now.
    let _ = std::io::stdout().flush();
    wait_for_user(&servers, wanted, &begun).await
}

async fn wait_for_user(
    servers: &TokenServers,
    wanted: &Wanted,
    begun: &Begun,
) -> Result<Tokens, Failure> {
    let until = Instant::now() + begun.lasts;
    let mut interval = begun.interval;
    while Instant::now() < until {
        tokio::time::sleep(interval).await;
        let polled = servers.poll(
            &wanted.consent.token_url,
            &wanted.consent.application,
            begun,
        );
        match polled.await {
            Ok(Polled::Tokens(tokens)) => return Ok(tokens),
            Ok(Polled::Pending) => {}
            Ok(Polled::Slower(more)) => interval += more,
            // RFC 8628 3.5: a connection that was lost is no answer; ask more slowly.
            Err(TokenError::Http(_)) => interval = (interval * 2).min(Duration::from_secs(60)),
            Err(error) => return Err(token_failure(error)),
        }
    }
    Err(Failure::finding(
        "nobody has consented in time; begin again",
    ))
}

fn import(given: &ArgMatches) -> Result<(), Failure> {
    let vault = vault(given)?;
    let mut consent = Wanted::of(given)?.consent;
    let file = given.get_one::<PathBuf>("refresh-token-file").cloned();
    consent.refresh = password::from_file(&file.unwrap_or_default())?;
    let renewed = block_on(async {
        let renewed = servers()?.renew(&consent).await;
        renewed.map_err(token_failure)
    })??;
    // Kept only when it works.
    consent.take(renewed, SystemTime::now());
    vault.write(&consent).map_err(failure)?;
    println!(
        "{} is logged in to {} as {} from now on.",
        consent.account, consent.provider, consent.user
    );
    Ok(())
}

fn list(given: &ArgMatches) -> Result<(), Failure> {
    let consents = vault(given)?.list().map_err(failure)?;
    if given.get_flag("json") {
        let rows: Vec<_> = consents
            .iter()
            .map(|it| json!({ "account": it.account, "provider": it.provider, "user": it.user, "token_url": it.token_url }))
            .collect();
        println!(
            "{}",
            json!({ "schema": "gatepost-oauth-1", "consents": rows })
        );
        return Ok(());
    }
    println!("{:<40} {:<16} user there", "account", "provider");
    for it in consents {
        println!("{:<40} {:<16} {}", it.account, it.provider, it.user);
    }
    Ok(())
}

fn remove(given: &ArgMatches) -> Result<(), Failure> {
    let account = given
        .get_one::<String>("account")
        .cloned()
        .unwrap_or_default()
        .to_lowercase();
    if !vault(given)?.remove(&account).map_err(failure)? {
        return Err(Failure::usage(format!(
            "there is no consent of {account}; gatepost oauth list shows all"
        )));
    }
    println!("The consent of {account} is forgotten here; withdraw it at the provider, too.");
    Ok(())
}

fn vault(given: &ArgMatches) -> Result<Vault, Failure> {
    let data = given
        .get_one::<PathBuf>("data")
        .cloned()
        .unwrap_or_default();
    if !data.is_dir() {
        return Err(Failure::usage(format!(
            "there is no data folder {}; start gatepost serve first, or give --data",
            data.display()
        )));
    }
    Vault::open(&data).map_err(failure)
}

fn servers() -> Result<TokenServers, Failure> {
    let roots = Roots::system().map_err(Failure::local)?;
    Ok(TokenServers::new(Arc::new(roots)))
}

fn block_on<T>(work: impl Future<Output = T>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::local(format!("cannot start the runtime: {error}")))?;
    Ok(runtime.block_on(work))
}

fn failure(error: VaultError) -> Failure {
    match error {
        VaultError::Open(..) => Failure::usage(error),
        other => Failure::local(other),
    }
}

fn token_failure(error: TokenError) -> Failure {
    match error {
        TokenError::Url => Failure::usage(error),
        TokenError::Refused(_) => Failure::finding(error),
        other => Failure::local(other),
    }
}
