//! Batch tasks against a ledger in memory: what is published is what was in the input.

use std::collections::BTreeMap;

use async_trait::async_trait;
use proptest::prelude::*;
use segment::block::Value;
use segment::inventory::Inventory;
use segment::storage::deep::DeepStorage;
use serde_json::{Value as Json, json};
use tempfile::TempDir;

use super::*;
use crate::fail::FailPoints;
use crate::ledger::Ledger;

/// Grants every wish; remembers publications.
#[derive(Default)]
struct MemoryLedger {
    published: Mutex<Vec<Publication>>,
    /// Answered instead of the ids at the first publication.
    rename_once: Mutex<bool>,
}

#[async_trait]
impl Ledger for MemoryLedger {
    async fn positions(&self, _: &str) -> Result<Positions> {
        Ok(Positions::default())
    }

    async fn allocate(&self, what: &Allocation) -> Result<SegmentId> {
        let version = if what.fresh_version { "v2" } else { "v1" };
        Ok(SegmentId {
            datasource: what.datasource.clone(),
            interval: what.interval,
            version: version.into(),
            partition: what.index,
        })
    }

    async fn announce(&self, _ids: &[SegmentId]) -> Result<()> {
        Ok(())
    }

    async fn publish(&self, what: &Publication) -> Result<Vec<SegmentId>> {
        let ids = what.segments.iter().map(|s| s.id.clone());
        if std::mem::take(&mut *self.rename_once.lock()) {
            return Ok(ids.map(|id| SegmentId { version: "v3".into(), ..id }).collect());
        }
        self.published.lock().push(what.clone());
        Ok(ids.collect())
    }

    async fn is_served(&self, _: &SegmentId) -> Result<bool> {
        Ok(true)
    }
}

pub(super) struct Bench {
    folder: TempDir,
    ledger: Arc<MemoryLedger>,
    ports: Ports,
    pub(super) settings: Settings,
    pub(super) progress: Arc<Progress>,
}

impl Bench {
    pub(super) fn new() -> Bench {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Arc::new(MemoryLedger::default());
        let deep = DeepStorage::local(&folder.path().join("deep")).unwrap();
        let ports = Ports {
            ledger: ledger.clone(),
            inventory: Arc::new(Inventory::new()),
            deep,
            journals: Vec::new(),
            steps: crate::steps::untold(),
        };
        let settings = Settings {
            folder: folder.path().join("tasks"),
            clock: Arc::new(|| 0),
            bytes_in_memory_default: 64 << 20,
            sources: Default::default(),
            http: Default::default(),
            fail_points: FailPoints::none(),
            spread: false,
        };
        Bench { folder, ledger, ports, settings, progress: Arc::default() }
    }

    pub(super) fn run(&self, spec: Json) -> Result<()> {
        let spec = BatchSpec::from_json(&spec)?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let (ports, settings, progress) = (self.ports.clone(), self.settings.clone(), self.progress.clone());
        runtime.block_on(run("task".into(), 1, spec, ports, settings, progress))
    }

    fn publication(&self) -> Publication {
        self.ledger.published.lock().last().cloned().expect("something was published")
    }

    /// All published rows as (time, columns), sorted by their debug form.
    pub(super) fn rows(&self) -> Vec<(i64, BTreeMap<String, Value>)> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let mut rows = Vec::new();
        for meta in self.publication().segments {
            let path = self.folder.path().join("pulled.seg");
            runtime.block_on(self.ports.deep.pull(&meta, &path)).unwrap();
            let segment = segment::file::open(&path, meta.id.clone()).unwrap();
            assert_eq!(segment.rows() as u64, meta.rows);
            let mut times = vec![0; segment.rows()];
            segment.time().unwrap().longs(0, &mut times);
            let mut all: Vec<(i64, BTreeMap<String, Value>)> =
                times.into_iter().map(|t| (t, BTreeMap::new())).collect();
            for name in segment.dimensions().iter().chain(segment.metrics()) {
                let column = segment.column(name).unwrap().expect("a listed column is there");
                for (row, (time, columns)) in all.iter_mut().enumerate() {
                    assert!(meta.id.interval.contains(*time));
                    let value = column.block(row, 1).value(0);
                    if !value.is_null() {
                        columns.insert(name.clone(), value);
                    }
                }
            }
            rows.extend(all);
            std::fs::remove_file(&path).unwrap();
        }
        rows.sort_by_cached_key(|row| format!("{row:?}"));
        rows
    }
}

