//! Conditions that no row meets, told by the conditions alone: what somebody asks for is often what their policy hides
//! (`tenant = 'b'` under `tenant = 'a'`), and no bitmap need be made to find that out.

use std::collections::HashMap;

use segment::column::Column;
use segment::filter::{Filter, Test};

use crate::columns::{Columns, Resolved};
use crate::error::Result;

/// Conditions that are looked at, and values that one may name: more are for the bitmaps.
const CONDITIONS_MAX: usize = 64;
const NAMED_MAX: usize = 64;

/// Whether the conditions that all have to hold name no value in common for a column that has one value a row. `filter` is
/// of the columns as they are asked for, the policy's of those that are kept.
pub fn contradict(columns: &Columns, filter: &Filter) -> Result<bool> {
    let mut asked = Vec::new();
    conditions(filter, &mut asked);
    let mut all = asked.clone();
    if let Some(policy) = columns.seen().and_then(|seen| seen.restricted.filter.as_ref()) {
        conditions(policy, &mut all);
    }
    let mut common: HashMap<&str, Vec<&str>> = HashMap::new();
    for (name, test) in all {
        // What holds of nulls too may hold of a row by what it does not name.
        let Some(named) = test.texts().filter(|named| named.len() <= NAMED_MAX && test.null() != Some(true)) else {
            continue;
        };
        common.entry(name).and_modify(|common| common.retain(|text| named.contains(text))).or_insert(named);
    }
    for (name, common) in common {
        if common.is_empty()
            && asked.iter().any(|(asked, _)| *asked == name)
            && let Resolved::Physical(Column::Dict(dict)) = columns.resolve(name)?
            && !dict.is_multi()
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The tests of columns among conditions that all have to hold.
fn conditions<'a>(filter: &'a Filter, into: &mut Vec<(&'a str, &'a Test)>) {
    match filter {
        _ if into.len() >= CONDITIONS_MAX => {}
        Filter::And(fields) => fields.iter().take(CONDITIONS_MAX).for_each(|field| conditions(field, into)),
        Filter::Column { column, test } => into.push((column, test)),
        _ => {}
    }
}
