//! Opens segment files: maps them, checks header and footer, and hands out columns that are checked when first touched.

use std::fs::File;
use std::path::Path;
use std::sync::OnceLock;

use bytes::Bytes;
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use super::layout::{ColumnEntry, END_MAGIC, Footer, HEADER, ListSections, MAGIC, Section, Sections, TRAILER, VERSION};
use crate::block::BLOCK_ROWS;
use crate::column::dict::{FileDict, FileIndex, FileRows, Lists};
use crate::column::index::Index;
use crate::column::number::kind_of;
use crate::column::{Column, ComplexColumn, DictColumn, DocumentColumn, NumberColumn};
use crate::dictionary::Dictionary;
use crate::encoding::codes::Codes;
use crate::encoding::numbers::Numbers;
use crate::encoding::{Fields, u64_at};
use crate::error::{Error, Result};
use crate::meta::SegmentId;
use crate::schema::{TIME, ValueType};
use crate::segment::{FileColumn, FileParts, Opener, Provenance, Segment};
use crate::time::Granularity;

/// Maps a whole file.
#[allow(unsafe_code)]
pub(super) fn map(path: &Path) -> Result<Bytes> {
    let file = File::open(path).map_err(|e| Error::io(format!("open {}", path.display()), e))?;
    // SAFETY: segment files get their name when they are whole, and are never written again; they are replaced and
    // removed by name only, which leaves the mapped file as it is.
    let map = unsafe { memmap2::Mmap::map(&file) }.map_err(|e| Error::io(format!("map {}", path.display()), e))?;
    Ok(Bytes::from_owner(map))
}

/// A segment over the bytes of a file. `what` names the file in errors.
pub(super) fn open(bytes: Bytes, id: SegmentId, what: &str) -> Result<Segment> {
    let footer = footer(&bytes).map_err(|text| Error::corrupt(format!("{what}: {text}")))?;
    let provenance = Provenance {
        rollup: footer.rollup,
        query_granularity: match &footer.query_granularity {
            Some(json) => {
                let text = |_| Error::corrupt(format!("{what}: footer: a query granularity that is none"));
                Some(Granularity::from_json(json).map_err(text)?)
            }
            None => None,
        },
        aggregates: footer.aggregates,
    };
    let rows = footer.rows as usize;
    let fingerprint = xxh3_128(&bytes[offset_of_footer(&bytes)..]);
    let columns = footer.columns.into_iter().map(|entry| {
        let value_type = ValueType::from_druid_name(&entry.type_name).expect("the footer's types were checked");
        let (name, bytes) = (entry.name.clone(), bytes.clone());
        let multi = matches!(entry.sections, Sections::Strings { lists: Some(_), .. });
        let open: Opener = Box::new(move || open_column(&bytes, &entry, rows));
        FileColumn { name, value_type, multi, open }
    });
    Ok(Segment::from_file(
        id,
        FileParts {
            rows,
            time_range: footer.time,
            columns: columns.collect(),
            dimensions: footer.dimensions,
            metrics: footer.metrics,
            provenance,
            order: footer.order,
            size_bytes: bytes.len() as u64,
            fingerprint,
        },
    ))
}

/// Compares every checksum and decodes what readers decode late.
pub(super) fn verify(bytes: &Bytes) -> Result<(), String> {
    let footer = footer(bytes)?;
    for entry in &footer.columns {
        for section in entry.sections.all() {
            checked(bytes, section, &entry.name, "a section")?;
        }
        let column = open_column(bytes, entry, footer.rows as usize)?;
        if !column.check() {
            return Err(format!("column {}: a block that cannot be decoded", entry.name));
        }
        if let Sections::Strings { index: Some(index), .. } = &entry.sections
            && let Column::Dict(dict) = &column
            && Index::open(slice(bytes, *index), dict.cardinality(), footer.rows as usize).is_none()
        {
            return Err(format!("column {}: index that is none", entry.name));
        }
    }
    Ok(())
}

/// Reads the footer and checks everything in it that later code relies on.
fn footer(bytes: &Bytes) -> Result<Footer, String> {
    if bytes.len() < HEADER + TRAILER || &bytes[..8] != MAGIC {
        return Err("header: not a segment file".into());
    }
    let version = u32::from_le_bytes(bytes[8..12].try_into().expect("4 bytes"));
    if version != VERSION {
        return Err(format!("header: version {version}, and this program reads version {VERSION}"));
    }
    if bytes[12..HEADER] != [0; 4] {
        return Err("header: unknown flags".into());
    }
    let end = bytes.len() - TRAILER;
    let mut trailer = Fields(&bytes[end..]);
    let mut field = || trailer.u64().expect("the trailer's length was checked");
    let (offset, len, checksum) = (field(), field(), field());
    if &bytes[end + 24..] != END_MAGIC {
        return Err("trailer: cut short or overwritten".into());
    }
    if offset < HEADER as u64 || offset.checked_add(len) != Some(end as u64) {
        return Err("trailer: footer out of place".into());
    }
    let json = &bytes[offset as usize..end];
    if xxh3_64(json) != checksum {
        return Err("footer: checksum differs".into());
    }
    let footer: Footer = serde_json::from_slice(json).map_err(|e| format!("footer: {e}"))?;
    if footer.rows > u64::from(u32::MAX) {
        return Err("footer: more rows than a segment may have".into());
    }
    let mut names: Vec<&str> = footer.columns.iter().map(|c| c.name.as_str()).collect();
    names.sort_unstable();
    if let Some(twice) = names.windows(2).find(|w| w[0] == w[1]) {
        return Err(format!("footer: column {} stands twice", twice[0]));
    }
    for entry in &footer.columns {
        let value_type = ValueType::from_druid_name(&entry.type_name);
        let fits = match (&entry.sections, &value_type) {
            (Sections::Strings { .. }, Some(ValueType::String)) => true,
            (Sections::Strings { lists, .. }, Some(text)) => text.is_document() && lists.is_none(),
            (Sections::Numbers(_), Some(value_type)) => value_type.is_numeric(),
            (Sections::Complex(_), Some(ValueType::Complex(_))) => true,
            _ => false,
        };
        let inside = |s: &Section| s.0 >= HEADER as u64 && s.0.checked_add(s.1).is_some_and(|end| end <= offset);
        if !fits || !entry.sections.all().iter().all(inside) {
            return Err(format!("footer: column {} cannot be", entry.name));
        }
    }
    let time = footer.columns.first().is_some_and(|c| c.name == TIME && c.type_name == ValueType::Long.druid_name());
    let listed = footer.dimensions.iter().chain(&footer.metrics);
    let named = footer.columns.iter().skip(1).map(|c| &c.name);
    if !time || !listed.eq(named) || footer.time.is_none() != (footer.rows == 0) {
        return Err("footer: columns and rows that do not fit together".into());
    }
    Ok(footer)
}

