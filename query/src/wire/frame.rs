//! Frames: a length (4 bytes, of what follows the checksum), a checksum (8 bytes, xxh3 of that), a kind (1 byte), content.
//! Numbers are little endian.

use bytes::{Buf, Bytes, BytesMut};
use futures::StreamExt;
use xxhash_rust::xxh3::xxh3_64;

use crate::cluster::NodeAnswer;
use crate::error::{Error, Result};

/// Bytes of a frame at most: a frame holds at least one row, and a row's sketches may be large.
const FRAME_MAX: usize = 512 << 20;
const HEAD: usize = 12;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Opening = 1,
    /// Texts that ids of an aggregate stand for.
    Values = 2,
    /// Groups, rows, what was found.
    Rows = 3,
    /// Analyses of segments, columns of segments.
    Json = 4,
    Closing = 5,
}

impl Kind {
    fn of(byte: u8) -> Option<Kind> {
        [Kind::Opening, Kind::Values, Kind::Rows, Kind::Json, Kind::Closing]
            .into_iter()
            .find(|kind| *kind as u8 == byte)
    }
}

/// A frame as bytes.
pub fn write(kind: Kind, content: &[u8]) -> Bytes {
    let mut bytes = Vec::with_capacity(HEAD + 1 + content.len());
    bytes.extend((content.len() as u32 + 1).to_le_bytes());
    bytes.extend([0; 8]);
    bytes.push(kind as u8);
    bytes.extend(content);
    let sum = xxh3_64(&bytes[HEAD..]);
    bytes[4..HEAD].copy_from_slice(&sum.to_le_bytes());
    bytes.into()
}

/// Frames as they come out of a stream of bytes.
pub struct Frames {
    stream: NodeAnswer,
    buffer: BytesMut,
}

impl Frames {
    pub fn new(stream: NodeAnswer) -> Frames {
        Frames { stream, buffer: BytesMut::new() }
    }

    /// The next frame; `None` if the bytes end between frames.
    pub async fn next(&mut self) -> Result<Option<(Kind, Bytes)>> {
        loop {
            if let Some(frame) = self.take()? {
                return Ok(Some(frame));
            }
            match self.stream.next().await {
                Some(bytes) => self.buffer.extend_from_slice(&bytes?),
                None if self.buffer.is_empty() => return Ok(None),
                None => return Err(broken("it ends within a frame")),
            }
        }
    }

    fn take(&mut self) -> Result<Option<(Kind, Bytes)>> {
        match length(&self.buffer)? {
            Some(length) => opened(self.buffer.split_to(length).freeze()).map(Some),
            None => Ok(None),
        }
    }
}

/// All frames of bytes, which share them.
pub fn split(bytes: &Bytes) -> Result<Vec<(Kind, Bytes)>> {
    let (mut rest, mut frames) = (bytes.clone(), Vec::new());
    while !rest.is_empty() {
        let length = length(&rest)?.ok_or_else(|| broken("it ends within a frame"))?;
        frames.push(opened(rest.split_to(length))?);
    }
    Ok(frames)
}

/// Of the first frame, with its head; `None` if it is not all there.
fn length(bytes: &[u8]) -> Result<Option<usize>> {
    let Some((head, _)) = bytes.split_first_chunk::<4>() else { return Ok(None) };
    let length = u32::from_le_bytes(*head) as usize;
    if !(1..=FRAME_MAX).contains(&length) {
        return Err(broken("a frame's length is impossible"));
    }
    Ok((bytes.len() >= HEAD + length).then_some(HEAD + length))
}

/// What is in a whole frame.
fn opened(mut frame: Bytes) -> Result<(Kind, Bytes)> {
    frame.advance(4);
    let sum = frame.get_u64_le();
    if xxh3_64(&frame) != sum {
        return Err(broken("a frame's checksum is another"));
    }
    let kind = Kind::of(frame.get_u8()).ok_or_else(|| broken("a frame is of no known kind"))?;
    Ok((kind, frame))
}

/// Says that an answer is none.
pub fn broken(why: impl std::fmt::Display) -> Error {
    Error::Unavailable(format!("a data node's answer cannot be read: {why}"))
}
