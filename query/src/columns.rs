//! The columns of a segment as a query sees them: real ones, virtual ones, and those that are not there.

use std::sync::Arc;

use segment::Segment;
use segment::block::{BLOCK_ROWS, Block, Value};
use segment::column::{Column, DictColumn, NumberColumn};
use segment::expr::Inputs;
use segment::schema::{TIME, ValueType};

use crate::engine::seen::Seen;
use crate::error::Result;
use crate::language::VirtualColumn;
use crate::selection::{Scratch, Selected, Selector};

/// A segment and the query's virtual columns, which may shadow its own. Columns that the asker may not see are missing,
/// and masks stand in place of those that are masked. A [`Piece`](crate::engine::Piece) makes them.
#[derive(Clone)]
pub struct Columns {
    segment: Arc<Segment>,
    seen: Option<Arc<Seen>>,
    virtual_columns: Arc<[VirtualColumn]>,
}

pub enum Resolved<'a> {
    /// All null.
    Missing,
    Time(&'a NumberColumn),
    Physical(&'a Column),
    Virtual(&'a VirtualColumn),
}

impl Columns {
    pub(crate) fn new(
        segment: Arc<Segment>,
        seen: Option<Arc<Seen>>,
        virtual_columns: Arc<[VirtualColumn]>,
    ) -> Columns {
        Columns { segment, seen, virtual_columns }
    }

    /// What limits the rows and columns that are seen.
    pub(crate) fn seen(&self) -> Option<&Arc<Seen>> {
        self.seen.as_ref()
    }

    pub fn segment(&self) -> &Arc<Segment> {
        &self.segment
    }

    pub fn virtual_column(&self, name: &str) -> Option<&VirtualColumn> {
        self.virtual_columns.iter().find(|v| v.name == name)
    }

    pub fn virtual_columns(&self) -> &[VirtualColumn] {
        &self.virtual_columns
    }

    pub fn resolve(&self, name: &str) -> Result<Resolved<'_>> {
        match self.virtual_column(name) {
            Some(column) => Ok(Resolved::Virtual(column)),
            None => self.physical(name),
        }
    }

    /// The segment's own column, whatever of the query shadows it; its mask, if it is masked.
    pub fn physical(&self, name: &str) -> Result<Resolved<'_>> {
        match &self.seen {
            // Nor is one there that only rows of others have values in, by whose type answers would differ.
            Some(seen) if !seen.shows(&self.segment, name)? => Ok(Resolved::Missing),
            Some(seen) => match seen.masks.iter().find(|mask| mask.name == name) {
                Some(mask) => Ok(Resolved::Virtual(mask)),
                None => self.kept(name),
            },
            None => self.kept(name),
        }
    }

    /// What a virtual column that reads its own name means by it: a mask the column that is kept, others what the asker
    /// sees of it.
    fn beneath(&self, column: &VirtualColumn) -> Result<Resolved<'_>> {
        let is_mask = self.seen.iter().any(|seen| seen.masks.iter().any(|mask| std::ptr::eq(mask, column)));
        if is_mask { self.kept(&column.name) } else { self.physical(&column.name) }
    }

    /// What a virtual column means by a name.
    pub fn read_by(&self, reader: &VirtualColumn, name: &str) -> Result<Resolved<'_>> {
        if reader.name == name { self.beneath(reader) } else { self.resolve(name) }
    }

    fn kept(&self, name: &str) -> Result<Resolved<'_>> {
        if name == TIME {
            return Ok(Resolved::Time(self.segment.time()?));
        }
        Ok(match self.segment.column(name)? {
            Some(column) => Resolved::Physical(column),
            None => Resolved::Missing,
        })
    }

    pub fn exists(&self, name: &str) -> Result<bool> {
        Ok(!matches!(self.resolve(name)?, Resolved::Missing))
    }

    /// The single-value dictionary column that alone decides a column's values, with its name: the column itself, or
    /// the only one that a virtual column reads, through others or not.
    pub fn dictionary_of(&self, name: &str) -> Result<Option<(String, &DictColumn)>> {
        if self.seen.as_ref().is_some_and(|seen| !seen.is_every_row(self.segment.rows())) {
            // Its values are those of all rows: what is made of them together would tell of the ones that are not seen.
            return Ok(None);
        }
        let dictionary = |name: &str, resolved| match resolved {
            Resolved::Physical(Column::Dict(dict)) if !dict.is_multi() => Some((name.to_string(), dict)),
            _ => None,
        };
        match self.resolve(name)? {
            Resolved::Virtual(column) => match column.expr.columns().as_slice() {
                [read] if *read == name => Ok(dictionary(name, self.beneath(column)?)),
                [read] => self.dictionary_of(read),
                _ => Ok(None),
            },
            other => Ok(dictionary(name, other)),
        }
    }

    /// The values of a column for given values of the one column that decides them, see [`Columns::dictionary_of`].
    pub fn over_values(&self, name: &str, values: Block) -> Result<Block> {
        let Resolved::Virtual(column) = self.resolve(name)? else {
            return Ok(values);
        };
        let read = column.expr.columns();
        let Some(read) = read.first() else {
            return Ok(values);
        };
        let len = values.len();
        let input = if *read == name { values } else { self.over_values(read, values)? };
        let block = column.expr.block(&Decoded { blocks: &[(*read, Some(input))], len })?;
        Ok(match &column.output_type {
            Some(value_type) => cast(block, value_type),
            None => block,
        })
    }

    /// Whether values of a column may be lists.
    pub fn may_be_list(&self, name: &str) -> bool {
        match self.virtual_column(name) {
            Some(column) => column.expr.may_be_list(&|read| match read == name {
                true => self.physical_list(read),
                false => self.may_be_list(read),
            }),
            None => self.physical_list(name),
        }
    }

    fn physical_list(&self, name: &str) -> bool {
        match self.physical(name) {
            Ok(Resolved::Physical(Column::Dict(dict))) => dict.is_multi(),
            Ok(Resolved::Physical(Column::Document(_))) => true,
            Ok(Resolved::Virtual(mask)) => mask.expr.may_be_list(&|read| self.segment.is_multi(read)),
            _ => false,
        }
    }

    /// The type of a column's values; `None`: there is no such column, or a virtual one whose type is not known.
    pub fn value_type(&self, name: &str) -> Option<ValueType> {
        match self.virtual_column(name) {
            Some(column) => {
                column.output_type.clone().or_else(|| column.expr.value_type(&|read| self.read_type(name, read)))
            }
            None => self.physical_type(name),
        }
    }

    fn read_type(&self, reader: &str, name: &str) -> Option<ValueType> {
        if reader == name { self.physical_type(name) } else { self.value_type(name) }
    }

    fn physical_type(&self, name: &str) -> Option<ValueType> {
        match self.physical(name).ok()? {
            Resolved::Missing => None,
            Resolved::Time(_) => Some(ValueType::Long),
            Resolved::Physical(column) => Some(column.value_type()),
            Resolved::Virtual(mask) => mask.output_type.clone(),
        }
    }

    /// Values of `len` rows from `start` of any column.
    pub fn block(&self, name: &str, start: usize, len: usize) -> Result<Block> {
        match self.resolve(name)? {
            Resolved::Virtual(column) => self.virtual_block(column, start, len),
            other => self.cover(other.block(start, len), start),
        }
    }

    /// Values in which those of rows that are not seen are those of the nearest row before that is (of the first one, where
    /// there is none): whatever is made of a block as a whole (its type is one for all of its rows) is made of rows that
    /// are seen, and values that come in runs still do.
    pub fn cover(&self, mut block: Block, start: usize) -> Result<Block> {
        let Some(seen) = &self.seen else { return Ok(block) };
        let len = block.len();
        let selector = Selector::of_node(self.segment.clone(), seen.node.clone(), seen.range.clone());
        let (mut scratch, mut words) = (Scratch::default(), [0; BLOCK_ROWS / 64]);
        let (mut shown, mut all) = (Vec::with_capacity(len), true);
        let mut at = start / BLOCK_ROWS * BLOCK_ROWS;
        while at < start + len {
            let rows = BLOCK_ROWS.min(selector.rows() - at);
            let asked = at.max(start) - at..(at + rows).min(start + len) - at;
            let selected = selector.select(at, rows, &mut scratch, &mut words)?;
            all &= selected == Selected::All;
            match selected {
                Selected::Some => shown.extend(asked.map(|row| words[row / 64] >> (row % 64) & 1 == 1)),
                whole => shown.resize(shown.len() + asked.len(), whole == Selected::All),
            }
            at += BLOCK_ROWS;
        }
        if all {
            return Ok(block);
        }
        let Some(first) = shown.iter().position(|shown| *shown) else {
            return Ok(Block::Any { values: vec![Value::Null; len] });
        };
        match &mut block {
            Block::Long { values, nulls } => {
                carry(values, &shown, first);
                nulls.iter_mut().for_each(|nulls| carry(nulls, &shown, first));
            }
            Block::Double { values, nulls } => {
                carry(values, &shown, first);
                nulls.iter_mut().for_each(|nulls| carry(nulls, &shown, first));
            }
            Block::Text { values } => carry(values, &shown, first),
            Block::Any { values } => carry(values, &shown, first),
        }
        Ok(block)
    }

    /// Values of a virtual column, which may be shadowed or a mask.
    pub fn virtual_block(&self, column: &VirtualColumn, start: usize, len: usize) -> Result<Block> {
        self.computed(column, len, &|resolved| self.cover(resolved.block(start, len), start))
    }

    /// The same of rows at some places of the block, each of which is seen: nothing is computed over the others.
    pub fn virtual_values(&self, column: &VirtualColumn, start: usize, len: usize, places: &[u32]) -> Result<Block> {
        self.computed(column, places.len(), &|resolved| Ok(gather(resolved.block(start, len), Some(places))))
    }

    fn computed(
        &self,
        column: &VirtualColumn,
        len: usize,
        read: &dyn Fn(Resolved<'_>) -> Result<Block>,
    ) -> Result<Block> {
        // What the expression reads is decoded before, so that a column that cannot be opened is an error here.
        let names = column.expr.columns();
        let mut blocks = Vec::with_capacity(names.len());
        for name in names {
            let block = match self.read_by(column, name)? {
                Resolved::Missing => None,
                Resolved::Virtual(inner) => Some(self.computed(inner, len, read)?),
                other => Some(read(other)?),
            };
            blocks.push((name, block));
        }
        let block = column.expr.block(&Decoded { blocks: &blocks, len })?;
        Ok(match &column.output_type {
            Some(value_type) => cast(block, value_type),
            None => block,
        })
    }
}

