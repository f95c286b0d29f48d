//! Documents by kind and name, and what they were, as rows of the store.

use sqlx::Row;
use sqlx::any::AnyRow;

use crate::catalog::session::{Session, failed};
use crate::documents::Document;
use crate::error::{Error, Result};

/// That a document was deleted is known until so many changes later: who has not looked by then reads all there are.
const DELETIONS_KEPT: i64 = 10_000;

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
    for query in [
        "SELECT MAX(version) AS newest FROM documents",
        "SELECT MAX(version) AS newest FROM document_history",
        "SELECT MAX(version) AS newest FROM deleted_documents",
    ] {
        let row = sqlx::query(query).fetch_one(&mut *connection).await.map_err(failed("read documents"))?;
        let found: Option<i64> = row.try_get("newest").map_err(failed("read documents"))?;
        newest = newest.max(found.unwrap_or(0));
    }
    Ok(newest)
}

/// What changed after a version.
pub(crate) struct News {
    /// All there are, and what is not among them is gone.
    pub whole: bool,
    /// Each with whether it was deleted.
    pub documents: Vec<(Document, bool)>,
}

impl News {
    pub fn newest(&self) -> Option<i64> {
        self.documents.iter().map(|(document, _)| document.version).max()
    }
}

/// In one statement, so that what was changed together comes together. Deletions are known for a while only.
pub(crate) async fn since(connection: &mut Session, held: i64) -> Result<News> {
    let read = failed("read documents");
    let mut whole = false;
    let mut after = held;
    loop {
        let rows = sqlx::query(
            "SELECT kind, name, document, version, changed_ms, changed_by, 0 AS deleted FROM documents WHERE version > $1 \
             UNION ALL SELECT kind, name, 'null' AS document, version, 0 AS changed_ms, '' AS changed_by, 1 AS deleted \
             FROM deleted_documents WHERE version > $1 ORDER BY version",
        )
        .bind(after)
        .fetch_all(&mut *connection)
        .await
        .map_err(&read)?;
        let mut documents = Vec::with_capacity(rows.len());
        for row in &rows {
            let deleted: i64 = row.try_get("deleted").map_err(&read)?;
            documents.push((document(row)?, deleted != 0));
        }
        let news = News { whole, documents };
        if whole || news.newest().is_none_or(|newest| newest - held < DELETIONS_KEPT) {
            return Ok(news);
        }
        (whole, after) = (true, 0);
    }
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
    .execute(&mut *connection)
    .await
    .map_err(failed("record a document"))?;
    sqlx::query("DELETE FROM deleted_documents WHERE kind = $1 AND name = $2")
        .bind(document.kind.as_str())
        .bind(document.name.as_str())
        .execute(connection)
        .await
        .map_err(failed("record a document"))?;
    Ok(())
}

pub(crate) async fn delete(connection: &mut Session, kind: &str, name: &str, version: i64) -> Result<()> {
    let deleted = failed("delete a document");
    sqlx::query("DELETE FROM documents WHERE kind = $1 AND name = $2")
        .bind(kind)
        .bind(name)
        .execute(&mut *connection)
        .await
        .map_err(&deleted)?;
    sqlx::query(
        "INSERT INTO deleted_documents (kind, name, version) VALUES ($1, $2, $3) \
         ON CONFLICT (kind, name) DO UPDATE SET version = excluded.version",
    )
    .bind(kind)
    .bind(name)
    .bind(version)
    .execute(&mut *connection)
    .await
    .map_err(&deleted)?;
    sqlx::query("DELETE FROM deleted_documents WHERE version <= $1")
        .bind(version - DELETIONS_KEPT)
        .execute(connection)
        .await
        .map_err(&deleted)?;
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

/// As [`history`], of all documents of a kind.
pub(crate) async fn kind_history(connection: &mut Session, kind: &str, most: i64) -> Result<Vec<Document>> {
    let rows = sqlx::query(
        "SELECT kind, name, COALESCE(document, 'null') AS document, version, changed_ms, changed_by \
         FROM document_history WHERE kind = $1 ORDER BY version DESC LIMIT $2",
    )
    .bind(kind)
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
