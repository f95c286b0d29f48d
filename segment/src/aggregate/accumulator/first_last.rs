//! Values at the smallest or largest time, and any value.
//!
//! Among rows of the same time, first keeps the earlier row and last the later one. `any` keeps the first non-null value
//! that it meets.

use std::any::Any as StdAny;
use std::sync::Arc;

use super::{Accumulator, Groups, Sent, Values, for_each_group, same, sent, to_send};
use crate::block::{Block, Value};
use crate::schema::ValueType;

pub fn first(value_type: &ValueType, max_bytes: usize) -> Box<dyn Accumulator> {
    timed(value_type, max_bytes, Pick::First)
}

pub fn last(value_type: &ValueType, max_bytes: usize) -> Box<dyn Accumulator> {
    timed(value_type, max_bytes, Pick::Last)
}

pub fn any(value_type: &ValueType, max_bytes: usize) -> Box<dyn Accumulator> {
    timed(value_type, max_bytes, Pick::Any)
}

fn timed(value_type: &ValueType, max_bytes: usize, pick: Pick) -> Box<dyn Accumulator> {
    let float = *value_type == ValueType::Float;
    match value_type {
        ValueType::Long => Box::new(Timed::<i64>::new(pick, max_bytes, float)),
        ValueType::String => Box::new(Timed::<Arc<str>>::new(pick, max_bytes, float)),
        _ => Box::new(Timed::<f64>::new(pick, max_bytes, float)),
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Pick {
    First,
    Last,
    Any,
}

/// A kind of value that is kept.
trait Kept: Clone + Send + Sync + 'static {
    fn get(values: &Values<'_>, row: usize, max_bytes: usize) -> Option<Self>;
    fn value(&self) -> Value;
    fn of(value: &Value) -> Option<Self>;
    fn block(values: Vec<Option<Self>>, float: bool) -> Block;
    fn size(&self) -> usize {
        0
    }
}

impl Kept for i64 {
    fn get(values: &Values<'_>, row: usize, _: usize) -> Option<i64> {
        values.long(row)
    }

    fn value(&self) -> Value {
        Value::Long(*self)
    }

    fn of(value: &Value) -> Option<i64> {
        super::long_of(value)
    }

    fn block(values: Vec<Option<i64>>, _: bool) -> Block {
        let nulls: Vec<bool> = values.iter().map(Option::is_none).collect();
        let values = values.into_iter().map(Option::unwrap_or_default).collect();
        Block::Long { values, nulls: Some(nulls).filter(|n| n.contains(&true)) }
    }
}

impl Kept for f64 {
    fn get(values: &Values<'_>, row: usize, _: usize) -> Option<f64> {
        values.double(row)
    }

    fn value(&self) -> Value {
        Value::Double(*self)
    }

    fn of(value: &Value) -> Option<f64> {
        super::double_of(value)
    }

    fn block(values: Vec<Option<f64>>, float: bool) -> Block {
        let nulls: Vec<bool> = values.iter().map(Option::is_none).collect();
        let narrow = |v: f64| if float { v as f32 as f64 } else { v };
        let values = values.into_iter().map(|v| narrow(v.unwrap_or_default())).collect();
        Block::Double { values, nulls: Some(nulls).filter(|n| n.contains(&true)) }
    }
}

impl Kept for Arc<str> {
    fn get(values: &Values<'_>, row: usize, max_bytes: usize) -> Option<Arc<str>> {
        values.text(row).map(|text| cut(text, max_bytes))
    }

    fn value(&self) -> Value {
        Value::Text(self.clone())
    }

    fn of(value: &Value) -> Option<Arc<str>> {
        match value {
            Value::Text(text) => Some(text.clone()),
            _ => None,
        }
    }

    fn block(values: Vec<Option<Arc<str>>>, _: bool) -> Block {
        Block::Text { values }
    }

    fn size(&self) -> usize {
        self.len() + 16
    }
}

/// The longest prefix of whole characters that fits.
fn cut(text: Arc<str>, max_bytes: usize) -> Arc<str> {
    if text.len() <= max_bytes {
        return text;
    }
    let mut end = max_bytes;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    Arc::from(&text[..end])
}

struct Timed<T> {
    pick: Pick,
    max_bytes: usize,
    float: bool,
    /// Time and value of the row that wins so far.
    states: Vec<Option<(i64, Option<T>)>>,
    /// Bytes of the texts.
    size: usize,
    /// During a fold: where the group stands among the winners; else `u32::MAX`.
    slots: Vec<u32>,
}

impl<T: Kept> Timed<T> {
    fn new(pick: Pick, max_bytes: usize, float: bool) -> Timed<T> {
        Timed { pick, max_bytes, float, states: Vec::new(), size: 0, slots: Vec::new() }
    }

    /// Whether a row of this time beats the group's state.
    fn beats(&self, group: usize, time: i64) -> bool {
        match (&self.states[group], self.pick) {
            (None, _) => true,
            (Some((_, value)), Pick::Any) => value.is_none(),
            (Some((best, _)), Pick::First) => time < *best,
            (Some((best, _)), Pick::Last) => time >= *best,
        }
    }

    fn put(&mut self, group: usize, time: i64, value: Option<T>) {
        let freed = self.states[group].as_ref().map_or(0, |(_, v)| v.as_ref().map_or(0, T::size));
        self.size = self.size + value.as_ref().map_or(0, T::size) - freed;
        self.states[group] = Some((time, value));
    }

    /// A row of states kept earlier.
    fn partial_row(&mut self, value: &Value, group: usize) {
        if let Value::Bytes(bytes) = value
            && let Some((time, value)) = decode(bytes)
            && self.beats(group, time)
        {
            self.put(group, time, T::of(&value));
        }
    }

    fn rows(&mut self, rows: usize, groups: Groups<'_>, values: &Values<'_>, times: Option<&Values<'_>>) {
        // Times decide first; only the values that win in the end are read.
        let mut winners: Vec<(u32, u32)> = Vec::new();
        for_each_group(rows, groups, |row, group| {
            let time = match times {
                Some(times) => match times.long(row) {
                    Some(time) => time,
                    None => return,
                },
                None => 0,
            };
            if self.pick == Pick::Any {
                if self.beats(group, time) {
                    self.put(group, time, T::get(values, row, self.max_bytes));
                }
            } else if self.beats(group, time) {
                let slot = self.slots[group];
                if slot == u32::MAX {
                    self.slots[group] = winners.len() as u32;
                    winners.push((group as u32, row as u32));
                } else {
                    winners[slot as usize].1 = row as u32;
                }
                let kept = self.states[group].take().and_then(|(_, value)| value);
                self.states[group] = Some((time, kept));
            }
        });
        for (group, row) in winners {
            self.slots[group as usize] = u32::MAX;
            if let Some((time, _)) = self.states[group as usize] {
                self.put(group as usize, time, T::get(values, row as usize, self.max_bytes));
            }
        }
    }
}

impl<T: Kept> Accumulator for Timed<T> {
    fn resize(&mut self, groups: usize) {
        if groups > self.states.len() {
            self.states.resize(groups, None);
            self.slots.resize(groups, u32::MAX);
        }
    }

    fn fold(&mut self, rows: usize, groups: Groups<'_>, inputs: &[Values<'_>]) {
        match inputs[0] {
            Values::Any(values) if values.iter().any(|v| matches!(v, Value::Bytes(_))) => {
                for_each_group(rows, groups, |row, group| self.partial_row(&values[row], group));
            }
            _ => self.rows(rows, groups, &inputs[0], inputs.get(1)),
        }
    }

    fn merge(&mut self, map: &[u32], other: &dyn Accumulator) {
        let other = same::<Timed<T>>(other);
        for (state, to) in other.states.iter().zip(map) {
            if let Some((time, value)) = state
                && self.beats(*to as usize, *time)
            {
                self.put(*to as usize, *time, value.clone());
            }
        }
    }

    fn finish(&self, groups: &[u32]) -> Block {
        let value = |g: &u32| self.states[*g as usize].as_ref().and_then(|(_, value)| value.clone());
        T::block(groups.iter().map(value).collect(), self.float)
    }

    fn partial(&self, groups: &[u32]) -> Block {
        if self.pick == Pick::Any {
            return self.finish(groups);
        }
        let encoded = |g: &u32| match &self.states[*g as usize] {
            Some((time, value)) => Value::Bytes(encode(*time, value.as_ref().map(T::value)).into()),
            None => Value::Null,
        };
        Block::Any { values: groups.iter().map(encoded).collect() }
    }

    fn state(&self, groups: &[u32]) -> Block {
        let state = |g: &u32| {
            let (time, value) = self.states[*g as usize].as_ref()?;
            Some(Ok(encode(*time, value.as_ref().map(T::value))))
        };
        to_send(groups.iter().map(state))
    }

    fn absorb(&mut self, groups: &[u32], states: &Block) -> Result<(), String> {
        for (group, state) in sent(groups, states)? {
            let decoded = match state {
                Sent::State(bytes) if bytes.get(8).is_some_and(|tag| *tag <= 3) => decode(bytes),
                _ => None,
            };
            let taken = decoded.and_then(|(time, value)| match value {
                Value::Null => Some((time, None)),
                value => Some((time, Some(T::of(&value)?))),
            });
            let Some((time, value)) = taken else { return Err("a state is no value with a time".into()) };
            if self.beats(group, time) {
                self.put(group, time, value);
            }
        }
        Ok(())
    }

    fn fresh(&self) -> Box<dyn Accumulator> {
        Box::new(Timed::<T>::new(self.pick, self.max_bytes, self.float))
    }

    fn bytes(&self) -> usize {
        self.states.capacity() * size_of::<Option<(i64, Option<T>)>>() + self.size
    }

    fn as_any(&self) -> &dyn StdAny {
        self
    }
}

/// A state as bytes: the time (8, little endian), a tag (0 null, 1 long, 2 double, 3 text), the value.
fn encode(time: i64, value: Option<Value>) -> Vec<u8> {
    let mut bytes = time.to_le_bytes().to_vec();
    match value {
        Some(Value::Long(v)) => {
            bytes.push(1);
            bytes.extend(v.to_le_bytes());
        }
        Some(Value::Double(v)) => {
            bytes.push(2);
            bytes.extend(v.to_le_bytes());
        }
        Some(Value::Text(text)) => {
            bytes.push(3);
            bytes.extend(text.as_bytes());
        }
        _ => bytes.push(0),
    }
    bytes
}

fn decode(bytes: &[u8]) -> Option<(i64, Value)> {
    let time = i64::from_le_bytes(bytes.get(..8)?.try_into().ok()?);
    let rest = bytes.get(9..)?;
    let value = match bytes[8] {
        1 => Value::Long(i64::from_le_bytes(rest.try_into().ok()?)),
        2 => Value::Double(f64::from_le_bytes(rest.try_into().ok()?)),
        3 => Value::text(std::str::from_utf8(rest).ok()?),
        _ => Value::Null,
    };
    Some((time, value))
}