/// Puts the value of the last row before that is shown in place of those that are not.
fn carry<T: Clone>(values: &mut [T], shown: &[bool], first: usize) {
    let mut last = first;
    for (row, shown) in shown.iter().enumerate() {
        match shown {
            true => last = row,
            false => values[row] = values[last].clone(),
        }
    }
}

/// The values at some places; all of them, if none are named.
pub fn gather(block: Block, places: Option<&[u32]>) -> Block {
    let Some(places) = places else { return block };
    fn at<T: Clone>(values: &[T], places: &[u32]) -> Vec<T> {
        places.iter().map(|place| values[*place as usize].clone()).collect()
    }
    match block {
        Block::Long { values, nulls } => {
            Block::Long { values: at(&values, places), nulls: nulls.map(|nulls| at(&nulls, places)) }
        }
        Block::Double { values, nulls } => {
            Block::Double { values: at(&values, places), nulls: nulls.map(|nulls| at(&nulls, places)) }
        }
        Block::Text { values } => Block::Text { values: at(&values, places) },
        Block::Any { values } => Block::Any { values: at(&values, places) },
    }
}

impl Resolved<'_> {
    /// Values of a real column, whether its rows are seen or not; a missing one is null. Virtual columns go through
    /// [`Columns::block`].
    pub fn block(&self, start: usize, len: usize) -> Block {
        match self {
            Resolved::Missing | Resolved::Virtual(_) => Block::Text { values: vec![None; len] },
            Resolved::Physical(column) => column.block(start, len),
            Resolved::Time(time) => {
                let mut values = vec![0; len];
                time.longs(start, &mut values);
                Block::Long { values, nulls: None }
            }
        }
    }
}

