//! A message being received.
use crate::Error;
/// A message being received. Dropped: gone.
#[derive(Debug)]
pub struct Incoming {}
impl Incoming {
    /// Adds octets at the end. Fields this server adds (`Received:`) are simply written first.
    pub fn write(&mut self, _octets: &[u8]) -> Result<(), Error> {
        todo!()
    }
    /// Octets so far.
    pub fn len(&self) -> u64 {
        todo!()
    }
    /// Whether nothing came so far.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
