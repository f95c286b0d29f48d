//! Passwords are not guessed: not by trying many, nor by a way that nobody counts.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::sign_in::login;
use super::{REQUIRED, SECURITY, basic, ok, user, whoami};
use crate::harness::Server;

#[test]
fn guessing_is_slowed_and_then_locked_out_whoever_is_guessed_at() {
    let dir = tempfile::tempdir().unwrap();
    let settings = [REQUIRED, &[("auth.failures_max", "5"), ("auth.lockout_ms", "3000")]].concat();
    let server = Server::start_with(dir.path(), &settings);
    user(&server, "ann", json!({"password": "ann's own"}));
    let ann = basic("ann", "ann's own");
    assert_eq!(whoami(&server, &ann).status, 200);
    let token = ok(&server, &ann, "POST", &format!("{SECURITY}/tokens"), json!({}));
    let token = format!("Bearer {}", token["token"].as_str().unwrap());
    for name in ["ann", "nobody"] {
        let began = Instant::now();
        let mut seen = Vec::new();
        let mut failed = 0;
        while failed < 5 {
            let reply = whoami(&server, &basic(name, &format!("guess {failed}")));
            seen.push(reply.status);
            match reply.status {
                401 => failed += 1,
                429 => {
                    assert!(reply.headers.contains_key("retry-after"), "{}", reply.body);
                    std::thread::sleep(Duration::from_millis(50));
                }
                other => panic!("{name}: {other}"),
            }
        }
        assert!(began.elapsed() >= Duration::from_millis(1400), "{name}: five guesses in {:?}", began.elapsed());
        assert_eq!(&seen[..3], [401, 401, 401], "{name}");
        assert_eq!(whoami(&server, &basic(name, "one more")).status, 429, "{name} is locked");
    }
    // Who came in before goes on; the right password does not help who was not.
    assert_eq!(whoami(&server, &ann).status, 200, "remembered");
    assert_eq!(whoami(&server, &token).status, 200);
    assert_eq!(login(&server, "nobody", "guess", None).err(), Some(429));
    std::thread::sleep(Duration::from_millis(3100));
    assert_eq!(login(&server, "ann", "ann's own", None).map(|_| ()), Ok(()));

    // Many at once are as many as one after the other.
    user(&server, "bob", json!({"password": "bob's own"}));
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let guess = |nth: usize| whoami(&server, &basic("bob", &format!("guess {nth}"))).status;
        let threads: Vec<_> = (0..40).map(|nth| scope.spawn(move || guess(nth))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let tried = statuses.iter().filter(|status| **status == 401).count();
    assert!(tried <= 5 && statuses.iter().all(|status| [401, 429].contains(status)), "{statuses:?}");
    // As many with the right password at once are one.
    user(&server, "eve", json!({"password": "eve's own"}));
    std::thread::sleep(Duration::from_millis(3100));
    let all_in = std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..40).map(|_| scope.spawn(|| whoami(&server, &basic("eve", "eve's own")).status)).collect();
        threads.into_iter().all(|thread| thread.join().unwrap() == 200)
    });
    assert!(all_in);
}

/// A connection is opened by no more guesses, and asked about no oftener, than anything else.
#[test]
fn a_connection_without_headers_is_bounded_as_any_request() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start_with(dir.path(), &[REQUIRED, &[("auth.failures_max", "3")]].concat());
    user(&server, "ann", json!({"password": "ann's own"}));
    let avatica = |server: &Server, body: Value| server.send("POST", "/druid/v2/sql/avatica/", &[], Some(&body));
    let open = |password: &str| json!({"request": "openConnection", "connectionId": "c", "info": {"user": "ann", "password": password}});
    let guesses: Vec<u16> = (0..5).map(|n| avatica(&server, open(&format!("guess {n}"))).status).collect();
    assert_eq!(guesses, [401, 401, 401, 429, 429]);
    assert_eq!(whoami(&server, &basic("ann", "ann's own")).status, 429, "an attempt is one, by whatever way");
    drop(server);

    let settings = [REQUIRED, &[("http.requests_per_second", "10")]].concat();
    let server = Server::start_with(dir.path(), &settings);
    assert_eq!(avatica(&server, open("ann's own")).status, 200);
    let most = |body: Value, expected: u16| {
        let statuses: Vec<u16> = (0..200).map(|_| avatica(&server, body.clone()).status).collect();
        assert!(statuses.contains(&429) && statuses.iter().all(|of| [429, expected].contains(of)), "{statuses:?}");
    };
    most(json!({"request": "databaseProperties", "connectionId": "c"}), 200);
    most(json!({"request": "databaseProperties", "connectionId": "unknown"}), 401);
}

