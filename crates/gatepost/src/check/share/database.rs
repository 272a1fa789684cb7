//! The tables, and what is asked of them.
//!
//! | table | a row is |
//! |---|---|
//! | `gatepost_check_schema` | the version of these tables |
//! | `gatepost_check_lists` | a list: its name, the hash over its lines, by what it is judged |
//! | `gatepost_check_lines` | a line: its text, the claim on it, its document |
//! | `gatepost_check_machines` | a run of a machine: when it was last there (`-infinity`: it left), the counts of what it did |
//!
//! A document stands in the row of its line, so there is one for each; the counts are changed in the transaction that stores it, so they are
//! those of the documents. Times are the database's: the machines' clocks need not agree.

use std::io;
use std::time::Duration;

use gatepost_audit::check::document::SCHEMA as DOCUMENT;
use gatepost_audit::check::list::local::meant;
use gatepost_audit::check::list::state::Chain;
use gatepost_audit::check::list::summary::Summary;
use gatepost_audit::check::list::{Finished, Line};
use tokio::sync::mpsc;
use tokio_postgres::{Client, Error, Transaction};

use super::address::Address;
use super::tls::Verified;
use super::trouble::Trouble;
use crate::check::Order;
use crate::exit::Failure;

/// Goes up when a table changes.
const VERSION: i32 = 1;

/// Taken while tables are created: two machines may begin at once.
const LOCK: i64 = 0x6761_7465_706f_7374;

const TABLES: &str = "
CREATE TABLE gatepost_check_schema (version int NOT NULL);
CREATE TABLE gatepost_check_lists (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL UNIQUE,
    created timestamptz NOT NULL DEFAULT now(),
    read bigint NOT NULL DEFAULT 0,
    hash text NOT NULL DEFAULT '',
    document text NOT NULL,
    profile text NOT NULL,
    tier text NOT NULL,
    fail_on text NOT NULL,
    role text NOT NULL
);
CREATE TABLE gatepost_check_lines (
    list bigint NOT NULL REFERENCES gatepost_check_lists ON DELETE CASCADE,
    line bigint NOT NULL,
    input text NOT NULL,
    machine text,
    lease timestamptz,
    done timestamptz,
    document json,
    PRIMARY KEY (list, line)
) WITH (fillfactor = 80);
CREATE INDEX gatepost_check_open ON gatepost_check_lines (list, line) WHERE done IS NULL;
CREATE TABLE gatepost_check_machines (
    list bigint NOT NULL REFERENCES gatepost_check_lists ON DELETE CASCADE,
    machine text NOT NULL,
    seen timestamptz NOT NULL DEFAULT now(),
    summary text NOT NULL,
    PRIMARY KEY (list, machine)
);
INSERT INTO gatepost_check_schema VALUES (1);
";

const CLAIM: &str = "
WITH free AS (
    SELECT line FROM gatepost_check_lines
    WHERE list = $1 AND done IS NULL AND (lease IS NULL OR lease < now())
    ORDER BY line LIMIT $2 FOR UPDATE SKIP LOCKED
)
UPDATE gatepost_check_lines AS its SET machine = $3, lease = now() + $4 * interval '1 second'
FROM free WHERE its.list = $1 AND its.line = free.line
RETURNING its.line, its.input";

/// Whoever lost the claim stores nothing.
const STORE: &str = "
UPDATE gatepost_check_lines AS its SET document = new.document::json, done = now(), lease = NULL
FROM unnest($3::bigint[], $4::text[]) AS new (line, document)
WHERE its.list = $1 AND its.line = new.line AND its.machine = $2 AND its.done IS NULL
RETURNING its.line";

const RENEW: &str = "
UPDATE gatepost_check_lines SET lease = now() + $4 * interval '1 second'
WHERE list = $1 AND machine = $2 AND line = ANY($3) AND done IS NULL";

const GIVE_BACK: &str = "
UPDATE gatepost_check_lines SET machine = NULL, lease = NULL
WHERE list = $1 AND machine = $2 AND line = ANY($3) AND done IS NULL";

/// Lines put into the table at once.
const LOADED: usize = 5000;
/// Documents fetched at once.
const PAGE: i64 = 100;

/// By what a list is judged: all machines by the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Terms {
    document: String,
    profile: String,
    tier: String,
    pub(super) fail_on: String,
    role: String,
}

impl Terms {
    pub(super) fn of(order: &Order) -> Self {
        Self {
            document: DOCUMENT.to_owned(),
            profile: order.profile.name.to_owned(),
            tier: order.tier.label().to_owned(),
            fail_on: order.fail_on.word().to_owned(),
            role: order.role.map_or("", |it| it.label()).to_owned(),
        }
    }

