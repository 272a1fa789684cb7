"""Users who log in with a certificate, at the gate and at mailboxes: [SASL-EXT-01] never without one that verifies, and as nobody else."""

import base64
import imaplib
import signal
import ssl
import subprocess
import time

from gate import Gate, Scripted, imap_play
from gate import refused as refused_to_start
from servers import ADDRESS, PASSWORD, Pki
from world import DOMAIN, HOST, Server, case, check

USER = f"anna@{DOMAIN}"


def certificate(folder, authority, name, user):
    """A client's certificate for a user, by an authority; chain and key in one file."""
    path, openssl = folder / f"{name}.pem", lambda *words: subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True)
    (folder / f"{name}.ext").write_text(f"subjectAltName={user}\nextendedKeyUsage=clientAuth\nkeyUsage=digitalSignature\nbasicConstraints=CA:FALSE\n")
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", folder / f"{name}.key", "-out", folder / f"{name}.csr", "-subj", "/CN=x")
    openssl("x509", "-req", "-in", folder / f"{name}.csr", "-CA", authority.ca, "-CAkey", authority.ca.parent / "ca.key", "-CAcreateserial", "-days", "2",
            "-extfile", folder / f"{name}.ext", "-out", path)
    path.write_text(path.read_text() + (folder / f"{name}.key").read_text())
    return path


def connect(server, own=None):
    """A connection to IMAP, with a certificate of one's own or without."""
    context = ssl.create_default_context(cafile=server.ca)
    if own is not None:
        context.load_cert_chain(own)
    return imaplib.IMAP4_SSL(HOST, server.port("imaps"), ssl_context=context, timeout=30)


def log_in(server, own, identity=b""):
    connection = connect(server, own)
    check("AUTH=EXTERNAL" in connection.capabilities, f"EXTERNAL is not offered: {connection.capabilities}")
    connection.authenticate("EXTERNAL", lambda _: identity)
    return connection


def refusals(server, folder, authority, other):
    """Everything that gets nobody in."""
    plain = connect(server)
    check("AUTH=EXTERNAL" not in plain.capabilities, "EXTERNAL is offered to a client without a certificate")
    try:
        plain.authenticate("EXTERNAL", lambda _: USER.encode())
        check(False, "a login without a certificate")
    except imaplib.IMAP4.error:
        pass
    try:
        log_in(server, certificate(folder, authority, "anna", f"email:{USER}"), b"ben@example.test")
        check(False, "a login as somebody else")
    except imaplib.IMAP4.error as error:
        check("AUTHENTICATIONFAILED" in str(error), str(error))
    for name in ("DNS:client.example.test", f"email:{USER},email:ben@example.test"):
        connection = connect(server, certificate(folder, authority, "nobody", name))
        check("AUTH=EXTERNAL" not in connection.capabilities, f"a certificate for {name} is somebody's")
    try:
        connect(server, certificate(folder, other, "stranger", f"email:{USER}"))
        check(False, "a certificate of an unknown authority")
    except (ssl.SSLError, ConnectionError, imaplib.IMAP4.abort):
        pass


