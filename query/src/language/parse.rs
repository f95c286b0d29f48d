//! From Druid's JSON to a [`Query`].

use std::collections::HashSet;
use std::sync::Arc;

use segment::Interval;
use segment::aggregate::Aggregate;
use segment::filter::Filter;
use segment::schema::TIME;
use segment::time::Granularity;
use serde_json::Value as Json;

use super::context::Context;
use super::desugar::desugar;
use super::fields::Fields;
use super::metadata::{DataSourceMetadata, SegmentMetadata, TimeBoundary};
use super::{
    DEPTH_MAX, DataSource, Dimension, GroupBy, Having, Limit, Metric, PostAggregate, Query, Scan, ScanFormat,
    ScanOrder, Scope, Search, Timeseries, TopN, VirtualColumn, intervals,
};
use crate::error::{Error, Result};

const KNOWN: &str = "timeseries, topN, groupBy, scan, search, timeBoundary, segmentMetadata, dataSourceMetadata, \
                     union";

/// Rows in an element of a scan's answer, if the query does not say.
pub const BATCH_ROWS: u64 = 20480;

impl Query {
    /// Reads a query. What stands in its `context` for the budget is read by `Budget::from_context`.
    pub fn from_json(json: &Json) -> Result<Query> {
        Query::parse(json, "", 0)
    }

    pub(crate) fn parse(json: &Json, path: &str, depth: usize) -> Result<Query> {
        if depth > DEPTH_MAX {
            return Err(Error::Parse(format!("{path}: queries may be nested {DEPTH_MAX} deep")));
        }
        let plainer = desugar(json, path)?;
        let json = plainer.as_ref().unwrap_or(json);
        let fields = Fields::of(json, path)?;
        let context = Context::of(json)?;
        if context.flag("bySegment")?.unwrap_or(false) {
            return Err(Error::Unsupported(
                "context.bySegment: is not supported here; it is for native queries over tables, not within others"
                    .into(),
            ));
        }
        let finalize = context.flag("finalize")?.unwrap_or(depth == 0);
        let kind = fields.need_text("queryType")?;
        match kind {
            "timeseries" => timeseries(&fields, context, finalize, depth).map(Query::Timeseries),
            "topN" => topn(&fields, finalize, depth).map(Query::TopN),
            "groupBy" => groupby(&fields, context, finalize, depth).map(Query::GroupBy),
            "scan" => scan(&fields, depth).map(Query::Scan),
            "search" => {
                let granularity = match fields.get("granularity") {
                    None => Granularity::All,
                    Some(_) => granularity(&fields)?,
                };
                Search::from_fields(&fields, scope(&fields, true, depth)?, granularity).map(Query::Search)
            }
            "timeBoundary" => {
                TimeBoundary::from_fields(&fields, scope(&fields, false, depth)?).map(Query::TimeBoundary)
            }
            "segmentMetadata" => {
                let scope = scope(&fields, false, depth)?;
                if !scope.source.is_stored() {
                    return Err(fields.wrong("dataSource", "must be a table or a union of tables for segmentMetadata"));
                }
                SegmentMetadata::from_fields(&fields, scope).map(Query::SegmentMetadata)
            }
            "dataSourceMetadata" => {
                let scope = scope(&fields, false, depth)?;
                Ok(Query::DataSourceMetadata(DataSourceMetadata { scope }))
            }
            "union" => Err(Error::Unsupported(format!(
                "{}: a union stands alone, not within another query; use the data source [union] there",
                fields.at("queryType")
            ))),
            "windowOperator" | "movingAverage" => Err(Error::Unsupported(format!(
                "{}: query type [{kind}] is not supported; use one of {KNOWN}",
                fields.at("queryType")
            ))),
            "select" => Err(Error::Unsupported(format!(
                "{}: query type [select] was removed from Druid; use scan",
                fields.at("queryType")
            ))),
            other => Err(fields.wrong("queryType", format_args!("unknown query type [{other}]; use one of {KNOWN}"))),
        }
    }
}

fn scope(fields: &Fields, needs_intervals: bool, depth: usize) -> Result<Scope> {
    let source = DataSource::from_json(fields.need("dataSource")?, &fields.at("dataSource"), depth)?;
    let intervals = match fields.get("intervals") {
        Some(json) => intervals::from_json(json, &fields.at("intervals"))?,
        None if needs_intervals => {
            return Err(fields.wrong("intervals", "is required, like [\"2013-01-01/2014-01-01\"]"));
        }
        None => vec![Interval::ETERNITY],
    };
    let filter = match fields.get("filter") {
        None => None,
        Some(json) => Some(Filter::from_json(json, &fields.at("filter")).map_err(parse_error)?),
    };
    let virtual_columns: Vec<VirtualColumn> = each(fields, "virtualColumns", VirtualColumn::from_json)?;
    check_virtual_columns(fields, &virtual_columns)?;
    Ok(Scope { source, intervals, filter, virtual_columns: Arc::from(virtual_columns), segment: None })
}

