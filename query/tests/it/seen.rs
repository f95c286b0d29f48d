//! What is kept of restricted callers' views: that it is met again by the same rules and segments, by no others, and within
//! its budget.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use query::policy::{Role, Rules, TableRule};
use query::{Authorizer, Broker, Principal, Settings};
use rand::SeedableRng;
use rand::rngs::SmallRng;
use segment::block::Value;
use segment::inventory::{Change, Inventory, Served};
use segment::schema::{Discovery, Schema, ValueType};
use segment::time::{Granularity, Interval};
use segment::{Segment, SegmentId};
use serde_json::{Value as Json, json};

use crate::broker::{ask_as, settings};
use crate::cluster::spread;
use crate::dimension;

const DAY: i64 = 86_400_000;

/// Rows of a segment.
const ROWS: i64 = 1000;

fn id(day: i64) -> SegmentId {
    SegmentId {
        datasource: "events".into(),
        interval: Interval { start: day * DAY, end: (day + 1) * DAY },
        version: "2026-01-01T00:00:00.000Z".into(),
        partition: 0,
    }
}

/// Row `n` is of tenant `n % of`, and is worth `n % of` of what a tenant's rows are worth there.
fn segment(day: i64, of: i64) -> Arc<Segment> {
    let schema = Schema {
        dimensions: vec![dimension("tenant", ValueType::String), dimension("worth", ValueType::Long)],
        discovery: Discovery::None,
        exclusions: Vec::new(),
        metrics: Vec::new(),
        rollup: false,
        query_granularity: Granularity::None,
    };
    let row = |n: i64| {
        let fields = vec![("tenant", Value::text(&format!("t{}", n % of))), ("worth", Value::Long(n % of))];
        (day * DAY + n, fields)
    };
    let rows: Vec<_> = (0..ROWS).map(row).collect();
    Arc::new(Segment::from_rows(id(day), &schema, &rows))
}

/// Days of segments in which ten tenants have the same number of rows.
fn inventory(days: i64) -> Arc<Inventory> {
    let inventory = Arc::new(Inventory::new());
    inventory.apply((0..days).map(|day| Change::Serve(id(day), Served::Published(segment(day, 10)))).collect());
    inventory
}

/// Rules by which whoever has the role `r` sees what the filter lets through, with more that the role says.
fn rules(version: u64, filter: Json, more: Json, secret: &str) -> Rules {
    let mut role = json!({
        "permissions": [{"resource": {"type": "DATASOURCE", "name": "events"}, "action": "READ"}],
        "policies": [{"name": "p", "datasource": "events", "filter": filter}],
    });
    role.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    let role: Role = serde_json::from_value(role).expect("a role");
    let roles = BTreeMap::from([("r".to_string(), role)]);
    Rules::new(version, roles, BTreeMap::new(), BTreeSet::new(), secret.into()).expect("valid rules")
}

fn own_rows() -> Json {
    json!({"type": "equals", "column": "tenant", "matchValueType": "STRING",
        "matchValue": {"identity": "attribute", "name": "tenant"}})
}

fn who(tenant: &str) -> Principal {
    let mut who = Principal::new("ann");
    who.roles.insert("r".into());
    who.attributes.insert("tenant".into(), vec![tenant.into()]);
    who
}

/// Tenants with their rows and what these are worth, twice: as it is worked out, and as it is kept.
fn tenants(broker: &Broker, who: &Principal) -> Vec<(String, i64, i64)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let query = json!({"queryType": "groupBy", "dataSource": "events", "granularity": "all", "dimensions": ["tenant"],
        "intervals": ["1970-01-01/1971-01-01"], "context": {"resultAsArray": true},
        "virtualColumns": [{"type": "expression", "name": "twice", "expression": "worth * 2", "outputType": "LONG"}],
        "aggregations": [{"type": "count", "name": "rows"}, {"type": "longSum", "name": "worth", "fieldName": "twice"}]});
    let ask = || runtime.block_on(ask_as(broker, who, &query)).expect("an answer");
    let (first, second) = (ask(), ask());
    assert_eq!(first, second);
    serde_json::from_str(&first).expect("rows")
}

