//! The walls of the house: which crate may import which, where foreign crates stand, and what every file and page says.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Crate → what it may depend on, of ours.
const ARROWS: &[(&str, &[&str])] = &[
    ("segment", &[]),
    ("query", &["segment"]),
    ("query/sql", &["segment", "query"]),
    ("ingest", &["segment"]),
    ("coordinator", &["segment"]),
    ("server", &["segment", "query", "query-sql", "ingest", "coordinator"]),
];

#[test]
fn crates_depend_downwards_only() {
    for (folder, allowed) in ARROWS {
        let text = fs::read_to_string(root().join(folder).join("Cargo.toml")).unwrap();
        let manifest: toml::Table = text.parse().unwrap();
        let dependencies = manifest["dependencies"].as_table().unwrap();
        let ours = ["segment", "query", "query-sql", "ingest", "coordinator", "server"];
        for name in dependencies.keys().filter(|k| ours.contains(&k.as_str())) {
            assert!(allowed.contains(&name.as_str()), "{folder} must not depend on {name}");
        }
    }
}

/// Foreign crates that one place alone may use.
const PLACES: &[(&str, &[&str])] = &[
    ("datafusion", &["query/sql"]),
    ("rdkafka", &["ingest/src/source/kafka", "server/src/quickstart", "server/tests", "ingest/tests", "bench"]),
    ("sqlx", &["coordinator/src/catalog"]),
    ("axum", &["server"]),
    ("object_store", &["segment/src/storage", "ingest/src/source/files.rs"]),
];

#[test]
fn foreign_crates_stay_in_their_places() {
    for file in rust_files() {
        let shown = file.strip_prefix(root()).unwrap().display().to_string();
        let text = fs::read_to_string(&file).unwrap();
        for (name, places) in PLACES {
            let used = text
                .lines()
                .any(|l| l.trim_start().starts_with(&format!("use {name}::")) || l.contains(&format!(" {name}::")));
            assert!(!used || places.iter().any(|p| shown.starts_with(p)), "{shown} uses {name}");
        }
    }
}

#[test]
fn every_file_says_what_it_is() {
    let mut headers = BTreeMap::new();
    for file in rust_files().into_iter().filter(|f| f.components().any(|c| c.as_os_str() == "src")) {
        let text = fs::read_to_string(&file).unwrap();
        headers.insert(file.clone(), text.starts_with("//!"));
    }
    let bare: Vec<_> = headers.iter().filter(|(_, has)| !**has).map(|(f, _)| f.display().to_string()).collect();
    assert!(bare.is_empty(), "files without a header that says what they are: {bare:#?}");
}

fn rust_files() -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders: Vec<PathBuf> =
        ["segment", "query", "ingest", "coordinator", "server", "bench"].iter().map(|f| root().join(f)).collect();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("target") {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                files.push(path);
            }
        }
    }
    files
}

/// Every route of the server stands in `docs/api.md`.
#[test]
fn the_api_page_lists_every_route() {
    let page = fs::read_to_string(root().join("docs/api.md")).unwrap();
    let mut routes = 0;
    for file in rust_files().into_iter().filter(|f| f.starts_with(root().join("server/src/http"))) {
        let text = fs::read_to_string(&file).unwrap();
        let after =
            |mark: &str, from: &str| from.split(mark).nth(1).and_then(|t| t.split('"').nth(1)).map(str::to_string);
        let prefix = after("const ROOT: &str =", &text).unwrap_or_default();
        for call in text.split(".route(").skip(1) {
            let argument = call.split(", ").next().unwrap_or(call);
            let path = match argument.split('"').nth(1) {
                None => prefix.clone(),
                Some(rest) if argument.starts_with("&path(") => format!("{prefix}{rest}"),
                Some(path) => path.replace("{{", "{").replace("}}", "}").replace("{root}", "/druid/coordinator/v1"),
            };
            assert!(page.contains(&format!("`{path}`")), "docs/api.md lacks {path} of {}", file.display());
            routes += 1;
        }
    }
    assert!(routes > 60, "only {routes} routes were found");
}

