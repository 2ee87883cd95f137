//! Sites, ids and health.
#![expect(clippy::missing_panics_doc, reason = "every case is a test")]
#![expect(clippy::unwrap_used, reason = "every case is a test")]

use super::World;
use super::world::assert_conflict;
use std::collections::HashSet;
use tollgate_core::egress::EgressHosts;
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
        damaged: Vec::new(),
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

/// A host name is added to one site and taken from it again.
pub async fn a_domain_is_added_and_removed(world: World) {
    let (ours, theirs, system) = (world.a.site.id, world.b.site.id, &world.system);
    for _ in 0..2 {
        system
            .add_site_domain(ours, "new.example.com")
            .await
            .unwrap();
    }
    assert_conflict!(
        system.add_site_domain(theirs, "new.example.com").await,
        Site
    );
    assert_conflict!(
        system.add_site_domain(SiteId(999), "x.example.com").await,
        Gone
    );
    let sites = system.sites().await.unwrap();
    assert!(
        sites[0].domains.contains(&"new.example.com".to_owned()),
        "{sites:?}"
    );
    assert!(
        !system
            .remove_site_domain(theirs, "new.example.com")
            .await
            .unwrap()
    );
    assert!(
        system
            .remove_site_domain(ours, "new.example.com")
            .await
            .unwrap()
    );
    assert_eq!(
        system.sites().await.unwrap(),
        [world.a.site.clone(), world.b.site.clone()]
    );
}

/// Blocks do not overlap, whoever asks.
pub async fn ids_are_never_reserved_twice(world: World) {
    for kind in [
        IdKind::User,
        IdKind::Invocation,
        IdKind::Function,
        IdKind::Version,
    ] {
        let blocks = (0..50).map(|count| world.system.reserve_ids(kind, count));
        let blocks = futures_util::future::try_join_all(blocks).await.unwrap();
        let ids: Vec<i64> = blocks.into_iter().flatten().collect();
        assert_eq!(ids.len(), (0..50).sum::<usize>());
        assert!(ids.iter().all(|id| *id > 0));
        assert_eq!(ids.iter().collect::<HashSet<_>>().len(), ids.len());
    }
}

/// Every public host at first; what is set shows in the site's functions, and in no other's.
pub async fn a_sites_egress_goes_with_its_functions(world: World) {
    let (site, system) = (world.a.site.id, &world.system);
    let function = world.a.some_function().await;
    let theirs = world.b.some_function().await;
    let any = EgressHosts::default();
    assert_eq!(system.egress_hosts(site).await.unwrap(), any);
    let hosts = EgressHosts::parse(&["api.example.com".into(), "*.b.test".into()]).unwrap();
    system.set_egress_hosts(site, hosts.clone()).await.unwrap();
    assert_eq!(system.egress_hosts(site).await.unwrap(), hosts);
    let runs = world
        .a
        .store
        .executable(function.id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(runs.egress_hosts, hosts);
    let runs = world.b.store.executable(theirs.id).await.unwrap().unwrap();
    assert_eq!(runs.egress_hosts, any);
    let nowhere = SiteId(999);
    assert_conflict!(system.egress_hosts(nowhere).await, Gone);
    assert_conflict!(system.set_egress_hosts(nowhere, any).await, Gone);
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
