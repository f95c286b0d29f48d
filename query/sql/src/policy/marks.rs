//! Identities in a condition: the texts that stand for them while it is planned, and what they become.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectNamePart, Value,
    VisitorMut, visit_expressions,
};
use query::policy::MEMBER_COLUMN;
use serde_json::{Value as Json, json};

use crate::error::{Error, Result};

/// What texts that stand for an identity begin with.
pub const MARK: char = '\u{2}';

/// Identities that a condition may name.
const IDENTITIES_MAX: usize = 64;

/// The identities of a condition, in the order in which they stand, with how they were written.
pub struct Marks {
    pub found: Vec<(Json, String)>,
    /// Groups that are asked about, and whether the filter asks about them. Each has a column of its own: tests of one
    /// column are folded together, as if it had one value.
    pub groups: Vec<(String, AtomicBool)>,
}

/// The column that stands for being in the nth group.
pub fn member(nth: usize) -> String {
    format!("{MEMBER_COLUMN}{nth}")
}

impl Marks {
    fn mark(&mut self, identity: Json, written: String) -> Result<Expr> {
        if self.found.len() >= IDENTITIES_MAX {
            return Err(Error::invalid(format!("a condition may name at most {IDENTITIES_MAX} identities")));
        }
        let text = format!("{MARK}{}", self.found.len());
        self.found.push((identity, written));
        Ok(Expr::value(Value::SingleQuotedString(text)))
    }

    /// A text in which identities stand as they were written.
    pub fn told(&self, text: String) -> String {
        let marked = self.found.iter().enumerate().rev();
        marked.fold(text, |text, (nth, (_, written))| text.replace(&format!("{MARK}{nth}"), written))
    }

    fn of(&mut self, expr: &Expr) -> Result<Option<Expr>> {
        let (name, argument) = match expr {
            Expr::Identifier(ident) if ident.quote_style.is_none() => (ident.value.to_ascii_uppercase(), None),
            Expr::Function(function) => match (named(function), argument(function)) {
                (Some(name), Ok(argument)) => (name, argument),
                // An argument that is no text is as good as none.
                (Some(name), Err(())) if name.starts_with("USER_") => (name, None),
                _ => return Ok(None),
            },
            _ => return Ok(None),
        };
        Ok(match (name.as_str(), argument) {
            ("CURRENT_USER" | "SESSION_USER", None) => {
                Some(self.mark(json!({"identity": "user"}), "CURRENT_USER".into())?)
            }
            ("USER_GROUPS", None) => Some(self.mark(json!({"identity": "groups"}), "USER_GROUPS()".into())?),
            ("USER_ATTRIBUTE", Some(attribute)) => {
                let identity = json!({"identity": "attribute", "name": attribute});
                Some(self.mark(identity, format!("USER_ATTRIBUTE('{attribute}')"))?)
            }
            ("USER_IN_GROUP", Some(group)) => {
                if self.groups.len() >= IDENTITIES_MAX {
                    return Err(Error::invalid(format!("a condition may ask about at most {IDENTITIES_MAX} groups")));
                }
                let column = Ident::with_quote('"', member(self.groups.len()));
                self.groups.push((group.clone(), AtomicBool::new(false)));
                Some(Expr::Nested(Box::new(Expr::BinaryOp {
                    left: Box::new(Expr::Identifier(column)),
                    op: BinaryOperator::Eq,
                    right: Box::new(Expr::value(Value::SingleQuotedString(group))),
                })))
            }
            ("USER_ATTRIBUTE" | "USER_IN_GROUP", None) => {
                return Err(Error::invalid(format!("{name} takes one name, as a text in quotes")));
            }
            _ => None,
        })
    }

    /// The test of a group, if that is what a filter is: by equality with its name alone.
    fn membership(&self, json: &Json) -> Option<Result<Json>> {
        let column = json.get("column").or_else(|| json.get("dimension"))?.as_str()?;
        let nth = column.strip_prefix(MEMBER_COLUMN)?.parse::<usize>().ok();
        let kind = json.get("type").and_then(Json::as_str);
        let value = match kind {
            Some("equals") => json.get("matchValue"),
            Some("selector") => json.get("value"),
            _ => None,
        };
        let value = value.and_then(Json::as_str);
        Some(match nth.and_then(|nth| self.groups.get(nth)) {
            Some((group, asked)) if value == Some(group) => {
                asked.store(true, Ordering::Relaxed);
                Ok(json!({"type": "equals", "column": MEMBER_COLUMN, "matchValueType": "STRING", "matchValue": group}))
            }
            _ => Err(Error::invalid("USER_IN_GROUP stands by itself, or under AND, OR and NOT; here it is compared")),
        })
    }

