/// A harbour with a gauge.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Harbour {
    pub code: &'static str,
    pub name: &'static str,
    /// Mean high water in metres above chart datum.
    pub high_water: f64,
}

/// All harbours that are known, by code.
pub const HARBOURS: &[Harbour] = include!(concat!(env!("OUT_DIR"), "/harbours.rs"));

/// The harbour with this code.
pub fn harbour(code: &str) -> Option<&'static Harbour> {
    HARBOURS
        .binary_search_by_key(&code, |harbour| harbour.code)
        .ok()
        .map(|at| &HARBOURS[at])
}
