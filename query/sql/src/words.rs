//! Druid's clauses that the parser does not know, put in words that it does, while the statement is still tokens.
//!
//! - `JSON_VALUE(x, path RETURNING type)` becomes a call of the function that returns the type.
//! - `JSON_OBJECT(KEY k VALUE v, k : v)` becomes a call with keys and values in turn.
//! - `type ARRAY` becomes `type[]`.
//! - `POSITION(a IN b FROM n)` becomes a call of a function of all three.
//! - `TRIM(BOTH FROM a)`, which says no characters, loses its `FROM`.
//! - `IS [NOT] DISTINCT FROM` becomes an operator: the parser would take all that follows for its right side. The
//!   operators stand for nothing else ([`OPERATORS`]); `rewrite` puts them back.

use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

/// `IS NOT DISTINCT FROM` and `IS DISTINCT FROM`. No statement may hold them itself.
pub const OPERATORS: [Token; 2] = [Token::Spaceship, Token::ExclamationMarkTilde];

/// The tokens in plain words.
pub fn plain(tokens: &[TokenWithSpan]) -> Vec<TokenWithSpan> {
    let mut out: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    // For each open parenthesis, the place in `out` of the name before it and which of our calls it is.
    let mut open: Vec<(usize, Call)> = Vec::new();
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        at += 1;
        match &token.token {
            Token::LParen => {
                let call = match out.last() {
                    Some(name) if is(name, "JSON_VALUE") => Call::Value,
                    Some(name) if is(name, "JSON_OBJECT") => Call::Object,
                    Some(name) if is(name, "POSITION") && position_from(tokens, at) => Call::Position,
                    Some(name) if is(name, "TRIM") => Call::Trim,
                    _ => Call::Other,
                };
                let name = out.len().saturating_sub(1);
                if call == Call::Position {
                    out[name] = with(&out[name], Token::make_word("POSITION_FROM", None));
                }
                open.push((name, call));
                out.push(token.clone());
                // The first key of an object may be announced.
                at += usize::from(call == Call::Object && key_at(tokens, at));
            }
            Token::RParen => {
                open.pop();
                out.push(token.clone());
            }
            Token::Comma => {
                out.push(token.clone());
                at += usize::from(matches!(open.last(), Some((_, Call::Object))) && key_at(tokens, at));
            }
            Token::Colon if matches!(open.last(), Some((_, Call::Object))) => out.push(with(token, Token::Comma)),
            Token::Word(_) if matches!(open.last(), Some((_, Call::Object))) && is(token, "VALUE") => {
                out.push(with(token, Token::Comma));
            }
            Token::Word(_) if matches!(open.last(), Some((_, Call::Value))) && is(token, "RETURNING") => {
                let end = close(tokens, at);
                let words: Vec<&TokenWithSpan> = tokens[at..end].iter().collect();
                if let (Some((name, _)), Some(function)) = (open.last(), returning(&words)) {
                    let name = &mut out[*name];
                    *name = with(name, Token::make_word(function, None));
                }
                at = end;
            }
            Token::Word(_)
                if matches!(open.last(), Some((_, Call::Position))) && (is(token, "IN") || is(token, "FROM")) =>
            {
                out.push(with(token, Token::Comma));
            }
            Token::Word(_)
                if matches!(open.last(), Some((_, Call::Trim)))
                    && is(token, "FROM")
                    && out.last().is_some_and(|last| ["BOTH", "LEADING", "TRAILING"].iter().any(|w| is(last, w))) => {}
            Token::Word(_) if is(token, "IS") && words_at(tokens, at, &["NOT", "DISTINCT", "FROM"]) => {
                out.push(with(token, OPERATORS[0].clone()));
                at += 3;
            }
            Token::Word(_) if is(token, "IS") && words_at(tokens, at, &["DISTINCT", "FROM"]) => {
                out.push(with(token, OPERATORS[1].clone()));
                at += 2;
            }
            Token::Word(_) if is(token, "ARRAY") && follows_type(&out, tokens.get(at)) => {
                out.push(with(token, Token::LBracket));
                out.push(with(token, Token::RBracket));
            }
            _ => out.push(token.clone()),
        }
    }
    out
}

