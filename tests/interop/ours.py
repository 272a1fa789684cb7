"""The program's own verbs that speak to servers: send, fetch, connect, pin, cert, tlsa.

Against the program's own server: what was sent arrives byte for byte, what is fetched is what was sent. Against servers that
lie: nothing is believed, no password leaves, and the words and the exit code say what happened.
"""

import base64
import email
import email.policy
import hashlib
import json
import mailbox as boxes
import os
import socket
import ssl
import subprocess
import threading
import time
from pathlib import Path

from fetchers import all_there, deliver
from world import HOST, Failed, case, check, messages, plain

USER = "ours"
CRLF = b"\r\n"
SEND = {"starttls": ("smtp", "submission"), "implicit": ("submissions", "submissions")}
FETCH = {
    "imap-starttls": ("imap", "imap"), "imap-implicit": ("imaps", "imaps"),
    "pop3-starttls": ("pop3", "pop3"), "pop3-implicit": ("pop3s", "pop3s"),
}


def gatepost(world, *words, expect=0, stdin=b"", env=None, seconds=120):
    """Runs the program and checks its exit code, unless it may be any (None). Nobody's configuration is looked at."""
    home = world.new_folder("home")
    done = subprocess.run(
        [world.binary, *[str(word) for word in words]], input=stdin, capture_output=True, timeout=seconds,
        env={"PATH": os.environ["PATH"], "XDG_CONFIG_HOME": str(home), **(env or {})},
    )
    output = (done.stdout[-600:] + done.stderr[-900:]).decode(errors="replace")
    check(expect is None or done.returncode == expect, f"gatepost {words[0]} ended with {done.returncode} instead of {expect}: {output}")
    return done


def says(done, *phrases):
    """Checks that the program's words hold each phrase."""
    text = (done.stdout + done.stderr).decode(errors="replace")
    for phrase in phrases:
        check(phrase in text, f"{phrase!r} is not said: {text[-900:]}")


def login(world, user=USER):
    """The flags of a login."""
    return ["--user", world.address(user), "--password-file", world.server.password_file(user)]


def send(world, url, message_file, *more, expect=0, user=USER, **options):
    """gatepost send, with the words scripts rely on."""
    return gatepost(
        world, "send", "--server", url, "--from", world.address(user), "--to", world.address(user),
        *more, message_file, expect=expect, **options,
    )


# Send


def sends(world, mode):
    scheme, service = SEND[mode]
    url = f"{scheme}://{HOST}:{world.port(service)}"
    folder = world.new_folder("send")
    for message in messages(world.address(USER), world.address(USER), raw_utf8=True):
        done = send(world, url, message.save(folder), "--tls", mode, "--ca", world.ca, *login(world), "--json")
        report = json.loads(done.stdout)
        check(report["schema"] == "gatepost-send-1", "the schema is not named")
        check(report["channel"] == "Verified(PKIX)", f"the channel is {report['channel']}")
        check(report["recipients"][0]["outcome"] == "taken", f"{report['recipients']}")
        world.arrived(USER, message)


@case("send-starttls")
def send_starttls(world):
    sends(world, "starttls")


@case("send-implicit")
def send_implicit(world):
    sends(world, "implicit")


