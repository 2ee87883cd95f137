//! The one transaction of an operation.
#![expect(clippy::missing_panics_doc, reason = "every case is a test")]
#![expect(clippy::unwrap_used, reason = "every case is a test")]

use super::world::{assert_conflict, create};
use super::{World, committed};
use futures_util::FutureExt as _;
use tollgate_core::invocation::Waiter;
use tollgate_core::ports::store::{Conflict, StoreError, UserCommit};
use tollgate_core::task::State;

const ME: Option<&str> = Some("me");

/// User, PRE result and POST run; then the signal.
pub async fn a_commit_writes_everything(world: World) {
    let function = world.a.some_function().await;
    let pre = world.a.new_run(&function, Waiter::Caller, ME).await;
    let post = world.a.new_run(&function, Waiter::Nobody, ME).await;
    let user = world.a.new_user("ann").await;
    world.a.store.insert_invocations_later(vec![pre.clone()]);
    let commit = UserCommit {
        change: create(&user),
        completions: vec![world.a.end(&pre, 1, State::Succeeded)],
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

/// No PRE result, no POST run, no signal.
pub async fn a_conflict_writes_nothing(world: World) {
    let function = world.a.some_function().await;
    world.a.user("ann").await;
    let pre = world.a.run(&function, Waiter::Caller, ME).await;
    let post = world.a.new_run(&function, Waiter::Nobody, ME).await;
    let user = world.a.new_user("Ann").await;
    let commit = UserCommit {
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
