"""Mail brought in from others and written out for others, flags and dates with it; a backup while it goes on.

The foreign side is Dovecot, as a server and with its Maildir on disk, and mbsync's Maildir.
"""

import imaplib
import json
import shutil
import ssl
import time

from fetchers import deliver, mbsync
from ours import gatepost
from servers import ADDRESS, PASSWORD, Dovecot, without
from world import DOMAIN, HOST, case, check, same

FOLDERS = ["INBOX", "Lists.rust", "Entw&APw-rfe"]
KEPT = [
    ("INBOX", r"\Seen \Answered", 1_000_000_000, b"Subject: one\r\nMessage-ID: <1@x>\r\n\r\nFrom here\r\n>From there\r\n"),
    ("INBOX", r"\Flagged $Label1 NonJunk", 1_100_000_000, b"Subject: two\r\nMessage-ID: <2@x>\r\n\r\ntext\r\n"),
    ("INBOX", r"$Forwarded \Draft", 1_100_000_000, b"Subject: three\r\n\r\nno id\r\n"),
    ("Lists.rust", "", 1_200_000_000, b"Subject: list\r\nMessage-ID: <3@x>\r\n\r\ntwice\r\n"),
    ("Lists.rust", "", 1_200_000_000, b"Subject: list\r\nMessage-ID: <3@x>\r\n\r\ntwice\r\n"),
    ("Entw&APw-rfe", r"\Deleted \Draft", 1_300_000_000, b"Subject: draft\r\nMessage-ID: <4@x>\r\n\r\n" + b"long " * 3000 + b"\r\n"),
]


def connection_to(port, ca, user, password):
    connection = imaplib.IMAP4_SSL(HOST, port, ssl_context=ssl.create_default_context(cafile=ca), timeout=60)
    connection.login(user, password)
    return connection


def state(connection):
    """What is in the folders of the test: content, flags, date."""
    delimiter = connection.list('""', "INBOX")[1][0].split(b'"')[1].decode()
    found = set()
    for folder in FOLDERS:
        name = folder.replace(".", delimiter)
        check(connection.select(f'"{name}"', readonly=True)[0] == "OK", f"{name} is not there")
        _, parts = connection.fetch("1:*", "(FLAGS INTERNALDATE BODY.PEEK[])")
        turn = 0
        for head, content in (part for part in parts if isinstance(part, tuple)):
            flags = sorted(flag.decode().lower() for flag in imaplib.ParseFlags(head) if flag != rb"\Recent")
            turn += 1
            date = int(time.mktime(imaplib.Internaldate2tuple(head)))
            found.add((folder, content, " ".join(flags), date, turn if b"twice" in content else 0))
    connection.logout()
    return found


def wanted():
    """What must be there."""
    turns = {}
    for folder, flags, date, content in KEPT:
        turns[content] = turns.get(content, 0) + 1
        yield folder, content, " ".join(sorted(flags.lower().split())), date, turns[content] if b"twice" in content else 0


def expect_all(found, where):
    missing, more = set(wanted()) - found, found - set(wanted())
    check(not missing and not more, f"{where}: missing {missing}, unexpected {more}")


def account(world, name):
    gatepost(world, "account", "add", f"{name}@{DOMAIN}", "--data", world.server.data, "--password-file", world.server.password_file("ours"))
    return f"{name}@{DOMAIN}"


def in_ours(world, address):
    return state(connection_to(world.port("imaps"), world.ca, address, world.password("ours")))


def run_json(world, *words):
    done = gatepost(world, *words, "--data", world.server.data, "--json")
    text = done if isinstance(done, (str, bytes)) else done.stdout
    return json.loads(text)


@case("keep-dovecot", "dovecot")
def dovecot_and_back(world):
    with Dovecot(world) as server:
        port = server.ports["imaps"]
        filled = connection_to(port, server.pki.ca, ADDRESS, PASSWORD)
        for folder in FOLDERS[1:]:
            filled.create(f'"{folder}"')
        for folder, flags, date, content in KEPT:
            filled.append(f'"{folder}"', f"({flags})", imaplib.Time2Internaldate(date), content)
        expect_all(state(filled), "dovecot")
        url, login = f"imaps://localhost:{port}", server.login()
        # From the server, twice.
        first = account(world, "keep1")
        get = lambda: run_json(world, "mailbox", "import", "--account", first, url, *login)  # noqa: E731
        check(get()["imported"] == len(KEPT), "not everything was imported")
        check(get()["imported"] == 0, "something was imported twice")
        expect_all(in_ours(world, first), "imported by IMAP")
        # From its Maildir on disk.
        second = account(world, "keep2")
        check(run_json(world, "mailbox", "import", "--account", second, server.folder / "mail" / ADDRESS)["left_out"] == 0, "left out")
        expect_all(in_ours(world, second), "imported from Dovecot's Maildir")
        # Out to a Maildir that Dovecot reads.
        target = server.folder / "mail" / "reader"
        run_json(world, "mailbox", "export", "--account", second, target)
        for part in [target, *target.rglob("*")]:
            shutil.chown(part, "nobody")
        expect_all(state(connection_to(port, server.pki.ca, "reader", PASSWORD)), "Dovecot over the exported Maildir")
        # Out to the server, twice.
        out = lambda: run_json(world, "mailbox", "export", "--account", first, url, *server.login("receiver"))  # noqa: E731
        check(out()["exported"] == len(KEPT), "not everything was exported")
        check(out()["exported"] == 0, "something was exported twice")
        expect_all(state(connection_to(port, server.pki.ca, "receiver", PASSWORD)), "exported by IMAP")


@case("keep-mbsync", "mbsync")
def mbsync_maildir(world):
    folder = world.new_folder("keep-mbsync")
    kinds = deliver(world, "mbsync")
    copies = mbsync(world, folder, "implicit")
    address = account(world, "keep3")
    result = run_json(world, "mailbox", "import", "--account", address, folder / "near" / "INBOX")
    check(result["imported"] == len(copies), f"{result['imported']} of {len(copies)}")
    connection = connection_to(world.port("imaps"), world.ca, address, world.password("ours"))
    connection.select(readonly=True)
    _, parts = connection.fetch("1:*", "(BODY.PEEK[])")
    there = [without(part[1]) for part in parts if isinstance(part, tuple)]
    for message in kinds:
        found = [copy for copy in there if message.id.encode() in copy]
        check(len(found) == 1, f"{message.name}: {len(found)} copies")


@case("keep-backup")
def backup_while_running(world):
    kinds = deliver(world, "life")
    target = world.new_folder("backup")
    shutil.rmtree(target)
    check(run_json(world, "backup", target)["findings"] == 0, "findings in the backup")
    check(run_json(world, "mailbox", "check")["good"], "the store is not good")
    restored = world.folder / "restored"
    done = gatepost(world, "restore", target, "--data", restored, "--json")
    check(done is not None, "no answer")
    out = world.folder / "restored-eml"
    gatepost(world, "mailbox", "export", "--account", world.address("life"), "--data", restored, "--format", "eml", out)
    copies = [path.read_bytes() for path in (out / "INBOX").glob("*.eml")]
    for message in kinds:
        found = [copy for copy in copies if message.id.encode() in copy]
        check(len(found) == 1, f"{message.name}: {len(found)} copies")
        same(found[0], message)
