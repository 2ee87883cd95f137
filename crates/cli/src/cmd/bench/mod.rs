//! `tollgate bench`: a real server of its own, driven over HTTP from this process.
//!
//! The server is a second process of this binary on a fresh data folder, so that a measurement
//! includes the disk, the interpreters and the network stack, and leaves nothing behind.

mod busy;
mod load;
mod machine;
mod neighbour;
mod report;
mod scenario;
mod target;

use super::Context;
use crate::CommandResult;
use crate::args::Bench;
use indicatif::{ProgressBar, ProgressStyle};
use report::{Report, Row, Singles};
use scenario::Scenario;
use std::time::Duration;
use target::{Error, Target};

const CONNECTIONS: [usize; 3] = [1, 16, 64];
/// Load before the counted load of each row, to fill caches and start workers.
const WARM_UP: Duration = Duration::from_secs(1);

/// What is measured besides rows, in this order: the last one leaves a backlog.
const FIRST_SIGN_UPS: &str = "first sign-ups";
const BUSY_NEIGHBOUR: &str = "busy neighbour";
const QUEUEING_NEIGHBOUR: &str = "queueing neighbour";

pub(super) async fn run(context: Context<'_>, args: Bench) -> CommandResult {
    let connections = if args.connections.is_empty() {
        CONNECTIONS.to_vec()
    } else {
        args.connections.clone()
    };
    let only = args.only.as_deref();
    let wanted = |name: &str| only.is_none_or(|part| name.contains(part));
    let scenarios: Vec<Scenario> = Scenario::ALL
        .into_iter()
        .filter(|scenario| wanted(scenario.name()))
        .collect();
    let singles = [FIRST_SIGN_UPS, BUSY_NEIGHBOUR, QUEUEING_NEIGHBOUR];
    if scenarios.is_empty() && !singles.into_iter().any(wanted) {
        let names = Scenario::ALL.iter().map(Scenario::name);
        let names: Vec<_> = names.chain(singles).collect();
        return Err(format!("no scenario has that in its name: {}", names.join(", ")).into());
    }
    let progress = progress_bar(scenarios.len() * connections.len())?;
    let target = Target::start(context.terminal).await?;
    let mut rows = Vec::new();
    for scenario in scenarios {
        // Dropped after the scenario's rows, which ends the calls that wait.
        let _waiting = scenario.install(&target).await?;
        for &connections in &connections {
            progress.set_message(format!("{}, {connections} connections", scenario.name()));
            load::run(&target, connections, WARM_UP).await?;
            target.drained(scenario.waiting()).await?;
            let load = load::run(&target, connections, Duration::from_secs(args.seconds)).await?;
            let drain = target.drained(scenario.waiting()).await?;
            rows.push(Row::new(scenario.name(), connections, &load, drain));
            progress.inc(1);
        }
        scenario.remove(&target).await?;
    }
    let singles = measure_singles(&target, &progress, args.seconds, wanted).await?;
    let memory = target.memory();
    target.stop().await?;
    progress.finish_and_clear();
    let report = Report::new(rows, singles, memory);
    if args.json {
        context.terminal.json(&report)?;
    } else {
        context.terminal.block(0, &report.to_string())?;
    }
    Ok(())
}

async fn measure_singles(
    target: &Target,
    progress: &ProgressBar,
    seconds: u64,
    wanted: impl Fn(&str) -> bool,
) -> Result<Singles, Error> {
    let mut singles = Singles::default();
    if wanted(FIRST_SIGN_UPS) {
        progress.set_message("first sign-ups after a deployment");
        singles.first_sign_ups = Some(scenario::first_sign_ups(target).await?);
    }
    if wanted(BUSY_NEIGHBOUR) {
        progress.set_message("busy threads of another site");
        singles.busy_neighbour = Some(busy::run(target, Duration::from_secs(seconds)).await?);
    }
    if wanted(QUEUEING_NEIGHBOUR) {
        progress.set_message("ten thousand slow runs of another site");
        singles.neighbour = Some(neighbour::run(target).await?);
    }
    Ok(singles)
}

fn progress_bar(steps: usize) -> Result<ProgressBar, Box<dyn std::error::Error + Send + Sync>> {
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}")?;
    Ok(ProgressBar::new(u64::try_from(steps)?).with_style(style))
}
