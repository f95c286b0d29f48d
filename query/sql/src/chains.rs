//! Statements that are long without being nested for the parser: `a OR b OR …`, `a + b + …`, `SELECT … UNION ALL …`. Each
//! operator is one more level of the tree, and everything that is done to a tree afterwards takes stack and time by its
//! depth.
//!
//! Chains of `AND`, of `OR` and of `UNION ALL` mean the same in any grouping: they are made as shallow as they can be. What
//! is too deep or has too many parts after that is refused. All of it needs the stack of a planning thread
//! ([`crate::planning`]).

use std::ops::ControlFlow;
use std::vec::IntoIter;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Query, Select, SetExpr, SetOperator, SetQuantifier, Value, VisitMut, VisitorMut,
};
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use crate::error::{Error, Result};

/// Chains up to this length stay as they are written, and so do the plans of the statements that people write.
const LENGTH_MIN: usize = 32;

/// Tokens between two commas or brackets. Every level that a chain adds takes at least one of them, so this bounds how deep
/// the tree is that the parser makes of any text.
const RUN_MAX: usize = 100_000;

/// Levels of an expression, in subqueries too. What is done at each level goes through all below it, so time grows with the
/// square of it: this many are a second.
const EXPRESSION_DEPTH_MAX: usize = 500;

/// Set operations in each other. Those of `UNION ALL` count by their logarithm.
const SETS_DEPTH_MAX: usize = 250;

/// Set operations of a statement.
const SETS_MAX: usize = 2_500;

/// Tables that a statement joins, by commas too: they are in each other, whatever the order.
const JOINS_MAX: usize = 250;

/// Refuses texts of which the parser would make a tree deeper than the stack bears.
pub fn check_tokens(tokens: &[TokenWithSpan]) -> Result<()> {
    let mut sets = 0;
    // Tokens since the last comma, for each open bracket.
    let mut runs = vec![0];
    for token in tokens {
        match &token.token {
            Token::LParen | Token::LBracket | Token::LBrace => runs.push(0),
            Token::RParen | Token::RBracket | Token::RBrace if runs.len() > 1 => {
                runs.pop();
            }
            Token::Comma => {
                if let Some(run) = runs.last_mut() {
                    *run = 0;
                }
            }
            _ => {}
        }
        if let Token::Word(word) = &token.token
            && word.quote_style.is_none()
            && ["UNION", "INTERSECT", "EXCEPT", "MINUS"].iter().any(|set| word.value.eq_ignore_ascii_case(set))
        {
            sets += 1;
        }
        if let Some(run) = runs.last_mut() {
            *run += 1;
            if *run > RUN_MAX {
                return Err(Error::invalid(format!(
                    "statement has an expression of more than {RUN_MAX} words (to line {}, column {}); shorten it, or \
                     list its values with IN",
                    token.span.start.line, token.span.start.column
                )));
            }
        }
    }
    match sets > SETS_MAX {
        false => Ok(()),
        true => Err(Error::invalid(format!(
            "statement has {sets} set operations (UNION, INTERSECT, EXCEPT), more than {SETS_MAX}; split it"
        ))),
    }
}

