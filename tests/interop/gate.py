"""The gate for the tests: `serve --upstream`, its clients, and upstreams that do what a script says.

The cases stand beside it: `gate_mail` (mail passes), `gate_upstreams` (which upstream, and what it is told), `gate_trouble` (what goes wrong),
`faults`, `routes`, `reloads`.
"""

import imaplib
import poplib
import smtplib
import socket
import ssl
import subprocess
import threading
import time

from servers import ADDRESS, PASSWORD
from world import HOST, Server, check

# A Postfix that takes mail from here, and logins in clear.
OPEN = "-o smtpd_tls_security_level=may -o smtpd_tls_auth_only=no -o smtpd_relay_restrictions=permit_sasl_authenticated,reject_unauth_destination -o smtpd_recipient_restrictions="


class Gate(Server):
    """The program in front of other servers."""

    def __init__(self, world, *upstreams, flags=()):
        words = [word for url in upstreams for word in ("--upstream", url)]
        super().__init__(world.binary, world.new_folder("gate"), (), (*words, *flags))

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.terminate()

    def logged(self, words, seconds=30):
        """On a busy machine lines come late."""
        return super().logged(words, seconds)

    def tls(self, trusted=True):
        """A TLS context that trusts the gate, or the system's authorities only."""
        return ssl.create_default_context(cafile=self.ca if trusted else None)

    def smtp(self, mode="starttls", service=None, source=None):
        """An SMTP connection inside TLS."""
        service = service or ("submission" if mode == "starttls" else "submissions")
        source = (source, 0) if source else None
        if mode == "implicit":
            return smtplib.SMTP_SSL(HOST, self.port(service), context=self.tls(), timeout=30, source_address=source)
        connection = smtplib.SMTP(HOST, self.port(service), timeout=30, source_address=source)
        connection.starttls(context=self.tls())
        connection.ehlo()
        return connection

    def imap(self, mode="implicit", login=True):
        """An IMAP connection inside TLS."""
        if mode == "implicit":
            connection = imaplib.IMAP4_SSL(HOST, self.port("imaps"), ssl_context=self.tls(), timeout=30)
        else:
            connection = imaplib.IMAP4(HOST, self.port("imap"), timeout=30)
            check("LOGINDISABLED" in connection.capabilities, "LOGINDISABLED is not listed in clear")
            connection.starttls(ssl_context=self.tls())
        if login:
            connection.login(ADDRESS, PASSWORD)
        return connection

    def pop3(self, mode="implicit"):
        """A logged-in POP3 connection inside TLS."""
        if mode == "implicit":
            connection = poplib.POP3_SSL(HOST, self.port("pop3s"), context=self.tls(), timeout=30)
        else:
            connection = poplib.POP3(HOST, self.port("pop3"), timeout=30)
            connection.stls(context=self.tls())
        connection.user(ADDRESS)
        connection.pass_(PASSWORD)
        return connection


def urls(postfix, dovecot, service="smtp", more=""):
    """The upstreams in clear."""
    return (
        f"smtp://127.0.0.1:{postfix.ports[service]}{more}",
        f"imap://127.0.0.1:{dovecot.ports['imap']}{more}",
        f"pop3://127.0.0.1:{dovecot.ports['pop3']}{more}",
    )


def send(connection, message, login=True):
    """Hands in a message."""
    with connection:
        if login:
            connection.login(ADDRESS, PASSWORD)
        connection.sendmail(ADDRESS, [ADDRESS], message.content, mail_options=["BODY=8BITMIME"])


def imap_copies(connection, want, seconds=60):
    """The messages of the inbox, once there are so many."""
    deadline = time.monotonic() + seconds
    while True:
        _, count = connection.select(readonly=True)
        _, parts = connection.fetch("1:*", "(UID BODY.PEEK[])") if int(count[0]) else (None, [])
        copies = [part[1] for part in parts if isinstance(part, tuple)]
        if len(copies) >= want or time.monotonic() > deadline:
            return copies
        connection.noop()
        time.sleep(0.3)


def pop3_copies(connection):
    """All messages of the maildrop."""
    numbers = range(1, connection.stat()[0] + 1)
    return [b"\r\n".join(connection.retr(number)[1]) + b"\r\n" for number in numbers]


def refused(world, command, words):
    """The program does not start so."""
    done = subprocess.run(
        [world.binary, "serve", "--data", world.new_folder("refused") / "data", "--port-offset", "32000", *command],
        capture_output=True, timeout=30, check=False, stdin=subprocess.DEVNULL)
    check(done.returncode == 2 and words in done.stderr.decode(), f"{command}: {done.returncode} {done.stderr.decode()}")


def pin_of(cert):
    """The pin of a certificate's key."""
    spki = subprocess.run(f"openssl x509 -in {cert} -pubkey -noout | openssl pkey -pubin -outform der | sha256sum", shell=True, capture_output=True, check=True)
    return f"sha256-spki:{spki.stdout[:64].decode()}"


