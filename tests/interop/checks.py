"""gatepost check against servers in known states: the program's own, Postfix, Dovecot, Exim, Courier (whose POP3 really carries out what
is slipped in behind STLS), OpenSSL and GnuTLS with what nobody should speak any more, and scripted ones for what no package does.

Each case holds the verdicts against the truth: what must fail, what must pass, what cannot be told.
"""

import json
import socket
import ssl
import subprocess
import threading
import time

from ours import gatepost
from servers import Courier, Dovecot, Exim, Pki, Postfix, listens
from world import case, check, free_port, in_threads

GRAVE = {"low": 1, "medium": 2, "high": 3, "critical": 4, "info": 0}


def document(world, url, *flags, seconds=60):
    """The report of one run."""
    done = gatepost(world, "check", url, "--json", *flags, expect=None, seconds=seconds)
    check(done.stdout, f"check printed nothing: {done.stderr[-500:]}")
    report = json.loads(done.stdout)
    check(report["schema"] == "gatepost-check-1" and report["exit"] == done.returncode, f"exit {done.returncode}, said {report['exit']}")
    return report


def verdicts(world, url, *flags):
    """The checks of the only target, by id."""
    report = document(world, url, *flags)
    target = report["targets"][0]
    tier = report["tier"]
    check(target["connections"] <= {"light": 1, "default": 12, "deep": 130, "intrusive": 170}[tier], f"{target['connections']} connections in tier {tier}")
    ids = [it["id"] for it in target["checks"]]
    check(len(ids) == len(set(ids)), f"an id stands twice: {sorted(ids)}")
    return {it["id"]: it for it in target["checks"]}


def expect(found, **want):
    """Holds verdicts against the truth; `STLS_001="fail"`."""
    for name, status in want.items():
        it = found.get(name.replace("_", "-"))
        told = it and it["status"]
        check(told == status, f"{name}: {told} instead of {status}: {it and it['evidence']}")


def faults(found, least="low"):
    """Ids of what counts against the service from this severity on."""
    bad = [it for it in found.values() if it["status"] in ("fail", "warn", "inconclusive") and GRAVE[it["severity"]] >= GRAVE[least]]
    return sorted(it["id"] for it in bad)


@case("check-ours")
def ours_is_all_pass(world):
    """The seven services of `serve`, in every profile it claims."""
    schemes = {"smtp": "smtp", "submission": "submission", "submissions": "submissions", "imap": "imap", "imaps": "imaps", "pop3": "pop3",
               "pop3s": "pop3s"}
    services = list(schemes.items())

    def one(number):
        service, scheme = services[number]
        profile = ["strict", "ncsc-2025", "bsi-tr-02102", "mozilla-6-intermediate", "rfc9325"][number % 5]
        tier = "deep" if service in ("smtp", "imap", "pop3") else "default"
        found = verdicts(world, f"{scheme}://localhost:{world.port(service)}", "--ca", world.ca, "--profile", profile, "--tier", tier)
        check(not faults(found), f"{service} by {profile}: {[(i, found[i]['evidence']) for i in faults(found)]}")
        check(len(found) > 30, f"only {len(found)} checks of {service}")

    in_threads(len(services), one)


@case("check-name-and-trust")
def name_and_trust(world):
    """[NAT-US-01] A certificate that no trusted authority vouches for, and one for another name."""
    url = f"imaps://localhost:{world.port('imaps')}"
    stranger = Pki(world.new_folder("stranger")).ca
    expect(verdicts(world, url, "--ca", stranger, "--no-system-ca"), CERT_CHAIN="fail", CERT_NAME="pass", IMPL_001="pass")
    found = verdicts(world, url, "--ca", world.ca, "--tls-name", "other.example.test", "--resolve",
                     f"other.example.test:{world.port('imaps')}:127.0.0.1")
    # It has no certificate for that name, and says so instead of showing another.
    expect(found, CERT_NAME="fail", IMPL_001="fail")


