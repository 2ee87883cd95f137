//! `tollgate serve`: the whole server, until a signal.

use crate::CommandResult;
use crate::args::{Role, Serve};
use crate::bootstrap::{self, FirstStart};
use crate::compose::Composition;
use crate::config::Config;
use crate::demo;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tollgate_core::site::Authority;
use tollgate_server::{Server, ServerConfig};

pub(super) async fn run(config: Config, args: Serve) -> CommandResult {
    if args.role != Role::All {
        return Err("SQLite belongs to one process, which must do both halves: leave --role out".into());
    }
    let stop = stop_signal()?;
    let (composition, listener) = open(&config).await?;
    let listening = listener.local_addr()?;
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
    eprintln!("tollgate listens on http://{listening}");

    let http = ServerConfig {
        header_timeout: config.http.header_timeout_seconds.get(),
        body_timeout: config.http.body_timeout_seconds.get(),
        grace: config.grace_seconds.get(),
        connections: config.http.connections,
        trust_forwarded_for: config.http.trust_forwarded_for,
    };
    let server = Server::new(http, Arc::clone(&composition.platform));
    let mut stopping = stop.clone();
    server
        .run(listener, async move {
            // An error means that the sender is gone, which is a reason to stop as well.
            let _ = stopping.wait_for(|stop| *stop).await;
        })
        .await;
    tracing::info!("stopping; a second signal ends at once");
    composition.stop(config.grace_seconds.get()).await;
    Ok(())
}

/// Opens everything that can fail before anything is promised.
async fn open(
    config: &Config,
) -> Result<(Composition, TcpListener), Box<dyn std::error::Error + Send + Sync>> {
    let listener = TcpListener::bind(config.listen)
        .await
        .map_err(|error| format!("cannot listen on {}: {error}", config.listen))?;
    Ok((Composition::open(config)?, listener))
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
        None => println!("First start: superuser {} with the password you set\n", first.email),
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
