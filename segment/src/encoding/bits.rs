//! Numbers of one width as a plain bit stream, low bits first, for places that are read one at a time.

/// Appends numbers to a byte vector; [`BitWriter::finish`] fills the last byte with zeros.
pub struct BitWriter<'a> {
    out: &'a mut Vec<u8>,
    bits: u128,
    used: u32,
}

impl<'a> BitWriter<'a> {
    pub fn new(out: &'a mut Vec<u8>) -> BitWriter<'a> {
        BitWriter { out, bits: 0, used: 0 }
    }

    /// `value` fits `width`, which is up to 64.
    #[inline]
    pub fn push(&mut self, value: u64, width: u32) {
        self.bits |= u128::from(value) << self.used;
        self.used += width;
        if self.used >= 64 {
            self.out.extend_from_slice(&(self.bits as u64).to_le_bytes());
            self.bits >>= 64;
            self.used -= 64;
        }
    }

    pub fn finish(self) {
        let bytes = self.used.div_ceil(8) as usize;
        self.out.extend_from_slice(&(self.bits as u64).to_le_bytes()[..bytes]);
    }
}

/// Bytes of `count` numbers of `width` bits.
pub const fn stream_bytes(count: u64, width: u32) -> u64 {
    (count * width as u64).div_ceil(8)
}

/// Number `i` of a stream of numbers of up to 57 bits; bits past the end are 0.
#[inline]
pub fn stream_get(bytes: &[u8], width: u32, i: u64) -> u64 {
    let bit = i * u64::from(width);
    let (from, shift) = ((bit / 8) as usize, bit % 8);
    let word = match bytes.get(from..from + 8) {
        Some(word) => u64::from_le_bytes(word.try_into().expect("8 bytes")),
        None => {
            let mut word = [0; 8];
            let tail = bytes.get(from..).unwrap_or_default();
            word[..tail.len()].copy_from_slice(tail);
            u64::from_le_bytes(word)
        }
    };
    (word >> shift) & ((1 << width) - 1)
}
