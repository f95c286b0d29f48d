//! From a [`Query`] to Druid's JSON, as far as data nodes are asked: which rows, how they are grouped, folded, listed or found.
//! What becomes of groups once they are whole (having, order, limit, post-aggregates) stays where they are made whole.

use segment::filter;
use segment::schema::ValueType;
use segment::time::Granularity;
use serde_json::{Map, Value as Json, json};

use super::dimension::Keep;
use super::extraction::Extraction;
use super::parse::BATCH_ROWS;
use super::{
    AnalysisType, Bound, Columns, DataSource, Dimension, Limit, MergeStrategy, Metric, Query, ScanOrder, Scope,
    VirtualColumn,
};

impl Query {
    /// The query as a node is asked which has some of its rows: no row of the whole's answer can be told from a part, so that
    /// nothing is left out but rows of a scan that stand behind the whole's last one.
    pub fn for_nodes(&self) -> Query {
        let mut query = self.clone();
        match &mut query {
            Query::Timeseries(q) => {
                q.post_aggregates.clear();
                (q.limit, q.grand_total, q.timestamp_result_field) = (None, false, None);
            }
            Query::TopN(q) => {
                q.post_aggregates.clear();
                q.metric = Metric::Dimension { ordering: None, previous_stop: None };
                q.threshold = 1;
            }
            Query::GroupBy(q) => {
                q.post_aggregates.clear();
                q.limit = Limit::default();
                (q.having, q.subtotals, q.grouping_id) = (None, None, None);
            }
            Query::Scan(q) => {
                q.limit = q.limit.map(|limit| limit.saturating_add(q.offset));
                q.offset = 0;
                q.batch_size = q.batch_size.min(BATCH_ROWS as usize);
            }
            Query::SegmentMetadata(q) => (q.merge, q.default_interval) = (false, false),
            Query::Search(_) | Query::TimeBoundary(_) | Query::DataSourceMetadata(_) => {}
        }
        query
    }

    /// JSON that [`Query::from_json`] reads to the same query, of one that is for nodes ([`Query::for_nodes`]) and about tables.
    /// Lookups of dimensions stand in it as they are; expressions name theirs.
    pub fn to_json(&self) -> Json {
        let mut map = Map::new();
        map.insert("queryType".into(), self.type_name().into());
        put_scope(&mut map, self.scope());
        let mut put = |name: &str, value: Json| map.insert(name.to_string(), value);
        let aggregates = || self.aggregates().iter().map(|aggregate| aggregate.to_json()).collect::<Vec<Json>>();
        let dimensions = |dimensions: &[Dimension]| dimensions.iter().map(Dimension::to_json).collect::<Vec<Json>>();
        let granularity = |granularity: &Granularity| granularity.to_json();
        match self {
            Query::Timeseries(q) => {
                put("granularity", granularity(&q.granularity));
                put("aggregations", aggregates().into());
                put("context", json!({"skipEmptyBuckets": q.skip_empty_buckets}));
            }
            Query::TopN(q) => {
                put("granularity", granularity(&q.granularity));
                put("dimension", q.dimension.to_json());
                put("metric", json!({"type": "dimension"}));
                put("threshold", q.threshold.into());
                put("aggregations", aggregates().into());
            }
            Query::GroupBy(q) => {
                put("granularity", granularity(&q.granularity));
                put("dimensions", dimensions(&q.dimensions).into());
                put("aggregations", aggregates().into());
                put("context", json!({"groupByEnableMultiValueUnnesting": q.explode}));
            }
            Query::Scan(q) => {
                put("columns", json!(q.columns));
                put("batchSize", q.batch_size.into());
                put("resultFormat", "compactedList".into());
                put("limit", json!(q.limit));
                put("offset", q.offset.into());
                put("order", order_name(q.order).into());
            }
            Query::Search(q) => {
                put("granularity", granularity(&q.granularity));
                put("searchDimensions", dimensions(&q.dimensions).into());
                put("query", search_to_json(&q.query));
            }
            Query::TimeBoundary(q) => {
                let bound = q.bound.map(|bound| match bound {
                    Bound::MinTime => "minTime",
                    Bound::MaxTime => "maxTime",
                });
                put("bound", json!(bound));
            }
            Query::SegmentMetadata(q) => {
                put(
                    "toInclude",
                    match &q.columns {
                        Columns::All => json!({"type": "all"}),
                        Columns::None => json!({"type": "none"}),
                        Columns::List(columns) => json!({"type": "list", "columns": columns}),
                    },
                );
                let types: Vec<&str> = q.analysis_types.iter().map(|one| analysis_name(*one)).collect();
                put("analysisTypes", json!(types));
                put("merge", q.merge.into());
                put("usingDefaultInterval", q.default_interval.into());
                put("aggregatorMergeStrategy", strategy_name(q.merge_strategy).into());
            }
            Query::DataSourceMetadata(_) => {}
        }
        Json::Object(map)
    }
}

