//! Random rules: roles that include each other, row policies of both kinds that name the asker or do not, column rules; and
//! which events the asker sees by them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use query::policy::{
    Action, ColumnRule, Kind, Permission, PolicyKind, Resource, Role, RowPolicy, Rules, TableRule, Treatment,
};
use query::{Authorizer, Principal};
use rand::RngExt;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use segment::filter::Filter;
use serde_json::{Value as Json, json};

use super::dimension::texts;
use super::events::{Event, World, word};
use super::filter::Test;

/// Columns that a query computes, which a policy does not know.
const COMPUTED: [&str; 12] = ["v", "k", "kr", "kp", "dn", "dt", "da", "os", "ol", "on", "fb", "point"];

/// The rules of one case.
pub(super) struct Granted {
    pub who: Principal,
    roles: BTreeMap<String, Role>,
    tables: BTreeMap<String, TableRule>,
    /// Of the roles that the asker has, by whatever way.
    permissive: Vec<Condition>,
    restrictive: Vec<Condition>,
    rules: Vec<(&'static str, Treatment)>,
}

/// Which events a policy lets through.
enum Condition {
    Test(Test),
    /// Any of a column's values is one of the attribute's.
    Attribute(&'static str, Vec<String>),
    User(&'static str, String),
    Groups(&'static str, BTreeSet<String>),
}

impl Condition {
    fn random(rng: &mut SmallRng, who: &Principal) -> (Condition, Json) {
        let column = *["s", "m"].choose(rng).expect("there are columns");
        match rng.random_range(0..6) {
            0 => {
                let identity = json!({"identity": "attribute", "name": "words"});
                let filter = match rng.random_range(0..3) {
                    0 => json!({"type": "selector", "dimension": column, "value": identity}),
                    1 => {
                        json!({"type": "equals", "column": column, "matchValueType": "STRING", "matchValue": identity})
                    }
                    _ => json!({"type": "in", "dimension": column, "values": [identity]}),
                };
                (Condition::Attribute(column, who.attributes["words"].clone()), filter)
            }
            1 => {
                let filter = json!({"type": "selector", "dimension": column, "value": {"identity": "user"}});
                (Condition::User(column, who.name.clone()), filter)
            }
            2 => {
                let filter = json!({"type": "in", "dimension": column, "values": [{"identity": "groups"}]});
                (Condition::Groups(column, who.groups.clone()), filter)
            }
            _ => loop {
                let test = Test::random(rng, 2);
                let test = test.held_to_numbers(true);
                let json = test.json();
                if json.to_string().contains("columnComparison") || compares_doubles_as_texts(&json) {
                    continue;
                }
                // A policy has no virtual columns, which some filters become.
                let Ok(filter) = Filter::from_json(&json, "filter") else { continue };
                if !filter.columns().iter().any(|column| COMPUTED.contains(column)) {
                    break (Condition::Test(test), json);
                }
            },
        }
    }

    fn holds(&self, event: &Event) -> bool {
        let any = |column: &str, of: &dyn Fn(&str) -> bool| texts(column, event).flatten().any(|text| of(&text));
        match self {
            Condition::Test(test) => test.holds(event) == Some(true),
            Condition::Attribute(column, values) => any(column, &|text| values.iter().any(|value| value == text)),
            Condition::User(column, name) => any(column, &|text| text == name),
            Condition::Groups(column, groups) => any(column, &|text| groups.contains(text)),
        }
    }
}

/// Whether a test of texts is about doubles: of these a policy does not know how they were written, and events do.
fn compares_doubles_as_texts(json: &Json) -> bool {
    match json {
        Json::Object(fields) => {
            let is = |name: &str, wanted: &str| fields.get(name).and_then(Json::as_str) == Some(wanted);
            let of_numbers =
                ["LONG", "DOUBLE", "FLOAT"].iter().any(|of| is("matchValueType", of)) || is("ordering", "numeric");
            let about_doubles = is("dimension", "d") || is("column", "d");
            (about_doubles && !of_numbers && !is("type", "null")) || fields.values().any(compares_doubles_as_texts)
        }
        Json::Array(items) => items.iter().any(compares_doubles_as_texts),
        _ => false,
    }
}

impl Granted {
    pub(super) fn random(rng: &mut SmallRng, world: &World) -> Granted {
        let mut who = Principal::new(word(rng));
        let some = |rng: &mut SmallRng| -> Vec<String> { (0..rng.random_range(1..4)).map(|_| word(rng)).collect() };
        who.attributes.insert("words".into(), some(rng));
        who.groups = some(rng).into_iter().collect();
        let read =
            Permission { resource: Resource { kind: Kind::Datasource, name: "ev.*".into() }, action: Action::Read };
        let lookups = Permission { resource: Resource { kind: Kind::Lookup, name: ".*".into() }, action: Action::Read };
        let mut granted = Granted {
            who,
            roles: BTreeMap::new(),
            tables: BTreeMap::new(),
            permissive: Vec::new(),
            restrictive: Vec::new(),
            rules: Vec::new(),
        };
        // The asker has `r0`, which includes `r1`; `r2` is someone else's.
        for n in 0..3 {
            let mut role = Role { permissions: vec![read.clone(), lookups.clone()], ..Role::default() };
            if n == 0 {
                role.includes.push("r1".into());
            }
            for p in 0..rng.random_range(0..3) {
                let (condition, filter) = Condition::random(rng, &granted.who);
                let restrictive = rng.random_bool(0.3);
                role.policies.push(RowPolicy {
                    name: format!("p{p}"),
                    datasource: (*["events", ".*", "ev[a-z]+"].choose(rng).expect("there are patterns")).into(),
                    kind: if restrictive { PolicyKind::Restrictive } else { PolicyKind::Permissive },
                    filter: Some(filter),
                    sql: None,
                });
                if n < 2 {
                    if restrictive { &mut granted.restrictive } else { &mut granted.permissive }.push(condition);
                }
            }
            // Rows that were rolled up hold sketches of columns, which rules name by themselves.
            if !world.rollup && rng.random_bool(0.3) {
                let column = *["s", "m", "l", "list"].choose(rng).expect("there are columns");
                let rule = match rng.random_range(0..3) {
                    0 => Treatment::Deny,
                    1 if column == "s" => Treatment::KeepLast { n: 1 },
                    _ => Treatment::Null,
                };
                let of = ColumnRule { datasource: "events".into(), column: column.into(), rule: rule.clone() };
                role.columns.push(of);
                if n < 2 {
                    granted.rules.push((column, rule));
                }
            }
            granted.roles.insert(format!("r{n}"), role);
        }
        granted.who.roles = BTreeSet::from(["r0".to_string(), "gone".to_string()]);
        let mark = TableRule { require_policy: rng.random_bool(0.2), public_columns: vec![".*".into()] };
        granted.tables.insert("events".into(), mark);
        granted
    }

    pub(super) fn authorizer(&self) -> Arc<Authorizer> {
        let rules = Rules::new(1, self.roles.clone(), self.tables.clone(), BTreeSet::new(), "key".into());
        Authorizer::new(rules.expect("valid rules"))
    }

    /// What names columns that ingestion made of others which have rules: they have none of their own.
    pub(super) fn unruled(&self) -> Vec<&'static str> {
        let of = |column: &str, part| self.rules.iter().any(|(of, _)| *of == column).then_some(part);
        [of("s", "_s\""), of("m", "_m\"")].into_iter().flatten().collect()
    }

    /// The events that are seen, as they are seen.
    pub(super) fn seen(&self, events: &[Event]) -> Vec<Event> {
        let open = self.permissive.is_empty() && !self.tables["events"].require_policy;
        let is_seen = |event: &&Event| {
            (open || self.permissive.iter().any(|condition| condition.holds(event)))
                && self.restrictive.iter().all(|condition| condition.holds(event))
        };
        events.iter().filter(is_seen).map(|event| self.masked(event)).collect()
    }

    fn masked(&self, event: &Event) -> Event {
        let mut event = event.clone();
        for column in ["s", "m", "l", "list"] {
            let mut rules: Vec<&Treatment> =
                self.rules.iter().filter(|(of, _)| *of == column).map(|(_, r)| r).collect();
            rules.dedup();
            match (column, rules.as_slice()) {
                (_, []) => {}
                ("s", [Treatment::KeepLast { n }]) => {
                    event.s = event.s.map(|text| {
                        let chars: Vec<char> = text.chars().collect();
                        let keep = usize::from(*n);
                        let last = if chars.len() > keep { &chars[chars.len() - keep..] } else { &[] };
                        format!("***{}", last.iter().collect::<String>())
                    });
                }
                ("s", _) => event.s = None,
                ("m", _) => event.m.clear(),
                ("l", _) => event.l = None,
                _ => event.list = None,
            }
        }
        event
    }
}
