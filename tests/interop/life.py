"""The server's life: a second start, SIGTERM, a new certificate, kill -9 under load."""

import imaplib
import os
import signal
import smtplib
import socket
import ssl
import subprocess
import sys
import threading
import time
from pathlib import Path

from attacks import Wire
from clients import send_by_python
from world import DOMAIN, HOST, Failed, Server, case, check, free_offset, in_threads, plain, run


@case("account-command-beside-a-running-server")
def account_command(world):
    binary, data = world.binary, ["--data", world.server.data]
    secret = world.new_folder("account") / "password"
    secret.write_text("a password of words\n")
    address = f"added@{DOMAIN}"
    run([binary, "account", "add", *data, address, "--password-file", secret])
    check(address.encode() in run([binary, "account", "list", *data]).stdout, "the new account is not listed")
    login(world, address, "a password of words")
    secret.write_text("other words\n")
    run([binary, "account", "password", *data, address, "--password-file", secret])
    login(world, address, "other words")
    check(not can_login(world, address, "a password of words"), "the old password still works")
    run([binary, "account", "remove", *data, address, "--yes"])
    check(not can_login(world, address, "other words"), "a removed account can log in")


def login(world, address, password):
    connection = imaplib.IMAP4_SSL(HOST, world.port("imaps"), ssl_context=world.tls(), timeout=60)
    connection.login(address, password)
    connection.logout()


def can_login(world, address, password):
    try:
        login(world, address, password)
    except imaplib.IMAP4.error:
        return False
    return True


@case("second-start-reuses-everything")
def second_start(world):
    message = plain(world.address("life"), world.address("life"))
    send_by_python(world, message, "starttls", "life")
    before = (Path(world.ca).read_bytes(), shown(world.server, "imaps"))
    code, _ = world.server.terminate()
    check(code == 0, f"SIGTERM ends the server with {code}")
    world.server.start()
    check((Path(world.ca).read_bytes(), shown(world.server, "imaps")) == before, "CA or certificate are new")
    world.arrived("life", message)
    mode = world.server.data.stat().st_mode & 0o777
    check(mode == 0o700, f"the data folder has mode {mode:o}")


@case("ready-within-two-seconds")
def quick_start(world):
    # Without accounts given: each password costs a derivation of keys, which is slow on purpose.
    server = Server(world.binary, world.new_folder("server"), [])
    server.start()
    first = server.seconds_to_ready
    server.terminate()
    server.start()
    second = server.seconds_to_ready
    server.kill()
    print(f"         ready after {first * 1000:.0f} ms at first, {second * 1000:.0f} ms after that", flush=True)
    check(first < 2 and second < 2, f"ready after {first:.1f} s at first, {second:.1f} s after that")


def shown(server, service):
    """The certificate a port shows, in DER."""
    context = ssl._create_unverified_context()
    with socket.create_connection(("127.0.0.1", server.port(service)), timeout=10) as raw:
        with context.wrap_socket(raw, server_hostname=HOST) as tls:
            return tls.getpeercert(binary_form=True)


@case("no-stall-after-starttls")
def no_stall(world):
    """A client whose socket holds small writes back (Nagle) must not wait for a delayed acknowledgement, 40 ms, at each step."""
    context = ssl.create_default_context(cafile=world.ca)
    took = []
    # A stall is in every session; a busy machine is not: one quick session is proof.
    while not took or (min(took) >= 0.035 and len(took) < 200):
        begun = time.monotonic()
        with smtplib.SMTP(HOST, world.port("smtp"), local_hostname="x", timeout=10) as session:
            session.starttls(context=context)
            session.ehlo()
        took.append(time.monotonic() - begun)
    check(min(took) < 0.035, f"the quickest of {len(took)} sessions took {min(took) * 1000:.0f} ms")


