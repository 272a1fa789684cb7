//! ENVELOPE (RFC 9051 7.5.2).

use imap_types::core::{IString, NString};
use imap_types::envelope::{Address, Envelope};

use super::address::{ADDRESSES_LIMIT, Entry, parse};
use super::field::{fields, first};

/// Makes the envelope of a header.
pub fn envelope(header: &[u8]) -> Envelope<'static> {
    let from = addresses(header, "From");
    // A missing or empty Sender or Reply-To is shown as From is (RFC 9051 7.5.2).
    let or_from = |found: Vec<Address<'static>>| {
        if found.is_empty() {
            from.clone()
        } else {
            found
        }
    };
    Envelope {
        date: text(header, "Date"),
        subject: text(header, "Subject"),
        sender: or_from(addresses(header, "Sender")),
        reply_to: or_from(addresses(header, "Reply-To")),
        to: addresses(header, "To"),
        cc: addresses(header, "Cc"),
        bcc: addresses(header, "Bcc"),
        in_reply_to: text(header, "In-Reply-To"),
        message_id: text(header, "Message-ID"),
        from,
    }
}

/// A string IMAP can carry; CR, LF and NUL, which it cannot, are left out.
pub fn string(text: &[u8]) -> IString<'static> {
    let clean: Vec<u8> = text
        .iter()
        .copied()
        .filter(|byte| !matches!(byte, 0 | b'\r' | b'\n'))
        .collect();
    IString::try_from(clean).unwrap_or_else(|_| nothing())
}

/// NIL, or a string.
pub fn optional(text: Option<&[u8]>) -> NString<'static> {
    NString(text.map(string))
}

fn nothing() -> IString<'static> {
    IString::Quoted(imap_types::core::Quoted::unvalidated(""))
}

fn text(header: &[u8], name: &str) -> NString<'static> {
    optional(first(header, name).map(|field| field.unfolded()).as_deref())
}

/// The addresses of all fields of that name, one after the other.
fn addresses(header: &[u8], name: &str) -> Vec<Address<'static>> {
    let named = fields(header).filter(|field| field.is(name));
    named
        .flat_map(|field| parse(&field.unfolded()))
        .take(ADDRESSES_LIMIT)
        .map(|entry| address(&entry))
        .collect()
}

fn address(entry: &Entry) -> Address<'static> {
    let [name, adl, mailbox, host] = match entry {
        Entry::Mailbox {
            name,
            route,
            local,
            domain,
        } => [
            name.as_deref(),
            route.as_deref(),
            Some(local.as_slice()),
            Some(domain.as_slice()),
        ],
        Entry::Group(name) => [None, None, Some(name.as_slice()), None],
        Entry::GroupEnd => [None; 4],
    }
    .map(optional);
    Address {
        name,
        adl,
        mailbox,
        host,
    }
}
