use super::*;

/// What a log says: the rules with their evidence, and the outcomes.
fn read(log: &str) -> (Vec<(&'static str, String)>, Vec<&'static str>, Counters) {
    let lines: Vec<&str> = log
        .lines()
        .map(str::trim_start)
        .filter(|it| !it.is_empty())
        .collect();
    let (events, counters) = told(&lines, LogWatcher::new(Privacy::new([1; 32], false)));
    // Whatever a test reads is read the long way too: what is told must be the same.
    let mut thorough = LogWatcher::new(Privacy::new([1; 32], false));
    thorough.is_thorough = true;
    let (slow_events, slow_counters) = told(&lines, thorough);
    assert_eq!(printed(&events), printed(&slow_events), "{log}");
    assert_eq!(counters, slow_counters, "{log}");
    let (mut findings, mut outcomes) = (Vec::new(), Vec::new());
    for event in events {
        match event {
            Event::Finding(it) => findings.push((it.id, it.evidence)),
            Event::Session(it) => outcomes.push(it.outcome.word()),
        }
    }
    (findings, outcomes, counters)
}

fn told(lines: &[&str], mut watcher: LogWatcher) -> (Vec<Event>, Counters) {
    for line in lines {
        watcher.line(line.as_bytes());
    }
    watcher.finish();
    (watcher.take_events(), watcher.counters())
}

fn printed(events: &[Event]) -> Vec<String> {
    let lines = events.iter().map(|it| match it {
        Event::Finding(it) => serde_json::to_string(&it.as_json("f")).unwrap(),
        Event::Session(it) => serde_json::to_string(&it.as_json("f")).unwrap(),
    });
    lines.collect()
}

fn ids(log: &str) -> Vec<&'static str> {
    read(log).0.into_iter().map(|it| it.0).collect()
}

#[test]
fn a_login_in_clear_at_postfix() {
    let log = "
        Nov 26 18:00:00 mx postfix/submission/smtpd[11]: connect from pc.example.org[192.0.2.7]
        Nov 26 18:00:01 mx postfix/submission/smtpd[12]: connect from tls.example.org[192.0.2.8]
        Nov 26 18:00:01 mx postfix/submission/smtpd[12]: Anonymous TLS connection established from tls.example.org[192.0.2.8]: TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits) key-exchange X25519
        Nov 26 18:00:02 mx postfix/submission/smtpd[11]: 4AB: client=pc.example.org[192.0.2.7], sasl_method=PLAIN, sasl_username=anna@example.org
        Nov 26 18:00:02 mx postfix/submission/smtpd[12]: 4AC: client=tls.example.org[192.0.2.8], sasl_method=PLAIN, sasl_username=bert@example.org
        Nov 26 18:00:03 mx postfix/submission/smtpd[11]: disconnect from pc.example.org[192.0.2.7] ehlo=1 auth=1 mail=1 rcpt=1 data=1 quit=1 commands=6
        Nov 26 18:00:03 mx postfix/submission/smtpd[12]: disconnect from tls.example.org[192.0.2.8] ehlo=2 starttls=1 auth=1 mail=1 rcpt=1 data=1 quit=1 commands=8";
    let (findings, outcomes, counters) = read(log);
    let ids: Vec<_> = findings.iter().map(|it| it.0).collect();
    assert_eq!(ids, ["W101", "W202"]);
    assert_eq!(outcomes, ["Clear", "upgraded"]);
    assert_eq!((counters.lines, counters.unknown), (7, 0));
}

#[test]
fn tls_is_told_by_the_count_where_its_lines_are_not_logged() {
    let log = "
        2026-11-26T18:00:00.123456+01:00 mx postfix/smtpd[11]: connect from pc.example.org[192.0.2.7]
        2026-11-26T18:00:02.123456+01:00 mx postfix/smtpd[11]: 4AB: client=pc.example.org[192.0.2.7]
        2026-11-26T18:00:03.123456+01:00 mx postfix/smtpd[11]: disconnect from pc.example.org[192.0.2.7] ehlo=2 starttls=1 mail=1 rcpt=1 data=1 quit=1 commands=7";
    assert_eq!(ids(log), Vec::<&str>::new());
    let wrapped = log
        .replace("postfix/smtpd", "postfix/smtps/smtpd")
        .replace(" starttls=1", "");
    assert_eq!(ids(&wrapped), Vec::<&str>::new());
    // From the machine itself nothing was on a wire.
    let local = log
        .replace(" starttls=1", "")
        .replace("192.0.2.7", "127.0.0.1");
    assert_eq!(ids(&local), Vec::<&str>::new());
    assert_eq!(ids(&log.replace(" starttls=1", "")), ["W202"]);
}

