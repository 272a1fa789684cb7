//! Who is answered at all: a request to this machine by its own name, and with mail in the answer only with the token.

use std::net::{IpAddr, SocketAddr};

use hyper::StatusCode;
use hyper::header::{AUTHORIZATION, HOST, HeaderMap, HeaderValue};

use super::Token;

/// A request for another host (RFC 9110 15.5.20): a name in somebody's DNS may point to this machine, and a page there could then
/// read what a browser here gets.
pub(super) fn host(headers: &HeaderMap, address: SocketAddr) -> Result<(), StatusCode> {
    let mut hosts = headers.get_all(HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else {
        return Err(StatusCode::BAD_REQUEST);
    };
    let host = host.to_str().unwrap_or_default();
    let (name, port) = host.rsplit_once(':').unwrap_or((host, "80"));
    let name = name.trim_start_matches('[').trim_end_matches(']');
    let loopback = name.parse::<IpAddr>().is_ok_and(|it| it.is_loopback());
    let ours = loopback || name.eq_ignore_ascii_case("localhost");
    if ours && port.parse() == Ok(address.port()) {
        Ok(())
    } else {
        Err(StatusCode::MISDIRECTED_REQUEST)
    }
}

/// The token (RFC 6750 2.1).
pub(super) fn bearer(headers: &HeaderMap, token: &Token) -> Result<(), StatusCode> {
    let said = headers.get(AUTHORIZATION).map(HeaderValue::as_bytes);
    let said = said.and_then(|it| it.strip_prefix(b"Bearer "));
    if said.is_some_and(|said| token.is(said)) {
        Ok(())
    } else {
        Err(StatusCode::UNAUTHORIZED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: &hyper::header::HeaderName, values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn only_this_machine_by_its_own_name() {
        let address = "127.0.0.1:8025".parse().unwrap();
        for good in [
            "127.0.0.1:8025",
            "localhost:8025",
            "LOCALHOST:8025",
            "[::1]:8025",
            "127.0.0.2:8025",
        ] {
            assert_eq!(host(&with(&HOST, &[good]), address), Ok(()), "{good}");
        }
        for bad in [
            "evil.example:8025",
            "127.0.0.1",
            "127.0.0.1:80",
            "localhost.evil.example:8025",
            "localhost:",
            "192.0.2.1:8025",
            "",
        ] {
            let refused = host(&with(&HOST, &[bad]), address);
            assert_eq!(refused, Err(StatusCode::MISDIRECTED_REQUEST), "{bad}");
        }
        assert!(host(&HeaderMap::new(), address).is_err());
        assert!(host(&with(&HOST, &["localhost:8025", "localhost:8025"]), address).is_err());
    }

    #[test]
    fn only_with_the_token() {
        let folder = tempfile::tempdir().unwrap();
        let token = Token::ensure(folder.path()).unwrap();
        let good = format!("Bearer {}", token.expose());
        assert_eq!(bearer(&with(&AUTHORIZATION, &[&good]), &token), Ok(()));
        let (short, basic) = (&good[..good.len() - 1], format!("Basic {}", token.expose()));
        for bad in ["", "Bearer ", short, &basic] {
            assert!(
                bearer(&with(&AUTHORIZATION, &[bad]), &token).is_err(),
                "{bad}"
            );
        }
        assert!(bearer(&HeaderMap::new(), &token).is_err());
    }
}
