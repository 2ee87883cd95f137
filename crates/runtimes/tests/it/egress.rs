//! The way out of functions: real Python, real sockets of this machine, the guarded client between.

use crate::support::{Python, failure, function_with, python_with, skipped, value};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::net::TcpListener;
use tollgate_core::egress::EgressHosts;
use tollgate_core::functions::{Executable, FunctionOptions, Network};
use tollgate_core::limits;
use tollgate_core::supervise::Supervisor;
use tollgate_runtimes::{Interpreter, Outbound, OutboundConfig, ProcessConfig};
use wiremock::matchers::{method, path};
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

pub(crate) fn egress() -> FunctionOptions {
    FunctionOptions {
        network: Network::Egress,
        ..FunctionOptions::default()
    }
}

pub(crate) fn let_out(config: &mut ProcessConfig, allow_private: bool) {
    let outbound = OutboundConfig {
        allow_private,
        ..OutboundConfig::default()
    };
    config.outbound = Some(Outbound::new(outbound, &Supervisor::default()).unwrap());
}

fn python() -> Option<Python> {
    python_with(|config| let_out(config, true))
}

/// The Python that has `requests` and `httpx`; none, loudly, where there is none.
fn python_with_libraries() -> Option<Python> {
    let program = std::env::var_os("TEST_CLIENT_PYTHON").map_or("python3".into(), PathBuf::from);
    let asked = std::process::Command::new(&program)
        .args(["-c", "import requests, httpx"])
        .output();
    if !asked.is_ok_and(|answer| answer.status.success()) {
        skipped("requests and httpx: name a Python that has them in TEST_CLIENT_PYTHON");
        return None;
    }
    python_with(|config| {
        config.python = Interpreter::find(&program).unwrap();
        let_out(config, true);
    })
}

/// Answers with what it was asked, and leads elsewhere where it is asked to.
pub(crate) async fn server() -> MockServer {
    let server = MockServer::start().await;
    let echo = |request: &Request| {
        let headers: serde_json::Map<_, _> = request
            .headers
            .iter()
            .map(|(name, value)| (name.to_string(), json!(value.to_str().unwrap())))
            .collect();
        let told = json!({
            "method": request.method.as_str(),
            "path": request.url.path(),
            "query": request.url.query(),
            "headers": headers,
            "body": String::from_utf8_lossy(&request.body),
        });
        ResponseTemplate::new(200)
            .append_header("x-many", "one")
            .append_header("x-many", "two")
            .set_body_json(told)
    };
    let to = |place: &str| ResponseTemplate::new(302).insert_header("location", place);
    for (from, template) in [
        ("/once", to("/echo")),
        ("/for-ever", to("/for-ever")),
        ("/metadata", to("http://169.254.169.254/latest/meta-data/")),
        ("/file", to("file:///etc/passwd")),
        (
            "/missing",
            ResponseTemplate::new(404).set_body_string("none here"),
        ),
        (
            "/large",
            ResponseTemplate::new(200).set_body_bytes(vec![b'x'; limits::EGRESS_REPLY_BYTES + 1]),
        ),
        (
            "/slow",
            ResponseTemplate::new(200).set_delay(std::time::Duration::from_secs(600)),
        ),
    ] {
        Mock::given(path(from))
            .respond_with(template)
            .mount(&server)
            .await;
    }
    let keep = ResponseTemplate::new(307).insert_header("location", "/echo");
    Mock::given(method("POST"))
        .and(path("/again"))
        .respond_with(keep)
        .mount(&server)
        .await;
    Mock::given(path("/echo"))
        .respond_with(echo)
        .mount(&server)
        .await;
    server
}

async fn run(python: &Python, function: &Arc<Executable>, server: &MockServer) -> Value {
    let report = python.call(function, json!({"at": server.uri()})).await;
    value(&report)
}

const BY_CLIENT: &str = "\
def main(params, user_data, sdk_client):
    http, at = sdk_client.http, params['at']
    posted = http.post(at + '/echo?a=1', json={'x': 1}, headers={'X-Own': 'yes'}, timeout=30)
    raw = http.request('PUT', at + '/echo', body=b'bytes')
    seen = {'status': posted.status, 'ok': posted.ok, 'told': posted.json(), 'many': posted.headers['x-many'],
            'raw': raw.json()['body'], 'verb': raw.json()['method']}
    missing = http.get(at + '/missing')
    seen['missing'] = [missing.status, missing.text]
    moved = http.get(at + '/once', headers={'Authorization': 'Bearer t'})
    seen['moved'] = [moved.status, moved.url.replace(at, ''), moved.json()['headers'].get('authorization')]
    seen['still'] = http.get(at + '/once', redirects=0).status
    seen['kept'] = http.post(at + '/again', body='again').json()['body']
    seen['for_ever'] = http.get(at + '/for-ever').status
    for name, call in {
        'metadata': lambda: http.get(at + '/metadata'),
        'file': lambda: http.get(at + '/file'),
        'large': lambda: http.get(at + '/large'),
        'slow': lambda: http.get(at + '/slow', timeout=0.05),
        'scheme': lambda: http.get('ftp://example.com/'),
        'userinfo': lambda: http.get('http://a:b@example.com/'),
        'host_header': lambda: http.get(at + '/echo', headers={'Host': 'other'}),
        'connect': lambda: http.request('CONNECT', at),
        'too_much': lambda: http.post(at + '/echo', body=b'x' * (4 * 1024 * 1024 + 1)),
        'method': lambda: http.request('A B', at),
    }.items():
        try:
            seen[name] = repr(call())
        except PlatformError as error:
            seen[name] = [error.status, error.code]
    return seen