/// Names are unique and no column is made of itself.
fn check_virtual_columns(fields: &Fields, columns: &[VirtualColumn]) -> Result<()> {
    let mut names = HashSet::new();
    for column in columns {
        if !names.insert(column.name.as_str()) {
            return Err(fields.wrong("virtualColumns", format_args!("[{}] is there twice", column.name)));
        }
    }
    // A column is settled once all virtual columns it reads, but for itself (then the real one is meant), are.
    let mut settled: HashSet<&str> = HashSet::new();
    loop {
        let before = settled.len();
        for column in columns {
            let ready = column
                .expr
                .columns()
                .iter()
                .all(|read| *read == column.name || !names.contains(read) || settled.contains(read));
            if ready {
                settled.insert(&column.name);
            }
        }
        if settled.len() == columns.len() {
            return Ok(());
        }
        if settled.len() == before {
            return Err(fields.wrong("virtualColumns", "some are made of each other in a circle"));
        }
    }
}

fn timeseries(fields: &Fields, context: Context, finalize: bool, depth: usize) -> Result<Timeseries> {
    let scope = scope(fields, true, depth)?;
    let (aggregates, post_aggregates) = aggregates(fields, &[])?;
    Ok(Timeseries {
        granularity: granularity(fields)?,
        aggregates,
        post_aggregates,
        descending: fields.flag("descending")?.unwrap_or(false),
        limit: fields.count("limit")?.filter(|limit| *limit > 0),
        skip_empty_buckets: context.flag("skipEmptyBuckets")?.unwrap_or(false),
        grand_total: context.flag("grandTotal")?.unwrap_or(false),
        timestamp_result_field: context.text("timestampResultField")?.map(str::to_string),
        finalize,
        scope,
    })
}

fn topn(fields: &Fields, finalize: bool, depth: usize) -> Result<TopN> {
    let scope = scope(fields, true, depth)?;
    let dimension = Dimension::from_json(fields.need("dimension")?, &fields.at("dimension"))?;
    let metric = Metric::from_json(fields.need("metric")?, &fields.at("metric"))?;
    let threshold = fields
        .count("threshold")?
        .filter(|threshold| *threshold > 0)
        .ok_or_else(|| fields.wrong("threshold", "must be above 0"))?;
    let (aggregates, post_aggregates) = aggregates(fields, std::slice::from_ref(&dimension))?;
    let mut ranked = &metric;
    while let Metric::Inverted(inner) = ranked {
        ranked = inner;
    }
    if let Metric::Numeric(name) = ranked {
        let known = aggregates.iter().any(|a| a.name == *name) || post_aggregates.iter().any(|p| p.name() == name);
        if !known {
            return Err(fields.wrong("metric", format_args!("[{name}] must name an aggregation or a post-aggregation")));
        }
    }
    Ok(TopN {
        granularity: granularity(fields)?,
        dimension,
        metric,
        threshold,
        aggregates,
        post_aggregates,
        finalize,
        scope,
    })
}

fn groupby(fields: &Fields, context: Context, finalize: bool, depth: usize) -> Result<GroupBy> {
    let scope = scope(fields, true, depth)?;
    let dimensions = each(fields, "dimensions", Dimension::from_json)?;
    let (aggregates, post_aggregates) = aggregates(fields, &dimensions)?;
    let having = match fields.get("having") {
        None => None,
        Some(json) => Some(Having::from_json(json, &fields.at("having"))?),
    };
    let limit = match fields.get("limitSpec") {
        None => Limit::default(),
        Some(json) => Limit::from_json(json, &fields.at("limitSpec"))?,
    };
    let mut outputs: HashSet<&str> = dimensions.iter().map(|d| d.output.as_str()).collect();
    outputs.extend(aggregates.iter().map(|a| a.name.as_str()));
    outputs.extend(post_aggregates.iter().map(|p| p.name()));
    for (i, column) in limit.columns.iter().enumerate() {
        if !outputs.contains(column.column.as_str()) && column.column != TIME {
            return Err(fields.wrong(
                "limitSpec",
                format_args!("columns[{i}]: [{}] is no dimension, aggregation or post-aggregation", column.column),
            ));
        }
    }
    Ok(GroupBy {
        granularity: granularity(fields)?,
        subtotals: subtotals(fields, &dimensions)?,
        grouping_id: None,
        dimensions,
        aggregates,
        post_aggregates,
        having,
        limit,
        explode: context.flag("groupByEnableMultiValueUnnesting")?.unwrap_or(true),
        sort_by_dims_first: context.flag("sortByDimsFirst")?.unwrap_or(false),
        finalize,
        result_as_array: context.flag("resultAsArray")?.unwrap_or(false),
        scope,
    })
}