fn put_scope(map: &mut Map<String, Json>, scope: &Scope) {
    map.insert("dataSource".into(), source_to_json(&scope.source));
    let intervals: Vec<String> = scope.intervals.iter().map(|interval| interval.to_string()).collect();
    map.insert("intervals".into(), json!(intervals));
    if let Some(filter) = &scope.filter {
        map.insert("filter".into(), filter.to_json());
    }
    if !scope.virtual_columns.is_empty() {
        map.insert("virtualColumns".into(), scope.virtual_columns.iter().map(VirtualColumn::to_json).collect());
    }
}

/// Tables, and unions of them; nodes are asked about nothing else.
fn source_to_json(source: &DataSource) -> Json {
    match source.tables().as_slice() {
        [one] => json!({"type": "table", "name": one}),
        many => json!({"type": "union", "dataSources": many}),
    }
}

impl VirtualColumn {
    pub fn to_json(&self) -> Json {
        match &self.among {
            Some(among) => json!({"type": "fallback", "name": self.name, "columns": **among}),
            None => json!({
                "type": "expression", "name": self.name, "expression": self.expr.to_string(),
                "outputType": self.output_type.as_ref().map(ValueType::druid_name),
            }),
        }
    }
}

impl Dimension {
    pub fn to_json(&self) -> Json {
        let mut json = json!({
            "type": "default", "dimension": self.column, "outputName": self.output,
            "outputType": self.output_type.druid_name(),
        });
        if let Some(extraction) = &self.extraction {
            json["type"] = "extraction".into();
            json["extractionFn"] = extraction.to_json();
        }
        for keep in &self.keep {
            json = match keep {
                Keep::List { values, allow } => {
                    json!({"type": "listFiltered", "delegate": json, "values": values, "isWhitelist": allow})
                }
                Keep::Regex(regex) => {
                    let whole = regex.as_str();
                    let inner = whole.strip_prefix("^(?:").and_then(|rest| rest.strip_suffix(")$")).unwrap_or(whole);
                    json!({"type": "regexFiltered", "delegate": json, "pattern": inner})
                }
                Keep::Prefix(prefix) => json!({"type": "prefixFiltered", "delegate": json, "prefix": prefix}),
            };
        }
        json
    }
}

impl Extraction {
    pub fn to_json(&self) -> Json {
        match self {
            Extraction::Identity => json!({"type": "identity"}),
            Extraction::Regex { pattern, group, missing } => json!({
                "type": "regex", "expr": pattern.as_str(), "index": group, "replaceMissingValue": missing.is_some(),
                "replaceMissingValueWith": missing.clone().flatten(),
            }),
            Extraction::Partial(pattern) => json!({"type": "partial", "expr": pattern.as_str()}),
            Extraction::SearchQuery(search) => json!({"type": "searchQuery", "query": search_to_json(search)}),
            Extraction::Substring { index, length } => json!({"type": "substring", "index": index, "length": length}),
            Extraction::Strlen => json!({"type": "strlen"}),
            Extraction::Upper => json!({"type": "upper"}),
            Extraction::Lower => json!({"type": "lower"}),
            Extraction::Map { map, missing } => {
                let entry =
                    |(key, value): (&std::sync::Arc<str>, &std::sync::Arc<str>)| (key.to_string(), json!(**value));
                let entries: Map<String, Json> = map.entries().into_iter().map(entry).collect();
                json!({
                    "type": "lookup", "lookup": {"type": "map", "map": entries}, "retainMissingValue": missing.is_none(),
                    "replaceMissingValueWith": missing.clone().flatten(),
                })
            }
            Extraction::Bucket { size, offset } => json!({"type": "bucket", "size": size, "offset": offset}),
            Extraction::Cascade(steps) => {
                json!({"type": "cascade", "extractionFns": steps.iter().map(Extraction::to_json).collect::<Vec<_>>()})
            }
        }
    }
}

fn search_to_json(search: &filter::Search) -> Json {
    match search {
        filter::Search::All => json!({"type": "all"}),
        filter::Search::Contains { text, case_sensitive } => {
            json!({"type": "contains", "value": text, "caseSensitive": case_sensitive})
        }
        filter::Search::Fragments { texts, case_sensitive } => {
            json!({"type": "fragment", "values": texts, "caseSensitive": case_sensitive})
        }
        filter::Search::Regex(regex) => json!({"type": "regex", "pattern": regex.as_str()}),
    }
}

fn order_name(order: ScanOrder) -> &'static str {
    match order {
        ScanOrder::None => "none",
        ScanOrder::Ascending => "ascending",
        ScanOrder::Descending => "descending",
    }
}

fn strategy_name(strategy: MergeStrategy) -> &'static str {
    match strategy {
        MergeStrategy::Strict => "strict",
        MergeStrategy::Lenient => "lenient",
        MergeStrategy::Earliest => "earliest",
        MergeStrategy::Latest => "latest",
    }
}

fn analysis_name(what: AnalysisType) -> &'static str {
    match what {
        AnalysisType::Cardinality => "cardinality",
        AnalysisType::Interval => "interval",
        AnalysisType::MinMax => "minmax",
        AnalysisType::Size => "size",
        AnalysisType::Aggregators => "aggregators",
        AnalysisType::TimestampSpec => "timestampSpec",
        AnalysisType::QueryGranularity => "queryGranularity",
        AnalysisType::Rollup => "rollup",
        AnalysisType::Projections => "projections",
    }
}
