"""Second opinions: other examiners look at the same servers in the same run, and what they see we must see too.

Differences are explained one by one where they are allowed; there is no other way round one.

| tool | looked at | held against ours |
|---|---|---|
| sslscan | Postfix (STARTTLS), Dovecot | suites of every version, versions, groups of TLS 1.3, compression, renegotiation, Heartbleed |
| nmap | OpenSSL with all it has | suites of every version, compression, the certificate octet by octet |
| OpenSSL's client | the same | the lifetime of tickets |
| testssl.sh | the same | versions, Heartbleed, CCS, renegotiation; its other tests take minutes |
| sslyze | the same | versions, suites, groups, compression, early data, renegotiation, extended master secret, fallback, Heartbleed, CCS, ROBOT |

sslyze is in no Debian package; the tests take it from PyPI.
"""

import base64
import json
import socket
import ssl
import subprocess
import threading
from xml.etree import ElementTree

from checks import expect, smtp_inside, verdicts
from ours import gatepost
from servers import Dovecot, Postfix, listens
from world import case, check, free_port, in_threads


def openssl_names():
    """OpenSSL's names of suites to the registry's."""
    listed = subprocess.run(["openssl", "ciphers", "-stdname", "ALL:COMPLEMENTOFALL:@SECLEVEL=0"], capture_output=True, text=True, check=True).stdout
    rows = [line.split() for line in listed.splitlines()]
    return {row[2]: row[0] for row in rows if len(row) > 2}


def spoken(found):
    """Versions we found to be spoken."""
    good, bad = {"1.2": "TLS-12", "1.3": "TLS-13"}, {"1.0": "TLS-10", "1.1": "TLS-11", "ssl3": "TLS-SSL3", "ssl2": "TLS-SSL2"}
    return {it for it, i in good.items() if found[i]["status"] == "pass"} | {it for it, i in bad.items() if i in found and found[i]["status"] == "fail"}


@case("check-second-opinion", "sslscan", "postfix", "dovecot")
def of_sslscan(world):
    """What sslscan finds on the same server, we find too."""
    names = openssl_names()
    with Dovecot(world) as dovecot, Postfix(world, dovecot, {"mx": "-o smtpd_tls_security_level=may"}) as server:
        targets = [(f"smtp://localhost:{server.ports['mx']}", ["--starttls-smtp"]), (f"imaps://localhost:{dovecot.ports['imaps']}", [])]

        def one(number):
            url, flags = targets[number]
            scan = subprocess.run(["sslscan", "--xml=-", *flags, url.split("//")[1]], capture_output=True, timeout=120, check=True).stdout
            tree = ElementTree.fromstring(scan)
            found = verdicts(world, url, "--ca", server.pki.ca, "--tier", "deep")
            theirs = {names.get(it.get("cipher"), it.get("cipher")) for it in tree.iter("cipher")}
            ours = set(found["CIPH-LIST"]["evidence"].split())
            check(theirs, f"sslscan found nothing: {scan[:500]}")
            check(theirs <= ours, f"{url}: sslscan alone found {sorted(theirs - ours)}")
            versions = {it.get("version") for it in tree.iter("protocol") if it.get("enabled") == "1"} - {"2", "3"}
            check(spoken(found) == versions, f"{url}: sslscan found {sorted(versions)}, we {sorted(spoken(found))}")
            groups = {int(it.get("id"), 16) for it in tree.iter("group") if it.get("sslversion") == "TLSv1.3"}
            known = {0x17: "secp256r1", 0x18: "secp384r1", 0x19: "secp521r1", 0x1d: "x25519", 0x1e: "x448", 0x100: "ffdhe2048",
                     0x101: "ffdhe3072", 0x102: "ffdhe4096", 0x103: "ffdhe6144", 0x104: "ffdhe8192"}
            missing = {known.get(it, hex(it)) for it in groups} - set(found["KEX-GRP"]["evidence"].lower().split())
            check(not missing, f"{url}: sslscan alone found the groups {sorted(missing)}")
            # It says of RFC 5746 only what a second handshake shows, so where none is taken it says no; we read the first hello. Behind
            # STARTTLS it says yes of a server by which OpenSSL's own client (R in s_client) is refused, as we are: not compared there.
            begun = next(tree.iter("renegotiation")).get("supported") == "1"
            told = found["REN-002"]["status"]
            check(flags or begun == (told == "fail"), f"{url}: second handshakes: sslscan {begun}, we {found['REN-002']}")
            check(told == "pass" and found["REN-001"]["status"] == "pass", f"{url}: second handshakes: {found['REN-002']}, {found['REN-001']}")
            compressed = any(it.get("supported") == "1" for it in tree.iter("compression"))
            check(compressed == (found["COMP-001"]["status"] == "fail"), f"{url}: compression: {found['COMP-001']}")

        in_threads(len(targets), one)


