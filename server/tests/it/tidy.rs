//! The walls of the house: which crate may import which, and no file too long to tell one story.

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
fn modules_of_a_crate_form_no_circle_with_its_roof() {
    // `lib.rs` gathers; nothing below it may reach up to another crate's name for itself.
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
