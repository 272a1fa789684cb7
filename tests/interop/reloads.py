"""Settings that change while the gate runs: new sessions follow them, open ones go on, and what is wrong changes nothing."""

import signal
import smtplib
import time

from gate import Gate, Scripted, imap_play, smtp_play
from routes import login, users_at
from servers import ADDRESS, PASSWORD
from world import case, check, free_port, plain

USERS = [f"user{number}@example.test" for number in range(12)]


class Changing:
    """A gate whose settings stand in a file."""

    def __init__(self, world, text):
        self.config = world.new_folder("reload") / "gatepost.toml"
        self.config.write_text(text)
        self.gate = Gate(world, flags=("--config", self.config))

    def count(self, word):
        """How often the log has a word."""
        return (self.gate.folder / "server.log").read_text(errors="replace").count(word)

    def change(self, text, word, tell=True):
        """Writes other settings, tells the gate, and waits until it has said this about it."""
        before = self.count(word)
        self.config.write_text(text)
        if tell:
            self.gate.process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + 40
        while self.count(word) == before:
            check(time.monotonic() < deadline, f"no {word}: {self.gate.last_words()}")
            time.sleep(0.02)


def gate_section(*upstreams, more=""):
    """Settings with these upstreams."""
    urls = ", ".join(f'"{url}"' for url in upstreams)
    return f"[gate]\nupstreams = [{urls}]\n{more}\n"


@case("gate-reload")
def gate_reload(world):
    with Scripted(imap_play()) as a, Scripted(imap_play()) as b:
        first, second = f"imap://127.0.0.1:{a.port}?group=a", f"imap://127.0.0.1:{b.port}?group=b"
        changing = Changing(world, gate_section(first))
        with changing.gate as gate:
            kept = gate.imap(login=False)
            kept.login(USERS[0], PASSWORD)
            changing.change(gate_section(second), "settings_loaded")
            login(gate, USERS[1])
            check(users_at(a) == {USERS[0]} and users_at(b) == {USERS[1]}, f"{users_at(a)} {users_at(b)}")
            check(kept.noop()[0] == "OK" and b"NOOP" in a.heard and b"NOOP" not in b.heard, "the open session was moved or dropped")
            # What is wrong is named, and changes nothing.
            for wrong, words in (
                ("[gate]\nupstrems = []\n", "did you mean gate.upstreams"),
                (gate_section("imaps://localhost?ca=/nonexistent.pem"), "/nonexistent.pem"),
                (gate_section(first, more='route = "table:/nonexistent/routes"'), "/nonexistent/routes"),
                (gate_section("imap://192.0.2.1"), "tls=none"),
            ):
                changing.change(wrong, "settings_not_loaded")
                check(gate.logged(words) and gate.logged("the previous settings stay in force"), gate.last_words())
                login(gate, USERS[2])
            check(USERS[2] in users_at(b) and USERS[2] not in users_at(a), "a faulty file was taken")
            # What needs a restart is named, and the rest counts.
            changing.change(f'[server]\nhost = "other.example.test"\n{gate_section(first)}', "settings_loaded")
            check(gate.logged("what is new about server.host counts from the next start"), gate.last_words())
            login(gate, USERS[3])
            check(USERS[3] in users_at(a), "the new upstream is not used")
            changing.change(gate_section(f"pop3://127.0.0.1:{b.port}"), "settings_loaded")
            check(gate.logged("what is new about gate.upstreams and gate.route counts"), gate.last_words())
            login(gate, USERS[4])
            check(USERS[4] in users_at(a), "an open port lost what stands behind it")
            # Without a signal, and with a route.
            table = world.new_folder("routes") / "table"
            table.write_text(f"{USERS[5]} a\n* b\n")
            changing.change(gate_section(first, second, more=f'route = "table:{table}"'), "settings_loaded", tell=False)
            login(gate, USERS[5])
            login(gate, USERS[6])
            check(USERS[5] in users_at(a) and USERS[6] in users_at(b), f"{users_at(a)} {users_at(b)}")
            check(kept.noop()[0] == "OK", "the open session was dropped")
            kept.logout()


@case("gate-reload-egress")
def gate_reload_egress(world):
    record, other = [], []
    with Scripted(smtp_play(record)) as a, Scripted(smtp_play(other)) as b:
        port = free_port()

        def settings(upstream, sender, network="127.0.0.1"):
            return (f'[egress]\nlisten = ["127.0.0.1:{port}"]\nnetworks = ["{network}"]\nsenders = ["{sender}"]\n'
                    f'upstream = "smtp://127.0.0.1:{upstream.port}"\n')

        def device(sender):
            with smtplib.SMTP("127.0.0.1", port, timeout=30) as connection:
                connection.sendmail(sender, [ADDRESS], plain(sender, ADDRESS).content)

        def refused(sender):
            try:
                device(sender)
                return False
            except (smtplib.SMTPException, ConnectionError):
                return True

        changing = Changing(world, settings(a, "one@device.test"))
        with changing.gate:
            device("one@device.test")
            check(refused("two@device.test"), "a sender not listed is taken")
            changing.change(settings(b, "two@device.test"), "settings_loaded")
            device("two@device.test")
            check(refused("one@device.test"), "a sender listed no more is taken")
            check(any(b"two@" in it for it in other) and not any(b"two@" in it for it in record), "the old way out is used")
            changing.change(settings(b, "two@device.test", network="127.0.0.99"), "settings_loaded")
            check(refused("two@device.test"), "a network listed no more may send")
