//! What aggregates fold: each input is read once a block, in the form its accumulators want, however many share it.

use std::sync::{Arc, OnceLock};

use datasketches::hll::Coupon;
use segment::aggregate::Input;
use segment::aggregate::accumulator::{Values, Want, double_of_text, long_of_text};
use segment::block::{Block, Value};
use segment::column::{Column, DictColumn, NumberColumn};
use segment::expr::Expr;
use segment::schema::ValueType;
use segment::sketch::hash::{TextKey, coupon_of_text};

use super::interner::Interner;
use super::keys::{Ids, Key, Reader, Rows, Scratch, Shared, Space, nulls_of};
use crate::budget::Taken;
use crate::columns::{Columns, Decoded, Resolved, cast, gather};
use crate::error::Result;
use crate::language::VirtualColumn;
use crate::partial::Tuples;

/// Codes whose coupons or numbers are made at once.
const COUPONS: usize = 512;

/// A block's rows are few if this many times as many would not fill it.
const FEW: usize = 16;

/// An expression over the columns of a segment.
#[derive(Clone, Copy)]
pub struct Computed<'a> {
    pub expr: &'a Expr,
    pub output_type: Option<&'a ValueType>,
    /// The virtual column it defines: inside, the name means what it shadows.
    pub own: Option<&'a VirtualColumn>,
}

impl Computed<'_> {
    /// Its value given that of the one string column it reads.
    pub fn value(&self, text: Option<&str>) -> Value {
        let value = self.expr.value(&|_| text.map_or(Value::Null, Value::text));
        match self.output_type {
            None => value,
            Some(output_type) => cast(Block::Any { values: vec![value] }, output_type).value(0),
        }
    }
}

/// Computes rows of a block, and no others: whatever is made of the block as a whole is made of rows that are seen. If the
/// expression reads only one column of longs and its values come in long runs (times of sorted rows do), it is computed
/// once a run; then the ends of the runs come too, as places among the rows.
pub fn evaluate(columns: &Columns, computed: &Computed<'_>, rows: Rows<'_>) -> Result<(Block, Option<Vec<u32>>)> {
    let Rows { start, len, list } = rows;
    let names = computed.expr.columns();
    let resolve = |name: &str| match computed.own {
        Some(own) => columns.read_by(own, name),
        None => columns.resolve(name),
    };
    let finish = |block: Block| match computed.output_type {
        Some(output_type) => cast(block, output_type),
        None => block,
    };
    if let [one] = names[..] {
        let number = match resolve(one)? {
            Resolved::Time(column) => Some(column),
            Resolved::Physical(Column::Number(column)) => Some(column),
            _ => None,
        };
        if let Some(column) = number.filter(|c| c.value_type() == ValueType::Long && !c.has_nulls()) {
            let mut values = Vec::new();
            numbers(len, list, &mut values, |values| column.longs(start, values));
            let runs = values.chunk_by(|a, b| a == b).count();
            let mut ends = None;
            if runs * 2 <= values.len() {
                let mut end = 0;
                let each = values.chunk_by(|a, b| a == b).map(|run| {
                    end += run.len() as u32;
                    end
                });
                ends = Some(each.collect());
                values.dedup();
            }
            let len = values.len();
            let blocks = [(one, Some(Block::Long { values, nulls: None }))];
            return Ok((finish(computed.expr.block(&Decoded { blocks: &blocks, len })?), ends));
        }
    }
    let mut blocks = Vec::with_capacity(names.len());
    for name in names {
        let block = match (resolve(name)?, list) {
            (Resolved::Missing, _) => None,
            (Resolved::Virtual(inner), None) => Some(columns.virtual_block(inner, start, len)?),
            (Resolved::Virtual(inner), Some(list)) => Some(columns.virtual_values(inner, start, len, list)?),
            (other, list) => Some(gather(other.block(start, len), list)),
        };
        blocks.push((name, block));
    }
    Ok((finish(computed.expr.block(&Decoded { blocks: &blocks, len: rows.count() })?), None))
}