pub(super) fn spec(rollup: bool, source: Json, format: Json) -> Json {
    json!({"type": "index_parallel", "spec": {
        "dataSchema": {
            "dataSource": "d",
            "timestampSpec": {"column": "t", "format": "millis"},
            "dimensionsSpec": {"dimensions": ["k"]},
            "metricsSpec": [{"type": "longSum", "name": "v", "fieldName": "v"}],
            "granularitySpec": {"segmentGranularity": "HOUR", "queryGranularity": if rollup {"HOUR"} else {"NONE"}, "rollup": rollup}
        },
        "ioConfig": {"type": "index_parallel", "inputSource": source, "inputFormat": format},
        "tuningConfig": {"type": "index_parallel"}
    }})
}

fn inline(data: &str) -> Json {
    json!({"type": "inline", "data": data})
}

pub(super) fn row(time: i64, key: &str, value: i64) -> (i64, BTreeMap<String, Value>) {
    let columns = [("k".to_string(), Value::text(key)), ("v".to_string(), Value::Long(value))];
    (time, columns.into_iter().collect())
}

const HOUR: i64 = 3_600_000;

#[test]
fn rows_are_published_at_once_and_problems_reported() {
    let bench = Bench::new();
    let data = r#"{"t":1,"k":"a","v":1}
{"t":2,"k":"b","v":2}
not json
{"k":"no time"}
{"t":3600000,"k":"c","v":3}"#;
    bench.run(spec(false, inline(data), json!({"type": "json"}))).unwrap();
    assert_eq!(bench.rows(), [row(1, "a", 1), row(2, "b", 2), row(HOUR, "c", 3)]);
    let publication = bench.publication();
    assert_eq!(publication.segments.len(), 2);
    assert_eq!(publication.mode, PublishMode::Replace { intervals: vec![Interval { start: 0, end: 2 * HOUR }] });
    let told = bench.progress.told();
    assert_eq!((told.rows.processed, told.rows.unparseable, told.segments_published), (3, 2, 2));
    assert_eq!(told.problems[0].input, "not json");
    assert_eq!(told.problems[1].reason, "no timestamp: the column t is missing or null");
    assert!(!bench.settings.folder.join("batch/task").exists());
}

#[test]
fn rollup_joins_rows() {
    let bench = Bench::new();
    let data = r#"{"t":1,"k":"a","v":1}{"t":2,"k":"a","v":2}{"t":3,"k":"b","v":4}"#;
    bench.run(spec(true, inline(data), json!({"type": "json"}))).unwrap();
    assert_eq!(bench.rows(), [row(0, "a", 3), row(0, "b", 4)]);
}

