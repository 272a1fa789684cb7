"""Servers in front that name their clients by XCLIENT: [XCL-02] to listed ones it is a command, limits count the client, and nobody else is believed."""

import email
import http.server
import imaplib
import shutil
import smtplib
import socket
import ssl
import subprocess
import threading
from pathlib import Path

from gate import Gate, OPEN, logged
from servers import Dovecot, Postfix
from world import DOMAIN, HOST, Server, Skip, case, check, free_port

LISTED = ("--xclient-from", "127.0.0.1/32")
MODULE = Path("/usr/lib/nginx/modules/ngx_mail_module.so")


def send_from(client, port, context=None):
    """A mail to the one account, from this address."""
    with smtplib.SMTP(HOST, port, timeout=30, source_address=(client, 0)) as connection:
        if context is not None:
            connection.starttls(context=context)
        check(connection.sendmail("a@elsewhere.test", [f"me@{DOMAIN}"], b"Subject: x\r\n\r\ntext\r\n") == {}, "refused")


def newest(server):
    """The mail that came last."""
    connection = imaplib.IMAP4_SSL(HOST, server.port("imaps"), ssl_context=ssl.create_default_context(cafile=server.ca), timeout=30)
    connection.login(f"me@{DOMAIN}", server.password_file("me").read_text().strip())
    count = int(connection.select("INBOX", readonly=True)[1][0])
    message = email.message_from_bytes(connection.fetch(str(count), "(BODY.PEEK[HEADER])")[1][0][1])
    connection.logout()
    return message


def talk(port, source):
    connection = socket.create_connection((HOST, port), timeout=30, source_address=(source, 0))
    words = connection.makefile("rb")
    words.readline()

    def ask(line):
        connection.sendall(line + b"\r\n")
        answer = words.readline()
        while answer[3:4] == b"-":
            answer = words.readline()
        return answer

    return connection, ask


@case("xclient-from-a-gate", "postfix", "dovecot")
def from_a_gate(world):
    """Two gates and a mailbox, two gates and Postfix: the last one knows the client, and its logs and fields say so."""
    server = Server(world.binary, world.new_folder("server"), ["me"], LISTED)
    server.start()
    try:
        client = "127.0.0.71"
        with Gate(world, f"smtp://127.0.0.1:{server.port('smtp')}?xclient&received=no") as gate:
            send_from(client, gate.port("smtp"), gate.tls())
        check(server.logged(f"smtp {client}:"), f"the client is not in the log: {server.last_words()}")
        received = newest(server).get_all("Received")
        check(f"[{client}]" in received[0], f"{received}")
        # Inside TLS of the second leg too.
        client = "127.0.0.72"
        with Gate(world, f"smtp+starttls://localhost:{server.port('smtp')}?xclient&ca={server.ca}") as gate:
            send_from(client, gate.port("smtp"), gate.tls())
        check(server.logged(f"smtp {client}:"), f"the client is not in the log: {server.last_words()}")
        nobody_else(server)
    finally:
        server.terminate()
    with Dovecot(world) as dovecot, Postfix(world, dovecot, {"xclient": f"{OPEN} -o smtpd_authorized_xclient_hosts=127.0.0.1"}) as postfix:
        with Gate(world, f"smtp://127.0.0.1:{postfix.ports['xclient']}?xclient", flags=LISTED) as inner:
            with Gate(world, f"smtp+starttls://localhost:{inner.port('smtp')}?xclient&ca={inner.ca}") as outer:
                connection = outer.smtp(service="smtp", source="127.0.0.73")
                connection.mail("a@elsewhere.test")
                connection.close()
                logged(postfix, "[127.0.0.73]")
            check(inner.logged("smtp 127.0.0.73:"), f"{inner.last_words()}")


