"""Programs that fetch: Python's imaplib and poplib, curl, mbsync, fetchmail, getmail.

Each fetches over STARTTLS and over implicit TLS with the certificate verified, sees every message byte for byte, and refuses
the server when it does not know the CA.
"""

import imaplib
import poplib
import ssl
import time

from clients import curl, send_by_python
from world import HOST, Failed, case, check, messages, plain, run, same, secret_file

IMAP = {"starttls": "imap", "implicit": "imaps"}
POP3 = {"starttls": "pop3", "implicit": "pop3s"}


def deliver(world, user, kinds=None):
    """Puts messages into a user's mailbox and returns them."""
    kinds = kinds or messages(world.address(user), world.address(user))
    for message in kinds:
        send_by_python(world, message, "implicit", user)
    return kinds


def by_id(copies, message):
    """The copies of a message among many."""
    return [copy for copy in copies if message.id.encode() in copy]


def all_there(copies, kinds, lines_by_lf=False):
    """Checks that each message is among the copies once, byte for byte."""
    for message in kinds:
        found = by_id(copies, message)
        check(len(found) == 1, f"{message.name}: {len(found)} copies instead of one")
        same(found[0], message, lines_by_lf)


# Python's imaplib and poplib


def imap_connection(world, mode, trusted=True):
    port, context = world.port(IMAP[mode]), world.tls(trusted)
    if mode == "implicit":
        return imaplib.IMAP4_SSL(HOST, port, ssl_context=context, timeout=30)
    connection = imaplib.IMAP4(HOST, port, timeout=30)
    check("LOGINDISABLED" in connection.capabilities, "LOGINDISABLED is not listed in clear")
    connection.starttls(ssl_context=context)
    return connection


def imaplib_fetches(world, mode):
    kinds = deliver(world, "python")
    connection = imap_connection(world, mode)
    connection.login(world.address("python"), world.password("python"))
    check(connection.select()[0] == "OK", "SELECT failed")
    _, parts = connection.fetch("1:*", "(UID BODY.PEEK[])")
    all_there([part[1] for part in parts if isinstance(part, tuple)], kinds)
    # Flags, COPY and EXPUNGE as a program uses them.
    _, data = connection.uid("SEARCH", "HEADER", "Message-ID", f'"{kinds[0].id}"')
    uid = data[0].split()[-1].decode()
    connection.uid("STORE", uid, "+FLAGS", r"(\Deleted)")
    check(connection.expunge()[0] == "OK", "EXPUNGE failed")
    connection.logout()
    check(not world.find("python", kinds[0], seconds=0), "an expunged message is still there")


@case("imaplib-starttls")
def imaplib_starttls(world):
    imaplib_fetches(world, "starttls")


@case("imaplib-implicit")
def imaplib_implicit(world):
    imaplib_fetches(world, "implicit")


@case("imaplib-sessions-see-each-other")
def imaplib_news(world):
    one, two = imap_connection(world, "implicit"), imap_connection(world, "starttls")
    for connection in (one, two):
        connection.login(world.address("python"), world.password("python"))
        connection.select()
    one.send(b"x IDLE\r\n")
    check(one.readline().startswith(b"+"), "IDLE was not taken up")
    start = time.monotonic()
    deliver(world, "python", [plain(world.address("python"), world.address("python"))])
    one.sock.settimeout(5)
    line = one.readline()
    check(b"EXISTS" in line, f"instead of EXISTS: {line!r}")
    check(time.monotonic() - start < 5, "the idling session heard of the message too late")
    one.send(b"DONE\r\n")
    while not one.readline().startswith(b"x OK"):
        pass
    two.noop()
    check(two.untagged_responses.get("EXISTS"), "the other session was not told of the message")
    one.logout()
    two.logout()


def pop3_connection(world, mode, trusted=True):
    port, context = world.port(POP3[mode]), world.tls(trusted)
    if mode == "implicit":
        return poplib.POP3_SSL(HOST, port, context=context, timeout=30)
    connection = poplib.POP3(HOST, port, timeout=30)
    check("STLS" in connection.capa(), "STLS is not listed in clear")
    connection.stls(context=context)
    return connection


