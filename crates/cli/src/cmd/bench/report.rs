//! The figures, as a table and as JSON.

use super::load::Load;
use super::machine::Machine;
use super::target::Memory;
use hdrhistogram::Histogram;
use serde::Serialize;
use std::fmt;
use std::time::Duration;

/// One scenario at one number of connections.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    scenario: &'static str,
    connections: usize,
    requests: u64,
    failed: u64,
    per_second: f64,
    p50_ms: f64,
    p90_ms: f64,
    p99_ms: f64,
    p999_ms: f64,
    /// From the last answer until no run waited any more.
    drain_ms: f64,
}

impl Row {
    pub(super) fn new(
        scenario: &'static str,
        connections: usize,
        load: &Load,
        drain: Duration,
    ) -> Self {
        let ms = |quantile| ms(&load.latencies_us, quantile);
        let requests = load.latencies_us.len();
        #[expect(clippy::cast_precision_loss, reason = "figures for people")]
        let per_second = requests as f64 / load.elapsed.as_secs_f64();
        Self {
            scenario,
            connections,
            requests,
            failed: load.failed,
            per_second,
            p50_ms: ms(0.5),
            p90_ms: ms(0.9),
            p99_ms: ms(0.99),
            p999_ms: ms(0.999),
            drain_ms: drain.as_secs_f64() * 1000.0,
        }
    }
}

/// What the first request after a deployment takes, beside the one after it.
#[derive(Debug, Serialize)]
pub(super) struct FirstSignUps {
    deployments: u64,
    first_p50_ms: f64,
    first_p90_ms: f64,
    next_p50_ms: f64,
    next_p90_ms: f64,
}

impl FirstSignUps {
    pub(super) fn new(deployments: u64, first: &Histogram<u64>, next: &Histogram<u64>) -> Self {
        Self {
            deployments,
            first_p50_ms: ms(first, 0.5),
            first_p90_ms: ms(first, 0.9),
            next_p50_ms: ms(next, 0.5),
            next_p90_ms: ms(next, 0.9),
        }
    }
}

/// What one site's work takes, alone and beside a neighbour's.
#[derive(Debug, Serialize)]
pub(super) struct Neighbour {
    /// Runs that the neighbour has queued, or threads that it keeps busy.
    count: usize,
    alone_p50_ms: f64,
    alone_p99_ms: f64,
    beside_p50_ms: f64,
    beside_p99_ms: f64,
}

impl Neighbour {
    pub(super) fn new(count: usize, alone: &Histogram<u64>, beside: &Histogram<u64>) -> Self {
        Self {
            count,
            alone_p50_ms: ms(alone, 0.5),
            alone_p99_ms: ms(alone, 0.99),
            beside_p50_ms: ms(beside, 0.5),
            beside_p99_ms: ms(beside, 0.99),
        }
    }
}

/// Milliseconds of a histogram of microseconds.
#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn ms(latencies_us: &Histogram<u64>, quantile: f64) -> f64 {
    latencies_us.value_at_quantile(quantile) as f64 / 1000.0
}

/// All figures with what they were measured on.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    version: &'static str,
    machine: Machine,
    memory: Memory,
    rows: Vec<Row>,
    #[serde(flatten)]
    singles: Singles,
}

/// Figures that are no row.
#[derive(Debug, Default, Serialize)]
pub(super) struct Singles {
    pub(super) first_sign_ups: Option<FirstSignUps>,
    pub(super) busy_neighbour: Option<Neighbour>,
    pub(super) neighbour: Option<Neighbour>,
}

impl Report {
    pub(super) fn new(rows: Vec<Row>, singles: Singles, memory: Memory) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION"),
            machine: Machine::here(),
            memory,
            rows,
            singles,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "tollgate {} on {}", self.version, self.machine.line())?;
        writeln!(
            f,
            "{:<16} {:>5} {:>9} {:>8} {:>8} {:>8} {:>8} {:>9} {:>7}",
            "scenario",
            "conns",
            "users/s",
            "p50 ms",
            "p90 ms",
            "p99 ms",
            "p99.9",
            "drain ms",
            "failed"
        )?;
        for row in &self.rows {
            writeln!(
                f,
                "{:<16} {:>5} {:>9.0} {:>8.2} {:>8.2} {:>8.2} {:>8.2} {:>9.0} {:>7}",
                row.scenario,
                row.connections,
                row.per_second,
                row.p50_ms,
                row.p90_ms,
                row.p99_ms,
                row.p999_ms,
                row.drain_ms,
                row.failed
            )?;
        }
        if let Some(it) = &self.singles.first_sign_ups {
            writeln!(
                f,
                "first sign-up after a deployment: p50 {:.2} ms, p90 {:.2} ms; \
                 the one after it: {:.2}, {:.2} ({} deployments)",
                it.first_p50_ms, it.first_p90_ms, it.next_p50_ms, it.next_p90_ms, it.deployments
            )?;
        }
        if let Some(it) = &self.singles.busy_neighbour {
            writeln!(
                f,
                "call of a function: p50 {:.2} ms, p99 {:.2} ms; \
                 while another site keeps {} threads busy: {:.2}, {:.2}",
                it.alone_p50_ms, it.alone_p99_ms, it.count, it.beside_p50_ms, it.beside_p99_ms
            )?;
        }
        if let Some(it) = &self.singles.neighbour {
            writeln!(
                f,
                "POST run, from its commit to its end: p50 {:.2} ms, p99 {:.2} ms; \
                 while another site has {} slow runs queued: {:.2}, {:.2}",
                it.alone_p50_ms, it.alone_p99_ms, it.count, it.beside_p50_ms, it.beside_p99_ms
            )?;
        }
        writeln!(
            f,
            "server memory: {} MiB before the load, {} MiB after it",
            self.memory.before_mib, self.memory.after_mib
        )
    }
}