fn subtotals(fields: &Fields, dimensions: &[Dimension]) -> Result<Option<Vec<Vec<usize>>>> {
    if fields.get("subtotalsSpec").is_none() {
        return Ok(None);
    }
    let mut sets = Vec::new();
    for (i, set) in fields.list("subtotalsSpec")?.iter().enumerate() {
        let names = set
            .as_array()
            .ok_or_else(|| fields.wrong("subtotalsSpec", format_args!("[{i}] must be a list of dimensions")))?;
        let mut positions = Vec::new();
        for name in names {
            let position = name
                .as_str()
                .and_then(|name| dimensions.iter().position(|d| d.output == name))
                .ok_or_else(|| fields.wrong("subtotalsSpec", format_args!("[{i}] names no dimension of the query")))?;
            positions.push(position);
        }
        sets.push(positions);
    }
    Ok((!sets.is_empty()).then_some(sets))
}

fn scan(fields: &Fields, depth: usize) -> Result<Scan> {
    let scope = scope(fields, true, depth)?;
    let columns = fields.texts("columns")?;
    let format = match fields.text("resultFormat")? {
        None => ScanFormat::List,
        Some(text) => match text.to_ascii_lowercase().as_str() {
            "list" => ScanFormat::List,
            "compactedlist" => ScanFormat::CompactedList,
            "valuevector" => {
                return Err(Error::Unsupported(
                    "resultFormat: valueVector is not supported; use list or compactedList".into(),
                ));
            }
            _ => return Err(fields.wrong("resultFormat", "must be list or compactedList")),
        },
    };
    let mut order = direction(fields, "order", fields.text("order")?)?;
    for (i, by) in fields.list("orderBy")?.iter().enumerate() {
        let path = format!("{}[{i}]", fields.at("orderBy"));
        let by = Fields::of(by, &path)?;
        if by.need_text("columnName")? != TIME || i > 0 {
            return Err(Error::Unsupported(format!(
                "{path}: a scan can be ordered by __time only; use groupBy or SQL"
            )));
        }
        order = direction(&by, "order", by.text("order")?)?;
    }
    if order != ScanOrder::None && !columns.is_empty() && !columns.iter().any(|c| c == TIME) {
        return Err(fields.wrong("columns", "must hold __time when the scan is ordered by time"));
    }
    let batch_size = fields.count("batchSize")?.unwrap_or(BATCH_ROWS);
    if batch_size == 0 {
        return Err(fields.wrong("batchSize", "must be above 0"));
    }
    Ok(Scan {
        scope,
        columns,
        format,
        batch_size: batch_size.min(i32::MAX as u64) as usize,
        limit: fields.count("limit")?.filter(|limit| *limit > 0),
        offset: fields.count("offset")?.unwrap_or(0),
        order,
    })
}

fn direction(fields: &Fields, name: &str, text: Option<&str>) -> Result<ScanOrder> {
    match text.map(str::to_ascii_lowercase).as_deref() {
        None | Some("none") => Ok(ScanOrder::None),
        Some("ascending") => Ok(ScanOrder::Ascending),
        Some("descending") => Ok(ScanOrder::Descending),
        Some(_) => Err(fields.wrong(name, "must be none, ascending or descending")),
    }
}

fn granularity(fields: &Fields) -> Result<Granularity> {
    let json = fields
        .get("granularity")
        .ok_or_else(|| fields.wrong("granularity", "must specify a granularity, like \"all\" or \"hour\""))?;
    Granularity::from_json(json).map_err(|error| fields.wrong("granularity", error))
}

/// Aggregates and post-aggregates; their names and the dimensions' are unique and none is `__time`.
fn aggregates(fields: &Fields, dimensions: &[Dimension]) -> Result<(Vec<Aggregate>, Vec<PostAggregate>)> {
    let aggregates = each(fields, "aggregations", |json, path| Aggregate::from_json(json, path).map_err(parse_error))?;
    let post_aggregates = each(fields, "postAggregations", PostAggregate::from_json)?;
    let mut names = HashSet::new();
    let outputs = dimensions
        .iter()
        .map(|d| ("dimensions", d.output.as_str()))
        .chain(aggregates.iter().map(|a| ("aggregations", a.name.as_str())))
        .chain(post_aggregates.iter().map(|p| ("postAggregations", p.name())));
    for (field, name) in outputs {
        if name == TIME {
            return Err(fields.wrong(field, "no output may be named __time"));
        }
        if !names.insert(name) {
            return Err(fields.wrong(field, format_args!("[{name}] is the name of two outputs")));
        }
    }
    Ok((aggregates, post_aggregates))
}

fn each<T>(fields: &Fields, name: &str, read: impl Fn(&Json, &str) -> Result<T>) -> Result<Vec<T>> {
    fields.list(name)?.iter().enumerate().map(|(i, json)| read(json, &format!("{}[{i}]", fields.at(name)))).collect()
}

/// What the ground calls invalid is, while the query is read, a matter of parsing.
pub(crate) fn parse_error(error: segment::Error) -> Error {
    match Error::from(error) {
        Error::Invalid(text) => Error::Parse(text),
        other => other,
    }
}
