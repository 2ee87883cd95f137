//! `tollgate admin`: what needs no credential because it needs the data folder itself.

use crate::CommandResult;
use crate::args::{Admin, AdminUser};
use crate::bootstrap::{local_access, made_password, site};
use crate::compose::Composition;
use crate::config::Config;
use crate::keys;
use std::time::Duration;
use tollgate_core::auth::Password;
use tollgate_core::egress::EgressHosts;
use tollgate_core::site::Authority;

pub(super) async fn run(config: &Config, command: Admin) -> CommandResult {
    if matches!(command, Admin::ApiKey) {
        let access = local_access(&config.data_dir)
            .ok_or("no server has started in this data folder yet; run `tollgate serve` first")?;
        println!("{}", access.api_key);
        return Ok(());
    }
    let composition = Composition::open(config)?;
    let done = change(config, &composition, command).await;
    composition.stop(Duration::ZERO).await;
    done
}

fn rotate(config: &Config) -> CommandResult {
    keys::rotate_jwt_key(&config.data_dir)?;
    println!(
        "tokens are signed with a new key from the next start on; those of the old one are good until \
         they expire, or until the key is rotated again"
    );
    Ok(())
}

async fn change(config: &Config, composition: &Composition, command: Admin) -> CommandResult {
    let authority = Authority::of_this_program();
    let platform = &*composition.platform;
    match command {
        Admin::Create(AdminUser {
            email,
            password,
            site: slug,
        }) => {
            let site = site(platform, &authority, &slug).await?;
            let (password, made) = password_or_made(password);
            let user = platform
                .admin
                .create_superuser(&authority, &site, &email, password)
                .await?;
            println!("created superuser {} in site {slug}", user.profile.email);
            show(made);
        }
        Admin::ResetPassword(AdminUser {
            email,
            password,
            site: slug,
        }) => {
            let site = site(platform, &authority, &slug).await?;
            let (password, made) = password_or_made(password);
            let user = platform
                .admin
                .reset_password(&authority, &site, &email, password)
                .await?;
            println!(
                "changed the password of {} in site {slug}",
                user.profile.email
            );
            show(made);
        }
        Admin::CreateSite { slug, domain } => {
            let site = platform
                .admin
                .create_site(&authority, &slug, domain)
                .await?;
            println!("created site {}", site.slug);
            if let Some(warning) = composition.between_sites().await {
                eprintln!("warning: {warning}");
            }
        }
        Admin::Egress {
            site: slug,
            allow,
            any,
        } => {
            let site = site(platform, &authority, &slug).await?;
            let admin = &platform.admin;
            if any || !allow.is_empty() {
                admin.set_egress(&authority, &site, &allow).await?;
            }
            show_egress(&slug, &admin.egress(&authority, &site).await?);
        }
        // The folder is this process's own now: no server signs with the old key meanwhile.
        Admin::RotateKey => rotate(config)?,
        // Answered before anything was opened.
        Admin::ApiKey => {}
    }
    Ok(())
}

fn password_or_made(given: Option<String>) -> (Password, Option<String>) {
    let made = given.is_none().then(made_password);
    let password = given.or_else(|| made.clone()).unwrap_or_default();
    (Password::new(password), made)
}

fn show_egress(site: &str, allowed: &EgressHosts) {
    if allowed.hosts().is_empty() {
        println!("functions of site {site} reach every public host");
    } else {
        println!("functions of site {site} reach:");
        allowed.hosts().iter().for_each(|host| println!("{host}"));
    }
}

fn show(made: Option<String>) {
    if let Some(password) = made {
        println!("password: {password}");
    }
}
