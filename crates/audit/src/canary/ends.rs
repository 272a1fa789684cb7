//! Both ends' view of what was said before TLS, held side by side.
//!
//! A client and a server tell each other inside TLS what each said and heard in clear. Where the two differ somebody on the path has changed it,
//! even if TLS came up after all: a capability taken away, a reply put in, a command that was never said.

use super::Trouble;

/// Who said a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Speaker {
    /// The client.
    Client,
    /// The server.
    Server,
}

/// A line as one end saw it, without its end.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Line {
    /// Who said it, as that end has it.
    pub speaker: Speaker,
    /// The line.
    pub text: String,
}

/// What the two views differ in; nothing when they are the same. `client` and `server` are the views of the client and of the server.
#[must_use]
pub fn compare(client: &[Line], server: &[Line]) -> Vec<Trouble> {
    let mut troubles = Vec::new();
    for speaker in [Speaker::Client, Speaker::Server] {
        let of = |view: &[Line]| -> Vec<String> {
            let said = view.iter().filter(|it| it.speaker == speaker);
            said.map(|it| it.text.clone()).collect()
        };
        let (said, heard) = match speaker {
            Speaker::Client => (of(client), of(server)),
            Speaker::Server => (of(server), of(client)),
        };
        differ(speaker, &said, &heard, &mut troubles);
    }
    troubles
}

fn differ(speaker: Speaker, said: &[String], heard: &[String], troubles: &mut Vec<Trouble>) {
    let (mut lost, mut added) = (missing(said, heard), missing(heard, said));
    // A line in the place of another is one change.
    let changed = lost.len().min(added.len());
    let rest = (lost.split_off(changed), added.split_off(changed));
    let offers = |it: &str| it.to_ascii_uppercase().contains("STARTTLS");
    let (who, put_in) = match speaker {
        Speaker::Client => ("client", "W304"),
        Speaker::Server => ("server", "W305"),
    };
    for (from, to) in lost.iter().zip(&added) {
        let what = if offers(from) && !offers(to) {
            "the offer of TLS was overwritten"
        } else {
            "a line was changed"
        };
        troubles.push(Trouble::new(
            "W307",
            format!("{what}: the {who} said {from:?}, {to:?} came"),
        ));
    }
    for line in rest.0 {
        troubles.push(Trouble::new(
            "W307",
            format!("the {who} said {line:?}, and it did not come"),
        ));
    }
    for line in rest.1 {
        troubles.push(Trouble::new(
            put_in,
            format!("{line:?} came, and the {who} did not say it"),
        ));
    }
}

/// The lines of one list that are not in the other, each as often as it is missing.
fn missing(lines: &[String], others: &[String]) -> Vec<String> {
    let mut left: Vec<&String> = others.iter().collect();
    let mut missing = Vec::new();
    for line in lines {
        match left.iter().position(|it| *it == line) {
            Some(at) => {
                left.remove(at);
            }
            None => missing.push(line.clone()),
        }
    }
    missing
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(lines: &[&str]) -> Vec<Line> {
        let line = |it: &&str| {
            let (mark, text) = it.split_once(' ').unwrap();
            let speaker = if mark == "C" {
                Speaker::Client
            } else {
                Speaker::Server
            };
            Line {
                speaker,
                text: text.to_owned(),
            }
        };
        lines.iter().map(line).collect()
    }

    const HONEST: [&str; 6] = [
        "S 220 mx ESMTP",
        "C EHLO c",
        "S 250-mx",
        "S 250 STARTTLS",
        "C STARTTLS",
        "S 220 go",
    ];

    fn ids(client: &[&str], server: &[&str]) -> Vec<&'static str> {
        let troubles = compare(&view(client), &view(server));
        troubles.iter().map(|it| it.id).collect()
    }

    #[test]
    fn the_same_is_nothing() {
        assert!(ids(&HONEST, &HONEST).is_empty());
    }

    #[test]
    fn what_was_changed_taken_away_or_put_in() {
        let mut other = HONEST;
        other[3] = "S 250 XXXXXXXX";
        assert_eq!(ids(&other, &HONEST), ["W307"]);
        let text = &compare(&view(&other), &view(&HONEST))[0].evidence;
        assert!(text.contains("overwritten"), "{text}");
        let mut without = HONEST.to_vec();
        without.remove(3);
        assert_eq!(ids(&without, &HONEST), ["W307"]);
        let mut more = HONEST.to_vec();
        more.push("S 250 put in");
        assert_eq!(ids(&more, &HONEST), ["W305"]);
        let mut more = HONEST.to_vec();
        more.insert(5, "C RSET");
        assert_eq!(ids(&HONEST, &more), ["W304"]);
    }
}
