//! Measures and prints; asserts nothing. Figures are for one run on one machine: quote the ratios.
//!
//! - `ingest`: events per second of one core, from a byte buffer to queryable rows, beside the JSON parser's own speed on
//!   the same bytes.
//! - `kafka`: the same from a Kafka topic to answers of a server.
//! - `http`: a trivial query over a kept connection.
//! - `start`: from process start to healthy and to the first answer.
//! - `sql-native`: SQL beside the native query that it is planned as.
//! - `policy-cost`: a row policy beside the same condition written by hand.
//! - `scatter`: queries of a broker before two historicals beside those of one process.
//! - `planning`: a broker's view of a million segments, and plans by it.
//! - `load`: a batch task of a local file, for the comparison with peers.

mod generate;
mod ingest_rate;
mod planning;
mod policy_cost;
mod scatter;
mod service;
mod sql_native;

use clap::{Parser, Subcommand};

/// As the server's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

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
    /// The queries of the Star Schema Benchmark on two historicals and a broker, beside one process.
    Scatter {
        #[arg(long, default_value = "target/release/henge")]
        server: std::path::PathBuf,
        /// A PostgreSQL server in which a database can be made; PostgreSQL's `psql` makes it.
        #[arg(long)]
        postgres: String,
        /// Rows of `lineorder_flat`, as Parquet.
        #[arg(long)]
        file: std::path::PathBuf,
        /// How often the rows of the file are loaded: ten times what is of scale factor 1 is as many rows as scale factor 10 has,
        /// with the values of scale factor 1.
        #[arg(long, default_value_t = 1)]
        times: usize,
        /// Of the segments.
        #[arg(long, default_value = "MONTH")]
        granularity: String,
        /// Threads that compute, of each historical; 0 is as many as the machine has cores. The two share the cores that the one process has.
        #[arg(long, default_value_t = 0)]
        threads: usize,
        #[arg(long, default_value_t = 15)]
        rounds: usize,
    },
    /// Memory of a broker's view, and planning by it.
    Planning {
        #[arg(long, default_value_t = 1_000_000)]
        segments: usize,
        #[arg(long, default_value_t = 1_000)]
        datasources: usize,
        #[arg(long, default_value_t = 15)]
        rounds: usize,
        /// Only writes the view there, as a leader sends it.
        #[arg(long)]
        image: Option<std::path::PathBuf>,
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
        Command::Scatter { server, postgres, file, times, granularity, threads, rounds } => {
            scatter::run(&scatter::Options {
                binary: &server,
                postgres: &postgres,
                file: &file,
                times: times.max(1),
                granularity: &granularity,
                threads,
                rounds,
            })
        }
        Command::Planning { segments, datasources, image: Some(to), .. } => planning::write(segments, datasources, &to),
        Command::Planning { segments, datasources, rounds, .. } => planning::run(segments, datasources, rounds),
        Command::Load { url, table, file } => service::load(&url, &table, &file, "ALL", 1),
    }
}
