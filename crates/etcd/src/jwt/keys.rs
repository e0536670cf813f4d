//! The keys of signed tokens, from files: PEM as openssl and Go write it, or, for HS…, any bytes.

use std::{fmt, fs, io, path::Path, path::PathBuf, str::FromStr, time::Duration};

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey};
use ring::{
    rand::SystemRandom,
    rsa,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
        KeyPair as _,
    },
};
use rustls_pki_types::{PrivateKeyDer, SubjectPublicKeyInfoDer, pem::PemObject as _};

/// What tokens are signed with, and how long they are good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwtFiles {
    /// How they are signed.
    pub sign_method: SignMethod,
    /// The public key, as PEM. None: it follows from the private one.
    pub public_key: Option<PathBuf>,
    /// The private key, as PEM; for HS… the file's bytes are the secret. None: no token is given away here, those of others are read.
    pub private_key: Option<PathBuf>,
    /// How long a token is good.
    pub ttl: Duration,
}

/// How tokens are signed: `RS256`, `PS384`, `ES256`, `HS512`, `EdDSA` and their like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignMethod(pub(super) Algorithm);

impl FromStr for SignMethod {
    type Err = JwtError;

    fn from_str(name: &str) -> Result<SignMethod, JwtError> {
        name.parse().map(SignMethod).map_err(|_| JwtError::Method(name.to_owned()))
    }
}

/// Why tokens cannot be signed or read; `Display` says what to do about it.
#[derive(Debug)]
#[non_exhaustive]
pub enum JwtError {
    /// There is no such way to sign.
    Method(String),
    /// A key that the method needs is not said.
    Missing(&'static str),
    /// A file cannot be read.
    File(PathBuf, io::Error),
    /// A file holds no key of this kind.
    NoKey(PathBuf, &'static str),
    /// Nothing can be signed with the private key.
    DoesNotSign,
    /// What the private key signs, the public one does not recognize.
    Mismatch,
}

impl fmt::Display for JwtError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JwtError::Method(name) => write!(
                f,
                "sign-method {name:?} is none that is known here; take RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, EdDSA, HS256, HS384 or HS512"
            ),
            JwtError::Missing(which) => write!(f, "the method needs a key that is not given; add {which}"),
            JwtError::File(path, error) => write!(
                f,
                "{}: {error}; write the path of a key that this process may read",
                path.display()
            ),
            JwtError::NoKey(path, wanted) => {
                write!(f, "{}: this is no {wanted}; name one, or another sign-method", path.display())
            }
            JwtError::DoesNotSign => {
                f.write_str("nothing can be signed with priv-key; make a key for this sign-method")
            }
            JwtError::Mismatch => f.write_str(
                "pub-key does not recognize what priv-key signs: they are not of one pair; take those that were made together",
            ),
        }
    }
}

impl std::error::Error for JwtError {}

pub(super) struct Keys {
    pub(super) signs: Option<EncodingKey>,
    pub(super) reads: DecodingKey,
}

pub(super) fn read(files: &JwtFiles) -> Result<Keys, JwtError> {
    let method = files.sign_method.0;
    let private = files.private_key.as_deref().map(|path| Ok((path, bytes(path)?))).transpose()?;
    if let Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 = method {
        let (path, secret) = private.ok_or(JwtError::Missing("priv-key, the file of the secret"))?;
        if secret.is_empty() {
            return Err(JwtError::NoKey(path.to_owned(), "secret: it is empty"));
        }
        let (signs, reads) = (EncodingKey::from_secret(&secret), DecodingKey::from_secret(&secret));
        return Ok(Keys { signs: Some(signs), reads });
    }
    let pair = private.map(|(path, pem)| {
        pair(method, &pem).ok_or_else(|| JwtError::NoKey(path.to_owned(), wanted(method).0))
    });
    let pair = pair.transpose()?;
    let public = files.public_key.as_deref().map(|path| {
        public(method, &bytes(path)?).ok_or_else(|| JwtError::NoKey(path.to_owned(), wanted(method).1))
    });
    match (pair, public.transpose()?) {
        (Some((signs, _)), Some(reads)) => Ok(Keys { signs: Some(signs), reads }),
        (Some((signs, reads)), None) => Ok(Keys { signs: Some(signs), reads }),
        (None, Some(reads)) => Ok(Keys { signs: None, reads }),
        (None, None) => Err(JwtError::Missing("priv-key, or pub-key to read tokens of others alone")),
    }
}

fn bytes(path: &Path) -> Result<Vec<u8>, JwtError> {
    fs::read(path).map_err(|error| JwtError::File(path.to_owned(), error))
}

