//! From settings to the terms of a connection: everything is decided before it is made [ID-01].

use std::sync::Arc;

use gatepost_trust::identity::client_key;
use gatepost_trust::pin::{PinFile, PinSet, TrustException};
use gatepost_trust::tlsa::TlsaSet;
use gatepost_trust::verify::{
    Alpn, Crls, Demand, HostName, Reference, Roots, Terms, Versions, Way as TrustWay, Ways,
};

use super::home;
use super::settings::{Door, Settings, Tls, Way};
use super::url::{Host, Protocol, Url};
use crate::exit::Failure;
use crate::whole;

/// The file of pins in the user's folder.
pub(crate) const PINS: &str = "pins";

/// The terms for a door of a server. `records` are its TLSA records, where DANE is among the ways.
pub(crate) fn terms(
    settings: &Settings,
    url: &Url,
    door: Door,
    records: Option<&Arc<TlsaSet>>,
) -> Result<Terms, Failure> {
    // [ID-01] [ID-02] the name the user wrote, or gave for this purpose; never one that DNS answered with.
    let named = settings.tls_name.as_ref().unwrap_or(&url.host);
    let reference = reference(named)?;
    let roots = roots(settings)?;
    let mut terms = Terms::for_host(reference, Arc::new(roots));
    if let Some(name) = &settings.tls_name {
        // An address beside --tls-name is still no name to ask for.
        terms.sni = host_name(name);
    }
    let pins = pins(settings, url, door.port)?;
    terms.ways = ways(settings, pins.as_ref(), records)?;
    terms.demand = if settings.verify.is_none() || door.tls == Tls::Opportunistic {
        Demand::Encrypted
    } else {
        Demand::Verified
    };
    // Alone, the pins are the way itself.
    terms.pins = pins.filter(|_| !settings.verify.has(Way::Pin));
    // [CONF-12] [PIN-01]
    terms.exception = settings
        .exception
        .map(TrustException::danger_for_certificate);
    terms.revocation = settings.revocation;
    terms.crls = crls(settings)?;
    terms.versions = if settings.only_tls13 {
        Versions::Only13
    } else {
        Versions::Both
    };
    terms.alpn = alpn(url.protocol);
    terms.client = client(settings)?;
    Ok(terms)
}

fn alpn(protocol: Protocol) -> Alpn {
    match protocol {
        Protocol::Imap => Alpn::Imap,
        Protocol::Pop3 => Alpn::Pop3,
        Protocol::Sieve => Alpn::ManageSieve,
        Protocol::Smtp | Protocol::Submission | Protocol::Lmtp => Alpn::None,
    }
}

/// The host as a reference identifier.
pub(crate) fn reference(host: &Host) -> Result<Reference, Failure> {
    match host {
        Host::Ip(address) => Ok(Reference::Ip(*address)),
        Host::Name(name) => HostName::new(name)
            .map(Reference::Dns)
            .map_err(|error| Failure::usage(format!("{name}: {error}"))),
    }
}

fn host_name(host: &Host) -> Option<HostName> {
    match host {
        Host::Ip(_) => None,
        Host::Name(name) => HostName::new(name).ok(),
    }
}

/// The authorities to trust, of the system and of files. No system authorities where they are needed is an error: else servers would be blamed.
pub(crate) fn roots(settings: &Settings) -> Result<Roots, Failure> {
    let wanted = settings.verify.has(Way::Ca) || settings.verify.has(Way::Sts);
    // With --verify none the chain is still looked at and reported.
    let mut roots = if settings.system_ca && (wanted || settings.verify.is_none()) {
        match Roots::system() {
            Ok(roots) => roots,
            // Whoever names authorities may do without the system's.
            Err(error) if settings.ca.is_empty() && wanted => return Err(Failure::usage(error)),
            Err(_) => Roots::none(),
        }
    } else {
        Roots::none()
    };
    for file in &settings.ca {
        roots
            .add_file(file)
            .map_err(|error| Failure::usage(format!("--ca: {error}")))?;
    }
    Ok(roots)
}