#[test]
fn logins_refused_and_upgrades_failed_at_postfix() {
    let log = "
        Nov 26 18:00:00 mx postfix/smtpd[11]: connect from unknown[192.0.2.7]
        Nov 26 18:00:01 mx postfix/smtpd[11]: warning: unknown[192.0.2.7]: SASL LOGIN authentication failed: authentication failure, sasl_username=anna
        Nov 26 18:00:03 mx postfix/smtpd[11]: disconnect from unknown[192.0.2.7] ehlo=1 auth=0/1 quit=1 commands=2/3
        Nov 26 18:01:00 mx postfix/smtpd[11]: connect from unknown[192.0.2.9]
        Nov 26 18:01:01 mx postfix/smtpd[11]: SSL_accept error from unknown[192.0.2.9]: -1
        Nov 26 18:01:02 mx postfix/smtpd[11]: disconnect from unknown[192.0.2.9] ehlo=1 starttls=0/1 commands=1/2
        Nov 26 18:02:00 mx postfix/smtpd[11]: connect from unknown[192.0.2.9]
        Nov 26 18:02:01 mx postfix/smtpd[11]: improper command pipelining after STARTTLS from unknown[192.0.2.9]: AUTH PLAIN AGFubmEAcGVuY2ls
        Nov 26 18:02:02 mx postfix/smtpd[11]: disconnect from unknown[192.0.2.9] ehlo=1 starttls=1 commands=2";
    let (findings, outcomes, _) = read(log);
    let text = format!("{findings:?}");
    assert_eq!(
        findings.iter().map(|it| it.0).collect::<Vec<_>>(),
        ["W101", "W303", "W304"],
        "{text}"
    );
    assert!(findings[0].1.ends_with("rejected"));
    assert_eq!(outcomes, ["Clear", "failed", "upgraded"]);
    assert!(!text.contains("AGFubmEAcGVuY2ls"));
}

#[test]
fn deliveries_of_postfix() {
    let delivery = "Nov 26 18:00:02 mx postfix/smtp[21]: 4AB: to=<b@example.org>, relay=mx.example.org[198.51.100.1]:25, delay=1, delays=0/0/1/0,TLS dsn=2.0.0, status=sent (250 ok)";
    for (word, expected) in [
        (" tls=may:none,", &["W202"][..]),
        (" tls=none,", &["W202"]),
        (" tls=dane:halfdane,", &["W505"]),
        (" tls=dane,", &[]),
        (" tls=may,", &[]),
        (" tls=verify!,", &["W303"]),
        ("", &[]),
    ] {
        assert_eq!(ids(&delivery.replace("TLS", word)), expected, "{word}");
    }
    // A log that tells TLS connections may be taken at its word when it tells of none.
    let other = "Nov 26 18:00:01 mx postfix/smtp[22]: Verified TLS connection established to mx.example.net[198.51.100.2]:25: TLSv1.2 with cipher ECDHE-RSA-AES128-GCM-SHA256 (128/128 bits)";
    assert_eq!(
        ids(&format!("{other}\n{}", delivery.replace("TLS", ""))),
        ["W202"]
    );
    let same = other
        .replace(
            "mx.example.net[198.51.100.2]",
            "mx.example.org[198.51.100.1]",
        )
        .replace("[22]", "[21]");
    assert_eq!(
        ids(&format!("{same}\n{}", delivery.replace("TLS", ""))),
        Vec::<&str>::new()
    );
}

#[test]
fn what_goes_wrong_with_tls_at_postfix() {
    for (text, id) in [
        (
            "4AB: TLS is required, but was not offered by host mx.example.org[198.51.100.1]",
            "W301",
        ),
        (
            "4AB: host mx.example.org[198.51.100.1] refused to start TLS: 454 no",
            "W301",
        ),
        (
            "SSL_connect error to mx.example.org[198.51.100.1]:25: -1",
            "W303",
        ),
        ("4AB: Cannot start TLS: handshake failure", "W303"),
        (
            "certificate verification failed for mx.example.org[198.51.100.1]:25: untrusted issuer /CN=x",
            "W505",
        ),
        ("Host offered STARTTLS: [mx.example.org]", "W201"),
    ] {
        assert_eq!(
            ids(&format!("Nov 26 18:00:01 mx postfix/smtp[21]: {text}")),
            [id],
            "{text}"
        );
    }
}

