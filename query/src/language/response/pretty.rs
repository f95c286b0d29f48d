//! Indents JSON text as it streams by, the way Jackson's pretty printer lays it out.

/// Where in the text we are, kept from chunk to chunk.
#[derive(Default)]
pub struct Pretty {
    /// Open brackets; true is an object.
    open: Vec<bool>,
    in_text: bool,
    escaped: bool,
    /// A bracket was opened and nothing has come since.
    fresh: bool,
}

impl Pretty {
    /// `text` is compact JSON, or a part of it cut anywhere.
    pub fn indent(&mut self, text: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(text.len() * 2);
        for &byte in text {
            if self.in_text {
                out.push(byte);
                if self.escaped {
                    self.escaped = false;
                } else if byte == b'\\' {
                    self.escaped = true;
                } else if byte == b'"' {
                    self.in_text = false;
                }
                continue;
            }
            if self.fresh && !matches!(byte, b']' | b'}') {
                self.fresh = false;
                self.separate(&mut out);
            }
            match byte {
                b'{' | b'[' => {
                    out.push(byte);
                    self.open.push(byte == b'{');
                    self.fresh = true;
                }
                b'}' | b']' => {
                    let object = self.open.pop().unwrap_or(false);
                    if self.fresh || !object {
                        out.push(b' ');
                    } else {
                        self.new_line(&mut out);
                    }
                    self.fresh = false;
                    out.push(byte);
                }
                b',' => {
                    out.push(b',');
                    self.separate(&mut out);
                }
                b':' => out.extend_from_slice(b" : "),
                _ => {
                    self.in_text = byte == b'"';
                    out.push(byte);
                }
            }
        }
        out
    }

    /// Before a member: objects take a line each, lists a space.
    fn separate(&self, out: &mut Vec<u8>) {
        if self.open.last().copied().unwrap_or(false) {
            self.new_line(out);
        } else {
            out.push(b' ');
        }
    }

    fn new_line(&self, out: &mut Vec<u8>) {
        let depth = self.open.iter().filter(|object| **object).count();
        out.push(b'\n');
        out.extend(std::iter::repeat_n(b' ', depth * 2));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_jackson_and_wherever_it_is_cut() {
        let compact = br#"[{"a":1,"b":{},"c":[1,2,[]],"d":{"x":"q\"{,:"}},{"e":null}]"#;
        let expected = "[ {\n  \"a\" : 1,\n  \"b\" : { },\n  \"c\" : [ 1, 2, [ ] ],\n  \"d\" : {\n    \"x\" : \
                        \"q\\\"{,:\"\n  }\n}, {\n  \"e\" : null\n} ]";
        for cut in 0..=compact.len() {
            let mut pretty = Pretty::default();
            let mut out = pretty.indent(&compact[..cut]);
            out.extend(pretty.indent(&compact[cut..]));
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }
}
