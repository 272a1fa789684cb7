"""Policies and settings served by HTTPS: autoconfig, and MTA-STS beside what Postfix makes of the same certificates."""

import http.server
import ssl
import subprocess
import threading

from ours import gatepost, says
from servers import Dovecot, Pki, Postfix, Zone
from world import Skip, case, check, in_threads


class Web:
    """Files by HTTPS on the port clients expect it on."""

    def __init__(self, pki, files):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                kind, text = files.get((self.headers["Host"], self.path.split("?")[0]), (None, ""))
                self.send_response(404 if kind is None else 200)
                self.send_header("Content-Type", kind or "text/plain")
                self.send_header("Content-Length", str(len(text.encode())))
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_):
                pass

        try:
            self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 443), Handler)
        except OSError as error:
            raise Skip(f"port 443 cannot be used: {error}") from None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pki.cert, pki.key)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


AUTOCONFIG = """<?xml version="1.0"?><clientConfig version="1.1"><emailProvider id="auto.found.test"><domain>auto.found.test</domain>
<incomingServer type="imap"><hostname>mail.found.test</hostname><port>143</port><socketType>plain</socketType></incomingServer>
<incomingServer type="imap"><hostname>mail.found.test</hostname><port>{imaps}</port><socketType>SSL</socketType>
<username>%EMAILADDRESS%</username></incomingServer></emailProvider></clientConfig>"""


@case("servers-autoconfig-and-mta-sts", "dovecot", "knotd", "keymgr")
def autoconfig_and_sts(world):
    with Dovecot(world) as dovecot:
        port = dovecot.ports["imaps"]
        records = "mta-sts A 127.0.0.1\nautoconfig.auto A 127.0.0.1\n_mta-sts TXT \"v=STSv1; id=1\"\n"
        policy = "version: STSv1\r\nmode: enforce\r\nmx: mail.found.test\r\nmax_age: 86400\r\n"
        files = {
            ("mta-sts.found.test", "/.well-known/mta-sts.txt"): ("text/plain", policy),
            ("autoconfig.auto.found.test", "/mail/config-v1.1.xml"): ("application/xml", AUTOCONFIG.format(imaps=port)),
        }
        with Zone(world, records) as zone, Web(dovecot.pki, files):
            # [AUTOC-03] the provider's file by verified HTTPS; what it says of clear text is passed over.
            home = {"XDG_CONFIG_HOME": str(world.new_folder("auto")), **zone.env}
            words = ["fetch", "--account", "anna@auto.found.test", "--output", "eml", "--to", world.new_folder("auto-mail"), *zone.flags,
                     "--password-file", dovecot.secret]
            done = gatepost(world, *words, "--ca", dovecot.pki.ca, "--yes", env=home)
            says(done, f"imaps://mail.found.test:{port}", "autoconfig", "Verified(PKIX)")
            check(b":143" not in done.stderr, "a server without TLS was taken")
            says(gatepost(world, *words, "--yes", env={**home, "XDG_CONFIG_HOME": str(world.new_folder("no"))}, expect=3), "was found")
            # The policy must name the host, and the authority vouch for it.
            sts = ["connect", "--quit", "--verify", "sts", "--ca", dovecot.pki.ca, *zone.flags]
            says(gatepost(world, *sts, "--domain", "found.test", f"imaps://mail.found.test:{port}", env=zone.env), "Verified(MTA-STS)")
            says(gatepost(world, *sts, "--domain", "found.test", f"imaps://ns.found.test:{port}", env=zone.env, expect=1), "E-STS-HOST")
            says(gatepost(world, *sts, "--domain", "mail.found.test", f"imaps://mail.found.test:{port}", env=zone.env, expect=1), "E-STS-NONE")


