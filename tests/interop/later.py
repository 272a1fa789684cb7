"""What `gatepost config` makes for servers newer than those of the system, tried with the servers of a later Debian in a room.

Postfix 3.10 and Dovecot 2.4 start with the generated files, speak TLS, take no login before it, and carry mail from door to door. What
they say of their own settings is held against what lint knows.
"""

import json
import os

import rooms
from configs import BASE, PROFILES, generated, moved, no_imap_login_in_clear, no_login_in_clear, no_pop3_login_in_clear, passes_check, takes_version
from ours import gatepost
from servers import PASSWORD, SUBMISSION, Foreign, all_sent, fetched, kinds, listens
from world import case, check, free_port, run

RELEASE, PACKAGES = "trixie", ["postfix", "dovecot-imapd", "dovecot-pop3d", "dovecot-lmtpd"]
DOVECOT, POSTFIX = "2.4", "3.10"


def inside(folder, script):
    """What a script says in the room; the folder is seen there too."""
    return run(rooms.command(rooms.of_release(RELEASE, PACKAGES), folder, script)).stdout.decode()


class Later(Foreign):
    """Postfix and Dovecot of the room with the generated files: one takes, the other keeps and gives back."""

    def __init__(self, world, profile):
        room = rooms.of_release(RELEASE, PACKAGES)
        super().__init__(world, "later")
        names = ("smtp", "submission", "submissions", "imap", "imaps", "pop3", "pop3s", "lmtp")
        self.ports = {name: free_port() for name in names}
        for name in ("etc", "queue", "data", "mail"):
            (self.folder / name).mkdir()
        self.make_dovecot(world, profile)
        self.make_postfix(world, profile)
        process = self.start(*rooms.command(room, self.folder, self.script()))
        for number in self.ports.values():
            listens(number, process, self.folder / "output")

    def make_dovecot(self, world, profile):
        port = self.ports
        made = generated(world, "dovecot", self.folder, self.pki, "--version", DOVECOT, "--profile", profile)
        text = moved((made / "dovecot.conf").read_text(), {143: port["imap"], 993: port["imaps"], 110: port["pop3"], 995: port["pop3s"]}, r"port = ", r"\b")
        text = text.replace("/var/spool/postfix/private/auth", f"{self.folder}/queue/private/auth")
        (self.folder / "dovecot.conf").write_text(text + f"""
base_dir = /run/dovecot-test
log_path = {self.folder}/dovecot.log
listen = 127.0.0.1
mail_driver = maildir
mail_path = {self.folder}/mail/%{{user}}
first_valid_uid = 1
passdb static {{
  password = {PASSWORD}
}}
userdb static {{
  allow_all_users = yes
  fields {{
    uid = mail
    gid = mail
    home = {self.folder}/mail/%{{user}}
  }}
}}
service lmtp {{
  inet_listener lmtp {{
    listen = 127.0.0.1
    port = {port['lmtp']}
  }}
}}
""")

    def make_postfix(self, world, profile):
        port = self.ports
        folder = self.folder / "postfix"
        folder.mkdir()
        made = generated(world, "postfix", folder, self.pki, "--version", POSTFIX, "--profile", profile)
        (self.folder / "etc" / "main.cf").write_text((made / "main.cf").read_text() + f"""
queue_directory = {self.folder}/queue
data_directory = {self.folder}/data
mydestination =
alias_maps =
alias_database =
mynetworks =
virtual_mailbox_domains = example.test
virtual_transport = lmtp:inet:127.0.0.1:{port['lmtp']}
lmtp_tls_security_level = none
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
maillog_file = {self.folder}/postfix.log
maillog_file_prefixes = {self.folder}
message_size_limit = 20000000
""")
        master = (made / "master.cf").read_text().replace("inet  n       -       y", "inet  n       -       n")
        master = moved(master, {"smtp": f"127.0.0.1:{port['smtp']}", 587: f"127.0.0.1:{port['submission']}", 465: f"127.0.0.1:{port['submissions']}"}, r"(?m)^", r"\b(?=\s+inet)")
        (self.folder / "etc" / "master.cf").write_text(master + BASE)

    def script(self):
        """The programs' own readers have nothing to say about the files; then both start."""
        here = self.folder
        return f"""
ln -sf /proc/mounts /etc/mtab
chown postfix {here}/data && mkdir -p {here}/queue/private && chown postfix {here}/queue/private && chown mail:mail {here}/mail
doveconf -n -c {here}/dovecot.conf >{here}/doveconf 2>&1
(postconf -c {here}/etc -n && postconf -c {here}/etc -M) 2>&1 >/dev/null | tee {here}/postconf
dovecot -F -c {here}/dovecot.conf &
exec postfix -c {here}/etc start-fg"""