/// Makes chains shallow, then refuses what is deep all the same.
pub fn settle(query: &mut Query) -> Result<()> {
    if let ControlFlow::Break(error) = query.visit(&mut Balance) {
        return Err(error);
    }
    match query.visit(&mut Depth { expressions: 0, joins: 0 }) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

struct Balance;

impl VisitorMut for Balance {
    type Break = Error;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Error> {
        balance_sets(&mut query.body);
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        let Expr::BinaryOp { op: op @ (BinaryOperator::And | BinaryOperator::Or), .. } = &*expr else {
            return ControlFlow::Continue(());
        };
        let op = op.clone();
        if spine(expr, &op) >= LENGTH_MIN {
            let operands = operands(std::mem::replace(expr, Expr::value(Value::Null)), &op);
            let count = operands.len();
            let join = |left, right| Expr::BinaryOp { left: Box::new(left), op: op.clone(), right: Box::new(right) };
            if let Some(balanced) = balanced(&mut operands.into_iter(), count, &join) {
                *expr = balanced;
            }
        }
        ControlFlow::Continue(())
    }
}

/// How often the operator stands on the left of itself.
fn spine(expr: &Expr, of: &BinaryOperator) -> usize {
    let mut length = 0;
    let mut at = expr;
    while let Expr::BinaryOp { left, op, .. } = at
        && op == of
    {
        length += 1;
        at = left;
    }
    length
}

/// What a chain is made of, in its order.
fn operands(expr: Expr, of: &BinaryOperator) -> Vec<Expr> {
    let mut operands = Vec::new();
    let mut at = expr;
    loop {
        match at {
            Expr::BinaryOp { left, op, right } if op == *of => {
                operands.push(*right);
                at = *left;
            }
            other => {
                operands.push(other);
                operands.reverse();
                return operands;
            }
        }
    }
}

/// The next operands as one tree.
fn balanced<T>(operands: &mut IntoIter<T>, count: usize, join: &dyn Fn(T, T) -> T) -> Option<T> {
    if count < 2 {
        return operands.next();
    }
    let left = balanced(operands, count / 2, join)?;
    let right = balanced(operands, count - count / 2, join)?;
    Some(join(left, right))
}

fn is_union_all(op: SetOperator, quantifier: SetQuantifier) -> bool {
    op == SetOperator::Union && quantifier == SetQuantifier::All
}

fn balance_sets(body: &mut SetExpr) {
    let mut length = 0;
    let mut at = &*body;
    while let SetExpr::SetOperation { left, op, set_quantifier, .. } = at
        && is_union_all(*op, *set_quantifier)
    {
        length += 1;
        at = left;
    }
    if length < LENGTH_MIN {
        if let SetExpr::SetOperation { left, right, .. } = body {
            balance_sets(left);
            balance_sets(right);
        }
        return;
    }
    let nothing = || {
        SetExpr::Values(datafusion::sql::sqlparser::ast::Values {
            explicit_row: false,
            value_keyword: false,
            rows: Vec::new(),
        })
    };
    let mut parts = Vec::with_capacity(length + 1);
    let mut at = std::mem::replace(body, nothing());
    let first = loop {
        match at {
            SetExpr::SetOperation { left, op, set_quantifier, right } if is_union_all(op, set_quantifier) => {
                parts.push(*right);
                at = *left;
            }
            other => break other,
        }
    };
    parts.push(first);
    parts.reverse();
    parts.iter_mut().for_each(balance_sets);
    let count = parts.len();
    let join = |left, right| SetExpr::SetOperation {
        left: Box::new(left),
        op: SetOperator::Union,
        set_quantifier: SetQuantifier::All,
        right: Box::new(right),
    };
    if let Some(balanced) = balanced(&mut parts.into_iter(), count, &join) {
        *body = balanced;
    }
}

struct Depth {
    expressions: usize,
    joins: usize,
}

impl VisitorMut for Depth {
    type Break = Error;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Error> {
        let depth = sets_depth(&query.body);
        if depth > SETS_DEPTH_MAX {
            return ControlFlow::Break(Error::invalid(format!(
                "statement has set operations (UNION, INTERSECT, EXCEPT) {depth} deep in each other, more than \
                 {SETS_DEPTH_MAX}; split it, or use UNION ALL in a SELECT DISTINCT"
            )));
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Error> {
        self.joins += select.from.iter().map(|from| 1 + from.joins.len()).sum::<usize>().saturating_sub(1);
        if self.joins > JOINS_MAX {
            return ControlFlow::Break(Error::invalid(format!(
                "statement has {} joins, more than {JOINS_MAX}; split it",
                self.joins
            )));
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        self.expressions += weight(expr);
        if self.expressions > EXPRESSION_DEPTH_MAX {
            return ControlFlow::Break(Error::invalid(format!(
                "statement has an expression of more than {EXPRESSION_DEPTH_MAX} operators in each other (|| counts for \
                 two); shorten it, or call a function of several arguments such as CONCAT"
            )));
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        self.expressions -= weight(expr);
        ControlFlow::Continue(())
    }
}

/// Levels that an operator counts for. `||` is planned as a call of a function, which takes longer by far.
fn weight(expr: &Expr) -> usize {
    match expr {
        Expr::BinaryOp { op: BinaryOperator::StringConcat, .. } => 2,
        _ => 1,
    }
}

fn sets_depth(body: &SetExpr) -> usize {
    match body {
        SetExpr::SetOperation { left, right, .. } => 1 + sets_depth(left).max(sets_depth(right)),
        _ => 0,
    }
}
