//! The groups of a query before they are finished: keys as ids, states of aggregates, and what is needed to tell the
//! ids' values and order.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::sync::Arc;

use segment::Segment;
use segment::aggregate::accumulator::Accumulator;
use segment::block::{Block, Value};
use segment::column::{Column, DictColumn};
use segment::schema::ValueType;

use crate::budget::Taken;
use crate::engine::interner::Texts;
use crate::engine::keys::{Key, Space};
use crate::engine::merged::Merged;
use crate::engine::table::GroupTable;
use crate::error::{Error, Result};
use crate::language::response::{double_text, float_text};

pub struct Partial {
    /// The time bucket first, if there is one, then the dimensions.
    pub keys: Vec<FrozenKey>,
    pub has_time: bool,
    pub table: GroupTable,
    /// One per aggregate.
    pub states: Vec<Box<dyn Accumulator>>,
    /// Times of the rows that were looked at, inclusive, per segment and interval.
    pub spans: Vec<(i64, i64)>,
    /// Whether any row was selected.
    pub matched: bool,
    pub taken: Taken,
    /// Of what was merged from parts: the starts of the time buckets that the spans touch, if they are few enough to be listed.
    pub buckets: Option<Vec<i64>>,
    /// Of a part: the types of its keys, then those of the ids of its aggregates, in its own segments.
    pub types: Vec<Vec<ValueType>>,
    /// Of a part: what tells the values of the ids of each aggregate that has some.
    pub ids: Vec<Option<Arc<Tuples>>>,
}

/// What tells the values that ids of an aggregate stand for.
pub struct Tuples {
    pub keys: Vec<FrozenKey>,
    /// Of several keys: their words in hexadecimal.
    pub tuples: Option<Texts>,
}

/// A key's ids, their values and type.
pub struct FrozenKey {
    ids: Arc<FrozenIds>,
    pub output_type: ValueType,
    /// Numbers are 32-bit floats, and print as such.
    float: bool,
}

enum FrozenIds {
    Buckets(Vec<i64>),
    Codes { segment: Arc<Segment>, column: String, null: u32 },
    Texts(Texts),
    Merged(Arc<Merged>),
    Range { min: i64, span: u64 },
    Longs,
    Doubles,
}

/// A frozen key with its dictionary at hand.
pub struct Decoder<'a> {
    ids: DecoderIds<'a>,
    output_type: &'a ValueType,
    float: bool,
}

