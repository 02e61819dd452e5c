# A site's layer holds this file and the folder beside it, in the same place.
FILESEXTRAPATHS:prepend := "${THISDIR}/files:"

# Factory files, e.g. file://bootstrap.d/fleet.xml, come to /usr/lib/dm-gateway/bootstrap.d. They
# hold secrets that every image then has: let the DM server replace them in the first session.
# A vendor's settings, e.g. file://vendor.d/10-site.toml, come to /usr/lib/dm-gateway.
SRC_URI += "file://dm-gateway.toml"
