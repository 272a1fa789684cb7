//! The same with another engine: `openssl s_client`. Skipped, and said so, where there is none.

mod support;

use std::io::Write;
use std::process::{Command, Stdio};

use support::Server;

/// What `s_client` says when it connects and says QUIT; none without openssl.
fn s_client(server: &Server, options: &[&str]) -> Option<String> {
    let mut child = Command::new("openssl")
        .args([
            "s_client",
            "-connect",
            &server.address.to_string(),
            "-crlf",
            "-ign_eof",
        ])
        .args(options)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .inspect_err(|_| println!("skipped: openssl is not there"))
        .ok()?;
    // It may have gone already, when the handshake has failed.
    let _ = child.stdin.take().unwrap().write_all(b"QUIT\n");
    let output = child.wait_with_output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    Some(String::from_utf8_lossy(&text).into_owned())
}

fn expect(server: &Server, options: &[&str], words: &[&str]) {
    let Some(text) = s_client(server, options) else {
        return;
    };
    for word in words {
        assert!(text.contains(word), "{options:?}: no {word} in {text}");
    }
}

#[test]
fn it_speaks_both_versions_over_starttls_and_at_once() {
    // [TLS-VER-02] [TLS-RENEG-01] [TLS-COMP-01]
    let server = support::starttls();
    let starttls = ["-starttls", "smtp"];
    let common = [
        "221 bye",
        "Secure Renegotiation IS supported",
        "Compression: NONE",
    ];
    for (version, words) in [
        (
            "-tls1_3",
            [
                "New, TLSv1.3, Cipher is TLS_AES_128_GCM_SHA256",
                "Early data was not sent",
            ],
        ),
        (
            "-tls1_2",
            [
                "Cipher is ECDHE-ECDSA-AES128-GCM-SHA256",
                "Extended master secret: yes",
            ],
        ),
    ] {
        expect(&server, &[&starttls[..], &[version]].concat(), &words);
        expect(&server, &[&starttls[..], &[version]].concat(), &common[..1]);
    }
    expect(&server, &["-starttls", "smtp", "-tls1_2"], &common);
    expect(
        &support::implicit(),
        &["-tls1_3"],
        &["220 inside", "221 bye"],
    );
}

#[test]
fn it_is_asked_for_a_share_of_a_group_we_know() {
    // [TLS-MTI-01] HelloRetryRequest: its first hello has a share for P-521 alone.
    let server = support::implicit();
    expect(
        &server,
        &["-tls1_3", "-groups", "P-521:P-384"],
        &[
            "Server Temp Key: ECDH, secp384r1",
            "New, TLSv1.3",
            "221 bye",
        ],
    );
    expect(
        &server,
        &["-tls1_3", "-groups", "P-521"],
        &["alert handshake failure"],
    );
}

#[test]
fn its_resumption_has_a_fresh_key_exchange() {
    // [TLS-TICK-02] `s_client` offers to do without one, and is not taken at its word.
    let folder = tempfile::tempdir().unwrap();
    let session = folder.path().join("session.pem");
    let session = session.to_str().unwrap();
    let server = support::implicit();
    let offer = ["-tls1_3", "-groups", "P-256", "-allow_no_dhe_kex"];
    expect(
        &server,
        &[&offer[..], &["-sess_out", session]].concat(),
        &["New, TLSv1.3"],
    );
    let words = ["Reused, TLSv1.3", "Server Temp Key: ECDH"];
    expect(
        &server,
        &[&offer[..], &["-sess_in", session]].concat(),
        &words,
    );
}

#[test]
fn it_is_refused_with_old_versions_and_old_suites() {
    // [TLS-VER-01] [TLS-CIPH-02] [TLS-CIPH-04]
    let server = support::implicit();
    for version in ["-tls1", "-tls1_1"] {
        let options = [version, "-cipher", "ALL:@SECLEVEL=0"];
        expect(
            &server,
            &options,
            &["alert protocol version", "SSL alert number 70"],
        );
    }
    for suite in [
        "AES128-GCM-SHA256",
        "DHE-RSA-AES128-GCM-SHA256",
        "ECDHE-ECDSA-AES128-SHA",
    ] {
        let options = ["-tls1_2", "-cipher", suite];
        expect(&server, &options, &["alert handshake failure"]);
    }
}

#[test]
fn its_renegotiation_is_refused() {
    // [TLS-RENEG-01] `R` at the beginning of a line makes `s_client` ask for it.
    let server = support::implicit();
    let child = Command::new("openssl")
        .args([
            "s_client",
            "-tls1_2",
            "-connect",
            &server.address.to_string(),
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut child) = child else {
        println!("skipped: openssl is not there");
        return;
    };
    let mut stdin = child.stdin.take().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(500));
    stdin.write_all(b"R\n").unwrap();
    std::thread::sleep(std::time::Duration::from_millis(500));
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("no renegotiation"), "{text}");
}
