//! What a row policy costs beside the same condition written by hand: each query of the Star Schema Benchmark is asked by a
//! user whose role has the condition as its policy, and by one who sees all rows, with the condition in the statement. Both
//! sign in alike.

use std::time::Instant;

use anyhow::ensure;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::sql_native::{median, named};

const WARM_UP: usize = 2;

/// Conditions on columns that bitmaps index: one value of few, some of many.
const CONDITIONS: [&str; 2] = ["c_region = 'ASIA'", "s_nation IN ('CHINA', 'FRANCE', 'BRAZIL', 'KENYA')"];

const PASSWORD: &str = "a password of the bench";

/// Prints a line for each query and condition: the medians of both, in milliseconds, and their ratio.
pub fn run(url: &str, rounds: usize) -> anyhow::Result<()> {
    let (mut logs, mut dearer) = (Vec::new(), Vec::new());
    let permissions = json!([{"resource": {"type": "DATASOURCE", "name": "lineorder_flat"}, "action": "READ"}]);
    let user = |name: &str, policies: Value| -> anyhow::Result<String> {
        let role = json!({"permissions": permissions, "policies": policies});
        put(url, &format!("/henge/v1/security/roles/{name}"), &role)?;
        put(url, &format!("/henge/v1/security/users/{name}"), &json!({"password": PASSWORD, "roles": [name]}))?;
        Ok(format!("Basic {}", STANDARD.encode(format!("{name}:{PASSWORD}"))))
    };
    let sees_all = user("bench_all", json!([]))?;
    for condition in CONDITIONS {
        let policies = json!([{"name": "bench", "datasource": "lineorder_flat", "sql": condition}]);
        let user = user("bench", policies)?;
        for (name, sql) in named(include_str!("../queries/ssb.sql")) {
            let by_hand = sql.replacen(" WHERE ", &format!(" WHERE {condition} AND "), 1);
            ensure!(by_hand != sql, "{name} has no WHERE");
            let (mut policed, mut written) = (Vec::new(), Vec::new());
            let mut answers = (String::new(), String::new());
            for round in 0..WARM_UP + rounds {
                let started = Instant::now();
                answers.0 = sql_text(url, &sql, &user)?;
                let policy = started.elapsed().as_secs_f64() * 1e3;
                let started = Instant::now();
                answers.1 = sql_text(url, &by_hand, &sees_all)?;
                let hand = started.elapsed().as_secs_f64() * 1e3;
                if round >= WARM_UP {
                    policed.push(policy);
                    written.push(hand);
                }
            }
            ensure!(answers.0 == answers.1, "{name} under {condition}: {} is not {}", answers.0, answers.1);
            let (policed, written) = (median(&mut policed), median(&mut written));
            let ratio = policed / written;
            println!("{name:6} {condition:52} policy {policed:8.2} ms, by hand {written:8.2} ms, ratio {ratio:.2}");
            logs.push(ratio.ln());
            if ratio > 1.1 {
                dearer.push(name);
            }
        }
    }
    println!("geometric mean of {} ratios: {:.3}", logs.len(), (logs.iter().sum::<f64>() / logs.len() as f64).exp());
    println!("a policy takes over 1.1 times as long in {}: {}", dearer.len(), dearer.join(" "));
    Ok(())
}

fn sql_text(url: &str, sql: &str, authorization: &str) -> anyhow::Result<String> {
    let request = ureq::post(format!("{url}/druid/v2/sql")).header("Authorization", authorization);
    let body = json!({"query": sql, "resultFormat": "array"});
    let mut reply = request.config().http_status_as_error(false).build().send_json(&body)?;
    let text = reply.body_mut().read_to_string()?;
    ensure!(reply.status().is_success(), "{sql}: {} {text}", reply.status());
    Ok(text)
}

fn put(url: &str, path: &str, body: &Value) -> anyhow::Result<()> {
    let mut reply = ureq::put(format!("{url}{path}")).config().http_status_as_error(false).build().send_json(body)?;
    let text = reply.body_mut().read_to_string()?;
    ensure!(reply.status().is_success(), "{path}: {} {text}", reply.status());
    Ok(())
}
