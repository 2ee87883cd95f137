//! `tollgate doctor`: whether this machine can do the work, and what to do if not.

use super::Context;
use crate::CommandResult;
use crate::args::Output;
use crate::compose::process_config;
use crate::config::Config;
use crate::terminal::{Line, style};
use serde::Serialize;
use std::path::Path;
use std::sync::Arc;
use tollgate_core::confinement::Confinement;
use tollgate_core::supervise::Supervisor;
use tollgate_core::time::SystemClock;
use tollgate_runtimes::{Interpreter, Language, Outbound, ProcessRuntime};
use tollgate_store_sqlite::{DATABASE_FILE, SqliteOptions, SqliteStore, shared_names};

#[derive(Serialize)]
struct Finding {
    what: &'static str,
    ok: bool,
    /// A missing part that only some users need.
    optional: bool,
    detail: String,
}

pub(super) async fn run(context: Context<'_>, output: Output) -> CommandResult {
    let Context { config, terminal } = context;
    let findings = [
        python(config),
        node(config).await,
        database(config.database_dir()),
        names(config.database_dir()),
        isolation(config).await,
        outbound(config),
    ];
    if output.json {
        terminal.json(&findings)?;
    } else {
        for Finding {
            what,
            ok,
            optional,
            detail,
        } in &findings
        {
            let (mark, looks) = match (ok, optional) {
                (true, _) => ("ok  ", style::GOOD),
                (false, true) => ("note", style::ODD),
                (false, false) => ("FAIL", style::BAD),
            };
            let line = Line::new().styled(looks, mark);
            let (first, rest) = detail.split_once('\n').unwrap_or((detail, ""));
            terminal.print(line.text(format!(" {what}: {first}")))?;
            terminal.block(5, rest)?;
        }
    }
    if findings
        .iter()
        .all(|finding| finding.ok || finding.optional)
    {
        Ok(())
    } else {
        Err("something is missing; see above".into())
    }
}

fn python(config: &Config) -> Finding {
    let found = process_config(config, &config.data_dir)
        .map(|process| process.python.program.display().to_string());
    let ok = found.is_ok();
    Finding {
        what: "python",
        ok,
        optional: false,
        detail: found.unwrap_or_else(|error| error.to_string()),
    }
}

/// Which Node there is, and whether it runs as the server runs it.
async fn node(config: &Config) -> Finding {
    let finding = |ok, detail| Finding {
        what: "node",
        ok,
        optional: true,
        detail,
    };
    let found = match Interpreter::find_node(&config.node.program) {
        Ok(found) => found.program.display().to_string(),
        Err(error) => return finding(false, format!("no functions in Node: {error}")),
    };
    match confinement(config, Language::Node).await {
        Ok(_) => finding(true, found),
        Err(reason) => finding(false, format!("no functions in Node: {found}: {reason}")),
    }
}

fn database(dir: &Path) -> Finding {
    let finding = |ok, detail| Finding {
        what: "database",
        ok,
        optional: false,
        detail,
    };
    // What is not there is not made by looking for it.
    if !dir.join(DATABASE_FILE).exists() {
        return finding(
            true,
            format!("{} will be made at the first start", dir.display()),
        );
    }
    match SqliteStore::open(dir, SqliteOptions::default()) {
        Ok(store) => {
            store.close();
            finding(true, format!("{} can be read and written", dir.display()))
        }
        Err(error @ tollgate_store_sqlite::OpenError::InUse { .. }) => {
            finding(true, format!("not checked: {error}"))
        }
        Err(error) => finding(false, error.to_string()),
    }
}

/// Names shown of those that several users have.
const SHARED_SHOWN: usize = 20;

/// Whether every name is one person's.
fn names(dir: &Path) -> Finding {
    let finding = |ok, optional, detail| Finding {
        what: "names",
        ok,
        optional,
        detail,
    };
    if !dir.join(DATABASE_FILE).exists() {
        return finding(true, false, "there are no users yet".to_owned());
    }
    let shared = match shared_names(dir) {
        Ok(shared) => shared,
        Err(error) => return finding(false, false, error.to_string()),
    };
    if shared.is_empty() {
        let detail = "every username and address signs one person in".to_owned();
        return finding(true, false, detail);
    }
    let mut detail = "these names are another user's too, so their users do not sign in by them; \
                      change them with `tollgate admin rename`"
        .to_owned();
    for it in shared.iter().take(SHARED_SHOWN) {
        // Escaped: what is wrong with a name is often that it does not look so.
        detail.push_str(&format!(
            "\n       site {}: user {} has the {} {:?}, by which user {} ({:?}) signs in",
            it.site, it.user_id, it.kind, it.name, it.holder_id, it.holder
        ));
    }
    if shared.len() > SHARED_SHOWN {
        detail.push_str(&format!(
            "\n       and {} more",
            shared.len() - SHARED_SHOWN
        ));
    }
    finding(false, true, detail)
}

/// Starts the Python host as the server does, and has it say which walls stand.
async fn isolation(config: &Config) -> Finding {
    let finding = |ok, optional, detail| Finding {
        what: "isolation",
        ok,
        optional,
        detail,
    };
    match confinement(config, Language::Python).await {
        Ok(Confinement::Off) => {
            let detail = "functions.sandbox = \"off\": function code can do whatever this server's \
                          user can, so run only code that you trust";
            finding(false, true, detail.to_owned())
        }
        Ok(confinement @ Confinement::On(_)) => {
            let mut lines = vec![confinement.standing()];
            lines.extend(confinement.missing());
            let between = confinement.between_sites();
            lines.extend(between.map(|_| {
                "with several sites, one more reason to give each a machine of its own".to_owned()
            }));
            finding(true, false, lines.join("\n"))
        }
        Err(error) => finding(false, false, format!("functions cannot run: {error}")),
    }
}

/// Where webhooks may go.
fn outbound(config: &Config) -> Finding {
    let finding = |ok, optional, detail: String| Finding {
        what: "outbound",
        ok,
        optional,
        detail,
    };
    match Outbound::new(config.outbound.client(), &Supervisor::default()) {
        Err(error) => finding(false, false, error.to_string()),
        Ok(_) if config.outbound.allow_private => {
            let detail = "outbound.allow_private = true: webhooks and functions reach this machine and \
                          its private networks, so let only people deploy whom you trust";
            finding(false, true, detail.to_owned())
        }
        Ok(client) if !client.resolves_names() => {
            let detail = "no DNS server is known, so no webhook with a host name is called; name one \
                          in [outbound] dns_server";
            finding(false, true, detail.to_owned())
        }
        Ok(_) => {
            let trusted = match config.outbound.client().ca_file {
                Some(file) => format!("; certificates of {} are trusted too", file.display()),
                None => String::new(),
            };
            let detail = format!("webhooks and functions reach public addresses only{trusted}");
            finding(true, false, detail)
        }
    }
}

async fn confinement(config: &Config, language: Language) -> Result<Confinement, String> {
    let word = language.word();
    let scratch =
        std::env::temp_dir().join(format!("tollgate-doctor-{word}-{}", std::process::id()));
    let process = process_config(config, &scratch).map_err(|error| error.to_string())?;
    let runtime =
        ProcessRuntime::start(process, Arc::new(SystemClock)).map_err(|error| error.to_string())?;
    let confinement = runtime.ready(language).await;
    runtime.shutdown().await;
    // Only scratch: what cannot be removed is left to the system's own cleaning.
    let _ = std::fs::remove_dir_all(&scratch);
    confinement
}
