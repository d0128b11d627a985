fn main() {
    let mut text = String::new();
    former::fmt(&mut text, 1).unwrap();
    #[cfg(feature = "extra")]
    text.push_str(ryu::Buffer::new().format(0.5));
    #[cfg(target_env = "musl")]
    let _ = fnv::FnvHasher::default();
    #[cfg(target_arch = "aarch64")]
    cfg_if::cfg_if! { if #[cfg(unix)] { text.push('u'); } }
    text.push_str(itoa::Buffer::new().format(macros::answer!()));
    println!("app {} {text}", env!("CARGO_PKG_VERSION"));
}
