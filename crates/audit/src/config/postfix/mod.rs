//! Postfix: main.cf and master.cf are judged together, because a `-o` of a service decides what main.cf means for it.
//!
//! [CFG-PF-01] Port 25 offers TLS; 587 requires it; 465 speaks it from the start; no login before TLS on any of them.

mod client;
pub mod expand;
pub mod main_cf;
pub mod master_cf;
mod names;
mod server;
pub mod table;
mod view;

use std::collections::HashMap;

use super::{Document, Outcome, Report, Setting, Version};
use view::Configuration;

/// Judges main.cf, master.cf or both.
pub fn lint(documents: Vec<Document>, version: Option<Version>) -> Outcome {
    let mut report = Report::new(documents);
    let configuration = read(&mut report);
    names::judge(&configuration, version, &mut report);
    server::judge(&configuration, version, &mut report);
    client::judge(&configuration, &mut report);
    report.done()
}

fn read(report: &mut Report) -> Configuration {
    let mut configuration = Configuration::default();
    let mut bad = Vec::new();
    for (file, document) in report.documents.iter().enumerate() {
        let misread = if is_master(document) {
            configuration.has_master = true;
            let (services, misread) = master_cf::parse(&document.text, file);
            configuration.services.extend(services);
            misread
        } else {
            configuration.has_main = true;
            let (settings, misread) = main_cf::parse(&document.text, file);
            configuration.settings.extend(settings);
            misread
        };
        bad.extend(misread.into_iter().map(|it| (file, it)));
    }
    configuration.in_force = in_force(&configuration.settings);
    for (file, it) in bad {
        report.tell("PF-SYNTAX", it.text, None, file, (it.line, it.column));
    }
    configuration
}

/// Postfix takes the last of equal names.
fn in_force(settings: &[Setting]) -> HashMap<String, usize> {
    let named = settings.iter().enumerate();
    named
        .map(|(index, setting)| (setting.name.clone(), index))
        .collect()
}

/// Whether a text is a master.cf: by its name, else by its first line.
pub(super) fn is_master(document: &Document) -> bool {
    match document.leaf() {
        "master.cf" => true,
        "main.cf" => false,
        _ => {
            let mut lines = document.text.lines().map(main_cf::trim);
            let first = lines.find(|line| !line.is_empty() && !line.starts_with('#'));
            first.is_some_and(|line| {
                let words: Vec<&str> = line.split_ascii_whitespace().collect();
                words.len() >= 8
                    && matches!(words.get(1), Some(&("inet" | "unix" | "fifo" | "pass")))
            })
        }
    }
}