/// Blocks by name, for expressions.
pub struct Decoded<'a> {
    pub blocks: &'a [(&'a str, Option<Block>)],
    pub len: usize,
}

impl Inputs for Decoded<'_> {
    fn column(&self, name: &str) -> Option<Block> {
        let (_, block) = self.blocks.iter().find(|(n, _)| *n == name)?;
        block.clone()
    }

    fn len(&self) -> usize {
        self.len
    }
}

/// Values as another type; what cannot be read as a number is null.
pub fn cast(block: Block, to: &ValueType) -> Block {
    match (&block, to) {
        (Block::Long { .. }, ValueType::Long) | (Block::Double { .. }, ValueType::Double) => return block,
        (Block::Text { .. }, ValueType::String) => return block,
        (Block::Any { .. }, ValueType::String) => {
            let Block::Any { mut values } = block else { return block };
            // One value of a multi-value string is that value, none is null.
            for value in &mut values {
                if let Value::List(list) = value
                    && list.len() < 2
                {
                    *value = list.pop().unwrap_or_default();
                }
            }
            return Block::Any { values };
        }
        _ => {}
    }
    let len = block.len();
    match to {
        ValueType::Long => {
            let mut nulls = vec![false; len];
            let values = (0..len)
                .map(|row| match as_long(&block.value(row)) {
                    Some(long) => long,
                    None => {
                        nulls[row] = true;
                        0
                    }
                })
                .collect();
            Block::Long { values, nulls: some_null(nulls) }
        }
        ValueType::Float | ValueType::Double => {
            let single = *to == ValueType::Float;
            let mut nulls = vec![false; len];
            let values = (0..len)
                .map(|row| match as_double(&block.value(row)) {
                    Some(double) if single => f64::from(double as f32),
                    Some(double) => double,
                    None => {
                        nulls[row] = true;
                        0.0
                    }
                })
                .collect();
            Block::Double { values, nulls: some_null(nulls) }
        }
        ValueType::String => Block::Text { values: (0..len).map(|row| as_text(&block.value(row))).collect() },
        document if document.is_document() => {
            Block::Any { values: (0..len).map(|row| segment::expr::convert::cast(&block.value(row), to)).collect() }
        }
        _ => block,
    }
}

