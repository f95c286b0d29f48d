//! Sets of rows by the value of a number column.

use hashbrown::HashSet;
use segment::Segment;
use segment::block::{BLOCK_ROWS, Value};
use segment::column::{Column, NumberColumn};
use segment::filter::{DoubleTest, LongTest, Ordering, Test};
use segment::schema::{TIME, ValueType};

use super::mask::{self, fill, pack, settle};
use super::{Node, Part, Scratch, Selected, compile};
use crate::error::{Error, Result};

/// Rows whose value is in the set (or is not, if `negated`); null rows if `nulls`.
pub struct NumbersNode {
    column: String,
    values: Values,
    negated: bool,
    nulls: bool,
}

enum Values {
    Longs(Set),
    /// In the order of [`order`]; `nan` tells whether values that are not numbers belong to it.
    Doubles {
        set: Set,
        nan: bool,
    },
    LongTest(LongTest),
    DoubleTest(DoubleTest),
}

/// A set of whole numbers.
pub enum Set {
    Empty,
    /// Both ends belong to it.
    Range(i64, i64),
    /// Sorted, not overlapping.
    Ranges(Vec<(i64, i64)>),
    Few(Vec<i64>),
    Many {
        values: HashSet<i64, foldhash::fast::FixedState>,
        bounds: (i64, i64),
    },
}

/// Values that are compared one by one rather than looked up.
const FEW: usize = 8;

impl NumbersNode {
    pub fn time(set: Set) -> NumbersNode {
        NumbersNode { column: TIME.into(), values: Values::Longs(set), negated: false, nulls: false }
    }

    pub fn cost(&self) -> u32 {
        match &self.values {
            Values::Longs(_) => 2,
            Values::Doubles { .. } => 4,
            Values::LongTest(_) | Values::DoubleTest(_) => 50,
        }
    }

    /// The range, if that is all this node is about and it is about that column.
    pub fn plain_range(&self, column: &str) -> Option<(i64, i64)> {
        match &self.values {
            Values::Longs(Set::Range(from, to)) if !self.negated && self.column == column => Some((*from, *to)),
            _ => None,
        }
    }

    pub fn select(&self, part: Part, scratch: &mut Scratch, words: &mut [u64]) -> Result<Selected> {
        let column = open(part.segment, &self.column)?;
        let Part { start, len, .. } = part;
        let nulls = column.has_nulls() && {
            scratch.nulls.resize(len, false);
            column.nulls(start, &mut scratch.nulls[..len])
        };
        let whole = self.by_bounds(column, start, len);
        let mut selected = match whole {
            Some(true) => {
                fill(words, len);
                Selected::All
            }
            Some(false) => {
                words.fill(0);
                Selected::None
            }
            None => {
                self.test(column, start, len, scratch, words);
                settle(words, len)
            }
        };
        if nulls && (selected != Selected::All || !self.nulls) {
            for (word, flags) in words.iter_mut().zip(scratch.nulls[..len].chunks(64)) {
                let mut null = [0];
                pack(&mut null, flags.len(), |i| flags[i]);
                *word = if self.nulls { *word | null[0] } else { *word & !null[0] };
            }
            selected = settle(words, len);
        }
        Ok(selected)
    }

    /// Whether all or none of the values that are not null are in the set, by the bounds of their blocks.
    fn by_bounds(&self, column: &NumberColumn, start: usize, len: usize) -> Option<bool> {
        let blocks = start / BLOCK_ROWS..(start + len).div_ceil(BLOCK_ROWS);
        let mut whole = None;
        for block in blocks {
            let (set, bounds) = match &self.values {
                Values::Longs(set) => (set, column.block_long_range(block)?),
                Values::Doubles { set, .. } => {
                    let (low, high) = column.block_double_range(block)?;
                    (set, (order(low), order(high)))
                }
                _ => return None,
            };
            let here = set.holds(bounds)? != self.negated;
            if *whole.get_or_insert(here) != here {
                return None;
            }
        }
        whole
    }

