//! Exim: one whole file, because the order of its sections matters.

use super::{Made, Wanted, head, one_for_all};

pub(super) fn make(wanted: &Wanted) -> Vec<Made> {
    vec![Made {
        name: "exim4.conf",
        place: "/etc/exim4/exim4.conf",
        text: format!("{}{}{}", main(wanted), ACL, rest()),
    }]
}

fn main(wanted: &Wanted) -> String {
    let mut text = head(
        "Exim",
        wanted,
        "A whole configuration: take the TLS lines into yours, or your routers and transports into this one.",
    );
    let openssl = "+no_sslv2 +no_sslv3 +no_tlsv1 +no_tlsv1_1";
    text.push_str(&format!(
        "primary_hostname = {host}\ndomainlist local_domains = {domain}\n\n\
         # TLS: offered to everybody; from the first octet on 465 (RFC 8314 section 3.3).\n\
         daemon_smtp_ports = 25 : 465 : 587\ntls_on_connect_ports = 465\ntls_advertise_hosts = *\n\
         tls_certificate = {chain}\ntls_privatekey = {key}\n\
         {note}# The words for suites are those of the library that is built in.\n\
         .ifdef _HAVE_GNUTLS\ntls_require_ciphers = {gnutls}\n.else\ntls_require_ciphers = {suites}\nopenssl_options = {openssl}\n.endif\n\n\
         # AUTH inside TLS only (RFC 4954 section 4).\nauth_advertise_hosts = ${{if eq{{$tls_in_cipher}}{{}}{{}}{{*}}}}\n\
         # Version and suite in the log.\nlog_selector = +tls_cipher +tls_certificate_verified +tls_sni\n\n\
         acl_smtp_mail = acl_check_mail\nacl_smtp_rcpt = acl_check_rcpt\nacl_smtp_data = acl_check_data\n\
         keep_environment =\nnever_users = root\n\n",
        host = wanted.host,
        domain = wanted.domain,
        chain = wanted.chain,
        key = wanted.key,
        gnutls = wanted.profile.gnutls(),
        note = one_for_all(wanted),
        suites = wanted.profile.suites_12(),
    ));
    text
}

const ACL: &str = "begin acl

# On the ports for users: TLS, then a login, then mail.
acl_check_mail:
  deny    message   = TLS is required here
          condition = ${if or{{eq{$received_port}{587}}{eq{$received_port}{465}}}}
          !encrypted = *
  deny    message   = log in first
          condition = ${if or{{eq{$received_port}{587}}{eq{$received_port}{465}}}}
          !authenticated = *
  accept

# To elsewhere for users alone.
acl_check_rcpt:
  accept  authenticated = *
  accept  domains = +local_domains
  deny    message = relaying is not permitted

acl_check_data:
  accept

";

fn rest() -> String {
    "begin routers\n\ndnslookup:\n  driver = dnslookup\n  domains = ! +local_domains\n  transport = remote_smtp\n  \
     ignore_target_hosts = 0.0.0.0 : 127.0.0.0/8 : ::1\n  dnssec_request_domains = *\n  no_more\n\n\
     localuser:\n  driver = accept\n  check_local_user\n  transport = local_delivery\n\n\
     begin transports\n\n# DANE where the receiver publishes TLSA records (RFC 7672), else TLS where it is offered.\n\
     remote_smtp:\n  driver = smtp\n  dnssec_request_domains = *\n  hosts_try_dane = *\n\n\
     local_delivery:\n  driver = appendfile\n  directory = $home/Maildir\n  create_directory\n  maildir_format\n  delivery_date_add\n  \
     envelope_to_add\n  return_path_add\n\n\
     begin retry\n\n*  *  F,2h,15m; G,16h,1h,1.5; F,4d,6h\n\n\
     begin authenticators\n\n# NAME:CRYPTED in /etc/exim4/passwd, readable for Exim alone. Inside TLS only, whatever stands above.\n\
     plain:\n  driver = plaintext\n  public_name = PLAIN\n  \
     server_condition = ${if crypteq{$auth3}{${extract{1}{:}{${lookup{$auth2}lsearch{/etc/exim4/passwd}{$value}{*:*}}}}}{1}{0}}\n  \
     server_set_id = $auth2\n  server_prompts = :\n  server_advertise_condition = ${if def:tls_in_cipher}\n"
        .to_owned()
}
