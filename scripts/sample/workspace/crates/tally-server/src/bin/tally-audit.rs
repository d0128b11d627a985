//! `tally-audit`: checks the seal of a log.

use std::path::PathBuf;

use anyhow::Result;
use clap::Parser;
use tally::Log;

/// Checks the seal of a harbour's tide log.
#[derive(Parser)]
#[command(name = "tally-audit", version)]
struct Args {
    log: PathBuf,
}

fn main() -> Result<()> {
    let log = Log::open(&Args::parse().log)?;
    log.verify()?;
    println!("{} readings, sealed", log.entries.len());
    Ok(())
}
