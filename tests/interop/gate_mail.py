"""The gate in front of Postfix and Dovecot: mail sent through it arrives byte for byte and is read through it byte for byte; devices send through it."""

import base64
import imaplib
import smtplib
import socket
import subprocess
import threading
import time

from fetchers import all_there, by_id
from gate import OPEN, Gate, Raw, Scripted, imap_copies, imap_play, logged, on_25, pop3_copies, refused, send, urls
from servers import ADDRESS, PASSWORD, Dovecot, Pki, Postfix, kinds
from world import HOST, case, check, free_port, plain, same


def mail_passes(gate):
    """Mail of every kind through every service, there and back."""
    all_kinds = kinds()
    ways = [lambda: gate.smtp("starttls"), lambda: gate.smtp("implicit")]
    for number, message in enumerate(all_kinds):
        send(ways[number % 2](), message)
    on_25 = plain("somebody@elsewhere.test", ADDRESS)
    send(gate.smtp(service="smtp"), on_25, login=False)
    all_kinds.append(on_25)
    for mode in ("starttls", "implicit"):
        connection = gate.imap(mode)
        all_there(imap_copies(connection, len(all_kinds)), all_kinds)
        connection.logout()
        connection = gate.pop3(mode)
        all_there(pop3_copies(connection), all_kinds)
        connection.quit()
    return all_kinds


@case("gate-clear", "postfix", "dovecot")
def gate_clear(world):
    with Dovecot(world) as dovecot, Postfix(world, dovecot, {"smtp": OPEN}) as postfix, Gate(world, *urls(postfix, dovecot)) as gate:
        check(set(gate.ports) == {"smtp", "submission", "submissions", "imap", "imaps", "pop3", "pop3s"}, f"services {gate.ports}")
        mail_passes(gate)
        # Without a login nothing is handed in, and without TLS there is none.
        with smtplib.SMTP(HOST, gate.port("submission"), timeout=30) as connection:
            connection.ehlo()
            check(not connection.has_extn("auth"), "AUTH is offered in clear")
            check(connection.docmd("AUTH PLAIN AGEAYg==")[0] == 530, "AUTH in clear is not refused with 530")
        with gate.smtp() as connection:
            check(connection.docmd(f"MAIL FROM:<{ADDRESS}>")[0] == 530, "MAIL without a login is taken")
            check("PLAIN" in connection.esmtp_features["auth"] and "SCRAM" not in connection.esmtp_features["auth"], "AUTH lists a mechanism half ours")
            check(connection.docmd("STARTTLS")[0] == 503, "STARTTLS inside TLS")
            try:
                connection.login(ADDRESS, "wrong")
                check(False, "a wrong password is good")
            except smtplib.SMTPAuthenticationError as error:
                check(error.smtp_code == 535, f"a wrong password is answered {error.smtp_code}")
        # The upstream's own refusal, with its code.
        with gate.smtp(service="smtp") as connection:
            connection.mail("a@elsewhere.test")
            code, text = connection.rcpt("b@elsewhere.test")
            check(code == 554 and b"Relay access denied" in text, f"{code} {text}")
        capabilities_are_cut(gate)


def capabilities_are_cut(gate):
    """[GW-01] before and after the login."""
    connection = gate.imap(login=False)
    before = connection.capabilities
    connection.login(ADDRESS, PASSWORD)
    check(connection.login is not None and connection.state == "AUTH", "not logged in")
    _, data = connection.capability()
    after = data[-1].decode().upper().split()
    for words in (before, after):
        for word in words:
            check(not word.startswith(("STARTTLS", "LOGINDISABLED", "COMPRESS", "XCLIENT")), f"{word} is listed")
    check("AUTH=PLAIN" in before and not any(word.startswith("AUTH=") for word in after), f"{before} {after}")
    check("IDLE" in before and "MOVE" in after, f"{before} {after}")
    try:
        check(False, f"COMPRESS is answered {connection.xatom('COMPRESS', 'DEFLATE')}")
    except imaplib.IMAP4.error as error:
        check("BAD" in str(error), str(error))
    check(connection.noop()[0] == "OK", "NOOP behind COMPRESS")
    connection.logout()
    try:
        gate.imap(login=False).login(ADDRESS, "wrong")
        check(False, "a wrong password is good")
    except imaplib.IMAP4.error as error:
        check("AUTHENTICATIONFAILED" in str(error), str(error))


