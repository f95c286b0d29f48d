//! `POST /druid/indexer/v1/sampler`: what a spec would make of the first records of its input. Whoever asks needs the rights
//! that posting the spec needs, as it shows what the input holds.
//!
//! Beside what Druid answers: `numRowsRolledUp`, the rows that the spec's rollup would leave of those that are indexed.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::response::IntoResponse;
use axum::{Extension, Json};
use futures::StreamExt;
use ingest::sample::{Bounds, Sample, Sampled, SampledRow};
use ingest::spec::{BatchSpec, SupervisorSpec};
use query::language::response::{Format, respond};
use query::policy::{Action, Kind};
use query::{Authorizer, Broker, Budget, Principal, Settings};
use segment::Interval;
use segment::inventory::{Change, Inventory, Served};
use serde_json::{Map, Value, json};

use super::{json_body, secrets, supervisors, tasks};
use crate::auth::Caller;
use crate::http::auth::Need;
use crate::http::error::{Answered, Refusal};
use crate::http::routes::post;
use crate::http::{App, Route};

/// Druid's own bounds.
const ROWS_DEFAULT: u64 = 200;
const ROWS_MAX: u64 = 5_000;
const TIMEOUT_DEFAULT_MS: u64 = 10_000;
const TIMEOUT_MAX_MS: u64 = 15_000;

/// Of records in one sample.
const BYTES_MAX: u64 = 16 << 20;

const KINDS: [&str; 3] = ["kafka", "index", "index_parallel"];

pub fn routes() -> Vec<Route> {
    vec![post("/druid/indexer/v1/sampler".to_string(), Need::SignedIn, sample)]
}

async fn sample(State(app): State<Arc<App>>, Extension(caller): Extension<Caller>, body: Bytes) -> Answered {
    let mut document = json_body(&body)?;
    let bounds = bounds(&document["samplerConfig"])?;
    let kind = document["type"].as_str().unwrap_or_default().to_string();
    if !KINDS.contains(&kind.as_str()) {
        return Err(Refusal::invalid(format!("type: '{kind}' cannot be sampled; one of {}", KINDS.join(", "))));
    }
    if !document["spec"].is_object() {
        return Err(Refusal::invalid("spec is required: the spec whose input is to be sampled"));
    }
    if let Some(fields) = document.as_object_mut() {
        fields.remove("samplerConfig");
    }
    // Without a schema, what comes is shown as it is.
    if document["spec"]["dataSchema"].is_null() {
        document["spec"]["dataSchema"] = json!({
            "dataSource": "sample",
            "timestampSpec": {"column": "!!!_no_such_column_!!!", "missingValue": "1970-01-01T00:00:00Z"},
            "dimensionsSpec": {"useSchemaDiscovery": true},
        });
    }
    let (of, datasource, read) = match kind.as_str() {
        "kafka" => {
            let spec = SupervisorSpec::unresolved(&document)?;
            app.require(&caller, Kind::Datasource, &spec.data_schema.datasource, Action::Write)?;
            supervisors::require_stream(&app, &caller, &spec)?;
            // What is hidden in a spec stands for what that supervisor has, for those who may change it.
            let existing = app.coordinator.supervisor(&spec.id).ok();
            let existing = existing
                .filter(|known| app.may(&caller, Kind::Supervisor, &known.spec.datasource, Action::Write))
                .map(|known| known.spec.document);
            secrets::restore(&mut document, existing.as_ref())?;
            let spec = SupervisorSpec::from_json(&document)?;
            let (datasource, read) = (spec.data_schema.datasource.clone(), supervisors::source(&spec));
            (Sampled::Stream(spec), datasource, format!("kafka:{read}"))
        }
        _ => {
            let spec = BatchSpec::from_json(&document)?;
            let datasource = spec.data_schema.datasource.clone();
            app.require(&caller, Kind::Datasource, &datasource, Action::Write)?;
            tasks::require_sources(&app, &caller, &document)?;
            let read = document["spec"]["ioConfig"]["inputSource"]["type"].as_str().unwrap_or_default();
            (Sampled::Batch(spec), datasource, read.to_string())
        }
    };
    // Nothing else tells what was looked at: a sample leaves no document.
    crate::audit::note(|details| {
        details.object = Some(read);
        details.datasources = vec![datasource];
    });
    let sample = app.worker.sample(of, bounds, &app.identity.owner(&caller).key()).await?;
    Ok(Json(shown(sample, app.broker.settings()).await?).into_response())
}

fn bounds(config: &Value) -> Answered<Bounds> {
    let number = |name: &str, default: u64, most: u64| match &config[name] {
        Value::Null => Ok(default),
        given => match given.as_u64() {
            Some(number) if (1..=most).contains(&number) => Ok(number),
            _ => Err(Refusal::invalid(format!("samplerConfig.{name} must be a number from 1 to {most}, not {given}"))),
        },
    };
    if !(config.is_null() || config.is_object()) {
        return Err(Refusal::invalid("samplerConfig must be an object"));
    }
    let rows = number("numRows", ROWS_DEFAULT, ROWS_MAX)?;
    let time = match config["timeoutMs"].as_u64() {
        // As in Druid, no limit of the asker's own is the longest there is.
        Some(0) => TIMEOUT_MAX_MS,
        _ => number("timeoutMs", TIMEOUT_DEFAULT_MS, u64::MAX)?.min(TIMEOUT_MAX_MS),
    };
    let bytes = number("maxBytesInMemory", BYTES_MAX, u64::MAX)?.min(BYTES_MAX);
    Ok(Bounds { rows: rows as usize, bytes: bytes as usize, time: Duration::from_millis(time) })
}

