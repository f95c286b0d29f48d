//! Requests whose senders take long over them: what they may is what they may when all has been said.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

use super::sign_in::login;
use super::{ADMIN, REQUIRED, SECURITY, admin, ask, basic, ok, role, user, whoami};
use crate::harness::Server;
use crate::jdbc::numbered;

/// A request whose body is held back after its first byte.
struct Held {
    stream: TcpStream,
    rest: Vec<u8>,
}

impl Held {
    fn begin(server: &Server, headers: &[&str], method: &str, path: &str, body: &Value) -> Held {
        let (address, body) = (server.base.strip_prefix("http://").unwrap(), body.to_string());
        let mut stream = TcpStream::connect(address).unwrap();
        let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {address}\r\n{headers}Content-Type: application/json\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(&body.as_bytes()[..1]).unwrap();
        // The door has seen who asks.
        std::thread::sleep(Duration::from_millis(200));
        Held { stream, rest: body.as_bytes()[1..].to_vec() }
    }

    /// The status of an answer that comes before the rest does.
    fn answered(&mut self, within: Duration) -> Option<u16> {
        self.stream.set_read_timeout(Some(within)).unwrap();
        let mut answer = [0; 64];
        let read = self.stream.read(&mut answer).ok()?;
        String::from_utf8_lossy(&answer[..read]).split(' ').nth(1).map(|status| status.parse().unwrap())
    }

