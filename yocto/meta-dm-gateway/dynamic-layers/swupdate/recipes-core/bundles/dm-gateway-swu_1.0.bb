SUMMARY = "Example: the DM gateway's image as an update for SWUpdate"
DESCRIPTION = "Updates the root file system that does not run. The state on the data partition is not in it."
LICENSE = "MIT"
# nooelint: oelint.var.licenseremotefile
LIC_FILES_CHKSUM = "file://${COMMON_LICENSE_DIR}/MIT;md5=0835ade698e0bcf8506ecda2f7b4f302"

inherit swupdate

SRC_URI = "file://sw-description"

IMAGE_DEPENDS = "dm-gateway-image"
SWUPDATE_IMAGES = "dm-gateway-image"
SWUPDATE_IMAGES_FSTYPES[dm-gateway-image] = ".ext4.gz"
