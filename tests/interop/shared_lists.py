"""A list that several machines share through a real PostgreSQL: each line once, whoever dies, and whatever becomes of the database."""

import collections
import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

from ours import gatepost
from servers import Pki, free_port, listens
from world import Skip, case, check

PASSWORD = "of-the-database"
LINES = 240


def programs():
    """The folder of the server's programs, which Debian does not put on the path."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        raise Skip("PostgreSQL is not installed")
    return found[-1].parent


class Postgres:
    """A cluster of its own, run by a user who is not root, as the server demands. It takes a password, and speaks TLS as well."""

    def __init__(self, world):
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
        self.process = None
        self.start()

    def command(self, name, *words):
        return ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", str(self.bin / name), *map(str, words)]

    def as_nobody(self, name, *words):
        done = subprocess.run(self.command(name, *words), capture_output=True, cwd=self.folder, timeout=120)
        check(done.returncode == 0, f"{name}: {done.stderr.decode(errors='replace')[-800:]}")

    def start(self):
        words = ["-D", self.data, "-p", self.port, "-c", f"unix_socket_directories={self.folder / 'run'}", "-c", "listen_addresses=127.0.0.1",
                 "-c", "ssl=on", "-c", "fsync=off"]
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
    """What the database has, held against the list."""
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