@case("send-composes")
def send_composes(world):
    folder = world.new_folder("compose")
    attachment = folder / "Bild ü.bin"
    attachment.write_bytes(os.urandom(300_000))
    subject = f"Grüße {os.urandom(6).hex()}"
    done = gatepost(
        world, "send", "--server", f"submissions://{HOST}:{world.port('submissions')}", "--ca", world.ca, *login(world)[:-2], "--password-fd", "9", "--from", f"Änna <{world.address(USER)}>", "--to", world.address(USER),
        "--bcc", world.address("python"), "--subject", subject, "--header", "X-Note: hello", "--attach", attachment,
        stdin="Grüße\n.\nEnde\n".encode(), expect=2,
    )
    says(done, "descriptor 9")
    done = gatepost(
        world, "send", "--server", f"submissions://{HOST}:{world.port('submissions')}", "--ca", world.ca, *login(world),
        "--from", f"Änna <{world.address(USER)}>", "--to", world.address(USER), "--bcc", world.address("python"),
        "--subject", subject, "--header", "X-Note: hello", "--attach", attachment, stdin="Grüße\n.\nEnde\n".encode(),
    )
    says(done, "Verified(PKIX)", f"taken    {world.address(USER)}", f"taken    {world.address('python')}")
    connection = world.imap(USER)
    connection.select("INBOX", readonly=True)
    _, data = connection.uid("SEARCH", "HEADER", "X-Note", "hello")
    _, parts = connection.uid("FETCH", data[0].split()[-1].decode(), "(BODY.PEEK[])")
    connection.logout()
    parsed = email.message_from_bytes(parts[0][1], policy=email.policy.default)
    check(parsed["subject"] == subject, f"the subject is {parsed['subject']!r}")
    check("Bcc" not in parsed and b"python@" not in parts[0][1], "the Bcc recipient is in the message")
    text, file = parsed.iter_parts()
    check(text.get_content().replace("\r\n", "\n") == "Grüße\n.\nEnde\n", "the text is another one")
    check(file.get_content() == attachment.read_bytes() and file.get_filename() == attachment.name, "the attachment is another one")


@case("send-report-unwritten")
def send_report_unwritten(world):
    """A mail that is taken stays so when nobody takes the report: whoever tried again would send it twice."""
    folder = world.new_folder("unwritten")
    for more in ([], ["--json"]):
        message = plain(world.address(USER), world.address(USER))
        words = [
            "send", "--server", f"submissions://{HOST}:{world.port('submissions')}", "--from", world.address(USER), "--to", world.address(USER),
            "--ca", world.ca, *login(world), *more, message.save(folder)]
        with open("/dev/full", "wb") as full:
            done = subprocess.run([world.binary, *map(str, words)], stdout=full, stderr=subprocess.PIPE, timeout=60)
        check(done.returncode == 0, f"it ended with {done.returncode}: {done.stderr}")
        check(b"the message was taken" in done.stderr, done.stderr.decode())
        world.arrived(USER, message)


@case("send-refuses")
def send_refuses(world):
    # [MUA-01] [MUA-02] [MUA-04] [ID-02] each of these ends before anything of the message or a password is sent, and no question is asked.
    folder = world.new_folder("refuse")
    file = plain(world.address(USER), world.address(USER)).save(folder)
    starttls = f"smtp://{HOST}:{world.port('submission')}"
    implicit = f"submissions://{HOST}:{world.port('submissions')}"
    wrong = folder / "wrong.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", folder / "k",
         "-out", wrong, "-subj", "/CN=wrong", "-days", "2"], check=True, capture_output=True,
    )
    ca = ["--ca", world.ca, *login(world)]
    table = [
        (starttls, ["--tls", "starttls", "--ca", wrong, *login(world)], 1, ["E-CERT-", "at fault", "next:"]),
        (implicit, ["--ca", wrong, *login(world)], 1, ["E-CERT-"]),
        (implicit, ["--no-system-ca", *login(world)], 2, ["--ca FILE"]),
        (starttls, [*ca, "--tls-name", "other.example"], 1, ["E-CERT-NAME", "other.example"]),
        (implicit, [*ca, "--pin", "sha256-spki:" + "00" * 32], 1, ["E-PIN-MISMATCH"]),
        (implicit, [*ca, "--verify", "pin", "--pin", "sha256-spki:" + "00" * 32], 1, ["E-PIN-MISMATCH"]),
        (f"smtp://{HOST}:{world.port('submissions')}", [*ca, "--timeout", "2"], 3, ["E-NO-GREETING", "--tls implicit"]),
        (f"submissions://{HOST}:{Liar([b'220 mx.test ESMTP' + CRLF]).port}", ca, 1, ["E-TLS-PLAINTEXT", "--tls starttls"]),
        (f"submission://{HOST}:1", ca, 3, ["E-"]),
        (starttls, [*ca, "--tls", "off"], 2, ["--tls off"]),
        (f"smtp://u:pw@{HOST}", ca, 2, ["--password-file"]),
        (starttls, ["--ca", world.ca], 1, ["530"]),
    ]
    for url, flags, code, phrases in table:
        try:
            says(send(world, url, file, *flags, expect=code), *phrases)
        except Failed as error:
            raise Failed(f"{url} {flags}: {error}") from None
    check(not world.find(USER, plain_with_id(file), seconds=0), "a message arrived all the same")


