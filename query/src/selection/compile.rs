//! From a filter to nodes.

use segment::filter::Filter;

use super::{Node, leaf, mask};
use crate::columns::Columns;
use crate::error::Result;

pub struct Compiler<'a> {
    pub columns: &'a Columns,
}

impl Compiler<'_> {
    /// The rows where the filter is `want`; rows where it is unknown are in neither set.
    pub fn node(&self, filter: &Filter, want: bool) -> Result<Node> {
        let rows = self.columns.segment().rows();
        Ok(match filter {
            Filter::True => whole(want),
            Filter::False => whole(!want),
            Filter::Not(inner) => self.node(inner, !want)?,
            Filter::And(fields) if want => {
                let mut nodes = Vec::with_capacity(fields.len());
                for field in fields {
                    let node = self.node(field, want)?;
                    // Nothing is left for the others to let through.
                    if matches!(node, Node::None) {
                        return Ok(Node::None);
                    }
                    nodes.push(node);
                }
                and(nodes, rows)
            }
            Filter::And(fields) => or(self.nodes(fields, want)?, rows),
            Filter::Or(fields) if want => or(self.nodes(fields, want)?, rows),
            Filter::Or(fields) => and(self.nodes(fields, want)?, rows),
            Filter::IsTrue(inner) if want => self.node(inner, true)?,
            Filter::IsTrue(inner) => complement(self.node(inner, true)?, rows),
            Filter::IsFalse(inner) if want => self.node(inner, false)?,
            Filter::IsFalse(inner) => complement(self.node(inner, false)?, rows),
            Filter::Column { .. } | Filter::Equal { .. } | Filter::Expression(_) => {
                leaf::node(self.columns, filter, want)?
            }
        })
    }

    fn nodes(&self, filters: &[Filter], want: bool) -> Result<Vec<Node>> {
        filters.iter().map(|filter| self.node(filter, want)).collect()
    }
}

pub fn whole(all: bool) -> Node {
    if all { Node::All } else { Node::None }
}

/// All of them: flattened, settled sets joined, cheap ones first.
pub fn and(nodes: Vec<Node>, rows: usize) -> Node {
    let mut words: Option<Vec<u64>> = None;
    let mut shared = None;
    let mut rest = Vec::new();
    let mut pending = nodes;
    while let Some(node) = pending.pop() {
        match node {
            Node::Shared(node) if matches!(*node, Node::Words(_)) && shared.is_none() => shared = Some(node),
            Node::None => return Node::None,
            Node::All => {}
            Node::And(inner) => pending.extend(inner),
            Node::Words(own) => match &mut words {
                None => words = Some(own),
                Some(words) => words.iter_mut().zip(&own).for_each(|(w, o)| *w &= o),
            },
            node => rest.push(node),
        }
    }
    match (shared, &mut words) {
        (Some(shared), Some(words)) => {
            if let Node::Words(own) = &*shared {
                words.iter_mut().zip(own).for_each(|(w, o)| *w &= o);
            }
        }
        (Some(shared), None) => rest.push(Node::Shared(shared)),
        (None, _) => {}
    }
    if let Some(words) = words {
        match settled(words, rows) {
            Node::None => return Node::None,
            Node::All => {}
            node => rest.push(node),
        }
    }
    rest.sort_by_key(Node::cost);
    match rest.len() {
        0 => Node::All,
        1 => rest.remove(0),
        _ => Node::And(rest),
    }
}

/// Any of them.
pub fn or(nodes: Vec<Node>, rows: usize) -> Node {
    let mut words: Option<Vec<u64>> = None;
    let mut rest = Vec::new();
    let mut pending = nodes;
    while let Some(node) = pending.pop() {
        match node {
            Node::All => return Node::All,
            Node::None => {}
            Node::Or(inner) => pending.extend(inner),
            Node::Words(own) => match &mut words {
                None => words = Some(own),
                Some(words) => words.iter_mut().zip(&own).for_each(|(w, o)| *w |= o),
            },
            node => rest.push(node),
        }
    }
    if let Some(words) = words {
        match settled(words, rows) {
            Node::All => return Node::All,
            Node::None => {}
            node => rest.push(node),
        }
    }
    rest.sort_by_key(Node::cost);
    match rest.len() {
        0 => Node::None,
        1 => rest.remove(0),
        _ => Node::Or(rest),
    }
}

pub fn complement(node: Node, rows: usize) -> Node {
    match node {
        Node::None => Node::All,
        Node::All => Node::None,
        Node::Complement(inner) => *inner,
        Node::Words(mut words) => {
            words.iter_mut().for_each(|w| *w = !*w);
            mask::trim(&mut words, rows);
            settled(words, rows)
        }
        node => Node::Complement(Box::new(node)),
    }
}

/// A set given by its bits.
pub fn settled(words: Vec<u64>, rows: usize) -> Node {
    match mask::settle(&words, rows) {
        super::Selected::None => Node::None,
        super::Selected::All => Node::All,
        super::Selected::Some => Node::Words(words),
    }
}

impl Node {
    /// Smaller is cheaper to evaluate.
    fn cost(&self) -> u32 {
        match self {
            Node::None | Node::All => 0,
            Node::Words(_) => 1,
            Node::Shared(node) => node.cost(),
            Node::Numbers(node) => node.cost(),
            Node::Codes(_) => 3,
            Node::Lists(_) => 6,
            Node::Rows(_) => 100,
            Node::And(nodes) | Node::Or(nodes) => nodes.iter().map(Node::cost).sum(),
            Node::Complement(node) => node.cost(),
        }
    }
}
