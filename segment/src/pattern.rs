//! Patterns: SQL's `LIKE`, compiled to the cheapest form that does it, and Java's regular expressions, translated.

use regex::Regex;

use crate::error::{Error, Result};

#[derive(Debug, Clone, PartialEq)]
pub struct Like {
    pub pattern: String,
    pub escape: Option<char>,
}

/// A compiled [`Like`].
#[derive(Debug, Clone, PartialEq)]
pub enum LikeMatcher {
    Exact(String),
    Prefix(String),
    Suffix(String),
    Contains(String),
    /// Starts and ends with, without overlap.
    Around(String, String),
    /// Everything but null.
    Anything,
    /// Pieces between `%`: the first stands at the start, the last at the end.
    General(Vec<Piece>),
}

/// Characters in a row; `None` is `_`, any one character.
pub type Piece = Vec<Option<char>>;

impl Like {
    pub fn compile(&self) -> LikeMatcher {
        let mut pieces: Vec<Piece> = vec![Vec::new()];
        let mut chars = self.pattern.chars();
        while let Some(c) = chars.next() {
            let literal = if Some(c) == self.escape { chars.next() } else { None };
            let piece = pieces.last_mut().expect("starts with one piece");
            match (literal, c) {
                (Some(escaped), _) => piece.push(Some(escaped)),
                (None, _) if Some(c) == self.escape => {}
                (None, '_') => piece.push(None),
                (None, '%') => {
                    if pieces.len() == 1 || pieces.last().is_some_and(|p| !p.is_empty()) {
                        pieces.push(Vec::new());
                    }
                }
                (None, c) => piece.push(Some(c)),
            }
        }
        let plain = |piece: &Piece| piece.iter().copied().collect::<Option<String>>();
        match pieces.as_slice() {
            [only] => plain(only).map(LikeMatcher::Exact),
            [first, last] => match (plain(first), plain(last)) {
                (Some(a), Some(b)) => Some(match (a.is_empty(), b.is_empty()) {
                    (true, true) => LikeMatcher::Anything,
                    (false, true) => LikeMatcher::Prefix(a),
                    (true, false) => LikeMatcher::Suffix(b),
                    (false, false) => LikeMatcher::Around(a, b),
                }),
                _ => None,
            },
            [first, middle, last] if first.is_empty() && last.is_empty() => plain(middle).map(LikeMatcher::Contains),
            _ => None,
        }
        .unwrap_or(LikeMatcher::General(pieces))
    }
}

impl LikeMatcher {
    pub fn matches(&self, text: &str) -> bool {
        match self {
            LikeMatcher::Exact(exact) => text == exact,
            LikeMatcher::Prefix(prefix) => text.starts_with(prefix.as_str()),
            LikeMatcher::Suffix(suffix) => text.ends_with(suffix.as_str()),
            LikeMatcher::Contains(part) => text.contains(part.as_str()),
            LikeMatcher::Around(prefix, suffix) => {
                text.len() >= prefix.len() + suffix.len()
                    && text.starts_with(prefix.as_str())
                    && text.ends_with(suffix.as_str())
            }
            LikeMatcher::Anything => true,
            LikeMatcher::General(pieces) => general(pieces, text),
        }
    }

    /// A text that every match contains: the longest there is.
    pub fn needle(&self) -> String {
        match self {
            LikeMatcher::Exact(text)
            | LikeMatcher::Prefix(text)
            | LikeMatcher::Suffix(text)
            | LikeMatcher::Contains(text) => text.clone(),
            LikeMatcher::Around(start, end) if start.len() > end.len() => start.clone(),
            LikeMatcher::Around(_, end) => end.clone(),
            LikeMatcher::Anything => String::new(),
            LikeMatcher::General(pieces) => {
                let literals = pieces.iter().flat_map(|piece| piece.split(Option::is_none));
                let texts = literals.map(|literal| literal.iter().flatten().collect::<String>());
                texts.max_by_key(String::len).unwrap_or_default()
            }
        }
    }

    /// What every match starts with.
    pub fn prefix(&self) -> &str {
        match self {
            LikeMatcher::Exact(text) | LikeMatcher::Prefix(text) | LikeMatcher::Around(text, _) => text,
            LikeMatcher::Suffix(_) | LikeMatcher::Contains(_) | LikeMatcher::Anything | LikeMatcher::General(_) => "",
        }
    }
}

/// What is left of `text` after a piece at its start.
fn strip<'a>(piece: &Piece, text: &'a str) -> Option<&'a str> {
    let mut chars = text.chars();
    for wanted in piece {
        let c = chars.next()?;
        if wanted.is_some_and(|wanted| wanted != c) {
            return None;
        }
    }
    Some(chars.as_str())
}