/// The private and the public key that a method takes, in words.
fn wanted(method: Algorithm) -> (&'static str, &'static str) {
    match method {
        Algorithm::ES256 => ("private key on the curve P-256 in PEM", "public key on the curve P-256 in PEM"),
        Algorithm::ES384 => ("private key on the curve P-384 in PEM", "public key on the curve P-384 in PEM"),
        Algorithm::EdDSA => ("private key for Ed25519 in PEM", "public key for Ed25519 in PEM"),
        _ => ("private RSA key of at least 2048 bits in PEM", "public RSA key in PEM"),
    }
}

const CURVE_P256: &[u8] = &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const CURVE_P384: &[u8] = &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22];

/// A private key, and the public one that follows from it.
fn pair(method: Algorithm, pem: &[u8]) -> Option<(EncodingKey, DecodingKey)> {
    let der = PrivateKeyDer::from_pem_slice(pem).ok()?;
    match method {
        Algorithm::ES256 | Algorithm::ES384 => {
            let (ring, curve) = match method {
                Algorithm::ES256 => (&ECDSA_P256_SHA256_FIXED_SIGNING, CURVE_P256),
                _ => (&ECDSA_P384_SHA384_FIXED_SIGNING, CURVE_P384),
            };
            let der = match &der {
                PrivateKeyDer::Sec1(key) => in_pkcs8(curve, key.secret_sec1_der()),
                PrivateKeyDer::Pkcs8(key) => key.secret_pkcs8_der().to_vec(),
                _ => return None,
            };
            let pair = EcdsaKeyPair::from_pkcs8(ring, &der, &SystemRandom::new()).ok()?;
            let reads = DecodingKey::from_ec_der(pair.public_key().as_ref());
            Some((EncodingKey::from_ec_der(&der), reads))
        }
        Algorithm::EdDSA => {
            let PrivateKeyDer::Pkcs8(key) = &der else { return None };
            let der = key.secret_pkcs8_der();
            let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).ok()?;
            let reads = DecodingKey::from_ed_der(pair.public_key().as_ref());
            Some((EncodingKey::from_ed_der(der), reads))
        }
        _ => {
            let pair = match &der {
                PrivateKeyDer::Pkcs1(key) => rsa::KeyPair::from_der(key.secret_pkcs1_der()),
                PrivateKeyDer::Pkcs8(key) => rsa::KeyPair::from_pkcs8(key.secret_pkcs8_der()),
                _ => return None,
            };
            let public = rsa::PublicKeyComponents::<Vec<u8>>::from(pair.ok()?.public());
            let reads = DecodingKey::from_rsa_raw_components(&public.n, &public.e);
            Some((EncodingKey::from_rsa_pem(pem).ok()?, reads))
        }
    }
}

fn public(method: Algorithm, pem: &[u8]) -> Option<DecodingKey> {
    let is_on = |curve: &[u8]| {
        let key = SubjectPublicKeyInfoDer::from_pem_slice(pem).ok();
        key.is_some_and(|key| key.windows(curve.len()).any(|part| part == curve))
    };
    match method {
        Algorithm::ES256 if is_on(CURVE_P256) => DecodingKey::from_ec_pem(pem).ok(),
        Algorithm::ES384 if is_on(CURVE_P384) => DecodingKey::from_ec_pem(pem).ok(),
        Algorithm::ES256 | Algorithm::ES384 => None,
        Algorithm::EdDSA => DecodingKey::from_ed_pem(pem).ok(),
        _ => DecodingKey::from_rsa_pem(pem).ok(),
    }
}

/// `openssl ecparam -genkey` writes keys as RFC 5915 has them (SEC 1); what signs takes them in RFC 5208's shell (PKCS 8):
/// `SEQUENCE { 0, SEQUENCE { id-ecPublicKey, curve }, OCTET STRING { the key } }`.
fn in_pkcs8(curve: &[u8], sec1: &[u8]) -> Vec<u8> {
    const ID_EC_PUBLIC_KEY: &[u8] = &[0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
    let algorithm = tagged(0x30, &[ID_EC_PUBLIC_KEY, curve].concat());
    tagged(0x30, &[&[0x02, 0x01, 0x00], algorithm.as_slice(), &tagged(0x04, sec1)].concat())
}

/// DER: tag, length, content.
fn tagged(tag: u8, content: &[u8]) -> Vec<u8> {
    let [.., high, low] = content.len().to_be_bytes();
    let head = match content.len() {
        0..0x80 => vec![tag, low],
        0x80..0x100 => vec![tag, 0x81, low],
        _ => vec![tag, 0x82, high, low],
    };
    [head.as_slice(), content].concat()
}
