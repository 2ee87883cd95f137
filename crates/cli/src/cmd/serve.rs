//! `tollgate serve`: the whole server, until a signal.

use super::Context;
use crate::CommandResult;
use crate::access::LocalAccess;
use crate::args::{Role, Serve};
use crate::bootstrap::{self, FirstStart};
use crate::compose::Composition;
use crate::config::{Config, reachable};
use crate::demo;
use crate::operator::Channel;
use crate::terminal::{Terminal, plural};
use rustix::process::{Resource, getrlimit, setrlimit};
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tollgate_core::failpoint::{self, Point};
use tollgate_core::site::Authority;
use tollgate_core::supervise::Supervisor;
use tollgate_core::time::{Clock, SystemClock};
use tollgate_exec::Executor;
use tollgate_server::{Server, ServerConfig};

/// How often a stop says what it waits for.
const TELL_EVERY: Duration = Duration::from_secs(5);
/// So many functions are named in it.
const NAMES_TOLD: usize = 8;
/// How long what is left at the end may take to end.
const LAST_MAX: Duration = Duration::from_secs(2);
/// How long a start may spend on warming up.
const WARM_UP_MAX: Duration = Duration::from_secs(5);

pub(super) async fn run(context: Context<'_>, args: Serve) -> CommandResult {
    // Around all others: while anything ends, a second signal still ends the process.
    let signals = Supervisor::default();
    let supervisor = signals.group();
    let stop = stop_signal(&signals)?;
    let served = serve(context, args, stop, &supervisor).await;
    // What has not ended by now has lost whom it worked for.
    for group in [supervisor, signals.clone()] {
        group.stop();
        group.joined(LAST_MAX).await;
    }
    served?;
    match signals.fault() {
        None => Ok(()),
        Some(fault) => Err(format!("the server ended because {fault}").into()),
    }
}

async fn serve(
    context: Context<'_>,
    args: Serve,
    stop: watch::Receiver<bool>,
    supervisor: &Supervisor,
) -> CommandResult {
    let Context { config, terminal } = context;
    if args.role != Role::All {
        return Err(
            "SQLite belongs to one process, which must do both halves: leave --role out".into(),
        );
    }
    raise_open_files();
    let (composition, listener) = open(config, supervisor).await?;
    let listening = reachable(&listener)?;
    // Before anything runs: a function must find the API.
    let http = ServerConfig {
        supervisor: supervisor.clone(),
        ..http_config(config)
    };
    let server = Server::new(http, Arc::clone(&composition.platform));
    let recovered = composition.start().await?;
    if recovered.requeued + recovered.cancelled > 0 {
        tracing::info!(
            requeued = recovered.requeued,
            cancelled = recovered.cancelled,
            "took up what an earlier process left"
        );
    }
    if let Err(error) = prepare(context, &composition, &args, listening).await {
        composition.stop(config.grace_seconds.get()).await;
        return Err(error);
    }
    warm_up(&composition).await;
    let channel = open_channel(&composition, config, listening);
    let everywhere = listener.local_addr()?.ip().to_canonical().is_unspecified();
    let whole = if everywhere {
        "every address; on this machine: "
    } else {
        ""
    };
    terminal.note(format!("tollgate listens on {whole}http://{listening}"));

    let executor = composition.executor();
    let telling = tell_what_is_awaited(
        stop.clone(),
        &executor,
        terminal,
        config.grace_seconds.get(),
    );
    tokio::select! {
        () = work(config, server, listener, stop, composition, channel) => {}
        never = telling => match never {},
    }
    Ok(())
}

/// Serves until the signal, and ends in order.
async fn work(
    config: &Config,
    server: Server,
    listener: TcpListener,
    mut stop: watch::Receiver<bool>,
    composition: Composition,
    channel: Option<Channel>,
) {
    let supervisor = composition.supervisor.clone();
    let stopped_at = Arc::new(OnceLock::new());
    let noting = Arc::clone(&stopped_at);
    server
        .run(listener, async move {
            tokio::select! {
                // An error means that the sender is gone, which is a reason to stop as well.
                _ = stop.wait_for(|stop| *stop) => {}
                fault = supervisor.broken() => tracing::error!(%fault, "stopping after a fault"),
            }
            let _ = noting.set(SystemClock.monotonic());
        })
        .await;
    if let Some(channel) = channel {
        channel.close().await;
    }
    // One deadline for both: what the open requests used up, the queued runs do not get again.
    let used = stopped_at.get().map_or(Duration::ZERO, |at| {
        SystemClock.monotonic().saturating_duration_since(*at)
    });
    let grace = config.grace_seconds.get().saturating_sub(used);
    composition.stop(grace).await;
}

/// After the signal: says what keeps the process, and says it again while that lasts.
async fn tell_what_is_awaited(
    mut stop: watch::Receiver<bool>,
    executor: &Executor,
    terminal: &Terminal,
    grace: Duration,
) -> Infallible {
    let _ = stop.wait_for(|stop| *stop).await;
    terminal.note("stopping; a second signal ends at once");
    let mut patience = format!("waits up to {} s for", grace.as_secs());
    loop {
        let running = executor.running();
        if !running.is_empty() {
            let count = running.iter().map(|(_, count)| *count as u64).sum();
            let names = running
                .iter()
                .take(NAMES_TOLD)
                .map(|(name, count)| match count {
                    1 => name.clone(),
                    count => format!("{name} ({count})"),
                });
            let mut names = names.collect::<Vec<_>>().join(", ");
            if running.len() > NAMES_TOLD {
                names += ", …";
            }
            terminal.note(format!("{patience} {}: {names}", plural(count, "run")));
            "still waits for".clone_into(&mut patience);
        }
        tokio::time::sleep(TELL_EVERY).await;
    }
}

