//! The input of batch tasks: inline text, local files and what is fetched over HTTP, cut into splits that threads read on their own.
//!
//! Files of lines are cut by byte ranges; the line that a range ends in belongs to it, and the next range begins after
//! it. Formats with header rows, where a range could not know its columns, are read whole. Parquet files are cut by row
//! groups. What is packed, and what comes over HTTP, is read whole.

use std::fs::{File, Metadata};
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::ops::Range;
#[cfg(target_os = "linux")]
use std::os::fd::AsRawFd;
#[cfg(unix)]
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use parquet::arrow::arrow_reader::ArrowReaderMetadata;

use super::hosts::HttpSources;
use super::http::{Fetcher, GoOn, shown};
use super::packed;
use crate::error::{Error, Result};
use crate::spec::{HttpSource, InputFormat, InputSource};

/// Bytes of lines that are read as one split: small enough to share out among threads, large enough to amortise opening.
const SPLIT_BYTES: u64 = 16 << 20;

/// Bytes that are read at once.
pub(super) const READ_BYTES: usize = 1 << 20;

/// A line must fit into memory several times over.
pub(super) const LINE_BYTES_MAX: usize = 256 << 20;

/// Files that one task may read.
const FILES_MAX: usize = 100_000;

/// Links that are followed to where a file would be.
const LINKS_MAX: usize = 40;

/// Where the kernel shows processes, this one's memory and open files among them, and devices: none of it is input.
const OF_KERNEL: [&str; 3] = ["/proc", "/sys", "/dev"];

/// Where files of this machine may be read.
#[derive(Debug, Clone, Default)]
pub struct LocalSources {
    /// Folders that they may be in; empty: any.
    pub allowed: Vec<PathBuf>,
    /// Folders that they may not be in, and files that they may not be: what this process keeps there has readers of its
    /// own, and rules for them.
    pub closed: Vec<PathBuf>,
}

#[derive(Debug, Clone)]
pub enum Split {
    Inline {
        text: Arc<str>,
        range: Range<usize>,
    },
    Lines {
        file: Arc<Checked>,
        range: Range<u64>,
    },
    Parquet {
        file: Arc<Checked>,
        groups: Vec<usize>,
    },
    /// Packed by gzip.
    Packed {
        file: Arc<Checked>,
    },
    Fetched {
        fetcher: Arc<Fetcher>,
        uri: Arc<str>,
    },
}

/// A file that may be read. Each opening of it is of the same file in the same place: a path alone may lead elsewhere by
/// then, as whoever may write a folder above can put a link in its place.
#[derive(Debug)]
pub struct Checked {
    path: PathBuf,
    /// Device and number of the file.
    #[cfg(unix)]
    identity: (u64, u64),
}

impl Split {
    /// Whether header rows stand at its beginning.
    pub fn begins_file(&self) -> bool {
        match self {
            Split::Inline { range, .. } => range.start == 0,
            Split::Lines { range, .. } => range.start == 0,
            Split::Parquet { .. } | Split::Packed { .. } | Split::Fetched { .. } => true,
        }
    }

    /// Where it is, for reports: a path, a URI, or `inline`.
    pub fn place(&self) -> String {
        match self {
            Split::Inline { .. } => "inline".into(),
            Split::Lines { file, .. } | Split::Parquet { file, .. } | Split::Packed { file } => {
                file.path.display().to_string()
            }
            Split::Fetched { uri, .. } => shown(uri).to_string(),
        }
    }

    /// Hands out the split's lines in blocks of whole lines, each line ended by a newline but for the last of the input.
    pub fn read_lines(&self, each: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        match self {
            Split::Inline { text, range } => each(&text.as_bytes()[range.clone()]),
            Split::Lines { file, range } => read_lines(&file.path, file.open()?, range.clone(), each),
            Split::Parquet { file, .. } => Err(Error::Bug(format!("{} is not read by lines", file.path.display()))),
            Split::Packed { file } => {
                packed::lines_of(&mut *packed::unpacked(BufReader::new(file.open()?)), &self.place(), each)
            }
            Split::Fetched { fetcher, uri } => packed::lines_of(&mut *fetcher.open(uri)?, &self.place(), each),
        }
    }

