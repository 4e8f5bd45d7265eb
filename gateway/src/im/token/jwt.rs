//! JSON Web Tokens with the claims that OpenIM's servers put into them.

use std::fmt;
use std::time::Duration;

use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use linkspan_core::hub::Platform;
use linkspan_core::im::{Proof, parse_platform, platform_by_name};
use linkspan_runtime::Clock;
use serde::Deserialize;

use super::{Outcome, lifetime};

/// Tokens signed with HMAC-SHA-256 (RFC 7519) and a secret that we know.
///
/// The claims are those of OpenIM's servers: the user in `UID` (v2) or `UserID` (v3), the platform, if the token is for one
/// only, as a name in `Platform` (v2) or a number in `PlatformID` (v3), and `exp`, which must be there.
#[derive(Clone)]
pub struct Hs256 {
    key: DecodingKey,
    validation: Validation,
}

/// What we read of a token.
#[derive(Deserialize)]
pub(super) struct Claims {
    #[serde(rename = "UID", alias = "UserID", alias = "userID")]
    pub(super) user: String,
    #[serde(rename = "Platform", alias = "platform")]
    name: Option<String>,
    #[serde(rename = "PlatformID", alias = "platformID")]
    number: Option<i64>,
    pub(super) exp: Option<u64>,
}

impl Claims {
    /// What a token says about itself, whoever has signed it and whenever it ends: for one that somebody else has
    /// checked.
    pub(super) fn unproven(token: &str) -> Option<Self> {
        let mut any = Validation::default();
        any.insecure_disable_signature_validation();
        any.required_spec_claims.clear();
        (any.validate_exp, any.validate_aud) = (false, false);
        decode(token, &DecodingKey::from_secret(&[]), &any).ok().map(|token| token.claims)
    }

    /// The platform that the token is for; an empty name is none.
    pub(super) fn platform(&self) -> Option<Platform> {
        match (&self.name, self.number) {
            (Some(name), _) if !name.is_empty() => Some(platform_by_name(name)),
            (_, Some(number)) => Some(parse_platform(&number.to_string())),
            _ => None,
        }
    }
}

impl Hs256 {
    /// Tokens signed with `secret`. Clocks may differ by `leeway`.
    pub fn new(secret: &[u8], leeway: Duration) -> Self {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.leeway = leeway.as_secs();
        validation.validate_nbf = true;
        validation.validate_aud = false;
        Self { key: DecodingKey::from_secret(secret), validation }
    }

    pub(super) fn check(&self, token: &str, clock: &Clock) -> Outcome {
        let claims: Claims = match decode(token, &self.key, &self.validation) {
            Ok(data) => data.claims,
            Err(error) => {
                tracing::debug!(%error, "a token is refused");
                return Outcome::Refused;
            }
        };
        let now = clock.origin_unix() + clock.now().since_origin();
        let (platform, lifetime) = (claims.platform(), lifetime(claims.exp, now));
        Outcome::Valid(Proof { user: claims.user, platform, lifetime })
    }
}

impl fmt::Debug for Hs256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hs256").field("leeway", &self.validation.leeway).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{EncodingKey, Header, encode};
    use serde_json::{Value, json};

    use super::*;

    fn token(secret: &str, algorithm: Algorithm, claims: &Value) -> String {
        let key = EncodingKey::from_secret(secret.as_bytes());
        encode(&Header::new(algorithm), claims, &key).expect("it can be signed")
    }

    fn check(token: &str) -> Option<(String, Option<Platform>)> {
        let check = Hs256::new(b"secret", Duration::from_secs(60));
        match check.check(token, &Clock::start()) {
            Outcome::Valid(proof) => Some((proof.user, proof.platform)),
            Outcome::Refused | Outcome::Unknown => None,
        }
    }

    fn now() -> u64 {
        Clock::start().origin_unix().as_secs()
    }

    #[test]
    fn claims_of_both_generations_are_read() {
        let exp = now() + 600;
        for (claims, platform) in [
            (json!({"UID": "u1", "Platform": "Web", "exp": exp, "nbf": now() - 300}), Some(Platform::WEB)),
            (json!({"UID": "u1", "Platform": "", "exp": exp}), None),
            (json!({"UserID": "u1", "PlatformID": 1, "exp": exp}), Some(Platform::IOS)),
            (json!({"UserID": "u1", "exp": now() - 30}), None),
        ] {
            let found = check(&token("secret", Algorithm::HS256, &claims));
            assert_eq!(found, Some(("u1".into(), platform)), "{claims}");
        }
    }

    #[test]
    fn whatever_is_wrong_with_a_token_it_opens_nothing() {
        let exp = now() + 600;
        let good = json!({"UID": "u1", "exp": exp});
        let right = token("secret", Algorithm::HS256, &good);
        let (head, rest) = right.split_once('.').expect("three parts");
        let unsigned = format!("eyJhbGciOiJub25lIn0.{}.", rest.split('.').next().expect("a payload"));
        for bad in [
            token("other", Algorithm::HS256, &good),
            token("secret", Algorithm::HS384, &good),
            token("secret", Algorithm::HS256, &json!({"UID": "u1"})),
            token("secret", Algorithm::HS256, &json!({"UID": "u1", "exp": now() - 120})),
            token("secret", Algorithm::HS256, &json!({"UID": "u1", "exp": exp, "nbf": now() + 120})),
            token("secret", Algorithm::HS256, &json!({"UID": 1, "exp": exp})),
            token("secret", Algorithm::HS256, &json!({"exp": exp})),
            unsigned,
            format!("{head}.{rest}x"),
            String::new(),
            "a.b.c".into(),
        ] {
            assert_eq!(check(&bad), None, "{bad}");
        }
    }
}