@case("gate-external", "openssl")
def gate_external(world):
    users, other, folder = Pki(world.new_folder("users")), Pki(world.new_folder("other")), world.new_folder("external")
    config = folder / "gatepost.toml"
    config.write_text(f'[login]\nclient_ca = "{users.ca}"\n')
    inside = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    inside.load_cert_chain(users.cert, users.key)
    inside.verify_mode = ssl.CERT_REQUIRED
    inside.load_verify_locations(users.ca)
    own = certificate(folder, users, "gate", "DNS:gate.example.test")
    offer = b"* CAPABILITY IMAP4rev1 AUTH=PLAIN AUTH=EXTERNAL SASL-IR\r\n"
    with Scripted(imap_play(capability=offer), tls=inside) as upstream:
        way = f"imaps://localhost:{upstream.port}?ca={users.ca}&client-cert={own},{own}"
        with Gate(world, way, flags=("--config", config)) as gate:
            connection = log_in(gate, certificate(folder, users, "anna", f"email:{USER}"))
            check(connection.noop()[0] == "OK", "NOOP")
            connection.logout()
            want = b"AUTHENTICATE EXTERNAL " + base64.b64encode(USER.encode())
            check(upstream.heard.count(want) == 1, f"{upstream.heard}")
            refusals(gate, folder, users, other)
            check(upstream.heard.count(b"AUTHENTICATE") == 1, f"{upstream.heard}")
    # An upstream that does not take the gate's certificate: passwords only.
    inside.verify_mode = ssl.CERT_OPTIONAL
    with Scripted(imap_play(), tls=inside) as upstream:
        with Gate(world, f"imaps://localhost:{upstream.port}?ca={users.ca}&client-cert={own},{own}", flags=("--config", config)) as gate:
            connection = connect(gate, certificate(folder, users, "anna", f"email:{USER}"))
            check("AUTH=EXTERNAL" not in connection.capabilities and "AUTH=PLAIN" in connection.capabilities, f"{connection.capabilities}")


def pieces(octets):
    """Type, length, value, as PROXY protocol 2.2 has them."""
    found = {}
    while octets:
        length = int.from_bytes(octets[1:3], "big")
        found[octets[0]], octets = octets[3:3 + length], octets[3 + length:]
    return found