def plain_with_id(file):
    """The message in a file, as far as it takes to look for it."""
    class Saved:
        id = next(line for line in file.read_text().splitlines() if line.startswith("Message-ID:")).split(": ")[1]
    return Saved


@case("send-wrong-password")
def send_wrong_password(world):
    folder = world.new_folder("password")
    file = plain(world.address(USER), world.address(USER)).save(folder)
    secret = "Hunter2-" + os.urandom(6).hex()
    password = folder / "password"
    password.write_text(secret + "\n")
    url = f"submissions://{HOST}:{world.port('submissions')}"
    for flags in (["--password-file", password], ["--password-command", f"cat {password}"]):
        for more in ([], ["--json"], ["-v"]):
            done = send(world, url, file, "--ca", world.ca, "--user", world.address(USER), *flags, *more, expect=1)
            says(done, "E-LOGIN-REFUSED")
            check(secret.encode() not in done.stdout + done.stderr, "the password is in the output")
            check(base64.b64encode(secret.encode()) not in done.stdout + done.stderr, "the password is in the output, in base64")
    # A token where the server wants none.
    done = send(world, url, file, "--ca", world.ca, "--user", world.address(USER), "--token-file", password, expect=1)
    says(done, "E-NO-MECHANISM")


# Servers that lie


class Liar:
    """A server on loopback that follows a script: bytes to send, or None to read a line."""

    def __init__(self, script, linger=3.0):
        self.script, self.linger = script, linger
        self.heard = b""
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        try:
            connection, _ = self.listener.accept()
            with connection:
                connection.settimeout(20)
                for step in self.script:
                    if step is None:
                        while not self.heard.endswith(b"\n"):
                            octets = connection.recv(4096)
                            if not octets:
                                return
                            self.heard += octets
                        self.heard += b"|"
                    else:
                        connection.sendall(step(self.heard) if callable(step) else step)
                connection.settimeout(self.linger)
                while octets := connection.recv(4096):
                    self.heard += octets
        except OSError:
            pass
        finally:
            self.listener.close()

    def end(self):
        self.thread.join(30)
        return self.heard


def tag(heard):
    """The tag of the last IMAP command."""
    return heard.split(b"|")[-2].split(b" ")[0] if heard.endswith(b"|") else b"x"


