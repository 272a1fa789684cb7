"""Mail programs with the files `gatepost config client` makes for them: each connects at the first try, fetches what is there or sends.

The files for programs that cannot be run here are read by readers of their formats.
"""

import os
import plistlib
import pty
import re
import select
import subprocess
import termios
import time
import xml.etree.ElementTree as xml

from clients import send_by_python
from fetchers import file_deliverer
from ours import gatepost
from world import HOST, case, check, plain, run, secret_file


def client_file(world, user, program, *more):
    """The generated file of a mail program for a user of the running server."""
    starttls = "--starttls" in more
    pop3 = "--pop3" in more
    incoming = {(False, False): "imaps", (True, False): "imap", (False, True): "pop3s", (True, True): "pop3"}[(starttls, pop3)]
    done = gatepost(
        world, "config", "client", world.address(user), "--for", program, "--host", HOST, "--port", world.port(incoming),
        "--smtp-port", world.port("submission" if starttls else "submissions"), "--ca", world.ca,
        "--password-command", f"cat {world.server.password_file(user)}", *more)
    text = done.stdout.decode()
    check(world.password(user) not in text, "the password is in the file")
    return text


WAYS = ([], ["--starttls"])


@case("config-client-msmtp", "msmtp")
def client_msmtp(world):
    for way in WAYS:
        folder, message = world.new_folder("made-msmtp"), plain(world.address("msmtp"), world.address("msmtp"))
        config = secret_file(folder / "msmtprc", client_file(world, "msmtp", "msmtp", *way))
        run(["msmtp", "-C", config, "--", world.address("msmtp")], stdin=message.content.replace(b"\r\n", b"\n"))
        world.arrived("msmtp", message)


@case("config-client-mbsync", "mbsync")
def client_mbsync(world):
    for way in WAYS:
        folder, message = world.new_folder("made-mbsync"), plain(world.address("mbsync"), world.address("mbsync"))
        send_by_python(world, message, "implicit", "mbsync")
        config = secret_file(folder / "mbsyncrc", client_file(world, "mbsync", "mbsync", *way))
        (folder / "Mail" / world.address("mbsync")).mkdir(parents=True)
        run(["mbsync", "-c", config, "-a"], env={"HOME": str(folder)})
        found(folder / "Mail", message)


def found(folder, message):
    """Checks that a message is among the files of a folder."""
    copies = [path for path in folder.rglob("*") if path.is_file() and message.id.encode() in path.read_bytes()]
    check(len(copies) == 1, f"{len(copies)} copies in {folder}")


@case("config-client-getmail", "getmail")
def client_getmail(world):
    for way in ([], ["--pop3"]):
        folder, message = world.new_folder("made-getmail"), plain(world.address("getmail"), world.address("getmail"))
        send_by_python(world, message, "implicit", "getmail")
        text = client_file(world, "getmail", "getmail", *way)
        # getmail delivers into no Maildir for root, whom the tests may run as.
        maildir = f"type = Maildir\npath = ~/Mail/{world.address('getmail')}/\n"
        check(maildir in text, text)
        deliverer = file_deliverer(folder)
        config = secret_file(folder / "getmailrc", text.replace(maildir, f"type = MDA_external\npath = {deliverer}\nallow_root_commands = true\n"))
        run(["getmail", "--getmaildir", folder, "--rcfile", config], env={"HOME": str(folder)})
        found(folder, message)


@case("config-client-fetchmail", "fetchmail")
def client_fetchmail(world):
    for way in ([], ["--starttls"], ["--pop3"], ["--pop3", "--starttls"]):
        folder, message = world.new_folder("made-fetchmail"), plain(world.address("fetchmail"), world.address("fetchmail"))
        send_by_python(world, message, "implicit", "fetchmail")
        config = secret_file(folder / "fetchmailrc", client_file(world, "fetchmail", "fetchmail", *way))
        secret_file(folder / ".netrc", f"machine {HOST} login {world.address('fetchmail')} password {world.password('fetchmail')}\n")
        run(["fetchmail", "--fetchmailrc", config, "--pidfile", folder / "pid", "--nosyslog", "--all", "--mda", file_deliverer(folder)],
            env={"FETCHMAILHOME": str(folder), "HOME": str(folder)})
        found(folder, message)


@case("config-client-neomutt", "neomutt")
def client_neomutt(world):
    for number, way in enumerate(WAYS):
        folder = world.new_folder("made-neomutt")
        config = secret_file(folder / "muttrc", client_file(world, "neomutt", "mutt", *way) + "set copy=no\n")
        subject = f"by a made file {number} {os.urandom(8).hex()}"
        run(["neomutt", "-n", "-F", config, "-s", subject, "--", world.address("neomutt")], stdin=b"Hello.\n", env={"HOME": str(folder), "TERM": "dumb"})
        deadline = time.monotonic() + 20
        while True:
            connection = world.imap("neomutt")
            connection.select(readonly=True)
            _, data = connection.uid("SEARCH", "HEADER", "Subject", f'"{subject}"')
            connection.logout()
            if (data[0] or b"").split():
                break
            check(time.monotonic() < deadline, "the message did not arrive")
            time.sleep(0.2)