/// The shortest way through: each piece is taken where it first fits, which leaves the most for the rest.
fn general(pieces: &[Piece], text: &str) -> bool {
    let (Some((first, rest)), true) = (pieces.split_first(), !pieces.is_empty()) else { return text.is_empty() };
    let Some(mut left) = strip(first, text) else { return false };
    let Some((last, middle)) = rest.split_last() else { return left.is_empty() };
    for piece in middle {
        let mut from = left;
        loop {
            if let Some(after) = strip(piece, from) {
                left = after;
                break;
            }
            let mut chars = from.chars();
            if chars.next().is_none() {
                return false;
            }
            from = chars.as_str();
        }
    }
    let count = left.chars().count();
    count >= last.len() && strip(last, skip_chars(left, count - last.len())).is_some()
}

fn skip_chars(text: &str, count: usize) -> &str {
    let mut chars = text.chars();
    for _ in 0..count {
        chars.next();
    }
    chars.as_str()
}

/// A Java pattern as a regular expression with the same meaning. What has no counterpart (look-around, back references,
/// possessive quantifiers) is refused by name.
pub fn java_regex(pattern: &str) -> Result<Regex> {
    let wrong = |what: &str| Error::invalid(format!("regular expression [{pattern}] {what}"));
    let translated = translate(pattern).map_err(|what| wrong(&format!("uses {what}, which is not supported")))?;
    regex::RegexBuilder::new(&translated).size_limit(4 << 20).build().map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => wrong("is too large"),
        error => {
            let text = error.to_string();
            wrong(&format!("is not valid: {}", text.lines().last().unwrap_or("").trim_start_matches("error: ")))
        }
    })
}

fn translate(pattern: &str) -> std::result::Result<String, &'static str> {
    let chars: Vec<char> = pattern.chars().collect();
    let mut out = String::with_capacity(pattern.len() + 8);
    let (mut at, mut class_depth) = (0, 0usize);
    let mut after_quantifier = false;
    while at < chars.len() {
        let c = chars[at];
        let next = chars.get(at + 1).copied();
        let in_class = class_depth > 0;
        let mut quantifier = false;
        match c {
            '\\' => {
                at += escape(&chars[at..], in_class, &mut out)?;
                after_quantifier = false;
                continue;
            }
            '[' => {
                class_depth += 1;
                out.push(c);
                if next == Some('^') {
                    out.push('^');
                    at += 1;
                }
            }
            ']' if in_class => {
                class_depth -= 1;
                out.push(c);
            }
            '-' | '~' if in_class && next == Some(c) => {
                out.push('\\');
                out.push(c);
            }
            '(' if !in_class && next == Some('?') => {
                match (chars.get(at + 2), chars.get(at + 3)) {
                    (Some('=' | '!'), _) => return Err("look-ahead"),
                    (Some('<'), Some('=' | '!')) => return Err("look-behind"),
                    (Some('>'), _) => return Err("an atomic group"),
                    _ => {}
                }
                out.push(c);
            }
            '*' | '+' | '?' | '}' if !in_class => {
                if after_quantifier && c == '+' {
                    return Err("a possessive quantifier");
                }
                quantifier = !after_quantifier;
                out.push(c);
            }
            _ => out.push(c),
        }
        after_quantifier = quantifier;
        at += 1;
    }
    Ok(out)
}

/// Translates the escape at the start and says how many characters it took.
fn escape(chars: &[char], in_class: bool, out: &mut String) -> std::result::Result<usize, &'static str> {
    let Some(c) = chars.get(1).copied() else {
        out.push('\\');
        return Ok(1);
    };
    let mut set = |members: &str, negated: bool| {
        if in_class && !negated {
            out.push_str(members);
        } else {
            out.push_str(if negated { "[^" } else { "[" });
            out.push_str(members);
            out.push(']');
        }
    };
    const SPACES: &str = " \\t\\n\\x0B\\f\\r";
    match c {
        'd' | 'D' => set("0-9", c == 'D'),
        'w' | 'W' => set("a-zA-Z0-9_", c == 'W'),
        's' | 'S' => set(SPACES, c == 'S'),
        'h' | 'H' => set(" \\t\\u00A0\\u1680\\u180e\\u2000-\\u200a\\u202f\\u205f\\u3000", c == 'H'),
        'v' | 'V' => set("\\n\\x0B\\f\\r\\u0085\\u2028\\u2029", c == 'V'),
        'R' => out.push_str("(?:\\r\\n|[\\n\\x0B\\f\\r\\u0085\\u2028\\u2029])"),
        'e' => out.push_str("\\x1B"),
        'Z' => out.push_str("(?:\\n?\\z)"),
        'G' => return Err("\\G"),
        'k' => return Err("a back reference"),
        '1'..='9' => return Err("a back reference"),
        'Q' => {
            let rest: String = chars[2..].iter().collect();
            let (quoted, taken) = match rest.find("\\E") {
                Some(end) => (&rest[..end], rest[..end].chars().count() + 2),
                None => (rest.as_str(), chars.len() - 2),
            };
            out.push_str(&regex::escape(quoted));
            return Ok(2 + taken);
        }
        'p' | 'P' => {
            if let Some(name) = property(&chars[2..]) {
                set(posix_class(&name).unwrap_or(""), c == 'P');
                return Ok(4 + name.chars().count());
            }
            out.push('\\');
            out.push(c);
        }
        _ if c.is_ascii() || !c.is_alphanumeric() => {
            if c.is_ascii() {
                out.push('\\');
            }
            out.push(c);
        }
        _ => out.push(c),
    }
    Ok(2)
}

