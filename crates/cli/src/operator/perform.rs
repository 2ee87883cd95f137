//! Carries out what the operator asks for.

use super::{Request, SiteChange};
use crate::AnyError;
use crate::access::{LocalAccess, host_of};
use crate::bootstrap::{naming, site, site_access};
use crate::compose::between_sites;
use crate::config::Config;
use crate::keys;
use serde_json::{Value, json};
use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::Arc;
use tollgate_core::admin::{NewSuperuser, Strength};
use tollgate_core::auth::Password;
use tollgate_core::error::Error;
use tollgate_core::ids::UserId;
use tollgate_core::platform::Platform;
use tollgate_core::site::{Authority, Site};
use tollgate_core::users::{UpdateUser, User};
use tollgate_runtimes::ProcessRuntime;
use tollgate_store_sqlite::folder::sync_folder;
use tollgate_store_sqlite::{DATABASE_FILE, SqliteStore};

/// The parts that this needs.
pub(crate) struct Operator {
    pub(crate) platform: Arc<Platform>,
    pub(crate) store: Arc<SqliteStore>,
    pub(crate) config: Config,
    pub(crate) python: Option<Arc<ProcessRuntime>>,
    /// Where the server listens, if one does.
    pub(crate) url: Option<String>,
}

impl Operator {
    /// Carries out one request.
    pub(crate) async fn perform(&self, request: &Request) -> Result<Value, AnyError> {
        let authority = Authority::of_this_program();
        let admin = &self.platform.admin;
        let found = async |slug: &str| site(&self.platform, &authority, slug).await;
        match request {
            Request::CreateSuperuser { .. }
            | Request::ResetPassword { .. }
            | Request::Rename { .. } => self.change_user(&authority, request).await,
            Request::Sites => {
                let sites = admin.sites(&authority).await?;
                Ok(sites.iter().map(|site| self.view(site)).collect())
            }
            Request::ChangeSite { change } => {
                let (site, is_new) = self.change_site(&authority, change).await?;
                let mut shown = self.view(&site);
                if matches!(change, SiteChange::Create { .. }) {
                    let warning = between_sites(&self.platform, self.python.as_deref()).await;
                    if let (Some(warning), Some(_)) = (&warning, &self.url) {
                        // Whoever reads a server's log need not be who made the site.
                        tracing::warn!("{warning}");
                    }
                    shown["warning"] = json!(warning);
                }
                if !is_new {
                    shown["unchanged"] = json!(true);
                }
                Ok(shown)
            }
            Request::Egress { site, hosts } => {
                let site = found(site).await?;
                if let Some(hosts) = hosts {
                    admin.set_egress(&authority, &site, hosts).await?;
                }
                let egress = admin.egress(&authority, &site).await?;
                let hosts: Vec<_> = egress.hosts().iter().map(ToString::to_string).collect();
                Ok(json!({"site": site.slug, "hosts": hosts}))
            }
            Request::Access { site } => self.access(&authority, &found(site).await?).await,
            Request::Backup { dir, keys } => {
                let (store, config) = (Arc::clone(&self.store), self.config.clone());
                let (dir, keys) = (dir.clone(), *keys);
                let copied =
                    tokio::task::spawn_blocking(move || back_up(&store, &config, &dir, keys));
                copied.await?
            }
        }
    }

    async fn change_user(
        &self,
        authority: &Authority,
        request: &Request,
    ) -> Result<Value, AnyError> {
        let admin = &self.platform.admin;
        let found = async |slug: &str| site(&self.platform, authority, slug).await;
        let shown = |site: &Site, user: &User| {
            let profile = &user.profile;
            json!({"site": site.slug, "id": user.id, "email": profile.email, "username": profile.username})
        };
        match request {
            Request::CreateSuperuser {
                site,
                email,
                username,
                password,
            } => {
                let site = found(site).await?;
                let new = NewSuperuser {
                    email: email.clone(),
                    username: username.clone(),
                    password: Password::new(password.clone()),
                };
                let user = admin
                    .create_superuser(authority, &site, new, Strength::Checked)
                    .await
                    .map_err(in_flags)?;
                Ok(shown(&site, &user))
            }
            Request::ResetPassword {
                site,
                login,
                password,
            } => {
                let site = found(site).await?;
                let password = Password::new(password.clone());
                let user = admin
                    .reset_password(authority, &site, login, password)
                    .await
                    .map_err(in_flags)?;
                Ok(shown(&site, &user))
            }
            Request::Rename {
                site,
                id,
                username,
                email,
            } => {
                let site = found(site).await?;
                let change = UpdateUser {
                    username: username.clone(),
                    email: email.clone(),
                    ..UpdateUser::default()
                };
                let renamed = admin.rename(authority, &site, UserId(*id), change);
                let user = renamed.await.map_err(in_flags)?;
                Ok(shown(&site, &user))
            }
            _ => Err("this request is about no user".into()),
        }
    }

