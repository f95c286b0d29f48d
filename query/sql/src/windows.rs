//! Windows as Druid means them, in frames that DataFusion takes.
//!
//! - A frame of one bound that follows begins at the current row: `ROWS 1 FOLLOWING`.
//! - A frame that ends before it begins holds no rows; it becomes one that lies past every row.
//! - `RANK` and its like want an order and no frame; nulls are the smallest values and stand nowhere else.

use datafusion::sql::sqlparser::ast::{
    Expr, NamedWindowExpr, OrderByExpr, Select, Value, ValueWithSpan, WindowFrame, WindowFrameBound, WindowSpec,
    WindowType,
};

use crate::error::{Error, Result};

/// What functions ask of a window.
#[derive(Debug, Clone, Copy, Default)]
pub struct Traits {
    ordered: bool,
    framed: bool,
}

/// The windows that a SELECT names.
pub type Named = Vec<(String, Traits)>;

/// Rows that no partition has, so that a frame past them is empty.
const BEYOND: &str = "1099511627776";

/// Settles the windows that a SELECT names.
pub fn named(select: &mut Select) -> Result<Named> {
    let mut known = Named::new();
    for definition in &mut select.named_window {
        let traits = match &mut definition.1 {
            NamedWindowExpr::WindowSpec(spec) => settle(spec, &known)?,
            NamedWindowExpr::NamedWindow(other) => find(&known, &other.value),
        };
        known.push((definition.0.value.clone(), traits));
    }
    Ok(known)
}

/// Settles the window of a function and refuses those that the function cannot have.
pub fn of_function(name: &str, over: &mut WindowType, known: &Named) -> Result<()> {
    let traits = match over {
        WindowType::WindowSpec(spec) => settle(spec, known)?,
        WindowType::NamedWindow(name) => find(known, &name.value),
    };
    let ranks = ["rank", "dense_rank", "percent_rank", "cume_dist"].contains(&name);
    if ranks && !traits.ordered {
        return Err(Error::invalid("RANK or DENSE_RANK functions require ORDER BY clause in window specification"));
    }
    if traits.framed && (ranks || ["row_number", "ntile", "lag", "lead"].contains(&name)) {
        return Err(Error::invalid(format!(
            "ROWS/RANGE not allowed with RANK, DENSE_RANK, ROW_NUMBER, NTILE, LAG or LEAD functions; leave it out of the \
             window of {}",
            name.to_ascii_uppercase()
        )));
    }
    Ok(())
}

fn find(known: &Named, name: &str) -> Traits {
    known.iter().find(|(other, _)| other == name).map(|(_, traits)| *traits).unwrap_or_default()
}

fn settle(spec: &mut WindowSpec, known: &Named) -> Result<Traits> {
    for key in &spec.order_by {
        order(key)?;
    }
    let base = spec.window_name.as_ref().map(|name| find(known, &name.value)).unwrap_or_default();
    if let Some(given) = &mut spec.window_frame {
        frame(given)?;
    }
    Ok(Traits {
        ordered: base.ordered || !spec.order_by.is_empty(),
        framed: base.framed || spec.window_frame.is_some(),
    })
}

fn order(key: &OrderByExpr) -> Result<()> {
    let ascending = key.options.asc.unwrap_or(true);
    match key.options.nulls_first {
        Some(first) if first != ascending => Err(Error::invalid(format!(
            "{} ordering with NULLS {} is not supported in a window; nulls are the smallest values",
            if ascending { "ASCENDING" } else { "DESCENDING" },
            if first { "FIRST" } else { "LAST" }
        ))),
        _ => Ok(()),
    }
}

fn frame(frame: &mut WindowFrame) -> Result<()> {
    use WindowFrameBound::{CurrentRow, Following, Preceding};
    if frame.end_bound.is_none() && matches!(frame.start_bound, Following(_)) {
        frame.end_bound = Some(std::mem::replace(&mut frame.start_bound, CurrentRow));
    }
    let end = frame.end_bound.get_or_insert(CurrentRow);
    let reversed = match (&frame.start_bound, &*end) {
        (Following(None), _) => {
            return Err(Error::invalid("UNBOUNDED FOLLOWING cannot be specified for the lower frame boundary"));
        }
        (_, Preceding(None)) => {
            return Err(Error::invalid("UNBOUNDED PRECEDING cannot be specified for the upper frame boundary"));
        }
        (CurrentRow, Preceding(_)) => {
            return Err(Error::invalid("Upper frame boundary cannot be PRECEDING when lower boundary is CURRENT ROW"));
        }
        (Following(_), CurrentRow) => {
            return Err(Error::invalid("Upper frame boundary cannot be CURRENT ROW when lower boundary is FOLLOWING"));
        }
        (Following(_), Preceding(_)) => {
            return Err(Error::invalid("Upper frame boundary cannot be PRECEDING when lower boundary is FOLLOWING"));
        }
        (Preceding(Some(from)), Preceding(Some(to))) => match (rows(from), rows(to)) {
            (Some(from), Some(to)) => from < to,
            _ => false,
        },
        (Following(Some(from)), Following(Some(to))) => match (rows(from), rows(to)) {
            (Some(from), Some(to)) => from > to,
            _ => false,
        },
        _ => false,
    };
    if reversed {
        let beyond = || Box::new(Expr::value(Value::Number(BEYOND.to_string(), false)));
        frame.start_bound = Following(Some(beyond()));
        frame.end_bound = Some(Following(Some(beyond())));
    }
    Ok(())
}

fn rows(expr: &Expr) -> Option<u64> {
    match expr {
        Expr::Value(ValueWithSpan { value: Value::Number(text, _), .. }) => text.parse().ok(),
        _ => None,
    }
}
