//! The order of the rows of a merge, and which of them become one.

use super::Source;
use super::rows::Inputs;
use super::strings::Union;
use crate::block::BLOCK_ROWS;
use crate::column::{Column, DictColumn, NumberColumn};
use crate::error::Result;
use crate::schema::ValueType;

/// Numbers of all rows in the order of the output.
pub(super) struct Order {
    rows: Vec<u32>,
    /// With rollup: bit `i` tells that `rows[i]` is the first of those that become one.
    heads: Option<Vec<u64>>,
    output_rows: usize,
    /// Whether the rows of an input come in the order in which they stand.
    in_order: Vec<bool>,
}

impl Order {
    /// `floor` truncates times to what the output has.
    pub fn new(inputs: &Inputs, keys: &[SortKey], floor: &dyn Fn(&mut [i64]), rollup: bool) -> Result<Order> {
        let mut by_time = ByTime::new(inputs, floor)?;
        by_time.sort();
        let mut rows = Vec::with_capacity(inputs.rows());
        let mut heads = rollup.then(|| vec![0u64; inputs.rows().div_ceil(64)]);
        let mut ties =
            Ties { inputs, keys, stack: Vec::new(), keyed: Vec::new(), wide: Vec::new(), offsets: Vec::new() };
        by_time.each_instant(|same| {
            let start = rows.len();
            rows.extend_from_slice(same);
            ties.order(&mut rows[start..], &mut |from| {
                if let Some(heads) = &mut heads {
                    heads[(start + from) / 64] |= 1 << ((start + from) % 64);
                }
            });
        });
        let mut in_order = vec![true; inputs.len()];
        let mut last: Vec<Option<u32>> = vec![None; inputs.len()];
        for row in &rows {
            let (input, _) = inputs.locate(*row);
            in_order[input] &= last[input].is_none_or(|last| last < *row);
            last[input] = Some(*row);
        }
        let output_rows =
            heads.as_ref().map_or(rows.len(), |heads| heads.iter().map(|w| w.count_ones() as usize).sum());
        Ok(Order { rows, heads, output_rows, in_order })
    }

    pub fn output_rows(&self) -> usize {
        self.output_rows
    }

    pub fn in_order(&self, input: usize) -> bool {
        self.in_order[input]
    }

    /// The blocks of the output.
    pub fn blocks(&self) -> impl Iterator<Item = OutputBlock<'_>> {
        let mut from = 0;
        std::iter::from_fn(move || {
            if from == self.rows.len() {
                return None;
            }
            let mut starts = Vec::with_capacity(BLOCK_ROWS + 1);
            let first = from;
            let end = match &self.heads {
                None => {
                    let end = self.rows.len().min(first + BLOCK_ROWS);
                    starts.extend(0..=(end - first) as u32);
                    end
                }
                Some(heads) => {
                    let mut at = first;
                    loop {
                        if at == self.rows.len() {
                            break;
                        }
                        if heads[at / 64] >> (at % 64) & 1 == 1 {
                            if starts.len() == BLOCK_ROWS {
                                break;
                            }
                            starts.push((at - first) as u32);
                        }
                        at += 1;
                    }
                    starts.push((at - first) as u32);
                    at
                }
            };
            from = end;
            Some(OutputBlock { rows: &self.rows[first..end], starts })
        })
    }
}

/// Rows that become a block of the output.
pub(super) struct OutputBlock<'a> {
    rows: &'a [u32],
    /// Row `i` of the output is made of `rows[starts[i]..starts[i + 1]]`.
    starts: Vec<u32>,
}

impl<'a> OutputBlock<'a> {
    pub fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// All rows of each row of the output.
    pub fn groups(&self) -> impl Iterator<Item = &'a [u32]> {
        self.starts.windows(2).map(|w| &self.rows[w[0] as usize..w[1] as usize])
    }

    /// The first row of each row of the output.
    pub fn firsts(&self) -> impl Iterator<Item = u32> {
        self.starts[..self.len()].iter().map(|start| self.rows[*start as usize])
    }
}

/// Rows with their times, packed into one word if they fit.
enum ByTime {
    Packed { keys: Vec<u64>, bits: u32 },
    Wide(Vec<(i64, u32)>),
}

