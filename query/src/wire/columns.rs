//! The columns of segments as JSON: what [`crate::columns_of`] merges into those of a table.

use segment::SegmentId;
use segment::schema::ValueType;
use serde::{Deserialize, Serialize};

use super::frame::broken;
use crate::engine::Piece;
use crate::error::Result;

/// What a piece says of its columns to one asker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PieceColumns {
    pub id: SegmentId,
    pub restricted: bool,
    /// In the piece's order, `__time` first.
    pub columns: Vec<PieceColumn>,
    pub dimensions: Vec<String>,
    pub metrics: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PieceColumn {
    pub name: String,
    pub value_type: ValueType,
    pub multi: bool,
    pub only_nulls: bool,
}

impl PieceColumns {
    pub fn of(piece: &Piece) -> Result<PieceColumns> {
        let mut columns = Vec::new();
        for (name, value_type) in piece.named_columns()? {
            let multi = value_type == ValueType::String && piece.is_multi(&name)?;
            let may_say_nothing = value_type == ValueType::String || piece.is_restricted();
            let only_nulls = may_say_nothing && piece.has_only_nulls(&name)?;
            columns.push(PieceColumn { name, value_type, multi, only_nulls });
        }
        Ok(PieceColumns {
            id: piece.id.clone(),
            restricted: piece.is_restricted(),
            columns,
            dimensions: piece.dimensions()?,
            metrics: piece.metrics()?,
        })
    }
}

pub fn write(pieces: &[PieceColumns]) -> Vec<u8> {
    serde_json::to_vec(pieces).expect("plain data is written")
}

pub fn read(bytes: &[u8]) -> Result<Vec<PieceColumns>> {
    serde_json::from_slice(bytes).map_err(broken)
}
