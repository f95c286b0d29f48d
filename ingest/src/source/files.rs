//! The input of batch tasks: inline text and local files, cut into splits that threads read on their own.
//!
//! Files of lines are cut by byte ranges; the line that a range ends in belongs to it, and the next range begins after
//! it. Formats with header rows, where a range could not know its columns, are read whole. Parquet files are cut by row
//! groups.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::arrow::arrow_reader::ArrowReaderMetadata;

use crate::error::{Error, Result};
use crate::spec::{InputFormat, InputSource};

/// Bytes of lines that are read as one split: small enough to share out among threads, large enough to amortise opening.
const SPLIT_BYTES: u64 = 16 << 20;

/// Bytes that are read at once.
const READ_BYTES: usize = 1 << 20;

/// A line must fit into memory several times over.
const LINE_BYTES_MAX: usize = 256 << 20;

/// Files that one task may read.
const FILES_MAX: usize = 100_000;

/// Where files of this machine may be read.
#[derive(Debug, Clone, Default)]
pub struct LocalSources {
    /// Folders that they may be in; empty: any.
    pub allowed: Vec<PathBuf>,
    /// Folders that they may not be in: what this process keeps there has readers of its own, and rules for them.
    pub closed: Vec<PathBuf>,
}

#[derive(Debug, Clone)]
pub enum Split {
    Inline { text: Arc<str>, range: Range<usize> },
    Lines { path: Arc<Path>, range: Range<u64> },
    Parquet { path: Arc<Path>, groups: Vec<usize> },
}

impl Split {
    /// Whether header rows stand at its beginning.
    pub fn begins_file(&self) -> bool {
        match self {
            Split::Inline { range, .. } => range.start == 0,
            Split::Lines { range, .. } => range.start == 0,
            Split::Parquet { .. } => true,
        }
    }

    /// Where it is, for reports: a path, or `inline`.
    pub fn place(&self) -> String {
        match self {
            Split::Inline { .. } => "inline".into(),
            Split::Lines { path, .. } | Split::Parquet { path, .. } => path.display().to_string(),
        }
    }

    /// Hands out the split's lines in blocks of whole lines, each line ended by a newline but for the last of the input.
    pub fn read_lines(&self, each: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        match self {
            Split::Inline { text, range } => each(&text.as_bytes()[range.clone()]),
            Split::Lines { path, range } => read_lines(path, range.clone(), each),
            Split::Parquet { path, .. } => Err(Error::Bug(format!("{} is not read by lines", path.display()))),
        }
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
                split_file(&sources.resolve(&path, "file")?, format, headed, &mut splits)?;
            }
            Ok(splits)
        }
    }
}

impl LocalSources {
    /// Where a file or folder is, links followed, if it may be read.
    fn resolve(&self, path: &Path, what: &str) -> Result<PathBuf> {
        let real = path.canonicalize().map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => Error::NotFound(format!("there is no {what} {}", path.display())),
            _ => Error::io(format!("cannot read {}", path.display()), e),
        })?;
        let is_in = |folder: &PathBuf| folder.canonicalize().is_ok_and(|folder| real.starts_with(folder));
        if self.closed.iter().any(is_in) {
            return Err(Error::invalid(format!(
                "{} is in a folder that this server keeps its own data in, or leads there; read input from another",
                path.display()
            )));
        }
        if self.allowed.is_empty() || self.allowed.iter().any(is_in) {
            return Ok(real);
        }
        Err(Error::invalid(format!("{} is not in a folder that this server may read input from", path.display())))
    }

    /// The closed folders below one, which is where it is; the others are not met there but by links.
    fn closed_below(&self, real: &Path) -> Vec<PathBuf> {
        let closed = self.closed.iter().filter_map(|folder| folder.canonicalize().ok());
        closed.filter(|folder| folder.starts_with(real)).collect()
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

fn split_file(path: &Path, format: &InputFormat, headed: bool, splits: &mut Vec<Split>) -> Result<()> {
    let failed = |e| Error::io(format!("cannot read {}", path.display()), e);
    let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default().to_lowercase();
    if let Some(ending) = [".gz", ".bz2", ".xz", ".zip", ".sz", ".zst"].into_iter().find(|e| name.ends_with(e)) {
        return Err(Error::invalid(format!(
            "{}: compressed files ({ending}) are not supported; unpack it",
            path.display()
        )));
    }
    let file = File::open(path).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => Error::NotFound(format!("there is no file {}", path.display())),
        _ => failed(e),
    })?;
    let meta = file.metadata().map_err(failed)?;
    if !meta.is_file() {
        return Err(Error::invalid(format!("{} is not a file", path.display())));
    }
    let shared: Arc<Path> = Arc::from(path);
    if matches!(format, InputFormat::Parquet(_)) {
        let meta = ArrowReaderMetadata::load(&file, Default::default())
            .map_err(|e| Error::invalid(format!("{} is not a Parquet file: {e}", path.display())))?;
        splits.extend(
            (0..meta.metadata().num_row_groups()).map(|g| Split::Parquet { path: shared.clone(), groups: vec![g] }),
        );
        return Ok(());
    }
    let step = if headed { u64::MAX } else { SPLIT_BYTES };
    let mut start = 0;
    while start < meta.len() {
        let end = start.saturating_add(step).min(meta.len());
        splits.push(Split::Lines { path: shared.clone(), range: start..end });
        start = end;
    }
    Ok(())
}

/// Files of the folder and the folders below it, but for those of the closed ones.
fn list(folder: &Path, filter: &str, closed: &[PathBuf], into: &mut Vec<PathBuf>) -> Result<()> {
    let failed = |e: std::io::Error| match e.kind() {
        std::io::ErrorKind::NotFound => Error::NotFound(format!("there is no folder {}", folder.display())),
        _ => Error::io(format!("cannot list {}", folder.display()), e),
    };
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        let kind = entry.file_type().map_err(failed)?;
        if kind.is_dir() {
            let is_closed = !closed.is_empty() && entry.path().canonicalize().is_ok_and(|real| closed.contains(&real));
            if !is_closed {
                list(&entry.path(), filter, closed, into)?;
            }
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

fn read_lines(path: &Path, range: Range<u64>, each: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
    let failed = |e| Error::io(format!("cannot read {}", path.display()), e);
    let mut file = File::open(path).map_err(failed)?;
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
                read_lines(&path, pair[0]..pair[1], &mut |block| {
                    found.extend_from_slice(block);
                    Ok(())
                }).unwrap();
            }
            prop_assert_eq!(String::from_utf8(found).unwrap(), text);
        }
    }
}