    fn test(&self, column: &NumberColumn, start: usize, len: usize, scratch: &mut Scratch, words: &mut [u64]) {
        let negated = self.negated;
        match &self.values {
            Values::Longs(set) => {
                scratch.longs.resize(BLOCK_ROWS, 0);
                let values = &mut scratch.longs[..len];
                column.longs(start, values);
                set.pack(values, negated, words);
            }
            Values::Doubles { set, nan } => {
                scratch.doubles.resize(BLOCK_ROWS, 0.0);
                scratch.longs.resize(BLOCK_ROWS, 0);
                let doubles = &mut scratch.doubles[..len];
                column.doubles(start, doubles);
                let values = &mut scratch.longs[..len];
                values.iter_mut().zip(doubles.iter()).for_each(|(key, double)| *key = order(*double));
                set.pack(values, negated, words);
                for (i, _) in doubles.iter().enumerate().filter(|(_, double)| double.is_nan()) {
                    let bit = 1 << (i % 64);
                    if *nan != negated {
                        words[i / 64] |= bit;
                    } else {
                        words[i / 64] &= !bit;
                    }
                }
            }
            Values::LongTest(test) => {
                scratch.longs.resize(BLOCK_ROWS, 0);
                let values = &mut scratch.longs[..len];
                column.longs(start, values);
                pack(words, len, |i| test(Some(values[i])) == Some(!negated));
            }
            Values::DoubleTest(test) => {
                scratch.doubles.resize(BLOCK_ROWS, 0.0);
                let values = &mut scratch.doubles[..len];
                column.doubles(start, values);
                pack(words, len, |i| test(Some(values[i])) == Some(!negated));
            }
        }
    }
}

impl Set {
    /// Ranges that are sorted and do not overlap.
    pub fn ranges(ranges: Vec<(i64, i64)>) -> Set {
        match ranges.as_slice() {
            [] => Set::Empty,
            [one] => Set::Range(one.0, one.1),
            _ => Set::Ranges(ranges),
        }
    }

    fn of(mut values: Vec<i64>) -> Set {
        values.sort_unstable();
        values.dedup();
        match values.as_slice() {
            [] => Set::Empty,
            [first, .., last] if (*last as i128 - *first as i128) == values.len() as i128 - 1 => {
                Set::Range(*first, *last)
            }
            [one] => Set::Range(*one, *one),
            few if few.len() <= FEW => Set::Few(values),
            many => Set::Many { bounds: (many[0], many[many.len() - 1]), values: values.into_iter().collect() },
        }
    }

    /// Whether all (`Some(true)`) or none (`Some(false)`) of the numbers within the bounds are in the set.
    fn holds(&self, (low, high): (i64, i64)) -> Option<bool> {
        let range = |from: i64, to: i64| {
            if high < from || to < low {
                Some(false)
            } else if from <= low && high <= to {
                Some(true)
            } else {
                None
            }
        };
        match self {
            Set::Empty => Some(false),
            Set::Range(from, to) => range(*from, *to),
            Set::Ranges(ranges) => {
                let after = ranges.partition_point(|r| r.1 < low);
                ranges.get(after).map_or(Some(false), |r| range(r.0, r.1))
            }
            Set::Few(values) if values.iter().any(|v| low <= *v && *v <= high) => (low == high).then_some(true),
            Set::Few(_) => Some(false),
            Set::Many { values, bounds } => {
                if high < bounds.0 || bounds.1 < low {
                    Some(false)
                } else {
                    (low == high).then(|| values.contains(&low))
                }
            }
        }
    }

