"""The gate for clients that only know a password, before a Dovecot that only takes tokens, with a token server made for it."""

import contextlib
import http.server
import imaplib
import json
import os
import ssl
import subprocess
import threading
import time
import urllib.parse

from gate import Gate
from servers import ADDRESS, Dovecot, Pki
from world import case, check

ACCOUNT, SECRET = "anna@gate.test", "the-gates-own-password"


class TokenServer:
    """Gives consent after the second question, renews, and tells Dovecot whether a token is good."""

    def __init__(self, pki):
        self.asked, self.renewed, self.polls, self.number = [], 0, 0, 0
        self.good, self.refresh, self.withdrawn = set(), None, False
        self.lock = threading.Lock()
        handler = self.handler()
        self.inside = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.servers = [self.inside, http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)]
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pki.cert, pki.key)
        self.servers[1].socket = context.wrap_socket(self.servers[1].socket, server_side=True, do_handshake_on_connect=False)
        self.url = f"https://localhost:{self.servers[1].server_address[1]}"

    def __enter__(self):
        for server in self.servers:
            server.daemon_threads = True
            # A client that does not trust it leaves in the middle of the handshake.
            server.handle_error = lambda *_: None
            threading.Thread(target=server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        for server in self.servers:
            server.shutdown()
            server.server_close()

    def tokens(self):
        self.number += 1
        self.refresh = f"refresh-token-{self.number}"
        self.good = {f"access-token-{self.number}"}
        return {"access_token": f"access-token-{self.number}", "token_type": "Bearer", "expires_in": 3600, "refresh_token": self.refresh}

    def answer(self, path, form):
        """Status and answer."""
        with self.lock:
            self.asked.append((path, form))
            if path == "/device":
                return 200, {"device_code": "device-1", "user_code": "ABCD-EFGH", "verification_uri": f"{self.url}/go", "expires_in": 60, "interval": 1}
            if form.get("grant_type", "").endswith("device_code"):
                self.polls += 1
                return (400, {"error": "authorization_pending"}) if self.polls < 2 else (200, self.tokens())
            if self.withdrawn or form.get("refresh_token") != self.refresh:
                return 400, {"error": "invalid_grant"}
            self.renewed += 1
            # Long enough for others to come meanwhile.
            time.sleep(0.5)
            return 200, self.tokens()

    def handler(self):
        owner = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                self.say(*owner.answer(self.path, dict(urllib.parse.parse_qsl(body))))

            def do_GET(self):
                token = urllib.parse.parse_qs(urllib.parse.urlparse(self.path).query).get("token", [""])[0]
                good = token in owner.good
                self.say(200, {"active": good, "email": ADDRESS} if good else {"active": False})

            def say(self, status, answer):
                words = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(words)))
                self.end_headers()
                self.wfile.write(words)

            def log_message(self, *_):
                pass

        return Handler


@contextlib.contextmanager
def trusting(ca):
    """Programs begun here take this authority for the system's."""
    before = os.environ.get("SSL_CERT_FILE")
    os.environ["SSL_CERT_FILE"] = str(ca)
    try:
        yield
    finally:
        del os.environ["SSL_CERT_FILE"]
        if before is not None:
            os.environ["SSL_CERT_FILE"] = before


def tokens_only(folder, port):
    """A Dovecot that asks the token server about tokens."""
    config = folder / "oauth2.conf.ext"
    config.write_text(f"""
introspection_url = http://127.0.0.1:{port}/introspect?token=
introspection_mode = get
username_attribute = email
active_attribute = active
active_value = true
""")
    return f"""
auth_mechanisms = xoauth2 oauthbearer
passdb {{
  driver = oauth2
  mechanisms = xoauth2 oauthbearer
  args = {config}
}}
"""


def consent(world, gate, tokens, *more):
    return subprocess.run(
        [world.binary, "oauth", "login", ACCOUNT, "--device-url", f"{tokens.url}/device", "--token-url", f"{tokens.url}/token", "--scope", "mail",
         "--client-id", "app-1", "--user", ADDRESS, "--data", gate.data, *more], capture_output=True, timeout=120, check=False)


