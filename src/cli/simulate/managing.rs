//! The arguments of `simulate server` that make it manage its clients.

use super::arguments::{needed, secret};
use super::unusable;
use crate::cli::client::Stop;
use crate::io::tls_server::{TlsFault, TlsServer};
use crate::proto::auth::{Scheme, Secret};
use crate::simulate::managing::{Account, Misbehaviour, Options, Script};

/// They, as they were given.
#[derive(Default)]
pub(super) struct Given {
    /// Something was given that only a managing server can do.
    manages: bool,
    script: Script,
    nonce: Vec<u8>,
    client_user: Option<String>,
    client_secret: Option<Secret>,
    client_nonce: Vec<u8>,
    url: Option<String>,
    max_message_size: Option<u64>,
    certificate: Option<Vec<u8>>,
    key: Option<Vec<u8>>,
    misbehaviour: Option<Misbehaviour>,
}

impl Given {
    /// Takes the switch of that name, if it is a misbehaviour.
    pub(super) fn switch(&mut self, name: &str) -> Result<bool, Stop> {
        let Some(misbehaviour) = Misbehaviour::parse(name) else { return Ok(false) };
        if self.misbehaviour.replace(misbehaviour).is_some() {
            return Err(Stop::Usage("one misbehaviour at a time".into()));
        }
        self.manages = true;
        Ok(true)
    }

    /// Takes the option of that name, if it is one of these.
    pub(super) fn take(&mut self, name: &str, value: &str) -> Result<bool, Stop> {
        match name {
            "script" => {
                let text = std::fs::read_to_string(value);
                let text = text.map_err(|error| unusable(value, &error))?;
                let script = Script::parse(&text);
                self.script = script.map_err(|wrong| Stop::Usage(format!("{value}: {wrong}")))?;
            }
            "nonce" => self.nonce = value.into(),
            "client-user" => self.client_user = Some(value.to_owned()),
            "client-secret-file" => self.client_secret = Some(secret(value)?),
            "client-nonce" => self.client_nonce = value.into(),
            "url" => self.url = Some(value.to_owned()),
            "max-message-size" => {
                let size = value.parse();
                self.max_message_size =
                    Some(size.map_err(|_| Stop::Usage(format!("--{name} cannot be {value}")))?);
            }
            "certificate" => self.certificate = Some(octets(value)?),
            "key" => self.key = Some(octets(value)?),
            _ => return Ok(false),
        }
        self.manages = true;
        Ok(true)
    }

    /// An option that others have, too, was given for it.
    pub(super) fn wanted(&mut self) {
        self.manages = true;
    }

    /// How to manage; `None` if nothing of it was given. `user` and `own` are the server's name
    /// and secret.
    pub(super) fn options(
        self,
        id: &str,
        scheme: Option<Scheme>,
        user: Option<String>,
        own: Option<Secret>,
    ) -> Result<Option<Options>, Stop> {
        if !self.manages {
            return Ok(None);
        }
        let (mut client, mut server) = (None, None);
        if let Some(scheme) = scheme {
            client = Some(Account {
                scheme,
                name: needed("client-user", self.client_user)?,
                secret: needed("client-secret-file", self.client_secret)?,
                nonce: self.client_nonce,
            });
            server = own.map(|secret| Account {
                scheme,
                name: user.unwrap_or_else(|| id.to_owned()),
                secret,
                nonce: self.nonce,
            });
        }
        let tls = match (self.certificate, self.key) {
            (None, None) => None,
            (certificate, key) => {
                let certificate = needed("certificate", certificate)?;
                let tls = TlsServer::new(&certificate, &needed("key", key)?, None);
                Some(tls.map_err(|fault| Stop::Usage(wrong(fault)))?)
            }
        };
        Ok(Some(Options {
            id: id.to_owned(),
            url: self.url,
            client,
            server,
            script: self.script,
            max_message_size: self.max_message_size,
            max_object_size: None,
            tls,
            misbehaviour: self.misbehaviour,
        }))
    }
}

fn octets(path: &str) -> Result<Vec<u8>, Stop> {
    std::fs::read(path).map_err(|error| unusable(path, &error))
}

fn wrong(fault: TlsFault) -> String {
    match fault {
        TlsFault::Certificate(why) | TlsFault::ClientCa(why) => format!("--certificate {why}"),
        TlsFault::Key(why) => format!("--key {why}"),
    }
}
