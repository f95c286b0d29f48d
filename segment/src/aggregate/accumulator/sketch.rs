//! Estimates: HyperLogLog sketches of distinct values, sketches of quantiles.
//!
//! Estimates are read so that they depend on the set of values only, not on how the rows were split and merged
//! (composite estimate).

use std::any::Any;
use std::sync::Arc;

use datasketches::hash::value::raw_bytes;
use datasketches::hll::{Coupon, HllSketch, HllType, HllUnion};

use super::sketches::no;
use super::{Accumulator, Groups, Sent, Sketch, Values, for_each_group, is_null, same, sent, to_send};
use crate::aggregate::Hll;
use crate::block::{Block, Value};
use crate::sketch::hash::{TextKey, coupon, coupon_of_double, coupon_of_long, coupon_of_text};
use crate::sketch::quantiles::{Kind, Quantiles};
use crate::sketch::{bytes_of, hll};

pub struct HllStates {
    settings: Arc<Hll>,
    sketches: Vec<Option<Box<HllSketch>>>,
    seen: Option<Seen>,
    /// Why the first value that could not be taken in could not.
    refused: Option<String>,
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

impl HllStates {
    pub fn new(settings: &Hll) -> HllStates {
        HllStates { settings: Arc::new(settings.clone()), sketches: Vec::new(), seen: None, refused: None }
    }

    fn put(&mut self, group: usize, coupon: Coupon) {
        sketch_of(&mut self.sketches[group], self.settings.lg_k).update_with_coupon(coupon);
    }

    fn union(&mut self, group: usize, other: &HllSketch) {
        match &mut self.sketches[group] {
            Some(sketch) => {
                let mut union = HllUnion::new(self.settings.lg_k).expect("lg_k is within limits");
                union.update(sketch);
                union.update(other);
                **sketch = union.to_sketch(HllType::Hll8);
            }
            none if other.lg_config_k() <= self.settings.lg_k && other.target_type() == HllType::Hll8 => {
                *none = Some(Box::new(other.clone()));
            }
            none => *none = Some(Box::new(hll::union(std::slice::from_ref(other), self.settings.lg_k, HllType::Hll8))),
        }
    }

    fn value(&mut self, group: usize, value: &Value) {
        match value {
            Value::List(values) => values.iter().for_each(|v| self.value(group, v)),
            Value::Bytes(bytes) => match hll::read(bytes) {
                Some(sketch) => self.union(group, &sketch),
                None => drop(self.refused.get_or_insert_with(|| no("HyperLogLog sketch", bytes))),
            },
            value if self.settings.text == TextKey::Sketches => {
                if let Some(sketch) = bytes_of(value).and_then(|bytes| hll::read(&bytes)) {
                    self.union(group, &sketch);
                }
            }
            value => {
                if let Some(coupon) = coupon(value, self.settings.text) {
                    self.put(group, coupon);
                }
            }
        }
    }
}

/// Appends bytes that differ where values do, whatever comes behind them. The values of a list are taken in their order,
/// not that of the row, as Druid takes them.
fn put_key(key: &mut Vec<u8>, value: &Value) {
    let mut put = |mark: u8, bytes: &[u8]| {
        key.push(mark);
        key.extend((bytes.len() as u64).to_le_bytes());
        key.extend(bytes);
    };
    match value {
        Value::Null => put(0, &[]),
        Value::Long(value) => put(1, &value.to_le_bytes()),
        Value::Double(value) => put(2, &(value + 0.0).to_le_bytes()),
        Value::Text(text) | Value::Json(text) => put(3, text.as_bytes()),
        Value::Bytes(bytes) => put(4, bytes),
        // A list of none is a null, and one of one value that value.
        Value::List(values) if values.is_empty() => put(0, &[]),
        Value::List(values) => {
            let mut keys: Vec<Vec<u8>> = Vec::with_capacity(values.len());
            for value in values.iter() {
                let mut one = Vec::new();
                put_key(&mut one, value);
                keys.push(one);
            }
            keys.sort_unstable();
            match keys.as_slice() {
                [one] => key.extend(one),
                many => put(5, &many.concat()),
            }
        }
    }
}

fn sketch_of(slot: &mut Option<Box<HllSketch>>, lg_k: u8) -> &mut HllSketch {
    slot.get_or_insert_with(|| Box::new(HllSketch::new(lg_k, HllType::Hll8).expect("lg_k is within limits")))
}

impl Accumulator for HllStates {
    fn resize(&mut self, groups: usize) {
        if groups > self.sketches.len() {
            self.sketches.resize(groups, None);
        }
    }

