"""A floor for TLS: whom it refuses is told so in the words of its protocol, and gets no login and no mail in [REPLY-07]."""

import signal
import socket
import ssl
import subprocess
import urllib.request


from servers import listens
from world import HOST, Server, case, check, free_port, run

# Right name and password: that they are right must not help.
USER = "floor"


class Strict(Server):
    """The server with TLS 1.3 as the least, on port 25 too."""

    def __init__(self, world, floor="1.3", services='"smtp", "submission", "submissions", "imap", "imaps", "pop3", "pop3s"'):
        folder = world.new_folder("floor")
        self.metrics = f"127.0.0.1:{free_port()}"
        self.config = folder / "gatepost.toml"
        self.config.write_text(
            f'[tls]\nfloor = "{floor}"\nfloor_services = [{services}]\n[smtp]\ntls = "require"\n[metrics]\nlisten = "{self.metrics}"\n')
        super().__init__(world.binary, folder, (USER,), ("--config", self.config))

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.terminate()

    def password(self):
        return self.password_file(USER).read_text().strip()

    def counted(self):
        """The services for which the event was counted."""
        page = urllib.request.urlopen(f"http://{self.metrics}/metrics", timeout=10).read().decode()
        lines = [line for line in page.splitlines() if 'event="tls_too_weak"' in line]
        return {line.split('service="')[1].split('"')[0] for line in lines}


def said(server, service, version, words):
    """What openssl s_client hears when it says these lines."""
    starttls = {"smtp": "smtp", "submission": "smtp", "imap": "imap", "pop3": "pop3"}.get(service)
    command = ["openssl", "s_client", "-connect", f"{HOST}:{server.port(service)}", "-quiet", "-crlf", f"-{version}", "-CAfile", server.ca]
    if starttls:
        command += ["-starttls", starttls]
    done = subprocess.run(command, input=words, capture_output=True, timeout=30)
    check(b"handshake failure" not in done.stderr and b"alert" not in done.stderr, f"{service}: {done.stderr[-400:]!r}")
    return done.stdout


def login_words(server, service):
    """A login that is right, and a farewell."""
    name, password = f"{USER}@gatepost.test", server.password()
    if service.startswith("imap"):
        return f'a LOGIN {name} "{password}"\nb LOGOUT\n'.encode()
    if service.startswith("pop3"):
        return f"USER {name}\nPASS {password}\nQUIT\n".encode()
    if service == "smtp":
        return f"EHLO x\nMAIL FROM:<a@example.test>\nRCPT TO:<{name}>\nQUIT\n".encode()
    return "EHLO x\nAUTH LOGIN\nQUIT\n".encode()


@case("tls-floor", "openssl", "curl")
def tls_floor(world):
    refused = {
        "smtp": (b"554 5.7.0 TLS 1.3 is required here", 3), "submission": (b"554 5.7.0 TLS 1.3 is required here", 2),
        "submissions": (b"554 mail.gatepost.test TLS 1.3 is required here", 1),
        "imap": (b"a NO [PRIVACYREQUIRED] TLS 1.3 is required here", 1), "imaps": (b"* BYE TLS 1.3 is required here", 1),
        "pop3": (b"-ERR [SYS/PERM] TLS 1.3 is required here", 2), "pop3s": (b"-ERR [SYS/PERM] TLS 1.3 is required here", 1),
    }
    with Strict(world) as server:
        for service, (words, times) in refused.items():
            heard = said(server, service, "tls1_2", login_words(server, service))
            check(heard.count(words) == times, f"{service} in TLS 1.2: {heard!r}")
            for granted in (b"a OK", b"+OK 0 messages", b"+OK say PASS", b"250", b"235", b"334"):
                # The clear half of STARTTLS is s_client's, and not shown.
                check(granted not in heard.split(b"\n", 1)[-1], f"{service} in TLS 1.2: {heard!r}")
        check(server.counted() == set(refused), f"counted: {server.counted()}")
        check(server.logged("tls_too_weak"), "the log does not say it")
        # TLS 1.3 is as it was.
        for service, granted in (("imaps", b"a OK"), ("imap", b"a OK"), ("pop3", b"+OK 0 messages"), ("pop3s", b"+OK 0 messages"), ("smtp", b"250 2.1.5")):
            heard = said(server, service, "tls1_3", login_words(server, service))
            check(granted in heard, f"{service} in TLS 1.3: {heard!r}")
        # A program of users: it says that the login failed, and never logs in.
        curl = ["curl", "-sS", "--cacert", server.ca, "--user", f"{USER}@gatepost.test:{server.password()}", f"imaps://localhost:{server.port('imaps')}/"]
        run([*curl, "--tls-max", "1.2"], expect="failure")
        run([*curl, "--tlsv1.3"])


