//! Requests to other hosts: every usual way goes through the server's guarded client.

use crate::egress::{egress, let_out, server};
use crate::support::{failure, node_function, node_function_with, node_with, value};
use serde_json::json;

const WAYS: &str = "
import http from 'node:http';
import https from 'node:https';

function asked(at, options, body) {
  return new Promise((resolve, reject) => {
    const request = http.request(at, options, (response) => {
      const parts = [];
      response.on('data', (part) => parts.push(part));
      response.on('end', () => resolve([response.statusCode, response.headers, Buffer.concat(parts).toString()]));
    });
    request.on('error', reject);
    request.end(body);
  });
}

export default async function main({ at }, user, client) {
  const seen = {};
  const told = await (await fetch(`${at}/echo?a=1`, {
    method: 'POST', body: JSON.stringify({x: 1}), headers: {'X-Own': 'yes', 'Content-Type': 'application/json'},
  })).json();
  seen.fetch = [told.method, told.query, told.body, told.headers['x-own']];
  const moved = await fetch(`${at}/once`);
  seen.moved = [moved.status, moved.redirected, moved.url.replace(at, '')];
  seen.missing = [(await fetch(`${at}/missing`)).status, await (await fetch(`${at}/missing`)).text()];
  seen.stream = (await (await fetch(`${at}/echo`, {
    method: 'PUT', duplex: 'half', body: new ReadableStream({ start(c) { c.enqueue(Buffer.from('st')); c.enqueue(Buffer.from('ream')); c.close(); } }),
  })).json()).body;
  const form = new FormData();
  form.append('name', 'value');
  seen.form = (await (await fetch(`${at}/echo`, {method: 'POST', body: form})).json()).body.includes('value');
  const [status, headers, body] = await asked(`${at}/echo?b=2`, {method: 'PUT', headers: {'X-Own': 'too'}}, 'bytes');
  const plain = JSON.parse(body);
  seen.http = [status, headers['x-many'], plain.method, plain.query, plain.body, plain.headers['x-own']];
  const agent = new http.Agent({keepAlive: true});
  for (let i = 0; i < 3; i++) seen.agent = (await asked(`${at}/echo`, {agent}))[0];
  seen.chunks = await new Promise((resolve, reject) => {
    const request = http.request(`${at}/echo`, {method: 'POST'}, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (part) => (text += part)).on('end', () => resolve(JSON.parse(text).body));
    }).on('error', reject);
    request.write('one');
    setTimeout(() => request.end('two'), 5);
  });
  seen.head = (await asked(`${at}/echo`, {method: 'HEAD'}))[0];
  const posted = await client.http.post(`${at}/echo`, {json: {x: 1n}, headers: {'X-Own': 'mine'}, timeout: 30});
  seen.client = [posted.status, posted.ok, posted.json().body, posted.headers['x-many']];
  for (const [name, call] of Object.entries({
    fetch: () => fetch('http://169.254.169.254/latest/meta-data/'),
    file: () => client.http.get('file:///etc/passwd'),
    https: () => new Promise((_, reject) => https.get('https://localhost:1/').on('error', reject)),
    slow: () => client.http.get(`${at}/slow`, {timeout: 0.05}),
    aborted: () => fetch(`${at}/slow`, {signal: AbortSignal.timeout(50)}),
  })) {
    try {
      await call();
      seen[`no ${name}`] = 'done';
    } catch (error) {
      seen[`no ${name}`] = error.code ?? error.cause?.code ?? error.name;
    }
  }
  return seen;
}
";

#[tokio::test]
async fn the_usual_ways_lead_to_the_servers_client() {
    let Some(node) = node_with(|config| let_out(config, true)) else {
        return;
    };
    let server = server().await;
    let probe = node_function_with(WAYS, egress());
    let seen = value(&node.call(&probe, json!({"at": server.uri()})).await);
    let expected = json!({
        "fetch": ["POST", "a=1", "{\"x\":1}", "yes"],
        "moved": [200, true, "/echo"],
        "missing": [404, "none here"],
        "stream": "stream",
        "form": true,
        "http": [200, "one, two", "PUT", "b=2", "bytes", "too"],
        "agent": 200,
        "chunks": "onetwo",
        "head": 200,
        "client": [200, true, "{\"x\":1}", "one, two"],
        "no fetch": "EACCES",
        "no file": "FORBIDDEN",
        "no https": "ECONNREFUSED",
        "no slow": "GATEWAY_TIMEOUT",
        "no aborted": 23,
    });
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn at_the_top_of_the_module_too_and_nowhere_without_egress() {
    let Some(node) = node_with(|config| let_out(config, true)) else {
        return;
    };
    let server = server().await;
    let code = format!(
        "const told = await (await fetch('{}/echo')).json();\nexport default () => told.method;",
        server.uri()
    );
    let report = node
        .call(&node_function_with(&code, egress()), json!({}))
        .await;
    assert_eq!(value(&report), "GET");
    let code = "export default async ({ at }) => (await fetch(at)).status";
    let report = node
        .call(&node_function(code), json!({"at": server.uri()}))
        .await;
    let failed = failure(&report);
    assert!(
        failed.message.starts_with("TypeError: fetch failed: "),
        "{failed:?}"
    );
    assert!(failed.message.contains("egress"), "{failed:?}");
}
