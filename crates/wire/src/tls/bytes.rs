//! Octets and vectors of the presentation language (RFC 9846 3), read from the front and put at the end.

/// Octets to be read from the front.
pub(super) struct Bytes<'a>(pub(super) &'a [u8]);

impl<'a> Bytes<'a> {
    pub(super) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    /// A vector with one octet of length.
    pub(super) fn vec8(&mut self) -> Option<Self> {
        let length = usize::from(self.u8()?);
        self.take(length).map(Self)
    }

    /// A vector with two octets of length.
    pub(super) fn vec16(&mut self) -> Option<Self> {
        let length = usize::from(self.u16()?);
        self.take(length).map(Self)
    }

    /// A vector with three octets of length.
    pub(super) fn vec24(&mut self) -> Option<Self> {
        let length = self.u24()?;
        self.take(length).map(Self)
    }

    /// Three octets as a number.
    pub(super) fn u24(&mut self) -> Option<usize> {
        let &[high, middle, low] = self.take(3)? else {
            return None;
        };
        Some(usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low))
    }

    /// A vector with two octets of length, at least one element, and nothing after it.
    pub(super) fn only_vec16(&mut self) -> Option<Self> {
        let vector = self.vec16()?;
        (self.is_empty() && !vector.is_empty()).then_some(vector)
    }

    pub(super) fn must_be_empty(&self) -> Option<bool> {
        self.is_empty().then_some(true)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The numbers of a list, or None when half of one is left.
pub(super) fn u16_list(mut list: Bytes<'_>) -> Option<Vec<u16>> {
    let mut values = Vec::with_capacity(list.0.len() / 2);
    while !list.is_empty() {
        values.push(list.u16()?);
    }
    Some(values)
}

/// Appends a vector with `width` octets of length.
pub(super) fn put_vec(out: &mut Vec<u8>, width: usize, data: &[u8]) {
    let length = u32::try_from(data.len()).unwrap_or(u32::MAX).to_be_bytes();
    out.extend(length.iter().skip(length.len() - width));
    out.extend_from_slice(data);
}

/// The numbers, two octets each.
pub(super) fn put_u16s(values: &[u16]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_be_bytes())
        .collect()
}
