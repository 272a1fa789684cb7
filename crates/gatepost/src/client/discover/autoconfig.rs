//! The file in which a provider describes its servers for mail programs (`config-v1.1.xml`), read strictly where it matters:
//! a server without TLS is no server [AUTOC-03], a host is what a host may be, and unknown elements are passed over.
//!
//! Where it is looked for, in this order, by HTTPS only: `autoconfig.DOMAIN`, then `.well-known/autoconfig` of the domain itself. The
//! address itself is not sent along: the answer must not depend on it, and the provider of a domain need not be who serves the file.

use roxmltree::{Document, Node};

use super::super::url::{Host, Protocol};
use super::Candidate;

/// The places to look, in order [AUTOC-03].
pub(crate) fn places(domain: &str) -> [(String, &'static str); 2] {
    [
        (format!("autoconfig.{domain}"), "/mail/config-v1.1.xml"),
        (
            domain.to_owned(),
            "/.well-known/autoconfig/mail/config-v1.1.xml",
        ),
    ]
}

/// The file is not what it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unreadable;

/// The servers a file names for an address, best first: implicit TLS before STARTTLS, otherwise in the file's order.
pub(crate) fn read(xml: &str, address: &str) -> Result<Vec<Candidate>, Unreadable> {
    // Document types are refused by the parser: no entity can grow or name a file.
    let document = Document::parse(xml).map_err(|_| Unreadable)?;
    let root = document.root_element();
    if root.tag_name().name() != "clientConfig" {
        return Err(Unreadable);
    }
    let mut found: Vec<Candidate> = root
        .descendants()
        .filter(|node| {
            let name = node.tag_name().name();
            name == "incomingServer" || name == "outgoingServer"
        })
        .filter_map(|node| server(&node, address))
        .collect();
    found.sort_by_key(|candidate| !candidate.implicit);
    Ok(found)
}

fn server(node: &Node<'_, '_>, address: &str) -> Option<Candidate> {
    let protocol = match node.attribute("type")? {
        "smtp" => Protocol::Submission,
        "imap" => Protocol::Imap,
        "pop3" => Protocol::Pop3,
        _ => return None,
    };
    let implicit = match child(node, "socketType")?.as_str() {
        "SSL" => true,
        "STARTTLS" => false,
        // [SRV-02] in spirit: whatever its place in the file, it is below the least that is good enough.
        _ => return None,
    };
    let host = fill(&child(node, "hostname")?, address);
    let Ok(Host::Name(host)) = Host::parse(&host) else {
        return None;
    };
    let port = child(node, "port")?.parse().ok().filter(|port| *port > 0)?;
    let user = child(node, "username").map(|name| fill(&name, address));
    let user = user.filter(|user| !user.is_empty() && !user.chars().any(char::is_control));
    Some(Candidate {
        protocol,
        implicit,
        host,
        port,
        user,
    })
}

fn child(node: &Node<'_, '_>, name: &str) -> Option<String> {
    let child = node.children().find(|child| child.has_tag_name(name))?;
    child.text().map(|text| text.trim().to_owned())
}

fn fill(text: &str, address: &str) -> String {
    let (local, domain) = address.rsplit_once('@').unwrap_or((address, ""));
    text.replace("%EMAILADDRESS%", address)
        .replace("%EMAILLOCALPART%", local)
        .replace("%EMAILDOMAIN%", domain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(servers: &str) -> String {
        format!(
            "<?xml version=\"1.0\"?><clientConfig version=\"1.1\"><emailProvider id=\"e\"><domain>e.test</domain>{servers}</emailProvider></clientConfig>"
        )
    }

    fn entry(kind: &str, host: &str, port: &str, socket: &str) -> String {
        let tag = if kind == "smtp" {
            "outgoingServer"
        } else {
            "incomingServer"
        };
        format!(
            "<{tag} type=\"{kind}\"><hostname>{host}</hostname><port>{port}</port><socketType>{socket}</socketType><new>x</new>\
             <username>%EMAILADDRESS%</username></{tag}>"
        )
    }

    #[test]
    fn implicit_tls_comes_first_and_clear_text_not_at_all() {
        // [AUTOC-03]
        let xml = file(
            &[
                entry("imap", "imap.e.test", "143", "plain"),
                entry("imap", "imap.e.test", "143", "STARTTLS"),
                entry("imap", "imap.%EMAILDOMAIN%", " 993 ", "SSL"),
                entry("smtp", "out.e.test", "465", "SSL"),
                entry("exchange", "ex.e.test", "443", "SSL"),
            ]
            .concat(),
        );
        let found = read(&xml, "anna@e.test").unwrap();
        let ports: Vec<(Protocol, u16, bool)> = found
            .iter()
            .map(|it| (it.protocol, it.port, it.implicit))
            .collect();
        assert_eq!(
            ports,
            [
                (Protocol::Imap, 993, true),
                (Protocol::Submission, 465, true),
                (Protocol::Imap, 143, false)
            ]
        );
        assert_eq!(found[0].host, "imap.e.test");
        assert_eq!(found[0].user.as_deref(), Some("anna@e.test"));
    }

    #[test]
    fn what_is_no_host_or_port_is_no_server() {
        for (host, port) in [
            ("a b", "993"),
            ("x\n", "0"),
            ("127.0.0.1", "993"),
            ("h.test", "70000"),
            ("%EMAILADDRESS%", "993"),
        ] {
            let found = read(&file(&entry("imap", host, port, "SSL")), "anna@e.test").unwrap();
            assert!(found.is_empty(), "{host} {port}");
        }
    }

    #[test]
    fn no_entities_and_no_other_documents() {
        assert_eq!(read("<html></html>", "a@e.test"), Err(Unreadable));
        assert_eq!(read("<clientConfig><a>", "a@e.test"), Err(Unreadable));
        let bomb = "<!DOCTYPE x [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;\">]><clientConfig>&b;</clientConfig>";
        assert_eq!(read(bomb, "a@e.test"), Err(Unreadable));
    }
}
