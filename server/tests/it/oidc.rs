//! JWTs of an OpenID Connect provider: a small one in this process, whose keys a test can turn; and a real one where
//! `HENGE_TEST_OIDC` names it (`dev/oidc.sh` starts it).

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};

use crate::harness::Server;

const WHOAMI: &str = "/henge/v1/security/whoami";

fn text(of: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(of)
}

enum Key {
    Edwards(Ed25519KeyPair),
    Curve(EcdsaKeyPair),
}

impl Key {
    fn edwards() -> Key {
        let mut seed = [0; 32];
        SystemRandom::new().fill(&mut seed).unwrap();
        Key::Edwards(Ed25519KeyPair::from_seed_unchecked(&seed).unwrap())
    }

    fn curve() -> Key {
        let random = SystemRandom::new();
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref(), &random);
        Key::Curve(pair.unwrap())
    }

    fn public(&self, kid: &str) -> Value {
        match self {
            Key::Edwards(pair) => {
                json!({"kid": kid, "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "x": text(pair.public_key())})
            }
            Key::Curve(pair) => {
                let point = &pair.public_key().as_ref()[1..];
                json!({"kid": kid, "kty": "EC", "crv": "P-256", "x": text(&point[..32]), "y": text(&point[32..])})
            }
        }
    }

    fn sign(&self, kid: &str, claims: &Value) -> String {
        let alg = if matches!(self, Key::Edwards(_)) { "EdDSA" } else { "ES256" };
        let header = json!({"alg": alg, "kid": kid, "typ": "JWT"});
        let signed = format!("{}.{}", text(header.to_string()), text(claims.to_string()));
        let signature = match self {
            Key::Edwards(pair) => text(pair.sign(signed.as_bytes())),
            Key::Curve(pair) => text(pair.sign(&SystemRandom::new(), signed.as_bytes()).unwrap()),
        };
        format!("{signed}.{signature}")
    }
}

/// Tells of itself and of the keys that it has at the moment.
struct Provider {
    issuer: String,
    keys: Arc<Mutex<Vec<Value>>>,
    asked: Arc<AtomicUsize>,
}

impl Provider {
    fn start() -> Provider {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let issuer = format!("http://{}", listener.local_addr().unwrap());
        let provider = Provider { issuer, keys: Arc::default(), asked: Arc::default() };
        let (issuer, keys, asked) = (provider.issuer.clone(), provider.keys.clone(), provider.asked.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
                let first = lines.next().and_then(Result::ok).unwrap_or_default();
                lines.map_while(Result::ok).take_while(|line| !line.is_empty()).for_each(drop);
                let body = match first.split(' ').nth(1) {
                    Some("/.well-known/openid-configuration") => {
                        json!({"issuer": issuer, "jwks_uri": format!("{issuer}/keys")})
                    }
                    _ => {
                        asked.fetch_add(1, Ordering::SeqCst);
                        json!({"keys": *keys.lock().unwrap()})
                    }
                };
                let body = body.to_string();
                let _ = write!(
                    stream,
                    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                    body.len()
                );
            }
        });
        provider
    }
}

fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