def rsa(folder):
    """A key of RSA with its certificate, in one file."""
    file = folder / "rsa.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", file, "-out", folder / "rsa.crt", "-subj", "/CN=localhost",
                    "-days", "2", "-addext", "subjectAltName=DNS:localhost"], check=True, capture_output=True)
    file.write_text(file.read_text() + (folder / "rsa.crt").read_text())
    return file


class Speaker:
    """SMTP inside TLS from the first octet, by OpenSSL, with whatever `change` switches on."""

    def __init__(self, cert, change=lambda context: None):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(cert)
        change(self.context)
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=100)
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        try:
            connection.settimeout(20)
            with self.context.wrap_socket(connection, server_side=True) as wrapped:
                wrapped.sendall(b"220 localhost ESMTP\r\n")
                for line in wrapped.makefile("rb"):
                    answer = smtp_inside(line.strip())
                    # Who asks for a web page would wait for one.
                    if answer is None or line.startswith(b"GET "):
                        return
                    wrapped.sendall(answer)
        except OSError:
            pass
        finally:
            connection.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()


def everything(context):
    """All versions and suites OpenSSL still has."""
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.set_ciphers("ALL:COMPLEMENTOFALL:@SECLEVEL=0")


def examine(world, port, folder):
    """Verdicts, and the facts behind them."""
    facts = folder / "facts.json"
    found = verdicts(world, f"submissions://localhost:{port}", "--tier", "intrusive", "--consent", "--facts", facts)
    return found, json.loads(facts.read_text())["services"][0]


def beside(*words):
    """Another examiner, while we look too."""
    return subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


def certificate(facts):
    """The certificate as we keep it."""
    chains = [it["known"]["chain"] for it in [facts["handshake"], *facts["hellos"].values()] if "known" in it]
    return base64.b64decode(next(it for it in chains if it)[0])


@case("check-opinion-nmap", "nmap")
def of_nmap(world):
    folder = world.new_folder("nmap")
    with Speaker(rsa(folder), everything) as server:
        port = server.port
        scan = beside("nmap", "-sT", "-Pn", "-n", "-p", str(port), "--script", "+ssl-enum-ciphers,+ssl-cert", "127.0.0.1", "-oX", "-")
        found, facts = examine(world, port, folder)
        scripts = {it.get("id"): it for it in ElementTree.fromstring(scan.communicate(timeout=240)[0]).iter("script")}
        tables = {it.get("key"): it for it in scripts["ssl-enum-ciphers"].findall("table")}
        check({it.removeprefix("TLSv") for it in tables} == spoken(found), f"nmap found {sorted(tables)}, we {sorted(spoken(found))}")
        theirs = {it.text for table in tables.values() for it in table.iter("elem") if it.get("key") == "name"}
        # Its own name for what has no key exchange in its name.
        theirs = {it.replace("TLS_AKE_WITH_", "TLS_") for it in theirs}
        ours = set(found["CIPH-LIST"]["evidence"].split())
        check(theirs and theirs <= ours, f"nmap alone found {sorted(theirs - ours)}")
        compressors = {it.text for table in tables.values() for part in table.findall("table") if part.get("key") == "compressors" for it in part}
        check((compressors == {"NULL"}) == (found["COMP-001"]["status"] == "pass"), f"compression: nmap {compressors}, we {found['COMP-001']}")
        pem = next(it.text for it in scripts["ssl-cert"].iter("elem") if it.get("key") == "pem")
        lines = [it for it in pem.splitlines() if it and not it.startswith("-")]
        check(base64.b64decode("".join(lines)) == certificate(facts), "nmap saw another certificate")
        said = subprocess.run(["openssl", "s_client", "-tls1_2", "-connect", f"127.0.0.1:{port}"], input=b"x\n", capture_output=True, timeout=20)
        lifetime = facts["tickets"]["tls1.2"]["known"]["lifetime"]
        hint = f"lifetime hint: {lifetime} (seconds)"
        check(hint.encode() in said.stdout, f"we saw a ticket for {lifetime} s, OpenSSL did not")


