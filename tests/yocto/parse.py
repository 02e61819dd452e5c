"""Lets BitBake's own parser read the layer, and compares what it read with the rest of the tree.

    python parse.py ROOT          ROOT is the repository

It needs the package `bitbake-setup` of PyPI, which carries the parser. OE-Core is not there: its
classes are empty files here, and its variables the few that follow. Prints a line for each fault
and ends with 1 if there is one.
"""

import hashlib
import pathlib
import re
import subprocess
import sys
import tempfile
import tomllib
import types

# BitBake's server of hashes, which a parser does not ask, is not in the package.
for name in ("hashserv", "hashserv.client"):
    sys.modules[name] = types.ModuleType(name)

import bb.data
import bb.parse
import bb.siggen

ROOT = pathlib.Path(sys.argv[1])
LAYER = ROOT / "yocto/meta-dm-gateway"
CLASSES = (
    "base bundle cargo cargo-update-recipe-crates core-image ptest swupdate systemd update-rc.d useradd"
)
# The recipe must not depend on how a release names these.
RELEASES = {
    "wrynose": {"UNPACKDIR": "${WORKDIR}/sources", "S": "${UNPACKDIR}/${BP}", "RUSTVERSION": "1.94.1%"},
    "scarthgap": {"S": "${WORKDIR}/${BP}", "RUSTVERSION": "1.75%"},
    "scarthgap with a newer Rust": {"S": "${WORKDIR}/${BP}", "RUSTVERSION": "1.85.1%"},
}
VARIABLES = {
    "B": "${WORKDIR}/build",
    "BP": "${PN}-${PV}",
    "BPN": "${PN}",
    "CARGO": "cargo",
    "CARGO_BUILD_FLAGS": "-v --frozen",
    "CARGO_HOME": "${WORKDIR}/cargo_home",
    "COMMON_LICENSE_DIR": "/licenses",
    "D": "${WORKDIR}/image",
    "DISTRO_FEATURES": "systemd",
    "LAYERDIR": str(LAYER),
    "PN": "${@bb.parse.vars_from_file(d.getVar('FILE'), d)[0] or 'none'}",
    "PV": "${@bb.parse.vars_from_file(d.getVar('FILE'), d)[1] or '1.0'}",
    "TARGET_ARCH": "aarch64",
    "TARGET_DBGSRC_DIR": "/usr/src/debug",
    "THISDIR": "${@os.path.dirname(d.getVar('FILE'))}",
    "WORKDIR": "/work",
    "bindir": "/usr/bin",
    "datadir": "/usr/share",
    "docdir": "/usr/share/doc",
    "localstatedir": "/var",
    "mandir": "/usr/share/man",
    "nonarch_libdir": "/usr/lib",
    "sysconfdir": "/etc",
    "systemd_system_unitdir": "/usr/lib/systemd/system",
    "BB_SIGNATURE_HANDLER": "noop",
    "__bbclasstype": "recipe",
}
faults = []


def main():
    with tempfile.TemporaryDirectory() as empty:
        for name in CLASSES.split():
            path = pathlib.Path(empty) / "classes" / f"{name}.bbclass"
            path.parent.mkdir(exist_ok=True)
            path.touch()
        for release, variables in RELEASES.items():
            check(release, {**VARIABLES, **variables, "BBPATH": f"{LAYER}:{empty}"})
    print("\n".join(faults))
    sys.exit(1 if faults else 0)


def check(release, variables):
    old = release == "scarthgap"
    for path in sorted(LAYER.glob("conf/**/*.conf")):
        conf = store(variables)
        bb.parse.handle(str(path), conf, True)
        if "fragments" in path.parts:
            expect(conf.getVar("DM_GATEWAY_DATA") == "/data/dm-gateway", path, "no data partition")
            expect(conf.getVar("BB_CONF_FRAGMENT_SUMMARY"), path, "no summary")
        else:
            series = conf.getVar("LAYERSERIES_COMPAT_dm-gateway").split()
            expect(release.split()[0] in series, path, f"does not name {release}")
    for path in LAYER.rglob("*"):
        key = path.suffix in (".pem", ".key", ".crt", ".p12") or path.is_file() and b"PRIVATE KEY" in path.read_bytes()
        expect(not key, path, "is a key or a certificate, which a layer must not bring")
    recipes = sorted(LAYER.glob("recipes-*/*/*.bb")) + sorted(LAYER.glob("dynamic-layers/*/*/*/*.bb"))
    expect(len(recipes) >= 5, LAYER, "recipes are missing")
    for path in recipes:
        data = recipe(path, variables)
        skipped = data.getVar("__SKIPPED")
        if path.stem.startswith("dm-gateway-bin_"):
            expect(skipped, path, "is not left out without a program")
            programs = {**variables, "DM_GATEWAY_BINARIES": "file:///srv", "DM_GATEWAY_BINARY_SHA256": "0" * 64}
            data = recipe(path, programs)
            expect(not data.getVar("__SKIPPED"), path, "is left out with a program")
            expect(data.getVar("DM_GATEWAY_LOCAL") == "/srv", path, "does not find a local program")
            programs["DM_GATEWAY_BINARIES"] = "https://example.com/srv"
            expect(recipe(path, programs).getVar("DM_GATEWAY_LOCAL") == "", path, "does not find a download")
        elif path.stem.startswith("dm-gateway_"):
            expect(bool(skipped) == old, path, f"{release}: skipped: {skipped}")
            if not old:
                source(path, variables, data)
        functions(path, data)
        licences(path, data)
        files(path, data)