fn of(tenant: i64, days: i64) -> (String, i64, i64) {
    let rows = days * ROWS / 10;
    (format!("t{tenant}"), rows, rows * tenant * 2)
}

#[test]
fn other_attributes_and_other_rules_see_nothing_of_what_was_kept() {
    let authorizer = Authorizer::new(rules(1, own_rows(), json!({}), "one"));
    let broker = Broker::new(inventory(3), settings(), authorizer.clone());
    for tenant in [1, 2, 1, 7] {
        assert_eq!(tenants(&broker, &who(&format!("t{tenant}"))), [of(tenant, 3)]);
    }
    assert_eq!(tenants(&broker, &who("nobody")), []);
    let kept = broker.policy_cache_bytes();
    assert!(kept > 0);

    // The same filter with a mask, then with another secret behind the mask, then the opposite filter.
    let masked = json!({"columns": [{"datasource": "events", "column": "tenant", "rule": {"type": "hash"}}]});
    authorizer.replace(rules(2, own_rows(), masked.clone(), "one"));
    let one = tenants(&broker, &who("t1"));
    authorizer.replace(rules(3, own_rows(), masked, "two"));
    let two = tenants(&broker, &who("t1"));
    assert!(one[0].0.len() == 32 && two[0].0.len() == 32 && one[0].0 != two[0].0, "{one:?} {two:?}");
    authorizer.replace(rules(4, json!({"type": "not", "field": own_rows()}), json!({}), "two"));
    let others: Vec<_> = (0..10).filter(|tenant| *tenant != 1).map(|tenant| of(tenant, 3)).collect();
    assert_eq!(tenants(&broker, &who("t1")), others);

    authorizer.replace(rules(5, own_rows(), json!({}), "one"));
    assert_eq!(tenants(&broker, &who("t1")), [of(1, 3)]);
}

#[test]
fn the_same_rules_meet_what_was_kept_and_others_work_it_out() {
    let authorizer = Authorizer::new(rules(1, own_rows(), json!({}), "one"));
    let broker = Broker::new(inventory(3), settings(), authorizer.clone());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let query = json!({"queryType": "timeseries", "dataSource": "events", "granularity": "all",
        "intervals": ["1970-01-01/1971-01-01"], "aggregations": [{"type": "count", "name": "rows"}]});
    // Whether a query works views out, and whether it meets some that are kept.
    let ask = |tenant: &str| {
        let before = (broker.policy_cache_misses(), broker.policy_cache_hits());
        runtime.block_on(ask_as(&broker, &who(tenant), &query)).expect("an answer");
        (broker.policy_cache_misses() - before.0, broker.policy_cache_hits() - before.1)
    };
    let (misses, _) = ask("t1");
    assert_eq!(misses, 3, "one for each segment");
    let (misses, hits) = ask("t1");
    assert!(misses == 0 && hits >= 3, "the same again: {misses} misses, {hits} hits");
    assert_eq!(ask("t2").0, 3, "another attribute");
    authorizer.replace(rules(2, json!({"type": "not", "field": own_rows()}), json!({}), "one"));
    assert_eq!(ask("t1").0, 3, "a changed policy");
    let (misses, hits) = ask("t1");
    assert!(misses == 0 && hits >= 3, "the changed policy again: {misses} misses, {hits} hits");
}

#[test]
fn a_segment_that_takes_the_place_of_another_is_looked_at_anew() {
    let inventory = inventory(2);
    let broker = Broker::new(inventory.clone(), settings(), Authorizer::new(rules(1, own_rows(), json!({}), "")));
    assert_eq!(tenants(&broker, &who("t1")), [of(1, 2)]);
    let kept = broker.policy_cache_bytes();
    // The same name, and half as many tenants.
    inventory.apply(vec![Change::Serve(id(0), Served::Published(segment(0, 5)))]);
    assert_eq!(tenants(&broker, &who("t1")), [("t1".into(), 300, 600)]);
    assert_eq!(broker.policy_cache_bytes(), kept, "what is of the segment that is gone went with it");
    inventory.apply(vec![Change::Retire(id(0)), Change::Retire(id(1))]);
    inventory.apply(vec![Change::Serve(id(2), Served::Published(segment(2, 10)))]);
    assert_eq!(tenants(&broker, &who("t1")), [of(1, 1)]);
    assert!(broker.policy_cache_bytes() < kept);
}

