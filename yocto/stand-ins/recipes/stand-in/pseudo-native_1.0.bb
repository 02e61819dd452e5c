SUMMARY = "The host's tools in place of OE-Core's"
LICENSE = "MIT"
LIC_FILES_CHKSUM = "file://${COMMON_LICENSE_DIR}/MIT;md5=0835ade698e0bcf8506ecda2f7b4f302"
INHIBIT_DEFAULT_DEPS = "1"

inherit native

PROVIDES += "apt-native dpkg-native shadow-native virtual/fakeroot-native"
UNPACKED = "${@d.getVar('UNPACKDIR') or d.getVar('WORKDIR')}"
S = "${UNPACKED}"
SRC_URI = "file://apt.conf.sample file://dpkg"

do_install() {
    install -D -m 0755 $(readlink -f ${HOSTTOOLS_DIR}/pseudo) ${D}${bindir}/pseudo
    for folder in lib lib64; do
        install -D -m 0755 /usr/lib/*/pseudo/libpseudo.so ${D}${prefix}/lib/pseudo/$folder/libpseudo.so
    done
    # It tells from which sources the debugging information comes: from none.
    printf '#!/bin/sh\n' >${D}${bindir}/dwarfsrcfiles
    # OE's dpkg runs scripts outside of the root that it installs to, and tells them where it is.
    install -m 0755 ${UNPACKED}/dpkg ${D}${bindir}/dpkg-outside
    # Debian's pseudo stumbles over systemd's way to open files.
    printf '#!/bin/sh\nPSEUDO_UNLOAD=1 exec %s "$@"\n' $(readlink -f ${HOSTTOOLS_DIR}/systemctl) >${D}${bindir}/systemctl
    chmod 0755 ${D}${bindir}/dwarfsrcfiles ${D}${bindir}/systemctl
    install -D -m 0644 ${UNPACKED}/apt.conf.sample ${D}${sysconfdir}/apt/apt.conf.sample
    sed -i -e 's,@BIN@,${STAGING_BINDIR_NATIVE},' ${D}${sysconfdir}/apt/apt.conf.sample
}
INSANE_SKIP:${PN} += "already-stripped"
