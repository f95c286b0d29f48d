//! What is known about segments without folding rows: time boundaries and column analyses.

use std::collections::BTreeMap;
use std::sync::Arc;

use segment::block::{BLOCK_ROWS, Block, Value};
use segment::column::Column;
use segment::schema::{TIME, ValueType};
use segment::time::Granularity;
use segment::{Interval, Segment, SegmentId};
use serde::{Deserialize, Serialize};

use super::Piece;
use crate::budget::{Budget, Taken};
use crate::columns::Columns;
use crate::error::Result;
use crate::language::{self, AnalysisType, Bound, MergeStrategy, SegmentMetadata, TimeBoundary};
use crate::selection::{Scratch, Selected, Selector};
use crate::source::Made;
use crate::table::Table;

/// The analysis of a segment, or of several folded into one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Analysis {
    pub id: String,
    pub intervals: Option<Vec<Interval>>,
    pub columns: Vec<(String, ColumnAnalysis)>,
    pub size: u64,
    pub rows: u64,
    #[serde(with = "granularity")]
    pub query_granularity: Option<Granularity>,
    pub rollup: Option<bool>,
    /// Combining forms by name, in Druid's JSON.
    pub aggregators: Option<Vec<(String, serde_json::Value)>>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ColumnAnalysis {
    /// Druid's name of the type.
    pub type_name: String,
    pub multi: bool,
    pub nulls: bool,
    pub size: u64,
    pub cardinality: Option<u64>,
    pub min: Option<String>,
    pub max: Option<String>,
    /// What could not be merged.
    pub error: Option<String>,
}

/// The first and the last time as a row, as far as they were asked for.
pub fn boundary(query: &TimeBoundary, found: Option<(i64, i64)>) -> Table {
    let mut table = Table::default();
    let Some((first, last)) = found else {
        return table;
    };
    table.rows = 1;
    for (name, bound, time) in [("minTime", Bound::MinTime, first), ("maxTime", Bound::MaxTime, last)] {
        let asked = query.bound.is_none_or(|b| b == bound);
        let block = Block::Long { values: vec![time], nulls: (!asked).then(|| vec![true]) };
        table.columns.push((name.into(), ValueType::Long, block));
    }
    table
}

/// One row of `minTime` and `maxTime`, null where not asked for; no row if there are no rows.
pub fn time_boundary(query: &TimeBoundary, pieces: &[Piece], budget: &Budget) -> Result<Table> {
    Ok(boundary(query, times_of(query, pieces, budget)?))
}

/// First and last time of the rows of the pieces that the query is about.
pub fn times_of(query: &TimeBoundary, pieces: &[Piece], budget: &Budget) -> Result<Option<(i64, i64)>> {
    let mut found: Option<(i64, i64)> = None;
    for piece in pieces {
        budget.check()?;
        if let Some((first, last)) = bounds(query, piece, found, budget)? {
            found = Some(found.map_or((first, last), |(f, l)| (f.min(first), l.max(last))));
        }
    }
    Ok(found)
}

/// First and last time of the rows of a piece that the query is about.
fn bounds(
    query: &TimeBoundary,
    piece: &Piece,
    found: Option<(i64, i64)>,
    budget: &Budget,
) -> Result<Option<(i64, i64)>> {
    let Some((first, last)) = piece.time_range() else {
        return Ok(None);
    };
    if query.scope.filter.is_none() && are_within(&piece.intervals, first, last) {
        return Ok(Some((first, last)));
    }
    if found.is_some_and(|(f, l)| f <= first && last <= l) {
        return Ok(None);
    }
    let columns = piece.columns(query.scope.virtual_columns.clone());
    let selector = Selector::new(&columns, query.scope.filter.as_ref(), &piece.intervals)?;
    times_of_rows(&columns, &selector, budget)
}

/// Whether all between two times lies within one of the intervals.
fn are_within(intervals: &[Interval], first: i64, last: i64) -> bool {
    intervals.iter().any(|interval| interval.contains(first) && interval.contains(last))
}

