"""A list that several machines share through a real PostgreSQL: each line once, whoever dies, and whatever becomes of the database."""

import collections
import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

from ours import gatepost
from servers import Pki, listens
from web import until
from world import Skip, case, check, free_port

PASSWORD = "of-the-database"
LINES = 240


def programs():
    """The folder of the server's programs, which Debian does not put on the path."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        raise Skip("PostgreSQL is not installed")
    return found[-1].parent


class Postgres:
    """A cluster of its own, run by a user who is not root, as the server demands. It takes a password, and speaks TLS as well if asked to."""

    def __init__(self, world, tls=True, address="127.0.0.1"):
        if os.geteuid() != 0:
            raise Skip("the database's server runs as another user, which only root can arrange")
        self.bin, self.folder = programs(), world.new_folder("postgres")
        self.pki = Pki(world.new_folder("postgres-pki"))
        for part in (world.folder, self.folder):
            part.chmod(0o755)
        self.port, self.data, self.log = free_port(), self.folder / "data", self.folder / "log"
        for place in (self.data, self.folder / "run"):
            place.mkdir(mode=0o700)
            shutil.chown(place, "nobody")
        secret = self.folder / "secret"
        secret.write_text(PASSWORD + "\n")
        self.as_nobody("initdb", "-D", self.data, "-U", "anna", "-E", "UTF8", "--locale=C", "-A", "scram-sha-256", "--pwfile", secret)
        for name, file in (("server.crt", self.pki.cert), ("server.key", self.pki.key)):
            shutil.copy(file, self.data / name)
            shutil.chown(self.data / name, "nobody")
            (self.data / name).chmod(0o600)
        self.environment = {**os.environ, "PGPASSWORD": PASSWORD}
        self.process, self.tls, self.address = None, tls, address
        self.start()

    def command(self, name, *words):
        return ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", str(self.bin / name), *map(str, words)]

    def as_nobody(self, name, *words):
        done = subprocess.run(self.command(name, *words), capture_output=True, cwd=self.folder, timeout=120)
        check(done.returncode == 0, f"{name}: {done.stderr.decode(errors='replace')[-800:]}")

    def start(self):
        words = ["-D", self.data, "-p", self.port, "-c", f"unix_socket_directories={self.folder / 'run'}", "-c", f"listen_addresses=127.0.0.1,{self.address}",
                 "-c", f"ssl={'on' if self.tls else 'off'}", "-c", "fsync=off"]
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(self.command("postgres", *words), stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder)
        listens(self.port, self.process, self.log)

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        self.process.wait(timeout=30)

    def url(self, more="", host="127.0.0.1"):
        return f"postgres://anna@{host}:{self.port}/postgres{more}"

    def sql(self, text):
        done = subprocess.run(["psql", "-h", "127.0.0.1", "-p", str(self.port), "-U", "anna", "-At", "-c", text, "postgres"], env=self.environment,
                              capture_output=True, text=True, timeout=60)
        check(done.returncode == 0, done.stderr)
        return done.stdout.split()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.stop()


def begin(world, database, *flags):
    """A machine."""
    words = [world.binary, "check", "--share", database.url(), "--role", "mx", "--tier", "light", "--ca", world.ca, "--timeout", "20", *flags]
    return subprocess.Popen([str(it) for it in words], env=database.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE)


def write_list(world, name):
    """Lines that differ, to services of ours: an address and its port, each line another address of loopback."""
    file = world.new_folder(name) / "hosts.txt"
    port = world.port("smtp")
    lines = [f"smtp://127.{number // 200}.{number % 200}.1:{port}" for number in range(1, LINES + 1)]
    file.write_text("# a remark\n\n" + "\n".join(lines) + "\n")
    return file, [str(it) for it in lines]


def ended(machine, seconds=120):
    out, err = machine.communicate(timeout=seconds)
    return machine.returncode, out, err.decode(errors="replace")


def results(world, database, name, inputs):
    """What the database has, held against the list: each line once, in the order of the lines, and counted once."""
    done = gatepost(world, "check", "--share", database.url(), "--share-name", name, "--results", expect=None, env=database.environment)
    documents = [json.loads(line) for line in done.stdout.splitlines()]
    counted = collections.Counter(it["input"] for it in documents)
    check([it["input"] for it in documents] == inputs, f"{len(documents)} documents, {len(inputs)} lines, twice: {counted.most_common(2)}")
    check([it["line"] for it in documents] == list(range(3, len(inputs) + 3)), "lines are not in their order")
    text = done.stderr.decode()
    check(f"{len(inputs)} lines: " in text, f"the counts are not those of the documents: {text[:300]}")
    check(PASSWORD not in text, "the password is told")
    return documents


def shares(database, name):
    """How many lines each run stored."""
    return [int(it) for it in database.sql(
        "SELECT count(*) FROM gatepost_check_lines l JOIN gatepost_check_lists s ON s.id = l.list "
        f"WHERE s.name = '{name}' AND done IS NOT NULL GROUP BY machine ORDER BY 1")]


@case("check-shared-list", "psql", "setpriv")
def shared(world):
    with Postgres(world) as database:
        file, inputs = write_list(world, "shared")
        both = [begin(world, database, "--list", file, "--share-name", "both", "--in-flight", "12") for _ in range(2)]
        for code, out, err in map(ended, both):
            check(code in (0, 1) and not out and f"{LINES} lines: " in err, f"exit {code}: {err[-600:]}")
        results(world, database, "both", inputs)
        check(len(shares(database, "both")) == 2, f"one did it all: {shares(database, 'both')}")
        killed(world, database, file, inputs)
        away(world, database, file, inputs)
        refused(world, database, file)


def some_done(database, name, least):
    """Waits until so many lines are done."""
    until(lambda: database.sql("SELECT 1 FROM pg_tables WHERE tablename = 'gatepost_check_lines'"), "there are no tables")
    deadline = time.monotonic() + 60
    while sum(shares(database, name)) < least:
        check(time.monotonic() < deadline, f"no progress: {shares(database, name)}")
        time.sleep(0.05)


def killed(world, database, file, inputs):
    """One dies in the middle: the other does its lines when their lease has ended."""
    dies = begin(world, database, "--list", file, "--share-name", "dies", "--lease", "5", "--in-flight", "20")
    deadline = time.monotonic() + 60
    while not database.sql("SELECT 1 FROM pg_tables WHERE tablename = 'gatepost_check_lines'") or not shares(database, "dies"):
        check(time.monotonic() < deadline and dies.poll() is None, "it ended before it was ended")
        time.sleep(0.02)
    dies.kill()
    dies.wait()
    held = int(database.sql("SELECT count(*) FROM gatepost_check_lines WHERE lease IS NOT NULL AND done IS NULL")[0])
    check(held > 0, "nothing was under way when it was killed, so nothing was tried")
    code, _, err = ended(begin(world, database, "--share-name", "dies", "--lease", "5", "--in-flight", "20"))
    check(code in (0, 1), f"exit {code}: {err[-600:]}")
    results(world, database, "dies", inputs)


def away(world, database, file, inputs):
    """The database goes away and comes back: nothing is lost, nothing is there twice."""
    machine = begin(world, database, "--list", file, "--share-name", "away", "--in-flight", "20")
    some_done(database, "away", 1)
    database.stop()
    time.sleep(2)
    check(machine.poll() is None, "it gave up")
    database.start()
    code, _, err = ended(machine)
    check(code in (0, 1) and "it is tried again" in err and "is back" in err, f"exit {code}: {err[-600:]}")
    results(world, database, "away", inputs)


def refused(world, database, file):
    """What cannot go on says who is at fault and what to do; a password is never told."""
    def run(*flags, code, say, url=None, password=PASSWORD):
        env = {**database.environment, "PGPASSWORD": password}
        done = gatepost(world, "check", "--share", url or database.url(), *flags, expect=None, env=env)
        text = done.stderr.decode()
        check(done.returncode == code and say in text, f"exit {done.returncode} instead of {code}, without {say!r}: {text}")
        check(password not in text and PASSWORD not in text, f"a password is told: {text}")

    tls = database.url("?sslmode=require", "localhost")
    run("--results", "--share-name", "both", code=2, say="PGPASSWORD", password="not-the-one")
    run("--results", "--share-name", "nowhere", code=2, say="has no list")
    run("--list", file, "--share-name", "both", "--role", "mx", code=2, say="--tier light")
    run("--results", code=3, say="trusted authority", url=tls)
    run("--results", "--ca", database.pki.ca, code=2, say="has no list", url=tls)
    run("--results", code=2, say="this machine alone", url="postgres://anna@db.example.test/lists?sslmode=disable")
    other = file.parent / "other.txt"
    other.write_text(file.read_text().replace(".1:", ".2:", 1))
    run("--list", other, "--share-name", "both", "--role", "mx", "--tier", "light", code=2, say="another list")
    database.sql("UPDATE gatepost_check_schema SET version = 99")
    run("--results", code=3, say="version 99")


class Holding:
    """A server at addresses of this machine that says nothing until it lets go: what is looked at here is under way."""

    def __init__(self, addresses):
        self.port, self.sockets, self.held, self.has_let_go = 0, [], [], False
        for address in addresses:
            listening = socket.create_server((address, self.port))
            self.port = listening.getsockname()[1]
            self.sockets.append(listening)
            threading.Thread(target=self.accept, args=(listening,), daemon=True).start()

    def accept(self, listening):
        try:
            while True:
                connection, _ = listening.accept()
                self.held.append(connection)
                if self.has_let_go:
                    self.let_go()
        except OSError:
            pass

    def let_go(self):
        self.has_let_go = True
        while self.held:
            self.held.pop().close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.let_go()
        for listening in self.sockets:
            # A thread that waits in accept would keep a socket that is only closed.
            listening.shutdown(socket.SHUT_RDWR)
            listening.close()


@case("check-shared-list-stopped", "psql", "setpriv")
def stopped(world):
    with Postgres(world) as database:
        for number in (signal.SIGINT, signal.SIGTERM):
            stopped_by(world, database, number)


def stopped_by(world, database, number):
    """Who is asked to end stores what is done and gives back what is under way, at once; whoever is left does it. Leases are long: nothing
    here waits for one to end."""
    name, count = number.name, 32
    with Holding([f"127.0.{line}.1" for line in range(0, count, 2)]) as holding:
        ports = [holding.port if line % 2 == 0 else world.port("smtp") for line in range(count)]
        inputs = [f"smtp://127.0.{line}.1:{port}" for line, port in enumerate(ports)]
        # Lines are numbered from 3 on, as results() wants them.
        file = world.new_folder(name) / "hosts.txt"
        file.write_text("# a remark\n\n" + "\n".join(inputs) + "\n")
        flags = ["--share-name", name, "--in-flight", "8", "--lease", "600"]
        leaves = begin(world, database, "--list", file, *flags)
        some_done(database, name, 1)
        stays = begin(world, database, *flags)
        claimed = "SELECT count(*) FROM gatepost_check_lines l JOIN gatepost_check_lists s ON s.id = l.list " \
                  f"WHERE s.name = '{name}' AND l.done IS NULL AND l.lease > now() AND l.machine "
        mine = database.sql(f"SELECT machine FROM gatepost_check_lines l JOIN gatepost_check_lists s ON s.id = l.list WHERE s.name = '{name}' AND done IS NOT NULL LIMIT 1")[0]
        # Nothing moves any more: a machine with one place left of its eight waits for another.
        until(lambda: len(holding.held) >= 14, "what is claimed is not looked at")
        held = [int(database.sql(claimed + f"{how} '{mine}'")[0]) for how in ("=", "<>")]
        check(min(held) >= 7, f"{held} lines are under way")
        check(leaves.poll() is None, "it ended before it was asked to")
        before = time.monotonic()
        leaves.send_signal(number)
        code, out, err = ended(leaves, 30)
        took = time.monotonic() - before
        check(code == 3 and not out and "what was under way is given back" in err, f"{name}: exit {code}: {err[-600:]}")
        check(took < 5, f"{name}: it took {took:.1f} s to end")
        left = int(database.sql(f"SELECT count(*) FROM gatepost_check_lines WHERE machine = '{mine}' AND done IS NULL")[0])
        check(left == 0, f"{name}: {left} lines are still claimed by who has left")
        there = database.sql(f"SELECT count(*) FROM gatepost_check_machines m JOIN gatepost_check_lists s ON s.id = m.list WHERE s.name = '{name}' AND seen > now() - interval '600 s'")
        check(there == ["1"], f"{name}: {there} machines share the rates, and one is left")
        holding.let_go()
        code, _, err = ended(stays, 60)
        check(code in (0, 1, 3) and f"{count} lines: " in err, f"{name}: exit {code}: {err[-600:]}")
        results(world, database, name, inputs)
        parts = shares(database, name)
        check(len(parts) == 2 and min(parts) > 0, f"{name}: the lines were done by {parts}")


def own_address():
    """An address of this machine that is not loopback. Nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
            address = probe.getsockname()[0]
        except OSError:
            raise Skip("this machine has no address but loopback") from None
    if address.startswith("127."):
        raise Skip("this machine has no address but loopback")
    return address


