//! Queries about segments rather than rows.

use serde_json::Value as Json;

use super::Scope;
use super::fields::Fields;
use crate::error::{Error, Result};

#[derive(Debug, Clone)]
pub struct TimeBoundary {
    pub scope: Scope,
    pub bound: Option<Bound>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    MinTime,
    MaxTime,
}

#[derive(Debug, Clone)]
pub struct DataSourceMetadata {
    pub scope: Scope,
}

#[derive(Debug, Clone)]
pub struct SegmentMetadata {
    pub scope: Scope,
    pub columns: Columns,
    /// Fold all segments into one analysis.
    pub merge: bool,
    pub analysis_types: Vec<AnalysisType>,
    pub merge_strategy: MergeStrategy,
    /// No interval was given: only the last week before the newest segment's end counts.
    pub default_interval: bool,
}

/// Which columns are analysed.
#[derive(Debug, Clone, PartialEq)]
pub enum Columns {
    All,
    None,
    List(Vec<String>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnalysisType {
    Cardinality,
    Interval,
    MinMax,
    Size,
    Aggregators,
    TimestampSpec,
    QueryGranularity,
    Rollup,
    Projections,
}

/// What becomes of aggregators that segments disagree on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MergeStrategy {
    Strict,
    Lenient,
    Earliest,
    Latest,
}

impl TimeBoundary {
    pub(super) fn from_fields(fields: &Fields, scope: Scope) -> Result<TimeBoundary> {
        let bound = match fields.text("bound")? {
            None | Some("") => None,
            Some(text) if text.eq_ignore_ascii_case("minTime") => Some(Bound::MinTime),
            Some(text) if text.eq_ignore_ascii_case("maxTime") => Some(Bound::MaxTime),
            Some(_) => return Err(fields.wrong("bound", "must be minTime or maxTime")),
        };
        Ok(TimeBoundary { scope, bound })
    }
}

impl SegmentMetadata {
    pub(super) fn from_fields(fields: &Fields, scope: Scope) -> Result<SegmentMetadata> {
        let columns = match fields.get("toInclude") {
            None => Columns::All,
            Some(json) => {
                let path = fields.at("toInclude");
                let include = Fields::of(json, &path)?;
                match include.need_text("type")? {
                    "all" => Columns::All,
                    "none" => Columns::None,
                    "list" => Columns::List(include.texts("columns")?),
                    _ => return Err(include.wrong("type", "must be all, none or list")),
                }
            }
        };
        let analysis_types = match fields.get("analysisTypes") {
            None => vec![AnalysisType::Cardinality, AnalysisType::Interval, AnalysisType::MinMax],
            Some(_) => fields
                .list("analysisTypes")?
                .iter()
                .enumerate()
                .map(|(i, json)| analysis_type(json, &format!("{}[{i}]", fields.at("analysisTypes"))))
                .collect::<Result<_>>()?,
        };
        let merge_strategy = match fields.text("aggregatorMergeStrategy")? {
            None if fields.flag("lenientAggregatorMerge")?.unwrap_or(false) => MergeStrategy::Lenient,
            None => MergeStrategy::Strict,
            Some(_) if fields.get("lenientAggregatorMerge").is_some() => {
                return Err(fields.wrong("lenientAggregatorMerge", "may not stand beside aggregatorMergeStrategy"));
            }
            Some(text) => match text.to_ascii_lowercase().as_str() {
                "strict" => MergeStrategy::Strict,
                "lenient" => MergeStrategy::Lenient,
                "earliest" => MergeStrategy::Earliest,
                "latest" => MergeStrategy::Latest,
                _ => {
                    return Err(fields.wrong("aggregatorMergeStrategy", "must be strict, lenient, earliest or latest"));
                }
            },
        };
        let default_interval = match fields.flag("usingDefaultInterval")? {
            Some(flag) => flag,
            None => fields.get("intervals").is_none(),
        };
        Ok(SegmentMetadata {
            scope,
            columns,
            merge: fields.flag("merge")?.unwrap_or(false),
            analysis_types,
            merge_strategy,
            default_interval,
        })
    }

    pub fn wants(&self, what: AnalysisType) -> bool {
        self.analysis_types.contains(&what)
    }
}

fn analysis_type(json: &Json, path: &str) -> Result<AnalysisType> {
    let text = json.as_str().unwrap_or_default();
    Ok(match text.to_ascii_lowercase().as_str() {
        "cardinality" => AnalysisType::Cardinality,
        "interval" => AnalysisType::Interval,
        "minmax" => AnalysisType::MinMax,
        "size" => AnalysisType::Size,
        "aggregators" => AnalysisType::Aggregators,
        "timestampspec" => AnalysisType::TimestampSpec,
        "querygranularity" => AnalysisType::QueryGranularity,
        "rollup" => AnalysisType::Rollup,
        "projections" => AnalysisType::Projections,
        _ => {
            return Err(Error::Parse(format!(
                "{path}: unknown analysis type; use cardinality, interval, minmax, size, aggregators, timestampspec, \
                 querygranularity, rollup or projections"
            )));
        }
    })
}
