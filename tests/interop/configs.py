"""What `gatepost config` makes, given to the programs it is made for.

Servers start with the generated files, their ports moved to free ones, and are then spoken to: TLS is there, no login is taken before
it, mail goes in and comes out. Mail programs read the generated files and connect at the first try. The zone text is read by a name
server and found in it. What lint says of real servers is held against what they say themselves.
"""

import json
import os
import pwd
import re
import shutil
import smtplib
import socket
import subprocess
import threading
from pathlib import Path

import rooms
from checks import faults, verdicts
from ours import gatepost, says
from servers import ADDRESS, EXIM, PASSWORD, SUBMISSION, Dovecot, Foreign, Pki, Postfix, Zone, all_sent, fetched, fetches_all, filled_maildir, kinds, listens
from world import HOST, Skip, case, check, free_port, in_threads, run

# Dovecot trusts a client whose address is its own: these come from another address of this machine.
ELSEWHERE = ("127.0.0.2", 0)
PROFILES = ["mozilla-6-intermediate", "ncsc-2025", "strict"]
BASE = """pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
lmtp unix - - n - - lmtp
error unix - - n - - error
retry unix - - n - - error
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""


def generated(world, server, folder, pki, *more):
    """The generated files: a folder of the test, filled by the program."""
    made = folder / "generated"
    gatepost(world, "config", "generate", "--for", server, "--domain", "example.test", "--host", "mail.example.test", "--chain", pki.cert,
             "--key", pki.key, "--output", made, *more)
    return made


def moved(text, ports, before, after=""):
    """The text with each standard port replaced by a free one of this machine."""
    for standard, free in ports.items():
        text, count = re.subn(before + str(standard) + after, lambda match, free=free, standard=standard: match.group(0).replace(str(standard), str(free)), text)
        check(count >= 1, f"port {standard} is not in the generated file:\n{text}")
    return text


def no_login_in_clear(port, starttls_needed=True):
    """What an SMTP server says before TLS: no AUTH; on the ports for users no mail either."""
    with smtplib.SMTP(HOST, port, timeout=30) as connection:
        connection.ehlo("client.test")
        check(connection.has_extn("starttls"), "STARTTLS is not offered")
        check(not connection.has_extn("auth"), f"AUTH is offered in clear: {connection.esmtp_features}")
        code, words = connection.docmd("AUTH", "PLAIN AGEAYQ==")
        check(code >= 500, f"AUTH in clear was answered with {code} {words}")
        code, words = connection.docmd("MAIL", f"FROM:<{ADDRESS}>")
        if starttls_needed and code < 500:
            code, words = connection.docmd("RCPT", "TO:<someone@elsewhere.test>")
        check(code >= 500 if starttls_needed else code == 250, f"MAIL in clear was answered with {code} {words}")


def no_imap_login_in_clear(port, user=ADDRESS):
    """An IMAP server lists LOGINDISABLED before TLS, no AUTH=PLAIN, and refuses LOGIN."""
    with socket.create_connection(("127.0.0.1", port), timeout=30, source_address=ELSEWHERE) as connection:
        lines = connection.makefile("rb")
        lines.readline()

        def ask(words):
            connection.sendall(b"a " + words + b"\r\n")
            said = b""
            while not said.split(b"\n")[-2:][0].startswith(b"a "):
                line = lines.readline()
                check(line, f"the server hung up after {words!r}: {said!r}")
                said += line
            return said

        listed = ask(b"CAPABILITY").upper()
        check(b"STARTTLS" in listed and b"AUTH=PLAIN" not in listed, f"before TLS: {listed!r}")
        said = ask(b"LOGIN " + user.encode() + b' "' + PASSWORD.encode() + b'"')
        check(b"\na OK" not in b"\n" + said, f"LOGIN in clear was answered with {said!r}")


def no_pop3_login_in_clear(port, user=ADDRESS):
    """A POP3 server refuses USER and PASS before TLS."""
    with socket.create_connection(("127.0.0.1", port), timeout=30, source_address=ELSEWHERE) as connection:
        lines = connection.makefile("rb")
        lines.readline()
        connection.sendall(b"USER " + user.encode() + b"\r\n")
        said = lines.readline()
        if said.startswith(b"+OK"):
            connection.sendall(b"PASS " + PASSWORD.encode() + b"\r\n")
            said = lines.readline()
        check(not said.startswith(b"+OK"), f"a login in clear was answered with {said!r}")


def takes_version(port, version, starttls=None):
    """Whether a handshake with exactly this TLS version comes about."""
    words = ["openssl", "s_client", "-connect", f"{HOST}:{port}", f"-{version}", "-cipher", "ALL:@SECLEVEL=0"]
    words += ["-starttls", starttls] if starttls else []
    done = subprocess.run(words, input=b"", capture_output=True, timeout=30)
    return b"Cipher is (NONE)" not in done.stdout and b"Cipher    : 0000" not in done.stdout and b"New, TLSv1" in done.stdout


class MadeDovecot(Foreign):
    """Dovecot with the generated file, and where mail and users are."""

    def __init__(self, world, profile, auth):
        super().__init__(world, "made-dovecot")
        self.ports = {name: free_port() for name in ("imap", "imaps", "pop3", "pop3s", "lmtp")}
        made = generated(world, "dovecot", self.folder, self.pki, "--version", "2.3", "--profile", profile)
        port = self.ports
        text = moved((made / "dovecot.conf").read_text(), {143: port["imap"], 993: port["imaps"], 110: port["pop3"], 995: port["pop3s"]}, r"port = ", r"\b")
        text = text.replace("/var/spool/postfix/private/auth", str(auth))
        mail = self.folder / "mail"
        mail.mkdir()
        owner = pwd.getpwnam("nobody")
        os.chown(mail, owner.pw_uid, owner.pw_gid)
        config = self.folder / "dovecot.conf"
        config.write_text(text + f"""