@case("gate-client-facts", "openssl")
def gate_client_facts(world):
    """[PROXY-05] what TLS was with the client, and its certificate, stand in the header for the upstream; openssl says the same of it."""
    users, folder, headers = Pki(world.new_folder("users")), world.new_folder("facts"), []
    config = folder / "gatepost.toml"
    config.write_text(f'[login]\nclient_ca = "{users.ca}"\n')

    def play(talk):
        head = talk.octets(16)
        headers.append(talk.octets(int.from_bytes(head[14:16], "big")))
        imap_play(capability=b"* CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR\r\n")(talk)

    own = certificate(folder, users, "anna", f"email:{USER}")
    der = ssl.PEM_cert_to_DER_cert(own.read_text()[:own.read_text().index("-----BEGIN PRIVATE")])

    def ask(gate, *flags):
        command = ["openssl", "s_client", "-connect", f"{HOST}:{gate.port('imaps')}", "-crlf", "-CAfile", gate.ca, "-cert", own, "-key", own, *flags]
        client = subprocess.Popen([*map(str, command)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        words = client.stdout
        client.stdin.write(f"a LOGIN {ADDRESS} {PASSWORD}\n".encode())
        client.stdin.flush()
        said = []
        while not said or not said[-1].startswith(b"a "):
            line = words.readline()
            check(line, f"the end: {said[-5:]}")
            said.append(line)
        client.kill()
        client.wait()
        facts = pieces(headers[-1][12:])[0x20]
        return facts[0], pieces(facts[5:]), b"".join(said).decode()

    with Scripted(play) as upstream, Gate(world, f"imap://127.0.0.1:{upstream.port}?proxy=v2", flags=("--config", config)) as gate:
        for version in ("-tls1_3", "-tls1_2"):
            bits, told, said = ask(gate, version)
            check(bits == 7 and told[0x28] == der and told[0x22] == b"x", f"{bits} {told}")
            digest, kind = said.split("Peer signing digest: ")[1].split("\n")[0], said.split("Peer signature type: ")[1].split("\n")[0]
            check(told[0x27] == b"ecdsa_secp256r1_sha256" and (digest, kind) == ("SHA256", "ECDSA"), f"{told} {digest} {kind}")


def revoked_by(folder, authority, *certificates):
    """The authority's list of what it has revoked."""
    (folder / "index.txt").write_text("")
    (folder / "crlnumber").write_text("01\n")
    (folder / "crl.cnf").write_text(f"[ca]\ndefault_ca = it\n[it]\ndatabase = {folder}/index.txt\ncrlnumber = {folder}/crlnumber\ndefault_md = sha256\n"
                                    "crl_extensions = ext\n[ext]\nauthorityKeyIdentifier = keyid\n")
    common = ["openssl", "ca", "-config", folder / "crl.cnf", "-cert", authority.ca, "-keyfile", authority.ca.parent / "ca.key"]
    for certificate in certificates:
        subprocess.run([*common, "-revoke", certificate], check=True, capture_output=True)
    made = subprocess.run([*common, "-gencrl", "-crldays", "1"], check=True, capture_output=True)
    return made.stdout


def gets_in(gate, own):
    """Whether a certificate is good for a login."""
    try:
        log_in(gate, own).logout()
    except (ssl.SSLError, ConnectionError, imaplib.IMAP4.abort):
        return False
    return True


@case("gate-external-revoked", "openssl")
def gate_revoked(world):
    # [SASL-EXT-02] who is on the list gets no connection, as soon as the list says so.
    users, folder = Pki(world.new_folder("users")), world.new_folder("external")
    ann, ben = (certificate(folder, users, name, f"email:{name}@{DOMAIN}") for name in ("ann", "ben"))
    config, crl = folder / "gatepost.toml", folder / "crl.pem"
    config.write_text(f'[login]\nclient_crl = "{crl}"\n')
    refused_to_start(world, ["--config", config], "client_ca")
    config.write_text(f'[login]\nclient_ca = "{users.ca}"\nclient_crl = "{crl}"\n')
    crl.write_bytes(revoked_by(folder, users))
    inside = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    inside.load_cert_chain(users.cert, users.key)
    inside.verify_mode = ssl.CERT_REQUIRED
    inside.load_verify_locations(users.ca)
    own = certificate(folder, users, "gate", "DNS:gate.example.test")
    offer = b"* CAPABILITY IMAP4rev1 AUTH=PLAIN AUTH=EXTERNAL SASL-IR\r\n"
    with Scripted(imap_play(capability=offer), tls=inside) as upstream:
        way = f"imaps://localhost:{upstream.port}?ca={users.ca}&client-cert={own},{own}"
        with Gate(world, way, flags=("--config", config)) as gate:
            check(gets_in(gate, ann) and gets_in(gate, ben), "nobody was revoked")
            open_one = log_in(gate, ann)
            for content, refused, words in (
                (revoked_by(folder, users, ann), True, "certificate_loaded"), (b"nothing", True, "client_ca_not_loaded"), (revoked_by(folder, users), False, "certificate_loaded"),
            ):
                before = (gate.folder / "server.log").read_text().count(words)
                crl.write_bytes(content)
                gate.process.send_signal(signal.SIGHUP)
                deadline = time.monotonic() + 30
                while (gate.folder / "server.log").read_text().count(words) == before:
                    check(time.monotonic() < deadline, f"{words}: {gate.last_words()}")
                    time.sleep(0.05)
                check(gets_in(gate, ann) != refused and gets_in(gate, ben), f"{words}: ann gets in: {not refused}?")
            check(open_one.noop()[0] == "OK", "an open session was ended")
            open_one.logout()
            # With a certificate or without: the port is open to others.
            check("AUTH=PLAIN" in connect(gate).capabilities, "nobody else is served")


@case("external-at-mailboxes", "openssl")
def external_at_mailboxes(world):
    # [SVC-08] who asks for certificates takes them as a login.
    users, other, folder = Pki(world.new_folder("users")), Pki(world.new_folder("other")), world.new_folder("external")
    config = folder / "gatepost.toml"
    config.write_text(f'[login]\nclient_ca = "{users.ca}"\n')
    server = Server(world.binary, world.new_folder("server"), ["anna"], ("--config", config))
    server.start()
    try:
        connection = log_in(server, certificate(folder, users, "anna", f"email:{USER}"), USER.encode())
        check(connection.select("INBOX")[0] == "OK", "INBOX")
        refusals(server, folder, users, other)
        try:
            log_in(server, certificate(folder, users, "carl", f"email:carl@{DOMAIN}"))
            check(False, "a certificate without an account")
        except imaplib.IMAP4.error as error:
            check("AUTHENTICATIONFAILED" in str(error), str(error))
    finally:
        server.terminate()
