"""The program's send and fetch against servers of others: Postfix, Dovecot, Exim, Courier, Cyrus, OpenSMTPD.

Each runs from a folder of the test, with a configuration of its own and on ports of its own; nothing of the system's configuration
is read or changed. What is sent arrives byte for byte, and what is fetched is what was stored.
"""

import hashlib
import os
import pwd
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time

import rooms
from clients import send_by_python
from fetchers import all_there
from ours import eml, gatepost, says
from world import Skip, below_trace, case, check, free_port, messages, secret_file

PASSWORD = "Tr0ub4dor&3"
ADDRESS = "anna@example.test"


def listens(port, process, log, seconds=30):
    """Waits until somebody listens on a port."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            ended = process is not None and process.poll() is not None
            words = log.read_text(errors="replace")[-800:] if log.exists() else ""
            check(not ended and time.monotonic() < deadline, f"nobody listens on port {port}: {words}")
            time.sleep(0.05)


def certificate_of(folder, name):
    """A client's certificate, signed by itself, with its key: the file."""
    path = folder / "client.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", folder / "client.key", "-out", path,
         "-subj", f"/CN={name}", "-days", "2", "-addext", "extendedKeyUsage=clientAuth"], check=True, capture_output=True)
    path.write_text(path.read_text() + (folder / "client.key").read_text())
    return path


class Pki:
    """A CA and a certificate for localhost."""

    def __init__(self, folder):
        self.ca, self.cert, self.key = folder / "ca.pem", folder / "cert.pem", folder / "key.pem"
        openssl = lambda *words: subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True)  # noqa: E731
        ec = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        openssl("req", "-x509", *ec, "-keyout", folder / "ca.key", "-out", self.ca, "-subj", "/CN=interop CA", "-days", "3",
                "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign")
        openssl("req", *ec, "-keyout", self.key, "-out", folder / "csr", "-subj", "/CN=localhost")
        (folder / "ext").write_text(
            "subjectAltName=DNS:localhost,DNS:mail.found.test,DNS:mta-sts.found.test,DNS:autoconfig.auto.found.test,IP:127.0.0.1\nextendedKeyUsage=serverAuth\nkeyUsage=digitalSignature\nbasicConstraints=CA:FALSE\n")
        openssl("x509", "-req", "-in", folder / "csr", "-CA", self.ca, "-CAkey", folder / "ca.key", "-CAcreateserial", "-days", "2",
                "-extfile", folder / "ext", "-out", self.cert)
        self.key.chmod(0o644)
        (folder / "both.pem").write_text(self.cert.read_text() + self.key.read_text())
        self.both = folder / "both.pem"


class Foreign:
    """A server of others: a folder, processes, ports."""

    programs = ()

    def __init__(self, world, name):
        if os.geteuid() != 0:
            raise Skip("servers change to their own users, which only root can")
        self.folder = world.new_folder(name)
        # The servers' own users walk through it.
        for part in (world.folder, self.folder):
            part.chmod(0o755)
        self.pki = Pki(self.folder)
        self.log = self.folder / "log"
        self.processes = []
        self.secret = self.folder / "secret"
        self.secret.write_text(PASSWORD + "\n")

    def start(self, *command, env=None):
        log = open(self.folder / "output", "ab")
        process = subprocess.Popen(
            [str(word) for word in command], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder, start_new_session=True,
            env={**os.environ, **(env or {})},
        )
        self.processes.append(process)
        return process

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in reversed(self.processes):
            for number in (signal.SIGTERM, signal.SIGKILL):
                try:
                    os.killpg(process.pid, number)
                    process.wait(timeout=10)
                    break
                except ProcessLookupError:
                    break
                except subprocess.TimeoutExpired:
                    continue

    def login(self, user=ADDRESS):
        """The flags of a login here."""
        return ["--ca", self.pki.ca, "--user", user, "--password-file", self.secret]


