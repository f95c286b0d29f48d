//! An object store with the patience, memory and errors of this crate: every act ends by a deadline, moves its bytes in
//! parts, and says what went wrong with which object and whether to ask again. What is in the objects is not its matter.

use std::error::Error as StdError;
use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::client::{HttpError, HttpErrorKind};
use object_store::path::Path as Key;
use object_store::{GetOptions, GetRange, GetResult, ObjectStore, ObjectStoreExt, WriteMultipart};
use tokio::io::AsyncReadExt;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::settings::Limits;
use crate::error::{Error, Fault, Result};

/// Bytes read, hashed and sent at a time. Object stores take no parts below 5 MiB.
pub(super) const PART_BYTES: usize = 8 << 20;

/// Parts of one transfer that may be on their way at once: its memory is 40 MiB with the one being read or written.
const PARTS_IN_FLIGHT: usize = 4;

/// Transfers of a process that move at once; others wait for their turn. Their memory is 160 MiB, and a line of 10 Gbit/s
/// is full with fewer.
const TRANSFERS_MAX: usize = 4;

/// What a transfer must move a second, or its deadline passes.
const BYTES_A_SECOND_MIN: u64 = 1 << 20;

/// For folders and stores in memory, where retries and time-outs of requests have no meaning.
const LOCAL: Limits =
    Limits { connect: Duration::ZERO, request: Duration::ZERO, retries: 0, deadline: Duration::from_secs(60) };

#[derive(Clone)]
pub(super) struct Store {
    objects: Arc<dyn ObjectStore>,
    limits: Limits,
    /// Stands before keys in errors.
    place: Arc<str>,
    transfers: Arc<Semaphore>,
}

/// What is uploaded: bytes, or a file that is read as it goes.
pub(super) enum Source {
    Bytes(Bytes),
    File(tokio::fs::File),
}

impl Store {
    pub fn new(objects: Arc<dyn ObjectStore>, limits: Option<Limits>, place: String) -> Store {
        Store {
            objects,
            limits: limits.unwrap_or(LOCAL),
            place: place.into(),
            transfers: Arc::new(Semaphore::new(TRANSFERS_MAX)),
        }
    }

    /// How an object is called in errors.
    pub fn name(&self, key: &Key) -> String {
        format!("{}{key}", self.place)
    }