@case("tls-floor-below-clear")
def tls_floor_and_clear(world):
    # [CONF-01] where mail is taken in clear, the floor would be worse than nothing: it is refused.
    config = world.new_folder("floor") / "gatepost.toml"
    config.write_text('[tls]\nfloor = "1.3"\nfloor_services = ["smtp"]\n')
    done = subprocess.run([world.binary, "serve", "--config", config, "--data", config.parent / "data"], capture_output=True, timeout=30)
    check(done.returncode == 2 and b"smtp.tls" in done.stderr, f"{done.returncode} {done.stderr!r}")


@case("tls-floor-reload")
def tls_floor_reload(world):
    """New sessions follow a changed floor; those that are up go on."""
    with Strict(world, floor="1.2") as server:
        context = ssl.create_default_context(cafile=server.ca)
        context.maximum_version = ssl.TLSVersion.TLSv1_2

        def greeting():
            connection = socket.create_connection((HOST, server.port("imaps")), timeout=10)
            inside = context.wrap_socket(connection, server_hostname="localhost")
            return inside, inside.recv(4096)

        kept, words = greeting()
        check(words.startswith(b"* OK"), f"{words!r}")
        server.config.write_text(server.config.read_text().replace('floor = "1.2"', 'floor = "1.3"'))
        server.process.send_signal(signal.SIGHUP)
        check(server.logged("settings_loaded", 30), server.last_words())
        other, words = greeting()
        check(words.startswith(b"* BYE"), f"{words!r}")
        kept.sendall(b"a NOOP\r\n")
        check(kept.recv(4096).startswith(b"a OK"), "the open session was dropped")
        other.close()
        kept.close()


@case("no-renegotiation-info", "gnutls-serv", "openssl")
def no_renegotiation_info(world):
    """[TLS-RENEG-01] A real TLS 1.2 server without the extension of RFC 5746: our client goes no further than its hello."""
    folder = world.new_folder("gnutls")
    key, chain = folder / "key.pem", folder / "chain.pem"
    run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", chain])
    for option, label in (("", "E-TLS-RENEGOTIATION"), (":%SAFE_RENEGOTIATION", None)):
        port = free_port()
        priority = "NORMAL:-VERS-ALL:+VERS-TLS1.2" + (option or ":%DISABLE_SAFE_RENEGOTIATION")
        server = subprocess.Popen(["gnutls-serv", "--port", str(port), "--x509keyfile", key, "--x509certfile", chain, "--priority", priority, "--echo"],
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            listens(port, server, folder / "log")
            command = [world.binary, "connect", f"imaps://localhost:{port}", "--ca", chain, "--quit", "--timeout", "3"]
            done = subprocess.run(command, capture_output=True, timeout=30)
            words = (done.stdout + done.stderr).decode()
            check(done.returncode != 0, words)
            if label:
                check(label in words and done.returncode == 1, f"{done.returncode} {words}")
            else:
                # The handshake is taken; what is missing then is a server of IMAP.
                check("E-TLS-" not in words, words)
        finally:
            server.kill()
            server.wait()
