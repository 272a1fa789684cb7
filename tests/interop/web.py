"""The web page: its API with and without the token, and the page itself in a real browser, with mail that means harm."""

import email.policy
import http.client
import http.server
import json
import smtplib
import socket
import subprocess
import threading
import time
import urllib.parse
from contextlib import contextmanager
from email.message import EmailMessage

from world import DOMAIN, HOST, Server, case, check, free_port

BROWSER = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--window-size=1200,800",
]


@contextmanager
def page(world, name):
    """A server with the page, its port and its token."""
    folder = world.new_folder(name)
    port = free_port()
    server = Server(world.binary, folder, ["web"], ["--web", f"127.0.0.1:{port}"])
    server.start()
    try:
        yield server, port, (server.data / "web-token").read_text().strip()
    finally:
        server.kill()


def deliver(server, subject, text="words", html=None, attachment=None):
    """One message, in clear on port 25: the page shows that, too."""
    message = EmailMessage(policy=email.policy.SMTP)
    message["From"], message["To"], message["Subject"] = "Anna <anna@example.org>", f"web@{DOMAIN}", subject
    message.set_content(text)
    if html:
        message.add_alternative(html, subtype="html")
    if attachment:
        message.add_attachment(attachment, maintype="application", subtype="pdf", filename="../../evil.pdf")
    with smtplib.SMTP(HOST, server.port("smtp"), timeout=30) as connection:
        connection.sendmail("anna@example.org", [f"web@{DOMAIN}"], message.as_bytes())
    return message.as_bytes()


def ask(port, path, token=None, method="GET", host=None):
    """One request; status, headers, body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    headers = {"Host": host or f"127.0.0.1:{port}"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    connection.request(method, path, headers=headers)
    reply = connection.getresponse()
    body = reply.read()
    connection.close()
    return reply.status, reply.headers, body


@case("web-api")
def api(world):
    with page(world, "web-api") as (server, port, token):
        sent = deliver(server, "Grüße", attachment=b"%PDF-1.4")
        account = urllib.parse.quote(f"web@{DOMAIN}")
        one = f"/api/v1/message?account={account}&uid=1"
        paths = ["/api/v1/accounts", f"/api/v1/mailboxes?account={account}", f"/api/v1/messages?account={account}", one,
                 f"/api/v1/source?account={account}&uid=1", f"/api/v1/part?account={account}&uid=1&number=2"]
        for path in paths:
            for wrong in (None, "x", token[:-1], token + "x"):
                check(ask(port, path, wrong)[0] == 401, f"{path} is answered without the token")
            for name in ("evil.example", f"evil.example:{port}", f"localhost.evil.example:{port}", "127.0.0.1"):
                check(ask(port, path, token, host=name)[0] == 421, f"{path} is answered for {name}")
            status, headers, _ = ask(port, path, token)
            check(status == 200, f"{path}: {status}")
            check(headers["Cache-Control"] == "no-store" and headers["X-Content-Type-Options"] == "nosniff", f"{path}: {headers}")
            check("Set-Cookie" not in headers and "Access-Control-Allow-Origin" not in headers, f"{path}: {headers}")
        told = json.loads(ask(port, paths[2], token)[2])
        check(told["total"] == 1 and told["messages"][0]["subject"] == "Grüße", told)
        check(told["messages"][0]["arrival"]["channel"] == "Clear", told)
        check(ask(port, paths[4], token)[2].endswith(sent), "the source is not what was sent")
        check(ask(port, paths[5], token)[2] == b"%PDF-1.4", "the attachment is not what was sent")
        check(ask(port, one.replace("uid=1", "uid=9"), token)[0] == 404, "a message that is not there")
        check(ask(port, one, token, "POST")[0] == 404, "POST")
        check(ask(port, one, token, "DELETE")[0] == 200 and ask(port, one, token)[0] == 404, "DELETE does not remove")
        check(ask(port, "/../web-token", token)[0] == 404, "a path outside")


@case("web-stays-on-this-machine")
def loopback(world):
    folder = world.new_folder("web-loopback")
    done = subprocess.run([world.binary, "serve", "--data", folder / "data", "--web", "0.0.0.0:0"], capture_output=True, timeout=60)
    check(done.returncode == 2 and b"loopback" in done.stderr, f"{done.returncode} {done.stderr}")


class Browser:
    """Chromium, driven over WebDriver."""

    def __init__(self, folder):
        self.port = free_port()
        self.process = subprocess.Popen(["chromedriver", f"--port={self.port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until(lambda: socket.create_connection(("127.0.0.1", self.port), 1), "chromedriver")
        options = {"args": [*BROWSER, f"--user-data-dir={folder}"]}
        self.session = ""
        made = self("POST", "/session", {"capabilities": {"alwaysMatch": {"goog:chromeOptions": options}}})
        self.session = f"/session/{made['sessionId']}"

    def __call__(self, method, path, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=90)
        connection.request(method, self.session + path, json.dumps(body) if body is not None else None)
        told = json.loads(connection.getresponse().read())
        connection.close()
        check(not (isinstance(told["value"], dict) and "error" in told["value"]), told)
        return told["value"]

    def run(self, script):
        """What a script in the page returns."""
        return self("POST", "/execute/sync", {"script": script, "args": []})

    def close(self):
        """Ends browser and driver."""
        try:
            self("DELETE", "")
        finally:
            self.process.terminate()
            self.process.wait(30)


def until(what, why, seconds=60):
    """Waits until something holds."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            if what():
                return
        except OSError:
            pass
        check(time.monotonic() < deadline, f"{why}: not within {seconds} s")
        time.sleep(0.05)


