//! A connection that the catalog reads or writes by. Every wait for the database ends: with its answer, or with an error
//! that says there was none. What a database that hangs has not answered is closed, not used again.

use std::io;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::{BoxStream, StreamExt, TryStreamExt};
use sqlx::any::{AnyQueryResult, AnyRow, AnyStatement, AnyTypeInfo};
use sqlx::pool::PoolConnection;
use sqlx::{Any, AnyConnection, Either, Execute, Executor, SqlStr, Transaction};
use tokio::time::timeout;

use crate::catalog::store::UNKEEPABLE_TEXT;
use crate::error::{Error, Result};

/// So long the database may be silent: longer than it takes itself before it ends a statement.
const SILENCE_MAX: Duration = Duration::from_secs(12);

/// What statements are run on.
#[derive(Debug)]
pub(crate) struct Session(Live);

#[derive(Debug)]
enum Live {
    Reading(PoolConnection<Any>),
    Writing(Transaction<'static, Any>),
}

/// A write transaction; dropped without commit, it leaves nothing.
#[derive(Debug)]
pub(crate) struct Writing {
    session: Session,
    /// Set when it is not known whether a commit happened.
    doubt: Arc<AtomicBool>,
}

impl Session {
    pub fn reading(connection: PoolConnection<Any>) -> Session {
        Session(Live::Reading(connection))
    }

    fn raw(&mut self) -> &mut AnyConnection {
        match &mut self.0 {
            Live::Reading(connection) => connection,
            Live::Writing(transaction) => transaction,
        }
    }
}

impl Writing {
    pub fn new(transaction: Transaction<'static, Any>, doubt: Arc<AtomicBool>) -> Writing {
        Writing { session: Session(Live::Writing(transaction)), doubt }
    }

    /// After an error, it may or may not have happened.
    pub async fn commit(self) -> Result<()> {
        let Live::Writing(transaction) = self.session.0 else { return Ok(()) };
        self.doubt.store(true, Ordering::SeqCst);
        in_time(transaction.commit()).await.map_err(failed("commit"))?;
        self.doubt.store(false, Ordering::SeqCst);
        Ok(())
    }
}

impl Deref for Writing {
    type Target = Session;

    fn deref(&self) -> &Session {
        &self.session
    }
}

impl DerefMut for Writing {
    fn deref_mut(&mut self) -> &mut Session {
        &mut self.session
    }
}

/// Waits for an answer as long as one may take.
pub(super) async fn in_time<T>(answer: impl Future<Output = sqlx::Result<T>>) -> sqlx::Result<T> {
    timeout(SILENCE_MAX, answer).await.unwrap_or_else(|_| {
        let text = format!("no answer within {} s", SILENCE_MAX.as_secs());
        Err(sqlx::Error::Io(io::Error::new(io::ErrorKind::TimedOut, text)))
    })
}

/// Makes the crate's error of the store's.
pub(crate) fn failed(what: &'static str) -> impl Fn(sqlx::Error) -> Error {
    move |source| {
        let code = source.as_database_error().and_then(|error| error.code());
        if code.as_deref() == Some(UNKEEPABLE_TEXT) {
            return Error::Invalid(format!("{what}: the metadata store keeps no text with the character U+0000 in it"));
        }
        Error::Store { what, source: Box::new(source) }
    }
}

impl<'c> Executor<'c> for &'c mut Session {
    type Database = Any;

    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxStream<'e, sqlx::Result<Either<AnyQueryResult, AnyRow>>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Any>,
    {
        let answers = self.raw().fetch_many(query);
        let next = |mut answers: BoxStream<'e, sqlx::Result<Either<AnyQueryResult, AnyRow>>>| async move {
            Ok(in_time(answers.try_next()).await?.map(|answer| (answer, answers)))
        };
        futures::stream::try_unfold(answers, next).boxed()
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, sqlx::Result<Option<AnyRow>>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Any>,
    {
        Box::pin(in_time(self.raw().fetch_optional(query)))
    }

    fn prepare_with<'e>(self, sql: SqlStr, parameters: &'e [AnyTypeInfo]) -> BoxFuture<'e, sqlx::Result<AnyStatement>>
    where
        'c: 'e,
    {
        Box::pin(in_time(self.raw().prepare_with(sql, parameters)))
    }
}
