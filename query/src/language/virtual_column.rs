//! Columns computed from columns, under a name that may shadow a real one.

use segment::expr::Expr;
use segment::schema::ValueType;
use serde_json::Value as Json;

use super::fields::Fields;
use crate::error::{Error, Result};

#[derive(Debug, Clone)]
pub struct VirtualColumn {
    pub name: String,
    pub expr: Expr,
    /// What the values are cast to; `None`: what the expression gives.
    pub output_type: Option<ValueType>,
}

impl VirtualColumn {
    pub fn from_json(json: &Json, path: &str) -> Result<VirtualColumn> {
        let fields = Fields::of(json, path)?;
        match fields.need_text("type")? {
            "expression" => {}
            known @ ("nested-field" | "nested-merge" | "nested-object" | "mv-filtered" | "mv-regex-filtered"
            | "mv-prefix-filtered" | "fallback" | "map") => {
                return Err(Error::Unsupported(format!(
                    "{path}.type: virtual column [{known}] is not supported; use expression"
                )));
            }
            other => {
                return Err(fields.wrong("type", format_args!("unknown virtual column [{other}]; use expression")));
            }
        }
        let name = fields.need_text("name")?;
        if name == segment::schema::TIME {
            return Err(fields.wrong("name", "a virtual column may not be named __time"));
        }
        let expr = Expr::parse(fields.need_text("expression")?).map_err(|error| fields.wrong("expression", error))?;
        let output_type = match fields.text("outputType")? {
            None => None,
            Some(text) => Some(ValueType::from_druid_name(text).ok_or_else(|| {
                fields.wrong(
                    "outputType",
                    format_args!("type [{text}] is not supported; use STRING, LONG, FLOAT or DOUBLE"),
                )
            })?),
        };
        Ok(VirtualColumn { name: name.to_string(), expr, output_type })
    }
}
