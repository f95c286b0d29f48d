//! Counts, sums, least and greatest values, means.
//!
//! States are plain arrays. Whether a group saw any non-null value is tracked apart, and not at all if the caller knows
//! that every group will (`never_empty`).

use std::any::Any;
use std::marker::PhantomData;

use super::{Accumulator, Groups, Sent, Values, for_each_group, same, sent, to_send};
use crate::block::Block;
use crate::schema::ValueType;

pub fn sum(value_type: &ValueType) -> Box<dyn Accumulator> {
    match value_type {
        ValueType::Long => Box::new(Plain::<i64, Add>::default()),
        other => Box::new(Plain::<f64, Add>::of(other)),
    }
}

pub fn min(value_type: &ValueType) -> Box<dyn Accumulator> {
    match value_type {
        ValueType::Long => Box::new(Plain::<i64, Least>::default()),
        other => Box::new(Plain::<f64, Least>::of(other)),
    }
}

pub fn max(value_type: &ValueType) -> Box<dyn Accumulator> {
    match value_type {
        ValueType::Long => Box::new(Plain::<i64, Greatest>::default()),
        other => Box::new(Plain::<f64, Greatest>::of(other)),
    }
}

#[derive(Default)]
pub struct Count {
    counts: Vec<i64>,
}

impl Accumulator for Count {
    fn resize(&mut self, groups: usize) {
        if groups > self.counts.len() {
            self.counts.resize(groups, 0);
        }
    }

    fn fold(&mut self, rows: usize, groups: Groups<'_>, _: &[Values<'_>]) {
        match groups {
            Groups::One(group) => self.counts[group as usize] += rows as i64,
            Groups::Each(groups) => count(&mut self.counts, groups),
        }
    }

    fn merge(&mut self, map: &[u32], other: &dyn Accumulator) {
        for (group, count) in map.iter().zip(&same::<Count>(other).counts) {
            self.counts[*group as usize] += count;
        }
    }

    fn finish(&self, groups: &[u32]) -> Block {
        Block::Long { values: groups.iter().map(|g| self.counts[*g as usize]).collect(), nulls: None }
    }

    fn state(&self, groups: &[u32]) -> Block {
        self.finish(groups)
    }

    fn absorb(&mut self, groups: &[u32], states: &Block) -> Result<(), String> {
        match states {
            Block::Long { values, nulls: None } if values.len() == groups.len() && values.iter().all(|n| *n >= 0) => {
                for (group, count) in groups.iter().zip(values) {
                    let own = &mut self.counts[*group as usize];
                    *own = own.wrapping_add(*count);
                }
                Ok(())
            }
            _ => Err("the states are no counts".into()),
        }
    }

    fn fresh(&self) -> Box<dyn Accumulator> {
        Box::new(Count::default())
    }

    fn bytes(&self) -> usize {
        self.counts.capacity() * 8
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// How two values of a type become one.
trait Operation<T>: Default + Send + Sync + 'static {
    /// Combined with any value it gives that value.
    const NEUTRAL: T;
    fn apply(a: T, b: T) -> T;
}

#[derive(Default)]
struct Add;
#[derive(Default)]
struct Least;
#[derive(Default)]
struct Greatest;

impl Operation<i64> for Add {
    const NEUTRAL: i64 = 0;
    #[inline(always)]
    fn apply(a: i64, b: i64) -> i64 {
        a.wrapping_add(b)
    }
}

impl Operation<f64> for Add {
    const NEUTRAL: f64 = 0.0;
    #[inline(always)]
    fn apply(a: f64, b: f64) -> f64 {
        a + b
    }
}

impl Operation<i64> for Least {
    const NEUTRAL: i64 = i64::MAX;
    #[inline(always)]
    fn apply(a: i64, b: i64) -> i64 {
        if b < a { b } else { a }
    }
}

impl Operation<i64> for Greatest {
    const NEUTRAL: i64 = i64::MIN;
    #[inline(always)]
    fn apply(a: i64, b: i64) -> i64 {
        if b > a { b } else { a }
    }
}

// NaN wins, as in Java's Math.min and Math.max.
impl Operation<f64> for Least {
    const NEUTRAL: f64 = f64::INFINITY;
    #[inline(always)]
    fn apply(a: f64, b: f64) -> f64 {
        if b >= a || a.is_nan() { a } else { b }
    }
}

