"""Programs that keep a local copy in step with the server, both ways: mbsync and offlineimap, for several rounds.

Before a round both sides change: new messages, flags, removals, each side others. A model says what must be there afterwards; server and
local folder are compared with it, message by message, flags included. Python's imaplib holds a dialogue over the extensions.
"""

import imaplib
import random
import re

from fetchers import IMAP
from world import HOST, Message, case, check, run, secret_file

ROUNDS = 3
MAILBOXES = ["Rounds", "Rounds/Inner"]
# A flag's name on the server and its letter in the name of a Maildir file.
LETTERS = {"\\Seen": "S", "\\Answered": "R", "\\Flagged": "F", "\\Draft": "D"}


class Far:
    """The server's side."""

    def __init__(self, world, user):
        self.connection = world.imap(user)
        for name in MAILBOXES:
            self.connection.create(name)

    def uid(self, mailbox, message_id):
        self.connection.select(mailbox)
        _, data = self.connection.uid("SEARCH", "HEADER", "Message-ID", f'"{message_id}"')
        uids = data[0].split()
        check(len(uids) == 1, f"{message_id} is {len(uids)} times in {mailbox}")
        return uids[0].decode()

    def add(self, mailbox, message, flags):
        state, data = self.connection.append(mailbox, f"({' '.join(sorted(flags))})", '"27-Nov-2026 10:00:00 +0100"', message.content)
        check(state == "OK", f"APPEND answered {data}")

    def set_flags(self, mailbox, message_id, flags):
        self.connection.uid("STORE", self.uid(mailbox, message_id), "FLAGS", f"({' '.join(sorted(flags))})")

    def remove(self, mailbox, message_id):
        uid = self.uid(mailbox, message_id)
        self.connection.uid("STORE", uid, "+FLAGS", r"(\Deleted)")
        check(self.connection.uid("EXPUNGE", uid)[0] == "OK", "UID EXPUNGE failed")

    def state(self, mailbox):
        """Message-ID to flags."""
        self.connection.select(mailbox, readonly=True)
        state, parts = self.connection.uid("FETCH", "1:*", "(FLAGS BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])")
        check(state == "OK", "FETCH failed")
        found = {}
        for part in parts:
            if isinstance(part, tuple):
                message_id = re.search(rb"<[^>]+>", part[1]).group().decode()
                check(message_id not in found, f"{message_id} is twice in {mailbox} on the server")
                flags = [flag.decode() for flag in imaplib.ParseFlags(part[0])]
                found[message_id] = frozenset(flag for flag in flags if flag in LETTERS)
        return found

    def close(self):
        self.connection.logout()


class Near:
    """The local side: Maildirs."""

    def __init__(self, paths):
        # Mailbox to folder.
        self.paths = paths
        self.count = 0

    def files(self, mailbox):
        for part in ("cur", "new"):
            yield from (self.paths[mailbox] / part).glob("*")

    def file(self, mailbox, message_id):
        found = [path for path in self.files(mailbox) if message_id.encode() in path.read_bytes()]
        check(len(found) == 1, f"{message_id} is {len(found)} times in the local {mailbox}")
        return found[0]

    def add(self, mailbox, message, flags):
        self.count += 1
        name = f"17000000{self.count:02}.1_{self.count}.client.test:2,{self.letters(flags)}"
        (self.paths[mailbox] / "cur" / name).write_bytes(message.content.replace(b"\r\n", b"\n"))

    def letters(self, flags):
        return "".join(sorted(LETTERS[flag] for flag in flags))

    def set_flags(self, mailbox, message_id, flags):
        path = self.file(mailbox, message_id)
        path.rename(self.paths[mailbox] / "cur" / f"{path.name.split(':2,')[0]}:2,{self.letters(flags)}")

    def remove(self, mailbox, message_id):
        self.file(mailbox, message_id).unlink()

    def state(self, mailbox):
        names = {letter: flag for flag, letter in LETTERS.items()}
        found = {}
        for path in self.files(mailbox):
            message_id = re.search(rb"^Message-I[Dd]: (<[^>]+>)", path.read_bytes(), re.MULTILINE).group(1).decode()
            check(message_id not in found, f"{message_id} is twice in the local {mailbox}")
            letters = path.name.split(":2,")[1] if ":2," in path.name else ""
            found[message_id] = frozenset(names[letter] for letter in letters if letter in names)
        return found


