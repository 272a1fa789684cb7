//! Versions of TLS as configurations write them. RFC 8996: 1.0 and 1.1 must not be used; RFC 9325: 1.2 and 1.3 must be on.

/// The versions that are on, oldest first: SSL 2, SSL 3, TLS 1.0, 1.1, 1.2, 1.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Versions(pub(crate) [bool; 6]);

impl Versions {
    pub(crate) const ALL: Self = Self([true; 6]);

    /// A version older than TLS 1.2 is on.
    pub(crate) fn has_old(self) -> bool {
        let [two, three, one, eleven, ..] = self.0;
        two || three || one || eleven
    }

    /// TLS 1.2 or 1.3 is off, or a hole lies between versions.
    pub(crate) fn lacks_new(self) -> bool {
        let [.., twelve, thirteen] = self.0;
        !twelve || !thirteen
    }

    pub(crate) fn is_empty(self) -> bool {
        self.0 == [false; 6]
    }

    fn set(&mut self, index: usize, on: bool) {
        if let Some(it) = self.0.get_mut(index) {
            *it = on;
        }
    }

    /// Reads a list of Postfix: `>=TLSv1.2`, `!SSLv2, !SSLv3`, `TLSv1.2 TLSv1.3`. None for what it does not know.
    pub(crate) fn of_postfix(list: &str) -> Option<Self> {
        let words: Vec<&str> = list
            .split([',', ':', ' ', '\t', '\r'])
            .filter(|word| !word.is_empty())
            .collect();
        let mut on = Self::ALL;
        // A bare name turns the list into one of what is on.
        if words.iter().any(|word| !word.starts_with(['!', '>', '<'])) {
            on = Self([false; 6]);
        }
        for word in words {
            if let Some(least) = word.strip_prefix(">=") {
                let least = index(least)?;
                (0..least).for_each(|it| on.set(it, false));
            } else if let Some(most) = word.strip_prefix("<=") {
                let most = index(most)?;
                (most + 1..6).for_each(|it| on.set(it, false));
            } else if let Some(off) = word.strip_prefix('!') {
                on.set(index(off)?, false);
            } else {
                on.set(index(word)?, true);
            }
        }
        Some(on)
    }
}

/// The place of a version among [`Versions`].
pub(crate) fn index(name: &str) -> Option<usize> {
    let name = name.trim().to_ascii_lowercase();
    Some(match name.as_str() {
        "sslv2" => 0,
        "sslv3" | "ssl3" => 1,
        "tlsv1" | "tlsv1.0" | "tls1" => 2,
        "tlsv1.1" | "tlsv1_1" => 3,
        "tlsv1.2" | "tlsv1_2" => 4,
        "tlsv1.3" | "tlsv1_3" => 5,
        _ => return None,
    })
}

/// Whether a list of ciphers asks for what must not be used by its name. What it takes away (`!`, `-`) is not asked for.
pub(crate) fn has_weak_cipher(list: &str) -> bool {
    const WEAK: [&str; 14] = [
        "rc4", "3des", "des-cbc3", "des", "md5", "null", "anull", "enull", "export", "exp", "low",
        "adh", "aecdh", "all",
    ];
    list.split([':', ',', ' ', '\t'])
        .map(|word| word.trim().to_ascii_lowercase())
        .filter(|word| !word.starts_with(['!', '-', '@']))
        .any(|word| {
            let word = word.trim_start_matches('+');
            WEAK.contains(&word)
                || word
                    .split(['-', '+'])
                    .any(|part| matches!(part, "rc4" | "3des" | "null" | "exp" | "md5"))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_postfix_are_read() {
        let read = |list| Versions::of_postfix(list).unwrap();
        assert!(!read(">=TLSv1.2").has_old() && !read(">=TLSv1.2").lacks_new());
        assert!(read("!SSLv2, !SSLv3").has_old());
        assert!(!read("!SSLv2,!SSLv3,!TLSv1,!TLSv1.1").has_old());
        assert!(read("TLSv1.2").lacks_new());
        assert!(read(">=TLSv1.2, <=TLSv1.2").lacks_new());
        assert!(read("").has_old());
        assert!(Versions::of_postfix(">=TLS9").is_none());
    }

    #[test]
    fn weak_ciphers_are_those_that_are_asked_for() {
        assert!(has_weak_cipher("HIGH:RC4-SHA"));
        assert!(has_weak_cipher("ALL:!aNULL"));
        assert!(!has_weak_cipher("HIGH:!aNULL:!MD5:!RC4:!3DES"));
        assert!(!has_weak_cipher("ECDHE-RSA-AES128-GCM-SHA256"));
    }
}
