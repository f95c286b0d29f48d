//! The walls of the house: which crate may import which, where foreign crates stand, and what every file and page says.

use std::collections::{BTreeMap, BTreeSet};
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
    (
        "rdkafka",
        &[
            "ingest/src/source/kafka",
            "server/src/quickstart",
            "server/src/audit/copy",
            "server/tests",
            "ingest/tests",
            "bench",
        ],
    ),
    ("sqlx", &["coordinator/src/catalog"]),
    ("axum", &["server"]),
    ("object_store", &["segment/src/storage", "segment/tests", "ingest/src/source/files.rs"]),
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
    let routes = server::http::routes();
    let lacking: Vec<_> = routes.iter().filter(|(_, path, _)| !page.contains(&format!("`{path}`"))).collect();
    assert!(lacking.is_empty(), "docs/api.md lacks {lacking:#?}");
    assert!(routes.len() > 100, "only {} routes were found", routes.len());
}

/// The OpenAPI document describes every route, Druid's too, and no other; what it refers to is there, and nothing that is there is
/// referred to by nobody.
#[test]
fn the_openapi_document_describes_every_route() {
    use server::http::manage::openapi;
    let written = openapi::written().unwrap();
    let mut described = BTreeSet::new();
    for (path, methods) in written["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let summary = operation["summary"].as_str().unwrap_or_else(|| panic!("{method} {path} has no summary"));
            assert!(!summary.is_empty() && operation["responses"].is_object(), "{method} {path}");
            described.insert((method.to_uppercase(), path.clone()));
        }
    }
    let routes = server::http::routes();
    let known: BTreeSet<_> =
        routes.iter().map(|(method, path, _)| (method.to_string(), openapi::described(path))).collect();
    let lacking: Vec<_> = known.difference(&described).collect();
    let gone: Vec<_> = described.difference(&known).collect();
    assert!(lacking.is_empty() && gone.is_empty(), "not described: {lacking:#?}, not served: {gone:#?}");

    let document = openapi::document();
    for (method, path, need) in &routes {
        let operation = &document["paths"][openapi::described(path)][method.as_str().to_lowercase()];
        assert!(operation["x-henge-needs"].is_string(), "{method} {path}");
        let open = *need == server::http::auth::Need::Open;
        assert_eq!(operation["security"] == serde_json::json!([]), open, "{method} {path}");
        assert_eq!(operation["responses"]["401"].is_object(), !open || path.ends_with("/login"), "{method} {path}");
        let named = operation["parameters"].as_array().into_iter().flatten();
        let named = named.filter(|parameter| parameter["in"] == "path").count();
        assert_eq!(named, path.matches('{').count(), "{method} {path}");
    }
    let text = document.to_string();
    for (sort, of) in document["components"].as_object().unwrap() {
        for name in of.as_object().unwrap().keys().filter(|_| sort != "securitySchemes") {
            assert!(text.contains(&format!("\"#/components/{sort}/{name}\"")), "nobody refers to {sort} {name}");
        }
    }
    for reference in text.split("\"$ref\":\"#/").skip(1).filter_map(|rest| rest.split('"').next()) {
        assert!(document.pointer(&format!("/{reference}")).is_some(), "there is no {reference}");
    }
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

/// The rows of the compatibility page: category (a section, or a section and its part), name, state, note.
fn compatibility_rows() -> Vec<[String; 4]> {
    let page = fs::read_to_string(root().join("docs/druid-compatibility.md")).unwrap();
    let (mut section, mut part, mut rows) = ("", "", Vec::new());
    for line in page.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            (section, part) = (title, "");
        } else if let Some(title) = line.strip_prefix("### ") {
            part = title;
        } else if line.starts_with("| `") {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            let category = if part.is_empty() { section.to_string() } else { format!("{section}: {part}") };
            rows.push([category, cells[1].trim_matches('`').to_string(), cells[2].to_string(), cells[3].to_string()]);
        }
    }
    rows
}

/// The page's rows are the names that queries may use, and those that are said to be absent. SQL's functions are held to
/// the page where their list is, in `query/sql/tests`.
#[test]
fn the_compatibility_page_says_what_the_code_has() {
    let language = |file: &str| names_in(&format!("query/src/language/{file}.rs"), "const KNOWN: &str =", ";", false);
    let types = |file: &str| names_in(file, "const TYPES:", "];", true);
    let both = |one: Vec<String>, other: Vec<String>| [one, other].concat();
    let sections = [
        ("Query types", language("parse")),
        ("Data sources", language("datasource")),
        ("Dimension specs", language("dimension")),
        ("Extraction functions", language("extraction")),
        ("Having", language("having")),
        ("Virtual columns", language("virtual_column")),
        ("Post-aggregators", both(language("post_aggregate"), language("sketch_post"))),
        ("Filters", types("segment/src/filter/json.rs")),
        ("Aggregators", both(types("segment/src/aggregate/json.rs"), types("segment/src/aggregate/sketch.rs"))),
        (
            "Expression functions",
            ["    function(\"", "    function(\n        \"", "    real(\"", "    real2(\""]
                .iter()
                .flat_map(|mark| arguments_of("segment/src/expr/functions", mark))
                .collect(),
        ),
    ];
    let rows = compatibility_rows();
    let mut wrong = Vec::new();
    for (section, names) in sections {
        let code: BTreeSet<&str> = names.iter().map(String::as_str).collect();
        let of_section = rows.iter().filter(|row| row[0] == section || row[0].starts_with(&format!("{section}: ")));
        let page: BTreeSet<&str> = of_section.filter(|row| row[2] != "absent").map(|row| row[1].as_str()).collect();
        assert!(!code.is_empty(), "{section}");
        for name in page.symmetric_difference(&code) {
            wrong.push(format!(
                "{section}: {name} is {}",
                if code.contains(name) { "not on the page" } else { "not there" }
            ));
        }
    }
    assert!(wrong.is_empty(), "docs/druid-compatibility.md and the code: {wrong:#?}");
    for row in &rows {
        assert!(["same", "better", "differs", "absent"].contains(&row[2].as_str()), "{row:?}");
        assert!(row[2] == "same" || !row[3].is_empty(), "say how or why: {row:?}");
    }
}

/// The table of counts on the page counts the page's rows.
#[test]
fn the_compatibility_page_counts_its_rows() {
    let mut counts: Vec<(String, [usize; 6])> = Vec::new();
    let mut total = [0; 6];
    for [category, _, state, note] in compatibility_rows() {
        if counts.last().is_none_or(|(last, _)| *last != category) {
            counts.push((category, [0; 6]));
        }
        let of = &mut counts.last_mut().unwrap().1;
        let beyond = note.starts_with("beyond Druid");
        let is =
            [!beyond, state != "absent" && !beyond, state == "better", state == "differs", state == "absent", beyond];
        for (idx, is) in is.into_iter().enumerate() {
            of[idx] += usize::from(is);
            total[idx] += usize::from(is);
        }
    }
    counts.push(("All".to_string(), total));
    let line = |(category, of): &(String, [usize; 6])| {
        let numbers: Vec<String> = of.iter().map(usize::to_string).collect();
        format!("| {category} | {} |\n", numbers.join(" | "))
    };
    let table: String = counts.iter().map(line).collect();
    let page = fs::read_to_string(root().join("docs/druid-compatibility.md")).unwrap();
    assert!(
        page.contains(&format!("| --- | --- | --- | --- | --- | --- | --- |\n{table}\n")),
        "the counts are:\n{table}"
    );
}
