"""A new program takes over from a running one: no connection is refused, and what goes wrong leaves the old one as it was."""

import json
import os
import signal
import smtplib
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

from gate import Gate, Scripted, imap_play, smtp_play
from world import HOST, case, check, free_offset


class Callers:
    """Connections one after another, from several threads, each greeted and answered; what was refused or cut off is kept."""

    def __init__(self, port, threads=4, farewells=False):
        """`farewells`: a server that ends may say so."""
        self.port, self.farewells, self.done, self.lock = port, farewells, threading.Event(), threading.Lock()
        self.answered, self.faults = 0, []
        self.threads = [threading.Thread(target=self.call) for _ in range(threads)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.done.set()
        for thread in self.threads:
            thread.join()

    def call(self):
        while not self.done.is_set():
            try:
                with socket.create_connection((HOST, self.port), timeout=60) as connection:
                    words = connection.makefile("rb")
                    fault = self.converse(connection, words.readline(), words)
            except OSError as error:
                fault = str(error)
            with self.lock:
                self.answered += 1
                if fault:
                    self.faults.append(fault)

    def converse(self, connection, greeting, words):
        """What is wrong with the answers."""
        if self.farewells and greeting[:3] in (b"220", b"421"):
            return None
        connection.sendall(b"QUIT\r\n")
        good = greeting.startswith(b"220") and words.readline().startswith(b"221")
        return None if good else f"greeted with {greeting}"

    def some_more(self, count=50):
        """Waits for so many more answers."""
        want, deadline = self.answered + count, time.monotonic() + 60
        while self.answered < want and time.monotonic() < deadline:
            time.sleep(0.01)
        check(self.answered >= want, f"only {self.answered} answers")
        check(not self.faults, f"{len(self.faults)} of {self.answered} failed: {self.faults[:3]}")


def told(server, before, seconds=60):
    """The process that the ready file names, once it is another one."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        pid = json.loads(server.ready_file.read_text())["pid"]
        if pid != before:
            return pid
        time.sleep(0.02)
    check(False, f"nobody has taken over: {server.last_words()}")


def ended(pid, seconds=30):
    """Waits for the end of a process that is not a child of this one."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            # Nobody may have collected it yet.
            if Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
                return
        except (FileNotFoundError, ProcessLookupError):
            return
        check(time.monotonic() < deadline, f"process {pid} does not end")
        time.sleep(0.05)


@case("takeover-by-signal")
def by_signal(world):
    """SIGUSR2: the new process takes the ports, the old one lets its sessions end."""
    with Scripted(smtp_play([])) as mail, Scripted(imap_play()) as mailbox:
        with Gate(world, f"smtp://127.0.0.1:{mail.port}", f"imap://127.0.0.1:{mailbox.port}") as gate:
            first = gate.process.pid
            open_one = gate.imap()
            with Callers(gate.port("smtp")) as callers:
                callers.some_more()
                gate.process.send_signal(signal.SIGUSR2)
                second = told(gate, first)
                check(gate.logged(f"process {second} has taken over"), gate.last_words())
                callers.some_more()
                # The old one serves whom it served, and ends with the last of them.
                check(gate.process.poll() is None and open_one.noop()[0] == "OK", "a session was dropped")
                open_one.logout()
                check(gate.process.wait(timeout=30) == 0, "the old process did not end well")
                check(json.loads(gate.ready_file.read_text())["pid"] == second, "the ready file is gone with the old process")
                # And once more, from the one that has taken over.
                os.kill(second, signal.SIGUSR2)
                third = told(gate, second)
                callers.some_more()
            try:
                connection = gate.imap()
                check(connection.noop()[0] == "OK", "the new process does not serve")
                connection.logout()
                ended(second)
            finally:
                os.kill(third, signal.SIGTERM)
                ended(third)
            check(not gate.ready_file.exists(), "the ready file is still there")
        print(f"         {callers.answered} connections, {len(callers.faults)} refused", flush=True)


@case("takeover-that-fails")
def that_fails(world):
    """A new program that does not start, and one that is not ready: the old one goes on. Mailboxes are not handed over."""
    with Scripted(smtp_play([])) as mail:
        folder = world.new_folder("binary")
        program = folder / "gatepost"
        program.symlink_to(world.binary)
        gate = Gate(world, f"smtp://127.0.0.1:{mail.port}")
        gate.binary = str(program)
        with gate, Callers(gate.port("smtp"), 2) as callers:
            for number, text in enumerate(("#!/bin/sh\nexit 7\n", None)):
                program.unlink()
                if text is not None:
                    program.write_text(text)
                    program.chmod(0o755)
                gate.process.send_signal(signal.SIGUSR2)
                words = ("ended before it was ready", "cannot be started")[number]
                check(gate.logged(words), gate.last_words())
                callers.some_more(20)
            # The right one again, and everything is well.
            program.symlink_to(world.binary)
            before = gate.process.pid
            gate.process.send_signal(signal.SIGUSR2)
            successor = told(gate, before)
            callers.some_more(20)
            check(gate.process.wait(timeout=30) == 0, "the old process did not end")
        os.kill(successor, signal.SIGTERM)
        ended(successor)
    world.server.process.send_signal(signal.SIGUSR2)
    check(world.server.logged("upgrade_refused"), world.server.last_words())
    with smtplib.SMTP(HOST, world.port("smtp"), timeout=30) as session:
        check(session.noop()[0] == 250, "the server with mailboxes does not go on")


@case("takeover-by-service-manager")
def by_service_manager(world):
    """Ports that somebody else holds (LISTEN_FDS, as systemd does): a restart refuses nobody, with mailboxes too; who comes between waits."""
    folder = world.new_folder("held")
    offset = free_offset()
    held = socket.create_server(("127.0.0.1", 25 + offset), backlog=1024)
    # The protocol wants descriptors from 3 on and the process id of the program itself.
    script = f"import os, sys; os.dup2({held.fileno()}, 3); os.environ.update(LISTEN_FDS='1', LISTEN_PID=str(os.getpid())); os.execv(sys.argv[1], sys.argv[1:])"
    command = [sys.executable, "-c", script, world.binary, "serve", "--data", folder / "data", "--bind", "127.0.0.1", "--port-offset", str(offset), "--ready-file", folder / "ready"]

    def start():
        process = subprocess.Popen(command, pass_fds=[held.fileno()], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while not (folder / "ready").exists():
            check(process.poll() is None and time.monotonic() < deadline, f"not ready: {process.poll()}")
            time.sleep(0.02)
        return process

    process = start()
    try:
        with Callers(25 + offset, farewells=True) as callers:
            for _ in range(2):
                callers.some_more(20)
                process.send_signal(signal.SIGTERM)
                check(process.wait(timeout=20) == 0, "SIGTERM did not end it well")
                process = start()
                callers.some_more(20)
    finally:
        process.terminate()
        process.wait(timeout=20)
        held.close()
    print(f"         {callers.answered} connections, {len(callers.faults)} refused", flush=True)
