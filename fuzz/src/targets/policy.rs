//! The texts a peer's domain publishes: names, TLSA records, MTA-STS records and policies, trust anchors, saved policies.

use std::time::SystemTime;

use gatepost_trust::dns::{Anchors, Data, Name, Rtype};
use gatepost_trust::mta_sts::{Cache, Policy, find_record};
use gatepost_trust::tlsa::Tlsa;

use crate::Target;
use crate::behaviour;

/// Texts, read by every reader.
pub const TEXTS: Target = Target {
    name: "policy",
    run: texts,
    seeds,
    words: &[
        "v=STSv1; id=",
        "version: STSv1\n",
        "mode: ",
        "enforce",
        "max_age: ",
        "mx: *.",
        "3 1 1 ",
        " IN DS ",
        "\r\n",
        ";",
    ],
};

/// Reads one text as each of the things it may be.
///
/// # Panics
/// When what was read and written is not read as the same again.
pub fn texts(data: &[u8]) {
    behaviour::note(format!(
        "{:?}",
        find_record(&[data.to_vec()]).map(|id| id.is_some())
    ));
    let policy = Policy::parse(data);
    behaviour::note(policy.map(|policy| (policy.mode, policy.mx.len())));
    for rtype in [
        Rtype::A,
        Rtype::AAAA,
        Rtype::MX,
        Rtype::SRV,
        Rtype::TXT,
        Rtype::TLSA,
        Rtype::CNAME,
    ] {
        behaviour::note(Data::read(rtype, data).is_some());
    }
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(name) = text.parse::<Name>() {
        assert_eq!(name.to_string().parse(), Ok(name.clone()), "a name changes");
        assert_eq!(
            Name::read(name.as_wire(), 0),
            Ok((name.clone(), name.as_wire().len()))
        );
        behaviour::note(name.depth());
    }
    if let Ok(tlsa) = text.parse::<Tlsa>() {
        assert_eq!(
            tlsa.to_string().parse(),
            Ok(tlsa.clone()),
            "a TLSA record changes"
        );
        assert_eq!(Tlsa::from_rdata(&tlsa.to_rdata()), Ok(tlsa));
    }
    behaviour::note(Anchors::parse(text).map(|_| ()).map_err(|error| error.line));
    let now = SystemTime::UNIX_EPOCH;
    if let Ok(cache) = Cache::load(text, 100, now) {
        let saved = cache.save(now);
        let again = Cache::load(&saved, 100, now).map(|cache| cache.save(now));
        assert_eq!(again.as_ref(), Ok(&saved), "a saved cache changes");
        behaviour::note(saved.lines().count());
    }
}

fn seeds() -> Vec<Vec<u8>> {
    [
        "v=STSv1; id=20160831085700Z;",
        "version: STSv1\nmode: enforce\nmx: mx.example\nmx: *.mail.example\nmax_age: 604800\n",
        "version: STSv1\r\nmode: none\r\nmax_age: 86400\r\n",
        "3 1 1 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
        "DANE-EE SPKI SHA2-256 00 01",
        "_25._tcp.mx.example.",
        r"a\.b\032c.example",
        ". IN DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D\n",
        "example 1 0 enforce 604800 mx.example *.mail.example\n",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}
