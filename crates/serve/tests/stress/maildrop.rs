//! The POP3 client: takes the maildrop, reads, deletes, and says QUIT or breaks off.

use std::sync::Mutex;

use tokio::runtime::Handle;

use crate::chance::Chance;
use crate::ledger::{Ledger, number_of};
use crate::link::Pop3;
use crate::world::{ANN, PASSWORD, World};

/// INBOX is the maildrop.
const PLACE: usize = 0;

pub(crate) fn visit(
    chance: &mut Chance,
    runtime: &Handle,
    world: &World,
    ledger: &Mutex<Ledger>,
) -> Result<(), String> {
    let mut link = Pop3::open(runtime, world);
    let known = ledger.lock().unwrap().known(PLACE);
    ledger.lock().unwrap().count("pop3 visit");
    good(&mut link, &format!("USER {ANN}"))?;
    good(&mut link, &format!("PASS {PASSWORD}"))?;
    let sizes = listing(&mut link, "LIST")?;
    let uids = listing(&mut link, "UIDL")?;
    let uids: Vec<u32> = uids
        .iter()
        .map(|word| uid_of(word))
        .collect::<Result<_, _>>()?;
    if sizes.len() != uids.len() {
        return Err("LIST and UIDL differ".to_owned());
    }
    let seen = uids.iter().copied().collect();
    ledger.lock().unwrap().compare(PLACE, &known, &seen)?;
    let mut deleted = Vec::new();
    for _ in 0..chance.below(6) {
        if uids.is_empty() {
            break;
        }
        let at = chance.below(uids.len());
        if deleted.contains(&uids[at]) {
            continue;
        }
        retrieve(&mut link, ledger, at, (uids[at], &sizes[at]))?;
        if chance.once_in(2) {
            ledger.lock().unwrap().doom(PLACE, &[uids[at]]);
            good(&mut link, &format!("DELE {}", at + 1))?;
            deleted.push(uids[at]);
        }
    }
    if chance.once_in(4) {
        // Broken off: nothing may be gone, which the others' views show as well.
        return Ok(());
    }
    good(&mut link, "QUIT")?;
    let mut ledger = ledger.lock().unwrap();
    deleted
        .into_iter()
        .try_for_each(|uid| ledger.vanish(PLACE, uid))
}

fn good(link: &mut Pop3, command: &str) -> Result<String, String> {
    let said = link.say(command);
    if said.starts_with("+OK") {
        return Ok(said);
    }
    Err(format!("pop3 {command:?}: {said:?}"))
}

/// The second word of each line.
fn listing(link: &mut Pop3, command: &str) -> Result<Vec<String>, String> {
    let said = good(link, command)?;
    let lines = said.lines().skip(1).take_while(|line| *line != ".");
    let mut words = Vec::new();
    for (at, line) in lines.enumerate() {
        match line.split_once(' ') {
            Some((number, word)) if number == (at + 1).to_string() => words.push(word.to_owned()),
            _ => return Err(format!("pop3 {command}: {line:?}")),
        }
    }
    Ok(words)
}

/// The UID in a unique-id, which stands behind the mailbox's UIDVALIDITY.
fn uid_of(unique: &str) -> Result<u32, String> {
    let digits = unique.rsplit(|c: char| !c.is_ascii_digit()).next();
    digits
        .and_then(|digits| digits.parse().ok())
        .ok_or_else(|| format!("the unique-id {unique:?}"))
}

fn retrieve(
    link: &mut Pop3,
    ledger: &Mutex<Ledger>,
    at: usize,
    (uid, size): (u32, &str),
) -> Result<(), String> {
    let said = link.say(&format!("RETR {}", at + 1));
    if !said.starts_with("+OK") {
        // Removed by another session since.
        let kept = ledger.lock().unwrap().is_kept(PLACE, uid);
        return if kept {
            Err(format!("pop3 UID {uid}: {said:?}"))
        } else {
            Ok(())
        };
    }
    let text = said.split_once("\r\n").map_or("", |(_, text)| text);
    let text = text
        .strip_suffix(".\r\n")
        .unwrap_or(text)
        .replace("\r\n..", "\r\n.");
    if text.len().to_string() != size {
        return Err(format!("pop3 UID {uid}: {} octets, not {size}", text.len()));
    }
    ledger.lock().unwrap().learn(PLACE, uid, number_of(&text)?)
}