enum DecoderIds<'a> {
    Buckets(&'a [i64]),
    Codes { column: &'a DictColumn, null: u32, sorted: bool },
    Texts(&'a Texts),
    Merged { merged: &'a Merged, dictionaries: Vec<&'a DictColumn> },
    Range { min: i64, span: u64 },
    Longs,
    Doubles,
}

impl Key {
    /// Takes what tells the ids' values. No more ids may be made afterwards.
    pub fn freeze(&self) -> FrozenKey {
        let ids = match &self.space {
            Space::Buckets(buckets) => FrozenIds::Buckets(buckets.starts.clone()),
            Space::Codes { segment, column, null, .. } => {
                FrozenIds::Codes { segment: segment.clone(), column: column.clone(), null: *null }
            }
            Space::Texts { interner, .. } => FrozenIds::Texts(interner.freeze()),
            Space::Merged(merged) => FrozenIds::Merged(merged.clone()),
            Space::Range { min, span } => FrozenIds::Range { min: *min, span: *span },
            Space::Longs { .. } => FrozenIds::Longs,
            Space::Doubles { .. } => FrozenIds::Doubles,
        };
        FrozenKey { ids: Arc::new(ids), output_type: self.output_type.clone(), float: self.float }
    }
}

impl FrozenKey {
    pub fn decoder(&self) -> Result<Decoder<'_>> {
        let ids = match &*self.ids {
            FrozenIds::Buckets(starts) => DecoderIds::Buckets(starts),
            FrozenIds::Codes { segment, column, null } => match segment.column(column)? {
                Some(Column::Dict(column)) => DecoderIds::Codes { column, null: *null, sorted: column.is_sorted() },
                _ => return Err(Error::Bug(format!("column {column} changed during the query"))),
            },
            FrozenIds::Texts(texts) => DecoderIds::Texts(texts),
            FrozenIds::Merged(merged) => DecoderIds::Merged { merged, dictionaries: merged.dictionaries()? },
            FrozenIds::Range { min, span } => DecoderIds::Range { min: *min, span: *span },
            FrozenIds::Longs => DecoderIds::Longs,
            FrozenIds::Doubles => DecoderIds::Doubles,
        };
        Ok(Decoder { ids, output_type: &self.output_type, float: self.float })
    }

    /// The same key for another table.
    pub fn share(&self) -> FrozenKey {
        FrozenKey { ids: self.ids.clone(), output_type: self.output_type.clone(), float: self.float }
    }

    /// A key of groups that were merged from parts: longs and doubles are their own ids, texts are numbered.
    pub fn merged(output_type: ValueType, texts: Option<Texts>) -> FrozenKey {
        let ids = match (texts, &output_type) {
            (Some(texts), _) => FrozenIds::Texts(texts),
            (None, ValueType::Long) => FrozenIds::Longs,
            (None, _) => FrozenIds::Doubles,
        };
        FrozenKey { ids: Arc::new(ids), output_type, float: false }
    }

    /// How many time buckets are listed, if they are.
    pub fn buckets(&self) -> Option<usize> {
        match &*self.ids {
            FrozenIds::Buckets(starts) => Some(starts.len()),
            _ => None,
        }
    }
}

impl Decoder<'_> {
    pub fn output_type(&self) -> &ValueType {
        self.output_type
    }

    pub fn long(&self, id: Option<u64>) -> Option<i64> {
        let id = id?;
        match &self.ids {
            DecoderIds::Buckets(starts) => Some(starts[id as usize]),
            DecoderIds::Range { min, span } => (id != *span).then(|| min.wrapping_add(id as i64)),
            DecoderIds::Longs => Some(id as i64),
            DecoderIds::Doubles => Some(f64::from_bits(id) as i64),
            DecoderIds::Codes { .. } | DecoderIds::Texts(_) | DecoderIds::Merged { .. } => None,
        }
    }

    pub fn double(&self, id: Option<u64>) -> Option<f64> {
        match &self.ids {
            DecoderIds::Doubles => id.map(f64::from_bits),
            _ => self.long(id).map(|v| v as f64),
        }
    }

    /// The value as text, whatever its type.
    pub fn text(&self, id: Option<u64>) -> Option<Cow<'_, str>> {
        match &self.ids {
            DecoderIds::Codes { column, null, .. } => {
                let code = id? as u32;
                if code == *null { None } else { column.value(code).map(Cow::Borrowed) }
            }
            DecoderIds::Texts(texts) => texts.get(id? as u32).map(Cow::Borrowed),
            DecoderIds::Merged { merged, dictionaries } => merged.value(dictionaries, id? as u32).map(Cow::Borrowed),
            DecoderIds::Doubles if self.float => self.double(id).map(|v| Cow::Owned(float_text(v as f32))),
            DecoderIds::Doubles => self.double(id).map(|v| Cow::Owned(double_text(v))),
            _ => self.long(id).map(|v| Cow::Owned(v.to_string())),
        }
    }

    fn is_text(&self) -> bool {
        !self.output_type.is_numeric()
    }

    /// The natural order of the output type, null first.
    pub fn compare(&self, a: Option<u64>, b: Option<u64>) -> Ordering {
        if a == b {
            return Ordering::Equal;
        }
        match &self.ids {
            DecoderIds::Buckets(_) | DecoderIds::Merged { .. } => a.cmp(&b),
            DecoderIds::Codes { null, sorted: true, .. } => {
                let rank = |id: Option<u64>| id.filter(|id| *id != *null as u64);
                rank(a).cmp(&rank(b))
            }
            DecoderIds::Doubles if !self.is_text() => match (self.double(a), self.double(b)) {
                (Some(a), Some(b)) => a.total_cmp(&b),
                (a, b) => a.is_some().cmp(&b.is_some()),
            },
            _ if !self.is_text() => self.long(a).cmp(&self.long(b)),
            _ if matches!(self.output_type, ValueType::Array(_)) => {
                let list = |id| self.text(id).map(|text| segment::column::document::read(&text, self.output_type));
                match (list(a), list(b)) {
                    (Some(a), Some(b)) => compare_values(&a, &b),
                    (a, b) => a.is_some().cmp(&b.is_some()),
                }
            }
            _ => self.text(a).cmp(&self.text(b)),
        }
    }

    /// The values of ids, in the output type.
    pub fn block(&self, ids: impl Iterator<Item = Option<u64>>) -> Block {
        match self.output_type {
            ValueType::Long => {
                let values: Vec<Option<i64>> = ids.map(|id| self.long(id)).collect();
                let nulls: Vec<bool> = values.iter().map(Option::is_none).collect();
                Block::Long {
                    values: values.into_iter().map(Option::unwrap_or_default).collect(),
                    nulls: nulls.contains(&true).then_some(nulls),
                }
            }
            ValueType::Float | ValueType::Double => {
                let values: Vec<Option<f64>> = ids.map(|id| self.double(id)).collect();
                let nulls: Vec<bool> = values.iter().map(Option::is_none).collect();
                Block::Double {
                    values: values.into_iter().map(Option::unwrap_or_default).collect(),
                    nulls: nulls.contains(&true).then_some(nulls),
                }
            }
            document if document.is_document() => {
                let value = |text: Cow<str>| segment::column::document::read(&text, document);
                Block::Any { values: ids.map(|id| self.text(id).map_or(Value::Null, value)).collect() }
            }
            _ => Block::Text { values: ids.map(|id| self.text(id).map(Arc::from)).collect() },
        }
    }
}

