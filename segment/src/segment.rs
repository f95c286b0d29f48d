//! An immutable, queryable table of rows: from a file or from a snapshot of a realtime index; readers cannot tell.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use crate::block::Value;
use crate::column::{Column, ColumnBuilder, NumberColumn};
use crate::error::{Error, Result};
use crate::meta::SegmentId;
use crate::schema::{Schema, TIME, ValueType};
use crate::time::Granularity;

/// Columns are opened (and a file's are checked) when first asked for; decoding an open column cannot fail.
pub struct Segment {
    id: SegmentId,
    rows: usize,
    time_range: Option<(i64, i64)>,
    time_sorted: bool,
    /// The columns that rows are ordered by, as far as is known.
    order: Vec<String>,
    /// `__time`, then the dimensions, then the metrics.
    slots: Vec<Slot>,
    by_name: hashbrown::HashMap<String, usize, foldhash::fast::FixedState>,
    dimensions: Vec<String>,
    metrics: Vec<String>,
    provenance: Provenance,
    size_bytes: u64,
    fingerprint: Option<u128>,
    broken: Arc<AtomicBool>,
}

/// What the segment says of how it was made.
#[derive(Debug, Clone)]
pub struct Provenance {
    pub rollup: bool,
    pub query_granularity: Option<Granularity>,
    /// The metrics' aggregates in Druid's JSON, combining form.
    pub aggregates: Vec<serde_json::Value>,
}

/// A column that may not be open yet.
struct Slot {
    name: String,
    value_type: ValueType,
    multi: bool,
    column: OnceLock<Result<Column, String>>,
    open: Option<Opener>,
}

/// Opens a column of a file and checks it; the error says what is wrong with it.
pub(crate) type Opener = Box<dyn Fn() -> Result<Column, String> + Send + Sync>;

/// A column of a file, not open yet.
pub(crate) struct FileColumn {
    pub name: String,
    pub value_type: ValueType,
    pub multi: bool,
    pub open: Opener,
}

/// What a file says of its segment.
pub(crate) struct FileParts {
    pub rows: usize,
    pub time_range: Option<(i64, i64)>,
    /// `__time` first.
    pub columns: Vec<FileColumn>,
    pub dimensions: Vec<String>,
    pub metrics: Vec<String>,
    pub provenance: Provenance,
    pub order: Vec<String>,
    pub size_bytes: u64,
    pub fingerprint: u128,
}

impl Segment {
    /// A segment of memory columns. `columns` holds the dimensions, then the metrics, all with as many rows as `time`.
    pub fn from_parts(
        id: SegmentId,
        time: NumberColumn,
        columns: Vec<(String, Column)>,
        dimensions: Vec<String>,
        metrics: Vec<String>,
        time_sorted: bool,
        provenance: Provenance,
    ) -> Segment {
        let rows = time.rows();
        let time_range = time.long_range();
        let columns = std::iter::once((TIME.to_string(), Column::Number(time))).chain(columns);
        let mut size_bytes = 0;
        let slot = |(name, column): (String, Column)| {
            assert_eq!(column.rows(), rows, "column {name} is not as long as the time column");
            size_bytes += column.size_bytes();
            let multi = matches!(&column, Column::Dict(dict) if dict.is_multi());
            Slot { name, value_type: column.value_type(), multi, column: OnceLock::from(Ok(column)), open: None }
        };
        let slots: Vec<Slot> = columns.map(slot).collect();
        let by_name = slots.iter().enumerate().map(|(i, s)| (s.name.clone(), i)).collect();
        Segment {
            id,
            rows,
            time_range,
            time_sorted,
            order: Vec::new(),
            slots,
            by_name,
            dimensions,
            metrics,
            provenance,
            size_bytes,
            fingerprint: None,
            broken: Arc::default(),
        }
    }

    pub(crate) fn from_file(id: SegmentId, parts: FileParts) -> Segment {
        let slot = |FileColumn { name, value_type, multi, open }| Slot {
            name,
            value_type,
            multi,
            column: OnceLock::new(),
            open: Some(open),
        };
        let slots: Vec<Slot> = parts.columns.into_iter().map(slot).collect();
        let by_name = slots.iter().enumerate().map(|(i, s)| (s.name.clone(), i)).collect();
        Segment {
            id,
            rows: parts.rows,
            time_range: parts.time_range,
            time_sorted: true,
            order: parts.order,
            slots,
            by_name,
            dimensions: parts.dimensions,
            metrics: parts.metrics,
            provenance: parts.provenance,
            size_bytes: parts.size_bytes,
            fingerprint: Some(parts.fingerprint),
            broken: Arc::default(),
        }
    }