    fn pack(&self, keys: &[i64], negated: bool, words: &mut [u64]) {
        let len = keys.len();
        match self {
            Set::Empty => pack(words, len, |_| negated),
            Set::Range(from, to) => {
                // One comparison: what lies below the range wraps around to large numbers.
                let (from, width) = (*from, to.wrapping_sub(*from) as u64);
                pack(words, len, |i| (keys[i].wrapping_sub(from) as u64 <= width) != negated);
            }
            Set::Ranges(ranges) => {
                let mut at = 0;
                for (i, word) in words.iter_mut().enumerate() {
                    let mut bits = 0;
                    for (bit, key) in keys[i * 64..len.min(i * 64 + 64)].iter().enumerate() {
                        // Times mostly come in runs: look where the last one was found first.
                        if !(ranges[at].0 <= *key && *key <= ranges[at].1) {
                            at = ranges.partition_point(|r| r.1 < *key).min(ranges.len() - 1);
                        }
                        let inside = ranges[at].0 <= *key && *key <= ranges[at].1;
                        bits |= u64::from(inside != negated) << bit;
                    }
                    *word = bits;
                }
            }
            Set::Few(values) => {
                pack(words, len, |i| values.iter().fold(false, |any, v| any | (*v == keys[i])) != negated)
            }
            Set::Many { values, .. } => pack(words, len, |i| values.contains(&keys[i]) != negated),
        }
    }
}

fn open<'a>(segment: &'a Segment, name: &str) -> Result<&'a NumberColumn> {
    if name == TIME {
        return Ok(segment.time()?);
    }
    match segment.column(name)? {
        Some(Column::Number(column)) => Ok(column),
        _ => Err(Error::Bug(format!("column {name} was of numbers when the filter was compiled"))),
    }
}

/// Whole numbers in the order of doubles: negative ones are mirrored, so that bits compare as values. `-0.0` comes
/// right before `0.0`.
pub fn order(value: f64) -> i64 {
    let bits = value.to_bits() as i64;
    bits ^ ((bits >> 63) as u64 >> 1) as i64
}

fn unorder(key: i64) -> f64 {
    f64::from_bits((key ^ ((key >> 63) as u64 >> 1) as i64) as u64)
}

/// The rows of a number column for which a test answers `want`.
pub fn node(segment: &Segment, name: &str, column: &NumberColumn, test: &Test, want: bool) -> Node {
    let is_long = column.value_type() == ValueType::Long;
    let is_float = column.value_type() == ValueType::Float;
    let is_blurred = !is_long && test.is_blurred(is_float);
    // Of numbers it is the test itself, unless it is unknown of some.
    let test = match test.of_one() {
        Test::OfNumber(test) if !is_blurred => test,
        test => test,
    };
    let rows = segment.rows();
    let double_test = || if is_float { test.float() } else { test.double() };
    let nulls = test.null() == Some(want);
    let null_rows = || match column.null_bitmap() {
        None => Node::None,
        Some(bitmap) => {
            let mut words = vec![0; rows.div_ceil(64)];
            bitmap.or_into(&mut words);
            mask::trim(&mut words, rows);
            compile::settled(words, rows)
        }
    };
    if let Test::Null = test {
        return if want { null_rows() } else { compile::complement(null_rows(), rows) };
    }
    let values = if is_long {
        let answer = test.long();
        match longs(test, &answer) {
            Some(set) => Values::Longs(set),
            None => Values::LongTest(answer),
        }
    } else {
        let answer = double_test();
        match doubles(test, &answer).filter(|_| !is_blurred) {
            Some(set) => Values::Doubles { set, nan: answer(Some(f64::NAN)) == Some(true) },
            None => Values::DoubleTest(answer),
        }
    };
    let bounds = match &values {
        Values::Longs(set) => column.long_range().map(|bounds| (set, bounds)),
        Values::Doubles { set, .. } => column.range().map(|(low, high)| (set, (order(low), order(high)))),
        _ => None,
    };
    if let Some(all) = bounds.and_then(|(set, bounds)| set.holds(bounds)) {
        return match (all == want, nulls) {
            (true, true) => Node::All,
            (true, false) => compile::complement(null_rows(), rows),
            (false, true) => null_rows(),
            (false, false) => Node::None,
        };
    }
    Node::Numbers(NumbersNode { column: name.to_string(), values, negated: !want, nulls })
}