/// The name in braces, if it is one of Java's POSIX classes.
fn property(chars: &[char]) -> Option<String> {
    let inner = chars.strip_prefix(&['{'])?;
    let end = inner.iter().position(|c| *c == '}')?;
    let name: String = inner[..end].iter().collect();
    posix_class(&name).map(|_| name)
}

fn posix_class(name: &str) -> Option<&'static str> {
    Some(match name {
        "Lower" => "a-z",
        "Upper" => "A-Z",
        "ASCII" => "\\x00-\\x7F",
        "Alpha" => "a-zA-Z",
        "Digit" => "0-9",
        "Alnum" => "a-zA-Z0-9",
        "Punct" => "!-/:-@\\[-`{-~",
        "Graph" => "!-~",
        "Print" => " -~",
        "Blank" => " \\t",
        "Cntrl" => "\\x00-\\x1F\\x7F",
        "XDigit" => "0-9a-fA-F",
        "Space" => " \\t\\n\\x0B\\f\\r",
        "IsAlphabetic" | "javaLetter" => "\\p{Alphabetic}",
        "IsDigit" => "\\p{Nd}",
        "IsLowercase" | "javaLowerCase" => "\\p{Lowercase}",
        "IsUppercase" | "javaUpperCase" => "\\p{Uppercase}",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn like(pattern: &str) -> Like {
        Like { pattern: pattern.into(), escape: Some('\\') }
    }

    #[test]
    fn likes_are_compiled_to_simple_forms() {
        assert_eq!(like("abc").compile(), LikeMatcher::Exact("abc".into()));
        assert_eq!(like("a\\%c%%").compile(), LikeMatcher::Prefix("a%c".into()));
        assert_eq!(like("%x").compile(), LikeMatcher::Suffix("x".into()));
        assert_eq!(like("%x%").compile(), LikeMatcher::Contains("x".into()));
        assert_eq!(like("a%b").compile(), LikeMatcher::Around("a".into(), "b".into()));
        assert_eq!(like("%").compile(), LikeMatcher::Anything);
        assert!(!like("aba%ba").compile().matches("aba"));
        assert!(matches!(like("a_%").compile(), LikeMatcher::General(_)));
    }

    #[test]
    fn java_patterns() {
        for (pattern, text, found) in [
            ("b+", "abbc", true),
            ("^b", "abbc", false),
            ("\\d{3}", "a123", true),
            ("^\\w+$", "é", false),
            ("\\Qa.b\\E+", "xa.bb", true),
            ("\\Qa.b", "axb", false),
            ("[\\w--]+x", "a-x", true),
            ("\\p{Upper}{2}", "abCD", true),
            ("^[^\\s]+$", "a b", false),
            ("(?<year>\\d+)-(?:x|y)", "12-y", true),
            ("a\\/b", "a/b", true),
            ("\\u00e9", "é", true),
        ] {
            assert_eq!(java_regex(pattern).unwrap().is_match(text), found, "{pattern} {text}");
        }
        for (pattern, what) in [
            ("a(?=b)", "look-ahead"),
            ("(?<!a)b", "look-behind"),
            ("(a)\\1", "back reference"),
            ("a++", "possessive"),
            ("(a", "is not valid"),
            ("(?:(?:(?:a{500}){500}){500})", "too large"),
        ] {
            let error = java_regex(pattern).unwrap_err().to_string();
            assert!(error.contains(what), "{pattern}: {error}");
        }
    }

    fn naive(pattern: &[char], text: &[char]) -> bool {
        match (pattern.first(), text.first()) {
            (None, _) => text.is_empty(),
            (Some('%'), _) => naive(&pattern[1..], text) || (!text.is_empty() && naive(pattern, &text[1..])),
            (Some('_'), Some(_)) => naive(&pattern[1..], &text[1..]),
            (Some(p), Some(t)) if p == t => naive(&pattern[1..], &text[1..]),
            _ => false,
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn like_agrees_with_a_naive_matcher(pattern in "[abé%_]{0,8}", text in "[abé]{0,8}") {
            let expected = naive(&pattern.chars().collect::<Vec<_>>(), &text.chars().collect::<Vec<_>>());
            let like = Like { pattern, escape: None };
            prop_assert_eq!(like.compile().matches(&text), expected, "{:?}", like.compile());
            prop_assert!(!expected || text.contains(&like.compile().needle()), "{:?}", like.compile());
        }

        #[test]
        fn no_pattern_panics(pattern in ".{0,20}", odd in "[\\\\\\[\\]()?<>=!QEpP{}a1+*^&~-]{0,12}") {
            let _ = java_regex(&pattern);
            let _ = java_regex(&odd);
        }
    }
}
