//! Which certificate answers a ClientHello.
//!
//! 1. By name: a certificate that names the host asked for, then one whose wildcard covers it, then (port 25 always, other
//!    ports unless they are strict) the default, which is the first [CONF-02] [TLS-SNI-02]. Without a name asked for: the
//!    default.
//! 2. By key, among those equally good by name: ECDSA before RSA where the client can use it, for it costs us a quarter.
//!
//! Each [`ServiceTls`] has ticket keys of its own: a session begun with one service, or in one mode, cannot be resumed with
//! another.

use std::sync::{Arc, PoisonError, RwLock};

use rustls::server::ProducesTickets;
use rustls::{ServerConfig, SignatureScheme};

use crate::client_ca::ClientCa;
use crate::identity::{Coverage, Identity, KeyKind};
pub use crate::profile::ProfileError;
use crate::profile::{Mode, Service, server_config, ticketer};

/// What is done with a server name nobody here has a certificate for [CONF-02].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnknownName {
    /// Answer with the default certificate.
    FallBack,
    /// Alert `unrecognized_name`.
    Refuse,
}

/// Options of one service's TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// The service.
    pub service: Service,
    /// How TLS begins.
    pub mode: Mode,
    /// Unknown server names. [`Service::Smtp`] falls back whatever stands here: a server that delivers mail must not be
    /// turned away over a name (RFC 7672 8.1, RFC 8461 7.1).
    pub unknown_name: UnknownName,
    /// Whether sessions use channel bindings (SCRAM-SHA-256-PLUS is offered).
    pub bindings: bool,
}

impl Options {
    /// The default for a service and mode: strict about names on ports for implicit TLS, with bindings where users log in.
    pub const fn default_for(service: Service, mode: Mode) -> Self {
        let unknown_name = match mode {
            Mode::Implicit => UnknownName::Refuse,
            Mode::StartTls => UnknownName::FallBack,
        };
        let bindings = !matches!(service, Service::Smtp);
        Self {
            service,
            mode,
            unknown_name,
            bindings,
        }
    }
}

/// What of a ClientHello decides the choice.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The server name in lower case.
    pub sni: Option<&'a str>,
    /// Signature schemes, IANA numbers.
    pub signature_schemes: &'a [u16],
    /// The same for the signatures of certificates; empty: those above.
    pub certificate_schemes: &'a [u16],
    /// Cipher suites, IANA numbers.
    pub cipher_suites: &'a [u16],
    /// Whether TLS 1.3 is offered.
    pub tls13: bool,
}

/// The TLS of one listener: its certificates, tickets and rules. Certificates can be exchanged while it is in use.
#[derive(Debug)]
pub struct ServiceTls {
    options: Options,
    ticketer: Arc<dyn ProducesTickets>,
    /// Who vouches for clients, where they are asked for certificates.
    clients: Option<ClientCa>,
    entries: RwLock<Arc<[Entry]>>,
}

#[derive(Debug)]
struct Entry {
    identity: Arc<Identity>,
    config: Arc<ServerConfig>,
}

/// The choice made.
#[derive(Debug, Clone)]
pub struct Choice {
    /// Configuration for the engine.
    pub config: Arc<ServerConfig>,
    /// The certificate behind it.
    pub identity: Arc<Identity>,
}

/// Why there is no choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoChoice {
    /// The server name matches nothing and the service is strict.
    UnrecognizedName,
    /// There is no certificate at all.
    NoCertificate,
}

impl Choice {
    /// The scheme by which the certificate's key signs in a full handshake with a client that offers these (IANA `SignatureScheme`
    /// numbers).
    pub fn signature(&self, offered: &[u16]) -> Option<u16> {
        let offered: Vec<SignatureScheme> = offered.iter().copied().map(Into::into).collect();
        let signer = self.identity.key.key.choose_scheme(&offered)?;
        Some(signer.scheme().into())
    }
}

impl ServiceTls {
    /// Sets up a service with the identities given, the first being the default. None is allowed: TLS is then not ready.
    pub fn new(options: Options, identities: &[Arc<Identity>]) -> Result<Self, ProfileError> {
        Self::asking(options, identities, None)
    }

    /// The same for a service that asks clients for certificates of these authorities.
    pub fn asking(
        options: Options,
        identities: &[Arc<Identity>],
        clients: Option<ClientCa>,
    ) -> Result<Self, ProfileError> {
        let ticketer = ticketer()?;
        let entries = build(options, &ticketer, identities, clients.as_ref())?;
        Ok(Self {
            options,
            ticketer,
            clients,
            entries: RwLock::new(entries),
        })
    }

