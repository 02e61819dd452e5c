//! An end device in a session with the gateway: speaks XML or WBXML through the codec of the
//! crate, decides nothing that the test does not say.

use super::Lab;
use dm_gateway::gateway::alert::{self, ServerId, WireProfile};
use dm_gateway::proto::auth::{self, Scheme, Secret};
use dm_gateway::proto::syncml::{
    Alert, AlertCode, Command, Data, Encoding, Header, Item, Location, Message, Meta, Operation,
    Status, StatusCode, Verb,
};
use std::net::IpAddr;

/// What a device proves itself by.
#[derive(Clone, Debug)]
pub struct Proof {
    pub scheme: Scheme,
    pub user: String,
    pub secret: String,
    pub nonce: Vec<u8>,
}

/// One end device.
#[derive(Clone, Debug)]
pub struct Client {
    pub lan: usize,
    pub ip: IpAddr,
    /// SyncHdr Source.
    pub source: String,
    /// DevInfo DevId.
    pub device_id: String,
    pub encoding: Encoding,
    /// What goes into each header as `Cred`.
    pub proof: Option<Proof>,
    pub session_id: u16,
    pub message_id: u32,
}

impl Client {
    /// A device that calls itself `id`, on the first LAN.
    pub fn new(id: &str, ip: &str) -> Self {
        Self {
            lan: 0,
            ip: ip.parse().unwrap(),
            source: id.to_owned(),
            device_id: id.to_owned(),
            encoding: Encoding::Xml,
            proof: None,
            session_id: 0x10,
            message_id: 0,
        }
    }

    /// Begins the next session.
    pub fn start(&mut self) {
        self.session_id += 1;
        self.message_id = 0;
    }

    /// A whole session, with `servers` as the answer to the Device Detection Alert. The Status
    /// that the list got, `None` if no such alert came.
    pub fn session(&mut self, lab: &mut Lab, servers: &[&str]) -> Option<u16> {
        self.start();
        let reply = self.say(lab, self.package1());
        let answer = self.answer_detection(&reply, 200)?;
        let reply = self.say(lab, vec![answer, list_alert(servers)]);
        assert!(reply.ends(), "{reply:?}");
        reply.status_of("Alert")
    }

    /// Posts one message and reads the answer.
    pub fn say(&mut self, lab: &mut Lab, commands: Vec<Command<'static>>) -> Reply {
        let message = self.message(commands);
        self.post(lab, &message).unwrap_or_else(|| panic!("no answer to {message:?}"))
    }

    /// The next message; its commands are numbered.
    pub fn message(&mut self, mut commands: Vec<Command<'static>>) -> Message<'static> {
        self.message_id += 1;
        for (index, command) in commands.iter_mut().enumerate() {
            let id = (index + 1).to_string().into();
            match command {
                Command::Status(it) => it.command_id = id,
                Command::Alert(it) => it.command_id = id,
                Command::Operation(it) => it.command_id = id,
                Command::Group(it) => it.command_id = id,
                Command::Results(it) => it.command_id = id,
                Command::Other { command_id, .. } => *command_id = id,
            }
        }
        Message { header: self.header(), commands, is_final: true }
    }

    fn header(&self) -> Header<'static> {
        let proof = self.proof.as_ref();
        let credentials = proof.map(|proof| {
            let secret = Secret::new(&*proof.secret);
            auth::credentials(proof.scheme, &proof.user, &secret, &proof.nonce)
        });
        Header {
            version_dtd: "1.2".into(),
            version_protocol: "DM/1.2".into(),
            session_id: format!("{:X}", self.session_id).into(),
            message_id: self.message_id,
            target: Location { uri: "http://gateway/dm".into(), name: None },
            source: Location {
                uri: self.source.clone().into(),
                name: proof.map(|proof| proof.user.clone().into()),
            },
            credentials,
            ..Header::default()
        }
    }

    /// Posts a message as it is; `None` while the answer waits for the store.
    pub fn post(&self, lab: &mut Lab, message: &Message<'_>) -> Option<Reply> {
        let body = self.encoding.encode(message);
        let response = lab.post(self.lan, self.ip, self.encoding.content_type(), &body)?;
        Some(Reply::new(response))
    }

