//! What a new user sees: the services, the account, and lines to copy.

use gatepost_serve::server::Running;
use gatepost_wire::secret::Secret;

/// The account made on the first start; the only time its password is shown.
pub(crate) struct FirstAccount {
    /// Its address.
    pub(crate) address: &'static str,
    /// Its password.
    pub(crate) password: Secret<String>,
}

/// Prints the table of services, the account and the lines to copy to standard output.
pub(crate) fn print(running: &Running, first: Option<&FirstAccount>) {
    // Standard output may be closed, or full; the server runs all the same. But a password that nobody has seen is lost.
    use std::io::Write;
    let text = text(running, first);
    let mut out = std::io::stdout();
    let told = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    if told.is_err() && first.is_some() {
        let _ = std::io::stderr().write_all(text.as_bytes());
    }
}

fn text(running: &Running, first: Option<&FirstAccount>) -> String {
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
    if let Some(first) = first {
        text.push_str(&format!(
            "\nAccount   {}\nPassword  {}\n",
            first.address,
            first.password.expose()
        ));
        text.push_str(&format!(
            "          (shown this once; change it with: gatepost account password {} --data {})\n",
            first.address,
            running.data().display(),
        ));
    }
    if let Some(url) = running.web_url() {
        text.push_str(&format!(
            "\nWeb page  {url}\n          (the part behind # opens the mail: keep it to yourself)\n"
        ));
    }
    if running.upstreams().is_empty() {
        text.push_str(&lines_to_copy(running, first));
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

fn lines_to_copy(running: &Running, first: Option<&FirstAccount>) -> String {
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
        .map(|ca| format!(" --cacert {ca}"))
        .unwrap_or_default();
    let cafile = ca
        .as_ref()
        .map(|ca| format!(" -CAfile {ca} -verify_return_error"))
        .unwrap_or_default();
    let address = first.map_or("ADDRESS", |first| first.address);
    format!(
        "\nLook:  openssl s_client -connect {host}:{smtp} -starttls smtp{cafile}\n\
         Send:  printf 'Subject: hello\\r\\n\\r\\nIt works.\\r\\n' | curl -sS{cacert} --ssl-reqd smtp://{host}:{submission} \
         --user {address} --mail-from {address} --mail-rcpt {address} -T -\n\
         Read:  curl -sS{cacert} 'imaps://{host}:{imaps}/INBOX;MAILINDEX=1' --user {address}\n\
         Thunderbird:  IMAP {host} port {imaps} SSL/TLS, SMTP {host} port {submissions} SSL/TLS, normal password, user {address}{import}\n\n",
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
