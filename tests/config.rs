//! The configuration: what its keys mean, what is refused with which words, what is warned of.

#![expect(clippy::unwrap_used, reason = "a test may fail on what it did not expect")]

use dm_gateway::config::{CardConfig, Config, control_socket, reference};
use dm_gateway::gateway::alert::WireProfile;
use dm_gateway::gateway::policy::{DeviceAuth, Policy, Verify};
use dm_gateway::gateway::seam::LanId;
use dm_gateway::gateway::{Detect, Prefix};
use dm_gateway::io::dm_client::Roots;
use dm_gateway::proto::bootstrap::{self, Level, Source};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

const MINIMAL: &str = include_str!("fixtures/config/valid/minimal.toml");
const EXAMPLE: &str = include_str!("../systemd/dm-gateway.toml.example");
const FACTORY: &[u8] = include_bytes!("../systemd/bootstrap.xml.example");

fn fixtures(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/config").join(folder)
}

fn parse(text: &str) -> Result<Config, String> {
    Config::parse(text, Path::new("/etc/gw.toml")).map_err(|error| error.to_string())
}

/// The minimal configuration, a line added to its [gateway], its [[lan]] and its end.
fn extended(gateway: &str, lan: &str, rest: &str) -> String {
    MINIMAL.replace("[gateway]\n", &format!("[gateway]\n{gateway}\n")) + lan + "\n" + rest + "\n"
}

fn warnings(gateway: &str, lan: &str, rest: &str) -> Vec<String> {
    parse(&extended(gateway, lan, rest)).unwrap().warnings
}

#[test]
fn four_lines_are_enough() {
    let config = parse(MINIMAL).unwrap();
    assert_eq!(config.state_dir, Path::new("/etc/state"));
    assert_eq!(config.control_socket, Path::new("/etc/state/control.sock"));
    let listen: Vec<_> = config.push_listen.iter().map(ToString::to_string).collect();
    assert_eq!(listen, ["0.0.0.0:2948", "[::]:2948"]);
    assert_eq!(config.wan_interface, None);
    assert!(config.http_push.listen.is_empty() && config.http_push.tls.is_none());
    assert_eq!(config.warnings, Vec::<String>::new());
    assert_eq!(config.lans.len(), 1);
    assert_eq!(config.lans[0].listen, ["192.168.1.1:8080".parse().unwrap()]);
    assert_eq!(config.lans[0].lease_file, None);

    let options = config.options;
    assert_eq!(options.id, "gw");
    assert_eq!(options.public_address, None);
    assert!(!options.share_address);
    assert_eq!(options.wire_profile, WireProfile::Registered);
    assert_eq!(options.push_interval, Some(Duration::from_secs(1)));
    assert_eq!(options.trigger_expiry, Duration::from_secs(900));
    assert_eq!(options.trusted_sources, []);
    assert!(options.push_token.is_none());
    assert!(options.accounts.is_empty());
    let lan = &options.lans[0];
    assert_eq!((&*lan.name, &*lan.interface), ("radios", "br-lan"));
    assert_eq!(lan.policy, Policy::Ignore);
    assert_eq!(lan.detect, Detect { neighbours: true, leases: false, configured: true });
    assert_eq!(lan.verify, Verify::Neighbour);
    assert_eq!(lan.device_auth, DeviceAuth::None);
    assert_eq!(lan.push_port, 2948);
    assert_eq!(lan.request_interval, Some(Duration::from_millis(50)));
    assert_eq!(lan.request_burst, 100);
}