def poplib_fetches(world, mode):
    kinds = deliver(world, "python")
    connection = pop3_connection(world, mode)
    connection.user(world.address("python"))
    connection.pass_(world.password("python"))
    count, _ = connection.stat()
    copies = [b"\r\n".join(connection.retr(number)[1]) + b"\r\n" for number in range(1, count + 1)]
    all_there(copies, kinds)
    uids = [line.split()[1] for line in connection.uidl()[1]]
    check(len(set(uids)) == count, "UIDL is not unique")
    top = b"\r\n".join(connection.top(count, 0)[1])
    check(kinds[-1].id.encode() in top, "TOP shows another message")
    connection.quit()


@case("poplib-starttls")
def poplib_starttls(world):
    poplib_fetches(world, "starttls")


@case("poplib-implicit")
def poplib_implicit(world):
    poplib_fetches(world, "implicit")


@case("python-fetch-untrusted")
def python_untrusted(world):
    for connect in (imap_connection, pop3_connection):
        for mode in IMAP:
            try:
                connect(world, mode, trusted=False)
            except ssl.SSLCertVerificationError:
                continue
            raise Failed("Python accepted a certificate of an unknown CA")


# curl


def curl_fetches_imap(world, scheme, mode):
    base = f"{scheme}://{HOST}:{world.port(IMAP[mode])}/INBOX"
    for message in deliver(world, "curl"):
        found = curl(world, base, "--request", f'UID SEARCH HEADER Message-ID "{message.id}"').stdout
        uids = found.replace(b"* SEARCH", b"").split()
        check(len(uids) == 1, f"{message.name}: SEARCH found {uids}")
        same(curl(world, f"{base};UID={uids[0].decode()}").stdout, message)


@case("curl-imap-starttls", "curl")
def curl_imap_starttls(world):
    curl_fetches_imap(world, "imap", "starttls")


@case("curl-imap-implicit", "curl")
def curl_imap_implicit(world):
    curl_fetches_imap(world, "imaps", "implicit")


def curl_fetches_pop3(world, scheme, mode):
    base = f"{scheme}://{HOST}:{world.port(POP3[mode])}/"
    for message in messages(world.address("curl"), world.address("curl")):
        deliver(world, "curl", [message])
        last = curl(world, base).stdout.split(b"\r\n")[-2].split()[0].decode()
        same(curl(world, base + last).stdout, message)


@case("curl-pop3-starttls", "curl")
def curl_pop3_starttls(world):
    curl_fetches_pop3(world, "pop3", "starttls")


@case("curl-pop3-implicit", "curl")
def curl_pop3_implicit(world):
    curl_fetches_pop3(world, "pop3s", "implicit")


@case("curl-fetch-untrusted", "curl")
def curl_fetch_untrusted(world):
    for scheme, service in (("imap", "imap"), ("imaps", "imaps"), ("pop3", "pop3"), ("pop3s", "pop3s")):
        curl(world, f"{scheme}://{HOST}:{world.port(service)}/", trusted=False, expect=60)


# mbsync


def mbsync(world, folder, mode, trusted=True, expect=0):
    near = folder / "near"
    near.mkdir(exist_ok=True)
    trust = f"SystemCertificates no\nCertificateFile {world.ca}\n" if trusted else "SystemCertificates yes\n"
    config = secret_file(
        folder / "mbsyncrc",
        f"IMAPAccount test\nHost {HOST}\nPort {world.port(IMAP[mode])}\nUser {world.address('mbsync')}\n"
        f'PassCmd "cat {world.server.password_file("mbsync")}"\nSSLType {"STARTTLS" if mode == "starttls" else "IMAPS"}\n'
        f"AuthMechs LOGIN\n{trust}\nIMAPStore far\nAccount test\n\n"
        f"MaildirStore near\nPath {near}/\nInbox {near}/INBOX\nSubFolders Verbatim\n\n"
        "Channel test\nFar :far:\nNear :near:\nPatterns INBOX\nCreate Near\nSync All\nExpunge Both\nSyncState *\n",
    )
    run(["mbsync", "-c", config, "-a"], expect=expect, env={"HOME": str(folder)})
    inbox = near / "INBOX"
    return {path: without_marks(path.read_bytes()) for path in inbox.glob("*/*") if path.parent.name in ("cur", "new")}


