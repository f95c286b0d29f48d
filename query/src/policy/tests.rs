//! What cannot be meant is refused, and what can be meant holds.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value as Json, json};

use super::*;
use crate::admission::Principal;
use crate::error::{Error, Result};

fn rules(roles: Json) -> Result<Rules> {
    let roles: BTreeMap<String, Role> = serde_json::from_value(roles).expect("roles");
    Rules::new(1, roles, BTreeMap::new(), BTreeSet::new(), "key".into())
}

fn policed(filter: Json) -> Json {
    json!({"r": {
        "permissions": [{"resource": {"type": "DATASOURCE", "name": "t"}, "action": "READ"}],
        "policies": [{"name": "p", "datasource": "t", "filter": filter}],
    }})
}

fn who() -> Principal {
    let mut who = Principal::new("ann");
    who.roles.insert("r".into());
    who.attributes.insert("tenants".into(), vec!["A".into(), "B".into()]);
    who
}

#[test]
fn what_cannot_be_meant_is_refused_with_its_place() {
    let cases = [
        (json!({"a": {"includes": ["b"]}, "b": {"includes": ["a"]}}), "a circle"),
        (json!({"a": {"includes": ["a"]}}), "a circle"),
        (json!({"a": {"includes": ["gone"]}}), "roles.a.includes: there is no role [gone]"),
        (json!({"admin": {}}), "built in"),
        (policed(json!({"type": "nothing"})), "roles.r.policies[0].filter"),
        (policed(json!({"type": "like", "dimension": "u", "pattern": {"identity": "user"}})), "and nowhere else"),
        (policed(json!({"type": "regex", "dimension": "u", "pattern": {"identity": "user"}})), "and nowhere else"),
        (
            policed(json!({"type": "range", "column": "u", "matchValueType": "STRING", "lower": {"identity": "user"}})),
            "and nowhere else",
        ),
        (
            policed(
                json!({"type": "equals", "column": {"identity": "user"}, "matchValueType": "STRING", "matchValue": "x"}),
            ),
            "and nowhere else",
        ),
        (policed(json!({"type": "in", "dimension": MEMBER_COLUMN, "values": ["a", "b"]})), "by = alone"),
        (policed(json!({"type": "selector", "dimension": "u", "value": {"identity": "shoe size"}})), "identity to be"),
        (
            json!({"r": {"columns": [{"datasource": "t", "column": "__t.*", "rule": {"type": "deny"}}]}}),
            "can only be truncated",
        ),
        (
            json!({"r": {"columns": [{"datasource": "t", "column": "x", "rule": {"type": "truncateTime", "period": "day"}}]}}),
            "no ISO 8601 period",
        ),
        (
            json!({"r": {"permissions": [{"resource": {"type": "DATASOURCE", "name": "("}, "action": "READ"}]}}),
            "no regular expression",
        ),
    ];
    for (roles, says) in cases {
        let error = rules(roles.clone()).expect_err(&roles.to_string()).to_string();
        assert!(error.contains(says), "{roles}: {error}");
    }
}

#[test]
fn several_values_are_any_of_them_and_what_is_lacking_is_denied() {
    let tenants = json!({"identity": "attribute", "name": "tenants"});
    let of = |filter: Json, who: &Principal| rules(policed(filter)).expect("rules").restriction(who, "t");
    let equals = json!({"type": "equals", "column": "tenant", "matchValueType": "STRING", "matchValue": tenants});
    let Ok(Restriction::Restricted(seen)) = of(json!({"type": "not", "field": equals.clone()}), &who()) else {
        panic!("restricted")
    };
    let any = json!({"type": "in", "dimension": "tenant", "values": ["A", "B"]});
    assert_eq!(seen.filter_json, Some(json!({"type": "not", "field": any})));
    let contains = |value: Json| json!({"type": "arrayContainsElement", "column": "tags", "elementMatchValueType": "STRING", "elementMatchValue": value});
    let Ok(Restriction::Restricted(seen)) = of(contains(tenants), &who()) else { panic!("restricted") };
    let any = json!({"type": "or", "fields": [contains("A".into()), contains("B".into())]});
    assert_eq!(seen.filter_json, Some(any));
    // Acting by fewer roles takes permissions away, and no policy.
    let scoped = |scope: &[&str]| Principal { scope: Some(scope.iter().map(|s| s.to_string()).collect()), ..who() };
    assert!(matches!(of(equals.clone(), &scoped(&[])), Err(Error::Denied(_))));
    assert!(matches!(of(equals.clone(), &scoped(&["r"])), Ok(Restriction::Restricted(_))));
    let error = of(equals, &Principal { attributes: BTreeMap::new(), ..who() }).expect_err("denied").to_string();
    assert!(error.contains("the attribute [tenants]"), "{error}");
    assert!(matches!(of(json!({"type": "true"}), &Principal::new("bob")), Err(Error::Denied(_))));
    assert_eq!(of(json!({"type": "true"}), &who()).expect("seen"), Restriction::Unrestricted);
}

