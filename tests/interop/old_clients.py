"""Programs that know no SCRAM but SCRAM-SHA-1, where the configuration names it [CONF-07]."""

import imaplib
import ssl
import subprocess

from gate import Gate
from servers import Dovecot
from world import Server, case, check, plain, run, secret_file

USERS = ("new", "late")
NAMED = '"SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-1", "PLAIN"'


class Old(Server):
    """A server whose configuration can be made to name SCRAM-SHA-1."""

    def __init__(self, world):
        folder = world.new_folder("old-clients")
        self.config = folder / "gatepost.toml"
        super().__init__(world.binary, folder, (), ("--config", self.config))
        for user in USERS:
            secret_file(self.password_file(user), f"sesame {user}\n")

    def start_with(self, mechanisms):
        self.config.write_text(f"[login]\nmechanisms = [{mechanisms}]\n")
        if self.process and self.process.poll() is None:
            self.terminate()
        self.start()

    def account(self, verb, user):
        run([self.binary, "account", verb, f"{user}@gatepost.test", "--password-file", self.password_file(user), "--data", self.data])

    def offers(self):
        context = ssl.create_default_context(cafile=self.ca)
        with imaplib.IMAP4_SSL("localhost", self.port("imaps"), ssl_context=context) as connection:
            return [it.removeprefix("AUTH=") for it in connection.capabilities if it.startswith("AUTH=")]


def sends(server, world, user, mechanism, expect=0):
    """msmtp, with GNU SASL."""
    address, folder = f"{user}@gatepost.test", world.new_folder("msmtp")
    config = secret_file(
        folder / "msmtprc",
        f"account test\nhost localhost\nport {server.port('submissions')}\ntls on\ntls_starttls off\ntls_trust_file {server.ca}\n"
        f"auth {mechanism}\nuser {address}\nfrom {address}\ndomain client.test\n"
        f'passwordeval "cat {server.password_file(user)}"\n')
    content = plain(address, address).content.replace(b"\r\n", b"\n")
    return run(["msmtp", "-C", config, "-a", "test", "--", address], stdin=content, expect=expect)


def sends_ours(server, user, *flags, expect=0):
    """Our own client; its report."""
    address = f"{user}@gatepost.test"
    done = run([server.binary, "send", "--server", f"submissions://localhost:{server.port('submissions')}", "--ca", server.ca, "--user", address,
                "--password-file", server.password_file(user), "--from", address, "--to", address, "--json", *flags],
               stdin=b"Subject: x\r\n\r\nx\r\n", expect=expect)
    return done.stdout.decode()


def fetches(server, world, user, mechanism, expect=0):
    """mbsync, with Cyrus SASL; how many messages came."""
    folder = world.new_folder("mbsync")
    near = folder / "near"
    near.mkdir()
    config = secret_file(
        folder / "mbsyncrc",
        f"IMAPAccount test\nHost localhost\nPort {server.port('imaps')}\nUser {user}@gatepost.test\n"
        f'PassCmd "cat {server.password_file(user)}"\nSSLType IMAPS\nAuthMechs {mechanism}\n'
        f"SystemCertificates no\nCertificateFile {server.ca}\n\nIMAPStore far\nAccount test\n\n"
        f"MaildirStore near\nPath {near}/\nInbox {near}/INBOX\nSubFolders Verbatim\n\n"
        "Channel test\nFar :far:\nNear :near:\nPatterns INBOX\nCreate Near\nSync Pull\nSyncState *\n")
    run(["mbsync", "-c", config, "-a"], expect=expect, env={"HOME": str(folder)})
    return sum(path.parent.name in ("cur", "new") for path in near.glob("INBOX/*/*"))


@case("scram-sha-1", "msmtp", "mbsync")
def scram_sha_1(world):
    server = Old(world)
    try:
        server.start_with('"SCRAM-SHA-256", "PLAIN"')
        server.account("add", "late")
        check(not any("SHA-1" in it for it in server.offers()), f"{server.offers()}")
        sends(server, world, "late", "scram-sha-1", expect="failure")

        server.start_with(NAMED)
        offers = server.offers()
        check("SCRAM-SHA-1" in offers and offers.index("SCRAM-SHA-256") < offers.index("SCRAM-SHA-1-PLUS"), f"{offers}")
        check(server.logged("Accounts with older ones: 1;"), server.last_words())
        server.account("add", "new")
        sends(server, world, "new", "scram-sha-1")
        sends(server, world, "new", "scram-sha-256")
        check(fetches(server, world, "new", "SCRAM-SHA-1") == 2, "mbsync")
        # The password was set before: by the other mechanisms it is as good as ever.
        sends(server, world, "late", "scram-sha-1", expect="failure")
        sends(server, world, "late", "scram-sha-256")
        server.account("password", "late")
        sends(server, world, "late", "scram-sha-1")
        check(fetches(server, world, "late", "SCRAM-SHA-1") == 2, "mbsync")
        secret_file(server.password_file("late"), "another\n")
        sends(server, world, "late", "scram-sha-1", expect="failure")

        # Our own client: bound to TLS, and only by who names it.
        server.start_with('"SCRAM-SHA-1-PLUS", "SCRAM-SHA-1"')
        check('"login":"SCRAM-SHA-1-PLUS"' in sends_ours(server, "new", "--mechanism", "scram-sha-1"), server.last_words())
        sends_ours(server, "new", expect="failure")
    finally:
        server.terminate()


@case("gate-scram-sha-1", "dovecot")
def gate_scram_sha_1(world):
    """A gate passes the password on, so it offers no SCRAM at all, whatever its configuration names."""
    config = world.new_folder("old-clients") / "gatepost.toml"
    config.write_text(f"[login]\nmechanisms = [{NAMED}]\n")
    with Dovecot(world) as dovecot, Gate(world, f"imap://127.0.0.1:{dovecot.ports['imap']}", flags=("--config", config)) as gate:
        connection = gate.imap(login=False)
        offers = [it for it in connection.capabilities if it.startswith("AUTH=")]
        check("AUTH=PLAIN" in offers and not any("SCRAM" in it for it in offers), f"{offers}")
        answer = connection.xatom("AUTHENTICATE", "SCRAM-SHA-1")
        check(answer[0] == "NO", f"{answer}")


@case("scram-sha-1-half")
def scram_sha_1_half(world):
    """-PLUS with one hash function alone would refuse honest clients: nothing is begun with such a list."""
    config = world.new_folder("old-clients") / "gatepost.toml"
    config.write_text('[login]\nmechanisms = ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "SCRAM-SHA-1"]\n')
    done = subprocess.run([world.binary, "serve", "--config", config, "--data", config.parent / "data"], capture_output=True, timeout=30)
    check(done.returncode == 2 and b"SCRAM-SHA-1-PLUS" in done.stderr, f"{done.returncode} {done.stderr!r}")
