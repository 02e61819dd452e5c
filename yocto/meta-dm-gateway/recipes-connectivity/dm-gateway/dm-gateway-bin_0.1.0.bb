# A binary that was built elsewhere, with all that stands around it: for releases whose Rust is too
# old, or for a build without Rust.
require dm-gateway.inc

PROVIDES += "dm-gateway"

# Where programs lie as dm-gateway-<architecture>, e.g. dm-gateway-aarch64: "file:///srv/dm-gateway".
DM_GATEWAY_BINARIES ?= ""
# Its checksum, so that it cannot be another one than was tested.
DM_GATEWAY_BINARY_SHA256 ?= ""

SRC_URI += "${DM_GATEWAY_BINARIES}/dm-gateway-${TARGET_ARCH};name=binary;unpack=0;downloadfilename=dm-gateway-${TARGET_ARCH}"
SRC_URI[binary.sha256sum] = "${DM_GATEWAY_BINARY_SHA256}"

# Schemas: a folder of this name is the package's by default only where the recipe has it, too.
FILES:${PN} += "${datadir}/dm-gateway"

RPROVIDES:${PN} += "dm-gateway"
RCONFLICTS:${PN} = "dm-gateway"

do_configure[noexec] = "1"
do_compile[noexec] = "1"

# A file:// is unpacked under its whole path, what comes from a server is not.
DM_GATEWAY_LOCAL = "${@'/' + d.getVar('DM_GATEWAY_BINARIES')[7:].strip('/') if d.getVar('DM_GATEWAY_BINARIES').startswith('file://') else ''}"

do_install() {
    program=${DM_GATEWAY_UNPACKED}${DM_GATEWAY_LOCAL}/dm-gateway-${TARGET_ARCH}
    # BitBake compares the sums of downloads only.
    echo "${DM_GATEWAY_BINARY_SHA256}  $program" | sha256sum -c - || bbfatal "$program is not the one of DM_GATEWAY_BINARY_SHA256"
    install -D -m 0755 $program ${D}${bindir}/dm-gateway
}

# It is stripped, and made without OE's linker flags.
# nooelint: oelint.vars.insaneskip
INSANE_SKIP:${PN} += "already-stripped ldflags"
COMPATIBLE_HOST = "(aarch64|arm|x86_64).*-linux.*"
COMPATIBLE_HOST:libc-musl = "null"

# nooelint: oelint.task.noanonpython
python () {
    if not d.getVar('DM_GATEWAY_BINARIES'):
        raise bb.parse.SkipRecipe('DM_GATEWAY_BINARIES does not name a folder of programs')
}
