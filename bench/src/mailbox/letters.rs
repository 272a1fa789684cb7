//! Mail to measure with: a Maildir of made-up letters, the same at every run.
//!
//! The words are made of syllables and used as often as words are (the n-th most frequent one in proportion to 1/n), because a search
//! index and a compressor both live on how unevenly letters follow one another. Lines end in LF and the size stands in the file's
//! name, as Dovecot itself would have stored them. No attachments: all of it is text, which is the most a search index can be given.

use std::fs;
use std::path::{Path, PathBuf};

use crate::fault::Fault;
use crate::load::count;
use crate::peer::folder;

/// Octets of a letter, about.
const SIZE: usize = 10 * 1024;
/// Words of the language.
const VOCABULARY: usize = 30_000;
/// Words that no syllables make, one in ten letters of the mailbox and one in a tenth of them; in the body and in the subject.
pub(super) const RARE: &str = "mirtelvandosk";
/// See [`RARE`].
pub(super) const FREQUENT: &str = "harbelstonick";
/// See [`RARE`].
pub(super) const RARE_SUBJECT: &str = "prandolvestek";
/// See [`RARE`].
pub(super) const FREQUENT_SUBJECT: &str = "stulvermanick";
/// Letters that hold a rare word.
pub(super) const RARE_LETTERS: u32 = 10;
/// One letter in so many holds a frequent word.
pub(super) const FREQUENT_EVERY: u32 = 10;

/// A Maildir and what is in it.
#[derive(Debug)]
pub(super) struct Maildir {
    pub(super) path: PathBuf,
    pub(super) letters: u32,
    /// Octets with CRLF, as mail is counted.
    pub(super) octets: u64,
}

impl Maildir {
    /// Writes a Maildir of so many letters.
    pub(super) fn make(path: &Path, letters: u32) -> Result<Self, Fault> {
        for part in ["cur", "new", "tmp"] {
            folder(&path.join(part))?;
        }
        let mut writer = Writer::new();
        let mut octets = 0;
        for number in 0..letters {
            let letter = writer.letter(number, letters);
            let lines = letter.bytes().filter(|octet| *octet == b'\n').count();
            let (size, crlf) = (letter.len(), letter.len() + lines);
            octets += crlf as u64;
            let flags = if number % 2 == 0 { "S" } else { "" };
            let name = format!(
                "{}.M{number}P1.bench,S={size},W={crlf}:2,{flags}",
                1_790_000_000 + number
            );
            fs::write(path.join("cur").join(name), letter)
                .map_err(Fault::at("writing a letter"))?;
        }
        Ok(Self {
            path: path.to_path_buf(),
            letters,
            octets,
        })
    }

    /// Octets of one letter, on average.
    pub(super) fn mean(&self) -> f64 {
        count(self.octets) / f64::from(self.letters)
    }
}

/// Makes letters, one after the other.
struct Writer {
    words: Vec<String>,
    state: u64,
}

impl Writer {
    fn new() -> Self {
        let mut writer = Self {
            words: Vec::new(),
            state: 7,
        };
        writer.words = (0..VOCABULARY).map(|rank| writer.make_word(rank)).collect();
        writer
    }