def rounds(world, user, sync, near_paths, seed):
    """Changes both sides and compares them, round by round."""
    pick = random.Random(seed)
    far, near = Far(world, user), None
    model = {name: {} for name in MAILBOXES}

    def some_flags():
        return frozenset(flag for flag in LETTERS if pick.random() < 0.4)

    def change(side, mailbox, left):
        """New ones, other flags, a removal; `left` are those that the other side does not touch in this round."""
        for _ in range(pick.randint(1, 3)):
            message, flags = Message("round", "a@sender.test", world.address(user), b"Round and round.\r\n.\r\n"), some_flags()
            side.add(mailbox, message, flags)
            model[mailbox][message.id] = flags
        for _ in range(min(2, len(left))):
            message_id, flags = left.pop(), some_flags()
            side.set_flags(mailbox, message_id, flags)
            model[mailbox][message_id] = flags
        if left:
            message_id = left.pop()
            side.remove(mailbox, message_id)
            del model[mailbox][message_id]

    for number in range(ROUNDS):
        for mailbox in MAILBOXES:
            known = sorted(model[mailbox])
            pick.shuffle(known)
            half = len(known) // 2
            change(far, mailbox, known[:half])
            # Before the first run there is nothing local.
            if near is not None:
                change(near, mailbox, known[half:])
        sync()
        near = near or Near(near_paths)
        for mailbox in MAILBOXES:
            for name, side in (("the server", far), ("the local folder", near)):
                have, want = side.state(mailbox), model[mailbox]
                differ = {key: (sorted(have.get(key, "-")), sorted(want.get(key, "-"))) for key in have.keys() ^ want.keys()}
                differ |= {key: (sorted(have[key]), sorted(want[key])) for key in have.keys() & want.keys() if have[key] != want[key]}
                check(not differ, f"seed {seed}, round {number}, {mailbox}: {name} has (is, should be) {differ}")
    far.close()


@case("mbsync-two-way", "mbsync")
def mbsync_two_way(world):
    folder = world.new_folder("mbsync-two-way")
    near = folder / "near"
    near.mkdir()
    config = secret_file(
        folder / "mbsyncrc",
        f"IMAPAccount test\nHost {HOST}\nPort {world.port(IMAP['implicit'])}\nUser {world.address('mbsync')}\n"
        f'PassCmd "cat {world.server.password_file("mbsync")}"\nSSLType IMAPS\nAuthMechs LOGIN\n'
        f"SystemCertificates no\nCertificateFile {world.ca}\n\nIMAPStore far\nAccount test\n\n"
        f"MaildirStore near\nPath {near}/\nInbox {near}/INBOX\nSubFolders Verbatim\n\n"
        "Channel test\nFar :far:\nNear :near:\nPatterns Rounds*\nCreate Both\nSync All\nExpunge Both\nSyncState *\n",
    )

    def sync():
        run(["mbsync", "-c", config, "-a"], env={"HOME": str(folder)})

    rounds(world, "mbsync", sync, {name: near / name for name in MAILBOXES}, seed=11)


@case("offlineimap-two-way", "offlineimap")
def offlineimap_two_way(world):
    folder = world.new_folder("offlineimap-two-way")
    (folder / "near").mkdir()
    config = secret_file(
        folder / "offlineimaprc",
        f"[general]\naccounts = test\nmetadata = {folder}/metadata\nui = basic\n\n"
        "[Account test]\nlocalrepository = near\nremoterepository = far\n\n"
        f"[Repository near]\ntype = Maildir\nlocalfolders = {folder}/near\nsep = /\n\n"
        f"[Repository far]\ntype = IMAP\nremotehost = {HOST}\nremoteport = {world.port('imaps')}\nssl = yes\n"
        f"sslcacertfile = {world.ca}\nremoteuser = {world.address('offlineimap')}\n"
        f"remotepassfile = {world.server.password_file('offlineimap')}\nfolderfilter = lambda name: name.startswith('Rounds')\n",
    )

    def sync():
        run(["offlineimap", "-c", config, "-o", "-u", "basic"], env={"HOME": str(folder)})

    rounds(world, "offlineimap", sync, {name: folder / "near" / name for name in MAILBOXES}, seed=12)


class Dialogue:
    """imaplib, with commands it does not know."""

    def __init__(self, connection):
        self.connection = connection

    def say(self, name, *words, expect="OK"):
        """Sends a command; all that came untagged, and the tagged line."""
        imaplib.Commands.setdefault(name, ("AUTH", "SELECTED"))
        self.connection.untagged_responses = {}
        state, data = self.connection._simple_command(name, *words)  # pylint: disable=protected-access
        check(state == expect, f"{name} {words} answered {state} {data}")
        return self.connection.untagged_responses, b" ".join(data)


def has(untagged, kind, pattern):
    """Checks that an untagged response is there."""
    lines = [line if isinstance(line, bytes) else b" ".join(line) for line in untagged.get(kind, []) if line]
    check(any(re.search(pattern, line) for line in lines), f"no {kind} with {pattern!r} in {untagged}")