class Dovecot(Foreign):
    """IMAP, POP3, LMTP, and logins for a submission server."""

    def __init__(self, world, more=lambda ports: ""):
        super().__init__(world, "dovecot")
        self.ports = {name: free_port() for name in ("imap", "imaps", "pop3", "pop3s", "lmtp", "auth")}
        self.client_certificate = certificate_of(self.folder, ADDRESS)
        mail = self.folder / "mail"
        mail.mkdir()
        owner = pwd.getpwnam("nobody")
        os.chown(mail, owner.pw_uid, owner.pw_gid)
        port = self.ports
        listener = lambda name, extra="": f"inet_listener {name} {{\n address = 127.0.0.1\n port = {port[name]}\n {extra}\n}}"  # noqa: E731
        config = self.folder / "dovecot.conf"
        config.write_text(f"""
base_dir = {self.folder}/run
state_dir = {self.folder}/state
log_path = {self.log}
protocols = imap pop3 lmtp
ssl = required
ssl_cert = <{self.pki.cert}
ssl_key = <{self.pki.key}
auth_mechanisms = plain login external
auth_ssl_username_from_cert = yes
ssl_ca = <{self.folder}/client.pem
ssl_verify_client_cert = yes
ssl_require_crl = no
mail_location = maildir:{mail}/%u
passdb {{
  driver = static
  mechanisms = external
  args = nopassword
}}
passdb {{
  driver = static
  mechanisms = plain login
  args = password={PASSWORD}
}}
userdb {{
  driver = static
  args = uid={owner.pw_uid} gid={owner.pw_gid} home={mail}/%u allow_all_users=yes
}}
first_valid_uid = 1
first_valid_gid = 1
service imap-login {{
  {listener('imap')}
  {listener('imaps', 'ssl = yes')}
}}
service pop3-login {{
  {listener('pop3')}
  {listener('pop3s', 'ssl = yes')}
}}
service lmtp {{
  {listener('lmtp')}
}}
service auth {{
  {listener('auth')}
}}
service stats {{
  chroot =
}}
{more(self.ports)}
""")
        process = self.start("dovecot", "-F", "-c", config)
        for number in self.ports.values():
            listens(number, process, self.log)


class Postfix(Foreign):
    """Submission with STARTTLS and implicit TLS; delivers to Dovecot by LMTP."""

    def __init__(self, world, dovecot, more=None):
        """`more`: names of further services, each with the options of its smtpd."""
        super().__init__(world, "postfix")
        more = more or {}
        self.ports = {name: free_port() for name in ("submission", "submissions", *more)}
        config, queue, data = (self.folder / name for name in ("etc", "queue", "data"))
        self.config = config
        for path in (config, queue, data):
            path.mkdir()
        shutil.chown(data, "postfix")
        (config / "main.cf").write_text(f"""
compatibility_level = 3.6
queue_directory = {queue}
data_directory = {data}
myhostname = mail.example.test
mydestination =
alias_maps =
alias_database =
mynetworks =
virtual_mailbox_domains = example.test
virtual_transport = lmtp:inet:127.0.0.1:{dovecot.ports['lmtp']}
lmtp_tls_security_level = none
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
maillog_file = {self.log}
maillog_file_prefixes = {self.folder}
message_size_limit = 20000000
smtputf8_enable = yes
smtpd_tls_cert_file = {self.pki.cert}
smtpd_tls_key_file = {self.pki.key}
smtpd_sasl_auth_enable = yes
smtpd_sasl_type = dovecot
smtpd_sasl_path = inet:127.0.0.1:{dovecot.ports['auth']}
smtpd_tls_auth_only = yes
smtpd_relay_restrictions = permit_sasl_authenticated, reject
smtpd_recipient_restrictions = permit_sasl_authenticated, reject
""")
        services = "".join(
            f"{line}\n" for line in (
                "pickup unix n - n 60 1 pickup", "cleanup unix n - n - 0 cleanup", "qmgr unix n - n 300 1 qmgr",
                "tlsmgr unix - - n 1000? 1 tlsmgr", "rewrite unix - - n - - trivial-rewrite", "bounce unix - - n - 0 bounce",
                "defer unix - - n - 0 bounce", "trace unix - - n - 0 bounce", "verify unix - - n - 1 verify",
                "flush unix n - n 1000? 0 flush", "proxymap unix - - n - - proxymap", "lmtp unix - - n - - lmtp",
                "error unix - - n - - error", "retry unix - - n - - error", "anvil unix - - n - 1 anvil",
                "scache unix - - n - 1 scache", "postlog unix-dgram n - n - 1 postlogd",
            ))
        (config / "master.cf").write_text(
            f"127.0.0.1:{self.ports['submission']} inet n - n - - smtpd -o smtpd_tls_security_level=encrypt\n"
            f"127.0.0.1:{self.ports['submissions']} inet n - n - - smtpd -o smtpd_tls_wrappermode=yes\n"
            + "".join(f"127.0.0.1:{self.ports[name]} inet n - n - - smtpd {options}\n" for name, options in more.items()) + services)
        process = self.start("postfix", "-c", config, "start-fg")
        for number in self.ports.values():
            listens(number, process, self.log)

    def __exit__(self, *why):
        # Its master puts itself into a process group of its own.
        subprocess.run(["postfix", "-c", self.config, "stop"], capture_output=True, timeout=30, check=False)
        super().__exit__(*why)


