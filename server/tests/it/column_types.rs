//! A policy means what it meant when it was written, whatever types its columns come to have: one event with a list makes a
//! discovered column one of arrays for a whole segment.

use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::harness::Server;

const SECURITY: &str = "/henge/v1/security";

fn put(server: &Server, path: &str, body: &Value) {
    let reply = server.send("PUT", &format!("{SECURITY}{path}"), &[], Some(body));
    assert_eq!(reply.status, 200, "{path}: {}", reply.body);
}

/// Appends the events of a day.
fn append(server: &Server, table: &str, dimensions: &Value, day: u32, events: &[Value]) {
    let lines: Vec<String> = events
        .iter()
        .map(|event| {
            let mut event = event.clone();
            event["t"] = json!(format!("2024-01-{day:02}T00:00:00Z"));
            event.to_string()
        })
        .collect();
    let before = server.try_count_rows(table).unwrap_or(0);
    let spec = json!({"type": "index_parallel", "spec": {
        "dataSchema": {"dataSource": table, "timestampSpec": {"column": "t", "format": "iso"},
            "dimensionsSpec": dimensions,
            "granularitySpec": {"segmentGranularity": "DAY", "queryGranularity": "NONE", "rollup": false}},
        "ioConfig": {"type": "index_parallel", "appendToExisting": true, "inputFormat": {"type": "json"},
            "inputSource": {"type": "inline", "data": lines.join("\n")}},
        "tuningConfig": {"type": "index_parallel"}}});
    let status = server.run_task(&spec, Duration::from_secs(60));
    assert_eq!(status["status"], "SUCCESS", "{status}");
    let (rows, end) = (before + events.len() as u64, Instant::now() + Duration::from_secs(30));
    while server.try_count_rows(table) != Ok(rows) {
        assert!(Instant::now() < end, "the rows of {table} are not served");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The labels that `ann` sees under a policy.
fn seen(server: &Server, table: &str) -> Vec<String> {
    let authorization = format!("Basic {}", STANDARD.encode("ann:password of ann"));
    let body = json!({"query": format!("SELECT label FROM {table} ORDER BY 1"), "resultFormat": "array"});
    let reply = server.send("POST", "/druid/v2/sql", &[("Authorization", &authorization)], Some(&body));
    assert_eq!(reply.status, 200, "{}", reply.body);
    let rows = reply.body.as_array().unwrap();
    rows.iter().map(|row| row[0].as_str().unwrap_or_default().to_string()).collect()
}

fn role(server: &Server, table: &str, condition: &Value) {
    let mut policy = json!({"name": "p", "datasource": table});
    match condition {
        Value::String(sql) => policy["sql"] = json!(sql),
        filter => policy["filter"] = filter.clone(),
    }
    let permissions = json!([{"resource": {"type": "DATASOURCE", "name": ".*"}, "action": "READ"}]);
    put(server, &format!("/roles/{table}"), &json!({"permissions": permissions, "policies": [policy]}));
}

/// Every label that is seen is one that may be, and what is surely to be seen is.
fn check(server: &Server, table: &str, condition: &Value) {
    let seen = seen(server, table);
    assert!(seen.iter().all(|label| label.starts_with("ok")), "{condition}: {seen:?}");
    assert!(seen.iter().any(|label| label == "ok first"), "{condition}: {seen:?}");
}

#[test]
fn no_later_type_of_a_column_shows_what_a_policy_hides() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let discovered = json!({"useSchemaDiscovery": true});
    let event = |name: &str, value: Value, label: &str| json!({name: value, "label": label});
    append(
        &server,
        "drafts",
        &discovered,
        1,
        &[event("state", json!("final"), "ok first"), event("state", json!("draft"), "no")],
    );
    append(&server, "levels", &discovered, 1, &[event("level", json!(1), "ok first"), event("level", json!(4), "no")]);
    let tags = |tags: Value, label: &str| event("tags", tags, label);
    let multi = json!({"dimensions": ["tags", "label"]});
    append(
        &server,
        "tagged",
        &multi,
        1,
        &[
            tags(json!(["public", "other"]), "ok first"),
            tags(json!(["public", "secret"]), "no"),
            tags(json!(["shared", "secret"]), "no"),
        ],
    );
    let names: Vec<&str> = vec!["drafts", "levels", "tagged"];
    names.iter().for_each(|name| role(&server, name, &json!("TRUE")));
    put(&server, "/users/ann", &json!({"password": "password of ann", "roles": names}));

    let of = |filter: Value| json!({"type": "not", "field": filter});
    let texts = [
        of(json!({"type": "equals", "column": "state", "matchValueType": "STRING", "matchValue": "draft"})),
        of(json!({"type": "selector", "dimension": "state", "value": "draft"})),
        of(json!({"type": "in", "dimension": "state", "values": ["draft", "x"]})),
        of(json!({"type": "inType", "column": "state", "matchValueType": "STRING", "values": ["draft"]})),
        of(json!({"type": "like", "dimension": "state", "pattern": "dr%"})),
        of(json!({"type": "regex", "dimension": "state", "pattern": "^dr"})),
        of(
            json!({"type": "search", "dimension": "state", "query": {"type": "contains", "value": "raf", "caseSensitive": true}}),
        ),
        of(json!({"type": "bound", "dimension": "state", "lower": "d", "upper": "e"})),
        of(json!({"type": "range", "column": "state", "matchValueType": "STRING", "lower": "d", "upper": "e"})),
        of(json!({"type": "istrue", "field": {"type": "selector", "dimension": "state", "value": "draft"}})),
        json!({"type": "isfalse", "field": {"type": "selector", "dimension": "state", "value": "draft"}}),
        json!("state <> 'draft'"),
        json!("state NOT IN ('draft', 'x')"),
        json!("state NOT LIKE 'dr%'"),
        json!("(state = 'draft') IS NOT TRUE"),
        json!("NOT (state = 'draft')"),
        json!("CASE WHEN state = 'draft' THEN FALSE ELSE TRUE END"),
        json!("state IS DISTINCT FROM 'draft'"),
        json!("COALESCE(state, '') <> 'draft'"),
    ];
    let numbers = [
        "level < 3",
        "level <> 4",
        "NOT (level > 3)",
        "level NOT IN (4, 9)",
        "level NOT BETWEEN 3 AND 10",
        "(level > 3) IS NOT TRUE",
        "(level < 3) IS NOT FALSE",
        "CASE WHEN level = 4 THEN FALSE ELSE TRUE END",
        "CASE WHEN level > 3 THEN 'no' ELSE 'yes' END = 'yes'",
        "level IS DISTINCT FROM 4",
        "COALESCE(level, 0) < 3",
        "GREATEST(level, 1) < 4",
        "ABS(level) < 3",
        "level + 0 <> 4",
    ]
    .map(|text| json!(text));
    let tagged = [
        json!("tags = 'public' AND tags <> 'secret'"),
        json!("tags IN ('public', 'shared') AND tags NOT IN ('secret', 'x')"),
        json!("tags = 'public' AND NOT (tags = 'secret')"),
        json!("NOT (tags >= 'q')"),
        json!("tags NOT BETWEEN 'q' AND 'z'"),
        of(json!({"type": "range", "column": "tags", "matchValueType": "STRING", "lower": "q"})),
    ];
    // Each is posted while the columns are what they are at first; what it became is kept.
    let compile = |table: &str, condition: &Value| {
        role(&server, table, condition);
        check(&server, table, condition);
        server.get(&format!("{SECURITY}/roles/{table}")).body["document"]["policies"][0]["filter"].clone()
    };
    let texts = texts.map(|condition| (compile("drafts", &condition), condition));
    let numbers = numbers.map(|condition| (compile("levels", &condition), condition));
    for condition in &tagged {
        compile("tagged", condition);
    }
    for condition in ["CASE WHEN tags = 'secret' THEN FALSE ELSE TRUE END", "tags IS DISTINCT FROM 'secret'"] {
        let policy = json!([{"name": "p", "datasource": "tagged", "sql": condition}]);
        let reply = server.send("PUT", &format!("{SECURITY}/roles/tagged"), &[], Some(&json!({"policies": policy})));
        assert_eq!(reply.status, 400, "{condition}: {}", reply.body);
    }

    let state = |value: Value, label: &str| event("state", value, label);
    append(
        &server,
        "drafts",
        &discovered,
        2,
        &[state(json!("draft"), "no, beside a list"), state(json!(["x"]), "ok a list")],
    );
    append(
        &server,
        "drafts",
        &discovered,
        3,
        &[state(json!(["draft"]), "no, in a list"), state(json!(["draft", "x"]), "no")],
    );
    append(
        &server,
        "drafts",
        &discovered,
        4,
        &[state(json!("draft"), "no, beside an object"), state(json!({"a": 1}), "ok an object")],
    );
    append(
        &server,
        "drafts",
        &discovered,
        5,
        &[state(json!("draft"), "no, beside a number"), state(json!(7), "ok a number")],
    );
    append(
        &server,
        "drafts",
        &json!({"dimensions": ["state", "label"]}),
        6,
        &[state(json!(["draft", "a"]), "no, one of several")],
    );
    let level = |value: Value, label: &str| event("level", value, label);
    let listed = [
        level(json!(4), "no, beside a list"),
        level(json!(9), "no"),
        level(json!([1]), "ok a list"),
        level(json!([4]), "no"),
    ];
    append(&server, "levels", &discovered, 2, &listed);
    let mixed = [
        level(json!(4), "no"),
        level(json!("abc"), "no, a text"),
        level(json!([1, 2]), "ok"),
        level(json!(["abc"]), "no"),
    ];
    append(&server, "levels", &discovered, 3, &mixed);
    append(&server, "levels", &discovered, 4, &[level(json!(4), "no"), level(json!({"a": 1}), "no, an object")]);
    let several =
        [level(json!(["4", "abc"]), "no, several"), level(json!("NaN"), "no"), level(json!("-Infinity"), "no")];
    append(&server, "levels", &json!({"dimensions": ["level", "label"]}), 5, &several);
    for (table, conditions) in [("drafts", texts.as_slice()), ("levels", numbers.as_slice())] {
        for (filter, condition) in conditions {
            role(&server, table, filter);
            let seen = seen(&server, table);
            assert!(seen.iter().all(|label| label.starts_with("ok")), "{condition}: {seen:?} by {filter}");
            assert!(seen.iter().any(|label| label == "ok first"), "{condition}: {seen:?}");
        }
    }
}

/// One event with a fraction makes the column one of doubles, where large numbers that are close to each other are the same.
#[test]
fn no_fraction_shows_what_a_policy_of_longs_hides() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let discovered = json!({"useSchemaDiscovery": true});
    let event = |value: Value, label: &str| json!({"tid": value, "label": label});
    const OWN: i64 = 1_700_000_000_000_000_001;
    let longs =
        [event(json!(OWN), "ok first"), event(json!(OWN + 1), "no, the next"), event(json!(OWN + 51), "no, near")];
    append(&server, "snow", &discovered, 1, &longs);
    role(&server, "snow", &json!("TRUE"));
    put(&server, "/users/ann", &json!({"password": "password of ann", "roles": ["snow"]}));
    let equals = json!({"type": "equals", "column": "tid", "matchValueType": "LONG", "matchValue": OWN});
    let not = |filter: Value| json!({"type": "not", "field": filter});
    let range = |lower: i64, upper: i64| json!({"type": "range", "column": "tid", "matchValueType": "LONG", "lower": lower, "upper": upper});
    let other = |value: Value| json!({"type": "selector", "dimension": "tid", "value": value});
    let conditions = [
        json!(format!("tid = {OWN}")),
        json!(format!("tid IN ({OWN}, 5)")),
        json!(format!("tid BETWEEN {OWN} AND {OWN}")),
        json!(format!("tid <> {} AND tid < {}", OWN + 1, OWN + 2)),
        json!(format!("(tid <> {OWN}) IS NOT TRUE")),
        json!(format!("tid + 0 = {OWN}")),
        equals.clone(),
        json!({"type": "inType", "column": "tid", "matchValueType": "LONG", "values": [OWN, 7]}),
        range(OWN, OWN),
        not(range(OWN + 1, i64::MAX)),
        json!({"type": "isfalse", "field": not(equals)}),
        json!({"type": "bound", "dimension": "tid", "upper": OWN.to_string(), "ordering": "numeric"}),
        json!({"type": "and", "fields": [not(other(json!((OWN + 1).to_string()))), not(other(json!((OWN + 51).to_string())))]}),
    ];
    let conditions = conditions.map(|condition| {
        role(&server, "snow", &condition);
        check(&server, "snow", &condition);
        let kept = server.get(&format!("{SECURITY}/roles/snow")).body["document"]["policies"][0]["filter"].clone();
        (kept, condition)
    });
    let mut mixed = longs.to_vec();
    mixed
        .iter_mut()
        .for_each(|event| event["label"] = json!(event["label"].as_str().unwrap().replace("ok first", "ok own")));
    mixed.push(event(json!(0.5), "ok, or no: a fraction"));
    append(&server, "snow", &discovered, 2, &mixed);
    for kind in ["double", "float"] {
        let day = if kind == "double" { 3 } else { 4 };
        append(&server, "snow", &json!({"dimensions": [{"type": kind, "name": "tid"}, "label"]}), day, &mixed);
    }
    for (filter, condition) in &conditions {
        role(&server, "snow", filter);
        check(&server, "snow", condition);
    }
}

