//! `dm-gateway provision`: configuration, accounts and certificates from a signed bundle.
//!
//! ```text
//! schema = 1
//! serial = 7                          greater than the one before
//! gateways = ["gw-17.example"]        for these units only; without it for any
//! config = ''' … '''               as a drop-in; {files} is where the files below are
//! [[file]]                            name, and text or base64: certificates, pins
//! [[bootstrap]]                       name, and text or base64: bootstrap documents
//! #signature ed25519:… …              over all before; or FILE.sig beside it, 64 octets
//! ```

use crate::cli::backup::{now, tell};
use crate::cli::client::{Stop, note};
use crate::cli::definition::{
    self, CHANGING, CONFIGURED, Command, Given, Kind, Operand, PRINTING, Times, flag, operand,
    option,
};
use crate::codes::{self, Code, Trouble};
use crate::config::view::{self, Difference, ValueView, differences};
use crate::config::{self, Config, Layout, Origin, Provision};
use crate::io::audit::{AuditLog, Entry};
use crate::io::seal::{PrivateKey, PublicKey, SIGNATURE};
use crate::io::state::{
    BUNDLES, PROVISIONED, give_to_owner, link_whole, make_directory, remove, write_whole,
};
use crate::io::{plain, read_bounded};
use crate::limits;
use crate::proto::bootstrap::{self, Source};
use base64::Engine;
use base64::prelude::BASE64_STANDARD as BASE64;
use serde::Deserialize;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// `provision`.
pub const COMMAND: Command = Command {
    name: "provision",
    summary: "configuration, accounts and certificates from a signed bundle",
    text: "\
A bundle is taken if somebody in [provision] signers signed it (Ed25519), its serial number is
greater than that of the bundle before, and it is for this unit. All of it counts or nothing, also
over a power cut, and its configuration is checked first. What a former bundle brought goes.

--from-mount looks for `dm-gateway-ID.toml`, ID being the unit's id, then for `dm-gateway.toml`, in
[provision] mount. The result is written beside the bundle, where that can be written to.

A running daemon takes it over with `reload`, accounts too; what that names waits for a restart.",
    operands: &[Operand {
        name: "FILE",
        text: "the bundle",
        times: Times::Optional,
        kind: Kind::File,
    }],
    options: &[
        &[flag("from-mount", "looks for the bundle in [provision] mount")],
        CHANGING,
        CONFIGURED,
        PRINTING,
    ],
    commands: &[
        Command {
            name: "sign",
            summary: "signs a bundle",
            text: "The signature goes to the end of FILE, in the place of one that is there.",
            operands: &[operand("FILE", Kind::File, "the bundle")],
            options: &[&[option("key", "FILE", Kind::File, "the private key, PEM (PKCS #8)")]],
            run: Some(sign),
            ..definition::COMMAND
        },
        Command {
            name: "key",
            summary: "the public key in a PEM file, as [provision] signers takes it",
            operands: &[operand("FILE", Kind::File, "a private or public key, PEM")],
            run: Some(key),
            ..definition::COMMAND
        },
        Command {
            name: "keygen",
            summary: "makes a private key to sign with, and tells its public key",
            text: "The same as openssl genpkey -algorithm ed25519.",
            operands: &[operand("FILE", Kind::File, "where to; it must not be there")],
            run: Some(keygen),
            ..definition::COMMAND
        },
    ],
    exits: &[(1, "nothing was changed")],
    examples: &[("dm-gateway provision --from-mount", "takes what is on the stick")],
    run: Some(provision),
};

/// What a bundle says.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Bundle {
    schema: u32,
    serial: u64,
    gateways: Option<Vec<String>>,
    #[serde(default)]
    config: String,
    #[serde(default)]
    file: Vec<Part>,
    #[serde(default)]
    bootstrap: Vec<Part>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Part {
    name: String,
    text: Option<String>,
    base64: Option<String>,
}

const SCHEMA: u32 = 1;
const MARK: &str = "#signature ";

fn provision(given: Given) -> Result<u8, Stop> {
    let main = given.path_of("config").unwrap_or_else(|| config::DEFAULT_PATH.into());
    let config =
        Config::load(&main).map_err(|error| Stop::with(codes::CONFIG, &error.to_string()))?;
    let path = match (given.operand(0), given.has("from-mount")) {
        (Some(_), true) => {
            return Err(Stop::Usage("FILE and --from-mount exclude each other".into()));
        }
        (Some(path), false) => PathBuf::from(path),
        (None, true) => on_mount(&config)?,
        (None, false) => return Err(Stop::Usage("FILE is missing, or --from-mount".into())),
    };
    let dry_run = given.has("dry-run");
    let result = apply(&path, &main, &config, dry_run);
    if dry_run {
        return tell(&given, result?, true);
    }
    record(&path, &config, &result);
    tell(&given, result?, false)
}