fn some_null(nulls: Vec<bool>) -> Option<Vec<bool>> {
    nulls.contains(&true).then_some(nulls)
}

/// A value read as a long, as Druid casts: doubles are cut, text is parsed.
pub fn as_long(value: &Value) -> Option<i64> {
    match value {
        Value::Long(long) => Some(*long),
        Value::Double(double) => Some(*double as i64),
        Value::Text(text) => {
            let text = text.trim();
            text.parse().ok().or_else(|| text.parse::<f64>().ok().map(|double| double as i64))
        }
        Value::List(items) if items.len() == 1 => as_long(&items[0]),
        _ => None,
    }
}

pub fn as_double(value: &Value) -> Option<f64> {
    match value {
        Value::Long(long) => Some(*long as f64),
        Value::Double(double) => Some(*double),
        Value::Text(text) => text.trim().parse().ok(),
        Value::List(items) if items.len() == 1 => as_double(&items[0]),
        _ => None,
    }
}

pub fn as_text(value: &Value) -> Option<Arc<str>> {
    match value {
        Value::Null | Value::Bytes(_) => None,
        Value::Text(text) => Some(text.clone()),
        Value::Json(_) => segment::expr::convert::to_text(value),
        Value::Long(long) => Some(Arc::from(long.to_string())),
        Value::Double(double) => Some(Arc::from(crate::language::response::double_text(*double))),
        Value::List(items) => match items.as_slice() {
            [] => None,
            [one] => as_text(one),
            many => {
                let texts: Vec<String> =
                    many.iter().map(|item| as_text(item).map_or("null".to_string(), |t| t.to_string())).collect();
                Some(Arc::from(format!("[{}]", texts.join(", "))))
            }
        },
    }
}
