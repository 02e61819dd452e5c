//! The part of the story in which the gateway is the client: it finds an account, and is managed.

use super::configuration::{BOOTSTRAP_ADDRESS, PUSH_PORT};
use super::stage::Stage;
use super::{AMBULANCE, BOOTSTRAP, FIRE, GUEST, SENSOR, device, pushed};
use crate::io::tls_server::TlsServer;
use crate::proto::auth::{Scheme, Secret};
use crate::simulate::managing::{Account, Options, Script};
use crate::simulate::{BootstrapServer, DmServer, DmServerOptions, Server};
use base64::Engine;
use base64::prelude::BASE64_STANDARD as BASE64;
use smol::LocalExecutor;
use std::net::SocketAddr;
use std::rc::Rc;

/// What the simulated servers show of themselves, and what the demo's gateway trusts.
pub(super) const CERTIFICATE: &str = include_str!("demo-only-certificate.pem");
/// Its private key, which is no secret.
const KEY: &str = include_str!("demo-only-key.pem");

/// Where the DM server `fire` manages gateways.
const MANAGES_AT: &str = "127.0.9.12:0";
const MEDIA: &str = "application/vnd.syncml.dmtnds+xml";
/// Accounts are made up anew for each gateway in earnest.
const GATEWAY_SECRET: &str = "demo-gateway";
const SERVER_SECRET: &str = "demo-fire";
const CLIENT_NONCE: &[u8] = b"demo nonce 1";
const SERVER_NONCE: &[u8] = b"demo nonce 2";

/// The policy of the guests, and what it becomes.
const POLICY: &str = "./GwConfig/LAN/guests/EDBootstrapPolicy";
const RECORDS: &str = "./GwDeviceInventory/Records";

/// The servers that have to do with the gateway itself.
pub(super) struct Managers {
    /// The DM server `fire`, where it manages gateways.
    fire: Rc<DmServer>,
}

impl Managers {
    /// Starts them.
    pub(super) async fn start<'a>(
        stage: &Stage,
        executor: &LocalExecutor<'a>,
    ) -> Result<Self, String> {
        let tls = TlsServer::new(CERTIFICATE.as_bytes(), KEY.as_bytes(), None);
        let tls = tls.map_err(|fault| format!("the demo's certificate: {fault:?}"))?;
        let account = |name: &str, secret: &str, nonce: &[u8]| Account {
            scheme: Scheme::Md5,
            name: name.to_owned(),
            secret: Secret::new(secret),
            nonce: nonce.to_owned(),
        };
        let management = Options {
            id: FIRE.to_owned(),
            client: Some(account("gateway", GATEWAY_SECRET, CLIENT_NONCE)),
            server: Some(account(FIRE, SERVER_SECRET, SERVER_NONCE)),
            script: script("get ./DevInfo/DevId\nget ./GwDeviceInventory/Records\n")?,
            tls: Some(tls.clone()),
            ..Options::default()
        };
        let options = DmServerOptions {
            id: FIRE.to_owned(),
            listen: MANAGES_AT.parse().expect("the demo's addresses are well formed"),
            push_port: PUSH_PORT,
            secret: None,
            nonce: Vec::new(),
            push_on_association: false,
        };
        let fire = DmServer::managing(options, management, stage.sink());
        let (task, failed) = (Rc::clone(&fire).serve(), stage.failure(FIRE));
        executor.spawn(async move { failed(task.await) }).detach();
        let listen = BOOTSTRAP_ADDRESS.parse().expect("the demo's addresses are well formed");
        let document = account_document(&fire.url().await);
        let bootstrap = BootstrapServer::new(BOOTSTRAP, listen, tls, stage.sink());
        let bootstrap = bootstrap.with(FIRE, MEDIA, document.into_bytes());
        let failed = stage.failure(BOOTSTRAP);
        executor.spawn(async move { failed(bootstrap.serve().await) }).detach();
        Ok(Self { fire })
    }

    /// A device of a `bootstrap` LAN wants a server: the gateway gets itself an account there.
    pub(super) async fn bootstrapped<'a>(
        &self,
        stage: &Stage,
        executor: &LocalExecutor<'a>,
        server: &DmServer,
        known: Server,
    ) -> Result<(), String> {
        stage.chapter("A sensor comes to a LAN with the policy `bootstrap`; it names a server");
        device(stage, executor, SENSOR, "127.0.2.11", vec![known], |_| {});
        stage.leases("sensors", &[("02:00:00:00:02:0b", "127.0.2.11")])?;
        stage.expect(SENSOR, "wanted", None).await?;

        stage
            .heading("The gateway may have an account there: it asks its bootstrap server for one");
        stage.expect(FIRE, "bootstrapping", None).await?;
        stage.expect(FIRE, "bootstrapped", None).await?;
        stage.heading("With the account comes the first session, over HTTPS, by itself");
        stage.expect(FIRE, "command", Some("Records: 200")).await?;
        stage.expect(FIRE, "session-ended", None).await?;
        stage.heading("Now that the gateway knows this server, it may wake the sensor");
        let session = pushed(server.push(gateway(), SENSOR).await)?;
        stage.expect(SENSOR, "forwarded", Some("account")).await?;
        stage.session(SENSOR, FIRE, session).await
    }

    /// A Package #0 for the gateway itself, a look at the inventory, another policy, its trial.
    pub(super) async fn managed(&self, stage: &Stage) -> Result<(), String> {
        stage.chapter("That server wakes the gateway itself, and reads who is behind it");
        let newest = stage.newest_record(RECORDS).ok_or("the server was told of no records")?;
        let guest = format!("{RECORDS}/{newest}");
        self.fire.set_script(script(&format!(
            "get {guest}/DeviceID\nget {guest}/Address\nget {guest}/Attached\n"
        ))?);
        self.wake(stage).await?;
        stage.expect(FIRE, "command", Some("Attached: 200")).await?;
        stage.expect(FIRE, "session-ended", None).await?;

        stage.chapter("It lets the guests in, by another policy for their LAN; that is a trial");
        self.fire.set_script(script(&format!(
            "get {POLICY}\nreplace {POLICY} int 2\nreplace ./GwConfig/GwID chr mine\n"
        ))?);
        self.wake(stage).await?;
        stage.expect(FIRE, "command", Some("EDBootstrapPolicy: 200")).await?;
        stage.expect(FIRE, "command", Some("GwID: 405")).await?;
        stage.expect("guests", "policy", Some("transparent")).await?;
        stage.expect(FIRE, "session-ended", None).await?;
        self.fire.set_script(script(&format!("get {POLICY}\n"))?);
        stage
            .heading("Meanwhile the guest is asked by the new policy, and its servers may wake it");
        stage.expect(GUEST, "mapped", None).await?;
        stage.session(GUEST, AMBULANCE, None).await?;
        stage.session(GUEST, FIRE, None).await?;
        stage.heading("The server finds the gateway once more: what it changed may stay");
        stage.expect(FIRE, "session-started", Some("may stay")).await?;
        stage.expect(FIRE, "kept", None).await?;
        stage.expect(FIRE, "session-ended", None).await
    }

    /// Account, nonces and policy survive a restart.
    pub(super) async fn still_there(&self, stage: &Stage) -> Result<(), String> {
        stage.heading(
            "Account, nonces and policy, too: the server that manages it finds it as it was",
        );
        self.wake(stage).await?;
        stage.expect(FIRE, "command", Some("EDBootstrapPolicy: 200")).await?;
        stage.expect(FIRE, "session-ended", None).await
    }

    /// Has the gateway open a session by Package #0.
    async fn wake(&self, stage: &Stage) -> Result<(), String> {
        pushed(self.fire.push_to_gateway(gateway()).await)?;
        stage.expect(FIRE, "notified", None).await?;
        stage.expect(FIRE, "session-started", Some("Package #0")).await
    }
}

