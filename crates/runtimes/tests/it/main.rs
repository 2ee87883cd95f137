//! The runtimes against real processes and real sockets.

#![allow(clippy::unwrap_used, reason = "a test ends where it cannot go on")]

mod bundles;
mod egress;
mod fit;
mod hardening;
mod libraries;
mod lifecycle;
mod node;
mod poll;
mod pool;
mod processes;
mod proxy;
mod python;
mod support;
mod system;
mod tls;
mod walls;

/// Where this binary becomes the launcher; see `LauncherSpec::this_test_binary`.
#[test]
fn launcher_entry() {
    tollgate_runtimes::launch_if_asked();
}
