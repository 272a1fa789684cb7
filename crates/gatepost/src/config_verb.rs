//! `gatepost config`: the sample file, the reference page, what is in force.

use std::path::PathBuf;

use clap::ArgMatches;

use crate::config::Values;
use crate::directives;
use crate::exit::Failure;
use crate::explain_caps;
use crate::serve;

pub(crate) fn run(given: &ArgMatches) -> Result<(), Failure> {
    match given.subcommand() {
        Some(("sample", _)) => print!("{}", directives::sample()),
        Some(("reference", _)) => print!("{}", directives::reference()),
        Some(("explain", given)) => {
            let mut values = read(given.get_one::<PathBuf>("config"))?;
            if given.get_one::<String>("what").is_some() {
                return explain_caps::run(&mut values, given);
            }
            // What `serve` would refuse is not in force.
            serve::settings(&values, None)?;
            print!("{}", values.explain());
        }
        Some(("lint", given)) => crate::config_lint::run(given)?,
        _ => return Err(Failure::usage("no such verb; see gatepost config --help")),
    }
    Ok(())
}

/// The defaults, with a file laid over them.
pub(crate) fn read(file: Option<&PathBuf>) -> Result<Values, Failure> {
    let mut values = Values::defaults();
    if let Some(file) = file {
        let text = std::fs::read_to_string(file).map_err(|error| {
            Failure::usage(format!(
                "cannot read the configuration {}: {error}",
                file.display()
            ))
        })?;
        values.read_file(&text).map_err(|problems| {
            let lines: Vec<String> = problems
                .iter()
                .map(|problem| format!("{}: {problem}", file.display()))
                .collect();
            Failure::usage(lines.join("\ngatepost: "))
        })?;
    }
    Ok(values)
}
