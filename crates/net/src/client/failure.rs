//! Why a client's connection failed, by blame.
//!
//! The reasons of the session ([`gatepost_wire::client::Failure`]) and of the judge ([`Verdict`]) are wrapped; what only the
//! network or the TLS engine can meet joins them here. For each there is a stable label, who is at fault, the class of the exit
//! code, what was expected and what came ([`fmt::Display`]), and what to do next ([`Failure::advice`]).

use std::fmt;

use gatepost_trust::verify::{self, Verdict};
use gatepost_wire::client::{self as session, Blame, ExitClass};
use gatepost_wire::session::Why;

use super::dial::DialFailure;
use super::words::ClearWords;
use crate::failure::{self, TlsFailure};

/// Why a connection failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// There is no connection.
    Dial(DialFailure),
    /// The server answered in clear on a port for implicit TLS.
    ClearOnTlsPort(ClearWords),
    /// The server agreed to STARTTLS and then sent something that is not TLS.
    NotTls(ClearWords),
    /// The handshake failed.
    Handshake(TlsFailure),
    /// It is not known who the server is, and the terms want to know it.
    // [SMTP-STARTTLS-13] the handshake is refused, not ended afterwards.
    Unverified(Box<Verdict>),
    /// TLS failed after the handshake.
    Tls(TlsFailure),
    /// The session failed.
    Session(session::Failure),
    /// A session without a reason of its own ended.
    Ended(Why),
    /// The server does not take what is sent to it.
    Stalled,
    /// The connection broke while something was written.
    Broken,
    /// The terms cannot be carried out: no random numbers, or a name that is none.
    Terms,
    /// The future that ran the handshake was dropped before its end; the session cannot go on.
    Cancelled,
}

impl Failure {
    /// A stable label, as it is printed and logged.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Dial(it) => it.label(),
            Self::ClearOnTlsPort(_) => "E-TLS-PLAINTEXT",
            Self::NotTls(_) => "E-NOT-TLS",
            Self::Handshake(it) | Self::Tls(it) => tls_label(*it),
            Self::Unverified(verdict) => verdict
                .reason()
                .map_or("E-NOT-VERIFIED", verify::Reason::label),
            Self::Session(it) => it.label(),
            Self::Ended(_) => "E-ENDED",
            Self::Stalled => "E-WRITE-TIMEOUT",
            Self::Broken => "E-BROKEN",
            Self::Terms => "E-TERMS",
            Self::Cancelled => "E-CANCELLED",
        }
    }

    /// Who is at fault.
    pub fn blame(&self) -> Blame {
        match self {
            Self::Dial(it) => it.blame(),
            Self::ClearOnTlsPort(_) => Blame::Mismatch,
            Self::NotTls(_) => Blame::Peer,
            Self::Handshake(it) | Self::Tls(it) => tls_blame(*it),
            Self::Unverified(verdict) => match verdict.reason().map(verify::Reason::blame) {
                Some(verify::Blame::Peer) => Blame::Peer,
                _ => Blame::Policy,
            },
            Self::Session(it) => it.blame(),
            Self::Ended(_) | Self::Stalled | Self::Broken => Blame::Network,
            Self::Terms | Self::Cancelled => Blame::Misuse,
        }
    }

    /// The class of the exit code.
    pub fn exit_class(&self) -> ExitClass {
        match self {
            Self::Dial(it) => it.exit_class(),
            Self::Session(it) => it.exit_class(),
            _ => match self.blame() {
                Blame::Peer | Blame::Mismatch | Blame::Policy => ExitClass::Finding,
                Blame::Network => ExitClass::Undecided,
                Blame::Misuse => ExitClass::Usage,
            },
        }
    }

    /// The result type for a TLS report (RFC 8460 4.3), where the failure is one of TLS.
    pub fn tls_report(&self) -> Option<&'static str> {
        match self {
            Self::Unverified(verdict) => verdict.reason().map(verify::Reason::report),
            Self::Session(it) => it.tls_report(),
            Self::ClearOnTlsPort(_) | Self::NotTls(_) | Self::Handshake(_) => {
                Some("validation-failure")
            }
            _ => None,
        }
    }

    /// What to do next.
    pub fn advice(&self) -> &'static str {
        match self {
            Self::Dial(it) => it.advice(),
            Self::ClearOnTlsPort(_) => {
                "use STARTTLS on this port (--tls starttls), or the port for implicit TLS"
            }
            Self::NotTls(_) | Self::Handshake(TlsFailure::PeerMisbehaved) => {
                "nothing was sent; someone on the path may be in the way, or the server is broken"
            }
            Self::Handshake(it) | Self::Tls(it) => tls_advice(*it),
            Self::Unverified(verdict) => verdict
                .reason()
                .map_or("nothing was sent", verify::Reason::advice),
            Self::Session(it) => session_advice(it),
            Self::Ended(_) | Self::Stalled | Self::Broken => "try again later",
            Self::Terms | Self::Cancelled => "this is a fault of the program that called",
        }
    }
}

