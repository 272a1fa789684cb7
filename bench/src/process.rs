//! What a server costs, as the kernel accounts for it: CPU time and memory of a process and all its descendants.
//!
//! CPU comes from `/proc/PID/stat`: user and system time of each living process of the tree, plus that of the children it
//! has waited for. Ticks are 10 ms, so runs last seconds. Work the kernel does for a socket in an interrupt is charged to
//! whoever was running, as it is for every peer.

use std::collections::HashMap;
use std::fs;
use std::time::Duration;

/// The kernel's unit in `/proc/PID/stat`. `USER_HZ` is 100 on every architecture Linux runs on today.
const TICK: Duration = Duration::from_millis(10);

/// Memory of a process tree, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Memory {
    /// Resident, shared pages counted in every process that maps them.
    pub(crate) resident: u64,
    /// Resident and not backed by a file: heap and stacks.
    pub(crate) anonymous: u64,
    /// Resident, shared pages divided among those that map them.
    pub(crate) proportional: u64,
    /// Processes in the tree.
    pub(crate) processes: u64,
}

/// CPU time spent so far by `root` and its descendants.
pub(crate) fn cpu(root: u32) -> Duration {
    let table = table();
    let ticks: u64 = tree(&table, root)
        .iter()
        .filter_map(|pid| table.get(pid))
        .map(|row| row.ticks)
        .sum();
    TICK.saturating_mul(u32::try_from(ticks).unwrap_or(u32::MAX))
}

/// CPU time spent so far by this process.
pub(crate) fn own_cpu() -> Duration {
    let ticks = fs::read_to_string("/proc/self/stat")
        .ok()
        .and_then(|stat| parse_stat(&stat))
        .map_or(0, |row| row.own);
    TICK.saturating_mul(u32::try_from(ticks).unwrap_or(u32::MAX))
}

/// CPU time of the children this process has waited for.
pub(crate) fn waited_cpu() -> Duration {
    let ticks = fs::read_to_string("/proc/self/stat")
        .ok()
        .and_then(|stat| parse_stat(&stat))
        .map_or(0, |row| row.ticks - row.own);
    TICK.saturating_mul(u32::try_from(ticks).unwrap_or(u32::MAX))
}

/// Memory held now by `root` and its descendants.
pub(crate) fn memory(root: u32) -> Memory {
    let mut sum = Memory::default();
    for pid in tree(&table(), root) {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
        sum.resident += kilobytes(&status, "VmRSS:");
        sum.anonymous += kilobytes(&status, "RssAnon:");
        sum.proportional += kilobytes(&rollup, "Pss:");
        sum.processes += 1;
    }
    sum
}

/// Open files a process may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OpenFiles {
    /// Now.
    pub(crate) soft: u64,
    /// At most, without privileges.
    pub(crate) hard: u64,
}

/// This process's limit on open files; 1024 when it cannot be read.
pub(crate) fn open_files() -> OpenFiles {
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    parse_limits(&limits).unwrap_or(OpenFiles {
        soft: 1024,
        hard: 1024,
    })
}

fn parse_limits(limits: &str) -> Option<OpenFiles> {
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    let mut words = line.split_whitespace();
    Some(OpenFiles {
        soft: words.next()?.parse().ok()?,
        hard: words.next()?.parse().ok()?,
    })
}

/// One process in the table: its parent, its time with waited-for children, its own time.
#[derive(Debug, PartialEq, Eq)]
struct Row {
    parent: u32,
    ticks: u64,
    own: u64,
}

fn table() -> HashMap<u32, Row> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter_map(|pid| {
        Some((
            pid,
            parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)?,
        ))
    })
    .collect()
}

/// `root` and everything below it.
fn tree(table: &HashMap<u32, Row>, root: u32) -> Vec<u32> {
    let mut found = vec![root];
    let mut next = 0;
    while let Some(&parent) = found.get(next) {
        found.extend(
            table
                .iter()
                .filter(|(_, row)| row.parent == parent)
                .map(|(pid, _)| *pid),
        );
        next += 1;
    }
    found
}

/// Reads `/proc/PID/stat` (proc(5)): the name in brackets may hold anything, so fields are counted from the last bracket.
fn parse_stat(stat: &str) -> Option<Row> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    let own = number(11)? + number(12)?;
    let waited = number(13)? + number(14)?;
    Some(Row {
        parent: u32::try_from(number(1)?).ok()?,
        ticks: own + waited,
        own,
    })
}

fn kilobytes(text: &str, name: &str) -> u64 {
    let line = text.lines().find(|line| line.starts_with(name));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok())
        .unwrap_or(0)
        * 1024
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::{OpenFiles, Row, kilobytes, memory, parse_limits, parse_stat, tree};

    #[test]
    fn stat_is_read_behind_a_name_with_brackets() {
        let line = "7 (a) b) S 3 7 7 0 -1 0 1 2 3 4 10 20 300 4000 20 0 1 0 5";
        assert_eq!(
            parse_stat(line),
            Some(Row {
                parent: 3,
                ticks: 4330,
                own: 30
            })
        );
    }

    #[test]
    fn a_tree_holds_grandchildren_and_no_strangers() {
        let row = |parent| Row {
            parent,
            ticks: 0,
            own: 0,
        };
        let table = HashMap::from([(2, row(1)), (3, row(2)), (4, row(3)), (9, row(1))]);
        let mut found = tree(&table, 2);
        found.sort_unstable();
        assert_eq!(found, [2, 3, 4]);
    }

    #[test]
    fn limits_are_read() {
        let line = "Limit  Soft Limit  Hard Limit  Units\nMax open files            1024       20000       files\n";
        assert_eq!(
            parse_limits(line),
            Some(OpenFiles {
                soft: 1024,
                hard: 20_000
            })
        );
    }

    #[test]
    fn sizes_are_bytes() {
        assert_eq!(kilobytes("VmRSS:\t   12 kB\n", "VmRSS:"), 12 * 1024);
        assert_eq!(kilobytes("", "VmRSS:"), 0);
    }

    #[test]
    fn this_process_has_memory() {
        assert!(memory(std::process::id()).resident > 100 * 1024);
    }
}
