//! The web console: the pages that `web-console/` builds, kept in the binary. They are the same for everybody and hold nothing
//! of anybody; what they show they ask of the API, as whoever has signed in.
//!
//! Below `/console/` each path that names a file is that file; the others are pages, which the one document finds its way in by
//! itself. A binary that was built without the pages says so there.

use axum::extract::Path;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use rust_embed::{EmbeddedFile, RustEmbed};

use super::Route;
use super::auth::Need;
use super::routes::get;

#[derive(RustEmbed)]
#[folder = "../web-console/dist"]
#[allow_missing = true]
struct Pages;

const DOCUMENT: &str = "index.html";

/// Files in here have their content in their names.
const ASSETS: &str = "assets/";

/// Only what is served here runs, draws and is asked; nobody frames it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; font-src 'self'; \
                      connect-src 'self'; worker-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; \
                      frame-ancestors 'none'";

const ROOT: &str = "/console/";

pub fn routes() -> Vec<Route> {
    // Where the router is told of `/console`, a slash at the end is the same.
    vec![
        get("/", Need::Open, enter),
        get("/unified-console.html", Need::Open, enter),
        get("/console", Need::Open, document),
        get("/console/{*path}", Need::Open, page),
    ]
}

async fn enter() -> Redirect {
    Redirect::temporary(ROOT)
}

async fn document(headers: HeaderMap) -> Response {
    found(DOCUMENT, &headers)
}

async fn page(Path(path): Path<String>, headers: HeaderMap) -> Response {
    found(&path, &headers)
}

fn found(path: &str, asked: &HeaderMap) -> Response {
    if let Some(file) = Pages::get(path) {
        return answer(path, file, asked);
    }
    match Pages::get(DOCUMENT) {
        Some(_) if path.starts_with(ASSETS) => missing("the console has no such file\n"),
        Some(file) => answer(DOCUMENT, file, asked),
        None => missing(
            "This binary was built without the console. `make build` builds both; the API is there all the same.\n",
        ),
    }
}

/// Held to the same as what there is, and without a word of what was asked for.
fn missing(told: &'static str) -> Response {
    let mut response = (StatusCode::NOT_FOUND, told).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    response
}

fn answer(path: &str, file: EmbeddedFile, asked: &HeaderMap) -> Response {
    let hash = file.metadata.sha256_hash();
    let tag: String = hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    // Of what it says, in whatever encoding it goes.
    let tag = format!("W/\"{tag}\"");
    let is_known = asked.get_all(header::IF_NONE_MATCH).iter().any(|known| {
        let known = known.to_str().unwrap_or_default();
        known.split(',').any(|known| known.trim() == tag)
    });
    let mut response = match is_known {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false => file.data.into_owned().into_response(),
    };
    let keep = match path.starts_with(ASSETS) {
        true => "public, max-age=31536000, immutable",
        false => "no-cache",
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind_of(path)));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(keep));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(header::ETAG, tag);
    }
    response
}

fn kind_of(path: &str) -> &'static str {
    match path.rsplit('.').next().unwrap_or_default() {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        "json" | "map" => "application/json",
        "webmanifest" => "application/manifest+json",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}
