//! What a segment file looks like around its columns: header, sections, footer, trailer. Byte by byte in
//! `docs/segment-format.md`.

use serde::{Deserialize, Serialize};

/// First bytes of a file, followed by the version (u32) and four zeros.
pub const MAGIC: &[u8; 8] = b"HENGESEG";
/// Last bytes of a file; before them stand the footer's offset, length and checksum (u64 each).
pub const END_MAGIC: &[u8; 8] = b"HENGEEND";
pub const VERSION: u32 = 1;
pub const HEADER: usize = 16;
pub const TRAILER: usize = 32;
/// Sections start at multiples of this, so that words in them are aligned in memory.
pub const ALIGN: u64 = 64;

/// A stretch of the file with its checksum (xxh3-64): offset, length, checksum.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Section(pub u64, pub u64, pub u64);

/// The footer, a JSON object with its fields in this order.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Footer {
    pub rows: u64,
    /// Smallest and largest time, inclusive; null without rows.
    pub time: Option<(i64, i64)>,
    /// The columns that rows are ordered by.
    pub order: Vec<String>,
    pub dimensions: Vec<String>,
    pub metrics: Vec<String>,
    pub rollup: bool,
    pub query_granularity: Option<serde_json::Value>,
    pub aggregates: Vec<serde_json::Value>,
    /// `__time`, then the dimensions, then the metrics.
    pub columns: Vec<ColumnEntry>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ColumnEntry {
    pub name: String,
    /// Druid's name of the type.
    #[serde(rename = "type")]
    pub type_name: String,
    pub sections: Sections,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Sections {
    #[serde(rename_all = "camelCase")]
    Strings {
        has_null: bool,
        dictionary: Section,
        codes: Section,
        /// Multi-value columns only.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        lists: Option<ListSections>,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        index: Option<Section>,
    },
    Numbers(Section),
    Complex(Section),
}

/// How many codes each row has, and where the codes of each block of rows start.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ListSections {
    pub lengths: Section,
    pub starts: Section,
    /// How many codes all rows have.
    pub total: u64,
}

impl Sections {
    pub fn all(&self) -> Vec<Section> {
        match self {
            Sections::Numbers(section) | Sections::Complex(section) => vec![*section],
            Sections::Strings { dictionary, codes, lists, index, .. } => {
                let lists = lists.iter().flat_map(|l| [l.lengths, l.starts]);
                [*dictionary, *codes].into_iter().chain(lists).chain(*index).collect()
            }
        }
    }
}
