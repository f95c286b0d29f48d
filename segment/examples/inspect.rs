//! Looks at segment files: what each column takes, how its blocks are kept, how fast it is read.
//!
//! ```text
//! inspect FILE                         a line a column
//! inspect --build TABLE.tsv FILE       makes a file of a table: a first line of name:type fields (time, string, long,
//!                                      double), tab-separated values, an empty field for null
//! ```

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use henge_segment::aggregate::{Aggregate, AggregateKind, Input};
use henge_segment::block::{BLOCK_ROWS, Value};
use henge_segment::column::{Column, ColumnBuilder};
use henge_segment::file::layout::{Footer, Sections};
use henge_segment::merge::merge;
use henge_segment::schema::{DimensionSchema, Discovery, MultiValue, Schema, ValueType};
use henge_segment::segment::Provenance;
use henge_segment::{Granularity, Interval, Segment, SegmentId, file};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Outcome<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["--build", table, to] => build(Path::new(table), Path::new(to)),
        [path] => look(Path::new(path)),
        _ => Err("usage: inspect FILE, or inspect --build TABLE.tsv FILE".into()),
    }
}

fn id() -> SegmentId {
    SegmentId { datasource: "table".into(), interval: Interval::ETERNITY, version: "v".into(), partition: 0 }
}

fn look(path: &Path) -> Outcome<()> {
    let start = Instant::now();
    let segment = file::open(path, id())?;
    println!("{} rows, {} bytes, opened in {:?}", segment.rows(), segment.size_bytes(), start.elapsed());
    let bytes = std::fs::read(path)?;
    let at = bytes.len() - 32;
    let footer_at = u64::from_le_bytes(bytes[at..at + 8].try_into()?) as usize;
    let footer: Footer = serde_json::from_slice(&bytes[footer_at..at])?;
    let rows = segment.rows().max(1) as f64;
    for entry in &footer.columns {
        let start = Instant::now();
        let column = segment.column(&entry.name)?.ok_or("a listed column is missing")?;
        let opened = start.elapsed();
        let per_row = |section: u64| section as f64 / rows;
        let parts = match &entry.sections {
            Sections::Strings { dictionary, codes, index, lists, .. } => format!(
                "dictionary {:.2}, codes {:.2}, lists {:.2}, index {:.2}",
                per_row(dictionary.1),
                per_row(codes.1),
                per_row(lists.as_ref().map_or(0, |l| l.lengths.1 + l.starts.1)),
                per_row(index.map_or(0, |i| i.1))
            ),
            Sections::Numbers(section) | Sections::Complex(section) => format!("values {:.2}", per_row(section.1)),
        };
        let total: u64 = entry.sections.all().iter().map(|s| s.1).sum();
        println!(
            "{:16} {:7} {:6.2} B/row ({parts}), opened in {opened:?}",
            entry.name,
            entry.type_name,
            per_row(total)
        );
        println!("{:16} {}", "", speeds(column, segment.rows()));
    }
    println!("{:.2} B/row", bytes.len() as f64 / rows);
    Ok(())
}

fn speeds(column: &Column, rows: usize) -> String {
    let starts = || (0..rows).step_by(BLOCK_ROWS);
    let rate = |run: &mut dyn FnMut() -> usize| {
        let best = (0..15).map(|_| (Instant::now(), run()).0.elapsed()).min().unwrap_or_default();
        format!("{:.2} G/s", rows as f64 / best.as_secs_f64() / 1e9)
    };
    match column {
        Column::Dict(column) => {
            let mut out = vec![0u32; BLOCK_ROWS];
            let mut line = format!("{} codes", column.cardinality());
            if !column.is_multi() {
                let codes = rate(&mut || {
                    starts().for_each(|start| column.codes(start, &mut out[..BLOCK_ROWS.min(rows - start)]));
                    out[0] as usize
                });
                line += &format!(", codes {codes}");
            }
            let start = Instant::now();
            let (mut bytes, mut found) = (0, 0);
            column.scan_values(0..column.cardinality(), |_, _, texts| {
                bytes += texts.text.len();
                found += usize::from(texts.text.contains("special"));
            });
            line += &format!(", {bytes} bytes of text scanned in {:?} ({found} blocks hold a match)", start.elapsed());
            if let Some(bitmap) = column.cardinality().checked_sub(1).and_then(|last| column.bitmap(last / 2)) {
                let mut words = vec![0; rows.div_ceil(64)];
                let start = Instant::now();
                bitmap.or_into(&mut words);
                line += &format!(", {} rows from the index in {:?}", bitmap.count(), start.elapsed());
            }
            line
        }
        Column::Number(column) => {
            let mut forms: BTreeMap<&str, usize> = BTreeMap::new();
            starts().for_each(|start| *forms.entry(column.block_form(start / BLOCK_ROWS)).or_default() += 1);
            let mut doubles = vec![0.0; BLOCK_ROWS];
            let speed = rate(&mut || {
                starts().for_each(|start| column.doubles(start, &mut doubles[..BLOCK_ROWS.min(rows - start)]));
                doubles[0] as usize
            });
            let mut line = format!("{forms:?}, doubles {speed}");
            if column.value_type() == ValueType::Long {
                let mut longs = vec![0; BLOCK_ROWS];
                let speed = rate(&mut || {
                    starts().for_each(|start| column.longs(start, &mut longs[..BLOCK_ROWS.min(rows - start)]));
                    longs[0] as usize
                });
                line += &format!(", longs {speed}");
            }
            line
        }
        Column::Complex(column) => format!("{} values", column.rows()),
        Column::Document(column) => format!("{} distinct documents", column.texts().cardinality()),
    }
}

