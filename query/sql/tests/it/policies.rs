//! Row policies and column rules under SQL: what conditions become, and that nothing of a statement gets around them.

use std::collections::{BTreeMap, BTreeSet};

use henge_query_sql::{Format, ResultFormat};
use query::Principal;
use query::policy::{Role, Rules, TableRule};
use rand::SeedableRng;
use rand::rngs::SmallRng;
use segment::block::Value;
use segment::filter::Filter;
use segment::schema::ValueType;
use serde_json::{Value as Json, json};

use crate::random::{Generator, rounded, tables};
use crate::{Fixture, same_rows, statement};

fn columns() -> Vec<(String, ValueType, bool)> {
    let column = |name: &str, value_type| (name.to_string(), value_type, false);
    vec![
        column("__time", ValueType::Long),
        column("tenant", ValueType::String),
        ("tags".to_string(), ValueType::String, true),
        column("level", ValueType::Long),
        column("price", ValueType::Double),
    ]
}

#[test]
fn conditions_become_filters_with_identities() {
    let f = Fixture::new();
    let user = json!({"identity": "user"});
    let equals = |column: &str, value: &Json| json!({"type": "equals", "column": column, "matchValueType": "STRING", "matchValue": value});
    let cases = [
        (
            "tenant = CURRENT_USER",
            json!({"type": "equals", "column": "tenant", "matchValueType": "STRING", "matchValue": user}),
        ),
        (
            "tenant = USER_ATTRIBUTE('tenants') AND level < 3",
            json!({"type": "and", "fields": [
                {"type": "equals", "column": "tenant", "matchValueType": "STRING", "matchValue": {"identity": "attribute", "name": "tenants"}},
                {"type": "range", "column": "level", "matchValueType": "LONG", "upper": 3, "upperOpen": true},
            ]}),
        ),
        ("TRUE", json!({"type": "true"})),
        ("1 = 2", json!({"type": "false"})),
        // What a constant beside an identity says of a column is not what the identity's text says of it.
        (
            "tenant = CURRENT_USER AND tenant <> 'x'",
            json!({"type": "and", "fields": [equals("tenant", &user), {"type": "not", "field": equals("tenant", &json!("x"))}]}),
        ),
        (
            "tenant = 'x' AND NOT (tenant = CURRENT_USER OR level < 3)",
            json!({"type": "and", "fields": [
                equals("tenant", &json!("x")),
                {"type": "not", "field": equals("tenant", &user)},
                {"type": "not", "field": {"type": "range", "column": "level", "matchValueType": "LONG", "upper": 3, "upperOpen": true}},
            ]}),
        ),
        (
            "tenant <> CURRENT_USER OR tenant = 'x'",
            json!({"type": "or", "fields": [{"type": "not", "field": equals("tenant", &user)}, equals("tenant", &json!("x"))]}),
        ),
        // Nor does one comparison of a column say what another does: it may have several values.
        (
            "tenant = 'x' AND tenant <> 'y' AND tenant NOT IN ('a', 'b')",
            json!({"type": "and", "fields": [equals("tenant", &json!("x")), {"type": "not", "field": equals("tenant", &json!("y"))},
                {"type": "not", "field": equals("tenant", &json!("a"))}, {"type": "not", "field": equals("tenant", &json!("b"))}]}),
        ),
        (
            "tags BETWEEN 'q' AND 'z'",
            json!({"type": "range", "column": "tags", "matchValueType": "STRING", "lower": "q", "upper": "z"}),
        ),
        (
            "NOT (tags NOT BETWEEN 'q' AND 'z')",
            json!({"type": "range", "column": "tags", "matchValueType": "STRING", "lower": "q", "upper": "z"}),
        ),
        (
            "NOT (tenant >= 'q')",
            json!({"type": "not", "field": {"type": "range", "column": "tenant", "matchValueType": "STRING", "lower": "q"}}),
        ),
        // What is unknown of a row does not let it through by being negated.
        ("NOT (tenant = NULL)", json!({"type": "false"})),
    ];
    for (text, expected) in cases {
        let filter = f.native.condition(&columns(), text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(filter, expected, "{text}");
    }
    let held = f
        .native
        .condition(&columns(), "tenant IN ('x', CURRENT_USER) OR USER_IN_GROUP('auditors')")
        .unwrap()
        .to_string();
    assert!(held.contains(r#"{"identity":"user"}"#) && held.contains("member") && held.contains("auditors"), "{held}");
    // Several groups are several questions: none is folded into another.
    let member = |group: &str| json!({"type": "equals", "column": "\u{2}member", "matchValueType": "STRING", "matchValue": group});
    let filter = f.native.condition(&columns(), "USER_IN_GROUP('staff') AND NOT USER_IN_GROUP('suspended')").unwrap();
    let not = json!({"type": "not", "field": member("suspended")});
    assert_eq!(filter, json!({"type": "and", "fields": [member("staff"), not]}));
    let any = "USER_IN_GROUP('a') OR USER_IN_GROUP('b') OR USER_IN_GROUP('c') OR USER_IN_GROUP('d')";
    let filter = f.native.condition(&columns(), any).unwrap();
    assert_eq!(filter, json!({"type": "or", "fields": (["a", "b", "c", "d"].map(member))}));
}

#[test]
fn conditions_that_would_lose_an_identity_or_leave_the_table_are_refused() {
    let f = Fixture::new();
    let cases = [
        ("CURRENT_USER = 'bob'", "CURRENT_USER"),
        ("CURRENT_USER <> 'bob'", "CURRENT_USER"),
        ("tenant LIKE CONCAT(CURRENT_USER, '%')", "CURRENT_USER"),
        ("tenant = CURRENT_USER OR 1 = 1", "CURRENT_USER"),
        ("tenant = USER_ATTRIBUTE(level)", "USER_ATTRIBUTE"),
        ("nobody = 1", "nobody"),
        ("1=1) UNION SELECT 1 FROM wiki WHERE (1=1", "one expression"),
        ("CASE WHEN tags = 'secret' THEN FALSE ELSE TRUE END", "more than a filter"),
        ("tags IS DISTINCT FROM 'secret'", "more than a filter"),
        ("(tenant = 'a' OR NULL) IS FALSE", "more than a filter"),
        ("(tenant = 'a' OR tenant = NULL) IS FALSE", "more than a filter"),
        ("tenant IN (SELECT channel FROM wiki)", "its own table"),
        ("EXISTS (SELECT 1 FROM wiki)", "its own table"),
        ("__time > CURRENT_TIMESTAMP", "current time"),
        ("tenant = ?", "parameters"),
        ("tenant = '\u{2}0'", "U+0002"),
        ("", ""),
        ("LOOKUP(tenant, 'names') = 'x'", "lookup"),
        ("USER_IN_GROUP('a') IS NULL", "USER_IN_GROUP"),
        ("USER_IN_GROUP('a') = (tenant = 'x')", "USER_IN_GROUP"),
        ("(tenant = CURRENT_USER AND tenant <> 'x') IS TRUE", "CURRENT_USER"),
        ("CASE WHEN tenant = CURRENT_USER THEN TRUE ELSE FALSE END", "CURRENT_USER"),
        ("tenant = CURRENT_USER AND 1 = 2", "CURRENT_USER"),
        ("NOT (tenant <> CURRENT_USER OR level = NULL)", "CURRENT_USER"),
        ("CURRENT_USER = USER_ATTRIBUTE('a')", "CURRENT_USER"),
    ];
    for (text, says) in cases {
        let error = f.native.condition(&columns(), text).expect_err(text).to_string();
        assert!(error.contains(says), "{text}: {error}");
    }
}

#[test]
fn conditions_that_hang_on_what_type_a_column_has_by_chance_are_refused() {
    let f = Fixture::new();
    let cases = [
        "tenant < 3",
        "tenant <> 4",
        "4 = tenant",
        "tenant IN (1, 2)",
        "tenant BETWEEN 1 AND 3",
        "NOT (tenant > 3)",
        "tenant IS DISTINCT FROM 4",
        "COALESCE(tenant, 0) < 3",
        "NULLIF(tenant, 4) IS NULL",
        "CASE tenant WHEN 4 THEN FALSE ELSE TRUE END",
        "CASE WHEN level > 2 THEN tenant ELSE level END = '1'",
        "tenant + 1 < 3",
        "level = '4'",
        "level IN ('1', '2')",
        "price < '3'",
        "GREATEST(tenant, level) = '3'",
        "level = CURRENT_USER",
        "tenant = CURRENT_USER OR tenant < 3",
        "tenant > TIMESTAMP '2020-01-01 00:00:00'",
        "level < 2.5",
        "NOT (level >= 2.5)",
        "CAST(level AS DOUBLE) > 1.5",
        "(level < 2.5) IS TRUE",
        "level NOT BETWEEN 2.5 AND 10",
        "level + 1 <= 3.5",
    ];
    for text in cases {
        let error = f.native.condition(&columns(), text).expect_err(text).to_string();
        assert!(error.contains("CAST") && !error.contains('\u{2}'), "{text}: {error}");
    }
    for text in ["CAST(tenant AS BIGINT) < 3", "tenant = '4'", "price < 3.5", "price <> 4", "__time >= '2020-01-01'"] {
        f.native.condition(&columns(), text).unwrap_or_else(|error| panic!("{text}: {error}"));
    }
}

/// A column that was one of numbers when a role was saved may hold anything later.
#[test]
fn a_condition_lets_nothing_through_that_is_of_another_type_than_it_was_written_for() {
    let f = Fixture::new();
    let shown = |text: &str, name: &str, value: &Value| {
        let filter = f.native.condition(&columns(), text).unwrap_or_else(|error| panic!("{text}: {error}"));
        let filter = Filter::from_json(&filter, "filter").unwrap().strict();
        filter.matches(&|column| if column == name { value.clone() } else { Value::Null }) == Some(true)
    };
    let of_numbers = [
        "level < 3",
        "level <> 4",
        "NOT (level = 4)",
        "level IN (1, 2)",
        "level NOT IN (3, 4)",
        "COALESCE(level, 0) < 3",
        "ABS(level) < 3",
        "level + 1 <= 3",
        "level * level < 5 OR level = 77",
        "CASE WHEN level > 2 THEN FALSE ELSE TRUE END",
        "(level > 2) IS NOT TRUE",
        "(level < 3) IS NOT FALSE",
        "NOT (level + 0 > 2)",
        "CAST(level AS VARCHAR) <> '4'",
        "GREATEST(level, 0) < 3",
        "COALESCE(price, 0.0) < 3",
        "NOT (price > 2.5 OR price + 1 > 3.5)",
        "(price > 2.5) IS NOT TRUE",
        "price * 2 <> 8",
    ];
    for text in of_numbers {
        let name = if text.contains("price") { "price" } else { "level" };
        for no_number in ["abc", "", " ", "NaN", "Infinity", "-Infinity", "1e999", "2x"] {
            assert!(!shown(text, name, &Value::text(no_number)), "{text}: {no_number:?}");
        }
        assert!(!shown(text, name, &Value::Json("{}".into())), "{text}: a document");
        assert!(!shown(text, name, &Value::Long(4)) && !shown(text, name, &Value::text("4")), "{text}");
        assert!(shown(text, name, &Value::Long(2)) && shown(text, name, &Value::text("2")), "{text}");
    }
    // Whole numbers are what expressions over longs were written for.
    for text in ["ABS(level) < 3", "level + 0 < 3", "COALESCE(level, 0) <= 2"] {
        assert!(!shown(text, "level", &Value::text("2.7")), "{text}");
    }
    for (text, at) in [("tenant < '3'", "10"), ("LOWER(tenant) = '10'", "10"), ("UPPER(tenant) < '3'", "10")] {
        assert!(shown(text, "tenant", &Value::text(at)) && shown(text, "tenant", &Value::Long(10)), "{text}");
    }
    assert!(!shown("LOWER(tenant) > '3'", "tenant", &Value::Long(10)));
}

/// `alice` sees her rows of `wiki` without `country`, nothing of `lineitem`, and all of `shop`.
fn tenant() -> Fixture {
    let mut f = Fixture::new();
    let own = f.native.condition(&f.broker.columns("wiki", &f.who).unwrap(), "\"user\" = CURRENT_USER").unwrap();
    let role: Role = serde_json::from_value(json!({
        "permissions": [
            {"resource": {"type": "DATASOURCE", "name": "wiki"}, "action": "READ"},
            {"resource": {"type": "DATASOURCE", "name": "shop"}, "action": "READ"},
        ],
        "policies": [{"name": "own", "datasource": "wiki", "filter": own}],
        "columns": [{"datasource": "wiki", "column": "country", "rule": {"type": "deny"}}],
    }))
    .unwrap();
    let roles = BTreeMap::from([("tenant".to_string(), role)]);
    let tables = BTreeMap::from([("wiki".to_string(), TableRule { require_policy: true, ..TableRule::default() })]);
    f.broker.authorizer().replace(Rules::new(1, roles, tables, BTreeSet::new(), "key".into()).unwrap());
    f.who = Principal::new("alice");
    f.who.roles.insert("tenant".into());
    f
}

#[test]
fn statements_see_the_rows_of_the_caller() {
    let f = tenant();
    f.check("SELECT COUNT(*), SUM(added), MIN(__time) FROM wiki", json!([[3, 50, "2026-01-01T00:00:01.000Z"]]));
    f.check_unordered("SELECT channel, COUNT(*) FROM wiki GROUP BY 1", json!([["#en", 2], ["#fr", 1]]));
    f.check("SELECT DISTINCT \"user\" FROM wiki", json!([["alice"]]));
    f.check("SELECT COUNT(*) FROM wiki a JOIN wiki b ON a.channel = b.channel", json!([[5]]));
    f.check("SELECT COUNT(*) FROM (SELECT * FROM wiki UNION ALL SELECT * FROM wiki)", json!([[6]]));
    f.check("SELECT COUNT(*) FROM shop WHERE 3 = (SELECT COUNT(*) FROM wiki)", json!([[4]]));
    f.check("SELECT COUNT(*) FROM TABLE(APPEND('wiki', 'shop'))", json!([[7]]));
    f.check(
        "SELECT \"user\", ROW_NUMBER() OVER (ORDER BY __time) FROM wiki",
        json!([["alice", 1], ["alice", 2], ["alice", 3]]),
    );
    f.check("SELECT COUNT(*) FROM wiki WHERE \"user\" <> 'alice' OR \"user\" IS NULL", json!([[0]]));
    f.check("SELECT COUNT(*) FROM wiki WHERE NOT (\"user\" = 'alice')", json!([[0]]));
    f.check(
        "SELECT t.tag, COUNT(*) FROM wiki, UNNEST(MV_TO_ARRAY(tags)) AS t(tag) GROUP BY 1 ORDER BY 1",
        json!([["a", 2], ["b", 1], ["c", 1]]),
    );
}

#[test]
fn what_is_not_seen_is_not_there() {
    let f = tenant();
    let format = Format { result_format: ResultFormat::Array, ..Format::default() };
    for text in [
        "SELECT country FROM wiki",
        "SELECT COUNT(*) FROM wiki WHERE country = 'US'",
        "SELECT * FROM lineitem",
        "SELECT * FROM nothing",
        "SELECT * FROM sys.segments",
        "SELECT * FROM sys.tasks",
    ] {
        let error = f.body(&f.native, &statement(text), &format).expect_err(text).to_string();
        assert!(!error.contains("bob") && !error.contains("DE"), "{text}: {error}");
    }
    // A table that may not be read and one that is not there are told apart by nothing but their names.
    let said =
        |name: &str| f.body(&f.native, &statement(&format!("SELECT * FROM {name}")), &format).unwrap_err().to_string();
    assert_eq!(said("lineitem").replace("lineitem", "nothing"), said("nothing"));
    f.check_unordered(
        "SELECT TABLE_NAME FROM INFORMATION_SCHEMA.TABLES WHERE TABLE_SCHEMA = 'druid'",
        json!([["wiki"], ["shop"]]),
    );
    // Of `wiki`, `country` is denied; the others have values in the caller's rows.
    f.check(
        "SELECT COLUMN_NAME FROM INFORMATION_SCHEMA.COLUMNS WHERE TABLE_NAME = 'wiki' ORDER BY ORDINAL_POSITION",
        json!([["__time"], ["channel"], ["user"], ["tags"], ["added"], ["delta"], ["score"]]),
    );
    let star = f.both(&statement("SELECT * FROM wiki"));
    assert!(
        !Json::from(star.clone()).to_string().contains("bob") && star[0].as_array().unwrap().len() == 7,
        "{star:?}"
    );
    // Another caller's plan of the same text is not this one's.
    let mut all = f;
    all.who = Principal::new("root");
    all.who.roles.insert("admin".into());
    all.check("SELECT COUNT(*) FROM shop", json!([[4]]));
    all.check("SELECT COUNT(*) FROM wiki", json!([[8]]));
    // The mark is for everyone else: whoever is to see rows of `wiki` needs a policy.
    let open = json!({"permissions": [{"resource": {"type": "DATASOURCE", "name": ".*"}, "action": "READ"}]});
    let roles = BTreeMap::from([("open".to_string(), serde_json::from_value::<Role>(open).unwrap())]);
    let tables = BTreeMap::from([("wiki".to_string(), TableRule { require_policy: true, ..TableRule::default() })]);
    all.broker.authorizer().replace(Rules::new(2, roles, tables, BTreeSet::new(), "key".into()).unwrap());
    all.who.roles = BTreeSet::from(["open".to_string()]);
    all.check("SELECT COUNT(*) FROM wiki", json!([[0]]));
}

/// A random statement under a random policy answers what it answers over the rows that the policy's condition keeps.
#[test]
fn policies_answer_what_their_conditions_written_by_hand_do() {
    let amount = |name: &str, default| std::env::var(name).ok().map_or(default, |v| v.parse().expect("a number"));
    let cases: u64 = amount("HENGE_SQL_CASES", 600);
    let first: u64 = amount("HENGE_SQL_SEED", 1);
    let format = Format { result_format: ResultFormat::Array, ..Format::default() };
    let (mut policed, mut different) = (0, Vec::new());
    for seed in first..first + cases {
        if seed != first && seed % 20 != 0 {
            continue;
        }
        let mut f = Fixture::over(tables(seed));
        let mut generator = Generator { random: SmallRng::seed_from_u64(seed ^ 0x9011c7) };
        let mut policies = Vec::new();
        let mut conditions = Vec::new();
        for table in ["r", "q"] {
            let columns = f.broker.columns(table, &f.who).unwrap_or_default();
            let said = (0..20).find_map(|_| {
                let text = generator.condition("", 2);
                let filter = f.native.condition(&columns, &text).ok()?;
                Some((text, filter))
            });
            let Some((text, filter)) = said else { continue };
            policies.push(json!({"name": table, "datasource": table, "filter": filter}));
            conditions.push(format!("{table} AS (SELECT * FROM \"druid\".\"{table}\" WHERE {text})"));
        }
        let role: Role = serde_json::from_value(json!({
            "permissions": [{"resource": {"type": "DATASOURCE", "name": ".*"}, "action": "READ"}],
            "policies": policies,
        }))
        .unwrap();
        let tables: BTreeMap<String, TableRule> = ["r", "q"]
            .map(|name| (name.to_string(), TableRule { require_policy: false, public_columns: vec![".*".into()] }))
            .into();
        let rules = Rules::new(1, [("some".to_string(), role)].into(), tables, BTreeSet::new(), "key".into());
        f.broker.authorizer().replace(rules.unwrap());
        for nth in 0..20 {
            let (text, ordered) = Generator { random: SmallRng::seed_from_u64(seed * 1_000 + nth) }.statement();
            if text.starts_with("WITH") || conditions.is_empty() {
                continue;
            }
            let mut ask = |role: &str, text: &str| {
                f.who = Principal::new(role);
                f.who.roles.insert(role.into());
                f.body(&f.native, &statement(text), &format).map(|body| {
                    let mut rows: Vec<Json> = serde_json::from_str(&body).unwrap();
                    if !ordered {
                        rows.sort_by_key(rounded);
                    }
                    rows
                })
            };
            let by_hand = ask("admin", &format!("WITH {} {text}", conditions.join(", ")));
            match (ask("some", &text), by_hand) {
                (Ok(policed_rows), Ok(by_hand)) => {
                    policed += 1;
                    if !same_rows(&policed_rows, &by_hand) {
                        different.push(format!(
                            "seed {seed}.{nth}: {text}\n under {conditions:?}\n policed: {}\n by hand: {}",
                            Json::from(policed_rows),
                            Json::from(by_hand)
                        ));
                    }
                }
                (Err(_), Err(_)) => {}
                // One plan may be refused where the other is not, by DataFusion's own checks.
                (Ok(_), Err(_)) => {}
                (Err(error), Ok(_)) => {
                    different.push(format!("seed {seed}.{nth}: {text}: refused under a policy: {error}"))
                }
            }
        }
    }
    assert!(different.is_empty(), "{} differ:\n{}", different.len(), different[..different.len().min(8)].join("\n"));
    println!("{policed} statements under policies answered as by hand");
    assert!(policed * 2 > cases, "only {policed} of {cases} statements were compared");
}

/// What DataFusion holds of a statement counts as what the engine holds does.
#[test]
fn a_quota_bounds_what_a_statement_holds_and_how_many_run() {
    let mut f = Fixture::over(tables(7));
    let format = Format { result_format: ResultFormat::Array, ..Format::default() };
    let wide = "SELECT MAX(n) FROM (SELECT ROW_NUMBER() OVER (ORDER BY a.l, b.l, a.s) AS n FROM r a CROSS JOIN r b CROSS JOIN q)";
    f.who = Principal::new("ann");
    f.who.roles.insert("some".into());
    let mut seed = 0;
    let mut ask = |quota: Json, policies: Json, text: &str| {
        let role: Role = serde_json::from_value(json!({
            "permissions": [{"resource": {"type": "DATASOURCE", "name": ".*"}, "action": "READ"}],
            "policies": policies,
            "quota": quota,
        }))
        .unwrap();
        seed += 1;
        let roles = [("some".to_string(), role)].into();
        let public = TableRule { public_columns: vec![".*".into()], ..TableRule::default() };
        let rules = Rules::new(seed, roles, [("r".to_string(), public)].into(), BTreeSet::new(), "key".into());
        f.broker.authorizer().replace(rules.unwrap());
        f.body(&f.native, &statement(text), &format).map_err(|error| error.to_string())
    };
    let none = json!([]);
    ask(json!({}), none.clone(), wide).unwrap();
    let error = ask(json!({"memoryBytes": 300_000}), none.clone(), wide).unwrap_err();
    assert!(error.contains("memory"), "{error}");
    let error = ask(json!({"concurrent": 0}), none.clone(), wide).unwrap_err();
    assert!(error.contains("at once"), "{error}");
    // Of what reads no table too.
    let values = "SELECT a, COUNT(*) FROM (VALUES (1), (2)) AS t (a) GROUP BY a";
    let error = ask(json!({"concurrent": 0}), none.clone(), values).unwrap_err();
    assert!(error.contains("at once"), "{error}");
    ask(json!({"concurrent": 1}), none.clone(), values).unwrap();
    // A statement of several parts is one.
    ask(json!({"concurrent": 1}), none.clone(), wide).unwrap();
    let mut scanned =
        |bytes: u64, policies: &Json, text: &str| ask(json!({"scannedBytes": bytes}), policies.clone(), text);
    scanned(1, &none, "SELECT COUNT(*) FROM r").unwrap();
    let sum = "SELECT SUM(l) FROM r";
    let error = scanned(1, &none, sum).unwrap_err();
    assert!(error.contains("bytes of columns"), "{error}");
    // Its parts read from one quota: it is enough for one of these, and for less than two.
    let enough = (0..40).map(|power| 1 << power).find(|bytes| scanned(*bytes, &none, sum).is_ok()).unwrap();
    let thrice = "SELECT SUM(l) FROM r UNION ALL SELECT MIN(l) FROM r UNION ALL SELECT MAX(l) FROM r";
    assert!(scanned(enough, &none, thrice).is_err());
    scanned(3 * enough, &none, thrice).unwrap();
    // What is not seen is not counted.
    let hidden = json!([{"name": "none", "datasource": "r", "filter": {"type": "equals", "column": "s", "matchValueType": "STRING", "matchValue": "of nobody"}}]);
    scanned(1, &hidden, "SELECT SUM(l) FROM r").unwrap();
}
