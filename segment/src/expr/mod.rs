//! Druid's expression language: columns computed from columns (ingest transforms, virtual columns, filters).
//!
//! Text is parsed to a tree; the tree is evaluated a row at a time or a block at a time, with the same result. Logic has
//! three values, null makes almost everything null, longs divide to longs, and division of longs by zero is null.

mod bounds;
pub mod convert;
pub use convert::truth;
mod functions;
mod node;
mod parse;
mod row;
mod vector;

use std::fmt;
use std::sync::Arc;

use crate::block::{Block, Value};
use crate::error::Result;
use crate::schema::ValueType;
use bounds::Work;
use node::Node;

/// A parsed expression. `Display` gives the text it was parsed from; `Debug` tells the lookups too that it reads, so that
/// expressions of which it says the same have the same values.
#[derive(Clone)]
pub struct Expr {
    text: Arc<str>,
    root: Arc<Node>,
}

impl PartialEq for Expr {
    fn eq(&self, other: &Expr) -> bool {
        self.root == other.root
    }
}

impl fmt::Debug for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lookups = Vec::new();
        self.root.lookups(&mut lookups);
        match lookups.is_empty() {
            true => write!(f, "Expr({})", self.root),
            false => write!(f, "Expr({} with {lookups:?})", self.root),
        }
    }
}

/// Where an expression's columns come from, block by block.
pub trait Inputs {
    /// The rows at hand of a column; a column that does not exist is all null. `None` means it does not exist.
    fn column(&self, name: &str) -> Option<Block>;
    fn len(&self) -> usize;
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Expr {
    /// Errors name the position, the token and what was expected; an unknown function names the nearest known one.
    /// Nesting is limited, so that no text overflows the stack.
    pub fn parse(text: &str) -> Result<Expr> {
        parse::parse(text).map(|root| Expr { text: Arc::from(text), root: Arc::new(root) })
    }

    /// The expression that is a column.
    pub fn column(name: &str) -> Expr {
        let root = Node::Column(Arc::from(name));
        Expr { text: Arc::from(root.to_string()), root: Arc::new(root) }
    }

    /// Text with every operation in parentheses and every name in quotes, the same for equal expressions.
    pub fn canonical(&self) -> String {
        self.root.to_string()
    }

    /// The column, if it is nothing more.
    pub fn as_column(&self) -> Option<&str> {
        self.root.as_column()
    }

    /// The parts that `&&` joins; itself, if there is none.
    pub fn conjuncts(&self) -> Vec<Expr> {
        let mut parts = Vec::new();
        self.root.conjuncts(&mut parts);
        parts.into_iter().map(Expr::from_node).collect()
    }

    /// The two sides, if it is an equality, and whether null equals null in it (`notdistinctfrom`).
    pub fn equality(&self) -> Option<(Expr, Expr, bool)> {
        let (left, right, nulls_too) = self.root.equality()?;
        Some((Expr::from_node(left), Expr::from_node(right), nulls_too))
    }

    fn from_node(node: &Node) -> Expr {
        Expr { text: Arc::from(node.to_string()), root: Arc::new(node.clone()) }
    }

    /// Whether its value may be a list, given whether those of columns may be.
    pub fn may_be_list(&self, column: &dyn Fn(&str) -> bool) -> bool {
        self.root.may_be_list(column)
    }

    /// The columns it reads, each once.
    pub fn columns(&self) -> Vec<&str> {
        let mut columns = Vec::new();
        self.root.columns(&mut Vec::new(), &mut columns);
        columns
    }

    /// The same with other expressions in the place of columns. It may have become deeper than what is parsed.
    pub fn replaced(&self, column: &dyn Fn(&str) -> Option<Expr>) -> Expr {
        let root = self.root.replaced(&mut Vec::new(), &|name| Some((*column(name)?.root).clone()));
        Expr::from_node(&root)
    }

    /// One row. `column` gives null for a column that does not exist. Too large a value is null, and so is what takes too
    /// much to make.
    pub fn value(&self, column: &dyn Fn(&str) -> Value) -> Value {
        row::evaluate(&self.root, column).0
    }

    /// Many rows at once: arithmetic, comparisons and casts of numbers run over whole blocks. Longs among doubles become
    /// doubles; rows that are all null come as longs. An error where the values of all rows are too large together.
    pub fn block(&self, inputs: &dyn Inputs) -> Result<Block> {
        let work = Work::of_block(inputs.len());
        let block = vector::block(&self.root, inputs, &work);
        work.check(inputs.len())?;
        Ok(block)
    }

    /// The same with no bound for all rows together: rows are not lost because others are large.
    pub fn unlimited_block(&self, inputs: &dyn Inputs) -> Block {
        vector::block(&self.root, inputs, &Work::unlimited())
    }

    /// The type of the result given the types of the columns (`None`: the column does not exist); `None` if unknown.
    pub fn value_type(&self, column: &dyn Fn(&str) -> Option<ValueType>) -> Option<ValueType> {
        self.root.kind(column).known()
    }

    /// The names of all functions, sorted.
    pub fn functions() -> Vec<&'static str> {
        functions::names()
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests;
