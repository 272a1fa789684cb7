//! `gatepost config lint` as it is run: reports, exit codes, what it refuses to read.

use std::process::{Command, Output};

fn lint(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_gatepost"))
        .args(["config", "lint"])
        .args(words)
        .output()
        .unwrap()
}

#[test]
fn findings_are_told_and_end_in_one() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("main.cf"), "imap_tls_cert_file = /c\n").unwrap();
    let name = folder.path().to_str().unwrap();
    let output = lint(&[name]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("write: ssl_server_cert_file = /c"), "{text}");
    let output = lint(&["postfix", name, "--json", "--fail-on", "critical"]);
    assert_eq!(output.status.code(), Some(0));
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told["findings"][0]["id"], "PF-NO-MAILBOX");
}

#[test]
fn what_is_no_configuration_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x");
    let name = file.to_str().unwrap();
    assert_eq!(lint(&[name]).status.code(), Some(3), "not there");
    let mut big = b"smtpd_x = 1\n".to_vec();
    big.resize(4 * 1024 * 1024 + 1, b'\n');
    for octets in [&b"smtpd_x = \0"[..], b"smtpd_x = \xff", b"hello\n", &big] {
        std::fs::write(&file, octets).unwrap();
        let output = lint(&[name]);
        assert_eq!(output.status.code(), Some(3));
        assert!(output.stdout.is_empty());
    }
    assert_eq!(lint(&["sendmail", name]).status.code(), Some(2));
}

#[test]
fn a_pipe_does_not_block_and_circles_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let made = Command::new("mkfifo").arg(path("pipe")).status().unwrap();
    assert!(made.success());
    let output = lint(&["postfix", &path("pipe")]);
    assert_eq!(output.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&output.stderr).contains("plain file"));
    // Included, it is a finding, and so is a circle.
    std::fs::write(
        path("dovecot.conf"),
        "ssl = required\n!include pipe\n!include dovecot.conf\n",
    )
    .unwrap();
    let output = lint(&[&path("dovecot.conf"), "--json"]);
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let ids: Vec<&str> = told["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["id"].as_str().unwrap())
        .collect();
    assert_eq!(ids, ["DC-INCLUDE", "DC-INCLUDE-CIRCLE"]);
}

#[test]
fn a_corrected_file_stands_beside_the_old_one() {
    let folder = tempfile::tempdir().unwrap();
    let name = folder.path().join("main.cf");
    std::fs::write(&name, "# mine\nsmtpd_use_tls = yes\n").unwrap();
    let output = lint(&[name.to_str().unwrap(), "--fix", "--fail-on", "critical"]);
    assert_eq!(output.status.code(), Some(0));
    let fixed = folder.path().join("main.cf.fixed");
    assert_eq!(
        std::fs::read_to_string(&fixed).unwrap(),
        "# mine\nsmtpd_tls_security_level = may\n"
    );
    assert_eq!(
        std::fs::read_to_string(&name).unwrap(),
        "# mine\nsmtpd_use_tls = yes\n"
    );
    // It is not written over.
    assert_eq!(
        lint(&[name.to_str().unwrap(), "--fix"]).status.code(),
        Some(3)
    );
}

#[test]
fn sarif_names_the_place() {
    let folder = tempfile::tempdir().unwrap();
    let name = folder.path().join("exim4.conf");
    std::fs::write(&name, "tls_advertise_hosts =\n").unwrap();
    let output = lint(&[folder.path().to_str().unwrap(), "--sarif"]);
    assert_eq!(output.status.code(), Some(1));
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let result = &told["runs"][0]["results"][0];
    assert_eq!(result["ruleId"], "EX-TLS-OFF");
    assert_eq!(
        result["locations"][0]["physicalLocation"]["region"]["startLine"],
        1
    );
}

#[test]
fn our_own_configuration_is_judged_too() {
    let folder = tempfile::tempdir().unwrap();
    let name = folder.path().join("gatepost.toml");
    std::fs::write(&name, "[login]\nclear_networks = [\"0.0.0.0/0\"]\n").unwrap();
    let output = lint(&[name.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stdout).contains("GP-LOGIN-CLEAR"));
}

