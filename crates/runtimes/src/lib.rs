//! What runs function code: the operator's own Rust, a webhook, or a Python process.
//!
//! Each runtime implements [`tollgate_core::ports::runtime::Runtime`] and keeps its promises: a
//! call ends by its deadline, dropping a call's future ends the run with everything that it
//! started, and user code never runs in this process. This crate knows no SQL and no HTTP server,
//! and decides nothing about retries or verdicts.

#[cfg(feature = "webhooks")]
#[cfg_attr(
    not(feature = "python"),
    expect(dead_code, reason = "a part of it is for workers")
)]
mod outbound;
#[cfg(feature = "python")]
mod process;
#[cfg(feature = "webhooks")]
mod proxy;
#[cfg(feature = "webhooks")]
mod results;
mod system;

#[cfg(feature = "webhooks")]
pub use outbound::{
    HeaderError, Outbound, OutboundConfig, OutboundError, OutboundStartError, Reach, Refusal,
    Reply, Request, Target, Trouble, header_map,
};
#[cfg(feature = "python")]
pub use process::{
    DiscoverError, Interpreter, LAUNCH_ARG, Language, LauncherSpec, ProcessConfig, ProcessRuntime,
    StartError, launch_if_asked, launcher_main,
};
#[cfg(feature = "webhooks")]
pub use proxy::ProxyRuntime;
pub use system::{SystemCall, SystemRuntime};