    /// Brings what is somewhere else to a file here, for formats that are not read from beginning to end.
    pub fn fetch(&self, to: &Path) -> Result<Vec<Split>> {
        let Split::Fetched { fetcher, uri } = self else {
            return Err(Error::Bug(format!("{} is not fetched", self.place())));
        };
        let opened = File::options().read(true).write(true).create_new(true).open(to);
        let mut file = opened.map_err(|e| Error::io(format!("cannot write {}", to.display()), e))?;
        fetcher.save(uri, &mut file)?;
        let meta = ArrowReaderMetadata::load(&file, Default::default())
            .map_err(|e| Error::invalid(format!("{} is not a Parquet file: {e}", self.place())))?;
        let real = to.canonicalize().map_err(|e| Error::io(format!("cannot read {}", to.display()), e))?;
        let file = Arc::new(Checked::first(real)?.0);
        let groups = 0..meta.metadata().num_row_groups();
        Ok(groups.map(|group| Split::Parquet { file: file.clone(), groups: vec![group] }).collect())
    }
}

/// Cuts a source into splits. They name files by where these are, whatever links lead there.
pub fn splits(source: &InputSource, format: &InputFormat, sources: &LocalSources) -> Result<Vec<Split>> {
    let headed = matches!(format, InputFormat::Delimited(d) if d.header || d.skip_rows > 0);
    match source {
        InputSource::Inline(text) => Ok(inline(Arc::from(text.as_str()), headed)),
        InputSource::Local { folder, filter, files } => {
            let paths = match folder {
                Some(folder) => {
                    let real = sources.resolve(folder, "folder")?;
                    let mut paths = Vec::new();
                    list(folder, filter, &sources.closed_below(&real), &mut paths)?;
                    paths.sort();
                    if paths.is_empty() {
                        return Err(Error::NotFound(format!("no file in {} matches {filter:?}", folder.display())));
                    }
                    paths
                }
                None => files.clone(),
            };
            let mut splits = Vec::new();
            for path in paths {
                split_file(sources.resolve(&path, "file")?, format, headed, &mut splits)?;
            }
            Ok(splits)
        }
        InputSource::Http(source) => Err(Error::Bug(format!("{source:?} is not of this machine"))),
    }
}

/// Each URI is a split.
pub fn fetched(source: &HttpSource, sources: &Arc<HttpSources>, go_on: GoOn) -> Result<Vec<Split>> {
    let fetcher = Arc::new(Fetcher::new(source, sources, go_on)?);
    for uri in fetcher.uris() {
        if let Some(ending) = packed::unknown_ending(shown(uri)) {
            return Err(Error::invalid(format!("{}: {}", shown(uri), not_unpacked(ending))));
        }
    }
    let split = |uri: &String| Split::Fetched { fetcher: fetcher.clone(), uri: Arc::from(uri.as_str()) };
    Ok(fetcher.uris().iter().map(split).collect())
}

fn not_unpacked(ending: &str) -> String {
    format!("of compressed files those of gzip (.gz) are supported, and no {ending}; unpack it, or pack it so")
}

