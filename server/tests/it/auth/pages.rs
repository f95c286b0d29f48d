//! What a browser adds by itself to requests of pages from elsewhere: remembered passwords and cookies let nobody in there.

use serde_json::{Value, json};

use super::sign_in::login;
use super::{REQUIRED, SECURITY, admin, ask, basic, ok, user, whoami};
use crate::harness::Server;

/// A request that any page can have a browser send, without asking whether it may.
fn simple(server: &Server, method: &str, path: &str, headers: &[(&str, &str)]) -> u16 {
    let mut request = ureq::http::Request::builder().method(method).uri(format!("{}{path}", server.base));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.header("Content-Type", "text/plain;charset=UTF-8").body("{}".to_string()).unwrap();
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let request = agent.configure_request(request).allow_non_standard_methods(true).build();
    agent.run(request).unwrap().status().as_u16()
}

fn druid(name: &str) -> String {
    format!("/druid-ext/basic-security/authentication/db/db/users/{name}")
}

/// What browsers say of pages from elsewhere.
const OTHERS: &[&[(&str, &str)]] = &[
    &[("Origin", "https://evil.example"), ("Sec-Fetch-Site", "cross-site")],
    &[("Origin", "https://evil.example")],
    &[("Origin", "null")],
    &[("Origin", "http://127.0.0.1:1"), ("Sec-Fetch-Site", "same-site")],
    &[("Sec-Fetch-Site", "cross-site")],
    &[("Sec-Fetch-Site", "same-site")],
];

#[test]
fn what_a_browser_remembers_is_worth_nothing_on_pages_of_others() {
    let dir = tempfile::tempdir().unwrap();
    let settings = [REQUIRED, &[("http.cors_origins", "https://board.example"), ("auth.failures_max", "3")]].concat();
    let server = Server::start_with(dir.path(), &settings);
    user(&server, "ann", json!({"password": "ann's own"}));
    user(&server, "bob", json!({"password": "bob's own"}));
    let (by_admin, guess) = (admin(), basic("bob", "a guess"));
    let session = login(&server, "ann", "ann's own", None).unwrap();
    let mine = format!("{SECURITY}/whoami");
    for others in OTHERS {
        let sent = [&[("Authorization", by_admin.as_str())], *others].concat();
        assert_eq!(simple(&server, "POST", &druid("mallory"), &sent), 403, "{others:?}");
        assert_eq!(simple(&server, "GET", &mine, &sent), 403, "{others:?}");
        // It is no attempt either, by which a page could lock somebody out.
        let sent = [&[("Authorization", guess.as_str())], *others].concat();
        for _ in 0..3 {
            assert_eq!(simple(&server, "POST", &druid("mallory"), &sent), 403, "{others:?}");
        }
        let sent = [&[("Cookie", session.cookie.as_str())], *others].concat();
        assert_eq!(simple(&server, "GET", &mine, &sent), 403, "{others:?}");
    }
    assert_eq!(ask(&server, &by_admin, "GET", &format!("{SECURITY}/users/mallory"), None).status, 404);
    assert_eq!(whoami(&server, &basic("bob", "bob's own")).status, 200);

    // Pages of our own, those that are welcome, and what is no browser.
    let ours: [&[(&str, &str)]; 5] = [
        &[],
        &[("Origin", &server.base)],
        &[("Origin", "https://proxy.example"), ("Sec-Fetch-Site", "same-origin")],
        &[("Sec-Fetch-Site", "none")],
        &[("Origin", "https://board.example"), ("Sec-Fetch-Site", "cross-site")],
    ];
    for (nth, ours) in ours.into_iter().enumerate() {
        let sent = [&[("Authorization", by_admin.as_str())], ours].concat();
        assert_eq!(simple(&server, "POST", &druid(&format!("made{nth}")), &sent), 200, "{ours:?}");
        let sent = [&[("Cookie", session.cookie.as_str())], ours].concat();
        assert_eq!(simple(&server, "GET", &mine, &sent), 200, "{ours:?}");
    }
    // A token is nothing that a browser remembers.
    let made = ok(&server, &by_admin, "POST", &format!("{SECURITY}/tokens"), json!({}));
    let token = format!("Bearer {}", made["token"].as_str().unwrap());
    for others in OTHERS {
        let sent = [&[("Authorization", token.as_str())], *others].concat();
        assert_eq!(simple(&server, "GET", &mine, &sent), 200, "{others:?}");
    }
}

/// Where all pages are welcome, those that send a name and a password of their own are: their browser asked first.
#[test]
fn pages_that_are_welcome_by_no_name_send_what_they_know_themselves() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start_with(dir.path(), &[REQUIRED, &[("http.cors_origins", "*")]].concat());
    let by_admin = admin();
    let sent =
        [("Authorization", by_admin.as_str()), ("Origin", "https://evil.example"), ("Sec-Fetch-Site", "cross-site")];
    assert_eq!(simple(&server, "POST", &druid("mallory"), &sent), 403);
    let asked = |body: Option<&Value>, method: &str, path: &str| server.send(method, path, &sent, body).status;
    assert_eq!(asked(None, "POST", &druid("mallory")), 403, "without a body there is no type to ask for");
    assert_eq!(asked(Some(&json!({"query": "SELECT 1"})), "POST", "/druid/v2/sql"), 200);
    assert_eq!(asked(None, "GET", &format!("{SECURITY}/whoami")), 200);
    assert_eq!(ask(&server, &by_admin, "GET", &format!("{SECURITY}/users/mallory"), None).status, 404);
}
