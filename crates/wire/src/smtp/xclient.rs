//! XCLIENT, received: a server in front says who the client is (Postfix `XCLIENT_README`) [XCL-02].
//!
//! Who may say so is the configuration's to decide; the words of others are no command. LOGIN is not among the attributes taken: who
//! logs in does it here. The other way round, XCLIENT said to an upstream, is in [`super::relay`].

use std::net::IpAddr;

use super::command::Syntax;

/// What EHLO lists.
pub(super) const KEYWORD: &str = "XCLIENT NAME ADDR PORT PROTO HELO DESTADDR DESTPORT";
/// The longest value, decoded: that of a name (RFC 1035 2.3.4).
const LONGEST: usize = 255;

/// Who the client is. Several commands in a row complete each other; what is not known is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Introduced {
    /// The client's address.
    pub address: Option<IpAddr>,
    /// Its port.
    pub port: Option<u16>,
    /// The address it connected to.
    pub local_address: Option<IpAddr>,
    /// The port it connected to.
    pub local_port: Option<u16>,
}

impl Introduced {
    /// The same with what this command says.
    pub(super) fn with(mut self, argument: &str) -> Result<Self, Syntax> {
        let mut seen: Vec<String> = Vec::new();
        for word in argument.split(' ') {
            let (name, value) = word.split_once('=').ok_or(Syntax::BadArgument)?;
            let name = name.to_ascii_uppercase();
            if seen.contains(&name) {
                return Err(Syntax::BadArgument);
            }
            self.attribute(&name, known(value)?.as_deref())?;
            seen.push(name);
        }
        Ok(self)
    }

    fn attribute(&mut self, name: &str, value: Option<&str>) -> Result<(), Syntax> {
        match name {
            "ADDR" => self.address = value.map(address).transpose()?,
            "DESTADDR" => self.local_address = value.map(address).transpose()?,
            "PORT" => self.port = value.map(port).transpose()?,
            "DESTPORT" => self.local_port = value.map(port).transpose()?,
            "PROTO" if value.is_none_or(|it| ["SMTP", "ESMTP"].contains(&it)) => {}
            // A name that somebody's DNS gave says nothing here, and EHLO comes anew.
            "NAME" | "HELO" => {}
            _ => return Err(Syntax::BadArgument),
        }
        Ok(())
    }
}

/// The value without its coding; none when it is not known.
fn known(value: &str) -> Result<Option<String>, Syntax> {
    if ["[UNAVAILABLE]", "[TEMPUNAVAIL]"].contains(&value.to_ascii_uppercase().as_str()) {
        return Ok(None);
    }
    let value = decoded(value).ok_or(Syntax::BadArgument)?;
    let fits = !value.is_empty() && value.len() <= LONGEST && !value.chars().any(char::is_control);
    fits.then_some(Some(value)).ok_or(Syntax::BadArgument)
}