impl LocalSources {
    /// Where a file or folder is, links followed, if it may be read.
    fn resolve(&self, path: &Path, what: &str) -> Result<PathBuf> {
        let found = path.canonicalize();
        // What is not there, or cannot be reached, is judged by where it would be: another answer than for what is there
        // would tell what there is in places that may not be read.
        let real = match &found {
            Ok(real) => real.clone(),
            Err(_) => nearest(path),
        };
        let of_kernel = |at: &Path| OF_KERNEL.iter().any(|folder| at.starts_with(folder));
        if of_kernel(path) || of_kernel(&real) {
            return Err(Error::invalid(format!(
                "{} is below {}, or leads there; copy what is to be read into a folder of files",
                path.display(),
                OF_KERNEL.join(", ")
            )));
        }
        // So would a way back out of such a place, which is one only if there is what it leads through.
        let mut passed = vec![real.clone()];
        if path.components().any(|part| part == Component::ParentDir) {
            passed.extend(path.ancestors().map(nearest));
        }
        let is_in = |at: &Path, folder: &Path| folder.canonicalize().is_ok_and(|folder| at.starts_with(folder));
        if self.closed.iter().any(|closed| passed.iter().any(|at| is_in(at, closed))) {
            return Err(Error::invalid(format!(
                "{} is in a folder or file that this server keeps its own data in, or leads there; read input from another",
                path.display()
            )));
        }
        if !self.allowed.is_empty() && !self.allowed.iter().any(|folder| is_in(&real, folder)) {
            return Err(Error::invalid(format!(
                "{} is not in a folder that this server may read input from",
                path.display()
            )));
        }
        found.map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => Error::NotFound(format!("there is no {what} {}", path.display())),
            _ => Error::io(format!("cannot read {}", path.display()), e),
        })
    }

    /// What is closed below a folder, which is where it is; the rest is not met there but by links.
    fn closed_below(&self, real: &Path) -> Vec<PathBuf> {
        let closed = self.closed.iter().filter_map(|closed| closed.canonicalize().ok());
        closed.chain(OF_KERNEL.map(PathBuf::from)).filter(|closed| closed.starts_with(real)).collect()
    }
}

/// Where what is not there would be: the nearest part of its path that is there, links followed that lead nowhere too.
fn nearest(path: &Path) -> PathBuf {
    // From here, so that a relative path ends in a folder that is there too.
    let mut at = Path::new(".").join(path);
    let mut links = 0;
    loop {
        if let Ok(real) = at.canonicalize() {
            return real;
        }
        match at.read_link() {
            Ok(target) if links < LINKS_MAX => {
                links += 1;
                at.pop();
                at.push(target);
            }
            _ => {
                if !at.pop() {
                    return at;
                }
            }
        }
    }
}

fn inline(text: Arc<str>, headed: bool) -> Vec<Split> {
    let step = if headed { usize::MAX } else { SPLIT_BYTES as usize };
    let (mut splits, mut start) = (Vec::new(), 0);
    while start < text.len() {
        let near = start.saturating_add(step).min(text.len());
        let end = text.as_bytes()[near..].iter().position(|b| *b == b'\n').map_or(text.len(), |at| near + at + 1);
        splits.push(Split::Inline { text: text.clone(), range: start..end });
        start = end;
    }
    splits
}

impl Checked {
    /// Opens the file at a path that may be read, without a link on it.
    fn first(path: PathBuf) -> Result<(Checked, File, u64)> {
        let (file, meta) = open_at(&path)?;
        let checked = Checked {
            path,
            #[cfg(unix)]
            identity: (meta.dev(), meta.ino()),
        };
        Ok((checked, file, meta.len()))
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens it again.
    pub fn open(&self) -> Result<File> {
        let (file, meta) = open_at(&self.path)?;
        #[cfg(unix)]
        if (meta.dev(), meta.ino()) != self.identity {
            return Err(moved(&self.path));
        }
        #[cfg(not(unix))]
        drop(meta);
        Ok(file)
    }
}

/// Opens a file and makes sure that what is open is what is at that very path.
fn open_at(path: &Path) -> Result<(File, Metadata)> {
    let failed = |e| Error::io(format!("cannot read {}", path.display()), e);
    let file = File::open(path).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => Error::NotFound(format!("there is no file {}", path.display())),
        _ => failed(e),
    })?;
    if place(&file, path).map_err(failed)? != path {
        return Err(moved(path));
    }
    let meta = file.metadata().map_err(failed)?;
    if !meta.is_file() {
        return Err(Error::invalid(format!("{} is not a file", path.display())));
    }
    // Another name of it may be where nothing may be read, and no path tells.
    #[cfg(unix)]
    if meta.nlink() > 1 {
        return Err(Error::invalid(format!(
            "{} has more than one hard link, so that it may be a file of another folder too; copy the file, and read the copy",
            path.display()
        )));
    }
    Ok((file, meta))
}

