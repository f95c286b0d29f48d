//! The elements of a segmentMetadata answer.

use segment::Interval;
use serde_json::{Map, Value as Json, json};

use super::json::write_text;
use crate::engine::inspect::{Analysis, ColumnAnalysis};

pub fn write(analyses: &[Analysis], out: &mut Vec<u8>) {
    for (i, analysis) in analyses.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        element(analysis, out);
    }
}

fn element(analysis: &Analysis, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"id\":");
    write_text(&analysis.id, out);
    let mut rest = Map::new();
    let intervals = analysis.intervals.as_ref().map(|list| list.iter().map(Interval::to_string).collect::<Vec<_>>());
    rest.insert("intervals".into(), json!(intervals));
    let columns: Map<String, Json> =
        analysis.columns.iter().map(|(name, column)| (name.clone(), column_json(column))).collect();
    rest.insert("columns".into(), Json::Object(columns));
    rest.insert("size".into(), json!(analysis.size));
    rest.insert("numRows".into(), json!(analysis.rows));
    rest.insert("timestampSpec".into(), Json::Null);
    let granularity = analysis.query_granularity.as_ref().map(|g| g.to_json());
    rest.insert("queryGranularity".into(), granularity.unwrap_or(Json::Null));
    rest.insert("rollup".into(), json!(analysis.rollup));
    let aggregators = analysis.aggregators.as_ref().map(|list| Json::Object(list.iter().cloned().collect()));
    rest.insert("aggregators".into(), aggregators.unwrap_or(Json::Null));
    rest.insert("projections".into(), Json::Null);
    let text = Json::Object(rest).to_string();
    out.push(b',');
    // Without its opening brace: the id stands first.
    out.extend_from_slice(&text.as_bytes()[1..]);
}

fn column_json(column: &ColumnAnalysis) -> Json {
    let short =
        column.type_name.strip_prefix("COMPLEX<").and_then(|rest| rest.strip_suffix('>')).unwrap_or(&column.type_name);
    let size = match &column.error {
        Some(_) => json!(-1),
        None => json!(column.size),
    };
    json!({
        "typeSignature": column.type_name,
        "type": short,
        "hasMultipleValues": column.multi,
        "hasNulls": column.nulls,
        "size": size,
        "cardinality": column.cardinality,
        "minValue": column.min,
        "maxValue": column.max,
        "errorMessage": column.error,
    })
}