#[test]
fn logins_at_dovecot() {
    let log = "
        Nov 26 18:00:00 mx dovecot: imap-login: Login: user=<anna@example.org>, method=PLAIN, rip=192.0.2.7, lip=198.51.100.1, mpid=5, session=<abc>
        Nov 26 18:00:00 mx dovecot: imap-login: Login: user=<anna@example.org>, method=PLAIN, rip=192.0.2.7, lip=198.51.100.1, mpid=5, TLS, session=<abc>
        Nov 26 18:00:00 mx dovecot: pop3-login: Login: user=<anna@example.org>, method=CRAM-MD5, rip=192.0.2.7, lip=198.51.100.1, mpid=5, session=<abc>
        Nov 26 18:00:00 mx dovecot: pop3-login: Login: user=<anna@example.org>, method=PLAIN, rip=127.0.0.1, lip=127.0.0.1, mpid=5, secured, session=<abc>
        Nov 26 18:00:00 mx dovecot: imap-login: Aborted login (auth failed, 1 attempts in 2 secs): user=<anna>, method=PLAIN, rip=192.0.2.7, lip=198.51.100.1, session=<abc>
        Nov 26 18:00:00 mx dovecot: imap-login: Disconnected (no auth attempts in 0 secs): user=<>, rip=192.0.2.7, lip=198.51.100.1, TLS handshaking: SSL_accept() failed: error:0A000416, session=<abc>
        Nov 26 18:00:00 mx dovecot: imap-login: Disconnected (no auth attempts in 0 secs): user=<>, rip=192.0.2.7, lip=198.51.100.1, session=<abc>
        Nov 26 18:00:00 mx dovecot: imap(anna)<5><abc>: Logged out in=1 out=2";
    let (findings, outcomes, counters) = read(log);
    assert_eq!(
        findings.iter().map(|it| it.0).collect::<Vec<_>>(),
        ["W102", "W105", "W102", "W303"],
        "{findings:?}"
    );
    assert_eq!(
        outcomes,
        [
            "Clear",
            "Encrypted",
            "Clear",
            "Clear",
            "Clear",
            "failed",
            "Clear"
        ]
    );
    assert_eq!(counters.unknown, 1);
}

#[test]
fn the_short_way_tells_what_the_long_way_tells() {
    // Heads of every kind, more programs than are remembered, ends of lines that are missing, octets that are no UTF-8, both forms of time.
    let clear = [
        "connect from pc.example.org[192.0.2.7]",
        "4AB: client=pc.example.org[192.0.2.7], sasl_method=LOGIN, sasl_username=anna",
        "disconnect from pc.example.org[192.0.2.7] ehlo=1 auth=1 mail=1 rcpt=1 data=1 quit=1 commands=6",
    ];
    let tls = [
        "connect from pc.example.org[192.0.2.8]",
        "Anonymous TLS connection established from pc.example.org[192.0.2.8]: TLSv1 with cipher DES-CBC3-SHA (168/168 bits)",
        "disconnect from pc.example.org[192.0.2.8] ehlo=2 starttls=1 quit=1 commands=4",
    ];
    let mut log = String::new();
    for (number, head) in [
        "Nov 26 18:00:00 mx postfix",
        "2026-11-26T18:00:00.123456+01:00 mx postfix",
        "2026-11-26T18:00:00Z mx postfix-out",
    ]
    .iter()
    .enumerate()
    {
        for program in 0..20 {
            let mut line = |text: &str| {
                log.push_str(text);
                log.push('\n');
            };
            line(&format!("{head}/qmgr[77]: 4AB: removed"));
            line(&format!(
                "Nov 26 18:00:00 mx cron{program}[5]: (root) CMD (true)"
            ));
            line("Nov 26 18:00:00 mx kernel: eth0: link up");
            for text in clear.iter().chain(&tls) {
                line(&format!(
                    "{head}/in{program}/smtpd[{}]: {text}",
                    number + 10
                ));
                line(&format!(
                    "{head}/smtps{program}/smtpd[{}]: {text}",
                    number + 10
                ));
            }
            line(&format!("{head}/smtpd[x]: {}", clear[0]));
            line(&format!("{head}/smtpd[5] {}", clear[0]));
        }
    }
    let (findings, _, counters) = read(&log);
    let count = |id: &str| findings.iter().filter(|it| it.0 == id).count();
    assert_eq!((count("W101"), count("W202")), (60, 60));
    assert_eq!((count("W501"), count("W502")), (120, 120));
    assert_eq!(counters.unknown, 60 * 5);
}