    /// A turn to move bytes. Taken once by an act, before its deadline runs.
    pub async fn turn(&self) -> SemaphorePermit<'_> {
        self.transfers.acquire().await.expect("nobody closes the semaphore")
    }

    /// Ends what does not come to an end in the time that moving `bytes` may take.
    pub async fn within<T>(
        &self,
        what: &str,
        key: &Key,
        bytes: u64,
        act: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let deadline = self.limits.deadline + Duration::from_secs(bytes / BYTES_A_SECOND_MIN);
        let timed_out = || Error::Storage { what: format!("{what} {}", self.name(key)), fault: Fault::TimedOut };
        tokio::time::timeout(deadline, act).await.map_err(|_| timed_out())?
    }

    /// Writes an object whole, in place of one of that name; nothing is seen of it until all of it is there. `check` is
    /// shown the parts as they pass, and what it says at the end (called with no bytes) decides whether the object
    /// becomes visible.
    pub async fn put(&self, key: &Key, mut from: Source, mut check: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let failed = |error| self.failed("write", key, error);
        let first = from.part().await?;
        if first.len() < PART_BYTES {
            if !first.is_empty() {
                check(&first)?;
            }
            check(&[])?;
            return self.objects.put(key, first.into()).await.map(|_| ()).map_err(failed);
        }
        let upload = self.objects.put_multipart(key).await.map_err(failed)?;
        let mut upload = WriteMultipart::new_with_chunk_size(upload, PART_BYTES);
        let mut part = first;
        let sent: Result<()> = async {
            while !part.is_empty() {
                check(&part)?;
                upload.wait_for_capacity(PARTS_IN_FLIGHT).await.map_err(failed)?;
                upload.put(part);
                part = from.part().await?;
            }
            check(&[])
        }
        .await;
        match sent {
            Ok(()) => upload.finish().await.map(|_| ()).map_err(failed),
            Err(error) => {
                // Invisible in any case; a store drops the parts of uploads that are never finished by its own rules.
                let _ = upload.abort().await;
                Err(error)
            }
        }
    }

    /// An object's length and its bytes in order. `large` is a guess that spares a request if it is right.
    pub async fn get(&self, key: &Key, large: bool) -> Result<(u64, BoxStream<'_, Result<Bytes>>)> {
        let options = GetOptions { head: large, ..GetOptions::default() };
        let got = self.ask(key, options).await?;
        let size = got.meta.size;
        if !large && size <= PART_BYTES as u64 {
            let bytes = self.body(key, got, size).await?;
            return Ok((size, futures::stream::once(async { Ok(bytes) }).boxed()));
        }
        let tag = got.meta.e_tag.clone();
        drop(got);
        let starts = (0..size).step_by(PART_BYTES);
        let key = key.clone();
        let part = move |start: u64| {
            let (key, tag) = (key.clone(), tag.clone());
            async move {
                let end = size.min(start + PART_BYTES as u64);
                let options =
                    GetOptions { range: Some(GetRange::Bounded(start..end)), if_match: tag, ..GetOptions::default() };
                let got = self.ask(&key, options).await?;
                self.body(&key, got, end - start).await
            }
        };
        Ok((size, futures::stream::iter(starts).map(part).buffered(PARTS_IN_FLIGHT).boxed()))
    }

    /// Deleting what is not there succeeds.
    pub async fn delete(&self, key: &Key) -> Result<()> {
        let delete = async {
            match self.objects.delete(key).await.map_err(|error| self.failed("delete", key, error)) {
                Err(Error::NotFound(_)) => Ok(()),
                done => done,
            }
        };
        self.within("delete", key, 0, delete).await
    }

    /// Keys of all objects below `prefix`.
    pub async fn list(&self, prefix: &Key) -> Result<Vec<Key>> {
        let list = async {
            let found = self.objects.list(Some(prefix)).map_ok(|meta| meta.location);
            found.try_collect().await.map_err(|error| self.failed("list", prefix, error))
        };
        self.within("list", prefix, 0, list).await
    }

    async fn ask(&self, key: &Key, options: GetOptions) -> Result<GetResult> {
        self.objects.get_opts(key, options).await.map_err(|error| self.failed("read", key, error))
    }

    /// Exactly so many bytes, and no more memory than that whatever is sent.
    async fn body(&self, key: &Key, got: GetResult, len: u64) -> Result<Bytes> {
        let broken =
            |text: String| Error::Storage { what: format!("read {}", self.name(key)), fault: Fault::Interrupted(text) };
        let mut stream = got.into_stream();
        let mut bytes = Vec::with_capacity(len as usize);
        while let Some(more) = stream.next().await {
            let more = more.map_err(|error| self.failed("read", key, error))?;
            if (bytes.len() + more.len()) as u64 > len {
                return Err(broken(format!("more than the {len} bytes asked for")));
            }
            bytes.extend_from_slice(&more);
        }
        if (bytes.len() as u64) < len {
            return Err(broken(format!("{} of {len} bytes", bytes.len())));
        }
        Ok(bytes.into())
    }

    fn failed(&self, act: &str, key: &Key, error: object_store::Error) -> Error {
        let what = format!("{act} {}", self.name(key));
        match told(&error) {
            Told::Fault(fault) => Error::Storage { what, fault },
            Told::Missing => Error::NotFound(format!("{} is not in deep storage", self.name(key))),
            Told::Disk(kind, text) => Error::io(what, std::io::Error::new(kind, text)),
        }
    }
}

impl Source {
    pub async fn open(file: &Path) -> Result<Source> {
        let opened = tokio::fs::File::open(file).await;
        opened.map(Source::File).map_err(|source| Error::io(format!("read {}", file.display()), source))
    }

    /// A full part, or what is left.
    async fn part(&mut self) -> Result<Bytes> {
        match self {
            Source::Bytes(bytes) => Ok(bytes.split_to(bytes.len().min(PART_BYTES))),
            Source::File(file) => {
                // A few bytes more than a part: reading to the end asks for room before it knows that it is there.
                let mut part = Vec::with_capacity(PART_BYTES + 64);
                let read = file.take(PART_BYTES as u64).read_to_end(&mut part).await;
                read.map_err(|source| Error::io("read a file that is uploaded", source))?;
                Ok(part.into())
            }
        }
    }
}

enum Told {
    Fault(Fault),
    Missing,
    /// Of a folder.
    Disk(std::io::ErrorKind, String),
}