#[test]
fn what_is_kept_stays_within_its_budget() {
    for policy_cache_bytes in [0, 100, 3000, 20_000] {
        let settings = Settings { policy_cache_bytes, ..settings() };
        let broker = Broker::new(inventory(8), settings, Authorizer::new(rules(1, own_rows(), json!({}), "")));
        let mut most = 0;
        for round in 0..3 {
            for tenant in 0..10 {
                assert_eq!(tenants(&broker, &who(&format!("t{tenant}"))), [of(tenant, 8)], "round {round}");
                // Names of columns, and whether they have values, are kept too.
                assert_eq!(broker.columns("events", &who(&format!("t{tenant}"))).expect("columns").len(), 3);
                most = most.max(broker.policy_cache_bytes());
                assert!(broker.policy_cache_bytes() as u64 <= policy_cache_bytes);
            }
        }
        assert!(policy_cache_bytes < 3000 || most > 1000, "{most} of {policy_cache_bytes}");
    }
}

/// Rows of tenant `t1`, and one of `t2` that alone has a value in `other`; `worth` is what is given.
fn mixed(day: i64, worth: (ValueType, &[Value]), other: Option<(ValueType, Value)>) -> Arc<Segment> {
    let mut dimensions = vec![dimension("tenant", ValueType::String), dimension("worth", worth.0.clone())];
    dimensions.extend(other.iter().map(|(of, _)| dimension("other", of.clone())));
    let schema = Schema {
        dimensions,
        discovery: Discovery::None,
        exclusions: Vec::new(),
        metrics: Vec::new(),
        rollup: false,
        query_granularity: Granularity::None,
    };
    let row = |(n, value): (usize, &Value)| {
        (day * DAY + n as i64, vec![("tenant", Value::text("t1")), ("worth", value.clone())])
    };
    let mut rows: Vec<_> = worth.1.iter().enumerate().map(row).collect();
    let mut last = vec![("tenant", Value::text("t2"))];
    last.extend(other.map(|(_, value)| ("other", value)));
    rows.push((day * DAY + 1000, last));
    Arc::new(Segment::from_rows(id(day), &schema, &rows))
}

fn served(segments: Vec<Arc<Segment>>) -> Arc<Inventory> {
    let inventory = Arc::new(Inventory::new());
    let serve = |(day, segment)| Change::Serve(id(day as i64), Served::Published(segment));
    inventory.apply(segments.into_iter().enumerate().map(serve).collect());
    inventory
}

