use std::{fmt, sync::OnceLock};

use anyhow::{bail, Context, Result};
use regex::Regex;

use crate::harbour;

/// One reading of a gauge.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// When, as `2025-03-01T06:12Z`.
    pub at: String,
    /// The harbour's code.
    pub harbour: String,
    /// Metres above chart datum.
    pub height: f64,
    /// What the reader remarked; trailing whitespace is dropped.
    pub note: String,
}

/// Parses a line such as `2025-03-01T06:12Z BRST 6.42 m  spring tide`.
pub fn parse_entry(line: &str) -> Result<Entry> {
    static LINE: OnceLock<Regex> = OnceLock::new();
    let shape = LINE.get_or_init(|| {
        Regex::new(
            r"^(\d{4}-\d\d-\d\dT\d\d:\d\dZ)\s+([A-Z]{4})\s+(-?\d+(?:\.\d+)?) m(?:\s+(.*\S))?\s*$",
        )
        .expect("a constant expression")
    });
    let Some(part) = shape.captures(line) else {
        bail!("not a reading: {line:?} (want `2025-03-01T06:12Z BRST 6.42 m  remark`)");
    };
    if harbour(&part[2]).is_none() {
        bail!("unknown harbour {:?}", &part[2]);
    }
    Ok(Entry {
        at: part[1].to_string(),
        harbour: part[2].to_string(),
        height: part[3]
            .parse()
            .with_context(|| format!("height {:?}", &part[3]))?,
        note: part.get(4).map_or("", |note| note.as_str()).to_string(),
    })
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {:.2} m", self.at, self.harbour, self.height)?;
        if !self.note.is_empty() {
            write!(f, "  {}", self.note)?;
        }
        Ok(())
    }
}