    /// Documents of one list must be comparable.
    pub(super) fn must_be(&self, kept: &Self) -> Result<(), Failure> {
        if self == kept {
            return Ok(());
        }
        if self.document != kept.document {
            return Err(Failure::usage(format!(
                "this list's documents are {}, those of this gatepost {}: use the same version on all machines",
                kept.document, self.document
            )));
        }
        let role = if kept.role.is_empty() {
            String::new()
        } else {
            format!(" --role {}", kept.role)
        };
        Err(Failure::usage(format!(
            "all machines judge a list by the same: this one wants --profile {} --tier {} --fail-on {}{role}",
            kept.profile, kept.tier, kept.fail_on
        )))
    }
}

/// A list in the database.
pub(super) struct List {
    pub(super) id: i64,
    pub(super) terms: Terms,
    read: i64,
    hash: String,
}

/// A connection.
pub(super) struct Database {
    client: Client,
    place: String,
}

impl Database {
    /// Connects, and makes the tables if there are none.
    pub(super) async fn open(address: &Address) -> Result<Self, Trouble> {
        let mut this = Self::connect(address).await?;
        this.prepare().await?;
        Ok(this)
    }

    /// Connects to where the tables are.
    pub(super) async fn connect(address: &Address) -> Result<Self, Trouble> {
        let tls = Verified(address.roots.clone());
        let connected = address.config.connect(tls).await;
        let (client, connection) =
            connected.map_err(|error| Trouble::of(&error, &address.shown))?;
        // Ends when the client is dropped; what goes wrong is told to who waits for an answer.
        tokio::spawn(connection);
        Ok(Self {
            client,
            place: address.shown.clone(),
        })
    }

    async fn prepare(&mut self) -> Result<(), Trouble> {
        let (place, client) = (&self.place, &mut self.client);
        match prepare(client).await {
            Ok(Some((VERSION, encoding))) if encoding == "UTF8" => Ok(()),
            Ok(Some((VERSION, encoding))) => Err(Trouble::Stands(format!(
                "{place} keeps text as {encoding}, which has no place for all names: create one with ENCODING 'UTF8'"
            ))),
            Ok(Some((version, _))) => Err(Trouble::Stands(format!(
                "{place} has gatepost's tables of version {version}, and this gatepost knows version {VERSION}: use the same version on all machines"
            ))),
            Ok(None) => Err(Trouble::Stands(format!(
                "{place} has a table gatepost_check_schema without a version: it is not gatepost's"
            ))),
            Err(error) => Err(Trouble::of(&error, place)),
        }
    }

    fn trouble(&self) -> impl Fn(Error) -> Trouble + use<> {
        let place = self.place.clone();
        move |error| Trouble::of(&error, &place)
    }

    /// The list of this name.
    pub(super) async fn find(&self, name: &str) -> Result<List, Trouble> {
        let found = find(&self.client, name).await.map_err(self.trouble())?;
        found.ok_or_else(|| {
            Trouble::Usage(format!(
                "{} has no list {name:?}: give it with --list FILE on one machine first",
                self.place
            ))
        })
    }

    /// Puts a list there, all or nothing. If one is there under this name it must be the same.
    pub(super) async fn load(
        &mut self,
        name: &str,
        terms: &Terms,
        lines: &mut mpsc::Receiver<io::Result<String>>,
    ) -> Result<List, Failure> {
        let trouble = self.trouble();
        let failure = |error| Failure::from(trouble(error));
        let work = self.client.transaction().await.map_err(failure)?;
        // Another machine that puts the same list there is waited for by this.
        let id = begin(&work, name, terms).await.map_err(failure)?;
        let mut chain = Chain::default();
        let mut rows: Vec<(i64, String)> = Vec::new();
        while let Some(line) = lines.recv().await {
            let line =
                line.map_err(|error| Failure::local(format!("the list cannot be read: {error}")))?;
            chain.add(&line);
            let Some(id) = id else { continue };
            let number = i64::try_from(chain.count()).unwrap_or(i64::MAX);
            // The database has no place for this octet, and no name has it.
            rows.extend(meant(&line).map(|it| (number, it.replace('\0', "\u{fffd}"))));
            if rows.len() >= LOADED {
                add(&work, id, std::mem::take(&mut rows))
                    .await
                    .map_err(failure)?;
            }
        }
        let read = i64::try_from(chain.count()).unwrap_or(i64::MAX);
        if let Some(id) = id {
            add(&work, id, rows).await.map_err(failure)?;
            let sql = "UPDATE gatepost_check_lists SET read = $2, hash = $3 WHERE id = $1";
            work.execute(sql, &[&id, &read, &chain.to_text()])
                .await
                .map_err(failure)?;
        }
        work.commit().await.map_err(failure)?;
        let list = self.find(name).await?;
        if (list.read, &list.hash) == (read, &chain.to_text()) {
            return Ok(list);
        }
        Err(Failure::usage(format!(
            "{} has another list under the name {name:?}: take another --share-name",
            self.place
        )))
    }