impl From<session::Failure> for Failure {
    fn from(failure: session::Failure) -> Self {
        Self::Session(failure)
    }
}

impl From<DialFailure> for Failure {
    fn from(failure: DialFailure) -> Self {
        Self::Dial(failure)
    }
}

impl std::error::Error for Failure {}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dial(it) => it.fmt(f),
            Self::ClearOnTlsPort(words) => {
                write!(f, "expected TLS, and the server answered {words} in clear")
            }
            Self::NotTls(words) => write!(
                f,
                "expected TLS after STARTTLS, and the server sent {words} in clear"
            ),
            Self::Handshake(it) => write!(f, "the TLS handshake failed: {}", tls_text(*it)),
            Self::Unverified(verdict) => match verdict.reason() {
                Some(reason) => reason.fmt(f),
                None => f.write_str("it is not known who the server is"),
            },
            Self::Tls(it) => write!(f, "TLS failed: {}", tls_text(*it)),
            Self::Session(it) => it.fmt(f),
            Self::Ended(why) => write!(f, "the session ended: {}", why.label()),
            Self::Stalled => f.write_str("the server does not take what is sent to it"),
            Self::Broken => f.write_str("the connection broke"),
            Self::Terms => f.write_str("the terms for TLS cannot be carried out"),
            Self::Cancelled => f.write_str("the handshake was given up before its end"),
        }
    }
}

const fn tls_label(failure: TlsFailure) -> &'static str {
    match failure {
        TlsFailure::Timeout => "E-TLS-TIMEOUT",
        TlsFailure::PeerGone => "E-TLS-CLOSED",
        TlsFailure::PeerAlert(_) => "E-TLS-ALERT",
        TlsFailure::PeerMisbehaved => "E-TLS-PROTOCOL",
        TlsFailure::BadRecord => "E-TLS-BAD-RECORD",
        TlsFailure::TooLarge => "E-TLS-TOO-LARGE",
        TlsFailure::NoCommonVersion => "E-TLS-VERSION",
        TlsFailure::NoCommonSuite => "E-TLS-SUITE",
        TlsFailure::NoCommonGroup => "E-TLS-GROUP",
        TlsFailure::NoCommonSignature => "E-TLS-SIGNATURE",
        TlsFailure::NoExtendedMasterSecret => "E-TLS-EMS",
        TlsFailure::NoSecureRenegotiation => "E-TLS-RENEGOTIATION",
        TlsFailure::NoApplicationProtocol => "E-TLS-ALPN",
        TlsFailure::Incompatible => "E-TLS-INCOMPATIBLE",
        TlsFailure::UnrecognizedName => "E-TLS-NAME",
        TlsFailure::NoCertificate => "E-TLS-CLIENT-CERT",
        TlsFailure::PeerCertificate => "E-CERT-SIGNATURE",
        TlsFailure::Internal => "E-TLS-INTERNAL",
    }
}

const fn tls_blame(failure: TlsFailure) -> Blame {
    match failure {
        TlsFailure::Timeout | TlsFailure::PeerGone => Blame::Network,
        _ => match failure.blame() {
            failure::Blame::Peer => Blame::Peer,
            failure::Blame::Mismatch => Blame::Mismatch,
            failure::Blame::Policy => Blame::Policy,
            failure::Blame::Local => Blame::Misuse,
        },
    }
}

fn tls_text(failure: TlsFailure) -> String {
    let text = match failure {
        TlsFailure::Timeout => "the server did not finish it in time",
        TlsFailure::PeerGone => "the server closed the connection",
        TlsFailure::PeerAlert(alert) => {
            return format!(
                "the server refused with alert {alert} ({})",
                alert_text(alert)
            );
        }
        TlsFailure::PeerMisbehaved => "the server broke the rules of TLS",
        TlsFailure::BadRecord => "a record was damaged on its way",
        TlsFailure::TooLarge => "the server sent more than any honest handshake needs",
        TlsFailure::NoCommonVersion => "the server speaks neither TLS 1.2 nor 1.3",
        TlsFailure::NoCommonSuite => "no cipher suite in common",
        TlsFailure::NoCommonGroup => "no key exchange group in common",
        TlsFailure::NoCommonSignature => "no signature algorithm in common",
        TlsFailure::NoExtendedMasterSecret => {
            "the server speaks TLS 1.2 without the extended master secret"
        }
        TlsFailure::NoSecureRenegotiation => {
            "the server speaks TLS 1.2 without renegotiation_info (RFC 5746), so that this could be somebody else's connection"
        }
        TlsFailure::NoApplicationProtocol => {
            "the server does not speak the protocol asked for on this port"
        }
        TlsFailure::Incompatible => "the server lacks something TLS needs",
        TlsFailure::UnrecognizedName => "the server name is not known",
        TlsFailure::NoCertificate => "there is no certificate to show",
        TlsFailure::PeerCertificate => {
            "the server did not prove that it has the key of its certificate"
        }
        TlsFailure::Internal => "a fault on our side",
    };
    text.to_owned()
}

