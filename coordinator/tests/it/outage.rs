//! A PostgreSQL that is cut off, hangs or loses its sessions: errors in time, and nothing lost or done twice after it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use henge_coordinator::{Change, Coordinator, Error, MetadataStore, Published, TaskState};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::fresh::Fresh;
use crate::node::*;

const PASS: u8 = 0;
/// Connections end at a commit, before the server hears of it …
const CUT_BEFORE_COMMIT: u8 = 1;
/// … or after it carried it out, before the client hears of that.
const CUT_AFTER_COMMIT: u8 = 2;
const HANG: u8 = 3;

/// Stands between a coordinator and its server.
struct Proxy {
    mode: Arc<AtomicU8>,
    store: MetadataStore,
}

impl Proxy {
    /// `None` where the server is reached by a socket of the file system.
    async fn start(store: &Fresh) -> Option<Proxy> {
        let address = store.address();
        let rest = address.split_once("://").unwrap().1;
        let (user, rest) = rest.split_once('@').unwrap_or(("test", rest));
        let (server, database) = rest.split_once('/').unwrap();
        if database.contains("host=") {
            eprintln!("===== NOT RUN: outages of PostgreSQL (HENGE_TEST_POSTGRES names no port)");
            return None;
        }
        let database = database.split('?').next().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let store = format!("postgres://{user}@127.0.0.1:{port}/{database}?sslmode=disable").parse().unwrap();
        let mode = Arc::new(AtomicU8::new(PASS));
        let (shared, server) = (Arc::clone(&mode), server.to_string());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(&server).await.unwrap();
                tokio::spawn(forward(client, server, Arc::clone(&shared)));
            }
        });
        Some(Proxy { mode, store })
    }

    fn set(&self, mode: u8) {
        self.mode.store(mode, Ordering::SeqCst);
    }

    async fn open(&self) -> Coordinator {
        Coordinator::open_store(&self.store, SETTINGS).await.unwrap()
    }
}

