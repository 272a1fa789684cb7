"""The small world the tests run in: a server, its accounts, messages, and the bookkeeping of cases.

A case is a function marked with @case. It passes by returning, fails by raising, and is left out by raising Skip.
"""

import fnmatch
import hashlib
import imaplib
import json
import os
import random
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time
import traceback
from pathlib import Path

DOMAIN = "gatepost.test"
HOST = "localhost"
SERVICES = {"smtp": 25, "submission": 587, "submissions": 465, "imap": 143, "imaps": 993, "pop3": 110, "pop3s": 995}
# One account for each kind of test, so that none sees the mail of another.
USERS = [
    "python", "curl", "swaks", "msmtp", "mbsync", "fetchmail", "getmail", "neomutt", "offlineimap", "aerc", "openssl", "attack", "smuggle", "life", "ours", "ends",
]

CASES = []


class Skip(Exception):
    """The case cannot be run here."""


class Failed(Exception):
    """What a user would notice is wrong."""


# Above those the system takes for connections outward: one of these would be gone again before a server has it.
PORTS = list(range(61000, 65500))
random.shuffle(PORTS)


def free_port():
    """A port nobody listens on, and that nobody else of this run is given."""
    while True:
        port = PORTS.pop()
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def case(name, *programs):
    """Registers a case and the programs it cannot do without."""

    def register(function):
        CASES.append((name, programs, function))
        return function

    return register


def check(condition, what):
    """Fails the case with a message."""
    if not condition:
        raise Failed(what)


def run_cases(world, patterns):
    """Runs the cases whose names match and returns how many passed, failed and were skipped."""
    passed = failed = skipped = 0
    for name, programs, function in CASES:
        if patterns and not any(fnmatch.fnmatch(name, pattern) for pattern in patterns):
            continue
        missing = [program for program in programs if shutil.which(program) is None]
        start = time.monotonic()
        try:
            if missing:
                raise Skip(f"{', '.join(missing)} is not installed")
            function(world)
            print(f"ok       {name} ({time.monotonic() - start:.1f} s)", flush=True)
            passed += 1
        except Skip as why:
            print(f"skipped  {name}: {why}", flush=True)
            skipped += 1
        except Exception as error:  # a broken case must not hide the ones behind it
            print(f"FAILED   {name}: {type(error).__name__}: {error}", flush=True)
            if not isinstance(error, Failed):
                traceback.print_exc(limit=-3)
            failed += 1
        world.revive()
    return passed, failed, skipped


class Server:
    """The program under test, in a folder of its own."""

    def __init__(self, binary, folder, users, flags=()):
        self.binary, self.folder, self.users, self.flags = binary, Path(folder), users, flags
        self.data = self.folder / "data"
        self.ready_file = self.folder / "ready.json"
        self.log = open(self.folder / "server.log", "ab")
        self.offset = free_offset()
        self.process = self.ports = self.ca = None
        self.seconds_to_ready = 0.0
        for user in users:
            secret = hashlib.sha256(os.urandom(16)).hexdigest()[:20]
            self.password_file(user).write_text(secret + "\n")
            self.password_file(user).chmod(0o600)

    def password_file(self, user):
        """The file with a user's password."""
        return self.folder / f"{user}.password"

    def start(self):
        """Starts the program and waits until every listener accepts."""
        self.ready_file.unlink(missing_ok=True)
        command = [self.binary, "serve", "--data", self.data, "--bind", "127.0.0.1", "--port-offset", str(self.offset)]
        for user in self.users:
            command += ["--account", f"{user}@{DOMAIN}", "--password-file", self.password_file(user)]
        command += ["--ready-file", self.ready_file, *self.flags]
        start = time.monotonic()
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, cwd=self.folder)
        while not self._is_ready():
            check(self.process.poll() is None, f"the server ended with {self.process.returncode}: {self.last_words()}")
            check(time.monotonic() - start < 30, f"the server is not ready after 30 s: {self.last_words()}")
            time.sleep(0.005)
        self.seconds_to_ready = time.monotonic() - start

    def _is_ready(self):
        try:
            facts = json.loads(self.ready_file.read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            return False
        self.ports = {service: int(port) for service, port in facts["ports"].items()}
        # There is none when the certificates are the operator's own.
        self.ca = facts["ca"]
        return True

    def port(self, service):
        """The port of a service."""
        return self.ports[service]

    def last_words(self):
        """The end of the program's output."""
        return (self.folder / "server.log").read_text(errors="replace")[-600:]

    def logged(self, words, seconds=5):
        """Whether the log holds these words, or comes to within the time."""
        deadline = time.monotonic() + seconds
        while words not in (self.folder / "server.log").read_text(errors="replace"):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.01)
        return True

    def kill(self):
        """Ends the program without warning."""
        self.process.kill()
        self.process.wait()

    def terminate(self, seconds=15):
        """Asks the program to stop; returns its exit code and how long it took."""
        start = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise Failed(f"the server did not stop within {seconds} s of SIGTERM") from None
        return code, time.monotonic() - start