impl Operation<f64> for Greatest {
    const NEUTRAL: f64 = f64::NEG_INFINITY;
    #[inline(always)]
    fn apply(a: f64, b: f64) -> f64 {
        if b <= a || a.is_nan() { a } else { b }
    }
}

/// The two number types that are folded in.
trait Number: Copy + Default + Send + Sync + 'static {
    /// Whether it does not matter in which order, and in which parts, they are folded.
    const IS_EXACT: bool;
    /// The values of a fold where they have this type already.
    fn slices<'a>(values: &Values<'a>) -> Option<(&'a [Self], Option<&'a [bool]>)>;
    fn get(values: &Values<'_>, row: usize) -> Option<Self>;
    fn block(values: Vec<Self>, nulls: Option<Vec<bool>>) -> Block;
    fn narrow(self) -> Self;
}

impl Number for i64 {
    const IS_EXACT: bool = true;

    fn slices<'a>(values: &Values<'a>) -> Option<(&'a [i64], Option<&'a [bool]>)> {
        match *values {
            Values::Longs { values, nulls } => Some((values, nulls)),
            _ => None,
        }
    }

    fn get(values: &Values<'_>, row: usize) -> Option<i64> {
        values.long(row)
    }

    fn block(values: Vec<i64>, nulls: Option<Vec<bool>>) -> Block {
        Block::Long { values, nulls }
    }

    fn narrow(self) -> i64 {
        self
    }
}

impl Number for f64 {
    const IS_EXACT: bool = false;

    fn slices<'a>(values: &Values<'a>) -> Option<(&'a [f64], Option<&'a [bool]>)> {
        match *values {
            Values::Doubles { values, nulls } => Some((values, nulls)),
            _ => None,
        }
    }

    fn get(values: &Values<'_>, row: usize) -> Option<f64> {
        values.double(row)
    }

    fn block(values: Vec<f64>, nulls: Option<Vec<bool>>) -> Block {
        Block::Double { values, nulls }
    }

    fn narrow(self) -> f64 {
        self as f32 as f64
    }
}

/// Which groups saw a value.
enum Seen {
    All,
    Some(Vec<bool>),
}

impl Default for Seen {
    fn default() -> Seen {
        Seen::Some(Vec::new())
    }
}

impl Seen {
    fn resize(&mut self, groups: usize) {
        if let Seen::Some(seen) = self
            && groups > seen.len()
        {
            seen.resize(groups, false);
        }
    }

    fn get(&self, group: u32) -> bool {
        match self {
            Seen::All => true,
            Seen::Some(seen) => seen[group as usize],
        }
    }
}

/// One number per group and an operation on it.
#[derive(Default)]
struct Plain<T, O> {
    states: Vec<T>,
    seen: Seen,
    /// Finished values are rounded to 32 bits.
    float: bool,
    one_by_one: bool,
    operation: PhantomData<O>,
}

impl<O: Operation<f64>> Plain<f64, O> {
    fn of(value_type: &ValueType) -> Plain<f64, O> {
        Plain { float: *value_type == ValueType::Float, ..Plain::default() }
    }
}

/// Folds all values into one, in lanes that the compiler makes vectors of.
#[inline]
fn reduce<T: Copy, O: Operation<T>>(values: &[T]) -> T {
    const LANES: usize = 16;
    let mut lanes = [O::NEUTRAL; LANES];
    let chunks = values.chunks_exact(LANES);
    let rest = chunks.remainder();
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane = O::apply(*lane, *value);
        }
    }
    let mut state = O::NEUTRAL;
    lanes.iter().chain(rest).for_each(|value| state = O::apply(state, *value));
    state
}

fn count(counts: &mut [i64], groups: &[u32]) {
    if !fold_few::<i64, Add>(counts, groups, |_| 1) {
        groups.iter().for_each(|g| counts[*g as usize] += 1);
    }
}

/// Groups up to this many are folded in lanes.
const FEW: usize = 32;
const LANES: usize = 8;

