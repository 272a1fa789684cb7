"""Installs the programs the tests hold ours against, when it can: as root, on a system with apt.

Run by itself it says which are missing; its last line is `N passed, N failed` with `, N skipped` if there were any.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

# Program to look for, and the Debian package it comes in.
PROGRAMS = {
    "openssl": "openssl",
    "ldns-signzone": "ldnsutils",
    "nsd": "nsd",
    "unbound": "unbound",
    "curl": "curl",
    "swaks": "swaks",
    "msmtp": "msmtp",
    "mbsync": "isync",
    "fetchmail": "fetchmail",
    "getmail": "getmail6",
    "neomutt": "neomutt",
    "postfix": "postfix",
    "dovecot": "dovecot-imapd",
    "knotd": "knot",
    "kzonecheck": "knot-dnssecutils",
    "gnutls-serv": "gnutls-bin",
    "sslscan": "sslscan",
    "nmap": "nmap",
    "testssl": "testssl.sh",
    "chromedriver": "chromium-driver",
    "mmdebstrap": "mmdebstrap",
    "offlineimap": "offlineimap3",
    "aerc": "aerc",
    "tshark": "tshark",
    "psql": "postgresql",
}
# Program to look for, and what pip calls the package it comes in; they get an environment of their own.
BY_PIP = {"sslyze": "sslyze==6.3.1"}
ENVIRONMENT = Path("/var/tmp/gatepost-interop-python")
# Perl's TLS, which swaks only recommends; the other protocols.
WITH = {"swaks": ["libnet-ssleay-perl"], "dovecot": ["dovecot-pop3d", "dovecot-lmtpd", "dovecot-managesieved"]}
# What asks, and must not: servers get their configuration from the tests.
ANSWERS = "postfix postfix/main_mailer_type select No configuration\n"


def install_missing():
    """Installs what is missing; what cannot be installed is named by the cases that are skipped."""
    install_by_apt()
    install_by_pip()


def find_environment():
    """Lets programs installed by pip be found, behind all others of their name."""
    os.environ["PATH"] += f"{os.pathsep}{ENVIRONMENT / 'bin'}"


def install_by_pip():
    missing = [package for program, package in BY_PIP.items() if shutil.which(program) is None]
    if not missing:
        return
    for command in ([sys.executable, "-m", "venv", ENVIRONMENT], [ENVIRONMENT / "bin" / "pip", "install", "--quiet", *missing]):
        if not succeeds(command, os.environ):
            return


def install_by_apt():
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if not missing:
        return
    print(f"missing: {', '.join(missing)}", flush=True)
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        print("not root on a system with apt: they are left out", flush=True)
        return
    packages = [PROGRAMS[program] for program in missing] + [extra for program in missing for extra in WITH.get(program, [])]
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    if shutil.which("debconf-set-selections"):
        subprocess.run(["debconf-set-selections"], input=ANSWERS.encode(), capture_output=True, check=False)
    for command in (["apt-get", "-q", "update"], ["apt-get", "-q", "-y", "--no-install-recommends", "install", *packages]):
        if not succeeds(command, environment):
            return


def succeeds(command, environment):
    """Whether a command did what it should; what went wrong is printed."""
    words = " ".join(str(word) for word in command[:3])
    try:
        done = subprocess.run(command, env=environment, capture_output=True, timeout=300, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired) as trouble:
        print(f"{words}: {trouble}", flush=True)
        return False
    if done.returncode != 0:
        print(f"{words} failed: {done.stderr.decode(errors='replace')[-300:]}", flush=True)
    return done.returncode == 0


def main():
    """One test: the programs are there. Each that is not is left out, and so are the tests that need it."""
    find_environment()
    install_missing()
    missing = [program for program in (*PROGRAMS, *BY_PIP) if shutil.which(program) is None]
    if missing:
        print(f"skipped: what needs {', '.join(missing)}")
        print(f"0 passed, 0 failed, {len(missing)} skipped")
    else:
        print("1 passed, 0 failed")


if __name__ == "__main__":
    main()
