//! Environment variables of apps and functions, and what tells that they have changed.
#![expect(clippy::missing_panics_doc, reason = "every case is a test")]
#![expect(clippy::unwrap_used, reason = "every case is a test")]

use super::World;
use super::secrets::new as secret;
use tollgate_core::apps::App;
use tollgate_core::functions::{Executable, Function, FunctionOptions, Variables};
use tollgate_core::ports::store::{Instead, NewFunction};
use tollgate_core::secrets::SecretChange;
use tollgate_core::vault::Sealed;

/// One plain variable, and one with a secret.
fn variables(name: &str, value: &str, key: &str) -> Variables {
    Variables {
        env: [(name.to_owned(), value.to_owned())].into(),
        secret_env: [("SECRET".to_owned(), key.to_owned())].into(),
    }
}

async fn function(world: &World, app: &App, slug: &str, variables: Variables) -> Function {
    let new = world.a.new_function(app.id, slug);
    let new = NewFunction {
        options: FunctionOptions {
            variables,
            ..new.options.clone()
        },
        ..new
    };
    world.a.store.insert_function(new).await.unwrap()
}

async fn executable(world: &World, function: &Function) -> Executable {
    let found = world.a.store.executable(function.id).await.unwrap();
    found.unwrap()
}

/// As stored, and as they would be with others instead.
pub async fn variables_are_stored_and_the_functions_own_hide_its_apps(world: World) {
    let (store, app) = (&world.a.store, world.a.app("crm").await);
    assert_eq!(app.variables, Variables::default());
    let app = App {
        variables: variables("A", "app", "KEY"),
        updated_at: world.in_seconds(1),
        ..app
    };
    store.update_app(app.clone(), None).await.unwrap();
    assert_eq!(store.app("crm").await.unwrap().as_ref(), Some(&app));
    let own = Variables {
        env: [("A".to_owned(), "own".to_owned())].into(),
        ..Variables::default()
    };
    let stored = function(&world, &app, "f", own.clone()).await;
    assert_eq!(stored.options.variables, own);
    let now = executable(&world, &stored).await;
    assert_eq!(now.in_force.variables, own.over(&app.variables));

    let other = variables("A", "other", "OTHER");
    let options = FunctionOptions {
        variables: other.clone(),
        ..FunctionOptions::default()
    };
    let of_app = variables("B", "app", "KEY");
    for (instead, expected) in [
        (Instead::default(), own.over(&app.variables)),
        (Instead::options(&options), other.over(&app.variables)),
        (Instead::of_app(&of_app), own.over(&of_app)),
    ] {
        let found = store
            .executable_of(stored.id, 1, instead)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(found.in_force.variables, expected);
        assert_eq!(
            found.image() == now.image(),
            expected == now.in_force.variables
        );
    }
    // A function that is not stored yet has those that it will have.
    let mut new = world.a.new_function(app.id, "g");
    new.options.variables = own;
    let before = store.executable_of_new(&new).await.unwrap().unwrap();
    let after = store.insert_function(new).await.unwrap();
    let after = executable(&world, &after).await;
    assert_eq!(before.in_force, after.in_force);
}

/// Made, changed, hidden, deleted.
pub async fn the_image_changes_with_every_secret_in_force_and_no_other(world: World) {
    let (store, app) = (&world.a.store, world.a.app("crm").await);
    let owner = Some(app.id);
    let stored = function(&world, &app, "f", variables("A", "1", "KEY")).await;
    let image = async || executable(&world, &stored).await.image();
    let mut images = vec![image().await];
    let other = secret(world.now(), owner, "OTHER", 1);
    store.insert_secret(other).await.unwrap();
    assert_eq!(image().await, images[0]);
    let of_site = secret(world.now(), None, "KEY", 1);
    store.insert_secret(of_site).await.unwrap();
    images.push(image().await);
    let own = secret(world.now(), owner, "KEY", 2);
    let own = store.insert_secret(own).await.unwrap();
    images.push(image().await);
    let change = SecretChange {
        secret: own,
        sealed: Some(Sealed(vec![3; 50])),
        at: world.in_seconds(1),
    };
    store.update_secret(change).await.unwrap();
    images.push(image().await);
    for (at, one) in images.iter().enumerate() {
        assert!(!images[..at].contains(one), "{at}");
    }
    // Deleted, it hides the site's no more.
    assert!(store.delete_secret(owner, "KEY", None).await.unwrap());
    assert_eq!(image().await, images[1]);
    assert!(store.delete_secret(None, "KEY", None).await.unwrap());
    assert_eq!(image().await, images[0]);
}

/// Through their own variables and their app's.
pub async fn functions_are_found_by_the_secrets_of_their_variables(world: World) {
    let (store, app) = (&world.a.store, world.a.app("crm").await);
    let other = world.a.app("other").await;
    let own = function(&world, &app, "own", variables("A", "", "KEY")).await;
    let off = function(&world, &app, "off", variables("A", "", "KEY")).await;
    let of_other = function(&world, &other, "f", variables("A", "", "KEY")).await;
    let plain = function(&world, &app, "plain", Variables::default()).await;
    let change = tollgate_core::ports::store::FunctionChange {
        author: None,
        declares: false,
        version: None,
        at: world.in_seconds(1),
        function: Function {
            is_active: false,
            ..off
        },
    };
    store.update_function(change).await.unwrap();
    let found = async |owner, key| store.functions_with_secret(owner, key).await.unwrap();
    assert_eq!(found(Some(app.id), "KEY").await, [own.id]);
    assert_eq!(found(None, "KEY").await, [own.id, of_other.id]);
    assert_eq!(found(None, "key").await, []);
    let changed = App {
        variables: variables("B", "", "OF_APP"),
        ..app.clone()
    };
    store.update_app(changed, None).await.unwrap();
    assert_eq!(found(Some(app.id), "OF_APP").await, [own.id, plain.id]);
    assert_eq!(found(Some(other.id), "OF_APP").await, []);
    let of_b = world.b.store.functions_with_secret(None, "KEY").await;
    assert_eq!(of_b.unwrap(), [], "another site's");
}
