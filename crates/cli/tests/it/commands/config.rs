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
    ] {
        let error = folder
            .run_with(&["config", "show"], &[(variable, value)])
            .await
            .refused();
        assert!(error.to_lowercase().contains(key), "{variable}: {error}");
    }
}

/// Variable, value, and what the error says.
const WRONG_VARIABLES: &[(&str, &str, &str)] = &[
    (
        "TOLLGATE_OUTBOUND__PORTS",
        "80,abc",
        "TOLLGATE_OUTBOUND__PORTS = [80,\"abc\"]: use a whole number, not \"abc\"",
    ),
    (
        "TOLLGATE_OUTBOUND__PORTS",
        "80,-1",
        "TOLLGATE_OUTBOUND__PORTS = [80,-1]: use a whole number that is not negative",
    ),
    (
        "TOLLGATE_LOG",
        "inof",
        "TOLLGATE_LOG = \"inof\": `inof` is no level; did you mean `info`?",
    ),
    ("TOLLGATE_LOG", "info,nonsense", "`nonsense` is no level"),
    ("TOLLGATE_LOG", "info,a=b=c", "TOLLGATE_LOG = "),
    (
        "TOLLGATE_BASE_DOMAIN",
        "http://example.com",
        "TOLLGATE_BASE_DOMAIN = \"http://example.com\": use a host name",
    ),
    ("TOLLGATE_BASE_DOMAIN", "example.com:80", "use a host name"),
    (
        "TOLLGATE_SECRETS_KEY",
        "abc",
        "TOLLGATE_SECRETS_KEY = \"********\": this is not a key",
    ),
    (
        "TOLLGATE_HTTP__CONNECTIONS",
        "many",
        "TOLLGATE_HTTP__CONNECTIONS = \"many\": use a whole number",
    ),
    (
        "TOLLGATE_HTTP__CONNECTIONS",
        "-5",
        "use a whole number that is not negative",
    ),
    (
        "TOLLGATE_OUTBOUND__ALLOW_PRIVATE",
        "perhaps",
        "use true or false",
    ),
    ("TOLLGATE_LOG_FORMAT", "xml", "use one of text, json"),
    (
        "TOLLGATE_GRACE_SECONDS",
        "nan",
        "TOLLGATE_GRACE_SECONDS = NaN",
    ),
];

/// A settings file, and what the error says.
const WRONG_FILES: &[(&str, &str)] = &[
    (
        "[outbound]\nports = [80, \"abc\"]\n",
        "tollgate.toml, line 2: outbound.ports = [80,\"abc\"]",
    ),
    (
        "[htp]\nconnections = 5\n",
        "unknown setting `htp`; did you mean `http`?",
    ),
    (
        "http = 5\n",
        "tollgate.toml, line 1: http = 5: this is a table",
    ),
    ("listen = 5\n", "listen = 5: use text in quotes"),
    ("log = \"inof\"\n", "tollgate.toml, line 1: log = \"inof\""),
    (
        "[http]\nconnections = \"x\"\n",
        "line 2: http.connections = \"x\": use a whole number",
    ),
    ("[http]\ncors_origins = 5\n", "use a list in brackets"),
    ("[http]\ncors_origins = [5]\n", "use text in quotes, not 5"),
];

/// What is wrong is told where it was written, in words of who wrote it.
#[tokio::test]
async fn a_bad_value_is_named_as_it_was_written() {
    let folder = Folder::new();
    for (variable, value, says) in WRONG_VARIABLES {
        let said = folder
            .run_with(&["config", "show"], &[(*variable, *value)])
            .await;
        let error = said.refused();
        assert!(error.contains(says), "{variable}={value}: {error}");
        for word in ["usize", "u16", "struct", "null", "__1"] {
            assert!(!error.contains(word), "{variable}={value}: {error}");
        }
    }
    for (file, says) in WRONG_FILES {
        let folder = Folder::new();
        folder.write("tollgate.toml", file);
        let error = folder.run(&["config", "show"]).await.refused();
        assert!(error.contains(says), "{file}: {error}");
        for word in ["usize", "u16", "struct", "null"] {
            assert!(!error.contains(word), "{file}: {error}");
        }
    }
    let error = folder
        .run(&["config", "show", "--log", "nonsense"])
        .await
        .refused();
    assert!(error.contains("--log = \"nonsense\""), "{error}");
    for log in [
        "info",
        "INFO",
        "off",
        "warn,tollgate_exec=debug",
        "tollgate_exec=trace",
    ] {
        folder
            .run_with(&["config", "show"], &[("TOLLGATE_LOG", log)])
            .await
            .ok();
    }
}