/// A column that was of numbers when a policy was written, and is text in later segments.
#[test]
fn a_policy_about_numbers_shows_no_text_that_is_none() {
    let texts = ["3", "70", " 4 ", "x", "", "-", "NaN", "1e999", "9x"].map(Value::text);
    let longs = [3, 70].map(Value::Long);
    let inventory =
        served(vec![mixed(0, (ValueType::Long, &longs), None), mixed(1, (ValueType::String, &texts), None)]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let range =
        |end: &str, value: i64| json!({"type": "range", "column": "worth", "matchValueType": "LONG", end: value});
    let equals = json!({"type": "equals", "column": "worth", "matchValueType": "LONG", "matchValue": 3});
    let listed = json!({"type": "inType", "column": "worth", "matchValueType": "LONG", "sortedValues": [3]});
    let bound = json!({"type": "bound", "dimension": "worth", "upper": "5", "ordering": "numeric"});
    let within = json!({"type": "interval", "dimension": "worth", "intervals": ["1970-01-01T00:00:00.000/1970-01-01T00:00:00.005"]});
    let tenant = json!({"type": "equals", "column": "tenant", "matchValueType": "STRING", "matchValue": "t1"});
    let cases: [(Json, &[&str], &[&str]); 7] = [
        (range("upper", 5), &[" 4 ", "3"], &["70"]),
        (range("lower", 5), &["70"], &[" 4 ", "3"]),
        (json!({"type": "range", "column": "worth", "matchValueType": "DOUBLE", "upper": 5.5}), &[" 4 ", "3"], &["70"]),
        (equals, &["3"], &[" 4 ", "70"]),
        (listed, &["3"], &[" 4 ", "70"]),
        (bound, &[" 4 ", "3"], &["70"]),
        (within, &[" 4 ", "3"], &["70"]),
    ];
    for (filter, when, unless) in cases {
        for (filter, expected) in [(filter.clone(), when), (json!({"type": "not", "field": filter}), unless)] {
            let both = json!({"type": "and", "fields": [tenant, filter]});
            let broker = Broker::new(inventory.clone(), settings(), Authorizer::new(rules(1, both, json!({}), "")));
            let query = json!({"queryType": "groupBy", "dataSource": "events", "granularity": "all",
                "dimensions": [{"type": "default", "dimension": "worth", "outputType": "STRING"}],
                "intervals": ["1970-01-01/1971-01-01"], "context": {"resultAsArray": true}, "aggregations": []});
            let answer = runtime.block_on(ask_as(&broker, &who("t1"), &query)).expect("an answer");
            let rows: Vec<(String,)> = serde_json::from_str(&answer).expect("rows");
            let found: Vec<&str> = rows.iter().map(|(worth,)| worth.as_str()).collect();
            assert_eq!(found, expected, "{filter}");
        }
    }
}

/// Nor is its type told, by what comes of it in expressions.
#[test]
fn a_column_with_values_in_rows_of_others_only_is_as_none() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let answers = |other: Option<(ValueType, Value)>| {
        let inventory = served(vec![mixed(0, (ValueType::Long, &[Value::Long(1)]), other)]);
        let broker = Broker::new(inventory, settings(), Authorizer::new(rules(1, own_rows(), json!({}), "")));
        let mut answers = Vec::new();
        for expression in
            ["if(1, 1, other)", "nvl(other, 1)", "other + 1", "concat(other, 'x')", "case_simple(1, 1, 2, other)"]
        {
            let columns = json!([{"type": "expression", "name": "v", "expression": expression}]);
            for query in [
                json!({"queryType": "groupBy", "granularity": "all", "dimensions": ["v", "other"], "aggregations": [
                    {"type": "doubleSum", "name": "sum", "fieldName": "other"}, {"type": "count", "name": "rows"}]}),
                json!({"queryType": "scan", "columns": ["v", "other"], "resultFormat": "compactedList"}),
                json!({"queryType": "segmentMetadata"}),
            ] {
                let mut query = query;
                query["dataSource"] = json!("events");
                query["intervals"] = json!(["1970-01-01/1971-01-01"]);
                query["virtualColumns"] = columns.clone();
                let answer = runtime.block_on(ask_as(&broker, &who("t1"), &query));
                answers.push(format!("{query}: {:?}", answer.map_err(|error| error.to_string())));
            }
        }
        answers
    };
    let none = answers(None);
    for (of, value) in [
        (ValueType::Double, Value::Double(2.5)),
        (ValueType::Long, Value::Long(2)),
        (ValueType::String, Value::text("x")),
    ] {
        assert_eq!(answers(Some((of, value))), none);
    }
}

const HOUR: i64 = 3_600_000;

/// Rows of tenants at some times, each worth one, as a segment of these hours.
fn hours(hours: (i64, i64), version: &str, rows: &[(i64, &str)]) -> Change {
    let id = SegmentId {
        interval: Interval { start: hours.0 * HOUR, end: hours.1 * HOUR },
        version: version.into(),
        ..id(0)
    };
    let schema = Schema {
        dimensions: vec![dimension("tenant", ValueType::String), dimension("worth", ValueType::Long)],
        discovery: Discovery::None,
        exclusions: Vec::new(),
        metrics: Vec::new(),
        rollup: false,
        query_granularity: Granularity::None,
    };
    let row =
        |(hour, tenant): &(i64, &str)| (hour * HOUR, vec![("tenant", Value::text(tenant)), ("worth", Value::Long(1))]);
    let rows: Vec<_> = rows.iter().map(row).collect();
    let segment = Arc::new(Segment::from_rows(id.clone(), &schema, &rows));
    Change::Serve(id, Served::Published(segment))
}

