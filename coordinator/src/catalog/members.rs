//! Nodes as rows of the store: those that were heard of and are not lost.

use sqlx::Row;

use crate::catalog::session::{Session, failed};
use crate::error::{Error, Result};
use crate::node::Member;

pub(crate) async fn load(connection: &mut Session) -> Result<Vec<Member>> {
    let read = failed("read members");
    let rows =
        sqlx::query("SELECT node, member FROM members ORDER BY node").fetch_all(connection).await.map_err(&read)?;
    let mut members = Vec::with_capacity(rows.len());
    for row in &rows {
        let node: String = row.try_get("node").map_err(&read)?;
        let text: String = row.try_get("member").map_err(&read)?;
        let member = serde_json::from_str(&text)
            .map_err(|error| Error::Corrupt(format!("what node {node} told of itself is not readable: {error}")))?;
        members.push(member);
    }
    Ok(members)
}

pub(crate) async fn put(connection: &mut Session, member: &Member, now: i64) -> Result<()> {
    let text = serde_json::to_string(member).expect("a member has no keys that are not text");
    sqlx::query(
        "INSERT INTO members (node, member, changed_ms) VALUES ($1, $2, $3) \
         ON CONFLICT (node) DO UPDATE SET member = excluded.member, changed_ms = excluded.changed_ms",
    )
    .bind(member.node.as_str())
    .bind(text)
    .bind(now)
    .execute(connection)
    .await
    .map_err(failed("record a member"))?;
    Ok(())
}

pub(crate) async fn delete(connection: &mut Session, node: &str) -> Result<()> {
    sqlx::query("DELETE FROM members WHERE node = $1")
        .bind(node)
        .execute(connection)
        .await
        .map_err(failed("forget a member"))?;
    Ok(())
}