#[test]
fn sessions_of_two_services_with_one_process_number_stay_apart() {
    let log = "
        Nov 26 18:00:00 mx postfix/smtpd[11]: connect from pc.example.org[192.0.2.7]
        Nov 26 18:00:00 mx postfix-two/smtpd[11]: connect from tls.example.org[192.0.2.8]
        Nov 26 18:00:01 mx postfix-two/smtpd[11]: Anonymous TLS connection established from tls.example.org[192.0.2.8]: TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits)
        Nov 26 18:00:02 mx postfix/smtpd[11]: 4AB: client=pc.example.org[192.0.2.7]
        Nov 26 18:00:03 mx postfix/smtpd[11]: disconnect from pc.example.org[192.0.2.7] ehlo=1 mail=1 commands=2
        Nov 26 18:00:03 mx postfix-two/smtpd[11]: disconnect from tls.example.org[192.0.2.8] ehlo=2 starttls=1 commands=3";
    let (findings, outcomes, _) = read(log);
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert_eq!(outcomes, ["Clear", "upgraded"]);
}

#[test]
fn managesieve_is_a_protocol_of_its_own() {
    let login = "Nov 26 18:00:00 mx dovecot: managesieve-login: Login: user=<anna>, method=PLAIN, rip=192.0.2.7, lip=198.51.100.1, mpid=5, session=<abc>";
    let mut watcher = LogWatcher::new(Privacy::new([1; 32], false));
    watcher.line(login.as_bytes());
    let text = printed(&watcher.take_events()).join("\n");
    assert!(
        text.contains("\"W108\"") && text.contains("\"managesieve\""),
        "{text}"
    );
    assert!(!text.contains("\"imap\""), "{text}");
    assert_eq!(
        ids(&login.replace("session=", "TLS, session=")),
        Vec::<&str>::new()
    );
}

#[test]
fn what_a_client_says_is_not_taken_for_the_servers_words() {
    let log = "
        Nov 26 18:00:00 mx postfix/smtpd[11]: connect from pc.example.org[192.0.2.7]
        Nov 26 18:00:01 mx postfix/smtpd[11]: NOQUEUE: reject: RCPT from pc.example.org[192.0.2.7]: 550 5.1.1 <non-SMTP command from x>: no; helo=<improper command pipelining after STARTTLS>
        Nov 26 18:00:03 mx postfix/smtpd[11]: disconnect from pc.example.org[192.0.2.7] ehlo=1 mail=1 rcpt=0/1 commands=2/3";
    assert_eq!(ids(log), Vec::<&str>::new());
}

#[test]
fn messages_of_exim() {
    for (line, expected) in [
        (
            "1abCdE-0001-AB <= a@example.net H=pc.example.net [192.0.2.7]:5000 P=esmtpa A=plain_server:anna S=500",
            &["W101", "W202"][..],
        ),
        (
            "1abCdE-0001-AB <= a@example.net H=pc.example.net [192.0.2.7] P=esmtpsa X=TLS1.3:TLS_AES_256_GCM_SHA384:256 CV=no A=plain:anna S=500",
            &[],
        ),
        (
            "1abCdE-0001-AB <= a@example.net H=pc.example.net [192.0.2.7] P=esmtp S=500",
            &["W202"],
        ),
        ("1abCdE-0001-AB <= a@example.net U=anna P=local S=500", &[]),
        (
            "1abCdE-0001-AB => b@example.org R=dnslookup T=remote_smtp H=mx.example.org [198.51.100.1] C=\"250 ok\"",
            &["W202"],
        ),
        (
            "1abCdE-0001-AB => b@example.org R=dnslookup T=remote_smtp H=mx.example.org [198.51.100.1] X=TLS1.0:DES-CBC3-SHA:168 CV=no C=\"250 ok\"",
            &["W501", "W502"],
        ),
        (
            "TLS error on connection from pc.example.net [192.0.2.7] (SSL_accept): error:1",
            &["W303"],
        ),
        (
            "1abCdE-0001-AB TLS session failure: delivering unencrypted to H=mx.example.org [198.51.100.1] (not in hosts_require_tls)",
            &["W309"],
        ),
    ] {
        assert_eq!(
            ids(&format!("2026-11-26 18:00:00 {line}")),
            expected,
            "{line}"
        );
    }
}

