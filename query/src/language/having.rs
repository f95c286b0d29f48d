//! Which groups are kept.

use serde_json::Value as Json;

use crate::error::{Error, Result};

#[derive(Debug, Clone)]
pub enum Having {}

impl Having {
    pub fn from_json(_json: &Json, path: &str) -> Result<Having> {
        Err(Error::Unsupported(format!("{path}: having is not supported")))
    }
}
