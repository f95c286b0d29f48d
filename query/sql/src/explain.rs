//! `EXPLAIN PLAN FOR`: the native queries that a statement becomes.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_expr::expressions::Column;
use serde_json::{Value as Json, json};

use crate::error::{Error, Result};
use crate::leaves::{Leaf, leaf_of};
use crate::lower::value_type;
use crate::plan::{Plan, Step};

/// For each column of a direct plan the column of the leaf that it is, or the expression over those.
fn columns(leaf: &Leaf, steps: &[Step]) -> Vec<String> {
    let mut shown: Vec<String> = leaf.outputs.iter().map(|output| output.name.clone()).collect();
    for step in steps {
        if let Step::Project { exprs, .. } = step {
            shown = exprs
                .iter()
                .map(|expr| match expr.as_ref().downcast_ref::<Column>() {
                    Some(column) => shown[column.index()].clone(),
                    None => expr.to_string(),
                })
                .collect();
        }
    }
    shown
}

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
    /// The leaves, with those that are asked before them for values.
    pub fn all_leaves(&self) -> Vec<Arc<Leaf>> {
        let mut all = self.leaves();
        let mut next = 0;
        while let Some(leaf) = all.get(next).cloned() {
            all.extend(leaf.semis().iter().flat_map(|semi| leaves(&semi.values)));
            next += 1;
        }
        all
    }

    pub fn leaves(&self) -> Vec<Arc<Leaf>> {
        match self {
            Plan::Direct { leaf, .. } => leaf.iter().cloned().collect(),
            Plan::Tree(plan) => leaves(plan),
        }
    }
}

/// The one row that Druid answers. What is left to do above the queries is not shown; a statement that is one query and
/// a choice of its columns tells which column is which.
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
            let mappings: Vec<Json> = match plan {
                Plan::Direct { steps, .. } => columns(leaf, steps)
                    .into_iter()
                    .zip(names)
                    .map(|(column, name)| json!({"queryColumn": column, "outputColumn": name}))
                    .collect(),
                Plan::Tree(_) => leaf
                    .outputs
                    .iter()
                    .map(|output| json!({"queryColumn": output.name, "outputColumn": output.name}))
                    .collect(),
            };
            json!({"query": leaf.json, "signature": signature, "columnMappings": mappings})
        })
        .collect();
    let all = plan.all_leaves();
    let mut tables: Vec<&str> = all.iter().flat_map(|leaf| &leaf.datasources).map(String::as_str).collect();
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