impl ByTime {
    fn new(inputs: &Inputs, floor: &dyn Fn(&mut [i64])) -> Result<ByTime> {
        let ranges = inputs.segments().filter_map(|s| s.time_range());
        let range = ranges.reduce(|(lo, hi), (l, h)| (lo.min(l), hi.max(h)));
        let (low, high) = range.map_or((0, 0), |(lo, hi)| {
            let mut ends = [lo, hi];
            floor(&mut ends);
            (ends[0], ends[1].max(hi))
        });
        let bits = 64 - inputs.end().leading_zeros();
        let spread = high.wrapping_sub(low) as u64;
        let packed = bits + (64 - spread.leading_zeros()) <= 64;
        let mut keys = Vec::with_capacity(if packed { inputs.rows() } else { 0 });
        let mut wide = Vec::with_capacity(if packed { 0 } else { inputs.rows() });
        let mut times = vec![0i64; BLOCK_ROWS];
        for (input, segment) in inputs.segments().enumerate() {
            let time = segment.time()?;
            let base = inputs.base(input);
            for start in (0..segment.rows()).step_by(BLOCK_ROWS) {
                let times = &mut times[..BLOCK_ROWS.min(segment.rows() - start)];
                time.longs(start, times);
                floor(times);
                let numbered = times.iter().zip(base + start as u32..);
                if packed {
                    keys.extend(numbered.map(|(t, row)| (t.wrapping_sub(low) as u64) << bits | u64::from(row)));
                } else {
                    wide.extend(numbered.map(|(t, row)| (*t, row)));
                }
            }
        }
        Ok(if packed { ByTime::Packed { keys, bits } } else { ByTime::Wide(wide) })
    }

    /// The stable sort finds the runs that sorted inputs are and merges them.
    fn sort(&mut self) {
        match self {
            ByTime::Packed { keys, .. } => keys.sort(),
            ByTime::Wide(keys) => keys.sort(),
        }
    }

    /// Calls back with the rows of each time, in the order of times.
    fn each_instant(self, mut each: impl FnMut(&[u32])) {
        let mut same = Vec::new();
        match self {
            ByTime::Packed { keys, bits } => {
                for instant in keys.chunk_by(|a, b| a >> bits == b >> bits) {
                    same.clear();
                    same.extend(instant.iter().map(|key| (key & ((1 << bits) - 1)) as u32));
                    each(&same);
                }
            }
            ByTime::Wide(keys) => {
                for instant in keys.chunk_by(|a, b| a.0 == b.0) {
                    same.clear();
                    same.extend(instant.iter().map(|key| key.1));
                    each(&same);
                }
            }
        }
    }
}

/// A dimension that rows are ordered by, of each input.
pub(super) struct SortKey<'a> {
    columns: Vec<KeyColumn<'a>>,
    kind: KeyKind,
    /// A list of nothing but null is an empty list.
    has_null: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum KeyKind {
    Codes,
    Lists,
    Numbers,
}

enum KeyColumn<'a> {
    /// All null, which is code 0.
    Missing,
    Codes {
        column: &'a DictColumn,
        map: &'a [u32],
    },
    Numbers(&'a NumberColumn),
}

impl<'a> SortKey<'a> {
    pub fn new(columns: &'a [Source], union: Option<&'a Union>) -> SortKey<'a> {
        let key = |(i, source): (usize, &'a Source)| match (source.column(), union) {
            (Some(Column::Dict(column)), Some(union)) => KeyColumn::Codes { column, map: union.map(i) },
            (Some(Column::Document(column)), Some(union)) => {
                KeyColumn::Codes { column: column.texts(), map: union.map(i) }
            }
            (Some(Column::Number(column)), _) => KeyColumn::Numbers(column),
            _ => KeyColumn::Missing,
        };
        let kind = match union {
            Some(union) if union.is_multi() => KeyKind::Lists,
            Some(_) => KeyKind::Codes,
            None => KeyKind::Numbers,
        };
        let has_null = union.is_some_and(|union| union.has_null());
        SortKey { columns: columns.iter().enumerate().map(key).collect(), kind, has_null }
    }

    fn codes(&self, inputs: &Inputs, rows: &[u32], mut each: impl FnMut(u32)) {
        for rows in by_input(inputs, rows) {
            let (input, _) = inputs.locate(rows[0]);
            match &self.columns[input] {
                KeyColumn::Codes { column, map } => {
                    let base = inputs.base(input);
                    rows.iter().for_each(|row| each(map[column.code_at((row - base) as usize) as usize]));
                }
                KeyColumn::Missing => rows.iter().for_each(|_| each(0)),
                KeyColumn::Numbers(_) => unreachable!("a string dimension has no numbers"),
            }
        }
    }

    fn list(&self, inputs: &Inputs, row: u32, offsets: &mut Vec<u32>) -> Vec<u32> {
        let (input, row) = inputs.locate(row);
        let mut codes = Vec::new();
        if let KeyColumn::Codes { column, map } = &self.columns[input] {
            column.lists(row, 1, offsets, &mut codes);
            codes.iter_mut().for_each(|code| *code = map[*code as usize]);
            if codes == [0] && self.has_null {
                codes.clear();
            }
        }
        codes
    }

    /// Null first, then by value.
    fn number(&self, inputs: &Inputs, row: u32) -> (bool, u64) {
        let (input, row) = inputs.locate(row);
        let KeyColumn::Numbers(column) = &self.columns[input] else { return (false, 0) };
        if column.has_nulls() {
            let mut null = [false];
            column.nulls(row, &mut null);
            if null[0] {
                return (false, 0);
            }
        }
        if column.value_type() == ValueType::Long {
            let mut value = [0];
            column.longs(row, &mut value);
            (true, value[0] as u64 ^ 1 << 63)
        } else {
            let mut value = [0.0];
            column.doubles(row, &mut value);
            let bits = f64::to_bits(value[0]);
            (true, if bits >> 63 == 1 { !bits } else { bits | 1 << 63 })
        }
    }
}

