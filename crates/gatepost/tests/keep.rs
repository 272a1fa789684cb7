//! Mail brought in, written out, backed up and checked by the program itself, beside a running server and without one.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant, UNIX_EPOCH};

use gatepost_store::Reading;
use serde_json::Value;
use tempfile::TempDir;

const USER: &str = "anna@gatepost.test";
const OTHER: &str = "ben@gatepost.test";

/// A folder with a data folder that has two accounts.
struct World(TempDir);

impl World {
    fn new() -> Self {
        let world = Self(tempfile::tempdir().unwrap());
        let mut folder = fs::DirBuilder::new();
        folder
            .mode(0o700)
            .create(world.path("gatepost-data"))
            .unwrap();
        fs::write(world.path("password"), "correct-horse-9").unwrap();
        for address in [USER, OTHER] {
            world.good(&["account", "add", address, "--password-file", "password"]);
        }
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gatepost"));
        command
            .env_clear()
            .env("XDG_CONFIG_HOME", self.path("home"))
            .stdin(Stdio::null())
            .current_dir(self.0.path())
            .args(words);
        command
    }

    fn run(&self, words: &[&str]) -> Output {
        self.command(words).output().unwrap()
    }

    fn good(&self, words: &[&str]) -> String {
        let output = self.run(words);
        assert!(output.status.success(), "{words:?}: {}", said(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    fn json(&self, words: &[&str]) -> Value {
        serde_json::from_str(&self.good(&[words, &["--json"]].concat())).unwrap()
    }

    fn import(&self, address: &str, source: &str, more: &[&str]) -> Value {
        let words = ["mailbox", "import", "--account", address, source];
        self.json(&[&words[..], more].concat())
    }

    fn export(&self, address: &str, format: &str, target: &str) -> Value {
        self.json(&[
            "mailbox",
            "export",
            "--account",
            address,
            "--format",
            format,
            target,
        ])
    }

    fn write(&self, name: &str, octets: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, octets).unwrap();
        path
    }

    /// Everything an account has: by mailbox, content with flags and date.
    fn mail(&self, address: &str) -> BTreeMap<String, Vec<String>> {
        let reading = Reading::open(&self.path("gatepost-data")).unwrap();
        let account = reading.account(address).unwrap().unwrap();
        let mut all = BTreeMap::new();
        for listed in reading.list(account).unwrap() {
            let (id, _, _) = reading.mailbox(account, &listed.name).unwrap().unwrap();
            let messages = reading.messages_after(id, 0, 10_000).unwrap();
            let mut shown: Vec<String> = messages
                .iter()
                .map(|message| {
                    let octets = reading.read(&message.body, 0, u32::MAX).unwrap();
                    let text = String::from_utf8_lossy(&octets).into_owned();
                    format!("{text:?} {:?} {}", message.flags, message.date.unix)
                })
                .collect();
            shown.sort();
            if !shown.is_empty() {
                all.insert(listed.name, shown);
            }
        }
        all
    }

    /// A Maildir++ with everything that must come through.
    fn maildir(&self) {
        let old = UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        let letters = [
            (
                "Maildir/cur/1.a.host:2,FRS",
                "Subject: one\n\nFrom here\n>From there\n",
            ),
            ("Maildir/new/2.a.host", "Subject: two\n\nnew\n"),
            (
                "Maildir/cur/3.a.host:2,DPTab",
                "Subject: three\n\nkeywords\n",
            ),
            (
                "Maildir/.Lists.rust/cur/1.a.host:2,S",
                "Subject: list\n\nin a folder\n",
            ),
            (
                "Maildir/.Entw&APw-rfe/cur/9.a.host:2,",
                "Subject: draft\n\nno line end",
            ),
            (
                "Maildir/.Lists.rust/cur/4.a.host:2,S",
                "Subject: twice\n\nthe same\n",
            ),
            (
                "Maildir/.Lists.rust/cur/5.a.host:2,S",
                "Subject: twice\n\nthe same\n",
            ),
        ];
        for (name, text) in letters {
            let path = self.write(name, text);
            fs::File::options()
                .write(true)
                .open(path)
                .unwrap()
                .set_modified(old)
                .unwrap();
        }
        fs::create_dir_all(self.path("Maildir/.Empty/cur")).unwrap();
        self.write("Maildir/dovecot-keywords", "0 $Label1\n1 NonJunk\n");
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned()
}

#[test]
fn a_maildir_comes_in_with_flags_dates_and_folders_once() {
    let world = World::new();
    world.maildir();
    let first = world.import(USER, "Maildir", &[]);
    assert_eq!(
        (&first["imported"], &first["left_out"]),
        (&7.into(), &0.into())
    );
    let mail = world.mail(USER);
    let names: Vec<&String> = mail.keys().collect();
    assert_eq!(names, ["Entwürfe", "INBOX", "Lists/rust"]);
    assert_eq!(
        mail["Lists/rust"].len(),
        3,
        "a message that is there twice stays there twice"
    );
    let inbox = mail["INBOX"].join("\n");
    assert!(inbox.contains(r#""Subject: one\r\n\r\nFrom here\r\n>From there\r\n" Flags { seen: true, answered: true, flagged: true, deleted: false"#), "{inbox}");
    assert!(
        inbox.contains(
            r#"draft: true, keywords: {"$Forwarded", "$Label1", "NonJunk"} } 1000000000"#
        ),
        "{inbox}"
    );
    let again = world.import(USER, "Maildir", &[]);
    assert_eq!(
        (&again["imported"], &again["known"]),
        (&0.into(), &7.into())
    );
    // A message whose flags changed is the same message.
    fs::rename(
        world.path("Maildir/new/2.a.host"),
        world.path("Maildir/cur/2.a.host:2,S"),
    )
    .unwrap();
    world.write("Maildir/new/8.a.host", "Subject: later\n\n");
    assert_eq!(world.import(USER, "Maildir", &[])["imported"], 1);
    assert_eq!(world.import(USER, "Maildir", &["--again"])["imported"], 8);
}

#[test]
fn every_form_goes_round() {
    let world = World::new();
    world.maildir();
    world.import(USER, "Maildir", &[]);
    let before = world.mail(USER);
    for (number, format) in ["maildir", "mbox", "eml"].into_iter().enumerate() {
        let target = format!("out-{format}");
        assert_eq!(
            world.export(USER, format, &target)["exported"],
            7,
            "{format}"
        );
        let other = format!("carl{number}@gatepost.test");
        world.good(&["account", "add", &other, "--password-file", "password"]);
        world.import(&other, &target, &[]);
        let mut after = world.mail(&other);
        if format == "mbox" {
            // An mbox has no message without a last line end.
            let draft = &mut after.get_mut("Entwürfe").unwrap()[0];
            *draft = draft.replace(r#"line end\r\n""#, r#"line end""#);
        }
        assert_eq!(after, before, "{format}");
        let again = world.export(USER, format, &target);
        assert_eq!(again["exported"], 0, "{format}");
    }
}

#[test]
fn an_export_that_broke_off_goes_on() {
    let world = World::new();
    world.maildir();
    world.import(USER, "Maildir", &[]);
    world.export(USER, "maildir", "out");
    let cur = |name: &str| {
        fs::read_dir(world.path(name))
            .unwrap()
            .map(|entry| entry.unwrap().path())
    };
    let gone = cur("out/.Lists.rust/cur").next().unwrap();
    fs::remove_file(&gone).unwrap();
    world.write("out/tmp/half", "Sub");
    assert_eq!(world.export(USER, "maildir", "out")["exported"], 1);
    assert_eq!(cur("out/.Lists.rust/cur").count(), 3);
    // Half an mbox does not have its name.
    world.write("boxes/.INBOX.mbox.part", "From half");
    world.export(USER, "mbox", "boxes");
    assert!(!world.path("boxes/.INBOX.mbox.part").exists());
    assert!(
        fs::read_to_string(world.path("boxes/INBOX.mbox"))
            .unwrap()
            .contains("Subject: one")
    );
}

#[test]
fn names_of_mailboxes_lead_nowhere() {
    let world = World::new();
    world.write("in/../in/.../x.eml", "Subject: dots\n\n");
    world.write("in/%2E%2E%2Fetc/y.eml", "Subject: slash\n\n");
    world.write("z.eml", "Subject: up\n\n");
    world.import(USER, "in", &[]);
    world.import(USER, "z.eml", &["--mailbox", "../../up"]);
    for format in ["maildir", "mbox", "eml"] {
        world.export(USER, format, &format!("deep/er/{format}"));
    }
    assert_eq!(fs::read_dir(world.path("deep")).unwrap().count(), 1);
    assert_eq!(fs::read_dir(world.path("deep/er")).unwrap().count(), 3);
    assert!(world.path("deep/er/eml/%2E./%2E./up").is_dir());
    assert!(!world.path("up").exists() && !world.path("deep/up").exists());
}

#[test]
fn links_pipes_and_broken_messages_are_named_and_left_out() {
    let world = World::new();
    world.maildir();
    world.write("secret", "Subject: private\n\n");
    symlink(world.path("secret"), world.path("Maildir/cur/7.link:2,S")).unwrap();
    let made = Command::new("mkfifo")
        .arg(world.path("Maildir/cur/8.pipe"))
        .status()
        .unwrap();
    assert!(made.success());
    world.write("Maildir/cur/9.nul", b"Subject: \0\n\n");
    world.write("Maildir/cur/9.empty", b"");
    world.write("Maildir/cur/9.line", vec![b'x'; 3 << 20]);
    let large = fs::File::create(world.path("Maildir/cur/9.large")).unwrap();
    large.set_len(70 << 20).unwrap();
    symlink("/", world.path("Maildir/.Root")).unwrap();
    let output = world.run(&["mailbox", "import", "--account", USER, "Maildir"]);
    assert_eq!(output.status.code(), Some(1));
    let text = said(&output);
    for (name, why) in [
        ("7.link", "no plain file"),
        ("8.pipe", "no plain file"),
        ("9.nul", "NUL"),
        ("9.empty", "is empty"),
        ("9.large", "too large"),
    ] {
        let line = text
            .lines()
            .find(|line| line.contains(name))
            .unwrap_or_else(|| panic!("{name}: {text}"));
        assert!(line.contains(why), "{line}");
    }
    let mail = world.mail(USER);
    assert_eq!(
        mail["INBOX"].len(),
        4,
        "the giant line is a message like others"
    );
    assert!(!format!("{mail:?}").contains("private"));
}

#[test]
fn a_quota_stops_an_import_that_then_goes_on() {
    let world = World::new();
    let text = format!("Subject: x\n\n{}", "text\n".repeat(300));
    let mut mbox = String::new();
    for number in 0..200 {
        mbox += &format!("From a Thu Nov 26 19:15:42 2026\nX-N: {number}\n{text}\n");
    }
    world.write("all.mbox", mbox);
    world.good(&["account", "quota", USER, "200KiB"]);
    let words = [
        "mailbox",
        "import",
        "--account",
        USER,
        "--mailbox",
        "Old",
        "all.mbox",
    ];
    let output = world.run(&words);
    assert_eq!(output.status.code(), Some(3));
    assert!(
        said(&output).contains("gatepost account quota"),
        "{}",
        said(&output)
    );
    let some = world.mail(USER)["Old"].len();
    assert!((1..200).contains(&some), "{some}");
    world.good(&["account", "quota", USER, "none"]);
    world.good(&words);
    assert_eq!(world.mail(USER)["Old"].len(), 200);
}

#[test]
fn an_account_is_made_with_the_quota_that_is_named() {
    let world = World::new();
    let add = |address: &str, quota: &[&str]| {
        let words = ["account", "add", address, "--password-file", "password"];
        world.run(&[&words, quota].concat())
    };
    for (address, quota) in [
        ("small@gatepost.test", &["--quota", "200KiB"][..]),
        ("free@gatepost.test", &["--quota", "none"]),
        ("usual@gatepost.test", &[]),
    ] {
        assert!(add(address, quota).status.success(), "{address}");
    }
    let refused = add("wrong@gatepost.test", &["--quota", "much"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(said(&refused).contains("is no size"), "{}", said(&refused));
    let listed = world.run(&["account", "list", "--json"]);
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    let accounts = listed["accounts"].as_array().unwrap();
    let quota = |address: &str| {
        let found = accounts.iter().find(|it| it["address"] == address);
        found.map(|it| it["quota"].clone())
    };
    assert_eq!(quota("small@gatepost.test"), Some(204_800.into()));
    assert_eq!(quota("free@gatepost.test"), Some(Value::Null));
    assert_eq!(quota("usual@gatepost.test"), Some((10_u64 << 30).into()));
    assert_eq!(quota("wrong@gatepost.test"), None);
}

#[test]
fn killed_imports_lose_nothing_and_bring_nothing_twice() {
    let world = World::new();
    for number in 0..1500 {
        world.write(
            &format!("Maildir/cur/{number}.a.host:2,S"),
            format!("Subject: {number}\n\n{}", "text\n".repeat(200)),
        );
    }
    let words = ["mailbox", "import", "--account", USER, "Maildir"];
    for round in 0..6_u64 {
        let mut child = world.command(&words).stdout(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(20 + round * 35));
        child.kill().unwrap();
        child.wait().unwrap();
        world.good(&["mailbox", "check"]);
    }
    world.good(&words);
    let mail = world.mail(USER);
    assert_eq!(mail["INBOX"].len(), 1500);
    let different: std::collections::BTreeSet<_> = mail["INBOX"].iter().collect();
    assert_eq!(different.len(), 1500);
}

#[test]
fn wrong_words_are_refused_with_advice() {
    let world = World::new();
    world.maildir();
    for (words, advice) in [
        (
            &["mailbox", "import", "--account", "nobody@x.test", "Maildir"][..],
            "account list",
        ),
        (
            &["mailbox", "import", "--account", USER, "nowhere"],
            "cannot read",
        ),
        (
            &[
                "mailbox",
                "import",
                "--account",
                USER,
                "--mailbox",
                "a%b",
                "Maildir",
            ],
            "--mailbox",
        ),
        (
            &[
                "mailbox",
                "export",
                "--account",
                USER,
                "--mailbox",
                "No",
                "out",
            ],
            "no mailbox",
        ),
        (&["mailbox", "check", "--data", "nowhere"], "--data"),
        (&["backup", "Maildir"], "new or empty"),
        (&["restore", "Maildir", "--data", "new"], "no whole backup"),
        (&["restore", "Maildir"], "no whole backup"),
    ] {
        let output = world.run(words);
        assert_eq!(
            output.status.code(),
            Some(2),
            "{words:?}: {}",
            said(&output)
        );
        assert!(
            said(&output).contains(advice),
            "{words:?}: {}",
            said(&output)
        );
    }
}

struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn serve(world: &World) -> Server {
    let free = |offset: &u16| {
        [25, 110, 143, 465, 587, 993, 995]
            .iter()
            .all(|port| TcpListener::bind(("127.0.0.1", offset + port)).is_ok())
    };
    let offset = (40..60)
        .map(|it| it * 1000)
        .find(free)
        .expect("no free ports")
        .to_string();
    let words = ["serve", "--ready-file", "ready", "--port-offset", &offset];
    let mut command = world.command(&words);
    let child = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while !world.path("ready").exists() {
        assert!(Instant::now() < deadline, "the server is not ready");
        std::thread::sleep(Duration::from_millis(20));
    }
    Server(child)
}

#[test]
fn beside_a_running_server() {
    let world = World::new();
    world.maildir();
    let server = serve(&world);
    assert_eq!(world.import(USER, "Maildir", &[])["imported"], 7);
    assert_eq!(world.export(USER, "eml", "out")["exported"], 7);
    assert_eq!(world.json(&["mailbox", "check"])["in_use"], true);
    let output = world.run(&["mailbox", "check", "--repair"]);
    assert!(
        output.status.success() || said(&output).contains("stop the server"),
        "{}",
        said(&output)
    );
    assert_eq!(world.json(&["backup", "saved"])["messages"], 7);
    let mode = fs::metadata(world.path("saved/ca.key"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o077, 0, "keys are nobody else's business");
    drop(server);
    let before = world.mail(USER);
    fs::rename(world.path("gatepost-data"), world.path("lost")).unwrap();
    assert_eq!(world.json(&["restore", "saved"])["messages"], 7);
    assert_eq!(world.mail(USER), before);
    let _server = serve(&world);
    assert_eq!(
        world.import(USER, "Maildir", &[])["known"],
        7,
        "the restored store knows what it has"
    );
}

#[test]
fn damage_is_named_and_put_right() {
    let world = World::new();
    world.maildir();
    world.import(USER, "Maildir", &[]);
    assert!(world.good(&["mailbox", "check"]).contains("all is well"));
    let segments = fs::read_dir(world.path("gatepost-data/segments")).unwrap();
    let path = segments
        .map(|it| it.unwrap().path())
        .find(|it| fs::metadata(it).unwrap().len() > 0)
        .unwrap();
    let mut octets = fs::read(&path).unwrap();
    octets[40] ^= 1;
    fs::write(&path, octets).unwrap();
    let output = world.run(&["mailbox", "check"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        said(&output).contains(" UID 1: its octets do not fit their checksum"),
        "{}",
        said(&output)
    );
    let output = world.run(&["mailbox", "export", "--account", USER, "out"]);
    assert_eq!(
        output.status.code(),
        Some(1),
        "an export names what it leaves out"
    );
    let output = world.run(&["backup", "saved"]);
    assert_eq!(output.status.code(), Some(1), "so does a backup");
    let output = world.run(&["mailbox", "check", "--repair"]);
    assert_eq!(output.status.code(), Some(1), "mail was lost");
    assert!(
        said(&output).contains("damaged/mailbox-"),
        "{}",
        said(&output)
    );
    world.good(&["mailbox", "check"]);
    assert_eq!(world.mail(USER).values().map(Vec::len).sum::<usize>(), 6);
}

#[test]
fn a_database_that_is_none_asks_for_the_backup() {
    let world = World::new();
    fs::write(world.path("gatepost-data/store.db"), [0x5A; 9000]).unwrap();
    // Else SQLite would take the pages from there.
    for journal in ["gatepost-data/store.db-wal", "gatepost-data/store.db-shm"] {
        let _ = fs::remove_file(world.path(journal));
    }
    for more in [&[][..], &["--repair"]] {
        let output = world.run(&[&["mailbox", "check"], more].concat());
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    }
    let kept: &Path = &world.path("gatepost-data/store.db");
    assert_eq!(
        fs::read(kept).unwrap(),
        [0x5A; 9000],
        "nothing is thrown away"
    );
}

#[test]
fn from_and_to_a_running_server() {
    let world = World::new();
    world.maildir();
    world.import(USER, "Maildir", &[]);
    let server = serve(&world);
    let ready: Value =
        serde_json::from_str(&fs::read_to_string(world.path("ready")).unwrap()).unwrap();
    let url = format!("imaps://localhost:{}", ready["ports"]["imaps"]);
    let login = |user| {
        [
            "--ca",
            "gatepost-data/ca.pem",
            "--user",
            user,
            "--password-file",
            "password",
        ]
    };
    let before = world.mail(USER);
    // Through the server into an account of the same store, beside it.
    let from = |more: &[&str]| world.import(OTHER, &url, &[&login(USER)[..], more].concat());
    assert_eq!(from(&[])["imported"], 7);
    assert_eq!(world.mail(OTHER), before);
    assert_eq!(from(&[])["known"], 7);
    // And out again, to the server, below a mailbox.
    world.good(&[
        "account",
        "add",
        "carl@gatepost.test",
        "--password-file",
        "password",
    ]);
    let words = ["mailbox", "export", "--account", USER, &url];
    let out = || world.json(&[&words[..], &login("carl@gatepost.test")].concat());
    assert_eq!(out()["exported"], 7);
    assert_eq!(world.mail("carl@gatepost.test"), before);
    let again = out();
    assert_eq!(
        (&again["exported"], &again["known"]),
        (&0.into(), &7.into())
    );
    // Without the authority the server is nobody: nothing is said to it.
    let output = world.run(&[
        "mailbox",
        "import",
        "--account",
        OTHER,
        &url,
        "--user",
        USER,
        "--password-file",
        "password",
    ]);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    drop(server);
}