LIES = {
    "smtp-no-starttls": ("smtp", [b"220 x\r\n", None, b"250 x\r\n", None, b"502 no\r\n"], "E-STARTTLS-MISSING"),
    "smtp-refused": ("smtp", [b"220 x\r\n", None, b"250-x\r\n250 STARTTLS\r\n", None, b"454 4.7.0 later\r\n"], "E-STARTTLS-REFUSED"),
    "smtp-injection": (
        "smtp", [b"220 x\r\n", None, b"250-x\r\n250 STARTTLS\r\n", None, b"220 go\r\n250-evil\r\n250 AUTH PLAIN\r\n"], "E-INJECT",
    ),
    "smtp-clear-after-220": (
        "smtp", [b"220 x\r\n", None, b"250 STARTTLS\r\n", None, b"220 go\r\n", lambda heard: wait(0.3) or b"250 x\r\n"], "E-",
    ),
    "imap-preauth": ("imap", [b"* PREAUTH welcome\r\n"], "E-PREAUTH"),
    "imap-injection": (
        "imap", [b"* OK x\r\n", None, lambda heard: tag(heard) + b" OK go\r\n* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\n"], "E-",
    ),
    "imap-refused": ("imap", [b"* OK x\r\n", None, lambda heard: tag(heard) + b" NO no\r\n"] * 2, "E-"),
    "imap-bye": ("imap", [b"* BYE go away\r\n"], "E-"),
    "pop3-injection": ("pop3", [b"+OK x\r\n", None, b"+OK\r\nUSER\r\nSTLS\r\n.\r\n", None, b"+OK go\r\n+OK evil\r\n"], "E-"),
    "pop3-refused": ("pop3", [b"+OK x\r\n", None, b"-ERR no\r\n", None, b"-ERR no\r\n"], "E-STARTTLS"),
}


def wait(seconds):
    """Lets the client be in the middle of its handshake; what is tested does not depend on it."""
    time.sleep(seconds)


@case("send-and-fetch-from-liars")
def liars(world):
    # [MUA-03] [MUA-05] no octet of a password or of the message leaves, whatever the server says before TLS.
    folder = world.new_folder("liars")
    message = plain(world.address(USER), world.address(USER))
    file = message.save(folder)
    for name, (scheme, script, label) in LIES.items():
        liar = Liar(script)
        url = f"{scheme}://127.0.0.1:{liar.port}"
        # What the server calls temporary may be worth another try; nothing was sent all the same.
        code = 3 if name in ("smtp-refused", "imap-bye") else 1
        flags = ["--tls", "starttls", "--ca", world.ca, *login(world), "--timeout", "15"]
        if scheme == "smtp":
            done = send(world, url, file, *flags, expect=code)
        else:
            done = gatepost(world, "fetch", url, *flags, "--output", "eml", "--to", folder / name, expect=code)
        heard = liar.end()
        says(done, label)
        secret = world.password(USER).encode()
        for word in (secret, b"AUTH", b"LOGIN", b"USER", b"MAIL", b"Message-ID"):
            check(word not in heard.upper() and word not in heard, f"{name}: {word!r} was sent: {heard[:300]!r}")


# Fetch


def eml(folder):
    """The messages in a folder, one a file."""
    return [path.read_bytes() for path in sorted(Path(folder).glob("*.eml"))]


@case("fetch-eml")
def fetch_eml(world):
    kinds = deliver(world, USER, messages(world.address(USER), world.address(USER)))
    for name, (scheme, service) in FETCH.items():
        folder = world.new_folder(name)
        mailbox = "/INBOX" if scheme.startswith("imap") else ""
        mode = "implicit" if scheme.endswith("s") else "starttls"
        words = ["fetch", f"{scheme}://{HOST}:{world.port(service)}{mailbox}", "--tls", mode, "--ca", world.ca, *login(world),
                 "--output", "eml", "--to", folder]
        gatepost(world, *words)
        all_there(eml(folder), kinds)
        before = sorted(path.name for path in folder.iterdir())
        # Nothing is stored twice.
        done = gatepost(world, *words, "--json")
        report = json.loads(done.stdout)
        check(report["stored"] == 0 and report["channel"] == "Verified(PKIX)", f"{report}")
        check(sorted(path.name for path in folder.iterdir()) == before, f"{name}: the second run changed the folder")


