//! Creating, changing and deleting users: check, PRE, one short transaction, POST.
//!
//! The order is the promise. Functions see only what could be saved; no transaction is open while
//! they run; the change, the PRE results and the POST runs are committed together. Functions take their
//! time, so whoever asks is looked at again when they have agreed: rights hold when they are used.

use super::births::Births;
use super::events::{
    POST_USER_CREATE, POST_USER_DELETE, POST_USER_UPDATE, UserCreateProposal, UserCreated,
    UserDeleteProposal, UserDeleted, UserParams, UserUpdateProposal, UserUpdated,
};
use super::input::{CreateUser, UpdateUser};
use super::model::{Profile, User};
use super::password::{
    POST_PASSWORD_CHANGE, PRE_PASSWORD_CHANGE, PasswordChangeProposal, PasswordChanged,
};
use super::proposal::ProposedUser;
use super::rights::{may_change, may_set_staff, may_update};
use crate::apps::App;
use crate::auth::{Password, PasswordGate, Passwords};
use crate::draft::Draft;
use crate::engine::{Agreement, Engine, EventService, Fixed, Saving, Verdicts};
use crate::error::Error;
use crate::events::Event;
use crate::idempotency::Remember;
use crate::limits;
use crate::ports::store::{Conflict, Page, PageRequest, UserChange, UserQuery};
use crate::rights::{Permission, Principal, SiteAccess, right};
use crate::validation::{FieldError, check_damaged};
use std::sync::Arc;

/// Operations on users.
#[derive(Clone)]
pub struct UserService {
    pub(super) engine: Arc<Engine>,
    events: EventService,
    births: Arc<Births>,
    passwords: Arc<Passwords>,
    gate: Arc<PasswordGate>,
}

impl UserService {
    /// A service around `engine`.
    pub(crate) fn new(
        engine: Arc<Engine>,
        births: Arc<Births>,
        passwords: Arc<Passwords>,
        gate: Arc<PasswordGate>,
    ) -> Self {
        Self {
            events: EventService::new(Arc::clone(&engine)),
            engine,
            births,
            passwords,
            gate,
        }
    }

    /// Creates a user.
    ///
    /// # Errors
    /// Values that cannot be stored, a name or address that is taken, a refusal of the PRE stage.
    /// Nothing is saved then.
    pub async fn create(
        &self,
        access: &SiteAccess<right::UsersManage>,
        draft: Draft<CreateUser>,
        remember: Option<Remember<User>>,
    ) -> Result<User, Error> {
        let principal = access.principal();
        let look = draft.look();
        may_set_staff(principal, false, look.is_staff)?;
        let profile = look.profile();
        let store = self.engine.scoped(principal.scope());
        let errors = self.errors_in(&profile, None, look.password.as_ref());
        let input = draft.checked(errors)?;
        store
            .check_user_is_free(&profile.username, &profile.email, None)
            .await?;

        self.events.admit(POST_USER_CREATE, principal).await?;
        let pre = UserCreateProposal(profile.clone());
        let proposed = ProposedUser::new(profile);
        let pre = Event::of(pre);
        let mut agreement = self.events.ask(&pre, proposed, principal).await?;

        let password_hash = self.hash(input.password).await?;
        let verdicts = &mut agreement.verdicts;
        let now = self.events.still(access, verdicts, |now| {
            may_set_staff(now.principal(), false, input.is_staff).map(|()| now)
        });
        let now = now.await?;
        let principal = now.principal();
        let profile = agreement.proposal.profile.clone();
        let user = self.births.user(profile, false).await?;
        let post = Event::of(UserCreated(UserParams::from(&user)));
        let change = UserChange::Create {
            user: Box::new(user.clone()),
            password_hash,
        };
        let saved = Saved {
            change,
            verdicts: agreement.verdicts,
            posts: vec![post],
            remember,
        };
        self.save(saved, principal).await?;
        Ok(user)
    }