#[test]
fn a_value_that_is_no_text_is_refused_and_not_changed() {
    use std::os::unix::ffi::OsStrExt as _;
    let folder = Folder::new();
    for name in ["TOLLGATE_ADMIN_PASSWORD", "TOLLGATE_LISTEN"] {
        let value = std::ffi::OsStr::from_bytes(b"pass\xffword");
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_tollgate"));
        command.current_dir(folder.path()).env(name, value);
        let said = command.args(["config", "show"]).output().unwrap();
        let error = String::from_utf8_lossy(&said.stderr);
        assert!(!said.status.success(), "{error}");
        assert!(
            error.contains(name) && error.contains("is not text in UTF-8"),
            "{error}"
        );
        assert!(!error.contains("pass"), "{error}");
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

#[tokio::test]
async fn an_unknown_variable_is_a_warning_that_names_what_is_near() {
    let folder = Folder::new();
    for (variable, meant) in [
        ("TOLLGATE_LISEN", "did you mean `TOLLGATE_LISTEN`?"),
        (
            "TOLLGATE_HTTP_CONNECTIONS",
            "did you mean `TOLLGATE_HTTP__CONNECTIONS`?",
        ),
        (
            "TOLLGATE_PRE_BUDGET_SECONDS",
            "did you mean `TOLLGATE_EVENTS__PRE_BUDGET_SECONDS`?",
        ),
        ("TOLLGATE_SOMETHING_ELSE", "is no setting and is ignored"),
    ] {
        let said = folder
            .run_with(&["config", "show"], &[(variable, "127.0.0.1:1")])
            .await;
        assert!(
            said.stderr.contains(variable) && said.stderr.contains(meant),
            "{said:?}"
        );
        said.ok();
    }
}

#[tokio::test]
async fn what_kubernetes_sets_for_a_service_named_tollgate_says_nothing() {
    let folder = std::sync::Arc::new(Folder::new());
    let variables = [
        ("TOLLGATE_PORT", "tcp://10.96.0.7:8000"),
        ("TOLLGATE_SERVICE_HOST", "10.96.0.7"),
        ("TOLLGATE_SERVICE_PORT", "8000"),
        ("TOLLGATE_SERVICE_PORT_HTTP", "8000"),
        ("TOLLGATE_PORT_8000_TCP", "tcp://10.96.0.7:8000"),
        ("TOLLGATE_PORT_8000_TCP_ADDR", "10.96.0.7"),
        ("TOLLGATE_PORT_8000_TCP_PORT", "8000"),
        ("TOLLGATE_PORT_8000_TCP_PROTO", "tcp"),
        ("TOLLGATE_API_SERVICE_HOST", "10.96.0.9"),
        ("TOLLGATE_API_PORT_80_TCP_ADDR", "10.96.0.9"),
    ];
    let said = folder.run_with(&["config", "show"], &variables).await;
    assert_eq!(said.stderr, "");
    said.ok();
    let server = crate::support::server::Server::start_in(&folder, &[], &variables).await;
    server.stop().await;
}

#[tokio::test]
async fn an_error_names_the_setting_as_it_was_written() {
    let folder = Folder::new();
    let show = ["config", "show"];
    folder.write(
        "tollgate.toml",
        "log = \"info\"\n\n[http]\nconections = 5\n[evnts]\nx = 1\n",
    );
    let error = folder.run(&show).await.refused();
    for text in [
        "tollgate.toml, line 4: unknown setting `http.conections`; did you mean `http.connections`?",
        "tollgate.toml, line 5: unknown setting `evnts`",
    ] {
        assert!(error.contains(text), "{text}: {error}");
    }
    folder.write("tollgate.toml", "\n[http]\nconnections = 0\n");
    let error = folder.run(&show).await.refused();
    assert!(
        error.contains("tollgate.toml, line 3: http.connections = \"0\""),
        "{error}"
    );
    folder.write("tollgate.toml", "listen = 8000\n");
    let error = folder.run(&show).await.refused();
    assert!(
        error.contains("tollgate.toml, line 1: listen = 8000"),
        "{error}"
    );
    folder.write("tollgate.toml", "listen = \n");
    let error = folder.run(&show).await.refused();
    assert!(error.contains("tollgate.toml, line 1, column"), "{error}");
    folder.write("tollgate.toml", "admin_password = 12345678\n");
    let error = folder.run(&show).await.refused();
    assert!(
        error.contains("admin_password") && !error.contains("12345678"),
        "{error}"
    );
    folder.write("tollgate.toml", "");
    for (variable, value) in [
        ("TOLLGATE_HTTP__CONNECTIONS", "many"),
        ("TOLLGATE_HTTP__CONNECTIONS", "0"),
        ("TOLLGATE_LISTEN", "tcp://10.0.0.1:80"),
        ("TOLLGATE_PYTHON__WORKERS", "-1"),
    ] {
        let error = folder.run_with(&show, &[(variable, value)]).await.refused();
        assert!(error.contains(&format!("{variable} = ")), "{error}");
    }
    let error = folder
        .run(&["serve", "--listen", "nowhere"])
        .await
        .refused();
    assert!(
        error.contains("--listen = \"nowhere\"") && error.contains("localhost:8000"),
        "{error}"
    );
}

#[tokio::test]
async fn a_text_setting_may_look_like_a_number() {
    let folder = Folder::new();
    let variables = [
        ("TOLLGATE_ADMIN_PASSWORD", "12345678"),
        ("TOLLGATE_BASE_DOMAIN", "true"),
        ("TOLLGATE_OUTBOUND__PORTS", "80,8443"),
        ("TOLLGATE_LISTEN", "localhost:8000"),
        ("TOLLGATE_GRACE_SECONDS", "7"),
    ];
    let shown = folder
        .run_with(&["config", "show", "--json"], &variables)
        .await
        .json();
    assert_eq!(shown["base_domain"], "true");
    assert_eq!(shown["outbound"]["ports"], serde_json::json!([80, 8443]));
    assert_eq!(shown["listen"], "localhost:8000");
    assert_eq!(shown["grace_seconds"], 7.0);
}
