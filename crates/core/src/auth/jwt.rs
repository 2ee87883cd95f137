//! Access and refresh tokens: JSON Web Tokens signed with HS256 and nothing else.
//!
//! Must never accept a token whose algorithm, issuer, audience, type or time is not the one asked
//! for, and never read the ambient clock: the caller says what time it is.

use super::events::AddedClaims;
use crate::ids::UserId;
use crate::ports::store::Epoch;
use crate::rights::Origin;
use crate::site::Site;
use crate::time::Timestamp;
use hmac::{Hmac, KeyInit as _, Mac as _};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use std::time::Duration;
use uuid::Uuid;

/// The issuer of every token.
const ISSUER: &str = "tollgate";
/// How far the clocks of two servers of one installation may be apart.
const LEEWAY_SECONDS: i64 = 5;

/// The keys of tokens. Which one a token was signed with is found by trying: what a token says about it
/// is not looked at.
#[derive(Clone)]
pub struct JwtKeys {
    /// Signs, and verifies.
    pub current: [u8; 32],
    /// Verifies what was signed before the last rotation.
    pub previous: Option<[u8; 32]>,
}

impl From<[u8; 32]> for JwtKeys {
    fn from(current: [u8; 32]) -> Self {
        Self {
            current,
            previous: None,
        }
    }
}

/// What a token is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum TokenType {
    /// Proves who makes a request.
    Access,
    /// Can be exchanged once for a new pair.
    Refresh,
}

/// Every claim is required, unless it says otherwise.
#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    sub: String,
    typ: TokenType,
    jti: Uuid,
    fam: Uuid,
    ver: Epoch,
    iat: i64,
    exp: i64,
    /// What functions added; the only claim that may be absent.
    #[serde(default, skip_serializing_if = "AddedClaims::is_empty")]
    claims: AddedClaims,
}

/// What a verified token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verified {
    /// Its own id.
    pub(super) id: Uuid,
    /// Where it comes from.
    pub(super) origin: Origin,
    /// What functions added at the sign-in.
    pub(super) claims: AddedClaims,
}

/// Signs and verifies tokens.
pub(super) struct Tokens {
    /// Makes the ids of the pair that follows on a refresh token.
    successors: [u8; 32],
    header: Header,
    sign: EncodingKey,
    verify: Vec<DecodingKey>,
    validation: Validation,
}

impl Tokens {
    pub(super) fn new(keys: &JwtKeys) -> Self {
        let mut validation = Validation::new(Algorithm::HS256);
        // The rest is required by the type of the claims.
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        validation.set_issuer(&[ISSUER]);
        // Both are checked below: the time with our clock, the audience with the request's site.
        validation.validate_exp = false;
        validation.validate_aud = false;
        Self {
            successors: keys.current,
            header: Header::new(Algorithm::HS256),
            sign: EncodingKey::from_secret(&keys.current),
            verify: [Some(&keys.current), keys.previous.as_ref()]
                .into_iter()
                .flatten()
                .map(|key| DecodingKey::from_secret(key))
                .collect(),
            validation,
        }
    }

    /// The ids of the refresh and access token that a refresh token is exchanged for: always the same,
    /// so that the pair can be made again without being stored.
    pub(super) fn successors(&self, used: Uuid) -> (Uuid, Uuid) {
        let mac = Hmac::<Sha256>::new_from_slice(&self.successors);
        let mut mac = mac.expect("HMAC takes a key of any length");
        // With a zero byte, which what is signed with the same key never has.
        mac.update(b"successors\0");
        mac.update(used.as_bytes());
        let made: [u8; 32] = mac.finalize().into_bytes().into();
        let id = |half: &[u8]| {
            let mut bytes = [0; 16];
            bytes.copy_from_slice(half);
            uuid::Builder::from_custom_bytes(bytes).into_uuid()
        };
        (id(&made[..16]), id(&made[16..]))
    }

    /// A token for a user of `site`. None when signing fails, which a 32-byte key rules out.
    pub(super) fn issue(
        &self,
        site: &Site,
        (origin, claims): (Origin, &AddedClaims),
        kind: (TokenType, Duration),
        id: Uuid,
        now: Timestamp,
    ) -> Option<String> {
        let (typ, ttl) = kind;
        let claims = Claims {
            iss: ISSUER.to_owned(),
            aud: site.slug.clone(),
            sub: origin.user.to_string(),
            typ,
            jti: id,
            fam: origin.family,
            ver: origin.epoch,
            iat: now.as_seconds(),
            exp: now.plus(ttl).as_seconds(),
            claims: claims.clone(),
        };
        jsonwebtoken::encode(&self.header, &claims, &self.sign).ok()
    }