class Liar:
    """Answers the question for TLS with what it was given, and writes down all it hears."""

    def __init__(self, address, answer):
        self.socket, self.answer, self.heard = socket.create_server((address, 0)), answer, b""
        self.port = self.socket.getsockname()[1]
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        connection, _ = self.socket.accept()
        with connection:
            connection.settimeout(20)
            try:
                self.heard += connection.recv(8)
                connection.sendall(self.answer)
                while more := connection.recv(4096):
                    self.heard += more
            except OSError:
                pass

    def words(self):
        self.thread.join(30)
        self.socket.close()
        return self.heard


@case("check-shared-list-no-tls", "psql", "setpriv")
def no_tls(world):
    """Over a network nothing is told in clear, whatever the database or somebody on the path answers."""
    address = own_address()

    def run(url, code, say):
        done = gatepost(world, "check", "--share", url, "--results", expect=None, env={"PGPASSWORD": PASSWORD})
        text = done.stderr.decode()
        check(done.returncode == code and say in text, f"{url}: exit {done.returncode} instead of {code}, without {say!r}: {text}")

    with Postgres(world, tls=False, address=address) as database:
        for more in ("", "?sslmode=prefer", "?sslmode=allow", "?sslmode=require", "?sslmode=verify-full"):
            run(database.url(more, address), 3, "speaks no TLS, and over a network nothing is told in clear: set ssl = on")
        run(database.url("?sslmode=disable", address), 2, "this machine alone")
        # The name says here, the address does not.
        run(database.url(f"?hostaddr={address}", "localhost"), 3, "speaks no TLS")
        run(database.url("?sslmode=require"), 3, "speaks no TLS")
        # On this machine there is no path that somebody could stand on.
        run(database.url(), 2, "has no list")
        run(f"postgres://anna@/postgres?host={database.folder / 'run'}&port={database.port}", 2, "has no list")
        check(database.sql("SELECT count(*) FROM pg_tables WHERE tablename = 'gatepost_check_lines'") == ["1"], "it did not get to its tables")
    question = bytes.fromhex("0000000804d2162f")
    for answer in (b"N", b"E" + b"\0\0\0\x10SFATAL\0Mgo\0\0", b"R\0\0\0\x08\0\0\0\x03"):
        liar = Liar(address, answer)
        run(f"postgres://anna@{address}:{liar.port}/postgres", 3, "no TLS")
        check(liar.words() == question, f"{answer[:1]}: more was told in clear than the question for TLS: {liar.words()}")
    # Yes, and in the same breath words in clear, which are not believed: they are the beginning of the handshake, and no good one.
    liar = Liar(address, b"S" + b"R\0\0\0\x08\0\0\0\0")
    run(f"postgres://anna@{address}:{liar.port}/postgres", 3, "the database at")
    heard = liar.words()
    check(heard[:9] == question + b"\x16" and PASSWORD.encode() not in heard and b"anna" not in heard, f"told in clear: {heard}")


