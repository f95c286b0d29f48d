//! The native query as data. Druid's JSON is read here by hand, so that an error names the path of the field that is
//! wrong; SQL builds the same structs directly. Fields that nobody knows are ignored, as Druid does.

use std::collections::BTreeSet;
use std::sync::Arc;

use segment::SegmentId;
use segment::aggregate::Aggregate;
use segment::filter::Filter;
use segment::time::{Granularity, Interval};

pub mod context;
pub mod datasource;
mod desugar;
pub mod dimension;
pub mod extraction;
pub mod failure;
pub mod fields;
pub mod having;
pub mod intervals;
pub mod join;
pub mod limit;
pub mod metadata;
pub mod parse;
pub mod post_aggregate;
pub mod response;
pub mod search;
mod sketch_post;
pub mod topn;
pub mod union;
pub mod virtual_column;
mod write;

pub use datasource::{DataSource, Inline};
pub use dimension::Dimension;
pub use having::Having;
pub use join::{Condition, Equality, Filtered, Join, Unnest};
pub use limit::{Limit, OrderBy};
pub use metadata::{AnalysisType, Bound, Columns, DataSourceMetadata, MergeStrategy, SegmentMetadata, TimeBoundary};
pub use post_aggregate::PostAggregate;
pub use search::{Search, SearchOrder};
pub use topn::Metric;
pub use union::Union;
pub use virtual_column::VirtualColumn;

/// Queries and sources may stand in each other this deep.
pub(crate) const DEPTH_MAX: usize = 16;

/// A native query.
#[derive(Debug, Clone)]
pub enum Query {
    Timeseries(Timeseries),
    TopN(TopN),
    GroupBy(GroupBy),
    Scan(Scan),
    Search(Search),
    TimeBoundary(TimeBoundary),
    SegmentMetadata(SegmentMetadata),
    DataSourceMetadata(DataSourceMetadata),
}

/// The rows a query is about.
#[derive(Debug, Clone)]
pub struct Scope {
    pub source: DataSource,
    /// Sorted, merged. Never empty by parsing, but may be: then no row is meant.
    pub intervals: Vec<Interval>,
    pub filter: Option<Filter>,
    pub virtual_columns: Arc<[VirtualColumn]>,
    /// Only the rows of this one, if there is one.
    pub segment: Option<SegmentId>,
}

#[derive(Debug, Clone)]
pub struct Timeseries {
    pub scope: Scope,
    pub granularity: Granularity,
    pub aggregates: Vec<Aggregate>,
    pub post_aggregates: Vec<PostAggregate>,
    pub descending: bool,
    /// Of buckets, after ordering.
    pub limit: Option<u64>,
    pub skip_empty_buckets: bool,
    pub grand_total: bool,
    /// Also put the bucket's start, as milliseconds, under this name.
    pub timestamp_result_field: Option<String>,
    /// Whether aggregates leave as finished values (else sketches leave as they are).
    pub finalize: bool,
}

#[derive(Debug, Clone)]
pub struct TopN {
    pub scope: Scope,
    pub granularity: Granularity,
    pub dimension: Dimension,
    pub metric: Metric,
    pub threshold: u64,
    pub aggregates: Vec<Aggregate>,
    pub post_aggregates: Vec<PostAggregate>,
    pub finalize: bool,
}

#[derive(Debug, Clone)]
pub struct GroupBy {
    pub scope: Scope,
    pub granularity: Granularity,
    pub dimensions: Vec<Dimension>,
    pub aggregates: Vec<Aggregate>,
    pub post_aggregates: Vec<PostAggregate>,
    pub having: Option<Having>,
    pub limit: Limit,
    /// Grouping sets as positions in `dimensions`; `None` is the one set of all dimensions.
    pub subtotals: Option<Vec<Vec<usize>>>,
    /// Also tell under this name of which set a row is: a bit for each dimension that the set lacks, the first dimension's
    /// the highest.
    pub grouping_id: Option<String>,
    /// Order by dimensions before time.
    pub sort_by_dims_first: bool,
    /// Whether a row counts for each of its values; else one of several values is an error.
    pub explode: bool,
    pub finalize: bool,
    /// Whether rows leave as arrays. A matter of the response only.
    pub result_as_array: bool,
}

