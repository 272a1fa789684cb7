//! What is in force: for a service its `-o`, then main.cf, then the default.

use std::collections::HashMap;

use super::super::Setting;
use super::expand::{Unknown, expand};
use super::master_cf::Service;
use super::table;

/// main.cf and master.cf together.
#[derive(Debug, Default)]
pub(super) struct Configuration {
    /// The parameters of main.cf, in order.
    pub(super) settings: Vec<Setting>,
    /// Which of them is in force, by name.
    pub(super) in_force: HashMap<String, usize>,
    /// The services of master.cf.
    pub(super) services: Vec<Service>,
    /// main.cf was read.
    pub(super) has_main: bool,
    /// master.cf was read.
    pub(super) has_master: bool,
}

impl Configuration {
    pub(super) fn setting(&self, name: &str) -> Option<&Setting> {
        self.settings.get(*self.in_force.get(name)?)
    }

    /// What is in force without a service.
    pub(super) fn main(&self) -> View<'_> {
        View {
            configuration: self,
            service: None,
        }
    }

    /// What is in force for a service.
    pub(super) fn of<'a>(&'a self, service: &'a Service) -> View<'a> {
        View {
            configuration: self,
            service: Some(service),
        }
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) configuration: &'a Configuration,
    pub(super) service: Option<&'a Service>,
}

impl<'a> View<'a> {
    /// The setting a value comes from; none when it is the default.
    pub(super) fn origin(self, name: &str) -> Option<&'a Setting> {
        let own = self.service.and_then(|service| service.option(name));
        own.or_else(|| self.configuration.setting(name))
    }

    fn raw(self, name: &str) -> Option<String> {
        if let Some(setting) = self.origin(name) {
            return Some(setting.value.clone());
        }
        // Without main.cf it is not known whether a default is in force.
        if !self.configuration.has_main {
            return None;
        }
        // These come from the machine.
        if matches!(name, "myhostname" | "mydomain" | "mynetworks") {
            return None;
        }
        Some(table::find(name)?.default.to_owned())
    }

    /// The value in force, expanded.
    pub(super) fn value(self, name: &str) -> Result<String, Unknown> {
        let raw = self
            .raw(name)
            .ok_or_else(|| Unknown::Name(name.to_owned()))?;
        expand(&raw, &|name| self.raw(name))
    }

    /// A switch; none when it cannot be told.
    pub(super) fn switch(self, name: &str) -> Option<bool> {
        match self.value(name).ok()?.as_str() {
            "yes" => Some(true),
            "no" | "" => Some(false),
            _ => None,
        }
    }

    /// The TLS level of incoming mail.
    pub(super) fn level(self) -> Option<Level> {
        if self.switch("smtpd_tls_wrappermode")? {
            return Some(Level::Implicit);
        }
        let level = self.value("smtpd_tls_security_level").ok()?;
        Some(match level.as_str() {
            "" if self.switch("smtpd_enforce_tls")? => Level::Encrypt,
            "" if self.switch("smtpd_use_tls")? => Level::May,
            "" | "none" => Level::None,
            "may" => Level::May,
            // Stronger words mean encrypt here, with a warning in the log.
            _ => Level::Encrypt,
        })
    }

    /// Whether logins are taken before TLS; none when it cannot be told.
    pub(super) fn takes_clear_logins(self) -> Option<bool> {
        if !self.switch("smtpd_sasl_auth_enable")? {
            return Some(false);
        }
        Some(match self.level()? {
            Level::Implicit | Level::Encrypt => false,
            Level::May | Level::None => !self.switch("smtpd_tls_auth_only")?,
        })
    }
}

/// How a server takes TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    None,
    May,
    Encrypt,
    Implicit,
}
