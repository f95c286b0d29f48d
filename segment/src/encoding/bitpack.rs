//! Bit-packing of groups of 1024 numbers, in lanes.
//!
//! A group is written as lanes that stand side by side, so that neighbouring values come out of neighbouring words with
//! the same shift, which compilers turn into vector code:
//!
//! 1. Widths up to 32: 32 lanes of 32-bit words. Value `i` belongs to lane `i % 32`, at place `i / 32` in it.
//! 2. Widths up to 64: 16 lanes of 64-bit words. Value `i` belongs to lane `i % 16`, at place `i / 16` in it.
//! 3. The value at place `p` takes the bits `p * width ..` of its lane, low bits first; word `w` of lane `l` is the
//!    `w * lanes + l`-th word of the group, little-endian.
//!
//! A group takes `128 * width` bytes. Everything here is defined for any bytes: garbage in, garbage numbers out.

/// Numbers in a group.
pub const GROUP: usize = 1024;

const LANES32: usize = 32;
const LANES64: usize = 16;

/// Bytes of a packed group.
pub const fn group_bytes(width: u32) -> usize {
    128 * width as usize
}

/// Bits that hold `max`.
pub fn width_of(max: u64) -> u32 {
    64 - max.leading_zeros()
}

/// Appends a group; `values` holds up to 1024, the rest is packed as 0. Values must fit the width, which is up to 64;
/// widths above 32 and up to it are laid out differently.
pub fn pack(values: &[u64], width: u32, out: &mut Vec<u8>) {
    if width <= 32 {
        pack_words::<u32, LANES32>(values, width, out)
    } else {
        pack_words::<u64, LANES64>(values, width, out)
    }
}

/// As [`pack`], of values and widths up to 32 bits.
pub fn pack32(values: &[u32], width: u32, out: &mut Vec<u8>) {
    debug_assert!(values.len() <= GROUP && width <= 32);
    let mut words = [0u32; GROUP];
    for (row, chunk) in values.chunks(LANES32).enumerate() {
        let (word, shift) = (row * width as usize / 32 * LANES32, row as u32 * width % 32);
        for (lane, value) in chunk.iter().enumerate() {
            let bits = u64::from(*value) << shift;
            words[word + lane] |= bits as u32;
            if shift + width > 32 {
                words[word + LANES32 + lane] |= (bits >> 32) as u32;
            }
        }
    }
    words[..LANES32 * width as usize].iter().for_each(|w| out.extend_from_slice(&w.to_le_bytes()));
}

fn pack_words<W: Word, const LANES: usize>(values: &[u64], width: u32, out: &mut Vec<u8>) {
    debug_assert!(values.len() <= GROUP && width <= W::BITS);
    let mut words = [0u64; GROUP];
    for (row, chunk) in values.chunks(LANES).enumerate() {
        let bit = row as u32 * width;
        let (word, shift) = ((bit / W::BITS) as usize * LANES, bit % W::BITS);
        for (lane, value) in chunk.iter().enumerate() {
            let bits = u128::from(*value) << shift;
            words[word + lane] |= bits as u64 & W::MASK;
            if shift + width > W::BITS {
                words[word + LANES + lane] |= (bits >> W::BITS) as u64;
            }
        }
    }
    let used = LANES * width as usize;
    words[..used].iter().for_each(|w| out.extend_from_slice(&w.to_le_bytes()[..W::BITS as usize / 8]));
}

trait Word {
    const BITS: u32;
    const MASK: u64;
}

impl Word for u32 {
    const BITS: u32 = 32;
    const MASK: u64 = u32::MAX as u64;
}

impl Word for u64 {
    const BITS: u32 = 64;
    const MASK: u64 = u64::MAX;
}

/// Value `i` of a group of a width up to 32. `input` holds the group's bytes.
#[inline]
pub fn get32(input: &[u8], width: u32, i: usize) -> u32 {
    let bit = i / LANES32 * width as usize;
    let (word, shift, lane) = (bit / 32, (bit % 32) as u32, i % LANES32);
    let at = |word: usize| -> u64 {
        let from = (word * LANES32 + lane) * 4;
        input.get(from..from + 4).map_or(0, |b| u64::from(u32::from_le_bytes(b.try_into().expect("4 bytes"))))
    };
    if width == 0 {
        return 0;
    }
    let mut bits = at(word) >> shift;
    if shift + width > 32 {
        bits |= at(word + 1) << (32 - shift);
    }
    (bits & ((1u64 << width) - 1)) as u32
}

