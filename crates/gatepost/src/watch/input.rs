//! Where packets come from: files, standard input, also compressed. What is compressed is told by its first octets, not by its name.

use std::fs::File;
use std::io::{self, BufReader, Chain, Cursor, Read};
use std::path::{Path, PathBuf};

/// The octets of a capture, uncompressed.
pub(super) fn open(path: &Path) -> io::Result<Box<dyn Read>> {
    if path == Path::new("-") {
        return uncompressed(io::stdin());
    }
    uncompressed(File::open(path)?)
}

/// Whether a file is compressed; what cannot be read is found out when it is opened.
pub(super) fn is_compressed(path: &Path) -> bool {
    let mut magic = [0; 4];
    let read = File::open(path).and_then(|mut it| it.read_exact(&mut magic));
    read.is_ok() && matches!(magic, [0x1f, 0x8b, ..] | [0x28, 0xb5, 0x2f, 0xfd])
}

fn uncompressed(mut source: impl Read + 'static) -> io::Result<Box<dyn Read>> {
    let mut magic = [0; 4];
    let mut have = 0;
    while have < magic.len() {
        match source.read(magic.get_mut(have..).unwrap_or_default())? {
            0 => break,
            count => have += count,
        }
    }
    let first = magic.get(..have).unwrap_or_default().to_vec();
    let whole: Chain<Cursor<Vec<u8>>, _> = Cursor::new(first.clone()).chain(source);
    Ok(match first.as_slice() {
        [0x1f, 0x8b, ..] => Box::new(flate2::read::MultiGzDecoder::new(BufReader::with_capacity(
            1 << 16,
            whole,
        ))),
        [0x28, 0xb5, 0x2f, 0xfd] => {
            let decoder = ruzstd::decoding::StreamingDecoder::new(whole);
            Box::new(
                decoder.map_err(|error| {
                    io::Error::new(io::ErrorKind::InvalidData, error.to_string())
                })?,
            )
        }
        _ => Box::new(whole),
    })
}

/// The captures a name stands for: itself, or what lies in the folder, by name.
pub(super) fn expand(path: &Path) -> io::Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files: Vec<PathBuf> = std::fs::read_dir(path)?
        .filter_map(|entry| entry.ok().map(|it| it.path()))
        .filter(|it| it.is_file() && is_capture(it))
        .collect();
    files.sort();
    Ok(files)
}

/// By its name: `x.pcap`, `x.pcap3`, `x.pcapng.gz`, `x.cap`.
fn is_capture(path: &Path) -> bool {
    let name = path
        .file_name()
        .map(|it| it.to_string_lossy().to_ascii_lowercase());
    name.is_some_and(|name| name.contains(".pcap") || name.contains(".cap"))
}
