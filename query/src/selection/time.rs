//! The time part of a selection: which rows can be in the intervals at all.

use std::ops::Range;

use segment::block::BLOCK_ROWS;
use segment::column::NumberColumn;
use segment::schema::TIME;
use segment::{Interval, Segment};

use super::numbers::{NumbersNode, Set};
use super::{Node, compile};
use crate::error::Result;

/// The rows outside of which no row is in the intervals, and what still has to be tested within.
pub fn narrow(segment: &Segment, intervals: &[Interval]) -> Result<(Range<usize>, Node)> {
    let Some((first, last)) = segment.time_range() else {
        return Ok((0..0, Node::None));
    };
    let ranges: Vec<(i64, i64)> = intervals
        .iter()
        .filter(|interval| !interval.is_empty() && interval.start <= last && interval.end > first)
        .map(|interval| (interval.start, interval.end - 1))
        .collect();
    let Some((from, to)) = ranges.first().map(|r| r.0).zip(ranges.last().map(|r| r.1)) else {
        return Ok((0..0, Node::None));
    };
    if ranges.len() == 1 && from <= first && last <= to {
        return Ok((0..segment.rows(), Node::All));
    }
    let mut range = 0..segment.rows();
    if segment.is_time_sorted() {
        range = sorted_rows(segment, from, to)?;
        if ranges.len() == 1 {
            return Ok((range, Node::All));
        }
    }
    Ok((range, Node::Numbers(NumbersNode::time(Set::ranges(ranges)))))
}

/// Takes a range of time, tested by a filter, out of the node and into the range of rows, where rows stand in order.
pub fn tighten(segment: &Segment, node: &mut Node, range: Range<usize>) -> Result<Range<usize>> {
    if !segment.is_time_sorted() {
        return Ok(range);
    }
    let mut bounds = (i64::MIN, i64::MAX);
    let mut take = |node: &Node| match node {
        Node::Numbers(numbers) => match numbers.plain_range(TIME) {
            Some((from, to)) => {
                bounds = (bounds.0.max(from), bounds.1.min(to));
                true
            }
            None => false,
        },
        _ => false,
    };
    if let Node::And(nodes) = node {
        nodes.retain(|node| !take(node));
        *node = compile::and(std::mem::take(nodes), segment.rows());
    } else if take(node) {
        *node = Node::All;
    }
    if bounds == (i64::MIN, i64::MAX) {
        return Ok(range);
    }
    let rows = sorted_rows(segment, bounds.0, bounds.1)?;
    Ok(range.start.max(rows.start)..range.end.min(rows.end))
}

/// Rows whose time is in `from..=to`, in a segment sorted by time.
fn sorted_rows(segment: &Segment, from: i64, to: i64) -> Result<Range<usize>> {
    let time = segment.time()?;
    let start = first_at_least(time, segment.rows(), from);
    let end = match to.checked_add(1) {
        Some(after) => first_at_least(time, segment.rows(), after),
        None => segment.rows(),
    };
    Ok(start..end.max(start))
}

/// The first row whose time is not below `t`: by the bounds of blocks, then within one.
fn first_at_least(time: &NumberColumn, rows: usize, t: i64) -> usize {
    let blocks = rows.div_ceil(BLOCK_ROWS);
    let (mut low, mut high) = (0, blocks);
    while low < high {
        let middle = (low + high) / 2;
        match time.block_long_range(middle) {
            Some((_, last)) if last < t => low = middle + 1,
            _ => high = middle,
        }
    }
    if low == blocks {
        return rows;
    }
    let start = low * BLOCK_ROWS;
    let mut times = vec![0; BLOCK_ROWS.min(rows - start)];
    time.longs(start, &mut times);
    start + times.partition_point(|own| *own < t)
}