/// Value `i` of a group of any width.
#[inline]
pub fn get(input: &[u8], width: u32, i: usize) -> u64 {
    if width <= 32 {
        return u64::from(get32(input, width, i));
    }
    let bit = i / LANES64 * width as usize;
    let (word, shift, lane) = (bit / 64, (bit % 64) as u32, i % LANES64);
    let at = |word: usize| -> u128 {
        let from = (word * LANES64 + lane) * 8;
        input.get(from..from + 8).map_or(0, |b| u128::from(u64::from_le_bytes(b.try_into().expect("8 bytes"))))
    };
    let mut bits = at(word) >> shift;
    if shift + width > 64 {
        bits |= at(word + 1) << (64 - shift);
    }
    (bits & ((1u128 << width) - 1)) as u64
}

/// Unpacks a group of a width up to 32, adds `base`, wrapping, and takes `max` for what is above it. Panics if `input`
/// is shorter than the group.
#[inline]
pub fn unpack32(input: &[u8], width: u32, base: u32, max: u32, out: &mut [u32; GROUP]) {
    macro_rules! widths {
        ($($w:literal)*) => {
            match width { $( $w => run32::<$w>(input, base, max, out), )* _ => panic!("a width above 32") }
        };
    }
    widths!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32)
}

/// Unpacks a group of any width and adds `base`, wrapping. Panics if `input` is shorter than the group.
#[inline]
pub fn unpack64(input: &[u8], width: u32, base: i64, out: &mut [i64; GROUP]) {
    if width <= 32 {
        let mut narrow = [0u32; GROUP];
        unpack32(input, width, 0, u32::MAX, &mut narrow);
        widen(&narrow, base, out);
        return;
    }
    macro_rules! widths {
        ($($w:literal)*) => { match width { $( $w => run64::<$w>(input, base, out), )* _ => panic!("a width above 64") } };
    }
    widths!(33 34 35 36 37 38 39 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56 57 58 59 60 61 62 63 64)
}

#[inline(always)]
fn body32<const W: usize>(input: &[u8], base: u32, max: u32, out: &mut [u32; GROUP]) {
    if W == 0 {
        out.fill(base.min(max));
        return;
    }
    let words = &input[..W * 128].as_chunks::<4>().0;
    let mask = if W == 32 { u32::MAX } else { (1u32 << (W % 32)) - 1 };
    for (row, out) in out.as_chunks_mut::<LANES32>().0.iter_mut().enumerate() {
        let (word, shift) = (row * W / 32 * LANES32, row * W % 32);
        let low: &[[u8; 4]; LANES32] = words[word..word + LANES32].try_into().expect("32 words");
        if shift + W <= 32 {
            for lane in 0..LANES32 {
                let bits = u32::from_le_bytes(low[lane]) >> shift;
                out[lane] = base.wrapping_add(bits & mask).min(max);
            }
        } else {
            let high: &[[u8; 4]; LANES32] = words[word + LANES32..word + 2 * LANES32].try_into().expect("32 words");
            for lane in 0..LANES32 {
                let bits = (u32::from_le_bytes(low[lane]) >> shift) | (u32::from_le_bytes(high[lane]) << (32 - shift));
                out[lane] = base.wrapping_add(bits & mask).min(max);
            }
        }
    }
}

#[inline(always)]
fn body64<const W: usize>(input: &[u8], base: i64, out: &mut [i64; GROUP]) {
    let words = &input[..W * 128].as_chunks::<8>().0;
    let mask = if W == 64 { u64::MAX } else { (1u64 << (W % 64)) - 1 };
    for (row, out) in out.as_chunks_mut::<LANES64>().0.iter_mut().enumerate() {
        let (word, shift) = (row * W / 64 * LANES64, row * W % 64);
        let low: &[[u8; 8]; LANES64] = words[word..word + LANES64].try_into().expect("16 words");
        if shift + W <= 64 {
            for lane in 0..LANES64 {
                out[lane] = base.wrapping_add(((u64::from_le_bytes(low[lane]) >> shift) & mask) as i64);
            }
        } else {
            let high: &[[u8; 8]; LANES64] = words[word + LANES64..word + 2 * LANES64].try_into().expect("16 words");
            for lane in 0..LANES64 {
                let bits = (u64::from_le_bytes(low[lane]) >> shift) | (u64::from_le_bytes(high[lane]) << (64 - shift));
                out[lane] = base.wrapping_add((bits & mask) as i64);
            }
        }
    }
}

#[inline(always)]
fn body_widen(narrow: &[u32; GROUP], base: i64, out: &mut [i64; GROUP]) {
    for (out, value) in out.iter_mut().zip(narrow) {
        *out = base.wrapping_add(i64::from(*value));
    }
}

