//! SCRAM-SHA-256 and SCRAM-SHA-256-PLUS, the server's side (RFC 5802, RFC 7677); SCRAM-SHA-1 and its PLUS are the same with another
//! hash function.
//!
//! 1. The client sends its GS2 header, name and nonce ([`ClientFirst`]).
//! 2. The keeper gives the account's keys (or ones that no proof fits); the server sends nonce, salt and iteration count
//!    ([`Offer`]).
//! 3. The client sends the channel binding, the nonce and its proof ([`Offer::check`]).
//! 4. When the keeper has granted the login, the server sends its own proof ([`Verdict::server_final`]).
//!
//! A message that breaks the grammar is malformed. One that keeps it but carries the wrong nonce, binding or proof is a failed
//! login, counted like a wrong password: all three look like someone trying.

use subtle::ConstantTimeEq as _;

use super::prepare::{is_same_user, prepare_name};
use super::record::LEAST_ITERATIONS;
use super::{Failure, ScramHash, ScramKeys, decode_base64, encode_base64};
use crate::seam::ChannelBindings;

/// The longest client message read: a name, a nonce and a binding, with room for extensions to be ignored.
const LONGEST_MESSAGE: usize = 2048;
/// The longest name, as in PLAIN (RFC 4616 2).
const LONGEST_NAME: usize = 255;
/// The shortest server nonce taken from the keeper.
const SHORTEST_NONCE: usize = 18;

/// What this exchange may bind to.
#[derive(Clone, Copy)]
pub(super) struct Binding<'a> {
    /// Whether the mechanism is the PLUS one.
    pub(super) plus: bool,
    /// The connection's values; given means that PLUS was offered.
    pub(super) values: Option<&'a ChannelBindings>,
}

/// The first client message, understood.
#[derive(Debug)]
pub(super) struct ClientFirst {
    /// The prepared name.
    pub(super) user: String,
    hash: ScramHash,
    /// GS2 header and binding data: what `c=` must hold.
    expected_binding: Vec<u8>,
    bare: String,
    nonce: String,
}

/// The server's first message has been sent.
#[derive(Debug)]
pub(super) struct Offer {
    first: ClientFirst,
    keys: ScramKeys,
    /// `r=…,s=…,i=…`
    message: String,
}

/// The result of the client's proof.
#[derive(Debug)]
pub(super) struct Verdict {
    /// The prepared name.
    pub(super) user: String,
    /// Whether nonce, binding and proof are right.
    pub(super) proven: bool,
    /// The server's proof, to be sent once the login is granted.
    pub(super) server_final: Vec<u8>,
}

impl ClientFirst {
    /// Reads `gs2-header client-first-message-bare`.
    pub(super) fn read(
        octets: &[u8],
        hash: ScramHash,
        binding: Binding<'_>,
    ) -> Result<Self, Failure> {
        let text = message(octets)?;
        let (flag, rest) = text.split_once(',').ok_or(Failure::Malformed)?;
        let (authzid, bare) = rest.split_once(',').ok_or(Failure::Malformed)?;
        let data = bind(flag, binding)?;

        let mut attributes = bare.split(',');
        let name = attribute(attributes.next(), "n=")?;
        let nonce = attribute(attributes.next(), "r=")?;
        if nonce.is_empty() || !nonce.bytes().all(|octet| octet.is_ascii_graphic()) {
            return Err(Failure::Malformed);
        }
        attributes.try_for_each(ignored_extension)?;

        let user = prepared(name)?;
        // RFC 5802 5.1: another identity than one's own is not permitted to anyone here.
        if !authzid.is_empty() && !is_same_user(&prepared(attribute(Some(authzid), "a=")?)?, &user)
        {
            return Err(Failure::WrongCredentials);
        }
        let mut expected_binding = format!("{flag},{authzid},").into_bytes();
        expected_binding.extend_from_slice(data);
        Ok(Self {
            user,
            hash,
            expected_binding,
            bare: bare.to_owned(),
            nonce: nonce.to_owned(),
        })
    }

    /// Goes on with the keys.
    pub(super) fn offer(self, keys: ScramKeys) -> Result<Offer, Failure> {
        let nonce_usable = keys.nonce.len() >= SHORTEST_NONCE
            && keys
                .nonce
                .bytes()
                .all(|octet| octet.is_ascii_graphic() && octet != b',');
        let of_this_hash = [&keys.stored_key, &keys.server_key]
            .iter()
            .all(|key| key.expose().len() == self.hash.length());
        // [SASL-SCRAM-02] weak keys would be a fault of ours
        if !nonce_usable
            || !of_this_hash
            || keys.salt.is_empty()
            || keys.iterations < LEAST_ITERATIONS
        {
            return Err(Failure::Unavailable);
        }
        let message = format!(
            "r={}{},s={},i={}",
            self.nonce,
            keys.nonce,
            encode_base64(&keys.salt),
            keys.iterations
        );
        Ok(Offer {
            first: self,
            keys,
            message,
        })
    }
}

impl Offer {
    /// The server's first message.
    pub(super) fn server_first(&self) -> Vec<u8> {
        self.message.clone().into_bytes()
    }

