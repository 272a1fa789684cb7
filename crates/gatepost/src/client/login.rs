//! From the settings to credentials, when the session is ready for them: not a moment before the server is known.

use gatepost_wire::client::Credentials;
use gatepost_wire::sasl::Mechanism;

use super::kinds::Kind;
use super::reach::Open;
use super::secret::Proof;
use super::settings::Settings;
use super::trouble::Trouble;
use super::url::Url;

/// What to log in with; none when no login was asked for. Runs the password command, or asks.
pub(crate) fn credentials<M: Kind>(
    settings: &Settings,
    url: &Url,
    open: &Open<M>,
) -> Result<Option<Credentials>, Trouble> {
    let user = settings.user.as_ref().or(url.user.as_ref());
    let allowed = allowed(settings.mechanism.as_deref());
    let external = settings.mechanism.as_deref() == Some("EXTERNAL");
    if external {
        // [MUA-09] by the certificate, and by nothing weaker.
        let allowed = vec![Mechanism::External];
        let user = user.cloned().unwrap_or_default();
        return Ok(Some(Credentials::certificate(user).allow(allowed)));
    }
    let Some(user) = user else { return Ok(None) };
    // The session would refuse as well; but nobody is to be asked for a password that will not be used.
    open.refuse_login_in_vain(settings)?;
    let proof = settings
        .secret
        .obtain(user, &open.place)
        .map_err(|failure| Trouble::ours("E-PASSWORD", &failure))?;
    let credentials = match proof {
        Proof::Password(secret) => Credentials::password(user, secret.expose().clone()),
        Proof::Token(secret) => Credentials::token(user, secret.expose().clone()),
    };
    Ok(Some(credentials.allow(allowed)))
}

/// The mechanisms from the strongest to the floor. Those with SHA-1 are among them when the floor is one of them [CONF-07].
fn allowed(floor: Option<&str>) -> Vec<Mechanism> {
    let mut all = Mechanism::FOR_CLIENTS.to_vec();
    if Mechanism::OPT_IN.iter().any(|it| Some(it.name()) == floor) {
        all.extend(Mechanism::OPT_IN);
        // Declared strongest first.
        all.sort_unstable();
    }
    let last = floor
        .and_then(|floor| all.iter().position(|it| it.name() == floor))
        .unwrap_or(all.len() - 1);
    all.into_iter().take(last + 1).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_floor_cuts_off_what_is_weaker() {
        assert_eq!(allowed(None), Mechanism::FOR_CLIENTS);
        let strong: Vec<&str> = allowed(Some("SCRAM-SHA-256"))
            .iter()
            .map(|it| it.name())
            .collect();
        assert!(strong.contains(&"SCRAM-SHA-256-PLUS") && strong.contains(&"SCRAM-SHA-256"));
        assert!(!strong.contains(&"PLAIN") && !strong.contains(&"LOGIN"));
        // [CONF-07] named, or not used
        let names =
            |floor| -> Vec<&str> { allowed(Some(floor)).iter().map(|it| it.name()).collect() };
        let scram = [
            "SCRAM-SHA-256-PLUS",
            "SCRAM-SHA-256",
            "SCRAM-SHA-1-PLUS",
            "SCRAM-SHA-1",
        ];
        assert_eq!(names("SCRAM-SHA-1"), scram);
        assert_eq!(names("SCRAM-SHA-1-PLUS"), scram[..3]);
        assert!(!names("PLAIN").iter().any(|it| it.contains("SHA-1")));
    }
}
