//! Who is shown to clients that name nobody in their hello, or somebody the server is not (RFC 6066 3). The handshake with the host's own name is the
//! control's; here are the two others.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use gatepost_net::client::TlsFailure;
use gatepost_net::client::probe::ShakeFailure;
use gatepost_trust::verify::{ClientTls, HostName, Shares};

use super::{Errand, shake_words};
use crate::check::facts::{Named, Seen};

/// Which name is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Name {
    /// None at all.
    None,
    /// One that nobody can have (RFC 6761 6.4).
    Unknown,
}

impl Name {
    pub(crate) const ALL: [Self; 2] = [Self::None, Self::Unknown];

    /// The word in facts.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Unknown => "unknown",
        }
    }
}

/// Asks on a connection of its own.
pub(crate) async fn ask(errand: &Errand, name: Name) -> Seen<Named> {
    let mut terms = errand.terms();
    terms.sni = match name {
        Name::None => None,
        Name::Unknown => HostName::new(&format!("{}.invalid", errand.nonce)).ok(),
    };
    let mut talk = match errand.begin_tls().await {
        Ok(talk) => talk,
        Err(why) => return Seen::unknown(why),
    };
    let tls = ClientTls::new(terms);
    let shaking = talk.probe.handshake(&tls, Shares::Classic, errand.patience);
    let chain = match shaking.await {
        Ok(shaken) => {
            talk.leave().await;
            shaken.evidence.chain
        }
        // What failed behind the certificate failed for another reason.
        Err(ShakeFailure::Tls(_, Some(evidence))) => evidence.chain,
        Err(failure) => return refusal(&failure),
    };
    let chain = chain.iter().map(|it| BASE64.encode(it)).collect();
    Seen::Known(Named::Served { chain })
}

fn refusal(failure: &ShakeFailure) -> Seen<Named> {
    let alert = match failure {
        ShakeFailure::Tls(TlsFailure::PeerAlert(number), _) => Some(*number),
        ShakeFailure::Tls(TlsFailure::PeerGone, _) => None,
        other => return Seen::unknown(shake_words(other)),
    };
    let how = shake_words(failure);
    Seen::Known(Named::Refused { alert, how })
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};
    use std::sync::Arc;

    use gatepost_testkit::pki::{Authority, Issued};
    use rustls::server::{ClientHello, ResolvesServerCert, ServerConfig};
    use rustls::sign::CertifiedKey;

    use super::*;
    use crate::check::examine::{Tier, examine};
    use crate::check::facts::Facts;
    use crate::check::probes::lab::{self, Server};
    use crate::check::target::{Protocol, Start};

    /// Another certificate for each: the host's own name, another one, none.
    #[derive(Debug)]
    struct ByName {
        own: Arc<CertifiedKey>,
        other: Option<Arc<CertifiedKey>>,
        none: Option<Arc<CertifiedKey>>,
    }

    impl ResolvesServerCert for ByName {
        fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
            match hello.server_name() {
                Some(lab::HOST) => Some(Arc::clone(&self.own)),
                Some(_) => self.other.clone(),
                None => self.none.clone(),
            }
        }
    }

    fn key(issued: &Issued) -> Arc<CertifiedKey> {
        let signer = rustls::crypto::aws_lc_rs::sign::any_supported_type(&issued.private_key());
        let chain = vec![issued.certificate.clone()];
        Arc::new(CertifiedKey::new(chain, signer.unwrap()))
    }

    async fn seen(resolver: ByName, tier: Tier) -> Facts {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(resolver));
        let script = Arc::new(|_: &str| Some("* OK\r\ng001 OK\r\n".to_owned()));
        let server = Server::new(Some(Arc::new(config)), "* OK ready", script);
        let target = lab::target(server.port, Protocol::Imap, Start::Implicit);
        examine(&target, &lab::means(tier), 1).await
    }

    #[tokio::test]
    async fn each_name_is_answered_with_its_own_chain_or_refused() {
        let root = Authority::root("Root");
        let (own, default) = (
            root.issue(&[lab::HOST]),
            root.issue(&["default.example.test"]),
        );
        let chain = |issued: &Issued| vec![BASE64.encode(&issued.certificate)];
        let resolver = ByName {
            own: key(&own),
            other: Some(key(&own)),
            none: Some(key(&default)),
        };
        let facts = seen(resolver, Tier::Deep).await;
        let served = |issued: &Issued| {
            Seen::Known(Named::Served {
                chain: chain(issued),
            })
        };
        assert_eq!(facts.handshake.known().unwrap().chain, chain(&own));
        assert_eq!(facts.names["none"], served(&default));
        assert_eq!(facts.names["unknown"], served(&own));
        // What strangers are shown is not what the host is known by.
        let leaves: Vec<_> = facts.chains().iter().map(|it| it[0].clone()).collect();
        assert_eq!(leaves, std::slice::from_ref(&own.certificate));

        let strict = ByName {
            own: key(&own),
            other: None,
            none: None,
        };
        let facts = seen(strict, Tier::Deep).await;
        for name in Name::ALL {
            let told = &facts.names[name.label()];
            assert!(
                matches!(told, Seen::Known(Named::Refused { alert: Some(_), .. })),
                "{told:?}"
            );
        }
    }

    #[tokio::test]
    async fn who_is_gone_has_refused_no_name_and_lighter_tiers_do_not_ask() {
        let own = Authority::root("Root").issue(&[lab::HOST]);
        let resolver = ByName {
            own: key(&own),
            other: None,
            none: None,
        };
        assert!(seen(resolver, Tier::Default).await.names.is_empty());
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let errand = lab::errand(port, Protocol::Imap, Start::Implicit);
        for name in Name::ALL {
            let told = ask(&errand, name).await;
            assert!(matches!(told, Seen::Unknown { missing: 1, .. }), "{told:?}");
        }
    }
}
