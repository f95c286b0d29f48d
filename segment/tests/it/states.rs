//! States of aggregates that travel: what absorbs them says what a merge in the process says, bit by bit, and what is no state is
//! refused.

use std::sync::Arc;

use proptest::prelude::*;
use segment::aggregate::Aggregate;
use segment::aggregate::accumulator::{self, Accumulator, Groups, Values};
use segment::block::{Block, Value};
use serde_json::json;

const GROUPS: usize = 3;

fn aggregates() -> Vec<Aggregate> {
    let all = [
        json!({"type": "count", "name": "a"}),
        json!({"type": "longSum", "name": "a", "fieldName": "x"}),
        json!({"type": "doubleSum", "name": "a", "fieldName": "x"}),
        json!({"type": "floatMin", "name": "a", "fieldName": "x"}),
        json!({"type": "longMax", "name": "a", "fieldName": "x"}),
        json!({"type": "doubleMean", "name": "a", "fieldName": "x"}),
        json!({"type": "longFirst", "name": "a", "fieldName": "x"}),
        json!({"type": "stringLast", "name": "a", "fieldName": "x"}),
        json!({"type": "distinctCount", "name": "a", "fieldName": "x"}),
        json!({"type": "HLLSketchBuild", "name": "a", "fieldName": "x"}),
        json!({"type": "quantilesDoublesSketch", "name": "a", "fieldName": "x"}),
        json!({"type": "KllDoublesSketch", "name": "a", "fieldName": "x"}),
        json!({"type": "thetaSketch", "name": "a", "fieldName": "x"}),
        json!({"type": "variance", "name": "a", "fieldName": "x"}),
        json!({"type": "approxHistogram", "name": "a", "fieldName": "x"}),
        json!({"type": "bloom", "name": "a", "field": "x"}),
        json!({"type": "singleValue", "name": "a", "fieldName": "x", "columnType": "LONG"}),
        json!({"type": "expression", "name": "a", "fields": ["x"], "initialValue": "0", "fold": "__acc + x",
            "combine": "__acc + a"}),
    ];
    all.iter().map(|json| Aggregate::from_json(json, "a").expect("an aggregate")).collect()
}

/// Rows of a value, a group and a time that no other row has.
type Rows = Vec<(Option<i64>, u32)>;

fn folded(aggregate: &Aggregate, rows: &Rows, from: usize) -> Box<dyn Accumulator> {
    let mut state = accumulator::new(aggregate);
    state.resize(GROUPS);
    let values: Vec<i64> = rows.iter().map(|(value, _)| value.unwrap_or(0)).collect();
    let nulls: Vec<bool> = rows.iter().map(|(value, _)| value.is_none()).collect();
    let groups: Vec<u32> = rows.iter().map(|(_, group)| *group).collect();
    let times: Vec<i64> = (from..from + rows.len()).map(|row| row as i64).collect();
    let inputs =
        [Values::Longs { values: &values, nulls: Some(&nulls) }, Values::Longs { values: &times, nulls: None }];
    let count = accumulator::inputs(aggregate).len();
    state.fold(rows.len(), Groups::Each(&groups), &inputs[..count]);
    state
}

fn rows() -> impl Strategy<Value = Rows> {
    proptest::collection::vec((proptest::option::of(0..50i64), 0..GROUPS as u32), 0..40)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn absorbed_states_are_merged_states(first in rows(), second in rows()) {
        // Groups have other numbers where they are merged.
        let map = [2, 0, 1];
        for aggregate in aggregates() {
            let mut whole = folded(&aggregate, &first, 0);
            whole.merge(&[0, 1, 2], &*folded(&aggregate, &second, first.len()));
            let mut merged = whole.fresh();
            merged.resize(GROUPS);
            for part in [folded(&aggregate, &first, 0), folded(&aggregate, &second, first.len())] {
                merged.absorb(&map, &part.state(&[0, 1, 2])).expect("states");
            }
            let back = [2, 0, 1];
            prop_assert_eq!(merged.complaint(&back), whole.complaint(&[0, 1, 2]), "{:?}", &aggregate);
            prop_assert_eq!(merged.finish(&back), whole.finish(&[0, 1, 2]), "{:?}", &aggregate);
        }
    }

    #[test]
    fn what_is_no_state_is_refused(bytes in proptest::collection::vec(any::<u8>(), 0..80), flips in any::<u64>()) {
        for aggregate in aggregates() {
            let rows: Rows = (0..30).map(|row| (Some(row), row as u32 % GROUPS as u32)).collect();
            let state = folded(&aggregate, &rows, 0).state(&[0, 1, 2]);
            let mut into = accumulator::new(&aggregate);
            into.resize(GROUPS);
            let _ = into.absorb(&[0], &Block::Any { values: vec![Value::Bytes(bytes.clone().into())] });
            let _ = into.absorb(&[0], &Block::Text { values: vec![Some(Arc::from("x"))] });
            let _ = into.absorb(&[0, 1], &Block::Long { values: vec![1], nulls: None });
            if let Block::Any { values } = state {
                let damaged = values.iter().map(|value| match value {
                    Value::Bytes(bytes) if !bytes.is_empty() => {
                        let mut bytes = bytes.to_vec();
                        let at = flips as usize % bytes.len();
                        bytes[at] ^= 1 << (flips >> 60 & 7);
                        Value::Bytes(bytes.into())
                    }
                    other => other.clone(),
                });
                let _ = into.absorb(&[0, 1, 2], &Block::Any { values: damaged.collect() });
            }
            let _ = into.finish(&[0, 1, 2]);
        }
    }

    #[test]
    fn values_are_read_as_they_are_written(longs in proptest::collection::vec(any::<i64>(), 0..4), text in ".*", bits in any::<u64>()) {
        let double = f64::from_bits(bits);
        prop_assume!(!double.is_nan());
        let value = Value::List(vec![
            Value::Null,
            Value::List(longs.into_iter().map(Value::Long).collect()),
            Value::text(&text),
            Value::Json(text.as_str().into()),
            Value::Double(double),
            Value::Bytes(text.as_bytes().into()),
        ]);
        let mut bytes = Vec::new();
        value.write(&mut bytes);
        prop_assert_eq!(Value::read(&bytes), Some(value));
        prop_assert_eq!(Value::read(&bytes[..bytes.len() - 1]), None);
    }
}
