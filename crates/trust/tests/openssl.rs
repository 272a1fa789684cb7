//! Our verdicts beside OpenSSL's, for everything OpenSSL has a verdict on.
//!
//! Where the two differ, the line says so and why; a difference that is not written down fails the test, and so does one that
//! is written down and gone.

mod support;

use std::time::{Duration, SystemTime};

use gatepost_testkit::pki::{Authority, DAY, Issued, LIFE, now, pem};
use gatepost_trust::cert::{LintTerms, lint};
use gatepost_trust::verify::{
    Crls, Evidence, Reason, Reference, RevocationMode, Roots, Terms, Verdict, judge,
};
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa,
    KeyUsagePurpose, NameConstraints,
};
use rustls_pki_types::CertificateDer;
use support::openssl::OpenSsl;
use support::{roots, terms};

const HOST: &str = "mail.example.org";

/// One question put to both.
struct Case<'a> {
    name: &'static str,
    chain: Vec<CertificateDer<'static>>,
    root: &'a CertificateDer<'static>,
    host: &'static str,
    lists: Vec<Vec<u8>>,
    /// Why the two differ, if they do.
    differs: Option<&'static str>,
}

impl<'a> Case<'a> {
    fn new(name: &'static str, leaf: &Issued, others: &[&Authority], root: &'a Authority) -> Self {
        let others = others.iter().map(|it| it.certificate.clone());
        Self {
            name,
            chain: std::iter::once(leaf.certificate.clone())
                .chain(others)
                .collect(),
            root: &root.certificate,
            host: HOST,
            lists: Vec::new(),
            differs: None,
        }
    }

    fn host(mut self, host: &'static str) -> Self {
        self.host = host;
        self
    }

    fn lists(mut self, lists: &[Vec<u8>]) -> Self {
        self.lists = lists.to_vec();
        self
    }

    fn differs(mut self, why: &'static str) -> Self {
        self.differs = Some(why);
        self
    }

    fn ours(&self, now: SystemTime) -> Verdict {
        let mut trusted = Roots::none();
        trusted.add(self.root.clone()).unwrap();
        let mut crls = Crls::none();
        for list in &self.lists {
            crls.add(list).unwrap();
        }
        let mut terms = Terms::for_host(Reference::host(self.host).unwrap(), trusted.into());
        terms.crls = crls;
        terms.revocation = if self.lists.is_empty() {
            RevocationMode::Off
        } else {
            RevocationMode::Hard
        };
        let evidence = Evidence {
            chain: self.chain.clone(),
            staple: Vec::new(),
        };
        judge(&evidence, &terms, now)
    }