/// Folds rows of few groups. Neighbouring rows of one group would wait for each other, so each of several lanes has its
/// own states, which are put together in the end. False if there are too many groups or too few rows for it to pay.
fn fold_few<T: Copy, O: Operation<T>>(states: &mut [T], groups: &[u32], value: impl Fn(usize) -> T) -> bool {
    if states.len() > FEW || groups.len() < FEW * LANES {
        return false;
    }
    let mut lanes = [[O::NEUTRAL; FEW]; LANES];
    let chunks = groups.chunks_exact(LANES);
    let rest = chunks.remainder();
    for (chunk, groups) in chunks.enumerate() {
        for (lane, (states, group)) in lanes.iter_mut().zip(groups).enumerate() {
            let state = &mut states[*group as usize % FEW];
            *state = O::apply(*state, value(chunk * LANES + lane));
        }
    }
    for lane in &lanes {
        states.iter_mut().zip(lane).for_each(|(state, part)| *state = O::apply(*state, *part));
    }
    let done = groups.len() - rest.len();
    for (i, group) in rest.iter().enumerate() {
        let state = &mut states[*group as usize];
        *state = O::apply(*state, value(done + i));
    }
    true
}

impl<T: Number, O: Operation<T>> Plain<T, O> {
    fn put(&mut self, group: usize, value: T) {
        self.states[group] = O::apply(self.states[group], value);
        if let Seen::Some(seen) = &mut self.seen {
            seen[group] = true;
        }
    }

    fn fold_slices(&mut self, groups: Groups<'_>, values: &[T], nulls: Option<&[bool]>) {
        if self.one_by_one {
            return for_each_group(values.len(), groups, |row, group| {
                if nulls.is_none_or(|nulls| !nulls[row]) {
                    self.put(group, values[row]);
                }
            });
        }
        match (groups, nulls) {
            (Groups::One(group), None) => {
                if !values.is_empty() {
                    self.put(group as usize, reduce::<T, O>(values));
                }
            }
            (Groups::One(group), Some(nulls)) => {
                let mut state = O::NEUTRAL;
                let mut any = false;
                for (value, null) in values.iter().zip(nulls) {
                    let value = if *null { O::NEUTRAL } else { *value };
                    state = O::apply(state, value);
                    any |= !null;
                }
                if any {
                    self.put(group as usize, state);
                }
            }
            (Groups::Each(groups), None) => {
                let states = &mut self.states[..];
                let values = &values[..groups.len()];
                if !fold_few::<T, O>(states, groups, |row| values[row]) {
                    for (group, value) in groups.iter().zip(values) {
                        let state = &mut states[*group as usize];
                        *state = O::apply(*state, *value);
                    }
                }
                if let Seen::Some(seen) = &mut self.seen {
                    groups.iter().for_each(|g| seen[*g as usize] = true);
                }
            }
            (Groups::Each(groups), Some(nulls)) => {
                for ((group, value), null) in groups.iter().zip(values).zip(nulls) {
                    if !null {
                        self.put(*group as usize, *value);
                    }
                }
            }
        }
    }
}

impl<T: Number, O: Operation<T>> Accumulator for Plain<T, O> {
    fn resize(&mut self, groups: usize) {
        if groups > self.states.len() {
            self.states.resize(groups, O::NEUTRAL);
        }
        self.seen.resize(groups);
    }

