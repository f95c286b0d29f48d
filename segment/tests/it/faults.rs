//! What a network and an S3 server do at their worst: each fault is mended by asking again, or is an error that says the
//! object, what is wrong and whether to ask again; in time, and with nothing left behind.

use std::path::Path;
use std::time::{Duration, Instant};

use segment::error::Fault;
use segment::storage::deep::DeepStorage;
use segment::storage::settings::{DeepStorageSettings, S3Settings};
use segment::{Error, SegmentMeta};

use crate::deep::{ACCESS_KEY, LARGE, SECRET, bytes, s3, s3_address, s3_settings, written};
use crate::proxy::{Asked, Fate, Proxy};

const SLOW_DOWN: &str = "<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>";
const DENIED: &str = "<Error><Code>SignatureDoesNotMatch</Code><AWSAccessKeyId>AKIATESTTESTTEST</AWSAccessKeyId>\
    <StringToSign>hush-hush-hush</StringToSign></Error>";

/// A server behind a proxy, and two published segments, one of which is moved in parts.
struct World {
    proxy: Proxy,
    deep: DeepStorage,
    small: SegmentMeta,
    large: SegmentMeta,
    folder: tempfile::TempDir,
}

impl World {
    async fn new(test: &str) -> Option<World> {
        let address = s3_address()?;
        let proxy = Proxy::start(&address).await;
        let folder = tempfile::tempdir().unwrap();
        let direct = s3(&address, test);
        let (file, meta) = written(folder.path(), "small", &bytes(5000));
        let small = direct.push(&file, meta).await.unwrap();
        let (file, meta) = written(folder.path(), "large", &bytes(LARGE));
        let large = direct.push(&file, meta).await.unwrap();
        Some(World { deep: s3(&proxy.address, test), proxy, small, large, folder })
    }

    async fn pull(&self, meta: &SegmentMeta) -> segment::Result<()> {
        let to = self.folder.path().join("pulled");
        let _ = std::fs::remove_file(&to);
        let started = Instant::now();
        let pulled = self.deep.pull(meta, &to).await;
        assert!(started.elapsed() < Duration::from_secs(40), "{:?}: {pulled:?}", started.elapsed());
        match &pulled {
            Ok(()) => assert!(std::fs::read(&to).unwrap() == bytes(meta.size_bytes as usize)),
            Err(error) => {
                assert!(!to.exists());
                says_what_and_no_secrets(error, &meta.path);
            }
        }
        pulled
    }
}

fn says_what_and_no_secrets(error: &Error, path: &str) {
    let shown = format!("{error} {error:?}");
    assert!(error.to_string().contains(path), "{error}");
    assert!(!shown.contains(SECRET) && !shown.contains(ACCESS_KEY), "{shown}");
    if let Error::Storage { fault, .. } = error {
        let advice = if fault.is_passing() { "it can be asked again" } else { "must be mended first" };
        assert!(error.to_string().contains(advice), "{error}");
        assert_eq!(error.is_passing(), fault.is_passing());
        assert_eq!(error.kind(), segment::Kind::Unavailable);
    }
}

fn fault(outcome: segment::Result<()>) -> Fault {
    match outcome {
        Err(Error::Storage { fault, .. }) => fault,
        other => panic!("{other:?}"),
    }
}

fn first(fate: Fate) -> impl FnMut(&Asked) -> Fate + Send {
    move |asked| if asked.before == 0 { fate } else { Fate::Pass }
}

fn is_get(asked: &Asked) -> bool {
    asked.method == "GET"
}

#[tokio::test]
async fn a_fault_that_passes_is_asked_again() {
    let Some(world) = World::new("passing").await else { return };
    for fate in [
        Fate::Answer(503, SLOW_DOWN),
        Fate::Answer(500, ""),
        Fate::Answer(429, ""),
        Fate::Hang,
        Fate::Close,
        Fate::Lose,
        Fate::Cut(100),
        Fate::Short(100),
        Fate::Flip,
    ] {
        for meta in [&world.small, &world.large] {
            // The first request of the large one is about its length, and has no body.
            let mut hit = false;
            world.proxy.plan(move |asked| {
                let now = !hit && is_get(asked);
                hit |= now;
                if now { fate } else { Fate::Pass }
            });
            world.pull(meta).await.unwrap_or_else(|error| panic!("{fate:?}: {error}"));
        }
    }
    world.proxy.plan(first(Fate::Answer(503, SLOW_DOWN)));
    world.pull(&world.large).await.unwrap();
}

