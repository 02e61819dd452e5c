//! No secret leaves in a bundle: what is put in has none by its making, and passes here all the
//! same.

use crate::config::Config;
use crate::gateway::backup::Line;
use crate::proto::tree::Facts;
use base64::Engine;
use base64::prelude::{BASE64_STANDARD as BASE64, BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD};
use serde_json::Value;

/// Takes secrets out of texts.
#[derive(Default)]
pub(super) struct Redactor {
    /// Texts that must not stand anywhere.
    forbidden: Vec<String>,
}

/// What stands instead.
const SECRET: &str = "(secret)";

/// Shorter ones would be found in numbers and names; no text holds them by its making.
const SHORTEST: usize = 6;

impl Redactor {
    /// Forbids the secrets that a configuration names.
    pub(super) fn know_config(&mut self, config: &Config) {
        let options = &config.options;
        let keys = &options.management.keys;
        let accounts = options.accounts.iter();
        let accounts =
            accounts.flat_map(|account| [&account.secret, &account.server_secret, &account.pin]);
        let others = [&options.push_token, &keys.network, &keys.user];
        for secret in accounts.chain(others).flatten() {
            self.forbid(secret.expose().as_bytes());
        }
    }

    /// Forbids the secrets in records of the store.
    pub(super) fn know_records(&mut self, lines: &[Line]) {
        for line in lines {
            let Line::Secret { key, value } = line else { continue };
            let Ok(octets) = BASE64.decode(value) else { continue };
            if key.starts_with('t') {
                if let Ok(facts) = Facts::decode(&octets) {
                    self.forbid(&facts.value);
                }
            } else if key.starts_with(['p', 's']) {
                let record = serde_json::from_slice::<Value>(&octets).unwrap_or_default();
                for (name, value) in record.as_object().into_iter().flatten() {
                    match value {
                        Value::String(text) if name.contains("secret") => {
                            self.forbid(text.as_bytes());
                        }
                        Value::Array(numbers) if name.contains("nonce") => {
                            let octet = |it: &Value| u8::try_from(it.as_u64()?).ok();
                            let nonce: Vec<_> = numbers.iter().filter_map(octet).collect();
                            self.forbid(&nonce);
                        }
                        _ => {}
                    }
                }
            }
        }
    }

    /// Forbids a secret, as it stands, in base64 and in hexadecimal.
    fn forbid(&mut self, secret: &[u8]) {
        if secret.len() < SHORTEST {
            return;
        }
        let hex: String = secret.iter().map(|octet| format!("{octet:02x}")).collect();
        let mut forms = vec![
            BASE64.encode(secret),
            BASE64_STANDARD_NO_PAD.encode(secret),
            BASE64_URL_SAFE_NO_PAD.encode(secret),
            hex.to_uppercase(),
            hex,
        ];
        forms.extend(std::str::from_utf8(secret).map(str::to_owned));
        self.forbidden.extend(forms);
        // The longest first: what is part of another must not leave its rest.
        self.forbidden.sort_by_key(|form| std::cmp::Reverse(form.len()));
        self.forbidden.dedup();
    }

    /// The text without secrets: the known ones, passwords in URLs, private keys.
    pub(super) fn redact(&self, text: &str) -> String {
        let text = without_keys(&without_userinfo(text));
        self.forbidden.iter().fold(text, |text, form| {
            if text.contains(&**form) { text.replace(&**form, SECRET) } else { text }
        })
    }
}

/// `https://user:password@host` becomes `https://(secret)@host`.
fn without_userinfo(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("://") {
        clean.push_str(before);
        clean.push_str("://");
        let ends = |c: char| c.is_whitespace() || matches!(c, '/' | '?' | '#' | '"' | '\'' | '\\');
        let end = after.find(ends).unwrap_or(after.len());
        let (authority, behind) = after.split_at(end);
        match authority.rsplit_once('@') {
            Some((_, host)) => clean.extend([SECRET, "@", host]),
            None => clean.push_str(authority),
        }
        rest = behind;
    }
    clean.push_str(rest);
    clean
}

/// Private keys in PEM.
fn without_keys(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut hidden = false;
    for line in text.split_inclusive('\n') {
        let is_key = |mark: &str| line.contains(mark) && line.contains("PRIVATE KEY-----");
        if is_key("-----BEGIN") {
            hidden = true;
            clean.extend([SECRET, "\n"]);
        }
        if !hidden {
            clean.push_str(line);
        }
        if is_key("-----END") {
            hidden = false;
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_in_urls_and_private_keys_are_taken_out() {
        let redactor = Redactor::default();
        for (text, clean) in [
            ("a https://u:p@h/x b", "a https://(secret)@h/x b"),
            ("\"https://u@h\"", "\"https://(secret)@h\""),
            ("https://u:p@x@h:1?q", "https://(secret)@h:1?q"),
            ("https://h/a@b x@y", "https://h/a@b x@y"),
            ("://", "://"),
            (
                "a\n-----BEGIN EC PRIVATE KEY-----\nx\n-----END EC PRIVATE KEY-----\nb",
                "a\n(secret)\nb",
            ),
            ("-----BEGIN PRIVATE KEY-----\nx", "(secret)\n"),
            ("-----BEGIN CERTIFICATE-----\nx\n", "-----BEGIN CERTIFICATE-----\nx\n"),
        ] {
            assert_eq!(redactor.redact(text), clean);
        }
    }

    #[test]
    fn a_known_secret_stands_nowhere_in_any_form() {
        let mut redactor = Redactor::default();
        redactor.forbid(b"canary-secret");
        redactor.forbid(b"canary");
        redactor.forbid(b"1234");
        let text = "canary-secret canary Y2FuYXJ5LXNlY3JldA== 63616e617279 1234";
        assert_eq!(redactor.redact(text), "(secret) (secret) (secret) (secret) 1234");
    }
}
