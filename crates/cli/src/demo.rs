//! `serve --demo`: an app with example functions, already subscribed. Safe to repeat.

use crate::access::LocalAccess;
use crate::bootstrap::site;
use crate::config::Config;
use tollgate_core::apps::CreateApp;
use tollgate_core::auth::DEFAULT_SITE;
use tollgate_core::error::Error;
use tollgate_core::events::EventType;
use tollgate_core::functions::{
    CreateFunction, Environment, ExecutionMode, FunctionOptions, RightsInput, Variables,
};
use tollgate_core::platform::Platform;
use tollgate_core::ports::store::Conflict;
use tollgate_core::rights::{Principal, SiteAccess};
use tollgate_core::site::Authority;
use tollgate_core::subscribers::{Subscribe, SubscriberOptions};
use tollgate_core::users::events::{POST_USER_CREATE, PRE_USER_CREATE};

const APP: &str = "user-management";

struct Example {
    name: &'static str,
    description: &'static str,
    code: &'static str,
    event: EventType,
    priority: i32,
    filter: Option<&'static str>,
}

const EXAMPLES: [Example; 3] = [
    Example {
        name: "Validate User Data",
        description: "Refuses addresses of blocked domains",
        code: include_str!("../../../examples/functions/validate_user_data.py"),
        event: PRE_USER_CREATE,
        priority: 0,
        filter: None,
    },
    Example {
        name: "Enrich Profile",
        description: "Fills in what can be told from the address",
        code: include_str!("../../../examples/functions/enrich_profile.py"),
        event: PRE_USER_CREATE,
        priority: 10,
        // It holds no rights, so it changes no account that has some.
        filter: Some("!event.params.is_staff"),
    },
    Example {
        name: "Welcome Message",
        description: "Greets a new user after the account was saved",
        code: include_str!("../../../examples/functions/welcome_message.py"),
        event: POST_USER_CREATE,
        priority: 0,
        filter: None,
    },
];

/// Deploys and subscribes what is not there yet.
pub(crate) async fn install(
    platform: &Platform,
    authority: &Authority,
    config: &Config,
) -> Result<(), Error> {
    let site = site(platform, authority, DEFAULT_SITE).await?;
    let admin = platform
        .admin
        .act_as(authority, &site, &config.admin_email)
        .await?;
    let app = CreateApp {
        name: "User Management".to_owned(),
        slug: Some(APP.to_owned()),
        description: "The demo's example functions".to_owned(),
        variables: Variables::default(),
    };
    exists_already(
        platform
            .apps
            .create(&SiteAccess::check(admin.clone())?, app.into(), None)
            .await,
    )?;
    for example in &EXAMPLES {
        install_one(platform, &admin, example).await?;
    }
    Ok(())
}

async fn install_one(
    platform: &Platform,
    admin: &Principal,
    example: &Example,
) -> Result<(), Error> {
    let access = platform.apps.enter(admin.clone(), APP).await?;
    let function = CreateFunction {
        name: example.name.to_owned(),
        slug: None,
        description: example.description.to_owned(),
        execution_mode: ExecutionMode::App,
        environment: Environment::Python,
        code: Some(example.code.to_owned()),
        entrypoint: None,
        bundle: None,
        webhook_url: None,
        headers: None,
        is_active: true,
        is_public: false,
        async_mode: false,
        options: FunctionOptions {
            timeout_seconds: Some(10.0),
            ..FunctionOptions::default()
        },
        // They need nothing but what every function may.
        rights: RightsInput::default(),
    };
    // A function that is there already may have been changed: it is left as it is.
    let Some(created) = exists_already(
        platform
            .functions
            .create(&access, function.into(), None)
            .await,
    )?
    else {
        return Ok(());
    };
    let subscribe = Subscribe {
        function: created.function.id,
        options: SubscriberOptions {
            priority: example.priority,
            filter: example.filter.map(str::to_owned),
            ..SubscriberOptions::default()
        },
    };
    platform
        .subscribers
        .subscribe(admin, example.event, subscribe.into(), None)
        .await?;
    Ok(())
}

fn exists_already<T>(created: Result<T, Error>) -> Result<Option<T>, Error> {
    match created {
        Ok(created) => Ok(Some(created)),
        Err(Error::Conflict(Conflict::Slug)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Lines to paste into a shell.
pub(crate) fn lines(access: &LocalAccess) -> String {
    let LocalAccess {
        url, api_key, host, ..
    } = access;
    // A name of a site need not lead here; the address does, and the header names the site.
    let host = host
        .as_ref()
        .map_or_else(String::new, |host| format!(" -H 'Host: {host}'"));
    // Answers do not end with a newline: pasted together they would run into each other.
    let call =
        |line: &str| format!("curl -sw '\\n' {line}{host} -H 'Authorization: Api-Key {api_key}'");
    let create = |name: &str, email: &str| {
        call(&format!(
            "-X POST {url}/api/users/ -H 'Content-Type: application/json' \
             -d '{{\"username\":\"{name}\",\"email\":\"{email}\"}}'"
        ))
    };
    format!(
        "Try it:\n\n\
         # accepted, and enriched by a PRE function\n{}\n\n\
         # refused by a PRE function; nothing is saved\n{}\n\n\
         # what ran, the POST function included\n{}\n",
        create("john", "john@example.com"),
        create("eve", "eve@blocked.example"),
        call(&format!("'{url}/api/invocations/?limit=5'")),
    )
}
