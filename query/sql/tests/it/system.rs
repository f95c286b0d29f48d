//! The `sys` schema over facts that a test states, and what INFORMATION_SCHEMA tells of both.

use async_trait::async_trait;
use henge_query_sql::Result;
use henge_query_sql::cluster::{Cluster, Property, Segment, Server, Supervisor, Task};
use query::Principal;
use serde_json::json;

use crate::Fixture;

/// A published segment, a growing one and one that nothing serves; a node of two roles; two tasks; one supervisor.
pub struct Small;

const NODE: &str = "here:8888";

#[async_trait]
impl Cluster for Small {
    async fn segments(&self, _who: &Principal) -> Result<Vec<Segment>> {
        let segment = |id: &str, rows: u64| Segment {
            id: id.to_string(),
            datasource: "wiki".to_string(),
            end: 3_600_000,
            rows,
            shard_spec: "{}".to_string(),
            ..Segment::default()
        };
        let columns = Some((vec!["channel".to_string()], vec![]));
        Ok(vec![
            Segment { published: true, replicas: 1, size_bytes: 100, columns, ..segment("served", 5) },
            Segment { realtime: true, replicas: 1, ..segment("growing", 2) },
            Segment { published: true, size_bytes: 50, ..segment("missing", 7) },
        ])
    }

    async fn servers(&self, _who: &Principal) -> Result<Vec<Server>> {
        let server = |role: &str, leader| Server {
            address: NODE.to_string(),
            role: role.to_string(),
            leader,
            ..Server::default()
        };
        Ok(vec![server("historical", None), server("coordinator", Some(true))])
    }

    async fn server_segments(&self, _who: &Principal) -> Result<Vec<(String, String)>> {
        Ok(["served", "growing"].iter().map(|id| (NODE.to_string(), id.to_string())).collect())
    }

    async fn tasks(&self, who: &Principal) -> Result<Vec<Task>> {
        let task = |id: &str, status: &str| Task {
            id: id.to_string(),
            datasource: who.name.clone(),
            status: status.to_string(),
            duration: -1,
            ..Task::default()
        };
        let running = Task { location: Some(NODE.to_string()), ..task("one", "RUNNING") };
        Ok(vec![running, Task { error: Some("no space".to_string()), ..task("two", "FAILED") }])
    }

    async fn supervisors(&self, _who: &Principal) -> Result<Vec<Supervisor>> {
        let spec = "{\"type\":\"kafka\"}".to_string();
        Ok(vec![Supervisor { id: "events".to_string(), healthy: true, spec, ..Supervisor::default() }])
    }

    async fn properties(&self, _who: &Principal) -> Result<Vec<Property>> {
        let (name, value) = ("druid.host".to_string(), "here".to_string());
        Ok(vec![Property { address: NODE.to_string(), name, value, ..Property::default() }])
    }
}

#[test]
fn segments_are_counted_by_what_they_are() {
    let f = Fixture::new();
    f.check(
        "SELECT datasource, COUNT(*), COUNT(*) FILTER (WHERE is_available = 1), \
         COUNT(*) FILTER (WHERE is_available = 0 AND replication_factor > 0), SUM(is_realtime), SUM(is_active), \
         SUM(\"size\"), SUM(num_rows) FILTER (WHERE is_published = 1) FROM sys.segments GROUP BY datasource",
        json!([["wiki", 3, 2, 1, 1, 3, 150, 12]]),
    );
    f.check(
        "WITH s AS (SELECT * FROM sys.segments) SELECT segment_id, \"start\", \"end\", dimensions FROM s \
         WHERE \"end\" LIKE '%T01:00:00.000Z' ORDER BY segment_id LIMIT 2",
        json!([
            ["growing", "1970-01-01T00:00:00.000Z", "1970-01-01T01:00:00.000Z", null],
            ["missing", "1970-01-01T00:00:00.000Z", "1970-01-01T01:00:00.000Z", null]
        ]),
    );
    f.check(
        "SELECT s.segment_id, x.server FROM sys.segments s LEFT JOIN sys.server_segments x \
         ON s.segment_id = x.segment_id WHERE s.is_published = 1 ORDER BY 1",
        json!([["missing", null], ["served", NODE]]),
    );
}

#[test]
fn servers_tasks_supervisors_and_settings_are_tables() {
    let f = Fixture::new();
    f.check(
        "SELECT server, host, plaintext_port, tls_port, server_type, is_leader FROM sys.servers ORDER BY server_type",
        json!([[NODE, "here", 8888, -1, "coordinator", 1], [NODE, "here", 8888, -1, "historical", null]]),
    );
    // Facts are asked for in the caller's name.
    f.check(
        "SELECT task_id, datasource, \"location\", host, plaintext_port, error_msg FROM sys.tasks ORDER BY 1",
        json!([["one", "tester", NODE, "here", 8888, null], ["two", "tester", null, null, -1, "no space"]]),
    );
    f.check(
        "SELECT supervisor_id, healthy, suspended, spec FROM sys.supervisors",
        json!([["events", 1, 0, "{\"type\":\"kafka\"}"]]),
    );
    f.check("SELECT server, \"property\", \"value\" FROM sys.server_properties", json!([[NODE, "druid.host", "here"]]));
}

#[test]
fn the_information_schema_lists_system_tables_and_functions() {
    let f = Fixture::new();
    f.check(
        "SELECT TABLE_NAME, TABLE_TYPE FROM INFORMATION_SCHEMA.TABLES WHERE TABLE_SCHEMA = 'sys' ORDER BY 1",
        json!([
            ["segments", "SYSTEM_TABLE"],
            ["server_properties", "SYSTEM_TABLE"],
            ["server_segments", "SYSTEM_TABLE"],
            ["servers", "SYSTEM_TABLE"],
            ["supervisors", "SYSTEM_TABLE"],
            ["tasks", "SYSTEM_TABLE"]
        ]),
    );
    f.check(
        "SELECT COLUMN_NAME, ORDINAL_POSITION, DATA_TYPE, JDBC_TYPE FROM INFORMATION_SCHEMA.COLUMNS \
         WHERE TABLE_SCHEMA = 'sys' AND TABLE_NAME = 'segments' AND ORDINAL_POSITION IN (1, 5) ORDER BY 2",
        json!([["segment_id", 1, "VARCHAR", 12], ["size", 5, "BIGINT", -5]]),
    );
    f.check(
        "SELECT ROUTINE_NAME, IS_AGGREGATOR, SIGNATURES FROM INFORMATION_SCHEMA.ROUTINES \
         WHERE ROUTINE_NAME IN ('ABS', 'LPAD', 'CONCAT', 'SUM') ORDER BY 1",
        json!([
            ["ABS", "NO", "'ABS(<NUMERIC>)'"],
            ["CONCAT", "NO", "'CONCAT(<ANY>...)'"],
            ["LPAD", "NO", "'LPAD(<CHARACTER>, <INTEGER>)'\n'LPAD(<CHARACTER>, <INTEGER>, <CHARACTER>)'"],
            ["SUM", "YES", "'SUM(<NUMERIC>)'"]
        ]),
    );
}
