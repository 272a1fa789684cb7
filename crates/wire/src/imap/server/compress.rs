//! COMPRESS=DEFLATE (RFC 4978): raw DEFLATE in both directions, between the session and TLS.
//!
//! Only after login, and only inside TLS [IMAP-COMP-01]: nothing secret that the server holds is compressed together with what
//! an attacker chose before that, and no clear connection is made to look encrypted. Input is inflated only as far as the session
//! has use for it, so a small command cannot become much memory. The compressor is dropped whenever all is said: a session that
//! waits keeps only the 32 KiB that the client may refer back to.

use miniz_oxide::deflate::core::CompressorOxide;
use miniz_oxide::deflate::stream::deflate;
use miniz_oxide::inflate::stream::{InflateState, inflate};
use miniz_oxide::{DataFormat, MZError, MZFlush, MZStatus};

use super::Step;
use super::io::{Command, Io};
use super::mailbox::Mailbox;
use crate::session::Why;

/// How much is inflated at once, in octets.
const PIECE: usize = 16 * 1024;
/// A level that is quick; higher ones gain a few percent for twice the time.
const LEVEL: u8 = 3;

/// Compression in both directions.
pub(super) struct Deflate {
    /// What came and has not been inflated.
    pub(super) received: Vec<u8>,
    /// What is compressed and to be written.
    pub(super) packed: Vec<u8>,
    inflater: Box<InflateState>,
    /// The last piece was full: there may be more without more input.
    more: bool,
    deflater: Option<Box<CompressorOxide>>,
}

impl std::fmt::Debug for Deflate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Deflate")
    }
}

/// The client's stream is not DEFLATE, or has ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Torn;

impl Deflate {
    /// Begins. `clear` is what is still to be written as it is; `received` came behind the command.
    pub(super) fn new(clear: Vec<u8>, received: Vec<u8>) -> Self {
        Self {
            received,
            packed: clear,
            inflater: InflateState::new_boxed(DataFormat::Raw),
            more: false,
            deflater: None,
        }
    }

    /// Inflates a piece of what came. Empty: more must come first.
    pub(super) fn inflate(&mut self) -> Result<Vec<u8>, Torn> {
        if self.received.is_empty() && !self.more {
            return Ok(Vec::new());
        }
        let mut piece = vec![0; PIECE];
        let result = inflate(
            &mut self.inflater,
            &self.received,
            &mut piece,
            MZFlush::Partial,
        );
        self.received.drain(..result.bytes_consumed);
        if self.received.is_empty() {
            self.received = Vec::new();
        }
        self.more = result.bytes_written == PIECE;
        piece.truncate(result.bytes_written);
        match result.status {
            Ok(MZStatus::Ok) | Err(MZError::Buf) => Ok(piece),
            // The end of the stream leaves no way to say more.
            _ => Err(Torn),
        }
    }

    /// Compresses what is to be said, to the last octet.
    pub(super) fn pack(&mut self, output: &[u8]) {
        let deflater = self.deflater.get_or_insert_with(|| {
            let mut made = Box::<CompressorOxide>::default();
            made.set_format_and_level(DataFormat::Raw, LEVEL);
            made
        });
        let mut rest = output;
        let mut piece = vec![0; PIECE];
        loop {
            let result = deflate(deflater, rest, &mut piece, MZFlush::Sync);
            let made = piece.get(..result.bytes_written).unwrap_or_default();
            self.packed.extend_from_slice(made);
            rest = rest.get(result.bytes_consumed..).unwrap_or_default();
            // A piece that is not full holds the end of the flush.
            if rest.is_empty() && result.bytes_written < PIECE {
                return;
            }
        }
    }

    /// All is said: the compressor is made anew when there is more to say. A flushed stream may go on with a fresh one.
    pub(super) fn rest(&mut self) {
        self.deflater = None;
    }
}

impl Mailbox {
    /// COMPRESS.
    pub(super) fn compress(&mut self, io: &mut Io, command: &Command) -> Step {
        let mut cursor = command.arguments();
        let deflate = cursor.space().is_ok() && cursor.eat_word("DEFLATE");
        if !deflate || cursor.end().is_err() {
            return io.bad(Some(&command.tag), "Only DEFLATE is known");
        }
        let tag = &command.tag;
        // [IMAP-COMP-01] TLS first, even where the configuration lets clients log in without it.
        let refusal = if !io.channel.is_encrypted() {
            Some("[CANNOT] Not without TLS")
        } else if io.is_compressed() {
            Some("[COMPRESSIONACTIVE] Compression is active")
        } else {
            None
        };
        if let Some(text) = refusal {
            self.finish(io, format!("{tag} NO {text}\r\n"), true);
            return Step::Again;
        }
        // Nothing untagged may follow this line in clear.
        io.line(format_args!("{tag} OK DEFLATE active"));
        io.compress();
        Step::Again
    }
}

impl Io {
    /// Takes a piece of what came compressed. False: there is none, more must come.
    pub(super) fn inflate(&mut self) -> bool {
        let Some(deflate) = &mut self.deflate else {
            return false;
        };
        match deflate.inflate() {
            Ok(piece) if piece.is_empty() => false,
            Ok(piece) => {
                self.inbox.push(&piece);
                true
            }
            Err(Torn) => {
                self.bye(Why::OutOfSync, "This is not DEFLATE");
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a client would read.
    fn unpack(packed: &[u8]) -> Vec<u8> {
        let mut reader = Deflate::new(Vec::new(), packed.to_vec());
        let mut read = Vec::new();
        loop {
            let piece = reader.inflate().unwrap();
            if piece.is_empty() {
                return read;
            }
            read.extend(piece);
        }
    }

    #[test]
    fn what_is_said_arrives_across_rests() {
        let mut it = Deflate::new(Vec::new(), Vec::new());
        let long: Vec<u8> = (0..200_000_u32).flat_map(u32::to_be_bytes).collect();
        it.pack(b"* 1 EXISTS\r\n");
        it.rest();
        it.pack(&long);
        it.pack(b"a OK\r\n");
        it.rest();
        it.pack(b"b OK\r\n");
        let said = [b"* 1 EXISTS\r\n".as_slice(), &long, b"a OK\r\nb OK\r\n"].concat();
        assert!(unpack(&it.packed) == said);
    }

    #[test]
    fn a_small_command_does_not_become_much_memory() {
        let mut writer = Deflate::new(Vec::new(), Vec::new());
        writer.pack(&vec![b'x'; 50_000_000]);
        assert!(writer.packed.len() < 200_000);
        let mut reader = Deflate::new(Vec::new(), std::mem::take(&mut writer.packed));
        assert_eq!(reader.inflate().unwrap().len(), PIECE);
    }

    #[test]
    fn other_octets_are_refused() {
        let mut it = Deflate::new(Vec::new(), vec![0xFF; 8]);
        assert_eq!(it.inflate(), Err(Torn));
        // A stream that ends.
        let mut ended = Deflate::new(Vec::new(), vec![3, 0]);
        assert_eq!(ended.inflate(), Err(Torn));
    }
}