@case("check-postfix", "postfix", "dovecot")
def postfix(world):
    """An exchanger that may speak TLS, one that speaks none, a submission service that takes clear text."""
    more = {
        "mx": "-o smtpd_tls_security_level=may",
        "ordered": "-o smtpd_tls_security_level=may -o tls_preempt_cipherlist=yes",
        "bare": "-o smtpd_tls_security_level=none",
        "lax": "-o smtpd_tls_security_level=may -o smtpd_tls_auth_only=no -o smtpd_tls_ask_ccert=yes",
        "slow": "-o smtpd_tls_security_level=may -o smtpd_client_connection_rate_limit=4 -o smtpd_client_event_limit_exceptions=",
    }
    with Dovecot(world) as dovecot, Postfix(world, dovecot, more) as server:
        ca = ["--ca", server.pki.ca]
        at = lambda name: f"localhost:{server.ports[name]}"  # noqa: E731
        found = verdicts(world, f"smtp://{at('mx')}", *ca, "--tier", "deep")
        expect(found, STLS_001="pass", STLS_002="pass", STLS_004="pass", STLS_007="pass", STLS_009="pass", INJ_001="pass", INJ_005="pass",
               INJ_006="pass", AUTH_001="pass", AUTH_002="pass", TLS_12="pass", TLS_13="pass", TLS_SSL2="pass", TLS_SSL3="pass",
               CIPH_NULL="pass", CIPH_RC4="pass", CIPH_kRSA="pass", CERT_CHAIN="pass", CERT_NAME="pass", ENF_002="info")
        expect(found, SNI_001="pass", CAUTH_001="pass", AUTH_004="pass", CERT_CT="info")
        # Anonymous suites are offered to senders that verify nothing, on purpose.
        expect(found, CIPH_ANON="info", KEX_PQ="fail", CIPH_ORDER="fail")
        # OpenSSL's own order has CCM with a short tag above CBC: that is one by NCSC's ranks alone.
        expect(verdicts(world, f"smtp://{at('ordered')}", *ca, "--tier", "deep"), CIPH_ORDER="info")
        expect(verdicts(world, f"smtp://{at('ordered')}", *ca, "--tier", "deep", "--profile", "ncsc-2025"), CIPH_ORDER="fail")
        expect(verdicts(world, f"smtp://{at('mx')}", *ca, "--profile", "strict"), CIPH_ANON="fail")
        found = verdicts(world, f"smtp://{at('bare')}", "--role", "mx")
        expect(found, NET_001="pass", STLS_001="fail", STLS_002="not applicable")
        check("INJ-001" not in found and found["STLS-001"]["fix"], "no fix, or an attack without STARTTLS")
        found = verdicts(world, f"smtp://{at('lax')}", "--role", "submission", *ca)
        expect(found, AUTH_001="fail", AUTH_002="fail", ENF_001="fail", STLS_001="pass", STLS_007="pass", CAUTH_001="info")
        check("goes on without" in found["CAUTH-001"]["evidence"], found["CAUTH-001"]["evidence"])
        found = verdicts(world, f"smtp://{at('submission')}", "--role", "submission", *ca)
        expect(found, AUTH_001="pass", AUTH_002="pass", ENF_001="pass", INJ_001="pass", CIPH_ANON="fail")
        expect(verdicts(world, f"submissions://{at('submissions')}", *ca), IMPL_001="pass", IMPL_002="pass", CERT_NAME="pass")
        throttled(verdicts(world, f"smtp://{at('slow')}", "--role", "mx", *ca))


def throttled(found):
    """Behind a limit of four connections a minute: what was seen stands, the rest is named as not told; nothing is `not offered`."""
    expect(found, NET_001="pass", NET_003="inconclusive", STLS_001="pass")
    unsure = [it for it in found.values() if it["status"] == "inconclusive" and it["id"] != "NET-003"]
    check(unsure and all(it["missing_connections"] > 0 for it in unsure), f"nothing is inconclusive: {sorted(found)}")
    wrong = [it["id"] for it in found.values() if it["status"] == "fail"]
    check(not wrong, f"called wrong behind a limit: {wrong}")


