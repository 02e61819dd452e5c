//! Client-initiated bootstrap: what is asked of a bootstrap server, and what its answer means.
//!
//! The specification (OMA-TS-DM_Bootstrap 1.3) names the mechanism; the request here is this
//! product's own profile: a GET over HTTPS with the device's id in the query, answered by a
//! document as a push would carry it, SEC and MAC in the Content-Type if it is signed.

use super::account::is_authority;
use super::push::Received;
use crate::limits;
use std::fmt::{self, Write as _};

/// The `Accept` of the request.
pub const ACCEPT: &str = "application/vnd.syncml.dm+wbxml, application/vnd.wap.connectivity-wbxml, \
     application/vnd.syncml.dmtnds+wbxml, application/vnd.syncml.dm+xml, \
     application/vnd.syncml.dmtnds+xml, text/vnd.wap.connectivity-xml";

/// Why an answer brings no document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The server has nothing for this device (204, 404, 410).
    Nothing,
    /// It wants to be asked later (408, 429, 5xx).
    Later,
    /// It sends elsewhere, which is not followed: what is fetched is what was configured.
    Redirect,
    /// It refuses this device (401, 403, and other 4xx).
    Refused,
    /// The content type is none of a bootstrap.
    ContentType,
    /// The body is empty, or longer than [`limits::BOOTSTRAP`].
    Size,
    /// A status that no HTTP server should end with.
    Status,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nothing => "the bootstrap server has nothing for this device",
            Self::Later => "the bootstrap server wants to be asked later",
            Self::Redirect => "the bootstrap server sends elsewhere, which is not followed",
            Self::Refused => "the bootstrap server refuses this device",
            Self::ContentType => "the bootstrap server's answer is of another content type",
            Self::Size => "the bootstrap server's answer is empty or too long",
            Self::Status => "the bootstrap server's answer has a senseless status",
        })
    }
}

/// Builds the URL of a request: `base`, an `https` URL, with each of `parameters` (name, value) in
/// its query, percent-encoded. A fragment of `base` is left out. `None` if `base` is no `https` URL
/// with a host and without user information.
pub fn url(base: &str, parameters: &[(&str, &str)]) -> Option<String> {
    let base = base.split('#').next().unwrap_or_default();
    let rest = base.strip_prefix("https://")?;
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let bad = |it: char| it.is_control() || it.is_whitespace() || !it.is_ascii();
    if !is_authority(authority) || base.contains(bad) {
        return None;
    }
    let mut url = base.to_owned();
    if authority.len() == rest.len() {
        url.push('/');
    }
    for (name, value) in parameters {
        url.push(if url.contains('?') { '&' } else { '?' });
        encode(&mut url, name);
        url.push('=');
        encode(&mut url, value);
    }
    Some(url)
}

/// Whether a host that DNS SRV names is of the domain that was asked, `_service._protocol` left
/// out. DNS proves nothing: only such a host's certificate says that it speaks for the domain.
pub fn is_of_domain(target: &str, service: &str) -> bool {
    let trimmed = |name: &str| name.trim_end_matches('.').to_ascii_lowercase();
    let service = trimmed(service);
    let labels = service.split('.').skip_while(|label| label.starts_with('_'));
    let domain = labels.collect::<Vec<_>>().join(".");
    let target = trimmed(target);
    let above = target.strip_suffix(&domain);
    !domain.is_empty() && above.is_some_and(|above| above.is_empty() || above.ends_with('.'))
}

/// The URL of a service that DNS SRV names: `https`, its target without the dot at the end, its
/// port and a path. Whether the target may be asked at all is another question, see
/// [`is_of_domain`]. `None` if it is no host name.
pub fn url_of_service(target: &str, port: u16, path: &str) -> Option<String> {
    let host = target.strip_suffix('.').unwrap_or(target);
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|it| it.is_ascii_alphanumeric() || b"-_".contains(&it))
    };
    if host.len() > 253 || !host.split('.').all(is_label) || port == 0 {
        return None;
    }
    Some(format!("https://{host}:{port}/{}", path.trim_start_matches('/')))
}

/// The parameter `name` in the query of a request, percent-decoded. `None` if it is missing, empty
/// or no text.
pub fn parameter(query: &str, name: &str) -> Option<String> {
    let parts = query.split('&').filter_map(|part| part.split_once('='));
    let (_, value) = parts.into_iter().find(|(known, _)| *known == name)?;
    let mut octets = Vec::with_capacity(value.len());
    let mut rest = value.bytes();
    while let Some(octet) = rest.next() {
        octets.push(if octet == b'%' {
            let mut digit = || char::from(rest.next()?).to_digit(16);
            (digit()? * 16 + digit()?) as u8
        } else {
            octet
        });
    }
    String::from_utf8(octets).ok().filter(|text| !text.is_empty())
}

