//! What a topN is ranked by.

use segment::filter::Ordering;
use serde_json::Value as Json;

use super::fields::Fields;
use super::limit;
use crate::error::Result;

#[derive(Debug, Clone, PartialEq)]
pub enum Metric {
    /// An aggregate or post-aggregate, largest first, null last.
    Numeric(String),
    /// The dimension's value, smallest first; only values after `previous_stop`. `None` is the natural order.
    Dimension { ordering: Option<Ordering>, previous_stop: Option<String> },
    /// The other way round (null last still for `Numeric`).
    Inverted(Box<Metric>),
}

impl Metric {
    pub fn from_json(json: &Json, path: &str) -> Result<Metric> {
        if let Some(name) = json.as_str() {
            return Ok(Metric::Numeric(name.to_string()));
        }
        let fields = Fields::of(json, path)?;
        let dimension = |ordering| -> Result<Metric> {
            Ok(Metric::Dimension { ordering, previous_stop: fields.text("previousStop")?.map(str::to_string) })
        };
        match fields.text("type")?.unwrap_or("numeric") {
            "numeric" => Ok(Metric::Numeric(fields.need_text("metric")?.to_string())),
            "dimension" => dimension(limit::ordering(&fields, "ordering", Some(Ordering::Lexicographic))?),
            "lexicographic" => dimension(Some(Ordering::Lexicographic)),
            "alphaNumeric" => dimension(Some(Ordering::Alphanumeric)),
            "inverted" => {
                let inner = Metric::from_json(fields.need("metric")?, &fields.at("metric"))?;
                Ok(Metric::Inverted(Box::new(inner)))
            }
            other => {
                Err(fields
                    .wrong("type", format_args!("unknown topN metric [{other}]; use numeric, dimension or inverted")))
            }
        }
    }
}
