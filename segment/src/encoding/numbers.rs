//! Longs, floats and doubles, in blocks of [`BLOCK_ROWS`], each in the form with the smallest estimate:
//!
//! 1. *Constant*: one value.
//! 2. *Packed*: `base + step * k`, the `k` bit-packed (frame of reference; the step is the greatest common divisor).
//! 3. *Delta*: differences of neighbours above the smallest one, bit-packed, restarting every 1024 rows. Longs only.
//! 4. *Dictionary*: up to 256 distinct values and bit-packed places among them.
//! 5. *Decimal*: doubles and floats that are a whole number over a power of ten, exactly; that number as in 2, and a
//!    list of the rows for which it does not hold (prices are like this, and they unpack faster than raw bytes are read).
//! 6. *Raw*, as it is or under LZ4.
//!
//! Smallest and largest value of each block stand in the directory behind the blocks.

use bytes::Bytes;

use super::bitpack::{GROUP, get, group_bytes, pack, unpack_decimals, unpack32, unpack64, width_of};
use super::{Fields, u16_at, u64_at};
use crate::block::{BLOCK_ROWS, spans};

/// Bytes of a directory entry: offset u64, form u8, flags u8, width u8, exponent u8, extra u32, min u64, max u64.
const ENTRY: usize = 32;

const CONSTANT: u8 = 0;
const PACKED: u8 = 1;
const DELTA: u8 = 2;
const DICTIONARY: u8 = 3;
const RAW: u8 = 4;
const RAW_LZ4: u8 = 5;
const DECIMAL: u8 = 6;

/// Some rows are null: a bitset stands before the values.
const SOME_NULL: u8 = 1;
/// All rows are null.
const ALL_NULL: u8 = 2;
/// The bounds mean nothing: no value is there, or one is not a number.
const NO_BOUNDS: u8 = 4;

const DICTIONARY_MAX: usize = 256;
/// Whole numbers up to this are exact as doubles, and convert by adding a constant.
const DECIMAL_MAX: f64 = (1u64 << 51) as f64;
const EXPONENT_MAX: usize = 14;
const POWERS: [f64; EXPONENT_MAX + 1] = [1., 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14];
/// A decimal block may have this many rows that are no such decimals.
const EXCEPTIONS_MAX: usize = BLOCK_ROWS / 32;

/// What the numbers of a column are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NumberKind {
    Long,
    Float,
    Double,
}

/// Encodes block after block; the last may be short.
pub struct NumbersWriter {
    kind: NumberKind,
    directory: Vec<u8>,
    written: u64,
}

/// The form that a block takes.
enum Plan {
    Constant(u64),
    Packed { base: i64, step: u64, width: u32 },
    Delta { base: i64, width: u32 },
    Dictionary { values: Vec<u64>, places: Vec<u64> },
    Decimal { exponent: usize, base: i64, width: u32, whole: Vec<i64>, exceptions: Vec<usize> },
    Raw,
    Lz4(Vec<u8>),
}

impl NumbersWriter {
    pub fn new(kind: NumberKind) -> NumbersWriter {
        NumbersWriter { kind, directory: Vec::new(), written: 0 }
    }

    /// Appends a block of longs. What stands below a null is not kept.
    pub fn longs(&mut self, values: &[i64], nulls: Option<&[bool]>, out: &mut Vec<u8>) {
        assert!(
            self.kind == NumberKind::Long && (1..=BLOCK_ROWS).contains(&values.len()),
            "a block of no or other numbers"
        );
        let mut values = values.to_vec();
        let (some, all) = fill_nulls(&mut values, nulls);
        let min = values.iter().copied().fold(i64::MAX, i64::min);
        let max = values.iter().copied().fold(i64::MIN, i64::max);
        let plan = plan_longs(&values, min, max);
        let bits: Vec<u64> = values.iter().map(|v| *v as u64).collect();
        let bounds = (!all).then_some((min as u64, max as u64));
        self.block(&bits, &values, nulls.filter(|_| some), all, bounds, plan, out);
    }

    /// Appends a block of doubles, which for a float column are floats.
    pub fn doubles(&mut self, values: &[f64], nulls: Option<&[bool]>, out: &mut Vec<u8>) {
        assert!(
            self.kind != NumberKind::Long && (1..=BLOCK_ROWS).contains(&values.len()),
            "a block of no or other numbers"
        );
        let mut values = values.to_vec();
        let (some, all) = fill_nulls(&mut values, nulls);
        if self.kind == NumberKind::Float {
            values.iter_mut().for_each(|v| *v = f64::from(*v as f32));
        }
        let nan = values.iter().any(|v| v.is_nan());
        let min = values.iter().copied().fold(f64::INFINITY, f64::min);
        let max = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let bounds = (!all && !nan).then_some((min.to_bits(), max.to_bits()));
        let bits: Vec<u64> = values.iter().map(|v| v.to_bits()).collect();
        let plan = plan_doubles(&values, &bits, self.kind);
        self.block(&bits, &[], nulls.filter(|_| some), all, bounds, plan, out);
    }

