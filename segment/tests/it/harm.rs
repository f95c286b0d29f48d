//! Damage is found or does no harm. Bytes that changed by chance are caught by checksums; bytes that were made up, with
//! checksums to match, give wrong answers at worst: no panic, no read out of bounds, no absurd allocation.

use std::time::{Duration, Instant};

use bytes::Bytes;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use segment::block::Value;
use segment::column::Column;
use segment::{Granularity, Segment, file};
use serde_json::{Value as Json, json};
use xxhash_rust::xxh3::xxh3_64;

use crate::tables::{Key, build, id, key, keys, large, read, schema, write};

pub fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().expect("a number"))
}

fn sample(rows: i64) -> Vec<u8> {
    let schema = schema(true, Granularity::None);
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("sample.seg");
    write(&[build(&schema, &large(rows))], &schema, &to);
    std::fs::read(&to).unwrap()
}

/// What readers can learn of a segment: its rows, and what its indexes say.
#[derive(Debug, PartialEq)]
struct Answer {
    rows: Vec<(i64, Vec<Key>)>,
    indexes: Vec<(String, Key, Option<Vec<u32>>)>,
    time: Option<(i64, i64)>,
}

fn ask(segment: &Segment) -> segment::Result<Answer> {
    let rows = keys(&read(segment)?);
    let mut indexes = Vec::new();
    for name in segment.dimensions() {
        let Some(Column::Dict(column)) = segment.column(name)? else { continue };
        for code in 0..column.cardinality() {
            let rows = column.bitmap(code).map(|bitmap| {
                let mut rows = Vec::new();
                bitmap.rows_into(&mut rows);
                rows
            });
            indexes.push((name.clone(), key(&column.value(code).map_or(Value::Null, Value::text)), rows));
        }
    }
    Ok(Answer { rows, indexes, time: segment.time_range() })
}

/// Each flipped bit is found when the file or the column is opened, or the answer is the same. An index may be given up:
/// then the rows tell.
#[test]
fn a_flipped_bit_is_found_or_harmless() {
    let good = sample(700);
    let expected = ask(&file::open_bytes(Bytes::from(good.clone()), id()).unwrap()).unwrap();
    let mut random = SmallRng::seed_from_u64(setting("HENGE_SEED", 7));
    let (mut found, mut harmless) = (0, 0);
    for _ in 0..setting("HENGE_FLIPS", 2_000) {
        let mut bytes = good.clone();
        let (at, bit) = (random.random_range(0..bytes.len()), random.random_range(0..8));
        bytes[at] ^= 1 << bit;
        let bytes = Bytes::from(bytes);
        let verified = file::verify_bytes(&bytes);
        match file::open_bytes(bytes, id()).and_then(|segment| ask(&segment)) {
            Err(error) => {
                assert_eq!(error.kind(), segment::Kind::Corrupt, "byte {at}, bit {bit}: {error}");
                assert!(verified.is_err(), "byte {at}, bit {bit}: readers see what verifying does not");
                found += 1;
            }
            Ok(answer) => {
                assert_eq!(answer.rows, expected.rows, "byte {at}, bit {bit}");
                assert_eq!(answer.time, expected.time, "byte {at}, bit {bit}");
                for (found, wanted) in answer.indexes.iter().zip(&expected.indexes) {
                    assert_eq!((&found.0, &found.1), (&wanted.0, &wanted.1));
                    assert!(found.2.is_none() || found.2 == wanted.2, "byte {at}, bit {bit}: index of {}", found.0);
                }
                harmless += 1;
            }
        }
    }
    assert!(found > harmless, "{found} flips found, {harmless} harmless");
}

#[test]
fn a_cut_file_is_found() {
    let good = Bytes::from(sample(100));
    for len in (0..good.len()).step_by(101).chain(good.len() - 40..good.len()) {
        let Err(error) = file::open_bytes(good.slice(..len), id()) else { panic!("{len} bytes are a whole file") };
        assert_eq!(error.kind(), segment::Kind::Corrupt);
    }
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty.seg");
    std::fs::write(&empty, b"").unwrap();
    assert!(file::open(&empty, id()).is_err());
    assert!(file::open(&folder.path().join("missing.seg"), id()).is_err());
}

/// Changes sections and footer at random, mends all checksums, and reads everything.
#[test]
fn made_up_bytes_do_no_harm() {
    let samples = [sample(60), sample(5_000)];
    let mut random = SmallRng::seed_from_u64(setting("HENGE_SEED", 7));
    let end = Instant::now() + Duration::from_secs(setting("HENGE_FUZZ_SECONDS", 5));
    let mut rounds = 0;
    while Instant::now() < end || rounds < 50 {
        let sample = &samples[usize::from(rounds % 8 == 0)];
        let bytes = Bytes::from(mutate(sample, &mut random));
        let _ = file::verify_bytes(&bytes);
        if let Ok(segment) = file::open_bytes(bytes, id()) {
            touch(&segment);
        }
        rounds += 1;
    }
}

