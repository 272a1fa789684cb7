//! Mail from and to a running IMAP server, over verified TLS or not at all: connection, verification and login are those of every
//! client verb.
//!
//! A run is a machine of its own behind [`Steps`]; the loop here connects it with the session. Nothing is removed from a server.

mod export;
mod import;

use clap::ArgMatches;
use gatepost_wire::imap::ask::InternalDate;
use gatepost_wire::imap::client::{Answer, Ask, Client, Command, Data, Listed, Portion, Status};

pub(crate) use export::run as run_export;
pub(crate) use import::run as run_import;

use crate::client::reach::{self, Open};
use crate::client::settings::Settings;
use crate::client::trouble::Trouble;
use crate::client::url::{Host, Protocol, Url};
use crate::client::{date, login};
use crate::exit::Failure;

/// Whether a source or target is a server.
pub(crate) fn is_url(text: &str) -> bool {
    text.contains("://")
}

/// What a run does, once it is logged in.
trait Steps {
    /// The first command.
    fn begin(&mut self) -> Answer;
    /// Data from the server.
    fn take(&mut self, data: Data) -> Result<(), Trouble>;
    /// A block of a message.
    fn write(&mut self, portion: &Portion) -> Result<(), Trouble>;
    /// The message to append.
    fn content(&mut self) -> Vec<u8>;
    /// A command is over: what next?
    fn done(&mut self, status: &Status) -> Result<Answer, Trouble>;
}

/// Where to go, and how.
struct Way {
    settings: Settings,
    url: Url,
    user: String,
}

impl Way {
    fn read(given: &ArgMatches, text: &str) -> Result<Self, Failure> {
        let settings = Settings::read(given)?;
        let url = Url::parse(text).map_err(Failure::usage)?;
        if url.protocol != Protocol::Imap {
            return Err(Failure::usage(format!(
                "mailboxes come and go by IMAP; write a URL such as imaps://{}",
                url.host
            )));
        }
        settings.refuse_hopeless_login(&url)?;
        let user = settings.user.clone().or_else(|| url.user.clone());
        Ok(Self {
            settings,
            url,
            user: user.unwrap_or_default(),
        })
    }

    /// The server's name, and whose mailboxes they are there.
    fn place(&self) -> String {
        let host = match &self.url.host {
            Host::Name(name) => name.clone(),
            Host::Ip(address) => address.to_string(),
        };
        format!("{}@{host}", self.user)
    }

    /// Connects, logs in and runs to the end.
    fn run(&self, steps: &mut impl Steps, schema: &str) -> Result<(), Failure> {
        reach::block_on(async {
            let mut open: Open<Client> = reach::open(&self.settings, &self.url, "", schema).await?;
            let outcome = self.talk(&mut open, steps).await;
            outcome.map_err(|trouble| trouble.into_failure(&open.place))
        })
    }

    async fn talk(&self, open: &mut Open<Client>, steps: &mut impl Steps) -> Result<(), Trouble> {
        loop {
            let asked = open.session.next().await;
            let Some(ask) = asked.map_err(|failure| Trouble::of(&failure))? else {
                return Ok(());
            };
            let answer = match ask {
                Ask::Ready {
                    capabilities,
                    logged_in,
                } => {
                    open.warn(capabilities.has("STARTTLS"));
                    if logged_in {
                        steps.begin()
                    } else {
                        match login::credentials(&self.settings, &self.url, open)? {
                            Some(credentials) => Answer::Login(Box::new(credentials)),
                            None => return Err(Trouble::needs_user()),
                        }
                    }
                }
                Ask::LoggedIn(_) => steps.begin(),
                Ask::LoginFailed(failure) => return Err(Trouble::of_session(&failure)),
                Ask::Data(data) => {
                    steps.take(*data)?;
                    Answer::Wait
                }
                Ask::Portion(portion) => {
                    steps.write(&portion)?;
                    Answer::Wait
                }
                Ask::Content => Answer::Content(steps.content()),
                Ask::Done(status) => steps.done(&status)?,
                Ask::Idling | Ask::Idle | Ask::Continue(_) => Answer::Quit,
            };
            open.session.answer(answer);
        }
    }
}

fn list_all() -> Answer {
    Answer::Command(Command::List {
        pattern: "*".to_owned(),
    })
}

/// Whether a listed mailbox holds messages.
fn holds_messages(listed: &Listed) -> bool {
    !listed.attributes.iter().any(|attribute| {
        attribute.eq_ignore_ascii_case("\\Noselect")
            || attribute.eq_ignore_ascii_case("\\NonExistent")
    })
}

/// Reads IMAP's date-time with its zone.
fn read_date(text: &str) -> Option<InternalDate> {
    let time = date::from_imap(text)?;
    let zone = text.rsplit(' ').next()?;
    let digits: i16 = zone.get(1..)?.parse().ok()?;
    let minutes = digits / 100 * 60 + digits % 100;
    Some(InternalDate {
        offset_minutes: if zone.starts_with('-') {
            -minutes
        } else {
            minutes
        },
        ..super::letter::internal_date(time)
    })
}

/// IMAP's date-time (RFC 9051 9, `date-time`).
fn write_date(date: InternalDate) -> String {
    let local = date.unix + i64::from(date.offset_minutes) * 60;
    let (days, second) = (local.div_euclid(86_400), local.rem_euclid(86_400));
    let (year, month, day) = gatepost_wire::calendar::civil(days);
    let sign = if date.offset_minutes < 0 { '-' } else { '+' };
    let offset = date.offset_minutes.unsigned_abs();
    format!(
        "{day:02}-{}-{year:04} {:02}:{:02}:{:02} {sign}{:02}{:02}",
        date::month_name(month),
        second / 3600,
        second / 60 % 60,
        second % 60,
        offset / 60,
        offset % 60
    )
}

/// A set of UIDs in as few words as it takes; the numbers must be sorted.
fn set(uids: &[u32]) -> String {
    let mut words = String::new();
    let mut rest = uids;
    while let Some((first, mut after)) = rest.split_first() {
        let mut last = *first;
        while let Some((next, more)) = after.split_first()
            && last.checked_add(1) == Some(*next)
        {
            last = *next;
            after = more;
        }
        if !words.is_empty() {
            words.push(',');
        }
        words.push_str(&first.to_string());
        if last != *first {
            words.push_str(&format!(":{last}"));
        }
        rest = after;
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_come_back_with_their_zone() {
        for text in [
            "26-Nov-2026 13:05:07 +0100",
            "01-Jan-2000 00:30:00 -0930",
            "09-Sep-2001 01:46:40 +0000",
        ] {
            assert_eq!(write_date(read_date(text).unwrap()), text);
        }
        assert_eq!(read_date("yesterday"), None);
        assert_eq!(read_date("26-Nov-2026 13:05:07 +é"), None);
    }

    #[test]
    fn sets_are_short() {
        assert_eq!(set(&[1, 2, 3, 7, 9, 10]), "1:3,7,9:10");
        assert_eq!(set(&[u32::MAX - 1, u32::MAX]), "4294967294:4294967295");
    }
}
