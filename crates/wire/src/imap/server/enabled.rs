//! What the client has enabled (RFC 9051 6.3.1), and how that changes the way messages are named and told of.

use super::arguments::Names;
use super::reply;
use super::view::View;

/// What the client has enabled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is one independent extension"
)]
pub(super) struct Enabled {
    /// IMAP4rev2.
    pub(super) rev2: bool,
    /// UTF8=ACCEPT (RFC 6855).
    pub(super) utf8: bool,
    /// The client knows modification sequences (RFC 7162 3.1).
    pub(super) condstore: bool,
    /// QRESYNC (RFC 7162 3.2): VANISHED in place of EXPUNGE.
    pub(super) qresync: bool,
    /// UIDONLY (RFC 9586): no sequence numbers either way.
    pub(super) uid_only: bool,
}

impl Enabled {
    /// How mailbox names are written.
    pub(super) fn names(self) -> Names {
        if self.rev2 || self.utf8 {
            Names::Utf8
        } else {
            Names::ModifiedUtf7
        }
    }

    /// Adds what is asked for, and gives the names of what is new. QRESYNC brings CONDSTORE with it (RFC 7162 3.2.3).
    pub(super) fn add(&mut self, asked: Self) -> String {
        let before = *self;
        self.rev2 |= asked.rev2;
        self.utf8 |= asked.utf8;
        self.condstore |= asked.condstore || asked.qresync;
        self.qresync |= asked.qresync;
        self.uid_only |= asked.uid_only;
        let newly = [
            (!before.rev2 && self.rev2, " IMAP4rev2"),
            (!before.utf8 && self.utf8, " UTF8=ACCEPT"),
            (asked.condstore && !before.condstore, " CONDSTORE"),
            (!before.qresync && self.qresync, " QRESYNC"),
            (!before.uid_only && self.uid_only, " UIDONLY"),
        ];
        let named = newly.iter().filter(|(newly, _)| *newly);
        named.map(|(_, name)| *name).collect()
    }

    /// Begins a response about a message: `* 2 FETCH (`, with its UID if `tell_uid`, or `* 17 UIDFETCH (`.
    pub(super) fn begin_fetch(self, out: &mut Vec<u8>, number: u32, uid: u32, tell_uid: bool) {
        if self.uid_only {
            reply::put(out, format_args!("* {uid} UIDFETCH ("));
        } else if tell_uid {
            reply::put(out, format_args!("* {number} FETCH (UID {uid} "));
        } else {
            reply::put(out, format_args!("* {number} FETCH ("));
        }
    }

    /// Tells of every message that is gone.
    pub(super) fn tell_vanished(self, out: &mut Vec<u8>, view: &mut View) {
        if self.qresync || self.uid_only {
            let gone = view.take_vanished_uids();
            if !gone.is_empty() {
                let set = reply::set(gone.into_iter());
                reply::line(out, format_args!("* VANISHED {set}"));
            }
            return;
        }
        for number in view.take_vanished() {
            reply::line(out, format_args!("* {number} EXPUNGE"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn qresync_brings_condstore_but_does_not_name_it() {
        let mut it = Enabled::default();
        let qresync = Enabled {
            qresync: true,
            ..Enabled::default()
        };
        assert_eq!(it.add(qresync), " QRESYNC");
        assert!(it.condstore);
        assert_eq!(it.add(qresync), "");
    }
}
