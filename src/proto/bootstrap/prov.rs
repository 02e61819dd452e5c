//! The WBXML tokens of client provisioning documents: tables, as data.
//!
//! (OMA-WAP-TS-ProvCont 1.1, 7.) Attribute starts carry a name and the start of a value; pages 0
//! and 1 differ.

/// Tag `wap-provisioningdoc`.
pub(super) const DOCUMENT: u8 = 0x05;
/// Tag `characteristic`.
pub(super) const CHARACTERISTIC: u8 = 0x06;
/// Tag `parm`.
pub(super) const PARM: u8 = 0x07;
/// Attribute start `value=`.
pub(super) const VALUE: u8 = 0x06;

/// `type=` starts: page, code, value.
#[rustfmt::skip]
const TYPES: &[(u8, u8, &str)] = &[
    (0, 0x51, "PXLOGICAL"), (0, 0x52, "PXPHYSICAL"), (0, 0x53, "PORT"), (0, 0x54, "VALIDITY"),
    (0, 0x55, "NAPDEF"), (0, 0x56, "BOOTSTRAP"), (0, 0x57, "VENDORCONFIG"),
    (0, 0x58, "CLIENTIDENTITY"), (0, 0x59, "PXAUTHINFO"), (0, 0x5a, "NAPAUTHINFO"),
    (0, 0x5b, "ACCESS"), (1, 0x53, "PORT"), (1, 0x55, "APPLICATION"), (1, 0x56, "APPADDR"),
    (1, 0x57, "APPAUTH"), (1, 0x58, "CLIENTIDENTITY"), (1, 0x59, "RESOURCE"),
];

/// `name=` starts: page, code, value.
#[rustfmt::skip]
const NAMES: &[(u8, u8, &str)] = &[
    (0, 0x07, "NAME"), (0, 0x08, "NAP-ADDRESS"), (0, 0x09, "NAP-ADDRTYPE"), (0, 0x0a, "CALLTYPE"),
    (0, 0x0b, "VALIDUNTIL"), (0, 0x0c, "AUTHTYPE"), (0, 0x0d, "AUTHNAME"), (0, 0x0e, "AUTHSECRET"),
    (0, 0x0f, "LINGER"), (0, 0x10, "BEARER"), (0, 0x11, "NAPID"), (0, 0x12, "COUNTRY"),
    (0, 0x13, "NETWORK"), (0, 0x14, "INTERNET"), (0, 0x15, "PROXY-ID"),
    (0, 0x16, "PROXY-PROVIDER-ID"), (0, 0x17, "DOMAIN"), (0, 0x18, "PROVURL"),
    (0, 0x19, "PXAUTH-TYPE"), (0, 0x1a, "PXAUTH-ID"), (0, 0x1b, "PXAUTH-PW"),
    (0, 0x1c, "STARTPAGE"), (0, 0x1d, "BASAUTH-ID"), (0, 0x1e, "BASAUTH-PW"),
    (0, 0x1f, "PUSHENABLED"), (0, 0x20, "PXADDR"), (0, 0x21, "PXADDRTYPE"), (0, 0x22, "TO-NAPID"),
    (0, 0x23, "PORTNBR"), (0, 0x24, "SERVICE"), (0, 0x25, "LINKSPEED"), (0, 0x26, "DNLINKSPEED"),
    (0, 0x27, "LOCAL-ADDR"), (0, 0x28, "LOCAL-ADDRTYPE"), (0, 0x29, "CONTEXT-ALLOW"),
    (0, 0x2a, "TRUST"), (0, 0x2b, "MASTER"), (0, 0x2c, "SID"), (0, 0x2d, "SOC"),
    (0, 0x2e, "WSP-VERSION"), (0, 0x2f, "PHYSICAL-PROXY-ID"), (0, 0x30, "CLIENT-ID"),
    (0, 0x31, "DELIVERY-ERR-SDU"), (0, 0x32, "DELIVERY-ORDER"), (0, 0x33, "TRAFFIC-CLASS"),
    (0, 0x34, "MAX-SDU-SIZE"), (0, 0x35, "MAX-BITRATE-UPLINK"), (0, 0x36, "MAX-BITRATE-DNLINK"),
    (0, 0x37, "RESIDUAL-BER"), (0, 0x38, "SDU-ERROR-RATIO"), (0, 0x39, "TRAFFIC-HANDL-PRIO"),
    (0, 0x3a, "TRANSFER-DELAY"), (0, 0x3b, "GUARANTEED-BITRATE-UPLINK"),
    (0, 0x3c, "GUARANTEED-BITRATE-DNLINK"), (0, 0x3d, "PXADDR-FQDN"), (0, 0x3e, "PROXY-PW"),
    (0, 0x3f, "PPGAUTH-TYPE"), (0, 0x47, "PULLENABLED"), (0, 0x48, "DNS-ADDR"),
    (0, 0x49, "MAX-NUM-RETRY"), (0, 0x4a, "FIRST-RETRY-TIMEOUT"), (0, 0x4b, "REREG-THRESHOLD"),
    (0, 0x4c, "T-BIT"), (0, 0x4e, "AUTH-ENTITY"), (0, 0x4f, "SPI"),
    (1, 0x07, "NAME"), (1, 0x14, "INTERNET"), (1, 0x1c, "STARTPAGE"), (1, 0x22, "TO-NAPID"),
    (1, 0x23, "PORTNBR"), (1, 0x24, "SERVICE"), (1, 0x2e, "AACCEPT"), (1, 0x2f, "AAUTHDATA"),
    (1, 0x30, "AAUTHLEVEL"), (1, 0x31, "AAUTHNAME"), (1, 0x32, "AAUTHSECRET"),
    (1, 0x33, "AAUTHTYPE"), (1, 0x34, "ADDR"), (1, 0x35, "ADDRTYPE"), (1, 0x36, "APPID"),
    (1, 0x37, "APROTOCOL"), (1, 0x38, "PROVIDER-ID"), (1, 0x39, "TO-PROXY"), (1, 0x3a, "URI"),
    (1, 0x3b, "RULE"),
];

