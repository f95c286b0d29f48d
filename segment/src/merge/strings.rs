//! String columns of a merge: one dictionary of many, and rows in new codes.

use super::Source;
use super::order::Order;
use super::rows::{Inputs, Stretch};
use crate::block::BLOCK_ROWS;
use crate::column::dict::Ascending;
use crate::column::index::{self, Postings};
use crate::column::{Column, DictColumn};
use crate::dictionary::DictionaryWriter;
use crate::encoding::codes::CodesWriter;
use crate::error::Result;
use crate::file::layout::{ListSections, Section, Sections};
use crate::file::writer::FileWriter;

/// Buffered bytes of a section are written when there are so many.
const BUFFER: usize = 256 * 1024;

/// The dictionary of an output column, written; and the new code of each code of the inputs.
pub(super) struct Union {
    maps: Vec<Vec<u32>>,
    section: Section,
    has_null: bool,
    cardinality: u32,
    multi: bool,
}

impl Union {
    /// Merges and writes the dictionaries of a column.
    pub fn write(inputs: &Inputs, columns: &[Source], writer: &mut FileWriter) -> Result<Union> {
        let dicts: Vec<Option<&DictColumn>> = columns.iter().map(dict).collect();
        let has_null = inputs.segments().zip(&dicts).any(|(segment, dict)| match dict {
            Some(dict) => dict.null_code().is_some() || has_empty_list(dict),
            None => segment.rows() > 0,
        });
        let multi = dicts.iter().flatten().any(|dict| dict.is_multi());
        let mut maps: Vec<Vec<u32>> =
            dicts.iter().map(|dict| vec![0; dict.map_or(0, |d| d.cardinality() as usize)]).collect();

        writer.begin()?;
        let mut out = Vec::new();
        let mut dictionary = DictionaryWriter::new()?;
        let mut code = u32::from(has_null);
        let mut lists =
            Merging::new(dicts.iter().enumerate().filter_map(|(i, dict)| Some((i, dict.as_ref()?.ascending()))));
        while let Some(value) = lists.first() {
            dictionary.push(value, &mut out)?;
            lists.take_first(|input, old| maps[input][old as usize] = code);
            code += 1;
            if out.len() >= BUFFER {
                writer.drain(&mut out)?;
            }
        }
        dictionary.finish(&mut out)?;
        writer.drain(&mut out)?;
        Ok(Union { maps, section: writer.end(), has_null, cardinality: code, multi })
    }

    /// New codes of an input's codes.
    pub fn map(&self, input: usize) -> &[u32] {
        &self.maps[input]
    }

    pub fn has_null(&self) -> bool {
        self.has_null
    }

    pub fn is_multi(&self) -> bool {
        self.multi
    }

    /// Writes a dimension's rows: rows that become one have equal values.
    pub fn write_rows(
        &self,
        inputs: &Inputs,
        columns: &[Source],
        order: &Order,
        indexed: bool,
        writer: &mut FileWriter,
    ) -> Result<Sections> {
        if self.multi {
            return self.write_lists(inputs, columns, order, indexed, writer);
        }
        let codes = self.gather(inputs, columns, order, |group, code_of| code_of(group[0]));
        self.write_codes(&codes, indexed, writer)
    }

    /// Writes a metric's rows: of rows that become one the first or last value that is not null.
    pub fn write_metric(
        &self,
        inputs: &Inputs,
        columns: &[Source],
        order: &Order,
        last: bool,
        writer: &mut FileWriter,
    ) -> Result<Sections> {
        let null = self.has_null.then_some(0);
        let codes = self.gather(inputs, columns, order, |group, code_of| {
            let there = |row: &u32| Some(code_of(*row)).filter(|code| Some(*code) != null);
            let mut rows = group.iter();
            if last { rows.rev().find_map(there) } else { rows.find_map(there) }.unwrap_or(0)
        });
        self.write_codes(&codes, false, writer)
    }

