//! One Postfix, behind a delay.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Command, Stdio};
use std::time::Instant;

use gatepost_testkit::delay::Delay;
use serde_json::Value;

use super::ONE_WAY;
use crate::Bench;
use crate::fault::Fault;
use crate::peer::postfix;
use crate::report::Report;
use crate::sample::Sample;

pub(super) const FOLDER: &str = "check-postfix";

/// Connections and seconds of two tiers.
pub(super) fn measure(bench: &Bench<'_>, report: &mut Report) -> Result<(), Fault> {
    let postfix = postfix::start(bench, FOLDER, &[])?;
    for (tier, most, limit) in [("default", 12.0, 1.0), ("deep", 130.0, 6.0)] {
        let mut times = Vec::new();
        let mut connections = Vec::new();
        for _ in 0..bench.plan.runs {
            let server = SocketAddr::from((Ipv4Addr::LOCALHOST, postfix.smtp));
            let delay = Delay::start(server, ONE_WAY);
            let url = format!("smtp://{}", delay.address);
            let mut command = Command::new(&bench.plan.binary);
            command.args(["check", &url, "--role", "mx", "--tier", tier, "--json"]);
            let begun = Instant::now();
            let ran = command.stdin(Stdio::null()).output();
            let ran = ran.map_err(Fault::at("running check"))?;
            times.push(begun.elapsed().as_secs_f64());
            connections.push(made(&ran.stdout)?);
        }
        let times = Sample::new(times).ok_or(Fault::Late("check"))?;
        let connections = Sample::new(connections).ok_or(Fault::Late("check"))?;
        let what = format!("one Postfix at 50 ms, tier {tier}");
        let figure = report.figure("gatepost check", &what, "s", &times);
        report.ratio_to_limit(&figure, limit);
        let figure = report.figure("gatepost check", &what, "connections", &connections);
        report.ratio_to_limit(&figure, most);
    }
    Ok(())
}

/// The connections a document tells of.
fn made(document: &[u8]) -> Result<f64, Fault> {
    let document: Value = serde_json::from_slice(document)?;
    document["targets"][0]["connections"]
        .as_f64()
        .ok_or(Fault::Late("check"))
}