    /// Reads `c=…,r=…,p=…` and checks all three.
    pub(super) fn check(self, octets: &[u8]) -> Result<Verdict, Failure> {
        let text = message(octets)?;
        let (without_proof, proof) = text.rsplit_once(",p=").ok_or(Failure::Malformed)?;
        let proof = decode_base64(proof.as_bytes())
            .ok()
            .filter(|it| it.len() == self.first.hash.length())
            .ok_or(Failure::Malformed)?;
        let mut attributes = without_proof.split(',');
        let binding = decode_base64(attribute(attributes.next(), "c=")?.as_bytes())
            .map_err(|_| Failure::Malformed)?;
        let nonce = attribute(attributes.next(), "r=")?;
        attributes.try_for_each(ignored_extension)?;

        // [SASL-SCRAM-01] the nonce is the one we sent, whole
        let same_nonce =
            nonce.strip_prefix(self.first.nonce.as_str()) == Some(self.keys.nonce.as_str());
        // [SASL-SCRAM-03] `c=` is always checked, also when nothing is bound: it repeats the GS2 header
        let same_binding: bool = binding.ct_eq(&self.first.expected_binding).into();
        let proof_fits = self.proof_fits(without_proof, &proof);
        let signature = self
            .first
            .hash
            .keyed_hash(self.keys.server_key.expose(), &self.signed(without_proof));
        Ok(Verdict {
            proven: same_nonce && same_binding && proof_fits,
            server_final: format!("v={}", encode_base64(&signature)).into_bytes(),
            user: self.first.user,
        })
    }

    /// RFC 5802 3: `ClientKey = ClientProof XOR HMAC(StoredKey, AuthMessage)`, and its hash must be `StoredKey`.
    fn proof_fits(&self, without_proof: &str, proof: &[u8]) -> bool {
        let mut client_key = self
            .first
            .hash
            .keyed_hash(self.keys.stored_key.expose(), &self.signed(without_proof));
        for (octet, proven) in client_key.iter_mut().zip(proof) {
            *octet ^= proven;
        }
        self.first
            .hash
            .hash(&client_key)
            .as_slice()
            .ct_eq(self.keys.stored_key.expose())
            .into()
    }

    /// `AuthMessage` in parts.
    fn signed<'a>(&'a self, without_proof: &'a str) -> [&'a [u8]; 5] {
        [
            self.first.bare.as_bytes(),
            b",",
            self.message.as_bytes(),
            b",",
            without_proof.as_bytes(),
        ]
    }
}

/// The binding data the client's flag calls for.
fn bind<'a>(flag: &str, binding: Binding<'a>) -> Result<&'a [u8], Failure> {
    match (flag, binding.plus) {
        // [SASL-SCRAM-03] the client believes PLUS was not offered: someone took it out of the list
        ("y", false) if binding.values.is_some() => Err(Failure::WrongCredentials),
        ("n" | "y", false) => Ok(&[]),
        (_, true) => {
            let kind = flag.strip_prefix("p=").ok_or(Failure::Malformed)?;
            let values = binding.values.ok_or(Failure::WrongCredentials)?;
            match kind {
                // [SASL-CB-01] RFC 9266
                "tls-exporter" => Ok(&values.exporter),
                // An empty hash means that the certificate's signature defines none (RFC 5929 4.1).
                "tls-server-end-point" if !values.server_end_point.is_empty() => {
                    Ok(&values.server_end_point)
                }
                // [SASL-SCRAM-03] a type we do not know
                _ => Err(Failure::WrongCredentials),
            }
        }
        _ => Err(Failure::Malformed),
    }
}

/// A message as text, if it is short enough and free of NUL.
fn message(octets: &[u8]) -> Result<&str, Failure> {
    if octets.len() > LONGEST_MESSAGE || octets.contains(&0) {
        return Err(Failure::Malformed);
    }
    std::str::from_utf8(octets).map_err(|_| Failure::Malformed)
}

/// The value of an attribute that must stand here. `m=` never does: a mandatory extension we do not know [SASL-SCRAM-01].
fn attribute<'a>(text: Option<&'a str>, name: &str) -> Result<&'a str, Failure> {
    text.and_then(|it| it.strip_prefix(name))
        .ok_or(Failure::Malformed)
}

/// Passes over `letter=value` (RFC 5802 7, `attr-val`), unless it is mandatory.
fn ignored_extension(text: &str) -> Result<(), Failure> {
    let (name, value) = text.split_once('=').ok_or(Failure::Malformed)?;
    let one_letter = name.len() == 1 && name.bytes().all(|octet| octet.is_ascii_alphabetic());
    // [SASL-SCRAM-01] `m=` fails wherever it stands; the letters in use may not come twice
    if !one_letter || value.is_empty() || "mnracpsive".contains(name) {
        return Err(Failure::Malformed);
    }
    Ok(())
}

/// Undoes `=2C` and `=3D` and prepares the name.
fn prepared(saslname: &str) -> Result<String, Failure> {
    let mut name = String::with_capacity(saslname.len());
    let mut parts = saslname.split('=');
    name.push_str(parts.next().unwrap_or_default());
    for part in parts {
        // [SASL-SCRAM-01] any other use of `=` fails
        let (character, rest) = match (part.strip_prefix("2C"), part.strip_prefix("3D")) {
            (Some(rest), _) => (',', rest),
            (_, Some(rest)) => ('=', rest),
            _ => return Err(Failure::Malformed),
        };
        name.push(character);
        name.push_str(rest);
    }
    if name.is_empty() || name.len() > LONGEST_NAME {
        return Err(Failure::Malformed);
    }
    prepare_name(&name).map_err(|_| Failure::WrongCredentials)
}
