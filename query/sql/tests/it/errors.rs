//! What is refused, in which words.

use henge_query_sql::{Error, Format};
use segment::Kind;
use serde_json::json;

use crate::{Fixture, statement, with_context, with_parameters};

fn error(f: &Fixture, text: &str) -> Error {
    match f.body(&f.native, &statement(text), &Format::default()) {
        Ok(body) => panic!("{text} answered {body}"),
        Err(error) => error,
    }
}

#[test]
fn a_slip_of_the_pen_has_a_place() {
    let f = Fixture::new();
    let slip = error(&f, "SELECT channel\nFROM wiki WHERE");
    assert_eq!((slip.kind(), slip.code()), (Kind::Invalid, "invalidInput"));
    let context = slip.context();
    assert_eq!((context["sourceType"].as_str(), context["line"].as_str()), ("sql", "2"), "{slip}");
    let slip = error(&f, "SELEC 1");
    assert_eq!((slip.context()["line"].as_str(), slip.context()["column"].as_str()), ("1", "1"), "{slip}");
    let slip = error(&f, "SELECT 1; SELECT 2");
    assert_eq!(slip.context()["column"], "9", "{slip}");
    let slip = error(&f, "SELECT 'open");
    assert_eq!(slip.code(), "invalidInput", "{slip}");
}

#[test]
fn what_is_not_there_is_named() {
    let f = Fixture::new();
    for (text, named) in [
        ("SELECT * FROM nowhere", "nowhere"),
        ("SELECT nothing FROM wiki", "nothing"),
        ("SELECT no_such_function(channel) FROM wiki", "no_such_function"),
        ("SELECT * FROM INFORMATION_SCHEMA.NOTHING", "NOTHING"),
        ("SELECT COUNT(*) FROM wiki WHERE __time > 'soon'", "soon"),
        ("SELECT TIMESTAMP 'soon'", "soon"),
        ("SELECT FLOOR(__time TO FORTNIGHT) FROM wiki", "FORTNIGHT"),
        ("SELECT TIME_FLOOR(__time) FROM wiki", "TIME_FLOOR"),
        ("INSERT INTO wiki SELECT 1", "INSERT"),
        ("DROP TABLE wiki", "DROP"),
        ("SET a = b; SELECT 1", "SET"),
        ("", "empty"),
        ("SELECT ?", "parameter"),
    ] {
        let error = error(&f, text);
        assert_eq!(error.kind(), Kind::Invalid, "{text}: {error}");
        assert!(error.to_string().contains(named), "{text}: {error}");
    }
    let wrong = with_parameters("SELECT ?", &[("BIGINT", json!("x"))]);
    let error = f.body(&f.native, &wrong, &Format::default()).unwrap_err();
    assert!(error.to_string().contains("BIGINT"), "{error}");
    let wrong = with_context("SELECT 1", json!({"sqlTimeZone": "Mars/Olympus"}));
    let error = f.body(&f.native, &wrong, &Format::default()).unwrap_err();
    assert!(error.to_string().contains("Mars/Olympus"), "{error}");
}

#[test]
fn deep_and_long_statements_end_in_errors_or_answers() {
    let f = Fixture::new();
    let deep = format!("SELECT {}1{}", "(".repeat(5000), ")".repeat(5000));
    assert_eq!(error(&f, &deep).kind(), Kind::Invalid);
    assert_eq!(error(&f, &"EXPLAIN ".repeat(400)).kind(), Kind::Invalid);
    assert_eq!(error(&f, &format!("{}SELECT 1", "EXPLAIN ANALYZE ".repeat(400))).kind(), Kind::Invalid);
    let chain: String = (1..200).map(|n| format!(", c{n} AS (SELECT added FROM c{} LIMIT 5)", n - 1)).collect();
    let chain = format!("WITH c0 AS (SELECT added FROM wiki){chain} SELECT COUNT(*) FROM c199");
    f.check(&chain, json!([[5]]));
    let joins: String = (1..12).map(|n| format!(" JOIN wiki w{n} ON w{n}.added = w0.added")).collect();
    f.check(&format!("SELECT COUNT(*) FROM wiki w0{joins}"), json!([[7]]));
    let long = format!(
        "SELECT COUNT(*) FROM wiki WHERE added IN ({})",
        (0..5000).map(|n| n.to_string()).collect::<Vec<_>>().join(",")
    );
    f.check(&long, json!([[6]]));
    let many = format!(
        "SELECT COUNT(*) FROM wiki WHERE {}",
        (0..500).map(|n| format!("added = {n}")).collect::<Vec<_>>().join(" OR ")
    );
    f.check(&many, json!([[6]]));
}

