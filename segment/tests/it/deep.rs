//! Deep storage, the same on a folder, in memory and, where `HENGE_TEST_S3` says where one is, on a real S3 server.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use object_store::memory::InMemory;
use segment::storage::deep::DeepStorage;
use segment::storage::settings::{Access, DeepStorageSettings, Limits, S3Settings};
use segment::{Error, Interval, SegmentId, SegmentMeta};
use xxhash_rust::xxh3::xxh3_64;

pub const SECRET: &str = "hush-hush-hush";
pub const ACCESS_KEY: &str = "AKIATESTTESTTEST";

/// More than one part of a transfer.
pub const LARGE: usize = (3 << 23) + 17;

/// Where the real server is.
pub fn s3_address() -> Option<String> {
    let address = std::env::var("HENGE_TEST_S3").ok();
    if address.is_none() {
        eprintln!("===== NOT RUN: deep storage on a real S3 server (HENGE_TEST_S3 is not set)");
    }
    address
}

/// The bucket `deep` of a server, below a prefix of the test's own.
pub fn s3_settings(address: &str, prefix: &str) -> S3Settings {
    S3Settings {
        bucket: "deep".into(),
        prefix: format!("{}/{prefix}", std::process::id()),
        endpoint: Some(address.into()),
        region: "us-east-1".into(),
        access: Access::Keys { access_key: ACCESS_KEY.into(), secret_key: SECRET.into(), session_token: None },
        allow_http: true,
        limits: Limits {
            connect: Duration::from_millis(500),
            request: Duration::from_secs(2),
            retries: 2,
            deadline: Duration::from_secs(8),
        },
    }
}

pub fn s3(address: &str, prefix: &str) -> DeepStorage {
    DeepStorage::open(&DeepStorageSettings::S3(s3_settings(address, prefix))).unwrap()
}

/// A file of these bytes and a meta that describes it.
pub fn written(folder: &Path, datasource: &str, bytes: &[u8]) -> (PathBuf, SegmentMeta) {
    let file = folder.join(format!("{:x}.made", xxh3_64(datasource.as_bytes())));
    std::fs::write(&file, bytes).unwrap();
    let meta = SegmentMeta {
        id: SegmentId {
            datasource: datasource.into(),
            interval: Interval { start: 0, end: 3_600_000 },
            version: "2026-01-01T00:00:00.000Z".into(),
            partition: 1,
        },
        rows: 1,
        size_bytes: bytes.len() as u64,
        checksum: xxh3_64(bytes),
        time_range: Some((0, 0)),
        dimensions: vec![],
        metrics: vec![],
        path: String::new(),
        core_partitions: 0,
    };
    (file, meta)
}

pub fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i % 251) as u8).collect()
}

/// Every store, with a name for messages.
fn stores(folder: &Path, test: &str) -> Vec<(&'static str, DeepStorage)> {
    let mut stores = vec![
        ("folder", DeepStorage::open(&DeepStorageSettings::Local(folder.join("deep"))).unwrap()),
        ("memory", DeepStorage::new(Arc::new(InMemory::new()))),
    ];
    if let Some(address) = s3_address() {
        stores.push(("s3", s3(&address, test)));
        let whole = S3Settings { prefix: String::new(), ..s3_settings(&address, "") };
        stores.push(("s3 without prefix", DeepStorage::open(&DeepStorageSettings::S3(whole)).unwrap()));
    }
    stores
}

#[tokio::test]
async fn what_is_pushed_can_be_pulled_and_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("pulled");
    for (store, deep) in stores(folder.path(), "pulled") {
        for (datasource, bytes) in [("small", bytes(5)), ("a b%c/..ü", bytes(9)), ("large", bytes(LARGE))] {
            let (file, meta) = written(folder.path(), datasource, &bytes);
            let pushed = deep.push(&file, meta.clone()).await.unwrap();
            assert!(!pushed.path.is_empty() && !pushed.path.contains("henge-"), "{store}: {}", pushed.path);
            assert_eq!(deep.push(&file, meta).await.unwrap(), pushed, "{store}: a retry is the same object");
            deep.pull(&pushed, &to).await.unwrap();
            assert!(std::fs::read(&to).unwrap() == bytes, "{store}: {datasource}");
            assert_eq!(deep.local_path(&pushed).is_some(), store == "folder");
            deep.delete(&pushed).await.unwrap();
            deep.delete(&pushed).await.unwrap();
            let gone = deep.pull(&pushed, &to).await.unwrap_err();
            assert!(matches!(gone, Error::NotFound(_)), "{store}: {gone:?}");
            assert!(gone.to_string().contains(&pushed.path), "{gone}");
            assert!(!to.exists());
        }
    }
}

