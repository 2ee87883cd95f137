//! Declaring, changing and deleting event types of an app.

use super::input::{DeclareType, UpdateType, check_name, check_shape};
use crate::draft::{Draft, Faults};
use crate::engine::Engine;
use crate::error::Error;
use crate::events::EventType;
use crate::events::own::OwnType;
use crate::idempotency::Remember;
use crate::json::{JsonText, merge_patch};
use crate::limits;
use crate::ports::store::{
    Conflict, NewOwnType, OwnTypeChange, Page, PageRequest, StoreError, to_the_end,
};
use crate::rights::{AppAccess, Right, right};
use crate::text;
use crate::time::Timestamp;
use crate::validation::{FieldError, check_damaged, check_text};
use std::future::Future;
use std::sync::Arc;

/// Operations on an app's event types.
#[derive(Clone)]
pub struct EventTypeService {
    engine: Arc<Engine>,
}

impl EventTypeService {
    /// A service around `engine`.
    pub fn new(engine: Arc<Engine>) -> Self {
        Self { engine }
    }

    /// Declares a type.
    ///
    /// # Errors
    /// Values that cannot be stored, all of them; a name that is taken; more types than there may be.
    pub async fn create(
        &self,
        access: &AppAccess<right::FunctionsDeploy>,
        draft: Draft<DeclareType>,
        remember: Option<Remember<OwnType>>,
    ) -> Result<OwnType, Error> {
        let (mut errors, look) = (Vec::new(), draft.look());
        if !draft.faults().concern("name") {
            check_name(&look.name, &self.engine.catalogue, &mut errors);
        }
        let most = limits::DESCRIPTION_CHARS;
        check_text("description", &look.description, most, &mut errors);
        let shape = self.shape(&look.params_schema, &look.sample, draft.faults());
        errors.extend(shape.await?);
        let input = draft.checked(errors)?;
        if !EventType::has_room(&input.name) {
            let message = "This server keeps no more names of event types; ask its operator";
            return Err(Error::Unavailable(message.to_owned()));
        }
        let new = NewOwnType {
            name: input.name,
            app: access.app().id,
            description: input.description,
            params_schema: input.params_schema,
            sample: input.sample,
            created_at: self.engine.clock.now(),
            remember,
        };
        let store = self.engine.scoped(access.principal().scope());
        let write = async move { store.insert_event_type(new).await };
        self.write(access, write).await
    }

    /// Types of the app by name.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn list(
        &self,
        access: &AppAccess<right::FunctionsRead>,
        page: PageRequest,
    ) -> Result<Page<OwnType>, Error> {
        let store = self.engine.scoped(access.principal().scope());
        Ok(store.list_event_types(access.app().id, page).await?)
    }

    /// One type of the app.
    ///
    /// # Errors
    /// [`Error::NotFound`], also for another app's.
    pub async fn get<R: Right>(&self, access: &AppAccess<R>, name: &str) -> Result<OwnType, Error> {
        let store = self.engine.scoped(access.principal().scope());
        let found = store.event_type(name).await?;
        let found = found.filter(|own| own.app == access.app().id);
        found.ok_or_else(|| missing(name))
    }

    /// Changes a type; its name never changes. Subscriptions whose filter the new schema does not fit are
    /// not refused: a filter that cannot be evaluated makes its run a dead letter.
    ///
    /// # Errors
    /// [`Error::NotFound`]; values that cannot be stored; a change by somebody else meanwhile.
    pub async fn update(
        &self,
        access: &AppAccess<right::FunctionsDeploy>,
        name: &str,
        draft: Draft<UpdateType>,
    ) -> Result<OwnType, Error> {
        let before = self.get(access, name).await?;
        let input = draft.look().clone();
        if input.expected.is_some_and(|at| at != before.updated_at) {
            return Err(Conflict::Changed.into());
        }
        let is_new = (input.params_schema.is_some(), input.sample.is_some());
        let new = |old: JsonText, new: Option<JsonText>| match new {
            Some(patch) if input.merges => merged(&old, &patch),
            Some(new) => new,
            None => old,
        };
        let own = OwnType {
            description: input.description.unwrap_or(before.description),
            params_schema: new(before.params_schema, input.params_schema),
            sample: new(before.sample, input.sample),
            ..before
        };
        let (mut errors, look) = (Vec::new(), draft.look());
        let fields = [
            ("description", look.description.is_some()),
            (
                "params_schema",
                look.params_schema.is_some() && !look.merges,
            ),
            ("sample", look.sample.is_some() && !look.merges),
        ];
        check_damaged(&own.damaged, &fields, &mut errors);
        if look.description.is_some() {
            let most = limits::DESCRIPTION_CHARS;
            check_text("description", &own.description, most, &mut errors);
        }
        // A sample that stays must fit a new schema, too.
        if errors.is_empty() && is_new != (false, false) {
            let shape = self.shape(&own.params_schema, &own.sample, draft.faults());
            errors.extend(shape.await?);
        }
        draft.checked(errors)?;
        let at = self.engine.clock.now().after(own.updated_at);
        let store = self.engine.scoped(access.principal().scope());
        let change = OwnTypeChange { own, at };
        let write = async move { store.update_event_type(change).await };
        self.write(access, write).await
    }

    /// Deletes a type to which nothing is subscribed. Runs of its events stay on record.
    ///
    /// # Errors
    /// [`Error::NotFound`]; while functions are subscribed to it; a type that was last changed at another time
    /// than `expected`.
    pub async fn delete(
        &self,
        access: &AppAccess<right::FunctionsDeploy>,
        name: &str,
        expected: Option<Timestamp>,
    ) -> Result<(), Error> {
        let event = self.get(access, name).await?.event;
        let (store, app) = (
            self.engine.scoped(access.principal().scope()),
            access.app().id,
        );
        let write = async move { store.delete_event_type(app, event, expected).await };
        match self.write(access, write).await? {
            true => Ok(()),
            false => Err(missing(name)),
        }
    }

    /// What is wrong with schema and sample.
    async fn shape(
        &self,
        schema: &JsonText,
        sample: &JsonText,
        known: &Faults,
    ) -> Result<Vec<FieldError>, Error> {
        let (schema, sample, known) = (schema.clone(), sample.clone(), known.clone());
        let check = move || check_shape(&schema, &sample, &known);
        self.engine.check_apart(check).await
    }

    /// Writes a change of types; whatever becomes of the caller, the next publication sees it.
    async fn write<R: Right, T: Send + 'static>(
        &self,
        access: &AppAccess<R>,
        write: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, Error> {
        let engine = Arc::clone(&self.engine);
        let site = access.principal().scope().site_id();
        let written = to_the_end(&self.engine.supervisor, async move {
            let written = write.await?;
            engine.functions_changed(site);
            Ok(written)
        });
        Ok(written.await?)
    }
}

fn merged(old: &JsonText, patch: &JsonText) -> JsonText {
    let mut value = old.to_value();
    merge_patch(&mut value, &patch.to_value());
    JsonText::from(&value)
}

fn missing(name: &str) -> Error {
    let name = text::prefix(name, limits::EVENT_NAME_BYTES);
    Error::NotFound(format!("Event type '{name}'"))
}
