"""DSN and BINARYMIME through the gate: passed on where the server behind has them, refused where it has not."""

import email
import email.policy

from gate import OPEN, Gate, Raw, Scripted, imap_copies, urls
from servers import ADDRESS, Dovecot, Postfix
from world import case, check, plain


def offered(raw):
    """The keywords of the reply to EHLO."""
    raw.socket.sendall(b"EHLO client.test\r\n")
    words = []
    while True:
        line = raw.words.readline().rstrip()
        words.append(line[4:])
        if line[3:4] != b"-":
            return words[1:]


def answers(raw, *dialogue):
    """Each command gets the reply that begins so."""
    for command, code in dialogue:
        reply = raw.ask(command + b"\r\n")
        check(reply.startswith(code), f"{command} was answered {reply}")


@case("gate-dsn", "postfix", "dovecot")
def gate_dsn(world):
    """[SMTP-DSN-01] Postfix tells the sender what was asked for, by the names that were given."""
    more = {"smtp": f"{OPEN} -o smtpd_discard_ehlo_keywords=", "deaf": f"{OPEN} -o smtpd_discard_ehlo_keywords=dsn"}
    with Dovecot(world) as dovecot, Postfix(world, dovecot, more) as postfix:
        to, at = ADDRESS.encode(), f"MAIL FROM:<{ADDRESS}>".encode()
        message = plain(ADDRESS, ADDRESS).content
        with Gate(world, *urls(postfix, dovecot)) as gate, Raw(gate, "smtp", starttls=True) as raw:
            check(b"DSN" in offered(raw), "DSN is not offered")
            answers(
                raw, (at + b" RET=ALL", b"501"), (at + b" ENVID=a+0D+0ARCPT", b"501"), (at + b" RET=HDRS ENVID=box+2B7", b"250"),
                (b"RCPT TO:<" + to + b"> NOTIFY=SOMETIMES", b"501"), (b"RCPT TO:<" + to + b"> ORCPT=rfc822;x+0Ay", b"501"),
                (b"RCPT TO:<" + to + b"> NOTIFY=SUCCESS ORCPT=rfc822;first+2Bname@else.test", b"250"), (b"DATA", b"354"), (message + b".", b"250"),
            )
            # The same, and nobody wants to know.
            answers(raw, (at, b"250"), (b"RCPT TO:<" + to + b"> NOTIFY=NEVER", b"250"), (b"DATA", b"354"), (message + b".", b"250"))
            copies = [email.message_from_bytes(copy, policy=email.policy.default) for copy in imap_copies(gate.imap(), 3)]
            reports = [copy for copy in copies if copy.get_content_type() == "multipart/report"]
            check(len(copies) == 3 and len(reports) == 1, f"{[copy.get_content_type() for copy in copies]}")
            text = str(next(part for part in reports[0].walk() if part.get_content_type() == "message/delivery-status"))
            check("Original-Envelope-Id: box+7" in text, text)
            check("Original-Recipient: rfc822;first+name@else.test" in text or "Original-Recipient: rfc822;first+2Bname@else.test" in text, text)
            # RET=HDRS: the header comes back, not the body.
            check(not any(part.get_content_type() == "message/rfc822" for part in reports[0].walk()), "the whole message came back")
        with Gate(world, *urls(postfix, dovecot, service="deaf")) as gate, Raw(gate, "smtp", starttls=True) as raw:
            check(b"DSN" not in offered(raw), "DSN is offered")
            answers(raw, (at + b" RET=HDRS", b"555"), (at, b"250"), (b"RCPT TO:<" + to + b"> NOTIFY=NEVER", b"555"))