@case("gate-programs", "postfix", "dovecot", "curl", "swaks")
def gate_programs(world):
    with Dovecot(world) as dovecot, Postfix(world, dovecot, {"smtp": OPEN}) as postfix, Gate(world, *urls(postfix, dovecot)) as gate:
        sent = kinds()[:3]
        for message, way in zip(sent, ("starttls", "implicit", "25")):
            file = message.save(gate.folder, b"\n")
            # It ends the message with a line end of its own.
            file.write_bytes(file.read_bytes().removesuffix(b"\n"))
            service, flag = {"starttls": ("submission", "--tls"), "implicit": ("submissions", "--tls-on-connect"), "25": ("smtp", "--tls")}[way]
            login = [] if way == "25" else ["--auth", "PLAIN", "--auth-user", ADDRESS, "--auth-password", PASSWORD]
            done = subprocess.run(
                ["swaks", "--server", HOST, "--port", str(gate.port(service)), flag, "--tls-verify", "--tls-ca-path", gate.ca, "--from", ADDRESS,
                 "--to", ADDRESS, "--data", f"@{file}", "--protocol", "ESMTP", *login], capture_output=True, timeout=60, check=False)
            check(done.returncode == 0, f"swaks: {(done.stdout + done.stderr)[-600:]}")
        imap_copies(gate.imap(), len(sent))
        for scheme, service, tls in (("imap", "imap", ["--ssl-reqd"]), ("imaps", "imaps", []), ("pop3s", "pop3s", []), ("pop3", "pop3", ["--ssl-reqd"])):
            path = "INBOX;MAILINDEX=1" if scheme.startswith("imap") else "1"
            done = subprocess.run(
                ["curl", "-sS", "--cacert", gate.ca, *tls, "--user", f"{ADDRESS}:{PASSWORD}", f"{scheme}://{HOST}:{gate.port(service)}/{path}"],
                capture_output=True, timeout=60, check=False)
            check(done.returncode == 0, f"curl {scheme}: {done.stderr}")
            same(done.stdout, next(it for it in sent if by_id([done.stdout], it)))


@case("gate-refuses-configurations")
def gate_refuses(world):
    refused(world, ["--upstream", "imap://192.0.2.1:143"], "tls=none")
    refused(world, ["--upstream", "smtp://mail.example.test"], "+starttls")
    refused(world, ["--upstream", "http://127.0.0.1"], "no scheme")
    refused(world, ["--upstream", "imaps://localhost?ca=/nonexistent.pem"], "/nonexistent.pem")
    refused(world, ["--route", "hash"], "there are none")
    refused(world, ["--upstream", "imap://127.0.0.1", "--account", "a@b.test", "--password-file", "/dev/null"], "")


