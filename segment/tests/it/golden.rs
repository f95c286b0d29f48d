//! Bytes that were written once are read for ever: one file for each version of the format.

use std::path::Path;

use segment::{Granularity, file};

use crate::tables::{build, id, keys, large, merged, read, schema, write};

/// `HENGE_WRITE_GOLDEN=1` writes the file of the newest version, which is done once, when the version is made.
#[test]
fn version_1_is_read() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/version-1.seg");
    let schema = schema(false, Granularity::None);
    let table = large(6_000);
    if std::env::var_os("HENGE_WRITE_GOLDEN").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        write(&[build(&schema, &table)], &schema, &path);
    }
    file::verify(&path).unwrap();
    let segment = file::open(&path, id()).unwrap();
    assert_eq!(keys(&read(&segment).unwrap()), keys(&merged(&schema, &table)));
}
