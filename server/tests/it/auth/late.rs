//! A node that stood still wakes with rights that may have been taken meanwhile.

use std::time::Duration;

use serde_json::{Value, json};

use super::{REQUIRED, SECURITY, admin, ask, basic, ok, user};
use crate::harness::{node, shared};

#[test]
fn a_broker_that_stood_still_looks_before_it_answers() {
    let Some(settings) = shared("late") else { return };
    let dir = tempfile::tempdir().unwrap();
    let start = |name: &str, roles: &str| node(dir.path(), name, &[REQUIRED, &[("roles", roles)]].concat(), &settings);
    let (leader, broker) = (start("c1", "coordinator,historical"), start("b1", "broker"));
    for server in [&leader, &broker] {
        server.wait_healthy(Duration::from_secs(60));
    }
    let ann = basic("ann", "a long password");
    let question = json!({"query": "SELECT 1"});
    user(&leader, "ann", json!({"password": "a long password"}));
    let ask_broker = || ask(&broker, &ann, "POST", "/druid/v2/sql", Some(&question)).status;
    while ask_broker() != 200 {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(broker.signal("-STOP"));
    ok(&leader, &admin(), "DELETE", &format!("{SECURITY}/users/ann"), Value::Null);
    std::thread::sleep(Duration::from_secs(2));
    // They are asked while it stands still, and wait for it.
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let asking: Vec<_> = (0..8).map(|_| scope.spawn(ask_broker)).collect();
        std::thread::sleep(Duration::from_millis(300));
        assert!(broker.signal("-CONT"));
        asking.into_iter().map(|asked| asked.join().unwrap()).collect()
    });
    // Who is wrong so often is told to wait.
    assert!(statuses.iter().all(|status| [401, 429].contains(status)), "{statuses:?}");
}