def nobody_else(server):
    """From another address it is no command; and it changes nothing but the client."""
    for source, code in (("127.0.0.9", b"500"), ("127.0.0.1", b"220")):
        connection, ask = talk(server.port("smtp"), source)
        with connection:
            check(ask(b"EHLO a.test")[:3] == b"250", "EHLO")
            check(ask(b"XCLIENT ADDR=192.0.2.66 PORT=1")[:3] == code, f"from {source}")
            ask(b"QUIT")
    check(server.logged("smtp 192.0.2.66:") and server.logged("smtp 127.0.0.9:"), f"{server.last_words()}")
    connection, ask = talk(server.port("submission"), "127.0.0.1")
    with connection:
        ask(b"EHLO a.test")
        check(ask(b"XCLIENT ADDR=192.0.2.67")[:3] == b"530", "before TLS where TLS is required")
    # Nothing of it outlives STARTTLS.
    connection, ask = talk(server.port("smtp"), "127.0.0.1")
    ask(b"EHLO a.test")
    check(ask(b"XCLIENT ADDR=192.0.2.68 PORT=1")[:3] == b"220", "XCLIENT")
    ask(b"EHLO a.test")
    check(ask(b"STARTTLS")[:3] == b"220", "STARTTLS")
    inside = ssl.create_default_context(cafile=server.ca).wrap_socket(connection, server_hostname=HOST)
    inside.sendall(b"EHLO a.test\r\nQUIT\r\n")
    while inside.recv(4096):
        pass
    inside.close()
    # Limits count the client: each may have so many connections, and the server in front any number.
    crowd = []
    for number in range(300):
        connection, ask = talk(server.port("smtp"), "127.0.0.1")
        crowd.append(connection)
        answer = ask(b"XCLIENT ADDR=192.0.2.69 PORT=1")
        if answer[:3] == b"421":
            break
    check(1 < number < 299, f"{number} connections of one client")
    connection, ask = talk(server.port("smtp"), "127.0.0.1")
    check(ask(b"XCLIENT ADDR=192.0.2.70 PORT=1")[:3] == b"220", "another client pays for the first")
    for it in (*crowd, connection):
        it.close()
    check(not server.logged("smtp 192.0.2.68:", 0), "what was said in clear is known inside TLS")


@case("xclient-from-nginx", "nginx")
def from_nginx(world):
    """nginx's mail proxy names its clients so, and in no other way."""
    if not MODULE.exists() or shutil.which("nginx") is None:
        raise Skip("nginx has no mail module here")
    server = Server(world.binary, world.new_folder("server"), ["me"], LISTED)
    server.start()

    class Auth(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            for name, value in (("Auth-Status", "OK"), ("Auth-Server", "127.0.0.1"), ("Auth-Port", str(server.port("smtp")))):
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, *_):
            pass

    folder, port = world.new_folder("nginx"), free_port()
    auth = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Auth)
    threading.Thread(target=auth.serve_forever, daemon=True).start()
    (folder / "nginx.conf").write_text(f"""load_module {MODULE};
daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 100; }}
mail {{ server_name front.test; auth_http 127.0.0.1:{auth.server_address[1]}/; xclient on; smtp_auth none; resolver off;
  server {{ listen 127.0.0.1:{port}; protocol smtp; proxy_pass_error_message on; }} }}
""")
    nginx = subprocess.Popen(["nginx", "-p", folder, "-c", folder / "nginx.conf", "-e", folder / "error.log"], stdin=subprocess.DEVNULL)
    try:
        client = "127.0.0.74"
        for attempt in range(100):
            try:
                send_from(client, port)
                break
            except ConnectionRefusedError:
                check(attempt < 99 and nginx.poll() is None, "nginx does not listen")
                threading.Event().wait(0.1)
        check(server.logged(f"smtp {client}:"), f"{server.last_words()} {(folder / 'error.log').read_text()[-500:]}")
        received = newest(server).get_all("Received")
        check(f"[{client}]" in received[0], f"{received}")
    finally:
        nginx.terminate()
        nginx.wait(10)
        auth.shutdown()
        auth.server_close()
        server.terminate()
