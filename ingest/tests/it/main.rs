//! Supervised tasks from end to end, on librdkafka's mock cluster and a ledger in memory.

mod crash;
mod stream;
mod world;