@case("the-service-manager-hands-over-a-socket")
def service_manager(world):
    """Socket activation (sd_listen_fds) and readiness (sd_notify), by hand."""
    folder, offset = world.new_folder("activation"), free_offset()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager, socket.socket() as handed_over:
        manager.bind(str(folder / "notify"))
        manager.settimeout(20)
        # As service managers do: connections of an earlier listener may still be ending.
        handed_over.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        handed_over.bind(("127.0.0.1", 25 + offset))
        handed_over.listen()
        fd = handed_over.fileno()
        # The protocol wants descriptor 3 and the process id of the program itself.
        # A shell would do, but some know descriptors of one digit only.
        script = f"import os, sys; os.dup2({fd}, 3); os.environ.update(LISTEN_FDS='1', LISTEN_PID=str(os.getpid())); os.execv(sys.argv[1], sys.argv[1:])"
        environment = {**os.environ, "NOTIFY_SOCKET": str(folder / "notify")}

        def start(port_offset):
            command = [sys.executable, "-c", script, world.binary, "serve", "--data", folder / "data", "--port-offset", str(port_offset)]
            return subprocess.Popen(
                command, pass_fds=[fd], env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
            )

        server = start(offset)
        try:
            try:
                ready = manager.recv(1000)
            except TimeoutError:
                server.kill()
                raise Failed(f"nothing from the server: {server.communicate()[1][-800:]!r}") from None
            check(ready.startswith(b"READY=1"), "no READY=1")
            with smtplib.SMTP("127.0.0.1", 25 + offset, timeout=10) as session:
                check(session.ehlo()[0] == 250, "the socket handed over is not served")
            server.terminate()
            check(manager.recv(1000).startswith(b"STOPPING=1"), "no STOPPING=1")
        finally:
            server.terminate()
            server.communicate(timeout=15)
        # One that no service has would let clients wait for ever.
        other = start(offset + 1)
        words = other.communicate(timeout=15)[1]
        check(other.returncode == 2 and b"port_offset" in words, f"a socket nobody serves is accepted: {words!r}")


@case("sigterm-says-farewell")
def sigterm(world):
    # [SMTP-BASE-12]
    with Wire(world, "smtp") as idle, Wire(world, "submission") as upgraded, Wire(world, "pop3") as pop3, Wire(world, "smtp") as busy:
        upgraded.say(b"STARTTLS")
        upgraded.upgrade()
        upgraded.say(b"EHLO client.test")
        busy.say(b"MAIL FROM:<a@sender.test>")
        imap = world.imap("life")
        imap.select()
        imap.send(b"x IDLE\r\n")
        imap.readline()
        code, seconds = world.server.terminate()
        check(seconds <= 10, f"the server took {seconds:.1f} s to stop")
        check(code == 0, f"the server ended with {code}")
        for name, wire in (("smtp", idle), ("submission", upgraded), ("in a transaction", busy)):
            said, ended = wire.rest(1)
            check(said.startswith(b"421 ") and ended, f"{name}: {said!r}")
        said, ended = pop3.rest(1)
        check(ended and (not said or said.startswith(b"-ERR")), f"pop3: {said!r}")
        rest = b""
        while line := imap.readline():
            rest += line
        check(b"* BYE" in rest, f"imap: {rest!r}")
    world.server.start()