    fn fold(&mut self, rows: usize, groups: Groups<'_>, inputs: &[Values<'_>]) {
        match T::slices(&inputs[0]) {
            Some((values, nulls)) => self.fold_slices(groups, values, nulls),
            None if matches!(inputs[0], Values::Null) => {}
            None => for_each_group(rows, groups, |row, group| {
                if let Some(value) = T::get(&inputs[0], row) {
                    self.put(group, value);
                }
            }),
        }
    }

    fn merge(&mut self, map: &[u32], other: &dyn Accumulator) {
        let other = same::<Plain<T, O>>(other);
        for (from, to) in map.iter().enumerate() {
            if other.seen.get(from as u32) {
                self.put(*to as usize, other.states[from]);
            }
        }
    }

    fn finish(&self, groups: &[u32]) -> Block {
        let narrow = |value: T| if self.float { value.narrow() } else { value };
        let values = groups.iter().map(|g| narrow(self.states[*g as usize])).collect();
        let nulls: Option<Vec<bool>> = match &self.seen {
            Seen::All => None,
            Seen::Some(seen) => Some(groups.iter().map(|g| !seen[*g as usize]).collect()),
        };
        T::block(values, nulls.filter(|n| n.contains(&true)))
    }

    fn state(&self, groups: &[u32]) -> Block {
        let values = groups.iter().map(|g| self.states[*g as usize]).collect();
        let nulls: Option<Vec<bool>> = match &self.seen {
            Seen::All => None,
            Seen::Some(seen) => Some(groups.iter().map(|g| !seen[*g as usize]).collect()),
        };
        T::block(values, nulls.filter(|n| n.contains(&true)))
    }

    fn absorb(&mut self, groups: &[u32], states: &Block) -> Result<(), String> {
        match T::slices(&Values::from(states)) {
            Some((values, nulls)) if values.len() == groups.len() && nulls.is_none_or(|n| n.len() == groups.len()) => {
                self.fold_slices(Groups::Each(groups), values, nulls);
                Ok(())
            }
            _ => Err("the states are no numbers of the aggregate's type".into()),
        }
    }

    fn fresh(&self) -> Box<dyn Accumulator> {
        Box::new(Plain::<T, O> { float: self.float, one_by_one: self.one_by_one, ..Plain::default() })
    }

    fn bytes(&self) -> usize {
        self.states.capacity() * 9
    }

    fn never_empty(&mut self) {
        self.seen = Seen::All;
    }

    fn one_by_one(&mut self) {
        self.one_by_one = !T::IS_EXACT;
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

#[derive(Default)]
pub struct Mean {
    sums: Vec<f64>,
    counts: Vec<i64>,
    one_by_one: bool,
}

impl Accumulator for Mean {
    fn resize(&mut self, groups: usize) {
        if groups > self.sums.len() {
            self.sums.resize(groups, 0.0);
            self.counts.resize(groups, 0);
        }
    }

    fn fold(&mut self, rows: usize, groups: Groups<'_>, inputs: &[Values<'_>]) {
        match (groups, inputs[0]) {
            (_, Values::Null) => {}
            (Groups::One(group), Values::Doubles { values, nulls: None }) if !self.one_by_one => {
                self.sums[group as usize] += reduce::<f64, Add>(values);
                self.counts[group as usize] += values.len() as i64;
            }
            (Groups::Each(groups), Values::Doubles { values, nulls: None }) if !self.one_by_one => {
                let values = &values[..groups.len()];
                if !fold_few::<f64, Add>(&mut self.sums, groups, |row| values[row]) {
                    groups.iter().zip(values).for_each(|(g, v)| self.sums[*g as usize] += v);
                }
                count(&mut self.counts, groups);
            }
            (_, values) => for_each_group(rows, groups, |row, group| {
                if let Some(value) = values.double(row) {
                    self.sums[group] += value;
                    self.counts[group] += 1;
                }
            }),
        }
    }

    fn merge(&mut self, map: &[u32], other: &dyn Accumulator) {
        let other = same::<Mean>(other);
        for (from, to) in map.iter().enumerate() {
            self.sums[*to as usize] += other.sums[from];
            self.counts[*to as usize] += other.counts[from];
        }
    }

    fn finish(&self, groups: &[u32]) -> Block {
        let nulls: Vec<bool> = groups.iter().map(|g| self.counts[*g as usize] == 0).collect();
        let mean = |g: &u32| self.sums[*g as usize] / self.counts[*g as usize].max(1) as f64;
        Block::Double { values: groups.iter().map(mean).collect(), nulls: Some(nulls).filter(|n| n.contains(&true)) }
    }

    fn state(&self, groups: &[u32]) -> Block {
        let state = |g: &u32| {
            let (sum, count) = (self.sums[*g as usize], self.counts[*g as usize]);
            (count != 0).then(|| Ok([sum.to_le_bytes(), count.to_le_bytes()].concat()))
        };
        to_send(groups.iter().map(state))
    }

    fn absorb(&mut self, groups: &[u32], states: &Block) -> Result<(), String> {
        for (group, state) in sent(groups, states)? {
            let Sent::State(bytes) = state else { return Err("a mean was refused".into()) };
            let halves = bytes.split_first_chunk::<8>();
            let halves = halves.and_then(|(sum, count)| Some((f64::from_le_bytes(*sum), count.try_into().ok()?)));
            let Some((sum, count)) = halves else { return Err("a state is no mean".into()) };
            self.sums[group] += sum;
            self.counts[group] = self.counts[group].wrapping_add(i64::from_le_bytes(count));
        }
        Ok(())
    }

    fn fresh(&self) -> Box<dyn Accumulator> {
        Box::new(Mean { one_by_one: self.one_by_one, ..Mean::default() })
    }

    fn one_by_one(&mut self) {
        self.one_by_one = true;
    }

    fn bytes(&self) -> usize {
        self.sums.capacity() * 16
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