/// Cuts a list of rows where the input changes.
fn by_input<'a>(inputs: &'a Inputs, rows: &'a [u32]) -> impl Iterator<Item = &'a [u32]> {
    rows.chunk_by(|a, b| inputs.locate(*a).0 == inputs.locate(*b).0)
}

/// Orders rows of one time by the dimensions in turn: rows that are equal in the first ones are ordered by the next.
struct Ties<'a> {
    inputs: &'a Inputs<'a>,
    keys: &'a [SortKey<'a>],
    /// Stretches of the rows that are equal up to a dimension: (from, to, dimension).
    stack: Vec<(usize, usize, usize)>,
    keyed: Vec<u64>,
    wide: Vec<(bool, u64, u32)>,
    offsets: Vec<u32>,
}

impl Ties<'_> {
    /// Calls `head` with the place of the first row of each set of equal rows. Equal rows keep the order of their
    /// numbers.
    fn order(&mut self, rows: &mut [u32], head: &mut dyn FnMut(usize)) {
        self.stack.push((0, rows.len(), 0));
        while let Some((from, to, dimension)) = self.stack.pop() {
            let same = &mut rows[from..to];
            if same.len() == 1 || dimension == self.keys.len() {
                head(from);
                continue;
            }
            let key = &self.keys[dimension];
            let stack = &mut self.stack;
            let mut push = |start: usize, end: usize| stack.push((from + start, from + end, dimension + 1));
            match key.kind {
                KeyKind::Codes => {
                    self.keyed.clear();
                    let keyed = &mut self.keyed;
                    let mut numbers = same.iter();
                    key.codes(self.inputs, same, |code| {
                        let row = numbers.next().expect("a code for each row");
                        keyed.push(u64::from(code) << 32 | u64::from(*row));
                    });
                    if !keyed.is_sorted() {
                        keyed.sort();
                    }
                    same.iter_mut().zip(keyed.iter()).for_each(|(row, key)| *row = *key as u32);
                    each_run(keyed, |a, b| a >> 32 == b >> 32, &mut push);
                }
                KeyKind::Numbers => {
                    self.wide.clear();
                    self.wide.extend(same.iter().map(|row| {
                        let (there, value) = key.number(self.inputs, *row);
                        (there, value, *row)
                    }));
                    self.wide.sort();
                    same.iter_mut().zip(&self.wide).for_each(|(row, key)| *row = key.2);
                    each_run(&self.wide, |a, b| (a.0, a.1) == (b.0, b.1), &mut push);
                }
                KeyKind::Lists => {
                    let list = |row: &u32| (key.list(self.inputs, *row, &mut self.offsets), *row);
                    let mut lists: Vec<(Vec<u32>, u32)> = same.iter().map(list).collect();
                    lists.sort();
                    same.iter_mut().zip(&lists).for_each(|(row, key)| *row = key.1);
                    each_run(&lists, |a, b| a.0 == b.0, &mut push);
                }
            }
        }
    }
}

/// Calls back with the stretches of equal items.
fn each_run<T>(items: &[T], same: impl Fn(&T, &T) -> bool, push: &mut impl FnMut(usize, usize)) {
    let mut start = 0;
    for run in items.chunk_by(same) {
        push(start, start + run.len());
        start += run.len();
    }
}
