//! An end device as it leaves the factory: no account, waiting for a bootstrap on its push port.
//! (OMA-TS-DM_Bootstrap 1.2.1, 5.2.)

use super::end_device::{Account, EndDevice, EndDeviceOptions, Gate, Known, Nonces};
use super::event::{SimEvent, Sink};
use crate::proto::auth::{Scheme, Secret};
use crate::proto::bootstrap::push::Received;
use crate::proto::bootstrap::security::Keys;
use crate::proto::bootstrap::{self, AuthenticationKind, Credential, Level, Source};
use crate::proto::wsp::Push;
use std::net::SocketAddr;
use std::rc::Rc;

impl EndDevice {
    /// Makes a device that knows nothing of a gateway, whatever `options` say of one: the first
    /// bootstrap on its push port tells it, then it opens a session. With a `pin` only a bootstrap
    /// that is signed with it counts.
    pub fn factory_fresh(
        options: EndDeviceOptions,
        pin: Option<Secret>,
        gate: Gate,
        sink: Sink,
    ) -> Rc<Self> {
        Rc::new(Self::knowing(options, None, pin, gate, sink))
    }

    /// Takes what came to the push port of a device without an account.
    pub(super) async fn bootstrapped(&self, from: SocketAddr, datagram: &[u8]) {
        match self.install(from, datagram) {
            Ok(()) => self.open_session().await,
            Err(reason) => {
                let datagram = datagram.to_vec();
                self.tell(SimEvent::PushRefused { from, reason, datagram });
            }
        }
    }

    fn install(&self, from: SocketAddr, datagram: &[u8]) -> Result<(), String> {
        let push = Push::decode(datagram).map_err(|error| format!("not a WSP push: {error}"))?;
        let received = Received::of_push(&push)
            .ok_or("the device has no account yet, and its content is not a bootstrap")?;
        if self.pin.is_some() {
            let keys = Keys { network: None, user: self.pin.clone() };
            received.verify(&keys).map_err(|refusal| format!("the bootstrap: {refusal}"))?;
        }
        let accounts = bootstrap::read(received.document, Source::Push);
        let accounts = accounts.map_err(|fault| fault.to_string())?;
        let account = accounts.into_iter().next().ok_or("the bootstrap has no account")?;
        let address = account.addresses.first().ok_or("the account has no address")?;
        let of = |level| account.credentials.iter().find(|it| it.level == level);
        let own = of(Level::Client);
        let nonce =
            |of: Option<&Credential>| of.and_then(|it| it.nonce.clone()).unwrap_or_default();
        let nonces = Nonces { client: nonce(own), server: nonce(of(Level::Server)) };
        let known = Known {
            id: Some(account.server_id.clone()),
            url: address.text.clone(),
            account: own.map(|own| Account {
                scheme: match own.kind {
                    AuthenticationKind::Basic => Some(Scheme::Basic),
                    AuthenticationKind::Digest => Some(Scheme::Md5),
                    _ => None,
                },
                user: own.name.clone().unwrap_or_default(),
                secret: own.secret.clone().unwrap_or_else(|| Secret::new("")),
                server_secret: of(Level::Server).and_then(|it| it.secret.clone()),
            }),
        };
        self.nonces.borrow_mut().insert(account.server_id.clone(), nonces);
        self.known.replace(Some(known));
        self.tell(SimEvent::Bootstrapped {
            from,
            server: account.server_id.clone(),
            url: address.text.clone(),
        });
        Ok(())
    }
}
