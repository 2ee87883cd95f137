//! Files of versions.
#![expect(clippy::missing_panics_doc, reason = "every case is a test")]
#![expect(clippy::unwrap_used, reason = "every case is a test")]

use super::World;
use tollgate_core::functions::{Bundle, BundleDigest, BundleRef, Environment, Source};
use tollgate_core::limits;
use tollgate_core::time::Timestamp;

fn bundle(content: &str) -> (BundleDigest, Vec<u8>, Source) {
    let mut bundle = Bundle::default();
    bundle.add("main.py", content.as_bytes().to_vec()).unwrap();
    bundle.add("data/x", vec![0xff, 0]).unwrap();
    let encoded = bundle.encode();
    let digest = BundleDigest::of(&encoded);
    let named = BundleRef {
        digest: digest.clone(),
        file: "main.py".to_owned(),
        files: 2,
        bytes: bundle.bytes(),
    };
    let source = Source::App {
        environment: Environment::Python,
        code: content.into(),
        entrypoint: Some("main:run".parse().unwrap()),
        bundle: Some(named),
    };
    (digest, encoded, source)
}

/// They are read as they came, by whoever runs the function too, and by no other site.
pub async fn files_are_kept_under_what_is_in_them(world: World) {
    let (digest, encoded, source) = bundle("1");
    assert_eq!(world.a.store.bundle(&digest).await.unwrap(), None);
    for _ in 0..2 {
        let kept = (digest.clone(), encoded.clone(), world.now());
        world
            .a
            .store
            .keep_bundle(kept.0, kept.1, kept.2)
            .await
            .unwrap();
    }
    let stored = world.a.store.bundle(&digest).await.unwrap();
    assert_eq!(stored.as_ref(), Some(&encoded));
    let site = world.a.site.id;
    assert_eq!(world.system.bundle_of(site, &digest).await.unwrap(), stored);
    assert_eq!(world.b.store.bundle(&digest).await.unwrap(), None);
    let other = world.b.site.id;
    assert_eq!(world.system.bundle_of(other, &digest).await.unwrap(), None);

    let app = world.a.app("crm").await;
    let mut new = world.a.new_function(app.id, "check");
    new.source = source.clone();
    let function = world.a.store.insert_function(new).await.unwrap();
    let version = world.a.store.version(function.id, 1).await.unwrap();
    assert_eq!(version.unwrap().source, source);
    let executable = world.a.store.executable(function.id).await.unwrap();
    assert_eq!(executable.unwrap().source, source);
}

/// What a version of a living function names stays, and so does what came a short while ago.
pub async fn files_go_when_no_version_names_them_any_more(world: World) {
    let sweep = async |at: Timestamp| {
        let before = at.minus(limits::BUNDLE_UNUSED);
        world.system.sweep_bundles(10, before).await.unwrap()
    };
    let keep = async |content: &str, at: Timestamp| {
        let (digest, encoded, source) = bundle(content);
        let store = &world.a.store;
        store
            .keep_bundle(digest.clone(), encoded, at)
            .await
            .unwrap();
        (digest, source)
    };
    let begin = world.now();
    let (first, source) = keep("1", begin).await;
    let (second, later) = keep("2", begin).await;
    let (unused, _) = keep("3", begin).await;
    let app = world.a.app("crm").await;
    let mut new = world.a.new_function(app.id, "check");
    new.source = source;
    let function = world.a.store.insert_function(new).await.unwrap();
    let inserted = world
        .a
        .store
        .insert_version(function.id, later, begin)
        .await;
    inserted.unwrap();

    let old = begin.plus(limits::BUNDLE_UNUSED * 2);
    assert_eq!(sweep(begin.plus(limits::BUNDLE_UNUSED)).await, 0);
    // It comes once more, so its time begins anew.
    keep("3", old).await;
    assert_eq!(sweep(old.plus(limits::BUNDLE_UNUSED / 2)).await, 0);
    let over = old.plus(limits::BUNDLE_UNUSED * 2);
    assert_eq!(sweep(over).await, 1);
    assert_eq!(world.a.store.bundle(&unused).await.unwrap(), None);
    for named in [&first, &second] {
        assert!(world.a.store.bundle(named).await.unwrap().is_some());
    }
    let deleted = world.a.store.delete_function(function.id, over, None).await;
    assert!(deleted.unwrap());
    assert_eq!(world.system.sweep_bundles(1, over).await.unwrap(), 1);
    assert_eq!(world.system.sweep_bundles(10, over).await.unwrap(), 1);
    assert_eq!(world.system.sweep_bundles(10, over).await.unwrap(), 0);
}
