//! The published schemas hold for what is really written. The judge below knows the words of JSON Schema (2020-12) those files use, and
//! refuses a file that uses another one.

use serde_json::{Map, Value, json};

use super::kept::Kept;
use super::samples;
use crate::finding::Severity;

const CHECK: &str = include_str!("../../../../docs/schema/gatepost-check-1.json");
const FACTS: &str = include_str!("../../../../docs/schema/gatepost-facts-1.json");

/// Words that say nothing about validity.
const NOTES: &[&str] = &["$schema", "$id", "$defs", "title", "description"];

/// Why a value is not what the schema wants; empty when it is.
fn problems(root: &Value, schema: &Value, value: &Value, path: &str) -> Vec<String> {
    let Some(words) = schema.as_object() else {
        return vec![format!("{path}: the schema is no object")];
    };
    words
        .iter()
        .flat_map(|(word, wanted)| judge(root, words, (word, wanted), value, path))
        .collect()
}

fn judge(
    root: &Value,
    words: &Map<String, Value>,
    (word, wanted): (&str, &Value),
    value: &Value,
    path: &str,
) -> Vec<String> {
    let no = |holds: bool| {
        if holds {
            vec![]
        } else {
            vec![format!("{path}: {word} {wanted} does not hold for {value}")]
        }
    };
    match word {
        "type" => no(match wanted {
            Value::Array(kinds) => kinds.iter().any(|it| is_of(it, value)),
            kind => is_of(kind, value),
        }),
        "const" => no(wanted == value),
        "enum" => no(wanted.as_array().unwrap().contains(value)),
        "minimum" => no(value
            .as_i64()
            .is_none_or(|it| it >= wanted.as_i64().unwrap())),
        "maximum" => no(value
            .as_i64()
            .is_none_or(|it| it <= wanted.as_i64().unwrap())),
        "required" => no(value.as_object().is_none_or(|it| {
            wanted
                .as_array()
                .unwrap()
                .iter()
                .all(|name| it.contains_key(name.as_str().unwrap()))
        })),
        "anyOf" => no(wanted
            .as_array()
            .unwrap()
            .iter()
            .any(|it| problems(root, it, value, path).is_empty())),
        "$ref" => {
            let place = wanted.as_str().unwrap().strip_prefix('#').unwrap();
            problems(
                root,
                root.pointer(place).unwrap_or_else(|| panic!("no {place}")),
                value,
                path,
            )
        }
        "items" => {
            let items = value.as_array().into_iter().flatten().enumerate();
            items
                .flat_map(|(at, it)| problems(root, wanted, it, &format!("{path}/{at}")))
                .collect()
        }
        "properties" | "additionalProperties" => fields(root, words, word, value, path),
        word if NOTES.contains(&word) => vec![],
        other => vec![format!("{path}: the judge does not know {other}")],
    }
}

fn fields(
    root: &Value,
    words: &Map<String, Value>,
    word: &str,
    value: &Value,
    path: &str,
) -> Vec<String> {
    let known = words.get("properties").and_then(Value::as_object);
    let mut found = Vec::new();
    for (name, it) in value.as_object().into_iter().flatten() {
        let path = format!("{path}/{name}");
        match (known.and_then(|it| it.get(name)), word) {
            (Some(schema), "properties") => found.extend(problems(root, schema, it, &path)),
            (None, "additionalProperties") => match &words[word] {
                Value::Bool(true) => {}
                Value::Bool(false) => found.push(format!("{path}: not allowed")),
                schema => found.extend(problems(root, schema, it, &path)),
            },
            _ => {}
        }
    }
    found
}

fn is_of(kind: &Value, value: &Value) -> bool {
    match kind.as_str().unwrap() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("the judge does not know the type {other}"),
    }
}

fn validate(schema: &str, value: &Value) -> Vec<String> {
    let schema: Value = serde_json::from_str(schema).unwrap();
    problems(&schema, &schema, value, "")
}

#[test]
fn what_is_printed_is_what_the_schema_says() {
    let document = samples::report().as_json(Severity::High);
    assert_eq!(validate(CHECK, &document), Vec::<String>::new());
}

#[test]
fn what_is_kept_is_what_the_schema_says() {
    let text = Kept::new("default", 1, samples::facts()).to_json();
    assert_eq!(
        validate(FACTS, &serde_json::from_str(&text).unwrap()),
        Vec::<String>::new()
    );
}

#[test]
fn every_field_of_facts_is_in_the_schema() {
    let schema: Value = serde_json::from_str(FACTS).unwrap();
    let kept = serde_json::to_value(samples::facts()).unwrap();
    for name in kept[0].as_object().unwrap().keys() {
        assert!(
            schema["$defs"]["service"]["properties"].get(name).is_some(),
            "{name} is not in the schema"
        );
    }
}

#[test]
fn wrong_documents_are_refused() {
    let good = samples::report().as_json(Severity::High);
    let changes: [fn(&mut Value); 6] = [
        |it| it["schema"] = json!("gatepost-check-2"),
        |it| it["targets"][0]["checks"][0]["status"] = json!("ok"),
        |it| it["targets"][0]["port"] = json!(65_536),
        |it| it["targets"][0]["port"] = json!("25"),
        |it| it["at"] = json!(-1),
        |it| {
            drop(
                it["targets"][0]["checks"][0]
                    .as_object_mut()
                    .unwrap()
                    .remove("fix"),
            );
        },
    ];
    for (number, change) in changes.iter().enumerate() {
        let mut wrong = good.clone();
        change(&mut wrong);
        assert_eq!(validate(CHECK, &wrong).len(), 1, "change {number}");
    }
}

#[test]
fn wrong_facts_are_refused() {
    let good = serde_json::to_value(Kept::new("default", 1, samples::facts())).unwrap();
    let changes: [fn(&mut Value); 4] = [
        |it| it["services"][0]["greeting"] = json!("known"),
        |it| it["services"][0]["greeting"] = json!({"unknown": {"why": "x"}}),
        |it| it["services"][0]["hellos"]["ssl2"] = json!({"known": 1}),
        |it| it["services"][0]["reach"] = json!({"kind": "lost"}),
    ];
    for (number, change) in changes.iter().enumerate() {
        let mut wrong = good.clone();
        change(&mut wrong);
        assert!(!validate(FACTS, &wrong).is_empty(), "change {number}");
    }
}
