"""The gate in front of servers that speak as Exchange does. None can be run here: their words are those of its documents, a server of one's own
(2016, 2019) and Exchange Online."""

import base64
import email.message

from gate import Gate, Scripted
from servers import ADDRESS, PASSWORD
from world import DOMAIN, case, check

OWN_SMTP = ("SIZE 37748736", "PIPELINING", "DSN", "ENHANCEDSTATUSCODES", "STARTTLS", "X-ANONYMOUSTLS", "AUTH NTLM LOGIN", "X-EXPS GSSAPI NTLM",
            "8BITMIME", "BINARYMIME", "CHUNKING", "XEXCH50", "XRDST", "XSHADOWREQUEST")
ONLINE_SMTP = ("SIZE 157286400", "PIPELINING", "DSN", "ENHANCEDSTATUSCODES", "AUTH LOGIN XOAUTH2", "8BITMIME", "BINARYMIME", "CHUNKING", "SMTPUTF8")
OWN_IMAP = "IMAP4 IMAP4rev1 AUTH=NTLM AUTH=GSSAPI AUTH=PLAIN STARTTLS UIDPLUS CHILDREN IDLE NAMESPACE LITERAL+"
ONLINE_IMAP = "IMAP4 IMAP4rev1 AUTH=PLAIN AUTH=XOAUTH2 SASL-IR UIDPLUS MOVE ID UNSELECT CHILDREN IDLE NAMESPACE LITERAL+"
OWN_POP3 = ("TOP", "UIDL", "SASL NTLM GSSAPI PLAIN", "USER", "STLS")


def smtp(keywords, heard):
    """A receive connector: LOGIN is asked for word by word, and content is taken by BDAT."""

    def play(talk):
        talk.say(b"220 EX01.example.test Microsoft ESMTP MAIL Service ready at Fri, 27 Nov 2026 18:00:00 +0000\r\n")
        while True:
            line = talk.line()
            heard.append(line)
            verb = line.split(b" ")[0].upper()
            if verb == b"EHLO":
                lines = ["EX01.example.test Hello [127.0.0.1]", *keywords]
                talk.say("".join(f"250{' ' if at == len(lines) - 1 else '-'}{word}\r\n" for at, word in enumerate(lines)).encode())
            elif line.upper().startswith(b"AUTH LOGIN"):
                asked = 1 if line.upper() == b"AUTH LOGIN" else 2
                for word in (b"Username:", b"Password:")[asked - 1:]:
                    talk.say(b"334 " + base64.b64encode(word) + b"\r\n")
                    heard.append(talk.line())
                talk.say(b"235 2.7.0 Authentication successful\r\n")
            elif verb == b"AUTH":
                talk.say(b"504 5.7.4 Unrecognized authentication type\r\n")
            elif verb == b"BDAT":
                talk.octets(int(line.split()[1]))
                talk.say(b"250 2.6.0 <1@example.test> [InternalId=1, Hostname=EX01.example.test] Queued mail for delivery\r\n")
            elif verb == b"DATA":
                talk.say(b"354 Start mail input; end with <CRLF>.<CRLF>\r\n")
                while talk.line() != b".":
                    pass
                talk.say(b"250 2.6.0 <1@example.test> [InternalId=1, Hostname=EX01.example.test] Queued mail for delivery\r\n")
            elif verb == b"QUIT":
                talk.say(b"221 2.0.0 Service closing transmission channel\r\n")
                return
            else:
                talk.say(b"250 2.1.0 Sender OK\r\n")

    return play


def imap(words, heard):
    def play(talk):
        talk.say(b"* OK The Microsoft Exchange IMAP4 service is ready. [TABOADIAUABSADAANABDAEEAMAAwADMA]\r\n")
        while True:
            tag, _, rest = talk.line().partition(b" ")
            heard.append(rest)
            verb = rest.split(b" ")[0].upper()
            if verb == b"CAPABILITY":
                talk.say(b"* CAPABILITY " + words.encode() + b"\r\n" + tag + b" OK CAPABILITY completed.\r\n")
            elif rest.upper() == b"AUTHENTICATE PLAIN":
                talk.say(b"+\r\n")
                heard.append(talk.line())
                talk.say(tag + b" OK AUTHENTICATE completed.\r\n")
            elif verb == b"LOGOUT":
                talk.say(b"* BYE Microsoft Exchange Server IMAP4 server signing off.\r\n" + tag + b" OK LOGOUT completed.\r\n")
                return
            else:
                talk.say(tag + b" OK " + verb + b" completed.\r\n")

    return play