@case("imaplib-extensions")
def imaplib_extensions(world):
    connection = world.imap("ours")
    talk = Dialogue(connection)
    connection.create("Extensions")
    connection.create("Extensions/Archive")
    subjects = (b"beta", b"alpha", b"Re: alpha")
    uids, first = [], None
    for number, subject in enumerate(subjects):
        answers = f"In-Reply-To: {first.id}\r\nReferences: {first.id}\r\n".encode() if number == 2 else b""
        message = Message("extension", f"person{number}@sender.test", world.address("ours"), b"Body " * (number + 1) + b"\r\n", b"Subject: " + subject + b"\r\n" + answers)
        first = message if number == 1 else first
        _, data = connection.append("Extensions", "", None, message.content)
        uids.append(re.search(rb"APPENDUID \d+ (\d+)", data[0]).group(1).decode())  # UIDPLUS
    untagged, _ = talk.say("ENABLE", "CONDSTORE")
    has(untagged, "ENABLED", rb"CONDSTORE")
    connection.select("Extensions")
    untagged, _ = talk.say("SEARCH", "RETURN", "(MIN MAX COUNT ALL SAVE)", "SUBJECT", "alpha")  # ESEARCH, SEARCHRES
    has(untagged, "ESEARCH", rb"MIN 2.*MAX 3.*(COUNT 2.*ALL 2:3|ALL 2:3.*COUNT 2)")
    untagged, _ = talk.say("FETCH", "$", "(EMAILID SAVEDATE PREVIEW MODSEQ BINARY.SIZE[1])")  # OBJECTID, SAVEDATE, PREVIEW, BINARY
    for item in (rb"EMAILID \(\S+\)", rb'SAVEDATE "', rb'PREVIEW "Body', rb"MODSEQ \(\d+\)", rb"BINARY.SIZE\[1\] \d+"):
        has(untagged, "FETCH", rb"^3 .*" + item)
    untagged, _ = talk.say("SORT", "(SUBJECT REVERSE ARRIVAL)", "UTF-8", "ALL")
    has(untagged, "SORT", rb"^(2 3|3 2) 1$")
    untagged, _ = talk.say("THREAD", "REFERENCES", "UTF-8", "ALL")
    has(untagged, "THREAD", rb"\(2 3\)")
    modseq = re.search(rb"MODSEQ \((\d+)\)", talk.say("FETCH", "1", "(MODSEQ)")[0]["FETCH"][0]).group(1).decode()
    talk.say("STORE", "1", f"(UNCHANGEDSINCE {modseq})", "+FLAGS", r"(\Flagged)")
    _, tagged = talk.say("STORE", "1", f"(UNCHANGEDSINCE {modseq})", "+FLAGS", r"(\Seen)")
    check(b"MODIFIED 1" in tagged, f"a change over a newer one was not refused: {tagged}")
    untagged, _ = talk.say("UID", "SEARCH", "RETURN", "(PARTIAL 1:2)", "ALL")
    has(untagged, "ESEARCH", rb"PARTIAL \(1:2 ")
    talk.say("UID", "MOVE", uids[0], "Extensions/Archive")
    check(connection.status("Extensions", "(MESSAGES)")[1][0].endswith(b"(MESSAGES 2)"), "a moved message is still there")
    untagged, _ = talk.say("LIST", '""', "Extensions*", "RETURN", "(STATUS (MESSAGES SIZE) SUBSCRIBED)")  # LIST-STATUS, STATUS=SIZE
    has(untagged, "STATUS", rb"Archive.*MESSAGES 1.*SIZE \d+")
    untagged, _ = talk.say("GETQUOTAROOT", "Extensions")
    has(untagged, "QUOTA", rb"STORAGE \d+ \d+")
    untagged, _ = talk.say("NAMESPACE")
    has(untagged, "NAMESPACE", rb'\(\("" "/"\)\)')
    untagged, _ = talk.say("ID", "NIL")
    has(untagged, "ID", rb"name")
    # Removed while the client was away: QRESYNC tells on the next SELECT.
    _, data = connection.status("Extensions", "(UIDVALIDITY HIGHESTMODSEQ)")
    validity, highest = (re.search(name + rb" (\d+)", data[0]).group(1).decode() for name in (b"UIDVALIDITY", b"HIGHESTMODSEQ"))
    talk.say("UNSELECT")
    connection.state = "AUTH"
    other = world.imap("ours")
    other.select("Extensions")
    other.uid("STORE", uids[1], "+FLAGS", r"(\Deleted)")
    other.expunge()
    other.logout()
    talk.say("ENABLE", "QRESYNC")
    untagged, _ = talk.say("SELECT", "Extensions", f"(QRESYNC ({validity} {highest}))")
    has(untagged, "VANISHED", rb"\(EARLIER\) " + uids[1].encode())
    connection.logout()
