//! E20: tokens that somebody made up, some of them with the server's own key. None proves anything.

use crate::support::api::{Api, bearer};
use crate::tenants::{PASSWORD, two_sites};
use jsonwebtoken::{Algorithm, EncodingKey, Header, crypto, dangerous};
use serde_json::{Value, json};

const ME: &str = "/api/users/me/";

/// A signed token with any header and claims.
fn token(header: &Value, claims: &Value, algorithm: Algorithm, key: &[u8]) -> String {
    let message = format!("{}.{}", encoded(header), encoded(claims));
    let key = EncodingKey::from_secret(key);
    let signature = crypto::sign(message.as_bytes(), &key, algorithm).unwrap();
    format!("{message}.{signature}")
}

/// A part of a token.
fn encoded(part: &Value) -> String {
    let key = EncodingKey::from_secret(b"any");
    let whole = jsonwebtoken::encode(&Header::default(), part, &key).unwrap();
    whole.split('.').nth(1).unwrap().to_owned()
}

/// A token of the superuser of `acme`, and the key that it was signed with.
struct Genuine {
    token: String,
    claims: Value,
    key: Vec<u8>,
}

impl Genuine {
    /// The token with other claims, signed as it should be.
    fn with(&self, change: impl FnOnce(&mut Value)) -> String {
        let mut claims = self.claims.clone();
        change(&mut claims);
        let header = json!({"typ": "JWT", "alg": "HS256"});
        token(&header, &claims, Algorithm::HS256, &self.key)
    }

    /// The right claims under another header, signed with another key.
    fn under(&self, header: &Value, key: &[u8]) -> String {
        token(header, &self.claims, Algorithm::HS256, key)
    }
}

async fn genuine(acme: &Api, key: Vec<u8>) -> Genuine {
    let token = bearer(acme.sign_in("boss@acme.test", PASSWORD).await);
    let token = token.strip_prefix("Bearer ").unwrap().to_owned();
    let claims = dangerous::insecure_decode::<Value>(&token).unwrap().claims;
    Genuine { token, claims, key }
}

/// Algorithms: none, others, and an HMAC under the name of a public-key algorithm.
fn algorithms(it: &Genuine) -> Vec<(String, String)> {
    let mut tokens = Vec::new();
    let (_, rest) = it.token.split_once('.').unwrap();
    let (claims, signature) = rest.split_once('.').unwrap();
    for name in ["none", "None", "NONE", "nOnE", "", "HS256\u{0}", "hs256"] {
        let header = encoded(&json!({"typ": "JWT", "alg": name}));
        for end in ["", signature] {
            tokens.push((format!("alg {name}"), format!("{header}.{claims}.{end}")));
        }
    }
    for name in ["RS256", "PS256", "ES256", "EdDSA", "HS384", "HS512"] {
        let header = json!({"typ": "JWT", "alg": name});
        tokens.push((format!("HS256 as {name}"), it.under(&header, &it.key)));
    }
    for (algorithm, name) in [(Algorithm::HS384, "HS384"), (Algorithm::HS512, "HS512")] {
        for alg in [name, "HS256"] {
            let header = json!({"typ": "JWT", "alg": alg});
            let token = token(&header, &it.claims, algorithm, &it.key);
            tokens.push((format!("{name} as {alg}"), token));
        }
    }
    let no_algorithm = it.under(&json!({"typ": "JWT"}), &it.key);
    tokens.push(("no alg".to_owned(), no_algorithm));
    tokens
}

/// Keys that whoever makes a token up may name or send along.
fn keys(it: &Genuine) -> Vec<(String, String)> {
    let own = b"a key of my own";
    let jwk = json!({"kty": "oct", "k": "YSBrZXkgb2YgbXkgb3du"});
    let headers = [
        json!({"alg": "HS256"}),
        json!({"alg": "HS256", "kid": "/dev/null"}),
        json!({"alg": "HS256", "kid": "../../../../../../dev/null"}),
        json!({"alg": "HS256", "kid": "jwt.key"}),
        json!({"alg": "HS256", "kid": "x' UNION SELECT 'a key of my own' --"}),
        json!({"alg": "HS256", "kid": "x\u{0}"}),
        json!({"alg": "HS256", "kid": "x".repeat(4000)}),
        json!({"alg": "HS256", "kid": {"$ne": ""}}),
        json!({"alg": "HS256", "jwk": jwk}),
        json!({"alg": "HS256", "jku": "http://127.0.0.1:1/keys"}),
        json!({"alg": "HS256", "x5u": "http://127.0.0.1:1/keys"}),
    ];
    let secrets: [&[u8]; 4] = [b"", own, b"secret", &[0; 32]];
    let mut tokens = Vec::new();
    for header in &headers {
        for key in secrets {
            tokens.push((format!("{header} with {key:?}"), it.under(header, key)));
        }
    }
    tokens
}

