//! Writes a segment file from front to back: sections as they come, then the footer that knows where they are. The file
//! gets its name when it is whole and on disk.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::Xxh3;

use super::layout::{ALIGN, END_MAGIC, Footer, HEADER, MAGIC, Section, VERSION};
use crate::error::{Error, Result};

pub struct FileWriter {
    to: PathBuf,
    temporary: PathBuf,
    out: BufWriter<File>,
    position: u64,
    whole: Xxh3,
    section: Xxh3,
    section_start: u64,
}

/// A finished file.
#[derive(Debug, Clone, Copy)]
pub struct Written {
    pub size_bytes: u64,
    /// xxh3-64 of all bytes.
    pub checksum: u64,
}

impl FileWriter {
    pub fn create(to: &Path) -> Result<FileWriter> {
        let mut name = to.file_name().ok_or_else(|| Error::invalid("a segment file needs a name"))?.to_os_string();
        name.push(".writing");
        let temporary = to.with_file_name(name);
        let file = File::create(&temporary).map_err(|e| Error::io(format!("create {}", temporary.display()), e))?;
        let mut writer = FileWriter {
            to: to.to_path_buf(),
            temporary,
            out: BufWriter::with_capacity(1 << 20, file),
            position: 0,
            whole: Xxh3::new(),
            section: Xxh3::new(),
            section_start: 0,
        };
        let mut header = [0; HEADER];
        header[..8].copy_from_slice(MAGIC);
        header[8..12].copy_from_slice(&VERSION.to_le_bytes());
        writer.put(&header)?;
        Ok(writer)
    }

    /// Starts a section.
    pub fn begin(&mut self) -> Result<()> {
        let padding = self.position.next_multiple_of(ALIGN) - self.position;
        self.put(&[0; ALIGN as usize][..padding as usize])?;
        self.section.reset();
        self.section_start = self.position;
        Ok(())
    }

    /// Writes what `bytes` holds into the section, and empties it.
    pub fn drain(&mut self, bytes: &mut Vec<u8>) -> Result<()> {
        self.section.update(bytes);
        self.put(bytes)?;
        bytes.clear();
        Ok(())
    }

    /// Ends the section that was begun.
    pub fn end(&mut self) -> Section {
        Section(self.section_start, self.position - self.section_start, self.section.digest())
    }

    /// Writes the footer, puts the file on disk and gives it its name.
    pub fn finish(mut self, footer: &Footer) -> Result<Written> {
        let mut bytes = serde_json::to_vec(footer).expect("a footer has text keys only");
        self.begin()?;
        self.drain(&mut bytes)?;
        let Section(offset, len, checksum) = self.end();
        let trailer: Vec<u8> = [offset, len, checksum].into_iter().flat_map(u64::to_le_bytes).collect();
        self.put(&trailer)?;
        self.put(END_MAGIC)?;
        let io = |e| Error::io(format!("write {}", self.temporary.display()), e);
        self.out.flush().map_err(io)?;
        self.out.get_ref().sync_all().map_err(io)?;
        fs::rename(&self.temporary, &self.to).map_err(|e| Error::io(format!("name {}", self.to.display()), e))?;
        let folder = self.to.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let synced = File::open(folder).and_then(|folder| folder.sync_all());
        synced.map_err(|e| Error::io(format!("sync {}", folder.display()), e))?;
        Ok(Written { size_bytes: self.position, checksum: self.whole.digest() })
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.whole.update(bytes);
        self.position += bytes.len() as u64;
        self.out.write_all(bytes).map_err(|e| Error::io(format!("write {}", self.temporary.display()), e))
    }
}

impl Drop for FileWriter {
    /// Leaves no half-written file behind. After `finish` there is none under the temporary name.
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.temporary);
    }
}
