//! Filters against rows worked out by hand, their JSON, and the law that all forms of a test agree.

use std::collections::HashMap;

use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::*;
use crate::expr::convert;
use crate::schema::ValueType;

fn row() -> HashMap<&'static str, Value> {
    HashMap::from([
        ("s", Value::text("hello")),
        ("n", Value::text("10")),
        ("l", Value::Long(7)),
        ("d", Value::Double(2.5)),
        ("tags", Value::List(vec![Value::text("a"), Value::text("b")])),
        ("none", Value::List(vec![])),
        ("t", Value::Long(1_467_000_000_000)),
        ("t2", Value::text("7")),
    ])
}

fn check(json: Json, expected: Option<bool>) {
    let filter = Filter::from_json(&json, "filter").unwrap_or_else(|error| panic!("{json}: {error}"));
    let row = row();
    let column = |name: &str| row.get(name).cloned().unwrap_or_default();
    assert_eq!(filter.matches(&column), expected, "{json}");
    let again = Filter::from_json(&filter.to_json(), "filter").unwrap();
    assert_eq!(again.to_json(), filter.to_json(), "{json}");
    assert_eq!(again.matches(&column), expected, "written: {}", filter.to_json());
}

#[test]
fn leaves() {
    let (yes, no, unknown) = (Some(true), Some(false), None);
    for (json, expected) in [
        (json!({"type": "selector", "dimension": "s", "value": "hello"}), yes),
        (json!({"type": "selector", "dimension": "l", "value": 7}), yes),
        (json!({"type": "selector", "dimension": "l", "value": "7.0"}), yes),
        (json!({"type": "selector", "dimension": "l", "value": "x"}), no),
        (json!({"type": "selector", "dimension": "s", "value": null}), no),
        (json!({"type": "selector", "dimension": "absent"}), yes),
        (json!({"type": "selector", "dimension": "absent", "value": "x"}), unknown),
        (json!({"type": "selector", "dimension": "tags", "value": "b"}), yes),
        (json!({"type": "selector", "dimension": "none", "value": null}), yes),
        (json!({"type": "equals", "column": "l", "matchValueType": "LONG", "matchValue": "7"}), yes),
        (json!({"type": "equals", "column": "l", "matchValueType": "DOUBLE", "matchValue": 7.5}), no),
        (json!({"type": "equals", "column": "d", "matchValueType": "double", "matchValue": 2.5}), yes),
        (json!({"type": "equals", "column": "n", "matchValueType": "LONG", "matchValue": 10}), yes),
        (json!({"type": "equals", "column": "absent", "matchValueType": "LONG", "matchValue": 10}), unknown),
        (json!({"type": "null", "column": "absent"}), yes),
        (json!({"type": "null", "column": "none"}), yes),
        (json!({"type": "null", "column": "tags"}), no),
        (json!({"type": "in", "dimension": "s", "values": ["x", "hello"]}), yes),
        (json!({"type": "in", "dimension": "absent", "values": ["x", null]}), yes),
        (json!({"type": "in", "dimension": "absent", "values": ["x"]}), unknown),
        (json!({"type": "in", "dimension": "absent", "values": []}), no),
        (json!({"type": "inType", "column": "l", "matchValueType": "LONG", "values": [1, 7]}), yes),
        (json!({"type": "inType", "column": "l", "matchValueType": "LONG", "sortedValues": [null, 1]}), no),
        (json!({"type": "range", "column": "l", "matchValueType": "LONG", "lower": 7, "lowerOpen": true}), no),
        (json!({"type": "range", "column": "l", "matchValueType": "DOUBLE", "lower": 6.5, "upper": 7.5}), yes),
        (json!({"type": "range", "column": "s", "matchValueType": "STRING", "lower": "hel", "upper": "help"}), yes),
        (json!({"type": "range", "column": "n", "matchValueType": "LONG", "lower": 9}), yes),
        (json!({"type": "range", "column": "absent", "matchValueType": "LONG", "upper": 9}), unknown),
        (json!({"type": "bound", "dimension": "n", "lower": "9", "ordering": "numeric"}), yes),
        (json!({"type": "bound", "dimension": "n", "lower": "9"}), no),
        (json!({"type": "bound", "dimension": "l", "lower": "07", "ordering": {"type": "numeric"}}), yes),
        (json!({"type": "bound", "dimension": "absent", "upper": "z"}), yes),
        (json!({"type": "bound", "dimension": "absent", "lower": "a", "upper": "z"}), unknown),
        (json!({"type": "bound", "dimension": "l", "lower": "10", "upperStrict": false}), yes),
        (json!({"type": "like", "dimension": "s", "pattern": "h_l%"}), yes),
        (json!({"type": "like", "dimension": "s", "pattern": "he\\%", "escape": "\\"}), no),
        (json!({"type": "like", "dimension": "d", "pattern": "2.%"}), yes),
        (json!({"type": "like", "dimension": "absent", "pattern": "%"}), unknown),
        (json!({"type": "regex", "dimension": "s", "pattern": "l{2}"}), yes),
        (json!({"type": "search", "dimension": "s", "query": {"type": "insensitive_contains", "value": "ELL"}}), yes),
        (
            json!({"type": "search", "dimension": "s", "query": {"type": "contains", "value": "ELL", "caseSensitive": true}}),
            no,
        ),
        (json!({"type": "search", "dimension": "s", "query": {"type": "fragment", "values": ["h", "O"]}}), yes),
        (json!({"type": "search", "dimension": "s", "query": {"type": "all"}}), yes),
        (json!({"type": "interval", "dimension": "t", "intervals": ["2015/2016", "2016-06-27/P1D"]}), yes),
        (json!({"type": "interval", "dimension": "t", "intervals": ["2015/2016"]}), no),
        (json!({"type": "columnComparison", "dimensions": ["l", "t2"]}), yes),
        (json!({"type": "columnComparison", "dimensions": ["l", {"type": "default", "dimension": "n"}]}), no),
        (
            json!({"type": "arrayContainsElement", "column": "tags", "elementMatchValueType": "STRING", "elementMatchValue": "a"}),
            yes,
        ),
        (json!({"type": "expression", "expression": "l * 2 == 14 && strlen(s) > 4"}), yes),
        (json!({"type": "expression", "expression": "absent > 1"}), unknown),
    ] {
        check(json, expected);
    }
}