# Names that fail at once: nothing is asked over a network, so what is measured is the list. Each document takes about 500 octets.
MANY = 50_000
IN_FLIGHT = 500


@case("check-shared-list-memory", "psql", "setpriv")
def memory(world):
    """A long list takes no more memory towards its end than at its beginning, and no more rows are held than may be under way."""
    with Postgres(world) as database:
        file = world.new_folder("many") / "hosts.txt"
        file.write_text("".join(f"no name {number}\n" for number in range(MANY)))
        machine = begin(world, database, "--list", file, "--share-name", "many", "--in-flight", str(IN_FLIGHT))
        seen = []
        while machine.poll() is None:
            if point := progress(database):
                seen.append((*point, resident(machine.pid)))
            time.sleep(0.1)
        code, _, err = ended(machine)
        check(code == 3 and f"{MANY} lines: " in err, f"exit {code}: {err[-600:]}")
        early = [kilobytes for done, _, kilobytes in seen if 0 < done < MANY // 5]
        late = [kilobytes for done, _, kilobytes in seen if done > MANY // 2]
        check(early and late, f"it was too fast to be looked at: {seen}")
        check(max(late) - max(early) < 2048, f"memory grew from {max(early)} to {max(late)} KiB while {MANY} lines were done")
        most = max(held for _, held, _ in seen)
        check(0 < most <= IN_FLIGHT, f"{most} rows were held at once")
        print(f"         {MANY} lines: at most {max(early)} KiB in the first fifth, {max(late)} in the second half, {most} rows held", flush=True)


def progress(database):
    """How many lines are done, and how many are held; none before there is a table."""
    if not database.sql("SELECT 1 FROM pg_tables WHERE tablename = 'gatepost_check_lines'"):
        return None
    done, held = database.sql(
        "SELECT count(*) FILTER (WHERE done IS NOT NULL) || ' ' || count(*) FILTER (WHERE done IS NULL AND lease IS NOT NULL) FROM gatepost_check_lines")
    return int(done), int(held)


def resident(pid):
    """What a process has in memory, in KiB; 0 when it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("VmRSS:")), 0)
