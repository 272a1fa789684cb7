"""Programs that send: Python's smtplib, curl, swaks, msmtp, neomutt, and openssl s_client by hand.

Each sends over STARTTLS (587) and over implicit TLS (465) with the server's certificate verified, and each is shown to refuse
the server when it does not know the CA: a test of encryption that would pass without verification proves nothing.
"""

import base64
import fcntl
import os
import pty
import random
import select
import smtplib
import ssl
import struct
import subprocess
import termios
import threading
import time
import urllib.parse

from world import HOST, Failed, below_trace, case, check, messages, plain, run, secret_file

SUBMISSION = {"starttls": "submission", "implicit": "submissions"}


# Python's smtplib


def smtp_connection(world, mode, trusted=True):
    """A connection by smtplib, TLS done."""
    port, context = world.port(SUBMISSION[mode]), world.tls(trusted)
    if mode == "implicit":
        return smtplib.SMTP_SSL(HOST, port, context=context, timeout=30)
    connection = smtplib.SMTP(HOST, port, timeout=30)
    connection.starttls(context=context)
    return connection


def send_by_python(world, message, mode, user="python", recipient=None):
    """Sends a message by smtplib."""
    options = ["BODY=8BITMIME"] + (["SMTPUTF8"] if message.smtputf8 else [])
    address = world.address(user)
    with smtp_connection(world, mode) as connection:
        connection.login(address, world.password(user))
        connection.sendmail(address, [recipient or address], message.content, mail_options=options)


def python_sends(world, mode):
    for message in messages(world.address("python"), world.address("python"), raw_utf8=True):
        send_by_python(world, message, mode)
        world.arrived("python", message)


@case("smtplib-starttls")
def smtplib_starttls(world):
    python_sends(world, "starttls")


@case("smtplib-implicit")
def smtplib_implicit(world):
    python_sends(world, "implicit")


@case("smtplib-untrusted")
def smtplib_untrusted(world):
    for mode in SUBMISSION:
        try:
            smtp_connection(world, mode, trusted=False)
        except ssl.SSLCertVerificationError:
            continue
        raise Failed("smtplib accepted a certificate of an unknown CA")


@case("smtplib-server-to-server")
def smtplib_port_25(world):
    # [CONF-01] port 25 takes mail with TLS and without
    address = world.address("python")
    for encrypted in (False, True):
        message = plain("someone@sender.test", address)
        with smtplib.SMTP(HOST, world.port("smtp"), timeout=30) as connection:
            if encrypted:
                connection.starttls(context=world.tls())
            connection.sendmail("someone@sender.test", [address], message.content)
        world.arrived("python", message)
        check_received(world, "python", message, b"ESMTPS" if encrypted else b"ESMTP")


@case("received-field")
def received_field(world):
    # [RECV-01] [RECV-02] what the field says of the session, byte for byte as other programs read it
    for mode in SUBMISSION:
        message = plain(world.address("python"), world.address("python"))
        send_by_python(world, message, mode)
        field = check_received(world, "python", message, b"ESMTPSA")
        check(b"tls TLS_" in field, f"no TLS suite in {field!r}")


def check_received(world, user, message, protocol):
    """The topmost Received field; it must name the protocol."""
    copy = world.find(user, message)[0]
    added = copy.replace(b"\r\n", b"\n")
    added = added[: len(added) - len(below_trace(copy))].replace(b"\n\t", b" ").replace(b"\n ", b" ")
    fields = [line for line in added.split(b"\n") if line.lower().startswith(b"received:")]
    check(len(fields) == 1, f"{len(fields)} Received fields were added")
    words = b" ".join(fields[0].split())
    check(b" with " + protocol + b" " in words, f"not `with {protocol.decode()}`: {words!r}")
    return words


# curl


def curl(world, url, *options, user="curl", trusted=True, expect=0):
    """Runs curl with the login in a file, not among the arguments."""
    folder = world.new_folder("curl")
    config = secret_file(folder / "curlrc", f'user = "{world.address(user)}:{world.password(user)}"\n')
    trust = ["--cacert", world.ca] if trusted else []
    command = ["curl", "--silent", "--show-error", "--ssl-reqd", "--max-time", "60", "--config", config, *trust, *options, url]
    return run(command, expect=expect)


def curl_sends(world, scheme, mode, trusted=True, expect=0):
    address = world.address("curl")
    folder = world.new_folder("curl")
    kinds = messages(address, address) if trusted else [plain(address, address)]
    for message in kinds:
        url = f"{scheme}://{HOST}:{world.port(SUBMISSION[mode])}/client.test"
        envelope = ["--mail-from", address, "--mail-rcpt", address, "--upload-file", str(message.save(folder))]
        curl(world, url, *envelope, trusted=trusted, expect=expect)
        if trusted:
            world.arrived("curl", message)
        else:
            check(not world.find("curl", message, seconds=0), "a mail arrived over an unverified connection")