#[test]
fn strict_tests_of_numbers_know_nothing_of_text_that_is_none() {
    let range = json!({"type": "range", "column": "c", "matchValueType": "LONG", "upper": 9});
    let cases = [
        (Value::text("7"), Some(true)),
        (Value::text(" 7.5 "), Some(true)),
        (Value::text("10"), Some(false)),
        (Value::text("x"), None),
        (Value::text(""), None),
        (Value::text("NaN"), None),
        (Value::text("-Infinity"), None),
        (Value::Long(7), Some(true)),
        (Value::Double(9.5), Some(false)),
        (Value::Null, None),
        (Value::List(vec![Value::text("x"), Value::text("7")]), Some(true)),
        (Value::List(vec![Value::text("x"), Value::text("10")]), None),
    ];
    for (value, expected) in cases {
        for (json, expected) in
            [(range.clone(), expected), (json!({"type": "not", "field": range}), expected.map(|found: bool| !found))]
        {
            let filter = Filter::from_json(&json, "filter").unwrap().strict();
            assert_eq!(filter.matches(&|_| value.clone()), expected, "{json} of {value:?}");
            assert_eq!(filter.to_json(), Filter::from_json(&json, "filter").unwrap().to_json());
        }
    }
    // What compares texts goes on to.
    let text = json!({"type": "range", "column": "c", "matchValueType": "STRING", "upper": "9"});
    assert_eq!(Filter::from_json(&text, "filter").unwrap().strict().matches(&|_| Value::text("x")), Some(false));
}

