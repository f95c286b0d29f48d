//! Seeded events of about 300 bytes in 14 fields, like wiki edits: skewed values, nearly ascending time.

use std::fmt::Write;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

const LANGUAGES: &[&str] =
    &["en", "de", "fr", "ru", "ja", "es", "it", "zh", "pl", "pt", "nl", "sv", "ar", "fa", "uk", "vi"];
const NAMESPACES: &[&str] = &["Main", "Talk", "User", "User_talk", "Wikipedia", "File", "Template", "Category"];
const COUNTRIES: &[&str] = &["US", "DE", "GB", "FR", "IN", "JP", "BR", "CA", "IT", "RU", "ES", "AU"];
const SYLLABLES: &[&str] = &["ba", "ke", "li", "mo", "nu", "pa", "re", "si", "to", "vu", "za", "do"];

/// JSON lines.
pub fn events(count: usize) -> Vec<u8> {
    let mut random = SmallRng::seed_from_u64(7);
    let comments: Vec<String> = (0..50_000).map(|_| words(&mut random)).collect();
    let mut out = String::with_capacity(count * 310);
    for number in 0..count {
        let millis = 1_767_225_600_000 + number as i64
            - if random.random_bool(0.01) { random.random_range(0..30_000) } else { 0 };
        let user = skewed(&mut random, count / 50 + 1000);
        let anonymous = user.is_multiple_of(3);
        let added = if random.random_bool(0.8) { random.random_range(0..900) } else { 0 };
        let deleted = if random.random_bool(0.3) { random.random_range(0..400) } else { 0 };
        let country =
            if anonymous { format!("\"{}\"", COUNTRIES[skewed(&mut random, COUNTRIES.len())]) } else { "null".into() };
        writeln!(
            out,
            r##"{{"time":"{}","channel":"#{}.wikipedia","page":"Page {} of {}","user":"User{user}","namespace":"{}","comment":"{}","isRobot":{},"isNew":{},"isMinor":{},"isAnonymous":{anonymous},"country":{country},"added":{added},"deleted":{deleted},"delta":{}}}"##,
            segment::time::format_timestamp(millis),
            LANGUAGES[skewed(&mut random, LANGUAGES.len())],
            skewed(&mut random, count / 20 + 1000),
            SYLLABLES[random.random_range(0..SYLLABLES.len())],
            NAMESPACES[skewed(&mut random, NAMESPACES.len())],
            comments[random.random_range(0..comments.len())],
            random.random_bool(0.2),
            random.random_bool(0.05),
            random.random_bool(0.3),
            added - deleted,
        )
        .expect("writing to a string");
    }
    out.into_bytes()
}

/// An index below `n`, small ones far more often.
fn skewed(random: &mut SmallRng, n: usize) -> usize {
    let u: f64 = random.random();
    ((n as f64).powf(u) - 1.0) as usize % n
}

fn words(random: &mut SmallRng) -> String {
    let count = random.random_range(12..28);
    (0..count).map(|_| SYLLABLES[random.random_range(0..SYLLABLES.len())]).collect::<Vec<_>>().join(" ")
}

/// The `dataSchema` of these events.
pub fn data_schema(datasource: &str) -> serde_json::Value {
    serde_json::json!({
        "dataSource": datasource,
        "timestampSpec": {"column": "time", "format": "iso"},
        "dimensionsSpec": {"dimensions": [
            "channel", "page", "user", "namespace", "comment", "isRobot", "isNew", "isMinor", "isAnonymous", "country",
            {"type": "long", "name": "added"}, {"type": "long", "name": "deleted"}, {"type": "long", "name": "delta"},
        ]},
        "metricsSpec": [],
        "granularitySpec": {"segmentGranularity": "DAY", "queryGranularity": "NONE", "rollup": false},
    })
}
