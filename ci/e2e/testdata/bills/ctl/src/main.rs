fn main() {
    println!("ctl {} {:?}", env!("CARGO_PKG_VERSION"), memchr::memchr(b'a', b"ba"));
}
