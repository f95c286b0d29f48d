//! The functions of expressions, by family. A function is a line in its family's table.

mod array;
mod json;
mod math;
mod net;
mod scalar;
mod sketch;
mod text;
mod time;

use std::fmt;
use std::sync::{Arc, LazyLock};

use hashbrown::HashMap;

use super::convert;
use crate::block::Value;
use crate::lookup::Lookup;
use crate::spelling;
use crate::time::{Granularity, Zone};
pub(super) use time::Unit;

pub(super) struct Function {
    pub name: &'static str,
    /// Least and most arguments.
    pub least: usize,
    pub most: usize,
    pub returns: Returns,
    pub body: Body,
}

/// The type of what a function gives.
#[derive(Debug, Clone, Copy)]
pub(super) enum Returns {
    Long,
    Double,
    Text,
    Json,
    /// A long if all arguments are, else a double.
    Number,
    /// What all arguments can be.
    Common,
    /// What the branches of a conditional can be.
    Branches,
    /// What the argument at this place names.
    Cast(usize),
    Unknown,
}

pub(super) enum Body {
    Plain(fn(&[Value]) -> Value),
    /// Of one value, and of each value of a list.
    Scalar(fn(&[Value]) -> Value),
    Real(fn(f64) -> f64),
    Real2(fn(f64, f64) -> f64),
    /// Looks at its literal arguments once, when the expression is parsed.
    Prepared(fn(&[Option<Value>]) -> Result<Prepared, String>),
    Lazy(Lazy),
    Apply(Apply),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lazy {
    If,
    Coalesce,
    CaseSearched,
    CaseSimple,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Apply {
    Map,
    CartesianMap,
    CartesianFold,
    Filter,
    Fold,
    Any,
    All,
}

/// A function made ready for its literal arguments.
#[derive(Clone)]
pub(super) enum Prepared {
    Each(Arc<dyn Fn(&[Value]) -> Value + Send + Sync>),
    /// Of a list as a whole.
    Whole(Arc<dyn Fn(&[Value]) -> Value + Send + Sync>),
    Floor(Granularity),
    Extract(Unit, Zone),
    /// What a text is in a lookup, or what stands for one that is not in it.
    Lookup(Arc<Lookup>, Value),
}

/// How many values a function gives.
pub(super) enum Makes {
    /// One, whatever it is given.
    One,
    /// Perhaps a list, whatever it is given.
    List,
    /// A list if it is given one.
    AsArguments,
}

impl Function {
    pub fn makes(&self) -> Makes {
        match self.name {
            "array_length" | "array_contains" | "array_overlap" | "scalar_in_array" | "array_offset"
            | "array_ordinal" | "array_offset_of" | "array_ordinal_of" | "array_to_string" | "any" | "all"
            | "to_json_string" | "json_object" | "parse_json" | "try_parse_json" | "json_merge" | "json_query" => {
                Makes::One
            }
            "array" | "array_prepend" | "array_append" | "array_concat" | "array_set_add" | "array_set_add_all"
            | "array_slice" | "string_to_array" | "mv_to_array" | "array_to_mv" | "map" | "cartesian_map"
            | "filter" | "fold" | "cartesian_fold" | "json_keys" | "json_paths" | "json_query_array" => Makes::List,
            _ => Makes::AsArguments,
        }
    }
}

impl Prepared {
    pub fn each(body: impl Fn(&[Value]) -> Value + Send + Sync + 'static) -> Prepared {
        Prepared::Each(Arc::new(body))
    }

    pub fn whole(body: impl Fn(&[Value]) -> Value + Send + Sync + 'static) -> Prepared {
        Prepared::Whole(Arc::new(body))
    }

    pub fn value(&self, args: &[Value]) -> Value {
        match self {
            Prepared::Each(body) | Prepared::Whole(body) => body(args),
            Prepared::Floor(granularity) => {
                time::instant(&args[0]).map_or(Value::Null, |t| Value::Long(granularity.floor(t)))
            }
            Prepared::Extract(unit, zone) => {
                time::instant(&args[0]).map_or(Value::Null, |t| Value::Long(unit.of(t, zone)))
            }
            Prepared::Lookup(lookup, missing) => {
                let found = convert::to_text(&args[0]).and_then(|key| lookup.get(&key).cloned());
                found.map_or_else(|| missing.clone(), Value::Text)
            }
        }
    }
}

impl fmt::Debug for Prepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Prepared")
    }
}

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

const MANY: usize = usize::MAX;

const fn function(name: &'static str, least: usize, most: usize, returns: Returns, body: Body) -> Function {
    Function { name, least, most, returns, body }
}

/// Druid's, that we do not have.
const UNSUPPORTED: [&str; 1] = ["now"];

static TABLE: LazyLock<HashMap<&'static str, &'static Function>> = LazyLock::new(|| {
    let families = [
        scalar::FUNCTIONS,
        math::FUNCTIONS,
        text::FUNCTIONS,
        time::FUNCTIONS,
        array::FUNCTIONS,
        json::FUNCTIONS,
        net::FUNCTIONS,
        sketch::FUNCTIONS,
    ];
    families.into_iter().flatten().map(|function| (function.name, function)).collect()
});

/// Names are matched exactly, then in lower case.
pub(super) fn find(name: &str) -> Result<&'static Function, String> {
    let lower = name.to_ascii_lowercase();
    if let Some(function) = TABLE.get(name).or_else(|| TABLE.get(lower.as_str())) {
        return Ok(function);
    }
    if let Some((_, function)) = TABLE.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)) {
        return Ok(function);
    }
    if UNSUPPORTED.contains(&lower.as_str()) {
        return Err(format!("the function [{name}] is not supported"));
    }
    let mut known: Vec<&str> = TABLE.keys().copied().collect();
    known.sort_unstable();
    Err(match spelling::nearest(name, known) {
        Some(near) => format!("unknown function [{name}], did you mean [{near}]"),
        None => format!("unknown function [{name}]"),
    })
}

/// The names of all functions, sorted.
pub(super) fn names() -> Vec<&'static str> {
    let mut names: Vec<&str> = TABLE.keys().copied().collect();
    names.sort_unstable();
    names
}

/// The literal text of an argument that must be one.
fn literal_text(args: &[Option<Value>], at: usize, what: &str) -> Result<Option<String>, String> {
    match args.get(at) {
        None | Some(Some(Value::Null)) => Ok(None),
        Some(Some(value)) => Ok(super::convert::to_text(value).map(|text| text.to_string())),
        Some(None) => Err(format!("{what} must be a literal")),
    }
}
