"""What gatepost check writes: every report is read by a reader of its kind, and the page by a real browser, behind a server that means harm."""

import csv
import io
import json
import signal
import socket
import subprocess
import threading
import time
import urllib.request
import xml.etree.ElementTree
from contextlib import contextmanager
from types import SimpleNamespace

from ours import gatepost
from shared_lists import Holding
from web import Browser, trap, until
from world import case, check, free_port


def check_of(world, *flags, expect=None, stdin=None):
    """One run of the verb; what it said as text."""
    done = gatepost(world, "check", *flags, expect=expect, stdin=(stdin or "").encode())
    return SimpleNamespace(stdout=done.stdout.decode(), stderr=done.stderr.decode(), returncode=done.returncode)


@case("check-reports")
def reports(world):
    """All files of one run say the same."""
    folder = world.new_folder("check-reports")
    kinds = ["html", "csv", "junit", "sarif", "prometheus", "facts"]
    files = [it for kind in kinds for it in (f"--{kind}", folder / kind)]
    url = f"submissions://localhost:{world.port('submissions')}"
    told = check_of(world, url, "--json", *files, expect=1)
    checks = {it["id"]: it for it in json.loads(told.stdout)["targets"][0]["checks"]}
    check(checks["CERT-CHAIN"]["status"] == "fail", checks["CERT-CHAIN"])
    rows = list(csv.DictReader(io.StringIO((folder / "csv").read_text())))
    check({it["id"]: it["status"] for it in rows} == {name: it["status"] for name, it in checks.items()}, "the table differs")
    suites = xml.etree.ElementTree.parse(folder / "junit").getroot()
    red = [it.get("name") for it in suites.iter("testcase") if it.find("failure") is not None or it.find("error") is not None]
    check("CERT-CHAIN" in red and len(list(suites.iter("testcase"))) == len(checks), f"JUnit: {red}")
    sarif = json.loads((folder / "sarif").read_text())
    check("CERT-CHAIN" in [it["ruleId"] for it in sarif["runs"][0]["results"]], "not in SARIF")
    metrics = (folder / "prometheus").read_text()
    check('id="CERT-CHAIN",severity="critical"} 2\n' in metrics and "gatepost_check_certificate_not_after_seconds{" in metrics, metrics)
    apart(world, folder, checks)


def apart(world, folder, checks):
    """Without a connection: the same facts, judged again; the difference of two documents; explanations; a line for monitors."""
    again = check_of(world, "--reassess", folder / "facts", "--json", expect=1)
    found = {it["id"]: it["status"] for it in json.loads(again.stdout)["targets"][0]["checks"]}
    check(found == {name: it["status"] for name, it in checks.items()}, "judged again it differs")
    (folder / "old").write_text(again.stdout)
    (folder / "new").write_text(again.stdout.replace('"status":"fail"', '"status":"pass"'))
    check("gone     CERT-CHAIN" in check_of(world, "--diff", folder / "old", folder / "new", expect=0).stdout, "not gone")
    worse = check_of(world, "--diff", folder / "new", folder / "old", "--json", expect=1)
    check(json.loads(worse.stdout)["changes"][0]["kind"] == "new", worse.stdout)
    check_of(world, "--diff", folder / "old", folder / "csv", expect=2)
    line = check_of(world, "--reassess", folder / "facts", "--nagios", expect=2).stdout
    check(line.startswith("CHECK CRITICAL - CERT-CHAIN") and line.count("\n") == 1 and line.count("|") == 1, line)
    words = check_of(world, "--explain", "tls-10", expect=0).stdout
    check("RFC 8996" in words and "smtpd_tls_protocols" in words and "ssl_min_protocol" in words, words)
    check_of(world, "--explain", "NO-SUCH", expect=2)