    /// OpenSSL's: good, or the last line of what it said.
    fn theirs(&self, openssl: &OpenSsl, now: SystemTime) -> Result<(), String> {
        let (leaf, others) = self.chain.split_first().unwrap();
        openssl.write_certificates("leaf.pem", std::slice::from_ref(leaf));
        openssl.write_certificates("others.pem", others);
        openssl.write_certificates("root.pem", std::slice::from_ref(self.root));
        let seconds = now
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap()
            .as_secs();
        let address = self.host.parse::<std::net::IpAddr>().is_ok();
        let name = if address {
            "verify_ip"
        } else {
            "verify_hostname"
        };
        let mut line = format!(
            "verify -no-CAfile -no-CApath -no-CAstore -trusted root.pem -attime {seconds} -purpose sslserver -auth_level 2 -{name} {}",
            self.host
        );
        if !others.is_empty() {
            line += " -untrusted others.pem";
        }
        if !self.lists.is_empty() {
            let text: String = self.lists.iter().map(|it| pem("X509 CRL", it)).collect();
            openssl.write("crl.pem", text);
            line += " -crl_check -crl_check_all -CRLfile crl.pem";
        }
        let output = openssl.run(&format!("{line} leaf.pem"));
        if output.status.success() {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        let error = text
            .lines()
            .find(|it| it.starts_with("error "))
            .unwrap_or(&text);
        Err(error.to_owned())
    }

    /// Compares, and says what is wrong.
    fn compare(&self, openssl: &OpenSsl, now: SystemTime) -> Option<String> {
        let ours = self.ours(now);
        let theirs = self.theirs(openssl, now);
        let (good, differ) = (
            ours.verified().is_some(),
            ours.verified().is_some() != theirs.is_ok(),
        );
        println!(
            "{:44} {:28} {}",
            self.name,
            if good {
                "verified"
            } else {
                ours.reason().map_or("", Reason::label)
            },
            theirs.as_ref().err().map_or("OK", |it| it)
        );
        match (differ, self.differs) {
            (true, None) => Some(format!("{}: ours {ours:?}, theirs {theirs:?}", self.name)),
            (false, Some(why)) => Some(format!("{}: no difference any more ({why})", self.name)),
            _ => None,
        }
    }
}

fn compare_all(openssl: &OpenSsl, cases: &[Case<'_>], now: SystemTime) {
    let wrong: Vec<String> = cases
        .iter()
        .filter_map(|it| it.compare(openssl, now))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn names_as_openssl_sees_them() {
    // [ID-03] [ID-04] [ID-05] [ID-07] [CONF-04]
    let Some(openssl) = OpenSsl::find() else {
        return;
    };
    let root = Authority::root("Root");
    let of = |name, names: &[&str]| Case::new(name, &root.issue(names), &[], &root);
    let common_name = root.issue_with(&[], |it| {
        it.distinguished_name.push(rcgen::DnType::CommonName, HOST);
    });
    let cases = [
        of("the name itself", &[HOST]),
        of("in another case", &["Mail.EXAMPLE.org"]),
        of("second of two", &["a.example", HOST]),
        of("another name", &["a.example"]),
        of("the domain above", &["example.org"]),
        of("a wildcard", &["*.example.org"]),
        of("a wildcard for two labels", &["*.org"]),
        of("a wildcard at the wrong depth", &["*.mail.example.org"]),
        of("a wildcard in part of a label", &["m*.example.org"])
            .differs("RFC 9525 6.3 knows whole labels only; OpenSSL takes parts of them"),
        of("a wildcard in the second label", &["mail.*.org"]),
        of("an address", &["192.0.2.1"]).host("192.0.2.1"),
        of("an address, version 6", &["2001:db8::1"]).host("2001:db8::1"),
        of("another address", &["192.0.2.2"]).host("192.0.2.1"),
        of("a name for an address", &[HOST]).host("192.0.2.1"),
        Case::new("a common name alone", &common_name, &[], &root)
            .differs("RFC 9525 1.3: the common name does not count; OpenSSL takes it where there is no other"),
    ];
    compare_all(&openssl, &cases, now());
}

#[test]
fn chains_dates_and_usages_as_openssl_sees_them() {
    // [ID-08]
    let Some(openssl) = OpenSsl::find() else {
        return;
    };
    let root = Authority::root("Root");
    let middle = root.authority("Middle");
    let of = |name, change: &dyn Fn(&mut CertificateParams)| {
        Case::new(name, &root.issue_with(&[HOST], change), &[], &root)
    };
    let below = |name, change: &dyn Fn(&mut CertificateParams)| {
        let middle = root.authority_with("Middle", change);
        Case::new(name, &middle.issue(&[HOST]), &[&middle], &root)
    };
    let leaf = middle.issue(&[HOST]);
    let stranger = Authority::root("Stranger");
    let twin = Authority::root("Root");
    let held = Authority::root_with("Held", |it| {
        it.name_constraints = Some(NameConstraints {
            permitted_subtrees: vec![GeneralSubtree::DnsName("example.net".into())],
            excluded_subtrees: Vec::new(),
        });
    });
    let purpose = |purpose: ExtendedKeyUsagePurpose| {
        move |it: &mut CertificateParams| it.extended_key_usages = vec![purpose.clone()]
    };
    let usage =
        |usage: KeyUsagePurpose| move |it: &mut CertificateParams| it.key_usages = vec![usage];
    let cases = [
        Case::new("through an authority", &leaf, &[&middle], &root),
        Case::new("the root sent along", &leaf, &[&middle, &root], &root),
        Case::new("the authority left out", &leaf, &[], &root),
        Case::new("a stranger's", &stranger.issue(&[HOST]), &[], &root),
        Case::new(
            "a stranger's, root sent along",
            &stranger.issue(&[HOST]),
            &[&stranger],
            &root,
        ),
        Case::new(
            "an authority of the same name",
            &twin.issue(&[HOST]),
            &[],
            &root,
        ),
        Case::new("held to other names", &held.issue(&[HOST]), &[], &held),
        of("expired", &|it| it.not_after = (now() - DAY).into()),
        of("not yet valid", &|it| it.not_before = (now() + DAY).into()),
        of("ends this second", &|it| it.not_after = now().into())
            .differs("RFC 5280 4.1.2.5 includes the last second; OpenSSL does not"),
        of("begins this second", &|it| it.not_before = now().into()),
        of("for clients", &purpose(ExtendedKeyUsagePurpose::ClientAuth)),
        of(
            "for anything, said aloud",
            &purpose(ExtendedKeyUsagePurpose::Any),
        ),
        of("for anything, in silence", &|it| {
            it.extended_key_usages.clear();
        }),
        of(
            "key for enciphering only",
            &usage(KeyUsagePurpose::KeyEncipherment),
        )
        .differs("all key exchanges we speak need a signature; OpenSSL thinks of static RSA too"),
        of("an authority as server", &|it| {
            it.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        })
        .differs("the certificate of an authority is not a server's; OpenSSL does not mind"),
        of("a critical extension", &|it| {
            let mut it_is = rcgen::CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]);
            it_is.set_criticality(true);
            it.custom_extensions.push(it_is);
        }),
        below("the authority expired", &|it| {
            it.not_after = (now() - DAY).into();
        }),
        below("the authority is none", &|it| it.is_ca = IsCa::ExplicitNoCa),
        below(
            "the authority may not sign",
            &usage(KeyUsagePurpose::CrlSign),
        ),
        below(
            "the authority is for clients",
            &purpose(ExtendedKeyUsagePurpose::ClientAuth),
        ),
    ];
    compare_all(&openssl, &cases, now());
}

#[test]
fn lists_as_openssl_sees_them() {
    // [REV-02]
    let Some(openssl) = OpenSsl::find() else {
        return;
    };
    let root = Authority::root("Root");
    let middle = root.authority("Middle");
    let leaf = middle.issue(&[HOST]);
    let good = (root.crl(&[]), middle.crl(&[]));
    let outdated = |revoked: &[&rcgen::SerialNumber]| {
        middle.crl_with(revoked, |it| {
            it.this_update = (now() - 3 * DAY).into();
            it.next_update = (now() - DAY).into();
        })
    };
    let future = middle.crl_with(&[], |it| it.this_update = (now() + DAY).into());
    let case = |name, of_root: &Vec<u8>, of_middle: Option<Vec<u8>>| {
        let lists: Vec<Vec<u8>> = std::iter::once(of_root.clone()).chain(of_middle).collect();
        Case::new(name, &leaf, &[&middle], &root).lists(&lists)
    };
    let revoked_authority = root.crl(&[middle.serial()]);
    let cases = [
        case("nobody revoked", &good.0, Some(good.1.clone())),
        case(
            "the leaf revoked",
            &good.0,
            Some(middle.crl(&[&leaf.serial])),
        ),
        case(
            "the authority revoked",
            &revoked_authority,
            Some(good.1.clone()),
        ),
        case("no list of the authority", &good.0, None),
        case("an outdated list", &good.0, Some(outdated(&[]))),
        case(
            "an outdated list that revokes",
            &good.0,
            Some(outdated(&[&leaf.serial])),
        ),
        case("a list from the future", &good.0, Some(future)),
        case(
            "a list by another of that name",
            &good.0,
            Some(Authority::root("Middle").crl(&[])),
        ),
    ];
    compare_all(&openssl, &cases, now());
}

/// Keys and signatures no tool of ours makes.
struct Weak {
    openssl: OpenSsl,
    now: SystemTime,
}

impl Weak {
    /// A leaf with this key under an RSA root, signed with this digest.
    fn issue(
        &self,
        key: &str,
        digest: &str,
    ) -> Option<(CertificateDer<'static>, CertificateDer<'static>)> {
        let openssl = &self.openssl;
        if !openssl.path("root.pem").exists() {
            openssl.write(
                "ca.ext",
                "basicConstraints=critical,CA:TRUE\nkeyUsage=keyCertSign,cRLSign\n",
            );
            openssl.must("req -new -newkey rsa:2048 -nodes -keyout root.key -out root.csr -subj /CN=Weak -sha256");
            openssl.must("x509 -req -in root.csr -signkey root.key -days 30 -sha256 -extfile ca.ext -out root.pem");
        }
        openssl.write(
            "leaf.ext",
            format!("subjectAltName=DNS:{HOST}\nkeyUsage=digitalSignature\nextendedKeyUsage=serverAuth\n"),
        );
        let made = openssl.run(&format!("{key} -out weak.key")).status.success()
            && openssl
                .run("req -new -key weak.key -out weak.csr -subj /CN=weak -sha256")
                .status
                .success()
            && openssl
                .run(&format!(
                    "x509 -req -in weak.csr -CA root.pem -CAkey root.key -set_serial 7 -days 20 -{digest} -extfile leaf.ext -out weak.pem"
                ))
                .status
                .success();
        // Some builds of OpenSSL have old algorithms left out.
        made.then(|| {
            (
                openssl.read_certificate("weak.pem"),
                openssl.read_certificate("root.pem"),
            )
        })
    }