    /// Changes a user: oneself, or others with the permission `users.manage`.
    ///
    /// # Errors
    /// As [`Self::create`]; also when somebody else changed the user meanwhile.
    pub async fn update(
        &self,
        principal: &Principal,
        username: &str,
        draft: Draft<UpdateUser>,
    ) -> Result<User, Error> {
        let before = self.find(principal, username).await?;
        let look = draft.look();
        refuse_changed(&before, look.expected)?;
        may_update(principal, &before, look)?;
        let proposed = look.applied_to(&before.profile);
        let mut errors = self.errors_in(&proposed, Some(&before.profile), look.password.as_ref());
        check_damaged(&before.damaged, &look.fields(), &mut errors);
        let input = draft.checked(errors)?;
        let is_self = Some(before.id) == principal.user_id() && !principal.is_function();
        if is_self && (input.password.is_some() || proposed.email != before.profile.email) {
            let site = principal.scope().site_id();
            self.gate
                .prove(site, &before, input.current.clone())
                .await?;
        }
        let store = self.engine.scoped(principal.scope());
        store
            .check_user_is_free(&proposed.username, &proposed.email, Some(before.id))
            .await?;

        let by_owner = input.password.is_some().then_some(is_self);
        let asked = self.ask_for_update(&before, proposed, by_owner, principal);
        let mut agreement = asked.await?;

        let password_hash = self.hash(input.password.clone()).await?;
        // The account itself is the one that was looked at: a change of it, or of its roles, raises the
        // revision, and the write is refused.
        let verdicts = &mut agreement.verdicts;
        let now = self.events.still(principal, verdicts, |now| {
            may_update(&now, &before, &input).map(|()| now)
        });
        let principal = now.await?;

        let user = User {
            profile: agreement.proposal.profile.clone(),
            updated_at: self.engine.clock.now(),
            revision: before.revision + 1,
            damaged: Vec::new(),
            ..before.clone()
        };
        let params = UserParams::from(&user);
        let changed = by_owner.map(|by_owner| PasswordChanged {
            user: params.clone(),
            by_owner,
        });
        let updated = UserUpdated {
            user: params,
            previous: before.profile,
        };
        let posts = [Some(Event::of(updated)), changed.map(Event::of)];
        let change = UserChange::Update {
            user: Box::new(user.clone()),
            password_hash,
        };
        let saved = Saved {
            change,
            verdicts: agreement.verdicts,
            posts: posts.into_iter().flatten().collect(),
            remember: None,
        };
        self.save(saved, &principal).await?;
        Ok(user)
    }

    /// Asks the functions that look at changes of users; then, where the password changes, those that look at
    /// that, which are told whether its owner changes it.
    async fn ask_for_update(
        &self,
        before: &User,
        proposed: Profile,
        password_by_owner: Option<bool>,
        principal: &Principal,
    ) -> Result<Agreement<ProposedUser>, Error> {
        let events = &self.events;
        events.admit(POST_USER_UPDATE, principal).await?;
        if password_by_owner.is_some() {
            // Before the first of both stages: no function is asked in vain.
            events.admit(POST_PASSWORD_CHANGE, principal).await?;
            events.admit_denied(PRE_PASSWORD_CHANGE, principal).await?;
        }
        let pre = Event::of(UserUpdateProposal {
            id: before.id,
            user_id: before.id,
            proposed: proposed.clone(),
            previous: before.profile.clone(),
        });
        let proposed = ProposedUser::of(before.clone(), proposed);
        let mut agreement = events.ask(&pre, proposed, principal).await?;
        if let Some(by_owner) = password_by_owner {
            let pre = Event::of(PasswordChangeProposal {
                user: UserParams::from(before),
                by_owner,
            });
            let of_password = events.ask(&pre, Fixed, principal).await?;
            agreement.verdicts.join(of_password.verdicts);
        }
        Ok(agreement)
    }

    /// Deletes a user: the record is kept, marked, and found by no one; its credentials end. With a
    /// revision, only if the user still has it.
    ///
    /// # Errors
    /// As [`Self::update`].
    pub async fn delete(
        &self,
        access: &SiteAccess<right::UsersManage>,
        username: &str,
        expected: Option<i64>,
    ) -> Result<(), Error> {
        let principal = access.principal();
        let before = self.find(principal, username).await?;
        refuse_changed(&before, expected)?;
        if Some(before.id) == principal.user_id() {
            return Err(Error::BadRequest(
                "You cannot delete your own account".to_owned(),
            ));
        }
        may_change(principal, &before)?;

        let pre = UserDeleteProposal(UserParams::from(&before));
        self.events.admit(POST_USER_DELETE, principal).await?;
        let proposed = ProposedUser::of(before.clone(), before.profile.clone());
        let pre = Event::of(pre);
        let mut agreement = self.events.ask(&pre, proposed, principal).await?;
        let verdicts = &mut agreement.verdicts;
        let now = self.events.still(principal, verdicts, |now| {
            may_change(&now, &before).map(|()| now)
        });
        let principal = now.await?;

        let user = User {
            is_deleted: true,
            updated_at: self.engine.clock.now(),
            revision: before.revision + 1,
            ..before
        };
        let post = Event::of(UserDeleted(UserParams::from(&user)));
        let change = UserChange::Delete {
            user: Box::new(user),
        };
        let saved = Saved {
            change,
            verdicts: agreement.verdicts,
            posts: vec![post],
            remember: None,
        };
        self.save(saved, &principal).await
    }

