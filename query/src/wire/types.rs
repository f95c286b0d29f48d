//! The types that parts of a query call their keys by: what a value is called hangs on those of all parts.

use segment::schema::ValueType;
use segment::time::Granularity;

use crate::engine::keys::same_type;
use crate::language::Query;

/// The types of both, key by key.
pub fn joined(a: &[Vec<ValueType>], b: &[Vec<ValueType>]) -> Vec<Vec<ValueType>> {
    let none = Vec::new();
    let both = |at: usize| {
        let mut types: Vec<ValueType> = Vec::new();
        for value_type in a.get(at).unwrap_or(&none).iter().chain(b.get(at).unwrap_or(&none)) {
            if !types.contains(value_type) {
                types.push(value_type.clone());
            }
        }
        types
    };
    (0..a.len().max(b.len())).map(both).collect()
}

/// How many of a query's types are those of keys; those of the ids of its aggregates are behind them.
pub fn keys_of(query: &Query) -> usize {
    let buckets = |granularity: &Granularity| usize::from(*granularity != Granularity::All);
    match query {
        Query::Timeseries(q) => buckets(&q.granularity),
        Query::TopN(q) => 1 + buckets(&q.granularity),
        Query::GroupBy(q) => q.dimensions.len() + buckets(&q.granularity),
        _ => 0,
    }
}

/// Whether who knew only some of the types made other values of so many keys than all of the types ask for: texts of 32-bit
/// floats, if all are such, and values that count as a whole, if they are documents.
pub fn differ(keys: usize, some: &[Vec<ValueType>], all: &[Vec<ValueType>]) -> bool {
    some.iter().zip(all).enumerate().any(|(at, (some, all))| {
        if at < keys {
            some.contains(&ValueType::Float) && some.len() == 1 && all.len() > 1
        } else {
            let whole = |types: &[ValueType]| Some(same_type(types.iter().cloned())).filter(ValueType::is_document);
            !some.is_empty() && whole(some) != whole(all)
        }
    })
}
