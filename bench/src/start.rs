//! From exec to ready: the time until the ready file appears, which gatepost writes when every listener accepts.
//! The first start, which makes certificates and the store, is shown apart; every later one counts.

use std::time::Duration;

use crate::Bench;
use crate::fault::Fault;
use crate::peer::gatepost::Seed;
use crate::report::Report;
use crate::sample::Sample;

/// Starts that count.
const STARTS: u32 = 10;
/// The limit: ready within this after the first start, in milliseconds.
const LIMIT: f64 = 100.0;

/// Measures gatepost.
pub(crate) fn measure(bench: &Bench<'_>, report: &mut Report) {
    report.section("start", "exec to ready file, pinned to one core");
    let times = match &bench.seed {
        Ok(seed) => starts(bench, seed).map(|times| (millis(seed.first_start), times)),
        Err(_) => Err(Fault::Missing("gatepost".to_owned())),
    };
    match times {
        Err(fault) => report.skip("gatepost", &fault.to_string()),
        Ok((first, later)) => {
            if let Some(first) = Sample::new(vec![first]) {
                report.figure("gatepost", "first start", "ms", &first);
            }
            if let Some(later) = Sample::new(later) {
                let later = report.figure("gatepost", "later start", "ms", &later);
                report.ratio_to_limit(&later, LIMIT);
            }
        }
    }
}

fn starts(bench: &Bench<'_>, seed: &Seed) -> Result<Vec<f64>, Fault> {
    (0..STARTS)
        .map(|_| {
            seed.start_in(&bench.machine, &seed.data)
                .map(|gatepost| millis(gatepost.start))
        })
        .collect()
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