/// First and last time of the rows of a piece within its intervals.
fn times_within(piece: &Piece, budget: &Budget) -> Result<Option<(i64, i64)>> {
    match piece.time_range() {
        Some((first, last)) if !are_within(&piece.intervals, first, last) => {
            let columns = piece.columns(Arc::from([]));
            times_of_rows(&columns, &Selector::new(&columns, None, &piece.intervals)?, budget)
        }
        times => Ok(times),
    }
}

/// First and last time of the selected rows.
fn times_of_rows(columns: &Columns, selector: &Selector, budget: &Budget) -> Result<Option<(i64, i64)>> {
    let time = columns.segment().time()?;
    let mut scratch = Scratch::default();
    let mut words = [0; BLOCK_ROWS / 64];
    let mut times = vec![0; BLOCK_ROWS];
    let mut result: Option<(i64, i64)> = None;
    for (start, len) in selector.blocks() {
        budget.check()?;
        let selected = selector.select(start, len, &mut scratch, &mut words)?;
        if selected == Selected::None {
            continue;
        }
        time.longs(start, &mut times[..len]);
        for row in 0..len {
            if selected == Selected::All || words[row / 64] >> (row % 64) & 1 == 1 {
                let t = times[row];
                result = Some(result.map_or((t, t), |(f, l)| (f.min(t), l.max(t))));
            }
        }
    }
    Ok(result)
}

/// One row of `maxIngestedEventTime`, or none.
pub fn datasource_metadata(pieces: &[Piece]) -> Table {
    last_time(pieces.iter().filter_map(|piece| Some(piece.time_range()?.1)).max())
}

/// The time of the newest row as a row.
pub fn last_time(last: Option<i64>) -> Table {
    let mut table = Table::default();
    if let Some(last) = last {
        let block = Block::Long { values: vec![last], nulls: None };
        table.columns.push(("maxIngestedEventTime".into(), ValueType::Long, block));
        table.rows = 1;
    }
    table
}

/// Without an interval of its own, a segmentMetadata query is about this much time before the newest segment's end.
const DEFAULT_HISTORY_MILLIS: i64 = 7 * 24 * 3600 * 1000;

/// One analysis a segment id, or one for all.
pub fn analyse(query: &SegmentMetadata, pieces: &[Piece], budget: &Arc<Budget>) -> Result<Vec<Analysis>> {
    let since = since(query, newest(pieces, budget)?);
    let datasource = pieces.first().map(|piece| piece.id.datasource.as_str()).unwrap_or_default();
    Ok(settled(query, datasource, analyse_each(query, pieces, since, budget)?))
}

/// When the newest of all that is told of ends, which is the segment's interval; where less than all is seen, it is the last
/// row that is.
pub fn newest(pieces: &[Piece], budget: &Budget) -> Result<Option<i64>> {
    let mut newest = None;
    for piece in pieces {
        newest = newest.max(match piece.is_restricted() {
            false => Some(piece.id.interval.end),
            true => times_within(piece, budget)?.map(|(_, last)| last.saturating_add(1)),
        });
    }
    Ok(newest)
}

/// What ends by then is left out; `newest` is where the newest ends.
pub fn since(query: &SegmentMetadata, newest: Option<i64>) -> i64 {
    match newest {
        Some(end) if query.default_interval => end.saturating_sub(DEFAULT_HISTORY_MILLIS),
        _ => i64::MIN,
    }
}

/// The analysis of one piece.
pub struct Analysed {
    pub id: SegmentId,
    pub restricted: bool,
    pub analysis: Analysis,
}

