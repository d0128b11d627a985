use tally::{harbour, parse_entry, Log, Summary, HARBOURS};

const LOG: &str = "\
# gauge 3
2025-03-01T06:12Z BRST 6.42 m  spring tide
2025-03-01T12:24Z BRST 0.87 m

2025-03-01T12:31Z HMBG 3.10 m
";

#[test]
fn a_reading_is_parsed_and_printed() {
    let line = "2025-03-01T06:12Z BRST 6.42 m  spring tide";
    let entry = parse_entry(line).unwrap();
    assert_eq!(entry.height, 6.42);
    assert_eq!(entry.to_string(), line);
    assert!(parse_entry("2025-03-01T06:12Z XXXX 6.42 m").is_err());
    assert!(parse_entry("yesterday, rather high").is_err());
}

#[test]
fn the_table_is_sorted() {
    assert!(HARBOURS.windows(2).all(|pair| pair[0].code < pair[1].code));
    assert_eq!(harbour("BRST").unwrap().name, "Brest");
}

#[test]
fn a_log_is_summed_up_by_harbour() {
    let log = Log::read(LOG.as_bytes()).unwrap();
    let all = Summary::of(&log.entries);
    assert_eq!(all[0].to_string(), "BRST: 2 readings, 0.87 m to 6.42 m");
    assert_eq!(all[0].above_high_water, 1);
    assert_eq!(all[1].harbour, "HMBG");
    assert!(Summary::of(&[]).is_empty());
}

#[test]
fn an_edited_log_breaks_its_seal() {
    let log = Log::read(LOG.as_bytes()).unwrap();
    assert!(log.verify().is_err());
    let sealed = format!("{LOG}{}\n", log.seal_line());
    Log::read(sealed.as_bytes()).unwrap().verify().unwrap();
    let edited = sealed.replace("6.42", "5.42");
    assert!(Log::read(edited.as_bytes()).unwrap().verify().is_err());
}
