//! What a domain says of itself: SPF records (RFC 7208), and the file for mail programs.

use gatepost_audit::check::domain::{autoconfig, spf};

use crate::Target;
use crate::behaviour;

/// The domain whose records they are.
const DOMAIN: &str = "example.org";

/// A record of SPF.
pub const SPF: Target = Target {
    name: "spf",
    run: record,
    seeds: || {
        let records = [
            "v=spf1 -all",
            "v=spf1 ip4:192.0.2.0/24 ip6:2001:db8::/32 a mx/24//64 include:_spf.example.net ~all",
            "v=spf1 exists:%{i}._spf.%{d2} ptr:example.org redirect=_spf.example.com exp=why.%{d}",
            "V=SPF1 +a:mail.example.org/24 ?mx:example.net//64",
        ];
        records.map(|it| it.as_bytes().to_vec()).into()
    },
    words: &[
        "v=spf1 ",
        " include:",
        " redirect=",
        " a:",
        " mx/",
        "//64",
        "%{i}",
        " ip4:",
        " ip6:",
        "-all",
        " exists:",
        " ptr",
        " ~",
    ],
};

/// The file for mail programs.
pub const AUTOCONFIG: Target = Target {
    name: "autoconfig",
    run: file,
    seeds: || vec![FILE.as_bytes().to_vec(), b"<clientConfig/>".to_vec()],
    words: &[
        "<clientConfig>",
        "<incomingServer type=\"imap\">",
        "</incomingServer>",
        "<hostname>",
        "%EMAILDOMAIN%",
        "<port>993</port>",
        "<socketType>SSL</socketType>",
        "<!DOCTYPE x [",
        "<!ENTITY a \"b\">",
        "<![CDATA[",
        "&#x41;",
        "xmlns:a=\"b\" ",
    ],
};

const FILE: &str = "<?xml version=\"1.0\"?>\n<clientConfig version=\"1.1\"><emailProvider id=\"example.org\"><domain>example.org</domain>\
    <incomingServer type=\"imap\"><hostname>imap.%EMAILDOMAIN%</hostname><port>993</port><socketType>SSL</socketType></incomingServer>\
    <incomingServer type=\"pop3\"><hostname>pop.example.org</hostname><port>110</port><socketType>plain</socketType></incomingServer>\
    <outgoingServer type=\"smtp\"><hostname>smtp.example.org</hostname><port>587</port><socketType>STARTTLS</socketType></outgoingServer>\
    </emailProvider></clientConfig>";

/// Reads a record.
///
/// # Panics
/// When what was read was not said.
pub fn record(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let is_record = spf::is_record(&text);
    match spf::read(&text, DOMAIN) {
        Ok(record) => {
            behaviour::note((is_record, record.terms.len(), record.all, record.redirects));
            for term in record.terms {
                assert!(text.contains(&term.text), "a term that was not said");
                assert!(
                    term.name.is_none_or(|it| !it.is_empty()),
                    "a question without a name"
                );
            }
        }
        Err(term) => {
            behaviour::note(is_record);
            assert!(
                !term.is_empty() && text.contains(&term),
                "the wrong term was not said"
            );
        }
    }
}

/// Reads a file.
///
/// # Panics
/// When a server was read that cannot be asked.
pub fn file(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let servers = autoconfig::read(&text, DOMAIN);
    behaviour::note(servers.as_ref().map(Vec::len));
    for server in servers.into_iter().flatten() {
        behaviour::note((server.port, std::mem::discriminant(&server.protocol)));
        assert!(server.port > 0 && !server.host.is_empty(), "{server:?}");
        assert!(
            server.host.bytes().all(|it| it.is_ascii_graphic()),
            "{server:?}"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seeds_are_read_as_what_they_are() {
        for seed in (SPF.seeds)() {
            let text = String::from_utf8(seed).unwrap();
            assert!(
                spf::is_record(&text) && spf::read(&text, DOMAIN).is_ok(),
                "{text}"
            );
        }
        assert_eq!(autoconfig::read(FILE, DOMAIN).unwrap().len(), 3);
    }
}
