//! `$name` in values, as postconf(5) describes it. What depends on a comparison, or on a parameter whose value is not known here, is
//! not decided.

use super::main_cf::trim;

/// Deeper than any configuration, and the end of those that go in circles.
const DEPTH: usize = 20;
/// Longer than any value, shorter than what hurts.
const LONGEST: usize = 64 * 1024;
/// References followed for one value.
const STEPS: usize = 2_000;

/// Why a value could not be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unknown {
    /// It depends on this parameter or expression, which is not known.
    Name(String),
    /// It depends on itself.
    Circle,
}

/// Expands a value; `look` gives the raw value of a parameter.
pub fn expand(value: &str, look: &dyn Fn(&str) -> Option<String>) -> Result<String, Unknown> {
    let mut out = String::new();
    into(value, look, &mut out, &mut Budget { depth: 0, steps: 0 })?;
    Ok(out)
}

struct Budget {
    depth: usize,
    steps: usize,
}

fn into(
    value: &str,
    look: &dyn Fn(&str) -> Option<String>,
    out: &mut String,
    budget: &mut Budget,
) -> Result<(), Unknown> {
    budget.steps += 1;
    if budget.depth > DEPTH || budget.steps > STEPS || out.len() > LONGEST {
        return Err(Unknown::Circle);
    }
    budget.depth += 1;
    let told = parts(value, look, out, budget);
    budget.depth -= 1;
    told
}

fn parts(
    value: &str,
    look: &dyn Fn(&str) -> Option<String>,
    out: &mut String,
    budget: &mut Budget,
) -> Result<(), Unknown> {
    let mut rest = value;
    while let Some(at) = rest.find('$') {
        let (before, after) = rest.split_at(at);
        out.push_str(before);
        let after = after.get(1..).unwrap_or_default();
        if let Some(literal) = after.strip_prefix('$') {
            out.push('$');
            rest = literal;
            continue;
        }
        let (inner, behind) = reference(after).ok_or_else(|| Unknown::Name(after.to_owned()))?;
        one(inner, look, out, budget)?;
        rest = behind;
    }
    out.push_str(rest);
    Ok(())
}

/// What stands behind a `$`: the name or what is in the braces, and what follows.
fn reference(after: &str) -> Option<(&str, &str)> {
    let closing = match after.chars().next()? {
        '{' => '}',
        '(' => ')',
        _ => {
            let end = after
                .find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')
                .unwrap_or(after.len());
            return (end > 0).then(|| after.split_at(end));
        }
    };
    let opening = after.chars().next()?;
    let mut depth = 0_usize;
    for (at, letter) in after.char_indices() {
        if letter == opening {
            depth += 1;
        } else if letter == closing {
            depth -= 1;
            if depth == 0 {
                return Some((after.get(1..at)?, after.get(at + 1..)?));
            }
        }
    }
    None
}

fn one(
    inner: &str,
    look: &dyn Fn(&str) -> Option<String>,
    out: &mut String,
    budget: &mut Budget,
) -> Result<(), Unknown> {
    let end = inner
        .find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')
        .unwrap_or(inner.len());
    let (name, condition) = inner.split_at(end);
    let unknown = || Unknown::Name(inner.to_owned());
    let raw = if name.is_empty() { None } else { look(name) };
    let raw = raw.ok_or_else(unknown)?;
    let condition = trim(condition);
    let Some(kind) = condition.chars().next() else {
        return into(&raw, look, out, budget);
    };
    let mut filled = String::new();
    into(&raw, look, &mut filled, budget)?;
    let (then, otherwise) = branches(trim(condition.get(1..).unwrap_or_default()));
    let chosen = match (kind, filled.is_empty()) {
        ('?', false) | (':', true) => then,
        ('?', true) => otherwise.unwrap_or_default(),
        (':', false) => "",
        _ => return Err(unknown()),
    };
    into(chosen, look, out, budget)
}

/// `{a} : {b}`, or a text without braces.
fn branches(text: &str) -> (&str, Option<&str>) {
    if !text.starts_with('{') {
        return (text, None);
    }
    let Some((then, rest)) = reference(text) else {
        return (text, None);
    };
    let otherwise = trim(rest).strip_prefix(':').map(trim);
    let otherwise = otherwise.and_then(|it| Some(reference(it)?.0));
    (then, otherwise)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(name: &str) -> Option<String> {
        Some(
            match name {
                "a" => "1",
                "b" => "$a$a",
                "empty" => "",
                "circle" => "x$circle",
                "big" => "$b$b$b$b$b$b$b$b$big",
                _ => return None,
            }
            .to_owned(),
        )
    }

    #[test]
    fn references_are_followed() {
        let told = |text| expand(text, &look);
        assert_eq!(told("x$b.$(a)${a}$$").unwrap(), "x11.11$");
        assert_eq!(
            told("${a?yes}${empty?no}${empty:none}${a:not}").unwrap(),
            "yesnone"
        );
        assert_eq!(told("${empty?{x}:{$a}}").unwrap(), "1");
    }

    #[test]
    fn what_cannot_be_told_is_not_guessed() {
        let told = |text| expand(text, &look).unwrap_err();
        assert_eq!(told("$nobody"), Unknown::Name("nobody".into()));
        assert!(matches!(
            told("${{$a} == {1} ? {x} : {y}}"),
            Unknown::Name(_)
        ));
        assert_eq!(told("$circle"), Unknown::Circle);
        assert_eq!(told("$big"), Unknown::Circle);
        assert!(matches!(told("${a"), Unknown::Name(_)));
    }
}
