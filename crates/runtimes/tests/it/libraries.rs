//! The libraries that functions make requests with, each against a server of this machine.

use crate::egress::{egress, let_out};
use crate::support::{Python, function_with, python_with, skipped, value};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Barrier;
use tollgate_runtimes::Interpreter;

/// How many requests must be under way together before one of them is answered at `/together`.
const TOGETHER: usize = 8;

/// The Python with this library; none, loudly, where it has none.
fn python_with_library(name: &str) -> Option<Python> {
    let program = std::env::var_os("TEST_CLIENT_PYTHON").map_or("python3".into(), PathBuf::from);
    let asked = std::process::Command::new(&program)
        .args(["-c", &format!("import {name}")])
        .output();
    if !asked.is_ok_and(|answer| answer.status.success()) {
        skipped(&format!(
            "{name}: name a Python that has it in TEST_CLIENT_PYTHON"
        ));
        return None;
    }
    python_with(|config| {
        config.python = Interpreter::find(&program).unwrap();
        let_out(config, true);
    })
}

/// A server that answers as the services do whose libraries are used here.
async fn server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = format!("http://{}", listener.local_addr().unwrap());
    let together = Arc::new(Barrier::new(TOGETHER));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, Arc::clone(&together)));
        }
    });
    at
}

async fn serve(mut stream: TcpStream, together: Arc<Barrier>) {
    let mut read = Vec::new();
    let head = loop {
        if stream.read_buf(&mut read).await.unwrap_or(0) == 0 {
            return;
        }
        if let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") {
            break String::from_utf8_lossy(&read[..end]).into_owned();
        }
    };
    let length = head
        .lines()
        .find_map(|line| {
            line.to_ascii_lowercase()
                .strip_prefix("content-length: ")?
                .parse()
                .ok()
        })
        .unwrap_or(0);
    while read.len() < head.len() + 4 + length {
        if stream.read_buf(&mut read).await.unwrap_or(0) == 0 {
            return;
        }
    }
    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
    if path == "/together" {
        together.wait().await;
    }
    let said = String::from_utf8_lossy(&read[head.len() + 4..]).into_owned();
    let body = match path.as_str() {
        "/bucket/key" => String::new(),
        "/none" => String::new(),
        _ => json!({
            "path": path, "said": said, "id": "x", "object": "chat.completion", "created": 1, "model": "m",
            "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "hello"}}],
            "type": "message", "role": "assistant", "content": [{"type": "text", "text": "hello"}],
            "stop_reason": "end_turn", "usage": {"input_tokens": 1, "output_tokens": 1},
        })
        .to_string(),
    };
    let status = match path.as_str() {
        "/reason" => "299 Fine Indeed",
        "/none" => "204 No Content",
        _ => "200 OK",
    };
    let answer = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nETag: \"e\"\r\nConnection: close\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    // It may have gone.
    let _ = stream.write_all(answer.as_bytes()).await;
}

async fn answer(library: &str, code: &str) -> Option<Value> {
    let python = python_with_library(library)?;
    let at = server().await;
    let probe = function_with(&code.replace("AT", &at), egress());
    let first = value(&python.call(&probe, json!({"at": at})).await);
    let again = value(&python.call(&probe, json!({"at": at})).await);
    assert_eq!(first, again, "{library}");
    Some(first)
}

