//! Groups as frames, and frames merged into groups.
//!
//! A node's groups travel as tables: a column of each key, in its output type (documents as their text), then one of the states
//! of each aggregate. Ids of exact distinct counts mean something on their node only: every value that they stand for is
//! sent once, as text, and numbered from 0 in the order in which it is sent; states then hold these numbers (4 bytes each).

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use segment::aggregate::accumulator::{self, Accumulator};
use segment::aggregate::{Aggregate, AggregateKind};
use segment::block::{Block, Value};
use segment::schema::ValueType;

use super::frame::{self, Kind, broken};
use super::table;
use crate::budget::{Budget, Taken};
use crate::engine::interner::Interner;
use crate::engine::keys::Ids;
use crate::engine::table::{GroupTable, Layout};
use crate::error::{Error, Result};
use crate::language::Query;
use crate::partial::{FrozenKey, Partial, Tuples};
use crate::table::Table;

/// Bytes that a frame of groups is meant to have.
const FRAME_BYTES: usize = 1 << 20;
/// Groups in a frame at most.
const FRAME_GROUPS: usize = 16_384;
/// What the key of a group takes, roughly.
const KEY_BYTES: usize = 24;

/// The groups of a part, to be sent.
pub struct GroupFrames {
    partial: Partial,
    at: usize,
    /// By aggregate, the numbers that ids were sent under.
    sent: Vec<HashMap<u64, u32>>,
    _taken: Vec<Taken>,
}

impl GroupFrames {
    pub fn new(partial: Partial, held: Vec<Taken>) -> GroupFrames {
        let sent = partial.states.iter().map(|_| HashMap::new()).collect();
        GroupFrames { partial, at: 0, sent, _taken: held }
    }

    pub fn matched(&self) -> bool {
        self.partial.matched
    }

    /// The next frames; none after the last.
    pub fn next_frames(&mut self) -> Result<Vec<Bytes>> {
        let groups = self.partial.table.groups();
        if self.at >= groups {
            return Ok(Vec::new());
        }
        let states: usize = self.partial.states.iter().map(|state| state.bytes()).sum();
        let each = states / groups + KEY_BYTES * self.partial.keys.len() + 8;
        let count = (FRAME_BYTES / each.max(1)).clamp(1, FRAME_GROUPS).min(groups - self.at);
        let rows: Vec<u32> = (self.at as u32..(self.at + count) as u32).collect();
        self.at += count;
        let mut frames = Vec::new();
        let mut columns = Vec::new();
        for (k, key) in self.partial.keys.iter().enumerate() {
            let decoder = key.decoder()?;
            let ids = rows.iter().map(|group| self.partial.table.id(*group, k));
            let (value_type, block) = match &key.output_type {
                number if number.is_numeric() => (number.clone(), decoder.block(ids)),
                _ => {
                    let texts = ids.map(|id| decoder.text(id).map(Arc::from)).collect();
                    (ValueType::String, Block::Text { values: texts })
                }
            };
            columns.push((format!("k{k}"), value_type, block));
        }
        for (a, state) in self.partial.states.iter().enumerate() {
            let mut block = state.state(&rows);
            if let Some(tuples) = &self.partial.ids.get(a).cloned().flatten() {
                let texts = tuples.texts()?;
                block = numbered(&block, &mut self.sent[a], &texts, a, &mut frames)?;
            }
            columns.push((format!("s{a}"), type_of(&block), block));
        }
        let groups = Table { columns, rows: rows.len() };
        frames.push(frame::write(Kind::Rows, &table::write(&groups, "")?));
        Ok(frames)
    }
}

/// What the column is called is said by the block; the type has to be there.
fn type_of(block: &Block) -> ValueType {
    match block {
        Block::Long { .. } => ValueType::Long,
        Block::Double { .. } => ValueType::Double,
        Block::Text { .. } | Block::Any { .. } => ValueType::String,
    }
}

