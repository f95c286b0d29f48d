//! `EXPLAIN PLAN FOR`: the native queries that a statement becomes.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::logical_expr::LogicalPlan;
use serde_json::{Value as Json, json};

use crate::error::{Error, Result};
use crate::leaves::{Leaf, leaf_of};
use crate::lower::value_type;
use crate::plan::Plan;

/// The leaves of a plan, in the order they stand in it.
pub fn leaves(plan: &LogicalPlan) -> Vec<Arc<Leaf>> {
    let mut leaves = Vec::new();
    let _ = plan.apply_with_subqueries(|node| {
        leaves.extend(leaf_of(node).cloned());
        Ok(TreeNodeRecursion::Continue)
    });
    leaves
}

impl Plan {
    pub fn leaves(&self) -> Vec<Arc<Leaf>> {
        match self {
            Plan::Direct { leaf, .. } => leaf.iter().cloned().collect(),
            Plan::Tree(plan) => leaves(plan),
        }
    }
}

/// The one row that Druid answers.
pub fn explain(plan: &Plan, names: &[String]) -> Result<RecordBatch> {
    let leaves = plan.leaves();
    let queries: Vec<Json> = leaves
        .iter()
        .map(|leaf| {
            let signature: Vec<Json> = leaf
                .outputs
                .iter()
                .map(|output| {
                    let native = value_type(&output.data_type).map(|value_type| value_type.druid_name());
                    json!({"name": output.name, "type": native})
                })
                .collect();
            let mappings: Vec<Json> = leaf
                .outputs
                .iter()
                .zip(names)
                .map(|(output, name)| json!({"queryColumn": output.name, "outputColumn": name}))
                .collect();
            json!({"query": leaf.json, "signature": signature, "columnMappings": mappings})
        })
        .collect();
    let mut tables: Vec<&str> = leaves.iter().map(|leaf| leaf.datasource.as_str()).collect();
    tables.sort_unstable();
    tables.dedup();
    let resources: Vec<Json> = tables.iter().map(|name| json!({"name": name, "type": "DATASOURCE"})).collect();
    let cells = [
        ("PLAN", Json::from(queries).to_string()),
        ("RESOURCES", Json::from(resources).to_string()),
        ("ATTRIBUTES", json!({"statementType": "SELECT"}).to_string()),
    ];
    let fields: Vec<Field> = cells.iter().map(|(name, _)| Field::new(*name, DataType::Utf8, true)).collect();
    let arrays = cells.iter().map(|(_, text)| Arc::new(StringArray::from(vec![text.as_str()])) as ArrayRef).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).map_err(|error| Error::Bug(error.to_string()))
}
