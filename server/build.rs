//! Has the server built again when the console's pages are other ones.

fn main() {
    let pages = std::path::Path::new("../web-console/dist");
    let watched = if pages.exists() { "../web-console/dist" } else { "../web-console" };
    println!("cargo:rerun-if-changed={watched}");
    println!("cargo:rerun-if-changed=build.rs");
}