/// The bundle on a stick: that of the unit before that of all.
fn on_mount(config: &Config) -> Result<PathBuf, Stop> {
    let mount = config.provision.mount.as_ref().ok_or_else(|| {
        invalid("there is no `[provision] mount`; try: dm-gateway provision FILE")
    })?;
    let own = format!("dm-gateway-{}.toml", config.options.id.replace('/', "_"));
    let paths = [mount.join(own), mount.join("dm-gateway.toml")];
    let found = paths.iter().find(|path| path.is_file());
    found.cloned().ok_or_else(|| {
        let names = paths.each_ref().map(|path| path.display().to_string());
        invalid(&format!("there is neither {} nor {}", names[0], names[1]))
    })
}

/// Checks a bundle, and has it count unless that is only tried. What it brings, for people.
fn apply(path: &Path, main: &Path, config: &Config, dry_run: bool) -> Result<Vec<String>, Stop> {
    let octets = read_bounded(path, limits::PROVISION).map_err(|error| {
        invalid(&format!("cannot read {}; cause: {}", path.display(), plain(&error)))
    })?;
    let (text, signer) = signed(path, &octets, &config.provision)?;
    let text = std::str::from_utf8(text).map_err(|_| invalid("the bundle is no text"))?;
    let bundle: Bundle = toml::from_str(text)
        .map_err(|error| invalid(&format!("the bundle: {}", error.message())))?;
    if bundle.schema != SCHEMA {
        let schema = bundle.schema;
        return Err(invalid(&format!(
            "the bundle is of version {schema}, this one reads {SCHEMA}"
        )));
    }
    let (id, device_id) = (&config.options.id, &config.options.management.device_id);
    if bundle.gateways.as_ref().is_some_and(|ids| !ids.contains(id) && !ids.contains(device_id)) {
        return Err(refused(codes::PROV_OTHER, &format!("the bundle is not for {id}")));
    }
    let state_dir = &config.state_dir;
    let last = last_serial(state_dir);
    if last.is_some_and(|last| bundle.serial <= last) {
        let sentence = format!(
            "the bundle has the serial number {}, and {} was provisioned",
            bundle.serial,
            last.unwrap_or_default()
        );
        return Err(refused(codes::PROV_OLD, &sentence));
    }
    let mut lines = vec![format!("serial number {}, signed by {signer}", bundle.serial)];
    let files = decoded(&bundle.file)?;
    let documents = decoded(&bundle.bootstrap)?;
    for (name, document) in &documents {
        let accounts = bootstrap::read(document, Source::Factory)
            .map_err(|fault| invalid(&format!("the document {name}: {fault}")))?;
        lines.extend(accounts.iter().map(|account| {
            format!("account with {}, {}", account.server_id, account.url().unwrap_or_default())
        }));
    }
    let before = state_dir.join(PROVISIONED);
    lines.extend(compared("file", &before.join("files"), &files));
    lines.extend(compared("document", &before.join("bootstrap.d"), &documents));
    // Where it would be checked is where it would count, without the last step.
    let failed = |error: io::Error| invalid(&error.to_string());
    let at = state_dir.join(BUNDLES).join(bundle.serial.to_string());
    make_directory(state_dir).map_err(failed)?;
    remove(&at).map_err(failed)?;
    let staged = stage(&at, &bundle, &files, &documents).map_err(failed);
    let checked = staged.and_then(|()| {
        let layout = Layout::of(main).with_provisioned(at.join("config.toml"));
        Config::load_from(&layout).map_err(|error| {
            invalid(&format!("with the bundle the configuration is not valid: {error}"))
        })
    });
    let after = match checked {
        Ok(after) if !dry_run => after,
        other => {
            remove(&at).map_err(failed)?;
            // It stays where a bundle before is.
            let _ = fs::remove_dir(state_dir.join(BUNDLES));
            let after = other?;
            lines.extend(changes(config, &after));
            return Ok(lines);
        }
    };
    lines.extend(changes(config, &after));
    let target = Path::new(BUNDLES).join(bundle.serial.to_string());
    link_whole(&state_dir.join(PROVISIONED), &target).map_err(failed)?;
    if let Some(last) = last {
        let _ = remove(&state_dir.join(BUNDLES).join(last.to_string()));
    }
    let next = "dm-gateway reload --restart, or systemctl start dm-gateway";
    lines.push(format!("provisioned; it counts after: {next}"));
    Ok(lines)
}