@case("check-dovecot", "dovecot")
def dovecot(world):
    with Dovecot(world) as server:
        # From its own address it takes everything for safe.
        ca = ["--ca", server.pki.ca, "--source", "127.0.0.2"]
        def sound(number):
            scheme = ("imap", "pop3")[number]
            found = verdicts(world, f"{scheme}://localhost:{server.ports[scheme]}", *ca)
            expect(found, STLS_001="pass", STLS_002="pass", AUTH_001="pass", AUTH_002="pass", STLS_004="pass", STLS_009="pass")
            expect(found, **{"INJ_002" if scheme == "imap" else "INJ_003": "pass"})
            found = verdicts(world, f"{scheme}s://localhost:{server.ports[scheme + 's']}", *ca)
            expect(found, IMPL_001="pass", IMPL_002="pass", CERT_CHAIN="pass", TLS_10="pass", TLS_11="pass")

        in_threads(2, sound)
    lax = "disable_plaintext_auth = no\nssl = yes\n"
    with Dovecot(world, lambda ports: lax) as server:
        def open_to_all(number):
            scheme = ("imap", "pop3")[number]
            found = verdicts(world, f"{scheme}://localhost:{server.ports[scheme]}", "--ca", server.pki.ca)
            expect(found, AUTH_001="fail", AUTH_002="fail", STLS_001="pass")

        in_threads(2, open_to_all)


@case("check-exim")
def exim(world):
    # NTLM as a real server speaks it: its challenge is read, and names nobody.
    ntlm = f"ntlm:\n  driver = spa\n  public_name = NTLM\n  server_password = {world.password('ours')}\n"
    with Exim(world, ntlm) as server:
        found = verdicts(world, f"smtp://localhost:{server.ports['submission']}", "--role", "submission", "--ca", server.pki.ca)
        expect(found, STLS_001="pass", STLS_002="pass", AUTH_001="pass", INJ_001="pass", STLS_007="pass", CERT_CHAIN="pass",
               AUTH_004="pass")
        check(found["AUTH-004"]["evidence"] == "inside TLS: no names of its own", found["AUTH-004"]["evidence"])


@case("check-courier")
def courier(world):
    """The injection in Courier's POP3 server of Debian 12 is real; its IMAP server has been mended."""
    with Courier(world, []) as server:
        found = verdicts(world, f"pop3://localhost:{server.ports['pop3']}", "--ca", server.pki.ca)
        expect(found, INJ_003="fail", STLS_002="pass")
        found = verdicts(world, f"imap://localhost:{server.ports['imap']}", "--ca", server.pki.ca)
        expect(found, INJ_002="pass", STLS_002="pass")


