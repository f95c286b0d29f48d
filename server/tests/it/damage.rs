//! Damaged segment files: local copies are mended from deep storage before anything is answered from them; where deep
//! storage is damaged as well, answers say what is missing or are refused.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::harness::Server;

const ROWS: u64 = 20_000;

fn load(server: &Server) {
    let rows: Vec<String> = (0..ROWS)
        .map(|n| {
            let day = 1 + n % 4;
            json!({"t": format!("2024-01-{day:02}T00:00:00Z"), "k": format!("key {}", n * 7919 % 4001), "v": n})
                .to_string()
        })
        .collect();
    server.load("d", "iso", json!({"dimensions": ["k", {"type": "long", "name": "v"}]}), &rows.join("\n"));
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

/// Flips one bit of each file, `at` of its length in.
fn damage(folder: &Path, at: f64) {
    let files = files(folder);
    assert_eq!(files.len(), 4, "{files:?}");
    for file in files {
        let mut bytes = std::fs::read(&file).unwrap();
        let at = (bytes.len() as f64 * at) as usize;
        bytes[at] ^= 0x10;
        std::fs::write(&file, bytes).unwrap();
    }
}

fn check_whole(server: &Server) {
    let rows = server.sql("SELECT COUNT(*), SUM(v), COUNT(DISTINCT k), MIN(k) FROM d");
    assert_eq!(json!(rows), json!([[ROWS, ROWS * (ROWS - 1) / 2, 4001, "key 0"]]));
}

#[test]
fn broken_local_copies_are_mended_before_the_answer() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    load(&server);
    check_whole(&server);
    assert!(server.stop());
    for at in [0.001, 0.05, 0.3, 0.6, 0.9, 0.98] {
        damage(&dir.path().join("data/segments"), at);
        let server = Server::start(dir.path());
        check_whole(&server);
        assert!(server.stop());
        let broken = |path: &PathBuf| path.extension().is_some_and(|e| e == "corrupt");
        files(&dir.path().join("data/segments"))
            .iter()
            .filter(|f| broken(f))
            .for_each(|f| std::fs::remove_file(f).unwrap());
    }
}

#[test]
fn rows_that_no_whole_copy_has_are_missed_aloud() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    load(&server);
    assert!(server.stop());
    damage(&dir.path().join("data/segments"), 0.3);
    damage(&dir.path().join("data/deep-storage"), 0.3);
    let server = Server::start(dir.path());
    let query = |context: Value| {
        json!({"queryType": "timeseries", "dataSource": "d", "granularity": "all",
        "intervals": ["2024/2025"], "context": context, "aggregations": [
            {"type": "longSum", "name": "s", "fieldName": "v"},
            {"type": "filtered", "filter": {"type": "like", "dimension": "k", "pattern": "key 1%"},
             "aggregator": {"type": "count", "name": "c"}}]})
    };
    let reply = server.post("/druid/v2", &query(json!({})));
    assert_eq!(reply.status, 200, "{}", reply.body);
    let missing = &reply.context["uncoveredIntervals"];
    assert!(missing.as_array().is_some_and(|m| !m.is_empty()), "{}: {}", reply.context, reply.body);
    let reply = server.post("/druid/v2", &query(json!({"returnPartialResults": false})));
    assert_eq!(reply.status, 503, "{}", reply.body);
}
