//! How a policy names the caller: identities in place of values, and what they become for one principal.

use std::collections::BTreeSet;

use segment::filter::{Filter, Test};
use segment::schema::ValueType;
use serde_json::{Value as Json, json};

use crate::admission::Principal;
use crate::error::{Error, Result};

/// Values that a policy may put in place of an identity.
const IDENTITY_VALUES_MAX: usize = 10_000;

/// Filters in which an identity may stand, and where: anywhere else (in patterns, expressions, names of columns) a value of
/// it could mean more than itself.
const COMPARES: [(&str, &str); 5] = [
    ("equals", "matchValue"),
    ("selector", "value"),
    ("in", "values"),
    ("inType", "values"),
    ("arrayContainsElement", "elementMatchValue"),
];

/// The column whose equality with a text asks whether the caller is in that group, in filters made from SQL.
pub const MEMBER_COLUMN: &str = "\u{2}member";

/// Tries a filter with made-up identities.
pub(super) fn check_filter(filter: &Json, path: &str) -> Result<()> {
    let mut who = Principal::new("someone");
    who.groups = BTreeSet::from(["group".to_string()]);
    names(filter, &mut |name| {
        who.attributes.insert(name.to_string(), vec!["value".to_string()]);
    });
    let one = identified(filter, &who).map_err(|what| Error::Invalid(format!("{path}: {what}")))?;
    match unsteady(&Filter::from_json(&one, path)?) {
        Some(what) => Err(Error::Invalid(format!("{path}: {what}"))),
        None => Ok(()),
    }
}

/// Why a filter would come to mean something else should a column come to have another type, if it would.
fn unsteady(filter: &Filter) -> Option<&'static str> {
    match filter {
        Filter::And(fields) | Filter::Or(fields) => fields.iter().find_map(unsteady),
        Filter::Not(field) | Filter::IsTrue(field) | Filter::IsFalse(field) => unsteady(field),
        Filter::Equal { .. } => Some(
            "columnComparison compares as texts, in which 7 and 7.0 differ, and large numbers are the same once a fraction has made \
             their columns doubles; write a = b in SQL, or an expression filter that casts both columns with single beside it",
        ),
        Filter::Column { test: Test::Range { value_type, .. } | Test::In { value_type, .. }, .. }
            if matches!(value_type, ValueType::Array(_)) =>
        {
            Some("range and inType compare no arrays; use equals or arrayContainsElement")
        }
        Filter::True | Filter::False | Filter::Column { .. } | Filter::Expression(_) => None,
    }
}

/// Calls for the name of each attribute that a filter names.
fn names(json: &Json, each: &mut dyn FnMut(&str)) {
    match json {
        Json::Object(object) => {
            if object.get("identity").is_some()
                && let Some(name) = object.get("name").and_then(Json::as_str)
            {
                each(name);
            }
            object.values().for_each(|value| names(value, each));
        }
        Json::Array(items) => items.iter().for_each(|item| names(item, each)),
        _ => {}
    }
}