/// The analysis of each piece, but for those whose intervals end by then. Of a piece that is seen in part it is the analysis
/// of the rows that are, from then on and within the piece's intervals: where its segment begins and ends hangs on others.
pub fn analyse_each(
    query: &SegmentMetadata,
    pieces: &[Piece],
    since: i64,
    budget: &Arc<Budget>,
) -> Result<Vec<Analysed>> {
    let mut each = Vec::new();
    for piece in pieces.iter().filter(|piece| piece.is_restricted() || piece.id.interval.end > since) {
        budget.check()?;
        if let Some(analysis) = analyse_segment(query, piece, since, budget)? {
            each.push(Analysed { id: piece.id.clone(), restricted: piece.is_restricted(), analysis });
        }
    }
    Ok(each)
}

/// The analyses of pieces, in the pieces' order, as those of segments, or as one, which is named after a table.
pub fn settled(query: &SegmentMetadata, datasource: &str, each: Vec<Analysed>) -> Vec<Analysis> {
    let mut by_id: BTreeMap<(Interval, String), Analysis> = BTreeMap::new();
    for Analysed { id, restricted, analysis } in each {
        // Where less than all is seen, what all segments show is told as one.
        let interval = if restricted { Interval::ETERNITY } else { id.interval };
        let key = (interval, analysis.id.clone());
        let mut folded = match by_id.remove(&key) {
            // Several segments of one id are spills and memory of one realtime index.
            Some(other) => fold(query, other, analysis),
            None => analysis,
        };
        if let (true, Some(intervals)) = (restricted, &mut folded.intervals) {
            // In how many parts the rows lie is not told.
            let all = intervals
                .iter()
                .copied()
                .reduce(|a, b| Interval { start: a.start.min(b.start), end: a.end.max(b.end) });
            *intervals = all.into_iter().collect();
        }
        by_id.insert(key, folded);
    }
    let mut analyses = by_id.into_iter();
    if !query.merge {
        return analyses.map(|(_, analysis)| analysis).collect();
    }
    let Some(((mut interval, _), mut merged)) = analyses.next() else {
        return Vec::new();
    };
    for ((other_interval, _), other) in analyses {
        if other_interval.end >= interval.end {
            interval = other_interval;
        }
        merged = fold(query, merged, other);
        merged.id = format!(
            "{datasource}_{}_{}_merged",
            segment::time::format_timestamp(interval.start),
            segment::time::format_timestamp(interval.end)
        );
    }
    vec![merged]
}

/// `None` if not all of it is seen, and nothing from then on.
fn analyse_segment(
    query: &SegmentMetadata,
    piece: &Piece,
    since: i64,
    budget: &Arc<Budget>,
) -> Result<Option<Analysis>> {
    let made;
    let _held;
    let (segment, interval) = match piece.unrestricted() {
        Some(segment) => (segment, piece.id.interval),
        None => {
            (made, _held) = shown(piece, since, budget)?;
            let Some((first, last)) = made.time_range() else { return Ok(None) };
            (&made, Interval { start: first, end: last.saturating_add(1) })
        }
    };
    // In how many segments the rows lie would be told by the sum of their sizes.
    let sized = query.wants(AnalysisType::Size) && !piece.is_restricted();
    let provenance = piece.provenance();
    let named = piece.named_columns()?;
    let mut columns = Vec::new();
    for (name, value_type) in named.clone() {
        let included = match &query.columns {
            language::Columns::All => true,
            language::Columns::None => false,
            language::Columns::List(names) => names.contains(&name),
        };
        if included {
            let analysis = analyse_column(query, segment, &name, &value_type, sized)?;
            columns.push((name, analysis));
        }
    }
    let aggregators = || {
        let aggregates = provenance.aggregates.iter().map(|json| {
            let name = json.get("name").and_then(|n| n.as_str()).unwrap_or_default();
            (name.to_string(), json.clone())
        });
        aggregates.filter(|(name, _)| named.iter().any(|(n, _)| n == name)).collect()
    };
    Ok(Some(Analysis {
        id: piece.shown_id(),
        intervals: query.wants(AnalysisType::Interval).then(|| vec![interval]),
        size: if sized { columns.iter().map(|(_, c)| c.size).sum() } else { 0 },
        columns,
        rows: segment.rows() as u64,
        query_granularity: provenance.query_granularity.clone().filter(|_| query.wants(AnalysisType::QueryGranularity)),
        rollup: query.wants(AnalysisType::Rollup).then_some(provenance.rollup),
        // They name the columns that they read, which may not be there for the asker.
        aggregators: (query.wants(AnalysisType::Aggregators) && !piece.is_restricted()).then(aggregators),
    }))
}

