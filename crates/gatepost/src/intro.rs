//! What a new user sees: the services, the account, and lines to copy.

use gatepost_serve::server::Running;
use gatepost_wire::secret::Secret;

/// The account the lines to copy are for.
pub(crate) struct Shown {
    /// Its address.
    pub(crate) address: String,
    /// Its password, where it was made on this start: the only time it is shown.
    pub(crate) password: Option<Secret<String>>,
}

/// Prints the table of services, the account and the lines to copy to standard output.
pub(crate) fn print(running: &Running, shown: Option<&Shown>) {
    // Standard output may be closed, or full; the server runs all the same. But a password that nobody has seen is lost.
    use std::io::Write;
    let text = text(running, shown);
    let mut out = std::io::stdout();
    let told = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    if told.is_err() && shown.is_some_and(|it| it.password.is_some()) {
        let _ = std::io::stderr().write_all(text.as_bytes());
    }
}

fn text(running: &Running, shown: Option<&Shown>) -> String {
    let mut text = format!(
        "Gatepost {} is ready.\n\n  {:<12} {:>6}  TLS\n",
        env!("CARGO_PKG_VERSION"),
        "service",
        "port"
    );
    for service in running.services() {
        text.push_str(&format!(
            "  {:<12} {:>6}  {}\n",
            service.name, service.port, service.tls
        ));
    }
    let addresses: Vec<String> = running
        .addresses()
        .iter()
        .map(ToString::to_string)
        .collect();
    text.push_str(&format!(
        "\nListening on {}. Data in {}.\n",
        addresses.join(", "),
        running.data().display()
    ));
    if let Some(ca) = running.ca() {
        text.push_str(&format!(
            "Certificate authority for clients: {}\n",
            ca.display()
        ));
    }
    if let Some(shown) = shown {
        text.push_str(&account(running, shown));
    }
    if let Some(url) = running.web_url() {
        text.push_str(&format!(
            "\nWeb page  {url}\n          (the part behind # opens the mail: keep it to yourself)\n"
        ));
    }
    if running.upstreams().is_empty() {
        text.push_str(&lines_to_copy(running, shown));
    } else {
        text.push_str("\nPassing sessions on to:\n");
        for spec in running.upstreams() {
            text.push_str(&format!(
                "  {:<12} {} ({})\n",
                spec.protocol.label(),
                spec.place(),
                spec.tls_words()
            ));
        }
        text.push('\n');
    }
    text
}

fn account(running: &Running, shown: &Shown) -> String {
    let (address, data) = (
        &shown.address,
        quoted(&running.data().display().to_string()),
    );
    let change = format!(
        "gatepost account password {} --data {data}",
        quoted(address)
    );
    match &shown.password {
        Some(password) => format!(
            "\nAccount   {address}\nPassword  {}\n          (shown this once; change it with: {change})\n",
            password.expose()
        ),
        None => format!(
            "\nAccount   {address}\n          (all of them: gatepost account list --data {data}; a new password: {change})\n"
        ),
    }
}

/// A word as a shell takes it for one (POSIX 2.2.2).
fn quoted(word: &str) -> String {
    let is_plain = |it: char| it.is_ascii_alphanumeric() || "/._-+,@%=:".contains(it);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

fn lines_to_copy(running: &Running, shown: Option<&Shown>) -> String {
    let port = |name: &str| {
        running
            .services()
            .iter()
            .find(|service| service.name == name)
            .map_or(0, |service| service.port)
    };
    let host = running.client_host();
    let ca = running.ca().map(|ca| ca.display().to_string());
    let cacert = ca
        .as_ref()
        .map(|ca| format!(" --cacert {}", quoted(ca)))
        .unwrap_or_default();
    let cafile = ca
        .as_ref()
        .map(|ca| format!(" -CAfile {} -verify_return_error", quoted(ca)))
        .unwrap_or_default();
    let user = shown.map_or("ADDRESS", |it| it.address.as_str());
    let address = quoted(user);
    format!(
        "\nLook:  openssl s_client -connect {host}:{smtp} -starttls smtp{cafile}\n\
         Send:  printf 'Subject: hello\\r\\n\\r\\nIt works.\\r\\n' | curl -sS{cacert} --ssl-reqd smtp://{host}:{submission} \
         --user {address} --mail-from {address} --mail-rcpt {address} -T -\n\
         Read:  curl -sS{cacert} 'imaps://{host}:{imaps}/INBOX;MAILINDEX=1' --user {address}\n\
         Thunderbird:  IMAP {host} port {imaps} SSL/TLS, SMTP {host} port {submissions} SSL/TLS, normal password, user {user}{import}\n\n",
        smtp = port("smtp"),
        submission = port("submission"),
        submissions = port("submissions"),
        imaps = port("imaps"),
        import = ca
            .as_ref()
            .map(|ca| format!("\n              (import {ca} under Certificates, Authorities)"))
            .unwrap_or_default(),
    )
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn words_are_taken_for_one() {
        assert_eq!(quoted("/srv/mail/ca.pem"), "/srv/mail/ca.pem");
        assert_eq!(quoted("a dir"), "'a dir'");
        assert_eq!(quoted("it's"), "'it'\\''s'");
        assert_eq!(quoted("$(x)"), "'$(x)'");
        assert_eq!(quoted(""), "''");
    }
}