@case("curl-smtp-starttls", "curl")
def curl_smtp_starttls(world):
    curl_sends(world, "smtp", "starttls")


@case("curl-smtp-implicit", "curl")
def curl_smtp_implicit(world):
    curl_sends(world, "smtps", "implicit")


@case("curl-smtp-untrusted", "curl")
def curl_smtp_untrusted(world):
    # 60: the peer's certificate cannot be verified.
    curl_sends(world, "smtp", "starttls", trusted=False, expect=60)
    curl_sends(world, "smtps", "implicit", trusted=False, expect=60)


# swaks


def swaks(world, message, mode, mechanism="PLAIN", trusted=True, expect=0):
    folder = world.new_folder("swaks")
    address = world.address("swaks")
    login = f"auth {mechanism}\nauth-user {address}\nauth-password {world.password('swaks')}\n"
    config = secret_file(folder / "swaksrc", login)
    how = {"starttls": "--tls", "implicit": "--tls-on-connect"}[mode]
    trust = ["--tls-ca-path", world.ca] if trusted else []
    # swaks ends the last line itself.
    data = message.save(folder, b"\n")
    data.write_bytes(data.read_bytes().removesuffix(b"\n"))
    command = [
        "swaks", "--config", config, "--server", HOST, "--port", str(world.port(SUBMISSION[mode])), how, "--tls-verify", *trust,
        "--helo", "client.test", "--from", address, "--to", address, "--data", f"@{data}",
        "--suppress-data", "--timeout", "30",
    ]
    return run(command, expect=expect)


def swaks_sends(world, mode):
    address = world.address("swaks")
    for message in messages(address, address):
        # swaks reads the file in the locale's encoding, takes a last line that is a dot for the end, and adds a line to none.
        if message.name not in ("8-bit", "dots", "empty-body"):
            swaks(world, message, mode)
            world.arrived("swaks", message)
    login = plain(address, address)
    swaks(world, login, mode, mechanism="LOGIN")
    world.arrived("swaks", login)


@case("swaks-starttls", "swaks")
def swaks_starttls(world):
    swaks_sends(world, "starttls")


@case("swaks-implicit", "swaks")
def swaks_implicit(world):
    swaks_sends(world, "implicit")


@case("swaks-untrusted", "swaks")
def swaks_untrusted(world):
    address = world.address("swaks")
    for mode in SUBMISSION:
        message = plain(address, address)
        swaks(world, message, mode, trusted=False, expect="distrust")
        check(not world.find("swaks", message, seconds=0), "a mail arrived over an unverified connection")


# msmtp


def msmtp(world, message, mode, mechanism="plain", trusted=True, expect=0):
    folder = world.new_folder("msmtp")
    trust = world.ca if trusted else "system"
    config = secret_file(
        folder / "msmtprc",
        f"account test\nhost {HOST}\nport {world.port(SUBMISSION[mode])}\ntls on\n"
        f"tls_starttls {'on' if mode == 'starttls' else 'off'}\ntls_trust_file {trust}\n"
        f"auth {mechanism}\nuser {world.address('msmtp')}\nfrom {world.address('msmtp')}\ndomain client.test\n"
        f'passwordeval "cat {world.server.password_file("msmtp")}"\n',
    )
    content = message.content.replace(b"\r\n", b"\n")
    return run(["msmtp", "-C", config, "-a", "test", "--", world.address("msmtp")], stdin=content, expect=expect)


def msmtp_sends(world, mode):
    address = world.address("msmtp")
    for message in messages(address, address):
        msmtp(world, message, mode)
        world.arrived("msmtp", message)


@case("msmtp-starttls", "msmtp")
def msmtp_starttls(world):
    msmtp_sends(world, "starttls")


@case("msmtp-implicit", "msmtp")
def msmtp_implicit(world):
    msmtp_sends(world, "implicit")


@case("msmtp-mechanisms", "msmtp")
def msmtp_mechanisms(world):
    # [SASL-LOGIN-01] [SASL-SCRAM-01] [SMTP-AUTH-02] against an implementation that is not ours
    known = run(["msmtp", "--version"]).stdout.decode().lower()
    for mechanism in ("login", "scram-sha-256", "scram-sha-256-plus"):
        if mechanism in known or mechanism == "login":
            message = plain(world.address("msmtp"), world.address("msmtp"))
            msmtp(world, message, "starttls", mechanism)
            world.arrived("msmtp", message)


@case("msmtp-untrusted", "msmtp")
def msmtp_untrusted(world):
    for mode in SUBMISSION:
        message = plain(world.address("msmtp"), world.address("msmtp"))
        msmtp(world, message, mode, trusted=False, expect="distrust")
        check(not world.find("msmtp", message, seconds=0), "a mail arrived over an unverified connection")