@case("fetch-formats")
def fetch_formats(world):
    kinds = deliver(world, USER, messages(world.address(USER), world.address(USER))[:4])
    url = f"imaps://{HOST}:{world.port('imaps')}/INBOX"
    where = {name: world.new_folder(name) for name in ("maildir", "mbox", "json")}
    for name, folder in where.items():
        gatepost(world, "fetch", url, "--ca", world.ca, *login(world), "--output", name, "--to", folder)
    stored = [message.as_bytes() for message in boxes.Maildir(where["maildir"], create=False)]
    check(len(stored) >= len(kinds), "messages are missing in the Maildir")
    raw = [path.read_bytes() for part in ("new", "cur") for path in (where["maildir"] / part).iterdir()]
    all_there(raw, kinds, lines_by_lf=True)
    box = next(where["mbox"].glob("*.mbox"))
    check(sum(kind.id.encode() in box.read_bytes() for kind in kinds) == len(kinds), "messages are missing in the mbox")
    documents = [json.loads(path.read_text()) for path in where["json"].glob("*.json")]
    all_there([base64.b64decode(document["content"]) for document in documents], kinds)


@case("fetch-limit-search-delete")
def fetch_delete(world):
    kinds = deliver(world, USER, messages(world.address(USER), world.address(USER))[:2])
    url = f"imaps://{HOST}:{world.port('imaps')}/INBOX"
    folder = world.new_folder("search")
    common = ["--ca", world.ca, *login(world), "--output", "eml"]
    gatepost(world, "fetch", url, *common, "--to", folder, "--search", f"HEADER Message-ID {kinds[0].id}", "--delete")
    check(len(eml(folder)) == 1, "the search did not find one message")
    check(not world.find(USER, kinds[0], seconds=0), "the message is still on the server")
    check(world.find(USER, kinds[1], seconds=0), "another message was removed")
    few = world.new_folder("few")
    gatepost(world, "fetch", url, *common, "--to", few, "--limit", "1")
    check(len(eml(few)) == 1, "the limit did not hold")


@case("fetch-refuses")
def fetch_refuses(world):
    folder = world.new_folder("refuse")
    url = f"imap://{HOST}:{world.port('imap')}/INBOX"
    out = ["--output", "eml", "--to", folder]
    table = [
        (url, login(world), 1, "E-CERT-"),
        (url, ["--ca", world.ca, *login(world), "--tls-name", "other.example"], 1, "E-CERT-NAME"),
        (f"imap://{HOST}:{world.port('imaps')}", ["--ca", world.ca, *login(world), "--timeout", "2"], 3, "E-NO-GREETING"),
        (f"imaps://{HOST}:{Liar([b'* OK hello' + CRLF]).port}", ["--ca", world.ca, *login(world)], 1, "E-TLS-PLAINTEXT"),
        (f"imaps://{HOST}:{world.port('imaps')}/No-such", ["--ca", world.ca, *login(world)], 1, "No-such"),
        (f"smtp://{HOST}", [], 2, "imaps://"),
    ]
    for where, flags, code, phrase in table:
        says(gatepost(world, "fetch", where, *flags, *out, expect=code), phrase)
    check(not eml(folder), "something was stored")


@case("send-in-clear-is-told")
def clear_is_told(world):
    # [MUA-06] [MUA-07] what is not encrypted is said to be so, with the way out; what nobody vouches for is not called verified.
    folder = world.new_folder("clear")
    file = plain("someone@sender.test", world.address(USER)).save(folder)
    url = f"smtp://{HOST}:{world.port('smtp')}"
    words = ["send", "--server", url, "--from", "someone@sender.test", "--to", world.address(USER)]
    says(gatepost(world, *words, "--tls", "off", file), "Clear", "leave out --tls off")
    done = gatepost(world, *words, "--tls", "opportunistic", file)
    says(done, "Encrypted", "nobody vouches")
    done = gatepost(world, *words, "--verify", "none", "--json", file)
    check(json.loads(done.stdout)["channel"] == "Encrypted", "an unverified server is called something else")
    # [MUA-02] [MUA-05] and there is no password for it.
    says(gatepost(world, *words, "--tls", "opportunistic", *login(world), file, expect=1), "E-NOT-VERIFIED")
    says(gatepost(world, *words, "--verify", "none", *login(world), file, expect=2), "--danger-unverified-login")