@case("gate-mailbox-relay", "dovecot")
def gate_mailbox_relay(world):
    """Pipelining through the login, literals, large messages both ways, farewells."""
    with Dovecot(world) as dovecot, Gate(world, f"imap://127.0.0.1:{dovecot.ports['imap']}", f"pop3://127.0.0.1:{dovecot.ports['pop3']}") as gate:
        message = kinds()[5].content
        with Raw(gate, "imaps") as raw:
            raw.socket.sendall(
                f'a LOGIN "{ADDRESS}" "{PASSWORD}"\r\nb NOOP\r\nc APPEND INBOX {{{len(message)}+}}\r\n'.encode() + message + b"\r\nd SELECT INBOX\r\ne FETCH 1 BODY.PEEK[]\r\n")
            seen, fetched = [], b""
            while not seen or not seen[-1].startswith(b"e "):
                line = raw.words.readline()
                check(line, f"cut off behind {seen[-3:]}")
                seen.append(line)
                if line.rstrip().endswith(b"}") and b"FETCH" in line:
                    fetched = raw.words.read(int(line.rsplit(b"{", 1)[1].split(b"}")[0]))
            tags = [line.split(b" ")[0] for line in seen if line[:2] in (b"a ", b"b ", b"c ", b"d ", b"e ")]
            check(tags == [b"a", b"b", b"c", b"d", b"e"], f"{tags}")
            check(all(line.split(b" ")[1] == b"OK" for line in seen if line[1:2] == b" " and line[:1] in b"abcde"), f"{seen}")
            check(fetched == message, "the message came back changed")
            # A synchronising literal, and one that is refused.
            check(raw.ask(b"f APPEND INBOX {5}\r\n").startswith(b"+"), "no leave for a literal")
            check(raw.ask(b"abc\r\n\r\n")[:1] in (b"*", b"f"), "no answer to APPEND")
            raw.socket.sendall(b"g STARTTLS\r\n")
            line = raw.words.readline()
            while not line.startswith(b"g "):
                line = raw.words.readline()
            check(line.startswith(b"g BAD"), f"{line}")
        with Raw(gate, "pop3s") as raw:
            raw.socket.sendall(f"USER {ADDRESS}\r\nPASS {PASSWORD}\r\nSTAT\r\nRETR 1\r\nCAPA\r\nXCLIENT ADDR=192.0.2.1\r\nNOOP\r\nQUIT\r\n".encode())
            everything = raw.words.read()
            check(everything.count(b"+OK") >= 7 and b"-ERR" in everything, f"{everything[:200]} … {everything[-300:]}")
            check(b"STLS" not in everything[-300:] and b"SASL" not in everything[-300:], "CAPA lists what is not for here")
        with Raw(gate, "imaps") as raw:
            check(raw.ask(f"a LOGIN {ADDRESS} {PASSWORD}\r\n".encode()).startswith(b"a OK"), "login")
            raw.ask(b"b IDLE\r\n")
            code, seconds = gate.terminate()
            check(code == 0 and seconds < 10, f"{code} after {seconds} s")
            check(b"* BYE" in raw.words.read(), "no farewell")
        gate.start()


