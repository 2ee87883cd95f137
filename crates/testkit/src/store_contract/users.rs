//! Users.
#![expect(clippy::missing_panics_doc, reason = "every case is a test")]
#![expect(clippy::unwrap_used, reason = "every case is a test")]

use super::world::{assert_conflict, create, delete, next, update};
use super::{World, everything};
use tollgate_core::ids::UserId;
use tollgate_core::ports::store::{PageRequest, UserChange, UserOrder, UserQuery};
use tollgate_core::users::User;

/// Every field comes back.
pub async fn a_user_is_stored_as_given(world: World) {
    let mut user = world.a.new_user("Jürgen").await;
    user.profile
        .attributes
        .insert("a".into(), serde_json::json!({"b": [1, "\u{1F600}"]}));
    user.profile.is_staff = true;
    user.is_superuser = true;
    world.a.create(&user).await.unwrap();
    assert_eq!(
        world.a.store.user(user.id).await.unwrap(),
        Some(user.clone())
    );
    assert_eq!(
        world.a.store.user_by_name("JÜRGEN").await.unwrap(),
        Some(user.clone())
    );
    assert_eq!(world.a.store.user(UserId(999_999)).await.unwrap(), None);
    assert_eq!(world.a.store.user_by_name("none").await.unwrap(), None);
}

/// Also beyond ASCII, also at the same time as another change.
pub async fn names_are_unique_without_regard_to_case(world: World) {
    let first = world.a.user("Ünal").await;
    let mut second = world.a.new_user("üNAL").await;
    second.profile.email = "other@example.com".to_owned();
    assert_conflict!(world.a.create(&second).await, Username);
    second.profile.username = "other".to_owned();
    second.profile.email = first.profile.email.to_uppercase();
    assert_conflict!(world.a.create(&second).await, Email);
    let store = &world.a.store;
    assert_conflict!(
        store.check_user_is_free("ÜNAL", "x@y.z", None).await,
        Username
    );
    assert_conflict!(
        store
            .check_user_is_free("x", "üNAL@EXAMPLE.com", None)
            .await,
        Email
    );
    store
        .check_user_is_free("ünal", "ÜNAL@example.com", Some(first.id))
        .await
        .unwrap();
    store.check_user_is_free("x", "x@y.z", None).await.unwrap();
    assert_eq!(store.user(second.id).await.unwrap(), None);
}

/// A deleted user is kept, found by no one, and its names are free.
pub async fn deletion_frees_the_names(world: World) {
    let user = world.a.user("ann").await;
    world.a.change(delete(&user)).await.unwrap();
    let store = &world.a.store;
    assert_eq!(store.user(user.id).await.unwrap(), None);
    assert_eq!(store.user_by_name("ann").await.unwrap(), None);
    assert!(
        world
            .system
            .login_record(world.a.site.id, "ann")
            .await
            .unwrap()
            .is_none()
    );
    assert!(
        world
            .system
            .owner(world.a.site.id, user.id, world.now())
            .await
            .unwrap()
            .is_none()
    );
    store
        .check_user_is_free("ann", "ann@example.com", None)
        .await
        .unwrap();
    let again = world.a.user("ann").await;
    assert_ne!(again.id, user.id);
    assert_conflict!(world.a.change(delete(&user)).await, Gone);
    assert_conflict!(world.a.change(update(&next(&user))).await, Gone);
    let deleted = UserQuery {
        is_deleted: true,
        ..UserQuery::default()
    };
    let page = store.list_users(deleted, everything()).await.unwrap();
    assert_eq!(
        page.items.iter().map(|u| u.id).collect::<Vec<_>>(),
        [user.id]
    );
    assert!(page.items[0].is_deleted);
}

/// Of two changes decided on the same revision, the second is refused.
pub async fn updates_guard_on_the_revision(world: World) {
    let user = world.a.user("ann").await;
    let mut changed = next(&user);
    changed.profile.first_name = "Ann".to_owned();
    changed.updated_at = world.in_seconds(1);
    world.a.change(update(&changed)).await.unwrap();
    assert_eq!(
        world.a.store.user(user.id).await.unwrap(),
        Some(changed.clone())
    );
    assert_conflict!(world.a.change(update(&changed)).await, Changed);
    assert_conflict!(world.a.change(delete(&user)).await, Changed);
    assert_conflict!(
        world.a.change(update(&next(&next(&changed)))).await,
        Changed
    );
    assert_eq!(
        world.a.store.user(user.id).await.unwrap(),
        Some(changed.clone())
    );
    world.a.change(update(&next(&changed))).await.unwrap();
    let mut nobody = next(&user);
    nobody.id = UserId(999_999);
    assert_conflict!(world.a.change(update(&nobody)).await, Gone);
}