    /// What `token` says, if it is ours, of this type, for this site, and valid now.
    pub(super) fn verify(
        &self,
        token: &str,
        site: &Site,
        typ: TokenType,
        now: Timestamp,
    ) -> Option<Verified> {
        let claims = self.verify.iter().find_map(|key| {
            let decoded = jsonwebtoken::decode::<Claims>(token, key, &self.validation);
            decoded.ok().map(|token| token.claims)
        })?;
        let now = now.as_seconds();
        let in_time = now < claims.exp.saturating_add(LEEWAY_SECONDS)
            && claims.iat <= now.saturating_add(LEEWAY_SECONDS);
        let fits = claims.aud == site.slug && claims.typ == typ && in_time;
        let origin = Origin {
            user: UserId(claims.sub.parse().ok()?),
            family: claims.fam,
            epoch: claims.ver,
        };
        fits.then_some(Verified {
            id: claims.jti,
            origin,
            claims: claims.claims,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::SiteId;
    use crate::limits::ACCESS_TOKEN_TTL;

    fn site(slug: &str) -> Site {
        let created_at = Timestamp::from_micros(0);
        Site {
            id: SiteId(1),
            slug: slug.into(),
            name: slug.into(),
            domains: vec![],
            created_at,
            damaged: Vec::new(),
        }
    }

    const NOW: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);

    const ORIGIN: Origin = Origin {
        user: UserId(7),
        family: Uuid::from_u128(8),
        epoch: Epoch(3),
    };

    fn token(tokens: &Tokens) -> String {
        let kind = (TokenType::Access, ACCESS_TOKEN_TTL);
        tokens
            .issue(
                &site("a"),
                (ORIGIN, &AddedClaims::default()),
                kind,
                Uuid::from_u128(9),
                NOW,
            )
            .unwrap()
    }

    fn claims() -> serde_json::Value {
        serde_json::json!({"iss": "tollgate", "aud": "a", "sub": "7", "typ": "access",
            "jti": Uuid::from_u128(9), "fam": Uuid::from_u128(8), "ver": 3,
            "iat": NOW.as_seconds(), "exp": NOW.as_seconds() + 60})
    }

    #[test]
    fn a_token_is_good_for_its_site_type_time_and_key_only() {
        let tokens = Tokens::new(&[1; 32].into());
        let token = token(&tokens);
        let good = Some(Verified {
            id: Uuid::from_u128(9),
            origin: ORIGIN,
            claims: AddedClaims::default(),
        });
        let access = TokenType::Access;
        assert_eq!(tokens.verify(&token, &site("a"), access, NOW), good);
        let late = NOW.plus(ACCESS_TOKEN_TTL);
        assert_eq!(
            tokens.verify(&token, &site("a"), access, late),
            good,
            "leeway"
        );
        let later = late.plus(Duration::from_secs(5));
        assert_eq!(tokens.verify(&token, &site("a"), access, later), None);
        let before = Timestamp::from_micros(NOW.as_micros() - 60_000_000);
        assert_eq!(tokens.verify(&token, &site("a"), access, before), None);
        assert_eq!(tokens.verify(&token, &site("b"), access, NOW), None);
        assert_eq!(
            tokens.verify(&token, &site("a"), TokenType::Refresh, NOW),
            None
        );
        assert_eq!(
            Tokens::new(&[2; 32].into()).verify(&token, &site("a"), access, NOW),
            None
        );
    }

    #[test]
    fn the_key_before_the_last_rotation_still_verifies() {
        let (one, two, three) = ([1; 32], [2; 32], [3; 32]);
        let rotated = |current, previous| {
            let previous = Some(previous);
            Tokens::new(&JwtKeys { current, previous })
        };
        let good = |tokens: &Tokens, token: &str| {
            let verified = tokens.verify(token, &site("a"), TokenType::Access, NOW);
            verified.is_some()
        };
        let first = token(&Tokens::new(&one.into()));
        let once = rotated(two, one);
        let second = token(&once);
        assert!(good(&once, &first) && good(&once, &second));
        assert!(
            !good(&Tokens::new(&one.into()), &second),
            "signed with the new key"
        );
        let twice = rotated(three, two);
        assert!(!good(&twice, &first) && good(&twice, &second));
    }

    #[test]
    fn other_algorithms_and_missing_claims_are_refused() {
        let tokens = Tokens::new(&[1; 32].into());
        let good = token(&tokens);
        let (_, rest) = good.split_once('.').unwrap();
        // {"typ":"JWT","alg":"none"} and {"alg":"HS512"}
        for header in [
            "eyJ0eXAiOiJKV1QiLCJhbGciOiJub25lIn0",
            "eyJhbGciOiJIUzUxMiJ9",
        ] {
            let forged = format!("{header}.{rest}");
            assert_eq!(
                tokens.verify(&forged, &site("a"), TokenType::Access, NOW),
                None
            );
        }
        let hs512 = jsonwebtoken::encode(
            &Header::new(Algorithm::HS512),
            &claims(),
            &EncodingKey::from_secret(&[1; 32]),
        );
        assert_eq!(
            tokens.verify(&hs512.unwrap(), &site("a"), TokenType::Access, NOW),
            None
        );
        for missing in [
            "iss", "aud", "sub", "typ", "jti", "fam", "ver", "iat", "exp",
        ] {
            let mut claims = claims();
            claims.as_object_mut().unwrap().remove(missing);
            let key = EncodingKey::from_secret(&[1; 32]);
            let token =
                jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key).unwrap();
            let verified = tokens.verify(&token, &site("a"), TokenType::Access, NOW);
            assert_eq!(verified, None, "{missing}");
        }
        for junk in ["", ".", "..", "a.b.c", "💥.💥.💥"] {
            assert_eq!(
                tokens.verify(junk, &site("a"), TokenType::Access, NOW),
                None,
                "{junk}"
            );
        }
    }
}
