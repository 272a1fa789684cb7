//! A body on disk: how its octets are framed, and how damage to them is noticed.
//!
//! ```text
//!   header, 24 octets                                content     one CRC-32 for each 64 KiB of the content
//!   "GPm1" | size u64 | CRC of the checksums u32 |     …         u32 …
//!          | CRC of the 16 octets before u32 | 0 u32
//! ```
//! Numbers are little-endian. The checksums of blocks let any piece of a message be verified by reading that piece, not the
//! message. [`read`] never returns octets that were not verified.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::Error;

/// Octets before the content.
pub(crate) const HEADER: usize = 24;
/// Octets of content under one checksum.
const BLOCK: usize = 64 << 10;
const BLOCK_U64: u64 = BLOCK as u64;
const MAGIC: [u8; 4] = *b"GPm1";
/// Octets of a checksum.
const SUM: u64 = 4;
/// Blocks that [`verify`] reads at once.
const PIECE_BLOCKS: usize = 16;

/// Adds up a body's size and checksums while its octets pass.
#[derive(Debug, Default)]
pub(crate) struct Sums {
    size: u64,
    block: crc32fast::Hasher,
    in_block: usize,
    done: Vec<u8>,
}

impl Sums {
    /// Octets so far.
    pub(crate) const fn size(&self) -> u64 {
        self.size
    }

    /// Takes the next octets of the content.
    pub(crate) fn update(&mut self, mut octets: &[u8]) {
        self.size += octets.len() as u64;
        while !octets.is_empty() {
            let (now, later) = octets.split_at(octets.len().min(BLOCK - self.in_block));
            self.block.update(now);
            self.in_block += now.len();
            if self.in_block == BLOCK {
                self.end_block();
            }
            octets = later;
        }
    }

    fn end_block(&mut self) {
        let sum = std::mem::take(&mut self.block).finalize();
        self.done.extend_from_slice(&sum.to_le_bytes());
        self.in_block = 0;
    }

    /// The header, and what stands behind the content.
    pub(crate) fn finish(mut self) -> ([u8; HEADER], Vec<u8>) {
        if self.in_block > 0 {
            self.end_block();
        }
        (header(self.size, crc32fast::hash(&self.done)), self.done)
    }
}

fn header(size: u64, sums: u32) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    header[..4].copy_from_slice(&MAGIC);
    header[4..12].copy_from_slice(&size.to_le_bytes());
    header[12..16].copy_from_slice(&sums.to_le_bytes());
    let own = crc32fast::hash(&header[..16]);
    header[16..20].copy_from_slice(&own.to_le_bytes());
    header
}

/// Octets a record takes in its file.
pub(crate) fn length(size: u64) -> u64 {
    (HEADER as u64)
        .saturating_add(size)
        .saturating_add(size.div_ceil(BLOCK_U64).saturating_mul(SUM))
}

/// Verifies a whole record: the header, every checksum, every octet of the content.
pub(crate) fn verify(file: &File, position: u64, size: u64) -> Result<(), Error> {
    if size <= BLOCK_U64 {
        return read_small(file, position, size).map(drop);
    }
    let content = position.checked_add(HEADER as u64).ok_or(Error::Damaged)?;
    let sums_at = content.checked_add(size).ok_or(Error::Damaged)?;
    // Before anything of this size is asked for: a size that the file cannot have is damage, not a reason to use memory.
    let end = position.checked_add(length(size)).ok_or(Error::Damaged)?;
    if end > file.metadata()?.len() {
        return Err(Error::Damaged);
    }
    let mut sums = vec![0; to_usize(size.div_ceil(BLOCK_U64) * SUM)?];
    read_exactly(file, &mut sums, sums_at)?;
    let mut head = [0; HEADER];
    read_exactly(file, &mut head, position)?;
    if head != header(size, crc32fast::hash(&sums)) {
        return Err(Error::Damaged);
    }
    let last = (size - 1) / BLOCK_U64;
    for first in (0..=last).step_by(PIECE_BLOCKS) {
        let to = last.min(first + PIECE_BLOCKS as u64 - 1);
        read_blocks(file, position, size, (first, to))?;
    }
    Ok(())
}

/// What is left of a body, verified or not: as many octets as the file has of it.
pub(crate) fn remains(file: &File, position: u64, size: u64) -> Result<Vec<u8>, Error> {
    let begin = position.checked_add(HEADER as u64).ok_or(Error::Damaged)?;
    let there = file.metadata()?.len().saturating_sub(begin).min(size);
    let mut octets = vec![0; to_usize(there)?];
    read_exactly(file, &mut octets, begin)?;
    Ok(octets)
}

/// Reads octets `offset` to `offset + length` (or to the end) of the body whose record begins at `position`.
pub(crate) fn read(
    file: &File,
    position: u64,
    size: u64,
    offset: u64,
    length: u32,
) -> Result<Vec<u8>, Error> {
    let end = size.min(offset.saturating_add(u64::from(length)));
    if offset >= end {
        return Ok(Vec::new());
    }
    let mut octets = if size <= BLOCK_U64 {
        read_small(file, position, size)?
    } else {
        read_blocks(
            file,
            position,
            size,
            (offset / BLOCK_U64, (end - 1) / BLOCK_U64),
        )?
    };
    let begin = if size <= BLOCK_U64 {
        0
    } else {
        offset / BLOCK_U64 * BLOCK_U64
    };
    octets.truncate(to_usize(end - begin)?);
    octets.drain(..to_usize(offset - begin)?);
    Ok(octets)
}