/// A user's own name is no conflict, in whatever case.
pub async fn an_update_may_keep_its_own_names(world: World) {
    let user = world.a.user("ann").await;
    let mut changed = next(&user);
    changed.profile.username = "ANN".to_owned();
    let change = UserChange::Update {
        user: Box::new(changed.clone()),
        password_hash: Some("hash".into()),
    };
    world.a.change(change).await.unwrap();
    world.a.change(update(&next(&changed))).await.unwrap();
    let login = world
        .system
        .login_record(world.a.site.id, "ann")
        .await
        .unwrap()
        .unwrap();
    assert_eq!(login.user.profile.username, "ANN");
    assert_eq!(
        login.password_hash.as_deref(),
        Some("hash"),
        "no new hash leaves the old one"
    );
}

/// A rename onto another user is refused and changes nothing.
pub async fn updates_meet_other_peoples_names(world: World) {
    let (ann, _) = (world.a.user("ann").await, world.a.user("bob").await);
    let mut changed = next(&ann);
    changed.profile.username = "BOB".to_owned();
    assert_conflict!(world.a.change(update(&changed)).await, Username);
    changed.profile.username = "ann".to_owned();
    changed.profile.email = "Bob@Example.com".to_owned();
    assert_conflict!(world.a.change(update(&changed)).await, Email);
    assert_eq!(world.a.store.user(ann.id).await.unwrap(), Some(ann));
}

/// By the username, by the address, in every spelling.
pub async fn sign_in_finds_users_by_either_name(world: World) {
    let site = world.a.site.id;
    let ann = world.a.new_user("Ann").await;
    let change = UserChange::Create {
        user: Box::new(ann.clone()),
        password_hash: Some("the hash".to_owned()),
    };
    world.a.change(change).await.unwrap();
    for login in [
        "ann",
        "ANN",
        "ａｎｎ",
        " ann ",
        "ann@example.com",
        "Ann@Example.COM",
        "ann＠example．com",
    ] {
        let found = world.system.login_record(site, login).await.unwrap();
        let found = found.unwrap_or_else(|| panic!("{login}"));
        assert_eq!(found.user.id, ann.id, "{login}");
        assert_eq!(found.password_hash.as_deref(), Some("the hash"));
        let user = world.a.store.user_by_name(login).await.unwrap();
        assert_eq!(user.unwrap().id, ann.id, "{login}");
    }
    for nobody in ["nobody", "", "ann@example", "ann@"] {
        let found = world.system.login_record(site, nobody).await.unwrap();
        assert!(found.is_none(), "{nobody}");
    }
}

/// Nobody's address is somebody else's username, whichever of the two came first, however it is
/// written; one's own username may be one's own address.
pub async fn usernames_and_addresses_are_one_namespace(world: World) {
    let ann = world.a.user("ann").await;
    let store = &world.a.store;
    for (username, email, as_username) in [
        ("ann@example.com", "x@example.com", true),
        ("ANN＠Example.com", "x@example.com", true),
        ("ａｎｎ", "x@example.com", true),
        ("x", "ann", false),
        ("x", "Ann@EXAMPLE.com", false),
    ] {
        let mut other = world.a.new_user(username).await;
        other.profile.email = email.to_owned();
        let free = store.check_user_is_free(username, email, None).await;
        let bob = world.a.user("bob").await;
        let mut renamed = next(&bob);
        renamed.profile.username = username.to_owned();
        renamed.profile.email = email.to_owned();
        for refused in [
            world.a.create(&other).await,
            world.a.change(update(&renamed)).await,
            free,
        ] {
            if as_username {
                assert_conflict!(refused, Username);
            } else {
                assert_conflict!(refused, Email);
            }
        }
        world.a.change(delete(&bob)).await.unwrap();
    }
    let mut own = next(&ann);
    own.profile.username = own.profile.email.clone();
    world.a.change(update(&own)).await.unwrap();
    assert_eq!(store.user_by_name("ann").await.unwrap(), None);
    let found = store.user_by_name("ann@example.com").await.unwrap();
    assert_eq!(found.unwrap().id, ann.id);
}

