//! The domains: one that is right in everything, and the others each wrong in some things.

use gatepost_testkit::dns_lab::{Fault, Zone};
use gatepost_testkit::pki::Issued;
use gatepost_trust::tlsa::Tlsa;

const OTHER: &str = "abababababababababababababababababababababababababababababababab";

pub(crate) fn good_until_2040(params: &mut rcgen::CertificateParams) {
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2040, 1, 1);
}

/// The names in the certificates of mail hosts.
pub(crate) fn mail_hosts() -> [&'static str; 3] {
    ["mx.good.example", "mx.wrong.example", "mx.sts.example"]
}

/// The names in the certificate of the web host; `mta-sts.badcert.example` is none of them.
pub(crate) fn web_hosts() -> [&'static str; 8] {
    [
        "mta-sts.good.example",
        "autoconfig.good.example",
        "autoconfig.wrong.example",
        "mta-sts.typo.example",
        "mta-sts.testing.example",
        "mta-sts.unlisted.example",
        "mta-sts.broken.example",
        "autoconfig.broken.example",
    ]
}

/// What the web hosts have; empty for a connection that breaks.
pub(crate) fn file(host: &str, path: &str) -> Option<String> {
    let policy = |mode: &str, mx: &str, age: &str| {
        format!("version: STSv1\r\nmode: {mode}\r\nmx: {mx}\r\nmax_age: {age}\r\n")
    };
    let server = |tag: &str, kind: &str, host: &str, port: u16, socket: &str| {
        format!(
            "<{tag} type=\"{kind}\"><hostname>{host}</hostname><port>{port}</port><socketType>{socket}</socketType></{tag}>"
        )
    };
    let described = |servers: String| {
        format!(
            "<clientConfig version=\"1.1\"><emailProvider id=\"x\">{servers}</emailProvider></clientConfig>"
        )
    };
    let is_policy = path == "/.well-known/mta-sts.txt";
    let is_config = path == "/mail/config-v1.1.xml";
    Some(match host {
        "mta-sts.good.example" if is_policy => policy("enforce", "mx.good.example", "604800"),
        "mta-sts.typo.example" if is_policy => {
            "version: STSv1\nmode: enforce\nnmx: mx.good.example\nmax_age: 604800\n".into()
        }
        "mta-sts.testing.example" if is_policy => policy("testing", "*.good.example", "3600"),
        "mta-sts.unlisted.example" if is_policy => policy("enforce", "other.example", "604800"),
        "mta-sts.broken.example" | "autoconfig.broken.example" => String::new(),
        "autoconfig.good.example" if is_config => described(
            server("incomingServer", "imap", "mx.good.example", 993, "SSL")
                + &server("outgoingServer", "smtp", "mx.good.example", 465, "SSL"),
        ),
        "autoconfig.wrong.example" if is_config => described(server(
            "incomingServer",
            "imap",
            "mx.wrong.example",
            143,
            "plain",
        )),
        _ => return None,
    })
}

/// The zones: one signed with most domains, one unsigned, two broken, and those of the addresses' names.
pub(crate) fn all(leaf: &Issued) -> Vec<Zone> {
    let key = Tlsa::for_certificate(&leaf.certificate, 3, 1, 1).unwrap();
    let example = [good(&key.to_string()), wrong(), policies(), senders()].concat();
    let simple = "@ MX 10 mx\nmx A 192.0.2.9\n\
        _25._tcp.mx TLSA 3 1 1 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n";
    let broken = |name, fault| Zone {
        fault,
        ..Zone::signed(name, simple.to_owned())
    };
    vec![
        Zone::root(),
        Zone::signed("example.", example),
        Zone::unsigned("plain.", simple.to_owned()),
        broken("changed.", Fault::Changed),
        broken("expired.", Fault::Expired),
        Zone::unsigned(
            "2.0.192.in-addr.arpa.",
            "1 PTR mx.good.example.\n2 PTR nowhere.example.\n".into(),
        ),
        Zone::unsigned(
            "8.b.d.0.1.0.0.2.ip6.arpa.",
            format!("1.{}0 PTR mx.good.example.\n", "0.".repeat(22)),
        ),
    ]
}