/// The rows and columns of a piece that are seen, within its intervals and from then on, as a segment of their own.
fn shown(piece: &Piece, since: i64, budget: &Arc<Budget>) -> Result<(Arc<Segment>, Taken)> {
    let columns = piece.columns(Arc::from([]));
    let from = |interval: &Interval| Interval { start: interval.start.max(since), end: interval.end };
    let intervals: Vec<Interval> = piece.intervals.iter().map(from).filter(|interval| !interval.is_empty()).collect();
    let selector = Selector::new(&columns, None, &intervals)?;
    let named = piece.named_columns()?;
    let mut made = Made::new(budget)?;
    let mut scratch = Scratch::default();
    for (start, len) in selector.blocks() {
        budget.check()?;
        let rows = selector.rows_of(start, len, &mut scratch)?;
        if rows.is_empty() {
            continue;
        }
        let mut table = Table { rows: rows.len(), columns: Vec::new() };
        for (name, value_type) in &named {
            let block = columns.block(name, start, len)?;
            let block = match name == TIME {
                true => Block::Long { values: rows.iter().map(|row| time_of(&block, *row)).collect(), nulls: None },
                false => Block::Any { values: rows.iter().map(|row| block.value(*row)).collect() },
            };
            table.columns.push((name.clone(), value_type.clone(), block));
        }
        made.add(&table)?;
    }
    let (segment, taken) = made.finish();
    Ok((Arc::new(segment), taken))
}

fn time_of(block: &Block, row: usize) -> i64 {
    match block.value(row) {
        Value::Long(time) => time,
        _ => 0,
    }
}

/// Bytes of a number as text, by Druid's estimate.
const NUMBER_BYTES: u64 = 8;
const FLOAT_BYTES: u64 = 4;

fn analyse_column(
    query: &SegmentMetadata,
    segment: &Segment,
    name: &str,
    value_type: &ValueType,
    sized: bool,
) -> Result<ColumnAnalysis> {
    let mut analysis = ColumnAnalysis {
        type_name: value_type.druid_name(),
        multi: false,
        nulls: false,
        size: 0,
        cardinality: None,
        min: None,
        max: None,
        error: None,
    };
    let rows = segment.rows() as u64;
    if name == TIME {
        // Druid counts the time as ISO text without its zone.
        analysis.size = if sized { rows * 23 } else { 0 };
        return Ok(analysis);
    }
    match segment.column(name)? {
        None => {}
        Some(Column::Number(column)) => {
            analysis.nulls = column.has_nulls();
            let bytes = if *value_type == ValueType::Float { FLOAT_BYTES } else { NUMBER_BYTES };
            analysis.size = if sized { rows * bytes } else { 0 };
        }
        Some(Column::Complex(column)) => {
            analysis.nulls = (0..segment.rows()).any(|row| column.bytes(row).is_none());
            analysis.size = if sized { segment.column(name)?.map_or(0, Column::size_bytes) } else { 0 };
        }
        Some(Column::Document(column)) => {
            analysis.nulls = column.texts().null_code().is_some();
            analysis.size = if sized { column.texts().size_bytes() } else { 0 };
        }
        Some(Column::Dict(column)) => {
            analysis.multi = column.is_multi();
            analysis.nulls = column.null_code().is_some();
            let wants_cardinality = query.wants(AnalysisType::Cardinality);
            analysis.cardinality = Some(if wants_cardinality { u64::from(column.cardinality()) } else { 0 });
            if query.wants(AnalysisType::MinMax) {
                let values = (0..column.cardinality()).filter_map(|code| column.value(code));
                let (min, max) = values.fold((None, None), |(min, max): (Option<&str>, Option<&str>), v| {
                    (Some(min.map_or(v, |m| m.min(v))), Some(max.map_or(v, |m| m.max(v))))
                });
                (analysis.min, analysis.max) = (min.map(str::to_string), max.map(str::to_string));
            }
            if sized {
                for code in 0..column.cardinality() {
                    let bytes = column.value(code).map_or(0, |v| v.len() as u64);
                    let held = column.bitmap(code).map_or(1, |bitmap| bitmap.count());
                    analysis.size += bytes * held;
                }
            }
        }
    }
    Ok(analysis)
}