/// Of many changes at once that want one name, as username or as address, one gets it.
pub async fn of_many_claims_of_one_name_one_stands(world: World) {
    let mut changes = Vec::new();
    for n in 0..20 {
        let mut user = world.a.new_user(&format!("u{n}")).await;
        if n % 2 == 0 {
            user.profile.username = "Prize@example.com".to_owned();
        } else {
            user.profile.email = "prize@EXAMPLE.com".to_owned();
        }
        changes.push(user);
    }
    let written = changes.iter().map(|user| world.a.create(user));
    let written = futures_util::future::join_all(written).await;
    assert_eq!(written.iter().filter(|it| it.is_ok()).count(), 1);
    let winner = written.iter().position(Result::is_ok).unwrap();
    let found = world.a.store.user_by_name("prize@example.com").await;
    assert_eq!(found.unwrap().unwrap().id, changes[winner].id);
}

fn names(users: &[User]) -> Vec<&str> {
    users
        .iter()
        .map(|user| user.profile.username.as_str())
        .collect()
}

/// Queries, and which of the users below they must find.
fn queries() -> Vec<(UserQuery, Vec<&'static str>)> {
    let base = UserQuery::default;
    let search = |text: &str| UserQuery {
        search: Some(text.to_owned()),
        ..base()
    };
    let by = |order, descending| UserQuery {
        order,
        descending,
        ..base()
    };
    let all = ["carl", "Ann", "bob", "d_x"];
    vec![
        (base(), all.to_vec()),
        (search("AN"), vec!["Ann"]),
        (search("größe2"), vec!["bob"]),
        (search("GRÖSSE"), all.to_vec()),
        (search("RÖß"), all.to_vec()),
        (search("last"), all.to_vec()),
        (search("%"), vec![]),
        (search("d_x"), vec!["d_x"]),
        (search("c_r"), vec![]),
        (search("  "), all.to_vec()),
        (
            UserQuery {
                is_staff: Some(true),
                ..base()
            },
            vec!["bob"],
        ),
        (
            UserQuery {
                is_active: Some(false),
                ..base()
            },
            vec!["carl"],
        ),
        (
            UserQuery {
                is_superuser: Some(true),
                ..base()
            },
            vec!["Ann"],
        ),
        (
            UserQuery {
                is_deleted: true,
                ..base()
            },
            vec![],
        ),
        (by(UserOrder::Id, true), vec!["d_x", "bob", "Ann", "carl"]),
        (
            by(UserOrder::Username, false),
            vec!["Ann", "bob", "carl", "d_x"],
        ),
        (
            by(UserOrder::Email, true),
            vec!["d_x", "carl", "bob", "Ann"],
        ),
        (
            by(UserOrder::DateJoined, true),
            vec!["d_x", "bob", "Ann", "carl"],
        ),
        (by(UserOrder::LastLogin, false), all.to_vec()),
    ]
}

/// Filters, wildcards that mean nothing, and orders.
pub async fn users_are_listed_sought_and_ordered(world: World) {
    for (number, name) in ["carl", "Ann", "bob", "d_x"].into_iter().enumerate() {
        let mut user = world.a.new_user(name).await;
        user.profile.first_name = format!("Größe{number}");
        user.profile.is_staff = name == "bob";
        user.profile.is_active = name != "carl";
        user.is_superuser = name == "Ann";
        world.a.change(create(&user)).await.unwrap();
    }
    for (query, expected) in queries() {
        let page = world
            .a
            .store
            .list_users(query.clone(), everything())
            .await
            .unwrap();
        assert_eq!(names(&page.items), expected, "{query:?}");
        assert_eq!(page.total, expected.len() as u64, "{query:?}");
    }
}

/// The larger number may be the older one's.
pub async fn users_are_listed_by_time_whatever_their_numbers(world: World) {
    let (mut first, mut second) = (
        world.a.new_user("first").await,
        world.a.new_user("second").await,
    );
    first.date_joined = world.in_seconds(2);
    second.date_joined = world.in_seconds(1);
    for user in [&first, &second] {
        world.a.create(user).await.unwrap();
    }
    let listed = world.a.store.list_users(UserQuery::default(), everything());
    assert_eq!(names(&listed.await.unwrap().items), ["second", "first"]);
}

/// Pages do not overlap, and a page beyond the end is empty with the same total.
pub async fn pages_have_totals(world: World) {
    for number in 0..7 {
        world.a.user(&format!("user{number}")).await;
    }
    let mut seen = Vec::new();
    for offset in [0, 3, 6, 9] {
        let page = PageRequest { limit: 3, offset };
        let page = world
            .a
            .store
            .list_users(UserQuery::default(), page)
            .await
            .unwrap();
        assert_eq!(page.total, 7);
        seen.extend(page.items.iter().map(|user| user.profile.username.clone()));
    }
    assert_eq!(
        seen,
        (0..7)
            .map(|number| format!("user{number}"))
            .collect::<Vec<_>>()
    );
}