fn strictly(json: &serde_json::Value, value: &Value) -> Option<bool> {
    Filter::from_json(json, "filter").unwrap().strict().matches(&|_| value.clone())
}

#[test]
fn strict_tests_of_texts_take_numbers_as_they_are_written() {
    let below = json!({"type": "range", "column": "c", "matchValueType": "STRING", "upper": "3"});
    for value in [Value::Long(10), Value::text("10"), Value::Double(10.5), Value::text("10.5")] {
        assert_eq!(strictly(&below, &value), Some(true), "{value:?}");
    }
    assert_eq!(strictly(&below, &Value::Long(4)), Some(false));
    assert_eq!(strictly(&below, &Value::Null), None);
    // Who is named 007 is not whom the number 7 means, nor is 7.0.
    for (odd, number) in [("007", 7), ("+7", 7), (" 7", 7), ("7e0", 7), ("7.0", 7), ("1.0E7", 10_000_000), ("-0", 0)] {
        let equals = json!({"type": "equals", "column": "c", "matchValueType": "STRING", "matchValue": odd});
        let selector = json!({"type": "selector", "dimension": "c", "value": odd});
        let list = json!({"type": "in", "dimension": "c", "values": [odd, "8"]});
        for json in [equals, selector, list] {
            assert_eq!(strictly(&json, &Value::Long(number)), Some(false), "{json}");
            assert_eq!(strictly(&json, &Value::text(odd)), Some(true), "{json}");
            assert_eq!(strictly(&json, &Value::Null), None, "{json}");
            assert_eq!(strictly(&json!({"type": "not", "field": json}), &Value::Null), None, "{json}");
        }
    }
    let equals = |text: &str| json!({"type": "selector", "dimension": "c", "value": text});
    for (text, value, expected) in [
        ("8", Value::Long(8), Some(true)),
        ("7.5", Value::Double(7.5), Some(true)),
        // A 7 or a 7.0 may have become it.
        ("7.0", Value::Double(7.0), None),
        ("7", Value::Double(7.0), None),
        ("8", Value::Double(7.0), Some(false)),
        ("0.0", Value::Double(-0.0), Some(false)),
        ("9007199254740993", Value::Double(9_007_199_254_740_992.0), None),
    ] {
        assert_eq!(strictly(&equals(text), &value), expected, "{text} of {value:?}");
    }
    let bound = json!({"type": "bound", "dimension": "c", "ordering": "numeric", "upper": "3"});
    assert_eq!(strictly(&bound, &Value::Null), Some(true), "as Druid has it");
}

#[test]
fn what_is_settled_lets_no_value_of_another_type_through() {
    let above = json!({"type": "range", "column": "c", "matchValueType": "LONG", "lower": 3});
    let not = |field: serde_json::Value| json!({"type": "not", "field": field});
    let settled = not(json!({"type": "istrue", "field": above}));
    for bad in ["abc", "", "NaN", "1e999"] {
        assert_eq!(strictly(&settled, &Value::text(bad)), Some(false), "{bad}");
    }
    let plain = Filter::from_json(&settled, "f").unwrap();
    assert_eq!(plain.matches(&|_| Value::text("abc")), Some(true), "as Druid has it");
    for (value, expected) in
        [(Value::Null, true), (Value::Long(2), true), (Value::text("2"), true), (Value::Long(4), false)]
    {
        assert_eq!(strictly(&settled, &value), Some(expected), "{value:?}");
    }
    let several = Value::List(vec![Value::text("abc"), Value::text("1")]);
    assert_eq!(strictly(&settled, &several), Some(false));
    let either = json!({"type": "or", "fields": [settled, {"type": "selector", "dimension": "c", "value": "abc"}]});
    assert_eq!(strictly(&either, &Value::text("abc")), Some(true), "what another part shows is shown");
    let text = not(json!({"type": "istrue", "field": {"type": "selector", "dimension": "c", "value": "B"}}));
    assert_eq!(strictly(&text, &Value::Json("{}".into())), Some(false));
    assert_eq!(strictly(&text, &Value::text("A")), Some(true));
}