    /// The whole of an answer that comes before the rest does.
    fn told(mut self) -> String {
        self.stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let mut answer = Vec::new();
        // Of what is not read the connection may be broken off.
        let _ = self.stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// The status of the answer once all is said.
    fn end(mut self) -> u16 {
        // What is refused already is not read to its end.
        let _ = self.stream.write_all(&self.rest);
        self.answered(Duration::from_secs(30)).expect("an answer")
    }
}

fn bears(authorization: &str) -> String {
    format!("Authorization: {authorization}")
}

/// The status of a request whose body stops after its first byte until something else has happened.
fn held(server: &Server, authorization: &str, method: &str, path: &str, body: &Value, meanwhile: impl FnOnce()) -> u16 {
    let mut request = Held::begin(server, &[&bears(authorization)], method, path, body);
    meanwhile();
    match request.answered(Duration::from_millis(1000)) {
        Some(status) => status,
        None => request.end(),
    }
}

/// Who takes long to ask is answered by what may be asked when it has been.
#[test]
fn a_request_that_takes_long_does_not_outlive_the_rights_that_it_began_with() {
    let dir = tempfile::tempdir().unwrap();
    let open = Server::start_with(dir.path(), &[("auth.first_password", ADMIN)]);
    numbered(&open, 10);
    assert!(open.stop());
    let server = Server::start_with(dir.path(), REQUIRED);
    role(&server, "reader", &[("DATASOURCE", "numbers", "READ")]);
    role(&server, "keeper", &[("SECURITY", "SECURITY", "WRITE")]);
    let of = |name: &str| basic(name, "a long password");
    let query = json!({"query": "SELECT COUNT(*) FROM numbers"});
    let later = json!({"query": "SELECT COUNT(*) FROM numbers", "context": {"executionMode": "ASYNC"}});
    let native = json!({"queryType": "timeseries", "dataSource": "numbers", "intervals": ["0000/3000"],
        "granularity": "all", "aggregations": [{"type": "count", "name": "n"}]});
    let put = |name: &str, document: Value| user(&server, name, document);
    let gone = |name: &str| drop(ok(&server, &admin(), "DELETE", &format!("{SECURITY}/users/{name}"), Value::Null));
    let ways: [(&str, &Value); 3] =
        [("/druid/v2/sql", &query), ("/druid/v2", &native), ("/druid/v2/sql/statements", &later)];
    for (path, body) in ways {
        put("ann", json!({"password": "a long password", "roles": ["reader"]}));
        let unmoved = held(&server, &of("ann"), "POST", path, body, || put("bob", json!({"roles": []})));
        assert!(matches!(unmoved, 200 | 202), "{unmoved}: {path}");
        let changes: [(&str, &dyn Fn(), u16); 4] = [
            ("an attribute", &|| put("ann", json!({"roles": ["reader"], "attributes": {"tenant": ["b"]}})), 403),
            ("a password", &|| put("ann", json!({"password": "another password", "roles": ["reader"]})), 401),
            ("disabled", &|| put("ann", json!({"roles": ["reader"], "disabled": true})), 401),
            ("deleted", &|| gone("ann"), 401),
        ];
        for (what, change, status) in changes {
            put("ann", json!({"password": "a long password", "roles": ["reader"]}));
            assert_eq!(held(&server, &of("ann"), "POST", path, body, change), status, "{what}: {path}");
        }
        put("ann", json!({"password": "a long password", "roles": ["reader"]}));
        let made = ok(&server, &of("ann"), "POST", &format!("{SECURITY}/tokens"), json!({"label": "t"}));
        let token = format!("Bearer {}", made["token"].as_str().unwrap());
        let revoke = || {
            let path = format!("{SECURITY}/tokens/{}", made["id"].as_str().unwrap());
            ok(&server, &of("ann"), "DELETE", &path, Value::Null);
        };
        assert_eq!(held(&server, &token, "POST", path, body, revoke), 401, "{path}");
    }
    // Nobody makes an administrator who is none any more, nor goes by a permission that was taken.
    let more = json!({"password": "a long password", "roles": ["admin"]});
    let path = format!("{SECURITY}/users/mal2");
    put("mal", json!({"password": "a long password", "roles": ["admin"]}));
    let stripped = || put("mal", json!({"roles": []}));
    assert_eq!(held(&server, &of("mal"), "PUT", &path, &more, stripped), 403);
    put("kim", json!({"password": "a long password", "roles": ["keeper"]}));
    let taken = || role(&server, "keeper", &[("SECURITY", "SECURITY", "READ")]);
    assert_eq!(held(&server, &of("kim"), "PUT", &path, &json!({"roles": []}), taken), 403);
    assert_eq!(ask(&server, &admin(), "GET", &path, None).status, 404);
    // A change of one's own is told, though it ends what it was made with.
    put("ann", json!({"password": "a long password", "roles": ["reader"]}));
    let own = json!({"current": "a long password", "password": "quite another one"});
    for _ in 0..5 {
        put("ann", json!({"password": "a long password", "roles": ["reader"]}));
        assert_eq!(ask(&server, &of("ann"), "PUT", &format!("{SECURITY}/password"), Some(&own)).status, 200);
    }
}

/// Who is still known, and sees something else now, has not said anything wrong: asking again is all that it takes.
#[test]
fn who_has_other_rights_than_when_a_query_began_is_told_to_ask_again() {
    let dir = tempfile::tempdir().unwrap();
    let open = Server::start_with(dir.path(), &[("auth.first_password", ADMIN)]);
    numbered(&open, 10);
    assert!(open.stop());
    let server = Server::start_with(dir.path(), REQUIRED);
    role(&server, "reader", &[("DATASOURCE", "numbers", "READ")]);
    role(&server, "other", &[]);
    let ann = basic("ann", "a long password");
    let native = json!({"queryType": "timeseries", "dataSource": "numbers", "intervals": ["0000/3000"],
        "granularity": "all", "aggregations": [{"type": "count", "name": "n"}]});
    let sql = json!({"query": "SELECT COUNT(*) FROM numbers"});
    let changes =
        [json!({"attributes": {"tenant": ["b"]}}), json!({"groups": ["g"]}), json!({"roles": ["reader", "other"]})];
    for (path, body) in [("/druid/v2", &native), ("/druid/v2/sql", &sql)] {
        for change in &changes {
            user(&server, "ann", json!({"password": "a long password", "roles": ["reader"]}));
            let request = Held::begin(&server, &[&bears(&ann)], "POST", path, body);
            let mut document = json!({"roles": ["reader"]});
            document.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
            user(&server, "ann", document);
            let told = request.told();
            assert!(told.starts_with("HTTP/1.1 403"), "{path}: {change}: {told}");
            assert!(told.contains("Access-Check-Result") && told.contains("has changed while"), "{change}: {told}");
            let again = ask(&server, &ann, "POST", path, Some(body));
            assert_eq!(again.status, 200, "{path}: {change}: {}", again.body);
        }
    }
}

/// Where users and rules change, a request that comes to its end right after its sender lost the right has no time left.
#[test]
fn nothing_is_changed_by_a_right_that_was_gone_before_all_was_said() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start_with(dir.path(), REQUIRED);
    let of = |name: &str| bears(&basic(name, "a long password"));
    let put = |name: &str, roles: &[&str]| {
        user(&server, name, json!({"password": "a long password", "roles": roles}));
    };
    let changes = [
        ("PUT", format!("{SECURITY}/users/mal2"), json!({"password": "a long password", "roles": ["admin"]})),
        ("PUT", format!("{SECURITY}/roles/mal2"), json!({"permissions": []})),
        ("PUT", format!("{SECURITY}/datasources/mal2"), json!({"requirePolicy": true})),
    ];
    for (method, path, body) in &changes {
        put("mal", &["admin"]);
        let request = Held::begin(&server, &[&of("mal")], method, path, body);
        user(&server, "mal", json!({"roles": []}));
        assert_eq!(request.end(), 403, "{path}");

        role(&server, "keeper", &[("SECURITY", "SECURITY", "WRITE")]);
        put("kim", &["keeper"]);
        let request = Held::begin(&server, &[&of("kim")], method, path, body);
        role(&server, "keeper", &[("SECURITY", "SECURITY", "READ")]);
        assert_eq!(request.end(), 403, "{path}");
        assert_eq!(ask(&server, &admin(), "GET", path, None).status, 404, "{path}");
    }
    let grant = "/druid-ext/basic-security/authorization/db/db/roles/keeper/permissions";
    let body = json!([{"resource": {"type": "SECURITY", "name": "SECURITY"}, "action": "WRITE"}]);
    put("mal", &["admin"]);
    let request = Held::begin(&server, &[&of("mal")], "POST", grant, &body);
    user(&server, "mal", json!({"roles": []}));
    assert_eq!(request.end(), 403);
    let kept = ok(&server, &admin(), "GET", grant, Value::Null);
    assert!(!kept.to_string().contains("WRITE"), "{kept}");
    // Nor by a profile, which brings no role back.
    put("mal", &["admin"]);
    let request = Held::begin(&server, &[&of("mal")], "PUT", &format!("{SECURITY}/profile"), &json!({"email": "m@l"}));
    user(&server, "mal", json!({"roles": []}));
    assert_eq!(request.end(), 403);
    let kept = ok(&server, &admin(), "GET", &format!("{SECURITY}/users/mal"), Value::Null);
    assert_eq!((&kept["roles"], &kept["email"]), (&json!([]), &Value::Null), "{kept}");
}