#[derive(Debug, Clone)]
pub struct Scan {
    pub scope: Scope,
    /// Empty: all columns of each segment, then the virtual columns.
    pub columns: Vec<String>,
    pub format: ScanFormat,
    /// Rows in a batch at most; above 0.
    pub batch_size: usize,
    pub limit: Option<u64>,
    pub offset: u64,
    pub order: ScanOrder,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScanFormat {
    List,
    CompactedList,
}

/// By time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScanOrder {
    None,
    Ascending,
    Descending,
}

impl Query {
    pub fn scope(&self) -> &Scope {
        match self {
            Query::Timeseries(q) => &q.scope,
            Query::TopN(q) => &q.scope,
            Query::GroupBy(q) => &q.scope,
            Query::Scan(q) => &q.scope,
            Query::Search(q) => &q.scope,
            Query::TimeBoundary(q) => &q.scope,
            Query::SegmentMetadata(q) => &q.scope,
            Query::DataSourceMetadata(q) => &q.scope,
        }
    }

    pub fn scope_mut(&mut self) -> &mut Scope {
        match self {
            Query::Timeseries(q) => &mut q.scope,
            Query::TopN(q) => &mut q.scope,
            Query::GroupBy(q) => &mut q.scope,
            Query::Scan(q) => &mut q.scope,
            Query::Search(q) => &mut q.scope,
            Query::TimeBoundary(q) => &mut q.scope,
            Query::SegmentMetadata(q) => &mut q.scope,
            Query::DataSourceMetadata(q) => &mut q.scope,
        }
    }

    /// Druid's name of the query type.
    pub fn type_name(&self) -> &'static str {
        match self {
            Query::Timeseries(_) => "timeseries",
            Query::TopN(_) => "topN",
            Query::GroupBy(_) => "groupBy",
            Query::Scan(_) => "scan",
            Query::Search(_) => "search",
            Query::TimeBoundary(_) => "timeBoundary",
            Query::SegmentMetadata(_) => "segmentMetadata",
            Query::DataSourceMetadata(_) => "dataSourceMetadata",
        }
    }

    /// The columns it reads, virtual ones aside; `None` is every one.
    pub fn columns(&self) -> Option<BTreeSet<String>> {
        let mut read: BTreeSet<String> = BTreeSet::new();
        let mut add = |names: Vec<&str>| read.extend(names.into_iter().map(str::to_string));
        match self {
            Query::Timeseries(_) | Query::TimeBoundary(_) | Query::DataSourceMetadata(_) => {}
            Query::TopN(q) => add(vec![&q.dimension.column]),
            Query::GroupBy(q) => add(q.dimensions.iter().map(|d| d.column.as_str()).collect()),
            Query::Scan(q) if !q.columns.is_empty() => add(q.columns.iter().map(String::as_str).collect()),
            Query::Search(q) if !q.dimensions.is_empty() => {
                add(q.dimensions.iter().map(|d| d.column.as_str()).collect());
            }
            Query::Scan(_) | Query::Search(_) | Query::SegmentMetadata(_) => return None,
        }
        self.aggregates().iter().for_each(|aggregate| add(aggregate.columns()));
        self.scope().filter.iter().for_each(|filter| add(filter.columns()));
        self.scope().virtual_columns.iter().for_each(|column| add(column.expr.columns()));
        Some(read)
    }

    /// The aggregates of a group query, none of others.
    pub fn aggregates(&self) -> &[Aggregate] {
        match self {
            Query::Timeseries(q) => &q.aggregates,
            Query::TopN(q) => &q.aggregates,
            Query::GroupBy(q) => &q.aggregates,
            _ => &[],
        }
    }
}

impl Scope {
    /// All rows of a table, ready to be narrowed.
    pub fn table(name: impl Into<String>) -> Scope {
        Scope {
            source: DataSource::Table(name.into()),
            intervals: vec![Interval::ETERNITY],
            filter: None,
            virtual_columns: Arc::from([]),
            segment: None,
        }
    }
}