    /// One user: oneself, or others with the permission `users.read`.
    ///
    /// # Errors
    /// [`Error::NotFound`] for what the caller may not see as well.
    pub async fn get(&self, principal: &Principal, username: &str) -> Result<User, Error> {
        self.find(principal, username).await
    }

    /// Users that match.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn list(
        &self,
        access: &SiteAccess<right::UsersRead>,
        query: UserQuery,
        page: PageRequest,
    ) -> Result<Page<User>, Error> {
        let store = self.engine.scoped(access.principal().scope());
        Ok(store.list_users(query, page).await?)
    }

    /// The apps in which a user has a role; all of them for a superuser or a role of the site.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn apps(&self, principal: &Principal, username: &str) -> Result<Vec<App>, Error> {
        let user = self.find(principal, username).await?;
        let store = self.engine.scoped(principal.scope());
        let grants = store.role_grants(user.id, self.engine.clock.now()).await?;
        let everywhere = user.is_superuser || grants.iter().any(|grant| grant.app_id.is_none());
        let page = PageRequest {
            limit: limits::APPS_PER_SITE,
            offset: 0,
        };
        let apps = store.list_apps(page).await?.items;
        let has_role = |app: &App| grants.iter().any(|grant| grant.app_id == Some(app.id));
        Ok(apps
            .into_iter()
            .filter(|app| everywhere || has_role(app))
            .collect())
    }

    /// Somebody whom the caller may not see does not exist for the caller. Who may change users may see
    /// whom. One's own name, as it is written, is always oneself: it may be a name that another one held
    /// first.
    async fn find(&self, principal: &Principal, name: &str) -> Result<User, Error> {
        let store = self.engine.scoped(principal.scope());
        let own = principal
            .user()
            .filter(|user| user.profile.username == name);
        let found = match own {
            Some(user) => store.user(user.id).await?,
            None => store.user_by_name(name).await?,
        };
        let found = found.filter(|user| {
            let may = |right| principal.may(right, None);
            Some(user.id) == principal.user_id()
                || may(Permission::UsersRead)
                || may(Permission::UsersManage)
        });
        found.ok_or_else(|| Error::NotFound("User".to_owned()))
    }

    /// Everything that is wrong with what is proposed.
    fn errors_in(
        &self,
        profile: &Profile,
        before: Option<&Profile>,
        password: Option<&Password>,
    ) -> Vec<FieldError> {
        let mut errors = profile.check(before);
        if let Some(password) = password {
            errors.extend(self.passwords.check(password, profile));
        }
        errors
    }

    async fn hash(&self, password: Option<Password>) -> Result<Option<String>, Error> {
        match password {
            Some(password) => Ok(Some(self.passwords.hash(password).await?)),
            None => Ok(None),
        }
    }

    /// Saves what was agreed to, and forgets what memory keeps of the account.
    async fn save(
        &self,
        Saved {
            change,
            verdicts,
            posts,
            remember,
        }: Saved,
        principal: &Principal,
    ) -> Result<(), Error> {
        let store = self.engine.scoped(principal.scope());
        let (site, user) = (principal.scope().site_id(), change.user().id);
        let engine = Arc::clone(&self.engine);
        let saving = Saving {
            change: store.user_change(change, remember)?,
            posts,
            verdicts,
            afterwards: Box::new(move || engine.principal_changed(site, Some(user))),
        };
        self.events.save(saving, principal).await
    }
}

/// What is written of an operation on a user.
struct Saved {
    change: UserChange,
    verdicts: Verdicts,
    posts: Vec<Event>,
    /// The answer of the request that creates the user.
    remember: Option<Remember<User>>,
}

/// What was decided on another revision is not written; the write itself names the one that was read.
fn refuse_changed(before: &User, expected: Option<i64>) -> Result<(), Error> {
    if expected.is_some_and(|revision| revision != before.revision) {
        return Err(Conflict::Changed.into());
    }
    Ok(())
}