# neomutt: sending without a terminal, copying with one, because it writes to IMAP mailboxes only there


def neomutt_config(world, folder, mode, trusted=True):
    address, quoted = world.address("neomutt"), urllib.parse.quote(world.address("neomutt"))
    smtp, imap = ("smtp", "imap") if mode == "starttls" else ("smtps", "imaps")
    imap_port = world.port("imap" if mode == "starttls" else "imaps")
    read = f"`cat {world.server.password_file('neomutt')}`"
    return secret_file(
        folder / "neomuttrc",
        f'set from="{address}" realname="Neo Mutt" use_from=yes hostname=client.test charset=utf-8 send_charset=utf-8\n'
        f'set smtp_url="{smtp}://{quoted}@{HOST}:{world.port(SUBMISSION[mode])}/" smtp_pass="{read}"\n'
        f'set folder="{imap}://{quoted}@{HOST}:{imap_port}/" spoolfile=+INBOX imap_pass="{read}"\n'
        "set copy=no confirmcreate=no confirmappend=no quit=yes\n"
        # Left to itself it takes SCRAM-SHA-256-PLUS, gives its library no channel binding, and stops when that fails.
        'set smtp_authenticators="plain" imap_authenticators="plain"\n'
        f'set ssl_starttls=yes ssl_force_tls=yes certificate_file="{folder}/certificates"\n'
        + (f'set ssl_ca_certificates_file="{world.ca}"\n' if trusted else ""),
    )


def neomutt(world, mode, subject, body, trusted=True, expect=0):
    folder = world.new_folder("neomutt")
    config = neomutt_config(world, folder, mode, trusted)
    command = ["neomutt", "-n", "-F", config, "-s", subject, "--", world.address("neomutt")]
    return run(command, stdin=body, expect=expect, env={"HOME": str(folder), "TERM": "dumb", "LC_ALL": "C.UTF-8"})


def neomutt_copies(world, mode, subject):
    """Opens the INBOX on a terminal and copies the message to a new mailbox."""
    folder = world.new_folder("neomutt")
    config = neomutt_config(world, folder, mode)
    keys = f"<search>~s '{subject}'<enter><copy-message>=Copied<enter><quit>"
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    process = subprocess.Popen(
        ["neomutt", "-n", "-F", config, "-e", f'push "{keys}"'],
        stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
        env={**os.environ, "HOME": str(folder), "TERM": "xterm", "LC_ALL": "C.UTF-8"},
    )
    os.close(theirs)
    deadline = time.monotonic() + 30
    screen = b""
    try:
        while process.poll() is None:
            check(time.monotonic() < deadline, f"neomutt does not end: {screen[-500:]!r}")
            if select.select([ours], [], [], 0.1)[0]:
                screen += os.read(ours, 65536)
    except OSError:
        pass  # the terminal is closed when neomutt ends
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def neomutt_sends(world, mode):
    subject = f"by neomutt {mode} {random.getrandbits(64):016x}"
    neomutt(world, mode, subject, "Grüße\n.\n..dots\n".encode())
    neomutt_copies(world, mode, subject)
    for mailbox in ("INBOX", "Copied"):
        copy = only_copy(world, "neomutt", subject, mailbox)
        body = copy.replace(b"\r\n", b"\n").split(b"\n\n", 1)[1]
        check("Grüße\n.\n..dots\n".encode() == body, f"{mailbox}: the body came back as {body!r}")


def only_copy(world, user, subject, mailbox):
    """The one message with this subject."""
    connection = world.imap(user)
    try:
        state, data = connection.select(mailbox, readonly=True)
        check(state == "OK", f"cannot select {mailbox}: {data}")
        _, found = connection.uid("SEARCH", "SUBJECT", f'"{subject}"')
        uids = found[0].split()
        check(len(uids) == 1, f"{mailbox}: {len(uids)} copies instead of one")
        _, parts = connection.uid("FETCH", uids[0].decode(), "(BODY.PEEK[])")
        return next(part[1] for part in parts if isinstance(part, tuple))
    finally:
        connection.logout()


@case("neomutt-starttls", "neomutt")
def neomutt_starttls(world):
    neomutt_sends(world, "starttls")


@case("neomutt-implicit", "neomutt")
def neomutt_implicit(world):
    neomutt_sends(world, "implicit")


@case("neomutt-untrusted", "neomutt")
def neomutt_untrusted(world):
    for mode in SUBMISSION:
        # Without a terminal neomutt does not say why; with the CA the same command works.
        neomutt(world, mode, "must not be sent", b"no\n", trusted=False, expect="failure")


# openssl s_client, by hand


