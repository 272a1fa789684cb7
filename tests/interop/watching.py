"""What `watch` tells of real sessions is what happened: live, from the capture of another program, and beside what tshark sees in that."""

import base64
import collections
import imaplib
import json
import poplib
import signal
import smtplib
import socket
import ssl
import subprocess
import time
from pathlib import Path

from ours import gatepost
from servers import ADDRESS, PASSWORD, Dovecot, Postfix
from world import Skip, case, check, free_port

# What the sessions below are, by protocol and outcome.
EXPECTED = {
    ("imap", "Clear"): 2, ("imap", "upgraded"): 1, ("imap", "Encrypted"): 1,
    ("pop3", "Clear"): 1, ("pop3", "upgraded"): 1, ("pop3", "Encrypted"): 1,
    ("smtp", "Clear"): 1, ("smtp", "upgraded"): 1,
}
# Logins in clear: LOGIN and AUTHENTICATE of IMAP, PASS, AUTH; and a mail in clear although TLS was offered.
FOUND = {"W101": 1, "W102": 2, "W103": 1, "W201": 1}


def trusting(*servers):
    """A client's settings that trust the servers."""
    context = ssl.create_default_context()
    for server in servers:
        context.load_verify_locations(server.pki.ca)
    return context


def talk(world, dovecot, postfix):
    """One session of each kind."""
    tls, imap, pop3 = trusting(dovecot, postfix), dovecot.ports["imap"], dovecot.ports["pop3"]
    with imaplib.IMAP4("localhost", imap) as session:
        session.login(ADDRESS, PASSWORD)
    with imaplib.IMAP4("localhost", imap) as session:
        session.authenticate("PLAIN", lambda _: f"\0{ADDRESS}\0{PASSWORD}".encode())
    with imaplib.IMAP4("localhost", imap) as session:
        session.starttls(tls)
        session.login(ADDRESS, PASSWORD)
    # On ports like these, TLS from the beginning is known as mail by the client's ALPN alone, which few clients send.
    for name in ("imaps", "pop3s"):
        gatepost(world, "fetch", f"{name}://localhost:{dovecot.ports[name]}", "--to", world.new_folder("fetched"), *dovecot.login())
    for upgrades in (False, True):
        session = poplib.POP3("localhost", pop3)
        if upgrades:
            session.stls(tls)
        leave_pop3(session)
    for upgrades in (False, True):
        with smtplib.SMTP("localhost", postfix.ports["clear"]) as session:
            if upgrades:
                session.starttls(context=tls)
            send(session)


def quieten(postfix):
    """Waits for the end of the sessions by which it was seen that Postfix listens."""
    deadline = time.monotonic() + 20
    while postfix.log.read_text().count(": disconnect from ") < len(postfix.ports):
        check(time.monotonic() < deadline, "Postfix does not end its sessions")
        time.sleep(0.05)


def leave_pop3(session):
    session.user(ADDRESS)
    session.pass_(PASSWORD)
    session.quit()


def send(session):
    session.login(ADDRESS, PASSWORD)
    session.sendmail(ADDRESS, [ADDRESS], "Subject: watched\r\n\r\nA letter.\r\n")


class Listening:
    """A program that listens until it is stopped."""

    def __init__(self, ready, *command):
        self.process = subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.said = b""
        while ready not in self.said:
            line = self.process.stderr.readline()
            self.said += line
            if not line:
                raise Skip(f"{command[0]} cannot listen: {self.said.decode(errors='replace')[-200:]}")

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        output, _ = self.process.communicate(timeout=60)
        return output.decode()


def told(text):
    """Sessions by protocol and outcome, findings by id."""
    objects = [json.loads(line) for line in text.splitlines()]
    sessions = collections.Counter((it["protocol"], it["outcome"]) for it in objects if it["kind"] == "session")
    findings = collections.Counter(it["id"] for it in objects if it["kind"] == "finding")
    return sessions, findings


def check_told(text, where):
    """What was told is what happened, and no password is in it."""
    sessions, findings = told(text)
    check(sessions == EXPECTED, f"{where}: sessions {dict(sessions)}")
    for name, count in FOUND.items():
        check(findings[name] == count, f"{where}: {findings[name]} times {name} instead of {count}: {dict(findings)}")
    check(PASSWORD not in text and ADDRESS not in text, f"{where}: a secret is told")


