//! What Druid's SQL (Calcite's) accepts, told to the parser.

use std::any::TypeId;
use std::sync::atomic::{AtomicU64, Ordering};

use datafusion::sql::sqlparser::ast::Expr;
use datafusion::sql::sqlparser::dialect::{Dialect, GenericDialect};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};

/// Double quotes for names, names keep their case, no trailing commas and none of the other engines' shortcuts.
#[derive(Debug)]
pub struct Druid {
    /// Expressions that may still be begun. The parser tries some words twice, as what they are and as names, and so needs
    /// time beyond all bounds for a tangle of them that ends in a slip.
    steps: AtomicU64,
}

impl Druid {
    /// For a text of so many tokens.
    pub fn new(tokens: usize) -> Druid {
        Druid { steps: AtomicU64::new(10_000 + 64 * tokens as u64) }
    }
}

/// Words that end a table expression in Druid's ingest statements and so are no table alias.
const NOT_AN_ALIAS: [Keyword; 3] = [Keyword::PARTITIONED, Keyword::CLUSTERED, Keyword::OVERWRITE];

impl Dialect for Druid {
    // The parser asks `dialect_of!(… GenericDialect)` in many places; without this all of them would say no.
    fn dialect(&self) -> TypeId {
        TypeId::of::<GenericDialect>()
    }

    fn parse_prefix(&self, _: &mut Parser) -> Option<Result<Expr, ParserError>> {
        let spent = self.steps.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        // The one error that the parser does not take for a reason to try something else.
        spent.is_err().then_some(Err(ParserError::RecursionLimitExceeded))
    }

    fn is_delimited_identifier_start(&self, ch: char) -> bool {
        ch == '"'
    }

    fn identifier_quote_style(&self, _identifier: &str) -> Option<char> {
        Some('"')
    }

    fn is_identifier_start(&self, ch: char) -> bool {
        ch.is_alphabetic() || ch == '_'
    }

    fn is_identifier_part(&self, ch: char) -> bool {
        ch.is_alphanumeric() || ch == '_' || ch == '$'
    }

    fn is_table_factor_alias(&self, explicit: bool, keyword: &Keyword, parser: &mut Parser) -> bool {
        explicit || (!NOT_AN_ALIAS.contains(keyword) && self.is_table_alias(keyword, parser))
    }

    fn supports_unicode_string_literal(&self) -> bool {
        true
    }

    fn supports_group_by_expr(&self) -> bool {
        true
    }

    fn supports_filter_during_aggregation(&self) -> bool {
        true
    }

    fn supports_window_function_null_treatment_arg(&self) -> bool {
        true
    }

    fn supports_window_clause_named_window_reference(&self) -> bool {
        true
    }

    fn supports_left_associative_joins_without_parens(&self) -> bool {
        true
    }

    fn supports_parens_around_table_factor(&self) -> bool {
        true
    }

    fn supports_values_as_table_factor(&self) -> bool {
        true
    }

    fn supports_array_typedef_with_brackets(&self) -> bool {
        true
    }

    fn allow_extract_custom(&self) -> bool {
        true
    }

    fn supports_interval_options(&self) -> bool {
        true
    }

    fn supports_comment_optimizer_hint(&self) -> bool {
        true
    }

    fn supports_multiline_comment_hints(&self) -> bool {
        true
    }
}