    /// This run is there.
    pub(super) async fn enter(&self, list: i64, machine: &str) -> Result<(), Trouble> {
        let sql =
            "INSERT INTO gatepost_check_machines (list, machine, summary) VALUES ($1, $2, $3)";
        let nothing = text(&Summary::default());
        let done = self.client.execute(sql, &[&list, &machine, &nothing]).await;
        done.map(drop).map_err(self.trouble())
    }

    /// Claims rows. If none is free: whether any is open.
    pub(super) async fn claim(
        &self,
        (list, machine): (i64, &str),
        most: usize,
        lease: Duration,
    ) -> Result<(Vec<Line>, bool), Trouble> {
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let rows = self
            .client
            .query(CLAIM, &[&list, &most, &machine, &lease.as_secs_f64()])
            .await
            .map_err(self.trouble())?;
        let rows = rows.iter().map(|row| {
            let line: i64 = row.get(0);
            (line.unsigned_abs(), row.get(1))
        });
        let rows: Vec<Line> = rows.collect();
        if !rows.is_empty() {
            return Ok((rows, true));
        }
        let sql =
            "SELECT EXISTS (SELECT FROM gatepost_check_lines WHERE list = $1 AND done IS NULL)";
        let open = self.client.query_one(sql, &[&list]).await;
        let open = open.map_err(self.trouble())?;
        Ok((rows, open.get(0)))
    }

    /// Stores documents whose claims are still this machine's, and counts them. Says how many were.
    pub(super) async fn store(
        &mut self,
        (list, machine): (i64, &str),
        done: &[Finished],
    ) -> Result<usize, Trouble> {
        let trouble = self.trouble();
        store(&mut self.client, (list, machine), done)
            .await
            .map_err(trouble)
    }

    /// Renews claims, and says how many machines are there.
    pub(super) async fn renew(
        &self,
        (list, machine): (i64, &str),
        lines: &[u64],
        lease: Duration,
    ) -> Result<u32, Trouble> {
        let (lines, lease) = (numbers(lines), lease.as_secs_f64());
        self.client
            .execute(RENEW, &[&list, &machine, &lines, &lease])
            .await
            .map_err(self.trouble())?;
        let seen =
            "UPDATE gatepost_check_machines SET seen = now() WHERE list = $1 AND machine = $2";
        self.client
            .execute(seen, &[&list, &machine])
            .await
            .map_err(self.trouble())?;
        let count = "SELECT count(*) FROM gatepost_check_machines WHERE list = $1 AND seen > now() - $2 * interval '1 second'";
        let count = self.client.query_one(count, &[&list, &lease]).await;
        let count: i64 = count.map_err(self.trouble())?.get(0);
        Ok(u32::try_from(count).unwrap_or(u32::MAX).max(1))
    }

    /// Gives claims back, and is not there any more.
    pub(super) async fn give_back(
        &self,
        (list, machine): (i64, &str),
        lines: &[u64],
    ) -> Result<(), Trouble> {
        self.client
            .execute(GIVE_BACK, &[&list, &machine, &numbers(lines)])
            .await
            .map_err(self.trouble())?;
        // Who stays takes this machine's part of the rates at once, not when a lease has passed.
        let gone = "UPDATE gatepost_check_machines SET seen = '-infinity' WHERE list = $1 AND machine = $2";
        self.client
            .execute(gone, &[&list, &machine])
            .await
            .map(drop)
            .map_err(self.trouble())
    }

    /// The next documents after a line, in the order of lines.
    pub(super) async fn page(&self, list: i64, after: i64) -> Result<Vec<(i64, String)>, Trouble> {
        let sql = "SELECT line, document::text FROM gatepost_check_lines
            WHERE list = $1 AND line > $2 AND done IS NOT NULL ORDER BY line LIMIT $3";
        let rows = self.client.query(sql, &[&list, &after, &PAGE]).await;
        let rows = rows.map_err(self.trouble())?;
        Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
    }

    /// How many lines are not done, and how many of them are under way.
    pub(super) async fn open_lines(&self, list: i64) -> Result<(i64, i64), Trouble> {
        let sql =
            "SELECT count(*), count(*) FILTER (WHERE lease >= now()) FROM gatepost_check_lines
            WHERE list = $1 AND done IS NULL";
        let row = self.client.query_one(sql, &[&list]).await;
        let row = row.map_err(self.trouble())?;
        Ok((row.get(0), row.get(1)))
    }

    /// The counts of all machines together.
    pub(super) async fn summary(&self, list: i64) -> Result<Summary, Trouble> {
        let sql = "SELECT summary FROM gatepost_check_machines WHERE list = $1";
        let rows = self.client.query(sql, &[&list]).await;
        let mut whole = Summary::default();
        for row in rows.map_err(self.trouble())? {
            whole.merge(&self.counts(row.get(0))?);
        }
        Ok(whole)
    }