base_dir = {self.folder}/run
state_dir = {self.folder}/state
log_path = {self.log}
listen = 127.0.0.1
mail_location = maildir:{mail}/%u
first_valid_uid = 1
first_valid_gid = 1
passdb {{
  driver = static
  args = password={PASSWORD}
}}
userdb {{
  driver = static
  args = uid={owner.pw_uid} gid={owner.pw_gid} home={mail}/%u allow_all_users=yes
}}
service lmtp {{
  inet_listener lmtp {{
    address = 127.0.0.1
    port = {port['lmtp']}
  }}
}}
service stats {{
  chroot =
}}
""")
        done = run(["doveconf", "-n", "-c", config])
        check(b"ssl = required" in done.stdout and not done.stderr.strip(), f"doveconf: {done.stderr!r}")
        process = self.start("dovecot", "-F", "-c", config)
        for number in self.ports.values():
            listens(number, process, self.log)


class MadePostfix(Foreign):
    """Postfix with the generated files, queue and delivery of the test."""

    def __init__(self, world, profile):
        super().__init__(world, "made-postfix")
        self.ports = {"smtp": free_port(), "submission": free_port(), "submissions": free_port()}
        self.config, self.queue, data = (self.folder / name for name in ("etc", "queue", "data"))
        for path in (self.config, self.queue, data):
            path.mkdir()
        shutil.chown(data, "postfix")
        self.made = generated(world, "postfix", self.folder, self.pki, "--version", "3.7", "--profile", profile)

    def auth(self):
        """Where Dovecot answers for logins: the generated path, seen from outside of the queue."""
        private = self.queue / "private"
        private.mkdir(mode=0o700, exist_ok=True)
        shutil.chown(private, "postfix")
        return private / "auth"

    def begin(self, lmtp):
        (self.config / "main.cf").write_text((self.made / "main.cf").read_text() + f"""