/// RFC 1891 5: `+` and two hexadecimal digits are one octet.
fn decoded(value: &str) -> Option<String> {
    let mut octets = value.bytes();
    let mut text = Vec::with_capacity(value.len());
    while let Some(octet) = octets.next() {
        text.push(match octet {
            b'+' => {
                let mut digit = || char::from(octets.next()?).to_digit(16);
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            _ => octet,
        });
    }
    String::from_utf8(text).ok()
}

/// `192.0.2.1`, or `IPV6:2001:db8::1`. An IPv4 address in IPv6 clothes is an IPv4 address.
fn address(text: &str) -> Result<IpAddr, Syntax> {
    let six = text.get(..5).filter(|it| it.eq_ignore_ascii_case("IPV6:"));
    let parsed = match six {
        Some(_) => text
            .get(5..)
            .and_then(|it| it.parse().ok())
            .map(|it| IpAddr::V6(it).to_canonical()),
        None => text.parse().ok().map(IpAddr::V4),
    };
    parsed.ok_or(Syntax::BadArgument)
}

fn port(text: &str) -> Result<u16, Syntax> {
    let digits = text.bytes().all(|it| it.is_ascii_digit());
    let number = text.parse().ok().filter(|_| digits);
    number.ok_or(Syntax::BadArgument)
}

#[cfg(test)]
mod tests {
    use super::super::client::Capabilities;
    use super::super::relay::{Introduction, introduce};
    use super::*;

    fn read(argument: &str) -> Result<Introduced, Syntax> {
        Introduced::default().with(argument)
    }

    // [XCL-02]
    #[test]
    fn what_is_said_is_understood_and_nothing_else_is() {
        let all = read(
            "NAME=c.example ADDR=192.0.2.7 PORT=4711 PROTO=ESMTP HELO=x+20y DESTADDR=IPV6:2001:db8::1 DESTPORT=25",
        );
        let expected = Introduced {
            address: Some([192, 0, 2, 7].into()),
            port: Some(4711),
            local_address: Some("2001:db8::1".parse().unwrap()),
            local_port: Some(25),
        };
        assert_eq!(all, Ok(expected));
        let mapped = read("ADDR=ipv6:::ffff:192.0.2.7").map(|it| it.address);
        assert_eq!(mapped, Ok(Some([192, 0, 2, 7].into())));
        // Commands complete each other, and what is not known any more is none.
        let more = expected.with("addr=[UNAVAILABLE] port=[TempUnavail]");
        assert_eq!(
            more.map(|it| (it.address, it.port, it.local_port)),
            Ok((None, None, Some(25)))
        );
        for bad in [
            "ADDR",
            "ADDR=",
            "=x",
            "ADDR=192.0.2.7 ",
            "ADDR=192.0.2",
            "ADDR=2001:db8::1",
            "ADDR=IPV6:192.0.2.7",
            "ADDR=IPV6",
            "ADDR=192.0.2.7 ADDR=192.0.2.8",
            "PORT=+2B1",
            "PORT=65536",
            "PORT=-1",
            "PROTO=LMTP",
            "LOGIN=root",
            "X=y",
            "NAME=+0",
            "NAME=+0A",
            "NAME=+GG",
            "NAME=+C3",
            "ADDR=192.0.2.7  PORT=1",
        ] {
            assert_eq!(read(bad), Err(Syntax::BadArgument), "{bad}");
        }
        assert_eq!(
            read(&format!("HELO={}", "h".repeat(256))),
            Err(Syntax::BadArgument)
        );
    }

    // [XCL-01] [XCL-02] what a gate of ours says, one of ours understands.
    #[test]
    fn our_own_words_are_understood() {
        let mut capabilities = Capabilities::default();
        capabilities.keywords.push(KEYWORD.as_bytes().to_vec());
        let who = Introduction {
            address: "2001:db8::7".parse().unwrap(),
            port: 4711,
            destination: Some(([198, 51, 100, 1].into(), 587)),
            helo: Some("h\u{e9} ADDR=192.0.2.1\r\n".into()),
            extended: true,
            login: Some("anna".into()),
        };
        let lines = introduce(&who, &capabilities);
        let words: Vec<&str> = lines
            .iter()
            .map(|it| it.strip_prefix("XCLIENT ").unwrap())
            .collect();
        // A line end in a name is none of a client's: it would have been refused in front.
        assert!(words.iter().any(|it| read(it).is_err()));
        let lines = introduce(&Introduction { helo: None, ..who }, &capabilities);
        let read = lines.iter().fold(Introduced::default(), |it, line| {
            it.with(line.strip_prefix("XCLIENT ").unwrap()).unwrap()
        });
        assert_eq!(read.address, Some("2001:db8::7".parse().unwrap()));
        assert_eq!((read.port, read.local_port), (Some(4711), Some(587)));
        assert_eq!(read.local_address, Some([198, 51, 100, 1].into()));
    }
}