/// What an error of the store comes down to. Statuses are found in texts because the type that holds them is not public;
/// the tests of faults fail where the wording changes.
fn told(error: &object_store::Error) -> Told {
    let (mut status, mut code, mut http, mut io) = (None, String::new(), None, None);
    let mut at: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(here) = at {
        let text = here.to_string();
        if status.is_none() {
            status = status_of(&text);
            code = code_of(&text);
        }
        http = http.or(here.downcast_ref::<HttpError>().map(HttpError::kind));
        if let Some(found) = here.downcast_ref::<std::io::Error>() {
            // The innermost says it best: those around it repeat it.
            io = Some((found.kind(), innermost(found)));
        }
        at = here.source();
    }
    let text = io.as_ref().map_or_else(|| "no reason given".to_string(), |(_, text)| text.clone());
    let answer = |status: u16| format!("{status} {code}").trim_end().to_string();
    Told::Fault(match (status, http) {
        (Some(404), _) if code != "NoSuchBucket" => return Told::Missing,
        (Some(status @ (401 | 403)), _) => Fault::Denied(answer(status)),
        (Some(status @ (429 | 503)), _) => Fault::Busy(answer(status)),
        (Some(408), _) => Fault::TimedOut,
        (Some(status @ 500..), _) => Fault::Failed(answer(status)),
        // It was replaced or is being written while parts of it were read.
        (Some(409 | 412), _) => Fault::Interrupted("the object changed meanwhile".into()),
        (Some(status), _) => Fault::Refused(answer(status)),
        (None, Some(HttpErrorKind::Connect)) => Fault::Unreachable(text),
        (None, Some(HttpErrorKind::Timeout)) => Fault::TimedOut,
        (None, Some(_)) => Fault::Interrupted(text),
        (None, None) => match (error, io) {
            (object_store::Error::NotFound { .. }, _) => return Told::Missing,
            (_, Some((kind, text))) => return Told::Disk(kind, text),
            (object_store::Error::Generic { store: "S3", .. }, None) => {
                Fault::Interrupted("not an answer of S3".into())
            }
            (error, None) => return Told::Disk(std::io::ErrorKind::Other, error.to_string()),
        },
    })
}

fn status_of(text: &str) -> Option<u16> {
    const BEFORE: &str = "status code: ";
    if text.contains("Received redirect without LOCATION") {
        return Some(301);
    }
    let at = text.find(BEFORE)? + BEFORE.len();
    text.get(at..at + 3)?.parse().ok()
}

/// The error code of an answer of S3, or nothing: one word, never more of the answer than that.
fn code_of(text: &str) -> String {
    let inside = text.split_once("<Code>").and_then(|(_, rest)| rest.split_once("</Code>"));
    match inside {
        Some((code, _)) if code.len() <= 64 && code.chars().all(|c| c.is_ascii_alphanumeric()) => code.to_string(),
        _ => String::new(),
    }
}

fn innermost(error: &std::io::Error) -> String {
    let mut text = error.to_string();
    let mut at = StdError::source(error);
    while let Some(here) = at {
        text = here.to_string();
        at = here.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Text(&'static str);

    #[test]
    fn errors_come_down_to_what_to_do_and_show_no_answers() {
        let store = Store::new(Arc::new(InMemory::new()), None, "s3://b/".into());
        let check = |text: &'static str, expected: &str| {
            let error = object_store::Error::Generic { store: "S3", source: Box::new(Text(text)) };
            let error = store.failed("read", &Key::from("a/k"), error);
            assert_eq!(error.to_string(), expected);
            assert_eq!(error.is_passing(), expected.contains("asked again"), "{error}");
        };
        let at = "Server returned non-2xx status code:";
        let check_status = |rest: &str, expected: &str| check(format!("{at} {rest}").leak(), expected);
        check_status(
            "503 Service Unavailable: <Error><Code>SlowDown</Code></Error>",
            "read s3://b/a/k: asked to slow down (503 SlowDown); it can be asked again later",
        );
        check_status(
            "403 Forbidden: <Code>SignatureDoesNotMatch</Code><AWSAccessKeyId>AKIA</AWSAccessKeyId>",
            "read s3://b/a/k: access denied (403 SignatureDoesNotMatch); the credentials or their rights must be mended \
             first",
        );
        check_status("404 Not Found: <Code>NoSuchKey</Code>", "s3://b/a/k is not in deep storage");
        check_status(
            "404 Not Found: <Code>NoSuchBucket</Code>",
            "read s3://b/a/k: refused (404 NoSuchBucket); the settings must be mended first",
        );
        check_status(
            "400 Bad Request: <Code>see <b>key</b></Code>",
            "read s3://b/a/k: refused (400); the settings must be mended first",
        );
        check_status("500 Internal Server Error: ", "read s3://b/a/k: failed on its side (500); it can be asked again");
        check(
            "no text that is known",
            "read s3://b/a/k: the answer broke off (not an answer of S3); it can be asked again",
        );
    }
}