def fields(capture, ports, query, *names):
    """Lines of tshark: the streams whose packets match, with these fields. It is told which ports are of which protocol."""
    decoded = [word for port, protocol in ports.items() for word in ("-d", f"tcp.port=={port},{protocol}")]
    chosen = [word for name in ("tcp.stream", *names) for word in ("-e", name)]
    done = subprocess.run(["tshark", "-n", "-r", capture, *decoded, "-Y", query, "-T", "fields", *chosen], capture_output=True, timeout=120)
    check(done.returncode == 0, f"tshark: {done.stderr[-300:].decode(errors='replace')}")
    return [line.split("\t") for line in done.stdout.decode().splitlines()]


@case("watch-live-and-tshark", "postfix", "dovecot", "tshark", "dumpcap")
def watch_live(world):
    clear = {"clear": "-o smtpd_tls_security_level=may -o smtpd_tls_auth_only=no"}
    with Dovecot(world, lambda ports: "disable_plaintext_auth = no\nssl = yes\n") as dovecot, Postfix(world, dovecot, clear) as postfix:
        imap, pop3 = ([dovecot.ports[name] for name in names] for names in (("imap", "imaps"), ("pop3", "pop3s")))
        smtp = postfix.ports["clear"]
        ports = [*imap, *pop3, smtp]
        quieten(postfix)
        capture = world.new_folder("capture") / "all.pcapng"
        only = " or ".join(f"tcp port {port}" for port in ports)
        recorder = Listening(b"File: ", "dumpcap", "-q", "-i", "lo", "-f", only, "-w", capture)
        flags = [word for port in ports for word in ("--port", port)]
        live = Listening(b"watching lo", world.binary, "watch", "-i", "lo", "--json", *flags)
        talk(world, dovecot, postfix)
        # What was sent last has been seen when the recorder has it: it is asked for packets every second.
        time.sleep(1.5)
        recorder.stop()
        check_told(live.stop(), "live")
        done = gatepost(world, "watch", "--json", capture, expect=1)
        check_told(done.stdout.decode(), "file")

        # Recall beside tshark: what it finds, we found.
        named = {imap[0]: "imap", pop3[0]: "pop", smtp: "smtp", imap[1]: "tls", pop3[1]: "tls"}
        hellos = {line[0] for line in fields(capture, named, "tls.handshake.type == 2")}
        check(len(hellos) == 5, f"tshark sees TLS in {len(hellos)} sessions, we in 5")
        logins = 'imap.request.command == "LOGIN" or imap.request.command == "AUTHENTICATE" or pop.request.command == "PASS" or smtp.req.command == "AUTH"'
        seen = {line[0] for line in fields(capture, named, f"({logins}) and not tls")}
        check(len(seen) == 4, f"tshark sees logins in clear in {len(seen)} sessions, we in 4")


def told_by(text):
    """Sessions and the summary, as they are told."""
    objects = [json.loads(line) for line in text.splitlines()]
    return [it for it in objects if it["kind"] == "session"], objects[-1]


