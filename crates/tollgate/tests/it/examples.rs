//! The examples do what they say.

use std::io::{BufRead as _, BufReader};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::{fs, io::Read as _, io::Write as _};

/// Built beside this test.
fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let built = test.ancestors().nth(2).unwrap().join("examples").join(name);
    assert!(built.exists(), "{} is not built", built.display());
    built
}

fn order(folder: &Path, arguments: [&str; 3]) -> String {
    let output = Command::new(example("orders"))
        .arg(folder)
        .args(arguments)
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    said
}

#[test]
fn orders_are_priced_refused_and_receipted() {
    if Command::new("python3").arg("--version").output().is_err() {
        eprintln!("SKIPPED: no python3");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let placed = order(folder.path(), ["ann", "lamp", "2"]);
    assert_eq!(placed, "placed ann-lamp-2\nreceipts: 1\n");
    let refused = order(folder.path(), ["ann", "lamp", "11"]);
    let told =
        "refused: PRE_ORDER_CREATE: function 'limit' denied the operation: At most 10 of one kind";
    assert_eq!(refused, format!("{told}\nreceipts: 1\n"));
    let unknown = order(folder.path(), ["ann", "moon", "1"]);
    assert!(unknown.contains("There is no moon"), "{unknown}");
    let database = rusqlite::Connection::open(folder.path().join("tollgate.db")).unwrap();
    let row = database.query_row("SELECT id, price_cents FROM orders", [], |row| {
        Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?))
    });
    assert_eq!(row.unwrap(), ("ann-lamp-2".to_owned(), 9_800));
}

/// Ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Status and body of one request.
fn ask(address: &str, method: &str, path: &str, header: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    let head =
        format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\n{header}Connection: close\r\n");
    write!(stream, "{head}Content-Length: 0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (status, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
}

#[test]
fn another_programs_routes_and_accounts_stand_beside_ours() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(example("axum-embed"));
    let command = command
        .arg(folder.path())
        .arg("127.0.0.1:0")
        .stdout(Stdio::piped());
    let mut running = Running(command.spawn().unwrap());
    let said = BufReader::new(running.0.stdout.take().unwrap())
        .lines()
        .next();
    let said = said.unwrap().unwrap();
    let address = said.strip_prefix("listening on http://").unwrap();

    assert_eq!(ask(address, "POST", "/guests/ann", "").0, 200);
    let (status, refusal) = ask(address, "POST", "/guests/mallory", "");
    assert_eq!(
        (status, refusal.contains("not on the list")),
        (403, true),
        "{refusal}"
    );

    let staff = "X-Staff: secret\r\n";
    let events = "/tollgate/api/cloud/events/";
    assert_eq!(ask(address, "GET", events, "").0, 401);
    assert_eq!(ask(address, "GET", events, "X-Staff: guess\r\n").0, 401);
    let (status, listed) = ask(address, "GET", events, staff);
    assert_eq!(status, 200, "{listed}");
    let own = r#"["PRE_GUEST_ENTER","POST_GUEST_ENTER","POST_GUEST_ENTER_DENIED"]"#;
    assert!(listed.contains(own), "{listed}");
    let (status, runs) = ask(address, "GET", "/tollgate/api/invocations", staff);
    assert_eq!(
        (status, runs.contains("\"total\":2")),
        (200, true),
        "{runs}"
    );
    let (status, functions) = ask(address, "GET", "/tollgate/api/apps/door/functions/", staff);
    assert_eq!(
        (status, functions.contains("bouncer")),
        (200, true),
        "{functions}"
    );
    // Accounts are the program's.
    assert_eq!(ask(address, "GET", "/tollgate/api/users/", staff).0, 404);
    assert!(fs::metadata(folder.path().join("tollgate.db")).is_ok());
}
