//! The limits of a session, each with its reason.

use std::time::Duration;

/// What a session puts up with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// The greatest message in octets, as announced with SIZE (RFC 1870): 50 MiB, twice what large providers take.
    pub message_octets: u64,
    /// Recipients in one transaction, as announced with LIMITS (RFC 9422): 100, the least that RFC 5321 4.5.3.1.8 allows
    /// [SMTP-BASE-09]. At most 999,999.
    pub recipients: usize,
    /// A command line without its CRLF: 2,048 octets. RFC 5321 4.5.3.1.4 wants 512, its extensions add up to about 1,100 for
    /// MAIL; PLAIN's three fields of 255 octets are 1,024 in base64 [SMTP-BASE-09].
    pub command_octets: usize,
    /// A line in an authentication exchange: 12,288 octets (RFC 4954 4) [SMTP-AUTH-05].
    pub response_octets: usize,
    /// How much of an overlong line is skipped before the session ends: 64 KiB. No command is that long.
    pub skipped_octets: usize,
    /// Bad commands before the session ends: 20, as Postfix has it. A program that guesses is not a mail client.
    pub bad_commands: u32,
    /// Recipients that do not exist or are not ours before the session ends: 100. A list with stale addresses stays far below,
    /// who looks for addresses that exist does not.
    pub unknown_recipients: u32,
    /// Failed logins before the session ends: 3, the least that RFC 4954 9 allows [SMTP-AUTH-10].
    pub failed_logins: u32,
    /// How long to wait for a whole command: 5 minutes (RFC 5321 4.5.3.2.7) [SMTP-BASE-11]. Octets of an unfinished line do
    /// not prolong it.
    pub command_wait: Duration,
    /// How long to wait for the next octets of content: 5 minutes. RFC 5321 4.5.3.2.5 gives the client 3 minutes for each block.
    pub content_wait: Duration,
    /// How long the content of one message, or one chunk, may take in all: 1 hour. 50 MiB at 15 kB a second.
    pub content_total: Duration,
    /// How long a session that must log in may take to do so, TLS included: 5 minutes. Idle strangers cost memory.
    pub login_total: Duration,
    /// How long a session may go on without a message being taken, content not counted: 30 minutes. A place in the server is for
    /// mail; NOOP every four minutes would keep it for ever.
    pub message_wait: Duration,
    /// How long content that is coming in may go on when the server stops: 5 seconds of the 10 the process has.
    pub shutdown_grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_octets: 50 * 1024 * 1024,
            recipients: 100,
            command_octets: 2048,
            response_octets: 12_288,
            skipped_octets: 64 * 1024,
            bad_commands: 20,
            unknown_recipients: 100,
            failed_logins: 3,
            command_wait: Duration::from_secs(5 * 60),
            content_wait: Duration::from_secs(5 * 60),
            content_total: Duration::from_secs(60 * 60),
            login_total: Duration::from_secs(5 * 60),
            message_wait: Duration::from_secs(30 * 60),
            shutdown_grace: Duration::from_secs(5),
        }
    }
}