#[test]
fn single_is_one_value_of_a_type() {
    let single =
        |of: &str, value: Value| strictly(&json!({"type": "single", "column": "c", "matchValueType": of}), &value);
    for of in ["STRING", "LONG", "DOUBLE"] {
        for (value, expected) in [
            (Value::Null, true),
            (Value::Long(3), true),
            (Value::text("3"), true),
            (Value::List(vec![]), true),
            (Value::List(vec![Value::Long(3)]), false),
            (Value::Json("3".into()), false),
        ] {
            assert_eq!(single(of, value.clone()), Some(expected), "{of} {value:?}");
        }
    }
    for (value, long, double) in [
        ("2.5", false, true),
        ("x", false, false),
        ("NaN", false, false),
        ("1e999", false, false),
        ("", false, false),
        ("1e19", false, true),
    ] {
        assert_eq!(single("LONG", Value::text(value)), Some(long), "{value}");
        assert_eq!(single("DOUBLE", Value::text(value)), Some(double), "{value}");
    }
    assert_eq!((single("LONG", Value::Double(2.5)), single("DOUBLE", Value::Double(2.5))), (Some(false), Some(true)));
}

#[test]
fn logic_has_three_values() {
    let (t, f, u) = (
        json!({"type": "true"}),
        json!({"type": "false"}),
        json!({"type": "equals", "column": "absent", "matchValueType": "LONG", "matchValue": 1}),
    );
    for (json, expected) in [
        (json!({"type": "not", "field": u}), None),
        (json!({"type": "and", "fields": [t, u]}), None),
        (json!({"type": "and", "fields": [f, u, null]}), Some(false)),
        (json!({"type": "or", "fields": [t, u]}), Some(true)),
        (json!({"type": "or", "fields": [f, u]}), None),
        (json!({"type": "istrue", "field": u}), Some(false)),
        (json!({"type": "isfalse", "field": f}), Some(true)),
        (json!({"type": "not", "field": {"type": "istrue", "field": u}}), Some(true)),
    ] {
        check(json, expected);
    }
}

