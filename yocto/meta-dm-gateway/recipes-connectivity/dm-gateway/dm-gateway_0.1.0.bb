require dm-gateway.inc
require ${BPN}-crates.inc

SRC_URI += "file://run-ptest"

inherit cargo cargo-update-recipe-crates ptest

PACKAGECONFIG ??= "manual"
# Each is a feature of Cargo.toml. The chapters of `dm-gateway manual`: leave them out to save flash.
PACKAGECONFIG[manual] = ""
# Simulated end devices and DM servers, and the commands `demo` and `simulate`. Not for a product.
PACKAGECONFIG[simulate] = ""
# The status page, `web`.
PACKAGECONFIG[web] = ""
CARGO_BUILD_FLAGS:append = " --no-default-features --features=${@','.join(d.getVar('PACKAGECONFIG').split())}"

# C and assembly of crates lie in CARGO_HOME, which the other prefixes do not cover.
DEBUG_PREFIX_MAP += "-ffile-prefix-map=${CARGO_HOME}=${TARGET_DBGSRC_DIR}"

# Cargo.toml strips; here that is the packaging's work, which keeps the symbols in -dbg.
do_configure:append() {
    printf '\n[%s]\nstrip = "none"\n' profile.release profile.release.package.dm-gateway \
        >>${CARGO_HOME}/config.toml
}

# The unit tests as one program, and the program with its simulators: `demo` plays a whole day
# with the real daemon over loopback. In a folder of their own, and not optimised across crates:
# they are for one run.
do_compile_ptest() {
    export CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16
    export CARGO_TARGET_DIR=${B}/ptest
    oe_cargo_fix_env
    oe_cargo_build --features simulate --bin dm-gateway
    export RUSTFLAGS="${RUSTFLAGS}"
    "${CARGO}" test ${CARGO_BUILD_FLAGS} --features simulate --lib --no-run
}

do_install_ptest() {
    install -m 0755 ${B}/ptest/${CARGO_TARGET_SUBDIR}/dm-gateway ${D}${PTEST_PATH}/dm-gateway
    for program in ${B}/ptest/${CARGO_TARGET_SUBDIR}/deps/dm_gateway-*; do
        case ${program##*/} in
        *.*) ;;
        *) [ ! -x "$program" ] || cmp -s "$program" ${D}${PTEST_PATH}/dm-gateway || \
            install -m 0755 "$program" ${D}${PTEST_PATH}/unit-tests ;;
        esac
    done
    [ -x ${D}${PTEST_PATH}/unit-tests ] || bbfatal "no program with the unit tests was built"
}

# The compiler that Cargo.toml asks for, as .ci/msrv proves it.
DM_GATEWAY_RUST = "1.85"

# nooelint: oelint.task.noanonpython
python () {
    version = (d.getVar('RUSTVERSION') or '').rstrip('%')
    if version and bb.utils.vercmp_string_op(version, d.getVar('DM_GATEWAY_RUST'), '<'):
        raise bb.parse.SkipRecipe(
            'it wants Rust %s, this release has %s: add a layer with a newer Rust '
            '(meta-lts-mixins, branch scarthgap/rust) or take dm-gateway-bin'
            % (d.getVar('DM_GATEWAY_RUST'), version))
}