#[test]
fn sessions_of_gatepost() {
    let line = |tls: &str, account: &str| {
        format!(
            r#"{{"kind":"session","time":"2026-11-26T18:00:00Z","service":"imap","client":"192.0.2.7","tls":{tls},"account":{account},"mechanism":"PLAIN","messages_in":0,"messages_out":0,"end":"client left"}}"#
        )
    };
    assert_eq!(ids(&line("null", "\"anna\"")), ["W102"]);
    assert_eq!(ids(&line("null", "null")), Vec::<&str>::new());
    assert_eq!(
        ids(&line(
            r#"{"version":"TLSv1.3","suite":"TLS_AES_128_GCM_SHA256"}"#,
            "\"anna\""
        )),
        Vec::<&str>::new()
    );
}

#[test]
fn sessions_of_gatepost_in_words() {
    let line = |rest: &str| format!("2026-11-26T18:00:00Z {rest}");
    let ends = "octets=100/2000 1.500s quit";
    for (words, expected) in [
        (
            "imap 192.0.2.7:4711 Clear anna@b.test PLAIN messages=0/0",
            &["W102"][..],
        ),
        ("smtp [2001:db8::7]:4711 Clear messages=2/0", &["W202"]),
        (
            "pop3 192.0.2.7:4711 Clear login_failures=1 messages=0/3",
            &["W203"],
        ),
        (
            "imap 192.0.2.7:4711 Clear anna PLAIN upstream=h:143 Clear messages=0/0",
            &["W102"],
        ),
        (
            "imaps 192.0.2.7:4711 Encrypted TLSv1.3 TLS_AES_128_GCM_SHA256 X25519 sni=h alpn=imap resumed anna PLAIN messages=0/2",
            &[],
        ),
    ] {
        assert_eq!(ids(&line(&format!("{words} {ends}"))), expected, "{words}");
    }
    let failed =
        line("smtp 192.0.2.7:4711 Clear messages=0/0 octets=1/2 1.0s handshake_failed (peer_gone)");
    assert_eq!(ids(&failed), ["W303"]);
    let half = line("imap 192.0.2.7:4711 Clear anna PLAIN mess");
    assert_eq!(ids(&half), Vec::<&str>::new());
}

#[test]
fn times() {
    assert_eq!(
        time::iso_time("1970-01-02T00:00:00Z"),
        Some(86_400_000_000_000)
    );
    assert_eq!(
        time::iso_time("2026-11-26T19:00:00.5+01:00"),
        time::iso_time("2026-11-26T18:00:00Z")
    );
    assert_eq!(
        super::super::event::timestamp(time::iso_time("2026-11-26T18:00:00Z").unwrap()),
        "2026-11-26T18:00:00.000000Z"
    );
    assert_eq!(time::iso_time("yesterday"), None);
}

#[test]
fn any_line_is_survived() {
    for line in [
        "",
        " ",
        "{",
        "{}",
        "Nov 26 18:00:00",
        "Nov 26 18:00:00 mx postfix/smtpd[1]: ",
        "2026-11-26 18:00:00 ",
        "2026-11-26 18:00:00 <= H=[",
        "Nov 26 18:00:00 mx dovecot: imap-login: Login: ",
        "\u{fffd}\u{1f600} 18:00:00 a b: c",
        "2026-99-99T99:99:99+9 a b[c: d",
        "Nov 26 18:00:00 mx postfix/smtp[1]: relay=x, tls=:,",
    ] {
        let _ = read(line);
        for cut in 0..line.len() {
            let mut watcher = LogWatcher::new(Privacy::new([1; 32], false));
            watcher.line(&line.as_bytes()[..cut]);
            watcher.finish();
        }
    }
}
