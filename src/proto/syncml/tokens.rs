//! The element names of SyncML and their WBXML tokens: one table, as data.
//!
//! (OMA-TS-DM_RepPro 1.2.1, 8; OMA-TS-SyncML-MetaInfo 1.2, 7; OMA-TS-DM-TNDS 1.2, WBXML.) The
//! names of a code page stand in the order of their tokens, the first is token 0x05.

/// Code page 0, `SYNCML:SYNCML1.2`.
pub(super) const PAGE_SYNCML: u8 = 0;
/// Code page 1, `syncml:metinf`.
pub(super) const PAGE_METINF: u8 = 1;
/// Code page 2, `syncml:dmddf1.2`: device descriptions and serialised trees.
pub(super) const PAGE_DDF: u8 = 2;

const FIRST_TOKEN: usize = 0x05;

#[rustfmt::skip]
const SYNCML: &[&str] = &[
    "Add", "Alert", "Archive", "Atomic", "Chal", "Cmd", "CmdID", "CmdRef", "Copy", "Cred", "Data",
    "Delete", "Exec", "Final", "Get", "Item", "Lang", "LocName", "LocURI", "Map", "MapItem",
    "Meta", "MsgID", "MsgRef", "NoResp", "NoResults", "Put", "Replace", "RespURI", "Results",
    "Search", "Sequence", "SessionID", "SftDel", "Source", "SourceRef", "Status", "Sync",
    "SyncBody", "SyncHdr", "SyncML", "Target", "TargetRef", "", "VerDTD", "VerProto",
    "NumberOfChanges", "MoreData", "Field", "Filter", "Record", "FilterType", "SourceParent",
    "TargetParent", "Move", "Correlator",
];

#[rustfmt::skip]
const METINF: &[&str] = &[
    "Anchor", "EMI", "Format", "FreeID", "FreeMem", "Last", "Mark", "MaxMsgSize", "Mem", "MetInf",
    "Next", "NextNonce", "SharedMem", "Size", "Type", "Version", "MaxObjSize", "FieldLevel",
];

#[rustfmt::skip]
const DDF: &[&str] = &[
    "AccessType", "ACL", "Add", "b64", "bin", "bool", "chr", "CaseSense", "CIS", "Copy", "CS",
    "date", "DDFName", "DefaultValue", "Delete", "Description", "DFFormat", "DFProperties",
    "DFTitle", "DFType", "Dynamic", "Exec", "float", "Format", "Get", "int", "Man", "MgmtTree",
    "MIME", "Mod", "Name", "Node", "node", "NodeName", "null", "Occurrence", "One", "OneOrMore",
    "OneOrN", "Path", "Permanent", "Replace", "RTProperties", "Scope", "Size", "time", "Title",
    "TStamp", "Type", "Value", "VerDTD", "VerNo", "xml", "ZeroOrMore", "ZeroOrN", "ZeroOrOne",
];

/// An element: its code page in the two high bits, its token in the six low ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proto) struct Tag(u8);

macro_rules! constants {
    ($($constant:ident $name:literal)*) => {
        impl Tag { $(pub(super) const $constant: Self = Self::named($name);)* }
    };
}

constants! {
    ADD "Add" ALERT "Alert" ATOMIC "Atomic" CHAL "Chal" CMD "Cmd" CMD_ID "CmdID" CMD_REF "CmdRef"
    COPY "Copy" CORRELATOR "Correlator" CRED "Cred" DATA "Data" DELETE "Delete" EXEC "Exec"
    FINAL "Final" GET "Get" ITEM "Item" LOC_NAME "LocName" LOC_URI "LocURI" MAP "Map" META "Meta"
    MORE_DATA "MoreData" MOVE "Move" MSG_ID "MsgID" MSG_REF "MsgRef" PUT "Put" REPLACE "Replace"
    RESP_URI "RespURI" RESULTS "Results" SEARCH "Search" SEQUENCE "Sequence"
    SESSION_ID "SessionID" SOURCE "Source" SOURCE_REF "SourceRef" STATUS "Status" SYNC "Sync"
    SYNC_BODY "SyncBody" SYNC_HDR "SyncHdr" SYNC_ML "SyncML" TARGET "Target"
    TARGET_REF "TargetRef" VER_DTD "VerDTD" VER_PROTO "VerProto"
    FORMAT "Format" MARK "Mark" MAX_MSG_SIZE "MaxMsgSize" MAX_OBJ_SIZE "MaxObjSize"
    MET_INF "MetInf" NEXT_NONCE "NextNonce" SIZE "Size" TYPE "Type"
}

impl Tag {
    /// An element that no code page names.
    pub(super) const UNKNOWN: Self = Self(0);

    /// The element of a token (0x05 to 0x3F) on a code page (0 to 2).
    pub(super) fn of_token(page: u8, token: u8) -> Option<Self> {
        let tag = Self(page << 6 | token & 0x3f);
        (page <= PAGE_DDF && !tag.name().is_empty()).then_some(tag)
    }