/// The pins given, else those of the user's file.
fn pins(settings: &Settings, url: &Url, port: u16) -> Result<Option<PinSet>, Failure> {
    if let Some(pins) = PinSet::new(settings.pins.clone()) {
        return Ok(Some(pins));
    }
    let kept = pin_file()?;
    let host = match &url.host {
        Host::Ip(address) => address.to_string(),
        Host::Name(name) => name.clone(),
    };
    let pins = kept.pins(&host, port).cloned();
    if pins.is_none() && settings.verify.has(Way::Pin) {
        return Err(Failure::usage(format!(
            "--verify pin, but there is no pin for {}: give --pin, or keep one with: gatepost pin add {}",
            url.place(port),
            url.place(port)
        )));
    }
    Ok(pins)
}

/// Pins are a condition of every connection to the server they are for: what would pass over them is refused, before it is made.
/// [CONF-12] [PIN-02]
pub(crate) fn refuse_to_pass_over_pins(
    settings: &Settings,
    url: &Url,
    door: Door,
) -> Result<(), Failure> {
    let flag = match door.tls {
        Tls::Off => "--tls off",
        Tls::Opportunistic => "--tls opportunistic",
        Tls::Implicit | Tls::StartTls if settings.verify.is_none() => "--verify none",
        Tls::Implicit | Tls::StartTls => return Ok(()),
    };
    match pins(settings, url, door.port)? {
        Some(pins) if !pins.report_only => Err(Failure::usage(format!(
            "there are pins for {}, and {flag} would go on without them; leave it out, or leave out the pins (those that are kept: gatepost \
             pin remove {})",
            url.place(door.port),
            url.place(door.port)
        ))),
        _ => Ok(()),
    }
}

/// The user's file of pins.
pub(crate) fn pin_file() -> Result<PinFile, Failure> {
    let text = home::read(PINS)?.unwrap_or_default();
    PinFile::parse(&text).map_err(|error| {
        let path = home::path(PINS).unwrap_or_default();
        Failure::usage(format!("{}: {error}", path.display()))
    })
}

fn ways(
    settings: &Settings,
    pins: Option<&PinSet>,
    records: Option<&Arc<TlsaSet>>,
) -> Result<Ways, Failure> {
    let way = |way: &Way| match way {
        Way::Ca => Ok(TrustWay::Pkix),
        Way::Sts => Ok(TrustWay::MtaSts),
        Way::Pin => pins
            .cloned()
            .map(TrustWay::Pin)
            .ok_or_else(|| Failure::usage("--verify pin needs --pin")),
        Way::Dane => records
            .cloned()
            .map(TrustWay::Dane)
            .ok_or_else(|| Failure::usage("--verify dane, but there are no TLSA records at hand")),
    };
    let mut ways: Vec<TrustWay> = settings
        .verify
        .ways
        .iter()
        .map(way)
        .collect::<Result<_, Failure>>()?;
    if ways.is_empty() {
        // Nothing is demanded; what an authority would say is reported all the same.
        ways.push(TrustWay::Pkix);
    }
    Ok(if settings.verify.all {
        Ways::All(ways)
    } else {
        Ways::Any(ways)
    })
}

fn crls(settings: &Settings) -> Result<Crls, Failure> {
    let mut crls = Crls::none();
    for file in &settings.crls {
        let octets = whole::read(file).map_err(|error| {
            Failure::usage(format!("--crl: cannot read {}: {error}", file.display()))
        })?;
        crls.add(&octets)
            .map_err(|error| Failure::usage(format!("--crl: {}: {error}", file.display())))?;
    }
    Ok(crls)
}

type ClientKey = Arc<rustls::sign::CertifiedKey>;

/// [MUA-08] our certificate, where the user has said so for this connection.
fn client(settings: &Settings) -> Result<Option<ClientKey>, Failure> {
    let Some(files) = &settings.client else {
        return Ok(None);
    };
    let read = |path: &std::path::Path| {
        whole::read(path).map_err(|error| {
            Failure::usage(format!(
                "--client-cert: cannot read {}: {error}",
                path.display()
            ))
        })
    };
    client_key(&read(&files.chain)?, &read(&files.key)?)
        .map(Some)
        .map_err(|error| Failure::usage(format!("--client-cert: {error}")))
}
