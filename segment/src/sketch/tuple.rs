//! Tuple sketches of arrays of doubles: estimates of distinct keys that carry sums, in Druid's bytes
//! (`arrayOfDoublesSketch`).
//!
//! The bytes: preamble longs (1), version (1), family (9), type (3), flags (4 empty, 8 entries follow), values a key (u8),
//! seed hash (u16), theta (u64), number of keys (u32), 4 unused, the keys' hashes (u64 each), their values (f64 each).

use std::hash::Hash;

use datasketches::codec::{SketchBytes, SketchSlice};
use datasketches::error::{Error, ErrorKind};
use datasketches::tuple::{
    CompactTupleSketch, SummaryCombinePolicy, SummaryPolicy, SummaryUpdatePolicy, TupleANotB, TupleIntersection,
    TupleSketch, TupleSketchBuilder, TupleSummaryValue, TupleUnion, TupleUnionBuilder,
};

use super::theta::{SetOp, lg_of};

pub const SIZE_DEFAULT: u32 = 4096;
/// Values that a key may carry.
pub const VALUES_MAX: i64 = 255;

const FLAG_EMPTY: u8 = 4;
const FLAG_ENTRIES: u8 = 8;
const THETA_MAX: u64 = i64::MAX as u64;

/// The sums of a key.
#[derive(Debug, Clone, PartialEq)]
pub struct Sums(pub Box<[f64]>);

pub type Sketch = CompactTupleSketch<Sums>;

#[derive(Debug, Clone, Copy)]
struct Adding {
    values: usize,
}

impl SummaryPolicy for Adding {
    type Summary = Sums;

    fn create(&self) -> Sums {
        Sums(vec![0.0; self.values].into())
    }
}

impl SummaryUpdatePolicy<&[f64]> for Adding {
    fn update(&self, summary: &mut Sums, values: &[f64]) {
        summary.0.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
    }
}

impl SummaryCombinePolicy for Adding {
    fn combine(&self, summary: &mut Sums, other: &Sums) {
        summary.0.iter_mut().zip(&other.0).for_each(|(sum, value)| *sum += value);
    }
}

impl TupleSummaryValue for Sums {
    fn serialize_size(&self) -> usize {
        1 + self.0.len() * 8
    }

    fn serialize_value(&self, bytes: &mut SketchBytes) {
        bytes.write_u8(self.0.len() as u8);
        self.0.iter().for_each(|value| bytes.write_f64_le(*value));
    }

    fn deserialize_value(cursor: &mut SketchSlice<'_>) -> Result<Sums, Error> {
        let failed = |_| Error::new(ErrorKind::InvalidData, "values of a key are missing");
        let count = cursor.read_u8().map_err(failed)?;
        (0..count).map(|_| cursor.read_f64_le().map_err(failed)).collect::<Result<Vec<_>, _>>().map(|v| Sums(v.into()))
    }
}

/// A sketch that takes keys with their values, and other sketches.
pub struct Tuple {
    lg_k: u8,
    values: usize,
    keys: Option<Box<TupleSketch<Adding>>>,
    sketches: Option<Box<TupleUnion<Adding>>>,
    /// How many values the keys of a sketch carry that could not be taken in.
    pub refused: Option<usize>,
}

impl Tuple {
    pub fn new(lg_k: u8, values: usize) -> Tuple {
        Tuple { lg_k, values, keys: None, sketches: None, refused: None }
    }

    /// How many values a key carries.
    pub fn values(&self) -> usize {
        self.values
    }

    pub fn update(&mut self, key: impl Hash, values: &[f64]) {
        let (lg_k, policy) = (self.lg_k, Adding { values: self.values });
        let build = || {
            let sketch = TupleSketchBuilder::new(policy).lg_k(lg_k).build();
            Box::new(sketch.expect("the size is within limits"))
        };
        self.keys.get_or_insert_with(build).update(key, values);
    }

    pub fn merge(&mut self, sketch: &Sketch) {
        let (lg_k, values) = (self.lg_k, self.values);
        let union = self.sketches.get_or_insert_with(|| Box::new(union_of(lg_k, values)));
        // Fails only for another seed.
        let _ = union.update(sketch);
    }

