//! `tollgate doctor`: whether this machine can do the work, and what to do if not.

use crate::CommandResult;
use crate::args::Doctor;
use crate::config::Config;
use serde::Serialize;
use serde_json::json;
use std::path::Path;
use tollgate_runtimes::{LauncherSpec, ProcessConfig};
use tollgate_store_sqlite::{SqliteOptions, SqliteStore};

#[derive(Serialize)]
struct Finding {
    what: &'static str,
    ok: bool,
    /// A missing part that only some users need.
    optional: bool,
    detail: String,
}

pub(super) fn run(config: &Config, args: &Doctor) -> CommandResult {
    let findings = [python(config), database(config.database_dir()), isolation()];
    if args.json {
        println!("{}", serde_json::to_string_pretty(&json!(findings))?);
    } else {
        for Finding {
            what,
            ok,
            optional,
            detail,
        } in &findings
        {
            let mark = match (ok, optional) {
                (true, _) => "ok  ",
                (false, true) => "note",
                (false, false) => "FAIL",
            };
            println!("{mark} {what}: {detail}");
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
    let found = LauncherSpec::this_binary()
        .map_err(|error| error.to_string())
        .and_then(|launcher| {
            let scratch = config.data_dir.join("scratch");
            ProcessConfig::discover(&config.python.program, launcher, scratch)
                .map(|process| process.python.display().to_string())
                .map_err(|error| error.to_string())
        });
    let ok = found.is_ok();
    Finding {
        what: "python",
        ok,
        optional: false,
        detail: found.unwrap_or_else(|error| error),
    }
}

fn database(dir: &Path) -> Finding {
    let finding = |ok, detail| Finding {
        what: "database",
        ok,
        optional: false,
        detail,
    };
    if !dir.exists() {
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

/// What confines functions today; the kernel's walls are not built yet.
fn isolation() -> Finding {
    Finding {
        what: "isolation",
        ok: false,
        optional: true,
        detail: "functions run in processes of their own session with resource limits, no inherited \
                 descriptors and a clean environment; they can still read files and use the network \
                 as this user, so run only code that you trust"
            .to_owned(),
    }
}