class World:
    """What a case can use."""

    def __init__(self, binary, folder):
        self.folder = Path(folder)
        self.binary = str(binary)
        self.server = Server(self.binary, self.new_folder("server"), USERS)
        self.server.start()
        print(f"server ready after {self.server.seconds_to_ready * 1000:.0f} ms, ports {self.server.ports}", flush=True)

    def revive(self):
        """Starts the server again when a case has ended it."""
        if self.server.process.poll() is not None:
            print("the server is down and is started again", flush=True)
            self.server.start()

    def new_folder(self, name):
        """A fresh folder."""
        path = self.folder / f"{name}.{random.getrandbits(32):08x}"
        path.mkdir(parents=True)
        return path

    def port(self, service):
        """The port of a service."""
        return self.server.port(service)

    @property
    def ca(self):
        """The file with the certificate of the server's CA."""
        return self.server.ca

    def address(self, user):
        """A user's address, which is also the login name."""
        return f"{user}@{DOMAIN}"

    def password(self, user):
        """A user's password."""
        return self.server.password_file(user).read_text().strip()

    def tls(self, trusted=True):
        """A TLS context that verifies; with the server's CA, or with the system's only."""
        return ssl.create_default_context(cafile=self.ca if trusted else None)

    def imap(self, user):
        """A logged-in IMAP connection with implicit TLS."""
        connection = imaplib.IMAP4_SSL(HOST, self.port("imaps"), ssl_context=self.tls(), timeout=30)
        connection.login(self.address(user), self.password(user))
        return connection

    def find(self, user, message, mailbox="INBOX", seconds=10):
        """Every stored copy of a message in a mailbox, as bytes; waits until there is one."""
        deadline = time.monotonic() + seconds
        while True:
            connection = self.imap(user)
            try:
                copies = fetch_by_id(connection, message.id, mailbox)
            finally:
                connection.logout()
            if copies or time.monotonic() > deadline:
                return copies
            time.sleep(0.2)

    def arrived(self, user, message, mailbox="INBOX"):
        """Checks that a message is there once, byte for byte below the trace fields."""
        copies = self.find(user, message, mailbox)
        check(len(copies) == 1, f"{message.name}: {len(copies)} copies in {mailbox} instead of one")
        same(copies[0], message)


def fetch_by_id(connection, message_id, mailbox):
    """The messages of a mailbox with this Message-ID."""
    state, _ = connection.select(f'"{mailbox}"', readonly=True)
    check(state == "OK", f"cannot select {mailbox}")
    state, data = connection.uid("SEARCH", "HEADER", "Message-ID", f'"{message_id}"')
    check(state == "OK", f"SEARCH answered {state} {data}")
    copies = []
    for uid in (data[0] or b"").split():
        state, parts = connection.uid("FETCH", uid.decode(), "(BODY.PEEK[])")
        check(state == "OK", f"FETCH answered {state}")
        copies += [part[1] for part in parts if isinstance(part, tuple)]
    return copies


TRACE = (b"return-path:", b"received:", b"delivered-to:")


def below_trace(content, also=()):
    """What follows the trace fields a server has put before a message."""
    content = content.replace(b"\r\n", b"\n")
    while content.lower().startswith(TRACE + tuple(also)):
        end = content.find(b"\n") + 1
        while content[end:end + 1] in (b" ", b"\t"):
            end = content.find(b"\n", end) + 1
        content = content[end:]
    return content


def same(copy, message, lines_by_lf=False):
    """Checks that a stored copy is the message. Programs that keep mail in files end lines with LF: say so."""
    if not lines_by_lf:
        # No line may end but with CRLF.
        check(copy.count(b"\n") == copy.count(b"\r\n") == copy.count(b"\r"), f"{message.name}: a bare CR or LF came back")
    have, want = below_trace(copy), message.content.replace(b"\r\n", b"\n")
    if have != want:
        at = next((i for i, (a, b) in enumerate(zip(have, want)) if a != b), min(len(have), len(want)))
        raise Failed(
            f"{message.name}: differs at octet {at} of {len(want)} (came back {len(have)}): "
            f"{have[at - 20:at + 40]!r} instead of {want[at - 20:at + 40]!r}"
        )


