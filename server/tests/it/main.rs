//! End-to-end tests: the real binary as a child process, driven over HTTP; a real Kafka where `HENGE_TEST_KAFKA` names
//! one (`make test` starts it), librdkafka's mock cluster otherwise where that is enough.

mod harness;

mod alerts;
mod audit;
mod audited_protocols;
mod auth;
mod bad_input;
mod batch;
mod chaos;
mod cluster;
mod column_types;
mod console;
mod crash;
mod damage;
mod dashboards;
mod default_context;
mod documents;
mod echo;
mod failover;
mod flight;
mod floods;
mod handover;
mod http_input;
mod jdbc;
mod leaks;
mod ledger;
mod machine;
mod memory;
mod metrics;
mod oidc;
mod progress;
mod quickstart;
mod roles;
mod rolling;
mod sampler;
mod saved;
mod secure_stream;
mod statements;
mod tenants;
mod tidy;
mod tls;
mod traces;
mod watched;
mod wires;