/// States of ids with the numbers that the ids are sent under; what was not sent yet becomes frames.
fn numbered(
    block: &Block,
    sent: &mut HashMap<u64, u32>,
    texts: &dyn Fn(u64) -> Option<String>,
    aggregate: usize,
    frames: &mut Vec<Bytes>,
) -> Result<Block> {
    let Block::Any { values } = block else { return Err(Error::Bug("ids are no bytes".into())) };
    let (mut fresh, mut bytes) = (Vec::new(), 0);
    let flush = |fresh: &mut Vec<Option<Arc<str>>>, frames: &mut Vec<Bytes>| -> Result<()> {
        let rows = fresh.len();
        let values = Block::Text { values: std::mem::take(fresh) };
        let table = Table { columns: vec![("value".into(), ValueType::String, values)], rows };
        frames.push(frame::write(Kind::Values, &table::write(&table, &aggregate.to_string())?));
        Ok(())
    };
    let mut out = Vec::with_capacity(values.len());
    for value in values {
        let Value::Bytes(ids) = value else {
            out.push(value.clone());
            continue;
        };
        let mut numbers = Vec::with_capacity(ids.len() / 2);
        for id in ids.as_chunks::<8>().0 {
            let id = u64::from_le_bytes(*id);
            let next = sent.len() as u32;
            let number = match sent.entry(id) {
                std::collections::hash_map::Entry::Occupied(known) => *known.get(),
                std::collections::hash_map::Entry::Vacant(new) => {
                    let text = texts(id).ok_or_else(|| Error::Bug("an id of a value stands for none".into()))?;
                    bytes += text.len();
                    fresh.push(Some(Arc::from(text)));
                    *new.insert(next)
                }
            };
            numbers.extend(number.to_le_bytes());
            if bytes > FRAME_BYTES || fresh.len() >= FRAME_GROUPS {
                flush(&mut fresh, frames)?;
                bytes = 0;
            }
        }
        out.push(Value::Bytes(numbers.into()));
    }
    if !fresh.is_empty() {
        flush(&mut fresh, frames)?;
    }
    Ok(Block::Any { values: out })
}

/// A node's groups, read and not yet merged.
pub enum Part {
    Values(usize, Vec<Option<Arc<str>>>),
    Groups(Table),
}

/// Reads the frames of a node's groups.
pub fn read(frames: &[(Kind, Bytes)]) -> Result<Vec<Part>> {
    let mut parts = Vec::with_capacity(frames.len());
    for (kind, content) in frames {
        let (table, said) = table::read(content)?;
        parts.push(match kind {
            Kind::Rows => Part::Groups(table),
            Kind::Values => {
                let aggregate = said.parse().map_err(|_| broken("values are of no aggregate"))?;
                match table.columns.into_iter().next() {
                    Some((.., Block::Text { values })) => Part::Values(aggregate, values),
                    _ => return Err(broken("values are no texts")),
                }
            }
            _ => return Err(broken("a frame stands where none of its kind does")),
        });
    }
    Ok(parts)
}

/// Merges the groups of nodes.
pub struct Merger {
    keys: Vec<MergedKey>,
    has_time: bool,
    table: GroupTable,
    states: Vec<Box<dyn Accumulator>>,
    /// By aggregate, the values of exact distinct counts.
    values: Vec<Option<Interner>>,
    taken: Taken,
    counted: usize,
    matched: bool,
}

struct MergedKey {
    output_type: ValueType,
    texts: Option<Interner>,
}

impl Merger {
    /// Of a timeseries, topN or groupBy.
    pub fn new(query: &Query, budget: &Arc<Budget>) -> Result<Merger> {
        use segment::time::Granularity;
        let (granularity, dimensions) = match query {
            Query::Timeseries(q) => (&q.granularity, &[][..]),
            Query::TopN(q) => (&q.granularity, std::slice::from_ref(&q.dimension)),
            Query::GroupBy(q) => (&q.granularity, &q.dimensions[..]),
            other => return Err(Error::Bug(format!("a {} is not a group query", other.type_name()))),
        };
        let has_time = *granularity != Granularity::All;
        let time = has_time.then_some(&ValueType::Long);
        let types = time.into_iter().chain(dimensions.iter().map(|dimension| &dimension.output_type));
        let keys: Vec<MergedKey> = types
            .map(|output_type| MergedKey {
                output_type: output_type.clone(),
                texts: (!output_type.is_numeric()).then(Interner::default),
            })
            .collect();
        let layout = match keys.len() {
            0 => Layout::Single,
            count => Layout::Words { wide: vec![true; count] },
        };
        let mut merger = Merger {
            has_time,
            keys,
            table: GroupTable::new(layout),
            states: query.aggregates().iter().map(accumulator::new).collect(),
            values: query.aggregates().iter().map(|one| has_ids(one).then(Interner::default)).collect(),
            taken: Taken::new(budget, 0)?,
            counted: 0,
            matched: false,
        };
        merger.make_room();
        Ok(merger)
    }

    fn make_room(&mut self) {
        let groups = self.table.groups();
        self.states.iter_mut().for_each(|state| state.resize(groups));
    }

    /// Takes in all of a node's groups. After an error nothing of what is here is of use any more.
    pub fn absorb(&mut self, parts: Vec<Part>, matched: bool) -> Result<()> {
        // By aggregate, what the node's numbers are here.
        let mut known: Vec<Vec<u64>> = self.states.iter().map(|_| Vec::new()).collect();
        for part in parts {
            match part {
                Part::Values(aggregate, texts) => {
                    let interner = self.values.get(aggregate).and_then(Option::as_ref);
                    let interner = interner.ok_or_else(|| broken("values are of an aggregate without any"))?;
                    known[aggregate].extend(texts.iter().map(|text| u64::from(interner.intern(text.as_deref()))));
                }
                Part::Groups(table) => self.groups(table, &known)?,
            }
            self.count()?;
        }
        self.matched |= matched;
        Ok(())
    }

