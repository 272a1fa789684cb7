//! Which suite a server takes where it has better and worse ones: it must prefer the better, even where that is not offered first
//! (RFC 9325 4.2.1).
//!
//! One hello says it in both directions: worse suites stand before the good ones. Who takes a good one has an order of its own; who takes a
//! worse one, and a good one when nothing else is offered, has none or a wrong one. Below the good ones the hellos that take suites away one by
//! one tell it: what is taken later was there to be taken before.

use gatepost_wire::tls::TLS13;
use gatepost_wire::tls::names::suite_label;

use super::Bench;
use crate::check::facts::{HelloAnswer, Seen};
use crate::check::rank::Rank;
use crate::finding::Severity;

const ID: &str = "CIPH-ORDER";

pub(super) fn judge(bench: &mut Bench<'_>) {
    let facts = bench.facts;
    let Some(order) = facts.hellos.get("order") else {
        // Older facts have no such hello.
        if let (Some(why), false) = (&facts.stopped, facts.hellos.contains_key("tls1.2")) {
            bench.inconclusive(ID, why.clone(), 1);
        }
        return;
    };
    let severity = bench.profile.severity("order");
    // RFC 9325 sets the good above the rest; the ranks of the rest are the guidelines'.
    let below = bench.profile.severity("order-below");
    let wrong = match descent(&first(bench)) {
        Some(pair) => Some((pair, severity)),
        None => among_worse(bench).map(|pair| (pair, below)),
    };
    if let Some(((worse, better), severity)) = wrong {
        let (worse, better) = (suite_label(worse), suite_label(better));
        let evidence = format!("{worse} was taken where {better} was offered, too");
        bench.fail_as(ID, severity, evidence);
        return;
    }
    let Some(answer) = bench.answer(ID, order) else {
        return;
    };
    let found = ranks(bench);
    let (Some(best), Some(worst)) = (found.iter().min(), found.iter().max()) else {
        bench.not_applicable(ID, "nothing older than TLS 1.3 is spoken");
        return;
    };
    let is_told = *best == Rank::Sound && best != worst && below == Severity::Info;
    if let (Some(open), false) = (open(bench), is_told) {
        bench.answer(ID, open);
    } else if !["weak", "legacy"]
        .iter()
        .all(|it| facts.hellos.contains_key(*it))
    {
        let why = facts.stopped.as_deref();
        bench.inconclusive(ID, why.unwrap_or("nobody asked for worse suites"), 1);
    } else if best == worst && *best == Rank::Sound {
        bench.info(ID, "only good suites are taken, so their order is free");
    } else if best == worst {
        bench.info(ID, "all suites that are taken are equally bad");
    } else if let Some(suite) = suite(answer) {
        let suite = suite_label(suite);
        let evidence = format!("{suite} was taken, though worse ones stood before it");
        bench.pass_as(ID, severity, evidence);
    } else {
        let why = "a hello with worse suites before the good ones was refused";
        bench.inconclusive(ID, why, 1);
    }
}

/// The suite of an answer of TLS 1.2 or before.
fn suite(answer: &HelloAnswer) -> Option<u16> {
    let version = answer.version?;
    answer.suite.filter(|_| version < TLS13)
}

/// The ranks of everything that was taken.
fn ranks(bench: &Bench<'_>) -> Vec<Rank> {
    let answers = bench.facts.hellos.values().filter_map(Seen::known);
    answers
        .filter_map(suite)
        .filter_map(Rank::of_number)
        .collect()
}

/// What a series of hellos took, in the order they were sent.
fn series(bench: &Bench<'_>, name: impl Fn(usize) -> String) -> Vec<u16> {
    let answers = (1..).map_while(|round| bench.facts.hellos.get(&name(round)));
    answers.filter_map(Seen::known).filter_map(suite).collect()
}

/// What was taken with worse suites before the good ones, and with the good ones alone.
fn first(bench: &Bench<'_>) -> Vec<u16> {
    let take = |name| bench.facts.hellos.get(name).and_then(Seen::known);
    let both = ["order", "tls1.2"].map(|name| take(name).and_then(suite));
    both.into_iter().flatten().collect()
}

/// A suite that was taken, and a better one that was there to be taken, both below the good ones.
fn among_worse(bench: &Bench<'_>) -> Option<(u16, u16)> {
    let chain = |round| match round {
        1 => "legacy".to_owned(),
        _ => format!("legacy-{round}"),
    };
    let lanes = (0..).map_while(|lane| {
        let name = move |round| format!("suites-{lane}-{round}");
        let is_there = bench.facts.hellos.contains_key(&name(1));
        is_there.then(|| series(bench, name))
    });
    let mut all = [series(bench, chain)].into_iter().chain(lanes);
    all.find_map(|taken| descent(&taken))
}

/// The first that is worse than one after it.
fn descent(taken: &[u16]) -> Option<(u16, u16)> {
    let pairs = taken.windows(2).filter_map(|pair| match pair {
        [before, after] => Some((*before, *after)),
        _ => None,
    });
    let mut pairs = pairs;
    pairs.find(|(before, after)| Rank::of_number(*before) > Rank::of_number(*after))
}

/// A question that is open, on which it depends whether there are worse suites at all.
fn open<'a>(bench: &Bench<'a>) -> Option<&'a Seen<HelloAnswer>> {
    let is_of = |name: &str| {
        ["tls1.2", "weak", "legacy"]
            .iter()
            .any(|it| name.starts_with(it))
    };
    let rounds = bench.facts.hellos.iter().filter(|(name, _)| is_of(name));
    let mut rounds = rounds.map(|(_, seen)| seen);
    rounds.find(|seen| seen.known().is_none())
}
