//! What only the program itself may do: the first site and superuser, further ones, passwords.
//!
//! Nothing here is reachable over HTTP; every method takes the program's [`Authority`].

use crate::auth::{Password, Passwords};
use crate::draft::Faults;
use crate::egress::EgressHosts;
use crate::engine::Engine;
use crate::error::Error;
use crate::events::Phase;
use crate::ids::{SiteId, UserId};
use crate::json::Object;
use crate::ports::bus::News;
use crate::ports::store::{
    Conflict, PageRequest, Reason, ScopedStore, StoreError, UserChange, UserQuery, Work, to_the_end,
};
use crate::rights::Principal;
use crate::site::{Authority, Site, is_host_name};
use crate::users::identity::{kept_email, kept_username};
use crate::users::{Births, Profile, UpdateUser, User, is_of_a_username};
use crate::validation::{self, FieldError};
use crate::vault::{Place, Purpose};
use crate::{limits, text};
use std::sync::Arc;

/// What becomes of a superuser's password that is easily guessed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strength {
    /// It is refused.
    Checked,
    /// It is taken, with a warning: the operator has set it.
    AsGiven,
}

/// A superuser to be made.
#[derive(Debug)]
pub struct NewSuperuser {
    /// E-mail address.
    pub email: String,
    /// Username; none takes one that goes with the address and is free.
    pub username: Option<String>,
    /// Password.
    pub password: Password,
}

/// Usernames that are tried, at most, where none is given.
const USERNAMES_TRIED: u32 = 1000;

/// Operations of the program itself.
#[derive(Clone)]
pub struct AdminService {
    engine: Arc<Engine>,
    passwords: Arc<Passwords>,
    births: Arc<Births>,
}

impl AdminService {
    /// A service around `engine`.
    pub(crate) fn new(engine: Arc<Engine>, births: Arc<Births>, passwords: Arc<Passwords>) -> Self {
        Self {
            engine,
            passwords,
            births,
        }
    }