@case("send-trust-exception")
def trust_exception(world):
    # [CONF-12] [PIN-01] an exception lets one certificate through, and nothing is called verified by it.
    context = ssl.create_default_context(cafile=world.ca)
    with socket.create_connection((HOST, world.port("submissions"))) as raw, context.wrap_socket(raw, server_hostname=HOST) as tls:
        digest = hashlib.sha256(tls.getpeercert(binary_form=True)).hexdigest()
    url = f"submissions://{HOST}:{world.port('submissions')}"
    says(gatepost(world, "connect", url, "--quit", "--trust-exception", f"sha256-cert:{digest}"), "Encrypted", "by your exception")
    says(gatepost(world, "connect", url, "--quit", "--trust-exception", "sha256-cert:" + "00" * 32, expect=1), "E-CERT-")


# Connect, pin, cert, tlsa


@case("connect-report")
def connect_report(world):
    for scheme, service in (("smtp", "smtp"), ("submissions", "submissions"), ("imap", "imap"), ("pop3s", "pop3s")):
        url = f"{scheme}://{HOST}:{world.port(service)}"
        done = gatepost(world, "connect", url, "--ca", world.ca, "--quit")
        says(done, "Verified(PKIX)", "TLSv1.3", "sha256-spki:", "chain", "pass")
        report = json.loads(gatepost(world, "connect", url, "--ca", world.ca, "--json").stdout)
        check(report["channel"] == "Verified(PKIX)" and report["chain"] and report["checks"], f"{list(report)}")
        done = gatepost(world, "connect", url, "--quit", expect=1)
        says(done, "E-CERT-")
        done = gatepost(world, "connect", url, "--quit", "--verify", "none")
        says(done, "Encrypted")


@case("connect-talks")
def connect_talks(world):
    done = gatepost(
        world, "connect", f"smtp://{HOST}:{world.port('smtp')}", "--ca", world.ca,
        stdin=b"NOOP\r\nVRFY <x@y.test>\nRSET\nQUIT\n",
    )
    says(done, "250", "221")
    done = gatepost(
        world, "connect", f"imaps://{HOST}:{world.port('imaps')}", "--ca", world.ca, *login(world), stdin=b"NAMESPACE\nSTATUS INBOX (MESSAGES)\n",
    )
    says(done, "NAMESPACE", "MESSAGES")
    check(world.password(USER).encode() not in done.stdout + done.stderr, "the password is in the output")