fn gateway() -> SocketAddr {
    SocketAddr::from(([127, 0, 9, 1], PUSH_PORT))
}

fn script(text: &str) -> Result<Script, String> {
    Script::parse(text).map_err(|line| format!("the demo's script: {line}"))
}

/// The account that the bootstrap server has: a tree with one node below `./DMAcc`.
fn account_document(url: &str) -> String {
    let leaf = |name: &str, value: &str| {
        format!("<Node><NodeName>{name}</NodeName><Value>{value}</Value></Node>")
    };
    let node =
        |name: &str, inner: String| format!("<Node><NodeName>{name}</NodeName>{inner}</Node>");
    let octets = |octets: &[u8]| {
        format!(
            "<Node><NodeName>AAuthData</NodeName><RTProperties><Format><bin/></Format>\
             </RTProperties><Value>{}</Value></Node>",
            BASE64.encode(octets)
        )
    };
    let credentials = |level: &str, name: &str, secret: &str, nonce: &[u8]| {
        leaf("AAuthLevel", level)
            + &leaf("AAuthType", "DIGEST")
            + &leaf("AAuthName", name)
            + &leaf("AAuthSecret", secret)
            + &octets(nonce)
    };
    let address = node("1", leaf("Addr", url) + &leaf("AddrType", "URI"));
    let client = node("1", credentials("CLCRED", "gateway", GATEWAY_SECRET, CLIENT_NONCE));
    let server = node("2", credentials("SRVCRED", FIRE, SERVER_SECRET, SERVER_NONCE));
    let account = leaf("AppID", "w7")
        + &leaf("ServerID", FIRE)
        + &node("AppAddr", address)
        + &node("AppAuth", client + &server);
    format!(
        "<MgmtTree xmlns=\"syncml:dmddf1.2\"><VerDTD>1.2</VerDTD><Node><NodeName>fire</NodeName>\
         <Path>./DMAcc</Path><RTProperties><Format><node/></Format></RTProperties>{account}</Node>\
         </MgmtTree>"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::bootstrap::{self, Source};

    #[test]
    fn the_account_that_is_fetched_is_one() {
        let document = account_document("https://127.0.9.12:4711/dm");
        let accounts = bootstrap::read(document.as_bytes(), Source::Fetch).unwrap();
        let account = accounts.first().unwrap();
        assert_eq!(account.server_id, FIRE);
        assert_eq!(account.url().as_deref(), Some("https://127.0.9.12:4711/dm"));
        assert_eq!(account.credentials.len(), 2);
    }
}