/// The operator's socket; without it a running server is administered by stopping it.
fn open_channel(
    composition: &Composition,
    config: &Config,
    listening: SocketAddr,
) -> Option<Channel> {
    let operator = composition.operator(config, Some(format!("http://{listening}")));
    match Channel::open(&config.data_dir, operator, &composition.supervisor) {
        Ok(channel) => Some(channel),
        Err(error) => {
            tracing::warn!(%error, "no socket in the data folder: stop the server for `tollgate admin`, `site` and `backup`");
            None
        }
    }
}

fn http_config(config: &Config) -> ServerConfig {
    ServerConfig {
        header_timeout: config.http.header_timeout_seconds.get(),
        body_timeout: config.http.body_timeout_seconds.get(),
        write_timeout: config.http.write_timeout_seconds.get(),
        grace: config.grace_seconds.get(),
        connections: config.http.connections,
        trust_forwarded_for: config.http.trust_forwarded_for,
        // They were looked at with the other settings.
        cors_origins: config.http.cors().unwrap_or_default(),
        ..ServerConfig::default()
    }
}

/// Opens everything that can fail before anything is promised. The folder first: that another server has it
/// says more than that the same one has the port.
async fn open(
    config: &Config,
    supervisor: &Supervisor,
) -> Result<(Composition, TcpListener), Box<dyn std::error::Error + Send + Sync>> {
    let composition = Composition::open(config, supervisor.clone())?;
    match listen(config, &composition).await {
        Ok(listener) => Ok((composition, listener)),
        Err(error) => {
            composition.stop(Duration::ZERO).await;
            Err(error)
        }
    }
}

async fn listen(
    config: &Config,
    composition: &Composition,
) -> Result<TcpListener, Box<dyn std::error::Error + Send + Sync>> {
    let admin = &composition.platform.admin;
    admin.check_vault(&Authority::of_this_program()).await?;
    let listener = config.listen.bind().await;
    Ok(listener.map_err(|error| not_listening(config, &error))?)
}

fn not_listening(config: &Config, error: &io::Error) -> String {
    let advice = match error.kind() {
        io::ErrorKind::AddrInUse => {
            "; another program has this port: stop it, or choose another one with --listen, \
             TOLLGATE_LISTEN or the setting `listen`"
        }
        io::ErrorKind::AddrNotAvailable => {
            "; this machine has no such address: set another one with --listen, TOLLGATE_LISTEN or the \
             setting `listen`"
        }
        _ => "",
    };
    format!("cannot listen on {}: {error}{advice}", config.listen)
}

/// A connection and a worker each take descriptors, and the usual soft limit is 1024.
fn raise_open_files() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "could not raise the limit of open files");
    }
}

/// Starts workers for PRE functions, so that no first request pays for it; a start that takes too
/// long goes on without.
async fn warm_up(composition: &Composition) {
    if let Some(warning) = composition.between_sites().await {
        tracing::warn!("{warning}");
    }
    let authority = Authority::of_this_program();
    match tokio::time::timeout(WARM_UP_MAX, composition.platform.admin.warm_up(&authority)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "could not warm up PRE functions"),
        Err(_) => tracing::warn!("warming up PRE functions takes long; the rest starts on demand"),
    }
}

/// The first site and superuser, the command line's key, the demo.
async fn prepare(
    context: Context<'_>,
    composition: &Composition,
    args: &Serve,
    listening: SocketAddr,
) -> CommandResult {
    let Context { config, terminal } = context;
    let authority = Authority::of_this_program();
    let platform = &*composition.platform;
    if let Some(first) = bootstrap::first_start(platform, &authority, config).await? {
        announce(terminal, &first)?;
    }
    bootstrap::keep_local_access(platform, &authority, config, listening).await?;
    if args.demo {
        demo::install(platform, &authority, config).await?;
        if let Some(access) = LocalAccess::read(&config.data_dir)? {
            terminal.block(0, &demo::lines(&access))?;
            terminal.print("")?;
        }
    }
    Ok(())
}

fn announce(terminal: &Terminal, first: &FirstStart) -> std::io::Result<()> {
    let email = &first.email;
    match &first.password {
        Some(password) => {
            terminal.print(format!(
                "First start: superuser {email} with password {password}"
            ))?;
            terminal.print(
                "Keep it: it is not shown again (`tollgate admin reset-password` makes a new one).",
            )?;
        }
        None => terminal.print(format!(
            "First start: superuser {email} with the password you set"
        ))?,
    }
    terminal.print("")
}

/// Turns true at the first SIGTERM or SIGINT; a second one ends the process at once.
fn stop_signal(supervisor: &Supervisor) -> std::io::Result<watch::Receiver<bool>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (stop, stopped) = watch::channel(false);
    let until = supervisor.clone();
    let waiting = async move {
        for count in 0.. {
            tokio::select! {
                () = until.stopped() => return,
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            failpoint::hit(Point::LoopSignals);
            if count > 0 {
                std::process::exit(130);
            }
            stop.send_replace(true);
        }
    };
    supervisor.spawn("signals", waiting);
    Ok(stopped)
}