/// Users whose names look like numbers are not those numbers.
#[test]
fn who_is_named_like_a_number_sees_what_is_written_so() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let of = |kind: &str| json!({"dimensions": [{"type": kind, "name": "tenant"}, "label"]});
    let event = |value: Value, label: &str| json!({"tenant": value, "label": label});
    append(&server, "owned", &of("string"), 1, &[event(json!("ann"), "text ann"), event(json!("7"), "text 7")]);
    append(
        &server,
        "owned",
        &of("long"),
        2,
        &[event(json!(7), "long 7"), event(json!(10_000_000), "long 1e7"), event(json!(0), "long 0")],
    );
    append(
        &server,
        "owned",
        &of("double"),
        3,
        &[event(json!(7.0), "double 7.0"), event(json!(9_007_199_254_740_992i64), "double 2^53")],
    );
    append(
        &server,
        "owned",
        &of("float"),
        4,
        &[event(json!(16_777_216), "float 2^24"), event(json!(0.1), "float 0.1")],
    );
    for policy in [
        json!({"type": "equals", "column": "tenant", "matchValueType": "STRING", "matchValue": {"identity": "user"}}),
        json!({"type": "in", "dimension": "tenant", "values": [{"identity": "user"}, "nobody"]}),
        json!({"type": "arrayContainsElement", "column": "tenant", "elementMatchValueType": "STRING",
            "elementMatchValue": {"identity": "user"}}),
    ] {
        role(&server, "owned", &policy);
        for (name, expected) in [
            ("7", &["long 7", "text 7"][..]),
            // It may have been a 7 that became a double.
            ("7.0", &[]),
            ("1.0E7", &[]),
            ("0.0", &[]),
            ("-0.0", &[]),
            ("007", &[]),
            ("16777217", &[]),
            ("9007199254740993", &[]),
            ("0.1", &["float 0.1"]),
            ("0.10000000149011612", &[]),
        ] {
            put(&server, &format!("/users/{name}"), &json!({"password": "a long password", "roles": ["owned"]}));
            let authorization = format!("Basic {}", STANDARD.encode(format!("{name}:a long password")));
            let body = json!({"query": "SELECT label FROM owned ORDER BY 1", "resultFormat": "array"});
            let reply = server.send("POST", "/druid/v2/sql", &[("Authorization", &authorization)], Some(&body));
            // Who sees no row is told of no column.
            let rows = reply.body.as_array().cloned().unwrap_or_default();
            assert!(reply.status == 200 || reply.body.to_string().contains("'label' not found"), "{}", reply.body);
            let seen: Vec<&str> = rows.iter().map(|row| row[0].as_str().unwrap()).collect();
            assert_eq!(seen, expected, "{name}");
        }
    }
}

