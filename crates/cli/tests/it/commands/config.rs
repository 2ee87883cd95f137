//! `tollgate config`, and settings that do not hold.

use crate::support::folder::Folder;

#[tokio::test]
async fn the_settings_in_force_are_shown_without_secrets() {
    let folder = Folder::new();
    folder.write(
        "tollgate.toml",
        "grace_seconds = 7.0\nbase_domain = \"from.file\"\n",
    );
    let variables = [
        ("TOLLGATE_ADMIN_PASSWORD", "hunter2hunter2"),
        ("TOLLGATE_BASE_DOMAIN", "env.test"),
    ];
    let said = folder
        .run_with(&["config", "show", "--data-dir", "elsewhere"], &variables)
        .await;
    assert_eq!(said.stderr, "");
    let shown = said.ok();
    for line in [
        "grace_seconds = 7.0",
        "base_domain = \"env.test\"",
        "data_dir = \"elsewhere\"",
        "admin_password = \"********\"",
    ] {
        assert!(shown.lines().any(|shown| shown == line), "{line}:\n{shown}");
    }
    assert!(!shown.contains("hunter2"), "{shown}");
    let json = folder
        .run_with(&["config", "show", "--json"], &variables)
        .await
        .json();
    assert_eq!(json["admin_password"], "********");
    assert!(
        !folder.data().exists(),
        "showing settings made a data folder"
    );
}

#[tokio::test]
async fn the_default_file_can_be_used_as_it_is() {
    let folder = Folder::new();
    let defaults = folder.run(&["config", "show", "--default"]).await.ok();
    assert!(
        defaults.contains("# Every setting of tollgate"),
        "{defaults}"
    );
    let plain = folder.run(&["config", "show"]).await.ok();
    folder.write("tollgate.toml", &defaults);
    assert_eq!(folder.run(&["config", "show"]).await.ok(), plain);
}

#[tokio::test]
async fn a_key_that_does_not_exist_is_named() {
    let folder = Folder::new();
    folder.write("tollgate.toml", "lisen = \"127.0.0.1:1\"\n");
    for args in [&["config", "show"][..], &["serve"], &["migrate"]] {
        let error = folder.run(args).await.refused();
        assert!(
            error.contains("lisen") && error.contains("tollgate.toml"),
            "{error}"
        );
    }
    let folder = Folder::new();
    folder.write("tollgate.toml", "[events]\npre_bugdet_seconds = 3.0\n");
    let error = folder.run(&["config", "show"]).await.refused();
    assert!(error.contains("pre_bugdet_seconds"), "{error}");
    assert!(
        !folder.data().exists(),
        "a refused start made a data folder"
    );
}

#[tokio::test]
async fn a_bad_value_in_the_environment_is_named() {
    let folder = Folder::new();
    for (variable, value, key) in [
        ("TOLLGATE_LISTEN", "nowhere", "listen"),
        ("TOLLGATE_GRACE_SECONDS", "-1", "grace_seconds"),
        ("TOLLGATE_LOG_FORMAT", "xml", "log_format"),
        (
            "TOLLGATE_EVENTS__PRE_BUDGET_SECONDS",
            "soon",
            "pre_budget_seconds",
        ),
        ("TOLLGATE_DATABASE_URL", "mysql://x", "database_url"),
        ("TOLLGATE_LISEN", "127.0.0.1:1", "lisen"),
    ] {
        let error = folder
            .run_with(&["config", "show"], &[(variable, value)])
            .await
            .refused();
        assert!(error.to_lowercase().contains(key), "{variable}: {error}");
    }
}

#[tokio::test]
async fn a_settings_file_that_is_named_must_exist() {
    let folder = Folder::new();
    let error = folder
        .run(&["config", "show", "--config", "other.toml"])
        .await
        .refused();
    assert!(error.contains("other.toml"), "{error}");
}