/// One input of the query's aggregates.
pub struct Source {
    pub input: Vec<Input>,
    pub want: Want,
    /// For [`Want::Ids`]: how values become ids, one key per input.
    pub keys: Vec<Key>,
    /// For ids of tuples that do not fit into a word.
    tuples: Interner,
}

/// Coupons of a dictionary's codes, a stretch at a time; `None` for texts that sketches leave out.
type Stretches = Box<[OnceLock<Box<[Option<Coupon>]>>]>;

/// Numbers that an expression makes of a dictionary's codes, a stretch at a time.
type Made = Box<[OnceLock<Numbers>]>;

/// What an expression makes of a stretch of codes.
pub enum Numbers {
    Longs(Vec<i64>, Option<Vec<bool>>),
    Doubles(Vec<f64>, Option<Vec<bool>>),
    /// Texts, arrays, or one and the other.
    None,
}

/// What one segment needs for a source, shared by the threads.
pub struct SharedSource {
    coupons: OnceLock<Stretches>,
    made: OnceLock<Made>,
    longs: OnceLock<Vec<Option<i64>>>,
    doubles: OnceLock<Vec<Option<f64>>>,
    /// The memory of the one of these that the source needs.
    taken: OnceLock<Taken>,
    keys: Vec<Shared>,
}

impl SharedSource {
    /// Counts a table of a dictionary's codes, once.
    fn hold(&self, column: &DictColumn, each: usize, taken: &Taken) -> Result<()> {
        if self.taken.get().is_none() {
            // Of two threads that come at once the second gives back what it took.
            let _ = self.taken.set(taken.more(column.cardinality() as usize * each)?);
        }
        Ok(())
    }
}

impl Source {
    pub fn new(input: Vec<Input>, want: Want, keys: Vec<Key>) -> Source {
        Source { input, want, keys, tuples: Interner::default() }
    }

    pub fn shared(&self) -> SharedSource {
        SharedSource {
            coupons: OnceLock::new(),
            made: OnceLock::new(),
            longs: OnceLock::new(),
            doubles: OnceLock::new(),
            taken: OnceLock::new(),
            keys: self.keys.iter().map(|_| Shared::default()).collect(),
        }
    }

    /// Takes what tells the values of ids. No more ids may be made afterwards.
    pub fn freeze(&self) -> Tuples {
        let keys: Vec<_> = self.keys.iter().map(Key::freeze).collect();
        let tuples = (keys.len() != 1).then(|| self.tuples.freeze());
        Tuples { keys, tuples }
    }

    /// A bound of the ids, if there is one.
    pub fn ids_below(&self) -> Option<u64> {
        match &self.keys[..] {
            [key] => key.space.size().below,
            _ => None,
        }
    }

