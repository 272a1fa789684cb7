#!/usr/bin/env python3
"""Runs the server against real mail programs and live attacks.

usage: run.py --binary PATH [--keep] [--list] [--no-install] [PATTERN]...

PATTERN picks cases by name (`curl-*`). The last line is `N passed, N failed` with `, N skipped` if there were any.
"""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

import attacks
import canaries  # noqa: F401  (registers its cases)
import checks  # noqa: F401
import client_files  # noqa: F401
import clients  # noqa: F401
import configs  # noqa: F401
import faults  # noqa: F401
import fetchers  # noqa: F401
import floors  # noqa: F401
import full  # noqa: F401
import gate_dsn  # noqa: F401
import gate_exchange  # noqa: F401
import gate_external  # noqa: F401
import gate_mail  # noqa: F401
import gate_others  # noqa: F401
import gate_trouble  # noqa: F401
import gate_upstreams  # noqa: F401
import install
import introduced  # noqa: F401
import keeping  # noqa: F401
import later  # noqa: F401
import life  # noqa: F401
import middlebox  # noqa: F401
import oauth  # noqa: F401
import old_clients  # noqa: F401
import opinions  # noqa: F401
import ours  # noqa: F401
import policies  # noqa: F401
import reloads  # noqa: F401
import reports  # noqa: F401
import routes  # noqa: F401
import servers  # noqa: F401
import shared_lists  # noqa: F401
import takeover  # noqa: F401
import two_way  # noqa: F401
import watching  # noqa: F401
import web  # noqa: F401
import world


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--binary", required=True, help="the program under test")
    parser.add_argument("--keep", action="store_true", help="keep the folder with mail, configuration and the server's log")
    parser.add_argument("--list", action="store_true", help="print the names of the cases")
    parser.add_argument("--no-install", action="store_true", help="install nothing")
    parser.add_argument("patterns", nargs="*")
    options = parser.parse_args()
    if options.list:
        print("\n".join(name for name, _, _ in world.CASES))
        return 0
    install.find_environment()
    if not options.no_install:
        install.install_missing()
    folder = Path(tempfile.mkdtemp(prefix="gatepost-interop."))
    failed = 1
    here = None
    try:
        here = world.World(Path(options.binary).resolve(), folder)
        passed, failed, skipped = world.run_cases(here, options.patterns)
        print(f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
    finally:
        if here is not None:
            here.server.kill()
        if failed:
            log = next(folder.glob("server.*/server.log"), None)
            if log is not None:
                print(f"the end of the server's log:\n{log.read_text(errors='replace')[-3000:]}", file=sys.stderr)
        if options.keep:
            print(f"kept: {folder}", file=sys.stderr)
        else:
            shutil.rmtree(folder, ignore_errors=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