    /// Appends the directory.
    pub fn finish(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.directory);
    }

    #[allow(clippy::too_many_arguments)]
    fn block(
        &mut self,
        bits: &[u64],
        longs: &[i64],
        nulls: Option<&[bool]>,
        all_null: bool,
        bounds: Option<(u64, u64)>,
        plan: Plan,
        out: &mut Vec<u8>,
    ) {
        let from = out.len();
        let mut flags = if all_null { ALL_NULL } else { 0 };
        if let Some(nulls) = nulls {
            flags |= SOME_NULL;
            let mut words = vec![0u64; nulls.len().div_ceil(64)];
            nulls.iter().enumerate().filter(|(_, n)| **n).for_each(|(i, _)| words[i / 64] |= 1 << (i % 64));
            words.iter().for_each(|w| out.extend_from_slice(&w.to_le_bytes()));
        }
        if bounds.is_none() {
            flags |= NO_BOUNDS;
        }
        let (form, width, exponent, extra) = match plan {
            Plan::Constant(value) => {
                out.extend_from_slice(&value.to_le_bytes());
                (CONSTANT, 0, 0, 0)
            }
            Plan::Packed { base, step, width } => {
                out.extend_from_slice(&base.to_le_bytes());
                out.extend_from_slice(&step.to_le_bytes());
                pack_groups(longs.iter().map(|v| v.wrapping_sub(base) as u64 / step), width, out);
                (PACKED, width, 0, 0)
            }
            Plan::Delta { base, width } => {
                out.extend_from_slice(&base.to_le_bytes());
                longs.chunks(GROUP).for_each(|group| out.extend_from_slice(&group[0].to_le_bytes()));
                let mut last = 0;
                let deltas = longs.iter().enumerate().map(|(i, v)| {
                    let delta = if i % GROUP == 0 { 0 } else { v.wrapping_sub(last).wrapping_sub(base) as u64 };
                    last = *v;
                    delta
                });
                pack_groups(deltas, width, out);
                (DELTA, width, 0, 0)
            }
            Plan::Dictionary { values, places } => {
                let width = width_of(values.len() as u64 - 1);
                values.iter().for_each(|v| out.extend_from_slice(&v.to_le_bytes()));
                pack_groups(places.iter().copied(), width, out);
                (DICTIONARY, width, 0, values.len())
            }
            Plan::Decimal { exponent, base, width, whole, exceptions } => {
                out.extend_from_slice(&base.to_le_bytes());
                pack_groups(whole.iter().map(|v| v.wrapping_sub(base) as u64), width, out);
                exceptions.iter().for_each(|row| out.extend_from_slice(&(*row as u16).to_le_bytes()));
                exceptions.iter().for_each(|row| out.extend_from_slice(&bits[*row].to_le_bytes()));
                (DECIMAL, width, exponent, exceptions.len())
            }
            Plan::Raw => {
                out.extend_from_slice(&raw(bits, self.kind));
                (RAW, 0, 0, 0)
            }
            Plan::Lz4(bytes) => {
                out.extend_from_slice(&bytes);
                (RAW_LZ4, 0, 0, bytes.len())
            }
        };
        let (min, max) = bounds.unwrap_or_default();
        self.directory.extend_from_slice(&self.written.to_le_bytes());
        self.directory.extend_from_slice(&[form, flags, width as u8, exponent as u8]);
        self.directory.extend_from_slice(&(extra as u32).to_le_bytes());
        self.directory.extend_from_slice(&min.to_le_bytes());
        self.directory.extend_from_slice(&max.to_le_bytes());
        self.written += (out.len() - from) as u64;
    }
}

/// Puts a neighbour's value below each null, so that nulls cost no width. Answers whether some and whether all are null.
fn fill_nulls<T: Copy + Default>(values: &mut [T], nulls: Option<&[bool]>) -> (bool, bool) {
    let Some(nulls) = nulls else { return (false, false) };
    assert_eq!(values.len(), nulls.len(), "as many null flags as values");
    let Some(first) = nulls.iter().position(|n| !n) else {
        values.fill(T::default());
        return (false, true);
    };
    let mut last = values[first];
    for (value, null) in values.iter_mut().zip(nulls) {
        if *null {
            *value = last;
        } else {
            last = *value;
        }
    }
    (nulls.contains(&true), false)
}