/// The answer. The rows are read out of the index by a query, so that they look as they will when they are asked for.
async fn shown(sample: Sample, settings: &Settings) -> Answered<Value> {
    let inventory = Arc::new(Inventory::new());
    let datasource = sample.index.id().datasource.clone();
    inventory.apply(vec![Change::Serve(sample.index.id().clone(), Served::Realtime(sample.index.clone()))]);
    let broker = Broker::new(inventory, Settings { threads: 1, ..settings.clone() }, Authorizer::open());
    let who = Principal::new("sampler");
    let (columns, metrics) = {
        let (_, metrics) = broker.columns_by_role(&datasource, &who).unwrap_or_default();
        (broker.columns(&datasource, &who), metrics)
    };
    let parsed = parsed(&broker, &datasource, &who).await?;
    let indexed = parsed.len();
    let data = paired(sample.rows, parsed)?;
    let columns = columns.as_deref().map(Vec::as_slice).unwrap_or_default();
    let dimensions: Vec<Value> = columns
        .iter()
        .filter(|(name, ..)| name != segment::schema::TIME && !metrics.contains(name))
        .map(|(name, value_type, _)| dimension(name, &value_type.druid_name()))
        .collect();
    let signature: Vec<Value> =
        columns.iter().map(|(name, value_type, _)| json!({"name": name, "type": value_type.druid_name()})).collect();
    let mut answer = json!({
        "numRowsRead": data.len(),
        "numRowsIndexed": indexed,
        "logicalDimensions": dimensions,
        "physicalDimensions": dimensions,
        "logicalSegmentSchema": signature,
        "data": data,
    });
    if let Some(rows) = sample.rolled_up {
        answer["numRowsRolledUp"] = rows.into();
    }
    Ok(answer)
}

/// Each row of the input with what the index has of it. The index has its rows in the order of the input and without rollup: if
/// there are more or fewer, which is whose is not known.
fn paired(rows: Vec<SampledRow>, parsed: Vec<Value>) -> Answered<Vec<Value>> {
    let (indexed, found) = (rows.iter().filter(|row| row.indexed).count(), parsed.len());
    if indexed != found {
        let message = format!("the sample cannot be read: {indexed} rows were indexed, and {found} are found");
        return Err(Refusal::of_kind(segment::Kind::Bug, message));
    }
    let mut parsed = parsed.into_iter();
    let shown = rows.into_iter().map(|row| {
        let mut shown = Map::new();
        if let Some(input) = row.input {
            shown.insert("input".into(), input);
        }
        if let Some(parsed) = row.indexed.then(|| parsed.next()).flatten() {
            shown.insert("parsed".into(), parsed);
        }
        if let Some(error) = row.error {
            shown.insert("unparseable".into(), true.into());
            shown.insert("error".into(), error.into());
        }
        Value::Object(shown)
    });
    Ok(shown.collect())
}

/// The dimension of a spec that makes such a column.
fn dimension(name: &str, druid_type: &str) -> Value {
    match druid_type {
        "STRING" => json!({"type": "string", "name": name}),
        "LONG" | "DOUBLE" | "FLOAT" => json!({"type": druid_type.to_lowercase(), "name": name}),
        "COMPLEX<json>" => json!({"type": "json", "name": name}),
        other => json!({"type": "auto", "name": name, "castToType": other}),
    }
}

/// The rows of the index, in the order that they came.
async fn parsed(broker: &Broker, datasource: &str, who: &Principal) -> Answered<Vec<Value>> {
    let failed =
        |error: query::Error| Refusal::of_kind(segment::Kind::Bug, format!("the sample cannot be read: {error}"));
    let scan = json!({
        "queryType": "scan",
        "dataSource": datasource,
        "intervals": [Interval::ETERNITY.to_string()],
        "resultFormat": "list",
    });
    let query = broker.parse(&scan, who).map_err(failed)?;
    let budget = Budget::from_context(&Map::new(), broker.settings()).map_err(failed)?;
    let answer = broker.answer(query.clone(), who, budget).await.map_err(failed)?;
    let mut text = Vec::new();
    let mut chunks = respond(&query, answer, Format { pretty: false, time_as_long: true }).boxed();
    while let Some(chunk) = chunks.next().await {
        text.extend_from_slice(&chunk.map_err(failed)?);
    }
    let parts: Vec<Value> = serde_json::from_slice(&text)
        .map_err(|error| Refusal::of_kind(segment::Kind::Bug, format!("the sample cannot be read: {error}")))?;
    let events = parts.into_iter().flat_map(|mut part| match part["events"].take() {
        Value::Array(events) => events,
        _ => Vec::new(),
    });
    Ok(events.map(without_nulls).collect())
}

fn without_nulls(mut row: Value) -> Value {
    if let Some(fields) = row.as_object_mut() {
        fields.retain(|_, value| !value.is_null());
    }
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(n: i64, indexed: bool) -> SampledRow {
        SampledRow { input: Some(json!({"n": n})), indexed, error: (!indexed).then(|| "no time".to_string()) }
    }

    #[test]
    fn no_row_is_shown_with_what_another_becomes() {
        let rows = || vec![row(1, true), row(2, false), row(3, true)];
        let shown = paired(rows(), vec![json!({"v": 1}), json!({"v": 3})]).map_err(|_| ()).expect("as many");
        let expected = [
            json!({"input": {"n": 1}, "parsed": {"v": 1}}),
            json!({"input": {"n": 2}, "unparseable": true, "error": "no time"}),
            json!({"input": {"n": 3}, "parsed": {"v": 3}}),
        ];
        assert_eq!(shown, expected);
        for found in [vec![json!({"v": 3})], vec![json!({"v": 1}), json!({"v": 2}), json!({"v": 3})], Vec::new()] {
            assert!(paired(rows(), found.clone()).is_err(), "{found:?}");
        }
    }
}