async fn forward(mut client: TcpStream, mut server: TcpStream, mode: Arc<AtomicU8>) {
    let (mut asked, mut answered) = (vec![0; 65536], vec![0; 65536]);
    loop {
        while mode.load(Ordering::SeqCst) == HANG {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        tokio::select! {
            Ok(n) = client.read(&mut asked) => {
                if n == 0 { return }
                let is_commit = asked[..n].windows(7).any(|bytes| bytes == b"COMMIT\0");
                match mode.load(Ordering::SeqCst) {
                    CUT_BEFORE_COMMIT if is_commit => return,
                    CUT_AFTER_COMMIT if is_commit => {
                        server.write_all(&asked[..n]).await.unwrap();
                        assert!(server.read(&mut answered).await.unwrap() > 0);
                        return;
                    }
                    // A hang that began while this waited keeps it back.
                    HANG => while mode.load(Ordering::SeqCst) == HANG {
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    },
                    _ => {}
                }
                if server.write_all(&asked[..n]).await.is_err() { return }
            }
            Ok(n) = server.read(&mut answered) => {
                if n == 0 || client.write_all(&answered[..n]).await.is_err() { return }
            }
            else => return,
        }
    }
}

async fn proxied() -> Option<(Fresh, Proxy)> {
    let store = Fresh::postgres().await?;
    let proxy = Proxy::start(&store).await?;
    Some((store, proxy))
}

#[tokio::test]
async fn a_commit_of_which_nobody_heard_is_found_again() {
    for mode in [CUT_BEFORE_COMMIT, CUT_AFTER_COMMIT] {
        let Some((_store, proxy)) = proxied().await else { return };
        let coordinator = proxy.open().await;
        let task = running_task(&coordinator).await;
        let id = coordinator.allocate(wish("a", 0, 24, 0), 2).await.unwrap();
        let what = streamed(&task, vec![meta(&id, 7)], positions(&[("t:0", 0)]), positions(&[("t:0", 5)]));

        proxy.set(mode);
        let unknown = coordinator.publish(what.clone(), 3).await;
        assert!(matches!(unknown, Err(Error::Store { .. })), "{unknown:?}");
        proxy.set(PASS);
        let report = coordinator.cycle(4).await.unwrap();
        assert_eq!(report.tasks_created, 0, "what ran runs");
        assert_eq!(coordinator.segments("d").len(), usize::from(mode == CUT_AFTER_COMMIT));
        let published = coordinator.publish(what, 5).await.unwrap();
        assert!(matches!(published, Published::Committed(metas) if metas[0].id == id));
        assert_eq!(coordinator.segments("d").len(), 1);
        assert_eq!(coordinator.positions("s").await.unwrap(), positions(&[("t:0", 5)]));
        let progress = coordinator.supervisor("s").unwrap().tasks[0].progress.clone();
        assert!(progress.is_some_and(|told| told.state == TaskState::Running), "what nodes told is kept");

        proxy.set(mode);
        let change = |expected| {
            let change = Change { kind: "role", name: "a".into(), value: Some(json!(1)), expected, history: true };
            coordinator.change_documents(vec![change], "ann", 6)
        };
        assert!(matches!(change(Some(0)).await, Err(Error::Store { .. })));
        proxy.set(PASS);
        match change(Some(0)).await {
            Ok(versions) => assert_eq!((mode, versions), (CUT_BEFORE_COMMIT, vec![1])),
            Err(error) => assert!(mode == CUT_AFTER_COMMIT && matches!(error, Error::Conflict(_)), "{error}"),
        }
        assert_eq!(coordinator.document("role", "a").unwrap().version, 1);
        coordinator.close().await;
    }
}

#[tokio::test]
async fn a_store_that_hangs_gives_errors_and_is_used_again() {
    let Some((_store, proxy)) = proxied().await else { return };
    let coordinator = proxy.open().await;
    coordinator.put_supervisor(spec(1), false, 1).await.unwrap();
    coordinator.positions("s").await.unwrap();
    proxy.set(HANG);
    let asked = async { tokio::join!(coordinator.positions("s"), coordinator.suspend("s", 2), coordinator.renew()) };
    let (read, written, renewed) = tokio::time::timeout(Duration::from_secs(60), asked).await.unwrap();
    assert!(matches!(read, Err(Error::Store { .. })), "{read:?}");
    assert!(matches!(written, Err(Error::Store { .. })), "{written:?}");
    assert!(matches!(renewed, Err(Error::Store { .. })), "{renewed:?}");
    proxy.set(PASS);
    let mut tries = 0;
    while let Err(error) = coordinator.suspend("s", 3).await {
        assert!(matches!(error, Error::Store { .. }) && tries < 10, "{error}");
        tries += 1;
    }
    coordinator.positions("s").await.unwrap();
    coordinator.renew().await.unwrap();
    coordinator.close().await;
}

#[tokio::test]
async fn sessions_that_the_server_ends_are_replaced() {
    let Some(store) = Fresh::postgres().await else { return };
    let coordinator = open(&store).await;
    coordinator.put_supervisor(spec(1), false, 1).await.unwrap();
    for now in 2..6 {
        store
            .execute(
                "SELECT CAST(COUNT(pg_terminate_backend(pid)) AS BIGINT) FROM pg_stat_activity \
                 WHERE datname = current_database() AND pid <> pg_backend_pid()",
            )
            .await;
        coordinator.reset_offsets("s", positions(&[("t:0", now)]), now).await.unwrap();
        assert_eq!(coordinator.positions("s").await.unwrap(), positions(&[("t:0", now)]));
    }
    coordinator.close().await;
}

#[tokio::test]
async fn a_store_is_reached_by_tls() {
    let Some(store) = Fresh::postgres().await else { return };
    if store.text("SELECT current_setting('ssl') AS text").await != "on" {
        eprintln!("===== NOT RUN: PostgreSQL by TLS (the server has no certificate)");
        return;
    }
    let url = format!("{}?sslmode=require", store.address().split('?').next().unwrap());
    let coordinator = Coordinator::open_store(&url.parse().unwrap(), SETTINGS).await.unwrap();
    coordinator.put_supervisor(spec(1), false, 1).await.unwrap();
    let by_tls = "SELECT CAST(BOOL_AND(ssl) AS TEXT) AS text FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
                  WHERE datname = current_database() AND pid <> pg_backend_pid()";
    assert_eq!(store.text(by_tls).await, "true");
    coordinator.close().await;
}

#[tokio::test]
async fn a_store_that_is_not_there_is_said_without_its_password() {
    let gone: MetadataStore = "postgres://ann:s3cret@127.0.0.1:1/henge".parse().unwrap();
    let error = Coordinator::open_store(&gone, SETTINGS).await.map(|_| ()).unwrap_err();
    assert_eq!(error.kind(), segment::Kind::Unavailable);
    assert!(!format!("{error} {error:?}").contains("s3cret"), "{error:?}");

    let Some(store) = Fresh::postgres().await else { return };
    let address = store.address().replacen("henge_test", "no_such", 1);
    let with_password = match address.split_once('@') {
        Some((user, rest)) => format!("{user}:s3cret@{rest}"),
        None => address.replacen("://", "://test:s3cret@", 1),
    };
    let error = Coordinator::open_store(&with_password.parse().unwrap(), SETTINGS).await.map(|_| ()).unwrap_err();
    let shown = format!("{error} {error:?}");
    assert!(shown.contains("does not exist") && !shown.contains("s3cret"), "{shown}");
}

/// What was not written for want of room keeps nothing after it from being written.
#[tokio::test]
async fn a_disk_that_was_full_is_written_to_again() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Disk::of(folder.path());
    if disk.is_none() {
        eprintln!("===== NOT RUN: a full disk (no filesystem can be mounted; root is needed)");
        return;
    }
    let url = folder.path().join("catalog.db").display().to_string();
    let coordinator = Coordinator::open_store(&url.parse().unwrap(), SETTINGS).await.unwrap();
    coordinator.put_supervisor(spec(1), false, 1).await.unwrap();
    let ballast = folder.path().join("ballast");
    for round in 0..3 {
        let mut file = std::fs::File::create(&ballast).unwrap();
        for bytes in [1 << 16, 1 << 12] {
            while std::io::Write::write_all(&mut file, &vec![0; bytes]).is_ok() {}
        }
        for again in 0..3 {
            let error = coordinator.suspend("s", 10 * round + again).await.map(drop).unwrap_err();
            assert!(error.to_string().contains("full"), "{error}");
        }
        drop(file);
        std::fs::remove_file(&ballast).unwrap();
        coordinator.suspend("s", 10 * round + 5).await.unwrap();
        coordinator.resume("s", 10 * round + 6).await.unwrap();
    }
    coordinator.close().await;
}

/// A small filesystem of its own below a folder.
struct Disk(std::path::PathBuf);

impl Disk {
    fn of(folder: &std::path::Path) -> Option<Disk> {
        let mount =
            std::process::Command::new("mount").args(["-t", "tmpfs", "-o", "size=2m", "tmpfs"]).arg(folder).status();
        mount.is_ok_and(|status| status.success()).then(|| Disk(folder.to_path_buf()))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
