//! `tollgate site`: tenants and the host names that lead to them. With or without a running server.

use super::Context;
use crate::CommandResult;
use crate::args::{Output, Site};
use crate::operator::{self, Request, SiteChange};
use crate::terminal::{Cell, Table};
use serde_json::Value;

pub(super) async fn run(context: Context<'_>, command: Site) -> CommandResult {
    match command {
        Site::List(output) => list(context, output).await,
        Site::Create {
            slug,
            domain,
            output,
        } => {
            let domains = domain;
            let change = SiteChange::Create { slug, domains };
            changed(context, "created site", change, output).await
        }
        Site::AddDomain {
            slug,
            domain,
            output,
        } => {
            let change = SiteChange::AddDomain { slug, domain };
            changed(context, "changed site", change, output).await
        }
        Site::RemoveDomain {
            slug,
            domain,
            output,
        } => {
            let change = SiteChange::RemoveDomain { slug, domain };
            changed(context, "changed site", change, output).await
        }
    }
}

/// The host names of a site, the one that follows from the base domain first.
fn hosts(site: &Value) -> String {
    let mut hosts: Vec<&str> = site["host"].as_str().into_iter().collect();
    for domain in site["domains"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
    {
        if !hosts.contains(&domain) {
            hosts.push(domain);
        }
    }
    if hosts.is_empty() && site["slug"] == "default" {
        return "every other host name".to_owned();
    }
    hosts.join(", ")
}

async fn list(context: Context<'_>, output: Output) -> CommandResult {
    let sites = operator::ask(context.config, &Request::Sites).await?;
    if output.json {
        context.terminal.json(&sites)?;
        return Ok(());
    }
    let mut table = Table::new(["SITE", "HOST NAMES"]);
    for site in sites.as_array().into_iter().flatten() {
        let slug = site["slug"].as_str().unwrap_or_default();
        table.row([Cell::from(slug), hosts(site).into()]);
        for column in site["damaged"].as_array().into_iter().flatten() {
            let column = column.as_str().unwrap_or_default();
            context.terminal.warn(format!(
                "{slug}: the stored {column} cannot be read; restore a backup"
            ));
        }
    }
    table.print(context.terminal)?;
    Ok(())
}

async fn changed(
    context: Context<'_>,
    what: &str,
    change: SiteChange,
    output: Output,
) -> CommandResult {
    let terminal = context.terminal;
    let site = operator::ask(context.config, &Request::ChangeSite { change }).await?;
    if output.json {
        terminal.json(&site)?;
        return Ok(());
    }
    let slug = site["slug"].as_str().unwrap_or_default();
    terminal.print(format!("{what} {slug}"))?;
    if let Some(warning) = site["warning"].as_str() {
        terminal.warn(warning);
    }
    let hosts = hosts(&site);
    if hosts.is_empty() {
        terminal.note(format!(
            "no host name leads to it yet; `tollgate site add-domain {slug} HOST` adds one"
        ));
    } else {
        terminal.print(format!("host names: {hosts}"))?;
    }
    Ok(())
}
