"""The gate's upstreams go wrong at every step, and by chance a thousand times: no session hangs, no password goes where it should not,
no message that was acknowledged is lost or doubled, and every descriptor comes back.

The chance has a seed, which is printed; GATEPOST_CHAOS_SEED repeats it, GATEPOST_CHAOS=10000 asks for more sessions.
"""

import base64
import contextlib
import os
import random
import socket
import threading
import time
from pathlib import Path

from gate import Gate, Scripted
from servers import PASSWORD
from world import HOST, Failed, case, check, in_threads

# An upstream that takes longer for an answer is given up.
TIMEOUT = 2
# Beyond this a client counts as hanging: several upstreams' worth of deadlines on a busy machine.
LONG = "GATEPOST_CHAOS" in os.environ
PATIENCE = 90 if LONG else 30
# Two that start at once may choose the same ports.
STARTING = threading.Lock()


class Broken(Exception):
    """The script ends the connection here."""


def misbehave(fault, talk, words):
    """Says what should be said, as the fault has it."""
    if fault == "close":
        raise Broken
    if fault == "half":
        talk.say(words[: len(words) // 2])
        raise Broken
    if fault == "garbage":
        talk.say(bytes(range(1, 256)) * 20 + b"\r\n")
    elif fault == "endless":
        for _ in range(64):
            talk.say(b"x" * 65536)
    elif fault == "paused":
        time.sleep(PATIENCE)
    elif fault == "slow":
        for octet in words:
            talk.say(bytes([octet]))
            time.sleep(1)
    else:
        talk.say(words)


def step(protocol, line):
    """What is answered to a line, and what the step is called."""
    if protocol == "imap":
        tag, _, rest = line.partition(b" ")
        verb = rest.split(b" ")[0].upper().decode(errors="replace")
        before = b"* CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR\r\n" if verb == "CAPABILITY" else b""
        return ("LOGIN" if verb == "AUTHENTICATE" else verb), before + tag + b" OK done\r\n"
    verb = line.split(b" ")[0].upper().decode(errors="replace")
    if protocol == "pop3":
        return ("LOGIN" if verb in ("AUTH", "PASS") else verb), b"+OK\r\nSASL PLAIN\r\nUSER\r\n.\r\n" if verb == "CAPA" else b"+OK done\r\n"
    if verb == "EHLO":
        return verb, b"250-upstream\r\n250-8BITMIME\r\n250 AUTH PLAIN\r\n"
    return ("LOGIN" if verb == "AUTH" else verb), b"235 in\r\n" if verb == "AUTH" else b"250 ok\r\n"


GREETINGS = {"imap": b"* OK ready\r\n", "pop3": b"+OK ready\r\n", "submission": b"220 upstream ESMTP\r\n"}
FIRST = {"imap": "CAPABILITY", "pop3": "CAPA", "submission": "EHLO"}


def faulty(protocol, state):
    """An upstream by the book but for the step and the fault in `state`."""
    def play(talk):
        def say(name, words):
            misbehave(state["fault"] if state["step"] == name else None, talk, words)

        try:
            say("greeting", GREETINGS[protocol])
            while True:
                name, words = step(protocol, talk.line())
                say(name, words)
        except Broken:
            pass

    return play


def client(gate, service, source=None):
    """A client's connection inside TLS, behind the greeting."""
    raw = socket.create_connection((HOST, gate.port(service)), timeout=PATIENCE, source_address=(source, 0) if source else None)
    inside = gate.tls().wrap_socket(raw, server_hostname=HOST)
    words = inside.makefile("rb")
    check(words.readline(), "no greeting")
    return inside, words


def login(gate, protocol, number):
    """The last words a client hears that logs in."""
    user = f"user{number}@example.test"
    service = {"imap": "imaps", "pop3": "pop3s", "submission": "submissions"}[protocol]
    inside, words = client(gate, service)
    with inside:
        if protocol == "imap":
            inside.sendall(f"a LOGIN {user} {PASSWORD}\r\n".encode())
        elif protocol == "pop3":
            inside.sendall(f"USER {user}\r\n".encode())
            words.readline()
            inside.sendall(f"PASS {PASSWORD}\r\n".encode())
        else:
            inside.sendall(b"EHLO client.test\r\n")
            while words.readline()[3:4] == b"-":
                pass
            inside.sendall(b"AUTH PLAIN " + base64.b64encode(f"\0{user}\0{PASSWORD}".encode()) + b"\r\n")
        line = words.readline()
        while line.startswith(b"* ") and not line.startswith(b"* BYE"):
            line = words.readline()
        return line


GOOD = {"imap": b"a OK", "pop3": b"+OK", "submission": b"235"}
LATER = {"imap": (b"a NO [UNAVAILABLE]",), "pop3": (b"-ERR [SYS/TEMP]",), "submission": (b"454", b"451", b"421")}


def secrets(number):
    """The password as it may be told to an upstream."""
    return PASSWORD.encode(), base64.b64encode(f"\0user{number}@example.test\0{PASSWORD}".encode())


def tried(protocol):
    """Each fault at each step. A login has a minute at least, since servers delay those that fail: its silence is for long runs."""
    for at in ("greeting", FIRST[protocol], "LOGIN"):
        for fault in ("close", "half", "garbage", "endless", "paused", "slow"):
            if at != "LOGIN" or fault not in ("paused", "slow") or (fault == "paused" and LONG):
                yield fault, at


def upstream_fails_at_each_step(world, protocol):
    """Every fault before a session is ready, each at the upstream of one user."""
    faults = list(tried(protocol))
    states = [{"step": None, "fault": None} for _ in faults]
    routes = world.new_folder("routes") / "table"
    routes.write_text("".join(f"user{number}@example.test group{number}\n" for number in range(len(faults))))
    with contextlib.ExitStack() as stack:
        upstreams = [stack.enter_context(Scripted(faulty(protocol, state))) for state in states]
        urls = [f"{protocol}://127.0.0.1:{one.port}?timeout={TIMEOUT}s&group=group{number}" for number, one in enumerate(upstreams)]
        with STARTING:
            gate = stack.enter_context(Gate(world, *urls, flags=("--route", f"table:{routes}")))

        def one(number):
            fault, at = faults[number]
            what = f"{protocol}: {fault} at {at}"
            try:
                line = login(gate, protocol, number)
                check(line.startswith(GOOD[protocol]), f"no login while all is well: {line}")
                upstreams[number].heard = bytearray()
                states[number].update(step=at, fault=fault)
                line = login(gate, protocol, number)
            except OSError as error:
                raise Failed(f"{what}: {error}") from error
            check(line.startswith(LATER[protocol]), f"{what}: {line}")
            told = any(secret in upstreams[number].heard for secret in secrets(number))
            check(told == (at == "LOGIN"), f"{what}: whether the password was told: {told}")
            others = b"".join(other.heard for other in upstreams if other is not upstreams[number])
            check(f"user{number}@".encode() not in others, f"{what}: another upstream was told of the user")

        in_threads(len(faults), one)


@case("gate-upstream-fails-at-each-step")
def gate_each_step(world):
    """Closing, half an answer, garbage, no end, silence, one octet a second: each is `try again` for the client."""
    protocols = list(GREETINGS)
    in_threads(len(protocols), lambda number: upstream_fails_at_each_step(world, protocols[number]))


class Sink:
    """Takes mail, at times badly; remembers what it said 250 to."""

    def __init__(self, chance):
        self.chance, self.lock, self.taken = chance, threading.Lock(), {}

    def choose(self, odds):
        with self.lock:
            return self.chance.random() < odds

    def play(self, talk):
        def say(words):
            if self.choose(0.02):
                with self.lock:
                    fault = self.chance.choice(["close", "half", "garbage"])
                misbehave(fault, talk, words)
            else:
                talk.say(words)

        try:
            talk.say(b"220 upstream ESMTP\r\n")
            while True:
                line = talk.line()
                verb = line.split(b" ")[0].upper()
                if verb == b"EHLO":
                    say(b"250-upstream\r\n250-PIPELINING\r\n250 8BITMIME\r\n")
                elif verb == b"DATA":
                    say(b"354 go\r\n")
                    self.content(talk, say)
                elif verb == b"QUIT":
                    talk.say(b"221 bye\r\n")
                    return
                else:
                    say(b"451 4.3.0 not now\r\n" if self.choose(0.03) else b"250 ok\r\n")
        except Broken:
            pass

    def content(self, talk, say):
        name, lines = None, 0
        stop = self.choose(0.05)
        while (line := talk.line()) != b".":
            lines += 1
            if line.startswith(b"X-Number: "):
                name = int(line[10:])
            if stop and lines > 20:
                raise Broken
        if self.choose(0.05):
            raise Broken
        # It counts from here, whether or not the words arrive.
        with self.lock:
            self.taken[name] = self.taken.get(name, 0) + 1
        say(b"250 2.0.0 taken\r\n")


def descriptors(gate):
    """How many the program holds."""
    return len(list(Path(f"/proc/{gate.process.pid}/fd").iterdir()))


def memory(gate):
    """Its heap and stacks, in KiB."""
    return int(Path(f"/proc/{gate.process.pid}/status").read_text().split("RssAnon:")[1].split()[0])


def hand_in(gate, number, chance):
    """One session on port 25 with one message; whether it was acknowledged. The client fails at times, too."""
    raw = socket.create_connection((HOST, gate.port("smtp")), timeout=PATIENCE, source_address=(f"127.0.1.{number % 200 + 1}", 0))
    fails_at = chance.randrange(40)
    with raw:
        words = raw.makefile("rb")

        def ask(line, inside=None):
            (inside or raw).sendall(line)
            reply = words.readline()
            while reply[3:4] == b"-":
                reply = words.readline()
            return reply

        words.readline()
        ask(b"EHLO client.test\r\n")
        if fails_at == 0 or not ask(b"STARTTLS\r\n").startswith(b"220"):
            return False
        with gate.tls().wrap_socket(raw, server_hostname=HOST) as inside:
            words = inside.makefile("rb")
            ask(b"EHLO client.test\r\n", inside)
            for line in (b"MAIL FROM:<a@b.test>\r\n", b"RCPT TO:<c@d.test>\r\n", b"DATA\r\n"):
                if ask(line, inside)[:1] not in (b"2", b"3"):
                    return False
            body = b"X-Number: %d\r\n\r\n" % number + b"what a message says\r\n" * chance.choice([1, 30, 3000])
            if fails_at == 1:
                inside.sendall(body[: len(body) // 2])
                return False
            return ask(body + b".\r\n", inside).startswith(b"250")


@case("gate-chaos")
def gate_chaos(world):
    """A thousand sessions of mail, upstreams and clients that fail by chance: nothing acknowledged is lost or doubled, nothing is held."""
    seed = int(os.environ.get("GATEPOST_CHAOS_SEED", time.time_ns() % 1_000_000_007))
    sessions, threads = int(os.environ.get("GATEPOST_CHAOS", "1000")), 8
    print(f"gate-chaos: seed {seed}, {sessions} sessions")
    sinks = [Sink(random.Random(seed + number)) for number in range(3)]
    with Scripted(sinks[0].play) as one, Scripted(sinks[1].play) as two, Scripted(sinks[2].play) as three, Gate(
        world, *(f"smtp://127.0.0.1:{upstream.port}?timeout={TIMEOUT}s" for upstream in (one, two, three))
    ) as gate:
        acknowledged, hanging = set(), []

        def work(thread):
            chance = random.Random(f"{seed} {thread}")
            for number in range(thread, sessions, threads):
                try:
                    if hand_in(gate, number, chance):
                        acknowledged.add(number)
                except TimeoutError:
                    hanging.append(number)
                except OSError:
                    pass

        before = descriptors(gate)
        in_threads(threads, work)
        took = {}
        for sink in sinks:
            for number, times in sink.taken.items():
                took[number] = took.get(number, 0) + times
        check(not hanging, f"seed {seed}: sessions {hanging} hang")
        lost = acknowledged - took.keys()
        check(not lost, f"seed {seed}: acknowledged and lost: {sorted(lost)}")
        doubled = [number for number, times in took.items() if times > 1]
        check(not doubled, f"seed {seed}: taken more than once: {doubled}")
        check(len(acknowledged) > sessions // 4, f"seed {seed}: only {len(acknowledged)} of {sessions} got through: {gate.last_words()}")
        deadline = time.monotonic() + 30
        # Each upstream is asked what it offers now and then: one connection of its own.
        while descriptors(gate) > before + 4 and time.monotonic() < deadline:
            time.sleep(0.1)
        check(descriptors(gate) <= before + 4, f"seed {seed}: {descriptors(gate)} descriptors instead of {before}")
        check(memory(gate) < 64 * 1024, f"seed {seed}: {memory(gate)} KiB held")
