fn main() {
    autocfg::rerun_path("build.rs");
    let _ = fnv::FnvHasher::default();
}