#[test]
fn tokens_of_the_provider_are_taken_and_forged_ones_are_not() {
    let provider = Provider::start();
    let (first, second) = (Key::edwards(), Key::curve());
    *provider.keys.lock().unwrap() = vec![first.public("first")];
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start_with(
        dir.path(),
        &[
            ("auth.required", "true"),
            ("auth.oidc_issuer", &provider.issuer),
            ("auth.oidc_audience", "henge"),
            ("auth.oidc_roles_claim", "realm.roles"),
            ("auth.oidc_role_map", "staff=admin"),
            ("auth.oidc_attribute_claims", "tenant"),
        ],
    );
    let claims = |audience: &str, from_now: i64| {
        json!({"iss": provider.issuer, "aud": audience, "sub": "ann", "exp": now() + from_now, "nbf": now() - 5,
            "realm": {"roles": ["staff", "admin"]}, "groups": ["sales"], "tenant": ["A", "B"]})
    };
    let ask = |token: &str| {
        let authorization = format!("Bearer {token}");
        server.send("GET", WHOAMI, &[("Authorization", &authorization)], None)
    };
    let good = claims("henge", 60);
    let who = ask(&first.sign("first", &good));
    assert_eq!(who.status, 200, "{}", who.body);
    assert_eq!((&who.body["username"], &who.body["how"]), (&json!("ann"), &json!("jwt")));
    assert_eq!((&who.body["roles"], &who.body["groups"]), (&json!(["admin"]), &json!(["sales"])));
    assert_eq!(who.body["attributes"], json!({"tenant": ["A", "B"]}));
    let token = first.sign("first", &good);
    let own = server.send(
        "POST",
        "/henge/v1/security/tokens",
        &[("Authorization", &format!("Bearer {token}"))],
        Some(&json!({})),
    );
    assert_eq!(own.status, 403, "who is known elsewhere gets no tokens of here");

    let refused = |token: &str, what: &str| {
        let reply = ask(token);
        assert_eq!(reply.status, 401, "{what}: {}", reply.body);
        assert!(reply.body["error"].as_str().unwrap().contains("not valid"), "{what}: the reason is told");
    };
    refused(&Key::edwards().sign("first", &good), "the key of another");
    refused(&first.sign("first", &claims("grafana", 60)), "for another");
    refused(&first.sign("first", &claims("henge", -60)), "expired");
    let mut other = good.clone();
    other["iss"] = json!("http://127.0.0.1:1");
    refused(&first.sign("first", &other), "of another issuer");
    other = good.clone();
    other["sub"] = json!("admin");
    refused(&first.sign("first", &other), "the name of a local user");
    for alg in ["none", "HS256"] {
        let header = json!({"alg": alg, "kid": "first"});
        let unsigned = format!("{}.{}", text(header.to_string()), text(good.to_string()));
        // The public key as the secret of an HMAC.
        let key =
            ring::hmac::Key::new(ring::hmac::HMAC_SHA256, first.public("first")["x"].as_str().unwrap().as_bytes());
        let tag = if alg == "none" { String::new() } else { text(ring::hmac::sign(&key, unsigned.as_bytes())) };
        refused(&format!("{unsigned}.{tag}"), alg);
    }
    let mut parts: Vec<String> = token.split('.').map(str::to_string).collect();
    other["sub"] = json!("bob");
    parts[1] = text(other.to_string());
    refused(&parts.join("."), "changed");

    // The provider turns to another key: tokens of it are taken, those of the old one are not.
    std::thread::sleep(Duration::from_millis(5100));
    refused(&second.sign("second", &good), "a key that the provider does not have yet");
    let before = provider.asked.load(Ordering::SeqCst);
    for nth in 0..20 {
        refused(&second.sign(&format!("made-up-{nth}"), &good), "made up");
    }
    assert_eq!(provider.asked.load(Ordering::SeqCst), before, "strangers make nobody ask the provider again and again");
    *provider.keys.lock().unwrap() = vec![second.public("second")];
    std::thread::sleep(Duration::from_millis(5100));
    assert_eq!(ask(&second.sign("second", &good)).status, 200);
    refused(&first.sign("first", &good), "a key that the provider withdrew");
}