def refused(gate, password=SECRET):
    """What a login that fails is told."""
    try:
        gate.imap(login=False).login(ACCOUNT, password)
    except imaplib.IMAP4.error as error:
        return str(error)
    return check(False, "a login is good that should not be")


def log_in(gate):
    connection = gate.imap(login=False)
    connection.login(ACCOUNT, SECRET)
    check(connection.select("INBOX")[0] == "OK", "INBOX")
    connection.logout()


def kept_secret(gate, tokens, dovecot):
    """No token in clear on disk or in the log, and nobody was told the password."""
    words = [f"{kind}-token-{number}".encode() for kind in ("access", "refresh") for number in range(1, tokens.number + 1)]
    for path in [*gate.data.rglob("*"), gate.folder / "server.log"]:
        if path.is_file():
            octets = path.read_bytes()
            check(not any(word in octets for word in words), f"a token stands in {path}")
    check(SECRET not in str(tokens.asked) and SECRET not in dovecot.log.read_text(errors="replace"), "the password went on")


@case("gate-oauth", "dovecot")
def gate_oauth(world):
    """[SASL-OAUTH-01] [SASL-OAUTH-02] a password in front, tokens behind."""
    pki, folder = Pki(world.new_folder("token-server")), world.new_folder("oauth")
    password = folder / "password"
    password.write_text(SECRET + "\n")
    password.chmod(0o600)
    with TokenServer(pki) as tokens:
        plain = tokens.inside.server_address[1]
        with Dovecot(world, lambda ports: tokens_only(folder, plain)) as dovecot, trusting(pki.ca):
            ways = [f"{scheme}+starttls://localhost:{dovecot.ports[scheme]}?ca={dovecot.pki.ca}&oauth" for scheme in ("imap", "pop3")]
            # [CONF-07] a gate offers no SCRAM-SHA-1, whatever its configuration names.
            config = folder / "gatepost.toml"
            config.write_text('[login]\nmechanisms = ["SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN"]\n')
            flags = ("--account", ACCOUNT, "--password-file", password, "--config", config)
            with Gate(world, *ways, flags=flags) as gate:
                check("UNAVAILABLE" in refused(gate) and gate.logged("oauth_no_consent"), gate.last_words())
                with trusting(dovecot.pki.ca):
                    done = consent(world, gate, tokens)
                    check(done.returncode == 3 and not tokens.asked, f"an unknown token server: {done.returncode} {done.stderr} {tokens.asked}")
                done = consent(world, gate, tokens)
                check(done.returncode == 0 and b"ABCD-EFGH" in done.stdout, f"{done.returncode} {done.stdout} {done.stderr}")
                log_in(gate)
                connection = gate.imap(login=False)
                check("AUTH=SCRAM-SHA-256" in connection.capabilities and "AUTH=XOAUTH2" not in connection.capabilities, f"{connection.capabilities}")
                check("AUTH=SCRAM-SHA-1" not in connection.capabilities, f"{connection.capabilities}")
                check("AUTHENTICATIONFAILED" in refused(gate, "wrong"), "a wrong password")
                check(tokens.renewed == 0, "a good token was renewed")
                # A token that the server takes no more is renewed once, whoever comes.
                tokens.good = set()
                logins = [threading.Thread(target=log_in, args=(gate,)) for _ in range(6)]
                failed = []
                threading.excepthook = lambda it: failed.append(it.exc_value)
                for it in logins:
                    it.start()
                for it in logins:
                    it.join()
                threading.excepthook = threading.__excepthook__
                check(not failed and tokens.renewed == 1, f"{failed}, renewed {tokens.renewed} times")
                tokens.good, tokens.withdrawn = set(), True
                check("UNAVAILABLE" in refused(gate) and gate.logged("oauth_withdrawn"), gate.last_words())
                kept_secret(gate, tokens, dovecot)
                listed = subprocess.run([world.binary, "oauth", "list", "--json", "--data", gate.data], capture_output=True, timeout=30, check=True)
                check(json.loads(listed.stdout)["consents"][0]["user"] == ADDRESS, f"{listed.stdout}")
                subprocess.run([world.binary, "oauth", "remove", ACCOUNT, "--data", gate.data], capture_output=True, timeout=30, check=True)
                check("UNAVAILABLE" in refused(gate), "a consent that was removed still counts")
