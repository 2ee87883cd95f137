//! `tollgate bench`: a real server of its own, driven over HTTP from this process.
//!
//! The server is a second process of this binary on a fresh data folder, so that a measurement
//! includes the disk, the interpreters and the network stack, and leaves nothing behind.

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
use report::{Report, Row};
use scenario::Scenario;
use std::time::Duration;
use target::Target;

const CONNECTIONS: [usize; 3] = [1, 16, 64];
/// Load before the counted load of each row, to fill caches and start workers.
const WARM_UP: Duration = Duration::from_secs(1);

pub(super) async fn run(context: Context<'_>, args: Bench) -> CommandResult {
    let connections = if args.connections.is_empty() {
        CONNECTIONS.to_vec()
    } else {
        args.connections.clone()
    };
    let wanted = |scenario: &Scenario| {
        args.only
            .as_deref()
            .is_none_or(|part| scenario.name().contains(part))
    };
    let scenarios: Vec<Scenario> = Scenario::ALL.into_iter().filter(wanted).collect();
    if scenarios.is_empty() {
        let names: Vec<_> = Scenario::ALL.iter().map(Scenario::name).collect();
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
    let (mut first, mut neighbour) = (None, None);
    if args.only.is_none() {
        progress.set_message("first sign-ups after a deployment");
        first = Some(scenario::first_sign_ups(&target).await?);
        progress.set_message("ten thousand slow runs of another site");
        neighbour = Some(neighbour::run(&target).await?);
    }
    let memory = target.memory();
    target.stop().await?;
    progress.finish_and_clear();
    let report = Report::new(rows, first, neighbour, memory);
    if args.json {
        context.terminal.json(&report)?;
    } else {
        context.terminal.block(0, &report.to_string())?;
    }
    Ok(())
}

fn progress_bar(steps: usize) -> Result<ProgressBar, Box<dyn std::error::Error + Send + Sync>> {
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}")?;
    Ok(ProgressBar::new(u64::try_from(steps)?).with_style(style))
}
