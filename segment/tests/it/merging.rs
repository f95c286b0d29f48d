//! Writing, reading and merging give every row back, bit for bit, in order, rolled up as a row-by-row oracle does it.

use std::sync::Arc;

use proptest::prelude::*;
use segment::block::Value;
use segment::column::Column;
use segment::merge::merge;
use segment::schema::ValueType;
use segment::{Granularity, Segment, file};

use crate::tables::{Row, build, id, key, keys, large, merged, read, rows, schema, write};

fn minutes() -> Granularity {
    Granularity::Duration { millis: 60_000, origin: 0 }
}

/// Merges parts of the rows in two levels, as spills and a freeze do, and holds the result against the oracle.
fn check(table: &[Row], cuts: &[usize], rollup: bool, granularity: Granularity) {
    let schema = schema(rollup, granularity);
    let folder = tempfile::tempdir().unwrap();
    let mut parts = Vec::new();
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (table.len() + 1)).collect();
    cuts.extend([0, table.len()]);
    cuts.sort_unstable();
    for (i, cut) in cuts.windows(2).enumerate() {
        let part = build(&schema, &table[cut[0]..cut[1]]);
        if i % 3 == 2 {
            parts.push(part);
            continue;
        }
        let path = folder.path().join(format!("{i}.seg"));
        write(&[part], &schema, &path);
        parts.push(Arc::new(file::open(&path, id()).unwrap()));
    }
    let to = folder.path().join("all.seg");
    let meta = write(&parts, &schema, &to);
    file::verify(&to).unwrap();
    let segment = file::open(&to, id()).unwrap();
    let expected = merged(&schema, table);
    let found = read(&segment).unwrap();
    assert_eq!(keys(&found), keys(&expected));
    assert_eq!(meta.rows as usize, expected.len());
    assert_eq!(meta.size_bytes, std::fs::metadata(&to).unwrap().len());
    let times = expected.first().map(|r| r.time).zip(expected.last().map(|r| r.time));
    assert_eq!((meta.time_range, segment.time_range()), (times, times));
    check_columns(&segment, &expected);

    let again = folder.path().join("again.seg");
    write(&[Arc::new(segment)], &schema, &again);
    assert_eq!(std::fs::read(&again).unwrap(), std::fs::read(&to).unwrap(), "a merge of one file gives that file");
}

/// Codes, indexes, bounds and the other ways to read agree with the rows.
fn check_columns(segment: &Segment, expected: &[Row]) {
    let all: Vec<u32> = (0..expected.len() as u32).collect();
    for (place, (name, value_type)) in segment.columns().into_iter().skip(1).enumerate() {
        match segment.column(&name).unwrap().unwrap() {
            Column::Dict(column) => {
                assert!(column.is_sorted());
                let values: Vec<Option<&str>> = (0..column.cardinality()).map(|code| column.value(code)).collect();
                assert!(values.windows(2).all(|w| w[0] < w[1]));
                for (code, value) in values.iter().enumerate() {
                    assert_eq!(column.code(*value), Some(code as u32));
                    let mut found = Vec::new();
                    column.bitmap(code as u32).unwrap().rows_into(&mut found);
                    let wanted = key(&value.map_or(Value::Null, Value::text));
                    let holds = |row: &&u32| match &expected[**row as usize].values[place] {
                        Value::List(list) if list.is_empty() => value.is_none(),
                        Value::List(list) => list.iter().any(|v| key(v) == wanted),
                        one => key(one) == wanted,
                    };
                    assert_eq!(found, all.iter().filter(holds).copied().collect::<Vec<_>>());
                    assert!(!found.is_empty(), "every code is used");
                }
                if !column.is_multi() && !all.is_empty() {
                    let odd: Vec<u32> = all.iter().copied().filter(|r| r % 3 == 1).collect();
                    let mut codes = Vec::new();
                    column.codes_at(&odd, &mut codes);
                    for (row, code) in odd.iter().zip(codes) {
                        assert_eq!(column.code_at(*row as usize), code);
                        let value = &expected[*row as usize].values[place];
                        assert_eq!(key(&column.value(code).map_or(Value::Null, Value::text)), key(value));
                    }
                }
            }
            Column::Number(column) => {
                let values = expected.iter().map(|row| &row.values[place]);
                let numbers: Vec<f64> = values
                    .clone()
                    .filter_map(|v| match v {
                        Value::Long(v) => Some(*v as f64),
                        Value::Double(v) => Some(*v),
                        _ => None,
                    })
                    .collect();
                let low = numbers.iter().copied().reduce(f64::min);
                assert_eq!(column.range(), low.zip(numbers.iter().copied().reduce(f64::max)));
                let mut nulls = Vec::new();
                if let Some(bitmap) = column.null_bitmap() {
                    bitmap.rows_into(&mut nulls);
                }
                let null: Vec<u32> =
                    all.iter().copied().filter(|r| expected[*r as usize].values[place].is_null()).collect();
                assert_eq!(nulls, null);
                if value_type == ValueType::Long {
                    let mut longs = Vec::new();
                    column.longs_at(&all, &mut longs);
                    let wanted = values.map(|v| if let Value::Long(v) = v { *v } else { 0 });
                    assert!(longs.into_iter().eq(wanted));
                }
            }
            Column::Complex(column) => assert_eq!(column.type_name(), "HLLSketch"),
            Column::Document(_) => unreachable!("the tables have no documents"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn any_table_comes_back(
        table in rows(400),
        cuts in proptest::collection::vec(any::<usize>(), 0..5),
        rollup: bool,
        truncate: bool,
    ) {
        check(&table, &cuts, rollup, if truncate { minutes() } else { Granularity::None });
    }
}

/// Tables of several blocks, which the random ones are too small for.
#[test]
fn tables_of_many_blocks_come_back() {
    for (rows, rollup) in [(9_000, false), (20_000, true)] {
        let table = large(rows);
        check(&table, &[3_000, 7_000, 7_100], rollup, minutes());
    }
}

/// Columns whose type is not the schema's are cast, missing ones are null, others are left out.
#[test]
fn columns_are_cast_to_the_schema() {
    let mut given = schema(false, Granularity::None);
    given.dimensions[0].value_type = ValueType::Long;
    given.dimensions.remove(2);
    let fields = vec![("few", Value::Long(7)), ("long", Value::Long(3)), ("tags", Value::text("t"))];
    let part = Arc::new(Segment::from_rows(id(), &given, &[(5, fields)]));
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("a.seg");
    let mut wanted = schema(false, Granularity::None);
    wanted.dimensions[3].value_type = ValueType::String;
    wanted.dimensions.truncate(4);
    merge(&[part], &wanted, &id(), &to).unwrap();
    let segment = file::open(&to, id()).unwrap();
    let row = &read(&segment).unwrap()[0];
    assert_eq!(row.values[..4], [Value::text("7"), Value::text("t"), Value::Null, Value::text("3")]);
    assert!(segment.column("double").unwrap().is_none());
}

#[test]
fn a_merge_of_nothing_is_an_empty_segment() {
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("a.seg");
    let meta = merge(&[], &schema(true, minutes()), &id(), &to).unwrap();
    assert_eq!((meta.rows, meta.time_range), (0, None));
    file::verify(&to).unwrap();
    let segment = file::open(&to, id()).unwrap();
    assert_eq!((segment.rows(), segment.time_range(), segment.columns().len()), (0, None, 13));
    assert!(read(&segment).unwrap().is_empty());
    assert_eq!(segment.time().unwrap().long_range(), None);
}
