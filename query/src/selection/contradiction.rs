//! Conditions that no row meets, told by the conditions alone: what somebody asks for is often what their policy hides
//! (`tenant = 'b'` under `tenant = 'a'`), and no bitmap need be made to find that out.

use std::collections::HashSet;

use segment::column::Column;
use segment::filter::{Filter, Test};

use super::leaf::named;
use crate::columns::{Columns, Resolved};
use crate::error::Result;

/// Whether two of the conditions that all have to hold name no value in common for a column that has one value a row.
/// `filter` is of the columns as they are asked for, the policy's of those that are kept.
pub fn contradict(columns: &Columns, filter: &Filter) -> Result<bool> {
    let mut asked = Vec::new();
    conditions(filter, &mut asked);
    let mut kept = Vec::new();
    if let Some(policy) = columns.seen().and_then(|seen| seen.restricted.filter.as_ref()) {
        conditions(policy, &mut kept);
    }
    for (i, (name, test)) in asked.iter().enumerate() {
        let mut others = asked[i + 1..].iter().chain(&kept);
        if others.any(|(other, other_test)| other == name && are_disjoint(test, other_test))
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
        Filter::And(fields) => fields.iter().for_each(|field| conditions(field, into)),
        Filter::Column { column, test } => into.push((column, test)),
        _ => {}
    }
}

/// Whether no text is named by both; a list of nulls, or of what is no text, names nothing.
fn are_disjoint(one: &Test, other: &Test) -> bool {
    let (Some(one), Some(other)) = (named(one), named(other)) else { return false };
    let (few, many) = if one.len() <= other.len() { (one, other) } else { (other, one) };
    let many: HashSet<&str> = many.into_iter().collect();
    !few.iter().any(|text| many.contains(text))
}
