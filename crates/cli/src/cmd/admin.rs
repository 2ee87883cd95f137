//! `tollgate admin`: what needs no credential because it needs the data folder itself.

use super::Context;
use crate::access::LocalAccess;
use crate::args::{Admin, AdminUser, NewPassword, Output};
use crate::bootstrap::made_password;
use crate::compose::Composition;
use crate::operator::{self, Request};
use crate::terminal::is_interactive;
use crate::{AnyError, CommandResult, keys};
use serde_json::{Value, json};
use std::io::{Read as _, stdin};
use std::time::Duration;
use tollgate_core::supervise::Supervisor;

/// No password is longer, so nothing endless is read.
const PASSWORD_BYTES: u64 = 4096;

pub(super) async fn run(context: Context<'_>, command: Admin) -> CommandResult {
    match command {
        Admin::Create { username, user } => create(context, username, user).await,
        Admin::ResetPassword(user) => reset_password(context, user).await,
        Admin::Rename {
            id,
            username,
            email,
            site,
            output,
        } => {
            let request = Request::Rename {
                site,
                id,
                username,
                email,
            };
            let done = operator::ask(context.config, &request).await?;
            if output.json {
                context.terminal.json(&done)?;
                return Ok(());
            }
            let text = |key: &str| done[key].as_str().unwrap_or_default().to_owned();
            let (username, email) = (text("username"), text("email"));
            context
                .terminal
                .print(format!("user {id} is {username} <{email}> now"))?;
            Ok(())
        }
        Admin::ApiKey { site, output } => api_key(context, &site, output).await,
        Admin::RotateKey(output) => rotate(context, output).await,
        Admin::Egress {
            site,
            allow,
            any,
            output,
        } => {
            let hosts = (any || !allow.is_empty()).then_some(allow);
            egress(context, Request::Egress { site, hosts }, output).await
        }
    }
}

async fn create(context: Context<'_>, username: Option<String>, user: AdminUser) -> CommandResult {
    let AdminUser {
        email,
        password,
        site,
        output,
    } = user;
    let (password, made) = password_or_made(context, password)?;
    let request = Request::CreateSuperuser {
        site,
        email,
        username,
        password,
    };
    let done = operator::ask(context.config, &request).await?;
    show(context, "created superuser", &done, made, output)
}

async fn reset_password(context: Context<'_>, user: AdminUser) -> CommandResult {
    let AdminUser {
        email: login,
        password,
        site,
        output,
    } = user;
    let (password, made) = password_or_made(context, password)?;
    let request = Request::ResetPassword {
        site,
        login,
        password,
    };
    let done = operator::ask(context.config, &request).await?;
    show(context, "changed the password of", &done, made, output)
}

fn show(
    context: Context<'_>,
    what: &str,
    done: &Value,
    made: Option<String>,
    output: Output,
) -> CommandResult {
    let terminal = context.terminal;
    if output.json {
        let mut shown = done.clone();
        shown["password"] = json!(made);
        terminal.json(&shown)?;
        return Ok(());
    }
    let text = |key: &str| done[key].as_str().unwrap_or_default().to_owned();
    terminal.print(format!("{what} {} in site {}", text("email"), text("site")))?;
    if let Some(password) = made {
        terminal.print(format!("password: {password}"))?;
    }
    Ok(())
}

async fn api_key(context: Context<'_>, site: &str, output: Output) -> CommandResult {
    let dir = &context.config.data_dir;
    let known = LocalAccess::read(dir)?
        .ok_or("no server has started in this data folder yet; run `tollgate serve` first")?;
    let way = match known.site(site) {
        Some(way) => way,
        None => {
            let request = Request::Access {
                site: site.to_owned(),
            };
            operator::ask(context.config, &request).await?;
            let known = LocalAccess::read(dir)?.unwrap_or_default();
            known
                .site(site)
                .ok_or("the server kept no key for the site")?
        }
    };
    if output.json {
        let shown =
            json!({"site": site, "url": known.url, "host": way.host, "api_key": way.api_key});
        context.terminal.json(&shown)?;
    } else {
        context.terminal.print(way.api_key)?;
    }
    Ok(())
}

/// Not through a server: it signs with the key that it has read at its start.
async fn rotate(context: Context<'_>, output: Output) -> CommandResult {
    // The folder is this process's own now: no server signs with the old key meanwhile.
    let composition = Composition::open(context.config, Supervisor::default())?;
    let rotated = keys::rotate_jwt_key(&context.config.data_dir);
    composition.stop(Duration::ZERO).await;
    rotated?;
    let message = "tokens are signed with a new key from the next start on; those of the old one are good \
                   until they expire, or until the key is rotated again";
    if output.json {
        context.terminal.json(&json!({"message": message}))?;
    } else {
        context.terminal.print(message)?;
    }
    Ok(())
}

async fn egress(context: Context<'_>, request: Request, output: Output) -> CommandResult {
    let done = operator::ask(context.config, &request).await?;
    let terminal = context.terminal;
    if output.json {
        terminal.json(&done)?;
        return Ok(());
    }
    let site = done["site"].as_str().unwrap_or_default();
    let hosts: Vec<_> = done["hosts"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    if hosts.is_empty() {
        terminal.print(format!("functions of site {site} reach every public host"))?;
        return Ok(());
    }
    terminal.print(format!("functions of site {site} reach:"))?;
    for host in hosts {
        terminal.print(host)?;
    }
    Ok(())
}

/// The password that was given, or one that is made and must be shown.
fn password_or_made(
    context: Context<'_>,
    given: NewPassword,
) -> Result<(String, Option<String>), AnyError> {
    let NewPassword {
        password,
        password_stdin,
    } = given;
    if let Some(password) = password {
        context.terminal.warn(
            "--password stands in the shell's history and in the list of processes; --password-stdin does not",
        );
        return Ok((password, None));
    }
    if password_stdin {
        return Ok((typed_twice(context)?, None));
    }
    let made = made_password();
    Ok((made.clone(), Some(made)))
}

fn typed_twice(context: Context<'_>) -> Result<String, AnyError> {
    if is_interactive() {
        let password = context.terminal.ask_secretly("Password")?;
        if context.terminal.ask_secretly("Again")? != password {
            return Err("the two are not the same; nothing was changed".into());
        }
        return Ok(password);
    }
    let password = piped("the password", PASSWORD_BYTES)?;
    if password.is_empty() {
        return Err("standard input holds no password".into());
    }
    Ok(password)
}

/// Standard input as text, without the end of its last line.
pub(super) fn piped(what: &str, most: u64) -> Result<String, AnyError> {
    let mut bytes = Vec::new();
    stdin().lock().take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(format!("{what} on standard input is longer than {most} bytes").into());
    }
    let mut text = String::from_utf8(bytes)
        .map_err(|_| format!("{what} on standard input is no UTF-8 text"))?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Ok(text)
}
