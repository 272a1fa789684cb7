//! What every TLS connection of ours is allowed to be (RFC 9325, RFC 9846 9).

/// A service, as far as TLS is concerned: it decides the ALPN list and which tickets are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Service {
    /// SMTP between servers (port 25).
    Smtp,
    /// Submission (587, 465).
    Submission,
    /// IMAP (143, 993).
    Imap,
    /// POP3 (110, 995).
    Pop3,
}

/// How TLS begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// By STARTTLS or STLS on a connection in clear.
    StartTls,
    /// At once.
    Implicit,
}