class Message:
    """A message with an id of its own."""

    def __init__(self, name, sender, recipient, body, headers=b"", smtputf8=False):
        self.name = name
        self.id = f"<{name}.{random.getrandbits(64):016x}@client.test>"
        self.smtputf8 = smtputf8
        head = (
            f"From: <{sender}>\r\nTo: <{recipient}>\r\nDate: Mon, 23 Nov 2026 12:00:00 +0000\r\n"
            f"Message-ID: {self.id}\r\n"
        ).encode()
        self.content = head + (headers or b"Subject: " + name.encode() + b"\r\n") + b"\r\n" + body

    def save(self, folder, line_end=b"\r\n"):
        """Writes the message to a file and returns its path."""
        path = Path(folder) / f"{self.name}.eml"
        path.write_bytes(self.content.replace(b"\r\n", line_end))
        return path


def messages(sender, recipient, raw_utf8=False):
    """One message of each kind that programs get wrong."""
    mime = b"Subject: %s\r\nMIME-Version: 1.0\r\nContent-Type: %s\r\nContent-Transfer-Encoding: %s\r\n"
    eight = mime % (b"8-bit", b"text/plain; charset=utf-8", b"8bit")
    encoded = b"Subject: =?utf-8?B?R3LDvMOfZSDigqw=?=\r\n"
    attachment = mime % (b"attachment", b"application/octet-stream", b"base64")
    line = bytes(random.Random(5).choices(b"ABCDEFGHIJKLMNOPabcdefghijklmnop0123456789+/", k=76)) + b"\r\n"
    dots = b".\r\n..\r\n...\r\n.one\r\nmiddle . dot\r\n..two\r\n.\r\n"
    kinds = [
        Message("plain", sender, recipient, b"Hello.\r\n"),
        Message("8-bit", sender, recipient, "Grüße, 世界 €\r\n".encode(), eight),
        Message("encoded-headers", sender, recipient, b"Hello.\r\n", encoded),
        Message("dots", sender, recipient, dots),
        Message("long-lines", sender, recipient, (b"x" * 998 + b"\r\n") * 3 + b"." + b"y" * 997 + b"\r\n"),
        Message("5-mb", sender, recipient, line * (5 * 1024 * 1024 // len(line)), attachment),
        Message("empty-body", sender, recipient, b""),
    ]
    if raw_utf8:
        subject = "Subject: Grüße, 世界\r\n".encode()
        kinds.append(Message("utf-8-headers", sender, recipient, b"Hello.\r\n", subject, smtputf8=True))
    return kinds


def plain(sender, recipient):
    """A short message."""
    return Message("plain", sender, recipient, b"Hello.\r\n.dot\r\nBye.\r\n")


def run(command, *, expect=0, stdin=None, seconds=60, env=None):
    """Runs a program and checks its exit code: a number, "failure" for any but 0, or "distrust" for any but 0 with words about
    the certificate among what it prints."""
    stdin = subprocess.DEVNULL if stdin is None else stdin
    extra = {"input": stdin} if isinstance(stdin, bytes) else {"stdin": stdin}
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, timeout=seconds, env={**os.environ, **(env or {})}, **extra
    )
    good = done.returncode == expect or (done.returncode != 0 and expect in ("failure", "distrust"))
    output = (done.stdout[-300:] + done.stderr[-700:]).decode(errors="replace")
    check(good, f"{command[0]} ended with {done.returncode}: {output}")
    if expect == "distrust":
        reason = any(word in (done.stdout + done.stderr).lower() for word in (b"certif", b"not trusted", b"verif"))
        check(reason, f"{command[0]} failed, but not over the certificate: {output}")
    return done


def secret_file(path, text):
    """Writes a file nobody else can read."""
    Path(path).write_text(text)
    Path(path).chmod(0o600)
    return path


def free_offset():
    """An offset that leaves every port of the server free."""
    for _ in range(100):
        # Below the ports the system gives to outgoing connections.
        offset = random.randrange(11000, 31000, 100)
        try:
            for port in SERVICES.values():
                with socket.socket() as probe:
                    # Like the server: what is left of connections that are over does not keep it away.
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    probe.bind(("127.0.0.1", offset + port))
            return offset
        except OSError:
            continue
    raise Failed("no free ports")


def in_threads(count, function):
    """Calls a function with 0 to count - 1 at once and waits; raises what the first failing one raised."""
    errors = []

    def guarded(number):
        try:
            function(number)
        except Exception as error:  # handed to the caller below
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
