//! Finding the known name that an unknown one was meant to be, for error messages.

/// The known name nearest to `name`, if one is near enough to be a slip of the pen.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = name.to_lowercase();
    let distance = |known: &str| strsim::damerau_levenshtein(&wanted, &known.to_lowercase());
    let (distance, found) = known.into_iter().map(|known| (distance(known), known)).min()?;
    (distance <= 1 + wanted.chars().count() / 3).then_some(found)
}

/// `, did you mean [x]` or `: use one of x, y`, to end a message about an unknown name.
pub fn hint(name: &str, known: &[&str]) -> String {
    match nearest(name, known.iter().copied()) {
        Some(near) => format!(", did you mean [{near}]"),
        None => format!(": use one of {}", known.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_found_and_far_ones_are_not() {
        let known = ["selector", "bound", "longSum"];
        assert_eq!(nearest("selctor", known), Some("selector"));
        assert_eq!(nearest("longsum", known), Some("longSum"));
        assert_eq!(nearest("javascript", known), None);
        assert_eq!(hint("bond", &known), ", did you mean [bound]");
        assert_eq!(hint("zzz", &known), ": use one of selector, bound, longSum");
    }
}
