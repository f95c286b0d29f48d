//! Native batch tasks: append, replace, reports, and the same rows whatever path they came by.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::Server;

fn task(datasource: &str, rows: &[Value], append: bool) -> Value {
    let data = rows.iter().map(Value::to_string).collect::<Vec<_>>().join("\n");
    json!({"type": "index_parallel", "spec": {
        "dataSchema": {
            "dataSource": datasource,
            "timestampSpec": {"column": "t", "format": "iso"},
            "dimensionsSpec": {"dimensions": ["k", {"type": "long", "name": "v"}, {"type": "double", "name": "d"}]},
            "granularitySpec": {"segmentGranularity": "DAY", "queryGranularity": "NONE", "rollup": false},
        },
        "ioConfig": {"type": "index_parallel", "appendToExisting": append, "inputFormat": {"type": "json"},
            "inputSource": {"type": "inline", "data": data}},
        "tuningConfig": {"type": "index_parallel"},
    }})
}

fn row(day: u32, k: &str, v: i64) -> Value {
    json!({"t": format!("2024-01-{day:02}T01:02:03Z"), "k": k, "v": v, "d": v as f64 / 4.0})
}

fn wait_for(server: &Server, sql: &str, expected: &Value) {
    let end = std::time::Instant::now() + Duration::from_secs(20);
    loop {
        let rows = json!(
            server
                .try_post("/druid/v2/sql", &json!({"query": sql, "resultFormat": "array"}).to_string())
                .map(|r| r.body)
                .unwrap_or_default()
        );
        if rows == *expected {
            return;
        }
        assert!(std::time::Instant::now() < end, "{sql}: {rows}, expected {expected}");
        std::thread::sleep(Duration::from_millis(30));
    }
}

#[test]
fn append_adds_and_replace_replaces_only_its_days() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let run = |rows: &[Value], append: bool| {
        let status = server.run_task(&task("days", rows, append), Duration::from_secs(60));
        assert_eq!(status["status"], "SUCCESS", "{status}");
    };
    let sums = r#"SELECT TIME_FORMAT(FLOOR(__time TO DAY), 'dd'), COUNT(*), SUM("v") FROM days GROUP BY 1 ORDER BY 1"#;
    run(&[row(1, "a", 1), row(1, "b", 2), row(2, "a", 10)], false);
    wait_for(&server, sums, &json!([["01", 2, 3], ["02", 1, 10]]));
    run(&[row(2, "c", 5)], true);
    wait_for(&server, sums, &json!([["01", 2, 3], ["02", 2, 15]]));
    run(&[row(1, "z", 100)], false);
    wait_for(&server, sums, &json!([["01", 1, 100], ["02", 2, 15]]));

    // A restart serves the same from what was published.
    assert!(server.stop());
    let server = Server::start(dir.path());
    wait_for(&server, sums, &json!([["01", 1, 100], ["02", 2, 15]]));
}

/// What the server keeps is read by its own rules, and not as input.
#[test]
fn the_folders_of_the_server_are_no_input() {
    let dir = tempfile::tempdir().unwrap();
    let deep = dir.path().join("deep");
    let server = Server::start_with(dir.path(), &[("storage.deep", deep.to_str().unwrap())]);
    let mut spec = task("t", &[row(1, "a", 1)], false);
    let mut run = |source: Value| {
        spec["spec"]["ioConfig"]["inputSource"] = source;
        server.run_task(&spec, Duration::from_secs(60))
    };
    for folder in ["data", "deep", "data/tasks/.."] {
        let status = run(json!({"type": "local", "baseDir": dir.path().join(folder), "filter": "*"}));
        assert_eq!(status["status"], "FAILED", "{status}");
        assert!(status["errorMsg"].as_str().is_some_and(|why| why.contains("keeps its own data in")), "{status}");
    }
    let input = dir.path().join("input");
    std::fs::create_dir(&input).unwrap();
    std::fs::write(input.join("rows.json"), format!("{}\n", row(1, "a", 1))).unwrap();
    assert_eq!(run(json!({"type": "local", "baseDir": input, "filter": "*"}))["status"], "SUCCESS");
}

#[test]
fn unparseable_rows_are_counted_and_reported() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let mut spec = task("mixed", &[row(1, "a", 1)], false);
    let good = spec["spec"]["ioConfig"]["inputSource"]["data"].as_str().unwrap().to_string();
    spec["spec"]["ioConfig"]["inputSource"]["data"] =
        json!(format!("{good}\n{{not json\n{good}\n{{\"t\": \"never\"}}\n"));
    spec["spec"]["tuningConfig"]["maxSavedParseExceptions"] = json!(10);
    let id = server.post_ok("/druid/indexer/v1/task", &spec)["task"].as_str().unwrap().to_string();
    let end = std::time::Instant::now() + Duration::from_secs(30);
    while server.get(&format!("/druid/indexer/v1/task/{id}/status")).body["status"]["status"] == "RUNNING" {
        assert!(std::time::Instant::now() < end);
        std::thread::sleep(Duration::from_millis(20));
    }
    let report = server.get(&format!("/druid/indexer/v1/task/{id}/reports")).body;
    let stats = &report["ingestionStatsAndErrors"]["payload"]["rowStats"]["buildSegments"];
    assert_eq!((&stats["processed"], &stats["unparseable"]), (&json!(2), &json!(2)), "{report}");
    wait_for(&server, "SELECT COUNT(*) FROM mixed", &json!([[2]]));
}

/// Points are found by where they are.
#[test]
fn spatial_dimensions_are_filtered() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let places = [("berlin", 52.52, 13.405), ("hamburg", 53.5511, 9.9937), ("rome", 41.9, 12.5)];
    let rows =
        places.map(|(name, lat, lon)| json!({"t": "2024-01-01", "name": name, "lat": lat, "lon": lon}).to_string());
    let dimensions = json!({"dimensions": ["name", {"type": "spatial", "name": "at", "dims": ["lat", "lon"]}]});
    server.load("places", "iso", dimensions, &rows.join("\n"));
    for (bound, expected) in [
        (json!({"type": "rectangular", "minCoords": [50, 9], "maxCoords": [55, 14]}), json!(["berlin", "hamburg"])),
        (json!({"type": "radius", "coords": [52.5, 13.4], "radius": 1}), json!(["berlin"])),
        (
            json!({"type": "radius", "coords": [52.5, 13.4], "radius": 300, "radiusUnit": "kilometers"}),
            json!(["berlin", "hamburg"]),
        ),
        (json!({"type": "polygon", "abscissa": [40, 43, 43, 40], "ordinate": [10, 10, 14, 14]}), json!(["rome"])),
    ] {
        let got = server.post_ok("/druid/v2", &json!({"queryType": "groupBy", "dataSource": "places", "granularity": "all",
            "intervals": ["2024/2025"], "dimensions": ["name"], "filter": {"type": "spatial", "dimension": "at", "bound": bound}}));
        let names: Vec<Value> = got.as_array().unwrap().iter().map(|row| row["event"]["name"].clone()).collect();
        assert_eq!(json!(names), expected, "{bound}");
    }
}