@case("check-list")
def lists(world):
    """A list with what lists have in them, ended and gone on with."""
    folder = world.new_folder("check-list")
    urls = [f"smtp://127.0.0.1:{world.port('smtp')}", f"submissions://127.0.0.1:{world.port('submissions')}"]
    text = f"{urls[0]}\n# a remark\n\ngopher://mail.example.org\n{urls[1]}\r\n{urls[0]}\n"
    (folder / "list").write_text(text)
    flags = ["--tier", "light", "--ca", world.ca, "--state", folder / "state", "--html", folder / "html"]
    done = check_of(world, "--list", folder / "list", *flags, expect=3)
    lines = {it["line"]: it for it in map(json.loads, done.stdout.splitlines())}
    check(sorted(lines) == [1, 4, 5, 6], sorted(lines))
    check("trouble" in lines[4] and lines[4]["exit"] == 3 and lines[4]["tier"] == "light", lines[4])
    check(all(lines[it]["targets"][0]["connections"] == 1 for it in (1, 5, 6)), "more than one connection")
    state = json.loads((folder / "state").read_text())
    # The two lines of one server share one look.
    check(state["done"] == 6 and state["summary"]["connections"] == 2, state)
    check("Mail transport of a list" in (folder / "html").read_text(), "no page")
    # Lines more; what is done is not done again.
    with open(folder / "list", "a") as more:
        more.write(f"{urls[1]}\n")
    done = check_of(world, "--list", "-", *flags, stdin=(folder / "list").read_text())
    check([json.loads(it)["line"] for it in done.stdout.splitlines()] == [7], done.stdout[:200])
    # Another list.
    (folder / "list").write_text(text.replace("remark", "word"))
    done = check_of(world, "--list", folder / "list", *flags, expect=2)
    check(not done.stdout and "changed" in done.stderr, done.stderr)


@case("check-list-stopped")
def stopped(world):
    """A run that is asked to end keeps what was done; the next one does the rest, and nothing twice that was done."""
    for number in (signal.SIGINT, signal.SIGTERM):
        folder = world.new_folder("check-list-stopped")
        with Holding([f"127.0.{it}.1" for it in range(1, 4)]) as holding:
            lines = [f"smtp://127.0.0.1:{world.port('smtp')}"] + [f"smtp://127.0.{it}.1:{holding.port}" for it in range(1, 4)]
            (folder / "list").write_text("\n".join(lines) + "\n")
            words = ["check", "--list", folder / "list", "--tier", "light", "--ca", world.ca, "--timeout", "20", "--state", folder / "state"]
            with open(folder / "out", "wb") as out:
                run = subprocess.Popen([str(it) for it in [world.binary, *words]], stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.PIPE)
            # Three are under way, and the first is done, which nobody can see from here.
            until(lambda: len(holding.held) == 3, "nothing is under way")
            time.sleep(1)
            run.send_signal(number)
            said = run.communicate(timeout=10)[1].decode()
            check(run.returncode == 3 and "ended before the end of the list" in said and "1 lines: " in said, f"{number.name}: exit {run.returncode}: {said}")
            first = [json.loads(it)["line"] for it in (folder / "out").read_text().splitlines()]
            check(first == [1] and json.loads((folder / "state").read_text())["done"] == 1, f"{number.name}: {first}")
            holding.let_go()
            rest = gatepost(world, *words, expect=3).stdout
            check(sorted(json.loads(it)["line"] for it in rest.splitlines()) == [2, 3, 4], rest)


@case("check-every")
def every(world):
    """The first look is told, the second only if something changed; the page of metrics is there meanwhile."""
    folder = world.new_folder("check-every")
    flags = [f"submissions://localhost:{world.port('submissions')}", "--tier", "light", "--every", "1h", "--rounds", "1", "--state", folder / "state"]
    # As a single look would end: nobody vouches for this server.
    first = check_of(world, *flags, expect=1).stdout
    check("new      CERT-CHAIN" in first and "appeared submissions://" in first, first)
    check(check_of(world, *flags, expect=1).stdout == "", "told twice")
    third = check_of(world, *flags, "--ca", world.ca, "--json", expect=0).stdout
    check([(it["kind"], it["id"]) for it in json.loads(third)["changes"]][0] == ("gone", "CERT-CHAIN"), third)
    refused = check_of(world, *flags, "--metrics", "0.0.0.0:0", expect=2)
    check("loopback" in refused.stderr, refused.stderr)
    (folder / "state").write_text("{}")
    check_of(world, *flags, expect=2)


