//! First, last and any values: where several rows are of the first or last time, the value of each of them is right.

use rand::RngExt;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use serde_json::{Value as Json, json};

use super::compare::one_of;
use super::events::Event;

#[derive(Debug, Clone)]
pub(super) struct Picked {
    pick: Pick,
    of: Of,
    /// Bytes that a text may have.
    limit: Option<usize>,
}

#[derive(Debug, Clone, Copy)]
enum Pick {
    First(By),
    Last(By),
    Any,
}

/// Which column is the time; rows without one do not count.
#[derive(Debug, Clone, Copy)]
enum By {
    Time,
    Long,
    Nested,
}

#[derive(Debug, Clone, Copy)]
enum Of {
    Text,
    NestedText,
    Long,
    LongAsDouble,
    LongAsFloat,
    LongAsText,
    NestedLong,
    /// What ingestion kept with its time: the first of the texts, the last of the numbers added.
    FirstText,
    LastAdded,
    /// Values of a row, meaningful without rollup only.
    Added,
    Double,
    DoubleAsLong,
    DoubleAsFloat,
}

impl Picked {
    pub(super) fn random(rng: &mut SmallRng, rollup: bool) -> Picked {
        if rng.random_bool(0.25) {
            let first = rng.random_bool(0.5);
            let (pick, of) =
                if first { (Pick::First(By::Time), Of::FirstText) } else { (Pick::Last(By::Time), Of::LastAdded) };
            return Picked { pick, of, limit: None };
        }
        let by = *[By::Time, By::Time, By::Long, By::Nested].choose(rng).expect("there are times");
        let pick = *[Pick::First(by), Pick::Last(by), Pick::Any].choose(rng).expect("there are ways");
        let all = [
            Of::Text,
            Of::NestedText,
            Of::Long,
            Of::LongAsDouble,
            Of::LongAsFloat,
            Of::LongAsText,
            Of::NestedLong,
            Of::Added,
            Of::Double,
            Of::DoubleAsLong,
            Of::DoubleAsFloat,
        ];
        let of = *all[..if rollup { 7 } else { all.len() }].choose(rng).expect("there are columns");
        Picked { pick, of, limit: rng.random_bool(0.3).then(|| rng.random_range(1..5)) }
    }

    pub(super) fn json(&self, name: &str) -> Json {
        let (value_type, column) = match self.of {
            Of::Text => ("string", "s"),
            Of::NestedText => ("string", "dt"),
            Of::Long => ("long", "l"),
            Of::LongAsDouble => ("double", "l"),
            Of::LongAsFloat => ("float", "l"),
            Of::LongAsText => ("string", "l"),
            Of::NestedLong => ("long", "dn"),
            Of::FirstText => ("string", "first_s"),
            Of::LastAdded => ("long", "last_added"),
            Of::Added => ("long", "added"),
            Of::Double => ("double", "x"),
            Of::DoubleAsLong => ("long", "x"),
            Of::DoubleAsFloat => ("float", "x"),
        };
        let (verb, by) = match self.pick {
            Pick::First(by) => ("First", Some(by)),
            Pick::Last(by) => ("Last", Some(by)),
            Pick::Any => ("Any", None),
        };
        let mut json = json!({"type": format!("{value_type}{verb}"), "name": name, "fieldName": column});
        match by {
            None | Some(By::Time) => {}
            Some(By::Long) => json["timeColumn"] = "l".into(),
            Some(By::Nested) => json["timeColumn"] = "dn".into(),
        }
        if let (Some(limit), "string") = (self.limit, value_type) {
            json["maxStringBytes"] = limit.into();
        }
        json
    }

    pub(super) fn of(&self, events: &[&Event]) -> Json {
        let time = |event: &Event, by: By| match by {
            By::Time => Some(event.time),
            By::Long => event.l,
            By::Nested => event.nested().0,
        };
        let at = |by: By, best: Option<i64>| -> Vec<Json> {
            let chosen = events.iter().filter(|event| best.is_some() && time(event, by) == best);
            chosen.map(|event| self.value(event)).collect()
        };
        let mut right = match self.pick {
            Pick::First(by) => at(by, events.iter().filter_map(|event| time(event, by)).min()),
            Pick::Last(by) => at(by, events.iter().filter_map(|event| time(event, by)).max()),
            // Null only where there is nothing else.
            Pick::Any => events.iter().map(|event| self.value(event)).filter(|value| !value.is_null()).collect(),
        };
        if right.is_empty() {
            right.push(Json::Null);
        }
        one_of(right)
    }

    fn value(&self, event: &Event) -> Json {
        let text = |text: Option<&str>| match (text, self.limit) {
            (Some(text), Some(limit)) => {
                let mut bytes = 0;
                let fits = |c: &char| {
                    bytes += c.len_utf8();
                    bytes <= limit
                };
                json!(text.chars().take_while(fits).collect::<String>())
            }
            (text, _) => json!(text),
        };
        match self.of {
            Of::Text | Of::FirstText => text(event.s.as_deref()),
            Of::NestedText => text(event.nested().1),
            Of::Long => json!(event.l),
            Of::LongAsDouble | Of::LongAsFloat => json!(event.l.map(|l| l as f64)),
            Of::LongAsText => text(event.l.map(|l| l.to_string()).as_deref()),
            Of::NestedLong => json!(event.nested().0),
            Of::LastAdded | Of::Added => json!(event.added),
            // Quarters are the same as floats.
            Of::Double | Of::DoubleAsFloat => json!(event.x),
            Of::DoubleAsLong => json!(event.x.map(|x| x.trunc() as i64)),
        }
    }
}
