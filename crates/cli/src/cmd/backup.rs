//! `tollgate backup`: a copy that a server can start from.

use super::Context;
use crate::CommandResult;
use crate::args::Backup;
use crate::operator::{self, Request};
use serde_json::Value;

pub(super) async fn run(context: Context<'_>, args: Backup) -> CommandResult {
    let terminal = context.terminal;
    let request = Request::Backup {
        dir: std::path::absolute(&args.dir)?,
        keys: !args.without_keys,
    };
    let done = operator::ask(context.config, &request).await?;
    if args.output.json {
        terminal.json(&done)?;
        return Ok(());
    }
    let dir = done["dir"].as_str().unwrap_or_default();
    let keys: Vec<_> = done["keys"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let of_environment = done["secrets_key_in_environment"] == true;
    terminal.print(format!(
        "copied the database to {dir} ({} bytes) and checked the copy",
        done["bytes"]
    ))?;
    if keys.is_empty() {
        terminal.note(
            "the keys are not in it: keep secrets.key as well, without which nobody can read the secrets in the copy",
        );
    } else {
        terminal.print(format!("with the keys {}", keys.join(", ")))?;
        terminal.note(
            "whoever has the copy can read every secret in it: keep it as you keep a password",
        );
    }
    if of_environment {
        terminal.note("the key in TOLLGATE_SECRETS_KEY is not in it: keep that as well");
    }
    terminal.note(format!("`tollgate serve --data-dir {dir}` starts from it"));
    Ok(())
}