    fn write_codes(&self, codes: &[u32], indexed: bool, writer: &mut FileWriter) -> Result<Sections> {
        let mut out = Vec::new();
        let section = write_codes(codes, writer, &mut out)?;
        let index = if indexed && !codes.is_empty() {
            writer.begin()?;
            index::encode(&Postings::of_codes(codes, self.cardinality), codes.len(), &mut out);
            writer.drain(&mut out)?;
            Some(writer.end())
        } else {
            None
        };
        Ok(Sections::Strings { has_null: self.has_null, dictionary: self.section, codes: section, lists: None, index })
    }

    /// New codes of the rows of the output. `pick` takes the rows that become one, and a function that knows codes.
    fn gather(
        &self,
        inputs: &Inputs,
        columns: &[Source],
        order: &Order,
        pick: impl Fn(&[u32], &mut dyn FnMut(u32) -> u32) -> u32,
    ) -> Vec<u32> {
        let mut readers: Vec<Reader> = inputs
            .segments()
            .zip(columns)
            .enumerate()
            .map(|(i, (segment, source))| Reader {
                column: dict(source),
                map: &self.maps[i],
                codes: Stretch::new(segment.rows(), order.in_order(i)),
            })
            .collect();
        let mut code_of = |row: u32| {
            let (input, row) = inputs.locate(row);
            readers[input].code(row)
        };
        let mut codes = Vec::with_capacity(order.output_rows());
        for block in order.blocks() {
            codes.extend(block.groups().map(|group| pick(group, &mut code_of)));
        }
        codes
    }

    fn write_lists(
        &self,
        inputs: &Inputs,
        columns: &[Source],
        order: &Order,
        indexed: bool,
        writer: &mut FileWriter,
    ) -> Result<Sections> {
        let (mut lengths, mut codes, mut starts) = (Vec::with_capacity(order.output_rows()), Vec::new(), vec![0u64]);
        let (mut offsets, mut list) = (Vec::new(), Vec::new());
        for block in order.blocks() {
            for row in block.firsts() {
                let (input, row) = inputs.locate(row);
                list.clear();
                if let Some(column) = dict(&columns[input]) {
                    column.lists(row, 1, &mut offsets, &mut list);
                }
                let map = &self.maps[input];
                list.iter_mut().for_each(|code| *code = map[*code as usize]);
                if list == [0] && self.has_null {
                    list.clear();
                }
                codes.extend_from_slice(&list);
                lengths.push(list.len() as u32);
            }
            starts.push(codes.len() as u64);
        }
        let mut out = Vec::new();
        let section = write_codes(&codes, writer, &mut out)?;
        let lengths_section = write_codes(&lengths, writer, &mut out)?;
        writer.begin()?;
        starts.iter().for_each(|start| out.extend_from_slice(&start.to_le_bytes()));
        writer.drain(&mut out)?;
        let starts_section = writer.end();
        let most = codes.len() as u64 + lengths.len() as u64;
        let index = if indexed && !lengths.is_empty() && most < u64::from(u32::MAX) {
            writer.begin()?;
            let postings = Postings::of_pairs(self.cardinality, |visit| {
                let (mut at, mut seen) = (0, Vec::new());
                for (row, len) in lengths.iter().enumerate() {
                    seen.clear();
                    seen.extend_from_slice(&codes[at..at + *len as usize]);
                    at += *len as usize;
                    if seen.is_empty() {
                        seen.push(0);
                    }
                    seen.sort_unstable();
                    seen.dedup();
                    seen.iter().for_each(|code| visit(row as u32, *code));
                }
            });
            index::encode(&postings, lengths.len(), &mut out);
            writer.drain(&mut out)?;
            Some(writer.end())
        } else {
            None
        };
        let lists = ListSections { lengths: lengths_section, starts: starts_section, total: codes.len() as u64 };
        let (has_null, dictionary) = (self.has_null, self.section);
        Ok(Sections::Strings { has_null, dictionary, codes: section, lists: Some(lists), index })
    }
}

