"""What is full: an account's quota, the disk down to its floor, and the disk to its last octet. Clients are told in the standards' words,
nothing acknowledged is lost, and with room again the server goes on as it is."""

import imaplib
import re
import shutil
import smtplib
import ssl
import subprocess
import time
import urllib.request
from pathlib import Path

from world import HOST, Message, Server, Skip, case, check, free_port, run


class OwnServer:
    """A server with a configuration of its own, for `me`."""

    def __init__(self, world, folder, config, *flags):
        self.world = world
        file = Path(folder) / "gatepost.toml"
        file.write_text(config)
        self.server = Server(world.binary, folder, ["me"], ["--config", file, *flags])

    def __enter__(self):
        self.server.start()
        return self

    def __exit__(self, *_):
        self.server.kill()

    def message(self, size):
        """One of about this size."""
        line = b"A line of text that is here to take room, and for nothing else.\r\n"
        return Message("full", "a@sender.test", "me@gatepost.test", line * (size // len(line)))

    def deliver(self, message, size=True):
        """Hands a message over on port 25; the code and the enhanced code of what was answered in the end."""
        with smtplib.SMTP(HOST, self.server.port("smtp"), local_hostname="client.test", timeout=30) as session:
            session.ehlo()
            for command in (f"MAIL FROM:<a@sender.test>{f' SIZE={len(message.content)}' if size else ''}", "RCPT TO:<me@gatepost.test>"):
                code, text = session.docmd(command)
                if code != 250:
                    return code, text.split(b" ")[0].decode()
            code, text = session.docmd("DATA")
            if code == 354:
                session.send(message.content.replace(b"\r\n.", b"\r\n..") + b"\r\n.\r\n")
                code, text = session.getreply()
            return code, text.split(b" ")[0].decode()

    def imap(self):
        context = ssl.create_default_context(cafile=self.server.ca)
        connection = imaplib.IMAP4_SSL(HOST, self.server.port("imaps"), ssl_context=context, timeout=30)
        connection.login("me@gatepost.test", self.server.password_file("me").read_text().strip())
        return connection

    def ids(self):
        """The Message-IDs in INBOX, each message read whole."""
        connection = self.imap()
        connection.select(readonly=True)
        _, parts = connection.uid("FETCH", "1:*", "(BODY.PEEK[])")
        connection.logout()
        whole = [part[1] for part in parts if isinstance(part, tuple)]
        return [re.search(rb"^Message-ID: (<[^>]+>)", content, re.MULTILINE).group(1).decode() for content in whole]


@case("full-quota")
def full_quota(world):
    # RFC 3463 3.3: X.2.2 is a persistent transient failure, for the recipient can make room; RFC 9208 5.1 for IMAP.
    folder = world.new_folder("full-quota")
    with OwnServer(world, folder, "") as here:
        run([world.binary, "account", "quota", "me@gatepost.test", "64 KiB", "--data", here.server.data])
        kept = []
        while len(kept) < 10:
            message = here.message(20_000)
            answer = here.deliver(message)
            if answer[0] != 250:
                break
            kept.append(message.id)
        check(answer == (452, "4.2.2") and len(kept) == 3, f"a full mailbox answered {answer} after {len(kept)} messages")
        connection = here.imap()
        content = here.message(20_000).content
        state, data = connection.append("INBOX", None, None, content)
        check(state == "NO" and data[0].startswith(b"[OVERQUOTA]"), f"APPEND answered {state} {data}")
        connection.create("Other")
        connection.select()
        state, data = connection.copy("1:3", "Other")
        check(state == "NO" and data[0].startswith(b"[OVERQUOTA]"), f"COPY answered {state} {data}")
        check(connection.status("Other", "(MESSAGES)")[1][0].endswith(b"(MESSAGES 0)"), "a refused COPY left something")
        imaplib.Commands["MOVE"] = ("SELECTED",)
        state, data = connection._simple_command("MOVE", "1", "Other")  # pylint: disable=protected-access
        check(state == "OK", f"moving takes no room and answered {data}")
        connection.select("Other")
        connection.store("1", "+FLAGS", r"(\Deleted)")
        check(connection.expunge()[0] == "OK", "what is full cannot be emptied")
        connection.logout()
        message = here.message(20_000)
        check(here.deliver(message) == (250, "2.0.0"), "there is room again and mail is refused")
        check(sorted(here.ids()) == sorted([*kept[1:], message.id]), "not all of what was acknowledged is there once")


@case("full-disk-floor")
def disk_floor(world):
    """The floor is so high that the disk is below it from the start."""
    folder = world.new_folder("full-floor")
    with OwnServer(world, folder, f'[mailbox]\ndisk_floor = "{shutil.disk_usage(folder).total // 2**20} MiB"\n') as here:
        answer = here.deliver(here.message(2_000))
        check(answer == (452, "4.3.1"), f"SMTP answered {answer}")
        connection = here.imap()
        state, data = connection.append("INBOX", None, None, here.message(2_000).content)
        check(state == "NO" and data[0].startswith(b"[UNAVAILABLE]"), f"APPEND answered {state} {data}")
        connection.logout()
        check(here.ids() == [], "something was kept")


class SmallDisk:
    """A file system of a few MiB: ext4 in a file, and where that cannot be had, memory. Something lies in it that can be taken away."""

    def __init__(self, folder):
        self.folder = Path(folder)
        image = self.folder.with_suffix(".image")
        made = f"truncate -s 16M {image} && mkfs.ext4 -q -m 0 {image} && mount -o loop {image} {folder}"
        done = subprocess.run(["sh", "-c", f"({made}) || mount -t tmpfs -o size=12m tmpfs {folder}"], capture_output=True, check=False)
        if done.returncode != 0:
            raise Skip("mounting a small file system needs root")
        (self.folder / "ballast").write_bytes(bytes(5 << 20))

    def make_room(self):
        (self.folder / "ballast").unlink()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        subprocess.run(["umount", "-l", self.folder], check=False)


@case("full-disk")
def full_disk(world):
    """Data, log and all on one small disk, with no floor: it is full to the last octet."""
    folder = world.new_folder("full-disk")
    with SmallDisk(folder) as disk:
        metrics = f"127.0.0.1:{free_port()}"
        config = f'[mailbox]\ndisk_floor = "0"\n[metrics]\nlisten = "{metrics}"\n'
        with OwnServer(world, folder, config) as here:
            kept, refused = [], []
            while len(refused) < 30 and len(kept) < 2000:
                message = here.message(300_000 if (len(kept) + len(refused)) % 5 == 4 else 30_000)
                answer = here.deliver(message, size=False)
                (kept if answer[0] == 250 else refused).append((message.id, answer))
                if answer[0] != 250 and len(refused) == 1:
                    # What is left goes too: the log has no room either.
                    fill(folder / "filler")
            check(len(kept) > 10 and len(refused) == 30, f"{len(kept)} kept, {len(refused)} refused")
            wrong = {answer for _, answer in refused} - {(452, "4.3.1")}
            check(not wrong, f"a full disk answered {wrong}")
            check(set(here.ids()) == {message_id for message_id, _ in kept}, "on a full disk: not all of what was acknowledged is there")
            connection = here.imap()
            connection.select()
            state, data = connection.append("INBOX", None, None, here.message(30_000).content)
            check(state == "NO", f"APPEND to a full disk answered {state} {data}")
            connection.logout()
            page = urllib.request.urlopen(f"http://{metrics}/metrics", timeout=10).read().decode()
            check('event="disk_full"' in page, "the metrics do not say that the disk is full")
            # Room again: the server that runs goes on, and so does its log.
            (folder / "filler").unlink()
            disk.make_room()
            message = here.message(30_000)
            deadline = time.monotonic() + 20
            while (answer := here.deliver(message)) != (250, "2.0.0"):
                check(time.monotonic() < deadline, f"with room again mail is refused: {answer}")
                time.sleep(0.1)
            kept.append((message.id, answer))
            found = here.ids()
            check(sorted(found) == sorted(message_id for message_id, _ in kept), "not all of what was acknowledged is there once")
            check(here.server.logged("log lines were lost"), f"the log does not say what it lost: {here.server.last_words()}")
            code, _ = here.server.terminate()
            check(code == 0, f"the server ended with {code}")
            here.server.start()
            check(sorted(here.ids()) == sorted(found), "after a restart something else is there")
            run([world.binary, "mailbox", "check", "--data", here.server.data])


def fill(path):
    """Takes all that is left on a disk."""
    with open(path, "wb", buffering=0) as file:
        size = 1 << 16
        while size:
            try:
                file.write(b"x" * size)
            except OSError:
                size //= 2