@case("check-opinion-testssl", "testssl")
def of_testssl(world):
    folder = world.new_folder("testssl")
    with Speaker(rsa(folder), everything) as server:
        port = server.port
        out = folder / "testssl.json"
        scan = beside("testssl", "--quiet", "--color", "0", "--warnings", "batch", "-p", "-H", "-I", "-R", "--jsonfile", out, "--ip", "127.0.0.1",
                      "--nodns", "none", f"localhost:{port}")
        found, _ = examine(world, port, folder)
        scan.communicate(timeout=240)
        theirs = {it["id"]: it["finding"] for it in json.loads(out.read_text())}
        names = {"SSLv2": "ssl2", "SSLv3": "ssl3", "TLS1": "1.0", "TLS1_1": "1.1", "TLS1_2": "1.2", "TLS1_3": "1.3"}
        versions = {name for key, name in names.items() if theirs[key].startswith("offered")}
        check(versions == spoken(found), f"testssl found {sorted(versions)}, we {sorted(spoken(found))}")
        same = {"heartbleed": "VUL-HB", "CCS": "VUL-CCS", "secure_client_renego": "REN-002"}
        for key, name in same.items():
            sound = theirs[key].startswith("not vulnerable")
            check(sound == (found[name]["status"] == "pass"), f"{name}: testssl {theirs[key]!r}, we {found[name]}")
        is_bound = theirs["secure_renego"].startswith("supported")
        check(is_bound == (found["REN-001"]["status"] == "pass"), f"REN-001: testssl {theirs['secure_renego']!r}, we {found['REN-001']}")


# What sslyze is asked, by its words on the command line.
SSLYZE = ("sslv2", "sslv3", "tlsv1", "tlsv1_1", "tlsv1_2", "tlsv1_3", "compression", "early_data", "openssl_ccs", "heartbleed", "robot", "reneg", "ems",
          "fallback", "elliptic_curves")


@case("check-opinion-sslyze", "sslyze", "openssl")
def of_sslyze(world):
    names, folder = openssl_names(), world.new_folder("sslyze")
    with Speaker(rsa(folder), everything) as server:
        port = server.port
        scan = beside("sslyze", "--json_out=-", "--mozilla_config=disable", *(f"--{it}" for it in SSLYZE), f"localhost:{port}")
        found, _ = examine(world, port, folder)
        scanned = json.loads(scan.communicate(timeout=240)[0])["server_scan_results"][0]["scan_result"]
        theirs = {name: it["result"] for name, it in scanned.items() if it["status"] == "COMPLETED"}
        check(len(theirs) == len(SSLYZE), f"sslyze could tell only {sorted(theirs)}")
        versions = {"ssl2": "ssl_2_0", "ssl3": "ssl_3_0", "1.0": "tls_1_0", "1.1": "tls_1_1", "1.2": "tls_1_2", "1.3": "tls_1_3"}
        tables = {name: theirs[f"{key}_cipher_suites"] for name, key in versions.items()}
        told = {name for name, it in tables.items() if it["is_tls_version_supported"]}
        check(told == spoken(found), f"sslyze found {sorted(told)}, we {sorted(spoken(found))}")
        suites = {it["cipher_suite"]["openssl_name"] for table in tables.values() for it in table["accepted_cipher_suites"]}
        missing = {names.get(it, it) for it in suites} - set(found["CIPH-LIST"]["evidence"].split())
        check(suites and not missing, f"sslyze alone found {sorted(missing)}")
        groups = {it["name"].lower() for it in theirs["elliptic_curves"]["supported_curves"]}
        missing = groups - set(found["KEX-GRP"]["evidence"].lower().split())
        check(groups and not missing, f"sslyze alone found the groups {sorted(missing)}")
        sound = {
            "COMP-001": not theirs["tls_compression"]["supports_compression"],
            "ZRTT-001": not theirs["tls_1_3_early_data"]["supports_early_data"],
            "VUL-CCS": not theirs["openssl_ccs_injection"]["is_vulnerable_to_ccs_injection"],
            "VUL-HB": not theirs["heartbleed"]["is_vulnerable_to_heartbleed"],
            "VUL-ROBOT": theirs["robot"]["robot_result"].startswith("NOT_VULNERABLE"),
            "REN-001": theirs["session_renegotiation"]["supports_secure_renegotiation"],
            "REN-002": not theirs["session_renegotiation"]["is_vulnerable_to_client_renegotiation_dos"],
            "EMS-001": theirs["tls_extended_master_secret"]["supports_ems_extension"],
            "SCSV-001": theirs["tls_fallback_scsv"]["supports_fallback_scsv"],
        }
        for name, good in sound.items():
            check(good == (found[name]["status"] == "pass"), f"{name}: sslyze says {'good' if good else 'bad'}, we {found[name]}")


