//! The order of groups.

use std::cmp::Ordering;

use segment::block::Block;

use super::frame::Frame;

/// One thing that groups are ordered by.
pub enum Order {
    /// A key's value; `ordering` compares it as text.
    Key { key: usize, ordering: Option<segment::filter::Ordering>, descending: bool },
    /// Values of all groups, by group.
    Metric { block: Block, descending: bool, nulls_last: bool },
}

/// Compares two groups, most significant order first. Groups that differ nowhere keep the order they came in.
pub fn compare(frame: &Frame<'_>, orders: &[Order], a: u32, b: u32) -> Ordering {
    for order in orders {
        let found = match order {
            Order::Key { key, ordering, descending } => {
                let found = match ordering {
                    Some(ordering) if !frame.natural_is(*key, *ordering) => {
                        ordering.compare_nullable(frame.text(*key, a).as_deref(), frame.text(*key, b).as_deref())
                    }
                    _ => frame.compare_key(*key, a, b),
                };
                if *descending { found.reverse() } else { found }
            }
            Order::Metric { block, descending, nulls_last } => {
                compare_values(block, a as usize, b as usize, *descending, *nulls_last)
            }
        };
        if found != Ordering::Equal {
            return found;
        }
    }
    a.cmp(&b)
}

fn compare_values(block: &Block, a: usize, b: usize, descending: bool, nulls_last: bool) -> Ordering {
    let null = |nulls: &Option<Vec<bool>>, row: usize| nulls.as_ref().is_some_and(|n| n[row]);
    let (a_null, b_null, found) = match block {
        Block::Long { values, nulls } => (null(nulls, a), null(nulls, b), values[a].cmp(&values[b])),
        Block::Double { values, nulls } => (null(nulls, a), null(nulls, b), values[a].total_cmp(&values[b])),
        Block::Text { values } => (values[a].is_none(), values[b].is_none(), values[a].cmp(&values[b])),
        Block::Any { values } => {
            let text = |row: usize| crate::columns::as_text(&values[row]);
            (values[a].is_null(), values[b].is_null(), text(a).cmp(&text(b)))
        }
    };
    match (a_null, b_null) {
        (true, true) => Ordering::Equal,
        (true, false) if nulls_last => Ordering::Greater,
        (true, false) => Ordering::Less,
        (false, true) if nulls_last => Ordering::Less,
        (false, true) => Ordering::Greater,
        (false, false) if descending => found.reverse(),
        (false, false) => found,
    }
}

/// Leaves the first `count` rows, in order.
pub fn take_first(rows: &mut Vec<u32>, count: usize, compare: impl Fn(&u32, &u32) -> Ordering) {
    if count == 0 {
        rows.clear();
        return;
    }
    if count < rows.len() {
        rows.select_nth_unstable_by(count - 1, &compare);
        rows.truncate(count);
    }
    rows.sort_unstable_by(&compare);
}