/// Where an open file is.
#[cfg(target_os = "linux")]
fn place(file: &File, _: &Path) -> std::io::Result<PathBuf> {
    std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

/// Where the path of an open file leads by now: as much as this system tells.
#[cfg(not(target_os = "linux"))]
fn place(_: &File, path: &Path) -> std::io::Result<PathBuf> {
    path.canonicalize()
}

fn moved(path: &Path) -> Error {
    Error::invalid(format!(
        "{} was replaced or moved while the task looked at it; leave input alone until the task has ended",
        path.display()
    ))
}

fn split_file(path: PathBuf, format: &InputFormat, headed: bool, splits: &mut Vec<Split>) -> Result<()> {
    let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default().to_lowercase();
    if let Some(ending) = packed::unknown_ending(&name) {
        return Err(Error::invalid(format!("{}: {}", path.display(), not_unpacked(ending))));
    }
    let (checked, file, len) = Checked::first(path)?;
    let shared = Arc::new(checked);
    if matches!(format, InputFormat::Parquet(_)) {
        let meta = ArrowReaderMetadata::load(&file, Default::default())
            .map_err(|e| Error::invalid(format!("{} is not a Parquet file: {e}", shared.path.display())))?;
        splits.extend(
            (0..meta.metadata().num_row_groups()).map(|g| Split::Parquet { file: shared.clone(), groups: vec![g] }),
        );
        return Ok(());
    }
    if packed::is_gzip(&name) {
        splits.push(Split::Packed { file: shared });
        return Ok(());
    }
    let step = if headed { u64::MAX } else { SPLIT_BYTES };
    let mut start = 0;
    while start < len {
        let end = start.saturating_add(step).min(len);
        splits.push(Split::Lines { file: shared.clone(), range: start..end });
        start = end;
    }
    Ok(())
}

/// Files of the folder and the folders below it, but for what is closed.
fn list(folder: &Path, filter: &str, closed: &[PathBuf], into: &mut Vec<PathBuf>) -> Result<()> {
    let failed = |e: std::io::Error| match e.kind() {
        std::io::ErrorKind::NotFound => Error::NotFound(format!("there is no folder {}", folder.display())),
        _ => Error::io(format!("cannot list {}", folder.display()), e),
    };
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        let kind = entry.file_type().map_err(failed)?;
        // Links are left in, to be refused by name.
        let is_closed = !kind.is_symlink()
            && !closed.is_empty()
            && entry.path().canonicalize().is_ok_and(|real| closed.contains(&real));
        if is_closed {
            continue;
        }
        if kind.is_dir() {
            list(&entry.path(), filter, closed, into)?;
        } else if matches(filter.as_bytes(), name.to_string_lossy().as_bytes()) {
            into.push(entry.path());
            if into.len() > FILES_MAX {
                return Err(Error::invalid(format!("{} has more than {FILES_MAX} files that match", folder.display())));
            }
        }
    }
    Ok(())
}