impl Tuples {
    /// Texts that are equal where the values are.
    pub fn texts(&self) -> Result<impl Fn(u64) -> Option<String> + '_> {
        let decoders = self.keys.iter().map(FrozenKey::decoder).collect::<Result<Vec<_>>>()?;
        Ok(move |id: u64| match (&self.tuples, &decoders[..]) {
            (None, [one]) => one.text(Some(id)).map(Cow::into_owned),
            (None, _) => None,
            (Some(tuples), decoders) => {
                let mut out = String::new();
                let words = tuples.get(u32::try_from(id).ok()?)?.split(',');
                for (word, decoder) in words.zip(decoders) {
                    let word = u64::from_str_radix(word, 16).ok()?;
                    let text = decoder.text(Some(word))?;
                    out.push_str(&format!("{}:{text}", text.len()));
                }
                Some(out)
            }
        })
    }
}

/// Arrays element by element, a shorter one first; null before all, numbers by value, anything else as text.
fn compare_values(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::List(a), Value::List(b)) => {
            let differing = a.iter().zip(b).map(|(a, b)| compare_values(a, b)).find(|order| order.is_ne());
            differing.unwrap_or_else(|| a.len().cmp(&b.len()))
        }
        (Value::Null, _) | (_, Value::Null) => b.is_null().cmp(&a.is_null()),
        (Value::Long(a), Value::Long(b)) => a.cmp(b),
        (Value::Long(_) | Value::Double(_), Value::Long(_) | Value::Double(_)) => {
            let double = |value| crate::columns::as_double(value).unwrap_or_default();
            double(a).total_cmp(&double(b))
        }
        (a, b) => crate::columns::as_text(a).cmp(&crate::columns::as_text(b)),
    }
}
