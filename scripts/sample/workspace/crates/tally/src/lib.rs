//! A log of the tide at a harbour's gauge: reading it, summing it up, sealing it.

mod entry;
mod harbour;
mod log;
mod seal;
mod summary;

pub use entry::{parse_entry, Entry};
pub use harbour::{harbour, Harbour, HARBOURS};
pub use log::Log;
pub use seal::Seal;
pub use summary::Summary;

/// The target that this was compiled for.
pub const TARGET: &str = env!("TALLY_TARGET");

/// The optional features that this was compiled with.
pub const FEATURES: &[&str] = &[
    #[cfg(feature = "gzip")]
    "gzip",
];