#[test]
fn credentials_that_run_out_while_a_body_is_held_back_are_none() {
    let dir = tempfile::tempdir().unwrap();
    let open = Server::start_with(dir.path(), &[("auth.first_password", ADMIN)]);
    numbered(&open, 50_000);
    assert!(open.stop());
    let server = Server::start_with(dir.path(), &[REQUIRED, &[("auth.session_max_ms", "1500")]].concat());
    user(&server, "ann", json!({"password": "a long password", "roles": ["admin"]}));
    let ann = basic("ann", "a long password");
    let token = || {
        let expires = (jiff::Timestamp::now() + Duration::from_millis(1200)).to_string();
        let made = ok(&server, &ann, "POST", &format!("{SECURITY}/tokens"), json!({"expires": expires}));
        format!("Bearer {}", made["token"].as_str().unwrap())
    };
    let query = json!({"query": "SELECT 1"});
    let mut by_token = Held::begin(&server, &[&bears(&token())], "POST", "/druid/v2/sql", &query);
    assert_eq!(by_token.answered(Duration::from_secs(30)), Some(401));
    let session = login(&server, "ann", "a long password", None).unwrap();
    let headers = [format!("Cookie: {}", session.cookie), format!("X-CSRF-Token: {}", session.csrf)];
    let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
    let mut by_session = Held::begin(&server, &headers, "POST", "/druid/v2/sql", &query);
    assert_eq!(by_session.answered(Duration::from_secs(30)), Some(401));
    // A password does not run out.
    let mut by_password = Held::begin(&server, &[&bears(&ann)], "POST", "/druid/v2/sql", &query);
    assert_eq!(by_password.answered(Duration::from_millis(2000)), None);
    assert_eq!(by_password.end(), 200);

    // What was asked in time is answered, however long that takes, whatever others do meanwhile.
    let endless = json!({"query": "SELECT COUNT(*) FROM numbers a, numbers b WHERE a.n + b.n < 0",
        "context": {"timeout": 3000}});
    let token = token();
    std::thread::scope(|scope| {
        let asked = scope.spawn(|| ask(&server, &token, "POST", "/druid/v2/sql", Some(&endless)));
        std::thread::sleep(Duration::from_millis(1500));
        assert_eq!(whoami(&server, &token).status, 401);
        user(&server, "bob", json!({}));
        let answer = asked.join().unwrap();
        assert_eq!(answer.status, 504, "{}", answer.body);
    });
}

/// Whoever sends a body and rests is not waited for, least of all if they did not say who they are.
#[test]
fn a_body_that_stands_still_is_waited_for_as_long_as_the_setting_says() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start_with(dir.path(), &[REQUIRED, &[("http.body_idle_ms", "700")]].concat());
    let body = json!({"query": "SELECT 1"});
    let admin = bears(&admin());
    let ways: [(&str, &[&str]); 4] = [
        ("/druid/v2/sql", &[&admin]),
        ("/henge/v1/security/login", &[]),
        // Whatever it says that it is.
        ("/henge/v1/security/login", &["Content-Type: application/grpc"]),
        ("/druid/v2/sql/avatica/", &[]),
    ];
    for (path, headers) in ways {
        let mut still = Held::begin(&server, headers, "POST", path, &body);
        let status = still.answered(Duration::from_secs(30));
        assert!(matches!(status, Some(400 | 408)), "{path}: {status:?}");
    }
    // A slow one is, as long as something comes.
    let mut slow = Held::begin(&server, &[&admin], "POST", "/druid/v2/sql", &body);
    for byte in std::mem::take(&mut slow.rest) {
        slow.stream.write_all(&[byte]).unwrap();
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(slow.end(), 200);
}