fn good(key: &str) -> String {
    format!(
        "good MX 10 mx.good\n\
         mx.good A 192.0.2.1\n\
         mx.good AAAA 2001:db8::1\n\
         _25._tcp.mx.good TLSA {key}\n\
         _25._tcp.mx.good TLSA 3 1 1 {OTHER}\n\
         _465._tcp.mx.good TLSA {key}\n\
         _mta-sts.good TXT \"v=STSv1; id=1;\"\n\
         mta-sts.good A 127.0.0.1\n\
         _smtp._tls.good TXT \"v=TLSRPTv1; rua=mailto:r@good.example\"\n\
         good TXT \"v=spf1 mx ip4:192.0.2.1 -all\"\n\
         s._domainkey.good TXT \"v=DKIM1; p=\"\n\
         _dmarc.good TXT \"v=DMARC1; p=reject; rua=mailto:d@good.example\"\n\
         good CAA 0 issue \"ca.example\"\n\
         _submissions._tcp.good SRV 0 1 465 mx.good\n\
         _imaps._tcp.good SRV 0 1 993 mx.good\n\
         _pop3s._tcp.good SRV 0 0 0 .\n\
         autoconfig.good A 127.0.0.1\n"
    )
}

fn wrong() -> String {
    format!(
        "ns AAAA ::1\n\
         critical CAA 128 future \"x\"\n\
         none TXT \"nothing\"\n\
         no MX 0 .\n\
         no TXT \"v=spf1 -all\"\n\
         wrong MX 10 mx.wrong\n\
         wrong MX 20 alias.wrong\n\
         mx.wrong A 192.0.2.2\n\
         alias.wrong CNAME mx.wrong\n\
         _25._tcp.mx.wrong TLSA 3 1 1 {OTHER}\n\
         _993._tcp.mx.wrong TLSA 3 1 1 {OTHER}\n\
         _mta-sts.wrong TXT \"v=STSv1; id=1\"\n\
         _mta-sts.wrong TXT \"v=STSv1; id=2\"\n\
         _smtp._tls.wrong TXT \"v=TLSRPTv1; rua=tls@wrong.example\"\n\
         wrong TXT \"v=spf1 +all\"\n\
         wrong CAA 0 iodef \"mailto:c@wrong.example\"\n\
         _dmarc.wrong TXT \"v=DMARC1; p=none; rua=mailto:d@wrong.example\"\n\
         _imaps._tcp.wrong SRV 10 1 993 mx.wrong\n\
         _imap._tcp.wrong SRV 0 1 143 nowhere.wrong\n\
         autoconfig.wrong A 127.0.0.1\n\
         pkix MX 10 mx.pkix\n\
         mx.pkix A 192.0.2.3\n\
         _25._tcp.mx.pkix TLSA 1 1 1 {OTHER}\n\
         two TXT \"v=spf1 -all\"\n\
         two TXT \"v=spf1 mx -all\"\n\
         outside MX 10 mx.expired.\n\
         away MX 10 mx.lost\n\
         away TXT \"v=spf1 include:_spf.lost.example -all\"\n"
    )
}

fn policies() -> String {
    let mut text =
        String::from("_smtp._tls.typo TXT \"v=TLSRPTv1; rua=mailto:r@nowhere.example\"\n");
    for domain in [
        "typo", "testing", "unlisted", "broken", "missing", "badcert",
    ] {
        text += &format!(
            "{domain} MX 10 mx.good\n_mta-sts.{domain} TXT \"v=STSv1; id=7\"\nmta-sts.{domain} A 127.0.0.1\n"
        );
    }
    text + "autoconfig.broken A 127.0.0.1\n"
}

fn senders() -> String {
    let modulus = |octets: usize| {
        // SubjectPublicKeyInfo of an RSA key of this size, in base64 as zone files hold it.
        super::cases::rsa_key(octets)
    };
    let many = (0..11).fold(String::new(), |text, number| {
        text + &format!("a:mx{number}.good.example ")
    });
    format!(
        "costly TXT \"v=spf1 {many}-all\"\n\
         typing TXT \"v=spf1 ipv4:192.0.2.1 -all\"\n\
         pop.typing AAAA 2001:db8::9\n\
         short._domainkey.keys TXT \"v=DKIM1; p={}\"\n\
         long._domainkey.keys TXT {}\n\
         _dmarc.twice TXT \"v=DMARC1; p=reject\"\n\
         _dmarc.twice TXT \"v=DMARC1; p=none\"\n\
         _dmarc.above TXT \"v=DMARC1; p=reject; sp=quarantine; rua=mailto:d@above.example\"\n\
         sub.above TXT \"x\"\n",
        modulus(64),
        cut(&format!("v=DKIM1; k=rsa; p={}", modulus(256))),
    )
}

/// Text as strings of a length zone files take.
fn cut(text: &str) -> String {
    let (first, rest) = text.split_at(200);
    format!("\"{first}\" \"{rest}\"")
}
