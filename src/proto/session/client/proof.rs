//! Who is who: credentials, challenges and nonces of both sides. (DM Security 1.2.1, 5.3.)

use super::{Account, ClientSession, Incoming, Why};
use crate::limits;
use crate::proto::auth::{self, Scheme, Verdict};
use crate::proto::syncml::{Command, Header, Message, Status, StatusCode};

impl ClientSession {
    /// Judges the server's credentials.
    pub(super) fn judge(&mut self, header: &Header<'_>, incoming: &Incoming<'_>) -> Verdict {
        let Some(Account { scheme, name, secret }) = &self.options.server else {
            return Verdict::Accepted;
        };
        let nonce = &self.server_nonce;
        match scheme {
            Scheme::Mac => auth::verify_mac(incoming.mac, name, secret, nonce, incoming.body),
            _ if self.trusted => Verdict::Accepted,
            _ => auth::verify(*scheme, header.credentials.as_ref(), name, secret, nonce),
        }
    }

    /// Whether a server that failed to prove who it is gets no other try.
    pub(super) fn hopeless(&mut self) -> bool {
        self.server_tries += 1;
        // Once a MAC was right, each has to be.
        self.server_tries >= limits::AUTHENTICATION_TRIES || self.trusted
    }

    /// The Status for the server's header, with a nonce for its next credentials.
    pub(super) fn header_status(
        &mut self,
        header: &Header<'_>,
        verdict: Verdict,
        fresh: [u8; 16],
    ) -> Status<'static> {
        let status = self.status_of(header);
        let Some(account) = &self.options.server else { return status };
        let scheme = account.scheme;
        let first = !self.trusted;
        let (code, challenges) = match verdict {
            Verdict::Accepted if scheme == Scheme::Mac => (StatusCode::OK, true),
            Verdict::Accepted => (StatusCode::AUTHENTICATED, first && scheme == Scheme::Md5),
            Verdict::Missing => (StatusCode::MISSING_CREDENTIALS, true),
            Verdict::Wrong => (StatusCode::INVALID_CREDENTIALS, true),
        };
        if challenges {
            self.server_nonce = fresh.to_vec();
        }
        if verdict == Verdict::Accepted {
            self.trusted = true;
            // Kept only for a server that is who it says: others must not make the next trigger
            // of the true one unreadable.
            self.options.nonces.server.clone_from(&self.server_nonce);
        }
        let challenge = challenges.then(|| auth::challenge(scheme, &fresh));
        Status { code, challenge, ..status }
    }

    /// Reads the Status of our own header: whether the message is to be sent again, with other
    /// credentials. A server that sends none is taken to have said 200.
    pub(super) fn own_status(&mut self, message: &Message<'_>) -> Result<bool, Why> {
        let own = self.message_id.to_string();
        let status = message.commands.iter().find_map(|command| match command {
            Command::Status(it) if it.command_ref == "0" && it.message_ref == own => Some(it),
            _ => None,
        });
        let Some(status) = status else { return Ok(false) };
        if let Some(nonce) = status.challenge.as_ref().and_then(auth::next_nonce) {
            self.client_nonce = nonce;
        }
        match status.code {
            StatusCode::AUTHENTICATED => self.accepted = true,
            code @ (StatusCode::INVALID_CREDENTIALS | StatusCode::MISSING_CREDENTIALS) => {
                self.client_tries += 1;
                self.accepted = false;
                let challenge = status.challenge.as_ref();
                let (Some(account), Some(challenge)) = (&self.options.client, challenge) else {
                    return Err(Why::Refused(code));
                };
                if self.client_tries >= limits::AUTHENTICATION_TRIES {
                    return Err(Why::Refused(code));
                }
                let kind = challenge.kind.as_deref().unwrap_or_else(|| account.scheme.name());
                self.scheme = match Scheme::of_name(kind) {
                    Some(asked) if self.may_use(account.scheme, asked) => Some(asked),
                    Some(Scheme::Basic) => return Err(Why::BasicAsked),
                    _ => return Err(Why::SchemeRefused),
                };
                return Ok(true);
            }
            code if code.0 >= 300 => return Err(Why::Refused(code)),
            _ => {}
        }
        Ok(false)
    }

    /// Whether a server may ask for `asked` where the account says `own`. A weaker proof than the
    /// account's is given over TLS alone, and the secret itself only by an account that says so.
    fn may_use(&self, own: Scheme, asked: Scheme) -> bool {
        match asked {
            Scheme::Basic => own == Scheme::Basic && self.options.secure,
            Scheme::Md5 => own != Scheme::Mac || self.options.secure,
            Scheme::Mac => true,
        }
    }
}
