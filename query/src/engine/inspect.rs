//! What is known about segments without folding rows: time boundaries and column analyses.

use segment::Interval;
use segment::time::Granularity;

/// The analysis of a segment, or of several folded into one.
#[derive(Debug, Clone, PartialEq)]
pub struct Analysis {
    pub id: String,
    pub intervals: Option<Vec<Interval>>,
    pub columns: Vec<(String, ColumnAnalysis)>,
    pub size: u64,
    pub rows: u64,
    pub query_granularity: Option<Granularity>,
    pub rollup: Option<bool>,
    /// Combining forms by name, in Druid's JSON.
    pub aggregators: Option<Vec<(String, serde_json::Value)>>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct ColumnAnalysis {
    /// Druid's name of the type; `Err` names what could not be merged.
    pub type_name: String,
    pub multi: bool,
    pub nulls: bool,
    pub size: u64,
    pub cardinality: Option<u64>,
    pub min: Option<String>,
    pub max: Option<String>,
    pub error: Option<String>,
}
