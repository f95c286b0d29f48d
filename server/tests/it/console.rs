//! The files of the console: found by whoever has not signed in yet, kept by browsers no longer than they are right, and running
//! nothing but themselves.

use serde_json::json;

use crate::harness::{Reply, Server};

fn header<'a>(reply: &'a Reply, name: &str) -> &'a str {
    reply.headers.get(name).map_or("", |value| value.to_str().unwrap())
}

#[test]
fn the_console_is_served_to_whoever_comes() {
    let dir = tempfile::tempdir().unwrap();
    // Who has not signed in gets the page to sign in at.
    let server = Server::start_with(dir.path(), &[("auth.required", "true")]);
    let refused = server.get("/druid/v2/datasources");
    assert!(refused.status == 401 && header(&refused, "www-authenticate").starts_with("Basic"), "{}", refused.status);
    // A page that asks has a sign-in of its own, and is not challenged.
    let of_page = server.send("GET", "/druid/v2/datasources", &[("X-Requested-With", "henge-console")], None);
    assert_eq!((of_page.status, header(&of_page, "www-authenticate")), (401, ""));
    // What there is not is held to the same, and says nothing of what it was asked for.
    let missing = server.get("/console/assets/none-xyzzy.js");
    assert!(
        missing.status == 404 && !missing.body.to_string().contains("xyzzy"),
        "{} {}",
        missing.status,
        missing.body
    );
    for (name, says) in [
        ("content-security-policy", "default-src 'none'"),
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "no-referrer"),
        ("cache-control", "no-store"),
    ] {
        assert!(header(&missing, name).contains(says), "{name}: {}", header(&missing, name));
    }
    let page = server.get("/console/");
    if page.status == 404 {
        assert!(page.body.to_string().contains("make build"), "{}", page.body);
        return eprintln!("the_console_is_served_to_whoever_comes: NOT RUN, this binary was built without the console");
    }
    let text = page.body.as_str().unwrap();
    assert!(page.status == 200 && text.contains("<div id=\"root\""), "{} {text}", page.status);
    assert_eq!(header(&page, "content-type"), "text/html; charset=utf-8");
    assert_eq!(header(&page, "cache-control"), "no-cache");
    let policy = header(&page, "content-security-policy");
    assert!(policy.contains("script-src 'self'") && !policy.contains("unsafe"), "{policy}");
    // Every page is the one document, wherever the browser comes in.
    for path in ["/console", "/console/query", "/console/datasources/a.b%2Fc", "/console/no/such/page/"] {
        assert_eq!(server.get(path).body, page.body, "{path}");
    }
    let tag = header(&page, "etag");
    assert_eq!(server.send("GET", "/console/", &[("If-None-Match", tag)], None).status, 304);
    assert_eq!(server.send("GET", "/console/", &[("If-None-Match", "\"other\"")], None).status, 200);
    // What it loads is there, is what it says it is, and may be kept.
    let mut files = 0;
    for part in text.split('"').filter(|part| part.starts_with("/console/assets/")) {
        let file = server.get(part);
        assert!(file.status == 200 && header(&file, "cache-control").contains("immutable"), "{part}: {}", file.status);
        let kind = if part.ends_with(".css") { "text/css" } else { "text/javascript" };
        assert!(header(&file, "content-type").starts_with(kind), "{part}: {}", header(&file, "content-type"));
        files += 1;
    }
    assert!(files > 1, "{text}");
    assert_eq!(header(&missing, "content-security-policy"), policy);
    for outside in [
        "/console/assets/..%2f..%2fCargo.toml",
        "/console/%2e%2e/%2e%2e/Cargo.toml",
        "/console/assets/../../../etc/passwd",
    ] {
        let told = server.get(outside).body.to_string();
        assert!(!told.contains("[package]") && !told.contains("root:"), "{outside}: {told}");
    }
    assert_eq!(server.send("POST", "/console/", &[], Some(&json!({}))).status, 401);
}