";

#[tokio::test(flavor = "multi_thread")]
async fn a_function_makes_requests_through_the_server() {
    let Some(python) = python() else { return };
    let server = server().await;
    let seen = run(&python, &function_with(BY_CLIENT, egress()), &server).await;
    assert_eq!(
        (&seen["status"], &seen["ok"], &seen["many"]),
        (&json!(200), &json!(true), &json!("one, two"))
    );
    let told = &seen["told"];
    assert_eq!(
        (&told["method"], &told["path"], &told["query"]),
        (&json!("POST"), &json!("/echo"), &json!("a=1"))
    );
    assert_eq!(
        (&told["body"], &told["headers"]["x-own"]),
        (&json!("{\"x\": 1}"), &json!("yes"))
    );
    assert_eq!(told["headers"]["content-type"], "application/json");
    assert_eq!(
        (&seen["raw"], &seen["verb"]),
        (&json!("bytes"), &json!("PUT"))
    );
    assert_eq!(seen["missing"], json!([404, "none here"]));
    assert_eq!(seen["moved"], json!([200, "/echo", "Bearer t"]));
    assert_eq!(
        (&seen["still"], &seen["kept"], &seen["for_ever"]),
        (&json!(302), &json!("again"), &json!(302))
    );
    for (name, status) in [
        ("metadata", 403),
        ("file", 403),
        ("large", 413),
        ("slow", 504),
        ("scheme", 403),
        ("userinfo", 403),
        ("host_header", 400),
        ("connect", 400),
        ("too_much", 413),
        ("method", 400),
    ] {
        assert_eq!(seen[name][0], status, "{name}: {seen}");
    }
    let requests = server.received_requests().await.unwrap();
    let circles = requests
        .iter()
        .filter(|it| it.url.path() == "/for-ever")
        .count();
    assert_eq!(circles, 1 + usize::from(limits::EGRESS_REDIRECTS));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_origin_is_not_told_the_credentials() {
    let Some(python) = python() else { return };
    let (server, other) = (server().await, server().await);
    let there =
        ResponseTemplate::new(307).insert_header("location", format!("{}/echo", other.uri()));
    Mock::given(path("/leave"))
        .respond_with(there)
        .mount(&server)
        .await;
    let code = "\
def main(params, user_data, sdk_client):
    headers = {'Authorization': 'Bearer t', 'Cookie': 'c=1', 'X-Own': 'yes'}
    told = sdk_client.http.get(params['at'] + '/leave', headers=headers).json()['headers']
    return sorted(set(told) & {'authorization', 'cookie', 'x-own'})
";
    let seen = run(&python, &function_with(code, egress()), &server).await;
    assert_eq!(seen, json!(["x-own"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_without_network_is_told_what_to_do() {
    let Some(python) = python() else { return };
    let server = server().await;
    let code = "\
import http.client, urllib.request

def main(params, user_data, sdk_client):
    seen = []
    for way in (lambda: sdk_client.http.get(params['at']), lambda: urllib.request.urlopen(params['at'])):
        try:
            way()
        except Exception as error:
            seen.append(str(error))
    return seen
";
    let function = function_with(code, FunctionOptions::default());
    let seen = run(&python, &function, &server).await;
    for told in seen.as_array().unwrap() {
        assert!(
            told.as_str()
                .unwrap()
                .contains("set its `network` to \"egress\""),
            "{told}"
        );
    }
    assert_eq!(seen.as_array().unwrap().len(), 2);
    assert_eq!(server.received_requests().await.unwrap().len(), 0);
}

/// Tries this machine in several spellings.
const INWARD: &str = "\
def main(params, user_data, sdk_client):
    seen = {}
    for url in params['urls']:
        try:
            seen[url] = sdk_client.http.get(url, timeout=20).status
        except PlatformError as error:
            seen[url] = error.status
    return seen
";

#[tokio::test(flavor = "multi_thread")]
async fn without_the_operators_leave_nothing_private_is_reached() {
    let Some(python) = python_with(|config| let_out(config, false)) else {
        return;
    };
    let canary = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = canary.local_addr().unwrap().port();
    let hosts = [
        "127.0.0.1",
        "0x7f.1",
        "2130706433",
        "127.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "localhost",
        "[64:ff9b::7f00:1]",
        "0.0.0.0",
        "169.254.169.254",
        "10.0.0.1",
    ];
    let urls: Vec<_> = hosts
        .iter()
        .map(|host| format!("http://{host}:{port}/"))
        .collect();
    let function = function_with(INWARD, egress());
    let report = python.call(&function, json!({"urls": urls})).await;
    let seen = value(&report);
    for (url, status) in seen.as_object().unwrap() {
        // A name needs somebody who resolves it, which a test machine may not have.
        let name = url.contains("localhost");
        assert!(status == 403 || name && status == 503, "{url}: {status}");
    }
    assert_eq!(seen.as_object().unwrap().len(), hosts.len());
    tokio::select! {
        biased;
        came = canary.accept() => panic!("a connection came: {came:?}"),
        () = std::future::ready(()) => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_may_allow_some_hosts_only() {
    let Some(python) = python() else { return };
    let server = server().await;
    let port = server.address().port();
    let with = |hosts: &[&str]| {
        let hosts: Vec<_> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let mut function = Executable::clone(&function_with(INWARD, egress()));
        function.egress_hosts = EgressHosts::parse(&hosts).unwrap();
        Arc::new(function)
    };
    let url = format!("http://127.0.0.1:{port}/once");
    for (hosts, status) in [
        (&["api.example.com"][..], 403),
        (&["api.example.com", "127.0.0.1"], 200),
        (&[], 200),
    ] {
        let report = python.call(&with(hosts), json!({"urls": [url]})).await;
        assert_eq!(value(&report)[&url], status, "{hosts:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_ends_with_its_run() {
    let Some(python) = python() else { return };
    let server = server().await;
    let code = "\
def main(params, user_data, sdk_client):
    sdk_client.http.get(params['at'] + '/slow')
";
    let function = function_with(code, egress());
    let limit = std::time::Duration::from_millis(700);
    let params = json!({"at": server.uri()});
    let report = python.call_within(&function, params, limit).await;
    assert_eq!(failure(&report).kind.as_str(), "timeout");
}

const BY_STANDARD_LIBRARY: &str = "\
import http.client, json, urllib.error, urllib.parse, urllib.request

def main(params):
    at, seen = params['at'], {}
    with urllib.request.urlopen(at + '/echo?a=1', timeout=30) as response:
        seen['get'] = [response.status, json.loads(response.read())['query'], response.headers.get_all('x-many')]
    request = urllib.request.Request(at + '/echo', data=b'body', headers={'X-Own': 'yes'}, method='PUT')
    told = json.loads(urllib.request.urlopen(request).read())
    seen['put'] = [told['method'], told['body'], told['headers']['x-own']]
    seen['redirect'] = urllib.request.urlopen(at + '/once').url.replace(at, '')
    try:
        urllib.request.urlopen(at + '/missing')
    except urllib.error.HTTPError as error:
        seen['missing'] = [error.code, error.read().decode()]
    for name, way in {
        'metadata': lambda: urllib.request.urlopen('http://169.254.169.254/'),
        'slow': lambda: urllib.request.urlopen(at + '/slow', timeout=0.05),
        'error': lambda: urllib.request.urlopen('http://127.0.0.1:1/'),
        'proxy': lambda: urllib.request.build_opener(urllib.request.ProxyHandler({'http': at})).open('http://a.test/'),
    }.items():
        try:
            seen[name] = repr(way())
        except OSError as error:
            seen[name] = type(getattr(error, 'reason', error)).__name__
            seen[name + ' as'] = type(error).__name__
    host = urllib.parse.urlsplit(at).netloc
    connection = http.client.HTTPConnection(host)
    connection.request('POST', '/echo', body=iter([b'in ', b'parts']), encode_chunked=True,
                       headers={'Transfer-Encoding': 'chunked'})
    seen['chunked'] = json.loads(connection.getresponse().read())['body']
    connection.request('HEAD', '/missing')
    response = connection.getresponse()
    seen['head'] = [response.status, response.read().decode()]
    return seen
";

#[tokio::test(flavor = "multi_thread")]
async fn the_standard_library_goes_through_the_server() {
    let Some(python) = python() else { return };
    let server = server().await;
    let function = function_with(BY_STANDARD_LIBRARY, egress());
    let seen = run(&python, &function, &server).await;
    assert_eq!(seen["get"], json!([200, "a=1", ["one", "two"]]));
    assert_eq!(seen["put"], json!(["PUT", "body", "yes"]));
    assert_eq!(
        (&seen["redirect"], &seen["missing"]),
        (&json!("/echo"), &json!([404, "none here"]))
    );
    assert_eq!(
        (&seen["metadata"], &seen["proxy"]),
        (&json!("PermissionError"), &json!("PermissionError"))
    );
    assert_eq!(
        (&seen["slow"], &seen["chunked"]),
        (&json!("TimeoutError"), &json!("in parts"))
    );
    assert_eq!(seen["head"], json!([404, ""]));
    assert_eq!(
        (&seen["error"], &seen["error as"]),
        (&json!("ConnectionError"), &json!("URLError"))
    );
    assert_eq!(seen["metadata as"], "URLError");
}

const BY_REQUESTS: &str = "\
import requests

def main(params):
    at, seen = params['at'], {}
    with requests.Session() as session:
        session.headers['X-Own'] = 'yes'
        answer = session.post(at + '/echo', json={'x': 1}, auth=('user', 'pass'), timeout=30)
        told = answer.json()
        seen['post'] = [answer.status_code, told['body'], told['headers']['x-own'],
                        told['headers']['authorization'][:6], answer.headers['x-many']]
        seen['twice'] = [session.get(at + '/echo').status_code for _ in range(2)]
        seen['moved'] = [step.status_code for step in session.get(at + '/once').history]
        seen['stream'] = sum(len(part) for part in session.get(at + '/missing', stream=True).iter_content(4))
        seen['files'] = 'file content' in session.post(at + '/echo', files={'f': b'file content'}).json()['body']
    seen['pair'] = requests.get(at + '/echo', timeout=(0.000001, 30)).status_code
    for name, way in {
        'metadata': lambda: requests.get('https://169.254.169.254/'),
        'slow': lambda: requests.get(at + '/slow', timeout=0.05),
        'proxy': lambda: requests.get(at, proxies={'http': 'http://127.0.0.1:1'}),
    }.items():
        try:
            seen[name] = repr(way())
        except requests.exceptions.RequestException as error:
            seen[name] = [type(error).__name__, 'never called' in str(error)]
    return seen
";

#[tokio::test(flavor = "multi_thread")]
async fn requests_goes_through_the_server() {
    let Some(python) = python_with_libraries() else {
        return;
    };
    let server = server().await;
    let seen = run(&python, &function_with(BY_REQUESTS, egress()), &server).await;
    assert_eq!(
        seen["post"],
        json!([200, "{\"x\": 1}", "yes", "Basic ", "one, two"])
    );
    assert_eq!(
        (&seen["twice"], &seen["moved"]),
        (&json!([200, 200]), &json!([302]))
    );
    assert_eq!((&seen["stream"], &seen["files"]), (&json!(9), &json!(true)));
    assert_eq!(seen["pair"], 200);
    assert_eq!(seen["metadata"], json!(["ConnectionError", true]));
    assert_eq!(seen["slow"][0], "ReadTimeout", "{seen}");
    assert_eq!(seen["proxy"][0], "ProxyError", "{seen}");
}

const BY_HTTPX: &str = "\
import asyncio, httpx

async def many(at):
    async with httpx.AsyncClient() as client:
        answers = await asyncio.gather(*(client.get(f'{at}/echo?n={n}') for n in range(5)))
        return [answer.json()['query'] for answer in answers]

def main(params):
    at, seen = params['at'], {}
    with httpx.Client(headers={'X-Own': 'yes'}, timeout=30) as client:
        answer = client.post(at + '/echo', json={'x': 1})
        seen['post'] = [answer.status_code, answer.json()['headers']['x-own'], answer.json()['body']]
        seen['moved'] = client.get(at + '/once', follow_redirects=True).url.path
        seen['missing'] = client.get(at + '/missing').text
    seen['many'] = asyncio.run(many(at))
    for name, way in {
        'metadata': lambda: httpx.get('http://169.254.169.254/'),
        'slow': lambda: httpx.get(at + '/slow', timeout=0.05),
    }.items():
        try:
            seen[name] = repr(way())
        except httpx.HTTPError as error:
            seen[name] = type(error).__name__
    return seen
";

#[tokio::test(flavor = "multi_thread")]
async fn httpx_goes_through_the_server() {
    let Some(python) = python_with_libraries() else {
        return;
    };
    let server = server().await;
    let seen = run(&python, &function_with(BY_HTTPX, egress()), &server).await;
    assert_eq!(
        (&seen["post"][0], &seen["post"][1]),
        (&json!(200), &json!("yes"))
    );
    assert_eq!(
        (&seen["moved"], &seen["missing"]),
        (&json!("/echo"), &json!("none here"))
    );
    assert_eq!(seen["many"], json!(["n=0", "n=1", "n=2", "n=3", "n=4"]));
    assert_eq!(
        (&seen["metadata"], &seen["slow"]),
        (&json!("ConnectError"), &json!("ReadTimeout"))
    );
}
