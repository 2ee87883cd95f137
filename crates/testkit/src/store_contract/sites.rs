//! Sites, ids and health.
#![expect(clippy::missing_panics_doc, reason = "every case is a test")]
#![expect(clippy::unwrap_used, reason = "every case is a test")]

use super::World;
use super::world::assert_conflict;
use std::collections::HashSet;
use tollgate_core::ids::SiteId;
use tollgate_core::ports::store::IdKind;
use tollgate_core::site::Site;
use tollgate_core::vault::Sealed;

/// What is stored is listed, domains included.
pub async fn sites_are_listed_with_their_domains(world: World) {
    let sites = world.system.sites().await.unwrap();
    assert_eq!(sites, [world.a.site.clone(), world.b.site.clone()]);
    assert_ne!(world.a.site.id, world.b.site.id);
}

/// A slug and a domain lead to one site; nothing of a refused site stays.
pub async fn slugs_and_domains_are_taken_once(world: World) {
    let new = |slug: &str, domains: &[&str]| Site {
        id: SiteId(0),
        slug: slug.to_owned(),
        name: slug.to_owned(),
        domains: domains.iter().map(|domain| (*domain).to_owned()).collect(),
        created_at: world.now(),
    };
    assert_conflict!(world.system.insert_site(new("alpha", &[])).await, Site);
    let taken = new("gamma", &["gamma.example.com", "alpha.example.com"]);
    assert_conflict!(world.system.insert_site(taken).await, Site);
    assert_eq!(world.system.sites().await.unwrap().len(), 2);
    world
        .system
        .insert_site(new("gamma", &["gamma.example.com"]))
        .await
        .unwrap();
}

/// Blocks do not overlap, whoever asks.
pub async fn ids_are_never_reserved_twice(world: World) {
    for kind in [IdKind::User, IdKind::Invocation] {
        let blocks = (0..50).map(|count| world.system.reserve_ids(kind, count));
        let blocks = futures_util::future::try_join_all(blocks).await.unwrap();
        let ids: Vec<i64> = blocks.into_iter().flatten().collect();
        assert_eq!(ids.len(), (0..50).sum::<usize>());
        assert!(ids.iter().all(|id| *id > 0));
        assert_eq!(ids.iter().collect::<HashSet<_>>().len(), ids.len());
    }
}

/// The first value stays.
pub async fn the_vault_check_is_stored_once(world: World) {
    let (first, second) = (Sealed(vec![1; 40]), Sealed(vec![2; 40]));
    let stored = world.system.vault_check(first.clone()).await.unwrap();
    assert_eq!(stored, first);
    assert_eq!(world.system.vault_check(second).await.unwrap(), first);
}

/// A healthy store says so.
pub async fn ping_answers(world: World) {
    world.system.ping().await.unwrap();
}