#[test]
fn a_key_that_does_not_fit_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let pairs: Vec<String> = ["one", "two"]
        .into_iter()
        .map(|name| {
            let made = Command::new("openssl")
                .args([
                    "req",
                    "-x509",
                    "-newkey",
                    "ec",
                    "-pkeyopt",
                    "ec_paramgen_curve:P-256",
                    "-nodes",
                    "-subj",
                    "/CN=x",
                ])
                .args([
                    "-addext",
                    "subjectAltName=DNS:mail.example.org",
                    "-addext",
                    "basicConstraints=CA:FALSE",
                    "-days",
                    "90",
                ])
                .args([
                    "-keyout",
                    &path(&format!("{name}.key")),
                    "-out",
                    &path(&format!("{name}.pem")),
                ])
                .output()
                .unwrap();
            assert!(made.status.success());
            name.to_owned()
        })
        .collect();
    let lint_pair = |chain: &str, key: &str| {
        let text = format!(
            "smtpd_tls_chain_files = {}, {}\nsmtpd_tls_security_level = may\n",
            path(key),
            path(chain)
        );
        std::fs::write(path("main.cf"), text).unwrap();
        let output = lint(&[&path("main.cf"), "--json"]);
        let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let findings = told["findings"].as_array().unwrap().clone();
        findings
            .iter()
            .map(|it| it["id"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert!(lint_pair(&format!("{}.pem", pairs[0]), "two.key").contains(&"CF-CERT".to_owned()));
    assert_eq!(lint_pair("one.pem", "one.key"), ["PF-LEVEL-MAY"]);
    // A key everybody may read, and files that are not there.
    Command::new("chmod")
        .args(["644", &path("one.key")])
        .status()
        .unwrap();
    assert_eq!(
        lint_pair("one.pem", "one.key"),
        ["CF-CERT-WARN", "PF-LEVEL-MAY"]
    );
    assert_eq!(lint_pair("gone.pem", "gone.key"), ["PF-LEVEL-MAY"]);
    own_certificate(&path);
}

/// [CERT-03] our own configuration's certificate must cover the server's name.
fn own_certificate(path: &dyn Fn(&str) -> String) {
    for (host, wanted) in [
        ("MAIL.example.org", None),
        ("other.example.org", Some("CF-CERT")),
    ] {
        let text = format!(
            "[server]\nhost = \"{host}\"\n[tls]\nchains = [\"{}\"]\nkeys = [\"{}\"]\n",
            path("two.pem"),
            path("two.key")
        );
        std::fs::write(path("gatepost.toml"), text).unwrap();
        let output = lint(&[&path("gatepost.toml"), "--json"]);
        let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let found = told["findings"].as_array().unwrap();
        let ids: Vec<&str> = found.iter().map(|it| it["id"].as_str().unwrap()).collect();
        assert_eq!(ids, wanted.into_iter().collect::<Vec<_>>(), "{host}");
    }
}

/// As many lines as are read at all.
fn many(line: &dyn Fn(usize) -> String) -> String {
    (0..19_000).map(line).collect::<Vec<_>>().concat()
}

#[test]
fn hostile_configurations_end_soon() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x");
    let name = file.to_str().unwrap();
    let texts = [
        ("postfix", "smtpd_tls_auth_onyl = $x\n".repeat(19_000)),
        (
            "postfix",
            many(&|it| format!("a{it} = $a{}$a{}\n", it + 1, it + 1)),
        ),
        ("dovecot", "a {\n".repeat(19_000)),
        ("dovecot", many(&|it| format!("ssl_ch{it} = x\n"))),
        (
            "exim",
            many(&|it| format!("A{it} = A{}A{}\n", it + 1, it + 1)),
        ),
        ("exim", "tls_advertise_host = x\n".repeat(19_000)),
        ("courier", "TLS_CERTFILES=x\n".repeat(19_000)),
    ];
    for (kind, text) in texts {
        std::fs::write(&file, &text).unwrap();
        let start = std::time::Instant::now();
        assert!(lint(&[kind, name, "--json"]).status.code().is_some());
        // Far from what it takes, so that a busy machine does not matter; what it guards against took minutes.
        assert!(
            start.elapsed().as_secs() < 90,
            "{kind}: {:?}",
            start.elapsed()
        );
    }
}