/// A body of one block: the whole record in one call.
fn read_small(file: &File, position: u64, size: u64) -> Result<Vec<u8>, Error> {
    let content = to_usize(size)?;
    let mut record = vec![0; HEADER + content + 4];
    read_exactly(file, &mut record, position)?;
    let (body, sum) = record.split_at(HEADER + content);
    let (head, body) = body.split_at(HEADER);
    if head != header(size, crc32fast::hash(sum)) || sum != crc32fast::hash(body).to_le_bytes() {
        return Err(Error::Damaged);
    }
    record.truncate(HEADER + content);
    record.drain(..HEADER);
    Ok(record)
}

/// Whole blocks of a larger body, from the first to the last given.
fn read_blocks(
    file: &File,
    position: u64,
    size: u64,
    (first, last): (u64, u64),
) -> Result<Vec<u8>, Error> {
    let content = position.checked_add(HEADER as u64).ok_or(Error::Damaged)?;
    let begin = first * BLOCK_U64;
    let end = size.min((last + 1) * BLOCK_U64);
    let mut octets = vec![0; to_usize(end - begin)?];
    let mut sums = vec![0; to_usize((last - first + 1) * SUM)?];
    let sums_at = content
        .checked_add(size)
        .and_then(|at| at.checked_add(first * SUM))
        .ok_or(Error::Damaged)?;
    read_exactly(
        file,
        &mut octets,
        content.checked_add(begin).ok_or(Error::Damaged)?,
    )?;
    read_exactly(file, &mut sums, sums_at)?;
    let fits = octets
        .chunks(BLOCK)
        .zip(sums.chunks(4))
        .all(|(block, sum)| sum == crc32fast::hash(block).to_le_bytes());
    if fits {
        Ok(octets)
    } else {
        Err(Error::Damaged)
    }
}

fn read_exactly(file: &File, buffer: &mut [u8], at: u64) -> Result<(), Error> {
    file.read_exact_at(buffer, at)
        .map_err(|error| match error.kind() {
            // The file ends too early, or the place is none a file can have.
            io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidInput => Error::Damaged,
            _ => error.into(),
        })
}

fn to_usize(value: u64) -> Result<usize, Error> {
    usize::try_from(value).map_err(|_| Error::Damaged)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::{BLOCK, HEADER, Sums, length, read, verify};
    use crate::Error;

    fn body(size: usize) -> Vec<u8> {
        (0..size)
            .map(|i| u8::try_from(i * 7 % 251).unwrap())
            .collect()
    }

    fn record(body: &[u8], pieces: usize) -> Vec<u8> {
        let mut sums = Sums::default();
        for piece in body.chunks(pieces) {
            sums.update(piece);
        }
        let (header, tail) = sums.finish();
        [&header[..], body, &tail].concat()
    }

    fn file(octets: &[u8]) -> std::fs::File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(octets).unwrap();
        file
    }

    #[test]
    fn any_piece_of_any_size_comes_back() {
        for size in [
            0,
            1,
            100,
            BLOCK - 1,
            BLOCK,
            BLOCK + 1,
            3 * BLOCK,
            3 * BLOCK + 17,
        ] {
            let body = body(size);
            let record = record(&body, 1000);
            assert_eq!(record.len() as u64, length(size as u64));
            let file = file(&[b"before", &record[..], b"behind"].concat());
            for offset in [
                0,
                1,
                99,
                BLOCK - 1,
                BLOCK,
                BLOCK + 1,
                2 * BLOCK,
                size,
                size + 1,
            ] {
                for want in [0, 1, 100, BLOCK, BLOCK + 1, 10 * BLOCK] {
                    let got = read(
                        &file,
                        6,
                        size as u64,
                        offset as u64,
                        u32::try_from(want).unwrap(),
                    )
                    .unwrap();
                    let expect = &body[offset.min(size)..(offset + want).min(size)];
                    assert!(got == expect, "size {size}, {want} octets at {offset}");
                }
            }
        }
    }

    #[test]
    fn checksums_do_not_depend_on_the_pieces() {
        let body = body(2 * BLOCK + 5);
        assert_eq!(record(&body, 1), record(&body, 70_001));
    }

    #[test]
    fn one_changed_octet_is_noticed() {
        for size in [300, BLOCK * 2] {
            let good = record(&body(size), 4096);
            assert_eq!(verify(&file(&good), 0, size as u64), Ok(()));
            for at in [0, 5, 13, 17, HEADER, HEADER + size / 2, HEADER + size] {
                // Pieces of a large body are verified by their own checksums, without the header.
                if size > BLOCK && at < HEADER {
                    continue;
                }
                let mut bad = good.clone();
                bad[at] ^= 1;
                assert_eq!(verify(&file(&bad), 0, size as u64), Err(Error::Damaged));
                let got = read(&file(&bad), 0, size as u64, 0, u32::MAX);
                assert_eq!(got, Err(Error::Damaged), "size {size}, octet {at}");
            }
        }
    }

    #[test]
    fn a_short_file_and_impossible_places_are_damage() {
        let good = record(&body(300), 300);
        assert_eq!(
            read(&file(&good[..200]), 0, 300, 0, 300),
            Err(Error::Damaged)
        );
        assert_eq!(
            read(&file(&good), 1 << 40, 300, 0, 300),
            Err(Error::Damaged)
        );
        assert_eq!(
            read(&file(&good), u64::MAX, 1 << 40, 0, 300),
            Err(Error::Damaged)
        );
        assert_eq!(
            read(&file(&good), 1 << 63, 300, 0, 300),
            Err(Error::Damaged)
        );
    }
}