queue_directory = {self.queue}
data_directory = {self.folder}/data
mydestination =
alias_maps =
alias_database =
mynetworks =
virtual_mailbox_domains = example.test
virtual_transport = lmtp:inet:127.0.0.1:{lmtp}
lmtp_tls_security_level = none
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
maillog_file = {self.log}
maillog_file_prefixes = {self.folder}
message_size_limit = 20000000
""")
        port = self.ports
        master = (self.made / "master.cf").read_text()
        # The test's folder holds no copy of the system's files, so nothing runs chrooted.
        master = re.sub(r"inet  n       -       y", "inet  n       -       n", master)
        master = moved(master, {"smtp": f"127.0.0.1:{port['smtp']}", 587: f"127.0.0.1:{port['submission']}", 465: f"127.0.0.1:{port['submissions']}"}, r"(?m)^", r"\b(?=\s+inet)")
        (self.config / "master.cf").write_text(master + BASE)
        done = run(["postconf", "-c", self.config, "-n"])
        check(not done.stderr.strip(), f"postconf: {done.stderr!r}")
        done = run(["postconf", "-c", self.config, "-M"])
        check(not done.stderr.strip(), f"postconf -M: {done.stderr!r}")
        process = self.start("postfix", "-c", self.config, "start-fg")
        for number in self.ports.values():
            listens(number, process, self.log)

    def __exit__(self, *why):
        subprocess.run(["postfix", "-c", self.config, "stop"], capture_output=True, timeout=30, check=False)
        super().__exit__(*why)


# What the programs of Debian 12 do not have or do whatever their configuration says: hybrid groups, signatures by OpenSSL's security level,
# Dovecot's STARTTLS with a parameter.
BEYOND = {"KEX-PQ", "CERT-LIFE", "SIG-ALG", "STLS-005"}


def passes_check(world, profile, server, services, dane_like=(), beyond=()):
    """What was generated for a profile has no finding in it, seen from outside. From its own address a server takes logins for safe."""
    places = list(services.items())

    def one(number):
        service, scheme = places[number]
        found = verdicts(world, f"{scheme}://localhost:{server.ports[service]}", "--profile", profile, "--ca", server.pki.ca, "--source", "127.0.0.2", "--tier", "deep")
        # Port 25 takes what senders have: anonymous suites and old ways of exchanging keys are better than clear text.
        loose = {"CIPH-ANON", "CIPH-DHE", "CIPH-CBC", "CIPH-kRSA", "CIPH-CCM8", "KEX-DH", "TLS-12"} if service in dane_like else set()
        bad = [name for name in faults(found) if name not in BEYOND | loose | set(beyond)]
        check(not bad, f"{service} by {profile}: {[(name, found[name]['status'], found[name]['evidence']) for name in bad]}")

    in_threads(len(places), one)


def postfix_and_dovecot(world, profile):
    """A generated pair: mail goes in by both doors for users and comes out by all four for fetching."""
    with MadePostfix(world, profile) as postfix, MadeDovecot(world, profile, postfix.auth()) as dovecot:
        postfix.begin(dovecot.ports["lmtp"])
        # [CFG-PF-01] [CFG-DC-01]
        no_login_in_clear(postfix.ports["smtp"], starttls_needed=False)
        no_login_in_clear(postfix.ports["submission"])
        no_imap_login_in_clear(dovecot.ports["imap"])
        no_pop3_login_in_clear(dovecot.ports["pop3"])
        strict = profile == "strict"
        for port, starttls in ((postfix.ports["submissions"], None), (postfix.ports["submission"], "smtp"), (dovecot.ports["imaps"], None), (dovecot.ports["pop3"], "pop3")):
            check(takes_version(port, "tls1_3", starttls), "TLS 1.3 is not spoken")
            check(takes_version(port, "tls1_2", starttls) != strict, f"TLS 1.2 with the profile {profile}")
            check(not takes_version(port, "tls1_1", starttls), "TLS 1.1 is spoken")
        check(takes_version(postfix.ports["smtp"], "tls1_2", "smtp"), "port 25 does not speak TLS 1.2")
        some = kinds()[:2]
        all_sent(world, postfix, postfix.ports, SUBMISSION, some, world.new_folder("sent"))
        for scheme in ("imap", "imaps", "pop3", "pop3s"):
            mailbox = "/INBOX" if scheme.startswith("imap") else ""
            mode = "implicit" if scheme.endswith("s") else "starttls"
            found = fetched(world, dovecot, f"{scheme}://localhost:{dovecot.ports[scheme]}{mailbox}", len(some), mode=mode)
            check(len(found) == len(some), f"{scheme}: {len(found)} messages instead of {len(some)}")
        passes_check(world, profile, postfix, {"smtp": "smtp", "submission": "submission", "submissions": "submissions"}, dane_like=("smtp",))
        passes_check(world, profile, dovecot, {name: name for name in ("imap", "imaps", "pop3", "pop3s")})
        check(postfix.folder.exists() and b"warning" not in grep(postfix.log, "unused parameter|deprecated"), "Postfix warns")


def grep(path, pattern):
    """The lines of a file that fit."""
    return b"\n".join(line for line in path.read_bytes().splitlines() if re.search(pattern.encode(), line)) if path.exists() else b""


@case("config-postfix-dovecot-mozilla", "postfix", "dovecot")
def made_mozilla(world):
    postfix_and_dovecot(world, "mozilla-6-intermediate")


@case("config-postfix-dovecot-ncsc", "postfix", "dovecot")
def made_ncsc(world):
    postfix_and_dovecot(world, "ncsc-2025")


@case("config-postfix-dovecot-strict", "postfix", "dovecot")
def made_strict(world):
    postfix_and_dovecot(world, "strict")


class MadeExim(Foreign):
    """Exim with the generated file."""

    def __init__(self, world, profile):
        room = rooms.made(*EXIM)
        super().__init__(world, "made-exim")
        self.ports = {"smtp": free_port(), "submission": free_port(), "submissions": free_port()}
        port = self.ports
        made = generated(world, "exim", self.folder, self.pki, "--profile", profile)
        text = (made / "exim4.conf").read_text()
        text = text.replace("daemon_smtp_ports = 25 : 465 : 587", f"local_interfaces = 127.0.0.1\ndaemon_smtp_ports = {port['smtp']} : {port['submissions']} : {port['submission']}")
        text = text.replace("tls_on_connect_ports = 465", f"tls_on_connect_ports = {port['submissions']}")
        text = text.replace("{587}", f"{{{port['submission']}}}").replace("{465}", f"{{{port['submissions']}}}")
        spool = self.folder / "spool"
        spool.mkdir(mode=0o777)
        spool.chmod(0o777)
        (self.folder / "exim.conf").write_text(f"spool_directory = {spool}\nlog_file_path = {spool}/log_%s\npid_file_path = {spool}/pid\nmessage_size_limit = 20M\nsmtp_accept_max = 0\n{text}")
        crypted = subprocess.run(["openssl", "passwd", "-6", PASSWORD], capture_output=True, check=True, text=True).stdout.strip()
        (self.folder / "passwd").write_text(f"{ADDRESS}:{crypted}\n")
        script = f"""