    pub fn absorb(&mut self, other: &Tuple) {
        self.refused = self.refused.or(other.refused);
        if let Some(keys) = &other.keys {
            self.merge(&keys.compact(false));
        }
        if let Some(sketches) = &other.sketches {
            self.merge(&sketches.to_sketch(false));
        }
    }

    pub fn result(&self) -> Sketch {
        let mut union = union_of(self.lg_k, self.values);
        if let Some(keys) = &self.keys {
            let _ = union.update(&keys.compact(false));
        }
        if let Some(sketches) = &self.sketches {
            let _ = union.update(&sketches.to_sketch(false));
        }
        union.to_sketch(true)
    }

    pub fn size_bytes(&self) -> usize {
        let sums = |keys: usize| keys * self.values * 8;
        size_of::<Tuple>()
            + self.keys.as_ref().map_or(0, |s| s.estimated_size() + sums(s.num_retained()))
            + self.sketches.as_ref().map_or(0, |s| s.estimated_size() * (1 + self.values))
    }
}

fn union_of(lg_k: u8, values: usize) -> TupleUnion<Adding> {
    TupleUnionBuilder::new(Adding { values }).lg_k(lg_k).build().expect("the size is within limits")
}

pub fn write(sketch: &Sketch, values: usize) -> Vec<u8> {
    let count = sketch.num_retained();
    let values = sketch.iter().next().map_or(values, |entry| entry.summary().0.len());
    let mut bytes = vec![1, 1, 9, 3, 0, values as u8];
    if sketch.is_empty() {
        bytes[4] |= FLAG_EMPTY;
    }
    if count > 0 {
        bytes[4] |= FLAG_ENTRIES;
    }
    bytes.extend(sketch.seed_hash().to_le_bytes());
    bytes.extend(sketch.theta64().to_le_bytes());
    if count > 0 {
        bytes.extend((count as u32).to_le_bytes());
        bytes.extend([0; 4]);
        sketch.iter().for_each(|entry| bytes.extend(entry.hash().to_le_bytes()));
        sketch.iter().flat_map(|entry| &entry.summary().0).for_each(|value| bytes.extend(value.to_le_bytes()));
    }
    bytes
}

/// The sketch, and how many values its keys carry.
pub fn read(bytes: &[u8]) -> Option<(Sketch, usize)> {
    let [_, 1, 9, 3, flags, values, seed0, seed1, ..] = *bytes else { return None };
    let long = |at: usize| bytes.get(at..at + 8).and_then(|b| b.try_into().ok()).map(u64::from_le_bytes);
    let theta = long(8)?;
    let values = usize::from(values);
    let empty = flags & FLAG_EMPTY != 0;
    let count = if flags & FLAG_ENTRIES != 0 { (long(16)? & u64::from(u32::MAX)) as usize } else { 0 };
    if !(1..=THETA_MAX).contains(&theta) || (empty && count > 0) {
        return None;
    }
    let sums = 24 + count.checked_mul(8)?;
    if count > 0 && bytes.len() != sums.checked_add(count.checked_mul(values)?.checked_mul(8)?)? {
        return None;
    }
    // The general form of tuple sketches, each key with its values: preamble longs, version, family, type, unused, flags.
    let flags = if empty { 0x0e } else { 0x0a };
    let mut general = vec![if empty { 1 } else { 3 }, 3, 9, 1, 0, flags, seed0, seed1];
    if !empty {
        general.extend((count as u64).to_le_bytes());
        general.extend(theta.to_le_bytes());
        for key in 0..count {
            general.extend(long(24 + key * 8)?.to_le_bytes());
            general.push(values as u8);
            let start = sums + key * values * 8;
            general.extend(bytes.get(start..start + values * 8)?);
        }
    }
    Sketch::deserialize(&general).ok().map(|sketch| (sketch, values))
}