/// Whole numbers `base + k` over a power of ten, the `k` unpacked from a group of any width; the sums are within 2^51.
#[inline]
pub fn unpack_decimals(input: &[u8], width: u32, base: i64, power: f64, out: &mut [f64; GROUP]) {
    if width <= 32 {
        let mut narrow = [0u32; GROUP];
        unpack32(input, width, 0, u32::MAX, &mut narrow);
        narrow_decimals(&narrow, base as f64, power, out);
    } else {
        let mut whole = [0i64; GROUP];
        unpack64(input, width, base, &mut whole);
        wide_decimals(&whole, power, out);
    }
}

/// A number below 2^32 becomes a double by landing in the mantissa of 2^52, which is vector code on any machine.
#[inline(always)]
fn body_narrow_decimals(narrow: &[u32; GROUP], base: f64, power: f64, out: &mut [f64; GROUP]) {
    const SHIFT: u64 = 0x4330_0000_0000_0000;
    for (out, value) in out.iter_mut().zip(narrow) {
        let value = f64::from_bits(SHIFT | u64::from(*value)) - f64::from_bits(SHIFT);
        *out = (value + base) / power;
    }
}

/// As [`body_narrow_decimals`], with 1.5 * 2^52, which takes negative numbers, too.
#[inline(always)]
fn body_wide_decimals(whole: &[i64; GROUP], power: f64, out: &mut [f64; GROUP]) {
    const SHIFT: u64 = 0x4338_0000_0000_0000;
    for (out, value) in out.iter_mut().zip(whole) {
        *out = (f64::from_bits(SHIFT.wrapping_add(*value as u64)) - f64::from_bits(SHIFT)) / power;
    }
}

/// Compiles a body twice, with and without AVX2, and takes the one that the machine has.
macro_rules! dispatch {
    ($name:ident, $body:ident, [$($generic:tt)*], [$($arg:tt)*], ($($param:ident: $type:ty),*)) => {
        #[cfg(target_arch = "x86_64")]
        #[inline]
        fn $name<$($generic)*>($($param: $type),*) {
            #[target_feature(enable = "avx2")]
            fn wide<$($generic)*>($($param: $type),*) {
                $body::<$($arg)*>($($param),*)
            }
            if std::arch::is_x86_feature_detected!("avx2") {
                // SAFETY: `wide` is safe code that needs nothing but AVX2, which this machine was just found to have.
                #[allow(unsafe_code)]
                unsafe { wide::<$($arg)*>($($param),*) }
            } else {
                $body::<$($arg)*>($($param),*)
            }
        }

        #[cfg(not(target_arch = "x86_64"))]
        #[inline]
        fn $name<$($generic)*>($($param: $type),*) {
            $body::<$($arg)*>($($param),*)
        }
    };
}

dispatch!(run32, body32, [const W: usize], [W], (input: &[u8], base: u32, max: u32, out: &mut [u32; GROUP]));
dispatch!(run64, body64, [const W: usize], [W], (input: &[u8], base: i64, out: &mut [i64; GROUP]));
dispatch!(widen, body_widen, [], [], (narrow: &[u32; GROUP], base: i64, out: &mut [i64; GROUP]));

dispatch!(narrow_decimals, body_narrow_decimals, [], [], (narrow: &[u32; GROUP], base: f64, power: f64, out: &mut [f64; GROUP]));
dispatch!(wide_decimals, body_wide_decimals, [], [], (whole: &[i64; GROUP], power: f64, out: &mut [f64; GROUP]));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_width_comes_back() {
        for width in 0..=64u32 {
            for len in [0, 1, 31, 33, 500, 1024] {
                let mask = if width == 64 { u64::MAX } else { (1 << width) - 1 };
                let value = |i: u64| i.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(17) & mask;
                let values: Vec<u64> = (0..len as u64).map(value).collect();
                let mut bytes = Vec::new();
                pack(&values, width, &mut bytes);
                assert_eq!(bytes.len(), group_bytes(width));
                let mut out = [0i64; GROUP];
                unpack64(&bytes, width, -5, &mut out);
                for (i, value) in values.iter().enumerate() {
                    assert_eq!(out[i].wrapping_add(5) as u64, *value, "width {width}, value {i}");
                    assert_eq!(get(&bytes, width, i), *value, "width {width}, value {i}");
                }
                assert!(out[len..].iter().all(|v| *v == -5));
                if width <= 32 {
                    let narrow: Vec<u32> = values.iter().map(|v| *v as u32).collect();
                    let mut same = Vec::new();
                    pack32(&narrow, width, &mut same);
                    assert_eq!(same, bytes);
                }
            }
        }
    }
}