/// What an answer means. That it came over TLS from the server configured is proof enough of its
/// sender; one that is signed as well is for the caller to judge.
///
/// # Errors
/// Why there is no document in it.
pub fn answer<'a>(
    status: u16,
    content_type: Option<&str>,
    body: &'a [u8],
) -> Result<Received<'a>, Failure> {
    match status {
        200 => {}
        204 | 404 | 410 => return Err(Failure::Nothing),
        300..=399 => return Err(Failure::Redirect),
        408 | 425 | 429 | 500..=599 => return Err(Failure::Later),
        400..=499 => return Err(Failure::Refused),
        _ => return Err(Failure::Status),
    }
    if body.is_empty() || body.len() > limits::BOOTSTRAP {
        return Err(Failure::Size);
    }
    Received::of_body(content_type.unwrap_or_default(), body).ok_or(Failure::ContentType)
}

/// Appends what RFC 3986 leaves unreserved as it is, the rest as `%XX`.
fn encode(url: &mut String, text: &str) {
    for octet in text.bytes() {
        match octet {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                url.push(octet.into());
            }
            _ => {
                let _ = write!(url, "%{octet:02X}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Profile;
    use super::super::security::Method;
    use super::*;

    #[test]
    fn the_device_id_goes_into_the_query() {
        let id = [("device", "urn:imei:35&x=1"), ("mac", "02-ab")];
        let of = |base| url(base, &id).unwrap();
        let query = "device=urn%3Aimei%3A35%26x%3D1&mac=02-ab";
        assert_eq!(of("https://a.example"), format!("https://a.example/?{query}"));
        assert_eq!(of("https://a:8443/b#c"), format!("https://a:8443/b?{query}"));
        assert_eq!(of("https://a/b?c=d"), format!("https://a/b?c=d&{query}"));
        assert_eq!(url("https://a/b", &[]).as_deref(), Some("https://a/b"));
        for bad in [
            "http://a/",
            "https://",
            "https://u@a/",
            "https://a%00/",
            "https://a/ b",
            "a",
            "https:///x",
        ] {
            assert_eq!(url(bad, &id), None, "{bad}");
        }
    }

    #[test]
    fn what_a_request_asks_is_read_from_its_query() {
        let url = url("https://a/b", &[("mac", "x"), ("device", "urn:imei:35&x=1 %")]).unwrap();
        let query = url.split_once('?').unwrap().1;
        assert_eq!(parameter(query, "device").as_deref(), Some("urn:imei:35&x=1 %"));
        for bad in ["", "device", "device=", "device=%", "device=%4", "device=%zz", "device=%ff"] {
            assert_eq!(parameter(bad, "device"), None, "{bad}");
        }
    }

    #[test]
    fn a_service_s_host_speaks_for_the_domain_that_it_is_in() {
        let is = |target| is_of_domain(target, "_dm-bootstrap._tcp.fleet.example.");
        assert!(is("fleet.example") && is("boot.Fleet.example.") && is("a.b.fleet.example"));
        for other in ["example", "evil.example", "evilfleet.example", "fleet.example.evil", ""] {
            assert!(!is(other), "{other}");
        }
        assert!(!is_of_domain("a.example", "_dm-bootstrap._tcp"));
    }

    #[test]
    fn a_service_of_dns_becomes_an_https_url_or_nothing() {
        let of = |target| url_of_service(target, 443, "/bootstrap");
        assert_eq!(of("b.example.").as_deref(), Some("https://b.example:443/bootstrap"));
        for bad in [".", "", "a..b", "a b", "u@a", "a/b", "a:1"] {
            assert_eq!(of(bad), None, "{bad}");
        }
        assert_eq!(url_of_service("a", 0, "/"), None);
    }

    #[test]
    fn every_type_asked_for_is_taken_in_any_case_and_with_its_signature() {
        for media in ACCEPT.split(", ") {
            let media = media.to_ascii_uppercase();
            let profile = if media.contains("SYNCML") { Profile::Dm } else { Profile::Cp };
            let received = answer(200, Some(&media), b"x").unwrap();
            assert_eq!((received.profile, received.security), (profile, None), "{media}");
            let signed = format!("{media};charset=utf-8; SEC=USERPIN; MAC={}", "0a".repeat(20));
            let security = answer(200, Some(&signed), b"x").unwrap().security.unwrap();
            assert_eq!((security.method, security.mac), (Method::UserPin, Some([10; 20])));
        }
    }

    #[test]
    fn the_status_decides_before_the_body_counts() {
        let dm = Some("application/vnd.syncml.dm+wbxml");
        assert_eq!(answer(200, dm, b"x").map(|it| it.document), Ok(&b"x"[..]));
        for (status, failure) in [
            (204, Failure::Nothing),
            (404, Failure::Nothing),
            (302, Failure::Redirect),
            (307, Failure::Redirect),
            (401, Failure::Refused),
            (403, Failure::Refused),
            (429, Failure::Later),
            (503, Failure::Later),
            (101, Failure::Status),
            (206, Failure::Status),
        ] {
            assert_eq!(answer(status, dm, b"x"), Err(failure), "{status}");
        }
        assert_eq!(answer(200, None, b"x"), Err(Failure::ContentType));
        assert_eq!(answer(200, Some("text/html"), b"x"), Err(Failure::ContentType));
        assert_eq!(answer(200, dm, b""), Err(Failure::Size));
        assert_eq!(answer(200, dm, &vec![0; limits::BOOTSTRAP + 1]), Err(Failure::Size));
    }
}
