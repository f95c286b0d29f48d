//! Leases as rows of the store. What time it is, the database says.
//!
//! A taking locks the row against all others; a write transaction that stands on the lease locks it against takings
//! alone. So a taking waits for the transactions of who held the lease before, a transaction that begins later finds the
//! new epoch, and renewals wait for nobody.

use sqlx::Row;

use crate::catalog::database::{Database, Fence};
use crate::catalog::session::{Session, failed};
use crate::catalog::store::Dialect;
use crate::error::{Error, Result};
use crate::lease::Lease;

/// Takes the lease if nobody else holds it: the epoch since when, greater than any before.
pub(crate) async fn acquire(
    database: &Database,
    (name, holder): (&str, &str),
    ttl_ms: i64,
    info: &str,
) -> Result<Option<i64>> {
    let is_held = "SELECT 1 AS held FROM leases WHERE name = $1 AND holder <> $2 AND expires_ms > {now}";
    let held = sqlx::query(database.dialect.sql(is_held))
        .bind(name)
        .bind(holder)
        .fetch_optional(&mut database.lease().await?)
        .await
        .map_err(failed("read a lease"))?;
    if held.is_some() {
        return Ok(None);
    }
    let mut store = database.begin_lease().await?;
    sqlx::query(
        "INSERT INTO leases (name, holder, epoch, expires_ms, info) VALUES ($1, $2, 0, 0, 'null') \
         ON CONFLICT (name) DO NOTHING",
    )
    .bind(name)
    .bind(holder)
    .execute(&mut *store)
    .await
    .map_err(failed("take a lease"))?;
    let free = "SELECT epoch FROM leases WHERE name = $1 AND (holder = $2 OR expires_ms <= {now}) {exclusive}";
    let free = sqlx::query(database.dialect.sql(free))
        .bind(name)
        .bind(holder)
        .fetch_optional(&mut *store)
        .await
        .map_err(failed("take a lease"))?;
    let Some(row) = free else { return Ok(None) };
    let epoch = row.try_get::<i64, _>("epoch").map_err(failed("take a lease"))? + 1;
    let take = "UPDATE leases SET holder = $1, epoch = $2, expires_ms = {now} + $3, info = $4 WHERE name = $5";
    sqlx::query(database.dialect.sql(take))
        .bind(holder)
        .bind(epoch)
        .bind(ttl_ms)
        .bind(info)
        .bind(name)
        .execute(&mut *store)
        .await
        .map_err(failed("take a lease"))?;
    store.commit().await?;
    Ok(Some(epoch))
}

/// Whether the lease is still the one of this epoch; if so, it lasts for `ttl_ms` from now.
pub(crate) async fn renew(
    database: &Database,
    (name, epoch): (&str, i64),
    ttl_ms: i64,
    info: Option<&str>,
) -> Result<bool> {
    let renew = "UPDATE leases SET expires_ms = {now} + $1, info = COALESCE($2, info) WHERE name = $3 AND epoch = $4";
    let done = sqlx::query(database.dialect.sql(renew))
        .bind(ttl_ms)
        .bind(info)
        .bind(name)
        .bind(epoch)
        .execute(&mut database.lease().await?)
        .await
        .map_err(failed("renew a lease"))?;
    Ok(done.rows_affected() > 0)
}

pub(crate) async fn release(database: &Database, (name, epoch): (&str, i64)) -> Result<()> {
    let release = "UPDATE leases SET expires_ms = {now} WHERE name = $1 AND epoch = $2 AND expires_ms > {now}";
    sqlx::query(database.dialect.sql(release))
        .bind(name)
        .bind(epoch)
        .execute(&mut database.lease().await?)
        .await
        .map_err(failed("release a lease"))?;
    Ok(())
}

