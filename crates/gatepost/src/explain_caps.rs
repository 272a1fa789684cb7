//! `gatepost config explain caps`: what each upstream offers, what of it clients of the gate are told, and why not the rest.

use std::fmt::Write as _;

use clap::ArgMatches;
use gatepost_serve::upstream::offer::Offered;
use gatepost_serve::upstream::survey;
use gatepost_serve::upstream::url::Spec;

use crate::config::Values;
use crate::directives;
use crate::exit::Failure;
use crate::serve;

pub(crate) fn run(values: &mut Values, given: &ArgMatches) -> Result<(), Failure> {
    if let (Some(urls), Some(directive)) = (
        given.get_many::<String>("upstream"),
        directives::find("gate.upstreams"),
    ) {
        let urls: Vec<String> = urls.cloned().collect();
        values.set_flag(directive, &urls).map_err(Failure::usage)?;
    }
    let settings = serve::settings(values, None)?;
    if settings.upstreams.is_empty() {
        return Err(Failure::usage(
            "there is no upstream: give --upstream URL, or gate.upstreams in the file of --config",
        ));
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::local(format!("cannot start the runtime: {error}")))?;
    let answers = runtime.block_on(survey(&settings.host, &settings.upstreams));
    let unknown = answers.iter().filter(|(_, answer)| answer.is_err()).count();
    print!("{}", text(&answers));
    if unknown > 0 {
        return Err(Failure::local(format!(
            "{unknown} of {} upstreams did not say what they offer",
            answers.len()
        )));
    }
    Ok(())
}

fn text(answers: &[(Spec, Result<Offered, String>)]) -> String {
    let mut text = String::new();
    for (spec, answer) in answers {
        let _ = writeln!(
            text,
            "{} {} ({})",
            spec.protocol.label(),
            spec.place(),
            spec.tls_words()
        );
        match answer {
            Err(why) => {
                let _ = writeln!(text, "  not known: {why}");
            }
            Ok(offered) => {
                for line in offered.explain() {
                    let fate = if line.passed { "passed" } else { "held back" };
                    let _ = writeln!(text, "  {fate:<9}  {:<32} {}", line.word, line.why);
                }
                let logins = if offered.takes_passwords() {
                    "names and passwords are passed on"
                } else {
                    "it takes no name and password in a form that could be passed on"
                };
                let _ = writeln!(text, "  logins: {logins}");
            }
        }
    }
    text
}