    fn compare(
        &self,
        name: &'static str,
        key: &str,
        digest: &str,
        label: &str,
        differs: Option<&'static str>,
    ) {
        let Some((leaf, root)) = self.issue(key, digest) else {
            eprintln!("skipped: this openssl does not make {name}");
            return;
        };
        let case = Case {
            name,
            chain: vec![leaf],
            root: &root,
            host: HOST,
            lists: Vec::new(),
            differs,
        };
        let ours = case.ours(self.now);
        assert_eq!(
            ours.reason().map_or("", Reason::label),
            label,
            "{name}: {ours:?}"
        );
        // Their files have our names: write ours elsewhere.
        let other = OpenSsl::find().unwrap();
        assert_eq!(case.compare(&other, self.now), None);
    }
}

#[test]
fn keys_and_signatures_as_openssl_sees_them() {
    // [TLS-KEY-01] [TLS-SIG-03]
    let Some(openssl) = OpenSsl::find() else {
        return;
    };
    let weak = Weak {
        openssl,
        now: SystemTime::now() + Duration::from_secs(60),
    };
    let rsa = |bits: u32| format!("genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:{bits}");
    let curve = |name: &str| format!("ecparam -genkey -noout -name {name}");
    let (key, signature) = ("E-CERT-WEAK-KEY", "E-CERT-WEAK-SIGNATURE");
    weak.compare("RSA 2048", &rsa(2048), "sha256", "", None);
    weak.compare("RSA 1024", &rsa(1024), "sha256", key, None);
    weak.compare(
        "RSA 2040",
        &rsa(2040),
        "sha256",
        key,
        Some("RFC 9325 4.5 says 2048 bits; OpenSSL counts strength, rounded"),
    );
    weak.compare("P-256", &curve("prime256v1"), "sha256", "", None);
    weak.compare("P-521", &curve("secp521r1"), "sha512", "", None);
    weak.compare("P-192", &curve("prime192v1"), "sha256", key, None);
    weak.compare(
        "P-224",
        &curve("secp224r1"),
        "sha256",
        key,
        Some("no TLS 1.3 signature is made with P-224; OpenSSL thinks its 112 bits enough"),
    );
    weak.compare(
        "secp256k1",
        &curve("secp256k1"),
        "sha256",
        key,
        Some("not a curve of TLS 1.3; OpenSSL takes any"),
    );
    weak.compare("SHA-1", &curve("prime256v1"), "sha1", signature, None);
    weak.compare("MD5", &curve("prime256v1"), "md5", signature, None);
}

#[test]
fn a_weak_key_is_no_better_for_a_tlsa_record() {
    // [DANE-08] [TLS-KEY-01]
    use gatepost_trust::tlsa::{Tlsa, TlsaSet, Usages};
    use gatepost_trust::verify::{Way, Ways};
    let Some(openssl) = OpenSsl::find() else {
        return;
    };
    let weak = Weak {
        openssl,
        now: SystemTime::now(),
    };
    let Some((leaf, _)) = weak.issue(
        "genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:1024",
        "sha256",
    ) else {
        return;
    };
    let record = Tlsa::for_certificate(&leaf, 3, 1, 1).unwrap();
    let root = Authority::root("Root");
    let terms = Terms {
        ways: Ways::Any(vec![Way::Dane(
            TlsaSet::new(&[record], Usages::DaneOnly).into(),
        )]),
        roots: roots(&root),
        ..terms(HOST, &root)
    };
    let evidence = Evidence {
        chain: vec![leaf],
        staple: Vec::new(),
    };
    let verdict = judge(&evidence, &terms, weak.now + LIFE);
    assert_eq!(verdict.reason().map(Reason::label), Some("E-CERT-WEAK-KEY"));
}

#[test]
fn the_lints_find_weak_keys_and_signatures() {
    // [TLS-KEY-01]
    let Some(openssl) = OpenSsl::find() else {
        return;
    };
    let weak = Weak {
        openssl,
        now: SystemTime::now() + Duration::from_secs(60),
    };
    let found = |key: &str, digest: &str| {
        let (leaf, _) = weak.issue(key, digest)?;
        let terms = LintTerms {
            host: None,
            roots: None,
            now: weak.now,
        };
        let ids = lint(&[leaf], &terms).into_iter().map(|it| it.rule.id());
        Some(ids.collect::<Vec<_>>())
    };
    let curve = "ecparam -genkey -noout -name prime256v1";
    let rsa = "genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:1024";
    for (found, id) in [
        (found(rsa, "sha256"), "CERT-KEY"),
        (found(curve, "sha1"), "CERT-SIG"),
    ] {
        assert!(found.is_none_or(|ids| ids.contains(&id)), "{id}");
    }
    assert!(!found(curve, "sha256").unwrap().contains(&"CERT-SIG"));
}

#[test]
fn a_certificate_of_version_1_will_do_where_its_key_is_known_or_nobody_asks() {
    // [DANE-08] [OS-02]
    use gatepost_trust::tlsa::{Tlsa, TlsaSet, Usages};
    use gatepost_trust::verify::{Demand, Shares, VerifiedBy, Versions, Way, Ways};
    let Some(openssl) = OpenSsl::find() else {
        return;
    };
    openssl.must("ecparam -genkey -noout -name prime256v1 -out old.key");
    openssl.must("req -new -key old.key -out old.csr -subj /CN=old -sha256");
    openssl.must("x509 -req -in old.csr -signkey old.key -days 20 -sha256 -out old.pem");
    let certificate = openssl.read_certificate("old.pem");
    let key = std::fs::read_to_string(openssl.path("old.key")).unwrap();
    let server = support::Server::with_key(&certificate, &key);
    let root = Authority::root("Root");
    let record = Tlsa::for_certificate(&certificate, 3, 1, 1).unwrap();
    for versions in [Versions::Only12, Versions::Only13] {
        let strict = Terms {
            versions,
            ..terms(HOST, &root)
        };
        let run = |terms: Terms| support::connect(terms, &server, Shares::Hybrid);
        let dane = Terms {
            ways: Ways::Any(vec![Way::Dane(
                TlsaSet::new(std::slice::from_ref(&record), Usages::DaneOnly).into(),
            )]),
            ..strict.clone()
        };
        let dane = run(dane);
        assert_eq!(dane.error, None);
        assert_eq!(dane.verdict.unwrap().verified(), Some(VerifiedBy::Dane));
        let encrypted = Terms {
            demand: Demand::Encrypted,
            ..strict.clone()
        };
        let encrypted = run(encrypted);
        assert_eq!(encrypted.error, None);
        assert_eq!(encrypted.verdict.unwrap().verified(), None);
        assert!(run(strict).error.is_some());
    }
}