fn plan_longs(values: &[i64], min: i64, max: i64) -> Plan {
    if min == max {
        return Plan::Constant(min as u64);
    }
    let groups = values.len().div_ceil(GROUP);
    let spread = max.wrapping_sub(min) as u64;
    let mut step = 0;
    for value in values {
        step = gcd(step, value.wrapping_sub(min) as u64);
        if step == 1 {
            break;
        }
    }
    let packed_width = width_of(spread / step);
    let mut best = groups * group_bytes(packed_width);
    let mut plan = Plan::Packed { base: min, step, width: packed_width };
    if let Some((base, width)) = delta_width(values) {
        let size = groups * (group_bytes(width) + 8);
        // Deltas cost a dependent addition a row, so they must be worth it.
        if size * 5 < best * 4 {
            (best, plan) = (size, Plan::Delta { base, width });
        }
    }
    if packed_width > 4 && best > 0 {
        let bits: Vec<u64> = values.iter().map(|v| *v as u64).collect();
        if let Some((distinct, places)) = distinct(&bits) {
            let size = distinct.len() * 8 + groups * group_bytes(width_of(distinct.len() as u64 - 1));
            if size * 5 < best * 4 {
                plan = Plan::Dictionary { values: distinct, places };
            }
        }
    }
    plan
}

fn delta_width(values: &[i64]) -> Option<(i64, u32)> {
    let (mut low, mut high) = (i64::MAX, i64::MIN);
    for group in values.chunks(GROUP) {
        for pair in group.windows(2) {
            let delta = pair[1].checked_sub(pair[0])?;
            (low, high) = (low.min(delta), high.max(delta));
        }
    }
    (low <= high).then(|| (low, width_of(high.wrapping_sub(low) as u64)))
}

fn plan_doubles(values: &[f64], bits: &[u64], kind: NumberKind) -> Plan {
    if bits.iter().all(|b| *b == bits[0]) {
        return Plan::Constant(bits[0]);
    }
    let groups = values.len().div_ceil(GROUP);
    let raw_size = values.len() * if kind == NumberKind::Float { 4 } else { 8 };
    let (mut best, mut plan) = (raw_size, Plan::Raw);
    if let Some((distinct, places)) = distinct(bits) {
        let size = distinct.len() * 8 + groups * group_bytes(width_of(distinct.len() as u64 - 1));
        if size < best {
            (best, plan) = (size, Plan::Dictionary { values: distinct, places });
        }
    }
    if let Some((exponent, base, width, whole, exceptions)) = decimals(values, bits, kind) {
        let size = groups * group_bytes(width) + exceptions.len() * 10;
        if size < best {
            (best, plan) = (size, Plan::Decimal { exponent, base, width, whole, exceptions });
        }
    }
    if best == raw_size {
        let bytes = lz4_flex::block::compress(&raw(bits, kind));
        if bytes.len() * 5 < raw_size * 4 {
            plan = Plan::Lz4(bytes);
        }
    }
    plan
}

/// Finds the smallest exponent at which nearly all values are whole numbers over its power of ten.
#[allow(clippy::type_complexity)]
fn decimals(values: &[f64], bits: &[u64], kind: NumberKind) -> Option<(usize, i64, u32, Vec<i64>, Vec<usize>)> {
    let holds = |i: usize, exponent: usize| -> Option<i64> {
        let scaled = (values[i] * POWERS[exponent]).round();
        let fits = scaled.abs() < DECIMAL_MAX;
        (fits && decimal(scaled as i64, exponent, kind).to_bits() == bits[i]).then_some(scaled as i64)
    };
    // A spread-out sample settles the exponent; the whole block is then held against it.
    let sample: Vec<usize> = (0..values.len()).step_by(values.len().div_ceil(48)).collect();
    let misses = |e: usize| sample.iter().filter(|i| holds(**i, e).is_none()).count();
    let mut exponent = (0..=EXPONENT_MAX).find(|e| misses(*e) * 16 <= sample.len())?;
    loop {
        let mut whole = Vec::with_capacity(values.len());
        let mut exceptions = Vec::new();
        for i in 0..values.len() {
            match holds(i, exponent) {
                Some(value) => whole.push(value),
                None => {
                    exceptions.push(i);
                    whole.push(i64::MIN);
                    if exceptions.len() > EXCEPTIONS_MAX {
                        break;
                    }
                }
            }
        }
        if exceptions.len() > EXCEPTIONS_MAX {
            if exponent == EXPONENT_MAX {
                return None;
            }
            exponent += 1;
            continue;
        }
        let real = || whole.iter().copied().filter(|v| *v != i64::MIN);
        let (base, top) = (real().min()?, real().max()?);
        exceptions.iter().for_each(|row| whole[*row] = base);
        return Some((exponent, base, width_of((top - base) as u64), whole, exceptions));
    }
}

#[inline(always)]
fn decimal(whole: i64, exponent: usize, kind: NumberKind) -> f64 {
    let value = whole as f64 / POWERS[exponent];
    if kind == NumberKind::Float { f64::from(value as f32) } else { value }
}

/// The distinct values in the order of their bits, and each row's place among them; `None` if there are too many.
fn distinct(bits: &[u64]) -> Option<(Vec<u64>, Vec<u64>)> {
    let mut known = hashbrown::HashMap::with_capacity_and_hasher(DICTIONARY_MAX, foldhash::fast::FixedState::default());
    let mut last = !bits[0];
    for value in bits {
        if *value != last {
            known.insert(*value, 0u64);
            if known.len() > DICTIONARY_MAX {
                return None;
            }
            last = *value;
        }
    }
    let mut values: Vec<u64> = known.keys().copied().collect();
    values.sort_unstable();
    values.iter().enumerate().for_each(|(place, value)| {
        known.insert(*value, place as u64);
    });
    Some((values, bits.iter().map(|b| known[b]).collect()))
}