    /// All sites.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn sites(&self, _: &Authority) -> Result<Vec<Site>, Error> {
        Ok(self.engine.store.system(Reason::Administer).sites().await?)
    }

    /// Starts a worker for every PRE function of every site, so that no first request pays for it.
    ///
    /// # Errors
    /// When the store fails. A function that does not load is only noted.
    pub async fn warm_up(&self, authority: &Authority) -> Result<(), Error> {
        for site in self.sites(authority).await? {
            let scope = authority.scope(site.id);
            let types = self.engine.catalogue.types();
            for event in types.filter(|event| event.phase() == Phase::Pre) {
                for subscribed in self.engine.subscriptions(scope, event).await?.iter() {
                    let executable = &subscribed.subscription.executable;
                    self.engine.warm_up(executable).await;
                }
            }
        }
        Ok(())
    }

    /// Makes sure that the vault's key is the one that this database's secrets were sealed with. The
    /// first call decides which one that is.
    ///
    /// # Errors
    /// [`Error::Unavailable`] for another key.
    pub async fn check_vault(&self, _: &Authority) -> Result<(), Error> {
        const PLACE: Place<'_> = Place {
            site: SiteId(0),
            purpose: Purpose::Check,
            row: "",
        };
        let Engine { vault, entropy, .. } = &*self.engine;
        let fresh = vault.seal(&**entropy, &PLACE, b"tollgate");
        let system = self.engine.store.system(Reason::Administer);
        let stored = system.vault_check(fresh).await?;
        vault.open(&PLACE, &stored).map(drop).map_err(|error| {
            Error::Unavailable(format!(
                "the key for secrets is not this database's ({error}): restore `secrets.key` in the \
                 data folder, or set TOLLGATE_SECRETS_KEY to the key that was used before"
            ))
        })
    }

    /// Creates a site.
    ///
    /// # Errors
    /// A slug or domain that is taken or not well-formed.
    pub async fn create_site(
        &self,
        _: &Authority,
        slug: &str,
        domains: Vec<String>,
    ) -> Result<Site, Error> {
        let mut errors = Vec::new();
        let slug = validation::slug(Some(slug.to_owned()), slug, &Faults::default(), &mut errors);
        let domains = domains
            .iter()
            .map(|domain| host(domain, &mut errors))
            .collect();
        validation::refuse(errors)?;
        let site = Site {
            id: SiteId(0),
            name: slug.clone(),
            slug,
            domains,
            created_at: self.engine.clock.now(),
            damaged: Vec::new(),
        };
        let system = self.engine.store.system(Reason::Administer);
        self.written(async move { system.insert_site(site).await })
            .await
    }

    /// Carries a change of sites to its end, and tells of it.
    async fn written<T: Send + 'static>(
        &self,
        write: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, Error> {
        let bus = Arc::clone(&self.engine.bus);
        let written = to_the_end(&self.engine.supervisor, async move {
            let written = write.await;
            bus.tell(&News::SitesChanged);
            written
        });
        Ok(written.await?)
    }

    /// Lets a host name lead to a site; returns it as it is kept.
    ///
    /// # Errors
    /// What is no host name, or leads to another site.
    pub async fn add_domain(
        &self,
        _: &Authority,
        site: &Site,
        domain: &str,
    ) -> Result<String, Error> {
        let mut errors = Vec::new();
        let domain = host(domain, &mut errors);
        validation::refuse(errors)?;
        let system = self.engine.store.system(Reason::Administer);
        let (id, added) = (site.id, domain.clone());
        self.written(async move { system.add_site_domain(id, &added).await })
            .await?;
        Ok(domain)
    }

    /// Lets a host name lead to a site no more.
    ///
    /// # Errors
    /// [`Error::NotFound`] when it did not.
    pub async fn remove_domain(
        &self,
        _: &Authority,
        site: &Site,
        domain: &str,
    ) -> Result<String, Error> {
        let domain = host(domain, &mut Vec::new());
        let system = self.engine.store.system(Reason::Administer);
        let (id, removed) = (site.id, domain.clone());
        let written = self
            .written(async move { system.remove_site_domain(id, &removed).await })
            .await?;
        if written {
            Ok(domain)
        } else {
            Err(Error::NotFound(format!(
                "Host name '{domain}' of site '{}'",
                site.slug
            )))
        }
    }

    /// The oldest active superuser of a site, if it has one.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn superuser(
        &self,
        authority: &Authority,
        site: &Site,
    ) -> Result<Option<Principal>, Error> {
        let store = self.engine.scoped(authority.scope(site.id));
        let query = UserQuery {
            is_active: Some(true),
            is_superuser: Some(true),
            ..UserQuery::default()
        };
        let page = PageRequest {
            limit: 1,
            offset: 0,
        };
        match store.list_users(query, page).await?.items.pop() {
            Some(user) => self
                .act_as(authority, site, &user.profile.username)
                .await
                .map(Some),
            None => Ok(None),
        }
    }

    /// Which hosts the functions of a site may reach.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn egress(&self, _: &Authority, site: &Site) -> Result<EgressHosts, Error> {
        let system = self.engine.store.system(Reason::Administer);
        Ok(system.egress_hosts(site.id).await?)
    }

    /// Sets which hosts the functions of a site may reach; none means every public one.
    ///
    /// # Errors
    /// A host that is none.
    pub async fn set_egress(
        &self,
        _: &Authority,
        site: &Site,
        hosts: &[String],
    ) -> Result<(), Error> {
        let hosts =
            EgressHosts::parse(hosts).map_err(|error| Error::BadRequest(error.to_string()))?;
        let system = self.engine.store.system(Reason::Administer);
        system.set_egress_hosts(site.id, hosts).await?;
        self.engine.functions_changed(site.id);
        Ok(())
    }

    /// Creates a superuser. No event is published: there may be nobody yet who could agree.
    ///
    /// # Errors
    /// Values that cannot be stored, or a name or address that is taken.
    pub async fn create_superuser(
        &self,
        authority: &Authority,
        site: &Site,
        new: NewSuperuser,
        strength: Strength,
    ) -> Result<User, Error> {
        let store = self.engine.scoped(authority.scope(site.id));
        let email = kept_email(&new.email);
        let profile = match &new.username {
            Some(username) => superuser(kept_username(username), email),
            None => with_free_username(&*store, email).await?,
        };
        let password = new.password;
        let mut errors = profile.check(None);
        let weak = self.passwords.check(&password, &profile);
        match strength {
            Strength::Checked => errors.extend(weak),
            Strength::AsGiven => weak.iter().for_each(|problem| {
                let problem = problem.message.as_str();
                tracing::warn!(problem, "the superuser's password is weak: {problem}");
            }),
        }
        validation::refuse(errors)?;
        let password_hash = Some(self.passwords.hash(password).await?);
        let user = self.births.user(profile, true).await?;
        let change = UserChange::Create {
            user: Box::new(user.clone()),
            password_hash,
        };
        self.write(authority, site, change).await?;
        Ok(user)
    }

    /// Gives a user another username or address. Users are named by their number here: it is for
    /// those whose name is another one's too. No event is published.
    ///
    /// # Errors
    /// [`Error::NotFound`]; a name that cannot be stored or is taken.
    pub async fn rename(
        &self,
        authority: &Authority,
        site: &Site,
        id: UserId,
        change: UpdateUser,
    ) -> Result<User, Error> {
        let store = self.engine.scoped(authority.scope(site.id));
        let before = store.user(id).await?;
        let before = before.ok_or_else(|| Error::NotFound(format!("User {id}")))?;
        let profile = change.applied_to(&before.profile);
        validation::refuse(profile.check(Some(&before.profile)))?;
        let user = User {
            profile,
            updated_at: self.engine.clock.now(),
            revision: before.revision + 1,
            ..before
        };
        let change = UserChange::Update {
            user: Box::new(user.clone()),
            password_hash: None,
        };
        self.write(authority, site, change).await?;
        Ok(user)
    }

    /// Gives a user a new password and ends the user's sessions, refresh and access tokens. API keys
    /// live on.
    ///
    /// # Errors
    /// [`Error::NotFound`]; a password that is too weak.
    pub async fn reset_password(
        &self,
        authority: &Authority,
        site: &Site,
        login: &str,
        password: Password,
    ) -> Result<User, Error> {
        let system = self.engine.store.system(Reason::Administer);
        let record = system.login_record(site.id, login).await?;
        let user = record
            .ok_or_else(|| Error::NotFound(format!("User '{login}'")))?
            .user;
        validation::refuse(self.passwords.check(&password, &user.profile))?;
        let password_hash = Some(self.passwords.hash(password).await?);
        let now = self.engine.clock.now();
        let user = User {
            updated_at: now,
            revision: user.revision + 1,
            ..user
        };
        let change = UserChange::Update {
            user: Box::new(user.clone()),
            password_hash,
        };
        self.write(authority, site, change).await?;
        Ok(user)
    }

    /// The principal of a user, for a program that acts in the user's name without a credential.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn act_as(
        &self,
        authority: &Authority,
        site: &Site,
        login: &str,
    ) -> Result<Principal, Error> {
        let system = self.engine.store.system(Reason::Administer);
        let record = system.login_record(site.id, login).await?;
        let user = record
            .ok_or_else(|| Error::NotFound(format!("User '{login}'")))?
            .user;
        let owner = system
            .owner(site.id, user.id, self.engine.clock.now())
            .await?;
        let owner = owner.ok_or_else(|| Error::NotFound(format!("User '{login}'")))?;
        Ok(Principal::by_authority(
            authority,
            site.id,
            owner.user,
            owner.grants,
        ))
    }

    async fn write(
        &self,
        authority: &Authority,
        site: &Site,
        change: UserChange,
    ) -> Result<(), Error> {
        let engine = Arc::clone(&self.engine);
        let store = engine.scoped(authority.scope(site.id));
        let (site, user) = (site.id, change.user().id);
        let work = Work {
            change: Some(store.user_change(change, None)?),
            ..Work::default()
        };
        let written = to_the_end(&self.engine.supervisor, async move {
            let committed = store.commit(work).await;
            engine.principal_changed(site, Some(user));
            committed
        });
        Ok(written.await?)
    }
}

