//! Looking at servers from outside: how many connections and how long one Postfix takes behind 50 ms of round trip; how many servers, and
//! how many domains, a second a list goes through, with the memory it holds.
//!
//! The delay proxy makes its connection at once: a round trip is to be counted for each connection beside what is measured. Servers,
//! resolver and proxy share the machine with the program that is measured.

mod domains;
mod list;
mod one;

use std::time::Duration;

use crate::Bench;
use crate::fault::Fault;
use crate::report::Report;

/// Half a round trip.
const ONE_WAY: Duration = Duration::from_millis(25);
/// Lines of a short and a long list.
const FEW: u32 = 2_000;

/// Measures all of it.
pub(crate) fn measure(bench: &Bench<'_>, report: &mut Report) {
    report.section("check", "servers, looked at from outside");
    let parts: [(&str, &str, Part); 3] = [
        ("check of one server", one::FOLDER, one::measure),
        ("check of a list of servers", list::FOLDER, list::measure),
        (
            "check of a list of domains",
            domains::FOLDER,
            domains::measure,
        ),
    ];
    for (what, folder, part) in parts {
        if let Err(fault) = part(bench, report) {
            report.skip(what, &fault.to_string());
        }
        bench.discard(folder);
    }
}

/// One measurement.
type Part = fn(&Bench<'_>, &mut Report) -> Result<(), Fault>;