def kinds():
    """Messages of every kind."""
    return messages(ADDRESS, ADDRESS)


def all_sent(world, server, ports, modes, kinds, folder):
    """Sends each message by each mode."""
    for number, message in enumerate(kinds):
        scheme, service, mode = modes[number % len(modes)]
        gatepost(
            world, "send", "--server", f"{scheme}://localhost:{ports[service]}", "--tls", mode, "--from", ADDRESS, "--to", ADDRESS,
            *server.login(), message.save(folder),
        )


SUBMISSION = [("submission", "submission", "starttls"), ("submissions", "submissions", "implicit")]
# What delivery puts before a message besides Received and Return-Path.
ALSO = (b"delivered-to:", b"x-sieve:", b"envelope-to:", b"delivery-date:", b"x-cyrus-session-id:", b"authentication-results:")


def fetched(world, server, url, want, seconds=60, mode="auto"):
    """Fetches until so many messages are there, and returns them."""
    folder = world.new_folder("fetched")
    deadline = time.monotonic() + seconds
    while True:
        gatepost(world, "fetch", url, "--tls", mode, *server.login(), "--output", "eml", "--to", folder)
        found = eml(folder)
        if len(found) >= want or time.monotonic() > deadline:
            return found
        time.sleep(0.5)


@case("servers-postfix-dovecot", "postfix", "dovecot")
def postfix_dovecot(world):
    with Dovecot(world) as dovecot, Postfix(world, dovecot) as postfix:
        all_kinds = kinds()
        all_sent(world, postfix, postfix.ports, SUBMISSION, all_kinds, world.new_folder("sent"))
        for scheme in ("imap", "imaps", "pop3", "pop3s"):
            mailbox = "/INBOX" if scheme.startswith("imap") else ""
            mode = "implicit" if scheme.endswith("s") else "starttls"
            found = fetched(world, dovecot, f"{scheme}://localhost:{dovecot.ports[scheme]}{mailbox}", len(all_kinds), mode=mode)
            all_there(found, all_kinds)


@case("servers-postfix-refuses", "postfix", "dovecot")
def postfix_refuses(world):
    with Dovecot(world) as dovecot, Postfix(world, dovecot) as postfix:
        file = kinds()[0].save(world.new_folder("sent"))
        url = f"submission://localhost:{postfix.ports['submission']}"
        common = ["send", "--server", url, "--from", ADDRESS]
        done = gatepost(world, *common, "--to", ADDRESS, "--ca", postfix.pki.ca, file, expect=1)
        says(done, "554")
        wrong = postfix.folder / "wrong"
        wrong.write_text("wrong\n")
        says(gatepost(world, *common, "--to", ADDRESS, "--ca", postfix.pki.ca, "--user", ADDRESS, "--password-file", wrong, file,
                      expect=1), "E-LOGIN-REFUSED", "535")
        # Without its CA nobody vouches for it.
        says(gatepost(world, *common, "--to", ADDRESS, "--user", ADDRESS, "--password-file", postfix.secret, file, expect=1), "E-CERT-")
        done = gatepost(world, *common, "--to", ADDRESS, "--to", "nobody@", *postfix.login(), file, expect=2)
        says(done, "no address")


@case("servers-dovecot-lmtp", "dovecot")
def dovecot_lmtp(world):
    with Dovecot(world) as dovecot:
        folder = world.new_folder("sent")
        for message in kinds()[:3]:
            done = gatepost(
                world, "send", "--server", f"lmtp://localhost:{dovecot.ports['lmtp']}", "--tls", "off", "--from", ADDRESS,
                "--to", ADDRESS, "--to", "ben@example.test", message.save(folder),
            )
            says(done, "Clear", f"taken    {ADDRESS}", "taken    ben@example.test")
        found = fetched(world, dovecot, f"imaps://localhost:{dovecot.ports['imaps']}/INBOX", 3)
        check(len(found) == 3, f"{len(found)} messages instead of 3")


# The light build takes no PROXY header.
EXIM = ("exim-heavy", ["exim4-daemon-heavy"])