@case("sigterm-finishes-what-is-being-stored")
def sigterm_under_load(world):
    acknowledged, stop = [], threading.Event()
    threads = [threading.Thread(target=deliver_until, args=(world, acknowledged, stop)) for _ in range(4)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 60
    while len(acknowledged) < 20 and time.monotonic() < deadline:
        time.sleep(0.01)
    code, _ = world.server.terminate()
    stop.set()
    for thread in threads:
        thread.join()
    world.server.start()
    check(code == 0, f"the server ended with {code}")
    each_once(world, acknowledged)


@case("new-certificate-without-dropping-sessions", "openssl")
def new_certificate(world):
    # [CERT-02] certificates of the operator's own, replaced while sessions are open; a faulty one changes nothing
    folder = world.new_folder("certificate")
    chain, key = folder / "chain.pem", folder / "key.pem"
    make_certificate(chain, key)
    flags = ["--tls-chain", chain, "--tls-key", key]
    server = Server(world.binary, world.new_folder("server"), ["life"], flags)
    server.start()
    try:
        old = shown(server, "imaps")
        with Wire(server, "smtp") as session, Wire(server, "submission") as other:
            chain.write_text("no certificate at all\n")
            server.process.send_signal(signal.SIGHUP)
            check(server.logged("certificate_not_loaded", 30), "the log does not name the faulty file")
            check(shown(server, "imaps") == old, "a faulty file took the certificate away")
            make_certificate(chain, key)
            server.process.send_signal(signal.SIGHUP)
            deadline = time.monotonic() + 10
            while shown(server, "imaps") == old:
                check(time.monotonic() < deadline, "10 s after SIGHUP the old certificate is still shown")
                time.sleep(0.1)
            check(session.say(b"NOOP").startswith(b"250"), "an open session was dropped")
            check(other.say(b"STARTTLS").startswith(b"220"), "an open session was dropped")
            context = ssl._create_unverified_context()
            inside = context.wrap_socket(other.socket, server_hostname=HOST).getpeercert(binary_form=True)
            check(inside == shown(server, "imaps"), "STARTTLS in an open session shows the old certificate")
    finally:
        server.kill()


CERTIFICATE = """
[req]
distinguished_name = name
x509_extensions = fields
[name]
[fields]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectAltName = DNS:localhost, DNS:mail.gatepost.test, IP:127.0.0.1
"""


def make_certificate(chain, key):
    """A self-signed certificate; files are replaced as ACME clients do, each at once."""
    config = chain.with_name("openssl.cnf")
    config.write_text(CERTIFICATE)
    new_chain, new_key = chain.with_name("new-chain"), key.with_name("new-key")
    run([
        "openssl", "req", "-x509", "-config", config, "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
        "-days", "30", "-subj", "/CN=localhost", "-keyout", new_key, "-out", new_chain,
    ])
    new_key.chmod(0o600)
    new_key.rename(key)
    new_chain.rename(chain)


def deliver_until(world, acknowledged, stop):
    """Delivers mail over port 25 until told to stop, or the server is gone; notes what was acknowledged."""
    address = world.address("life")
    while not stop.is_set():
        try:
            with smtplib.SMTP("127.0.0.1", world.port("smtp"), local_hostname="load.test", timeout=5) as connection:
                for _ in range(20):
                    message = plain("load@sender.test", address)
                    refused = connection.sendmail("load@sender.test", [address], message.content)
                    check(not refused, f"refused: {refused}")
                    acknowledged.append(message)
        except (OSError, smtplib.SMTPException):
            return


def each_once(world, acknowledged):
    """Checks that every acknowledged message is in the mailbox once."""
    check(acknowledged, "nothing was delivered before the end")
    connection = world.imap("life")
    connection.select(readonly=True)
    _, parts = connection.fetch("1:*", "(BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])")
    connection.logout()
    stored = [part[1].split(b":", 1)[1].strip().decode() for part in parts if isinstance(part, tuple)]
    lost = [message.id for message in acknowledged if stored.count(message.id) == 0]
    twice = [message.id for message in acknowledged if stored.count(message.id) > 1]
    check(not lost, f"{len(lost)} of {len(acknowledged)} acknowledged messages are lost")
    check(not twice, f"{len(twice)} of {len(acknowledged)} messages are there twice")


@case("kill-9-under-load")
def kill_under_load(world):
    # [SMTP-BASE-15] the whole program killed; the store has a test of its own with many more rounds
    acknowledged = []
    for round_number in range(5):
        stop = threading.Event()
        threads = [threading.Thread(target=deliver_until, args=(world, acknowledged, stop)) for _ in range(6)]
        for thread in threads:
            thread.start()
        time.sleep(0.3 + 0.17 * round_number)
        world.server.kill()
        for thread in threads:
            thread.join()
        world.server.start()
    each_once(world, acknowledged)
    print(f"         {len(acknowledged)} acknowledged messages, 5 kills", flush=True)


@case("many-sessions-at-once")
def many_sessions(world):
    message_count = 10

    def one(number):
        for _ in range(message_count):
            message = plain(world.address("life"), world.address("life"))
            send_by_python(world, message, "starttls" if number % 2 else "implicit", "life")
            check(len(world.find("life", message)) == 1, "a message is not there at once")

    in_threads(8, one)


@case("idle-sessions-end-cleanly")
def quit_and_close(world):
    # [SMTP-STARTTLS-24] [IMPL-05] the server ends TLS with its closing alert
    for service, command, word in (("submissions", b"QUIT\r\n", b"221"), ("imaps", b"a LOGOUT\r\n", b"* BYE"), ("pop3s", b"QUIT\r\n", b"+OK")):
        with socket.create_connection(("127.0.0.1", world.port(service)), timeout=10) as raw:
            # Python raises SSLEOFError when the connection ends without the alert.
            with world.tls().wrap_socket(raw, server_hostname=HOST, suppress_ragged_eofs=False) as tls:
                tls.recv(1000)
                tls.sendall(command)
                said = b""
                try:
                    while more := tls.recv(1000):
                        said += more
                except ssl.SSLEOFError:
                    raise Failed(f"{service} ends without close_notify") from None
                check(word in said, f"{service}: {said!r}")
