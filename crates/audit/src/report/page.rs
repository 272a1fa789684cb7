//! The frame of every page: one file, nothing from elsewhere, no script, and a policy that lets a browser run and fetch nothing even if
//! something slipped through. Colours say nothing that words do not say too. Light, dark, and on paper.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

use crate::shown::html;

const STYLE: &str = "
:root { --ink: #1d2126; --paper: #fff; --line: #c9ced6; --faint: #5b6470; --good: #1a7f4b; --warn: #a86a00; --bad: #c0271d; --worst: #8d0f3f; --open: #6a4bb0; --track: #e7eaee }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); margin: 2em auto; max-width: 72em; padding: 0 1em; overflow-wrap: anywhere }
h1 { margin-bottom: 0 } h2 { margin-top: 2em; border-bottom: 2px solid var(--line) } h3 { margin: 1.2em 0 .2em }
p.sub, .faint { color: var(--faint) }
table { border-collapse: collapse; width: 100%; margin: .6em 0 } th, td { border-bottom: 1px solid var(--line); padding: .25em .6em; text-align: left; vertical-align: top }
thead th { border-bottom-width: 2px } td.mark, th.mark { text-align: center; white-space: nowrap }
pre { white-space: pre-wrap; margin: .3em 0; padding: .5em .8em; border-left: 4px solid var(--line) }
.pass, .good { color: var(--good) } .warn, .medium, .low { color: var(--warn) } .fail, .high { color: var(--bad) } .critical { color: var(--worst); font-weight: bold } .inconclusive { color: var(--open) }
article { break-inside: avoid; border-left: 6px solid var(--line); padding: .1em 1em; margin: 1em 0 } article.critical { border-color: var(--worst); font-weight: normal; color: inherit } article.high { border-color: var(--bad); color: inherit } article.medium, article.low { border-color: var(--warn); color: inherit }
svg { width: 100%; height: auto; max-width: 46em } svg text { fill: var(--ink); font: 14px system-ui, sans-serif } .track { fill: var(--track) }
.f-pass, .f-good { fill: var(--good) } .f-warn, .f-medium, .f-low { fill: var(--warn) } .f-fail, .f-high { fill: var(--bad) } .f-critical { fill: var(--worst) } .f-inconclusive, .f-open { fill: var(--open) } .f-info { fill: var(--faint) }
@media (prefers-color-scheme: dark) { :root { --ink: #e2e5ea; --paper: #16181c; --line: #3b414b; --faint: #98a1ad; --good: #54c98c; --warn: #e0a63a; --bad: #ff7a6e; --worst: #ff6fa3; --open: #b59cf5; --track: #2a2f37 } }
@media print { :root { --ink: #000; --paper: #fff; --line: #888; --faint: #444; --good: #0b5a33; --warn: #7a4d00; --bad: #9b1c14; --worst: #7a0b36; --open: #4a2f8a; --track: #ddd } body { margin: 0; max-width: none; font-size: 11pt } h2, h3 { break-after: avoid } tr { break-inside: avoid } thead { display: table-header-group } * { print-color-adjust: exact; -webkit-print-color-adjust: exact } }
";

/// A whole page around a body that is HTML already.
#[must_use]
pub fn page(title: &str, body: &str) -> String {
    let title = html(title);
    let hash = STANDARD.encode(Sha256::digest(STYLE.as_bytes()));
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<meta name=\"color-scheme\" content=\"light dark\">\n\
         <meta name=\"referrer\" content=\"no-referrer\">\n<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n{body}</body>\n</html>\n"
    )
}

/// One bar of a chart: its label, how long, of what colour, and the words behind it. Label and words become harmless here.
#[derive(Debug, Clone)]
pub struct Bar<'a> {
    /// Before the bar.
    pub label: &'a str,
    /// How long.
    pub value: u64,
    /// The class that fills it, without `f-`.
    pub class: &'a str,
    /// Behind the bar.
    pub words: String,
}

/// Bars below each other, on one scale.
#[must_use]
pub fn bars(title: &str, bars: &[Bar<'_>], most: u64) -> String {
    const ROW: usize = 28;
    const LEFT: u64 = 300;
    const LENGTH: u64 = 300;
    if bars.is_empty() {
        return String::new();
    }
    let (title, height) = (html(title), bars.len() * ROW);
    let mut out = format!(
        "<svg viewBox=\"0 0 760 {height}\" role=\"img\" aria-label=\"{title}\"><title>{title}</title>\n"
    );
    for (number, bar) in bars.iter().enumerate() {
        let top = number * ROW;
        let width = u128::from(bar.value.min(most)) * u128::from(LENGTH) / u128::from(most.max(1));
        let (label, words, class) = (html(bar.label), html(&bar.words), html(bar.class));
        let text = top + 18;
        out.push_str(&format!(
            "<text x=\"{}\" y=\"{text}\" text-anchor=\"end\">{label}</text><rect class=\"track\" x=\"{LEFT}\" y=\"{}\" width=\"{LENGTH}\" height=\"18\" rx=\"3\"/>\
             <rect class=\"f-{class}\" x=\"{LEFT}\" y=\"{}\" width=\"{width}\" height=\"18\" rx=\"3\"/><text x=\"{}\" y=\"{text}\">{words}</text>\n",
            LEFT - 10, top + 4, top + 4, LEFT + LENGTH + 10
        ));
    }
    out + "</svg>\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_can_be_fetched_or_run() {
        let text = page("a<b", "<p>x</p>");
        assert!(
            text.contains("default-src 'none'; style-src 'sha256-")
                && text.contains("<title>a&lt;b</title>"),
            "{text}"
        );
        for word in [
            "http:",
            "https:",
            "<script",
            "style=",
            "url(",
            "@import",
            "unsafe-inline",
        ] {
            assert!(!text.contains(word), "{word}");
        }
    }

    #[test]
    fn a_bar_stays_on_its_scale_and_its_words_are_harmless() {
        let bar = Bar {
            label: "<x>",
            value: u64::MAX,
            class: "good\" onload=\"x",
            words: "</svg>".to_owned(),
        };
        let text = bars("t", &[bar], 100);
        assert!(
            text.contains("width=\"300\"")
                && text.contains("&lt;x&gt;")
                && text.contains("&lt;/svg&gt;"),
            "{text}"
        );
        assert!(!text.contains("\" onload"), "{text}");
        assert!(bars("t", &[], 0).is_empty());
    }
}