#[test]
fn every_key_counts() {
    let path = fixtures("valid/full.toml");
    let config = Config::load(&path).unwrap();
    assert_eq!(config.control_socket, Path::new("/run/dm-gateway/control.sock"));
    assert_eq!(config.wan_interface.as_deref(), Some("wwan0"));
    let listen: Vec<_> = config.http_push.listen.iter().map(ToString::to_string).collect();
    assert_eq!(listen, ["192.0.2.1:4035", "[2001:db8::5]:4035"]);
    assert!(config.http_push.tls.is_some());
    assert!(!format!("{config:?}").contains("open-sesame"));
    let listen: Vec<_> = config.push_listen.iter().map(ToString::to_string).collect();
    assert_eq!(listen, ["192.0.2.1:2948", "[2001:db8::5]:2948"]);
    let listen: Vec<_> = config.lans[0].listen.iter().map(ToString::to_string).collect();
    assert_eq!(listen, ["192.168.20.1:8080", "[fe80::1%7]:8080"]);
    assert_eq!(config.lans[0].lease_file, Some(fixtures("valid/leases/radios")));
    assert_eq!(config.lans[1].lease_file, None);

    let options = config.options;
    assert_eq!(options.public_address.as_deref(), Some("2001:db8::5"));
    assert!(!options.share_address);
    assert_eq!(options.wire_profile, WireProfile::Draft);
    assert_eq!(options.push_interval, Some(Duration::from_secs(2)));
    assert_eq!(options.trigger_expiry, Duration::from_secs(7200));
    let prefix = |address: &str, length| Prefix { address: address.parse().unwrap(), length };
    let sources = [prefix("10.0.0.0", 8), prefix("198.51.100.7", 32), prefix("2001:db8::", 32)];
    assert_eq!(options.trusted_sources, sources);
    assert_eq!(options.push_token.as_ref().unwrap().expose(), "open-sesame-0123456789");
    let lan = &options.lans[0];
    assert_eq!(lan.policy, Policy::Transparent);
    assert_eq!(lan.detect, Detect { neighbours: false, leases: true, configured: true });
    assert_eq!(lan.device_auth, DeviceAuth::Md5);
    assert_eq!(lan.push_port, 12948);
    assert_eq!(lan.request_interval, None);
    assert_eq!(lan.request_burst, 7);
    assert_eq!(options.lans[1].policy, Policy::Bootstrap);

    let [radio, guest] = &options.accounts[..] else { panic!("{:?}", options.accounts) };
    assert_eq!(radio.id.as_str(), "IMEI:490154203237518");
    assert_eq!(radio.lan, Some(LanId(0)));
    assert_eq!(radio.address, Some("192.168.20.50".parse().unwrap()));
    assert_eq!(radio.user, "radio-50");
    assert_eq!(radio.secret.as_ref().unwrap().expose(), "mellon");
    assert_eq!(radio.server_secret.as_ref().unwrap().expose(), "friend");
    assert!(!format!("{radio:?}").contains("mellon"));
    assert_eq!(guest.id.as_str(), "mac:01-ab-34-ef-69-0c");
    assert_eq!(guest.user, "mac:01-ab-34-ef-69-0c");
    assert_eq!(guest.lan, Some(LanId(1)));
    assert!(guest.secret.is_none());
}

