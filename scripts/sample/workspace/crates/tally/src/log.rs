use std::{
    fs::File,
    io::{BufRead, BufReader, Read},
    path::Path,
};

use anyhow::{bail, Context, Result};

use crate::{parse_entry, Entry, Seal};

const SEAL: &str = "# seal: ";

/// A log: its readings, and its seal if it has one.
#[derive(Debug, Default)]
pub struct Log {
    pub entries: Vec<Entry>,
    pub seal: Option<String>,
}

impl Log {
    /// Reads the log in a file, which is compressed if its name ends in `.gz`.
    pub fn open(path: &Path) -> Result<Log> {
        let file = File::open(path).with_context(|| format!("open {}", path.display()))?;
        let text: Box<dyn Read> = if path.extension().is_some_and(|ext| ext == "gz") {
            decompress(file)?
        } else {
            Box::new(file)
        };
        Log::read(text).with_context(|| format!("read {}", path.display()))
    }

    /// Reads a log.
    pub fn read(text: impl Read) -> Result<Log> {
        let mut log = Log::default();
        for (number, line) in BufReader::new(text).lines().enumerate() {
            let line = line?;
            if let Some(seal) = line.strip_prefix(SEAL) {
                log.seal = Some(seal.trim().to_string());
            } else if !line.trim().is_empty() && !line.starts_with('#') {
                let entry = parse_entry(&line).with_context(|| format!("line {}", number + 1))?;
                log.entries.push(entry);
            }
        }
        Ok(log)
    }

    /// The line that seals the log as it is.
    pub fn seal_line(&self) -> String {
        format!("{SEAL}{}", Seal::of(&self.entries))
    }

    /// Compares the log with its seal.
    pub fn verify(&self) -> Result<()> {
        let Some(seal) = &self.seal else {
            bail!("the log has no seal");
        };
        let want = Seal::of(&self.entries).to_string();
        if *seal != want {
            bail!("the seal is {seal}, but the readings give {want}");
        }
        Ok(())
    }
}

#[cfg(feature = "gzip")]
fn decompress(file: File) -> Result<Box<dyn Read>> {
    Ok(Box::new(flate2::read::GzDecoder::new(file)))
}

#[cfg(not(feature = "gzip"))]
fn decompress(_: File) -> Result<Box<dyn Read>> {
    bail!("compiled without the feature `gzip`")
}