/// Where the footer of bytes begins that have one.
fn offset_of_footer(bytes: &Bytes) -> usize {
    u64_at(bytes, bytes.len() - TRAILER) as usize
}

fn slice(bytes: &Bytes, section: Section) -> Bytes {
    bytes.slice(section.0 as usize..(section.0 + section.1) as usize)
}

fn checked(bytes: &Bytes, section: Section, column: &str, what: &str) -> Result<Bytes, String> {
    let bytes = slice(bytes, section);
    if xxh3_64(&bytes) != section.2 {
        return Err(format!("column {column}: {what}: checksum differs"));
    }
    Ok(bytes)
}

fn open_column(bytes: &Bytes, entry: &ColumnEntry, rows: usize) -> Result<Column, String> {
    let name = &entry.name;
    let broken = |what: &str| format!("column {name}: {what} that is none");
    let value_type = ValueType::from_druid_name(&entry.type_name).expect("the footer's types were checked");
    match (&entry.sections, value_type) {
        (Sections::Numbers(section), value_type) => {
            let kind = kind_of(&value_type).expect("the footer's types were checked");
            let bytes = checked(bytes, *section, name, "numbers")?;
            let numbers = Numbers::open(kind, bytes, rows).ok_or_else(|| broken("numbers"))?;
            Ok(Column::Number(NumberColumn::from_file(value_type, numbers, section.1)))
        }
        (Sections::Complex(section), ValueType::Complex(type_name)) => {
            let bytes = checked(bytes, *section, name, "values")?;
            let column = ComplexColumn::from_file(&type_name, bytes, rows).ok_or_else(|| broken("values"))?;
            Ok(Column::Complex(column))
        }
        (Sections::Strings { has_null, dictionary, codes, lists, index }, value_type) => {
            let sections = entry.sections.all();
            let dictionary = checked(bytes, *dictionary, name, "dictionary")?;
            let dictionary = Dictionary::open(dictionary).ok_or_else(|| broken("dictionary"))?;
            let cardinality = dictionary.len().checked_add(u32::from(*has_null)).ok_or_else(|| broken("dictionary"))?;
            if (cardinality == 0) != (rows == 0) {
                return Err(broken("dictionary"));
            }
            let max = cardinality.saturating_sub(1);
            let codes = checked(bytes, *codes, name, "codes")?;
            let open_codes = |len| Codes::open(codes, len, max).ok_or_else(|| broken("codes"));
            let file_rows = match lists {
                None => FileRows::Single(open_codes(rows)?),
                Some(lists) => {
                    let codes = open_codes(usize::try_from(lists.total).map_err(|_| broken("codes"))?)?;
                    FileRows::Multi(open_lists(bytes, name, rows, lists, codes)?)
                }
            };
            let index = index.map(|section| (bytes.clone(), section));
            let open = move || {
                let (bytes, section) = index.as_ref()?;
                let bytes = checked(bytes, *section, "", "index").ok()?;
                Index::open(bytes, cardinality, rows)
            };
            let dict = DictColumn::from_file(FileDict {
                dictionary,
                has_null: *has_null,
                rows: file_rows,
                index: FileIndex { open: Box::new(open), opened: OnceLock::new() },
                size_bytes: sections.iter().map(|s| s.1).sum(),
            });
            Ok(match value_type {
                ValueType::String => Column::Dict(dict),
                value_type => Column::Document(DocumentColumn::new(value_type, dict)),
            })
        }
        (Sections::Complex(_), _) => Err(broken("values")),
    }
}

fn open_lists(bytes: &Bytes, name: &str, rows: usize, lists: &ListSections, codes: Codes) -> Result<Lists, String> {
    let broken = || format!("column {name}: lists that are none");
    let lengths = checked(bytes, lists.lengths, name, "lengths")?;
    let lengths = Codes::open(lengths, rows, u32::MAX).ok_or_else(broken)?;
    let bytes = checked(bytes, lists.starts, name, "starts")?;
    let blocks = rows.div_ceil(BLOCK_ROWS);
    let starts: Vec<u64> = (0..bytes.len() / 8).map(|i| u64_at(&bytes, i * 8)).collect();
    let ordered = starts.is_sorted() && starts.first() == Some(&0) && starts.last() == Some(&lists.total);
    if bytes.len() != (blocks + 1) * 8 || !ordered {
        return Err(broken());
    }
    Ok(Lists { lengths, starts, codes })
}
