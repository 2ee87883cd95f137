//! The one transaction of an operation.
#![expect(clippy::missing_panics_doc, reason = "every case is a test")]
#![expect(clippy::unwrap_used, reason = "every case is a test")]

use super::alone::{Alone, UserCommit};
use super::world::{assert_conflict, create, delete, next, update};
use super::{World, committed};
use futures_util::FutureExt as _;
use tollgate_core::functions::Function;
use tollgate_core::ports::store::{
    Author, Conflict, FunctionChange, NewFunction, NewSubscriber, RoleGrant, StoreError,
};
use tollgate_core::rights::RoleName;
use tollgate_core::subscribers::SubscriberOptions;
use tollgate_core::tasks::{State, Waiter};
use tollgate_core::users::User;
use tollgate_core::users::events::POST_USER_CREATE;

const ME: Option<&str> = Some("me");

/// User, PRE result and POST run; then the signal.
pub async fn a_commit_writes_everything(world: World) {
    let function = world.a.some_function().await;
    let pre = world.a.new_run(&function, Waiter::Caller, ME).await;
    let post = world.a.new_run(&function, Waiter::Nobody, ME).await;
    let user = world.a.new_user("ann").await;
    let commit = UserCommit {
        author: None,
        change: create(&user),
        completions: vec![world.a.whole(&pre, State::Succeeded)],
        invocations: vec![post.clone()],
        remember: None,
    };
    let (signal, heard) = committed();
    world.a.store.commit_user(commit, signal).await.unwrap();
    heard.await.unwrap();
    assert_eq!(world.a.store.user(user.id).await.unwrap(), Some(user));
    assert_eq!(world.a.standing(&pre).await, (State::Succeeded, 1));
    assert_eq!(world.a.standing(&post).await, (State::Pending, 1));
}

/// Every write that says whose right it takes.
async fn writes(
    world: &World,
    what: &str,
    author: Option<Author>,
    (target, function): (&User, &Function),
) -> Vec<Result<(), StoreError>> {
    let (store, app) = (&world.a.store, function.app_id);
    let found = store.user(target.id).await.unwrap().unwrap();
    let new = world.a.new_user(&format!("new-{what}")).await;
    let mut written = Vec::new();
    for change in [create(&new), update(&next(&found)), delete(&new)] {
        let commit = UserCommit {
            author,
            change,
            completions: Vec::new(),
            invocations: Vec::new(),
            remember: None,
        };
        written.push(store.commit_user(commit, committed().0).await.map(drop));
    }
    let new = NewFunction {
        author,
        ..world.a.new_function(app, &format!("f-{what}"))
    };
    written.push(store.insert_function(new).await.map(drop));
    let found = store.function_by_id(function.id).await.unwrap().unwrap();
    let change = FunctionChange {
        author,
        declares: false,
        at: world.now().after(found.updated_at),
        function: found,
        version: None,
    };
    written.push(store.update_function(change).await.map(drop));
    let new = NewSubscriber {
        author,
        event: POST_USER_CREATE,
        declared_by: None,
        function_id: function.id,
        options: SubscriberOptions::default(),
        created_at: world.now(),
        remember: None,
    };
    written.push(store.insert_subscriber(new).await.map(drop));
    written
}

/// Of every write that says whose right it takes: not once that account was changed, has another role,
/// or is gone.
pub async fn nothing_is_written_for_whoever_has_changed_since(world: World) {
    let (store, app) = (&world.a.store, world.a.app("crm").await);
    let function = world.a.function(app.id, "check").await;
    let target = world.a.user("target").await;
    let viewer = RoleGrant {
        app_id: Some(app.id),
        app_slug: None,
        role: RoleName::Viewer,
        expires_at: None,
    };
    for what in ["nothing", "changed", "role", "revoked", "deleted"] {
        let ann = world.a.user(what).await;
        if what == "revoked" {
            let given = store.assign_roles(vec![ann.id], vec![viewer.clone()], world.now());
            given.await.unwrap();
        }
        let ann = store.user(ann.id).await.unwrap().unwrap();
        let author = Some(Author {
            user: ann.id,
            revision: ann.revision,
        });
        let (id, roles) = (vec![ann.id], vec![viewer.clone()]);
        match what {
            "changed" => world.a.change(update(&next(&ann))).await.unwrap(),
            "role" => drop(store.assign_roles(id, roles, world.now()).await.unwrap()),
            "revoked" => drop(store.revoke_roles(id, roles).await.unwrap()),
            "deleted" => world.a.change(delete(&ann)).await.unwrap(),
            _ => {}
        }
        let written = writes(&world, what, author, (&target, &function)).await;
        for written in written {
            match what {
                "nothing" => written.unwrap(),
                _ => assert_conflict!(written, Author),
            }
        }
    }
}

