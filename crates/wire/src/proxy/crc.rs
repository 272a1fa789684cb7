//! CRC-32C (Castagnoli; RFC 3720 B.4), over octets in pieces.

/// The polynomial, reflected.
const POLYNOMIAL: u32 = 0x82f6_3b78;

const TABLE: [u32; 256] = table();

#[allow(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "computed by the compiler, which checks it"
)]
const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut octet = 0;
    while octet < 256 {
        let mut value = octet as u32;
        let mut bit = 0;
        while bit < 8 {
            let carry = value & 1 == 1;
            value >>= 1;
            if carry {
                value ^= POLYNOMIAL;
            }
            bit += 1;
        }
        table[octet] = value;
        octet += 1;
    }
    table
}

/// The checksum of octets.
pub(super) fn checksum(octets: impl Iterator<Item = u8>) -> u32 {
    let step = |sum: u32, octet: u8| {
        let [low, ..] = sum.to_le_bytes();
        let place = usize::from(low ^ octet);
        TABLE.get(place).copied().unwrap_or_default() ^ (sum >> 8)
    };
    !octets.fold(!0, step)
}

#[cfg(test)]
mod tests {
    use super::checksum;

    #[test]
    fn known_answers() {
        // RFC 3720 B.4
        assert_eq!(checksum([0; 32].into_iter()), 0x8a91_36aa);
        assert_eq!(checksum([0xff; 32].into_iter()), 0x62a8_ab43);
        assert_eq!(checksum(0..32), 0x46dd_794e);
        assert_eq!(checksum(b"123456789".iter().copied()), 0xe306_9283);
    }
}