def trap():
    """A web server nothing may ever ask; its port, and what was asked."""
    asked = []

    class Trap(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(204)
            self.end_headers()

        do_POST = do_GET

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Trap)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_address[1], asked


HOSTILE = """<h1 id=here>Hello</h1><a id=link href="{url}click">link</a><img src="{url}img"><img src=x onerror="top.owned=1">
<script>top.owned=1;parent.owned=1;fetch("{url}js")</script><style>@import "{url}import";body{{background:url({url}css)}}</style>
<meta http-equiv=refresh content="0;url={url}refresh"><form id=form action="{url}form"><input name=a></form><iframe src="{url}frame"></iframe>
<link rel=stylesheet href="{url}link"><svg onload="top.owned=1"><image href="{url}svg"/></svg><base href="{url}"><img srcset="{url}srcset 1x">
<video poster="{url}poster" src="{url}video"></video><object data="{url}object"></object><embed src="{url}embed">
<a href="javascript:top.owned=1">x</a><link rel=prefetch href="{url}prefetch"><link rel=dns-prefetch href="{url}">"""


@case("web-page-in-a-browser", "chromium", "chromedriver")
def in_a_browser(world):
    trapped, asked = trap()
    with page(world, "web-page") as (server, port, token):
        deliver(server, "<img src=x onerror=\"window.owned=1\">", html=HOSTILE.format(url=f"http://127.0.0.1:{trapped}/"), attachment=b"x")
        browser = Browser(world.new_folder("browser"))
        try:
            show(browser, server, port, token)
        finally:
            browser.close()
    check(not asked, f"the message made the browser ask for {asked}")


def show(browser, server, port, token):
    """Open, read, hear of news, delete."""
    browser("POST", "/url", {"url": f"http://127.0.0.1:{port}/#{token}"})
    rows = "document.querySelectorAll('#list button').length"
    until(lambda: browser.run(f"return {rows}") == 1, "the list")
    check(token not in browser("GET", "/url"), "the token stays in the address bar")
    browser.run("document.querySelector('#list button').click()")
    until(lambda: browser.run("return !document.getElementById('reading').hidden"), "the message")
    check("Clear" in browser.run("return document.getElementById('arrival').textContent"), "how it came is not told")
    check("onerror" in browser.run("return document.getElementById('subject').textContent"), "the subject is not shown as text")
    browser.run("document.querySelector('[data-view=html]').click()")
    until(lambda: browser.run("return !!document.querySelector('#view iframe')"), "the frame")
    frame = browser("POST", "/element", {"using": "css selector", "value": "#view iframe"})
    browser("POST", "/frame", {"id": frame})
    until(lambda: browser("POST", "/elements", {"using": "css selector", "value": "#here"}), "the HTML")
    # Also when the reader clicks.
    link = browser("POST", "/element", {"using": "css selector", "value": "#link"})
    browser("POST", f"/element/{next(iter(link.values()))}/click", {})
    browser("POST", "/frame", {"id": None})
    time.sleep(1)
    check(not browser.run("return !!window.owned"), "a script of the message ran")
    # News without a reload.
    deliver(server, "news")
    until(lambda: browser.run(f"return {rows}") == 2, "the news")
    browser.run("document.getElementById('delete').click()")
    until(lambda: browser.run(f"return {rows}") == 1, "the deletion")
    check(browser.run("return document.getElementById('trouble').hidden"), "there is trouble")
