"""The gate between sides that misbehave: words put in, content that would be two messages, sessions that break, peers that do not read."""

import imaplib
import smtplib
import socket
import ssl
import threading
import time
from pathlib import Path

from gate import Gate, Raw, Scripted, Talk, imap_play, memory, on_25, smtp_play
from servers import ADDRESS, PASSWORD, Dovecot, Pki
from world import HOST, case, check, free_port, in_threads


ENVELOPE = b"MAIL FROM:<a@b.test> BODY=8BITMIME\r\nRCPT TO:<c@d.test>\r\n"


@case("gate-upstream-words-before-login")
def gate_words_before_login(world):
    """[GW-03] PREAUTH, alerts and referrals before the login end the session, and no password is sent."""
    plays = {
        "preauth": imap_play(greeting=b"* PREAUTH as somebody\r\n"),
        "alert in the greeting": imap_play(greeting=b"* OK [ALERT] go to http://evil.test\r\n"),
        "alert": imap_play(before=b"* OK [ALERT] go to http://evil.test\r\n"),
        "referral": imap_play(before=b"* OK [REFERRAL imap://evil.test/] go there\r\n"),
        "bye referral": imap_play(greeting=b"* BYE [REFERRAL imap://evil.test/] go there\r\n"),
        "garbage": lambda talk: talk.say(b"\x00\xff\x01" * 1000 + b"\r\n"),
        "nothing": lambda talk: None,
        "without end": lambda talk: talk.say(b"x" * 10_000_000),
    }
    for what, play in plays.items():
        with Scripted(play) as upstream, Gate(world, f"imap://127.0.0.1:{upstream.port}") as gate:
            connection = gate.imap(login=False)
            try:
                connection.login(ADDRESS, PASSWORD)
                check(False, f"{what}: the login is good")
            except imaplib.IMAP4.error as error:
                check("UNAVAILABLE" in str(error) and "evil" not in str(error), f"{what}: {error}")
            check(PASSWORD.encode() not in upstream.heard and b"AUTHENTICATE" not in upstream.heard, f"{what}: {upstream.heard}")


@case("gate-upstream-no-login")
def gate_no_login(world):
    """An upstream that takes no login a gate can pass on is told when the gate starts, not by the first user."""
    for words, is_told in ((b"LOGINDISABLED AUTH=SCRAM-SHA-256", True), (b"LOGINDISABLED AUTH=XOAUTH2", False), (b"", False)):
        play = imap_play(capability=b"* CAPABILITY IMAP4rev1 " + words + b"\r\n")
        with Scripted(play) as upstream, Gate(world, f"imap://127.0.0.1:{upstream.port}") as gate:
            # It has asked before it is ready; what it tells comes before that, too.
            told = gate.logged("upstream_no_login", 30 if is_told else 0.2)
            check(told == is_told, f"{words}: {gate.last_words()}")


