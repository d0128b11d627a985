use std::fmt;

use crate::Entry;

/// The hash of every reading, each chained to the one before.
#[derive(Debug, Clone, PartialEq)]
pub struct Seal(blake3::Hash);

impl Seal {
    /// Seals some readings.
    pub fn of(entries: &[Entry]) -> Seal {
        let mut last = blake3::hash(b"tally");
        for entry in entries {
            last = blake3::keyed_hash(last.as_bytes(), entry.to_string().as_bytes());
        }
        Seal(last)
    }
}

impl fmt::Display for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.to_hex())
    }
}