fn write_codes(codes: &[u32], writer: &mut FileWriter, out: &mut Vec<u8>) -> Result<Section> {
    writer.begin()?;
    let mut encoder = CodesWriter::default();
    for block in codes.chunks(BLOCK_ROWS) {
        encoder.block(block, out);
        if out.len() >= BUFFER {
            writer.drain(out)?;
        }
    }
    encoder.finish(out);
    writer.drain(out)?;
    Ok(writer.end())
}

/// Reads new codes of an input's rows.
struct Reader<'a> {
    /// `None`: the input has no such column, all its rows are null.
    column: Option<&'a DictColumn>,
    map: &'a [u32],
    codes: Stretch<u32>,
}

impl Reader<'_> {
    #[inline]
    fn code(&mut self, row: usize) -> u32 {
        let Some(column) = self.column else { return 0 };
        let map = self.map;
        let place = self.codes.place(row, |start, codes| {
            column.codes(start, codes);
            codes.iter_mut().for_each(|code| *code = map[*code as usize]);
        });
        self.codes.values[place]
    }
}

fn dict<'a>(source: &'a Source) -> Option<&'a DictColumn> {
    match source.column() {
        Some(Column::Dict(column)) => Some(column),
        Some(Column::Document(column)) => Some(column.texts()),
        _ => None,
    }
}

fn has_empty_list(column: &DictColumn) -> bool {
    if !column.is_multi() {
        return false;
    }
    let (mut offsets, mut codes) = (Vec::new(), Vec::new());
    (0..column.rows()).step_by(BLOCK_ROWS).any(|start| {
        column.lists(start, BLOCK_ROWS.min(column.rows() - start), &mut offsets, &mut codes);
        offsets.windows(2).any(|w| w[0] == w[1])
    })
}

/// Ascending lists of values, the one with the smallest value first: a binary heap of their places.
struct Merging<'a> {
    lists: Vec<(usize, Ascending<'a>)>,
    heap: Vec<usize>,
}

impl<'a> Merging<'a> {
    fn new(lists: impl Iterator<Item = (usize, Ascending<'a>)>) -> Merging<'a> {
        let lists: Vec<_> = lists.filter(|(_, list)| list.value().is_some()).collect();
        let mut merging = Merging { heap: (0..lists.len()).collect(), lists };
        (0..merging.heap.len() / 2).rev().for_each(|at| merging.sift(at));
        merging
    }

    fn first(&self) -> Option<&str> {
        let list = *self.heap.first()?;
        self.lists[list].1.value().map(|(value, _)| value)
    }

    /// Steps every list over the smallest value; calls back with the number of the list and its code of the value.
    fn take_first(&mut self, mut each: impl FnMut(usize, u32)) {
        let mut last: Option<String> = None;
        loop {
            let Some(&top) = self.heap.first() else { return };
            let (input, list) = &mut self.lists[top];
            let Some((value, code)) = list.value() else { return };
            // A single list has each value once.
            if last.as_deref().is_some_and(|last| last != value) {
                return;
            }
            each(*input, code);
            if self.heap.len() == 1 {
                list.advance();
                if list.value().is_none() {
                    self.heap.clear();
                }
                return;
            }
            if last.is_none() {
                last = Some(value.to_string());
            }
            list.advance();
            if list.value().is_none() {
                self.heap.swap_remove(0);
            }
            self.sift(0);
        }
    }

    fn sift(&mut self, mut at: usize) {
        let below = |a: usize, b: usize| {
            let value = |list: usize| self.lists[list].1.value().map(|(value, _)| value);
            (value(a), self.lists[a].0) < (value(b), self.lists[b].0)
        };
        loop {
            let mut least = at;
            for child in [2 * at + 1, 2 * at + 2] {
                if child < self.heap.len() && below(self.heap[child], self.heap[least]) {
                    least = child;
                }
            }
            if least == at {
                return;
            }
            self.heap.swap(at, least);
            at = least;
        }
    }
}