#[test]
fn the_example_shows_the_defaults() {
    let directory = tempfile::tempdir().unwrap();
    let origin = directory.path().join("dm-gateway.toml");
    for secret in
        ["radio-50.secret", "radio-50.server-secret", "radio-50.pin", "network.pin", "user.pin"]
    {
        let path = directory.path().join(secret);
        fs::write(&path, "s3cret\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    let fixtures = fixtures("valid/secrets");
    for (fixture, name) in [
        ("push.pem", "gateway.pem"),
        ("push.key", "gateway.key"),
        ("push.pem", "bootstrap.pem"),
        ("push.key", "bootstrap.key"),
        ("push-clients.pem", "dm-servers-ca.pem"),
        ("push-token", "push.token"),
        ("push-clients.pem", "dms-ca.pem"),
        ("push-clients.pem", "bootstrap-ca.pem"),
        ("push.pem", "gateway-client.pem"),
        ("push.key", "gateway-client.key"),
    ] {
        let path = directory.path().join(name);
        fs::copy(fixtures.join(fixture), &path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    let asis = Config::parse(EXAMPLE, &origin).unwrap();
    assert_eq!(asis.warnings, Vec::<String>::new());

    let uncommented = |line: &str| match line.strip_prefix('#') {
        Some(rest) if !rest.is_empty() && !rest.starts_with(' ') => rest.to_owned() + "\n",
        _ => line.to_owned() + "\n",
    };
    let text: String = EXAMPLE.lines().map(uncommented).collect();
    let mut all = Config::parse(&text, &origin).map_err(|error| error.to_string()).unwrap();
    let account = all.options.accounts.pop().unwrap();
    assert_eq!(account.user, account.id.as_str());
    let http_push = std::mem::take(&mut all.http_push);
    assert!(http_push.listen.len() == 2 && http_push.tls.is_some());
    assert!(all.options.push_token.take().is_some());
    assert!(all.lans[0].bootstrap_tls.take().is_some());
    assert_eq!(std::mem::take(&mut all.options.lans[0].bootstrap_listen).len(), 2);
    let management =
        std::mem::replace(&mut all.options.management, asis.options.management.clone());
    let client = std::mem::replace(&mut all.client, asis.client.clone());
    let [server] = &management.servers[..] else { panic!("{:?}", management.servers) };
    assert_eq!((&*server.id, server.allow_http), ("com.example.dms", false));
    assert_eq!(server.interval, Some(Duration::from_secs(24 * 3600)));
    let trust = &client.trust["com.example.dms"];
    assert_eq!(trust.roots, Roots::File(directory.path().join("dms-ca.pem")));
    assert!(trust.identity.is_some() && client.bootstrap_trust.identity.is_some());
    assert!(management.keys.network.is_some() && management.keys.user.is_some());
    assert_eq!((management.allow.len(), management.sources.len()), (1, 3));
    assert_eq!(client.card, Some(CardConfig::Directory(directory.path().join("card"))));
    // These stand there as they are without the section.
    assert_eq!(management.parameters, asis.options.management.parameters);
    assert_eq!(client.directories, asis.client.directories);
    assert_eq!(format!("{all:?}"), format!("{asis:?}"));
}

#[test]
fn the_factory_file_that_is_shipped_makes_one_account_that_proves_both_sides() {
    let [account] = &bootstrap::read(FACTORY, Source::Factory).unwrap()[..] else { panic!() };
    assert_eq!(account.server_id, "dms.fleet.example");
    assert_eq!(account.url().as_deref(), Some("https://dms.fleet.example:8443/dm"));
    for level in [Level::Client, Level::Server] {
        assert!(account.credential(level).unwrap().secret.is_some());
    }
}

#[test]
fn a_list_of_one_needs_no_brackets() {
    let text = extended("", "detect = \"static\"", "[wan]\npush-listen = \"192.0.2.1:2948\"");
    let config = parse(&text).unwrap();
    assert!(config.options.lans[0].detect.configured);
    assert!(!config.options.lans[0].detect.neighbours);
    assert_eq!(config.push_listen.len(), 1);
}

#[test]
fn a_lease_file_is_used_unless_detect_says_otherwise() {
    let config = parse(&extended("", "lease-file = \"/tmp/leases\"", "")).unwrap();
    assert!(config.options.lans[0].detect.leases);
    let given = "lease-file = \"/tmp/leases\"\ndetect = []";
    let config = parse(&extended("", given, "")).unwrap();
    assert_eq!(config.options.lans[0].detect, Detect::default());
}

#[test]
fn a_public_address_is_shared_unless_forbidden() {
    let share = |gateway| parse(&extended(gateway, "", "")).unwrap().options.share_address;
    assert!(share("public-address = \"gw.example.com\""));
    assert!(!share("public-address = \"gw.example.com\"\nshare-address = false"));
}

#[test]
fn times_and_rates_have_units_and_fractions() {
    let expiry = |text| parse(&extended(text, "", "")).unwrap().options.trigger_expiry.as_secs();
    assert_eq!(expiry("trigger-expiry = 90"), 90);
    assert_eq!(expiry("trigger-expiry = \"90s\""), 90);
    assert_eq!(expiry("trigger-expiry = \"7d\""), 604_800);
    let interval = |text| parse(&extended(text, "", "")).unwrap().options.push_interval;
    assert_eq!(interval("push-rate = 0"), None);
    assert_eq!(interval("push-rate = 0.0"), None);
    assert_eq!(interval("push-rate = 4"), Some(Duration::from_millis(250)));
    assert_eq!(interval("push-rate = 0.001"), Some(Duration::from_secs(1000)));
}

#[test]
fn a_link_local_listener_names_its_interface() {
    let listen = |text: &str| {
        let text = MINIMAL.replace("192.168.1.1:8080", text);
        parse(&text).map(|config| config.lans[0].listen[0].to_string())
    };
    assert_eq!(listen("[fe80::1%lo]:8080").unwrap(), "[fe80::1%1]:8080");
    assert_eq!(listen("[fe80::1%3]:8080").unwrap(), "[fe80::1%3]:8080");
    for (text, said) in [
        ("[fe80::1]:8080", "link-local without an interface; try: \"[fe80::1%br-lan]:8080\""),
        ("[fe80::1%0]:8080", "names the interface `0`, which is not there"),
        ("[fe80::1%nope]:8080", "names the interface `nope`, which is not there"),
        ("[2001:db8::1%lo]:8080", "which is not link-local"),
        ("192.0.2.1%lo:8080", "not an address with a port"),
        ("[fe80::1%lo:8080", "not an address with a port"),
    ] {
        let error = listen(text).unwrap_err();
        assert!(error.contains(said), "{text}: {error}");
    }
}

#[test]
fn lans_may_share_a_wildcard_since_each_has_its_interface() {
    let other = "[[lan]]\nname = \"b\"\ninterface = \"b\"\nlisten = \"0.0.0.0:8080\"";
    let text = extended("", "", other).replace("192.168.1.1:8080", "0.0.0.0:8080");
    assert_eq!(parse(&text).unwrap().lans.len(), 2);
}

#[test]
fn each_invalid_file_is_refused_with_the_words_beside_it() {
    let mut count = 0;
    for entry in fs::read_dir(fixtures("invalid")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().unwrap() != "toml" {
            continue;
        }
        let expected = fs::read_to_string(path.with_extension("error")).unwrap();
        let expected = expected.trim_end_matches('\n');
        let error = Config::load(&path).unwrap_err().to_string();
        let separator = if expected.starts_with("line ") { " " } else { ": " };
        let expected = format!("{}{separator}{expected}", path.display());
        assert!(error.starts_with(&expected), "{error}\n{expected}");
        assert!(error.contains("; try: "), "{error}");
        count += 1;
    }
    assert!(count >= 12);
}

#[test]
fn wrong_values_of_the_gateway_are_refused() {
    let long = format!("id = \"{}\"", "x".repeat(256));
    for (line, said) in [
        ("id = \"\"", "`id` in [gateway] is empty"),
        ("id = \"a\\u0007b\"", "is not a DM server id"),
        ("id = \" gw\"", "is not a DM server id"),
        (&long, "is not a DM server id"),
        ("id = 7", "`id` in [gateway] is an integer; try: text in double quotes"),
        ("share-address = \"yes\"", "is a string; try: true or false"),
        ("wire-profile = \"drfat\"", "is `drfat`, which it cannot be; try: one of \"registered\""),
        ("push-rate = -1", "out of range"),
        ("push-rate = nan", "out of range"),
        ("push-rate = inf", "out of range"),
        ("push-rate = 1e-9", "out of range"),
        ("push-rate = \"1\"", "is a string; try: a number"),
        ("trigger-expiry = 0", "is not a time in range"),
        ("trigger-expiry = -5", "is not a time in range"),
        ("trigger-expiry = \"8d\"", "is not a time in range"),
        ("trigger-expiry = \"15 minutes\"", "is not a time in range"),
        ("trigger-expiry = \"99999999999999999999d\"", "is not a time in range"),
        ("trigger-expiry = \"9999999999999999999d\"", "is not a time in range"),
        ("trigger-expiry = 1.5", "is a float"),
        ("public-address = \"gw.example.com:2948\"", "neither an address nor a DNS name"),
        ("public-address = \"[2001:db8::1]\"", "neither an address nor a DNS name"),
        ("public-address = \"192.0.2.256\"", "neither an address nor a DNS name"),
        ("public-address = \"a..b\"", "neither an address nor a DNS name"),
        ("public-address = \"0.0.0.0\"", "the address of nobody"),
        ("public-address = \"224.0.0.1\"", "a group address"),
        (
            "policy = \"transparent\"",
            "unknown key `policy` in [gateway]; try: put it below [[lan]]",
        ),
        ("colour = 1", "unknown key `colour` in [gateway]; try: one of id, public-address,"),
        ("state_dir = \"x\"", "unknown key `state_dir` in [gateway]; try: `state-dir`"),
    ] {
        let key = line.split(' ').next().unwrap();
        let kept = |known: &&str| !known.starts_with(&format!("{key} = "));
        let text: Vec<_> = MINIMAL.lines().filter(kept).collect();
        let text = text.join("\n").replacen("[gateway]", &format!("[gateway]\n{line}"), 1);
        let error = parse(&text).unwrap_err();
        assert!(error.starts_with("/etc/gw.toml line 2: "), "{line}: {error}");
        assert!(error.contains(said) && error.contains("; try: "), "{line}: {error}");
    }
}

#[test]
fn wrong_values_of_a_lan_are_refused() {
    for (line, said) in [
        ("name = \"two words\"", "is not a name; try: 1 to 64 octets without blanks"),
        ("interface = \"eth0/1\"", "which no interface is called"),
        ("interface = \"sixteen-octets-x\"", "which no interface is called"),
        ("listen = []", "is an empty list; try: the gateway's address on this LAN"),
        ("listen = 8080", "is an integer; try: text, or an array of texts"),
        ("listen = [8080]", "is an integer; try: text in double quotes"),
        ("listen = \"192.168.1.1\"", "not an address with a port"),
        ("listen = \"gw:8080\"", "not an address with a port"),
        ("listen = \"192.168.1.1:80800\"", "not an address with a port"),
        ("listen = \"224.0.0.1:8080\"", "a group address"),
        ("listen = \"[::ffff:192.0.2.1]:8080\"", "try: \"192.0.2.1\""),
        ("listen = [\"192.0.2.1:80\", \"192.0.2.1:80\"]", "which stands before already"),
        ("push-port = 0", "is out of range; try: a number from 1 to 65535"),
        ("push-port = 65536", "is out of range"),
        ("push-port = -1", "is out of range"),
        ("policy = \"Transparent\"", "one of \"ignore\", \"bootstrap\", \"transparent\""),
        ("detect = [\"neighbors\"]", "one of \"neighbours\", \"leases\", \"static\""),
        ("detect = [\"leases\"]", "there is no `lease-file`; try: `lease-file = "),
        ("trusted-link = 1", "is an integer; try: true or false"),
        ("provision = true", "has no way to get secrets to a device; try: `trusted-link = true`"),
        ("bootstrap-profile = \"oma\"", "one of \"dm\", \"cp\""),
        ("bootstrap-listen = \"192.168.1.1:8443\"", "has no certificate to show; try: `boot"),
        ("bootstrap-certificate = \"a.pem\"", "has no `bootstrap-key` beside it"),
        ("bootstrap-key = \"a.pem\"", "has no `bootstrap-certificate` beside it"),
        ("verify = \"no\"", "one of \"neighbour\", \"none\""),
        ("device-auth = \"sha\"", "one of \"none\", \"basic\", \"md5\""),
        ("request-rate = -2", "out of range"),
        ("request-burst = 0", "out of range"),
        ("lease-file = \"\"", "is empty"),
    ] {
        let key = line.split(' ').next().unwrap();
        let kept = |known: &&str| !known.starts_with(&format!("{key} = "));
        let text: Vec<_> = MINIMAL.lines().filter(kept).collect();
        let error = parse(&(text.join("\n") + "\n" + line)).unwrap_err();
        assert!(error.contains(" in [[lan]] ") && error.contains("; try: "), "{line}: {error}");
        assert!(error.contains(said), "{line}: {error}");
    }
}

#[test]
fn wrong_values_elsewhere_are_refused() {
    for (rest, said) in [
        ("[wan]\npush-listen = []", "line 11: `push-listen` in [wan] is an empty list"),
        (
            "[wan]\npush-listen = [\n\"[::]:1\",\n\"[::]:1\"]",
            "line 13: `push-listen` in [wan] holds",
        ),
        ("[wan]\ntrusted-sources = []", "try: leave the key out to trust any source"),
        ("[wan]\ntrusted-sources = \"10.0.0.0/33\"", "not a block of addresses"),
        ("[wan]\ntrusted-sources = \"10.0.0.0/+8\"", "not a block of addresses"),
        ("[wan]\ntrusted-sources = \"10.0.0/8\"", "not a block of addresses"),
        ("[wan]\ntrusted-sources = \"2001:db8::/129\"", "not a block of addresses"),
        ("[wan]\ntrusted-sources = \"example.com\"", "not a block of addresses"),
        ("[wan]\ntrusted-sources = \"::ffff:10.0.0.1\"", "IPv4 in the dress of IPv6"),
        ("[[wan]]\ninterface = \"x\"", "try: `[wan]` on a line of its own"),
        ("[device]\nid = \"x\"", "try: `[[device]]` on a line of its own"),
        ("[[device]]\nlan = \"radios\"", "line 10: [[device]] lacks `id`"),
        ("[[device]]\nid = \"two words\"", "is `two words`, not a device id"),
        ("[[device]]\nid = \"mac:01-ab\"", "is `mac:01-ab`, not a device id"),
        (
            "[[device]]\nid = \"x\"\nlan = \"radio\"",
            "`radio`, which it cannot be; try: one of \"radios\"",
        ),
        ("[[device]]\nid = \"x\"\naddress = \"fe80::1%eth0\"", "leave out the part from `%`"),
        ("[[device]]\nid = \"x\"\naddress = \"10.0.0.1/8\"", "not an address"),
        ("[[device]]\nid = \"x\"\naddress = \"0.0.0.0\"", "the address of nobody"),
        ("[[device]]\nid = \"x\"\naddress = \"255.255.255.255\"", "a group address"),
        ("[[device]]\nid = \"x\"\nuser = \"\"", "`user` in [[device]] is empty"),
        (
            "[[device]]\nid = \"x\"\nsecret = \"hunter2\"",
            "unknown key `secret` in [[device]]; try: `secret-file`",
        ),
        ("[[device]]\nid = \"x\"\nsecret-file = \"/nope\"", "names /nope, which does not exist"),
        ("[[device]]\nid = \"x\"\nsecret-file = \"/proc\"", "names /proc, which is not a file"),
        ("[[server]]\nid = \"a b\"", "`id` in [[server]] is not a DM server id"),
        ("[control]\nsocket = \"a\\u0000b\"", "holds control characters"),
        ("[contrl]\nsocket = \"x\"", "line 10: unknown section `contrl`; try: `[control]`"),
    ] {
        let error = parse(&(MINIMAL.to_owned() + "\n" + rest)).unwrap_err();
        assert!(error.contains(said) && error.contains("; try: "), "{rest}: {error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
    let twins = "[[device]]\nid = \"a\"\naddress = \"10.0.0.1\"\n\
                 [[device]]\nid = \"b\"\naddress = \"10.0.0.1\"";
    let error = parse(&extended("", "", twins)).unwrap_err();
    assert!(error.contains("`address` in [[device]] is the address of another device"), "{error}");
    let error = parse(&("id = \"gw\"\n".to_owned() + MINIMAL)).unwrap_err();
    assert!(error.contains("line 1: unknown key `id`; try: put it below [gateway]"), "{error}");
    let long = format!("[control]\nsocket = \"/{}\"", "x".repeat(107));
    let error = parse(&extended("", "", &long)).unwrap_err();
    assert!(error.contains("108 octets long; try: a path of at most 107 octets"), "{error}");
}

#[test]
fn secrets_come_from_files_that_only_few_may_read() {
    let directory = tempfile::tempdir().unwrap();
    let origin = directory.path().join("gw.toml");
    let file = directory.path().join("secret");
    let text = extended("", "", "[[device]]\nid = \"IMEI:1\"\nsecret-file = \"secret\"");
    let load = |content: &[u8], mode| {
        fs::write(&file, content).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        Config::parse(&text, &origin).map_err(|error| error.to_string())
    };
    let secret = |config: &Config| config.options.accounts[0].secret.clone().unwrap();
    for (content, expected) in
        [("s3cret", "s3cret"), ("s3cret\n", "s3cret"), ("s3cret\r\n", "s3cret"), (" a b ", " a b ")]
    {
        let config = load(content.as_bytes(), 0o640).unwrap();
        assert_eq!(secret(&config).expose(), expected);
        assert_eq!(config.warnings, Vec::<String>::new());
    }
    let config = load(b"s3cret\n", 0o644).unwrap();
    assert!(config.warnings[0].starts_with("everybody may read "), "{:?}", config.warnings);
    for (content, said) in [
        (&b"\n"[..], "which is empty"),
        (b"", "which is empty"),
        (b"s3cret\n\n", "more than one line"),
        (b"\xffs3cret", "not UTF-8"),
        (&[b'x'; 1025], "longer than 1024 octets"),
    ] {
        let error = load(content, 0o600).unwrap_err();
        assert!(error.contains(said) && error.contains(" line 13: "), "{error}");
        assert!(!error.contains("s3cret"), "{error}");
    }
}

#[test]
fn what_is_rarely_meant_is_warned_of() {
    let transparent = "policy = \"transparent\"";
    let device = "[[device]]\nid = \"IMEI:1\"";
    for (gateway, lan, rest, said) in [
        ("", "device-auth = \"basic\"", device, "device-auth \"basic\": secrets cross it in clear"),
        ("", "device-auth = \"md5\"", device, "device IMEI:1 has no secret-file"),
        ("", "device-auth = \"md5\"", "", "asks for credentials, and no [[device]] has any"),
        ("", "verify = \"none\"", "", "has verify \"none\""),
        (
            "",
            "detect = []\nlease-file = \"x\"",
            "",
            "has a lease-file that its detect does not use",
        ),
        ("", transparent, "", "(Share false)"),
        ("share-address = true", "", "", "share-address has no effect"),
        ("public-address = \"10.1.2.3\"", transparent, "", "10.1.2.3 is private"),
        ("public-address = \"100.64.0.1\"", "", "", "100.64.0.1 is private"),
        ("public-address = \"fd00::1\"", "", "", "fd00::1 is private"),
        ("public-address = \"127.0.0.1\"", "", "", "127.0.0.1 is loopback"),
        ("public-address = \"::1\"", "", "", "::1 is loopback"),
        ("public-address = \"169.254.1.1\"", "", "", "169.254.1.1 is link-local"),
        ("public-address = \"fe80::1\"", "", "", "fe80::1 is link-local"),
        ("", "", "[bootstrap]\ndirectories = \"/nope\"", "there is no directory /nope"),
        ("", "", "[wan]\ninterface = \"br-lan\"", "is on the WAN's interface br-lan"),
        ("", "detect = []", "[[device]]\nid = \"x\"\naddress = \"10.0.0.1\"", "lacks \"static\""),
    ] {
        let warnings = warnings(gateway, lan, rest);
        assert!(warnings.iter().any(|warning| warning.contains(said)), "{said}: {warnings:?}");
    }
    let public = "public-address = \"gw.example.com\"";
    assert_eq!(warnings(public, transparent, ""), Vec::<String>::new());
    let text = extended("", "verify = \"none\"", "").replace("br-lan", "lo");
    assert_eq!(parse(&text).unwrap().warnings, Vec::<String>::new());
    let text = MINIMAL.replace(":8080", ":0");
    assert!(parse(&text).unwrap().warnings[0].contains("at port 0"));
}

#[test]
fn pushes_over_http_want_a_token_or_a_certificate_and_a_private_way() {
    let directory = tempfile::tempdir().unwrap();
    let fixtures = fixtures("valid/secrets");
    for name in ["push.pem", "push.key", "push-clients.pem", "push-token"] {
        fs::copy(fixtures.join(name), directory.path().join(name)).unwrap();
        let mode = fs::Permissions::from_mode(0o600);
        fs::set_permissions(directory.path().join(name), mode).unwrap();
    }
    fs::write(directory.path().join("short"), "hunter2\n").unwrap();
    fs::write(directory.path().join("no-pem"), "hunter2\n").unwrap();
    fs::write(directory.path().join("bad-pem"), "-----BEGIN CERTIFICATE-----\nhunter2!\n").unwrap();
    fs::write(
        directory.path().join("bad-certificate"),
        "-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n",
    )
    .unwrap();
    let load = |listen: &str, keys: &[(&str, &str)]| {
        let keys: String = keys.iter().map(|(key, file)| format!("{key} = \"{file}\"\n")).collect();
        let wan = format!("[wan]\nhttp-push-listen = {listen}\n[wan.http-push]\n{keys}");
        let config = Config::parse(&extended("", "", &wan), &directory.path().join("gw.toml"));
        config.map_err(|error| error.to_string())
    };
    let (certificate, key) = (("certificate", "push.pem"), ("key", "push.key"));
    let (client_ca, token) = (("client-ca", "push-clients.pem"), ("token-file", "push-token"));
    let (any, local) = ("\"0.0.0.0:4035\"", "[\"127.0.0.1:4035\", \"[::1]:4035\"]");

    for (listen, keys) in [
        (any, &[certificate, key, client_ca][..]),
        (any, &[certificate, key, token]),
        (any, &[certificate, key, client_ca, token]),
        (local, &[token]),
        (local, &[certificate, key, client_ca]),
    ] {
        let config = load(listen, keys).unwrap();
        assert_eq!(config.warnings, Vec::<String>::new());
        assert_eq!(config.http_push.listen.len(), if listen == any { 1 } else { 2 });
        assert_eq!(config.http_push.tls.is_some(), keys.contains(&certificate));
        assert_eq!(config.options.push_token.is_some(), keys.contains(&token));
    }

    let anybody = "`http-push-listen` in [wan] would take pushes over HTTP from anybody; try: \
                   `token-file` in [wan.http-push], or `client-ca` there";
    let clear = "`http-push-listen` in [wan] holds 0.0.0.0:4035, where tokens would pass in clear";
    for (listen, keys, said) in [
        (any, &[][..], anybody),
        (local, &[], anybody),
        (any, &[certificate, key], anybody),
        (any, &[token], clear),
        ("[\"127.0.0.1:4035\", \"0.0.0.0:4035\"]", &[token], clear),
        (any, &[certificate, token], "`certificate` in [wan.http-push] has no `key` beside it"),
        (any, &[key, token], "`key` in [wan.http-push] has no `certificate` beside it"),
        (local, &[client_ca], "`client-ca` in [wan.http-push] has no `certificate` beside it"),
        (any, &[("certificate", "nope"), key], "nope, which does not exist"),
        (any, &[("certificate", "no-pem"), key], "no-pem, which holds no certificate in PEM"),
        (any, &[("certificate", "bad-pem"), key], "bad-pem, which is not PEM"),
        (any, &[("certificate", "bad-certificate"), key], "bad-certificate, which "),
        (any, &[certificate, ("key", "push.pem")], "push.pem, which holds no private key in PEM"),
        (any, &[("certificate", "push-clients.pem"), key], "push.key, which is not the key of"),
        (
            any,
            &[certificate, key, ("client-ca", "push.key")],
            "`client-ca` in [wan.http-push] names",
        ),
        (any, &[certificate, key, ("client-ca", "bad-certificate")], "which holds a bad one: "),
        (local, &[("token-file", "no")], "no, which does not exist"),
        (local, &[("token", "hunter2")], "unknown key `token` in [wan.http-push]; try: `token-"),
        ("[\"127.0.0.1:1\", \"127.0.0.1:1\"]", &[token], "each address once"),
        ("\"127.0.0.1\"", &[token], "not an address with a port"),
    ] {
        let error = load(listen, keys).unwrap_err();
        assert!(error.contains(said) && error.contains("; try: "), "{error}\n{said}");
        assert!(!error.contains("hunter2"), "{error}");
    }

    let warned = |listen, keys: &[_]| load(listen, keys).unwrap().warnings.join("\n");
    assert!(warned("[]", &[token]).contains("has no effect without http-push-listen"));
    let short = warned(local, &[("token-file", "short")]);
    assert!(short.contains("fewer than 16 octets") && !short.contains("hunter2"), "{short}");
    let public = fs::Permissions::from_mode(0o644);
    fs::set_permissions(directory.path().join("push.key"), public).unwrap();
    assert!(warned(any, &[certificate, key, token]).contains("everybody may read "));
    for (text, said) in [
        ("[wan]\nhttp-push = true", "`[wan.http-push]` on a line of its own"),
        ("[http-push]\nkey = \"x\"", "unknown section `http-push`; try: put it below [wan]"),
        ("[\"wan.http-push\"]\nkey = \"x\"", "unknown section `wan.http-push`"),
    ] {
        let error = parse(&extended("", "", text)).unwrap_err();
        assert!(error.contains(said), "{error}");
    }
}

#[test]
fn clients_find_the_socket_without_reading_secrets() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("gw.toml");
    fs::write(&path, extended("colour = 1", "", "[[device]]\nsecret-file = \"/nope\"")).unwrap();
    assert_eq!(control_socket(&path).unwrap(), directory.path().join("state/control.sock"));
    fs::write(&path, "[control]\nsocket = \"/run/x.sock\"\n").unwrap();
    assert_eq!(control_socket(&path).unwrap(), Path::new("/run/x.sock"));
    fs::write(&path, "[gateway]\nid = \"x\"\n").unwrap();
    let error = control_socket(&path).unwrap_err().to_string();
    assert!(error.contains(" line 1: [gateway] lacks `state-dir`; try: "), "{error}");
    fs::remove_file(&path).unwrap();
    let error = control_socket(&path).unwrap_err().to_string();
    assert!(error.contains("does not exist; try: `--socket PATH`"), "{error}");
    let error = Config::load(&path).unwrap_err().to_string();
    assert!(error.contains("does not exist; try: `--config FILE`"), "{error}");
}

#[test]
fn no_beginning_of_a_file_makes_it_panic() {
    let full = fs::read_to_string(fixtures("valid/full.toml")).unwrap();
    for text in [&full, EXAMPLE] {
        for end in (0..text.len()).filter(|end| text.is_char_boundary(*end)) {
            let _ = Config::parse(&text[..end], &fixtures("valid/full.toml"));
        }
    }
}

#[test]
fn the_man_page_is_what_the_table_of_keys_says() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (path, text) = (root.join("systemd/man/dm-gateway.toml.5"), reference::roff());
    if std::env::var_os("UPDATE_EXPECTED").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, &text).unwrap();
    }
    let known = fs::read_to_string(&path).unwrap_or_default();
    assert!(known == text, "{}: UPDATE_EXPECTED=1 cargo test --test config", path.display());
}

#[test]
fn only_the_service_itself_must_have_its_credentials() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("gw.toml");
    let text = "[gateway]\nid = \"gw.example\"\nstate-dir = \"state\"\n\
                [wan]\npush-listen = \"127.44.1.1:2948\"\n\
                [[lan]]\nname = \"crew\"\ninterface = \"lo\"\nlisten = \"127.44.1.2:8080\"\n\
                device-auth = \"basic\"\n\
                [[device]]\nid = \"IMEI:490154203237518\"\nsecret-file = \"credential:tablet-7\"\n";
    std::fs::write(&path, text).unwrap();
    let run = |words: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_dm-gateway"));
        command.args(words).env_remove("CREDENTIALS_DIRECTORY").output().unwrap()
    };
    let file = path.to_str().unwrap();
    let checked = run(&["config", "check", file]);
    assert_eq!(checked.status.code(), Some(0), "{checked:?}");
    let checked = run(&["check", "--only", "CONF", "--config", file]);
    assert_eq!(checked.status.code(), Some(0), "{checked:?}");
    let started = run(&["run", "--config", file]);
    assert_eq!(started.status.code(), Some(1), "{started:?}");
    assert!(String::from_utf8_lossy(&started.stderr).contains("systemd handed over none"));
}
