//! What status codes mean, for people. (OMA-TS-DM_RepPro 1.2.1, 10.)

use super::StatusCode;

impl StatusCode {
    /// What it means, in a few words; empty for a code that no document has.
    pub fn meaning(self) -> &'static str {
        match self.0 {
            101 => "in progress",
            200 => "done",
            202 => "accepted, to be done later",
            212 => "authenticated",
            213 => "chunk kept, the rest is awaited",
            214 => "cancelled",
            215 => "not executed because of what came before",
            216 => "done, and undone with its Atomic",
            400 => "refused: malformed",
            401 => "refused: wrong credentials",
            403 => "refused: forbidden",
            404 => "refused: there is no such node",
            405 => "refused: this cannot be done to that node",
            406 => "refused: optional feature, not supported",
            407 => "refused: credentials are missing",
            408 => "refused: it took too long",
            411 => "refused: the Size is missing",
            412 => "refused: incomplete command",
            413 => "refused: the value is too large",
            414 => "refused: the URI is too long",
            415 => "refused: unsupported type or format",
            417 => "refused: to be tried again later",
            418 => "refused: it exists already",
            420 => "refused: no room left",
            424 => "refused: not as long as its Size says",
            425 => "refused: the node's ACL does not permit it",
            500 => "failed",
            501 => "refused: unknown command",
            503 => "refused: busy",
            505 => "refused: this DTD version is not spoken",
            507 => "the Atomic failed and is undone",
            510 => "the store failed",
            513 => "refused: this protocol version is not spoken",
            516 => "the Atomic failed and could not be undone",
            517 => "the Atomic is undone: its answer fits no message",
            _ => "",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_success_says_so() {
        for code in 0..600 {
            let (code, meaning) = (StatusCode(code), StatusCode(code).meaning());
            let bad = ["refused", "fail", "undone"].iter().any(|word| meaning.contains(word));
            let undone = [215, 216].contains(&code.0);
            assert!(meaning.is_empty() || undone || bad != (code.0 < 400), "{code:?} {meaning}");
        }
    }
}