/// Where segments begin and end hangs on rows of others: of nothing that is told of one's own rows may it be told.
#[test]
fn an_analysis_of_some_rows_does_not_tell_how_segments_are_cut() {
    let (old, new) = ("2026-01-01T00:00:00.000Z", "2026-01-02T00:00:00.000Z");
    let days = |own: &str| {
        vec![hours((0, 24), old, &[(1, own), (2, own), (9, own)]), hours((288, 312), old, &[(291, own), (292, "t2")])]
    };
    let alone = days("t1");
    // The other tenant has an hour of its own within the day, and a day long after.
    let mut beside = days("t1");
    beside.extend([hours((5, 6), new, &[(5, "t2")]), hours((480, 504), old, &[(490, "t2")])]);
    // Or it is why everything came in segments of hours.
    let cut = vec![
        hours((1, 2), old, &[(1, "t1"), (1, "t2")]),
        hours((2, 3), old, &[(2, "t1")]),
        hours((5, 6), old, &[(5, "t2")]),
        hours((9, 10), old, &[(9, "t1")]),
        hours((291, 292), old, &[(291, "t1")]),
        hours((490, 491), old, &[(490, "t2")]),
    ];
    let cases = [
        (Some("1970-01-01/1971-01-01"), Some(("1970-01-01T01:00:00.000Z/1970-01-13T03:00:00.001Z", 4))),
        (Some("1970-01-01T02:00/1970-01-01T05:30"), Some(("1970-01-01T02:00:00.000Z/1970-01-01T02:00:00.001Z", 1))),
        (Some("1970-01-01T05:00/1970-01-01T06:00"), None),
        (Some("1970-01-21/1970-01-22"), None),
        // The week before the newest row that is seen.
        (None, Some(("1970-01-13T03:00:00.000Z/1970-01-13T03:00:00.001Z", 1))),
    ];
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    for (n, world) in [alone, beside, cut].into_iter().enumerate() {
        let inventory = Arc::new(Inventory::new());
        inventory.apply(world);
        let authorizer = Authorizer::new(rules(1, own_rows(), json!({}), ""));
        let here = Broker::new(inventory.clone(), settings(), authorizer.clone());
        let mut rng = SmallRng::seed_from_u64(n as u64);
        let (_view, there) = spread(&inventory, &["events"], &mut rng, &settings(), &authorizer, &BTreeMap::new());
        for (interval, expected) in cases {
            for merge in [false, true] {
                let mut query = json!({"queryType": "segmentMetadata", "dataSource": "events", "merge": merge,
                    "analysisTypes": ["interval", "size"]});
                if let Some(interval) = interval {
                    query["intervals"] = json!([interval]);
                }
                for broker in [&here, &there] {
                    let answer = runtime.block_on(ask_as(broker, &who("t1"), &query)).expect("an answer");
                    let told: Json = serde_json::from_str(&answer).expect("valid JSON");
                    let Some((within, rows)) = expected else {
                        assert_eq!(told, json!([]), "world {n}: {query}");
                        continue;
                    };
                    assert_eq!(told.as_array().map(Vec::len), Some(1), "world {n}: {query}: {told}");
                    let found = (&told[0]["intervals"], &told[0]["numRows"], &told[0]["size"]);
                    assert_eq!(found, (&json!([within]), &json!(rows), &json!(0)), "world {n}: {query}");
                    assert_eq!(told[0]["columns"]["worth"]["size"], 0, "world {n}: {query}");
                }
            }
        }
    }
}

/// A broker over what [`mixed`] makes, for who sees its own rows and has a rule about a column; with public columns or not.
fn under_a_rule(inventory: Arc<Inventory>, column: &str, rule: Json, public: &[&str]) -> Arc<Broker> {
    let role: Role = serde_json::from_value(json!({
        "permissions": [{"resource": {"type": "DATASOURCE", "name": "events"}, "action": "READ"}],
        "policies": [{"name": "p", "datasource": "events", "filter": own_rows()}],
        "columns": [{"datasource": "events", "column": column, "rule": rule}],
    }))
    .expect("a role");
    let public_columns = public.iter().map(|name| name.to_string()).collect();
    let tables = BTreeMap::from([("events".to_string(), TableRule { public_columns, ..TableRule::default() })]);
    let rules = Rules::new(1, BTreeMap::from([("r".to_string(), role)]), tables, BTreeSet::new(), "key".into());
    Broker::new(inventory, settings(), Authorizer::new(rules.expect("valid rules")))
}

