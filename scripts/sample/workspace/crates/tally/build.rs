//! Turns `data/harbours.csv` into a table that is sorted by code.

use std::{env, fmt::Write, fs, path::Path};

fn main() {
    println!("cargo:rerun-if-changed=data/harbours.csv");
    println!("cargo:rerun-if-changed=build.rs");

    let text = fs::read_to_string("data/harbours.csv").expect("data/harbours.csv");
    let mut rows: Vec<Vec<&str>> = text
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| line.split(',').collect())
        .collect();
    rows.sort();

    let mut table = String::from("&[\n");
    for row in &rows {
        let [code, name, level] = row[..] else {
            panic!("harbours.csv: want 3 columns: {row:?}");
        };
        let level: f64 = level.parse().expect("harbours.csv: level");
        writeln!(
            table,
            "    Harbour {{ code: {code:?}, name: {name:?}, high_water: {level:?} }},"
        )
        .unwrap();
    }
    table.push_str("]\n");

    let out = env::var_os("OUT_DIR").expect("OUT_DIR");
    fs::write(Path::new(&out).join("harbours.rs"), table).expect("harbours.rs");
    println!(
        "cargo:rustc-env=TALLY_TARGET={}",
        env::var("TARGET").unwrap()
    );
}
