"""What someone on the path, or a client out of order, tries: by raw sockets against the running server."""

import base64
import random
import re
import smtplib
import socket
import ssl
import time

from clients import plain_token, send_by_python
from fetchers import imap_connection, pop3_connection
from world import HOST, Failed, Server, case, check, plain, run

# Protocol, service, the command that asks for TLS, the word that grants it, a command to inject.
UPGRADES = [
    ("smtp", "smtp", b"STARTTLS", b"220", b"NOOP injected\r\n"),
    ("submission", "submission", b"STARTTLS", b"220", b"NOOP injected\r\n"),
    ("imap", "imap", b"a STARTTLS", b"a OK", b"b NOOP\r\n"),
    ("pop3", "pop3", b"STLS", b"+OK", b"CAPA\r\n"),
]


class Wire:
    """A clear-text connection under our full control."""

    def __init__(self, world, service, greet=True):
        self.world = world
        self.socket = socket.create_connection(("127.0.0.1", world.port(service)), timeout=10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""
        self.tls = None
        if greet:
            self.line()
            if service.startswith(("smtp", "submission")):
                self.say(b"EHLO client.test")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        """Sends bytes as they are."""
        self.socket.sendall(data)

    def line(self, seconds=10):
        """The next line, or what came before the end."""
        self.socket.settimeout(seconds)
        while b"\n" not in self.buffer:
            try:
                more = self.socket.recv(65536)
            except ConnectionError:
                more = b""
            if not more:
                line, self.buffer = self.buffer, b""
                return line
            self.buffer += more
        line, self.buffer = self.buffer.split(b"\n", 1)
        return line + b"\n"

    def reply(self):
        """An SMTP reply with all its lines."""
        lines = [self.line()]
        while lines[-1][3:4] == b"-":
            lines.append(self.line())
        return b"".join(lines)

    def say(self, command):
        """Sends an SMTP command and reads its reply."""
        self.send(command + b"\r\n")
        return self.reply()

    def tagged(self, command):
        """Sends an IMAP command and reads to its tagged answer."""
        self.send(command + b"\r\n")
        tag = command.split()[0] + b" "
        while True:
            line = self.line()
            if not line or line.startswith(tag):
                return line

    def rest(self, seconds=3):
        """Everything that still comes until the end, and whether the end came."""
        self.socket.settimeout(seconds)
        data, self.buffer = self.buffer, b""
        try:
            while more := self.socket.recv(65536):
                data += more
        except TimeoutError:
            return data, False
        except OSError:
            pass
        return data, True

    def upgrade(self):
        """Shakes hands; raises what the TLS engine raises."""
        check(not self.buffer, f"bytes came before the handshake: {self.buffer!r}")
        self.socket = self.world.tls().wrap_socket(self.socket, server_hostname=HOST)


def client_hello(world):
    """The bytes of a ClientHello, and the engine that made them."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    engine = world.tls().wrap_bio(incoming, outgoing, server_hostname=HOST)
    try:
        engine.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read(), (engine, incoming, outgoing)


def finish_handshake(wire, parts):
    """Completes a handshake begun by client_hello."""
    engine, incoming, outgoing = parts
    incoming.write(wire.buffer)
    wire.buffer = b""
    while True:
        try:
            engine.do_handshake()
            wire.socket.sendall(outgoing.read())
            return engine
        except ssl.SSLWantReadError:
            wire.socket.sendall(outgoing.read())
            more = wire.socket.recv(65536)
            check(more, "the server closed the connection during the handshake")
            incoming.write(more)


def read_engine(wire, parts):
    """A line from inside TLS."""
    engine, incoming, _ = parts
    while True:
        try:
            return engine.read(65536)
        except ssl.SSLWantReadError:
            more = wire.socket.recv(65536)
            check(more, "the server closed the connection inside TLS")
            incoming.write(more)


def must_end_without_effect(wire, granted, what):
    """After an injection: TLS never comes up, and nothing is said but the leave to start it."""
    line = wire.line()
    if line and not line.startswith(granted):
        # A refusal of the whole line (bare LF) is good, as long as TLS was not promised.
        check(line[:1] in b"5*a-", f"{what}: {line!r}")
        return
    try:
        wire.upgrade()
    except Failed:
        raise
    except (OSError, ssl.SSLError):
        return
    wire.socket.settimeout(1)
    try:
        said = wire.socket.recv(1000)
    except OSError:
        said = b""
    raise Failed(f"{what}: TLS came up over injected bytes, and the server said {said!r}")


def inject(world, service, parts, granted, what):
    with Wire(world, service) as wire:
        for part in parts:
            wire.send(part)
            time.sleep(0.1)
        must_end_without_effect(wire, granted, what)


def injection(world, service, start, granted, command):
    # [CONF-03] [SMTP-STARTTLS-19] [IMAP-TLS-05] [POP-TLS-05] live, on every port that offers the upgrade
    whole = start + b"\r\n"
    inject(world, service, [whole + command], granted, "a whole command")
    inject(world, service, [whole + command[:3]], granted, "a fragment")
    inject(world, service, [whole + command.replace(b"\r\n", b"\n")], granted, "a command ended by a bare LF")
    inject(world, service, [whole, command], granted, "a command in a second segment")
    inject(world, service, [start + b"\n" + command], granted, "STARTTLS ended by a bare LF")
    with Wire(world, service) as wire:
        wire.send(whole)
        check(wire.line().startswith(granted), "TLS was not granted")
        hello, _ = client_hello(world)
        wire.send(command + hello)
        said, ended = wire.rest()
        check(ended, "bytes before the ClientHello: the connection stays open")
        check(said[:1] in (b"", b"\x15"), f"bytes before the ClientHello: the server said {said[:60]!r}")


def eager_hello(world, service, start, granted):
    # [REPLY-01] leave to start TLS: 220, tagged OK, +OK
    with Wire(world, service) as wire:
        hello, parts = client_hello(world)
        wire.send(start + b"\r\n" + hello)
        check(wire.line().startswith(granted), "TLS was not granted")
        engine = finish_handshake(wire, parts)
        engine.write({b"220": b"EHLO inside.test\r\n", b"a OK": b"b CAPABILITY\r\n", b"+OK": b"CAPA\r\n"}[granted])
        wire.socket.sendall(parts[2].read())
        answer = read_engine(wire, parts)
        check(answer[:3] in (b"250", b"* C", b"+OK"), f"inside TLS the server said {answer[:60]!r}")
        check(b"STARTTLS" not in answer and b"STLS" not in answer, "the upgrade is still offered inside TLS")


def register_upgrades():
    for name, service, start, granted, command in UPGRADES:
        case(f"injection-{name}")(lambda world, s=service, b=start, g=granted, c=command: injection(world, s, b, g, c))
        case(f"eager-hello-{name}")(lambda world, s=service, b=start, g=granted: eager_hello(world, s, b, g))


register_upgrades()


@case("state-is-forgotten")
def state_is_forgotten(world):
    # [SMTP-STARTTLS-05] a transaction begun in clear is not there after TLS
    with Wire(world, "smtp") as wire:
        wire.say(b"MAIL FROM:<before@sender.test>")
        check(wire.say(b"STARTTLS").startswith(b"220"), "TLS was not granted")
        wire.upgrade()
        answer = wire.say(b"RCPT TO:<" + world.address("attack").encode() + b">")
        check(answer.startswith(b"503"), f"RCPT after TLS: {answer!r}")
    message = plain("someone@sender.test", world.address("attack"))
    with smtplib.SMTP(HOST, world.port("smtp"), local_hostname="said-in-clear.test", timeout=20) as connection:
        connection.starttls(context=world.tls())
        connection.local_hostname = "said-inside.test"
        connection.sendmail("someone@sender.test", [world.address("attack")], message.content)
    copy = world.find("attack", message)[0]
    check(b"said-inside.test" in copy and b"said-in-clear" not in copy, "Received names the EHLO of before TLS")


# [SMTP-SMUG-01] the nine ends of data that some servers take for the end and others do not
SEQUENCES = [
    b"\n.\n", b"\n.\r", b"\r.\n", b"\r.\r", b"\n.\r\n", b"\r.\r\n", b"\r\n.\r\r\n", b"\r\r\n.\r\r\n", b"\r\n\0.\r\n",
]


def smuggle(world, sequence):
    mark = f"{random.getrandbits(64):016x}"
    victim = world.address("smuggle").encode()
    head = b"From: <a@sender.test>\r\nMessage-ID: <%s@sender.test>\r\nSubject: outer %s\r\n\r\nbody" % (mark.encode(), mark.encode())
    inner = b"MAIL FROM:<evil@sender.test>\r\nRCPT TO:<" + victim + b">\r\nDATA\r\nSubject: smuggled " + mark.encode() + b"\r\n\r\nx"
    with Wire(world, "smtp") as wire:
        wire.say(b"MAIL FROM:<a@sender.test>")
        check(wire.say(b"RCPT TO:<" + victim + b">").startswith(b"250"), "the recipient is refused")
        check(wire.say(b"DATA").startswith(b"354"), "DATA is refused")
        wire.send(head + sequence + inner + b"\r\n.\r\n")
        time.sleep(0.2)
        wire.send(b"QUIT\r\n")
        wire.rest(2)
    connection = world.imap("smuggle")
    connection.select(readonly=True)
    _, found = connection.search(None, "TEXT", f'"{mark}"')
    numbers = found[0].split()
    _, smuggled = connection.search(None, "SUBJECT", f'"smuggled {mark}"')
    connection.logout()
    check(len(numbers) <= 1, f"{sequence!r} made {len(numbers)} mails")
    check(not smuggled[0], f"{sequence!r} let a mail through that was never sent")


@case("smuggling")
def smuggling(world):
    for sequence in SEQUENCES:
        smuggle(world, sequence)


@case("implicit-ports-say-nothing-in-clear")
def silent_before_tls(world):
    # [IMPL-01] [IMPL-03]
    for service, command in (("submissions", b"EHLO x\r\n"), ("imaps", b"a CAPABILITY\r\n"), ("pop3s", b"CAPA\r\n")):
        with Wire(world, service, greet=False) as wire:
            said, _ = wire.rest(1)
            check(not said, f"{service} said {said!r} before TLS")
        with Wire(world, service, greet=False) as wire:
            wire.send(command)
            said, ended = wire.rest(5)
            check(ended, f"{service} keeps a clear-text connection open")
            check(said[:1] in (b"", b"\x15"), f"{service} answered clear text with {said!r}")


@case("client-hello-on-clear-ports")
def hello_on_clear_port(world):
    # [IMPL-04]
    for service in ("smtp", "submission", "imap", "pop3"):
        with Wire(world, service, greet=False) as wire:
            hello, _ = client_hello(world)
            wire.send(hello)
            said, ended = wire.rest(10)
            check(ended, f"{service} keeps the connection of a lost TLS client open")
            check(b"\x16\x03" not in said[:3], f"{service} answered with a ServerHello")


def variants(world):
    """A right and two wrong logins."""
    good = world.password("attack")
    return [(world.address("attack"), good), (world.address("attack"), "x" * len(good)), ("nobody@gatepost.test", "x" * len(good))]


def one_answer(answers, expected, what):
    check(len(set(answers)) == 1, f"{what}: the answer tells right from wrong: {set(answers)}")
    check(re.match(expected, answers[0]), f"{what}: {answers[0]!r}")


@case("no-login-in-clear-smtp")
def no_clear_login_smtp(world):
    # [SMTP-AUTH-01] [SVC-05] [CONF-15] [REPLY-05] [REPLY-06]
    for service in ("smtp", "submission"):
        answers = []
        for user, password in variants(world):
            with Wire(world, service) as wire:
                check(b"AUTH" not in wire.say(b"EHLO again.test"), f"{service} offers AUTH in clear")
                token = base64.b64encode(f"\0{user}\0{password}".encode())
                answers.append(wire.say(b"AUTH PLAIN " + token))
                check(not wire.say(b"AUTH LOGIN").startswith(b"334"), f"{service} asks for a user name in clear")
                check(wire.say(b"NOOP").startswith(b"250"), f"{service} does not go on after the refusal")
        one_answer(answers, rb"5(30|04|02|03) ", service)
    with Wire(world, "submission") as wire:
        answer = wire.say(b"MAIL FROM:<a@gatepost.test>")
        check(answer.startswith(b"530 5.7.0"), f"MAIL before TLS: {answer!r}")


@case("the-exception-for-clear-logins-lifts-nothing-else")
def clear_login_exception(world):
    # [SMTP-AUTH-01] [CONF-01] [POP-TLS-07] the exception is for logins: port 25 has none, and keeps its demand for TLS
    folder = world.new_folder("exception")
    config = folder / "gatepost.toml"
    config.write_text('[smtp]\ntls = "require"\n[login]\nclear_networks = ["127.0.0.0/8"]\n')
    server = Server(world.binary, folder, ["listed"], flags=["--config", config])
    server.start()
    try:
        with Wire(server, "smtp") as wire:
            answer = wire.say(b"MAIL FROM:<a@far.test>")
            check(answer.startswith(b"530 5.7.0"), f"mail in clear on port 25: {answer!r}")
        with Wire(server, "submission") as wire:
            answer = wire.say(b"MAIL FROM:<listed@gatepost.test>")
            check(answer.startswith(b"530"), f"mail without a login: {answer!r}")
            token = base64.b64encode(b"\0listed@gatepost.test\0" + server.password_file("listed").read_bytes().strip())
            answer = wire.say(b"AUTH PLAIN " + token)
            check(answer.startswith(b"235"), f"the login of a listed network: {answer!r}")
        # Lines are gathered for some milliseconds before they are written.
        check(server.logged("clear_login_allowed"), "the log does not warn")
    finally:
        server.kill()


@case("no-login-in-clear-imap")
def no_clear_login_imap(world):
    # [IMAP-TLS-09] [SVC-05] [REPLY-06]
    answers, others = [], []
    for user, password in variants(world):
        with Wire(world, "imap") as wire:
            answers.append(wire.tagged(f'a LOGIN "{user}" "{password}"'.encode()))
            token = base64.b64encode(f"\0{user}\0{password}".encode())
            others.append(wire.tagged(b"b AUTHENTICATE PLAIN " + token))
            check(wire.tagged(b"c SELECT INBOX").startswith((b"c NO", b"c BAD")), "SELECT without a login")
    one_answer(answers, rb"a NO \[PRIVACYREQUIRED\]", "LOGIN")
    one_answer(others, rb"b NO", "AUTHENTICATE")


@case("no-login-in-clear-pop3")
def no_clear_login_pop3(world):
    # [POP-TLS-04] [SVC-05] [REPLY-06]
    answers = []
    for user, password in variants(world):
        with Wire(world, "pop3") as wire:
            wire.send(b"CAPA\r\n")
            capabilities = b""
            while not capabilities.endswith(b"\r\n.\r\n"):
                capabilities += wire.line()
            check(b"\r\nUSER\r\n" not in capabilities and b"PLAIN" not in capabilities, f"CAPA in clear: {capabilities!r}")
            check(b"\r\nSTLS\r\n" in capabilities, "STLS is not listed")
            wire.send(f"USER {user}\r\n".encode())
            first = wire.line()
            wire.send(f"PASS {password}\r\n".encode())
            answers.append(first + wire.line())
    one_answer(answers, rb"-ERR (?!\[AUTH\])", "USER and PASS")


@case("wrong-passwords-look-alike")
def wrong_passwords(world):
    # [SMTP-AUTH-13] [IMAP-TLS-17] [REPLY-08] an unknown user and a wrong password get the same words
    answers = {"smtp": set(), "imap": set(), "pop3": set()}
    for user, password in variants(world)[1:]:
        with smtplib.SMTP_SSL(HOST, world.port("submissions"), context=world.tls(), timeout=60) as connection:
            connection.ehlo()
            token = base64.b64encode(f"\0{user}\0{password}".encode()).decode()
            answers["smtp"].add(connection.docmd("AUTH", "PLAIN " + token))
        imap = imap_connection(world, "implicit")
        imap.sock.settimeout(60)
        imap.send(f'a LOGIN "{user}" "{password}"\r\n'.encode())
        answers["imap"].add(imap.readline())
        imap.shutdown()
        pop3 = pop3_connection(world, "implicit")
        pop3.sock.settimeout(60)
        pop3.user(user)
        pop3._putcmd(f"PASS {password}")
        answers["pop3"].add(pop3._getline()[0])
        pop3.close()
    for protocol, said in answers.items():
        check(len(said) == 1, f"{protocol}: {said}")
    check(next(iter(answers["smtp"]))[0] == 535, f"SMTP: {answers['smtp']}")
    check(b"[AUTHENTICATIONFAILED]" in next(iter(answers["imap"])), f"IMAP: {answers['imap']}")
    check(b"-ERR [AUTH]" in next(iter(answers["pop3"])), f"POP3: {answers['pop3']}")


FOREIGN = [
    "<someone@elsewhere.test>", "<someone%elsewhere.test@gatepost.test>", "<elsewhere.test!someone@gatepost.test>",
    "<someone@elsewhere.test@gatepost.test>", "<@gatepost.test:someone@elsewhere.test>", '<"someone@elsewhere.test">',
    '<"someone@elsewhere.test"@gatepost.test>', "<someone@[192.0.2.1]>", "<someone@[IPv6:2001:db8::1]>",
    "<someone@sub.gatepost.test>", "<someone@gatepost.test.elsewhere.test>", "<elsewhere.test!someone>", "<someone%elsewhere.test>",
    "someone@elsewhere.test",
]
SENDERS = ["<>", "<someone@elsewhere.test>", "<attack@gatepost.test>", "<postmaster@[127.0.0.1]>", "<a@localhost>"]


@case("no-open-relay")
def no_open_relay(world):
    # [SMTP-BASE-22]
    tried = 0
    for sender in SENDERS:
        for recipient in FOREIGN:
            with Wire(world, "smtp") as wire:
                if not wire.say(f"MAIL FROM:{sender}".encode()).startswith(b"250"):
                    break
                answer = wire.say(f"RCPT TO:{recipient}".encode())
                check(answer.startswith(b"5"), f"MAIL FROM:{sender} RCPT TO:{recipient} is answered with {answer!r}")
                check(wire.say(b"DATA")[:1] == b"5", "DATA without a recipient is accepted")
                tried += 1
    check(tried >= len(FOREIGN), f"only {tried} recipients were tried: every sender was refused")


@case("no-relay-on-submission")
def no_relay_on_submission(world):
    with Wire(world, "submission") as wire:
        wire.say(b"STARTTLS")
        wire.upgrade()
        wire.say(b"EHLO client.test")
        check(wire.say(b"MAIL FROM:<attack@gatepost.test>").startswith(b"530"), "MAIL without a login")
        check(wire.say(b"AUTH PLAIN " + plain_token(world, "attack").encode()).startswith(b"235"), "the login is refused")
        wire.say(b"MAIL FROM:<attack@gatepost.test>")
        answer = wire.say(b"RCPT TO:<someone@elsewhere.test>")
        check(answer.startswith(b"550 5.7.1"), f"a recipient elsewhere is answered with {answer!r}")


@case("old-tls-is-refused", "openssl")
def old_tls(world):
    # [TLS-VER-01] [TLS-VER-02] [SVC-03]
    for service, starttls in (("submissions", []), ("imap", ["-starttls", "imap"]), ("smtp", ["-starttls", "smtp"])):
        connect = ["openssl", "s_client", "-connect", f"{HOST}:{world.port(service)}", *starttls, "-CAfile", world.ca]
        for version in ("-tls1", "-tls1_1"):
            done = run([*connect, version, "-cipher", "ALL:@SECLEVEL=0"], expect="failure")
            words = (done.stdout + done.stderr).lower()
            check(b"protocol version" in words, f"{service} {version}: no protocol_version alert: {words[-300:]!r}")
        for version in ("-tls1_2", "-tls1_3"):
            run([*connect, version, "-verify_return_error"])
        weak = "AES128-SHA:AES256-GCM-SHA384:DHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0"
        run([*connect, "-tls1_2", "-cipher", weak], expect="failure")


@case("no-client-certificate-is-asked-for", "openssl")
def no_client_certificate(world):
    # [SVC-07]
    for version in ("-tls1_2", "-tls1_3"):
        done = run(["openssl", "s_client", "-connect", f"{HOST}:{world.port('imaps')}", "-CAfile", world.ca, version, "-msg"])
        check(b"ServerHello" in done.stdout, f"{version}: the messages are not shown")
        check(b"CertificateRequest" not in done.stdout, f"{version}: a certificate is asked for")


@case("foreign-alpn-is-refused", "openssl")
def foreign_alpn(world):
    # [TLS-ALPN-01] [TLS-ALPN-02]
    for service, own in (("submissions", "smtp"), ("imaps", "imap"), ("pop3s", "pop3")):
        connect = ["openssl", "s_client", "-connect", f"{HOST}:{world.port(service)}", "-CAfile", world.ca, "-alpn"]
        run([*connect, "h2,http/1.1"], expect="failure")
        run([*connect, own])


@case("split-client-hello")
def split_client_hello(world):
    # [PQ-02] a ClientHello in many segments
    with Wire(world, "imaps", greet=False) as wire:
        hello, parts = client_hello(world)
        for at in range(0, len(hello), 7):
            wire.send(hello[at:at + 7])
            time.sleep(0.001)
        finish_handshake(wire, parts)
        check(read_engine(wire, parts).startswith(b"* OK"), "no greeting inside TLS")


@case("any-record-version")
def record_version(world):
    # [TLS-VER-03] the record's version says nothing; the transcript does not cover it
    for minor in range(5):
        with Wire(world, "imaps", greet=False) as wire:
            hello, parts = client_hello(world)
            wire.send(hello[:1] + bytes([3, minor]) + hello[3:])
            finish_handshake(wire, parts)
            check(read_engine(wire, parts).startswith(b"* OK"), f"no greeting after a record of version 3.{minor}")


@case("http-is-turned-away")
def http(world):
    with Wire(world, "smtp", greet=False) as wire:
        wire.send(b"POST / HTTP/1.1\r\nHost: localhost\r\n\r\nEHLO x\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<attack@gatepost.test>\r\nDATA\r\n")
        said, ended = wire.rest(10)
        check(ended, "an HTTP request keeps the connection")
        check(b"\n354" not in said, f"an HTTP request led to DATA: {said!r}")


@case("the-server-still-works-afterwards")
def still_works(world):
    message = plain(world.address("attack"), world.address("attack"))
    send_by_python(world, message, "starttls", "attack")
    world.arrived("attack", message)
