//! Providers whose servers take tokens instead of passwords, as data.
//!
//! A provider wants an application registered with it, by you or your organisation; its `client id` (and secret, if it has one) comes
//! from there and stands in no preset.

/// A provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Provider {
    /// The word for it on the command line.
    pub name: &'static str,
    /// Where consent by device code begins (RFC 8628 3.1).
    pub device: &'static str,
    /// Where tokens are given and renewed (RFC 6749 3.2).
    pub token: &'static str,
    /// What is asked for: mail by IMAP, POP3 and submission, and renewal without the user.
    pub scope: &'static str,
    /// Its servers, as upstreams.
    pub upstreams: &'static [&'static str],
    /// What an operator must know.
    pub note: &'static str,
}

/// All presets.
pub static PROVIDERS: &[Provider] = &[
    Provider {
        name: "microsoft365",
        device: "https://login.microsoftonline.com/common/oauth2/v2.0/devicecode",
        token: "https://login.microsoftonline.com/common/oauth2/v2.0/token",
        scope: "https://outlook.office.com/IMAP.AccessAsUser.All https://outlook.office.com/POP.AccessAsUser.All \
                https://outlook.office.com/SMTP.Send offline_access",
        upstreams: &[
            "imaps://outlook.office365.com?oauth",
            "pop3s://outlook.office365.com?oauth",
            "submission+starttls://smtp.office365.com?oauth",
        ],
        note: "register a public client in Entra ID and allow public client flows; no secret is needed",
    },
    Provider {
        name: "gmail",
        device: "https://oauth2.googleapis.com/device/code",
        token: "https://oauth2.googleapis.com/token",
        scope: "https://mail.google.com/",
        upstreams: &[
            "imaps://imap.gmail.com?oauth",
            "pop3s://pop.gmail.com?oauth",
            "submissions://smtp.gmail.com?oauth",
        ],
        note: "Google gives no consent to mail by device code: bring a refresh token with gatepost oauth import; a client has a secret",
    },
];

/// The preset of that name.
pub fn find(name: &str) -> Option<&'static Provider> {
    PROVIDERS.iter().find(|it| it.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::url::Spec;
    use gatepost_net::http::Url;

    #[test]
    fn presets_are_complete() {
        for provider in PROVIDERS {
            for url in [provider.device, provider.token] {
                assert!(url.parse::<Url>().unwrap().tls, "{url}");
            }
            for upstream in provider.upstreams {
                let spec = Spec::parse(upstream).unwrap();
                assert!(spec.oauth && spec.level.is_verified(), "{upstream}");
            }
            assert_eq!(find(provider.name), Some(provider));
        }
    }
}
