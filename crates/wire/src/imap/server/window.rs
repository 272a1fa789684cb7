//! PARTIAL: a piece of a result, counted from either end (RFC 9394).

use super::arguments::Bad;
use super::cursor::Cursor;

/// `1:500`, the first ones, or `-1:-100`, the last ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    from_end: bool,
    /// From 1; the smaller one first.
    low: u32,
    high: u32,
    /// As the client wrote it, for the answer.
    written: (u32, u32),
}

impl Window {
    /// `partial-range`
    pub(super) fn parse(cursor: &mut Cursor<'_>) -> Result<Self, Bad> {
        let text = cursor.atom()?;
        let (one, other) = text.split_once(':').ok_or(Bad::Syntax)?;
        let (one, other, from_end) = match (one.strip_prefix('-'), other.strip_prefix('-')) {
            (Some(one), Some(other)) => (one, other, true),
            (None, None) => (one, other, false),
            _ => return Err(Bad::Syntax),
        };
        let (one, other) = (number(one)?, number(other)?);
        Ok(Self {
            from_end,
            low: one.min(other),
            high: one.max(other),
            written: (one, other),
        })
    }

    /// The piece of a list, in the list's order.
    pub(super) fn of<T>(self, list: &[T]) -> &[T] {
        let place = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        let before = (place(self.low) - 1).min(list.len());
        let until = place(self.high).min(list.len());
        let (from, to) = if self.from_end {
            (list.len() - until, list.len() - before)
        } else {
            (before, until)
        };
        list.get(from..to).unwrap_or_default()
    }
}

impl std::fmt::Display for Window {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let sign = if self.from_end { "-" } else { "" };
        let (one, other) = self.written;
        write!(f, "{sign}{one}:{sign}{other}")
    }
}

/// `nz-number`
fn number(text: &str) -> Result<u32, Bad> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse()
        .ok()
        .filter(|number| digits && *number > 0)
        .ok_or(Bad::Syntax)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(text: &str) -> Result<Window, Bad> {
        Window::parse(&mut Cursor::new(text.as_bytes()))
    }

    #[test]
    fn pieces_from_both_ends() {
        let list: Vec<u32> = (1..=10).collect();
        let piece = |text: &str| window(text).unwrap().of(&list).to_vec();
        assert_eq!(piece("1:3"), [1, 2, 3]);
        assert_eq!(piece("3:1"), [1, 2, 3]);
        assert_eq!(piece("9:20"), [9, 10]);
        assert_eq!(piece("11:20"), [0; 0]);
        assert_eq!(piece("-1:-3"), [8, 9, 10]);
        assert_eq!(piece("-9:-20"), [1, 2]);
        assert_eq!(piece("-11:-20"), [0; 0]);
        assert_eq!(window("-3:-1").unwrap().to_string(), "-3:-1");
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for bad in [
            "1", "1:", ":1", "0:1", "1:-1", "-1:1", "1:*", "a:b", "1:2:3", "+1:2",
        ] {
            assert_eq!(window(bad), Err(Bad::Syntax), "{bad}");
        }
    }
}
