use chrono::{Local, TimeZone};

fn main() {
    if std::env::args().nth(1).as_deref() == Some("--works") {
        println!("{} roots", rustls_native_certs::load_native_certs().certs.len());
        println!("{}", Local.timestamp_opt(0, 0).unwrap().format("%H:%M %:z"));
    } else {
        println!("tiny {}", env!("CARGO_PKG_VERSION"));
    }
}
