"""What stands on the path: scripted middleboxes in front of the program's own server, each to be told apart from the others.

A box listens at another loopback address on the server's own port, so that one name has two ways: one through the box, one without.
"""

import re
import socket
import threading

from checks import Scripted, document
from servers import Pki
from world import case, check

BOX = "127.0.0.66"


class Box:
    """Hands on what comes, through `up` (from the client) and `down` (from the server); either may return None to swallow it."""

    def __init__(self, port, to, up=None, down=None):
        self.to = to
        self.up, self.down = up or (lambda state, data: data), down or (lambda state, data: data)
        self.socket = socket.create_server((BOX, port))
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.socket.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self.to), timeout=10)
            except OSError:
                client.close()
                continue
            state = {}
            for source, target, change in ((client, server, self.up), (server, client, self.down)):
                threading.Thread(target=self.pump, args=(source, target, change, state), daemon=True).start()

    @staticmethod
    def pump(source, target, change, state):
        try:
            source.settimeout(30)
            while data := source.recv(65536):
                data = change(state, data)
                if data:
                    target.sendall(data)
        except OSError:
            pass
        finally:
            for side in (source, target):
                try:
                    side.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        # A thread that waits in accept would keep the port.
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()


def hello(state, data):
    """The first record of TLS a client sends, whole; what comes before is returned as it is, None while more must come."""
    if "tls" not in state:
        if data[:1] != b"\x16":
            return "clear", data
        state["tls"], state["held"] = True, b""
    if state["held"] is None:
        return "later", data
    state["held"] += data
    held = state["held"]
    if len(held) < 5 or len(held) < 5 + int.from_bytes(held[3:5], "big"):
        return "more", None
    state["held"] = None
    return "hello", held


def clamp(state, data):
    """Takes the extension that offers TLS 1.3 out, by giving it a number nobody knows."""
    what, data = hello(state, data)
    if what == "hello":
        data = re.sub(rb"\x00\x2b(\x00..(?:..){0,6}?\x03\x04)", lambda found: b"\x5a\x5a" + found.group(1), data, count=1, flags=re.DOTALL)
    return data


def drop_large(state, data):
    """Passes no hello of more than one segment, nor what follows it."""
    if state.get("dropped"):
        return None
    what, data = hello(state, data)
    if what == "hello" and len(data) > 1400:
        state["dropped"] = True
        return None
    return data


def mask(_, data):
    return data.replace(b"STARTTLS", b"XXXXXXXA")


def strip_down(_, data):
    return re.sub(rb"250-STARTTLS\r\n", b"", data).replace(b"250 STARTTLS\r\n", b"250 HELP\r\n")


def strip_up(_, data):
    return data.replace(b"STARTTLS", b"STARTTLX")


def told(world, *flags, both=False):
    """The check of the way through the box, and that of the other way."""
    port = world.port("smtp")
    ways = [BOX, "127.0.0.1"] if both else [BOX]
    resolve = [word for way in ways for word in ("--resolve", f"localhost:{port}:{way}")]
    report = document(world, f"smtp://localhost:{port}", "--ca", world.ca, "--no-system-ca", *resolve, *flags)
    found = {it["address"]: {one["id"]: one for one in it["checks"]} for it in report["targets"]}
    if both:
        other = found["127.0.0.1"]["PATH-001"]
        check(other["status"] == "pass", f"the way without the box: {other}")
    return found[BOX]


def expect(found, kind, status="fail"):
    it = found["PATH-001"]
    check(it["status"] == status and it["evidence"].startswith(f"{kind}:"), f"{kind}: {it}")
    check(status != "fail" or it["fix"], f"{kind}: no fix")


@case("check-middlebox")
def middleboxes(world):
    port = world.port("smtp")
    quick = ["--tier", "light", "--timeout", "4"]
    expect(told(world, *quick), "refused", "inconclusive")
    # A listener whose queue is full: the system throws further attempts away, as a filter does.
    with socket.socket() as full:
        full.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        full.bind((BOX, port))
        full.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex((BOX, port))
        expect(told(world, "--tier", "light", "--timeout", "2"), "filtered", "inconclusive")
        for one in waiting:
            one.close()
    with Box(port, port):
        found = told(world, *quick, both=True)
        check(found["PATH-001"]["status"] == "pass", f"a box that changes nothing: {found['PATH-001']}")
    with Box(port, port, up=mask, down=mask):
        found = told(world, *quick)
        expect(found, "masked")
        check(found["STRIP-001"]["status"] == "fail", f"masked: {found['STRIP-001']}")
    with Box(port, port, up=strip_up, down=strip_down):
        expect(told(world, *quick, both=True), "stripped")
        check(told(world, *quick)["PATH-001"]["status"] == "info", "from one place stripping cannot be told")
    with Scripted(Pki(world.new_folder("inspector"))) as inspector, Box(port, inspector.port):
        found = told(world, *quick, both=True)
        expect(found, "replaced certificate")
        check(found["CERT-CHAIN"]["status"] == "fail", f"replaced: {found['CERT-CHAIN']}")
    with Box(port, port, up=clamp):
        expect(told(world, "--timeout", "4"), "version clamp")
    with Box(port, port, up=drop_large):
        found = told(world, "--timeout", "3")
        expect(found, "large hello dropped")
        check(found["TLS-INTOL"]["status"] == "fail", f"dropped: {found['TLS-INTOL']}")
