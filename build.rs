//! Tells the bindings which interpreter they are built for (`Py_GIL_DISABLED`), and what to answer when somebody asks which build this is.
fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    #[cfg(feature = "python")]
    {
        pyo3_build_config::use_pyo3_cfgs();
        let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
        let version = std::process::Command::new(rustc).arg("--version").output().ok();
        let version = version.and_then(|output| String::from_utf8(output.stdout).ok()).unwrap_or_default();
        println!("cargo:rustc-env=SWITCHGEAR_RUSTC={}", version.trim());
        // The version that was resolved, not the one that was asked for.
        let lock = std::fs::read_to_string("Cargo.lock").unwrap_or_default();
        let pyo3 = lock.split("name = \"pyo3\"\nversion = \"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or("unknown");
        println!("cargo:rustc-env=SWITCHGEAR_PYO3={pyo3}");
        println!("cargo:rerun-if-changed=Cargo.lock");
        println!("cargo:rustc-env=SWITCHGEAR_PROFILE={}", std::env::var("PROFILE").unwrap_or_default());
    }
}