fn raw(bits: &[u64], kind: NumberKind) -> Vec<u8> {
    match kind {
        NumberKind::Float => bits.iter().flat_map(|b| (f64::from_bits(*b) as f32).to_le_bytes()).collect(),
        _ => bits.iter().flat_map(|b| b.to_le_bytes()).collect(),
    }
}

fn pack_groups(values: impl Iterator<Item = u64>, width: u32, out: &mut Vec<u8>) {
    let mut group = Vec::with_capacity(GROUP);
    for value in values {
        group.push(value);
        if group.len() == GROUP {
            pack(&group, width, out);
            group.clear();
        }
    }
    if !group.is_empty() {
        pack(&group, width, out);
    }
}

fn gcd(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// A run of numbers read in place. Whatever the bytes are, reading them gives numbers.
pub struct Numbers {
    kind: NumberKind,
    bytes: Bytes,
    rows: usize,
    blocks: Vec<NumberBlock>,
    has_nulls: bool,
}

struct NumberBlock {
    /// Of the null bitset, if there is one, else of the values.
    offset: usize,
    /// Of what follows the bitset.
    values: usize,
    form: u8,
    flags: u8,
    width: u8,
    exponent: u8,
    extra: u32,
    min: u64,
    max: u64,
}

impl Numbers {
    /// `None` if the bytes cannot be so many numbers.
    pub fn open(kind: NumberKind, bytes: Bytes, rows: usize) -> Option<Numbers> {
        let count = rows.div_ceil(BLOCK_ROWS);
        let payload = bytes.len().checked_sub(count.checked_mul(ENTRY)?)?;
        let mut fields = Fields(&bytes[payload..]);
        let mut blocks = Vec::with_capacity(count);
        for i in 0..count {
            let offset = usize::try_from(fields.u64()?).ok()?;
            let (form, flags, width, exponent) = (fields.u8()?, fields.u8()?, fields.u8()?, fields.u8()?);
            let (extra, min, max) = (fields.u32()?, fields.u64()?, fields.u64()?);
            let rows = BLOCK_ROWS.min(rows - i * BLOCK_ROWS);
            let groups = rows.div_ceil(GROUP);
            if width > 64 || exponent as usize > EXPONENT_MAX || (form == DICTIONARY && width > 8) {
                return None;
            }
            let packed = groups * group_bytes(u32::from(width));
            let extra_len = extra as usize;
            let len = match form {
                CONSTANT => 8,
                PACKED => 16 + packed,
                DELTA => 8 + groups * 8 + packed,
                DICTIONARY if (1..=DICTIONARY_MAX).contains(&extra_len) => extra_len * 8 + packed,
                RAW => rows * raw_bytes(kind),
                RAW_LZ4 => extra_len,
                DECIMAL if extra_len <= EXCEPTIONS_MAX => 8 + packed + extra_len * 10,
                _ => return None,
            };
            let long = kind == NumberKind::Long;
            if (long && form == DECIMAL) || (!long && matches!(form, PACKED | DELTA)) {
                return None;
            }
            let nulls = if flags & SOME_NULL != 0 { rows.div_ceil(64) * 8 } else { 0 };
            let values = offset.checked_add(nulls)?;
            if values.checked_add(len)? > payload {
                return None;
            }
            blocks.push(NumberBlock { offset, values, form, flags, width, exponent, extra, min, max });
        }
        let has_nulls = blocks.iter().any(|b| b.flags & (SOME_NULL | ALL_NULL) != 0);
        Some(Numbers { kind, bytes, rows, blocks, has_nulls })
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    pub fn has_nulls(&self) -> bool {
        self.has_nulls
    }

    pub fn blocks(&self) -> usize {
        self.blocks.len()
    }

    /// Bits of the smallest and largest value of a block.
    pub fn bounds(&self, block: usize) -> Option<(u64, u64)> {
        let block = &self.blocks[block];
        (block.flags & NO_BOUNDS == 0).then_some((block.min, block.max))
    }

    /// Whether a block's rows are all null.
    pub fn all_null(&self, block: usize) -> bool {
        self.blocks[block].flags & ALL_NULL != 0
    }

    /// Name of the form that a block is kept in, for those who look at files.
    pub fn form(&self, block: usize) -> &'static str {
        match self.blocks[block].form {
            CONSTANT => "constant",
            PACKED => "packed",
            DELTA => "delta",
            DICTIONARY => "dictionary",
            RAW => "raw",
            RAW_LZ4 => "raw lz4",
            _ => "decimal",
        }
    }

    /// Longs from row `start` on; 0 where null. Panics if these are no longs.
    pub fn longs(&self, start: usize, out: &mut [i64]) {
        assert!(self.kind == NumberKind::Long, "longs of a column of doubles");
        self.each(start, out, |numbers, index, from, out| {
            numbers.long_span(index, from, out);
            numbers.zero_nulls(index, from, out);
        });
    }

    /// Doubles from row `start` on, whatever the kind; 0 where null.
    pub fn doubles(&self, start: usize, out: &mut [f64]) {
        self.each(start, out, |numbers, index, from, out| {
            if numbers.kind == NumberKind::Long {
                let mut longs = [0i64; GROUP];
                let mut done = 0;
                while done < out.len() {
                    let len = GROUP.min(out.len() - done);
                    numbers.long_span(index, from + done, &mut longs[..len]);
                    out[done..done + len].iter_mut().zip(&longs).for_each(|(o, v)| *o = *v as f64);
                    done += len;
                }
            } else {
                numbers.double_span(index, from, out);
            }
            numbers.zero_nulls(index, from, out);
        });
    }

    /// Whether each row from `start` on is null; answers whether any is.
    pub fn nulls(&self, start: usize, out: &mut [bool]) -> bool {
        let mut any = false;
        self.each(start, out, |numbers, index, from, out| {
            let block = &numbers.blocks[index];
            if block.flags & ALL_NULL != 0 {
                out.fill(true);
            } else if block.flags & SOME_NULL != 0 {
                out.iter_mut().enumerate().for_each(|(i, o)| *o = numbers.is_null(block, from + i));
            } else {
                out.fill(false);
            }
            any |= out.contains(&true);
        });
        any
    }

    /// Longs of the given rows, which are best in order; 0 where null.
    pub fn longs_at(&self, rows: &[u32], out: &mut Vec<i64>) {
        out.clear();
        let mut whole = Vec::new();
        for (index, rows) in by_block(rows) {
            let block = &self.blocks[index];
            if rows.len() * 16 > BLOCK_ROWS || matches!(block.form, RAW_LZ4 | DELTA) {
                whole.resize(self.block_rows(index), 0);
                self.longs(index * BLOCK_ROWS, &mut whole);
                out.extend(rows.iter().map(|r| whole[*r as usize % BLOCK_ROWS]));
            } else {
                let one = |r: &u32| self.bits_at(block, index, *r as usize % BLOCK_ROWS) as i64;
                out.extend(rows.iter().map(one));
            }
        }
    }

    /// Doubles of the given rows, which are best in order, whatever the kind; 0 where null.
    pub fn doubles_at(&self, rows: &[u32], out: &mut Vec<f64>) {
        out.clear();
        let mut whole = Vec::new();
        for (index, rows) in by_block(rows) {
            let block = &self.blocks[index];
            if rows.len() * 16 > BLOCK_ROWS || matches!(block.form, RAW_LZ4 | DELTA) {
                whole.resize(self.block_rows(index), 0.0);
                self.doubles(index * BLOCK_ROWS, &mut whole);
                out.extend(rows.iter().map(|r| whole[*r as usize % BLOCK_ROWS]));
            } else {
                out.extend(rows.iter().map(|r| {
                    let bits = self.bits_at(block, index, *r as usize % BLOCK_ROWS);
                    if self.kind == NumberKind::Long { bits as i64 as f64 } else { f64::from_bits(bits) }
                }));
            }
        }
    }

    /// Decodes each block under a compressor, so that damage which checksums cannot see is found.
    pub fn check(&self) -> bool {
        self.blocks.iter().enumerate().all(|(i, b)| b.form != RAW_LZ4 || self.inflate(i).is_some())
    }

    fn block_rows(&self, index: usize) -> usize {
        BLOCK_ROWS.min(self.rows - index * BLOCK_ROWS)
    }

    fn each<T>(&self, start: usize, out: &mut [T], mut run: impl FnMut(&Numbers, usize, usize, &mut [T])) {
        assert!(start + out.len() <= self.rows, "numbers past the last row");
        spans(start, out, |index, from, out| run(self, index, from, out));
    }

    fn is_null(&self, block: &NumberBlock, row: usize) -> bool {
        u64_at(&self.bytes, block.offset + row / 64 * 8) >> (row % 64) & 1 == 1
    }

    fn zero_nulls<T: Default>(&self, index: usize, from: usize, out: &mut [T]) {
        let block = &self.blocks[index];
        if block.flags & ALL_NULL != 0 {
            out.iter_mut().for_each(|o| *o = T::default());
        } else if block.flags & SOME_NULL != 0 {
            let rows = out.iter_mut().enumerate().filter(|(i, _)| self.is_null(block, from + i));
            rows.for_each(|(_, o)| *o = T::default());
        }
    }

    /// One value's bits, of forms that need no neighbours; 0 where null.
    fn bits_at(&self, block: &NumberBlock, index: usize, row: usize) -> u64 {
        if block.flags & ALL_NULL != 0 || (block.flags & SOME_NULL != 0 && self.is_null(block, row)) {
            return 0;
        }
        let packed = |at: usize| {
            let len = group_bytes(u32::from(block.width));
            get(&self.bytes[at + row / GROUP * len..][..len], u32::from(block.width), row % GROUP)
        };
        match block.form {
            CONSTANT => u64_at(&self.bytes, block.values),
            PACKED => {
                let (base, step) = (u64_at(&self.bytes, block.values), u64_at(&self.bytes, block.values + 8));
                base.wrapping_add(packed(block.values + 16).wrapping_mul(step))
            }
            DICTIONARY => {
                let place = packed(block.values + block.extra as usize * 8).min(u64::from(block.extra) - 1);
                u64_at(&self.bytes, block.values + place as usize * 8)
            }
            DECIMAL => {
                let rows = self.exceptions(block, self.block_rows(index));
                if let Some(bits) = rows.filter(|(r, _)| *r == row).map(|(_, bits)| bits).next() {
                    return bits;
                }
                let whole = u64_at(&self.bytes, block.values).wrapping_add(packed(block.values + 8));
                decimal(whole as i64, block.exponent as usize, self.kind).to_bits()
            }
            _ if self.kind == NumberKind::Float => {
                let bits = super::u32_at(&self.bytes, block.values + row * 4);
                f64::from(f32::from_bits(bits)).to_bits()
            }
            _ => u64_at(&self.bytes, block.values + row * 8),
        }
    }

    /// Rows of a decimal block that are no decimals, and their bits.
    fn exceptions(&self, block: &NumberBlock, rows: usize) -> impl Iterator<Item = (usize, u64)> {
        let count = block.extra as usize;
        let at = block.values + 8 + rows.div_ceil(GROUP) * group_bytes(u32::from(block.width));
        (0..count).map(move |i| (u16_at(&self.bytes, at + i * 2) as usize, u64_at(&self.bytes, at + count * 2 + i * 8)))
    }

    /// Runs over the groups that rows `from .. from + out.len()` of a block touch: `unpack(group, out)` gives a whole
    /// group, of which the part asked for is kept.
    fn groups<T: Copy + Default>(from: usize, out: &mut [T], mut unpack: impl FnMut(usize, &mut [T; GROUP])) {
        let (mut row, mut out) = (from, out);
        while !out.is_empty() {
            let within = row % GROUP;
            let len = (GROUP - within).min(out.len());
            if len == GROUP {
                unpack(row / GROUP, (&mut out[..GROUP]).try_into().expect("a group's length"));
            } else {
                let mut group = [T::default(); GROUP];
                unpack(row / GROUP, &mut group);
                out[..len].copy_from_slice(&group[within..within + len]);
            }
            (row, out) = (row + len, &mut out[len..]);
        }
    }

    fn long_span(&self, index: usize, from: usize, out: &mut [i64]) {
        let block = &self.blocks[index];
        let (bytes, values, width) = (&self.bytes[..], block.values, u32::from(block.width));
        let len = group_bytes(width);
        match block.form {
            CONSTANT => out.fill(u64_at(bytes, values) as i64),
            PACKED => {
                let (base, step) = (u64_at(bytes, values) as i64, u64_at(bytes, values + 8) as i64);
                Self::groups(from, out, |group, out| {
                    let input = &bytes[values + 16 + group * len..][..len];
                    if step == 1 {
                        unpack64(input, width, base, out);
                    } else {
                        unpack64(input, width, 0, out);
                        out.iter_mut().for_each(|o| *o = o.wrapping_mul(step).wrapping_add(base));
                    }
                });
            }
            DELTA => {
                let base = u64_at(bytes, values) as i64;
                let groups = self.block_rows(index).div_ceil(GROUP);
                Self::groups(from, out, |group, out| {
                    let input = &bytes[values + 8 + groups * 8 + group * len..][..len];
                    unpack64(input, width, base, out);
                    out[0] = u64_at(bytes, values + 8 + group * 8) as i64;
                    let mut sum = 0i64;
                    for value in out {
                        sum = sum.wrapping_add(*value);
                        *value = sum;
                    }
                });
            }
            DICTIONARY => self.dictionary_span(block, from, out, |bits| bits as i64),
            RAW => {
                let bytes = &bytes[values + from * 8..][..out.len() * 8];
                out.iter_mut().zip(bytes.as_chunks::<8>().0).for_each(|(o, b)| *o = i64::from_le_bytes(*b));
            }
            _ => match self.inflate(index) {
                Some(raw) => {
                    let bytes = &raw[from * 8..][..out.len() * 8];
                    out.iter_mut().zip(bytes.as_chunks::<8>().0).for_each(|(o, b)| *o = i64::from_le_bytes(*b));
                }
                None => out.fill(0),
            },
        }
    }

    fn double_span(&self, index: usize, from: usize, out: &mut [f64]) {
        let block = &self.blocks[index];
        let bytes = &self.bytes[..];
        match block.form {
            CONSTANT => out.fill(f64::from_bits(u64_at(bytes, block.values))),
            DICTIONARY => self.dictionary_span(block, from, out, f64::from_bits),
            DECIMAL => self.decimal_span(block, index, from, out),
            RAW => self.raw_doubles(&bytes[block.values..], from, out),
            _ => match self.inflate(index) {
                Some(raw) => self.raw_doubles(&raw, from, out),
                None => out.fill(0.0),
            },
        }
    }

    fn decimal_span(&self, block: &NumberBlock, index: usize, from: usize, out: &mut [f64]) {
        let (bytes, width) = (&self.bytes[..], u32::from(block.width));
        let (base, len) = (u64_at(bytes, block.values) as i64, group_bytes(width));
        let power = POWERS[block.exponent as usize];
        let float = self.kind == NumberKind::Float;
        Self::groups(from, out, |group, out| {
            let input = &bytes[block.values + 8 + group * len..][..len];
            unpack_decimals(input, width, base, power, out);
            if float {
                out.iter_mut().for_each(|o| *o = f64::from(*o as f32));
            }
        });
        for (row, bits) in self.exceptions(block, self.block_rows(index)) {
            if let Some(out) = row.checked_sub(from).and_then(|i| out.get_mut(i)) {
                *out = f64::from_bits(bits);
            }
        }
    }

    fn dictionary_span<T: Copy + Default>(
        &self,
        block: &NumberBlock,
        from: usize,
        out: &mut [T],
        make: impl Fn(u64) -> T,
    ) {
        let count = block.extra as usize;
        let mut table = [T::default(); DICTIONARY_MAX];
        for (i, slot) in table[..count].iter_mut().enumerate() {
            *slot = make(u64_at(&self.bytes, block.values + i * 8));
        }
        let len = group_bytes(u32::from(block.width));
        Self::groups(from, out, |group, out| {
            let input = &self.bytes[block.values + count * 8 + group * len..][..len];
            let mut places = [0u32; GROUP];
            unpack32(input, u32::from(block.width), 0, count as u32 - 1, &mut places);
            out.iter_mut().zip(&places).for_each(|(o, p)| *o = table[*p as usize & (DICTIONARY_MAX - 1)]);
        });
    }

    fn raw_doubles(&self, bytes: &[u8], from: usize, out: &mut [f64]) {
        if self.kind == NumberKind::Float {
            let bytes = &bytes[from * 4..][..out.len() * 4];
            let values = bytes.as_chunks::<4>().0;
            out.iter_mut().zip(values).for_each(|(o, b)| *o = f64::from(f32::from_le_bytes(*b)));
        } else {
            let bytes = &bytes[from * 8..][..out.len() * 8];
            out.iter_mut().zip(bytes.as_chunks::<8>().0).for_each(|(o, b)| *o = f64::from_le_bytes(*b));
        }
    }

    /// The raw bytes of a block under LZ4.
    fn inflate(&self, index: usize) -> Option<Vec<u8>> {
        let block = &self.blocks[index];
        let size = self.block_rows(index) * raw_bytes(self.kind);
        let input = &self.bytes[block.values..][..block.extra as usize];
        lz4_flex::block::decompress(input, size).ok().filter(|raw| raw.len() == size)
    }
}

fn raw_bytes(kind: NumberKind) -> usize {
    if kind == NumberKind::Float { 4 } else { 8 }
}

/// Cuts a list of rows where the block changes.
fn by_block(rows: &[u32]) -> impl Iterator<Item = (usize, &[u32])> {
    let block = |row: u32| row as usize / BLOCK_ROWS;
    rows.chunk_by(move |a, b| block(*a) == block(*b)).map(move |rows| (block(rows[0]), rows))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check_longs(values: &[i64], nulls: Option<&[bool]>) {
        let mut writer = NumbersWriter::new(NumberKind::Long);
        let mut bytes = Vec::new();
        for (i, block) in values.chunks(BLOCK_ROWS).enumerate() {
            writer.longs(block, nulls.map(|n| &n[i * BLOCK_ROWS..][..block.len()]), &mut bytes);
        }
        writer.finish(&mut bytes);
        let numbers = Numbers::open(NumberKind::Long, bytes.into(), values.len()).unwrap();
        let is_null = |i: usize| nulls.is_some_and(|n| n[i]);
        let expected: Vec<i64> = values.iter().enumerate().map(|(i, v)| if is_null(i) { 0 } else { *v }).collect();
        let mut out = vec![1; values.len()];
        numbers.longs(0, &mut out);
        assert_eq!(out, expected);
        for start in [1, values.len() / 3, values.len() / 2] {
            let len = (values.len() - start.min(values.len())).min(1500);
            let mut out = vec![1; len];
            numbers.longs(start.min(values.len()), &mut out);
            assert_eq!(out, expected[start.min(values.len())..][..len]);
        }
        let rows: Vec<u32> = (0..values.len() as u32).step_by(97).collect();
        let mut out = Vec::new();
        numbers.longs_at(&rows, &mut out);
        assert_eq!(out, rows.iter().map(|r| expected[*r as usize]).collect::<Vec<_>>());
        let mut flags = vec![false; values.len()];
        numbers.nulls(0, &mut flags);
        assert!(flags.iter().enumerate().all(|(i, n)| *n == is_null(i)));
        for block in 0..numbers.blocks() {
            let rows = block * BLOCK_ROWS..((block + 1) * BLOCK_ROWS).min(values.len());
            let real = || rows.clone().filter(|i| !is_null(*i)).map(|i| values[i]);
            let bounds = numbers.bounds(block).map(|(lo, hi)| (lo as i64, hi as i64));
            assert_eq!(bounds, real().min().zip(real().max()));
        }
    }

    fn check_doubles(values: &[f64], kind: NumberKind) -> &'static str {
        let mut writer = NumbersWriter::new(kind);
        let mut bytes = Vec::new();
        values.chunks(BLOCK_ROWS).for_each(|block| writer.doubles(block, None, &mut bytes));
        writer.finish(&mut bytes);
        let numbers = Numbers::open(kind, bytes.into(), values.len()).unwrap();
        let bits = |values: &[f64]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        let mut out = vec![1.0; values.len()];
        numbers.doubles(0, &mut out);
        assert_eq!(bits(&out), bits(values));
        let rows: Vec<u32> = (0..values.len() as u32).step_by(61).collect();
        let mut out = Vec::new();
        numbers.doubles_at(&rows, &mut out);
        assert_eq!(bits(&out), rows.iter().map(|r| values[*r as usize].to_bits()).collect::<Vec<_>>());
        if values.is_empty() { "" } else { numbers.form(0) }
    }

    #[test]
    fn each_shape_of_doubles_takes_its_form() {
        let many = |f: &dyn Fn(u32) -> f64| (0..5000).map(f).collect::<Vec<f64>>();
        let noise = |i: u32| f64::from(i.wrapping_mul(2_654_435_761)) * 1e-3 + f64::from(i).sqrt();
        let cases: [(&str, Vec<f64>); 8] = [
            ("constant", many(&|_| -0.0)),
            ("constant", many(&|_| f64::NAN)),
            ("decimal", many(&|i| f64::from(i.wrapping_mul(7919) % 9_000_000) / 100.0)),
            ("decimal", many(&|i| if i % 100 == 5 { f64::NAN } else { -f64::from(i) })),
            ("dictionary", many(&|i| f64::from(i % 7).sqrt())),
            ("raw", many(&noise)),
            ("raw lz4", many(&|i| noise(i % 300))),
            ("decimal", many(&|i| if i % 200 == 0 { -0.0 } else { f64::from(i) / 1e4 })),
        ];
        for (form, values) in cases {
            assert_eq!(check_doubles(&values, NumberKind::Double), form);
        }
        let floats = many(&|i| f64::from(i as f32 / 8.0 * 0.1));
        check_doubles(&floats, NumberKind::Float);
        assert_eq!(check_doubles(&many(&|i| f64::from((f64::from(i) / 10.0) as f32)), NumberKind::Float), "decimal");
    }

    #[test]
    fn each_shape_of_longs_comes_back() {
        let many = |f: &dyn Fn(i64) -> i64| (0..9000).map(f).collect::<Vec<i64>>();
        check_longs(&many(&|i| i * i), None);
        check_longs(&many(&|_| 7), None);
        check_longs(&many(&|i| 1_600_000_000_000 + i * 1000), None);
        check_longs(&many(&|i| (i % 3) * 3_600_000), None);
        check_longs(&many(&|i| i.wrapping_mul(0x9e37_79b9_7f4a_7c15u64 as i64)), None);
        check_longs(&many(&|i| if i % 2 == 0 { i64::MIN } else { i64::MAX }), None);
        let nulls: Vec<bool> = (0..9000).map(|i| i < 4500 || i % 5 == 0).collect();
        check_longs(&many(&|i| i << 20), Some(&nulls));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_longs_come_back(
            values in proptest::collection::vec((any::<i64>(), any::<bool>()), 1..6000),
            shift in 0u32..64,
            with_nulls: bool,
        ) {
            let (values, nulls): (Vec<i64>, Vec<bool>) = values.into_iter().map(|(v, n)| (v >> shift, n)).unzip();
            check_longs(&values, with_nulls.then_some(&nulls));
        }

        #[test]
        fn any_doubles_come_back(values in proptest::collection::vec(any::<f64>(), 1..5000), digits in 0i32..20) {
            check_doubles(&values, NumberKind::Double);
            let cut: Vec<f64> = values.iter().map(|v| (v % 1e6 * 10f64.powi(digits)).round() / 10f64.powi(digits)).collect();
            check_doubles(&cut, NumberKind::Double);
            let floats: Vec<f64> = values.iter().map(|v| f64::from(*v as f32)).collect();
            check_doubles(&floats.iter().filter(|v| !v.is_nan()).copied().collect::<Vec<_>>(), NumberKind::Float);
        }
    }
}