mkdir -p /run/exim && cp -a /etc/exim4/. /run/exim && mount --bind /run/exim /etc/exim4
cp {self.folder}/exim.conf /etc/exim4/exim4.conf
install -o root -g Debian-exim -m 640 {self.folder}/passwd /etc/exim4/passwd
exim4 -bV >{self.folder}/bV 2>&1 || exit 1
exim4 -bP auth_advertise_hosts tls_on_connect_ports tls_advertise_hosts >{self.folder}/bP 2>&1
exec exim4 -bdf -v"""
        process = self.start(*rooms.command(room, self.folder, script))
        for number in self.ports.values():
            listens(number, process, self.folder / "output")


@case("config-exim")
def made_exim(world):
    for profile in PROFILES[:2]:
        with MadeExim(world, profile) as server:
            # [CFG-EX-01]
            check(b"tls_in_cipher" in (server.folder / "bP").read_bytes(), (server.folder / "bP").read_text())
            no_login_in_clear(server.ports["smtp"], starttls_needed=False)
            no_login_in_clear(server.ports["submission"])
            check(not takes_version(server.ports["submissions"], "tls1_1"), "TLS 1.1 is spoken")
            check(takes_version(server.ports["submissions"], "tls1_2") and takes_version(server.ports["submission"], "tls1_3", "smtp"), "TLS is not spoken")
            all_sent(world, server, server.ports, SUBMISSION, kinds()[:2], world.new_folder("sent"))
            passes_check(world, profile, server, {name: name for name in server.ports}, dane_like=("smtp",))


class MadeCourier(Foreign):
    """Courier with the generated files over a filled Maildir."""

    def __init__(self, world, stored):
        room = rooms.made("courier", ["courier-imap", "courier-pop", "courier-authdaemon", "courier-authlib-userdb"])
        super().__init__(world, "made-courier")
        self.ports = {name: free_port() for name in ("imap", "imaps", "pop3", "pop3s")}
        maildir = filled_maildir(self.folder / "home" / "Maildir", stored)
        crypted = subprocess.run(["openssl", "passwd", "-6", PASSWORD], capture_output=True, check=True, text=True).stdout.strip()
        owner = pwd.getpwnam("nobody")
        (self.folder / "userdb").write_text(
            f"{ADDRESS}\tuid={owner.pw_uid}|gid={owner.pw_gid}|home={maildir.parent}|mail={maildir}|systempw={crypted}\n")
        made = generated(world, "courier", self.folder, self.pki)
        port = self.ports
        for name, standard, free, word in (("imapd", 143, port["imap"], "PORT="), ("imapd-ssl", 993, port["imaps"], "SSLPORT="), ("pop3d", 110, port["pop3"], "PORT="), ("pop3d-ssl", 995, port["pop3s"], "SSLPORT=")):
            text = moved((made / name).read_text(), {standard: free}, word, r"\b")
            address = "SSLADDRESS" if name.endswith("ssl") else "ADDRESS"
            (self.folder / name).write_text(f"{text}{address}=127.0.0.1\nTLS_CACHEFILE=\nMAXPERIP=40\n")
        (self.folder / "authdaemonrc").write_text('authmodulelist="authuserdb"\n')
        script = f"""
cd {self.folder}
mkdir -p /run/courier-etc && cp -a /etc/courier/. /run/courier-etc && mount --bind /run/courier-etc /etc/courier
for name in imapd imapd-ssl pop3d pop3d-ssl authdaemonrc; do cat $name >> /etc/courier/$name; done
cp userdb /etc/courier/userdb && chmod 700 /etc/courier/userdb && makeuserdb
mkdir -p /run/courier/authdaemon
authdaemond start
for name in imapd imapd-ssl pop3d pop3d-ssl; do /usr/lib/courier/$name start; done
trap exit TERM
sleep 3600 & wait"""
        process = self.start(*rooms.command(room, self.folder, script))
        for number in self.ports.values():
            listens(number, process, self.folder / "output")


@case("config-courier")
def made_courier(world):
    stored = kinds()[:2]
    with MadeCourier(world, stored) as server:
        no_imap_login_in_clear(server.ports["imap"])
        no_pop3_login_in_clear(server.ports["pop3"])
        check(not takes_version(server.ports["imaps"], "tls1_1") and takes_version(server.ports["imaps"], "tls1_2"), "versions")
        fetches_all(world, server, stored)
        # Its own: POP3 names USER before TLS and refuses it, and carries out what was slipped in before TLS; IMAP goes on in clear after a
        # handshake that failed. It takes second handshakes of TLS 1.2, and has no setting for that.
        passes_check(world, PROFILES[0], server, {name: name for name in ("imap", "imaps", "pop3", "pop3s")}, beyond={"AUTH-001", "INJ-003", "INJ-005", "INJ-006", "STLS-010", "REN-002"})


class MadeCyrus(Foreign):
    """Cyrus with the generated files."""

    def __init__(self, world, profile):
        room = rooms.made("cyrus", ["cyrus-imapd", "cyrus-pop3d", "cyrus-admin", "sasl2-bin", "libsasl2-modules", "libsasl2-modules-db"])
        super().__init__(world, "made-cyrus")
        self.ports = {name: free_port() for name in ("imap", "imaps", "pop3", "pop3s")}
        self.lmtp = free_port()
        made = generated(world, "cyrus", self.folder, self.pki, "--profile", profile)
        imapd = (made / "imapd.conf").read_text()
        (self.folder / "imapd.conf").write_text(f"""{imapd}
