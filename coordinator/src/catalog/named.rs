//! Documents by kind and name, and what they were, as rows of the store.

use sqlx::Row;
use sqlx::any::AnyRow;

use crate::catalog::session::{Session, failed};
use crate::documents::Document;
use crate::error::{Error, Result};

/// All there are, of every kind.
pub(crate) async fn load(connection: &mut Session) -> Result<Vec<Document>> {
    let rows = sqlx::query("SELECT kind, name, document, version, changed_ms, changed_by FROM documents")
        .fetch_all(connection)
        .await
        .map_err(failed("read documents"))?;
    rows.iter().map(document).collect()
}

/// The greatest version that was ever given and is still known.
pub(crate) async fn newest_version(connection: &mut Session) -> Result<i64> {
    let mut newest = 0;
    for query in ["SELECT MAX(version) AS newest FROM documents", "SELECT MAX(version) AS newest FROM document_history"]
    {
        let row = sqlx::query(query).fetch_one(&mut *connection).await.map_err(failed("read documents"))?;
        let found: Option<i64> = row.try_get("newest").map_err(failed("read documents"))?;
        newest = newest.max(found.unwrap_or(0));
    }
    Ok(newest)
}

pub(crate) async fn put(connection: &mut Session, document: &Document) -> Result<()> {
    sqlx::query(
        "INSERT INTO documents (kind, name, document, version, changed_ms, changed_by) VALUES ($1, $2, $3, $4, $5, $6) \
         ON CONFLICT (kind, name) DO UPDATE SET document = excluded.document, version = excluded.version, \
         changed_ms = excluded.changed_ms, changed_by = excluded.changed_by",
    )
    .bind(document.kind.as_str())
    .bind(document.name.as_str())
    .bind(document.value.to_string())
    .bind(document.version)
    .bind(document.changed_at)
    .bind(document.changed_by.as_str())
    .execute(connection)
    .await
    .map_err(failed("record a document"))?;
    Ok(())
}

pub(crate) async fn delete(connection: &mut Session, kind: &str, name: &str) -> Result<()> {
    sqlx::query("DELETE FROM documents WHERE kind = $1 AND name = $2")
        .bind(kind)
        .bind(name)
        .execute(connection)
        .await
        .map_err(failed("delete a document"))?;
    Ok(())
}

/// `text` is `None` where the document was deleted.
pub(crate) async fn add_history(
    connection: &mut Session,
    (kind, name): (&str, &str),
    version: i64,
    text: Option<String>,
    (now, by): (i64, &str),
) -> Result<()> {
    sqlx::query(
        "INSERT INTO document_history (kind, name, version, document, changed_ms, changed_by) \
         VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(kind)
    .bind(name)
    .bind(version)
    .bind(text)
    .bind(now)
    .bind(by)
    .execute(connection)
    .await
    .map_err(failed("record a document's history"))?;
    Ok(())
}

/// Newest first; the value of a deletion is null.
pub(crate) async fn history(connection: &mut Session, kind: &str, name: &str, most: i64) -> Result<Vec<Document>> {
    let rows = sqlx::query(
        "SELECT kind, name, COALESCE(document, 'null') AS document, version, changed_ms, changed_by \
         FROM document_history WHERE kind = $1 AND name = $2 ORDER BY version DESC LIMIT $3",
    )
    .bind(kind)
    .bind(name)
    .bind(most)
    .fetch_all(connection)
    .await
    .map_err(failed("read a document's history"))?;
    rows.iter().map(document).collect()
}

fn document(row: &AnyRow) -> Result<Document> {
    let read = failed("read documents");
    let kind: String = row.try_get("kind").map_err(&read)?;
    let name: String = row.try_get("name").map_err(&read)?;
    let text: String = row.try_get("document").map_err(&read)?;
    // What is in it may be secret: the error does not show it.
    let value = serde_json::from_str(&text)
        .map_err(|_| Error::Corrupt(format!("the document of {kind} {name} is not readable")))?;
    Ok(Document {
        kind,
        name,
        value,
        version: row.try_get("version").map_err(&read)?,
        changed_at: row.try_get("changed_ms").map_err(&read)?,
        changed_by: row.try_get("changed_by").map_err(&read)?,
    })
}
