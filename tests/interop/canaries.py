"""Mail to oneself and a decoy, through real servers: what `canary` says is what the servers did."""

import json

from ours import gatepost, login, says
from servers import ADDRESS, Dovecot, Postfix, PASSWORD
from world import HOST, case, check


def loop(world, way_in, mailbox, address, *more, expect):
    """A mail to oneself; what was found of its way."""
    done = gatepost(
        world, "canary", "loop", "--send", way_in, "--fetch", mailbox, "--address", address, "--tls-name", "localhost", "--wait", "60", "--delete",
        "--json", *more, expect=expect)
    return json.loads(done.stdout)


@case("canary-loop-here")
def loop_here(world):
    way_in, mailbox = (f"{name}://{HOST}:{world.port(name)}" for name in ("submissions", "imaps"))
    told = loop(world, way_in, mailbox, world.address("ours"), "--ca", world.ca, *login(world), expect=0)
    check([it["channel"] for it in told["hops"]] == ["Encrypted"], f"the hops are {told['hops']}")
    check(told["findings"] == [], f"found {told['findings']}")


@case("canary-loop-servers", "postfix", "dovecot")
def loop_servers(world):
    with Dovecot(world) as dovecot, Postfix(world, dovecot) as postfix:
        way_in, mailbox = f"submissions://127.0.0.1:{postfix.ports['submissions']}", f"imaps://127.0.0.1:{dovecot.ports['imaps']}"
        trust = dovecot.folder / "authorities"
        trust.write_text(dovecot.pki.ca.read_text() + postfix.pki.ca.read_text())
        told = loop(world, way_in, mailbox, ADDRESS, "--ca", trust, "--user", ADDRESS, "--password-file", dovecot.secret, expect=0)
        # Handed in inside TLS; from Postfix to Dovecot it goes by LMTP in clear, which stays on the machine.
        check([it["channel"] for it in told["hops"]] == ["Encrypted", "local"], f"the hops are {told['hops']}")
        check(told["findings"] == [], f"found {told['findings']}")
        left = list((dovecot.folder / "mail" / ADDRESS).glob("*/*:2,*"))
        check(left == [], f"the mail was to be removed: {left}")


@case("canary-honey", "dovecot")
def honey(world):
    """A decoy is shown in clear, and its use is found in Dovecot's log."""
    with Dovecot(world, lambda ports: "disable_plaintext_auth = no\nssl = yes\n") as dovecot:
        folder = world.new_folder("decoy") / "honey"
        own = world.new_folder("decoy") / "own"
        gatepost(world, "canary", "honey", "make", "--domain", "example.test", "--to", folder)
        gatepost(world, "canary", "honey", "make", "--domain", "example.test", "--from", "127.0.0.1", "--to", own)
        password = (folder / "password").read_text().strip()
        check(len(password) >= 20 and password != PASSWORD, "the password is not random")
        for it in (folder, own):
            says(gatepost(world, "canary", "honey", "plant", it, f"imap://127.0.0.1:{dovecot.ports['imap']}"), "shown to whoever listens")
        done = gatepost(world, "watch", "--honey", folder, "--log", dovecot.log, expect=1)
        says(done, "W109")
        check(password not in done.stdout.decode(), "the password is told")
        gatepost(world, "watch", "--honey", own, "--log", dovecot.log, expect=0)
