//! Paths: who a message is from and for (RFC 5321 4.1.2).

/// A mailbox: local part and domain (RFC 5321 4.1.2; RFC 6531 3.3 with UTF-8).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Mailbox {
    /// The local part as it was written, quotes kept.
    pub local: String,
    /// The domain, or an address literal in brackets; empty only for a bare `postmaster` [SMTP-BASE-20].
    pub domain: String,
}

/// Where a message comes from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ReversePath {
    /// `<>`: the message must never cause another [SMTP-BASE-16].
    Null,
    /// A mailbox.
    Mailbox(Mailbox),
}

/// Where a message goes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ForwardPath(pub Mailbox);
