//! What a request is about, as its path says.

use super::event::cut;

/// What queries come by.
pub const QUERIES: &str = "/druid/v2";

/// Where each kind's paths begin; the first that fits counts.
const KINDS: [(&str, &str); 23] = [
    ("/henge/v1/security/login", "signin"),
    ("/henge/v1/security/logout", "signout"),
    ("/henge/v1/security/users", "user"),
    ("/henge/v1/security/tokens", "token"),
    ("/henge/v1/security/sessions", "token"),
    ("/henge/v1/security/roles", "role"),
    ("/henge/v1/security/datasources", "policy"),
    ("/henge/v1/security", "user"),
    ("/henge/v1/saved-queries", "document"),
    ("/henge/v1/dashboards", "document"),
    ("/henge/v1/alert-channels", "alertChannel"),
    ("/henge/v1/alerts", "alert"),
    (DRUID_SECURITY, "user"),
    ("/druid/indexer/v1/supervisor", "spec"),
    ("/druid/indexer/v1/task", "spec"),
    ("/druid/indexer/v1/sampler", "spec"),
    ("/druid/coordinator/v1/rules", "rule"),
    ("/druid/coordinator/v1/lookups", "lookup"),
    ("/druid/coordinator/v1/config", "config"),
    ("/druid/coordinator/v1/datasources", "segments"),
    ("/druid/indexer/v1/datasources", "segments"),
    (QUERIES, "query"),
    ("/arrow.flight.protocol.FlightService", "query"),
];

/// Here users and roles stand after the name of an authenticator or authorizer.
const DRUID_SECURITY: &str = "/druid-ext/basic-security";

/// Paths that only look, although they are posted to.
const LOOKS: [&str; 3] = ["/druid/indexer/v1/taskStatus", "/druid/coordinator/v1/metadata", crate::rpc::ROOT];

pub fn is_look(path: &str) -> bool {
    LOOKS.iter().any(|look| path.starts_with(look))
}

pub fn kind(path: &str) -> &'static str {
    if let Some((kind, _)) = of_druid(path) {
        return kind;
    }
    match KINDS.iter().find(|(root, _)| path.starts_with(root)) {
        Some((_, "user")) if path.contains("/tokens") => "token",
        Some((_, kind)) => kind,
        None => "request",
    }
}

/// What a path names, after the part that gives the kind: of users, roles and rules of datasources the name alone.
pub fn object(kind: &str, path: &str) -> Option<String> {
    let named = match of_druid(path) {
        Some((_, name)) => name,
        None => {
            let (root, _) = KINDS.iter().find(|(root, _)| path.starts_with(root))?;
            let rest = path[root.len()..].trim_matches('/');
            match kind {
                "query" => "",
                "user" | "role" | "policy" => rest.split('/').next().unwrap_or_default(),
                _ => rest,
            }
        }
    };
    (!named.is_empty()).then(|| cut(&crate::http::manage::decode(named)))
}

/// Kind and name of one of Druid's paths: `/authorization/db/{authorizer}/users/{user}/roles/{role}` is about the user.
fn of_druid(path: &str) -> Option<(&'static str, &str)> {
    let mut parts = path.strip_prefix(DRUID_SECURITY)?.split('/').skip(4);
    let kind = match parts.next()? {
        "users" => "user",
        "roles" => "role",
        _ => return None,
    };
    Some((kind, parts.next().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_tells_what_it_is_about() {
        let (security, druid) = ("/henge/v1/security", "/druid-ext/basic-security");
        for (path, told, name) in [
            (format!("{security}/users/ann%2Fb"), "user", Some("ann/b")),
            (format!("{security}/users/ann/password"), "user", Some("ann")),
            (format!("{security}/users/ann/tokens/7f"), "token", Some("ann/tokens/7f")),
            (format!("{security}/tokens/7f"), "token", Some("7f")),
            (format!("{security}/roles/analyst"), "role", Some("analyst")),
            (format!("{security}/datasources/events"), "policy", Some("events")),
            ("/henge/v1/dashboards/7f".into(), "document", Some("7f")),
            ("/henge/v1/saved-queries".into(), "document", None),
            ("/henge/v1/alerts/late/silence".into(), "alert", Some("late/silence")),
            ("/henge/v1/alert-channels/ops/test".into(), "alertChannel", Some("ops/test")),
            (format!("{druid}/authentication/db/any/users/ann"), "user", Some("ann")),
            (format!("{druid}/authentication/db/any/users/ann/credentials"), "user", Some("ann")),
            (format!("{druid}/authorization/db/any/users/ann/roles/analyst"), "user", Some("ann")),
            (format!("{druid}/authorization/db/any/users"), "user", None),
            (format!("{druid}/authorization/db/any/roles/analyst/permissions"), "role", Some("analyst")),
            (format!("{druid}/authorization"), "user", Some("authorization")),
            ("/druid/indexer/v1/supervisor/events/suspend".into(), "spec", Some("events/suspend")),
            ("/druid/coordinator/v1/rules/_default".into(), "rule", Some("_default")),
            ("/druid/v2/sql/statements/s".into(), "query", None),
            ("/status/properties".into(), "request", None),
        ] {
            let found = kind(&path);
            assert_eq!((found, object(found, &path).as_deref()), (told, name), "{path}");
        }
    }
}
