"""The gate: `serve --upstream` in front of Postfix and Dovecot.

Mail sent through it arrives byte for byte, is read through it byte for byte, and the servers behind know who the client is. An upstream
that is not the one meant never sees a password.
"""

import imaplib
import poplib
import smtplib
import socket
import ssl
import subprocess
import threading
import time

from fetchers import all_there, by_id
from servers import ADDRESS, PASSWORD, Dovecot, Pki, Postfix, free_port, kinds
from world import HOST, Server, case, check, plain, same

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
        connection.select(readonly=True)
        _, parts = connection.fetch("1:*", "(UID BODY.PEEK[])")
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