#[test]
fn strict_tests_of_arrays_go_by_what_each_value_is() {
    let holds = |of: &str, value: serde_json::Value| json!({"type": "arrayContainsElement", "column": "c", "elementMatchValueType": of, "elementMatchValue": value});
    let is = |of: &str, value: serde_json::Value| json!({"type": "equals", "column": "c", "matchValueType": of, "matchValue": value});
    let list = |values: &[Value]| Value::List(values.to_vec());
    let (text, long) = (Value::text, Value::Long);
    let cases = [
        (holds("STRING", json!("007")), long(7), Some(false)),
        (holds("STRING", json!("7")), long(7), Some(true)),
        (holds("STRING", json!("7")), Value::Double(7.0), None),
        (holds("STRING", json!("7")), Value::Double(7.5), Some(false)),
        (holds("STRING", json!("x")), text("x"), Some(true)),
        (holds("LONG", json!(7)), text("7"), Some(true)),
        (holds("LONG", json!(7)), text("x"), None),
        (holds("LONG", json!(7)), Value::Json("{}".into()), None),
        (is("ARRAY<LONG>", json!([7])), text("7"), Some(true)),
        (is("ARRAY<LONG>", json!([7])), text("x"), None),
        (is("ARRAY<STRING>", json!(["007"])), long(7), Some(false)),
        (is("ARRAY<STRING>", json!(["a", "b"])), text("a"), Some(false)),
    ];
    for (json, value, expected) in cases {
        assert_eq!(strictly(&json, &value), expected, "{json} of {value:?}");
        assert_eq!(strictly(&json!({"type": "not", "field": json}), &value), expected.map(|found| !found));
        let written = Filter::from_json(&json, "filter").unwrap();
        assert_eq!(written.clone().strict().to_json(), written.to_json());
    }
    let of_array =
        |json: &serde_json::Value, values: &[Value]| match Filter::from_json(json, "filter").unwrap().strict() {
            Filter::Column { test, .. } => test.of_array(values).unwrap(),
            other => panic!("{other:?}"),
        };
    let arrays = [
        (holds("LONG", json!(4)), vec![text("4")], Some(true)),
        (holds("LONG", json!(4)), vec![text("abc"), text("5")], None),
        (holds("LONG", json!(4)), vec![text("abc"), text("4")], Some(true)),
        (holds("LONG", json!(4)), vec![long(5), Value::Null], Some(false)),
        (holds("LONG", json!(4)), vec![], Some(false)),
        (holds("STRING", json!("007")), vec![long(7)], Some(false)),
        (holds("STRING", json!("7")), vec![long(7)], Some(true)),
        (holds("STRING", json!("a")), vec![list(&[text("a")])], None),
        (is("ARRAY<LONG>", json!([4])), vec![text("4")], Some(true)),
        (is("ARRAY<LONG>", json!([4])), vec![text("abc")], None),
        (is("ARRAY<LONG>", json!([4, 5])), vec![text("abc"), long(6)], Some(false)),
        (is("ARRAY<LONG>", json!([4])), vec![long(4), long(4)], Some(false)),
        (is("ARRAY<LONG>", json!([4, null])), vec![long(4), Value::Null], Some(true)),
        (is("ARRAY<LONG>", json!([4, null])), vec![long(4), long(5)], Some(false)),
        (is("ARRAY<STRING>", json!(["007"])), vec![long(7)], Some(false)),
    ];
    for (json, values, expected) in arrays {
        assert_eq!(of_array(&json, &values), expected, "{json} of {values:?}");
    }
    // What is made certain of the unknown shows nothing of it.
    let settled = json!({"type": "not", "field": {"type": "istrue", "field": holds("LONG", json!(7))}});
    assert_eq!(strictly(&settled, &text("x")), Some(false));
    assert_eq!(strictly(&settled, &text("8")), Some(true));
    assert_eq!(strictly(&settled, &Value::Null), Some(true));
}

#[test]
fn what_a_double_was_rounded_from_is_unknown() {
    let long = 1_700_000_000_000_000_001i64;
    let rounded = long as f64;
    let strict = |json: Json| match Filter::from_json(&json, "filter").unwrap().strict() {
        Filter::Column { test, .. } => test,
        other => panic!("{other:?}"),
    };
    let range = |lower: Json, upper: Json| {
        strict(json!({"type": "range", "column": "a", "matchValueType": "LONG", "lower": lower, "upper": upper}))
    };
    let equals = strict(json!({"type": "equals", "column": "a", "matchValueType": "LONG", "matchValue": long}));
    assert_eq!(equals.double()(Some(rounded)), None);
    assert_eq!(equals.double()(Some(rounded.next_up())), Some(false));
    assert_eq!((equals.long()(Some(long)), equals.long()(Some(long + 1))), (Some(true), Some(false)));
    assert_eq!(equals.text()(Some("1700000000000000001")), Some(true));
    assert_eq!(equals.text()(Some("1.7e18")), None);
    assert_eq!(range(json!(long), json!(null)).double()(Some(rounded)), None);
    assert_eq!(range(json!(long), json!(null)).double()(Some(rounded.next_up())), Some(true));
    assert_eq!(range(json!(null), json!(long)).double()(Some(rounded.next_down())), Some(true));
    assert_eq!(range(json!(16_777_217), json!(null)).float()(Some(16_777_216.0)), None);
    assert_eq!(range(json!(16_777_217), json!(null)).double()(Some(16_777_216.0)), Some(false));
    assert_eq!(Test::Single(ValueType::Long).double()(Some(rounded)), Some(false));
    let text = strict(json!({"type": "selector", "dimension": "a", "value": "5"}));
    assert_eq!([5.0, 5.5, 6.0, 1e16].map(|v| text.double()(Some(v))), [None, Some(false), Some(false), None]);
    // Queries go by what is there.
    let plain = Filter::from_json(&json!({"type": "selector", "dimension": "a", "value": "5.0"}), "filter").unwrap();
    assert_eq!(plain.matches(&|_| Value::Double(5.0)), Some(true));
}

