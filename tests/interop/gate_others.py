"""The gate in front of Exim, OpenSMTPD, Courier and Cyrus, with the mail programs people have: byte for byte, and the client's address where the
server behind takes it."""

import imaplib
import time

import clients
import fetchers
from fetchers import all_there, by_id
from gate import Gate, imap_copies, pop3_copies, send
from ours import gatepost
from servers import ADDRESS, PASSWORD, Courier, Cyrus, Exim, OpenSmtpd, kinds, without
from world import HOST, case, check, plain, run, same, secret_file


class Front:
    """The gate as the programs' cases see a server: one user, whom the server behind knows."""

    def __init__(self, world, gate, user=ADDRESS):
        self.gate, self.user, self.server = gate, user, self
        self.new_folder, self.port, self.tls, self.ca = world.new_folder, gate.port, gate.tls, gate.ca
        self.secret = secret_file(gate.folder / "password", PASSWORD + "\n")

    def address(self, _):
        return self.user

    def password(self, _):
        return PASSWORD

    def password_file(self, _):
        return self.secret


def curl_sends(front, message, mode):
    """Hands a message in by curl."""
    scheme = "smtp" if mode == "starttls" else "smtps"
    url = f"{scheme}://{HOST}:{front.port(clients.SUBMISSION[mode])}/client.test"
    clients.curl(front, url, "--mail-from", ADDRESS, "--mail-rcpt", ADDRESS, "--upload-file", message.save(front.new_folder("sent")))


def in_maildir(server, want):
    """What is in a server's Maildir, once there are so many."""
    deadline = time.monotonic() + 60
    while len(list(server.mail.glob("new/*"))) < want and time.monotonic() < deadline:
        time.sleep(0.1)
    return [without(path.read_bytes()) for path in server.mail.glob("new/*")]


def words_in(path, words):
    """Waits for words in a file."""
    deadline = time.monotonic() + 30
    while not path.exists() or words not in path.read_text(errors="replace"):
        check(time.monotonic() < deadline, f"{words!r} is not in {path}: {path.read_text(errors='replace')[-1500:] if path.exists() else ''}")
        time.sleep(0.05)


@case("gate-exim", "curl", "swaks", "msmtp")
def gate_exim(world):
    with Exim(world) as server:
        port, sent = server.ports, []
        ca = f"ca={server.pki.ca}"
        ways = {
            "v1": ("127.0.0.71", f"submissions://localhost:{port['submissions']}?{ca}"),
            "v2": ("127.0.0.72", f"submission+starttls://localhost:{port['submission']}?{ca}"),
        }
        for version, (client, submission) in ways.items():
            with Gate(world, f"smtp://127.0.0.1:{port['proxied']}?proxy={version}", submission) as gate:
                # [PROXY-05] the client's address, by both versions of the header.
                message = plain("a@elsewhere.test", ADDRESS)
                send(gate.smtp(service="smtp", source=client), message, login=False)
                sent.append(message)
                words_in(server.folder / "spool" / "log_main", f"[{client}]")
                sent += by_senders(world, gate) if version == "v2" else all_kinds(gate)
        all_there(in_maildir(server, len(sent)), sent, lines_by_lf=True)


def by_senders(world, gate):
    """A message by each program and both ways into TLS."""
    sent = []
    for program, mode in (("swaks", "starttls"), ("msmtp", "starttls"), ("msmtp", "implicit"), ("curl", "starttls"), ("curl", "implicit")):
        message = plain(ADDRESS, ADDRESS)
        {"swaks": clients.swaks, "msmtp": clients.msmtp, "curl": curl_sends}[program](Front(world, gate), message, mode)
        sent.append(message)
    return sent


def all_kinds(gate):
    """A message of every kind, by both ways into TLS in turn."""
    sent = kinds()
    for number, message in enumerate(sent):
        send(gate.smtp(("starttls", "implicit")[number % 2]), message)
    return sent


@case("gate-opensmtpd", "curl", "swaks")
def gate_opensmtpd(world):
    with OpenSmtpd(world) as server, Gate(world, f"smtp://127.0.0.1:{server.proxied}?proxy=v2") as gate:
        sent = kinds()
        for message in sent:
            send(gate.smtp(service="smtp", source="127.0.0.73"), message, login=False)
        words_in(server.folder / "output", "address=127.0.0.73")
        message = plain("a@elsewhere.test", ADDRESS)
        run(["curl", "-sS", "--ssl-reqd", "--cacert", gate.ca, "--mail-from", "a@elsewhere.test", "--mail-rcpt", ADDRESS, "--upload-file",
             message.save(gate.folder), f"smtp://{HOST}:{gate.port('smtp')}/client.test"])
        sent.append(message)
        all_there(in_maildir(server, len(sent)), sent, lines_by_lf=True)