#[test]
fn membership_is_asked_by_equality_with_a_text_however_many_groups_the_caller_is_in() {
    let caller = |groups: &[&str]| Principal { groups: groups.iter().map(|g| g.to_string()).collect(), ..who() };
    let groups = json!({"identity": "groups"});
    for who in [caller(&["a"]), caller(&["a", "b"])] {
        for filter in [
            json!({"type": "equals", "column": MEMBER_COLUMN, "matchValueType": "STRING", "matchValue": groups}),
            json!({"type": "selector", "dimension": MEMBER_COLUMN, "value": groups}),
            json!({"type": "selector", "column": "u", "dimension": MEMBER_COLUMN, "value": groups}),
        ] {
            let error = identities::identified(&filter, &who).expect_err(&filter.to_string());
            assert!(error.contains("by = alone"), "{filter}: {error}");
        }
        let one = json!({"type": "equals", "column": MEMBER_COLUMN, "matchValueType": "STRING", "matchValue": "a"});
        assert_eq!(identities::identified(&one, &who), Ok(json!({"type": "true"})));
    }
}

#[test]
fn patterns_match_whole_names_and_the_audit_log_is_a_system_table() {
    let rules = rules(
        json!({"r": {"permissions": [{"resource": {"type": "DATASOURCE", "name": "a|b.*"}, "action": "WRITE"}]}}),
    );
    let rules = rules.expect("rules");
    let may = |kind, name, action| rules.may(&who(), kind, name, action);
    assert!(may(Kind::Datasource, "a", Action::Write) && may(Kind::Task, "bcd", Action::Read));
    assert!(!may(Kind::Datasource, "ab", Action::Write) && !may(Kind::Datasource, "a", Action::Read));
    let all = json!({"r": {"permissions": [{"resource": {"type": "DATASOURCE", "name": ".*"}, "action": "READ"}]}});
    assert!(!super::tests::rules(all).expect("rules").may(&who(), Kind::Datasource, "sys.audit", Action::Read));
    for (pattern, allowed) in [(".*", false), ("audit", true), ("audit|x", false)] {
        let tables =
            json!({"r": {"permissions": [{"resource": {"type": "SYSTEM_TABLE", "name": pattern}, "action": "READ"}]}});
        let may = super::tests::rules(tables).expect("rules").may(&who(), Kind::Datasource, "sys.audit", Action::Read);
        assert_eq!(may, allowed, "{pattern}");
    }
}

/// A name is anything that events have as one.
#[test]
fn patterns_match_names_with_line_feeds() {
    let role = json!({"r": {
        "permissions": [{"resource": {"type": "DATASOURCE", "name": "t.*"}, "action": "READ"}],
        "policies": [{"name": "p", "datasource": ".*", "filter": {"type": "selector", "dimension": "tenant", "value": "A"}}],
        "columns": [{"datasource": ".*", "column": "secret.*", "rule": {"type": "deny"}}],
    }});
    let roles: BTreeMap<String, Role> = serde_json::from_value(role).expect("roles");
    let public = TableRule { public_columns: vec!["open.*".into()], ..TableRule::default() };
    let tables = BTreeMap::from([("t\nx".to_string(), public)]);
    let rules = Rules::new(1, roles, tables, BTreeSet::new(), "key".into()).expect("rules");
    let Ok(Restriction::Restricted(seen)) = rules.restriction(&who(), "t\nx") else { panic!("restricted") };
    assert!(seen.filter.is_some());
    assert!(seen.is_denied("secret\nx") && seen.is_denied("secret\r\n") && seen.is_public("open\nx"));
    // Whole names still.
    assert!(!seen.is_denied("x\nsecret") && !rules.may(&who(), Kind::Datasource, "x\nt", Action::Read));
}

#[test]
fn a_marked_table_is_shown_without_a_policy_to_who_acts_as_an_administrator() {
    let read = json!({"r": {"permissions": [{"resource": {"type": "DATASOURCE", "name": "t"}, "action": "READ"},
        {"resource": {"type": "TASK", "name": "t"}, "action": "READ"}]}});
    let roles: BTreeMap<String, Role> = serde_json::from_value(read).expect("roles");
    let tables = BTreeMap::from([("t".to_string(), TableRule { require_policy: true, ..TableRule::default() })]);
    let rules = Rules::new(1, roles, tables, BTreeSet::new(), "key".into()).expect("rules");
    let admin = Principal { roles: BTreeSet::from([ADMIN.to_string(), "r".to_string()]), ..Principal::new("root") };
    let scoped =
        |scope: &[&str]| Principal { scope: Some(scope.iter().map(|s| s.to_string()).collect()), ..admin.clone() };
    let none = Some(json!({"type": "false"}));
    for (who, expected) in
        [(admin.clone(), None), (scoped(&[ADMIN]), None), (scoped(&["r"]), none.clone()), (scoped(&["r", ADMIN]), None)]
    {
        let seen = match rules.restriction(&who, "t").expect("may read") {
            Restriction::Unrestricted => None,
            Restriction::Restricted(seen) => seen.filter_json.clone(),
        };
        assert_eq!(seen, expected, "{:?}", who.scope);
    }
    // Nor is such a token told how the work of the table stands, which tells of its rows.
    let authorizer = crate::Authorizer::new(rules);
    assert!(authorizer.sees_work(&admin, Kind::Task, "t"));
    assert!(!authorizer.sees_work(&scoped(&["r"]), Kind::Task, "t"));
}