/// The longs a test is true of, if they can be told; it is false of all others.
fn longs(test: &Test, answer: &LongTest) -> Option<Set> {
    if let Some((from, to)) = test.long_range() {
        return Some(if from <= to { Set::Range(from, to) } else { Set::Empty });
    }
    match test {
        Test::In { values, value_type: ValueType::Long, .. } => {
            let long = |value: &Value| match value {
                Value::Long(long) => Some(*long),
                _ => None,
            };
            let values: Option<Vec<i64>> = values.iter().map(long).collect();
            values.filter(|values| values.iter().all(|v| answer(Some(*v)) == Some(true))).map(Set::of)
        }
        Test::Intervals(intervals) => {
            let ranges = segment::Interval::merge(intervals);
            Some(Set::ranges(ranges.iter().map(|i| (i.start, i.end - 1)).collect()))
        }
        _ => None,
    }
}

/// As [`longs`], for doubles that are numbers, as keys of [`order`].
fn doubles(test: &Test, answer: &DoubleTest) -> Option<Set> {
    let (lowest, highest) = (order(f64::NEG_INFINITY), order(f64::INFINITY));
    let holds = |key: i64| (lowest..=highest).contains(&key) && answer(Some(unorder(key))) == Some(true);
    let mut candidates = vec![lowest, highest, order(0.0), order(-0.0)];
    for bound in contiguous(test)? {
        let double = match bound {
            Value::Long(v) => v as f64,
            Value::Double(d) => d,
            _ => return None,
        };
        // A float column compares with the bound as a float.
        for near in [double, f64::from(double as f32)] {
            let key = order(near);
            candidates.extend([key, key.saturating_sub(1), key.saturating_add(1)]);
        }
    }
    Some(stretch(candidates, holds))
}

/// The bounds of a test that is true of one unbroken stretch of numbers (or of none), and whose stretch, if it is not
/// empty, reaches one of the bounds' neighbours or has no bound on a side. `None` for other tests.
fn contiguous(test: &Test) -> Option<Vec<Value>> {
    let number = |text: &String| {
        let long = text.trim().parse().map(Value::Long);
        long.or_else(|_| text.trim().parse().map(Value::Double)).ok()
    };
    match test {
        Test::Equals { value, value_type } if value_type.is_numeric() => Some(vec![value.clone()]),
        Test::Range { lower, upper, value_type, .. } if value_type.is_numeric() => {
            Some(lower.iter().chain(upper).cloned().collect())
        }
        Test::Bound { lower, upper, ordering: Ordering::Numeric, .. } => {
            Some(lower.iter().chain(upper).filter_map(number).collect())
        }
        Test::Selector { value: Some(text) } => number(text).map(|bound| vec![bound]),
        _ => None,
    }
}

/// The unbroken stretch around the first candidate that belongs to it.
fn stretch(candidates: Vec<i64>, holds: impl Fn(i64) -> bool) -> Set {
    let Some(inside) = candidates.into_iter().find(|v| holds(*v)) else {
        return Set::Empty;
    };
    // Halves the distance between a member and a non-member; in i128, which holds every distance.
    let end = |outside: i64| {
        if holds(outside) {
            return outside;
        }
        let (mut member, mut other) = (i128::from(inside), i128::from(outside));
        while (member - other).abs() > 1 {
            let middle = member + (other - member) / 2;
            if holds(middle as i64) {
                member = middle;
            } else {
                other = middle;
            }
        }
        member as i64
    };
    Set::Range(end(i64::MIN), end(i64::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn keys_order_as_doubles_do(a in any::<f64>(), b in any::<f64>()) {
            prop_assert_eq!(order(a).cmp(&order(b)), a.total_cmp(&b));
            prop_assert_eq!(unorder(order(a)).to_bits(), a.to_bits());
        }

        #[test]
        fn a_stretch_is_found_from_any_member(a in any::<i64>(), b in any::<i64>(), within in any::<i64>()) {
            let (low, high) = (a.min(b), a.max(b));
            let inside = within.clamp(low, high);
            match stretch(vec![inside], |v| low <= v && v <= high) {
                Set::Range(from, to) => prop_assert_eq!((from, to), (low, high)),
                _ => prop_assert!(false),
            }
        }
    }
}