/// Those whose names begin so, by name.
pub(crate) async fn list(database: &Database, prefix: &str) -> Result<Vec<Lease>> {
    let list = "SELECT name, holder, epoch, expires_ms - {now} AS left_ms, info FROM leases \
                WHERE substr(name, 1, length($1)) = $1 ORDER BY name";
    let read = failed("read leases");
    let rows = sqlx::query(database.dialect.sql(list))
        .bind(prefix)
        .fetch_all(&mut database.lease().await?)
        .await
        .map_err(&read)?;
    let mut leases = Vec::with_capacity(rows.len());
    for row in &rows {
        let name: String = row.try_get("name").map_err(&read)?;
        let info: String = row.try_get("info").map_err(&read)?;
        let info = serde_json::from_str(&info)
            .map_err(|error| Error::Corrupt(format!("what the lease {name} says is not readable: {error}")))?;
        let holder = row.try_get("holder").map_err(&read)?;
        let epoch = row.try_get("epoch").map_err(&read)?;
        leases.push(Lease { name, holder, epoch, left_ms: row.try_get("left_ms").map_err(&read)?, info });
    }
    Ok(leases)
}

/// Refuses a transaction whose fence does not stand, and keeps it standing until the transaction ends.
pub(super) async fn check(dialect: Dialect, store: &mut Session, fence: &Fence) -> Result<()> {
    let find = "SELECT holder, epoch, expires_ms - {now} AS left_ms FROM leases WHERE name = $1 {shared}";
    let read = failed("read a lease");
    let row = sqlx::query(dialect.sql(find)).bind(fence.lease).fetch_optional(store).await.map_err(&read)?;
    let Some(row) = row else {
        return Err(Error::NotLeader("the lease is gone from the metadata store".to_string()));
    };
    let holder: String = row.try_get("holder").map_err(&read)?;
    let epoch: i64 = row.try_get("epoch").map_err(&read)?;
    let left_ms: i64 = row.try_get("left_ms").map_err(&read)?;
    if epoch != fence.epoch {
        return Err(Error::NotLeader(format!("{holder} took the lead, with epoch {epoch} after {}", fence.epoch)));
    }
    if fence.expires && left_ms <= 0 {
        return Err(Error::NotLeader(format!("the lease of epoch {epoch} expired {} ms ago", -left_ms)));
    }
    Ok(())
}

