//! What goes wrong with the database: who is at fault, what to do, and whether waiting helps.

use std::error::Error as _;
use std::{fmt, io};

use gatepost_audit::shown::shown;
use tokio_postgres::Error;
use tokio_postgres::error::DbError;

use super::tls::Refused;
use crate::exit::Failure;

/// What went wrong.
#[derive(Debug)]
pub(super) enum Trouble {
    /// It may pass: the database or the network is away, full or busy.
    Away(String),
    /// Somebody has to do something first; what was said on the command line may be right.
    Stands(String),
    /// What was said is wrong.
    Usage(String),
}

impl Trouble {
    /// Of an error of the client library, at a database shown like this.
    pub(super) fn of(error: &Error, place: &str) -> Self {
        if let Some(error) = error.as_db_error() {
            return answered(error, place);
        }
        let Some(cause) = error.source() else {
            return Self::Away(format!("{place} closed the connection or does not answer"));
        };
        if let Some(Refused(why)) = cause.downcast_ref() {
            return Self::Stands(format!(
                "{place} is not known to be the one you named, so nothing was told to it: {}; its certificate must be for this name and \
                 from a trusted authority (--ca FILE trusts one more)",
                shown(why)
            ));
        }
        if let Some(error) = cause.downcast_ref::<io::Error>() {
            return Self::Away(format!("no connection to {place}: {error}"));
        }
        match cause.to_string() {
            why if why.contains("password missing") => Self::Usage(format!(
                "{place} wants a password: give it in PGPASSWORD, or in ~/.pgpass"
            )),
            why if why.contains("does not support TLS") => Self::Stands(format!(
                "{place} speaks no TLS, and over a network nothing is told in clear: set ssl = on with a certificate there"
            )),
            why => Self::Stands(format!("{place}: {}", shown(&why))),
        }
    }
}

/// Of an answer of the database, by its SQLSTATE (`PostgreSQL`'s manual, appendix A).
fn answered(error: &DbError, place: &str) -> Trouble {
    let said = shown(error.message());
    let code = error.code().code();
    let (kind, what_to_do): (fn(String) -> Trouble, &str) = match code {
        "28P01" => (
            Trouble::Usage,
            "give the right password in PGPASSWORD, or in ~/.pgpass",
        ),
        "28000" => (
            Trouble::Usage,
            "the user's name is wrong, or its pg_hba.conf does not let this user in from here; where it wants encryption say ?sslmode=require",
        ),
        "3D000" => (Trouble::Usage, "name one that exists, or: createdb NAME"),
        "42501" => (
            Trouble::Stands,
            "its administrator must let this user create tables (GRANT CREATE ON SCHEMA public), or use gatepost's",
        ),
        "25006" => (
            Trouble::Stands,
            "it is a copy that takes no changes: name the primary server",
        ),
        "42P01" | "42703" => (
            Trouble::Stands,
            "gatepost's tables were changed or removed meanwhile: begin anew under another --share-name",
        ),
        "23503" => (
            Trouble::Stands,
            "the list was removed from the database meanwhile",
        ),
        "53100" | "53200" => (Trouble::Away, "its administrator must make room"),
        "53300" => (
            Trouble::Away,
            "its administrator must allow more connections (max_connections)",
        ),
        // Connection exceptions, rollbacks, other lack of resources, an operator's stop, errors of its disk.
        _ if ["08", "40", "53", "57", "58"]
            .iter()
            .any(|it| code.starts_with(it)) =>
        {
            (Trouble::Away, "it is stopping, starting or busy")
        }
        _ => (
            Trouble::Stands,
            "gatepost did not expect this: please report it",
        ),
    };
    kind(format!("{place} answers {said:?} ({code}); {what_to_do}"))
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Away(text) | Self::Stands(text) | Self::Usage(text) => f.write_str(text),
        }
    }
}

impl From<Trouble> for Failure {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Usage(text) => Self::usage(text),
            Trouble::Away(text) | Trouble::Stands(text) => Self::local(text),
        }
    }
}
