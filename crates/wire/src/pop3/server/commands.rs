//! Carrying out commands, and the capabilities.

use super::super::ask::Ask;
use super::super::command::{Command, Phase, Situation, Verb, argument, split_line};
use super::super::reply::{self, Refusal};
use super::{Server, State};
use crate::sasl::{Mechanism, offered, password_commands_offered};
use crate::session::Why;

impl Server {
    pub(super) fn on_command(&mut self, line: &[u8]) -> Result<(), Refusal> {
        let (keyword, rest) = split_line(line);
        let command = Command::find(keyword).ok_or(Refusal::UnknownCommand)?;
        let phase = if matches!(self.state, State::Transaction(_)) {
            Phase::Transaction
        } else {
            Phase::Authorization
        };
        let leave = self.channel.may_read_credentials().is_some();
        let permit = command.permit(Situation { phase, leave });
        let verb = permit.map_err(|refusal| match refusal {
            // [REPLY-07]
            Refusal::NeedsTls if self.channel.is_below_floor() => Refusal::TlsTooWeak,
            other => other,
        })?;
        let argument = argument(rest)?;
        match (verb, argument) {
            (Verb::Capa, None) => self.list_capabilities(phase),
            (Verb::Stls, None) => self.start_tls()?,
            // A gate has no say in what its upstream sends.
            (Verb::Utf8 | Verb::Lang, _) if self.config.offer.is_some() => {
                return Err(Refusal::UnknownCommand);
            }
            // Nothing changes by it: a message is given as it is kept to those who do not say it, too (see the module's page).
            (Verb::Utf8, None) => reply::ok(&mut self.output, format_args!("UTF-8 it is")),
            (Verb::Lang, language) => self.on_language(language)?,
            (Verb::Quit, None) => self.quit(),
            (Verb::User, Some(_))
                if !password_commands_offered(&self.channel, &self.config.mechanisms) =>
            {
                return Err(Refusal::UnknownMechanism);
            }
            (Verb::User, Some(name)) => {
                self.state = State::Authorization {
                    user: Some(name.trim_end_matches(' ').into()),
                };
                // The same for every name, whether there is an account or not.
                reply::ok(&mut self.output, format_args!("say PASS"));
            }
            (Verb::Pass, Some(password)) => self.on_password(password)?,
            (Verb::Auth, Some(text)) => self.begin_exchange(text)?,
            (
                Verb::Capa
                | Verb::Stls
                | Verb::Quit
                | Verb::User
                | Verb::Pass
                | Verb::Auth
                | Verb::Utf8,
                _,
            ) => {
                return Err(Refusal::Syntax);
            }
            _ => {
                let State::Transaction(transaction) = &mut self.state else {
                    return Err(Refusal::WrongState);
                };
                transaction.on(verb, argument, &mut self.output)?;
            }
        }
        Ok(())
    }

    fn list_capabilities(&mut self, phase: Phase) {
        let output = &mut self.output;
        reply::ok(output, format_args!("capabilities follow"));
        // [POP-TLS-01] only where it can be used now
        if phase == Phase::Authorization && self.config.starttls && !self.channel.is_encrypted() {
            reply::line(output, format_args!("STLS"));
        }
        // [POP-TLS-04] [POP-AUTH-04] [SASL-PLAIN-01] no way to log in is announced in clear
        let mechanisms = offered(&self.channel, &self.config.mechanisms);
        if mechanisms.contains(&Mechanism::Plain) {
            reply::line(output, format_args!("USER"));
        }
        if !mechanisms.is_empty() {
            // [POP-AUTH-01] in both states
            let names: Vec<_> = mechanisms.into_iter().map(Mechanism::name).collect();
            reply::line(output, format_args!("SASL {}", names.join(" ")));
        }
        if let Some(offer) = &self.config.offer {
            // [GW-01] what the upstream offers.
            for capability in offer {
                reply::line(output, format_args!("{}", reply::harmless(capability)));
            }
            reply::line(output, format_args!("."));
            return;
        }
        for capability in [
            "TOP",
            "UIDL",
            "PIPELINING",
            "RESP-CODES",
            "AUTH-RESP-CODE",
            "EXPIRE NEVER",
            // RFC 6856 2.2: names and passwords may be UTF-8, too
            "UTF8 USER",
            "LANG",
            "IMPLEMENTATION Gatepost",
            ".",
        ] {
            reply::line(output, format_args!("{capability}"));
        }
    }

    fn start_tls(&mut self) -> Result<(), Refusal> {
        if self.channel.is_encrypted() {
            return Err(Refusal::AlreadyTls);
        }
        if !self.config.starttls {
            return Err(Refusal::TlsUnavailable);
        }
        // [POP-TLS-02] TLS begins right behind this line
        reply::ok(&mut self.output, format_args!("begin TLS"));
        self.state = State::Upgrade;
        Ok(())
    }

    fn quit(&mut self) {
        if let State::Transaction(transaction) = &self.state {
            self.question = Some(Ask::Update {
                deleted: transaction.deleted(),
            });
            self.state = State::Updating;
        } else {
            reply::ok(&mut self.output, format_args!("goodbye"));
            self.state = State::Leaving(Why::Quit);
        }
    }
}