/// Parts of values: page, code, text.
#[rustfmt::skip]
const VALUES: &[(u8, u8, &str)] = &[
    (0, 0x85, "IPV4"), (0, 0x86, "IPV6"), (0, 0x87, "E164"), (0, 0x88, "ALPHA"), (0, 0x89, "APN"),
    (0, 0x8a, "SCODE"), (0, 0x8b, "TETRA-ITSI"), (0, 0x8c, "MAN"),
    (0, 0x90, "ANALOG-MODEM"), (0, 0x91, "V.120"), (0, 0x92, "V.110"), (0, 0x93, "X.31"),
    (0, 0x94, "BIT-TRANSPARENT"), (0, 0x95, "DIRECT-ASYNCHRONOUS-DATA-SERVICE"),
    (0, 0x9a, "PAP"), (0, 0x9b, "CHAP"), (0, 0x9c, "HTTP-BASIC"), (0, 0x9d, "HTTP-DIGEST"),
    (0, 0x9e, "WTLS-SS"), (0, 0x9f, "MD5"), (0, 0xa3, "GSM-SMS"), (0, 0xab, "GSM-GPRS"),
    (0, 0xc5, "AUTOBAUDING"), (0, 0xca, "CL-WSP"), (0, 0xcb, "CO-WSP"), (0, 0xcc, "CL-SEC-WSP"),
    (0, 0xcd, "CO-SEC-WSP"), (0, 0xce, "CL-SEC-WTA"), (0, 0xcf, "CO-SEC-WTA"),
    (0, 0xd0, "OTA-HTTP-TO"), (0, 0xd1, "OTA-HTTP-TLS-TO"), (0, 0xd2, "OTA-HTTP-PO"),
    (0, 0xd3, "OTA-HTTP-TLS-PO"), (0, 0xe0, "AAA"), (0, 0xe1, "HA"),
    (1, 0x80, ","), (1, 0x81, "HTTP-"), (1, 0x82, "BASIC"), (1, 0x83, "DIGEST"),
    (1, 0x86, "IPV6"), (1, 0x87, "E164"), (1, 0x88, "ALPHA"), (1, 0x8d, "APPSRV"),
    (1, 0x8e, "OBEX"), (1, 0x90, ","), (1, 0x91, "HTTP-"), (1, 0x92, "BASIC"),
    (1, 0x93, "DIGEST"),
];

/// The name of a tag; pages 0 and 1 have the same.
pub(super) fn tag(token: u8) -> Option<&'static str> {
    match token {
        DOCUMENT => Some("wap-provisioningdoc"),
        CHARACTERISTIC => Some("characteristic"),
        PARM => Some("parm"),
        _ => None,
    }
}

/// The name of an attribute and the start of its value.
pub(super) fn attribute(page: u8, code: u8) -> Option<(&'static str, &'static str)> {
    let of = |table: &[(u8, u8, &'static str)]| {
        table.iter().find(|row| (row.0, row.1) == (page, code)).map(|row| row.2)
    };
    match (page, code) {
        (0, 0x45) => Some(("version", "")),
        (0, 0x46) => Some(("version", "1.0")),
        (0 | 1, 0x50) => Some(("type", "")),
        (0 | 1, 0x05) => Some(("name", "")),
        (0 | 1, VALUE) => Some(("value", "")),
        _ => of(TYPES).map(|value| ("type", value)).or_else(|| of(NAMES).map(|it| ("name", it))),
    }
}

/// A part of a value. The code pages of bearers that are not listed give an empty part: what
/// they say is of no use for an account.
pub(super) fn value(page: u8, code: u8) -> Option<&'static str> {
    let row = VALUES.iter().find(|row| (row.0, row.1) == (page, code));
    let is_bearer = page == 0 && (0xa2..=0xba).contains(&code);
    row.map(|row| row.2).or_else(|| is_bearer.then_some(""))
}

/// The page and code of an attribute start; those of applications (page 1) come first.
pub(super) fn start(name: &str, value: &str) -> Option<(u8, u8)> {
    let table = if name == "type" { TYPES } else { NAMES };
    let rows = || table.iter().filter(|row| row.2 == value);
    rows().find(|row| row.0 == 1).or_else(|| rows().next()).map(|row| (row.0, row.1))
}