#[derive(Clone, Copy, PartialEq)]
enum Call {
    Value,
    Object,
    Position,
    Trim,
    Other,
}

fn is(token: &TokenWithSpan, text: &str) -> bool {
    matches!(&token.token, Token::Word(word) if word.quote_style.is_none() && word.value.eq_ignore_ascii_case(text))
}

fn with(at: &TokenWithSpan, token: Token) -> TokenWithSpan {
    TokenWithSpan { token, span: at.span }
}

/// `KEY` before a key: a word that is not itself the key.
fn key_at(tokens: &[TokenWithSpan], at: usize) -> bool {
    tokens.get(at).is_some_and(|token| is(token, "KEY"))
        && tokens.get(at + 1).is_some_and(|next| {
            !matches!(next.token, Token::Comma | Token::Colon | Token::RParen) && !is(next, "VALUE")
        })
}

fn words_at(tokens: &[TokenWithSpan], at: usize, words: &[&str]) -> bool {
    words.iter().enumerate().all(|(idx, word)| tokens.get(at + idx).is_some_and(|token| is(token, word)))
}

/// The parenthesis that closes what is open at `at`, or the end.
fn close(tokens: &[TokenWithSpan], at: usize) -> usize {
    let mut depth = 0;
    for (idx, token) in tokens.iter().enumerate().skip(at) {
        match token.token {
            Token::LParen => depth += 1,
            Token::RParen if depth == 0 => return idx,
            Token::RParen => depth -= 1,
            _ => {}
        }
    }
    tokens.len()
}

/// Whether the call that opens at `at` says both `IN` and, after it, `FROM`.
fn position_from(tokens: &[TokenWithSpan], at: usize) -> bool {
    let mut depth = 0;
    let mut said = Vec::new();
    for token in &tokens[at..close(tokens, at)] {
        match token.token {
            Token::LParen => depth += 1,
            Token::RParen => depth -= 1,
            _ if depth == 0 && is(token, "IN") => said.push("IN"),
            _ if depth == 0 && is(token, "FROM") => said.push("FROM"),
            _ => {}
        }
    }
    said == ["IN", "FROM"]
}

/// The function that returns the type; `None` leaves the text that it is without one.
fn returning(words: &[&TokenWithSpan]) -> Option<&'static str> {
    let array = words.last().is_some_and(|word| is(word, "ARRAY"));
    let named = |names: &[&str]| words.first().is_some_and(|word| names.iter().any(|name| is(word, name)));
    if named(&["BIGINT", "INTEGER", "INT", "SMALLINT", "TINYINT"]) {
        Some(if array { "JSON_VALUE_LONGS" } else { "JSON_VALUE_LONG" })
    } else if named(&["DOUBLE", "DECIMAL", "FLOAT", "REAL", "NUMERIC"]) {
        Some(if array { "JSON_VALUE_DOUBLES" } else { "JSON_VALUE_DOUBLE" })
    } else if named(&["BOOLEAN"]) {
        Some(if array { "JSON_VALUE_LONGS" } else { "JSON_VALUE_BOOLEAN" })
    } else if named(&["TIMESTAMP", "DATE"]) {
        Some("JSON_VALUE_TIME")
    } else {
        array.then_some("JSON_VALUE_STRINGS")
    }
}

/// `type ARRAY` at the end of a cast.
fn follows_type(before: &[TokenWithSpan], next: Option<&TokenWithSpan>) -> bool {
    const TYPES: [&str; 9] = ["VARCHAR", "CHAR", "BIGINT", "INTEGER", "INT", "DOUBLE", "FLOAT", "DECIMAL", "BOOLEAN"];
    let named = before.last().is_some_and(|token| TYPES.iter().any(|name| is(token, name)));
    named && next.is_some_and(|token| token.token == Token::RParen)
}
