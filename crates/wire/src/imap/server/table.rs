//! The command table: which commands there are, in which states each is allowed, and which may be said before TLS.
//!
//! The table is data; [`Verb::allowed`] is the only reader of the rules, and a test keeps the whole matrix.

use super::cursor::{Cursor, Syntax};

/// The states of a session (RFC 9051 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Before login.
    NotAuthenticated,
    /// After login, no mailbox selected.
    Authenticated,
    /// A mailbox is selected.
    Selected,
}

/// Where a command is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Allowed {
    Always,
    NotAuthenticated,
    LoggedIn,
    Selected,
}

macro_rules! commands {
    ($($verb:ident $name:literal $allowed:ident $clear:literal $source:literal,)*) => {
        /// A command.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Verb {
            $(#[doc = concat!("`", $name, "`, ", $source)] $verb,)*
        }

        /// Every command: name, where allowed, whether it has any effect in clear, source.
        const TABLE: &[(Verb, &str, Allowed, bool, &str)] =
            &[$((Verb::$verb, $name, Allowed::$allowed, $clear, $source),)*];
    };
}

commands! {
    Capability "CAPABILITY" Always true "RFC 9051 6.1.1",
    Noop "NOOP" Always true "RFC 9051 6.1.2",
    Logout "LOGOUT" Always true "RFC 9051 6.1.3",
    Id "ID" Always true "RFC 2971 3.1",
    StartTls "STARTTLS" NotAuthenticated true "RFC 9051 6.2.1",
    Authenticate "AUTHENTICATE" NotAuthenticated false "RFC 9051 6.2.2",
    Login "LOGIN" NotAuthenticated false "RFC 9051 6.2.3",
    Enable "ENABLE" LoggedIn false "RFC 9051 6.3.1",
    Select "SELECT" LoggedIn false "RFC 9051 6.3.2",
    Examine "EXAMINE" LoggedIn false "RFC 9051 6.3.3",
    Create "CREATE" LoggedIn false "RFC 9051 6.3.4",
    Delete "DELETE" LoggedIn false "RFC 9051 6.3.5",
    Rename "RENAME" LoggedIn false "RFC 9051 6.3.6",
    Subscribe "SUBSCRIBE" LoggedIn false "RFC 9051 6.3.7",
    Unsubscribe "UNSUBSCRIBE" LoggedIn false "RFC 9051 6.3.8",
    List "LIST" LoggedIn false "RFC 9051 6.3.9",
    Lsub "LSUB" LoggedIn false "RFC 3501 6.3.9",
    Namespace "NAMESPACE" LoggedIn false "RFC 9051 6.3.10",
    Status "STATUS" LoggedIn false "RFC 9051 6.3.11",
    Append "APPEND" LoggedIn false "RFC 9051 6.3.12",
    GetQuota "GETQUOTA" LoggedIn false "RFC 9208 4.1.1",
    GetQuotaRoot "GETQUOTAROOT" LoggedIn false "RFC 9208 4.1.2",
    Notify "NOTIFY" LoggedIn false "RFC 5465 3",
    Compress "COMPRESS" LoggedIn false "RFC 4978 3",
    Idle "IDLE" LoggedIn false "RFC 9051 6.3.13",
    Check "CHECK" Selected false "RFC 3501 6.4.1",
    Close "CLOSE" Selected false "RFC 9051 6.4.1",
    Unselect "UNSELECT" Selected false "RFC 9051 6.4.2",
    Expunge "EXPUNGE" Selected false "RFC 9051 6.4.3",
    Search "SEARCH" Selected false "RFC 9051 6.4.4",
    Sort "SORT" Selected false "RFC 5256 3",
    Thread "THREAD" Selected false "RFC 5256 3",
    Replace "REPLACE" Selected false "RFC 8508 3.2",
    Fetch "FETCH" Selected false "RFC 9051 6.4.5",
    Store "STORE" Selected false "RFC 9051 6.4.6",
    Copy "COPY" Selected false "RFC 9051 6.4.7",
    Move "MOVE" Selected false "RFC 9051 6.4.8",
    UidCopy "UID COPY" Selected false "RFC 9051 6.4.9",
    UidFetch "UID FETCH" Selected false "RFC 9051 6.4.9",
    UidMove "UID MOVE" Selected false "RFC 9051 6.4.9",
    UidSearch "UID SEARCH" Selected false "RFC 9051 6.4.9",
    UidSort "UID SORT" Selected false "RFC 5256 3",
    UidThread "UID THREAD" Selected false "RFC 5256 3",
    UidReplace "UID REPLACE" Selected false "RFC 8508 3.4",
    UidStore "UID STORE" Selected false "RFC 9051 6.4.9",
    UidExpunge "UID EXPUNGE" Selected false "RFC 9051 6.4.9",
}

