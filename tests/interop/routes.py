"""The gate's routes: which upstream a user comes to, and that nobody comes to another's when it cannot be told."""

import http.server
import imaplib
import socketserver
import threading
import time

from gate import Gate, Scripted, imap_play
from servers import PASSWORD
from world import case, check

USERS = [f"user{number}@example.test" for number in range(12)]


def login(gate, user, expect=True):
    """Logs in; what the gate says to one it cannot route."""
    connection = gate.imap(login=False)
    try:
        connection.login(user, PASSWORD)
        check(expect, f"{user} was let in")
        connection.logout()
        return ""
    except imaplib.IMAP4.error as error:
        check(not expect, f"{user}: {error}")
        return str(error)


def users_at(upstream):
    """Who has been there: the gate passes the login on as PLAIN."""
    import base64
    import re

    found = set()
    for word in re.findall(rb"AUTHENTICATE PLAIN ([A-Za-z0-9+/=]+)", upstream.heard):
        found.add(base64.b64decode(word).split(b"\0")[1].decode())
    return found


def upstreams(first, second, more=("", "")):
    return [f"imap://127.0.0.1:{first.port}?{more[0]}", f"imap://127.0.0.1:{second.port}?{more[1]}"]


def nobody_elsewhere(first, second, gate, user):
    """One who cannot be routed may try again, and no upstream has seen the password."""
    words = login(gate, user, expect=False)
    check("UNAVAILABLE" in words, f"{user}: {words}")
    check(user not in users_at(first) | users_at(second), f"{user} has been to an upstream")


@case("route-table")
def route_table(world):
    table = world.new_folder("routes") / "table"
    table.write_text(f"{USERS[0]} a\n@example.test b\n")
    with Scripted(imap_play()) as a, Scripted(imap_play()) as b:
        with Gate(world, *upstreams(a, b, ("group=a", "group=b")), flags=("--route", f"table:{table}")) as gate:
            for user in USERS[:4]:
                login(gate, user)
            check(users_at(a) == {USERS[0]} and users_at(b) == set(USERS[1:4]), f"{users_at(a)} {users_at(b)}")
            nobody_elsewhere(a, b, gate, "anna@elsewhere.test")
            # A changed file counts without a signal; one that is wrong does not.
            table.write_text(f"{USERS[5]} a\n")
            time.sleep(1.2)
            login(gate, USERS[5])
            check(USERS[5] in users_at(a), "the new table is not read")
            table.write_text("what is this supposed to mean\n")
            time.sleep(1.2)
            login(gate, USERS[5])
            check(gate.logged("route_table_unreadable"), "nobody was told of the wrong table")
            nobody_elsewhere(a, b, gate, USERS[6])
            table.write_text(f"{USERS[6]} b\n")
            time.sleep(1.2)
            login(gate, USERS[6])
            check(gate.logged("route_table_read"), "nobody was told that the table is well again")


@case("route-hash")
def route_hash(world):
    with Scripted(imap_play()) as a, Scripted(imap_play()) as b:
        with Gate(world, *upstreams(a, b), flags=("--route", "hash")) as gate:
            for user in USERS:
                login(gate, user)
            first, second = users_at(a), users_at(b)
            check(first and second and not first & second and first | second == set(USERS), f"{first} {second}")
            for user in USERS:
                login(gate, user.upper())
            again = {user.lower() for user in users_at(a)}, {user.lower() for user in users_at(b)}
            check(again == (first, second), f"users moved: {again}")


@case("route-services")
def route_services(world):
    """A socketmap and a service of nginx's kind, with right answers, wrong ones and none."""
    with Scripted(imap_play()) as a, Scripted(imap_play()) as b:
        answers = {USERS[0]: "OK a", USERS[1]: "OK b", USERS[2]: "NOTFOUND ", USERS[3]: "OK c", USERS[4]: "PERM no"}

        class Map(socketserver.StreamRequestHandler):
            def handle(self):
                length = b""
                while not length.endswith(b":"):
                    length += self.rfile.read(1)
                key = self.rfile.read(int(length[:-1]) + 1)[:-1].decode().split(" ", 1)[1]
                answer = answers.get(key, "OK 127.0.0.1:1")
                self.wfile.write(f"{len(answer)}:{answer},".encode())

        with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Map) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            place = f"socketmap:127.0.0.1:{server.server_address[1]}:users"
            with Gate(world, *upstreams(a, b, ("group=a", "group=b")), flags=("--route", place)) as gate:
                login(gate, USERS[0])
                login(gate, USERS[1])
                check(users_at(a) == {USERS[0]} and users_at(b) == {USERS[1]}, f"{users_at(a)} {users_at(b)}")
                for user in USERS[2:6]:
                    nobody_elsewhere(a, b, gate, user)
                server.shutdown()
                server.server_close()
                nobody_elsewhere(a, b, gate, USERS[7])
                check(gate.logged("upstream_unrouted"), "nobody was told")
        seen = []

        class Nginx(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                seen.append(dict(self.headers.items()))
                port = a.port if self.headers["Auth-User"] == USERS[8] else 1
                self.send_response(200)
                for name, value in (("Auth-Status", "OK"), ("Auth-Server", "127.0.0.1"), ("Auth-Port", str(port))):
                    self.send_header(name, value)
                self.end_headers()

            def log_message(self, *_):
                pass

        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Nginx) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            with Gate(world, *upstreams(a, b), flags=("--route", f"http://127.0.0.1:{server.server_address[1]}/auth")) as gate:
                login(gate, USERS[8])
                check(USERS[8] in users_at(a), f"{users_at(a)}")
                nobody_elsewhere(a, b, gate, USERS[9])
            check(seen and all(PASSWORD not in str(headers) for headers in seen), "the service was told the password")
            server.shutdown()