    fn groups(&mut self, table: Table, known: &[Vec<u64>]) -> Result<()> {
        if table.columns.len() != self.keys.len() + self.states.len() {
            return Err(broken("groups have other columns than were asked for"));
        }
        let rows = table.rows;
        let mut columns = table.columns.into_iter().map(|(.., block)| block);
        let mut ids = Vec::with_capacity(self.keys.len());
        for key in &self.keys {
            let block = columns.next().ok_or_else(|| broken("a key is missing"))?;
            ids.push(ids_of(key, block)?);
        }
        let mut groups = Vec::new();
        self.table.assign(&ids, rows, &mut groups);
        self.make_room();
        for (a, block) in columns.enumerate() {
            let block = match &self.values[a] {
                None => block,
                Some(_) => renumbered(block, &known[a])?,
            };
            self.states[a].absorb(&groups, &block).map_err(broken)?;
        }
        Ok(())
    }

    /// Counts what the groups take.
    fn count(&mut self) -> Result<()> {
        let texts = self.keys.iter().filter_map(|key| key.texts.as_ref()).chain(self.values.iter().flatten());
        let bytes = self.table.bytes()
            + self.states.iter().map(|state| state.bytes()).sum::<usize>()
            + texts.map(Interner::bytes).sum::<usize>();
        match bytes.checked_sub(self.counted) {
            Some(more) => self.taken.grow(more)?,
            None => self.taken.shrink(self.counted - bytes),
        }
        self.counted = bytes;
        Ok(())
    }

    /// The groups of all nodes, whose rows have these times.
    pub fn finish(self, query: &Query, spans: Vec<(i64, i64)>) -> Partial {
        let keys = self.keys.into_iter().map(|key| {
            let texts = key.texts.map(|texts| texts.freeze());
            FrozenKey::merged(key.output_type, texts)
        });
        let buckets = match query {
            Query::Timeseries(q) if self.has_time => {
                crate::engine::keys::Buckets::of(&q.granularity, &spans).map(|buckets| buckets.starts)
            }
            _ => None,
        };
        Partial {
            keys: keys.collect(),
            has_time: self.has_time,
            table: self.table,
            states: self.states,
            spans,
            matched: self.matched,
            taken: self.taken,
            buckets,
            types: Vec::new(),
            ids: self.values.iter().map(|values| values.as_ref().map(|texts| Arc::new(tuples(texts)))).collect(),
        }
    }
}

/// What tells values that are numbered as texts.
fn tuples(texts: &Interner) -> Tuples {
    Tuples { keys: vec![FrozenKey::merged(ValueType::String, Some(texts.freeze()))], tuples: None }
}

fn has_ids(aggregate: &Aggregate) -> bool {
    match &aggregate.kind {
        AggregateKind::Distinct { .. } => true,
        AggregateKind::Filtered { inner, .. } => has_ids(inner),
        _ => false,
    }
}

fn ids_of(key: &MergedKey, block: Block) -> Result<Ids> {
    let mut ids = Ids::default();
    ids.clear(true);
    match (&key.texts, block) {
        (Some(interner), Block::Text { values }) => {
            ids.nulls = values.iter().map(Option::is_none).collect();
            ids.wide = values.iter().map(|text| u64::from(interner.intern(text.as_deref()))).collect();
        }
        (None, Block::Long { values, nulls }) if key.output_type == ValueType::Long => {
            ids.wide = values.into_iter().map(|value| value as u64).collect();
            ids.nulls = nulls.unwrap_or_default();
        }
        (None, Block::Double { values, nulls }) if key.output_type != ValueType::Long => {
            ids.wide = values.into_iter().map(f64::to_bits).collect();
            ids.nulls = nulls.unwrap_or_default();
        }
        _ => return Err(broken(format_args!("a key is no {}", key.output_type.druid_name()))),
    }
    Ok(ids)
}

/// States of a node's numbers as states of ids.
fn renumbered(block: Block, known: &[u64]) -> Result<Block> {
    let Block::Any { values } = block else { return Err(broken("numbers of values are no bytes")) };
    let number = |bytes: &[u8; 4]| known.get(u32::from_le_bytes(*bytes) as usize).map(|id| id.to_le_bytes());
    let value = |value: Value| match value {
        Value::Bytes(bytes) => {
            let (numbers, rest) = bytes.as_chunks::<4>();
            let ids: Option<Vec<[u8; 8]>> = numbers.iter().map(number).collect();
            let ids = ids.filter(|_| rest.is_empty()).ok_or_else(|| broken("a value's number stands for none"))?;
            Ok(Value::Bytes(ids.concat().into()))
        }
        other => Ok(other),
    };
    Ok(Block::Any { values: values.into_iter().map(value).collect::<Result<_>>()? })
}
