//! Files of the domain's web hosts, by verified HTTPS. What the host did wrong and what could not be told are two things.

use std::sync::Arc;

use gatepost_net::client::{Failure, Options};
use gatepost_net::http::{Access, HttpFailure, Limits, Url, get, terms};
use gatepost_trust::mta_sts::MAX_POLICY;
use gatepost_trust::verify::ClientTls;
use gatepost_wire::client::ExitClass;

use super::Means;
use super::facts::{Fetch, Fetched};

/// Fetches `https://HOST/PATH`.
pub(super) async fn fetch(means: &Means, host: &str, path: &str) -> Fetched {
    let url = Url {
        tls: true,
        host: host.to_owned(),
        port: means.https_port,
        target: path.to_owned(),
    };
    Fetched {
        url: format!("https://{host}{path}"),
        fetch: Box::pin(ask(means, &url)).await,
    }
}

async fn ask(means: &Means, url: &Url) -> Fetch {
    let Ok(terms) = terms(url, Arc::clone(&means.roots)) else {
        return Fetch::Failed {
            label: "E-NO-NAME".to_owned(),
            why: format!("{} is no name of a web host", url.host),
        };
    };
    let tls = ClientTls::new(terms);
    let limits = Limits {
        time: means.patience,
        body: MAX_POLICY,
    };
    let options = Arc::new(Options::default());
    let access = Access::Verified(&tls);
    match get(url, access, &means.dialer, &options, limits).await {
        Ok(response) => Fetch::Came {
            media: response.head.media_type(),
            body: String::from_utf8_lossy(&response.body).into_owned(),
        },
        Err(failure) => failed(&failure),
    }
}

fn failed(failure: &HttpFailure) -> Fetch {
    let why = failure.to_string();
    if is_told(failure) {
        Fetch::Failed {
            label: failure.label().to_owned(),
            why,
        }
    } else {
        Fetch::Unknown { why }
    }
}

/// Whether the failure tells something about the host: it answered, if only with a closed port, or there is no such name.
fn is_told(failure: &HttpFailure) -> bool {
    match failure {
        HttpFailure::Status(_) => true,
        HttpFailure::Connection(Failure::Dial(dial)) => {
            matches!(dial.label(), "E-REFUSED" | "E-NO-NAME")
        }
        other => other.exit_class() == ExitClass::Finding,
    }
}
