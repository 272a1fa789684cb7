"""The gate: `serve --upstream` in front of Postfix and Dovecot.

Mail sent through it arrives byte for byte, is read through it byte for byte, and the servers behind know who the client is. An upstream
that is not the one meant never sees a password.
"""

import base64
import imaplib
import poplib
import smtplib
import socket
import ssl
import subprocess
import threading
import time
from pathlib import Path

from fetchers import all_there, by_id
from servers import ADDRESS, PASSWORD, Dovecot, Pki, Postfix, free_port, kinds
from world import HOST, Server, case, check, in_threads, plain, same

# The client's address: another than the gate's own, so that it can be told which one a server has been told.
CLIENT = "127.0.0.23"
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

    def tls(self):
        """A TLS context that trusts the gate."""
        return ssl.create_default_context(cafile=self.ca)

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


def mail_passes(gate):
    """Mail of every kind through every service, there and back."""
    all_kinds = kinds()
    ways = [lambda: gate.smtp("starttls"), lambda: gate.smtp("implicit")]
    for number, message in enumerate(all_kinds):
        send(ways[number % 2](), message)
    on_25 = plain("somebody@elsewhere.test", ADDRESS)
    send(gate.smtp(service="smtp"), on_25, login=False)
    all_kinds.append(on_25)
    for mode in ("starttls", "implicit"):
        connection = gate.imap(mode)
        all_there(imap_copies(connection, len(all_kinds)), all_kinds)
        connection.logout()
        connection = gate.pop3(mode)
        all_there(pop3_copies(connection), all_kinds)
        connection.quit()
    return all_kinds


@case("gate-clear", "postfix", "dovecot")
def gate_clear(world):
    with Dovecot(world) as dovecot, Postfix(world, dovecot, {"smtp": OPEN}) as postfix, Gate(world, *urls(postfix, dovecot)) as gate:
        check(set(gate.ports) == {"smtp", "submission", "submissions", "imap", "imaps", "pop3", "pop3s"}, f"services {gate.ports}")
        mail_passes(gate)
        # Without a login nothing is handed in, and without TLS there is none.
        with smtplib.SMTP(HOST, gate.port("submission"), timeout=30) as connection:
            connection.ehlo()
            check(not connection.has_extn("auth"), "AUTH is offered in clear")
            check(connection.docmd("AUTH PLAIN AGEAYg==")[0] == 530, "AUTH in clear is not refused with 530")
        with gate.smtp() as connection:
            check(connection.docmd(f"MAIL FROM:<{ADDRESS}>")[0] == 530, "MAIL without a login is taken")
            check("PLAIN" in connection.esmtp_features["auth"] and "SCRAM" not in connection.esmtp_features["auth"], "AUTH lists a mechanism half ours")
            check(connection.docmd("STARTTLS")[0] == 503, "STARTTLS inside TLS")
            try:
                connection.login(ADDRESS, "wrong")
                check(False, "a wrong password is good")
            except smtplib.SMTPAuthenticationError as error:
                check(error.smtp_code == 535, f"a wrong password is answered {error.smtp_code}")
        # The upstream's own refusal, with its code.
        with gate.smtp(service="smtp") as connection:
            connection.mail("a@elsewhere.test")
            code, text = connection.rcpt("b@elsewhere.test")
            check(code == 554 and b"Relay access denied" in text, f"{code} {text}")
        capabilities_are_cut(gate)


def capabilities_are_cut(gate):
    """[GW-01] before and after the login."""
    connection = gate.imap(login=False)
    before = connection.capabilities
    connection.login(ADDRESS, PASSWORD)
    check(connection.login is not None and connection.state == "AUTH", "not logged in")
    _, data = connection.capability()
    after = data[-1].decode().upper().split()
    for words in (before, after):
        for word in words:
            check(not word.startswith(("STARTTLS", "LOGINDISABLED", "COMPRESS", "XCLIENT")), f"{word} is listed")
    check("AUTH=PLAIN" in before and not any(word.startswith("AUTH=") for word in after), f"{before} {after}")
    check("IDLE" in before and "MOVE" in after, f"{before} {after}")
    try:
        check(False, f"COMPRESS is answered {connection.xatom('COMPRESS', 'DEFLATE')}")
    except imaplib.IMAP4.error as error:
        check("BAD" in str(error), str(error))
    check(connection.noop()[0] == "OK", "NOOP behind COMPRESS")
    connection.logout()
    try:
        gate.imap(login=False).login(ADDRESS, "wrong")
        check(False, "a wrong password is good")
    except imaplib.IMAP4.error as error:
        check("AUTHENTICATIONFAILED" in str(error), str(error))


