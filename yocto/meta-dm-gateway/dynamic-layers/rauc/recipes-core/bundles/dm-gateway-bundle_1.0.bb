# nooelint: oelint.var.mandatoryvar.SRC_URI
SUMMARY = "Example: the DM gateway's image as a RAUC bundle"
DESCRIPTION = "Updates the slot that does not run. The state on the data partition is not in it."
LICENSE = "MIT"

inherit bundle

RAUC_BUNDLE_COMPATIBLE ?= "dm-gateway-${MACHINE}"
RAUC_BUNDLE_FORMAT = "verity"
RAUC_BUNDLE_SLOTS = "rootfs"
RAUC_SLOT_rootfs = "dm-gateway-image"
RAUC_SLOT_rootfs[fstype] = "ext4"

# The site's, in its configuration: RAUC_KEY_FILE and RAUC_CERT_FILE.