@case("config-client-provider-files")
def provider_files(world):
    # [AUTOC-01] [AUTOC-02] [AUTOD-01] [MOBC-01] as other readers of these formats take them.
    tree = xml.fromstring(client_file(world, "ours", "autoconfig"))
    check(tree.tag == "clientConfig" and tree.get("version") == "1.1", "autoconfig")
    doors = [(it.tag, it.get("type"), it.findtext("port"), it.findtext("socketType"), it.findtext("username")) for it in tree.find("emailProvider") if it.get("type")]
    check(doors == [("incomingServer", "imap", str(world.port("imaps")), "SSL", "%EMAILADDRESS%"), ("outgoingServer", "smtp", str(world.port("submissions")), "SSL", "%EMAILADDRESS%")], doors)
    space = "{http://schemas.microsoft.com/exchange/autodiscover/outlook/responseschema/2006a}"
    tree = xml.fromstring(client_file(world, "ours", "autodiscover", "--starttls"))
    doors = [(it.findtext(space + "Type"), it.findtext(space + "Port"), it.findtext(space + "SSL"), it.findtext(space + "Encryption"), it.findtext(space + "SPA")) for it in tree.iter(space + "Protocol")]
    check(doors == [("IMAP", str(world.port("imap")), "on", "TLS", "off"), ("SMTP", str(world.port("submission")), "on", "TLS", "off")], doors)
    profile = plistlib.loads(client_file(world, "ours", "apple").encode())
    mail = profile["PayloadContent"][0]
    check(profile["PayloadType"] == "Configuration" and mail["PayloadType"] == "com.apple.mail.managed", profile)
    check(mail["IncomingMailServerUseSSL"] is True and mail["OutgoingMailServerUseSSL"] is True, mail)
    check((mail["IncomingMailServerPortNumber"], mail["OutgoingMailServerPortNumber"]) == (world.port("imaps"), world.port("submissions")), mail)
    check(not any("Password" in key and isinstance(value, str) and "Auth" not in value for key, value in mail.items()), mail)


# DNS


@case("config-client-offlineimap", "offlineimap")
def client_offlineimap(world):
    folder, message = world.new_folder("made-offlineimap"), plain(world.address("offlineimap"), world.address("offlineimap"))
    send_by_python(world, message, "implicit", "offlineimap")
    config = secret_file(folder / "offlineimaprc", client_file(world, "offlineimap", "offlineimap"))
    command = ["offlineimap", "-c", config, "-o", "-u", "basic"]
    run(command, env={"HOME": str(folder)})
    found(folder / "Mail", message)
    # A server nobody vouches for gets no login, and nothing else of the file depends on it.
    system = config.read_text().replace(str(world.ca), "/etc/ssl/certs/ca-certificates.crt")
    secret_file(config, system)
    run(command, env={"HOME": str(folder)}, expect="distrust")
    # It would go on in clear without STARTTLS, and verify nobody with it.
    gatepost(world, "config", "client", world.address("offlineimap"), "--for", "offlineimap", "--host", HOST, "--starttls", expect=2)


@case("config-client-aerc", "aerc")
def client_aerc(world):
    for number, way in enumerate(WAYS):
        folder = world.new_folder("made-aerc")
        (folder / "aerc").mkdir()
        secret_file(folder / "aerc" / "accounts.conf", client_file(world, "aerc", "aerc", *way))
        subject = f"by-a-made-file-{number}-{os.urandom(8).hex()}"
        # It opens the editor, which leaves the letter as it is; then its own question is answered with yes.
        home = {"HOME": str(folder), "XDG_CONFIG_HOME": str(folder), "EDITOR": "true", "SSL_CERT_FILE": str(world.ca), "TERM": "xterm", "XDG_RUNTIME_DIR": str(folder)}
        on_a_terminal(world, ["aerc", f"mailto:{world.address('aerc')}?subject={subject}&body=Hello."], home, b"y", lambda: arrived(world, subject))


def arrived(world, subject):
    connection = world.imap("aerc")
    connection.select(readonly=True)
    _, data = connection.uid("SEARCH", "HEADER", "Subject", f'"{subject}"')
    connection.logout()
    return bool((data[0] or b"").split())


def words(screen):
    """What was written on a terminal, without what moves the cursor and sets colours."""
    return re.sub(rb"\x1b(\[[0-9;?]*[A-Za-z]|.)", b" ", screen).decode(errors="replace")[-3000:]


def on_a_terminal(world, command, env, key, done):
    """Runs a program that wants a terminal, pressing a key now and then, until what it is to do is done."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (40, 120))
    process = subprocess.Popen(["setsid", "--ctty", *command], stdin=theirs, stdout=theirs, stderr=theirs, env={**os.environ, **env})
    os.close(theirs)
    deadline, screen = time.monotonic() + 40, b""
    try:
        while not done():
            check(process.poll() is None and time.monotonic() < deadline, f"{command[0]}: {words(screen)}")
            while select.select([ours], [], [], 0.3)[0]:
                screen += os.read(ours, 65536)
            os.write(ours, key)
    except OSError:
        check(False, f"{command[0]} ended: {words(screen)}")
    finally:
        process.kill()
        process.wait()
        os.close(ours)