#[tokio::test]
async fn a_fault_that_stays_is_an_error_in_time() {
    let Some(world) = World::new("staying").await else { return };
    let check = |fate: Fate| {
        world.proxy.plan(move |_| fate);
        &world
    };
    for slow in [Fate::Answer(503, SLOW_DOWN), Fate::Answer(429, SLOW_DOWN)] {
        assert!(matches!(fault(check(slow).pull(&world.small).await), Fault::Busy(text) if text.ends_with("SlowDown")));
        assert_eq!(world.proxy.asked().len(), 3, "once and two retries");
    }
    assert_eq!(fault(check(Fate::Answer(500, "")).pull(&world.small).await), Fault::Failed("500".into()));
    assert_eq!(fault(check(Fate::Answer(503, "")).pull(&world.large).await), Fault::Busy("503".into()));
    assert_eq!(fault(check(Fate::Hang).pull(&world.small).await), Fault::TimedOut);
    assert!(matches!(fault(check(Fate::Close).pull(&world.small).await), Fault::Interrupted(_)));
    assert!(matches!(fault(check(Fate::Cut(100)).pull(&world.small).await), Fault::Interrupted(_)));

    let denied = fault(check(Fate::Answer(403, DENIED)).pull(&world.small).await);
    assert_eq!(denied, Fault::Denied("403 SignatureDoesNotMatch".into()));
    assert_eq!(world.proxy.asked().len(), 1, "asking again is of no use");
    assert_eq!(fault(check(Fate::Answer(400, "")).pull(&world.small).await), Fault::Refused("400".into()));
    assert_eq!(fault(check(Fate::Answer(301, "")).pull(&world.small).await), Fault::Refused("301".into()));
    assert!(matches!(check(Fate::Answer(404, "")).pull(&world.small).await, Err(Error::NotFound(_))));

    for (fate, meta) in [
        (Fate::Short(1), &world.small),
        (Fate::Flip, &world.small),
        // Lengths come from heads without bodies there, so only ranges can be spoilt.
        (Fate::Flip, &world.large),
    ] {
        world.proxy.plan(move |asked| if is_get(asked) { fate } else { Fate::Pass });
        let outcome = world.pull(meta).await;
        assert!(matches!(outcome, Err(Error::Corrupt(_))), "{fate:?}: {outcome:?}");
    }
    world.proxy.plan(|asked| if is_get(asked) { Fate::Short(7) } else { Fate::Pass });
    assert!(matches!(fault(world.pull(&world.large).await), Fault::Interrupted(_)));
}

#[tokio::test]
async fn a_server_that_is_not_there_is_an_error_in_time() {
    // A port that was free a moment ago; and an address that swallows what is sent to it.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("pulled");
    let (file, mut meta) = written(folder.path(), "d", &bytes(10));
    meta.path = "d/k.henge".into();
    let deep = s3(&format!("http://{free}"), "nowhere");
    let started = Instant::now();
    assert!(matches!(fault(deep.pull(&meta, &to).await), Fault::Unreachable(text) if text.contains("refused")));
    assert!(matches!(deep.push(&file, meta.clone()).await, Err(Error::Storage { fault: Fault::Unreachable(_), .. })));
    assert!(matches!(fault(deep.delete(&meta).await), Fault::Unreachable(_)));
    let objects = deep.objects(".kept");
    assert!(matches!(objects.list("").await, Err(Error::Storage { fault: Fault::Unreachable(_), .. })));
    assert!(matches!(objects.get("a").await, Err(Error::Storage { fault: Fault::Unreachable(_), .. })));
    let error = objects.put("a", bytes(3).into()).await.unwrap_err();
    says_what_and_no_secrets(&error, "s3://deep/");
    let nameless = s3("http://no-such-host.invalid:9000", "nowhere");
    assert!(matches!(fault(nameless.delete(&meta).await), Fault::Unreachable(_)));
    assert!(started.elapsed() < Duration::from_secs(30));
}

