use std::{collections::BTreeMap, fmt};

use serde::Serialize;

use crate::{harbour, Entry};

/// What a log says about one harbour.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    pub harbour: String,
    pub readings: usize,
    pub lowest: f64,
    pub highest: f64,
    /// How many readings are above mean high water.
    pub above_high_water: usize,
}

impl Summary {
    /// Sums up some readings, by harbour.
    pub fn of(entries: &[Entry]) -> Vec<Summary> {
        let mut all = BTreeMap::<&str, Summary>::new();
        for entry in entries {
            let one = all.entry(&entry.harbour).or_insert_with(|| Summary {
                harbour: entry.harbour.clone(),
                readings: 0,
                lowest: f64::INFINITY,
                highest: f64::NEG_INFINITY,
                above_high_water: 0,
            });
            one.readings += 1;
            one.lowest = one.lowest.min(entry.height);
            one.highest = one.highest.max(entry.height);
            if harbour(&entry.harbour).is_some_and(|known| entry.height > known.high_water) {
                one.above_high_water += 1;
            }
        }
        all.into_values().collect()
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.readings == 1 { "" } else { "s" };
        write!(
            f,
            "{}: {} reading{plural}, {:.2} m to {:.2} m",
            self.harbour, self.readings, self.lowest, self.highest
        )
    }
}
