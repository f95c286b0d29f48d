//! From a byte buffer to queryable rows on one core: each step apart, then all, in events per second of the thread's own
//! CPU time (which other programs' use of the machine hardly moves).

use std::hint::black_box;

use anyhow::Context;
use ingest::parse::{Parser, Record};
use ingest::spec::{DataSchema, InputFormat};
use ingest::transform::Transform;
use jiter::Jiter;
use segment::realtime::RealtimeIndex;
use segment::row::RowBatch;
use segment::{Interval, SegmentId};
use serde_json::json;

use crate::generate;

/// Events that are parsed before they are appended.
const BATCH: usize = 2048;

pub fn run(count: usize) -> anyhow::Result<()> {
    let bytes = generate::events(count);
    let events: Vec<&[u8]> = bytes.split(|b| *b == b'\n').filter(|line| !line.is_empty()).collect();
    println!("{count} events of {:.1} bytes", bytes.len() as f64 / count as f64);

    for round in 0..3 {
        let jiter = measured(|| {
            for event in &events {
                Jiter::new(event).next_skip().expect("generated events are JSON");
                black_box(());
            }
        })?;
        let mut ignored = Vec::new();
        let schema = DataSchema::from_json(&generate::data_schema("bench"), "dataSchema", &mut ignored)?;
        let format = InputFormat::from_json(&json!({"type": "json"}), "inputFormat", &mut ignored)?;
        let parse = measured(|| {
            let mut parser = Parser::new(&schema, &format).expect("a JSON parser");
            let mut batch = RowBatch::new();
            for chunk in events.chunks(BATCH) {
                batch.clear();
                for event in chunk {
                    parser.parse(&Record::of(event), &mut batch).expect("generated events parse");
                }
                black_box(&batch);
            }
        })?;
        let folder = tempfile::tempdir()?;
        let id =
            SegmentId { datasource: "bench".into(), interval: Interval::ETERNITY, version: "v".into(), partition: 0 };
        let index = RealtimeIndex::new(id, schema.schema(), folder.path().into(), Vec::new())?;
        let queryable = measured(|| {
            let mut parser = Parser::new(&schema, &format).expect("a JSON parser");
            let transform = Transform::new(&schema);
            let mut batch = RowBatch::new();
            let mut keep = Vec::new();
            for chunk in events.chunks(BATCH) {
                batch.clear();
                for event in chunk {
                    parser.parse(&Record::of(event), &mut batch).expect("generated events parse");
                }
                keep.clear();
                transform.apply(&mut batch, &mut keep);
                index.append(&batch, &keep).expect("rows fit");
            }
            black_box(index.snapshot());
        })?;
        let rows: usize = index.snapshot().iter().map(|s| s.rows()).sum();
        anyhow::ensure!(rows == count, "{rows} rows of {count} events");
        let rate = |seconds: f64| count as f64 / seconds / 1e6;
        println!(
            "round {round}: jiter skips {:.2} M/s, bytes to batch {:.2} M/s, bytes to queryable {:.2} M/s a core, {} B/row in memory",
            rate(jiter),
            rate(parse),
            rate(queryable),
            index.bytes_in_memory() / count
        );
    }
    Ok(())
}

/// CPU seconds that this thread spends in `work`.
fn measured(work: impl FnOnce()) -> anyhow::Result<f64> {
    let before = cpu_nanos()?;
    work();
    Ok((cpu_nanos()? - before) as f64 / 1e9)
}

fn cpu_nanos() -> anyhow::Result<u64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    Ok(text.split_whitespace().next().context("schedstat")?.parse()?)
}