    /// How the source is read from one segment. Tables of its dictionaries are counted with what is `taken`.
    pub fn reader<'a>(
        &'a self,
        columns: &'a Columns,
        shared: &'a SharedSource,
        sorted: bool,
        taken: &Taken,
    ) -> Result<SourceReader<'a>> {
        if self.want == Want::Ids {
            let readers = self.keys.iter().zip(&shared.keys).map(|(key, shared)| key.reader(columns, shared, sorted));
            return Ok(SourceReader::Ids { source: self, readers: readers.collect::<Result<_>>()? });
        }
        let name = match &self.input[0] {
            Input::Expression(expr) => {
                return self.computed(columns, shared, taken, Computed { expr, output_type: None, own: None });
            }
            Input::Column(name) => name,
        };
        Ok(match columns.resolve(name)? {
            Resolved::Missing => SourceReader::Null,
            Resolved::Time(column) => SourceReader::Number(column, self.want),
            Resolved::Physical(Column::Number(column)) => SourceReader::Number(column, self.want),
            Resolved::Physical(column @ (Column::Complex(_) | Column::Document(_))) => SourceReader::Values(column),
            Resolved::Virtual(column) => {
                let (expr, output_type) = (&column.expr, column.output_type.as_ref());
                self.computed(columns, shared, taken, Computed { expr, output_type, own: Some(column) })?
            }
            Resolved::Physical(column @ Column::Dict(dict)) => {
                let codes = 0..dict.cardinality();
                match self.want {
                    Want::Coupons(text) => {
                        shared.hold(dict, size_of::<Option<Coupon>>(), taken)?;
                        let stretches = codes.len().div_ceil(COUPONS);
                        let coupons = shared.coupons.get_or_init(|| (0..stretches).map(|_| OnceLock::new()).collect());
                        SourceReader::Coupons { column: dict, coupons, text }
                    }
                    _ if dict.is_multi() => SourceReader::Values(column),
                    Want::Long => {
                        shared.hold(dict, size_of::<Option<i64>>(), taken)?;
                        let all = || codes.map(|c| dict.value(c).and_then(long_of_text)).collect();
                        SourceReader::Longs { column: dict, numbers: shared.longs.get_or_init(all) }
                    }
                    Want::Double => {
                        shared.hold(dict, size_of::<Option<f64>>(), taken)?;
                        let all = || codes.map(|c| dict.value(c).and_then(double_of_text)).collect();
                        SourceReader::Doubles { column: dict, numbers: shared.doubles.get_or_init(all) }
                    }
                    Want::Text | Want::Value | Want::Ids => SourceReader::Codes(dict),
                }
            }
        })
    }

    /// Numbers made of one dictionary are made once a value where values repeat and there is memory to keep them.
    fn computed<'a>(
        &self,
        columns: &'a Columns,
        shared: &'a SharedSource,
        taken: &Taken,
        computed: Computed<'a>,
    ) -> Result<SourceReader<'a>> {
        if matches!(self.want, Want::Long | Want::Double | Want::Value)
            && let [one] = computed.expr.columns()[..]
        {
            let dictionary = match computed.own {
                Some(own) => columns.dictionary_of(&own.name)?,
                None => columns.dictionary_of(one)?,
            };
            if let Some((_, column)) = dictionary
                && column.cardinality() as usize * 2 <= columns.segment().rows()
                && shared.hold(column, size_of::<i64>() + size_of::<bool>(), taken).is_ok()
            {
                let stretches = (column.cardinality() as usize).div_ceil(COUPONS);
                let made = shared.made.get_or_init(|| (0..stretches).map(|_| OnceLock::new()).collect());
                return Ok(SourceReader::Made { column, made, computed, want: self.want });
            }
        }
        Ok(SourceReader::Computed(computed))
    }
}

