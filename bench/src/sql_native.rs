//! What SQL costs beside the native query that it is planned as: EXPLAIN gives the query, both are asked in turn.

use std::time::Instant;

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use crate::service::{post, post_text};

const QUERIES: [&str; 3] = [
    include_str!("../queries/ssb.sql"),
    include_str!("../queries/lineitem.sql"),
    include_str!("../queries/clients.sql"),
];

const WARM_UP: usize = 2;

/// Prints a line for each query over a table that the server has: the medians of both, in milliseconds, and their ratio.
pub fn run(url: &str, rounds: usize) -> anyhow::Result<()> {
    let tables: Vec<String> =
        serde_json::from_str(&ureq::get(format!("{url}/druid/v2/datasources")).call()?.body_mut().read_to_string()?)?;
    let (mut logs, mut slower) = (Vec::new(), Vec::new());
    for (name, sql) in QUERIES.iter().flat_map(|text| named(text)) {
        let words = || sql.split(|c: char| !c.is_alphanumeric() && c != '_');
        if !tables.iter().any(|table| words().any(|word| word == table)) {
            continue;
        }
        let mut native = planned(url, &sql).with_context(|| name.clone())?;
        // Rows without names, as SQL's.
        native["context"]["resultAsArray"] = true.into();
        let sql = json!({"query": sql, "resultFormat": "array"});
        let (mut sql_times, mut native_times) = (Vec::new(), Vec::new());
        for round in 0..WARM_UP + rounds {
            for (path, body, times) in
                [("/druid/v2/sql", &sql, &mut sql_times), ("/druid/v2", &native, &mut native_times)]
            {
                let started = Instant::now();
                post_text(url, path, body)?;
                if round >= WARM_UP {
                    times.push(started.elapsed().as_secs_f64() * 1e3);
                }
            }
        }
        let (sql, native_time) = (median(&mut sql_times), median(&mut native_times));
        let kind = native["queryType"].as_str().unwrap_or_default();
        println!("{name:28} {kind:12} SQL {sql:8.2} ms, native {native_time:8.2} ms, ratio {:.2}", sql / native_time);
        logs.push((sql / native_time).ln());
        if sql > native_time * 1.15 {
            slower.push(name);
        }
    }
    ensure!(!logs.is_empty(), "the server has no table of these queries: lineitem, lineorder_flat");
    println!("geometric mean of {} ratios: {:.3}", logs.len(), (logs.iter().sum::<f64>() / logs.len() as f64).exp());
    println!("SQL takes over 1.15 times as long in {}: {}", slower.len(), slower.join(" "));
    Ok(())
}

/// The queries of a file: `-- name: x` and a line of SQL after it.
pub fn named(text: &str) -> Vec<(String, String)> {
    let mut lines = text.lines();
    let mut queries = Vec::new();
    while let Some(line) = lines.next() {
        if let Some(name) = line.strip_prefix("-- name: ") {
            queries.push((name.to_string(), lines.next().unwrap_or_default().to_string()));
        }
    }
    queries
}

/// The one native query of the plan.
fn planned(url: &str, sql: &str) -> anyhow::Result<Value> {
    let rows =
        post(url, "/druid/v2/sql", &json!({"query": format!("EXPLAIN PLAN FOR {sql}"), "resultFormat": "array"}))?;
    let plan: Value = serde_json::from_str(rows[0][0].as_str().context("no plan")?)?;
    let leaves = plan.as_array().context("the plan is no list")?;
    ensure!(leaves.len() == 1, "planned as {} native queries", leaves.len());
    Ok(leaves[0]["query"].clone())
}

pub fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
