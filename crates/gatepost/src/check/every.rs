//! Looking again and again, and telling only what is news.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clap::{Arg, ArgMatches, value_parser};
use gatepost_audit::check::diff;
use gatepost_audit::check::life::Life;
use gatepost_audit::check::news::{Memory, News};
use gatepost_audit::report::prometheus;
use gatepost_audit::shown::{moment, shown};
use serde_json::json;

use super::stop::Stop;
use super::{Order, Sight, end, means, now, output, see};
use crate::client::reach::block_on;
use crate::client::settings::Settings;
use crate::exit::Failure;
use crate::whole;

const HEADING: &str = "Again and again";
/// No more often than this: who is looked at is not to feel it.
const SHORTEST: Duration = Duration::from_secs(60);

pub(super) fn flags() -> Vec<Arg> {
    vec![
        Arg::new("every")
            .long("every")
            .value_name("TIME")
            .value_parser(interval)
            .help_heading(HEADING)
            .requires("state")
            .conflicts_with("list")
            .help("Look again after this time (such as 30m, 6h, 1d; at least 1m) and print only what changed, until Ctrl-C"),
        Arg::new("rounds")
            .long("rounds")
            .value_name("N")
            .value_parser(value_parser!(u64).range(1..))
            .help_heading(HEADING)
            .requires("every")
            .help("End after so many looks, as for a timer; the state goes on"),
        Arg::new("metrics")
            .long("metrics")
            .value_name("ADDR:PORT")
            .value_parser(loopback)
            .help_heading(HEADING)
            .requires("every")
            .help("Serve OpenMetrics at http://ADDR:PORT/metrics; loopback only"),
        output::file("state", "Where what is known is kept: of --every the last answers, of --list how far it is").help_heading(HEADING),
    ]
}

/// A number and a unit.
fn interval(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text} is no time such as 30m, 6h or 1d");
    let (number, unit) = text.split_at(text.len() - text.chars().last().map_or(0, char::len_utf8));
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err(wrong()),
    };
    let time = Duration::from_secs(number.checked_mul(seconds).ok_or_else(wrong)?);
    if time < SHORTEST {
        return Err("less than a minute would be a burden to who is looked at".to_owned());
    }
    Ok(time)
}

/// In clear and without a password: not for others.
fn loopback(text: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr = text
        .parse()
        .map_err(|_| format!("{text} is no address and port"))?;
    if address.ip().is_loopback() {
        Ok(address)
    } else {
        Err(format!("{} is not loopback", address.ip()))
    }
}

pub(super) fn run(given: &ArgMatches, settings: &Settings, order: &Order) -> Result<(), Failure> {
    let every = given
        .get_one::<Duration>("every")
        .copied()
        .unwrap_or(SHORTEST);
    let path = given
        .get_one::<PathBuf>("state")
        .cloned()
        .unwrap_or_default();
    let mut memory = recall(&path)?;
    block_on(async {
        let page = Arc::new(Mutex::new(String::from("# EOF\n")));
        serve(given, &page).await?;
        let mut stop = Stop::listen()?;
        let mut rounds = given.get_one::<u64>("rounds").copied();
        loop {
            let looked = look(given, settings, order, &mut memory);
            let (text, last) = tokio::select! {
                looked = looked => looked?,
                () = stop.asked() => return Ok(()),
            };
            *page.lock().unwrap_or_else(PoisonError::into_inner) = text;
            whole::replace(
                &path,
                serde_json::to_string(&memory)
                    .unwrap_or_default()
                    .as_bytes(),
            )?;
            rounds = rounds.map(|it| it.saturating_sub(1));
            if rounds == Some(0) {
                return last;
            }
            tokio::select! {
                () = tokio::time::sleep(every) => {}
                () = stop.asked() => return Ok(()),
            }
        }
    })
}

fn recall(path: &Path) -> Result<Memory, Failure> {
    if !path.exists() {
        return Ok(Memory::default());
    }
    let text = super::apart::read(path)?;
    Memory::read(&text)
        .ok_or_else(|| Failure::usage(format!("{} is no state of --every", path.display())))
}

/// Serves the page of the last look, if that was asked for.
async fn serve(given: &ArgMatches, page: &Arc<Mutex<String>>) -> Result<(), Failure> {
    let Some(address) = given.get_one::<SocketAddr>("metrics") else {
        return Ok(());
    };
    let cannot = |error| Failure::local(format!("cannot listen on {address}: {error}"));
    let listener = tokio::net::TcpListener::bind(address)
        .await
        .map_err(cannot)?;
    let page = Arc::clone(page);
    tokio::spawn(gatepost_serve::metrics::serve_page(listener, move || {
        page.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }));
    Ok(())
}

/// One look; tells the news, and gives the new page and how a single look would end.
async fn look(
    given: &ArgMatches,
    settings: &Settings,
    order: &Order,
    memory: &mut Memory,
) -> Result<(String, Result<(), Failure>), Failure> {
    let means = Arc::new(means(given, settings, order)?);
    let seen = match see(given, settings, order, &means).await {
        Ok(seen) => seen,
        // A name that is not found tonight is no reason to stop looking.
        Err(failure) => {
            eprintln!("gatepost: {failure}");
            let last = Err(Failure::silent(failure.code()));
            return Ok((String::from("# EOF\n"), last));
        }
    };
    let Sight { report, facts, .. } = &seen;
    let lives: Vec<Life> = facts.iter().filter_map(Life::of).collect();
    let news = memory
        .learn(report.as_json(order.fail_on), &lives, now())
        .map_err(Failure::local)?;
    tell(&news, settings.json, report.at);
    let page = prometheus::metrics(report, &lives);
    Ok((page, end(given, report, order.fail_on)))
}

fn tell(news: &News, as_json: bool, at: u64) {
    if as_json {
        let mut object = diff::as_json(&news.changes);
        let alarms: Vec<_> = news
            .alarms
            .iter()
            .map(|it| json!({ "subject": it.subject, "text": it.text, "over": it.is_over }))
            .collect();
        if let Some(fields) = object.as_object_mut() {
            fields.insert("at".to_owned(), json!(at));
            fields.insert("alarms".to_owned(), json!(alarms));
        }
        if !news.changes.is_empty() || !news.alarms.is_empty() {
            println!("{object}");
        }
        return;
    }
    if news.changes.is_empty() && news.alarms.is_empty() {
        return;
    }
    println!("{}", moment(at));
    if !news.changes.is_empty() {
        print!("{}", diff::text(&news.changes));
    }
    for it in &news.alarms {
        println!("expiry   {}: {}", shown(&it.subject), it.text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_a_unit_and_is_no_burden() {
        assert_eq!(interval("90m"), Ok(Duration::from_secs(5400)));
        assert_eq!(interval("1d"), Ok(Duration::from_secs(86_400)));
        for wrong in [
            "",
            "1",
            "h",
            "30s",
            "0h",
            "1w",
            "9999999999999999999d",
            "1µ",
        ] {
            assert!(interval(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn metrics_stay_on_this_machine() {
        assert!(loopback("127.0.0.1:9464").is_ok() && loopback("[::1]:9464").is_ok());
        assert!(
            loopback("0.0.0.0:9464").is_err()
                && loopback("192.0.2.1:1").is_err()
                && loopback("x").is_err()
        );
    }
}