class Binary:
    """An upstream that takes binary content, and what it took."""

    def __init__(self, keywords, verdicts=()):
        self.keywords, self.commands, self.taken, self.verdicts = keywords, [], b"", list(verdicts)

    def play(self, talk):
        talk.say(b"220 upstream ESMTP\r\n")
        while True:
            line = talk.line()
            self.commands.append(line)
            verb, _, rest = line.partition(b" ")
            if verb == b"EHLO":
                talk.say(b"".join(b"250-%s\r\n" % word for word in (b"upstream", b"8BITMIME", *self.keywords)) + b"250 SIZE\r\n")
            elif verb == b"BDAT":
                self.taken += talk.octets(int(rest.split()[0]))
                talk.say((self.verdicts.pop(0) if self.verdicts else b"250 2.0.0 taken") + b"\r\n")
            elif verb == b"DATA":
                talk.say(b"354 go\r\n")
                while talk.line() != b".":
                    pass
                talk.say(b"250 2.0.0 taken\r\n")
            elif verb == b"QUIT":
                talk.say(b"221 bye\r\n")
                return
            else:
                talk.say(b"250 2.1.0 ok\r\n")


MAIL, RCPT = (b"MAIL FROM:<a@b.test> BODY=BINARYMIME", b"250"), (b"RCPT TO:<c@d.test>", b"250")


@case("gate-binary")
def gate_binary(world):
    """[SMTP-CHUNK-03] any octets, by count, and only where the server behind takes them so."""
    head = b"Subject: octets\r\n\r\n"
    # Every octet there is, and what would end a message by DATA.
    content = head + bytes(range(256)) * 600 + b"\r\n.\r\nMAIL FROM:<x@y.test>\r\n\n.\n\r.\r\0"
    upstream = Binary((b"CHUNKING", b"BINARYMIME"))
    with Scripted(upstream.play) as server, Gate(world, f"smtp://127.0.0.1:{server.port}") as gate, Raw(gate, "smtp", starttls=True) as raw:
        words = offered(raw)
        check(b"BINARYMIME" in words and b"CHUNKING" in words, str(words))
        first, second = content[:100_000], content[100_000:]
        answers(raw, MAIL, RCPT, (b"DATA", b"503"))
        for chunk, end in ((first, b""), (second, b" LAST")):
            reply = raw.ask(b"BDAT %d%s\r\n" % (len(chunk), end) + chunk)
            check(reply.startswith(b"250"), f"{reply}")
        received, _, taken = upstream.taken.partition(b"Subject: ")
        check(received.startswith(b"Received: ") and b"Subject: " + taken == content, f"{len(taken)} octets instead of {len(content)}")
        check(b"MAIL FROM:<a@b.test> BODY=BINARYMIME" in upstream.commands and b"DATA" not in upstream.commands, str(upstream.commands))
        check(not any(b"x@y.test" in command for command in upstream.commands), "content was taken for a command")
        # Other mail goes as before, with its rules, in the same session.
        answers(raw, (b"MAIL FROM:<a@b.test>", b"250"), RCPT, (b"BDAT 6 LAST\r\na\0\r\n", b"554"))
        answers(raw, (b"MAIL FROM:<a@b.test>", b"250"), RCPT, (b"DATA", b"354"), (head + b".", b"250"))
        # A transaction that is given up between two chunks.
        answers(raw, MAIL, RCPT, (b"BDAT 5\r\n\0\0\0", b"250"), (b"RSET", b"250"))
    refused = Binary((b"CHUNKING", b"BINARYMIME"), [b"552 5.3.4 too much of it"])
    with Scripted(refused.play) as server, Gate(world, f"smtp://127.0.0.1:{server.port}") as gate, Raw(gate, "smtp", starttls=True) as raw:
        offered(raw)
        answers(raw, MAIL, RCPT)
        reply = raw.ask(b"BDAT %d LAST\r\n" % len(content) + content)
        check(reply.startswith(b"552"), f"{reply}")
        check(not any(b"LAST" in command for command in refused.commands), "a refused message was ended")
        answers(raw, MAIL, RCPT)
        check(raw.ask(b"BDAT 3 LAST\r\n\0\r\n").startswith(b"250") and refused.taken.endswith(b"\0\r\n"), "the next message is not taken")
    for keywords in ((b"BINARYMIME",), (b"CHUNKING",)):
        with Scripted(Binary(keywords).play) as server, Gate(world, f"smtp://127.0.0.1:{server.port}") as gate, Raw(gate, "smtp", starttls=True) as raw:
            check(b"BINARYMIME" not in offered(raw), f"BINARYMIME is offered for {keywords}")
            answers(raw, (MAIL[0], b"555"))
