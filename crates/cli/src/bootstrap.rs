//! The first start: a site, a superuser, and a key with which the command line on this machine
//! reaches the server.

use crate::access::{AccessError, LocalAccess, SiteAccess, host_of};
use crate::config::{Config, did_you_mean_one_of};
use crate::random::OsEntropy;
use std::net::SocketAddr;
use tollgate_core::admin::{NewSuperuser, Strength};
use tollgate_core::auth::{CreateApiKey, Credential, DEFAULT_SITE, Password};
use tollgate_core::entropy::Entropy;
use tollgate_core::error::Error;
use tollgate_core::platform::Platform;
use tollgate_core::ports::store::Conflict;
use tollgate_core::site::{Authority, Site};

/// The name of the superuser's key that the command line uses.
const KEY_NAME: &str = "tollgate command line";

/// What the first start made.
pub(crate) struct FirstStart {
    /// The superuser's address.
    pub(crate) email: String,
    /// The password, if it was made here and must be shown.
    pub(crate) password: Option<String>,
}

/// A password of 20 letters and digits: 100 bits.
pub(crate) fn made_password() -> String {
    const LETTERS: &[u8; 32] = b"abcdefghjkmnpqrstuvwxyz234567892";
    let mut bytes = [0_u8; 20];
    OsEntropy.fill(&mut bytes);
    bytes
        .iter()
        .map(|byte| char::from(LETTERS[usize::from(byte % 32)]))
        .collect()
}

/// Creates the default site and its superuser, unless an earlier start has done so.
pub(crate) async fn first_start(
    platform: &Platform,
    authority: &Authority,
    config: &Config,
) -> Result<Option<FirstStart>, Error> {
    let admin = &platform.admin;
    let sites = admin.sites(authority).await?;
    let site = match sites.into_iter().find(|site| site.slug == DEFAULT_SITE) {
        Some(site) if is_complete(platform, authority, config, &site).await? => return Ok(None),
        Some(unfinished) => unfinished,
        None => {
            admin
                .create_site(authority, DEFAULT_SITE, Vec::new())
                .await?
        }
    };
    let given = config.admin_password.reveal();
    let password = given.map_or_else(made_password, str::to_owned);
    let email = config.admin_email.clone();
    let new = NewSuperuser {
        email: email.clone(),
        username: None,
        password: Password::new(password.clone()),
    };
    let made = admin.create_superuser(authority, &site, new, Strength::AsGiven);
    // Nobody has given a field: what is wrong is a setting.
    let settings = [("email", "admin_email"), ("password", "admin_password")];
    made.await.map_err(|error| naming(error, &settings))?;
    Ok(Some(FirstStart {
        email,
        password: given.is_none().then_some(password),
    }))
}

/// The same error in the words of whoever gave the values: a field's flag or setting for its name.
pub(crate) fn naming(error: Error, names: &[(&str, &str)]) -> Error {
    let of = |field: &str| names.iter().find(|name| name.0 == field).map(|name| name.1);
    let taken = match &error {
        Error::Conflict(Conflict::Email) => of("email"),
        Error::Conflict(Conflict::Username) => of("username"),
        _ => None,
    };
    match (error, taken) {
        (error, Some(name)) => Error::BadRequest(format!("{name}: {error}")),
        (Error::Validation(errors), None) => {
            let told = errors.into_iter().map(|error| match of(&error.field) {
                Some(name) => format!("{name}: {}", error.message),
                None => format!("{}: {}", error.field, error.message),
            });
            Error::BadRequest(told.collect::<Vec<_>>().join("; "))
        }
        (error, None) => error,
    }
}

/// Whether a start got as far as the superuser: one that refused its password or address did not.
async fn is_complete(
    platform: &Platform,
    authority: &Authority,
    config: &Config,
    site: &Site,
) -> Result<bool, Error> {
    if matches!(LocalAccess::read(&config.data_dir), Ok(Some(_))) {
        return Ok(true);
    }
    match platform
        .admin
        .act_as(authority, site, &config.admin_email)
        .await
    {
        Err(Error::NotFound(_)) => Ok(false),
        found => found.map(|_| true),
    }
}

/// The site with this slug.
pub(crate) async fn site(
    platform: &Platform,
    authority: &Authority,
    slug: &str,
) -> Result<Site, Error> {
    let sites = platform.admin.sites(authority).await?;
    let names: Vec<_> = sites.iter().map(|site| site.slug.clone()).collect();
    let found = sites.into_iter().find(|site| site.slug == slug);
    found.ok_or_else(|| {
        let hint = did_you_mean_one_of(slug, &names);
        Error::BadRequest(format!("there is no site `{slug}`{hint}"))
    })
}

/// Keeps the address up to date, and makes a key at the first start, or when the one that is kept is no good any more.
pub(crate) async fn keep_local_access(
    platform: &Platform,
    authority: &Authority,
    config: &Config,
    listening: SocketAddr,
) -> Result<(), Error> {
    let mut access = match LocalAccess::read(&config.data_dir) {
        Ok(known) => known.unwrap_or_default(),
        // It is written anew.
        Err(AccessError::Damaged(..)) => LocalAccess::default(),
        Err(AccessError::Folder(error)) => return Err(Error::Unavailable(error.to_string())),
    };
    access.url = format!("http://{listening}");
    let site = site(platform, authority, DEFAULT_SITE).await?;
    match site_access(platform, authority, config, &site, &access).await {
        Ok(way) => access.keep(DEFAULT_SITE, way),
        // Nobody could use it.
        Err(Error::NotFound(why)) => tracing::warn!("no key for the command line: {why}"),
        Err(error) => return Err(error),
    }
    access
        .write(&config.data_dir)
        .map_err(|error| Error::Unavailable(error.to_string()))
}

/// The way into a site: the one that is known, if it still works, else one with a new key of a superuser.
pub(crate) async fn site_access(
    platform: &Platform,
    authority: &Authority,
    config: &Config,
    site: &Site,
    known: &LocalAccess,
) -> Result<SiteAccess, Error> {
    let host = host_of(config, site).map_err(Error::BadRequest)?;
    if let Some(way) = known.site(&site.slug) {
        let credential = Credential::ApiKey(&way.api_key);
        match platform.auth.verify(site, credential).await {
            Ok(_) => return Ok(SiteAccess { host, ..way }),
            Err(Error::Unauthenticated(_)) => {}
            Err(error) => return Err(error),
        }
    }
    let owner = match platform
        .admin
        .act_as(authority, site, &config.admin_email)
        .await
    {
        Ok(owner) if owner.is_superuser() => Some(owner),
        Ok(_) | Err(Error::NotFound(_)) => platform.admin.superuser(authority, site).await?,
        Err(error) => return Err(error),
    };
    let owner = owner.ok_or_else(|| {
        let slug = &site.slug;
        Error::NotFound(format!(
            "A superuser of site '{slug}' (`tollgate admin create --site {slug} --email …` makes one)"
        ))
    })?;
    let key = CreateApiKey {
        name: KEY_NAME.to_owned(),
        expires_at: None,
    };
    let key = platform
        .auth
        .create_api_key(&owner, key.into(), None)
        .await?;
    Ok(SiteAccess {
        api_key: key.key,
        host,
    })
}
