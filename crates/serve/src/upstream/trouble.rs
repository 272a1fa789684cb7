//! Why an upstream could not be used: what the client is told, and the operator's word for it.

use gatepost_net::client::{Failure, LegFailure};
use gatepost_wire::client::Failure as SessionFailure;
use gatepost_wire::smtp::relay::Passed;

use super::dane::NoRecords;
use super::oauth::NoToken;

/// Why an upstream could not be used.
#[derive(Debug)]
pub(super) enum Trouble {
    /// It could not be reached, did not speak as it should, or is not the one meant. No credential was sent.
    Unreached(Failure),
    /// Nobody could say whom it must be. It was not connected to.
    Unknown(NoRecords),
    /// It refused the login.
    Denied,
    /// It could not judge the login now, or takes none in a form we have.
    Undecided(Box<SessionFailure>),
    /// The connection was lost.
    Lost(LegFailure),
    /// It says that somebody is logged in already.
    LoggedInAlready,
    /// There is no token for the account.
    NoToken(Box<str>, NoToken),
    /// It is not known which upstream is to be used; why.
    Unrouted(String),
    /// The session has come through too many gates.
    Circle,
}

impl Trouble {
    /// The words for a failed login.
    pub(super) fn of_login(failure: SessionFailure) -> Self {
        match &failure {
            SessionFailure::LoginRefused(refused) if !refused.temporary => Self::Denied,
            _ => Self::Undecided(Box::new(failure)),
        }
    }

    /// A stable word for metrics.
    pub(super) fn label(&self) -> &'static str {
        match self {
            Self::Unreached(Failure::Unverified(_)) => "upstream_unverified",
            Self::Unreached(Failure::Dial(_)) => "upstream_unreachable",
            Self::Unreached(Failure::Handshake(_) | Failure::Tls(_)) => "upstream_tls_failed",
            Self::Unreached(
                Failure::NotTls(_) | Failure::Session(SessionFailure::Injection(_)),
            ) => "upstream_injection",
            Self::Unreached(_) => "upstream_failed",
            Self::Unknown(_) => "upstream_dane",
            Self::Denied => "upstream_denied",
            Self::Undecided(_) => "upstream_login_failed",
            Self::Lost(failure) => failure.label(),
            Self::LoggedInAlready => "upstream_preauth",
            Self::Unrouted(_) => "upstream_unrouted",
            Self::Circle => "upstream_circle",
            Self::NoToken(_, why) => why.label(),
        }
    }

    /// Whether the upstream cannot be used, and is to rest. A session that was lost later is no proof of that: what a client says
    /// can bring a server to close its connection, and no client is to turn a server away from the others.
    pub(super) fn is_fault(&self) -> bool {
        matches!(
            self,
            Self::Unreached(_) | Self::Unknown(_) | Self::LoggedInAlready
        )
    }

    /// The reply to a command of SMTP.
    pub(super) fn reply(&self) -> Passed {
        match self {
            Self::Unreached(Failure::Dial(_)) => Passed::own(
                451,
                "4.4.1 The server behind this one cannot be reached, try again later",
            ),
            Self::Unreached(
                Failure::Unverified(_)
                | Failure::Handshake(_)
                | Failure::Tls(_)
                | Failure::NotTls(_),
            )
            | Self::Unknown(_) => Passed::own(
                451,
                "4.7.5 No good TLS with the server behind this one, try again later",
            ),
            Self::Circle => Passed::own(
                554,
                "5.4.6 Too many servers in a row, the session is looping",
            ),
            Self::Unrouted(_) => Passed::own(
                451,
                "4.3.0 It is not known which server behind this one to use, try again later",
            ),
            _ => Passed::own(
                451,
                "4.4.2 The server behind this one does not answer as it should, try again later",
            ),
        }
    }
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unreached(failure) => write!(f, "{failure}; {}", failure.advice()),
            Self::Unknown(why) => why.fmt(f),
            Self::Denied => f.write_str("it refused the login"),
            Self::Undecided(failure) => failure.fmt(f),
            Self::Lost(failure) => write!(f, "the connection was lost ({})", failure.label()),
            Self::NoToken(account, why) => write!(f, "no token for {account}: {why}"),
            Self::Unrouted(why) => write!(f, "no upstream for this session: {why}"),
            Self::Circle => f.write_str(
                "a session has come through too many gates: do upstreams lead back here?",
            ),
            Self::LoggedInAlready => {
                f.write_str("it says that somebody is logged in before anybody was (PREAUTH)")
            }
        }
    }
}
