//! Dimensions of type `spatial`: the coordinates of a row's point, as one text `"x,y"`. The fields that they are in are no
//! dimensions of their own unless they are named.

use segment::error::{Error, Result};
use segment::expr::Expr;
use serde_json::Value;

use super::fields::Fields;

/// A coordinate, as Druid reads one.
const NUMBER: &str = "[-+]?(?:[0-9]+[.]?[0-9]*|[.][0-9]+)(?:[eE][-+]?[0-9]+)?";

#[derive(Debug, Clone)]
pub(super) struct SpatialDimension {
    pub(super) name: String,
    /// The fields of the coordinates; none are those of the dimension's own field.
    pub(super) fields: Vec<String>,
}

impl SpatialDimension {
    /// `name` is what the field of the dimension's name is called.
    pub(super) fn from_json(
        json: &Value,
        path: &str,
        name: &str,
        ignored: &mut Vec<String>,
    ) -> Result<SpatialDimension> {
        let f =
            Fields::open(json, path, &["type", name, "dims"], &["multiValueHandling", "createBitmapIndex"], ignored)?;
        Ok(SpatialDimension { name: f.required_text(name)?, fields: f.texts("dims")? })
    }

    /// What computes the text: null where a coordinate is missing or no number.
    pub(super) fn expression(&self) -> Result<Expr> {
        let own = [self.name.clone()];
        let fields = if self.fields.is_empty() { &own[..] } else { &self.fields };
        let parts: Vec<String> =
            fields.iter().map(|field| format!("array_to_string({}, ',')", quoted(field))).collect();
        let text = format!("regexp_extract(concat({}), '^{NUMBER}(?:,{NUMBER})*$', 0)", parts.join(", ',', "));
        Expr::parse(&text).map_err(|error| Error::invalid(format!("the spatial dimension {:?}: {error}", self.name)))
    }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\""))
}