@case("check-old-tls", "gnutls-serv")
def old_tls(world):
    """Versions and suites that nobody should speak. Behind TLS nobody greets, so only what TLS shows is told."""
    folder = world.new_folder("old")
    pki = Pki(folder)
    rsa = folder / "rsa.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:1024", "-nodes", "-keyout", rsa, "-out", folder / "rsa.crt", "-subj", "/CN=localhost",
                    "-days", "1", "-addext", "subjectAltName=DNS:localhost"], check=True, capture_output=True)
    rsa.write_text(rsa.read_text() + (folder / "rsa.crt").read_text())
    weak = "+ARCFOUR-128:+3DES-CBC:+NULL:+ANON-ECDH:+ANON-DH:+RSA:+DHE-RSA"
    truth = {
        "tls1.0": (rsa, f"NORMAL:{weak}:-VERS-ALL:+VERS-TLS1.0", {"TLS_10": "fail", "TLS_11": "pass", "TLS_12": "fail", "TLS_13": "fail",
                                                                 "VUL_BEAST": "fail", "CERT_KEY": "fail", "IMPL_001": "fail"}),
        "tls1.2": (rsa, f"NORMAL:{weak}:-VERS-ALL:+VERS-TLS1.2", {"TLS_10": "pass", "TLS_12": "pass", "CIPH_NULL": "fail", "CIPH_ANON": "fail",
                                                                 "CIPH_RC4": "fail", "CIPH_3DES": "fail", "VUL_SWEET32": "fail",
                                                                 "CIPH_kRSA": "fail", "CIPH_DHE": "fail", "CERT_KEY": "fail"}),
        "tls1.3": (pki.both, "NORMAL:-VERS-ALL:+VERS-TLS1.3", {"TLS_13": "pass", "TLS_12": "fail", "TLS_11": "pass", "CIPH_kRSA": "pass",
                                                              "EMS_001": "not applicable", "KEX_PQ": "fail", "KEX_GRP": "info"}),
        "all": (pki.both, "NORMAL:+VERS-ALL", {"TLS_10": "fail", "TLS_11": "fail", "TLS_12": "pass", "TLS_13": "pass", "CIPH_NULL": "pass"}),
    }
    def one(number):
        name, (cert, priority, want) = list(truth.items())[number]
        port = free_port()
        log = folder / f"{name}.log"
        with open(log, "wb") as output:
            server = subprocess.Popen(["gnutls-serv", "--echo", "--x509certfile", cert, "--x509keyfile", cert, "--priority", priority, "--port", str(port)],
                                      stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        try:
            listens(port, server, log)
            found = verdicts(world, f"submissions://localhost:{port}", "--ca", pki.ca, "--timeout", "2", "--tier", "deep")
            try:
                expect(found, **want)
            except AssertionError as error:
                raise AssertionError(f"{name}: {error}") from error
        finally:
            server.kill()
            server.wait()

    in_threads(len(truth), one)


class Scripted:
    """A server that says what it is told to. `clear` answers a line in clear, `inside` one inside TLS; each gets what came (bytes) and returns
    what to say, or None to close. `behind`: said behind the answer to STARTTLS; `greets`: said after the handshake and a pause. `closes`: whether the connection with this number is closed on this hello."""

    def __init__(self, pki, greeting=b"220 mail.example.test ESMTP\r\n", clear=None, inside=None, behind=b"", greets=b"", keeps=False, pause=0, closes=None):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(pki.both)
        self.greeting, self.behind, self.greets, self.keeps, self.pause = greeting, behind, greets, keeps, pause
        self.clear, self.inside = clear or smtp_clear, inside or smtp_inside
        self.closes, self.number = closes or (lambda number, hello: False), 0
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            self.number += 1
            threading.Thread(target=self.serve, args=(connection, self.number), daemon=True).start()

    def serve(self, connection, number):
        try:
            connection.settimeout(10)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.sendall(self.greeting)
            left = self.talk(connection, b"", self.clear)
            if left is None:
                return
            if self.closes(number, connection.recv(65536, socket.MSG_PEEK)):
                return
            # What was read in clear already is kept, or not: that is the fault that is looked for.
            wrapped = self.context.wrap_socket(connection, server_side=True)
            time.sleep(self.pause)
            wrapped.sendall(self.greets)
            self.talk(wrapped, left if self.keeps else b"", self.inside)
            wrapped.close()
        except OSError:
            pass
        finally:
            connection.close()

    def talk(self, connection, buffer, answers):
        """Answers lines; at STARTTLS returns what was read beyond it."""
        while True:
            while b"\n" not in buffer and not buffer.startswith(b"\x16\x03"):
                data = connection.recv(4096)
                if not data:
                    return None
                buffer += data
            line, _, buffer = buffer.partition(b"\n")
            line = line.rstrip(b"\r")
            answer = answers(line)
            if answer is None:
                return None
            if answer is STARTTLS:
                connection.sendall(b"220 go ahead\r\n" + self.behind)
                return buffer
            connection.sendall(answer)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()


STARTTLS = object()


def smtp_clear(line):
    """An exchanger before TLS."""
    verb = line.upper()
    if verb.startswith((b"EHLO", b"HELO")):
        return b"250-mail.example.test\r\n250 STARTTLS\r\n"
    if verb == b"STARTTLS":
        return STARTTLS
    return smtp_inside(line)


def smtp_inside(line):
    """An exchanger inside TLS."""
    verb = line.upper()
    if verb.startswith((b"EHLO", b"HELO")):
        return b"250-mail.example.test\r\n250 SIZE 1000\r\n"
    if verb.startswith((b"NOOP", b"RSET", b"MAIL")):
        return b"250 2.0.0 ok\r\n"
    if verb.startswith(b"QUIT"):
        return None
    if verb.startswith(b"RCPT"):
        return b"503 5.5.1 MAIL first\r\n"
    return b"502 5.5.1 what?\r\n"


def answers(changed, otherwise):
    """`otherwise`, but for lines that begin so."""
    def answer(line):
        for begin, reply in changed.items():
            if line.upper().startswith(begin):
                return reply
        return otherwise(line)
    return answer


@case("check-scripted")
def scripted(world):
    pki = Pki(world.new_folder("scripted"))
    masked = answers({b"EHLO": b"250-mail.example.test\r\n250 XXXXXXXA\r\n", b"STARTTLS": b"500 5.5.1 XXXXXXXX\r\n"}, smtp_clear)
    hidden = answers({b"EHLO": b"250-mail.example.test\r\n250 PIPELINING\r\n"}, smtp_clear)
    refuses = answers({b"STARTTLS": b"454 4.7.0 TLS not available\r\n"}, smtp_clear)
    helo_only = answers({b"EHLO": b"500 5.5.1 what?\r\n"}, smtp_clear)
    put_off = lambda verb: answers({verb: b"421 4.7.0 not now\r\n"}, smtp_clear)
    refuses_all = answers({b"EHLO": b"554 5.7.1 not you\r\n", b"HELO": b"554 5.7.1 not you\r\n"}, smtp_clear)
    twice = answers({b"STARTTLS": b"220 2.0.0 once more\r\n"}, smtp_inside)
    remembers = answers({b"RCPT": b"250 2.1.5 ok\r\n"}, smtp_inside)
    drops = answers({b"NOOP": b""}, smtp_clear)
    # As if a hello were a command, whose name is sent back.
    echoes = answers({b"\x16\x03\x01": b"\x16\x03\x01 NO what?\r\n"}, smtp_clear)
    truth = [
        ("sound", {}, {"STLS_001": "pass", "INJ_001": "pass", "INJ_005": "pass", "STLS_009": "pass", "STLS_004": "pass", "STLS_007": "pass",
                       "STLS_008": "pass", "INJ_006": "pass", "IMPL_003": "pass"}),
        ("sends a hello back", {"clear": echoes}, {"IMPL_003": "pass"}),
        ("carries out what is slipped in", {"keeps": True}, {"INJ_001": "fail", "INJ_005": "fail", "STLS_009": "pass"}),
        ("greets after TLS and keeps nothing", {"greets": b"220 again\r\n"}, {"INJ_001": "pass", "STLS_009": "fail"}),
        ("greets late after TLS and keeps nothing", {"greets": b"220 again\r\n", "pause": 0.5}, {"INJ_001": "pass", "STLS_009": "fail", "STLS_004": "pass"}),
        ("greets after TLS and keeps all", {"greets": b"220 again\r\n", "keeps": True}, {"INJ_001": "fail", "STLS_009": "fail"}),
        ("says that it is enough after TLS", {"greets": b"421 4.7.0 enough\r\n"}, {"INJ_001": "inconclusive"}),
        ("closes on hellos from the fourth connection on", {"closes": lambda number, hello: number > 3},
         {"TLS_12": "inconclusive", "TLS_10": "inconclusive", "CIPH_RC4": "inconclusive", "TLS_SSL2": "inconclusive"}),
        # As some do in place of an alert: it is a refusal, for others are answered to the end.
        ("closes on what it does not like", {"closes": lambda number, hello: b"\x03\x04" not in hello[60:]},
         {"TLS_10": "pass", "CIPH_RC4": "pass", "TLS_SSL2": "pass", "INJ_001": "pass"}),
        ("EHLO put off", {"clear": put_off(b"EHLO")}, {"STLS_001": "inconclusive", "AUTH_001": "inconclusive", "NET_003": "inconclusive", "STLS_002": "inconclusive"}),
        ("EHLO and HELO refused", {"clear": refuses_all}, {"STLS_001": "inconclusive", "AUTH_001": "inconclusive", "NET_003": "inconclusive"}),
        ("STARTTLS put off", {"clear": put_off(b"STARTTLS")}, {"STLS_001": "inconclusive", "INJ_001": "inconclusive", "NET_003": "inconclusive"}),
        ("a login put off", {"clear": put_off(b"AUTH PLAIN")}, {"AUTH_002": "inconclusive", "STLS_001": "pass"}),
        ("words behind the answer", {"behind": b"250 sneaked in\r\n"}, {"STLS_008": "fail", "STLS_002": "fail", "INJ_001": "inconclusive", "TLS_12": "inconclusive"}),
        ("masked by a firewall", {"clear": masked}, {"STLS_001": "fail", "STRIP_001": "fail"}),
        ("hidden and taken", {"clear": hidden}, {"STLS_001": "fail", "STLS_003": "fail"}),
        ("offered and refused", {"clear": refuses}, {"STLS_001": "pass", "STLS_003": "fail", "STLS_002": "fail"}),
        ("EHLO refused", {"clear": helo_only}, {"STRIP_001": "fail"}),
        ("taken twice", {"inside": twice}, {"STLS_004": "fail"}),
        ("remembers the sender", {"inside": remembers}, {"STLS_007": "fail"}),
        ("says nothing to NOOP in clear", {"clear": drops}, {"INJ_001": "pass"}),
        ("turned away", {"greeting": b"421 4.7.0 too many connections\r\n"}, {"NET_001": "pass", "NET_003": "inconclusive",
                                                                            "STLS_001": "inconclusive", "AUTH_001": "inconclusive"}),
        ("turned away for good", {"greeting": b"554 5.7.1 not you\r\n"}, {"NET_003": "inconclusive", "STLS_001": "inconclusive"}),
        ("another protocol", {"greeting": b"SSH-2.0-OpenSSH_9.2\r\n"}, {"NET_003": "inconclusive"}),
    ]
    def one(number):
        name, how, want = truth[number]
        with Scripted(pki, **how) as server:
            found = verdicts(world, f"smtp://localhost:{server.port}", "--ca", pki.ca, "--tier", "deep", "--timeout", "4")
            try:
                expect(found, **want)
            except AssertionError as error:
                raise AssertionError(f"{name}: {error}") from error

    in_threads(len(truth), one)


@case("check-nobody-there")
def nobody_there(world):
    port = free_port()
    report = document(world, f"smtp://127.0.0.1:{port}", "--fail-on", "critical")
    check(report["exit"] == 1 and report["targets"][0]["checks"][0]["id"] == "NET-001", f"a closed port: {report}")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        found = verdicts(world, f"smtp://127.0.0.1:{silent.getsockname()[1]}", "--timeout", "1")
        expect(found, NET_001="pass", NET_003="inconclusive", STLS_001="inconclusive")
        check("smtps://" in found["NET-003"]["evidence"], f"a silent port: {found['NET-003']}")