/// Reads every column by every way there is, as far as it opens.
fn touch(segment: &Segment) {
    let _ = ask(segment);
    let rows: Vec<u32> = (0..segment.rows() as u32).step_by(7).collect();
    for (name, _) in segment.columns() {
        match segment.column(&name) {
            Ok(Some(Column::Dict(column))) => {
                let _ = (column.code(Some("t3")), column.lower_bound("v"));
                column.scan_values(0..column.cardinality(), |_, range, texts| {
                    range.for_each(|i| assert!(texts.get(i).len() <= texts.text.len()));
                });
                let mut words = vec![0; segment.rows().div_ceil(64)];
                for code in 0..column.cardinality() {
                    if let Some(bitmap) = column.bitmap(code) {
                        let _ = bitmap.count();
                        bitmap.or_into(&mut words);
                    }
                }
                if !column.is_multi() {
                    let mut codes = Vec::new();
                    column.codes_at(&rows, &mut codes);
                    assert!(codes.iter().all(|code| *code < column.cardinality()));
                }
            }
            Ok(Some(Column::Number(column))) => {
                let mut doubles = Vec::new();
                column.doubles_at(&rows, &mut doubles);
                let _ = (column.null_bitmap().map(|b| b.count()), column.range());
            }
            _ => {}
        }
    }
}

fn mutate(good: &[u8], random: &mut SmallRng) -> Vec<u8> {
    let u64_at = |bytes: &[u8], at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
    let trailer = good.len() - 32;
    let footer_at = u64_at(good, trailer) as usize;
    let mut body = good[..footer_at].to_vec();
    let mut footer: Json = serde_json::from_slice(&good[footer_at..trailer]).unwrap();
    let mut sections = Vec::new();
    collect(&footer["columns"], &mut sections);
    for _ in 0..random.random_range(0..4) {
        let (offset, len) = sections[random.random_range(0..sections.len())];
        if len == 0 {
            continue;
        }
        // Directories and trailers stand at the end of sections, so the end is hit more often.
        let back = if random.random() { random.random_range(0..len) } else { random.random_range(0..len.min(48)) };
        let at = offset + len - 1 - back;
        let width = [1, 2, 4, 8][random.random_range(0..4)].min(offset + len - at);
        let value: u64 = match random.random_range(0..5) {
            0 => 0,
            1 => u64::MAX,
            2 => random.random(),
            3 => random.random_range(0..70),
            _ => u64_at(&[&body[at..at + width], &[0; 8]].concat(), 0) ^ 1 << random.random_range(0..width * 8),
        };
        body[at..at + width].copy_from_slice(&value.to_le_bytes()[..width]);
    }
    let footer_change = random.random_range(0..6);
    if footer_change == 0 {
        disturb(&mut footer, random);
    }
    mend(&body, &mut footer["columns"]);
    let mut json = serde_json::to_vec(&footer).unwrap();
    if footer_change == 1 {
        let at = random.random_range(0..json.len());
        json[at] = b"0123456789-[]{}\",:x"[random.random_range(0..19)];
    }
    let fields = [body.len() as u64, json.len() as u64, xxh3_64(&json)];
    body.extend_from_slice(&json);
    fields.iter().for_each(|field| body.extend_from_slice(&field.to_le_bytes()));
    body.extend_from_slice(b"HENGEEND");
    body
}

fn as_section(json: &Json) -> Option<(usize, usize)> {
    let fields = json.as_array().filter(|fields| fields.len() == 3)?;
    Some((fields[0].as_u64()? as usize, fields[1].as_u64()? as usize))
}

fn collect(json: &Json, sections: &mut Vec<(usize, usize)>) {
    match json {
        json if as_section(json).is_some() => sections.extend(as_section(json)),
        Json::Array(items) => items.iter().for_each(|item| collect(item, sections)),
        Json::Object(fields) => fields.values().for_each(|field| collect(field, sections)),
        _ => {}
    }
}

/// Changes a number or a flag somewhere in the footer.
fn disturb(json: &mut Json, random: &mut SmallRng) {
    match json {
        Json::Array(items) if !items.is_empty() => {
            let at = random.random_range(0..items.len());
            if random.random_range(0..10) == 0 {
                items.remove(at);
            } else {
                disturb(&mut items[at], random);
            }
        }
        Json::Object(fields) if !fields.is_empty() => {
            let at = random.random_range(0..fields.len());
            disturb(fields.values_mut().nth(at).unwrap(), random);
        }
        Json::Bool(flag) => *flag = !*flag,
        Json::Number(number) => {
            let old = number.as_u64().unwrap_or(0);
            let new = [0, 1, old / 2, old.wrapping_add(1), old.wrapping_sub(8), u64::MAX, 4097, 1 << 32];
            *json = json!(new[random.random_range(0..new.len())]);
        }
        _ => {}
    }
}

/// Puts the right checksum into every section that lies in the body.
fn mend(body: &[u8], json: &mut Json) {
    if let Some((offset, len)) = as_section(json) {
        if let Some(bytes) = offset.checked_add(len).and_then(|end| body.get(offset..end)) {
            json[2] = json!(xxh3_64(bytes));
        }
        return;
    }
    match json {
        Json::Array(items) => items.iter_mut().for_each(|item| mend(body, item)),
        Json::Object(fields) => fields.values_mut().for_each(|field| mend(body, field)),
        _ => {}
    }
}
