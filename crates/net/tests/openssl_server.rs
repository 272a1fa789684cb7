//! Our client against another engine's server: `openssl s_server`. Skipped, and said so, where there is none.

mod support;

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use gatepost_net::client::{Channel, Options, Session};
use gatepost_trust::verify::{ClientTls, Terms, Versions};
use gatepost_wire::seam::{TlsVersion, VerifiedBy};
use support::caller::{self, Caller, terms};
use support::pki;
use tokio::net::TcpStream;

/// A server for one connection that greets; none without openssl.
fn s_server(options: &[&str]) -> Option<(Child, BufReader<std::process::ChildStdout>, SocketAddr)> {
    let folder = tempfile::tempdir().unwrap();
    let both = folder.path().join("both.pem");
    std::fs::write(&both, &pki::shared().pem).unwrap();
    let mut child = Command::new("openssl")
        .args([
            "s_server",
            "-accept",
            "127.0.0.1:0",
            "-naccept",
            "1",
            "-crlf",
        ])
        .args([
            "-cert".as_ref(),
            both.as_os_str(),
            "-key".as_ref(),
            both.as_os_str(),
        ])
        .args(options)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .inspect_err(|_| println!("skipped: openssl is not there"))
        .ok()?;
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    loop {
        let mut line = String::new();
        assert!(stdout.read_line(&mut line).unwrap() > 0, "s_server ended");
        if let Some(address) = line.strip_prefix("ACCEPT ") {
            let address = address.trim().parse().unwrap();
            return Some((child, stdout, address));
        }
    }
}

/// Greets, and hears; the session's version, bindings, and what the server printed.
async fn converse(options: &[&str], versions: Versions) -> Option<(TlsVersion, String, String)> {
    let (mut child, mut stdout, address) = s_server(options)?;
    let mut stdin = child.stdin.take().unwrap();
    let stream = TcpStream::connect(address).await.unwrap();
    let tls = ClientTls::new(Terms {
        versions,
        ..terms()
    });
    let mut session: Session<Caller> = Session::new(
        stream,
        caller::implicit(),
        tls,
        Arc::new(Options::default()),
    );
    let printing = std::thread::spawn(move || {
        // It prints what it knows of the connection only if it has nothing to say before it is up.
        let mut printed = String::new();
        while !printed.contains("Secure Renegotiation") {
            assert!(stdout.read_line(&mut printed).unwrap() > 0, "{printed}");
        }
        stdin.write_all(b"220 inside\n").unwrap();
        (stdin, stdout, printed)
    });
    assert_eq!(session.next().await.unwrap().unwrap(), "220 inside");
    assert_eq!(session.channel(), Channel::Verified(VerifiedBy::Pkix));
    let facts = session.machine().unwrap().facts.as_ref().unwrap();
    let mut exporter = String::new();
    for octet in facts.bindings.as_ref().unwrap().exporter {
        write!(exporter, "{octet:02X}").unwrap();
    }
    let version = facts.version;
    session.finish().await;
    let (stdin, mut stdout, mut printed) = printing.join().unwrap();
    drop(stdin);
    stdout.read_to_string(&mut printed).unwrap();
    child.wait().unwrap();
    Some((version, exporter, printed))
}

#[tokio::test]
async fn it_agrees_on_versions_suites_and_channel_bindings() {
    // [SASL-CB-01] [TLS-VER-02]
    let export = [
        "-keymatexport",
        "EXPORTER-Channel-Binding",
        "-keymatexportlen",
        "32",
    ];
    let Some((version, exporter, printed)) = converse(&export, Versions::Both).await else {
        return;
    };
    assert_eq!(version, TlsVersion::Tls13);
    assert!(
        printed.contains(&exporter),
        "{exporter} is not in {printed}"
    );
    let old = [&export[..], &["-tls1_2"]].concat();
    let (version, exporter, printed) = converse(&old, Versions::Both).await.unwrap();
    assert_eq!((version, exporter.len()), (TlsVersion::Tls12, 64));
    // It exports without a context, which is not the same as an empty one before TLS 1.3 (RFC 5705 4).
    assert!(printed.contains("Keying material: ") && !printed.contains(&exporter));
    // [TLS-MTI-01] A server that asks for another group first: HelloRetryRequest.
    let other = ["-groups", "P-384"];
    assert!(converse(&other, Versions::Only13).await.is_some());
}

#[tokio::test]
async fn an_older_version_than_policy_wants_is_no_version() {
    // [SMTP-STARTTLS-12] The client offers what its policy takes and nothing else; a server that can only do less is not spoken to.
    let Some((mut child, _stdout, address)) = s_server(&["-tls1_2"]) else {
        return;
    };
    let tls = ClientTls::new(Terms {
        versions: Versions::Only13,
        ..terms()
    });
    let mut session = caller::session(address, caller::implicit(), tls).await;
    let failure = session.next().await.unwrap_err();
    assert_eq!(failure.label(), "E-TLS-ALERT", "{failure}");
    assert_eq!(session.channel(), Channel::Clear);
    let _ = child.kill();
    child.wait().unwrap();
}

#[tokio::test]
async fn what_is_too_old_has_a_reason() {
    // [TLS-VER-01] [TLS-EMS-01]
    let seclevel = ["-cipher", "ALL:@SECLEVEL=0"];
    for (options, label) in [
        (&["-tls1_1"][..], "E-TLS-ALERT"),
        (
            &["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA"],
            "E-TLS-ALERT",
        ),
    ] {
        let options = if options.len() == 1 {
            [options, &seclevel].concat()
        } else {
            options.to_vec()
        };
        let Some((mut child, _stdout, address)) = s_server(&options) else {
            return;
        };
        let tls = ClientTls::new(terms());
        let mut session = caller::session(address, caller::implicit(), tls).await;
        let failure = session.next().await.unwrap_err();
        assert_eq!(failure.label(), label, "{options:?}: {failure}");
        let _ = child.kill();
        child.wait().unwrap();
    }
}