@case("gate-programs", "postfix", "dovecot", "curl", "swaks")
def gate_programs(world):
    with Dovecot(world) as dovecot, Postfix(world, dovecot, {"smtp": OPEN}) as postfix, Gate(world, *urls(postfix, dovecot)) as gate:
        sent = kinds()[:3]
        for message, way in zip(sent, ("starttls", "implicit", "25")):
            file = message.save(gate.folder, b"\n")
            # It ends the message with a line end of its own.
            file.write_bytes(file.read_bytes().removesuffix(b"\n"))
            service, flag = {"starttls": ("submission", "--tls"), "implicit": ("submissions", "--tls-on-connect"), "25": ("smtp", "--tls")}[way]
            login = [] if way == "25" else ["--auth", "PLAIN", "--auth-user", ADDRESS, "--auth-password", PASSWORD]
            done = subprocess.run(
                ["swaks", "--server", HOST, "--port", str(gate.port(service)), flag, "--tls-verify", "--tls-ca-path", gate.ca, "--from", ADDRESS,
                 "--to", ADDRESS, "--data", f"@{file}", "--protocol", "ESMTP", *login], capture_output=True, timeout=60, check=False)
            check(done.returncode == 0, f"swaks: {(done.stdout + done.stderr)[-600:]}")
        imap_copies(gate.imap(), len(sent))
        for scheme, service, tls in (("imap", "imap", ["--ssl-reqd"]), ("imaps", "imaps", []), ("pop3s", "pop3s", []), ("pop3", "pop3", ["--ssl-reqd"])):
            path = "INBOX;MAILINDEX=1" if scheme.startswith("imap") else "1"
            done = subprocess.run(
                ["curl", "-sS", "--cacert", gate.ca, *tls, "--user", f"{ADDRESS}:{PASSWORD}", f"{scheme}://{HOST}:{gate.port(service)}/{path}"],
                capture_output=True, timeout=60, check=False)
            check(done.returncode == 0, f"curl {scheme}: {done.stderr}")
            same(done.stdout, next(it for it in sent if by_id([done.stdout], it)))


def refused(world, command, words):
    """The program does not start so."""
    done = subprocess.run(
        [world.binary, "serve", "--data", world.new_folder("refused") / "data", "--port-offset", "32000", *command],
        capture_output=True, timeout=30, check=False, stdin=subprocess.DEVNULL)
    check(done.returncode == 2 and words in done.stderr.decode(), f"{command}: {done.returncode} {done.stderr.decode()}")


@case("gate-refuses-configurations")
def gate_refuses(world):
    refused(world, ["--upstream", "imap://192.0.2.1:143"], "tls=none")
    refused(world, ["--upstream", "smtp://mail.example.test"], "+starttls")
    refused(world, ["--upstream", "http://127.0.0.1"], "no scheme")
    refused(world, ["--upstream", "imaps://localhost?ca=/nonexistent.pem"], "/nonexistent.pem")
    refused(world, ["--upstream", "imap://127.0.0.1", "--account", "a@b.test", "--password-file", "/dev/null"], "")


# TLS to the upstream


def tls_urls(postfix, dovecot, more, implicit=False):
    """The upstreams over TLS."""
    if implicit:
        schemes = (("submissions", postfix.ports["submissions"]), ("imaps", dovecot.ports["imaps"]), ("pop3s", dovecot.ports["pop3s"]))
    else:
        schemes = (("submission+starttls", postfix.ports["submission"]), ("imap+starttls", dovecot.ports["imap"]), ("pop3+starttls", dovecot.ports["pop3"]))
    return [f"{scheme}://localhost:{port}?{more}" for scheme, port in schemes]


def pin_of(cert):
    """The pin of a certificate's key."""
    spki = subprocess.run(f"openssl x509 -in {cert} -pubkey -noout | openssl pkey -pubin -outform der | sha256sum", shell=True, capture_output=True, check=True)
    return f"sha256-spki:{spki.stdout[:64].decode()}"


@case("gate-upstream-tls", "postfix", "dovecot")
def gate_upstream_tls(world):
    """[GW-02] [GW-03] verified by STARTTLS and from the first octet, by an authority, a name and a pin."""
    with Dovecot(world) as dovecot, Postfix(world, dovecot) as postfix:
        message = plain(ADDRESS, ADDRESS)
        both = []
        for server in (postfix, dovecot):
            both.append((f"ca={server.pki.ca}", f"pin={pin_of(server.pki.cert)}"))
        for implicit in (False, True):
            for way in (0, 1):
                submission, _, _ = tls_urls(postfix, dovecot, both[0][way], implicit)
                _, imap, pop3 = tls_urls(postfix, dovecot, both[1][way], implicit)
                with Gate(world, submission, imap, pop3) as gate:
                    send(gate.smtp(), message)
                    check(len(imap_copies(gate.imap(), 1)) >= 1, "nothing arrived")
                    connection = gate.pop3()
                    check(pop3_copies(connection), "nothing by POP3")
                    connection.quit()
        # An address that the certificate does not have, with the name that it has.
        with Gate(world, f"imap+starttls://127.0.0.1:{dovecot.ports['imap']}?name=localhost&ca={dovecot.pki.ca}") as gate:
            gate.imap().logout()


def nobody_logs_in(gate):
    """Every login at the gate is put off, none is refused for good."""
    try:
        gate.imap(login=False).login(ADDRESS, PASSWORD)
        check(False, "a login by IMAP is good")
    except imaplib.IMAP4.error as error:
        check("UNAVAILABLE" in str(error), str(error))
    try:
        gate.pop3()
        check(False, "a login by POP3 is good")
    except poplib.error_proto as error:
        check("[SYS/TEMP]" in str(error), str(error))
    try:
        with gate.smtp() as connection:
            connection.login(ADDRESS, PASSWORD)
        check(False, "a login by SMTP is good")
    except smtplib.SMTPAuthenticationError as error:
        check(error.smtp_code == 454, str(error))


