//! What can only be read from its beginning to its end: packed files, and what comes over a network.

use std::io::Read;

use flate2::read::MultiGzDecoder;

use super::files::{LINE_BYTES_MAX, READ_BYTES};
use crate::error::{Error, Result};

/// Endings of the names of packed files that are not read.
const UNKNOWN: [&str; 5] = [".bz2", ".xz", ".zip", ".sz", ".zst"];

/// Whether a file is packed, by its name.
pub fn is_gzip(name: &str) -> bool {
    name.to_ascii_lowercase().ends_with(".gz")
}

/// The ending of a name by which nothing is read.
pub fn unknown_ending(name: &str) -> Option<&'static str> {
    let name = name.to_ascii_lowercase();
    UNKNOWN.into_iter().find(|ending| name.ends_with(ending))
}

pub fn unpacked<'r>(packed: impl Read + 'r) -> Box<dyn Read + 'r> {
    Box::new(MultiGzDecoder::new(packed))
}

/// Hands out lines in blocks of whole lines, as they come. `place` names the input in errors.
pub fn lines_of(input: &mut dyn Read, place: &str, each: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
    let mut buffer: Vec<u8> = Vec::with_capacity(2 * READ_BYTES);
    loop {
        let kept = buffer.len();
        if kept > LINE_BYTES_MAX {
            return Err(Error::invalid(format!("{place} has a line of more than {LINE_BYTES_MAX} bytes")));
        }
        let mut part = (&mut *input).take(READ_BYTES as u64);
        let more = part.read_to_end(&mut buffer).map_err(|e| failed(place, e))?;
        if more == 0 {
            return if buffer.is_empty() { Ok(()) } else { each(&buffer) };
        }
        if let Some(end) = buffer[kept..].iter().rposition(|b| *b == b'\n') {
            let end = kept + end + 1;
            each(&buffer[..end])?;
            buffer.drain(..end);
        }
    }
}

/// The error of a reader, which may have one of ours within.
pub fn failed(place: &str, error: std::io::Error) -> Error {
    match error.downcast::<Error>() {
        Ok(own) => own,
        Err(error) => match error.kind() {
            std::io::ErrorKind::InvalidInput | std::io::ErrorKind::InvalidData | std::io::ErrorKind::UnexpectedEof => {
                Error::invalid(format!("{place} is not a whole gzip file: {error}"))
            }
            _ => Error::io(format!("cannot read {place}"), error),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// Gives a few bytes at a time.
    struct Slow<'a>(&'a [u8]);

    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let count = self.0.len().min(buffer.len()).min(3);
            buffer[..count].copy_from_slice(&self.0[..count]);
            self.0 = &self.0[count..];
            Ok(count)
        }
    }

    #[test]
    fn packed_lines_come_whole_and_a_cut_off_file_is_an_error() {
        let text: String = (0..200_000).map(|i| format!("line {i}\n")).collect::<String>() + "the last";
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packer.write_all(text.as_bytes()).unwrap();
        let mut packed = packer.finish().unwrap();
        let mut again = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        again.write_all(b"\nof another member").unwrap();
        packed.extend(again.finish().unwrap());
        let mut found = Vec::new();
        lines_of(&mut *unpacked(Slow(&packed)), "p", &mut |block| {
            found.extend_from_slice(block);
            Ok(())
        })
        .unwrap();
        assert_eq!(String::from_utf8(found).unwrap(), text + "\nof another member");
        let cut = &packed[..packed.len() / 2];
        let error = lines_of(&mut *unpacked(cut), "p", &mut |_| Ok(())).unwrap_err().to_string();
        assert!(error.starts_with("p is not a whole gzip file"), "{error}");
        assert!(lines_of(&mut *unpacked(&b"plain text, not packed"[..]), "p", &mut |_| Ok(())).is_err());
    }
}