configdirectory: /var/lib/cyrus
defaultpartition: default
partition-default: /var/spool/cyrus/mail
admins: cyrus
autocreate_quota: 0
autocreate_post: yes
sasl_pwcheck_method: auxprop
sasl_auxprop_plugin: sasldb
sasl_sasldb_path: {self.folder}/sasldb
""")
        ports = {143: self.ports["imap"], 993: self.ports["imaps"], 110: self.ports["pop3"], 995: self.ports["pop3s"]}
        cyrus = (made / "cyrus.conf").read_text()
        for standard, free in ports.items():
            check(f'listen="{standard}"' in cyrus, f"port {standard} is not served")
            cyrus = cyrus.replace(f'listen="{standard}"', f'listen="127.0.0.1:{free}"')
        cyrus = cyrus.replace('lmtpunix cmd="lmtpd" listen="/run/cyrus/socket/lmtp"', f'lmtp cmd="lmtpd -a" listen="127.0.0.1:{self.lmtp}"')
        cyrus = cyrus.replace('cmd="ctl_cyrusdb', 'cmd="/usr/sbin/cyrus ctl_cyrusdb').replace('cmd="tls_prune"', 'cmd="/usr/sbin/cyrus tls_prune"')
        (self.folder / "cyrus.conf").write_text(cyrus)
        script = f"""