/// What a bundle does to the configuration: who the unit is, which keys change, and which do not
/// count.
fn changes(before: &Config, after: &Config) -> Vec<String> {
    let mut lines = Vec::new();
    let (old, new) = (&before.options.id, &after.options.id);
    if old != new {
        lines.push(format!("the unit is {new}, it was {old}"));
    }
    let views = after.values();
    for Difference { key, before, after } in differences(&before.values(), &views) {
        let text = |value: Option<serde_json::Value>| {
            value.map_or_else(|| "nothing".to_owned(), |value| view::toml(&value))
        };
        lines.push(format!("{key}: {} becomes {}", text(before), text(after)));
    }
    let ours = Origin::Provisioned.name();
    let is_lost = |view: &&ValueView| {
        view.origin != ours && view.overrides.iter().any(|it| it.origin == ours)
    };
    for view in views.iter().filter(is_lost) {
        let place = match (&view.file, view.line) {
            (Some(file), Some(line)) => format!("{file} line {line}"),
            _ => view.origin.clone(),
        };
        lines.push(format!("{} of the bundle does not count: {place} sets it", view.key));
    }
    lines
}

/// What becomes of files of one kind, held against those of the bundle before.
fn compared(kind: &str, before: &Path, parts: &[(&str, Vec<u8>)]) -> Vec<String> {
    let mut lines = Vec::new();
    for (name, octets) in parts {
        let state = match read_bounded(&before.join(name), limits::PROVISION) {
            Ok(old) if old == *octets => "as before",
            Ok(_) => "changed",
            Err(_) => "new",
        };
        lines.push(format!("{kind} {name}, {} octets, {state}", octets.len()));
    }
    let old = fs::read_dir(before).into_iter().flatten().flatten();
    let old = old.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut gone: Vec<_> = old.filter(|old| !parts.iter().any(|(name, _)| name == old)).collect();
    gone.sort();
    lines.extend(gone.into_iter().map(|name| format!("{kind} {name} goes")));
    lines
}

/// The octets that are signed, and who signed them.
fn signed<'a>(
    path: &Path,
    octets: &'a [u8],
    provision: &Provision,
) -> Result<(&'a [u8], PublicKey), Stop> {
    let wrong = |why: &str| refused(codes::PROV_UNSIGNED, why);
    if provision.signers.is_empty() {
        return Err(wrong("no bundle is taken: `[provision] signers` has nobody"));
    }
    let (text, signature) = match embedded(octets) {
        Some((text, signature)) => (text, signature),
        None => {
            let mut beside = path.as_os_str().to_owned();
            beside.push(".sig");
            let read = read_bounded(Path::new(&beside), 4 * SIGNATURE);
            let read = read.map_err(|_| wrong("the bundle has no signature"))?;
            let text = std::str::from_utf8(&read).map(str::trim);
            let decoded = text.ok().and_then(|text| BASE64.decode(text).ok());
            (octets, if read.len() == SIGNATURE { read } else { decoded.unwrap_or_default() })
        }
    };
    let signer = provision.signers.iter().find(|signer| signer.verifies(text, &signature));
    let signer = signer.ok_or_else(|| {
        wrong("the bundle was changed, or its signer is not in `[provision] signers`")
    })?;
    Ok((text, *signer))
}

/// What stands before a signature in the bundle, and the signature.
fn embedded(octets: &[u8]) -> Option<(&[u8], Vec<u8>)> {
    let text = std::str::from_utf8(octets).ok()?;
    let at = text.rfind(&format!("\n{MARK}"))? + 1;
    let line = text.get(at..)?.trim_end();
    if line.contains('\n') {
        return None;
    }
    let signature = BASE64.decode(line.rsplit(' ').next()?).ok()?;
    Some((octets.get(..at)?, signature))
}

fn decoded(parts: &[Part]) -> Result<Vec<(&str, Vec<u8>)>, Stop> {
    let mut all: Vec<(&str, Vec<u8>)> = Vec::new();
    for part in parts {
        let name = &*part.name;
        let clean = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        if name.is_empty() || name.len() > 64 || name.starts_with('.') || !name.chars().all(clean) {
            return Err(invalid(&format!("`{name}` is no name of a file")));
        }
        if all.iter().any(|(other, _)| *other == name) {
            return Err(invalid(&format!("there are two files {name}")));
        }
        let octets = match (&part.text, &part.base64) {
            (Some(text), None) => text.clone().into_bytes(),
            (None, Some(text)) => BASE64
                .decode(text.split_whitespace().collect::<String>())
                .map_err(|_| invalid(&format!("{name} is not base64")))?,
            _ => return Err(invalid(&format!("{name} has neither `text` nor `base64`, or both"))),
        };
        all.push((name, octets));
    }
    Ok(all)
}

