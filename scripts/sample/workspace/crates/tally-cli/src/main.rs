//! `tally`: keeps a log of a harbour's tide.

use std::{
    fs::OpenOptions,
    io::Write,
    path::PathBuf,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result};
use clap::{Parser, Subcommand, ValueEnum};
use tally::{parse_entry, Log, Summary, FEATURES, HARBOURS, TARGET};

/// Keeps a log of a harbour's tide.
#[derive(Parser)]
#[command(name = "tally", version)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Add a reading to a log.
    Add {
        /// The harbour's code.
        #[arg(long)]
        harbour: String,
        /// Metres above chart datum.
        #[arg(long, allow_negative_numbers = true)]
        height: f64,
        /// When, such as 2025-03-01T06:12Z; by default, now.
        #[arg(long)]
        at: Option<String>,
        /// A remark.
        #[arg(long, default_value = "")]
        note: String,
        log: PathBuf,
    },
    /// Print the readings of a log.
    List { log: PathBuf },
    /// Sum up a log, by harbour.
    Summary {
        /// How to print it.
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
        log: PathBuf,
    },
    /// Print the line that seals a log.
    Seal { log: PathBuf },
    /// Print the harbours that are known.
    Harbours,
    /// Print what this program was compiled for.
    Info,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Format {
    Text,
    Json,
}

fn main() -> Result<()> {
    match Args::parse().command {
        Command::Add {
            harbour,
            height,
            at,
            note,
            log,
        } => {
            let at = at.unwrap_or_else(now);
            let entry = parse_entry(&format!("{at} {harbour} {height:.2} m  {note}"))?;
            let mut file = OpenOptions::new()
                .append(true)
                .create(true)
                .open(&log)
                .with_context(|| format!("open {}", log.display()))?;
            writeln!(file, "{entry}")?;
        }
        Command::List { log } => {
            for entry in Log::open(&log)?.entries {
                println!("{entry}");
            }
        }
        Command::Summary { format, log } => {
            let all = Summary::of(&Log::open(&log)?.entries);
            if format == Format::Json {
                println!("{}", serde_json::to_string_pretty(&all)?);
            } else {
                all.iter().for_each(|one| println!("{one}"));
            }
        }
        Command::Seal { log } => println!("{}", Log::open(&log)?.seal_line()),
        Command::Harbours => {
            for harbour in HARBOURS {
                println!(
                    "{} {} ({:.2} m)",
                    harbour.code, harbour.name, harbour.high_water
                );
            }
        }
        Command::Info => {
            println!("target: {TARGET}");
            println!("features: {}", FEATURES.join(" "));
            println!("harbours: {}", HARBOURS.len());
        }
    }
    Ok(())
}

/// The time as the log has it, in UTC.
fn now() -> String {
    let minutes = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs() / 60) as i64;
    let (day, minute) = (minutes / 1440, minutes % 1440);
    // Days since 0000-03-01, in eras of 400 years.
    let day = day + 719_468;
    let (era, day) = (day / 146_097, day % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let date = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + i64::from(month <= 2);
    format!(
        "{year:04}-{month:02}-{date:02}T{:02}:{:02}Z",
        minute / 60,
        minute % 60
    )
}