pub enum SourceReader<'a> {
    Null,
    Number(&'a NumberColumn, Want),
    Codes(&'a DictColumn),
    Coupons { column: &'a DictColumn, coupons: &'a Stretches, text: TextKey },
    Longs { column: &'a DictColumn, numbers: &'a [Option<i64>] },
    Doubles { column: &'a DictColumn, numbers: &'a [Option<f64>] },
    Values(&'a Column),
    Computed(Computed<'a>),
    Made { column: &'a DictColumn, made: &'a Made, computed: Computed<'a>, want: Want },
    Ids { source: &'a Source, readers: Vec<Reader<'a>> },
}

/// Values of the rows of a block, and how they are to be seen.
#[derive(Default)]
pub struct Buffer {
    form: Form,
    longs: Vec<i64>,
    doubles: Vec<f64>,
    nulls: Vec<bool>,
    some_null: bool,
    codes: Vec<u32>,
    coupons: Vec<Option<Coupon>>,
    block: Option<Block>,
    /// If rows hold several values: the place of each value's row.
    pub parents: Option<Vec<u32>>,
    flags: Vec<bool>,
    ids: Vec<Ids>,
    scratch: Scratch,
}

#[derive(Default, Clone, Copy, PartialEq)]
enum Form {
    #[default]
    Null,
    Longs,
    Doubles,
    Codes,
    Coupons,
    Block,
}

impl Buffer {
    pub fn values<'a>(&'a self, reader: &SourceReader<'a>) -> Values<'a> {
        let nulls = self.some_null.then_some(&self.nulls[..]);
        match (self.form, reader) {
            (Form::Longs, _) => Values::Longs { values: &self.longs, nulls },
            (Form::Doubles, _) => Values::Doubles { values: &self.doubles, nulls },
            (Form::Codes, SourceReader::Codes(column)) => Values::Codes { codes: &self.codes, column },
            (Form::Coupons, _) => Values::Coupons(&self.coupons),
            (Form::Block, _) => self.block.as_ref().map_or(Values::Null, Values::from),
            _ => Values::Null,
        }
    }

    /// The numbers of the codes read last; not if an expression makes something else of one of them.
    fn numbers_of<'a>(&mut self, stretch: impl Fn(u32) -> Result<&'a Numbers>, want: Want) -> Result<bool> {
        self.form = Form::Null;
        self.longs.clear();
        self.doubles.clear();
        self.nulls.clear();
        for code in &self.codes {
            let place = *code as usize % COUPONS;
            let (form, nulls) = match stretch(*code)? {
                Numbers::Longs(values, nulls) if want == Want::Double => {
                    self.doubles.push(values[place] as f64);
                    (Form::Doubles, nulls)
                }
                Numbers::Longs(values, nulls) => {
                    self.longs.push(values[place]);
                    (Form::Longs, nulls)
                }
                Numbers::Doubles(values, nulls) => {
                    self.doubles.push(values[place]);
                    (Form::Doubles, nulls)
                }
                Numbers::None => return Ok(false),
            };
            if self.form != form && self.form != Form::Null {
                return Ok(false);
            }
            self.form = form;
            self.nulls.push(nulls.as_ref().is_some_and(|nulls| nulls[place]));
        }
        self.some_null = self.nulls.contains(&true);
        Ok(true)
    }
}

impl SourceReader<'_> {
    pub fn read(&self, columns: &Columns, rows: Rows<'_>, out: &mut Buffer) -> Result<()> {
        let Rows { start, len, list } = rows;
        out.some_null = false;
        out.parents = None;
        match self {
            SourceReader::Null => out.form = Form::Null,
            SourceReader::Number(column, want) => {
                let long = column.value_type() == ValueType::Long;
                if long && matches!(want, Want::Long | Want::Value | Want::Coupons(_)) {
                    out.form = Form::Longs;
                    numbers(len, list, &mut out.longs, |values| column.longs(start, values));
                } else {
                    out.form = Form::Doubles;
                    numbers(len, list, &mut out.doubles, |values| column.doubles(start, values));
                }
                if let Some(flags) = nulls_of(column, start, len, &mut out.flags) {
                    out.some_null = true;
                    out.nulls.clear();
                    match list {
                        None => out.nulls.extend_from_slice(flags),
                        Some(list) => out.nulls.extend(list.iter().map(|row| flags[*row as usize])),
                    }
                }
            }
            SourceReader::Codes(column) => {
                out.form = Form::Codes;
                codes_of(column, rows, &mut out.codes);
            }
            SourceReader::Coupons { column, coupons, text } => {
                out.form = Form::Coupons;
                let null = column.null_code();
                let coupon = |code: u32| {
                    if Some(code) == null {
                        return None;
                    }
                    let stretch = coupons[code as usize / COUPONS].get_or_init(|| coupons_of(column, code, *text));
                    stretch[code as usize % COUPONS]
                };
                out.coupons.clear();
                if column.is_multi() {
                    let (mut offsets, mut codes) = (Vec::new(), Vec::new());
                    column.lists(start, len, &mut offsets, &mut codes);
                    let mut parents = Vec::new();
                    let mut push = |place: usize, row: usize| {
                        for code in &codes[offsets[row] as usize..offsets[row + 1] as usize] {
                            out.coupons.push(coupon(*code));
                            parents.push(place as u32);
                        }
                    };
                    match list {
                        None => (0..len).for_each(|row| push(row, row)),
                        Some(list) => list.iter().enumerate().for_each(|(i, row)| push(i, *row as usize)),
                    }
                    out.parents = Some(parents);
                } else {
                    codes_of(column, rows, &mut out.codes);
                    out.coupons.extend(out.codes.iter().map(|code| coupon(*code)));
                }
            }
            SourceReader::Longs { column, numbers } => {
                out.form = Form::Longs;
                codes_of(column, rows, &mut out.codes);
                out.longs.clear();
                out.longs.extend(out.codes.iter().map(|c| numbers[*c as usize].unwrap_or(0)));
                out.nulls.clear();
                out.nulls.extend(out.codes.iter().map(|c| numbers[*c as usize].is_none()));
                out.some_null = true;
            }
            SourceReader::Doubles { column, numbers } => {
                out.form = Form::Doubles;
                codes_of(column, rows, &mut out.codes);
                out.doubles.clear();
                out.doubles.extend(out.codes.iter().map(|c| numbers[*c as usize].unwrap_or(0.0)));
                out.nulls.clear();
                out.nulls.extend(out.codes.iter().map(|c| numbers[*c as usize].is_none()));
                out.some_null = true;
            }
            SourceReader::Values(column) => {
                out.form = Form::Block;
                out.block = Some(gather(column.block(start, len), list));
            }
            SourceReader::Made { column, made, computed, want } => {
                codes_of(column, rows, &mut out.codes);
                // Where few rows of a block are wanted, most of a stretch would be made for nothing.
                let few = list.is_some_and(|list| list.len() * FEW < len);
                if few || !out.numbers_of(|code| numbers_of(column, columns, computed, made, code), *want)? {
                    SourceReader::Computed(*computed).read(columns, rows, out)?;
                }
            }
            SourceReader::Computed(computed) => {
                out.form = Form::Block;
                let (block, runs) = evaluate(columns, computed, rows)?;
                out.block = Some(match runs {
                    None => block,
                    Some(ends) => gather(block, Some(&places(&ends))),
                });
            }
            SourceReader::Ids { source, readers } => self.read_ids(source, readers, columns, rows, out)?,
        }
        Ok(())
    }

    fn read_ids(
        &self,
        source: &Source,
        readers: &[Reader<'_>],
        columns: &Columns,
        rows: Rows<'_>,
        out: &mut Buffer,
    ) -> Result<()> {
        out.form = Form::Longs;
        out.ids.resize_with(readers.len(), Ids::default);
        let mut count = rows.count();
        if let ([reader], [key]) = (readers, &source.keys[..])
            && reader.is_multi()
        {
            let mut parents = Vec::new();
            reader.explode(key, columns, rows, &mut parents, &mut out.ids[0])?;
            count = parents.len();
            out.parents = Some(parents);
        } else {
            for ((reader, key), ids) in readers.iter().zip(&source.keys).zip(&mut out.ids) {
                reader.read(key, columns, rows, &mut out.scratch, ids)?;
            }
        }
        out.longs.clear();
        out.longs.resize(count, 0);
        out.nulls.clear();
        out.nulls.resize(count, false);
        let single = source.keys.len() == 1;
        let mut words = vec![0u64; if single { 0 } else { count * source.keys.len() }];
        for (k, (key, ids)) in source.keys.iter().zip(&out.ids).enumerate() {
            let (longs, nulls) = (&mut out.longs, &mut out.nulls);
            let null_id = key.space.null();
            let mut set = |row: usize, value: u64, null: bool| {
                nulls[row] |= null;
                if single {
                    longs[row] = value as i64;
                } else {
                    words[row * source.keys.len() + k] = value;
                }
            };
            if ids.is_wide {
                ids.each_wide(count, set);
            } else {
                let has_null = !matches!(key.space, Space::Buckets(_));
                let mut each = vec![0u64; count];
                ids.add_to(&mut each, |id| id as u64);
                each.iter().enumerate().for_each(|(row, id)| set(row, *id, has_null && *id == null_id as u64));
            }
        }
        out.some_null = out.nulls.contains(&true);
        if !single {
            // Tuples are numbered as text, in hexadecimal: exact, and rare enough.
            for (row, tuple) in words.chunks_exact(source.keys.len()).enumerate() {
                if !out.nulls[row] {
                    let text: Vec<String> = tuple.iter().map(|word| format!("{word:x}")).collect();
                    out.longs[row] = source.tuples.intern(Some(&text.join(","))) as i64;
                }
            }
        }
        Ok(())
    }
}

fn numbers<T: Copy + Default>(len: usize, list: Option<&[u32]>, out: &mut Vec<T>, read: impl FnOnce(&mut [T])) {
    out.resize(len, T::default());
    read(&mut out[..len]);
    if let Some(list) = list {
        if list.len() <= len && list.is_sorted_by(|a, b| a < b) {
            // Rows are ascending, so that moving them down never overwrites one that is still to be moved.
            for (to, from) in list.iter().enumerate() {
                out[to] = out[*from as usize];
            }
            out.truncate(list.len());
        } else {
            *out = list.iter().map(|row| out[*row as usize]).collect();
        }
    }
}

fn codes_of(column: &DictColumn, rows: Rows<'_>, out: &mut Vec<u32>) {
    numbers(rows.len, rows.list, out, |codes| column.codes(rows.start, codes));
}

/// The coupons of the stretch of codes that a code is in. Neighbours are decoded together, so they cost little more
/// than the one.
fn coupons_of(column: &DictColumn, code: u32, text: TextKey) -> Box<[Option<Coupon>]> {
    let start = code - code % COUPONS as u32;
    let end = start.saturating_add(COUPONS as u32).min(column.cardinality());
    let mut coupons = vec![None; (end - start) as usize];
    column.scan_values(start..end, |first, places, texts| {
        for place in places {
            coupons[(first as usize + place) - start as usize] = coupon_of_text(texts.get(place), text);
        }
    });
    coupons.into()
}

/// The stretch of numbers that a code is in.
fn numbers_of<'a>(
    column: &DictColumn,
    columns: &Columns,
    computed: &Computed<'_>,
    made: &'a Made,
    code: u32,
) -> Result<&'a Numbers> {
    let cell = &made[code as usize / COUPONS];
    if let Some(numbers) = cell.get() {
        return Ok(numbers);
    }
    let start = code - code % COUPONS as u32;
    let end = start.saturating_add(COUPONS as u32).min(column.cardinality());
    let len = (end - start) as usize;
    let mut values: Vec<Option<Arc<str>>> = vec![None; len];
    column.scan_values(start..end, |first, places, texts| {
        for place in places {
            values[(first as usize + place) - start as usize] = Some(texts.get(place).into());
        }
    });
    let values = Block::Text { values };
    let block = match (computed.own, &computed.expr.columns()[..]) {
        (Some(own), _) => columns.over_values(&own.name, values)?,
        (None, [one, ..]) => {
            let input = columns.over_values(one, values)?;
            computed.expr.block(&Decoded { blocks: &[(*one, Some(input))], len })?
        }
        (None, []) => values,
    };
    Ok(cell.get_or_init(|| match block {
        Block::Long { values, nulls } => Numbers::Longs(values, nulls),
        Block::Double { values, nulls } => Numbers::Doubles(values, nulls),
        _ => Numbers::None,
    }))
}

/// The run of each row.
fn places(ends: &[u32]) -> Vec<u32> {
    let mut places = Vec::with_capacity(ends.last().map_or(0, |end| *end as usize));
    for (run, end) in ends.iter().enumerate() {
        places.resize(*end as usize, run as u32);
    }
    places
}