/// Two analyses as one; `newer` gives the order of the columns.
fn fold(query: &SegmentMetadata, older: Analysis, newer: Analysis) -> Analysis {
    let mut columns = newer.columns;
    for (name, column) in older.columns {
        match columns.iter_mut().find(|(n, _)| *n == name) {
            Some((_, other)) => *other = fold_column(column, other.clone()),
            None => columns.push((name, column)),
        }
    }
    let intervals = match (older.intervals, newer.intervals) {
        (Some(mut a), Some(b)) => {
            a.extend(b);
            Some(Interval::merge(&a))
        }
        _ => None,
    };
    Analysis {
        id: newer.id,
        intervals,
        columns,
        size: older.size + newer.size,
        rows: older.rows + newer.rows,
        query_granularity: older.query_granularity.filter(|g| newer.query_granularity.as_ref() == Some(g)),
        rollup: older.rollup.filter(|r| newer.rollup == Some(*r)),
        aggregators: fold_aggregators(query.merge_strategy, older.aggregators, newer.aggregators),
    }
}

fn fold_column(a: ColumnAnalysis, b: ColumnAnalysis) -> ColumnAnalysis {
    if a.error.is_some() {
        return a;
    }
    if b.error.is_some() {
        return b;
    }
    if a.type_name != b.type_name {
        return ColumnAnalysis {
            type_name: "STRING".into(),
            multi: false,
            nulls: false,
            size: 0,
            cardinality: None,
            min: None,
            max: None,
            error: Some(format!("error:cannot_merge_diff_types: [{}] and [{}]", a.type_name, b.type_name)),
        };
    }
    ColumnAnalysis {
        type_name: b.type_name,
        multi: a.multi || b.multi,
        nulls: a.nulls || b.nulls,
        size: a.size + b.size,
        cardinality: a.cardinality.max(b.cardinality),
        min: match (a.min, b.min) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        },
        max: a.max.max(b.max),
        error: None,
    }
}

/// A granularity as its JSON.
mod granularity {
    use segment::time::Granularity;
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
    use serde_json::Value as Json;

    pub fn serialize<S: Serializer>(granularity: &Option<Granularity>, to: S) -> Result<S::Ok, S::Error> {
        granularity.as_ref().map(Granularity::to_json).serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Granularity>, D::Error> {
        let json = Option::<Json>::deserialize(from)?;
        json.map(|json| Granularity::from_json(&json).map_err(D::Error::custom)).transpose()
    }
}

type Aggregators = Option<Vec<(String, serde_json::Value)>>;

fn fold_aggregators(strategy: MergeStrategy, older: Aggregators, newer: Aggregators) -> Aggregators {
    match strategy {
        MergeStrategy::Strict => older.filter(|older| newer.as_ref() == Some(older)),
        MergeStrategy::Earliest => older.or(newer),
        MergeStrategy::Latest => newer.or(older),
        MergeStrategy::Lenient => {
            let (mut all, newer) = (older.unwrap_or_default(), newer.unwrap_or_default());
            for (name, json) in newer {
                match all.iter_mut().find(|(n, _)| *n == name) {
                    Some((_, known)) if *known != json => *known = serde_json::Value::Null,
                    Some(_) => {}
                    None => all.push((name, json)),
                }
            }
            (!all.is_empty()).then_some(all)
        }
    }
}