cd {self.folder}
cp imapd.conf cyrus.conf /etc/
printf %s '{PASSWORD}' | saslpasswd2 -p -c -f {self.folder}/sasldb -u mail.example.test anna
chmod 644 {self.folder}/sasldb
rm -rf /var/lib/cyrus/* /var/spool/cyrus/mail/*
mkdir -p /run/cyrus/proc /run/cyrus/lock /run/cyrus/socket && chown -R cyrus:mail /run/cyrus /var/lib/cyrus /var/spool/cyrus
setpriv --reuid=cyrus --regid=mail --init-groups /usr/sbin/cyrus makedirs || true
exec /usr/sbin/cyrmaster -D"""
        process = self.start(*rooms.command(room, self.folder, script))
        for number in [*self.ports.values(), self.lmtp]:
            listens(number, process, self.folder / "output")

    def login(self, user="anna"):
        return super().login(user)


@case("config-cyrus")
def made_cyrus(world):
    with MadeCyrus(world, "ncsc-2025") as server:
        no_imap_login_in_clear(server.ports["imap"], "anna")
        no_pop3_login_in_clear(server.ports["pop3"], "anna")
        check(not takes_version(server.ports["imaps"], "tls1_1") and takes_version(server.ports["imaps"], "tls1_2"), "versions")
        some, folder = kinds()[:2], world.new_folder("sent")
        for message in some:
            gatepost(world, "send", "--server", f"lmtp://localhost:{server.lmtp}", "--tls", "off", "--from", ADDRESS, "--to", ADDRESS, message.save(folder))
        fetches_all(world, server, some)
        # Its own: after a handshake that failed it goes on in clear.
        passes_check(world, "ncsc-2025", server, {name: name for name in ("imap", "imaps", "pop3", "pop3s")}, beyond={"STLS-010"})


@case("config-opensmtpd")
def made_opensmtpd(world):
    # Debian 12's OpenSMTPD cannot sign in a TLS handshake (see servers.py): its TLS is looked at from outside only.
    room = rooms.made("opensmtpd", ["opensmtpd"])
    with Foreign(world, "made-opensmtpd") as server:
        ports = {25: free_port(), 465: free_port(), 587: free_port()}
        made = generated(world, "opensmtpd", server.folder, server.pki)
        text = moved((made / "smtpd.conf").read_text().replace("0.0.0.0", "127.0.0.1"), ports, r"port ", r"\b")
        (server.folder / "smtpd.conf").write_text(text)
        server.pki.key.chmod(0o600)
        script = f"""
cp {server.folder}/smtpd.conf /etc/smtpd.conf
chown root:root {server.pki.key}
chmod 711 {server.folder}
mkdir -p /run/smtpd /var/empty
touch /etc/aliases
smtpd -n >{server.folder}/checked 2>&1 || exit 1
exec smtpd -d"""
        process = server.start(*rooms.command(room, server.folder, script))
        for number in ports.values():
            listens(number, process, server.folder / "output")
        check("configuration OK" in (server.folder / "checked").read_text(), (server.folder / "checked").read_text())
        no_login_in_clear(ports[25], starttls_needed=False)
        no_login_in_clear(ports[587])


@case("config-nginx", "nginx")
def made_nginx(world):
    module = Path("/usr/lib/nginx/modules/ngx_mail_module.so")
    if not module.exists():
        raise Skip("nginx has no mail module here")
    for profile in PROFILES:
        with Foreign(world, "made-nginx") as server:
            ports = {number: free_port() for number in (465, 993, 995, 587, 143, 110)}
            made = generated(world, "nginx-mail", server.folder, server.pki, "--profile", profile)
            text = moved((made / "nginx-mail.conf").read_text(), {number: f"127.0.0.1:{port}" for number, port in ports.items()}, "listen ", r"\b")
            config = server.folder / "nginx.conf"
            config.write_text(f"load_module {module};\npid {server.folder}/pid;\nerror_log {server.log};\ndaemon off;\nevents {{\n}}\n{text}")
            run(["nginx", "-t", "-c", config])
            process = server.start("nginx", "-c", config)
            for number in ports.values():
                listens(number, process, server.log)
            no_imap_login_in_clear(ports[143])
            no_pop3_login_in_clear(ports[110])
            with smtplib.SMTP(HOST, ports[587], timeout=30) as connection:
                connection.ehlo("client.test")
                check(connection.has_extn("starttls"), "STARTTLS is not offered")
                check(connection.docmd("AUTH", "PLAIN AGEAYQ==")[0] >= 500, "AUTH in clear")
            for standard, starttls in ((465, None), (993, None), (995, None), (587, "smtp"), (143, "imap"), (110, "pop3")):
                check(takes_version(ports[standard], "tls1_3", starttls), f"{standard}: no TLS 1.3")
                check(takes_version(ports[standard], "tls1_2", starttls) == (profile != "strict"), f"{standard}: TLS 1.2 with {profile}")
                check(not takes_version(ports[standard], "tls1_1", starttls), f"{standard}: TLS 1.1")
            server.ports = {"submission": ports[587], "submissions": ports[465], "imap": ports[143], "imaps": ports[993], "pop3": ports[110], "pop3s": ports[995]}
            passes_check(world, profile, server, {name: name for name in server.ports})


@case("config-gatepost")
def made_gatepost(world):
    folder = world.new_folder("made-gatepost")
    pki = Pki(folder)
    done = gatepost(world, "config", "generate", "--for", "gatepost", "--domain", "found.test", "--host", "mail.found.test", "--chain", pki.cert,
                    "--key", pki.key)
    (folder / "gatepost.toml").write_bytes(done.stdout)
    says(gatepost(world, "config", "explain", "--config", folder / "gatepost.toml"), "mail.found.test", "server.port_offset")
    # The certificate holds for two days, which is told, and no more than that.
    found = json.loads(gatepost(world, "config", "lint", folder / "gatepost.toml", "--json", "--fail-on", "high").stdout)["findings"]
    check({it["id"] for it in found} <= {"CF-CERT-WARN"}, f"found {found}")


# Mail programs


@case("config-dns", "knotd", "keymgr", "kzonecheck")
def made_zone(world):
    # [SRVREC-01] [SVC-10] [DANE-14] a name server takes the text, and --verify finds in it what was made.
    folder = world.new_folder("made-zone")
    with Foreign(world, "made-zone-pki") as server:
        words = ["config", "dns", "found.test", "--host", "mail.found.test", "--chain", server.pki.cert, "--next", server.pki.ca]
        text = gatepost(world, *words).stdout.decode()
        check(text.count(" TLSA 3 1 1 ") == 2, text)
        whole = folder / "found.test.zone"
        whole.write_text(f"{text}\n@ SOA ns me 1 3600 600 86400 60\n@ NS ns\nns A 127.0.0.1\nmail A 127.0.0.1\n")
        run(["kzonecheck", "-o", "found.test", whole])
        if shutil.which("named-checkzone"):
            run(["named-checkzone", "found.test", whole])
        with Zone(world, text) as zone:
            verify = [*words, *zone.flags, "--verify"]
            done = gatepost(world, *verify, env=zone.env)
            check(b"missing" not in done.stdout and b"right    _25._tcp.mail.found.test. TLSA" in done.stdout, done.stdout.decode())
            # Another policy has another id; POP3 is served where the zone says it is not.
            says(gatepost(world, *verify, "--sts-mode", "enforce", env=zone.env, expect=1), "other    _mta-sts.found.test.", "instead: \\\"v=STSv1")
            says(gatepost(world, *verify, "--pop3", env=zone.env, expect=1), "other    _pop3s._tcp.found.test.")
            gone = [word if word != zone.flags[1] else "127.0.0.1:1" for word in verify]
            says(gatepost(world, *gone, env=zone.env, expect=3), "unknown")


@case("config-dns-live", "postfix", "dovecot")
def live_certificate(world):
    with MadePostfix(world, PROFILES[0]) as postfix, MadeDovecot(world, PROFILES[0], postfix.auth()) as dovecot:
        postfix.begin(dovecot.ports["lmtp"])
        port = postfix.ports["smtp"]
        words = ["config", "dns", "found.test", "--host", "mail.found.test", "--tlsa-ports", port]
        given = gatepost(world, *words, "--chain", postfix.pki.cert).stdout
        live = gatepost(world, *words, "--live", "--resolve", f"mail.found.test:{port}:127.0.0.1").stdout
        check(b" TLSA 3 1 1 " in live and live == given, "the live certificate makes another zone")


class WithoutTls:
    """A mail server that offers no STARTTLS; its words would be records if they stood on lines of their own."""

    def __init__(self, address, port):
        self.socket = socket.create_server((address, port))
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        try:
            while True:
                connection, _ = self.socket.accept()
                with connection, connection.makefile("rwb") as words:
                    words.write(b"220 mail.found.test\r\n")
                    words.flush()
                    while line := words.readline():
                        known = line[:4].upper() in (b"EHLO", b"QUIT")
                        words.write(b"250-mail.found.test\r\n250 X\r\n" if known else b"502-no\r\n502 \x1b[1m\n@ IN A 192.0.2.66\r\n")
                        words.flush()
        except OSError:
            pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        # A thread that waits in accept would keep a socket that is only closed.
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()


@case("config-dns-probe", "postfix", "dovecot", "knotd", "keymgr")
def probed_zone(world):
    # [DANE-14] no TLSA where STARTTLS is absent, is not the same at every address, shows another key, or where the zone is not signed.
    more = {"smtp": "-o smtpd_tls_security_level=may", "plain": "-o smtpd_tls_security_level=none"}
    with Dovecot(world) as dovecot, Postfix(world, dovecot, more) as postfix:
        smtp, plain, key = postfix.ports["smtp"], postfix.ports["plain"], postfix.pki.cert
        records = "two A 127.0.0.1\ntwo A 127.0.0.2\n"
        with Zone(world, records, below="mail A 127.0.0.1\n") as zone:
            def probe(code, *more, host="mail", ports=smtp, chain=key, network=zone.flags, free=(), held=(), say=()):
                words = ["config", "dns", "found.test", "--host", f"{host}.found.test", "--chain", chain, "--probe", "--tlsa-ports", ports, *network, *more]
                done = gatepost(world, *words, env=zone.env, expect=code)
                says(done, *say)
                lines = done.stdout.decode().splitlines()
                found = {kind: [it for it in lines if it.startswith(kind + "_") and " TLSA 3 1 1 " in it] for kind in ("", "; not yet: ")}
                for kind, ports in (("", free), ("; not yet: ", held)):
                    names = [it.removeprefix(kind).split()[0] for it in found[kind]]
                    check(names == [f"_{port}._tcp.{host}.found.test." for port in ports], f"{kind!r}: {names} instead of {ports}")
                check("192.0.2.66" not in done.stdout.decode(), "a server's words are in the zone")

            probe(0, free=[smtp], say=[f"port {smtp} at 127.0.0.1: TLS works, with a key of these records"])
            missing = f"Held back: port {plain} at 127.0.0.1: E-STARTTLS-MISSING"
            probe(1, ports=f"{smtp},{plain}", free=[smtp], held=[plain], say=[missing, "are held back; group 6 says why"])
            probe(1, chain=postfix.pki.ca, held=[smtp], say=["shows a key that none of these records names"])
            # The key in use may be the next one's record as well.
            gatepost(world, "config", "dns", "found.test", "--host", "mail.found.test", "--chain", postfix.pki.ca, "--next", key, "--probe", "--tlsa-ports", smtp,
                     *zone.flags, env=zone.env)
            # A second address: nobody there, then a server without STARTTLS; told by DNS, or on the command line.
            works = f"port {smtp} at 127.0.0.1: TLS works"
            for host, more in (("two", ()), ("mail", ("--address", "127.0.0.2"))):
                probe(3, *more, host=host, held=[smtp], say=[works, f"could not tell: port {smtp} at 127.0.0.2"])
                with WithoutTls("127.0.0.2", smtp):
                    probe(1, *more, host=host, held=[smtp], say=[works, f"Held back: port {smtp} at 127.0.0.2: E-"])
            # Signed is not the same as reached, and nobody is asked where there is no answer.
            probe(1, host="mail.plain", held=[smtp], say=[works, "the zone of mail.plain.found.test is not signed (DNSSEC)"])
            probe(3, "--address", "127.0.0.1", network=["--dns", "127.0.0.1:1"], held=[smtp], say=[works, "could not be found out"])
            probe(3, host="nowhere", held=[smtp], say=["no address of nowhere.found.test is known"])
            words = ["config", "dns", "found.test", "--host", "mail.found.test", "--probe"]
            says(gatepost(world, *words, "--live", "--tlsa-ports", smtp, *zone.flags, env=zone.env), f"\n_{smtp}._tcp.mail.found.test. IN TLSA 3 1 1 ")
            says(gatepost(world, *words, expect=2), "give --chain FILE or --live")
            gatepost(world, *words, "--chain", key, "--verify", expect=2)


# Lint and drift


@case("config-lint-real", "postfix", "dovecot", "postconf")
def lint_of_real_ones(world):
    # What the packages ship has no finding above medium, and Postfix agrees about every name it knows.
    for kind, path in (("dovecot", "/usr/share/dovecot/dovecot.conf"),):
        if Path(path).exists():
            gatepost(world, "config", "lint", kind, path, "--fail-on", "high")
    folder = world.new_folder("lint")
    (folder / "main.cf").write_text("")
    names = run(["postconf", "-c", folder, "-d"]).stdout.decode().splitlines()
    version = next(line.split("=")[1].strip() for line in names if line.startswith("mail_version"))
    (folder / "main.cf").write_text("".join(f"{line.split('=')[0].strip()} =\n" for line in names))
    done = gatepost(world, "config", "lint", "postfix", folder / "main.cf", "--version", version, "--json", "--fail-on", "critical", expect=None)
    wrong = [it for it in json.loads(done.stdout)["findings"] if it["id"] in ("PF-UNKNOWN", "PF-FOREIGN", "PF-TOO-NEW", "PF-NO-MAILBOX")]
    check(not wrong, f"names that Postfix {version} knows: {[it['evidence'] for it in wrong]}")
    # A name it does not know is one that ours does not know either.
    (folder / "main.cf").write_text("imap_tls_security_level = may\nsmtpd_tls_securty_level = may\n")
    done = run(["postconf", "-c", folder, "-n"])
    check(done.stderr.count(b"unused parameter") == 2, done.stderr)


@case("config-lint-fixes", "postfix", "postconf")
def fixes_are_taken(world):
    # the usual snippet, corrected: Postfix reads it without a warning.
    folder = world.new_folder("fixed")
    pki = Foreign(world, "fixed-pki").pki
    # Else the lint says that others can read the key.
    os.chmod(pki.key, 0o600)
    (folder / "master.cf").write_text("")
    (folder / "main.cf").write_text(
        f"smtpd_tls_security_level = may\nsmtpd_tls_auth_only = yes\nsmtpd_tls_cert_file = {pki.cert}\nsmtpd_tls_key_file = {pki.key}\nsmtpd_use_tls = yes\n"
        f"imap_tls_security_level = may\nimap_tls_cert_file = {pki.cert}\npop3_tls_key_file = {pki.key}\n")
    says(gatepost(world, "config", "lint", folder, "--fix", expect=1), "PF-NO-MAILBOX", "main.cf.fixed")
    (folder / "main.cf.fixed").rename(folder / "main.cf")
    done = run(["postconf", "-c", folder, "-n"])
    check(not done.stderr and f"smtpd_tls_chain_files = {pki.key}, {pki.cert}" in done.stdout.decode(), done.stdout + done.stderr)
    gatepost(world, "config", "lint", folder, "--fail-on", "low")


@case("config-drift")
def drift(world):
    folder = world.new_folder("drift")
    state, etc = folder / "state.json", folder / "etc"
    gatepost(world, "config", "generate", "--for", "postfix", "--domain", "example.test", "--host", "mail.example.test", "--output", etc, "--state", state)
    url = f"imaps://{HOST}:{world.port('imaps')}"
    words = ["config", "drift", "--state", state, "--ca", world.ca, url]
    says(gatepost(world, *words, "--config", etc / "main.cf"), "nothing changed")
    says(gatepost(world, *words), "nothing changed")
    # Somebody weakens the file, and the server shows another key than was noted.
    text = (etc / "main.cf").read_text()
    (etc / "main.cf").write_text(text.replace("smtpd_tls_security_level = may", "smtpd_tls_security_level = none"))
    noted = json.loads(state.read_text())
    place = next(iter(noted["live"]))
    noted["live"][place]["key"] = "sha256:AAAA"
    state.write_text(json.dumps(noted))
    done = gatepost(world, *words, expect=1)
    says(done, "generated and not there any more: smtpd_tls_security_level = may", "finding new: PF-LEVEL-NONE", f"{place}: key")
    says(gatepost(world, *words, "--update", expect=0), "changed")
    gone = ["config", "drift", "--state", folder / "other.json", f"imaps://{HOST}:1"]
    says(gatepost(world, *gone, expect=3), "unknown")


@case("config-explain")
def explain(world):
    # The questions, answered; without a topic what is in force.
    says(gatepost(world, "config", "explain", "ports"), "465 (submissions)", "RFC 8314", "sources:")
    says(gatepost(world, "config", "explain", "dane"), "TLSA 3 1 1")
    says(gatepost(world, "config", "explain"), "server.port_offset", "default")
    says(gatepost(world, "config", "explain", "nonsense", expect=2), "there is no topic")
