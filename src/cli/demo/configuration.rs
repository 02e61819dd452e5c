//! How the demo's gateway is configured.

/// Where the bootstrap server is, by HTTPS.
pub(super) const BOOTSTRAP_ADDRESS: &str = "127.0.9.13:29482";
/// The gateway's DM server id.
pub(super) const GATEWAY: &str = "gateway.demo";
/// Port of the gateway's DM server on each LAN.
pub(super) const DM_PORT: u16 = 29481;
/// Port of pushes, on the gateway's WAN side and at the end devices. Not 2948, so that the demo
/// runs beside a real gateway.
pub(super) const PUSH_PORT: u16 = 29480;
/// The certificate that the demo's gateway trusts, beside its configuration.
pub(super) const TRUST: &str = "demo-only-certificate.pem";

/// The text.
pub(super) fn configuration() -> String {
    let mut text = format!(
        r#"
[gateway]
id = "{GATEWAY}"
public-address = "127.0.9.1"
share-address = true
state-dir = "."

[wan]
push-listen = ["127.0.9.1:{PUSH_PORT}"]

[bootstrap]
allow = ["dms.*.example"]
sources = ["https://{BOOTSTRAP_ADDRESS}/accounts"]
trust = "{TRUST}"
directories = ["bootstrap.d"]

[[server]]
id = "{server}"
trust = "{TRUST}"
"#,
        server = super::FIRE
    );
    for (name, net, policy) in
        [("radios", 1, "transparent"), ("sensors", 2, "bootstrap"), ("guests", 3, "ignore")]
    {
        text += &format!(
            r#"
[[lan]]
name = "{name}"
interface = "lo"
listen = "127.0.{net}.1:{DM_PORT}"
push-port = {PUSH_PORT}
policy = "{policy}"
detect = ["leases"]
lease-file = "{name}.leases"
verify = "none"
"#
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn the_embedded_configuration_is_one() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join(TRUST), super::super::management::CERTIFICATE)
            .unwrap();
        let config = Config::parse(&configuration(), &directory.path().join("demo.toml")).unwrap();
        assert_eq!(config.lans.len(), 3);
    }
}