/// What was right and is used goes on, whatever others say under the same name, for longer than it is remembered unused.
#[test]
fn who_is_in_by_a_password_stays_in_while_others_guess_at_it() {
    let dir = tempfile::tempdir().unwrap();
    let settings = [REQUIRED, &[("auth.failures_max", "3"), ("auth.remember_ms", "4000")]].concat();
    let server = Server::start_with(dir.path(), &settings);
    user(&server, "bob", json!({"password": "bob's own"}));
    let bob = basic("bob", "bob's own");
    assert_eq!(whoami(&server, &bob).status, 200);
    let began = Instant::now();
    for guess in 0.. {
        let guessed = whoami(&server, &basic("bob", &format!("guess {guess}"))).status;
        assert!([401, 429].contains(&guessed) && (guess < 3 || guessed == 429), "guess {guess}: {guessed}");
        assert_eq!(whoami(&server, &bob).status, 200, "after {:?}", began.elapsed());
        if began.elapsed() > Duration::from_secs(6) {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    // Another password ends it at once.
    user(&server, "bob", json!({"password": "another one"}));
    assert_ne!(whoami(&server, &bob).status, 200);
}

/// Who does not say who they are, or says what is not so, is a caller too: the address. Who is known is none of it.
#[test]
fn requests_that_identify_nobody_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    let settings = [REQUIRED, &[("http.requests_per_second", "10")]].concat();
    let server = Server::start_with(dir.path(), &settings);
    user(&server, "ann", json!({"password": "ann's own"}));
    let ann = basic("ann", "ann's own");
    assert_eq!(whoami(&server, &ann).status, 200);
    let path = format!("{SECURITY}/whoami");
    let most = |what: &str, send: &dyn Fn() -> u16| {
        let statuses: Vec<u16> = (0..300).map(|_| send()).collect();
        assert!(statuses.iter().filter(|status| **status == 429).count() > 100, "{what}: {statuses:?}");
        assert!(statuses.iter().all(|status| [401, 429].contains(status)), "{what}: {statuses:?}");
        assert_eq!(whoami(&server, &ann).status, 200, "who is known, after {what}");
        std::thread::sleep(Duration::from_millis(200));
    };
    most("nothing", &|| server.send("GET", &path, &[], None).status);
    most("a token", &|| whoami(&server, "Bearer henge_nobody_guessed").status);
    most("a scheme that is none", &|| whoami(&server, "Nonsense x").status);
}

/// Whoever signs in again and again with the right password is a caller too, and begins no more sessions than requests.
#[test]
fn sign_ins_that_succeed_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start_with(dir.path(), &[REQUIRED, &[("http.requests_per_second", "2")]].concat());
    user(&server, "ann", json!({"password": "ann's own"}));
    std::thread::sleep(Duration::from_secs(1));
    user(&server, "bob", json!({"password": "bob's own"}));
    let signed_in: Vec<u16> = (0..100).map(|_| login(&server, "ann", "ann's own", None).err().unwrap_or(200)).collect();
    assert!(signed_in.contains(&200) && signed_in.contains(&429), "{signed_in:?}");
    assert!(signed_in.iter().all(|status| [200, 429].contains(status)), "{signed_in:?}");
    assert!(login(&server, "bob", "bob's own", None).is_ok(), "others from there are not meant");
}
