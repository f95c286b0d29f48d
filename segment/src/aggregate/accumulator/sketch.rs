//! Estimates: HyperLogLog sketches of distinct values, KLL sketches of quantiles.
//!
//! Estimates are read so that they depend on the set of values only, not on how the rows were split and merged
//! (composite estimate). A quantiles sketch of Druid's `k` is kept as a KLL sketch of the same rank error.

use std::any::Any;

use datasketches::hll::{Coupon, HllSketch, HllType, HllUnion};
use datasketches::kll::{KllFloat, KllSketch};

use super::{Accumulator, Groups, Sketch, Values, for_each_group, is_null, same};
use crate::block::{Block, Value};

/// The coupon of a value: equal values, equal coupons.
pub fn coupon(value: &Value) -> Option<Coupon> {
    match value {
        Value::Long(v) => Some(Coupon::from_value(*v)),
        Value::Double(v) => Some(Coupon::from_value(v.to_bits())),
        Value::Text(text) => Some(Coupon::from_value(&**text)),
        Value::Json(text) => Some(Coupon::from_value(&**text)),
        Value::Null | Value::List(_) | Value::Bytes(_) => None,
    }
}

pub struct Hll {
    lg_k: u8,
    round: bool,
    sketches: Vec<Option<Box<HllSketch>>>,
    seen: Option<Seen>,
}

/// Longs around the first one met that are in a group's sketch already: values that repeat cost a bit, not a hash.
struct Seen {
    group: u32,
    base: i64,
    words: Vec<u64>,
}

/// Longs that are remembered.
const SEEN: u64 = 1 << 21;

impl Seen {
    fn around(group: u32, values: &[i64]) -> Seen {
        let low = values.iter().copied().min().unwrap_or(0);
        Seen { group, base: low.saturating_sub(SEEN as i64 / 4), words: vec![0; SEEN as usize / 64] }
    }

    /// Whether the value was met before; remembers it.
    #[inline]
    fn again(&mut self, value: i64) -> bool {
        let at = value.wrapping_sub(self.base) as u64;
        if at >= SEEN {
            return false;
        }
        let (word, bit) = (&mut self.words[(at / 64) as usize], 1 << (at % 64));
        let again = *word & bit != 0;
        *word |= bit;
        again
    }
}

impl Hll {
    pub fn new(lg_k: u8, round: bool) -> Hll {
        Hll { lg_k: lg_k.clamp(4, 21), round, sketches: Vec::new(), seen: None }
    }

    fn put(&mut self, group: usize, coupon: Coupon) {
        sketch_of(&mut self.sketches[group], self.lg_k).update_with_coupon(coupon);
    }

    fn union(&mut self, group: usize, other: &HllSketch) {
        match &mut self.sketches[group] {
            Some(sketch) => {
                let mut union = HllUnion::new(self.lg_k).expect("lg_k is within limits");
                union.update(sketch);
                union.update(other);
                **sketch = union.to_sketch(HllType::Hll8);
            }
            none => *none = Some(Box::new(other.clone())),
        }
    }

    fn value(&mut self, group: usize, value: &Value) {
        match value {
            Value::List(values) => values.iter().for_each(|v| self.value(group, v)),
            Value::Bytes(bytes) => {
                if let Ok(sketch) = HllSketch::deserialize(bytes) {
                    self.union(group, &sketch);
                }
            }
            value => {
                if let Some(coupon) = coupon(value) {
                    self.put(group, coupon);
                }
            }
        }
    }
}

fn sketch_of(slot: &mut Option<Box<HllSketch>>, lg_k: u8) -> &mut HllSketch {
    slot.get_or_insert_with(|| Box::new(HllSketch::new(lg_k, HllType::Hll8).expect("lg_k is within limits")))
}

impl Accumulator for Hll {
    fn resize(&mut self, groups: usize) {
        if groups > self.sketches.len() {
            self.sketches.resize(groups, None);
        }
    }

