//! One numbering of the values of several sorted dictionaries, made before the first row is read: ids ascend as values
//! do, and 0 is the null.
//!
//! For queries that will meet most values of large dictionaries. They pay a comparison a value, in the order in which
//! dictionaries are decoded, where numbering values as they are met costs a search in the dictionary and in a hash
//! table each; and groups are then ordered by their ids, without a look at texts.
//!
//! 1. Values of the largest dictionary, evenly spread, cut all dictionaries into parts.
//! 2. Threads merge the parts.
//! 3. Each part's ids begin where those of the part before end.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use segment::Segment;
use segment::column::{Column, DictColumn};

use crate::budget::{Budget, Taken};
use crate::columns::{Columns, Resolved};
use crate::error::{Error, Result};
use crate::pool::Pool;

/// Values of all dictionaries below which numbering them as they are met costs nothing.
const VALUES_MIN: u64 = 16 * 1024;
/// More dictionaries than this are not compared at every step.
const DICTIONARIES_MAX: usize = 16;
/// Parts a thread: they are not equally large.
const PARTS: usize = 4;

pub struct Merged {
    inputs: Vec<Input>,
    /// Of each id above 0: an input, and the code that it has there.
    places: Vec<(u32, u32)>,
    _taken: Taken,
}

struct Input {
    segment: Arc<Segment>,
    column: String,
    /// By code.
    ids: Vec<u32>,
}

/// Ids of a stretch of all values, from 0.
struct Part {
    places: Vec<(u32, u32)>,
    /// By input, of the codes of its stretch.
    ids: Vec<Vec<u32>>,
}

impl Merged {
    /// `None` if the column is not of sorted dictionaries wherever it is, or merging does not pay.
    pub fn of(column: &str, pieces: &[Columns], pool: &Pool, budget: &Arc<Budget>) -> Result<Option<Merged>> {
        let mut segments: Vec<Arc<Segment>> = Vec::new();
        let (mut values, mut rows) = (0, 0);
        for piece in pieces {
            rows += piece.segment().rows() as u64;
            match piece.resolve(column)? {
                Resolved::Missing => {}
                Resolved::Physical(Column::Dict(dict)) if dict.is_sorted() && !dict.is_multi() => {
                    values += u64::from(dict.cardinality());
                    segments.push(piece.segment().clone());
                }
                _ => return Ok(None),
            }
        }
        if segments.len() < 2 || segments.len() > DICTIONARIES_MAX || values < VALUES_MIN || values > rows {
            return Ok(None);
        }
        let taken = Taken::new(budget, values as usize * (size_of::<(u32, u32)>() + size_of::<u32>()))?;
        let parts = Arc::new(cut(&segments, column, pool.threads() * PARTS)?);
        let next = AtomicUsize::new(0);
        let work = {
            let (segments, column, budget, parts) =
                (segments.clone(), column.to_string(), budget.clone(), parts.clone());
            move |_: usize| -> Result<Vec<(usize, Part)>> {
                let dicts = dictionaries(&segments, &column)?;
                let mut done = Vec::new();
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(ranges) = parts.get(number) else { return Ok(done) };
                    budget.check()?;
                    done.push((number, merge(&dicts, ranges)));
                }
            }
        };
        let mut merged = Vec::with_capacity(parts.len());
        for done in pool.share(parts.len(), budget.priority(), Arc::new(work)) {
            merged.extend(done?);
        }
        merged.sort_by_key(|(number, _)| *number);