@case("pin-cert-tlsa")
def small_tools(world):
    url = f"imaps://{HOST}:{world.port('imaps')}"
    env = {"XDG_CONFIG_HOME": str(world.new_folder("pins"))}
    context = ssl.create_default_context(cafile=world.ca)
    with socket.create_connection((HOST, world.port("imaps"))) as raw, context.wrap_socket(raw, server_hostname=HOST) as tls:
        der = tls.getpeercert(binary_form=True)
    certificate = f"sha256-cert:{hashlib.sha256(der).hexdigest()}"
    says(gatepost(world, "pin", "show", url, "--ca", world.ca, env=env), certificate, "sha256-spki:")
    says(gatepost(world, "pin", "add", url, "--ca", world.ca, env=env, expect=2), "--no-backup")
    gatepost(world, "pin", "add", url, "--ca", world.ca, "--pin", "sha256-spki:" + "11" * 32, env=env)
    says(gatepost(world, "pin", "show", env=env), "sha256-spki:" + "11" * 32)
    gatepost(world, "connect", url, "--ca", world.ca, "--quit", env=env)
    gatepost(world, "pin", "rotate", url, "--ca", world.ca, "--pin", "sha256-spki:" + "22" * 32, env=env)
    pins = Path(env["XDG_CONFIG_HOME"]) / "gatepost" / "pins"
    check("11" * 32 not in pins.read_text() and "22" * 32 in pins.read_text(), "the old backup is still there")
    # Another key than the pinned ones is refused, although the authority vouches for it.
    pins.write_text(f"{HOST}:{world.port('imaps')} sha256-spki:{'33' * 32} no-backup\n")
    says(gatepost(world, "connect", url, "--ca", world.ca, "--quit", env=env, expect=1), "E-PIN-MISMATCH")
    gatepost(world, "pin", "remove", url, env=env)
    gatepost(world, "connect", url, "--ca", world.ca, "--quit", env=env)
    says(gatepost(world, "cert", "show", world.ca), "key pin")
    says(gatepost(world, "cert", "show", url, "--ca", world.ca), certificate)
    gatepost(world, "cert", "lint", url, "--ca", world.ca)
    says(gatepost(world, "cert", "lint", url, "--ca", world.ca, "--host", "other.example", expect=1), "CERT-NAME")
    record = gatepost(world, "tlsa", "make", url, "--ca", world.ca, "--port", "25").stdout.decode()
    check(record.startswith(f"_25._tcp.{HOST}. IN TLSA 3 1 1 "), record)
    data = record.split("TLSA ")[1].strip()
    says(gatepost(world, "tlsa", "check", url, "--ca", world.ca, "--record", data), "matches the server's certificate")
    says(gatepost(world, "tlsa", "check", url, "--ca", world.ca, "--record", "3 1 1 " + "00" * 32, expect=1), "publish 3 1 1")


def relay(one, other):
    """Carries octets from one connection to another until the end."""
    try:
        while octets := one.recv(65536):
            other.sendall(octets)
        other.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def middleman(begin):
    """A listener that takes one connection, lets `begin` read what comes first and say where to go on, and relays. Returns its port
    and a list of what `begin` found."""
    listener = socket.create_server(("127.0.0.1", 0))
    found = []

    def run():
        connection, address = listener.accept()
        port, seen = begin(connection)
        found.extend([seen, address[0]])
        server = socket.create_connection((HOST, port))
        threading.Thread(target=relay, args=(server, connection), daemon=True).start()
        relay(connection, server)

    threading.Thread(target=run, daemon=True).start()
    return listener.getsockname()[1], found


@case("connect-by-proxies")
def connect_by_proxies(world):
    port = world.port("imaps")
    words = ["connect", "--quit", "--ca", world.ca]

    def socks(connection):
        check(connection.recv(2) == b"\x05\x01" and connection.recv(1) == b"\x00", "no SOCKS5 without a password")
        connection.sendall(b"\x05\x00")
        kind, length = connection.recv(4)[3], connection.recv(1)[0]
        name = connection.recv(length)
        connection.recv(2)
        connection.sendall(b"\x05\x00\x00\x01" + bytes(6))
        return port, (kind, name)

    proxy, found = middleman(socks)
    says(gatepost(world, *words, "--socks5", f"127.0.0.1:{proxy}", f"imaps://{HOST}:{port}"), "Verified(PKIX)")
    check(found[0] == (3, HOST.encode()), f"the name was not left to the proxy: {found}")

    def header(connection):
        line = b""
        while not line.endswith(CRLF):
            line += connection.recv(1)
        return port, line

    listening, found = middleman(header)
    # The certificate must still be for the host, whatever address is connected to, and from where.
    says(gatepost(world, *words, "--proxy-header", "v1", "--source", "127.0.0.2", "--resolve", f"mail.gatepost.test:{listening}:127.0.0.1",
                  f"imaps://mail.gatepost.test:{listening}"), "Verified(PKIX)", "SNI mail.gatepost.test")
    check(found[0].startswith(b"PROXY TCP4 127.0.0.2 127.0.0.1 ") and found[1] == "127.0.0.2", f"another header or source: {found}")