fn superuser(username: String, email: String) -> Profile {
    Profile {
        username,
        email,
        first_name: String::new(),
        last_name: String::new(),
        is_active: true,
        is_staff: true,
        attributes: Object::new(),
    }
}

/// A superuser's profile with the first username that can be one and is nobody's: what stands before the
/// `@`, the address itself, what of the former may stand in a username, and that with a number.
async fn with_free_username(store: &dyn ScopedStore, email: String) -> Result<Profile, Error> {
    let local = kept_username(email.rsplit_once('@').map_or(&*email, |(local, _)| local));
    let plain: String = local.chars().filter(|it| is_of_a_username(*it)).collect();
    let plain = plain.trim_start_matches(text::is_mark);
    let plain = text::prefix(plain, limits::EMAIL_LOCAL_BYTES);
    let plain = if plain.is_empty() { "admin" } else { plain };
    let numbered = (2..USERNAMES_TRIED).map(|n| format!("{plain}{n}"));
    let first = [local.clone(), email.clone(), plain.to_owned()];
    let mut taken = None;
    for username in first.into_iter().chain(numbered) {
        let profile = superuser(username, email.clone());
        let errors = profile.check(None);
        if errors.iter().any(|error| error.field == "email") {
            return Err(Error::Validation(errors));
        }
        if !errors.is_empty() {
            continue;
        }
        match store
            .check_user_is_free(&profile.username, &profile.email, None)
            .await
        {
            Ok(()) => return Ok(profile),
            Err(StoreError::Conflict(conflict @ Conflict::Username)) => taken = Some(conflict),
            Err(other) => return Err(other.into()),
        }
    }
    Err(taken.unwrap_or(Conflict::Username).into())
}

/// A host name as it is kept: in lower case, without a final dot.
fn host(name: &str, errors: &mut Vec<FieldError>) -> String {
    let name = name.trim().trim_end_matches('.').to_lowercase();
    if !is_host_name(&name) {
        let message = "Use a host name such as acme.example.com, without scheme and port";
        errors.push(FieldError::new("domain", message));
    }
    name
}