@case("watch-live-by-many", "postfix", "dovecot")
def watch_by_many(world):
    """Several workers see together what one sees: every session once, every packet once."""
    clear = {"clear": "-o smtpd_tls_security_level=may -o smtpd_tls_auth_only=no"}
    with Dovecot(world, lambda ports: "disable_plaintext_auth = no\nssl = yes\n") as dovecot, Postfix(world, dovecot, clear) as postfix:
        port = postfix.ports["clear"]
        quieten(postfix)
        watching = [Listening(b"watching lo", world.binary, "watch", "-i", "lo", "--json", "--port", port, "--workers", count) for count in (1, 4)]
        clients = [f"127.0.0.{number}" for number in range(2, 26)]
        tls = trusting(postfix)
        for client in clients:
            with smtplib.SMTP("127.0.0.1", port, source_address=(client, 0)) as session:
                if int(client[8:]) % 3 == 0:
                    # The name of the certificate is not that of the address.
                    session._host = "localhost"
                    session.starttls(context=tls)
                send(session)
        time.sleep(1)
        one, many = (told_by(it.stop()) for it in watching)
        for sessions, summary in (one, many):
            seen = collections.Counter(it["client"].rsplit(":", 1)[0] for it in sessions)
            check(seen == collections.Counter(clients), f"sessions of {dict(seen)}")
            check(summary["sessions"] == {"smtp": {"Clear": 16, "upgraded": 8}}, f"{summary['sessions']}")
            check(summary["findings"]["W101"] == 16 and summary["findings"]["W201"] == 16, f"{summary['findings']}")
            check(len({it["session"] for it in sessions}) == len(clients), "two sessions have the same number")
            check(summary["dropped"] == 0, f"{summary['dropped']} packets dropped")
        check(one[1]["packets"] == many[1]["packets"], f"one worker saw {one[1]['packets']} packets, four saw {many[1]['packets']}")
        workers = {it["session"] % 4 for it in many[0]}
        check(len(workers) > 1, "one worker did everything")


class Sieve:
    """A client of ManageSieve, by hand."""

    def __init__(self, port):
        self.socket = socket.create_connection(("localhost", port), timeout=20)
        self.file = self.socket.makefile("rwb")
        self.answer()

    def answer(self):
        lines = [self.file.readline()]
        while not lines[-1].startswith((b"OK", b"NO", b"BYE")):
            check(lines[-1], f"Dovecot has gone after {lines}")
            lines.append(self.file.readline())
        return lines[-1]

    def say(self, line, expected):
        self.file.write(line.encode() + b"\r\n")
        self.file.flush()
        answer = self.answer()
        check(answer.startswith(expected), f"{line.split()[0]}: {answer}")

    def login(self, password, expected):
        text = base64.b64encode(f"\0{ADDRESS}\0{password}".encode()).decode()
        self.say(f'AUTHENTICATE "PLAIN" "{text}"', expected)

    def upgrade(self, context):
        self.say("STARTTLS", b"OK")
        self.socket = context.wrap_socket(self.socket, server_hostname="localhost")
        self.file = self.socket.makefile("rwb")
        self.answer()


@case("watch-managesieve", "dovecot")
def watch_managesieve(world):
    if not Path("/usr/lib/dovecot/managesieve-login").exists():
        raise Skip("dovecot-managesieved is not installed")
    port = 0

    def more(ports):
        nonlocal port
        # It is not among those that are waited for.
        port = free_port()
        listener = f"inet_listener sieve {{\n address = 127.0.0.1\n port = {port}\n}}"
        return f"disable_plaintext_auth = no\nssl = yes\nprotocols = $protocols sieve\nservice managesieve-login {{\n{listener}\n}}\n"

    with Dovecot(world, more) as dovecot:
        live = Listening(b"watching lo", world.binary, "watch", "-i", "lo", "--json", "--port", port, "--workers", 2)
        script = 'keep; # said in clear\r\n'
        for session, password, expected in ((Sieve(port), PASSWORD, b"OK"), (Sieve(port), "wrong-one", b"NO")):
            session.login(password, expected)
            if expected == b"OK":
                session.say(f'PUTSCRIPT "watched" {{{len(script)}+}}\r\n{script}', b"OK")
                session.say('GETSCRIPT "watched"', b"OK")
            session.say("LOGOUT", b"OK")
        session = Sieve(port)
        session.upgrade(trusting(dovecot))
        session.login(PASSWORD, b"OK")
        session.say('GETSCRIPT "watched"', b"OK")
        session.say("LOGOUT", b"OK")
        time.sleep(1)
        text = live.stop()
        sessions, findings = told(text)
        check(sessions == {("managesieve", "Clear"): 2, ("managesieve", "upgraded"): 1}, f"sessions {dict(sessions)}")
        wanted = {"W108": 2, "W204": 1, "W312": 3}
        seen = {name: count for name, count in findings.items() if name in wanted or name[1] in "23"}
        check(seen == wanted, f"findings {dict(findings)}")
        check(PASSWORD not in text and ADDRESS not in text and "wrong-one" not in text, "a secret is told")