/// `*` stands for any characters, `?` for one.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(c) if *c == b'?' || *c == name[n] => {
                p += 1;
                n += 1;
            }
            _ => match star {
                Some((at, taken)) => {
                    star = Some((at, taken + 1));
                    (p, n) = (at + 1, taken + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}

fn read_lines(path: &Path, mut file: File, range: Range<u64>, each: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
    let failed = |e| Error::io(format!("cannot read {}", path.display()), e);
    // A line belongs to the range that holds the byte before it (the first line: to the first range).
    let from = range.start.saturating_sub(1);
    file.seek(SeekFrom::Start(from)).map_err(failed)?;
    let mut buffer: Vec<u8> = Vec::with_capacity(2 * READ_BYTES);
    let mut at = from;
    let mut skipping = range.start > 0;
    loop {
        let kept = buffer.len();
        if kept > LINE_BYTES_MAX {
            return Err(Error::invalid(format!("{} has a line of more than {LINE_BYTES_MAX} bytes", path.display())));
        }
        let more = file.by_ref().take(READ_BYTES as u64).read_to_end(&mut buffer).map_err(failed)?;
        if skipping {
            match buffer.iter().position(|b| *b == b'\n') {
                Some(end) => {
                    at += end as u64 + 1;
                    buffer.drain(..=end);
                    skipping = false;
                    if at >= range.end {
                        return Ok(());
                    }
                }
                None if more == 0 => return Ok(()),
                None => {
                    at += buffer.len() as u64;
                    buffer.clear();
                    if at >= range.end {
                        return Ok(());
                    }
                    continue;
                }
            }
        }
        // Lines that begin before the end of the range are its own: cut after the first newline at or past its last byte.
        let last = (range.end - 1).saturating_sub(at) as usize;
        let own_end = buffer.get(last..).and_then(|tail| tail.iter().position(|b| *b == b'\n')).map(|i| last + i + 1);
        if let Some(end) = own_end {
            return each(&buffer[..end]);
        }
        if more == 0 {
            return if buffer.is_empty() { Ok(()) } else { each(&buffer) };
        }
        if let Some(end) = buffer.iter().rposition(|b| *b == b'\n') {
            each(&buffer[..=end])?;
            at += end as u64 + 1;
            buffer.drain(..=end);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn wildcards() {
        for (pattern, name, expected) in [
            ("*", "a.json", true),
            ("*.json", "a.json", true),
            ("*.json", "a.json.gz", false),
            ("a?.json", "a1.json", true),
            ("*a*b*", "xxaxxabx", true),
            ("", "", true),
            ("?", "", false),
        ] {
            assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn missing_files_and_folders_are_named() {
        let source = InputSource::Local { folder: Some("/no/such/place".into()), filter: "*".into(), files: vec![] };
        let any = LocalSources::default();
        let error = splits(&source, &InputFormat::Lines, &any).unwrap_err().to_string();
        assert_eq!(error, "there is no folder /no/such/place");
        let source = InputSource::Local { folder: None, filter: "*".into(), files: vec!["/no/file".into()] };
        assert_eq!(splits(&source, &InputFormat::Lines, &any).unwrap_err().to_string(), "there is no file /no/file");
        let folder = tempfile::tempdir().unwrap();
        let other = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a"), "x").unwrap();
        let source = InputSource::Local { folder: Some(folder.path().into()), filter: "*".into(), files: vec![] };
        let only = |folder: &Path| LocalSources { allowed: vec![folder.into()], closed: vec![] };
        assert_eq!(splits(&source, &InputFormat::Lines, &only(folder.path())).unwrap().len(), 1);
        assert!(splits(&source, &InputFormat::Lines, &only(other.path())).is_err());
    }

    /// What the server keeps is not read as input, by whatever way a path leads there.
    #[cfg(unix)]
    #[test]
    fn closed_folders_are_read_by_no_path_and_no_link() {
        use std::os::unix::fs::symlink;
        let top = tempfile::tempdir().unwrap();
        let at = |name: &str| top.path().join(name);
        for folder in ["data/segments", "input/below", "linked"] {
            std::fs::create_dir_all(at(folder)).unwrap();
        }
        for file in ["data/catalog.db", "data/segments/x", "input/a", "input/below/b"] {
            std::fs::write(at(file), "x").unwrap();
        }
        symlink(at("data/catalog.db"), at("linked/file")).unwrap();
        symlink(at("data"), at("folder")).unwrap();
        symlink(at("input"), at("harmless")).unwrap();
        let sources = LocalSources { allowed: vec![], closed: vec![at("data"), at("not there")] };
        let read = |folder: Option<&str>, files: &[&str]| {
            let files = files.iter().map(|file| at(file)).collect();
            let source = InputSource::Local { folder: folder.map(at), filter: "*".into(), files };
            let splits = splits(&source, &InputFormat::Lines, &sources).map_err(|error| error.to_string())?;
            Ok(splits.iter().map(|split| split.place().rsplit('/').next().unwrap().to_string()).collect::<Vec<_>>())
        };
        for (folder, files) in [
            (Some("data"), [].as_slice()),
            (Some("data/segments"), &[]),
            (Some("folder"), &[]),
            (Some("folder/segments"), &[]),
            (Some("input/../data"), &[]),
            (Some("linked"), &[]),
            (None, &["data/catalog.db"]),
            (None, &["linked/file"]),
            (None, &["input/a", "folder/catalog.db"]),
            (None, &["input/../data/segments/x"]),
        ] {
            let refused: std::result::Result<Vec<String>, String> = read(folder, files);
            let error = refused.expect_err(&format!("{folder:?} {files:?}"));
            assert!(error.contains("keeps its own data in"), "{error}");
        }
        let both = Ok::<_, String>(vec!["a".to_string(), "b".to_string()]);
        assert_eq!(read(Some("input"), &[]), both);
        assert_eq!(read(Some("harmless"), &[]), both);
        // A folder that holds both is read without what is closed in it.
        for link in ["linked/file", "folder", "harmless"] {
            std::fs::remove_file(at(link)).unwrap();
        }
        assert_eq!(read(Some("."), &[]), both);
    }

    /// The error of reading one file or folder.
    #[cfg(unix)]
    fn refused(sources: &LocalSources, folder: Option<PathBuf>, file: Option<PathBuf>) -> String {
        let shown = format!("{folder:?} {file:?}");
        let source = InputSource::Local { folder, filter: "*".into(), files: file.into_iter().collect() };
        splits(&source, &InputFormat::Lines, sources).expect_err(&shown).to_string()
    }

    #[cfg(unix)]
    #[test]
    fn what_is_not_in_a_closed_folder_is_refused_like_what_is() {
        use std::os::unix::fs::symlink;
        let top = tempfile::tempdir().unwrap();
        let at = |name: &str| top.path().join(name);
        for folder in ["data/events", "input"] {
            std::fs::create_dir_all(at(folder)).unwrap();
        }
        std::fs::write(at("data/catalog.db"), "x").unwrap();
        std::fs::write(at("input/a"), "x").unwrap();
        symlink(at("data/nosuch"), at("nowhere")).unwrap();
        symlink("data/nosuch", at("input/../relative")).unwrap();
        symlink(at("data"), at("folder")).unwrap();
        symlink(at("circle"), at("circle")).unwrap();
        let sources = LocalSources { allowed: vec![], closed: vec![at("data")] };
        for name in [
            "data/events",
            "data/nosuch",
            "data/nosuch/deeper/x",
            "data/catalog.db/x",
            "folder/nosuch",
            "nowhere",
            "relative",
            "nowhere/x",
            "input/../data/nosuch",
            "data/events/../../input/a",
            "data/nosuch/../../input/a",
        ] {
            for error in [refused(&sources, Some(at(name)), None), refused(&sources, None, Some(at(name)))] {
                let path = at(name);
                let expected =
                    format!("{} is in a folder or file that this server keeps its own data in", path.display());
                assert!(error.starts_with(&expected), "{name}: {error}");
            }
        }
        assert!(refused(&sources, None, Some(at("input/nosuch"))).starts_with("there is no file"));
        assert!(refused(&sources, None, Some(at("circle"))).starts_with("cannot read"));
        // Nor is told what there is outside of the folders that may be read.
        let sources = LocalSources { allowed: vec![at("input")], closed: vec![] };
        for name in ["data/catalog.db", "data/nosuch"] {
            assert!(refused(&sources, None, Some(at(name))).contains("is not in a folder"), "{name}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn closed_files_are_read_by_no_path_and_no_other_name() {
        let top = tempfile::tempdir().unwrap();
        let at = |name: &str| top.path().join(name);
        std::fs::create_dir(at("input")).unwrap();
        for file in ["input/a", "input/key.pem"] {
            std::fs::write(at(file), "x").unwrap();
        }
        let sources = LocalSources { allowed: vec![], closed: vec![at("input/key.pem")] };
        assert!(refused(&sources, None, Some(at("input/key.pem"))).contains("keeps its own data in"));
        // A folder with such a file is read without it.
        let all = InputSource::Local { folder: Some(at("input")), filter: "*".into(), files: vec![] };
        let found = splits(&all, &InputFormat::Lines, &sources).unwrap();
        assert_eq!(found.len(), 1);
        std::os::unix::fs::symlink(at("input/key.pem"), at("input/link")).unwrap();
        assert!(refused(&sources, Some(at("input")), None).contains("keeps its own data in"));
        std::fs::hard_link(at("input/key.pem"), at("other")).unwrap();
        assert!(refused(&sources, None, Some(at("other"))).contains("copy the file"));
    }

    /// Whoever may write a folder puts a link in the place of what was looked at.
    #[cfg(target_os = "linux")]
    #[test]
    fn what_takes_the_place_of_a_checked_file_is_not_read() {
        use std::os::unix::fs::symlink;
        let top = tempfile::tempdir().unwrap();
        let top = top.path().canonicalize().unwrap();
        let at = |name: &str| top.join(name);
        for folder in ["data", "input/below"] {
            std::fs::create_dir_all(at(folder)).unwrap();
        }
        std::fs::write(at("data/b"), "secret\n").unwrap();
        std::fs::write(at("data/c"), "secret\n").unwrap();
        let sources = LocalSources { allowed: vec![], closed: vec![at("data")] };
        let split = || {
            std::fs::write(at("input/below/b"), "row\n").unwrap();
            let source = InputSource::Local { folder: Some(at("input")), filter: "*".into(), files: vec![] };
            splits(&source, &InputFormat::Lines, &sources).unwrap().remove(0)
        };
        let read = |split: &Split| {
            let mut found = Vec::new();
            let read = split.read_lines(&mut |block| {
                found.extend_from_slice(block);
                Ok(())
            });
            read.map(|()| String::from_utf8(found).unwrap()).map_err(|error| error.to_string())
        };
        let file = || at("input/below/b");
        assert_eq!(read(&split()), Ok("row\n".to_string()));

        // A link, a link above, another file, another name of a file, nothing.
        let looked = split();
        std::fs::remove_file(file()).unwrap();
        symlink(at("data/b"), file()).unwrap();
        assert!(read(&looked).unwrap_err().contains("was replaced or moved"));
        // Already between the look at its path and the first opening.
        assert!(Checked::first(file()).unwrap_err().to_string().contains("was replaced or moved"));
        std::fs::remove_file(file()).unwrap();

        let looked = split();
        std::fs::rename(at("input/below"), at("input/aside")).unwrap();
        symlink(at("data"), at("input/below")).unwrap();
        assert!(read(&looked).unwrap_err().contains("was replaced or moved"));
        assert!(Checked::first(file()).unwrap_err().to_string().contains("was replaced or moved"));
        std::fs::remove_file(at("input/below")).unwrap();
        std::fs::rename(at("input/aside"), at("input/below")).unwrap();

        let looked = split();
        std::fs::rename(at("data/c"), file()).unwrap();
        assert!(read(&looked).unwrap_err().contains("was replaced or moved"));
        std::fs::remove_file(file()).unwrap();

        let looked = split();
        std::fs::remove_file(file()).unwrap();
        std::fs::hard_link(at("data/b"), file()).unwrap();
        assert!(read(&looked).unwrap_err().contains("copy the file"));
        std::fs::remove_file(file()).unwrap();
        assert!(read(&looked).unwrap_err().contains("there is no file"));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn nothing_of_the_kernel_is_read() {
        let top = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/proc/self", top.path().join("me")).unwrap();
        let any = LocalSources::default();
        let link = top.path().join("me/environ");
        for file in ["/proc/self/environ", "/proc/nosuch", "/sys/kernel", "/dev/null", "/tmp/../proc/version"] {
            let error = refused(&any, None, Some(file.into()));
            assert!(error.contains("is below /proc, /sys, /dev"), "{file}: {error}");
        }
        assert!(refused(&any, None, Some(link)).contains("is below /proc"));
        assert!(refused(&any, Some("/proc".into()), None).contains("is below /proc"));
    }

    proptest! {
        /// However a file is cut, each line is read once, in the order of the file.
        #[test]
        fn ranges_share_the_lines_out(text in "[ab\n]{0,60}", mut cuts in prop::collection::vec(0u64..60, 0..5)) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("f");
            std::fs::write(&path, &text).unwrap();
            let len = text.len() as u64;
            cuts.retain(|c| *c > 0 && *c < len);
            cuts.extend([0, len]);
            cuts.sort();
            cuts.dedup();
            let mut found = Vec::new();
            for pair in cuts.windows(2) {
                read_lines(&path, File::open(&path).unwrap(), pair[0]..pair[1], &mut |block| {
                    found.extend_from_slice(block);
                    Ok(())
                }).unwrap();
            }
            prop_assert_eq!(String::from_utf8(found).unwrap(), text);
        }
    }
}