class ByHand:
    """A dialogue through `openssl s_client`."""

    def __init__(self, world, service, starttls=None, trusted=True, options=()):
        command = ["openssl", "s_client", "-connect", f"{HOST}:{world.port(service)}", "-quiet", "-crlf", "-verify_return_error"]
        command += ["-verify_hostname", HOST, *options]
        command += ["-starttls", starttls, "-name", "client.test"] if starttls == "smtp" else ["-starttls", starttls] if starttls else []
        command += ["-CAfile", world.ca] if trusted else []
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL)
        self.guard = threading.Timer(60, self.process.kill)
        self.guard.start()

    def line(self):
        """The next line; empty at the end."""
        return self.process.stdout.readline()

    def until(self, *starts):
        """Reads to the first line that begins with one of these; returns all lines."""
        lines = []
        while True:
            line = self.line()
            check(line, f"the connection ended before {starts}: {lines[-3:]}")
            lines.append(line)
            if line.startswith(starts):
                return lines

    def say(self, text, *starts):
        """Sends a line (or several) and reads to the answer's last line."""
        self.process.stdin.write(text.encode() + b"\n")
        self.process.stdin.flush()
        return self.until(*(start.encode() for start in starts))

    def close(self):
        """Ends the dialogue; returns the exit code."""
        self.process.stdin.close()
        rest = self.process.stdout.read()
        code = self.process.wait()
        self.guard.cancel()
        return code, rest


def plain_token(world, user):
    """The initial response of SASL PLAIN."""
    return base64.b64encode(f"\0{world.address(user)}\0{world.password(user)}".encode()).decode()


def openssl_smtp(world, service, starttls):
    address = world.address("openssl")
    message = plain(address, address)
    talk = ByHand(world, service, starttls)
    # s_client has read the greeting and the first EHLO's answer of STARTTLS, but for the last line of that answer.
    if starttls is None:
        talk.until(b"220 ")
    keywords = b"".join(talk.say("EHLO client.test", "250 "))
    if starttls is not None and b"AUTH" not in keywords:
        keywords += b"".join(talk.until(b"250 "))
    check(b"AUTH" in keywords and b"STARTTLS" not in keywords, f"inside TLS EHLO says {keywords!r}")
    talk.say(f"AUTH PLAIN {plain_token(world, 'openssl')}", "235 ")
    talk.say(f"MAIL FROM:<{address}>", "250 ")
    talk.say(f"RCPT TO:<{address}>", "250 ")
    talk.say("DATA", "354 ")
    stuffed = message.content.decode().replace("\r\n", "\n").replace("\n.", "\n..")
    talk.say(stuffed + ".", "250 ")
    talk.say("QUIT", "221 ")
    talk.close()
    world.arrived("openssl", message)


@case("openssl-smtp", "openssl")
def openssl_smtp_all(world):
    openssl_smtp(world, "submission", "smtp")
    openssl_smtp(world, "submissions", None)


def openssl_imap(world, service, starttls):
    talk = ByHand(world, service, starttls)
    if starttls is None:
        talk.until(b"* OK")
    lines = b"".join(talk.say("a CAPABILITY", "a OK"))
    check(b"AUTH=PLAIN" in lines and b"STARTTLS" not in lines and b"LOGINDISABLED" not in lines, f"inside TLS: {lines!r}")
    talk.say(f"b LOGIN {world.address('openssl')} {world.password('openssl')}", "b OK")
    talk.say("c SELECT INBOX", "c OK")
    talk.say("d LOGOUT", "d OK")
    talk.close()


@case("openssl-imap", "openssl")
def openssl_imap_all(world):
    openssl_imap(world, "imap", "imap")
    openssl_imap(world, "imaps", None)


def openssl_pop3(world, service, starttls):
    talk = ByHand(world, service, starttls)
    if starttls is None:
        talk.until(b"+OK")
    lines = b"".join(talk.say("CAPA", "."))
    check(b"USER" in lines and b"STLS" not in lines, f"inside TLS: {lines!r}")
    talk.say(f"USER {world.address('openssl')}", "+OK")
    talk.say(f"PASS {world.password('openssl')}", "+OK")
    talk.say("STAT", "+OK")
    talk.say("QUIT", "+OK")
    talk.close()


@case("openssl-pop3", "openssl")
def openssl_pop3_all(world):
    openssl_pop3(world, "pop3", "pop3")
    openssl_pop3(world, "pop3s", None)


@case("openssl-untrusted", "openssl")
def openssl_untrusted(world):
    for service, starttls in (("submission", "smtp"), ("submissions", None), ("imap", "imap"), ("imaps", None), ("pop3", "pop3"), ("pop3s", None)):
        code, _ = ByHand(world, service, starttls, trusted=False).close()
        check(code != 0, f"openssl accepted an unknown CA on {service}")
