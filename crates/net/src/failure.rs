//! Why TLS failed, by whose fault.

use rustls::{Error, PeerIncompatible};

/// Why a handshake, or TLS later on, failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TlsFailure {
    /// The peer did not finish the handshake in time.
    Timeout,
    /// The peer closed the connection, or it broke.
    PeerGone,
    /// The peer ended it with this alert (RFC 9846 6): often a client that does not trust the certificate.
    PeerAlert(u8),
    /// The peer broke the rules of TLS.
    PeerMisbehaved,
    /// A record could not be decrypted.
    BadRecord,
    /// More was sent than any honest handshake needs.
    TooLarge,
    /// The peer offers no version from TLS 1.2 on [TLS-VER-01].
    NoCommonVersion,
    /// No cipher suite in common.
    NoCommonSuite,
    /// No key exchange group in common.
    NoCommonGroup,
    /// The peer cannot check signatures by any of our certificates.
    NoCommonSignature,
    /// The peer offers TLS 1.2 without the extended master secret [TLS-EMS-01].
    NoExtendedMasterSecret,
    /// A TLS 1.2 server does not say that this is the connection's first handshake: it has no `renegotiation_info`, or the
    /// extension says otherwise [TLS-RENEG-01].
    NoSecureRenegotiation,
    /// The peer offers application protocols, none of them ours [TLS-ALPN-01].
    NoApplicationProtocol,
    /// Something else that both sides would need.
    Incompatible,
    /// We have no certificate for the server name asked for, and the port is strict [CONF-02].
    UnrecognizedName,
    /// We have no certificate at all.
    NoCertificate,
    /// The peer's certificate was refused; the verdict says why.
    PeerCertificate,
    /// A fault of ours.
    Internal,
}

/// Whose fault it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Blame {
    /// The peer broke the rules or went away.
    Peer,
    /// Both honest, but nothing in common.
    Mismatch,
    /// We refuse.
    Policy,
    /// Our configuration or our fault.
    Local,
}

impl TlsFailure {
    /// A stable word for logs and metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::PeerGone => "peer_gone",
            Self::PeerAlert(_) => "peer_alert",
            Self::PeerMisbehaved => "peer_misbehaved",
            Self::BadRecord => "bad_record",
            Self::TooLarge => "too_large",
            Self::NoCommonVersion => "no_common_version",
            Self::NoCommonSuite => "no_common_suite",
            Self::NoCommonGroup => "no_common_group",
            Self::NoCommonSignature => "no_common_signature",
            Self::NoExtendedMasterSecret => "no_extended_master_secret",
            Self::NoSecureRenegotiation => "no_secure_renegotiation",
            Self::NoApplicationProtocol => "no_application_protocol",
            Self::Incompatible => "incompatible",
            Self::UnrecognizedName => "unrecognized_name",
            Self::NoCertificate => "no_certificate",
            Self::PeerCertificate => "peer_certificate",
            Self::Internal => "internal",
        }
    }

    /// Whose fault it is.
    pub const fn blame(self) -> Blame {
        match self {
            Self::Timeout
            | Self::PeerGone
            | Self::PeerAlert(_)
            | Self::PeerMisbehaved
            | Self::BadRecord
            | Self::TooLarge
            | Self::PeerCertificate => Blame::Peer,
            Self::NoCommonVersion
            | Self::NoCommonSuite
            | Self::NoCommonGroup
            | Self::NoCommonSignature
            | Self::NoApplicationProtocol
            | Self::Incompatible => Blame::Mismatch,
            Self::NoExtendedMasterSecret | Self::NoSecureRenegotiation | Self::UnrecognizedName => {
                Blame::Policy
            }
            Self::NoCertificate | Self::Internal => Blame::Local,
        }
    }
}

impl From<Error> for TlsFailure {
    fn from(error: Error) -> Self {
        match error {
            Error::AlertReceived(description) => Self::PeerAlert(description.into()),
            Error::NoApplicationProtocol => Self::NoApplicationProtocol,
            Error::PeerIncompatible(reason) => incompatible(&reason),
            Error::InvalidCertificate(_) | Error::NoCertificatesPresented => Self::PeerCertificate,
            Error::DecryptError => Self::BadRecord,
            Error::InappropriateMessage { .. }
            | Error::InappropriateHandshakeMessage { .. }
            | Error::InvalidMessage(_)
            | Error::PeerMisbehaved(_)
            | Error::PeerSentOversizedRecord => Self::PeerMisbehaved,
            _ => Self::Internal,
        }
    }
}

fn incompatible(reason: &PeerIncompatible) -> TlsFailure {
    match reason {
        PeerIncompatible::Tls12NotOffered
        | PeerIncompatible::Tls12NotOfferedOrEnabled
        | PeerIncompatible::ServerDoesNotSupportTls12Or13
        | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
        | PeerIncompatible::SupportedVersionsExtensionRequired => TlsFailure::NoCommonVersion,
        PeerIncompatible::NoCipherSuitesInCommon => TlsFailure::NoCommonSuite,
        PeerIncompatible::NoKxGroupsInCommon
        | PeerIncompatible::NoEcPointFormatsInCommon
        | PeerIncompatible::NamedGroupsExtensionRequired
        | PeerIncompatible::EcPointsExtensionRequired => TlsFailure::NoCommonGroup,
        PeerIncompatible::NoSignatureSchemesInCommon
        | PeerIncompatible::SignatureAlgorithmsExtensionRequired => TlsFailure::NoCommonSignature,
        PeerIncompatible::ExtendedMasterSecretExtensionRequired => {
            TlsFailure::NoExtendedMasterSecret
        }
        _ => TlsFailure::Incompatible,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engines_errors_have_a_blame() {
        let ems = PeerIncompatible::ExtendedMasterSecretExtensionRequired;
        assert_eq!(TlsFailure::from(Error::from(ems)).blame(), Blame::Policy);
        assert_eq!(TlsFailure::from(Error::DecryptError).blame(), Blame::Peer);
        assert_eq!(
            TlsFailure::from(Error::NoApplicationProtocol).blame(),
            Blame::Mismatch
        );
        assert_eq!(TlsFailure::from(Error::EncryptError).blame(), Blame::Local);
    }
}