/// Few batches in, more rows out than could ever be counted.
#[test]
fn a_join_without_end_ends_at_its_deadline() {
    let f = Fixture::new();
    let tables = ["lineitem a", "lineitem b", "lineitem c", "lineitem d", "lineitem e", "lineitem f", "lineitem g"];
    let text = format!("SELECT COUNT(*) FROM {}", tables.join(", "));
    let error = f.body(&f.native, &with_context(&text, json!({"timeout": 200})), &Format::default()).unwrap_err();
    assert_eq!(error.kind(), Kind::Timeout, "{error}");
}

#[test]
fn a_statement_out_of_time_says_so() {
    let f = Fixture::new();
    let hurried = with_context(
        "SELECT a.l_comment, COUNT(*) FROM lineitem a JOIN lineitem b ON a.l_returnflag = b.l_returnflag \
         JOIN lineitem c ON b.l_returnflag = c.l_returnflag WHERE a.l_orderkey < c.l_orderkey + b.l_orderkey GROUP BY 1",
        json!({"timeout": 1}),
    );
    let error = f.body(&f.native, &hurried, &Format::default()).unwrap_err();
    assert_eq!(error.kind(), Kind::Timeout, "{error}");
}

/// Each of these doubles with every level: written out, forty levels are more than a memory can hold.
#[test]
fn what_doubles_at_every_level_is_refused_at_once() {
    let f = Fixture::new();
    let forms: [(&str, fn(&str) -> String); 10] = [
        ("COALESCE", |x| format!("COALESCE({x}, 1)")),
        ("BETWEEN", |x| format!("CAST(({x} BETWEEN 1 AND 2) AS BIGINT)")),
        ("IN", |x| format!("CAST(({x} IN (1, 2, 3)) AS BIGINT)")),
        ("LIKE", |x| format!("CAST((CAST({x} AS VARCHAR) LIKE 'a%') AS BIGINT)")),
        ("NULLIF", |x| format!("NULLIF({x}, 3)")),
        ("SAFE_DIVIDE", |x| format!("SAFE_DIVIDE({x}, 2)")),
        ("TIMESTAMPDIFF", |x| format!("TIMESTAMPDIFF(MONTH, MILLIS_TO_TIMESTAMP({x}), CURRENT_TIMESTAMP)")),
        ("TIME_IN_INTERVAL", |x| format!("CAST(TIME_IN_INTERVAL(MILLIS_TO_TIMESTAMP({x}), '2000/2001') AS BIGINT)")),
        ("subqueries", |x| format!("(SELECT MAX({x}) FROM wiki)")),
        ("NOT", |x| format!("(NOT ({x} > 0")),
    ];
    for (name, form) in forms {
        for text in ["SELECT {} FROM wiki", "SELECT COUNT(*) FROM wiki WHERE ({}) = 1"] {
            let nested = (0..40).fold("added".to_string(), |inner, _| form(&inner));
            let hurried = with_context(&text.replace("{}", &nested), json!({"timeout": 2000}));
            if let Err(error) = f.body(&f.native, &hurried, &Format::default()) {
                assert!(matches!(error.kind(), Kind::Invalid | Kind::Busy | Kind::Timeout), "{name}: {error}");
            }
        }
    }
    let names = (1..40).map(|n| format!("w{n} AS (SELECT x FROM w{0} UNION ALL SELECT x FROM w{0})", n - 1));
    let with = format!("WITH w0 AS (SELECT added AS x FROM wiki), {}", names.collect::<Vec<_>>().join(", "));
    let doubled = with_context(&format!("{with} SELECT COUNT(*) FROM w39"), json!({"timeout": 2000}));
    let error = f.body(&f.native, &doubled, &Format::default()).unwrap_err();
    assert!(error.to_string().contains("WITH"), "{error}");
    // The same through subqueries, whose conditions move down.
    let doubled =
        (0..40).fold("SELECT added AS a FROM wiki".to_string(), |inner, _| format!("SELECT a + a AS a FROM ({inner})"));
    let statement = with_context(&format!("SELECT COUNT(*) FROM ({doubled}) WHERE a > 1"), json!({"timeout": 2000}));
    let error = f.body(&f.native, &statement, &Format::default()).unwrap_err();
    assert!(error.to_string().contains("parts"), "{error}");
}