/// What happens between two processes at once, on connections of their own.
#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use tokio::task::JoinHandle;
    use tokio::time::sleep;

    use super::*;
    use crate::catalog::testing::Fresh;

    const LEASE: &str = "coordinator";

    async fn stores() -> Vec<Fresh> {
        [Some(Fresh::sqlite()), Fresh::postgres().await].into_iter().flatten().collect()
    }

    async fn open(store: &Fresh) -> Arc<Database> {
        Arc::new(Database::open(&store.address().parse().unwrap()).await.unwrap())
    }

    fn fence(epoch: i64) -> Fence {
        Fence { lease: LEASE, epoch, expires: true, doubt: Arc::default() }
    }

    async fn write(store: &mut Session) {
        let insert = "INSERT INTO positions (supervisor, partition_key, next_offset) VALUES ('s', 'p', 1)";
        sqlx::query(insert).execute(store).await.unwrap();
    }

    async fn written(database: &Database) -> usize {
        let mut reading = database.read().await.unwrap();
        sqlx::query("SELECT next_offset FROM positions").fetch_all(&mut reading).await.unwrap().len()
    }

    async fn take(database: &Arc<Database>, holder: &'static str, ttl_ms: i64) -> Option<i64> {
        acquire(database, (LEASE, holder), ttl_ms, "null").await.unwrap()
    }

    async fn is_waiting<T>(task: &JoinHandle<T>) -> bool {
        sleep(Duration::from_millis(400)).await;
        !task.is_finished()
    }

    #[tokio::test]
    async fn who_takes_the_lease_waits_for_what_stands_on_it() {
        for store in stores().await {
            let (old, new) = (open(&store).await, open(&store).await);
            let epoch = take(&old, "old", 200).await.unwrap();
            let mut writing = old.begin(&fence(epoch)).await.unwrap();
            write(&mut writing).await;
            sleep(Duration::from_millis(300)).await;
            // The lease has expired, and the transaction that began before goes on.
            let taking = tokio::spawn({
                let new = Arc::clone(&new);
                async move { take(&new, "new", 60_000).await }
            });
            assert!(is_waiting(&taking).await);
            assert_eq!(written(&new).await, 0);
            writing.commit().await.unwrap();
            let taken = taking.await.unwrap().unwrap();
            assert!(taken > epoch);
            // So what the new leader reads is all that the old one wrote.
            assert_eq!(written(&new).await, 1);
            assert!(matches!(old.begin(&fence(epoch)).await, Err(Error::NotLeader(_))));
            new.begin(&fence(taken)).await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_transaction_waits_for_a_taking_and_is_refused() {
        for store in stores().await {
            let (old, new) = (open(&store).await, open(&store).await);
            let epoch = take(&old, "old", 60_000).await.unwrap();
            let mut taking = new.begin_lease().await.unwrap();
            let lock = new.dialect.sql("SELECT epoch FROM leases WHERE name = $1 {exclusive}");
            sqlx::query(lock).bind(LEASE).fetch_one(&mut *taking).await.unwrap();
            let set = "UPDATE leases SET epoch = epoch + 1, holder = 'new' WHERE name = $1";
            sqlx::query(set).bind(LEASE).execute(&mut *taking).await.unwrap();
            let beginning = tokio::spawn({
                let old = Arc::clone(&old);
                async move { old.begin(&fence(epoch)).await.map(|_| ()) }
            });
            assert!(is_waiting(&beginning).await);
            taking.commit().await.unwrap();
            assert!(matches!(beginning.await.unwrap(), Err(Error::NotLeader(_))));
        }
    }

    #[tokio::test]
    async fn one_writes_at_a_time_in_one_epoch_too() {
        for store in stores().await {
            let (first, second) = (open(&store).await, open(&store).await);
            let epoch = take(&first, "h", 60_000).await.unwrap();
            let mut writing = first.begin(&fence(epoch)).await.unwrap();
            write(&mut writing).await;
            // As of a process whose connection was cut at its commit, and which looks what became of it.
            let looking = tokio::spawn({
                let second = Arc::clone(&second);
                async move {
                    let mut store = second.begin(&fence(epoch)).await.unwrap();
                    sqlx::query("SELECT next_offset FROM positions").fetch_all(&mut *store).await.unwrap().len()
                }
            });
            assert!(is_waiting(&looking).await);
            writing.commit().await.unwrap();
            assert_eq!(looking.await.unwrap(), 1);
        }
    }

    #[tokio::test]
    async fn a_renewal_waits_for_no_transaction() {
        let Some(store) = Fresh::postgres().await else { return };
        let database = open(&store).await;
        let epoch = take(&database, "h", 500).await.unwrap();
        let mut writing = database.begin(&fence(epoch)).await.unwrap();
        write(&mut writing).await;
        for _ in 0..5 {
            sleep(Duration::from_millis(200)).await;
            assert!(renew(&database, (LEASE, epoch), 500, None).await.unwrap());
        }
        assert_eq!(acquire(&database, (LEASE, "other"), 500, "null").await.unwrap(), None);
        writing.commit().await.unwrap();
        database.begin(&fence(epoch)).await.unwrap();
    }

    /// The store ends the transaction of a leader that stands still in the middle of it; otherwise nobody could lead.
    #[tokio::test]
    async fn a_leader_that_stands_still_in_a_transaction_is_cut_off() {
        let Some(store) = Fresh::postgres().await else { return };
        let (old, new) = (open(&store).await, open(&store).await);
        let epoch = take(&old, "old", 200).await.unwrap();
        let mut writing = old.begin(&fence(epoch)).await.unwrap();
        write(&mut writing).await;
        sleep(Duration::from_millis(300)).await;
        let since = Instant::now();
        let taken = loop {
            match acquire(&new, (LEASE, "new"), 60_000, "null").await {
                Ok(taken) => break taken.unwrap(),
                Err(error) => assert!(since.elapsed() < Duration::from_secs(30), "{error}"),
            }
        };
        new.begin(&fence(taken)).await.unwrap();
        assert!(matches!(writing.commit().await, Err(Error::Store { .. })));
        assert_eq!(written(&new).await, 0);
    }
}