def logged(server, words, seconds=20):
    """Waits for words in a server's log."""
    deadline = time.monotonic() + seconds
    while words not in server.log.read_text(errors="replace"):
        check(time.monotonic() < deadline, f"{words!r} is not in the log: {server.log.read_text(errors='replace')[-1500:]}")
        time.sleep(0.1)


class Scripted:
    """An upstream that does what a function says: it is given the connection's words and a way to speak."""

    def __init__(self, play, tls=None):
        self.play, self.tls, self.heard = play, tls, bytearray()
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.connections = []

    def __enter__(self):
        threading.Thread(target=self.accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.socket.close()
        for connection in self.connections:
            connection.close()

    def accept(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            self.connections.append(connection)
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        try:
            if self.tls is not None:
                connection = self.tls.wrap_socket(connection, server_side=True)
                self.connections.append(connection)
            self.play(Talk(self, connection))
        except (OSError, ssl.SSLError):
            pass
        finally:
            connection.close()


class Talk:
    """A connection at a scripted upstream. What is said in a test of ten thousand sessions is long: nothing here takes longer the more
    there was."""

    def __init__(self, upstream, connection):
        self.upstream, self.connection, self.buffer, self.at = upstream, connection, b"", 0

    def say(self, words):
        self.connection.sendall(words)

    def line(self):
        """The next line; the end of the connection is an error."""
        while (end := self.buffer.find(b"\n", self.at)) < 0:
            self.more()
        line, self.at = self.buffer[self.at:end], end + 1
        return line.rstrip(b"\r")

    def octets(self, count):
        """The next octets."""
        while len(self.buffer) - self.at < count:
            self.more()
        octets, self.at = self.buffer[self.at:self.at + count], self.at + count
        return octets

    def more(self):
        words = self.connection.recv(65536)
        if not words:
            raise OSError("closed")
        self.upstream.heard += words
        self.buffer, self.at = self.buffer[self.at:] + words, 0


def imap_play(before=b"", greeting=b"* OK ready\r\n", capability=b"* CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR\r\n", after=None):
    """An IMAP server by the book, with words put in."""

    def play(talk):
        talk.say(greeting)
        while True:
            tag, _, rest = talk.line().partition(b" ")
            verb = rest.split(b" ")[0].upper()
            if verb == b"CAPABILITY":
                talk.say(before + capability + tag + b" OK done\r\n")
            elif verb in (b"AUTHENTICATE", b"LOGIN"):
                talk.say(tag + b" OK [CAPABILITY IMAP4rev1] in\r\n")
                if after is not None:
                    after(talk)
                    return
            else:
                talk.say(tag + b" OK done\r\n")

    return play


def smtp_play(record, data=None, size=b"", answer=b"250 2.0.0 Ok: queued as 1", verdict_delay=0):
    """An SMTP server by the book that records what it is given; `data` may do something else with content."""

    def play(talk):
        talk.say(b"220 upstream ESMTP\r\n")
        while True:
            line = talk.line()
            record.append(line)
            verb = line.split(b" ")[0].upper()
            if verb == b"EHLO":
                talk.say(b"250-upstream\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-ENHANCEDSTATUSCODES\r\n250-CHUNKING\r\n250-STARTTLS\r\n250 SIZE" + size + b"\r\n")
            elif verb == b"DATA":
                talk.say(b"354 go\r\n")
                if data is not None:
                    data(talk)
                    return
                content = b""
                while True:
                    line = talk.line()
                    if line == b".":
                        break
                    content += line + b"\r\n"
                record.append(content)
                time.sleep(verdict_delay)
                talk.say(answer + b"\r\n")
            elif verb == b"QUIT":
                talk.say(b"221 bye\r\n")
                return
            else:
                talk.say(b"250 2.1.0 ok\r\n")

    return play


class Raw:
    """A client's connection, word for word, inside TLS."""

    def __init__(self, gate, service, starttls=False):
        self.socket = socket.create_connection((HOST, gate.port(service)), timeout=30)
        if starttls:
            self.words = self.socket.makefile("rb")
            self.words.readline()
            check(self.ask(b"EHLO client.test\r\n")[:3] == b"250", "EHLO")
            check(self.ask(b"STARTTLS\r\n")[:3] == b"220", "STARTTLS")
        self.socket = gate.tls().wrap_socket(self.socket, server_hostname=HOST)
        self.words = self.socket.makefile("rb")
        if not starttls:
            self.words.readline()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def ask(self, words):
        """Says something; the last line of the answer."""
        self.socket.sendall(words)
        return self.answer()

    def answer(self):
        line = self.words.readline()
        while line[3:4] == b"-":
            line = self.words.readline()
        return line


def on_25(gate):
    """A session with port 25, as far as a recipient."""
    raw = Raw(gate, "smtp", starttls=True)
    raw.ask(b"EHLO client.test\r\n")
    return raw


def memory(gate):
    """The program's own memory, in KiB."""
    status = open(f"/proc/{gate.process.pid}/status").read()
    return int(status.split("RssAnon:")[1].split()[0])
