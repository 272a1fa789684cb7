//! Counters, and the page that shows them (OpenMetrics text, `GET /metrics`).
//!
//! Labels come from fixed sets only (services, reasons, versions): a client cannot make them grow.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::log::SessionLine;

type Labels<const N: usize> = [(&'static str, &'static str); N];

/// All counters of a server.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    open: Family<Labels<1>, Gauge>,
    sessions: Family<Labels<3>, Counter>,
    handshakes: Family<Labels<3>, Counter>,
    events: Family<Labels<2>, Counter>,
    logins: Family<Labels<2>, Counter>,
    failures: Family<Labels<1>, Counter>,
    messages: Family<Labels<2>, Counter>,
    octets: Family<Labels<2>, Counter>,
    certificates: Family<[(&'static str, String); 1], Gauge>,
}

impl Metrics {
    /// Counters at zero.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("gatepost");
        let this = Self {
            open: Family::default(),
            sessions: Family::default(),
            handshakes: Family::default(),
            events: Family::default(),
            logins: Family::default(),
            failures: Family::default(),
            messages: Family::default(),
            octets: Family::default(),
            certificates: Family::default(),
            registry: Registry::default(),
        };
        registry.register("sessions_open", "Sessions open now", this.open.clone());
        registry.register(
            "sessions",
            "Sessions ended, by channel (Clear, Encrypted) and reason",
            this.sessions.clone(),
        );
        registry.register(
            "tls_sessions",
            "Sessions inside TLS, by version and key exchange group",
            this.handshakes.clone(),
        );
        registry.register(
            "events",
            "Refusals and attacks noticed",
            this.events.clone(),
        );
        registry.register("logins", "Logins, by mechanism", this.logins.clone());
        registry.register("login_failures", "Logins refused", this.failures.clone());
        registry.register(
            "messages",
            "Messages taken in and given out",
            this.messages.clone(),
        );
        registry.register(
            "octets",
            "Octets received and sent inside sessions",
            this.octets.clone(),
        );
        registry.register(
            "certificate_not_after_seconds",
            "End of the certificate in use, in seconds since 1970, by its file",
            this.certificates.clone(),
        );
        Self { registry, ..this }
    }

    /// Counts a session that ended.
    pub fn session_ended(&self, line: &SessionLine) {
        let service = ("service", line.service);
        self.sessions
            .get_or_create(&[
                service,
                ("channel", line.channel()),
                ("end", line.why.label()),
            ])
            .inc();
        if let Some(facts) = &line.tls {
            let group = ("group", facts.group.unwrap_or("none"));
            self.handshakes
                .get_or_create(&[service, ("version", facts.version.label()), group])
                .inc();
        }
        if let Some((_, mechanism)) = &line.login {
            self.logins
                .get_or_create(&[service, ("mechanism", mechanism)])
                .inc();
        }
        for (way, messages, octets) in [
            ("in", line.messages.0, line.octets.0),
            ("out", line.messages.1, line.octets.1),
        ] {
            self.messages
                .get_or_create(&[service, ("way", way)])
                .inc_by(messages);
            self.octets
                .get_or_create(&[service, ("way", way)])
                .inc_by(octets);
        }
    }

    /// The certificate of this file, which the configuration names, is in use until then.
    pub fn certificate_ends(&self, file: &str, end: SystemTime) {
        let seconds = end.duration_since(UNIX_EPOCH).map_or(0, |since| {
            i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
        });
        self.certificates
            .get_or_create(&[("file", file.to_owned())])
            .set(seconds);
    }

    /// A session begins.
    pub fn opened(&self, service: &'static str) {
        self.open.get_or_create(&[("service", service)]).inc();
    }

    /// A session is over.
    pub fn closed(&self, service: &'static str) {
        self.open.get_or_create(&[("service", service)]).dec();
    }

    /// Counts refused logins.
    pub fn login_failures(&self, service: &'static str, count: u32) {
        if count > 0 {
            self.failures
                .get_or_create(&[("service", service)])
                .inc_by(u64::from(count));
        }
    }

    /// Counts an event: a refusal, an attack noticed.
    pub fn event(&self, service: &'static str, event: &'static str) {
        self.events
            .get_or_create(&[("service", service), ("event", event)])
            .inc();
    }

    /// The page.
    pub fn page(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

/// Serves the page until the task is dropped. One request at a time, two seconds each: it is for a collector, not the world.
pub async fn serve(listener: TcpListener, metrics: Arc<Metrics>) {
    serve_page(listener, || metrics.page()).await;
}

/// The same for any page of `OpenMetrics` text.
pub async fn serve_page(listener: TcpListener, page: impl Fn() -> String) {
    loop {
        if let Ok((stream, _)) = listener.accept().await {
            let _ = tokio::time::timeout(Duration::from_secs(2), answer(stream, &page)).await;
        } else {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

async fn answer(mut stream: TcpStream, page: impl Fn() -> String) -> std::io::Result<()> {
    let mut request = Vec::new();
    while !request.windows(4).any(|window| window == b"\r\n\r\n") && request.len() < 8192 {
        if stream.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
    }
    let (status, kind, body) = if request.starts_with(b"GET /metrics ") {
        (
            "200 OK",
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
            page(),
        )
    } else {
        (
            "404 Not Found",
            "text/plain",
            "Only GET /metrics is here.\n".to_owned(),
        )
    };
    let mut reply = String::new();
    let _ = write!(
        reply,
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(reply.as_bytes()).await?;
    stream.shutdown().await
}

#[cfg(test)]
mod tests {
    use super::*;
    use gatepost_wire::seam::{TlsFacts, TlsVersion};
    use gatepost_wire::session::Why;

    #[test]
    fn every_metric_of_the_documentation_is_on_the_page() {
        let metrics = Metrics::new();
        metrics.opened("imaps");
        metrics.event("imaps", "starttls_injection");
        metrics.login_failures("imaps", 2);
        metrics.certificate_ends("cert.pem", UNIX_EPOCH + Duration::from_secs(1_800_000_000));
        metrics.session_ended(&SessionLine {
            service: "imaps",
            client: "127.0.0.1:1".parse().unwrap(),
            tls: Some(TlsFacts {
                client: None,
                signature: None,
                version: TlsVersion::Tls13,
                suite: "TLS_AES_128_GCM_SHA256".into(),
                group: None,
                sni: None,
                alpn: None,
                resumed: true,
                bindings: None,
                verified: None,
            }),
            login: Some(("a@example.org".into(), "PLAIN")),
            upstream: None,
            login_failures: 2,
            messages: (1, 2),
            octets: (3, 4),
            lasted: Duration::from_secs(1),
            why: Why::Quit,
            detail: None,
        });
        let page = metrics.page();
        let documentation = include_str!("../../../docs/logs-and-metrics.md");
        let mut names = 0;
        for word in documentation
            .split('`')
            .filter(|word| word.starts_with("gatepost_"))
        {
            assert!(
                page.contains(word),
                "{word} is documented, but not on the page"
            );
            names += 1;
        }
        assert!(names >= 8, "{names}");
        assert!(
            page.contains("gatepost_login_failures_total{service=\"imaps\"} 2"),
            "{page}"
        );
        assert!(page.ends_with("# EOF\n"));
    }
}