    /// The site after a change, and whether that changed anything.
    async fn change_site(
        &self,
        authority: &Authority,
        change: &SiteChange,
    ) -> Result<(Site, bool), AnyError> {
        let admin = &self.platform.admin;
        let found = async |slug: &str| site(&self.platform, authority, slug).await;
        match change {
            SiteChange::Create { slug, domains } => {
                let site = admin.create_site(authority, slug, domains.clone()).await?;
                Ok((site, true))
            }
            SiteChange::AddDomain { slug, domain } => {
                let before = found(slug).await?;
                let added = admin.add_domain(authority, &before, domain).await?;
                Ok((found(slug).await?, !before.domains.contains(&added)))
            }
            SiteChange::RemoveDomain { slug, domain } => {
                admin
                    .remove_domain(authority, &found(slug).await?, domain)
                    .await?;
                Ok((found(slug).await?, true))
            }
        }
    }

    fn view(&self, site: &Site) -> Value {
        let mut view = json!({
            "slug": site.slug,
            "name": site.name,
            "domains": site.domains,
            "host": host_of(&self.config, site).ok().flatten(),
            "created_at": site.created_at,
        });
        if !site.damaged.is_empty() {
            view["damaged"] = json!(site.damaged);
        }
        view
    }

    async fn access(&self, authority: &Authority, site: &Site) -> Result<Value, AnyError> {
        let dir = &self.config.data_dir;
        let mut access = LocalAccess::read(dir)?.unwrap_or_default();
        if let Some(url) = &self.url {
            access.url.clone_from(url);
        }
        let way = site_access(&self.platform, authority, &self.config, site, &access).await?;
        access.keep(&site.slug, way);
        access.write(dir)?;
        Ok(Value::Null)
    }
}

/// An error about an account in the words of the command line.
fn in_flags(error: Error) -> Error {
    let flags = [
        ("email", "--email"),
        ("username", "--username"),
        ("password", "--password"),
    ];
    naming(error, &flags)
}

/// Copies database and keys into a new folder, which is taken away again if that fails.
fn back_up(
    store: &SqliteStore,
    config: &Config,
    dir: &Path,
    with_keys: bool,
) -> Result<Value, AnyError> {
    let made = DirBuilder::new().mode(0o700).create(dir);
    made.map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => {
            format!(
                "{} is there already; name a folder that is not",
                dir.display()
            )
        }
        _ => format!(
            "cannot make {} as user {}: {error}",
            dir.display(),
            rustix::process::geteuid().as_raw()
        ),
    })?;
    let copied = fill(store, config, dir, with_keys);
    if copied.is_err() {
        // The error that is told is the one before.
        let _ = fs::remove_dir_all(dir);
    }
    copied
}

fn fill(
    store: &SqliteStore,
    config: &Config,
    dir: &Path,
    with_keys: bool,
) -> Result<Value, AnyError> {
    let database = dir.join(DATABASE_FILE);
    store.back_up(&database)?;
    let keys = if with_keys {
        keys::copy_keys(&config.data_dir, dir)?
    } else {
        Vec::new()
    };
    sync_folder(dir)?;
    sync_folder(dir.parent().unwrap_or(Path::new("/")))?;
    let bytes = fs::metadata(&database)?.len();
    Ok(json!({
        "dir": dir.display().to_string(),
        "bytes": bytes,
        "keys": keys,
        "secrets_key_in_environment": config.secrets_key.reveal().is_some(),
    }))
}
