//! Row filters with SQL's three-valued logic, in Druid's JSON form. Ingestion evaluates them row by row here; the engine
//! turns them into bitmaps (`query::selection`) with the same [`Test`]s.

use crate::block::Value;
use crate::error::Result;
use crate::expr::Expr;
use crate::schema::ValueType;
use crate::time::Interval;

#[derive(Debug, Clone)]
pub enum Filter {
    True,
    False,
    And(Vec<Filter>),
    Or(Vec<Filter>),
    Not(Box<Filter>),
    /// Unknown counts as false, then may be negated.
    IsTrue(Box<Filter>),
    IsFalse(Box<Filter>),
    /// A test of one column. On a multi-value row it matches if any value matches; an empty row is a null.
    Column { column: String, test: Test },
    /// All columns equal, compared as text.
    Equal { columns: Vec<String> },
    Expression(Expr),
}

/// What a value is tested for. `text`, `long` and `double` answer `None` for unknown, and must agree with each other.
#[derive(Debug, Clone)]
pub enum Test {
    Null,
    /// `value` is of type `value_type`, not null.
    Equals { value: Value, value_type: ValueType },
    /// `null` tells whether null is in the list.
    In { values: Vec<Value>, value_type: ValueType, null: bool },
    Range { lower: Option<Value>, upper: Option<Value>, lower_open: bool, upper_open: bool, value_type: ValueType },
    /// The legacy `bound` filter; without a lower bound it matches null.
    Bound { lower: Option<String>, upper: Option<String>, lower_strict: bool, upper_strict: bool, ordering: Ordering },
    /// The legacy `selector`: text equality, `None` matches null.
    Selector { value: Option<String> },
    Like(Like),
    Regex(regex::Regex),
    Search(Search),
    Intervals(Vec<Interval>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ordering {
    Lexicographic,
    Alphanumeric,
    Numeric,
    Strlen,
    Version,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Like {
    pub pattern: String,
    pub escape: Option<char>,
}

#[derive(Debug, Clone)]
pub enum Search {
    All,
    Contains { text: String, case_sensitive: bool },
    Fragments { texts: Vec<String>, case_sensitive: bool },
    Regex(regex::Regex),
}

impl Filter {
    /// Druid's JSON. Errors carry the path of the field below `path` and the valid names.
    pub fn from_json(json: &serde_json::Value, path: &str) -> Result<Filter> {
        let _ = (json, path);
        todo!()
    }

    /// The columns it reads, each once.
    pub fn columns(&self) -> Vec<&str> {
        todo!()
    }

    /// One row: `None` is unknown.
    pub fn matches(&self, column: &dyn Fn(&str) -> Value) -> Option<bool> {
        let _ = column;
        todo!()
    }
}

impl Test {
    /// The test on text, ready to run over a dictionary: patterns are compiled, numbers parsed once.
    pub fn text(&self) -> Box<dyn Fn(Option<&str>) -> Option<bool> + '_> {
        todo!()
    }

    pub fn long(&self) -> Box<dyn Fn(Option<i64>) -> Option<bool> + '_> {
        todo!()
    }

    pub fn double(&self) -> Box<dyn Fn(Option<f64>) -> Option<bool> + '_> {
        todo!()
    }
}