class Exim(Foreign):
    """Submission with STARTTLS and implicit TLS, and a port for mail from everywhere, behind a PROXY header; delivers into a Maildir."""

    def __init__(self, world, authenticators=""):
        """`authenticators`: further ones, as Exim's configuration has them."""
        room = rooms.made(*EXIM)
        super().__init__(world, "exim")
        self.ports = {"submission": free_port(), "submissions": free_port(), "proxied": free_port()}
        self.mail = self.folder / "mail"
        self.mail.mkdir(mode=0o777)
        self.mail.chmod(0o777)
        spool = self.folder / "spool"
        spool.mkdir(mode=0o777)
        spool.chmod(0o777)
        config = self.folder / "exim.conf"
        config.write_text(f"""
primary_hostname = mail.example.test
spool_directory = {spool}
log_file_path = {spool}/log_%s
pid_file_path = {spool}/pid
local_interfaces = 127.0.0.1
daemon_smtp_ports = {self.ports['submission']} : {self.ports['submissions']} : {self.ports['proxied']}
hosts_proxy = ${{if eq{{$received_port}}{{{self.ports['proxied']}}}{{127.0.0.1}}}}
tls_on_connect_ports = {self.ports['submissions']}
tls_advertise_hosts = *
tls_certificate = {self.pki.cert}
tls_privatekey = {self.pki.key}
auth_advertise_hosts = ${{if def:tls_in_cipher {{*}}}}
acl_smtp_rcpt = rcpt
acl_smtp_data = data
message_size_limit = 20M
keep_environment =
smtputf8_advertise_hosts = *
accept_8bitmime = yes
begin acl
rcpt:
  accept authenticated = *
  accept condition = ${{if eq{{$received_port}}{{{self.ports['proxied']}}}}}
  deny
data:
  accept
begin routers
all:
  driver = accept
  transport = maildir
begin transports
maildir:
  driver = appendfile
  directory = {self.mail}
  maildir_format
  create_directory
  user = nobody
  group = nogroup
  envelope_to_add
  return_path_add
begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  server_condition = ${{if and{{{{eq{{$auth2}}{{{ADDRESS}}}}}{{eq{{$auth3}}{{{PASSWORD}}}}}}}}}
  server_set_id = $auth2
{authenticators}""")
        process = self.start(*rooms.command(room, self.folder, f"cp {config} /etc/exim4/exim4.conf; exec exim4 -bdf -v"))
        for number in self.ports.values():
            listens(number, process, self.folder / "output")


@case("servers-exim")
def exim(world):
    with Exim(world) as server:
        all_kinds = kinds()
        all_sent(world, server, server.ports, SUBMISSION, all_kinds, world.new_folder("sent"))
        deadline = time.monotonic() + 60
        while len(list(server.mail.glob("new/*"))) < len(all_kinds) and time.monotonic() < deadline:
            time.sleep(0.2)
        all_there([without(path.read_bytes()) for path in server.mail.glob("new/*")], all_kinds, lines_by_lf=True)


def without(copy):
    """A copy without the fields of delivery that the other checks do not know."""
    return below_trace(copy, ALSO)


class Courier(Foreign):
    """IMAP and POP3 over a Maildir that is filled beforehand."""

    def __init__(self, world, stored):
        room = rooms.made("courier", ["courier-imap", "courier-pop", "courier-authdaemon", "courier-authlib-userdb"])
        super().__init__(world, "courier")
        self.ports = {name: free_port() for name in ("imap", "imaps", "pop3", "pop3s")}
        maildir = filled_maildir(self.folder / "home" / "Maildir", stored)
        crypted = subprocess.run(["openssl", "passwd", "-6", PASSWORD], capture_output=True, check=True, text=True).stdout.strip()
        owner = pwd.getpwnam("nobody")
        (self.folder / "userdb").write_text(
            f"{ADDRESS}\tuid={owner.pw_uid}|gid={owner.pw_gid}|home={maildir.parent}|mail={maildir}|systempw={crypted}\n")
        port, both = self.ports, self.pki.both
        common = f"TLS_CERTFILE={both}\nTLS_TRUSTCERTS={self.pki.ca}\nTLS_CACHEFILE=\n"
        settings = {
            "imapd": f"ADDRESS=127.0.0.1\nPORT={port['imap']}\n",
            "imapd-ssl": f"SSLADDRESS=127.0.0.1\nSSLPORT={port['imaps']}\nIMAPDSTARTTLS=YES\nIMAP_TLS_REQUIRED=1\n{common}",
            "pop3d": f"ADDRESS=127.0.0.1\nPORT={port['pop3']}\nPOP3AUTH_TLS=\"LOGIN PLAIN\"\nPOP3DSTART=YES\n",
            "pop3d-ssl": f"SSLADDRESS=127.0.0.1\nSSLPORT={port['pop3s']}\nPOP3_STARTTLS=YES\nPOP3DSSLSTART=YES\nPOP3_TLS_REQUIRED=1\n{common}",
            "authdaemonrc": "authmodulelist=\"authuserdb\"\n",
        }
        for name, text in settings.items():
            (self.folder / name).write_text(text)
        script = f"""
cd {self.folder}
for name in {' '.join(settings)}; do cat $name >> /etc/courier/$name; done
cp userdb /etc/courier/userdb && chmod 700 /etc/courier/userdb && makeuserdb
mkdir -p /run/courier/authdaemon
authdaemond start
for name in imapd imapd-ssl pop3d pop3d-ssl; do /usr/lib/courier/$name start; done
trap exit TERM
sleep 3600 & wait"""
        process = self.start(*rooms.command(room, self.folder, script))
        for number in self.ports.values():
            listens(number, process, self.folder / "output")


