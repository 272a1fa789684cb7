//! Files of programs for the command line. Each switches verification on by name: several of these programs do not verify unless told.

use super::Account;
use crate::config_verb::words::percent;
use crate::exit::Failure;

fn only_imap(account: &Account, program: &str) -> Result<(), Failure> {
    if account.pop3 {
        return Err(Failure::usage(format!(
            "{program} speaks IMAP; leave out --pop3"
        )));
    }
    Ok(())
}

pub(super) fn msmtp(account: &Account) -> String {
    let door = account.outgoing();
    format!(
        "# msmtp, in ~/.msmtprc with mode 0600.\naccount {address}\nhost {host}\nport {port}\n\
         # TLS always; {mode}.\ntls on\ntls_starttls {starttls}\ntls_trust_file {trust}\n\
         auth plain\nuser {user}\nfrom {address}\npasswordeval \"{command}\"\naccount default : {address}\n",
        address = account.address,
        host = door.host,
        port = door.port,
        mode = if door.implicit {
            "from the first octet"
        } else {
            "STARTTLS or nothing"
        },
        starttls = if door.implicit { "off" } else { "on" },
        trust = account.ca.as_deref().unwrap_or("system"),
        user = account.user,
        command = account.password_command
    )
}

pub(super) fn mbsync(account: &Account) -> Result<String, Failure> {
    only_imap(account, "mbsync")?;
    let door = account.incoming();
    let trust = match &account.ca {
        Some(file) => format!("SystemCertificates no\nCertificateFile {file}\n"),
        None => "SystemCertificates yes\n".to_owned(),
    };
    Ok(format!(
        "# mbsync (isync), in ~/.mbsyncrc with mode 0600. From isync 1.5 on SSLType is called TLSType.\n\
         # Once, before the first run: mkdir -p ~/Mail/{address}\n\
         IMAPAccount {address}\nHost {host}\nPort {port}\nUser {user}\nPassCmd \"{command}\"\n\
         # IMAPS is TLS from the first octet; STARTTLS is required once it is named.\nSSLType {kind}\nSSLVersions TLSv1.2 TLSv1.3\n{trust}AuthMechs LOGIN\n\n\
         IMAPStore {address}-remote\nAccount {address}\n\n\
         MaildirStore {address}-local\nPath ~/Mail/{address}/\nInbox ~/Mail/{address}/INBOX\nSubFolders Verbatim\n\n\
         Channel {address}\nFar :{address}-remote:\nNear :{address}-local:\nPatterns *\nCreate Near\nExpunge None\nSyncState *\n",
        address = account.address,
        host = door.host,
        port = door.port,
        user = account.user,
        command = account.password_command,
        kind = if door.implicit { "IMAPS" } else { "STARTTLS" },
    ))
}

pub(super) fn fetchmail(account: &Account) -> String {
    let door = account.incoming();
    let trust = account
        .ca
        .as_ref()
        .map(|file| format!(" sslcertfile \"{file}\""))
        .unwrap_or_default();
    format!(
        "# fetchmail, in ~/.fetchmailrc with mode 0600. It asks for the password, or takes it from ~/.netrc.\n\
         # sslcertck: nothing is sent to a server that is not verified. sslproto without ssl: STARTTLS or nothing.\n\
         poll {host} protocol {protocol} port {port} auth password\n  user \"{user}\"\n  {tls}sslproto TLS1.2+ sslcertck{trust}\n  keep\n",
        host = door.host,
        protocol = account.protocol(),
        port = door.port,
        user = account.user,
        tls = if door.implicit { "ssl " } else { "" },
    )
}

pub(super) fn getmail(account: &Account) -> Result<String, Failure> {
    let door = account.incoming();
    if !door.implicit {
        return Err(Failure::usage(
            "getmail knows TLS from the first octet only; leave out --starttls",
        ));
    }
    let (kind, mailboxes) = if account.pop3 {
        ("SimplePOP3SSLRetriever", "")
    } else {
        ("SimpleIMAPSSLRetriever", "mailboxes = (\"INBOX\",)\n")
    };
    let command: Vec<String> = account
        .password_command
        .split_whitespace()
        .map(|word| format!("\"{word}\""))
        .collect();
    Ok(format!(
        "# getmail 6, in ~/.config/getmail/getmailrc with mode 0600.\n\
         # Once, before the first run: mkdir -p ~/Mail/{address}/cur ~/Mail/{address}/new ~/Mail/{address}/tmp\n[retriever]\ntype = {kind}\nserver = {host}\nport = {port}\n\
         username = {user}\npassword_command = ({command},)\n# Without this line getmail verifies nobody.\nca_certs = {ca}\n{mailboxes}\n\
         [destination]\ntype = Maildir\npath = ~/Mail/{address}/\n\n[options]\nread_all = false\ndelete = false\n",
        host = door.host,
        port = door.port,
        user = account.user,
        command = command.join(", "),
        ca = account.ca_file(),
        address = account.address,
    ))
}