/// A name that the provider gives is no name of the catalog's: nothing that was made under one is found under the other.
#[test]
fn who_is_known_by_the_provider_is_taken_for_nobody_of_the_catalog() {
    let provider = Provider::start();
    let key = Key::edwards();
    *provider.keys.lock().unwrap() = vec![key.public("key")];
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start_with(
        dir.path(),
        &[
            ("auth.required", "true"),
            ("auth.first_password", "the first password"),
            ("auth.oidc_issuer", &provider.issuer),
            ("auth.oidc_audience", "henge"),
        ],
    );
    let token = |name: &str, end: Value| {
        let claims = json!({"iss": provider.issuer, "aud": "henge", "sub": name, "exp": end});
        format!("Bearer {}", key.sign("key", &claims))
    };
    let soon = || json!(now() + 300);
    let ask = |who: &str, method: &str, path: &str, body: Option<Value>| {
        server.send(method, path, &[("Authorization", who)], body.as_ref())
    };
    let long = "x".repeat(9_000);
    let names = [
        "ann/1",
        "a:b",
        " ann",
        "ann ",
        "an\nn",
        "an\u{200b}n",
        "ann\u{feff}",
        "an\u{a0}n",
        "an\u{202e}n",
        long.as_str(),
    ];
    for name in names {
        let reply = ask(&token(name, soon()), "GET", WHOAMI, None);
        assert_eq!(reply.status, 401, "{name:?}: {}", reply.body);
        assert!(reply.body["error"].as_str().unwrap().contains("auth.oidc_name_claim"), "{name:?}: {}", reply.body);
    }
    for end in [json!(1e308), json!(1e18), json!(-1e308), json!("soon")] {
        assert_eq!(ask(&token("kim", end.clone()), "GET", WHOAMI, None).status, 401, "{end}");
    }

    let kim = token("kim", soon());
    let statements = "/druid/v2/sql/statements";
    let statement =
        |id: &str| json!({"query": "SELECT 7 AS n", "context": {"executionMode": "ASYNC", "sqlQueryId": id}});
    let status = |who: &str, id: &str| ask(who, "GET", &format!("{statements}/{id}"), None);
    let results = |who: &str, id: &str| ask(who, "GET", &format!("{statements}/{id}/results"), None).status;
    let run = |who: &str, id: &str| {
        let posted = ask(who, "POST", statements, Some(statement(id)));
        assert_eq!(posted.status, 200, "{}", posted.body);
        let end = std::time::Instant::now() + Duration::from_secs(60);
        while status(who, id).body["state"] != "SUCCESS" {
            assert!(std::time::Instant::now() < end, "{}", status(who, id).body);
            std::thread::sleep(Duration::from_millis(10));
        }
    };
    let avatica = |who: &str, body: Value| ask(who, "POST", "/druid/v2/sql/avatica/", Some(body));
    let sync = json!({"request": "connectionSync", "connectionId": "c", "connProps": {"connProps": "connPropsImpl"}});
    run(&kim, "of-the-provider");
    assert_eq!(avatica(&kim, json!({"request": "openConnection", "connectionId": "c", "info": {}})).status, 200);
    assert_eq!(avatica(&kim, sync.clone()).status, 200);

    // The name becomes that of a user of here, once and again.
    let basic = |name: &str, password: &str| {
        format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{name}:{password}")))
    };
    let (admin, own) = (basic("admin", "the first password"), basic("kim", "password of kim"));
    let path = "/henge/v1/security/users/kim";
    for turn in ["first", "second"] {
        assert_eq!(ask(&admin, "PUT", path, Some(json!({"password": "password of kim"}))).status, 200);
        assert_eq!(ask(&kim, "GET", WHOAMI, None).status, 401, "the name is taken");
        for of_others in ["of-the-provider", "first"] {
            assert_eq!((status(&own, of_others).status, results(&own, of_others)), (404, 404), "{turn}: {of_others}");
        }
        assert_ne!(avatica(&own, sync.clone()).status, 200, "{turn}");
        run(&own, turn);
        assert_eq!(results(&own, turn), 200);
        assert_eq!(ask(&admin, "DELETE", path, None).status, 200);
        // Who had it before has what they had.
        assert_eq!(results(&kim, "of-the-provider"), 200, "{turn}");
        assert_eq!(avatica(&kim, sync.clone()).status, 200, "{turn}");
        assert_eq!(status(&kim, turn).status, 404, "{turn}");
    }
}

/// `HENGE_TEST_OIDC` is the issuer, `HENGE_TEST_OIDC_TOKENS` a JSON object of tokens that it signed for the user `ann` with the
/// claim `roles` of `staff`: `good` for `henge`, and others that are good for nothing here, by what is wrong with them.
#[test]
fn a_real_provider_signs_people_in() {
    let (Ok(issuer), Ok(tokens)) = (std::env::var("HENGE_TEST_OIDC"), std::env::var("HENGE_TEST_OIDC_TOKENS")) else {
        eprintln!("a_real_provider_signs_people_in: NOT RUN, HENGE_TEST_OIDC names no provider (use `dev/oidc.sh`)");
        return;
    };
    let tokens: Value = serde_json::from_str(&tokens).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let settings = [
        ("auth.required", "true"),
        ("auth.oidc_issuer", issuer.as_str()),
        ("auth.oidc_audience", "henge"),
        ("auth.oidc_role_map", "staff=admin"),
    ];
    let server = Server::start_with(dir.path(), &settings);
    let ask = |token: &str| server.send("GET", WHOAMI, &[("Authorization", &format!("Bearer {token}"))], None);
    let good = tokens["good"].as_str().unwrap();
    let who = ask(good);
    assert_eq!((who.status, &who.body["username"]), (200, &json!("ann")), "{}", who.body);
    assert_eq!(who.body["roles"], json!(["admin"]));
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let mut forged = signature.to_string();
    let first = if forged.starts_with('A') { "B" } else { "A" };
    forged.replace_range(0..1, first);
    assert_eq!(ask(&format!("{signed}.{forged}")).status, 401);
    for (name, token) in tokens.as_object().unwrap().iter().filter(|(name, _)| *name != "good") {
        assert_eq!(ask(token.as_str().unwrap()).status, 401, "{name}");
    }
}
