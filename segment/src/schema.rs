//! The columns that rows are indexed into.

use serde::{Deserialize, Serialize};

use crate::aggregate::Aggregate;
use crate::time::Granularity;

/// The name of the time column, present in every segment.
pub const TIME: &str = "__time";

#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ValueType {
    String,
    Long,
    Float,
    Double,
    /// Lists of values of one type, which is none of arrays or complex values.
    Array(Box<ValueType>),
    /// `json`: a document. Else an opaque value with the name of its Druid complex type (`HLLSketch`, …).
    Complex(String),
}

/// The complex type of JSON documents.
pub const JSON: &str = "json";

impl ValueType {
    pub fn array(of: ValueType) -> ValueType {
        ValueType::Array(Box::new(of))
    }

    pub fn json() -> ValueType {
        ValueType::Complex(JSON.to_string())
    }

    pub fn is_json(&self) -> bool {
        matches!(self, ValueType::Complex(name) if name == JSON)
    }

    /// Whether its columns keep documents: arrays and JSON.
    pub fn is_document(&self) -> bool {
        matches!(self, ValueType::Array(_)) || self.is_json()
    }

    /// Druid's name: `STRING`, `LONG`, `FLOAT`, `DOUBLE`, `ARRAY<…>`, `COMPLEX<name>`.
    pub fn druid_name(&self) -> String {
        match self {
            ValueType::String => "STRING".into(),
            ValueType::Long => "LONG".into(),
            ValueType::Float => "FLOAT".into(),
            ValueType::Double => "DOUBLE".into(),
            ValueType::Array(of) => format!("ARRAY<{}>", of.druid_name()),
            ValueType::Complex(name) => format!("COMPLEX<{name}>"),
        }
    }

    /// The inverse of [`ValueType::druid_name`], any case.
    pub fn from_druid_name(name: &str) -> Option<ValueType> {
        match name.to_ascii_uppercase().as_str() {
            "STRING" => Some(ValueType::String),
            "LONG" => Some(ValueType::Long),
            "FLOAT" => Some(ValueType::Float),
            "DOUBLE" => Some(ValueType::Double),
            upper if upper.starts_with("ARRAY<") && upper.ends_with('>') => {
                match ValueType::from_druid_name(&name[6..name.len() - 1])? {
                    ValueType::Array(_) | ValueType::Complex(_) => None,
                    of => Some(ValueType::array(of)),
                }
            }
            upper if upper.starts_with("COMPLEX<") && upper.ends_with('>') => {
                Some(ValueType::Complex(name[8..name.len() - 1].to_string()))
            }
            _ => None,
        }
    }

    pub fn is_numeric(&self) -> bool {
        matches!(self, ValueType::Long | ValueType::Float | ValueType::Double)
    }
}

/// How the values of a multi-value string row are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum MultiValue {
    #[default]
    SortedArray,
    SortedSet,
    Array,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DimensionSchema {
    pub name: String,
    /// `String`, `Long`, `Float`, `Double`, an array of these, or JSON.
    pub value_type: ValueType,
    pub multi_value: MultiValue,
    /// Whether string values get bitmaps in the file.
    pub indexed: bool,
    /// Its type follows its values, as that of a discovered dimension does; `value_type` is what it has without any.
    #[serde(default)]
    pub auto: bool,
}

/// What becomes of a field that no dimension names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Discovery {
    /// It is left out.
    #[default]
    None,
    /// It becomes a string dimension.
    Strings,
    /// It becomes a dimension of the type its first value has.
    Typed,
}

/// How rows become columns: what a realtime index is built with and what a merge keeps.
#[derive(Debug, Clone)]
pub struct Schema {
    /// In the order of the columns. The time column is not among them.
    pub dimensions: Vec<DimensionSchema>,
    pub discovery: Discovery,
    /// Fields that discovery leaves out.
    pub exclusions: Vec<String>,
    pub metrics: Vec<Aggregate>,
    /// Whether rows with equal (truncated time, dimensions) become one.
    pub rollup: bool,
    /// What `__time` is truncated to.
    pub query_granularity: Granularity,
}