@case("gate-upstream-injection")
def gate_upstream_injection(world):
    """[GW-02] [SMTP-STARTTLS-21] words between the upstream's leave for TLS and its ServerHello end the session."""
    pki = Pki(world.new_folder("pki"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pki.cert, pki.key)

    def smtp(injected):
        def play(talk):
            talk.say(b"220 upstream ESMTP\r\n")
            talk.line()
            talk.say(b"250-upstream\r\n250 STARTTLS\r\n")
            talk.line()
            talk.say(b"220 go\r\n" + injected)
            inside = Talk(talk.upstream, context.wrap_socket(talk.connection, server_side=True))
            talk.upstream.connections.append(inside.connection)
            inside.line()
            inside.say(b"250-upstream\r\n250-AUTH PLAIN\r\n250 8BITMIME\r\n")
            while True:
                inside.line()
                inside.say(b"235 in\r\n")
        return play

    def attempt(injected):
        with Scripted(smtp(injected)) as upstream, Gate(world, f"submission+starttls://localhost:{upstream.port}?ca={pki.ca}") as gate:
            with gate.smtp() as connection:
                try:
                    connection.login(ADDRESS, PASSWORD)
                    return True, upstream.heard
                except smtplib.SMTPAuthenticationError as error:
                    check(error.smtp_code == 454, str(error))
                    check(gate.logged("upstream_injection"), gate.last_words())
                    return False, upstream.heard

    good, _ = attempt(b"")
    check(good, "the upstream by the book is refused")
    for injected in (b"250 STARTTLS\r\n", b"x", b"235 in\r\n"):
        good, heard = attempt(injected)
        check(not good and b"AUTH" not in heard, f"{injected}: {heard}")


@case("gate-smuggling")
def gate_smuggling(world):
    """[SMTP-CHUNK-04] [SMTP-SMUG-02] [GW-01] nothing in a message can look like its end to the upstream, whatever way it came."""
    sequences = [b"\n.\n", b"\n.\r", b"\r.\n", b"\r.\r", b"\n.\r\n", b"\r.\r\n", b"\r\n.\n", b"\r\n.\r", b"\r\n\0.\r\n", b"\r\n.\r\r\n", b"\r\r\n.\r\r\n"]
    inner = b"MAIL FROM:<evil@b.test>\r\nRCPT TO:<c@d.test>\r\nDATA\r\nSubject: smuggled\r\n\r\nx\r\n"
    record = []
    with Scripted(smtp_play(record)) as upstream, Gate(world, f"smtp://127.0.0.1:{upstream.port}") as gate:
        for number, sequence in enumerate(sequences):
            content = b"Subject: %d\r\n\r\ntext" % number + sequence + inner
            with on_25(gate) as raw:
                raw.socket.sendall(ENVELOPE + b"DATA\r\n")
                replies = [raw.answer() for _ in range(3)]
                check(replies[2].startswith(b"354"), f"{replies}")
                verdict = raw.ask(content + b"\r\n.\r\n")
                check(verdict.startswith((b"550", b"554")), f"{sequence}: {verdict}")
            with on_25(gate) as raw:
                raw.socket.sendall(ENVELOPE + b"BDAT %d LAST\r\n" % len(content) + content)
                replies = [raw.answer() for _ in range(3)]
                check(replies[2].startswith((b"550", b"554")), f"{sequence}: {replies}")
        check(not any(line.startswith(b"MAIL FROM:<evil") for line in record), "a smuggled command")
        check(not any(line.startswith(b"Received:") for line in record), f"a message was taken: {record}")
        # What is harmless comes through as it is: by BDAT in pieces, with dots and a line that looks like the end.
        with on_25(gate) as raw:
            first, second = b"Subject: x\r\n\r\n.\r\n..\r", b"\n.a\r\nb"
            raw.socket.sendall(ENVELOPE + b"BDAT %d\r\n" % len(first) + first + b"BDAT %d LAST\r\n" % len(second) + second)
            replies = [raw.answer() for _ in range(4)]
            check(replies[3] == b"250 2.0.0 Ok: queued as 1\r\n", f"{replies}")
        message = record[-1]
        check(message.endswith(b"Subject: x\r\n\r\n..\r\n...\r\n..a\r\nb\r\n"), f"{message}")
        # [GW-04] one field of ours, with what TLS was.
        check(message.count(b"Received:") == 1 and b"TLS_AES" in message.replace(b"\r\n", b" "), f"{message}")


@case("gate-smtp-transactions")
def gate_transactions(world):
    """Transactions in a row, given up, refused and too large; the upstream's limits and refusals are the client's."""
    record = []
    with Scripted(smtp_play(record, size=b" 5000")) as upstream, Gate(world, f"smtp://127.0.0.1:{upstream.port}") as gate:
        with gate.smtp(service="smtp") as connection:
            check(connection.esmtp_features.get("size") == "5000", f"{connection.esmtp_features}")
            check(connection.has_extn("8bitmime") and not connection.has_extn("smtputf8"), f"{connection.esmtp_features}")
            check(not connection.has_extn("starttls") and not connection.has_extn("auth"), f"{connection.esmtp_features}")
            for _ in range(3):
                connection.sendmail("a@b.test", ["c@d.test", "e@d.test"], b"Subject: x\r\n\r\nx\r\n")
            connection.mail("a@b.test")
            connection.rcpt("c@d.test")
            check(connection.rset()[0] == 250, "RSET")
            connection.mail("a@b.test")
            connection.ehlo()
            connection.sendmail("a@b.test", ["c@d.test"], b"Subject: y\r\n\r\ny\r\n")
            check(connection.docmd("MAIL FROM:<a@b.test> SIZE=5001")[0] == 552, "too large")
            check(connection.docmd("MAIL FROM:<a@b.test> SMTPUTF8")[0] == 555, "SMTPUTF8 is not offered")
            check(connection.docmd("XCLIENT ADDR=192.0.2.1")[0] == 500, "XCLIENT from a client")
        connections = sum(line.startswith(b"EHLO") for line in record)
        # One for what it offers, one for the session.
        check(connections == 2, f"{connections} connections to the upstream: {record}")
        check(sum(line.startswith(b"Received:") for line in record) == 4, f"{record}")
        check(record.count(b"RSET") == 2, f"{record}")
    with Scripted(smtp_play(record, answer=b"552-5.2.2 full\r\n552 5.2.2 very")) as upstream, Gate(world, f"smtp://127.0.0.1:{upstream.port}") as gate:
        with gate.smtp(service="smtp") as connection:
            try:
                connection.sendmail("a@b.test", ["c@d.test"], b"Subject: x\r\n\r\nx\r\n")
                check(False, "a refused message is taken")
            except smtplib.SMTPDataError as error:
                check(error.smtp_code == 552 and b"5.2.2 full" in error.smtp_error, str(error))
            check(connection.noop()[0] == 250, "the session goes on")


@case("gate-circle")
def gate_circle(world):
    """[SMTP-BASE-14] gates whose upstreams lead back to themselves, and mail that has come round too often."""
    gate = Gate(world)
    ways = [f"{scheme}://127.0.0.1:{gate.offset + port}?proxy=v2&received=no" for scheme, port in (("smtp", 25), ("imap", 143))]
    gate.flags = ["--upstream", ways[0], "--upstream", ways[1], "--proxy-from", "127.0.0.1", "--config", world.new_folder("circle") / "gatepost.toml"]
    gate.flags[-1].write_text('[login]\nclear_networks = ["127.0.0.1", "192.0.2.7"]\n')
    with gate:
        def lines(service, *words):
            with socket.create_connection(("127.0.0.1", gate.port(service)), timeout=30) as connection:
                connection.sendall(b"PROXY TCP4 192.0.2.7 127.0.0.1 4711 25\r\n")
                answers = connection.makefile("rb")
                said = [answers.readline()]
                for word in words:
                    connection.sendall(word + b"\r\n")
                    said.append(answers.readline())
                    while said[-1][3:4] == b"-":
                        said[-1] = answers.readline()
                return said

        answers = lines("smtp", b"EHLO client.test", b"MAIL FROM:<a@b.test>")
        check(answers[-1].startswith(b"554 5.4.6"), f"{answers}")
        answers = lines("imap", f"a LOGIN {ADDRESS} {PASSWORD}".encode())
        check(b"UNAVAILABLE" in answers[-1], f"{answers}")
        check(gate.logged("upstream_circle"), gate.last_words())
    record = []
    with Scripted(smtp_play(record)) as upstream, Gate(world, f"smtp://127.0.0.1:{upstream.port}") as gate:
        for count, code in ((100, b"250"), (101, b"554 5.4.6")):
            with on_25(gate) as raw:
                raw.socket.sendall(ENVELOPE + b"DATA\r\n")
                replies = [raw.answer() for _ in range(3)]
                check(replies[2].startswith(b"354"), f"{replies}")
                answer = raw.ask(b"Received: from a by b; now\r\n" * count + b"Subject: round\r\n\r\nx\r\n.\r\n")
                check(answer.startswith(code), f"{count} Received fields: {answer}")
        check(sum(b"Subject: round" in it for it in record) == 1, "mail that runs in a circle has gone on")


@case("gate-upstream-fails-in-content")
def gate_fails_in_content(world):
    """An upstream that is gone, in the middle or before its verdict, has not taken the message: the client is told to try again."""
    def cut(talk):
        talk.line()

    def early(talk):
        talk.line()
        talk.say(b"552 5.3.4 enough\r\n")
        time.sleep(2)

    def at_the_end(talk):
        while talk.line() != b".":
            pass

    def nonsense(talk):
        while talk.line() != b".":
            pass
        talk.say(b"hello?\r\n")
        time.sleep(2)

    def go_on(talk):
        while talk.line() != b".":
            pass
        talk.say(b"354 go on\r\n")
        time.sleep(2)

    for data in (cut, early, at_the_end, nonsense, go_on):
        record = []
        with Scripted(smtp_play(record, data)) as upstream, Gate(world, f"smtp://127.0.0.1:{upstream.port}") as gate:
            for size in (10, 3_000_000):
                with on_25(gate) as raw:
                    raw.socket.sendall(ENVELOPE + b"DATA\r\n")
                    replies = [raw.answer() for _ in range(3)]
                    check(replies[2].startswith(b"354"), f"{data.__name__}: {replies}")
                    verdict = raw.ask(b"Subject: x\r\n\r\n" + (b"x" * 70 + b"\r\n") * (size // 70 + 1) + b".\r\n")
                    want = b"552 5.3.4 enough" if data is early else b"451"
                    check(verdict.startswith(want), f"{data.__name__}: {verdict}")
                    check(raw.ask(b"NOOP\r\n").startswith(b"250"), f"{data.__name__}: the session is over")


@case("gate-client-fails-in-content")
def gate_client_fails(world):
    """A message that is not complete never is one to the upstream."""
    record = []
    with Scripted(smtp_play(record)) as upstream, Gate(world, f"smtp://127.0.0.1:{upstream.port}") as gate:
        for end in ("close", "reset"):
            with on_25(gate) as raw:
                raw.socket.sendall(ENVELOPE + b"DATA\r\n")
                [raw.answer() for _ in range(3)]
                raw.socket.sendall(b"Subject: half\r\n\r\n" + b"half a message\r\n" * 10_000)
                if end == "reset":
                    raw.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        check(gate.logged("broken") or gate.logged("peer_closed"), "no session has ended")
        time.sleep(0.5)
        check(not any(b"half a message" in line for line in record), "half a message was taken")


@case("gate-upstream-gone", "dovecot")
def gate_gone(world):
    """An upstream that ends: its clients' sessions end, and the next login finds it again when it is back."""
    ended = threading.Event()
    with Scripted(imap_play(after=lambda talk: ended.wait(30))) as upstream, Gate(world, f"imap://127.0.0.1:{upstream.port}") as gate:
        connection = gate.imap()
        ended.set()
        # Before another word is said: with words unread the upstream's end would be a broken one.
        check(gate.logged("upstream_closed"), gate.last_words())
        try:
            connection.noop()
            check(False, "a session goes on without its upstream")
        except (imaplib.IMAP4.abort, OSError):
            pass
    with Dovecot(world) as dovecot:
        # The first is not there: the second is used, and nobody notices.
        dead = free_port()
        with Gate(world, f"imap://127.0.0.1:{dead}", f"imap://127.0.0.1:{dovecot.ports['imap']}") as gate:
            for _ in range(4):
                gate.imap().logout()
            check(gate.logged("upstream_unreachable"), gate.last_words())


@case("gate-cut-off")
def gate_cut_off(world):
    """[TLS-CLOSE-01] an upstream cut off without its closing alert is passed on as cut off; one that closes in order as that."""
    pki = Pki(world.new_folder("pki"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pki.cert, pki.key)
    for orderly in (True, False):
        def end(talk, orderly=orderly):
            talk.line()
            talk.say(b"* 1 FETCH (BODY[] {100}\r\nhalf of it")
            if orderly:
                talk.connection.unwrap()
            else:
                socket.socket(fileno=talk.connection.detach()).close()

        with Scripted(imap_play(after=end), tls=context) as upstream, Gate(world, f"imaps://localhost:{upstream.port}?ca={pki.ca}") as gate:
            raw = gate.tls().wrap_socket(
                socket.create_connection((HOST, gate.port("imaps")), timeout=30), server_hostname=HOST, suppress_ragged_eofs=False)
            raw.recv(4096)
            raw.sendall(f"a LOGIN {ADDRESS} {PASSWORD}\r\nb FETCH 1 BODY[]\r\n".encode())
            heard, cut = b"", False
            try:
                while words := raw.recv(4096):
                    heard += words
            except (ssl.SSLEOFError, ConnectionResetError):
                cut = True
            check(heard.endswith(b"half of it") or cut, f"{heard}")
            check(cut != orderly, f"orderly: {orderly}, cut off at the client: {cut}")
            check(gate.logged("upstream_closed" if orderly else "upstream_broken"), gate.last_words())


@case("gate-slow-client")
def gate_slow_client(world):
    """A client that does not read holds the upstream back, not memory; the other direction goes on."""
    total = 200_000_000
    heard = threading.Event()

    def flood(talk):
        talk.line()

        def listen():
            while b"DONE" not in talk.line():
                pass
            heard.set()

        threading.Thread(target=listen, daemon=True).start()
        talk.say(b"* 1 FETCH (BODY[] {%d}\r\n" % total)
        for _ in range(total // 100_000):
            talk.say(b"x" * 100_000)
        talk.say(b")\r\nb OK done\r\n")
        heard.wait(30)

    with Scripted(imap_play(after=flood)) as upstream, Gate(world, f"imap://127.0.0.1:{upstream.port}") as gate:
        with Raw(gate, "imaps") as raw:
            check(raw.ask(f"a LOGIN {ADDRESS} {PASSWORD}\r\n".encode()).startswith(b"a OK"), "login")
            before = memory(gate)
            raw.socket.sendall(b"b FETCH 1 BODY[]\r\n")
            raw.words.readline()
            # The pipes are full now, and the client reads nothing.
            time.sleep(1)
            raw.socket.sendall(b"DONE\r\n")
            check(heard.wait(20), "the client is not heard while it does not read")
            after = memory(gate)
            check(after - before < 3000, f"{after - before} KiB more while a client does not read")
            left = total
            while left > 0:
                left -= len(raw.words.read(min(left, 1 << 20)))
            check(raw.words.readline() == b")\r\n" and raw.words.readline() == b"b OK done\r\n", "the end is missing")
            check(memory(gate) - before < 3000, f"{memory(gate) - before} KiB more after 200 MB")


@case("gate-many-that-break")
def gate_many_that_break(world):
    """Hundreds of sessions that end in every way: descriptors come back, and the gate goes on."""
    ways = [lambda talk: None, lambda talk: talk.say(b"\0" * 5000), lambda talk: talk.line(), lambda talk: talk.say(b"* 1 FETCH (X {5}\r\nab")]
    number = iter(range(1_000_000))

    def any_way(talk):
        ways[next(number) % len(ways)](talk)

    def descriptors(gate):
        return len(list(Path(f"/proc/{gate.process.pid}/fd").iterdir()))

    with Scripted(imap_play(after=any_way)) as upstream, Gate(world, f"imap://127.0.0.1:{upstream.port}") as gate:
        def session(count):
            for turn in range(25):
                try:
                    with Raw(gate, "imaps") as raw:
                        raw.socket.sendall(f"a LOGIN {ADDRESS} {PASSWORD}\r\n".encode())
                        if turn % 3 == 0:
                            continue
                        raw.words.readline()
                        raw.socket.sendall(b"b NOOP\r\n" if turn % 3 == 1 else b"b NOOP\nc NOOP\r\n")
                        raw.words.readline()
                except OSError:
                    pass

        session(0)
        before = descriptors(gate)
        in_threads(8, session)
        deadline = time.monotonic() + 20
        while descriptors(gate) > before + 4 and time.monotonic() < deadline:
            time.sleep(0.1)
        check(descriptors(gate) <= before + 4, f"{descriptors(gate)} descriptors instead of {before}")
        check(gate.imap().login is not None, "no login any more")
