//! What rows are grouped by: columns, and dimension specs that turn their values into others and leave some out.

use rand::RngExt;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use serde_json::{Value as Json, json};

use super::bucket::Zone;
use super::events::{Event, KEPT, KEPT_MATCH, KEPT_PREFIX, maybe, word};
use super::extract::Extract;
use super::filter::FULL;
use super::{DAY, HOUR};

#[derive(Debug, Clone)]
pub(super) enum Dimension {
    /// A column under its own name.
    Plain(&'static str),
    Made {
        column: &'static str,
        output: String,
        extract: Option<Extract>,
        /// Which values count, once they are extracted.
        keep: Option<Keep>,
        /// Lengths may be numbers.
        long: bool,
        /// Of a lookup: whether it is a dimension spec of its own.
        lookup: bool,
    },
    /// The hour of the day in a zone; in UTC it may be read out of the time as text.
    Hour(Option<Zone>),
}

#[derive(Debug, Clone)]
pub(super) enum Keep {
    List(Vec<Option<String>>, bool),
    /// One of [`FULL`].
    Regex(usize),
    Prefix(String),
}

/// A key of a group: nulls before numbers before texts, each in its own order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    Null,
    Long(i64),
    /// So many quarters.
    Double(i64),
    Text(String),
    List(Vec<Option<i64>>),
}

impl Key {
    pub(super) fn json(&self) -> Json {
        match self {
            Key::Null => Json::Null,
            Key::Long(long) => json!(long),
            Key::Double(quarters) => json!(*quarters as f64 / 4.0),
            Key::Text(text) => json!(text),
            Key::List(list) => json!(list),
        }
    }

    pub(super) fn text(&self) -> Option<String> {
        match self {
            Key::Null | Key::List(_) => None,
            Key::Long(long) => Some(long.to_string()),
            Key::Double(quarters) => Some(format!("{:?}", *quarters as f64 / 4.0)),
            Key::Text(text) => Some(text.clone()),
        }
    }
}

fn of_text(text: Option<&str>) -> Key {
    text.map_or(Key::Null, |text| Key::Text(text.into()))
}

/// The values of a column of an event, one by one.
pub(super) fn values(column: &str, event: &Event) -> Vec<Key> {
    let each = |texts: Vec<Option<&str>>| match texts.is_empty() {
        true => vec![Key::Null],
        false => texts.into_iter().map(of_text).collect(),
    };
    let some = |test: &dyn Fn(&str) -> bool| {
        each(event.listed().map(String::as_str).filter(|text| test(text)).map(Some).collect())
    };
    match column {
        "s" => vec![of_text(event.s.as_deref())],
        "v" => vec![of_text(event.s.as_ref().map(|s| s.to_uppercase()).as_deref())],
        "l" => vec![event.l.map_or(Key::Null, Key::Long)],
        "dn" => vec![event.nested().0.map_or(Key::Null, Key::Long)],
        "dt" => vec![of_text(event.nested().1)],
        "list" => vec![event.list.clone().map_or(Key::Null, Key::List)],
        "d" => vec![event.d.map_or(Key::Null, |d| Key::Double((d * 4.0) as i64))],
        "da" => vec![event.doc.as_ref().and_then(|doc| doc.a.clone()).map_or(Key::Null, Key::List)],
        // Of the document that is made of `s` and `l`, and of that one joined to the event's own.
        "fb" | "os" => vec![of_text(event.s.as_deref())],
        "ol" => vec![event.l.filter(|_| event.doc.is_some()).map_or(Key::Null, Key::Long)],
        "on" => vec![event.nested().0.map_or(Key::Null, Key::Long)],
        "k" => some(&|text| KEPT.contains(&text)),
        "kr" => some(&FULL[KEPT_MATCH].1),
        "kp" => some(&|text| text.starts_with(KEPT_PREFIX)),
        "m" => each(event.m.iter().map(Option::as_deref).collect()),
        other => panic!("no column [{other}]"),
    }
}

/// The same as texts.
pub(super) fn texts(column: &str, event: &Event) -> impl Iterator<Item = Option<String>> {
    values(column, event).into_iter().map(|key| key.text())
}

impl Keep {
    fn random(rng: &mut SmallRng) -> Keep {
        match rng.random_range(0..4) {
            0 | 1 => {
                let values = (0..rng.random_range(1..4)).map(|_| maybe(rng, word)).collect();
                Keep::List(values, rng.random_bool(0.6))
            }
            2 => Keep::Regex(rng.random_range(0..FULL.len())),
            _ => Keep::Prefix((*["a", "Z", "<", ""].choose(rng).expect("there are words")).into()),
        }
    }

    fn json(&self, delegate: Json) -> Json {
        match self {
            Keep::List(values, allow) => {
                json!({"type": "listFiltered", "delegate": delegate, "values": values, "isWhitelist": allow})
            }
            Keep::Regex(at) => json!({"type": "regexFiltered", "delegate": delegate, "pattern": FULL[*at].0}),
            Keep::Prefix(prefix) => json!({"type": "prefixFiltered", "delegate": delegate, "prefix": prefix}),
        }
    }