    /// The options it was made with.
    pub fn options(&self) -> Options {
        self.options
    }

    /// Whether there is a certificate to offer; without one STARTTLS is not announced [SMTP-STARTTLS-03].
    pub fn is_ready(&self) -> bool {
        !self.entries().is_empty()
    }

    /// Exchanges the certificates. Connections that are up keep theirs; tickets stay valid.
    pub fn replace(&self, identities: &[Arc<Identity>]) -> Result<(), ProfileError> {
        let clients = self.clients.as_ref();
        let entries = build(self.options, &self.ticketer, identities, clients)?;
        *self.entries.write().unwrap_or_else(PoisonError::into_inner) = entries;
        Ok(())
    }

    /// Chooses by ClientHello.
    pub fn select(&self, asked: &Asked<'_>) -> Result<Choice, NoChoice> {
        let entries = self.entries();
        let default = entries.first().ok_or(NoChoice::NoCertificate)?;
        let coverage = |entry: &Entry| asked.sni.and_then(|name| entry.identity.covers(name));
        let best = entries.iter().filter_map(coverage).max();
        if best.is_none() && asked.sni.is_some() && self.is_strict() {
            return Err(NoChoice::UnrecognizedName);
        }
        let equal = |entry: &&Entry| match best {
            Some(_) => coverage(entry) == best,
            None => is_twin(&entry.identity, &default.identity),
        };
        // The first of the greatest: `max_by_key` takes the last, hence the reversal.
        let chosen = entries
            .iter()
            .rev()
            .filter(equal)
            .max_by_key(|it| rank(it, asked));
        let chosen = chosen.unwrap_or(default);
        let config = Arc::clone(&chosen.config);
        Ok(Choice {
            config,
            identity: Arc::clone(&chosen.identity),
        })
    }

    fn is_strict(&self) -> bool {
        self.options.unknown_name == UnknownName::Refuse && self.options.service != Service::Smtp
    }

    fn entries(&self) -> Arc<[Entry]> {
        Arc::clone(&self.entries.read().unwrap_or_else(PoisonError::into_inner))
    }
}

fn build(
    options: Options,
    ticketer: &Arc<dyn ProducesTickets>,
    identities: &[Arc<Identity>],
    clients: Option<&ClientCa>,
) -> Result<Arc<[Entry]>, ProfileError> {
    let entry = |identity: &Arc<Identity>| {
        let (service, bindings) = (options.service, options.bindings);
        let config = server_config(service, &identity.key, ticketer, bindings, clients)?;
        Ok(Entry {
            identity: Arc::clone(identity),
            config: Arc::new(config),
        })
    };
    identities.iter().map(entry).collect()
}

/// Whether a certificate stands for the default under another kind of key: it covers the default's first name.
fn is_twin(identity: &Identity, default: &Identity) -> bool {
    let first = default.names().first();
    first.is_some_and(|name| identity.covers(name) == Some(Coverage::Exact))
}