def filled_maildir(path, stored):
    """A Maildir with these messages."""
    for part in ("tmp", "new", "cur"):
        (path / part).mkdir(parents=True)
    for number, message in enumerate(stored):
        message.save(path / "new", line_end=b"\n").rename(path / "new" / f"{1700000000 + number}.{number}.interop")
    for part in [path.parent, path, *path.rglob("*")]:
        shutil.chown(part, "nobody", "nogroup")
    return path


def fetches_all(world, server, want):
    """Fetches by both protocols and both ways into TLS."""
    for scheme in server.ports:
        mailbox = "/INBOX" if scheme.startswith("imap") else ""
        mode = "implicit" if scheme.endswith("s") else "starttls"
        found = fetched(world, server, f"{scheme}://localhost:{server.ports[scheme]}{mailbox}", len(want), mode=mode)
        check(all(copy.count(b"\n") == copy.count(b"\r\n") for copy in found), "a bare LF came back")
        all_there([without(copy) for copy in found], want, lines_by_lf=True)


@case("servers-courier")
def courier(world):
    # Courier gives out lines longer than 998 octets and 8-bit text as they are stored.
    all_kinds = kinds()
    with Courier(world, all_kinds) as server:
        fetches_all(world, server, all_kinds)


# Devices of the room's own, so that what is said to syslog comes to the test.
OWN_SYSLOG = """
mkdir /run/dev && mount -t tmpfs none /run/dev
cp -a /dev/null /dev/zero /dev/full /dev/random /dev/urandom /run/dev/
ln -s {socket} /run/dev/log
mount --move /run/dev /dev
"""


class Cyrus(Foreign):
    """LMTP, IMAP and POP3 with mailboxes of its own."""

    def __init__(self, world):
        room = rooms.made("cyrus", ["cyrus-imapd", "cyrus-pop3d", "cyrus-admin", "sasl2-bin", "libsasl2-modules", "libsasl2-modules-db"])
        super().__init__(world, "cyrus")
        self.ports = {name: free_port() for name in ("imap", "imaps", "pop3", "pop3s")}
        self.lmtp = free_port()
        port = self.ports
        (self.folder / "imapd.conf").write_text(f"""
configdirectory: /var/lib/cyrus
defaultpartition: default
partition-default: /var/spool/cyrus/mail
admins: cyrus
allowplaintext: no
autocreate_quota: 0
autocreate_post: yes
sasl_mech_list: PLAIN
sasl_pwcheck_method: auxprop
sasl_auxprop_plugin: sasldb
sasl_sasldb_path: {self.folder}/sasldb
tls_server_cert: {self.pki.cert}
tls_server_key: {self.pki.key}
tls_versions: tls1_2 tls1_3
servername: mail.example.test
""")
        (self.folder / "cyrus.conf").write_text(f"""
START {{
  recover cmd="/usr/sbin/cyrus ctl_cyrusdb -r"
}}
SERVICES {{
  imap cmd="imapd -U 30" listen="127.0.0.1:{port['imap']}" prefork=0
  imaps cmd="imapd -s -U 30" listen="127.0.0.1:{port['imaps']}" prefork=0
  pop3 cmd="pop3d -U 30" listen="127.0.0.1:{port['pop3']}" prefork=0
  pop3s cmd="pop3d -s -U 30" listen="127.0.0.1:{port['pop3s']}" prefork=0
  lmtp cmd="lmtpd -a" listen="127.0.0.1:{self.lmtp}" prefork=0
}}
EVENTS {{
}}
""")
        self.syslog = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.syslog.bind(str(self.folder / "syslog"))
        (self.folder / "syslog").chmod(0o666)
        self.told = []
        # Read at once: who speaks to a full socket waits.
        threading.Thread(target=self.listen, daemon=True).start()
        script = f"""{OWN_SYSLOG.format(socket=self.folder / "syslog")}
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

    def listen(self):
        while words := self.syslog.recv(65536):
            self.told.append(words)

    def logged(self, words, seconds=30):
        """Waits for words in what is said to syslog."""
        deadline = time.monotonic() + seconds
        while not any(words in line for line in self.told):
            check(time.monotonic() < deadline, f"{words!r} is not among {self.told[-20:]}")
            time.sleep(0.05)


@case("servers-cyrus")
def cyrus(world):
    with Cyrus(world) as server:
        # It refuses NUL and bare line ends, and takes everything else as it is.
        all_kinds = kinds()
        folder = world.new_folder("sent")
        for message in all_kinds:
            gatepost(
                world, "send", "--server", f"lmtp://localhost:{server.lmtp}", "--tls", "off", "--from", ADDRESS, "--to", ADDRESS,
                message.save(folder),
            )
        fetches_all(world, server, all_kinds)


class OpenSmtpd(Foreign):
    """Takes mail in clear and delivers into a Maildir. Debian 12's OpenSMTPD cannot sign in a TLS handshake: openssl s_client fails
    against it in the same way, so its TLS is left out."""

    def __init__(self, world):
        room = rooms.made("opensmtpd", ["opensmtpd"])
        super().__init__(world, "opensmtpd")
        self.port, self.proxied = free_port(), free_port()
        self.mail = self.folder / "mail"
        self.mail.mkdir()
        shutil.chown(self.mail, "nobody", "nogroup")
        (self.folder / "everybody").write_text("@ nobody\n")
        (self.folder / "smtpd.conf").write_text(f"""