@case("gate-upstream-not-the-one", "postfix", "dovecot")
def gate_not_the_one(world):
    """[GW-02] wrong name, unknown authority, expired, other pin: put off, an event, and no password."""
    with Dovecot(world) as dovecot, Postfix(world, dovecot) as postfix:
        other = Pki(world.new_folder("other"))
        wrong = {
            "name": [f"ca={server.pki.ca}&name=other.example.test" for server in (postfix, dovecot)],
            "authority": [f"ca={other.ca}"] * 2,
            "pin": [f"pin={pin_of(other.cert)}"] * 2,
            "pin beside an authority": [f"ca={server.pki.ca}&pin={pin_of(other.cert)}" for server in (postfix, dovecot)],
        }
        for what, (for_postfix, for_dovecot) in wrong.items():
            for implicit in (False, True):
                submission, _, _ = tls_urls(postfix, dovecot, for_postfix, implicit)
                _, imap, pop3 = tls_urls(postfix, dovecot, for_dovecot, implicit)
                with Gate(world, submission, imap, pop3) as gate:
                    nobody_logs_in(gate)
                    check(gate.logged("upstream_unverified"), f"{what}: no event: {gate.last_words()}")
        log = dovecot.log.read_text()
        check("Login: user" not in log and "auth failed" not in log, f"a password was seen: {log[-2000:]}")
        check("sasl_" not in postfix.log.read_text() and "SASL" not in postfix.log.read_text(), "a password was seen by Postfix")


@case("gate-upstream-expired", "dovecot")
def gate_expired(world):
    """[GW-02] a certificate whose time is over."""
    with Dovecot(world) as dovecot:
        folder = dovecot.folder
        subprocess.run(
            ["openssl", "x509", "-req", "-in", folder / "csr", "-CA", dovecot.pki.ca, "-CAkey", folder / "ca.key", "-set_serial", "77", "-days", "-1",
             "-extfile", folder / "ext", "-out", folder / "old.pem"], check=True, capture_output=True)
        old = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        old.load_cert_chain(folder / "old.pem", dovecot.pki.key)
        with Scripted(lambda words: words, tls=old) as upstream:
            with Gate(world, f"imaps://localhost:{upstream.port}?ca={dovecot.pki.ca}") as gate:
                try:
                    gate.imap(login=False).login(ADDRESS, PASSWORD)
                    check(False, "the login is good")
                except imaplib.IMAP4.error as error:
                    check("UNAVAILABLE" in str(error), str(error))
                check(gate.logged("upstream_unverified"), gate.last_words())
            check(not upstream.heard, f"something was said: {upstream.heard}")


# Identity


def haproxy(ports):
    """Listeners of Dovecot that want a PROXY header, and trust in the gate."""
    ports["proxied"], ports["proxied-pop3"] = free_port(), free_port()
    return f"""
haproxy_trusted_networks = 127.0.0.1
login_trusted_networks = 127.0.0.1
service imap-login {{
  inet_listener proxied {{
    address = 127.0.0.1
    port = {ports['proxied']}
    haproxy = yes
  }}
}}
service pop3-login {{
  inet_listener proxied {{
    address = 127.0.0.1
    port = {ports['proxied-pop3']}
    haproxy = yes
  }}
}}
"""


def imap_from(gate, address):
    """A login by IMAP from an address."""
    raw = socket.create_connection((HOST, gate.port("imaps")), timeout=30, source_address=(address, 0))
    with gate.tls().wrap_socket(raw, server_hostname=HOST) as connection:
        words = connection.makefile("rb")
        words.readline()
        connection.sendall(f"a LOGIN {ADDRESS} {PASSWORD}\r\n".encode())
        answer = words.readline()
        check(answer.startswith(b"a OK"), f"login from {address}: {answer}")
        connection.sendall(b"b LOGOUT\r\n")
        while words.readline():
            pass


def logged(server, words, seconds=20):
    """Waits for words in a server's log."""
    deadline = time.monotonic() + seconds
    while words not in server.log.read_text(errors="replace"):
        check(time.monotonic() < deadline, f"{words!r} is not in the log: {server.log.read_text(errors='replace')[-1500:]}")
        time.sleep(0.1)


@case("gate-identity", "postfix", "dovecot")
def gate_identity(world):
    """[PROXY-05] [PROXY-06] [XCL-01] [XCL-03] the servers behind know who the client is."""
    clear = "-o smtpd_tls_security_level=may -o smtpd_relay_restrictions=reject_unauth_destination -o smtpd_recipient_restrictions="
    more = {
        "proxied": f"{clear} -o smtpd_upstream_proxy_protocol=haproxy",
        "xclient": f"{clear} -o smtpd_authorized_xclient_hosts=127.0.0.1",
    }
    with Dovecot(world, haproxy) as dovecot, Postfix(world, dovecot, more) as postfix:
        number = 0
        for version in ("v1", "v2"):
            number += 1
            client = f"127.0.0.{30 + number}"
            upstreams = (f"smtp://127.0.0.1:{postfix.ports['proxied']}?proxy={version}", f"imap+starttls://localhost:{dovecot.ports['proxied']}?proxy={version}&ca={dovecot.pki.ca}")
            with Gate(world, *upstreams) as gate:
                send(gate.smtp(service="smtp", source=client), plain("a@elsewhere.test", ADDRESS), login=False)
                logged(postfix, f"[{client}]")
                imap_from(gate, client)
                logged(dovecot, f"rip={client}")
        client = "127.0.0.40"
        upstreams = (f"smtp://127.0.0.1:{postfix.ports['xclient']}?xclient", f"imap+starttls://localhost:{dovecot.ports['imap']}?xclient&ca={dovecot.pki.ca}")
        with Gate(world, *upstreams) as gate:
            send(gate.smtp(service="smtp", source=client), plain("a@elsewhere.test", ADDRESS), login=False)
            logged(postfix, f"[{client}]")
            imap_from(gate, client)
            logged(dovecot, f"rip={client}")
        two_gates(world, postfix, dovecot)


