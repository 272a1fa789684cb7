//! The verbs that speak to servers: `send`, `fetch`, `connect`, and the small tools `pin`, `tlsa`, `cert`.
//!
//! What was said becomes what it means in three steps, none of which touches the network: `url.rs` reads where to go, `flags.rs` holds
//! every flag once, `settings.rs` refuses contradictions.

mod cert;
mod connect;
pub(crate) mod date;
mod discover;
pub(crate) mod fetch;
pub(crate) mod flags;
mod home;
pub(crate) mod kinds;
pub(crate) mod login;
pub(crate) mod lookup;
pub(crate) mod network;
mod pin;
pub(crate) mod progress;
pub(crate) mod reach;
mod reached;
mod secret;
pub(crate) mod send;
pub(crate) mod settings;
pub(crate) mod terms;
pub(crate) mod text;
mod tlsa;
pub(crate) mod trouble;
pub(crate) mod url;

use clap::{ArgMatches, Command};

use crate::exit::Failure;
use url::Url;

/// A server as `pin` and `tlsa` take it: a URL, or a host with one of the well-known ports; without a port, `usual` is spoken.
pub(crate) fn place(text: &str, usual: &str) -> Result<Url, Failure> {
    if text.contains("://") {
        return Url::parse(text).map_err(Failure::usage);
    }
    let port = match text.rsplit_once(':') {
        // An IPv6 address, in brackets or not, has no port behind its last colon.
        Some((host, port))
            if !port.ends_with(']') && (!host.contains(':') || host.ends_with(']')) =>
        {
            port
        }
        _ => "",
    };
    let scheme = match port {
        "" => usual,
        "24" => "lmtp",
        "25" => "smtp",
        "587" => "submission",
        "465" => "submissions",
        "143" => "imap",
        "993" => "imaps",
        "110" => "pop3",
        "995" => "pop3s",
        "4190" => "sieve",
        _ => {
            return Err(Failure::usage(format!(
                "what is spoken at {text:?} is not known; write a URL such as imaps://{text}"
            )));
        }
    };
    Url::parse(&format!("{scheme}://{text}")).map_err(Failure::usage)
}

/// The verbs.
pub(crate) fn commands() -> [Command; 6] {
    [
        send::command(),
        fetch::command(),
        connect::command(),
        pin::command(),
        tlsa::command(),
        cert::command(),
    ]
}

/// Whether a verb is one of these.
pub(crate) fn has(verb: &str) -> bool {
    matches!(verb, "send" | "fetch" | "connect" | "pin" | "tlsa" | "cert")
}

/// Runs one of them.
pub(crate) fn run(verb: &str, given: &ArgMatches) -> Result<(), Failure> {
    match verb {
        "send" => send::run(given),
        "fetch" => fetch::run(given),
        "connect" => connect::run(given),
        "pin" => pin::run(given),
        "tlsa" => tlsa::run(given),
        _ => cert::run(given),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_host_is_asked_for_what_is_usual() {
        let read = |text| {
            place(text, "imaps")
                .map(|url| (url.protocol, url.port))
                .ok()
        };
        assert_eq!(read("mail.example"), Some((url::Protocol::Imap, None)));
        assert_eq!(read("[::1]"), Some((url::Protocol::Imap, None)));
        assert_eq!(
            read("mail.example:25"),
            Some((url::Protocol::Smtp, Some(25)))
        );
        assert_eq!(read("[::1]:995"), Some((url::Protocol::Pop3, Some(995))));
        assert_eq!(read("mail.example:4711"), None);
        assert_eq!(
            read("pop3://mail.example:4711"),
            Some((url::Protocol::Pop3, Some(4711)))
        );
    }
}