def by_programs(world, gate, want, user=ADDRESS):
    """Every program fetches, by both protocols and both ways into TLS; what goes up goes up whole."""
    front = Front(world, gate, user)
    for mode in fetchers.IMAP:
        by_python(front, mode, want)
        for scheme, service, path in (("imap", fetchers.IMAP[mode], "/INBOX;MAILINDEX=1"), ("pop3", fetchers.POP3[mode], "/1")):
            copy = without_trace(clients.curl(front, f"{scheme}{'' if mode == 'starttls' else 's'}://{HOST}:{front.port(service)}{path}").stdout)
            same(copy, next(message for message in want if by_id([copy], message)))
    folder = world.new_folder("mbsync")
    local = fetchers.mbsync(front, folder, "implicit")
    all_there([without(copy) for copy in local.values()], want, lines_by_lf=True)
    # A message put into the local folder goes up, in a literal, and one removed there goes away.
    new = kinds()[3]
    (folder / "near/INBOX/cur/1700000000.1_1.client.test:2,S").write_bytes(new.content.replace(b"\r\n", b"\n"))
    next(path for path, content in local.items() if want[0].id.encode() in content).unlink()
    fetchers.mbsync(front, folder, "starttls")
    connection = gate.imap(login=False)
    connection.login(user, PASSWORD)
    copies = [fetchers.without_marks(copy.replace(b"\r\n", b"\n")) for copy in imap_copies(connection, len(want))]
    all_there([without(copy) for copy in copies], [*want[1:], new], lines_by_lf=True)
    check(not by_id(copies, want[0]), "a message removed by mbsync is still there")
    idles(connection)
    connection.logout()


def by_python(front, mode, want):
    """The mailbox as imaplib and poplib see it."""
    connection = fetchers.imap_connection(front, mode)
    connection.login(front.user, PASSWORD)
    all_there([without_trace(copy) for copy in imap_copies(connection, len(want))], want)
    connection.logout()
    connection = fetchers.pop3_connection(front, mode)
    connection.user(front.user)
    connection.pass_(PASSWORD)
    all_there([without_trace(copy) for copy in pop3_copies(connection)], want)
    connection.quit()


def without_trace(copy):
    """A copy without what its delivery put before it, its lines as they came."""
    gone = len(copy.replace(b"\r\n", b"\n")) - len(without(copy))
    lines = copy.replace(b"\r\n", b"\n")[:gone].count(b"\n")
    return copy[gone + lines:]


def idles(connection):
    """IDLE is taken up and ended, where the server has it."""
    if "IDLE" not in connection.capabilities:
        return
    connection.send(b"idle IDLE\r\n")
    line = connection.readline()
    while not line.startswith(b"+"):
        check(line.startswith(b"*"), f"IDLE was answered {line}")
        line = connection.readline()
    connection.send(b"DONE\r\n")
    while not line.startswith(b"idle "):
        line = connection.readline()
    check(line.startswith(b"idle OK"), str(line))


def held_back(gate, user):
    """[GW-01] what is not for the client is not listed, and a wrong password is the upstream's to refuse."""
    connection = gate.imap(login=False)
    words = connection.capabilities
    check(not any(word.startswith(("STARTTLS", "LOGINDISABLED", "COMPRESS", "XCLIENT")) for word in words), str(words))
    try:
        connection.login(user, "wrong")
        check(False, "a wrong password is good")
    except imaplib.IMAP4.error as error:
        check("AUTHENTICATIONFAILED" in str(error), str(error))


def both_ways(server, more=""):
    """The upstreams by STARTTLS, and from the first octet."""
    port, end = server.ports, f"?ca={server.pki.ca}"
    starttls = (f"imap+starttls://localhost:{port['imap']}{end}{more}", f"pop3+starttls://localhost:{port['pop3']}{end}")
    return starttls, (f"imaps://localhost:{port['imaps']}{end}", f"pop3s://localhost:{port['pop3s']}{end}")


@case("gate-courier", "curl", "mbsync")
def gate_courier(world):
    stored = kinds()
    with Courier(world, stored) as server:
        starttls, implicit = both_ways(server)
        with Gate(world, *implicit) as gate:
            by_python(Front(world, gate), "implicit", stored)
        with Gate(world, *starttls) as gate:
            by_programs(world, gate, stored)
            held_back(gate, ADDRESS)


@case("gate-cyrus", "curl", "mbsync")
def gate_cyrus(world):
    with Cyrus(world) as server:
        sent, folder = kinds(), world.new_folder("sent")
        for message in sent:
            gatepost(world, "send", "--server", f"lmtp://localhost:{server.lmtp}", "--tls", "off", "--from", ADDRESS, "--to", ADDRESS, message.save(folder))
        starttls, implicit = both_ways(server, "&xclient")
        with Gate(world, *implicit) as gate:
            by_python(Front(world, gate, "anna"), "implicit", sent)
        with Gate(world, *starttls) as gate:
            by_programs(world, gate, sent, "anna")
            held_back(gate, "anna")
            # [XCL-03] it does not act on it, but its log has it.
            server.logged(b'"x-originating-ip" "127.0.0.1"')