    /// A number below `limit`: a linear congruential generator (Knuth, MMIX), its upper half.
    fn below(&mut self, limit: usize) -> usize {
        self.state = self
            .state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.state >> 33).unwrap_or_default() % limit
    }

    /// Frequent words are short.
    fn make_word(&mut self, rank: usize) -> String {
        const ONSETS: [&str; 30] = [
            "t", "s", "th", "w", "b", "h", "m", "c", "d", "f", "p", "l", "r", "n", "g", "st", "k",
            "sh", "tr", "pr", "ch", "v", "br", "gr", "cl", "fl", "bl", "str", "j", "sp",
        ];
        const VOWELS: [&str; 10] = ["e", "a", "o", "i", "u", "ea", "ou", "ee", "ai", "oo"];
        const CODAS: [&str; 16] = [
            "", "n", "r", "s", "", "t", "l", "d", "", "m", "nd", "st", "ng", "ck", "rt", "y",
        ];
        let syllables = match rank {
            0..60 => 1,
            60..2_000 => 1 + self.below(2),
            _ => 2 + self.below(2),
        };
        let mut word = String::new();
        for _ in 0..syllables {
            // The smaller of two: the first of each list are the frequent ones.
            let onset = self.below(ONSETS.len()).min(self.below(ONSETS.len()));
            let vowel = self.below(VOWELS.len()).min(self.below(VOWELS.len()));
            let coda = self.below(CODAS.len()).min(self.below(CODAS.len()));
            word.extend([ONSETS[onset], VOWELS[vowel], CODAS[coda]]);
        }
        word
    }

    /// A word, as often as its rank has it: the logarithm of the rank is evenly spread.
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss
    )] // all are between 0 and the vocabulary
    fn word(&mut self) -> &str {
        let even = self.below(1 << 24) as f64 / f64::from(1 << 24);
        let rank = (VOCABULARY as f64).powf(even) as usize - 1;
        self.words.get(rank).map_or("", String::as_str)
    }

    /// Words with blanks between, up to a length.
    fn text(&mut self, length: usize) -> String {
        let mut text = String::with_capacity(length + 20);
        while text.len() < length {
            if !text.is_empty() {
                text.push(' ');
            }
            let word = self.word();
            text.push_str(word);
        }
        text
    }

    /// Letter `number` of `of`.
    fn letter(&mut self, number: u32, of: u32) -> String {
        let rare = number % (of / RARE_LETTERS).max(1) == 3;
        let frequent = number % FREQUENT_EVERY == 5;
        let mut subject = self.text(30);
        if rare {
            subject = format!("{subject} {RARE_SUBJECT}");
        }
        if frequent {
            subject = format!("{subject} {FREQUENT_SUBJECT}");
        }
        let sender = self.below(500);
        let mut letter = format!(
            "Return-Path: <friend{sender}@elsewhere.test>\n\
             Received: from mail.elsewhere.test (mail.elsewhere.test [192.0.2.7])\n\tby mail.gatepost.test with ESMTPS id {number:08}; \
             Mon, 23 Nov 2026 12:00:00 +0000\n\
             From: Friend {sender} <friend{sender}@elsewhere.test>\nTo: <user0@gatepost.test>\nSubject: {subject}\n\
             Date: Mon, 23 Nov 2026 12:00:00 +0000\nMessage-ID: <{}@letters.gatepost.test>\n\
             MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n\n",
            message_id(number)
        );
        while letter.len() < SIZE / 2 {
            letter.extend([&self.text(66), "\n"]);
        }
        for (word, _) in [(RARE, rare), (FREQUENT, frequent)]
            .iter()
            .filter(|it| it.1)
        {
            letter.extend(["and so ", word, " went on\n"]);
        }
        while letter.len() < SIZE {
            letter.extend([&self.text(66), "\n"]);
        }
        letter
    }
}

/// What stands before the `@` of a letter's Message-ID: as good as random, as they are.
pub(super) fn message_id(number: u32) -> String {
    // The golden ratio spreads the numbers over all there are (Knuth, multiplicative hashing).
    format!(
        "{:016x}",
        u64::from(number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    )
}

#[cfg(test)]
mod tests {
    use super::{FREQUENT, Maildir, RARE, RARE_LETTERS, RARE_SUBJECT, SIZE, Writer};

    #[test]
    fn the_words_looked_for_are_as_frequent_as_they_say() {
        let mut writer = Writer::new();
        let letters: Vec<String> = (0..200).map(|number| writer.letter(number, 200)).collect();
        let holding = |word: &str| letters.iter().filter(|it| it.contains(word)).count();
        assert_eq!(holding(RARE), RARE_LETTERS as usize);
        assert_eq!(holding(RARE_SUBJECT), RARE_LETTERS as usize);
        assert_eq!(holding(FREQUENT), 20);
        assert!(
            letters
                .iter()
                .all(|it| (SIZE..SIZE + 200).contains(&it.len()))
        );
        assert!(letters.iter().all(|it| !it.contains("\n.")));
    }

    #[test]
    fn a_maildir_knows_its_size() {
        let folder = tempfile::tempdir().expect("folder");
        let maildir = Maildir::make(&folder.path().join("m"), 20).expect("maildir");
        let files = std::fs::read_dir(maildir.path.join("cur")).expect("folder");
        let named: u64 = files
            .map(|file| {
                let name = file.expect("file").file_name();
                let name = name.to_str().expect("name");
                let from = name.find("W=").expect("size") + 2;
                let size: u64 = name[from..]
                    .split(':')
                    .next()
                    .expect("size")
                    .parse()
                    .expect("size");
                size
            })
            .sum();
        assert_eq!(named, maildir.octets);
    }
}
