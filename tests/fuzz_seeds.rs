//! Every seed of every fuzz target goes through the function that the fuzzer runs (`make fuzz`).

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test stops where it fails")]

#[path = "fuzz/targets/mod.rs"]
mod targets;

use std::path::Path;

#[test]
fn every_seed_of_every_target_passes() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/fuzz");
    for (name, check) in targets::ALL {
        let mut count = 0;
        for entry in std::fs::read_dir(seeds.join(name)).unwrap() {
            let path = entry.unwrap().path();
            println!("{}", path.display());
            check(&std::fs::read(&path).unwrap());
            count += 1;
        }
        assert!(count >= 4, "{name} has {count} seeds");
    }
}

#[test]
fn a_broken_seed_is_refused_without_a_panic() {
    for (name, check) in targets::ALL {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/fuzz").join(name);
        for entry in std::fs::read_dir(directory).unwrap() {
            let mut bytes = std::fs::read(entry.unwrap().path()).unwrap();
            for at in (0..bytes.len()).step_by(1 + bytes.len() / 24) {
                bytes[at] ^= 0x41;
                check(&bytes);
                bytes[at] ^= 0x41;
                check(&bytes[..at]);
            }
        }
    }
}