#[tokio::test]
async fn a_bucket_that_is_not_there_is_named() {
    let Some(address) = s3_address() else { return };
    let settings = S3Settings { bucket: "none-such".into(), ..s3_settings(&address, "x") };
    let deep = DeepStorage::open(&DeepStorageSettings::S3(settings)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (file, meta) = written(folder.path(), "d", &bytes(10));
    let error = deep.push(&file, meta).await.unwrap_err();
    assert!(
        matches!(&error, Error::Storage { fault: Fault::Refused(text), .. } if text == "404 NoSuchBucket"),
        "{error}"
    );
    assert!(error.to_string().contains("s3://none-such/"), "{error}");
}

#[tokio::test]
async fn an_upload_is_whole_or_not_there() {
    let Some(world) = World::new("uploads").await else { return };
    let address = s3_address().unwrap();
    let direct = s3(&address, "uploads");
    let to = world.folder.path().join("seen");
    let is_put = |asked: &Asked| asked.method == "PUT" || asked.method == "POST";
    for (name, len) in [("small upload", 700), ("large upload", LARGE)] {
        for fate in [Fate::Answer(500, ""), Fate::Answer(403, DENIED), Fate::Hang, Fate::Close] {
            // Beginning the upload, one of its parts, finishing it.
            for from in [0, 2, 5] {
                if (len < LARGE || fate == Fate::Hang) && from > 0 {
                    continue;
                }
                let (file, meta) = written(world.folder.path(), name, &bytes(len));
                let mut writes = 0;
                world.proxy.plan(move |asked| {
                    writes += usize::from(is_put(asked));
                    if is_put(asked) && writes > from { fate } else { Fate::Pass }
                });
                let started = Instant::now();
                let pushed = world.deep.push(&file, meta.clone()).await;
                assert!(started.elapsed() < Duration::from_secs(70), "{fate:?}: {:?}", started.elapsed());
                let error = pushed.expect_err("it cannot be there");
                says_what_and_no_secrets(&error, &format!("{:016x}", meta.checksum));
                not_there(&direct, &meta, &to).await;
            }
        }
        // The next push of the same file succeeds, whichever answer is lost.
        let (file, meta) = written(world.folder.path(), name, &bytes(len));
        for lost in 0..7 {
            world.proxy.plan(move |asked| if asked.before == lost { Fate::Lose } else { Fate::Pass });
            let pushed = world.deep.push(&file, meta.clone()).await.unwrap_or_else(|error| panic!("{lost}: {error}"));
            direct.pull(&pushed, &to).await.unwrap();
            assert!(std::fs::read(&to).unwrap() == bytes(len));
            direct.delete(&pushed).await.unwrap();
        }
    }
}

/// Who may not list a bucket is denied what is not there: a push must go on.
#[tokio::test]
async fn a_push_needs_no_right_to_list() {
    let Some(world) = World::new("rights").await else { return };
    let (file, meta) = written(world.folder.path(), "new", &bytes(100));
    world.proxy.plan(|asked| if is_get(asked) { Fate::Answer(403, DENIED) } else { Fate::Pass });
    let pushed = world.deep.push(&file, meta).await.unwrap();
    world.proxy.plan(|_| Fate::Pass);
    world.pull(&pushed).await.unwrap();
}

async fn not_there(direct: &DeepStorage, meta: &SegmentMeta, to: &Path) {
    let id = &meta.id;
    let name = id.datasource.clone();
    let path = format!("{name}/0_3600000/{}/{}/{:016x}.henge", id.version, id.partition, meta.checksum);
    let found = direct.pull(&SegmentMeta { path, ..meta.clone() }, to).await;
    assert!(matches!(found, Err(Error::NotFound(_))), "{found:?}");
}