    fn fold(&mut self, rows: usize, groups: Groups<'_>, inputs: &[Values<'_>]) {
        if self.settings.by_row {
            let mut key = Vec::new();
            return for_each_group(rows, groups, |row, group| {
                key.clear();
                inputs.iter().for_each(|values| put_key(&mut key, &values.value(row)));
                self.put(group, Coupon::from_value(raw_bytes::from_slice(&key)));
            });
        }
        for values in inputs {
            match (groups, values) {
                (_, Values::Null) => {}
                (Groups::One(group), Values::Coupons(coupons)) => {
                    if coupons.iter().any(Option::is_some) {
                        let sketch = sketch_of(&mut self.sketches[group as usize], self.settings.lg_k);
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
                    let sketch = sketch_of(&mut self.sketches[group as usize], self.settings.lg_k);
                    for value in values.iter().filter(|value| !seen.again(**value)) {
                        sketch.update_with_coupon(coupon_of_long(*value));
                    }
                }
                (_, Values::Coupons(coupons)) => for_each_group(rows, groups, |row, group| {
                    if let Some(coupon) = coupons[row] {
                        self.put(group, coupon);
                    }
                }),
                (_, Values::Longs { values, nulls }) => for_each_group(rows, groups, |row, group| {
                    if !is_null(*nulls, row) {
                        self.put(group, coupon_of_long(values[row]));
                    }
                }),
                (_, Values::Doubles { values, nulls }) => for_each_group(rows, groups, |row, group| {
                    if !is_null(*nulls, row) {
                        self.put(group, coupon_of_double(values[row]));
                    }
                }),
                (_, Values::Any(values)) => for_each_group(rows, groups, |row, group| self.value(group, &values[row])),
                (_, values) => for_each_group(rows, groups, |row, group| {
                    if let Some(coupon) = values.text(row).and_then(|text| coupon_of_text(&text, self.settings.text)) {
                        self.put(group, coupon);
                    }
                }),
            }
        }
    }

    fn merge(&mut self, map: &[u32], other: &dyn Accumulator) {
        let other = same::<HllStates>(other);
        self.refused = self.refused.take().or_else(|| other.refused.clone());
        for (sketch, to) in other.sketches.iter().zip(map) {
            if let Some(sketch) = sketch {
                self.union(*to as usize, sketch);
            }
        }
    }

    fn finish(&self, groups: &[u32]) -> Block {
        let estimate = |g: &u32| self.sketches[*g as usize].as_ref().map_or(0.0, |s| s.composite_estimate());
        if self.settings.round {
            Block::Long { values: groups.iter().map(|g| estimate(g).round() as i64).collect(), nulls: None }
        } else {
            Block::Double { values: groups.iter().map(estimate).collect(), nulls: None }
        }
    }

    fn partial(&self, groups: &[u32]) -> Block {
        let Hll { lg_k, kind, .. } = *self.settings;
        let empty: Arc<[u8]> = hll::empty(lg_k, kind).serialize().into();
        let bytes = |g: &u32| match &self.sketches[*g as usize] {
            Some(sketch) => hll::write(sketch, kind).into(),
            None => empty.clone(),
        };
        Block::Any { values: groups.iter().map(|g| Value::Bytes(bytes(g))).collect() }
    }

    fn sketch(&self, group: u32) -> Option<Sketch<'_>> {
        self.sketches[group as usize].as_deref().map(Sketch::Hll)
    }

    fn complaint(&self, _: &[u32]) -> Option<String> {
        self.refused.clone()
    }

    fn state(&self, groups: &[u32]) -> Block {
        let mut refused = self.refused.clone();
        let state = |g: &u32| match refused.take() {
            Some(why) => Some(Err(why)),
            None => Some(Ok(self.sketches[*g as usize].as_ref()?.serialize())),
        };
        to_send(groups.iter().map(state))
    }

    fn absorb(&mut self, groups: &[u32], states: &Block) -> Result<(), String> {
        for (group, state) in sent(groups, states)? {
            match state {
                Sent::Refused(why) => drop(self.refused.get_or_insert_with(|| why.to_string())),
                Sent::State(bytes) => {
                    let sketch = hll::read(bytes).ok_or_else(|| no("HyperLogLog sketch", bytes))?;
                    self.union(group, &sketch);
                }
            }
        }
        Ok(())
    }

    fn fresh(&self) -> Box<dyn Accumulator> {
        Box::new(HllStates { settings: self.settings.clone(), sketches: Vec::new(), seen: None, refused: None })
    }