def two_gates(world, postfix, dovecot):
    """[PROXY-01] behind two gates in a row the last server still knows the client; nobody else is believed."""
    client = "127.0.0.50"
    behind = (f"smtp://127.0.0.1:{postfix.ports['proxied']}?proxy=v2", f"imap+starttls://localhost:{dovecot.ports['proxied']}?proxy=v2&ca={dovecot.pki.ca}")
    with Gate(world, *behind, flags=("--proxy-from", "127.0.0.1/32")) as inner:
        front = (f"smtp+starttls://localhost:{inner.port('smtp')}?proxy=v2&ca={inner.ca}", f"imaps://localhost:{inner.port('imaps')}?proxy=v1&ca={inner.ca}")
        with Gate(world, *front) as outer:
            send(outer.smtp(service="smtp", source=client), plain("a@elsewhere.test", ADDRESS), login=False)
            logged(postfix, f"[{client}]")
            imap_from(outer, client)
            logged(dovecot, f"rip={client}")
        # From another address a header is only words out of turn.
        with socket.create_connection((HOST, inner.port("smtp")), timeout=30, source_address=("127.0.0.9", 0)) as forger:
            forger.sendall(b"PROXY TCP4 192.0.2.66 192.0.2.1 1 25\r\nQUIT\r\n")
            forger.makefile("rb").read()
        check(inner.logged("smtp 127.0.0.9:") and not inner.logged("192.0.2.66", 0), f"a forged header: {inner.last_words()}")
        # From the proxy something else than a header is answered with silence.
        with socket.create_connection((HOST, inner.port("smtp")), timeout=30, source_address=("127.0.0.1", 0)) as broken:
            broken.sendall(b"EHLO not.a.header\r\nNOOP\r\n")
            try:
                check(broken.recv(100) == b"", "words without a header are answered")
            except ConnectionResetError:
                pass


# Upstreams that misbehave


class Scripted:
    """An upstream that does what a function says: it is given the connection's words and a way to speak."""

    def __init__(self, play, tls=None):
        self.play, self.tls, self.heard = play, tls, b""
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
    """A connection at a scripted upstream."""

    def __init__(self, upstream, connection):
        self.upstream, self.connection, self.buffer = upstream, connection, b""

    def say(self, words):
        self.connection.sendall(words)

    def line(self):
        """The next line; the end of the connection is an error."""
        while b"\n" not in self.buffer:
            words = self.connection.recv(65536)
            if not words:
                raise OSError("closed")
            self.upstream.heard += words
            self.buffer += words
        line, _, self.buffer = self.buffer.partition(b"\n")
        return line.rstrip(b"\r")


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


@case("gate-upstream-words-before-login")
def gate_words_before_login(world):
    """[GW-03] PREAUTH, alerts and referrals before the login end the session, and no password is sent."""
    plays = {
        "preauth": imap_play(greeting=b"* PREAUTH as somebody\r\n"),
        "alert in the greeting": imap_play(greeting=b"* OK [ALERT] go to http://evil.test\r\n"),
        "alert": imap_play(before=b"* OK [ALERT] go to http://evil.test\r\n"),
        "referral": imap_play(before=b"* OK [REFERRAL imap://evil.test/] go there\r\n"),
        "bye referral": imap_play(greeting=b"* BYE [REFERRAL imap://evil.test/] go there\r\n"),
        "garbage": lambda talk: talk.say(b"\x00\xff\x01" * 1000 + b"\r\n"),
        "nothing": lambda talk: None,
        "without end": lambda talk: talk.say(b"x" * 10_000_000),
    }
    for what, play in plays.items():
        with Scripted(play) as upstream, Gate(world, f"imap://127.0.0.1:{upstream.port}") as gate:
            connection = gate.imap(login=False)
            try:
                connection.login(ADDRESS, PASSWORD)
                check(False, f"{what}: the login is good")
            except imaplib.IMAP4.error as error:
                check("UNAVAILABLE" in str(error) and "evil" not in str(error), f"{what}: {error}")
            check(PASSWORD.encode() not in upstream.heard and b"AUTHENTICATE" not in upstream.heard, f"{what}: {upstream.heard}")


