//! Courier: `NAME=value` lines for a shell. They are read here, never run: a value that the shell would have to make (`$X` of a name
//! that is not in the file, a command) could not be told.

mod judge;
pub mod parse;

use super::{Document, Outcome, Report};

/// The variables that are known here.
pub const NAMES: &[&str] = &[
    "ADDRESS",
    "AUTHMODULES",
    "COURIERTLS",
    "ESMTPAUTH",
    "ESMTPAUTH_TLS",
    "ESMTPDSTART",
    "ESMTPDSSLSTART",
    "ESMTP_TLS_REQUIRED",
    "ESMTP_USE_STARTTLS",
    "ESMTP_TLS_VERIFY_DOMAIN",
    "HEADERFROM",
    "IMAPACCESSFILE",
    "IMAPDSSLSTART",
    "IMAPDSTART",
    "IMAPDSTARTTLS",
    "IMAP_ACL",
    "IMAP_CAPABILITY",
    "IMAP_CAPABILITY_ORIG",
    "IMAP_CAPABILITY_TLS",
    "IMAP_CAPABILITY_TLS_ORIG",
    "IMAP_CHECK_ALL_FOLDERS",
    "IMAP_DISABLETHREADSORT",
    "IMAP_EMPTYTRASH",
    "IMAP_ENHANCEDIDLE",
    "IMAP_FILELEAK",
    "IMAP_IDLE_TIMEOUT",
    "IMAP_KEYWORDS",
    "IMAP_LOG_DELETIONS",
    "IMAP_MAILBOX_SANITY_CHECK",
    "IMAP_MOVE_EXPUNGE_TO_TRASH",
    "IMAP_OBSOLETE_CLIENT",
    "IMAP_PROXY",
    "IMAP_PROXY_FOREIGN",
    "IMAP_SHAREDINDEXFILE",
    "IMAP_SHAREDMUNGENAMES",
    "IMAP_TLS_REQUIRED",
    "IMAP_TRASHFOLDERNAME",
    "IMAP_ULIMITD",
    "IMAP_UMASK",
    "IMAP_USELOCKS",
    "LOGGEROPTS",
    "MAILDIRPATH",
    "MAXDAEMONS",
    "MAXPERIP",
    "MIME_UNICODE_MESSAGE_TYPE",
    "OUTBOX",
    "OUTBOX_MULTIPLE_SEND",
    "PIDFILE",
    "POP3AUTH",
    "POP3AUTH_ORIG",
    "POP3AUTH_TLS",
    "POP3AUTH_TLS_ORIG",
    "POP3DSSLSTART",
    "POP3DSTART",
    "POP3DSTARTTLS",
    "POP3_LOG_DELETIONS",
    "POP3_PROXY",
    "POP3_STARTTLS",
    "POP3_TLS_REQUIRED",
    "PORT",
    "PRELOAD",
    "SENDMAIL",
    "SMTPACCESSFILE",
    "SSLADDRESS",
    "SSLLOGGEROPTS",
    "SSLPIDFILE",
    "SSLPORT",
    "TCPDOPTS",
    "TLS_CACHEFILE",
    "TLS_CACHESIZE",
    "TLS_CERTFILE",
    "TLS_CERTINFO",
    "TLS_CERTTYPE",
    "TLS_CIPHER_LIST",
    "TLS_COMPRESSION",
    "TLS_CRL",
    "TLS_DHCERTFILE",
    "TLS_DHPARAMS",
    "TLS_EXTERNAL",
    "TLS_KX_LIST",
    "TLS_MIN_DH_BITS",
    "TLS_PRIORITY",
    "TLS_PRIVATE_KEYFILE",
    "TLS_PROTOCOL",
    "TLS_STARTTLS_PROTOCOL",
    "TLS_TRUSTCERTS",
    "TLS_VERIFYPEER",
    "ULIMIT",
    "UTF8",
];

/// Judges the files of one server.
pub fn lint(documents: Vec<Document>) -> Outcome {
    let mut report = Report::new(documents);
    let (settings, misread) = parse::parse(&report.documents);
    for it in misread {
        report.tell("CO-SYNTAX", it.text, None, it.file, (it.line, 1));
    }
    judge::judge(&settings, &mut report);
    report.done()
}