    fn keeps(&self, value: Option<&str>) -> bool {
        match self {
            Keep::List(values, allow) => values.iter().any(|one| one.as_deref() == value) == *allow,
            Keep::Regex(at) => value.is_some_and(FULL[*at].1),
            Keep::Prefix(prefix) => value.is_some_and(|value| value.starts_with(prefix.as_str())),
        }
    }
}

impl Dimension {
    /// Of texts, for places where a column of its own type would be another question.
    pub(super) fn of_texts(rng: &mut SmallRng, output: String) -> Dimension {
        let column = *["s", "m", "m", "l", "d", "v", "k", "kr", "kp", "dt", "dn", "os", "ol", "fb"]
            .choose(rng)
            .expect("there are columns");
        let extract = rng.random_bool(0.7).then(|| Extract::random(rng, 2));
        let keep = (extract.is_none() || rng.random_bool(0.4)).then(|| Keep::random(rng));
        let lookup = matches!(extract, Some(Extract::Lookup(..))) && rng.random_bool(0.5);
        Dimension::Made { column, output, extract, keep, long: false, lookup }
    }

    pub(super) fn random(rng: &mut SmallRng, output: String) -> Dimension {
        if rng.random_bool(0.15) {
            return Dimension::Hour(
                *[None, Some(Zone::Kolkata), Some(Zone::Berlin)].choose(rng).expect("there are zones"),
            );
        }
        let mut made = Dimension::of_texts(rng, output);
        if let Dimension::Made { extract: Some(Extract::Strlen), keep: None, long, .. } = &mut made {
            *long = rng.random_bool(0.5);
        }
        made
    }

    pub(super) fn is_list(&self) -> bool {
        matches!(self, Dimension::Plain("list" | "da"))
    }

    pub(super) fn output(&self) -> &str {
        match self {
            Dimension::Plain(column) => column,
            Dimension::Made { output, .. } => output,
            Dimension::Hour(_) => "hour",
        }
    }

    pub(super) fn json(&self) -> Json {
        match self {
            Dimension::Plain("d") => {
                json!({"type": "default", "dimension": "d", "outputName": "d", "outputType": "DOUBLE"})
            }
            Dimension::Plain(name @ ("l" | "dn" | "ol" | "on")) => {
                json!({"type": "default", "dimension": name, "outputName": name, "outputType": "LONG"})
            }
            Dimension::Plain(name @ ("list" | "da")) => {
                json!({"type": "default", "dimension": name, "outputName": name, "outputType": "ARRAY<LONG>"})
            }
            Dimension::Plain(name) => json!(name),
            Dimension::Made { column, output, extract, keep, long, lookup } => {
                let mut json = match extract {
                    Some(extract) if *lookup => {
                        let mut json = extract.json();
                        if json["type"] == "registeredLookup" {
                            json["name"] = json["lookup"].take();
                        }
                        json["type"] = "lookup".into();
                        json["dimension"] = (*column).into();
                        json["outputName"] = output.as_str().into();
                        json
                    }
                    Some(extract) => json!({"type": "extraction", "dimension": column, "outputName": output,
                        "extractionFn": extract.json()}),
                    None => json!({"type": "default", "dimension": column, "outputName": output}),
                };
                if *long {
                    json["outputType"] = "LONG".into();
                }
                match keep {
                    Some(keep) => keep.json(json),
                    None => json,
                }
            }
            Dimension::Hour(Some(zone)) => json!({"type": "extraction", "dimension": "__time", "outputName": "hour",
                "extractionFn": {"type": "timeFormat", "format": "HH", "timeZone": zone.name()}}),
            Dimension::Hour(None) => json!({"type": "extraction", "dimension": "__time", "outputName": "hour",
                "extractionFn": {"type": "time", "timeFormat": "yyyy-MM-dd'T'HH:mm:ss.SSS'Z'", "resultFormat": "HH"}}),
        }
    }

    /// The values of an event, one by one: a row that is left with none counts as null.
    pub(super) fn keys(&self, event: &Event) -> Vec<Key> {
        match self {
            Dimension::Plain(column) => values(column, event),
            Dimension::Hour(zone) => {
                let hour = zone.map_or(event.time.rem_euclid(DAY) / HOUR, |zone| zone.hour(event.time));
                vec![Key::Text(format!("{hour:02}"))]
            }
            Dimension::Made { column, extract, keep, long, .. } => {
                let made = texts(column, event).map(|text| match extract {
                    Some(extract) => extract.of(text.as_deref()),
                    None => text,
                });
                let kept = made.filter(|text| keep.as_ref().is_none_or(|keep| keep.keeps(text.as_deref())));
                let kept: Vec<Option<String>> = kept.collect();
                match kept.is_empty() {
                    true => vec![Key::Null],
                    false => kept
                        .into_iter()
                        .map(|text| match text {
                            Some(text) if *long => Key::Long(text.parse().expect("a length is a number")),
                            text => of_text(text.as_deref()),
                        })
                        .collect(),
                }
            }
        }
    }
}