/// Names of alerts a server sends to a client (RFC 9846 6.2).
const fn alert_text(alert: u8) -> &'static str {
    match alert {
        10 => "unexpected message",
        20 => "bad record",
        40 => "handshake failure: nothing in common, or a certificate is wanted",
        42..=46 | 48 => "it does not take our certificate",
        47 => "illegal parameter",
        50 => "it cannot read our hello",
        70 => "protocol version",
        71 => "insufficient strength",
        80 => "a fault on its side",
        86 => "inappropriate fallback",
        112 => "it does not know the server name asked for",
        116 => "a client certificate is required",
        120 => "it does not speak the protocol asked for",
        _ => "see RFC 9846 6.2",
    }
}

const fn tls_advice(failure: TlsFailure) -> &'static str {
    match failure {
        TlsFailure::Timeout | TlsFailure::PeerGone => {
            "try again; if it stays so, check host, port and --tls"
        }
        TlsFailure::PeerAlert(112) => "check the server name, or give --tls-name",
        TlsFailure::PeerAlert(116 | 42..=46 | 48) => "give a certificate with --client-cert",
        TlsFailure::NoApplicationProtocol | TlsFailure::PeerAlert(120) => {
            "check the port: another protocol is spoken there"
        }
        TlsFailure::NoCommonVersion
        | TlsFailure::NoCommonSuite
        | TlsFailure::NoCommonGroup
        | TlsFailure::NoCommonSignature
        | TlsFailure::NoExtendedMasterSecret
        | TlsFailure::NoSecureRenegotiation
        | TlsFailure::Incompatible
        | TlsFailure::PeerAlert(_) => "the server's operator must bring its TLS up to date",
        TlsFailure::PeerCertificate => "do not connect: the server does not have the key",
        TlsFailure::BadRecord | TlsFailure::PeerMisbehaved | TlsFailure::TooLarge => {
            "someone on the path may be in the way, or the server is broken"
        }
        TlsFailure::UnrecognizedName | TlsFailure::NoCertificate | TlsFailure::Internal => {
            "check the configuration"
        }
    }
}

fn session_advice(failure: &session::Failure) -> &'static str {
    use session::Failure as F;
    match failure {
        F::GreetingMissing | F::TlsOnClearPort => {
            "the port probably wants implicit TLS: use --tls implicit"
        }
        F::OtherProtocol(_) => {
            "look at the port, or at the scheme of the URL: one of them is the other protocol's"
        }
        F::StartTlsMissing(_) | F::StartTlsRefused(_) | F::PreAuthInClear => {
            "use the port for implicit TLS, from another network if need be; nothing was sent"
        }
        F::Injection(_) => "someone is on the path, or the server is broken; nothing was sent",
        F::NoMechanism { offered } if offered.text().is_empty() => {
            "no login is offered here at all: mail is handed in at port 465 or 587 (submissions://, submission://), not at 25"
        }
        F::NoMechanism { .. } => "ask the operator for a mechanism we know, or lower the floor",
        F::LoginRefused(_) => "check the name and the password",
        F::ServerNotProven => "do not log in here: the server does not know the account",
        F::NotVerified => "connect by a name that can be verified, or pin the server",
        F::BareLineEnd | F::EightBit | F::UnusableCredentials => "see what is sent",
        F::Misuse => "see what was asked for",
        _ if failure.exit_class() == ExitClass::Undecided => "try again later",
        _ => "ask the server's operator",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_frequent_mistake_is_told_in_full() {
        let failure = Failure::ClearOnTlsPort(ClearWords::new(b"220 mx.example ESMTP\r\n"));
        assert_eq!(failure.label(), "E-TLS-PLAINTEXT");
        assert_eq!(
            failure.to_string(),
            "expected TLS, and the server answered \"220 mx.example ESMTP\" (unauthenticated) in clear"
        );
        assert!(failure.advice().contains("--tls starttls"));
        assert_eq!(failure.exit_class(), ExitClass::Finding);
    }

    #[test]
    fn what_time_may_heal_is_undecided() {
        for failure in [
            Failure::Handshake(TlsFailure::Timeout),
            Failure::Handshake(TlsFailure::PeerGone),
            Failure::Broken,
            Failure::Stalled,
        ] {
            assert_eq!(failure.exit_class(), ExitClass::Undecided, "{failure}");
        }
        let alert = Failure::Handshake(TlsFailure::PeerAlert(40));
        assert_eq!(alert.exit_class(), ExitClass::Finding);
        assert_eq!(Failure::Terms.exit_class(), ExitClass::Usage);
    }
}