fn stage(
    at: &Path,
    bundle: &Bundle,
    files: &[(&str, Vec<u8>)],
    documents: &[(&str, Vec<u8>)],
) -> io::Result<()> {
    for (folder, parts) in [("files", files), ("bootstrap.d", documents)] {
        let folder = at.join(folder);
        make_directory(&folder)?;
        for (name, octets) in parts {
            write_whole(&folder.join(name), octets)?;
        }
    }
    let files = at.join("files").display().to_string();
    write_whole(&at.join("config.toml"), bundle.config.replace("{files}", &files).as_bytes())
}

/// The serial number of what was provisioned last.
fn last_serial(state_dir: &Path) -> Option<u64> {
    let target = fs::read_link(state_dir.join(PROVISIONED)).ok()?;
    target.file_name()?.to_str()?.parse().ok()
}

/// Writes down what became of a bundle: in the audit, and beside it.
fn record(path: &Path, config: &Config, result: &Result<Vec<String>, Stop>) {
    let why = match result {
        Err(Stop::Failed(trouble)) => Some(format!("{}: {trouble}", trouble.code)),
        Err(_) => Some("it could not be read".to_owned()),
        Ok(_) => None,
    };
    let after = result.as_ref().ok().map(|lines| lines.join("; "));
    let by = format!("uid:{}", nix::unistd::getuid());
    let entry = Entry {
        subject: Some(path.display().to_string()),
        after: after.clone(),
        ..Entry::new(now(), by, "provision")
    };
    if let Err(error) = AuditLog::new(&config.state_dir).append(&[entry.failed(why.clone())]) {
        note(&format!("the audit: {error}"));
    }
    give_to_owner(&config.state_dir);
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}.result", config.options.id.replace('/', "_")));
    let text = match why {
        Some(why) => format!("failed: {why}\n"),
        None => format!("done: {}\n", after.unwrap_or_default()),
    };
    // A stick may be read-only.
    if let Err(error) = fs::write(&beside, text) {
        let beside = Path::new(&beside).display();
        note(&format!("the result is not written to {beside}: {}", plain(&error)));
    }
}

// --- For who makes bundles -------------------------------------------------------------------

fn sign(given: Given) -> Result<u8, Stop> {
    let path = PathBuf::from(given.operand(0).unwrap_or_default());
    let key = given.path_of("key").ok_or_else(|| Stop::Usage("--key FILE is missing".into()))?;
    let key = PrivateKey::of_pem(&pem(&key)?)
        .ok_or_else(|| invalid("that is no private key of Ed25519 in PEM"))?;
    let octets = read_bounded(&path, limits::PROVISION).map_err(|error| {
        invalid(&format!("cannot read {}; cause: {}", path.display(), plain(&error)))
    })?;
    let text = embedded(&octets).map_or(&*octets, |(text, _)| text);
    let text = String::from_utf8(text.to_vec()).map_err(|_| invalid("the bundle is no text"))?;
    toml::from_str::<Bundle>(&text)
        .map_err(|error| invalid(&format!("the bundle: {}", error.message())))?;
    let text = if text.ends_with('\n') { text } else { text + "\n" };
    let signature = BASE64.encode(key.sign(text.as_bytes()));
    let line = format!("{MARK}{} {signature}\n", key.public());
    fs::write(&path, text + &line).map_err(|error| {
        invalid(&format!("cannot write {}; cause: {}", path.display(), plain(&error)))
    })?;
    tell(&given, vec![format!("signed by {}", key.public())], false)
}

fn key(given: Given) -> Result<u8, Stop> {
    let path = PathBuf::from(given.operand(0).unwrap_or_default());
    let key = PublicKey::of_pem(&pem(&path)?)
        .ok_or_else(|| invalid("that is no key of Ed25519 in PEM"))?;
    tell(&given, vec![key.to_string()], false)
}

fn keygen(given: Given) -> Result<u8, Stop> {
    let path = PathBuf::from(given.operand(0).unwrap_or_default());
    if path.exists() {
        return Err(invalid(&format!("{} is there already", path.display())));
    }
    let (key, pem) = PrivateKey::generate().map_err(|why| invalid(&why))?;
    write_whole(&path, pem.as_bytes()).map_err(|error| invalid(&error.to_string()))?;
    tell(&given, vec![key.public().to_string()], false)
}

fn pem(path: &Path) -> Result<String, Stop> {
    let octets = read_bounded(path, limits::BUNDLE_PART).map_err(|error| {
        invalid(&format!("cannot read {}; cause: {}", path.display(), plain(&error)))
    })?;
    String::from_utf8(octets).map_err(|_| invalid("a key in PEM is text"))
}

fn invalid(sentence: &str) -> Stop {
    refused(codes::PROV_INVALID, sentence)
}

fn refused(code: Code, sentence: &str) -> Stop {
    Stop::Failed(Trouble::new(code, sentence).or_try(code.remedy).into())
}
