//! One cold send of the program, from exec to exit, over a path of 50 ms: how many round trips that took.
//!
//! The connection itself is made at once by the delayed path, so one round trip is added for it.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::time::Duration;

use gatepost_testkit::delay::Delay;

use super::spend;
use crate::Bench;
use crate::fault::Fault;
use crate::peer::gatepost::{self, account};
use crate::peer::write;
use crate::report::Report;
use crate::sample::Sample;

/// A round trip of the path.
const ROUND_TRIP: Duration = Duration::from_millis(50);

/// Measures STARTTLS and implicit TLS.
pub(super) fn measure(bench: &Bench<'_>, report: &mut Report) {
    report.section(
        "client: cold",
        "gatepost send, exec to exit, over a path of 50 ms; round trips with that of TCP",
    );
    if let Err(fault) = both(bench, report) {
        report.skip("gatepost", &fault.to_string());
    }
}

fn both(bench: &Bench<'_>, report: &mut Report) -> Result<(), Fault> {
    let gatepost = gatepost::start(bench, "cold")?;
    let user = account(0);
    let message = bench.work.join("cold.eml");
    write(
        &message,
        &format!("From: <{user}>\r\nTo: <{user}>\r\nSubject: cold\r\n\r\nwords\r\n"),
    )?;
    let ways = [
        (
            "smtp",
            "starttls",
            gatepost.ports.smtp,
            "8.5: TCP, greeting 0.5, EHLO, STARTTLS, hello, EHLO, envelope, content, QUIT",
        ),
        (
            "submissions",
            "implicit",
            gatepost.ports.submissions,
            "10: TCP, hello, greeting, EHLO, SCRAM 3, envelope, content, QUIT",
        ),
    ];
    for (scheme, tls, port, ideal) in ways {
        let delay = Delay::start(
            SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            ROUND_TRIP / 2,
        );
        let mut trips = Vec::new();
        for _ in 0..bench.plan.runs {
            let mut command = command(bench, &message)?;
            command
                .args(["--tls", tls, "--server"])
                .arg(format!("{scheme}://127.0.0.1:{}", delay.address.port()));
            if tls == "implicit" {
                let password = bench.work.join("cold.password");
                write(&password, gatepost::PASSWORD)?;
                command
                    .args(["--user", &user, "--password-file"])
                    .arg(password);
            }
            let spent = spend("gatepost send", &mut command, &bench.work.join("cold.log"))?;
            trips.push(1.0 + spent.elapsed.as_secs_f64() / ROUND_TRIP.as_secs_f64());
        }
        let sample = Sample::new(trips).ok_or(Fault::Late("the client"))?;
        report.figure("gatepost", &format!("{scheme}, round trips"), "", &sample);
        report.note(&format!("ideal for {scheme}: {ideal}"));
    }
    Ok(())
}

fn command(bench: &Bench<'_>, message: &std::path::Path) -> Result<Command, Fault> {
    let seed = bench.seed.as_ref();
    let seed = seed.map_err(|_| Fault::Missing("gatepost".to_owned()))?;
    let user = account(0);
    let mut command = Command::new(seed.binary());
    command
        .args(["send", "--no-system-ca", "--ca"])
        .arg(bench.identity.certificate_file.with_file_name("ca.pem"))
        .args(["--from", &user, "--to", &user])
        .arg(message);
    Ok(command)
}