        let dicts = dictionaries(&segments, column)?;
        let mut all: Vec<Vec<u32>> = dicts
            .iter()
            .map(|dict| {
                let mut ids = Vec::with_capacity(dict.cardinality() as usize);
                ids.extend(dict.null_code().map(|_| 0));
                ids
            })
            .collect();
        let mut places = Vec::with_capacity(merged.iter().map(|(_, part)| part.places.len()).sum());
        for (_, part) in merged {
            let first = places.len() as u32 + 1;
            for (all, ids) in all.iter_mut().zip(part.ids) {
                all.extend(ids.iter().map(|id| first + id));
            }
            places.extend(part.places);
        }
        let input = |(segment, ids)| Input { segment, column: column.to_string(), ids };
        let inputs = segments.into_iter().zip(all).map(input).collect();
        Ok(Some(Merged { inputs, places, _taken: taken }))
    }

    /// Ids are below this.
    pub fn below(&self) -> u64 {
        self.places.len() as u64 + 1
    }

    /// The ids of a segment's codes; `None` if it does not have the column.
    pub fn ids(&self, segment: &Arc<Segment>) -> Option<&[u32]> {
        self.inputs.iter().find(|input| Arc::ptr_eq(&input.segment, segment)).map(|input| &input.ids[..])
    }

    /// The dictionaries that [`Merged::value`] asks for.
    pub fn dictionaries(&self) -> Result<Vec<&DictColumn>> {
        self.inputs.iter().map(|input| dictionary(&input.segment, &input.column)).collect()
    }

    pub fn value<'a>(&self, dictionaries: &[&'a DictColumn], id: u32) -> Option<&'a str> {
        let (input, code) = self.places[id.checked_sub(1)? as usize];
        dictionaries[input as usize].value(code)
    }
}

fn dictionaries<'a>(segments: &'a [Arc<Segment>], column: &str) -> Result<Vec<&'a DictColumn>> {
    segments.iter().map(|segment| dictionary(segment, column)).collect()
}

fn dictionary<'a>(segment: &'a Segment, column: &str) -> Result<&'a DictColumn> {
    match segment.column(column)? {
        Some(Column::Dict(dict)) => Ok(dict),
        _ => Err(Error::Bug(format!("column {column} changed during the query"))),
    }
}

/// Codes of the parts, by input: together all codes but the nulls'.
fn cut(segments: &[Arc<Segment>], column: &str, count: usize) -> Result<Vec<Vec<Range<u32>>>> {
    let dicts = dictionaries(segments, column)?;
    let largest = dicts.iter().max_by_key(|dict| dict.cardinality()).expect("there are two at least");
    let first = |dict: &DictColumn| u32::from(dict.null_code().is_some());
    let mut parts = Vec::with_capacity(count);
    let mut starts: Vec<u32> = dicts.iter().map(|dict| first(dict)).collect();
    for part in 1..=count {
        let code = (u64::from(largest.cardinality()) * part as u64 / count as u64) as u32;
        let ends: Vec<u32> = match largest.value(code.min(largest.cardinality() - 1)).filter(|_| part < count) {
            // Bounds ascend with values; the maximum holds that also where bytes are damaged.
            Some(value) => dicts.iter().zip(&starts).map(|(dict, start)| dict.lower_bound(value).max(*start)).collect(),
            None if part < count => continue,
            None => dicts.iter().map(|dict| dict.cardinality()).collect(),
        };
        parts.push(starts.iter().zip(&ends).map(|(start, end)| *start..*end).collect());
        starts = ends;
    }
    Ok(parts)
}

fn merge(dicts: &[&DictColumn], ranges: &[Range<u32>]) -> Part {
    let mut cursors: Vec<_> = dicts.iter().zip(ranges).map(|(dict, range)| dict.cursor(range.start)).collect();
    let mut codes: Vec<u32> = ranges.iter().map(|range| range.start).collect();
    let mut places = Vec::with_capacity(ranges.iter().map(|range| range.len()).max().unwrap_or(0));
    let mut ids: Vec<Vec<u32>> = ranges.iter().map(|range| Vec::with_capacity(range.len())).collect();
    let mut holders = Vec::with_capacity(dicts.len());
    loop {
        holders.clear();
        let mut least = "";
        for (input, cursor) in cursors.iter().enumerate() {
            if codes[input] == ranges[input].end {
                continue;
            }
            let value = cursor.value().unwrap_or_default();
            match value.cmp(least) {
                _ if holders.is_empty() => {}
                std::cmp::Ordering::Less => holders.clear(),
                std::cmp::Ordering::Equal => {}
                std::cmp::Ordering::Greater => continue,
            }
            least = value;
            holders.push(input);
        }
        let Some(first) = holders.first() else { return Part { places, ids } };
        let id = places.len() as u32;
        places.push((*first as u32, codes[*first]));
        for input in &holders {
            ids[*input].push(id);
            codes[*input] += 1;
            cursors[*input].advance();
        }
    }
}