def source(path, variables, data):
    """What is particular to the recipe that builds."""
    cargo = tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]
    expect(data.getVar("PV") == cargo["version"], path, "its version is not Cargo.toml's")
    expect(data.getVar("DM_GATEWAY_RUST") == cargo["rust-version"], path, "its Rust is not Cargo.toml's")

    locked = tomllib.loads((ROOT / "Cargo.lock").read_text())["package"]
    locked = {(c["name"], c["version"]): c["checksum"] for c in locked if "source" in c}
    uris = [uri.split("/")[3:] for uri in data.getVar("SRC_URI").split() if uri.startswith("crate://")]
    named = {tuple(crate): data.getVarFlag("SRC_URI", "-".join(crate) + ".sha256sum") for crate in uris}
    expect(named == locked and len(uris) == len(locked), path, "its crates are not Cargo.lock's: yocto/crates")

    installed = re.findall(re.escape(data.getVar("S")) + r"/(\S+)", data.getVar("do_install"))
    expect(len(installed) > 5, path, "installs nothing of the source")
    for name in installed:
        expect(list(ROOT.glob(name)), path, f"installs {name}, which is not there")

    flags = data.getVar("CARGO_BUILD_FLAGS")
    expect("--frozen" in flags and "--no-default-features" in flags, path, f"builds with {flags}")
    expect("simulate" not in flags, path, "has simulators by default")
    expect("web" not in flags, path, "has the status page by default")
    flags = recipe(path, {**variables, "PACKAGECONFIG": "simulate"}).getVar("CARGO_BUILD_FLAGS")
    expect("--features=simulate" in flags, path, "PACKAGECONFIG does nothing")

    expect(data.getVar("SYSTEMD_AUTO_ENABLE") == "disable", path, "is enabled without a configuration")
    append = next(LAYER.glob("examples/*/*/*.bbappend"))
    site = recipe(path, variables, append)
    expect(site.getVar("SYSTEMD_AUTO_ENABLE") == "enable", append, "does not enable the service")
    files(append, site)

    # name id comment home shell, as sysusers.d(5) has it.
    user = re.search(r'^u!?\s+(\S+)\s+\S+\s+"([^"]*)"(?:\s+(\S+))?', (ROOT / "systemd/dm-gateway.sysusers").read_text(), re.M)
    made = data.getVar("USERADD_PARAM:dm-gateway")
    name, comment, home = user.groups()
    for part in (f" {name}", f"--comment '{comment}'", f"--home-dir {home if home not in (None, '-') else '/'} "):
        expect(part in made, path, f"useradd lacks {part!r} of systemd/dm-gateway.sysusers")


def functions(path, data):
    """Every shell function is a program that a shell can read."""
    for key in data.keys():
        if data.getVarFlag(key, "func", False) and not data.getVarFlag(key, "python", False):
            text = f"f() {{\n{data.getVar(key)}\n}}\n"
            result = subprocess.run(["sh", "-n"], input=text, text=True, capture_output=True)
            expect(result.returncode == 0, path, f"{key}: {result.stderr}")


def licences(path, data):
    for entry in (data.getVar("LIC_FILES_CHKSUM") or "").split():
        name, _, wanted = entry.removeprefix("file://").partition(";md5=")
        if not name.startswith("/"):
            found = hashlib.md5((ROOT / name).read_bytes()).hexdigest()
            expect(found == wanted, path, f"the sum of {name} is {found}")


def files(path, data):
    folders = (data.getVar("FILESEXTRAPATHS") or "").split(":")
    folders += [path.parent / "files", LAYER / "recipes-connectivity/dm-gateway/files"]
    for entry in (data.getVar("SRC_URI") or "").split():
        name = entry.removeprefix("file://").partition(";")[0]
        if entry.startswith("file://") and not name.startswith("/"):
            there = any((pathlib.Path(folder) / name).is_file() for folder in folders if folder)
            expect(there, path, f"{entry} is not there")


def recipe(path, variables, append=None):
    data = store(variables)
    if append:
        data.setVar("__BBAPPEND", str(append))
    return bb.parse.handle(str(path), data)[""]


def store(variables):
    data = bb.data.init()
    for name, value in variables.items():
        data.setVar(name, value)
    bb.parse.siggen = bb.siggen.init(data)
    return data


def expect(right, path, what):
    if not right:
        faults.append(f"{path.relative_to(ROOT)}: {what}")


main()