/// How well a client can use a certificate: not at all, or RSA, or better than RSA. One whose chain is signed as the client wants goes
/// before one that is not; where there is none, it gets what there is [TLS-MTI-01] (RFC 9846 4.4.2.2).
fn rank(entry: &Entry, asked: &Asked<'_>) -> (bool, u8) {
    // IANA SignatureScheme numbers. PSS with a PSS key (0x0809..) is not counted: such certificates are not met.
    let (schemes, rank): (&[u16], u8) = match entry.identity.kind {
        KeyKind::Rsa => (&[0x0804, 0x0805, 0x0806, 0x0401, 0x0501, 0x0601], 1),
        KeyKind::EcdsaP256 => (&[0x0403], 2),
        KeyKind::EcdsaP384 => (&[0x0503], 2),
        KeyKind::EcdsaP521 => (&[0x0603], 2),
        KeyKind::Ed25519 => (&[0x0807], 2),
    };
    // In TLS 1.2 the suite names the kind of key.
    let suites: &[u16] = match entry.identity.kind {
        KeyKind::Rsa => &[0xc02f, 0xc030, 0xcca8],
        _ => &[0xc02b, 0xc02c, 0xcca9],
    };
    let signs = schemes
        .iter()
        .any(|it| asked.signature_schemes.contains(it));
    let fits = asked.tls13 || suites.iter().any(|it| asked.cipher_suites.contains(it));
    if !signs || !fits {
        return (false, 0);
    }
    let wanted = match asked.certificate_schemes {
        [] => asked.signature_schemes,
        own => own,
    };
    (entry.identity.is_signed_by(wanted), rank)
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256};
    use std::time::SystemTime;

    use super::*;

    const BOTH: &[u16] = &[0x0403, 0x0804];

    fn identity(names: &[&str], rsa: bool) -> Arc<Identity> {
        let algorithm = if rsa {
            &PKCS_RSA_SHA256
        } else {
            &PKCS_ECDSA_P256_SHA256
        };
        let key = KeyPair::generate_for(algorithm).unwrap();
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_after = (SystemTime::now() + std::time::Duration::from_secs(3_000_000)).into();
        let chain = params.self_signed(&key).unwrap().pem();
        let now = SystemTime::now();
        let (identity, _) =
            Identity::from_pem(chain.as_bytes(), key.serialize_pem().as_bytes(), None, now)
                .unwrap();
        Arc::new(identity)
    }

    fn service(service: Service, mode: Mode, identities: &[Arc<Identity>]) -> ServiceTls {
        ServiceTls::new(Options::default_for(service, mode), identities).unwrap()
    }

    fn asked<'a>(sni: Option<&'a str>, signature_schemes: &'a [u16]) -> Asked<'a> {
        Asked {
            sni,
            signature_schemes,
            certificate_schemes: &[],
            cipher_suites: &[0x1301],
            tls13: true,
        }
    }

    fn chosen(tls: &ServiceTls, asked: &Asked<'_>) -> Vec<String> {
        tls.select(asked).unwrap().identity.names().to_vec()
    }

    #[test]
    fn exact_before_wildcard_before_default() {
        let all = [
            identity(&["default.example"], false),
            identity(&["*.a.example"], false),
            identity(&["mail.a.example"], false),
        ];
        let tls = service(Service::Imap, Mode::StartTls, &all);
        let of = |name| chosen(&tls, &asked(Some(name), BOTH)).remove(0);
        assert_eq!(of("mail.a.example"), "mail.a.example");
        assert_eq!(of("imap.a.example"), "*.a.example");
        assert_eq!(of("x.imap.a.example"), "default.example");
        assert_eq!(of("a.example"), "default.example");
        assert_eq!(chosen(&tls, &asked(None, BOTH)), ["default.example"]);
    }

    #[test]
    fn an_unknown_name_is_refused_on_strict_ports_only() {
        // [CONF-02] [TLS-SNI-02]
        let all = [identity(&["a.example"], false)];
        let unknown = asked(Some("b.example"), BOTH);
        for service_ in [Service::Submission, Service::Imap, Service::Pop3] {
            let strict = service(service_, Mode::Implicit, &all);
            assert_eq!(
                strict.select(&unknown).unwrap_err(),
                NoChoice::UnrecognizedName
            );
            assert!(
                strict.select(&asked(None, BOTH)).is_ok(),
                "no name is no reason to refuse"
            );
            assert!(
                service(service_, Mode::StartTls, &all)
                    .select(&unknown)
                    .is_ok()
            );
        }
        let options = Options {
            unknown_name: UnknownName::Refuse,
            ..Options::default_for(Service::Smtp, Mode::StartTls)
        };
        assert!(
            ServiceTls::new(options, &all)
                .unwrap()
                .select(&unknown)
                .is_ok()
        );
    }

    #[test]
    fn ecdsa_where_the_client_can_else_rsa() {
        let all = [
            identity(&["a.example"], true),
            identity(&["a.example"], false),
        ];
        let tls = service(Service::Smtp, Mode::StartTls, &all);
        let kind = |asked: &Asked<'_>| tls.select(asked).unwrap().identity.kind();
        for sni in [Some("a.example"), None, Some("other.example")] {
            assert_eq!(kind(&asked(sni, BOTH)), KeyKind::EcdsaP256, "{sni:?}");
            assert_eq!(kind(&asked(sni, &[0x0804])), KeyKind::Rsa, "{sni:?}");
        }
        // TLS 1.2: the suites must fit too.
        let rsa_suites = Asked {
            cipher_suites: &[0xc02f],
            tls13: false,
            ..asked(None, BOTH)
        };
        assert_eq!(kind(&rsa_suites), KeyKind::Rsa);
        let both_suites = Asked {
            cipher_suites: &[0xc02f, 0xc02b],
            ..rsa_suites
        };
        assert_eq!(kind(&both_suites), KeyKind::EcdsaP256);
    }

    /// A certificate with a key for ECDSA, signed by an authority with a key of this kind.
    fn signed_by(algorithm: &'static rcgen::SignatureAlgorithm, name: &str) -> Arc<Identity> {
        let mut params = CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = KeyPair::generate_for(algorithm).unwrap();
        let issuer = rcgen::CertifiedIssuer::self_signed(params, key).unwrap();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.not_after = (SystemTime::now() + std::time::Duration::from_secs(3_000_000)).into();
        let chain = params.signed_by(&key, &issuer).unwrap().pem() + &issuer.pem();
        let key = key.serialize_pem();
        let now = SystemTime::now();
        let (identity, _) =
            Identity::from_pem(chain.as_bytes(), key.as_bytes(), None, now).unwrap();
        Arc::new(identity)
    }

    #[test]
    fn a_chain_is_signed_as_the_client_wants_if_there_is_one() {
        // [TLS-MTI-01] RFC 9846 4.2.3, 4.4.2.2
        let (rsa, ecdsa) = (
            signed_by(&PKCS_RSA_SHA256, "a.example"),
            signed_by(&PKCS_ECDSA_P256_SHA256, "a.example"),
        );
        for all in [[&rsa, &ecdsa], [&ecdsa, &rsa]].map(|it| it.map(Arc::clone)) {
            let tls = service(Service::Smtp, Mode::StartTls, &all);
            let chosen = |schemes, certificate_schemes| {
                let asked = Asked {
                    certificate_schemes,
                    ..asked(Some("a.example"), schemes)
                };
                tls.select(&asked).unwrap().identity
            };
            for (schemes, certificate_schemes, expected) in [
                (BOTH, &[0x0401][..], &rsa),
                (BOTH, &[0x0403], &ecdsa),
                // Without a list of its own the one for handshakes holds.
                (&[0x0403], &[], &ecdsa),
                (&[0x0403, 0x0401], &[], &all[0]),
                // It gets what there is.
                (BOTH, &[0x0807], &all[0]),
            ] {
                let chosen = chosen(schemes, certificate_schemes);
                assert!(Arc::ptr_eq(&chosen, expected), "{certificate_schemes:04x?}");
            }
        }
        // A key the client can use goes before a chain it likes.
        let all = [identity(&["a.example"], true), ecdsa];
        let tls = service(Service::Smtp, Mode::StartTls, &all);
        let asked = Asked {
            certificate_schemes: &[0x0401],
            ..asked(Some("a.example"), &[0x0403])
        };
        let kind = tls.select(&asked).unwrap().identity.kind();
        assert_eq!(kind, KeyKind::EcdsaP256);
    }

    #[test]
    fn without_a_certificate_it_is_not_ready_and_certificates_can_come_later() {
        // [SMTP-STARTTLS-03]
        let tls = service(Service::Smtp, Mode::StartTls, &[]);
        assert!(!tls.is_ready());
        assert_eq!(
            tls.select(&asked(None, BOTH)).unwrap_err(),
            NoChoice::NoCertificate
        );
        let before = identity(&["a.example"], false);
        tls.replace(&[before]).unwrap();
        assert!(tls.is_ready());
        let old = tls.select(&asked(None, BOTH)).unwrap();
        tls.replace(&[identity(&["b.example"], false)]).unwrap();
        assert_eq!(chosen(&tls, &asked(None, BOTH)), ["b.example"]);
        assert_eq!(
            old.identity.names(),
            ["a.example"],
            "a choice made stays what it was"
        );
    }

    #[test]
    fn tickets_are_the_services_own() {
        // [TLS-SNI-03] [TLS-TICK-01]
        let all = [identity(&["a.example"], false)];
        let one = service(Service::Imap, Mode::Implicit, &all);
        let other = service(Service::Imap, Mode::StartTls, &all);
        let ticketer =
            |tls: &ServiceTls| Arc::clone(&tls.select(&asked(None, BOTH)).unwrap().config.ticketer);
        let ticket = ticketer(&one).encrypt(b"state").unwrap();
        assert_eq!(ticketer(&one).decrypt(&ticket).unwrap(), b"state");
        assert_eq!(ticketer(&other).decrypt(&ticket), None);
        one.replace(&all).unwrap();
        assert_eq!(ticketer(&one).decrypt(&ticket).unwrap(), b"state");
    }
}