/// Libraries, a function that uses each, and what it returns.
const LIBRARIES: &[(&str, &str, &str)] = &[
    (
        "urllib3",
        "import urllib3\ndef main(p):\n    http = urllib3.PoolManager()\n    r = http.request('POST', p['at'] + '/reason', json={'x': 1})\n    return [r.status, r.reason, r.json()['said'], http.request('HEAD', p['at']).status, http.request('GET', p['at'] + '/none').status]",
        r#"[299, "Fine Indeed", "{\"x\":1}", 200, 204]"#,
    ),
    (
        "httplib2",
        "import httplib2, json\ndef main(p):\n    r, c = httplib2.Http(timeout=9).request(p['at'] + '/reason', 'POST', body='text')\n    return [r.status, r.reason, json.loads(c)['said']]",
        r#"[299, "Fine Indeed", "text"]"#,
    ),
    (
        "requests",
        "import requests\nLOADED = requests.get('AT/at-load').json()['path']\ndef main(p):\n    r = requests.get(p['at'] + '/reason')\n    return [LOADED, r.status_code, r.reason]",
        r#"["/at-load", 299, "Fine Indeed"]"#,
    ),
    (
        "httpx",
        "import httpx\nCLIENT = httpx.Client()\ndef main(p):\n    r = CLIENT.get(p['at'] + '/reason')\n    return [r.status_code, r.reason_phrase, r.http_version]",
        r#"[299, "Fine Indeed", "HTTP/1.1"]"#,
    ),
    (
        "httpx2",
        "import httpx2\ndef main(p):\n    r = httpx2.get(p['at'] + '/reason')\n    return [r.status_code, r.reason_phrase]",
        r#"[299, "Fine Indeed"]"#,
    ),
    (
        "boto3",
        "import boto3, botocore.config\ndef main(p):\n    s3 = boto3.client('s3', endpoint_url=p['at'], region_name='eu-central-1', aws_access_key_id='a', aws_secret_access_key='b', config=botocore.config.Config(s3={'addressing_style': 'path'}))\n    return s3.put_object(Bucket='bucket', Key='key', Body=b'hello')['ETag']",
        r#""\"e\"""#,
    ),
    (
        "openai",
        "import asyncio, openai\nasync def main(p):\n    ask = dict(model='m', messages=[{'role': 'user', 'content': 'x'}])\n    one = openai.OpenAI(api_key='k', base_url=p['at']).chat.completions.create(**ask)\n    client = openai.AsyncOpenAI(api_key='k', base_url=p['at'])\n    more = await asyncio.gather(*(client.chat.completions.create(**ask) for _ in range(3)))\n    return [it.choices[0].message.content for it in [one, *more]]",
        r#"["hello", "hello", "hello", "hello"]"#,
    ),
    (
        "anthropic",
        "import anthropic\ndef main(p):\n    client = anthropic.Anthropic(api_key='k', base_url=p['at'])\n    return client.messages.create(model='m', max_tokens=5, messages=[{'role': 'user', 'content': 'x'}]).content[0].text",
        r#""hello""#,
    ),
    (
        "stripe",
        "import stripe\ndef main(p):\n    stripe.api_key, stripe.api_base = 'k', p['at']\n    return stripe.Customer.create(email='a@example.com')['path']",
        r#""/v1/customers""#,
    ),
    (
        "pydantic",
        "import datetime, pydantic\nclass Model(pydantic.BaseModel):\n    n: int\n    when: datetime.datetime\ndef main(p): return {'model': Model(n=1, when='2026-01-02T00:00:00Z')}",
        r#"{"model": {"n": 1, "when": "2026-01-02T00:00:00Z"}}"#,
    ),
    (
        "numpy",
        "import numpy\ndef main(p): return [numpy.arange(3), numpy.float64(1.5), numpy.int64(4)]",
        r#"[[0, 1, 2], 1.5, 4]"#,
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_common_library_goes_through_the_server() {
    for (library, code, expected) in LIBRARIES {
        let Some(found) = answer(library, code).await else {
            continue;
        };
        let expected: Value = serde_json::from_str(expected).unwrap();
        assert_eq!(found, expected, "{library}");
    }
}

/// None is answered before all are under way: one after the other they would wait for ever.
#[tokio::test(flavor = "multi_thread")]
async fn requests_of_one_run_are_under_way_together() {
    for (library, code) in [
        (
            "requests",
            "import requests\nfrom concurrent.futures import ThreadPoolExecutor\ndef main(p):\n    with ThreadPoolExecutor(8) as pool:\n        return [r.status_code for r in pool.map(requests.get, [p['at'] + '/together'] * 8)]",
        ),
        (
            "httpx",
            "import asyncio, httpx\nasync def main(p):\n    async with httpx.AsyncClient() as client:\n        return [r.status_code for r in await asyncio.gather(*(client.get(p['at'] + '/together') for _ in range(8)))]",
        ),
        (
            "json",
            "from concurrent.futures import ThreadPoolExecutor\ndef main(p, u, client):\n    with ThreadPoolExecutor(8) as pool:\n        return [r.status for r in pool.map(client.http.get, [p['at'] + '/together'] * 8)]",
        ),
    ] {
        if let Some(found) = answer(library, code).await {
            assert_eq!(found, json!(vec![200; TOGETHER]), "{library}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_module_that_needs_a_network_it_has_not_says_so_when_it_is_loaded() {
    let Some(python) = python_with_library("json") else {
        return;
    };
    let code =
        "import urllib.request\nurllib.request.urlopen('http://example.com/')\ndef main(p): pass";
    let report = python.once(code).await;
    let failed = crate::support::failure(&report);
    assert_eq!(failed.kind, tollgate_core::tasks::FailureKind::Load);
    assert!(
        failed.message.contains("set its `network` to \"egress\""),
        "{failed:?}"
    );
}