    /// A memory segment of rows as they stand, without rollup: for inline data and tests. A field that no dimension or
    /// metric names is left out; metrics are given by their own name, already aggregated.
    pub fn from_rows(id: SegmentId, schema: &Schema, rows: &[(i64, Vec<(&str, Value)>)]) -> Segment {
        let dimensions = schema.dimensions.iter().map(|d| (d.name.clone(), d.value_type.clone()));
        let metrics = schema.metrics.iter().map(|m| (m.name.clone(), m.stored_type()));
        let mut time = ColumnBuilder::new(ValueType::Long);
        rows.iter().for_each(|(t, _)| time.push(&Value::Long(*t)));
        let build = |(name, value_type): (String, ValueType)| {
            let mut builder = ColumnBuilder::new(value_type);
            for (_, fields) in rows {
                let value = fields.iter().find(|(field, _)| *field == name).map_or(&Value::Null, |(_, v)| v);
                builder.push(value);
            }
            (name, builder.finish())
        };
        let columns = dimensions.chain(metrics).map(build).collect();
        let Column::Number(time) = time.finish() else { unreachable!("longs make a number column") };
        Segment::from_parts(
            id,
            time,
            columns,
            schema.dimensions.iter().map(|d| d.name.clone()).collect(),
            schema.metrics.iter().map(|m| m.name.clone()).collect(),
            rows.is_sorted_by_key(|(t, _)| *t),
            Provenance {
                rollup: schema.rollup,
                query_granularity: Some(schema.query_granularity.clone()),
                aggregates: schema.metrics.iter().map(|m| m.combining().to_json()).collect(),
            },
        )
    }

    pub fn id(&self) -> &SegmentId {
        &self.id
    }

    /// Of a file: a checksum of its footer, which has the checksums of all that is in the file. `None` of rows in memory.
    pub fn fingerprint(&self) -> Option<u128> {
        self.fingerprint
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Smallest and largest time of the rows, inclusive; `None` if it has no rows.
    pub fn time_range(&self) -> Option<(i64, i64)> {
        self.time_range
    }

    /// Whether rows stand in time order (files: always; realtime rows: as they came).
    pub fn is_time_sorted(&self) -> bool {
        self.time_sorted
    }

    /// The columns that rows are ordered by, most significant first; empty if that is not known.
    pub fn order(&self) -> &[String] {
        &self.order
    }

    pub fn time(&self) -> Result<&NumberColumn> {
        match self.open(&self.slots[0])? {
            Column::Number(time) => Ok(time),
            _ => Err(Error::corrupt(format!("segment {}: column {TIME} is not of longs", self.id))),
        }
    }

    /// `Ok(None)`: there is no such column. `Corrupt` if its bytes are not what was written.
    pub fn column(&self, name: &str) -> Result<Option<&Column>> {
        match self.by_name.get(name) {
            Some(slot) => self.open(&self.slots[*slot]).map(Some),
            None => Ok(None),
        }
    }

    /// Names and types, `__time` first, then dimensions, then metrics, without opening them.
    pub fn columns(&self) -> Vec<(String, ValueType)> {
        self.slots.iter().map(|s| (s.name.clone(), s.value_type.clone())).collect()
    }

    /// Whether a column holds lists of strings, without opening it.
    pub fn is_multi(&self, name: &str) -> bool {
        self.by_name.get(name).is_some_and(|slot| self.slots[*slot].multi)
    }

    pub fn dimensions(&self) -> &[String] {
        &self.dimensions
    }

    pub fn metrics(&self) -> &[String] {
        &self.metrics
    }

    /// Bytes it holds in memory or on disk.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    pub fn provenance(&self) -> &Provenance {
        &self.provenance
    }

    /// Whether a column was asked for whose bytes are not those that were written, or its file was found to be another one
    /// by reading it as a whole. It stays so; a whole copy must be opened.
    pub fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Relaxed)
    }

    /// What [`Segment::is_broken`] tells; whoever keeps the file learns by it what readers met, and tells what it found.
    pub(crate) fn broken(&self) -> Arc<AtomicBool> {
        self.broken.clone()
    }

    fn open<'a>(&self, slot: &'a Slot) -> Result<&'a Column> {
        let open = || slot.open.as_ref().map_or_else(|| Err("column without bytes".into()), |open| open());
        let column = slot.column.get_or_init(open);
        column.as_ref().map_err(|text| {
            self.broken.store(true, Ordering::Relaxed);
            Error::corrupt(format!("segment {}: {text}", self.id))
        })
    }
}

/// What an id stands for in a process: usually one segment, for a realtime index several (spills and memory).
pub type Segments = Vec<Arc<Segment>>;