@case("gate-groups")
def gate_groups(world):
    """[SMTP-PIPE-01] [SMTP-PIPE-03] MAIL and fifty recipients that come in one go take one round trip to an upstream 100 ms away, if it has
    PIPELINING; whatever becomes of them there, each has its own reply."""

    def play(keyword, to_mail, dies_at, rounds, said):
        def replies(line):
            said.append(line)
            if to_mail is not None and line.startswith(b"MAIL"):
                return to_mail
            if b"<no" in line:
                return b"550 5.1.1 no\r\n"
            return b"250 2.1.0 ok\r\n"

        def upstream(talk):
            talk.say(b"220 upstream ESMTP\r\n")
            talk.line()
            talk.say(b"250-upstream\r\n" + keyword + b"250 8BITMIME\r\n")
            while True:
                lines = [talk.line()]
                while talk.at < len(talk.buffer):
                    lines.append(talk.line())
                if lines == [b"QUIT"]:
                    return
                if lines[0].startswith((b"MAIL", b"RCPT", b"RSET")):
                    rounds.append(len(lines))
                    time.sleep(0.1)
                    if dies_at and len(lines) > dies_at:
                        talk.say(b"".join(replies(line) for line in lines[:dies_at]))
                        return
                    talk.say(b"".join(replies(line) for line in lines))
                else:
                    talk.say(b"250 ok\r\n")

        return upstream

    def ask(keyword=b"250-PIPELINING\r\n", to_mail=None, dies_at=None):
        rounds, said = [], []
        with Scripted(play(keyword, to_mail, dies_at, rounds, said)) as upstream, Gate(world, f"smtp://127.0.0.1:{upstream.port}") as gate:
            with on_25(gate) as raw:
                recipients = b"".join(b"RCPT TO:<%s%d@d.test>\r\n" % (b"no" if n % 10 == 3 else b"r", n) for n in range(50))
                start = time.monotonic()
                raw.socket.sendall(b"MAIL FROM:<a@b.test>\r\n" + recipients)
                codes = [raw.answer()[:3] for _ in range(51)]
                seconds = time.monotonic() - start
                rest = [raw.ask(b"RSET\r\n")[:3], raw.ask(b"MAIL FROM:<second@b.test>\r\n")[:3]] if dies_at is None else []
        return codes, seconds, rounds, rest, said

    expected = [b"250"] + [b"550" if n % 10 == 3 else b"250" for n in range(50)]
    codes, seconds, rounds, rest, _ = ask()
    check(codes == expected and rest == [b"250", b"250"], f"{codes} {rest}")
    check(rounds[0] > 10 and len(rounds) <= 6 and seconds < 1.5, f"rounds {rounds}, {seconds:.2f} s")
    # One by one where the upstream does not have it, and the same replies.
    codes, _, rounds, _, _ = ask(keyword=b"")
    check(codes == expected and set(rounds) == {1}, f"{codes} {rounds}")
    # A refused MAIL: no recipient counts, whatever the upstream says, and what it took is cleared away before the next.
    for keyword in (b"250-PIPELINING\r\n", b""):
        for to_mail, code in ((b"550 5.1.1 no\r\n", b"550"), (b"220 odd\r\n", b"451")):
            codes, _, _, rest, said = ask(keyword=keyword, to_mail=to_mail)
            check(codes == [code] + [b"503"] * 50, f"{codes}")
            second = next(at for at, line in enumerate(said) if b"second" in line)
            # What the gate does not understand may have begun a transaction there.
            check((said[second - 1] == b"RSET") == (bool(keyword) or code == b"451"), f"{keyword} {to_mail}: {said[second - 1]}")
    # Gone in the middle: what was granted stays granted to the client, and the rest may be tried again.
    codes, _, _, _, _ = ask(dies_at=5)
    check(codes[:5] == expected[:5] and all(code[:1] == b"4" for code in codes[5:]), f"{codes}")


@case("gate-tokens")
def gate_tokens(world):
    """[SASL-OAUTH-01] [SASL-OAUTH-02] access tokens are passed on in the form the upstream takes."""
    heard = []

    def play(talk):
        talk.say(b"* OK ready\r\n")
        while True:
            tag, _, rest = talk.line().partition(b" ")
            heard.append(rest)
            if rest.startswith(b"CAPABILITY"):
                talk.say(b"* CAPABILITY IMAP4rev1 SASL-IR AUTH=XOAUTH2\r\n" + tag + b" OK done\r\n")
            else:
                talk.say(tag + b" OK [CAPABILITY IMAP4rev1] done\r\n")

    with Scripted(play) as upstream, Gate(world, f"imap://127.0.0.1:{upstream.port}") as gate:
        for name, message in (("OAUTHBEARER", b"n,a=anna@example.test,\1host=localhost\1port=143\1auth=Bearer ya29.token\1\1"), ("XOAUTH2", b"user=anna@example.test\1auth=Bearer ya29.token\1\1")):
            connection = gate.imap(login=False)
            check(f"AUTH={name}" in connection.capabilities, f"{connection.capabilities}")
            connection.authenticate(name, lambda _, message=message: message)
            connection.logout()
        want = b"AUTHENTICATE XOAUTH2 " + base64.b64encode(b"user=anna@example.test\1auth=Bearer ya29.token\1\1")
        check(heard.count(want) == 2, f"{heard}")


@case("gate-socket")
def gate_socket(world):
    """An upstream behind a Unix socket."""
    server, path = socket.socket(socket.AF_UNIX), world.new_folder("socket") / "imap.sock"
    server.bind(str(path))
    server.listen()

    def serve():
        upstream = Scripted(imap_play())
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=upstream.serve, args=(connection,), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    with Gate(world, f"imap://{path}") as gate:
        connection = gate.imap()
        check(connection.noop()[0] == "OK", "NOOP")
        connection.logout()
    server.close()


