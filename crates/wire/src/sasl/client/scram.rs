//! SCRAM-SHA-256, the client's side (RFC 5802, RFC 7677); SCRAM-SHA-1 is the same with another hash function.

use subtle::ConstantTimeEq as _;

use crate::client::Failure;
use crate::sasl::record::LEAST_ITERATIONS;
use crate::sasl::{ScramHash, decode_base64, encode_base64};
use crate::secret::Secret;

/// The most iterations computed: about a second. A server that asks for more wants to keep us busy.
const MOST_ITERATIONS: u32 = 2_000_000;
/// The longest server message read.
const LONGEST_MESSAGE: usize = 4096;

/// The first message has been made.
#[derive(Debug)]
pub(super) struct Begun {
    hash: ScramHash,
    header: &'static str,
    binding: Vec<u8>,
    bare: String,
    nonce: String,
    password: Secret<String>,
}

/// Our proof has been made; the server's is awaited.
#[derive(Debug)]
pub(super) struct Proven {
    signature: Vec<u8>,
}

pub(super) fn begin(
    hash: ScramHash,
    binding: (&'static str, Vec<u8>),
    user: &str,
    password: Secret<String>,
    nonce: String,
) -> (Secret<Vec<u8>>, Begun) {
    let (header, binding) = binding;
    let bare = format!("n={},r={nonce}", escape(user));
    let message = Secret::new(format!("{header}{bare}").into_bytes());
    let begun = Begun {
        hash,
        header,
        binding,
        bare,
        nonce,
        password,
    };
    (message, begun)
}

/// [SASL-SCRAM-01] `=2C` and `=3D`.
pub(super) fn escape(name: &str) -> String {
    name.replace('=', "=3D").replace(',', "=2C")
}

impl Begun {
    /// Reads `r=…,s=…,i=…` and makes the final message.
    pub(super) fn prove(self, challenge: &[u8]) -> Result<(Secret<Vec<u8>>, Proven), Failure> {
        let server = ServerFirst::read(challenge).ok_or(Failure::ServerNotProven)?;
        // [SASL-SCRAM-01] the server's nonce begins with ours and adds to it
        let is_ours = server
            .nonce
            .strip_prefix(self.nonce.as_str())
            .is_some_and(|rest| !rest.is_empty());
        if !is_ours {
            return Err(Failure::ServerNotProven);
        }
        let hash = self.hash;
        let salted = hash.salted_password(&self.password, &server.salt, server.iterations);
        let client_key = Secret::new(hash.keyed_hash(salted.expose(), &[b"Client Key"]));
        let server_key = Secret::new(hash.keyed_hash(salted.expose(), &[b"Server Key"]));
        let mut bound = self.header.as_bytes().to_vec();
        bound.extend_from_slice(&self.binding);
        // [SASL-SCRAM-03] [SASL-CB-01] the header and, with PLUS, the connection's value
        let without_proof = format!("c={},r={}", encode_base64(&bound), server.nonce);
        let signed: [&[u8]; 5] = [
            self.bare.as_bytes(),
            b",",
            challenge,
            b",",
            without_proof.as_bytes(),
        ];
        let mut proof = hash.keyed_hash(&hash.hash(client_key.expose()), &signed);
        for (octet, key) in proof.iter_mut().zip(client_key.expose()) {
            *octet ^= key;
        }
        let message = format!("{without_proof},p={}", encode_base64(&proof));
        let signature = hash.keyed_hash(server_key.expose(), &signed);
        Ok((Secret::new(message.into_bytes()), Proven { signature }))
    }
}

impl Proven {
    /// Reads `v=…`: the server knows the account, or it does not.
    pub(super) fn check(self, message: &[u8]) -> Result<(), Failure> {
        let text = std::str::from_utf8(message).map_err(|_| Failure::ServerNotProven)?;
        let first = text.split(',').next().unwrap_or_default();
        let signature = first
            .strip_prefix("v=")
            .and_then(|it| decode_base64(it.as_bytes()).ok())
            .ok_or(Failure::ServerNotProven)?;
        // [SASL-SCRAM-01] the server signature is checked
        if signature.ct_eq(&self.signature).into() {
            Ok(())
        } else {
            Err(Failure::ServerNotProven)
        }
    }
}

struct ServerFirst<'a> {
    nonce: &'a str,
    salt: Vec<u8>,
    iterations: u32,
}

impl<'a> ServerFirst<'a> {
    fn read(message: &'a [u8]) -> Option<Self> {
        if message.len() > LONGEST_MESSAGE {
            return None;
        }
        let text = std::str::from_utf8(message).ok()?;
        // [SASL-SCRAM-01] `m=` in front is a mandatory extension nobody knows: it fails here
        let mut attributes = text.split(',');
        let nonce = attributes.next()?.strip_prefix("r=")?;
        let salt = decode_base64(attributes.next()?.strip_prefix("s=")?.as_bytes()).ok()?;
        let iterations = attributes.next()?.strip_prefix("i=")?;
        let digits = iterations.bytes().all(|it| it.is_ascii_digit());
        let iterations: u32 = iterations.parse().ok().filter(|_| digits)?;
        // [SASL-SCRAM-02] too few make the password cheap to guess for whoever pretends to be the server
        let in_bounds = (LEAST_ITERATIONS..=MOST_ITERATIONS).contains(&iterations);
        let printable = nonce.bytes().all(|it| it.is_ascii_graphic());
        let no_more = attributes.all(|it| !it.starts_with("m="));
        (in_bounds && printable && no_more && !salt.is_empty()).then_some(Self {
            nonce,
            salt,
            iterations,
        })
    }
}
