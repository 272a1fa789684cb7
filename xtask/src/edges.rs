//! The dependencies between our crates, compared with the table of rooms in ARCHITECTURE.md.
//!
//! A room exists because it forbids a tempting dependency; this test is what makes it forbid.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// Which of our crates each of our crates may use. `*` is any.
const MAY_USE: &[(&str, &[&str])] = &[
    ("gatepost-wire", &[]),
    ("gatepost-trust", &[]),
    ("gatepost-net", &["gatepost-wire", "gatepost-trust"]),
    ("gatepost-store", &["gatepost-wire"]),
    (
        "gatepost-serve",
        &[
            "gatepost-wire",
            "gatepost-trust",
            "gatepost-net",
            "gatepost-store",
        ],
    ),
    (
        "gatepost-audit",
        &["gatepost-wire", "gatepost-trust", "gatepost-net"],
    ),
    ("gatepost", &["*"]),
    ("gatepost-testkit", &["*"]),
    ("gatepost-bench", &["*"]),
    ("gatepost-fuzz", &["*"]),
    ("xtask", &["*"]),
];

/// Crates of others that would break what a room promises: no I/O, no clock, no async and no TLS engine in `wire`; no
/// runtime and no database in `trust`; no TLS and no runtime in `store`.
const MUST_NOT_USE: &[(&str, &[&str])] = &[
    (
        "gatepost-wire",
        &["tokio", "mio", "socket2", "rustls", "aws-lc-rs", "rusqlite"],
    ),
    ("gatepost-trust", &["tokio", "mio", "rusqlite"]),
    ("gatepost-net", &["rusqlite"]),
    ("gatepost-store", &["tokio", "rustls", "socket2"]),
];

/// What every crate may use in its tests besides what the table allows.
const FOR_TESTS: &str = "gatepost-testkit";

/// One dependency, as `cargo metadata` reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Edge {
    from: String,
    to: String,
    dev: bool,
}

/// Reads the metadata of the workspace and prints what is wrong. True when nothing is.
pub(crate) fn run(root: &Path) -> bool {
    let problems = match metadata(root).and_then(|value| edges(&value)) {
        Ok(edges) => {
            println!("{} dependencies looked at", edges.len());
            judge(&edges)
        }
        Err(message) => vec![message],
    };
    for problem in &problems {
        println!("edges: {problem}");
    }
    problems.is_empty()
}

fn metadata(root: &Path) -> Result<Value, String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .current_dir(root)
        .output()
        .map_err(|error| format!("cannot run cargo metadata: {error}"))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    serde_json::from_slice(&output.stdout)
        .map_err(|error| format!("cargo metadata printed no JSON: {error}"))
}

fn edges(metadata: &Value) -> Result<Vec<Edge>, String> {
    let strange = || String::from("cargo metadata has an unknown shape");
    let mut edges = Vec::new();
    for package in metadata["packages"].as_array().ok_or_else(strange)? {
        let from = package["name"].as_str().ok_or_else(strange)?;
        for dependency in package["dependencies"].as_array().ok_or_else(strange)? {
            let to = dependency["name"].as_str().ok_or_else(strange)?.to_owned();
            edges.push(Edge {
                from: from.to_owned(),
                to,
                dev: dependency["kind"] == "dev",
            });
        }
    }
    Ok(edges)
}

fn judge(edges: &[Edge]) -> Vec<String> {
    edges.iter().filter_map(judge_one).collect()
}

fn judge_one(edge: &Edge) -> Option<String> {
    let Edge { from, to, dev } = edge;
    let Some((_, allowed)) = MAY_USE.iter().find(|(name, _)| name == from) else {
        return Some(format!("{from} is not in the table of rooms"));
    };
    if *dev && to == FOR_TESTS {
        return None;
    }
    let ours = MAY_USE.iter().any(|(name, _)| name == to);
    if ours && !allowed.iter().any(|name| *name == "*" || name == to) {
        return Some(format!("{from} must not use {to}"));
    }
    let forbidden = MUST_NOT_USE
        .iter()
        .find(|(name, _)| name == from)
        .map_or(&[][..], |(_, names)| names);
    (!*dev && forbidden.contains(&to.as_str())).then(|| format!("{from} must not use {to}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edge(from: &str, to: &str, dev: bool) -> Edge {
        Edge {
            from: from.into(),
            to: to.into(),
            dev,
        }
    }

    #[test]
    fn the_workspace_keeps_to_the_table() {
        assert!(run(&crate::root()));
    }

    #[test]
    fn edges_outside_the_table_are_found() {
        let wrong = [
            edge("gatepost-wire", "gatepost-net", false),
            edge("gatepost-wire", "tokio", false),
            edge("gatepost-store", "gatepost-trust", false),
            edge("gatepost-trust", "gatepost-wire", true),
            edge("gatepost-net", "gatepost-testkit", false),
            edge("gatepost-common", "serde", false),
        ];
        for wrong in wrong {
            assert_eq!(judge(std::slice::from_ref(&wrong)).len(), 1, "{wrong:?}");
        }
    }

    #[test]
    fn edges_of_the_table_are_allowed() {
        let right = [
            edge("gatepost-serve", "gatepost-store", false),
            edge("gatepost-wire", "memchr", false),
            edge("gatepost-wire", "gatepost-testkit", true),
            edge("gatepost-testkit", "gatepost-net", false),
            edge("gatepost", "gatepost-serve", false),
        ];
        assert_eq!(judge(&right), Vec::<String>::new());
    }

    #[test]
    fn metadata_of_an_unknown_shape_is_no_pass() {
        assert!(edges(&serde_json::json!({})).is_err());
        let known = serde_json::json!({"packages": [{"name": "a", "dependencies": [{"name": "b", "kind": "dev"}]}]});
        assert_eq!(edges(&known), Ok(vec![edge("a", "b", true)]));
    }
}