@case("check-every-metrics")
def metrics(world):
    """While it waits for the next look, a collector is answered."""
    folder = world.new_folder("check-metrics")
    port = free_port()
    command = [world.binary, "check", f"submissions://localhost:{world.port('submissions')}", "--tier", "light", "--ca", world.ca, "--every", "1h",
               "--state", folder / "state", "--metrics", f"127.0.0.1:{port}"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    def page():
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as reply:
            return reply.read().decode()

    try:
        until(lambda: 'id="CERT-CHAIN"' in page(), "the page")
        check(page().endswith("# EOF\n"), "no end")
    finally:
        process.terminate()
        process.wait(30)
    check(process.returncode == 0, f"it ended with {process.returncode}: {process.stderr.read()[-300:]}")


HOSTILE = "<img src={url}img onerror=top.owned=1><script>top.owned=1</script></pre></td><style>@import '{url}css'</style>\"'><svg onload=top.owned=1>"


@contextmanager
def hostile(words):
    """A server that says this wherever it may say something."""
    listener = socket.create_server(("127.0.0.1", 0))
    line = words.encode()

    def talk(peer):
        with peer, peer.makefile("rwb") as stream:
            try:
                stream.write(b"220 " + line + b"\r\n")
                stream.flush()
                for said in stream:
                    ends = said.upper().startswith(b"QUIT")
                    stream.write(b"250-" + line + b"\r\n250 AUTH PLAIN " + line + b"\r\n")
                    stream.flush()
                    if ends:
                        return
            except OSError:
                return

    def accept():
        while True:
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=talk, args=(peer,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.close()


@case("check-page-in-a-browser", "chromium", "chromedriver")
def in_a_browser(world):
    folder = world.new_folder("check-page")
    trapped, asked = trap()
    page = folder / "page.html"
    with hostile(HOSTILE.format(url=f"http://127.0.0.1:{trapped}/")) as port:
        told = check_of(world, f"smtp://127.0.0.1:{port}", "--html", page, "--tier", "light")
    check("\x1b" not in told.stdout, "a server drives the terminal")
    browser = Browser(world.new_folder("check-browser"))
    try:
        browser("POST", "/url", {"url": f"file://{page}"})
        until(lambda: browser.run("return document.readyState") == "complete", "the page")
        check(browser.run("return document.querySelectorAll('#services tbody tr').length") == 1, "the table of services")
        check("AUTH-001" in browser.run("return document.body.innerText"), "the finding is not on the page")
        check("onerror" in browser.run("return document.body.innerText"), "what the server said is not shown as text")
        check(browser.run("return document.querySelectorAll('script, img, iframe, link, object').length") == 0, "something of the server's became markup")
        check(browser.run("return document.querySelectorAll('svg rect').length") > 3, "no chart")
        # Its own style is let through by its own policy, and nothing else is.
        check(browser.run("return getComputedStyle(document.querySelector('h2')).borderBottomWidth") != "0px", "the style does not hold")
        check(not browser.run("return !!window.owned"), "a script ran")
        browser("POST", "/goog/cdp/execute", {"cmd": "Emulation.setEmulatedMedia", "params": {"media": "print"}})
        check(browser.run("return getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)", "paper is not white")
        printed = browser("POST", "/print", {})
        check(len(printed) > 4000, "it cannot be printed")
    finally:
        browser.close()
    check(not asked, f"the page made the browser ask for {asked}")
