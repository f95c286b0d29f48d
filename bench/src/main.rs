//! Measures and prints; asserts nothing. Figures are for one run on one machine: quote the ratios.
//!
//! - `ingest`: events per second of one core, from a byte buffer to queryable rows, beside the JSON parser's own speed on
//!   the same bytes.
//! - `kafka`: the same from a Kafka topic to answers of a server.
//! - `http`: a trivial query over a kept connection.
//! - `start`: from process start to healthy and to the first answer.
//! - `sql-native`: SQL beside the native query that it is planned as.
//! - `policy-cost`: a row policy beside the same condition written by hand.
//! - `load`: a batch task of a local file, for the comparison with peers.

mod generate;
mod ingest_rate;
mod policy_cost;
mod service;
mod sql_native;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about = "Henge's measurements")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Byte buffer to queryable rows, one core.
    Ingest {
        #[arg(long, default_value_t = 1_000_000)]
        events: usize,
    },
    /// Kafka to answers: feeds a topic, then lets a server read it.
    Kafka {
        #[arg(long)]
        bootstrap: String,
        /// A henge binary.
        #[arg(long, default_value = "target/release/henge")]
        server: std::path::PathBuf,
        #[arg(long, default_value_t = 2_000_000)]
        events: usize,
    },
    /// Trivial query over HTTP, p50 and p99.
    Http {
        #[arg(long, default_value = "http://127.0.0.1:8888")]
        url: String,
        #[arg(long)]
        datasource: String,
    },
    /// Start of a server over an existing (or empty) data folder.
    Start {
        #[arg(long, default_value = "target/release/henge")]
        server: std::path::PathBuf,
        #[arg(long)]
        data_dir: std::path::PathBuf,
        /// A datasource to ask for the first answer.
        #[arg(long)]
        datasource: Option<String>,
    },
    /// SQL beside the native query that it is planned as, for the tables among lineitem and lineorder_flat that are there.
    SqlNative {
        #[arg(long, default_value = "http://127.0.0.1:8888")]
        url: String,
        #[arg(long, default_value_t = 15)]
        rounds: usize,
    },
    /// The queries of the Star Schema Benchmark under a row policy, beside the same condition written by hand.
    PolicyCost {
        #[arg(long, default_value = "http://127.0.0.1:8888")]
        url: String,
        #[arg(long, default_value_t = 15)]
        rounds: usize,
    },
    /// Loads `lineitem`, `lineorder_flat` (Parquet) or `wiki` (JSON lines) through a batch task.
    Load {
        #[arg(long, default_value = "http://127.0.0.1:8888")]
        url: String,
        #[arg(long)]
        table: String,
        #[arg(long)]
        file: std::path::PathBuf,
    },
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::Ingest { events } => ingest_rate::run(events),
        Command::Kafka { bootstrap, server, events } => service::kafka(&bootstrap, &server, events),
        Command::Http { url, datasource } => service::http(&url, &datasource),
        Command::Start { server, data_dir, datasource } => service::start(&server, &data_dir, datasource.as_deref()),
        Command::SqlNative { url, rounds } => sql_native::run(&url, rounds),
        Command::PolicyCost { url, rounds } => policy_cost::run(&url, rounds),
        Command::Load { url, table, file } => service::load(&url, &table, &file),
    }
}