def without_marks(content):
    """mbsync and getmail mark what they copy with a field of their own."""
    lines = content.split(b"\n")
    return b"\n".join(line for line in lines if not line.startswith((b"X-TUID: ", b"X-getmail-retrieved-from-mailbox: ")))


def mbsync_both_ways(world, mode):
    folder = world.new_folder("mbsync")
    kinds = deliver(world, "mbsync")
    local = mbsync(world, folder, mode)
    all_there(list(local.values()), kinds, lines_by_lf=True)
    # A message put into the local folder goes up, a flag set on the server comes down.
    new = messages(world.address("mbsync"), world.address("mbsync"))[3]
    (folder / "near/INBOX/cur/1700000000.1_1.client.test:2,S").write_bytes(new.content.replace(b"\r\n", b"\n"))
    flag(world, kinds[0], r"\Flagged")
    local = mbsync(world, folder, mode)
    copies = [without_marks(copy.replace(b"\r\n", b"\n")) for copy in world.find("mbsync", new)]
    check(len(copies) == 1, f"{len(copies)} copies of the pushed message")
    same(copies[0], new, lines_by_lf=True)
    name = next(path.name for path, content in local.items() if kinds[0].id.encode() in content)
    check("F" in name.rsplit(",", 1)[1], f"the flag did not come down: {name}")
    # A message removed from the local folder is removed from the server.
    next(path for path, content in local.items() if kinds[1].id.encode() in content).unlink()
    mbsync(world, folder, mode)
    check(not world.find("mbsync", kinds[1], seconds=0), "a message removed locally is still on the server")
    check(world.find("mbsync", kinds[2], seconds=0), "a message nobody removed is gone")


def flag(world, message, name):
    connection = world.imap("mbsync")
    connection.select()
    _, data = connection.uid("SEARCH", "HEADER", "Message-ID", f'"{message.id}"')
    connection.uid("STORE", data[0].split()[0].decode(), "+FLAGS", f"({name})")
    connection.logout()


@case("mbsync-starttls", "mbsync")
def mbsync_starttls(world):
    mbsync_both_ways(world, "starttls")


@case("mbsync-implicit", "mbsync")
def mbsync_implicit(world):
    mbsync_both_ways(world, "implicit")


@case("mbsync-untrusted", "mbsync")
def mbsync_untrusted(world):
    for mode in IMAP:
        mbsync(world, world.new_folder("mbsync"), mode, trusted=False, expect="distrust")


# fetchmail


def file_deliverer(folder):
    """A program that puts each message it is given into a file of its own."""
    program = folder / "deliver"
    program.write_text(f'#!/bin/sh\nexec cat > "$(mktemp {folder}/mail.XXXXXXXX)"\n')
    program.chmod(0o700)
    return program


def fetchmail(world, protocol, mode, trusted=True, expect=0):
    folder = world.new_folder("fetchmail")
    deliverer = file_deliverer(folder)
    service = (IMAP if protocol == "imap" else POP3)[mode]
    # A protocol without `ssl` is STARTTLS or nothing.
    tls = "ssl" if mode == "implicit" else "sslproto TLS1.2+"
    trust = f'sslcertfile "{world.ca}"' if trusted else ""
    config = secret_file(
        folder / "fetchmailrc",
        f"poll {HOST} protocol {protocol} port {world.port(service)} auth password timeout 30\n"
        f'  user "{world.address("fetchmail")}" password "{world.password("fetchmail")}"\n'
        f'  {tls} sslcertck {trust} no rewrite fetchall no keep mda "{deliverer}"\n',
    )
    command = ["fetchmail", "--fetchmailrc", config, "--pidfile", folder / "pid", "--nosyslog", "--invisible"]
    run(command, expect=expect, env={"FETCHMAILHOME": str(folder), "HOME": str(folder)})
    return [path.read_bytes() for path in folder.glob("mail.*")]


