"""Mail to oneself and a decoy, through real servers: what `canary` says is what the servers did."""

import json
import re
import signal
import subprocess

from ours import gatepost, login, says
from policies import Web
from servers import ADDRESS, PASSWORD, Dovecot, Pki, Postfix, Zone, tlsa_of
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
        # Ours takes no login in clear: nothing is sent, and nothing is said to have been shown.
        for scheme, service in (("imap", "imap"), ("pop3", "pop3"), ("smtp", "submission")):
            done = gatepost(world, "canary", "honey", "plant", folder, f"{scheme}://127.0.0.1:{world.port(service)}", expect=1)
            says(done, "nothing was shown")
            check(b"shown to whoever listens" not in done.stdout, "shown, it says")
        done = gatepost(world, "watch", "--honey", folder, "--log", dovecot.log, expect=1)
        says(done, "W109")
        check(password not in done.stdout.decode(), "the password is told")
        gatepost(world, "watch", "--honey", own, "--log", dovecot.log, expect=0)


class Lab:
    """The laboratory of wrong servers, and what it prints."""

    def __init__(self, world, domain):
        self.folder = world.new_folder("lab")
        self.process = subprocess.Popen(
            [world.binary, "serve", "--lab", "--lab-domain", domain, "--lab-port", "0"], cwd=self.folder, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, text=True)
        self.introduction = ""
        while "Nothing is taken in" not in self.introduction:
            line = self.process.stdout.readline()
            check(line, f"the laboratory does not open: {self.introduction}")
            self.introduction += line
        self.ca = self.folder / "gatepost-lab" / "ca.pem"

    def port(self, kind):
        return int(re.search(rf"127\.0\.0\.1:(\d+) +{kind} ", self.introduction)[1])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()

    def leave(self):
        """What it told of its visitors."""
        self.process.send_signal(signal.SIGTERM)
        output, _ = self.process.communicate(timeout=20)
        return [json.loads(line) for line in output.splitlines()]


@case("lab-dane-and-sts", "knotd", "keymgr")
def lab_dane_and_sts(world):
    """What the laboratory says is to be published is published: our client stops at what does not fit."""
    pki = Pki(world.new_folder("web"))
    with Lab(world, "found.test") as lab:
        record = re.search(r"_\d+\._tcp\.bad-tlsa\.found\.test\. IN TLSA .*", lab.introduction)[0]
        right = lab.port("right")
        # The certificate of the right server, asked of itself.
        shown = subprocess.run(
            ["openssl", "s_client", "-connect", f"127.0.0.1:{right}", "-starttls", "smtp", "-name", "c"], input=b"", capture_output=True, timeout=30).stdout
        certificate = world.new_folder("shown") / "cert.pem"
        certificate.write_bytes(shown)
        hosts = "".join(f"{kind} A 127.0.0.1\n" for kind in ("right", "bad-tlsa", "sts-mismatch", "mta-sts"))
        records = f"{hosts}{record}\n_{right}._tcp.right TLSA 3 1 1 {tlsa_of(certificate)}\n_mta-sts TXT \"v=STSv1; id=1\"\n"
        policy = re.search(r"mta-sts policy: (.*)", lab.introduction)[1].replace(", ", "\r\n") + "\r\n"
        check("mx: elsewhere.found.test" in policy, f"the policy is {policy!r}")
        web = Web(pki, {("mta-sts.found.test", "/.well-known/mta-sts.txt"): ("text/plain", policy)})
        both = world.new_folder("authorities") / "both.pem"
        both.write_text(lab.ca.read_text() + pki.ca.read_text())
        with Zone(world, records) as zone, web:
            look = ["connect", "--quit", "--tls", "starttls", "--ca", both, *zone.flags]
            url = lambda kind: f"smtp://{kind}.found.test:{lab.port(kind)}"  # noqa: E731
            says(gatepost(world, *look, "--verify", "dane", url("right"), env=zone.env), "Verified(DANE)")
            says(gatepost(world, *look, "--verify", "dane", url("bad-tlsa"), env=zone.env, expect=1), "E-DANE-NO-MATCH")
            says(gatepost(world, *look, "--verify", "sts", "--domain", "found.test", url("sts-mismatch"), env=zone.env, expect=1), "E-STS-HOST")
        told = {it["server"]: it["result"] for it in lab.leave()}
        check(told.get("bad-tlsa") in ("refused", "left"), f"the laboratory told {told}")


@case("canary-baseline")
def baseline(world):
    """What every protocol offers is the same at the second look."""
    state = world.new_folder("seen") / "seen.json"
    urls = [f"{name}://{HOST}:{world.port(name)}" for name in ("smtp", "submission", "submissions", "imap", "imaps", "pop3", "pop3s")]
    look = ["canary", "baseline", "--state", state, "--ca", world.ca, *urls]
    says(gatepost(world, *look), *[f"{url}: seen for the first time" for url in urls])
    done = gatepost(world, *look)
    check(done.stdout.decode().splitlines() == [f"{url}: as before" for url in urls], f"the second time: {done.stdout.decode()}")
