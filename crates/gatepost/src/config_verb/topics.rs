//! `gatepost config explain TOPIC`: short answers, each with its sources. Where standards contradict each other they say which one holds
//! [CONF-06]. The answers are data: `topics.txt`.

use std::fmt::Write;

use crate::exit::Failure;

/// One answer.
#[derive(Debug, PartialEq, Eq)]
struct Topic {
    /// Its names, the first one in lists.
    names: Vec<&'static str>,
    question: &'static str,
    answer: Vec<&'static str>,
    sources: &'static str,
    see: &'static str,
}

fn all() -> Vec<Topic> {
    include_str!("topics.txt")
        .split("\n== ")
        .map(|part| part.trim_start_matches("== "))
        .filter_map(read)
        .collect()
}

fn read(part: &'static str) -> Option<Topic> {
    let mut lines = part.lines();
    let names = lines.next()?.split('|').map(str::trim).collect();
    let question = lines.next()?.strip_prefix("question: ")?;
    let mut topic = Topic {
        names,
        question,
        answer: Vec::new(),
        sources: "",
        see: "",
    };
    for line in lines {
        if let Some(sources) = line.strip_prefix("sources: ") {
            topic.sources = sources;
        } else if let Some(see) = line.strip_prefix("see: ") {
            topic.see = see;
        } else if !line.is_empty() {
            topic.answer.push(line);
        }
    }
    Some(topic)
}

/// The answer to a topic.
pub(crate) fn explain(word: &str) -> Result<String, Failure> {
    let word = word.trim().to_ascii_lowercase().replace(' ', "-");
    let topics = all();
    let found = topics
        .iter()
        .find(|it| it.names.iter().any(|name| name.replace(' ', "-") == word));
    let Some(topic) = found else {
        let names: Vec<&str> = topics
            .iter()
            .filter_map(|it| it.names.first().copied())
            .collect();
        return Err(Failure::usage(format!(
            "there is no topic {word}; there are {}",
            names.join(", ")
        )));
    };
    let mut text = format!("{}\n\n", topic.question);
    for line in &topic.answer {
        let _ = writeln!(text, "{line}");
    }
    let _ = writeln!(text, "\nsources: {}", topic.sources);
    if !topic.see.is_empty() {
        let _ = writeln!(text, "see also: {}", topic.see);
    }
    Ok(text)
}

/// The topics with their questions, for the help.
pub(crate) fn list() -> String {
    let width = all()
        .iter()
        .filter_map(|it| it.names.first())
        .map(|it| it.len())
        .max()
        .unwrap_or_default();
    all().iter().fold(String::new(), |text, it| {
        let name = it.names.first().copied().unwrap_or_default();
        text + &format!("  {name:<width$}  {}\n", it.question)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_topic_has_a_question_an_answer_and_sources() {
        let topics = all();
        assert!(topics.len() >= 16);
        let mut names = std::collections::HashSet::new();
        for topic in &topics {
            assert!(
                !topic.answer.is_empty() && !topic.sources.is_empty(),
                "{topic:?}"
            );
            assert!(topic.question.ends_with('?'), "{topic:?}");
            for name in &topic.names {
                assert!(names.insert(*name), "{name} stands twice");
            }
            assert!(topic.answer.iter().all(|line| line.chars().count() <= 160));
        }
        // What is referred to is there.
        for topic in &topics {
            for see in topic
                .see
                .split([',', ';'])
                .map(str::trim)
                .filter(|it| !it.starts_with("gatepost"))
            {
                assert!(see.is_empty() || names.contains(see), "{see}");
            }
        }
    }

    #[test]
    fn the_answers_put_the_common_errors_right() {
        let told = |word: &str| explain(word).map_err(|it| it.to_string()).unwrap();
        assert!(told("ports").contains("465 (submissions)") && told("ports").contains("preferred"));
        assert!(told("auth").contains("After TLS"));
        assert!(told("starttls").contains("greeting"));
        assert!(told("phased out").contains("Between servers, no"));
        // [CONF-06]
        assert!(told("versions").contains("that is void"));
        assert!(explain("nonsense").is_err());
        let everything: String = include_str!("topics.txt").to_lowercase();
        assert!(!everything.contains("secure"));
    }
}