/// Of arrays each value is taken as a value alone would be.
#[test]
fn no_later_type_of_what_arrays_hold_shows_what_a_policy_hides() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let discovered = json!({"useSchemaDiscovery": true});
    let event = |value: Value, label: &str| json!({"list": value, "label": label});
    append(
        &server,
        "lists",
        &discovered,
        1,
        &[event(json!([1, 2]), "ok first"), event(json!([4]), "no"), event(json!([1, 4]), "no")],
    );
    role(&server, "lists", &json!("TRUE"));
    put(&server, "/users/ann", &json!({"password": "password of ann", "roles": ["lists"]}));
    let holds = json!({"type": "arrayContainsElement", "column": "list", "elementMatchValueType": "LONG", "elementMatchValue": 4});
    let is =
        |list: Value| json!({"type": "equals", "column": "list", "matchValueType": "ARRAY<LONG>", "matchValue": list});
    let neither = json!({"type": "and", "fields": [
        {"type": "not", "field": is(json!([4]))}, {"type": "not", "field": is(json!([1, 4]))}]});
    let conditions = [
        json!({"type": "not", "field": holds}),
        json!({"type": "isfalse", "field": holds}),
        json!({"type": "not", "field": {"type": "istrue", "field": holds}}),
        neither,
    ];
    for condition in &conditions {
        role(&server, "lists", condition);
        check(&server, "lists", condition);
    }
    let later = [
        vec![event(json!(["4"]), "no, as a text"), event(json!(["abc"]), "no, a text"), event(json!(["5"]), "ok five")],
        vec![event(json!([4.0]), "no, as a double"), event(json!([4.5]), "ok a double")],
        vec![event(json!([[4]]), "no, nested")],
        vec![event(json!(4), "no, alone"), event(json!(7), "ok alone")],
        vec![event(json!("4"), "no, a text alone"), event(json!("abc"), "no")],
        vec![event(json!({"a": 4}), "no, an object"), event(json!([4]), "no, beside an object")],
    ];
    for (day, events) in later.iter().enumerate() {
        append(&server, "lists", &discovered, day as u32 + 2, events);
    }
    let several = [event(json!(["4", "abc"]), "no, one of several"), event(json!(["abc"]), "no, of several")];
    append(&server, "lists", &json!({"dimensions": ["list", "label"]}), 9, &several);
    let lists = |condition: &Value| condition.to_string().contains("ARRAY");
    for condition in &conditions {
        role(&server, "lists", condition);
        let mut seen = seen(&server, "lists");
        // Two texts are no list of one number, whatever they say.
        seen.retain(|label| !(lists(condition) && label == "no, one of several"));
        assert!(seen.iter().all(|label| label.starts_with("ok")), "{condition}: {seen:?}");
        assert!(seen.iter().any(|label| label == "ok first"), "{condition}: {seen:?}");
    }
    for refused in [
        "NOT ARRAY_CONTAINS(list, 4)",
        "ARRAY_CONTAINS(list, 4)",
        "NOT ARRAY_OVERLAP(list, ARRAY[4, 5])",
        "list = ARRAY[4]",
        "list <> ARRAY[4]",
        "ARRAY_OFFSET(list, 0) = 4",
        "ARRAY_TO_STRING(list, ',') <> '4'",
        "NOT MV_CONTAINS(list, '4')",
        "label = 'x' OR ARRAY_LENGTH(list) > 1",
    ] {
        let policy = json!([{"name": "p", "datasource": "lists", "sql": refused}]);
        let reply = server.send("PUT", &format!("{SECURITY}/roles/lists"), &[], Some(&json!({"policies": policy})));
        assert_eq!(reply.status, 400, "{refused}: {}", reply.body);
    }
    for refused in [
        json!({"type": "columnComparison", "dimensions": ["list", "label"]}),
        json!({"type": "not", "field": {"type": "columnComparison", "dimensions": ["list", "label"]}}),
        json!({"type": "range", "column": "list", "matchValueType": "ARRAY<LONG>", "lower": [4]}),
    ] {
        let policy = json!([{"name": "p", "datasource": "lists", "filter": refused}]);
        let reply = server.send("PUT", &format!("{SECURITY}/roles/lists"), &[], Some(&json!({"policies": policy})));
        assert_eq!(reply.status, 400, "{refused}: {}", reply.body);
    }
}

