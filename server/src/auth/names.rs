//! What users and roles may be called. Names stand in headers, paths and logs, and are read there: no two that are kept apart
//! look alike because of what nobody sees.

use std::sync::LazyLock;

use regex::Regex;
use unicode_normalization::UnicodeNormalization;

/// What a name is made of, as whoever gives one is told.
pub const RULE: &str = "1 to 128 characters in composed form (Unicode's NFC), none of them invisible, blank, unassigned, of private use, a \
                        control character or one of : / \\ \" ' % ? #, each accent with a letter, and no space at its ends or \
                        beside another";

const LENGTH_MAX: usize = 128;

/// What nothing is seen of, or whatever a font has for it: control and format characters, unassigned ones and those of private
/// use, separators but for the space, what Unicode says is ignored (joiners, fillers, selectors, tags), and some that are
/// symbols or letters by their category and are drawn as nothing: the blank of Braille, places of objects and of what could
/// not be read, blanks of hieroglyphs, a filler of Khitan, a note without a head, half a blank of ideographs.
const UNSEEN: &str = r"[[\p{C}\p{Z}\p{Default_Ignorable_Code_Point}\x{2800}\x{FFFC}\x{FFFD}\x{13441}\x{13442}\x{16FE4}\x{1D159}\x{303F}]--[ ]]";

/// What means something in paths, headers and keys.
const MARKED: &str = r#"[:/\\"'%?#]"#;

/// Spaces that nobody sees or counts, and marks that stand on nothing.
const ASTRAY: &str = r"^ | $|  |(?:^| )\p{M}";

static ODD: LazyLock<Regex> = LazyLock::new(|| {
    let pattern = format!("{UNSEEN}|{MARKED}|{ASTRAY}");
    Regex::new(&pattern).expect("its parts are patterns, which a test reads")
});

/// Whether something may have this name. Those that were given before the rule was this one are names all the same.
pub fn may_be_given(name: &str) -> bool {
    let is_long = name.chars().nth(LENGTH_MAX).is_some();
    !name.is_empty() && !is_long && !ODD.is_match(name) && name.nfc().eq(name.chars())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_people_are_called() {
        let long = "é".repeat(LENGTH_MAX);
        for name in [
            "ann",
            "Ann Lee",
            "ann@example.com",
            "o.brien-2_x",
            "Zoë",
            "Łukasz",
            "Ωmega",
            "Дмитрий",
            "李小龍",
            "さくら",
            "홍길동",
            "محمد",
            "नरेन्द्र",
            "สมชาย",
            "x̌y",
            "ann+tag",
            "a=b;c",
            "🦀",
            long.as_str(),
        ] {
            assert!(may_be_given(name), "{name}");
        }
        assert!(!may_be_given(&format!("{long}a")));
        for name in ["", " ", " ann", "ann ", "a  b", "a:b", "a/b", "a\\b", "a\"b", "a'b", "a%b", "a?b", "a#b"] {
            assert!(!may_be_given(name), "{name:?}");
        }
    }

    /// What looks as another name, or as none.
    #[test]
    fn no_two_names_look_alike_because_of_what_is_not_seen() {
        let unseen = [
            // Control and format characters, joiners, marks of direction, tags, selectors.
            '\0',
            '\n',
            '\u{7f}',
            '\u{85}',
            '\u{ad}',
            '\u{34f}',
            '\u{61c}',
            '\u{115f}',
            '\u{1160}',
            '\u{17b4}',
            '\u{180b}',
            '\u{180e}',
            '\u{200b}',
            '\u{200d}',
            '\u{200e}',
            '\u{202e}',
            '\u{2060}',
            '\u{2066}',
            '\u{3164}',
            '\u{fe0f}',
            '\u{feff}',
            '\u{ffa0}',
            '\u{fff9}',
            '\u{e0041}',
            '\u{e0100}',
            '\u{110bd}',
            '\u{13430}',
            '\u{1bca0}',
            '\u{1d173}',
            // Spaces other than the space.
            '\t',
            '\u{a0}',
            '\u{1680}',
            '\u{2003}',
            '\u{2028}',
            '\u{202f}',
            '\u{3000}',
            // Symbols and letters without anything to see.
            '\u{2800}',
            '\u{fffc}',
            '\u{fffd}',
            '\u{13441}',
            '\u{13442}',
            '\u{16fe4}',
            '\u{1d159}',
            '\u{303f}',
            // Nobody's, and whoever's.
            '\u{378}',
            '\u{fdd0}',
            '\u{ffff}',
            '\u{10ffff}',
            '\u{e000}',
            '\u{f8ff}',
            '\u{100000}',
        ];
        for ch in unseen {
            for name in [format!("{ch}"), format!("ann{ch}"), format!("{ch}ann"), format!("a{ch}nn")] {
                assert!(!may_be_given(&name), "{name:?}");
            }
        }
        // Of two ways to write the same one is a name.
        for (composed, other) in
            [("é", "e\u{301}"), ("Å", "\u{212b}"), ("각", "\u{1100}\u{1161}\u{11a8}"), ("ế", "e\u{301}\u{302}")]
        {
            assert!(may_be_given(composed) && !may_be_given(other), "{composed} {other}");
        }
        assert!(!may_be_given("q\u{301}\u{323}") && may_be_given("q\u{323}\u{301}"), "marks have an order");
        assert!(!may_be_given("\u{301}ann") && !may_be_given("ann \u{301}"), "a mark on nothing");
    }

    /// Whatever there is: what is let through is seen, and is as it is normalised.
    #[test]
    fn of_all_characters_none_is_let_through_that_is_not_seen_by_its_category() {
        let ignored = Regex::new(r"\p{Default_Ignorable_Code_Point}|\p{C}|\p{Z}").unwrap();
        for ch in '\0'..=char::MAX {
            let name = format!("a{ch}b");
            if may_be_given(&name) {
                assert!(ch == ' ' || !ignored.is_match(&ch.to_string()), "{ch:?}");
                assert_eq!(name.nfc().collect::<String>(), name);
            }
        }
    }
}
