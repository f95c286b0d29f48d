//! Values computed from aggregates.

use serde_json::Value as Json;

use crate::error::{Error, Result};

#[derive(Debug, Clone)]
pub struct PostAggregate {
    pub name: String,
}

impl PostAggregate {
    pub fn from_json(_json: &Json, path: &str) -> Result<PostAggregate> {
        Err(Error::Unsupported(format!("{path}: post-aggregations are not supported")))
    }

    pub fn name(&self) -> &str {
        &self.name
    }
}