/// The operation over sketches of as many values, which add up; `None` for sketches of different seeds.
pub fn combine(op: SetOp, size: u32, values: usize, sketches: &[Sketch]) -> Option<Sketch> {
    match op {
        SetOp::Union => {
            let mut union = union_of(lg_of(size), values);
            for sketch in sketches {
                union.update(sketch).ok()?;
            }
            Some(union.to_sketch(true))
        }
        SetOp::Intersect => {
            let mut both = TupleIntersection::new(Adding { values });
            for sketch in sketches {
                both.update(sketch).ok()?;
            }
            both.to_sketch(true)
        }
        SetOp::Not => {
            let (first, others) = sketches.split_first()?;
            let mut rest = first.clone();
            for other in others {
                rest = TupleANotB::default().compute(&rest, other, true).ok()?;
            }
            Some(rest)
        }
    }
}

/// Of each value, the estimated sum over all keys.
pub fn sums(sketch: &Sketch, values: usize) -> Vec<f64> {
    column_sums(sketch, values, |value, _| value).into_iter().map(|sum| sum / sketch.theta()).collect()
}

pub fn means(sketch: &Sketch, values: usize) -> Vec<f64> {
    let count = sketch.num_retained() as f64;
    column_sums(sketch, values, |value, _| value).into_iter().map(|sum| sum / count).collect()
}

/// Of a sample: 0 of one key, and of none no number.
pub fn variances(sketch: &Sketch, values: usize) -> Vec<f64> {
    let (count, means) = (sketch.num_retained() as f64, means(sketch, values));
    let squares = column_sums(sketch, values, |value, i| (value - means[i]).powi(2));
    let of = |sum: f64| match sketch.num_retained() {
        0 => f64::NAN,
        1 => 0.0,
        _ => sum / (count - 1.0),
    };
    squares.into_iter().map(of).collect()
}

fn column_sums(sketch: &Sketch, values: usize, of: impl Fn(f64, usize) -> f64) -> Vec<f64> {
    let mut sums = vec![0.0; values];
    for entry in sketch.iter() {
        for (i, (sum, value)) in sums.iter_mut().zip(&entry.summary().0).enumerate() {
            *sum += of(*value, i);
        }
    }
    sums
}

/// What people read.
pub fn describe(sketch: &Sketch) -> String {
    format!(
        "### ArrayOfDoublesCompactSketch SUMMARY: \n   Estimate                : {}\n   Theta (double)          : {}\n   \
         EstMode?                : {}\n   Empty?                  : {}\n   Retained Entries        : {}\n\
         ### END SKETCH SUMMARY\n",
        crate::expr::convert::text_of_double(sketch.estimate()),
        sketch.theta(),
        sketch.is_estimation_mode(),
        sketch.is_empty(),
        sketch.num_retained(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_give_what_the_whole_gives_and_bytes_come_back() {
        let of = |keys: &mut dyn Iterator<Item = i64>| {
            let mut tuple = Tuple::new(9, 2);
            keys.for_each(|key| tuple.update(key, &[1.0, key as f64]));
            tuple
        };
        let whole = of(&mut (0..20_000)).result();
        let mut parts = Tuple::new(9, 2);
        for part in 0..10 {
            let some = of(&mut (0..20_000).filter(|key| key % 10 == part)).result();
            let (back, values) = read(&write(&some, 2)).unwrap();
            assert_eq!(values, 2);
            parts.merge(&back);
        }
        let parts = parts.result();
        assert_eq!(write(&parts, 2), write(&whole, 2));
        assert!((whole.estimate() / 20_000.0 - 1.0).abs() < 0.15);
        assert!((sums(&whole, 2)[0] / whole.estimate() - 1.0).abs() < 1e-9);
        assert_eq!(write(&Tuple::new(12, 1).result(), 1)[..8], [1, 1, 9, 3, 4, 1, 0xcc, 0x93]);
    }

    #[test]
    fn a_variance_of_no_keys_is_no_number() {
        let mut tuple = Tuple::new(9, 1);
        assert!(variances(&tuple.result(), 1)[0].is_nan());
        tuple.update(1, &[3.0]);
        assert_eq!(variances(&tuple.result(), 1), [0.0]);
        tuple.update(2, &[5.0]);
        assert_eq!(variances(&tuple.result(), 1), [2.0]);
    }
}