    fn bytes(&self) -> usize {
        let seen = self.seen.as_ref().map_or(0, |seen| seen.words.len() * 8);
        seen + self.sketches.len() * 8 + self.sketches.iter().flatten().map(|s| s.estimated_size() + 64).sum::<usize>()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

pub struct QuantilesStates {
    kind: Kind,
    k: u16,
    sketches: Vec<Option<Box<Quantiles>>>,
    /// Why the first value that could not be taken in could not.
    refused: Option<String>,
}

impl QuantilesStates {
    pub fn new(kind: Kind, k: u16) -> QuantilesStates {
        QuantilesStates { kind, k, sketches: Vec::new(), refused: None }
    }

    fn sketch_mut(&mut self, group: usize) -> &mut Quantiles {
        let (kind, k) = (self.kind, self.k);
        self.sketches[group].get_or_insert_with(|| Box::new(Quantiles::new(kind, k)))
    }

    fn value(&mut self, group: usize, value: &Value) {
        if let Value::List(values) = value {
            return values.iter().for_each(|value| self.value(group, value));
        }
        match super::double_of(value) {
            Some(value) => self.sketch_mut(group).update(value),
            None => {
                let Some(bytes) = bytes_of(value) else { return };
                match Quantiles::read(&bytes, Some(self.kind)) {
                    Some(sketch) => self.merge_one(group, &sketch),
                    // A text may be anything; bytes were meant as a sketch.
                    None if matches!(value, Value::Bytes(_)) => {
                        self.refused.get_or_insert_with(|| no(self.kind.name(), &bytes));
                    }
                    None => {}
                }
            }
        }
    }

    fn merge_one(&mut self, group: usize, sketch: &Quantiles) {
        if !self.sketch_mut(group).merge(sketch) {
            let (mine, theirs) = (self.kind.name(), sketch.kind().name());
            self.refused.get_or_insert_with(|| format!("a sketch of [{theirs}] cannot be merged into one of [{mine}]"));
        }
    }
}

impl Accumulator for QuantilesStates {
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
                values.iter().for_each(|v| sketch.update(*v));
            }
            (_, Values::Any(values)) => for_each_group(rows, groups, |row, group| self.value(group, &values[row])),
            (_, values) => for_each_group(rows, groups, |row, group| {
                if let Some(value) = values.double(row) {
                    self.sketch_mut(group).update(value);
                }
            }),
        }
    }

    fn merge(&mut self, map: &[u32], other: &dyn Accumulator) {
        let other = same::<QuantilesStates>(other);
        self.refused = self.refused.take().or_else(|| other.refused.clone());
        for (sketch, to) in other.sketches.iter().zip(map) {
            if let Some(sketch) = sketch {
                self.merge_one(*to as usize, sketch);
            }
        }
    }

    fn finish(&self, groups: &[u32]) -> Block {
        let n = |g: &u32| self.sketches[*g as usize].as_ref().map_or(0, |s| s.n() as i64);
        Block::Long { values: groups.iter().map(n).collect(), nulls: None }
    }

    fn partial(&self, groups: &[u32]) -> Block {
        let empty: Arc<[u8]> = Quantiles::new(self.kind, self.k).write().into();
        let bytes = |g: &u32| match &self.sketches[*g as usize] {
            Some(sketch) => sketch.write().into(),
            None => empty.clone(),
        };
        Block::Any { values: groups.iter().map(|g| Value::Bytes(bytes(g))).collect() }
    }

    fn sketch(&self, group: u32) -> Option<Sketch<'_>> {
        self.sketches[group as usize].as_deref().map(Sketch::Quantiles)
    }

    fn complaint(&self, _: &[u32]) -> Option<String> {
        self.refused.clone()
    }

    fn state(&self, groups: &[u32]) -> Block {
        let mut refused = self.refused.clone();
        let state = |g: &u32| match refused.take() {
            Some(why) => Some(Err(why)),
            None => Some(Ok(self.sketches[*g as usize].as_ref()?.write())),
        };
        to_send(groups.iter().map(state))
    }

    fn absorb(&mut self, groups: &[u32], states: &Block) -> Result<(), String> {
        for (group, state) in sent(groups, states)? {
            match state {
                Sent::Refused(why) => drop(self.refused.get_or_insert_with(|| why.to_string())),
                Sent::State(bytes) => {
                    let sketch = Quantiles::read(bytes, Some(self.kind));
                    let sketch = sketch.filter(|sketch| sketch.kind() == self.kind);
                    let sketch = sketch.ok_or_else(|| no(self.kind.name(), bytes))?;
                    match &mut self.sketches[group] {
                        Some(_) => self.merge_one(group, &sketch),
                        none => *none = Some(Box::new(sketch)),
                    }
                }
            }
        }
        Ok(())
    }

    fn fresh(&self) -> Box<dyn Accumulator> {
        Box::new(QuantilesStates::new(self.kind, self.k))
    }

    fn bytes(&self) -> usize {
        self.sketches.len() * 8 + self.sketches.iter().flatten().map(|s| s.size_bytes()).sum::<usize>()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregate::Input;

    #[test]
    fn rows_are_counted_by_all_of_their_columns() {
        let columns = ["a", "b"].map(|name| Input::Column(name.into())).to_vec();
        let settings = Hll { round: true, by_row: true, text: TextKey::Counted, ..Hll::of(columns) };
        let list = |texts: &[&str]| Value::List(texts.iter().copied().map(Value::text).collect());
        let texts = [
            list(&["x", "y"]),
            list(&["y", "x"]),
            list(&["x", "y"]),
            list(&["x"]),
            Value::text("x"),
            Value::Null,
            Value::text(""),
            Value::Null,
        ];
        let longs = Values::Longs {
            values: &[1, 1, 2, 1, 1, 1, 1, 0],
            nulls: Some(&[false, false, false, false, false, false, false, true]),
        };
        let mut states = HllStates::new(&settings);
        states.resize(1);
        states.fold(8, Groups::One(0), &[Values::Any(&texts), longs]);
        // The same list in another order is the same, as is one of one value; nulls are a value like others.
        match states.finish(&[0]) {
            Block::Long { values, .. } => assert_eq!(values, [6]),
            other => panic!("{other:?}"),
        }
    }
}
