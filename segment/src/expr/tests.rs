//! Expressions against values worked out by hand; the laws: text round-trips, blocks agree with rows, nothing panics.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

fn row() -> HashMap<&'static str, Value> {
    HashMap::from([
        ("l", Value::Long(7)),
        ("m", Value::Long(-3)),
        ("d", Value::Double(2.5)),
        ("s", Value::text("Hello")),
        ("n", Value::text("12")),
        ("t", Value::Long(1_467_036_479_123)),
        ("tags", Value::List(vec![Value::text("b"), Value::text("a"), Value::text("c")])),
        ("odd name", Value::Long(1)),
        ("j", Value::text(r#"{"a":{"b":[1,2.5,"x"]},"c":null}"#)),
    ])
}

/// How the result prints.
fn eval(text: &str) -> String {
    let expr = Expr::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    let row = row();
    let value = expr.value(&|name| row.get(name).cloned().unwrap_or_default());
    let printed = show(&value);
    let canonical = expr.canonical();
    let again = Expr::parse(&canonical).unwrap_or_else(|error| panic!("{text} printed as {canonical}: {error}"));
    assert_eq!(again, expr, "{text} printed as {canonical}");
    printed
}

fn show(value: &Value) -> String {
    match value {
        Value::Null => "null".into(),
        Value::Text(text) => format!("'{text}'"),
        Value::List(values) => format!("[{}]", values.iter().map(show).collect::<Vec<_>>().join(",")),
        other => convert::to_text(other).unwrap().to_string(),
    }
}

fn check(cases: &[(&str, &str)]) {
    for (text, expected) in cases {
        assert_eq!(eval(text), *expected, "{text}");
    }
}

#[test]
fn operators() {
    check(&[
        ("1 + 2 * 3", "7"),
        ("(1 + 2) * 3", "9"),
        ("2 ^ 3 ^ 2", "512"),
        ("-2 ^ 2", "4"),
        ("10 - 4 - 3", "3"),
        ("7 / 2", "3"),
        ("7 / 2.0", "3.5"),
        ("-7 % 3", "-1"),
        ("l / 0", "null"),
        ("d / 0", "Infinity"),
        ("9223372036854775807 + 1", "-9223372036854775808"),
        ("-9223372036854775808", "-9223372036854775808"),
        ("s + n", "'Hello12'"),
        ("l + n", "19.0"),
        ("l + s", "null"),
        ("l + null", "null"),
        ("l > 5", "1"),
        ("s < 'a'", "1"),
        ("n == 12", "1"),
        ("null == null", "null"),
        ("!(l > 5)", "0"),
        ("!missing", "null"),
        ("1 || null", "1"),
        ("0 && null", "0"),
        ("1 && null", "null"),
        ("0 || null", "null"),
        ("'true' && 'x'", "0"),
        ("1 || 1 && 0", "0"),
        ("-d", "-2.5"),
        ("--l", "7"),
        ("\"odd name\" + 1", "2"),
        ("1.5e3", "1500.0"),
        (".5 + 1.", "1.5"),
        ("'it\\'s \\u0041'", "'it's A'"),
        ("[1, 2.5, -3]", "[1,2.5,-3]"),
        ("<STRING>[1, 2]", "['1','2']"),
        ("ARRAY<LONG>['1', 'x']", "[1,null]"),
        ("tags == ['b', 'a', 'c']", "1"),
        ("tags + '!'", "['b!','a!','c!']"),
    ]);
}

#[test]
fn conditionals_and_casts() {
    check(&[
        ("if(l > 5, 'big', 'small')", "'big'"),
        ("if(missing, 1, 2)", "2"),
        ("nvl(missing, 3)", "3"),
        ("coalesce(missing, null, s)", "'Hello'"),
        ("case_searched(l < 5, 'a', l < 10, 'b', 'c')", "'b'"),
        ("case_searched(l < 5, 'a', l < 6, 'b')", "null"),
        ("case_simple(s, 'x', 1, 'Hello', 2, 3)", "2"),
        ("case_simple(l, 1, 'one')", "null"),
        ("isnull(missing) + notnull(l)", "2"),
        ("nottrue(null)", "1"),
        ("isdistinctfrom(null, 1)", "1"),
        ("notdistinctfrom(null, null)", "1"),
        ("cast(d, 'LONG')", "2"),
        ("cast(l, 'DOUBLE')", "7.0"),
        ("cast(12345678.0, 'string')", "'1.2345678E7'"),
        ("cast(n, 'LONG') + 1", "13"),
        ("cast(s, 'LONG')", "null"),
        ("cast(s, 'ARRAY<STRING>')", "['Hello']"),
        ("greatest(1, null, 2.5)", "2.5"),
        ("least('b', 'a')", "'a'"),
        ("greatest()", "null"),
    ]);
}

#[test]
fn numbers() {
    check(&[
        ("abs(m)", "3"),
        ("floor(d)", "2.0"),
        ("ceil(d)", "3.0"),
        ("round(d)", "3.0"),
        ("round(l, -1)", "10"),
        ("div(7, 2)", "3"),
        ("div(7.5, 2)", "3"),
        ("safe_divide(1, 0)", "null"),
        ("max(l, d)", "7.0"),
        ("min(l, 3)", "3"),
        ("pow(2, 10)", "1024.0"),
        ("sqrt(l + 2)", "3.0"),
        ("rint(2.5)", "2.0"),
        ("signum(m)", "-1.0"),
        ("bitwiseAnd(l, 3)", "3"),
        ("bitwiseShiftLeft(1, 10)", "1024"),
        ("bitwiseComplement(0)", "-1"),
        ("bitwiseConvertDoubleToLongBits(1.0)", "4607182418800017408"),
        ("hypot(3, 4)", "5.0"),
        ("pi() > 3", "1"),
        ("floor(s)", "null"),
    ]);
}

#[test]
fn text() {
    check(&[
        ("concat(s, '-', l)", "'Hello-7'"),
        ("concat(s, missing)", "null"),
        ("format('%5d|%-4s|%.2f|%05d', l, s, d, m)", "'    7|Hello|2.50|-0003'"),
        ("format('%,d %2$s', 1234567, 'x')", "'1,234,567 x'"),
        ("strlen('aé😀')", "4"),
        ("strlen(missing)", "null"),
        ("substring(s, 1, 3)", "'ell'"),
        ("substring(s, 1)", "'ello'"),
        ("substring(s, 9)", "null"),
        ("substring(s, 5)", "null"),
        ("substring('', 0)", "null"),
        ("left(s, 2) + right(s, 2)", "'Helo'"),
        ("strpos(s, 'l')", "2"),
        ("strpos(s, 'l', 3)", "3"),
        ("strpos(s, 'x')", "-1"),
        ("replace(s, 'l', 'L')", "'HeLLo'"),
        ("trim('  x ')", "'x'"),
        ("ltrim('xxa', 'x')", "'a'"),
        ("upper(s)", "'HELLO'"),
        ("upper(tags)", "['B','A','C']"),
        ("reverse(s)", "'olleH'"),
        ("repeat('ab', 2)", "'abab'"),
        ("lpad(s, 7, '*')", "'**Hello'"),
        ("rpad(s, 3, '*')", "'Hel'"),
        ("contains_string(s, 'ell')", "1"),
        ("icontains_string(s, 'ELL')", "1"),
        ("parse_long('ff', 16)", "255"),
        ("like(s, 'H%o')", "1"),
        ("like(s, 'h%')", "0"),
        ("regexp_extract(s, '(l+)(o)', 2)", "'o'"),
        ("regexp_extract(s, 'x')", "null"),
        ("regexp_like(s, '^H')", "1"),
        ("regexp_replace(s, '(l)', '<$1>')", "'He<l><l>o'"),
        ("decode_base64_utf8('aGk=')", "'hi'"),
        ("human_readable_binary_byte_format(1500)", "'1.46 KiB'"),
    ]);
}

#[test]
fn times() {
    check(&[
        ("timestamp_format(t)", "'2016-06-27T14:07:59.123Z'"),
        ("timestamp_format(timestamp_floor(t, 'PT15M'))", "'2016-06-27T14:00:00.000Z'"),
        ("timestamp_format(timestamp_floor(t, 'P1D', null, 'America/Los_Angeles'))", "'2016-06-27T07:00:00.000Z'"),
        ("timestamp_format(timestamp_ceil(t, 'P1M'), 'yyyy-MM-dd')", "'2016-07-01'"),
        ("timestamp_format(timestamp_shift(t, 'P1M', -2), 'yyyy-MM-dd HH')", "'2016-04-27 14'"),
        ("timestamp_extract(t, 'HOUR', 'Asia/Kolkata')", "19"),
        ("timestamp_extract(t, 'DOW')", "1"),
        ("timestamp_extract(t, 'QUARTER')", "2"),
        ("timestamp_parse('2016-06-27 14:07')", "1467036420000"),
        ("timestamp_parse('27/06/2016', 'dd/MM/yyyy', '+02:00')", "1466978400000"),
        ("timestamp_parse('x')", "null"),
        ("timestamp('2016')", "1451606400000"),
        ("unix_timestamp('2016')", "1451606400"),
        ("timestamp_floor('2016-06-27T14', 'P1D')", "1466985600000"),
        ("timestamp_floor(missing, 'P1D')", "null"),
    ]);
}

#[test]
fn arrays_json_and_addresses() {
    check(&[
        ("array(1, 'a')", "[1,'a']"),
        ("array_length(tags)", "3"),
        ("array_offset(tags, 0)", "'b'"),
        ("array_ordinal(tags, 3)", "'c'"),
        ("array_offset(tags, 9)", "null"),
        ("array_contains(tags, 'a')", "1"),
        ("array_contains(tags, ['a', 'x'])", "0"),
        ("array_overlap(tags, ['x', 'a'])", "1"),
        ("scalar_in_array(l, [1, 7])", "1"),
        ("array_offset_of(tags, 'c')", "2"),
        ("array_prepend(0, [1])", "[0,1]"),
        ("array_concat([1], 2)", "[1,2]"),
        ("array_set_add_all(tags, ['a', 'd'])", "['a','b','c','d']"),
        ("array_slice(tags, 1, 3)", "['a','c']"),
        ("array_to_string(tags, ',')", "'b,a,c'"),
        ("string_to_array('a,b', ',')", "['a','b']"),
        ("string_to_array('a1b22c', '[0-9]+')", "['a','b','c']"),
        ("concat(tags, '!')", "['b!','a!','c!']"),
        ("concat(tags, '-', tags)", "['b-b','a-a','c-c']"),
        ("array_length(concat(tags, array('x', 'y')))", "6"),
        ("safe_divide(0, 0)", "null"),
        ("safe_divide(0.0, 0)", "0.0"),
        ("map((x) -> concat(x, s), tags)", "['bHello','aHello','cHello']"),
        ("map(x -> x * l, [1, 2])", "[7,14]"),
        ("filter((x) -> x > 'a', tags)", "['b','c']"),
        ("fold((x, acc) -> acc + x, [1, 2, 3], 10)", "16"),
        ("any((x) -> x == 'c', tags)", "1"),
        ("all((x) -> x == 'c', tags)", "0"),
        ("cartesian_map((x, y) -> x + y, [1, 2], [10, 20])", "[11,21,12,22]"),
        ("cartesian_fold((x, y, acc) -> x * y + acc, [1, 2], [10, 20], 0)", "90"),
        ("cartesian_fold((x, y, acc) -> concat(acc, x, y), ['a', 'b'], ['c', 'd'], '')", "'acadbcbd'"),
        ("cartesian_fold((x, acc) -> nvl(acc, 0) + x, [1, 2], null)", "3"),
        ("cartesian_fold((x, y, acc) -> acc + 1, [1, 2], array(), 7)", "[]"),
        ("cartesian_fold((x, y, acc) -> acc + 1, [1, 2], nothing, 7)", "null"),
        ("fold((x, acc) -> nvl(acc, 0) + x, [1, 2], null)", "3"),
        ("map((l) -> l + 1, [1])", "[2]"),
        ("json_value(parse_json(j), '$.a.b[1]', 'DOUBLE')", "2.5"),
        ("json_value(parse_json(j), '$.a.b[0]')", "'1'"),
        ("json_value(parse_json(j), '$.c')", "null"),
        ("to_json_string(json_query(parse_json(j), '$.a'))", "'{\"b\":[1,2.5,\"x\"]}'"),
        ("json_keys(parse_json(j), '$')", "['a','c']"),
        ("to_json_string(json_object('x', l))", "'{\"x\":7}'"),
        ("json_value(j, '$.c')", "null"),
        ("json_value(parse_json(j), '$.a.b', 'ARRAY<STRING>')", "['1','2.5','x']"),
        ("json_value(parse_json(j), '$.a.b')", "null"),
        (
            "to_json_string(json_merge(json_object('x', json_object('y', 1)), '{\"x\":{\"z\":[]}}'))",
            "'{\"x\":{\"y\":1,\"z\":[]}}'",
        ),
        ("json_paths(parse_json(j))", "['$.a.b','$.c']"),
        ("array_length(json_query_array(parse_json(j), '$.a.b'))", "3"),
        ("[1, 2] < [1, 2, 0]", "1"),
        ("[1, null] > [1, 0]", "0"),
        ("cast([1, '2'], 'ARRAY<DOUBLE>')", "[1.0,2.0]"),
        ("ipv4_match('192.168.1.7', '192.168.0.0/16')", "1"),
        ("ipv4_parse('0.0.1.0')", "256"),
        ("ipv4_stringify(256)", "'0.0.1.0'"),
        ("ipv6_match('2001:db8::1', '2001:db8::/32')", "1"),
    ]);
}

#[test]
fn errors_say_where_and_what() {
    for (text, wanted) in [
        ("", "at position 0: expected a value, found the end"),
        ("1 +", "at position 3: expected a value, found the end"),
        ("1 + * 2", "at position 4: expected a value, found [*]"),
        ("(1", "expected [)], found the end"),
        ("a = 1", "expected an operator or the end, found [=] (equality is [==])"),
        ("flor(x)", "unknown function [flor], did you mean [floor]"),
        ("now()", "the function [now] is not supported"),
        ("lookup(x, 'y')", "lookup [y] is not found"),
        ("lookup(x, y)", "the name of the lookup must be a literal"),
        ("floor(1, 2)", "floor takes 1 arguments, not 2"),
        ("concat('a", "the ' that opens here is not closed"),
        ("a # b", "at position 2: [#] has no meaning here"),
        ("99999999999999999999", "[99999999999999999999] is not a long"),
        ("cast(x, 'INT')", "cast: unknown type [INT]"),
        ("regexp_like(x, y)", "the pattern must be a literal"),
        ("regexp_like(x, '(')", "is not valid"),
        ("timestamp_floor(t, 'x')", "is not an ISO 8601 period"),
        ("timestamp_extract(t, 'YEER')", "unknown unit [YEER]"),
        ("map(x, y)", "expected [->]"),
    ] {
        let error = Expr::parse(text).unwrap_err().to_string();
        assert!(error.contains(wanted), "{text}: {error}");
    }
    let deep = format!("{}1{}", "(".repeat(5000), ")".repeat(5000));
    assert!(Expr::parse(&deep).unwrap_err().to_string().contains("nested more than"));
    let long = vec!["1"; 5000].join("+");
    assert!(Expr::parse(&long).unwrap_err().to_string().contains("nested more than"));
    assert!(Expr::parse(&"-".repeat(5000)).is_err());
    assert!(Expr::parse(&format!("{}x", "!".repeat(5000))).is_err());
}

#[test]
fn values_have_a_size() {
    let forty = vec!["1"; 40].join(", ");
    let many = vec!["1"; 10_000].join(", ");
    for text in [
        format!("fold((x, acc) -> concat(acc, acc), [{forty}], 'aaaaaaaaaa')"),
        format!("fold((x, acc) -> acc + acc, [{forty}], 'aaaaaaaaaa')"),
        format!("fold((x, acc) -> format('%s%s', acc, acc), [{forty}], 'aaaaaaaaaa')"),
        format!("fold((x, acc) -> array_concat(acc, acc), [{forty}], [1])"),
        format!("fold((x, acc) -> array(acc, acc), [{forty}], [1])"),
        format!("fold((x, acc) -> array_to_string(array(acc, acc), ','), [{forty}], 'a')"),
        format!("fold((x, acc) -> json_object('a', acc, 'b', acc), [{forty}], 'a')"),
        format!("fold((x, acc) -> map((y) -> acc, [1, 2]), [{forty}], 'a')"),
        format!("cartesian_fold((x, y, acc) -> array_concat(acc, acc), [{many}], [1, 2, 3, 4, 5, 6], [1])"),
        format!("map((x) -> repeat('a', 1000000), [{many}])"),
        format!("repeat([{many}], 1000000)"),
        format!("concat([{many}], repeat('a', 1000000))"),
        format!("[{many}] * [{many}]"),
        format!("map((x) -> fold((y, acc) -> acc + y, [{many}], 0), [{many}])"),
        "string_to_array(concat(repeat('a', 1000000), repeat('a', 1000000)), '')".into(),
        "regexp_replace(repeat('a', 1000000), 'a', concat('$0$0$0$0', ''))"
            .replace("concat('$0$0$0$0', '')", &format!("'{}'", "$0".repeat(200))),
    ] {
        let (expr, started) = (Expr::parse(&text).unwrap(), std::time::Instant::now());
        let value = expr.value(&|_| Value::Null);
        // Some functions make something of null, and begin anew.
        assert!(bounds::outside(&value) <= bounds::VALUE_MAX, "{}", &text[..60]);
        assert!(started.elapsed().as_secs() < 20, "{:?}: {}", started.elapsed(), &text[..60]);
    }
    // What is large and not too large stays.
    check(&[
        ("strlen(fold((x, acc) -> concat(acc, acc), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10], 'abcd'))", "4096"),
        ("strlen(concat(repeat('a', 1000000), repeat('b', 1000000)))", "2000000"),
    ]);
    let text = format!("fold((x, acc) -> acc + x, [{many}], 0)");
    assert_eq!(Expr::parse(&text).unwrap().value(&|_| Value::Null), Value::Long(10_000));
}

/// Rows that all have the same text.
struct Same(usize);

impl Inputs for Same {
    fn column(&self, _: &str) -> Option<Block> {
        Some(Block::Text { values: vec![Some(Arc::from("ab")); self.0] })
    }
    fn len(&self) -> usize {
        self.0
    }
}

#[test]
fn blocks_have_a_size() {
    for text in [
        "repeat(s, 500000)",
        "fold((x, acc) -> concat(acc, acc), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20], s)",
        "string_to_array(repeat('ab', 50000), '')",
        "if(s == 'ab', string_to_array(repeat('ab', 50000), ''), null)",
    ] {
        let expr = Expr::parse(text).unwrap();
        assert!(!expr.block(&Same(1)).unwrap().value(0).is_null(), "{text}");
        let error = expr.block(&Same(4096)).unwrap_err().to_string();
        assert!(error.contains("too much of 4096 rows"), "{text}: {error}");
    }
    let block = Expr::parse("repeat(s, 10000)").unwrap().block(&Same(4096)).unwrap();
    assert_eq!(block.value(4095), Value::text(&"ab".repeat(10_000)));
    assert_eq!(Expr::parse("repeat(s, 10)").unwrap().unlimited_block(&Same(2)).value(1), Value::text(&"ab".repeat(10)));
}

#[test]
fn types() {
    let column = |name: &str| match name {
        "l" => Some(ValueType::Long),
        "f" => Some(ValueType::Float),
        "s" => Some(ValueType::String),
        _ => None,
    };
    for (text, expected) in [
        ("l + 1", Some(ValueType::Long)),
        ("l + 1.0", Some(ValueType::Double)),
        ("f", Some(ValueType::Double)),
        ("s + s", Some(ValueType::String)),
        ("s + l", Some(ValueType::Double)),
        ("l > f", Some(ValueType::Long)),
        ("if(l > 1, 1, 2.5)", Some(ValueType::Double)),
        ("case_searched(l > 1, 's', 't')", Some(ValueType::String)),
        ("case_simple(s, 'a', 1, 2)", Some(ValueType::Long)),
        ("cast(s, 'FLOAT')", Some(ValueType::Double)),
        ("nvl(absent, l)", Some(ValueType::Long)),
        ("absent", None),
        ("absent + l", Some(ValueType::Long)),
        ("strlen(s)", Some(ValueType::Long)),
        ("timestamp_floor(l, 'P1D')", Some(ValueType::Long)),
    ] {
        assert_eq!(Expr::parse(text).unwrap().value_type(&column), expected, "{text}");
    }
}

#[test]
fn columns_but_not_the_names_of_lambdas() {
    let expr = Expr::parse("map((x) -> x + a, b) + array_length(filter((y) -> y > x, a))").unwrap();
    assert_eq!(expr.columns(), ["a", "b", "x"]);
}

#[derive(Debug)]
struct Table {
    columns: Vec<(&'static str, Block)>,
    rows: usize,
}

impl Inputs for Table {
    fn column(&self, name: &str) -> Option<Block> {
        self.columns.iter().find(|(known, _)| *known == name).map(|(_, block)| block.clone())
    }

    fn len(&self) -> usize {
        self.rows
    }
}

fn any_table() -> impl Strategy<Value = Table> {
    (1usize..12).prop_flat_map(|rows| {
        let nulls = || prop::option::of(prop::collection::vec(any::<bool>(), rows));
        let long = prop_oneof![-4i64..5, Just(i64::MAX), Just(i64::MIN)];
        let double = prop_oneof![(-8i32..8).prop_map(|v| f64::from(v) / 2.0), Just(1e300), Just(f64::INFINITY)];
        let text = prop::option::of(prop::sample::select(vec!["", "a", "ab", "3", "2.5", "true", "é"]));
        let list = prop_oneof![
            2 => prop::sample::select(vec!["a", "3"]).prop_map(Value::text),
            1 => Just(Value::Null),
            1 => prop::collection::vec(prop::sample::select(vec!["a", "b", "1"]).prop_map(Value::text), 0..3).prop_map(Value::List),
        ];
        (
            (prop::collection::vec(long, rows), nulls()),
            (prop::collection::vec(double, rows), nulls()),
            prop::collection::vec(text, rows),
            prop::collection::vec(list, rows),
        )
            .prop_map(move |((longs, n), (doubles, m), texts, lists)| Table {
                columns: vec![
                    ("l", Block::Long { values: longs, nulls: n }),
                    ("d", Block::Double { values: doubles, nulls: m }),
                    ("s", Block::Text { values: texts.into_iter().map(|t| t.map(Arc::from)).collect() }),
                    ("v", Block::Any { values: lists }),
                ],
                rows,
            })
    })
}

fn any_expression() -> impl Strategy<Value = String> {
    let leaf =
        prop::sample::select(vec!["l", "d", "s", "v", "absent", "1", "0", "-3", "2.5", "'a'", "'3'", "null", "[1, 2]"])
            .prop_map(str::to_string);
    leaf.prop_recursive(4, 24, 3, |inner| {
        let op = prop::sample::select(vec!["+", "-", "*", "/", "%", "^", "<", "<=", ">", ">=", "==", "!=", "&&", "||"]);
        let one = prop::sample::select(vec![
            "abs", "floor", "sqrt", "strlen", "upper", "isnull", "notnull", "istrue", "nottrue", "array_length", "round", "reverse",
        ]);
        let two = prop::sample::select(vec!["nvl", "max", "div", "concat", "pow", "array_concat", "isdistinctfrom", "bitwiseAnd", "strpos"]);
        prop_oneof![
            4 => (inner.clone(), op, inner.clone()).prop_map(|(a, op, b)| format!("({a} {op} {b})")),
            1 => inner.clone().prop_map(|a| format!("!{a}")),
            1 => inner.clone().prop_map(|a| format!("-({a})")),
            2 => (one, inner.clone()).prop_map(|(f, a)| format!("{f}({a})")),
            2 => (two, inner.clone(), inner.clone()).prop_map(|(f, a, b)| format!("{f}({a}, {b})")),
            2 => (inner.clone(), inner.clone(), inner.clone()).prop_map(|(a, b, c)| format!("if({a}, {b}, {c})")),
            1 => (inner.clone(), inner.clone(), inner.clone()).prop_map(|(a, b, c)| format!("case_searched({a}, {b}, {c})")),
            1 => (inner.clone(), prop::sample::select(vec!["LONG", "DOUBLE", "STRING"])).prop_map(|(a, t)| format!("cast({a}, '{t}')")),
            1 => (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("map((x) -> x + {a}, {b})")),
            1 => inner.clone().prop_map(|a| format!("timestamp_floor({a}, 'PT1S')")),
            1 => inner.prop_map(|a| format!("timestamp_extract({a}, 'SECOND')")),
        ]
    })
}

/// Equal, where a double may stand for a long (blocks have one type) and NaN equals NaN.
fn agree(block: &Value, row: &Value) -> bool {
    match (block, row) {
        (Value::Double(a), Value::Long(b)) => *a == *b as f64,
        (Value::Double(a), Value::Double(b)) => a == b || (a.is_nan() && b.is_nan()),
        (Value::List(a), Value::List(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| agree(a, b)),
        (a, b) => a == b,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn blocks_agree_with_rows(text in any_expression(), table in any_table()) {
        let expr = Expr::parse(&text).unwrap();
        let block = expr.block(&table).unwrap();
        prop_assert_eq!(block.len(), table.rows);
        for row in 0..table.rows {
            let column = |name: &str| table.column(name).map_or(Value::Null, |block| block.value(row));
            let (block, row) = (block.value(row), expr.value(&column));
            prop_assert!(agree(&block, &row), "{}: block {:?}, row {:?}", text, block, row);
        }
    }

    #[test]
    fn text_round_trips(text in any_expression()) {
        let expr = Expr::parse(&text).unwrap();
        prop_assert_eq!(&Expr::parse(&expr.canonical()).unwrap(), &expr, "{}", expr.canonical());
        prop_assert_eq!(expr.to_string(), text);
    }

    #[test]
    fn the_type_is_as_foretold(text in any_expression(), table in any_table()) {
        let expr = Expr::parse(&text).unwrap();
        let types = |name: &str| match name {
            "l" => Some(ValueType::Long),
            "d" => Some(ValueType::Double),
            "s" | "v" => Some(ValueType::String),
            _ => None,
        };
        let all_null = |block: &Block| (0..block.len()).all(|row| block.value(row).is_null());
        match (expr.value_type(&types), expr.block(&table).unwrap()) {
            (_, block) if all_null(&block) => {}
            (Some(ValueType::Long), block) => prop_assert!(!matches!(block, Block::Text { .. } | Block::Double { .. }), "{}", expr),
            (Some(ValueType::Double), block) => prop_assert!(!matches!(block, Block::Text { .. }), "{}", expr),
            _ => {}
        }
    }

    #[test]
    fn no_text_panics(tokens in prop::collection::vec(prop::sample::select(vec![
        "1", "2.5", "'a'", "x", "\"y z\"", "+", "-", "*", "/", "^", "%", "(", ")", "[", "]", "<", ">", "==", "!=", "!", "&&", "||",
        ",", "->", "if", "cast", "map", "'LONG'", "null", "timestamp_floor", "'P1D'", "1e999", "ARRAY", "LONG", "\\", "'", "é", ".",
    ]), 0..24), noise in ".{0,12}") {
        let text = tokens.join(" ");
        for text in [text.clone(), tokens.concat(), format!("{text}{noise}")] {
            if let Ok(expr) = Expr::parse(&text) {
                let _ = expr.value(&|_| Value::Long(1));
                prop_assert!(Expr::parse(&expr.canonical()).is_ok(), "{}", expr.canonical());
            }
        }
    }
}