    /// A filter with identities where their texts stand.
    /// `used` takes their numbers.
    pub fn placed(&self, json: &Json, used: &mut BTreeSet<usize>) -> Result<Json> {
        if let Some(asked) = self.membership(json) {
            return asked;
        }
        Ok(match json {
            Json::String(text) if text.contains(MARK) => {
                let nth = text.strip_prefix(MARK).and_then(|nth| nth.parse::<usize>().ok());
                match nth.filter(|nth| *nth < self.found.len()) {
                    Some(nth) => {
                        used.insert(nth);
                        self.found[nth].0.clone()
                    }
                    None => {
                        return Err(Error::invalid(
                            "an identity must be compared as a whole, by = or IN; here it is a part of something else",
                        ));
                    }
                }
            }
            Json::Array(items) => items.iter().map(|item| self.placed(item, used)).collect::<Result<_>>()?,
            Json::Object(object) => {
                let fields = object.iter().map(|(name, value)| Ok((name.clone(), self.placed(value, used)?)));
                Json::Object(fields.collect::<Result<_>>()?)
            }
            other => other.clone(),
        })
    }
}

impl VisitorMut for Marks {
    type Break = Error;

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        match self.of(expr) {
            Ok(Some(marked)) => *expr = marked,
            Ok(None) => {}
            Err(error) => return ControlFlow::Break(error),
        }
        ControlFlow::Continue(())
    }
}

fn named(function: &Function) -> Option<String> {
    match function.name.0.as_slice() {
        [ObjectNamePart::Identifier(ident)] if ident.quote_style.is_none() => Some(ident.value.to_ascii_uppercase()),
        _ => None,
    }
}

/// The only argument, a text, or none.
fn argument(function: &Function) -> std::result::Result<Option<String>, ()> {
    match &function.args {
        FunctionArguments::None => Ok(None),
        FunctionArguments::List(list) => match list.args.as_slice() {
            [] => Ok(None),
            [FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(value)))] => match &value.value {
                Value::SingleQuotedString(text) => Ok(Some(text.clone())),
                _ => Err(()),
            },
            _ => Err(()),
        },
        _ => Err(()),
    }
}

/// The number of the identity that a text stands for.
fn marked(expr: &Expr) -> Option<usize> {
    match expr {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) => text.strip_prefix(MARK)?.parse().ok(),
            _ => None,
        },
        _ => None,
    }
}

fn is_member(expr: &Expr) -> bool {
    matches!(expr, Expr::Identifier(ident) if ident.value.starts_with(MEMBER_COLUMN))
}

/// The identities in an expression, by their numbers.
pub fn identities(expr: &Expr) -> BTreeSet<usize> {
    let mut found = BTreeSet::new();
    let _: ControlFlow<()> = visit_expressions(expr, |expr| {
        found.extend(marked(expr));
        ControlFlow::Continue(())
    });
    found
}

pub fn names_identity(expr: &Expr) -> bool {
    let found = visit_expressions(expr, |expr| match marked(expr).is_some() || is_member(expr) {
        true => ControlFlow::Break(()),
        false => ControlFlow::Continue(()),
    });
    found.is_break()
}

/// Whether it is one comparison of something with an identity, which no rule can fold with another.
pub fn compares(expr: &Expr) -> bool {
    let one = |left: &Expr, right: &Expr| {
        (marked(left).is_some() && !names_identity(right)) || (marked(right).is_some() && !names_identity(left))
    };
    match expr {
        Expr::Nested(inner) => compares(inner),
        Expr::BinaryOp { left, op: BinaryOperator::Eq, right } if is_member(left) => !names_identity(right),
        Expr::BinaryOp { left, op: BinaryOperator::Eq | BinaryOperator::NotEq, right } => one(left, right),
        Expr::IsDistinctFrom(left, right) | Expr::IsNotDistinctFrom(left, right) => one(left, right),
        Expr::InList { expr, list, .. } => {
            !names_identity(expr) && list.iter().all(|item| marked(item).is_some() || !names_identity(item))
        }
        _ => false,
    }
}