fn build(table: &Path, to: &Path) -> Outcome<()> {
    const PART_ROWS: usize = 1_000_000;
    let mut lines = BufReader::with_capacity(1 << 20, std::fs::File::open(table)?).lines();
    let header = lines.next().ok_or("an empty table")??;
    let fields: Vec<(String, String)> =
        header.split('\t').filter_map(|f| f.split_once(':')).map(|(n, t)| (n.into(), t.into())).collect();
    let strings = fields.iter().filter(|(_, t)| t == "string").map(|(name, _)| DimensionSchema {
        name: name.clone(),
        value_type: ValueType::String,
        multi_value: MultiValue::Array,
        indexed: true,
        auto: false,
    });
    let number = |t: &str| if t == "long" { ValueType::Long } else { ValueType::Double };
    let numbers = fields.iter().filter(|(_, t)| t == "long" || t == "double").map(|(name, t)| Aggregate {
        name: name.clone(),
        kind: AggregateKind::Sum { value_type: number(t), input: Input::Column(name.clone()) },
    });
    let schema = Schema {
        dimensions: strings.collect(),
        discovery: Discovery::None,
        exclusions: Vec::new(),
        metrics: numbers.collect(),
        rollup: false,
        query_granularity: Granularity::None,
    };
    let mut parts = Vec::new();
    let mut spent = std::time::Duration::ZERO;
    let mut rows = 0;
    loop {
        let mut builders: Vec<ColumnBuilder> = fields
            .iter()
            .map(|(_, t)| {
                ColumnBuilder::new(match t.as_str() {
                    "string" => ValueType::String,
                    "time" => ValueType::Long,
                    t => number(t),
                })
            })
            .collect();
        let mut taken = 0;
        for line in lines.by_ref().take(PART_ROWS) {
            let line = line?;
            for (field, builder) in line.split('\t').zip(&mut builders) {
                builder.push(&if field.is_empty() { Value::Null } else { Value::text(field) });
            }
            taken += 1;
        }
        if taken == 0 {
            break;
        }
        rows += taken;
        let (mut time, mut columns) = (None, Vec::new());
        for ((name, t), builder) in fields.iter().zip(builders) {
            match (t.as_str(), builder.finish()) {
                ("time", Column::Number(column)) => time = Some(column),
                (_, column) => columns.push((name.clone(), column)),
            }
        }
        let time = time.ok_or("a table needs a time")?;
        let provenance = Provenance { rollup: false, query_granularity: None, aggregates: Vec::new() };
        let part = Segment::from_parts(id(), time, columns, Vec::new(), Vec::new(), false, provenance);
        let path = to.with_extension(format!("{}.part", parts.len()));
        let start = Instant::now();
        merge(&[Arc::new(part)], &schema, &id(), &path)?;
        spent += start.elapsed();
        parts.push(path);
    }
    let start = Instant::now();
    let opened = parts.iter().map(|path| Ok(Arc::new(file::open(path, id())?))).collect::<Outcome<Vec<_>>>()?;
    merge(&opened, &schema, &id(), to)?;
    let merging = start.elapsed();
    parts.iter().try_for_each(std::fs::remove_file)?;
    let rate = |d: std::time::Duration| rows as f64 / d.as_secs_f64() / 1e6;
    println!(
        "{rows} rows: parts from memory {:.2} M rows/s, merge of files {:.2} M rows/s",
        rate(spent),
        rate(merging)
    );
    Ok(())
}
