//! GETQUOTA and GETQUOTAROOT (RFC 9208). An account has one quota root, whose name is empty; only the operator sets its limit.

use super::arguments::Bad;
use super::io::{Command, Io};
use super::job::Job;
use super::mailbox::Mailbox;
use super::table::Verb;
use crate::imap::ask::{Ask, Quota, Refusal};

impl Mailbox {
    pub(super) fn quota(&mut self, io: &mut Io, command: &Command) -> Result<(), Bad> {
        let verb = command.verb;
        let mut cursor = command.arguments();
        cursor.space()?;
        let mailbox = if verb == Verb::GetQuotaRoot {
            Some(self.names().mailbox(&mut cursor)?)
        } else {
            let root = cursor.astring()?;
            if !root.is_empty() {
                cursor.end()?;
                let reply = format!("{} NO [NONEXISTENT] No such quota root\r\n", command.tag);
                self.finish(io, reply, true);
                return Ok(());
            }
            None
        };
        cursor.end()?;
        let job = Job::Quota {
            tag: command.tag.clone(),
            verb,
            mailbox: mailbox.clone(),
        };
        self.put(Ask::Quota { mailbox }, job);
        Ok(())
    }

    pub(super) fn quota_told(
        &mut self,
        io: &mut Io,
        tag: &str,
        verb: Verb,
        mailbox: Option<&str>,
        result: Result<Quota, Refusal>,
    ) {
        let quota = match result {
            Ok(quota) => quota,
            Err(refusal) => return self.refused(io, tag, refusal, false),
        };
        if let Some(mailbox) = mailbox {
            io.output.extend_from_slice(b"* QUOTAROOT ");
            self.names().encode(&mut io.output, mailbox);
            io.output.extend_from_slice(b" \"\"\r\n");
        }
        match quota.limit {
            // In units of 1,024 octets (RFC 9208 5.1): what is used rounds up, what may be rounds down.
            Some(limit) => io.line(format_args!(
                "* QUOTA \"\" (STORAGE {} {})",
                quota.used.div_ceil(1024),
                limit / 1024
            )),
            None => io.line(format_args!("* QUOTA \"\" ()")),
        }
        self.finish(io, format!("{tag} OK {} completed\r\n", verb.name()), true);
    }
}