table everybody file:{self.folder}/everybody
smtp max-message-size "20M"
listen on 127.0.0.1 port {self.port} hostname mail.example.test
listen on 127.0.0.1 port {self.proxied} hostname mail.example.test proxy-v2
action "keep" maildir "{self.mail}" virtual <everybody>
match from any for any action "keep"
""")
        script = f"""
cp {self.folder}/smtpd.conf /etc/smtpd.conf
chmod 711 {self.folder}
mkdir -p /run/smtpd /var/empty
exec smtpd -d"""
        process = self.start(*rooms.command(room, self.folder, script))
        listens(self.port, process, self.folder / "output")


@case("servers-opensmtpd")
def opensmtpd(world):
    with OpenSmtpd(world) as server:
        all_kinds = kinds()
        folder = world.new_folder("sent")
        for message in all_kinds:
            says(gatepost(world, "send", "--server", f"smtp://localhost:{server.port}", "--tls", "off", "--from", ADDRESS, "--to", ADDRESS,
                          message.save(folder)), "Clear", "taken")
        deadline = time.monotonic() + 60
        while len(list(server.mail.glob("new/*"))) < len(all_kinds) and time.monotonic() < deadline:
            time.sleep(0.2)
        all_there([without(path.read_bytes()) for path in server.mail.glob("new/*")], all_kinds, lines_by_lf=True)


class Zone(Foreign):
    """A signed zone on a name server, with its trust anchor; and, if there are records `below`, plain.found.test, which is not signed."""

    def __init__(self, world, records, below=None):
        super().__init__(world, "zone")
        self.port = free_port()
        (self.folder / "found.test.zone").write_text(
            "$ORIGIN found.test.\n$TTL 60\n@ SOA ns.found.test. me.found.test. 1 3600 600 86400 60\n@ NS ns\nns A 127.0.0.1\nmail A 127.0.0.1\n"
            + records + ("plain NS ns\n" if below else ""))
        (self.folder / "plain.zone").write_text(
            "$ORIGIN plain.found.test.\n$TTL 60\n@ SOA ns.found.test. me.found.test. 1 3600 600 86400 60\n@ NS ns.found.test.\n" + (below or ""))
        config = self.folder / "knot.conf"
        config.write_text(f"""
server:
  rundir: {self.folder}/run
  listen: 127.0.0.1@{self.port}
database:
  storage: {self.folder}/db
log:
  - target: stderr
    any: info
policy:
  - id: signed
    algorithm: ecdsap256sha256
template:
  - id: default
    storage: {self.folder}
zone:
  - domain: found.test
    file: found.test.zone
    dnssec-signing: on
    dnssec-policy: signed
