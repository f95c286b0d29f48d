//! Accumulators whose states are objects of their own: sketches and whatever else is folded a row at a time.

use std::any::Any;
use std::sync::Arc;

use hashbrown::HashMap;

use super::{Accumulator, Groups, Sent, Values, for_each_group, same, sent, to_send};
use crate::block::{Block, Value};

/// The state of a group.
pub(super) trait State: Send + Sync + Sized + 'static {
    /// What all states of an aggregate share.
    type Settings: Clone + Send + Sync + 'static;
    /// Whether each value of a list counts as a row.
    const EXPLODES: bool = true;

    fn new(settings: &Self::Settings) -> Self;
    fn put(&mut self, settings: &Self::Settings, inputs: &[Values<'_>], row: usize);
    /// Refuses what this one cannot take in, with both sizes.
    fn merge(&mut self, settings: &Self::Settings, other: &Self) -> Result<(), String>;
    /// A state as [`State::write`] left it, or why the bytes are none.
    fn read(settings: &Self::Settings, bytes: &[u8]) -> Result<Self, String>;
    fn write(&self, settings: &Self::Settings) -> Vec<u8>;
    /// As [`State::write`] where that says all.
    fn send(&self, settings: &Self::Settings) -> Vec<u8> {
        self.write(settings)
    }
    /// A state as [`State::send`] left it.
    fn receive(settings: &Self::Settings, bytes: &[u8]) -> Result<Self, String> {
        Self::read(settings, bytes)
    }
    fn finish(&self, settings: &Self::Settings) -> Value;
    fn size(&self) -> usize;

    fn complaint(&self) -> Option<String> {
        None
    }

    /// The complaint, if what is written does not say it.
    fn unwritten(&self) -> Option<String> {
        None
    }
}

pub(super) struct States<S: State> {
    settings: S::Settings,
    states: Vec<Option<Box<S>>>,
    /// Why the first value that could not be taken in could not: an answer without it would be wrong.
    refused: Option<String>,
}

impl<S: State> States<S> {
    pub fn new(settings: S::Settings) -> States<S> {
        States { settings, states: Vec::new(), refused: None }
    }

    fn note(&mut self, result: Result<(), String>) {
        if let Err(why) = result {
            self.refused.get_or_insert(why);
        }
    }

    fn of(&mut self, group: usize) -> &mut S {
        let settings = &self.settings;
        self.states[group].get_or_insert_with(|| Box::new(S::new(settings)))
    }

    fn put(&mut self, group: usize, inputs: &[Values<'_>], row: usize) {
        let settings = self.settings.clone();
        if let Some(Values::Any(values)) = inputs.first() {
            match &values[row] {
                Value::Bytes(bytes) => {
                    let taken = S::read(&settings, bytes).and_then(|state| self.of(group).merge(&settings, &state));
                    return self.note(taken);
                }
                Value::List(items) if S::EXPLODES => {
                    for item in 0..items.len() {
                        let one = inputs.iter().enumerate().map(|(i, values)| match i {
                            0 => Values::Any(&items[item..=item]),
                            _ => values.slice(row..row + 1),
                        });
                        let one: Vec<Values<'_>> = one.collect();
                        self.of(group).put(&settings, &one, 0);
                    }
                    return;
                }
                _ => {}
            }
        }
        self.of(group).put(&settings, inputs, row);
    }
}

impl<S: State> Accumulator for States<S> {
    fn resize(&mut self, groups: usize) {
        if groups > self.states.len() {
            self.states.resize_with(groups, || None);
        }
    }

    fn fold(&mut self, rows: usize, groups: Groups<'_>, inputs: &[Values<'_>]) {
        if matches!(inputs, [Values::Null]) && !S::EXPLODES {
            return;
        }
        // A dictionary's value is looked up once a block.
        let decoded: Vec<Option<Vec<Option<Arc<str>>>>> = inputs.iter().map(texts).collect();
        let inputs: Vec<Values<'_>> = inputs
            .iter()
            .zip(&decoded)
            .map(|(values, texts)| texts.as_ref().map_or(*values, |texts| Values::Texts(texts)))
            .collect();
        for_each_group(rows, groups, |row, group| self.put(group, &inputs, row));
    }

    fn merge(&mut self, map: &[u32], other: &dyn Accumulator) {
        let settings = self.settings.clone();
        let other = same::<States<S>>(other);
        if let Some(why) = &other.refused {
            self.note(Err(why.clone()));
        }
        for (state, to) in other.states.iter().zip(map) {
            if let Some(state) = state {
                let taken = self.of(*to as usize).merge(&settings, state);
                self.note(taken);
            }
        }
    }

    fn finish(&self, groups: &[u32]) -> Block {
        let empty = S::new(&self.settings).finish(&self.settings);
        let value = |g: &u32| match &self.states[*g as usize] {
            Some(state) => state.finish(&self.settings),
            None => empty.clone(),
        };
        block_of(groups.iter().map(value).collect())
    }

    fn partial(&self, groups: &[u32]) -> Block {
        let empty: Arc<[u8]> = S::new(&self.settings).write(&self.settings).into();
        let bytes = |g: &u32| match &self.states[*g as usize] {
            Some(state) => state.write(&self.settings).into(),
            None => empty.clone(),
        };
        Block::Any { values: groups.iter().map(|g| Value::Bytes(bytes(g))).collect() }
    }

    fn complaint(&self, groups: &[u32]) -> Option<String> {
        let of_group = |g: &u32| self.states[*g as usize].as_ref()?.complaint();
        self.refused.clone().or_else(|| groups.iter().find_map(of_group))
    }

    fn state(&self, groups: &[u32]) -> Block {
        let mut refused = self.refused.clone();
        let state = |g: &u32| {
            if let Some(why) = refused.take() {
                return Some(Err(why));
            }
            let state = self.states[*g as usize].as_ref()?;
            Some(state.unwritten().map_or_else(|| Ok(state.send(&self.settings)), Err))
        };
        to_send(groups.iter().map(state))
    }

    fn absorb(&mut self, groups: &[u32], states: &Block) -> Result<(), String> {
        let settings = self.settings.clone();
        for (group, state) in sent(groups, states)? {
            let bytes = match state {
                Sent::State(bytes) => bytes,
                Sent::Refused(why) => {
                    self.note(Err(why.to_string()));
                    continue;
                }
            };
            let read = S::receive(&settings, bytes)?;
            match &mut self.states[group] {
                Some(own) => {
                    let taken = own.merge(&settings, &read);
                    self.note(taken);
                }
                none => *none = Some(Box::new(read)),
            }
        }
        Ok(())
    }

    fn fresh(&self) -> Box<dyn Accumulator> {
        Box::new(States::<S>::new(self.settings.clone()))
    }

    fn bytes(&self) -> usize {
        self.states.len() * size_of::<Option<Box<S>>>() + self.states.iter().flatten().map(|s| s.size()).sum::<usize>()
    }

    fn group_bytes(&self) -> usize {
        size_of::<Option<Box<S>>>() + S::new(&self.settings).size()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

fn texts(values: &Values<'_>) -> Option<Vec<Option<Arc<str>>>> {
    let Values::Codes { codes, column } = values else { return None };
    let mut known: HashMap<u32, Option<Arc<str>>> = HashMap::new();
    let text = |code: &u32| known.entry(*code).or_insert_with(|| column.value(*code).map(Arc::from)).clone();
    Some(codes.iter().map(text).collect())
}

/// Values as the plainest block that holds them.
fn block_of(values: Vec<Value>) -> Block {
    let nulls = || {
        let nulls: Vec<bool> = values.iter().map(Value::is_null).collect();
        nulls.contains(&true).then_some(nulls)
    };
    if values.iter().all(|v| matches!(v, Value::Double(_) | Value::Null)) {
        let double = |v: &Value| if let Value::Double(v) = v { *v } else { 0.0 };
        return Block::Double { values: values.iter().map(double).collect(), nulls: nulls() };
    }
    if values.iter().all(|v| matches!(v, Value::Long(_) | Value::Null)) {
        let long = |v: &Value| if let Value::Long(v) = v { *v } else { 0 };
        return Block::Long { values: values.iter().map(long).collect(), nulls: nulls() };
    }
    Block::Any { values }
}