# Bits of OpenSSL 3 that Python has no names for: second handshakes for clients, and also without the binding of RFC 5746.
ALLOW_RENEGOTIATION, ALLOW_UNBOUND = 1 << 8, 1 << 18


def old(*bits):
    """TLS 1.2 with RSA key exchange and these options."""
    def change(context):
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers("ALL:@SECLEVEL=0")
        for bit in bits:
            context.options |= bit
    return change


def forgetful(context):
    """TLS 1.3 alone, without tickets."""
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.num_tickets = 0


@case("check-provoked", "openssl", "gnutls-serv")
def provoked(world):
    """Second handshakes, tickets, heartbeats and RSA key exchange, where they are open and where they are not."""
    folder = world.new_folder("provoked")
    cert = rsa(folder)
    sound = {"VUL_HB": "pass", "VUL_CCS": "pass"}
    rows = [
        ("renegotiates", old(ALLOW_RENEGOTIATION), {**sound, "REN_001": "pass", "REN_002": "fail", "REN_003": "pass", "VUL_ROBOT": "pass", "VUL_PADORACLE": "pass",
                                                    "TKT_001": "pass", "ZRTT_001": "not applicable"}),
        ("renegotiates with anybody", old(ALLOW_RENEGOTIATION, ALLOW_UNBOUND), {**sound, "REN_002": "fail", "REN_003": "fail"}),
        ("refuses", old(), {**sound, "REN_002": "pass", "REN_003": "pass", "VUL_ROBOT": "pass", "VUL_PADORACLE": "pass"}),
        ("TLS 1.3 alone", forgetful, {"REN_002": "not applicable", "VUL_CCS": "not applicable", "VUL_PADORACLE": "not applicable",
                                        "ZRTT_001": "pass", "TKT_001": "pass"}),
    ]

    def one(number):
        if number == len(rows):
            return heartbeats(world, folder, cert)
        name, change, want = rows[number]
        with Speaker(cert, change) as server:
            found = verdicts(world, f"submissions://localhost:{server.port}", "--tier", "intrusive", "--consent")
            try:
                expect(found, **want)
            except AssertionError as error:
                raise AssertionError(f"{name}: {error}") from error

    in_threads(len(rows) + 1, one)