""" + ("  - domain: plain.found.test\n    file: plain.zone\n" if below else ""))
        for part in ("run", "db"):
            (self.folder / part).mkdir()
        process = self.start("knotd", "-c", config)
        listens(self.port, process, self.folder / "output")
        self.anchor = self.folder / "anchor"
        deadline = time.monotonic() + 30
        while not self.anchor.exists() or b"DS" not in self.anchor.read_bytes():
            check(time.monotonic() < deadline, "the zone is not signed")
            done = subprocess.run(["keymgr", "-c", config, "found.test", "ds"], capture_output=True, check=False)
            self.anchor.write_bytes(b"".join(line + b"\n" for line in done.stdout.splitlines() if b" DS " in line))
            time.sleep(0.2)
        self.env = {"GATEPOST_TRUST_ANCHORS": str(self.anchor)}
        self.flags = ["--dns", f"127.0.0.1:{self.port}"]


def tlsa_of(certificate):
    """The data of the record 3 1 1 for a certificate, as openssl makes it."""
    key = subprocess.run(["openssl", "x509", "-in", certificate, "-noout", "-pubkey"], capture_output=True, check=True).stdout
    der = subprocess.run(["openssl", "pkey", "-pubin", "-outform", "der"], input=key, capture_output=True, check=True).stdout
    return hashlib.sha256(der).hexdigest()


@case("servers-found-and-dane", "postfix", "dovecot", "knotd", "keymgr")
def found_and_dane(world):
    with Dovecot(world) as dovecot, Postfix(world, dovecot) as postfix:
        port, other = postfix.ports["submissions"], postfix.ports["submission"]
        # Better priority for STARTTLS: implicit TLS comes first all the same [SRV-02].
        records = (
            f"_submission._tcp SRV 0 0 {other} mail\n_submissions._tcp SRV 10 0 {port} mail\n_imap._tcp SRV 0 0 0 .\n"
            f"_imaps._tcp SRV 10 0 {dovecot.ports['imaps']} mail\n"
            f"_{port}._tcp.mail TLSA 3 1 1 {tlsa_of(postfix.pki.cert)}\n_{other}._tcp.mail TLSA 3 1 1 {'00' * 32}\n")
        with Zone(world, records) as zone:
            to_here = zone.flags
            message = kinds()[0]
            file = message.save(world.new_folder("sent"))
            home = {"XDG_CONFIG_HOME": str(world.new_folder("found")), **zone.env}
            words = ["send", "--from", "anna@found.test", "--to", ADDRESS, *postfix.login(), *to_here]
            # [SRV-03] [SRV-04] shown and approved, then kept; DNS is not asked again.
            says(gatepost(world, *words, file, env=home, expect=2), f"submissions://mail.found.test:{port}", "DNSSEC vouches", "--yes")
            says(gatepost(world, *words, "--yes", file, env=home), "Verified(PKIX)", "accounts.toml")
            resolved = ["--resolve", f"mail.found.test:{port}:127.0.0.1"]
            gone = [word if word != f"127.0.0.1:{zone.port}" else "127.0.0.1:1" for word in words]
            gatepost(world, *gone, *resolved, file, env=home)
            # DANE without any authority; a record of another key; no record at all.
            dane = ["connect", "--quit", "--no-system-ca", "--verify", "dane", *to_here]
            says(gatepost(world, *dane, f"submissions://mail.found.test:{port}", env=zone.env), "Verified(DANE)")
            says(gatepost(world, *dane, f"submission://mail.found.test:{other}", env=zone.env, expect=1), "E-DANE-NO-MATCH")
            says(gatepost(world, *dane, "submission://ns.found.test", env=zone.env, expect=1), "E-DANE-NO-RECORD")
            both = ["connect", "--quit", "--ca", postfix.pki.ca, "--verify", "ca+dane", *to_here, f"submissions://mail.found.test:{port}"]
            says(gatepost(world, *both, env=zone.env), "Verified(PKIX)", "dane")
            check_words = ["tlsa", "check", *to_here, f"submissions://mail.found.test:{port}"]
            says(gatepost(world, *check_words, env=zone.env), "matches the server's certificate")
            # Without the anchor nothing vouches for the records: no connection.
            (zone.folder / "wrong").write_text("found.test. DS 1 13 2 " + "00" * 32 + "\n")
            wrong = {"GATEPOST_TRUST_ANCHORS": str(zone.folder / "wrong")}
            for more in ([], resolved, ["--verify", "ca,dane", "--ca", postfix.pki.ca]):
                forged = [word for word in dane if word != "dane" or "ca,dane" not in more]
                forged = [word for word in forged if word != "--verify" or "ca,dane" not in more]
                says(gatepost(world, *forged, *more, f"submissions://mail.found.test:{port}", env=wrong, expect=1), "E-DNSSEC-BOGUS")


@case("servers-dovecot-client-certificate", "dovecot")
def dovecot_client_certificate(world):
    # [MUA-08] [MUA-09] shown when it was named for this connection, and then it is the login.
    with Dovecot(world) as dovecot:
        url = f"imaps://localhost:{dovecot.ports['imaps']}/INBOX"
        words = ["fetch", url, "--ca", dovecot.pki.ca, "--output", "eml", "--to", world.new_folder("external"), "--user", ADDRESS]
        done = gatepost(world, *words, "--mechanism", "EXTERNAL", "--client-cert", dovecot.client_certificate)
        says(done, "login by EXTERNAL")
        says(gatepost(world, *words, "--mechanism", "EXTERNAL", expect=2), "--client-cert")
        # Another connection, for which none was named, shows none, although the server asks.
        says(gatepost(world, *words, "--password-file", dovecot.secret), "login by PLAIN")


def cut_server(pki, first, second, whole, politely):
    """An IMAP server in TLS that gives out one message whole and breaks off in the second, without TLS' goodbye or with it.
    Returns its port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pki.cert, pki.key)
    listener = socket.create_server(("127.0.0.1", 0))

    def literal(number, content):
        return b"* %d FETCH (UID %d FLAGS () INTERNALDATE \"26-Nov-2026 12:00:00 +0000\" BODY[] {%d}\r\n" % (number, number, len(content))

    def serve():
        raw, _ = listener.accept()
        with context.wrap_socket(raw, server_side=True) as tls:
            tls.sendall(b"* OK hello\r\n")
            lines = tls.makefile("rb")
            for line in lines:
                tag, verb = line.split()[0], b" ".join(line.split()[1:3]).upper()
                done = tag + b" OK done\r\n"
                if verb.startswith(b"CAPABILITY"):
                    tls.sendall(b"* CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR\r\n" + done)
                elif verb.startswith((b"EXAMINE", b"SELECT")):
                    tls.sendall(b"* 2 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n" + done)
                elif verb == b"UID SEARCH":
                    tls.sendall(b"* SEARCH 1 2\r\n" + done)
                elif verb == b"UID FETCH":
                    wanted = line.split()[3]
                    if wanted != b"2":
                        tls.sendall(literal(1, first) + first + b")\r\n")
                    if whole:
                        tls.sendall(literal(2, second) + second + b")\r\n" + done)
                        continue
                    tls.sendall(literal(2, second) + second[:len(second) // 2])
                    if politely:
                        tls.unwrap()
                    else:
                        socket.socket(fileno=os.dup(tls.fileno())).shutdown(socket.SHUT_WR)
                    return
                else:
                    tls.sendall(done)

    def guarded():
        try:
            serve()
        except (OSError, ssl.SSLError):
            pass

    threading.Thread(target=guarded, daemon=True).start()
    return listener.getsockname()[1]


@case("fetch-truncated")
def fetch_truncated(world):
    # [TLS-CLOSE-01] half a message is no message, however the connection ended; the next run goes on where this one ended.
    home = world.new_folder("cut")
    pki = Pki(home)
    secret = secret_file(home / "secret", PASSWORD + "\n")
    first, second = (message.content for message in messages(ADDRESS, ADDRESS)[:2])
    second += b"line\r\n" * 30_000
    for output in ("eml", "maildir", "mbox", "json"):
        for politely in (False, True):
            folder = world.new_folder(f"cut-{output}")
            common = ["--ca", pki.ca, "--user", ADDRESS, "--password-file", secret, "--output", output, "--to", folder]
            # One port for both runs: it is part of what a message is called.
            port = cut_server(pki, first, second, False, politely)
            says(gatepost(world, "fetch", f"imaps://localhost:{port}/INBOX", *common, expect=3), "E-", "stored 1 messages")
            stored = [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".gatepost-fetch")]
            check(len(stored) == 1, f"{output}: {stored}")
            content = stored[0].read_bytes()
            check(b"line" not in content and (output == "json" or b"Hello." in content), f"{output}: {content[:200]!r}")


@case("fetch-idle")
def fetch_idle(world):
    folder = world.new_folder("idle")
    process = subprocess.Popen(
        [world.binary, "fetch", f"imaps://localhost:{world.port('imaps')}/INBOX", "--ca", world.ca, "--user", world.address("life"),
         "--password-file", str(world.server.password_file("life")), "--output", "eml", "--to", str(folder), "--idle"],
        env={"PATH": os.environ["PATH"], "XDG_CONFIG_HOME": str(folder)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        for _ in range(2):
            before = len(eml(folder))
            message = messages(world.address("life"), world.address("life"))[0]
            send_by_python(world, message, "implicit", "life")
            deadline = time.monotonic() + 30
            while not any(message.id.encode() in copy for copy in eml(folder)):
                check(process.poll() is None and time.monotonic() < deadline, "what arrived was not fetched")
                time.sleep(0.1)
            check(len(eml(folder)) > before, "nothing more was stored")
    finally:
        process.kill()
        process.wait()