#[test]
fn segments_have_no_more_rows_than_asked() {
    let bench = Bench::new();
    let lines: Vec<String> = (0..10).map(|i| format!(r#"{{"t":{i},"k":"a","v":{i}}}"#)).collect();
    let mut spec = spec(false, inline(&lines.join("\n")), json!({"type": "json"}));
    spec["spec"]["tuningConfig"]["partitionsSpec"] = json!({"type": "dynamic", "maxRowsPerSegment": 3});
    spec["spec"]["ioConfig"]["appendToExisting"] = json!(true);
    bench.run(spec).unwrap();
    let publication = bench.publication();
    assert_eq!(publication.segments.iter().map(|s| s.rows).collect::<Vec<_>>(), [3, 3, 3, 1]);
    assert_eq!(publication.segments.iter().map(|s| s.id.partition).collect::<Vec<_>>(), [0, 1, 2, 3]);
    assert_eq!(publication.mode, PublishMode::Append);
    assert_eq!(bench.rows().len(), 10);
}

#[test]
fn rows_outside_the_intervals_are_thrown_away_and_what_was_there_is_dropped() {
    let bench = Bench::new();
    let data = r#"{"t":1,"k":"a","v":1}{"t":7200000,"k":"b","v":2}"#;
    let mut spec = spec(false, inline(data), json!({"type": "json"}));
    spec["spec"]["dataSchema"]["granularitySpec"]["intervals"] = json!(["1970-01-01T02:00/1970-01-01T05:00"]);
    spec["spec"]["ioConfig"]["dropExisting"] = json!(true);
    bench.run(spec).unwrap();
    assert_eq!(bench.rows(), [row(2 * HOUR, "b", 2)]);
    let replaced = Interval { start: 2 * HOUR, end: 5 * HOUR };
    assert_eq!(bench.publication().mode, PublishMode::Replace { intervals: vec![replaced] });
    assert_eq!(bench.progress.told().rows.thrown_away.late, 1);
}

#[test]
fn versions_that_moved_are_followed() {
    let bench = Bench::new();
    *bench.ledger.rename_once.lock() = true;
    bench.run(spec(false, inline(r#"{"t":1,"k":"a","v":1}"#), json!({"type": "json"}))).unwrap();
    assert_eq!(bench.publication().segments[0].id.version, "v3");
    assert_eq!(bench.rows(), [row(1, "a", 1)]);
}

#[test]
fn too_many_bad_rows_a_missing_file_and_a_cancel_fail_the_task() {
    let bench = Bench::new();
    let mut strict = spec(false, inline("{}\n{}\n{}"), json!({"type": "json"}));
    strict["spec"]["tuningConfig"]["maxParseExceptions"] = json!(2);
    assert!(
        bench.run(strict).unwrap_err().to_string().starts_with("more than maxParseExceptions rows could not be parsed")
    );
    let bench = Bench::new();
    let missing = json!({"type": "local", "files": ["/no/such/file.json"]});
    let error = bench.run(spec(false, missing, json!({"type": "json"}))).unwrap_err();
    assert_eq!(error.to_string(), "there is no file /no/such/file.json");
    let bench = Bench::new();
    bench.progress.cancel();
    let error = bench.run(spec(false, inline(r#"{"t":1}"#), json!({"type": "json"}))).unwrap_err();
    assert_eq!(error.to_string(), "the task was cancelled");
    assert!(bench.ledger.published.lock().is_empty());
}

#[test]
fn parquet_columns_become_fields() {
    use arrow::array::{
        ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int32Array, ListBuilder, StringArray,
        StringBuilder, TimestampMicrosecondArray,
    };
    use arrow::record_batch::RecordBatch;

    let bench = Bench::new();
    let mut tags = ListBuilder::new(StringBuilder::new());
    tags.append_value([Some("y"), Some("x")]);
    tags.append_null();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("t", Arc::new(TimestampMicrosecondArray::from(vec![1_000_500, 2_000_000]))),
        ("text", Arc::new(StringArray::from(vec![Some("a"), None]))),
        ("day", Arc::new(Date32Array::from(vec![1, 2]))),
        ("when", Arc::new(TimestampMicrosecondArray::from(vec![5_000, 6_000]))),
        ("n", Arc::new(Int32Array::from(vec![Some(7), None]))),
        ("f", Arc::new(Float64Array::from(vec![0.5, 1.5]))),
        ("b", Arc::new(BooleanArray::from(vec![true, false]))),
        ("price", Arc::new(Decimal128Array::from(vec![1234, 5]).with_precision_and_scale(10, 2).unwrap())),
        ("tags", Arc::new(tags.finish())),
        ("unused", Arc::new(StringArray::from(vec!["u", "u"]))),
    ];
    let records = RecordBatch::try_from_iter(columns).unwrap();
    let path = bench.folder.path().join("input.parquet");
    let file = std::fs::File::create(&path).unwrap();
    let mut writer = parquet::arrow::ArrowWriter::try_new(file, records.schema(), None).unwrap();
    writer.write(&records).unwrap();
    writer.close().unwrap();

    let mut spec = spec(false, json!({"type": "local", "files": [path]}), json!({"type": "parquet"}));
    spec["spec"]["dataSchema"]["metricsSpec"] = json!([]);
    spec["spec"]["dataSchema"]["dimensionsSpec"] = json!({"dimensions": ["text", "day", {"type": "long", "name": "when"},
        {"type": "long", "name": "n"}, {"type": "double", "name": "f"}, "b", {"type": "double", "name": "price"}, "tags"]});
    bench.run(spec).unwrap();
    let expected = |time: i64, all: Vec<(&str, Value)>| {
        (time, all.into_iter().map(|(n, v)| (n.to_string(), v)).collect::<BTreeMap<String, Value>>())
    };
    let tags = Value::List(vec![Value::text("x"), Value::text("y")]);
    assert_eq!(
        bench.rows(),
        [
            expected(
                1000,
                vec![
                    ("text", Value::text("a")),
                    ("day", Value::text("1970-01-02")),
                    ("when", Value::Long(5)),
                    ("n", Value::Long(7)),
                    ("f", Value::Double(0.5)),
                    ("b", Value::text("true")),
                    ("price", Value::Double(12.34)),
                    ("tags", tags),
                ]
            ),
            expected(
                2000,
                vec![
                    ("day", Value::text("1970-01-03")),
                    ("when", Value::Long(6)),
                    ("f", Value::Double(1.5)),
                    ("b", Value::text("false")),
                    ("price", Value::Double(0.05)),
                ]
            ),
        ]
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever the bounds, spills and files: each row is published once.
    #[test]
    fn every_row_is_published_once(
        rows in prop::collection::vec((0i64..4 * HOUR, 0u8..5, -9i64..9), 1..200),
        rows_in_memory in 1usize..50,
        per_segment in 1usize..60,
        files in 1usize..4,
        rollup in any::<bool>(),
    ) {
        let bench = Bench::new();
        let input = bench.folder.path().join("input");
        std::fs::create_dir(&input).unwrap();
        for (i, part) in rows.chunks(rows.len().div_ceil(files)).enumerate() {
            let lines: String = part.iter().map(|(t, k, v)| format!("{t},k{k},{v}\n")).collect();
            std::fs::write(input.join(format!("{i}.csv")), lines).unwrap();
        }
        let source = json!({"type": "local", "baseDir": input, "filter": "*.csv"});
        let mut spec = spec(rollup, source, json!({"type": "csv", "columns": ["t", "k", "v"]}));
        spec["spec"]["tuningConfig"]["maxRowsInMemory"] = json!(rows_in_memory);
        spec["spec"]["tuningConfig"]["maxRowsPerSegment"] = json!(per_segment);
        bench.run(spec).map_err(|e| TestCaseError::fail(e.to_string()))?;
        let sums = |rows: &mut dyn Iterator<Item = (i64, String, i64)>| {
            let mut sums: BTreeMap<(i64, String), i64> = BTreeMap::new();
            for (time, key, value) in rows {
                *sums.entry((if rollup { time - time % HOUR } else { time }, key)).or_default() += value;
            }
            sums
        };
        let expected = sums(&mut rows.iter().map(|(t, k, v)| (*t, format!("k{k}"), *v)));
        let found = bench.rows();
        let text = |value: &Value| match value { Value::Text(text) => text.to_string(), other => format!("{other:?}") };
        let long = |value: &Value| match value { Value::Long(n) => *n, _ => i64::MIN };
        let published = sums(&mut found.iter().map(|(t, c)| (*t, text(&c["k"]), long(&c["v"]))));
        prop_assert_eq!(published, expected);
        if !rollup {
            prop_assert_eq!(found.len(), rows.len());
            prop_assert!(bench.publication().segments.iter().all(|s| s.rows <= per_segment as u64));
        }
    }
}

#[test]
fn packed_files_are_read_whole() {
    use std::io::Write;
    let bench = Bench::new();
    let path = bench.folder.path().join("input.json.gz");
    let mut packer = flate2::write::GzEncoder::new(std::fs::File::create(&path).unwrap(), Default::default());
    packer.write_all(b"{\"t\":1,\"k\":\"a\",\"v\":1}\n{\"t\":2,\"k\":\"b\",\"v\":2}\n").unwrap();
    packer.finish().unwrap();
    let source = json!({"type": "local", "files": [path]});
    bench.run(spec(false, source, json!({"type": "json"}))).unwrap();
    assert_eq!(bench.rows(), [row(1, "a", 1), row(2, "b", 2)]);
}

#[test]
fn coordinates_become_a_point() {
    let bench = Bench::new();
    let data = r#"{"t":1,"lat":"52.5","lon":13.4,"at":[1,-2.5],"p":"3,4"}
{"t":2,"lat":"north","lon":13.4,"at":7,"p":"3;4"}
{"t":3,"lon":13.4,"p":"1e1, 2"}"#;
    let mut spec = spec(false, inline(data), json!({"type": "json"}));
    let schema = &mut spec["spec"]["dataSchema"];
    schema["metricsSpec"] = json!([]);
    schema["dimensionsSpec"] = json!({
        "dimensions": [{"type": "spatial", "name": "place", "dims": ["lat", "lon"]}, {"type": "spatial", "name": "p"}, "lon"],
        "spatialDimensions": [{"dimName": "old", "dims": ["at"]}]
    });
    bench.run(spec).unwrap();
    let expected = |time: i64, all: &[(&str, &str)]| {
        (time, all.iter().map(|(n, v)| (n.to_string(), Value::text(v))).collect::<BTreeMap<String, Value>>())
    };
    assert_eq!(
        bench.rows(),
        [
            expected(1, &[("lon", "13.4"), ("old", "1,-2.5"), ("p", "3,4"), ("place", "52.5,13.4")]),
            expected(2, &[("lon", "13.4"), ("old", "7")]),
            expected(3, &[("lon", "13.4")]),
        ]
    );
}
