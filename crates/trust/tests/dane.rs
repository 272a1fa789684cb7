//! TLSA records held against a live server, by us and by OpenSSL: all usages, selectors and matching types, for each
//! certificate of the chain and for a stranger's.

mod support;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::SystemTime;

use gatepost_testkit::pki::{Authority, Issued, now};
use gatepost_trust::tlsa::{Tlsa, TlsaSet, Usages};
use gatepost_trust::verify::{Evidence, Terms, Way, Ways, judge};
use rustls_pki_types::CertificateDer;
use support::openssl::OpenSsl;
use support::terms;

const HOST: &str = "mail.example.org";

/// `openssl s_server`, ended when it goes out of scope.
struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn start(openssl: &OpenSsl, leaf: &Issued, others: &[CertificateDer<'static>]) -> Self {
        openssl.write_certificates("leaf.pem", std::slice::from_ref(&leaf.certificate));
        openssl.write("leaf.key", leaf.key.serialize_pem());
        openssl.write_certificates("others.pem", others);
        let mut child = Command::new("openssl")
            .args(["s_server", "-accept", "127.0.0.1:0"])
            .args(["-cert", "leaf.pem", "-key", "leaf.key"])
            .args(["-cert_chain", "others.pem"])
            .current_dir(openssl.folder())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = lines
            .find_map(|line| line.unwrap().strip_prefix("ACCEPT ").map(ToOwned::to_owned))
            .unwrap();
        // Whatever else it says must go somewhere, or it stops at a full pipe.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, address }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether OpenSSL takes the server for whom the record says. None when the record is not even one for it.
fn theirs(openssl: &OpenSsl, server: &Server, record: &Tlsa) -> bool {
    let seconds = now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let output = openssl.run_list(&[
        "s_client",
        "-brief",
        "-connect",
        &server.address,
        "-no-CApath",
        "-no-CAstore",
        "-CAfile",
        "root.pem",
        "-attime",
        &seconds.to_string(),
        "-dane_tlsa_domain",
        HOST,
        "-dane_tlsa_rrdata",
        &record.to_string(),
        "-dane_ee_no_namechecks",
        "-verify_return_error",
    ]);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    output.status.success() && text.contains("Verification: OK")
}

#[test]
fn all_combinations_as_openssl_sees_them() {
    // [DANE-07] [DANE-08] [DANE-09]
    let Some(openssl) = OpenSsl::find() else {
        return;
    };
    let root = Authority::root("Root");
    let middle = root.authority("Middle");
    let stranger = Authority::root("Stranger").issue(&[HOST]);
    let (good, misnamed) = (middle.issue(&[HOST]), middle.issue(&["other.example.org"]));
    openssl.write_certificates("root.pem", std::slice::from_ref(&root.certificate));
    let others = [middle.certificate.clone(), root.certificate.clone()];
    for leaf in [&good, &misnamed] {
        let server = Server::start(&openssl, leaf, &others);
        let chain = [&[leaf.certificate.clone()][..], &others].concat();
        for (of, certificate) in chain.iter().chain([&stranger.certificate]).enumerate() {
            for numbers in 0..24 {
                let (usage, selector, matching) = (numbers / 6, numbers / 3 % 2, numbers % 3);
                let record = Tlsa::for_certificate(certificate, usage, selector, matching).unwrap();
                let set = TlsaSet::new(std::slice::from_ref(&record), Usages::All);
                let terms = Terms {
                    ways: Ways::Any(vec![Way::Dane(set.into())]),
                    ..terms(HOST, &root)
                };
                let evidence = Evidence {
                    chain: chain.clone(),
                    staple: Vec::new(),
                };
                let verdict = judge(&evidence, &terms, now());
                assert_eq!(
                    verdict.verified().is_some(),
                    theirs(&openssl, &server, &record),
                    "{usage} {selector} {matching} of certificate {of}: {verdict:?}"
                );
            }
        }
    }
}