    /// The element of SyncML or MetInf with this local name, else [`Tag::UNKNOWN`]. The names
    /// of the two pages are distinct.
    pub(super) fn of_name(name: &str) -> Self {
        let mut slot = hash(name.as_bytes());
        loop {
            let tag = Self(SLOTS[slot as usize]);
            if tag == Self::UNKNOWN || tag.name() == name {
                return tag;
            }
            slot = slot.wrapping_add(1);
        }
    }

    /// The element of code page 2 with this local name, else [`Tag::UNKNOWN`]. Nine of its names
    /// stand on the other pages too, so a document is read by one table or by the other.
    pub(super) fn of_ddf_name(name: &str) -> Self {
        let index = DDF.iter().position(|known| *known == name);
        index.map_or(Self::UNKNOWN, |index| Self(PAGE_DDF << 6 | (index + FIRST_TOKEN) as u8))
    }

    /// The local name, empty for [`Tag::UNKNOWN`].
    pub(super) fn name(self) -> &'static str {
        NAMES[self.0 as usize]
    }

    /// The code page.
    pub(super) fn page(self) -> u8 {
        self.0 >> 6
    }

    /// The token on its code page, without the content bit.
    pub(super) fn token(self) -> u8 {
        self.0 & 0x3f
    }

    /// The namespace of the code page.
    pub(super) fn namespace(self) -> &'static str {
        match self.page() {
            PAGE_SYNCML => "SYNCML:SYNCML1.2",
            PAGE_METINF => "syncml:metinf",
            _ => "syncml:dmddf1.2",
        }
    }

    const fn named(name: &str) -> Self {
        let mut index = FIRST_TOKEN;
        while !same(NAMES[index], name) {
            index += 1;
            assert!(index < 2 << 6, "a name of code page 0 or 1");
        }
        Self(index as u8)
    }
}

/// Every name at the index that its [`Tag`] holds.
const NAMES: [&str; 256] = {
    let mut names = [""; 256];
    let pages = [SYNCML, METINF, DDF];
    let mut page = 0;
    while page < pages.len() {
        let mut index = 0;
        while index < pages[page].len() {
            names[page << 6 | (index + FIRST_TOKEN)] = pages[page][index];
            index += 1;
        }
        page += 1;
    }
    names
};

/// A hash table of the names of pages 0 and 1: tags, 0 where a slot is free.
static SLOTS: [u8; 256] = {
    let mut slots = [0; 256];
    let mut tag = 0;
    while tag < 2 << 6 {
        if !NAMES[tag].is_empty() {
            let mut slot = hash(NAMES[tag].as_bytes());
            while slots[slot as usize] != 0 {
                slot = slot.wrapping_add(1);
            }
            slots[slot as usize] = tag as u8;
        }
        tag += 1;
    }
    slots
};

const fn hash(name: &[u8]) -> u8 {
    match name {
        [] => 0,
        [first, .., last] => {
            let middle = name[name.len() / 2];
            first
                .wrapping_mul(61)
                .wrapping_add(last.wrapping_mul(19))
                .wrapping_add(middle.wrapping_mul(7))
                .wrapping_add(name.len() as u8)
        }
        [only] => *only,
    }
}

const fn same(left: &str, right: &str) -> bool {
    let (left, right) = (left.as_bytes(), right.as_bytes());
    if left.len() != right.len() {
        return false;
    }
    let mut index = 0;
    while index < left.len() {
        if left[index] != right[index] {
            return false;
        }
        index += 1;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_of_syncml_and_metinf_finds_its_token() {
        for page in [PAGE_SYNCML, PAGE_METINF] {
            for token in 0x05..0x40 {
                if let Some(tag) = Tag::of_token(page, token) {
                    assert_eq!(Tag::of_name(tag.name()), tag);
                    assert_eq!((tag.page(), tag.token()), (page, token));
                }
            }
        }
        assert_eq!(Tag::of_name("MgmtTree"), Tag::UNKNOWN);
        for tag in (0x05..0x40).filter_map(|token| Tag::of_token(PAGE_DDF, token)) {
            assert_eq!(Tag::of_ddf_name(tag.name()), tag);
        }
        assert_eq!(Tag::of_name(""), Tag::UNKNOWN);
    }

    #[test]
    fn the_ends_of_the_pages_have_the_registered_tokens() {
        assert_eq!(Tag::of_name("Correlator").token(), 0x3c);
        assert_eq!(Tag::of_name("VerDTD").token(), 0x31);
        assert_eq!(Tag::SYNC_ML.token(), 0x2d);
        assert_eq!(Tag::of_name("FieldLevel").token(), 0x16);
        assert_eq!(Tag::of_token(PAGE_DDF, 0x3c).map(Tag::name), Some("ZeroOrOne"));
        assert_eq!(Tag::of_token(PAGE_DDF, 0x20).map(Tag::name), Some("MgmtTree"));
        assert_eq!(Tag::of_token(PAGE_SYNCML, 0x30), None);
        assert_eq!(Tag::of_token(3, 0x05), None);
    }
}
