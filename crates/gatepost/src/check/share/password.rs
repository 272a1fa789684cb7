//! The password for the database, where the URL has none: `PGPASSWORD`, else the password file that `PostgreSQL`'s own programs read
//! (`PGPASSFILE`, else `~/.pgpass`).

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::{env, fs};

use gatepost_wire::secret::Secret;
use tokio_postgres::Config;
use tokio_postgres::config::Host;

use crate::exit::Failure;

/// Finds it; None: there is none, and perhaps none is needed.
pub(super) fn find(config: &Config) -> Result<Option<Secret<String>>, Failure> {
    if let Ok(password) = env::var("PGPASSWORD") {
        return Ok(Some(Secret::new(password)));
    }
    let named = env::var_os("PGPASSFILE").map(PathBuf::from);
    let home = || env::var_os("HOME").map(|it| PathBuf::from(it).join(".pgpass"));
    let Some(path) = named.or_else(home).filter(|it| it.is_file()) else {
        return Ok(None);
    };
    let cannot =
        |error: std::io::Error| Failure::usage(format!("cannot read {}: {error}", path.display()));
    let rights = fs::metadata(&path).map_err(cannot)?.permissions().mode();
    if rights & 0o077 != 0 {
        return Err(Failure::usage(format!(
            "{} holds passwords and others may read it: chmod 600 {0}",
            path.display()
        )));
    }
    let text = Secret::new(fs::read_to_string(&path).map_err(cannot)?);
    Ok(look_up(text.expose(), &wanted(config)).map(Secret::new))
}

/// Host, port, database and user, as a line of the file names them.
fn wanted(config: &Config) -> [String; 4] {
    let host = match config.get_hosts().first() {
        Some(Host::Tcp(name)) => name.clone(),
        // The manual of libpq, "The Password File": a socket is `localhost`, or its folder.
        Some(Host::Unix(_)) => "localhost".to_owned(),
        None => config
            .get_hostaddrs()
            .first()
            .map(ToString::to_string)
            .unwrap_or_default(),
    };
    let port = config.get_ports().first().copied().unwrap_or(5432);
    let user = config
        .get_user()
        .map(str::to_owned)
        .or_else(|| env::var("USER").ok())
        .unwrap_or_default();
    let database = config.get_dbname().unwrap_or(&user).to_owned();
    [host, port.to_string(), database, user]
}

/// The password of the first line that fits: `host:port:database:user:password`, `*` fits all, `\` takes a mark's meaning away.
fn look_up(text: &str, wanted: &[String; 4]) -> Option<String> {
    let lines = text.lines().filter(|it| !it.starts_with('#'));
    lines.map(fields).find_map(|fields| {
        let (password, names) = fields.split_last()?;
        let fits = |(name, want): (&Field, &String)| name.is_any || name.text == *want;
        let is_it = names.len() == wanted.len() && names.iter().zip(wanted).all(fits);
        is_it.then(|| password.text.clone())
    })
}

struct Field {
    text: String,
    is_any: bool,
}

/// The fields of a line; the fifth goes to the end, colons and all.
fn fields(line: &str) -> Vec<Field> {
    let mut fields = Vec::new();
    let (mut text, mut raw) = (String::new(), 0);
    let mut marks = line.chars();
    while let Some(mark) = marks.next() {
        match mark {
            '\\' => {
                text.extend(marks.next());
                raw += 2;
            }
            ':' if fields.len() < 4 => {
                let is_any = text == "*" && raw == 1;
                fields.push(Field {
                    text: std::mem::take(&mut text),
                    is_any,
                });
                raw = 0;
            }
            other => {
                text.push(other);
                raw += 1;
            }
        }
    }
    fields.push(Field {
        text,
        is_any: false,
    });
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_that_fits_counts() {
        let text = "# db.example:5432:lists:anna:remark\ndb.example:5432:lists:otto:one\ndb.example:*:lists:anna:t\\:wo:\\\\\n\\*:*:*:*:star\n*:*:*:*:last\nshort:line\n";
        let look = |host: &str, user: &str| {
            let wanted = [host, "5432", "lists", user].map(str::to_owned);
            look_up(text, &wanted)
        };
        assert_eq!(look("db.example", "otto").as_deref(), Some("one"));
        assert_eq!(look("db.example", "anna").as_deref(), Some("t:wo:\\"));
        assert_eq!(look("other", "anna").as_deref(), Some("last"));
        assert_eq!(
            look_up("h:1:d:u:p\n", &["h", "1", "d", "x"].map(str::to_owned)),
            None
        );
    }
}