/// The names in the code of a catalogue: the strings of a list, the parts of a text, or the arguments after a mark.
fn names_in(file: &str, after: &str, until: &str, listed: bool) -> Vec<String> {
    let text = fs::read_to_string(root().join(file)).unwrap();
    let at = text.find(after).unwrap_or_else(|| panic!("{file} has no {after}")) + after.len();
    let part = &text[at..at + text[at..].find(until).unwrap()];
    if listed {
        return part.split('"').skip(1).step_by(2).map(str::to_string).collect();
    }
    let text = part.replace("\\\n", " ");
    text.trim_matches(|c: char| c.is_whitespace() || c == '"')
        .split(',')
        .map(|name| name.trim().trim_end_matches(" of type map").to_string())
        .collect()
}

fn arguments_of(files: &str, mark: &str) -> Vec<String> {
    let folder = root().join(files);
    let inside = rust_files().into_iter().filter(|file| file.starts_with(&folder));
    let names = |file| {
        let text = fs::read_to_string(file).unwrap();
        text.split(mark).skip(1).filter_map(|rest| rest.split('"').next()).map(str::to_string).collect::<Vec<_>>()
    };
    inside.flat_map(names).collect()
}

/// Every name that queries may use stands in `docs/druid-compatibility.md` as one that is there, and no name that is said
/// to be absent is in the code.
#[test]
fn the_compatibility_page_says_what_the_code_has() {
    let page = fs::read_to_string(root().join("docs/druid-compatibility.md")).unwrap();
    let section = |title: &str| {
        let after = page.split(&format!("\n## {title}\n")).nth(1).unwrap_or_else(|| panic!("no section {title}"));
        after.split("\n## ").next().unwrap().to_string()
    };
    let check = |title: &str, names: Vec<String>| {
        let section = section(title);
        assert!(!names.is_empty(), "{title}");
        for name in &names {
            let row = section.lines().find(|line| line.starts_with(&format!("| `{name}` |")));
            let row = row.unwrap_or_else(|| panic!("docs/druid-compatibility.md, {title}: lacks {name}"));
            assert!(!row.contains("| absent |"), "{title}: {name} is there");
        }
        for row in section.lines().filter(|line| line.starts_with("| `")) {
            let cells: Vec<&str> = row.split('|').map(str::trim).collect();
            assert!(["same", "better", "differs", "absent"].contains(&cells[2]), "{row}");
            assert!(cells[2] == "same" || !cells[3].is_empty(), "{title}: say how or why: {row}");
        }
    };
    let language = |file: &str| names_in(&format!("query/src/language/{file}.rs"), "const KNOWN: &str =", ";", false);
    check("Query types", language("parse"));
    check("Data sources", language("datasource"));
    check("Dimension specs", language("dimension"));
    check("Extraction functions", language("extraction"));
    check("Having", language("having"));
    check("Virtual columns", language("virtual_column"));
    check("Post-aggregators", language("post_aggregate"));
    check("Post-aggregators", language("sketch_post"));
    check("Filters", names_in("segment/src/filter/json.rs", "const TYPES:", "];", true));
    check("Aggregators", names_in("segment/src/aggregate/json.rs", "const TYPES:", "];", true));
    check("Aggregators", names_in("segment/src/aggregate/sketch.rs", "const TYPES:", "];", true));
    check("Expression functions", arguments_of("segment/src/expr/functions", "    function(\""));
    let upper = |names: Vec<String>| names.iter().map(|name| name.to_ascii_uppercase()).collect::<Vec<_>>();
    let mut functions = arguments_of("query/sql/src/functions.rs", "\n    f(\"");
    // What the parser puts in place of clauses is no name that statements use.
    let internal = ["text_of", "long_of", "position_from"];
    functions.retain(|name| !name.starts_with("json_value_") && !internal.contains(&name.as_str()));
    check("SQL functions", upper(functions));
    let aggregates = arguments_of("query/sql/src/aggregates.rs", "\n        (\"");
    check("SQL aggregates of Druid's own", upper(aggregates));
    let sketches = arguments_of("query/sql/src/sketches.rs", "\n    d(\"");
    check("SQL aggregates of Druid's own", upper(sketches));
}