#[test]
fn a_selector_of_null_is_false_of_documents() {
    let is_null = json!({"type": "selector", "dimension": "a", "value": null});
    for json in [
        is_null.clone(),
        json!({"type": "not", "field": {"type": "isfalse", "field": is_null}}),
        json!({"type": "istrue", "field": is_null}),
    ] {
        let strict = Filter::from_json(&json, "filter").unwrap().strict();
        for value in [json!({"u": "bob"}), json!([[1]])] {
            assert_eq!(strict.matches(&|_| Value::Json(value.to_string().into())), Some(false), "{json}");
        }
        assert_eq!(strict.matches(&|_| Value::Null), Some(true), "{json}");
    }
}

#[test]
fn a_rounded_float_is_no_double_that_was_written() {
    let single = |of: ValueType| Test::Single(of).float();
    let (tenth, half) = (f64::from(0.1f32), 0.5);
    assert_eq!([tenth, half].map(|v| single(ValueType::Double)(Some(v))), [Some(false), Some(true)]);
    assert_eq!([tenth, half].map(|v| single(ValueType::Float)(Some(v))), [Some(true), Some(true)]);
    assert_eq!(Test::Single(ValueType::Double).double()(Some(tenth)), Some(true));
}

#[test]
fn errors_name_the_field_and_the_fix() {
    for (json, text) in [
        (json!("x"), "filter must be an object"),
        (json!({}), "filter.type is missing"),
        (json!({"type": "selecter", "dimension": "a"}), "did you mean [selector]"),
        (json!({"type": "and", "fields": []}), "filter.fields must have at least one filter"),
        (json!({"type": "and", "fields": [{"type": "not"}]}), "filter.fields[0].field is missing"),
        (
            json!({"type": "selector", "dimension": "a", "extractionFn": {"type": "upper"}}),
            "filter.extractionFn is not supported",
        ),
        (json!({"type": "javascript", "dimension": "a"}), "[javascript] is not supported"),
        (
            json!({"type": "equals", "column": "a", "matchValueType": "LONG", "matchValue": "x"}),
            "filter.matchValue is not a LONG value",
        ),
        (
            json!({"type": "equals", "column": "a", "matchValueType": "INT", "matchValue": 1}),
            "use STRING, LONG, FLOAT or DOUBLE",
        ),
        (json!({"type": "bound", "dimension": "a"}), "filter.lower or upper must be given"),
        (json!({"type": "bound", "dimension": "a", "lower": "1", "ordering": "numerical"}), "did you mean [numeric]"),
        (json!({"type": "regex", "dimension": "a", "pattern": "("}), "filter.pattern"),
        (json!({"type": "interval", "dimension": "a", "intervals": ["x"]}), "filter.intervals"),
        (json!({"type": "expression", "expression": "1 +"}), "filter.expression"),
        (json!({"type": "in", "dimension": "a", "values": [{}]}), "filter.values[0] is not a STRING value"),
    ] {
        let error = Filter::from_json(&json, "filter").unwrap_err().to_string();
        assert!(error.contains(text), "{json}: {error}");
    }
}

#[test]
fn columns_are_named_once() {
    let filter = Filter::from_json(
        &json!({"type": "and", "fields": [{"type": "null", "column": "b"}, {"type": "expression", "expression": "a + b"}]}),
        "filter",
    );
    assert_eq!(filter.unwrap().columns(), ["b", "a"]);
}