    fn fold(&mut self, rows: usize, groups: Groups<'_>, inputs: &[Values<'_>]) {
        for values in inputs {
            match (groups, values) {
                (_, Values::Null) => {}
                (Groups::One(group), Values::Coupons(coupons)) => {
                    if coupons.iter().any(Option::is_some) {
                        let sketch = sketch_of(&mut self.sketches[group as usize], self.lg_k);
                        coupons.iter().flatten().for_each(|c| sketch.update_with_coupon(*c));
                    }
                }
                (Groups::One(group), Values::Longs { values, nulls: None })
                    if self.seen.as_ref().is_none_or(|seen| seen.group == group) =>
                {
                    if values.is_empty() {
                        continue;
                    }
                    let seen = self.seen.get_or_insert_with(|| Seen::around(group, values));
                    let sketch = sketch_of(&mut self.sketches[group as usize], self.lg_k);
                    for value in values.iter().filter(|value| !seen.again(**value)) {
                        sketch.update_with_coupon(Coupon::from_value(*value));
                    }
                }
                (_, Values::Coupons(coupons)) => for_each_group(rows, groups, |row, group| {
                    if let Some(coupon) = coupons[row] {
                        self.put(group, coupon);
                    }
                }),
                (_, Values::Longs { values, nulls }) => for_each_group(rows, groups, |row, group| {
                    if !is_null(*nulls, row) {
                        self.put(group, Coupon::from_value(values[row]));
                    }
                }),
                (_, Values::Doubles { values, nulls }) => for_each_group(rows, groups, |row, group| {
                    if !is_null(*nulls, row) {
                        self.put(group, Coupon::from_value(values[row].to_bits()));
                    }
                }),
                (_, Values::Any(values)) => for_each_group(rows, groups, |row, group| self.value(group, &values[row])),
                (_, values) => for_each_group(rows, groups, |row, group| {
                    if let Some(text) = values.text(row) {
                        self.put(group, Coupon::from_value(&*text));
                    }
                }),
            }
        }
    }

    fn merge(&mut self, map: &[u32], other: &dyn Accumulator) {
        for (sketch, to) in same::<Hll>(other).sketches.iter().zip(map) {
            if let Some(sketch) = sketch {
                self.union(*to as usize, sketch);
            }
        }
    }

    fn finish(&self, groups: &[u32]) -> Block {
        let estimate = |g: &u32| self.sketches[*g as usize].as_ref().map_or(0.0, |s| s.composite_estimate());
        if self.round {
            Block::Long { values: groups.iter().map(|g| estimate(g).round() as i64).collect(), nulls: None }
        } else {
            Block::Double { values: groups.iter().map(estimate).collect(), nulls: None }
        }
    }

    fn partial(&self, groups: &[u32]) -> Block {
        let bytes = |g: &u32| match &self.sketches[*g as usize] {
            Some(sketch) => Value::Bytes(sketch.serialize().into()),
            None => Value::Null,
        };
        Block::Any { values: groups.iter().map(bytes).collect() }
    }

    fn sketch(&self, group: u32) -> Option<Sketch<'_>> {
        self.sketches[group as usize].as_deref().map(Sketch::Hll)
    }

    fn fresh(&self) -> Box<dyn Accumulator> {
        Box::new(Hll::new(self.lg_k, self.round))
    }

    fn bytes(&self) -> usize {
        let seen = self.seen.as_ref().map_or(0, |seen| seen.words.len() * 8);
        seen + self.sketches.len() * 8 + self.sketches.iter().flatten().map(|s| s.estimated_size() + 64).sum::<usize>()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

type Kll = KllSketch<KllFloat<f64>>;

pub struct Quantiles {
    k: u16,
    sketches: Vec<Option<Box<Kll>>>,
}

impl Quantiles {
    /// `k` is that of Druid's doubles sketch.
    pub fn new(k: u16) -> Quantiles {
        Quantiles { k: (k as u32 * 200 / 128).clamp(8, u16::MAX as u32) as u16, sketches: Vec::new() }
    }

    fn sketch_mut(&mut self, group: usize) -> &mut Kll {
        let k = self.k;
        self.sketches[group].get_or_insert_with(|| Box::new(Kll::new(k).expect("k is within limits")))
    }

    fn put(&mut self, group: usize, value: f64) {
        // The sketch has no place for NaN.
        if let Ok(value) = KllFloat::<f64>::new(value) {
            self.sketch_mut(group).update(value);
        }
    }
}

impl Accumulator for Quantiles {
    fn resize(&mut self, groups: usize) {
        if groups > self.sketches.len() {
            self.sketches.resize(groups, None);
        }
    }

    fn fold(&mut self, rows: usize, groups: Groups<'_>, inputs: &[Values<'_>]) {
        match (groups, inputs[0]) {
            (_, Values::Null) => {}
            (Groups::One(group), Values::Doubles { values, nulls: None }) if !values.is_empty() => {
                let sketch = self.sketch_mut(group as usize);
                values.iter().filter_map(|v| KllFloat::<f64>::new(*v).ok()).for_each(|v| sketch.update(v));
            }
            (_, Values::Any(values)) => for_each_group(rows, groups, |row, group| match &values[row] {
                Value::Bytes(bytes) => {
                    if let Ok(sketch) = Kll::deserialize(bytes) {
                        // Fails only past 2^64 values.
                        let _ = self.sketch_mut(group).merge(&sketch);
                    }
                }
                value => {
                    if let Some(value) = super::double_of(value) {
                        self.put(group, value);
                    }
                }
            }),
            (_, values) => for_each_group(rows, groups, |row, group| {
                if let Some(value) = values.double(row) {
                    self.put(group, value);
                }
            }),
        }
    }

    fn merge(&mut self, map: &[u32], other: &dyn Accumulator) {
        for (sketch, to) in same::<Quantiles>(other).sketches.iter().zip(map) {
            if let Some(sketch) = sketch {
                // Fails only past 2^64 values.
                let _ = self.sketch_mut(*to as usize).merge(sketch);
            }
        }
    }

    fn finish(&self, groups: &[u32]) -> Block {
        let n = |g: &u32| self.sketches[*g as usize].as_ref().map_or(0, |s| s.n() as i64);
        Block::Long { values: groups.iter().map(n).collect(), nulls: None }
    }

    fn partial(&self, groups: &[u32]) -> Block {
        let bytes = |g: &u32| match &self.sketches[*g as usize] {
            Some(sketch) => Value::Bytes(sketch.serialize().into()),
            None => Value::Null,
        };
        Block::Any { values: groups.iter().map(bytes).collect() }
    }

    fn sketch(&self, group: u32) -> Option<Sketch<'_>> {
        self.sketches[group as usize].as_deref().map(Sketch::Quantiles)
    }

    fn fresh(&self) -> Box<dyn Accumulator> {
        Box::new(Quantiles { k: self.k, sketches: Vec::new() })
    }

    fn bytes(&self) -> usize {
        // A sketch retains about 3 k values of 8 bytes once it is full.
        self.sketches.len() * 8 + self.sketches.iter().flatten().map(|s| s.num_retained() * 8 + 200).sum::<usize>()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
