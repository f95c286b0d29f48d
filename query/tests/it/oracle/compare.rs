//! What of an answer is promised: the rest is made the same before two are compared.

use serde_json::{Value as Json, json};

use super::answer::iso;
use super::ask::{Asked, Kind, Source};
use super::bucket::Bucket;
use super::events::Event;

impl Asked {
    fn is_stored(&self) -> bool {
        matches!(self.source, Source::Table | Source::Global)
    }

    /// The one bucket of a topN over all time begins where the segments that were looked at do, which depends on how
    /// rows were put into segments: not before the interval and not after its first row.
    pub(super) fn settle_top_n_start(&self, events: &[Event], answer: &Json, expected: &mut Json) {
        let inside = events.iter().map(|event| event.time).filter(|t| (self.interval.0..self.interval.1).contains(t));
        let (Kind::TopN { .. }, Bucket::All, Some(first)) = (&self.kind, self.bucket, inside.min()) else { return };
        let Some(start) = answer[0]["timestamp"].as_str() else { return };
        // Of rows that are made for the query, those that no condition keeps may be missing.
        let last = if self.is_stored() { first } else { self.interval.1 };
        assert!((iso(self.interval.0)..=iso(last)).contains(&start.to_string()), "{start}");
        if let Some(timestamp) = expected[0].get_mut("timestamp") {
            *timestamp = start.into();
        }
    }

    /// Leaves what an answer promises: of a scan, rows without their batches, ties of time in no order.
    pub(super) fn settle(&self, answer: Json, events: &[Event]) -> Json {
        let inside = |event: &Event| (self.interval.0..self.interval.1).contains(&event.time);
        let (order, limit) = match &self.kind {
            Kind::Scan { order, limit, .. } => (order, limit),
            // A segment with rows before and after an interval of none gives a bucket of no values, so it is the split
            // that tells whether there is one.
            Kind::TopN { .. } if !events.iter().any(inside) => {
                let empty = |bucket: &Json| bucket["result"] == json!([]);
                return answer.as_array().is_some_and(|all| all.iter().all(empty)).into();
            }
            // Which buckets without rows are told depends on how rows were put into segments.
            Kind::TopN { .. } if self.bucket != Bucket::All || !self.is_stored() => {
                let elements = answer.as_array().cloned().unwrap_or_default();
                let times: Vec<&str> = elements.iter().filter_map(|element| element["timestamp"].as_str()).collect();
                assert!(times.is_sorted(), "{times:?}");
                return elements.into_iter().filter(|element| element["result"] != json!([])).collect();
            }
            _ => return answer,
        };
        let elements = answer.as_array().cloned().unwrap_or_default();
        let mut rows: Vec<Json> = elements
            .iter()
            .flat_map(|element| element["events"].as_array().cloned().unwrap_or_default())
            .map(|row| match row {
                Json::Object(fields) => fields.into_iter().map(|(_, value)| value).collect(),
                array => array,
            })
            .collect();
        if order.is_some() {
            let times: Vec<Json> = rows.iter().map(|row| row[0].clone()).collect();
            if limit.is_some() {
                // Which rows of the last time are in is open; their times are not.
                return json!(times);
            }
            rows.sort_by_key(Json::to_string);
            return json!([times, rows]);
        }
        rows.sort_by_key(Json::to_string);
        json!(rows)
    }
}

const ONE_OF: &str = "one of";
const WITHIN: &str = "from, to";
const TEXT: &str = "some text";
const BOUNDED: &str = "an estimate between its bounds, from, to";

/// What is expected where each of these is right.
pub(super) fn one_of(values: Vec<Json>) -> Json {
    match values.as_slice() {
        [only] => only.clone(),
        _ => json!({ONE_OF: values}),
    }
}

/// What is expected where every number from one to the other is right.
pub(super) fn within(from: f64, to: f64) -> Json {
    json!({WITHIN: [from, to]})
}

/// What is expected where an estimate stands with its lower and upper bounds, as a list or an object: they are on both
/// sides of it, and it is right from one to the other.
pub(super) fn bounded(from: f64, to: f64) -> Json {
    json!({BOUNDED: [from, to]})
}

/// What is expected where a sketch is shown as its bytes, which its kind does not promise.
pub(super) fn some_text() -> Json {
    json!({TEXT: true})
}

/// Whether an answer is one of those that are expected: but for the last digits of fractions, which depend on the order of
/// adding up, and where several are right.
pub(super) fn alike(one: &Json, other: &Json) -> bool {
    match (one, other) {
        (answer, Json::Object(choice)) if choice.contains_key(ONE_OF) => {
            choice[ONE_OF].as_array().is_some_and(|right| right.iter().any(|right| alike(answer, right)))
        }
        (answer, Json::Object(choice)) if choice.contains_key(WITHIN) => {
            let bounds = [&choice[WITHIN][0], &choice[WITHIN][1]].map(Json::as_f64);
            let ([Some(from), Some(to)], Some(answer)) = (bounds, answer.as_f64()) else { return false };
            // Some are answered as floats.
            let slack = 1e-6 * from.abs().max(to.abs());
            (from - slack..=to + slack).contains(&answer)
        }
        (answer, Json::Object(choice)) if choice.contains_key(BOUNDED) => {
            let values = match answer {
                Json::Array(three) if three.len() == 3 => [&three[0], &three[1], &three[2]],
                object => ["estimate", "lowBound", "highBound"].map(|name| &object[name]),
            };
            let [Some(estimate), Some(low), Some(high)] = values.map(Json::as_f64) else { return false };
            low <= estimate && estimate <= high && alike(values[0], &json!({WITHIN: choice[BOUNDED]}))
        }
        (answer, Json::Object(choice)) if choice.contains_key(TEXT) => answer.as_str().is_some_and(|t| !t.is_empty()),
        (Json::Number(one), Json::Number(other)) if one.is_f64() && other.is_f64() => {
            match (one.as_f64(), other.as_f64()) {
                (Some(one), Some(other)) => (one - other).abs() <= 1e-9 * one.abs().max(other.abs()),
                _ => false,
            }
        }
        (Json::Array(one), Json::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| alike(one, other))
        }
        (Json::Object(one), Json::Object(other)) => {
            one.len() == other.len()
                && one.iter().all(|(name, value)| other.get(name).is_some_and(|other| alike(value, other)))
        }
        (one, other) => one == other,
    }
}