    /// Package 1 of a session that is the device's own idea.
    pub fn package1(&self) -> Vec<Command<'static>> {
        let code = Some(AlertCode::CLIENT_INITIATED);
        let leaf = |name: &str, value: &str| Item {
            source: Some(Location { uri: format!("./DevInfo/{name}").into(), name: None }),
            data: Some(Data::Text(value.to_owned().into())),
            ..Item::default()
        };
        let items = vec![leaf("DevId", &self.device_id), leaf("Man", "Maker")];
        let device_info = Operation {
            verb: Verb::Replace,
            command_id: "".into(),
            meta: Meta::default(),
            correlator: None,
            items,
        };
        vec![Command::Alert(Alert { code, ..Alert::default() }), Command::Operation(device_info)]
    }

    /// The Status for the Device Detection Alert in `reply`.
    pub fn answer_detection(&self, reply: &Reply, code: u16) -> Option<Command<'static>> {
        let message = reply.message();
        let alert = message.commands.iter().find(|command| is_detection(command))?;
        Some(status_for(&message, alert, code))
    }
}

/// The Status for one command of a message.
pub fn status_for(message: &Message<'_>, command: &Command<'_>, code: u16) -> Command<'static> {
    Command::Status(Status {
        message_ref: message.header.message_id.to_string().into(),
        command_ref: command.command_id().to_string().into(),
        command: command.name().into(),
        code: StatusCode(code),
        ..Status::default()
    })
}

/// The BootstrappedDMSList alert as the registry has it.
pub fn list_alert(servers: &[&str]) -> Command<'static> {
    let servers: Vec<_> = servers.iter().map(|id| ServerId::new(id).unwrap()).collect();
    let profile = WireProfile::Registered;
    Command::Alert(alert::bootstrapped_dms_list(&servers, "device", "gateway", profile))
}

fn is_detection(command: &Command<'_>) -> bool {
    matches!(command, Command::Alert(alert) if alert.code == Some(AlertCode::DEVICE_DETECTION))
}

/// The gateway's answer to one message.
#[derive(Clone, Debug)]
pub struct Reply {
    pub http_status: u16,
    pub encoding: Option<Encoding>,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn new(response: dm_gateway::gateway::seam::Response) -> Self {
        let encoding = response.content_type.and_then(Encoding::of_content_type);
        Self { http_status: response.status, encoding, body: response.body }
    }

    pub fn message(&self) -> Message<'_> {
        self.encoding.unwrap().decode(&self.body).unwrap()
    }

    /// The Status of SyncHdr.
    pub fn header_status(&self) -> u16 {
        self.status_of("SyncHdr").unwrap()
    }

    /// The Status of the last command of that name.
    pub fn status_of(&self, command: &str) -> Option<u16> {
        self.statuses().into_iter().rev().find(|(name, _)| name == command).map(|(_, code)| code)
    }

    /// Every Status: the command's name and the code.
    pub fn statuses(&self) -> Vec<(String, u16)> {
        let message = self.message();
        let statuses = message.commands.iter().filter_map(|command| match command {
            Command::Status(status) => Some((status.command.to_string(), status.code.0)),
            _ => None,
        });
        statuses.collect()
    }

    /// The challenge in the Status of SyncHdr.
    pub fn challenge(&self) -> Option<Meta<'static>> {
        let message = self.message();
        let challenge = message.commands.iter().find_map(|command| match command {
            Command::Status(status) if status.command == "SyncHdr" => status.challenge.clone(),
            _ => None,
        })?;
        Some(Meta {
            kind: challenge.kind.map(|it| it.into_owned().into()),
            next_nonce: challenge.next_nonce.map(|it| it.into_owned().into()),
            ..Meta::default()
        })
    }

    /// The nonce for the device's next credentials.
    pub fn next_nonce(&self) -> Option<Vec<u8>> {
        auth::next_nonce(&self.challenge()?)
    }

    /// What a Device Detection Alert in it says: GwAddress and Share.
    pub fn detection(&self) -> Option<(Option<String>, bool)> {
        let message = self.message();
        let detection = message.commands.iter().find(|command| is_detection(command))?;
        let Command::Alert(detection) = detection else { return None };
        let payload = alert::detection_payload(detection).unwrap();
        let detection = alert::parse_gateway_address(payload).unwrap();
        Some((detection.address, detection.share))
    }

    /// Whether nothing in it asks the device to go on.
    pub fn ends(&self) -> bool {
        let message = self.message();
        message.is_final && message.commands.iter().all(|it| matches!(it, Command::Status(_)))
    }
}