# The certificate port 25 shows; the policy's pattern; what Postfix says with `secure` and that pattern; what we say.
#
# In one they differ: Postfix matches the certificate against the pattern, RFC 8461 4.2 against the name of the mail host.
CERTIFICATES = {
    "right": ("DNS:mail.found.test", "2", "signed"),
    "any": ("DNS:*.found.test", "2", "signed"),
    "deeper": ("DNS:*.mail.found.test", "2", "signed"),
    "other": ("DNS:other.found.test", "2", "signed"),
    "expired": ("DNS:mail.found.test", "-1", "signed"),
    "own": ("DNS:mail.found.test", "2", "by itself"),
}
VERDICTS = [
    ("right", "mail.found.test", "Verified", "Verified(MTA-STS)"),
    ("right", "*.found.test", "Verified", "Verified(MTA-STS)"),
    ("any", "mail.found.test", "Verified", "Verified(MTA-STS)"),
    ("deeper", "mail.found.test", "Untrusted", "E-CERT-NAME"),
    ("other", "mail.found.test", "Untrusted", "E-CERT-NAME"),
    ("other", "*.found.test", "Verified", "E-CERT-NAME"),
    ("expired", "mail.found.test", "Untrusted", "E-CERT-"),
    ("own", "mail.found.test", "Untrusted", "E-CERT-"),
]


def issued(pki, folder, name, days, how):
    """A certificate and its key in one file."""
    path = folder / f"{name.replace(':', '-').replace('*', 'any')}-{days}-{how.replace(' ', '-')}.pem"
    key, request, chain = path.with_suffix(".key"), path.with_suffix(".csr"), path.with_suffix(".crt")
    openssl = lambda *words: subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True)  # noqa: E731
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out", request, "-subj", "/CN=found.test")
    path.with_suffix(".ext").write_text(f"subjectAltName={name}\nextendedKeyUsage=serverAuth\n")
    signer = ["-CA", pki.ca, "-CAkey", pki.ca.with_suffix(".key"), "-CAcreateserial"] if how == "signed" else ["-signkey", key]
    openssl("x509", "-req", "-in", request, *signer, "-days", days, "-extfile", path.with_suffix(".ext"), "-out", chain)
    path.write_text(key.read_text() + chain.read_text())
    return path


def by_postfix(config, ca, port, pattern):
    """How far Postfix trusts a server whose names must match: the first word about its connection."""
    match = pattern.removeprefix("*")
    done = subprocess.run(
        ["posttls-finger", "-c", "-l", "secure", "-F", ca, "-t", "20", "-T", "20", f"[127.0.0.1]:{port}", match],
        capture_output=True, timeout=60, text=True, env={"MAIL_CONFIG": str(config), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})
    lines = [line.removeprefix("posttls-finger: ") for line in (done.stdout + done.stderr).splitlines()]
    told = [line.split(" ")[0] for line in lines if "TLS connection established" in line]
    return told[0] if told else f"nothing: {lines}"


@case("sts-beside-posttls-finger", "posttls-finger", "postfix", "dovecot", "knotd", "keymgr")
def sts_beside_postfix(world):
    # [STS-06] the certificate must name the mail host, whatever the pattern; what authority, date and name make of it is Postfix's verdict.
    folder = world.new_folder("sts")
    pki = Pki(folder)
    chains = {name: issued(pki, folder, *how) for name, how in CERTIFICATES.items()}
    services = {name: f"-o smtpd_tls_security_level=may -o smtpd_tls_chain_files={chain}" for name, chain in chains.items()}
    with Dovecot(world) as dovecot, Postfix(world, dovecot, services) as postfix:
        for pattern in sorted({row[1] for row in VERDICTS}):
            policy = f"version: STSv1\r\nmode: enforce\r\nmx: {pattern}\r\nmax_age: 86400\r\n"
            rows = [row for row in VERDICTS if row[1] == pattern]
            with Zone(world, "mta-sts A 127.0.0.1\n_mta-sts TXT \"v=STSv1; id=1\"\n") as zone, \
                    Web(pki, {("mta-sts.found.test", "/.well-known/mta-sts.txt"): ("text/plain", policy)}):

                def one(number):
                    name, _, theirs, ours = rows[number]
                    port = postfix.ports[name]
                    said = by_postfix(postfix.config, pki.ca, port, pattern)
                    check(said == theirs, f"{name} for {pattern}: Postfix says {said}")
                    good = ours.startswith("Verified")
                    done = gatepost(world, "connect", "--quit", "--verify", "sts", "--ca", pki.ca, "--tls", "starttls", *zone.flags, "--domain", "found.test",
                                    f"smtp://mail.found.test:{port}", env=zone.env, expect=0 if good else 1)
                    says(done, ours)

                in_threads(len(rows), one)
