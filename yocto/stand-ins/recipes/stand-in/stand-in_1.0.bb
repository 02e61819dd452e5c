SUMMARY = "Packages in place of OE-Core's: the host's C library and BusyBox, the others empty"
LICENSE = "MIT"
INHIBIT_DEFAULT_DEPS = "1"

EMPTY = "base-passwd ca-certificates initd-functions packagegroup-core-boot ptest-runner shadow update-rc.d util-linux-setpriv"
PROVIDES += "base-files base-passwd initscripts libstd-rs shadow shadow-sysroot update-rc.d virtual/compilerlibs virtual/libc"
PACKAGES = "libc base-files ${EMPTY}"

do_install() {
    install -d ${D}${sysconfdir} ${D}${base_libdir} ${D}/lib64 ${D}${base_bindir} ${D}/proc ${D}/dev ${D}/run ${D}/tmp ${D}/data
    cp /usr/share/base-passwd/passwd.master ${D}${sysconfdir}/passwd
    cp /usr/share/base-passwd/group.master ${D}${sysconfdir}/group
    cp -L $(${CC} -print-file-name=ld-linux-x86-64.so.2) ${D}/lib64/
    for library in libc.so.6 libm.so.6 libgcc_s.so.1; do
        cp -L $(${CC} -print-file-name=$library) ${D}${base_libdir}/
    done
    [ -e ${D}/bin ] || ln -s usr/bin ${D}/bin
    cp -L ${HOSTTOOLS_DIR}/busybox ${D}${base_bindir}/busybox
    for program in $(busybox --list); do
        [ $program = busybox ] || ln -s busybox ${D}${base_bindir}/$program
    done
}
SYSROOT_DIRS += "${sysconfdir}"

FILES:libc = "/lib64 ${base_libdir}"
FILES:base-files = "/"
RDEPENDS:packagegroup-core-boot = "base-files libc"
python () {
    for package in d.getVar('EMPTY').split():
        d.setVar('ALLOW_EMPTY:' + package, '1')
}
# What they are is not what is looked at.
INSANE_SKIP:${PN} = "already-stripped"
INSANE_SKIP = "already-stripped arch dev-so empty-dirs file-rdeps ldflags libdir usrmerge"
python do_package_qa() {
}
