SUMMARY = "Example: a small image with the DM gateway, its root read-only"
DESCRIPTION = "Boots into the gateway. A site adds its configuration by a bbappend (examples/ of \
               this layer) and a data partition by one of the fragments."
LICENSE = "MIT"

inherit core-image

IMAGE_FEATURES += "read-only-rootfs"
IMAGE_INSTALL = "\
    packagegroup-core-boot \
    dm-gateway \
    ${CORE_IMAGE_EXTRA_INSTALL} \
"
