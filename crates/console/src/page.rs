//! The files of the page, and what every answer says about itself.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::Full;

/// Name, type, content.
static ASSETS: &[(&str, &str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/assets.rs"));

/// Rules, reasons, invariants and messages in words, with the places in our sources.
pub(crate) static WORDS: &str = include_str!(concat!(env!("OUT_DIR"), "/words.json"));

pub(crate) const JSON: &str = "application/json";
pub(crate) const TEXT: &str = "text/plain; charset=utf-8";

/// Nothing comes from elsewhere, nothing goes elsewhere, nobody frames it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; base-uri 'none'; \
                      form-action 'none'; frame-ancestors 'none'";

/// A file of the page; `index.html` for the root.
pub(crate) fn asset(path: &str) -> Option<Response<Full<Bytes>>> {
    let name = match path {
        "/" => "index.html",
        path => path.strip_prefix("/assets/")?,
    };
    let (_, kind, content) = ASSETS.iter().find(|(known, ..)| *known == name)?;
    Some(answer(StatusCode::OK, kind, Bytes::from_static(content)))
}

/// An answer with the headers that all of them have.
pub(crate) fn answer(
    status: StatusCode,
    kind: &'static str,
    content: impl Into<Bytes>,
) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(content.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        // Another build's page must not be shown by this one's server.
        (header::CACHE_CONTROL, "no-cache"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_page_is_there_and_none_asks_for_anything_from_elsewhere() {
        assert!(asset("/").is_some());
        assert!(asset("/assets/../Cargo.toml").is_none());
        for (name, kind, content) in ASSETS {
            let text = String::from_utf8_lossy(content);
            assert!(asset(&format!("/assets/{name}")).is_some());
            // Names of namespaces are no addresses that anybody asks.
            let elsewhere = text.replace("http://www.w3.org/", "");
            assert!(!elsewhere.contains("http://") && !elsewhere.contains("https://"), "{name}");
            if kind.starts_with("text/html") {
                assert!(
                    !text.contains("<style") && !text.contains(" style=") && !text.contains(" onclick="),
                    "{name}"
                );
                assert!(!text.contains("<script>"), "{name}: the policy allows no script within the page");
            }
        }
    }

    #[test]
    fn every_rule_has_a_place_and_every_reason_a_line() {
        let words: serde_json::Value = serde_json::from_str(WORDS).unwrap();
        for (id, rule) in words["rules"].as_object().unwrap() {
            assert!(!rule["zh"].as_str().unwrap().is_empty(), "{id}");
            let own = id.starts_with('R') || id.starts_with('Z');
            assert!(!own || !rule["places"].as_array().unwrap().is_empty(), "{id} names no place");
        }
        for (what, reason) in words["reasons"].as_object().unwrap() {
            let place = reason.get("raft").or_else(|| reason.get("zab"));
            assert!(
                place.is_some_and(|place| place["line"].as_u64() > Some(1)),
                "{what} stands nowhere in the sources"
            );
        }
    }
}
