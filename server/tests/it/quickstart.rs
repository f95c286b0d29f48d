//! `henge quickstart` shows live counts within seconds, and publishes what it read when stopped.

use std::time::{Duration, Instant};

use crate::harness::Server;

#[test]
fn the_demo_counts_live_events_and_survives_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let started = Instant::now();
    let server = Server::launch(dir.path(), "quickstart", &[], &[]);
    server.wait_healthy(Duration::from_secs(120));
    println!("quickstart: healthy after {} ms", started.elapsed().as_millis());
    let first = wait_for_more(&server, "wikipedia", 0);
    let second = wait_for_more(&server, "wikipedia", first);
    assert!(second > first);
    wait_for_more(&server, "payments", 0);
    let declined = server.sql("SELECT status, SUM(payments) FROM payments GROUP BY status ORDER BY status");
    assert!(!declined.is_empty());
    assert!(server.stop(), "the quickstart did not stop cleanly");

    let server = Server::launch(dir.path(), "quickstart", &[], &[]);
    server.wait_healthy(Duration::from_secs(120));
    let kept = wait_for_more(&server, "wikipedia", second - 1);
    assert!(kept >= second, "{kept} edits after a restart, {second} before");
    wait_for_more(&server, "wikipedia", kept);
}

fn wait_for_more(server: &Server, datasource: &str, than: u64) -> u64 {
    let end = Instant::now() + Duration::from_secs(120);
    loop {
        let count = server.try_count_rows(datasource);
        if let Ok(count) = count
            && count > than
        {
            return count;
        }
        assert!(Instant::now() < end, "no more than {than} rows of {datasource}: {count:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