/// Nor whether there is any.
#[test]
fn a_column_masked_as_nulls_is_the_same_whatever_is_behind_the_mask() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let answers = |of: &ValueType, value: Value, public: &[&str]| {
        let inventory = served(vec![mixed(0, (of.clone(), &[value, Value::Null]), None)]);
        let broker = under_a_rule(inventory, "worth", json!({"type": "null"}), public);
        let mut answers = vec![format!("{:?}", broker.columns("events", &who("t1")))];
        for query in [
            json!({"queryType": "scan", "columns": [], "resultFormat": "compactedList"}),
            json!({"queryType": "scan", "columns": ["worth", "v"], "resultFormat": "compactedList"}),
            json!({"queryType": "groupBy", "granularity": "all", "dimensions": ["v", "worth"],
                "aggregations": [{"type": "doubleSum", "name": "sum", "fieldName": "worth"}]}),
            json!({"queryType": "search", "searchDimensions": [], "query": {"type": "insensitive_contains", "value": ""}}),
            json!({"queryType": "segmentMetadata"}),
            json!({"queryType": "groupBy", "granularity": "all", "dimensions": ["worth", "right.worth"], "aggregations": [],
                "dataSource": {"type": "join", "left": "events", "right": {"type": "query", "query":
                    {"queryType": "scan", "dataSource": "events", "intervals": ["1970-01-01/1971-01-01"], "columns": []}},
                    "rightPrefix": "right.", "condition": "tenant == \"right.tenant\"", "joinType": "LEFT"}}),
        ] {
            let mut query = query;
            if query.get("dataSource").is_none() {
                query["dataSource"] = json!("events");
            }
            query["intervals"] = json!(["1970-01-01/1971-01-01"]);
            if !matches!(query["queryType"].as_str(), Some("search" | "segmentMetadata")) {
                query["virtualColumns"] = json!([{"type": "fallback", "name": "v", "columns": ["worth", "tenant"]}]);
            }
            let answer = runtime.block_on(ask_as(&broker, &who("t1"), &query));
            answers.push(format!("{query}: {:?}", answer.map_err(|error| error.to_string())));
        }
        answers
    };
    let list = Value::List(vec![Value::text("x"), Value::text("y")]);
    for (of, value) in [
        (ValueType::Long, Value::Long(7)),
        (ValueType::Double, Value::Double(2.5)),
        (ValueType::String, Value::text("x")),
        (ValueType::String, list),
    ] {
        for public in [&[][..], &["worth"]] {
            let none = answers(&of, Value::Null, public);
            assert_eq!(answers(&of, value.clone(), public), none, "{of:?} {public:?}");
            assert_eq!(none[0].contains("worth"), !public.is_empty(), "{}", none[0]);
        }
    }
}

/// Whether there is a value is told by the other masks, of rows that are seen: where these say nothing, there is no column.
#[test]
fn a_masked_column_is_there_where_its_mask_says_something() {
    let text = Value::text;
    let mut late = vec![Value::Null; 150];
    late.push(text("x"));
    let (hash, day) = (json!({"type": "hash"}), json!({"type": "truncateTime", "period": "P1D"}));
    for (rule, values, there) in [
        (&hash, vec![text("x")], true),
        (&hash, late, true),
        (&hash, vec![Value::Null; 150], false),
        (&day, vec![text("2026-03-01T05:00:00Z")], true),
        (&day, vec![text("of no time")], false),
    ] {
        let inventory = served(vec![mixed(0, (ValueType::String, &values), None)]);
        let broker = under_a_rule(inventory, "worth", rule.clone(), &[]);
        let columns = broker.columns("events", &who("t1")).expect("columns");
        assert_eq!(columns.iter().any(|(name, ..)| name == "worth"), there, "{rule}: {columns:?}");
    }
    let other = Some((ValueType::String, text("x")));
    let inventory = served(vec![mixed(0, (ValueType::Long, &[Value::Long(1)]), other)]);
    let broker = under_a_rule(inventory, "other", hash, &[]);
    let columns = broker.columns("events", &who("t1")).expect("columns");
    assert!(!columns.iter().any(|(name, ..)| name == "other"), "{columns:?}");
}
