//! `gatepost canary compare`: do both ends see the same before TLS?
//!
//! The other end is a server of `gatepost serve --lab`, which tells inside TLS what it said and heard before. Only a verified server is believed: who
//! changes what is said in clear could answer this question too.

use clap::{Arg, ArgMatches, Command};
use gatepost_audit::canary::Trouble;
use gatepost_audit::canary::ends::{self, Line, Speaker as End};
use gatepost_wire::client::{Entry, Speaker};
use gatepost_wire::smtp::client::Client;
use serde_json::json;

use super::{as_json, line, verdict};
use crate::client::flags::{self, Topic};
use crate::client::kinds::{Event, Kind as _};
use crate::client::reach::{self, Open};
use crate::client::settings::{Settings, Tls};
use crate::client::trouble::Trouble as Failed;
use crate::client::url::{Protocol, Url};
use crate::exit::Failure;
use crate::lab::VIEW;

const SCHEMA: &str = "gatepost-canary-compare-1";

pub(super) fn command() -> Command {
    let command = Command::new("compare")
        .about("Ask the other end what it said and heard before TLS, and say what differs")
        .long_about(
            "Ask the other end what it said and heard before TLS, and say what differs.\n\n\
             The other end is `gatepost serve --lab` on a machine on the other side of the way. What was changed in between is told, \
             even where TLS comes up all the same.",
        )
        .after_help(
            "Examples:\n  gatepost serve --lab --lab-port 25 --bind 0.0.0.0 --lab-domain example.org      on the other side\n  \
             gatepost canary compare smtp://right.example.org --ca gatepost-lab/ca.pem\n\n\
             Exit codes: 0 both ends see the same, 1 they do not, or the server is not verified, 2 wrong usage, 3 could not tell.",
        )
        .arg(Arg::new("url").value_name("URL").required(true).help("The other end, such as smtp://right.example.org"));
    let topics = [Topic::Trust, Topic::Network, Topic::Output];
    flags::add(command, &topics)
}

pub(super) fn run(given: &ArgMatches) -> Result<(), Failure> {
    let mut settings = Settings::read(given)?;
    settings.tls = Some(Tls::StartTls);
    let text = given.get_one::<String>("url").map_or("", String::as_str);
    let url = Url::parse(text).map_err(Failure::usage)?;
    if !matches!(url.protocol, Protocol::Smtp | Protocol::Submission) || url.implicit {
        return Err(Failure::usage(
            "the two ends are compared by SMTP with STARTTLS; write a URL such as smtp://right.example.org",
        ));
    }
    let troubles = reach::block_on(ask(&settings, &url))?;
    let place = url.host.to_string();
    if settings.json {
        let findings: Vec<_> = troubles.iter().map(|it| as_json(it, &place)).collect();
        println!(
            "{}",
            json!({ "schema": SCHEMA, "server": place, "findings": findings })
        );
    } else if troubles.is_empty() {
        println!("{place}: both ends see the same before TLS");
    } else {
        for it in &troubles {
            println!("{}", line(it, &place));
        }
    }
    verdict(troubles.len())
}

async fn ask(settings: &Settings, url: &Url) -> Result<Vec<Trouble>, Failure> {
    let mut open = match reach::open_to_show::<Client>(settings, url, "[127.0.0.1]").await? {
        Ok(open) => open,
        Err(refusal) => {
            let troubles = stripped(&refusal.dialogue);
            if troubles.is_empty() {
                return Err(refusal.into_failure(settings, SCHEMA));
            }
            return Ok(troubles);
        }
    };
    let before = clear_view(&open.recorder.take());
    if let Err(trouble) = open.judge(settings) {
        let place = open.place.clone();
        open.quit().await;
        return Err(trouble.into_failure(&place));
    }
    let view = other_view(&mut open)
        .await
        .map_err(|trouble| trouble.into_failure(&open.place))?;
    if view.is_empty() {
        return Err(Failure::local(format!(
            "{} does not tell what it said before TLS: it is no server of gatepost serve --lab",
            open.place
        )));
    }
    Ok(ends::compare(&before, &view))
}

/// The other end offers TLS always: that it did not come is a finding already.
fn stripped(dialogue: &[Entry]) -> Vec<Trouble> {
    let view = clear_view(dialogue);
    let replies = || {
        view.iter()
            .filter(|it| it.speaker == End::Server && it.text.starts_with("250"))
    };
    let offers = replies().any(|it| it.text.to_ascii_uppercase().ends_with("STARTTLS"));
    if replies().next().is_none() || offers {
        return Vec::new();
    }
    vec![Trouble::new(
        "W307",
        "the other end offers STARTTLS, and the offer did not come".to_owned(),
    )]
}

fn clear_view(entries: &[Entry]) -> Vec<Line> {
    let clear = entries.iter().filter(|it| !it.encrypted);
    clear
        .filter_map(|it| {
            let speaker = match it.speaker {
                Speaker::Client => End::Client,
                Speaker::Server => End::Server,
                Speaker::Tls => return None,
            };
            let text = it.text.text().to_owned();
            Some(Line { speaker, text })
        })
        .collect()
}

/// What the other end tells.
async fn other_view(open: &mut Open<Client>) -> Result<Vec<Line>, Failed> {
    let mut has_asked = false;
    loop {
        let asked = open.session.next().await;
        let Some(ask) = asked.map_err(|failure| Failed::of(&failure))? else {
            break;
        };
        let answer = match Client::event(&ask) {
            Event::Ready if !has_asked => {
                has_asked = true;
                Client::command(VIEW.as_bytes())
            }
            Event::Other => Client::wait(),
            _ => Client::quit(),
        };
        open.session.answer(answer);
    }
    let entries = open.recorder.take();
    let said = entries.iter().filter(|it| it.speaker == Speaker::Server);
    Ok(said.filter_map(|it| told(it.text.text())).collect())
}

/// `250-S 220 mx ESMTP`: a line of the view.
fn told(reply: &str) -> Option<Line> {
    let rest = reply.strip_prefix("250-")?;
    let (mark, text) = rest.split_at_checked(2)?;
    let speaker = match mark {
        "C " => End::Client,
        "S " => End::Server,
        _ => return None,
    };
    Some(Line {
        speaker,
        text: text.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_view() {
        assert_eq!(
            told("250-S 220 mx").map(|it| (it.speaker, it.text)),
            Some((End::Server, "220 mx".to_owned()))
        );
        assert_eq!(told("250-C EHLO c").map(|it| it.speaker), Some(End::Client));
        for other in ["250-SIZE 1", "250 end", "250-é", "502 no"] {
            assert_eq!(told(other), None, "{other}");
        }
    }
}