def carries_mail(world, profile):
    """A generated pair of the later release does what its older sister does."""
    with Later(world, profile) as server:
        port = server.ports
        seen = (server.folder / "doveconf").read_text()
        check("ssl = required" in seen and "rror" not in seen and "arning" not in seen, seen)
        check(not (server.folder / "postconf").read_text().strip(), (server.folder / "postconf").read_text())
        # [CFG-PF-01] [CFG-DC-01]
        no_login_in_clear(port["smtp"], starttls_needed=False)
        no_login_in_clear(port["submission"])
        no_imap_login_in_clear(port["imap"])
        no_pop3_login_in_clear(port["pop3"])
        for number, starttls in ((port["submissions"], None), (port["imaps"], None), (port["pop3"], "pop3")):
            check(takes_version(number, "tls1_3", starttls) and not takes_version(number, "tls1_1", starttls), "the versions of TLS")
            check(takes_version(number, "tls1_2", starttls) != (profile == "strict"), f"TLS 1.2 with the profile {profile}")
        some = kinds()[:2]
        all_sent(world, server, port, SUBMISSION, some, world.new_folder("sent"))
        for scheme in ("imap", "imaps", "pop3", "pop3s"):
            place = f"{scheme}://localhost:{port[scheme]}" + ("/INBOX" if scheme.startswith("imap") else "")
            found = fetched(world, server, place, len(some), mode="implicit" if scheme.endswith("s") else "starttls")
            check(len(found) == len(some), f"{scheme}: {len(found)} messages instead of {len(some)}")
        passes_check(world, profile, server, {name: name for name in ("smtp", "submission", "submissions", "imap", "imaps", "pop3", "pop3s")}, dane_like=("smtp",))


@case("config-later-release", "mmdebstrap")
def later_pairs(world):
    carries_mail(world, PROFILES[0])


def unknown(world, kind, path, *more):
    """What lint takes for a mistake in names that the program itself writes."""
    done = gatepost(world, "config", "lint", kind, path, *more, "--json", "--fail-on", "critical", expect=None)
    wrong = ("UNKNOWN", "FOREIGN", "TOO-NEW", "RENAMED", "REMOVED", "NO-MAILBOX")
    return [it["evidence"] for it in json.loads(done.stdout)["findings"] if any(word in it["id"] for word in wrong)]


@case("config-later-names", "mmdebstrap")
def later_names(world):
    folder = world.new_folder("later-names")
    names = inside(folder, "postconf -d").splitlines()
    (folder / "main.cf").write_text("".join(f"{line.split('=')[0].strip()} =\n" for line in names))
    check(len(names) > 900, f"{len(names)} names of Postfix")
    wrong = unknown(world, "postfix", folder / "main.cf", "--version", POSTFIX)
    check(not wrong, f"names that Postfix {POSTFIX} knows: {wrong}")
    (folder / "dovecot.conf").write_text(inside(folder, "doveconf -a"))
    wrong = unknown(world, "dovecot", folder / "dovecot.conf")
    check(not wrong, f"names that Dovecot {DOVECOT} knows: {wrong}")
    # What the package ships: logins in clear text are refused, TLS is offered and not demanded, and nothing worse is there.
    shipped = folder / "shipped"
    inside(folder, f"cp -rL /etc/dovecot {shipped}")
    os.chmod(shipped / "private", 0o755) if (shipped / "private").exists() else None
    gatepost(world, "config", "lint", "dovecot", shipped, "--fail-on", "high")