def fetchmail_fetches(world, protocol, mode):
    kinds = deliver(world, "fetchmail")
    all_there(fetchmail(world, protocol, mode), kinds, lines_by_lf=True)
    check(not world.find("fetchmail", kinds[0], seconds=0), "a fetched message is still on the server")


@case("fetchmail-imap-starttls", "fetchmail")
def fetchmail_imap_starttls(world):
    fetchmail_fetches(world, "imap", "starttls")


@case("fetchmail-imap-implicit", "fetchmail")
def fetchmail_imap_implicit(world):
    fetchmail_fetches(world, "imap", "implicit")


@case("fetchmail-pop3-starttls", "fetchmail")
def fetchmail_pop3_starttls(world):
    fetchmail_fetches(world, "pop3", "starttls")


@case("fetchmail-pop3-implicit", "fetchmail")
def fetchmail_pop3_implicit(world):
    fetchmail_fetches(world, "pop3", "implicit")


@case("fetchmail-untrusted", "fetchmail")
def fetchmail_untrusted(world):
    kinds = deliver(world, "fetchmail", [plain(world.address("fetchmail"), world.address("fetchmail"))])
    for protocol in ("imap", "pop3"):
        for mode in IMAP:
            fetchmail(world, protocol, mode, trusted=False, expect="distrust")
    check(len(world.find("fetchmail", kinds[0])) == 1, "the message is gone")


# getmail, which knows implicit TLS only


def getmail(world, protocol, trusted=True, expect=0):
    folder = world.new_folder("getmail")
    deliverer = file_deliverer(folder)
    retriever, service = {"imap": ("SimpleIMAPSSLRetriever", "imaps"), "pop3": ("SimplePOP3SSLRetriever", "pop3s")}[protocol]
    # Without this line getmail does not verify at all, so the untrusted run names another CA file: the system's.
    trust = world.ca if trusted else "/etc/ssl/certs/ca-certificates.crt"
    mailboxes = 'mailboxes = ("INBOX",)\n' if protocol == "imap" else ""
    config = secret_file(
        folder / "getmailrc",
        f"[retriever]\ntype = {retriever}\nserver = {HOST}\nport = {world.port(service)}\nusername = {world.address('getmail')}\n"
        f"password = {world.password('getmail')}\nca_certs = {trust}\n{mailboxes}"
        f"[destination]\ntype = MDA_external\npath = {deliverer}\nallow_root_commands = true\nunixfrom = false\n"
        "[options]\nread_all = true\ndelete = false\ndelivered_to = false\nreceived = false\nverbose = 0\n",
    )
    run(["getmail", "--getmaildir", folder, "--rcfile", config], expect=expect)
    return [without_marks(path.read_bytes()) for path in folder.glob("mail.*")]


def getmail_fetches(world, protocol):
    # getmail takes messages apart and puts them together again: only what it leaves alone is compared.
    kinds = [message for message in messages(world.address("getmail"), world.address("getmail")) if message.name != "8-bit"]
    deliver(world, "getmail", kinds)
    all_there(getmail(world, protocol), kinds, lines_by_lf=True)


@case("getmail-imap-implicit", "getmail")
def getmail_imap(world):
    getmail_fetches(world, "imap")


@case("getmail-pop3-implicit", "getmail")
def getmail_pop3(world):
    getmail_fetches(world, "pop3")


@case("getmail-untrusted", "getmail")
def getmail_untrusted(world):
    for protocol in ("imap", "pop3"):
        copies = getmail(world, protocol, trusted=False, expect="distrust")
        check(not copies, "getmail fetched over an unverified connection")
