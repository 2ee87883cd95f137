//! `tollgate serve`: the whole server, until a signal.

use crate::CommandResult;
use crate::args::{Role, Serve};
use crate::bootstrap::{self, FirstStart};
use crate::compose::Composition;
use crate::config::Config;
use crate::demo;
use rustix::process::{Resource, getrlimit, setrlimit};
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tollgate_core::site::Authority;
use tollgate_core::time::{Clock, SystemClock};
use tollgate_server::{Server, ServerConfig};

/// How long a start may spend on warming up.
const WARM_UP_MAX: Duration = Duration::from_secs(5);

pub(super) async fn run(config: Config, args: Serve) -> CommandResult {
    if args.role != Role::All {
        return Err(
            "SQLite belongs to one process, which must do both halves: leave --role out".into(),
        );
    }
    raise_open_files();
    let stop = stop_signal()?;
    let (composition, listener) = open(&config).await?;
    let listening = listener.local_addr()?;
    // Before anything runs: a function must find the API.
    let server = Server::new(http_config(&config), Arc::clone(&composition.platform));
    let recovered = composition.start().await?;
    if recovered.requeued + recovered.cancelled > 0 {
        tracing::info!(
            requeued = recovered.requeued,
            cancelled = recovered.cancelled,
            "took up what an earlier process left"
        );
    }
    let prepared = prepare(&composition, &config, &args, listening).await;
    if let Err(error) = prepared {
        composition.stop(config.grace_seconds.get()).await;
        return Err(error);
    }
    warm_up(&composition).await;
    eprintln!("tollgate listens on http://{listening}");

    let (mut stopping, stopped_at) = (stop.clone(), Arc::new(OnceLock::new()));
    let noting = Arc::clone(&stopped_at);
    server
        .run(listener, async move {
            // An error means that the sender is gone, which is a reason to stop as well.
            let _ = stopping.wait_for(|stop| *stop).await;
            let _ = noting.set(SystemClock.monotonic());
            tracing::info!("stopping; a second signal ends at once");
        })
        .await;
    // One deadline for both: what the open requests used up, the queued runs do not get again.
    let used = stopped_at.get().map_or(Duration::ZERO, |at| {
        SystemClock.monotonic().saturating_duration_since(*at)
    });
    let grace = config.grace_seconds.get().saturating_sub(used);
    composition.stop(grace).await;
    Ok(())
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
    }
}

/// Opens everything that can fail before anything is promised.
async fn open(
    config: &Config,
) -> Result<(Composition, TcpListener), Box<dyn std::error::Error + Send + Sync>> {
    let listener = TcpListener::bind(config.listen)
        .await
        .map_err(|error| format!("cannot listen on {}: {error}", config.listen))?;
    let composition = Composition::open(config)?;
    let admin = &composition.platform.admin;
    let checked = admin.check_vault(&Authority::of_this_program()).await;
    if let Err(error) = checked {
        composition.stop(Duration::ZERO).await;
        return Err(error.into());
    }
    Ok((composition, listener))
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
    composition: &Composition,
    config: &Config,
    args: &Serve,
    listening: SocketAddr,
) -> CommandResult {
    let authority = Authority::of_this_program();
    let platform = &*composition.platform;
    if let Some(first) = bootstrap::first_start(platform, &authority, config).await? {
        announce(&first);
    }
    bootstrap::keep_local_access(platform, &authority, config, listening).await?;
    if args.demo {
        demo::install(platform, &authority, config).await?;
        if let Some(access) = bootstrap::local_access(&config.data_dir) {
            println!("{}", demo::lines(&access));
        }
    }
    Ok(())
}

fn announce(first: &FirstStart) {
    match &first.password {
        Some(password) => println!(
            "First start: superuser {} with password {password}\n\
             Keep it: it is not shown again (`tollgate admin reset-password` makes a new one).\n",
            first.email
        ),
        None => println!(
            "First start: superuser {} with the password you set\n",
            first.email
        ),
    }
}

/// Turns true at the first SIGTERM or SIGINT; a second one ends the process at once.
fn stop_signal() -> std::io::Result<watch::Receiver<bool>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(async move {
        for count in 0.. {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if count > 0 {
                std::process::exit(130);
            }
            stop.send_replace(true);
        }
    });
    Ok(stopped)
}
