//! The command line: `henge server`, `henge quickstart`, `henge settings`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use server::config::{Config, commented_file};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
#[command(name = "henge", version, about = "A real-time columnar analytics store that speaks Druid's APIs")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve: everything in this process.
    Server(Settings),
    /// Serve, with a live stream of events to look at.
    Quickstart {
        #[command(flatten)]
        settings: Settings,
        /// A Kafka cluster to use instead of the embedded broker.
        #[arg(long)]
        bootstrap_servers: Option<String>,
        /// Synthetic events per second and topic.
        #[arg(long, default_value_t = 200)]
        rate: u32,
    },
    /// Print every setting with its default, as a file for --config.
    Settings,
}

#[derive(Args)]
struct Settings {
    /// Settings file (TOML); `henge settings` prints one.
    #[arg(long)]
    config: Option<PathBuf>,
    /// Folder for everything this process keeps.
    #[arg(long)]
    data_dir: Option<PathBuf>,
    /// Address to listen on.
    #[arg(long)]
    host: Option<String>,
    /// Port to listen on; 0 takes a free one.
    #[arg(long)]
    port: Option<u16>,
    /// What this process does.
    #[arg(long)]
    roles: Option<String>,
    /// Any other setting, as name=value; may be repeated.
    #[arg(long = "set", value_name = "NAME=VALUE")]
    set: Vec<String>,
}

impl Settings {
    fn load(&self) -> anyhow::Result<Config> {
        let mut flags = Vec::new();
        for pair in &self.set {
            let (name, value) =
                pair.split_once('=').ok_or_else(|| anyhow::anyhow!("--set {pair}: write NAME=VALUE"))?;
            flags.push((name.to_string(), value.to_string()));
        }
        let mut flag = |name: &str, value: Option<String>| flags.extend(value.map(|v| (name.to_string(), v)));
        flag("data_dir", self.data_dir.as_ref().map(|p| p.display().to_string()));
        flag("host", self.host.clone());
        flag("port", self.port.map(|p| p.to_string()));
        flag("roles", self.roles.clone());
        Ok(Config::load(self.config.as_deref(), std::env::vars(), &flags)?)
    }
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::Server(settings) => server::run(settings.load()?, None),
        Command::Quickstart { settings, bootstrap_servers, rate } => {
            server::run(settings.load()?, Some(server::quickstart::Options { bootstrap_servers, rate }))
        }
        Command::Settings => {
            print!("{}", commented_file());
            Ok(())
        }
    }
}
