//! Our own server. Its profile is one, and right: there is nothing to choose.

use super::{Made, Wanted, head};

pub(super) fn make(wanted: &Wanted) -> Vec<Made> {
    let mut text = head(
        "Gatepost",
        wanted,
        "Use it with: gatepost serve --config gatepost.toml\nTLS 1.2 and 1.3 with AEAD suites, X25519MLKEM768 first: the same with every profile.",
    );
    text.push_str(&format!(
        "[server]\nhost = \"{}\"\ndomains = [\"{}\"]\n# Reachable from everywhere, on the real ports.\nbind = [\"0.0.0.0\", \"::\"]\nport_offset = 0\n\n\
         [tls]\nchains = [\"{}\"]\nkeys = [\"{}\"]\n\n\
         [smtp]\n# Offered on port 25, required for every login (which cannot be changed).\ntls = \"may\"\n",
        wanted.host, wanted.domain, wanted.chain, wanted.key
    ));
    vec![Made {
        name: "gatepost.toml",
        place: "/etc/gatepost/gatepost.toml",
        text,
    }]
}