def pop3(words, heard):
    def play(talk):
        talk.say(b"+OK The Microsoft Exchange POP3 service is ready. [TABOADIAUABSADAANABDAEEAMAAwADMA]\r\n")
        while True:
            line = talk.line()
            heard.append(line)
            verb = line.split(b" ")[0].upper()
            if verb == b"CAPA":
                talk.say(("+OK\r\n" + "".join(f"{word}\r\n" for word in words) + ".\r\n").encode())
            elif line.upper() == b"AUTH PLAIN":
                talk.say(b"+\r\n")
                heard.append(talk.line())
                talk.say(b"+OK User successfully authenticated.\r\n")
            elif verb == b"QUIT":
                talk.say(b"+OK Microsoft Exchange Server POP3 server signing off.\r\n")
                return
            else:
                talk.say(b"+OK\r\n")

    return play


def in_front_of_smtp(world, keywords):
    heard = []
    with Scripted(smtp(keywords, heard)) as upstream, Gate(world, f"smtp://127.0.0.1:{upstream.port}") as gate:
        with gate.smtp("implicit") as connection:
            connection.ehlo()
            names = set(connection.esmtp_features)
            check(not any(name.startswith("x") for name in names) and "starttls" not in names, f"{names}")
            check({"size", "pipelining", "dsn", "enhancedstatuscodes", "8bitmime", "binarymime", "chunking"} <= names, f"{names}")
            check(("smtputf8" in names) == ("SMTPUTF8" in keywords), f"{names}")
            mechanisms = connection.esmtp_features["auth"].split()
            check("PLAIN" in mechanisms and "LOGIN" in mechanisms and not {"NTLM", "GSSAPI"} & set(mechanisms), f"{mechanisms}")
            check(any(it in mechanisms for it in ("XOAUTH2", "OAUTHBEARER")) == any("XOAUTH2" in it for it in keywords), f"{mechanisms}")
            # The client has PLAIN, the server behind has LOGIN.
            connection.login(ADDRESS, PASSWORD)
            check(base64.b64encode(PASSWORD.encode()) in heard[-1], f"{heard[-3:]}")
            code, text = connection.docmd("X-EXPS GSSAPI")
            check(code in (500, 502), f"{code} {text}")
            letter = email.message.EmailMessage()
            letter["From"], letter["To"], letter["Subject"] = ADDRESS, f"b@{DOMAIN}", "hello"
            letter.set_content("text")
            check(connection.send_message(letter) == {}, "refused")
        check(not any(line.upper().startswith((b"X-EXPS", b"XEXCH50")) for line in heard), f"{heard}")


def in_front_of_imap(world, words):
    heard = []
    with Scripted(imap(words, heard)) as upstream, Gate(world, f"imap://127.0.0.1:{upstream.port}") as gate:
        connection = gate.imap(login=False)
        listed = set(connection.capabilities)
        check("IMAP4REV1" in listed and {"UIDPLUS", "CHILDREN", "IDLE", "NAMESPACE"} <= listed, f"{listed}")
        check(not {"AUTH=NTLM", "AUTH=GSSAPI", "STARTTLS", "LOGINDISABLED"} & listed and "AUTH=PLAIN" in listed, f"{listed}")
        check(("AUTH=XOAUTH2" in listed) == ("XOAUTH2" in words), f"{listed}")
        connection.login(ADDRESS, PASSWORD)
        said = next(at for at, line in enumerate(heard) if line.upper().startswith((b"AUTHENTICATE", b"LOGIN")))
        # Initial responses only where SASL-IR says so.
        check(("SASL-IR" in words) == (b"AUTHENTICATE PLAIN " in heard[said]) or heard[said].startswith(b"LOGIN"), f"{heard[said]}")
        check(connection.noop()[0] == "OK", "NOOP")
        connection.logout()


@case("gate-exchange")
def gate_exchange(world):
    """[GW-01] what Exchange lists, and what of it the gate passes on."""
    for keywords in (OWN_SMTP, ONLINE_SMTP):
        in_front_of_smtp(world, keywords)
    for words in (OWN_IMAP, ONLINE_IMAP):
        in_front_of_imap(world, words)
    heard = []
    with Scripted(pop3(OWN_POP3, heard)) as upstream, Gate(world, f"pop3://127.0.0.1:{upstream.port}") as gate:
        connection = gate.pop3()
        listed = connection.capa()
        check({"TOP", "UIDL"} <= set(listed) and "STLS" not in listed and not {"NTLM", "GSSAPI"} & set(listed.get("SASL", ())), f"{listed}")
        connection.quit()
        check(sum(PASSWORD.encode() in line or b"AHB" in line or line.upper().startswith(b"AUTH PLAIN") for line in heard) >= 1, f"{heard}")