/// Rows that are still to come are for whoever may ask for them then, however slowly they are read.
#[test]
fn an_answer_that_is_read_slowly_ends_with_the_token_that_asked_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let open = Server::start_with(dir.path(), &[("auth.first_password", ADMIN)]);
    numbered(&open, 3000);
    assert!(open.stop());
    let server = Server::start_with(dir.path(), REQUIRED);
    role(&server, "reader", &[("DATASOURCE", "numbers", "READ")]);
    user(&server, "ann", json!({"password": "a long password", "roles": ["reader"]}));
    let ann = basic("ann", "a long password");
    let made = ok(&server, &ann, "POST", &format!("{SECURITY}/tokens"), json!({"label": "t"}));
    let query = json!({"query": "SELECT a.n FROM numbers a, numbers b", "resultFormat": "arrayLines"});
    let address = server.base.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    let body = query.to_string();
    write!(
        stream,
        "POST /druid/v2/sql HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        made["token"].as_str().unwrap(),
        body.len()
    )
    .unwrap();
    let mut first = [0; 2048];
    stream.read_exact(&mut first).unwrap();
    assert!(String::from_utf8_lossy(&first).starts_with("HTTP/1.1 200"));
    let id = made["id"].as_str().unwrap();
    ok(&server, &ann, "DELETE", &format!("{SECURITY}/tokens/{id}"), Value::Null);
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut rest = Vec::new();
    // A connection that is broken off is an end too.
    let _ = stream.read_to_end(&mut rest);
    // A chunk of none tells a whole answer.
    assert!(!rest.ends_with(b"0\r\n\r\n"), "all {} bytes came", rest.len());
}

/// Drivers may say a name and a password once, for a connection: what it asks is for whom that stands then.
#[test]
fn a_statement_at_work_for_a_connection_ends_with_the_rights_of_who_opened_it() {
    let dir = tempfile::tempdir().unwrap();
    let open = Server::start_with(dir.path(), &[("auth.first_password", ADMIN)]);
    numbered(&open, 3000);
    assert!(open.stop());
    for settings in [REQUIRED, &[("auth.first_password", ADMIN)]] {
        let server = Server::start_with(dir.path(), settings);
        role(&server, "reader", &[("DATASOURCE", "numbers", "READ")]);
        let put = |document: Value| user(&server, "ann", document);
        let allowed = || put(json!({"password": "a long password", "roles": ["reader"]}));
        let gone = || drop(ok(&server, &admin(), "DELETE", &format!("{SECURITY}/users/ann"), Value::Null));
        let changes: [(&str, &dyn Fn(), u16); 4] = [
            ("a password", &|| put(json!({"password": "another password", "roles": ["reader"]})), 401),
            ("disabled", &|| put(json!({"roles": ["reader"], "disabled": true})), 401),
            ("no roles", &|| put(json!({"roles": []})), 403),
            ("deleted", &gone, 401),
        ];
        for (what, change, status) in changes {
            allowed();
            let jdbc = |body: Value| server.post("/druid/v2/sql/avatica/", &body);
            let info = json!({"user": "ann", "password": "a long password"});
            assert_eq!(jdbc(json!({"request": "openConnection", "connectionId": what, "info": info})).status, 200);
            let made = jdbc(json!({"request": "createStatement", "connectionId": what}));
            let run = |sql: &str| {
                jdbc(json!({"request": "prepareAndExecute", "connectionId": what, "maxRowCount": -1, "sql": sql,
                    "statementId": made.body["statementId"]}))
            };
            assert_eq!(run("SELECT COUNT(*) FROM numbers").status, 200, "{what}");
            // It takes longer than the test waits for any answer.
            let slow = "SELECT COUNT(*) FROM numbers a, numbers b, numbers c WHERE a.n * b.n + c.n = 7";
            let answered = std::thread::scope(|scope| {
                let running = scope.spawn(|| run(slow));
                std::thread::sleep(Duration::from_millis(500));
                assert!(!running.is_finished(), "{what}: the statement is too quick");
                change();
                running.join().unwrap()
            });
            assert_eq!(answered.status, status, "{what}: {}", answered.body);
            assert!(matches!(run("SELECT COUNT(*) FROM numbers").status, 401 | 500), "{what}");
        }
        assert!(server.stop());
    }
}