@case("gate-upstream-injection")
def gate_upstream_injection(world):
    """[GW-02] [SMTP-STARTTLS-21] words between the upstream's leave for TLS and its ServerHello end the session."""
    pki = Pki(world.new_folder("pki"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pki.cert, pki.key)

    def smtp(injected):
        def play(talk):
            talk.say(b"220 upstream ESMTP\r\n")
            talk.line()
            talk.say(b"250-upstream\r\n250 STARTTLS\r\n")
            talk.line()
            talk.say(b"220 go\r\n" + injected)
            inside = Talk(talk.upstream, context.wrap_socket(talk.connection, server_side=True))
            talk.upstream.connections.append(inside.connection)
            inside.line()
            inside.say(b"250-upstream\r\n250-AUTH PLAIN\r\n250 8BITMIME\r\n")
            while True:
                inside.line()
                inside.say(b"235 in\r\n")
        return play

    def attempt(injected):
        with Scripted(smtp(injected)) as upstream, Gate(world, f"submission+starttls://localhost:{upstream.port}?ca={pki.ca}") as gate:
            with gate.smtp() as connection:
                try:
                    connection.login(ADDRESS, PASSWORD)
                    return True, upstream.heard
                except smtplib.SMTPAuthenticationError as error:
                    check(error.smtp_code == 454, str(error))
                    check(gate.logged("upstream_injection"), gate.last_words())
                    return False, upstream.heard

    good, _ = attempt(b"")
    check(good, "the upstream by the book is refused")
    for injected in (b"250 STARTTLS\r\n", b"x", b"235 in\r\n"):
        good, heard = attempt(injected)
        check(not good and b"AUTH" not in heard, f"{injected}: {heard}")


# Sessions that go wrong, and what becomes of mail


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


ENVELOPE = b"MAIL FROM:<a@b.test> BODY=8BITMIME\r\nRCPT TO:<c@d.test>\r\n"


@case("gate-smuggling")
def gate_smuggling(world):
    """[SMTP-CHUNK-04] [GW-01] nothing in a message can look like its end to the upstream, whatever way it came."""
    sequences = [b"\n.\n", b"\n.\r", b"\r.\n", b"\r.\r", b"\n.\r\n", b"\r.\r\n", b"\r\n.\n", b"\r\n.\r", b"\r\n\0.\r\n", b"\r\n.\r\r\n", b"\r\r\n.\r\r\n"]
    inner = b"MAIL FROM:<evil@b.test>\r\nRCPT TO:<c@d.test>\r\nDATA\r\nSubject: smuggled\r\n\r\nx\r\n"
    record = []
    with Scripted(smtp_play(record)) as upstream, Gate(world, f"smtp://127.0.0.1:{upstream.port}") as gate:
        for number, sequence in enumerate(sequences):
            content = b"Subject: %d\r\n\r\ntext" % number + sequence + inner
            with on_25(gate) as raw:
                raw.socket.sendall(ENVELOPE + b"DATA\r\n")
                replies = [raw.answer() for _ in range(3)]
                check(replies[2].startswith(b"354"), f"{replies}")
                verdict = raw.ask(content + b"\r\n.\r\n")
                check(verdict.startswith((b"550", b"554")), f"{sequence}: {verdict}")
            with on_25(gate) as raw:
                raw.socket.sendall(ENVELOPE + b"BDAT %d LAST\r\n" % len(content) + content)
                replies = [raw.answer() for _ in range(3)]
                check(replies[2].startswith((b"550", b"554")), f"{sequence}: {replies}")
        check(not any(line.startswith(b"MAIL FROM:<evil") for line in record), "a smuggled command")
        check(not any(line.startswith(b"Received:") for line in record), f"a message was taken: {record}")
        # What is harmless comes through as it is: by BDAT in pieces, with dots and a line that looks like the end.
        with on_25(gate) as raw:
            first, second = b"Subject: x\r\n\r\n.\r\n..\r", b"\n.a\r\nb"
            raw.socket.sendall(ENVELOPE + b"BDAT %d\r\n" % len(first) + first + b"BDAT %d LAST\r\n" % len(second) + second)
            replies = [raw.answer() for _ in range(4)]
            check(replies[3] == b"250 2.0.0 Ok: queued as 1\r\n", f"{replies}")
        message = record[-1]
        check(message.endswith(b"Subject: x\r\n\r\n..\r\n...\r\n..a\r\nb\r\n"), f"{message}")
        # [GW-04] one field of ours, with what TLS was.
        check(message.count(b"Received:") == 1 and b"TLS_AES" in message.replace(b"\r\n", b" "), f"{message}")


@case("gate-smtp-transactions")
def gate_transactions(world):
    """Transactions in a row, given up, refused and too large; the upstream's limits and refusals are the client's."""
    record = []
    with Scripted(smtp_play(record, size=b" 5000")) as upstream, Gate(world, f"smtp://127.0.0.1:{upstream.port}") as gate:
        with gate.smtp(service="smtp") as connection:
            check(connection.esmtp_features.get("size") == "5000", f"{connection.esmtp_features}")
            check(connection.has_extn("8bitmime") and not connection.has_extn("smtputf8"), f"{connection.esmtp_features}")
            check(not connection.has_extn("starttls") and not connection.has_extn("auth"), f"{connection.esmtp_features}")
            for _ in range(3):
                connection.sendmail("a@b.test", ["c@d.test", "e@d.test"], b"Subject: x\r\n\r\nx\r\n")
            connection.mail("a@b.test")
            connection.rcpt("c@d.test")
            check(connection.rset()[0] == 250, "RSET")
            connection.mail("a@b.test")
            connection.ehlo()
            connection.sendmail("a@b.test", ["c@d.test"], b"Subject: y\r\n\r\ny\r\n")
            check(connection.docmd("MAIL FROM:<a@b.test> SIZE=5001")[0] == 552, "too large")
            check(connection.docmd("MAIL FROM:<a@b.test> SMTPUTF8")[0] == 555, "SMTPUTF8 is not offered")
            check(connection.docmd("XCLIENT ADDR=192.0.2.1")[0] == 500, "XCLIENT from a client")
        connections = sum(line.startswith(b"EHLO") for line in record)
        # One for what it offers, one for the session.
        check(connections == 2, f"{connections} connections to the upstream: {record}")
        check(sum(line.startswith(b"Received:") for line in record) == 4, f"{record}")
        check(record.count(b"RSET") == 2, f"{record}")
    with Scripted(smtp_play(record, answer=b"552-5.2.2 full\r\n552 5.2.2 very")) as upstream, Gate(world, f"smtp://127.0.0.1:{upstream.port}") as gate:
        with gate.smtp(service="smtp") as connection:
            try:
                connection.sendmail("a@b.test", ["c@d.test"], b"Subject: x\r\n\r\nx\r\n")
                check(False, "a refused message is taken")
            except smtplib.SMTPDataError as error:
                check(error.smtp_code == 552 and b"5.2.2 full" in error.smtp_error, str(error))
            check(connection.noop()[0] == 250, "the session goes on")


@case("gate-upstream-fails-in-content")
def gate_fails_in_content(world):
    """An upstream that is gone, in the middle or before its verdict, has not taken the message: the client is told to try again."""
    def cut(talk):
        talk.line()

    def early(talk):
        talk.line()
        talk.say(b"552 5.3.4 enough\r\n")
        time.sleep(2)

    def at_the_end(talk):
        while talk.line() != b".":
            pass

    def nonsense(talk):
        while talk.line() != b".":
            pass
        talk.say(b"hello?\r\n")
        time.sleep(2)

    def go_on(talk):
        while talk.line() != b".":
            pass
        talk.say(b"354 go on\r\n")
        time.sleep(2)

    for data in (cut, early, at_the_end, nonsense, go_on):
        record = []
        with Scripted(smtp_play(record, data)) as upstream, Gate(world, f"smtp://127.0.0.1:{upstream.port}") as gate:
            for size in (10, 3_000_000):
                with on_25(gate) as raw:
                    raw.socket.sendall(ENVELOPE + b"DATA\r\n")
                    replies = [raw.answer() for _ in range(3)]
                    check(replies[2].startswith(b"354"), f"{data.__name__}: {replies}")
                    verdict = raw.ask(b"Subject: x\r\n\r\n" + (b"x" * 70 + b"\r\n") * (size // 70 + 1) + b".\r\n")
                    want = b"552 5.3.4 enough" if data is early else b"451"
                    check(verdict.startswith(want), f"{data.__name__}: {verdict}")
                    check(raw.ask(b"NOOP\r\n").startswith(b"250"), f"{data.__name__}: the session is over")


@case("gate-client-fails-in-content")
def gate_client_fails(world):
    """A message that is not complete never is one to the upstream."""
    record = []
    with Scripted(smtp_play(record)) as upstream, Gate(world, f"smtp://127.0.0.1:{upstream.port}") as gate:
        for end in ("close", "reset"):
            with on_25(gate) as raw:
                raw.socket.sendall(ENVELOPE + b"DATA\r\n")
                [raw.answer() for _ in range(3)]
                raw.socket.sendall(b"Subject: half\r\n\r\n" + b"half a message\r\n" * 10_000)
                if end == "reset":
                    raw.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        check(gate.logged("broken") or gate.logged("peer_closed"), "no session has ended")
        time.sleep(0.5)
        check(not any(b"half a message" in line for line in record), "half a message was taken")


@case("gate-mailbox-relay", "dovecot")
def gate_mailbox_relay(world):
    """Pipelining through the login, literals, large messages both ways, farewells."""
    with Dovecot(world) as dovecot, Gate(world, f"imap://127.0.0.1:{dovecot.ports['imap']}", f"pop3://127.0.0.1:{dovecot.ports['pop3']}") as gate:
        message = kinds()[5].content
        with Raw(gate, "imaps") as raw:
            raw.socket.sendall(
                f'a LOGIN "{ADDRESS}" "{PASSWORD}"\r\nb NOOP\r\nc APPEND INBOX {{{len(message)}+}}\r\n'.encode() + message + b"\r\nd SELECT INBOX\r\ne FETCH 1 BODY.PEEK[]\r\n")
            seen, fetched = [], b""
            while not seen or not seen[-1].startswith(b"e "):
                line = raw.words.readline()
                check(line, f"cut off behind {seen[-3:]}")
                seen.append(line)
                if line.rstrip().endswith(b"}") and b"FETCH" in line:
                    fetched = raw.words.read(int(line.rsplit(b"{", 1)[1].split(b"}")[0]))
            tags = [line.split(b" ")[0] for line in seen if line[:2] in (b"a ", b"b ", b"c ", b"d ", b"e ")]
            check(tags == [b"a", b"b", b"c", b"d", b"e"], f"{tags}")
            check(all(line.split(b" ")[1] == b"OK" for line in seen if line[1:2] == b" " and line[:1] in b"abcde"), f"{seen}")
            check(fetched == message, "the message came back changed")
            # A synchronising literal, and one that is refused.
            check(raw.ask(b"f APPEND INBOX {5}\r\n").startswith(b"+"), "no leave for a literal")
            check(raw.ask(b"abc\r\n\r\n")[:1] in (b"*", b"f"), "no answer to APPEND")
            raw.socket.sendall(b"g STARTTLS\r\n")
            line = raw.words.readline()
            while not line.startswith(b"g "):
                line = raw.words.readline()
            check(line.startswith(b"g BAD"), f"{line}")
        with Raw(gate, "pop3s") as raw:
            raw.socket.sendall(f"USER {ADDRESS}\r\nPASS {PASSWORD}\r\nSTAT\r\nRETR 1\r\nCAPA\r\nXCLIENT ADDR=192.0.2.1\r\nNOOP\r\nQUIT\r\n".encode())
            everything = raw.words.read()
            check(everything.count(b"+OK") >= 7 and b"-ERR" in everything, f"{everything[:200]} … {everything[-300:]}")
            check(b"STLS" not in everything[-300:] and b"SASL" not in everything[-300:], "CAPA lists what is not for here")
        with Raw(gate, "imaps") as raw:
            check(raw.ask(f"a LOGIN {ADDRESS} {PASSWORD}\r\n".encode()).startswith(b"a OK"), "login")
            raw.ask(b"b IDLE\r\n")
            code, seconds = gate.terminate()
            check(code == 0 and seconds < 10, f"{code} after {seconds} s")
            check(b"* BYE" in raw.words.read(), "no farewell")
        gate.start()


@case("gate-upstream-gone", "dovecot")
def gate_gone(world):
    """An upstream that ends: its clients' sessions end, and the next login finds it again when it is back."""
    ended = threading.Event()
    with Scripted(imap_play(after=lambda talk: ended.wait(30))) as upstream, Gate(world, f"imap://127.0.0.1:{upstream.port}") as gate:
        connection = gate.imap()
        ended.set()
        try:
            connection.noop()
            check(False, "a session goes on without its upstream")
        except (imaplib.IMAP4.abort, OSError):
            pass
        check(gate.logged("upstream_closed"), gate.last_words())
    with Dovecot(world) as dovecot:
        # The first is not there: the second is used, and nobody notices.
        dead = free_port()
        with Gate(world, f"imap://127.0.0.1:{dead}", f"imap://127.0.0.1:{dovecot.ports['imap']}") as gate:
            for _ in range(4):
                gate.imap().logout()
            check(gate.logged("upstream_unreachable"), gate.last_words())


@case("gate-tokens")
def gate_tokens(world):
    """[SASL-OAUTH-01] [SASL-OAUTH-02] access tokens are passed on in the form the upstream takes."""
    heard = []

    def play(talk):
        talk.say(b"* OK ready\r\n")
        while True:
            tag, _, rest = talk.line().partition(b" ")
            heard.append(rest)
            if rest.startswith(b"CAPABILITY"):
                talk.say(b"* CAPABILITY IMAP4rev1 SASL-IR AUTH=XOAUTH2\r\n" + tag + b" OK done\r\n")
            else:
                talk.say(tag + b" OK [CAPABILITY IMAP4rev1] done\r\n")

    with Scripted(play) as upstream, Gate(world, f"imap://127.0.0.1:{upstream.port}") as gate:
        for name, message in (("OAUTHBEARER", b"n,a=anna@example.test,\1host=h\1port=143\1auth=Bearer ya29.token\1\1"), ("XOAUTH2", b"user=anna@example.test\1auth=Bearer ya29.token\1\1")):
            connection = gate.imap(login=False)
            check(f"AUTH={name}" in connection.capabilities, f"{connection.capabilities}")
            connection.authenticate(name, lambda _, message=message: message)
            connection.logout()
        want = b"AUTHENTICATE XOAUTH2 " + base64.b64encode(b"user=anna@example.test\1auth=Bearer ya29.token\1\1")
        check(heard.count(want) == 2, f"{heard}")


@case("gate-socket")
def gate_socket(world):
    """An upstream behind a Unix socket."""
    server, path = socket.socket(socket.AF_UNIX), world.new_folder("socket") / "imap.sock"
    server.bind(str(path))
    server.listen()

    def serve():
        upstream = Scripted(imap_play())
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=upstream.serve, args=(connection,), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    with Gate(world, f"imap://{path}") as gate:
        connection = gate.imap()
        check(connection.noop()[0] == "OK", "NOOP")
        connection.logout()
    server.close()


@case("gate-explain", "postfix", "dovecot")
def gate_explain(world):
    """`config explain caps` says what is passed on, what is held back, and why."""
    with Dovecot(world) as dovecot, Postfix(world, dovecot) as postfix:
        command = [world.binary, "config", "explain", "caps"]
        for url in urls(postfix, dovecot, "submission"):
            command += ["--upstream", url]
        done = subprocess.run(command, capture_output=True, timeout=60, check=False)
        text = done.stdout.decode()
        for words in ("imap 127.0.0.1", "held back  STARTTLS", "passed     8BITMIME", "passed     IDLE", "held back  AUTH=PLAIN"):
            check(words in text, f"{words!r} is not in {text}{done.stderr.decode()}")
        check(done.returncode == 0, f"{done.returncode}")
        done = subprocess.run([world.binary, "config", "explain", "caps", "--upstream", f"imap://127.0.0.1:{free_port()}"], capture_output=True, timeout=60, check=False)
        check(done.returncode == 3 and b"not known" in done.stdout, f"{done.returncode} {done.stdout}")


def memory(gate):
    """The program's own memory, in KiB."""
    status = open(f"/proc/{gate.process.pid}/status").read()
    return int(status.split("RssAnon:")[1].split()[0])


@case("gate-cut-off")
def gate_cut_off(world):
    """[TLS-CLOSE-01] an upstream cut off without its closing alert is passed on as cut off; one that closes in order as that."""
    pki = Pki(world.new_folder("pki"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pki.cert, pki.key)
    for orderly in (True, False):
        def end(talk, orderly=orderly):
            talk.line()
            talk.say(b"* 1 FETCH (BODY[] {100}\r\nhalf of it")
            if orderly:
                talk.connection.unwrap()
            else:
                socket.socket(fileno=talk.connection.detach()).close()

        with Scripted(imap_play(after=end), tls=context) as upstream, Gate(world, f"imaps://localhost:{upstream.port}?ca={pki.ca}") as gate:
            raw = gate.tls().wrap_socket(
                socket.create_connection((HOST, gate.port("imaps")), timeout=30), server_hostname=HOST, suppress_ragged_eofs=False)
            raw.recv(4096)
            raw.sendall(f"a LOGIN {ADDRESS} {PASSWORD}\r\nb FETCH 1 BODY[]\r\n".encode())
            heard, cut = b"", False
            try:
                while words := raw.recv(4096):
                    heard += words
            except (ssl.SSLEOFError, ConnectionResetError):
                cut = True
            check(heard.endswith(b"half of it") or cut, f"{heard}")
            check(cut != orderly, f"orderly: {orderly}, cut off at the client: {cut}")
            check(gate.logged("upstream_closed" if orderly else "upstream_broken"), gate.last_words())


@case("gate-slow-client")
def gate_slow_client(world):
    """A client that does not read holds the upstream back, not memory; the other direction goes on."""
    total = 200_000_000
    heard = threading.Event()

    def flood(talk):
        talk.line()

        def listen():
            while b"DONE" not in talk.line():
                pass
            heard.set()

        threading.Thread(target=listen, daemon=True).start()
        talk.say(b"* 1 FETCH (BODY[] {%d}\r\n" % total)
        for _ in range(total // 100_000):
            talk.say(b"x" * 100_000)
        talk.say(b")\r\nb OK done\r\n")
        heard.wait(30)

    with Scripted(imap_play(after=flood)) as upstream, Gate(world, f"imap://127.0.0.1:{upstream.port}") as gate:
        with Raw(gate, "imaps") as raw:
            check(raw.ask(f"a LOGIN {ADDRESS} {PASSWORD}\r\n".encode()).startswith(b"a OK"), "login")
            before = memory(gate)
            raw.socket.sendall(b"b FETCH 1 BODY[]\r\n")
            raw.words.readline()
            # The pipes are full now, and the client reads nothing.
            time.sleep(1)
            raw.socket.sendall(b"DONE\r\n")
            check(heard.wait(20), "the client is not heard while it does not read")
            after = memory(gate)
            check(after - before < 3000, f"{after - before} KiB more while a client does not read")
            left = total
            while left > 0:
                left -= len(raw.words.read(min(left, 1 << 20)))
            check(raw.words.readline() == b")\r\n" and raw.words.readline() == b"b OK done\r\n", "the end is missing")
            check(memory(gate) - before < 3000, f"{memory(gate) - before} KiB more after 200 MB")


@case("gate-many-that-break")
def gate_many_that_break(world):
    """Hundreds of sessions that end in every way: descriptors come back, and the gate goes on."""
    ways = [lambda talk: None, lambda talk: talk.say(b"\0" * 5000), lambda talk: talk.line(), lambda talk: talk.say(b"* 1 FETCH (X {5}\r\nab")]
    number = iter(range(1_000_000))

    def any_way(talk):
        ways[next(number) % len(ways)](talk)

    def descriptors(gate):
        return len(list(Path(f"/proc/{gate.process.pid}/fd").iterdir()))

    with Scripted(imap_play(after=any_way)) as upstream, Gate(world, f"imap://127.0.0.1:{upstream.port}") as gate:
        def session(count):
            for turn in range(25):
                try:
                    with Raw(gate, "imaps") as raw:
                        raw.socket.sendall(f"a LOGIN {ADDRESS} {PASSWORD}\r\n".encode())
                        if turn % 3 == 0:
                            continue
                        raw.words.readline()
                        raw.socket.sendall(b"b NOOP\r\n" if turn % 3 == 1 else b"b NOOP\nc NOOP\r\n")
                        raw.words.readline()
                except OSError:
                    pass

        session(0)
        before = descriptors(gate)
        in_threads(8, session)
        deadline = time.monotonic() + 20
        while descriptors(gate) > before + 4 and time.monotonic() < deadline:
            time.sleep(0.1)
        check(descriptors(gate) <= before + 4, f"{descriptors(gate)} descriptors instead of {before}")
        check(gate.imap().login is not None, "no login any more")


@case("gate-egress", "postfix", "dovecot")
def gate_egress(world):
    """Devices hand in mail in clear; it leaves verified and logged in, and nothing else does."""
    with Dovecot(world) as dovecot, Postfix(world, dovecot) as postfix:
        for ca, good in ((postfix.pki.ca, True), (Pki(world.new_folder("other")).ca, False)):
            port = free_port()
            config = world.new_folder("egress") / "gatepost.toml"
            config.write_text(f"""
[egress]
listen = ["127.0.0.1:{port}"]
networks = ["127.0.0.60"]
upstream = "submission+starttls://localhost:{postfix.ports['submission']}?ca={ca}"
user = "{ADDRESS}"
password_file = "{postfix.secret}"
senders = ["printer@device.test", "@scanner.test"]
""")
            with Gate(world, flags=("--config", config)) as gate:
                check(gate.port("egress") == port and "imap" in gate.ports, f"{gate.ports}")

                def device(sender, source="127.0.0.60", port=port):
                    with smtplib.SMTP("127.0.0.1", port, timeout=30, source_address=(source, 0)) as connection:
                        check(not connection.has_extn("auth"), "a device is asked to log in")
                        connection.sendmail(sender, [ADDRESS], message.content)

                message = plain("printer@device.test", ADDRESS)
                if not good:
                    try:
                        device("printer@device.test")
                        check(False, "mail leaves through a server that is not the one meant")
                    except smtplib.SMTPSenderRefused as error:
                        check(error.smtp_code == 451, str(error))
                    check(gate.logged("upstream_unverified"), gate.last_words())
                    continue
                device("printer@device.test")
                device("anything@scanner.test")
                logged(postfix, f"sasl_username={ADDRESS}")
                check(gate.logged("egress_open"), gate.last_words())
                for sender in ("boss@device.test", ""):
                    try:
                        device(sender)
                        check(False, f"a device may send as {sender!r}")
                    except smtplib.SMTPSenderRefused as error:
                        check(error.smtp_code == 550, str(error))
                try:
                    device("printer@device.test", source="127.0.0.61")
                    check(False, "a stranger may send")
                except (smtplib.SMTPServerDisconnected, ConnectionError):
                    pass
        refused(world, ["--config", config_without(world, "networks")], "egress.networks")
        refused(world, ["--config", config_without(world, "senders")], "egress.senders")


def config_without(world, name):
    """A configuration of the way out that lacks something."""
    lines = {
        "listen": 'listen = ["127.0.0.1:1"]', "networks": 'networks = ["127.0.0.1"]', "upstream": 'upstream = "submissions://mail.example.test"',
        "senders": 'senders = ["a@b.test"]',
    }
    path = world.new_folder("config") / "gatepost.toml"
    path.write_text("[egress]\n" + "\n".join(line for key, line in lines.items() if key != name) + "\n")
    return path
