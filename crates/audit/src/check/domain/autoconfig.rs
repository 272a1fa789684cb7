//! The file in which a domain describes its servers for mail programs (`config-v1.1.xml`), read as an auditor reads it: also what a
//! careful client passes over, such as servers without TLS.

use roxmltree::{Document, Node};

use super::super::target::{Protocol, Start};

/// The places to look, in order, by HTTPS only.
#[must_use]
pub fn places(domain: &str) -> [(String, &'static str); 2] {
    [
        (format!("autoconfig.{domain}"), "/mail/config-v1.1.xml"),
        (
            domain.to_owned(),
            "/.well-known/autoconfig/mail/config-v1.1.xml",
        ),
    ]
}

/// A server that is described.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// What it speaks.
    pub protocol: Protocol,
    /// The host.
    pub host: String,
    /// The port.
    pub port: u16,
    /// How TLS begins; none where the file says `plain`.
    pub start: Option<Start>,
}

/// The servers a file describes, in its order; none when it is no such file. Placeholders are filled for the domain.
#[must_use]
pub fn read(xml: &str, domain: &str) -> Option<Vec<Described>> {
    // Document types are refused by the parser: no entity can grow or name a file.
    let document = Document::parse(xml).ok()?;
    let root = document.root_element();
    if root.tag_name().name() != "clientConfig" {
        return None;
    }
    let servers = root
        .descendants()
        .filter(|node| matches!(node.tag_name().name(), "incomingServer" | "outgoingServer"));
    Some(servers.filter_map(|node| server(&node, domain)).collect())
}

fn server(node: &Node<'_, '_>, domain: &str) -> Option<Described> {
    let protocol = match node.attribute("type")? {
        "smtp" => Protocol::Smtp,
        "imap" => Protocol::Imap,
        "pop3" => Protocol::Pop3,
        _ => return None,
    };
    let start = match child(node, "socketType")?.as_str() {
        "SSL" => Some(Start::Implicit),
        "STARTTLS" => Some(Start::StartTls),
        _ => None,
    };
    let host = child(node, "hostname")?.replace("%EMAILDOMAIN%", domain);
    let good = |octet: u8| octet.is_ascii_alphanumeric() || b"-._".contains(&octet);
    (!host.is_empty() && host.bytes().all(good)).then_some(())?;
    let port = child(node, "port")?.parse().ok().filter(|port| *port > 0)?;
    Some(Described {
        protocol,
        host: host.to_ascii_lowercase(),
        port,
        start,
    })
}

fn child(node: &Node<'_, '_>, name: &str) -> Option<String> {
    let child = node.children().find(|child| child.has_tag_name(name))?;
    child.text().map(|text| text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_would_pass_over_is_seen() {
        let file = |servers: &str| {
            format!(
                "<clientConfig version=\"1.1\"><emailProvider id=\"e\">{servers}</emailProvider></clientConfig>"
            )
        };
        let entry = |port: &str, socket: &str| {
            format!(
                "<incomingServer type=\"imap\"><hostname>IMAP.%EMAILDOMAIN%</hostname><port>{port}</port><socketType>{socket}</socketType></incomingServer>"
            )
        };
        let found = read(
            &file(
                &[
                    entry("993", "SSL"),
                    entry("143", "plain"),
                    entry("0", "SSL"),
                ]
                .concat(),
            ),
            "e.test",
        )
        .unwrap();
        let seen: Vec<(u16, Option<Start>)> = found.iter().map(|it| (it.port, it.start)).collect();
        assert_eq!(seen, [(993, Some(Start::Implicit)), (143, None)]);
        assert_eq!(found.first().unwrap().host, "imap.e.test");
        assert_eq!(read("<html/>", "e.test"), None);
        let bomb = "<!DOCTYPE x [<!ENTITY a \"a\">]><clientConfig>&a;</clientConfig>";
        assert_eq!(read(bomb, "e.test"), None);
    }
}