/// What was written as 0.1 is not 0.1 in a column of floats.
#[test]
fn what_was_rounded_is_not_shown_by_what_computes_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let of = |kind: &str| json!({"dimensions": [{"type": kind, "name": "d"}, "label"]});
    let event = |value: Value, label: &str| json!({"d": value, "label": label});
    append(&server, "fractions", &of("double"), 1, &[event(json!(0.5), "ok first"), event(json!(0.1), "no")]);
    role(&server, "fractions", &json!("TRUE"));
    put(&server, "/users/ann", &json!({"password": "password of ann", "roles": ["fractions"]}));
    let compiled = ["COALESCE(d, 0) <> 0.1", "CASE WHEN d = 0.1 THEN FALSE ELSE TRUE END", "d + 0 <> 0.1", "d <> 0.1"]
        .map(|sql| {
            role(&server, "fractions", &json!(sql));
            check(&server, "fractions", &json!(sql));
            let role = server.get(&format!("{SECURITY}/roles/fractions"));
            (sql, role.body["document"]["policies"][0]["filter"].clone())
        });
    append(
        &server,
        "fractions",
        &of("float"),
        2,
        &[event(json!(0.1), "no, a float"), event(json!(0.25), "ok a float")],
    );
    append(
        &server,
        "fractions",
        &of("string"),
        3,
        &[event(json!("0.1"), "no, a text"), event(json!("0.25"), "ok a text")],
    );
    for (sql, filter) in compiled {
        role(&server, "fractions", &filter);
        let seen = seen(&server, "fractions");
        assert_eq!(seen, ["ok a float", "ok a text", "ok first"], "{sql} by {filter}");
    }
}