/// A filter with the principal's values in place of identities; else what the principal lacks.
pub(super) fn identified(json: &Json, who: &Principal) -> std::result::Result<Json, String> {
    match json {
        Json::Object(object) => {
            if object.contains_key("identity") {
                return match values_of(json, who)?.as_slice() {
                    [one] => Ok(one.clone().into()),
                    _ => Err("one value where the policy compares with one (let it use = or IN)".to_string()),
                };
            }
            if let Some(group) = member(json) {
                let kind = if who.groups.contains(group) { "true" } else { "false" };
                return Ok(json!({"type": kind}));
            }
            // Before equalities become lists, which would be looked for in a column that no table has.
            let names_member = |field: &str| object.get(field).and_then(Json::as_str).is_some_and(is_reserved);
            if names_member("column") || names_member("dimension") {
                return Err("membership in a group to be asked by = alone".to_string());
            }
            if let Some(several) = equality(json, who)? {
                return Ok(several);
            }
            let kind = object.get("type").and_then(Json::as_str).unwrap_or_default();
            let place = COMPARES.iter().find(|(of, _)| *of == kind).map(|(_, field)| *field);
            if object.iter().any(|(field, value)| names_identity(value) && Some(field.as_str()) != place) {
                let places: Vec<String> = COMPARES.iter().map(|(of, field)| format!("{field} of {of}")).collect();
                return Err(format!("identities to stand as {}, and nowhere else", places.join(", ")));
            }
            let typed = ["matchValueType", "elementMatchValueType"];
            let is_text = |field: &&str| {
                object.get(*field).is_none_or(|of| of.as_str().is_some_and(|of| of.eq_ignore_ascii_case("STRING")))
            };
            if object.values().any(names_identity) && !typed.iter().all(is_text) {
                return Err("identities to be compared as STRING: they are texts".to_string());
            }
            let fields = object.iter().map(|(name, value)| Ok((name.clone(), identified(value, who)?)));
            Ok(Json::Object(fields.collect::<std::result::Result<_, String>>()?))
        }
        Json::Array(items) => {
            let mut all = Vec::new();
            for item in items {
                match item.get("identity") {
                    Some(_) => all.extend(values_of(item, who)?.into_iter().map(Json::from)),
                    None => all.push(identified(item, who)?),
                }
            }
            Ok(Json::Array(all))
        }
        other => Ok(other.clone()),
    }
}

/// Whether a column stands for a question about the caller, and not for one of a table.
fn is_reserved(column: &str) -> bool {
    column.starts_with('\u{2}')
}

/// Whether it is an identity, or a list with one.
fn names_identity(json: &Json) -> bool {
    match json {
        Json::Array(items) => items.iter().any(names_identity),
        _ => json.get("identity").is_some(),
    }
}

/// The group that a test asks about, if that is what it does.
fn member(json: &Json) -> Option<&str> {
    let column = json.get("column").or_else(|| json.get("dimension"))?;
    let equality = matches!(json.get("type").and_then(Json::as_str), Some("equals" | "selector"));
    if column.as_str() != Some(MEMBER_COLUMN) || !equality {
        return None;
    }
    json.get("matchValue").or_else(|| json.get("value"))?.as_str()
}

/// An equality with an identity that may have several values: any of them, also of what is among those of an array.
fn equality(json: &Json, who: &Principal) -> std::result::Result<Option<Json>, String> {
    let (column, value) = match json.get("type").and_then(Json::as_str) {
        Some("equals") => (json.get("column"), json.get("matchValue")),
        Some("selector") => (json.get("dimension"), json.get("value")),
        Some("arrayContainsElement") => (json.get("column"), json.get("elementMatchValue")),
        _ => return Ok(None),
    };
    let (Some(column), Some(value)) = (column, value) else { return Ok(None) };
    if value.get("identity").is_none() {
        return Ok(None);
    }
    let values = values_of(value, who)?;
    if values.len() == 1 {
        return Ok(None);
    }
    if json["type"] == "arrayContainsElement" {
        let of = |value: String| json!({"type": "arrayContainsElement", "column": column, "elementMatchValueType": "STRING", "elementMatchValue": value});
        return Ok(Some(json!({"type": "or", "fields": values.into_iter().map(of).collect::<Vec<_>>()})));
    }
    Ok(Some(json!({"type": "in", "dimension": column, "values": values})))
}

/// What an identity stands for: at least one value.
fn values_of(identity: &Json, who: &Principal) -> std::result::Result<Vec<String>, String> {
    let name = identity.get("name").and_then(Json::as_str).unwrap_or_default();
    let (values, what) = match identity["identity"].as_str() {
        Some("user") => (vec![who.name.clone()], "a user's name".to_string()),
        Some("groups") => (who.groups.iter().cloned().collect(), "membership in a group".to_string()),
        Some("attribute") => (who.attributes.get(name).cloned().unwrap_or_default(), format!("the attribute [{name}]")),
        _ => return Err("identity to be user, groups or attribute (with a name)".to_string()),
    };
    match values.len() {
        0 => Err(what),
        count if count > IDENTITY_VALUES_MAX => Err(format!("at most {IDENTITY_VALUES_MAX} values of {what}")),
        _ => Ok(values),
    }
}
