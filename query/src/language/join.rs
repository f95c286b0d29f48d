//! Sources made of other sources: joins, unnestings, filters.

use segment::expr::Expr;
use segment::filter::Filter;
use segment::schema::TIME;
use serde_json::Value as Json;

use super::fields::Fields;
use super::{DataSource, VirtualColumn};
use crate::error::Result;

/// Rows of `left`, each with those of `right` that go with it.
#[derive(Debug, Clone)]
pub struct Join {
    pub left: DataSource,
    pub right: DataSource,
    /// Columns of the right side have it before their names.
    pub prefix: String,
    pub condition: Condition,
    /// Rows of the left side without a partner stay, with nulls.
    pub keeps_left: bool,
    /// Rows of the right side without a partner stay, with nulls.
    pub keeps_right: bool,
    pub left_filter: Option<Filter>,
}

/// What rows that go together have in common.
#[derive(Debug, Clone, Default)]
pub struct Condition {
    pub equal: Vec<Equality>,
    /// What else must be true of a pair of rows.
    pub rest: Vec<Expr>,
}

#[derive(Debug, Clone)]
pub struct Equality {
    /// Over the left side.
    pub left: Expr,
    /// A column of the right side, without the prefix.
    pub right: String,
    /// Whether null equals null (`notdistinctfrom`).
    pub nulls_too: bool,
}

/// Each row of `base` once for every element of a column's list.
#[derive(Debug, Clone)]
pub struct Unnest {
    pub base: DataSource,
    /// Computes the list; its name is that of the element.
    pub column: VirtualColumn,
    /// Which elements stay.
    pub filter: Option<Filter>,
}

/// Rows of `base` that pass.
#[derive(Debug, Clone)]
pub struct Filtered {
    pub base: DataSource,
    pub filter: Filter,
}

impl Join {
    pub fn from_fields(fields: &Fields, depth: usize) -> Result<Join> {
        let left = DataSource::from_json(fields.need("left")?, &fields.at("left"), depth + 1)?;
        let right = DataSource::from_json(fields.need("right")?, &fields.at("right"), depth + 1)?;
        let prefix = fields.need_text("rightPrefix")?.to_string();
        if prefix.is_empty() || TIME.starts_with(&prefix) {
            return Err(fields.wrong("rightPrefix", "must not be empty nor a beginning of __time, like \"r.\""));
        }
        let (keeps_left, keeps_right) = match fields.need_text("joinType")?.to_ascii_uppercase().as_str() {
            "INNER" => (false, false),
            "LEFT" => (true, false),
            "RIGHT" => (false, true),
            "FULL" => (true, true),
            other => {
                return Err(fields.wrong("joinType", format_args!("must be INNER, LEFT, RIGHT or FULL, not [{other}]")));
            }
        };
        let left_filter = filter(fields, "leftFilter")?;
        let text = fields.need_text("condition")?;
        let expr = Expr::parse(text).map_err(|error| fields.wrong("condition", error))?;
        let condition = Condition::of(&expr, &prefix);
        Ok(Join { left, right, prefix, condition, keeps_left, keeps_right, left_filter })
    }
}

impl Condition {
    /// Takes a condition apart: what is an equality of something of the left side and a column of the right one, and
    /// all the rest.
    pub fn of(expr: &Expr, prefix: &str) -> Condition {
        let mut condition = Condition::default();
        for part in expr.conjuncts() {
            let equality = part.equality().and_then(|(a, b, nulls_too)| {
                let of_right =
                    |expr: &Expr| expr.as_column().and_then(|name| name.strip_prefix(prefix)).map(String::from);
                let of_left = |expr: &Expr| expr.columns().iter().all(|name| !name.starts_with(prefix));
                match (of_right(&a), of_right(&b)) {
                    (None, Some(right)) if of_left(&a) => Some(Equality { left: a, right, nulls_too }),
                    (Some(right), None) if of_left(&b) => Some(Equality { left: b, right, nulls_too }),
                    _ => None,
                }
            });
            match equality {
                Some(equality) => condition.equal.push(equality),
                None => condition.rest.push(part),
            }
        }
        condition
    }
}

impl Unnest {
    pub fn from_fields(fields: &Fields, depth: usize) -> Result<Unnest> {
        if fields.get("virtualColumn").is_none()
            && (fields.get("column").is_some() || fields.get("dimensionToUnnest").is_some())
        {
            return Err(fields.wrong("virtualColumn", "is required in place of column and outputName"));
        }
        Ok(Unnest {
            base: DataSource::from_json(fields.need("base")?, &fields.at("base"), depth + 1)?,
            column: VirtualColumn::from_json(fields.need("virtualColumn")?, &fields.at("virtualColumn"))?,
            filter: filter(fields, "unnestFilter")?,
        })
    }

    /// Whether a row without an element stays, with a null: a multi-value string without values is a null, an empty or
    /// missing array is nothing.
    pub fn keeps_empty(&self) -> bool {
        let text = self.column.expr.canonical();
        self.column.expr.as_column().is_some() || text.starts_with("mv_to_array(")
    }
}

impl Filtered {
    pub fn from_fields(fields: &Fields, depth: usize) -> Result<Filtered> {
        let base = DataSource::from_json(fields.need("base")?, &fields.at("base"), depth + 1)?;
        let filter = filter(fields, "filter")?.ok_or_else(|| fields.wrong("filter", "is required"))?;
        Ok(Filtered { base, filter })
    }
}

fn filter(fields: &Fields, name: &str) -> Result<Option<Filter>> {
    match fields.get(name) {
        None => Ok(None),
        Some(json) => Filter::from_json(json, &fields.at(name)).map(Some).map_err(super::parse::parse_error),
    }
}

/// A lookup's rows: columns `k` and `v`.
pub fn lookup(json: &Json, path: &str) -> Result<DataSource> {
    let fields = Fields::of(json, path)?;
    let name = fields.need_text("lookup")?;
    match segment::lookup::named(name) {
        Ok(lookup) => Ok(DataSource::Lookup(lookup)),
        Err(text) => Err(fields.wrong("lookup", text)),
    }
}
