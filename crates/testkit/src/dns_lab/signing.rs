//! Writes the files of zones, signs them, children first, and breaks what is to be broken.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::NoLab;
use super::zones::{Denial, Ds, Fault, Signing, Zone};

/// Signatures last from yesterday to the far future, so no test depends on the day.
const TIMES: (&str, &str) = ("20200101000000", "20370101000000");
const EXPIRED: (&str, &str) = ("20200101000000", "20210101000000");
const FUTURE: (&str, &str) = ("20360101000000", "20370101000000");

/// Writes all zones into `folder` and returns the DS record of the root.
pub(super) fn sign_all(folder: &Path, zones: &[Zone]) -> Result<String, NoLab> {
    let mut delegations: Vec<(&Zone, String)> = Vec::new();
    let mut anchor = String::new();
    // Children stand behind their parents, whose files need the children's DS.
    for zone in zones.iter().rev() {
        let mut text = format!(
            "$ORIGIN {0}\n$TTL 300\n@ SOA ns hostmaster 1 3600 600 86400 60\n@ NS ns\nns A 127.0.0.1\n{1}",
            zone.name, zone.records
        );
        for (child, ds) in &delegations {
            if parent(child.name, zones) == zone.name {
                let _ = writeln!(text, "{0} NS ns.{0}\nns.{0} A 127.0.0.1\n{ds}", child.name);
            }
        }
        let file = zone_file(folder, zone.name);
        fs::write(&file, &text)?;
        let ds = match zone.signing {
            Signing::Unsigned => String::new(),
            Signing::Signed(algorithm, denial) => sign(folder, zone, algorithm, denial)?,
        };
        if zone.name == "." {
            anchor = ds;
        } else {
            delegations.push((zone, told(zone, &ds)));
        }
    }
    Ok(anchor)
}

/// The file of a zone.
pub(super) fn zone_file(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!(
        "zone-{}db",
        if name == "." { "root." } else { name }
    ))
}

fn parent<'a>(name: &str, zones: &'a [Zone]) -> &'a str {
    zones
        .iter()
        .map(|zone| zone.name)
        .filter(|zone| *zone != name && (*zone == "." || name.ends_with(&format!(".{zone}"))))
        .max_by_key(|zone| zone.len())
        .unwrap_or(".")
}

/// What the parent says instead of the truth.
fn told(zone: &Zone, ds: &str) -> String {
    let name = zone.name;
    let hash = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
    match zone.ds {
        Ds::Right => ds.into(),
        Ds::Absent => String::new(),
        Ds::Wrong => format!("{name} DS 12345 13 2 {hash}"),
        Ds::UnknownAlgorithm => format!("{name} DS 12345 200 2 {hash}"),
        Ds::UnknownDigest => format!("{name} DS 12345 13 200 {hash}"),
    }
}

/// Signs a zone in place and returns its DS record.
fn sign(folder: &Path, zone: &Zone, algorithm: &str, denial: Denial) -> Result<String, NoLab> {
    let file = zone_file(folder, zone.name);
    let entry = new_key(folder, zone.name, algorithm, true)?;
    let key = new_key(folder, zone.name, algorithm, false)?;
    let times = match zone.fault {
        Fault::Expired => EXPIRED,
        Fault::Future => FUTURE,
        _ => TIMES,
    };
    let signed = run_signer(folder, &file, times, denial, &[&entry, &key])?;
    let text = match zone.fault {
        Fault::OtherKey => {
            let other = new_key(folder, zone.name, algorithm, false)?;
            let others = run_signer(folder, &file, times, denial, &[&entry, &other])?;
            with_keys_of(&others, &signed)
        }
        fault => signed
            .lines()
            .filter_map(|line| broken(line, fault))
            .fold(String::new(), |text, line| text + &line + "\n"),
    };
    fs::write(&file, text)?;
    let ds = fs::read_to_string(folder.join(format!("{entry}.ds")))?;
    Ok(ds.split(';').next().unwrap_or("").trim().to_owned())
}

fn new_key(folder: &Path, zone: &str, algorithm: &str, entry: bool) -> Result<String, NoLab> {
    let mut command = Command::new("ldns-keygen");
    command
        .current_dir(folder)
        .args(["-a", algorithm, "-b", "1024", "-r", "/dev/urandom"]);
    if entry {
        command.arg("-k");
    }
    output(command.arg(zone)).map(|name| name.trim().to_owned())
}

fn run_signer(
    folder: &Path,
    file: &Path,
    (from, until): (&str, &str),
    denial: Denial,
    keys: &[&str],
) -> Result<String, NoLab> {
    let mut command = Command::new("ldns-signzone");
    command
        .current_dir(folder)
        .args(["-i", from, "-e", until, "-f", "-"]);
    match denial {
        Denial::Nsec => (),
        Denial::Nsec3(rounds) => {
            command.args(["-n", "-s", "abcd", "-t", &rounds.to_string()]);
        }
        Denial::OptOut => {
            command.args(["-n", "-p", "-t", "0"]);
        }
    }
    output(command.arg(file).args(keys))
}

fn output(command: &mut Command) -> Result<String, NoLab> {
    let output = command.output()?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        let error = String::from_utf8_lossy(&output.stderr);
        Err(NoLab::Failed(format!("{command:?}: {error}")))
    }
}

/// A line of a signed zone after the fault: changed, or gone.
fn broken(line: &str, fault: Fault) -> Option<String> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let rtype = fields.get(3).copied().unwrap_or("");
    let covered = fields.get(4).copied().unwrap_or("");
    let gone = match fault {
        Fault::Unsigned => rtype == "RRSIG" && matches!(covered, "A" | "TLSA"),
        Fault::NoDenials => {
            let denial = |rtype| matches!(rtype, "NSEC" | "NSEC3");
            denial(rtype) || rtype == "RRSIG" && denial(covered)
        }
        _ => false,
    };
    if gone {
        return None;
    }
    Some(match (fault, rtype) {
        (Fault::Changed, "A") => line.replace("127.0.0.", "127.6.6."),
        (Fault::Changed, "TLSA") => line.replace("000102", "666102"),
        _ => line.to_owned(),
    })
}

/// A zone with the keys, and the signatures over them, of another signing of it.
fn with_keys_of(zone: &str, keys: &str) -> String {
    let is_key = |line: &&str| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let rtype = fields.get(3).copied();
        rtype == Some("DNSKEY") || rtype == Some("RRSIG") && fields.get(4) == Some(&"DNSKEY")
    };
    let rest = zone.lines().filter(|line| !is_key(line));
    rest.chain(keys.lines().filter(is_key))
        .fold(String::new(), |text, line| text + line + "\n")
}