impl Verb {
    /// Takes the command's name, one or two words, off the text.
    pub(super) fn parse(cursor: &mut Cursor<'_>) -> Result<Self, Syntax> {
        let first = cursor.atom()?;
        if first.eq_ignore_ascii_case("UID") {
            cursor.space()?;
            let second = cursor.atom()?;
            return find(|name| {
                name.strip_prefix("UID ")
                    .is_some_and(|name| name.eq_ignore_ascii_case(second))
            });
        }
        find(|name| name.eq_ignore_ascii_case(first))
    }

    /// Whether the command may be given in this state.
    pub fn allowed(self, phase: Phase) -> bool {
        let allowed = TABLE.iter().find(|row| row.0 == self).map(|row| row.2);
        match allowed {
            Some(Allowed::Always) => true,
            Some(Allowed::NotAuthenticated) => phase == Phase::NotAuthenticated,
            Some(Allowed::LoggedIn) => phase != Phase::NotAuthenticated,
            Some(Allowed::Selected) => phase == Phase::Selected,
            None => false,
        }
    }

    /// The name, as it is written on the wire.
    pub fn name(self) -> &'static str {
        TABLE
            .iter()
            .find(|row| row.0 == self)
            .map_or("", |row| row.1)
    }

    /// Whether the command does anything on a clear connection without an exception.
    pub fn before_tls(self) -> bool {
        TABLE.iter().any(|row| row.0 == self && row.3)
    }

    /// Whether a message follows as a literal that is streamed.
    pub(super) fn brings_message(self) -> bool {
        matches!(self, Self::Append | Self::Replace | Self::UidReplace)
    }

    /// Whether the command names messages by sequence number, so that it is refused after ENABLE UIDONLY (RFC 9586 3).
    pub(super) fn by_number(self) -> bool {
        use Verb::{Copy, Fetch, Move, Replace, Search, Sort, Store, Thread};
        matches!(
            self,
            Copy | Fetch | Move | Replace | Search | Sort | Store | Thread
        )
    }

    /// Whether this is the form that takes and gives UIDs.
    pub(super) fn by_uid(self) -> bool {
        self.name().starts_with("UID ")
    }
}

fn find(matches: impl Fn(&str) -> bool) -> Result<Verb, Syntax> {
    TABLE
        .iter()
        .find(|row| matches(row.1))
        .map(|row| row.0)
        .ok_or(Syntax)
}

/// The command table as text: command, allowed in not authenticated, authenticated, selected state, before TLS, source.
pub fn matrix() -> String {
    use std::fmt::Write as _;
    let mut text = String::new();
    for (verb, name, _, clear, source) in TABLE {
        let mark = |yes: bool| if yes { 'x' } else { '-' };
        let [before, after, selected] = [
            Phase::NotAuthenticated,
            Phase::Authenticated,
            Phase::Selected,
        ]
        .map(|phase| mark(verb.allowed(phase)));
        let _ = writeln!(
            text,
            "{name:<12} {before} {after} {selected} {} {source}",
            mark(*clear)
        );
    }
    text
}