/// Claims that are wrong, missing or of another type, with the right signature.
fn claims(it: &Genuine) -> Vec<(String, String)> {
    let now = it.claims["iat"].as_i64().unwrap();
    let wrong = [
        ("exp", json!(now - 3600)),
        ("exp", json!((now + 3600).to_string())),
        ("exp", json!("never")),
        ("exp", json!([now + 3600])),
        ("exp", json!(1e300)),
        ("exp", json!(u64::MAX)),
        ("exp", json!(-1)),
        ("exp", json!(true)),
        ("iat", json!(now + 3600)),
        ("iat", json!("now")),
        ("iss", json!("tollgate2")),
        ("iss", json!(["tollgate", "other"])),
        ("aud", json!("default")),
        ("aud", json!(["acme", "default"])),
        ("aud", json!("*")),
        ("sub", json!("1")),
        ("sub", json!("999999")),
        ("sub", json!("1 OR 1=1")),
        ("sub", json!("../1")),
        ("sub", json!("-1")),
        (
            "sub",
            json!(it.claims["sub"].as_str().unwrap().parse::<i64>().unwrap()),
        ),
        ("sub", json!({"id": 1})),
        ("typ", json!("refresh")),
        ("typ", json!("ACCESS")),
        ("jti", json!("1")),
        ("fam", json!("x' OR ''='")),
        ("ver", json!(1)),
        ("ver", json!("0")),
    ];
    let mut tokens = Vec::new();
    for (name, value) in wrong {
        let what = format!("{name}: {value}");
        tokens.push((what, it.with(|claims| claims[name] = value)));
    }
    for name in [
        "exp", "iat", "iss", "aud", "sub", "jti", "typ", "fam", "ver",
    ] {
        let without = it.with(|claims| drop(claims.as_object_mut().unwrap().remove(name)));
        tokens.push((format!("no {name}"), without));
    }
    for whole in [json!([]), json!("x"), json!(null), json!({})] {
        let what = format!("claims: {whole}");
        tokens.push((what, it.with(|claims| *claims = whole)));
    }
    tokens
}

/// What is no token at all, or too long to be one.
fn junk(it: &Genuine) -> Vec<(String, String)> {
    let mut tokens: Vec<_> = [
        "", ".", "..", "...", "a.b.c", "null", "%00", "{}", "' OR 1=1",
    ]
    .map(|junk| (junk.to_owned(), junk.to_owned()))
    .into();
    let genuine = &it.token;
    for junk in [
        format!("{genuine}."),
        format!("{genuine}x"),
        format!(".{genuine}"),
        genuine.replace('.', ".."),
        genuine[..genuine.len() - 1].to_owned(),
        genuine.rsplit_once('.').unwrap().0.to_owned(),
        format!("{genuine},{genuine}"),
        it.with(|claims| claims["more"] = json!("x".repeat(9000))),
    ] {
        tokens.push((format!("junk of {} bytes", junk.len()), junk));
    }
    tokens
}

#[tokio::test]
async fn a_token_that_was_made_up_proves_nothing() {
    let (server, acme) = two_sites().await;
    let key = std::fs::read(server.folder.data().join("jwt.key")).unwrap();
    let it = genuine(&acme, key).await;
    let ask = async |token: &str| acme.with(&format!("Bearer {token}")).get(ME).await;
    ask(&it.with(|_| ())).await.ok();
    let made_up = [algorithms(&it), keys(&it), claims(&it), junk(&it)].concat();
    assert!(made_up.len() > 100, "{}", made_up.len());
    for (what, token) in made_up {
        let answer = ask(&token).await;
        assert_eq!(answer.status, 401, "{what}: {answer:?}");
        answer.refused(401, "UNAUTHORIZED");
    }
    let huge = it.with(|claims| claims["more"] = json!("x".repeat(800_000)));
    assert!(huge.len() > 1_000_000);
    assert_eq!(ask(&huge).await.status, 431);
    ask(&it.token).await.ok();
    let said = server.stderr.so_far();
    assert!(!said.contains("ERROR"), "{said}");
    server.stop().await;
}
