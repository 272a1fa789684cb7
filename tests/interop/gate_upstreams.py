"""The gate and its upstreams: one that is not the one meant never sees a password, and the right one knows who the client is."""

import imaplib
import poplib
import smtplib
import socket
import ssl
import subprocess

from gate import Gate, Scripted, imap_copies, logged, pin_of, pop3_copies, send
from servers import ADDRESS, PASSWORD, Dovecot, Pki, Postfix
from world import HOST, case, check, free_port, plain


def tls_urls(postfix, dovecot, more, implicit=False):
    """The upstreams over TLS."""
    if implicit:
        schemes = (("submissions", postfix.ports["submissions"]), ("imaps", dovecot.ports["imaps"]), ("pop3s", dovecot.ports["pop3s"]))
    else:
        schemes = (("submission+starttls", postfix.ports["submission"]), ("imap+starttls", dovecot.ports["imap"]), ("pop3+starttls", dovecot.ports["pop3"]))
    return [f"{scheme}://localhost:{port}?{more}" for scheme, port in schemes]


@case("gate-upstream-tls", "postfix", "dovecot")
def gate_upstream_tls(world):
    """[GW-02] [GW-03] [TLS-INV-01] verified by STARTTLS and from the first octet, by an authority, a name and a pin."""
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