fn any_test() -> impl Strategy<Value = Test> {
    let number =
        prop_oneof![(-20i64..20).prop_map(Value::Long), (-40i64..40).prop_map(|v| Value::Double(v as f64 / 2.0))];
    let value_type = |value: &Value| if matches!(value, Value::Long(_)) { ValueType::Long } else { ValueType::Double };
    let ordering = prop::sample::select(vec![
        Ordering::Numeric,
        Ordering::Lexicographic,
        Ordering::Strlen,
        Ordering::Alphanumeric,
    ]);
    let text = prop::option::of((-20i64..20).prop_map(|v| v.to_string()));
    prop_oneof![
        number.clone().prop_map(move |value| Test::Equals { value_type: value_type(&value), value }),
        prop::collection::vec((-20i64..20).prop_map(Value::Long), 0..12).prop_map(|values| Test::In {
            values,
            value_type: ValueType::Long,
            null: false
        }),
        (prop::option::of(number.clone()), prop::option::of(number), any::<bool>(), any::<bool>()).prop_map(
            |(lower, upper, lower_open, upper_open)| {
                Test::Range { lower, upper, lower_open, upper_open, value_type: ValueType::Double }
            }
        ),
        (text.clone(), text.clone(), any::<bool>(), any::<bool>(), ordering).prop_map(
            |(lower, upper, lower_strict, upper_strict, ordering)| {
                Test::Bound { lower, upper, lower_strict, upper_strict, ordering }
            }
        ),
        text.prop_map(|value| Test::Selector { value }),
        Just(Test::Like(Like { pattern: "1%".into(), escape: None })),
        Just(Test::Null),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn the_long_form_agrees_with_the_text_form(test in any_test(), v in prop::option::of(-25i64..25)) {
        // The text of an equal double (`7.0`) differs from that of the long.
        if matches!(&test, Test::Equals { value: Value::Double(_), .. }) {
            return Ok(());
        }
        let text = v.map(|v| v.to_string());
        prop_assert_eq!(test.long()(v), test.text()(text.as_deref()), "{:?}", test);
        if let (Some((low, high)), Some(v)) = (test.long_range(), v) {
            prop_assert_eq!(test.long()(Some(v)), Some(low <= v && v <= high));
        }
    }

    #[test]
    fn the_double_form_agrees_with_the_long_form(test in any_test(), v in -25i64..25) {
        let by_text = matches!(&test, Test::Bound { ordering, .. } if *ordering != Ordering::Numeric) || matches!(&test, Test::Like(_));
        if by_text {
            return Ok(());
        }
        prop_assert_eq!(test.double()(Some(v as f64)), test.long()(Some(v)), "{:?}", test);
        prop_assert_eq!(test.float()(Some(v as f64)), test.long()(Some(v)), "{:?}", test);
        if let Some((low, high, low_open, high_open)) = test.double_range() {
            let v = v as f64;
            let above = if low_open { v > low } else { v >= low };
            let below = if high_open { v < high } else { v <= high };
            prop_assert_eq!(test.double()(Some(v)), Some(above && below));
        }
    }

    #[test]
    fn long_limits_agree_with_exact_arithmetic(v: i64, bound in prop_oneof![Just(i64::MAX as f64), Just(i64::MIN as f64), Just(f64::NAN), Just(f64::INFINITY), any::<f64>(), (-1e19..1e19f64)], open: bool) {
        let test = Test::Range { lower: Some(Value::Double(bound)), upper: None, lower_open: open, upper_open: false, value_type: ValueType::Double };
        let exact = v as i128;
        let expected = if bound.is_nan() || bound >= 1e30 { false }
            else if bound <= -1e30 { true }
            else {
                let (floor, whole) = (bound.floor() as i128, bound.floor() == bound);
                if whole && !open { exact >= floor } else { exact > floor }
            };
        prop_assert_eq!(test.long()(Some(v)), Some(expected));
    }
}

#[test]
fn floats_are_compared_as_floats() {
    let stored = f64::from(0.1f32);
    let equals = Test::Equals { value: Value::Double(0.1), value_type: ValueType::Double };
    assert_eq!(equals.float()(Some(stored)), Some(true));
    assert_eq!(equals.double()(Some(stored)), Some(false));
    assert_eq!(Test::Like(Like { pattern: "0.1".into(), escape: None }).float()(Some(stored)), Some(true));
    assert_eq!(convert::text_of_float(stored), "0.1");
}