/// No PRE result, no POST run, no signal.
pub async fn a_conflict_writes_nothing(world: World) {
    let function = world.a.some_function().await;
    world.a.user("ann").await;
    let pre = world.a.run(&function, Waiter::Caller, ME).await;
    let post = world.a.new_run(&function, Waiter::Nobody, ME).await;
    let user = world.a.new_user("Ann").await;
    let commit = UserCommit {
        author: None,
        change: create(&user),
        completions: vec![world.a.end(&pre, 1, State::Succeeded)],
        invocations: vec![post.clone()],
        remember: None,
    };
    let (signal, heard) = committed();
    assert_conflict!(world.a.store.commit_user(commit, signal).await, Username);
    heard.await.unwrap_err();
    assert_eq!(world.a.store.user(user.id).await.unwrap(), None);
    assert_eq!(world.a.standing(&pre).await, (State::Running, 1));
    assert!(world.a.store.invocation(post.id).await.unwrap().is_none());
    // The result is then written by a call of its own.
    let flags = world
        .a
        .store
        .complete(vec![world.a.end(&pre, 1, State::Succeeded)])
        .await
        .unwrap();
    assert_eq!(flags, [true]);
}

/// A caller that goes away right after asking neither stops the write nor silences the signal.
pub async fn a_dropped_caller_changes_nothing(world: World) {
    let function = world.a.some_function().await;
    let post = world.a.new_run(&function, Waiter::Nobody, ME).await;
    let user = world.a.new_user("ann").await;
    let commit = UserCommit {
        author: None,
        change: create(&user),
        completions: Vec::new(),
        invocations: vec![post.clone()],
        remember: None,
    };
    let (signal, heard) = committed();
    // Polls once and drops the future.
    let _ = world.a.store.commit_user(commit, signal).now_or_never();
    heard.await.unwrap();
    assert_eq!(world.a.store.user(user.id).await.unwrap(), Some(user));
    assert_eq!(world.a.standing(&post).await, (State::Pending, 1));
}

/// Commits share transactions without touching each other, failures among them included.
pub async fn many_commits_at_once_all_stand(world: World) {
    let function = world.a.some_function().await;
    let mut users = Vec::new();
    let mut posts = Vec::new();
    let mut tries = Vec::new();
    for number in 0..100 {
        // Every fifth takes the name of the one before it, and must fail alone.
        let name = if number % 5 == 4 { number - 1 } else { number };
        let user = world.a.new_user(&format!("user{name}")).await;
        let post = world.a.new_run(&function, Waiter::Nobody, None).await;
        let commit = UserCommit {
            author: None,
            change: create(&user),
            completions: Vec::new(),
            invocations: vec![post.clone()],
            remember: None,
        };
        users.push(user);
        posts.push(post);
        tries.push(world.a.store.commit_user(commit, Box::new(|| {})));
    }
    let results = futures_util::future::join_all(tries).await;
    for ((result, user), post) in results.into_iter().zip(users).zip(posts) {
        let stored = world.a.store.user(user.id).await.unwrap().is_some();
        let queued = world.a.store.invocation(post.id).await.unwrap().is_some();
        assert_eq!((stored, queued), (result.is_ok(), result.is_ok()));
        assert!(matches!(
            result,
            Ok(()) | Err(StoreError::Conflict(Conflict::Username))
        ));
    }
    let all = world
        .a
        .store
        .list_users(Default::default(), super::everything())
        .await
        .unwrap();
    assert_eq!(all.total, 80);
}

/// Uniqueness is decided in the transaction, not before it.
pub async fn one_of_many_equal_users_is_stored(world: World) {
    let mut tries = Vec::new();
    for _ in 0..50 {
        let user = world.a.new_user("ann").await;
        let commit = UserCommit {
            author: None,
            change: create(&user),
            completions: Vec::new(),
            invocations: Vec::new(),
            remember: None,
        };
        tries.push(world.a.store.commit_user(commit, Box::new(|| {})));
    }
    let results = futures_util::future::join_all(tries).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
}

/// A PRE run that somebody else has ended stays as it is, and what rested on it is not written.
pub async fn a_commit_completes_only_what_is_open(world: World) {
    let function = world.a.some_function().await;
    let pre = world.a.run(&function, Waiter::Caller, ME).await;
    world
        .a
        .store
        .complete(vec![world.a.end(&pre, 1, State::TimedOut)])
        .await
        .unwrap();
    let user = world.a.new_user("ann").await;
    let commit = UserCommit {
        author: None,
        change: create(&user),
        completions: vec![world.a.end(&pre, 1, State::Succeeded)],
        invocations: Vec::new(),
        remember: None,
    };
    let refused = world.a.store.commit_user(commit, Box::new(|| {})).await;
    assert!(
        matches!(refused, Err(StoreError::Unavailable(_))),
        "{refused:?}"
    );
    assert_eq!(world.a.standing(&pre).await, (State::TimedOut, 1));
    assert_eq!(world.a.store.user(user.id).await.unwrap(), None);
}