def heartbeats(world, folder, cert):
    """GnuTLS takes heartbeats, and second handshakes too. It never greets, so the rest is not told."""
    port, log = free_port(), folder / "gnutls.log"
    with open(log, "wb") as output:
        server = subprocess.Popen(["gnutls-serv", "--echo", "--heartbeat", "--x509certfile", cert, "--x509keyfile", cert, "--port", str(port)],
                                  stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        listens(port, server, log)
        found = verdicts(world, f"submissions://localhost:{port}", "--timeout", "6", "--tier", "intrusive", "--consent")
        expect(found, VUL_HB="pass", VUL_CCS="pass", REN_002="fail", REN_003="pass")
        check("heartbeats are taken" in found["VUL-HB"]["evidence"], f"heartbeats are on: {found['VUL-HB']}")
    finally:
        server.kill()
        server.wait()


@case("check-intrusive", "postfix", "dovecot")
def intrusive(world):
    """With consent only; strangers' mail and names, at our own services, at Postfix as it should be, and at one that trusts whoever is near."""
    done = gatepost(world, "check", "--tier", "intrusive", f"smtp://localhost:{world.port('smtp')}", expect=2)
    check(b"--consent" in done.stderr, "consent is not asked for")
    done = gatepost(world, "check", "--tier", "intrusive", "--consent", "--list", "-", expect=2)
    check(b"--list" in done.stderr, "a list may be provoked")
    trusting = "permit_mynetworks,reject"
    more = {"open": f"-o smtpd_tls_security_level=may -o mynetworks=127.0.0.0/8 -o smtpd_relay_restrictions={trusting} "
                    f"-o smtpd_recipient_restrictions={trusting}",
            "shy": "-o smtpd_tls_security_level=may -o disable_vrfy_command=yes"}
    with Dovecot(world) as dovecot, Postfix(world, dovecot, more) as server:
        flags = ["--tier", "intrusive", "--consent", "--ca"]

        def one(number):
            if number < 2:
                scheme, service = [("smtp", "smtp"), ("submissions", "submissions")][number]
                found = verdicts(world, f"{scheme}://localhost:{world.port(service)}", *flags, world.ca)
                expect(found, RELAY_001="pass", VRFY_001="pass", VUL_HB="pass", VUL_CCS="pass", VUL_PADORACLE="not applicable", REN_002="pass",
                       REN_003="pass", ZRTT_001="pass", SFX_001="pass" if scheme == "smtp" else None)
                bad = [it for it in found.values() if it["status"] in ("fail", "inconclusive")]
                check(not bad, f"our own {service}: {bad}")
                return
            name = ["open", "shy"][number - 2]
            found = verdicts(world, f"smtp://localhost:{server.ports[name]}", *flags, server.pki.ca)
            expect(found, VUL_HB="pass", VUL_CCS="pass", VUL_ROBOT="not applicable", VUL_PADORACLE="pass", REN_002="pass", REN_003="pass",
                   TKT_001="pass", ZRTT_001="pass")
            # From its own address it cannot be told what strangers may; that it takes the recipient is what the evidence says.
            expect(found, RELAY_001="inconclusive" if name == "open" else "pass", VRFY_001="pass")

        in_threads(4, one)
        check(", size=" not in server.log.read_text(), "a mail went into the queue")


@case("check-smuggling", "postfix", "dovecot")
def smuggling(world):
    """[SMTP-SMUG-05] False ends of a mail: at a Postfix that takes line feeds alone, at one that does not, and at our own service. No mail is stored."""
    mine = "-o smtpd_tls_security_level=may -o smtpd_relay_restrictions=permit_auth_destination,reject " \
           "-o smtpd_recipient_restrictions=permit_auth_destination,reject"
    more = {"lax": f"{mine} -o smtpd_forbid_bare_newline=no", "tight": f"{mine} -o smtpd_forbid_bare_newline=normalize",
            "stern": f"{mine} -o smtpd_forbid_bare_newline=reject"}
    flags = ["--tier", "intrusive", "--consent"]
    with Dovecot(world) as dovecot, Postfix(world, dovecot, more) as server:
        def one(number):
            name = ["lax", "tight", "stern", "ours"][number]
            port, ca, mailbox = (world.port("smtp"), world.ca, world.address("ends")) if name == "ours" else (server.ports[name], server.pki.ca, "anna@example.test")
            found = verdicts(world, f"smtp://localhost:{port}", *flags, "--ca", ca, "--smuggling", mailbox)
            told = found["SMUG-001"]["evidence"]
            expect(found, SMUG_001="fail" if name == "lax" else "pass")
            check(told.startswith("taken as the end of a mail: <LF>.<LF> (554 5.4.0") == (name == "lax"), f"{name}: {told}")
            check("mailbox" not in told, f"{name} takes mail that loops: {told}")

        in_threads(4, one)
        log = server.log.read_text()
        check("hopcount exceeded" in log and "status=sent" not in log, f"a test mail was stored, or never seen: {log[-800:]}")
    connection = world.imap("ends")
    count = int(connection.select("INBOX")[1][0])
    connection.logout()
    check(count == 0, f"{count} test mails in our mailbox")
    found = verdicts(world, f"smtp://localhost:{world.port('smtp')}", *flags, "--ca", world.ca)
    expect(found, SMUG_001="not applicable")
