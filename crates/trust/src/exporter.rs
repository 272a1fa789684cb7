//! The value for `tls-exporter` channel bindings (RFC 9266): label `EXPORTER-Channel-Binding`, an empty context, 32 octets.
//!
//! The engine's unbuffered connection, which is what makes an idle connection small, has no call for exporters. It does hand
//! the exporter secret to its key log, during the call in which that secret comes to be. `Tap` is such a key log: it keeps
//! the secret of the call running on this thread for as long as [`capture`] lasts, and never writes it anywhere. Outside
//! [`capture`] it keeps nothing. The secret is wiped when [`Captured`] is dropped.

use std::cell::RefCell;

use rustls::crypto::tls13::{HkdfExpander, OkmBlock};
use rustls::{KeyLog, SupportedCipherSuite};

const LABEL: &[u8] = b"EXPORTER-Channel-Binding";
/// What the engine calls the two secrets (the NSS key log's words).
const TLS13_SECRET: &str = "EXPORTER_SECRET";
const TLS12_SECRET: &str = "CLIENT_RANDOM";

thread_local! {
    static SLOT: RefCell<Slot> = const { RefCell::new(Slot::Closed) };
}

enum Slot {
    /// Nobody is listening.
    Closed,
    /// [`capture`] is running.
    Open(Option<Captured>),
}

/// The secret behind the exporter of one connection.
pub struct Captured {
    client_random: Vec<u8>,
    /// Wiped on drop by its type.
    secret: OkmBlock,
}

impl std::fmt::Debug for Captured {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Captured(..)")
    }
}

/// Gives exporter secrets to [`capture`], and to nobody else.
#[derive(Debug)]
pub(crate) struct Tap;

impl KeyLog for Tap {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        let wanted = label == TLS13_SECRET || label == TLS12_SECRET;
        if !wanted || secret.len() > OkmBlock::MAX_LEN {
            return;
        }
        SLOT.with_borrow_mut(|slot| {
            if let Slot::Open(kept) = slot {
                *kept = Some(Captured {
                    client_random: client_random.to_vec(),
                    secret: OkmBlock::new(secret),
                });
            }
        });
    }

    fn will_log(&self, label: &str) -> bool {
        label == TLS13_SECRET || label == TLS12_SECRET
    }
}

/// Runs a piece of engine work that does not suspend, and returns the exporter secret if one came to be in it.
pub fn capture<T>(work: impl FnOnce() -> T) -> (T, Option<Captured>) {
    SLOT.replace(Slot::Open(None));
    let result = work();
    match SLOT.replace(Slot::Closed) {
        Slot::Open(kept) => (result, kept),
        Slot::Closed => (result, None),
    }
}

impl Captured {
    /// The channel binding of the connection whose handshake ended with `suite`. TLS 1.2 also needs the server's random; the
    /// caller has made sure of the extended master secret (the profile requires it) [SASL-CB-01].
    pub fn channel_binding(
        &self,
        suite: SupportedCipherSuite,
        server_random: Option<&[u8; 32]>,
    ) -> Option<[u8; 32]> {
        match suite {
            SupportedCipherSuite::Tls13(suite) => {
                let hash = suite.common.hash_provider.hash(&[]);
                let hkdf = suite.hkdf_provider;
                let derived = hkdf.expander_for_okm(&self.secret);
                let derived = expand_label(&*derived, LABEL, hash.as_ref(), hash.as_ref().len())?;
                let last = hkdf.expander_for_okm(&OkmBlock::new(&derived));
                expand_label(&*last, b"exporter", hash.as_ref(), 32)?
                    .try_into()
                    .ok()
            }
            SupportedCipherSuite::Tls12(suite) => {
                // RFC 5705 4: an empty context is not the same as none; its length is part of the seed.
                let seed = [&self.client_random[..], server_random?, &[0, 0]].concat();
                let mut out = [0; 32];
                suite
                    .prf_provider
                    .for_secret(&mut out, self.secret.as_ref(), LABEL, &seed);
                Some(out)
            }
        }
    }
}

/// HKDF-Expand-Label (RFC 9846 7.1).
fn expand_label(
    expander: &dyn HkdfExpander,
    label: &[u8],
    context: &[u8],
    length: usize,
) -> Option<Vec<u8>> {
    const PREFIX: &[u8] = b"tls13 ";
    let mut out = vec![0; length];
    let info: [&[u8]; 6] = [
        &u16::try_from(length).ok()?.to_be_bytes(),
        &[u8::try_from(PREFIX.len() + label.len()).ok()?],
        PREFIX,
        label,
        &[u8::try_from(context.len()).ok()?],
        context,
    ];
    expander.expand_slice(&info, &mut out).ok()?;
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_exporter_secret_is_kept_and_only_inside_capture() {
        Tap.log(TLS13_SECRET, &[1; 32], &[2; 32]);
        let ((), kept) = capture(|| {});
        assert!(kept.is_none());
        let ((), kept) = capture(|| Tap.log("SERVER_TRAFFIC_SECRET_0", &[1; 32], &[2; 32]));
        assert!(kept.is_none());
        let ((), kept) = capture(|| Tap.log(TLS13_SECRET, &[1; 32], &[2; 32]));
        assert_eq!(kept.unwrap().secret.as_ref(), [2; 32]);
        let ((), kept) = capture(|| {});
        assert!(kept.is_none());
    }

    #[test]
    fn never_prints() {
        let captured = Captured {
            client_random: vec![1],
            secret: OkmBlock::new(&[2; 32]),
        };
        assert_eq!(format!("{captured:?}"), "Captured(..)");
    }
}
