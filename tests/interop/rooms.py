"""Rooms: servers that cannot be installed beside each other, each in a copy of the system of its own.

A room is an overlay over the running system in which packages are installed by apt as usual. The system itself is not changed: what the
installation and the servers write is in the room's folder. A room is made once and kept; its servers see the network of the host.

A room of another release stands on a system of its own, which lies in the room's folder too.
"""

import os
import shutil
import subprocess
from pathlib import Path

from world import Skip

ROOMS = Path("/var/tmp/gatepost-interop-rooms")

ENTER = """
set -e
mount --make-rprivate /
mount -t overlay overlay -o lowerdir={lower},upperdir={room}/upper,workdir={room}/work {room}/root
mount -t proc proc {room}/root/proc
mount --rbind /dev {room}/root/dev
mount -t tmpfs tmpfs {room}/root/run
"""


# Hardly anything needs a terminal, a manual or the tools of an installed system.
BOOTSTRAP = ["mmdebstrap", "--quiet", "--mode=root", "--variant=essential", "--aptopt=APT::Install-Recommends \"false\"", "--dpkgopt=path-exclude=/usr/share/locale/*"]


def begun(name):
    """The empty folder of a room; None when the room is there."""
    if os.geteuid() != 0 or shutil.which("apt-get") is None or shutil.which("unshare") is None:
        raise Skip("rooms need root, apt and unshare")
    room = ROOMS / name
    if (room / "made").exists():
        return None
    shutil.rmtree(room, ignore_errors=True)
    for part in ("upper", "work", "root"):
        (room / part).mkdir(parents=True)
    return room


def ended(room, command):
    """Carries out what makes the room."""
    done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, timeout=400)
    if done.returncode != 0:
        raise Skip(f"the room {room.name} could not be made: {(done.stdout + done.stderr)[-300:].decode(errors='replace')}")
    (room / "made").touch()


def entered(room):
    """The shell lines that put the room together."""
    base = room / "base"
    return ENTER.format(room=room, lower=base if base.exists() else "/")


def made(name, packages):
    """The folder of a room with these packages; made when it is not there."""
    if room := begun(name):
        install = f"""{entered(room)}
cat > {room}/root/usr/sbin/policy-rc.d <<'END'
#!/bin/sh
exit 101
END
chmod +x {room}/root/usr/sbin/policy-rc.d
chroot {room}/root env DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends install {' '.join(packages)}
"""
        ended(room, ["unshare", "-m", "sh", "-c", install])
    return ROOMS / name


def of_release(release, packages):
    """The folder of a room with these packages of another release; made when it is not there."""
    if shutil.which(BOOTSTRAP[0]) is None:
        raise Skip("mmdebstrap is not installed")
    if room := begun(release):
        ended(room, [*BOOTSTRAP, f"--include={','.join(packages)}", release, room / "base"])
    return ROOMS / release


def command(room, folder, script):
    """The command that runs a shell script in a room, one at a time; the folder is the same inside and outside."""
    inside = Path(folder) / "start.sh"
    inside.write_text(script)
    return ["unshare", "-m", "--kill-child", "--fork", "--pid", "--mount-proc", "sh", "-c", f"""{entered(room)}
mkdir -p {room}/root{folder}
mount --bind {folder} {room}/root{folder}
exec chroot {room}/root sh {inside}
"""]