/// A published segment never changes: neither other bytes under its name, nor a push that is given up, touch it.
#[tokio::test]
async fn published_bytes_are_never_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("pulled");
    for (store, deep) in stores(folder.path(), "kept") {
        for len in [5, LARGE] {
            let good = bytes(len);
            let (file, meta) = written(folder.path(), "d", &good);
            let meta = deep.push(&file, meta).await.unwrap();
            let mut other = good.clone();
            other[len / 2] ^= 1;
            for spoilt in [&other[..], &good[1..]] {
                std::fs::write(&file, spoilt).unwrap();
                // It is there, so there is nothing to push, whatever the file holds by now.
                deep.push(&file, meta.clone()).await.unwrap();
                deep.pull(&meta, &to).await.unwrap();
                assert!(std::fs::read(&to).unwrap() == good, "{store}");

                // Under the name of a file that is not there, other bytes are refused and leave nothing.
                let missing = SegmentMeta { checksum: meta.checksum ^ 1, ..meta.clone() };
                let refused = deep.push(&file, missing.clone()).await.unwrap_err();
                assert!(matches!(refused, Error::Corrupt(_)), "{store}: {refused:?}");
                let path = meta.path.replace(&format!("{:016x}", meta.checksum), &format!("{:016x}", missing.checksum));
                let found = deep.pull(&SegmentMeta { path, ..missing }, &to).await;
                assert!(matches!(found, Err(Error::NotFound(_))), "{store}: {found:?}");
            }
        }
    }
}

/// The machine of a folder lost power before the file's bytes were on disk: nobody was told that it was pushed, and the
/// next push under that name must not take it for the file.
#[tokio::test]
async fn what_a_crash_left_under_a_name_is_written_anew() {
    let folder = tempfile::tempdir().unwrap();
    let deep = DeepStorage::local(&folder.path().join("deep")).unwrap();
    let (file, meta) = written(folder.path(), "d", b"what was written");
    let pushed = deep.push(&file, meta.clone()).await.unwrap();
    let at = deep.local_path(&pushed).unwrap();
    let to = folder.path().join("pulled");
    for rest in [&b""[..], b"what was", b"what was writteN"] {
        std::fs::write(&at, rest).unwrap();
        assert!(matches!(deep.pull(&pushed, &to).await, Err(Error::Corrupt(_))));
        assert!(!to.exists());
        deep.push(&file, meta.clone()).await.unwrap();
        deep.pull(&pushed, &to).await.unwrap();
    }
}

/// An upload that is given up half-way is not seen.
#[tokio::test]
async fn a_push_that_is_dropped_leaves_nothing_under_the_name() {
    let folder = tempfile::tempdir().unwrap();
    for (store, deep) in stores(folder.path(), "dropped") {
        let (file, meta) = written(folder.path(), "dropped", &bytes(LARGE));
        let to = folder.path().join("pulled");
        for millis in [0, 1, 5, 20] {
            let push = deep.push(&file, meta.clone());
            let Err(_) = tokio::time::timeout(Duration::from_millis(millis), push).await else { break };
            let path = format!("dropped/0_3600000/2026-01-01T00:00:00.000Z/1/{:016x}.henge", meta.checksum);
            let there = SegmentMeta { path, ..meta.clone() };
            match deep.pull(&there, &to).await {
                Ok(()) => assert!(std::fs::read(&to).unwrap() == bytes(LARGE), "whole, or not there"),
                Err(error) => assert!(matches!(error, Error::NotFound(_)), "{store}: {error:?}"),
            }
            deep.delete(&there).await.unwrap();
        }
        let pushed = deep.push(&file, meta).await.unwrap();
        deep.pull(&pushed, &to).await.unwrap();
        deep.delete(&pushed).await.unwrap();
    }
}

#[tokio::test]
async fn objects_come_and_go_by_name() {
    let folder = tempfile::tempdir().unwrap();
    for (store, deep) in stores(folder.path(), "objects") {
        let objects = deep.objects(".kept");
        assert_eq!(objects.list("").await.unwrap(), Vec::<String>::new(), "{store}");
        assert_eq!(objects.get("a/1").await.unwrap(), None, "{store}");
        for bytes in [vec![], bytes(10), bytes(LARGE), bytes(3)] {
            objects.put("a/1", Bytes::from(bytes.clone())).await.unwrap();
            assert!(objects.get("a/1").await.unwrap().unwrap() == bytes, "{store}: {}", bytes.len());
        }
        objects.put("a/x y%z", Bytes::from_static(b"two")).await.unwrap();
        objects.put("b/1", Bytes::from_static(b"three")).await.unwrap();
        let mut found = objects.list("a").await.unwrap();
        found.sort();
        assert_eq!(found.len(), 2, "{store}");
        assert_eq!(found[0], "a/1");
        assert_eq!(objects.list("").await.unwrap().len(), 3);
        for name in ["a/1", "a/1", "a/x y%z", "b/1"] {
            objects.delete(name).await.unwrap();
        }
        assert_eq!(objects.list("").await.unwrap(), Vec::<String>::new(), "{store}");
    }
}
