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

/// Chains are flat for the parser and deep as trees. Of these the answers are known.
#[test]
fn long_chains_are_planned_as_shallow_trees() {
    let f = Fixture::new();
    let rows = |text: &str| f.native_rows(&statement(text));
    let wiki = "SELECT COUNT(*) FROM wiki WHERE";
    let chain = |term: &dyn Fn(usize) -> String, op: &str| (0..2_000).map(term).collect::<Vec<_>>().join(op);
    let any = chain(&|n| format!("(channel = '#de' AND added = {n})"), " OR ");
    assert_eq!(rows(&format!("{wiki} {any}")), rows(&format!("{wiki} channel = '#de' AND added BETWEEN 0 AND 1999")));
    let all = chain(&|n| format!("(channel <> 'none' OR added = {n})"), " AND ");
    assert_eq!(rows(&format!("{wiki} {all}")), rows(&format!("{wiki} channel <> 'none'")));
    let like = chain(&|n| format!("channel LIKE '%{n}x%'"), " OR ");
    assert_eq!(rows(&format!("{wiki} {like} OR channel LIKE '#e%'")), rows(&format!("{wiki} channel LIKE '#e%'")));
    // The filter is as flat as the condition.
    let leaves = f.leaves(&format!("{wiki} {any}"));
    let filter = leaves[0]["filter"].to_string();
    let deepest = filter.chars().scan(0_i32, |depth, ch| {
        *depth += i32::from(ch == '{') - i32::from(ch == '}');
        Some(*depth)
    });
    assert!(deepest.max().unwrap_or_default() <= 5, "{}", filter.get(..200).unwrap_or(&filter));
    // The values are those of the branches, in their order.
    let union = (0..2_000).map(|n| format!("SELECT {n} AS x")).collect::<Vec<_>>().join(" UNION ALL ");
    assert_eq!(rows(&format!("SELECT COUNT(*), SUM(x) FROM ({union})")), [json!([2000, 1_999_000])]);
    let mixed = "SELECT 1 AS x UNION ALL ".repeat(50) + "SELECT 2 UNION SELECT 1";
    assert_eq!(rows(&format!("SELECT COUNT(*) FROM ({mixed})")), [json!([2])], "UNION makes all before it distinct");
}

/// None of these may take the process with it, nor a thread that answers others.
#[test]
fn chains_of_any_kind_end_in_errors_or_answers() {
    let f = Fixture::new();
    let chain = |term: &str, op: &str, count: usize| vec![term; count].join(op);
    let numbered =
        |form: &dyn Fn(usize) -> String, op: &str, count: usize| (0..count).map(form).collect::<Vec<_>>().join(op);
    let wiki = |condition: String| format!("SELECT COUNT(*) FROM wiki WHERE {condition}");
    let withs = numbered(&|n| format!("c{} AS (SELECT added + 1 AS added FROM c{n} LIMIT 5)", n + 1), ", ", 1_900);
    let cases = [
        wiki(numbered(&|n| format!("(channel = 'id{n}' AND added = {n})"), " OR ", 20_000)),
        wiki(numbered(&|n| format!("channel <> 'id{n}'"), " AND ", 20_000)),
        wiki(numbered(&|n| format!("channel LIKE '%{n}%'"), " OR ", 20_000)),
        wiki(format!("{} added = 1", "NOT ".repeat(20_000))),
        wiki(format!("added{} = 1", " IS NULL".repeat(20_000))),
        format!("SELECT {} FROM wiki", chain("added", "+", 20_000)),
        format!("SELECT {}", chain("1", "-", 2_000_000)),
        format!("SELECT {} FROM wiki", chain("channel", "||", 20_000)),
        format!("SELECT added{} FROM wiki", "::BIGINT".repeat(20_000)),
        format!("SELECT CASE {} END FROM wiki", numbered(&|n| format!("WHEN added = {n} THEN {n}"), " ", 5_000)),
        format!("SELECT {}1{}", "CASE WHEN TRUE THEN ".repeat(5_000), " END".repeat(5_000)),
        numbered(&|n| format!("SELECT {n}"), " UNION ", 5_000),
        numbered(&|n| format!("SELECT {n}"), " UNION ", 1_000),
        chain("SELECT 1", " UNION ALL ", 3_000),
        chain("SELECT 1, 2", " UNION ALL ", 20_000),
        chain("SELECT 1", " INTERSECT ", 5_000),
        chain("SELECT 1", " EXCEPT ", 1_000),
        format!(
            "SELECT 1 FROM wiki t {}",
            numbered(&|n| format!("JOIN wiki t{n} ON t{n}.added = t.added"), " ", 3_000)
        ),
        format!("SELECT 1 FROM {}", numbered(&|n| format!("wiki t{n}"), ", ", 3_000)),
        format!("{}SELECT 1{}", "SELECT * FROM (".repeat(3_000), ")".repeat(3_000)),
        format!("WITH c0 AS (SELECT added FROM wiki), {withs} SELECT COUNT(*) FROM c1900"),
    ];
    for text in cases {
        let hurried = with_context(&text, json!({"timeout": 20_000}));
        if let Err(error) = f.body(&f.native, &hurried, &Format::default()) {
            let expected = matches!(error.kind(), Kind::Invalid | Kind::Busy | Kind::Timeout);
            assert!(expected, "{}…: {error}", &text[..100.min(text.len())]);
        }
    }
    let plus = error(&f, &format!("SELECT {} FROM wiki", chain("added", "+", 20_000)));
    assert!(plus.to_string().contains("500 operators"), "{plus}");
    let sets = error(&f, &numbered(&|n| format!("SELECT {n}"), " UNION ", 1_000));
    assert!(sets.to_string().contains("999 deep"), "{sets}");
    // Each text is short enough; what they stand for in each other is not.
    let inner = (0..8).fold("SELECT added AS a FROM wiki".to_string(), |from, _| {
        format!("SELECT a + {} AS a FROM ({from} LIMIT 9)", chain("1", " + ", 200))
    });
    let written = error(&f, &inner);
    assert!(written.to_string().contains("levels"), "{written}");
    f.check("SELECT COUNT(*) FROM wiki", json!([[8]]));
}

/// Nothing breaks planning off, and nobody waits for it longer than the statement may take.
#[test]
fn planning_ends_for_its_asker_at_the_deadline() {
    let f = Fixture::new();
    let slow = format!("SELECT {} FROM wiki", vec!["channel"; 240].join(" || "));
    let begun = std::time::Instant::now();
    let hurried = with_context(&slow, json!({"timeout": 50}));
    let error = f.body(&f.native, &hurried, &Format::default()).unwrap_err();
    assert_eq!(error.kind(), Kind::Timeout, "{error}");
    assert!(begun.elapsed() < std::time::Duration::from_secs(2), "{:?}", begun.elapsed());
}

#[test]
fn a_pattern_that_cannot_be_compiled_is_told() {
    let f = Fixture::new();
    let large = "SELECT COUNT(*) FROM wiki WHERE REGEXP_LIKE(channel, '((a{1,1000}){1,1000}){1,1000}')";
    let error = error(&f, large);
    assert_eq!(error.kind(), Kind::Invalid, "{error}");
    assert!(!error.to_string().ends_with("cannot be scanned"), "{error}");
    assert!(error.to_string().contains("a{1,1000}") || error.to_string().contains("size"), "{error}");
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