pub(super) fn mutt(account: &Account) -> String {
    let (incoming, outgoing) = (account.incoming(), account.outgoing());
    let user = percent(&account.user);
    let scheme = |implicit: bool, name: &str| {
        if implicit {
            format!("{name}s")
        } else {
            name.to_owned()
        }
    };
    let folder = scheme(incoming.implicit, if account.pop3 { "pop" } else { "imap" });
    let smtp = scheme(outgoing.implicit, "smtp");
    let (fetch, pass) = if account.pop3 {
        (
            format!(
                "set pop_host=\"{folder}://{user}@{}:{}/\"\n",
                incoming.host, incoming.port
            ),
            "pop_pass",
        )
    } else {
        (
            format!(
                "set folder=\"{folder}://{user}@{}:{}/\" spoolfile=+INBOX\n",
                incoming.host, incoming.port
            ),
            "imap_pass",
        )
    };
    let trust = account
        .ca
        .as_ref()
        .map(|file| format!("set ssl_ca_certificates_file=\"{file}\"\n"))
        .unwrap_or_default();
    format!(
        "# NeoMutt and Mutt, in ~/.muttrc with mode 0600.\nset from=\"{address}\" use_from=yes\n{fetch}\
         set smtp_url=\"{smtp}://{user}@{host}:{port}/\"\n\
         # The passwords come from a command when they are needed.\nset {pass}=\"`{command}`\" smtp_pass=\"`{command}`\"\n\
         # TLS or nothing, also where the URL says imap, pop or smtp.\nset ssl_force_tls=yes ssl_starttls=yes\n\
         set ssl_use_tlsv1=no ssl_use_tlsv1_1=no ssl_verify_host=yes ssl_verify_dates=yes\n{trust}\
         # Inside TLS the plain mechanism shows the password to nobody; some builds fail with SCRAM-SHA-256-PLUS.\n\
         set smtp_authenticators=\"plain\" imap_authenticators=\"plain\"\n",
        address = account.address,
        host = outgoing.host,
        port = outgoing.port,
        command = account.password_command,
    )
}

pub(super) fn offlineimap(account: &Account) -> Result<String, Failure> {
    only_imap(account, "OfflineIMAP")?;
    let door = account.incoming();
    if !door.implicit {
        // [MUA-01] it goes on in clear where STARTTLS is not offered, and after STARTTLS it verifies nobody
        return Err(Failure::usage(
            "OfflineIMAP does not insist on STARTTLS, and verifies nobody after it: leave out --starttls, or use mbsync",
        ));
    }
    let words: Vec<String> = account
        .password_command
        .split_whitespace()
        .map(|word| format!("\"{word}\""))
        .collect();
    Ok(format!(
        "# OfflineIMAP, in ~/.offlineimaprc with mode 0600. The command that prints the password is run by Python.\n\
         [general]\naccounts = mail\n\n[Account mail]\nlocalrepository = local\nremoterepository = remote\n\n\
         [Repository local]\ntype = Maildir\nlocalfolders = ~/Mail/{address}\n\n\
         [Repository remote]\ntype = IMAP\nremotehost = {host}\nremoteport = {port}\nremoteuser = {user}\n\
         remotepasseval = __import__(\"subprocess\").check_output([{command}], text=True).splitlines()[0]\n\
         # Without a CA file it verifies nobody. Which versions of TLS it speaks is OpenSSL's to say: tls_level would fix one version.\n\
         sslcacertfile = {ca}\nssl = yes\nstarttls = no\nauth_mechanisms = PLAIN\n",
        address = account.address,
        host = door.host,
        port = door.port,
        user = account.user,
        command = words.join(", "),
        ca = account.ca_file(),
    ))
}

pub(super) fn aerc(account: &Account) -> String {
    let (incoming, outgoing) = (account.incoming(), account.outgoing());
    let user = percent(&account.user);
    // imaps and smtps are TLS from the first octet; imap and smtp are STARTTLS, required, unless +insecure is said.
    let scheme = |implicit: bool, name: &str| {
        if implicit {
            format!("{name}s")
        } else {
            name.to_owned()
        }
    };
    // Versions from 0.15 on need no word for it.
    let word = if outgoing.implicit {
        ""
    } else {
        "smtp-starttls = yes\n"
    };
    format!(
        "# aerc, in ~/.config/aerc/accounts.conf with mode 0600. Never +insecure in a scheme.\n[{address}]\nfrom = <{address}>\n\
         source = {imap}://{user}@{ihost}:{iport}\nsource-cred-cmd = {command}\noutgoing = {smtp}+plain://{user}@{ohost}:{oport}\n\
         outgoing-cred-cmd = {command}\n{word}default = INBOX\ncopy-to = Sent\n",
        address = account.address,
        imap = scheme(incoming.implicit, "imap"),
        ihost = incoming.host,
        iport = incoming.port,
        smtp = scheme(outgoing.implicit, "smtp"),
        ohost = outgoing.host,
        oport = outgoing.port,
        command = account.password_command,
    )
}

pub(super) fn himalaya(account: &Account) -> String {
    let side = |prefix: &str, kind: &str, door: &super::Door| {
        format!(
            "{prefix}.type = \"{kind}\"\n{prefix}.host = \"{}\"\n{prefix}.port = {}\n{prefix}.encryption.type = \"{}\"\n{prefix}.login = \"{}\"\n\
             {prefix}.auth.type = \"password\"\n{prefix}.auth.cmd = \"{}\"\n",
            door.host,
            door.port,
            if door.implicit { "tls" } else { "start-tls" },
            account.user,
            account.password_command
        )
    };
    format!(
        "# Himalaya 1, in ~/.config/himalaya/config.toml with mode 0600.\n[accounts.\"{}\"]\ndefault = true\nemail = \"{}\"\n\n{}\n{}",
        account.address,
        account.address,
        side("backend", "imap", account.incoming()),
        side("message.send.backend", "smtp", account.outgoing())
    )
}