@case("gate-explain", "postfix", "dovecot")
def gate_explain(world):
    """`config explain caps` says what is passed on, what is held back, and why."""
    with Dovecot(world) as dovecot, Postfix(world, dovecot) as postfix:
        command = [world.binary, "config", "explain", "caps"]
        for url in urls(postfix, dovecot, "submission"):
            command += ["--upstream", url]
        done = subprocess.run(command, capture_output=True, timeout=60, check=False)
        text = done.stdout.decode()
        for words in ("imap 127.0.0.1", "held back  STARTTLS", "passed     8BITMIME", "passed     IDLE", "held back  AUTH=PLAIN"):
            check(words in text, f"{words!r} is not in {text}{done.stderr.decode()}")
        check(done.returncode == 0, f"{done.returncode}")
        done = subprocess.run([world.binary, "config", "explain", "caps", "--upstream", f"imap://127.0.0.1:{free_port()}"], capture_output=True, timeout=60, check=False)
        check(done.returncode == 3 and b"not known" in done.stdout, f"{done.returncode} {done.stdout}")


@case("gate-egress", "postfix", "dovecot")
def gate_egress(world):
    """Devices hand in mail in clear; it leaves verified and logged in, and nothing else does."""
    with Dovecot(world) as dovecot, Postfix(world, dovecot) as postfix:
        for ca, good in ((postfix.pki.ca, True), (Pki(world.new_folder("other")).ca, False)):
            port = free_port()
            config = world.new_folder("egress") / "gatepost.toml"
            config.write_text(f"""
[egress]
listen = ["127.0.0.1:{port}"]
networks = ["127.0.0.60"]
upstream = "submission+starttls://localhost:{postfix.ports['submission']}?ca={ca}"
user = "{ADDRESS}"
password_file = "{postfix.secret}"
senders = ["printer@device.test", "@scanner.test"]
""")
            with Gate(world, flags=("--config", config)) as gate:
                check(gate.port("egress") == port and "imap" in gate.ports, f"{gate.ports}")

                def device(sender, source="127.0.0.60", port=port):
                    with smtplib.SMTP("127.0.0.1", port, timeout=30, source_address=(source, 0)) as connection:
                        check(not connection.has_extn("auth"), "a device is asked to log in")
                        connection.sendmail(sender, [ADDRESS], message.content)

                message = plain("printer@device.test", ADDRESS)
                if not good:
                    try:
                        device("printer@device.test")
                        check(False, "mail leaves through a server that is not the one meant")
                    except smtplib.SMTPSenderRefused as error:
                        check(error.smtp_code == 451, str(error))
                    check(gate.logged("upstream_unverified"), gate.last_words())
                    continue
                device("printer@device.test")
                device("anything@scanner.test")
                logged(postfix, f"sasl_username={ADDRESS}")
                check(gate.logged("egress_open"), gate.last_words())
                for sender in ("boss@device.test", ""):
                    try:
                        device(sender)
                        check(False, f"a device may send as {sender!r}")
                    except smtplib.SMTPSenderRefused as error:
                        check(error.smtp_code == 550, str(error))
                try:
                    device("printer@device.test", source="127.0.0.61")
                    check(False, "a stranger may send")
                except (smtplib.SMTPServerDisconnected, ConnectionError):
                    pass
        refused(world, ["--config", config_without(world, "networks")], "egress.networks")
        refused(world, ["--config", config_without(world, "senders")], "egress.senders")


def config_without(world, name):
    """A configuration of the way out that lacks something."""
    lines = {
        "listen": 'listen = ["127.0.0.1:1"]', "networks": 'networks = ["127.0.0.1"]', "upstream": 'upstream = "submissions://mail.example.test"',
        "senders": 'senders = ["a@b.test"]',
    }
    path = world.new_folder("config") / "gatepost.toml"
    path.write_text("[egress]\n" + "\n".join(line for key, line in lines.items() if key != name) + "\n")
    return path