    fn counts(&self, text: &str) -> Result<Summary, Trouble> {
        serde_json::from_str(text).map_err(|_| {
            Trouble::Stands(format!(
                "{} has counts that are not gatepost's, or of another version",
                self.place
            ))
        })
    }
}

/// Makes the tables if there are none; their version and the database's encoding.
async fn prepare(client: &mut Client) -> Result<Option<(i32, String)>, Error> {
    // Not to_regclass: it answers from a cache that a lock does not make fresh, and says no to what another machine has just made.
    let exists = "SELECT EXISTS (SELECT FROM pg_catalog.pg_class
        WHERE relname = 'gatepost_check_schema' AND pg_catalog.pg_table_is_visible(oid))";
    if !client.query_one(exists, &[]).await?.get::<_, bool>(0) {
        let work = client.transaction().await?;
        work.execute("SELECT pg_advisory_xact_lock($1)", &[&LOCK])
            .await?;
        if !work.query_one(exists, &[]).await?.get::<_, bool>(0) {
            work.batch_execute(TABLES).await?;
        }
        work.commit().await?;
    }
    let sql = "SELECT version, current_setting('server_encoding') FROM gatepost_check_schema";
    let row = client.query_opt(sql, &[]).await?;
    Ok(row.map(|row| (row.get(0), row.get(1))))
}

async fn find(client: &Client, name: &str) -> Result<Option<List>, Error> {
    let sql = "SELECT id, read, hash, document, profile, tier, fail_on, role FROM gatepost_check_lists WHERE name = $1";
    let row = client.query_opt(sql, &[&name]).await?;
    Ok(row.map(|row| List {
        id: row.get(0),
        read: row.get(1),
        hash: row.get(2),
        terms: Terms {
            document: row.get(3),
            profile: row.get(4),
            tier: row.get(5),
            fail_on: row.get(6),
            role: row.get(7),
        },
    }))
}

/// A row for a new list; None when there is one of this name.
async fn begin(work: &Transaction<'_>, name: &str, terms: &Terms) -> Result<Option<i64>, Error> {
    let sql = "INSERT INTO gatepost_check_lists (name, document, profile, tier, fail_on, role)
        VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (name) DO NOTHING RETURNING id";
    let Terms {
        document,
        profile,
        tier,
        fail_on,
        role,
    } = terms;
    let row = work
        .query_opt(sql, &[&name, document, profile, tier, fail_on, role])
        .await?;
    Ok(row.map(|it| it.get(0)))
}

async fn add(work: &Transaction<'_>, list: i64, rows: Vec<(i64, String)>) -> Result<(), Error> {
    let (lines, inputs): (Vec<i64>, Vec<String>) = rows.into_iter().unzip();
    let sql = "INSERT INTO gatepost_check_lines (list, line, input)
        SELECT $1, line, input FROM unnest($2::bigint[], $3::text[]) AS new (line, input)";
    work.execute(sql, &[&list, &lines, &inputs]).await.map(drop)
}

async fn store(
    client: &mut Client,
    (list, machine): (i64, &str),
    done: &[Finished],
) -> Result<usize, Error> {
    let lines: Vec<u64> = done.iter().map(|it| it.line).collect();
    let documents: Vec<String> = done.iter().map(|it| it.document.to_string()).collect();
    let work = client.transaction().await?;
    let stored = work
        .query(STORE, &[&list, &machine, &numbers(&lines), &documents])
        .await?;
    let stored: Vec<i64> = stored.iter().map(|row| row.get(0)).collect();
    // Read back each time: nobody knows what became of a commit whose answer was lost.
    let sql =
        "SELECT summary FROM gatepost_check_machines WHERE list = $1 AND machine = $2 FOR UPDATE";
    let kept: String = work.query_one(sql, &[&list, &machine]).await?.get(0);
    let mut counts: Summary = serde_json::from_str(&kept).unwrap_or_default();
    for it in done {
        if stored.iter().any(|line| line.unsigned_abs() == it.line) {
            counts.merge(&it.summary);
        }
    }
    let sql = "UPDATE gatepost_check_machines SET summary = $3, seen = now() WHERE list = $1 AND machine = $2";
    work.execute(sql, &[&list, &machine, &text(&counts)])
        .await?;
    work.commit().await?;
    Ok(stored.len())
}

fn text(summary: &Summary) -> String {
    serde_json::to_string(summary).unwrap_or_default()
}

fn numbers(lines: &[u64]) -> Vec<i64> {
    let number = |it: &u64| i64::try_from(*it).unwrap_or(i64::MAX);
    lines.iter().map(number).collect()
}
